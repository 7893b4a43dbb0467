//! Two devices with their threads, each the other's peer, on one virtual internet.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rvpn::dataplane::device::Device;
use rvpn::dataplane::workers::{End, Share, Threads, Workers};
use rvpn::platform::fake::{FakeClock, FakeTun, Host, Internet, PATIENCE, Train, Written};

use crate::config::{self, Keys};
use crate::packets::{Flow, is_unreachable, numbers};

/// One device and its host.
pub(crate) struct Node {
    pub(crate) host: Arc<Host>,
    pub(crate) device: Arc<Device>,
    pub(crate) keys: Keys,
    pub(crate) outer: SocketAddr,
    pub(crate) inner: [IpAddr; 2],
    pub(crate) ends: Arc<Log<End>>,
    threads: Mutex<Option<Threads>>,
}

/// Two nodes and all that is between them.
pub(crate) struct World {
    pub(crate) internet: Arc<Internet>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) nodes: [Node; 2],
}

/// Outer addresses, by family: IPv4 first.
const OUTER: [[&str; 2]; 2] = [["192.0.2.1:51820", "192.0.2.2:51820"], ["[2001:db8::1]:51820", "[2001:db8::2]:51820"]];
/// Inner addresses, by node.
const INNER: [[&str; 2]; 2] = [["10.0.0.1", "fd00::1"], ["10.0.0.2", "fd00::2"]];

impl World {
    /// Two devices over IPv4, up, with `workers` packet threads each.
    pub(crate) fn new(workers: usize) -> Self {
        Self::over(0, workers)
    }

    /// As [`World::new`], over IPv6.
    pub(crate) fn over_ipv6(workers: usize) -> Self {
        Self::over(1, workers)
    }

    fn over(family: usize, workers: usize) -> Self {
        let (internet, clock) = (Internet::new(), FakeClock::new());
        let nodes = [0, 1].map(|n| Node::new(&internet, &clock, n, OUTER[family][n]));
        for (node, other) in [(&nodes[0], &nodes[1]), (&nodes[1], &nodes[0])] {
            config::set_up(&node.device, &node.keys, node.outer.port());
            config::add_peer(&node.device, other.keys.public, Some(other.outer), &other.inner);
            node.start(workers);
            config::up(&node.device);
        }
        Self { internet, clock, nodes }
    }

    /// A flow between the inner IPv4 addresses, out of node `from`.
    pub(crate) fn flow4(&self, from: usize) -> Flow {
        Flow::new(INNER[from][0], INNER[1 - from][0])
    }

    /// A flow between the inner IPv6 addresses, out of node `from`.
    pub(crate) fn flow6(&self, from: usize) -> Flow {
        Flow::new(INNER[from][1], INNER[1 - from][1])
    }

    /// Has both nodes talk once, so that there is a session that both ends use.
    pub(crate) fn shake(&self) {
        self.ping(0, u64::MAX);
        self.ping(1, u64::MAX);
    }

    /// Sends one packet out of node `from` and expects nothing but it at the other.
    pub(crate) fn ping(&self, from: usize, number: u64) {
        self.nodes[from].tun().inject(&self.flow4(from).echo(false, number));
        assert_eq!(self.nodes[1 - from].receive(1), [number], "a ping from node {from} passes");
    }

    /// Waits until node `n` has dealt with all that was injected into its TUN, and sent it: a packet that has no route
    /// comes after the others, and is answered. What comes before it may be in the hands of another thread, which sends
    /// for all while it is at it, so every thread is waited for.
    pub(crate) fn drain_tun(&self, n: usize) {
        let tun = self.nodes[n].tun();
        assert!(tun.wait_read(PATIENCE), "the device reads what was injected");
        // The budget of such answers is ten a second.
        self.clock.advance(Duration::from_millis(100));
        tun.inject(&Flow::new(INNER[n][0], "203.0.113.99").udp(b"nobody carries this"));
        tun.wait_for(PATIENCE, is_unreachable).expect("an ICMP message about a packet without route");
        self.nodes[n].wait_for_threads();
    }

    /// Lets virtual time pass, at most `limit`, until node `n` writes the packet `number`; tells whether it has. In
    /// small strides, each with a moment for the threads: in one stride all timers would go off at once, and jitter
    /// would be for nothing.
    pub(crate) fn passes_in_time(&self, n: usize, number: u64, limit: Duration) -> bool {
        const STRIDE: Duration = Duration::from_millis(20);
        let wanted = |written: &Written| numbers(std::slice::from_ref(written)).contains(&number);
        (0..limit.as_millis() / STRIDE.as_millis()).any(|_| {
            let found = self.nodes[n].tun().wait_for(Duration::from_millis(2), wanted).is_some();
            self.clock.advance(STRIDE);
            found
        })
    }

    /// Records what is sent from now on, and lets it pass.
    pub(crate) fn record(&self) -> Arc<Log<Train>> {
        let log = Arc::new(Log::new());
        let to = Arc::clone(&log);
        self.internet.set_carrier(move |train, arrivals| {
            to.push(train.clone());
            arrivals.push(train);
        });
        log
    }

    /// Records what is sent from now on, and lets nothing pass.
    pub(crate) fn hold(&self) -> Arc<Log<Train>> {
        let log = Arc::new(Log::new());
        let to = Arc::clone(&log);
        self.internet.set_carrier(move |train, _| to.push(train));
        log
    }
}

impl Node {
    fn new(internet: &Arc<Internet>, clock: &Arc<FakeClock>, n: usize, outer: &str) -> Self {
        let outer: SocketAddr = outer.parse().expect("an address");
        let host = Host::new(internet, clock, &[outer.ip()], n as u64 + 1);
        let device = Device::new(host.platform());
        let inner = INNER[n].map(|text| text.parse().expect("an address"));
        let (keys, ends) = (Keys::of_node(n as u8), Arc::new(Log::new()));
        Self { host, device, keys, outer, inner, ends, threads: Mutex::new(None) }
    }

    fn start(&self, workers: usize) {
        let ends = Arc::clone(&self.ends);
        let workers = Workers { count: workers, share: Share::UnderBacklog };
        let threads = self.device.start(workers, move |end| ends.push(end)).expect("threads start");
        *lock(&self.threads) = Some(threads);
    }

    /// Returns the threads that have not come round since the last call.
    pub(crate) fn beat(&self) -> Vec<String> {
        lock(&self.threads).as_ref().expect("they run").beat()
    }

    /// Waits until every thread has ended what it is at now, and what comes of that.
    fn wait_for_threads(&self) {
        // The first beat that names none asks anew, the second tells that all have answered, but one of them may have
        // been given work by another before that one answered: a third asks for its end.
        for _ in 0..3 {
            let all_have_answered = || {
                std::thread::yield_now();
                self.beat().is_empty()
            };
            assert!((0..10_000_000).any(|_| all_have_answered()), "waited in vain for {:?}", self.beat());
        }
    }

    /// Takes the threads out, which run on.
    pub(crate) fn take_threads(&self) -> Threads {
        lock(&self.threads).take().expect("they run")
    }

    /// Puts threads in that run.
    pub(crate) fn put_threads(&self, threads: Threads) {
        *lock(&self.threads) = Some(threads);
    }

    /// Stops and joins the device's threads.
    pub(crate) fn stop(&self) {
        let threads = lock(&self.threads).take();
        threads.expect("they run").stop();
    }

    pub(crate) fn tun(&self) -> &FakeTun {
        self.host.tun()
    }

    /// Waits for `count` numbered packets and returns the numbers of all that came, in order.
    pub(crate) fn receive(&self, count: usize) -> Vec<u64> {
        let mut received = Vec::new();
        while received.len() < count {
            let written = self.tun().wait_written(1, PATIENCE);
            if written.is_empty() {
                break;
            }
            received.extend(numbers(&written));
        }
        received
    }
}

/// What happened, in order, to be waited for.
pub(crate) struct Log<T> {
    entries: Mutex<Vec<T>>,
    changed: Condvar,
}

impl<T> Log<T> {
    pub(crate) fn new() -> Self {
        Self { entries: Mutex::new(Vec::new()), changed: Condvar::new() }
    }

    pub(crate) fn push(&self, entry: T) {
        lock(&self.entries).push(entry);
        self.changed.notify_all();
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, Vec<T>> {
        lock(&self.entries)
    }

    /// Waits until `reached` is true of the entries, and returns them.
    pub(crate) fn wait(&self, what: &str, reached: impl Fn(&[T]) -> bool) -> MutexGuard<'_, Vec<T>> {
        let waited = self.changed.wait_timeout_while(lock(&self.entries), PATIENCE, |entries| !reached(entries));
        let (entries, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "waited in vain for {what}");
        entries
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
