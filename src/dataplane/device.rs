//! The device: its tables, and the one way in which a change of a peer's state takes effect.
//!
//! ```text
//!  config ─► identity ─► peers ─► routes ─► peer state ─► indices, queues, deadlines, handshake queue, events
//! ```
//! is the lock order: who holds one may take those to its right. No lock is held over a system call, AEAD or
//! Diffie-Hellman, with two exceptions away from the packet ways: `config`, which configuration holds for as long as
//! it takes, and `handshaking`, which makes a handshake step and a change of the private key exclude each other.
//!
//! Not here: the ways of packets (see `send`, `receive`, `handshakes`), configuration (see `configure`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use rand::rngs::StdRng;

use super::candidates::Wanted;
use super::configure::Settings;
use super::deadlines::Deadlines;
use super::events::{EventKind, Events};
use super::evidence::Evidence;
use super::handshakes::{HandshakeQueue, LocalIdentity};
use super::io::{Platform, Udp};
use super::key_log::KeyLog;
use super::offload::Offloads;
use super::packet::{MAX_BUFFERS, Pool};
use super::peer::{Peer, PeerState, StagedPacket};
use super::queue::WorkQueue;
use super::receive::Inbound;
use super::reports::Reports;
use super::routes::Routes;
use super::send::Outbound;
use super::stats::{Drop, Stats};
use super::sync::{Mutex, MutexGuard, RwLock, read, write};
use super::tally::Keypairs;
use super::workers::{Context, Job, Recycler};
use crate::proto::handshake::{HandshakeError, StaticSecrets};
use crate::proto::index::{Index, IndexTable};
use crate::proto::keypair::Keypair;
use crate::proto::keys::{PublicKey, SharedSecret};
use crate::proto::peer::Output;

/// One WireGuard interface.
pub struct Device {
    pub(super) platform: Platform,
    /// Interface state and settings; held for the whole of a configuration change.
    pub(super) config: Mutex<Settings>,
    /// Held for one handshake step, Diffie-Hellman included, and for a change of the private key.
    pub(super) handshaking: Mutex<()>,
    /// Threads that wait for `handshaking` to change the configuration: see [`Device::pause_handshakes`].
    pub(super) pausing: AtomicUsize,
    pub(super) identity: RwLock<Option<Arc<LocalIdentity>>>,
    pub(super) peers: Arc<PeerTable>,
    pub(super) routes: RwLock<Routes>,
    pub(super) indices: RwLock<IndexTable<IndexEntry>>,
    pub(super) keypairs: Keypairs,
    /// `None` while the interface is down.
    pub(super) udp: RwLock<Option<Arc<dyn Udp>>>,
    pub(super) mtu: AtomicUsize,
    /// The firewall mark of the sockets. Relaxed: it orders nothing.
    pub(super) mark: AtomicU32,
    pub(super) wanted: Wanted,
    pub(super) offloads: Offloads,
    pub(super) pool: Pool,
    pub(super) outbounds: Recycler<Outbound>,
    pub(super) inbounds: Recycler<Inbound>,
    pub(super) work: WorkQueue<Job>,
    pub(super) handshakes: HandshakeQueue,
    pub(super) deadlines: Deadlines,
    pub(super) stats: Stats,
    pub(super) evidence: Evidence,
    pub(super) reports: Reports,
    pub(super) key_log: KeyLog,
    pub(super) events: Arc<Events>,
}

/// What a 32-bit index stands for. Responses may use only the first, transport data only the second, cookie replies
/// either.
#[derive(Clone)]
pub(super) enum IndexEntry {
    Handshake(Arc<Peer>),
    Keypair(Arc<Peer>, Arc<Keypair>),
}

impl Device {
    /// Makes a device that is down and has no peers.
    pub fn new(platform: Platform) -> Arc<Self> {
        let offloads = Offloads::new(platform.tun.classes());
        Arc::new(Self {
            platform,
            config: Mutex::new(Settings::default()),
            handshaking: Mutex::new(()),
            pausing: AtomicUsize::new(0),
            identity: RwLock::new(None),
            peers: Arc::new(PeerTable::default()),
            routes: RwLock::new(Routes::new()),
            indices: RwLock::new(IndexTable::new()),
            keypairs: Keypairs::default(),
            udp: RwLock::new(None),
            mtu: AtomicUsize::new(DEFAULT_MTU),
            mark: AtomicU32::new(0),
            wanted: Wanted::default(),
            offloads,
            pool: Pool::new(MAX_BUFFERS),
            outbounds: Recycler::new(),
            inbounds: Recycler::new(),
            work: WorkQueue::new(MAX_SHARED_JOBS),
            handshakes: HandshakeQueue::new(),
            deadlines: Deadlines::new(),
            stats: Stats::default(),
            evidence: Evidence::default(),
            reports: Reports::new(),
            key_log: KeyLog::default(),
            events: Arc::default(),
        })
    }

    /// Returns the drop counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Counts `packets` of `peer` dropped for `reason`.
    pub(super) fn dropped(&self, peer: &Peer, reason: Drop, packets: usize) {
        if packets > 0 {
            self.stats.dropped(reason, packets);
            peer.drops.add(reason, packets);
        }
    }

    /// Returns the offload states.
    pub fn offloads(&self) -> &Offloads {
        &self.offloads
    }

    /// Takes note of the interface's MTU, in bytes of inner packet: padding stops there.
    pub fn set_mtu(&self, mtu: usize) {
        self.mtu.store(mtu, Ordering::Relaxed);
    }

    /// Returns the sockets; `None` while the interface is down. One reference count per batch.
    pub(super) fn udp(&self) -> Option<Arc<dyn Udp>> {
        read(&self.udp).clone()
    }

    /// Returns our identity; `None` without a private key.
    pub(super) fn identity(&self) -> Option<Arc<LocalIdentity>> {
        read(&self.identity).clone()
    }

    /// Returns a freshly seeded random generator.
    pub(super) fn rng(&self) -> StdRng {
        (self.platform.rng)()
    }

    /// Changes a peer's state with `change`, then does everything that comes out of it.
    pub(super) fn with_peer<R>(
        &self,
        context: &mut Context,
        peer: &Arc<Peer>,
        change: impl FnOnce(&mut PeerState, &mut StdRng) -> R,
    ) -> R {
        let mut state = peer.state();
        let result = change(&mut state, &mut context.rng);
        self.settle(context, peer, state);
        result
    }

    /// Drains the outputs of a peer whose state was changed, re-schedules its deadline, lets go of it, and sends what
    /// can be sent.
    pub(super) fn settle(&self, context: &mut Context, peer: &Arc<Peer>, mut state: MutexGuard<'_, PeerState>) {
        let (mut flush, mut keypair_created, mut look_up, mut initiation) = (false, false, false, None);
        while let Some(output) = state.core.poll_output() {
            match output {
                Output::Initiate => {
                    if !std::mem::replace(&mut state.initiating, true) {
                        self.handshakes.initiate(peer.clone());
                    }
                }
                Output::Keepalive => {
                    if state.staged.is_empty() {
                        state.staged.push(StagedPacket { bytes: Box::default(), ds: 0 });
                    }
                    flush = true;
                }
                Output::Flush => flush = true,
                Output::PurgeStaged => self.dropped(peer, Drop::Staged, state.staged.take().len()),
                Output::Publish(keypair) => {
                    let index = keypair.local;
                    self.keypairs.published();
                    write(&self.indices).replace(index, IndexEntry::Keypair(peer.clone(), keypair));
                }
                Output::Release(index) => {
                    let entry = write(&self.indices).remove(index);
                    if let Some(IndexEntry::Keypair(_, keypair)) = entry {
                        self.keypairs.released(&keypair);
                    }
                }
                Output::HandshakeComplete => {
                    state.handshakes.completed();
                    keypair_created = true;
                    state.evidence.completed(self.platform.clock.now());
                }
                Output::Connected | Output::Silent | Output::Roamed(_) | Output::HandshakeGaveUp => {
                    if matches!(output, Output::HandshakeGaveUp) {
                        state.handshakes.given_up();
                    }
                    let kind = EventKind::of(&output, state.core.endpoint());
                    context.events.extend(kind.map(|kind| self.event(Some(peer), kind)));
                }
                Output::LookUp => look_up = true,
                Output::SendInitiation(to, message) => initiation = Some((to, message)),
            }
        }
        if let Some(deadline) = state.core.poll_timeout()
            && state.scheduled.is_none_or(|scheduled| deadline < scheduled)
        {
            state.scheduled = Some(deadline);
            self.deadlines.schedule(&*self.platform.alarm, deadline, peer);
        }
        flush &= !state.staged.is_empty();
        // Under the lock, which keeps the order of the peer's events; who waits is woken when it is gone.
        context.events.iter().for_each(|event| self.events.publish(event));
        let is_news = !context.events.is_empty();
        context.events.clear();
        drop(state);
        if keypair_created {
            tracing::debug!("Keypair created for peer {}", peer.label());
            self.note_way(peer);
        }
        if look_up {
            self.wanted.add(peer);
        }
        if is_news {
            self.events.wake();
        }
        if let Some((to, message)) = initiation {
            tracing::debug!("Sending the same handshake initiation to peer {} ({})", peer.label(), to.remote);
            self.send_initiation(context, peer, to, &*message);
        }
        if flush {
            self.flush(context, peer);
        }
    }

    /// Draws an index for a handshake of `peer`.
    pub(super) fn new_index(&self, peer: &Arc<Peer>, rng: &mut StdRng) -> Index {
        write(&self.indices).insert(IndexEntry::Handshake(peer.clone()), rng)
    }

    /// Frees an index whose handshake step came to nothing.
    pub(super) fn free_index(&self, index: Index) {
        write(&self.indices).remove(index);
    }
}

/// The peers of a device by public key, and in the order they were added.
#[derive(Default)]
pub(super) struct PeerTable {
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    by_key: HashMap<PublicKey, (u64, Arc<Peer>)>,
    by_age: BTreeMap<u64, Arc<Peer>>,
    next: u64,
}

impl PeerTable {
    pub(super) fn lookup(&self, public_key: &PublicKey) -> Option<Arc<Peer>> {
        read(&self.table).by_key.get(public_key).map(|(_, peer)| peer.clone())
    }

    pub(super) fn insert(&self, peer: Arc<Peer>) {
        let mut table = write(&self.table);
        let age = table.next;
        table.next += 1;
        table.by_key.insert(peer.public_key, (age, peer.clone()));
        table.by_age.insert(age, peer);
    }

    pub(super) fn remove(&self, public_key: &PublicKey) -> Option<Arc<Peer>> {
        let mut table = write(&self.table);
        let (age, peer) = table.by_key.remove(public_key)?;
        table.by_age.remove(&age);
        Some(peer)
    }

    /// Returns all peers, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Peer>> {
        read(&self.table).by_age.values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        read(&self.table).by_key.len()
    }
}

/// The cached secrets, asked for while an initiation is opened.
impl StaticSecrets for PeerTable {
    fn static_static(&self, peer: &PublicKey) -> Result<SharedSecret, HandshakeError> {
        let peer = self.lookup(peer).ok_or(HandshakeError::UnknownPeer(*peer))?;
        let state = peer.state();
        state.core.static_static().cloned().ok_or(HandshakeError::ZeroSharedSecret)
    }
}

/// Ethernet's 1500 bytes less the overhead over IPv6.
const DEFAULT_MTU: usize = 1420;

/// Batches that wait for a worker. More than this is latency, not throughput.
const MAX_SHARED_JOBS: usize = 64;
