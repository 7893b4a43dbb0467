//! Keys, in the text form that the dissector of WireGuard reads: a kind, `=`, 32 bytes in base64.
//!
//! Not here: who may have them.
//!
//! Source: Wireshark's wiki, "WireGuard", "Key Log Format".

use std::fmt::Write as _;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rvpn_uapi::DeviceStatus;
use zeroize::Zeroizing;

use crate::control::key_text;

/// The long-lived keys of a device: what opens the initiations it receives, and names the peers.
pub fn lasting(status: &DeviceStatus) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(LINE_LEN * (1 + status.peers.len())));
    if let Some(key) = &status.private_key {
        line(&mut text, "LOCAL_STATIC_PRIVATE_KEY", key.as_bytes());
    }
    for peer in &status.peers {
        line(&mut text, "REMOTE_STATIC_PUBLIC_KEY", &peer.public_key.0);
    }
    text
}

/// The keys of one handshake, ephemeral first, as the dissector wants them.
pub fn of_handshake(ephemeral: &[u8; 32], preshared: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * LINE_LEN));
    line(&mut text, "LOCAL_EPHEMERAL_PRIVATE_KEY", ephemeral);
    line(&mut text, "PRESHARED_KEY", preshared);
    text
}

fn line(text: &mut String, kind: &str, key: &[u8; 32]) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{kind}={}", *key_text::encode(key));
}

/// `REMOTE_STATIC_PUBLIC_KEY=`, 44 characters, and room to spare, so that no text is moved.
const LINE_LEN: usize = 80;

/// The keys of handshakes, as the daemon tells them.
#[derive(Debug)]
pub struct KeyLog {
    stream: UnixStream,
}

impl KeyLog {
    /// Listens to `stream`.
    ///
    /// # Errors
    /// The OS's.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(None)?;
        Ok(Self { stream })
    }

    /// Takes what was told, waiting at most `patience`, less than a second, for it; `None` if nothing was.
    ///
    /// # Errors
    /// The OS's; the daemon has ended if it is `UnexpectedEof`.
    pub fn take(&mut self, patience: Duration) -> io::Result<Option<Zeroizing<String>>> {
        let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
        let patience = Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
        match poll(&mut fds, Some(&patience)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            result => result?,
        };
        let mut bytes = Zeroizing::new([0; 4096]);
        match self.stream.read(&mut *bytes)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            len => Ok(Some(Zeroizing::new(String::from_utf8_lossy(&bytes[..len]).into_owned()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn keys_are_lines_of_kind_and_base64() {
        let text = of_handshake(&[0; 32], &[255; 32]);
        let zero = "A".repeat(43);
        let ones = format!("{}8", "/".repeat(42));
        assert_eq!(*text, format!("LOCAL_EPHEMERAL_PRIVATE_KEY={zero}=\nPRESHARED_KEY={ones}=\n"));
        let status = DeviceStatus {
            private_key: Some(rvpn_uapi::SecretKey::new(&[0; 32])),
            peers: vec![rvpn_uapi::PeerStatus::new(rvpn_uapi::PublicKey([0; 32]))],
            ..DeviceStatus::default()
        };
        assert_eq!(*lasting(&status), format!("LOCAL_STATIC_PRIVATE_KEY={zero}=\nREMOTE_STATIC_PUBLIC_KEY={zero}=\n"));
        assert_eq!(lasting(&DeviceStatus::default()).as_str(), "");
    }

    #[test]
    fn what_was_told_is_taken_and_silence_is_nothing() {
        let (mut daemon, stream) = UnixStream::pair().expect("a pair");
        let mut keys = KeyLog::new(stream).expect("it listens");
        assert!(keys.take(Duration::ZERO).expect("nothing").is_none());
        daemon.write_all(b"A=1\n").expect("told");
        assert_eq!(
            keys.take(Duration::from_millis(900)).expect("a line").as_deref().map(String::as_str),
            Some("A=1\n")
        );
        drop(daemon);
        assert!(keys.take(Duration::ZERO).is_err());
    }
}
