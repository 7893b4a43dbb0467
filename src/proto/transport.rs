//! Transport data: sealing and opening single messages, padding. SKELETON: helper fills in (protocol.md 7).

use super::crypto::BadTag;
use super::keypair::Keypair;

/// Bytes of a transport header.
pub const HEADER_LEN: usize = 16;
/// Bytes a transport message adds to its padded plaintext: header 16, tag 16.
pub const OVERHEAD: usize = 32;

/// Returns the length of a packet of `len` bytes after padding: to a multiple of 16, not beyond `mtu` (7.2).
pub fn padded_len(len: usize, mtu: usize) -> usize {
    let _ = (len, mtu);
    unimplemented!()
}

/// Makes `message` (header 16, padded plaintext, 16 spare bytes) a transport message: writes header, seals, adds tag.
pub fn seal(keypair: &Keypair, counter: u64, message: &mut [u8]) {
    let _ = (keypair, counter, message);
    unimplemented!()
}

/// Opens a whole transport message in place; the plaintext is `message[16..16 + returned]`. Pure: no replay check.
pub fn open(keypair: &Keypair, counter: u64, message: &mut [u8]) -> Result<usize, BadTag> {
    let _ = (keypair, counter, message);
    unimplemented!()
}
