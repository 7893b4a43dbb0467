//! Handing datagrams to the socket, and what to do when it refuses.
//!
//! A refused datagram is tried again at most once per cause: without the cached source address if that may be the
//! reason, and singly if it was a train. Nothing is queued: what the network does not take is dropped and counted.
//!
//! Not here: what is in the datagrams.

use std::io;

use super::device::Device;
use super::evidence::note;
use super::io::{Transmit, Udp};
use super::path_mtu::is_fragmented;
use super::peer::Peer;
use super::send::{Outbound, Train};
use super::stats::Drop;
use crate::proto::endpoint::Endpoint;
use crate::proto::peer::Sent;

impl Device {
    /// Sends a sealed batch to `endpoint`.
    pub(super) fn transmit(&self, peer: &Peer, endpoint: Endpoint, out: &Outbound) -> Sent {
        let mut sent = Sent::default();
        let Some(udp) = self.udp() else {
            self.dropped(peer, Drop::Send, out.datagrams());
            return sent;
        };
        let mut lost = 0;
        for trains in out.trains.chunks(MAX_TRANSMITS) {
            let (bytes, refused) = match trains.len() {
                // An idle tunnel's packets come alone, and find 3 KiB of stack in no cache.
                1 => self.send_trains::<1>(&*udp, peer, endpoint, out, trains),
                _ => self.send_trains::<MAX_TRANSMITS>(&*udp, peer, endpoint, out, trains),
            };
            sent.bytes += bytes;
            lost += refused;
            sent.data |= bytes > 0 && trains.iter().any(|train| train.data);
        }
        sent.packets = (out.datagrams() - lost) as u64;
        self.dropped(peer, Drop::Send, lost);
        sent
    }

    /// Sends at least one and at most `N` trains; returns the bytes the socket took, and how many datagrams it did not.
    fn send_trains<const N: usize>(
        &self,
        udp: &dyn Udp,
        peer: &Peer,
        to: Endpoint,
        out: &Outbound,
        trains: &[Train],
    ) -> (u64, usize) {
        let mut transmits = [transmit_of(out, trains[0], to); N];
        for (transmit, train) in transmits.iter_mut().zip(trains) {
            *transmit = transmit_of(out, *train, to);
        }
        self.send_all(udp, peer, &mut transmits[..trains.len()])
    }

    /// Sends one datagram that is not transport data; returns the bytes the socket took.
    pub(super) fn transmit_one(&self, peer: &Peer, to: Endpoint, ds: u8, bytes: &[u8]) -> u64 {
        let Some(udp) = self.udp() else { return 0 };
        let (sent, lost) = self.send_all(&*udp, peer, &mut [Transmit { to, ds, bytes, segment_len: bytes.len() }]);
        self.dropped(peer, Drop::Send, lost);
        sent
    }

    /// Sends `transmits` in order, each once. What the socket refuses is looked at again: without the cached source, or
    /// datagram by datagram; what it then still refuses is lost. Returns the bytes that were taken, and how many datagrams
    /// were lost.
    fn send_all(&self, udp: &dyn Udp, peer: &Peer, mut transmits: &mut [Transmit<'_>]) -> (u64, usize) {
        let mut sent = 0;
        let mut lost = 0;
        // The first transmit goes datagram by datagram, because it was not taken as a train.
        let mut split = false;
        // If its datagrams are taken, the socket's offload was the reason, and not the endpoint.
        let mut suspected = false;
        while let Some(first) = transmits.first().copied() {
            let is_train = first.bytes.len() > first.segment_len;
            let singly = is_train && (split || !self.offloads.sends_trains() || udp.max_segments() == 1);
            let (bytes, taken, result) = if singly {
                let (bytes, result) = send_singly(udp, first);
                (bytes, 0, result)
            } else {
                let (taken, result) = udp.send(transmits);
                (transmits[..taken].iter().map(|transmit| transmit.bytes.len()).sum(), taken, result)
            };
            if singly && bytes > 0 && std::mem::take(&mut suspected) {
                self.offloads.refused_by_socket();
            }
            sent += bytes as u64;
            transmits = &mut transmits[taken..];
            split &= taken == 0;
            if singly && let Some(first) = transmits.first_mut() {
                first.bytes = &first.bytes[bytes..];
            }
            match (result, transmits.first_mut()) {
                (Ok(()), _) | (_, None) => {}
                (Err(error), Some(_)) if error.kind() == io::ErrorKind::WouldBlock => {
                    // The socket was waited for once already. What is left would wait as long again, and meanwhile
                    // nothing is received.
                    lost += transmits.iter().map(Transmit::count).sum::<usize>();
                    return (sent, lost);
                }
                (Err(error), Some(refused)) => {
                    let is_train = refused.bytes.len() > refused.segment_len;
                    if refused.to.source.is_some() && may_be_the_source(&error) {
                        tracing::debug!("Sending to peer {} from its cached source failed: {error}", peer.label());
                        peer.state().core.clear_source();
                        transmits.iter_mut().for_each(|transmit| transmit.to.source = None);
                    } else if is_train && !singly && is_too_long_for_the_path(&error) {
                        split = true;
                    } else if is_train && !singly && may_be_the_train(&error) {
                        split = true;
                        // Kernels before 6.14 refuse a train that would be fragmented with EINVAL, as they refuse one
                        // that the socket cannot send at all; asked for only then.
                        suspected = !is_fragmented(udp, refused.to.remote, refused.segment_len);
                    } else {
                        tracing::debug!("Sending to peer {} at {} failed: {error}", peer.label(), refused.to.remote);
                        let refusal = (refused.to.remote, error.kind());
                        let now = self.platform.clock.now();
                        note(&mut peer.state().evidence.trouble().not_sent, now, 1, refusal);
                        let len =
                            if singly { refused.segment_len.min(refused.bytes.len()) } else { refused.bytes.len() };
                        lost += if singly { 1 } else { refused.count() };
                        refused.bytes = &refused.bytes[len..];
                    }
                }
            }
            if transmits.first().is_some_and(|first| first.bytes.is_empty()) {
                transmits = &mut transmits[1..];
                (split, suspected) = (false, false);
            }
        }
        (sent, lost)
    }
}

/// Sends the first datagrams of `train`, in one call; returns the bytes of those that were taken. If fewer than all
/// were, the error is about the next one.
fn send_singly(udp: &dyn Udp, train: Transmit<'_>) -> (usize, io::Result<()>) {
    let mut singles = [train; MAX_TRANSMITS];
    let mut count = 0;
    for (single, bytes) in singles.iter_mut().zip(train.bytes.chunks(train.segment_len)) {
        single.bytes = bytes;
        count += 1;
    }
    let (taken, result) = udp.send(&singles[..count]);
    (singles[..taken].iter().map(|single| single.bytes.len()).sum(), result)
}

fn transmit_of(out: &Outbound, train: Train, to: Endpoint) -> Transmit<'_> {
    let bytes = &out.buffers[usize::from(train.buffer)][train.start as usize..][..train.len as usize];
    Transmit { to, ds: train.ds, bytes, segment_len: train.segment_len as usize }
}

/// The cached source is no longer a local address, or no route accepts it (protocol 11.3).
fn may_be_the_source(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, HostUnreachable, InvalidInput, NetworkUnreachable, NotFound};
    matches!(error.kind(), AddrNotAvailable | HostUnreachable | InvalidInput | NetworkUnreachable | NotFound)
        || error.raw_os_error() == Some(NO_SUCH_DEVICE)
}

/// EMSGSIZE: a datagram of the train is longer than the path's MTU. Alone it is fragmented; a train cannot be. It says
/// something about this path, not about the socket.
fn is_too_long_for_the_path(error: &io::Error) -> bool {
    error.raw_os_error() == Some(MESSAGE_TOO_LONG)
}

/// EINVAL and EIO: the route's device cannot segment, or cannot checksum, what was handed over.
fn may_be_the_train(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput || error.raw_os_error() == Some(IO_ERROR)
}

/// Messages of one call: enough for a burst of small packets, small enough for the stack.
const MAX_TRANSMITS: usize = 32;

/// ENODEV; it has no stable `ErrorKind`.
const NO_SUCH_DEVICE: i32 = 19;
/// EMSGSIZE; it has no stable `ErrorKind`.
const MESSAGE_TOO_LONG: i32 = 90;
/// EIO; it has no stable `ErrorKind`.
const IO_ERROR: i32 = 5;
