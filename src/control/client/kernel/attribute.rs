//! The numbers of the driver's attributes and flags.
//!
//! Source: Linux uapi/linux/wireguard.h.

pub(super) const DEVICE_IFNAME: u16 = 2;
pub(super) const DEVICE_PRIVATE_KEY: u16 = 3;
pub(super) const DEVICE_FLAGS: u16 = 5;
pub(super) const DEVICE_LISTEN_PORT: u16 = 6;
pub(super) const DEVICE_FWMARK: u16 = 7;
pub(super) const DEVICE_PEERS: u16 = 8;

/// Peers that the message does not name go.
pub(super) const DEVICE_REPLACE_PEERS: u32 = 1;

pub(super) const PEER_PUBLIC_KEY: u16 = 1;
pub(super) const PEER_PRESHARED_KEY: u16 = 2;
pub(super) const PEER_FLAGS: u16 = 3;
pub(super) const PEER_ENDPOINT: u16 = 4;
pub(super) const PEER_KEEPALIVE: u16 = 5;
pub(super) const PEER_LAST_HANDSHAKE: u16 = 6;
pub(super) const PEER_RX_BYTES: u16 = 7;
pub(super) const PEER_TX_BYTES: u16 = 8;
pub(super) const PEER_ALLOWED_IPS: u16 = 9;

pub(super) const PEER_REMOVE: u32 = 1;
pub(super) const PEER_REPLACE_ALLOWED_IPS: u32 = 2;
pub(super) const PEER_UPDATE_ONLY: u32 = 4;

pub(super) const ALLOWED_IP_FAMILY: u16 = 1;
pub(super) const ALLOWED_IP_ADDRESS: u16 = 2;
pub(super) const ALLOWED_IP_CIDR: u16 = 3;
pub(super) const ALLOWED_IP_FLAGS: u16 = 4;

/// Drivers before Linux 6.16 do not know it and refuse the message.
pub(super) const ALLOWED_IP_REMOVE: u32 = 1;

/// AF_INET.
pub(super) const FAMILY_V4: u16 = 2;
/// AF_INET6.
pub(super) const FAMILY_V6: u16 = 10;
