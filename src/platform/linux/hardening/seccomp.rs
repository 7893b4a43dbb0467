//! Filters of system calls: one for the process, a shorter one on top of it for the threads that carry packets.
//!
//! A rule that looks at no argument costs next to nothing: since Linux 5.11 the kernel knows which numbers a thread's
//! filters always allow. All calls on the way of a packet are of that kind.
//!
//! Not here: the lists (see `calls`).
//!
//! Source: seccomp(2), Linux Documentation/userspace-api/seccomp_filter.rst.

use std::io;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::{Lack, Needs, Violation};
use crate::platform::linux::sys;

#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")),
    path = "seccomp/elsewhere.rs"
)]
mod calls;

/// A call that is allowed.
#[derive(Clone, Debug)]
struct Call {
    number: libc::c_long,
    /// The ways in which it may be called; empty: any. Each is a list of arguments that must all be so.
    only: Vec<Vec<Argument>>,
}

/// What an argument must be: the bits of `mask` as in `value`.
#[derive(Clone, Copy, Debug)]
struct Argument {
    position: u8,
    mask: u32,
    value: u32,
}

/// Programs to be installed one after another; of their answers to a call the strictest counts.
#[derive(Debug)]
pub(super) struct Filter {
    programs: Vec<Program>,
}

#[derive(Debug)]
struct Program {
    steps: Vec<libc::sock_filter>,
    /// Its refusals are told to the kernel's log (type=1326, with the thread and the number of the call).
    logs: bool,
}

impl Filter {
    /// Makes the filter of the process: what any of its threads may do.
    pub(super) fn process(violation: Violation, needs: &Needs<'_>) -> Result<Self, Lack> {
        let (calls, attempted) = lists(needs);
        let refused = Program::new(&attempted, SeccompAction::Allow, refusal(), false)?;
        Ok(Self { programs: vec![refused, allow_only([calls, attempted].concat(), violation)?] })
    }

    /// Makes the filter of the process that looks names up.
    pub(super) fn names(violation: Violation) -> Result<Self, Lack> {
        let mut calls = [calls::common(), calls::control(), calls::names()].concat();
        calls.retain(|call| !calls::beyond_names().contains(&call.number));
        let mut attempted = calls::attempted();
        attempted.retain(|attempt| calls.iter().all(|call| call.number != attempt.number));
        let refused = Program::new(&attempted, SeccompAction::Allow, refusal(), false)?;
        Ok(Self { programs: vec![refused, allow_only([calls, attempted].concat(), violation)?] })
    }

    /// Makes the filter of the threads that carry packets, and of the one that starts them: on top of the process's.
    pub(super) fn packets(violation: Violation) -> Result<Self, Lack> {
        let attempted = calls::attempted();
        let refused = Program::new(&attempted, SeccompAction::Allow, refusal(), false)?;
        Ok(Self { programs: vec![refused, allow_only([calls::common(), attempted].concat(), violation)?] })
    }

    /// Filters the calls of this thread and of those it will start. Needs no_new_privs.
    pub(super) fn install(&self) -> io::Result<()> {
        for Program { steps, logs } in &self.programs {
            // Without it kernels before 5.16 turn off speculative stores in a filtered thread, at a good part of its
            // speed; that is for programs that run the code of others.
            let mut flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
            if *logs {
                flags |= libc::SECCOMP_FILTER_FLAG_LOG;
            }
            match sys::install_filter(steps, flags) {
                // Before Linux 4.17 there are no such flags.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => sys::install_filter(steps, 0)?,
                result => result?,
            }
        }
        Ok(())
    }
}

impl Program {
    fn new(calls: &[Call], others: SeccompAction, these: SeccompAction, logs: bool) -> Result<Self, Lack> {
        let processor = TargetArch::try_from(std::env::consts::ARCH).map_err(|_| Lack::Processor)?;
        let rules = calls.iter().map(rules).collect::<Result<_, _>>()?;
        let program = BpfProgram::try_from(SeccompFilter::new(rules, others, these, processor)?)?;
        let steps =
            program.iter().map(|step| libc::sock_filter { code: step.code, jt: step.jt, jf: step.jf, k: step.k });
        Ok(Self { steps: steps.collect(), logs })
    }
}

/// Returns what the process may do, and what libraries attempt in it in vain.
fn lists(needs: &Needs<'_>) -> (Vec<Call>, Vec<Call>) {
    let mut calls = [calls::common(), calls::control()].concat();
    if needs.peers_directory.is_some() {
        calls.extend(calls::reading());
    }
    let mut attempted = calls::attempted();
    attempted.retain(|attempt| calls.iter().all(|call| call.number != attempt.number));
    (calls, attempted)
}

/// What libraries attempt is to be among `calls`, and another program to refuse it: nothing to be logged, and nothing to be
/// killed for.
fn allow_only(calls: Vec<Call>, violation: Violation) -> Result<Program, Lack> {
    let others = match violation {
        Violation::Refuse => refusal(),
        Violation::Kill => SeccompAction::KillProcess,
    };
    Program::new(&calls, others, SeccompAction::Allow, true)
}

fn refusal() -> SeccompAction {
    SeccompAction::Errno(libc::ENOSYS.cast_unsigned())
}

/// Translates a call to what the library takes: no rule at all means whatever the arguments are.
fn rules(call: &Call) -> Result<(i64, Vec<SeccompRule>), BackendError> {
    let rules =
        call.only.iter().map(|together| SeccompRule::new(together.iter().map(condition).collect::<Result<_, _>>()?));
    Ok((call.number, rules.collect::<Result<_, _>>()?))
}

fn condition(argument: &Argument) -> Result<SeccompCondition, BackendError> {
    let &Argument { position, mask, value } = argument;
    // Numbers, flags and commands all have 32 bits; of the other half the kernel looks at nothing.
    SeccompCondition::new(position, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask.into()), value.into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn needs() -> [Needs<'static>; 2] {
        let nowhere = Path::new("/nowhere");
        [None, Some(nowhere)].map(|peers_directory| Needs {
            socket_directory: nowhere,
            metrics_directory: None,
            peers_directory,
        })
    }

    #[test]
    fn the_lists_make_programs_the_kernel_would_take() {
        for violation in [Violation::Refuse, Violation::Kill] {
            let processes = needs().map(|needs| Filter::process(violation, &needs));
            for filter in processes.into_iter().chain([Filter::packets(violation), Filter::names(violation)]) {
                for program in filter.unwrap().programs {
                    assert!((2..4096).contains(&program.steps.len()), "{}", program.steps.len());
                }
            }
        }
    }

    #[test]
    fn no_call_is_on_a_list_twice() {
        // The later of two entries would silently replace the earlier one.
        for needs in needs() {
            let (calls, attempted) = lists(&needs);
            let mut numbers: Vec<_> = calls.iter().chain(&attempted).map(|call| call.number).collect();
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), all);
        }
    }
}
