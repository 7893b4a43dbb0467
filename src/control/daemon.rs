//! The daemon: the life of a process that runs one device.
//!
//! `wg-quick` starts `rvpn wg0`, takes exit code 0 for "the interface exists and its socket answers", and ends it by
//! deleting the interface. Other starters stay in charge with `--foreground` or hand over open files.
//!
//! ```text
//!   run --- foreground ------------------> run_device -> End -> clean up
//!      `--- background::start => second process: run_device
//!   run_taken <= a process that hands over to this one (`upgrade`)
//! ```
//!
//! Not here: the command line (`cli`), the device (`host`).
//!
//! Source: <https://www.wireguard.com/xplatform/>; main.go of wireguard-go for the environment.

mod signals;

use std::convert::Infallible;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{self, Runtime};
use tokio::sync::{Notify, oneshot};
use tokio::time;

use self::signals::Signals;
use super::asks::Asks;
use super::background::{self, Parent};
use super::environment::{self, Environment, HOOK, LISTEN_FDS};
use super::error::Error;
use super::event_log;
use super::hook::{self, Hook};
use super::host::{Device, Host};
use super::interface::InterfaceName;
use super::log;
use super::metrics;
use super::metrics::listen::Listener;
use super::outcome::{End, Ends};
use super::peers_directory::{self, PeersDirectory};
use super::server;
use super::socket::{self, SocketFile, SocketWatch};
use super::supervisor::Supervisor;
use super::upgrade::giving::Giver;
use super::upgrade::offer;
use super::upgrade::offer::Start;
use super::upgrade::taking::Taking;
use super::worker::Worker;
use crate::aead;
use crate::dataplane::events::{Event, EventKind};
use crate::dataplane::io::Clock;
use crate::platform::linux::LinuxClock;

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
    if let (true, Some(program)) = (options.environment.runs_hook, &options.environment.hook) {
        return hook::run(program, &options.interface);
    }
    aead::select(options.environment.aead)?;
    tracing::debug!("packets are sealed by {}", environment::aead_in_use());
    if options.environment.handover {
        return run_second(options, host);
    }
    let hook = options.environment.hook.as_deref().map(hook::find).transpose()?;
    let (tun, listener, file) = open(options, host)?;
    // Who passes a listening socket supervises the process it was passed to.
    if options.foreground || options.environment.foreground || options.environment.activated_fd.is_some() {
        return run_device(tun, listener, file, options, host, || {});
    }
    let mut command = background::command(&options.interface);
    command.envs(options.environment.handed_down());
    if let Some(hook) = hook {
        command.env(HOOK, hook);
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
    if environment.uapi_fd.is_none() && environment.activated_fd.is_none() {
        // Before the interface is touched: "is running" says more than "device or resource busy".
        socket::refuse_if_running(&directory, interface)?;
    }
    let tun = match environment.tun_fd {
        Some(number) => background::inherited("WG_TUN_FD", number)?,
        None => host.open_tun(interface)?,
    };
    let (listener, file) = match (environment.uapi_fd, environment.activated_fd) {
        (Some(number), _) => {
            let listener = background::inherited("WG_UAPI_FD", number)?;
            (listener.into(), SocketFile::find(&directory, interface)?)
        }
        (None, Some(number)) => {
            let listener = background::inherited(LISTEN_FDS, number)?;
            if !socket::is_listening(&listener) {
                let expected = "expected a UNIX stream socket that listens: ListenStream=/run/wireguard/INTERFACE.sock";
                let value = number.to_string().into();
                return Err(Error::Environment { variable: LISTEN_FDS, value, expected });
            }
            (listener.into(), SocketFile::find(&directory, interface)?.kept())
        }
        (None, None) => socket::make(&directory, interface)?,
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
    let address = options.environment.metrics.as_ref();
    let metrics = address.map(Listener::new).transpose().inspect_err(|_| file.remove())?;
    let files = Files { configuration: file, metrics: metrics.as_ref().and_then(Listener::file) };
    let hook = hook::find_and_start(&options.environment, interface).inspect_err(|_| files.remove())?;
    let mut peers = open_peers(options).inspect_err(|_| files.remove())?;
    let device = host.start(interface, tun, &ends).inspect_err(|_| files.remove())?;
    if let Some(peers) = &mut peers {
        peers.load(&*device);
    }
    let followers = Followers { hook, peers };
    // Options are told to a process after this one as variables: it is started elsewhere, and otherwise.
    let variables = options.environment.handed_down().into_iter().map(|(name, value)| (name.into(), value)).collect();
    let start = Start::of_this_process().amended(Start { arguments: Vec::new(), variables });
    let sockets = Sockets { configuration: listener, metrics };
    let server = ConfigurationThread::start(
        sockets,
        &files.configuration,
        &device,
        followers,
        Arc::clone(&supervisor),
        start,
        &ends,
    );
    let server = server.inspect_err(|_| {
        files.remove();
        device.stop();
    })?;
    tracing::debug!("{interface}: device started");
    on_ready();
    supervisor.ready();
    Live { interface, device, server, files, supervisor, ends, ended }.run()
}

/// Goes on with a device where another process stops; `on_ready` is called when it is this one's, with the length of the
/// pause.
///
/// # Errors
/// Why the other one goes on, or, after `on_ready`, as [`run_device`].
pub fn run_taken(
    mut taking: Taking,
    options: &Options,
    host: &dyn Host,
    on_ready: impl FnOnce(Duration),
) -> Result<(), Error> {
    let interface = &options.interface;
    let failed = |source| Error::Upgrade { interface: interface.to_string(), source };
    aead::select(options.environment.aead)?;
    let (ends, ended) = Ends::new();
    // The other one's: it stays where it is, whatever becomes of this process until it is the daemon.
    let file = SocketFile::find(&options.environment.socket_directory(), interface)?;
    let file = if taking.keeps_socket() { file.kept() } else { file };
    let (supervisor, start) = (Arc::new(taking.supervisor()), taking.start());
    let listener = taking.listener().map_err(failed)?;
    let metrics = taking.metrics(options.environment.metrics.as_ref())?;
    let files = Files { configuration: file, metrics: metrics.as_ref().and_then(Listener::file) };
    let sockets = Sockets { configuration: listener, metrics };
    // Before anything is given up, as at every start.
    let hook = hook::find_and_start(&options.environment, interface)?;
    let mut peers = open_peers(options)?;
    let (device, pause) = taking.take(interface, host, &ends).map_err(failed)?;
    if let Some(peers) = &mut peers {
        peers.take_over(&*device);
    }
    let followers = Followers { hook, peers };
    let server = ConfigurationThread::start(
        sockets,
        &files.configuration,
        &device,
        followers,
        Arc::clone(&supervisor),
        start,
        &ends,
    )?;
    taking.running().map_err(failed)?;
    tracing::debug!("{interface}: this process goes on, after {} us in which packets waited", pause.as_micros());
    on_ready(pause);
    Live { interface, device, server, files, supervisor, ends, ended }.run()
}

/// A device that runs and can be configured.
struct Live<'a> {
    interface: &'a InterfaceName,
    device: Arc<dyn Device>,
    server: ConfigurationThread,
    files: Files,
    supervisor: Arc<Supervisor>,
    /// Keeps `ended` open.
    ends: Ends,
    ended: Receiver<End>,
}

impl Live<'_> {
    /// Waits for an end, and ends.
    fn run(self) -> Result<(), Error> {
        let Self { interface, device, server, files, supervisor, ends, ended } = self;
        let end = ended.recv().expect("this function holds a sender");
        drop(ends);
        if let End::Replaced { pid } = end {
            // Interface and socket are another process's.
            supervisor.replaced(pid);
            let event = Event { at: LinuxClock.wall(), peer: None, kind: EventKind::Upgraded };
            device.events().publish(&event);
            device.events().wake();
            server.stop(Stop::Gently);
        } else {
            supervisor.stopping();
            files.remove();
            server.stop(Stop::AtOnce);
        }
        device.stop();
        tracing::debug!("{interface}: left: {}", device.objects());
        told(interface, end)
    }
}

/// Logs or returns what an end means.
fn told(interface: &InterfaceName, end: End) -> Result<(), Error> {
    let interface = interface.to_string();
    match end {
        End::Replaced { pid } => tracing::debug!("{interface}: process {pid} goes on with it"),
        End::Signal(name) => tracing::debug!("{interface}: {name}, shutting down"),
        End::SocketRemoved => tracing::debug!("{interface}: the socket was removed, shutting down"),
        End::TunGone => tracing::debug!("{interface}: the interface is gone, shutting down"),
        End::ThreadFailed(name) => return Err(Error::ThreadFailed { interface, name }),
        End::AcceptFailed(source) => return Err(Error::Accept { interface, source }),
    }
    Ok(())
}

/// The files of the sockets, which go with the device.
struct Files {
    configuration: SocketFile,
    metrics: Option<PathBuf>,
}

impl Files {
    fn remove(&self) {
        self.configuration.remove();
        // Gone in between is as good.
        let _ = self.metrics.as_ref().map(std::fs::remove_file);
    }
}

/// Duplicates the sockets, for another process to listen on.
fn offered(configuration: &UnixListener, metrics: Option<&Listener>) -> std::io::Result<Vec<(&'static str, OwnedFd)>> {
    let mut sockets = vec![(offer::LISTENER, configuration.try_clone()?.into())];
    if let Some(metrics) = metrics {
        sockets.push((offer::METRICS, metrics.try_clone()?));
    }
    Ok(sockets)
}

/// What the thread `rvpn-uapi` listens on.
struct Sockets {
    configuration: UnixListener,
    metrics: Option<Listener>,
}

/// Begins to watch the directory of peers, if there is one.
fn open_peers(options: &Options) -> Result<Option<PeersDirectory>, Error> {
    options.environment.peers_dir.as_deref().map(PeersDirectory::open).transpose()
}

/// What is served beside the clients, by the same thread.
struct Followers {
    hook: Option<Hook>,
    peers: Option<PeersDirectory>,
}

/// The thread `rvpn-uapi`: the configuration server, the watch on its socket, the signals, signs of life, and metrics.
struct ConfigurationThread {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<Stop>,
}

impl ConfigurationThread {
    /// Starts the thread; from here on, connections are served and signals are caught.
    fn start(
        sockets: Sockets,
        file: &SocketFile,
        device: &Arc<dyn Device>,
        followers: Followers,
        supervisor: Arc<Supervisor>,
        how: Start,
        ends: &Ends,
    ) -> Result<Self, Error> {
        let start = |source| Error::Start { action: "start the configuration server", source };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(start)?;
        let context = runtime.enter();
        let signals = Signals::new().map_err(start)?;
        let watch = file.watch()?;
        let Sockets { configuration: listener, metrics } = sockets;
        let given = offered(&listener, metrics.as_ref()).map_err(start)?;
        let giver = Giver::new(given, file, Arc::clone(&supervisor), how, ends.clone());
        listener.set_nonblocking(true).map_err(start)?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(start)?;
        let Followers { hook, peers } = followers;
        let hook = hook.map(|hook| hook.follow(device.events())).transpose().map_err(start)?;
        drop(context);
        let worker = Worker::start(Arc::clone(device) as _, ends).map_err(start)?;
        // The thread that touches the device has them; this one and the next need none.
        device.release_privileges().map_err(start)?;
        let (stop, stopped) = oneshot::channel();
        let asks = Asks { worker, device: Arc::clone(device), giver: Some(Arc::new(giver)) };
        let all = All { listener, metrics, asks, signals, watch, peers, supervisor, ends: ends.clone() };
        runtime.spawn(event_log::follow(device.events()));
        runtime.spawn(log::tell_left_out());
        if let Some(hook) = hook {
            // It ends with the runtime.
            runtime.spawn(hook);
        }
        let thread = ends.spawn("rvpn-uapi", move || all.run(&runtime, stopped)).map_err(start)?;
        Ok(Self { thread, stop })
    }

    /// Closes all connections and ends the thread.
    fn stop(self, how: Stop) {
        // It may have panicked; then it has ended.
        let _ = self.stop.send(how);
        let _ = self.thread.join();
    }
}

/// How connections end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// With the device.
    AtOnce,
    /// Those that have asked get an answer.
    Gently,
}

/// How long an answer may take when another process has the device already.
const GRACE: Duration = Duration::from_millis(100);

struct All {
    listener: tokio::net::UnixListener,
    metrics: Option<Listener>,
    asks: Asks,
    signals: Signals,
    watch: SocketWatch,
    peers: Option<PeersDirectory>,
    supervisor: Arc<Supervisor>,
    ends: Ends,
}

impl All {
    /// Serves until stopped; reports the first end on the way.
    fn run(mut self, runtime: &Runtime, stopped: oneshot::Receiver<Stop>) {
        let reload = Notify::new();
        runtime.block_on(async {
            let names = async {
                match self.asks.device.names() {
                    Some(names) => names.follow().await,
                    None => pending().await,
                }
            };
            let mut end = pin!(async {
                tokio::select! {
                    error = server::serve(&self.listener, &self.asks) => End::AcceptFailed(error),
                    result = self.watch.removed() => result.map_or_else(End::AcceptFailed, |()| End::SocketRemoved),
                    name = self.signals.end(&self.asks, &reload) => End::Signal(name),
                }
            });
            tokio::select! {
                end = &mut end => self.ends.report(end),
                how = stopped => {
                    if how == Ok(Stop::Gently) {
                        let _ = time::timeout(GRACE, end).await;
                    }
                }
                never = serve_metrics(self.metrics, &self.asks) => match never {},
                never = peers_directory::follow(self.peers.as_mut(), &self.asks.worker, &reload) => match never {},
                never = self.supervisor.watch(&*self.asks.device) => match never {},
                never = names => match never {},
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

#[cfg(test)]
mod tests;
