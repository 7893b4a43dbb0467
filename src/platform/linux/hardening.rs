//! What a running daemon gives up: what it does not need to carry packets and to be configured, it cannot do any more.
//!
//! ```text
//!   main ── confine_process: dumps, memory, capabilities (two are kept), landlock, seccomp
//!     ├── rvpn-link, rvpn-apply                          with the two
//!     ├── rvpn-routes                                    release_privileges
//!     ├── (a thread that starts the next and ends)       confined: no capability, the short list of system calls
//!     │     └── packets, worker-N, handshakes, deadlines
//!     ├── release_privileges
//!     └── rvpn-uapi
//! ```
//!
//! A thread inherits what the one that starts it has, so that none can forget to give something up, and the data plane
//! knows nothing of all this.
//!
//! Threads share their memory: who runs code of his own in one can steer another. The line that holds is that of the
//! process; the shorter lists of single threads are a second one.
//!
//! Not here: what the operator asked for (`control::environment`), wiping keys (whoever holds one).
//!
//! Sources: capabilities(7), seccomp(2), landlock(7), prctl(2), mlockall(2).

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustix::thread::CapabilitySet;

use self::seccomp::Filter;

mod capabilities;
mod landlock;
mod memory;
mod seccomp;

/// What is asked for. By default all of it, as far as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardening {
    parts: [bool; Part::ALL.len()],
    violation: Violation,
}

/// One thing to give up, with a switch for kernels and containers in which that does harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Core dumps and being looked into by other processes of the same user.
    Dumps,
    /// Swapping: all memory stays where it is, with the keys in it.
    Memory,
    /// All capabilities but two, and these in all threads but two.
    Capabilities,
    /// Files, TCP, signals and abstract sockets.
    Landlock,
    /// System calls beyond a list.
    Seccomp,
}

/// What happens to a thread that makes a system call that is not on its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// It is told that there is no such call (ENOSYS), which every C library takes for an older kernel and gets along
    /// with. Killing instead would turn an update of the C library into an outage, and stops an intruder no better.
    Refuse,
    /// The process ends (SIGSYS): for tests, so that a call missing from a list is noticed.
    Kill,
}

/// What this run must be able to do beyond carrying packets and being configured. Whoever gives the daemon another task
/// (names to resolve, programs to start) says so here, and the parts follow.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a> {
    /// The directory from which the socket is removed in the end.
    pub socket_directory: &'a Path,
    /// The directory from which the socket for metrics is removed in the end, if it is in one.
    pub metrics_directory: Option<&'a Path>,
    /// A directory whose files are read while it runs.
    pub peers_directory: Option<&'a Path>,
}

impl Part {
    /// All parts, in the order in which they take effect: each leaves the next what it needs.
    pub const ALL: [Self; 5] = [Self::Dumps, Self::Memory, Self::Capabilities, Self::Landlock, Self::Seccomp];

    /// Returns the word for it, in the environment and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dumps => "dumps",
            Self::Memory => "memory",
            Self::Capabilities => "capabilities",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }
}

impl Default for Hardening {
    fn default() -> Self {
        Self { parts: [true; Part::ALL.len()], violation: Violation::Refuse }
    }
}

impl Hardening {
    /// Nothing is given up.
    pub const OFF: Self = Self { parts: [false; Part::ALL.len()], violation: Violation::Refuse };

    /// Returns the same without `part`.
    #[must_use]
    pub const fn without(mut self, part: Part) -> Self {
        self.parts[part as usize] = false;
        self
    }

    /// Returns the same with another answer to violations.
    #[must_use]
    pub const fn on_violation(mut self, violation: Violation) -> Self {
        self.violation = violation;
        self
    }

    /// Gives up what this thread and all it will start need no more. To be called once, before other threads run and
    /// after everything is open that needs privileges, except UDP sockets.
    ///
    /// A part that cannot be had is no error: the result tells.
    pub fn confine_process(self, needs: &Needs<'_>) -> Confined {
        let mut packets = None;
        let outcomes = Part::ALL.map(|part| {
            if !self.parts[part as usize] {
                return Err(Lack::Off);
            }
            match part {
                Part::Dumps => memory::forbid_dumps(),
                Part::Memory => memory::lock(),
                Part::Capabilities => no_new_privileges().and_then(|()| capabilities::keep_two()),
                Part::Landlock => no_new_privileges().and_then(|()| landlock::confine(needs)),
                Part::Seccomp => no_new_privileges().and_then(|()| {
                    packets = Some(Arc::new(Filter::packets(self.violation)?));
                    Filter::process(self.violation, needs)?.install()?;
                    Ok(match self.violation {
                        Violation::Refuse => "refuses",
                        Violation::Kill => "kills",
                    }
                    .to_owned())
                }),
            }
        });
        if outcomes[Part::Seccomp as usize].is_err() {
            packets = None;
        }
        Confined { outcomes: Arc::new(outcomes), packets }
    }

    /// Gives up what the process that looks names up needs no more: it has no keys, reads files, and asks name servers.
    pub fn confine_names(self) -> Confined {
        let outcomes = Part::ALL.map(|part| {
            if !self.parts[part as usize] {
                return Err(Lack::Off);
            }
            match part {
                Part::Dumps => memory::forbid_dumps(),
                // Nothing in it is a secret.
                Part::Memory => Err(Lack::Off),
                Part::Capabilities => no_new_privileges().and_then(|()| capabilities::keep_one()),
                Part::Landlock => no_new_privileges().and_then(|()| landlock::confine_names()),
                Part::Seccomp => no_new_privileges().and_then(|()| {
                    Filter::names(self.violation)?.install()?;
                    Ok("refuses or kills".to_owned())
                }),
            }
        });
        Confined { outcomes: Arc::new(outcomes), packets: None }
    }
}

/// A process that has given up what it could.
#[derive(Clone, Debug)]
pub struct Confined {
    outcomes: Arc<[Result<String, Lack>; Part::ALL.len()]>,
    /// The filter of the threads that carry packets, if there are filters.
    packets: Option<Arc<Filter>>,
}

impl Confined {
    /// Runs `start` on a thread that has no capabilities and may do little beyond carrying packets, and that ends then.
    /// The threads it starts are as it is.
    ///
    /// # Errors
    /// The OS's, if it has no room for a thread or does not do what it did for the process.
    ///
    /// # Panics
    /// If `start` does.
    pub fn confined<R: Send>(&self, start: impl FnOnce() -> R + Send) -> io::Result<R> {
        thread::scope(|scope| {
            let starter = thread::Builder::new().spawn_scoped(scope, || {
                self.release_privileges()?;
                if let Some(filter) = &self.packets {
                    filter.install()?;
                }
                Ok(start())
            })?;
            starter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Takes the capabilities from the calling thread and those it will start.
    ///
    /// # Errors
    /// None that can happen: less is always allowed.
    pub fn release_privileges(&self) -> io::Result<()> {
        if self.holds(Part::Capabilities) {
            capabilities::keep(CapabilitySet::empty())?;
        }
        Ok(())
    }

    /// Tells whether `part` has been given up.
    pub fn holds(&self, part: Part) -> bool {
        self.outcomes[part as usize].is_ok()
    }
}

/// One line: what holds, then what does not, and why.
impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = || Part::ALL.into_iter().map(Part::name).zip(&*self.outcomes);
        f.write_str("holds")?;
        if !Part::ALL.into_iter().any(|part| self.holds(part)) {
            f.write_str(" nothing")?;
        }
        for (name, outcome) in parts() {
            if let Ok(how) = outcome {
                write!(f, " {name} ({how})")?;
            }
        }
        for (name, outcome) in parts() {
            if let Err(lack) = outcome {
                write!(f, "; not {name}: {lack}")?;
            }
        }
        Ok(())
    }
}

/// Why a part does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Lack {
    /// The operator wants it so.
    #[error("switched off")]
    Off,
    /// The kernel, as it was built or started, does not have it.
    #[error("this kernel has none; {0}")]
    Kernel(&'static str),
    /// The list of system calls is written for other processors.
    #[error("the numbers of the system calls are not known for this processor")]
    Processor,
    /// Memory that may be locked is limited, and what is allocated later would not fit.
    #[error(
        "at most {0} bytes may be locked: RLIMIT_MEMLOCK must be infinite (LimitMEMLOCK=infinity in a systemd unit)"
    )]
    MemoryLimit(u64),
    /// The filter cannot be made.
    #[error("the filter cannot be made: {0}")]
    Filter(#[from] seccompiler::BackendError),
    /// The rules cannot be made.
    #[error("{0}")]
    Rules(#[from] ::landlock::RulesetError),
    /// The directory of the socket cannot be named in a rule.
    #[error("{0}")]
    Path(#[from] ::landlock::PathFdError),
    /// The OS refused.
    #[error("{0}")]
    Os(#[from] io::Error),
}

impl From<rustix::io::Errno> for Lack {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Os(error.into())
    }
}

/// Without it, a program started from here could get back by its file what was given up; and the kernel takes neither
/// filters nor Landlock rules from a process that does not promise it. Never undone.
fn no_new_privileges() -> Result<(), Lack> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(outcomes: [Result<String, Lack>; 5]) -> String {
        Confined { outcomes: Arc::new(outcomes), packets: None }.to_string()
    }

    #[test]
    fn the_log_says_what_holds_and_why_the_rest_does_not() {
        let holds = |how: &str| Ok(how.to_owned());
        let line = told([
            holds("none"),
            Err(Lack::MemoryLimit(8192)),
            holds("CAP_NET_ADMIN"),
            Err(Lack::Off),
            holds("refuses"),
        ]);
        assert!(
            line.starts_with(
                "holds dumps (none) capabilities (CAP_NET_ADMIN) seccomp (refuses); not memory: at most 8192 bytes"
            ),
            "{line}"
        );
        assert!(line.ends_with("; not landlock: switched off"), "{line}");
        let nothing = told(std::array::from_fn(|_| Err(Lack::Off)));
        assert!(nothing.starts_with("holds nothing; not dumps: switched off"), "{nothing}");
    }

    #[test]
    fn what_is_switched_off_is_left_alone() {
        let confined = Hardening::OFF.confine_process(&Needs {
            socket_directory: Path::new("/nowhere"),
            metrics_directory: None,
            peers_directory: None,
        });
        assert!(Part::ALL.into_iter().all(|part| !confined.holds(part)));
        let permitted = || rustix::thread::capabilities(None).unwrap().permitted;
        let before = permitted();
        assert_eq!(confined.confined(permitted).unwrap(), before);
    }

    #[test]
    fn each_part_has_a_switch_of_its_own() {
        for part in Part::ALL {
            let without = Hardening::default().without(part);
            assert_eq!(without.parts.iter().filter(|&&on| !on).count(), 1, "{}", part.name());
            assert_eq!(Part::ALL[part as usize], part);
        }
    }
}
