//! Requests: their text to values on the server's side, and back on the client's.
//!
//! ```text
//!            get=1             set=1, rvpn_ask=...
//!   Within <------- Between --------> Within      "" or end of stream: a Request
//!      |               ^ |                        anything else as first line: UnknownOperation
//!      |  fault        | | too long, unknown
//!      v               | v
//!   Skipping -- "" ----+ Closed
//! ```
//!
//! A fault is reported at its line, and the rest of that request is read and dropped: the client can write all of it
//! before it reads the answer, and the stream stays in step.
//!
//! Not here: applying a request, and any waiting.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::allowed_ip::AllowedIpChange;
use crate::ask::Ask;
use crate::candidate::{self, EndpointOrder};
use crate::endpoint::{self, ScopeOf};
use crate::error::{Errno, Fault, Key, ParseError};
use crate::key::{PublicKey, SecretKey};
use crate::line::{self, LineBuffer};
use crate::name::PeerName;
use crate::number;
use crate::set::{PeerSet, Set};

/// The most bytes of one request: 64 MiB, enough for 100,000 peers of more than 600 bytes each.
pub const MAX_REQUEST_LEN: usize = 64 * 1024 * 1024;

/// What a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Report the state.
    Get,
    /// Change the configuration.
    Set,
    /// Something that only this program knows.
    Ask,
}

/// A whole and valid request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `get=1`
    Get,
    /// `set=1`
    Set(Set),
    /// `rvpn_ask=...`
    Ask(Ask),
}

/// What a [`RequestParser`] found in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestEvent {
    /// A request to carry out and to answer.
    Request(Request),
    /// A request to answer with `error.errno()`; nothing of it may act.
    Invalid {
        /// What was asked for; it decides the sign of the answer.
        operation: Operation,
        /// What is wrong.
        error: ParseError,
    },
    /// The first line is no operation: close without an answer.
    UnknownOperation,
}

/// Reads requests, one after another, from bytes in pieces of any size.
pub struct RequestParser {
    lines: LineBuffer,
    state: State,
    /// Lines of the current request so far.
    line: u64,
    /// Bytes of the current request so far.
    len: usize,
    scope_of: Arc<ScopeOf>,
}

enum State {
    Between,
    Get,
    Set(Set),
    Ask(Ask),
    Skipping,
    Closed,
}

impl RequestParser {
    /// Makes a parser at the beginning of a stream. `scope_of` finds the index of an interface by its name.
    pub fn new(scope_of: Arc<ScopeOf>) -> Self {
        Self { lines: LineBuffer::new(), state: State::Between, line: 0, len: 0, scope_of }
    }

    /// Takes bytes off `input` up to the end of the next event; `None` when all of them are taken.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<RequestEvent> {
        while !input.is_empty() && !self.is_closed() {
            let before = input.len();
            // The buffer is borrowed by the line, so the rest of `self` is passed on by parts.
            let Self { lines, state, line, scope_of, .. } = self;
            let taken = lines.next(input, |text| {
                *line += 1;
                next_state(state, text, &**scope_of)
            });
            self.len += before - input.len();
            let found = match taken {
                Ok(Some(found)) => found,
                Ok(None) => Ok(None),
                Err(line::LineTooLong) => {
                    self.line += 1;
                    return self.close(Fault::LineTooLong);
                }
            };
            if matches!(self.state, State::Between) {
                (self.line, self.len) = (0, 0);
            }
            match found {
                Ok(Some(event)) => return Some(event),
                Ok(None) if self.len > MAX_REQUEST_LEN => return self.close(Fault::RequestTooLong),
                Ok(None) => {}
                Err((operation, fault)) => {
                    self.state = State::Skipping;
                    return Some(RequestEvent::Invalid { operation, error: ParseError { line: self.line, fault } });
                }
            }
        }
        None
    }

    /// Tells the parser that the stream has ended; returns the request that this completes.
    ///
    /// The empty line may be missing, as wireguard-go has it. A line without its end is a fault, because a number or a
    /// key that was cut off can look whole.
    pub fn finish(&mut self) -> Option<RequestEvent> {
        let is_cut_off = self.lines.is_within_line();
        let operation = self.operation()?;
        let state = std::mem::replace(&mut self.state, State::Closed);
        if is_cut_off {
            let error = ParseError { line: self.line + 1, fault: Fault::CutOff };
            return Some(RequestEvent::Invalid { operation, error });
        }
        match state {
            State::Get => Some(RequestEvent::Request(Request::Get)),
            State::Set(set) => Some(RequestEvent::Request(Request::Set(set))),
            State::Ask(ask) => Some(RequestEvent::Request(Request::Ask(ask))),
            State::Between | State::Skipping | State::Closed => None,
        }
    }

    /// Returns whether the stream is of no more use: after the pending answer it is to be closed.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Returns whether a request has begun and is not complete.
    pub fn is_within_request(&self) -> bool {
        !matches!(self.state, State::Between) || self.lines.is_within_line()
    }

    fn close(&mut self, fault: Fault) -> Option<RequestEvent> {
        let operation = self.operation();
        let was_skipping = matches!(self.state, State::Skipping);
        self.state = State::Closed;
        match operation {
            Some(operation) => Some(RequestEvent::Invalid { operation, error: ParseError { line: self.line, fault } }),
            // The fault before this one has been answered.
            None if was_skipping => None,
            None => Some(RequestEvent::UnknownOperation),
        }
    }

    fn operation(&self) -> Option<Operation> {
        match self.state {
            State::Get => Some(Operation::Get),
            State::Set(_) => Some(Operation::Set),
            State::Ask(_) => Some(Operation::Ask),
            State::Between | State::Skipping | State::Closed => None,
        }
    }
}

/// Moves on by one line.
fn next_state(state: &mut State, text: &[u8], scope_of: &ScopeOf) -> Result<Option<RequestEvent>, (Operation, Fault)> {
    match state {
        State::Between => {
            *state = match text {
                b"get=1" => State::Get,
                b"set=1" => State::Set(Set::default()),
                _ => Ask::begin(text).map_or(State::Closed, State::Ask),
            };
            Ok(matches!(state, State::Closed).then_some(RequestEvent::UnknownOperation))
        }
        State::Get if text.is_empty() => {
            *state = State::Between;
            Ok(Some(RequestEvent::Request(Request::Get)))
        }
        State::Get => Err((Operation::Get, Fault::TrailingByte)),
        State::Set(set) if text.is_empty() => {
            let set = std::mem::take(set);
            *state = State::Between;
            Ok(Some(RequestEvent::Request(Request::Set(set))))
        }
        State::Set(set) => match set_line(set, text, scope_of) {
            Ok(()) => Ok(None),
            Err(fault) => Err((Operation::Set, fault)),
        },
        State::Ask(ask) if text.is_empty() => {
            let ask = std::mem::take(ask);
            *state = State::Between;
            Ok(Some(RequestEvent::Request(Request::Ask(ask))))
        }
        State::Ask(ask) => ask.line(text).map(|()| None).map_err(|fault| (Operation::Ask, fault)),
        State::Skipping => {
            if text.is_empty() {
                *state = State::Between;
            }
            Ok(None)
        }
        State::Closed => Ok(None),
    }
}

/// Adds one line to `set`.
fn set_line(set: &mut Set, text: &[u8], scope_of: &ScopeOf) -> Result<(), Fault> {
    let (key, value) = line::split(text).ok_or(Fault::NoEquals)?;
    let key = Key::parse(key).ok_or(Fault::UnknownKey)?;
    if key == Key::PublicKey {
        set.peers.push(PeerSet::new(PublicKey::from_hex(value).ok_or(Fault::BadValue(key))?));
        return Ok(());
    }
    match set.peers.last_mut() {
        Some(peer) => peer_line(peer, key, value, scope_of),
        None => device_line(set, key, value),
    }
}

fn device_line(set: &mut Set, key: Key, value: &[u8]) -> Result<(), Fault> {
    let bad = Fault::BadValue(key);
    match key {
        Key::PrivateKey => set.private_key = Some(SecretKey::from_hex(value).ok_or(bad)?),
        Key::ListenPort => set.listen_port = Some(number::parse(value).ok_or(bad)?),
        Key::Fwmark => set.fwmark = Some(number::parse(value).ok_or(bad)?),
        Key::ReplacePeers => set.replace_peers = truth(value).ok_or(bad)?,
        _ => return Err(Fault::Misplaced(key)),
    }
    Ok(())
}

fn peer_line(peer: &mut PeerSet, key: Key, value: &[u8], scope_of: &ScopeOf) -> Result<(), Fault> {
    let bad = Fault::BadValue(key);
    match key {
        Key::Remove => peer.remove = truth(value).ok_or(bad)?,
        Key::UpdateOnly => peer.update_only = truth(value).ok_or(bad)?,
        Key::RvpnName => peer.name = Some(PeerName::parse(value).ok_or(bad)?),
        Key::RvpnRateUp => peer.rate_up = Some(number::parse(value).ok_or(bad)?),
        Key::RvpnRateDown => peer.rate_down = Some(number::parse(value).ok_or(bad)?),
        Key::PresharedKey => peer.preshared_key = Some(SecretKey::from_hex(value).ok_or(bad)?),
        Key::Endpoint => peer.endpoint = Some(endpoint::parse(value, scope_of).ok_or(bad)?),
        Key::RvpnEndpoints => {
            let list = peer.endpoints.get_or_insert_default();
            candidate::parse_list(list, value, scope_of).ok_or(bad)?;
        }
        Key::RvpnEndpointOrder => peer.endpoint_order = Some(EndpointOrder::parse(value).ok_or(bad)?),
        Key::PersistentKeepalive => peer.persistent_keepalive = Some(number::parse(value).ok_or(bad)?),
        Key::ReplaceAllowedIps => {
            peer.replace_allowed_ips = truth(value).ok_or(bad)?;
            // Lines act in order: what was added above this line goes too.
            peer.allowed_ips.clear();
        }
        Key::AllowedIp => peer.allowed_ips.push(allowed_ip(value).ok_or(bad)?),
        Key::ProtocolVersion if value == b"1" => {}
        Key::ProtocolVersion => return Err(bad),
        _ => return Err(Fault::Misplaced(key)),
    }
    Ok(())
}

fn truth(value: &[u8]) -> Option<bool> {
    (value == b"true").then_some(true)
}

fn allowed_ip(value: &[u8]) -> Option<AllowedIpChange> {
    str::from_utf8(value).ok()?.parse().ok()
}

/// Appends the end of an answer: `errno=0`, or `error` with the sign that `wg` expects, and the empty line.
pub fn write_errno(out: &mut Vec<u8>, operation: Operation, error: Option<Errno>) {
    let sign = if operation == Operation::Get { "" } else { "-" };
    match error {
        None => out.extend_from_slice(b"errno=0\n\n"),
        Some(error) => out.extend_from_slice(format!("errno={sign}{}\n\n", error.value()).as_bytes()),
    }
}

/// Appends `set` as a request. Room is made once, so that no copy of a secret is left behind by growing.
pub fn write_set(set: &Set, out: &mut Vec<u8>) {
    let of_peer =
        |peer: &PeerSet| 512 + 64 * peer.allowed_ips.len() + 300 * peer.endpoints.as_ref().map_or(0, Vec::len);
    out.reserve(set.peers.iter().map(of_peer).sum::<usize>() + 512);
    out.extend_from_slice(b"set=1\n");
    if let Some(key) = &set.private_key {
        write_secret(out, Key::PrivateKey, key);
    }
    if let Some(port) = set.listen_port {
        write_line(out, Key::ListenPort, port);
    }
    if let Some(mark) = set.fwmark {
        write_line(out, Key::Fwmark, mark);
    }
    if set.replace_peers {
        write_line(out, Key::ReplacePeers, true);
    }
    for peer in &set.peers {
        write_peer(peer, out);
    }
    out.push(b'\n');
}

fn write_peer(peer: &PeerSet, out: &mut Vec<u8>) {
    write_public_key(out, &peer.public_key);
    if peer.update_only {
        write_line(out, Key::UpdateOnly, true);
    }
    if peer.remove {
        write_line(out, Key::Remove, true);
    }
    if let Some(name) = &peer.name {
        write_line(out, Key::RvpnName, name.as_ref().map_or("", PeerName::as_str));
    }
    for (key, rate) in [(Key::RvpnRateUp, peer.rate_up), (Key::RvpnRateDown, peer.rate_down)] {
        if let Some(rate) = rate {
            write_line(out, key, rate);
        }
    }
    if let Some(key) = &peer.preshared_key {
        write_secret(out, Key::PresharedKey, key);
    }
    if let Some(endpoint) = peer.endpoint {
        write_endpoint(out, endpoint);
    }
    if let Some(list) = &peer.endpoints {
        match list.split_first() {
            None => write_line(out, Key::RvpnEndpoints, ""),
            Some(_) => list.iter().for_each(|candidate| write_line(out, Key::RvpnEndpoints, candidate)),
        }
    }
    if let Some(order) = peer.endpoint_order {
        write_line(out, Key::RvpnEndpointOrder, order);
    }
    if let Some(seconds) = peer.persistent_keepalive {
        write_line(out, Key::PersistentKeepalive, seconds);
    }
    if peer.replace_allowed_ips {
        write_line(out, Key::ReplaceAllowedIps, true);
    }
    for change in &peer.allowed_ips {
        write_line(out, Key::AllowedIp, change);
    }
}

/// Appends `key=value`. `value` is no secret: its text is made in memory that is not wiped.
pub(crate) fn write_line(out: &mut Vec<u8>, key: Key, value: impl std::fmt::Display) {
    use std::io::Write;
    writeln!(out, "{key}={value}").expect("writing to memory does not fail");
}

/// Appends a line with a private or preshared key.
pub(crate) fn write_secret(out: &mut Vec<u8>, key: Key, value: &SecretKey) {
    out.extend_from_slice(key.as_str().as_bytes());
    out.push(b'=');
    value.write_hex(out);
    out.push(b'\n');
}

/// Appends the line that opens a peer.
pub(crate) fn write_public_key(out: &mut Vec<u8>, value: &PublicKey) {
    out.extend_from_slice(Key::PublicKey.as_str().as_bytes());
    out.push(b'=');
    value.write_hex(out);
    out.push(b'\n');
}

/// Appends an endpoint; a zone is written as the number of the interface, which every reader takes.
pub(crate) fn write_endpoint(out: &mut Vec<u8>, endpoint: SocketAddr) {
    write_line(out, Key::Endpoint, endpoint);
}

#[cfg(test)]
pub(crate) mod tests;
