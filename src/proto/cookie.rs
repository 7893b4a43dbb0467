//! mac1, mac2 and cookies, in both roles. SKELETON: helper fills in (protocol.md 5).

use std::net::SocketAddr;

use rand::CryptoRng;

use super::keys::PublicKey;
use super::messages::COOKIE_REPLY_LEN;
use super::time::Instant;

/// Our side as recipient of handshake messages: checks mac1 and mac2, makes cookie replies.
pub struct CookieChecker {}

impl CookieChecker {
    /// Makes the checker of a device whose static public key is `public_key`.
    pub fn new(public_key: &PublicKey) -> Self {
        let _ = public_key;
        unimplemented!()
    }

    /// Tells whether mac1 of an initiation or response is right. Constant time.
    pub fn mac1_is_valid(&self, message: &[u8]) -> bool {
        let _ = message;
        unimplemented!()
    }

    /// Tells whether mac2 was made with the cookie that is current for `src`. Constant time.
    pub fn mac2_is_valid(&mut self, now: Instant, rng: &mut impl CryptoRng, message: &[u8], src: SocketAddr) -> bool {
        let _ = (now, rng, message, src);
        unimplemented!()
    }

    /// Makes the cookie reply that refuses `message` (an initiation or response with valid mac1) from `src`.
    pub fn reply(
        &mut self,
        now: Instant,
        rng: &mut impl CryptoRng,
        message: &[u8],
        src: SocketAddr,
    ) -> [u8; COOKIE_REPLY_LEN] {
        let _ = (now, rng, message, src);
        unimplemented!()
    }
}

/// Our side as sender to one peer: adds mac1 and mac2, consumes cookie replies. Lives in the peer.
pub struct CookieJar {}

impl CookieJar {
    /// Makes the jar for messages to `peer`.
    pub fn new(peer: &PublicKey) -> Self {
        let _ = peer;
        unimplemented!()
    }

    /// Fills in the last 32 bytes of an initiation or response and remembers its mac1.
    pub fn add_macs(&mut self, now: Instant, message: &mut [u8]) {
        let _ = (now, message);
        unimplemented!()
    }

    /// Takes the cookie out of a cookie reply; false (and nothing changes) if it is not for our last mac1.
    pub fn consume_reply(&mut self, now: Instant, reply: &[u8; COOKIE_REPLY_LEN]) -> bool {
        let _ = (now, reply);
        unimplemented!()
    }
}
