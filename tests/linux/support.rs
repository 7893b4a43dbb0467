//! Namespaces, packets by hand, and waiting with an end.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::thread::LinkNameSpaceType;
use rvpn::dataplane::io::Tun;
use rvpn::dataplane::offload::Offload;
use rvpn::dataplane::packet::TunBatch;
use rvpn::platform::linux::tun::{LinuxTun, TunOptions};

/// A network namespace that is deleted on drop.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    /// Makes one; `None`, and a word about it, if that is not permitted.
    pub(crate) fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rvpn-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let made = Command::new("ip").args(["netns", "add", &name]).output();
        if !made.is_ok_and(|output| output.status.success()) || !std::path::Path::new("/dev/net/tun").exists() {
            println!("skipped: needs root, `ip` and /dev/net/tun");
            return None;
        }
        Some(Self { name })
    }

    /// Makes one and moves the calling thread into it.
    pub(crate) fn enter() -> Option<Self> {
        let namespace = Self::new()?;
        namespace.enter_again();
        Some(namespace)
    }

    /// Moves the calling thread into it.
    pub(crate) fn enter_again(&self) {
        let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
        rustix::thread::move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// Runs `ip` in it and returns its output.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let output = Command::new("ip").args(["-n", &self.name]).args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the index of an interface in it.
    pub(crate) fn index(&self, name: &str) -> u32 {
        self.ip(&format!("-o link show {name}")).split(':').next().unwrap().parse().unwrap()
    }

    /// Makes wg0 with 10.77.0.1/24, up.
    pub(crate) fn tun(&self, options: TunOptions) -> LinuxTun {
        let tun = LinuxTun::open("wg0", options).unwrap();
        self.ip("link set wg0 up");
        self.ip("addr add 10.77.0.1/24 dev wg0");
        tun
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Something to poll in place of a TUN.
pub(crate) fn stand_in() -> OwnedFd {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap()
}

/// A packet as the TUN gave it.
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) offload: Offload,
}

/// Reads IPv4 packets until one satisfies `wanted`; others, as neighbour discovery makes, are skipped.
pub(crate) fn read_until(tun: &LinuxTun, wanted: impl Fn(&[u8]) -> bool) -> Packet {
    let mut batch = TunBatch::new();
    loop {
        await_readable(tun.as_fd());
        tun.read(&mut batch).unwrap();
        for &packet in batch.packets() {
            let bytes = batch.bytes(packet);
            if bytes[0] >> 4 == 4 && wanted(bytes) {
                return Packet { bytes: bytes.to_vec(), offload: packet.offload };
            }
        }
        batch.clear();
    }
}

/// Waits until `fd` can be read; fails if that takes too long.
pub(crate) fn await_readable(fd: BorrowedFd<'_>) {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    assert_ne!(rustix::event::poll(&mut fds, Some(&patience)).unwrap(), 0, "nothing came");
}

/// An IPv4 packet from 10.77.0.2 to 10.77.0.1.
pub(crate) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 77, 0, 2, 10, 77, 0, 1];
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    let mut packet = with_checksum(10, &packet);
    packet.extend(payload);
    packet
}

/// Returns `bytes` with the Internet checksum over all of them at `at`.
pub(crate) fn with_checksum(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + 2].fill(0);
    let checksum = !fold(sum(&bytes));
    bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// Fills the checksum of a TCP segment from 10.77.0.2 to 10.77.0.1.
pub(crate) fn tcp_checksum(mut tcp: Vec<u8>) -> Vec<u8> {
    let checksum = !fold(sum(&[10, 77, 0, 2, 10, 77, 0, 1]) + 6 + tcp.len() + sum(&tcp));
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    tcp
}

pub(crate) fn sum(bytes: &[u8]) -> usize {
    bytes.chunks(2).map(|pair| usize::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| low.into())).sum()
}

pub(crate) fn fold(mut sum: usize) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// How long the kernel may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
