//! A program for each event: `--hook PROGRAM`.
//!
//! ```text
//!   daemon (may start nothing, open nothing)        rvpn-hooks (this program again)            PROGRAM
//!   Feed ── lines of JSON over a socketpair ──────► 4 at once, a peer's one after another ──► 10 s, then ended
//! ```
//! A daemon with keys can start no program (see `platform::linux::hardening`), and that shall stay so. So a process of
//! its own does, begun before the daemon gives that up: it has no key, no descriptor but its end of the socket and
//! standard output and error, and never more privileges than the daemon was started with. It ends when the daemon
//! does, however that ends: its end of the socket is closed then. To the daemon it is a reader of events like
//! `rvpn monitor`, and waited for as little. The alternative, one daemon that may exec, would leave the one door
//! open through which everything can be had.
//!
//! Not here: which events there are (see `dataplane::events`), commands of a file's `PostUp` (see `quick::hooks`).

mod runner;
mod turns;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{self, Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

pub use self::runner::run;
use super::asks::Feed;
use super::environment::{Environment, FOREGROUND, HANDOVER, HOOK, HOOK_RUNNER, SUPERVISION, UPGRADE};
use super::error::Error;
use super::interface::InterfaceName;
use super::upgrade::UNTIL_UPGRADE;
use crate::dataplane::events::Events;

/// The process that starts the program, as the daemon sees it. It ends when this is dropped.
#[derive(Debug)]
pub struct Hook {
    stream: UnixStream,
}

impl Hook {
    /// Starts the process that will start `program` for each event of `interface`.
    ///
    /// # Errors
    /// [`Error::Start`].
    pub fn start(program: &Path, interface: &InterfaceName) -> Result<Self, Error> {
        let start = |source| Error::Start { action: "start the process that runs the hook", source };
        let (stream, theirs) = UnixStream::pair().map_err(start)?;
        stream.set_nonblocking(true).map_err(start)?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("rvpn-hooks")
            .args(["--", interface.as_str()])
            .env(HOOK_RUNNER, "1")
            .env(HOOK, program)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::inherit())
            .current_dir("/");
        for variable in [FOREGROUND, HANDOVER, UPGRADE, "WG_TUN_FD", "WG_UAPI_FD"].into_iter().chain(SUPERVISION) {
            command.env_remove(variable);
        }
        // Nobody waits for it: what it does not do is its log to tell, and it outlives nobody.
        command.spawn().map_err(start)?;
        Ok(Self { stream })
    }

    /// Begins to queue events; what is returned passes them on. To be called in a tokio runtime.
    ///
    /// # Errors
    /// The OS's.
    pub fn follow(self, events: &Arc<Events>) -> io::Result<impl Future<Output = ()> + use<>> {
        let feed = Feed::new(events);
        let stream = tokio::net::UnixStream::from_std(self.stream)?;
        Ok(async move {
            let ended = feed.run(stream).await;
            let reason = ended.err().map_or_else(String::new, |error| format!(" ({error})"));
            tracing::error!("The process that runs the hook has ended{reason}: no more hooks {UNTIL_UPGRADE}");
        })
    }
}

/// Starts the process for the hook that the environment names, if it names one.
///
/// # Errors
/// [`Error::Hook`] or [`Error::Start`].
pub fn find_and_start(environment: &Environment, interface: &InterfaceName) -> Result<Option<Hook>, Error> {
    let program = environment.hook.as_deref().map(find).transpose()?;
    program.map(|program| Hook::start(&program, interface)).transpose()
}

/// Returns where `program` is, whatever the working directory will be.
///
/// # Errors
/// [`Error::Hook`] if there is no program.
pub fn find(program: &Path) -> Result<PathBuf, Error> {
    let failed = |source| Error::Hook { program: program.to_owned(), source };
    let absolute = path::absolute(program).map_err(failed)?;
    let found = std::fs::metadata(&absolute).map_err(failed)?;
    if !found.is_file() || found.permissions().mode() & 0o111 == 0 {
        return Err(failed(io::ErrorKind::PermissionDenied.into()));
    }
    Ok(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::log::tests::Captured;

    #[tokio::test]
    async fn that_the_process_has_ended_is_told_with_the_way_out() {
        let (stream, theirs) = UnixStream::pair().expect("a pair");
        stream.set_nonblocking(true).expect("an option");
        drop(theirs);
        let log = Captured::new();
        Hook { stream }.follow(&Arc::default()).expect("a runtime").await;
        let text = log.text();
        assert!(text.contains("no more hooks until `rvpn upgrade INTERFACE`") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn a_hook_is_a_program_that_is_there() {
        assert_eq!(find(Path::new("/bin/sh")).expect("a program"), Path::new("/bin/sh"));
        for (program, reason) in
            [("/etc/passwd", "permission denied"), ("/etc", "permission denied"), ("no/such", "no such")]
        {
            let error = find(Path::new(program)).expect_err("no program").to_string();
            assert!(
                error.starts_with(&format!("hook {program}: ")) && error.to_lowercase().contains(reason),
                "{error}"
            );
        }
    }
}
