//! `version`: which program this is. It can differ from the file it was started from, which an update replaces.
//!
//! ```text
//! version=0.1.0
//! errno=0
//! ```

use std::io;

use tokio::net::UnixStream;

use super::reply;

pub(super) async fn answer(stream: &mut UnixStream) -> io::Result<()> {
    reply(stream, format!("version={}\n", env!("CARGO_PKG_VERSION")).into_bytes()).await
}
