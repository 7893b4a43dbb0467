//! What one process hands over to the next: the offer, the records, and the frames they come in. It comes from a process
//! of the same program on the same machine; what is read wrongly may use a counter twice.

use std::collections::HashSet;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV6};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use arbitrary::Unstructured;
use rvpn::control::upgrade::channel::{Channel, MAX_FRAME_LEN};
use rvpn::control::upgrade::offer::Offer;
use rvpn::proto::carried::{Carried, Malformed, Reader, Writer};
use rvpn::proto::constants::REJECT_AFTER_MESSAGES;
use rvpn::proto::endpoint::Endpoint;
use rvpn::proto::keys::PublicKey;
use rvpn::proto::messages::{self, Message};
use rvpn::proto::peer::{CarriedPeer, Peer};
use rvpn::proto::replay::ReplayWindow;
use rvpn::proto::time::Instant;

use super::world::World;

/// The first byte says which it is.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 8 {
        0 => frames(bytes),
        1 => resumption(&mut Unstructured::new(bytes)).expect("no input is too short"),
        2..=3 => {
            one_form::<Offer>(bytes);
            one_form::<Option<Endpoint>>(bytes);
            one_form::<ReplayWindow>(bytes);
        }
        _ => record(&mut Unstructured::new(bytes)).expect("no input is too short"),
    }
}

/// There is one way to write a value, and no other is read.
fn one_form<T: Carried>(bytes: &[u8]) {
    let Ok(value) = Reader::new(bytes).whole::<T>() else { return };
    assert_eq!(written(|out| value.write(out)), bytes);
}

fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::new(MAX_FRAME_LEN);
    write(&mut out);
    out.written().expect("what was read has room").to_vec()
}

/// Frames out of any bytes: as many as have a head there, none of more bytes than there are.
fn frames(bytes: &[u8]) {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    // More would have to wait for a reader.
    let bytes = &bytes[..bytes.len().min(4096)];
    theirs.write_all(bytes).expect("there is room");
    theirs.shutdown(Shutdown::Write).expect("it is open");
    let mut channel = Channel::new(ours).expect("a connection");
    let mut left = bytes.len();
    while let Ok((_, frame)) = channel.receive() {
        left = left.checked_sub(5 + frame.len()).expect("a frame has been there");
    }
}

/// A device goes on with what a record says of its peer: however the time and the other end go on from there, no counter
/// is used that the process before can have used, and none twice.
fn resumption(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut world = World::new();
    world.advance(Instant::from_nanos(NOW).since(world.now()));
    let record = Record::read(input)?;
    let flags = input.arbitrary::<u8>()?;
    let mut device = (NOW - u64::from(flags >> 7)).to_le_bytes().to_vec();
    // The interface and the device are up.
    device.extend([1, u8::from(flags & 1 == 0)]);
    device.extend([51_820_u16.to_le_bytes().as_slice(), &[0], &input.arbitrary::<u64>()?.to_le_bytes()].concat());
    device.extend(1_u32.to_le_bytes());
    let mut peer = [&world.nodes[1].public_key.as_bytes()[..], &record.bytes()].concat();
    let staged = u32::from(flags >> 1 & 7);
    peer.extend(staged.to_le_bytes());
    for n in 0..staged {
        let len = u32::from(input.arbitrary::<u8>()?);
        peer.push(n as u8);
        peer.extend(len.to_le_bytes());
        peer.extend(std::iter::repeat_n(0x45, len as usize));
    }
    option(&mut peer, record.endpoint.as_ref().filter(|_| flags & 16 != 0), |out, (remote, _)| {
        put_address(out, remote.ip());
        out.extend(remote.port().to_le_bytes());
        if let SocketAddr::V6(v6) = remote {
            out.extend(v6.flowinfo().to_le_bytes());
            out.extend(v6.scope_id().to_le_bytes());
        }
        out.push(0);
    });
    peer.push(flags >> 5 & 1);
    if !world.resume(0, &[&device, &peer]) {
        return Ok(());
    }

    let sessions: Vec<_> = record.sessions.iter().flatten().collect();
    let mut used = HashSet::new();
    let end = world.now().plus(Duration::from_secs(600));
    for _ in 0..200 {
        for train in world.work() {
            for payload in train.payloads() {
                let Some(Message::Data { receiver, counter }) = messages::parse(payload) else { continue };
                let known: Vec<_> = sessions.iter().filter(|session| session.remote == receiver.0).collect();
                if let [session] = known[..]
                    && train.from == world.nodes[0].outer
                {
                    assert!(
                        counter >= session.next_counter + 1024,
                        "counter {counter} can have been used: {session:?}"
                    );
                    assert!(used.insert((receiver, counter)), "counter {counter} is used twice");
                }
            }
            world.internet.deliver(&train);
        }
        if world.now() >= end {
            break;
        }
        world.advance_to_deadline(end);
    }
    Ok(())
}

/// The moment at which records are read.
const NOW: u64 = 4_000_000_000_000;

/// A record of a peer, made here without any help of the code under test, and what another process writes that has read
/// it: the same, but for counters that are skipped and a handshake that begins again.
fn record(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let record = Record::read(input)?;
    let bytes = record.bytes();
    let now = Instant::from_nanos(NOW);
    let read = |bytes: &[u8]| {
        let mut input = Reader::new(bytes);
        let carried = CarriedPeer::read(now, &mut input)?;
        input.end().map(|()| carried)
    };
    let carried = read(&bytes);
    assert_eq!(carried.is_ok(), record.is_sound(), "{record:?}");
    let Ok(mut carried) = carried else { return Ok(()) };
    assert!(carried.indices().map(|index| index.0).eq(record.sessions.iter().flatten().map(|session| session.local)));
    let mut peer = Peer::new(PublicKey([7; 32]), None);
    peer.resume(carried, true);
    let again = written(|out| peer.write(false, out));
    assert!(again.len() <= Peer::MAX_CARRIED_LEN);
    let expected = record.resumed().bytes();
    let difference = again.iter().zip(&expected).position(|(byte, expected)| byte != expected);
    assert!(again == expected, "from byte {difference:?} on, of {} and {}: {record:?}", again.len(), expected.len());

    // Cut off, prolonged, or with a byte that is another: refused, or one record still.
    assert_eq!(read(&[bytes.as_slice(), &[0]].concat()).err(), Some(Malformed));
    let place = input.arbitrary::<u16>()?;
    let place = usize::from(place) % bytes.len();
    assert_eq!(read(&bytes[..place]).err(), Some(Malformed), "{place} of {} bytes", bytes.len());
    let mut changed = bytes;
    changed[place] = input.arbitrary()?;
    if let Ok(carried) = read(&changed) {
        let mut peer = Peer::new(PublicKey([7; 32]), None);
        peer.resume(carried, true);
        let again = written(|out| peer.write(false, out));
        assert!(read(&again).is_ok(), "what was read is written so that nobody reads it");
    }
    Ok(())
}

#[derive(Clone, Debug)]
struct Record {
    endpoint: Option<(SocketAddr, Option<(IpAddr, u32)>)>,
    sessions: [Option<Session>; 3],
    is_pending: bool,
    is_asked: bool,
    /// The first is that of the next initiation, the fifth that of the persistent keepalive.
    deadlines: [Option<u64>; 7],
    attempts: u32,
    flags: [bool; 2],
    last_sent_handshake: Option<u64>,
    heard: u64,
    check_at: Option<u64>,
    emitted: Option<[u8; 12]>,
    accepted: [u8; 12],
    accepted_at: Option<u64>,
    last_handshake: Option<(u64, u32)>,
    counters: [u64; 4],
}

#[derive(Clone, Debug)]
struct Session {
    is_initiator: bool,
    local: u32,
    remote: u32,
    birth: u64,
    keys: [u8; 2],
    next_counter: u64,
    may_send: bool,
    window: u64,
    ring: u8,
}

impl Record {
    fn read(input: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let mut record = Self {
            sessions: [Session::read(input)?, Session::read(input)?, Session::read(input)?],
            endpoint: None,
            is_pending: input.arbitrary()?,
            is_asked: input.arbitrary()?,
            deadlines: [None; 7],
            attempts: input.arbitrary()?,
            flags: input.arbitrary()?,
            last_sent_handshake: moment(input)?,
            heard: moment(input)?.unwrap_or_default(),
            check_at: moment(input)?,
            emitted: input.arbitrary()?,
            accepted: input.arbitrary()?,
            accepted_at: moment(input)?,
            last_handshake: None,
            counters: input.arbitrary()?,
        };
        for deadline in &mut record.deadlines {
            *deadline = moment(input)?;
        }
        if input.arbitrary()? {
            let nanos = input.arbitrary::<u32>()?;
            let nanos = if nanos & 15 == 0 { nanos } else { nanos % 1_000_000_000 };
            record.last_handshake = Some((input.arbitrary()?, nanos));
        }
        if input.arbitrary()? {
            let (address, port) = (address(input)?, input.arbitrary()?);
            let remote = match address {
                IpAddr::V4(_) => SocketAddr::new(address, port),
                IpAddr::V6(v6) => SocketAddrV6::new(v6, port, input.arbitrary()?, input.arbitrary()?).into(),
            };
            let source = if input.arbitrary()? { Some((self::address(input)?, input.arbitrary()?)) } else { None };
            record.endpoint = Some((remote, source));
        }
        Ok(record)
    }

    /// Tells whether it can be of this moment and this protocol.
    fn is_sound(&self) -> bool {
        let is_sound = |session: &Session| {
            session.birth <= NOW
                && session.next_counter <= REJECT_AFTER_MESSAGES
                && session.window <= REJECT_AFTER_MESSAGES
        };
        let is_past = |moment: Option<u64>| moment.is_none_or(|moment| moment <= NOW);
        self.sessions.iter().flatten().all(is_sound)
            && is_past(self.last_sent_handshake)
            && is_past(self.accepted_at)
            && self.last_handshake.is_none_or(|(_, nanos)| nanos < 1_000_000_000)
    }

    /// What the next process knows.
    fn resumed(&self) -> Self {
        let mut next = self.clone();
        for session in next.sessions.iter_mut().flatten() {
            session.next_counter = (session.next_counter + 1024).min(REJECT_AFTER_MESSAGES);
        }
        if self.is_pending {
            next.last_sent_handshake = None;
        }
        if self.is_pending || self.is_asked {
            next.deadlines[0] = Some(NOW);
        }
        // Nobody has configured an interval.
        next.deadlines[4] = None;
        (next.is_pending, next.is_asked) = (false, false);
        next
    }

    /// As `proto::carried` has it.
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        option(&mut out, self.endpoint.as_ref(), |out, (remote, source)| {
            put_address(out, remote.ip());
            out.extend(remote.port().to_le_bytes());
            if let SocketAddr::V6(v6) = remote {
                out.extend(v6.flowinfo().to_le_bytes());
                out.extend(v6.scope_id().to_le_bytes());
            }
            option(out, source.as_ref(), |out, (address, interface)| {
                put_address(out, *address);
                out.extend(interface.to_le_bytes());
            });
        });
        for session in &self.sessions {
            option(&mut out, session.as_ref(), |out, session| session.put(out));
        }
        out.extend([self.is_pending, self.is_asked].map(u8::from));
        self.deadlines.iter().for_each(|deadline| number(&mut out, *deadline));
        out.extend(self.attempts.to_le_bytes());
        out.extend(self.flags.map(u8::from));
        number(&mut out, self.last_sent_handshake);
        out.extend(self.heard.to_le_bytes());
        number(&mut out, self.check_at);
        option(&mut out, self.emitted.as_ref(), |out, stamp| out.extend(stamp));
        out.extend(self.accepted);
        number(&mut out, self.accepted_at);
        option(&mut out, self.last_handshake.as_ref(), |out, (secs, nanos)| {
            out.extend(secs.to_le_bytes());
            out.extend(nanos.to_le_bytes());
        });
        out.extend(self.counters.iter().flat_map(|counter| counter.to_le_bytes()));
        out
    }
}

impl Session {
    fn read(input: &mut Unstructured<'_>) -> arbitrary::Result<Option<Self>> {
        if input.arbitrary()? {
            return Ok(None);
        }
        let mut counter = || -> arbitrary::Result<u64> {
            Ok(match input.arbitrary::<u8>()? {
                // The edge of all counters, both sides of it.
                step @ 0..=31 => REJECT_AFTER_MESSAGES - 24 + u64::from(step),
                step @ 32..=63 => REJECT_AFTER_MESSAGES - 1040 + u64::from(step - 32),
                _ => input.arbitrary::<u32>()?.into(),
            })
        };
        let (next_counter, window) = (counter()?, counter()?);
        Ok(Some(Self {
            is_initiator: input.arbitrary()?,
            local: input.arbitrary()?,
            remote: input.arbitrary()?,
            birth: moment(input)?.unwrap_or(NOW),
            keys: input.arbitrary()?,
            next_counter,
            may_send: input.arbitrary()?,
            window,
            ring: input.arbitrary()?,
        }))
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.is_initiator.into());
        out.extend(self.local.to_le_bytes());
        out.extend(self.remote.to_le_bytes());
        out.extend(self.birth.to_le_bytes());
        self.keys.iter().for_each(|key| out.extend([*key; 32]));
        out.extend(self.next_counter.to_le_bytes());
        out.push(self.may_send.into());
        out.extend(self.window.to_le_bytes());
        out.extend([self.ring; 1024]);
    }
}

/// A point in time, more often than not about [`NOW`].
fn moment(input: &mut Unstructured<'_>) -> arbitrary::Result<Option<u64>> {
    Ok(match input.arbitrary::<u8>()? {
        0..=63 => None,
        step @ 64..=191 => Some(NOW - (u64::from(step) - 64) * 1_000_000_000),
        step @ 192..=223 => Some(NOW + (u64::from(step) - 192)),
        _ => Some(input.arbitrary()?),
    })
}

fn address(input: &mut Unstructured<'_>) -> arbitrary::Result<IpAddr> {
    Ok(if input.arbitrary()? {
        Ipv6Addr::from_bits(input.arbitrary()?).into()
    } else {
        Ipv4Addr::from_bits(input.arbitrary()?).into()
    })
}

fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            out.push(4);
            out.extend(address.octets());
        }
        IpAddr::V6(address) => {
            out.push(6);
            out.extend(address.octets());
        }
    }
}

fn number(out: &mut Vec<u8>, value: Option<u64>) {
    option(out, value.as_ref(), |out, value| out.extend(value.to_le_bytes()));
}

fn option<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    out.push(value.is_some().into());
    if let Some(value) = value {
        put(out, value);
    }
}
