//! Someone who sees everything and can send anything, from an address of his own.

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rvpn::platform::fake::Train;
use rvpn::proto::time::Instant;

/// His address: nobody has a reason to send to it.
pub(crate) const ADDRESS: &str = "203.0.113.66:6666";

/// What he knows.
pub(crate) struct Attacker {
    rng: StdRng,
    /// What has reached each node and was consumed: of no more worth than a forgery.
    seen: Vec<Vec<Train>>,
    last_initiation: Vec<Option<Instant>>,
}

impl Attacker {
    /// Makes one who has seen nothing of `nodes` nodes.
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        Self { rng: StdRng::seed_from_u64(!seed), seen: vec![Vec::new(); nodes], last_initiation: vec![None; nodes] }
    }

    /// Remembers what node `n` has consumed. An initiation that came right after another was refused as a flood, not
    /// consumed, so that it would be as good as new.
    pub(crate) fn saw(&mut self, n: usize, now: Instant, train: &Train) {
        if train.bytes[0] == 1
            && let Some(last) = self.last_initiation[n].replace(now)
            && now.since(last) < Duration::from_millis(100)
        {
            return;
        }
        if self.seen[n].len() == 64 {
            self.seen[n].remove(0);
        }
        self.seen[n].push(train.clone());
    }

    /// Forgets what node `n` has consumed: it has forgotten it too, with the peer that it came from.
    pub(crate) fn forget(&mut self, n: usize) {
        self.seen[n].clear();
    }

    /// Makes garbage, a replay, and a replay with a bit changed, for node `n` at `to`.
    pub(crate) fn forge(&mut self, n: usize, to: SocketAddr) -> Vec<Train> {
        let from = ADDRESS.parse().expect("an address and a port");
        let mut garbage = vec![0; self.rng.random_range(0..300)];
        self.rng.fill(&mut garbage[..]);
        let mut forged = vec![Train::datagram(from, to, &garbage)];
        if !self.seen[n].is_empty() {
            let seen = self.seen[n][self.rng.random_range(0..self.seen[n].len())].clone();
            let mut changed = seen.bytes.clone();
            let bit = self.rng.random_range(0..changed.len() * 8);
            // The 16 bytes of an empty mac2 at the end are not checked without load, and carry no authority.
            changed[bit / 8] ^= 1 << (bit % 8);
            forged.push(Train::datagram(from, to, &seen.bytes));
            forged.push(Train::datagram(from, to, &changed));
        }
        forged
    }
}
