//! Clocks that stand still until a test moves them, and the alarm that goes off when they reach its deadline.
//!
//! The boot-time clock only goes forward. The calendar goes with it, and can be stepped alone, in both directions, as
//! an operator or a time server does. A suspend is an advance in one stride: CLOCK_BOOTTIME counts it.
//!
//! A rest takes no time, and is counted.
//!
//! Not here: real time (see `sync` for the one bound that uses it).

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::sync::lock;
use crate::dataplane::io::{Alarm, Clock};
use crate::proto::time::{Instant, WallTime};

/// The clocks of a virtual world. Hosts may share one or have their own.
pub struct FakeClock {
    times: Mutex<Times>,
    changed: Condvar,
    rests: AtomicUsize,
    preemptions: AtomicU64,
}

#[derive(Clone, Copy)]
struct Times {
    now: Instant,
    /// Nanoseconds since the UNIX epoch.
    wall: u128,
}

impl FakeClock {
    /// Makes clocks that show an hour since boot and a day in 2023: far enough from zero for any "6 seconds ago".
    pub fn new() -> Arc<Self> {
        let times = Times { now: Instant::from_nanos(3_600 * NANOS), wall: 1_700_000_000 * u128::from(NANOS) };
        Arc::new(Self {
            times: Mutex::new(times),
            changed: Condvar::new(),
            rests: AtomicUsize::new(0),
            preemptions: AtomicU64::new(0),
        })
    }

    /// Moves both clocks forward and sets off the alarms that are due.
    pub fn advance(&self, by: Duration) {
        let mut times = lock(&self.times);
        times.now = times.now.plus(by);
        times.wall += by.as_nanos();
        self.changed.notify_all();
    }

    /// Moves both clocks forward to `now`, in one stride; an earlier `now` changes nothing.
    pub fn advance_to(&self, now: Instant) {
        self.advance(now.since(self.now()));
    }

    /// Steps the calendar alone by `secs`, in either direction, at most back to the epoch.
    pub fn step_wall(&self, secs: i64) {
        let mut times = lock(&self.times);
        let step = u128::from(secs.unsigned_abs()) * u128::from(NANOS);
        times.wall = if secs < 0 { times.wall.saturating_sub(step) } else { times.wall + step };
    }

    /// Lets every thread see that its core was once more taken for another one.
    pub fn preempt(&self) {
        self.preemptions.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often a thread rested.
    pub fn rests(&self) -> usize {
        self.rests.load(Ordering::Relaxed)
    }

    /// Makes an alarm on these clocks.
    pub fn alarm(self: &Arc<Self>) -> Arc<FakeAlarm> {
        Arc::new(FakeAlarm { clock: Arc::clone(self), woken: AtomicBool::new(false) })
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Instant {
        lock(&self.times).now
    }

    fn wall(&self) -> WallTime {
        let wall = lock(&self.times).wall;
        let nanos = u128::from(NANOS);
        WallTime { secs: u64::try_from(wall / nanos).unwrap_or(u64::MAX), nanos: (wall % nanos) as u32 }
    }

    fn preemptions(&self) -> u64 {
        self.preemptions.load(Ordering::Relaxed)
    }

    fn rest(&self, _time: Duration) {
        self.rests.fetch_add(1, Ordering::Relaxed);
    }
}

/// An alarm on a [`FakeClock`].
pub struct FakeAlarm {
    clock: Arc<FakeClock>,
    /// Read and written under the lock of the clock's times, which orders it.
    woken: AtomicBool,
}

impl Alarm for FakeAlarm {
    fn wait_until(&self, deadline: Option<Instant>) {
        let mut times = lock(&self.clock.times);
        while !self.woken.swap(false, Ordering::Relaxed) && deadline.is_none_or(|deadline| times.now < deadline) {
            times = self.clock.changed.wait(times).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wake(&self) {
        let _times = lock(&self.clock.times);
        self.woken.store(true, Ordering::Relaxed);
        self.clock.changed.notify_all();
    }
}

const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_steps_both_ways_and_boot_time_does_not() {
        let clock = FakeClock::new();
        let (now, wall) = (clock.now(), clock.wall());
        clock.step_wall(-86_400);
        assert_eq!(clock.wall().secs, wall.secs - 86_400);
        clock.step_wall(2 * 86_400);
        assert_eq!(clock.wall().secs, wall.secs + 86_400);
        assert_eq!(clock.now(), now);
        clock.step_wall(i64::MIN);
        assert_eq!(clock.wall(), WallTime::default());
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(clock.now().since(now), Duration::from_millis(1_500));
        assert_eq!(clock.wall(), WallTime { secs: 1, nanos: 500_000_000 });
        clock.advance_to(now);
        assert_eq!(clock.now().since(now), Duration::from_millis(1_500));
    }

    #[test]
    fn an_alarm_goes_off_when_the_clock_reaches_its_deadline_and_not_before() {
        let clock = FakeClock::new();
        let alarm = clock.alarm();
        let deadline = clock.now().plus(Duration::from_secs(5));
        let rang = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                alarm.wait_until(Some(deadline));
                rang.store(true, Ordering::SeqCst);
                clock.now()
            });
            clock.advance(Duration::from_nanos(4_999_999_999));
            assert!(!rang.load(Ordering::SeqCst));
            clock.advance(Duration::from_nanos(1));
            assert_eq!(sleeper.join().unwrap(), deadline);
        });
    }

    #[test]
    fn a_wake_before_the_wait_is_not_lost_and_counts_once() {
        let clock = FakeClock::new();
        let alarm = clock.alarm();
        alarm.wake();
        alarm.wait_until(None);
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| alarm.wait_until(None));
            alarm.wake();
            sleeper.join().unwrap();
        });
    }
}
