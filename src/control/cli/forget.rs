//! `rvpn forget`: a peer, or all of them, as if they had never been heard from.

use std::ffi::OsString;

use rvpn_uapi::Ask;

use super::failure::Failure;
use super::peer_word::Peers;
use crate::control::client::Client;
use crate::control::key_text;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The interface.
    interface: OsString,
    /// The public key or the name of a peer, or `all`.
    #[arg(value_name = "PEER|all")]
    peer: OsString,
}

pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<(), Failure> {
    let Arguments { interface, peer } = arguments;
    let mut ask = Ask::new("forget");
    let is_all = peer == "all";
    if !is_all {
        let key = Peers::of(client, interface).find(peer)?;
        ask = ask.with("peer", &*key_text::encode(&key.0));
    }
    let answer = client.question(interface, &ask)?;
    if !is_all && answer.iter().any(|(key, value)| key == "forgotten" && value == "0") {
        let expected = format!("{} has no such peer", interface.display());
        return Err(Failure::Word { word: format!("peer `{}`", peer.display()), expected });
    }
    Ok(())
}
