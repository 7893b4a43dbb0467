//! Two devices in one thread over a wire in memory that allocates nothing and reads no clock once it is warm, so that
//! what is counted is the data plane's own.
//!
//! The interface of node 0 gives the same burst again and again; what node 1 writes is counted. The wire copies each
//! train once when it is sent and once when it is received, as a kernel does.

// Each program that includes this uses a part of it.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rvpn::dataplane::configure::{AllowedIpChange, Change, PeerChange};
use rvpn::dataplane::device::Device;
use rvpn::dataplane::gro::Classes;
use rvpn::dataplane::io::{Clock, Families, Network, Platform, Poller, Ready, Transmit, Tun, Udp};
use rvpn::dataplane::offload::{Offload, PartialChecksum, Segmentation};
use rvpn::dataplane::packet::{TunBatch, UdpBatch};
use rvpn::dataplane::workers::{Inline, PacketWay};
use rvpn::platform::fake::FakeClock;
use rvpn::proto::allowedips::Prefix;
use rvpn::proto::endpoint::{Endpoint, Source};
use rvpn::proto::handshake::Identity;
use rvpn::proto::keys::PrivateKey;
use rvpn::proto::time::{Instant, WallTime};

/// What the interface of node 0 gives in one burst.
pub(crate) enum Burst {
    /// One packet that stands for so many TCP segments of 1,420 bytes.
    Segmented(usize),
    /// So many UDP packets of 64 bytes of payload.
    Small(usize),
}

/// Two nodes, each the other's only peer, with a session.
pub(crate) struct Pair {
    nodes: [Node; 2],
}

struct Node {
    device: Arc<Device>,
    tun: Arc<CountingTun>,
    udp: Arc<Wire>,
    clock: Arc<CountingClock>,
    way: PacketWay,
    inline: Inline,
}

impl Pair {
    /// Makes two nodes and has them shake hands.
    pub(crate) fn new(burst: &Burst) -> Self {
        let wires = [0, 1].map(|n| Arc::new(Wire::new(address(n))));
        for (n, wire) in wires.iter().enumerate() {
            *lock(&wire.other) = Some(Arc::clone(&wires[1 - n]));
        }
        let [first, second] = wires;
        let nodes = [Node::new(0, first), Node::new(1, second)];
        for (n, node) in nodes.iter().enumerate() {
            node.configure(n);
        }
        let mut pair = Self { nodes };
        // One packet each way, one after the other: the handshake, then the confirmation of its key.
        for n in [0, 1] {
            *lock(&pair.nodes[n].tun.script) = vec![(udp_packet(n, 64), Offload::default())];
            pair.nodes[n].tun.bursts.store(1, Ordering::Relaxed);
            while pair.settle() {}
            let arrived = pair.nodes[1 - n].tun.packets.load(Ordering::Relaxed);
            assert_eq!(arrived, 1, "the first packet from node {n} arrives");
        }
        *lock(&pair.nodes[0].tun.script) = burst.packets();
        pair
    }

    /// Has node 0 read and send one burst. Unless `arrives`, what it sends is lost.
    pub(crate) fn send(&mut self, arrives: bool) {
        let node = &mut self.nodes[0];
        node.udp.carries.store(usize::from(arrives), Ordering::Relaxed);
        node.tun.bursts.store(1, Ordering::Relaxed);
        assert!(node.way.step(&node.device, Ready { tun: true, udp: Families::NONE }).is_ok());
    }

    /// Has node 1 receive and deliver all that is on the wire.
    pub(crate) fn deliver(&mut self) {
        let node = &mut self.nodes[1];
        while !lock(&node.udp.queue).is_empty() {
            assert!(node.way.step(&node.device, Ready { tun: false, udp: Families::BOTH }).is_ok());
        }
    }

    /// Packets and bytes that node 1 wrote to its interface.
    pub(crate) fn delivered(&self) -> (u64, u64) {
        let tun = &self.nodes[1].tun;
        (tun.packets.load(Ordering::Relaxed), tun.bytes.load(Ordering::Relaxed))
    }

    /// How often the clocks of node `n` were read.
    pub(crate) fn clock_reads(&self, n: usize) -> u64 {
        self.nodes[n].clock.reads.load(Ordering::Relaxed)
    }

    /// Only what the kernel does for [`Pair::send`]: the burst is read and forgotten.
    pub(crate) fn read_only(&mut self, batch: &mut TunBatch) {
        let tun = &self.nodes[0].tun;
        tun.bursts.store(1, Ordering::Relaxed);
        batch.clear();
        assert!(tun.read(batch).is_ok());
    }

    /// Only what the kernel does for [`Pair::deliver`]: a train of `len` bytes crosses the wire.
    pub(crate) fn cross_only(&mut self, bytes: &[u8], segment_len: usize, batch: &mut UdpBatch) {
        let to = Endpoint::configured(address(1));
        self.nodes[0].udp.carries.store(1, Ordering::Relaxed);
        assert_eq!(self.nodes[0].udp.send(&[Transmit { to, ds: 0, bytes, segment_len }]).0, 1);
        assert!(self.nodes[1].udp.receive(Families::BOTH, batch).is_ok());
    }

    /// Does what waits at both nodes; true if there was anything.
    fn settle(&mut self) -> bool {
        let mut any = false;
        for node in &mut self.nodes {
            let udp = if lock(&node.udp.queue).is_empty() { Families::NONE } else { Families::BOTH };
            let ready = Ready { tun: node.tun.bursts.load(Ordering::Relaxed) > 0, udp };
            if ready != Ready::default() {
                assert!(node.way.step(&node.device, ready).is_ok());
                any = true;
            }
            any |= node.inline.handshakes(&node.device);
        }
        any
    }
}

impl Node {
    fn new(n: usize, udp: Arc<Wire>) -> Self {
        let (fake, tun) = (FakeClock::new(), Arc::new(CountingTun::default()));
        let alarm = fake.alarm();
        let clock = Arc::new(CountingClock { clock: fake, reads: AtomicU64::new(0) });
        let device = Device::new(Platform {
            tun: tun.clone(),
            network: Arc::new(OneSocket(Arc::clone(&udp))),
            poller: Arc::new(Sleepless),
            alarm,
            clock: clock.clone(),
            rng: Arc::new(move || StdRng::seed_from_u64(n as u64)),
        });
        let (way, inline) = (PacketWay::new(&device), Inline::new(&device));
        Self { device, tun, udp, clock, way, inline }
    }

    fn configure(&self, n: usize) {
        let key = |n| PrivateKey::new([0x40 + n as u8; 32]).expect("a key that is not zero");
        let prefix = Prefix::new(IpAddr::from([10, 0, 0, 2 - n as u8]), 32).expect("32 bits are a host");
        let peer = PeerChange {
            endpoint: Some(address(1 - n)),
            allowed_ips: vec![AllowedIpChange::Add(prefix)],
            ..PeerChange::new(*Identity::new(key(1 - n)).public_key())
        };
        let change =
            Change { private_key: Some(Some(key(n))), listen_port: Some(PORT), peers: vec![peer], ..Change::default() };
        self.device.apply(change).expect("the change is valid");
        self.device.up().expect("the port is free");
    }
}

impl Burst {
    /// Packets that node 1 writes for one burst, merged or not.
    pub(crate) fn count(&self) -> usize {
        let (Self::Segmented(count) | Self::Small(count)) = self;
        *count
    }

    fn packets(&self) -> Vec<(Vec<u8>, Offload)> {
        match self {
            Self::Segmented(count) => vec![large_packet(*count)],
            Self::Small(count) => vec![(udp_packet(0, 64), Offload::default()); *count],
        }
    }
}

/// An interface that gives a script and counts what it takes.
#[derive(Default)]
struct CountingTun {
    script: Mutex<Vec<(Vec<u8>, Offload)>>,
    bursts: AtomicUsize,
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Tun for CountingTun {
    fn read(&self, batch: &mut TunBatch) -> io::Result<()> {
        if self.bursts.swap(0, Ordering::Relaxed) > 0 {
            for (packet, offload) in &*lock(&self.script) {
                let Some(space) = batch.space() else { break };
                space[..packet.len()].copy_from_slice(packet);
                batch.push(packet.len(), *offload);
            }
        }
        Ok(())
    }

    fn write(&self, _offload: Offload, parts: &[IoSlice<'_>]) -> io::Result<()> {
        // Relaxed: one thread.
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(parts.iter().map(|part| part.len() as u64).sum(), Ordering::Relaxed);
        Ok(())
    }

    fn classes(&self) -> Classes {
        Classes { tcp4: true, tcp6: true, udp4: true, udp6: true }
    }
}

/// A socket with exactly one other that it reaches.
struct Wire {
    address: SocketAddr,
    other: Mutex<Option<Arc<Self>>>,
    queue: Mutex<VecDeque<Message>>,
    /// Room of messages that were received.
    spare: Mutex<Vec<Vec<u8>>>,
    carries: AtomicUsize,
}

struct Message {
    bytes: Vec<u8>,
    segment_len: usize,
    from: SocketAddr,
    ecn: u8,
}

impl Wire {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            other: Mutex::default(),
            queue: Mutex::default(),
            spare: Mutex::default(),
            carries: AtomicUsize::new(1),
        }
    }
}

impl Udp for Wire {
    fn port(&self) -> u16 {
        self.address.port()
    }

    fn receive(&self, _families: Families, batch: &mut UdpBatch) -> io::Result<()> {
        let mut queue = lock(&self.queue);
        while let Some(buffer) = batch.free().last_mut()
            && let Some(Message { bytes, segment_len, from, ecn }) = queue.pop_front()
        {
            buffer[..bytes.len()].copy_from_slice(&bytes);
            batch.push(bytes.len(), segment_len, Endpoint { remote: from, source: None }, ecn);
            lock(&self.spare).push(bytes);
        }
        Ok(())
    }

    fn send(&self, transmits: &[Transmit<'_>]) -> (usize, io::Result<()>) {
        let other = lock(&self.other);
        if let Some(other) = other.as_ref().filter(|_| self.carries.load(Ordering::Relaxed) > 0) {
            for transmit in transmits {
                let mut bytes = lock(&other.spare).pop().unwrap_or_default();
                bytes.clear();
                bytes.extend_from_slice(transmit.bytes);
                let (segment_len, from, ecn) = (transmit.segment_len, self.address, transmit.ds & 3);
                lock(&other.queue).push_back(Message { bytes, segment_len, from, ecn });
            }
        }
        (transmits.len(), Ok(()))
    }

    fn set_mark(&self, _mark: u32) -> io::Result<()> {
        Ok(())
    }

    fn max_segments(&self) -> usize {
        64
    }

    fn receives_trains(&self) -> bool {
        true
    }
}

struct OneSocket(Arc<Wire>);

impl Network for OneSocket {
    fn bind(&self, _port: u16, _mark: u32) -> io::Result<Arc<dyn Udp>> {
        Ok(self.0.clone())
    }

    fn source_towards(&self, _remote: SocketAddr, _mark: u32) -> Option<Source> {
        None
    }
}

/// Nobody waits: the nodes are stepped.
struct Sleepless;

impl Poller for Sleepless {
    fn wait(&self) -> io::Result<Ready> {
        Ok(Ready::default())
    }

    fn wake(&self) {}
}

/// Clocks that stand still and count how often they are read.
struct CountingClock {
    clock: Arc<FakeClock>,
    reads: AtomicU64,
}

impl Clock for CountingClock {
    fn now(&self) -> Instant {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.clock.now()
    }

    fn wall(&self) -> WallTime {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.clock.wall()
    }

    fn rest(&self, time: Duration) {
        self.clock.rest(time);
    }
}

fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + n as u8], PORT))
}

/// UDP over IPv4 from node `n`, without a checksum.
fn udp_packet(n: usize, payload_len: usize) -> Vec<u8> {
    let (len, udp_len) = (28 + payload_len, 8 + payload_len);
    let mut packet = vec![0x45, 0, (len >> 8) as u8, len as u8, 0, 0, 0x40, 0, 64, 17, 0, 0];
    packet.extend([10, 0, 0, 1 + n as u8, 10, 0, 0, 2 - n as u8]);
    packet.extend([0x9c, 0x40, 0x9c, 0x41, (udp_len >> 8) as u8, udp_len as u8, 0, 0]);
    packet.resize(len, 0x55);
    packet
}

/// TCP over IPv4 from node 0 in `count` segments of 1,420 bytes, as an interface with segmentation gives it.
fn large_packet(count: usize) -> (Vec<u8>, Offload) {
    const HEADER_LEN: usize = 40;
    const SEGMENT_LEN: usize = 1_380;
    let len = HEADER_LEN + count * SEGMENT_LEN;
    let mut packet = vec![0x45, 0, (len >> 8) as u8, len as u8, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.extend([0x9c, 1, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0]);
    packet.extend((0..count * SEGMENT_LEN).map(|n| (n * 7 + n / 13) as u8));
    // The field holds the folded sum of the pseudo header, as the kernel leaves it.
    let words = packet[12..20].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let mut sum = words.sum::<u32>() + 6 + (len - 20) as u32;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[36..38].copy_from_slice(&(sum as u16).to_be_bytes());
    let checksum = Some(PartialChecksum { start: 20, offset: 16 });
    let segmentation = (count > 1).then_some(Segmentation::Tcp4);
    (packet, Offload { segmentation, segment_len: SEGMENT_LEN as u16, header_len: HEADER_LEN as u16, checksum })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const PORT: u16 = 51_820;
