//! `show` and `showconf`: to the byte.

use std::fmt::Write;

use rvpn::dataplane::io::Clock;
use rvpn::platform::linux::LinuxClock;

use super::world::*;

const FIELDS: [&str; 12] = [
    "public-key",
    "private-key",
    "listen-port",
    "fwmark",
    "peers",
    "preshared-keys",
    "endpoints",
    "allowed-ips",
    "latest-handshakes",
    "transfer",
    "persistent-keepalive",
    "dump",
];

const LOOKS: [&[(&str, &str)]; 4] = [
    &[],
    &[("WG_COLOR_MODE", "always")],
    &[("WG_COLOR_MODE", "never"), ("WG_HIDE_KEYS", "never")],
    &[("WG_COLOR_MODE", "always"), ("WG_HIDE_KEYS", "never")],
];

/// A device with a peer for everything that can be shown in more than one way.
fn status() -> String {
    let now = LinuxClock.wall().secs;
    let mut text = format!("private_key={}40\nlisten_port=51820\nfwmark=51820\nunknown=1\n", "03".repeat(31));
    let mut peer = |lines: &str| {
        let key = format!("{:02x}", text.matches("public_key=").count() + 1).repeat(32);
        writeln!(text, "public_key={key}\n{lines}").expect("memory");
    };
    peer("protocol_version=1");
    peer("preshared_key=0000000000000000000000000000000000000000000000000000000000000000");
    peer(&format!("preshared_key={}\nendpoint=192.0.2.1:51820\nallowed_ip=10.0.0.0/24", "0a".repeat(32)));
    for endpoint in [
        "[2001:db8::1]:7",
        "[fe80::1%1]:7",
        "[fe80::1%lo]:7",
        "[ff02::1%1]:7",
        "[fd00::1]:7",
        "[::ffff:1.2.3.4]:7",
        "[::1.2.3.4]:7",
        "[::1]:7",
        "[::]:7",
        "[1:0:0:2:0:0:0:3]:7",
        "[1:0:2:3:4:5:6:7]:7",
    ] {
        peer(&format!("endpoint={endpoint}"));
    }
    peer(
        "allowed_ip=0.0.0.0/0\nallowed_ip=::/0\nallowed_ip=::1.2.3.4/128\nallowed_ip=::ffff:0:0/96\n\
          allowed_ip=fd00::/8\nallowed_ip=::1:0/112\nallowed_ip=1:0:0:1::/64",
    );
    for seconds in [1, 25, 60, 61, 3600, 3661, 65535] {
        peer(&format!("persistent_keepalive_interval={seconds}"));
    }
    for ago in [2_u64, 59, 60, 119, 3600, 86_399, 86_400, 90_061, 31_536_000, 70_000_000, now - 1] {
        peer(&format!("last_handshake_time_sec={}\nlast_handshake_time_nsec=5", now - ago));
    }
    peer(&format!("last_handshake_time_sec={}", now + 1_000));
    peer("last_handshake_time_sec=0\nlast_handshake_time_nsec=9");
    for (rx, tx) in [
        (0_u64, 1),
        (1023, 1024),
        (1025, 1_048_575),
        (1_048_576, 1_073_741_823),
        (5_000_000_000, u64::MAX),
        (1_152_921_504_606_846_975, 10_240),
        (1_536, 1_541),
    ] {
        peer(&format!("rx_bytes={rx}\ntx_bytes={tx}"));
    }
    text
}

#[test]
fn an_interface_is_shown_the_same_in_every_look() {
    if !has_judge() {
        return;
    }
    let server = Server::new(&status());
    for look in LOOKS {
        let (shown, text) = agree(&["show", &server.name], look);
        assert!(shown && text.len() > 1_000, "{text}");
        assert_eq!(text.contains('\x1b'), look.contains(&("WG_COLOR_MODE", "always")));
        assert_eq!(text.contains("(hidden)"), !look.contains(&("WG_HIDE_KEYS", "never")));
    }
}

#[test]
fn each_field_is_the_same() {
    if !has_judge() {
        return;
    }
    for status in [status(), String::new(), format!("public_key={}\n", "01".repeat(32))] {
        let server = Server::new(&status);
        for field in FIELDS {
            assert!(agree(&["show", &server.name, field], &[("WG_COLOR_MODE", "always")]).0);
        }
        assert!(agree(&["show", &server.name], &[]).0);
    }
}

#[test]
fn what_rvpn_tells_beyond_the_protocol_is_two_lines_more_and_nothing_to_stock_wg() {
    if !has_judge() {
        return;
    }
    let (device, peers) =
        status().split_once("public_key=").map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a peer");
    let extra = "rvpn_aead=avx512\nrvpn_offload=tun-tcp4,udp-send\n";
    let server = Server::new(&format!("{device}{extra}public_key={peers}"));
    for field in FIELDS {
        assert!(agree(&["show", &server.name, field], &[]).0);
    }
    assert!(agree(&["showconf", &server.name], &[]).0);
    let [stock, ours] = BOTH.map(|tool| {
        let output = tool.run(&["show", &server.name], &[]);
        assert!(output.status.success(), "{tool:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let beyond = |line: &&String| line.starts_with("  encryption: ") || line.starts_with("  offloads: ");
    assert_eq!(ours.iter().filter(beyond).count(), 2, "{ours:?}");
    let left: Vec<_> = ours.iter().filter(|line| !beyond(line)).collect();
    // Times are told in seconds, which pass between the runs.
    let is_time = |line: &str| line.contains("latest handshake");
    assert_eq!(left.len(), stock.len());
    assert!(left.iter().zip(&stock).all(|(ours, stock)| *ours == stock || is_time(ours) && is_time(stock)));
}

#[test]
fn showconf_is_the_same() {
    if !has_judge() {
        return;
    }
    for status in [status(), String::new(), format!("public_key={}\n", "01".repeat(32))] {
        let server = Server::new(&status);
        assert!(agree(&["showconf", &server.name], &[]).0);
    }
}

#[test]
fn five_thousand_peers_are_shown_the_same() {
    if !has_judge() {
        return;
    }
    let mut text = String::from("listen_port=1\n");
    for peer in 0..5_000_u32 {
        let key = format!("{peer:08x}").repeat(8);
        let (high, low) = (peer >> 8, peer & 255);
        let handshake = 1_700_000_000 + (peer % 7) * 1_000;
        write!(
            text,
            "public_key={key}\nendpoint=10.0.{high}.{low}:7\nlast_handshake_time_sec={handshake}\n\
             last_handshake_time_nsec={}\nallowed_ip=10.1.{high}.{low}/32\nallowed_ip=fd00::{peer:x}/128\n",
            peer % 3
        )
        .expect("memory");
    }
    let server = Server::new(&text);
    for look in LOOKS {
        assert!(agree(&["show", &server.name], look).1.len() > 500_000);
    }
    assert_eq!(agree(&["show", &server.name, "dump"], &[]).1.lines().count(), 5_001);
    agree(&["showconf", &server.name], &[]);
}

#[test]
fn all_and_their_names_are_the_same() {
    if !has_judge() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let compare = |arguments: &[&str], succeeds: bool| {
        let Some([stock, ours]) = within(&directory, arguments, &[("WG_COLOR_MODE", "always")]) else { return };
        assert_eq!(String::from_utf8_lossy(&ours.stdout), String::from_utf8_lossy(&stock.stdout), "{arguments:?}");
        assert_eq!(ours.status.code(), stock.status.code(), "{arguments:?}");
        assert_eq!(ours.status.success(), succeeds, "{arguments:?}");
    };
    let everything = |succeeds| {
        for arguments in [&["show"][..], &["show", "all"], &["show", "all", "dump"], &["show", "all", "endpoints"]] {
            compare(arguments, succeeds);
        }
        compare(&["show", "interfaces"], true);
        compare(&["show", "interfaces", "dump"], false);
    };
    everything(true);
    let text = "listen_port=7\npublic_key=0101010101010101010101010101010101010101010101010101010101010101\n";
    let broken = Server::at(directory.path(), "broken", "errno=5\n\n");
    everything(false);
    let servers = ["wg0", "wg1", "a", "b.c"].map(|name| Server::at(directory.path(), name, text));
    std::fs::write(directory.path().join("file.sock"), "").expect("written");
    everything(true);
    drop((broken, servers));
}

#[test]
fn what_cannot_be_shown_fails_in_both() {
    if !has_judge() {
        return;
    }
    let server = Server::new("");
    for arguments in [
        &["show", "no-such-name"][..],
        &["show", "a/b"],
        &["show", "no-such-name", "dump"],
        &["show", &server.name, "no-such-field"],
        &["show", &server.name, "dump", "more"],
        &["showconf", "no-such-name"],
        &["showconf"],
        &["showconf", &server.name, "more"],
    ] {
        assert!(!agree(arguments, &[]).0, "{arguments:?}");
    }
    for answer in ["errno=5\n\n", "errno=-5\n\n", "listen_port=x\nerrno=0\n\n", "nonsense\nerrno=0\n\n"] {
        server.say(answer);
        for arguments in [["show", &server.name], ["showconf", &server.name]] {
            assert!(!agree(&arguments, &[]).0, "{answer}");
        }
    }
}
