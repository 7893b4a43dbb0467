//! Moving packets: threads, queues, batches, shared tables, and the traits for IO that a platform implements.
//!
//! The two ways of a packet are in `send` and `receive`, one file each, functions in packet order; `workers` has the
//! threads, `device` the lock order, `configure` what the operator may change.
//!
//! Not here: the rules of the protocol (see `proto`), system calls (see `platform`).

mod budget;
pub mod candidates;
pub mod checksum;
pub mod configure;
pub mod counters;
mod deadlines;
pub mod device;
pub mod events;
pub mod evidence;
pub mod gro;
pub mod gso;
pub mod handover;
mod handshakes;
pub mod io;
pub mod key_log;
pub mod metrics;
pub mod objects;
pub mod offload;
mod pacing;
pub mod packet;
mod path_mtu;
mod peer;
mod pulse;
mod queue;
#[cfg(test)]
mod queue_tests;
mod rate;
mod receive;
mod reports;
mod routes;
mod send;
mod sharing;
pub mod stats;
mod sync;
mod tally;
mod transmit;
pub mod workers;
