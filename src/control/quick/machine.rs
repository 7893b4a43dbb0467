//! The machine that steps change: by netlink, nftables and files, from this process.
//!
//! Not here: which steps, and their order (see `plan`, `transaction`).

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rvpn_uapi::Set;

use super::error::{QuickError, why, why_no_address};
use super::facts::SOURCE_VALID_MARK;
use super::interrupt::Interrupts;
use super::state;
use super::step::Step;
use super::transaction::Actor;
use super::{World, dns, firewall, hooks};
use crate::control::daemon;
use crate::control::environment::Environment;
use crate::control::host::Linux;
use crate::control::interface::InterfaceName;
use crate::platform::linux::network::{Family, Network, Prefix};
use crate::platform::linux::nftables::Nftables;
use crate::platform::linux::wireguard_driver::WireguardDriver;

/// The machine, as far as one tunnel goes.
pub(super) struct Machine<'a> {
    world: &'a World,
    interface: InterfaceName,
    network: Network,
    /// Keys and peers, once their endpoints have addresses.
    set: Option<Set>,
    link: Option<u32>,
    interrupts: Option<Interrupts>,
}

impl<'a> Machine<'a> {
    /// `link` is the index of the interface if it has been made.
    pub(super) fn new(world: &'a World, interface: &InterfaceName, link: Option<u32>) -> Result<Self, QuickError> {
        let network = Network::open().map_err(|source| QuickError::Ask { what: "the network", source })?;
        Ok(Self { world, interface: interface.clone(), network, set: None, link, interrupts: None })
    }

    pub(super) const fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Returns whether the kernel's driver is to run the interface: names of endpoints are then looked up once, by us.
    pub(super) fn has_driver(&self) -> bool {
        !self.world.userspace && WireguardDriver::open().is_ok()
    }

    /// Says which keys and peers [`Step::Configure`] means.
    pub(super) fn configure_with(&mut self, set: Set) {
        self.set = Some(set);
    }

    /// From now on, a signal does not end the process before what was done is undone.
    pub(super) fn catch_signals(&mut self) -> Result<(), QuickError> {
        let interrupts = Interrupts::new().map_err(|source| QuickError::Ask { what: "signals", source })?;
        self.interrupts = Some(interrupts);
        Ok(())
    }

    /// Returns whether the interface that `up` made is there.
    pub(super) fn has_link(&mut self) -> Result<bool, QuickError> {
        let found = self.network.link(self.interface.as_str());
        let found = found.map_err(|source| QuickError::Ask { what: "the interface", source })?;
        Ok(found.is_some_and(|found| self.is_ours(found.index)))
    }

    /// Returns the name of the interface.
    pub(super) fn interface(&self) -> &str {
        self.interface.as_str()
    }

    /// Returns the addresses that the interface has by now, and its largest packet in bytes.
    pub(super) fn present(&mut self) -> Result<(Vec<Prefix>, u32), QuickError> {
        let ask = |source| QuickError::Ask { what: "the interface", source };
        let Some(link) = self.network.link(self.interface.as_str()).map_err(ask)? else {
            return Err(QuickError::LinkIsGone { interface: self.interface.to_string() });
        };
        Ok((self.network.addresses(link.index).map_err(ask)?, link.mtu))
    }

    /// Adds again what the kernel took away with something else: with an address, other addresses of its network and
    /// routes that are alike.
    pub(super) fn complete(&mut self, steps: &[Step]) {
        for step in steps.iter().filter(|step| matches!(step, Step::Address(_) | Step::Route { .. })) {
            match self.change(step) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    self.warn(&format!("{step}: {}", why(&error)));
                }
                _ => {}
            }
        }
    }

    fn is_ours(&self, index: u32) -> bool {
        // Killed before the index was written: nobody else had a reason to make one of this name since.
        self.link.is_none_or(|link| link == index)
    }

    fn index(&self) -> io::Result<u32> {
        self.link.ok_or_else(|| io::Error::from_raw_os_error(rustix::io::Errno::NODEV.raw_os_error()))
    }

    fn make_link(&mut self) -> Result<(), String> {
        let name = self.interface.as_str();
        let in_kernel = match self.world.userspace {
            true => false,
            false => match self.network.add_wireguard_link(name) {
                Ok(()) => {
                    if let Some(directory) = self.peers_directory() {
                        let only = "only rvpn in user space reads it: see --userspace";
                        self.warn(&format!("{}: {only}", directory.display()));
                    }
                    true
                }
                Err(error) if error.kind() == io::ErrorKind::Unsupported || is_unsupported(&error) => false,
                Err(error) => return Err(why(&error)),
            },
        };
        if !in_kernel {
            let environment = Environment {
                tun_fd: None,
                uapi_fd: None,
                foreground: false,
                handover: false,
                peers_dir: self.peers_directory(),
                ..self.world.environment.clone()
            };
            let host = Linux::new(&environment);
            let options = daemon::Options { interface: self.interface.clone(), foreground: false, environment };
            daemon::run(&options, &host).map_err(|error| error.to_string())?;
        }
        let made = self.network.link(self.interface.as_str()).map_err(|error| why(&error))?;
        self.link = Some(made.ok_or("it was gone at once")?.index);
        Ok(())
    }

    /// Returns the directory with the files of peers: the one that was named, or that of the interface if there is one.
    fn peers_directory(&self) -> Option<PathBuf> {
        let own = || Some(PathBuf::from(format!("{PEERS_DIRECTORIES}/{}.d", self.interface)));
        self.world.environment.peers_dir.clone().or_else(|| own().filter(|path| path.is_dir()))
    }

    fn delete_link(&mut self) -> Result<(), String> {
        let socket = self.socket();
        // Closed by the process that runs the interface when it has ended and its socket is gone.
        let daemon = UnixStream::connect(&socket);
        match self.network.link(self.interface.as_str()).map_err(|error| why(&error))? {
            Some(link) if self.is_ours(link.index) => {
                match self.network.delete_link(link.index) {
                    Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {}
                    result => result.map_err(|error| why(&error))?,
                }
                if let Ok(mut daemon) = daemon {
                    // A process that hangs does not keep the interface.
                    let _ = daemon.set_read_timeout(Some(PATIENCE));
                    let _ = daemon.read(&mut [0]);
                }
            }
            _ => {}
        }
        if UnixStream::connect(&socket).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            // Of a process that was killed.
            let _ = fs::remove_file(&socket);
        }
        self.link = None;
        Ok(())
    }

    fn socket(&self) -> PathBuf {
        self.world.socket_directory.join(format!("{}.sock", self.interface))
    }

    fn configure(&mut self, mark: Option<u32>) -> Result<(), String> {
        let mut set = self.set.take().ok_or("there is nothing to configure it with")?;
        if mark.is_some() {
            set.fwmark = mark;
        }
        let outcome = self.world.client.apply(self.interface.as_str().as_ref(), &set);
        outcome.map_err(|error| error.to_string())
    }

    fn change(&mut self, step: &Step) -> io::Result<()> {
        let name = self.interface.as_str();
        match step {
            Step::KillSwitch(switch) => Nftables::open()?.replace(&firewall::kill_switch(name, switch)),
            Step::Firewall(filter) => Nftables::open()?.replace(&firewall::protection(name, filter)),
            Step::Address(address) => self.network.add_address(self.index()?, *address),
            Step::Up { mtu, has_multicast } => self.network.set_link_up(self.index()?, *mtu, *has_multicast),
            Step::Route { network, table } => self.network.add_route(self.index()?, *network, *table),
            Step::MulticastRoute => self.network.add_multicast_route(self.index()?),
            Step::Rule { family, preference, rule } => self.network.add_rule(*family, *preference, *rule),
            Step::SourceValidMark => fs::write(SOURCE_VALID_MARK, "1"),
            Step::Hook(_) | Step::Link | Step::Configure { .. } | Step::Dns(_) => Ok(()),
        }
    }

    fn change_back(&mut self, step: &Step) -> io::Result<()> {
        let name = self.interface.as_str();
        match step {
            Step::KillSwitch(_) => {
                let (family, name) = firewall::kill_switch_name(name);
                Nftables::open()?.remove(family, &name)
            }
            Step::Firewall(filter) => {
                let (family, name) = firewall::protection_name(name, filter.family);
                Nftables::open()?.remove(family, &name)
            }
            Step::Address(address) => self.network.remove_address(self.index()?, *address),
            Step::Route { network, table } => self.network.remove_route(self.index()?, *network, *table),
            Step::MulticastRoute => self.network.remove_multicast_route(self.index()?),
            Step::Rule { family, preference, rule } => self.network.remove_rule(*family, *preference, *rule),
            Step::SourceValidMark if self.is_mark_needed_elsewhere() => Ok(()),
            Step::SourceValidMark => fs::write(SOURCE_VALID_MARK, "0"),
            Step::Hook(_) | Step::Link | Step::Configure { .. } | Step::Dns(_) | Step::Up { .. } => Ok(()),
        }
    }

    fn is_mark_needed_elsewhere(&self) -> bool {
        let needs_it = |step: &Step| matches!(step, Step::Firewall(filter) if filter.family == Family::V4);
        state::others(&self.world.state_directory, self.interface.as_str())
            .iter()
            .any(|other| other.steps.iter().any(needs_it))
    }
}

impl Actor for Machine<'_> {
    fn apply(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Hook(command) => hooks::run(command),
            Step::Link => self.make_link(),
            Step::Configure { mark } => self.configure(*mark),
            Step::Dns(servers) => {
                let link = self.index().map_err(|error| why(&error))?;
                dns::set(servers, self.interface.as_str(), link)
            }
            Step::Address(address) => {
                self.change(step).map_err(|error| why_no_address(&error, address.address, self.interface.as_str()))
            }
            _ => self.change(step).map_err(|error| why(&error)),
        }
    }

    fn undo(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Link => self.delete_link(),
            Step::Dns(servers) => dns::unset(servers, self.interface.as_str(), self.link),
            _ => match self.change_back(step) {
                Err(error) if is_absent(&error) => Ok(()),
                result => result.map_err(|error| why(&error)),
            },
        }
    }

    fn link(&self) -> Option<u32> {
        self.link
    }

    fn tell(&mut self, step: &Step) {
        say(&format!("[+] {}: {step}", self.interface));
    }

    fn tell_undo(&mut self, step: &Step) {
        say(&format!("[-] {}: {step}", self.interface));
    }

    fn is_interrupted(&mut self) -> bool {
        self.interrupts.as_mut().is_some_and(Interrupts::came)
    }

    fn warn(&mut self, message: &str) {
        say(&format!("[!] {}: {message}", self.interface));
    }
}

/// Nobody may be there to read it.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// What is not there need not be undone.
fn is_absent(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let absent = [Errno::NOENT, Errno::SRCH, Errno::NODEV, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| absent.iter().any(|errno| errno.raw_os_error() == code))
}

fn is_unsupported(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
}

/// Where the directories of peers are that nobody names: wg0.d is the one of wg0.
const PEERS_DIRECTORIES: &str = "/etc/rvpn";
/// How long a process may take to end after its interface has gone.
const PATIENCE: Duration = Duration::from_secs(5);
