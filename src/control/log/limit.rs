//! How much is logged at most, whoever causes it: peers can roam with every packet, and a disk is finite.
//!
//! Errors have a budget of their own, so that nothing else can use it up. What is left out is counted, and the count is an
//! error of the log itself.
//!
//! Not here: that what anybody at all can send is counted and not logged (see `dataplane::stats`).

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// The limit of this process.
pub(super) static LIMIT: Limit = Limit::new();

/// Two budgets, and what went beyond.
#[derive(Debug)]
pub(super) struct Limit {
    state: Mutex<State>,
    exceeded: Notify,
}

#[derive(Debug)]
struct State {
    errors: Budget,
    others: Budget,
    left_out: u64,
}

/// Lines that may be written: `left`, more by `rate` with each second, never more than `most`.
#[derive(Debug)]
struct Budget {
    most: f64,
    rate: f64,
    left: f64,
    counted: Option<Instant>,
}

impl Limit {
    const fn new() -> Self {
        let state = State { errors: Budget::new(100.0, 1.0), others: Budget::new(10_000.0, 200.0), left_out: 0 };
        Self { state: Mutex::new(state), exceeded: Notify::const_new() }
    }

    /// Takes one line from its budget; tells whether there was one.
    fn allows(&self, level: Level, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let budget = if level == Level::ERROR { &mut state.errors } else { &mut state.others };
        let allowed = budget.take(now);
        if !allowed {
            state.left_out += 1;
            self.exceeded.notify_one();
        }
        allowed
    }

    fn take_left_out(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut state.left_out)
    }
}

impl Budget {
    const fn new(most: f64, rate: f64) -> Self {
        Self { most, rate, left: most, counted: None }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed = self.counted.map_or(Duration::ZERO, |counted| now.saturating_duration_since(counted));
        self.left = self.most.min(self.left + self.rate * passed.as_secs_f64());
        self.counted = Some(now);
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

impl<S: Subscriber> Layer<S> for &'static Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.allows(*event.metadata().level(), Instant::now())
    }
}

/// Logs how many lines were left out, some time after the first of them; again when there are more.
pub async fn tell_left_out() -> Infallible {
    loop {
        LIMIT.exceeded.notified().await;
        sleep(PATIENCE).await;
        let count = LIMIT.take_left_out();
        if count > 0 {
            tracing::error!("{count} lines were left out of the log: there were too many");
        }
    }
}

/// How long lines that are left out are counted before that is told.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_a_rate_and_errors_have_their_own() {
        let limit = Limit::new();
        let start = Instant::now();
        let passed = |level, now, count| (0..count).filter(|_| limit.allows(level, now)).count();
        assert_eq!(passed(Level::DEBUG, start, 20_000), 10_000);
        assert_eq!(passed(Level::ERROR, start, 200), 100);
        let later = start + Duration::from_secs(2);
        assert_eq!(passed(Level::WARN, later, 1000), 400);
        assert_eq!(passed(Level::ERROR, later, 100), 2);
        assert_eq!(limit.take_left_out(), 10_000 + 100 + 600 + 98);
        assert_eq!(limit.take_left_out(), 0);
        let much_later = start + Duration::from_secs(100_000);
        assert_eq!(passed(Level::DEBUG, much_later, 20_000), 10_000, "what is not used is not saved for ever");
    }
}
