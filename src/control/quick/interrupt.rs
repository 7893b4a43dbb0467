//! Signals that ask for an end: noticed between two steps, so that what was done can be undone.
//!
//! Commands that run meanwhile get them too, from the terminal, with their usual effect.

use std::io;

use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Takes note of SIGINT, SIGTERM and SIGHUP, which do not end the process from then on.
pub(super) struct Interrupts {
    runtime: Runtime,
    signals: [Signal; 3],
    came: bool,
}

impl Interrupts {
    /// Begins to take note.
    pub(super) fn new() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let context = runtime.enter();
        let signals =
            [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
        drop(context);
        Ok(Self { runtime, signals, came: false })
    }

    /// Returns whether one came so far.
    pub(super) fn came(&mut self) -> bool {
        let [interrupt, terminate, hangup] = &mut self.signals;
        let came = self.runtime.block_on(async {
            // Lets the runtime see what has arrived.
            tokio::task::yield_now().await;
            tokio::select! {
                biased;
                _ = interrupt.recv() => true,
                _ = terminate.recv() => true,
                _ = hangup.recv() => true,
                () = std::future::ready(()) => false,
            }
        });
        self.came |= came;
        self.came
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[test]
    fn a_signal_is_noticed_and_remembered() {
        let mut interrupts = Interrupts::new().expect("signals");
        assert!(!interrupts.came());
        kill_process(getpid(), Signal::HUP).expect("ourselves");
        let came = (0..1000).any(|_| {
            std::thread::yield_now();
            interrupts.came()
        });
        assert!(came && interrupts.came());
    }
}
