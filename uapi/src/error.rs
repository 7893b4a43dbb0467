//! What can be wrong with a message, and the errno values that say so on the wire.
//!
//! The one place where errno values of the protocol are written down. Exit codes are not here: they belong to the
//! program.

use std::fmt;

/// A positive errno value as Linux numbers them.
///
/// On the wire the sign depends on the operation: `wg` understands negative values in the answer to `set` and
/// positive ones in the answer to `get`, and reports anything else as "Protocol error" or "Unknown error".
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

impl Errno {
    /// EPERM: the firewall mark or the port needs a right that is missing.
    pub const NOT_PERMITTED: Self = Self(1);
    /// EIO.
    pub const IO: Self = Self(5);
    /// ENOMEM: more peers or allowed IPs than a device takes.
    pub const NO_MEMORY: Self = Self(12);
    /// EACCES: the port needs a right that is missing.
    pub const ACCESS: Self = Self(13);
    /// ENODEV: the device is shutting down.
    pub const NO_DEVICE: Self = Self(19);
    /// EINVAL: an unknown key, a bad value, or a line where it must not be.
    pub const INVALID: Self = Self(22);
    /// What is sent for everything that has no better value (ENOANO; the value wireguard-go chose).
    pub const UNKNOWN: Self = Self(55);
    /// EPROTO: a line without `=`, or one that is too long or cut off.
    pub const PROTOCOL: Self = Self(71);
    /// EMSGSIZE: the whole request is too long.
    pub const TOO_LONG: Self = Self(90);
    /// EOPNOTSUPP: a question nobody here can answer.
    pub const NOT_SUPPORTED: Self = Self(95);
    /// EADDRINUSE: the listen port is taken.
    pub const ADDRESS_IN_USE: Self = Self(98);

    /// Takes a value with either sign; `None` for zero, which is success, and for what is no errno at all.
    pub fn new(value: i64) -> Option<Self> {
        u16::try_from(value.unsigned_abs()).ok().filter(|&value| (1..=4095).contains(&value)).map(Self)
    }

    /// Returns the positive value.
    pub const fn value(self) -> u16 {
        self.0
    }
}

/// The text `strerror` has for the value, for the values this crate sends.
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::NOT_PERMITTED => "Operation not permitted",
            Self::IO => "Input/output error",
            Self::NO_MEMORY => "Cannot allocate memory",
            Self::ACCESS => "Permission denied",
            Self::NO_DEVICE => "No such device",
            Self::INVALID => "Invalid argument",
            Self::PROTOCOL => "Protocol error",
            Self::TOO_LONG => "Message too long",
            Self::NOT_SUPPORTED => "Operation not supported",
            Self::ADDRESS_IN_USE => "Address already in use",
            Self(value) => return write!(f, "Unknown error {value}"),
        })
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({})", self.0)
    }
}

impl std::error::Error for Errno {}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The keys of the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Key { $(#[doc = concat!("`", $text, "`")] $(#[$doc])* $name,)* }

        impl Key {
            /// Returns the key as it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Finds the key that is written so.
            pub(crate) fn parse(text: &[u8]) -> Option<Self> {
                $(if text == $text.as_bytes() { return Some(Self::$name); })*
                None
            }
        }
    };
}

keys! {
    PrivateKey = "private_key",
    ListenPort = "listen_port",
    Fwmark = "fwmark",
    ReplacePeers = "replace_peers",
    PublicKey = "public_key",
    Remove = "remove",
    UpdateOnly = "update_only",
    PresharedKey = "preshared_key",
    Endpoint = "endpoint",
    PersistentKeepalive = "persistent_keepalive_interval",
    ReplaceAllowedIps = "replace_allowed_ips",
    AllowedIp = "allowed_ip",
    ProtocolVersion = "protocol_version",
    LastHandshakeSeconds = "last_handshake_time_sec",
    LastHandshakeNanoseconds = "last_handshake_time_nsec",
    RxBytes = "rx_bytes",
    TxBytes = "tx_bytes",
    Errno = "errno",
    RvpnName = "rvpn_name",
    RvpnFile = "rvpn_file",
    RvpnRateUp = "rvpn_rate_up",
    RvpnRateDown = "rvpn_rate_down",
    RvpnAead = "rvpn_aead",
    RvpnOffload = "rvpn_offload",
    /// Where a peer may be; rvpn alone.
    RvpnEndpoints = "rvpn_endpoints",
    /// Which of them is preferred; rvpn alone.
    RvpnEndpointOrder = "rvpn_endpoint_order",
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with a line. Carries no text of the line, which may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The line has no `=`.
    #[error("a line is `key=value`, and there is no `=` in it")]
    NoEquals,
    /// The line is over 64 KiB; the rest of the stream cannot be trusted.
    #[error("the line is longer than 64 KiB")]
    LineTooLong,
    /// The stream ended within the line, so its value may be cut off.
    #[error("the stream ended within the line")]
    CutOff,
    /// The request as a whole is over the limit.
    #[error("the request is too long")]
    RequestTooLong,
    /// There is no such key.
    #[error("unknown key")]
    UnknownKey,
    /// The key is known and its value is not one it can have.
    #[error("{0}: bad value")]
    BadValue(Key),
    /// A peer's key before the first `public_key`, a device's key after it, or a key that is only read.
    #[error("{0}: not in this place")]
    Misplaced(Key),
    /// Something other than an empty line follows `get=1`.
    #[error("`get=1` is followed by an empty line and nothing else")]
    TrailingByte,
    /// The other side ended before its answer was complete.
    #[error("the answer is incomplete")]
    Incomplete,
}

/// A fault and the line that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct ParseError {
    /// The line of the message, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

impl ParseError {
    /// Returns the value a server answers with.
    pub const fn errno(&self) -> Errno {
        match self.fault {
            Fault::NoEquals | Fault::LineTooLong | Fault::CutOff | Fault::Incomplete => Errno::PROTOCOL,
            Fault::RequestTooLong => Errno::TOO_LONG,
            Fault::UnknownKey | Fault::BadValue(_) | Fault::Misplaced(_) | Fault::TrailingByte => Errno::INVALID,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_success_and_either_sign_is_the_same_error() {
        assert_eq!(Errno::new(0), None);
        assert_eq!(Errno::new(-98), Some(Errno::ADDRESS_IN_USE));
        assert_eq!(Errno::new(98), Some(Errno::ADDRESS_IN_USE));
        assert_eq!(Errno::new(i64::MIN), None);
    }

    #[test]
    fn errors_are_named_as_strerror_names_them() {
        assert_eq!(Errno::ADDRESS_IN_USE.to_string(), "Address already in use");
        assert_eq!(Errno::UNKNOWN.to_string(), "Unknown error 55");
    }
}
