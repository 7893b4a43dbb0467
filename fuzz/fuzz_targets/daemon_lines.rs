//! See `src/daemon_lines.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rvpn_fuzz::daemon_lines::run(bytes));
