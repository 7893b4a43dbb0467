//! `rvpn pair`: both ends of a new tunnel, ready to paste, and one of them for the camera of a telephone.
//!
//! Nothing is kept: the keys are in what is printed and nowhere else.

use std::io::{self, Write};
use std::net::Ipv4Addr;

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::control::config::value;
use crate::control::key_text;
use crate::proto::crypto;
use crate::proto::keys::PrivateKey;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the second end reaches the first one, as in vpn.example.com:51820. The first end listens on this port.
    endpoint: String,
    /// The addresses within the tunnel: the first two of NETWORK; default: a random one in 10.0.0.0/8.
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// Send everything of the second end through the tunnel, not only what is for the first one.
    #[arg(long)]
    full: bool,
    /// Print the second end as a QR code too, for the WireGuard app of a telephone.
    #[arg(long)]
    qr: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let pair = Pair::new(arguments, &mut UnwrapErr(SysRng))?;
    let mut out = io::stdout().lock();
    out.write_all(pair.first().as_bytes())?;
    writeln!(out)?;
    let second = pair.second();
    out.write_all(second.as_bytes())?;
    if arguments.qr {
        writeln!(out, "\n{}", *qr_code(&second)?)?;
    }
    Ok(out.flush()?)
}

/// What two files are made of.
struct Pair {
    keys: [PrivateKey; 2],
    preshared_key: Zeroizing<[u8; 32]>,
    addresses: [Ipv4Addr; 2],
    prefix_len: u8,
    endpoint: String,
    port: u16,
    is_full: bool,
}

impl Pair {
    fn new(arguments: &Arguments, rng: &mut impl rand::CryptoRng) -> Result<Self, Failure> {
        let endpoint = &arguments.endpoint;
        let bad =
            |word: &str, expected: &str| Failure::Word { word: format!("`{word}`"), expected: expected.to_owned() };
        value::endpoint(endpoint.as_bytes()).map_err(|expected| bad(endpoint, expected))?;
        let port = endpoint.rsplit_once(':').map_or("", |(_, port)| port);
        let port = value::port(port.as_bytes()).ok().filter(|&port| port != 0);
        let port = port.ok_or_else(|| bad(endpoint, "expected a port other than 0 at its end"))?;
        let (network, prefix_len) = match &arguments.network {
            Some(text) => network(text).ok_or_else(|| {
                bad(text, "expected an IPv4 network with room for two, as in 10.9.0.0/24; /30 is the smallest")
            })?,
            None => {
                let mut bytes = [0; 2];
                rng.fill_bytes(&mut bytes);
                (u32::from_be_bytes([10, bytes[0], bytes[1], 0]), 24)
            }
        };
        let mut preshared_key = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *preshared_key);
        Ok(Self {
            keys: [PrivateKey::generate(rng), PrivateKey::generate(rng)],
            preshared_key,
            addresses: [Ipv4Addr::from_bits(network + 1), Ipv4Addr::from_bits(network + 2)],
            prefix_len,
            endpoint: endpoint.clone(),
            port,
            is_full: arguments.full,
        })
    }

    /// The end that is reached.
    fn first(&self) -> Zeroizing<String> {
        let listen = format!("ListenPort = {}\n", self.port);
        self.file(0, &format!("the end at {}", self.endpoint), &listen, &format!("{}/32", self.addresses[1]), "")
    }

    /// The end that reaches it, and keeps the way through its router open.
    fn second(&self) -> Zeroizing<String> {
        let allowed_ips = match self.is_full {
            true => "0.0.0.0/0, ::/0".to_owned(),
            false => format!("{}/32", self.addresses[0]),
        };
        let more = format!("Endpoint = {}\nPersistentKeepalive = 25\n", self.endpoint);
        self.file(1, "the other end", "", &allowed_ips, &more)
    }

    fn file(&self, end: usize, title: &str, interface: &str, allowed_ips: &str, peer: &str) -> Zeroizing<String> {
        let private_key = key_text::encode(self.keys[end].as_bytes());
        let public_key = key_text::encode(crypto::public_key(&self.keys[1 - end]).as_bytes());
        let preshared_key = key_text::encode(&self.preshared_key);
        let (address, prefix_len) = (self.addresses[end], self.prefix_len);
        let mut text = Zeroizing::new(String::with_capacity(1024));
        for part in [
            &format!("# {title}: /etc/wireguard/wg0.conf, mode 0600\n[Interface]\nPrivateKey = "),
            private_key.as_str(),
            &format!("\nAddress = {address}/{prefix_len}\n{interface}\n[Peer]\nPublicKey = {}\n", *public_key),
            "PresharedKey = ",
            preshared_key.as_str(),
            &format!("\nAllowedIPs = {allowed_ips}\n{peer}"),
        ] {
            text.push_str(part);
        }
        text
    }
}

/// Reads a network of at least four addresses.
fn network(text: &str) -> Option<(u32, u8)> {
    let network: rvpn_uapi::AllowedIp = text.parse().ok()?;
    match network.address() {
        std::net::IpAddr::V4(address) if network.prefix_len() <= 30 => Some((address.to_bits(), network.prefix_len())),
        _ => None,
    }
}

/// Draws `text` with two points to a character, light on dark.
///
/// Comments are left out and no redundancy is added, since a terminal has no scratches: it is to fit on a screen.
fn qr_code(text: &str) -> Result<Zeroizing<String>, Failure> {
    let mut content = Zeroizing::new(String::with_capacity(text.len()));
    for line in text.split_inclusive('\n').filter(|line| !line.starts_with('#')) {
        content.push_str(line);
    }
    let code = QrCode::with_error_correction_level(content.as_bytes(), EcLevel::L).map_err(|error| Failure::Word {
        word: "--qr".to_owned(),
        expected: format!("the file does not fit into a QR code: {error}"),
    })?;
    let picture = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    Ok(Zeroizing::new(picture))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(endpoint: &str, network: Option<&str>, full: bool) -> Result<Pair, String> {
        let arguments =
            Arguments { endpoint: endpoint.to_owned(), network: network.map(str::to_owned), full, qr: true };
        Pair::new(&arguments, &mut UnwrapErr(SysRng)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn each_end_knows_the_other() {
        let pair = pair("vpn.example.com:7", Some("10.9.0.0/24"), false).expect("valid");
        let (first, second) = (pair.first(), pair.second());
        for (own, other) in [(&first, 1), (&second, 0)] {
            let public = key_text::encode(crypto::public_key(&pair.keys[other]).as_bytes());
            assert!(own.contains(&format!("PublicKey = {}\n", *public)), "{}", **own);
        }
        assert!(
            first.contains("Address = 10.9.0.1/24\nListenPort = 7\n") && first.contains("AllowedIPs = 10.9.0.2/32")
        );
        assert!(second.contains("Address = 10.9.0.2/24\n") && second.contains("Endpoint = vpn.example.com:7\n"));
        let preshared = |text: &str| text.lines().find(|line| line.starts_with("PresharedKey")).map(str::to_owned);
        assert_eq!(preshared(&first), preshared(&second));
    }

    #[test]
    fn the_files_are_what_setconf_reads_but_for_the_address() {
        let pair = pair("[2001:db8::1]:51820", None, true).expect("valid");
        for text in [pair.first(), pair.second()] {
            let stripped: String =
                text.lines().filter(|line| !line.starts_with("Address")).map(|l| format!("{l}\n")).collect();
            assert!(crate::control::config::Config::parse(stripped.as_bytes()).is_ok(), "{stripped}");
        }
    }

    #[test]
    fn an_end_that_cannot_be_reached_and_networks_without_room_are_refused() {
        for endpoint in ["vpn.example.com", "vpn.example.com:0", "vpn.example.com:70000"] {
            assert!(pair(endpoint, None, false).is_err_and(|error| error.contains(endpoint)), "{endpoint}");
        }
        for network in ["10.0.0.0/31", "fd00::/64", "10.0.0.0"] {
            assert!(pair("a:1", Some(network), false).is_err_and(|error| error.contains(network)), "{network}");
        }
    }

    #[test]
    fn a_file_fits_into_a_code() {
        let pair = pair(&format!("{}:51820", "a".repeat(253)), None, true).expect("valid");
        assert!(qr_code(&pair.second()).is_ok_and(|code| code.lines().count() > 20));
    }
}
