//! The WireGuard configuration protocol as types and text, for the side that serves it and the side that asks.
//!
//! A client sends `get=1` or `set=1`, lines of `key=value`, and an empty line; the server answers with such lines,
//! `errno=N` and an empty line.
//!
//! ```text
//! server:  bytes -> RequestParser -> Request        DeviceStatus -> StatusWriter -> bytes
//! client:  Set -> write_set -> bytes                bytes -> ReplyParser -> Reply
//! ```
//!
//! Beside them there are questions that only this program answers ([`Ask`]).
//!
//! Nothing here does IO, reads a clock or knows what a tunnel is; what a name of an interface means is asked of the
//! caller. Secrets are wiped on drop and never printed by `Debug`.
//!
//! Source: <https://www.wireguard.com/xplatform/>; where it is silent, what `wg` sends and expects.

#![forbid(unsafe_code)]

mod allowed_ip;
mod ask;
mod candidate;
mod endpoint;
mod error;
mod key;
mod line;
mod means;
mod name;
mod number;
mod reply;
mod request;
mod set;
mod status;

pub use allowed_ip::{AllowedIp, AllowedIpChange};
pub use ask::Ask;
pub use candidate::{Candidate, EndpointOrder, MAX_CANDIDATES};
pub use endpoint::{ScopeOf, no_scopes};
pub use error::{Errno, Fault, Key, ParseError};
pub use key::{PublicKey, SecretKey};
pub use means::{Aead, Offload, Offloads};
pub use name::PeerName;
pub use reply::{Reply, ReplyParser};
pub use request::{MAX_REQUEST_LEN, Operation, Request, RequestEvent, RequestParser, write_errno, write_set};
pub use set::{PeerSet, Set};
pub use status::{DeviceStatus, PeerStatus, StatusWriter};
