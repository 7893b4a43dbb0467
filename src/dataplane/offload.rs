//! What a TUN read or write says about segmentation and checksums, free of any OS's layout.
//!
//! Not here: the virtio header that carries it on Linux (see `platform/linux/vnet_header.rs`).
//!
//! Source: virtio specification 1.2, section 5.1.6.2 (the meaning of the fields).

use std::sync::atomic::{AtomicBool, Ordering};

use super::gro::Classes;
use super::io::Udp;

/// The kind of segmentation a packet needs or has had undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segmentation {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over IPv4 or IPv6 (USO): each segment is a datagram.
    Udp,
}

/// The offload state of one packet at the TUN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// `Some`: the packet stands for several of `segment_len` payload bytes each (the last may be shorter).
    pub segmentation: Option<Segmentation>,
    /// Payload bytes per segment; 0 without segmentation.
    pub segment_len: u16,
    /// Bytes of all headers before the payload, IP header first; 0 without segmentation. Read from a TUN, it may be more
    /// (Linux gives what lies in the first fragment of a forwarded packet): a hint that `gso` checks.
    pub header_len: u16,
    /// `Some`: the transport checksum is still to be computed from `start` to the end and stored at
    /// `start + offset`; the field holds the pseudo-header sum.
    pub checksum: Option<PartialChecksum>,
}

/// A checksum left to be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Offset of the first byte summed, from the IP header.
    pub start: u16,
    /// Offset of the checksum field from `start`.
    pub offset: u16,
}

/// The offloads in use at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffloadsInUse {
    /// The merges that are written to the TUN.
    pub classes: Classes,
    /// The sockets take trains of datagrams.
    pub sends_trains: bool,
    /// The sockets give trains of datagrams.
    pub receives_trains: bool,
}

/// Which offloads are in use: what the platform offers, less what failed after having worked. Switched off by class
/// and for good, because a kernel that refuses once refuses again.
#[derive(Debug)]
pub struct Offloads {
    tcp4: AtomicBool,
    tcp6: AtomicBool,
    udp4: AtomicBool,
    udp6: AtomicBool,
    udp_send: AtomicBool,
}

impl Offloads {
    /// Starts with what the TUN takes; sending trains is assumed to work where the socket says so.
    pub(super) fn new(classes: Classes) -> Self {
        Self {
            tcp4: AtomicBool::new(classes.tcp4),
            tcp6: AtomicBool::new(classes.tcp6),
            udp4: AtomicBool::new(classes.udp4),
            udp6: AtomicBool::new(classes.udp6),
            udp_send: AtomicBool::new(true),
        }
    }

    /// Returns the merges that may be written to the TUN.
    pub fn classes(&self) -> Classes {
        Classes {
            tcp4: self.tcp4.load(Ordering::Relaxed),
            tcp6: self.tcp6.load(Ordering::Relaxed),
            udp4: self.udp4.load(Ordering::Relaxed),
            udp6: self.udp6.load(Ordering::Relaxed),
        }
    }

    /// Tells whether trains may be handed to the socket.
    pub fn sends_trains(&self) -> bool {
        self.udp_send.load(Ordering::Relaxed)
    }

    /// Returns what is in use with these sockets.
    pub(super) fn in_use(&self, udp: &dyn Udp) -> OffloadsInUse {
        OffloadsInUse {
            classes: self.classes(),
            sends_trains: self.sends_trains() && udp.max_segments() > 1,
            receives_trains: udp.receives_trains(),
        }
    }

    /// The TUN refused a merged packet of this kind (`version` is the inner IP version).
    pub(super) fn refused_by_tun(&self, segmentation: Segmentation, version: u8) {
        let (class, name) = match (segmentation, version) {
            (Segmentation::Tcp4, _) => (&self.tcp4, "merged TCP over IPv4"),
            (Segmentation::Tcp6, _) => (&self.tcp6, "merged TCP over IPv6"),
            (Segmentation::Udp, 6) => (&self.udp6, "merged UDP over IPv6"),
            (Segmentation::Udp, _) => (&self.udp4, "merged UDP over IPv4"),
        };
        if class.swap(false, Ordering::Relaxed) {
            tracing::warn!("The TUN device refused {name}: such packets are written one by one from now on");
        }
    }

    /// The socket refused a train.
    pub(super) fn refused_by_socket(&self) {
        if self.udp_send.swap(false, Ordering::Relaxed) {
            tracing::warn!("The UDP socket refused a segmented send: datagrams are sent one by one from now on");
        }
    }
}
