//! See `src/datagrams.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rvpn_fuzz::datagrams::run(bytes));
