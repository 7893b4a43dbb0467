//! The operating system behind the data plane's traits.

pub mod fake;
#[cfg(target_os = "linux")]
pub mod linux;
