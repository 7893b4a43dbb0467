//! The known handshake, the hand-written transcript as oracle, and everything a hostile message can be.

use std::collections::HashMap;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::crypto::{self, Aead, PacketAead, blake2s};
use super::super::keys::SessionKey;
use super::super::time::WallTime;
use super::super::vectors::{self, FixedRng, I, R, array};
use super::*;

const INITIATOR: Index = Index(0x0102_0304);
const RESPONDER: Index = Index(0x0a0b_0c0d);
const LOW_ORDER: PublicKey = PublicKey([0; 32]);

/// The peers of a test, as a device would keep them.
#[derive(Default)]
struct Peers(HashMap<PublicKey, Option<SharedSecret>>);

impl StaticSecrets for Peers {
    fn static_static(&self, peer: &PublicKey) -> Result<SharedSecret, HandshakeError> {
        match self.0.get(peer) {
            None => Err(HandshakeError::UnknownPeer(*peer)),
            Some(None) => Err(HandshakeError::ZeroSharedSecret),
            Some(Some(secret)) => Ok(secret.clone()),
        }
    }
}

fn peers(identity: &Identity, keys: &[PublicKey]) -> Arc<dyn StaticSecrets> {
    Arc::new(Peers(keys.iter().map(|key| (*key, identity.static_static(key))).collect()))
}

fn initiator() -> Identity {
    Identity::new(vectors::initiator_private())
}

fn responder() -> Identity {
    Identity::new(vectors::responder_private())
}

fn psk() -> PresharedKey {
    PresharedKey::new([0x55; 32])
}

fn timestamp() -> Timestamp {
    Timestamp::whitened(WallTime { secs: 1_700_000_000, nanos: 7 << 24 })
}

fn draws(key: PrivateKey) -> FixedRng {
    FixedRng::new(&[key.as_bytes()])
}

/// The initiation of the vectors, as we create it.
fn initiate(psk: &PresharedKey) -> (PendingInitiation, [u8; INITIATION_LEN]) {
    initiate_as(&initiator(), psk, vectors::initiator_ephemeral())
}

fn initiate_as(
    identity: &Identity,
    psk: &PresharedKey,
    ephemeral: PrivateKey,
) -> (PendingInitiation, [u8; INITIATION_LEN]) {
    let static_static = identity.static_static(&R).expect("not of low order");
    create_initiation(identity, &R, &static_static, psk, timestamp(), INITIATOR, &mut draws(ephemeral))
        .expect("a peer of prime order")
}

fn receive(initiation: &[u8; INITIATION_LEN]) -> Result<ReceivedInitiation, HandshakeError> {
    let identity = responder();
    consume_initiation(&identity, &peers(&identity, &[I]), initiation)
}

fn respond(psk: &PresharedKey) -> (SessionKeys, [u8; RESPONSE_LEN]) {
    let received = receive(&vectors::initiation()).expect("the initiation of the vectors");
    received.respond(psk, RESPONDER, &mut draws(vectors::responder_ephemeral())).expect("keys of prime order")
}

fn without_macs<const N: usize>(mut message: [u8; N]) -> [u8; N] {
    message[N - 32..].fill(0);
    message
}

fn keys(session: &SessionKeys) -> (Role, &SessionKey, &SessionKey, Index, Index) {
    (session.role, &session.send, &session.receive, session.local, session.remote)
}

#[test]
fn the_handshake_of_the_vectors() {
    for (psk, response, to_responder, to_initiator) in [
        (
            psk(),
            vectors::response(),
            "a007faf842d83f5bd3be20a14e0ffcec34c84867b78b051980602713205922de",
            "d982d5cd10d34a7802b6c19fa441cd9164d70e4f4d62007ab416879ee8bd1b99",
        ),
        (
            PresharedKey::default(),
            vectors::response_without_psk(),
            "e07b709efbfd0361a08a9de658ceb3847d648c207ed71d4dbdfe248bef23a651",
            "f76ba55a113d83abf16240859ca361a9017ae9fbac0b4aa43179112c40e0163f",
        ),
    ] {
        let to_responder = SessionKey::new(array(to_responder));
        let to_initiator = SessionKey::new(array(to_initiator));

        let (mut pending, initiation) = initiate(&psk);
        assert_eq!(initiation, without_macs(vectors::initiation()));

        let received = receive(&initiation).expect("it is genuine");
        assert_eq!((received.initiator, received.timestamp), (I, timestamp()));
        let (theirs, message) =
            received.respond(&psk, RESPONDER, &mut draws(vectors::responder_ephemeral())).expect("it is genuine");
        assert_eq!(message, without_macs(response));
        assert_eq!(keys(&theirs), (Role::Responder, &to_initiator, &to_responder, RESPONDER, INITIATOR));

        let ours = pending.consume_response(&response).expect("it is genuine");
        assert_eq!(keys(&ours), (Role::Initiator, &to_responder, &to_initiator, INITIATOR, RESPONDER));
    }
}

#[test]
fn a_forged_response_leaves_the_genuine_one_its_chance() {
    let (mut pending, _) = initiate(&psk());
    let genuine = vectors::response();
    for byte in 12..60 {
        let mut forged = genuine;
        forged[byte] ^= 1;
        assert_eq!(pending.consume_response(&forged).err(), Some(HandshakeError::BadTag), "byte {byte}");
    }
    let mut low_order = genuine;
    low_order[12..44].fill(0);
    assert_eq!(pending.consume_response(&low_order).err(), Some(HandshakeError::ZeroSharedSecret));
    assert_eq!(pending.consume_response(&respond(&PresharedKey::default()).1).err(), Some(HandshakeError::BadTag));

    assert!(pending.consume_response(&genuine).is_ok());
    assert_eq!(pending.consume_response(&genuine).err(), Some(HandshakeError::BadTag), "it is used up");
}

/// What can be seen of it: the public key that was in the state is gone with the secrets.
#[test]
fn the_state_is_overwritten_as_soon_as_the_keys_are_out() {
    let (mut pending, _) = initiate(&psk());
    assert_eq!(pending.noise.claimed_static(), Some(R));
    assert!(pending.consume_response(&vectors::response()).is_ok());
    assert_eq!(pending.noise.claimed_static(), None);
}

#[test]
fn a_response_to_another_initiation_is_refused() {
    let (mut other, _) = initiate_as(&initiator(), &psk(), vectors::responder_ephemeral());
    assert_eq!(other.consume_response(&vectors::response()).err(), Some(HandshakeError::BadTag));
}

#[test]
fn a_flipped_bit_in_the_noise_message_of_an_initiation_is_refused() {
    for byte in 8..116 {
        let mut forged = vectors::initiation();
        forged[byte] ^= 1;
        assert_eq!(receive(&forged).err(), Some(HandshakeError::BadTag), "byte {byte}");
    }
    let mut other_index = vectors::initiation();
    other_index[4] ^= 1;
    assert!(receive(&other_index).is_ok(), "the index is covered by mac1 only");
}

#[test]
fn an_initiation_for_another_responder_is_refused() {
    let other = Identity::new(vectors::responder_ephemeral());
    let result = consume_initiation(&other, &peers(&other, &[I]), &vectors::initiation());
    assert_eq!(result.err(), Some(HandshakeError::BadTag));
}

#[test]
fn an_unknown_initiator_is_refused_as_such() {
    let identity = responder();
    let result = consume_initiation(&identity, &peers(&identity, &[R]), &vectors::initiation());
    assert_eq!(result.err(), Some(HandshakeError::UnknownPeer(I)));
}

/// The ephemeral key is never looked up, and a known static key is never computed with: the cache decides.
#[test]
fn the_static_static_secret_is_the_cached_one() {
    let identity = responder();
    let wrong = SharedSecret::new([7; 32]);
    let secrets: Arc<dyn StaticSecrets> = Arc::new(Peers(HashMap::from([(I, wrong)])));
    let result = consume_initiation(&identity, &secrets, &vectors::initiation());
    assert_eq!(result.err(), Some(HandshakeError::BadTag));
}

#[test]
fn an_initiator_that_reuses_its_static_key_as_ephemeral_must_still_be_a_peer() {
    let (_, initiation) = initiate_as(&initiator(), &psk(), vectors::initiator_private());
    assert_eq!(receive(&initiation).map(|received| received.initiator), Ok(I));
    let identity = responder();
    let result = consume_initiation(&identity, &peers(&identity, &[]), &initiation);
    assert_eq!(result.err(), Some(HandshakeError::UnknownPeer(I)));
}

#[test]
fn low_order_keys_are_refused_wherever_they_come_from() {
    let identity = initiator();
    assert!(identity.static_static(&LOW_ORDER).is_none());
    let any = SharedSecret::new([7; 32]).expect("not zero");
    let rng = &mut draws(vectors::initiator_ephemeral());
    let result = create_initiation(&identity, &LOW_ORDER, &any, &psk(), timestamp(), INITIATOR, rng);
    assert_eq!(result.err().map(|error| error.to_string()), Some("zero Diffie-Hellman result".to_owned()));

    let mut ephemeral = vectors::initiation();
    ephemeral[8..40].fill(0);
    assert_eq!(receive(&ephemeral).err(), Some(HandshakeError::ZeroSharedSecret));

    // A configured peer whose key is of low order, and an initiation that claims to be from it.
    let identity = responder();
    let claimed = Transcript::start().initiation_claiming(&LOW_ORDER);
    let result = consume_initiation(&identity, &peers(&identity, &[LOW_ORDER]), &claimed);
    assert_eq!(result.err(), Some(HandshakeError::ZeroSharedSecret));
    let result = consume_initiation(&identity, &peers(&identity, &[I]), &claimed);
    assert_eq!(result.err(), Some(HandshakeError::UnknownPeer(LOW_ORDER)));
}

#[test]
fn a_pending_initiation_is_small_and_can_change_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<PendingInitiation>();
    assert_send::<ReceivedInitiation>();
    assert!(size_of::<PendingInitiation>() <= 16);
}

/// Handshakes with random keys, against the transcript.
#[test]
fn the_transcript_by_hand_gives_the_same_bytes_and_keys() {
    let mut rng = StdRng::seed_from_u64(1);
    for round in 0..8 {
        let (i, r) = (PrivateKey::generate(&mut rng), PrivateKey::generate(&mut rng));
        let (ei, er) = (PrivateKey::generate(&mut rng), PrivateKey::generate(&mut rng));
        let psk = PresharedKey::new([round; 32]);
        let expected = Transcript::run(&i, &r, &ei, &er, &psk, timestamp());

        let (initiator, responder) = (Identity::new(i), Identity::new(r));
        let static_static = initiator.static_static(responder.public_key()).expect("keys of prime order");
        let (mut pending, initiation) = create_initiation(
            &initiator,
            responder.public_key(),
            &static_static,
            &psk,
            timestamp(),
            INITIATOR,
            &mut draws(ei),
        )
        .expect("keys of prime order");
        assert_eq!(initiation, expected.initiation);

        let secrets = peers(&responder, &[*initiator.public_key()]);
        let received = consume_initiation(&responder, &secrets, &initiation).expect("it is genuine");
        let (theirs, response) = received.respond(&psk, RESPONDER, &mut draws(er)).expect("it is genuine");
        assert_eq!(response, expected.response);
        let ours = pending.consume_response(&response).expect("it is genuine");
        assert_eq!((&ours.send, &ours.receive), (&expected.to_responder, &expected.to_initiator));
        assert_eq!((&theirs.send, &theirs.receive), (&expected.to_initiator, &expected.to_responder));
    }
}

#[test]
fn the_transcript_by_hand_is_that_of_the_vectors() {
    let done = Transcript::run(
        &vectors::initiator_private(),
        &vectors::responder_private(),
        &vectors::initiator_ephemeral(),
        &vectors::responder_ephemeral(),
        &psk(),
        timestamp(),
    );
    assert_eq!(done.initiation, without_macs(vectors::initiation()));
    assert_eq!(done.response, without_macs(vectors::response()));
    let hash_after_initiation: [u8; 32] = array("a09d1ec5d06f13b9f2c168e9c96c02857b0d49112d17bad14498a8d3a6d40623");
    assert_eq!(done.hash_after_initiation, hash_after_initiation);
    assert_eq!(done.chaining_key, array("209dea3ad2dc1f199fbabd13b4f744c30fe13520a3978ce6d931d8f30e20853c"));
}

/// The two running values of the paper, and its steps, one by one.
struct Transcript {
    chaining_key: [u8; 32],
    hash: [u8; 32],
    key: [u8; 32],
}

struct Done {
    initiation: [u8; INITIATION_LEN],
    response: [u8; RESPONSE_LEN],
    to_responder: SessionKey,
    to_initiator: SessionKey,
    hash_after_initiation: [u8; 32],
    chaining_key: [u8; 32],
}

impl Transcript {
    fn run(
        i: &PrivateKey,
        r: &PrivateKey,
        ei: &PrivateKey,
        er: &PrivateKey,
        psk: &PresharedKey,
        timestamp: Timestamp,
    ) -> Done {
        let [initiator, responder, initiator_ephemeral, responder_ephemeral] = [i, r, ei, er].map(crypto::public_key);
        let mut transcript = Self::start_with(&responder);

        transcript.mix_ephemeral(&initiator_ephemeral);
        transcript.mix_key(&dh(ei, &responder));
        let sealed_static = transcript.seal(initiator.as_bytes());
        transcript.mix_key(&dh(i, &responder));
        let sealed_timestamp = transcript.seal(&timestamp.0);
        let hash_after_initiation = transcript.hash;

        transcript.mix_ephemeral(&responder_ephemeral);
        transcript.mix_key(&dh(er, &initiator_ephemeral));
        transcript.mix_key(&dh(er, &initiator));
        let [chaining_key, temporary, key] = blake2s::kdf(&transcript.chaining_key, psk.as_bytes());
        transcript.chaining_key = *chaining_key;
        transcript.key = *key;
        transcript.mix_hash(&*temporary);
        let sealed_nothing = transcript.seal(&[]);

        let [to_responder, to_initiator] = blake2s::kdf(&transcript.chaining_key, &[]);
        let zeros = [0; 32];
        let parts: [&[u8]; 6] =
            [&[1, 0, 0, 0, 4, 3, 2, 1], initiator_ephemeral.as_bytes(), &sealed_static, &sealed_timestamp, &zeros, &[]];
        let initiation = parts.concat().try_into().expect("148 bytes");
        let header = [2, 0, 0, 0, 0x0d, 0x0c, 0x0b, 0x0a, 4, 3, 2, 1];
        let parts: [&[u8]; 4] = [&header, responder_ephemeral.as_bytes(), &sealed_nothing, &zeros];
        let response = parts.concat().try_into().expect("92 bytes");
        Done {
            initiation,
            response,
            to_responder: SessionKey::new(*to_responder),
            to_initiator: SessionKey::new(*to_initiator),
            hash_after_initiation,
            chaining_key: transcript.chaining_key,
        }
    }

    /// A transcript towards the responder of the vectors.
    fn start() -> Self {
        Self::start_with(&R)
    }

    fn start_with(responder: &PublicKey) -> Self {
        let chaining_key = blake2s::hash(&[b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"]);
        let hash = blake2s::hash(&[&chaining_key, b"WireGuard v1 zx2c4 Jason@zx2c4.com"]);
        let mut transcript = Self { chaining_key, hash, key: [0; 32] };
        transcript.mix_hash(responder.as_bytes());
        transcript
    }

    /// An initiation that anybody could send who knows our public key: the static key is a mere claim.
    fn initiation_claiming(mut self, initiator: &PublicKey) -> [u8; INITIATION_LEN] {
        let ephemeral = vectors::initiator_ephemeral();
        let public = crypto::public_key(&ephemeral);
        self.mix_ephemeral(&public);
        self.mix_key(&dh(&ephemeral, &R));
        let sealed_static = self.seal(initiator.as_bytes());
        let mut message = without_macs(vectors::initiation());
        message[8..40].copy_from_slice(public.as_bytes());
        message[40..88].copy_from_slice(&sealed_static);
        message
    }

    fn mix_ephemeral(&mut self, ephemeral: &PublicKey) {
        self.mix_hash(ephemeral.as_bytes());
        let [chaining_key] = blake2s::kdf(&self.chaining_key, ephemeral.as_bytes());
        self.chaining_key = *chaining_key;
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = blake2s::hash(&[&self.hash, data]);
    }

    fn mix_key(&mut self, secret: &SharedSecret) {
        let [chaining_key, key] = blake2s::kdf(&self.chaining_key, secret.as_bytes());
        (self.chaining_key, self.key) = (*chaining_key, *key);
    }

    fn seal(&mut self, text: &[u8]) -> Vec<u8> {
        let mut sealed = text.to_vec();
        let tag = Aead::new(&SessionKey::new(self.key)).seal_with(0, &self.hash, &mut sealed);
        sealed.extend(tag);
        self.mix_hash(&sealed);
        sealed
    }
}

fn dh(private: &PrivateKey, public: &PublicKey) -> SharedSecret {
    crypto::diffie_hellman(private, public).expect("keys of prime order")
}
