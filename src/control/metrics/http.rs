//! HTTP for metrics: one path, one method, one answer for each connection.
//!
//! A client has ten seconds for its request and ten for each piece of the answer, and there are sixteen at once: who
//! scrapes comes every some seconds, and everybody else is to cost nothing. Requests are read by `httparse`; an HTTP
//! server for more than this would be more than all of it.
//!
//! Not here: what is answered (see `text`).
//!
//! Source: RFC 9112, sections 3, 5 and 7.1; RFC 9110, section 12.5.1.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio::time;

use super::listen::Listener;
use super::text::{Format, Text};
use crate::control::asks::Asks;

/// Serves until dropped, which closes all connections.
pub async fn serve(listener: Listener, asks: &Asks) -> io::Result<Infallible> {
    let listener = match listener {
        Listener::Tcp(listener) => Accepting::Tcp(TcpListener::from_std(listener)?),
        Listener::Unix(listener, _) => Accepting::Unix(UnixListener::from_std(listener)?),
    };
    let mut connections = JoinSet::new();
    loop {
        let stream = listener.accept().await;
        while connections.try_join_next().is_some() {}
        match stream {
            Ok(stream) if connections.len() < MAX_CLIENTS => {
                let asks = asks.clone();
                connections.spawn(async move {
                    if let Err(error) = converse(stream, &asks).await {
                        tracing::debug!("Metrics: connection ended: {error}");
                    }
                });
            }
            Ok(_) => tracing::debug!("Metrics: {MAX_CLIENTS} connections are open, refusing another"),
            Err(error) => {
                tracing::debug!("Metrics: cannot accept connections now, trying on: {error}");
                time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accepting {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn converse(mut stream: impl Stream, asks: &Asks) -> io::Result<()> {
    match time::timeout(PATIENCE, read_request(&mut stream)).await?? {
        Some(Request::Metrics { format, chunked, head_only }) => {
            let mut head = format!("HTTP/1.1 200 OK\r\nContent-Type: {}\r\nConnection: close\r\n", format.media_type());
            head.push_str(if chunked { "Transfer-Encoding: chunked\r\n\r\n" } else { "\r\n" });
            send(&mut stream, head.as_bytes()).await?;
            if !head_only {
                send_metrics(&mut stream, Text::new(asks.metrics().await?, format), chunked).await?;
            }
        }
        Some(Request::Refused(status)) => {
            let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
            let head = format!("HTTP/1.1 {status}\r\n{allow}Content-Length: 0\r\nConnection: close\r\n\r\n");
            send(&mut stream, head.as_bytes()).await?;
        }
        None => return Ok(()),
    }
    time::timeout(PATIENCE, stream.shutdown()).await?
}

async fn send_metrics(stream: &mut impl Stream, mut text: Text, chunked: bool) -> io::Result<()> {
    let mut piece = String::with_capacity(PIECE_LEN + PIECE_LEN / 8);
    while text.fill(&mut piece, PIECE_LEN) {
        if chunked {
            send(stream, format!("{:x}\r\n", piece.len()).as_bytes()).await?;
            piece.push_str("\r\n");
        }
        send(stream, piece.as_bytes()).await?;
        piece.clear();
        // A socket that always has room must not keep the thread from its other clients.
        tokio::task::yield_now().await;
    }
    if chunked { send(stream, b"0\r\n\r\n").await } else { Ok(()) }
}

async fn send(stream: &mut impl Stream, bytes: &[u8]) -> io::Result<()> {
    time::timeout(PATIENCE, stream.write_all(bytes)).await?
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// The metrics.
    Metrics {
        /// As which text.
        format: Format,
        /// In pieces that say how long they are: HTTP/1.1.
        chunked: bool,
        /// Only the head of the answer.
        head_only: bool,
    },
    /// Something else; the status of the answer.
    Refused(&'static str),
}

/// Reads the head of a request; a body is left unread. `None` if the client leaves before.
async fn read_request(stream: &mut impl Stream) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    loop {
        if head.len() >= MAX_HEAD_LEN {
            return Ok(Some(Request::Refused("431 Request Header Fields Too Large")));
        }
        if stream.take((MAX_HEAD_LEN - head.len()) as u64).read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
        if let Some(request) = parse(&head) {
            return Ok(Some(request));
        }
    }
}

/// Reads a request; `None` if it is not there to its end.
pub fn parse(head: &[u8]) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Partial) => return None,
        Err(httparse::Error::TooManyHeaders) => return Some(Request::Refused("431 Request Header Fields Too Large")),
        Err(_) => return Some(Request::Refused("400 Bad Request")),
        Ok(httparse::Status::Complete(_)) => {}
    }
    let path = request.path.unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let head_only = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Some(Request::Refused("405 Method Not Allowed")),
    };
    if path != PATH {
        return Some(Request::Refused("404 Not Found"));
    }
    let accept = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("accept"));
    let wants_open = accept.into_iter().any(|header| {
        let value = String::from_utf8_lossy(header.value);
        value.split(',').any(|range| range.trim_start().starts_with("application/openmetrics-text"))
    });
    // Who does not say is a browser or curl, for whom a type it knows is better.
    let format = if wants_open { Format::OpenMetrics } else { Format::Prometheus };
    Some(Request::Metrics { format, chunked: request.version == Some(1), head_only })
}

/// Where metrics are, by custom.
const PATH: &str = "/metrics";
const MAX_CLIENTS: usize = 16;
const MAX_HEAD_LEN: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);
const ACCEPT_RETRY: Duration = Duration::from_secs(1);
const PIECE_LEN: usize = 64 * 1024;

#[cfg(test)]
mod tests;
