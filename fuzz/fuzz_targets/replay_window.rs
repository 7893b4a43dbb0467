//! See `src/replay_window.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rvpn_fuzz::replay_window::run(bytes));
