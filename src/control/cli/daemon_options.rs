//! Options of the daemon that are also variables of its environment, which the options override.
//!
//! Not here: what they do, and what their values can be (see `control::environment`).

use std::ffi::OsString;

use crate::control::environment::{BIND_DEVICE, HOOK, LISTEN, NETNS, PEERS_DIR};
use crate::control::metrics::listen::METRICS;

#[derive(Debug, clap::Args)]
pub(super) struct DaemonOptions {
    /// Start PROGRAM for each event: a peer connects, falls silent, moves, comes or goes.
    ///
    /// It finds in its environment: `TUN_DEV_NAME`; `RVPN_EVENT`, as in `rvpn monitor --json`; `RVPN_TIME`; `RVPN_PEER`, a
    /// public key; and, where they have a meaning, `RVPN_PEER_NAME`, `RVPN_ENDPOINT`, `RVPN_PREVIOUS_ENDPOINT`,
    /// `RVPN_ALLOWED_IP`, `RVPN_OTHER_PEER`, `RVPN_OTHER_PEER_NAME`, `RVPN_LISTEN_PORT`, `RVPN_PREVIOUS_LISTEN_PORT`,
    /// `RVPN_MISSED`. Besides there is `PATH`, and nothing else.
    ///
    /// It hears of what happens after the start: peers that are there by then, as those of files, are not told as `added`.
    ///
    /// Four run at once, those of one peer one after another. One that takes more than 10 s is ended.
    #[arg(long, value_name = "PROGRAM", value_hint = clap::ValueHint::FilePath)]
    hook: Option<OsString>,
    /// A directory with a file for each peer, NAME.conf, which is followed while the interface is there.
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    peers_dir: Option<OsString>,
    /// The local address of the UDP sockets; one of each family, with a comma between them. A family without is left out.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<OsString>,
    /// The interface by which encrypted packets leave and come in, whatever the routes say.
    #[arg(long, value_name = "INTERFACE")]
    bind_device: Option<OsString>,
    /// The network namespace of the UDP sockets: a name of `ip netns`, or the number of a process.
    #[arg(long, value_name = "NAME|PID")]
    netns: Option<OsString>,
    /// Serve metrics there over HTTP, below /metrics: 127.0.0.1:9586, or unix:/PATH.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<OsString>,
}

impl DaemonOptions {
    /// Returns what was said in the place of the variable `name`.
    pub(super) fn variable(&self, name: &str) -> Option<OsString> {
        match name {
            HOOK => self.hook.clone(),
            PEERS_DIR => self.peers_dir.clone(),
            LISTEN => self.listen.clone(),
            BIND_DEVICE => self.bind_device.clone(),
            NETNS => self.netns.clone(),
            METRICS => self.metrics.clone(),
            _ => None,
        }
    }
}
