//! See `src/aead.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rvpn_fuzz::aead::run(bytes));
