//! Finding out: the daemon is asked, the machine looked at, the wire watched, the tunnel pinged.
//!
//! ```text
//!   status, testimony ─► (a peer without session?) ─► watch the wire, ping every such peer through the tunnel
//!                                                ─► status, testimony again ─► pings of growing length ─► Facts
//! ```
//! The wire is watched and routes to endpoints are asked for in the network namespace of the daemon, where its sockets
//! are; the interface may be in another, which is that of the caller.
//!
//! Not here: what follows from it (see `diagnose`).

mod machine;
mod probe;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rvpn_uapi::{Ask, DeviceStatus, PeerStatus};

use super::diagnose::is_explained;
use super::facts::{Facts, LinkFacts, NamedEndpoint, PeerFacts, Probe, Watched};
use super::load::Load;
use super::testimony::{KEY, Testimony};
use super::watch::{Seen, Watch};
use crate::control::client::{Client, ClientError};
use crate::control::key_text;
use crate::dataplane::io::Clock;
use crate::platform::linux::LinuxClock;
use crate::platform::linux::network::Link;
use crate::platform::linux::tap::Tap;
use crate::proto::handshake::Identity;
use crate::proto::keys::PrivateKey;

/// How to examine.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file, for names in endpoints that the daemon does not have; by default that of the interface, if
    /// there is one.
    pub config: Option<PathBuf>,
    /// Send nothing and wait for nothing.
    pub is_passive: bool,
}

/// Finds out all there is to know of `interface`.
///
/// # Errors
/// [`ClientError`] if nobody runs it, or who does says nothing.
pub fn examine(interface: &OsStr, client: &Client, options: &Options) -> Result<Facts, ClientError> {
    let first = Look::take(interface, client)?;
    let name = interface.to_string_lossy().into_owned();
    let process = first.testimony.as_ref().map(|testimony| testimony.process);
    let load = process.map(|process| Load::of(process, first.status.listen_port));
    let link = machine::link(&name);
    let names = machine::names(&first.facts(&name).peers, &first.status, options.config.as_deref(), &name);
    let case = Case { interface, name, client, first, process, link, names };

    let mut facts = case.facts(&case.first, &Measured::default());
    case.look_at_machine(&mut facts);
    if options.is_passive {
        return Ok(facts);
    }
    let measured = case.measure(&facts);
    let last = Look::take(interface, client)?;
    facts = case.facts(&last, &measured);
    case.find_holes(&mut facts);
    case.look_at_machine(&mut facts);
    if let (Some(process), Some(before)) = (process, load) {
        thread::park_timeout(LOAD_WINDOW.saturating_sub(before.age()));
        let after = Load::of(process, last.status.listen_port);
        facts.speed.busiest = after.busiest_since(&before);
        facts.speed.overflown = after.lost_since(&before);
    }
    Ok(facts)
}

/// What stays the same while one interface is examined.
struct Case<'a> {
    interface: &'a OsStr,
    name: String,
    client: &'a Client,
    first: Look,
    /// The daemon, if it says which it is.
    process: Option<u32>,
    link: Option<Link>,
    /// Names of endpoints, for the peers of the first look, as all that follows.
    names: Vec<Option<NamedEndpoint>>,
}

/// What came of pings and of a look at the wire.
#[derive(Clone, Default)]
struct Measured {
    seen: Option<Seen>,
    probes: Vec<Option<Probe>>,
}

impl Case<'_> {
    /// Puts together what is known at the moment of `look`.
    fn facts(&self, look: &Look, measured: &Measured) -> Facts {
        let mut facts = look.facts(&self.name);
        facts.link = self.link.map(|link| LinkFacts { is_up: link.is_up, mtu: link.mtu });
        facts.watched = measured.seen.as_ref().map(|seen| {
            let heard = look.heard().saturating_sub(self.first.heard());
            Watched { heard, ..seen.device }
        });
        for (index, known) in self.first.status.peers.iter().enumerate() {
            let key = key_text::encode(&known.public_key.0);
            let Some(peer) = facts.peers.iter_mut().find(|peer| peer.public_key == *key) else { continue };
            peer.name = self.names.get(index).cloned().flatten();
            peer.probe = measured.probes.get(index).copied().flatten();
            let seen = measured.seen.as_ref().and_then(|seen| seen.peers.get(index).copied());
            peer.watched = seen.unwrap_or_default();
        }
        facts
    }

    fn look_at_machine(&self, facts: &mut Facts) {
        machine::look(facts, &self.first.status, self.link.map(|link| link.index), self.process);
    }

    /// Pings the peers, and watches the wire meanwhile and on if one has no session and it is not known why.
    fn measure(&self, facts: &Facts) -> Measured {
        let Some(link) = self.link.filter(|link| link.is_up) else { return Measured::default() };
        let chosen = probe::choose(&facts.peers, &machine::addresses(link.index));
        let ping = || probe::run(&chosen, link.index);
        if !facts.is_any_without_session() || is_explained(facts) {
            return Measured { seen: None, probes: ping() };
        }
        let endpoints = facts.peers.iter().map(|peer| peer.endpoint).collect();
        let watch = Watch::new(facts.listen_port, endpoints);
        thread::scope(|scope| {
            let (ready, is_ready) = mpsc::channel();
            let (watch, process) = (&watch, self.process);
            let watcher = scope.spawn(move || {
                machine::enter_namespace_of(process);
                let tap = Tap::open();
                let _ = ready.send(());
                watch.run(&mut tap?, WATCH)
            });
            // Nothing that is provoked shall pass before somebody looks.
            let _ = is_ready.recv();
            let probes = ping();
            let mut clear = 0;
            while !watcher.is_finished() && clear < 2 {
                let measured = Measured { seen: Some(watch.seen()), probes: probes.clone() };
                // Twice: what just came by may not have been taken in yet.
                clear = if self.is_clear(&measured) { clear + 1 } else { 0 };
                thread::park_timeout(STRIDE);
            }
            watch.stop();
            let is_seen = matches!(watcher.join(), Ok(Ok(())));
            Measured { seen: is_seen.then(|| watch.seen()), probes }
        })
    }

    /// Tells whether waiting would tell no more: there are sessions by now, or it is known why there is none.
    fn is_clear(&self, measured: &Measured) -> bool {
        let Ok(look) = Look::take(self.interface, self.client) else { return true };
        let facts = self.facts(&look, measured);
        let mut called = facts.peers.iter().filter(|peer| peer.endpoint.is_some()).peekable();
        let has_all = called.peek().is_some() && called.all(PeerFacts::is_connected);
        has_all || is_explained(&facts)
    }

    /// Asks up to which length packets come back from those that answer.
    fn find_holes(&self, facts: &mut Facts) {
        let Some(link) = self.link else { return };
        for probe in facts.peers.iter_mut().filter_map(|peer| peer.probe.as_mut()).filter(|probe| probe.answers) {
            probe.hole = probe::hole(probe.address, link.index, link.mtu);
        }
    }
}

/// What the server says at one moment.
struct Look {
    status: DeviceStatus,
    testimony: Option<Testimony>,
}

impl Look {
    fn take(interface: &OsStr, client: &Client) -> Result<Self, ClientError> {
        let status = client.status(interface)?;
        // Another program, or the kernel's driver, has none.
        let lines = client.question(interface, &Ask::new("doctor")).unwrap_or_default();
        let line = lines.into_iter().find(|(key, _)| key == KEY);
        Ok(Self { status, testimony: line.and_then(|(_, text)| Testimony::read(&text)) })
    }

    /// Returns how many handshake messages are known to have reached the socket; bytes, where nobody counts them.
    fn heard(&self) -> u64 {
        let Some(testimony) = &self.testimony else {
            return self.status.peers.iter().map(|peer| peer.rx_bytes).sum();
        };
        let count = |number: Option<u64>| number.unwrap_or(0);
        let peers = testimony.peers.iter().map(|peer| {
            peer.initiations_received
                + peer.responses_received
                + count(peer.cookie_reply.map(|seen| seen.count))
                + count(peer.bad_response.map(|seen| seen.count))
                + count(peer.stale_timestamp.map(|seen| seen.count))
        });
        let strangers = count(testimony.bad_mac1.map(|seen| seen.count))
            + count(testimony.unknown_initiator.as_ref().map(|seen| seen.count));
        peers.sum::<u64>() + strangers
    }

    fn facts(&self, name: &str) -> Facts {
        let calendar = LinuxClock.wall().secs;
        Facts {
            interface: name.to_owned(),
            calendar,
            public_key: self.status.private_key.as_ref().and_then(|key| {
                let identity = Identity::new(PrivateKey::new(*key.as_bytes())?);
                Some(key_text::encode(identity.public_key().as_bytes()).to_string())
            }),
            listen_port: self.status.listen_port,
            testimony: self.testimony.clone(),
            peers: self.status.peers.iter().map(|peer| self.peer(peer, calendar)).collect(),
            ..Facts::default()
        }
    }

    fn peer(&self, peer: &PeerStatus, calendar: u64) -> PeerFacts {
        let public_key = key_text::encode(&peer.public_key.0).to_string();
        let testimony = self.testimony.as_ref().and_then(|testimony| testimony.peer(&public_key)).cloned();
        let last = peer.last_handshake.map(|last| last.as_secs()).filter(|&last| last != 0);
        PeerFacts {
            called: peer.name.as_ref().map(ToString::to_string),
            endpoint: peer.endpoint,
            allowed_ips: peer.allowed_ips.clone(),
            handshake: last.map(|last| Duration::from_secs(calendar.saturating_sub(last))),
            // A second of grace: the two clocks are read one after the other, and rounded.
            is_handshake_in_future: last.is_some_and(|last| last > calendar + 1),
            rx_bytes: peer.rx_bytes,
            tx_bytes: peer.tx_bytes,
            testimony: testimony.unwrap_or_default(),
            public_key,
            ..PeerFacts::default()
        }
    }
}

/// Over the five seconds after which an initiation is sent again.
const WATCH: Duration = Duration::from_millis(5_700);
/// How often it is asked whether enough is known.
const STRIDE: Duration = Duration::from_millis(200);
/// How long a thread is looked at to tell how busy it is.
const LOAD_WINDOW: Duration = Duration::from_millis(300);
