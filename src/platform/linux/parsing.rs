//! Everything here that reads bytes of the kernel's, as functions of bytes alone: for fuzzing, which has no kernel.
//!
//! Not for use in the program: nothing comes out of them but the absence of a panic, and a check of what was read
//! against what was given.

use super::cmsg::ControlBuffer;
use super::netlink::Messages;
use super::socket_name::SocketName;
use super::vnet_header;

/// Reads control messages.
///
/// # Panics
/// If a train were told to be of empty datagrams.
pub fn control_messages(bytes: &[u8]) {
    let mut buffer = ControlBuffer::new();
    let len = bytes.len().min(ControlBuffer::ROOM);
    buffer.room()[..len].copy_from_slice(&bytes[..len]);
    buffer.set_len(len);
    let control = buffer.parse();
    assert_ne!(control.segment_len, Some(0), "a train is cut into datagrams of some length");
}

/// Reads the address of a sender.
///
/// # Panics
/// If it is written otherwise than it was read.
pub fn socket_name(bytes: &[u8]) {
    let mut name = SocketName::default();
    let len = bytes.len().min(SocketName::ROOM);
    name.room()[..len].copy_from_slice(&bytes[..len]);
    name.set_len(bytes.len());
    if let Some(address) = name.address() {
        assert_eq!(SocketName::new(address).address(), Some(address));
    }
}

/// Reads what stands before a packet at a TUN, and the packet.
///
/// # Panics
/// If it is written otherwise than it was read, or promises what the packet does not hold.
pub fn packet_with_header(bytes: &[u8]) {
    let Some((header, packet)) = bytes.split_first_chunk() else { return };
    let Some(offload) = vnet_header::decode(*header, packet) else { return };
    assert!(usize::from(offload.header_len) <= packet.len());
    assert_eq!(vnet_header::decode(vnet_header::encode(offload), packet), Some(offload));
}

/// Reads a datagram of netlink messages.
///
/// # Panics
/// If there are more messages in it than have room.
pub fn netlink_datagram(bytes: &[u8]) {
    // A message has a header of 16 bytes; after one that cannot be read there is none.
    assert!(Messages(bytes).count() <= bytes.len() / 16 + 1);
}
