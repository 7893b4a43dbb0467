//! `upgrade`: another process takes over.
//!
//! ```text
//! version=1      of the state it can read
//! ```
//! The answer is a zero byte and what `control::upgrade` says follows, or, to those who may not and to other versions, a
//! sentence in a frame.

use std::io;
use std::sync::Arc;

use rvpn_uapi::Ask;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::Asks;
use crate::control::upgrade::UpgradeError;
use crate::control::upgrade::channel::{Channel, Kind};
use crate::control::upgrade::taking::ACCEPTED;
use crate::proto::carried::VERSION;

pub(super) async fn answer(asks: &Asks, ask: &Ask, mut stream: UnixStream) -> io::Result<()> {
    let (may, pid) = (super::may_have_keys(&stream)?, stream.peer_cred()?.pid());
    stream.write_all(&ACCEPTED).await?;
    let stream = stream.into_std()?;
    let version = ask.argument("version").and_then(|version| version.parse().ok());
    let (giver, pid) = match (&asks.giver, pid) {
        _ if !may => {
            return tell(stream, UpgradeError::Told("only root and the daemon's user may take over".to_owned()));
        }
        _ if version != Some(VERSION) => {
            return tell(stream, UpgradeError::Version { theirs: VERSION, ours: version.unwrap_or_default() });
        }
        (Some(giver), Some(pid)) => (Arc::clone(giver), pid),
        _ => return tell(stream, UpgradeError::NoDevice),
    };
    let device = Arc::clone(&asks.device);
    let (done, given) = oneshot::channel();
    std::thread::Builder::new().name("rvpn-upgrade".to_owned()).spawn(move || {
        match giver.give(&*device, stream, pid) {
            Ok(()) => tracing::debug!("Process {pid} has taken over"),
            Err(error) => tracing::error!("Process {pid} did not take over, this one goes on: {error}"),
        }
        let _ = done.send(());
    })?;
    // As long as it takes this counts as a connection. A thread that panicked has dropped its end.
    let _ = given.await;
    Ok(())
}

fn tell(stream: std::os::unix::net::UnixStream, error: UpgradeError) -> io::Result<()> {
    let told = Channel::new(stream).and_then(|mut channel| channel.send(Kind::Failed, error.to_string().as_bytes()));
    told.map_err(io::Error::other)
}
