//! The file of a tunnel: where it is, and its text without what only wg-quick reads.
//!
//! Not here: its syntax (see `control::config`).
//!
//! Source: wg-quick(8).

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::error::QuickError;
use crate::control::config::quick::{is_quick_key, key_of};
use crate::control::interface::InterfaceName;

/// Where the files of tunnels are that are called by name.
const DIRECTORY: &str = "/etc/wireguard";

/// Finds the file that `argument` names: `wg0` is /etc/wireguard/wg0.conf, `./wg0.conf` is itself. Returns its path
/// without symbolic links, and the name of its interface.
///
/// # Errors
/// [`QuickError::NoFile`], [`QuickError::FileName`], and [`QuickError::File`] where it cannot be looked for.
pub fn find(argument: &OsStr) -> Result<(PathBuf, InterfaceName), QuickError> {
    let given = Path::new(argument);
    let path = if is_name(argument) {
        let mut file = argument.to_owned();
        file.push(".conf");
        Path::new(DIRECTORY).join(file)
    } else {
        given.to_owned()
    };
    let name = path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_suffix(".conf"));
    let name = name.filter(|name| is_name(name.as_ref())).and_then(|name| InterfaceName::new(name.as_ref()).ok());
    let found = match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(QuickError::File { action: "read", path, source }),
        Ok(found) => Some(found),
    };
    let Some(found) = found else {
        let is_here = is_name(argument) && given.extension() == Some("conf".as_ref()) && given.is_file();
        let hint =
            if is_here { format!("; `./{}` is the one in this directory", given.display()) } else { String::new() };
        return Err(QuickError::NoFile { path, hint });
    };
    match name {
        Some(name) => Ok((found, name)),
        None => Err(QuickError::FileName { path }),
    }
}

/// Returns the name of the interface that `argument` names, whether or not its file is there.
pub fn interface_of(argument: &OsStr) -> Option<InterfaceName> {
    let name = if is_name(argument) {
        argument.to_str()
    } else {
        Path::new(argument).file_name().and_then(OsStr::to_str).and_then(|name| name.strip_suffix(".conf"))
    };
    name.filter(|name| is_name(name.as_ref())).and_then(|name| InterfaceName::new(name.as_ref()).ok())
}

/// As wg-quick has it; all else is a path.
fn is_name(argument: &OsStr) -> bool {
    let bytes = argument.as_encoded_bytes();
    (1..=15).contains(&bytes.len()) && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_=+.-".contains(byte))
}

/// Returns the text without the keys of wg-quick, for `setconf` and its like. What is wrong with it is for them to say.
pub fn strip(text: &[u8]) -> Vec<u8> {
    let mut stripped = Vec::with_capacity(text.len() + 1);
    let mut in_interface = false;
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for line in text.split(|&byte| byte == b'\n') {
        let line = trimmed(line);
        let key = key_of(line);
        if key.first() == Some(&b'[') {
            in_interface = key.eq_ignore_ascii_case(b"[Interface]");
        }
        if !(in_interface && is_quick_key(&key)) {
            stripped.extend_from_slice(line);
            stripped.push(b'\n');
        }
    }
    // As wg-quick: an empty line at the end.
    stripped.push(b'\n');
    stripped
}

/// Without spaces and tabs at both ends.
fn trimmed(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_directory_and_paths_are_themselves() {
        let error = |argument: &str| find(argument.as_ref()).expect_err("not there").to_string();
        assert_eq!(error("no-such"), "/etc/wireguard/no-such.conf: there is no such file");
        assert_eq!(error("./no-such.conf"), "./no-such.conf: there is no such file");
        assert!(error("Cargo.toml").starts_with("/etc/wireguard/Cargo.toml.conf: "));
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("file"), "").expect("written");
        let below = directory.path().join("file/wg0.conf").display().to_string();
        assert_eq!(error(&below), format!("{below}: cannot read it: not a directory"));
        for (name, interface) in [("wg0.conf", Some("wg0")), ("wg 0.conf", None), ("show.conf", None), ("wg0", None)] {
            let path = directory.path().join(name);
            std::fs::write(&path, "").expect("written");
            let found = find(path.as_os_str()).ok().map(|(_, interface)| interface.to_string());
            assert_eq!(found.as_deref(), interface, "{name}");
        }
    }

    #[test]
    fn an_interface_is_known_by_its_file_even_without_one() {
        let name = |argument: &str| interface_of(argument.as_ref()).map(|name| name.to_string());
        assert_eq!(name("wg0").as_deref(), Some("wg0"));
        assert_eq!(name("/gone/wg1.conf").as_deref(), Some("wg1"));
        assert_eq!(name("/gone/wg1"), None);
    }

    #[test]
    fn strip_takes_out_lines_and_nothing_else() {
        let text = "# c\n[ interface ]\nDNS=1\n[INTERFACE]\n  Address = 1 # x\n\tListenPort = 7 \nmtu=1\n#rvpn: KillSwitch = yes\n\
                    PostUp\n[Peer]\nDNS = kept\r\nlast";
        let expected = "# c\n[ interface ]\n[INTERFACE]\nListenPort = 7\n#rvpn: KillSwitch = yes\n\
                        [Peer]\nDNS = kept\r\nlast\n\n";
        assert_eq!(String::from_utf8_lossy(&strip(text.as_bytes())), expected);
        assert_eq!(strip(b"[Interface]\0x\nD NS = 1\n"), b"[Interface]\0x\n\n");
    }
}
