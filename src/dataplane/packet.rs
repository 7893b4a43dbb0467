//! Batches of packets between a read and a write, and the pool their buffers come from.
//!
//! Outbound, small packets of one read burst lie close together in one arena ([`TunBatch`]), because a buffer of 64 KiB
//! for each would waste the cache. Inbound, every UDP message has a buffer of its own ([`Buffer`]), because it is
//! opened in place and may be handed to another thread.

use std::sync::Mutex;

use super::offload::Offload;
use crate::proto::endpoint::Endpoint;

/// The longest packet a TUN gives and the longest datagram UDP carries, in bytes.
pub const MAX_PACKET_LEN: usize = 65_535;
/// Bytes an OS may put before a packet, in the same read: to read them apart costs a seventh of a small packet's read.
pub const HEADROOM: usize = 16;
/// Packets read from the TUN before they are sent on.
pub const MAX_TUN_BATCH: usize = 128;
/// Buffers of a device: 18 MiB if all were ever in use at once; a tunnel under load on two cores was seen to use a few
/// dozen.
pub(super) const MAX_BUFFERS: usize = 256;
/// UDP messages received before they are handed on; each may hold a train.
pub const MAX_UDP_BATCH: usize = 16;

/// Packets read from the TUN in one burst, back to back in one arena.
pub struct TunBatch {
    arena: Box<[u8]>,
    used: usize,
    packets: Vec<TunPacket>,
}

/// One packet in a [`TunBatch`].
#[derive(Clone, Copy, Debug)]
pub struct TunPacket {
    start: u32,
    len: u32,
    /// What the TUN said of it.
    pub offload: Offload,
}

impl TunBatch {
    /// Makes an empty batch with room for two of the largest packets.
    pub fn new() -> Self {
        Self { arena: vec![0; 2 * SPACE_LEN].into_boxed_slice(), used: 0, packets: Vec::with_capacity(MAX_TUN_BATCH) }
    }

    /// Returns room for one more packet of any size, with [`HEADROOM`] before it; `None` if the batch is full.
    pub fn space(&mut self) -> Option<&mut [u8]> {
        if self.is_full() { None } else { Some(&mut self.arena[self.used..]) }
    }

    /// Takes the first `len` bytes of the last [`TunBatch::space`] as a packet.
    pub fn push(&mut self, len: usize, offload: Offload) {
        self.push_after(0, len, offload);
    }

    /// Takes `len` bytes of the last [`TunBatch::space`] as a packet, after `skip` bytes that are none of it.
    pub fn push_after(&mut self, skip: usize, len: usize, offload: Offload) {
        let start = self.used + skip;
        self.packets.push(TunPacket { start: start as u32, len: len as u32, offload });
        self.used = start + len;
    }

    /// Returns the packets.
    pub fn packets(&self) -> &[TunPacket] {
        &self.packets
    }

    /// Returns the bytes of `packet`, from its IP header.
    pub fn bytes(&self, packet: TunPacket) -> &[u8] {
        &self.arena[packet.start as usize..][..packet.len as usize]
    }

    /// Tells whether it was filled: more may be waiting.
    pub fn is_full(&self) -> bool {
        self.packets.len() == MAX_TUN_BATCH || self.arena.len() - self.used < SPACE_LEN
    }

    /// Tells whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Returns the bytes of all packets, and of what came before each.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Forgets the packets; the room stays.
    pub fn clear(&mut self) {
        self.used = 0;
        self.packets.clear();
    }
}

impl Default for TunBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// Room for one UDP message or one train of them.
pub struct Buffer(Box<[u8]>);

impl Buffer {
    fn new() -> Self {
        Self(vec![0; BUFFER_LEN].into_boxed_slice())
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// A received UDP message: one datagram, or a train of equal ones that the kernel merged.
pub struct UdpMessage {
    /// The bytes; only the first `len` are the message.
    pub buffer: Buffer,
    /// Bytes received.
    pub len: usize,
    /// Bytes of each datagram; the last may be shorter. `len` for a single one.
    pub segment_len: usize,
    /// Sender, and the local address and interface it arrived on.
    pub from: Endpoint,
    /// The two ECN bits of the outer header.
    pub ecn: u8,
}

/// UDP messages received in one burst.
#[derive(Default)]
pub struct UdpBatch {
    free: Vec<Buffer>,
    messages: Vec<UdpMessage>,
}

impl UdpBatch {
    /// Makes an empty batch.
    pub fn new() -> Self {
        Self { free: Vec::with_capacity(MAX_UDP_BATCH), messages: Vec::with_capacity(MAX_UDP_BATCH) }
    }

    /// Tops the free buffers up from `pool`; fewer if the pool is exhausted.
    pub fn refill(&mut self, pool: &Pool) {
        pool.take(MAX_UDP_BATCH, &mut self.free);
    }

    /// Gives the free buffers back to `pool`: the batch is used no more.
    pub fn give_back(&mut self, pool: &Pool) {
        pool.put(self.free.drain(..));
    }

    /// Returns the free buffers, to be filled from the end of the slice backwards by [`UdpBatch::push`].
    pub fn free(&mut self) -> &mut [Buffer] {
        &mut self.free
    }

    /// Turns the last free buffer into a message.
    ///
    /// # Panics
    /// If there is no free buffer: the caller received into one.
    pub fn push(&mut self, len: usize, segment_len: usize, from: Endpoint, ecn: u8) {
        let buffer = self.free.pop().expect("the message was received into a free buffer");
        self.messages.push(UdpMessage { buffer, len, segment_len, from, ecn });
    }

    /// Keeps the last free buffer from becoming the next message: what was received into it is of no use. It stays free.
    pub fn discard(&mut self) {
        if !self.free.is_empty() {
            self.free.rotate_right(1);
        }
    }

    /// Takes the messages out, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = UdpMessage> + '_ {
        self.messages.drain(..)
    }

    /// Tells whether every buffer was filled: more may be waiting.
    pub fn is_full(&self) -> bool {
        self.free.is_empty() && !self.messages.is_empty()
    }

    /// Returns the bytes of all messages.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.len).sum()
    }

    /// Tells whether nothing was received.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

/// The bounded stock of [`Buffer`]s of one device.
///
/// # Locking
/// One mutex, held for a few moves per batch; no other lock is taken under it.
pub struct Pool {
    stock: Mutex<Stock>,
    limit: usize,
}

struct Stock {
    idle: Vec<Buffer>,
    made: usize,
}

impl Pool {
    /// Makes a pool that will own at most `limit` buffers. They are made when first needed.
    pub fn new(limit: usize) -> Self {
        Self { stock: Mutex::new(Stock { idle: Vec::with_capacity(limit), made: 0 }), limit }
    }

    /// Moves buffers into `to` until it holds `count`, fewer if the pool is exhausted.
    pub fn take(&self, count: usize, to: &mut Vec<Buffer>) {
        if to.len() >= count {
            return;
        }
        let mut stock = self.stock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while to.len() < count {
            if let Some(buffer) = stock.idle.pop() {
                to.push(buffer);
            } else if stock.made < self.limit {
                stock.made += 1;
                to.push(Buffer::new());
            } else {
                return;
            }
        }
    }

    /// Returns how many buffers are out of the pool.
    pub fn lent(&self) -> usize {
        let stock = self.stock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        stock.made - stock.idle.len()
    }

    /// Takes the buffers of `from` back.
    pub fn put(&self, from: impl IntoIterator<Item = Buffer>) {
        let mut stock = self.stock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        stock.idle.extend(from);
    }

    /// Returns how many buffers were made, and how many of them nobody uses.
    pub fn count(&self) -> (usize, usize) {
        let stock = self.stock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (stock.made, stock.idle.len())
    }
}

const SPACE_LEN: usize = HEADROOM + MAX_PACKET_LEN;

/// A train of 64 KiB payload in segments of the default MTU, with 32 bytes added to each and headers rebuilt.
const BUFFER_LEN: usize = 72 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_never_owns_more_than_its_limit() {
        let pool = Pool::new(3);
        let mut buffers = Vec::new();
        pool.take(8, &mut buffers);
        assert_eq!((buffers.len(), pool.lent()), (3, 3));
        pool.put(buffers.drain(..2));
        assert_eq!(pool.lent(), 1);
        pool.take(8, &mut buffers);
        assert_eq!(buffers.len(), 3);
    }

    #[test]
    fn a_discarded_buffer_is_not_the_next_message_and_stays_free() {
        let pool = Pool::new(3);
        let mut batch = UdpBatch::new();
        batch.refill(&pool);
        for (n, buffer) in batch.free().iter_mut().rev().enumerate() {
            buffer[0] = n as u8;
        }
        let from = Endpoint::configured("192.0.2.1:1".parse().unwrap());
        batch.discard();
        batch.push(1, 1, from, 0);
        batch.push(1, 1, from, 0);
        assert_eq!(batch.drain().map(|message| message.buffer[0]).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(batch.free().len(), 1);
        UdpBatch::new().discard();
    }

    #[test]
    fn a_batch_has_room_for_a_largest_packet_or_is_full() {
        let mut batch = TunBatch::new();
        let mut count = 0;
        while let Some(space) = batch.space() {
            assert!(space.len() >= HEADROOM + MAX_PACKET_LEN);
            batch.push(1000, Offload::default());
            count += 1;
        }
        assert_eq!(count, 66);
        assert_eq!(batch.packets().len(), count);
        batch.clear();
        assert!(batch.is_empty() && batch.space().is_some());
    }
}
