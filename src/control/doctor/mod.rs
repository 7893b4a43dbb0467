//! `rvpn doctor`: why a tunnel does not work, from evidence.
//!
//! ```text
//!   daemon (testimony) ─┐
//!   machine (routes, filters, clock, load) ─┼─► Facts ─► diagnose ─► [Finding] ─► for people, or JSON
//!   wire (tap), tunnel (pings) ─┘     examine
//! ```
//! Works of any WireGuard: of one that gives no testimony with less. What is sent is a ping through the tunnel, and
//! nothing is changed.
//!
//! Not here: how findings are shown (see `cli::doctor`), what the daemon collects (see `dataplane::evidence`).

pub mod diagnose;
pub mod examine;
pub mod facts;
pub mod finding;
mod load;
pub mod ruleset;
pub mod testimony;
mod watch;
