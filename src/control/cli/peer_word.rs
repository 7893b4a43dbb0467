//! A word of the command line that stands for a peer: its public key, or its name.
//!
//! Not here: what is done with the peer.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rvpn_uapi::{DeviceStatus, PeerName, PublicKey};

use super::failure::Failure;
use crate::control::client::Client;
use crate::control::config::value;
use crate::control::key_text;

/// The peers of an interface, which is asked for them when the first name comes.
pub(super) struct Peers<'a> {
    client: &'a Client,
    interface: &'a OsStr,
    status: OnceCell<DeviceStatus>,
}

impl<'a> Peers<'a> {
    pub(super) fn of(client: &'a Client, interface: &'a OsStr) -> Self {
        Self { client, interface, status: OnceCell::new() }
    }

    /// Returns the public key that `word` is, or that of the one peer whose name it is.
    ///
    /// # Errors
    /// [`Failure::Word`] if there is no such peer, or more than one; [`Failure::Client`] if the interface does not say.
    pub(super) fn find(&self, word: &OsStr) -> Result<PublicKey, Failure> {
        let bad = |expected: &str| Failure::Word {
            word: format!("peer `{}`", word.to_string_lossy().escape_debug()),
            expected: expected.to_owned(),
        };
        if let Some(key) = key_text::decode(word.as_bytes()) {
            return Ok(PublicKey(*key.as_bytes()));
        }
        let name = word.to_str().and_then(PeerName::new).ok_or_else(|| bad(value::KEY))?;
        let mut named = self.status()?.peers.iter().filter(|peer| peer.name.as_ref() == Some(&name));
        match (named.next(), named.next()) {
            (Some(peer), None) => Ok(peer.public_key),
            (None, _) => Err(bad(&format!("{}, or the name of a peer", value::KEY))),
            (Some(_), Some(_)) => Err(bad("more than one peer has this name; name it by its key")),
        }
    }

    fn status(&self) -> Result<&DeviceStatus, Failure> {
        if let Some(status) = self.status.get() {
            return Ok(status);
        }
        let status = self.client.status(self.interface)?;
        Ok(self.status.get_or_init(|| status))
    }
}
