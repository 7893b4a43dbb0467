//! Configuration files of `wg`: text to values, each fault with its place, all faults of a file at once.
//!
//! ```text
//! bytes -> line::lines -> Line { section or key = value, columns } -> Parser -> Config -> resolve -> Set
//!                                       value::*, quick::* -----------^
//! ```
//!
//! A line counts up to `#`, and white space counts nowhere, not even within a word. So comments can carry options of
//! this program (`#rvpn: Key = value`) through tools that do not know them.
//!
//! Keys of wg-quick and options of an interface are read for `up` and its like; for the words of `wg` the keys are refused
//! with the way out, and these options are comments. Options of a peer are read for all.
//!
//! Not here: what the values do.
//!
//! Source: wg(8), CONFIGURATION FILE FORMAT; where it is silent, what `wg` accepts.

mod fault;
pub mod keys;
mod line;
mod peer_option;
pub mod quick;
mod synchronize;
pub mod text;
pub mod value;
mod words;

use rvpn_uapi::{AllowedIpChange, Candidate, PeerSet, PublicKey, SecretKey, Set};

use self::fault::MAX_WORD_LEN;
pub use self::fault::{ConfigError, Fault, Position};
use self::line::{Line, lines};
use self::peer_option::PeerOption;
use self::quick::{Quick, QuickKey, QuickOption};
pub use self::synchronize::synchronize;
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

    /// Reads a file with the keys of wg-quick and the options of this program.
    ///
    /// # Errors
    /// All of its faults, in the order of the file.
    pub fn parse_quick(text: &[u8]) -> Result<(Self, Quick), Vec<Fault>> {
        let mut parser = Parser { quick: Some(Quick::default()), ..Parser::default() };
        for line in lines(text) {
            parser.line(&line);
        }
        let quick = parser.quick.take().unwrap_or_default();
        Ok((parser.finish()?, quick))
    }

    /// Reads a file of one peer: a section `[Peer]`, its options, and nothing else.
    ///
    /// # Errors
    /// All of its faults, in the order of the file.
    pub fn parse_peer(text: &[u8]) -> Result<Peer, Vec<Fault>> {
        let mut parser = Parser { quick: Some(Quick::default()), is_peers: true, ..Parser::default() };
        for line in lines(text) {
            parser.line(&line);
        }
        match parser.finish()?.peers.pop() {
            Some(peer) => Ok(peer),
            None => Err(vec![Fault::new(Position { line: 1, column: 1 }, "", "expected `[Peer]` in this file")]),
        }
    }

    /// Makes one change of it, in which names of hosts are for rvpn to look up and to follow.
    ///
    /// # Errors
    /// A fault for each endpoint that can be neither handed over nor looked up.
    pub fn hand_over(mut self) -> Result<Set, Vec<Fault>> {
        self.peers.iter_mut().for_each(Peer::hand_over_name);
        self.resolve(Retries(Some(0)), |_, _, _| {})
    }

    /// Takes the first of its list for the endpoint of a peer that has none, for who knows no lists.
    pub fn use_first_of_lists(&mut self) {
        for peer in self.peers.iter_mut().filter(|peer| peer.endpoint.is_none()) {
            let first = peer.set.endpoints.iter().flatten().next();
            let endpoint = first.and_then(|first| Endpoint::parse(&first.to_string()));
            peer.endpoint = endpoint.map(|endpoint| (Position { line: 1, column: 1 }, endpoint));
        }
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

impl Peer {
    /// Makes an endpoint that is a name a list of one, for rvpn to look up and to follow; an address stays where it is.
    pub fn hand_over_name(&mut self) {
        let Some((_, endpoint)) = &self.endpoint else { return };
        let candidate = value::candidate(endpoint.to_string().as_bytes());
        if let Ok(name @ Candidate::Name { .. }) = candidate {
            // A list says more than one endpoint, which is there for other tools.
            self.set.endpoints.get_or_insert_with(|| vec![name]);
            self.endpoint = None;
        }
    }
}

/// Makes a change the whole configuration: keys that are missing are none, and so are other peers.
pub fn whole(mut set: Set) -> Set {
    set.private_key.get_or_insert_with(|| SecretKey::new(&[0; 32]));
    set.listen_port.get_or_insert(0);
    set.fwmark.get_or_insert(0);
    set.replace_peers = true;
    set
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
    /// What the keys of wg-quick and the options say; `None` where they are not read.
    quick: Option<Quick>,
    /// It is the file of one peer.
    is_peers: bool,
    section: Section,
    /// Where the section began that is being read, if it is a peer without a public key so far.
    nameless_peer: Option<Position>,
    faults: Vec<Fault>,
}

impl Parser {
    fn line(&mut self, line: &Line<'_>) {
        let text = line.text();
        if line.is_option() {
            self.option(line);
            return;
        }
        if text.first() == Some(&b'[') {
            self.section(line);
            return;
        }
        let Some((key, value)) = line.entry() else {
            if self.section != Section::Unknown {
                self.fault_of_word(line, text, "expected `Key = value`".to_owned());
            }
            return;
        };
        let known: &[Key] = match self.section {
            Section::Interface => &Key::INTERFACE,
            Section::Peer => &Key::PEER,
            Section::None => {
                return self.fault_of_word(line, key, "expected `[Interface]` or `[Peer]` above it".to_owned());
            }
            Section::Unknown => return,
        };
        if self.section == Section::Interface
            && let Some(quick) = &mut self.quick
            && let Some(found) = QuickKey::find(key)
        {
            self.faults.extend(quick.entry(line, found));
            return;
        }
        let Some(found) = known.iter().find(|known| known.is_spelt(key)) else {
            let expected = unknown_key(key, known, self.quick.is_some());
            return self.fault_of_word(line, key, expected);
        };
        if value.is_empty() {
            return self.fault(line, 0, key, format!("expected a value after `{} =`", found.name()));
        }
        if let Err(expected) = self.entry(line, *found, key.len() + 1, value) {
            self.fault(line, key.len() + 1, value, expected);
        }
    }

    fn section(&mut self, line: &Line<'_>) {
        self.end_peer();
        if self.is_peers && (self.section != Section::None || line.text().eq_ignore_ascii_case(b"[Interface]")) {
            self.section = Section::Unknown;
            self.fault(line, 0, line.text(), "expected one `[Peer]` and nothing else in the file of a peer");
        } else if line.text().eq_ignore_ascii_case(b"[Interface]") {
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

    /// Keeps an option of this program. Where wg-quick's keys are not read, those that are not a peer's are comments.
    fn option(&mut self, line: &Line<'_>) {
        let (key, _) = line.entry().unwrap_or((line.text(), &[]));
        if self.section == Section::Peer
            && let Some(found) = PeerOption::find(key)
        {
            let faults = found.keep(line, &mut self.peer().set);
            return self.faults.extend(faults);
        }
        let Some(quick) = &mut self.quick else { return };
        match QuickOption::find(key) {
            Some(found) if self.section == Section::Interface => self.faults.extend(quick.option(line, found)),
            Some(_) => self.fault(line, 0, key, "belongs in `[Interface]`"),
            None if PeerOption::find(key).is_some() => self.fault(line, 0, key, "belongs in a `[Peer]`"),
            None => {
                let names: Vec<_> = match self.section {
                    Section::Peer => PeerOption::ALL.iter().map(|option| option.name()).collect(),
                    _ => QuickOption::ALL.iter().map(|option| option.name()).collect(),
                };
                self.fault_of_word(line, key, format!("expected one of {}", names.join(", ")));
            }
        }
    }

    /// Keeps a value. One that is not told here has been told already.
    fn entry(&mut self, line: &Line<'_>, key: Key, at: usize, value: &[u8]) -> Result<(), &'static str> {
        match key {
            Key::ListenPort => self.config.listen_port = Some(value::port(value)?),
            Key::FwMark => self.config.fwmark = Some(value::fwmark(value)?),
            Key::PrivateKey => self.config.private_key = self.secret(line, at, value),
            Key::PresharedKey => {
                let secret = self.secret(line, at, value);
                self.peer().set.preshared_key = secret;
            }
            Key::PublicKey => {
                // One that is none is a fault of its own, and the section is not without it.
                self.nameless_peer = None;
                let key = key_text::decode(value).ok_or(value::KEY)?;
                self.peer().set.public_key = PublicKey(*key.as_bytes());
            }
            Key::Endpoint => self.peer().endpoint = Some((line.position(at), value::endpoint(value)?)),
            Key::PersistentKeepalive => {
                self.peer().set.persistent_keepalive = Some(value::persistent_keepalive(value)?);
            }
            Key::AllowedIps => self.allowed_ips(line, at, value),
        }
        Ok(())
    }

    /// The peer whose section it is.
    fn peer(&mut self) -> &mut Peer {
        self.config.peers.last_mut().expect("the head of a section `[Peer]` adds one")
    }

    fn secret(&mut self, line: &Line<'_>, at: usize, value: &[u8]) -> Option<SecretKey> {
        let key = key_text::decode(value);
        if key.is_none() {
            self.faults.push(Fault::of_secret(line.position(at), value.len(), value::KEY));
        }
        key
    }

    fn allowed_ips(&mut self, line: &Line<'_>, at: usize, value: &[u8]) {
        self.peer().set.replace_allowed_ips = true;
        for (offset, item) in value::items(value) {
            let found = match value::allowed_ip(item) {
                Ok(found) => found,
                Err(expected) => {
                    self.fault(line, at + offset, item, expected);
                    continue;
                }
            };
            let set = &mut self.peer().set;
            set.replace_allowed_ips &= !found.is_increment;
            set.allowed_ips.push(found.change);
            if found.has_host_bits {
                let (AllowedIpChange::Add(network) | AllowedIpChange::Remove(network)) = found.change;
                let (position, text) = (line.position(at + offset), String::from_utf8_lossy(item));
                self.config.warnings.push(Fault::new(position, &text, format!("is taken for {network}")));
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

    /// Tells of a word where a key should be. It may be a secret that lost its place.
    fn fault_of_word(&mut self, line: &Line<'_>, word: &[u8], expected: String) {
        let starts = |key: &&Key| word.get(..key.name().len()).is_some_and(|start| key.is_spelt(start));
        match Key::INTERFACE.iter().chain(&Key::PEER).find(starts) {
            Some(key) if word.len() > key.name().len() + 2 => {
                self.fault(line, 0, key.name().as_bytes(), "expected `=` after it");
            }
            _ if word.len() > MAX_WORD_LEN => {
                self.faults.push(Fault::of_secret(line.position(0), word.len(), &expected));
            }
            _ => self.fault(line, 0, word, expected),
        }
    }

    /// Tells of a value.
    fn fault(&mut self, line: &Line<'_>, at: usize, value: &[u8], expected: impl Into<String>) {
        self.faults.push(Fault::new(line.position(at), &String::from_utf8_lossy(value), expected));
    }
}

/// A key of a file.
#[allow(clippy::enum_variant_names, reason = "these are their names")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    PrivateKey,
    ListenPort,
    FwMark,
    PublicKey,
    PresharedKey,
    AllowedIps,
    Endpoint,
    PersistentKeepalive,
}

impl Key {
    const INTERFACE: [Self; 3] = [Self::PrivateKey, Self::ListenPort, Self::FwMark];
    const PEER: [Self; 5] =
        [Self::PublicKey, Self::PresharedKey, Self::AllowedIps, Self::Endpoint, Self::PersistentKeepalive];

    const fn name(self) -> &'static str {
        match self {
            Self::PrivateKey => "PrivateKey",
            Self::ListenPort => "ListenPort",
            Self::FwMark => "FwMark",
            Self::PublicKey => "PublicKey",
            Self::PresharedKey => "PresharedKey",
            Self::AllowedIps => "AllowedIPs",
            Self::Endpoint => "Endpoint",
            Self::PersistentKeepalive => "PersistentKeepalive",
        }
    }

    fn is_spelt(self, text: &[u8]) -> bool {
        text.eq_ignore_ascii_case(self.name().as_bytes())
    }
}

fn unknown_key(text: &[u8], known: &[Key], is_quick: bool) -> String {
    if QuickKey::find(text).is_some() {
        return match is_quick {
            true => "belongs in `[Interface]`".to_owned(),
            false => "is a key of wg-quick: `rvpn up` reads it, `rvpn strip` takes it out".to_owned(),
        };
    }
    if Key::INTERFACE.iter().any(|key| key.is_spelt(text)) {
        return "belongs in `[Interface]`".to_owned();
    }
    if Key::PEER.iter().any(|key| key.is_spelt(text)) {
        return "belongs in a `[Peer]`".to_owned();
    }
    let quick = if is_quick { QuickKey::all() } else { &[] };
    let mut names = known.iter().map(|key| key.name()).chain(quick.iter().map(|key| key.name()));
    match names.find(|name| value::is_misspelt(text, name)) {
        Some(name) => format!("expected `{name}`?"),
        None => format!("expected one of {}", known.iter().map(|key| key.name()).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests;
