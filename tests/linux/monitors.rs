//! Link and route notifications, in and across namespaces.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;

use rustix::thread::CapabilitySet;
use rvpn::platform::linux::link_monitor::{LinkEvent, LinkMonitor};
use rvpn::platform::linux::route_monitor::RouteMonitor;
use rvpn::platform::linux::stop::Stop;
use rvpn::platform::linux::tun::{LinuxTun, TunOptions};

use crate::support::{Namespace, PATIENCE};

#[test]
fn up_down_mtu_a_move_and_a_deletion_are_told() {
    let Some(namespace) = Namespace::enter() else { return };
    let Some(other) = Namespace::new() else { return };
    let tun = Arc::new(LinuxTun::open("wg0", TunOptions::default()).unwrap());
    let monitor = Watch::link(&tun);
    monitor.expect(&[LinkEvent::Mtu(1420), LinkEvent::Down]);
    namespace.ip("link set wg0 up");
    monitor.expect(&[LinkEvent::Up]);
    namespace.ip("link set wg0 mtu 1380");
    monitor.expect(&[LinkEvent::Mtu(1380)]);
    namespace.ip("link set wg0 name wg7");
    namespace.ip("link set wg7 down");
    monitor.expect(&[LinkEvent::Down]);
    namespace.ip("link set wg7 up");
    monitor.expect(&[LinkEvent::Up]);
    // A move takes it down.
    namespace.ip(&format!("link set wg7 netns {}", other.name));
    monitor.expect(&[LinkEvent::Down]);
    other.ip("link set wg7 up");
    monitor.expect(&[LinkEvent::Up]);
    other.ip("link set wg7 mtu 1300");
    monitor.expect(&[LinkEvent::Mtu(1300)]);
    other.ip("link set wg7 name wg8");
    other.ip("link set wg8 down");
    monitor.expect(&[LinkEvent::Down]);
    assert_eq!(tun.mtu().unwrap_err().raw_os_error(), Some(libc::ENODEV));
    other.ip("link del wg8");
    monitor.expect(&[LinkEvent::Gone]);
    monitor.end();
}

#[test]
fn an_interface_may_come_back() {
    let Some(namespace) = Namespace::enter() else { return };
    let Some(other) = Namespace::new() else { return };
    let tun = Arc::new(LinuxTun::open("wg0", TunOptions::default()).unwrap());
    let monitor = Watch::link(&tun);
    monitor.expect(&[LinkEvent::Mtu(1420), LinkEvent::Down]);
    namespace.ip(&format!("link set wg0 netns {}", other.name));
    other.ip("link set wg0 up");
    monitor.expect(&[LinkEvent::Up]);
    other.ip(&format!("link set wg0 netns {}", namespace.name));
    monitor.expect(&[LinkEvent::Down]);
    namespace.ip("link set wg0 up");
    monitor.expect(&[LinkEvent::Up]);
    namespace.ip("link del wg0");
    monitor.expect(&[LinkEvent::Gone]);
    monitor.end();
}

#[test]
fn a_namespace_that_dies_takes_the_interface_with_it() {
    let Some(namespace) = Namespace::enter() else { return };
    let Some(other) = Namespace::new() else { return };
    let tun = Arc::new(LinuxTun::open("wg0", TunOptions::default()).unwrap());
    let monitor = Watch::link(&tun);
    monitor.expect(&[LinkEvent::Mtu(1420), LinkEvent::Down]);
    namespace.ip(&format!("link set wg0 netns {}", other.name));
    other.ip("link set wg0 up");
    monitor.expect(&[LinkEvent::Up]);
    drop(other);
    monitor.expect(&[LinkEvent::Gone]);
    monitor.end();
}

#[test]
fn without_permission_to_ask_up_down_and_deletion_are_told_all_the_same() {
    let Some(namespace) = Namespace::enter() else { return };
    let Some(other) = Namespace::new() else { return };
    let tun = Arc::new(LinuxTun::open("wg0", TunOptions::default()).unwrap());
    let monitor = Watch::start(&tun, CapabilitySet::empty());
    monitor.expect(&[LinkEvent::Mtu(1420), LinkEvent::Down]);
    namespace.ip("link set wg0 up");
    monitor.expect(&[LinkEvent::Up]);
    namespace.ip(&format!("link set wg0 netns {}", other.name));
    monitor.expect(&[LinkEvent::Down]);
    other.ip("link set wg0 up");
    monitor.expect(&[LinkEvent::Up]);
    other.ip("link set wg0 down");
    monitor.expect(&[LinkEvent::Down]);
    other.ip("link del wg0");
    monitor.expect(&[LinkEvent::Gone]);
    monitor.end();
}

#[test]
fn a_link_monitor_stops_when_told() {
    let Some(_namespace) = Namespace::enter() else { return };
    let tun = Arc::new(LinuxTun::open("wg0", TunOptions::default()).unwrap());
    let monitor = Watch::link(&tun);
    monitor.expect(&[LinkEvent::Mtu(1420), LinkEvent::Down]);
    monitor.stop.stop();
    monitor.end();
}

#[test]
fn changed_routes_addresses_rules_and_links_are_told() {
    let Some(namespace) = Namespace::enter() else { return };
    let monitor = RouteMonitor::new().unwrap();
    let stop = monitor.stopper();
    let (sender, receiver) = channel();
    let thread = std::thread::spawn(move || monitor.run(|_| sender.send(()).unwrap()));
    for change in [
        "link add one type veth peer name other",
        "addr add 10.1.0.1/24 dev one",
        "addr add fd00::1/64 dev one nodad",
        "link set one up",
        "link set other up",
        "route add 10.9.0.0/16 via 10.1.0.2",
        "-6 route add fd09::/16 via fd00::2",
        "rule add fwmark 5 lookup 9",
        "-6 rule add fwmark 5 lookup 9",
        "route del 10.9.0.0/16",
        "link del one",
    ] {
        while receiver.try_recv().is_ok() {}
        namespace.ip(change);
        receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nothing told after: ip {change}"));
    }
    stop.stop();
    thread.join().unwrap().unwrap();
}

/// A monitor on its thread.
struct Watch<T> {
    stop: Arc<Stop>,
    events: Receiver<T>,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Watch<LinkEvent> {
    fn link(tun: &Arc<LinuxTun>) -> Self {
        Self::start(tun, CapabilitySet::all())
    }

    /// Runs a monitor with at most `capabilities`.
    fn start(tun: &Arc<LinuxTun>, capabilities: CapabilitySet) -> Self {
        let monitor = LinkMonitor::new(Arc::clone(tun)).unwrap();
        let stop = monitor.stopper();
        let (sender, events) = channel();
        let thread = std::thread::spawn(move || {
            let mut sets = rustix::thread::capabilities(None).unwrap();
            sets.effective &= capabilities;
            rustix::thread::set_capabilities(None, sets).unwrap();
            monitor.run(|event| sender.send(event).unwrap())
        });
        Self { stop, events, thread }
    }

    fn expect(&self, expected: &[LinkEvent]) {
        for event in expected {
            assert_eq!(self.events.recv_timeout(PATIENCE), Ok(*event));
        }
    }

    fn end(self) {
        self.thread.join().unwrap().unwrap();
        assert_eq!(self.events.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    }
}
