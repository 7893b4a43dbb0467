//! mac1, mac2 and cookies, in both roles.
//!
//! ```text
//! message from us:   ... | mac1 = MAC(HASH("mac1----" | recipient's public key), ...)
//!                        | mac2 = MAC(cookie, ... | mac1), or zero
//! cookie reply:      nonce | XAEAD(HASH("cookie--" | refuser's public key), nonce, cookie, associated = mac1)
//! cookie:            MAC(secret of the refuser, source address | source port)
//! ```
//!
//! mac1 shows that the sender knows our public key; mac2 that it receives what is sent to its address.
//!
//! Not here: when a mac2 is demanded (see the handshake workers), token buckets (see `ratelimiter`).
//!
//! Source: whitepaper sections 5.3 and 5.4.4 to 5.4.7; kernel `cookie.c`.

use std::net::{IpAddr, SocketAddr};

use rand::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::constants::{COOKIE_SECRET_MAX_AGE, COOKIE_USABLE_FOR};
use super::crypto::blake2s::{self, MAC_LEN};
use super::crypto::xaead;
use super::keys::PublicKey;
use super::messages::{self, COOKIE_REPLY_LEN};
use super::time::Instant;

/// Our side as recipient of handshake messages: checks mac1 and mac2, makes cookie replies.
///
/// One per device and private key; who shares it between threads puts the lock around it.
pub struct CookieChecker {
    mac1_key: [u8; 32],
    cookie_key: [u8; 32],
    /// What our cookies are made with, and since when. There is one secret only: a cookie made with the one before is
    /// worth nothing, and its owner gets a new cookie.
    secret: Option<(Zeroizing<[u8; 32]>, Instant)>,
}

impl CookieChecker {
    /// Makes the checker of a device whose static public key is `public_key`.
    pub fn new(public_key: &PublicKey) -> Self {
        Self { mac1_key: mac1_key(public_key), cookie_key: cookie_key(public_key), secret: None }
    }

    /// Tells whether mac1 of an initiation or response is right. Constant time.
    pub fn mac1_is_valid(&self, message: &[u8]) -> bool {
        split_mac1(message).is_some_and(|(covered, mac1)| blake2s::mac(&self.mac1_key, covered).ct_eq(mac1).into())
    }

    /// Tells whether mac2 was made with the cookie that is current for `src`. Constant time.
    pub fn mac2_is_valid(&mut self, now: Instant, rng: &mut impl CryptoRng, message: &[u8], src: SocketAddr) -> bool {
        let Some((covered, mac2)) = message.split_last_chunk::<MAC_LEN>() else { return false };
        let cookie = self.cookie(now, rng, src);
        blake2s::mac(&*cookie, covered).ct_eq(mac2).into()
    }

    /// Makes the cookie reply that refuses `message` (an initiation or response with valid mac1) from `src`.
    ///
    /// # Panics
    /// If `message` is too short to be an initiation or response.
    pub fn reply(
        &mut self,
        now: Instant,
        rng: &mut impl CryptoRng,
        message: &[u8],
        src: SocketAddr,
    ) -> [u8; COOKIE_REPLY_LEN] {
        let (_, mac1) = split_mac1(message).expect("an initiation or response ends with two MACs");
        let cookie = self.cookie(now, rng, src);
        let mut nonce = [0; xaead::NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let mut sealed = [0; 32];
        sealed[..MAC_LEN].copy_from_slice(&*cookie);
        let tag = xaead::seal(&self.cookie_key, &nonce, mac1, &mut sealed[..MAC_LEN]);
        sealed[MAC_LEN..].copy_from_slice(&tag);
        messages::cookie_reply(messages::sender_index(message), &nonce, &sealed)
    }

    /// Makes the cookie of `src`, with a new secret if there is none or it is 120 s old.
    fn cookie(&mut self, now: Instant, rng: &mut impl CryptoRng, src: SocketAddr) -> Cookie {
        let current = self.secret.take().filter(|(_, birth)| now.since(*birth) < COOKIE_SECRET_MAX_AGE);
        let (secret, _) = self.secret.insert(current.unwrap_or_else(|| {
            let mut secret = Zeroizing::new([0; 32]);
            rng.fill_bytes(&mut *secret);
            (secret, now)
        }));
        let mut source = [0; 18];
        let address_len = match src.ip().to_canonical() {
            IpAddr::V4(address) => {
                source[..4].copy_from_slice(&address.octets());
                4
            }
            IpAddr::V6(address) => {
                source[..16].copy_from_slice(&address.octets());
                16
            }
        };
        // With the port: behind one address there may be many, who must not use each other's cookies.
        source[address_len..][..2].copy_from_slice(&src.port().to_be_bytes());
        Zeroizing::new(blake2s::mac(&**secret, &source[..address_len + 2]))
    }
}

/// Our side as sender to one peer: adds mac1 and mac2, consumes cookie replies. Lives in the peer.
pub struct CookieJar {
    mac1_key: [u8; 32],
    cookie_key: [u8; 32],
    /// The cookie the peer gave us, and when.
    cookie: Option<(Cookie, Instant)>,
    /// mac1 of the last message to the peer, until a cookie reply was accepted for it.
    last_mac1: Option<[u8; MAC_LEN]>,
}

impl CookieJar {
    /// Makes the jar for messages to `peer`.
    pub fn new(peer: &PublicKey) -> Self {
        Self { mac1_key: mac1_key(peer), cookie_key: cookie_key(peer), cookie: None, last_mac1: None }
    }

    /// Fills in the last 32 bytes of an initiation or response and remembers its mac1.
    ///
    /// mac2 is zero unless the peer gave us a cookie less than 115 s ago.
    ///
    /// # Panics
    /// If `message` is too short to be an initiation or response.
    pub fn add_macs(&mut self, now: Instant, message: &mut [u8]) {
        let len = message.len();
        let (mac1_at, mac2_at) = len
            .checked_sub(MAC_LEN)
            .and_then(|mac2| Some((mac2.checked_sub(MAC_LEN)?, mac2)))
            .expect("an initiation or response ends with two MACs");
        let mac1 = blake2s::mac(&self.mac1_key, &message[..mac1_at]);
        message[mac1_at..mac2_at].copy_from_slice(&mac1);
        self.last_mac1 = Some(mac1);

        self.cookie.take_if(|(_, received)| now.since(*received) >= COOKIE_USABLE_FOR);
        let mac2 = match &self.cookie {
            Some((cookie, _)) => blake2s::mac(&**cookie, &message[..mac2_at]),
            None => [0; MAC_LEN],
        };
        message[mac2_at..].copy_from_slice(&mac2);
    }

    /// Takes the cookie out of a cookie reply; false (and nothing changes) if it is not for our last mac1.
    ///
    /// Only the first reply to a message counts, as with the kernel: a replay of it is ignored.
    pub fn consume_reply(&mut self, now: Instant, reply: &[u8; COOKIE_REPLY_LEN]) -> bool {
        let Some(mac1) = &self.last_mac1 else { return false };
        let (nonce, sealed) = messages::cookie_reply_body(reply);
        let (text, tag) = sealed.split_at(MAC_LEN);
        let mut cookie = Zeroizing::new([0; MAC_LEN]);
        cookie.copy_from_slice(text);
        let tag = tag.try_into().expect("the body of a cookie reply is 32 bytes long");
        if xaead::open(&self.cookie_key, nonce, mac1, &mut *cookie, tag).is_err() {
            return false;
        }
        self.cookie = Some((cookie, now));
        self.last_mac1 = None;
        true
    }
}

/// Lets its owner send mac2 from one address and port; wiped on drop.
type Cookie = Zeroizing<[u8; MAC_LEN]>;

/// Splits an initiation or response into what mac1 covers, and mac1.
fn split_mac1(message: &[u8]) -> Option<(&[u8], &[u8; MAC_LEN])> {
    let (rest, _) = message.split_last_chunk::<MAC_LEN>()?;
    rest.split_last_chunk()
}

fn mac1_key(recipient: &PublicKey) -> [u8; 32] {
    blake2s::hash(&[LABEL_MAC1, recipient.as_bytes()])
}

fn cookie_key(refuser: &PublicKey) -> [u8; 32] {
    blake2s::hash(&[LABEL_COOKIE, refuser.as_bytes()])
}

const LABEL_MAC1: &[u8; 8] = b"mac1----";
const LABEL_COOKIE: &[u8; 8] = b"cookie--";

#[cfg(test)]
mod tests;
