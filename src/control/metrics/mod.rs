//! Metrics: what a device counts and what its process uses, as text that Prometheus and its like read.
//!
//! ```text
//!   dataplane::metrics, platform::usage --- Metrics ---> families: names and values ---> text: OpenMetrics or older
//!                                                                                          |--> asks::metrics  (socket)
//!                                                                                          `--> http           (--metrics)
//! ```
//!
//! The values are taken at once, the text is made piece by piece while it is sent: that of 10,000 peers is 15 MB, and the
//! thread that sends it has others to serve.
//!
//! Not here: counting (see `dataplane::counters` and `dataplane::stats`).
//!
//! Source: <https://prometheus.io/docs/practices/naming/>.

mod families;
pub mod http;
pub mod listen;
mod text;

use std::time::Duration;

use rvpn_uapi::Aead;

pub use self::families::{Kind, names};
pub use self::text::{Format, Text};
use crate::dataplane::metrics::DeviceMetrics;
use crate::platform::linux::usage::Used;

/// What is known at one moment.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The interface.
    pub interface: String,
    /// What encrypts the packets.
    pub aead: Aead,
    /// The device's numbers.
    pub device: DeviceMetrics,
    /// What the process uses.
    pub process: Used,
    /// CPU time of each thread, by name.
    pub threads: Vec<(String, Duration)>,
}

#[cfg(test)]
pub(in crate::control) mod tests;
