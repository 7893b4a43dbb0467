//! Whole devices under every interleaving of two threads: the rooms below `control`, compiled over loom's locks.
//!
//! What runs is the source of the program, line for line; only `crate::locks` is another module here. A model makes two
//! devices over the platform in memory and a session between them, each time anew and always the same, then lets two
//! threads do two things to one of them at once. loom runs that again for every order in which the locks can be taken
//! with at most `LOOM_MAX_PREEMPTIONS` (5) switches that no lock forces.
//!
//! Not here: the ordered queue alone, with all interleavings (`tests/loom_queue.rs`). Not checked: orderings of atomics,
//! which the packet way has in statistics and switches only.
//!
//! A program of its own rather than a test with the usual harness, so that the rooms' unit tests, which have no model
//! around them, are not compiled in. `cargo test --test loom -- NAME` runs the models whose name contains NAME.

#![allow(dead_code, unused_imports, missing_docs, unreachable_pub, clippy::print_stdout, clippy::unwrap_used)]

extern crate self as rvpn;

#[path = "../../src/aead/mod.rs"]
mod aead;
#[path = "../device/config.rs"]
mod config;
#[path = "../../src/dataplane/mod.rs"]
mod dataplane;
mod models;
#[path = "../device/packets.rs"]
mod packets;
mod platform;
#[path = "../../src/proto/mod.rs"]
mod proto;
mod world;

/// Stands in for the module of the same name in `src/lib.rs`.
mod locks {
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
    pub(crate) use loom::thread::yield_now;
}

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for (name, model) in models::ALL {
        if name.contains(&wanted) {
            println!("{name}: {} interleavings", world::explore(*model));
        }
    }
}
