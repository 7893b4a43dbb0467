//! The file /etc/resolv.conf, where nobody manages it: written, and restored if it still is what was written.
//!
//! What was in it is kept in it, as comments: so it outlasts a power cut, and of several tunnels each can go first.
//!
//! ```text
//!   # Written by `rvpn up` for wg0; `rvpn down wg0` puts back what was here.
//!   nameserver 10.0.0.1
//!   # What was here is, in each line, after "#|":
//!   #|nameserver 192.0.2.1
//!   #|
//! ```
//!
//! It is written in place: in a container it is a mount of its own, over which nothing can be renamed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::control::error::reason;

pub(super) const PATH: &str = "/etc/resolv.conf";

/// Writes `text` to the file, and what was in it as comments.
pub(super) fn replace(path: &Path, interface: &str, text: &str) -> Result<(), String> {
    let before = read(path)?;
    let original = before.as_deref().and_then(|before| without(before, &|name| name == interface));
    let after = Layer { interface, text: text.as_bytes(), original }.bytes();
    write(path, &after).map_err(|error| {
        // Not to be left with half of it.
        let _ = before.map_or_else(|| fs::remove_file(target(path)), |before| write(path, &before));
        failed("write", path, &error)
    })
}

/// Takes out what was written for the interfaces that `goes` says. What somebody else wrote since stays.
pub(super) fn restore(path: &Path, goes: &dyn Fn(&str) -> bool) -> Result<(), String> {
    let Some(before) = read(path)? else { return Ok(()) };
    match without(&before, goes) {
        Some(after) if after == before => Ok(()),
        Some(after) => write(path, &after).map_err(|error| failed("write", path, &error)),
        None => fs::remove_file(target(path)).map_err(|error| failed("remove", path, &error)),
    }
}

/// Returns a text without what was written for the interfaces that `goes` says; `None` if there was no file before.
fn without(text: &[u8], goes: &dyn Fn(&str) -> bool) -> Option<Vec<u8>> {
    let Some(layer) = Layer::of(text) else { return Some(text.to_owned()) };
    let original = layer.original.as_deref().and_then(|original| without(original, goes));
    if goes(layer.interface) { original } else { Some(Layer { original, ..layer }.bytes()) }
}

/// What was written for one interface, over what was there before.
struct Layer<'a> {
    interface: &'a str,
    text: &'a [u8],
    /// `None` if there was no file.
    original: Option<Vec<u8>>,
}

impl<'a> Layer<'a> {
    fn of(whole: &'a [u8]) -> Option<Self> {
        let rest = whole.strip_prefix(HEAD.as_bytes())?;
        let interface = std::str::from_utf8(rest.split(|&byte| byte == b';').next()?).ok()?;
        let rest = whole.strip_prefix(head(interface).as_bytes())?;
        let Some(at) = rest.windows(MARKER.len()).position(|window| window == MARKER.as_bytes()) else {
            return Some(Self { interface, text: rest, original: None });
        };
        let (text, kept) = (&rest[..at], &rest[at + MARKER.len()..]);
        let lines = kept.strip_suffix(b"\n").unwrap_or(kept).split(|&byte| byte == b'\n');
        let lines: Vec<_> = lines.map(|line| line.strip_prefix(COMMENT.as_bytes()).unwrap_or(line)).collect();
        Some(Self { interface, text, original: Some(lines.join(&b'\n')) })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [head(self.interface).as_bytes(), self.text].concat();
        if let Some(original) = &self.original {
            bytes.extend_from_slice(MARKER.as_bytes());
            for line in original.split(|&byte| byte == b'\n') {
                bytes.extend_from_slice(COMMENT.as_bytes());
                bytes.extend_from_slice(line);
                bytes.push(b'\n');
            }
        }
        bytes
    }
}

fn head(interface: &str) -> String {
    format!("{HEAD}{interface}; `rvpn down {interface}` puts back what was here.\n")
}

/// Returns its bytes; `None` if it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(|error| failed("read", path, &error)),
    }
}

/// Writes over what is there, and cuts the rest off: a process that is killed in between leaves no empty file.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(&target(path))?,
        opened => opened?,
    };
    file.write_all(text)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

/// Makes a file that all can read: programs of all users look names up.
fn make(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = File::create(path)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    Ok(file)
}

/// Returns where a symbolic link leads, though there may be nothing.
fn target(path: &Path) -> PathBuf {
    match (fs::read_link(path), path.parent()) {
        (Ok(target), Some(folder)) => folder.join(target),
        _ => path.to_owned(),
    }
}

fn failed(action: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {action} {}: {}", path.display(), reason(error))
}

const HEAD: &str = "# Written by `rvpn up` for ";
const MARKER: &str = "# What was here is, in each line, after \"#|\":\n";
const COMMENT: &str = "#|";

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn file(text: Option<&str>) -> (TempDir, PathBuf) {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("resolv.conf");
        if let Some(text) = text {
            fs::write(&path, text).expect("written");
        }
        (directory, path)
    }

    fn up(path: &Path, interface: &str) {
        replace(path, interface, &format!("nameserver {interface}\n")).expect("writable");
    }

    fn down(path: &Path, interface: &str) {
        restore(path, &|name| name == interface).expect("writable");
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).expect("there")
    }

    #[test]
    fn what_was_there_comes_back() {
        for before in ["nameserver 192.0.2.1\n", "a\n\n#|b", "", "\n"] {
            let (_directory, path) = file(Some(before));
            up(&path, "wg0");
            assert!(text(&path).contains(".\nnameserver wg0\n#"));
            // As after a crash between writing and remembering that.
            up(&path, "wg0");
            down(&path, "wg0");
            assert_eq!(text(&path), before);
            down(&path, "wg0");
            assert_eq!(text(&path), before);
        }
    }

    #[test]
    fn tunnels_go_in_any_order() {
        let (_directory, path) = file(Some("nameserver 192.0.2.1\n"));
        for order in [["wg0", "wg1", "wg2"], ["wg1", "wg0", "wg2"], ["wg2", "wg0", "wg1"]] {
            ["wg0", "wg1", "wg2"].iter().for_each(|name| up(&path, name));
            down(&path, order[0]);
            let left = ["wg2", "wg1"].into_iter().find(|name| *name != order[0]).expect("one of them");
            assert!(text(&path).contains(&format!(".\nnameserver {left}\n")));
            order.iter().for_each(|name| down(&path, name));
            assert_eq!(text(&path), "nameserver 192.0.2.1\n");
        }
    }

    #[test]
    fn a_file_that_was_not_there_is_for_all_to_read_and_goes() {
        let (directory, path) = file(None);
        up(&path, "wg0");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o644);
        up(&path, "wg1");
        down(&path, "wg0");
        assert!(path.exists());
        down(&path, "wg1");
        assert!(!path.exists());
        // Nor where a link leads to, and the link stays.
        std::os::unix::fs::symlink("run/resolv.conf", &path).expect("linked");
        up(&path, "wg0");
        assert!(directory.path().join("run/resolv.conf").exists());
        down(&path, "wg0");
        assert!(!path.exists() && path.is_symlink());
    }

    #[test]
    fn what_somebody_else_wrote_stays() {
        let (_directory, path) = file(Some("nameserver 192.0.2.1\n"));
        up(&path, "wg0");
        fs::write(&path, "nameserver 192.0.2.2\n").expect("written");
        down(&path, "wg0");
        assert_eq!(text(&path), "nameserver 192.0.2.2\n");
    }
}
