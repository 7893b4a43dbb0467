//! A device that keeps what it is told and moves no packets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rvpn_uapi::{AllowedIpChange, DeviceStatus, Errno, PeerSet, PeerStatus, Set};

use crate::control::host::Device;
use crate::control::metrics::Metrics;
use crate::control::server::Configurable;
use crate::dataplane::events::Events;
use crate::dataplane::objects::Objects;

#[derive(Default)]
pub(crate) struct Fake {
    status: Mutex<DeviceStatus>,
    is_busy: AtomicBool,
    was_entered_twice: AtomicBool,
    is_stopped: AtomicBool,
    hanging: Mutex<Vec<String>>,
    events: Arc<Events>,
}

impl Fake {
    /// The port that another program has.
    pub(crate) const TAKEN_PORT: u16 = 9;

    pub(crate) fn was_entered_twice(&self) -> bool {
        self.was_entered_twice.load(Ordering::SeqCst)
    }

    /// Has a thread not come round any more.
    pub(crate) fn hang(&self, thread: &str) {
        self.hanging.lock().expect("no panic").push(thread.to_owned());
    }

    /// Has all threads come round again.
    pub(crate) fn recover(&self) {
        self.hanging.lock().expect("no panic").clear();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    fn alone<R>(&self, run: impl FnOnce(&mut DeviceStatus) -> R) -> R {
        if self.is_busy.swap(true, Ordering::SeqCst) {
            self.was_entered_twice.store(true, Ordering::SeqCst);
        }
        let result = run(&mut self.status.lock().expect("no panic"));
        self.is_busy.store(false, Ordering::SeqCst);
        result
    }
}

impl Configurable for Fake {
    fn apply(&self, set: Set) -> Result<(), Errno> {
        self.alone(|status| {
            if set.listen_port == Some(Self::TAKEN_PORT) {
                return Err(Errno::ADDRESS_IN_USE);
            }
            if let Some(key) = set.private_key {
                status.private_key = Some(key).filter(|key| !key.is_zero());
            }
            status.listen_port = set.listen_port.unwrap_or(status.listen_port);
            status.fwmark = set.fwmark.unwrap_or(status.fwmark);
            if set.replace_peers {
                status.peers.clear();
            }
            // A map would be quicker, and the tests with many peers add new ones only.
            let known = status.peers.len();
            for change in set.peers {
                let position = status.peers[..known.min(status.peers.len())]
                    .iter()
                    .position(|peer| peer.public_key == change.public_key);
                apply_peer(status, position, change);
            }
            Ok(())
        })
    }

    fn status(&self) -> DeviceStatus {
        self.alone(|status| status.clone())
    }
}

impl Device for Fake {
    fn objects(&self) -> Objects {
        Objects::default()
    }

    fn metrics(&self) -> Metrics {
        crate::control::metrics::tests::metrics(&["one", ""])
    }

    fn events(&self) -> &Arc<Events> {
        &self.events
    }

    fn beat(&self) -> Vec<String> {
        self.hanging.lock().expect("no panic").clone()
    }

    fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
    }
}

fn apply_peer(status: &mut DeviceStatus, position: Option<usize>, change: PeerSet) {
    if change.remove {
        if let Some(position) = position {
            status.peers.remove(position);
        }
        return;
    }
    let position = position.unwrap_or_else(|| {
        status.peers.push(PeerStatus::new(change.public_key));
        status.peers.len() - 1
    });
    let peer = &mut status.peers[position];
    if let Some(key) = change.preshared_key {
        peer.preshared_key = Some(key).filter(|key| !key.is_zero());
    }
    peer.endpoint = change.endpoint.or(peer.endpoint);
    peer.persistent_keepalive = change.persistent_keepalive.unwrap_or(peer.persistent_keepalive);
    if change.replace_allowed_ips {
        peer.allowed_ips.clear();
    }
    for change in change.allowed_ips {
        match change {
            AllowedIpChange::Add(network) => peer.allowed_ips.push(network),
            AllowedIpChange::Remove(network) => peer.allowed_ips.retain(|&other| other != network),
        }
    }
}
