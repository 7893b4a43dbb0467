//! The real host: a TUN interface, a device on it, and the two monitors that follow the world for it.
//!
//! Threads: `rvpn-link` follows the interface (up, down, MTU, gone), `rvpn-routes` the routes and addresses of the
//! namespace of the sockets; the device has its own (see `dataplane::workers`).
//!
//! Not here: what is done on each event (see `dataplane::configure`).

mod taken;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rvpn_uapi::{DeviceStatus, Errno, PublicKey, Set};

use super::{Device, Holding, Host, Taken};
use crate::control::apply;
use crate::control::environment::{self, Environment, Offload};
use crate::control::error::Error;
use crate::control::interface::InterfaceName;
use crate::control::metrics::Metrics;
use crate::control::metrics::listen::Address;
use crate::control::names::{self, Names};
use crate::control::outcome::{End, Ends};
use crate::control::server::Configurable;
use crate::control::upgrade::offer;
use crate::dataplane::configure::Change;
use crate::dataplane::device::Device as Tunnel;
use crate::dataplane::events::Events;
use crate::dataplane::evidence::EvidenceSnapshot;
use crate::dataplane::handover::Holder;
use crate::dataplane::key_log::{KeyListener, Tell};
use crate::dataplane::objects::Objects;
use crate::dataplane::workers::{self, Share, Threads, Workers};
use crate::platform::linux;
use crate::platform::linux::hardening::{Confined, Hardening, Needs};
use crate::platform::linux::link_monitor::{LinkEvent, LinkMonitor};
use crate::platform::linux::placement::{Placement, enter_namespace};
use crate::platform::linux::route_monitor::{RouteEvent, RouteMonitor};
use crate::platform::linux::stop::Stop;
use crate::platform::linux::tun::{LinuxTun, TunOptions};
use crate::platform::linux::udp::LinuxNetwork;
use crate::platform::linux::udp_offload::Trains;
use crate::platform::linux::usage::Usage;

/// Linux.
#[derive(Clone, Debug)]
pub struct Linux {
    offload: Offload,
    workers: usize,
    hardening: Hardening,
    socket_directory: PathBuf,
    metrics_directory: Option<PathBuf>,
    peers_directory: Option<PathBuf>,
    placement: Placement,
    netns: Option<String>,
}

impl Linux {
    /// Takes what the environment says of offloads, workers and hardening; by default there are as many workers as cores.
    pub fn new(environment: &Environment) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            offload: environment.offload,
            workers: environment.workers.unwrap_or(cores),
            hardening: environment.hardening,
            socket_directory: environment.socket_directory(),
            metrics_directory: environment.metrics.as_ref().and_then(Address::directory),
            peers_directory: environment.peers_dir.clone(),
            placement: environment.placement.clone(),
            netns: environment.netns.clone(),
        }
    }

    fn trains(&self) -> Trains {
        match self.offload {
            Offload::Auto => Trains::of_this_kernel(),
            Offload::Unequal => Trains::Unequal,
            Offload::Off => Trains::None,
        }
    }

    /// Goes to where the sockets shall be: all that is opened from here on, and all threads, are there; the TUN stays where
    /// it was made.
    fn enter_namespace(&self) -> Result<(), Error> {
        let action = "enter the network namespace of the sockets";
        self.netns.as_deref().map_or(Ok(()), enter_namespace).map_err(|source| Error::Start { action, source })
    }

    fn tun_options(&self) -> TunOptions {
        TunOptions { offload: self.offload != Offload::Off, multi_queue: false }
    }
}

impl Host for Linux {
    fn open_tun(&self, interface: &InterfaceName) -> Result<OwnedFd, Error> {
        Ok(LinuxTun::open(interface.as_str(), self.tun_options())?.into())
    }

    fn start(&self, interface: &InterfaceName, tun: OwnedFd, ends: &Ends) -> Result<Arc<dyn Device>, Error> {
        let tun = Arc::new(LinuxTun::from_fd(tun, self.tun_options())?);
        self.enter_namespace()?;
        let start = |source| Error::Start { action: "start the device", source };
        let prepared = Prepared::new(interface, tun, self, ends, Tunnel::start).map_err(start)?;
        prepared.tell(interface, self);
        Ok(Arc::new(prepared.run(ends).map_err(start)?))
    }

    fn take(
        &self,
        interface: &InterfaceName,
        tun: OwnedFd,
        sockets: [Option<OwnedFd>; 2],
        ends: &Ends,
    ) -> Result<Box<dyn Taken>, Error> {
        let tun = Arc::new(LinuxTun::from_fd(tun, self.tun_options())?);
        self.enter_namespace()?;
        let start = |source| Error::Start { action: "prepare the device", source };
        let prepared = Prepared::new(interface, tun, self, ends, Tunnel::start_held).map_err(start)?;
        if sockets.iter().any(Option::is_some) {
            prepared.network.give(sockets);
        }
        prepared.tell(interface, self);
        Ok(Box::new(taken::TakenOver::new(prepared, ends.clone())))
    }
}

/// A device with its threads, and nobody yet who follows its interface.
struct Prepared {
    interface: String,
    tunnel: Arc<Tunnel>,
    tun: Arc<LinuxTun>,
    network: Arc<LinuxNetwork>,
    link: LinkMonitor,
    threads: Threads,
    parts: Parts,
    names: Option<Names>,
    confined: Confined,
    usage: Usage,
}

/// A device and everything that runs for it.
struct Running {
    interface: String,
    tunnel: Arc<Tunnel>,
    tun: Arc<LinuxTun>,
    network: Arc<LinuxNetwork>,
    holder: Holder,
    parts: Mutex<Parts>,
    names: Mutex<Option<Names>>,
    confined: Confined,
    usage: Usage,
    ends: Ends,
}

/// What is taken apart when the device stops.
#[derive(Default)]
struct Parts {
    threads: Option<Threads>,
    stops: Vec<Arc<Stop>>,
    monitors: Vec<JoinHandle<()>>,
}

impl Prepared {
    /// Opens what a device needs beside its TUN, gives up the rest, and starts the threads, by `start`.
    fn new(
        interface: &InterfaceName,
        tun: Arc<LinuxTun>,
        options: &Linux,
        ends: &Ends,
        start: impl FnOnce(&Arc<Tunnel>, Workers, Box<dyn Fn(workers::End) + Send + Sync>) -> io::Result<Threads> + Send,
    ) -> io::Result<Self> {
        let link = LinkMonitor::new(Arc::clone(&tun))?;
        let routes = RouteMonitor::new()?;
        let (platform, network) = linux::platform(Arc::clone(&tun), options.trains(), options.placement.clone())?;
        let tunnel = Tunnel::new(platform);
        // From the next line on no program can be started.
        let names = match names::process::start() {
            Ok(process) => Some(Names::new(Arc::clone(&tunnel) as _, process)),
            Err(error) => {
                tracing::error!("Names of endpoints will not be looked up: {error}");
                None
            }
        };

        let needs = Needs {
            socket_directory: &options.socket_directory,
            metrics_directory: options.metrics_directory.as_deref(),
            peers_directory: options.peers_directory.as_deref(),
        };
        let usage = Usage::open();
        let confined = options.hardening.confine_process(&needs);

        let mut parts = Parts { stops: vec![link.stopper(), routes.stopper()], ..Parts::default() };
        let workers = Workers { count: options.workers, share: Share::WhenItPays };
        let (threads, monitor) = confined.confined(|| {
            let reporter = ends.clone();
            let threads = start(&tunnel, workers, Box::new(move |end| report(&reporter, end)))?;
            Ok::<_, io::Error>((threads, follow_routes(&tunnel, routes, ends)?))
        })??;
        parts.monitors.push(monitor);
        let interface = interface.to_string();
        Ok(Self { interface, tunnel, tun, network, link, threads, parts, names, confined, usage })
    }

    fn tell(&self, interface: &InterfaceName, options: &Linux) {
        tracing::debug!("{interface}: {} threads carry packets", options.workers);
        tracing::debug!("{interface}: hardening {}", self.confined);
    }

    /// Follows the interface from now on.
    fn run(mut self, ends: &Ends) -> io::Result<Running> {
        let (device, reporter, link) = (Arc::clone(&self.tunnel), ends.clone(), self.link);
        self.parts.monitors.push(ends.spawn("rvpn-link", move || follow_link(link, &device, &reporter))?);
        let holder = self.threads.holder();
        self.parts.threads = Some(self.threads);
        let Self { interface, tunnel, tun, network, parts, names, confined, usage, .. } = self;
        let (parts, names, ends) = (Mutex::new(parts), Mutex::new(names), ends.clone());
        Ok(Running { interface, tunnel, tun, network, holder, parts, names, confined, usage, ends })
    }
}

fn report(ends: &Ends, end: workers::End) {
    ends.report(match end {
        workers::End::TunGone => End::TunGone,
        workers::End::ThreadFailed(name) => End::ThreadFailed(name),
    });
}

/// Starts the thread that watches routes for the device.
fn follow_routes(tunnel: &Arc<Tunnel>, routes: RouteMonitor, ends: &Ends) -> io::Result<JoinHandle<()>> {
    let (device, reporter) = (Arc::clone(tunnel), ends.clone());
    ends.spawn("rvpn-routes", move || {
        if let Err(error) = routes.run(|event| match event {
            RouteEvent::Changed => device.routes_changed(),
            RouteEvent::Resumed => {
                tracing::debug!("The machine was asleep");
                device.resumed();
            }
        }) {
            tracing::error!("Watching routes failed: {error}");
            reporter.report(End::ThreadFailed("rvpn-routes".to_owned()));
        }
    })
}

/// Lets the device follow its interface until that is gone or the monitor is stopped.
fn follow_link(link: LinkMonitor, device: &Tunnel, ends: &Ends) {
    let result = link.run(|event| match event {
        LinkEvent::Up => match device.up() {
            Ok(()) => tracing::debug!("Interface up"),
            // The interface stays up without sockets; another listen port or another "up" mends it.
            Err(error) => tracing::error!("The interface is up, but there are no sockets: {error}"),
        },
        LinkEvent::Down => {
            device.down();
            tracing::debug!("Interface down");
        }
        LinkEvent::Mtu(mtu) => {
            device.set_mtu(mtu as usize);
            tracing::debug!("MTU {mtu}");
        }
        LinkEvent::Gone => ends.report(End::TunGone),
    });
    if let Err(error) = result {
        tracing::error!("Watching the interface failed: {error}");
        ends.report(End::ThreadFailed("rvpn-link".to_owned()));
    }
}

impl Running {
    fn change(&self, change: Change) -> Result<(), Errno> {
        self.tunnel.apply(change).map_err(|error| {
            tracing::error!("Configuration refused, nothing changed: {error}");
            apply::errno(&error)
        })
    }
}

impl Configurable for Running {
    fn apply(&self, set: Set) -> Result<(), Errno> {
        self.change(apply::change(&set))
    }

    fn apply_files(&self, set: Set) -> Result<(), Errno> {
        let mut change = apply::change(&set);
        change.peers.iter_mut().for_each(|peer| peer.is_from_file = true);
        self.change(change)
    }

    fn forget(&self, peer: Option<PublicKey>) -> usize {
        self.tunnel.forget(peer.map(apply::public_key).as_ref())
    }

    fn status(&self) -> DeviceStatus {
        apply::status(self.tunnel.snapshot(), environment::aead_in_use())
    }
}

impl Device for Running {
    fn evidence(&self) -> EvidenceSnapshot {
        self.tunnel.evidence()
    }

    fn objects(&self) -> Objects {
        self.tunnel.objects()
    }

    fn metrics(&self) -> Metrics {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut threads = parts.threads.as_ref().map(Threads::cpu_times).unwrap_or_default();
        drop(parts);
        threads.extend(self.ends.cpu_times());
        let device = self.tunnel.metrics();
        Metrics {
            interface: self.interface.clone(),
            aead: environment::aead_in_use(),
            device,
            process: self.usage.read(),
            threads,
        }
    }

    fn events(&self) -> &Arc<Events> {
        self.tunnel.events()
    }

    fn release_privileges(&self) -> io::Result<()> {
        self.confined.release_privileges()
    }

    fn names(&self) -> Option<Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn beat(&self) -> Vec<String> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.threads.as_ref().map(Threads::beat).unwrap_or_default()
    }

    fn files(&self) -> io::Result<Vec<(&'static str, OwnedFd)>> {
        let mut files = vec![(offer::TUN, self.tun.as_fd().try_clone_to_owned()?)];
        let status = self.tunnel.snapshot();
        if let Some([v4, v6]) = self.network.sockets(status.listen_port)?.filter(|_| status.offloads.is_some()) {
            files.extend(v4.map(|v4| (offer::UDP_V4, v4)));
            files.extend(v6.map(|v6| (offer::UDP_V6, v6)));
        }
        Ok(files)
    }

    fn log_keys(&self, tell: Tell) -> Option<KeyListener> {
        Some(self.tunnel.log_keys(tell))
    }

    fn changes(&self) -> u64 {
        self.tunnel.changes()
    }

    fn hold(&self, patience: Duration) -> Option<Box<dyn Holding + '_>> {
        self.holder.hold(patience).map(|held| Box::new(held) as _)
    }

    fn stop(&self) {
        let parts = std::mem::take(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner));
        parts.stops.iter().for_each(|stop| stop.stop());
        for monitor in parts.monitors {
            // A panic was reported.
            let _ = monitor.join();
        }
        if let Some(threads) = parts.threads {
            threads.stop();
        }
        // Erases the keys of all sessions.
        self.tunnel.down();
    }
}
