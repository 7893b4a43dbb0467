//! `set`, `setconf`, `addconf` and `syncconf`: what is asked of the server is the same.

use std::fmt::Write;

use rvpn_uapi::Set;

use super::world::*;

/// Files with every key, and every way to space and comment them.
fn files() -> Vec<String> {
    let peer = format!("[Peer]\nPublicKey = {KEY_1}\n");
    vec![
        String::new(),
        "# nothing\n\n   \n\t# at all\n".to_owned(),
        "[Interface]\n".to_owned(),
        format!("[Interface]\nPrivateKey = {PRIVATE_KEY}\nListenPort = 51820\nFwMark = 0xca6c\n"),
        "[Interface]\nFwMark = off\nListenPort=0\n".to_owned(),
        "[Interface]\nListenPort = 1\nListenPort = 2\n[Peer]\n".to_owned(),
        peer.clone(),
        format!("{peer}AllowedIPs = 10.0.0.0/24, fd00::/64\nEndpoint = 192.0.2.1:51820\nPersistentKeepalive = 25\n"),
        format!("{peer}PresharedKey = {KEY_2}\nPersistentKeepalive = off\nEndpoint = [2001:db8::1]:7\n"),
        format!("{peer}Endpoint = [fe80::1%lo]:7\n[Peer]\nPublicKey = {KEY_2}\nEndpoint = fe80::1%1:7"),
        format!("{peer}Endpoint = [fd00::1%1]:7\n"),
        format!("{peer}AllowedIPs = 1.2.3.4\nAllowedIPs = ::1, 10.1.2.3/8\nAllowedIPs=::ffff:1.2.3.4/100\n"),
        format!(
            "  [ i n t e r f a c e ]\r\n\x0blisten port\t=\t7 # seven\r\n\x0c[PEER]#x\npublicKEY={KEY_1}#{KEY_2}\n"
        ),
        format!("{peer}[Interface]\nListenPort = 7\n{peer}AllowedIPs = 0.0.0.0/0\n[Peer]\nPublicKey = {KEY_2}\n"),
        format!("#rvpn: KillSwitch = yes\n[Interface]\n#rvpn: Key = value\nListenPort = 7\n{peer}"),
        format!("[Interface]\nListenPort = domain\n{peer}Endpoint = 127.1:domain\n"),
        format!("{peer}Endpoint = localhost:7\n"),
        "[Interface]\nListenPort = 7\0 and more\n".to_owned(),
        "[Interface]\nListenPort = 7\nAddress = 10.0.0.1/24\n".to_owned(),
        "ListenPort = 7\n".to_owned(),
        "[Interface]\n[Nothing]\n".to_owned(),
        "[Interface]\nListenPort = \n".to_owned(),
    ]
}

#[test]
fn files_ask_for_the_same() {
    if !has_judge() {
        return;
    }
    let server = Server::new("");
    let mut accepted = 0;
    for text in files() {
        let file = file(&text);
        for command in ["setconf", "addconf", "syncconf"] {
            accepted += u32::from(ask_the_same(&server, &[command, &server.name, path(&file)]).is_some());
        }
    }
    assert!((40..60).contains(&accepted), "{accepted} accepted");
}

#[test]
fn syncconf_asks_for_the_same_on_a_device_with_peers() {
    if !has_judge() {
        return;
    }
    let peer = |byte: &str, more: &str| format!("public_key={}\n{more}", byte.repeat(32));
    let server = Server::new(&format!(
        "listen_port=7\n{}{}{}",
        peer("03", ""),
        peer("01", "endpoint=192.0.2.7:7\nallowed_ip=10.0.0.0/8\n"),
        peer("04", "")
    ));
    for text in files() {
        let file = file(&text);
        let sorted = |set: Set| {
            // Removals come first in both, in an order that means nothing.
            let mut set = set;
            let removals = set.peers.iter().take_while(|peer| peer.remove).count();
            set.peers[..removals].sort_by_key(|peer| peer.public_key);
            assert!(set.peers[removals..].iter().all(|peer| !peer.remove));
            set
        };
        let [stock, ours] = BOTH.map(|tool| {
            let output = tool.run(&["syncconf", &server.name, path(&file)], &[]);
            (output.status.code(), server.heard().pop().map(sorted))
        });
        assert_eq!(ours, stock, "{text}");
    }
}

#[test]
fn five_thousand_peers_ask_for_the_same() {
    if !has_judge() {
        return;
    }
    let server = Server::new("");
    let mut text = format!("[Interface]\nPrivateKey = {PRIVATE_KEY}\n");
    for peer in 0..5_000_u32 {
        // Any 42 characters and one that has its low bits zero are a key.
        let key = format!("{peer:042}A=");
        let (high, low) = (peer >> 8, peer & 255);
        write!(
            text,
            "\n[Peer]\nPublicKey = {key}\nPresharedKey = {KEY_2}\nAllowedIPs = 10.1.{high}.{low}/32, fd00::{peer:x}/128\n\
             Endpoint = 10.0.{high}.{low}:51820\nPersistentKeepalive = 25\n"
        )
        .expect("memory");
    }
    let file = file(&text);
    for command in ["setconf", "addconf", "syncconf"] {
        let set = ask_the_same(&server, &[command, &server.name, path(&file)]).expect("accepted");
        assert_eq!(set.peers.len(), 5_000);
    }
}

#[test]
fn words_of_set_ask_for_the_same() {
    if !has_judge() {
        return;
    }
    let server = Server::new("");
    let (key, psk, bad) = (file(format!("{PRIVATE_KEY}\n \n")), file(KEY_2), file("nonsense"));
    let (key, psk, bad) = (path(&key), path(&psk), path(&bad));
    let accepted: &[&[&str]] = &[
        &["listen-port", "51820", "fwmark", "0xca6c", "private-key", key],
        &["private-key", "/dev/null", "fwmark", "off", "listen-port", "0"],
        &["peer", KEY_1],
        &["peer", KEY_1, "remove"],
        &["peer", KEY_1, "remove", "peer", KEY_2, "endpoint", "192.0.2.1:7", "peer", KEY_1],
        &["peer", KEY_1, "preshared-key", psk, "persistent-keepalive", "25", "allowed-ips", "10.0.0.1/24, ::/0"],
        &["peer", KEY_1, "preshared-key", "/dev/null", "persistent-keepalive", "off", "allowed-ips", ""],
        &["peer", KEY_1, "allowed-ips", "1.1.1.1", "allowed-ips", " 1.1.1.2 ,\t1.1.1.3"],
        &["peer", KEY_1, "endpoint", "[fe80::1%lo]:7"],
        &["peer", KEY_1, "endpoint", "localhost:domain"],
    ];
    let refused: &[&[&str]] = &[
        &[],
        &["remove"],
        &["bogus", "1"],
        &["listen-port"],
        &["listen-port", ""],
        &["listen-port", "x y"],
        &["fwmark", " 1"],
        &["fwmark", ""],
        &["private-key", bad],
        &["private-key", "/nonexistent"],
        &["peer", "x"],
        &["peer"],
        &["peer", KEY_1, "listen-port", "1"],
        &["peer", KEY_1, "persistent-keepalive", "65536"],
        &["peer", KEY_1, "allowed-ips", ","],
        &["peer", KEY_1, "allowed-ips", "1.1.1.1/33"],
        &["peer", KEY_1, "endpoint", "192.0.2.1"],
        &["peer", KEY_1, "endpoint", ":7"],
        &["peer", KEY_1, "PERSISTENT-KEEPALIVE", "1"],
        &["Peer", KEY_1],
    ];
    for (is_accepted, all) in [(true, accepted), (false, refused)] {
        for words in all {
            let arguments = [&["set", &server.name], *words].concat();
            assert_eq!(ask_the_same(&server, &arguments).is_some(), is_accepted, "{words:?}");
        }
    }
}

#[test]
fn a_refusal_of_the_server_is_a_failure_in_both() {
    if !has_judge() {
        return;
    }
    let server = Server::new("");
    for answer in ["errno=-98\n\n", "errno=98\n\n", "errno=nonsense\n\n"] {
        server.say(answer);
        for tool in BOTH {
            let output = tool.run(&["set", &server.name, "listen-port", "7"], &[]);
            assert_eq!(output.status.code(), Some(1), "{tool:?}: {answer}");
        }
    }
}

/// Where the resolver of the system allows it, `wg` keeps the low 16 bits of them: 70000 is 4464 to it. That is nobody's
/// wish.
#[test]
fn ports_over_65535_are_refused_on_purpose() {
    if !has_judge() {
        return;
    }
    let server = Server::new("");
    for words in [&["listen-port", "70000"][..], &["peer", KEY_1, "endpoint", "192.0.2.1:70000"]] {
        let output = Tool::Ours.run(&[&["set", &server.name], words].concat(), &[]);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("70000"));
        assert_eq!(server.heard(), []);
    }
}

/// `wg` of 2021 leaves them as they are, which a file cannot mean.
#[test]
fn syncconf_takes_away_what_the_file_does_not_name() {
    if !has_judge() {
        return;
    }
    let key = "01".repeat(32);
    let server = Server::new(&format!("public_key={key}\npreshared_key={key}\npersistent_keepalive_interval=25\n"));
    let file = file(format!("[Peer]\nPublicKey = {KEY_1}\n"));
    assert!(Tool::Ours.run(&["syncconf", &server.name, path(&file)], &[]).status.success());
    let set = server.heard().pop().expect("asked");
    assert!(set.peers[0].preshared_key.as_ref().is_some_and(rvpn_uapi::SecretKey::is_zero));
    assert_eq!((set.peers[0].persistent_keepalive, set.replace_peers), (Some(0), false));
}
