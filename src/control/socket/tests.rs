//! The socket file: its modes, what may be in its place, and its end.

use std::os::unix::net::UnixStream;

use super::*;

fn wg0() -> InterfaceName {
    InterfaceName::new("wg0".as_ref()).expect("a name")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

#[test]
fn the_socket_is_its_owners_and_the_directory_everybodys_to_see() {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join("run/wireguard");
    let (_listener, file) = make(&directory, &wg0()).expect("a socket");
    assert_eq!(mode(&directory), 0o755);
    assert_eq!(mode(&file.path), 0o600);
    let names: Vec<_> =
        fs::read_dir(&directory).expect("a directory").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(names, ["wg0.sock"], "and nothing is left of its first name");
    UnixStream::connect(&file.path).expect("it accepts");
}

#[test]
fn a_socket_in_use_is_refused_and_a_stale_one_replaced() {
    let directory = tempfile::tempdir().expect("a directory");
    let (listener, first) = make(directory.path(), &wg0()).expect("a socket");
    let error = make(directory.path(), &wg0()).expect_err("in use");
    assert!(error.to_string().starts_with("wg0 is already running: "), "{error}");
    assert!(first.is_ours());

    drop(listener);
    let (_listener, second) = make(directory.path(), &wg0()).expect("the stale one is replaced");
    assert!(second.is_ours() && !first.is_ours());
    first.remove();
    assert!(second.is_ours(), "the first does not remove what is not its own");
    second.remove();
    assert!(!second.path.exists());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("wg0.sock");
    fs::write(&path, "notes").expect("written");
    let error = make(directory.path(), &wg0()).expect_err("in the way");
    assert!(matches!(error, Error::NotASocket { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).expect("still there"), "notes");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let error = make(Path::new("/proc/no/wireguard"), &wg0()).expect_err("not in /proc");
    assert_eq!(error.to_string(), "/proc/no/wireguard: cannot make the directory: no such file or directory");
}

#[tokio::test]
async fn removal_is_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_listener, file) = make(directory.path(), &wg0()).expect("a socket");
    let watch = file.watch().expect("a watch");
    let path = file.path.clone();
    let waiting = tokio::spawn(async move { watch.removed().await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    fs::remove_file(path).expect("removed");
    waiting.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn replacement_is_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_listener, file) = make(directory.path(), &wg0()).expect("a socket");
    let watch = file.watch().expect("a watch");
    let other = directory.path().join("other");
    fs::write(&other, "").expect("written");
    fs::rename(other, &file.path).expect("replaced");
    watch.removed().await.expect("no error");
}

#[tokio::test]
async fn removal_before_the_watch_is_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_listener, file) = make(directory.path(), &wg0()).expect("a socket");
    file.remove();
    file.watch().expect("a watch").removed().await.expect("no error");
}

#[tokio::test]
async fn a_change_of_mode_is_no_removal() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_listener, file) = make(directory.path(), &wg0()).expect("a socket");
    let watch = file.watch().expect("a watch");
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o660)).expect("changed");
    tokio::select! {
        biased;
        _ = watch.removed() => panic!("it is still there"),
        () = async { for _ in 0..10 { tokio::task::yield_now().await } } => {}
    }
}
