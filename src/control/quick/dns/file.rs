//! The file /etc/resolv.conf, where nobody manages it: written, and restored if it still is what was written.
//!
//! It is written in place: in a container it is a mount of its own, over which nothing can be renamed.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::control::error::reason;

pub(super) const PATH: &str = "/etc/resolv.conf";

/// Writes `text` to the file and keeps what was in it in `backup`.
pub(super) fn replace(path: &Path, interface: &str, text: &str, backup: &Path) -> Result<(), String> {
    match fs::read(path) {
        // From a process that was killed here: the backup is right already.
        Ok(before) if is_ours(&before, interface) => {}
        Ok(before) => write_private(backup, &before).map_err(|error| failed("write", backup, &error))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", path, &error)),
    }
    fs::write(path, format!("{}{text}", mark(interface))).map_err(|error| {
        // Not to be left with half of it.
        let _ = restore(path, interface, backup);
        failed("write", path, &error)
    })
}

/// Puts back what was there, unless somebody else has written to it since.
pub(super) fn restore(path: &Path, interface: &str, backup: &Path) -> Result<(), String> {
    let there = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(|error| failed("read", path, &error))?,
    };
    let before = match fs::read(backup) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => Some(read.map_err(|error| failed("read", backup, &error))?),
    };
    match before {
        // An empty one is what is left if a process was killed while it wrote.
        Some(before) if is_ours(&there, interface) || there.is_empty() => {
            fs::write(path, before).map_err(|error| failed("write", path, &error))?;
        }
        None if is_ours(&there, interface) => fs::remove_file(path).map_err(|error| failed("remove", path, &error))?,
        _ => {}
    }
    match fs::remove_file(backup) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", backup, &error)),
        _ => Ok(()),
    }
}

fn mark(interface: &str) -> String {
    format!("# Written by `rvpn up` for {interface}; `rvpn down {interface}` puts back what was here.\n")
}

fn is_ours(text: &[u8], interface: &str) -> bool {
    text.starts_with(mark(interface).as_bytes())
}

fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

fn failed(action: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {action} {}: {}", path.display(), reason(error))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    fn paths(directory: &TempDir) -> (PathBuf, PathBuf) {
        (directory.path().join("resolv.conf"), directory.path().join("wg0.resolv.conf"))
    }

    #[test]
    fn what_was_there_comes_back() {
        let directory = TempDir::new().expect("a directory");
        let (path, backup) = paths(&directory);
        fs::write(&path, "nameserver 192.0.2.1\n").expect("written");
        replace(&path, "wg0", "nameserver 10.0.0.1\n", &backup).expect("writable");
        assert!(fs::read_to_string(&path).expect("there").ends_with(".\nnameserver 10.0.0.1\n"));
        // As after a crash between writing and remembering that.
        replace(&path, "wg0", "nameserver 10.0.0.2\n", &backup).expect("writable");
        restore(&path, "wg0", &backup).expect("writable");
        assert_eq!(fs::read_to_string(&path).expect("there"), "nameserver 192.0.2.1\n");
        assert!(!backup.exists());
        restore(&path, "wg0", &backup).expect("nothing to do");
        assert_eq!(fs::read_to_string(&path).expect("there"), "nameserver 192.0.2.1\n");
    }

    #[test]
    fn a_file_that_was_not_there_goes() {
        let directory = TempDir::new().expect("a directory");
        let (path, backup) = paths(&directory);
        replace(&path, "wg0", "nameserver 10.0.0.1\n", &backup).expect("writable");
        restore(&path, "wg0", &backup).expect("writable");
        assert!(!path.exists() && !backup.exists());
    }

    #[test]
    fn what_somebody_else_wrote_stays() {
        let directory = TempDir::new().expect("a directory");
        let (path, backup) = paths(&directory);
        fs::write(&path, "nameserver 192.0.2.1\n").expect("written");
        replace(&path, "wg0", "nameserver 10.0.0.1\n", &backup).expect("writable");
        fs::write(&path, "nameserver 192.0.2.2\n").expect("written");
        restore(&path, "wg0", &backup).expect("left alone");
        assert_eq!(fs::read_to_string(&path).expect("there"), "nameserver 192.0.2.2\n");
        assert!(!backup.exists());
    }

    #[test]
    fn half_a_file_is_put_right() {
        let directory = TempDir::new().expect("a directory");
        let (path, backup) = paths(&directory);
        fs::write(&path, "nameserver 192.0.2.1\n").expect("written");
        replace(&path, "wg0", "nameserver 10.0.0.1\n", &backup).expect("writable");
        fs::write(&path, "").expect("written");
        restore(&path, "wg0", &backup).expect("writable");
        assert_eq!(fs::read_to_string(&path).expect("there"), "nameserver 192.0.2.1\n");
    }
}
