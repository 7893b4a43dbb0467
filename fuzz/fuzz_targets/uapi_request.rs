//! See `src/uapi_request.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rvpn_fuzz::uapi_request::run(bytes));
