//! Where metrics are served: an address of this machine, or a socket file.
//!
//! The socket is made before the process gives up making such. Not here: what is said on it (see `http`).

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::control::error::Error;

/// The environment variable for it, and what `--metrics` is handed on as.
pub const METRICS: &str = "RVPN_METRICS";

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:9586`: whoever can send there can read.
    Tcp(SocketAddr),
    /// `unix:/run/rvpn/wg0.metrics`: whoever its directory lets in can read.
    Unix(PathBuf),
}

impl Address {
    /// Returns the directory of the file, if it is one.
    pub fn directory(&self) -> Option<PathBuf> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => path.parent().map(Path::to_owned),
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(EXPECTED),
            None => text.parse().map(Self::Tcp).map_err(|_| EXPECTED),
        }
    }
}

/// What an address looks like.
pub const EXPECTED: &str = "expected an address and a port, as 127.0.0.1:9586 or [::1]:9586, or unix:/PATH";

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A socket that listens. Its file, if it has one, is the caller's to remove.
#[derive(Debug)]
pub enum Listener {
    /// An address.
    Tcp(TcpListener),
    /// A file.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens at `address`. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// [`Error::Metrics`].
    pub fn new(address: &Address) -> Result<Self, Error> {
        let failed = |source| Error::Metrics { address: address.to_string(), source };
        let listener = match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                Self::Tcp(listener)
            }
            Address::Unix(path) => {
                remove_stale(path).map_err(failed)?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                // Whatever the umask is: its directory says who may come.
                fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                Self::Unix(listener, path.clone())
            }
        };
        Ok(listener)
    }

    /// Takes a socket that another process listened on; `None` if it did not at `address`.
    pub fn given(socket: OwnedFd, address: &Address) -> Option<Self> {
        match address {
            Address::Tcp(address) => {
                let listener = TcpListener::from(socket);
                (listener.local_addr().ok()? == *address).then_some(Self::Tcp(listener))
            }
            Address::Unix(path) => {
                let listener = UnixListener::from(socket);
                let is_there = listener.local_addr().ok()?.as_pathname() == Some(path);
                is_there.then(|| Self::Unix(listener, path.clone()))
            }
        }
    }

    /// Duplicates the socket.
    ///
    /// # Errors
    /// The OS's, if there are too many open files.
    pub fn try_clone(&self) -> io::Result<OwnedFd> {
        Ok(match self {
            Self::Tcp(listener) => listener.try_clone()?.into(),
            Self::Unix(listener, _) => listener.try_clone()?.into(),
        })
    }

    /// Returns the file it has, if it has one.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(_, path) => Some(path.clone()),
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(io::Error::other("something that is not a socket is there")),
        Ok(_) if UnixStream::connect(path).is_ok() => Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_address_with_a_port_or_a_path() {
        assert_eq!("127.0.0.1:9586".parse(), Ok(Address::Tcp(([127, 0, 0, 1], 9586).into())));
        assert_eq!("unix:/run/x".parse(), Ok(Address::Unix("/run/x".into())));
        for text in ["9586", ":9586", "localhost:9586", "unix:x", "unix:", ""] {
            assert_eq!(text.parse::<Address>(), Err(EXPECTED), "{text}");
        }
    }

    #[test]
    fn a_socket_file_is_replaced_only_if_nobody_listens_on_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let address = Address::Unix(directory.path().join("metrics"));
        let first = Listener::new(&address).expect("nothing is in the way");
        let refusal = Listener::new(&address).expect_err("it is in use").to_string();
        assert!(refusal.contains("metrics") && refusal.contains("in use"), "{refusal}");
        drop(first);
        assert!(Listener::new(&address).is_ok());
        let file = Address::Unix(directory.path().join("file"));
        fs::write(directory.path().join("file"), "").expect("a file");
        assert!(Listener::new(&file).is_err());
    }
}
