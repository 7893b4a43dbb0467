//! See `src/config_file.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rvpn_fuzz::config_file::run(bytes));
