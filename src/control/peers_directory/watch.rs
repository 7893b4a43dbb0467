//! Which files of a directory were touched, as inotify tells.

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::read::stem;

/// A directory that is watched.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: OwnedFd,
}

/// What happened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// These files were written to their end, came or went.
    pub(super) files: BTreeSet<String>,
    /// So may others have been: it was more than inotify keeps.
    pub(super) is_too_much: bool,
    /// The directory was removed or moved away.
    pub(super) is_gone: bool,
}

impl Watch {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&inotify, path, EVENTS)?;
        Ok(Self { inotify })
    }

    /// Returns what waits for events. To be called within a tokio runtime.
    #[allow(deprecated, reason = "sound for an `OwnedFd`; the successor is unsafe because it takes any type")]
    pub(super) fn events(&self) -> io::Result<Events> {
        let inotify = self.inotify.try_clone()?;
        Ok(Events { inotify: AsyncFd::with_interest(inotify, Interest::READABLE)? })
    }
}

/// The events of a [`Watch`].
#[derive(Debug)]
pub(super) struct Events {
    inotify: AsyncFd<OwnedFd>,
}

impl Events {
    /// Waits until something has happened that matters.
    ///
    /// # Errors
    /// The OS's, if events cannot be read.
    pub(super) async fn next(&mut self) -> io::Result<Touched> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let touched = read_all(self.inotify.get_ref().as_fd())?;
            ready.clear_ready();
            if touched != Touched::default() {
                return Ok(touched);
            }
        }
    }
}

/// Takes all events there are.
fn read_all(inotify: BorrowedFd<'_>) -> io::Result<Touched> {
    let mut room = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(inotify, &mut room);
    let mut touched = Touched::default();
    loop {
        let event = match events.next() {
            Ok(event) => event,
            Err(Errno::AGAIN) => return Ok(touched),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let flags = event.events();
        touched.is_gone |=
            flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT);
        touched.is_too_much |= flags.contains(ReadFlags::QUEUE_OVERFLOW);
        touched.files.extend(event.file_name().and_then(|name| name.to_str().ok()).and_then(stem).map(str::to_owned));
    }
}

/// Not CREATE: a file that was just made says nothing yet.
const EVENTS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
