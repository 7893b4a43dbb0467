//! `genkey`, `genpsk` and `pubkey`, and what is beyond `wg` in them.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Output, Stdio};

use super::world::*;

fn pipe(tool: Tool, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = tool.command(arguments, &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    // A tool may have refused before it has read all.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_private_key_has_the_same_public_key() {
    if !has_judge() {
        return;
    }
    let spaced = format!("{PRIVATE_KEY}\r\n \x0b\x0c\t\0\n");
    let trailing = format!("{PRIVATE_KEY}x");
    let leading = format!(" {PRIVATE_KEY}");
    let zero = "A".repeat(43) + "=";
    let ones = "/".repeat(42) + "8=";
    for input in [PRIVATE_KEY, KEY_1, &spaced, &trailing, &leading, &zero, &ones, "", "x", &PRIVATE_KEY[..43]] {
        let [stock, ours] = BOTH.map(|tool| pipe(tool, &["pubkey"], input.as_bytes()));
        assert_eq!((ours.status.code(), &ours.stdout), (stock.status.code(), &stock.stdout), "{input:?}");
        assert_eq!(ours.stderr.is_empty(), ours.status.success(), "{input:?}");
    }
}

#[test]
fn new_keys_are_good_for_the_other_tool() {
    if !has_judge() {
        return;
    }
    for command in ["genkey", "genpsk"] {
        let [stock, ours] = BOTH.map(|tool| tool.run(&[command], &[]));
        assert_eq!((ours.status.code(), ours.stdout.len()), (stock.status.code(), stock.stdout.len()));
        let [first, second] = BOTH.map(|tool| pipe(tool, &["pubkey"], &ours.stdout));
        assert_eq!(first.stdout, second.stdout);
        assert_ne!(ours.stdout, Tool::Ours.run(&[command], &[]).stdout, "new each time");
        let codes = BOTH.map(|tool| tool.run(&[command, "more"], &[]).status.code());
        assert_eq!(codes, [Some(1); 2]);
    }
}

#[test]
fn a_key_file_is_for_its_owner_and_not_written_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("key");
    let path = path.to_str().expect("UTF-8");
    let output = Tool::Ours.run(&["genkey", "--out", path], &[]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
    assert_eq!(std::fs::metadata(path).expect("made").mode() & 0o7777, 0o600);
    let key = std::fs::read(path).expect("made");
    assert_eq!(key.len(), 45);
    let output = Tool::Ours.run(&["genkey", "--out", path], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(path));
    assert_eq!(std::fs::read(path).expect("still there"), key);
}

#[test]
fn a_key_file_that_others_can_read_is_a_warning_and_works() {
    if !has_judge() {
        return;
    }
    let server = Server::new("");
    let key = file(PRIVATE_KEY);
    let set = |mode| {
        std::fs::set_permissions(key.path(), std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("ours");
        let output = Tool::Ours.run(&["set", &server.name, "private-key", path(&key)], &[]);
        assert!(output.status.success());
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    assert_eq!(set(0o600), "");
    assert!(set(0o640).contains("others can read the keys in it (mode 0640)"));
}

#[test]
fn all_faults_of_a_file_are_told_and_nothing_is_asked() {
    if !has_judge() {
        return;
    }
    let server = Server::new("");
    let file = file("[Interface]\nListenPort = 70000\nFwmark = x\n[Peer]\nAllowedIPs = 10.0.0.0/33\n");
    let output = Tool::Ours.run(&["setconf", &server.name, path(&file)], &[]);
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    let places: Vec<_> = text.lines().map(|line| line.split(": ").nth(1).expect("a place")).collect();
    let name = path(&file);
    let expected = ["2:14", "3:10", "4:1", "5:14"].map(|place| format!("{name}:{place}"));
    assert_eq!((output.status.code(), places), (Some(1), expected.iter().map(String::as_str).collect()), "{text}");
    assert_eq!(server.heard(), []);
}

#[test]
fn json_is_one_document_and_watch_repeats_it_until_nobody_reads() {
    if !has_judge() {
        return;
    }
    let server = Server::new("listen_port=7\n");
    let output = Tool::Ours.run(&["show", &server.name, "--json"], &[]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["interfaces"][0]["listen_port"], 7);
    let mut watch = Tool::Ours.command(&["show", &server.name, "--json", "--watch=0.1"], &[]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().expect("piped")));
    for _ in 0..3 {
        let line = lines.next().expect("a line").expect("UTF-8");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).expect("JSON"), document);
    }
    drop(lines);
    assert_eq!(watch.wait().expect("it ends").code(), Some(1));
}
