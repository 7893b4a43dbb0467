//! Where the datagrams of a peer go: as configuration says, and after that to where it was last heard from.
//!
//! Not here: candidates for an endpoint (see `candidates`), what is heard (see the parent).
//!
//! Source: whitepaper section 2.1.

use std::net::SocketAddr;

use super::Peer;
use crate::proto::endpoint::Endpoint;
use crate::proto::time::Instant;

impl Peer {
    /// Sets the endpoint by configuration: the cached source is forgotten. The first endpoint of an up peer asks for
    /// what could not be sent without one.
    pub fn set_endpoint(&mut self, remote: SocketAddr) {
        let had_none = self.endpoint.replace(Endpoint::configured(remote)).is_none();
        if let Some(candidates) = &mut self.candidates {
            candidates.endpoint_was_set();
        }
        if had_none {
            self.resume_sending();
        }
    }

    /// Forgets where the peer was heard from; nothing is asked for.
    pub fn replace_endpoint(&mut self, remote: Option<SocketAddr>) {
        self.endpoint = remote.map(Endpoint::configured);
    }

    /// Returns the endpoint.
    pub fn endpoint(&self) -> Option<Endpoint> {
        self.endpoint
    }

    /// Forgets the cached source address (it stopped working, fwmark or listen port changed, the route moved).
    pub fn clear_source(&mut self) {
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.source = None;
        }
    }

    /// Something authentic and not replayed came from `from`: the endpoint follows it.
    pub(super) fn heard(&mut self, now: Instant, from: Endpoint) {
        self.presence.heard(now);
        if let Some(before) = self.endpoint.replace(from)
            && before.remote != from.remote
        {
            // Two moves before the caller drains are one, from where the first began.
            self.outputs.roamed_from.get_or_insert(before.remote);
        }
    }
}
