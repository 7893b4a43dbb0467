//! `rvpn showconf`: the state of an interface as a file for `setconf`.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};

use rvpn_uapi::DeviceStatus;

use super::failure::Failure;
use crate::control::client::Client;
use crate::control::endpoint::{address_text, endpoint_text};
use crate::control::key_text;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The interface to show.
    interface: OsString,
}

pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<(), Failure> {
    let status = client.status(&arguments.interface)?;
    let mut out = BufWriter::new(io::stdout().lock());
    write(&status, &mut out)?;
    Ok(out.flush()?)
}

/// Writes `status` as a configuration file.
pub(super) fn write(status: &DeviceStatus, out: &mut impl Write) -> io::Result<()> {
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
        if peer.persistent_keepalive != 0 {
            writeln!(out, "PersistentKeepalive = {}", peer.persistent_keepalive)?;
        }
    }
    Ok(())
}
