//! Noise_IKpsk2 in both roles, as pure computation: no peer state is read or changed here.
//!
//! SKELETON: helper fills in. DH happens in these functions, so no data lock may be held around them.

use std::sync::Arc;

use rand::CryptoRng;

use super::index::Index;
use super::keypair::SessionKeys;
use super::keys::{PresharedKey, PrivateKey, PublicKey, SharedSecret};
use super::messages::{INITIATION_LEN, RESPONSE_LEN};
use super::timestamp::Timestamp;

/// Why a handshake message was refused. `Copy`: counted by reason, logged at debug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The static key in the initiation is not one of our peers'.
    #[error("unknown peer")]
    UnknownPeer,
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
}

impl Identity {
    /// Derives the public key.
    pub fn new(private: PrivateKey) -> Self {
        let _ = &private;
        unimplemented!()
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
        let _ = peer;
        unimplemented!()
    }
}

/// Finds the cached static-static secret of a configured peer while an initiation is being opened.
pub trait StaticSecrets: Send + Sync {
    /// Returns the secret, `UnknownPeer`, or `ZeroSharedSecret` for a peer whose key is of low order.
    fn static_static(&self, peer: &PublicKey) -> Result<SharedSecret, HandshakeError>;
}

/// An initiation we sent and whose response we wait for.
pub struct PendingInitiation {
    /// Our sender index.
    pub index: Index,
}

/// Creates an initiation (3.1). The message's mac1 and mac2 are zero; `CookieJar::add_macs` fills them in.
pub fn create_initiation(
    identity: &Identity,
    peer: &PublicKey,
    static_static: &SharedSecret,
    preshared_key: &PresharedKey,
    timestamp: Timestamp,
    index: Index,
    rng: &mut impl CryptoRng,
) -> Result<(PendingInitiation, [u8; INITIATION_LEN]), HandshakeError> {
    let _ = (identity, peer, static_static, preshared_key, timestamp, index, rng);
    unimplemented!()
}

impl PendingInitiation {
    /// Consumes the response (3.4). A response that fails leaves the pending initiation as it was.
    pub fn consume_response(&mut self, response: &[u8; RESPONSE_LEN]) -> Result<SessionKeys, HandshakeError> {
        let _ = response;
        unimplemented!()
    }
}

/// An initiation that is authentic, but not yet accepted by its peer (replay and flood checks are `Peer`'s).
pub struct ReceivedInitiation {
    /// The initiator's static public key.
    pub initiator: PublicKey,
    /// The timestamp it sent.
    pub timestamp: Timestamp,
}

/// Opens an initiation (3.2) up to and with the timestamp's tag.
pub fn consume_initiation(
    identity: &Identity,
    secrets: &Arc<dyn StaticSecrets>,
    initiation: &[u8; INITIATION_LEN],
) -> Result<ReceivedInitiation, HandshakeError> {
    let _ = (identity, secrets, initiation);
    unimplemented!()
}

impl ReceivedInitiation {
    /// Creates the response (3.3) and the session. The message's mac1 and mac2 are zero.
    pub fn respond(
        self,
        preshared_key: &PresharedKey,
        index: Index,
        rng: &mut impl CryptoRng,
    ) -> Result<(SessionKeys, [u8; RESPONSE_LEN]), HandshakeError> {
        let _ = (preshared_key, index, rng);
        unimplemented!()
    }
}
