//! The connection between the two processes: frames, and files.
//!
//! # Layout
//! A frame is its kind (1 byte), the length of what follows (4 bytes, little-endian) and that. Files follow the offer,
//! with a byte of their own.
//!
//! Not here: which frame comes when (see `giving` and `taking`).

use std::io::{Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use zeroize::Zeroizing;

use super::UpgradeError;
use crate::control::files;
use crate::dataplane::handover::MAX_RECORD_LEN;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What the daemon gives before anything stops.
    Offer,
    /// A part of the configuration, as a `set`.
    Configuration,
    /// A record of the state: the first is of the device, the others of peers.
    Record,
    /// No more of these follow.
    End,
    /// All is prepared.
    Ready,
    /// All records were taken.
    Resumed,
    /// The daemon sends nothing any more.
    Go,
    /// The new process carries packets and can be configured.
    Running,
    /// It came to nothing, and why: a sentence.
    Failed,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Offer,
        Self::Configuration,
        Self::Record,
        Self::End,
        Self::Ready,
        Self::Resumed,
        Self::Go,
        Self::Running,
        Self::Failed,
    ];
}

/// One end.
pub struct Channel {
    stream: UnixStream,
    /// What was received last. It is as long as any frame can be, so that no key is left behind by growing.
    buffer: Zeroizing<Vec<u8>>,
}

/// The most bytes of a frame.
pub const MAX_FRAME_LEN: usize = 1 << 20;

const _: () = assert!(MAX_RECORD_LEN <= MAX_FRAME_LEN);

impl Channel {
    /// Takes a connection, whose calls block from now on.
    ///
    /// # Errors
    /// The OS's.
    pub fn new(stream: UnixStream) -> Result<Self, UpgradeError> {
        stream.set_nonblocking(false)?;
        let channel = Self { stream, buffer: Zeroizing::new(vec![0; MAX_FRAME_LEN]) };
        channel.set_patience(super::PATIENCE)?;
        Ok(channel)
    }

    /// Sets how long the other side may take for a part of a frame.
    ///
    /// # Errors
    /// The OS's.
    pub fn set_patience(&self, patience: Duration) -> Result<(), UpgradeError> {
        self.stream.set_read_timeout(Some(patience))?;
        self.stream.set_write_timeout(Some(patience))?;
        Ok(())
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// [`UpgradeError`].
    ///
    /// # Panics
    /// If it is longer than [`MAX_FRAME_LEN`].
    pub fn send(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), UpgradeError> {
        assert!(bytes.len() <= MAX_FRAME_LEN, "frames are cut to fit");
        let [a, b, c, d] = (bytes.len() as u32).to_le_bytes();
        self.stream.write_all(&[kind as u8, a, b, c, d])?;
        self.stream.write_all(bytes)?;
        Ok(())
    }

    /// Receives a frame of any kind.
    ///
    /// # Errors
    /// [`UpgradeError`]; [`UpgradeError::Told`] if the other side says why it came to nothing.
    pub fn receive(&mut self) -> Result<(Kind, &[u8]), UpgradeError> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let [kind, len @ ..] = head;
        let kind = *Kind::ALL.get(usize::from(kind)).ok_or(UpgradeError::Nonsense)?;
        let bytes = self.buffer.get_mut(..u32::from_le_bytes(len) as usize).ok_or(UpgradeError::Nonsense)?;
        self.stream.read_exact(bytes)?;
        match kind {
            Kind::Failed => Err(UpgradeError::Told(String::from_utf8_lossy(bytes).into_owned())),
            kind => Ok((kind, bytes)),
        }
    }

    /// Receives a frame that must be of this kind.
    ///
    /// # Errors
    /// As [`Channel::receive`]; [`UpgradeError::Nonsense`] for another kind.
    pub fn expect(&mut self, wanted: Kind) -> Result<&[u8], UpgradeError> {
        match self.receive()? {
            (kind, bytes) if kind == wanted => Ok(bytes),
            _ => Err(UpgradeError::Nonsense),
        }
    }

    /// Sends files.
    ///
    /// # Errors
    /// [`UpgradeError`].
    pub fn send_files(&self, files: &[BorrowedFd<'_>]) -> Result<(), UpgradeError> {
        Ok(files::send(&self.stream, files)?)
    }

    /// Receives files.
    ///
    /// # Errors
    /// [`UpgradeError`], also if there are not `count`.
    pub fn receive_files(&self, count: usize) -> Result<Vec<OwnedFd>, UpgradeError> {
        Ok(files::receive(&self.stream, count)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().expect("a pair");
        let channel = |stream| Channel::new(stream).expect("a channel");
        (channel(one), channel(other))
    }

    #[test]
    fn frames_arrive_as_they_were_sent() {
        let (mut one, mut other) = pair();
        for (n, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, n);
        }
        one.send(Kind::Record, b"abc").expect("sent");
        one.send(Kind::End, b"").expect("sent");
        assert_eq!(other.receive().expect("a frame"), (Kind::Record, b"abc".as_slice()));
        assert_eq!(other.expect(Kind::End).expect("the end"), b"");
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [[9, 0, 0, 0, 0], [0, 1, 0, 16, 0], [255; 5]] {
            let (mut one, mut other) = pair();
            one.stream.write_all(&bytes).expect("sent");
            assert!(matches!(other.receive(), Err(UpgradeError::Nonsense)), "{bytes:?}");
        }
        let (mut one, mut other) = pair();
        one.send(Kind::Go, b"").expect("sent");
        assert!(matches!(other.expect(Kind::Ready), Err(UpgradeError::Nonsense)));
    }

    #[test]
    fn an_end_in_a_frame_and_silence_are_told_apart() {
        let (mut one, mut other) = pair();
        one.stream.write_all(&[0, 3, 0, 0, 0, 1]).expect("sent");
        other.set_patience(Duration::from_millis(1)).expect("set");
        assert!(matches!(other.receive(), Err(UpgradeError::Silent)));
        drop(one);
        assert!(matches!(other.receive(), Err(UpgradeError::Gone)));
    }

    #[test]
    fn a_failure_is_told() {
        let (mut one, mut other) = pair();
        one.send(Kind::Failed, b"no room").expect("sent");
        assert!(matches!(other.expect(Kind::Ready), Err(UpgradeError::Told(text)) if text == "no room"));
    }
}
