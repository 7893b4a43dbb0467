//! Captures for people who debug: what passes the interface, or its UDP port, as a file that the usual tools read.
//!
//! ```text
//!  inner   a tap on the interface                    ─┐
//!  outer   a tap on the UDP port, trains taken apart ─┼─► Pcapng ─► a file
//!  keys    of handshakes from now on, by the daemon  ─┘
//! ```
//! All of it happens here, in the process of the command: the kernel makes the copies. Only the ephemeral keys of
//! handshakes are the daemon's, which has them for as long as a handshake lasts and tells them to who listens then; keys
//! of sessions that are there already are gone, and what was sent with them cannot be opened by anybody. That is what they
//! are for.
//!
//! Not here: the command line (`cli::capture`), the daemon's side of keys (`asks::capture`).

pub mod keys;
pub mod pcapng;
pub mod trains;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::keys::KeyLog;
use self::pcapng::Pcapng;
use self::trains::for_each_datagram;
use crate::platform::linux::packet_tap::{PacketTap, Tapped, Taps};
use crate::proto::messages;

/// What is captured, and how.
pub struct Capture {
    tap: PacketTap,
    keys: Option<KeyLog>,
    /// Trains of datagrams are taken apart.
    outer: bool,
}

impl Capture {
    /// Captures what enters and leaves an interface.
    ///
    /// # Errors
    /// The OS's.
    pub fn inner(interface: u32) -> io::Result<Self> {
        Ok(Self { tap: PacketTap::open(Taps::Interface(interface))?, keys: None, outer: false })
    }

    /// Captures what a UDP port sends and receives, with keys as they come on `keys`.
    ///
    /// # Errors
    /// The OS's.
    pub fn outer(port: u16, keys: Option<UnixStream>) -> io::Result<Self> {
        let keys = keys.map(KeyLog::new).transpose()?;
        Ok(Self { tap: PacketTap::open(Taps::Port(port))?, keys, outer: true })
    }

    /// Writes packets to `file` until there are `most` of them, or `goes_on`, which is asked every second, says no.
    ///
    /// # Errors
    /// Those of the file, and the OS's.
    pub fn run<W: Write>(
        mut self,
        file: &mut Pcapng<W>,
        most: Option<u64>,
        name: impl Fn(u32) -> String,
        mut goes_on: impl FnMut() -> bool,
    ) -> io::Result<u64> {
        let (mut count, mut scratch) = (0, Vec::new());
        while goes_on() {
            self.wait()?;
            loop {
                let mut batch = Vec::new();
                let taken = self.tap.receive(|tapped| {
                    batch.push((tapped.at, tapped.interface, tapped.is_outgoing, tapped.bytes.to_vec()))
                })?;
                for (at, interface, is_outgoing, bytes) in &batch {
                    let tapped = Tapped { at: *at, interface: *interface, is_outgoing: *is_outgoing, bytes };
                    self.write_secrets(file, bytes)?;
                    let mut result = Ok(());
                    let mut write = |bytes: &[u8]| {
                        if result.is_ok() && most.is_none_or(|most| count < most) {
                            result = file.packet(Tapped { bytes, ..tapped }, || name(tapped.interface));
                            count += 1;
                        }
                    };
                    if self.outer {
                        for_each_datagram(bytes, &mut scratch, write);
                    } else {
                        write(bytes);
                    }
                    result?;
                }
                if most.is_some_and(|most| count >= most) {
                    return Ok(count);
                }
                if taken == 0 {
                    break;
                }
            }
        }
        Ok(count)
    }

    /// Waits for a packet, at most a second.
    fn wait(&self) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.tap, PollFlags::IN)];
        match poll(&mut fds, Some(&Timespec { tv_sec: 1, tv_nsec: 0 })) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the keys that have come. A message of a handshake must not come before its key, which the daemon told
    /// before it sent the message: it is waited for.
    fn write_secrets<W: Write>(&mut self, file: &mut Pcapng<W>, packet: &[u8]) -> io::Result<()> {
        let Some(keys) = self.keys.as_mut().filter(|_| is_handshake(packet)) else { return Ok(()) };
        match keys.take(KEY_PATIENCE)? {
            Some(text) => file.secrets(&text),
            None => Ok(()),
        }
    }
}

/// How long the key of a handshake may be on its way from the daemon. In vain for the other end's messages.
const KEY_PATIENCE: Duration = Duration::from_millis(50);

fn is_handshake(packet: &[u8]) -> bool {
    let header_len = if packet.first().is_some_and(|first| first >> 4 == 4) { 20 } else { 40 };
    matches!(
        packet.get(header_len + 8..).and_then(messages::parse),
        Some(messages::Message::Initiation(_) | messages::Message::Response(_))
    )
}
