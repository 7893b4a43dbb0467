//! The environment variables of the process contract: `wg-quick` passes no options, so they are the only way.
//!
//! `LOG_LEVEL` is in `log`. Source: wireguard-go's main.go, whose variables these are, and wg-quick(8).

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

use rvpn_uapi::Aead;

use super::error::Error;
use super::metrics::listen::{self, Address, METRICS};
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
    /// `RVPN_OFFLOAD=auto|unequal|off`: what of segmentation and checksums is left to the kernel.
    pub offload: Offload,
    /// `RVPN_AEAD=auto|avx512|aws-lc`: how packets are sealed (`pure-rust` in place of `aws-lc` in a build with that).
    pub aead: aead::Choice,
    /// `RVPN_HARDENING=auto|off` or a list of `no-PART` and `kill`: what the daemon gives up once it runs.
    pub hardening: Hardening,
    /// `RVPN_METRICS`: where metrics are served.
    pub metrics: Option<Address>,
    /// `RVPN_RUN_DIR`: where sockets lie, for tests; `wg` looks only where they lie otherwise.
    pub run_dir: Option<PathBuf>,
    /// `NOTIFY_SOCKET`: where a service manager listens.
    pub notify_socket: Option<OsString>,
    /// `WATCHDOG_USEC`: how long the service manager waits for a sign of life, unless `WATCHDOG_PID` is another process.
    pub watchdog: Option<Duration>,
    /// [`UPGRADE`]: this process is to take over from one that runs.
    pub upgrade: bool,
    /// [`HANDOVER`]: this is the process in the background, and its standard input is the one that started it.
    pub handover: bool,
}

/// What of segmentation and checksums is left to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// All that it has and does right.
    Auto,
    /// All but trains of UDP datagrams of one length, which some kernels spoil (see `platform::linux::udp_offload`).
    Unequal,
    /// Nothing.
    Off,
}

/// Set by this program for the process it starts in the background; nobody else has a use for it.
pub const HANDOVER: &str = "RVPN_HANDOVER";
/// Set by `rvpn upgrade` for the process it starts.
pub const UPGRADE: &str = "RVPN_UPGRADE";
/// What a service manager sets for the process it starts, which the process in the background is not.
pub const SUPERVISION: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];
/// See [`Environment::foreground`].
pub const FOREGROUND: &str = "WG_PROCESS_FOREGROUND";
/// See [`Environment::run_dir`].
pub const RUN_DIR: &str = "RVPN_RUN_DIR";
/// See [`Environment::aead`].
pub const AEAD: &str = "RVPN_AEAD";
/// The library for single packets.
pub const AEAD_LIBRARY: Aead =
    if cfg!(all(feature = "aws-lc", not(feature = "pure-rust"))) { Aead::AwsLc } else { Aead::PureRust };

/// Returns what encrypts the packets of this process.
pub fn aead_in_use() -> Aead {
    aead::selected().map_or(AEAD_LIBRARY, |_| Aead::Avx512)
}

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
            offload: var("RVPN_OFFLOAD").map_or(Ok(Offload::Auto), offload)?,
            aead: var(AEAD).map_or(Ok(aead::Choice::Auto), aead_choice)?,
            hardening: var("RVPN_HARDENING").map_or(Ok(Hardening::default()), hardening)?,
            metrics: var(METRICS).map(metrics).transpose()?,
            run_dir: var(RUN_DIR).map(PathBuf::from),
            notify_socket: var("NOTIFY_SOCKET").map(notify_socket).transpose()?,
            watchdog: watchdog(var("WATCHDOG_USEC"), var("WATCHDOG_PID"))?,
            upgrade: var(UPGRADE).is_some(),
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
            offload: Offload::Auto,
            aead: aead::Choice::Auto,
            hardening: Hardening::default(),
            metrics: None,
            run_dir: None,
            notify_socket: None,
            watchdog: None,
            upgrade: false,
            handover: false,
        }
    }
}

fn metrics(value: OsString) -> Result<Address, Error> {
    let address = value.to_str().map_or(Err(listen::EXPECTED), str::parse);
    address.map_err(|expected| Error::Environment { variable: METRICS, value, expected })
}

fn workers(value: OsString) -> Result<usize, Error> {
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| (1..=MAX_WORKERS).contains(number));
    let expected = "expected a number of threads from 1 to 1024; as many as cores without it";
    number.ok_or(Error::Environment { variable: "RVPN_WORKERS", value, expected })
}

const MAX_WORKERS: usize = 1024;

fn offload(value: OsString) -> Result<Offload, Error> {
    let expected = "expected `auto`, `unequal` or `off`";
    match value.to_str() {
        Some("auto") => Ok(Offload::Auto),
        Some("unequal") => Ok(Offload::Unequal),
        Some("off") => Ok(Offload::Off),
        _ => Err(Error::Environment { variable: "RVPN_OFFLOAD", value, expected }),
    }
}

fn aead_choice(value: OsString) -> Result<aead::Choice, Error> {
    match value.to_str() {
        Some("auto") => Ok(aead::Choice::Auto),
        Some(name) if name == Aead::Avx512.as_str() => Ok(aead::Choice::Avx512),
        Some(name) if name == AEAD_LIBRARY.as_str() => Ok(aead::Choice::OneByOne),
        _ if AEAD_LIBRARY == Aead::AwsLc => {
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

fn notify_socket(value: OsString) -> Result<OsString, Error> {
    let is_address = value.as_encoded_bytes().starts_with(b"/") || value.as_encoded_bytes().starts_with(b"@");
    let expected = "expected a path, or an abstract name after `@`";
    if is_address { Ok(value) } else { Err(Error::Environment { variable: "NOTIFY_SOCKET", value, expected }) }
}

fn watchdog(patience: Option<OsString>, process: Option<OsString>) -> Result<Option<Duration>, Error> {
    let number = |variable, value: Option<OsString>, expected| {
        value.map_or(Ok(None), |value| match value.to_str().and_then(|text| text.parse::<u64>().ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(Error::Environment { variable, value, expected }),
        })
    };
    let patience = number("WATCHDOG_USEC", patience, "expected a number of microseconds")?;
    let process = number("WATCHDOG_PID", process, "expected the number of a process")?;
    let is_ours = process.is_none_or(|process| process == u64::from(std::process::id()));
    Ok(patience.filter(|&patience| patience > 0 && is_ours).map(Duration::from_micros))
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
        assert_eq!((environment.workers, environment.offload), (Some(8), Offload::Off));
        assert_eq!(read(&[("RVPN_OFFLOAD", "auto")]).expect("valid").offload, Offload::Auto);
        assert_eq!(read(&[("RVPN_OFFLOAD", "unequal")]).expect("valid").offload, Offload::Unequal);
        for workers in ["0", "1025", "-1", "all"] {
            assert!(read(&[("RVPN_WORKERS", workers)]).is_err_and(|error| error.contains(workers)));
        }
        assert!(read(&[("RVPN_OFFLOAD", "on")]).is_err_and(|error| error.contains("`auto`, `unequal` or `off`")));
    }

    #[test]
    fn what_seals_packets_is_chosen_by_name() {
        let choice = |value| read(&[("RVPN_AEAD", value)]).map(|environment| environment.aead);
        assert_eq!(choice("auto"), Ok(aead::Choice::Auto));
        assert_eq!(choice("avx512"), Ok(aead::Choice::Avx512));
        assert_eq!(choice(AEAD_LIBRARY.as_str()), Ok(aead::Choice::OneByOne));
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
    fn a_watchdog_is_for_the_process_it_names() {
        let own = std::process::id().to_string();
        let watchdog = |process| {
            let variables = [("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", process)];
            read(&variables).map(|environment| environment.watchdog)
        };
        assert_eq!(
            (watchdog(""), watchdog(&own)),
            (Ok(Some(Duration::from_secs(30))), Ok(Some(Duration::from_secs(30))))
        );
        assert_eq!(watchdog("1"), Ok(None));
        assert_eq!(read(&[("WATCHDOG_USEC", "0")]).map(|environment| environment.watchdog), Ok(None));
        assert!(read(&[("WATCHDOG_USEC", "1s")]).is_err_and(|error| error.contains("WATCHDOG_USEC=1s")));
    }

    #[test]
    fn the_service_manager_is_at_a_path_or_an_abstract_name() {
        for name in ["/run/systemd/notify", "@notify"] {
            let environment = read(&[("NOTIFY_SOCKET", name)]).expect("valid");
            assert_eq!(environment.notify_socket, Some(name.into()));
        }
        assert!(read(&[("NOTIFY_SOCKET", "vsock:2:1")]).is_err_and(|error| error.contains("abstract name")));
    }

    #[test]
    fn the_error_names_variable_and_value() {
        for value in ["x", "-1", "99999999999"] {
            let expected = format!("WG_TUN_FD={value}: expected the number of an open file, as in 3");
            assert_eq!(read(&[("WG_TUN_FD", value)]), Err(expected));
        }
    }
}
