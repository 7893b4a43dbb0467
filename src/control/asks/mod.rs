//! Questions that only this program answers, one module for each word.
//!
//! A question takes its connection with it: its module writes what belongs there, be it a few lines or a stream
//! without end, and the connection closes after it. A word that nobody knows is an error, so that an older daemon and
//! a newer command understand each other.
//!
//! Not here: the text of a question (the crate `rvpn-uapi`), the commands that ask (`cli`).

mod capture;
mod doctor;
mod events;
mod forget;
mod metrics;
mod objects;
mod upgrade;
mod version;

pub(super) use self::events::Feed;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rvpn_uapi::{Ask, Errno, Operation, write_errno};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time;

use super::host::Device;
use super::metrics::Metrics;
use super::upgrade::giving::Giver;
use super::worker::Worker;

/// What answers have at hand.
#[derive(Clone)]
pub struct Asks {
    /// Changes and reads the configuration, in turn with all others.
    pub worker: Worker,
    /// The device itself, for what needs no turn.
    pub device: Arc<dyn Device>,
    /// Gives the device to another process; `None` where there is none to give it to.
    pub giver: Option<Arc<Giver>>,
}

impl Asks {
    /// Answers `ask` on `stream`, then closes it.
    ///
    /// # Errors
    /// The stream's.
    pub async fn answer(&self, ask: Ask, mut stream: UnixStream) -> io::Result<()> {
        match ask.word.as_str() {
            "metrics" => metrics::answer(&ask, self, &mut stream).await,
            "doctor" => doctor::answer(self, &mut stream).await,
            "capture" => capture::answer(self, stream).await,
            "upgrade" => upgrade::answer(self, &ask, stream).await,
            "events" => events::answer(self.device.events(), stream).await,
            "forget" => forget::answer(self, &ask, &mut stream).await,
            "objects" => objects::answer(self, &mut stream).await,
            "version" => version::answer(&mut stream).await,
            word => {
                tracing::debug!("Configuration: `{word}` is no question this daemon can answer");
                refuse(&mut stream, Errno::NOT_SUPPORTED).await
            }
        }
    }
}

impl Asks {
    /// Takes the numbers of the device, beside this thread: with many peers it takes milliseconds.
    ///
    /// # Errors
    /// None that can happen but while the process ends.
    pub async fn metrics(&self) -> io::Result<Metrics> {
        let device = Arc::clone(&self.device);
        tokio::task::spawn_blocking(move || device.metrics()).await.map_err(io::Error::other)
    }
}

/// Tells whether the other end may have keys: root, or the user of this process. The mode of the socket's file says the
/// same; whoever lets others configure the device did not mean its keys.
fn may_have_keys(stream: &UnixStream) -> io::Result<bool> {
    let uid = stream.peer_cred()?.uid();
    Ok(uid == 0 || uid == rustix::process::getuid().as_raw())
}

/// Writes the lines of an answer, and its end.
async fn reply(stream: &mut UnixStream, mut lines: Vec<u8>) -> io::Result<()> {
    write_errno(&mut lines, Operation::Ask, None);
    send(stream, &lines).await
}

/// Writes that there is no answer, and why.
async fn refuse(stream: &mut UnixStream, error: Errno) -> io::Result<()> {
    let mut text = Vec::new();
    write_errno(&mut text, Operation::Ask, Some(error));
    send(stream, &text).await
}

/// Writes `text`, however slowly the client reads, but not for ever.
async fn send(stream: &mut UnixStream, text: &[u8]) -> io::Result<()> {
    time::timeout(SEND_TIMEOUT, stream.write_all(text)).await?
}

/// How long a client may pause within reading what it asked for.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
