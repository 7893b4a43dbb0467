//! The socket file `/var/run/wireguard/<interface>.sock`: made, found, watched, removed.
//!
//! `wg` deletes a socket whenever connecting to it is refused, and a socket refuses between `bind` and `listen`. So it
//! is bound under a name that `wg` does not look at, and gets its own name when it accepts.
//!
//! Not here: what is said on it (see `server`).
//!
//! Source: `ipc-uapi-unix.h` of wireguard-tools; inotify(7), unix(7).

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::error::Error;
use super::interface::InterfaceName;

/// Returns the directory in which `wg` looks for sockets.
pub fn default_directory() -> PathBuf {
    let run = if Path::new("/var/run").is_dir() { "/var/run" } else { "/run" };
    Path::new(run).join("wireguard")
}

/// Checks that no device of this name is running; a socket that nobody listens on any more is no obstacle.
///
/// # Errors
/// [`Error::AlreadyRunning`], [`Error::NotASocket`], or [`Error::Socket`] if that cannot be found out.
pub fn refuse_if_running(directory: &Path, interface: &InterfaceName) -> Result<(), Error> {
    let path = path(directory, interface);
    let failed = |action, source| Error::Socket { action, path: path.clone(), source };
    match fs::symlink_metadata(&path) {
        Ok(found) if !found.file_type().is_socket() => return Err(Error::NotASocket { path }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at it", error)),
    }
    let address = SocketAddrUnix::new(&path).map_err(|error| failed("connect to it", error.into()))?;
    let probe = stream_socket().map_err(|error| failed("connect to it", error.into()))?;
    match connect(&probe, &address) {
        // EAGAIN: somebody listens and has no time.
        Ok(()) | Err(Errno::AGAIN) => Err(Error::AlreadyRunning { interface: interface.to_string(), path }),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(()),
        Err(error) => Err(failed("connect to it", error.into())),
    }
}

/// Makes the socket, for its owner alone, and the directory if there is none. A stale socket is replaced.
///
/// # Errors
/// Those of [`refuse_if_running`], and [`Error::Socket`].
pub fn make(directory: &Path, interface: &InterfaceName) -> Result<(UnixListener, SocketFile), Error> {
    make_directory(directory).map_err(|source| Error::Socket {
        action: "make the directory",
        path: directory.to_owned(),
        source,
    })?;
    refuse_if_running(directory, interface)?;
    let path = path(directory, interface);
    let unnamed = directory.join(format!(".{interface}.{}", std::process::id()));
    listen_at(&unnamed)
        .and_then(|listener| {
            fs::rename(&unnamed, &path)?;
            Ok(listener)
        })
        .map_err(|source| {
            // It is not there if that is what failed.
            let _ = fs::remove_file(&unnamed);
            Error::Socket { action: "make the socket", path: path.clone(), source }
        })
        .and_then(|listener| Ok((listener, SocketFile::find(directory, interface)?)))
}

/// A socket file and which one it is, so that another one in its place is not taken for it.
#[derive(Clone, Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Somebody else made it and listens on it when we are gone.
    is_kept: bool,
}

impl SocketFile {
    /// Finds the socket of `interface`, made by this process or the one before it.
    ///
    /// # Errors
    /// [`Error::Socket`] if it is not there, [`Error::NotASocket`] if something else is.
    pub fn find(directory: &Path, interface: &InterfaceName) -> Result<Self, Error> {
        let path = path(directory, interface);
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.file_type().is_socket() => Err(Error::NotASocket { path }),
            Ok(found) => Ok(Self { path, device: found.dev(), inode: found.ino(), is_kept: false }),
            Err(source) => Err(Error::Socket { action: "find the socket", path, source }),
        }
    }

    /// Returns whether the file is still there and still the same.
    pub fn is_ours(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode))
    }

    /// Tells whether it stays in the end.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Leaves the file where it is in the end: it belongs to a service manager.
    #[must_use]
    pub fn kept(self) -> Self {
        Self { is_kept: true, ..self }
    }

    /// Removes the file, unless another one has taken its place, or it is kept.
    pub fn remove(&self) {
        if !self.is_kept && self.is_ours() {
            // Gone in between is as good.
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Begins to watch the file. To be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Socket`] if inotify has no room.
    pub fn watch(&self) -> Result<SocketWatch, Error> {
        self.inotify().map(|inotify| SocketWatch { inotify, file: self.clone() }).map_err(|source| Error::Socket {
            action: "watch the socket",
            path: self.path.clone(),
            source,
        })
    }

    #[allow(deprecated, reason = "sound for an `OwnedFd`; the successor is unsafe because it takes any type")]
    fn inotify(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // Deleting a bound socket changes its link count at once (ATTRIB); DELETE_SELF comes when it is closed too.
        let flags = WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(&inotify, &self.path, flags) {
            // Deleted already: the first look will tell.
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        AsyncFd::with_interest(inotify, Interest::READABLE)
    }
}

/// Waits for a socket file to go.
#[derive(Debug)]
pub struct SocketWatch {
    inotify: AsyncFd<OwnedFd>,
    file: SocketFile,
}

impl SocketWatch {
    /// Returns when the file was deleted, moved away or replaced.
    ///
    /// # Errors
    /// The OS's, if events cannot be read.
    pub async fn removed(&self) -> io::Result<()> {
        let mut events = [MaybeUninit::uninit(); 1024];
        while self.file.is_ours() {
            let mut ready = self.inotify.readable().await?;
            // What the events say does not matter: each makes us look.
            match rustix::io::read(self.inotify.get_ref(), &mut events) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn path(directory: &Path, interface: &InterfaceName) -> PathBuf {
    directory.join(format!("{interface}.sock"))
}

fn make_directory(directory: &Path) -> io::Result<()> {
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o755).create(directory) {
        // Whatever the umask is: `wg show interfaces` lists the directory.
        Ok(()) => fs::set_permissions(directory, fs::Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn listen_at(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = stream_socket()?;
    // Linux makes the file with the mode of the socket: no moment in which others may connect, no change of the umask,
    // which belongs to the whole process.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Tells whether `socket` is a UNIX socket on which connections can be accepted.
pub fn is_listening(socket: &impl AsFd) -> bool {
    let is_unix = sockopt::socket_domain(socket).is_ok_and(|domain| domain == AddressFamily::UNIX);
    let is_stream = sockopt::socket_type(socket).is_ok_and(|kind| kind == SocketType::STREAM);
    is_unix && is_stream && sockopt::socket_acceptconn(socket).unwrap_or(false)
}

fn stream_socket() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

/// More than a burst of tools; the kernel's own bound (net.core.somaxconn) is 4,096.
const BACKLOG: i32 = 1024;

#[cfg(test)]
mod tests;
