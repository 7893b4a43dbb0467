//! The interface side of configuration: up and down, listen port and mark, and what follows from routes.
//!
//! Not here: the course of a change (see the parent), peers (see `peers`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{ApplyError, Change};
use crate::dataplane::device::Device;
use crate::dataplane::events::EventKind;
use crate::dataplane::io::Udp;
use crate::dataplane::peer::Peer;
use crate::dataplane::sync::{lock, write, yield_now};
use crate::dataplane::workers::Context;
use crate::proto::carried::{Carried, Malformed, Reader, Writer};
use crate::proto::endpoint::Source;

/// Interface state and settings of a device.
#[derive(Debug, Default)]
pub(in crate::dataplane) struct Settings {
    /// The link is up. Without sockets all the same if their port could not be bound: then `up` is false.
    link_is_up: bool,
    up: bool,
    /// The port in use, or to be used at the next up; 0: to be chosen then.
    port: u16,
    /// The OS chose the port.
    port_is_automatic: bool,
    mark: u32,
    /// Another process has the device: nothing may be bound or sent for it from here.
    is_retired: bool,
    /// Changes applied so far.
    changes: u64,
}

impl Settings {
    /// Tells whether the device has sockets.
    pub(super) fn is_up(&self) -> bool {
        self.up
    }

    /// Returns the port in use, or to be used; 0 if none was chosen yet.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Returns how many changes were applied.
    pub(in crate::dataplane) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn count_change(&mut self) {
        self.changes += 1;
    }

    pub(super) fn check_not_retired(&self) -> Result<(), ApplyError> {
        if self.is_retired { Err(ApplyError::Retired) } else { Ok(()) }
    }

    /// Returns the firewall mark.
    pub(super) fn mark(&self) -> u32 {
        self.mark
    }
}

impl Device {
    /// The interface went up: binds the sockets and lets the peers go. Nothing happens if it is up.
    ///
    /// # Errors
    /// The port could not be bound; the device stays down until a change names a listen port that can be, or until the
    /// interface goes up anew.
    pub fn up(&self) -> Result<(), ApplyError> {
        let mut settings = lock(&self.config);
        settings.link_is_up = true;
        if settings.up || settings.is_retired {
            return Ok(());
        }
        let udp = self.bind(settings.port, settings.mark)?;
        settings.port_is_automatic |= settings.port == 0;
        settings.port = udp.port();
        self.go_up(&mut Context::new(self), &mut settings, udp);
        Ok(())
    }

    /// The interface went down: closes the sockets, stops timers, forgets sessions. The configuration stays. After it
    /// returns nothing is sent or delivered. Nothing happens if it is down.
    pub fn down(&self) {
        self.go_down(&mut lock(&self.config));
    }

    /// Another process goes on with the device: this one lets go of sockets and sessions, for good.
    pub(in crate::dataplane) fn retire(&self, settings: &mut Settings) {
        settings.is_retired = true;
        // Not waited for, as for sockets whose port is wanted: they stay open where they went.
        *write(&self.udp) = None;
        self.go_down(settings);
    }

    /// Goes on with the sockets of another process, which the platform gives out under their port, and lets no peer go
    /// yet: each has to be told what it knew.
    pub(in crate::dataplane) fn resume_sockets(&self, carried: CarriedSettings) -> Result<(), ApplyError> {
        let mut settings = lock(&self.config);
        settings.link_is_up = carried.link_is_up;
        settings.port = carried.port;
        settings.port_is_automatic = carried.port_is_automatic;
        if carried.up {
            let udp = self.bind(settings.port, settings.mark)?;
            settings.up = true;
            self.use_sockets(Some(udp));
        }
        Ok(())
    }

    fn go_down(&self, settings: &mut Settings) {
        settings.link_is_up = false;
        if !settings.up {
            return;
        }
        settings.up = false;
        self.use_sockets(None);
        self.handshakes.clear();
        self.silence(&mut Context::new(self), &self.peers.all());
    }

    /// The routes or addresses of the host changed: cached source addresses of peers that are now reached through
    /// another interface are forgotten (protocol 11.3), and peers that are in use learn of us by the new way.
    ///
    /// Whether a way changed is asked of the routing table, and compared with what it said when the last handshake
    /// completed: not the source that is cached, for a peer may have talked to another address of ours.
    pub fn routes_changed(&self) {
        let now = self.platform.clock.now();
        let mut context = Context::new(self);
        for peer in self.peers.all() {
            let Some(endpoint) = peer.state().core.endpoint() else { continue };
            let present = self.source_towards(endpoint.remote);
            self.with_peer(&mut context, &peer, |state, _| {
                if endpoint.source.map(|source| source.interface) != present.map(|present| present.interface) {
                    state.core.clear_source();
                }
                let before = state.way.filter(|(remote, _)| *remote == endpoint.remote).map(|(_, before)| before);
                let Some(present) = present else {
                    state.way_is_lost = true;
                    return;
                };
                state.way = Some((endpoint.remote, present));
                let was_lost = std::mem::take(&mut state.way_is_lost);
                if before.is_some_and(|before| before != present) {
                    state.core.way_changed(now);
                } else if was_lost {
                    state.core.way_is_back(now);
                }
            });
        }
    }

    /// The machine was asleep: what lies between it and its peers may have forgotten them.
    pub fn resumed(&self) {
        let now = self.platform.clock.now();
        let mut context = Context::new(self);
        for peer in self.peers.all() {
            self.with_peer(&mut context, &peer, |state, _| state.core.way_changed(now));
        }
    }

    /// Keeps from where datagrams go to the endpoint of a peer, for [`Device::routes_changed`] to compare with. Asks the
    /// routing table; once per handshake.
    pub(in crate::dataplane) fn note_way(&self, peer: &Peer) {
        let Some(endpoint) = peer.state().core.endpoint() else { return };
        let way = self.source_towards(endpoint.remote).map(|source| (endpoint.remote, source));
        peer.state().way = way;
    }

    fn source_towards(&self, remote: SocketAddr) -> Option<Source> {
        self.platform.network.source_towards(remote, self.mark.load(Ordering::Relaxed))
    }

    /// Binds what the change asks for, without using it yet.
    pub(super) fn check_sockets(&self, settings: &Settings, change: &Change) -> Result<NewSockets, ApplyError> {
        let mark = change.mark.unwrap_or(settings.mark);
        let port = match change.listen_port {
            Some(0) if settings.port_is_automatic => settings.port,
            Some(port) => port,
            None => settings.port,
        };
        let port_is_automatic =
            if change.listen_port.is_some_and(|asked| asked != 0) { false } else { settings.port_is_automatic };
        let new_port = change.listen_port.is_some() && port != settings.port;
        // Up without sockets: whoever names a port, the same or another, wants it bound now.
        let missing = settings.link_is_up && !settings.up && change.listen_port.is_some();
        let mut sockets = NewSockets { port, port_is_automatic, mark, bound: None };
        if (settings.up && new_port) || missing {
            let udp = self.bind(port, mark)?;
            sockets.port_is_automatic |= port == 0;
            sockets.port = udp.port();
            sockets.bound = Some(udp);
        } else if settings.up && mark != settings.mark {
            if let Some(udp) = self.udp() {
                udp.set_mark(mark).map_err(|source| ApplyError::Mark { mark, source })?;
            }
        } else if new_port && port != 0 {
            // Down: bound only to learn now, and not at some later "up", that the port is taken.
            self.bind(port, mark)?;
        }
        Ok(sockets)
    }

    pub(super) fn apply_sockets(&self, context: &mut Context, settings: &mut Settings, sockets: NewSockets) {
        let changed = sockets.port != settings.port || sockets.mark != settings.mark;
        if settings.port != 0 && sockets.port != settings.port {
            self.announce(None, EventKind::ListenPortChanged { from: settings.port, to: sockets.port });
        }
        settings.port = sockets.port;
        settings.port_is_automatic = sockets.port_is_automatic;
        settings.mark = sockets.mark;
        self.mark.store(sockets.mark, Ordering::Relaxed);
        if changed {
            self.peers.all().iter().for_each(|peer| peer.state().core.clear_source());
        }
        match sockets.bound {
            Some(udp) if settings.up => self.use_sockets(Some(udp)),
            Some(udp) => self.go_up(context, settings, udp),
            None => {}
        }
    }

    /// Lets the peers go, with sockets that were bound for it.
    fn go_up(&self, context: &mut Context, settings: &mut Settings, udp: Arc<dyn Udp>) {
        settings.up = true;
        self.use_sockets(Some(udp));
        let now = self.platform.clock.now();
        for peer in self.peers.all() {
            self.with_peer(context, &peer, |state, _| state.core.up(now));
        }
    }

    fn bind(&self, port: u16, mark: u32) -> Result<Arc<dyn Udp>, ApplyError> {
        self.platform.network.bind(port, mark).map_err(|source| ApplyError::Bind { port, source })
    }

    /// Puts other sockets in the place of those in use, and returns when these are closed: their port may be wanted
    /// again at once. A thread holds them for one batch at most.
    fn use_sockets(&self, udp: Option<Arc<dyn Udp>>) {
        let before = std::mem::replace(&mut *write(&self.udp), udp).map(|before| Arc::downgrade(&before));
        // The packet thread sleeps on the sockets that were bound when it began to sleep.
        self.platform.poller.wake();
        while before.as_ref().is_some_and(|before| before.strong_count() > 0) {
            yield_now();
        }
    }
}

/// What another process knew of the interface. The mark comes with the configuration.
pub(in crate::dataplane) struct CarriedSettings {
    link_is_up: bool,
    pub(in crate::dataplane) up: bool,
    port: u16,
    port_is_automatic: bool,
}

impl CarriedSettings {
    pub(in crate::dataplane) fn of(settings: &Settings) -> Self {
        let &Settings { link_is_up, up, port, port_is_automatic, .. } = settings;
        Self { link_is_up, up, port, port_is_automatic }
    }
}

impl Carried for CarriedSettings {
    fn write(&self, out: &mut Writer) {
        self.link_is_up.write(out);
        self.up.write(out);
        self.port.write(out);
        self.port_is_automatic.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (link_is_up, up) = (bool::read(input)?, bool::read(input)?);
        let (port, port_is_automatic) = (u16::read(input)?, bool::read(input)?);
        if up && (port == 0 || !link_is_up) {
            return Err(Malformed);
        }
        Ok(Self { link_is_up, up, port, port_is_automatic })
    }
}

/// The sockets after a change.
pub(super) struct NewSockets {
    port: u16,
    port_is_automatic: bool,
    mark: u32,
    bound: Option<Arc<dyn Udp>>,
}
