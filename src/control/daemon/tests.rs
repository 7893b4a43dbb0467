//! The process contract, with a device that moves no packets.
//!
//! Where a second process is needed it is this test program, told to run [`second_process`] alone.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Mutex;

use rustix::process::{Pid, Signal as Kill, getpgid, getsid, kill_process};
use tempfile::TempDir;

use super::*;
use crate::control::environment::{HANDOVER, RUN_DIR};
use crate::control::host::{Device, Taken};
use crate::control::server::tests::Fake;
use crate::platform::linux::tun::TunError;

/// The file that stands for the TUN.
const TUN: &str = "/dev/zero";

/// Makes [`Fake`] devices on [`TUN`], which it keeps open.
#[derive(Default)]
struct FakeHost {
    device: Arc<Fake>,
    tun: Mutex<Option<OwnedFd>>,
    ends: Mutex<Option<Ends>>,
    fails: bool,
}

impl Host for FakeHost {
    fn open_tun(&self, _interface: &InterfaceName) -> Result<OwnedFd, Error> {
        Ok(std::fs::File::open(TUN).expect("it is always there").into())
    }

    fn start(&self, _interface: &InterfaceName, tun: OwnedFd, ends: &Ends) -> Result<Arc<dyn Device>, Error> {
        *self.tun.lock().expect("no panic") = Some(tun);
        if self.fails || std::env::var_os(FAIL).is_some() {
            return Err(TunError::Permission.into());
        }
        *self.ends.lock().expect("no panic") = Some(ends.clone());
        Ok(Arc::clone(&self.device) as _)
    }

    fn take(
        &self,
        _interface: &InterfaceName,
        _tun: OwnedFd,
        _sockets: [Option<OwnedFd>; 2],
        _ends: &Ends,
    ) -> Result<Box<dyn Taken>, Error> {
        Err(TunError::Permission.into())
    }
}

const FAIL: &str = "RVPN_TEST_FAIL";
const SECOND_PROCESS: &str = "control::daemon::tests::second_process";

fn options(directory: &Path) -> Options {
    let environment = Environment { run_dir: Some(directory.to_owned()), ..Environment::default() };
    Options { interface: InterfaceName::new("wg0".as_ref()).expect("a name"), foreground: true, environment }
}

/// Runs a device in the foreground, calls `act` when it is ready, and returns how it ended.
fn run_until(act: impl FnOnce(&FakeHost, &Path)) -> (Result<(), Error>, Arc<Fake>, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let host = FakeHost::default();
    let options = options(directory.path());
    let (tun, listener, file) = open(&options, &host).expect("files");
    let path = directory.path().join("wg0.sock");
    let result = run_device(tun, listener, file, &options, &host, || act(&host, &path));
    assert!(!path.exists(), "no socket is left");
    (result, host.device, directory)
}

fn ends(host: &FakeHost) -> Ends {
    host.ends.lock().expect("no panic").clone().expect("started")
}

#[test]
fn a_removed_socket_ends_the_device_well() {
    let (result, device, _directory) = run_until(|_, path| std::fs::remove_file(path).expect("removed"));
    assert!(result.is_ok(), "{result:?}");
    assert!(device.is_stopped());
}

#[test]
fn a_deleted_interface_ends_the_device_well() {
    let (result, device, _directory) = run_until(|host, _| ends(host).report(End::TunGone));
    assert!(result.is_ok(), "{result:?}");
    assert!(device.is_stopped());
}

#[test]
fn a_failed_thread_ends_the_device_with_its_name() {
    let (result, device, _directory) = run_until(|host, _| {
        let thread = ends(host).spawn("rvpn-packets", || panic!("on purpose")).expect("a thread");
        assert!(thread.join().is_err());
    });
    let text = result.expect_err("a failure").to_string();
    assert_eq!(text, "thread rvpn-packets failed: wg0 is shut down; please report this");
    assert!(device.is_stopped());
}

#[test]
fn the_socket_answers_when_the_device_is_ready() {
    let (result, _, _directory) = run_until(|host, path| {
        assert_eq!(ask(path, "set=1\nfwmark=1\n\nget=1\n\n"), "errno=0\n\nfwmark=1\nerrno=0\n\n");
        ends(host).report(End::TunGone);
    });
    assert!(result.is_ok(), "{result:?}");
}

#[test]
fn a_second_device_of_the_name_is_refused_before_the_interface_is_touched() {
    let (result, _, _directory) = run_until(|host, path| {
        let error = run(&options(path.parent().expect("a directory")), host).expect_err("running");
        assert!(error.to_string().starts_with("wg0 is already running: "), "{error}");
        ends(host).report(End::TunGone);
    });
    assert!(result.is_ok(), "{result:?}");
}

#[test]
fn a_device_that_does_not_start_leaves_no_socket() {
    let directory = tempfile::tempdir().expect("a directory");
    let host = FakeHost { fails: true, ..FakeHost::default() };
    run(&options(directory.path()), &host).expect_err("it fails");
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 0);
}

/// The second process: runs only when started by a test below.
#[test]
fn second_process() {
    if std::env::var_os(HANDOVER).is_none() {
        return;
    }
    let environment = Environment::read(|name| std::env::var_os(name)).expect("a good environment");
    let interface = InterfaceName::new("wg0".as_ref()).expect("a name");
    let result = run(&Options { interface, foreground: false, environment }, &FakeHost::default());
    std::process::exit(i32::from(result.is_err()));
}

/// Goes to the background as [`run`] does.
fn start_second(directory: &Path, variables: &[(&str, &str)]) -> Result<Child, Error> {
    let host = FakeHost::default();
    let (tun, listener, file) = open(&options(directory), &host).expect("files");
    let mut command = Command::new("/proc/self/exe");
    command.args([SECOND_PROCESS, "--exact", "--nocapture"]).env(RUN_DIR, directory);
    command.envs(variables.iter().copied());
    background::start(command, &tun, &listener).inspect_err(|_| file.remove())
}

#[test]
fn the_first_process_returns_when_the_second_answers_and_signals_end_that_well() {
    for (signal, also) in [(Kill::TERM, None), (Kill::INT, Some(Kill::HUP)), (Kill::TERM, Some(Kill::USR1))] {
        let directory = tempfile::tempdir().expect("a directory");
        let mut second = start_second(directory.path(), &[]).expect("ready");
        let path = directory.path().join("wg0.sock");
        let pid = Pid::from_child(&second);
        assert_eq!(getsid(Some(pid)), Ok(pid), "a session of its own");
        assert_eq!(getpgid(Some(pid)), Ok(pid));
        if let Some(also) = also {
            kill_process(pid, also).expect("it runs");
        }
        assert_eq!(ask(&path, "get=1\n\n"), "errno=0\n\n");
        kill_process(pid, signal).expect("it runs");
        assert_eq!(second.wait().expect("it ends").code(), Some(0));
        assert!(!path.exists());
    }
}

#[test]
fn why_the_second_process_fails_is_told_by_the_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let error = start_second(directory.path(), &[(FAIL, "1")]).expect_err("it fails");
    let text = "/dev/net/tun: permission denied: run as root or give rvpn CAP_NET_ADMIN";
    assert_eq!(error.to_string(), text);
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 0);
}

#[test]
fn a_second_process_that_dies_without_a_word_is_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let host = FakeHost::default();
    let (tun, listener, _file) = open(&options(directory.path()), &host).expect("files");
    let error = background::start(Command::new("false"), &tun, &listener).expect_err("it dies");
    assert!(matches!(error, Error::BackgroundEnded(_) | Error::Spawn { .. }), "{error}");
}

#[test]
fn the_second_process_holds_no_file_of_the_first_but_those_handed_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let mine = tempfile::tempfile_in(directory.path()).expect("a file");
    let of_mine = std::fs::read_link(format!("/proc/self/fd/{}", mine.as_raw_fd())).expect("it is open");
    let mut second = start_second(directory.path(), &[]).expect("ready");
    // What started the test may have left files of its own open to every process: only files made here are counted.
    let count = |file: &Path| {
        let links = std::fs::read_dir(format!("/proc/{}/fd", second.id())).expect("it runs");
        links
            .filter(|link| std::fs::read_link(link.as_ref().expect("it runs").path()).is_ok_and(|to| to == file))
            .count()
    };
    assert_eq!((count(Path::new(TUN)), count(&of_mine)), (1, 0));
    for output in [1, 2] {
        let to = std::fs::read_link(format!("/proc/{}/fd/{output}", second.id())).expect("it runs");
        assert_eq!(to, Path::new("/dev/null"), "file {output}");
    }
    kill_process(Pid::from_child(&second), Kill::TERM).expect("it runs");
    second.wait().expect("it ends");
}

fn ask(path: &Path, request: &str) -> String {
    let mut client = UnixStream::connect(path).expect("a connection");
    // A server that hangs is a failure, not a test that hangs.
    client.set_read_timeout(Some(std::time::Duration::from_secs(30))).expect("an option");
    client.write_all(request.as_bytes()).expect("sent");
    client.shutdown(std::net::Shutdown::Write).expect("half closed");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn threads_have_names() {
    let (result, _, _directory) = run_until(|host, path| {
        // A thread names itself when it begins to run; one that has answered has.
        ask(path, "get=1\n\n");
        let mut names = Vec::new();
        for task in std::fs::read_dir("/proc/self/task").expect("always there").flatten() {
            names.extend(std::fs::read_to_string(task.path().join("comm")));
        }
        for name in ["rvpn-uapi\n", "rvpn-apply\n"] {
            assert!(names.iter().any(|found| found == name), "{names:?}");
        }
        ends(host).report(End::TunGone);
    });
    assert!(result.is_ok(), "{result:?}");
}
