//! See `src/uapi_reply.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rvpn_fuzz::uapi_reply::run(bytes));
