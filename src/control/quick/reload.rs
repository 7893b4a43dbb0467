//! `reload`: a changed file is applied to a tunnel that is up, and what stays the same is not touched.
//!
//! ```text
//!   facts + changed file --> plan --> is to be            only in "is to be": done, first
//!                            state --> is                 only in "is": undone, last, in the other direction
//! ```
//!
//! The facts are those of now, but what the tunnel itself has made of them.
//!
//! A filter that changes is replaced in one step. Peers are synchronised as by `syncconf`. In between, both old and new
//! addresses and routes are there, and no packet is without one. Commands of the file are not run.

use super::error::QuickError;
use super::facts;
use super::machine::Machine;
use super::plan::{self, Peers};
use super::state::{State, StateFile};
use super::step::Step;
use super::transaction::{self, Actor};
use super::{Resolve, Tunnel, World};
use crate::control::config::synchronize;
use crate::platform::linux::network::MAIN_TABLE;

/// Applies a file to its tunnel.
///
/// # Errors
/// [`QuickError`]. Nothing is changed before the file is known to be right and all endpoints have addresses.
pub fn reload(tunnel: Tunnel, world: &World, resolve: Resolve<'_>) -> Result<(), QuickError> {
    let Tunnel { interface, config, mut quick, .. } = tunnel;
    let name = interface.as_str();
    let file = StateFile::lock(&world.state_directory, name)?;
    let Some(mut state) = file.read()? else {
        return Err(QuickError::IsNotUp { interface: name.to_owned() });
    };
    let mut machine = Machine::new(world, &interface, state.link)?;
    let Some(before) = state.facts.clone().filter(|_| state.steps.contains(&Step::Link)) else {
        return Err(QuickError::LinkIsGone { interface: name.to_owned() });
    };
    if !machine.has_link()? {
        return Err(QuickError::LinkIsGone { interface: name.to_owned() });
    }
    quick.kill_switch |= state.kill_switch;
    quick.post_up.clear();
    let peers = Peers::of(config.fwmark, config.listen_port, config.peers.iter().map(|peer| &peer.set));
    let mut set = resolve(config, world.client.is_rvpn(name.as_ref())?)?;
    let facts = facts::gather(machine.network(), &quick, &[])?.without(&state.steps, &before);
    let mut steps = plan::plan(name, &quick, &peers, &facts);
    if peers.mark.is_none() {
        keep_mark(&state.steps, &mut steps);
    }

    // Where the file is silent of key, port and mark, they stay: a `PostUp` may have set them.
    set.replace_peers = true;
    let status = world.client.status(name.as_ref())?;
    if !set.peers.is_empty() {
        synchronize(&mut set, &status);
    }
    refuse_another_mark(name, &state.steps, &steps, set.fwmark)?;
    machine.configure_with(set);
    machine.catch_signals()?;
    state.facts = Some(facts);
    state.pre_down.clone_from(&quick.pre_down);
    state.post_down.clone_from(&quick.post_down);
    let difference = Difference::new(&state.steps, &steps);
    difference.apply(&mut state, &file, &mut machine)?;
    machine.complete(&steps);
    state.steps = steps;
    file.write(&state)
}

/// Keeps a mark that is no longer needed: without it, encrypted packets would go into the tunnel itself, or stop at the
/// kill switch, until the rules are gone.
fn keep_mark(is: &[Step], is_to_be: &mut [Step]) {
    let kept = is.iter().find_map(|step| match step {
        Step::Configure { mark } => *mark,
        _ => None,
    });
    for step in is_to_be {
        if let Step::Configure { mark: mark @ None } = step {
            *mark = kept;
        }
    }
}

/// Refuses to change a mark that rules or the kill switch ask for. The rules of either mark send packets with the other
/// one into the tunnel, so that in no order of the changes do encrypted packets find their way throughout.
fn refuse_another_mark(interface: &str, is: &[Step], is_to_be: &[Step], files: Option<u32>) -> Result<(), QuickError> {
    let own = is_to_be.iter().find_map(|step| match step {
        Step::Configure { mark } => *mark,
        _ => None,
    });
    match (facts::mark_in_use(is), own.or(files)) {
        (Some(old), Some(new)) if old != new => {
            Err(QuickError::MarkChanges { interface: interface.to_owned(), old, new })
        }
        _ => Ok(()),
    }
}

/// What leads from steps to others.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    /// To be done, in this order.
    new: Vec<Step>,
    /// To be undone, in this order.
    old: Vec<Step>,
    /// To be done when all that is undone.
    last: Vec<Step>,
}

impl Difference {
    fn new(is: &[Step], is_to_be: &[Step]) -> Self {
        // Peers may differ where the step does not.
        let is_new = |step: &&Step| matches!(step, Step::Configure { .. }) || !is.contains(step);
        let mut new: Vec<_> = is_to_be.iter().filter(is_new).cloned().collect();
        // Encrypted packets have the mark before anything asks for it.
        new.sort_by_key(|step| !matches!(step, Step::Configure { .. }));
        let is_old = |step: &&Step| !is_to_be.contains(step) && !new.iter().any(|new| replaces(new, step));
        let old: Vec<_> = is.iter().rev().filter(is_old).cloned().collect();
        let (last, new) = new.into_iter().partition(|step| old.iter().any(|old| occupies(old, step)));
        Self { new, old, last }
    }

    fn apply(self, state: &mut State, file: &StateFile, machine: &mut Machine<'_>) -> Result<(), QuickError> {
        let failed = |step: &Step, why| QuickError::HalfReloaded {
            interface: file.interface().to_owned(),
            step: step.to_string(),
            why,
        };
        for step in &self.new {
            if let Step::Dns(_) = step {
                // Only one of them can be told of at a time.
                for old in state.steps.iter().filter(|old| replaces(step, old)) {
                    machine.undo(old).map_err(|why| failed(old, why))?;
                }
            }
            transaction::apply(step, state, file, machine).map_err(|why| failed(step, why))?;
        }
        for step in &self.old {
            if step.is_undone() {
                machine.tell_undo(step);
                machine.undo(step).map_err(|why| failed(step, why))?;
            }
            state.steps.retain(|kept| kept != step);
            file.write(state)?;
        }
        for step in &self.last {
            transaction::apply(step, state, file, machine).map_err(|why| failed(step, why))?;
        }
        Ok(())
    }
}

/// Returns whether `new` is the route that the kernel itself has made for the address `old`: of IPv4, another one cannot
/// stand beside it, and it goes with the address.
fn occupies(old: &Step, new: &Step) -> bool {
    match (old, new) {
        (Step::Address(address), Step::Route { network, table: MAIN_TABLE }) => {
            network.address.is_ipv4() && plan::connected(*address) == Some(*network)
        }
        _ => false,
    }
}

/// Returns whether doing `new` leaves nothing of `old`.
fn replaces(new: &Step, old: &Step) -> bool {
    match (new, old) {
        (Step::Firewall(new), Step::Firewall(old)) => new.family == old.family,
        (Step::KillSwitch(_), Step::KillSwitch(_))
        | (Step::Configure { .. }, Step::Configure { .. })
        | (Step::Up { .. }, Step::Up { .. })
        | (Step::Dns(_), Step::Dns(_)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::dns::Manager;
    use super::super::step::{Dns, Firewall, KillSwitch};
    use super::*;
    use crate::platform::linux::network::{Family, Prefix, Rule};

    fn address(last: u8) -> Step {
        Step::Address(Prefix { address: [10, 0, 0, last].into(), len: 24 })
    }

    fn route(second: u8) -> Step {
        Step::Route { network: Prefix { address: [10, second, 0, 0].into(), len: 16 }, table: 254 }
    }

    #[test]
    fn what_stays_the_same_is_not_touched_but_for_peers() {
        let configure = Step::Configure { mark: None };
        let steps = [Step::Link, configure.clone(), address(1), route(1)];
        assert_eq!(Difference::new(&steps, &steps), Difference { new: vec![configure], old: vec![], last: vec![] });
    }

    #[test]
    fn new_things_come_before_old_ones_go_in_the_other_direction() {
        let is = [Step::Link, address(1), address(2), route(1), route(2), Step::Hook("true".to_owned())];
        let is_to_be = [Step::Link, address(2), address(3), route(2), route(3)];
        let expected = Difference {
            new: vec![address(3), route(3)],
            old: vec![Step::Hook("true".to_owned()), route(1), address(1)],
            last: vec![],
        };
        assert_eq!(Difference::new(&is, &is_to_be), expected);
    }

    #[test]
    fn a_route_waits_for_the_address_whose_network_it_is() {
        let network = |len| Prefix { address: [10, 0, 0, 0].into(), len };
        let route = |len| Step::Route { network: network(len), table: MAIN_TABLE };
        let single = Step::Address(Prefix { address: [10, 0, 0, 1].into(), len: 32 });
        let is_to_be = [single.clone(), route(24), route(16)];
        let expected = Difference { new: vec![single, route(16)], old: vec![address(1)], last: vec![route(24)] };
        assert_eq!(Difference::new(&[address(1)], &is_to_be), expected);
    }

    #[test]
    fn a_mark_comes_before_what_asks_for_it_and_stays_longer() {
        let marked = Step::Configure { mark: Some(7) };
        let switch = KillSwitch { mark: 7, listen_port: None, trusted_interfaces: vec![] };
        let with = [Step::KillSwitch(switch.clone()), Step::Link, marked.clone()];
        let mut without = [Step::Link, Step::Configure { mark: None }];
        assert_eq!(Difference::new(&without, &with).new, [marked.clone(), Step::KillSwitch(switch)]);
        keep_mark(&with, &mut without);
        assert_eq!(without[1], marked);
    }

    #[test]
    fn a_mark_that_rules_ask_for_does_not_change() {
        let refuses =
            |is: &[Step], mark, files| refuse_another_mark("wg0", is, &[Step::Configure { mark }], files).is_err();
        let switch = KillSwitch { mark: 7, listen_port: None, trusted_interfaces: vec![] };
        let rule = Rule::UnlessMarked { mark: 7, table: 7 };
        let rule = Step::Rule { family: Family::V4, preference: 1, rule };
        for is in [Step::KillSwitch(switch), rule].map(|step| [step]) {
            assert!(refuses(&is, None, Some(8)) && refuses(&is, Some(8), None) && refuses(&is, None, Some(0)));
            // The mark of the plan is the one that is set.
            assert!(!refuses(&is, Some(7), Some(0)) && !refuses(&is, None, Some(7)) && !refuses(&is, None, None));
        }
        assert!(!refuses(&[Step::Configure { mark: Some(7) }], None, Some(8)));
    }

    #[test]
    fn what_is_replaced_does_not_go_in_between() {
        let filter =
            |family, last| Step::Firewall(Firewall { family, mark: 7, addresses: vec![[10, 0, 0, last].into()] });
        let up = |mtu| Step::Up { mtu, has_multicast: false };
        let dns =
            |last| Step::Dns(Dns { manager: Manager::File, servers: vec![[10, 0, 0, last].into()], search: vec![] });
        let is = [up(1), dns(1), filter(Family::V4, 1), filter(Family::V6, 1)];
        let is_to_be = [up(2), dns(2), filter(Family::V4, 2)];
        let expected = Difference { new: is_to_be.to_vec(), old: vec![filter(Family::V6, 1)], last: vec![] };
        assert_eq!(Difference::new(&is, &is_to_be), expected);
    }
}
