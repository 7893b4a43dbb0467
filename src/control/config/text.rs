//! A device as a file: what `setconf` reads, written from what a device says of itself.
//!
//! What only rvpn keeps is written as an option in a comment.
//!
//! Source: wg(8), CONFIGURATION FILE FORMAT; the order of keys is that of `wg showconf`.

use std::io::{self, Write};

use rvpn_uapi::{DeviceStatus, EndpointOrder};
use zeroize::Zeroizing;

use crate::control::config::value::rate_text;
use crate::control::endpoint::{address_text, endpoint_text};
use crate::control::key_text;

/// Returns the whole file. Memory is reserved for it at once, so that growing leaves no copy of a key behind.
pub fn of(status: &DeviceStatus) -> Zeroizing<Vec<u8>> {
    let len =
        status.peers.iter().map(|peer| 384 + 64 * peer.allowed_ips.len() + 300 * peer.endpoints.len()).sum::<usize>()
            + 256;
    let mut text = Zeroizing::new(Vec::with_capacity(len));
    write(status, &mut *text).expect("memory takes whatever is written to it");
    text
}

/// Writes `status` as a configuration file.
///
/// # Errors
/// Those of `out`.
pub fn write(status: &DeviceStatus, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "[Interface]")?;
    if status.listen_port != 0 {
        writeln!(out, "ListenPort = {}", status.listen_port)?;
    }
    if status.fwmark != 0 {
        writeln!(out, "FwMark = {:#x}", status.fwmark)?;
    }
    if let Some(key) = &status.private_key {
        writeln!(out, "PrivateKey = {}", *key_text::encode(key.as_bytes()))?;
    }
    writeln!(out)?;
    for (index, peer) in status.peers.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        writeln!(out, "[Peer]\nPublicKey = {}", *key_text::encode(&peer.public_key.0))?;
        if let Some(name) = &peer.name {
            writeln!(out, "#rvpn: Name = {name}")?;
        }
        for (key, rate) in [("RateUp", peer.rate_up), ("RateDown", peer.rate_down)] {
            if rate != 0 {
                writeln!(out, "#rvpn: {key} = {}", rate_text(rate))?;
            }
        }
        if let Some(key) = &peer.preshared_key {
            writeln!(out, "PresharedKey = {}", *key_text::encode(key.as_bytes()))?;
        }
        for (index, network) in peer.allowed_ips.iter().enumerate() {
            let before = if index == 0 { "AllowedIPs = " } else { ", " };
            write!(out, "{before}{}/{}", address_text(network.address()), network.prefix_len())?;
        }
        if !peer.allowed_ips.is_empty() {
            writeln!(out)?;
        }
        if let Some(endpoint) = peer.endpoint {
            writeln!(out, "Endpoint = {}", endpoint_text(endpoint))?;
        }
        for (index, candidate) in peer.endpoints.iter().enumerate() {
            let before = if index == 0 { "#rvpn: Endpoint = " } else { ", " };
            write!(out, "{before}{candidate}")?;
        }
        if !peer.endpoints.is_empty() {
            writeln!(out)?;
            if peer.endpoint_order != EndpointOrder::default() {
                writeln!(out, "#rvpn: EndpointOrder = {}", peer.endpoint_order)?;
            }
        }
        if peer.persistent_keepalive != 0 {
            writeln!(out, "PersistentKeepalive = {}", peer.persistent_keepalive)?;
        }
    }
    Ok(())
}
