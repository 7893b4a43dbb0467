//! What is fuzzed: each module takes any bytes and panics if a promise is broken.
//!
//! The bytes are decoded with `arbitrary` where a target wants structure: they run out into zeros, so every input means
//! something, and a prefix means nearly the same.
//!
//! Two programs run these functions: libFuzzer for as long as one likes (`make fuzz`), and `tests/fuzz_corpus.rs`, which
//! replays the corpora of this directory with any compiler. Not here: what a corpus is made of; it is what libFuzzer
//! kept because it reaches code that nothing else in it reaches.

pub mod aead;
pub mod allowed_ips;
pub mod config_file;
pub mod daemon_lines;
pub mod datagrams;
pub mod handover;
pub mod http_request;
pub mod inner_packet;
pub mod kernel_messages;
pub mod names;
pub mod offload;
mod packet;
pub mod replay_window;
pub mod uapi_reply;
pub mod uapi_request;
mod world;
