//! Answers of every kind of server, sockets of every state.

use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use super::*;

/// A server that reads one request and says `answer`, whatever was asked.
fn answering(answer: &'static str) -> (TempDir, JoinHandle<String>) {
    let directory = tempfile::tempdir().expect("a directory");
    let listener = UnixListener::bind(directory.path().join("wg0.sock")).expect("a socket");
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = Vec::new();
        while !request.ends_with(b"\n\n") {
            let mut byte = [0];
            if stream.read(&mut byte).expect("a byte") == 0 {
                break;
            }
            request.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).expect("written");
        String::from_utf8(request).expect("UTF-8")
    });
    (directory, thread)
}

fn client(directory: &TempDir) -> Client {
    Client::new(directory.path().to_owned())
}

#[test]
fn an_error_counts_with_either_sign_in_both_operations() {
    for answer in ["errno=98\n\n", "errno=-98\n\n"] {
        let (directory, server) = answering(answer);
        let error = client(&directory).apply("wg0".as_ref(), &Set::default()).expect_err("refused");
        assert_eq!(error.to_string(), "wg0: refused: Address already in use");
        assert_eq!(server.join().expect("no panic"), "set=1\n\n");
        let (directory, server) = answering(answer);
        let error = client(&directory).status("wg0".as_ref()).expect_err("refused");
        assert_eq!(error.to_string(), "wg0: refused: Address already in use");
        assert_eq!(server.join().expect("no panic"), "get=1\n\n");
    }
}

#[test]
fn an_answer_that_ends_early_is_told() {
    for answer in ["", "errno=0\n", "listen_port=1\n\n"] {
        let (directory, server) = answering(answer);
        let error = client(&directory).status("wg0".as_ref()).expect_err("incomplete");
        assert!(matches!(error, ClientError::Answer { .. }), "{error}");
        server.join().expect("no panic");
    }
}

#[test]
fn missing_and_unknown_keys_are_no_error() {
    let (directory, server) = answering(concat!(
        "new_thing=1\npublic_key=0101010101010101010101010101010101010101010101010101010101010101\n",
        "other=2\nerrno=0\n\n"
    ));
    let status = client(&directory).status("wg0".as_ref()).expect("understood");
    assert_eq!((status.peers.len(), status.listen_port), (1, 0));
    server.join().expect("no panic");
}

#[test]
fn a_socket_nobody_listens_on_is_not_listed_and_not_deleted() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("wg0.sock");
    drop(UnixListener::bind(&path).expect("a socket"));
    fs::write(directory.path().join("file.sock"), "").expect("a file");
    let _listener = UnixListener::bind(directory.path().join("wg1.sock")).expect("a socket");
    assert_eq!(client(&directory).interfaces().expect("a list"), ["wg1"]);
    assert!(path.exists());
    let error = |name: &str| client(&directory).status(name.as_ref()).expect_err("no server");
    assert!(matches!(error("wg0"), ClientError::Ended { .. }));
    assert!(matches!(error("file"), ClientError::NotASocket { .. }));
    assert!(matches!(error("wg2"), ClientError::Absent { .. }));
    assert!(matches!(error("../wg1"), ClientError::Name { .. }));
}

#[test]
fn without_a_directory_there_are_no_interfaces() {
    let client = Client::new("/nonexistent/wireguard".into());
    assert!(client.interfaces().expect("no error").is_empty());
}
