//! Our primitives for `snow`: BLAKE2s, ChaCha20-Poly1305, X25519 that refuses zero, cached static keys.
//!
//! SKELETON: helper fills in.
