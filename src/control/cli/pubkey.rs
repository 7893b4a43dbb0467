//! `rvpn pubkey`: the public key of the private key on standard input.

use std::io::{self, Write};
use std::os::fd::AsFd;

use rvpn_uapi::SecretKey;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::{secret_file, warn};
use crate::control::config::value::KEY;
use crate::control::key_text::{self, KEY_TEXT_LEN};
use crate::proto::crypto;
use crate::proto::keys::PrivateKey;

pub(super) fn run() -> Result<(), Failure> {
    let input = io::stdin().as_fd().try_clone_to_owned();
    if let Some(mode) = input.ok().and_then(|input| secret_file::public_mode(&input.into())) {
        warn(&format!("standard input is a file that others can read (mode {mode:04o}); `chmod 600` ends that"));
    }
    let text = secret_file::read_all(&mut io::stdin().lock()).map_err(|source| Failure::File {
        file: "standard input".into(),
        action: "read",
        source,
    })?;
    let key = match text.split_at_checked(KEY_TEXT_LEN) {
        Some((key, rest)) if rest.iter().all(|byte| matches!(byte, 0 | 0x0b) || byte.is_ascii_whitespace()) => {
            key_text::decode(key)
        }
        _ => None,
    };
    let key = key.ok_or_else(|| Failure::Word { word: "standard input".to_owned(), expected: KEY.to_owned() })?;
    let public = key_text::encode(&public_key(&key));
    writeln!(io::stdout(), "{}", *public).map_err(Failure::Output)
}

/// Derives the public key. Zero, which is no identity for a device, has one too: clamping gives it a bit.
pub(super) fn public_key(key: &SecretKey) -> [u8; 32] {
    let mut bytes = Zeroizing::new(*key.as_bytes());
    bytes[31] = (bytes[31] & 127) | 64;
    let key = PrivateKey::new(*bytes).expect("a bit of it was just set");
    *crypto::public_key(&key).as_bytes()
}
