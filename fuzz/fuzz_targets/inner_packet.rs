//! See `src/inner_packet.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rvpn_fuzz::inner_packet::run(bytes));
