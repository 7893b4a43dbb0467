//! Exit codes: the one place where they are written down.
//!
//! Zero and one are what wg(8), wg-quick(8) and wireguard-go use; `wg-quick` asks for no more than "zero or not".

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done: the device runs in the background, or ended as it was told to.
    Success,
    /// Not done; standard error has the reason.
    Failure,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::SUCCESS,
            Exit::Failure => Self::FAILURE,
        }
    }
}
