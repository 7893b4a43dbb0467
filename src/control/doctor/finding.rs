//! What a diagnosis says: causes, in the order in which they explain a failure, each with its fact and its way out.
//!
//! Not here: when a cause is found (see `diagnose`).

use serde::Serialize;

use super::facts::PeerFacts;

/// Why a tunnel does not work, or not well. A cause makes those behind it in this order less likely, or follows from
/// what this machine knows more surely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The interface is not in this network namespace.
    InterfaceElsewhere,
    /// The interface is down, or has no sockets.
    InterfaceDown,
    /// There is no private key.
    NoPrivateKey,
    /// There are no peers.
    NoPeers,
    /// The clock of this machine is in the past.
    ClockInThePast,
    /// A packet filter of this machine drops what is sent.
    FilterOutgoing,
    /// There is no route to the endpoint.
    NoRouteToEndpoint,
    /// The endpoint's name has no address.
    NameNotResolved,
    /// The peer has no endpoint.
    NoEndpoint,
    /// The reverse path filter drops what comes in from the endpoint.
    ReversePathOutside,
    /// A packet filter of this machine drops what comes in.
    FilterIncoming,
    /// The preshared keys differ.
    PresharedKey,
    /// The clock of the peer is in the past.
    PeerClockInThePast,
    /// An initiator that is no peer.
    UnknownPeer,
    /// Somebody has another public key for us.
    WrongPublicKey,
    /// Nobody listens at the endpoint.
    PortClosed,
    /// The endpoint's host cannot be reached.
    HostUnreachable,
    /// A packet filter on the way forbids it.
    Prohibited,
    /// The endpoint's name has another address now.
    NameMoved,
    /// The peer is under load.
    CookiesOnly,
    /// The peer takes none of our responses.
    Unconfirmed,
    /// Nothing comes back.
    NothingComesBack,
    /// An address that is in no peer's allowed IPs here.
    AllowedIpsHere,
    /// An address that the peer sends from and that is not its own.
    AllowedIpsOfPeer,
    /// A route that leads elsewhere.
    RouteMissing,
    /// The reverse path filter.
    ReversePath,
    /// Long packets are lost.
    MtuHole,
    /// The peer hears us, and sends nothing but keepalives.
    OnlyKeepalives,
    /// Segmentation is not left to the kernel.
    OffloadsOff,
    /// A thread has used up its core.
    CoreSaturated,
    /// The receive buffer overflows.
    ReceiveBuffer,
}

/// What a cause means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It keeps something from working.
    Wrong,
    /// It keeps something from being fast.
    Slow,
    /// Odd, and no fault of a tunnel that works.
    Note,
}

/// One cause, found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which.
    pub cause: Cause,
    /// What it means here.
    pub severity: Severity,
    /// The public key of the peer it is about, if it is about one.
    pub peer: Option<String>,
    /// What people call that peer, if it has a name.
    pub name: Option<String>,
    /// What is wrong, in a few words.
    pub says: String,
    /// What that stands on.
    pub fact: String,
    /// The command, or what else mends it.
    pub mend: String,
}

impl Finding {
    /// Makes one about no peer, that keeps something from working.
    pub(super) fn new(cause: Cause, says: impl Into<String>, fact: impl Into<String>, mend: impl Into<String>) -> Self {
        let (says, fact, mend) = (says.into(), fact.into(), mend.into());
        Self { cause, severity: Severity::Wrong, peer: None, name: None, says, fact, mend }
    }

    /// Makes it one about a peer.
    pub(super) fn of(self, peer: &PeerFacts) -> Self {
        Self { peer: Some(peer.public_key.clone()), name: peer.called.clone(), ..self }
    }

    /// Gives it another severity.
    pub(super) fn being(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }
}
