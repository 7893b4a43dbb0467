//! The new process's side: it asks for all there is, prepares, and goes on where the other stopped.
//!
//! Not here: what the daemon does then, which is what every daemon does (`daemon`).

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rvpn_uapi::{Ask, Request, RequestEvent, RequestParser};

use super::channel::{Channel, Kind};
use super::offer::{self, Offer, Start};
use super::{GO_IS_GOOD_FOR, PREPARATION, UpgradeError, WORD};
use crate::control::error::Error;
use crate::control::host::{Device, Host, Taken};
use crate::control::interface::InterfaceName;
use crate::control::metrics::listen::{Address, Listener};
use crate::control::outcome::Ends;
use crate::control::server::interface_index;
use crate::control::supervisor::Supervisor;
use crate::dataplane::io::Clock;
use crate::platform::linux::{LinuxClock, process};
use crate::proto::carried::{Reader, VERSION};
use crate::proto::time::Instant;

/// What the daemon has given, and the connection on which the rest comes.
pub struct Taking {
    channel: Channel,
    offer: Offer,
    files: HashMap<String, OwnedFd>,
}

impl Taking {
    /// Asks the daemon of `interface` for what it has.
    ///
    /// # Errors
    /// [`UpgradeError`].
    pub fn ask(directory: &Path, interface: &InterfaceName) -> Result<Self, UpgradeError> {
        let mut stream = UnixStream::connect(directory.join(format!("{interface}.sock")))?;
        let mut text = Vec::new();
        Ask::new(WORD).with("version", VERSION).write(&mut text);
        stream.set_read_timeout(Some(super::PATIENCE))?;
        stream.write_all(&text)?;
        let mut answer = [0];
        // One that does not know the question closes the connection, or says so in text.
        if stream.read(&mut answer)? != 1 || answer != ACCEPTED {
            return Err(UpgradeError::NotSupported);
        }
        let mut channel = Channel::new(stream)?;
        let offer: Offer = Reader::new(channel.expect(Kind::Offer)?).whole()?;
        let now = LinuxClock.now();
        // Clocks of different time namespaces: keys would live too long, or not at all.
        if offer.now > now || now.since(offer.now) > super::PATIENCE {
            return Err(UpgradeError::State("the daemon has another boot-time clock".to_owned()));
        }
        let files = channel.receive_files(offer.files.len())?;
        let files = offer.files.iter().cloned().zip(files).collect();
        Ok(Self { channel, offer, files })
    }

    /// Returns how the daemon was started, with the variables of this process, where there are any, in the place of its
    /// own.
    pub fn start(&self) -> Start {
        self.offer.start.amended(Start::of_this_process())
    }

    /// Has the log go where the daemon's went.
    ///
    /// # Errors
    /// [`UpgradeError`].
    pub fn take_log(&mut self) -> Result<(), UpgradeError> {
        let stderr = self.file(offer::STDERR)?;
        rustix::stdio::dup2_stderr(stderr).map_err(|error| UpgradeError::Os(error.into()))
    }

    /// Returns the configuration socket.
    ///
    /// # Errors
    /// [`UpgradeError`] if it did not come.
    pub fn listener(&mut self) -> Result<UnixListener, UpgradeError> {
        Ok(self.file(offer::LISTENER)?.into())
    }

    /// Returns what listens for metrics at `address`: the daemon's socket, or a new one if its was for another address.
    ///
    /// # Errors
    /// [`Error::Metrics`].
    pub fn metrics(&mut self, address: Option<&Address>) -> Result<Option<Listener>, Error> {
        let Some(address) = address else { return Ok(None) };
        let given = self.files.remove(offer::METRICS).and_then(|socket| Listener::given(socket, address));
        given.map_or_else(|| Listener::new(address), Ok).map(Some)
    }

    /// Tells whether the socket's file stays where it is in the end.
    pub fn keeps_socket(&self) -> bool {
        self.offer.keeps_socket
    }

    /// Returns the daemon's service manager.
    pub fn supervisor(&mut self) -> Supervisor {
        let patience = self.offer.watchdog.map(Duration::from_micros);
        Supervisor::given(self.files.remove(offer::NOTIFY), patience)
    }

    /// Prepares a device, takes its state, and lets it go on when the daemon has stopped. Returns it with the length of
    /// the pause.
    ///
    /// # Errors
    /// [`UpgradeError`]: nothing was sent, and this process is to end.
    pub fn take(
        &mut self,
        interface: &InterfaceName,
        host: &dyn Host,
        ends: &Ends,
    ) -> Result<(Arc<dyn Device>, Duration), UpgradeError> {
        let taken = self.prepare(interface, host, ends);
        taken.inspect_err(|error| {
            // The daemon goes on at once, and can say why.
            let _ = self.channel.send(Kind::Failed, error.to_string().as_bytes());
        })
    }

    fn prepare(
        &mut self,
        interface: &InterfaceName,
        host: &dyn Host,
        ends: &Ends,
    ) -> Result<(Arc<dyn Device>, Duration), UpgradeError> {
        let tun = self.file(offer::TUN)?;
        let sockets = [offer::UDP_V4, offer::UDP_V6].map(|name| self.files.remove(name));
        process::join_network_namespace_of(sockets.iter().flatten()).map_err(UpgradeError::Namespace)?;
        let mut taken =
            host.take(interface, tun, sockets, ends).map_err(|error| UpgradeError::State(error.to_string()))?;
        while let (Kind::Configuration, text) = self.channel.receive()? {
            configure(&mut *taken, text)?;
        }
        self.channel.set_patience(PREPARATION)?;
        self.channel.send(Kind::Ready, b"")?;
        let mut record = self.channel.expect(Kind::Record)?;
        taken.begin(record)?;
        self.channel.set_patience(super::PATIENCE)?;
        loop {
            match self.channel.receive()? {
                (Kind::Record, next) => record = next,
                (Kind::End, _) => break,
                _ => return Err(UpgradeError::Nonsense),
            }
            taken.peer(record)?;
        }
        taken.finish()?;
        self.channel.send(Kind::Resumed, b"")?;
        self.await_go()?;
        Ok(taken.go_on()?)
    }

    /// The daemon has said that it sends nothing any more, and not so long ago that it could have changed its mind.
    fn await_go(&mut self) -> Result<(), UpgradeError> {
        let said = self.channel.expect(Kind::Go)?.try_into().map_err(|_| UpgradeError::Nonsense)?;
        let said = Instant::from_nanos(u64::from_le_bytes(said));
        if LinuxClock.now().since(said) > GO_IS_GOOD_FOR { Err(UpgradeError::Silent) } else { Ok(()) }
    }

    /// Says that this process is the daemon from now on.
    ///
    /// # Errors
    /// [`UpgradeError`] if the other can no longer be told: it goes on, and this one must end.
    pub fn running(mut self) -> Result<(), UpgradeError> {
        self.channel.send(Kind::Running, b"")
    }

    fn file(&mut self, name: &str) -> Result<OwnedFd, UpgradeError> {
        self.files.remove(name).ok_or_else(|| UpgradeError::State(format!("the daemon did not give its {name}")))
    }
}

/// What precedes the offer: no text begins so.
pub(in crate::control) const ACCEPTED: [u8; 1] = [0];

fn configure(taken: &mut dyn Taken, text: &[u8]) -> Result<(), UpgradeError> {
    let mut parser = RequestParser::new(Arc::new(interface_index));
    let mut input = text;
    match parser.next(&mut input) {
        Some(RequestEvent::Request(Request::Set(set))) if input.is_empty() => {
            taken.configure(set).map_err(|errno| UpgradeError::State(format!("its configuration is refused: {errno}")))
        }
        Some(RequestEvent::Invalid { error, .. }) => {
            Err(UpgradeError::State(format!("its configuration is refused: {error}")))
        }
        _ => Err(UpgradeError::Nonsense),
    }
}
