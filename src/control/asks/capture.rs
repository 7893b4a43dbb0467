//! `capture`: the keys of handshakes, from now on and as they begin, for root and the user of the daemon.
//!
//! ```text
//! LOCAL_EPHEMERAL_PRIVATE_KEY=...      two lines for each handshake, without end
//! PRESHARED_KEY=...
//! ```
//! The first line is `errno=0`. Not here: what is done with them (`control::capture`).

use std::io;

use rvpn_uapi::{Errno, Operation, write_errno};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::{Asks, may_have_keys, refuse, send};
use crate::control::capture::keys;

pub(super) async fn answer(asks: &Asks, mut stream: UnixStream) -> io::Result<()> {
    if !may_have_keys(&stream)? {
        return refuse(&mut stream, Errno::NOT_PERMITTED).await;
    }
    // Who does not keep up misses some: nobody waits for it.
    let (told, mut handshakes) = mpsc::channel(WAITING);
    let listener = asks.device.log_keys(Box::new(move |ephemeral, preshared_key| {
        let _ = told.try_send(keys::of_handshake(ephemeral.as_bytes(), preshared_key.as_bytes()));
    }));
    let Some(_listener) = listener else { return refuse(&mut stream, Errno::NOT_SUPPORTED).await };
    let mut text = Vec::new();
    write_errno(&mut text, Operation::Ask, None);
    send(&mut stream, &text).await?;
    let mut ignored = [0; 16];
    loop {
        tokio::select! {
            lines = handshakes.recv() => match lines {
                Some(lines) => send(&mut stream, lines.as_bytes()).await?,
                None => return Ok(()),
            },
            // The other end has nothing to say but that it is gone.
            len = stream.read(&mut ignored) => if len? == 0 { return Ok(()) },
        }
    }
}

/// Handshakes that may wait for a listener.
const WAITING: usize = 256;
