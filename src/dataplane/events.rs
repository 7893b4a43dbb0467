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
pub use super::peer::PeerLabel;
use super::sync::{Mutex, RwLock, lock, read, write};
use crate::proto::allowedips::Prefix;
use crate::proto::endpoint::Endpoint;
use crate::proto::peer::Output;
use crate::proto::time::WallTime;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: WallTime,
    /// To which peer; `None`: to the interface.
    pub peer: Option<PeerLabel>,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        by: PeerLabel,
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
pub struct Events {
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
    events: Weak<Events>,
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

impl Events {
    /// Makes a subscription. `wake` is called after events were put into it, from the threads in which they happen: it
    /// must not block. Then, or at any other time, [`Subscription::take`] takes them.
    pub fn subscribe(self: &Arc<Self>, wake: impl Fn() + Send + Sync + 'static) -> Subscription {
        let subscriber = Arc::new(Subscriber { queue: Mutex::default(), wake: Box::new(wake) });
        let mut subscribers = write(&self.subscribers);
        subscribers.push(Arc::downgrade(&subscriber));
        self.count.store(subscribers.len(), Ordering::Relaxed);
        Subscription { events: Arc::downgrade(self), subscriber }
    }

    /// Puts an event into the queues. The caller calls [`Events::wake`] when it holds no lock.
    pub fn publish(&self, event: &Event) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let event = Arc::new(event.clone());
        for subscriber in read(&self.subscribers).iter().filter_map(Weak::upgrade) {
            lock(&subscriber.queue).push(event.clone());
        }
    }

    /// Wakes the subscribers.
    pub fn wake(&self) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let subscribers = read(&self.subscribers).clone();
        subscribers.iter().filter_map(Weak::upgrade).for_each(|subscriber| (subscriber.wake)());
    }
}

impl Device {
    /// Returns where events are told, for [`Events::subscribe`].
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Publishes what configuration has done. Not for callers that hold the lock of a peer.
    pub(super) fn announce(&self, peer: Option<&Peer>, kind: EventKind) {
        let event = self.event(peer, kind);
        self.events.publish(&event);
        self.events.wake();
    }

    /// Makes an event of this moment.
    pub(super) fn event(&self, peer: Option<&Peer>, kind: EventKind) -> Event {
        Event { at: self.platform.clock.wall(), peer: peer.map(Peer::label), kind }
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
        let Some(events) = self.events.upgrade() else { return };
        let mut subscribers = write(&events.subscribers);
        let own = Arc::as_ptr(&self.subscriber);
        subscribers.retain(|subscriber| subscriber.as_ptr() != own);
        events.count.store(subscribers.len(), Ordering::Relaxed);
    }
}

impl EventKind {
    /// Translates an output of the protocol core, whose endpoint is `endpoint` by then; `None` if it is no event.
    pub(super) fn of(output: &Output, endpoint: Option<Endpoint>) -> Option<Self> {
        let endpoint = endpoint.map(|endpoint| endpoint.remote);
        match *output {
            Output::Connected => endpoint.map(|endpoint| Self::Connected { endpoint }),
            Output::Silent => Some(Self::Silent { endpoint }),
            // Back where it was before anybody was told is no move.
            Output::Roamed(from) => endpoint.filter(|to| *to != from).map(|to| Self::Roamed { from, to }),
            Output::HandshakeGaveUp => Some(Self::HandshakeGaveUp { endpoint }),
            _ => None,
        }
    }

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

/// Events that wait for a subscriber; beyond that the oldest make room. They are shared between subscribers, but while
/// nobody else holds them that is half a megabyte for one who does not keep up.
const MAX_QUEUED_EVENTS: usize = 4096;
