//! Configuration: a whole change is checked first, then applied, so an error changes nothing.
//!
//! What can fail is done before anything is changed: binding a new listen port, setting the mark, counting peers. The
//! rest cannot fail. An unchanged peer keeps session, counters, timers and endpoint; replacing allowed IPs by the same
//! list takes nothing away in between, because only the difference is applied.
//!
//! Not here: the text of the configuration protocol (see the `rvpn-uapi` crate and `control`).
//!
//! # Locking
//! `Device::config` for the whole change and for a snapshot, so that a snapshot shows a change whole or not at all.
//! Packets go on meanwhile: every other lock is held for short steps only.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::device::Device;
use super::handshakes::LocalIdentity;
use super::io::Udp;
use super::peer::Peer;
use super::sync::{lock, read, write};
use super::workers::Context;
use crate::proto::allowedips::Prefix;
use crate::proto::constants::MAX_PEERS;
use crate::proto::handshake::Identity;
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
    /// All peers are removed before `peers` are applied.
    pub replace_peers: bool,
    /// Changes of peers, in order.
    pub peers: Vec<PeerChange>,
}

/// A change of one peer, which is made if it does not exist.
#[derive(Debug)]
pub struct PeerChange {
    /// Which peer.
    pub public_key: PublicKey,
    /// The peer is removed.
    pub remove: bool,
    /// Nothing happens if the peer does not exist.
    pub update_only: bool,
    /// All zero takes it away.
    pub preshared_key: Option<PresharedKey>,
    /// Where datagrams go until the peer is heard from elsewhere.
    pub endpoint: Option<SocketAddr>,
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
            remove: false,
            update_only: false,
            preshared_key: None,
            endpoint: None,
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
    /// The peers in the order they were added.
    pub peers: Vec<PeerSnapshot>,
}

/// A peer at one moment.
#[derive(Debug)]
pub struct PeerSnapshot {
    /// Its static public key.
    pub public_key: PublicKey,
    /// Endpoint, counters, last handshake, keepalive, preshared key.
    pub status: PeerStatus,
    /// Its prefixes in the order they were added.
    pub allowed_ips: Vec<Prefix>,
}

/// Interface state and settings of a device.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// The link is up. Without sockets all the same if their port could not be bound: then `up` is false.
    link_is_up: bool,
    up: bool,
    /// The port in use, or to be used at the next up; 0: to be chosen then.
    port: u16,
    /// The OS chose the port.
    port_is_automatic: bool,
    mark: u32,
}

impl Device {
    /// Applies a whole change, or nothing of it.
    ///
    /// # Errors
    /// [`ApplyError`]: a port that cannot be bound, a mark that cannot be set, too many peers.
    pub fn apply(&self, change: Change) -> Result<(), ApplyError> {
        let mut settings = lock(&self.config);
        self.check_peers(&change)?;
        let sockets = self.check_sockets(&settings, &change)?;

        let mut context = Context::new(self);
        self.apply_sockets(&mut context, &mut settings, sockets);
        // First, so that no secret is computed with a peer that goes.
        if change.replace_peers {
            self.remove_peers(&mut context, &self.peers.all());
        }
        if let Some(private_key) = change.private_key {
            self.apply_private_key(&mut context, private_key, settings.up);
        }
        for peer in change.peers {
            self.apply_peer(&mut context, peer, settings.up);
        }
        Ok(())
    }

    /// Returns the device as it is between two changes.
    pub fn snapshot(&self) -> DeviceSnapshot {
        let settings = lock(&self.config);
        let peers = self.peers.all();
        let routes = read(&self.routes);
        let peers = peers.iter().map(|peer| PeerSnapshot {
            public_key: peer.public_key,
            status: peer.state().core.status(),
            allowed_ips: routes.prefixes(peer.id).to_vec(),
        });
        DeviceSnapshot {
            private_key: self.identity().map(|local| local.identity.private_key().clone()),
            listen_port: settings.port,
            mark: settings.mark,
            peers: peers.collect(),
        }
    }

    /// The interface went up: binds the sockets and lets the peers go. Nothing happens if it is up.
    ///
    /// # Errors
    /// The port could not be bound; the device stays down until a change names a listen port that can be, or until the
    /// interface goes up anew.
    pub fn up(&self) -> Result<(), ApplyError> {
        let mut settings = lock(&self.config);
        settings.link_is_up = true;
        if settings.up {
            return Ok(());
        }
        let udp = self.bind(settings.port, settings.mark)?;
        settings.port_is_automatic |= settings.port == 0;
        settings.port = udp.port();
        self.go_up(&mut Context::new(self), &mut settings, udp);
        Ok(())
    }

    /// The interface went down: closes the sockets, stops timers, forgets sessions. The configuration stays. After it
    /// returns nothing is sent or delivered. Nothing happens if it is down.
    pub fn down(&self) {
        let mut settings = lock(&self.config);
        settings.link_is_up = false;
        if !settings.up {
            return;
        }
        settings.up = false;
        self.use_sockets(None);
        self.handshakes.clear();
        self.silence(&mut Context::new(self), &self.peers.all());
    }

    /// The routes or addresses of the host changed: cached source addresses of peers that are now reached through
    /// another interface are forgotten (protocol 11.3).
    pub fn routes_changed(&self) {
        let mark = lock(&self.config).mark;
        for peer in self.peers.all() {
            let Some(endpoint) = peer.state().core.endpoint() else { continue };
            let Some(source) = endpoint.source else { continue };
            if self.platform.network.route_interface(endpoint.remote, mark) != Some(source.interface) {
                peer.state().core.clear_source();
            }
        }
    }

    /// Counts how many peers there would be at most.
    fn check_peers(&self, change: &Change) -> Result<(), ApplyError> {
        let kept = if change.replace_peers { 0 } else { self.peers.len() };
        let added: HashSet<&PublicKey> =
            change.peers.iter().filter(|peer| !peer.remove && !peer.update_only).map(|peer| &peer.public_key).collect();
        let known = if change.replace_peers {
            0
        } else {
            added.iter().filter(|public_key| self.peers.lookup(public_key).is_some()).count()
        };
        if kept + added.len() - known > MAX_PEERS { Err(ApplyError::TooManyPeers) } else { Ok(()) }
    }

    /// Binds what the change asks for, without using it yet.
    fn check_sockets(&self, settings: &Settings, change: &Change) -> Result<NewSockets, ApplyError> {
        let mark = change.mark.unwrap_or(settings.mark);
        let port = match change.listen_port {
            Some(0) if settings.port_is_automatic => settings.port,
            Some(port) => port,
            None => settings.port,
        };
        let port_is_automatic =
            if change.listen_port.is_some_and(|asked| asked != 0) { false } else { settings.port_is_automatic };
        let new_port = change.listen_port.is_some() && port != settings.port;
        // Up without sockets: whoever names a port, the same or another, wants it bound now.
        let missing = settings.link_is_up && !settings.up && change.listen_port.is_some();
        let mut sockets = NewSockets { port, port_is_automatic, mark, bound: None };
        if (settings.up && new_port) || missing {
            let udp = self.bind(port, mark)?;
            sockets.port_is_automatic |= port == 0;
            sockets.port = udp.port();
            sockets.bound = Some(udp);
        } else if settings.up && mark != settings.mark {
            if let Some(udp) = self.udp() {
                udp.set_mark(mark).map_err(|source| ApplyError::Mark { mark, source })?;
            }
        } else if new_port && port != 0 {
            // Down: bound only to learn now, and not at some later "up", that the port is taken.
            self.bind(port, mark)?;
        }
        Ok(sockets)
    }

    fn apply_sockets(&self, context: &mut Context, settings: &mut Settings, sockets: NewSockets) {
        let changed = sockets.port != settings.port || sockets.mark != settings.mark;
        settings.port = sockets.port;
        settings.port_is_automatic = sockets.port_is_automatic;
        settings.mark = sockets.mark;
        if changed {
            self.peers.all().iter().for_each(|peer| peer.state().core.clear_source());
        }
        match sockets.bound {
            Some(udp) if settings.up => self.use_sockets(Some(udp)),
            Some(udp) => self.go_up(context, settings, udp),
            None => {}
        }
    }

    /// Lets the peers go, with sockets that were bound for it.
    fn go_up(&self, context: &mut Context, settings: &mut Settings, udp: Arc<dyn Udp>) {
        settings.up = true;
        self.use_sockets(Some(udp));
        let now = self.platform.clock.now();
        for peer in self.peers.all() {
            self.with_peer(context, &peer, |state, _| state.core.up(now));
        }
    }

    /// Replaces the identity (protocol 13.1). The secrets with all peers are computed before, with no lock held that a
    /// packet needs; then the change is one step as far as handshakes can see.
    fn apply_private_key(&self, context: &mut Context, private_key: Option<PrivateKey>, up: bool) {
        let before = self.identity();
        if before.as_ref().map(|local| local.identity.private_key()) == private_key.as_ref() {
            return;
        }
        let local = private_key.map(|private_key| Arc::new(LocalIdentity::new(private_key)));
        if let Some(own) = local.as_ref().and_then(|local| self.peers.lookup(local.identity.public_key())) {
            self.remove_peers(context, &[own]);
        }
        let peers = self.peers.all();
        let secrets: Vec<_> = peers
            .iter()
            .map(|peer| local.as_ref().and_then(|local| local.identity.static_static(&peer.public_key)))
            .collect();
        let _exclusive = self.pause_handshakes();
        let first_identity = before.is_none() && local.is_some();
        *write(&self.identity) = local;
        for (peer, secret) in peers.iter().zip(secrets) {
            self.with_peer(context, peer, |state, _| state.core.identity_changed(secret));
        }
        if first_identity && up {
            peers.iter().for_each(|peer| self.flush(context, peer));
        }
    }

    fn apply_peer(&self, context: &mut Context, change: PeerChange, up: bool) {
        let known = self.peers.lookup(&change.public_key);
        if change.remove {
            return self.remove_peers(context, known.as_slice());
        }
        let (peer, is_new) = match known {
            Some(peer) => (peer, false),
            None if change.update_only => return,
            None => {
                let local = self.identity();
                let identity: Option<&Identity> = local.as_ref().map(|local| &local.identity);
                if identity.is_some_and(|identity| *identity.public_key() == change.public_key) {
                    // Our own key is never a peer; accepted and ignored, as by the kernel.
                    return;
                }
                let secret = identity.and_then(|identity| identity.static_static(&change.public_key));
                (write(&self.routes).add_peer(change.public_key, secret), true)
            }
        };
        let now = self.platform.clock.now();
        {
            let mut state = peer.state();
            if let Some(preshared_key) = change.preshared_key {
                state.core.set_preshared_key(preshared_key);
            }
            if let Some(endpoint) = change.endpoint {
                state.core.set_endpoint(endpoint);
            }
            if let Some(secs) = change.persistent_keepalive {
                state.core.set_persistent_keepalive(now, secs);
            }
        }
        self.apply_allowed_ips(&peer, change.replace_allowed_ips, &change.allowed_ips);
        if is_new {
            // Only now can a handshake find it: it is complete.
            self.peers.insert(peer.clone());
        }
        self.with_peer(context, &peer, |state, _| {
            if is_new && up {
                state.core.up(now);
            }
        });
        self.flush(context, &peer);
    }

    /// Applies the difference between the peer's prefixes and what is asked for, in steps of bounded length: between
    /// two steps every prefix has the owner it had or the one it will have.
    fn apply_allowed_ips(&self, peer: &Arc<Peer>, replace: bool, changes: &[AllowedIpChange]) {
        let before = if replace { read(&self.routes).prefixes(peer.id).to_vec() } else { Vec::new() };
        let mut gone: HashSet<Prefix> = before.iter().copied().collect();
        for change in changes {
            match change {
                AllowedIpChange::Add(prefix) => gone.remove(prefix),
                AllowedIpChange::Remove(prefix) => gone.insert(*prefix),
            };
        }
        let added: Vec<Prefix> = changes
            .iter()
            .filter_map(|change| match change {
                AllowedIpChange::Add(prefix) if !gone.contains(prefix) => Some(*prefix),
                _ => None,
            })
            .collect();
        if before != added {
            for prefixes in added.chunks(PREFIXES_PER_STEP) {
                for (prefix, owner) in write(&self.routes).insert(peer.id, prefixes) {
                    tracing::info!(
                        "Allowed IP {}/{} moves from peer {:?} to peer {:?}",
                        prefix.address(),
                        prefix.len(),
                        owner.public_key,
                        peer.public_key
                    );
                }
            }
        }
        let gone: Vec<Prefix> = gone.into_iter().collect();
        for prefixes in gone.chunks(PREFIXES_PER_STEP) {
            write(&self.routes).remove(peer.id, &prefixes.iter().copied().collect());
        }
    }

    /// Removes peers: first they cannot be found, then their keys go, then what is in flight is waited out.
    fn remove_peers(&self, context: &mut Context, peers: &[Arc<Peer>]) {
        for peer in peers {
            self.peers.remove(&peer.public_key);
            write(&self.routes).remove_peer(peer.id);
        }
        self.silence(context, peers);
    }

    /// Takes the peers' sessions and timers away and waits until what was begun with them is through: a batch that is
    /// being sent or delivered, and a handshake message that is being sent.
    fn silence(&self, context: &mut Context, peers: &[Arc<Peer>]) {
        for peer in peers {
            // Its entry among the deadlines stays: taking it out is dear, and one that is too early does no harm.
            self.with_peer(context, peer, |state, _| state.core.down());
        }
        if !peers.is_empty() {
            drop(self.pause_handshakes());
        }
        for peer in peers {
            peer.outbound.quiesce();
            peer.inbound.quiesce();
        }
    }

    fn bind(&self, port: u16, mark: u32) -> Result<Arc<dyn Udp>, ApplyError> {
        self.platform.network.bind(port, mark).map_err(|source| ApplyError::Bind { port, source })
    }

    /// Puts other sockets in the place of those in use, and returns when these are closed: their port may be wanted
    /// again at once. A thread holds them for one batch at most.
    fn use_sockets(&self, udp: Option<Arc<dyn Udp>>) {
        let before = std::mem::replace(&mut *write(&self.udp), udp).map(|before| Arc::downgrade(&before));
        // The packet thread sleeps on the sockets that were bound when it began to sleep.
        self.platform.poller.wake();
        while before.as_ref().is_some_and(|before| before.strong_count() > 0) {
            std::thread::yield_now();
        }
    }
}

/// The sockets after a change.
struct NewSockets {
    port: u16,
    port_is_automatic: bool,
    mark: u32,
    bound: Option<Arc<dyn Udp>>,
}

/// Prefixes per hold of the routing lock: about 1 ms at 200 ns each would be 5,000; packets wait for a fifth of that.
const PREFIXES_PER_STEP: usize = 1000;
