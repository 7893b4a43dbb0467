//! Peers as files: a directory with a file for each, followed while the daemon runs.
//!
//! ```text
//!   inotify -> names of files -> read -> one [Peer], or faults -> what changed -> Set -> worker
//!                                            (logged)
//! ```
//!
//! A file acts when it is closed or moved to its name, so that one that is being written is not read; what is wrong with
//! it is logged with its place, and the peer stays as it was. A file that goes takes its peer with it. Only what differs
//! from what the file said before is asked for: an endpoint that was learnt stays, and so do sessions.
//!
//! Peers that no file describes are nobody's business here. An endpoint that is a name goes to the device as a name, as by
//! `rvpn up`: the daemon itself can open no file that looking it up takes.
//!
//! Not here: the syntax of a file (see `config`), looking up names (see `names`), which peers stay when all are replaced (see `dataplane::configure`).
//!
//! Source: inotify(7).

mod read;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};

use rvpn_uapi::{Errno, PeerSet, PublicKey, SecretKey, Set};
use tokio::sync::Notify;

use self::read::{Found, names, read};
use self::watch::{Touched, Watch};
use super::error::Error;
use super::server::Configurable;
use super::upgrade::UNTIL_UPGRADE;
use super::worker::Worker;

/// A directory of peers, and what of it has been applied.
#[derive(Debug)]
pub struct PeersDirectory {
    path: PathBuf,
    watch: Watch,
    applied: Peers,
}

/// What files say, by the name of the file without `.conf`.
type Peers = BTreeMap<String, PeerSet>;

impl PeersDirectory {
    /// Begins to watch a directory.
    ///
    /// # Errors
    /// [`Error::PeersDirectory`] if it is none, or inotify has no room.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let watch = Watch::new(path).map_err(|source| Error::PeersDirectory { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), watch, applied: Peers::new() })
    }

    /// Gives a device that nobody else touches yet the peers of all files.
    pub fn load(&mut self, device: &dyn Configurable) {
        let (set, peers) = self.changes(&self.all(), &BTreeSet::new());
        self.finish(set.map_or(Ok(()), |set| device.apply_files(set)), peers);
    }

    /// Goes on with a device that has the peers of files from the process before: what has changed meanwhile is asked for,
    /// and nothing else.
    pub fn take_over(&mut self, device: &dyn Configurable) {
        let status = device.status();
        let present = status.peers.iter().map(|peer| peer.public_key).collect();
        let all = self.all();
        let (_, peers) = self.changes(&all, &present);
        self.applied = peers;
        let (set, peers) = self.changes(&all, &present);
        let is_known = |key| peers.values().any(|peer| peer.public_key == key);
        let gone = status.peers.iter().filter(|peer| peer.is_from_file && !is_known(peer.public_key));
        let mut set = set.unwrap_or_default();
        set.peers.splice(..0, gone.map(|peer| PeerSet { remove: true, ..PeerSet::new(peer.public_key) }));
        self.finish(device.apply_files(set), peers);
    }

    /// Follows the files; reads all of them again when `reload` is notified.
    ///
    /// # Errors
    /// The OS's, if events cannot be waited for.
    async fn follow(&mut self, worker: &Worker, reload: &Notify) -> io::Result<Infallible> {
        let mut events = self.watch.events()?;
        loop {
            let touched = tokio::select! {
                touched = events.next() => touched?,
                () = reload.notified() => {
                    tracing::debug!("{}: all files are read again", self.path.display());
                    Touched { is_too_much: true, ..Touched::default() }
                }
            };
            let names = if touched.is_too_much { self.all() } else { touched.files };
            // Somebody may have removed peers that files describe: these are made again whole.
            let present = match worker.status().await {
                Ok(status) => status.peers.iter().map(|peer| peer.public_key).collect(),
                Err(_) => BTreeSet::new(),
            };
            let (set, peers) = self.changes(&names, &present);
            let outcome = match set {
                Some(set) => worker.apply_files(set).await,
                None => Ok(()),
            };
            self.finish(outcome, peers);
            if touched.is_gone {
                // One in its place is another one, which the rules of Landlock do not let the daemon read.
                let what =
                    "the directory is gone: peers stay as they are, and a directory in its place is not followed";
                loop {
                    tracing::error!("{}: {what} {UNTIL_UPGRADE}", self.path.display());
                    reload.notified().await;
                }
            }
        }
    }

    /// The files there are, and those there were.
    fn all(&self) -> BTreeSet<String> {
        let found = names(&self.path).inspect_err(|error| {
            tracing::error!("{}: cannot list it: {error}", self.path.display());
        });
        let known = self.applied.keys().cloned();
        known.chain(found.unwrap_or_default()).collect()
    }

    /// Reads the files of these names. Returns what is to be changed for that on a device that has the peers of
    /// `present`, and what all files say then.
    fn changes(&self, names: &BTreeSet<String>, present: &BTreeSet<PublicKey>) -> (Option<Set>, Peers) {
        let mut peers = self.applied.clone();
        let mut touched = BTreeSet::new();
        // Those that go come first: their keys are then free for others.
        let (gone, found): (Vec<_>, Vec<_>) = names
            .iter()
            .map(|name| (name, read(&self.path, name)))
            .partition(|(_, found)| matches!(found, Found::Nothing));
        for (name, _) in gone {
            if peers.remove(name).is_some() {
                tracing::debug!("{}: {name}.conf is gone, and its peer", self.path.display());
            }
        }
        for (name, found) in found {
            match found {
                Found::Peer(peer) => {
                    let other = peers.iter().find(|(other, of)| *other != name && of.public_key == peer.public_key);
                    if let Some((other, _)) = other {
                        tracing::error!(
                            "{}/{name}.conf: {other}.conf has the same public key; nothing is changed",
                            self.path.display()
                        );
                        continue;
                    }
                    touched.insert(peer.public_key);
                    peers.insert(name.clone(), *peer);
                }
                Found::Faults(faults) => {
                    for line in faults.lines() {
                        tracing::error!("{line}");
                    }
                }
                Found::Nothing => {}
            }
        }
        let set = difference(&self.applied, &peers, &touched, present);
        (Some(set).filter(|set| !set.peers.is_empty()), peers)
    }

    /// Takes note of what was applied.
    fn finish(&mut self, outcome: Result<(), Errno>, peers: Peers) {
        match outcome {
            Ok(()) => self.applied = peers,
            Err(error) => tracing::error!("{}: its peers are refused: {error}", self.path.display()),
        }
    }
}

/// Follows the directory, if there is one, for as long as it is polled.
pub async fn follow(directory: Option<&mut PeersDirectory>, worker: &Worker, reload: &Notify) -> Infallible {
    let Some(directory) = directory else {
        loop {
            reload.notified().await;
            tracing::debug!("SIGHUP: there is no directory of peers to read again");
        }
    };
    match directory.follow(worker, reload).await {
        Ok(never) => match never {},
        Err(error) => {
            tracing::error!("{}: it is followed no more: {error}", directory.path.display());
            pending().await
        }
    }
}

/// Returns the change from `before` to `after`, in which the peers of `touched` are asked for as their files say. One that
/// is there keeps its endpoint unless the file has another one than before.
fn difference(before: &Peers, after: &Peers, touched: &BTreeSet<PublicKey>, present: &BTreeSet<PublicKey>) -> Set {
    let of_key =
        |peers: &Peers| peers.values().map(|peer| (peer.public_key, peer.endpoint)).collect::<BTreeMap<_, _>>();
    let (old, new) = (of_key(before), of_key(after));
    let gone = old.keys().filter(|key| !new.contains_key(key));
    let mut peers: Vec<_> = gone.map(|&key| PeerSet { remove: true, ..PeerSet::new(key) }).collect();
    for peer in after.values().filter(|peer| touched.contains(&peer.public_key)) {
        let mut peer = whole(peer.clone());
        let is_known = present.contains(&peer.public_key) && old.get(&peer.public_key) == Some(&peer.endpoint);
        if is_known {
            peer.endpoint = None;
        }
        peers.push(peer);
    }
    Set { peers, ..Set::default() }
}

/// What the file is silent about is none.
fn whole(mut peer: PeerSet) -> PeerSet {
    peer.preshared_key.get_or_insert_with(|| SecretKey::new(&[0; 32]));
    peer.persistent_keepalive.get_or_insert(0);
    peer.rate_up.get_or_insert(0);
    peer.rate_down.get_or_insert(0);
    peer.endpoints.get_or_insert_default();
    peer.endpoint_order.get_or_insert_default();
    peer.replace_allowed_ips = true;
    peer
}

#[cfg(test)]
mod tests;
