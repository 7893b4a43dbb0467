//! Why a tunnel is not brought up, down or changed, as sentences.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::control::client::ClientError;
use crate::control::config::ConfigError;
use crate::control::error::reason;

/// Why a command of wg-quick fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuickError {
    /// There is no such file.
    #[error("{}: there is no such file{hint}", path.display())]
    NoFile {
        /// Where it was looked for.
        path: PathBuf,
        /// What may have been meant; or nothing.
        hint: String,
    },
    /// The file's name does not give an interface one.
    #[error("{}: the file is to be called as the interface, of 1 to 15 letters, digits and _=+.-, and then .conf", path.display())]
    FileName {
        /// The file.
        path: PathBuf,
    },
    /// A file, or a directory for one, cannot be read or written.
    #[error("{}: cannot {action} it: {}", path.display(), reason(source))]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file names a table that nothing says the number of.
    #[error("Table = {name}: no file of /etc/iproute2/rt_tables says which number that is")]
    UnknownTable {
        /// The name.
        name: String,
    },
    /// There is an interface of this name that `up` has not made.
    #[error("{interface} already exists, and `rvpn up` has not made it")]
    Exists {
        /// The interface.
        interface: String,
    },
    /// It is up, or was left half up or down.
    #[error("{interface} is up; `rvpn reload {interface}` applies a changed file, `rvpn down {interface}` ends it")]
    IsUp {
        /// The interface.
        interface: String,
    },
    /// It was brought up where this process cannot reach it.
    #[error(
        "{interface} was brought up in another network namespace; use this command there; if that namespace is no more, \
         remove {}", path.display()
    )]
    Elsewhere {
        /// The interface.
        interface: String,
        /// The file that says so.
        path: PathBuf,
    },
    /// Nothing is known of it.
    #[error("{interface}: `rvpn up` has not brought it up")]
    IsNotUp {
        /// The interface.
        interface: String,
    },
    /// Another process works on it.
    #[error("{interface}: another rvpn is about to bring it up or down; try again when that has ended")]
    Busy {
        /// The interface.
        interface: String,
    },
    /// The kernel cannot be asked.
    #[error("cannot ask the kernel about {what}: {}", reason(source))]
    Ask {
        /// About what.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A step failed, and those before it were undone.
    #[error("{interface}: {step}: {why}; all that was done before is undone")]
    Undone {
        /// The interface.
        interface: String,
        /// The step.
        step: String,
        /// Why it failed.
        why: String,
    },
    /// A step failed, and not all of those before it could be undone.
    #[error("{interface}: {step}: {why}; what was done before could not all be undone; try `rvpn down {interface}`")]
    NotUndone {
        /// The interface.
        interface: String,
        /// The step.
        step: String,
        /// Why it failed.
        why: String,
    },
    /// Something that `up` made is still there.
    #[error("{interface}: {left} of the changes could not be undone; `rvpn down {interface}` tries again")]
    Left {
        /// The interface.
        interface: String,
        /// How many.
        left: usize,
    },
    /// A signal came before all was done.
    #[error("{interface}: interrupted; all that was done before is undone")]
    Interrupted {
        /// The interface.
        interface: String,
    },
    /// A step of a reload failed.
    #[error("{interface}: {step}: {why}; what was changed before that stays changed")]
    HalfReloaded {
        /// The interface.
        interface: String,
        /// The step.
        step: String,
        /// Why it failed.
        why: String,
    },
    /// A file has another mark for encrypted packets, and rules or the kill switch ask for the present one.
    #[error(
        "{interface}: the mark of encrypted packets cannot change from {old} to {new} while all traffic depends on it; \
         use `rvpn down {interface}` and `rvpn up {interface}`"
    )]
    MarkChanges {
        /// The interface.
        interface: String,
        /// The present mark.
        old: u32,
        /// That of the file.
        new: u32,
    },
    /// A command of the file failed.
    #[error("{interface}: `{command}` {why}")]
    Hook {
        /// The interface.
        interface: String,
        /// The command.
        command: String,
        /// How it ended.
        why: String,
    },
    /// Its process was killed, or somebody deleted it.
    #[error(
        "{interface} has gone, though it was not brought down; use `rvpn down {interface}` and `rvpn up {interface}`"
    )]
    LinkIsGone {
        /// The interface.
        interface: String,
    },
    /// The file, or the address of an endpoint.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The interface cannot be configured or asked.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The text of an error of the kernel, with the way out if a right is missing.
pub(super) fn why(error: &io::Error) -> String {
    // EACCES comes to root too.
    match error.raw_os_error() == Some(Errno::PERM.raw_os_error()) {
        true => format!("{}: run it as root", reason(error)),
        false => reason(error),
    }
}

/// The same, for an address of `interface`: EACCES is how the kernel says that IPv6 is switched off.
pub(super) fn why_no_address(error: &io::Error, address: IpAddr, interface: &str) -> String {
    match error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) && address.is_ipv6() {
        true => {
            format!("{}: IPv6 is switched off by sysctl net.ipv6.conf.{interface}.disable_ipv6", reason(error))
        }
        false => why(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_is_that_of_the_error() {
        let error = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(why(&error(Errno::PERM)).ends_with("run it as root"));
        assert!(!why(&error(Errno::ACCESS)).contains("root"));
        let why_no = |errno, address: &str| why_no_address(&error(errno), address.parse().expect("one"), "wg0");
        assert!(why_no(Errno::ACCESS, "fd00::1").ends_with("net.ipv6.conf.wg0.disable_ipv6"));
        assert!(!why_no(Errno::ACCESS, "10.0.0.1").contains("sysctl") && why_no(Errno::PERM, "::").contains("root"));
    }
}
