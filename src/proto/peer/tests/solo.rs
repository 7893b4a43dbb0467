//! One peer alone, told what happens to it; what it asks for is collected, handshakes are made up.

use super::*;
use crate::proto::handshake::{PendingInitiation, create_initiation};
use crate::proto::keypair::SessionKeys;
use crate::proto::keys::SessionKey;
use crate::proto::messages::INITIATION_LEN;

/// One peer; what it asks for is collected, handshakes are made up.
pub(super) struct Solo {
    pub(super) peer: Peer,
    pub(super) rng: StdRng,
    pub(super) next_index: u32,
    pub(super) next_stamp: u8,
}

impl Solo {
    /// Makes a peer that is up, with an endpoint and an identity; what that asks for is drained.
    pub(super) fn new() -> Self {
        let mut peer = Peer::new(PublicKey([9; 32]), SharedSecret::new([7; 32]));
        peer.set_endpoint(address(9));
        peer.up(start());
        let mut solo = Self { peer, rng: StdRng::seed_from_u64(1), next_index: 1, next_stamp: 1 };
        solo.drain();
        solo
    }

    pub(super) fn with_session(role: Role, birth: Instant) -> Self {
        let mut solo = Self::new();
        match role {
            Role::Initiator => solo.install_as_initiator(birth),
            Role::Responder => {
                let index = solo.install_as_responder(birth);
                solo.receive(birth, index, false);
                index
            }
        };
        solo.drain();
        solo
    }

    pub(super) fn keys(&mut self, role: Role) -> SessionKeys {
        let local = Index(self.next_index);
        self.next_index += 1;
        let key = || SessionKey::new([3; 32]);
        SessionKeys { role, send: key(), receive: key(), local, remote: Index(local.0 + 1000) }
    }

    /// A response to an initiation of ours arrived.
    pub(super) fn install_as_initiator(&mut self, now: Instant) -> Index {
        let keys = self.keys(Role::Initiator);
        let index = keys.local;
        self.peer.handshake = Handshake::Lent(index);
        let epoch = self.peer.epoch;
        self.peer.commit_session(now, wall_at(now), &mut self.rng, epoch, keys, learned(9)).unwrap();
        index
    }

    pub(super) fn stamp(&mut self) -> Timestamp {
        self.next_stamp += 1;
        let mut stamp = [0; 12];
        stamp[0] = self.next_stamp;
        Timestamp(stamp)
    }

    /// An initiation arrived and is answered.
    pub(super) fn install_as_responder(&mut self, now: Instant) -> Index {
        let stamp = self.stamp();
        let epoch = self.peer.accept_initiation(now, &mut self.rng, stamp, learned(9)).unwrap();
        let keys = self.keys(Role::Responder);
        let index = keys.local;
        self.peer.commit_response(now, &mut self.rng, epoch, keys, &mut [0; RESPONSE_LEN]).unwrap();
        index
    }

    /// Begins an initiation and commits it; false if none was allowed.
    pub(super) fn initiate(&mut self, now: Instant) -> bool {
        let Some(plan) = self.peer.begin_initiation(now, wall_at(now)) else { return false };
        let (pending, mut message) = self.compute(&plan);
        self.peer.commit_initiation(now, &mut self.rng, plan.epoch, pending, &mut message).unwrap();
        true
    }

    pub(super) fn compute(&mut self, plan: &InitiationPlan) -> (PendingInitiation, [u8; INITIATION_LEN]) {
        let (own, other) = (identity(1), identity(2));
        let index = Index(self.next_index);
        self.next_index += 1;
        let (pending, message) = create_initiation(
            &own,
            other.public_key(),
            &own.static_static(other.public_key()).unwrap(),
            &plan.preshared_key,
            plan.timestamp,
            index,
            &mut self.rng,
        )
        .unwrap();
        (pending, message)
    }

    /// A transport packet with `index` was accepted.
    pub(super) fn receive(&mut self, now: Instant, index: Index, data: bool) {
        let received = Received { index, from: learned(9), data };
        self.peer.on_received(now, wall_at(now), &mut self.rng, received);
    }

    /// A data packet was accepted under the current session.
    pub(super) fn receive_data(&mut self, now: Instant) {
        let index = self.current();
        self.receive(now, index, true);
    }

    /// A data packet or keepalive left.
    pub(super) fn send(&mut self, now: Instant, data: bool) {
        assert!(self.peer.reserve(now, 1).is_some());
        let bytes = if data { DATA_LEN } else { KEEPALIVE_LEN as u64 };
        self.peer.on_sent(now, &mut self.rng, Sent { bytes, packets: 1, data });
    }

    pub(super) fn timeout(&mut self, now: Instant) -> Vec<String> {
        self.peer.handle_timeout(now, &mut self.rng);
        self.drain()
    }

    /// Drains; outputs as text, without those that only tell of a peer's presence (see `tests::presence`).
    pub(super) fn drain(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.peer.poll_output())
            .filter(|output| !matches!(output, Output::Connected | Output::Silent | Output::Roamed(_)))
            .map(|output| match output {
                Output::Publish(keypair) => format!("Publish({})", keypair.local.0),
                Output::Release(index) => format!("Release({})", index.0),
                other => format!("{other:?}"),
            })
            .collect()
    }

    pub(super) fn current(&self) -> Index {
        self.peer.sessions.current.as_ref().unwrap().keypair.local
    }

    /// The indices in previous, current, next; 0 for an empty slot.
    pub(super) fn slots(&self) -> [u32; 3] {
        let sessions = &self.peer.sessions;
        [&sessions.previous, &sessions.current, &sessions.next]
            .map(|slot| slot.as_ref().map_or(0, |session| session.keypair.local.0))
    }

    /// Asserts that nothing happens up to 1 ms before `due`, and returns what happens then. Presence does not count.
    pub(super) fn only_at(&mut self, due: Instant) -> Vec<String> {
        assert_eq!(self.peer.timers.next_deadline(), Some(due));
        assert_eq!(self.timeout(due.minus(MS)), [""; 0]);
        self.timeout(due)
    }
}
