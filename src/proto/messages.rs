//! The four messages on the wire, as types that are already length- and type-checked.
//!
//! SKELETON: helper fills in (layout docs, builders, tests with the vectors).

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
pub fn parse(datagram: &[u8]) -> Option<Message<'_>> {
    let _ = datagram;
    unimplemented!()
}

/// Writes the header of a transport message into `header[..16]`.
pub fn write_data_header(header: &mut [u8; DATA_HEADER_LEN], receiver: Index, counter: u64) {
    let _ = (header, receiver, counter);
    unimplemented!()
}

/// The sender index of an initiation or response (bytes 4..8).
pub fn sender_index(message: &[u8]) -> Index {
    let _ = message;
    unimplemented!()
}

/// The receiver index of a response (bytes 8..12).
pub fn response_receiver(message: &[u8; RESPONSE_LEN]) -> Index {
    let _ = message;
    unimplemented!()
}

/// The receiver index of a cookie reply (bytes 4..8).
pub fn cookie_reply_receiver(message: &[u8; COOKIE_REPLY_LEN]) -> Index {
    let _ = message;
    unimplemented!()
}
