//! The four messages on the wire, as types that are already length- and type-checked.
//!
//! All integers are little-endian. The first four bytes are one word, the type: a message whose reserved bytes are not
//! zero is no message.
//!
//! ```text
//! initiation (148)            response (92)               cookie reply (64)           transport data (32 or more)
//!   0   4 type = 1              0   4 type = 2              0   4 type = 3              0   4 type = 4
//!   4   4 sender index          4   4 sender index          4   4 receiver index        4   4 receiver index
//!   8  32 ephemeral             8   4 receiver index        8  24 nonce                 8   8 counter
//!  40  48 static, sealed       12  32 ephemeral            32  32 cookie, sealed       16   n packet, padded, sealed
//!  88  28 timestamp, sealed    44  16 nothing, sealed                                n+16  16 tag
//! 116  16 mac1                 60  16 mac1
//! 132  16 mac2                 76  16 mac2
//! ```
//!
//! Not here: what the sealed parts say (see `handshake`, `transport`), the MACs (see `cookie`).
//!
//! Source: whitepaper sections 5.4.2 to 5.4.7.

use super::index::Index;

/// Bytes of a handshake initiation.
pub const INITIATION_LEN: usize = 148;
/// Bytes of a handshake response.
pub const RESPONSE_LEN: usize = 92;
/// Bytes of a cookie reply.
pub const COOKIE_REPLY_LEN: usize = 64;
/// Bytes of a transport header: type, receiver index, counter.
pub const DATA_HEADER_LEN: usize = 16;
/// Bytes of a keepalive, the least transport message.
pub const KEEPALIVE_LEN: usize = 32;
/// Bytes of the Noise message in an initiation: ephemeral, static, timestamp.
pub const INITIATION_NOISE_LEN: usize = 108;
/// Bytes of the Noise message in a response: ephemeral, tag.
pub const RESPONSE_NOISE_LEN: usize = 48;

/// A datagram that passed the size gate. Borrowed: data messages are opened in place by the caller.
#[derive(Debug)]
pub enum Message<'a> {
    /// Type 1.
    Initiation(&'a [u8; INITIATION_LEN]),
    /// Type 2.
    Response(&'a [u8; RESPONSE_LEN]),
    /// Type 3.
    CookieReply(&'a [u8; COOKIE_REPLY_LEN]),
    /// Type 4: receiver index and counter; the ciphertext and tag are bytes 16.. of the datagram.
    Data {
        /// The index the receiver chose.
        receiver: Index,
        /// The counter, which is the nonce.
        counter: u64,
    },
}

/// Checks size and the whole 32-bit type word; anything else is not a message.
///
/// Handshake messages and cookie replies have exactly their size. Transport data have at least the size of a keepalive
/// and any length above: a peer pads up to its MTU only, so lengths that are no multiple of 16 are legitimate.
pub fn parse(datagram: &[u8]) -> Option<Message<'_>> {
    match word(datagram, 0)? {
        TYPE_INITIATION => datagram.try_into().ok().map(Message::Initiation),
        TYPE_RESPONSE => datagram.try_into().ok().map(Message::Response),
        TYPE_COOKIE_REPLY => datagram.try_into().ok().map(Message::CookieReply),
        TYPE_DATA if datagram.len() >= KEEPALIVE_LEN => {
            let (_, rest) = datagram.split_at_checked(COUNTER)?;
            let counter = u64::from_le_bytes(*rest.first_chunk()?);
            Some(Message::Data { receiver: Index(word(datagram, FIRST_INDEX)?), counter })
        }
        _ => None,
    }
}

/// Writes the header of a transport message into `header[..16]`: type, receiver index, counter.
pub fn write_data_header(header: &mut [u8; DATA_HEADER_LEN], receiver: Index, counter: u64) {
    header[..FIRST_INDEX].copy_from_slice(&TYPE_DATA.to_le_bytes());
    header[FIRST_INDEX..COUNTER].copy_from_slice(&receiver.0.to_le_bytes());
    header[COUNTER..].copy_from_slice(&counter.to_le_bytes());
}

/// Builds an initiation from its Noise message; mac1 and mac2 are zero.
pub fn initiation(sender: Index, noise: &[u8; INITIATION_NOISE_LEN]) -> [u8; INITIATION_LEN] {
    let mut message = [0; INITIATION_LEN];
    message[..FIRST_INDEX].copy_from_slice(&TYPE_INITIATION.to_le_bytes());
    message[FIRST_INDEX..INITIATION_NOISE].copy_from_slice(&sender.0.to_le_bytes());
    message[INITIATION_NOISE..][..INITIATION_NOISE_LEN].copy_from_slice(noise);
    message
}

/// Builds a response from its Noise message; mac1 and mac2 are zero.
pub fn response(sender: Index, receiver: Index, noise: &[u8; RESPONSE_NOISE_LEN]) -> [u8; RESPONSE_LEN] {
    let mut message = [0; RESPONSE_LEN];
    message[..FIRST_INDEX].copy_from_slice(&TYPE_RESPONSE.to_le_bytes());
    message[FIRST_INDEX..SECOND_INDEX].copy_from_slice(&sender.0.to_le_bytes());
    message[SECOND_INDEX..RESPONSE_NOISE].copy_from_slice(&receiver.0.to_le_bytes());
    message[RESPONSE_NOISE..][..RESPONSE_NOISE_LEN].copy_from_slice(noise);
    message
}

/// Builds a cookie reply; `sealed` is the encrypted cookie followed by its tag.
pub fn cookie_reply(receiver: Index, nonce: &[u8; 24], sealed: &[u8; 32]) -> [u8; COOKIE_REPLY_LEN] {
    let mut message = [0; COOKIE_REPLY_LEN];
    message[..FIRST_INDEX].copy_from_slice(&TYPE_COOKIE_REPLY.to_le_bytes());
    message[FIRST_INDEX..COOKIE_NONCE].copy_from_slice(&receiver.0.to_le_bytes());
    message[COOKIE_NONCE..COOKIE_SEALED].copy_from_slice(nonce);
    message[COOKIE_SEALED..].copy_from_slice(sealed);
    message
}

/// The sender index of an initiation or response (bytes 4..8).
///
/// # Panics
/// If `message` is shorter than 8 bytes: no initiation or response is.
pub fn sender_index(message: &[u8]) -> Index {
    Index(word(message, FIRST_INDEX).expect("an initiation or response has a sender index"))
}

/// The receiver index of a response (bytes 8..12): the sender index of the initiation it answers.
pub fn response_receiver(response: &[u8; RESPONSE_LEN]) -> Index {
    Index(word(response, SECOND_INDEX).expect("a response is long enough"))
}

/// The receiver index of a cookie reply (bytes 4..8): the sender index of the message it refuses.
pub fn cookie_reply_receiver(reply: &[u8; COOKIE_REPLY_LEN]) -> Index {
    Index(word(reply, FIRST_INDEX).expect("a cookie reply is long enough"))
}

/// The Noise message of an initiation (bytes 8..116).
pub fn initiation_noise(initiation: &[u8; INITIATION_LEN]) -> &[u8; INITIATION_NOISE_LEN] {
    initiation[INITIATION_NOISE..].first_chunk().expect("an initiation is long enough")
}

/// The Noise message of a response (bytes 12..60).
pub fn response_noise(response: &[u8; RESPONSE_LEN]) -> &[u8; RESPONSE_NOISE_LEN] {
    response[RESPONSE_NOISE..].first_chunk().expect("a response is long enough")
}

/// The nonce of a cookie reply (bytes 8..32), and the encrypted cookie followed by its tag (bytes 32..64).
pub fn cookie_reply_body(reply: &[u8; COOKIE_REPLY_LEN]) -> (&[u8; 24], &[u8; 32]) {
    let nonce = reply[COOKIE_NONCE..].first_chunk().expect("a cookie reply is long enough");
    let sealed = reply[COOKIE_SEALED..].first_chunk().expect("a cookie reply is long enough");
    (nonce, sealed)
}

fn word(message: &[u8], offset: usize) -> Option<u32> {
    message.get(offset..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

const TYPE_INITIATION: u32 = 1;
const TYPE_RESPONSE: u32 = 2;
const TYPE_COOKIE_REPLY: u32 = 3;
const TYPE_DATA: u32 = 4;

const FIRST_INDEX: usize = 4;
const SECOND_INDEX: usize = 8;
const COUNTER: usize = 8;
const INITIATION_NOISE: usize = 8;
const RESPONSE_NOISE: usize = 12;
const COOKIE_NONCE: usize = 8;
const COOKIE_SEALED: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn datagram(word: u32, len: usize) -> Vec<u8> {
        let mut datagram = vec![0xee; len];
        let head = len.min(4);
        datagram[..head].copy_from_slice(&word.to_le_bytes()[..head]);
        datagram
    }

    #[test]
    fn only_the_right_length_of_each_type_is_a_message() {
        for len in 0..300 {
            assert_eq!(matches!(parse(&datagram(1, len)), Some(Message::Initiation(_))), len == 148, "{len}");
            assert_eq!(matches!(parse(&datagram(2, len)), Some(Message::Response(_))), len == 92, "{len}");
            assert_eq!(matches!(parse(&datagram(3, len)), Some(Message::CookieReply(_))), len == 64, "{len}");
            assert_eq!(matches!(parse(&datagram(4, len)), Some(Message::Data { .. })), len >= 32, "{len}");
        }
    }

    #[test]
    fn every_type_byte_with_every_length_is_a_message_or_is_not() {
        let mut bytes = vec![0xee; 65_535];
        for kind in 0..=255_u8 {
            bytes[..4].copy_from_slice(&[kind, 0, 0, 0]);
            for len in (0..=2_048).chain([9_000, 65_507, 65_535]) {
                let expected = match kind {
                    1 => len == 148,
                    2 => len == 92,
                    3 => len == 64,
                    4 => len >= 32,
                    _ => false,
                };
                assert_eq!(parse(&bytes[..len]).is_some(), expected, "type {kind}, {len} bytes");
            }
        }
    }

    #[test]
    fn any_bit_in_the_reserved_bytes_makes_it_no_message() {
        for (kind, len) in [(1, 148), (2, 92), (3, 64), (4, 32)] {
            assert!(parse(&datagram(kind, len)).is_some());
            for bit in 3..32 {
                assert!(parse(&datagram(kind | 1 << bit, len)).is_none(), "type {kind}, bit {bit}");
            }
        }
        assert!(parse(&datagram(0, 148)).is_none());
        assert!(parse(&datagram(5, 148)).is_none());
    }

    #[test]
    fn a_data_header_reads_as_it_was_written() {
        let mut message = [0; KEEPALIVE_LEN];
        let header = message.first_chunk_mut().expect("a header fits");
        write_data_header(header, Index(0x0a0b_0c0d), 0x0102_0304_0506_0708);
        assert_eq!(message[..16], [4, 0, 0, 0, 0x0d, 0x0c, 0x0b, 0x0a, 8, 7, 6, 5, 4, 3, 2, 1]);
        let Some(Message::Data { receiver, counter }) = parse(&message) else { panic!("not data") };
        assert_eq!((receiver, counter), (Index(0x0a0b_0c0d), 0x0102_0304_0506_0708));
    }

    #[test]
    fn built_messages_parse_and_give_their_fields_back() {
        let built = initiation(Index(0x0102_0304), &[7; INITIATION_NOISE_LEN]);
        assert!(matches!(parse(&built), Some(Message::Initiation(_))));
        assert_eq!(built[..8], [1, 0, 0, 0, 4, 3, 2, 1]);
        assert_eq!(sender_index(&built), Index(0x0102_0304));
        assert_eq!(initiation_noise(&built), &[7; INITIATION_NOISE_LEN]);
        assert_eq!(built[116..], [0; 32]);

        let built = response(Index(1), Index(2), &[8; RESPONSE_NOISE_LEN]);
        assert!(matches!(parse(&built), Some(Message::Response(_))));
        assert_eq!((sender_index(&built), response_receiver(&built)), (Index(1), Index(2)));
        assert_eq!(response_noise(&built), &[8; RESPONSE_NOISE_LEN]);
        assert_eq!(built[60..], [0; 32]);

        let built = cookie_reply(Index(3), &[9; 24], &[10; 32]);
        assert!(matches!(parse(&built), Some(Message::CookieReply(_))));
        assert_eq!(cookie_reply_receiver(&built), Index(3));
        assert_eq!(cookie_reply_body(&built), (&[9; 24], &[10; 32]));
    }

    proptest! {
        #[test]
        fn parsing_arbitrary_bytes_never_panics(
            kind in 0_u8..6,
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = parse(&bytes);
            if let Some(word) = bytes.first_chunk_mut::<4>() {
                *word = u32::from(kind).to_le_bytes();
            }
            let _ = parse(&bytes);
        }
    }
}
