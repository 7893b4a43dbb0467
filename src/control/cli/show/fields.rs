//! One thing about an interface, for scripts: columns with a tab between them.
//!
//! The columns are those of `wg`; they never change, and whoever wants more finds it in JSON.
//!
//! Source: wg(8), `show`.

use std::io::{self, Write};

use rvpn_uapi::{DeviceStatus, PeerStatus, SecretKey};
use zeroize::Zeroizing;

use crate::control::cli::pubkey::public_key;
use crate::control::endpoint::{address_text, endpoint_text};
use crate::control::key_text;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Field {
    PublicKey,
    PrivateKey,
    ListenPort,
    Fwmark,
    Peers,
    PresharedKeys,
    Endpoints,
    AllowedIps,
    LatestHandshakes,
    Transfer,
    PersistentKeepalive,
    Dump,
}

impl Field {
    /// Writes the lines. With a name of the interface, it is the first column of each.
    pub(super) fn write(self, status: &DeviceStatus, name: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        let prefix = name.map(|name| format!("{name}\t")).unwrap_or_default();
        match self {
            Self::PublicKey => writeln!(out, "{prefix}{}", *device_public_key(status)),
            Self::PrivateKey => writeln!(out, "{prefix}{}", *secret(status.private_key.as_ref())),
            Self::ListenPort => writeln!(out, "{prefix}{}", status.listen_port),
            Self::Fwmark => writeln!(out, "{prefix}{}", fwmark(status.fwmark)),
            Self::Dump => {
                write!(out, "{prefix}{}\t", *secret(status.private_key.as_ref()))?;
                write!(out, "{}\t", *device_public_key(status))?;
                writeln!(out, "{}\t{}", status.listen_port, fwmark(status.fwmark))?;
                status.peers.iter().try_for_each(|peer| self.write_peer(peer, &prefix, out))
            }
            _ => status.peers.iter().try_for_each(|peer| self.write_peer(peer, &prefix, out)),
        }
    }

    fn write_peer(self, peer: &PeerStatus, prefix: &str, out: &mut dyn Write) -> io::Result<()> {
        let key = key_text::encode(&peer.public_key.0);
        write!(out, "{prefix}{}", *key)?;
        match self {
            Self::PresharedKeys => write!(out, "\t{}", *secret(peer.preshared_key.as_ref()))?,
            Self::Endpoints => write!(out, "\t{}", endpoint(peer))?,
            Self::AllowedIps => write!(out, "\t{}", allowed_ips(peer, " "))?,
            Self::LatestHandshakes => write!(out, "\t{}", latest_handshake(peer))?,
            Self::Transfer => write!(out, "\t{}\t{}", peer.rx_bytes, peer.tx_bytes)?,
            Self::PersistentKeepalive => write!(out, "\t{}", persistent_keepalive(peer))?,
            Self::Dump => {
                write!(out, "\t{}\t", *secret(peer.preshared_key.as_ref()))?;
                write!(out, "{}\t{}\t{}\t", endpoint(peer), allowed_ips(peer, ","), latest_handshake(peer))?;
                write!(out, "{}\t{}\t{}", peer.rx_bytes, peer.tx_bytes, persistent_keepalive(peer))?;
            }
            _ => {}
        }
        writeln!(out)
    }
}

/// The public key of the device, or `(none)`.
fn device_public_key(status: &DeviceStatus) -> Zeroizing<String> {
    status.private_key.as_ref().map_or_else(none, |key| key_text::encode(&public_key(key)))
}

fn secret(key: Option<&SecretKey>) -> Zeroizing<String> {
    key.map_or_else(none, |key| key_text::encode(key.as_bytes()))
}

fn none() -> Zeroizing<String> {
    Zeroizing::new(NONE.to_owned())
}

fn endpoint(peer: &PeerStatus) -> String {
    peer.endpoint.map_or_else(|| NONE.to_owned(), endpoint_text)
}

fn allowed_ips(peer: &PeerStatus, between: &str) -> String {
    if peer.allowed_ips.is_empty() {
        return NONE.to_owned();
    }
    let text = |network: &rvpn_uapi::AllowedIp| format!("{}/{}", address_text(network.address()), network.prefix_len());
    peer.allowed_ips.iter().map(text).collect::<Vec<_>>().join(between)
}

/// Seconds since the epoch; 0 is never.
fn latest_handshake(peer: &PeerStatus) -> u64 {
    peer.last_handshake.unwrap_or_default().as_secs()
}

fn fwmark(mark: u32) -> String {
    if mark == 0 { "off".to_owned() } else { format!("{mark:#x}") }
}

fn persistent_keepalive(peer: &PeerStatus) -> String {
    match peer.persistent_keepalive {
        0 => "off".to_owned(),
        seconds => seconds.to_string(),
    }
}

const NONE: &str = "(none)";
