//! Why a tunnel that works is slow.

use crate::control::doctor::facts::Facts;
use crate::control::doctor::finding::{Cause, Finding, Severity};

/// Finds what limits the speed.
pub(super) fn of_device(facts: &Facts, findings: &mut Vec<Finding>) {
    let speed = &facts.speed;
    let mut add = |finding: Finding| findings.push(finding.being(Severity::Slow));
    if let Some(why) = &speed.offloads_off {
        add(Finding::new(
            Cause::OffloadsOff,
            "segmentation is not left to the kernel: every packet is read, sealed and sent alone",
            why,
            "start it without RVPN_OFFLOAD=off, on Linux 6.2 or later",
        ));
    }
    if let Some((thread, share)) = speed.busiest.as_ref().filter(|(_, share)| *share > SATURATED) {
        add(Finding::new(
            Cause::CoreSaturated,
            format!("the thread `{thread}` has used up its core"),
            format!("{:.0} % of one core while it was looked at", share * 100.0),
            "RVPN_WORKERS=CORES, a larger MTU, or fewer other programs on these cores",
        ));
    }
    if let Some((dropped, limit)) = speed.overflown.filter(|(dropped, _)| *dropped > 0) {
        add(Finding::new(
            Cause::ReceiveBuffer,
            "datagrams came faster than they were taken out of the receive buffer",
            format!(
                "{dropped} lost at the sockets while it was looked at; a buffer may have {limit} bytes at most here"
            ),
            format!("sysctl -w net.core.rmem_max={WANTED}   (then start it anew)"),
        ));
    }
}

/// Of one core.
const SATURATED: f64 = 0.9;
/// What the sockets ask for.
const WANTED: u64 = 7 << 20;
