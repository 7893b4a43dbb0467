//! Two devices with a session, a wire that is a list, and two threads.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::config::{self, Keys};
use crate::dataplane::device::Device;
use crate::dataplane::io::Ready;
use crate::dataplane::offload::Offload;
use crate::dataplane::workers::{Inline, PacketWay};
use crate::packets::{Flow, is_unreachable, numbers};
use crate::platform::fake::{FakeClock, Host, Internet, Train, Written};

/// Runs `model` for every interleaving; returns how many there were.
pub(crate) fn explore(model: fn()) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(5));
    builder.max_branches = 100_000;
    let counter = count.clone();
    builder.check(move || {
        counter.fetch_add(1, Relaxed);
        run_with_room(model).join().expect("the model panicked");
    });
    count.load(Relaxed)
}

/// A thread with a stack as an OS gives it: loom's own are too small for a handshake.
fn run_with_room<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> loom::thread::JoinHandle<T> {
    loom::thread::Builder::new().stack_size(STACK_LEN).spawn(body).expect("loom has room for a thread")
}

/// In words.
const STACK_LEN: usize = 1 << 17;

/// Runs two things at the same time; each interleaving of them is one run of the model.
pub(crate) fn at_once(one: impl FnOnce() + Send + 'static, other: impl FnOnce()) {
    let one = run_with_room(one);
    other();
    one.join().expect("a thread of the model panicked");
}

/// Two devices, each the other's peer.
pub(crate) struct World {
    pub(crate) internet: Arc<Internet>,
    pub(crate) nodes: [Arc<Node>; 2],
    wire: Arc<Mutex<Vec<Train>>>,
}

pub(crate) struct Node {
    pub(crate) n: usize,
    pub(crate) device: Arc<Device>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) host: Arc<Host>,
    pub(crate) keys: Keys,
    pub(crate) other: crate::proto::keys::PublicKey,
}

const OUTER: [&str; 2] = ["192.0.2.1:1", "192.0.2.2:1"];
const INNER: [&str; 2] = ["10.0.0.1", "10.0.0.2"];

impl World {
    /// Makes two devices that know each other and have nothing to say yet.
    pub(crate) fn new() -> Self {
        let internet = Internet::new();
        let wire = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&wire);
        internet.set_carrier(move |train, _| to.lock().expect("nobody panics here").push(train));
        let nodes = [0, 1].map(|n| {
            let outer: std::net::SocketAddr = OUTER[n].parse().expect("an address");
            let clock = FakeClock::new();
            let host = Host::new(&internet, &clock, &[outer.ip()], n as u64);
            let device = Device::new(host.platform());
            let (keys, other) = (Keys::of_node(n as u8), Keys::of_node(1 - n as u8).public);
            config::set_up(&device, &keys, outer.port());
            let inner = INNER[1 - n].parse().expect("an address");
            config::add_peer(&device, other, Some(OUTER[1 - n].parse().expect("an address")), &[inner]);
            config::up(&device);
            Arc::new(Node { n, device, clock, host, keys, other })
        });
        Self { internet, nodes, wire }
    }

    /// The same, with a session of which node 0 is the initiator, and confirmed.
    pub(crate) fn established() -> Self {
        let world = Self::new();
        world.nodes[0].inject(1);
        world.settle();
        assert_eq!(world.nodes[1].received(), [1]);
        world
    }

    /// Lets both go on, one step after the other, until nothing is left to do.
    pub(crate) fn settle(&self) {
        let mut doers = [0, 1].map(|n| Doer::new(&self.nodes[n]));
        loop {
            let mut any = false;
            for doer in &mut doers {
                any |= doer.step();
            }
            if !any && self.on_wire().is_empty() {
                return;
            }
            self.carry();
        }
    }

    /// Takes what was sent and has not arrived.
    pub(crate) fn take_wire(&self) -> Vec<Train> {
        std::mem::take(&mut self.wire.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns what was sent and has not arrived.
    pub(crate) fn on_wire(&self) -> Vec<Train> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has all of it arrive.
    pub(crate) fn carry(&self) {
        self.take_wire().iter().for_each(|train| self.internet.deliver(train));
    }

    /// Returns a flag: once it is set, node `n` must neither send nor deliver. loom knows of the flag, as it does not of
    /// the wire, and so tries setting it before and after each of them. Only one thread may send at a time meanwhile:
    /// the wire's own lock is none of loom's.
    pub(crate) fn silence(&self, n: usize) -> Arc<AtomicBool> {
        let silent = Arc::new(AtomicBool::new(false));
        let (to, flag) = (Arc::clone(&self.wire), Arc::clone(&silent));
        self.internet.set_carrier(move |train, _| {
            assert!(!flag.load(SeqCst), "[9] sent after it had to be silent");
            to.lock().expect("nobody panics here").push(train);
        });
        let flag = Arc::clone(&silent);
        self.nodes[n].host.tun().set_watcher(move |packet| {
            // That nobody has a packet's destination any more is told to its sender whenever it comes.
            let packet = Written { bytes: packet.to_vec(), offload: Offload::default() };
            assert!(is_unreachable(&packet) || !flag.load(SeqCst), "[9] delivered after it had to be silent");
        });
        silent
    }

    /// Lets `secs` pass on both ends, without anything being done about it.
    pub(crate) fn pass(&self, secs: u64) {
        self.nodes.iter().for_each(|node| node.clock.advance(std::time::Duration::from_secs(secs)));
    }
}

impl Node {
    /// Puts packet `number` into the TUN.
    pub(crate) fn inject(&self, number: u64) {
        // Lengths that differ keep packets unmerged.
        let packet = Flow::new(INNER[self.n], INNER[1 - self.n]).numbered(number, 8 + number as usize);
        self.host.tun().inject(&packet);
    }

    /// Takes the numbers of the packets that came out of the TUN.
    pub(crate) fn received(&self) -> Vec<u64> {
        numbers(&self.host.tun().take_written())
    }

    /// Does what the packet thread does for what is ready now.
    pub(crate) fn packets(&self) -> bool {
        let ready = self.host.ready();
        PacketWay::new(&self.device).step(&self.device, ready).expect("the TUN is there");
        ready != Ready::default()
    }

    /// Does what the handshake thread does for what waits now.
    pub(crate) fn handshakes(&self) -> bool {
        Inline::new(&self.device).handshakes(&self.device)
    }

    /// Does what the deadline thread does.
    pub(crate) fn deadlines(&self) {
        Inline::new(&self.device).deadlines(&self.device);
    }
}

/// A node and the state of its threads.
struct Doer {
    node: Arc<Node>,
    way: PacketWay,
    inline: Inline,
}

impl Doer {
    fn new(node: &Arc<Node>) -> Self {
        Self { node: node.clone(), way: PacketWay::new(&node.device), inline: Inline::new(&node.device) }
    }

    fn step(&mut self) -> bool {
        let ready = self.node.host.ready();
        if ready != Ready::default() {
            self.way.step(&self.node.device, ready).expect("the TUN is there");
        }
        let any = self.inline.handshakes(&self.node.device);
        self.inline.deadlines(&self.node.device);
        any || ready != Ready::default()
    }
}
