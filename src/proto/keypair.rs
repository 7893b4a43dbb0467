//! A session: two keys, two indices, a birth date. Immutable, shared by `Arc` between the peer and batches in flight.
//!
//! Not here: the send counter, the replay window and which slot a keypair is in: they change, so they live in `peer`.

use super::carried::{Carried, Malformed, Reader, Writer};
use super::crypto::{PacketAead, PacketKey};
use super::index::Index;
use super::keys::SessionKey;
use super::time::Instant;

/// Who started the handshake of a session. Only the initiator renews it because of its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We sent the initiation.
    Initiator,
    /// We answered it.
    Responder,
}

/// What a handshake yields.
pub struct SessionKeys {
    /// Our role.
    pub role: Role,
    /// Key for what we send.
    pub send: SessionKey,
    /// Key for what we receive.
    pub receive: SessionKey,
    /// The index we chose: in messages we receive.
    pub local: Index,
    /// The index the peer chose: in messages we send.
    pub remote: Index,
}

/// The immutable part of a session.
pub struct Keypair {
    /// Our role in its handshake.
    pub role: Role,
    /// The index in messages we receive.
    pub local: Index,
    /// The index in messages we send.
    pub remote: Index,
    /// When it was derived.
    pub birth: Instant,
    /// Seals what we send.
    pub sender: PacketKey,
    /// Opens what we receive.
    pub receiver: PacketKey,
    /// The two keys as bytes, sending first: a process that takes over makes contexts of its own.
    raw: [SessionKey; 2],
}

impl Keypair {
    /// Makes the keypair of a session derived at `now`.
    pub fn new(keys: &SessionKeys, now: Instant) -> Self {
        Self {
            role: keys.role,
            local: keys.local,
            remote: keys.remote,
            birth: now,
            sender: PacketKey::new(&keys.send),
            receiver: PacketKey::new(&keys.receive),
            raw: [keys.send.clone(), keys.receive.clone()],
        }
    }

    /// Appends the keypair, for another process: see [`super::carried`].
    pub fn write(&self, out: &mut Writer) {
        (self.role == Role::Initiator).write(out);
        self.local.write(out);
        self.remote.write(out);
        self.birth.write(out);
        self.raw.iter().for_each(|key| key.write(out));
    }

    /// Makes the keypair that [`Keypair::write`] wrote in another process.
    ///
    /// # Errors
    /// [`Malformed`], also if it was born later than `now`: it would live too long.
    pub fn read(now: Instant, input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let role = if bool::read(input)? { Role::Initiator } else { Role::Responder };
        let (local, remote, birth) = (Index::read(input)?, Index::read(input)?, Instant::read(input)?);
        let (send, receive) = (SessionKey::read(input)?, SessionKey::read(input)?);
        let keys = SessionKeys { role, send, receive, local, remote };
        if birth <= now { Ok(Self::new(&keys, birth)) } else { Err(Malformed) }
    }
}

impl std::fmt::Debug for Keypair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keypair({:?} {:?}->{:?})", self.role, self.local, self.remote)
    }
}
