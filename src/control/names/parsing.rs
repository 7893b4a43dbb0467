//! Everything of these modules that reads what strangers write, as functions of bytes alone: for fuzzing, which has no network.
//!
//! Not for use in the program.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use simple_dns::TYPE;

use super::process::Answer;
use super::{dns, system};

/// The addresses of a name and how long they are good for, or why there are none.
pub type Found = Result<(Vec<IpAddr>, Duration), String>;

/// Writes the question for the IPv6 or the IPv4 addresses of `host`; `None` if it cannot be a name.
pub fn question(id: u16, host: &str, is_v6: bool) -> Option<Vec<u8>> {
    dns::question(id, host, kind(is_v6))
}

/// Reads the answer to that question: `None` if it is none, else the addresses and how long each is good for, or why
/// there are none.
pub fn answer(bytes: &[u8], id: u16, host: &str, is_v6: bool) -> Option<Result<Vec<(IpAddr, Duration)>, String>> {
    dns::records(bytes, id, host, kind(is_v6)).map(|answer| answer.map_err(|lack| lack.to_string()))
}

/// Reads a line of the process: the name, and what was found of it.
pub fn line(text: &str) -> Option<(String, Found)> {
    Answer::parse(text).map(|Answer { host, found }| (host, found))
}

/// Writes such a line, with its end.
pub fn write_line(host: &str, found: Found) -> String {
    Answer { host: host.to_owned(), found }.to_string()
}

/// Reads resolv.conf: the servers, and where names are looked for.
pub fn resolv_conf(text: &str) -> (Vec<SocketAddr>, Vec<String>) {
    let system::Configuration { servers, search } = system::Configuration::parse(text);
    (servers, search)
}

/// Reads the addresses of `host` in a list as `/etc/hosts`.
pub fn hosts(text: &str, host: &str) -> Vec<IpAddr> {
    system::listed(text, host)
}

const fn kind(is_v6: bool) -> TYPE {
    if is_v6 { TYPE::AAAA } else { TYPE::A }
}
