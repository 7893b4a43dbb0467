//! The program `resolvconf`, in the way wg-quick uses it: the servers of a tunnel and no others.
//!
//! Source: wg-quick(8); resolvconf(8) of openresolv and of Debian, whose list of interfaces gives names a prefix.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::control::error::reason;
use crate::control::quick::hooks::program;

pub(super) fn is_there() -> bool {
    program(PROGRAM).is_some()
}

/// Tells of `text`, lines of resolv.conf.
pub(super) fn add(interface: &str, text: &str) -> Result<(), String> {
    run(&["-a", &record(interface), "-m", "0", "-x"], text)
}

pub(super) fn remove(interface: &str) -> Result<(), String> {
    run(&["-d", &record(interface), "-f"], "")
}

fn run(arguments: &[&str], input: &str) -> Result<(), String> {
    let failed = |error| format!("cannot run {PROGRAM}: {}", reason(&error));
    let mut child = Command::new(PROGRAM).args(arguments).stdin(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read its input says why by its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let status = child.wait().map_err(failed)?;
    if status.success() { Ok(()) } else { Err(format!("{PROGRAM} ended with {status}")) }
}

/// The name under which it is listed: interfaces of tunnels come first where Debian's resolvconf has an order.
fn record(interface: &str) -> String {
    let order = fs::read_to_string("/etc/resolvconf/interface-order").unwrap_or_default();
    format!("{}{interface}", prefix(&order))
}

/// The first entry of the form `tun*` gives the prefix `tun.`.
fn prefix(order: &str) -> String {
    let is_prefix =
        |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let first = order.lines().filter_map(|line| line.strip_suffix('*')).find(is_prefix);
    first.map(|text| format!("{text}.")).unwrap_or_default()
}

const PROGRAM: &str = "resolvconf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_interfaces_gives_the_prefix() {
        assert_eq!(prefix("# order\nlo*\nlo.!(pppoe-*)\ntun*\n"), "lo.");
        assert_eq!(prefix("@(br)*([^.]).inet6\ntun*\n"), "tun.");
        assert_eq!(prefix(""), "");
    }
}
