//! What a hardened process cannot do any more, tried from inside: this test program runs itself again, and that run
//! hardens itself as the daemon does and then tries everything. Each refusal is shown to come from the hardening: the
//! same attempt succeeds without it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::net::{AddressFamily, SocketType};
use rustix::process::Resource;
use rvpn::platform::linux::hardening::{Hardening, Needs, Part, Violation};

const CHILD: &str = "RVPN_TEST_HARDENING";
const DIRECTORY: &str = "RVPN_TEST_DIRECTORY";
const LISTENER: &str = "RVPN_TEST_LISTENER";

/// What is refused to the whole process.
const FORBIDDEN: [&str; 9] = [
    "tcp socket",
    "connect",
    "tcp bind",
    "open",
    "remove another file",
    "start a program",
    "signal",
    "look into memory",
    "new code",
];
/// What every thread may do.
const ALLOWED: [&str; 3] = ["use a socket", "start a thread", "allocate"];
/// What only the threads off the way of packets may do.
const CONTROL: [&str; 2] = ["udp socket", "remove the socket file"];

#[test]
fn without_hardening_everything_succeeds() {
    let (outcomes, _) = run("off");
    for what in FORBIDDEN.into_iter().chain(ALLOWED).chain(CONTROL) {
        assert_eq!(outcomes[what], "ok", "{what}");
    }
    assert!(!outcomes.contains_key("become a program"), "it became one");
}

#[test]
fn a_hardened_process_can_do_what_it_needs_and_no_more() {
    let (outcomes, _) = run("all");
    for what in FORBIDDEN.into_iter().chain(["become a program"]) {
        assert_ne!(outcomes[what], "ok", "{what}");
    }
    for what in ALLOWED.into_iter().chain(CONTROL) {
        assert_eq!(outcomes[what], "ok", "{what}");
    }
}

#[test]
fn a_thread_that_carries_packets_can_do_less() {
    let (outcomes, _) = run("packets");
    for what in FORBIDDEN.into_iter().chain(CONTROL).chain(["become a program"]) {
        assert_ne!(outcomes[what], "ok", "{what}");
    }
    for what in ALLOWED {
        assert_eq!(outcomes[what], "ok", "{what}");
    }
}

#[test]
fn each_line_of_defence_holds_by_itself() {
    let (outcomes, told) = run("seccomp");
    assert!(told.contains("holds seccomp (refuses)"), "{told}");
    // Both are the same calls as what must succeed.
    let others = ["tcp bind", "remove another file"];
    for what in FORBIDDEN.into_iter().filter(|what| !others.contains(what)) {
        assert!(outcomes[what].contains("os error 38"), "{what}: {}", outcomes[what]);
    }
    let (outcomes, told) = run("landlock");
    if told.contains("not landlock") {
        println!("skipped: {told}");
        return;
    }
    let beyond = if told.contains("(files, TCP, signals)") { &["connect", "tcp bind", "signal"][..] } else { &[] };
    for &what in ["open", "remove another file", "start a program"].iter().chain(beyond) {
        assert!(
            ["os error 13", "os error 1)"].iter().any(|error| outcomes[what].contains(error)),
            "{what}: {}",
            outcomes[what]
        );
    }
}

#[test]
fn a_violation_kills_where_that_is_asked_for() {
    let output = child("kill").output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{output:?}");
}

#[test]
fn dumps_and_swap_are_over() {
    let (outcomes, told) = run("memory");
    assert_eq!(outcomes["dumpable"], "NotDumpable");
    assert_eq!(outcomes["core"], "Some(0)");
    assert_eq!(outcomes["locked"] != "0 kB", told.contains("memory (locked)"), "{} locked, {told}", outcomes["locked"]);
}

/// Runs a child in `mode`; returns its outcomes by name, and what its hardening says of itself.
fn run(mode: &str) -> (BTreeMap<String, String>, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let output = child(mode)
        .env(LISTENER, listener.local_addr().unwrap().to_string())
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let outcomes: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once("TRIED ")?.1.split_once(": "))
        .map(|(what, outcome)| (what.to_owned(), outcome.to_owned()))
        .collect();
    assert!(!outcomes.is_empty(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let told = text.lines().find_map(|line| line.split_once("TOLD ")).unwrap().1.to_owned();
    (outcomes, told)
}

fn child(mode: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", "hardening::child_of_the_others"]).env(CHILD, mode);
    command
}

#[test]
fn child_of_the_others() {
    let Ok(mode) = std::env::var(CHILD) else { return };
    let only = |kept: &[Part]| {
        Part::ALL.into_iter().filter(|part| !kept.contains(part)).fold(Hardening::default(), Hardening::without)
    };
    let hardening = match mode.as_str() {
        "off" => Hardening::OFF,
        "seccomp" => only(&[Part::Seccomp]),
        "landlock" => only(&[Part::Landlock]),
        "memory" => only(&[Part::Dumps, Part::Memory]),
        "kill" => Hardening::default().on_violation(Violation::Kill),
        _ => Hardening::default(),
    };
    if mode == "kill" {
        hardening.confine_process(&Needs {
            socket_directory: Path::new("/"),
            metrics_directory: None,
            peers_directory: None,
        });
        tell("connect", rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None));
        return;
    }
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let attempts = Attempts::prepare(&directory);
    let confined = hardening.confine_process(&Needs {
        socket_directory: &attempts.sockets,
        metrics_directory: None,
        peers_directory: None,
    });
    println!("TOLD {confined}");
    match mode.as_str() {
        "packets" => confined.confined(|| attempts.make()).unwrap(),
        "memory" => {
            println!("TRIED dumpable: {:?}", rustix::process::dumpable_behavior().unwrap());
            println!("TRIED core: {:?}", rustix::process::getrlimit(Resource::Core).maximum);
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
            println!("TRIED locked: {}", locked.trim());
        }
        _ => attempts.make(),
    }
}

/// What is tried, with what must be open before.
struct Attempts {
    listener: SocketAddr,
    sockets: PathBuf,
    socket_file: PathBuf,
    another_file: PathBuf,
    tcp: [std::os::fd::OwnedFd; 2],
    udp: UdpSocket,
}

impl Attempts {
    fn prepare(directory: &Path) -> Self {
        let sockets = directory.join("wireguard");
        std::fs::create_dir(&sockets).unwrap();
        let (socket_file, another_file) = (sockets.join("wg0.sock"), directory.join("file"));
        File::create(&socket_file).unwrap();
        File::create(&another_file).unwrap();
        let tcp = || rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        Self {
            listener: std::env::var(LISTENER).unwrap().parse().unwrap(),
            sockets,
            socket_file,
            another_file,
            tcp: [tcp(), tcp()],
            udp: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
        }
    }

    fn make(&self) {
        tell("tcp socket", rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None));
        tell("connect", rustix::net::connect(&self.tcp[0], &self.listener));
        tell("tcp bind", rustix::net::bind(&self.tcp[1], &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
        tell("udp socket", UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
        tell("use a socket", self.udp.send_to(&[1], self.udp.local_addr().unwrap()));
        tell("open", File::open("/etc/passwd"));
        tell("remove another file", std::fs::remove_file(&self.another_file));
        tell("remove the socket file", std::fs::remove_file(&self.socket_file));
        tell("signal", rustix::process::test_kill_process(rustix::process::getppid().unwrap()));
        tell("start a thread", std::thread::Builder::new().spawn(|| {}).map(|thread| thread.join().unwrap()));
        tell("allocate", vec![1_u8; 8 << 20].iter().all(|&byte| byte == 1).then_some(()).ok_or(""));
        tell("new code", new_code());
        tell("start a program", Command::new("true").status());
        tell("look into memory", look_into_memory());
        tell("become a program", Err::<(), _>(Command::new("true").exec()));
    }
}

fn tell<T, E: ToString>(what: &str, result: Result<T, E>) {
    println!("TRIED {what}: {}", result.map_or_else(|error| error.to_string(), |_| "ok".to_owned()));
}

/// Maps memory that can be executed.
#[allow(unsafe_code)]
fn new_code() -> io::Result<()> {
    // SAFETY: a new mapping, at a place the kernel chooses, that nobody uses.
    let mapped = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads memory as a debugger would; a process may always do so with its own.
#[allow(unsafe_code)]
fn look_into_memory() -> io::Result<()> {
    let (mut there, mut here) = ([1_u8], [0_u8]);
    let vector = |bytes: &mut [u8; 1]| libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 1 };
    let (remote, local) = (vector(&mut there), vector(&mut here));
    // SAFETY: each vector describes one byte of an array that lives through the call; one is read, the other written.
    let len = unsafe {
        libc::process_vm_readv(std::process::id().cast_signed(), &raw const local, 1, &raw const remote, 1, 0)
    };
    if len == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
