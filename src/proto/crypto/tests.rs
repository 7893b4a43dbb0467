//! Known answers for every primitive, and one back-end against the other.

use super::super::vectors::{self, array, bytes};
use super::*;

fn session_key(hex: &str) -> SessionKey {
    SessionKey::new(array(hex))
}

fn private(hex: &str) -> PrivateKey {
    PrivateKey::new(array(hex)).expect("not zero")
}

fn public(hex: &str) -> PublicKey {
    PublicKey(array(hex))
}

/// One set of tests for each back-end that is compiled in.
macro_rules! known_answers {
    ($backend:ident) => {
        mod $backend {
            use super::super::$backend::{Aead, X25519};
            use super::*;

            /// RFC 8439 appendix A.5, whose nonce happens to begin with four zero bytes as ours do.
            #[test]
            fn chacha20_poly1305_of_rfc_8439() {
                let aead = Aead::new(&session_key("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0"));
                let counter = u64::from_le_bytes(array("0102030405060708"));
                let associated = bytes("f33388860000000000004e91");
                let ciphertext = concat!(
                    "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0",
                    "bdb7b73c321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855",
                    "9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b5216cde7a4e9",
                    "9040c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a",
                    "0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d361094fa68f0ff77987130",
                    "305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709b",
                    "eead9d67890cbb22392336fea1851f38"
                );
                let mut message = bytes(ciphertext);
                assert_eq!(aead.open_with(counter, &associated, &mut message), Ok(265));
                assert!(message.starts_with(b"Internet-Drafts are draft documents valid for a maximum of six"));

                let (text, _) = message.split_at_mut(265);
                let tag = aead.seal_with(counter, &associated, text);
                assert_eq!([&*text, &tag].concat(), bytes(ciphertext));
            }

            #[test]
            fn x25519_of_rfc_7748() {
                let alice = private("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
                let bob = private("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
                let (alice, bob) = (X25519::new(&alice), X25519::new(&bob));
                let alice_public = public("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
                let bob_public = public("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
                assert_eq!(alice.public_key(), alice_public);
                assert_eq!(bob.public_key(), bob_public);
                let shared =
                    SharedSecret::new(array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"));
                assert!(shared.is_some());
                assert_eq!(alice.diffie_hellman(&bob_public), shared);
                assert_eq!(bob.diffie_hellman(&alice_public), shared);

                let scalar = private("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
                let point = public("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
                let product =
                    SharedSecret::new(array("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"));
                assert_eq!(X25519::new(&scalar).diffie_hellman(&point), product);
            }

            #[test]
            fn a_zero_result_is_refused() {
                let key = X25519::new(&vectors::initiator_private());
                for low_order in [
                    "0000000000000000000000000000000000000000000000000000000000000000",
                    "0100000000000000000000000000000000000000000000000000000000000000",
                    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
                    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                ] {
                    assert!(key.diffie_hellman(&public(low_order)).is_none(), "{low_order}");
                }
            }

            #[test]
            fn the_top_bit_of_a_public_key_is_ignored() {
                let key = X25519::new(&vectors::initiator_private());
                let mut point = vectors::R;
                let expected = key.diffie_hellman(&point);
                assert!(expected.is_some());
                point.0[31] |= 0x80;
                assert_eq!(key.diffie_hellman(&point), expected);
            }

            #[test]
            fn what_is_too_short_for_a_tag_does_not_open() {
                let aead = Aead::new(&SessionKey::new([1; 32]));
                for len in 0..TAG_LEN {
                    assert_eq!(aead.open(0, &mut [0; TAG_LEN][..len]), Err(BadTag));
                }
            }

            #[test]
            fn a_batch_is_its_packets_one_by_one() {
                let aead = Aead::new(&SessionKey::new([3; 32]));
                let mut packets: Vec<Vec<u8>> = [16, 17, 100, 1436].iter().map(|len| vec![0x42; *len]).collect();
                aead.seal_batch(9, &mut packets.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
                for (packet, counter) in packets.iter().zip(9..) {
                    let mut text = vec![0x42; packet.len() - TAG_LEN];
                    let tag = aead.seal(counter, &mut text);
                    assert_eq!(*packet, [text.as_slice(), &tag].concat());
                }

                packets[2][50] ^= 1;
                let mut results = [Err(BadTag); 4];
                let mut slices: Vec<&mut [u8]> = packets.iter_mut().map(Vec::as_mut_slice).collect();
                aead.open_batch(&[9, 10, 11, 12], &mut slices, &mut results);
                assert_eq!(results, [Ok(0), Ok(1), Err(BadTag), Ok(1420)]);
                assert!(packets[3][..1420].iter().all(|byte| *byte == 0x42));
            }
        }
    };
}

known_answers!(pure);
#[cfg(feature = "aws-lc")]
known_answers!(aws_lc);

/// Every back-end there is, at every number of packets from below where it pays to several groups of it.
#[test]
fn a_session_key_seals_and_opens_as_the_library_does() {
    let key = SessionKey::new([5; 32]);
    let library = Aead::new(&key);
    for backend in [None, crate::aead::Avx512::detect()] {
        let session = PacketKey::with(backend, &key);
        for count in (0..20_usize).chain([33, 128]) {
            for len in [0, 40, 300, 1440] {
                let text = |n: usize| vec![n as u8; (len + 31 * n) % 1500];
                let mut packets: Vec<Vec<u8>> = (0..count).map(|n| [text(n), vec![0; TAG_LEN]].concat()).collect();
                session.seal_batch(70, &mut packets.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
                for (n, packet) in packets.iter().enumerate() {
                    let mut alone = text(n);
                    let tag = library.seal(70 + n as u64, &mut alone);
                    alone.extend(tag);
                    assert!(*packet == alone, "packet {n} of {count}, {backend:?}");
                }

                let forged = |n: usize| n % 5 == 3;
                packets.iter_mut().enumerate().filter(|(n, _)| forged(*n)).for_each(|(_, packet)| packet[0] ^= 1);
                let counters: Vec<u64> = (70..).take(count).collect();
                let mut results = vec![Err(BadTag); count];
                let mut slices: Vec<&mut [u8]> = packets.iter_mut().map(Vec::as_mut_slice).collect();
                session.open_batch(&counters, &mut slices, &mut results);
                for (n, (packet, result)) in packets.iter().zip(results).enumerate() {
                    let expected = text(n);
                    assert_eq!(result, if forged(n) { Err(BadTag) } else { Ok(expected.len()) }, "{n} of {count}");
                    assert!(forged(n) || packet[..expected.len()] == expected, "packet {n} of {count}, {backend:?}");
                }
            }
        }
    }
}

#[cfg(feature = "aws-lc")]
mod differential {
    use proptest::prelude::*;

    use super::super::{aws_lc, pure};
    use super::*;

    proptest! {
        #[test]
        fn both_back_ends_seal_the_same_and_open_each_other(
            key in any::<[u8; 32]>(),
            counter in any::<u64>(),
            associated in proptest::collection::vec(any::<u8>(), 0..70),
            text in proptest::collection::vec(any::<u8>(), 0..2000),
            flip in any::<proptest::sample::Index>(),
        ) {
            let key = SessionKey::new(key);
            let (ours, theirs) = (aws_lc::Aead::new(&key), pure::Aead::new(&key));
            let mut sealed = text.clone();
            let tag = ours.seal_with(counter, &associated, &mut sealed);
            sealed.extend(tag);
            let mut twin = text.clone();
            let tag = theirs.seal_with(counter, &associated, &mut twin);
            twin.extend(tag);
            prop_assert_eq!(&sealed, &twin);

            prop_assert_eq!(theirs.open_with(counter, &associated, &mut sealed.clone()), Ok(text.len()));
            let mut opened = sealed.clone();
            prop_assert_eq!(ours.open_with(counter, &associated, &mut opened), Ok(text.len()));
            prop_assert_eq!(&opened[..text.len()], &text);

            let at = flip.index(sealed.len());
            sealed[at] ^= 1;
            prop_assert_eq!(ours.open_with(counter, &associated, &mut sealed.clone()), Err(BadTag));
            prop_assert_eq!(theirs.open_with(counter, &associated, &mut sealed), Err(BadTag));
        }

        #[test]
        fn both_back_ends_agree_on_x25519(private in any::<[u8; 32]>(), point in any::<[u8; 32]>()) {
            let private = PrivateKey::new(private).expect("not zero");
            let (ours, theirs) = (aws_lc::X25519::new(&private), pure::X25519::new(&private));
            prop_assert_eq!(ours.public_key(), theirs.public_key());
            prop_assert_eq!(ours.diffie_hellman(&PublicKey(point)), theirs.diffie_hellman(&PublicKey(point)));
        }
    }
}

#[test]
fn the_static_keys_of_the_vectors_belong_together() {
    assert_eq!(public_key(&vectors::initiator_private()), vectors::I);
    assert_eq!(public_key(&vectors::responder_private()), vectors::R);
    let expected = SharedSecret::new(array("9e004098efc091d4ec2663b4e9f5cfd4d7064571690b4bea97ab146ab9f35056"));
    assert_eq!(diffie_hellman(&vectors::initiator_private(), &vectors::R), expected);
    assert_eq!(diffie_hellman(&vectors::responder_private(), &vectors::I), expected);
}

#[test]
fn blake2s_of_rfc_7693() {
    let expected: [u8; 32] = array("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
    assert_eq!(blake2s::hash(&[b"abc"]), expected);
    assert_eq!(blake2s::hash(&[b"a", b"", b"bc"]), expected);
}

#[test]
fn the_constants_of_the_handshake_are_the_published_ones() {
    let chaining_key = blake2s::hash(&[b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"]);
    assert_eq!(chaining_key, array("60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36"));
    let hash = blake2s::hash(&[&chaining_key, b"WireGuard v1 zx2c4 Jason@zx2c4.com"]);
    assert_eq!(hash, array("2211b361081ac566691243db458ad5322d9c6c662293e8b70ee19c65ba079ef3"));
}

/// A key is padded with zeros to the block, so the vectors' short keys are these.
#[test]
fn kdf3_of_the_vectors() {
    let [t1, t2, t3] = blake2s::kdf(&[0; 32], &[]);
    assert_eq!(*t1, array("8387b46bf43eccfcf349552a095d8315c4055beb90208fb1be23b894bc2ed5d0"));
    assert_eq!(*t2, array("58a0e5f6faefccf4807bff1f05fa8a9217945762040bcec2f4b4a62bdfe0e86e"));
    assert_eq!(*t3, array("0ce6ea98ec548f8e281e93e32db65621c45eb18dc6f0a7ad94178610a2f7338e"));

    let mut key = [0; 32];
    key[..4].copy_from_slice(&bytes("deadbeef"));
    let [t1, t2, t3] = blake2s::kdf(&key, &[]);
    assert_eq!(*t1, array("55329dc80e690fd86bd9661f0851c9b3686df2b1fda0347bc3d27958254b32c6"));
    assert_eq!(*t2, array("8dfc6d33a8118ffe408b31ddac25f72aee9115a45b69ba176ad012b243834fee"));
    assert_eq!(*t3, array("d69e852a2896569ea54a67969aa1800287921dac53ce6db4b4e12192f263c4c4"));
    let [short] = blake2s::kdf(&key, &[]);
    assert_eq!(short, t1);
}

/// XChaCha20-Poly1305 is ChaCha20-Poly1305 under the key that HChaCha20 makes of the first 16 bytes of the nonce.
#[test]
fn the_subkey_of_a_cookie_is_that_of_hchacha20() {
    let key: [u8; 32] = std::array::from_fn(|n| n as u8);
    let mut nonce = [0; 24];
    nonce[..16].copy_from_slice(&bytes("000000090000004a0000000031415927"));
    nonce[16..].copy_from_slice(&0x0102_0304_0506_0708_u64.to_le_bytes());
    let mut text = *b"sixteen bytes it";
    let tag = xaead::seal(&key, &nonce, b"associated", &mut text);

    let subkey = session_key("82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc");
    let mut expected = *b"sixteen bytes it";
    let expected_tag = Aead::new(&subkey).seal_with(0x0102_0304_0506_0708, b"associated", &mut expected);
    assert_eq!((text, tag), (expected, expected_tag));

    assert_eq!(xaead::open(&key, &nonce, b"associateD", &mut text.clone(), &tag), Err(BadTag));
    assert_eq!(xaead::open(&key, &nonce, b"associated", &mut text, &tag), Ok(()));
    assert_eq!(&text, b"sixteen bytes it");
}
