//! How long a packet to a peer may be so that the datagram it becomes is not fragmented on its way.
//!
//! The outer datagrams may be fragmented, as the kernel driver's may, so a narrow path carries everything. But fragments
//! cost, and some networks drop them: whoever sends longer packets through the tunnel is told to send shorter ones, and
//! his packets are carried on all the same, so that nothing is lost if he does not listen.
//!
//! What is known of a path is what the OS knows: the MTU of the first link, and what routers have told it (over IPv6,
//! where only the sender may fragment, they do; over IPv4 they fragment instead). It is asked when long packets are sent,
//! once a second at most, so that a path that becomes narrow is noticed before a TCP connection gives up; of the packets
//! to a peer whose path is wide, no other length is looked at.
//!
//! Not here: the messages (see `proto::icmp`), what the OS knows (see `Udp::path_mtu`).
//!
//! Sources: RFC 1191, RFC 8201, RFC 8899 (why some paths cannot be known so).

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::device::Device;
use super::gso::Segments;
use super::io::Udp;
use super::packet::{TunBatch, TunPacket};
use super::peer::Peer;
use crate::proto::constants::PADDING_MULTIPLE;
use crate::proto::icmp::Report;
use crate::proto::time::Instant;
use crate::proto::transport::OVERHEAD;

/// What is known of the path to a peer.
#[derive(Debug, Default)]
pub(super) struct Path {
    asked: Option<Instant>,
    narrow: Option<Narrow>,
}

/// A path that is too narrow for what the interface takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Narrow {
    /// Where to. A peer that has moved since is on another path.
    remote: SocketAddr,
    /// Bytes of padded inner packet that fit into one datagram.
    room: u16,
}

impl Path {
    /// Returns how long a packet to `remote` should be at most, if that is less than the interface's `mtu`.
    pub(super) fn limit(&self, remote: SocketAddr, mtu: usize) -> Option<u16> {
        self.narrow.filter(|narrow| narrow.remote == remote).and_then(|narrow| narrow.limit(mtu))
    }

    /// Tells whether the OS is to be asked again, and takes note that it is: `is_long` says whether packets that a narrow
    /// path would be too narrow for are being sent.
    pub(super) fn is_due(&mut self, now: Instant, is_long: impl FnOnce() -> bool) -> bool {
        let is_due = self.asked.is_none_or(|asked| now.since(asked) >= ASK_INTERVAL) && is_long();
        if is_due {
            self.asked = Some(now);
        }
        is_due
    }
}

impl Narrow {
    /// Makes of the MTU of the path to `remote` what it leaves for inner packets.
    fn new(remote: SocketAddr, path_mtu: usize) -> Self {
        let room = path_mtu.saturating_sub(headers_len(remote) + OVERHEAD);
        Self { remote, room: u16::try_from(room).unwrap_or(u16::MAX) }
    }

    /// Padding makes a packet a multiple of 16, but not longer than the interface's MTU.
    fn limit(self, mtu: usize) -> Option<u16> {
        (usize::from(self.room) < mtu).then_some(self.room - self.room % PADDING_MULTIPLE as u16)
    }
}

impl Device {
    /// Asks what is known of the path to a peer. A few system calls; the caller holds no lock.
    pub(super) fn learn_path_mtu(&self, peer: &Peer, remote: SocketAddr) {
        let Some(udp) = self.udp() else { return };
        let narrow = udp.path_mtu(remote).map(|path_mtu| Narrow::new(remote, path_mtu));
        peer.state().path.narrow = narrow.filter(|narrow| narrow.limit(self.mtu()).is_some());
    }

    /// Tells the senders of those packets that become datagrams too long for the path.
    pub(super) fn report_too_big(
        &self,
        now: Instant,
        batch: &TunBatch,
        packets: impl Iterator<Item = TunPacket>,
        limit: u16,
    ) {
        for packet in packets {
            let bytes = batch.bytes(packet);
            let longest = Segments::new(bytes, packet.offload).map_or(0, |segments| segments.len(0));
            if longest > usize::from(limit) {
                self.reports.send(&*self.platform.tun, now, Report::TooBig(limit), bytes);
            }
        }
    }

    /// Returns the interface's MTU, in bytes.
    pub(super) fn mtu(&self) -> usize {
        self.mtu.load(Ordering::Relaxed)
    }
}

/// Tells whether a datagram of `len` bytes to `remote` has to be fragmented on its way, as far as is known.
pub(super) fn is_fragmented(udp: &dyn Udp, remote: SocketAddr, len: usize) -> bool {
    udp.path_mtu(remote).is_some_and(|mtu| len + headers_len(remote) > mtu)
}

/// Bytes of the outer IP and UDP headers.
fn headers_len(remote: SocketAddr) -> usize {
    if remote.ip().to_canonical().is_ipv4() { 20 + 8 } else { 40 + 8 }
}

/// Every path carries packets of this many bytes in datagrams of 1,280, which every IPv6 path carries; to ask for less
/// would be to ask in vain.
pub(super) const LONG: usize = 1280 - 80;
/// One answer takes the kernel about as long as two packets.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::transport::padded_len;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_longest_packet_that_should_be_sent_just_fits_the_path() {
        for (remote, headers) in [("192.0.2.1:1", 28), ("[2001:db8::1]:1", 48), ("[::ffff:192.0.2.1]:1", 28)] {
            let remote = address(remote);
            for path_mtu in 576..1500 {
                let Some(limit) = Narrow::new(remote, path_mtu).limit(1420) else {
                    assert!(1420 + OVERHEAD + headers <= path_mtu);
                    continue;
                };
                let wire = |len| padded_len(len, 1420) + OVERHEAD + headers;
                assert!(wire(usize::from(limit)) <= path_mtu, "{limit} to {remote} at {path_mtu}");
                assert!(wire(usize::from(limit) + 1) > path_mtu, "{limit} to {remote} at {path_mtu}");
            }
        }
    }

    #[test]
    fn a_path_is_narrow_for_the_address_it_leads_to() {
        let path = Path { asked: None, narrow: Some(Narrow::new(address("192.0.2.1:1"), 1300)) };
        assert_eq!(path.limit(address("192.0.2.1:1"), 1420), Some(1232));
        assert_eq!(path.limit(address("192.0.2.2:1"), 1420), None);
    }

    #[test]
    fn a_path_without_room_for_anything_is_no_reason_to_panic() {
        let remote = address("192.0.2.1:1");
        assert_eq!(Narrow::new(remote, 0).limit(1420), Some(0));
        assert_eq!(Narrow::new(remote, usize::MAX).limit(1420), None);
    }

    #[test]
    fn the_os_is_asked_for_long_packets_and_once_a_second() {
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        let mut path = Path::default();
        assert!(!path.is_due(at(0), || false));
        assert!(path.is_due(at(0), || true));
        assert!(!path.is_due(at(999), || panic!("lengths are looked at once a second")));
        assert!(!path.is_due(at(1000), || false));
        assert!(path.is_due(at(1001), || true));
    }
}
