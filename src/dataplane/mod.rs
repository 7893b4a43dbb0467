//! Moving packets: threads, queues, batches, shared tables. Owns the traits for IO.

pub mod checksum;
pub mod gro;
pub mod gso;
pub mod io;
pub mod offload;
pub mod packet;
