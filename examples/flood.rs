//! A flood of handshake initiations from spoofed addresses, and a count of what came back.
//!
//! Every message has a valid mac1 and is otherwise genuine, of an initiator that the responder does not know: to find
//! that out, it computes one Diffie-Hellman, the most that somebody without a peer's key can make it do. Sources are the
//! 65,536 addresses below a /16, one after the other. They must be local addresses here (`ip route add local 10.1.0.0/16
//! dev lo`), so that the replies arrive. The raw socket wants CAP_NET_RAW.
//!
//! ```text
//! flood RESPONDER_KEY RESPONDER_ADDRESS:PORT SOURCES RATE BURST SECONDS
//! flood iWp...= 10.0.3.1:51820 10.1.0.0 10000 10 20
//! ```
//! RATE messages a second, BURST at once. Prints: sent, refused by our own network, replies, cookie replies among them,
//! bytes of the longest reply, seconds.

// A flood keeps its rate by the clock.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sockopt};
use rvpn::proto::cookie::CookieJar;
use rvpn::proto::handshake::{Identity, create_initiation};
use rvpn::proto::index::Index;
use rvpn::proto::keys::{PresharedKey, PrivateKey, PublicKey};
use rvpn::proto::messages::{self, INITIATION_LEN, Message};
use rvpn::proto::time::WallTime;
use rvpn::proto::timestamp::Timestamp;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let result = Plan::parse(&arguments).and_then(|plan| run(&plan));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flood: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Plan {
    responder: PublicKey,
    address: SocketAddrV4,
    /// The first of 65,536 addresses.
    sources: Ipv4Addr,
    rate: f64,
    burst: u64,
    seconds: f64,
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Self, Box<dyn Error>> {
        let [key, address, sources, rate, burst, seconds] = arguments else {
            return Err("usage: flood RESPONDER_KEY RESPONDER_ADDRESS:PORT SOURCES RATE BURST SECONDS".into());
        };
        let mut responder = [0; 32];
        Base64::decode(key, &mut responder).map_err(|error| format!("{key}: not a public key: {error}"))?;
        Ok(Self {
            responder: PublicKey(responder),
            address: address.parse()?,
            sources: sources.parse()?,
            rate: rate.parse()?,
            burst: burst.parse::<u64>()?.max(1),
            seconds: seconds.parse()?,
        })
    }
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let mut pool = initiations(&plan.responder)?;
    let socket = raw_socket()?;
    let replies = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, SOURCE_PORT))?;
    replies.set_read_timeout(Some(Duration::from_millis(100)))?;
    let _ = sockopt::set_socket_recv_buffer_size_force(&replies, 8 << 20);
    let over = AtomicBool::new(false);
    let (sent, seconds, seen) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_replies(&replies, &over));
        let started = Instant::now();
        let sent = send(plan, &socket, &mut pool);
        let seconds = started.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        (sent, seconds, reader.join().expect("the reader of replies does not panic"))
    });
    let ((sent, refused), Replies { count, cookies, longest }) = (sent?, seen);
    println!("{sent} {refused} {count} {cookies} {longest} {seconds:.3}");
    Ok(())
}

/// Sends at the plan's rate; returns how many messages went out and how many our own network refused.
fn send(plan: &Plan, socket: &OwnedFd, pool: &mut [[u8; INITIATION_LEN]]) -> io::Result<(u64, u64)> {
    let mut jar = CookieJar::new(&plan.responder);
    let mut packet = packet_to(plan.address);
    let (total, mut sent, mut refused) = ((plan.rate * plan.seconds) as u64, 0, 0);
    let started = Instant::now();
    for n in 0..total {
        if n.is_multiple_of(plan.burst) {
            let due = started + Duration::from_secs_f64(n as f64 / plan.rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let message = &mut pool[n as usize % POOL];
        // Another index is another mac1: no two messages of a flood are alike.
        message[4..8].copy_from_slice(&(n as u32).to_le_bytes());
        jar.add_macs(rvpn::proto::time::Instant::default(), message);
        let source = u32::from(plan.sources) & !0xffff | n as u32 & 0xffff;
        packet[12..16].copy_from_slice(&source.to_be_bytes());
        packet[HEADERS_LEN..].copy_from_slice(message);
        match rustix::net::sendto(socket, &packet, SendFlags::empty(), &plan.address) {
            Ok(_) => sent += 1,
            Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::AGAIN) => refused += 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok((sent, refused))
}

#[derive(Default)]
struct Replies {
    count: u64,
    cookies: u64,
    longest: usize,
}

/// Reads until the flood is over and nothing has come for as long as a read waits.
fn read_replies(socket: &UdpSocket, over: &AtomicBool) -> Replies {
    let mut replies = Replies::default();
    let mut datagram = [0; 2048];
    loop {
        match socket.recv(&mut datagram) {
            Ok(len) => {
                replies.count += 1;
                replies.longest = replies.longest.max(len);
                replies.cookies +=
                    u64::from(matches!(messages::parse(&datagram[..len]), Some(Message::CookieReply(_))));
            }
            Err(_) if over.load(Ordering::Relaxed) => return replies,
            Err(_) => {}
        }
    }
}

/// The headers of IPv4 and UDP, sources still to be filled in. The kernel completes length and checksum of the first;
/// the checksum of the second is optional over IPv4, and left out.
fn packet_to(address: SocketAddrV4) -> [u8; HEADERS_LEN + INITIATION_LEN] {
    let mut packet = [0; HEADERS_LEN + INITIATION_LEN];
    packet[0] = 0x45;
    packet[8] = 64;
    packet[9] = 17;
    packet[16..20].copy_from_slice(&address.ip().octets());
    packet[20..22].copy_from_slice(&SOURCE_PORT.to_be_bytes());
    packet[22..24].copy_from_slice(&address.port().to_be_bytes());
    packet[24..26].copy_from_slice(&((UDP_LEN + INITIATION_LEN) as u16).to_be_bytes());
    packet
}

/// A socket for packets with their own IPv4 header.
fn raw_socket() -> Result<OwnedFd, Box<dyn Error>> {
    rustix::net::socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))
        .map_err(|error| format!("a raw socket (it wants CAP_NET_RAW): {error}").into())
}

/// Genuine initiations of somebody who is no peer, each with an ephemeral key of its own.
fn initiations(responder: &PublicKey) -> Result<Vec<[u8; INITIATION_LEN]>, Box<dyn Error>> {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let wall = WallTime { secs: since_epoch.as_secs(), nanos: since_epoch.subsec_nanos() };
    let mut rng = StdRng::seed_from_u64(u64::from(wall.nanos));
    let mut key = [0; 32];
    rng.fill_bytes(&mut key);
    let identity = Identity::new(PrivateKey::new(key).ok_or("a key of zeros was drawn")?);
    let secret = identity.static_static(responder).ok_or("the responder's key is of low order")?;
    let (psk, timestamp) = (PresharedKey::new([0; 32]), Timestamp::whitened(wall));
    let initiation = |_| {
        let made = create_initiation(&identity, responder, &secret, &psk, timestamp, Index(0), &mut rng);
        Ok(made.map(|(_, message)| message)?)
    };
    (0..POOL).map(initiation).collect()
}

/// Different initiations: more than the responder can have in a cache, few enough to be made in no time.
const POOL: usize = 1024;

/// The port all messages come from: the addresses differ.
const SOURCE_PORT: u16 = 7777;

const UDP_LEN: usize = 8;
/// IPv4 and UDP.
const HEADERS_LEN: usize = 20 + UDP_LEN;
