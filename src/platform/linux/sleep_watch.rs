//! Tells that the machine was asleep.
//!
//! A timer of the calendar's clock that is never due is cancelled whenever that clock jumps, which it does on waking up (and
//! when somebody sets it). Then the boot-time clock, which counts sleep, has gained on the monotonic one, which does not,
//! if it was sleep. Nothing is asked in between, and a sleeping machine is not woken.
//!
//! Source: timerfd_create(2), TFD_TIMER_CANCEL_ON_SET; clock_gettime(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};

/// Ready for reading when [`SleepWatch::has_slept`] is to be asked.
pub(super) struct SleepWatch {
    timer: OwnedFd,
    asleep: Duration,
}

impl SleepWatch {
    pub(super) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let watch = Self { timer, asleep: time_asleep() };
        watch.arm()?;
        Ok(watch)
    }

    /// Tells whether the machine was asleep since the last time it was asked, for longer than clocks differ anyway.
    pub(super) fn has_slept(&mut self) -> io::Result<bool> {
        // ECANCELED; whatever it is, the next jump is to be told too.
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        self.arm()?;
        Ok(self.take_sleep(time_asleep()))
    }

    fn take_sleep(&mut self, asleep: Duration) -> bool {
        let gained = asleep.saturating_sub(self.asleep);
        self.asleep = asleep;
        gained >= LEAST_SLEEP
    }

    fn arm(&self) -> io::Result<()> {
        // In the year 2242; what the kernel has no room for would be now.
        let never = Timespec { tv_sec: 1 << 33, tv_nsec: 0 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: never };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &once)?;
        Ok(())
    }
}

impl AsFd for SleepWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

/// Returns how long the machine has been asleep since it was started.
fn time_asleep() -> Duration {
    let time = |clock| {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
        Duration::new(tv_sec.try_into().unwrap_or(0), tv_nsec.try_into().unwrap_or(0))
    };
    let monotonic = time(ClockId::Monotonic);
    time(ClockId::Boottime).saturating_sub(monotonic)
}

/// The clocks are read one after the other.
const LEAST_SLEEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_clocks_differ_more_than_before_is_sleep() {
        let mut watch = SleepWatch::new().unwrap();
        assert!(!watch.has_slept().unwrap(), "a calendar that was set is no sleep");
        let before = watch.asleep;
        assert!(!watch.take_sleep(before + Duration::from_millis(999)));
        assert!(watch.take_sleep(before + Duration::from_secs(2)));
        assert!(!watch.take_sleep(before + Duration::from_secs(2)));
    }

    #[test]
    fn nothing_is_to_be_read_while_the_machine_is_awake() {
        let watch = SleepWatch::new().unwrap();
        assert_eq!(rustix::io::read(&watch.timer, &mut [0; 8]), Err(rustix::io::Errno::AGAIN));
    }
}
