//! `objects`: how much the device holds and made, for those who watch that it is bounded.
//!
//! ```text
//! objects=1 peers, 0 removed peers, ...
//! errno=0
//! ```

use std::io;

use tokio::net::UnixStream;

use super::{Asks, reply};

pub(super) async fn answer(asks: &Asks, stream: &mut UnixStream) -> io::Result<()> {
    reply(stream, format!("objects={}\n", asks.device.objects()).into_bytes()).await
}
