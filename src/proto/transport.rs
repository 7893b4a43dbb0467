//! Transport data: sealing and opening single messages, padding.
//!
//! ```text
//! 0        4                8         16               16 + padded   32 + padded
//! | type 4 | receiver index | counter | packet | zeros | tag          |
//! ```
//!
//! Pure functions on a keypair and bytes: any thread may run them, in any order.
//!
//! Not here: which counter, whether the keypair may still be used, the replay check (see `peer`).
//!
//! Source: whitepaper section 5.4.6; padding as the kernel's `send.c`.

use super::constants::PADDING_MULTIPLE;
use super::crypto::{BadTag, PacketAead, TAG_LEN};
use super::keypair::Keypair;
use super::messages;
pub use super::messages::DATA_HEADER_LEN as HEADER_LEN;

/// Bytes a transport message adds to its padded plaintext: header 16, tag 16.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

/// Returns the length of a packet of `len` bytes after padding: to a multiple of 16, not beyond `mtu`.
///
/// A packet above the MTU (the MTU was just lowered) is padded as if its last `len % mtu` bytes were a packet. An `mtu`
/// of 0 is no bound. The receiver ignores how much padding there is and what is in it.
pub fn padded_len(len: usize, mtu: usize) -> usize {
    let last = if len > mtu { len.checked_rem(mtu).unwrap_or(len) } else { len };
    let padded = last.checked_next_multiple_of(PADDING_MULTIPLE).unwrap_or(last);
    let padded = if mtu == 0 { padded } else { padded.min(mtu) };
    len.saturating_add(padded - last)
}

/// Makes `message` (header 16, padded plaintext, 16 spare bytes) a transport message: writes header, seals, adds tag.
///
/// # Panics
/// If `message` is shorter than [`OVERHEAD`]: to return would be to send plaintext.
pub fn seal(keypair: &Keypair, counter: u64, message: &mut [u8]) {
    let (header, rest) = message.split_first_chunk_mut().expect("a message begins with room for the header");
    let (text, tag) = rest.split_last_chunk_mut::<TAG_LEN>().expect("a message ends with room for the tag");
    messages::write_data_header(header, keypair.remote, counter);
    *tag = keypair.sender.seal(counter, text);
}

/// The most messages of [`seal_batch`] and [`open_batch`].
pub const MAX_BATCH: usize = crate::aead::MAX_BATCH;

/// Does with each message what [`seal`] does, under `first_counter` and those after it.
///
/// # Panics
/// If there are more than [`MAX_BATCH`] messages, or one is shorter than [`OVERHEAD`].
pub fn seal_batch<'a>(keypair: &Keypair, first_counter: u64, messages: impl IntoIterator<Item = &'a mut [u8]>) {
    let mut packets: [&mut [u8]; MAX_BATCH] = std::array::from_fn(|_| &mut [][..]);
    let mut count = 0;
    for (message, counter) in messages.into_iter().zip(first_counter..) {
        let (header, packet) = message.split_first_chunk_mut().expect("a message begins with room for the header");
        messages::write_data_header(header, keypair.remote, counter);
        packets[count] = packet;
        count += 1;
    }
    keypair.sender.seal_batch(first_counter, &mut packets[..count]);
}

/// Does with each message, given with its counter, what [`open`] does; `results[i]` is what that returns for message
/// `i`. Returns how many messages there were.
///
/// # Panics
/// If there are more than [`MAX_BATCH`] messages.
pub fn open_batch<'a>(
    keypair: &Keypair,
    messages: impl IntoIterator<Item = (u64, &'a mut [u8])>,
    results: &mut [Result<usize, BadTag>; MAX_BATCH],
) -> usize {
    let mut packets: [&mut [u8]; MAX_BATCH] = std::array::from_fn(|_| &mut [][..]);
    let mut counters = [0; MAX_BATCH];
    let mut count = 0;
    for (counter, message) in messages {
        // What is too short for a header is nothing, and opens as such: not at all.
        packets[count] = message.split_at_mut_checked(HEADER_LEN).map_or(&mut [], |(_, packet)| packet);
        counters[count] = counter;
        count += 1;
    }
    keypair.receiver.open_batch(&counters[..count], &mut packets[..count], &mut results[..count]);
    count
}

/// Opens a whole transport message in place; the plaintext is `message[16..16 + returned]`. Pure: no replay check.
///
/// `counter` is the one in the header, as [`messages::parse`] returned it.
///
/// # Errors
/// [`BadTag`], also for what is too short to be a transport message.
pub fn open(keypair: &Keypair, counter: u64, message: &mut [u8]) -> Result<usize, BadTag> {
    let (_, packet) = message.split_at_mut_checked(HEADER_LEN).ok_or(BadTag)?;
    keypair.receiver.open(counter, packet)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::index::Index;
    use super::super::keypair::{Role, SessionKeys};
    use super::super::keys::SessionKey;
    use super::super::time::Instant;
    use super::super::vectors::{array, bytes};
    use super::*;

    /// The session of the vectors, as its initiator and its responder have it.
    fn sessions() -> (Keypair, Keypair) {
        let to_responder =
            || SessionKey::new(array("a007faf842d83f5bd3be20a14e0ffcec34c84867b78b051980602713205922de"));
        let to_initiator =
            || SessionKey::new(array("d982d5cd10d34a7802b6c19fa441cd9164d70e4f4d62007ab416879ee8bd1b99"));
        let (initiator, responder) = (Index(0x0102_0304), Index(0x0a0b_0c0d));
        let now = Instant::default();
        let ours = SessionKeys {
            role: Role::Initiator,
            send: to_responder(),
            receive: to_initiator(),
            local: initiator,
            remote: responder,
        };
        let theirs = SessionKeys {
            role: Role::Responder,
            send: to_initiator(),
            receive: to_responder(),
            local: responder,
            remote: initiator,
        };
        (Keypair::new(&ours, now), Keypair::new(&theirs, now))
    }

    #[test]
    fn padding_is_to_16_but_not_beyond_the_mtu() {
        for (len, padded) in [(28, 32), (84, 96), (1416, 1420), (1420, 1420), (0, 0)] {
            assert_eq!(padded_len(len, 1420), padded, "{len}");
        }
        assert_eq!(padded_len(1299, 1299), 1299);
        assert_eq!(padded_len(1500, 1420), 1500, "its last 80 bytes are a multiple of 16");
        assert_eq!(padded_len(1421, 1420), 1436);
        assert_eq!(padded_len(1417, 0), 1424);
        assert_eq!(padded_len(0, 0), 0);
    }

    /// Every length and MTU against a search for the answer: the least multiple of 16 that is no less, or the MTU if that
    /// comes first; of a packet above the MTU, for what is beyond whole MTUs.
    #[test]
    fn every_packet_is_padded_as_a_search_finds() {
        for mtu in (0..=300).chain([576, 1_280, 1_420, 1_500]) {
            for len in 0..=1_700 {
                let whole = if mtu > 0 && len > mtu { len - len % mtu } else { 0 };
                let last = len - whole;
                let ends = |padded: &usize| padded.is_multiple_of(16) || *padded == mtu;
                let expected = whole + (last..).find(ends).expect("one of any 16");
                assert_eq!(padded_len(len, mtu), expected, "{len} bytes, MTU {mtu}");
            }
        }
    }

    #[test]
    fn a_keepalive_and_a_data_message_are_those_of_the_vectors() {
        let (initiator, responder) = sessions();
        let mut keepalive = [0xee; OVERHEAD];
        seal(&initiator, 0, &mut keepalive);
        assert_eq!(keepalive, array("040000000d0c0b0a0000000000000000f1bce9fd9651b3f6b50c00179cbd1e01"));
        assert_eq!(open(&responder, 0, &mut keepalive), Ok(0));

        let inner = bytes("4500001c00000000400166df0a0000010a0000020800f7ff00000000");
        let mut message = vec![0; padded_len(inner.len(), 1420) + OVERHEAD];
        message[16..][..inner.len()].copy_from_slice(&inner);
        seal(&responder, 5, &mut message);
        let expected = bytes(concat!(
            "0400000004030201050000000000000086355a943254dcfe2d21e43cc3d560f505d36acb4b4e2f3f0621822088582cdb",
            "24c2322d28931a60381511eaad02db89"
        ));
        assert_eq!(message, expected);
        assert_eq!(open(&initiator, 5, &mut message), Ok(32));
        assert_eq!(message[16..][..inner.len()], inner);
    }

    #[test]
    fn a_message_opens_only_whole_and_under_its_own_counter() {
        let (initiator, responder) = sessions();
        let mut message = [0x11; 80];
        seal(&initiator, 7, &mut message);
        assert_eq!(open(&responder, 8, &mut { message }), Err(BadTag));
        assert_eq!(open(&initiator, 7, &mut { message }), Err(BadTag), "the key of the other direction");
        for len in 0..message.len() {
            let mut short = message;
            assert_eq!(open(&responder, 7, &mut short[..len]), Err(BadTag), "length {len}");
        }
        for byte in 16..message.len() {
            let mut forged = message;
            forged[byte] ^= 1;
            assert_eq!(open(&responder, 7, &mut forged), Err(BadTag), "byte {byte}");
        }
        assert_eq!(open(&responder, 7, &mut message), Ok(48));
    }

    #[test]
    fn a_batch_is_its_messages_and_a_forged_one_hurts_no_other() {
        let (initiator, responder) = sessions();
        let mut batch: Vec<Vec<u8>> = (0..MAX_BATCH).map(|n| vec![n as u8; OVERHEAD + 100 * n]).collect();
        let mut single = batch.clone();
        seal_batch(&initiator, 40, batch.iter_mut().map(Vec::as_mut_slice));
        single.iter_mut().zip(40..).for_each(|(message, counter)| seal(&initiator, counter, message));
        assert!(batch == single);

        batch[3][20] ^= 1;
        batch[5].truncate(HEADER_LEN - 1);
        let mut results = [Ok(0); MAX_BATCH];
        let count = open_batch(&responder, (40..).zip(batch.iter_mut().map(Vec::as_mut_slice)), &mut results);
        assert_eq!(count, MAX_BATCH);
        for (n, (message, result)) in batch.iter().zip(results).enumerate() {
            assert_eq!(result, if n == 3 || n == 5 { Err(BadTag) } else { Ok(100 * n) });
            assert!(result.is_err() || message[HEADER_LEN..][..100 * n].iter().all(|byte| *byte == n as u8));
        }
        assert_eq!(open_batch(&responder, [], &mut results), 0);
    }

    proptest! {
        #[test]
        fn padding_never_exceeds_the_mtu_unless_the_packet_does(len in 0_usize..70_000, mtu in 0_usize..70_000) {
            let padded = padded_len(len, mtu);
            prop_assert!(padded >= len && padded - len < PADDING_MULTIPLE);
            if mtu > 0 && len <= mtu {
                prop_assert!(padded <= mtu);
                prop_assert!(padded.is_multiple_of(PADDING_MULTIPLE) || padded == mtu);
            }
        }
    }
}
