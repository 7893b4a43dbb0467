//! The environment variables of the process contract: `wg-quick` passes no options, so they are the only way.
//!
//! `LOG_LEVEL` is in `log`. Source: wireguard-go's main.go, whose variables these are, and wg-quick(8).

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

use super::error::Error;
use super::socket;
use crate::aead;
use crate::platform::linux::hardening::{Hardening, Part, Violation};

/// What the environment asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// `WG_TUN_FD`: an open TUN device.
    pub tun_fd: Option<RawFd>,
    /// `WG_UAPI_FD`: a socket that already listens for `wg`.
    pub uapi_fd: Option<RawFd>,
    /// `WG_PROCESS_FOREGROUND=1`: stay in the foreground.
    pub foreground: bool,
    /// `RVPN_WORKERS`: how many threads carry packets; `None`: as many as there are cores.
    pub workers: Option<usize>,
    /// `RVPN_OFFLOAD=auto|off`: whether segmentation and checksums are left to the kernel where it can.
    pub offload: bool,
    /// `RVPN_AEAD=auto|avx512|aws-lc`: how packets are sealed (`pure-rust` in place of `aws-lc` in a build with that).
    pub aead: aead::Choice,
    /// `RVPN_HARDENING=auto|off` or a list of `no-PART` and `kill`: what the daemon gives up once it runs.
    pub hardening: Hardening,
    /// `RVPN_RUN_DIR`: where sockets lie, for tests; `wg` looks only where they lie otherwise.
    pub run_dir: Option<PathBuf>,
    /// [`HANDOVER`]: this is the process in the background, and its standard input is the one that started it.
    pub handover: bool,
}

/// Set by this program for the process it starts in the background; nobody else has a use for it.
pub const HANDOVER: &str = "RVPN_HANDOVER";
/// See [`Environment::foreground`].
pub const FOREGROUND: &str = "WG_PROCESS_FOREGROUND";
/// See [`Environment::run_dir`].
pub const RUN_DIR: &str = "RVPN_RUN_DIR";
/// See [`Environment::aead`].
pub const AEAD: &str = "RVPN_AEAD";
/// What the library for single packets is called.
pub const AEAD_LIBRARY: &str =
    if cfg!(all(feature = "aws-lc", not(feature = "pure-rust"))) { "aws-lc" } else { "pure-rust" };

impl Environment {
    /// Reads the variables through `var`. An empty one counts as not set.
    ///
    /// # Errors
    /// [`Error::Environment`] for a value that the variable cannot have.
    pub fn read(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let fd = |variable| var(variable).map(|value| file_number(variable, value)).transpose();
        Ok(Self {
            tun_fd: fd("WG_TUN_FD")?,
            uapi_fd: fd("WG_UAPI_FD")?,
            foreground: var(FOREGROUND).is_some_and(|value| value == "1"),
            workers: var("RVPN_WORKERS").map(workers).transpose()?,
            offload: var("RVPN_OFFLOAD").map_or(Ok(true), offload)?,
            aead: var(AEAD).map_or(Ok(aead::Choice::Auto), aead_choice)?,
            hardening: var("RVPN_HARDENING").map_or(Ok(Hardening::default()), hardening)?,
            run_dir: var(RUN_DIR).map(PathBuf::from),
            handover: var(HANDOVER).is_some(),
        })
    }

    /// Returns the directory in which the sockets lie.
    pub fn socket_directory(&self) -> PathBuf {
        self.run_dir.clone().unwrap_or_else(socket::default_directory)
    }
}

/// Without any of the variables.
impl Default for Environment {
    fn default() -> Self {
        Self {
            tun_fd: None,
            uapi_fd: None,
            foreground: false,
            workers: None,
            offload: true,
            aead: aead::Choice::Auto,
            hardening: Hardening::default(),
            run_dir: None,
            handover: false,
        }
    }
}

fn workers(value: OsString) -> Result<usize, Error> {
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| (1..=MAX_WORKERS).contains(number));
    let expected = "expected a number of threads from 1 to 1024; as many as cores without it";
    number.ok_or(Error::Environment { variable: "RVPN_WORKERS", value, expected })
}

const MAX_WORKERS: usize = 1024;

fn offload(value: OsString) -> Result<bool, Error> {
    match value.to_str() {
        Some("auto") => Ok(true),
        Some("off") => Ok(false),
        _ => Err(Error::Environment { variable: "RVPN_OFFLOAD", value, expected: "expected `auto` or `off`" }),
    }
}

fn aead_choice(value: OsString) -> Result<aead::Choice, Error> {
    match value.to_str() {
        Some("auto") => Ok(aead::Choice::Auto),
        Some("avx512") => Ok(aead::Choice::Avx512),
        Some(AEAD_LIBRARY) => Ok(aead::Choice::OneByOne),
        _ if AEAD_LIBRARY == "aws-lc" => {
            Err(Error::Environment { variable: AEAD, value, expected: "expected `auto`, `avx512` or `aws-lc`" })
        }
        _ => Err(Error::Environment { variable: AEAD, value, expected: "expected `auto`, `avx512` or `pure-rust`" }),
    }
}

fn hardening(value: OsString) -> Result<Hardening, Error> {
    let without = |hardening: Hardening, word: &str| {
        let name = word.strip_prefix("no-")?;
        Part::ALL.into_iter().find(|part| part.name() == name).map(|part| hardening.without(part))
    };
    let hardening = match value.to_str() {
        Some("auto") => Some(Hardening::default()),
        Some("off") => Some(Hardening::OFF),
        list => list.and_then(|list| {
            list.split(',').try_fold(Hardening::default(), |hardening, word| match word {
                "kill" => Some(hardening.on_violation(Violation::Kill)),
                word => without(hardening, word),
            })
        }),
    };
    let expected = "expected `auto`, `off`, or a list of `no-dumps`, `no-memory`, `no-capabilities`, `no-landlock`, \
                    `no-seccomp`, `kill`, separated by commas";
    hardening.ok_or(Error::Environment { variable: "RVPN_HARDENING", value, expected })
}

fn file_number(variable: &'static str, value: OsString) -> Result<RawFd, Error> {
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|&number| number >= 0);
    number.ok_or(Error::Environment { variable, value, expected: "expected the number of an open file, as in 3" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, String> {
        Environment::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        assert_eq!(read(&[]), Ok(Environment::default()));
        assert_eq!(read(&[("WG_TUN_FD", ""), ("WG_PROCESS_FOREGROUND", "")]), Ok(Environment::default()));
    }

    #[test]
    fn files_are_numbers_and_the_foreground_is_one() {
        let environment = read(&[("WG_TUN_FD", "3"), ("WG_UAPI_FD", "4"), ("WG_PROCESS_FOREGROUND", "1")]);
        let expected = Environment { tun_fd: Some(3), uapi_fd: Some(4), foreground: true, ..Environment::default() };
        assert_eq!(environment, Ok(expected));
        assert_eq!(read(&[("WG_PROCESS_FOREGROUND", "0")]), Ok(Environment::default()));
    }

    #[test]
    fn workers_and_offloads_are_told_apart_from_nonsense() {
        let environment = read(&[("RVPN_WORKERS", "8"), ("RVPN_OFFLOAD", "off")]).expect("valid");
        assert_eq!((environment.workers, environment.offload), (Some(8), false));
        assert!(read(&[("RVPN_OFFLOAD", "auto")]).expect("valid").offload);
        for workers in ["0", "1025", "-1", "all"] {
            assert!(read(&[("RVPN_WORKERS", workers)]).is_err_and(|error| error.contains(workers)));
        }
        assert!(read(&[("RVPN_OFFLOAD", "on")]).is_err_and(|error| error.contains("`auto` or `off`")));
    }

    #[test]
    fn what_seals_packets_is_chosen_by_name() {
        let choice = |value| read(&[("RVPN_AEAD", value)]).map(|environment| environment.aead);
        assert_eq!(choice("auto"), Ok(aead::Choice::Auto));
        assert_eq!(choice("avx512"), Ok(aead::Choice::Avx512));
        assert_eq!(choice(AEAD_LIBRARY), Ok(aead::Choice::OneByOne));
        let refusal = format!("RVPN_AEAD=sse: expected `auto`, `avx512` or `{AEAD_LIBRARY}`");
        assert_eq!(choice("sse"), Err(refusal));
    }

    #[test]
    fn each_part_of_the_hardening_can_be_left_out() {
        let hardening = |value: &str| read(&[("RVPN_HARDENING", value)]).map(|environment| environment.hardening);
        assert_eq!(hardening("auto"), Ok(Hardening::default()));
        assert_eq!(hardening("off"), Ok(Hardening::OFF));
        let list = Hardening::default().without(Part::Seccomp).without(Part::Landlock).on_violation(Violation::Kill);
        assert_eq!(hardening("no-seccomp,kill,no-landlock"), Ok(list));
        for part in Part::ALL {
            let name = format!("no-{}", part.name());
            assert_eq!(hardening(&name), Ok(Hardening::default().without(part)));
            let refusal = hardening("on").expect_err("no such word");
            assert!(refusal.starts_with("RVPN_HARDENING=on: ") && refusal.contains(&format!("`{name}`")), "{refusal}");
        }
        for nonsense in ["no-", "seccomp", "off,no-seccomp", "no-seccomp,", "no-seccomp no-memory"] {
            assert!(hardening(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn the_error_names_variable_and_value() {
        for value in ["x", "-1", "99999999999"] {
            let expected = format!("WG_TUN_FD={value}: expected the number of an open file, as in 3");
            assert_eq!(read(&[("WG_TUN_FD", value)]), Err(expected));
        }
    }
}
