//! A device goes on in another process: held with nothing in flight, written record by record, read and let go there.
//!
//! ```text
//!  this process                                  the next one
//!  Holder::hold    packets wait in the TUN       Device::start_held   threads that stand, a device that is down
//!    export        the device, each peer  ──►    Resumption           peers of the same configuration know all again
//!    retire        nothing is sent any more      resume               threads go on, what was staged is sent
//!    or release    as if nothing had been
//! ```
//! Packets wait in the queues of the TUN and the sockets meanwhile, so none is lost as long as those have room. What is
//! written is a copy: who held can go on.
//!
//! Left behind: handshake messages that wait for their thread, secrets of cookies, the load that was seen, offloads that
//! were refused, counters of drops. Each comes again by itself.
//!
//! # Locking
//! A [`Held`] holds `config` and `handshaking`: no change, no up or down, no handshake step goes on while it lives.
//!
//! Not here: configuration, which the next process gets as such and before (`control::upgrade`); what a peer knows
//! (`proto::peer`); the way between the processes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::configure::{ApplyError, CarriedSettings, Settings};
use super::device::{Device, IndexEntry};
use super::peer::{Peer, StagedPacket};
use super::pulse::Pulse;
use super::sync::{MutexGuard, lock, write, yield_now};
use super::workers::{Context, Threads};
use crate::proto::carried::{Carried, Malformed, Reader, Writer};
use crate::proto::constants::{MAX_STAGED_BYTES, MAX_STAGED_PACKETS};
use crate::proto::keys::PublicKey;
use crate::proto::peer::{CarriedPeer, Peer as Core};
use crate::proto::time::Instant;

/// The most bytes of a record: a peer with all that may be staged for it.
pub const MAX_RECORD_LEN: usize = 32 + Core::MAX_CARRIED_LEN + 4 + 5 * MAX_STAGED_PACKETS + MAX_STAGED_BYTES;

/// Counters that are skipped by a process that goes on although another may have begun: more than that one can have used.
const FAR_AHEAD: u64 = 1 << 40;

/// Who can hold a device.
#[derive(Clone)]
pub struct Holder {
    device: Arc<Device>,
    pulse: Arc<Pulse>,
    helpers: usize,
}

impl Threads {
    /// Returns who can hold the device of these threads, as long as they run.
    pub fn holder(&self) -> Holder {
        Holder { device: self.device.clone(), pulse: self.pulse.clone(), helpers: self.helpers }
    }
}

impl Holder {
    /// Has the threads stand and waits until nothing is in flight; `None`, and they go on, if that takes longer than
    /// `patience`.
    pub fn hold(&self, patience: Duration) -> Option<Held<'_>> {
        let device = &*self.device;
        let settings = lock(&device.config);
        let since = device.platform.clock.now();
        self.pulse.hold();
        device.platform.poller.wake();
        device.platform.alarm.wake();
        let is_in_time = || {
            yield_now();
            device.platform.clock.now().since(since) < patience
        };
        while !self.pulse.are_held() {
            if !is_in_time() {
                self.pulse.release();
                return None;
            }
        }
        // It may still send what came of its last step.
        let handshaking = device.pause_handshakes();
        // Batches that were shared before.
        while !device.work.is_idle(self.helpers) {
            if !is_in_time() {
                self.pulse.release();
                return None;
            }
        }
        let parts = Parts { settings, handshaking };
        Some(Held { device, pulse: &self.pulse, since, parts: Some(parts) })
    }
}

/// A device of which nothing moves. Dropped, it goes on.
pub struct Held<'a> {
    device: &'a Device,
    pulse: &'a Pulse,
    since: Instant,
    /// `None` once it is retired.
    parts: Option<Parts<'a>>,
}

struct Parts<'a> {
    settings: MutexGuard<'a, Settings>,
    handshaking: MutexGuard<'a, ()>,
}

impl Held<'_> {
    /// Hands `send` a record of the device, then one of each peer, each at most [`MAX_RECORD_LEN`] long.
    ///
    /// # Errors
    /// Those of `send`.
    pub fn export<E>(&self, mut send: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let Some(parts) = &self.parts else { return Ok(()) };
        let peers = self.device.peers.all();
        let mut out = Writer::new(MAX_RECORD_LEN);
        self.since.write(&mut out);
        CarriedSettings::of(&parts.settings).write(&mut out);
        (self.device.mtu.load(Ordering::Relaxed) as u64).write(&mut out);
        (peers.len() as u32).write(&mut out);
        send(record(&out))?;
        for peer in &peers {
            out.clear();
            write_peer(peer, &mut out);
            send(record(&out))?;
        }
        Ok(())
    }

    /// Returns how many changes of the configuration were applied.
    pub fn changes(&self) -> u64 {
        self.parts.as_ref().map_or(0, |parts| parts.settings.changes())
    }

    /// Takes sockets and sessions from this process: another goes on. The threads stand until they are stopped.
    pub fn retire(mut self) {
        if let Some(Parts { mut settings, handshaking }) = self.parts.take() {
            drop(handshaking);
            self.device.retire(&mut settings);
        }
    }

    /// Goes on although another process may have begun to: no counter that it can have used is used here.
    pub fn release_far_ahead(self) {
        for peer in self.device.peers.all() {
            peer.state().core.skip_counters(FAR_AHEAD);
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.parts.take().is_some() {
            self.pulse.release();
        }
    }
}

fn record(out: &Writer) -> &[u8] {
    out.written().expect("a record is as long as its parts, which are bounded")
}

fn write_peer(peer: &Peer, out: &mut Writer) {
    let state = peer.state();
    peer.public_key.write(out);
    state.core.write(state.initiating, out);
    (state.staged.len() as u32).write(out);
    for packet in state.staged.iter() {
        packet.ds.write(out);
        out.list(&packet.bytes);
    }
}

/// Why a device could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// A record is not what [`Held::export`] writes for this configuration.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The sockets could not be taken over.
    #[error(transparent)]
    Sockets(#[from] ApplyError),
}

/// A device on its way to going on: threads that stand, and records that come.
pub struct Resumption {
    device: Arc<Device>,
    context: Context,
    now: Instant,
    held_since: Instant,
    is_up: bool,
    /// Peers of which no record has come.
    missing: usize,
}

impl Resumption {
    /// Begins with the record of the device. `device` is down and has the configuration of the one that was written; its
    /// threads, if any, stand.
    ///
    /// # Errors
    /// [`ResumeError`]; the device is of no use then.
    pub fn begin(device: &Arc<Device>, record: &[u8]) -> Result<Self, ResumeError> {
        let mut input = Reader::new(record);
        let held_since = Instant::read(&mut input)?;
        let settings = CarriedSettings::read(&mut input)?;
        let (mtu, peers) = (u64::read(&mut input)?, u32::read(&mut input)? as usize);
        input.end()?;
        let now = device.platform.clock.now();
        if peers != device.peers.len() || held_since > now {
            return Err(Malformed.into());
        }
        device.set_mtu(usize::try_from(mtu).map_err(|_| Malformed)?);
        let is_up = settings.up;
        device.resume_sockets(settings)?;
        let context = Context::new(device);
        Ok(Self { device: device.clone(), context, now, held_since, is_up, missing: peers })
    }

    /// Lets a peer know what the record says. Peers come in any order, each once.
    ///
    /// # Errors
    /// [`ResumeError`]; the device is of no use then.
    pub fn peer(&mut self, record: &[u8]) -> Result<(), ResumeError> {
        let mut input = Reader::new(record);
        let peer = self.device.peers.lookup(&PublicKey::read(&mut input)?).ok_or(Malformed)?;
        let mut carried = CarriedPeer::read(self.now, &mut input)?;
        let staged = read_staged(&mut input)?;
        input.end()?;
        self.missing = self.missing.checked_sub(1).ok_or(Malformed)?;
        for index in carried.indices() {
            // Taken already: the record came twice, or is of nobody's making.
            if !write(&self.device.indices).insert_at(index, IndexEntry::Handshake(peer.clone())) {
                return Err(Malformed.into());
            }
        }
        let mut state = peer.state();
        if state.core.is_up() {
            return Err(Malformed.into());
        }
        state.core.resume(carried, self.is_up);
        for packet in staged {
            state.staged.push(packet);
        }
        self.device.settle(&mut self.context, &peer, state);
        Ok(())
    }

    /// Makes sure that no record is missing. Nothing has been sent so far.
    ///
    /// # Errors
    /// [`ResumeError`] if one is.
    pub fn finish(self) -> Result<Resumed, ResumeError> {
        if self.missing > 0 {
            return Err(Malformed.into());
        }
        Ok(Resumed { device: self.device, context: self.context, held_since: self.held_since })
    }
}

/// A device that knows all, and whose threads stand.
pub struct Resumed {
    device: Arc<Device>,
    context: Context,
    held_since: Instant,
}

impl Resumed {
    /// Lets the threads go on; returns for how long nothing moved. From here on it sends: the process before must have
    /// said that it does not.
    pub fn go_on(mut self, threads: &Threads) -> Duration {
        threads.release();
        let pause = self.device.platform.clock.now().since(self.held_since);
        for peer in self.device.peers.all() {
            self.device.flush(&mut self.context, &peer);
        }
        pause
    }
}

fn read_staged(input: &mut Reader<'_>) -> Result<Vec<StagedPacket>, Malformed> {
    let count = u32::read(input)? as usize;
    if count > MAX_STAGED_PACKETS {
        return Err(Malformed);
    }
    (0..count).map(|_| Ok(StagedPacket { ds: u8::read(input)?, bytes: input.list(MAX_STAGED_BYTES)?.into() })).collect()
}
