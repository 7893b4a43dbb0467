//! What the deadline thread sleeps on: a timer of the boot-time clock and a wake-up call.
//!
//! Not a condition variable with a timeout: that runs on the monotonic clock, which stands still during suspend, so
//! after a night's sleep a key would live on for as long as it had left in the evening.
//!
//! Source: timerfd_create(2), eventfd(2).

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::{read, write};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::dataplane::io::Alarm;
use crate::proto::time::Instant;

/// A boot-time alarm clock.
#[derive(Debug)]
pub struct LinuxAlarm {
    timer: OwnedFd,
    wake: OwnedFd,
}

impl LinuxAlarm {
    /// Makes an alarm that is not set.
    ///
    /// # Errors
    /// The process has no file descriptors left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            timer: timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?,
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    fn set(&self, deadline: Option<Instant>) -> io::Result<()> {
        // Zero would disarm the timer; one nanosecond after boot is over as well.
        let nanos = deadline.map_or(0, |deadline| deadline.as_nanos().max(1));
        let it_value = Timespec { tv_sec: (nanos / NANOS_PER_SEC) as i64, tv_nsec: (nanos % NANOS_PER_SEC) as i64 };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval, it_value })?;
        Ok(())
    }
}

impl Alarm for LinuxAlarm {
    fn wait_until(&self, deadline: Option<Instant>) {
        if let Err(error) = self.set(deadline) {
            tracing::error!("Setting the deadline timer failed: {error}");
        }
        let mut fds = [PollFd::new(&self.timer, PollFlags::IN), PollFd::new(&self.wake, PollFlags::IN)];
        // Interrupted by a signal: the caller looks at its deadlines and comes back.
        let _ = poll(&mut fds, None);
        let mut count = [0; 8];
        // Not readable is the usual answer of one of the two.
        let _ = read(&self.timer, &mut count);
        let _ = read(&self.wake, &mut count);
    }

    fn wake(&self) {
        // The counter cannot overflow: every wait empties it.
        let _ = write(&self.wake, &1_u64.to_ne_bytes());
    }
}

const NANOS_PER_SEC: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_in_the_past_does_not_wait() {
        let alarm = LinuxAlarm::new().expect("file descriptors");
        alarm.wait_until(Some(Instant::from_nanos(0)));
        alarm.wait_until(Some(Instant::from_nanos(12)));
    }

    #[test]
    fn a_wake_before_the_wait_is_not_lost() {
        let alarm = LinuxAlarm::new().expect("file descriptors");
        alarm.wake();
        alarm.wait_until(None);
    }
}
