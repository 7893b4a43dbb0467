//! The platform in memory; the real one has no place in a model.

#[path = "../../src/platform/fake/mod.rs"]
pub mod fake;
