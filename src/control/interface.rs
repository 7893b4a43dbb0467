//! Names of interfaces, as the kernel, `wg` and this program's command line can all take them.
//!
//! Source: `dev_valid_name` in the kernel's net/core/dev.c; IFNAMSIZ is 16 with the terminating zero.

use std::ffi::{OsStr, OsString};
use std::fmt;

/// A name that an interface can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// Checks a name.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn new(name: &OsStr) -> Result<Self, InvalidName> {
        let invalid = |fault| InvalidName { name: name.to_owned(), fault };
        let text = name.to_str().ok_or_else(|| invalid(NameFault::NotPrintable))?;
        let fault = if !(1..=15).contains(&text.len()) {
            NameFault::Length
        } else if text == "." || text == ".." || text.contains('/') {
            NameFault::Path
        } else if COMMANDS.contains(&text) {
            NameFault::Command
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            NameFault::NotPrintable
        } else if text.contains([':', '%']) {
            NameFault::Special
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(invalid(fault))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that no interface can have, or that would be taken for something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be the name of an interface: {fault}", name.display())]
pub struct InvalidName {
    /// The name.
    pub name: OsString,
    /// The rule it breaks.
    pub fault: NameFault,
}

/// A rule for names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// IFNAMSIZ.
    #[error("it must have 1 to 15 characters")]
    Length,
    /// It is part of a path, here and in sysfs.
    #[error("it must not contain `/` or be `.` or `..`")]
    Path,
    /// Other programs would have to quote it.
    #[error("it must be printable ASCII without spaces")]
    NotPrintable,
    /// `:` separates aliases, `%` makes the kernel choose a number or separates a zone.
    #[error("it must not contain `:` or `%`")]
    Special,
    /// The command line would be ambiguous.
    #[error("it is a command of rvpn; see `rvpn --help`")]
    Command,
}

/// Words of the command line; the ones without a meaning yet are kept free.
const COMMANDS: &[&str] = &[
    "show",
    "showconf",
    "set",
    "setconf",
    "addconf",
    "syncconf",
    "genkey",
    "genpsk",
    "pubkey",
    "up",
    "down",
    "save",
    "strip",
    "reload",
    "pair",
    "monitor",
    "metrics",
    "capture",
    "top",
    "doctor",
    "upgrade",
    "forget",
    "help",
    "completions",
    "manual",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &str) -> Option<NameFault> {
        InterfaceName::new(name.as_ref()).err().map(|error| error.fault)
    }

    #[test]
    fn what_the_kernel_takes_is_taken() {
        for name in ["wg0", "a", "wg-office_1.2", "fifteen-letters", "shows", "..."] {
            assert_eq!(fault(name), None, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        for (name, expected) in [
            ("", NameFault::Length),
            ("sixteen-letters-", NameFault::Length),
            (".", NameFault::Path),
            ("..", NameFault::Path),
            ("../wg0", NameFault::Path),
            ("wg 0", NameFault::NotPrintable),
            ("wg\n", NameFault::NotPrintable),
            ("wgä", NameFault::NotPrintable),
            ("wg0:1", NameFault::Special),
            ("wg%d", NameFault::Special),
            ("show", NameFault::Command),
            ("help", NameFault::Command),
        ] {
            assert_eq!(fault(name), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn the_error_names_the_value() {
        let error = InterfaceName::new("a/b".as_ref()).expect_err("a slash");
        assert_eq!(
            error.to_string(),
            "`a/b` cannot be the name of an interface: it must not contain `/` or be `.` or `..`"
        );
    }
}
