//! Endpoints as people write them: `vpn.example.com:51820`, `[2001:db8::1]:51820`, `[fe80::1%eth0]:51820`.
//!
//! Reading one asks nobody; [`Endpoint::resolve`] does, and asks again while that may help. Also here: the text of
//! addresses, which differs from the standard library's in two places that scripts see.
//!
//! Source: wg(8), for `WG_ENDPOINT_RESOLUTION_RETRIES`; inet_ntop(3) and getnameinfo(3) for the text.

use std::ffi::OsStr;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use super::server::interface_index;
use crate::platform::linux::resolver::{self, ResolveError};

/// A host, by name or address, and a UDP port, by number or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    text: String,
    host: String,
    service: String,
}

impl Endpoint {
    /// Splits host and port; `None` if they cannot be told apart, or the port is a number over 65535.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, service) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, rest.strip_prefix(':')?)
            }
            None => text.rsplit_once(':')?,
        };
        let is_valid = !service.is_empty() && !is_port_too_high(service);
        is_valid.then(|| Self { text: text.to_owned(), host: host.to_owned(), service: service.to_owned() })
    }

    /// Returns the address if it is spelt as one, with a port in digits. No name is looked up, but that of the interface
    /// in a zone.
    pub fn address(&self) -> Option<SocketAddr> {
        let port = self.service.parse().ok()?;
        let Some((address, zone)) = self.host.split_once('%') else {
            return Some(SocketAddr::new(self.host.parse().ok()?, port));
        };
        let scope = zone.parse().ok().or_else(|| interface_index(zone))?;
        Some(SocketAddrV6::new(address.parse().ok()?, port, 0, scope).into())
    }

    /// Finds all its addresses, in the order of the resolver. Asks once.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, ResolveError> {
        resolver::resolve_all(&self.host, &self.service)
    }

    /// Finds the address. If that fails for a reason that may pass, calls `wait` with it and a time, and tries again:
    /// first after a second, then after a fifth more each time, up to 20 s.
    ///
    /// # Errors
    /// The last [`ResolveError`], when it is a lasting one or there are no retries left.
    pub fn resolve(
        &self,
        retries: Retries,
        wait: impl FnMut(&ResolveError, Duration),
    ) -> Result<SocketAddr, ResolveError> {
        retry(|| resolver::resolve(&self.host, &self.service), retries, wait)
    }
}

fn retry(
    mut ask: impl FnMut() -> Result<SocketAddr, ResolveError>,
    Retries(mut left): Retries,
    mut wait: impl FnMut(&ResolveError, Duration),
) -> Result<SocketAddr, ResolveError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match ask() {
            Err(error) if !error.is_lasting && left != Some(0) => wait(&error, pause),
            result => return result,
        }
        left = left.map(|left| left - 1);
        pause = (pause * 6 / 5).min(LONGEST_PAUSE);
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns whether `service` is a number that is no port. The resolver would keep its low 16 bits.
pub(super) fn is_port_too_high(service: &str) -> bool {
    let digits = service.strip_prefix('+').unwrap_or(service);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_err()
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// How often a name is asked for again; `None` is without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries(pub Option<u32>);

impl Retries {
    /// The variable that sets it.
    pub const VARIABLE: &str = "WG_ENDPOINT_RESOLUTION_RETRIES";

    /// Reads the variable: a number, or `infinity`; 15 without it. `None` if it is neither.
    pub fn parse(value: Option<&OsStr>) -> Option<Self> {
        let Some(value) = value else { return Some(Self(Some(15))) };
        match value.to_str()? {
            "infinity" => Some(Self(None)),
            "" => Some(Self(Some(0))),
            number => number.parse().ok().filter(|&number| number <= i32::MAX as u32).map(|number| Self(Some(number))),
        }
    }
}

/// The text of an address, as inet_ntop has it.
///
/// The standard library writes the obsolete IPv4-compatible addresses in hexadecimal.
pub fn address_text(address: IpAddr) -> String {
    if let IpAddr::V6(v6) = address
        && let [0, 0, 0, 0, 0, 0, high, low] = v6.segments()
        && high != 0
    {
        let v4 = Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
        return format!("::{v4}");
    }
    address.to_string()
}

/// The text of an endpoint, as getnameinfo has it: the zone of a link-local address is the name of its interface.
pub fn endpoint_text(endpoint: SocketAddr) -> String {
    let SocketAddr::V6(v6) = endpoint else { return endpoint.to_string() };
    format!("[{}{}]:{}", address_text((*v6.ip()).into()), zone(v6), v6.port())
}

fn zone(address: SocketAddrV6) -> String {
    match address.scope_id() {
        0 => String::new(),
        scope if is_link_local(*address.ip()) => match interface_name(scope) {
            Some(name) => format!("%{name}"),
            None => format!("%{scope}"),
        },
        scope => format!("%{scope}"),
    }
}

fn is_link_local(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    first & 0xffc0 == 0xfe80 || first & 0xff0f == 0xff02
}

fn interface_name(scope: u32) -> Option<String> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    netdevice::index_to_name(&socket, scope).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_had_without_asking() {
        let address = |text| Endpoint::parse(text).and_then(|endpoint| endpoint.address());
        assert_eq!(address("192.0.2.1:7"), "192.0.2.1:7".parse().ok());
        assert_eq!(address("[2001:db8::1]:7"), "[2001:db8::1]:7".parse().ok());
        assert_eq!(address("[fe80::1%9]:7"), "[fe80::1%9]:7".parse().ok());
        for text in ["localhost:7", "192.0.2.1:domain", "192.0.2:7", "[fe80::1%no-such-one]:7"] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn host_and_port_are_told_apart() {
        let parts = |text| Endpoint::parse(text).map(|endpoint| (endpoint.host, endpoint.service));
        let both = |host: &str, service: &str| Some((host.to_owned(), service.to_owned()));
        assert_eq!(parts("example.com:51820"), both("example.com", "51820"));
        assert_eq!(parts("[fe80::1%eth0]:1"), both("fe80::1%eth0", "1"));
        assert_eq!(parts("fe80::1:1"), both("fe80::1", "1"));
        assert_eq!(parts("host:domain"), both("host", "domain"));
        for text in ["", "host", "host:", "[::1]", "[::1]1", "[::1]:", "[::1", "1.1.1.1:65536", "1.1.1.1:+99999999999"]
        {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn a_lasting_failure_is_not_tried_again() {
        let endpoint = Endpoint::parse(":1").expect("an empty host is for the resolver to refuse");
        let error = endpoint.resolve(Retries(None), |_, _| panic!("tried again")).expect_err("no host");
        assert!(error.is_lasting);
    }

    #[test]
    fn a_passing_failure_is_tried_again_after_ever_longer_pauses() {
        let passing = || Err(ResolveError { is_lasting: false, reason: String::new() });
        let mut pauses = Vec::new();
        let error = retry(passing, Retries(Some(20)), |_, pause| pauses.push(pause)).expect_err("no retries left");
        assert!(!error.is_lasting);
        assert_eq!(pauses.len(), 20);
        assert_eq!(pauses[..3], [1_000, 1_200, 1_440].map(Duration::from_millis));
        assert_eq!(pauses[19], Duration::from_secs(20));
        let mut answers = [passing(), passing(), Ok("192.0.2.1:7".parse().expect("an address"))].into_iter();
        let found = retry(|| answers.next().expect("asked no more than needed"), Retries(None), |_, _| {});
        assert_eq!(found.ok(), "192.0.2.1:7".parse().ok());
        assert!(retry(passing, Retries(Some(0)), |_, _| panic!("waited")).is_err());
    }

    #[test]
    fn retries_are_a_number_or_without_end() {
        let parse = |text: &str| Retries::parse(Some(text.as_ref()));
        assert_eq!(Retries::parse(None), Some(Retries(Some(15))));
        assert_eq!(parse("0"), Some(Retries(Some(0))));
        assert_eq!(parse("infinity"), Some(Retries(None)));
        assert_eq!(parse("2147483648"), None);
        assert_eq!(parse("many"), None);
    }

    #[test]
    fn addresses_are_written_as_inet_ntop_writes_them() {
        for text in ["::", "::1", "::1.2.3.4", "::ffff:1.2.3.4", "::ffff:0.0.0.0", "2001:db8::1:0:0:1", "1.2.3.4"] {
            assert_eq!(address_text(text.parse().expect("an address")), text);
        }
    }

    #[test]
    fn only_zones_of_link_local_addresses_are_names() {
        assert_eq!(endpoint_text("[fe80::1%1]:7".parse().expect("an endpoint")), "[fe80::1%lo]:7");
        assert_eq!(endpoint_text("[fd00::1%1]:7".parse().expect("an endpoint")), "[fd00::1%1]:7");
        assert_eq!(endpoint_text("[fe80::1%4000000]:7".parse().expect("an endpoint")), "[fe80::1%4000000]:7");
        assert_eq!(endpoint_text("192.0.2.1:7".parse().expect("an endpoint")), "192.0.2.1:7");
    }
}
