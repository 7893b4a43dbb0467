//! WireGuard in user space, as a library of five rooms.
//!
//! Each room names only the rooms before it; `tests/layers.rs` holds that:
//!
//! 1. [`aead`]: sealing and opening many packets at once. Bytes, keys and counters.
//! 2. [`proto`]: the protocol. Bytes, a time and a random source go in; messages, decisions and one deadline come out.
//! 3. [`dataplane`]: moving packets. Threads, queues, batches and the traits for IO.
//! 4. [`platform`]: the operating system behind those traits, and its in-memory twin.
//! 5. [`control`]: the operator. The daemon, its configuration socket, the command line.
//!
//! This is not a general WireGuard library with a stable interface: the product is the `rvpn` program.

pub mod aead;
pub mod control;
pub mod dataplane;
pub mod platform;
pub mod proto;

/// What the data plane locks and yields with. `tests/loom/` compiles the rooms below `control` over loom's instead.
mod locks {
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
    pub(crate) use std::thread::yield_now;
}
