//! Telling local senders that no peer carries their packet, or that it should be shorter, within a budget.
//!
//! Not here: the messages themselves and when none may be sent (see `proto::icmp`), how long a packet should be (see
//! `path_mtu`).

use std::io::IoSlice;

use super::budget::Budget;
use super::io::Tun;
use super::offload::Offload;
use super::sync::{Mutex, lock};
use crate::proto::icmp::{self, Report};
use crate::proto::time::Instant;

/// The device's budget of ICMP messages.
pub(super) struct Reports {
    budget: Mutex<Budget>,
}

impl Reports {
    pub(super) fn new() -> Self {
        Self { budget: Mutex::new(Budget::new()) }
    }

    /// Writes `report` about `packet` to the TUN, if one may be sent and the budget allows it. A failure to write is no
    /// loss: the next such packet brings the next one.
    pub(super) fn send(&self, tun: &dyn Tun, now: Instant, report: Report, packet: &[u8]) {
        let mut message = [0; icmp::MAX_LEN];
        let Some(len) = icmp::write(report, packet, &mut message) else { return };
        if lock(&self.budget).allow(now) {
            let _ = tun.write(Offload::default(), &[IoSlice::new(&message[..len])]);
        }
    }
}
