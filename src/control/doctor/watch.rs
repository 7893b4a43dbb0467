//! A while at the interfaces: what goes to each peer, what comes back, and what errors say.
//!
//! Not here: reading packets (see `platform::linux::tap`), what follows (see `diagnose`).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::facts::{PeerWatched, Watched};
use crate::dataplane::io::Clock;
use crate::platform::linux::LinuxClock;
use crate::platform::linux::tap::{Passed, Tap};

/// What to look for, and what was seen so far. One thread looks, others may ask.
#[derive(Debug)]
pub(super) struct Watch {
    /// Our UDP port.
    port: u16,
    /// The peers' endpoints, in the order of the peers.
    endpoints: Vec<Option<SocketAddr>>,
    seen: Mutex<Seen>,
    is_over: AtomicBool,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) device: Watched,
    pub(super) peers: Vec<PeerWatched>,
}

impl Watch {
    /// Makes a watch of our UDP port and of the peers' endpoints.
    pub(super) fn new(port: u16, endpoints: Vec<Option<SocketAddr>>) -> Self {
        let seen = Seen { peers: vec![PeerWatched::default(); endpoints.len()], ..Seen::default() };
        Self { port, endpoints, seen: Mutex::new(seen), is_over: AtomicBool::new(false) }
    }

    /// Looks for `patience`, in the network namespace of this thread, or until it is told to stop.
    ///
    /// # Errors
    /// The OS's.
    pub(super) fn run(&self, tap: &mut Tap, patience: Duration) -> io::Result<()> {
        let mut locals = Locals::default();
        let start = LinuxClock.now();
        let elapsed = || LinuxClock.now().since(start);
        while elapsed() < patience && !self.is_over.load(Ordering::Relaxed) {
            let passed = tap.next(STEP)?;
            let mut seen = self.lock();
            seen.device.duration = elapsed();
            if let Some(passed) = passed {
                self.note(passed, &mut locals, &mut seen);
            }
        }
        Ok(())
    }

    /// Has the thread that looks end.
    pub(super) fn stop(&self) {
        // It carries no data: what was seen is behind a lock.
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Returns what was seen so far.
    pub(super) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, passed: Passed, locals: &mut Locals, seen: &mut Seen) {
        let peer_at = |address: SocketAddr| self.endpoints.iter().position(|endpoint| *endpoint == Some(address));
        match passed {
            Passed::Error { from, error, src, dst } if src.port() == self.port => {
                if let Some(peer) = peer_at(dst) {
                    seen.peers[peer].error = Some((error, from));
                }
            }
            Passed::Datagram { src, dst, kind } => match (peer_at(dst), peer_at(src)) {
                (Some(peer), _) if src.port() == self.port => {
                    seen.peers[peer].sent += u64::from(kind == Some(INITIATION))
                }
                (_, peer) if dst.port() == self.port && locals.has(dst.ip()) => {
                    if let Some(peer) = peer {
                        seen.peers[peer].answered += 1;
                    }
                    if kind.is_some_and(|kind| HANDSHAKES.contains(&kind)) {
                        seen.device.arrived += 1;
                        seen.device.from = Some(src);
                    }
                }
                _ => {}
            },
            Passed::Error { .. } => {}
        }
    }
}

/// The addresses of this machine, as far as they were asked for: what it forwards is not for its own port.
#[derive(Default)]
struct Locals(HashMap<IpAddr, bool>);

impl Locals {
    fn has(&mut self, address: IpAddr) -> bool {
        if self.0.len() > MAX_ADDRESSES {
            return false;
        }
        *self.0.entry(address).or_insert_with(|| UdpSocket::bind((address, 0)).is_ok())
    }
}

/// How long nothing may pass before it is asked whether it is over.
const STEP: Duration = Duration::from_millis(50);
const INITIATION: u8 = 1;
/// Initiations, responses, cookie replies.
const HANDSHAKES: std::ops::RangeInclusive<u8> = 1..=3;
/// A machine has few addresses; others come from whoever sends.
const MAX_ADDRESSES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::linux::tap::IcmpError;

    #[test]
    fn directions_are_told_apart_by_address_where_both_ends_have_the_same_port() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let (ours, theirs) = (address("127.0.0.1:51820"), address("192.0.2.7:51820"));
        let watch = Watch::new(51820, vec![None, Some(theirs)]);
        let note = |passed| watch.note(passed, &mut Locals::default(), &mut watch.lock());
        note(Passed::Datagram { src: ours, dst: theirs, kind: Some(1) });
        note(Passed::Datagram { src: theirs, dst: ours, kind: Some(2) });
        note(Passed::Datagram { src: theirs, dst: ours, kind: Some(4) });
        // For another machine: 192.0.2.8 is none of ours.
        note(Passed::Datagram { src: theirs, dst: address("192.0.2.8:51820"), kind: Some(2) });
        let (error, from) = (IcmpError::PortUnreachable, theirs.ip());
        note(Passed::Error { from, error, src: ours, dst: address("192.0.2.9:51820") });
        let seen = watch.seen();
        assert_eq!(seen.peers[1], PeerWatched { sent: 1, answered: 2, error: None });
        assert_eq!((seen.device.arrived, seen.device.from), (1, Some(theirs)));
        note(Passed::Error { from, error, src: ours, dst: theirs });
        assert_eq!(watch.seen().peers[1].error, Some((error, from)));
    }
}
