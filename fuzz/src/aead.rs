//! Batches of packets, sealed and opened many at once and by the library, against another library one by one.

use arbitrary::Unstructured;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use rvpn::aead::{Avx512, Key, MAX_BATCH, TAG_LEN};
use rvpn::proto::crypto::{PacketAead, PacketKey};
use rvpn::proto::keys::SessionKey;

/// Seals a batch, damages some of it, opens it.
pub fn run(bytes: &[u8]) {
    let batch = Batch::read(&mut Unstructured::new(bytes)).expect("no input is too short");
    let sealed = batch.sealed_one_by_one();
    let (damaged, expected) = batch.damaged(&sealed);
    let counters: Vec<_> = (0..).map(|n| batch.first.wrapping_add(n)).take(batch.packets.len()).collect();

    for backend in [None, Avx512::detect()] {
        let key = PacketKey::with(backend, &SessionKey::new(batch.key));
        let mut packets = batch.plain();
        key.seal_batch(batch.first, &mut slices(&mut packets));
        assert!(packets == sealed, "sealing {:?} from {:#x} differs", batch.lens(), batch.first);

        let mut packets = damaged.clone();
        let mut results = vec![Ok(usize::MAX); packets.len()];
        key.open_batch(&counters, &mut slices(&mut packets), &mut results);
        for (n, result) in results.iter().enumerate() {
            let is_damaged = damaged[n] != sealed[n];
            assert_eq!(result.is_err(), is_damaged, "packet {n} of {:?} from {:#x}", batch.lens(), batch.first);
            assert!(is_damaged || *result == Ok(batch.packets[n].text.len()));
            // The library may leave what it likes in the place of a text that is none.
            let has_its_text = packets[n].starts_with(&batch.packets[n].text);
            assert!(is_damaged || has_its_text, "opening packet {n} of {:?} differs", batch.lens());
        }
    }

    // Past the choice of what pays: the smallest batches too.
    let Some(backend) = Avx512::detect() else { return };
    let key = Key::new(backend, &batch.key);
    let mut packets = batch.plain();
    let mut first = batch.first;
    for packets in slices(&mut packets).chunks_mut(MAX_BATCH) {
        key.seal(first, packets);
        first = first.wrapping_add(packets.len() as u64);
    }
    assert!(packets == sealed, "sealing {:?} from {:#x} differs", batch.lens(), batch.first);
    let mut packets = damaged.clone();
    for (group, packets) in slices(&mut packets).chunks_mut(MAX_BATCH).enumerate() {
        let start = group * MAX_BATCH;
        let good = key.open(&counters[start..start + packets.len()], packets);
        let right = (0..packets.len()).filter(|n| damaged[start + n] == sealed[start + n]);
        assert_eq!(good, right.fold(0, |bits, n| bits | 1 << n), "opening {:?}", batch.lens());
    }
    assert!(packets == expected, "what was opened of {:?} differs", batch.lens());
}

struct Batch {
    key: [u8; 32],
    first: u64,
    packets: Vec<Packet>,
}

struct Packet {
    text: Vec<u8>,
    /// Where a bit is to change, and which.
    damage: Option<(usize, u8)>,
}

impl Batch {
    fn read(input: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let (seed, shape) = (input.arbitrary::<u64>()?, input.arbitrary::<u8>()?);
        let first = match shape & 3 {
            0 => u64::from(u32::MAX) - u64::from(input.arbitrary::<u8>()? % 80),
            1 => LAST - u64::from(input.arbitrary::<u8>()?),
            _ => input.arbitrary::<u64>()?.min(LAST),
        };
        // The bytes themselves are no structure: which they are decides no path.
        let mut noise = Noise(seed);
        let mut key = [0; 32];
        noise.fill(&mut key);
        let mut packets = Vec::new();
        while !input.is_empty() && packets.len() < MAX_PACKETS {
            let len = match input.arbitrary::<u8>()? {
                len @ 0..=191 => usize::from(len),
                192..=253 => input.int_in_range(0..=2_100)?,
                254 => 1_440,
                _ => 65_519,
            };
            let mut text = vec![0; len];
            noise.fill(&mut text);
            let damage = input.arbitrary::<u16>()?;
            let damage =
                (damage % 4 == 0).then(|| (usize::from(damage >> 2) % (len + TAG_LEN), 1 << (damage >> 5 & 7)));
            packets.push(Packet { text, damage });
        }
        Ok(Self { key, first, packets })
    }

    fn lens(&self) -> Vec<usize> {
        self.packets.iter().map(|packet| packet.text.len()).collect()
    }

    /// Texts with room for their tags.
    fn plain(&self) -> Vec<Vec<u8>> {
        self.packets.iter().map(|packet| [&packet.text[..], &[0; TAG_LEN]].concat()).collect()
    }

    fn sealed_one_by_one(&self) -> Vec<Vec<u8>> {
        let twin = ChaCha20Poly1305::new((&self.key).into());
        let seal = |(n, packet): (u64, &Packet)| {
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&self.first.wrapping_add(n).to_le_bytes());
            let mut sealed = packet.text.clone();
            let tag = twin.encrypt_inout_detached(&nonce.into(), &[], sealed.as_mut_slice().into());
            sealed.extend_from_slice(&tag.expect("the message is short"));
            sealed
        };
        (0..).zip(&self.packets).map(seal).collect()
    }

    /// What is to be opened, and what it is afterwards.
    fn damaged(&self, sealed: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (mut damaged, mut opened) = (sealed.to_vec(), sealed.to_vec());
        for (n, packet) in self.packets.iter().enumerate() {
            match packet.damage {
                Some((at, bit)) => {
                    damaged[n][at] ^= bit;
                    opened[n][at] ^= bit;
                }
                None => opened[n][..packet.text.len()].copy_from_slice(&packet.text),
            }
        }
        (damaged, opened)
    }
}

/// More than two groups, fewer than a batch of the packet path: enough for every way of cutting, and quick.
const MAX_PACKETS: usize = 40;
/// The last counter of a first packet: who seals has reserved counters that do not wrap.
const LAST: u64 = u64::MAX - MAX_PACKETS as u64 - 1;

fn slices(packets: &mut [Vec<u8>]) -> Vec<&mut [u8]> {
    packets.iter_mut().map(Vec::as_mut_slice).collect()
}

/// splitmix64.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}
