//! What the daemon gives before anything stops: its files, how it was started, its configuration.
//!
//! # Layout
//! The offer: the moment (8 bytes, boot-time clock), then lists, each after its number of entries: the arguments, the
//! variables (name, value), the names of the files that follow; then the patience of the service manager, if there is one,
//! and whether the socket's file stays. The configuration is text: requests as a client would write them, without port and endpoints, which come with
//! the state.
//!
//! Not here: live state (`dataplane::handover`).

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rvpn_uapi::{AllowedIpChange, DeviceStatus, MAX_CANDIDATES, PeerSet, PeerStatus, SecretKey, Set, write_set};
use zeroize::Zeroizing;

use super::channel::MAX_FRAME_LEN;
use crate::control::environment::{FOREGROUND, HANDOVER, HOOK_RUNNER, SUPERVISION, UPGRADE};
use crate::control::files::MAX_FILES;
use crate::control::log::JOURNAL_STREAM;
use crate::proto::carried::{Carried, Malformed, Reader, Writer};
use crate::proto::time::Instant;

/// The interface.
pub const TUN: &str = "tun";
/// The configuration socket.
pub const LISTENER: &str = "listener";
/// The socket on which metrics are asked for.
pub const METRICS: &str = "metrics";
/// The UDP socket for IPv4.
pub const UDP_V4: &str = "udp4";
/// The UDP socket for IPv6.
pub const UDP_V6: &str = "udp6";
/// Where the log goes.
pub const STDERR: &str = "stderr";
/// The service manager's socket.
pub const NOTIFY: &str = "notify";

/// How the daemon was started, and what it has open.
#[derive(Debug)]
pub struct Offer {
    /// When it was made; both processes must have the same clock.
    pub now: Instant,
    /// How the daemon was started.
    pub start: Start,
    /// The names of its files, in the order in which they follow.
    pub files: Vec<String>,
    /// The patience of its service manager, in microseconds.
    pub watchdog: Option<u64>,
    /// The file of the configuration socket is somebody else's, and stays in the end.
    pub keeps_socket: bool,
}

impl Offer {
    /// Makes an offer.
    pub fn new(
        now: Instant,
        start: Start,
        files: &[(&str, OwnedFd)],
        watchdog: Option<u64>,
        keeps_socket: bool,
    ) -> Self {
        let files = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        Self { now, start, files, watchdog, keeps_socket }
    }
}

/// How a daemon was started: the first process of the line, which a person or a service manager started, and what was said
/// otherwise to those after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The arguments, the name of the program excepted.
    pub arguments: Vec<OsString>,
    /// Those variables that mean something to this program.
    pub variables: Vec<(OsString, OsString)>,
}

impl Start {
    /// Returns how this process was started.
    pub fn of_this_process() -> Self {
        Self {
            arguments: std::env::args_os().skip(1).collect(),
            variables: std::env::vars_os().filter(|(name, _)| is_ours(name)).collect(),
        }
    }

    /// Returns the same, with the variables of `newer` in the place of its own, but for what is said of standard error,
    /// which stays.
    #[must_use]
    pub fn amended(&self, mut newer: Self) -> Self {
        let Self { arguments, mut variables } = self.clone();
        newer.variables.retain(|(name, _)| name != JOURNAL_STREAM);
        variables.retain(|(name, _)| newer.variables.iter().all(|(other, _)| other != name));
        variables.extend(newer.variables);
        Self { arguments, variables }
    }

    /// Returns the value of a variable.
    pub fn variable(&self, name: &str) -> Option<OsString> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

fn is_ours(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let own = [b"RVPN_".as_slice(), b"WG_", b"LOG_"].iter().any(|prefix| bytes.starts_with(prefix));
    let own = own || name == JOURNAL_STREAM;
    let once = [HANDOVER, UPGRADE, HOOK_RUNNER, FOREGROUND, "WG_TUN_FD", "WG_UAPI_FD"];
    own && !once.iter().chain(&SUPERVISION).any(|other| name == *other)
}

impl Carried for Offer {
    fn write(&self, out: &mut Writer) {
        self.now.write(out);
        write_list(&self.start.arguments, out, |argument, out| out.list(argument.as_bytes()));
        write_list(&self.start.variables, out, |(name, value), out| {
            out.list(name.as_bytes());
            out.list(value.as_bytes());
        });
        write_list(&self.files, out, |name, out| out.list(name.as_bytes()));
        self.watchdog.write(out);
        self.keeps_socket.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let text = |input: &mut Reader<'_>| Ok(OsString::from_vec(input.list(MAX_TEXT_LEN)?.to_vec()));
        Ok(Self {
            now: Instant::read(input)?,
            start: Start {
                arguments: read_list(input, MAX_TEXTS, text)?,
                variables: read_list(input, MAX_TEXTS, |input| Ok((text(input)?, text(input)?)))?,
            },
            files: read_list(input, MAX_FILES, |input| text(input)?.into_string().map_err(|_| Malformed))?,
            watchdog: Option::read(input)?,
            keeps_socket: bool::read(input)?,
        })
    }
}

fn write_list<T>(list: &[T], out: &mut Writer, write: impl Fn(&T, &mut Writer)) {
    (list.len() as u32).write(out);
    list.iter().for_each(|entry| write(entry, out));
}

fn read_list<T>(
    input: &mut Reader<'_>,
    most: usize,
    read: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = u32::read(input)? as usize;
    if count > most {
        return Err(Malformed);
    }
    (0..count).map(|_| read(input)).collect()
}

const MAX_TEXTS: usize = 256;
const MAX_TEXT_LEN: usize = 16 * 1024;

/// Cuts a configuration into requests, each of at most [`MAX_FRAME_LEN`] bytes, that make it on a device that has none.
pub fn configuration(status: &DeviceStatus) -> impl Iterator<Item = Zeroizing<Vec<u8>>> + '_ {
    let device = Set {
        private_key: status.private_key.clone(),
        fwmark: Some(status.fwmark),
        replace_peers: true,
        ..Set::default()
    };
    let peers = status.peers.iter().flat_map(|peer| {
        let whole = peer_set(peer);
        // At least one request, also without any network.
        let rest = peer.allowed_ips.chunks(NETWORKS_PER_REQUEST).skip(1).map(|networks| PeerSet {
            allowed_ips: networks.iter().copied().map(AllowedIpChange::Add).collect(),
            ..PeerSet::new(peer.public_key)
        });
        std::iter::once(whole).chain(rest)
    });
    let peers = peers.map(|peer| Set { peers: vec![peer], ..Set::default() });
    std::iter::once(device).chain(peers).map(|set| {
        // Never moved for more room, which would leave keys behind.
        let networks: usize = set.peers.iter().map(|peer| peer.allowed_ips.len()).sum();
        let candidates: usize = set.peers.iter().flat_map(|peer| &peer.endpoints).map(Vec::len).sum();
        let len = MAX_TEXT_LEN + MAX_NETWORK_LEN * networks + MAX_CANDIDATE_LEN * candidates;
        let mut text = Zeroizing::new(Vec::with_capacity(len));
        write_set(&set, &mut text);
        text
    })
}

fn peer_set(peer: &PeerStatus) -> PeerSet {
    let first = peer.allowed_ips.iter().take(NETWORKS_PER_REQUEST).copied();
    PeerSet {
        name: peer.name.clone().map(Some),
        rate_up: Some(peer.rate_up),
        rate_down: Some(peer.rate_down),
        preshared_key: peer.preshared_key.clone().or_else(|| Some(SecretKey::new(&[0; 32]))),
        endpoints: (!peer.endpoints.is_empty()).then(|| peer.endpoints.clone()),
        endpoint_order: (!peer.endpoints.is_empty()).then_some(peer.endpoint_order),
        persistent_keepalive: Some(peer.persistent_keepalive),
        replace_allowed_ips: true,
        allowed_ips: first.map(AllowedIpChange::Add).collect(),
        ..PeerSet::new(peer.public_key)
    }
}

const NETWORKS_PER_REQUEST: usize = 1000;
/// `allowed_ip=`, 39 characters of IPv6, `/128`, the end of the line.
const MAX_NETWORK_LEN: usize = 64;

/// `rvpn_endpoints=`, 253 characters of a name, a dot, a port, the end of the line; and what `write_set` reserves for it.
const MAX_CANDIDATE_LEN: usize = 300;

const _: () = assert!(
    MAX_TEXT_LEN + MAX_NETWORK_LEN * NETWORKS_PER_REQUEST + MAX_CANDIDATE_LEN * MAX_CANDIDATES <= MAX_FRAME_LEN
);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rvpn_uapi::{Request, RequestEvent, RequestParser, no_scopes};

    use super::*;

    fn written(offer: &Offer) -> Vec<u8> {
        let mut out = Writer::new(MAX_FRAME_LEN);
        offer.write(&mut out);
        out.written().expect("room").to_vec()
    }

    fn offer() -> Offer {
        let variables =
            vec![("LOG_LEVEL".into(), "verbose".into()), ("RVPN_WORKERS".into(), OsString::from_vec(vec![255]))];
        let start = Start { arguments: vec!["-f".into(), "wg0".into()], variables };
        Offer {
            now: Instant::from_nanos(5),
            start,
            files: vec![TUN.to_owned(), LISTENER.to_owned()],
            watchdog: Some(9),
            keeps_socket: true,
        }
    }

    #[test]
    fn an_offer_comes_back_whole_or_not_at_all() {
        let bytes = written(&offer());
        let read: Offer = Reader::new(&bytes).whole().expect("as written");
        assert_eq!(
            (read.now, &read.start, &read.files, read.watchdog),
            (offer().now, &offer().start, &offer().files, Some(9))
        );
        for len in 0..bytes.len() {
            assert!(Reader::new(&bytes[..len]).whole::<Offer>().is_err(), "{len}");
        }
        for place in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[place] ^= 0x80;
            if let Ok(read) = Reader::new(&broken).whole::<Offer>() {
                assert_eq!(written(&read), broken, "{place}");
            }
        }
    }

    #[test]
    fn the_newer_variables_count_and_the_older_ones_stay() {
        let newer = Start { arguments: vec!["--".into()], variables: vec![("LOG_LEVEL".into(), "error".into())] };
        let start = offer().start.amended(newer);
        assert_eq!(start.variable("LOG_LEVEL"), Some("error".into()));
        assert_eq!(start.variable("RVPN_WORKERS"), Some(OsString::from_vec(vec![255])));
        assert_eq!((start.variables.len(), start.arguments.len()), (2, 2));
    }

    #[test]
    fn variables_of_others_and_of_one_start_stay_here() {
        for name in ["RVPN_WORKERS", "WG_HIDE_KEYS", "LOG_LEVEL", "LOG_FORMAT", JOURNAL_STREAM] {
            assert!(is_ours(name.as_ref()), "{name}");
        }
        for name in
            ["PATH", "HOME", "NOTIFY_SOCKET", HOOK_RUNNER, "WG_TUN_FD", "WG_UAPI_FD", HANDOVER, UPGRADE, FOREGROUND]
        {
            assert!(!is_ours(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn the_requests_make_the_configuration_without_what_comes_with_the_state() {
        let network = |n: u32| {
            rvpn_uapi::AllowedIp::new(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into(), 32).expect("a length")
        };
        let mut many = PeerStatus::new(rvpn_uapi::PublicKey([1; 32]));
        many.allowed_ips = (0..2500).map(network).collect();
        many.persistent_keepalive = 25;
        many.endpoint = "192.0.2.1:7".parse().ok();
        let bare = PeerStatus::new(rvpn_uapi::PublicKey([2; 32]));
        let private_key = Some(SecretKey::new(&[8; 32]));
        let status =
            DeviceStatus { private_key, fwmark: 7, listen_port: 9, peers: vec![many, bare], ..DeviceStatus::default() };

        let sets: Vec<Set> = configuration(&status)
            .map(|text| {
                assert!(text.len() <= MAX_FRAME_LEN);
                match RequestParser::new(Arc::new(no_scopes)).next(&mut text.as_slice()) {
                    Some(RequestEvent::Request(Request::Set(set))) => set,
                    event => panic!("{event:?}"),
                }
            })
            .collect();
        assert_eq!(sets.len(), 1 + 3 + 1);
        assert_eq!((sets[0].fwmark, sets[0].listen_port, sets[0].replace_peers), (Some(7), None, true));
        let peers: Vec<_> = sets.iter().flat_map(|set| &set.peers).collect();
        assert!(peers.iter().all(|peer| peer.endpoint.is_none()));
        assert_eq!(peers.iter().map(|peer| peer.allowed_ips.len()).collect::<Vec<_>>(), [1000, 1000, 500, 0]);
        assert_eq!(peers[0].persistent_keepalive, Some(25));
        assert!(peers[0].replace_allowed_ips && !peers[1].replace_allowed_ips);
    }
}
