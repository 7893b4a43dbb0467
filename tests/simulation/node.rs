//! One device and the state its threads would have, stepped by the one thread there is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rvpn::dataplane::device::Device;
use rvpn::dataplane::io::{Clock, Ready};
use rvpn::dataplane::workers::{Inline, PacketWay};
use rvpn::platform::fake::{FakeClock, Host, Internet};
use rvpn::proto::constants::{MAX_QUEUED_HANDSHAKES, MAX_STAGED_PACKETS};
use rvpn::proto::keys::PublicKey;
use rvpn::proto::time::{Instant, WallTime};

use crate::config::Keys;
use crate::packets::numbers;

/// A device on a host of its own, with clocks of its own.
pub(crate) struct Node {
    pub(crate) device: Arc<Device>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) host: Arc<Host>,
    pub(crate) keys: Keys,
    pub(crate) outer: SocketAddr,
    pub(crate) is_up: bool,
    /// It was configured, and may have something to do for it.
    pub(crate) is_poked: bool,
    way: PacketWay,
    inline: Inline,
    deadline: Option<Instant>,
    /// By how much its boot-time clock is ahead of the world's.
    ahead: Duration,
    /// Suspended until then: does nothing, hears nothing, and its clock shows nothing of it.
    asleep_until: Option<Instant>,
    /// Senders of what has arrived, until all of that is read: a step reads so many datagrams and no more.
    heard: Vec<SocketAddr>,
    latest_calendar: WallTime,
    is_forgetful: bool,
    /// Where each peer is, as far as this node may know.
    endpoints: BTreeMap<PublicKey, Option<SocketAddr>>,
}

impl Node {
    /// Makes a device that is down and knows nobody.
    pub(crate) fn new(internet: &Arc<Internet>, keys: Keys, outer: SocketAddr, seed: u64) -> Self {
        let clock = FakeClock::new();
        let host = Host::new(internet, &clock, &[outer.ip()], seed);
        let device = Device::new(host.platform());
        Self {
            way: PacketWay::new(&device),
            inline: Inline::new(&device),
            keys,
            device,
            clock,
            host,
            outer,
            is_up: false,
            is_poked: false,
            deadline: None,
            ahead: Duration::ZERO,
            asleep_until: None,
            heard: Vec::new(),
            latest_calendar: WallTime::default(),
            is_forgetful: false,
            endpoints: BTreeMap::new(),
        }
    }

    /// Does what can be done; tells whether there was anything, and which packets came out. `senders` are those it has
    /// heard from since the last time.
    pub(crate) fn step(&mut self, senders: &[SocketAddr]) -> (bool, Vec<u64>) {
        if self.sleeps() {
            return (false, Vec::new());
        }
        self.is_poked = false;
        self.latest_calendar = self.latest_calendar.max(self.clock.wall());
        self.heard.extend(senders);
        let ready = self.host.ready();
        let mut any = ready != Ready::default();
        if any {
            self.way.step(&self.device, ready).expect("the TUN is there");
        }
        // Timers that are due ask for handshakes, and these arm timers.
        any |= self.inline.deadlines(&self.device).is_some_and(|deadline| deadline <= self.clock.now());
        any |= self.inline.handshakes(&self.device);
        self.deadline = self.inline.deadlines(&self.device);
        if any {
            self.check_endpoints();
        }
        if !self.host.ready().udp.any() {
            self.heard.clear();
        }
        self.check_bounds();
        (any, numbers(&self.host.tun().take_written()))
    }

    /// Returns when it has something to do by itself, on the clock of the world.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        self.asleep_until.or(self.deadline.map(|deadline| deadline.minus(self.ahead)))
    }

    /// Returns the time on its own clock.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Tells whether it would do something at `now` although nothing has arrived.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.is_poked || self.next_event().is_some_and(|next| next <= now) || self.host.ready() != Ready::default()
    }

    /// Tells whether it is suspended.
    pub(crate) fn sleeps(&self) -> bool {
        self.asleep_until.is_some()
    }

    /// Suspends it.
    pub(crate) fn suspend(&mut self, until: Instant) {
        self.asleep_until = Some(until);
    }

    /// Lets its clocks go on to `now`, in one stride if it wakes up.
    pub(crate) fn advance(&mut self, now: Instant) {
        if self.asleep_until.is_some_and(|until| until <= now) {
            self.asleep_until = None;
        }
        if self.asleep_until.is_none() {
            self.clock.advance_to(now.plus(self.ahead));
        }
    }

    /// Lets its clocks go ahead of everyone else's by `time`: what a jump of CLOCK_BOOTTIME is to it.
    pub(crate) fn jump(&mut self, time: Duration) {
        self.ahead += time;
        self.clock.advance(time);
    }

    /// Steps its calendar by `secs`; only ahead, if it has forgotten timestamps.
    pub(crate) fn step_calendar(&mut self, secs: i64) {
        self.clock.step_wall(if self.is_forgetful { secs.abs() } else { secs });
    }

    /// It has removed a peer, and with it forgotten which timestamps it has sent. With a calendar that is behind them it
    /// would be refused until that has caught up (see `clocks`), which is no matter of the network. So its calendar is set
    /// an hour beyond the latest time it ever showed, and never back again. The hour is for timestamps made while it was
    /// behind: each is 17 ms later than the one before.
    pub(crate) fn mend_calendar(&mut self) {
        let behind = self.latest_calendar.secs.saturating_sub(self.clock.wall().secs) + 3_600;
        self.clock.step_wall(behind as i64);
        self.is_forgetful = true;
    }

    /// Takes the endpoints as they are: configuration has changed them.
    pub(crate) fn note_endpoints(&mut self) {
        self.endpoints = self.read_endpoints();
    }

    /// Everything a peer's packets may change, except by what follows from an authentic one.
    pub(crate) fn fingerprint(&self) -> String {
        let snapshot = self.device.snapshot();
        let peers: Vec<_> = snapshot.peers.iter().map(|peer| (peer.public_key, &peer.status)).collect();
        let mut objects = self.device.objects();
        // What the last datagrams were received into.
        (objects.buffers, objects.buffers_made) = (0, 0);
        format!("{peers:?} {objects} {:?}", self.deadline)
    }

    fn read_endpoints(&self) -> BTreeMap<PublicKey, Option<SocketAddr>> {
        let snapshot = self.device.snapshot();
        let peers = snapshot.peers.iter();
        peers.map(|peer| (peer.public_key, peer.status.endpoint.map(|endpoint| endpoint.remote))).collect()
    }

    fn check_endpoints(&mut self) {
        let endpoints = self.read_endpoints();
        for (peer, endpoint) in &endpoints {
            if self.endpoints.get(peer) != Some(endpoint) {
                let known = endpoint.is_some_and(|endpoint| self.heard.contains(&endpoint));
                assert!(known, "[4] {} moved a peer to {endpoint:?}, having heard from {:?}", self.outer, self.heard);
            }
        }
        self.endpoints = endpoints;
    }

    fn check_bounds(&self) {
        let held = self.device.objects();
        let indices = held.handshakes + held.keypairs;
        assert!(indices <= 4 * held.peers, "[7] {indices} indices for {} peers", held.peers);
        assert!(held.staged <= MAX_STAGED_PACKETS * held.peers, "[10] {held}");
        assert!(held.queued <= MAX_QUEUED_HANDSHAKES + held.peers, "[10] {held}");
        assert!(held.buffers <= MAX_BUFFERS, "[10] {held}");
        // Outdated ones included: see `dataplane::deadlines`.
        assert!(held.deadlines <= MAX_DEADLINES * held.peers.max(1), "[10] {held}");
    }
}

/// As the data plane's pool.
const MAX_BUFFERS: usize = 256;
/// A key's long deadline, 540 s, put in again after each short one.
const MAX_DEADLINES: usize = 600;
