//! From the values of the configuration protocol to those of the tunnel, and back.
//!
//! The crate `rvpn-uapi` knows no tunnel and the data plane knows no configuration protocol, so each value is turned
//! here. Not here: rules. Whether a change is possible is for the data plane to say.

use std::net::IpAddr;
use std::time::Duration;

use crate::proto::allowedips::Prefix;
use crate::proto::keys::{PresharedKey, PrivateKey, PublicKey};
use crate::proto::time::WallTime;

/// Takes the name of a peer.
pub const fn public_key(key: rvpn_uapi::PublicKey) -> PublicKey {
    PublicKey(key.0)
}

/// Names a peer.
pub const fn public_key_text(key: PublicKey) -> rvpn_uapi::PublicKey {
    rvpn_uapi::PublicKey(key.0)
}

/// Takes an identity; all zero is none.
pub fn private_key(key: &rvpn_uapi::SecretKey) -> Option<PrivateKey> {
    PrivateKey::new(*key.as_bytes())
}

/// Gives an identity.
pub fn private_key_text(key: &PrivateKey) -> rvpn_uapi::SecretKey {
    rvpn_uapi::SecretKey::new(key.as_bytes())
}

/// Takes a preshared key; all zero is none in both worlds.
pub fn preshared_key(key: &rvpn_uapi::SecretKey) -> PresharedKey {
    PresharedKey::new(*key.as_bytes())
}

/// Gives a preshared key.
pub fn preshared_key_text(key: &PresharedKey) -> rvpn_uapi::SecretKey {
    rvpn_uapi::SecretKey::new(key.as_bytes())
}

/// Takes an allowed IP. Both types mask and bound the prefix length, so nothing is lost.
pub fn prefix(network: &rvpn_uapi::AllowedIp) -> Prefix {
    Prefix::new(network.address(), network.prefix_len()).expect("a network's prefix length is within its family's")
}

/// Gives an allowed IP.
pub fn prefix_text(prefix: &Prefix) -> rvpn_uapi::AllowedIp {
    network(prefix.address(), prefix.len())
}

fn network(address: IpAddr, len: u8) -> rvpn_uapi::AllowedIp {
    rvpn_uapi::AllowedIp::new(address, len).expect("a prefix's length is within its family's")
}

/// Gives the interval of persistent keepalives, in seconds: 0 is off.
pub fn persistent_keepalive(seconds: u16) -> Option<Duration> {
    (seconds != 0).then(|| Duration::from_secs(seconds.into()))
}

/// Gives the time of a handshake since the epoch; `None` is never.
pub fn last_handshake(time: Option<WallTime>) -> Option<Duration> {
    time.map(|time| Duration::from_secs(time.secs).saturating_add(Duration::from_nanos(time.nanos.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_identity() {
        assert!(private_key(&rvpn_uapi::SecretKey::new(&[0; 32])).is_none());
    }

    #[test]
    fn an_identity_is_given_as_it_is_used() {
        let key = private_key(&rvpn_uapi::SecretKey::new(&[0xff; 32])).expect("not zero");
        let text = private_key_text(&key);
        assert_eq!((text.as_bytes()[0], text.as_bytes()[31]), (0xf8, 0x7f), "clamped");
    }

    #[test]
    fn zero_seconds_turn_keepalives_off() {
        assert_eq!(persistent_keepalive(0), None);
        assert_eq!(persistent_keepalive(25), Some(Duration::from_secs(25)));
    }

    #[test]
    fn a_handshake_time_keeps_its_nanoseconds() {
        let time = WallTime { secs: 1_700_000_000, nanos: 7 };
        assert_eq!(last_handshake(Some(time)), Some(Duration::new(1_700_000_000, 7)));
        assert_eq!(last_handshake(None), None);
    }
}
