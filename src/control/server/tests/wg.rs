//! The stock `wg` as the client.
//!
//! It looks for sockets in `/var/run/wireguard` only, so these tests use a name there that nobody else has. Where there
//! is no `wg`, or no right to that directory, they say so and pass.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A server that `wg` can find, and its name.
fn server() -> Option<(Harness, String)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let directory = socket::default_directory();
    let has_wg = Command::new("wg").arg("--version").output().is_ok_and(|output| output.status.success());
    let may_write = rustix::process::geteuid().is_root() && directory.parent().is_some_and(Path::is_dir);
    if !has_wg || !may_write {
        println!("skipped: needs wg(8) and root");
        return None;
    }
    let name = format!("rv{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    Some((Harness::at(directory, &name), name))
}

fn wg(arguments: &[&str]) -> Output {
    Command::new("wg").args(arguments).output().expect("wg runs")
}

fn success(arguments: &[&str]) -> String {
    let output = wg(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn configuration(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

const PEER_1: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const PEER_2: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const PRIVATE_KEY: &str = "QAMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA0M=";

#[test]
fn what_setconf_sends_showconf_shows() {
    let Some((_server, name)) = server() else { return };
    let text = format!(
        "[Interface]\nListenPort = 51820\nFwMark = 0xca6c\nPrivateKey = {PRIVATE_KEY}\n\n\
         [Peer]\nPublicKey = {PEER_1}\nPresharedKey = {PEER_2}\nAllowedIPs = 10.0.0.0/24, fd00::/64\n\
         Endpoint = 192.0.2.1:51820\nPersistentKeepalive = 25\n\n\
         [Peer]\nPublicKey = {PEER_2}\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = [2001:db8::1]:7\n"
    );
    let file = configuration(&text);
    let path = file.path().to_str().expect("UTF-8");
    success(&["setconf", &name, path]);
    assert_eq!(success(&["showconf", &name]).trim_end(), text.trim_end());
    success(&["syncconf", &name, path]);
    assert_eq!(success(&["showconf", &name]).trim_end(), text.trim_end());
}

#[test]
fn set_changes_and_show_shows() {
    let Some((_server, name)) = server() else { return };
    success(&[
        "set",
        &name,
        "listen-port",
        "7",
        "peer",
        PEER_1,
        "allowed-ips",
        "10.0.0.5/24",
        "endpoint",
        "[fe80::1%lo]:9",
    ]);
    assert_eq!(success(&["show", &name, "listen-port"]), "7\n");
    assert_eq!(success(&["show", &name, "allowed-ips"]), format!("{PEER_1}\t10.0.0.0/24\n"));
    assert_eq!(success(&["show", &name, "endpoints"]), format!("{PEER_1}\t[fe80::1%lo]:9\n"));
    assert!(success(&["show", "interfaces"]).split_whitespace().any(|shown| shown == name));
    success(&["set", &name, "peer", PEER_1, "remove"]);
    assert_eq!(success(&["show", &name, "peers"]), "");
}

#[test]
fn syncconf_removes_the_peers_that_the_file_does_not_have() {
    let Some((_server, name)) = server() else { return };
    success(&["set", &name, "peer", PEER_1, "persistent-keepalive", "5", "peer", PEER_2]);
    let file = configuration(&format!("[Interface]\n[Peer]\nPublicKey = {PEER_2}\nAllowedIPs = 10.0.0.0/8\n"));
    success(&["syncconf", &name, file.path().to_str().expect("UTF-8")]);
    assert_eq!(success(&["show", &name, "allowed-ips"]), format!("{PEER_2}\t10.0.0.0/8\n"));
}

#[test]
fn a_port_that_is_taken_is_reported_in_words() {
    let Some((_server, name)) = server() else { return };
    let output = wg(&["set", &name, "listen-port", &Fake::TAKEN_PORT.to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(text, "Unable to modify interface: Address already in use\n");
}
