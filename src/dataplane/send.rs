//! The way out: from the TUN to the socket, functions in packet order.
//!
//! ```text
//!  1 send_batch     packet thread      route each packet, group by peer          (sequential)
//!  2 send_to_peer   packet thread      reserve counters and a place in the queue (sequential, under the peer's lock)
//!  3 seal           any thread         segment, checksum, pad, seal, in groups   (parallel)
//!  4 transmit_ready elected drainer    in order: send, then tell the timers      (sequential per peer)
//! ```
//! Without backlog one thread runs all four to completion. Counters and queue places are taken under one lock, so
//! packets leave in counter order whichever threads seal them.
//!
//! Not here: how a batch reaches the wire (see `transmit`), initiations and responses (see `handshakes`).

use std::sync::Arc;

use super::device::Device;
use super::evidence::note;
use super::gso::Segments;
use super::packet::{Buffer, MAX_PACKET_LEN, Pool, TunBatch, TunPacket};
use super::path_mtu::LONG;
use super::peer::{Peer, PeerId, PeerState, StagedPacket};
use super::queue::{Drainer, Ticket};
use super::rate::Bucket;
use super::stats::Drop;
use super::sync::{MutexGuard, read};
use super::workers::{Context, Job};
use crate::proto::icmp::Report;
use crate::proto::ip::{self, encapsulate_ecn};
use crate::proto::keypair::Keypair;
use crate::proto::peer::SendGrant;
use crate::proto::time::Instant;
use crate::proto::transport::{self, OVERHEAD, padded_len};

/// A packet of a [`TunBatch`] on its way to a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Routed {
    peer: PeerId,
    packet: TunPacket,
    /// Packets it stands for.
    segments: u32,
    /// DS byte of the outer header.
    ds: u8,
    /// Local port if it is a UDP datagram, for the routing-loop guard.
    udp_src: Option<u16>,
}

/// A batch on its way to being sealed.
pub(super) struct SealJob {
    peer: Arc<Peer>,
    ticket: Ticket,
    grant: SendGrant,
    packets: Packets,
    out: Outbound,
}

enum Packets {
    /// Those of the batch that `Outbound::routed` lists.
    Read(Arc<TunBatch>),
    Staged(Vec<StagedPacket>),
}

/// A sealed batch. Recycled with its vectors, so that it allocates only while it warms up.
#[derive(Default)]
pub(super) struct Outbound {
    keypair: Option<Arc<Keypair>>,
    routed: Vec<Routed>,
    pub(super) buffers: Vec<Buffer>,
    pub(super) trains: Vec<Train>,
}

/// Sealed datagrams of equal length (the last may be shorter) back to back in one buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Train {
    pub(super) buffer: u16,
    pub(super) start: u32,
    pub(super) len: u32,
    pub(super) segment_len: u32,
    pub(super) count: u16,
    pub(super) ds: u8,
    /// At least one is not a keepalive.
    pub(super) data: bool,
}

impl Device {
    /// Sends what was read from the TUN in one burst.
    pub(super) fn send_batch(&self, context: &mut Context, now: Instant, batch: &Arc<TunBatch>) {
        self.route(context, batch);
        self.stats.dropped(Drop::NoPeer, context.unrouted.len());
        if !context.unrouted.is_empty() {
            self.evidence.no_peer(now, context.unrouted.iter().map(|&packet| batch.bytes(packet)));
        }
        for packet in context.unrouted.drain(..) {
            self.reports.send(&*self.platform.tun, now, Report::Unreachable, batch.bytes(packet));
        }
        let mut routed = std::mem::take(&mut context.routed);
        let mut peers = std::mem::take(&mut context.peers);
        for (group, peer) in routed.chunk_by(|a, b| a.peer == b.peer).zip(peers.drain(..)) {
            self.send_to_peer(context, now, &peer, batch, group);
        }
        routed.clear();
        context.routed = routed;
        context.peers = peers;
    }

    /// Finds the peer of each packet, and brings the packets of one peer together. Slots become peers under the same
    /// lock under which addresses became slots: a slot may be another peer's a moment later.
    fn route(&self, context: &mut Context, batch: &TunBatch) {
        let routes = read(&self.routes);
        let mut last = None;
        for &packet in batch.packets() {
            let bytes = batch.bytes(packet);
            let (Ok(header), Ok(segments)) = (ip::parse(bytes), Segments::new(bytes, packet.offload)) else {
                self.stats.dropped(Drop::NotIp, 1);
                continue;
            };
            let peer = match last {
                Some((dst, peer)) if dst == header.dst => peer,
                _ => routes.lookup(header.dst),
            };
            last = Some((header.dst, peer));
            match peer {
                Some(peer) => context.routed.push(Routed {
                    peer,
                    packet,
                    segments: segments.count() as u32,
                    ds: encapsulate_ecn(header.ecn),
                    udp_src: ip::udp_ports(bytes).map(|(src, _)| src),
                }),
                None => context.unrouted.push(packet),
            }
        }
        if !context.routed.is_sorted_by_key(|packet| packet.peer) {
            // Stable: packets to one peer keep their order.
            context.routed.sort_by_key(|packet| packet.peer);
        }
        let groups = context.routed.chunk_by(|a, b| a.peer == b.peer);
        context.peers.extend(groups.filter_map(|group| routes.peer(group[0].peer).cloned()));
    }

    /// Sends packets of one peer, or stages them if it has no key.
    fn send_to_peer(
        &self,
        context: &mut Context,
        now: Instant,
        peer: &Arc<Peer>,
        batch: &Arc<TunBatch>,
        group: &[Routed],
    ) {
        let port = self.udp().map(|udp| udp.port());
        let mut state = peer.state();
        let Some(endpoint) = state.core.endpoint() else {
            note(&mut state.evidence.trouble().no_endpoint, now, group.len(), ());
            drop(state);
            self.dropped(peer, Drop::NoEndpoint, group.len());
            for routed in group {
                self.reports.send(&*self.platform.tun, now, Report::Unreachable, batch.bytes(routed.packet));
            }
            return;
        };
        let path_limit = state.path.limit(endpoint.remote, self.mtu());
        let asks = state.path.is_due(now, || group.iter().any(|routed| batch.bytes(routed.packet).len() > LONG));
        let mut out = self.outbounds.take();
        // A datagram from our own port to the endpoint of the peer that would carry it is one we just sent: without
        // this guard it would be sealed again for ever. Any other outer packet in the tunnel is legitimate nesting.
        let looping = |routed: &&Routed| {
            routed.udp_src.is_some()
                && routed.udp_src == port
                && ip::parse(batch.bytes(routed.packet)).is_ok_and(|header| header.dst == endpoint.remote.ip())
                && ip::udp_ports(batch.bytes(routed.packet)).is_some_and(|(_, dst)| dst == endpoint.remote.port())
        };
        out.routed.extend(group.iter().filter(|routed| !looping(routed)));
        self.dropped(peer, Drop::RoutingLoop, group.len() - out.routed.len());
        if let Some(bucket) = state.limits.as_mut().and_then(|limits| limits.down.as_mut()) {
            self.dropped(peer, Drop::OverRateDown, keep_within(bucket, now, batch, &mut out.routed));
        }

        let count = out.routed.iter().map(|routed| u64::from(routed.segments)).sum();
        if count == 0 {
            self.outbounds.put(out);
        } else if !state.staged.is_empty() {
            self.stage(peer, &mut state, batch, &out.routed);
            self.outbounds.put(out);
            drop(state);
            self.flush(context, peer);
        } else if let Some(grant) = state.core.reserve(now, count) {
            let job = self.enqueue(peer, grant, Packets::Read(batch.clone()), out);
            self.settle(context, peer, state);
            if let Some(job) = job {
                self.run_or_share(context, now, Job::Seal(job));
            }
        } else {
            self.stage(peer, &mut state, batch, &out.routed);
            self.outbounds.put(out);
            self.settle(context, peer, state);
        }
        if let Some(path_limit) = path_limit {
            self.report_too_big(now, batch, group.iter().map(|routed| routed.packet), path_limit);
        }
        if asks {
            self.learn_path_mtu(peer, endpoint.remote);
        }
    }

    /// Copies packets to the peer's staged ones, segmented, so that the bound counts what will be sent.
    fn stage(&self, peer: &Peer, state: &mut MutexGuard<'_, PeerState>, batch: &TunBatch, routed: &[Routed]) {
        for routed in routed {
            let Ok(segments) = Segments::new(batch.bytes(routed.packet), routed.packet.offload) else { continue };
            for n in 0..segments.count() {
                let mut bytes = vec![0; segments.len(n)].into_boxed_slice();
                segments.write(n, &mut bytes);
                let dropped = state.staged.push(StagedPacket { bytes, ds: routed.ds });
                self.dropped(peer, Drop::Staged, dropped);
            }
        }
    }

    /// Sends the staged packets of a peer if it has a key; else a handshake is asked for.
    pub(super) fn flush(&self, context: &mut Context, peer: &Arc<Peer>) {
        let now = self.platform.clock.now();
        let mut state = peer.state();
        let count = state.staged.len() as u64;
        if count == 0 || state.core.endpoint().is_none() {
            return;
        }
        let grant = state.core.reserve(now, count);
        let job = grant.and_then(|grant| {
            let packets = Packets::Staged(state.staged.take());
            self.enqueue(peer, grant, packets, self.outbounds.take())
        });
        self.settle(context, peer, state);
        if let Some(job) = job {
            self.run_or_share(context, now, Job::Seal(job));
        }
    }

    /// Takes a place in the peer's queue, still under the peer's lock; `None` drops the batch. Its counters stay used.
    fn enqueue(&self, peer: &Arc<Peer>, grant: SendGrant, packets: Packets, mut out: Outbound) -> Option<SealJob> {
        let Some(ticket) = peer.outbound.reserve() else {
            self.dropped(peer, Drop::Full, packets.len(&out));
            self.outbounds.put(out);
            return None;
        };
        out.keypair = Some(grant.keypair.clone());
        Some(SealJob { peer: peer.clone(), ticket, grant, packets, out })
    }

    /// Seals a batch and, if its place is the head of the peer's queue, sends what is ready.
    pub(super) fn seal(&self, context: &mut Context, now: Instant, mut job: SealJob) {
        let mtu = self.mtu();
        let dropped = job.seal(&self.pool, mtu);
        self.dropped(&job.peer, Drop::Full, dropped);
        let SealJob { peer, ticket, out, packets, .. } = job;
        // Before draining, which may take others' batches too: the arena is waited for.
        drop(packets);
        if let Some(drainer) = peer.outbound.complete(ticket, out) {
            self.transmit_ready(context, now, &peer, drainer);
        }
    }

    /// Sends sealed batches of a peer in order. Whether their keypair may still be used is asked right before each
    /// batch; removal and down wait for the drainer after they have withdrawn it (see `OrderedQueue::quiesce`).
    fn transmit_ready(
        &self,
        context: &mut Context,
        now: Instant,
        peer: &Arc<Peer>,
        mut drainer: Drainer<'_, Outbound>,
    ) {
        while let Some(mut out) = drainer.next() {
            let endpoint = {
                let state = peer.state();
                let usable = out.keypair.as_ref().is_some_and(|keypair| state.core.may_transmit(keypair));
                state.core.endpoint().filter(|_| usable)
            };
            match endpoint {
                Some(endpoint) => {
                    let sent = self.transmit(peer, endpoint, &out);
                    self.with_peer(context, peer, |state, rng| state.core.on_sent(now, rng, sent));
                }
                None => self.dropped(peer, Drop::Overtaken, out.datagrams()),
            }
            self.pool.put(out.buffers.drain(..));
            self.outbounds.put(out);
        }
    }
}

/// Leaves of `routed` what the limit lets through; returns how many packets that it dropped these stood for.
fn keep_within(bucket: &mut Bucket, now: Instant, batch: &TunBatch, routed: &mut Vec<Routed>) -> usize {
    let mut admit = bucket.at(now);
    let mut dropped = 0;
    routed.retain(|routed| {
        let passes = admit(batch.bytes(routed.packet).len());
        dropped += if passes { 0 } else { routed.segments as usize };
        passes
    });
    dropped
}

impl SealJob {
    /// Writes and seals every packet, a group of segments at a time while it is warm; returns how many found no buffer.
    fn seal(&mut self, pool: &Pool, mtu: usize) -> usize {
        let keypair = self.grant.keypair.clone();
        let mut counter = self.grant.first_counter;
        let mut dropped = 0;
        let routed = std::mem::take(&mut self.out.routed);
        let out = &mut self.out;
        let mut group = Group::default();
        let mut write_one = |len: usize, ds: u8, write: &dyn Fn(&mut [u8])| {
            let padded = padded_len(len, mtu);
            if !group.takes(out, padded + OVERHEAD, counter) {
                group.seal(&keypair, out);
            }
            match out.room(pool, padded + OVERHEAD) {
                Some(message) => {
                    let text = transport::HEADER_LEN..transport::HEADER_LEN + padded;
                    let (packet, padding) = message[text].split_at_mut(len);
                    write(packet);
                    padding.fill(0);
                    out.push(padded + OVERHEAD, ds, len > 0);
                    group.push(out.end(), padded + OVERHEAD, counter);
                }
                None => dropped += 1,
            }
            counter += 1;
        };
        match &self.packets {
            Packets::Read(batch) => {
                for routed in &routed {
                    let Ok(segments) = Segments::new(batch.bytes(routed.packet), routed.packet.offload) else {
                        continue;
                    };
                    for n in 0..segments.count() {
                        write_one(segments.len(n), routed.ds, &|packet| segments.write(n, packet));
                    }
                }
            }
            Packets::Staged(packets) => {
                for packet in packets {
                    write_one(packet.bytes.len(), packet.ds, &|out| out.copy_from_slice(&packet.bytes));
                }
            }
        }
        group.seal(&keypair, &mut self.out);
        self.out.routed = routed;
        dropped
    }
}

/// Messages that are written and not yet sealed: back to back in the last buffer, with counters one after the other.
#[derive(Default)]
struct Group {
    /// Where they start in the buffer.
    start: usize,
    first_counter: u64,
    lens: [usize; MAX_GROUP],
    count: usize,
}

impl Group {
    /// Tells whether a message of `len` bytes may join those there are.
    fn takes(&self, out: &Outbound, len: usize, counter: u64) -> bool {
        let follows = self.first_counter + self.count as u64 == counter;
        self.count == 0 || (self.count < MAX_GROUP && follows && out.fits(len))
    }

    /// Takes the message that ends at `end` in the last buffer.
    fn push(&mut self, end: usize, len: usize, counter: u64) {
        if self.count == 0 {
            (self.start, self.first_counter) = (end - len, counter);
        }
        self.lens[self.count] = len;
        self.count += 1;
    }

    /// Seals the messages and forgets them.
    fn seal(&mut self, keypair: &Keypair, out: &mut Outbound) {
        let mut rest = out.buffers.last_mut().map_or(&mut [][..], |buffer| &mut buffer[self.start..]);
        let messages = self.lens[..self.count].iter().map(|len| {
            let (message, after) = std::mem::take(&mut rest).split_at_mut(*len);
            rest = after;
            message
        });
        transport::seal_batch(keypair, self.first_counter, messages);
        self.count = 0;
    }
}

/// Eight packets of 1,440 bytes, read and written, fill half of a first-level cache of 48 KiB, and are what the
/// multi-packet back-end does in whole steps.
const MAX_GROUP: usize = 8;

impl Packets {
    fn len(&self, out: &Outbound) -> usize {
        match self {
            Self::Read(_) => out.routed.iter().map(|routed| routed.segments as usize).sum(),
            Self::Staged(packets) => packets.len(),
        }
    }
}

impl Outbound {
    /// Returns room for a message of `len` bytes behind the last one; `None` if the pool is exhausted.
    fn room(&mut self, pool: &Pool, len: usize) -> Option<&mut [u8]> {
        let fits = self.fits(len);
        let start = if fits { self.end() } else { 0 };
        if !fits {
            pool.take(self.buffers.len() + 1, &mut self.buffers);
            if self.end() != 0 {
                return None;
            }
        }
        self.buffers.last_mut().map(|buffer| &mut buffer[start..start + len])
    }

    /// Tells whether `len` bytes more fit into the last buffer.
    fn fits(&self, len: usize) -> bool {
        self.buffers.last().is_some_and(|buffer| buffer.len() - self.end() >= len)
    }

    /// Takes the message that was written to the last [`Outbound::room`] into the last train, if it may follow there.
    fn push(&mut self, len: usize, ds: u8, data: bool) {
        let start = self.end();
        let buffer = (self.buffers.len() - 1) as u16;
        if let Some(train) = self.trains.last_mut() {
            let open = train.len == u32::from(train.count) * train.segment_len;
            let fits = train.len as usize + len <= MAX_TRAIN_LEN && train.count < MAX_TRAIN_COUNT;
            if open && fits && train.buffer == buffer && train.ds == ds && len <= train.segment_len as usize {
                train.len += len as u32;
                train.count += 1;
                train.data |= data;
                return;
            }
        }
        let (start, len) = (start as u32, len as u32);
        self.trains.push(Train { buffer, start, len, segment_len: len, count: 1, ds, data });
    }

    /// Returns where the last train ends in the last buffer; 0 if that is empty.
    fn end(&self) -> usize {
        match self.trains.last() {
            Some(train) if usize::from(train.buffer) + 1 == self.buffers.len() => (train.start + train.len) as usize,
            _ => 0,
        }
    }

    /// Returns how many datagrams it holds.
    pub(super) fn datagrams(&self) -> usize {
        self.trains.iter().map(|train| usize::from(train.count)).sum()
    }
}

impl super::workers::Recycle for Outbound {
    fn reset(&mut self) {
        self.keypair = None;
        self.routed.clear();
        self.trains.clear();
    }
}

/// The largest UDP payload over IPv4; what the kernel takes as one train.
const MAX_TRAIN_LEN: usize = MAX_PACKET_LEN - 28;

/// The kernel's UDP_MAX_SEGMENTS before 6.9.
const MAX_TRAIN_COUNT: u16 = 64;
