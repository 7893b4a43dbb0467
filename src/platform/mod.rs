//! The operating system behind the data plane's traits.

#[cfg(target_os = "linux")]
pub mod linux;
