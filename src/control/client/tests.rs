//! Answers of every kind of server, sockets of every state.

use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use super::kernel::tests::FakeKernel;
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
    client_of(directory, FakeKernel::default())
}

fn client_of(directory: &TempDir, kernel: FakeKernel) -> Client {
    Client { kernel: Arc::new(kernel), ..Client::new(directory.path().to_owned()) }
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
fn a_question_is_answered_by_lines() {
    let (directory, server) = answering("version=1=2\nb=\nerrno=0\n\n");
    let ask = Ask::new("version").with("of", "all");
    let lines = client(&directory).question("wg0".as_ref(), &ask).expect("an answer");
    assert_eq!(lines, [("version".into(), "1=2".into()), ("b".into(), String::new())]);
    assert_eq!(server.join().expect("no panic"), "rvpn_ask=version\nof=all\n\n");
}

#[test]
fn who_does_not_know_a_question_is_told_from_who_refuses() {
    for (answer, text) in [
        ("", "wg0: whoever runs it cannot be asked for `version`: not rvpn, or an older one"),
        ("errno=-95\n\n", "wg0: whoever runs it cannot be asked for `version`: not rvpn, or an older one"),
        ("errno=-1\n\n", "wg0: refused: Operation not permitted"),
    ] {
        let (directory, server) = answering(answer);
        let error = client(&directory).question("wg0".as_ref(), &Ask::new("version")).expect_err("no answer");
        assert_eq!(error.to_string(), text);
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

#[test]
fn a_server_that_hangs_is_told_and_not_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let _listener = UnixListener::bind(directory.path().join("wg0.sock")).expect("a socket");
    let client = Client { patience: Duration::from_millis(10), ..client(&directory) };
    let error = client.status("wg0".as_ref()).expect_err("no answer");
    assert_eq!(error.to_string(), "wg0: no answer for 10ms; its process hangs");
}

#[test]
fn an_answer_before_the_end_of_the_request_is_read_all_the_same() {
    let directory = tempfile::tempdir().expect("a directory");
    let listener = UnixListener::bind(directory.path().join("wg0.sock")).expect("a socket");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut piece = [0; 100];
        let _ = stream.read(&mut piece).expect("the beginning");
        stream.write_all(b"errno=-12\n\n").expect("written");
        stream.shutdown(std::net::Shutdown::Read).expect("open");
        // Open until the client has read: what it has sent and nobody took would end the connection for it.
        stream
    });
    let peers = (0..20_000_u32).map(|peer| {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&peer.to_le_bytes());
        rvpn_uapi::PeerSet::new(rvpn_uapi::PublicKey(key))
    });
    let set = Set { peers: peers.collect(), ..Set::default() };
    let error = client(&directory).apply("wg0".as_ref(), &set).expect_err("refused");
    assert_eq!(error.to_string(), "wg0: refused: Cannot allocate memory");
    drop(server.join().expect("no panic"));
}

#[test]
fn what_has_no_socket_may_be_the_kernels() {
    let directory = tempfile::tempdir().expect("a directory");
    let client = client_of(&directory, FakeKernel::with(&["wg0", "wg1", "stale"]));
    drop(UnixListener::bind(directory.path().join("stale.sock")).expect("a socket"));
    for name in ["wg1", "stale"] {
        client.apply(name.as_ref(), &Set { fwmark: Some(7), ..Set::default() }).expect("applied");
        assert_eq!(client.status(name.as_ref()).expect("read").fwmark, 7, "{name}");
    }
    assert_eq!(client.status("wg0".as_ref()).expect("read").fwmark, 0);
    assert!(matches!(client.status("wg2".as_ref()), Err(ClientError::Absent { .. })));
    assert!(matches!(client.status("longer-than-15-bytes".as_ref()), Err(ClientError::Absent { .. })));
}

#[test]
fn the_kernels_interfaces_are_listed_first_and_a_socket_goes_before_the_kernel() {
    let (directory, server) = answering("fwmark=5\nerrno=0\n\n");
    let client = client_of(&directory, FakeKernel::with(&["wg7", "wg0"]));
    assert_eq!(client.status("wg0".as_ref()).expect("understood").fwmark, 5);
    server.join().expect("no panic");
    let _listener = UnixListener::bind(directory.path().join("wg1.sock")).expect("a socket");
    assert_eq!(client.interfaces().expect("a list"), ["wg7", "wg0", "wg1"]);
}

#[test]
fn a_refusal_of_the_kernel_is_told_with_what_was_tried() {
    let directory = tempfile::tempdir().expect("a directory");
    let kernel = FakeKernel::with(&["wg0"]);
    kernel.refuse(io::ErrorKind::PermissionDenied);
    let error = client_of(&directory, kernel).apply("wg0".as_ref(), &Set::default()).expect_err("refused");
    assert_eq!(error.to_string(), "wg0: cannot change the kernel's driver: permission denied");
}
