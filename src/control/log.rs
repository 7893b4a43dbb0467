//! The log: plain lines on standard error, as much of them as `LOG_LEVEL` asks for.
//!
//! `verbose` or `debug`, `error` (the default) and `silent` are the levels of wireguard-go. Not here: what is logged,
//! and limits on how often, which belong to the place that logs.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

use tracing_subscriber::filter::LevelFilter;

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Every handshake, roaming, change of configuration.
    Verbose,
    /// What needs an operator.
    #[default]
    Error,
    /// Nothing.
    Silent,
}

impl Level {
    /// Reads the value of `LOG_LEVEL`; what is not known counts as [`Level::Error`], as in wireguard-go.
    pub fn parse(value: Option<&OsStr>) -> Self {
        match value.and_then(OsStr::to_str) {
            Some("verbose" | "debug") => Self::Verbose,
            Some("silent") => Self::Silent,
            _ => Self::Error,
        }
    }

    const fn filter(self) -> LevelFilter {
        match self {
            Self::Verbose => LevelFilter::DEBUG,
            Self::Error => LevelFilter::ERROR,
            Self::Silent => LevelFilter::OFF,
        }
    }
}

/// The variable.
pub const LOG_LEVEL: &str = "LOG_LEVEL";

/// Sends the log of the whole process to standard error; a second call changes nothing.
pub fn start(level: Level) {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        // A log that cannot be written must not end the tunnel: reporting that panics when standard error is gone.
        .log_internal_errors(false)
        .with_max_level(level.filter())
        .finish();
    // Fails only if there is a subscriber already, which then stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_levels_of_wireguard_go_are_understood() {
        let level = |value: &str| Level::parse(Some(value.as_ref()));
        assert_eq!(level("verbose"), Level::Verbose);
        assert_eq!(level("debug"), Level::Verbose);
        assert_eq!(level("error"), Level::Error);
        assert_eq!(level("silent"), Level::Silent);
        assert_eq!(level("loud"), Level::Error);
        assert_eq!(Level::parse(None), Level::Error);
    }
}
