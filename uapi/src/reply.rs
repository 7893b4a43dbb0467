//! Answers, as the client reads them.
//!
//! As tolerant as `wg`: keys it does not know, or that stand where they mean nothing, are passed over, everything that
//! describes a peer may be missing, and an errno counts with either sign, because servers differ. Required are `=` in
//! each line, `errno`, and the empty line at the end.

use std::sync::Arc;
use std::time::Duration;

use crate::candidate::{self, EndpointOrder};
use crate::endpoint::{self, ScopeOf};
use crate::error::{Errno, Fault, Key, ParseError};
use crate::key::{PublicKey, SecretKey};
use crate::line::{self, LineBuffer};
use crate::means::{Aead, Offloads};
use crate::name::PeerName;
use crate::number;
use crate::status::{DeviceStatus, PeerStatus};

/// An answer to `get` or `set`; after `set` the status is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The error the server reports, if any.
    pub error: Option<Errno>,
    /// What it says about the device.
    pub status: DeviceStatus,
}

/// Reads one answer from bytes in pieces of any size.
pub struct ReplyParser {
    lines: LineBuffer,
    line: u64,
    status: DeviceStatus,
    /// The value of `errno`, once there was one.
    outcome: Option<Option<Errno>>,
    scope_of: Arc<ScopeOf>,
}

impl ReplyParser {
    /// Makes a parser at the beginning of an answer. `scope_of` finds the index of an interface by its name.
    pub fn new(scope_of: Arc<ScopeOf>) -> Self {
        Self { lines: LineBuffer::new(), line: 0, status: DeviceStatus::default(), outcome: None, scope_of }
    }

    /// Takes bytes off `input` up to the end of the answer; `None` if it is not complete, with all of `input` taken.
    ///
    /// At the end of the stream an answer that is not complete is [`ReplyParser::incomplete`].
    ///
    /// # Errors
    /// The first line that cannot be understood; the parser must not be used after it.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ParseError> {
        while !input.is_empty() {
            let Self { lines, line, status, outcome, scope_of } = self;
            let taken = lines.next(input, |text| {
                *line += 1;
                if text.is_empty() {
                    return Ok(true);
                }
                reply_line(status, outcome, text, &**scope_of).map(|()| false)
            });
            let is_end = match taken {
                Ok(Some(Ok(is_end))) => is_end,
                Ok(Some(Err(fault))) => return Err(ParseError { line: self.line, fault }),
                Ok(None) => false,
                Err(line::LineTooLong) => return Err(ParseError { line: self.line + 1, fault: Fault::LineTooLong }),
            };
            if is_end {
                let error = self.outcome.take().ok_or_else(|| self.incomplete())?;
                self.line = 0;
                return Ok(Some(Reply { error, status: std::mem::take(&mut self.status) }));
            }
        }
        Ok(None)
    }

    /// Returns the error for a stream that ended here.
    pub const fn incomplete(&self) -> ParseError {
        ParseError { line: self.line, fault: Fault::Incomplete }
    }
}

fn reply_line(
    status: &mut DeviceStatus,
    outcome: &mut Option<Option<Errno>>,
    text: &[u8],
    scope_of: &ScopeOf,
) -> Result<(), Fault> {
    let (key, value) = line::split(text).ok_or(Fault::NoEquals)?;
    let Some(key) = Key::parse(key) else { return Ok(()) };
    let bad = Fault::BadValue(key);
    match (key, status.peers.last_mut()) {
        (Key::Errno, _) => *outcome = Some(errno(value).ok_or(bad)?),
        (Key::PublicKey, _) => {
            status.peers.push(PeerStatus::new(PublicKey::from_hex(value).ok_or(bad)?));
        }
        (Key::PrivateKey, None) => {
            status.private_key = Some(SecretKey::from_hex(value).ok_or(bad)?).filter(|key| !key.is_zero());
        }
        (Key::ListenPort, None) => status.listen_port = number::parse(value).ok_or(bad)?,
        (Key::Fwmark, None) => status.fwmark = number::parse(value).ok_or(bad)?,
        (Key::RvpnAead, None) => status.aead = Aead::parse(value),
        (Key::RvpnOffload, None) => status.offloads = Some(Offloads::parse(value)),
        (_, Some(peer)) => return peer_line(peer, key, value, scope_of),
        (_, None) => {}
    }
    Ok(())
}

fn peer_line(peer: &mut PeerStatus, key: Key, value: &[u8], scope_of: &ScopeOf) -> Result<(), Fault> {
    let bad = Fault::BadValue(key);
    let handshake = peer.last_handshake.unwrap_or_default();
    match key {
        Key::PresharedKey => {
            peer.preshared_key = Some(SecretKey::from_hex(value).ok_or(bad)?).filter(|key| !key.is_zero());
        }
        Key::Endpoint => peer.endpoint = Some(endpoint::parse(value, scope_of).ok_or(bad)?),
        Key::RvpnEndpoints => {
            candidate::parse_list(&mut peer.endpoints, value, scope_of).ok_or(bad)?;
        }
        Key::RvpnEndpointOrder => peer.endpoint_order = EndpointOrder::parse(value).unwrap_or_default(),
        Key::LastHandshakeSeconds => {
            let seconds = number::parse(value).ok_or(bad)?;
            peer.last_handshake = at(Duration::new(seconds, handshake.subsec_nanos()));
        }
        Key::LastHandshakeNanoseconds => {
            let nanoseconds = number::parse(value).filter(|&value| value < 1_000_000_000).ok_or(bad)?;
            peer.last_handshake = at(Duration::new(handshake.as_secs(), nanoseconds));
        }
        Key::TxBytes => peer.tx_bytes = number::parse(value).ok_or(bad)?,
        Key::RxBytes => peer.rx_bytes = number::parse(value).ok_or(bad)?,
        Key::PersistentKeepalive => peer.persistent_keepalive = number::parse(value).ok_or(bad)?,
        // One that a later release would take is as good as none.
        Key::RvpnName => peer.name = PeerName::parse(value).flatten(),
        Key::RvpnFile => peer.is_from_file = value == b"true",
        Key::RvpnRateUp => peer.rate_up = number::parse(value).ok_or(bad)?,
        Key::RvpnRateDown => peer.rate_down = number::parse(value).ok_or(bad)?,
        Key::AllowedIp => {
            let network = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            peer.allowed_ips.push(network.ok_or(bad)?);
        }
        _ => {}
    }
    Ok(())
}

/// The epoch stands for "never".
fn at(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

/// Reads a value with either sign; the outer `None` is no number.
fn errno(value: &[u8]) -> Option<Option<Errno>> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    match number::parse::<u32>(digits)? {
        0 => Some(None),
        value => Errno::new(i64::from(value)).map(Some),
    }
}

#[cfg(test)]
mod tests;
