//! Open files on their way to another process, over a socket of the machine.
//!
//! Not here: what they are, and what is said beside them.
//!
//! Source: unix(7), SCM_RIGHTS.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// The most files of one message.
pub const MAX_FILES: usize = 8;

/// Sends `files` with one byte, for rights do not travel alone.
///
/// # Errors
/// The OS's; `InvalidInput` if there are more than [`MAX_FILES`].
pub fn send(channel: &UnixStream, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if files.len() > MAX_FILES || !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(channel, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives what [`send`] sent: files that are close-on-exec.
///
/// # Errors
/// The OS's; `UnexpectedEof` if there are not `count` of them.
pub fn receive(channel: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(channel, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let files: Vec<OwnedFd> = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => files.collect::<Vec<_>>(),
            _ => Vec::new(),
        })
        .collect();
    if files.len() == count {
        Ok(files)
    } else {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "they did not come"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn files_arrive_in_order_and_open() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let pairs = [UnixStream::pair().expect("a pair"), UnixStream::pair().expect("a pair")];
        send(&ours, &[pairs[0].0.as_fd(), pairs[1].0.as_fd()]).expect("sent");
        let files = receive(&theirs, 2).expect("both");
        for (n, (file, (_, mut other))) in files.into_iter().zip(pairs).enumerate() {
            UnixStream::from(file).write_all(&[n as u8]).expect("open");
            let mut byte = [9];
            other.read_exact(&mut byte).expect("a byte");
            assert_eq!(byte, [n as u8]);
        }
    }

    #[test]
    fn files_that_do_not_come_are_an_error() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(b"x").expect("room");
        assert!(receive(&ours, 2).is_err());
        drop(theirs);
        assert!(receive(&ours, 2).is_err());
    }

    #[test]
    fn too_many_are_refused() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        assert!(send(&ours, &[theirs.as_fd(); MAX_FILES + 1]).is_err());
    }
}
