//! The configuration server: serves `wg`, `wg-quick` and everything else that speaks their protocol.
//!
//! A connection carries one request after another until the client closes it. `wg` opens and closes one without a word
//! before each operation, and some clients never say a word: each connection is a task of its own, and the device is
//! only touched by the thread behind [`Worker`](super::worker::Worker). A status is taken whole, then written with
//! nothing locked, however slowly the client reads.
//!
//! Not here: the protocol's text (the `rvpn-uapi` crate), the socket file (`socket`), what only this program can be
//! asked (`asks`).
//!
//! Source: <https://www.wireguard.com/xplatform/>; `ipc-uapi.h` of wireguard-tools for what clients do.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::netdevice;
use rvpn_uapi::{
    DeviceStatus, Errno, Operation, PublicKey, Request, RequestEvent, RequestParser, Set, StatusWriter, write_errno,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time;
use zeroize::Zeroizing;

use super::asks::Asks;

/// A device as the configuration server sees it.
pub trait Configurable: Send + Sync {
    /// Applies all of `set`, or nothing of it.
    ///
    /// # Errors
    /// What the client is told.
    fn apply(&self, set: Set) -> Result<(), Errno>;

    /// As [`Configurable::apply`], for peers that files of their own describe: they stay when all peers are replaced.
    ///
    /// # Errors
    /// What is logged.
    fn apply_files(&self, set: Set) -> Result<(), Errno> {
        self.apply(set)
    }

    /// Forgets sessions and learnt endpoints of a peer, or of all; returns how many peers that were.
    fn forget(&self, _peer: Option<PublicKey>) -> usize {
        0
    }

    /// Takes a consistent picture of the device.
    fn status(&self) -> DeviceStatus;
}

/// Serves connections until the listener fails; returns why. Dropping the future closes all connections.
pub async fn serve(listener: &UnixListener, asks: &Asks) -> io::Error {
    let mut connections = JoinSet::new();
    let mut shortage = Shortage::default();
    let mut closed = asks.giver.as_ref().map(|giver| giver.closed());
    loop {
        let accepted = tokio::select! {
            biased;
            () = turns(&mut closed, true) => {
                // Whoever comes is for the process that is just taking over; if it does not, for this one again.
                turns(&mut closed, false).await;
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                connections.spawn(converse(stream, asks.clone()));
            }
            // Closed at once: an error in the tool is better than one that waits for ever.
            Ok(_) => tracing::debug!("Configuration: {MAX_CONNECTIONS} connections are open, refusing another"),
            Err(error) if is_transient(&error) => {
                if shortage.is_news(time::Instant::now()) {
                    tracing::error!("Configuration: cannot accept connections now, trying on: {error}");
                }
                time::sleep(ACCEPT_RETRY).await;
            }
            Err(error) => return error,
        }
    }
}

/// Waits until `closed` is as wanted.
async fn turns(closed: &mut Option<watch::Receiver<bool>>, wanted: bool) {
    if let Some(closed) = closed
        && closed.wait_for(|is| *is == wanted).await.is_ok()
    {
        return;
    }
    pending().await
}

/// Lets a shortage be told once, not with each attempt: until it has been over for a while. With one file left, a client
/// who is served and one who is not alternate.
#[derive(Default)]
struct Shortage {
    last: Option<time::Instant>,
}

impl Shortage {
    /// Takes note of a failed attempt; tells whether it begins a shortage.
    fn is_news(&mut self, now: time::Instant) -> bool {
        let last = self.last.replace(now);
        last.is_none_or(|last| now.duration_since(last) >= SHORTAGE_MEMORY)
    }
}

/// The most connections at once: half of the files that a process may usually open (1,024), so that the sockets of the
/// device find room whatever the clients do.
pub const MAX_CONNECTIONS: usize = 512;
/// How long a client may pause within a request, or within reading an answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection without a request is kept: long enough for tools that ask once a minute.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long after its last sign a shortage counts as the same one.
const SHORTAGE_MEMORY: Duration = Duration::from_secs(60);
const READ_LEN: usize = 16 * 1024;
const PIECE_LEN: usize = 64 * 1024;

/// Short of files or memory, or a client that left before it was accepted: the next one may fare better.
fn is_transient(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let Some(errno) = Errno::from_io_error(error) else { return false };
    matches!(
        errno,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::CONNABORTED | Errno::INTR | Errno::AGAIN
    )
}

async fn converse(stream: UnixStream, asks: Asks) {
    if let Err(error) = answer_all(stream, &asks).await {
        // A client that leaves without reading is its own business.
        tracing::debug!("Configuration: connection ended: {error}");
    }
}

/// Answers requests until the client has no more.
async fn answer_all(mut stream: UnixStream, asks: &Asks) -> io::Result<()> {
    let mut parser = RequestParser::new(Arc::new(interface_index));
    let mut buffer = Zeroizing::new(vec![0; READ_LEN]);
    loop {
        let patience = if parser.is_within_request() { REQUEST_TIMEOUT } else { IDLE_TIMEOUT };
        let len = time::timeout(patience, stream.read(&mut buffer)).await??;
        if len == 0 {
            // The client may have closed its sending half only, so what it asked for is answered.
            return match parser.finish() {
                Some(event) => answer(stream, asks, event).await.map(drop),
                None => Ok(()),
            };
        }
        let mut input = &buffer[..len];
        while let Some(event) = parser.next(&mut input) {
            match answer(stream, asks, event).await? {
                Some(still_ours) => stream = still_ours,
                None => return Ok(()),
            }
        }
        if parser.is_closed() {
            return Ok(());
        }
    }
}

/// Answers one request; returns the connection unless a question has taken it with it.
async fn answer(mut stream: UnixStream, asks: &Asks, event: RequestEvent) -> io::Result<Option<UnixStream>> {
    let mut text = Zeroizing::new(Vec::new());
    match event {
        RequestEvent::Request(Request::Set(set)) => {
            let result = asks.worker.apply(set).await;
            if let Err(error) = result {
                tracing::debug!("Configuration: set refused: {error}");
            }
            write_errno(&mut text, Operation::Set, result.err());
        }
        RequestEvent::Request(Request::Get) => match asks.worker.status().await {
            Ok(status) => {
                send_status(&mut stream, &status).await?;
                return Ok(Some(stream));
            }
            Err(error) => write_errno(&mut text, Operation::Get, Some(error)),
        },
        RequestEvent::Request(Request::Ask(ask)) => return asks.answer(ask, stream).await.map(|()| None),
        RequestEvent::Invalid { operation, error } => {
            tracing::debug!("Configuration: request refused: {error}");
            write_errno(&mut text, operation, Some(error.errno()));
        }
        RequestEvent::UnknownOperation => {
            tracing::debug!("Configuration: the request is none this daemon knows");
            return Ok(Some(stream));
        }
    }
    send(&mut stream, &text).await?;
    Ok(Some(stream))
}

async fn send_status(stream: &mut UnixStream, status: &DeviceStatus) -> io::Result<()> {
    let mut piece = Zeroizing::new(Vec::with_capacity(PIECE_LEN));
    let mut writer = StatusWriter::new(status);
    while writer.fill(&mut piece) {
        send(stream, &piece).await?;
        piece.clear();
    }
    Ok(())
}

async fn send(stream: &mut UnixStream, text: &[u8]) -> io::Result<()> {
    time::timeout(REQUEST_TIMEOUT, stream.write_all(text)).await?
}

/// Finds an interface by its name, in the network namespace of this process.
pub(super) fn interface_index(name: &str) -> Option<u32> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    netdevice::name_to_index(&socket, name).ok()
}

#[cfg(test)]
pub(crate) mod tests;
