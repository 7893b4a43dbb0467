//! systemd-resolved, over D-Bus: servers of a link, for all names.
//!
//! Source: org.freedesktop.resolve1(5); resolvectl(1), `resolvconf -x`, for what makes a link the one for all names.

use std::net::IpAddr;

use super::bus::{BUS, Bus, BusError, Service};
use super::bus_text::{Body, Reader};

const RESOLVED: Service = Service {
    name: "org.freedesktop.resolve1",
    path: "/org/freedesktop/resolve1",
    interface: "org.freedesktop.resolve1.Manager",
};

/// Returns whether it runs. It is not started for the question.
pub(super) fn is_there() -> bool {
    let mut question = Body::default();
    question.text(RESOLVED.name);
    let answer = Bus::connect().and_then(|mut bus| bus.call(&BUS, "NameHasOwner", &question));
    answer.is_ok_and(|body| Reader::new(&body).number() == Some(1))
}

/// Gives a link servers and domains, and makes it the one that is asked for all names.
pub(super) fn set(link: u32, servers: &[IpAddr], search: &[String]) -> Result<(), String> {
    let mut bus = Bus::connect().map_err(|error| error.to_string())?;
    let calls = [
        ("SetLinkDNS", dns(link, servers)),
        ("SetLinkDomains", domains(link, search)),
        ("SetLinkDefaultRoute", default_route(link)),
    ];
    for (method, body) in &calls {
        if let Err(error) = bus.call(&RESOLVED, method, body) {
            // Not to be left with half of it; why it failed is what is told.
            let _ = bus.call(&RESOLVED, "RevertLink", &body_of(link));
            return Err(error.to_string());
        }
    }
    Ok(())
}

/// Takes all that back.
pub(super) fn unset(link: u32) -> Result<(), String> {
    match Bus::connect().and_then(|mut bus| bus.call(&RESOLVED, "RevertLink", &body_of(link))) {
        // Where it, or the link, or the bus has gone, so has what it knew.
        Err(BusError::Refused { name, .. }) if GONE.contains(&name.as_str()) => Ok(()),
        Err(BusError::Io(_)) => Ok(()),
        outcome => outcome.map(drop).map_err(|error| error.to_string()),
    }
}

fn body_of(link: u32) -> Body {
    let mut body = Body::default();
    body.integer(link.cast_signed());
    body
}

/// Each server: family, and address in network order.
fn dns(link: u32, servers: &[IpAddr]) -> Body {
    let mut body = body_of(link);
    body.list("(iay)", servers, |body, server| {
        let (family, octets) = match server {
            IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
            IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
        };
        body.number(family.cast_unsigned());
        body.array(1, |body| octets.iter().for_each(|&octet| body.byte(octet)));
    });
    body
}

/// Each domain, and whether it is only for routing, not to be appended to names.
fn domains(link: u32, search: &[String]) -> Body {
    let mut domains: Vec<_> = search.iter().map(|domain| (domain.as_str(), false)).collect();
    domains.push((ALL_NAMES, true));
    let mut body = body_of(link);
    body.list("(sb)", &domains, |body, &(domain, is_for_routing)| {
        body.string(domain);
        body.number(is_for_routing.into());
    });
    body
}

fn default_route(link: u32) -> Body {
    let mut body = body_of(link);
    body.truth(true);
    body
}

/// The domain of which all others are a part.
const ALL_NAMES: &str = ".";

const GONE: [&str; 3] = [
    "org.freedesktop.resolve1.NoSuchLink",
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_domains_are_laid_out_as_the_specification_says() {
        let body = dns(3, &[[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]);
        assert_eq!(body.types(), "ia(iay)");
        let expected = b"\x03\0\0\0\x1c\0\0\0\x02\0\0\0\x04\0\0\0\x0a\0\0\x01\0\0\0\0\x02\0\0\0\x04\0\0\0\x0a\0\0\x02";
        let body = body.into_bytes();
        assert!(cfg!(target_endian = "big") || body == expected, "{body:?}");
        let body = domains(3, &["a.b".to_owned()]);
        assert_eq!(body.types(), "ia(sb)");
        let expected = b"\x03\0\0\0\x1c\0\0\0\x03\0\0\0a.b\0\0\0\0\0\0\0\0\0\x01\0\0\0.\0\0\0\x01\0\0\0";
        let body = body.into_bytes();
        assert!(cfg!(target_endian = "big") || body == expected, "{body:?}");
    }
}
