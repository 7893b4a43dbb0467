//! Configuration: a whole change is checked first, then applied, so an error changes nothing.
//!
//! What can fail is done before anything is changed: binding a new listen port, setting the mark, counting peers. The
//! rest cannot fail. An unchanged peer keeps session, counters, timers and endpoint; replacing allowed IPs by the same
//! list takes nothing away in between, because only the difference is applied.
//!
//! Here: what a change is, and its course. In `interface`: up, down and the sockets. In `peers`: identity and peers. Not
//! here: the text of the configuration protocol (see the `rvpn-uapi` crate and `control`).
//!
//! # Locking
//! `Device::config` for the whole change and for a snapshot, so that a snapshot shows a change whole or not at all.
//! Packets go on meanwhile: every other lock is held for short steps only.

mod interface;
mod peers;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

pub(super) use self::interface::{CarriedSettings, Settings};
use super::candidates::{Candidate, Candidates};
use super::device::Device;
use super::offload::OffloadsInUse;
use super::rate::{Bucket, Limits};
use super::sync::{lock, read};
use super::workers::Context;
use crate::proto::allowedips::Prefix;
use crate::proto::candidates::Order;
use crate::proto::constants::MAX_PEERS;
use crate::proto::keys::{PresharedKey, PrivateKey, PublicKey};
use crate::proto::peer::PeerStatus;

/// A change of a device, as one request makes it.
#[derive(Debug, Default)]
pub struct Change {
    /// `Some(None)` takes the identity away.
    pub private_key: Option<Option<PrivateKey>>,
    /// UDP port; 0 lets the OS choose, and keeps a port that it chose.
    pub listen_port: Option<u16>,
    /// Firewall mark of the sockets; 0 is none.
    pub mark: Option<u32>,
    /// All peers but those that files describe are removed before `peers` are applied.
    pub replace_peers: bool,
    /// Changes of peers, in order.
    pub peers: Vec<PeerChange>,
}

/// A change of one peer, which is made if it does not exist.
#[derive(Debug)]
pub struct PeerChange {
    /// Which peer.
    pub public_key: PublicKey,
    /// A file of its own describes the peer: from now on it stays when all peers are replaced.
    pub is_from_file: bool,
    /// The peer is removed.
    pub remove: bool,
    /// Nothing happens if the peer does not exist.
    pub update_only: bool,
    /// What people call it, of bounded length; `Some(None)` takes the name away.
    pub name: Option<Option<Arc<str>>>,
    /// All zero takes it away.
    pub preshared_key: Option<PresharedKey>,
    /// Where datagrams go until the peer is heard from elsewhere.
    pub endpoint: Option<SocketAddr>,
    /// Bits a second that the peer may send, of packets inside the tunnel; 0 takes the limit away.
    pub rate_up: Option<u64>,
    /// Bits a second that the peer may be sent; 0 takes the limit away.
    pub rate_down: Option<u64>,
    /// Where else it may be; an empty list takes away what there was.
    pub candidates: Option<Vec<Candidate>>,
    /// Which of them is preferred.
    pub order: Option<Order>,
    /// Seconds; 0 is off.
    pub persistent_keepalive: Option<u16>,
    /// The peer's prefixes are replaced by the ones added here.
    pub replace_allowed_ips: bool,
    /// Prefixes to add or to remove, in order.
    pub allowed_ips: Vec<AllowedIpChange>,
}

/// One prefix to add or to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowedIpChange {
    /// The peer owns the prefix from now on, whoever owned it.
    Add(Prefix),
    /// The peer owns it no more; nothing happens if it does not.
    Remove(Prefix),
}

impl PeerChange {
    /// Makes a change of the peer with `public_key` that changes nothing but makes it exist.
    pub fn new(public_key: PublicKey) -> Self {
        Self {
            public_key,
            is_from_file: false,
            remove: false,
            update_only: false,
            name: None,
            preshared_key: None,
            endpoint: None,
            rate_up: None,
            rate_down: None,
            candidates: None,
            order: None,
            persistent_keepalive: None,
            replace_allowed_ips: false,
            allowed_ips: Vec::new(),
        }
    }
}

/// Why a change was refused. Nothing of it was applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The listen port could not be bound.
    #[error("UDP port {port}: {source}")]
    Bind {
        /// The port asked for.
        port: u16,
        /// What the OS said.
        source: io::Error,
    },
    /// The sockets did not take the mark.
    #[error("firewall mark {mark:#x}: {source}")]
    Mark {
        /// The mark asked for.
        mark: u32,
        /// What the OS said.
        source: io::Error,
    },
    /// Another process goes on with the device: see `handover`.
    #[error("another process has taken over")]
    Retired,
    /// There would be more than 2^20 peers.
    #[error("more than {MAX_PEERS} peers")]
    TooManyPeers,
}

/// A device at one moment.
#[derive(Debug)]
pub struct DeviceSnapshot {
    /// The private key, clamped.
    pub private_key: Option<PrivateKey>,
    /// The UDP port; 0 if none was chosen yet.
    pub listen_port: u16,
    /// Firewall mark; 0 is none.
    pub mark: u32,
    /// The offloads in use; `None` while the interface is down.
    pub offloads: Option<OffloadsInUse>,
    /// The peers in the order they were added.
    pub peers: Vec<PeerSnapshot>,
}

/// A peer at one moment.
#[derive(Debug)]
pub struct PeerSnapshot {
    /// Its static public key.
    pub public_key: PublicKey,
    /// A file of its own describes it.
    pub is_from_file: bool,
    /// What people call it.
    pub name: Option<Arc<str>>,
    /// Endpoint, counters, last handshake, keepalive, preshared key.
    pub status: PeerStatus,
    /// Bits a second that it may send; 0 if there is no limit.
    pub rate_up: u64,
    /// Bits a second that it may be sent; 0 if there is no limit.
    pub rate_down: u64,
    /// Where else the operator says that it may be.
    pub candidates: Option<Candidates>,
    /// Its prefixes in the order they were added.
    pub allowed_ips: Vec<Prefix>,
}

impl Device {
    /// Applies a whole change, or nothing of it.
    ///
    /// # Errors
    /// [`ApplyError`]: a port that cannot be bound, a mark that cannot be set, too many peers.
    pub fn apply(&self, change: Change) -> Result<(), ApplyError> {
        let mut settings = lock(&self.config);
        settings.check_not_retired()?;
        self.check_peers(&change)?;
        let sockets = self.check_sockets(&settings, &change)?;

        settings.count_change();
        let mut context = Context::new(self);
        self.apply_sockets(&mut context, &mut settings, sockets);
        // First, so that no secret is computed with a peer that goes.
        if change.replace_peers {
            self.remove_peers(&mut context, &self.replaceable_peers());
        }
        if let Some(private_key) = change.private_key {
            self.apply_private_key(&mut context, private_key, settings.is_up());
        }
        let secrets = self.secrets_of_new(&change.peers);
        for peer in change.peers {
            let secret = secrets.get(&peer.public_key).cloned();
            self.apply_peer(&mut context, peer, secret, settings.is_up());
        }
        Ok(())
    }

    /// Returns how many changes were applied.
    pub fn changes(&self) -> u64 {
        lock(&self.config).changes()
    }

    /// Forgets what was learnt of a peer, or of all: sessions and where the peer was heard from. What was configured
    /// stays. Returns how many peers that were; 0 if there is no such peer.
    pub fn forget(&self, public_key: Option<&PublicKey>) -> usize {
        let settings = lock(&self.config);
        let peers = match public_key {
            Some(public_key) => self.peers.lookup(public_key).into_iter().collect(),
            None => self.peers.all(),
        };
        self.restart(&mut Context::new(self), &peers, settings.is_up());
        peers.len()
    }

    /// Returns the device as it is between two changes.
    pub fn snapshot(&self) -> DeviceSnapshot {
        let settings = lock(&self.config);
        let peers = self.peers.all();
        let routes = read(&self.routes);
        let peers = peers.iter().map(|peer| {
            let state = peer.state();
            let rate = |bucket: fn(&Limits) -> &Option<Bucket>| {
                state.limits.as_deref().and_then(|limits| bucket(limits).as_ref()).map_or(0, Bucket::rate)
            };
            PeerSnapshot {
                public_key: peer.public_key,
                is_from_file: state.is_from_file,
                name: peer.name(),
                status: state.core.status(),
                rate_up: rate(|limits| &limits.up),
                rate_down: rate(|limits| &limits.down),
                candidates: state.candidates.clone(),
                allowed_ips: routes.prefixes(peer.id).to_vec(),
            }
        });
        DeviceSnapshot {
            private_key: self.identity().map(|local| local.identity.private_key().clone()),
            listen_port: settings.port(),
            mark: settings.mark(),
            offloads: self.udp().map(|udp| self.offloads.in_use(&*udp)),
            peers: peers.collect(),
        }
    }
}
