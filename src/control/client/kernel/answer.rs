//! The state of a device out of the driver's answer.
//!
//! The answer is as many messages as it takes, and a peer with many allowed IPs goes on in the next one: named again, with
//! nothing but more of them.
//!
//! Source: Linux uapi/linux/wireguard.h, WG_CMD_GET_DEVICE.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use netlink_packet_core::{NlaBuffer, NlasIterator};
use rvpn_uapi::{AllowedIp, DeviceStatus, PeerStatus, PublicKey, SecretKey};
use zeroize::Zeroizing;

use super::attribute as kind;

/// Adds the attributes of one message to what those before it said.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if they are not as they should be.
pub(super) fn read(attributes: &[u8], status: &mut DeviceStatus) -> io::Result<()> {
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.map_err(|_| unreadable())?;
        let value = attribute.value();
        match attribute.kind() {
            kind::DEVICE_PRIVATE_KEY => status.private_key = secret(value)?,
            kind::DEVICE_LISTEN_PORT => status.listen_port = u16::from_ne_bytes(array(value)?),
            kind::DEVICE_FWMARK => status.fwmark = u32::from_ne_bytes(array(value)?),
            kind::DEVICE_PEERS => {
                for peer in NlasIterator::new(value) {
                    read_peer(&peer.map_err(|_| unreadable())?, &mut status.peers)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_peer(attribute: &NlaBuffer<&[u8]>, peers: &mut Vec<PeerStatus>) -> io::Result<()> {
    let mut peer = PeerStatus::new(PublicKey([0; 32]));
    for attribute in NlasIterator::new(attribute.value()) {
        let attribute = attribute.map_err(|_| unreadable())?;
        let value = attribute.value();
        match attribute.kind() {
            kind::PEER_PUBLIC_KEY => peer.public_key = PublicKey(array(value)?),
            kind::PEER_PRESHARED_KEY => peer.preshared_key = secret(value)?,
            kind::PEER_ENDPOINT => peer.endpoint = Some(socket_address(value)?),
            kind::PEER_KEEPALIVE => peer.persistent_keepalive = u16::from_ne_bytes(array(value)?),
            kind::PEER_LAST_HANDSHAKE => peer.last_handshake = time(value)?,
            kind::PEER_RX_BYTES => peer.rx_bytes = u64::from_ne_bytes(array(value)?),
            kind::PEER_TX_BYTES => peer.tx_bytes = u64::from_ne_bytes(array(value)?),
            kind::PEER_ALLOWED_IPS => {
                for network in NlasIterator::new(value) {
                    peer.allowed_ips.push(allowed_ip(&network.map_err(|_| unreadable())?)?);
                }
            }
            _ => {}
        }
    }
    match peers.last_mut().filter(|last| last.public_key == peer.public_key) {
        Some(last) => last.allowed_ips.append(&mut peer.allowed_ips),
        None => peers.push(peer),
    }
    Ok(())
}

fn allowed_ip(attribute: &NlaBuffer<&[u8]>) -> io::Result<AllowedIp> {
    let (mut address, mut len) = (None, None);
    for attribute in NlasIterator::new(attribute.value()) {
        let attribute = attribute.map_err(|_| unreadable())?;
        let value = attribute.value();
        match attribute.kind() {
            // Its length tells the family.
            kind::ALLOWED_IP_ADDRESS if value.len() == 4 => address = Some(IpAddr::V4(array(value)?.into())),
            kind::ALLOWED_IP_ADDRESS => address = Some(IpAddr::V6(array(value)?.into())),
            kind::ALLOWED_IP_CIDR => len = Some(u8::from_ne_bytes(array(value)?)),
            _ => {}
        }
    }
    address.zip(len).and_then(|(address, len)| AllowedIp::new(address, len)).ok_or_else(unreadable)
}

/// A key, of which all zero is none.
fn secret(value: &[u8]) -> io::Result<Option<SecretKey>> {
    let bytes = Zeroizing::new(array(value)?);
    Ok(Some(SecretKey::new(&bytes)).filter(|key| !key.is_zero()))
}

/// struct sockaddr_in or sockaddr_in6.
fn socket_address(value: &[u8]) -> io::Result<SocketAddr> {
    let (family, rest) = value.split_first_chunk().ok_or_else(unreadable)?;
    let (port, rest) = rest.split_first_chunk().ok_or_else(unreadable)?;
    let port = u16::from_be_bytes(*port);
    match u16::from_ne_bytes(*family) {
        kind::FAMILY_V4 => {
            let address: [u8; 4] = *rest.first_chunk().ok_or_else(unreadable)?;
            Ok(SocketAddrV4::new(Ipv4Addr::from(address), port).into())
        }
        kind::FAMILY_V6 => {
            // Between port and address is the flow label, of which nothing is made.
            let (address, rest): (&[u8; 16], _) =
                rest.get(4..).and_then(<[u8]>::split_first_chunk).ok_or_else(unreadable)?;
            let scope = rest.first_chunk().ok_or_else(unreadable)?;
            Ok(SocketAddrV6::new(Ipv6Addr::from(*address), port, 0, u32::from_ne_bytes(*scope)).into())
        }
        _ => Err(unreadable()),
    }
}

/// struct __kernel_timespec, since the epoch; zero is never.
fn time(value: &[u8]) -> io::Result<Option<Duration>> {
    let (seconds, nanoseconds) = value.split_at_checked(8).ok_or_else(unreadable)?;
    let seconds = u64::try_from(i64::from_ne_bytes(array(seconds)?)).map_err(|_| unreadable())?;
    let nanoseconds = u32::try_from(i64::from_ne_bytes(array(nanoseconds)?)).map_err(|_| unreadable())?;
    Ok(Some(Duration::new(seconds, nanoseconds)).filter(|time| !time.is_zero()))
}

fn array<const N: usize>(value: &[u8]) -> io::Result<[u8; N]> {
    value.try_into().map_err(|_| unreadable())
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the driver's answer cannot be read")
}

#[cfg(test)]
mod tests;
