//! A device against everybody: whoever can send it datagrams, forge what needs no secret, replay and change what it
//! sees, and a peer with a session that puts into it what it likes.
//!
//! The input is a list of acts. What must hold after each: nobody is answered with more than he sent, nothing comes out
//! of the interface that its owner did not put in at the other end. What must hold at the end: when the noise is over,
//! the tunnel works.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use arbitrary::Unstructured;
use rvpn::dataplane::configure::PeerChange;
use rvpn::dataplane::offload::{Offload, PartialChecksum, Segmentation};
use rvpn::platform::fake::Train;
use rvpn::proto::cookie::CookieJar;
use rvpn::proto::index::Index;
use rvpn::proto::ip;
use rvpn::proto::messages::{self, DATA_HEADER_LEN, Message};

use super::packet::sum;
use super::world::{INNER, World};

/// Lets the acts of the input happen, then expects a tunnel that works.
pub fn run(bytes: &[u8]) {
    let mut play = Play::new();
    let mut input = Unstructured::new(bytes);
    let mut acts = 0;
    while !input.is_empty() && acts < MAX_ACTS {
        play.act(&mut input).expect("no input is too short");
        acts += 1;
    }
    play.recover();
}

/// One execution takes a millisecond or two, most of it four Diffie-Hellman for each handshake.
const MAX_ACTS: usize = 60;
const MAX_IN_FLIGHT: usize = 64;

struct Play {
    world: World,
    in_flight: VecDeque<Train>,
    /// What each node's owner put into the interface, as far as it can come out in one piece.
    put_in: [HashSet<Vec<u8>>; 2],
    /// A packet was put in that stands for several.
    is_segmented: [bool; 2],
    /// Indices that were seen on the wire, newest last.
    indices: Vec<Index>,
    markers: u64,
}

impl Play {
    fn new() -> Self {
        Self {
            world: World::new(),
            in_flight: VecDeque::new(),
            put_in: Default::default(),
            is_segmented: [false; 2],
            indices: vec![Index(0)],
            markers: 0,
        }
    }

    fn act(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let act = input.arbitrary::<u8>()?;
        let n = usize::from(act >> 7);
        match act & 31 {
            0..=2 => self.put_in_marker(n, input.arbitrary::<u8>()?.into()),
            3..=4 => self.put_in_anything(n, input)?,
            5..=10 => self.deliver(0),
            11 => self.deliver(input.arbitrary::<u8>()?.into()),
            12 => drop(self.in_flight.pop_front()),
            13 => {
                if let Some(train) = self.in_flight.front().cloned() {
                    self.in_flight.push_back(train);
                }
            }
            14..=16 => self.change_in_flight(input)?,
            17 => {
                let len = input.arbitrary::<u8>()?;
                let bytes = input.bytes(input.len().min(len.into()))?.to_vec();
                self.forge(n, &bytes, input)?;
            }
            18..=19 => self.forge_handshake(n, input)?,
            20 => {
                let receiver = self.index(input)?;
                let (nonce, sealed) = (input.arbitrary()?, input.arbitrary()?);
                self.forge(n, &messages::cookie_reply(receiver, &nonce, &sealed), input)?;
            }
            21..=22 => {
                let mut message = vec![0x17; DATA_HEADER_LEN + usize::from(input.arbitrary::<u8>()?)];
                let (header, _) = message.split_first_chunk_mut().expect("it has a header");
                let counter = if act & 64 == 0 { input.arbitrary::<u8>()?.into() } else { input.arbitrary()? };
                messages::write_data_header(header, self.index(input)?, counter);
                self.forge(n, &message, input)?;
            }
            23..=25 => self.pass(Duration::from_millis(u64::from(input.arbitrary::<u8>()?) * 25)),
            26 => self.pass(Duration::from_secs(input.arbitrary::<u8>()?.into())),
            27 => {
                self.world.nodes[n].device.down();
                self.work(None);
                self.world.nodes[n].device.up().expect("the port is free");
                self.work(None);
            }
            28 => {
                let key = self.world.nodes[1 - n].public_key;
                if act & 64 != 0 {
                    self.world.change(n, PeerChange { remove: true, ..PeerChange::new(key) });
                }
                self.world.introduce(n);
                self.work(None);
            }
            29 => {
                let key = self.world.nodes[1 - n].public_key;
                let persistent_keepalive = Some(input.arbitrary::<u8>()?.into());
                self.world.change(n, PeerChange { persistent_keepalive, ..PeerChange::new(key) });
                self.work(None);
            }
            30 => self.world.nodes[n].device.set_mtu(input.arbitrary::<u16>()?.into()),
            _ => self.world.nodes[n].device.routes_changed(),
        }
        Ok(())
    }

    /// Puts a UDP packet into the interface of node `n` that nobody has put in before.
    fn put_in_marker(&mut self, n: usize, len: usize) {
        self.markers += 1;
        let packet = marker(n, self.markers, len);
        self.put_in[n].insert(unmarked(&packet));
        self.world.nodes[n].host.tun().inject(&packet);
        self.work(None);
    }

    /// Puts in what no owner would: any bytes, or a good beginning and any bytes, as a super-packet or not.
    fn put_in_anything(&mut self, n: usize, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let (kind, len) = (input.arbitrary::<u8>()?, input.arbitrary::<u8>()?);
        let mut packet = if kind & 1 == 0 { marker(n, 0, len.into()) } else { Vec::new() };
        let rest = input.bytes(input.len().min(usize::from(len) / 2))?;
        let start = usize::from(kind >> 3).min(packet.len());
        packet.splice(start..packet.len().min(start + rest.len()), rest.iter().copied());
        let mut offload = Offload::default();
        if kind & 6 == 6 {
            let kinds = [Segmentation::Tcp4, Segmentation::Tcp6, Segmentation::Udp, Segmentation::Udp];
            offload = Offload {
                segmentation: Some(kinds[usize::from(kind >> 6)]),
                segment_len: input.arbitrary::<u8>()?.into(),
                header_len: input.arbitrary::<u8>()?.into(),
                checksum: Some(PartialChecksum { start: 20, offset: 6 }),
            };
            self.is_segmented[n] = true;
        }
        self.put_in[n].insert(unmarked(&packet));
        self.world.nodes[n].host.tun().inject_offloaded(&packet, offload);
        self.work(None);
        Ok(())
    }

    /// Delivers the datagram at `place`, if there is one.
    fn deliver(&mut self, place: usize) {
        if let Some(train) = self.in_flight.remove(place) {
            self.world.internet.deliver(&train);
            self.work(None);
        }
    }

    /// Delivers the next datagram otherwise than it was sent; it stays in flight.
    fn change_in_flight(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let Some(mut train) = self.in_flight.front().cloned() else { return Ok(()) };
        let (how, at) = (input.arbitrary::<u8>()?, usize::from(input.arbitrary::<u16>()?));
        match how & 7 {
            0..=2 => {
                let at = at % train.bytes.len().max(1);
                if let Some(byte) = train.bytes.get_mut(at) {
                    *byte ^= 1 << (how >> 5);
                }
            }
            3 => train.bytes.truncate(at),
            4 => train.bytes.extend(vec![how; at % 100]),
            5 => train.ds = at as u8,
            6 => train.segment_len = (at % 200).max(1),
            // From elsewhere, as after roaming; or from nowhere that can be answered.
            _ => train.from = SocketAddr::new(stranger().ip(), at as u16),
        }
        // The attacker is in the way of this one and could always have sent it himself, as often as he likes.
        self.world.internet.deliver(&train);
        self.work(None);
        Ok(())
    }

    /// Sends a handshake message to node `n` that passes for one without any secret: its mac1 is right.
    fn forge_handshake(&mut self, n: usize, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let sender = Index(input.arbitrary()?);
        let mut jar = CookieJar::new(&self.world.nodes[n].public_key);
        if input.arbitrary()? {
            let mut message = messages::initiation(sender, &[input.arbitrary()?; 108]);
            jar.add_macs(self.world.now(), &mut message);
            return self.forge(n, &message, input);
        }
        let mut message = messages::response(sender, self.index(input)?, &[input.arbitrary()?; 48]);
        jar.add_macs(self.world.now(), &mut message);
        self.forge(n, &message, input)
    }

    /// Sends bytes from an address that no peer has: whoever is there gets no more than was sent.
    fn forge(&mut self, n: usize, bytes: &[u8], input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let mut train = Train::datagram(stranger(), self.world.nodes[n].outer, bytes);
        let cut = input.arbitrary::<u8>()?;
        if cut & 1 != 0 {
            train.segment_len = usize::from(cut).max(1);
        }
        self.world.internet.deliver(&train);
        self.work(Some(bytes.len()));
        Ok(())
    }

    fn index(&self, input: &mut Unstructured<'_>) -> arbitrary::Result<Index> {
        let back = usize::from(input.arbitrary::<u8>()?) % self.indices.len();
        Ok(self.indices[self.indices.len() - 1 - back])
    }

    fn pass(&mut self, time: Duration) {
        self.world.advance(time);
        self.work(None);
    }

    /// Does what can be done and looks at what came of it. `forged` bytes came from nobody in particular.
    fn work(&mut self, forged: Option<usize>) {
        let sent = self.world.work();
        if let Some(forged) = forged {
            let answer: usize = sent.iter().filter(|train| train.to == stranger()).map(|train| train.bytes.len()).sum();
            assert!(answer <= forged, "{forged} forged bytes are answered with {answer}");
        }
        for train in sent {
            for payload in train.payloads() {
                let message = messages::parse(payload).expect("only messages are sent");
                if !matches!(message, Message::CookieReply(_)) {
                    self.indices.push(messages::sender_index(payload));
                }
            }
            self.in_flight.push_back(train);
        }
        let excess = self.in_flight.len().saturating_sub(MAX_IN_FLIGHT);
        self.in_flight.drain(..excess);
        let excess = self.indices.len().saturating_sub(MAX_IN_FLIGHT);
        self.indices.drain(..excess);
        for n in [0, 1] {
            self.take_out(n);
        }
    }

    /// Looks at what came out of the interface of node `n`.
    fn take_out(&mut self, n: usize) -> usize {
        let written = self.world.nodes[n].host.tun().take_written();
        for packet in &written {
            let header = ip::parse(&packet.bytes).expect("only IP packets come out of an interface");
            assert_eq!(header.total_len, packet.bytes.len());
            let is_from_peer = INNER[1 - n].iter().any(|address| address.parse() == Ok(header.src));
            if is_from_peer && packet.offload.segmentation.is_none() && !self.is_segmented[1 - n] {
                let is_known = self.put_in[1 - n].contains(&unmarked(&packet.bytes));
                assert!(is_known || is_unreachable(&packet.bytes), "out of node {n} came {:02x?}", packet.bytes);
            } else if !is_from_peer {
                // Told to the owner of this interface, about a packet of his.
                assert!(is_unreachable(&packet.bytes), "out of node {n} came {:02x?}", packet.bytes);
            }
        }
        written.len()
    }

    /// The noise is over: both know again where the other is, and datagrams arrive. A packet each way must get through
    /// within the time of three attempts at a handshake, after a session that only one side remembers was given up.
    ///
    /// They send in turns, and nobody sends when the other's deadline is: initiations that cross void each other, and cost
    /// an attempt.
    fn recover(&mut self) {
        self.in_flight.clear();
        for n in [0, 1] {
            self.world.nodes[n].device.set_mtu(1420);
            self.world.introduce(n);
        }
        let mut turn = self.world.now();
        let end = turn.plus(Duration::from_secs(35));
        let mut arrived = [false; 2];
        while self.world.now() < end {
            if self.world.now() == turn {
                self.markers += 1;
                let from = usize::from(self.markers & 1 == 0);
                self.world.nodes[from].host.tun().inject(&marker(from, self.markers, 9));
                turn = turn.plus(Duration::from_millis(700));
            }
            let mut sent = self.world.work();
            while !sent.is_empty() {
                sent.iter().for_each(|train| self.world.internet.deliver(train));
                sent = self.world.work();
            }
            let from = usize::from(self.markers & 1 == 0);
            let packet = marker(from, self.markers, 9);
            let out = self.world.nodes[1 - from].host.tun().take_written();
            arrived[1 - from] |= out.iter().any(|out| out.bytes == packet);
            if arrived == [true; 2] {
                return;
            }
            self.world.advance_to_deadline(turn);
        }
        let drops = self.world.nodes.each_ref().map(|node| node.drops());
        panic!("the noise is over and the tunnel does not work: arrived {arrived:?}, dropped {drops:?}");
    }
}

/// A UDP packet of node `n` to the other, which its number makes unlike any other. Lengths keep packets unmerged.
fn marker(n: usize, number: u64, len: usize) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1 + n as u8, 10, 0, 0, 2 - n as u8];
    let total_len = (packet.len() + 8 + 8 + len) as u16;
    packet[2..4].copy_from_slice(&total_len.to_be_bytes());
    let checksum = !sum(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend_from_slice(&[0x11, 0x11, 0x22, 0x22]);
    packet.extend_from_slice(&(total_len - 20).to_be_bytes());
    // No checksum, so that it is not merged with others.
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(&number.to_be_bytes());
    packet.resize(usize::from(total_len), 0x5a);
    packet
}

/// The packet up to its length, without what congestion on the way changes: ECN bits and, for them, a checksum.
fn unmarked(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let Ok(header) = ip::parse(&packet) else { return packet };
    packet.truncate(header.total_len);
    if header.src.is_ipv4() {
        packet[1] &= !3;
        packet[10..12].fill(0);
    } else {
        packet[1] &= !0x30;
    }
    packet
}

fn is_unreachable(packet: &[u8]) -> bool {
    match packet[0] >> 4 {
        4 => packet[9] == 1 && packet.get(20) == Some(&3),
        _ => packet[6] == 58 && packet.get(40) == Some(&1),
    }
}

/// Where no peer is.
fn stranger() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 66], 6_666))
}
