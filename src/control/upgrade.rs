//! Hot restart: another process, of a newer file of this program, goes on with an interface and its live sessions.
//!
//! ```text
//!  rvpn upgrade wg0          the new process                        the daemon
//!  starts it  ───────────►   asks at the configuration socket  ──►  may it? the same version of state?
//!                            ◄── offer: TUN, sockets, listener,     (goes on as ever)
//!                                command line, configuration
//!                            prepares all, threads stand
//!                            ready ───────────────────────────────► holds its threads: packets wait in the queues
//!                            ◄── a record of the device, of each peer
//!                            resumed ─────────────────────────────► from here on it sends nothing
//!                            ◄── go
//!                            goes on, serves the socket
//!            ◄── done ────   running ─────────────────────────────► ends, and touches neither interface nor socket
//! ```
//! Whatever goes wrong before `go`, or a pause of 5 s, and the daemon goes on as if nothing had been; the new process
//! ends when the connection does. After `go` the daemon goes on only if the new process is gone or silent, and then with
//! counters that the other cannot have used: no nonce is used twice, whichever of the two is believed dead and is not.
//!
//! The new process is started by the command and not by the daemon, which can start nothing (see
//! `platform::linux::hardening`), and for the same reason there is no signal for it. Only root and the user of the daemon
//! are given anything. Keys go over the socket alone, never into a file.
//!
//! `channel` has the frames, `offer` what is given before anything stops, `giving` and `taking` the two sides. Not here:
//! what peers know (`proto::peer`), how a device is held and goes on (`dataplane::handover`).

pub mod channel;
pub mod giving;
pub mod offer;
pub mod taking;

use std::time::Duration;

/// How long either side waits for the other while packets wait.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long the new process may take to prepare, while the other carries packets: 100,000 peers take two seconds.
pub const PREPARATION: Duration = Duration::from_secs(60);
/// How long after `go` was said it is worth nothing any more. Well within [`PATIENCE`], after which the daemon goes on.
const GO_IS_GOOD_FOR: Duration = Duration::from_secs(3);
/// How long threads may take to stand: a full send buffer is waited for 20 ms.
const HOLD_PATIENCE: Duration = Duration::from_secs(1);

/// The word at the configuration socket.
pub const WORD: &str = "upgrade";

/// The end of a sentence about what a daemon cannot do any more because it has given up starting programs and opening
/// files: the process after it has not.
pub const UNTIL_UPGRADE: &str = "until `rvpn upgrade INTERFACE`, which loses no session, or a restart";

/// Why nothing was handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The other side said so.
    #[error("{0}")]
    Told(String),
    /// The other side said nothing in time.
    #[error("the other process says nothing")]
    Silent,
    /// The other side is gone.
    #[error("the other process has ended")]
    Gone,
    /// The other side said something that has no place here.
    #[error("the other process says what cannot be understood")]
    Nonsense,
    /// The daemon is no rvpn, or too old to hand over.
    #[error("the running daemon cannot hand over: not rvpn, or an older one; `rvpn down` and `rvpn up` change it")]
    NotSupported,
    /// The layouts of the state differ.
    #[error(
        "the running daemon hands over state of version {theirs}, and {ours} is asked for; `rvpn down` and `rvpn up` change it"
    )]
    Version {
        /// What the daemon writes.
        theirs: u32,
        /// What the new process reads.
        ours: u32,
    },
    /// The configuration was changed while the new process was preparing.
    #[error("the configuration was changed meanwhile; try again")]
    Changed,
    /// The threads did not come to stand.
    #[error("a thread does not come round; `LOG_LEVEL=verbose` shows which")]
    Busy,
    /// This device cannot be handed over.
    #[error("this device cannot be handed over")]
    NoDevice,
    /// What came in a record or an offer is malformed, or does not fit the device.
    #[error("{0}")]
    State(String),
    /// The new process is in another network namespace and may not change.
    #[error(
        "the daemon's sockets are in another network namespace, which may not be entered: {0}; use `nsenter --net`"
    )]
    Namespace(std::io::Error),
    /// The OS refused.
    #[error("{}", super::error::reason(.0))]
    Os(std::io::Error),
}

impl From<std::io::Error> for UpgradeError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
        match error.kind() {
            WouldBlock | TimedOut => Self::Silent,
            UnexpectedEof | BrokenPipe | ConnectionReset => Self::Gone,
            _ => Self::Os(error),
        }
    }
}

impl From<crate::proto::carried::Malformed> for UpgradeError {
    fn from(error: crate::proto::carried::Malformed) -> Self {
        Self::State(error.to_string())
    }
}

impl From<crate::dataplane::handover::ResumeError> for UpgradeError {
    fn from(error: crate::dataplane::handover::ResumeError) -> Self {
        Self::State(error.to_string())
    }
}
