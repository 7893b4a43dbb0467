//! An interface whose host is the test: what the test injects the device reads, what the device writes the test takes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::sync::{Signal, lock, wait_until};
use crate::dataplane::gro::Classes;
use crate::dataplane::io::Tun;
use crate::dataplane::offload::Offload;
use crate::dataplane::packet::TunBatch;

/// Looks at every write before it happens; it may take its time.
pub type Watcher = Box<dyn FnMut(&[u8]) + Send>;

/// A TUN in memory.
///
/// # Locking
/// The watcher's mutex is held while it runs, and released before the state's is taken. Under that, no lock is taken.
pub struct FakeTun {
    signal: Arc<Signal>,
    watcher: Mutex<Option<Watcher>>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    inbox: VecDeque<(Vec<u8>, Offload)>,
    written: Vec<Written>,
    classes: Classes,
    refuse_merged: Option<i32>,
    refuse_writes: Option<i32>,
    refused: usize,
    gone: bool,
}

/// One write of the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The packet, put together from its parts.
    pub bytes: Vec<u8>,
    /// What the device said of it.
    pub offload: Offload,
}

impl FakeTun {
    pub(super) fn new(signal: Arc<Signal>) -> Self {
        let state = State {
            inbox: VecDeque::new(),
            written: Vec::new(),
            classes: Classes { tcp4: true, tcp6: true, udp4: true, udp6: true },
            refuse_merged: None,
            refuse_writes: None,
            refused: 0,
            gone: false,
        };
        Self { signal, watcher: Mutex::new(None), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Has the device read `packet`.
    pub fn inject(&self, packet: &[u8]) {
        self.inject_offloaded(packet, Offload::default());
    }

    /// Has the device read `packet` with `offload`: a super-packet, or one whose checksum is left to be finished.
    pub fn inject_offloaded(&self, packet: &[u8], offload: Offload) {
        lock(&self.state).inbox.push_back((packet.to_vec(), offload));
        self.signal.raise();
    }

    /// Has the device read all of `packets` in one burst.
    pub fn inject_all<'a>(&self, packets: impl IntoIterator<Item = &'a [u8]>) {
        lock(&self.state).inbox.extend(packets.into_iter().map(|packet| (packet.to_vec(), Offload::default())));
        self.signal.raise();
    }

    /// Takes what the device wrote.
    pub fn take_written(&self) -> Vec<Written> {
        std::mem::take(&mut lock(&self.state).written)
    }

    /// Waits until the device has written at least `count` packets, at most `patience`; takes what there is.
    pub fn wait_written(&self, count: usize, patience: Duration) -> Vec<Written> {
        let mut state = wait_until(lock(&self.state), &self.changed, patience, |state| state.written.len() >= count);
        std::mem::take(&mut state.written)
    }

    /// Waits until the device has written a packet for which `wanted` is true, at most `patience`; takes the first
    /// such one and leaves the others.
    pub fn wait_for(&self, patience: Duration, wanted: impl Fn(&Written) -> bool) -> Option<Written> {
        let mut state =
            wait_until(lock(&self.state), &self.changed, patience, |state| state.written.iter().any(&wanted));
        let place = state.written.iter().position(wanted)?;
        Some(state.written.remove(place))
    }

    /// Waits until the device has read everything injected, at most `patience`; tells whether it has.
    pub fn wait_read(&self, patience: Duration) -> bool {
        wait_until(lock(&self.state), &self.changed, patience, |state| state.inbox.is_empty()).inbox.is_empty()
    }

    /// Has `watcher` look at every write from now on, in the writing thread and before anything is written.
    pub fn set_watcher(&self, watcher: impl FnMut(&[u8]) + Send + 'static) {
        *lock(&self.watcher) = Some(Box::new(watcher));
    }

    /// Refuses merged writes with the given errno from now on (`None`: takes them again), as a kernel may at any time.
    pub fn refuse_merged(&self, errno: Option<i32>) {
        lock(&self.state).refuse_merged = errno;
    }

    /// Refuses all writes with the given errno from now on; `None` takes them again.
    pub fn refuse_writes(&self, errno: Option<i32>) {
        lock(&self.state).refuse_writes = errno;
    }

    /// Returns how many writes were refused.
    pub fn refused(&self) -> usize {
        lock(&self.state).refused
    }

    /// Sets the merges the interface takes when it is opened.
    pub fn set_classes(&self, classes: Classes) {
        lock(&self.state).classes = classes;
    }

    /// The interface goes away, as by `ip link del`.
    pub fn remove(&self) {
        lock(&self.state).gone = true;
        self.changed.notify_all();
        self.signal.raise();
    }

    /// Tells whether a read would return something: a packet, or that the interface is gone.
    pub(super) fn ready(&self) -> bool {
        let state = lock(&self.state);
        state.gone || !state.inbox.is_empty()
    }
}

impl Tun for FakeTun {
    fn read(&self, batch: &mut TunBatch) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.gone {
            return Err(io::ErrorKind::NotFound.into());
        }
        while !state.inbox.is_empty()
            && let Some(space) = batch.space()
            && let Some((packet, offload)) = state.inbox.pop_front()
        {
            space[..packet.len()].copy_from_slice(&packet);
            batch.push(packet.len(), offload);
        }
        self.changed.notify_all();
        Ok(())
    }

    fn write(&self, offload: Offload, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        if let Some(watcher) = lock(&self.watcher).as_mut() {
            watcher(&bytes);
        }
        let mut state = lock(&self.state);
        if state.gone {
            return Err(io::ErrorKind::NotFound.into());
        }
        let merged = state.refuse_merged.filter(|_| offload.segmentation.is_some());
        if let Some(errno) = state.refuse_writes.or(merged) {
            state.refused += 1;
            return Err(io::Error::from_raw_os_error(errno));
        }
        state.written.push(Written { bytes, offload });
        self.changed.notify_all();
        Ok(())
    }

    fn classes(&self) -> Classes {
        lock(&self.state).classes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::offload::Segmentation;

    fn tun() -> FakeTun {
        FakeTun::new(Arc::default())
    }

    #[test]
    fn packets_are_read_in_order_with_their_offload_until_the_batch_is_full() {
        let tun = tun();
        let offload =
            Offload { segmentation: Some(Segmentation::Tcp4), segment_len: 7, header_len: 40, checksum: None };
        tun.inject_offloaded(&[9; 60_000], offload);
        tun.inject_all([[1; 60_000].as_slice(), &[2; 60_000]]);
        let mut batch = TunBatch::new();
        tun.read(&mut batch).unwrap();
        let read: Vec<_> = batch.packets().iter().map(|packet| (batch.bytes(*packet)[0], packet.offload)).collect();
        assert_eq!(read, [(9, offload), (1, Offload::default())]);
        assert!(tun.ready());
        batch.clear();
        tun.read(&mut batch).unwrap();
        assert_eq!(batch.bytes(batch.packets()[0]), [2; 60_000]);
        assert!(!tun.ready() && tun.wait_read(Duration::ZERO));
    }

    #[test]
    fn a_write_is_put_together_from_its_parts() {
        let tun = tun();
        tun.write(Offload::default(), &[IoSlice::new(b"he"), IoSlice::new(b""), IoSlice::new(b"llo")]).unwrap();
        let written = tun.wait_written(1, Duration::ZERO);
        assert_eq!(written, [Written { bytes: b"hello".to_vec(), offload: Offload::default() }]);
        assert!(tun.take_written().is_empty());
    }

    #[test]
    fn a_wanted_packet_is_taken_from_among_others() {
        let tun = tun();
        for bytes in [b"1", b"2", b"3", b"2"] {
            tun.write(Offload::default(), &[IoSlice::new(bytes)]).unwrap();
        }
        assert!(tun.wait_for(Duration::ZERO, |written| written.bytes == b"2").is_some());
        assert!(tun.wait_for(Duration::ZERO, |written| written.bytes == b"4").is_none());
        let left: Vec<_> = tun.take_written().into_iter().map(|written| written.bytes).collect();
        assert_eq!(left, [b"1", b"3", b"2"]);
    }

    #[test]
    fn a_watcher_sees_a_write_before_it_happens() {
        let tun = Arc::new(tun());
        let (seen, same) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&tun));
        let to = Arc::clone(&seen);
        tun.set_watcher(move |bytes| lock(&to).push((bytes.to_vec(), same.take_written().len())));
        tun.write(Offload::default(), &[IoSlice::new(b"a"), IoSlice::new(b"b")]).unwrap();
        assert_eq!(*lock(&seen), [(b"ab".to_vec(), 0)]);
        assert_eq!(tun.take_written().len(), 1);
        *lock(&tun.watcher) = None;
    }

    #[test]
    fn only_merged_writes_are_refused_and_nothing_of_them_is_delivered() {
        let tun = tun();
        let merged = Offload { segmentation: Some(Segmentation::Udp), ..Offload::default() };
        tun.write(merged, &[IoSlice::new(b"a")]).unwrap();
        tun.refuse_merged(Some(libc::EINVAL));
        let refused = tun.write(merged, &[IoSlice::new(b"b")]).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
        tun.write(Offload::default(), &[IoSlice::new(b"c")]).unwrap();
        let bytes: Vec<_> = tun.take_written().into_iter().map(|written| written.bytes).collect();
        assert_eq!(bytes, [b"a", b"c"]);
        assert_eq!(tun.refused(), 1);
    }

    #[test]
    fn a_removed_interface_is_ready_and_says_that_it_is_gone() {
        let tun = tun();
        tun.remove();
        assert!(tun.ready());
        assert_eq!(tun.read(&mut TunBatch::new()).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(tun.write(Offload::default(), &[]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
