//! Telling local senders that no peer will carry their packet, within a budget.
//!
//! Not here: the message itself and when none may be sent (see `proto::icmp`).

use std::io::IoSlice;

use super::budget::Budget;
use super::io::Tun;
use super::offload::Offload;
use super::sync::{Mutex, lock};
use crate::proto::icmp;
use crate::proto::time::Instant;

/// The device's budget of ICMP messages.
pub(super) struct Unreachable {
    budget: Mutex<Budget>,
}

impl Unreachable {
    pub(super) fn new() -> Self {
        Self { budget: Mutex::new(Budget::new()) }
    }

    /// Writes "unreachable" about `packet` to the TUN, if one may be sent and the budget allows it. A failure to
    /// write is no loss: the packet is gone either way.
    pub(super) fn report(&self, tun: &dyn Tun, now: Instant, packet: &[u8]) {
        let mut message = [0; icmp::MAX_LEN];
        let Some(len) = icmp::unreachable(packet, &mut message) else { return };
        if lock(&self.budget).allow(now) {
            let _ = tun.write(Offload::default(), &[IoSlice::new(&message[..len])]);
        }
    }
}
