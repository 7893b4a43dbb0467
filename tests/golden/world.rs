//! A socket where `wg` finds it, behind which nobody moves packets, and the two tools.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rvpn_uapi::{Request, RequestEvent, RequestParser, Set};
use tempfile::{NamedTempFile, TempDir};

pub(crate) const KEY_1: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
pub(crate) const KEY_2: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
pub(crate) const PRIVATE_KEY: &str = "QAMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA0M=";

/// Returns whether there is a judge; says so if not.
pub(crate) fn has_judge() -> bool {
    let has_wg = Command::new("wg").arg("--version").output().is_ok_and(|output| output.status.success());
    let is_root = rustix::process::geteuid().is_root();
    let may_write = is_root && fs::create_dir_all(RUN_DIR).is_ok();
    if !(has_wg && may_write) {
        skip("wg(8) and root");
    }
    has_wg && may_write
}

#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
fn skip(needs: &str) {
    println!("skipped: needs {needs}");
}

const RUN_DIR: &str = "/var/run/wireguard";

/// A server that says what it is told to and keeps what it hears.
pub(crate) struct Server {
    pub(crate) name: String,
    path: PathBuf,
    answer: Arc<Mutex<String>>,
    heard: Arc<Mutex<Vec<Set>>>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Listens under a name that nobody else has, where `wg` looks.
    pub(crate) fn new(status: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("gd{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self::at(Path::new(RUN_DIR), &name, status)
    }

    /// Listens in `directory`. `status` is the answer to `get`, without its end.
    pub(crate) fn at(directory: &Path, name: &str, status: &str) -> Self {
        let path = directory.join(format!("{name}.sock"));
        // `wg` deletes a socket that does not listen yet.
        let unnamed = directory.join(format!(".{name}"));
        let listener = UnixListener::bind(&unnamed).expect("a socket");
        fs::rename(&unnamed, &path).expect("the same directory");
        let answer = Arc::new(Mutex::new(status.to_owned()));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (to_say, to_hear) = (Arc::clone(&answer), Arc::clone(&heard));
        // Ends with the process: accept() has no other end.
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&mut stream.expect("a client"), &to_say, &to_hear);
            }
        });
        Self { name: name.to_owned(), path, answer, heard, thread }
    }

    /// Takes what was asked for since the last time.
    pub(crate) fn heard(&self) -> Vec<Set> {
        assert!(!self.thread.is_finished(), "a server that has gone refuses everything");
        std::mem::take(&mut *self.heard.lock().expect("no panic"))
    }

    /// Says this from now on, to `get` as to `set`, in the place of its end too.
    pub(crate) fn say(&self, answer: &str) {
        *self.answer.lock().expect("no panic") = answer.to_owned();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn serve(stream: &mut UnixStream, answer: &Mutex<String>, heard: &Mutex<Vec<Set>>) {
    let mut parser = RequestParser::new(Arc::new(|name| (name == "lo").then_some(1)));
    let mut buffer = vec![0; 65536];
    loop {
        let len = match stream.read(&mut buffer) {
            Ok(len) if len > 0 => len,
            _ => return,
        };
        let mut bytes = &buffer[..len];
        while let Some(event) = parser.next(&mut bytes) {
            let answer = answer.lock().expect("no panic").clone();
            let answer = match event {
                _ if answer.contains("errno=") => answer,
                RequestEvent::Request(Request::Get) => format!("{answer}errno=0\n\n"),
                RequestEvent::Request(Request::Set(set)) => {
                    heard.lock().expect("no panic").push(set);
                    "errno=0\n\n".to_owned()
                }
                event => panic!("a request that is none: {event:?}"),
            };
            // A client that has gone has read what it wanted.
            let _ = stream.write_all(answer.as_bytes());
        }
    }
}

/// One of the tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Stock,
    Ours,
}

pub(crate) const BOTH: [Tool; 2] = [Tool::Stock, Tool::Ours];

impl Tool {
    /// The tool with these arguments, no standard input and no environment but `variables`.
    pub(crate) fn command(self, arguments: &[impl AsRef<OsStr>], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(match self {
            Self::Stock => "wg",
            Self::Ours => env!("CARGO_BIN_EXE_rvpn"),
        });
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(arguments).env_clear().env("PATH", path).env("WG_ENDPOINT_RESOLUTION_RETRIES", "0");
        command.envs(variables.iter().copied()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(self, arguments: &[impl AsRef<OsStr>], variables: &[(&str, &str)]) -> Output {
        self.command(arguments, variables).output().expect("it runs")
    }
}

/// Runs both and holds exit codes and standard outputs against each other; returns those of ours.
///
/// Times are told in whole seconds and pass between the runs: up to five pairs of runs have their chance to agree.
#[track_caller]
pub(crate) fn agree(arguments: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
    let outcome = |tool: Tool| {
        let output = tool.run(arguments, variables);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(error.is_empty(), output.status.success() || arguments.contains(&"set"), "{tool:?}: {error}");
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    let mut outcomes = BOTH.map(outcome);
    for _ in 0..4 {
        if outcomes[0] == outcomes[1] {
            break;
        }
        outcomes = BOTH.map(outcome);
    }
    let [stock, ours] = outcomes;
    assert_eq!(ours, stock, "{arguments:?}");
    assert!(ours.0.is_some());
    (ours.0 == Some(0), ours.1)
}

/// Runs both and holds what they ask of the server against each other; returns it, or `None` if both refuse.
#[track_caller]
pub(crate) fn ask_the_same(server: &Server, arguments: &[&str]) -> Option<Set> {
    ask_the_same_of(server, arguments, "")
}

/// The same; `text` is what the file among the arguments says, to be told if they differ.
#[track_caller]
pub(crate) fn ask_the_same_of(server: &Server, arguments: &[&str], text: &str) -> Option<Set> {
    let [stock, ours] = BOTH.map(|tool| {
        let output = tool.run(arguments, &[]);
        assert_eq!(output.stdout, b"", "{tool:?}");
        let mut sets = server.heard();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(i32::from(sets.is_empty())), "{tool:?} {arguments:?}: {error}");
        assert!(sets.len() <= 1, "{tool:?}: {sets:?}");
        (sets.pop(), error)
    });
    assert_eq!(ours.0, stock.0, "{arguments:?} {text:?}\nstock: {}\nours: {}", stock.1, ours.1);
    ours.0
}

/// A file for its owner alone.
pub(crate) fn file(text: impl AsRef<[u8]>) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(text.as_ref()).expect("written");
    file
}

pub(crate) fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().expect("UTF-8")
}

/// Runs both where `directory` lies in the place of [`RUN_DIR`], so that they see its sockets and no others.
///
/// `None` where there is no right to a mount namespace.
pub(crate) fn within(directory: &TempDir, arguments: &[&str], variables: &[(&str, &str)]) -> Option<[Output; 2]> {
    let script = format!("mount --bind \"$0\" {RUN_DIR} && exec \"$@\"");
    let run = |tool: Tool| {
        let command = tool.command(arguments, variables);
        let mut within = Command::new("unshare");
        within.args(["--mount", "sh", "-c", &script]).arg(directory.path()).arg(command.get_program());
        within.args(command.get_args()).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            within.env(name, value.unwrap_or_default());
        }
        within.output().ok()
    };
    let may = Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|output| output.status.success());
    if !may {
        skip("a mount namespace");
        return None;
    }
    Some([run(Tool::Stock)?, run(Tool::Ours)?])
}
