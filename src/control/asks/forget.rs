//! `forget`: sessions and learnt endpoints of a peer, or of all, go; what was configured stays.
//!
//! ```text
//! rvpn_ask=forget
//! peer=KEY              in base64; without it, all peers
//!
//! forgotten=1           how many peers; 0 if there is no such peer
//! errno=0
//! ```

use std::io;

use rvpn_uapi::{Ask, Errno, PublicKey};
use tokio::net::UnixStream;

use super::{Asks, refuse, reply};
use crate::control::key_text;

pub(super) async fn answer(asks: &Asks, ask: &Ask, stream: &mut UnixStream) -> io::Result<()> {
    let peer = match ask.argument("peer").map(|key| key_text::decode(key.as_bytes())) {
        None => None,
        Some(Some(key)) => Some(PublicKey(*key.as_bytes())),
        Some(None) => return refuse(stream, Errno::INVALID).await,
    };
    match asks.worker.forget(peer).await {
        Ok(count) => reply(stream, format!("forgotten={count}\n").into_bytes()).await,
        Err(error) => refuse(stream, error).await,
    }
}
