//! Our primitives for `snow`: BLAKE2s, ChaCha20-Poly1305, X25519 that refuses zero, cached static keys.
//!
//! `snow` runs the Noise pattern; whatever it computes with comes from here, because its own resolver accepts
//! all-zero Diffie-Hellman results, derives our static public key anew for each handshake, cannot use the cached
//! static-static secret and cannot turn an unknown initiator away before the second Diffie-Hellman.
//!
//! What this module owns is wiped on drop. `snow`'s own state is overwritten by `handshake::noise`.
//!
//! Not here: the order of messages and what they mean (see `handshake`).
//!
//! Source: Noise specification revision 34, sections 4 and 12.

use std::sync::{Arc, OnceLock};

use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types;

use super::crypto::blake2s::{self, BLOCK_LEN, HASH_LEN};
use super::crypto::{Aead, PacketAead, TAG_LEN, X25519};
use super::handshake::StaticSecrets;
use super::keys::{PrivateKey, PublicKey, SessionKey, SharedSecret};

/// Gives `snow` its primitives for one handshake.
pub(super) struct Resolver {
    /// Our static key; `None` for a state that only serves to overwrite another.
    pub(super) static_key: Option<Arc<StaticKey>>,
    /// Our ephemeral private key, drawn by whoever has a random source, before the message that sends it is written.
    pub(super) ephemeral: Arc<OnceLock<PrivateKey>>,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn types::Random>> {
        Some(Box::new(Ephemeral(Arc::clone(&self.ephemeral))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn types::Dh>> {
        // Asked for a static and an ephemeral key alike; `set` or `generate` tells which it becomes.
        let key = || Curve25519 { static_key: self.static_key.clone(), role: KeyRole::Unset };
        matches!(choice, DHChoice::Curve25519).then(|| Box::new(key()) as _)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn types::Hash>> {
        matches!(choice, HashChoice::Blake2s).then(|| Box::new(Blake2s(blake2s_simd::State::new())) as _)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn types::Cipher>> {
        matches!(choice, CipherChoice::ChaChaPoly).then(|| Box::new(ChaChaPoly(None)) as _)
    }
}

/// Our static key as one handshake needs it: which secrets are known already, and where the others come from.
///
/// `snow` asks an initiator's for ss, then se; a responder's for es, then ss. Which of them it wants is told by the
/// public key it asks for, and a coincidence of two keys is harmless: the secret is the same.
pub(super) enum StaticKey {
    /// We are the initiator.
    Initiator {
        /// Computes se.
        key: Arc<X25519>,
        /// Our static public key.
        public: PublicKey,
        /// The responder's static public key.
        responder: PublicKey,
        /// ss, cached by the peer.
        static_static: SharedSecret,
    },
    /// We are the responder.
    Responder {
        /// Our static public key.
        public: PublicKey,
        /// The initiator's ephemeral public key.
        ephemeral: PublicKey,
        /// es, computed before: its failure then has its own place, and no other.
        ephemeral_static: SharedSecret,
        /// Knows ss of every configured peer, and refuses all others.
        secrets: Arc<dyn StaticSecrets>,
    },
}

impl StaticKey {
    fn public(&self) -> &PublicKey {
        match self {
            Self::Initiator { public, .. } | Self::Responder { public, .. } => public,
        }
    }

    fn diffie_hellman(&self, theirs: &PublicKey) -> Option<SharedSecret> {
        match self {
            Self::Initiator { responder, static_static, .. } if theirs == responder => Some(static_static.clone()),
            Self::Initiator { key, .. } => key.diffie_hellman(theirs),
            Self::Responder { ephemeral, ephemeral_static, .. } if theirs == ephemeral => {
                Some(ephemeral_static.clone())
            }
            Self::Responder { secrets, .. } => secrets.static_static(theirs).ok(),
        }
    }
}

/// A random source that yields one value: the ephemeral private key.
struct Ephemeral(Arc<OnceLock<PrivateKey>>);

impl types::Random for Ephemeral {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let key = self.0.get().ok_or(Error::Rng)?;
        if dest.len() != key.as_bytes().len() {
            return Err(Error::Rng);
        }
        dest.copy_from_slice(key.as_bytes());
        Ok(())
    }
}

struct Curve25519 {
    static_key: Option<Arc<StaticKey>>,
    role: KeyRole,
}

enum KeyRole {
    Unset,
    Static(Arc<StaticKey>),
    Ephemeral { key: X25519, public: PublicKey },
}

impl types::Dh for Curve25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    /// Makes it the static key. The bytes are ignored: the private key does not pass through `snow`.
    fn set(&mut self, _: &[u8]) {
        if let Some(key) = self.static_key.take() {
            self.role = KeyRole::Static(key);
        }
    }

    /// Makes it the ephemeral key.
    fn generate(&mut self, rng: &mut dyn types::Random) -> Result<(), Error> {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut *bytes)?;
        let key = X25519::new(&PrivateKey::new(*bytes).ok_or(Error::Rng)?);
        self.role = KeyRole::Ephemeral { public: key.public_key(), key };
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        match &self.role {
            KeyRole::Unset => &[],
            KeyRole::Static(key) => key.public().as_bytes(),
            KeyRole::Ephemeral { public, .. } => public.as_bytes(),
        }
    }

    /// Never handed out; `snow` asks for it only where it generates static keys, which we do not let it do.
    fn privkey(&self) -> &[u8] {
        &[]
    }

    /// `pubkey` and `out` have the length of the longest key `snow` knows; ours is at the start.
    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let theirs = PublicKey(*pubkey.first_chunk().ok_or(Error::Dh)?);
        let secret = match &self.role {
            KeyRole::Unset => None,
            KeyRole::Static(key) => key.diffie_hellman(&theirs),
            KeyRole::Ephemeral { key, .. } => key.diffie_hellman(&theirs),
        };
        let out = out.first_chunk_mut().ok_or(Error::Dh)?;
        *out = *secret.ok_or(Error::Dh)?.as_bytes();
        Ok(())
    }
}

struct Blake2s(blake2s_simd::State);

impl types::Hash for Blake2s {
    fn name(&self) -> &'static str {
        "BLAKE2s"
    }

    fn block_len(&self) -> usize {
        BLOCK_LEN
    }

    fn hash_len(&self) -> usize {
        HASH_LEN
    }

    fn reset(&mut self) {
        self.0 = blake2s_simd::State::new();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// Leaves no input behind in the buffer.
    fn result(&mut self, out: &mut [u8]) {
        out[..HASH_LEN].copy_from_slice(self.0.finalize().as_bytes());
        self.reset();
    }

    fn hmac(&mut self, key: &[u8], data: &[u8], out: &mut [u8]) {
        let key = key.try_into().expect("a key of Noise's HMAC is a chaining key or derived from one");
        out[..HASH_LEN].copy_from_slice(&*blake2s::hmac(key, data));
    }

    fn hkdf(
        &mut self,
        chaining_key: &[u8],
        input_key_material: &[u8],
        outputs: usize,
        out1: &mut [u8],
        out2: &mut [u8],
        out3: &mut [u8],
    ) {
        let chaining_key = chaining_key.try_into().expect("a chaining key is as long as a hash");
        match outputs {
            1 => copy_keys(blake2s::kdf(chaining_key, input_key_material), [out1]),
            2 => copy_keys(blake2s::kdf(chaining_key, input_key_material), [out1, out2]),
            _ => copy_keys(blake2s::kdf(chaining_key, input_key_material), [out1, out2, out3]),
        }
    }
}

fn copy_keys<const N: usize>(keys: [blake2s::SecretHash; N], outs: [&mut [u8]; N]) {
    for (out, key) in outs.into_iter().zip(&keys) {
        out[..HASH_LEN].copy_from_slice(&**key);
    }
}

/// Keeps the key and makes the context when there is something to seal or open: `snow` sets nine keys in a handshake,
/// of which it uses three.
struct ChaChaPoly(Option<SessionKey>);

impl ChaChaPoly {
    fn context(&self) -> Aead {
        Aead::new(self.0.as_ref().expect("snow tracks whether a cipher has a key"))
    }
}

impl types::Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = Some(SessionKey::new(*key));
    }

    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let (text, tag) = out[..plaintext.len() + TAG_LEN].split_at_mut(plaintext.len());
        text.copy_from_slice(plaintext);
        tag.copy_from_slice(&self.context().seal_with(nonce, authtext, text));
        plaintext.len() + TAG_LEN
    }

    /// What a handshake seals has at most the 32 bytes of a static key.
    fn decrypt(&self, nonce: u64, authtext: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let mut buffer = [0; 32 + TAG_LEN];
        let message = buffer.get_mut(..ciphertext.len()).ok_or(Error::Decrypt)?;
        message.copy_from_slice(ciphertext);
        let len = self.context().open_with(nonce, authtext, message).map_err(|_| Error::Decrypt)?;
        out.get_mut(..len).ok_or(Error::Decrypt)?.copy_from_slice(&message[..len]);
        Ok(len)
    }
}
