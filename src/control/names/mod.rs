//! Endpoints that are names: looked up in the background for as long as there is a peer that has them.
//!
//! ```text
//!   device --wanted names--> Following --line--> process "rvpn-names" --UDP, marked--> name servers
//!      ^                        |   ^                   |
//!      '------- addresses ------'   '------ line -------'
//! ```
//!
//! A name is asked for when it comes, when its answer gets old, after ever longer pauses as long as there is no answer,
//! and whenever a peer of that name does not answer. Nothing waits for it: an interface is up before DNS is.
//!
//! Names are looked up by a process of its own, which is started before the daemon gives up opening files and
//! starting programs: what reads the files of the system's resolver and the answers of strangers has no keys. It ends when
//! the daemon does. OpenNTPD does the same for the same reason.
//!
//! Not here: what is done with addresses (see `proto::candidates`).

mod dns;
pub mod parsing;
pub mod process;
mod system;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, Take};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::process::{Answer, Question};
use super::upgrade::UNTIL_UPGRADE;
use crate::dataplane::candidates::{Candidate, Candidates};
use crate::dataplane::device::Device;
use crate::proto::keys::PublicKey;

/// A device whose peers may have names. A seam for tests.
pub trait Named: Send + Sync {
    /// See [`Device::on_wanted_names`].
    fn on_wanted_names(&self, wake: Box<dyn Fn() + Send + Sync>);
    /// See [`Device::wanted_names`].
    fn wanted_names(&self) -> Vec<(PublicKey, Candidates)>;
    /// See [`Device::candidates_of`].
    fn candidates_of(&self, public_key: &PublicKey) -> Option<Candidates>;
    /// See [`Device::use_addresses`].
    fn use_addresses(&self, public_key: &PublicKey, candidates: &Candidates, addresses: Vec<SocketAddr>) -> bool;
    /// Returns the firewall mark, which keeps questions out of the tunnel.
    fn mark(&self) -> u32;
}

impl Named for Device {
    fn on_wanted_names(&self, wake: Box<dyn Fn() + Send + Sync>) {
        Self::on_wanted_names(self, wake);
    }

    fn wanted_names(&self) -> Vec<(PublicKey, Candidates)> {
        Self::wanted_names(self)
    }

    fn candidates_of(&self, public_key: &PublicKey) -> Option<Candidates> {
        Self::candidates_of(self, public_key)
    }

    fn use_addresses(&self, public_key: &PublicKey, candidates: &Candidates, addresses: Vec<SocketAddr>) -> bool {
        Self::use_addresses(self, public_key, candidates, addresses)
    }

    fn mark(&self) -> u32 {
        Self::mark(self)
    }
}

/// A device and the process that looks names up for it.
pub struct Names {
    device: Arc<dyn Named>,
    process: StdUnixStream,
}

impl Names {
    /// Puts the two together. Nothing happens before [`Names::follow`].
    pub fn new(device: Arc<dyn Named>, process: StdUnixStream) -> Self {
        Self { device, process }
    }

    /// Looks names up for ever. If the process ends, no name is looked up any more, and the addresses found last stay.
    pub async fn follow(self) -> Infallible {
        let outcome = async {
            self.process.set_nonblocking(true)?;
            let stream = UnixStream::from_std(self.process)?;
            Following::new(self.device, stream).run().await
        };
        if let Err(error) = outcome.await {
            tracing::error!(
                "Names of endpoints are no longer looked up: {error}. Addresses that were found stay in use; where a name \
                 points to is not followed {UNTIL_UPGRADE}"
            );
        }
        pending().await
    }
}

struct Following {
    device: Arc<dyn Named>,
    questions: OwnedWriteHalf,
    /// The process may be in the wrong hands: a line without end is cut.
    answers: Lines<Take<BufReader<OwnedReadHalf>>>,
    wake: Arc<Notify>,
    peers: HashMap<PublicKey, Candidates>,
    hosts: HashMap<Arc<str>, Host>,
}

/// What is known of a name.
struct Host {
    addresses: Vec<IpAddr>,
    asked: Instant,
    is_asked: bool,
    next: Instant,
    pause: Duration,
}

impl Following {
    fn new(device: Arc<dyn Named>, stream: UnixStream) -> Self {
        let (answers, questions) = stream.into_split();
        let wake = Arc::new(Notify::new());
        let waker = Arc::clone(&wake);
        device.on_wanted_names(Box::new(move || waker.notify_one()));
        let answers = BufReader::new(answers).take(MAX_LINE_LEN).lines();
        Self { device, questions, answers, wake, peers: HashMap::new(), hosts: HashMap::new() }
    }

    async fn run(mut self) -> io::Result<()> {
        loop {
            let due = self.hosts.values().filter(|host| !host.is_asked).map(|host| host.next).min();
            let timer = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = self.wake.notified() => self.ask_wanted().await?,
                () = timer => self.ask_due().await?,
                line = self.answers.next_line() => match line? {
                    Some(line) => {
                        self.answers.get_mut().set_limit(MAX_LINE_LEN);
                        self.take(&line);
                    }
                    None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the process for it has ended")),
                },
            }
        }
    }

    /// Asks for the names of peers that are new or do not answer.
    async fn ask_wanted(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for (public_key, candidates) in self.device.wanted_names() {
            for host in hosts_of(&candidates) {
                let known = self.hosts.entry(Arc::clone(host)).or_insert_with(|| Host::new(now));
                // A peer that does not answer wants it every five seconds; no name server is asked more often than this.
                known.next = known.next.min(known.asked + SPACING);
                known.pause = FIRST_PAUSE;
            }
            let is_new = self
                .peers
                .insert(public_key, Arc::clone(&candidates))
                .is_none_or(|old| !Arc::ptr_eq(&old, &candidates));
            if is_new {
                // Another peer may have the same name, and its address is known.
                self.tell(&public_key);
            }
        }
        self.ask_due().await
    }

    /// Asks for all names whose time has come, and forgets those that nobody has any more.
    async fn ask_due(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let device = &self.device;
        self.peers.retain(|public_key, candidates| {
            device.candidates_of(public_key).is_some_and(|present| Arc::ptr_eq(&present, candidates))
        });
        let peers = &self.peers;
        self.hosts.retain(|name, _| peers.values().any(|candidates| hosts_of(candidates).any(|host| host == name)));
        let mark = device.mark();
        for (name, host) in self.hosts.iter_mut().filter(|(_, host)| !host.is_asked && host.next <= now) {
            (host.is_asked, host.asked) = (true, now);
            let question = Question { host: name.to_string(), mark };
            self.questions.write_all(question.to_string().as_bytes()).await?;
        }
        Ok(())
    }

    /// Takes an answer.
    fn take(&mut self, line: &str) {
        let Some(answer) = Answer::parse(line) else { return };
        let Some((name, host)) =
            self.hosts.get_key_value(answer.host.as_str()).map(|(name, _)| Arc::clone(name)).and_then(|name| {
                let host = self.hosts.get_mut(&name)?;
                Some((name, host))
            })
        else {
            return;
        };
        let now = Instant::now();
        host.is_asked = false;
        match answer.found {
            Ok((addresses, ttl)) => {
                host.next = now + ttl.clamp(SHORTEST_TTL, LONGEST_TTL);
                host.pause = FIRST_PAUSE;
                if host.addresses == addresses {
                    return;
                }
                tracing::debug!("{name} is at {addresses:?}");
                host.addresses = addresses;
            }
            Err(reason) => {
                tracing::debug!("{name}: {reason}; asking again in {:?}", host.pause);
                host.next = now + host.pause;
                host.pause = (host.pause * 2).min(LONGEST_PAUSE);
                return;
            }
        }
        let users = self.peers.iter().filter(|(_, candidates)| hosts_of(candidates).any(|host| *host == name));
        let users: Vec<_> = users.map(|(public_key, _)| *public_key).collect();
        users.iter().for_each(|public_key| self.tell(public_key));
    }

    /// Tells the device what is known of the names of a peer, if anything is.
    fn tell(&self, public_key: &PublicKey) {
        let Some(candidates) = self.peers.get(public_key) else { return };
        let mut is_known = false;
        let mut addresses = Vec::new();
        for candidate in candidates.iter() {
            match candidate {
                Candidate::Address(address) => addresses.push(*address),
                Candidate::Name { host, port } => {
                    let found = self.hosts.get(host).map_or(&[][..], |host| &host.addresses);
                    is_known |= !found.is_empty();
                    addresses.extend(found.iter().map(|&address| SocketAddr::new(address, *port)));
                }
            }
        }
        if is_known {
            // The order says which came first; a second mention says nothing.
            let mut told = Vec::new();
            addresses.retain(|address| !told.contains(address) && (told.push(*address), true).1);
            self.device.use_addresses(public_key, candidates, addresses);
        }
    }
}

impl Host {
    fn new(now: Instant) -> Self {
        let asked = now.checked_sub(SPACING).unwrap_or(now);
        Self { addresses: Vec::new(), asked, is_asked: false, next: now, pause: FIRST_PAUSE }
    }
}

fn hosts_of(candidates: &Candidates) -> impl Iterator<Item = &Arc<str>> {
    candidates.iter().filter_map(|candidate| match candidate {
        Candidate::Name { host, .. } => Some(host),
        Candidate::Address(_) => None,
    })
}

/// More than the addresses have that fit into the answers of a name server.
const MAX_LINE_LEN: u64 = 16 * 1024;
/// Least time between two questions for one name.
const SPACING: Duration = Duration::from_secs(1);
/// How long an answer is good for at least: some dynamic names come with no time at all, and silence asks sooner.
const SHORTEST_TTL: Duration = Duration::from_secs(15);
/// How long an answer is good for at most.
const LONGEST_TTL: Duration = Duration::from_secs(3600);
/// After the first question without an answer; doubled with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: what a person waits for after DNS is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests;
