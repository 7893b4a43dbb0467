//! What `up` has made, in a file: so that `down` removes exactly that, also when either of them was killed.
//!
//! ```text
//!   /run/rvpn/wg0.state   the steps, written before each is done and after each is undone
//!   /run/rvpn/wg0.lock    held by who works on wg0
//! ```
//!
//! A step that is in the file and was not done yet is undone without harm: its interface, table or rule is not there.
//!
//! /run is empty after a start of the machine. So is then all that the steps have made, but what is in /etc/resolv.conf:
//! the next `up` puts that right (see `dns`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::error::QuickError;
use super::plan::Facts;
use super::step::Step;

/// What is known of a tunnel that is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The file it was made from.
    pub file: PathBuf,
    /// The network namespace it is in, as [`namespace`] has it. Files are not kept apart by namespaces.
    pub namespace: Option<(u64, u64)>,
    /// Whether the command line asked for the kill switch.
    pub kill_switch: bool,
    /// The index of the interface, once it is there.
    pub link: Option<u32>,
    /// What was known of the machine.
    pub facts: Option<Facts>,
    /// What was done, in this order.
    pub steps: Vec<Step>,
    /// Commands for `down`, in case the file is gone by then.
    pub pre_down: Vec<String>,
    /// The same, for its end.
    pub post_down: Vec<String>,
}

/// The state file of one interface, and the right to change it.
#[derive(Debug)]
pub struct StateFile {
    directory: PathBuf,
    interface: String,
    _lock: File,
}

impl StateFile {
    /// Takes the right to work on `interface`. It is given back on drop.
    ///
    /// # Errors
    /// [`QuickError::Busy`] if somebody has it, [`QuickError::File`].
    pub fn lock(directory: &Path, interface: &str) -> Result<Self, QuickError> {
        let path = directory.join(format!("{interface}.lock"));
        let failed = |source| QuickError::File { action: "lock", path: path.clone(), source };
        let mut attempts = 0;
        loop {
            make_directory(directory)?;
            let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
            let lock = match opened {
                // Who was done with another interface has removed the directory in between: it was empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < MOST_ATTEMPTS => {
                    attempts += 1;
                    continue;
                }
                opened => opened.map_err(failed)?,
            };
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(QuickError::Busy { interface: interface.to_owned() }),
                Err(error) => return Err(failed(error.into())),
            }
            // Whoever had it may have removed the file in between; then this is a lock of nothing.
            let held = lock.metadata().map_err(failed)?;
            if fs::metadata(&path).is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())) {
                return Ok(Self { directory: directory.to_owned(), interface: interface.to_owned(), _lock: lock });
            }
        }
    }

    /// Reads the state; `None` if there is none.
    ///
    /// # Errors
    /// [`QuickError::File`], and [`QuickError::Elsewhere`] for one of another network namespace.
    pub fn read(&self) -> Result<Option<State>, QuickError> {
        let path = self.path();
        let failed = |source| QuickError::File { action: "read", path: path.clone(), source };
        let state: State = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match state.namespace {
            Some(_) if state.namespace != namespace() => {
                Err(QuickError::Elsewhere { interface: self.interface.clone(), path })
            }
            _ => Ok(Some(state)),
        }
    }

    /// Writes the state: all of it, or nothing.
    ///
    /// # Errors
    /// [`QuickError::File`].
    pub fn write(&self, state: &State) -> Result<(), QuickError> {
        let path = self.path();
        let failed = |source| QuickError::File { action: "write", path: path.clone(), source };
        let unnamed = self.directory.join(format!("{}.state.new", self.interface));
        let text = serde_json::to_vec_pretty(state).map_err(|error| failed(error.into()))?;
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unnamed).map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        fs::rename(&unnamed, &path).map_err(failed)
    }

    /// Removes the state: nothing of the tunnel is left.
    ///
    /// # Errors
    /// [`QuickError::File`].
    pub fn remove(&self) -> Result<(), QuickError> {
        let path = self.path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(QuickError::File { action: "remove", path, source: error })
            }
            _ => Ok(()),
        }
    }

    /// Returns the name of the interface.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("{}.state", self.interface))
    }
}

/// Leaves no empty file or directory behind.
impl Drop for StateFile {
    fn drop(&mut self) {
        // Whoever waits for the lock sees that its file is gone.
        let _ = fs::remove_file(self.directory.join(format!("{}.lock", self.interface)));
        // Fails where another tunnel has files in it.
        let _ = fs::remove_dir(&self.directory);
    }
}

/// Reads the states of all other interfaces that are up, as far as they can be read.
pub fn others(directory: &Path, interface: &str) -> Vec<State> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let states = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let is_other = name.strip_suffix(".state").is_some_and(|name| name != interface);
        is_other.then(|| fs::read(entry.path()).ok()).flatten()
    });
    states.filter_map(|text| serde_json::from_slice(&text).ok()).collect()
}

/// Returns what identifies the network namespace of this thread: device and inode of its file; `None` without /proc.
pub fn namespace() -> Option<(u64, u64)> {
    fs::metadata("/proc/thread-self/ns/net").ok().map(|found| (found.dev(), found.ino()))
}

/// Returns whether `up` has brought up an interface, or is about to.
pub fn is_there(directory: &Path, interface: &str) -> bool {
    directory.join(format!("{interface}.state")).exists()
}

/// Returns where state files are.
pub fn default_directory() -> PathBuf {
    PathBuf::from("/run/rvpn")
}

/// Each one lost means that somebody else was done in between. Without an end, a link that leads nowhere would have none.
const MOST_ATTEMPTS: u32 = 1000;

fn make_directory(path: &Path) -> Result<(), QuickError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(QuickError::File { action: "make", path: path.to_owned(), source }),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            file: "/etc/wireguard/wg0.conf".into(),
            namespace: namespace(),
            kill_switch: false,
            link: Some(7),
            facts: None,
            steps: vec![Step::Link],
            pre_down: Vec::new(),
            post_down: vec!["true".to_owned()],
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_stays_behind() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rvpn");
        let file = StateFile::lock(&path, "wg0").expect("free");
        assert_eq!(file.read().expect("readable"), None);
        file.write(&state()).expect("written");
        assert_eq!(file.read().expect("readable"), Some(state()));
        drop(file);
        let file = StateFile::lock(&path, "wg0").expect("free again");
        assert_eq!(file.read().expect("readable"), Some(state()));
        file.remove().expect("removed");
        file.remove().expect("removed already");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn only_one_works_on_an_interface() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = StateFile::lock(directory.path(), "wg0").expect("free");
        assert!(matches!(StateFile::lock(directory.path(), "wg0"), Err(QuickError::Busy { .. })));
        StateFile::lock(directory.path(), "wg1").expect("another one");
        drop(first);
        StateFile::lock(directory.path(), "wg0").expect("free again");
    }

    #[test]
    fn who_comes_while_another_one_leaves_finds_a_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rvpn");
        std::thread::scope(|scope| {
            for interface in ["wg0", "wg1", "wg2"] {
                let path = &path;
                scope.spawn(move || {
                    (0..1000).for_each(|_| drop(StateFile::lock(path, interface).expect("nobody else has it")));
                });
            }
        });
        assert!(!path.exists());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rvpn");
        std::os::unix::fs::symlink("no/such", &path).expect("linked");
        let error = StateFile::lock(&path, "wg0").expect_err("nowhere").to_string();
        assert!(error.contains("wg0.lock: cannot lock it"), "{error}");
    }

    #[test]
    fn a_file_that_is_none_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = StateFile::lock(directory.path(), "wg0").expect("free");
        fs::write(directory.path().join("wg0.state"), "{").expect("written");
        let error = file.read().expect_err("half a file").to_string();
        assert!(error.contains("wg0.state: cannot read it"), "{error}");
    }

    #[test]
    fn what_is_in_another_network_namespace_is_not_touched_from_here() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = StateFile::lock(directory.path(), "wg0").expect("free");
        file.write(&State { namespace: Some((0, 0)), ..state() }).expect("written");
        let error = file.read().expect_err("elsewhere").to_string();
        assert!(error.contains("network namespace") && error.contains("wg0.state"), "{error}");
    }
}
