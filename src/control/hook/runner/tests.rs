//! Real programs: shell scripts that write down what they see.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

use super::*;

const QUICK: Limits = Limits { patience: Duration::from_millis(300), grace: Duration::from_millis(100) };

struct Script {
    directory: TempDir,
}

impl Script {
    /// A script in a directory of its own, whose name is in `$D`.
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for pipe in ["begun", "met"] {
            let path = directory.path().join(pipe);
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        }
        let script = Self { directory };
        fs::write(script.path(), format!("#!/bin/sh\nD={}\n{text}\n", script.directory.path().display()))
            .expect("written");
        fs::set_permissions(script.path(), fs::Permissions::from_mode(0o755)).expect("its owner's");
        script
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("hook")
    }

    /// What the script has written to `$D/out`.
    fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("out")).unwrap_or_default()
    }

    /// Has the script run for these events, and waits for the end of all.
    async fn run(&self, records: &[Record], limits: Limits) {
        let mut lines = Vec::new();
        records.iter().for_each(|record| record.write(&mut lines));
        let interface = InterfaceName::new("wg0".as_ref()).expect("a name");
        let mut pipe = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(self.directory.path().join("begun"))
            .expect("a pipe");
        let (mut ours, theirs) = tokio::io::duplex(1 << 20);
        ours.write_all(&lines).await.expect("room");
        let follow = async { follow(theirs, &self.path(), &interface, limits).await.expect("no error") };
        // Only when all have begun: what waits when the daemon ends is dropped. A script that begins writes a byte.
        let mut begun = vec![0; records.len()];
        let close = async {
            pipe.read_exact(&mut begun).await.expect("each begins");
            drop(ours);
        };
        tokio::join!(follow, close);
    }
}

fn record(event: &str, peer: &str) -> Record {
    let public_key = (!peer.is_empty()).then(|| peer.to_owned());
    Record { event: event.to_owned(), time: "2026-05-04T09:30:00Z".to_owned(), public_key, ..Record::default() }
}

const BEGIN: &str = "printf x >$D/begun";

#[tokio::test]
async fn the_environment_is_what_is_documented_and_nothing_else() {
    let script = Script::new(&format!("env | sort >$D/out; {BEGIN}"));
    let event = Record {
        name: Some("al ice".to_owned()),
        endpoint: Some("192.0.2.1:1".to_owned()),
        ..record("connected", "KEY=")
    };
    script.run(&[event], LIMITS).await;
    // The shell adds those about itself.
    let said: Vec<_> = script
        .said()
        .lines()
        .filter(|line| !["PWD=", "SHLVL=", "_="].iter().any(|own| line.starts_with(own)))
        .map(str::to_owned)
        .collect();
    let expected = [
        &format!("PATH={PATH}"),
        "RVPN_ENDPOINT=192.0.2.1:1",
        "RVPN_EVENT=connected",
        "RVPN_PEER=KEY=",
        "RVPN_PEER_NAME=al ice",
        "RVPN_TIME=2026-05-04T09:30:00Z",
        "TUN_DEV_NAME=wg0",
    ];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn the_program_has_three_files_and_a_directory() {
    let script = Script::new(&format!("ls /proc/$$/fd >$D/out; readlink /proc/$$/fd/0 /proc/$$/cwd >>$D/out; {BEGIN}"));
    script.run(&[record("added", "a")], LIMITS).await;
    // 255 or 10 is the script itself, as the shell reads it.
    let said = script.said();
    let numbers: Vec<_> = said.lines().filter(|line| line.parse().is_ok_and(|number: u32| number < 10)).collect();
    assert_eq!(numbers, ["0", "1", "2"]);
    assert!(said.ends_with("/dev/null\n/\n"), "{said}");
}

#[tokio::test]
async fn the_events_of_a_peer_come_in_order_and_others_need_not_wait() {
    // The first event of `a` lasts until one of `b` has come.
    let script = Script::new(&format!(
        "{BEGIN}; [ $RVPN_PEER = b ] && echo >$D/met; [ $RVPN_EVENT = first ] && read x <$D/met; \
         echo $RVPN_EVENT-$RVPN_PEER >>$D/out"
    ));
    let events = [record("first", "a"), record("second", "a"), record("third", "a"), record("fourth", "b")];
    script.run(&events, LIMITS).await;
    let said = script.said();
    let of_a: Vec<_> = said.lines().filter(|line| line.ends_with("-a")).collect();
    assert_eq!(of_a, ["first-a", "second-a", "third-a"]);
    assert!(said.contains("fourth-b"), "{said}");
}

#[tokio::test]
async fn no_more_than_four_run_at_once() {
    let count = "n=$(ls $D/running | wc -l); echo $n >>$D/out";
    let script = Script::new(&format!("mkdir -p $D/running; touch $D/running/$$; {BEGIN}; {count}; rm $D/running/$$"));
    let events: Vec<_> = (0..16).map(|peer| record("added", &peer.to_string())).collect();
    script.run(&events, LIMITS).await;
    let most = script.said().lines().map(|line| line.trim().parse::<u32>().expect("a number")).max();
    assert!((1..=4).contains(&most.expect("16 lines")), "{most:?}");
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_ended_with_its_children() {
    // Script and child hold the pipe open as long as they live.
    let script = Script::new(&format!("trap '' TERM; exec 1>$D/met; sleep 60 & {BEGIN}; wait; sleep 60"));
    let mut pipe = pipe::OpenOptions::new().open_receiver(script.directory.path().join("met")).expect("a pipe");
    let started = tokio::time::Instant::now();
    script.run(&[record("added", "a")], QUICK).await;
    assert!(started.elapsed() < Duration::from_secs(30), "its limits are a fraction of a second");
    let closed = timeout(Duration::from_secs(5), pipe.read(&mut [0])).await;
    assert_eq!(closed.expect("nobody is left").expect("no error"), 0);
}

#[tokio::test]
async fn a_program_that_fails_or_is_gone_does_not_stop_the_next() {
    let script = Script::new(&format!("{BEGIN}; echo $RVPN_EVENT >>$D/out; exit 3"));
    script.run(&[record("first", "a"), record("second", "a")], LIMITS).await;
    assert_eq!(script.said(), "first\nsecond\n");
    let gone = command(Path::new("/no/such/program"), "wg0", &record("added", "a"));
    assert!(run_one(gone, LIMITS).await.expect_err("it is not there").starts_with("cannot be started"));
}
