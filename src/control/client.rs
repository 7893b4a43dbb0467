//! A WireGuard, in whichever program it runs, from the side that asks: `wg` built in.
//!
//! Any program that serves `/var/run/wireguard/<interface>.sock` is understood, and the kernel's driver where nobody
//! does. Each operation has a connection of its own. A socket that refuses is passed over and left where it is: `wg`
//! would delete it, and with it one that is just about to listen.
//!
//! Not here: the text (see the `rvpn-uapi` crate), the other side (see `server`), messages to the driver (see `kernel`).
//!
//! Source: <https://www.wireguard.com/xplatform/>.

mod kernel;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rvpn_uapi::{Ask, DeviceStatus, Errno, ParseError, Reply, ReplyParser, Set, write_set};
use zeroize::Zeroizing;

use self::kernel::{Kernel, Linux};
use super::error::reason;
use super::server::interface_index;

/// The sockets in one directory, and the kernel's driver.
#[derive(Clone, Debug)]
pub struct Client {
    directory: PathBuf,
    /// How long a server may say nothing.
    patience: Duration,
    kernel: Arc<dyn Kernel>,
}

impl Client {
    /// Looks for sockets in `directory`.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, patience: PATIENCE, kernel: Arc::new(Linux) }
    }

    /// Lists the interfaces of the kernel's driver, oldest first, then those that have a socket somebody listens on, in
    /// the order of the directory, as `wg` does.
    ///
    /// # Errors
    /// [`ClientError::List`] if the directory is there and cannot be read, [`ClientError::ListKernel`] if the kernel says
    /// nothing.
    pub fn interfaces(&self) -> Result<Vec<String>, ClientError> {
        let mut names = self.kernel.interfaces().map_err(|source| ClientError::ListKernel { source })?;
        let sockets = self.sockets()?;
        names.retain(|name| !sockets.contains(name));
        names.extend(sockets);
        Ok(names)
    }

    fn sockets(&self) -> Result<Vec<String>, ClientError> {
        let failed = |source| ClientError::List { path: self.directory.clone(), source };
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_suffix(".sock"));
            if let Some(name) = name.filter(|name| !name.is_empty())
                && is_listening(&path)
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Asks for the state of an interface.
    ///
    /// # Errors
    /// [`ClientError`], with the interface's name in it.
    pub fn status(&self, interface: &OsStr) -> Result<DeviceStatus, ClientError> {
        match self.exchange(interface, b"get=1\n\n") {
            Ok(reply) => Ok(reply.status),
            Err(error) => self.in_kernel(interface, error, "ask", kernel::status),
        }
    }

    /// Tells whether rvpn runs an interface, so that it takes what `wg` knows nothing of.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn is_rvpn(&self, interface: &OsStr) -> Result<bool, ClientError> {
        Ok(self.status(interface)?.aead.is_some())
    }

    /// Changes an interface. Of what only rvpn has, other servers and the kernel's driver are not told.
    ///
    /// # Errors
    /// [`ClientError`]; whether part of the change has acted then is up to the server (rvpn: nothing has; the kernel:
    /// what stands before the fault).
    pub fn apply(&self, interface: &OsStr, set: &Set) -> Result<(), ClientError> {
        let mut plain = None;
        if set.is_extended() && !self.is_rvpn(interface)? {
            plain.insert(set.clone()).strip_extensions();
        }
        let set = plain.as_ref().unwrap_or(set);
        let mut text = Zeroizing::new(Vec::new());
        write_set(set, &mut text);
        match self.exchange(interface, &text) {
            Ok(_) => Ok(()),
            Err(error) => self.in_kernel(interface, error, "change", |kernel, name| kernel::apply(kernel, name, set)),
        }
    }

    /// Asks what only this program can be asked, and returns the connection, from which the answer is to be read: its
    /// timeouts are those of an answer, the answer's to change.
    ///
    /// # Errors
    /// [`ClientError`]. A server that is not this program closes the connection without a word.
    pub fn open(&self, interface: &OsStr, ask: &Ask) -> Result<UnixStream, ClientError> {
        let mut text = Vec::new();
        ask.write(&mut text);
        let mut stream = self.connect(interface)?;
        let name = || interface.to_string_lossy().into_owned();
        stream.write_all(&text).map_err(|source| ClientError::Socket {
            interface: name(),
            action: "write to",
            source,
        })?;
        Ok(stream)
    }

    /// Asks a question that is answered by lines, and returns these.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::NotOurs`] if the server is not this program or too old to know the word.
    pub fn question(&self, interface: &OsStr, ask: &Ask) -> Result<Vec<(String, String)>, ClientError> {
        let name = || interface.to_string_lossy().into_owned();
        let mut lines = Vec::new();
        for line in io::BufReader::new(self.open(interface, ask)?).lines() {
            let line = line.map_err(|source| ClientError::Socket { interface: name(), action: "read from", source })?;
            match line.split_once('=') {
                Some(("errno", "0")) => return Ok(lines),
                Some(("errno", value)) => {
                    let errno = value.parse().ok().and_then(Errno::new).unwrap_or(Errno::UNKNOWN);
                    return Err(match errno {
                        Errno::NOT_SUPPORTED => ClientError::NotOurs { interface: name(), word: ask.word.clone() },
                        errno => ClientError::Refused { interface: name(), errno },
                    });
                }
                Some((key, value)) => lines.push((key.to_owned(), value.to_owned())),
                None => break,
            }
        }
        Err(ClientError::NotOurs { interface: name(), word: ask.word.clone() })
    }

    /// Does with the kernel's driver what cannot be done by a socket because of `error`: if nobody is at the other end
    /// and the driver runs the interface. Else the error stands.
    fn in_kernel<T>(
        &self,
        interface: &OsStr,
        error: ClientError,
        action: &'static str,
        run: impl FnOnce(&dyn Kernel, &str) -> io::Result<T>,
    ) -> Result<T, ClientError> {
        if !matches!(error, ClientError::Absent { .. } | ClientError::Ended { .. } | ClientError::NotASocket { .. }) {
            return Err(error);
        }
        let failed = |source| ClientError::Kernel { interface: interface.display().to_string(), action, source };
        match kernel::find(&*self.kernel, interface).map_err(failed)? {
            Some(name) => run(&*self.kernel, name).map_err(failed),
            None => Err(error),
        }
    }

    fn exchange(&self, interface: &OsStr, request: &[u8]) -> Result<Reply, ClientError> {
        let name = || interface.to_string_lossy().into_owned();
        let failed = |action, source| ClientError::Socket { interface: name(), action, source };
        let mut stream = self.connect(interface)?;
        // A server that answers before it has read all, and closes, has its answer read all the same.
        let sent = stream.write_all(request);
        let mut parser = ReplyParser::new(Arc::new(interface_index));
        let mut buffer = Zeroizing::new(vec![0; READ_LEN]);
        let reply = loop {
            let len = match stream.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(ClientError::Silent { interface: name(), patience: self.patience });
                }
                result => result.map_err(|source| failed("read from", source))?,
            };
            let answer = match len {
                0 => Err(parser.incomplete()),
                len => parser.next(&mut &buffer[..len]),
            };
            match answer {
                Ok(None) => {}
                Ok(Some(reply)) => break reply,
                Err(source) => {
                    sent.map_err(|source| failed("write to", source))?;
                    return Err(ClientError::Answer { interface: name(), source });
                }
            }
        };
        match reply.error {
            None => Ok(reply),
            Some(errno) => Err(ClientError::Refused { interface: name(), errno }),
        }
    }

    fn connect(&self, interface: &OsStr) -> Result<UnixStream, ClientError> {
        let name = || interface.to_string_lossy().into_owned();
        if interface.is_empty() || interface.as_bytes().contains(&b'/') {
            return Err(ClientError::Name { interface: name() });
        }
        let mut file = interface.to_owned();
        file.push(".sock");
        let path = self.directory.join(file);
        let failed = |source| ClientError::Socket { interface: name(), action: "connect to", source };
        match fs::metadata(&path) {
            Ok(found) if found.file_type().is_socket() => {}
            Ok(_) => return Err(ClientError::NotASocket { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ClientError::Absent { interface: name(), path });
            }
            Err(error) => return Err(failed(error)),
        }
        let stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => ClientError::Ended { interface: name(), path },
            _ => failed(error),
        })?;
        stream.set_read_timeout(Some(self.patience)).map_err(failed)?;
        stream.set_write_timeout(Some(self.patience)).map_err(failed)?;
        Ok(stream)
    }
}

/// Returns whether somebody accepts connections; whoever may not find out takes it for yes.
fn is_listening(path: &Path) -> bool {
    let is_socket = fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
    is_socket && !UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// One read takes about 150 peers.
const READ_LEN: usize = 64 * 1024;

/// A device that takes in 100,000 peers is silent for seconds; one that says nothing for this long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why an interface cannot be asked or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No file of that name can exist.
    #[error("`{interface}` cannot be the name of an interface")]
    Name {
        /// The name.
        interface: String,
    },
    /// There is no socket.
    #[error("{interface}: no WireGuard runs on it: there is no {}; `rvpn show interfaces` lists those there are", path.display())]
    Absent {
        /// The interface.
        interface: String,
        /// Where its socket would be.
        path: PathBuf,
    },
    /// The kernel's driver, which runs it, says no.
    #[error("{interface}: cannot {action} the kernel's driver: {}", reason(source))]
    Kernel {
        /// The interface.
        interface: String,
        /// What was tried, as a verb.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The kernel does not list its interfaces.
    #[error("cannot list the interfaces of the kernel's driver: {}", reason(source))]
    ListKernel {
        /// Why it failed.
        source: io::Error,
    },
    /// There is a socket that nobody listens on.
    #[error("{interface}: no WireGuard runs on it any more: nobody listens on {}", path.display())]
    Ended {
        /// The interface.
        interface: String,
        /// Its socket.
        path: PathBuf,
    },
    /// There is something else where the socket belongs.
    #[error("{}: this is not a socket", path.display())]
    NotASocket {
        /// Where the socket belongs.
        path: PathBuf,
    },
    /// The directory of the sockets cannot be read.
    #[error("{}: cannot list interfaces: {}", path.display(), reason(source))]
    List {
        /// The directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The socket fails.
    #[error("{interface}: cannot {action} its socket: {}", reason(source))]
    Socket {
        /// The interface.
        interface: String,
        /// What was tried, as a verb.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// No answer comes.
    #[error("{interface}: no answer for {patience:?}; its process hangs")]
    Silent {
        /// The interface.
        interface: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The answer cannot be understood.
    #[error("{interface}: its answer cannot be understood: {source}")]
    Answer {
        /// The interface.
        interface: String,
        /// Where and why.
        source: ParseError,
    },
    /// The server does not know a word of this program.
    #[error("{interface}: whoever runs it cannot be asked for `{word}`: not rvpn, or an older one")]
    NotOurs {
        /// The interface.
        interface: String,
        /// What was asked.
        word: String,
    },
    /// The server said no.
    #[error("{interface}: refused: {errno}")]
    Refused {
        /// The interface.
        interface: String,
        /// What it answered.
        errno: Errno,
    },
}

#[cfg(test)]
mod tests;
