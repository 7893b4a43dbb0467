//! What a service manager is told: that the device is ready, that it stops, and, as long as it is so, that it lives.
//!
//! `NOTIFY_SOCKET` names a datagram socket, by path or, after `@`, by an abstract name; `WATCHDOG_USEC` is how long the
//! service manager waits for a sign of life before it starts the service again. Such a sign is given only if every
//! thread of the device has come round since the last one: one that hangs with a packet in its hands is as dead as one
//! that is gone.
//!
//! Not here: how threads are asked (see `dataplane::pulse`), and processes in the background, which nobody supervises.
//!
//! Source: sd_notify(3), sd_watchdog_enabled(3).

use std::convert::Infallible;
use std::ffi::OsStr;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::environment::Environment;
use super::error::Error;
use super::host::Device;

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    patience: Option<Duration>,
}

impl Supervisor {
    /// Finds the one that the environment names.
    ///
    /// # Errors
    /// [`Error::Start`] if its socket cannot be connected to.
    pub fn find(environment: &Environment) -> Result<Self, Error> {
        let socket = environment.notify_socket.as_deref().map(connect).transpose();
        let socket = socket.map_err(|source| Error::Start { action: "reach the socket in NOTIFY_SOCKET", source })?;
        Ok(Self { socket, patience: environment.watchdog })
    }

    /// Says that the device runs and its socket answers.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// Makes the one that another process of this service had: its socket, and its patience.
    pub fn given(socket: Option<OwnedFd>, patience: Option<Duration>) -> Self {
        let socket = socket.map(UnixDatagram::from);
        Self { patience: patience.filter(|_| socket.is_some()), socket }
    }

    /// Returns what another process needs for [`Supervisor::given`]; the patience is in microseconds.
    ///
    /// # Errors
    /// The OS's, if there are too many open files.
    pub fn give(&self) -> io::Result<(Option<OwnedFd>, Option<u64>)> {
        let socket = self.socket.as_ref().map(UnixDatagram::try_clone).transpose()?;
        let patience = self.patience.and_then(|patience| u64::try_from(patience.as_micros()).ok());
        Ok((socket.map(OwnedFd::from), patience))
    }

    /// Says that the process `pid` is the service from now on. For this one to say: only the main process is believed.
    pub fn replaced(&self, pid: i32) {
        self.tell(&format!("MAINPID={pid}"));
    }

    /// Says that the device begins to end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Says again and again that the device lives, as long as it does. Three times within the patience of the service
    /// manager, so that a thread has a third of it to come round.
    pub async fn watch(&self, device: &dyn Device) -> Infallible {
        let Some(patience) = self.patience else { return pending().await };
        let mut ticks = interval((patience / 3).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Vec::new();
        loop {
            ticks.tick().await;
            let late = device.beat();
            if late.is_empty() {
                self.tell("WATCHDOG=1");
            } else if late != told {
                tracing::error!("No sign of life to the service manager: {} does not come round", late.join(", "));
            }
            told = late;
        }
    }

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::debug!("The service manager is not told {state}: {error}");
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
    }?;
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A service manager that does not read holds up nobody.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use tokio::time::sleep;

    use super::*;
    use crate::control::server::tests::Fake;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn supervised(name: OsString) -> Supervisor {
        let environment = Environment { notify_socket: Some(name), watchdog: Some(PATIENCE), ..Environment::default() };
        Supervisor::find(&environment).expect("it listens")
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        socket.set_nonblocking(true).expect("a socket");
        let mut buffer = [0; 64];
        std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|len| String::from_utf8_lossy(&buffer[..len]).into()))
            .collect()
    }

    #[test]
    fn the_socket_is_a_path_or_an_abstract_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let name = format!("rvpn-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).expect("a name");
        for (socket, spelt) in [
            (UnixDatagram::bind(&path), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&abstract_address), format!("@{name}").into()),
        ] {
            let socket = socket.expect("bound");
            let supervisor = supervised(spelt);
            supervisor.ready();
            supervisor.stopping();
            assert_eq!(heard(&socket), ["READY=1", "STOPPING=1"]);
        }
        let environment = Environment { notify_socket: Some(path.into()), ..Environment::default() };
        assert!(Supervisor::find(&environment).is_err(), "nobody is bound there any more");
    }

    #[test]
    fn another_process_is_heard_where_this_one_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        let supervisor = supervised(path.into());
        let (given, patience) = supervisor.give().expect("a socket");
        let other = Supervisor::given(given, patience.map(Duration::from_micros));
        assert_eq!(other.patience, Some(PATIENCE));
        supervisor.replaced(17);
        other.ready();
        assert_eq!(heard(&socket), ["MAINPID=17", "READY=1"]);
        let alone = Supervisor::find(&Environment::default()).expect("nothing to reach");
        assert!(matches!(alone.give(), Ok((None, None))));
    }

    #[test]
    fn without_a_service_manager_nobody_is_told() {
        let supervisor = Supervisor::find(&Environment::default()).expect("nothing to reach");
        supervisor.ready();
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_no_sign_of_life_while_a_thread_hangs() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        let supervisor = supervised(path.into());
        let device = Fake::default();
        tokio::select! {
            never = supervisor.watch(&device) => match never {},
            () = async {
                sleep(PATIENCE - Duration::from_millis(1)).await;
                assert_eq!(heard(&socket), ["WATCHDOG=1"; 3]);
                device.hang("packets");
                sleep(PATIENCE * 2).await;
                assert_eq!(heard(&socket), [""; 0]);
                device.recover();
                sleep(PATIENCE / 3).await;
                assert_eq!(heard(&socket), ["WATCHDOG=1"]);
            } => {}
        }
    }
}
