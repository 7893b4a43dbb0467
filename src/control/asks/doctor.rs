//! `doctor`: what went wrong, for `rvpn doctor`.
//!
//! ```text
//! testimony={"process":4711,"is_up":true,"bad_mac1":null,...}
//! errno=0
//! ```
//!
//! Not here: the text of it (see `control::doctor::testimony`).

use std::io;

use tokio::net::UnixStream;

use super::{Asks, reply};
use crate::control::doctor::testimony::{KEY, Testimony};

pub(super) async fn answer(asks: &Asks, stream: &mut UnixStream) -> io::Result<()> {
    let testimony = Testimony::of(std::process::id(), asks.device.evidence());
    let text = serde_json::to_string(&testimony)?;
    reply(stream, format!("{KEY}={text}\n").into_bytes()).await
}
