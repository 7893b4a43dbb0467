//! What signals ask of the daemon.
//!
//! Not here: how a device ends (see `daemon`).

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::control::asks::Asks;

/// The signals that mean something. SIGUSR1 drops sessions and learnt endpoints, and has the device's objects logged.
/// SIGHUP has the peers' directory read again. SIGUSR2 is what other programs upgrade by; here it says why not.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    /// Catches them from here on. To be called within a tokio runtime.
    ///
    /// # Errors
    /// The OS's.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for a signal that ends the device; returns its name.
    pub(super) async fn end(&mut self, asks: &Asks, reload: &Notify) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.user2.recv() => tracing::error!("SIGUSR2: {NO_UPGRADE_BY_SIGNAL}"),
                _ = self.hangup.recv() => reload.notify_one(),
                _ = self.user1.recv() => {
                    tracing::debug!("holds: {}", asks.device.objects());
                    match asks.worker.forget(None).await {
                        Ok(count) => tracing::debug!("SIGUSR1: forgot sessions and learnt endpoints of {count} peers"),
                        Err(error) => tracing::error!("SIGUSR1: {error}"),
                    }
                }
            }
        }
    }
}

const NO_UPGRADE_BY_SIGNAL: &str =
    "this process can start no other, so that nobody who breaks in can; `rvpn upgrade` hands over";
