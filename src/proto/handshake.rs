//! Noise_IKpsk2 in both roles, as pure computation: no peer state is read or changed here.
//!
//! ```text
//! initiator                                                     responder
//! create_initiation      -- E(i), static, timestamp -->         consume_initiation: ReceivedInitiation
//!   PendingInitiation                                             (the peer checks replay and flood)
//!   consume_response     <-- E(r), nothing --                   ReceivedInitiation::respond
//!   SessionKeys                                                   SessionKeys
//! ```
//!
//! The pattern itself is run by `snow`, which is well known, with the primitives of `resolver`; a transcript written by
//! hand is the oracle in the tests. Of a whole handshake, both sides, X25519 is three quarters (measured with AWS-LC on
//! x86-64: 108 of 147 µs) and the key derivation most of the rest.
//!
//! # Locking
//! Diffie-Hellman happens in these functions, tens of microseconds each: no data lock may be held around them.
//!
//! Not here: MACs (see `cookie`), whether a handshake may happen now (see `peer`).
//!
//! Source: whitepaper sections 5.4.1 to 5.4.5; Noise specification revision 34.

use std::sync::{Arc, OnceLock};

use rand::CryptoRng;

use super::crypto::X25519;
use super::index::Index;
use super::keypair::{Role, SessionKeys};
use super::keys::{PresharedKey, PrivateKey, PublicKey, SharedSecret};
use super::messages::{self, INITIATION_LEN, RESPONSE_LEN};
use super::resolver::StaticKey;
use super::timestamp::Timestamp;

mod noise;
#[cfg(test)]
mod tests;

use noise::{Failure, Noise};

/// Why a handshake message was refused. `Copy`: counted by reason, logged at debug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The static key in the initiation is not one of our peers'. Whoever sent it claims to have that key; nothing
    /// proves it.
    #[error("unknown peer {0:?}")]
    UnknownPeer(PublicKey),
    /// A Diffie-Hellman result was zero: the other side's key is of low order.
    #[error("zero Diffie-Hellman result")]
    ZeroSharedSecret,
    /// A tag did not verify.
    #[error("authentication tag does not verify")]
    BadTag,
}

/// Our own static keys, computed once per private key. Shared by `Arc`; secrets wiped on drop.
pub struct Identity {
    private: PrivateKey,
    public: PublicKey,
    /// The private key as the back-end computes with it; handshakes in flight share it.
    key: Arc<X25519>,
}

impl Identity {
    /// Derives the public key.
    pub fn new(private: PrivateKey) -> Self {
        let key = X25519::new(&private);
        Self { public: key.public_key(), private, key: Arc::new(key) }
    }

    /// Returns our static public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Returns our static private key.
    pub fn private_key(&self) -> &PrivateKey {
        &self.private
    }

    /// Computes the static-static secret with `peer`; `None` for a low-order key.
    pub fn static_static(&self, peer: &PublicKey) -> Option<SharedSecret> {
        self.key.diffie_hellman(peer)
    }
}

/// Finds the cached static-static secret of a configured peer while an initiation is being opened.
///
/// The implementation must answer from what is cached: it is called for keys that anybody may have sent.
pub trait StaticSecrets: Send + Sync {
    /// Returns the secret, `UnknownPeer`, or `ZeroSharedSecret` for a peer whose key is of low order.
    fn static_static(&self, peer: &PublicKey) -> Result<SharedSecret, HandshakeError>;
}

/// An initiation we sent and whose response we wait for. Two words; the state behind it is wiped on drop.
pub struct PendingInitiation {
    /// Our sender index.
    pub index: Index,
    noise: Noise,
}

/// Creates an initiation. The message's mac1 and mac2 are zero; `CookieJar::add_macs` fills them in.
///
/// `static_static` is `identity`'s secret with `peer`; `preshared_key` is all zero if none is configured.
///
/// # Errors
/// `ZeroSharedSecret` if `peer` is of low order.
///
/// Source: whitepaper section 5.4.2.
pub fn create_initiation(
    identity: &Identity,
    peer: &PublicKey,
    static_static: &SharedSecret,
    preshared_key: &PresharedKey,
    timestamp: Timestamp,
    index: Index,
    rng: &mut impl CryptoRng,
) -> Result<(PendingInitiation, [u8; INITIATION_LEN]), HandshakeError> {
    let ephemeral = PrivateKey::generate(rng);
    create_initiation_with(identity, peer, static_static, preshared_key, timestamp, index, ephemeral)
}

/// The same with an ephemeral key that the caller has drawn, for this initiation and no other.
///
/// # Errors
/// As [`create_initiation`].
pub fn create_initiation_with(
    identity: &Identity,
    peer: &PublicKey,
    static_static: &SharedSecret,
    preshared_key: &PresharedKey,
    timestamp: Timestamp,
    index: Index,
    ephemeral: PrivateKey,
) -> Result<(PendingInitiation, [u8; INITIATION_LEN]), HandshakeError> {
    let static_key = StaticKey::Initiator {
        key: Arc::clone(&identity.key),
        public: identity.public,
        responder: *peer,
        static_static: static_static.clone(),
    };
    let ephemeral = OnceLock::from(ephemeral);
    let mut noise = Noise::initiator(static_key, peer, Arc::new(ephemeral));
    noise.set_preshared_key(preshared_key);
    let message = noise.write(&timestamp.0).map_err(zero_or_bad_tag)?;
    Ok((PendingInitiation { index, noise }, messages::initiation(index, &message)))
}

impl PendingInitiation {
    /// Consumes the response. A response that fails leaves the pending initiation as it was, so that the genuine one,
    /// arriving later, still works.
    ///
    /// The caller found this initiation by the response's receiver index. After a success no response is accepted any
    /// more: all fail with `BadTag`.
    ///
    /// # Errors
    /// `ZeroSharedSecret` if the response's ephemeral key is of low order; `BadTag` if it is not from the peer, not for
    /// this initiation, or made with another preshared key.
    ///
    /// Source: whitepaper sections 5.4.3 and 5.4.5.
    pub fn consume_response(&mut self, response: &[u8; RESPONSE_LEN]) -> Result<SessionKeys, HandshakeError> {
        self.noise.read(messages::response_noise(response), &mut []).map_err(zero_or_bad_tag)?;
        let (send, receive) = self.noise.split();
        Ok(SessionKeys {
            role: Role::Initiator,
            send,
            receive,
            local: self.index,
            remote: messages::sender_index(response),
        })
    }
}

/// An initiation that is authentic, but not yet accepted by its peer (replay and flood checks are `Peer`'s).
pub struct ReceivedInitiation {
    /// The initiator's static public key.
    pub initiator: PublicKey,
    /// The timestamp it sent.
    pub timestamp: Timestamp,
    /// The initiator's sender index. Covered by mac1 only.
    remote: Index,
    ephemeral: Arc<OnceLock<PrivateKey>>,
    noise: Noise,
}

/// Opens an initiation up to and with the timestamp's tag. The caller has checked mac1.
///
/// What anybody can cause who has our public key is one Diffie-Hellman computation: an initiator that is no peer is
/// refused before the second.
///
/// # Errors
/// `ZeroSharedSecret` if the ephemeral or the initiator's static key is of low order; `UnknownPeer` if `secrets` does
/// not know the initiator; `BadTag` if the initiation is not for us, or the initiator does not have its private key.
///
/// Source: whitepaper section 5.4.2.
pub fn consume_initiation(
    identity: &Identity,
    secrets: &Arc<dyn StaticSecrets>,
    initiation: &[u8; INITIATION_LEN],
) -> Result<ReceivedInitiation, HandshakeError> {
    let message = messages::initiation_noise(initiation);
    let their_ephemeral = PublicKey(*message.first_chunk().expect("an initiation begins with the ephemeral key"));
    let ephemeral_static = identity.key.diffie_hellman(&their_ephemeral).ok_or(HandshakeError::ZeroSharedSecret)?;

    let static_key = StaticKey::Responder {
        public: identity.public,
        ephemeral: their_ephemeral,
        ephemeral_static,
        secrets: Arc::clone(secrets),
    };
    let ephemeral = Arc::new(OnceLock::new());
    let mut noise = Noise::responder(static_key, Arc::clone(&ephemeral));
    let mut timestamp = Timestamp::default();
    noise.read(message, &mut timestamp.0).map_err(|failure| match (failure, noise.claimed_static()) {
        // es was computed above, so what failed is ss: ask again for the reason.
        (Failure::DiffieHellman, Some(claimed)) => {
            secrets.static_static(&claimed).err().unwrap_or(HandshakeError::UnknownPeer(claimed))
        }
        (failure, _) => zero_or_bad_tag(failure),
    })?;

    let initiator = noise.claimed_static().expect("an initiation that was read had a static key");
    if initiator == their_ephemeral {
        // ss was then taken for es, which it equals, and nobody has asked yet whether this is a peer.
        secrets.static_static(&initiator)?;
    }
    Ok(ReceivedInitiation { initiator, timestamp, remote: messages::sender_index(initiation), ephemeral, noise })
}

impl ReceivedInitiation {
    /// Creates the response and the session. The message's mac1 and mac2 are zero.
    ///
    /// # Errors
    /// `ZeroSharedSecret` if a key of the initiator is of low order.
    ///
    /// Source: whitepaper sections 5.4.3 and 5.4.5.
    pub fn respond(
        self,
        preshared_key: &PresharedKey,
        index: Index,
        rng: &mut impl CryptoRng,
    ) -> Result<(SessionKeys, [u8; RESPONSE_LEN]), HandshakeError> {
        self.respond_with(preshared_key, index, PrivateKey::generate(rng))
    }

    /// The same with an ephemeral key that the caller has drawn, for this response and no other.
    ///
    /// # Errors
    /// As [`ReceivedInitiation::respond`].
    pub fn respond_with(
        mut self,
        preshared_key: &PresharedKey,
        index: Index,
        ephemeral: PrivateKey,
    ) -> Result<(SessionKeys, [u8; RESPONSE_LEN]), HandshakeError> {
        // Cannot be occupied: only this sets it, and consumes `self`.
        let _ = self.ephemeral.set(ephemeral);
        self.noise.set_preshared_key(preshared_key);
        let message = self.noise.write(&[]).map_err(zero_or_bad_tag)?;
        let (receive, send) = self.noise.split();
        let keys = SessionKeys { role: Role::Responder, send, receive, local: index, remote: self.remote };
        Ok((keys, messages::response(index, self.remote, &message)))
    }
}

fn zero_or_bad_tag(failure: Failure) -> HandshakeError {
    match failure {
        Failure::DiffieHellman => HandshakeError::ZeroSharedSecret,
        Failure::Tag => HandshakeError::BadTag,
    }
}
