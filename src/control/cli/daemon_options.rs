//! Options of the daemon that are also variables of its environment, which the options override.
//!
//! Not here: what they do, and what their values can be (see `control::environment`).

use std::ffi::OsString;

use crate::control::environment::{BIND_DEVICE, LISTEN, NETNS, PEERS_DIR};

#[derive(Debug, clap::Args)]
pub(super) struct DaemonOptions {
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
}

impl DaemonOptions {
    /// Returns what was said in the place of the variable `name`.
    pub(super) fn variable(&self, name: &str) -> Option<OsString> {
        match name {
            PEERS_DIR => self.peers_dir.clone(),
            LISTEN => self.listen.clone(),
            BIND_DEVICE => self.bind_device.clone(),
            NETNS => self.netns.clone(),
            _ => None,
        }
    }
}
