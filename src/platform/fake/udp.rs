//! The UDP sockets of a host, both families as one, with the errors a real one may give on demand.
//!
//! Source of the errors: udp(7), ip(7); EIO for a train is what a network device without checksum offload gives.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use super::network::{Internet, SiteId, Train};
use super::sync::lock;
use crate::dataplane::io::{Families, Transmit, Udp};
use crate::dataplane::packet::UdpBatch;
use crate::proto::endpoint::Endpoint;

/// What becomes of trains at the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merging {
    /// Every datagram arrives alone.
    Off,
    /// Trains arrive as they were sent.
    AsSent,
    /// As [`Merging::AsSent`], and datagrams that wait and fit are merged further, whoever cut them.
    Greedy,
}

/// Faults of a host's sockets, present and future ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    /// The errno for trains of more than one datagram.
    pub(super) trains: Option<i32>,
    /// A narrow path: its far end, its MTU, and the errno for trains that are wider.
    pub(super) narrow: Option<(IpAddr, usize, i32)>,
    /// The errno for sends with a cached source.
    pub(super) source: Option<i32>,
    /// The errno for all sends.
    pub(super) all: Option<i32>,
    /// The errno for all receptions.
    pub(super) receive: Option<i32>,
    pub(super) merging: Merging,
    pub(super) max_segments: usize,
}

/// A bound socket pair. Its port is free again when it is dropped.
///
/// # Locking
/// The queue's mutex is taken last: no other lock is taken under it.
pub struct FakeUdp {
    internet: Arc<Internet>,
    site: SiteId,
    port: u16,
    faults: Arc<Mutex<Faults>>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    trains: VecDeque<(Train, Endpoint)>,
    bytes: usize,
    overflows: usize,
    mark: u32,
}

impl FakeUdp {
    pub(super) fn new(internet: Arc<Internet>, site: SiteId, port: u16, mark: u32, faults: Arc<Mutex<Faults>>) -> Self {
        Self { internet, site, port, faults, queue: Mutex::new(Queue { mark, ..Queue::default() }) }
    }

    /// Returns the firewall mark.
    pub fn mark(&self) -> u32 {
        lock(&self.queue).mark
    }

    /// Returns how many datagrams were lost because the receive buffer was full.
    pub fn overflows(&self) -> usize {
        lock(&self.queue).overflows
    }

    pub(super) fn port_number(&self) -> u16 {
        self.port
    }

    pub(super) fn ready(&self) -> bool {
        !lock(&self.queue).trains.is_empty()
    }

    /// Puts `train` into the receive buffer.
    pub(super) fn arrive(&self, train: &Train, from: Endpoint) {
        let merging = lock(&self.faults).merging;
        let mut queue = lock(&self.queue);
        if queue.bytes + train.bytes.len() > RECEIVE_BUFFER_LEN {
            queue.overflows += train.payloads().count();
            return;
        }
        queue.bytes += train.bytes.len();
        match merging {
            Merging::Off => queue.trains.extend(train.split().map(|datagram| (datagram, from))),
            Merging::AsSent => queue.trains.push_back((train.clone(), from)),
            Merging::Greedy => train.split().for_each(|datagram| queue.merge(datagram, from)),
        }
    }

    /// Checks `transmit` as the kernel would and makes a train of it.
    fn check(&self, transmit: &Transmit<'_>, faults: Faults) -> Result<Train, i32> {
        let count = transmit.bytes.len().div_ceil(transmit.segment_len.max(1));
        let remote = transmit.to.remote;
        let source = self.internet.with_site(self.site, |site| match transmit.to.source {
            Some(source) if source.address.is_ipv4() != remote.is_ipv4() => Err(libc::EINVAL),
            Some(source) => match site.addresses.iter().find(|own| own.address == source.address) {
                Some(own) => Ok(*own),
                None => Err(if remote.is_ipv4() { libc::EINVAL } else { libc::EADDRNOTAVAIL }),
            },
            None => site.address_towards(remote.ip()).ok_or(libc::ENETUNREACH),
        })?;
        match faults {
            Faults { all: Some(errno), .. } => return Err(errno),
            Faults { source: Some(errno), .. } if transmit.to.source.is_some() => return Err(errno),
            Faults { trains: Some(errno), .. } if count > 1 => return Err(errno),
            Faults { narrow: Some((address, mtu, errno)), .. }
                if count > 1 && address == remote.ip() && transmit.segment_len + HEADERS_LEN > mtu =>
            {
                return Err(errno);
            }
            _ if count > faults.max_segments => return Err(libc::EINVAL),
            _ if transmit.bytes.len() > MAX_PAYLOAD_LEN => return Err(libc::EMSGSIZE),
            _ => {}
        }
        Ok(Train {
            from: (source.address, self.port).into(),
            to: remote,
            ds: transmit.ds,
            bytes: transmit.bytes.to_vec(),
            segment_len: transmit.segment_len,
        })
    }
}

impl Udp for FakeUdp {
    fn port(&self) -> u16 {
        self.port
    }

    fn receive(&self, _families: Families, batch: &mut UdpBatch) -> io::Result<()> {
        if let Some(errno) = lock(&self.faults).receive {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let mut queue = lock(&self.queue);
        while let Some(buffer) = batch.free().last_mut()
            && let Some((train, from)) = queue.trains.pop_front()
        {
            buffer[..train.bytes.len()].copy_from_slice(&train.bytes);
            queue.bytes -= train.bytes.len();
            batch.push(train.bytes.len(), train.segment_len, from, train.ds & ECN_MASK);
        }
        Ok(())
    }

    fn send(&self, transmits: &[Transmit<'_>]) -> (usize, io::Result<()>) {
        let faults = *lock(&self.faults);
        for (sent, transmit) in transmits.iter().enumerate() {
            match self.check(transmit, faults) {
                Ok(train) => self.internet.send(train),
                Err(errno) => return (sent, Err(io::Error::from_raw_os_error(errno))),
            }
        }
        (transmits.len(), Ok(()))
    }

    fn set_mark(&self, mark: u32) -> io::Result<()> {
        lock(&self.queue).mark = mark;
        Ok(())
    }

    fn max_segments(&self) -> usize {
        lock(&self.faults).max_segments
    }

    fn path_mtu(&self, remote: SocketAddr) -> Option<usize> {
        let narrow = lock(&self.faults).narrow.filter(|(address, ..)| *address == remote.ip());
        Some(narrow.map_or(LINK_MTU, |(_, mtu, _)| mtu))
    }
}

impl Queue {
    /// Appends `datagram` to the last train if it belongs to it: same ends, same DS byte, no longer than the others,
    /// and the train not yet closed by a shorter one.
    fn merge(&mut self, datagram: Train, from: Endpoint) {
        if let Some((last, last_from)) = self.trains.back_mut()
            && *last_from == from
            && (last.to, last.ds) == (datagram.to, datagram.ds)
            && (1..=last.segment_len).contains(&datagram.bytes.len())
            && last.bytes.len().is_multiple_of(last.segment_len)
            && last.bytes.len() / last.segment_len < MAX_MERGED
            && last.bytes.len() + datagram.bytes.len() <= MAX_PAYLOAD_LEN
        {
            last.bytes.extend_from_slice(&datagram.bytes);
        } else {
            self.trains.push_back((datagram, from));
        }
    }
}

/// The MTU of every path that is not narrow.
const LINK_MTU: usize = 1500;
/// IPv4 and UDP. The narrow path is one over IPv4.
const HEADERS_LEN: usize = 20 + 8;
/// The longest payload of a UDP datagram over IPv4, and so of a train: 65,535 - 20 - 8 bytes.
const MAX_PAYLOAD_LEN: usize = 65_507;
/// The most datagrams the kernel merges into one train, and takes in one send.
pub(super) const MAX_MERGED: usize = 64;
/// Bytes that wait in a socket; beyond, what arrives is lost.
const RECEIVE_BUFFER_LEN: usize = 8 << 20;
/// The ECN bits of a DS byte.
const ECN_MASK: u8 = 3;

#[cfg(test)]
mod tests;
