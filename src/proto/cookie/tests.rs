//! Known answers, and the edges of both roles.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::vectors::{FixedRng, R, array, initiation};
use super::*;

const SECOND: u64 = 1_000_000_000;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(1000 * SECOND + nanos)
}

fn source(text: &str) -> SocketAddr {
    text.parse().expect("an address and port")
}

fn v4() -> SocketAddr {
    source("192.0.2.7:51820")
}

/// The refused initiation of the vectors, as its sender completes it.
fn message(jar: &mut CookieJar, now: Instant) -> [u8; 148] {
    let mut message = initiation();
    message[116..].fill(0xee);
    jar.add_macs(now, &mut message);
    message
}

fn secret_and_nonce() -> FixedRng {
    let nonce: Vec<u8> = (0..24).collect();
    FixedRng::new(&[&[0x66; 32], &nonce])
}

#[test]
fn keys_and_mac1_are_those_of_the_vectors() {
    assert_eq!(mac1_key(&R), array("2b14c2a1d73fe52519772891d6df632bd2408279e87eb80c61bc395fccadf4a6"));
    assert_eq!(cookie_key(&R), array("f38243a909cf26b7ec109798fd3dfdbdb7592367db444819154f6582389fdc1b"));
    let message = message(&mut CookieJar::new(&R), at(0));
    assert_eq!(message, initiation(), "mac1 is right and mac2 is zero");
}

#[test]
fn cookies_are_those_of_the_vectors() {
    let mut checker = CookieChecker::new(&R);
    let mut rng = secret_and_nonce();
    assert_eq!(*checker.cookie(at(0), &mut rng, v4()), array("e0c6ffd85d317ed988cd953d99426d88"));
    let mut cookie = |src| *checker.cookie(at(0), &mut rng, source(src));
    assert_eq!(cookie("[2001:db8::7]:51820"), array("656aac9ef8e9e751b1502d58f169515c"));
    assert_eq!(cookie("[::ffff:192.0.2.7]:51820"), array("e0c6ffd85d317ed988cd953d99426d88"));
    assert_ne!(cookie("192.0.2.7:51821"), array("e0c6ffd85d317ed988cd953d99426d88"), "the port is part of it");
}

#[test]
fn the_cookie_reply_is_that_of_the_vectors_and_leads_to_their_mac2() {
    let mut checker = CookieChecker::new(&R);
    let mut jar = CookieJar::new(&R);
    let mut rng = secret_and_nonce();
    let refused = message(&mut jar, at(0));
    let reply = checker.reply(at(0), &mut rng, &refused, v4());
    let expected = array(concat!(
        "0300000004030201000102030405060708090a0b0c0d0e0f1011121314151617",
        "faf71ca5d6fa17025442fd9da7f678a3e367f693196e1941f54ef768570ff0af"
    ));
    assert_eq!(reply, expected);

    assert!(jar.consume_reply(at(0), &reply));
    let retry = message(&mut jar, at(0));
    assert_eq!(retry[132..], array::<16>("d9caedcf37b0173c1df555812c359237"));
    assert!(checker.mac2_is_valid(at(0), &mut rng, &retry, v4()));
    assert!(!checker.mac2_is_valid(at(0), &mut rng, &retry, source("192.0.2.8:51820")));
    assert!(!checker.mac2_is_valid(at(0), &mut rng, &refused, v4()), "zero is no mac2");
}

#[test]
fn one_flipped_bit_anywhere_spoils_mac1_and_mac2() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut checker = CookieChecker::new(&R);
    let mut jar = CookieJar::new(&R);
    let refused = message(&mut jar, at(0));
    let reply = checker.reply(at(0), &mut rng, &refused, v4());
    assert!(jar.consume_reply(at(0), &reply));
    let good = message(&mut jar, at(0));
    assert!(checker.mac1_is_valid(&good) && checker.mac2_is_valid(at(0), &mut rng, &good, v4()));
    for byte in 0..good.len() {
        let mut bad = good;
        bad[byte] ^= 0x10;
        assert_eq!(checker.mac1_is_valid(&bad), byte >= 132, "byte {byte}");
        assert!(!checker.mac2_is_valid(at(0), &mut rng, &bad, v4()), "byte {byte}");
    }
    for len in 0..32 {
        assert!(!checker.mac1_is_valid(&good[..len]));
    }
}

#[test]
fn the_secret_lives_120_seconds() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut checker = CookieChecker::new(&R);
    let first = checker.cookie(at(0), &mut rng, v4());
    assert_eq!(checker.cookie(at(120 * SECOND - 1), &mut rng, v4()), first);
    let second = checker.cookie(at(120 * SECOND), &mut rng, v4());
    assert_ne!(second, first);
    assert_eq!(checker.cookie(at(240 * SECOND - 1), &mut rng, v4()), second, "the new one lives as long");
    assert_ne!(checker.cookie(at(240 * SECOND), &mut rng, v4()), second);
}

#[test]
fn a_received_cookie_is_used_for_115_seconds() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut jar = CookieJar::new(&R);
    let refused = message(&mut jar, at(0));
    let reply = CookieChecker::new(&R).reply(at(0), &mut rng, &refused, v4());
    assert!(jar.consume_reply(at(0), &reply));
    assert_ne!(message(&mut jar, at(115 * SECOND - 1))[132..], [0; 16]);
    assert_eq!(message(&mut jar, at(115 * SECOND))[132..], [0; 16]);
}

#[test]
fn a_reply_counts_once_and_only_for_the_last_message() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut checker = CookieChecker::new(&R);
    let mut jar = CookieJar::new(&R);
    let mut reply = |message: &[u8]| checker.reply(at(0), &mut rng, message, v4());

    let first = message(&mut jar, at(0));
    let late = reply(&first);
    let mut second = first;
    second[4] ^= 1;
    jar.add_macs(at(0), &mut second);
    assert!(!jar.consume_reply(at(0), &late), "it refuses a message that is not the last");

    let good = reply(&second);
    for byte in 8..COOKIE_REPLY_LEN {
        let mut forged = good;
        forged[byte] ^= 1;
        assert!(!jar.consume_reply(at(0), &forged), "byte {byte}");
    }
    assert!(jar.consume_reply(at(0), &good), "forgeries changed nothing");
    assert!(!jar.consume_reply(at(60 * SECOND), &good), "a replay");
    assert_eq!(message(&mut jar, at(115 * SECOND))[132..], [0; 16], "which did not prolong the cookie's life");
}

#[test]
fn a_jar_that_sent_nothing_takes_no_cookie() {
    let mut jar = CookieJar::new(&R);
    assert!(!jar.consume_reply(at(0), &[0; COOKIE_REPLY_LEN]));
}
