//! How sending to one peer scales with workers: whole devices over the in-memory platform, real threads.
//!
//! ```text
//! cargo bench --bench scaling [WORKERS...]      default: 1, 2, 4 … as many as cores
//! ```
//! For each number of workers, rounds of 32 MiB in super-packets of 45 segments lie in the interface at once; the time
//! runs until all of it was sealed and sent in order. Batches are shared under backlog always, so the figure shows what
//! more workers can do, not what the device would choose (see `dataplane::sharing`). The interface and the wire copy
//! once each, as a kernel does, in the threads that call them.

#![allow(clippy::print_stdout)]
#![allow(clippy::disallowed_methods)] // A benchmark reads the clock.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rvpn::dataplane::configure::{AllowedIpChange, Change, PeerChange};
use rvpn::dataplane::device::Device;
use rvpn::dataplane::offload::{Offload, PartialChecksum, Segmentation};
use rvpn::dataplane::workers::{Share, Threads, Workers};
use rvpn::platform::fake::{FakeClock, Host, Internet, PATIENCE};
use rvpn::proto::allowedips::Prefix;
use rvpn::proto::handshake::Identity;
use rvpn::proto::keys::PrivateKey;
use rvpn::proto::transport::OVERHEAD;

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let counts = if asked.is_empty() { (0..).map(|n| 1 << n).take_while(|n| *n <= cores).collect() } else { asked };
    let mut alone = None;
    println!("{cores} cores; sending to one peer, median of {ROUNDS} rounds of {} MiB", ROUND_BYTES >> 20);
    for count in counts {
        let gigabits = measure(count);
        let ratio = gigabits / *alone.get_or_insert(gigabits);
        println!("{count:3} workers  {gigabits:6.2} Gbit/s  {ratio:5.2} x");
    }
}

fn measure(workers: usize) -> f64 {
    let (internet, clock) = (Internet::new(), FakeClock::new());
    let nodes = [0, 1].map(|n| Node::start(&internet, &clock, n, workers));
    // A packet each way: the handshake, and the confirmation of its key.
    for (from, to) in [(0, 1), (1, 0)] {
        nodes[from].host.tun().inject(&super_packet(from, 1));
        assert_eq!(nodes[to].host.tun().wait_written(1, PATIENCE).len(), 1, "the tunnel works");
    }
    let sink = Arc::new(Sink::default());
    let carrier = Arc::clone(&sink);
    internet.set_carrier(move |train, _| carrier.take(train.bytes.len()));

    let packet = super_packet(0, SEGMENTS);
    let count = ROUND_BYTES / (SEGMENTS * MSS);
    // A packet of the MTU is not padded.
    let sealed = count * SEGMENTS * (HEADERS + MSS + OVERHEAD);
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            sink.bytes.store(0, Ordering::Relaxed);
            let begin = Instant::now();
            for _ in 0..count {
                nodes[0].host.tun().inject_offloaded(&packet, offload());
            }
            sink.wait(sealed as u64);
            begin.elapsed()
        })
        .collect();
    times.sort();
    (count * SEGMENTS * MSS * 8) as f64 / times[ROUNDS / 2].as_secs_f64() / 1e9
}

struct Node {
    host: Arc<Host>,
    _threads: Threads,
}

impl Node {
    fn start(internet: &Arc<Internet>, clock: &Arc<FakeClock>, n: usize, workers: usize) -> Self {
        let host = Host::new(internet, clock, &[outer(n).ip()], n as u64);
        let device = Device::new(host.platform());
        let peer = PeerChange {
            endpoint: Some(outer(1 - n)),
            allowed_ips: vec![AllowedIpChange::Add(Prefix::new(inner(1 - n).into(), 32).expect("within 32 bits"))],
            ..PeerChange::new(*Identity::new(private_key(1 - n)).public_key())
        };
        let change = Change {
            private_key: Some(Some(private_key(n))),
            listen_port: Some(outer(n).port()),
            peers: vec![peer],
            ..Change::default()
        };
        device.apply(change).expect("the port is free");
        let workers = Workers { count: workers, share: Share::UnderBacklog };
        let threads = device.start(workers, |end| panic!("{end:?}")).expect("room for threads");
        device.up().expect("the port is free");
        Self { host, _threads: threads }
    }
}

/// Where sealed packets go.
#[derive(Default)]
struct Sink {
    bytes: AtomicU64,
    lock: Mutex<()>,
    arrived: Condvar,
}

impl Sink {
    fn take(&self, len: usize) {
        self.bytes.fetch_add(len as u64, Ordering::Relaxed);
        let _guard = self.lock.lock().expect("no panic");
        self.arrived.notify_one();
    }

    /// Waits for `bytes`; less only if packets were dropped, and that is a failure.
    fn wait(&self, bytes: u64) {
        let guard = self.lock.lock().expect("no panic");
        let missing = |_: &mut ()| self.bytes.load(Ordering::Relaxed) < bytes;
        let (_guard, result) = self.arrived.wait_timeout_while(guard, PATIENCE, missing).expect("no panic");
        assert!(!result.timed_out(), "{} of {bytes} bytes were sent", self.bytes.load(Ordering::Relaxed));
    }
}

/// A TCP packet from node `n` to the other that stands for `segments`, its checksum left to be finished.
fn super_packet(n: usize, segments: usize) -> Vec<u8> {
    let len = HEADERS + segments * MSS;
    let mut packet = vec![0; len];
    packet[..2].copy_from_slice(&[0x45, 0]);
    packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    packet[6..10].copy_from_slice(&[0x40, 0, 64, 6]);
    packet[12..16].copy_from_slice(&inner(n).octets());
    packet[16..20].copy_from_slice(&inner(1 - n).octets());
    packet[20..24].copy_from_slice(&[0x30, 0x39, 0, 80]);
    packet[32..34].copy_from_slice(&[0x50, 0x10]);
    packet
}

fn offload() -> Offload {
    Offload {
        segmentation: Some(Segmentation::Tcp4),
        segment_len: MSS as u16,
        header_len: HEADERS as u16,
        checksum: Some(PartialChecksum { start: 20, offset: 16 }),
    }
}

fn outer(n: usize) -> SocketAddr {
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1 + n as u8)), 51820).into()
}

fn inner(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 1 + n as u8)
}

fn private_key(n: usize) -> PrivateKey {
    PrivateKey::new([0x40 + n as u8; 32]).expect("not zero")
}

const HEADERS: usize = 40;
/// The MTU of 1,420 less the headers.
const MSS: usize = 1380;
const SEGMENTS: usize = 45;
const ROUND_BYTES: usize = 32 << 20;
const ROUNDS: usize = 9;
