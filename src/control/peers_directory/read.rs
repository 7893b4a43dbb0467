//! A file of the directory, read: one section `[Peer]`, and the file's name for the peer's where it has no other.
//!
//! Not here: what is done with it, looking up the name of an endpoint (see `names`).

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rvpn_uapi::{PeerName, PeerSet};
use zeroize::Zeroizing;

use crate::control::config::{Config, ConfigError, Fault, Peer};
use crate::control::error::reason;

/// What there is under a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No file.
    Nothing,
    /// A peer.
    Peer(Box<PeerSet>),
    /// Something else; a line for each fault, with the file's name.
    Faults(String),
}

/// Lists the files that may describe peers, without `.conf`.
///
/// # Errors
/// The OS's.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(entry?.file_name().to_str().and_then(stem).map(str::to_owned));
    }
    Ok(names)
}

/// Returns the name of a peer's file without `.conf`; `None` for hidden files, copies of editors, and others.
pub(super) fn stem(file: &str) -> Option<&str> {
    file.strip_suffix(".conf").filter(|stem| !stem.is_empty() && !stem.starts_with('.'))
}

/// Reads the file of `name`.
pub(super) fn read(directory: &Path, name: &str) -> Found {
    let path = directory.join(format!("{name}.conf"));
    let file = path.display().to_string();
    let text = match contents(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
        Err(error) => return Found::Faults(format!("{file}: cannot read it: {}", reason(&error))),
    };
    match peer(&text, name) {
        Ok(peer) => Found::Peer(Box::new(peer)),
        Err(faults) => Found::Faults(ConfigError { file, faults }.to_string()),
    }
}

fn contents(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // Of its length at once, so that growing leaves no copy of a key behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_LEN + 1));
    File::open(path)?.take(MAX_LEN as u64 + 1).read_to_end(&mut text)?;
    match text.len() {
        0..=MAX_LEN => Ok(text),
        _ => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 64 KiB")),
    }
}

fn peer(text: &[u8], name: &str) -> Result<PeerSet, Vec<Fault>> {
    let mut peer = Config::parse_peer(text)?;
    peer.hand_over_name();
    let Peer { set: mut peer, endpoint } = peer;
    if let Some((position, endpoint)) = endpoint {
        let expected = "expected an address or a name, and a port in digits";
        let address = endpoint.address().ok_or_else(|| vec![Fault::new(position, &endpoint.to_string(), expected)])?;
        peer.endpoint = Some(address);
    }
    if peer.name.is_none() {
        peer.name = Some(PeerName::new(name));
    }
    Ok(peer)
}

/// A thousand networks fit.
const MAX_LEN: usize = 64 * 1024;
