//! The null tunnel: how fast this machine moves packets through the same platform code if nothing else is done.
//!
//! One thread carries the batches of `rvpn` from TUN to UDP and back: the same reads, segmentation, trains, receives,
//! coalescing and writes, and datagrams of the same length. It knows no peers, no handshake, no sessions and no
//! timers, and seals nothing; with `--aead` each packet is sealed and opened under a key that everybody knows. What the
//! daemon reaches of its rate is what the protocol costs. Never to be used as a tunnel.
//!
//! ```text
//! null_tunnel [--aead] INTERFACE PORT PEER_ADDRESS:PORT
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::IoSlice;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use rvpn::dataplane::gro::{Classes, Coalescer, Group, MAX_HEADER_LEN};
use rvpn::dataplane::gso::Segments;
use rvpn::dataplane::io::{Families, Platform, Transmit, Udp};
use rvpn::dataplane::offload::Offload;
use rvpn::dataplane::packet::{Buffer, Pool, TunBatch, UdpBatch};
use rvpn::platform::linux::placement::Placement;
use rvpn::platform::linux::udp_offload::Trains;
use rvpn::platform::linux::{self, tun};
use rvpn::proto::endpoint::Endpoint;
use rvpn::proto::index::Index;
use rvpn::proto::ip;
use rvpn::proto::keypair::{Keypair, Role, SessionKeys};
use rvpn::proto::keys::SessionKey;
use rvpn::proto::messages::{self, Message};
use rvpn::proto::time::Instant;
use rvpn::proto::transport::{self, HEADER_LEN, OVERHEAD};

fn main() -> ExitCode {
    match start() {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("null_tunnel: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Never {}

fn start() -> Result<Never, Box<dyn std::error::Error>> {
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    let seals = arguments.first().is_some_and(|first| first == "--aead");
    if seals {
        arguments.remove(0);
    }
    let [name, port, peer] = arguments.as_slice() else {
        return Err("usage: null_tunnel [--aead] INTERFACE PORT PEER_ADDRESS:PORT".into());
    };
    let (port, peer) = (port.parse()?, peer.parse::<SocketAddr>()?);
    let tun = Arc::new(tun::LinuxTun::open(name, tun::TunOptions::default())?);
    let (platform, _) = linux::platform(tun, Trains::of_this_kernel(), Placement::default())?;
    let udp = platform.network.bind(port, 0)?;
    println!("ready");
    let mut outbound = Outbound::new(peer, seals);
    let mut inbound = Inbound::new(platform.tun.classes(), seals);
    loop {
        let ready = platform.poller.wait()?;
        if ready.udp.any() {
            inbound.carry(&platform, &*udp, ready.udp)?;
        }
        if ready.tun {
            outbound.carry(&platform, &*udp)?;
        }
    }
}

/// The same keys on both ends and in both directions: there is nothing to protect.
fn keypair() -> Keypair {
    let key = || SessionKey::new([7; 32]);
    let keys = SessionKeys { role: Role::Initiator, send: key(), receive: key(), local: Index(0), remote: Index(0) };
    Keypair::new(&keys, Instant::default())
}

/// From the TUN to the socket.
struct Outbound {
    to: Endpoint,
    keypair: Option<Keypair>,
    counter: u64,
    batch: TunBatch,
    messages: Box<[u8]>,
    used: usize,
    trains: Vec<Train>,
}

/// Messages of equal length (the last may be shorter) back to back.
#[derive(Clone, Copy)]
struct Train {
    start: usize,
    len: usize,
    segment_len: usize,
    ds: u8,
}

impl Outbound {
    fn new(peer: SocketAddr, seals: bool) -> Self {
        Self {
            to: Endpoint::configured(peer),
            keypair: seals.then(keypair),
            counter: 0,
            batch: TunBatch::new(),
            messages: vec![0; MESSAGES_LEN].into_boxed_slice(),
            used: 0,
            trains: Vec::with_capacity(MAX_TRANSMITS),
        }
    }

    fn carry(&mut self, platform: &Platform, udp: &dyn Udp) -> std::io::Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        platform.tun.read(&mut batch)?;
        for &packet in batch.packets() {
            let bytes = batch.bytes(packet);
            let (Ok(header), Ok(segments)) = (ip::parse(bytes), Segments::new(bytes, packet.offload)) else { continue };
            let ds = ip::encapsulate_ecn(header.ecn);
            for n in 0..segments.count() {
                self.put(udp, &segments, n, ds);
            }
        }
        self.flush(udp);
        self.batch = batch;
        Ok(())
    }

    /// Writes one segment as a message behind the others.
    fn put(&mut self, udp: &dyn Udp, segments: &Segments<'_>, n: usize, ds: u8) {
        let len = segments.len(n);
        let padded = transport::padded_len(len, MTU);
        if self.used + padded + OVERHEAD > self.messages.len() || self.trains.len() == MAX_TRANSMITS {
            self.flush(udp);
        }
        let message = &mut self.messages[self.used..][..padded + OVERHEAD];
        let (packet, padding) = message[HEADER_LEN..HEADER_LEN + padded].split_at_mut(len);
        segments.write(n, packet);
        padding.fill(0);
        match &self.keypair {
            Some(keypair) => transport::seal(keypair, self.counter, message),
            None => {
                let header = message.first_chunk_mut().expect("a message is longer than its header");
                messages::write_data_header(header, Index(0), self.counter);
            }
        }
        self.counter += 1;
        self.append(padded + OVERHEAD, ds);
    }

    /// Takes the message just written into the last train, if it may follow there.
    fn append(&mut self, len: usize, ds: u8) {
        let start = self.used;
        self.used += len;
        if let Some(train) = self.trains.last_mut() {
            let whole = train.len.is_multiple_of(train.segment_len);
            let fits = train.len + len <= MAX_TRAIN_LEN && train.len / train.segment_len < MAX_TRAIN_COUNT;
            if whole && fits && train.ds == ds && len <= train.segment_len {
                train.len += len;
                return;
            }
        }
        self.trains.push(Train { start, len, segment_len: len, ds });
    }

    /// Sends all trains. What the network does not take is lost.
    fn flush(&mut self, udp: &dyn Udp) {
        let transmit = |train: &Train| Transmit {
            to: self.to,
            ds: train.ds,
            bytes: &self.messages[train.start..][..train.len],
            segment_len: train.segment_len,
        };
        if let Some(first) = self.trains.first() {
            let mut transmits = [transmit(first); MAX_TRANSMITS];
            for (place, train) in transmits.iter_mut().zip(&self.trains) {
                *place = transmit(train);
            }
            let mut left = &transmits[..self.trains.len()];
            while !left.is_empty() {
                let (sent, result) = udp.send(left);
                left = &left[sent + usize::from(result.is_err() && sent < left.len())..];
            }
        }
        self.trains.clear();
        self.used = 0;
    }
}

/// From the socket to the TUN.
struct Inbound {
    keypair: Option<Keypair>,
    pool: Pool,
    batch: UdpBatch,
    buffers: Vec<Buffer>,
    packets: Vec<Packet>,
    coalescer: Coalescer,
    classes: Classes,
}

/// One inner packet in a buffer.
struct Packet {
    buffer: usize,
    start: usize,
    len: usize,
}

impl Inbound {
    fn new(classes: Classes, seals: bool) -> Self {
        Self {
            keypair: seals.then(keypair),
            pool: Pool::new(POOL_LEN),
            batch: UdpBatch::new(),
            buffers: Vec::new(),
            packets: Vec::new(),
            coalescer: Coalescer::default(),
            classes,
        }
    }

    fn carry(&mut self, platform: &Platform, udp: &dyn Udp, families: Families) -> std::io::Result<()> {
        self.batch.refill(&self.pool);
        udp.receive(families, &mut self.batch)?;
        for message in self.batch.drain() {
            let mut buffer = message.buffer;
            let trains = buffer[..message.len].chunks_mut(message.segment_len);
            for (n, bytes) in trains.enumerate() {
                let start = n * message.segment_len + HEADER_LEN;
                if let Some(len) = open(self.keypair.as_ref(), bytes, message.ecn) {
                    self.packets.push(Packet { buffer: self.buffers.len(), start, len });
                }
            }
            self.buffers.push(buffer);
        }
        let Self { coalescer, packets, buffers, .. } = self;
        coalescer.coalesce(packets.len(), |n| packets[n].bytes(buffers), self.classes);
        for group in self.coalescer.groups() {
            self.write(platform, group);
        }
        self.packets.clear();
        self.pool.put(self.buffers.drain(..));
        Ok(())
    }

    fn bytes(&self, n: u16) -> &[u8] {
        self.packets[usize::from(n)].bytes(&self.buffers)
    }

    /// Writes a group as one packet. What the interface does not take is lost.
    fn write(&self, platform: &Platform, group: &Group) {
        let first = self.bytes(group.first);
        if group.count == 1 {
            let _ = platform.tun.write(Offload::default(), &[IoSlice::new(first)]);
            return;
        }
        let mut header = [0; MAX_HEADER_LEN];
        let mut parts = [IoSlice::new(&[]); MAX_PARTS];
        let (mut count, mut last, mut member) = (1, group.first, Some(group.first));
        while let (Some(n), true) = (member, count < MAX_PARTS) {
            parts[count] = IoSlice::new(&self.bytes(n)[usize::from(group.header_len)..]);
            (count, last, member) = (count + 1, n, self.coalescer.next(n));
        }
        let offload = group.write_header(first, self.bytes(last), &mut header);
        parts[0] = IoSlice::new(&header[..usize::from(group.header_len)]);
        let _ = platform.tun.write(offload, &parts[..count]);
    }
}

impl Packet {
    fn bytes<'a>(&self, buffers: &'a [Buffer]) -> &'a [u8] {
        &buffers[self.buffer][self.start..][..self.len]
    }
}

/// Opens one message; returns the length of the packet in it.
fn open(keypair: Option<&Keypair>, bytes: &mut [u8], ecn: u8) -> Option<usize> {
    let Some(Message::Data { counter, .. }) = messages::parse(bytes) else { return None };
    if let Some(keypair) = keypair {
        transport::open(keypair, counter, bytes).ok()?;
    }
    let end = bytes.len() - (OVERHEAD - HEADER_LEN);
    let packet = &mut bytes[HEADER_LEN..end];
    let len = ip::parse(packet).ok()?.total_len;
    ip::decapsulate_ecn(ecn, packet);
    Some(len)
}

const MTU: usize = 1420;
/// Two of the largest packets in segments of the MTU, and what a message adds to each.
const MESSAGES_LEN: usize = 192 * 1024;
const MAX_TRANSMITS: usize = 32;
const MAX_TRAIN_LEN: usize = 65_507;
const MAX_TRAIN_COUNT: usize = 64;
const POOL_LEN: usize = 32;
/// A header and the payloads of the largest merged packet.
const MAX_PARTS: usize = 128;
