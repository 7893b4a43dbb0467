//! The operator: the daemon, its configuration socket, the command line.
//!
//! ```text
//!   cli -> daemon -> host                open the TUN, run the device (platform and data plane)
//!             |----> background          start again detached, wait until that is ready
//!             |----> socket              the file under /var/run/wireguard
//!             |----> supervisor          what the service manager is told
//!             |----> server -> worker -> apply    what `wg` asks for
//!             |          |---> asks               what only this program can be asked
//!             |          `---- peers_directory    what the files of peers say
//!             |----> hook            a program for each event, started by a process apart
//!             |----> metrics         what Prometheus asks for, over HTTP
//!             `----> upgrade         another process goes on with all of it
//!   cli -> show, set, ... -> client              the socket from the other side: `wg` built in
//!                    `-----> config, endpoint    its files, and names of hosts in them
//!   cli -> up, down, ... -> quick               `wg-quick` built in: a plan, and steps that are undone
//! ```
//!
//! Threads: `main` waits for the [`outcome::End`]; `rvpn-uapi` does all IO with the tools, with tokio; `rvpn-apply`
//! is the one that touches the device. Nothing here is on the way of a packet.
//!
//! Sources: <https://www.wireguard.com/xplatform/>, wg(8), wg-quick(8).

pub mod apply;
pub mod asks;
pub mod background;
pub mod calendar;
pub mod capture;
pub mod cli;
pub mod client;
pub mod config;
pub mod daemon;
pub mod doctor;
pub mod endpoint;
pub mod environment;
pub mod error;
pub mod event_log;
pub mod event_record;
pub mod files;
pub mod hook;
pub mod host;
pub mod interface;
pub mod key_text;
pub mod log;
pub mod metrics;
pub mod names;
pub mod outcome;
pub mod peers_directory;
pub mod quick;
pub mod server;
pub mod socket;
pub mod supervisor;
pub mod upgrade;
pub mod worker;
