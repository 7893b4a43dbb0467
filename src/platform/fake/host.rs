//! One computer: a TUN, addresses, sockets, an alarm, and a random source with a seed.
//!
//! Not here: the device that runs on it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::clock::FakeClock;
use super::network::{Internet, SiteId};
use super::sync::{Signal, lock};
use super::tun::FakeTun;
use super::udp::{FakeUdp, Faults, MAX_MERGED, Merging};
use crate::dataplane::io::{Families, Network, Platform, Poller, Ready, Udp};
use crate::proto::endpoint::Source;

/// One computer on an [`Internet`]. It is the [`Network`] and the [`Poller`] of its device.
pub struct Host {
    tun: Arc<FakeTun>,
    clock: Arc<FakeClock>,
    internet: Arc<Internet>,
    site: SiteId,
    signal: Arc<Signal>,
    faults: Arc<Mutex<Faults>>,
    seed: u64,
}

impl Host {
    /// Makes a host with `addresses`, on interfaces 1, 2 and so on in their order. `seed` is that of its random source.
    pub fn new(internet: &Arc<Internet>, clock: &Arc<FakeClock>, addresses: &[IpAddr], seed: u64) -> Arc<Self> {
        let signal = Arc::new(Signal::default());
        let faults = Faults {
            trains: None,
            narrow: None,
            source: None,
            all: None,
            receive: None,
            merging: Merging::AsSent,
            max_segments: MAX_MERGED,
        };
        Arc::new(Self {
            tun: Arc::new(FakeTun::new(Arc::clone(&signal))),
            clock: Arc::clone(clock),
            internet: Arc::clone(internet),
            site: internet.add_site(sources(addresses), Arc::clone(&signal)),
            signal,
            faults: Arc::new(Mutex::new(faults)),
            seed,
        })
    }

    /// Returns the world of the device on this host.
    pub fn platform(self: &Arc<Self>) -> Platform {
        let (seed, made) = (self.seed, AtomicU64::new(0));
        Platform {
            tun: self.tun.clone(),
            network: self.clone(),
            poller: self.clone(),
            alarm: self.clock.alarm(),
            clock: self.clock.clone(),
            // Relaxed: only that every generator is another one matters.
            rng: Arc::new(move || StdRng::seed_from_u64(seed ^ made.fetch_add(1, Ordering::Relaxed).rotate_right(16))),
        }
    }

    /// Returns the interface.
    pub fn tun(&self) -> &FakeTun {
        &self.tun
    }

    /// Moves the host to other addresses; its sockets stay.
    pub fn set_addresses(&self, addresses: &[IpAddr]) {
        self.internet.with_site(self.site, |site| site.addresses = sources(addresses));
    }

    /// Refuses trains with the given errno from now on; `None` takes them again.
    pub fn refuse_trains(&self, errno: Option<i32>) {
        lock(&self.faults).trains = errno;
    }

    /// Makes the way to an IPv4 address narrow: so many bytes of IP packet pass whole, and trains of longer ones are refused
    /// with the given errno. `None` widens it again.
    pub fn narrow_path(&self, narrow: Option<(IpAddr, usize, i32)>) {
        lock(&self.faults).narrow = narrow;
    }

    /// Refuses sends with a cached source with the given errno from now on; `None` takes them again.
    pub fn refuse_sources(&self, errno: Option<i32>) {
        lock(&self.faults).source = errno;
    }

    /// Refuses all sends with the given errno from now on; `None` takes them again.
    pub fn refuse_sends(&self, errno: Option<i32>) {
        lock(&self.faults).all = errno;
    }

    /// Refuses all receptions with the given errno from now on, and keeps what arrives; `None` gives it out again.
    pub fn refuse_receptions(&self, errno: Option<i32>) {
        lock(&self.faults).receive = errno;
    }

    /// Sets what becomes of trains that arrive here.
    pub fn set_merging(&self, merging: Merging) {
        lock(&self.faults).merging = merging;
    }

    /// Sets the most datagrams of one train; 1 is a kernel without them.
    pub fn set_max_segments(&self, count: usize) {
        lock(&self.faults).max_segments = count;
    }

    /// Returns the sockets that are bound now.
    pub fn sockets(&self) -> Vec<Arc<FakeUdp>> {
        self.internet.with_site(self.site, |site| site.sockets.iter().filter_map(Weak::upgrade).collect())
    }

    /// Returns what is ready now, without waiting: for a device that is stepped.
    pub fn ready(&self) -> Ready {
        // A socket here is of both families.
        let udp = if self.sockets().iter().any(|socket| socket.ready()) { Families::BOTH } else { Families::NONE };
        Ready { tun: self.tun.ready(), udp }
    }
}

impl Network for Host {
    fn bind(&self, port: u16, mark: u32) -> io::Result<Arc<dyn Udp>> {
        let socket = self.internet.with_site(self.site, |site| {
            site.sockets.retain(|socket| socket.strong_count() > 0);
            let taken = |port| site.sockets.iter().filter_map(Weak::upgrade).any(|socket| socket.port_number() == port);
            let port = match port {
                0 => EPHEMERAL_PORTS.into_iter().find(|port| !taken(*port)),
                port => (!taken(port)).then_some(port),
            };
            let port = port.ok_or(io::ErrorKind::AddrInUse)?;
            let (internet, faults) = (Arc::clone(&self.internet), Arc::clone(&self.faults));
            let socket = Arc::new(FakeUdp::new(internet, self.site, port, mark, faults));
            site.sockets.push(Arc::downgrade(&socket));
            Ok::<_, io::Error>(socket)
        })?;
        Ok(socket)
    }

    fn source_towards(&self, remote: SocketAddr, _mark: u32) -> Option<Source> {
        self.internet.with_site(self.site, |site| site.address_towards(remote.ip()))
    }
}

impl Poller for Host {
    fn wait(&self) -> io::Result<Ready> {
        Ok(self.signal.wait_for(|| Some(self.ready()).filter(|ready| *ready != Ready::default())))
    }

    fn wake(&self) {
        self.signal.wake();
    }
}

fn sources(addresses: &[IpAddr]) -> Vec<Source> {
    addresses.iter().zip(1..).map(|(address, interface)| Source { address: *address, interface }).collect()
}

/// Where the OS looks for a port of its own choice (RFC 6335, section 6).
const EPHEMERAL_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::io::Transmit;
    use crate::proto::endpoint::Endpoint;

    fn host(internet: &Arc<Internet>, address: &str) -> Arc<Host> {
        Host::new(internet, &FakeClock::new(), &[address.parse().unwrap()], 1)
    }

    #[test]
    fn a_port_has_one_owner_and_is_free_after_its_socket() {
        let internet = Internet::new();
        let (one, other) = (host(&internet, "192.0.2.1"), host(&internet, "192.0.2.2"));
        let socket = one.bind(51_820, 0).unwrap();
        assert_eq!(one.bind(51_820, 0).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        assert!(other.bind(51_820, 0).is_ok());
        drop(socket);
        assert!(one.bind(51_820, 0).is_ok());
        let chosen: Vec<_> = (0..3).map(|_| one.bind(0, 0).unwrap()).collect();
        assert_eq!(chosen.iter().map(|socket| socket.port()).collect::<Vec<_>>(), [49_152, 49_153, 49_154]);
    }

    #[test]
    fn the_poller_is_level_triggered_and_never_misses_an_event() {
        let internet = Internet::new();
        let host = host(&internet, "192.0.2.1");
        let socket = host.bind(1, 0).unwrap();
        host.tun().inject(b"packet");
        assert_eq!(host.wait().unwrap(), Ready { tun: true, udp: Families::NONE });
        let to = Endpoint::configured("192.0.2.1:1".parse().unwrap());
        assert_eq!(socket.send(&[Transmit { to, ds: 0, bytes: b"x", segment_len: 1 }]).0, 1);
        assert_eq!(host.wait().unwrap(), Ready { tun: true, udp: Families::BOTH });
        assert_eq!(host.wait().unwrap(), Ready { tun: true, udp: Families::BOTH });
        drop(socket);
        host.tun().remove();
        assert_eq!(host.wait().unwrap(), Ready { tun: true, udp: Families::NONE });
    }

    #[test]
    fn a_wake_ends_the_next_wait_once() {
        let internet = Internet::new();
        let host = host(&internet, "192.0.2.1");
        Poller::wake(&*host);
        assert_eq!(host.wait().unwrap(), Ready::default());
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| host.wait().unwrap());
            host.tun().inject(b"packet");
            assert_eq!(sleeper.join().unwrap(), Ready { tun: true, udp: Families::NONE });
        });
    }

    #[test]
    fn a_route_is_that_of_the_first_address_of_the_family() {
        let internet = Internet::new();
        let host = host(&internet, "192.0.2.1");
        host.set_addresses(&["2001:db8::1".parse().unwrap(), "192.0.2.9".parse().unwrap()]);
        let interface = |remote: &str| host.source_towards(remote.parse().unwrap(), 0).map(|source| source.interface);
        assert_eq!((interface("198.51.100.1:1"), interface("[2001:db8::2]:1")), (Some(2), Some(1)));
    }

    #[test]
    fn generators_of_one_host_differ_and_repeat_with_the_seed() {
        use rand::Rng;
        let internet = Internet::new();
        let draw = |platform: &Platform| ((platform.rng)().next_u64(), (platform.rng)().next_u64());
        let first = draw(&host(&internet, "192.0.2.1").platform());
        assert_ne!(first.0, first.1);
        assert_eq!(draw(&host(&internet, "192.0.2.2").platform()), first);
    }
}
