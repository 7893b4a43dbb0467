//! The real host: a TUN interface, a device on it, and the two monitors that follow the world for it.
//!
//! Threads: `rvpn-link` follows the interface (up, down, MTU, gone), `rvpn-routes` the routes and addresses of the
//! namespace of the sockets; the device has its own (see `dataplane::workers`).
//!
//! Not here: what is done on each event (see `dataplane::configure`).

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rvpn_uapi::{DeviceStatus, Errno, Set};

use super::{Device, Host};
use crate::control::apply;
use crate::control::environment::{self, Environment, Offload};
use crate::control::error::Error;
use crate::control::interface::InterfaceName;
use crate::control::metrics::Metrics;
use crate::control::metrics::listen::Address;
use crate::control::outcome::{End, Ends};
use crate::control::server::Configurable;
use crate::dataplane::device::Device as Tunnel;
use crate::dataplane::objects::Objects;
use crate::dataplane::workers::{self, Share, Threads, Workers};
use crate::platform::linux;
use crate::platform::linux::hardening::{Confined, Hardening, Needs};
use crate::platform::linux::link_monitor::{LinkEvent, LinkMonitor};
use crate::platform::linux::route_monitor::RouteMonitor;
use crate::platform::linux::stop::Stop;
use crate::platform::linux::tun::{LinuxTun, TunOptions};
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
        }
    }

    fn trains(&self) -> Trains {
        match self.offload {
            Offload::Auto => Trains::of_this_kernel(),
            Offload::Unequal => Trains::Unequal,
            Offload::Off => Trains::None,
        }
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
        let running = Running::start(interface, tun, self, ends)
            .map_err(|source| Error::Start { action: "start the device", source })?;
        tracing::debug!("{interface}: {} threads carry packets", self.workers);
        tracing::debug!("{interface}: hardening {}", running.confined);
        Ok(Arc::new(running))
    }
}

/// A device and everything that runs for it.
struct Running {
    interface: String,
    tunnel: Arc<Tunnel>,
    parts: Mutex<Parts>,
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

impl Running {
    fn start(interface: &InterfaceName, tun: Arc<LinuxTun>, options: &Linux, ends: &Ends) -> io::Result<Self> {
        let link = LinkMonitor::new(Arc::clone(&tun))?;
        let routes = RouteMonitor::new()?;
        let tunnel = Tunnel::new(linux::platform(tun, options.trains())?);

        let needs = Needs {
            socket_directory: &options.socket_directory,
            metrics_directory: options.metrics_directory.as_deref(),
        };
        let usage = Usage::open();
        let confined = options.hardening.confine_process(&needs);

        let mut parts = Parts { stops: vec![link.stopper(), routes.stopper()], ..Parts::default() };
        let (threads, monitor) = confined.confined(|| start_unprivileged(&tunnel, routes, options.workers, ends))??;
        parts.threads = Some(threads);
        parts.monitors.push(monitor);
        let (device, reporter) = (Arc::clone(&tunnel), ends.clone());
        parts.monitors.push(ends.spawn("rvpn-link", move || follow_link(link, &device, &reporter))?);
        let interface = interface.to_string();
        Ok(Self { interface, tunnel, parts: Mutex::new(parts), confined, usage, ends: ends.clone() })
    }
}

/// Starts the threads that need no privileges: those that carry packets, and the one that watches routes for them.
fn start_unprivileged(
    tunnel: &Arc<Tunnel>,
    routes: RouteMonitor,
    workers: usize,
    ends: &Ends,
) -> io::Result<(Threads, JoinHandle<()>)> {
    let reporter = ends.clone();
    let threads = tunnel.start(Workers { count: workers, share: Share::WhenItPays }, move |end| {
        reporter.report(match end {
            workers::End::TunGone => End::TunGone,
            workers::End::ThreadFailed(name) => End::ThreadFailed(name),
        });
    })?;
    let (device, reporter) = (Arc::clone(tunnel), ends.clone());
    let monitor = ends.spawn("rvpn-routes", move || {
        if let Err(error) = routes.run(|| device.routes_changed()) {
            tracing::error!("Watching routes failed: {error}");
            reporter.report(End::ThreadFailed("rvpn-routes".to_owned()));
        }
    })?;
    Ok((threads, monitor))
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

impl Configurable for Running {
    fn apply(&self, set: Set) -> Result<(), Errno> {
        self.tunnel.apply(apply::change(&set)).map_err(|error| {
            tracing::error!("Configuration refused, nothing changed: {error}");
            apply::errno(&error)
        })
    }

    fn status(&self) -> DeviceStatus {
        apply::status(self.tunnel.snapshot(), environment::aead_in_use())
    }
}

impl Device for Running {
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

    fn release_privileges(&self) -> io::Result<()> {
        self.confined.release_privileges()
    }

    fn beat(&self) -> Vec<String> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.threads.as_ref().map(Threads::beat).unwrap_or_default()
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
