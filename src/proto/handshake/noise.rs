//! The state of `snow`, with the lengths WireGuard gives it and with its secrets overwritten.
//!
//! `snow` does not wipe what it holds. Its primitives are ours and wipe themselves; the rest (chaining key, transcript
//! hash, preshared key, copies of public keys) is in one heap block, which is overwritten with a state that never had a
//! secret as soon as the session keys are out, and on drop. What remains are `snow`'s temporaries on the stack, which
//! the next handshake on that thread overwrites.

use std::hint::black_box;
use std::sync::{Arc, OnceLock};

use snow::{Builder, HandshakeState};
use zeroize::Zeroize;

use super::super::keys::{PresharedKey, PrivateKey, PublicKey, SessionKey};
use super::super::resolver::{Resolver, StaticKey};

/// Why `snow` refused a message. Lengths and order are right by construction, which leaves these two.
pub(super) enum Failure {
    /// The resolver refused a Diffie-Hellman computation.
    DiffieHellman,
    /// A tag did not verify, or the handshake is over.
    Tag,
}

impl From<snow::Error> for Failure {
    fn from(error: snow::Error) -> Self {
        match error {
            snow::Error::Dh => Self::DiffieHellman,
            _ => Self::Tag,
        }
    }
}

/// One side of one handshake.
pub(super) struct Noise(Box<HandshakeState>);

impl Noise {
    /// Makes the initiator's state towards `responder`.
    pub(super) fn initiator(
        static_key: StaticKey,
        responder: &PublicKey,
        ephemeral: Arc<OnceLock<PrivateKey>>,
    ) -> Self {
        let state = builder(static_key, ephemeral)
            .and_then(|builder| builder.remote_public_key(responder.as_bytes())?.build_initiator());
        Self(Box::new(state.expect("every prerequisite of the pattern is given once")))
    }

    /// Makes the responder's state.
    pub(super) fn responder(static_key: StaticKey, ephemeral: Arc<OnceLock<PrivateKey>>) -> Self {
        let state = builder(static_key, ephemeral).and_then(Builder::build_responder);
        Self(Box::new(state.expect("every prerequisite of the pattern is given once")))
    }

    /// Sets the preshared key: before the second message is written or read.
    pub(super) fn set_preshared_key(&mut self, key: &PresharedKey) {
        self.0.set_psk(PSK_POSITION, key.as_bytes()).expect("the position exists and the length is right");
    }

    /// Writes the next message, which is `N` bytes long with `payload`.
    pub(super) fn write<const N: usize>(&mut self, payload: &[u8]) -> Result<[u8; N], Failure> {
        let mut message = [0; N];
        let len = self.0.write_message(payload, &mut message)?;
        debug_assert_eq!(len, N);
        Ok(message)
    }

    /// Reads the next message and its payload. After a failure the state is as it was before.
    pub(super) fn read(&mut self, message: &[u8], payload: &mut [u8]) -> Result<(), Failure> {
        let len = self.0.read_message(message, payload)?;
        debug_assert_eq!(len, payload.len());
        Ok(())
    }

    /// Returns the other side's static key; a claim only, until the message that brought it was read successfully.
    pub(super) fn claimed_static(&self) -> Option<PublicKey> {
        self.0.get_remote_static()?.try_into().ok().map(PublicKey)
    }

    /// Returns the keys of the finished handshake, initiator to responder first, and forgets it.
    pub(super) fn split(&mut self) -> (SessionKey, SessionKey) {
        let (mut to_responder, mut to_initiator) = self.0.dangerously_get_raw_split();
        let keys = (SessionKey::new(to_responder), SessionKey::new(to_initiator));
        to_responder.zeroize();
        to_initiator.zeroize();
        self.wipe();
        keys
    }

    /// Overwrites the state in place. Drops the primitives, which wipe themselves.
    fn wipe(&mut self) {
        let resolver = Resolver { static_key: None, ephemeral: Arc::default() };
        let blank = Builder::with_resolver(pattern(BLANK_PATTERN), Box::new(resolver)).build_responder();
        *self.0 = blank.expect("this pattern has no prerequisites");
        // The block is freed next, or never read again: without this the overwriting could be optimised away.
        black_box(&mut *self.0);
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// The part both roles share. The private key does not go through `snow`: `resolver` has it.
fn builder<'a>(static_key: StaticKey, ephemeral: Arc<OnceLock<PrivateKey>>) -> Result<Builder<'a>, snow::Error> {
    let resolver = Resolver { static_key: Some(Arc::new(static_key)), ephemeral };
    Builder::with_resolver(pattern(PATTERN), Box::new(resolver)).prologue(PROLOGUE)?.local_private_key(&[])
}

fn pattern(name: &str) -> snow::params::NoiseParams {
    name.parse().expect("snow knows this pattern")
}

/// The paper's CONSTRUCTION.
const PATTERN: &str = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
/// The pattern of fewest prerequisites: none.
const BLANK_PATTERN: &str = "Noise_NN_25519_ChaChaPoly_BLAKE2s";
/// The paper's IDENTIFIER.
const PROLOGUE: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";
/// Of "psk2": mixed in at the end of the second message.
const PSK_POSITION: usize = 2;
