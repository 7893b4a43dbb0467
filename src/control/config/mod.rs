//! Configuration files of `wg`: text to values, each fault with its place, all faults of a file at once.
//!
//! ```text
//! bytes -> line::lines -> Line { section or key = value, columns } -> Parser -> Config -> resolve -> Set
//!                                       value::* ---------------------^
//! ```
//!
//! A line counts up to `#`, and white space counts nowhere, not even within a word. So comments can carry options of
//! this program (`#rvpn: Key = value`) through tools that do not know them.
//!
//! Not here: what the values do, and keys of wg-quick, which are refused with the way out.
//!
//! Source: wg(8), CONFIGURATION FILE FORMAT; where it is silent, what `wg` accepts.

mod fault;
mod line;
pub mod value;

use rvpn_uapi::{AllowedIpChange, PeerSet, PublicKey, SecretKey, Set};

pub use self::fault::{ConfigError, Fault, Position};
use self::line::{Line, lines};
use super::endpoint::{Endpoint, Retries};
use super::key_text;
use crate::platform::linux::resolver::ResolveError;

/// What a file says. `None` is what it is silent about.
#[derive(Debug, Default)]
pub struct Config {
    /// `PrivateKey`
    pub private_key: Option<SecretKey>,
    /// `ListenPort`
    pub listen_port: Option<u16>,
    /// `FwMark`
    pub fwmark: Option<u32>,
    /// `[Peer]`, each of them.
    pub peers: Vec<Peer>,
    /// What is odd about it and no error.
    pub warnings: Vec<Fault>,
}

/// A section `[Peer]`.
#[derive(Debug)]
pub struct Peer {
    /// All but the endpoint.
    pub set: PeerSet,
    /// `Endpoint`, and where it stands.
    pub endpoint: Option<(Position, Endpoint)>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// All of its faults, in the order of the file.
    pub fn parse(text: &[u8]) -> Result<Self, Vec<Fault>> {
        let mut parser = Parser::default();
        for line in lines(text) {
            parser.line(&line);
        }
        parser.finish()
    }

    /// Finds the addresses of all endpoints and makes one change of it: what the file says, and nothing else.
    ///
    /// `wait` is told of each failure that may pass and how long to wait until it is asked again.
    ///
    /// # Errors
    /// A fault for each endpoint that has no address.
    pub fn resolve(
        self,
        retries: Retries,
        mut wait: impl FnMut(&Endpoint, &ResolveError, std::time::Duration),
    ) -> Result<Set, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut peers = Vec::with_capacity(self.peers.len());
        for Peer { mut set, endpoint } in self.peers {
            if let Some((position, endpoint)) = endpoint {
                match endpoint.resolve(retries, |error, pause| wait(&endpoint, error, pause)) {
                    Ok(address) => set.endpoint = Some(address),
                    Err(error) => faults.push(Fault::new(position, &endpoint.to_string(), error.to_string())),
                }
            }
            peers.push(set);
        }
        let Self { private_key, listen_port, fwmark, .. } = self;
        let set = Set { private_key, listen_port, fwmark, replace_peers: false, peers };
        if faults.is_empty() { Ok(set) } else { Err(faults) }
    }
}

/// The section a line is in.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Section {
    #[default]
    None,
    Interface,
    Peer,
    /// Its head is a fault; nothing in it is another one.
    Unknown,
}

#[derive(Default)]
struct Parser {
    config: Config,
    section: Section,
    /// Where the section began that is being read, if it is a peer without a public key so far.
    nameless_peer: Option<Position>,
    faults: Vec<Fault>,
}

impl Parser {
    fn line(&mut self, line: &Line<'_>) {
        let text = line.text();
        if text.first() == Some(&b'[') {
            self.section(line);
            return;
        }
        let Some((key, value)) = line.entry() else {
            if self.section != Section::Unknown {
                self.fault(line, 0, text, "expected `Key = value`");
            }
            return;
        };
        let known: &[&str] = match self.section {
            Section::Interface => &INTERFACE_KEYS,
            Section::Peer => &PEER_KEYS,
            Section::None => return self.fault(line, 0, key, "expected `[Interface]` or `[Peer]` above it"),
            Section::Unknown => return,
        };
        let Some(name) = known.iter().find(|name| key.eq_ignore_ascii_case(name.as_bytes())) else {
            return self.fault(line, 0, key, unknown_key(key, known));
        };
        if value.is_empty() {
            return self.fault(line, 0, key, format!("expected a value after `{name} =`"));
        }
        let at = key.len() + 1;
        match self.section {
            Section::Peer => self.peer_entry(line, name, at, value),
            _ => self.interface_entry(line, name, at, value),
        }
    }

    fn section(&mut self, line: &Line<'_>) {
        self.end_peer();
        if line.text().eq_ignore_ascii_case(b"[Interface]") {
            self.section = Section::Interface;
        } else if line.text().eq_ignore_ascii_case(b"[Peer]") {
            self.section = Section::Peer;
            self.nameless_peer = Some(line.position(0));
            let mut set = PeerSet::new(PublicKey([0; 32]));
            set.replace_allowed_ips = true;
            self.config.peers.push(Peer { set, endpoint: None });
        } else {
            self.section = Section::Unknown;
            self.fault(line, 0, line.text(), "expected `[Interface]` or `[Peer]`");
        }
    }

    fn interface_entry(&mut self, line: &Line<'_>, name: &str, at: usize, value: &[u8]) {
        let config = &mut self.config;
        let result = match name {
            "PrivateKey" => return self.secret(line, at, value, |config, key| config.private_key = Some(key)),
            "ListenPort" => value::port(value).map(|port| config.listen_port = Some(port)),
            _ => value::fwmark(value).map(|mark| config.fwmark = Some(mark)),
        };
        if let Err(expected) = result {
            self.fault(line, at, value, expected);
        }
    }

    fn peer_entry(&mut self, line: &Line<'_>, name: &str, at: usize, value: &[u8]) {
        let Some(peer) = self.config.peers.last_mut() else { return };
        let result = match name {
            "PresharedKey" => {
                return self.secret(line, at, value, |config, key| {
                    config.peers.last_mut().expect("an entry of a peer has one").set.preshared_key = Some(key);
                });
            }
            "AllowedIPs" => return self.allowed_ips(line, at, value),
            "PublicKey" => key_text::decode(value).ok_or(value::KEY).map(|key| {
                peer.set.public_key = PublicKey(*key.as_bytes());
                self.nameless_peer = None;
            }),
            "Endpoint" => {
                let position = line.position(at);
                value::endpoint(value).map(|endpoint| peer.endpoint = Some((position, endpoint)))
            }
            _ => value::persistent_keepalive(value).map(|seconds| peer.set.persistent_keepalive = Some(seconds)),
        };
        if let Err(expected) = result {
            self.nameless_peer = self.nameless_peer.take().filter(|_| name != "PublicKey");
            self.fault(line, at, value, expected);
        }
    }

    fn secret(&mut self, line: &Line<'_>, at: usize, value: &[u8], keep: impl FnOnce(&mut Config, SecretKey)) {
        match key_text::decode(value) {
            Some(key) => keep(&mut self.config, key),
            None => self.faults.push(Fault::of_secret(line.position(at), value.len(), value::KEY)),
        }
    }

    fn allowed_ips(&mut self, line: &Line<'_>, at: usize, value: &[u8]) {
        self.config.peers.last_mut().expect("an entry of a peer has one").set.replace_allowed_ips = true;
        for (offset, item) in value::items(value) {
            match value::allowed_ip(item) {
                Ok(found) => {
                    let set = &mut self.config.peers.last_mut().expect("an entry of a peer has one").set;
                    set.replace_allowed_ips &= !found.is_increment;
                    set.allowed_ips.push(found.change);
                    if found.has_host_bits {
                        let (AllowedIpChange::Add(network) | AllowedIpChange::Remove(network)) = found.change;
                        let text = String::from_utf8_lossy(item);
                        let position = line.position(at + offset);
                        self.config.warnings.push(Fault::new(position, &text, format!("is taken for {network}")));
                    }
                }
                Err(expected) => self.fault(line, at + offset, item, expected),
            }
        }
    }

    fn end_peer(&mut self) {
        if let Some(position) = self.nameless_peer.take() {
            self.faults.push(Fault::new(position, "[Peer]", "expected `PublicKey = ...` in this section"));
        }
    }

    fn finish(mut self) -> Result<Config, Vec<Fault>> {
        self.end_peer();
        if self.faults.is_empty() {
            return Ok(self.config);
        }
        self.faults.sort_by_key(|fault| fault.position);
        Err(self.faults)
    }

    fn fault(&mut self, line: &Line<'_>, at: usize, value: &[u8], expected: impl Into<String>) {
        self.faults.push(Fault::new(line.position(at), &String::from_utf8_lossy(value), expected));
    }
}

const INTERFACE_KEYS: [&str; 3] = ["PrivateKey", "ListenPort", "FwMark"];
const PEER_KEYS: [&str; 5] = ["PublicKey", "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive"];

/// Keys that `wg-quick` takes out before it hands a file on.
const WG_QUICK_KEYS: [&str; 9] =
    ["Address", "DNS", "MTU", "Table", "PreUp", "PostUp", "PreDown", "PostDown", "SaveConfig"];

fn unknown_key(key: &[u8], known: &[&str]) -> String {
    let is = |name: &&&str| key.eq_ignore_ascii_case(name.as_bytes());
    if WG_QUICK_KEYS.iter().any(|name| is(&name)) {
        return "is a key of wg-quick: `wg-quick strip` takes it out".to_owned();
    }
    if INTERFACE_KEYS.iter().any(|name| is(&name)) {
        return "belongs in `[Interface]`".to_owned();
    }
    if PEER_KEYS.iter().any(|name| is(&name)) {
        return "belongs in a `[Peer]`".to_owned();
    }
    match known.iter().find(|name| value::is_misspelt(key, name)) {
        Some(name) => format!("expected `{name}`?"),
        None => format!("expected one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests;
