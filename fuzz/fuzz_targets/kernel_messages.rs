//! See `src/kernel_messages.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rvpn_fuzz::kernel_messages::run(bytes));
