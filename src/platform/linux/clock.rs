//! The clocks of the machine.
//!
//! Not here: when they are read (once per batch, by the data plane).
//!
//! Sources: clock_gettime(2), getrusage(2), nanosleep(2). CLOCK_BOOTTIME and not CLOCK_MONOTONIC, because the latter stands still during suspend
//! and would let keys live longer than 180 s.

use std::time::Duration;

use rustix::thread::Timespec;

use super::sys;
use crate::dataplane::io::{Clock, ThreadClock};
use crate::proto::time::{Instant, WallTime};

/// CLOCK_BOOTTIME and CLOCK_REALTIME.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinuxClock;

impl Clock for LinuxClock {
    fn now(&self) -> Instant {
        let (secs, nanos) = sys::boot_time();
        Instant::from_nanos(0).plus(Duration::new(secs, nanos))
    }

    fn wall(&self) -> WallTime {
        let (secs, nanos) = sys::real_time();
        WallTime { secs, nanos }
    }

    fn this_thread(&self) -> Option<ThreadClock> {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        Some(ThreadClock((!thread << 3) | CPU_CLOCK_OF_A_THREAD))
    }

    fn cpu_time(&self, thread: ThreadClock) -> Duration {
        let (secs, nanos) = sys::clock_gettime(thread.0);
        Duration::new(secs, nanos)
    }

    fn preemptions(&self) -> u64 {
        sys::preemptions_of_this_thread()
    }

    fn rest(&self, time: Duration) {
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        // A signal may end it early. There is no event to wait for: others are to have the core meanwhile.
        let _ = rustix::thread::nanosleep(&time);
    }
}

/// Returns the CPU time of all threads of this process, also of those that have ended.
pub(super) fn process_cpu_time() -> Duration {
    let (secs, nanos) = sys::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID);
    Duration::new(secs, nanos)
}

/// CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED, of the kernel's `posix-timers.h`: what pthread_getcpuclockid(3) makes of a
/// thread. No file of /proc is needed, which a confined process cannot open.
const CPU_CLOCK_OF_A_THREAD: i32 = 4 | 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_does_not_go_back() {
        let first = LinuxClock.now();
        assert!(first > Instant::default());
        assert!(LinuxClock.now() >= first);
    }

    #[test]
    fn the_cpu_time_of_another_thread_grows_while_it_works() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let worker = std::thread::spawn(move || {
            sender.send(LinuxClock.this_thread()).unwrap();
            while stopped.try_recv().is_err() {
                std::hint::spin_loop();
            }
        });
        let clock = receiver.recv().unwrap().unwrap();
        let first = LinuxClock.cpu_time(clock);
        while LinuxClock.cpu_time(clock) < first + Duration::from_millis(5) {
            std::thread::yield_now();
        }
        assert!(process_cpu_time() >= Duration::from_millis(5));
        stop.send(()).unwrap();
        worker.join().unwrap();
    }

    #[test]
    fn wall_time_is_that_of_this_century() {
        let wall = LinuxClock.wall();
        assert!(wall.secs > 1_577_836_800);
        assert!(wall.nanos < 1_000_000_000);
    }
}
