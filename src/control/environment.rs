//! The environment variables of the process contract: `wg-quick` passes no options, so they are the only way.
//!
//! `LOG_LEVEL` is in `log`. Source: wireguard-go's main.go, whose variables these are, and wg-quick(8).

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

use rvpn_uapi::Aead;

use super::error::Error;
use super::log::{Format, LOG_FORMAT};
use super::metrics::listen::{self, Address, METRICS};
use super::socket;
use crate::aead;
use crate::platform::linux::hardening::{Hardening, Part, Violation};
use crate::platform::linux::placement::Placement;

/// What the environment asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// `WG_TUN_FD`: an open TUN device.
    pub tun_fd: Option<RawFd>,
    /// `WG_UAPI_FD`: a socket that already listens for `wg`.
    pub uapi_fd: Option<RawFd>,
    /// `LISTEN_FDS`: such a socket from a service manager, which keeps it, unless `LISTEN_PID` is another process.
    pub activated_fd: Option<RawFd>,
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
    /// `LOG_FORMAT=text|json|journal`: the form of the log.
    pub log_format: Format,
    /// `RVPN_RUN_DIR`: where sockets lie, for tests; `wg` looks only where they lie otherwise.
    pub run_dir: Option<PathBuf>,
    /// `RVPN_PEERS_DIR`: the directory with a file for each peer, as an absolute path.
    pub peers_dir: Option<PathBuf>,
    /// `RVPN_LISTEN` and `RVPN_BIND_DEVICE`: where the UDP sockets are bound.
    pub placement: Placement,
    /// `RVPN_NETNS`: the network namespace of the UDP sockets.
    pub netns: Option<String>,
    /// `NOTIFY_SOCKET`: where a service manager listens.
    pub notify_socket: Option<OsString>,
    /// `WATCHDOG_USEC`: how long the service manager waits for a sign of life, unless `WATCHDOG_PID` is another process.
    pub watchdog: Option<Duration>,
    /// [`UPGRADE`]: this process is to take over from one that runs.
    pub upgrade: bool,
    /// [`HOOK`]: a program to be started for each event.
    pub hook: Option<PathBuf>,
    /// [`HOOK_RUNNER`]: this is the process that starts it, and its standard input is the daemon.
    pub runs_hook: bool,
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
/// See [`Environment::hook`].
pub const HOOK: &str = "RVPN_HOOK";
/// Set by this program for the process that starts the hook; nobody else has a use for it.
pub const HOOK_RUNNER: &str = "RVPN_HOOK_RUNNER";
/// What a service manager sets for the process it starts, which the process in the background is not.
pub const SUPERVISION: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", LISTEN_FDS, LISTEN_FDNAMES];
/// See [`Environment::activated_fd`].
pub const LISTEN_FDS: &str = "LISTEN_FDS";
const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";
/// See [`Environment::foreground`].
pub const FOREGROUND: &str = "WG_PROCESS_FOREGROUND";
/// See [`Environment::run_dir`].
pub const RUN_DIR: &str = "RVPN_RUN_DIR";
/// See [`Environment::aead`].
pub const AEAD: &str = "RVPN_AEAD";
/// See [`Environment::peers_dir`].
pub const PEERS_DIR: &str = "RVPN_PEERS_DIR";
/// See [`Environment::placement`].
pub const LISTEN: &str = "RVPN_LISTEN";
/// See [`Environment::placement`].
pub const BIND_DEVICE: &str = "RVPN_BIND_DEVICE";
/// See [`Environment::netns`].
pub const NETNS: &str = "RVPN_NETNS";
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
            activated_fd: activated(&var)?,
            foreground: var(FOREGROUND).is_some_and(|value| value == "1"),
            workers: var("RVPN_WORKERS").map(workers).transpose()?,
            offload: var("RVPN_OFFLOAD").map_or(Ok(Offload::Auto), offload)?,
            aead: var(AEAD).map_or(Ok(aead::Choice::Auto), aead_choice)?,
            hardening: var("RVPN_HARDENING").map_or(Ok(Hardening::default()), hardening)?,
            metrics: var(METRICS).map(metrics).transpose()?,
            log_format: var(LOG_FORMAT).map_or(Ok(Format::Auto), log_format)?,
            run_dir: var(RUN_DIR).map(PathBuf::from),
            peers_dir: var(PEERS_DIR).map(peers_dir).transpose()?,
            placement: placement(var(LISTEN), var(BIND_DEVICE))?,
            netns: var(NETNS).map(netns).transpose()?,
            notify_socket: var("NOTIFY_SOCKET").map(notify_socket).transpose()?,
            watchdog: watchdog(var("WATCHDOG_USEC"), var("WATCHDOG_PID"))?,
            upgrade: var(UPGRADE).is_some(),
            hook: var(HOOK).map(PathBuf::from),
            runs_hook: var(HOOK_RUNNER).is_some(),
            handover: var(HANDOVER).is_some(),
        })
    }

    /// Returns the variables for what may have been said by options instead: the process in the background has none.
    pub fn handed_down(&self) -> Vec<(&'static str, OsString)> {
        let Placement { v4, v6, device } = &self.placement;
        let addresses = [v4.map(|address| address.to_string()), v6.map(|address| address.to_string())];
        let listen = addresses.into_iter().flatten().collect::<Vec<_>>().join(",");
        let variables = [
            (PEERS_DIR, self.peers_dir.as_ref().map(|path| path.clone().into_os_string())),
            (LISTEN, Some(listen.into()).filter(|listen: &OsString| !listen.is_empty())),
            (BIND_DEVICE, device.as_ref().map(OsString::from)),
            (NETNS, self.netns.as_ref().map(OsString::from)),
            (METRICS, self.metrics.as_ref().map(|address| address.to_string().into())),
        ];
        variables.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// Returns the directory in which the sockets lie.
    pub fn socket_directory(&self) -> PathBuf {
        self.run_dir.clone().unwrap_or_else(socket::default_directory)
    }
}

/// Makes the path the same wherever the process goes.
fn peers_dir(value: OsString) -> Result<PathBuf, Error> {
    let expected = "expected a directory";
    std::path::absolute(&value).map_err(|_| Error::Environment { variable: PEERS_DIR, value, expected })
}

fn placement(listen: Option<OsString>, device: Option<OsString>) -> Result<Placement, Error> {
    let mut placement = Placement::default();
    if let Some(value) = listen {
        let text = value.to_str().unwrap_or_default();
        let is_valid = text.split(',').all(|address| match address.trim().parse() {
            Ok(IpAddr::V4(address)) => placement.v4.replace(address).is_none(),
            Ok(IpAddr::V6(address)) => placement.v6.replace(address).is_none(),
            Err(_) => false,
        });
        let expected =
            "expected an address, or one of each family with a comma between them, as in 192.0.2.1,2001:db8::1";
        if !is_valid {
            return Err(Error::Environment { variable: LISTEN, value, expected });
        }
    }
    if let Some(value) = device {
        let name = value.to_str().filter(|name| name.len() <= 15 && name.bytes().all(|byte| byte.is_ascii_graphic()));
        let expected = "expected the name of an interface, as in eth0";
        let name = name.map(str::to_owned);
        placement.device = Some(name.ok_or(Error::Environment { variable: BIND_DEVICE, value, expected })?);
    }
    Ok(placement)
}

fn netns(value: OsString) -> Result<String, Error> {
    let is_name = |name: &&str| !name.contains('/') && *name != "." && *name != "..";
    let expected = "expected a name that `ip netns` lists, or the number of a process";
    let name = value.to_str().filter(is_name).map(str::to_owned);
    name.ok_or(Error::Environment { variable: NETNS, value, expected })
}

/// Without any of the variables.
impl Default for Environment {
    fn default() -> Self {
        Self {
            tun_fd: None,
            uapi_fd: None,
            activated_fd: None,
            foreground: false,
            workers: None,
            offload: Offload::Auto,
            aead: aead::Choice::Auto,
            hardening: Hardening::default(),
            metrics: None,
            log_format: Format::Auto,
            run_dir: None,
            peers_dir: None,
            placement: Placement::default(),
            netns: None,
            notify_socket: None,
            watchdog: None,
            upgrade: false,
            hook: None,
            runs_hook: false,
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

/// Finds the configuration socket among the files that a service manager passes: from number 3 on, `LISTEN_FDS` of them. A
/// single one is it; of several the one that `LISTEN_FDNAMES` calls `uapi`.
///
/// Only that: UDP sockets are bound anew whenever port, mark or interface change, and could not be kept from here.
fn activated(var: &impl Fn(&str) -> Option<OsString>) -> Result<Option<RawFd>, Error> {
    let number = |variable, expected| {
        let number = |value: OsString| {
            let parsed = value.to_str().and_then(|text| text.parse::<u32>().ok());
            parsed.ok_or(Error::Environment { variable, value, expected })
        };
        var(variable).map(number).transpose()
    };
    let process = number("LISTEN_PID", "expected the number of a process")?;
    let count = number(LISTEN_FDS, "expected a number of files")?.unwrap_or_default();
    if process != Some(std::process::id()) || count == 0 {
        return Ok(None);
    }
    let names = var(LISTEN_FDNAMES).unwrap_or_default();
    let named = names.to_str().unwrap_or_default().split(':').position(|name| name == "uapi");
    let place = if count == 1 { Some(0) } else { named.filter(|&place| place < count as usize) };
    let expected = "expected one file, or one that is called `uapi` (FileDescriptorName=uapi in the socket unit)";
    let place = place.ok_or(Error::Environment { variable: LISTEN_FDNAMES, value: names, expected })?;
    Ok(Some(FIRST_PASSED + place as RawFd))
}

/// SD_LISTEN_FDS_START.
const FIRST_PASSED: RawFd = 3;

fn log_format(value: OsString) -> Result<Format, Error> {
    let expected = "expected `text`, `json` or `journal`";
    Format::parse(&value).ok_or(Error::Environment { variable: LOG_FORMAT, value, expected })
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
    fn options_are_handed_down_as_they_were_read() {
        let variables = [
            ("RVPN_PEERS_DIR", "/etc/rvpn/wg0.d"),
            ("RVPN_LISTEN", "192.0.2.1,2001:db8::1"),
            ("RVPN_BIND_DEVICE", "eth0"),
            ("RVPN_NETNS", "uplink"),
        ];
        let environment = read(&variables).expect("valid");
        let expected = variables.map(|(name, value)| (name, OsString::from(value)));
        assert_eq!(environment.handed_down(), expected);
        assert_eq!(read(&[]).expect("valid").handed_down(), []);
        assert!(read(&[("RVPN_PEERS_DIR", "here")]).expect("valid").peers_dir.is_some_and(|path| path.is_absolute()));
    }

    #[test]
    fn sockets_are_placed_where_there_can_be_some() {
        let both = read(&[("RVPN_LISTEN", "2001:db8::1, 192.0.2.1")]).expect("valid").placement;
        assert!(both.v4.is_some() && both.v6.is_some());
        for listen in ["", "x", "192.0.2.1,192.0.2.2", "192.0.2.1:51820", "[::1]", "192.0.2.1,"] {
            let refusal = read(&[("RVPN_LISTEN", listen)]);
            assert!(listen.is_empty() || refusal.is_err_and(|error| error.contains("expected an address")), "{listen}");
        }
        assert!(read(&[("RVPN_BIND_DEVICE", "sixteen-letters-")]).is_err());
        assert!(read(&[("RVPN_NETNS", "../ns")]).is_err_and(|error| error.contains("`ip netns`")));
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
    fn the_configuration_socket_is_found_among_passed_files() {
        let own = std::process::id().to_string();
        let passed = |process: &str, count, names| {
            let variables = [("LISTEN_PID", process), ("LISTEN_FDS", count), ("LISTEN_FDNAMES", names)];
            read(&variables).map(|environment| environment.activated_fd)
        };
        assert_eq!(passed(&own, "1", "rvpn@wg0.socket"), Ok(Some(3)));
        assert_eq!(passed(&own, "3", "other:uapi:x"), Ok(Some(4)));
        assert_eq!(passed("1", "1", ""), Ok(None), "for another process");
        assert_eq!(passed("", "1", ""), Ok(None));
        assert_eq!(passed(&own, "0", ""), Ok(None));
        for names in ["", "a:b", "a:b:uapi"] {
            assert!(passed(&own, "2", names).is_err_and(|error| error.contains("FileDescriptorName=uapi")), "{names}");
        }
        assert!(passed(&own, "many", "").is_err_and(|error| error.starts_with("LISTEN_FDS=many: ")));
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
