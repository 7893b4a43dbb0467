//! Where a peer is: its address, and the local address it talked to.
//!
//! Not here: when an endpoint may change (see `peer`), how a source address is put on a datagram (see the platform).

use std::net::{IpAddr, SocketAddr};

/// A peer's outer address and, if a datagram of it was authenticated, the way it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address and port datagrams are sent to.
    pub remote: SocketAddr,
    /// The cached source: answers leave from the address the peer talked to (roaming on both ends).
    pub source: Option<Source>,
}

impl Endpoint {
    /// Makes an endpoint as configuration gives it: without a cached source.
    pub const fn configured(remote: SocketAddr) -> Self {
        Self { remote, source: None }
    }
}

/// The destination address of a received datagram and the interface it arrived on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The local address.
    pub address: IpAddr,
    /// The index of the interface it arrived on; used to see a changed route, and as the scope of link-local IPv6.
    pub interface: u32,
}
