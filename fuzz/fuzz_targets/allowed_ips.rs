//! See `src/allowed_ips.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rvpn_fuzz::allowed_ips::run(bytes));
