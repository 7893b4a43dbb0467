//! The daemon's side: it gives what it has, and goes on unless the other says that it does.
//!
//! Threads: `rvpn-upgrade`, while it is asked. Not here: the new process (`taking`), who may ask (`asks::upgrade`).

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::channel::{Channel, Kind};
use super::offer::{self, Offer, Start};
use super::{HOLD_PATIENCE, PATIENCE, PREPARATION, UpgradeError};
use crate::control::host::{Device, Holding};
use crate::control::outcome::{End, Ends};
use crate::control::socket::SocketFile;
use crate::control::supervisor::Supervisor;
use crate::dataplane::io::Clock;
use crate::platform::linux::LinuxClock;
use crate::proto::carried::{Carried, Writer};

/// What a daemon has to give beside its device.
pub struct Giver {
    sockets: Vec<(&'static str, OwnedFd)>,
    supervisor: Arc<Supervisor>,
    start: Start,
    keeps_socket: bool,
    ends: Ends,
    /// Connections are for the other process, or will be in a moment.
    closed: watch::Sender<bool>,
    /// One at a time.
    giving: Mutex<()>,
}

impl Giver {
    /// Makes what gives `sockets` by name and the service manager of a daemon away that was started so, and reports to `ends`
    /// when it has.
    pub fn new(
        sockets: Vec<(&'static str, OwnedFd)>,
        file: &SocketFile,
        supervisor: Arc<Supervisor>,
        start: Start,
        ends: Ends,
    ) -> Self {
        let keeps_socket = file.is_kept();
        Self {
            sockets,
            supervisor,
            start,
            keeps_socket,
            ends,
            closed: watch::Sender::new(false),
            giving: Mutex::new(()),
        }
    }

    /// Says whether connections are to be accepted at the moment.
    pub fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// Gives all to the process `pid` at the other end of `stream`. Blocks.
    ///
    /// # Errors
    /// [`UpgradeError`]: the device goes on as before.
    pub fn give(&self, device: &dyn Device, stream: UnixStream, pid: i32) -> Result<(), UpgradeError> {
        let Ok(_alone) = self.giving.try_lock() else { return Err(UpgradeError::Told(BUSY.to_owned())) };
        let mut channel = Channel::new(stream)?;
        let given = self.give_all(device, &mut channel);
        match &given {
            Ok(()) => self.ends.report(End::Replaced { pid }),
            Err(error) => {
                // Back to work first; whoever is told may have gone.
                self.closed.send_replace(false);
                let _ = channel.send(Kind::Failed, error.to_string().as_bytes());
            }
        }
        given
    }

    fn give_all(&self, device: &dyn Device, channel: &mut Channel) -> Result<(), UpgradeError> {
        let changes = device.changes();
        self.make_offer(device, channel)?;
        channel.set_patience(PREPARATION)?;
        channel.expect(Kind::Ready)?;
        channel.set_patience(PATIENCE)?;

        self.closed.send_replace(true);
        let held = device.hold(HOLD_PATIENCE).ok_or(UpgradeError::Busy)?;
        if held.changes() != changes {
            return Err(UpgradeError::Changed);
        }
        give_state(&*held, channel)?;
        channel.expect(Kind::Resumed)?;
        match go(channel) {
            Ok(()) => {
                held.retire();
                Ok(())
            }
            Err(error) => {
                held.release_far_ahead();
                Err(error)
            }
        }
    }

    fn make_offer(&self, device: &dyn Device, channel: &mut Channel) -> Result<(), UpgradeError> {
        let mut files = device.files()?;
        for (name, socket) in &self.sockets {
            files.push((*name, socket.try_clone()?));
        }
        files.push((offer::STDERR, std::io::stderr().as_fd().try_clone_to_owned()?));
        let (notify, watchdog) = self.supervisor.give()?;
        files.extend(notify.map(|socket| (offer::NOTIFY, socket)));
        let mut out = Writer::new(super::channel::MAX_FRAME_LEN);
        Offer::new(LinuxClock.now(), self.start.clone(), &files, watchdog, self.keeps_socket).write(&mut out);
        channel.send(Kind::Offer, out.written()?)?;
        let files: Vec<_> = files.iter().map(|(_, file)| file.as_fd()).collect();
        channel.send_files(&files)?;
        let status = device.status();
        for text in offer::configuration(&status) {
            channel.send(Kind::Configuration, &text)?;
        }
        channel.send(Kind::End, b"")
    }
}

fn give_state(held: &dyn Holding, channel: &mut Channel) -> Result<(), UpgradeError> {
    held.export(&mut |record| channel.send(Kind::Record, record))?;
    channel.send(Kind::End, b"")
}

/// From here on this process sends nothing, until it knows that the other is gone.
fn go(channel: &mut Channel) -> Result<(), UpgradeError> {
    channel.send(Kind::Go, &LinuxClock.now().as_nanos().to_le_bytes())?;
    channel.expect(Kind::Running).map(drop)
}

const BUSY: &str = "another process is just taking over";
