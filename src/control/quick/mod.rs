//! `wg-quick` built in: a file becomes an interface with addresses, routes, rules, filters and DNS; and goes again.
//!
//! ```text
//!   file ---------> Config, Quick --.
//!   facts (what the machine has) ---+--> plan --> steps --> transaction --> machine: netlink, nftables, /proc, DNS
//!                                                               |
//!   down <------------- state: what was done, and in which order'
//! ```
//!
//! Nothing of a tunnel is changed but by a step. Nothing is undone but what the state file says, so what somebody else
//! made stays. `reload` plans again, and does the difference.
//!
//! Not here: the command line (see `cli`), the interface's process (see `daemon`).
//!
//! Source: wg-quick(8).

use std::path::PathBuf;

use rvpn_uapi::{Candidate, Set};

pub mod dns;
mod error;
mod facts;
pub mod file;
mod firewall;
mod hooks;
mod interrupt;
mod machine;
pub mod plan;
mod reload;
mod save;
pub mod state;
pub mod step;
pub mod transaction;

pub use self::error::QuickError;
use self::machine::Machine;
use self::plan::Peers;
pub use self::reload::reload;
use self::state::{State, StateFile};
use self::step::Step;
use self::transaction::Actor;
use super::client::Client;
use super::config::quick::Quick;
use super::config::{Config, ConfigError, whole};
use super::environment::Environment;
use super::interface::InterfaceName;

/// Where everything is.
#[derive(Debug)]
pub struct World {
    /// Speaks to the interface.
    pub client: Client,
    /// Where its socket is.
    pub socket_directory: PathBuf,
    /// Where the state is.
    pub state_directory: PathBuf,
    /// For the interface's process.
    pub environment: Environment,
    /// Not by the kernel's driver, though it be there.
    pub userspace: bool,
}

/// A file that has been read.
#[derive(Debug)]
pub struct Tunnel {
    /// The interface.
    pub interface: InterfaceName,
    /// The file.
    pub path: PathBuf,
    /// What it says to `wg`.
    pub config: Config,
    /// What it says to wg-quick.
    pub quick: Quick,
}

/// Finds the addresses of all endpoints of a file; or, if the flag says that rvpn runs the interface, leaves the names to it.
pub type Resolve<'a> = &'a mut dyn FnMut(Config, bool) -> Result<Set, ConfigError>;

/// Brings a tunnel up; `kill_switch` asks for it whatever the file says.
///
/// # Errors
/// [`QuickError`]; whatever was done is undone then, as far as that is possible.
pub fn up(tunnel: Tunnel, kill_switch: bool, world: &World, resolve: Resolve<'_>) -> Result<(), QuickError> {
    let Tunnel { interface, path, config, mut quick } = tunnel;
    let name = interface.as_str();
    let file = StateFile::lock(&world.state_directory, name)?;
    if file.read()?.is_some() {
        return Err(QuickError::IsUp { interface: name.to_owned() });
    }
    let mut machine = Machine::new(world, &interface, None)?;
    if machine.has_link()? {
        return Err(QuickError::Exists { interface: name.to_owned() });
    }
    quick.kill_switch |= kill_switch;
    let mut state = State {
        file: path,
        namespace: state::namespace(),
        kill_switch,
        link: None,
        facts: None,
        steps: Vec::new(),
        pre_down: quick.pre_down.clone(),
        post_down: quick.post_down.clone(),
    };
    if let Err(why) = dns::tidy(&|other| state::is_there(&world.state_directory, other)) {
        machine.warn(&why);
    }
    // They may be what makes the network, so nothing is looked up before.
    run_hooks(&quick.pre_up, name, &mut machine)?;
    let peers = Peers::of(config.fwmark, config.listen_port, config.peers.iter().map(|peer| &peer.set));
    let steps = prepare(config, &quick, &peers, &mut state, &mut machine, resolve)?;
    machine.catch_signals()?;
    transaction::up(&steps, &mut state, &file, &mut machine)
}

fn prepare(
    config: Config,
    quick: &Quick,
    peers: &Peers,
    state: &mut State,
    machine: &mut Machine<'_>,
    resolve: Resolve<'_>,
) -> Result<Vec<Step>, QuickError> {
    let set = resolve(config, !machine.has_driver())?;
    let candidates = set.peers.iter().flat_map(|peer| peer.endpoints.iter().flatten());
    let addresses = candidates.filter_map(|candidate| match candidate {
        Candidate::Address(address) => Some(*address),
        Candidate::Name { .. } => None,
    });
    let endpoints: Vec<_> = set.peers.iter().filter_map(|peer| peer.endpoint).chain(addresses).collect();
    let facts = facts::gather(machine.network(), quick, &endpoints)?;
    let steps = plan::plan(machine.interface(), quick, peers, &facts);
    state.facts = Some(facts);
    machine.configure_with(whole(set));
    Ok(steps)
}

/// Brings a tunnel down: undoes what `up` did. `quick` is what its file says by now, if it can be read.
///
/// # Errors
/// [`QuickError`]; what could not be undone can be tried again.
pub fn down(interface: &InterfaceName, quick: Option<&Quick>, world: &World) -> Result<(), QuickError> {
    let name = interface.as_str();
    let file = StateFile::lock(&world.state_directory, name)?;
    let Some(mut state) = file.read()? else {
        return Err(QuickError::IsNotUp { interface: name.to_owned() });
    };
    let mut machine = Machine::new(world, interface, state.link)?;
    let has_link = machine.has_link()?;
    let (pre_down, post_down) = match quick {
        Some(quick) => (quick.pre_down.clone(), quick.post_down.clone()),
        None => (state.pre_down.clone(), state.post_down.clone()),
    };
    match run_hooks(&pre_down, name, &mut machine) {
        // It may be one that needs the interface, and is not to keep everything else from going.
        Err(error) if !has_link => machine.warn(&error.to_string()),
        outcome => outcome?,
    }
    if let Some(quick) = quick.filter(|quick| quick.save_config && has_link) {
        save_present(quick, &state, &mut machine, world)?;
    }
    machine.catch_signals()?;
    let left = transaction::undo_all(&mut state, &file, &mut machine);
    let hooks = run_hooks(&post_down, name, &mut machine);
    match left {
        0 => hooks,
        left => Err(QuickError::Left { interface: name.to_owned(), left }),
    }
}

/// Returns the file from which a tunnel was brought up.
///
/// # Errors
/// [`QuickError::IsNotUp`], [`QuickError::Busy`], [`QuickError::File`].
pub fn file_of(interface: &InterfaceName, world: &World) -> Result<PathBuf, QuickError> {
    let state = StateFile::lock(&world.state_directory, interface.as_str())?.read()?;
    state.map(|state| state.file).ok_or_else(|| QuickError::IsNotUp { interface: interface.to_string() })
}

/// Writes the file of a tunnel anew from what it has become.
///
/// # Errors
/// [`QuickError`]; the file is as before then.
pub fn save(tunnel: &Tunnel, world: &World) -> Result<(), QuickError> {
    let name = tunnel.interface.as_str();
    let file = StateFile::lock(&world.state_directory, name)?;
    let state = file.read()?.ok_or_else(|| QuickError::IsNotUp { interface: name.to_owned() })?;
    let mut machine = Machine::new(world, &tunnel.interface, state.link)?;
    save_present(&tunnel.quick, &state, &mut machine, world)
}

fn save_present(quick: &Quick, state: &State, machine: &mut Machine<'_>, world: &World) -> Result<(), QuickError> {
    let status = world.client.status(machine.interface().as_ref())?;
    let (addresses, mtu) = machine.present()?;
    let dns = state.steps.iter().find_map(|step| match step {
        Step::Dns(dns) => Some(dns),
        _ => None,
    });
    let present = save::Present {
        addresses: &addresses,
        dns: dns.map_or(&[], |dns| &dns.servers),
        search: dns.map_or(&[], |dns| &dns.search),
        mtu,
    };
    save::write(&state.file, &save::text(quick, &present, &status))
}

fn run_hooks(commands: &[String], interface: &str, machine: &mut Machine<'_>) -> Result<(), QuickError> {
    for step in plan::hooks(commands, interface) {
        machine.tell(&step);
        let (interface, command) = (interface.to_owned(), step.to_string());
        machine.apply(&step).map_err(|why| QuickError::Hook { interface, command, why })?;
    }
    Ok(())
}
