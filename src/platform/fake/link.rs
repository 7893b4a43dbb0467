//! A bad network with a seed: it loses, delays, reorders and doubles datagrams, is cut, and translates addresses.
//!
//! [`Link`] is one direction. It has no clock, no socket and no thread: datagrams and `now` go in, datagrams and one
//! deadline come out. [`Nat`] is the box in front of one end.
//!
//! Not here: who talks to whom (see `network`).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::network::Train;
use crate::proto::time::Instant;

/// How bad a network is. Chances are per mille of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Never arrive.
    pub loss: u32,
    /// Arrive twice, each copy with a delay of its own.
    pub duplicates: u32,
    /// Arrive late by up to ten times the jitter, after datagrams sent later.
    pub reordering: u32,
    /// The least time on the way.
    pub delay: Duration,
    /// Added to the delay, drawn evenly from zero to this.
    pub jitter: Duration,
    /// Nothing arrives.
    pub cut: bool,
}

/// One direction of a network.
pub struct Link {
    rng: StdRng,
    conditions: Conditions,
    /// By time of arrival, and by order of sending among equals.
    on_the_way: BTreeMap<(Instant, u64), Train>,
    sent: u64,
}

impl Link {
    /// Makes an empty link.
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), conditions, on_the_way: BTreeMap::new(), sent: 0 }
    }

    /// Changes the conditions for what is sent from now on; what is on its way arrives as foreseen.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// Returns the conditions.
    pub fn conditions(&self) -> Conditions {
        self.conditions
    }

    /// Sends the datagrams of `train`, each with a fate of its own.
    pub fn send(&mut self, now: Instant, train: &Train) {
        for datagram in train.split() {
            if self.conditions.cut || self.happens(self.conditions.loss) {
                continue;
            }
            if self.happens(self.conditions.duplicates) {
                self.put(now, datagram.clone());
            }
            self.put(now, datagram);
        }
    }

    /// Returns when the next datagram arrives.
    pub fn next_delivery(&self) -> Option<Instant> {
        self.on_the_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next datagram that has arrived at `now`.
    pub fn poll(&mut self, now: Instant) -> Option<Train> {
        let first = self.on_the_way.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn put(&mut self, now: Instant, datagram: Train) {
        let Conditions { delay, jitter, reordering, .. } = self.conditions;
        let spread = if self.happens(reordering) { jitter * 10 } else { jitter };
        let spread = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
        let at = now.plus(delay).plus(Duration::from_nanos(self.rng.random_range(0..=spread)));
        self.on_the_way.insert((at, self.sent), datagram);
        self.sent += 1;
    }

    fn happens(&mut self, per_mille: u32) -> bool {
        self.rng.random_range(0..1000) < per_mille
    }
}

/// Address translation in front of one host: one outer address, a port for each inner socket, open to everyone.
#[derive(Clone, Debug)]
pub struct Nat {
    outside: IpAddr,
    /// Inner socket and the outer port it has now.
    mappings: Vec<(SocketAddr, u16)>,
    next_port: u16,
}

impl Nat {
    /// Makes a box with the outer address `outside`.
    pub fn new(outside: IpAddr) -> Self {
        Self { outside, mappings: Vec::new(), next_port: 20_000 }
    }

    /// Translates the sender of a train that leaves.
    pub fn outbound(&mut self, train: &mut Train) {
        let port = match self.mappings.iter().find(|(inside, _)| *inside == train.from) {
            Some((_, port)) => *port,
            None => {
                self.next_port += 1;
                self.mappings.push((train.from, self.next_port));
                self.next_port
            }
        };
        train.from = (self.outside, port).into();
    }

    /// Translates the receiver of a train that comes in; false if nobody has that port any more.
    pub fn inbound(&self, train: &mut Train) -> bool {
        let mapping = self.mappings.iter().find(|(_, port)| train.to == (self.outside, *port).into());
        if let Some((inside, _)) = mapping {
            train.to = *inside;
        }
        mapping.is_some()
    }

    /// Forgets all mappings, as after a restart: the next train that leaves has a port never used before.
    pub fn rebind(&mut self) {
        self.mappings.clear();
    }
}

#[cfg(test)]
mod tests;
