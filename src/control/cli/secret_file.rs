//! Files with keys in them: read without leaving copies behind, made for their owner alone.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use rvpn_uapi::SecretKey;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::warn;
use crate::control::config::value::KEY;
use crate::control::key_text::{self, KEY_TEXT_LEN};

/// A file and whether others can read it.
pub(super) struct SecretFile {
    /// What is in it.
    pub(super) text: Zeroizing<Vec<u8>>,
    name: String,
    public_mode: Option<u32>,
}

impl SecretFile {
    /// Says so if others than the owner of the file can read the keys that are in it.
    pub(super) fn warn_if_public(&self) {
        if let Some(mode) = self.public_mode {
            warn(&format!("{}: others can read the keys in it (mode {mode:04o}); `chmod 600` ends that", self.name));
        }
    }
}

/// Reads a whole file, which may be a pipe.
///
/// # Errors
/// [`Failure::File`].
pub(super) fn read(file: &OsStr) -> Result<SecretFile, Failure> {
    let failed = |action| move |source| Failure::File { file: file.to_owned(), action, source };
    let mut opened = File::open(file).map_err(failed("open"))?;
    let public_mode = public_mode(&opened);
    let text = read_all(&mut opened).map_err(failed("read"))?;
    Ok(SecretFile { text, name: file.display().to_string(), public_mode })
}

/// Reads a file with one key in it. An empty one, as /dev/null, is the key that stands for none.
///
/// # Errors
/// [`Failure::File`], and [`Failure::Word`] if there is anything else in it.
pub(super) fn read_key(what: &str, file: &OsStr) -> Result<SecretKey, Failure> {
    let read = read(file)?;
    let text = &read.text;
    if text.is_empty() {
        return Ok(SecretKey::new(&[0; 32]));
    }
    read.warn_if_public();
    let key = match text.split_at_checked(KEY_TEXT_LEN) {
        Some((key, rest)) if rest.iter().all(|&byte| byte == 0x0b || byte.is_ascii_whitespace()) => {
            key_text::decode(key)
        }
        _ => None,
    };
    key.ok_or_else(|| Failure::Word { word: format!("{what} {}", file.display()), expected: KEY.to_owned() })
}

/// Makes a file with mode 0600 and writes `text` and a line end to it. What is there already stays as it is.
///
/// # Errors
/// [`Failure::File`], in particular if there is a file of this name.
pub(super) fn create(file: &OsStr, text: &str) -> Result<(), Failure> {
    let failed = |action| move |source| Failure::File { file: file.to_owned(), action, source };
    let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed("make"))?;
    let mut line = Zeroizing::new(Vec::with_capacity(text.len() + 1));
    line.extend_from_slice(text.as_bytes());
    line.push(b'\n');
    made.write_all(&line).and_then(|()| made.sync_all()).map_err(failed("write"))
}

/// Returns the mode of `file` if it is a plain file that more than its owner can read.
pub(super) fn public_mode(file: &File) -> Option<u32> {
    let found = file.metadata().ok()?;
    (found.is_file() && found.mode() & 0o077 != 0).then_some(found.mode() & 0o7777)
}

/// Reads to the end; memory that grows is wiped before it is given back.
pub(super) fn read_all(from: &mut impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    let mut piece = Zeroizing::new([0; 4096]);
    loop {
        match from.read(&mut *piece) {
            Ok(0) => return Ok(text),
            Ok(len) => {
                if text.capacity() - text.len() < len {
                    let mut larger = Zeroizing::new(Vec::with_capacity(text.capacity() * 2));
                    larger.extend_from_slice(&text);
                    text = larger;
                }
                text.extend_from_slice(&piece[..len]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_is_read_whole() {
        for len in [0, 1, 4096, 4097, 100_000] {
            let bytes: Vec<u8> = (0..len).map(|at: u32| at as u8).collect();
            assert_eq!(*read_all(&mut &bytes[..]).expect("memory"), bytes);
        }
    }

    #[test]
    fn a_key_file_holds_one_key_or_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        let read = |text: String| {
            let path = directory.path().join("key");
            std::fs::write(&path, text).expect("written");
            read_key("private-key", path.as_os_str())
        };
        assert_eq!(read(String::new()).ok(), Some(SecretKey::new(&[0; 32])));
        assert_eq!(read(format!("{key}\r\n \x0b\n")).ok(), Some(SecretKey::new(&[1; 32])));
        for text in ["\n".to_owned(), format!(" {key}"), format!("{key}x"), key[..43].to_owned(), format!("{key}\0")] {
            let failure = read(text).expect_err("no key").to_string();
            assert!(!failure.contains(&key[..40]), "{failure}");
        }
    }

    #[test]
    fn a_file_that_is_there_is_not_written_to() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        create(path.as_os_str(), "first").expect("made");
        assert_eq!(std::fs::metadata(&path).expect("made").mode() & 0o7777, 0o600);
        let failure = create(path.as_os_str(), "second").expect_err("there").to_string();
        assert!(failure.ends_with("cannot make it: file exists"), "{failure}");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "first\n");
    }
}
