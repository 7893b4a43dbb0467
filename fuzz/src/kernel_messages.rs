//! What the kernel says beside packets: control messages, socket addresses, virtio headers, netlink. It is trusted, but
//! its formats grow, and what is read as bytes must not be able to panic.

use rvpn::platform::linux::parsing;

/// The first byte says which it is.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => parsing::control_messages(bytes),
        1 => parsing::socket_name(bytes),
        2 => parsing::packet_with_header(bytes),
        _ => parsing::netlink_datagram(bytes),
    }
}
