//! What happens to peers, told to those who asked: events, and the bounded queue of each subscriber.
//!
//! ```text
//!   settle, configure ──► publish ──► a queue per subscriber ──► Subscription::take
//!   (handshake, roam, change)   └───► wake, after the peer's lock is gone
//! ```
//! An event is a matter of a handshake, a roam or a configuration, never of a packet, and of nothing that is not
//! authentic: who only sends noise makes none. A subscriber that does not keep up loses the oldest events and is told
//! how many: nobody waits for it. Events of one peer come in the order in which they happened.
//!
//! Not here: when a peer counts as connected or silent (see `proto::peer`), what is done with events (see `control`).
//!
//! # Locking
//! A queue is locked last of all and for one push: also under the lock of a peer, which keeps the order. `wake` of a
//! subscriber is called with nothing locked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::device::Device;
use super::peer::Peer;
use super::sync::{Mutex, RwLock, lock, read, write};
use crate::proto::allowedips::Prefix;
use crate::proto::keys::PublicKey;
use crate::proto::time::WallTime;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: WallTime,
    /// To which peer; `None`: to the interface.
    pub peer: Option<PublicKey>,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A handshake completed, confirmed by both sides, with a peer that was not connected: its first one, or the first
    /// since the interface came up or since [`EventKind::Silent`]. A rekey is no event.
    Connected {
        /// Where it is.
        endpoint: SocketAddr,
    },
    /// Nothing authentic came for 180 s from a peer that was connected: every session with it has expired. An idle peer
    /// without keepalives does this, too.
    Silent {
        /// Where it was.
        endpoint: Option<SocketAddr>,
    },
    /// Something authentic came from another address than before, and the endpoint followed it. A first endpoint is
    /// told by [`EventKind::Connected`].
    Roamed {
        /// The endpoint before.
        from: SocketAddr,
        /// The endpoint from here on.
        to: SocketAddr,
    },
    /// The endpoint was changed because its name resolves to another address.
    EndpointChanged {
        /// The endpoint before.
        from: Option<SocketAddr>,
        /// The endpoint from here on.
        to: SocketAddr,
    },
    /// Nobody answered 20 initiations in 90 s; the next one is sent when there is data to send.
    HandshakeGaveUp {
        /// Where they went.
        endpoint: Option<SocketAddr>,
    },
    /// The peer was added.
    PeerAdded,
    /// The peer was removed, and all that belonged to it.
    PeerRemoved,
    /// A prefix that was the peer's was given to another one.
    AllowedIpStolen {
        /// The prefix.
        prefix: Prefix,
        /// The peer that has it.
        by: PublicKey,
    },
    /// The private key of the interface was taken away: no handshake is possible.
    PrivateKeyRemoved,
    /// The UDP port of the interface was changed by configuration: peers that do not hear from us cannot find us.
    ListenPortChanged {
        /// The port before.
        from: u16,
        /// The port from here on.
        to: u16,
    },
}

/// Those who want to be told.
#[derive(Default)]
pub(super) struct Events {
    /// The length of the list, read before the list is locked. Who subscribes while an event happens may miss it, hence
    /// relaxed.
    count: AtomicUsize,
    subscribers: RwLock<Vec<Weak<Subscriber>>>,
}

struct Subscriber {
    queue: Mutex<Queue>,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Arc<Event>>,
    missed: u64,
}

/// A queue of events, from the moment it was made until it is dropped.
pub struct Subscription {
    device: Weak<Device>,
    subscriber: Arc<Subscriber>,
}

/// What was waiting for a subscriber.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many events were lost because the queue was full: they came before the others.
    pub missed: u64,
    /// The events, oldest first.
    pub events: Vec<Arc<Event>>,
}

impl Device {
    /// Makes a subscription. `wake` is called after events were put into it, from the threads in which they happen: it
    /// must not block. Then, or at any other time, [`Subscription::take`] takes them.
    pub fn subscribe(self: &Arc<Self>, wake: impl Fn() + Send + Sync + 'static) -> Subscription {
        let subscriber = Arc::new(Subscriber { queue: Mutex::default(), wake: Box::new(wake) });
        let mut subscribers = write(&self.events.subscribers);
        subscribers.push(Arc::downgrade(&subscriber));
        self.events.count.store(subscribers.len(), Ordering::Relaxed);
        Subscription { device: Arc::downgrade(self), subscriber }
    }

    /// Logs an event and tells the subscribers. Not for callers that hold the lock of a peer: see
    /// [`Device::publish`].
    pub(super) fn announce(&self, peer: Option<&Peer>, kind: EventKind) {
        self.publish(peer, kind);
        self.tell(peer, kind);
    }

    /// Puts an event into the queues. The caller calls [`Device::tell`] for it when it holds no lock.
    pub(super) fn publish(&self, peer: Option<&Peer>, kind: EventKind) {
        if self.events.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let peer = peer.map(|peer| peer.public_key);
        let event = Arc::new(Event { at: self.platform.clock.wall(), peer, kind });
        for subscriber in read(&self.events.subscribers).iter().filter_map(Weak::upgrade) {
            lock(&subscriber.queue).push(event.clone());
        }
    }

    /// Logs an event that was published and wakes the subscribers.
    pub(super) fn tell(&self, peer: Option<&Peer>, kind: EventKind) {
        log(peer, kind);
        if self.events.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let subscribers = read(&self.events.subscribers).clone();
        subscribers.iter().filter_map(Weak::upgrade).for_each(|subscriber| (subscriber.wake)());
    }
}

impl Queue {
    fn push(&mut self, event: Arc<Event>) {
        if self.events.len() >= MAX_QUEUED_EVENTS {
            self.events.pop_front();
            self.missed += 1;
        }
        self.events.push_back(event);
    }
}

impl Subscription {
    /// Takes all events that wait, and the count of those that were lost since the last time.
    pub fn take(&self) -> Taken {
        let queue = std::mem::take(&mut *lock(&self.subscriber.queue));
        Taken { missed: queue.missed, events: queue.events.into() }
    }
}

/// Nothing is queued from here on.
impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(device) = self.device.upgrade() else { return };
        let mut subscribers = write(&device.events.subscribers);
        let own = Arc::as_ptr(&self.subscriber);
        subscribers.retain(|subscriber| subscriber.as_ptr() != own);
        device.events.count.store(subscribers.len(), Ordering::Relaxed);
    }
}

impl EventKind {
    /// Returns the name that programs know it by: stable, lower case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connected",
            Self::Silent { .. } => "silent",
            Self::Roamed { .. } => "roamed",
            Self::EndpointChanged { .. } => "endpoint-changed",
            Self::HandshakeGaveUp { .. } => "handshake-gave-up",
            Self::PeerAdded => "added",
            Self::PeerRemoved => "removed",
            Self::AllowedIpStolen { .. } => "allowed-ip-stolen",
            Self::PrivateKeyRemoved => "private-key-removed",
            Self::ListenPortChanged { .. } => "listen-port-changed",
        }
    }
}

fn log(peer: Option<&Peer>, kind: EventKind) {
    let Some(peer) = peer.map(Peer::label) else {
        return match kind {
            EventKind::PrivateKeyRemoved => tracing::warn!("The private key was removed: no handshake is possible"),
            EventKind::ListenPortChanged { from, to } => tracing::warn!("The listen port moves from {from} to {to}"),
            _ => {}
        };
    };
    match kind {
        EventKind::Connected { endpoint } => tracing::debug!("Peer {peer} ({endpoint}) is connected"),
        EventKind::Silent { .. } => tracing::debug!("Peer {peer} is silent: nothing came from it for 180 s"),
        EventKind::Roamed { from, to } => tracing::debug!("Peer {peer} roamed from {from} to {to}"),
        EventKind::EndpointChanged { to, .. } => tracing::debug!("Endpoint of peer {peer} changed to {to}"),
        EventKind::HandshakeGaveUp { .. } => tracing::debug!(
            "Handshake for peer {peer} did not complete after 20 attempts, giving up until there is new data"
        ),
        EventKind::PeerAdded => tracing::debug!("Peer {peer} added"),
        EventKind::PeerRemoved => tracing::debug!("Peer {peer} removed"),
        EventKind::AllowedIpStolen { prefix, by } => {
            tracing::warn!("Allowed IP {prefix} moves from peer {peer} to peer {by:?}");
        }
        EventKind::PrivateKeyRemoved | EventKind::ListenPortChanged { .. } => {}
    }
}

/// Events that wait for a subscriber; beyond that the oldest make room. They are shared: 8 bytes each and 120 once.
const MAX_QUEUED_EVENTS: usize = 4096;
