//! Generated lines: what one tool accepts the other accepts, and understands the same.
//!
//! The generator is seeded, so a line that fails once fails always.

use super::world::*;

const NUMBERS: [&str; 27] = [
    "",
    "0",
    "1",
    "7",
    "007",
    "65535",
    "51820",
    "4294967295",
    "4294967296",
    "99999999999999999999",
    "-1",
    "+1",
    "1.5",
    "0x",
    "0x1",
    "0X1",
    "0xca6c",
    "0xCA6C",
    "0xffffffff",
    "0x100000000",
    "0xg",
    "0x-1",
    "off",
    "OFF",
    "oFf",
    "on",
    "none",
];

const NETWORKS: [&str; 41] = [
    "10.0.0.0/8",
    "10.0.0.0/08",
    "10.0.0.1",
    "10.0.0.1/",
    "10.0.0.1/33",
    "10.0.0.1/-1",
    "010.0.0.1",
    "10.0.0",
    "10.0.0.256",
    "10.0.0.0.0",
    "10..0.0",
    "1.2.3.4/8/8",
    "/8",
    ",",
    "1.2.3.4,",
    ",1.2.3.4",
    "1.2.3.4,,::",
    "::",
    "::/0",
    "::1/128",
    "::/129",
    "1::2::3",
    ":::",
    ":",
    "1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::",
    "::2:3:4:5:6:7:8",
    "1:2:3:4::5:6:7:8",
    "fd00::00001",
    "FD00::A",
    "::1.2.3.4",
    "::1.2.3",
    "1::1.2.3.4:5",
    "::ffff:1.2.3.4/96",
    "1:2:3:4:5:6:7.8.9.10",
    "fe80::1%lo",
    "fe80::1%lo/64",
    "g::",
    "1 2 . 3 . 4 . 5",
    "1.2.3.4 , 5.6.7.8/8",
];

const ENDPOINTS: [&str; 32] = [
    "192.0.2.1:7",
    "192.0.2.1:",
    "192.0.2.1",
    ":7",
    "[::1]:7",
    "[::1]",
    "[::1]:",
    "[::1]7",
    "[::1",
    "::1:7",
    "::1",
    "[]:7",
    "[192.0.2.1]:7",
    "127.1:7",
    "0x7f.1:7",
    "2130706433:7",
    "localhost:7",
    "[localhost]:7",
    "192.0.2.1:domain",
    "192.0.2.1:+7",
    "192.0.2.1:007",
    "192.0.2.1:-1",
    "192.0.2.1:7x",
    "192.0.2.1:no-such-service",
    "[fe80::1%lo]:7",
    "[fe80::1%1]:7",
    "[fe80::1%]:7",
    "[fe80::1%no-such]:7",
    "[fd00::1%1]:7",
    "[::1]:7]:8",
    "[::ffff:1.2.3.4]:7",
    "192.0.2.1:0",
];

const KEYS: [&str; 9] = [
    KEY_1,
    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQF=",
    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ==",
    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
    "AQEBAQEBAQEBAQEBAQEBAQEB-QEBAQEBAQEBAQEBAQE=",
    "AQEBAQEBAQEBAQEBAQEBA QEBAQEBAQEBAQEBAQEBAQE=",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "//////////////////////////////////////////8=",
];

const INTERFACE_NAMES: [&str; 5] = ["PrivateKey", "ListenPort", "FwMark", "LISTENPORT", "Fw Mark"];

const PEER_NAMES: [&str; 8] = [
    "PublicKey",
    "PresharedKey",
    "AllowedIPs",
    "allowedips",
    "Allowed IPs",
    "Endpoint",
    "PersistentKeepalive",
    "PERSISTENTKEEPALIVE",
];

const OTHER_NAMES: [&str; 9] = ["AllowedIP", "Address", "MTU", "", "#", "Peer", "[Peer]", "PrivateKey", "Endpoint"];

/// Numbers that look random: xorshift.
struct Numbers(u64);

impl Numbers {
    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        from[(self.0 >> 16) as usize % from.len()]
    }
}

/// Mostly a value of the kind that the key has.
fn value(numbers: &mut Numbers, name: &str) -> &'static str {
    let name = name.to_lowercase().replace(' ', "");
    let own = match name.as_str() {
        // Nothing but endpoints here, so that the corpus never waits for a name server.
        "endpoint" => return numbers.pick(&ENDPOINTS),
        "privatekey" | "publickey" | "presharedkey" => &KEYS[..],
        "allowedips" => &NETWORKS,
        _ => &NUMBERS,
    };
    match numbers.pick(&["own", "own", "own", "own", "number", "network"]) {
        "own" => numbers.pick(own),
        "number" => numbers.pick(&NUMBERS),
        _ => numbers.pick(&NETWORKS),
    }
}

/// The one thing in which the two differ on purpose: see `change`.
fn is_high_port(value: &str) -> bool {
    value.parse::<u128>().is_ok_and(|port| port > 65_535)
}

#[test]
fn generated_lines_are_accepted_by_both_or_by_none() {
    if !has_judge() {
        return;
    }
    let server = Server::new("");
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..2_000 {
        let section = numbers.pick(&[
            "[Interface]",
            "[Peer]",
            "[Peer]",
            " [ peer ] # x",
            "[interface]",
            "[Interface]",
            "[Peers]",
            "",
        ]);
        let mut text = format!("{section}\n");
        if section.to_lowercase().contains("peer") && numbers.pick(&["y", "y", "y", "n"]) == "y" {
            text += &format!("PublicKey = {KEY_1}\n");
        }
        let names = match numbers.pick(&["own", "own", "own", "own", "other"]) {
            "other" => &OTHER_NAMES[..],
            _ if section.to_lowercase().contains("peer") => &PEER_NAMES,
            _ => &INTERFACE_NAMES,
        };
        let name = numbers.pick(names);
        let equals = numbers.pick(&["=", " = ", " = ", " =", "= ", "\t=\t", "==", "", " : "]);
        let value = value(&mut numbers, name);
        if name.to_lowercase().starts_with("listen") && is_high_port(value) {
            continue;
        }
        let end = numbers.pick(&["\n", "", "\r\n", " # more\n", "#\n", "\n[Interface]\n", "\n\n"]);
        text += &format!("{name}{equals}{value}{end}");
        let file = file(&text);
        match ask_the_same_of(&server, &["setconf", &server.name, path(&file)], &text) {
            Some(_) => accepted += 1,
            None => refused += 1,
        }
    }
    assert!(accepted > 200 && refused > 200, "{accepted} accepted, {refused} refused");
}

#[test]
fn every_value_of_every_word_is_accepted_by_both_or_by_none() {
    if !has_judge() {
        return;
    }
    let server = Server::new("");
    for (word, values) in [
        ("listen-port", [&NUMBERS[..], &NETWORKS].concat()),
        ("fwmark", [&NUMBERS[..], &NETWORKS].concat()),
        ("persistent-keepalive", [&NUMBERS[..], &NETWORKS].concat()),
        ("allowed-ips", [&NUMBERS[..], &NETWORKS].concat()),
        ("endpoint", ENDPOINTS.to_vec()),
    ] {
        for value in values {
            if word == "listen-port" && is_high_port(value) {
                continue;
            }
            let peer: &[&str] = if matches!(word, "listen-port" | "fwmark") { &[] } else { &["peer", KEY_1] };
            ask_the_same(&server, &[&["set", &server.name], peer, &[word, value]].concat());
        }
    }
    for key in KEYS {
        ask_the_same(&server, &["set", &server.name, "peer", key]);
        let file = file(key);
        ask_the_same(&server, &["set", &server.name, "private-key", path(&file)]);
    }
}
