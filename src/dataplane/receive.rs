//! The way in: from the socket to the TUN, functions in packet order.
//!
//! ```text
//!  1 receive_batch  packet thread      parse, look the index up, group by keypair   (sequential)
//!  2 open           any thread         verify and decrypt in place, several at once (parallel)
//!  3 deliver_ready  elected drainer    in order: replay check, roaming, timers, source check, coalesce, write
//! ```
//! The replay check is in step 3 and never in the parallel part: the window must see counters in arrival order, and
//! nothing about a peer may change because of a packet that does not verify.
//!
//! Handshake messages and cookie replies leave at step 1 for their own bounded queue (see `handshakes`).

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

use super::device::{Device, IndexEntry};
use super::evidence::{is_asked_for, note};
use super::gro::{Group, MAX_HEADER_LEN};
use super::offload::Offload;
use super::packet::{Buffer, UdpBatch, UdpMessage};
use super::peer::Peer;
use super::queue::{Drainer, Ticket};
use super::stats::Drop;
use super::sync::read;
use super::workers::{Context, Job};
use crate::aead;
use crate::proto::constants::REJECT_AFTER_TIME;
use crate::proto::crypto::BadTag;
use crate::proto::endpoint::Endpoint;
use crate::proto::index::Index;
use crate::proto::ip;
use crate::proto::keypair::Keypair;
use crate::proto::messages::{self, Message};
use crate::proto::peer::{DropReason, Received};
use crate::proto::time::Instant;
use crate::proto::transport::{self, HEADER_LEN, MAX_BATCH, OVERHEAD};

/// A batch on its way to being opened. All its packets are of one keypair.
pub(super) struct OpenJob {
    peer: Arc<Peer>,
    keypair: Arc<Keypair>,
    ticket: Ticket,
    inbound: Inbound,
}

/// Received transport data of one keypair. Recycled with its vectors, so that it allocates only while it warms up.
#[derive(Default)]
pub(super) struct Inbound {
    /// Our index of the keypair; `None` only while recycled.
    index: Option<Index>,
    origins: Vec<Origin>,
    packets: Vec<InboundPacket>,
    buffers: Vec<Buffer>,
}

/// What the packets of one UDP message have in common.
#[derive(Clone, Copy)]
struct Origin {
    from: Endpoint,
    ecn: u8,
}

#[derive(Clone, Copy)]
pub(super) struct InboundPacket {
    /// Index of its buffer and of its origin.
    message: u16,
    /// Where it starts in the buffer: first the transport message, then, in steps, the inner packet.
    start: u32,
    len: u32,
    counter: u64,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not opened yet, or refused.
    Drop,
    /// Authentic, and not a replay.
    Keep,
}

impl Device {
    /// Hands what was received in one burst to the handshake worker and to its peers.
    pub(super) fn receive_batch(&self, context: &mut Context, now: Instant, batch: &mut UdpBatch) {
        for message in batch.drain() {
            self.dispatch(context, now, message);
        }
        let mut opening = std::mem::take(&mut context.opening);
        for (peer, keypair, inbound) in opening.drain(..) {
            self.open_or_share(context, now, peer, keypair, inbound);
        }
        context.opening = opening;
    }

    /// Parses the datagrams of one UDP message. Usually all are transport data of one keypair; then the buffer goes
    /// with them. Otherwise, as when a train carries the last packets under one key and the first under the next, those
    /// of other keypairs are copied, and follow.
    fn dispatch(&self, context: &mut Context, now: Instant, message: UdpMessage) {
        let UdpMessage { buffer, len, segment_len, from, ecn } = message;
        let origin = Origin { from, ecn };
        let mut spare = Some(buffer);
        let mut first: Option<Index> = None;
        let mut start = 0;
        // An empty datagram is legal, and is no message.
        while start < len {
            let end = len.min(start + segment_len.max(1));
            let bytes: &[u8] = spare.as_deref().map_or(&[], |buffer| &buffer[start..end]);
            match messages::parse(bytes) {
                None => self.stats.dropped(Drop::NotMessage, 1),
                Some(Message::Data { receiver, counter }) => {
                    let packet = InboundPacket {
                        message: 0,
                        start: start as u32,
                        len: (end - start) as u32,
                        counter,
                        verdict: Verdict::Drop,
                    };
                    if *first.get_or_insert(receiver) == receiver {
                        context.arrived.push(packet);
                    } else {
                        self.set_aside(context, receiver, packet, bytes);
                    }
                }
                Some(_) => {
                    if !self.handshakes.push(bytes, from) {
                        self.stats.dropped(Drop::Full, 1);
                    }
                }
            }
            start = end;
        }
        if let (Some(index), Some(buffer)) = (first, spare.take_if(|_| first.is_some())) {
            self.join(context, now, index, origin, buffer);
        }
        let mut aside = std::mem::take(&mut context.aside);
        for (index, packet, buffer) in aside.drain(..) {
            context.arrived.push(packet);
            self.join(context, now, index, origin, buffer);
        }
        context.aside = aside;
        self.pool.put(spare);
    }

    /// Copies one datagram of another keypair than the first of its UDP message.
    fn set_aside(&self, context: &mut Context, index: Index, packet: InboundPacket, bytes: &[u8]) {
        let mut buffers = Vec::new();
        self.pool.take(1, &mut buffers);
        let Some(mut buffer) = buffers.pop() else { return self.stats.dropped(Drop::Full, 1) };
        buffer[..bytes.len()].copy_from_slice(bytes);
        context.aside.push((index, InboundPacket { start: 0, ..packet }, buffer));
    }

    /// Adds the arrived packets in `buffer` to the batch of their keypair, which is made if this burst has none yet.
    fn join(&self, context: &mut Context, now: Instant, index: Index, origin: Origin, buffer: Buffer) {
        let known = context.opening.iter().position(|(_, keypair, _)| keypair.local == index);
        let place = known.or_else(|| {
            let entry = read(&self.indices).lookup(index).cloned();
            match entry {
                Some(IndexEntry::Keypair(peer, keypair)) if now.since(keypair.birth) >= REJECT_AFTER_TIME => {
                    self.dropped(&peer, Drop::Expired, context.arrived.len());
                }
                Some(IndexEntry::Keypair(peer, keypair)) => {
                    let inbound = Inbound { index: Some(index), ..self.inbounds.take() };
                    context.opening.push((peer, keypair, inbound));
                    return Some(context.opening.len() - 1);
                }
                _ => self.stats.dropped(Drop::UnknownIndex, context.arrived.len()),
            }
            None
        });
        match place {
            Some(place) => {
                let inbound = &mut context.opening[place].2;
                let message = inbound.buffers.len() as u16;
                inbound.packets.extend(context.arrived.drain(..).map(|packet| InboundPacket { message, ..packet }));
                inbound.origins.push(origin);
                inbound.buffers.push(buffer);
            }
            None => {
                context.arrived.clear();
                self.pool.put([buffer]);
            }
        }
    }

    /// Takes a place in the peer's queue; under backlog hands the batch to an idle worker, else opens it here and now.
    fn open_or_share(
        &self,
        context: &mut Context,
        now: Instant,
        peer: Arc<Peer>,
        keypair: Arc<Keypair>,
        mut inbound: Inbound,
    ) {
        let Some(ticket) = peer.inbound.reserve() else {
            self.dropped(&peer, Drop::Full, inbound.packets.len());
            self.pool.put(inbound.buffers.drain(..));
            return self.inbounds.put(inbound);
        };
        let job = Job::Open(OpenJob { peer, keypair, ticket, inbound });
        self.run_or_share(context, now, job);
    }

    /// Opens a batch and, if its place is the head of the peer's queue, delivers what is ready.
    pub(super) fn open(&self, context: &mut Context, now: Instant, job: OpenJob) {
        let OpenJob { peer, keypair, ticket, mut inbound } = job;
        let bad = inbound.open(&keypair);
        self.dropped(&peer, Drop::BadTag, bad);
        if let Some(drainer) = peer.inbound.complete(ticket, inbound) {
            self.deliver_ready(context, now, &peer, drainer);
        }
    }

    /// Delivers opened batches of a peer in order.
    fn deliver_ready(&self, context: &mut Context, now: Instant, peer: &Arc<Peer>, mut drainer: Drainer<'_, Inbound>) {
        while let Some(mut inbound) = drainer.next() {
            let keepalives = self.accept(context, now, peer, &mut inbound);
            let data = self.check_sources(now, peer, &mut inbound);
            let packets = keepalives + inbound.packets.len() as u64;
            if packets > 0 {
                let mut state = peer.state();
                state.core.add_received(keepalives * OVERHEAD as u64 + data, packets);
                if let Some(bucket) = state.limits.as_mut().and_then(|limits| limits.up.as_mut()) {
                    let before = inbound.packets.len();
                    let mut admit = bucket.at(now);
                    inbound.packets.retain(|packet| admit(packet.len as usize));
                    self.dropped(peer, Drop::OverRateUp, before - inbound.packets.len());
                }
            }
            self.write_to_tun(context, peer, &inbound);
            self.pool.put(inbound.buffers.drain(..));
            self.inbounds.put(inbound);
        }
    }

    /// Replay check of each packet, then once per UDP message what follows from it: roaming, key confirmation, timers.
    /// Leaves the non-empty accepted packets in `inbound`; returns the number of keepalives.
    fn accept(&self, context: &mut Context, now: Instant, peer: &Arc<Peer>, inbound: &mut Inbound) -> u64 {
        let Some(index) = inbound.index else { return 0 };
        let wall = self.platform.clock.wall();
        let (mut expired, mut replayed, mut keepalives) = (0, 0, 0);
        let mut state = peer.state();
        for packets in inbound.packets.chunk_by_mut(|a, b| a.message == b.message) {
            let (mut any, mut data) = (false, false);
            let message = usize::from(packets[0].message);
            for packet in packets.iter_mut().filter(|packet| packet.verdict == Verdict::Keep) {
                match state.core.accept(now, index, packet.counter) {
                    Ok(()) => {
                        any = true;
                        data |= packet.len > 0;
                        if packet.len == 0 {
                            keepalives += 1;
                            state.evidence.keepalives_received += 1;
                            packet.verdict = Verdict::Drop;
                        }
                        continue;
                    }
                    Err(DropReason::Expired) => expired += 1,
                    Err(DropReason::Replayed) => replayed += 1,
                }
                packet.verdict = Verdict::Drop;
            }
            if any {
                let received = Received { index, from: inbound.origins[message].from, data };
                state.core.on_received(now, wall, &mut context.rng, received);
            }
        }
        self.settle(context, peer, state);
        self.dropped(peer, Drop::Expired, expired);
        self.dropped(peer, Drop::Replayed, replayed);
        inbound.packets.retain(|packet| packet.verdict == Verdict::Keep);
        keepalives
    }

    /// Keeps the packets that are whole IP packets from an address that is routed to this peer, trimmed to their IP
    /// length, with the outer ECN bits applied. Returns their bytes on the wire.
    ///
    /// The device's table decides, not the peer's own list: a more specific prefix of another peer must win.
    fn check_sources(&self, now: Instant, peer: &Peer, inbound: &mut Inbound) -> u64 {
        let (mut bad, mut foreign, mut bytes) = (0, 0, 0);
        let mut stranger = None;
        let Inbound { packets, buffers, origins, .. } = inbound;
        let routes = read(&self.routes);
        let mut last = None;
        packets.retain_mut(|packet| {
            let message = usize::from(packet.message);
            let plaintext = &mut buffers[message][packet.start as usize..][..packet.len as usize];
            let Ok(header) = ip::parse(plaintext) else {
                bad += 1;
                return false;
            };
            let owner = match last {
                Some((src, owner)) if src == header.src => owner,
                _ => routes.lookup(header.src),
            };
            last = Some((header.src, owner));
            if owner != Some(peer.id) {
                foreign += 1;
                stranger = Some(header.src).filter(|&src| is_asked_for(src)).or(stranger);
                return false;
            }
            ip::decapsulate_ecn(origins[message].ecn, plaintext);
            bytes += u64::from(packet.len) + OVERHEAD as u64;
            packet.len = header.total_len as u32;
            true
        });
        drop(routes);
        self.dropped(peer, Drop::BadInner, bad);
        self.dropped(peer, Drop::SourceNotAllowed, foreign);
        if let Some(stranger) = stranger {
            note(&mut peer.state().evidence.trouble().foreign_source, now, foreign, stranger);
        }
        bytes
    }

    /// Writes the delivered packets, in-order segments of a flow as one, with rests in a flood of datagrams.
    fn write_to_tun(&self, context: &mut Context, peer: &Peer, inbound: &Inbound) {
        context.coalescer.coalesce(inbound.packets.len(), |n| inbound.bytes(n), self.offloads.classes());
        for group in context.coalescer.groups() {
            let next = |n| context.coalescer.next(n);
            let written = if group.count > 1 {
                self.write_merged(inbound, group, next)
            } else {
                self.write_single(inbound, group.first)
            };
            self.dropped(peer, Drop::TunWrite, usize::from(group.count) - written);
            if ip::udp_ports(inbound.bytes(usize::from(group.first))).is_some() {
                let clock = &self.platform.clock;
                if let Some(time) = context.pacing.delivered(written, group.len as usize, || clock.preemptions()) {
                    clock.rest(time);
                }
            }
        }
    }

    /// Writes a group as one packet; singly if the TUN refuses, and then it is not asked again. Returns how many packets
    /// were taken.
    fn write_merged(&self, inbound: &Inbound, group: &Group, next: impl Fn(u16) -> Option<u16>) -> usize {
        let mut header = [0; MAX_HEADER_LEN];
        let mut parts = [IoSlice::new(&[]); MAX_PARTS];
        let mut count = 1;
        let mut last = group.first;
        let mut member = Some(group.first);
        while let Some(n) = member {
            if count == MAX_PARTS {
                return self.write_members(inbound, group, next);
            }
            parts[count] = IoSlice::new(&inbound.bytes(usize::from(n))[usize::from(group.header_len)..]);
            count += 1;
            last = n;
            member = next(n);
        }
        let first = inbound.bytes(usize::from(group.first));
        let offload = group.write_header(first, inbound.bytes(usize::from(last)), &mut header);
        parts[0] = IoSlice::new(&header[..usize::from(group.header_len)]);
        match self.platform.tun.write(offload, &parts[..count]) {
            Ok(()) => usize::from(group.count),
            Err(error) => {
                // Whatever the error is (EINVAL of Linux 6.6.44, EIO of some drivers): if the same packets go through
                // singly, the merge was the reason; unless it is one that passes.
                let passes = matches!(error.kind(), ErrorKind::OutOfMemory | ErrorKind::NetworkDown);
                let written = self.write_members(inbound, group, next);
                if let (Some(segmentation), 1.., false) = (offload.segmentation, written, passes) {
                    self.offloads.refused_by_tun(segmentation, first[0] >> 4);
                }
                written
            }
        }
    }

    fn write_members(&self, inbound: &Inbound, group: &Group, next: impl Fn(u16) -> Option<u16>) -> usize {
        let members = std::iter::successors(Some(group.first), |n| next(*n));
        members.map(|n| self.write_single(inbound, n)).sum()
    }

    fn write_single(&self, inbound: &Inbound, n: u16) -> usize {
        let packet = inbound.bytes(usize::from(n));
        usize::from(self.platform.tun.write(Offload::default(), &[IoSlice::new(packet)]).is_ok())
    }
}

impl Inbound {
    /// Opens every packet in place, as many at once as the keypair takes; returns how many did not verify.
    fn open(&mut self, keypair: &Keypair) -> usize {
        let mut bad = 0;
        let mut results = [Err(BadTag); MAX_BATCH];
        let mut buffers = Messages { buffers: self.buffers.iter_mut().enumerate(), current: (0, 0, &mut []) };
        let share = aead::share(self.packets.len());
        for packets in self.packets.chunks_mut(share) {
            let messages = packets.iter().map(|packet| (packet.counter, buffers.next(packet)));
            let count = transport::open_batch(keypair, messages, &mut results);
            for (packet, result) in packets.iter_mut().zip(&results[..count]) {
                match result {
                    Ok(len) => {
                        packet.verdict = Verdict::Keep;
                        packet.start += HEADER_LEN as u32;
                        packet.len = *len as u32;
                    }
                    Err(BadTag) => bad += 1,
                }
            }
        }
        bad
    }

    /// Returns the bytes of packet `n`.
    fn bytes(&self, n: usize) -> &[u8] {
        let packet = &self.packets[n];
        &self.buffers[usize::from(packet.message)][packet.start as usize..][..packet.len as usize]
    }
}

/// Hands out the messages of a batch one after the other, each as a slice of its own.
///
/// Packets are listed as they lie: by buffer, and in a buffer from front to back.
struct Messages<'a, I> {
    buffers: I,
    /// Number of a buffer, what was handed out of it, in bytes, and the rest.
    current: (usize, usize, &'a mut [u8]),
}

impl<'a, I: Iterator<Item = (usize, &'a mut Buffer)>> Messages<'a, I> {
    fn next(&mut self, packet: &InboundPacket) -> &'a mut [u8] {
        let (start, len) = (packet.start as usize, packet.len as usize);
        let (mut number, mut used, mut rest) = std::mem::take(&mut self.current);
        while rest.is_empty() || number != usize::from(packet.message) {
            let (next, buffer) = self.buffers.next().expect("every packet lies in a buffer, behind the one before it");
            (number, used, rest) = (next, 0, buffer);
        }
        let (message, rest) = rest.split_at_mut(start - used).1.split_at_mut(len);
        self.current = (number, start + len, rest);
        message
    }
}

impl super::workers::Recycle for Inbound {
    fn reset(&mut self) {
        self.index = None;
        self.origins.clear();
        self.packets.clear();
    }
}

/// One header and up to 128 payloads; a longer group cannot come from one batch of 64 KiB messages of real size.
const MAX_PARTS: usize = 129;
