//! The addresses at which a peer may be reached, and to which of them an initiation goes.
//!
//! One initiation is one datagram. Where more than one address comes into question, that same datagram is sent to them
//! one after another, until a response to it is authenticated: the address it came from is then the peer's endpoint, as
//! after any handshake. To the peer the copies are one message: it answers the first that comes, by any way, and drops
//! the others as replayed. So a race costs no more of anybody's limits than the initiation it is made of.
//!
//! ```text
//!             the endpoint answers            three messages unanswered, or its name points elsewhere
//!   (none) ------------------------> endpoint alone ----------------------------------------.
//!      |                                 ^                                                   v
//!      '---- all of the list ------------+------ a response, from any of them ------- endpoint, list
//! ```
//!
//! In strict order there is no such state: each initiation begins at the head of the list, so that the first that is
//! back has the peer from the next handshake on.
//!
//! Not here: names (see `dataplane::candidates`), when an initiation is made (see `peer`), sending.
//!
//! Source: RFC 8305 for the 250 ms between attempts; the rest is this project's.

use std::net::SocketAddr;
use std::time::Duration;

use super::constants::REKEY_TIMEOUT;
use super::endpoint::Endpoint;
use super::messages::INITIATION_LEN;

/// Addresses of one peer that are used; what is beyond is left out. All of them are asked within 4 s, before the next
/// initiation is due.
pub const MAX_CANDIDATES: usize = 16;

/// Which of the addresses is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The one that answered first, until it is silent.
    #[default]
    Fastest,
    /// The first of the list that answers; looked for anew with each handshake.
    Strict,
}

/// Where a peer may be.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    addresses: Vec<SocketAddr>,
    order: Order,
    /// Initiations since a message of a handshake last came from the peer.
    unanswered: u32,
    /// The peer was heard at the endpoint in use, and nothing says that it has moved.
    is_proven: bool,
    /// The endpoint in use was on the list and is no more.
    is_withdrawn: bool,
}

impl Candidates {
    /// Takes another list, and says what has become of the endpoint in use.
    pub(super) fn set(&mut self, mut addresses: Vec<SocketAddr>, endpoint: Option<&Endpoint>) {
        addresses.truncate(MAX_CANDIDATES);
        let before = std::mem::replace(&mut self.addresses, addresses);
        let Some(remote) = endpoint.map(|endpoint| endpoint.remote) else { return };
        let is_listed = contains(&self.addresses, remote);
        // Where the peer roamed to was on no list; it is left for a list only when it is silent.
        self.is_withdrawn = !is_listed && (self.is_withdrawn || contains(&before, remote));
        self.is_proven &= !self.is_withdrawn;
    }

    /// Takes another order.
    pub(super) fn set_order(&mut self, order: Order) {
        self.order = order;
    }

    /// Returns the order.
    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// Returns the first address.
    pub(super) fn first(&self) -> Option<SocketAddr> {
        self.addresses.first().copied()
    }

    /// Tells whether the endpoint in use was on the list and is no more.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.is_withdrawn
    }

    /// The endpoint was set by configuration.
    pub(super) fn endpoint_was_set(&mut self) {
        (self.is_proven, self.is_withdrawn) = (false, false);
    }

    /// A message of a handshake came from the peer, and its source is the endpoint.
    pub(super) fn heard(&mut self) {
        self.unanswered = 0;
        (self.is_proven, self.is_withdrawn) = (true, false);
    }

    /// An initiation is about to be sent. Returns where to, in this order.
    pub(super) fn next_round(&mut self, endpoint: SocketAddr) -> Vec<SocketAddr> {
        let keeps_to_endpoint = self.is_proven && self.unanswered < LOST_HANDSHAKES;
        self.unanswered = self.unanswered.saturating_add(1);
        match self.order {
            Order::Fastest if keeps_to_endpoint => vec![endpoint],
            _ => self.round(endpoint),
        }
    }

    /// Returns all addresses in the order in which they are asked.
    pub(super) fn round(&self, endpoint: SocketAddr) -> Vec<SocketAddr> {
        let mut round = self.addresses.clone();
        // Where the peer was last is the best guess, unless its name says that it has left.
        let is_first = self.order == Order::Fastest && !self.is_withdrawn;
        if is_first {
            round.retain(|&address| !same(address, endpoint));
            round.insert(0, endpoint);
        } else if !contains(&round, endpoint) {
            round.push(endpoint);
        }
        round
    }

    /// Returns how long one address is waited for before the next is asked, too.
    pub(super) fn spacing(&self, count: usize) -> Duration {
        match self.order {
            Order::Fastest => RACE_SPACING,
            Order::Strict => STRICT_SPACING.min(REKEY_TIMEOUT / u32::try_from(count.max(1)).unwrap_or(u32::MAX)),
        }
    }
}

/// An initiation that was sent, for as long as it may be answered.
#[derive(Debug)]
pub(super) struct Attempt {
    /// With its MACs, as it was sent.
    pub(super) message: [u8; INITIATION_LEN],
    asked: Vec<SocketAddr>,
    left: Vec<SocketAddr>,
    /// How often all of them are to be asked again.
    repeats: u8,
}

impl Attempt {
    /// Makes one that was sent to the first of `round`, which is not empty. If it `is_urgent`, it is sent again each second
    /// until the next initiation is due.
    pub(super) fn new(message: [u8; INITIATION_LEN], round: &[SocketAddr], is_urgent: bool) -> Self {
        let (asked, left) = round.split_at(round.len().min(1));
        let repeats = if is_urgent { REPEATS } else { 0 };
        Self { message, asked: asked.to_vec(), left: left.to_vec(), repeats }
    }

    /// Returns when to go on after an address was asked; `None`: not at all.
    pub(super) fn pause(&self, spacing: Duration) -> Option<Duration> {
        match (self.goes_on(), self.repeats) {
            (true, _) => Some(spacing),
            (false, 0) => None,
            (false, _) => Some(REPEAT_SPACING),
        }
    }

    /// Begins another round, if all of this one were asked and there is to be another: of who was asked, or of all once
    /// three messages went unanswered.
    pub(super) fn repeat(&mut self, all: impl FnOnce() -> Vec<SocketAddr>) {
        if !self.goes_on() && self.repeats > 0 {
            self.repeats -= 1;
            let sent = u32::from(REPEATS - self.repeats);
            let round = if sent < LOST_HANDSHAKES { std::mem::take(&mut self.asked) } else { all() };
            self.restart(round);
        }
    }

    /// Tells whether there is an address that was not asked.
    pub(super) fn goes_on(&self) -> bool {
        !self.left.is_empty()
    }

    /// Returns the next address to ask.
    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        if self.left.is_empty() {
            return None;
        }
        let next = self.left.remove(0);
        self.asked.push(next);
        Some(next)
    }

    /// Goes on with what of `round` was not asked; tells whether there is anything.
    pub(super) fn widen(&mut self, mut round: Vec<SocketAddr>) -> bool {
        round.retain(|&address| !contains(&self.asked, address));
        self.left = round;
        self.goes_on()
    }

    /// Begins anew: the way to all of `round` is another one.
    pub(super) fn restart(&mut self, round: Vec<SocketAddr>) {
        self.asked.clear();
        self.left = round;
    }
}

fn contains(addresses: &[SocketAddr], address: SocketAddr) -> bool {
    addresses.iter().any(|&other| same(other, address))
}

/// An IPv4 address may be spelt as an IPv6 one; flow labels are nobody's address.
fn same(one: SocketAddr, other: SocketAddr) -> bool {
    let scope = |address: SocketAddr| match address {
        SocketAddr::V6(address) => address.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    let key = |address: SocketAddr| (address.ip().to_canonical(), address.port());
    // What is configured may lack the zone that a datagram comes with.
    key(one) == key(other) && (scope(one) == scope(other) || scope(one) == 0 || scope(other) == 0)
}

/// Copies of an initiation to a peer that answered a moment ago: one that meets a peer while it starts anew would else be
/// missed for five seconds.
pub const REPEATS: u8 = 4;
/// Between two of them.
pub const REPEAT_SPACING: Duration = Duration::from_secs(1);
/// Between two addresses of a race.
pub const RACE_SPACING: Duration = Duration::from_millis(250);
/// Between two addresses in strict order, if all of them are asked within the time of an initiation: longer than any
/// usable way takes to answer, so that a slow one is not passed over.
pub const STRICT_SPACING: Duration = Duration::from_secs(1);
/// Initiations after which an endpoint that was heard is no longer the only one asked.
pub const LOST_HANDSHAKES: u32 = 3;
