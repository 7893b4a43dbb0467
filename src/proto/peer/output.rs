//! What a peer asks its caller to do, collected until the caller drains it.
//!
//! Requests are flags: asking twice is asking once, and asking allocates nothing. Changes of the index table are a
//! queue, because their order matters; it grows only when a session or handshake begins or ends.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::proto::endpoint::Endpoint;
use crate::proto::index::Index;
use crate::proto::keypair::Keypair;
use crate::proto::messages::INITIATION_LEN;

/// What the caller has to do for a peer. Requests are idempotent: two of a kind before draining are one.
#[derive(Debug)]
pub enum Output {
    /// Have a handshake initiation made and sent, away from the data path: see [`super::Peer::begin_initiation`]. It
    /// is asked for again by every event that wants one until it has begun.
    Initiate,
    /// Send a keepalive: stage one empty packet if nothing is staged, then flush.
    Keepalive,
    /// Try to send what is staged.
    Flush,
    /// Drop what is staged, counted as dropped.
    PurgeStaged,
    /// The index names this keypair from now on.
    Publish(Arc<Keypair>),
    /// The index is free.
    Release(Index),
    /// Something authentic came from another address than the endpoint, which was this one, and follows it: for
    /// events.
    Roamed(SocketAddr),
    /// A handshake completed, a rekey or not: for the log.
    HandshakeComplete,
    /// The handshake that completed is the first one, or the first since the interface came up or since
    /// [`Output::Silent`]: for events.
    Connected,
    /// Nothing authentic came for 180 s from a peer that was connected: for events.
    Silent,
    /// Handshake attempts were given up: for the log and for events.
    HandshakeGaveUp,
    /// The peer does not answer: its names may point elsewhere by now.
    LookUp,
    /// Send this initiation, made before, to this address too.
    SendInitiation(Endpoint, Box<[u8; INITIATION_LEN]>),
}

/// The outputs that wait for the caller.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    index_changes: VecDeque<IndexChange>,
    pub(super) purge: bool,
    pub(super) roamed_from: Option<SocketAddr>,
    pub(super) complete: bool,
    pub(super) connected: bool,
    pub(super) silent: bool,
    pub(super) gave_up: bool,
    pub(super) flush: bool,
    pub(super) keepalive: bool,
    pub(super) initiate: bool,
    pub(super) look_up: bool,
    pub(super) initiation: Option<(Endpoint, Box<[u8; INITIATION_LEN]>)>,
}

#[derive(Debug)]
enum IndexChange {
    Publish(Arc<Keypair>),
    Release(Index),
}

impl Outputs {
    /// The index of `keypair` names it from now on.
    pub(super) fn publish(&mut self, keypair: Arc<Keypair>) {
        self.index_changes.push_back(IndexChange::Publish(keypair));
    }

    /// Nothing of this peer has `index` any more.
    pub(super) fn release(&mut self, index: Index) {
        self.index_changes.push_back(IndexChange::Release(index));
    }

    /// Drops every wish to send; the caller is told to drop what it has staged.
    pub(super) fn cancel_sending(&mut self) {
        self.flush = false;
        self.keepalive = false;
        self.initiate = false;
        self.look_up = false;
        self.initiation = None;
        self.purge = true;
    }

    /// Returns the bytes of heap the queue keeps.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.index_changes.capacity() * size_of::<IndexChange>()
    }

    /// Takes the next output: first the index table, so that answers to what is sent next find their keypair, then
    /// dropping, telling, sending; an initiation last, because sending may ask for one.
    pub(super) fn next(&mut self) -> Option<Output> {
        if let Some(change) = self.index_changes.pop_front() {
            return Some(match change {
                IndexChange::Publish(keypair) => Output::Publish(keypair),
                IndexChange::Release(index) => Output::Release(index),
            });
        }
        if std::mem::take(&mut self.purge) {
            return Some(Output::PurgeStaged);
        }
        if let Some(before) = self.roamed_from.take() {
            return Some(Output::Roamed(before));
        }
        if std::mem::take(&mut self.complete) {
            return Some(Output::HandshakeComplete);
        }
        if std::mem::take(&mut self.connected) {
            return Some(Output::Connected);
        }
        if std::mem::take(&mut self.silent) {
            return Some(Output::Silent);
        }
        if std::mem::take(&mut self.gave_up) {
            return Some(Output::HandshakeGaveUp);
        }
        if std::mem::take(&mut self.keepalive) {
            // A keepalive flushes too. Flushing first would empty the queue, and the keepalive would add a packet
            // although data was waiting.
            self.flush = false;
            return Some(Output::Keepalive);
        }
        if std::mem::take(&mut self.flush) {
            return Some(Output::Flush);
        }
        if std::mem::take(&mut self.look_up) {
            return Some(Output::LookUp);
        }
        if let Some((to, message)) = self.initiation.take() {
            return Some(Output::SendInitiation(to, message));
        }
        std::mem::take(&mut self.initiate).then_some(Output::Initiate)
    }
}
