//! How many initiations a responder answers per second.
//!
//! Each comes from another peer and is the first from it, so that no limit per peer is met; all are made before the
//! clock starts, so that the time is the responder's. A bounded number is in flight: a responder that is not behind is
//! not under load. One that asks for cookies all the same is reported with what it has answered.
//!
//! ```text
//! handshakes keys COUNT                                         public keys of the peers, one per line
//! handshakes flood COUNT RESPONDER_KEY RESPONDER_ADDRESS:PORT   prints: answered, cookies, seconds
//! ```
//! Keys are hexadecimal.

// A bench reads the clock itself.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

use std::error::Error;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rvpn::proto::cookie::CookieJar;
use rvpn::proto::handshake::{Identity, create_initiation};
use rvpn::proto::index::Index;
use rvpn::proto::keys::{PresharedKey, PrivateKey, PublicKey};
use rvpn::proto::messages::{self, INITIATION_LEN, Message};
use rvpn::proto::time::WallTime;
use rvpn::proto::timestamp::Timestamp;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["keys", count] => count.parse().map_err(Into::into).map(print_keys),
        ["flood", count, key, address] => flood(count, key, address),
        _ => Err("usage: handshakes keys COUNT | handshakes flood COUNT RESPONDER_KEY RESPONDER_ADDRESS:PORT".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("handshakes: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_keys(count: u32) {
    for n in 0..count {
        let key: String = identity(n).public_key().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        println!("{key}");
    }
}

/// Peer number `n`.
fn identity(n: u32) -> Identity {
    let mut bytes = [0x51; 32];
    bytes[4..8].copy_from_slice(&n.to_be_bytes());
    Identity::new(PrivateKey::new(bytes).expect("a key that is not zero"))
}

fn flood(count: &str, key: &str, address: &str) -> Result<(), Box<dyn Error>> {
    let (count, address) = (count.parse()?, address.parse::<SocketAddr>()?);
    let initiations = initiations(count, &PublicKey(parse_key(key).ok_or("the key is 64 hexadecimal digits")?))?;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(address)?;
    // What is not answered in this time is lost, or refused.
    socket.set_read_timeout(Some(PATIENCE))?;

    let (mut sent, mut answered, mut cookies) = (0, 0, 0);
    let started = Instant::now();
    let mut last = started;
    let mut datagram = [0; 2048];
    while answered + cookies < initiations.len() {
        while sent < initiations.len() && sent < answered + cookies + WINDOW {
            socket.send(&initiations[sent])?;
            sent += 1;
        }
        let Ok(len) = socket.recv(&mut datagram) else { break };
        match messages::parse(&datagram[..len]) {
            Some(Message::Response(_)) => answered += 1,
            Some(Message::CookieReply(_)) => cookies += 1,
            // A responder may use the new session at once, with a keepalive.
            _ => continue,
        }
        last = Instant::now();
        if last.duration_since(started) > LIMIT {
            break;
        }
    }
    println!("{answered} {cookies} {:.6}", last.duration_since(started).as_secs_f64());
    Ok(())
}

fn initiations(count: u32, responder: &PublicKey) -> Result<Vec<[u8; INITIATION_LEN]>, Box<dyn Error>> {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let wall = WallTime { secs: since_epoch.as_secs(), nanos: since_epoch.subsec_nanos() };
    let mut rng = StdRng::seed_from_u64(u64::from(wall.nanos));
    let mut made = Vec::with_capacity(count as usize);
    for n in 0..count {
        let identity = identity(n);
        let secret = identity.static_static(responder).ok_or("the responder's key is of low order")?;
        let (psk, timestamp) = (PresharedKey::new([0; 32]), Timestamp::whitened(wall));
        let (_, mut message) = create_initiation(&identity, responder, &secret, &psk, timestamp, Index(n), &mut rng)?;
        CookieJar::new(responder).add_macs(rvpn::proto::time::Instant::default(), &mut message);
        made.push(message);
    }
    Ok(made)
}

fn parse_key(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    (text.len() == 64).then_some(key)
}

/// Initiations in flight.
const WINDOW: usize = 32;
const PATIENCE: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(5);
