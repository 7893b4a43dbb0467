//! A netlink socket of any protocol that sends bytes and hands out bytes: for messages that hold secrets.
//!
//! The messages of `netlink-packet-*` own what they are made of and leave copies of it behind. Here a request is the
//! caller's to wipe, and what comes in is wiped when the socket is dropped.
//!
//! The kernel queues its answer before the system call returns that sends the question, and the next piece of a long
//! answer before the one returns that reads a piece. So nothing here waits.
//!
//! Not here: what the bytes mean (see `wireguard_driver`).
//!
//! Source: netlink(7).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use netlink_packet_core::{Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use zeroize::Zeroizing;

use super::sys;

/// The length of the header before each message: struct nlmsghdr.
pub(super) const HEADER_LEN: usize = 16;

/// One socket, close-on-exec and non-blocking, in the network namespace of the thread that opened it.
pub(super) struct NetlinkSocket {
    socket: OwnedFd,
    sequence: u32,
    buffer: Zeroizing<Vec<u8>>,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// One thing, or that something be done.
    One,
    /// All there are.
    All,
}

impl NetlinkSocket {
    /// Opens a socket; without a protocol, for links, addresses and routes.
    pub(super) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        // Else a refusal repeats the whole request, keys and all, and may be longer than the buffer. Since Linux 4.3.
        let _ = sys::set_option(socket.as_fd(), libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1);
        Ok(Self { socket, sequence: 0, buffer: Zeroizing::new(vec![0; BUFFER_LEN]) })
    }

    /// Sends `message`, which begins with room for the header, and hands the bodies of all answers to `each`.
    ///
    /// # Errors
    /// The kernel's, or that of `each`. [`io::ErrorKind::Interrupted`] if what was being listed changed meanwhile.
    pub(super) fn ask(
        &mut self,
        ask: Ask,
        message_type: u16,
        message: &mut [u8],
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.length = message.len() as u32;
        header.message_type = message_type;
        // An acknowledgement ends the answer to the one as the end of the list that to the other.
        header.flags = NLM_F_REQUEST | if ask == Ask::All { NLM_F_DUMP } else { NLM_F_ACK };
        header.sequence_number = self.sequence;
        header.emit(&mut message[..HEADER_LEN]);
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::io::retry_on_intr(|| rustix::net::sendto(&self.socket, message, SendFlags::empty(), &kernel))?;
        loop {
            let received =
                rustix::io::retry_on_intr(|| rustix::net::recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC));
            let (_, len) = received?;
            let datagram = self.buffer.get(..len).ok_or_else(unreadable)?;
            if take(datagram, self.sequence, &mut each)? {
                return Ok(());
            }
        }
    }
}

/// Hands on the answers in one datagram; true if they end in it.
fn take(mut rest: &[u8], sequence: u32, each: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<bool> {
    while !rest.is_empty() {
        let message = NetlinkBuffer::new_checked(rest).map_err(|_| unreadable())?;
        rest = rest.get((message.length() as usize).next_multiple_of(4)..).unwrap_or_default();
        // What is left of an earlier answer, which an error cut short.
        if message.sequence_number() != sequence {
            continue;
        }
        if i32::from(message.flags()) & libc::NLM_F_DUMP_INTR != 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match i32::from(message.message_type()) {
            libc::NLMSG_NOOP => {}
            libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                // A list that ends well may say so without a code.
                let code = message.payload().first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                return if code == 0 { Ok(true) } else { Err(io::Error::from_raw_os_error(code.saturating_neg())) };
            }
            libc::NLMSG_OVERRUN => return Err(unreadable()),
            _ => each(message.payload())?,
        }
    }
    Ok(false)
}

/// What is said of an answer that is not as it should be.
pub(super) fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer cannot be read")
}

/// The most the kernel puts into one datagram of a list.
const BUFFER_LEN: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of this type, flags and sequence number.
    fn message(message_type: i32, flags: i32, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        header.length = (HEADER_LEN + payload.len()) as u32;
        (header.message_type, header.flags, header.sequence_number) = (message_type as u16, flags as u16, sequence);
        let mut bytes = vec![0; HEADER_LEN];
        header.emit(&mut bytes);
        bytes.extend_from_slice(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn taken(datagram: &[u8]) -> (Result<bool, io::ErrorKind>, Vec<Vec<u8>>) {
        let mut bodies = Vec::new();
        let result = take(datagram, 7, &mut |body| {
            bodies.push(body.to_vec());
            Ok(())
        });
        (result.map_err(|error| error.kind()), bodies)
    }

    #[test]
    fn an_answer_goes_on_until_its_end_and_leaves_out_what_is_not_its_own() {
        let pieces =
            [message(40, 2, 7, b"abc"), message(40, 2, 6, b"old"), message(1, 0, 7, b""), message(40, 2, 7, b"d")];
        let bodies = vec![b"abc".to_vec(), b"d".to_vec()];
        assert_eq!(taken(&pieces.concat()), (Ok(false), bodies.clone()));
        for end in [message(3, 2, 7, b""), message(3, 2, 7, &[0; 4]), message(2, 0, 7, &[0; 20])] {
            assert_eq!(taken(&[pieces.concat(), end].concat()), (Ok(true), bodies.clone()));
        }
    }

    #[test]
    fn errors_are_those_of_the_kernel() {
        for end in [2, 3] {
            let no_device = message(end, 0, 7, &(-libc::ENODEV).to_ne_bytes());
            let error = take(&no_device, 7, &mut |_| Ok(())).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        }
        let changed = message(40, libc::NLM_F_DUMP_INTR, 7, b"");
        assert_eq!(taken(&changed).0, Err(io::ErrorKind::Interrupted));
    }

    #[test]
    fn senseless_lengths_are_an_error() {
        for len in [0_u32, 15, 17, u32::MAX] {
            let mut datagram = message(40, 0, 7, b"");
            datagram[..4].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(taken(&datagram).0, Err(io::ErrorKind::InvalidData), "{len}");
        }
        assert_eq!(taken(&[1, 2, 3]).0, Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn the_kernel_lists_the_loopback() {
        let mut socket = NetlinkSocket::open(None).unwrap();
        let mut question = [0; HEADER_LEN + 16];
        let mut count = 0;
        socket
            .ask(Ask::All, libc::RTM_GETLINK, &mut question, |_| {
                count += 1;
                Ok(())
            })
            .unwrap();
        assert!(count > 0);
    }
}
