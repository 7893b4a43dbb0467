//! The server on a real socket, with a device that keeps what it is told, and clients of every kind.

mod fake;
mod wg;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as Client;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use tempfile::TempDir;
use tokio::runtime;
use tokio::sync::oneshot;

pub(crate) use self::fake::Fake;
use super::*;
use crate::control::interface::InterfaceName;
use crate::control::outcome::Ends;
use crate::control::socket;
use crate::control::worker::Worker;

/// A server of a [`Fake`] on a thread of its own.
struct Harness {
    device: Arc<Fake>,
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _directory: Option<TempDir>,
}

impl Harness {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut harness = Self::at(directory.path().to_owned(), "wg0");
        harness._directory = Some(directory);
        harness
    }

    fn at(directory: PathBuf, interface: &str) -> Self {
        let interface = InterfaceName::new(interface.as_ref()).expect("a name");
        let (listener, _) = socket::make(&directory, &interface).expect("a socket");
        let device = Arc::new(Fake::default());
        let (stop, stopped) = oneshot::channel();
        let worker = Worker::start(Arc::clone(&device) as _, &Ends::new().0).expect("a thread");
        let asks = Asks { worker, device: Arc::clone(&device) as _, giver: None };
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = UnixListener::from_std(listener).expect("a listener");
                tokio::select! {
                    error = serve(&listener, &asks) => panic!("{error}"),
                    _ = stopped => {}
                }
            });
        });
        let path = directory.join(format!("{interface}.sock"));
        Self { device, path, stop: Some(stop), thread: Some(thread), _directory: None }
    }

    fn connect(&self) -> Client {
        let client = Client::connect(&self.path).expect("a connection");
        // A server that hangs is a failure, not a test that hangs.
        client.set_read_timeout(Some(Duration::from_secs(30))).expect("an option");
        client
    }

    /// Sends `request` on a connection of its own and returns the answer.
    fn ask(&self, request: &str) -> String {
        let mut client = self.connect();
        client.write_all(request.as_bytes()).expect("sent");
        client.shutdown(Shutdown::Write).expect("half closed");
        rest(&mut client)
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        drop(self.stop.take());
        let result = self.thread.take().map(JoinHandle::join);
        let _ = std::fs::remove_file(&self.path);
        assert!(thread::panicking() || result.is_some_and(|result| result.is_ok()));
    }
}

fn rest(client: &mut Client) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).expect("an answer");
    text
}

/// Reads up to the end of one answer.
fn one_answer(client: &mut Client) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\n\n") {
        client.read_exact(&mut byte).expect("more of the answer");
        text.push(byte[0]);
    }
    String::from_utf8(text).expect("ASCII")
}

fn peers(count: u32) -> String {
    (0..count).map(|index| format!("public_key={index:064x}\nallowed_ip=fd00::{index:x}/128\n")).collect()
}

#[test]
fn several_operations_share_a_connection() {
    let server = Harness::new();
    let mut client = server.connect();
    for port in [1, 2] {
        write!(client, "set=1\nlisten_port={port}\n\n").expect("sent");
        assert_eq!(one_answer(&mut client), "errno=0\n\n");
        write!(client, "get=1\n\n").expect("sent");
        assert_eq!(one_answer(&mut client), format!("listen_port={port}\nerrno=0\n\n"));
    }
    write!(client, "set=1\nfwmark=3\n\nget=1\n\n").expect("sent");
    assert_eq!(one_answer(&mut client), "errno=0\n\n");
    assert_eq!(one_answer(&mut client), "listen_port=2\nfwmark=3\nerrno=0\n\n");
}

#[test]
fn a_silent_client_and_a_probe_block_nobody() {
    let server = Harness::new();
    let silent = server.connect();
    let mut begun = server.connect();
    begun.write_all(b"set=1\nlisten_po").expect("sent");
    drop(server.connect());
    assert_eq!(server.ask("get=1\n\n"), "errno=0\n\n");
    drop(silent);
}

#[test]
fn two_hundred_clients_are_served_at_once() {
    let server = Harness::new();
    let mut clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.write_all(b"get=1\n").expect("sent");
    }
    for client in clients.iter_mut().rev() {
        client.write_all(b"\n").expect("sent");
        assert_eq!(one_answer(client), "errno=0\n\n");
    }
}

#[test]
fn the_end_of_the_stream_is_the_end_of_the_request() {
    let server = Harness::new();
    assert_eq!(server.ask("set=1\nlisten_port=7\n"), "errno=0\n\n");
    assert_eq!(server.ask("get=1\n"), "listen_port=7\nerrno=0\n\n");
    assert_eq!(server.ask(""), "");
}

#[test]
fn an_unknown_operation_is_not_answered() {
    let server = Harness::new();
    for request in ["\n", "hello\n\n", "get=2\n\n"] {
        assert_eq!(server.ask(request), "");
    }
}

#[test]
fn a_question_takes_its_connection_with_it() {
    let server = Harness::new();
    let version = format!("version={}\nerrno=0\n\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(server.ask("rvpn_ask=version\n\nget=1\n\n"), version, "and closes it");
    assert_eq!(
        server.ask("get=1\n\nrvpn_ask=version\n"),
        format!("errno=0\n\n{version}"),
        "also at the end of the stream"
    );
}

#[test]
fn a_question_that_nobody_knows_is_an_error() {
    let server = Harness::new();
    assert_eq!(server.ask("rvpn_ask=nothing\n\n"), "errno=-95\n\n");
    assert_eq!(server.ask("rvpn_ask=version\nx\n\n"), "errno=-71\n\n");
}

#[test]
fn errors_are_negative_for_set_and_positive_for_get() {
    let server = Harness::new();
    assert_eq!(server.ask(&format!("set=1\nlisten_port={}\n\n", Fake::TAKEN_PORT)), "errno=-98\n\n");
    assert_eq!(server.ask("set=1\nlisten_port\n\n"), "errno=-71\n\n");
    assert_eq!(server.ask("set=1\nlisten_port=x\n\n"), "errno=-22\n\n");
    assert_eq!(server.ask("get=1\nx=y\n\n"), "errno=22\n\n");
}

#[test]
fn nothing_of_a_bad_request_reaches_the_device() {
    let server = Harness::new();
    assert_eq!(server.ask("set=1\nlisten_port=7\nfwmark=x\n\n"), "errno=-22\n\n");
    assert_eq!(server.ask("get=1\n\n"), "errno=0\n\n");
}

#[test]
fn a_long_bad_request_can_be_written_before_its_answer_is_read() {
    let server = Harness::new();
    let mut client = server.connect();
    client.write_all(format!("set=1\nx\n{}\nget=1\n\n", peers(20_000)).as_bytes()).expect("all of it is taken");
    assert_eq!(one_answer(&mut client), "errno=-71\n\n");
    assert_eq!(one_answer(&mut client), "errno=0\n\n", "and the stream is in step");
}

#[test]
fn who_reads_slowly_holds_up_nobody_and_gets_what_was_true_when_asked() {
    let server = Harness::new();
    assert_eq!(server.ask(&format!("set=1\n{}\n", peers(20_000))), "errno=0\n\n");
    let mut slow = server.connect();
    slow.write_all(b"get=1\n\n").expect("sent");
    let mut first = [0; 11];
    slow.read_exact(&mut first).expect("the answer begins");

    assert_eq!(server.ask("set=1\nreplace_peers=true\n\n"), "errno=0\n\n");
    assert_eq!(server.ask("get=1\n\n"), "errno=0\n\n");

    slow.shutdown(Shutdown::Write).expect("half closed");
    let answer = rest(&mut slow);
    assert_eq!(answer.matches("public_key=").count(), 20_000 - 1);
    assert!(answer.ends_with("errno=0\n\n"));
}

#[test]
fn a_client_that_leaves_before_its_answer_harms_nobody() {
    let server = Harness::new();
    assert_eq!(server.ask(&format!("set=1\n{}\n", peers(5_000))), "errno=0\n\n");
    for _ in 0..20 {
        server.connect().write_all(b"get=1\n\n").expect("sent");
    }
    assert_eq!(server.ask("set=1\nreplace_peers=true\n\nget=1\n\n"), "errno=0\n\nerrno=0\n\n");
}

#[test]
fn no_operation_runs_within_another() {
    let server = Harness::new();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert!(server.ask("set=1\nfwmark=1\n\nget=1\n\n").ends_with("fwmark=1\nerrno=0\n\n"));
                }
            });
        }
    });
    assert!(!server.device.was_entered_twice());
}

#[test]
fn connections_over_the_limit_are_closed_at_once() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // Both ends of all connections are in this process.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the hard limit");
    let server = Harness::new();
    let held: Vec<_> = (0..MAX_CONNECTIONS).map(|_| server.connect()).collect();
    assert_eq!(rest(&mut server.connect()), "");
    drop(held);
    // The places are free as soon as the server has seen the clients leave.
    while !is_answered(&server) {}
}

fn is_answered(server: &Harness) -> bool {
    let mut client = server.connect();
    client.write_all(b"get=1\n\n").is_ok() && client.read(&mut [0; 64]).is_ok_and(|len| len > 0)
}

#[tokio::test(start_paused = true)]
async fn a_client_may_pause_for_a_minute_within_a_request_and_for_ten_without() {
    for (sent, patience) in [(&b"set=1\n"[..], REQUEST_TIMEOUT), (b"g", REQUEST_TIMEOUT), (b"", IDLE_TIMEOUT)] {
        let device = Arc::new(Fake::default());
        let worker = Worker::start(Arc::clone(&device) as _, &Ends::new().0).expect("a thread");
        let (mut client, server) = UnixStream::pair().expect("a pair");
        client.write_all(sent).await.expect("sent");
        let start = time::Instant::now();
        converse(server, Asks { worker, device, giver: None }).await;
        assert_eq!(start.elapsed().as_secs(), patience.as_secs());
        assert_eq!(client.read(&mut [0; 9]).await.expect("closed"), 0);
    }
}

#[test]
fn interfaces_are_found_by_name() {
    assert_eq!(interface_index("lo"), Some(1));
    assert_eq!(interface_index("no such one"), None);
    assert_eq!(interface_index("a name that is longer than sixteen bytes"), None);
}

#[tokio::test(start_paused = true)]
async fn a_shortage_is_told_once_until_it_has_been_over_for_a_minute() {
    let mut shortage = Shortage::default();
    assert!(shortage.is_news(time::Instant::now()));
    for _ in 0..1_000 {
        time::advance(ACCEPT_RETRY).await;
        assert!(!shortage.is_news(time::Instant::now()));
    }
    time::advance(SHORTAGE_MEMORY).await;
    assert!(shortage.is_news(time::Instant::now()));
}
