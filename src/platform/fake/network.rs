//! A virtual internet: hosts with addresses, and sockets that find each other by address and port.
//!
//! A train arrives at once, unless a carrier is set: then the carrier decides what becomes of it. What arrives nowhere
//! (no such address, nobody listens, the receive buffer is full) is dropped without a word, as on the real one.
//!
//! Not here: the socket's own rules (see `udp`), a bad network (see `link`).

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, Weak};

use super::sync::{Signal, lock};
use super::udp::FakeUdp;
use crate::proto::endpoint::{Endpoint, Source};

/// One datagram on its way, or a train of equal ones (the last may be shorter).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Train {
    /// The sender's address and port, as the receiver will see them.
    pub from: SocketAddr,
    /// The receiver's address and port.
    pub to: SocketAddr,
    /// The DS byte of the outer header.
    pub ds: u8,
    /// UDP payloads back to back.
    pub bytes: Vec<u8>,
    /// Bytes of each payload; `bytes.len()` for a single datagram.
    pub segment_len: usize,
}

impl Train {
    /// Makes a single datagram.
    pub fn datagram(from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> Self {
        Self { from, to, ds: 0, bytes: bytes.to_vec(), segment_len: bytes.len() }
    }

    /// Returns the payloads.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        // An empty datagram is one payload, which `chunks` would not give.
        let empty = self.bytes.is_empty().then_some(self.bytes.as_slice());
        empty.into_iter().chain(self.bytes.chunks(self.segment_len.max(1)))
    }

    /// Splits the train into single datagrams.
    pub fn split(&self) -> impl Iterator<Item = Self> {
        self.payloads().map(|payload| Self {
            from: self.from,
            to: self.to,
            ds: self.ds,
            bytes: payload.to_vec(),
            segment_len: payload.len(),
        })
    }
}

/// Decides what becomes of a train: appends what is to arrive now.
pub type Carrier = Box<dyn FnMut(Train, &mut Vec<Train>) + Send>;

/// The virtual internet.
///
/// # Locking
/// The carrier's mutex is held while the carrier runs, and released before the state's is taken; a carrier must not
/// call the internet. No lock is held while a host is signalled.
pub struct Internet {
    carrier: Mutex<Option<Carrier>>,
    sites: Mutex<Vec<Site>>,
}

/// What the internet knows of a host.
pub(super) struct Site {
    pub(super) addresses: Vec<Source>,
    pub(super) sockets: Vec<Weak<FakeUdp>>,
    signal: Arc<Signal>,
}

/// Names a [`Site`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SiteId(usize);

impl Internet {
    /// Makes an internet without hosts.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { carrier: Mutex::new(None), sites: Mutex::new(Vec::new()) })
    }

    /// Has `carrier` decide about every train sent from now on; trains sent from one thread reach it in order.
    pub fn set_carrier(&self, carrier: impl FnMut(Train, &mut Vec<Train>) + Send + 'static) {
        *lock(&self.carrier) = Some(Box::new(carrier));
    }

    /// Lets every train arrive at once again.
    pub fn clear_carrier(&self) {
        *lock(&self.carrier) = None;
    }

    /// Sends `train`: through the carrier, as if a socket had sent it.
    pub fn send(&self, train: Train) {
        let mut carrier = lock(&self.carrier);
        let Some(carry) = carrier.as_mut() else {
            drop(carrier);
            return self.deliver(&train);
        };
        let mut arrivals = Vec::new();
        carry(train, &mut arrivals);
        drop(carrier);
        for train in &arrivals {
            self.deliver(train);
        }
    }

    /// Has `train` arrive now, past the carrier; whoever sends it may lie about its sender.
    pub fn deliver(&self, train: &Train) {
        let sites = lock(&self.sites);
        let Some((site, source)) = sites.iter().find_map(|site| {
            let source = site.addresses.iter().find(|source| source.address == train.to.ip())?;
            Some((site, *source))
        }) else {
            return;
        };
        let socket =
            site.sockets.iter().filter_map(Weak::upgrade).find(|socket| socket.port_number() == train.to.port());
        let signal = Arc::clone(&site.signal);
        drop(sites);
        if let Some(socket) = socket {
            socket.arrive(train, Endpoint { remote: train.from, source: Some(source) });
            signal.raise();
        }
    }

    pub(super) fn add_site(&self, addresses: Vec<Source>, signal: Arc<Signal>) -> SiteId {
        let mut sites = lock(&self.sites);
        sites.push(Site { addresses, sockets: Vec::new(), signal });
        SiteId(sites.len() - 1)
    }

    /// Runs `action` on the site `id`.
    pub(super) fn with_site<T>(&self, id: SiteId, action: impl FnOnce(&mut Site) -> T) -> T {
        action(&mut lock(&self.sites)[id.0])
    }
}

impl Site {
    /// Returns the first address of the family of `remote`.
    pub(super) fn address_towards(&self, remote: IpAddr) -> Option<Source> {
        self.addresses.iter().find(|source| source.address.is_ipv4() == remote.is_ipv4()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_train_splits_into_its_datagrams() {
        let (from, to) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        let train = Train { segment_len: 4, ds: 1, ..Train::datagram(from, to, b"aaaabbbbcc") };
        let split: Vec<_> = train.split().collect();
        assert_eq!(
            split.iter().map(|one| one.bytes.as_slice()).collect::<Vec<_>>(),
            [b"aaaa".as_slice(), b"bbbb", b"cc"]
        );
        assert!(split.iter().all(|one| one.segment_len == one.bytes.len() && one.ds == 1));
        assert_eq!(Train::datagram(from, to, b"").payloads().count(), 1);
    }
}
