//! Everything that fuzzing found worth keeping, replayed: see `fuzz/src/lib.rs`.
//!
//! `make fuzz` looks for more. A finding belongs here as a file of its own name, and beside the code as a unit test.

#[allow(unreachable_pub)]
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

/// A test for each target, and the list of them.
macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name), targets::$name::run);
        })*

        const TARGETS: &[&str] = &[$(stringify!($name)),*];
    };
}

targets! {
    aead
    allowed_ips
    config_file
    daemon_lines
    datagrams
    handover
    http_request
    inner_packet
    kernel_messages
    names
    offload
    replay_window
    uapi_reply
    uapi_request
}

fn replay(name: &str, run: fn(&[u8])) {
    let files = files(&corpus().join(name));
    assert!(!files.is_empty(), "fuzz/corpus/{name} is empty");
    for file in files {
        let bytes = fs::read(&file).expect("a file just listed can be read");
        if std::panic::catch_unwind(|| run(&bytes)).is_err() {
            panic!("{}: broke a promise; what it was is told above", file.display());
        }
    }
    run(&[]);
}

/// What is in the tree is small, and for everything in it there is somebody who reads it.
#[test]
fn every_corpus_has_a_target_and_is_small() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stem = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let mut corpora: Vec<_> = files(&corpus()).into_iter().map(stem).collect();
    let mut programs: Vec<_> = files(&root.join("fuzz/fuzz_targets")).into_iter().map(stem).collect();
    corpora.sort();
    programs.sort();
    assert_eq!(corpora, TARGETS);
    assert_eq!(programs, TARGETS);
    for name in TARGETS {
        let files = files(&corpus().join(name));
        let len: u64 = files.iter().map(|file| fs::metadata(file).expect("it is there").len()).sum();
        assert!(files.len() <= 200 && len < 300 << 10, "fuzz/corpus/{name}: {} files, {len} bytes", files.len());
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.expect("a readable entry").path()).collect()
}
