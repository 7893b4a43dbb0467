//! What the machine says: its interface, routes, filters, names.
//!
//! What cannot be found out is left as it is: a fact that is missing is no finding.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
use rustix::thread::LinkNameSpaceType;
use rvpn_uapi::{AllowedIp, Candidate, DeviceStatus, Offload, PeerStatus};
use zeroize::Zeroizing;

use super::probe::nth;
use crate::control::config::Config;
use crate::control::doctor::facts::{Facts, NamedEndpoint, PeerFacts, contains};
use crate::control::doctor::ruleset::{Datagram, Ruleset};
use crate::control::doctor::testimony::SendError;
use crate::control::endpoint::Endpoint;
use crate::control::key_text;
use crate::platform::linux::network::{Link, Network, Prefix};

/// Returns the interface called `name`, if it is in this network namespace.
pub(super) fn link(name: &str) -> Option<Link> {
    Network::open().ok()?.link(name).ok().flatten()
}

/// Returns the addresses of a link.
pub(super) fn addresses(index: u32) -> Vec<Prefix> {
    Network::open().and_then(|mut network| network.addresses(index)).unwrap_or_default()
}

/// Puts this thread into the network namespace of a process, if that is another one. Who may not stays where it is.
pub(super) fn enter_namespace_of(process: Option<u32>) {
    let Some(process) = process else { return };
    let Ok(theirs) = fs::File::open(format!("/proc/{process}/ns/net")) else { return };
    let identity = |found: std::io::Result<fs::Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
    if identity(theirs.metadata()) != identity(fs::metadata("/proc/thread-self/ns/net")) {
        let _ = rustix::thread::move_into_link_name_space(theirs.as_fd(), Some(LinkNameSpaceType::Network));
    }
}

/// Fills in what the machine says: what is inside the tunnel here, what is outside in the namespace of `process`.
pub(super) fn look(facts: &mut Facts, status: &DeviceStatus, link: Option<u32>, process: Option<u32>) {
    if let (Some(index), Ok(mut network)) = (link, Network::open()) {
        let ours = network.addresses(index).unwrap_or_default();
        for peer in &mut facts.peers {
            peer.astray = astray(peer, index, &ours, &mut network);
        }
    }
    facts.is_reverse_path_strict = is_reverse_path_strict(&facts.interface);
    facts.speed.offloads_off = offloads_off(status, process);
    thread::scope(|scope| {
        scope.spawn(|| {
            enter_namespace_of(process);
            outside(facts, status.fwmark);
        });
    });
}

/// What is in the namespace of the sockets: routes to endpoints, and packet filters where something is known to be
/// dropped.
fn outside(facts: &mut Facts, mark: u32) {
    if let Ok(mut network) = Network::open() {
        for peer in &mut facts.peers {
            let way = peer.endpoint.map(|endpoint| network.way_of_marked(endpoint, mark));
            peer.has_no_route = matches!(way, Some(Ok(None)));
        }
    }
    let is_refused = |peer: &PeerFacts| peer.testimony.not_sent.is_some_and(|seen| seen.last.1 == SendError::Filtered);
    let is_outgoing = facts.peers.iter().any(is_refused);
    let arrived = facts.watched.filter(|watched| watched.arrived > 0 && watched.heard == 0);
    if !is_outgoing && arrived.is_none() {
        return;
    }
    facts.reverse_path_outside = arrived.and_then(|watched| reverse_path_outside(watched.from?, mark));
    let Some(ruleset) = ruleset() else { return };
    let culprit = |is_incoming: bool, remote: Option<SocketAddr>| {
        ruleset.culprit(Datagram { is_incoming, port: facts.listen_port, remote })
    };
    let remote = facts.peers.iter().find(|peer| is_refused(peer)).and_then(|peer| peer.endpoint);
    let drops_outgoing = is_outgoing.then(|| culprit(false, remote)).flatten();
    let drops_incoming = arrived.and_then(|watched| culprit(true, watched.from));
    (facts.drops_outgoing, facts.drops_incoming) = (drops_outgoing, drops_incoming);
}

/// Asks the program `nft`, where there is one: the list of rules has a form of its own for each kind of expression.
fn ruleset() -> Option<Ruleset> {
    let program = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"].into_iter().find(|path| Path::new(path).exists())?;
    let output = Command::new(program).args(["--json", "list", "ruleset"]).output().ok()?;
    Ruleset::parse(&output.stdout)
}

/// Returns the networks of `peer` no address of which that was asked for is routed into the interface.
fn astray(peer: &PeerFacts, index: u32, ours: &[Prefix], network: &mut Network) -> Vec<(AllowedIp, Option<String>)> {
    let mut astray = Vec::new();
    for allowed in peer.allowed_ips.iter().take(MAX_NETWORKS) {
        // What everything else is routed by may well be left to others, as `Table = off` does.
        let family = |own: &Prefix| own.address.is_ipv4() == allowed.address().is_ipv4();
        if allowed.prefix_len() == 0 || !ours.iter().any(family) {
            continue;
        }
        let samples = [0, 1, 2].map(|n| nth(allowed.address(), n)).into_iter();
        let samples = samples.filter(|&sample| {
            contains(allowed, sample) && ours.iter().all(|own| own.address != sample && !is_edge(own, sample))
        });
        let ways: Vec<_> =
            samples.filter_map(|sample| network.way_of_marked(SocketAddr::new(sample, 0), 0).ok()).collect();
        if !ways.is_empty() && ways.iter().all(|way| way.is_none_or(|way| way.interface != index)) {
            let other = ways.iter().find_map(|way| way.and_then(|way| name_of(way.interface)));
            astray.push((*allowed, other));
        }
    }
    astray
}

/// The address of an IPv4 network itself is not one that packets are routed to.
fn is_edge(own: &Prefix, sample: std::net::IpAddr) -> bool {
    sample.is_ipv4() && own.len < 31 && AllowedIp::new(own.address, own.len).is_some_and(|own| own.address() == sample)
}

fn name_of(index: u32) -> Option<String> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    netdevice::index_to_name(&socket, index).ok()
}

/// The kernel takes the greater of the two values; 2 is loose.
fn is_reverse_path_strict(interface: &str) -> bool {
    setting("rp_filter", interface) == Some(1)
}

/// Returns the greater of a setting's value for all interfaces and that for one.
fn setting(what: &str, interface: &str) -> Option<u32> {
    let value = |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/{what}")).ok();
    ["all", interface].into_iter().filter_map(|name| value(name)?.trim().parse().ok()).max()
}

/// Returns why what comes from `remote` is dropped: its answers, unless marked as ours are, would go another way than it
/// came, as where everything unmarked is sent into the tunnel.
fn reverse_path_outside(remote: SocketAddr, mark: u32) -> Option<String> {
    let mut network = Network::open().ok()?;
    let mut by = |mark: u32| name_of(network.way_of_marked(remote, mark).ok()??.interface);
    let (marked, unmarked) = (by(mark)?, by(0)?);
    let is_dropped = remote.is_ipv4()
        && marked != unmarked
        && is_reverse_path_strict(&marked)
        && setting("src_valid_mark", &marked) == Some(0);
    is_dropped
        .then(|| format!("rp_filter is 1, strict, and without our mark what answers it would leave by {unmarked}"))
}

fn offloads_off(status: &DeviceStatus, process: Option<u32>) -> Option<String> {
    let offloads = status.offloads?;
    let missing = [(Offload::TunTcp4, "the interface"), (Offload::UdpSend, "the sockets")];
    let missing: Vec<_> = missing.into_iter().filter(|(offload, _)| !offloads.contains(*offload)).collect();
    let (_, place) = missing.first()?;
    let environment = fs::read(format!("/proc/{}/environ", process?)).unwrap_or_default();
    if environment.split(|&byte| byte == 0).any(|variable| variable == b"RVPN_OFFLOAD=off") {
        return Some("its process was started with RVPN_OFFLOAD=off".to_owned());
    }
    let kernel = rustix::system::uname();
    Some(format!("the kernel, {}, has refused them for {place}", kernel.release().to_string_lossy()))
}

/// Looks up the names in the endpoints of those peers that have no session: what the daemon follows, or, of a peer of which
/// it has no name, what the configuration file says.
pub(super) fn names(
    peers: &[PeerFacts],
    status: &DeviceStatus,
    config: Option<&Path>,
    interface: &str,
) -> Vec<Option<NamedEndpoint>> {
    let default = PathBuf::from(format!("/etc/wireguard/{interface}.conf"));
    let text = fs::read(config.unwrap_or(&default)).map(Zeroizing::new).unwrap_or_default();
    let known = Config::parse_quick(&text).map(|(config, _)| config.peers).unwrap_or_default();
    // Where no name server answers, one look-up is waited for and not one for each peer.
    let mut silence = None;
    let mut name = |peer: &PeerFacts, status: &PeerStatus| {
        if status.endpoints.iter().any(|candidate| matches!(candidate, Candidate::Name { .. })) {
            let followed = status.endpoints.iter().filter_map(|candidate| Endpoint::parse(&candidate.to_string()));
            return Some(look_up(&followed.collect::<Vec<_>>(), true, &mut silence));
        }
        let peer = known.iter().find(|known| *key_text::encode(&known.set.public_key.0) == peer.public_key)?;
        let (_, endpoint) = peer.endpoint.as_ref()?;
        let is_name = endpoint.address().is_none();
        is_name.then(|| look_up(std::slice::from_ref(endpoint), false, &mut silence))
    };
    let peers = peers.iter().zip(&status.peers);
    peers.map(|(peer, status)| if peer.is_connected() { None } else { name(peer, status) }).collect()
}

/// Asks for the addresses of all `endpoints`, until one has none. After one of which nobody knew anything, in `silence`,
/// no other name is asked for.
fn look_up(endpoints: &[Endpoint], is_followed: bool, silence: &mut Option<String>) -> NamedEndpoint {
    let mut addresses = Vec::new();
    for endpoint in endpoints {
        let found = match (endpoint.address(), &silence) {
            (Some(address), _) => Ok(vec![address]),
            (None, Some(reason)) => Err(reason.clone()),
            (None, None) => endpoint.addresses().map_err(|error| {
                if !error.is_lasting {
                    *silence = Some(error.to_string());
                }
                error.to_string()
            }),
        };
        match found {
            Ok(found) => addresses.extend(found),
            Err(reason) => return NamedEndpoint { text: endpoint.to_string(), addresses: Err(reason), is_followed },
        }
    }
    let names = endpoints.iter().filter(|endpoint| endpoint.address().is_none()).map(ToString::to_string);
    NamedEndpoint { text: names.collect::<Vec<_>>().join(", "), addresses: Ok(addresses), is_followed }
}

/// Networks of a peer whose routes are asked for: a list of thousands is somebody's whole country.
const MAX_NETWORKS: usize = 64;

#[cfg(test)]
mod tests {
    use rvpn_uapi::PublicKey;

    use super::*;

    fn candidate(text: &str) -> Candidate {
        crate::control::config::value::candidate(text.as_bytes()).expect("a candidate")
    }

    /// The names of a peer without a session that the daemon has `endpoints` of.
    fn found(endpoints: &[&str], file: &str) -> Option<NamedEndpoint> {
        let status =
            PeerStatus { endpoints: endpoints.iter().map(|text| candidate(text)).collect(), ..PeerStatus::new(KEY) };
        let peer = PeerFacts { public_key: key_text::encode(&KEY.0).to_string(), ..PeerFacts::default() };
        let status = DeviceStatus { peers: vec![status], ..DeviceStatus::default() };
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("wg0.conf");
        let text = format!("[Peer]\nPublicKey = {}\nEndpoint = {file}\n", peer.public_key);
        fs::write(&path, text).expect("written");
        names(&[peer], &status, Some(&path), "wg0").remove(0)
    }

    const KEY: PublicKey = PublicKey([1; 32]);

    #[test]
    fn a_name_that_the_daemon_follows_goes_before_that_of_the_file() {
        let followed = found(&["192.0.2.9:7", "localhost:7"], "other.invalid:7").expect("a name");
        assert_eq!((followed.text.as_str(), followed.is_followed), ("localhost:7", true));
        let addresses = followed.addresses.expect("in /etc/hosts");
        assert_eq!(addresses[0], "192.0.2.9:7".parse().expect("an address"));
        assert!(
            addresses.len() > 1 && addresses[1..].iter().all(|address| address.ip().is_loopback()),
            "{addresses:?}"
        );

        let of_file = found(&[], "localhost:7").expect("a name");
        assert_eq!((of_file.text.as_str(), of_file.is_followed), ("localhost:7", false));
        assert_eq!(found(&["192.0.2.9:7"], "192.0.2.9:7"), None);
    }

    #[test]
    fn where_no_name_server_answers_it_is_asked_once() {
        let endpoints = ["192.0.2.9:7", "vpn.example:7"].map(|text| Endpoint::parse(text).expect("an endpoint"));
        let named = look_up(&endpoints, true, &mut Some("no name server answers".to_owned()));
        assert_eq!((named.text.as_str(), named.addresses), ("vpn.example:7", Err("no name server answers".to_owned())));
    }
}
