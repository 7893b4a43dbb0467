//! Commands of a file: `PreUp`, `PostUp`, `PreDown`, `PostDown`.
//!
//! They are run by bash where there is one, as wg-quick(8) promises, else by sh, and end at the first command that
//! fails. They inherit the standard files and the environment.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::control::error::reason;

/// Runs a command, and waits until it has ended.
///
/// # Errors
/// How it ended, if not well.
pub(super) fn run(command: &str) -> Result<(), String> {
    let mut shell = match program("bash") {
        Some(bash) => {
            let mut shell = Command::new(bash);
            shell.args(["-O", "extglob", "-e", "-o", "pipefail"]);
            shell
        }
        None => {
            let mut shell = Command::new("/bin/sh");
            shell.arg("-e");
            shell
        }
    };
    let status =
        shell.args(["-c", command]).status().map_err(|error| format!("cannot run a shell: {}", reason(&error)))?;
    match (status.success(), status.code()) {
        (true, _) => Ok(()),
        (false, Some(code)) => Err(format!("ended with status {code}")),
        (false, None) => Err(format!("ended by {status}")),
    }
}

/// Finds a program in PATH.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find(name, &path)
}

fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_at_what_fails_and_says_how() {
        assert_eq!(run("true; test 1 = 1"), Ok(()));
        assert_eq!(run("exit 7"), Err("ended with status 7".to_owned()));
        assert!(run("false; true").is_err());
        assert!(run("kill -9 $$").is_err_and(|why| why.contains("signal")));
    }

    #[test]
    fn programs_are_files_that_can_be_run() {
        assert!(find("sh", "/nowhere:/bin".as_ref()).is_some());
        assert!(find("sh", "".as_ref()).is_none() && find("passwd", "/etc".as_ref()).is_none());
    }
}
