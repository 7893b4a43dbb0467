//! What a TUN read or write says about segmentation and checksums, free of any OS's layout.
//!
//! Not here: the virtio header that carries it on Linux (see `platform/linux/vnet_header.rs`).
//!
//! Source: virtio specification 1.2, section 5.1.6.2 (the meaning of the fields).

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
