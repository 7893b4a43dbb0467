//! Colours, and what may be shown on a terminal.
//!
//! Source: wg(8), for `WG_COLOR_MODE` and `WG_HIDE_KEYS`; <https://no-color.org>; ECMA-48 for the sequences.

use std::ffi::OsString;
use std::io::IsTerminal;

/// Sequences that begin a colour or end all; empty where there are no colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) reset: &'static str,
    pub(super) bold: &'static str,
    pub(super) red: &'static str,
    pub(super) green: &'static str,
    pub(super) yellow: &'static str,
    pub(super) cyan: &'static str,
}

impl Style {
    /// No colours.
    pub(super) const PLAIN: Self = Self { reset: "", bold: "", red: "", green: "", yellow: "", cyan: "" };

    const COLOURED: Self = Self {
        reset: "\x1b[0m",
        bold: "\x1b[1m",
        red: "\x1b[31m",
        green: "\x1b[32m",
        yellow: "\x1b[33m",
        cyan: "\x1b[36m",
    };

    /// Decides for standard output: `WG_COLOR_MODE` if it says `always` or `never`; else on a terminal, unless NO_COLOR
    /// is set.
    pub(super) fn of_output() -> Self {
        Self::choose(|name| std::env::var_os(name), std::io::stdout().is_terminal())
    }

    fn choose(var: impl Fn(&str) -> Option<OsString>, is_terminal: bool) -> Self {
        let has_colours = match var("WG_COLOR_MODE").as_deref().and_then(std::ffi::OsStr::to_str) {
            Some("always") => true,
            Some("never") => false,
            _ => is_terminal && var("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        if has_colours { Self::COLOURED } else { Self::PLAIN }
    }
}

/// Returns whether standard output has colours.
pub(super) fn has_colours() -> bool {
    Style::of_output() == Style::COLOURED
}

/// Returns whether the terminal cannot place text.
pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb")
}

/// Returns whether private and preshared keys are shown: only `WG_HIDE_KEYS=never` does.
pub(super) fn shows_keys() -> bool {
    std::env::var_os("WG_HIDE_KEYS").is_some_and(|value| value == "never")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_colours(variables: &[(&str, &str)], is_terminal: bool) -> bool {
        let var = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        Style::choose(var, is_terminal) == Style::COLOURED
    }

    #[test]
    fn a_terminal_has_colours_unless_told_otherwise() {
        assert!(has_colours(&[], true) && !has_colours(&[], false));
        assert!(has_colours(&[("WG_COLOR_MODE", "always"), ("NO_COLOR", "1")], false));
        assert!(!has_colours(&[("WG_COLOR_MODE", "never")], true));
        assert!(!has_colours(&[("NO_COLOR", "1")], true));
        assert!(has_colours(&[("NO_COLOR", ""), ("WG_COLOR_MODE", "auto")], true));
    }
}
