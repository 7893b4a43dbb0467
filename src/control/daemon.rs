//! The daemon: the life of a process that runs one device.
//!
//! `wg-quick` starts `rvpn wg0`, takes exit code 0 for "the interface exists and its socket answers", and ends it by
//! deleting the interface. Other starters stay in charge with `--foreground` or hand over open files.
//!
//! ```text
//!   run --- foreground ------------------> run_device -> End -> clean up
//!      `--- background::start => second process: run_device
//! ```
//!
//! Not here: the command line (`cli`), the device (`host`).
//!
//! Source: <https://www.wireguard.com/xplatform/>; main.go of wireguard-go for the environment.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::asks::Asks;
use super::background::{self, Parent};
use super::environment::{self, Environment};
use super::error::Error;
use super::host::{Device, Host};
use super::interface::InterfaceName;
use super::metrics;
use super::metrics::listen::{Listener, METRICS};
use super::outcome::{End, Ends};
use super::server;
use super::socket::{self, SocketFile, SocketWatch};
use super::supervisor::Supervisor;
use super::worker::Worker;
use crate::aead;

/// What a daemon is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The interface.
    pub interface: InterfaceName,
    /// Whether to stay in the foreground.
    pub foreground: bool,
    /// The environment.
    pub environment: Environment,
}

/// Runs a device until it is told to end; in the background, until it runs.
///
/// # Errors
/// Why the device did not start, or failed.
pub fn run(options: &Options, host: &dyn Host) -> Result<(), Error> {
    aead::select(options.environment.aead)?;
    tracing::debug!("packets are sealed by {}", environment::aead_in_use());
    if options.environment.handover {
        return run_second(options, host);
    }
    let (tun, listener, file) = open(options, host)?;
    if options.foreground || options.environment.foreground {
        return run_device(tun, listener, file, options, host, || {});
    }
    let mut command = background::command(&options.interface);
    if let Some(address) = &options.environment.metrics {
        command.env(METRICS, address.to_string());
    }
    match background::start(command, &tun, &listener) {
        Ok(_) => Ok(()),
        Err(error) => {
            file.remove();
            Err(error)
        }
    }
}

/// Runs as the second process: with the files of the first, telling it how things go.
fn run_second(options: &Options, host: &dyn Host) -> Result<(), Error> {
    let (parent, tun, listener) = Parent::meet()?;
    // Else the process would be listed as `exe`.
    let _ = rustix::thread::set_name(c"rvpn");
    let mut waiting = Some(parent);
    let result = SocketFile::find(&options.environment.socket_directory(), &options.interface).and_then(|file| {
        let on_ready = || waiting.take().into_iter().for_each(Parent::ready);
        run_device(tun, listener, file, options, host, on_ready)
    });
    match (result, waiting) {
        (Err(error), Some(parent)) => {
            parent.failed(&error);
            Err(Error::Told)
        }
        (result, _) => result,
    }
}

/// Opens the interface and its socket, or takes them from the environment.
fn open(options: &Options, host: &dyn Host) -> Result<(OwnedFd, UnixListener, SocketFile), Error> {
    let Options { interface, environment, .. } = options;
    let directory = environment.socket_directory();
    if environment.uapi_fd.is_none() {
        // Before the interface is touched: "is running" says more than "device or resource busy".
        socket::refuse_if_running(&directory, interface)?;
    }
    let tun = match environment.tun_fd {
        Some(number) => background::inherited("WG_TUN_FD", number)?,
        None => host.open_tun(interface)?,
    };
    let (listener, file) = match environment.uapi_fd {
        Some(number) => {
            let listener = background::inherited("WG_UAPI_FD", number)?;
            (listener.into(), SocketFile::find(&directory, interface)?)
        }
        None => socket::make(&directory, interface)?,
    };
    Ok((tun, listener, file))
}

/// Runs the device on these files; `on_ready` is called when it runs and its socket answers.
///
/// Owns the socket file: it is gone when this returns, before the device is stopped, so that no tool finds half a
/// device.
///
/// # Errors
/// Why the device did not start, or failed. A deleted interface or socket and a signal are ends as they should be.
pub fn run_device(
    tun: OwnedFd,
    listener: UnixListener,
    file: SocketFile,
    options: &Options,
    host: &dyn Host,
    on_ready: impl FnOnce(),
) -> Result<(), Error> {
    let interface = &options.interface;
    let (ends, ended) = Ends::new();
    let supervisor = Supervisor::find(&options.environment).map(Arc::new).inspect_err(|_| file.remove())?;
    let address = &options.environment.metrics;
    let metrics = address.as_ref().map(Listener::new).transpose().inspect_err(|_| file.remove())?;
    let metrics_file = metrics.as_ref().and_then(Listener::file);
    let remove_files = || {
        file.remove();
        // Gone in between is as good.
        let _ = metrics_file.as_ref().map(std::fs::remove_file);
    };
    let device = host.start(interface, tun, &ends).inspect_err(|_| remove_files())?;
    let sockets = Sockets { configuration: listener, metrics };
    let server = ConfigurationThread::start(sockets, &file, &device, Arc::clone(&supervisor), &ends);
    let ended = server.map(|server| {
        tracing::debug!("{interface}: device started");
        on_ready();
        supervisor.ready();
        (server, ended.recv().expect("this function holds a sender"))
    });
    supervisor.stopping();
    remove_files();
    let end = ended.map(|(server, end)| {
        server.stop();
        end
    });
    device.stop();
    tracing::debug!("{interface}: left: {}", device.objects());
    let interface = interface.to_string();
    match end? {
        End::Signal(name) => tracing::debug!("{interface}: {name}, shutting down"),
        End::SocketRemoved => tracing::debug!("{interface}: the socket was removed, shutting down"),
        End::TunGone => tracing::debug!("{interface}: the interface is gone, shutting down"),
        End::ThreadFailed(name) => return Err(Error::ThreadFailed { interface, name }),
        End::AcceptFailed(source) => return Err(Error::Accept { interface, source }),
    }
    Ok(())
}

/// What the thread `rvpn-uapi` listens on.
struct Sockets {
    configuration: UnixListener,
    metrics: Option<Listener>,
}

/// The thread `rvpn-uapi`: the configuration server, the watch on its socket, the signals, signs of life, and metrics.
struct ConfigurationThread {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl ConfigurationThread {
    /// Starts the thread; from here on, connections are served and signals are caught.
    fn start(
        sockets: Sockets,
        file: &SocketFile,
        device: &Arc<dyn Device>,
        supervisor: Arc<Supervisor>,
        ends: &Ends,
    ) -> Result<Self, Error> {
        let start = |source| Error::Start { action: "start the configuration server", source };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(start)?;
        let context = runtime.enter();
        let signals = Signals::new().map_err(start)?;
        let watch = file.watch()?;
        let Sockets { configuration: listener, metrics } = sockets;
        listener.set_nonblocking(true).map_err(start)?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(start)?;
        drop(context);
        let worker = Worker::start(Arc::clone(device) as _, ends).map_err(start)?;
        // The thread that touches the device has them; this one and the next need none.
        device.release_privileges().map_err(start)?;
        let (stop, stopped) = oneshot::channel();
        let asks = Asks { worker, device: Arc::clone(device) };
        let all = All { listener, metrics, asks, signals, watch, supervisor, ends: ends.clone() };
        let thread = ends.spawn("rvpn-uapi", move || all.run(&runtime, stopped)).map_err(start)?;
        Ok(Self { thread, stop })
    }

    /// Closes all connections and ends the thread.
    fn stop(self) {
        // It may have panicked; then it has ended.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

struct All {
    listener: tokio::net::UnixListener,
    metrics: Option<Listener>,
    asks: Asks,
    signals: Signals,
    watch: SocketWatch,
    supervisor: Arc<Supervisor>,
    ends: Ends,
}

impl All {
    /// Serves until stopped; reports the first end on the way.
    fn run(mut self, runtime: &Runtime, stopped: oneshot::Receiver<()>) {
        runtime.block_on(async {
            let end = async {
                tokio::select! {
                    error = server::serve(&self.listener, &self.asks) => End::AcceptFailed(error),
                    result = self.watch.removed() => result.map_or_else(End::AcceptFailed, |()| End::SocketRemoved),
                    name = self.signals.end(&*self.asks.device) => End::Signal(name),
                }
            };
            tokio::select! {
                end = end => self.ends.report(end),
                _ = stopped => {}
                never = serve_metrics(self.metrics, &self.asks) => match never {},
                never = self.supervisor.watch(&*self.asks.device) => match never {},
            }
        });
    }
}

/// Serves metrics if they are asked for. That nobody can see how a tunnel works is no reason to end it.
async fn serve_metrics(listener: Option<Listener>, asks: &Asks) -> Infallible {
    if let Some(listener) = listener
        && let Err(error) = metrics::http::serve(listener, asks).await
    {
        tracing::error!("Metrics are not served: {error}");
    }
    std::future::pending().await
}

/// The signals that mean something. SIGUSR1 has the device's objects logged. SIGHUP does nothing yet, but must not kill,
/// which is its default.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for a signal that ends the device; returns its name.
    async fn end(&mut self, device: &dyn Device) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => tracing::debug!("SIGHUP is reserved and does nothing"),
                _ = self.user1.recv() => tracing::debug!("holds: {}", device.objects()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
