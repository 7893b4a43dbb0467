//! Files: what is read, and what is said of what is not.

use super::*;

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn parse(text: &str) -> Result<Set, Vec<String>> {
    let told = |faults: Vec<Fault>| faults.iter().map(Fault::to_string).collect();
    let config = Config::parse(text.as_bytes()).map_err(told)?;
    config.resolve(Retries(Some(0)), |_, _, _| {}).map_err(told)
}

#[test]
fn every_key_is_read_in_any_case_and_spacing() {
    let text = format!(
        "# a comment\n\u{b}[ INTERFACE ]\r\nlistenport=51820\nFw Mark = 0xca6c # why\n Private Key\t= {KEY}\n\
         #rvpn: KillSwitch = yes\n[peer]\nPublicKey={KEY}\nPresharedKey = {KEY}\nAllowedIPs = 10.0.0.0/24 , fd00::/64\n\
         ALLOWEDIPS = 1 0 . 1 . 1 . 1\nEndpoint = [fe80::1%1]:7\nPersistentKeepalive = 25"
    );
    let set = parse(&text).expect("valid");
    assert_eq!((set.listen_port, set.fwmark), (Some(51820), Some(0xca6c)));
    assert_eq!(set.private_key, Some(SecretKey::new(&[1; 32])));
    let [peer] = &set.peers[..] else { panic!("one peer") };
    assert_eq!(peer.public_key, PublicKey([1; 32]));
    assert_eq!(peer.preshared_key, Some(SecretKey::new(&[1; 32])));
    assert_eq!(peer.endpoint, "[fe80::1%1]:7".parse().ok());
    assert_eq!(peer.persistent_keepalive, Some(25));
    assert!(peer.replace_allowed_ips);
    let networks: Vec<_> = peer.allowed_ips.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/24", "fd00::/64", "10.1.1.1/32"]);
}

#[test]
fn all_faults_of_a_file_are_told_with_line_column_value_and_what_was_expected() {
    let text = "Stray = 1\n[Interface]\n  ListenPort = 70000\nÄ = 1\n[Peer]\nAllowedIPs = 10.0.0.0/8, 10.0.0.0/33,x\n\
                PresharedKey = c2VjcmV0\nAddress = 1\n[Peers]\nAnything\n[Peer]\nPubilcKey = x\nEndpoint =\nPublicKey AQEB\n";
    let expected = [
        "1:1: `Stray`: expected `[Interface]` or `[Peer]` above it",
        "3:16: `70000`: expected a UDP port: 1 to 65535, or 0 for any that is free",
        "4:1: `Ä`: expected one of PrivateKey, ListenPort, FwMark",
        "5:1: `[Peer]`: expected `PublicKey = ...` in this section",
        "6:26: `10.0.0.0/33`: expected a prefix length of 0 to 32",
        "6:38: `x`: expected an address with or without a prefix length, as in 10.0.0.0/24 or fd00::1",
        "7:16: a word of 8 characters: expected a key of 44 characters in base64, as `rvpn genkey` prints",
        "8:1: `Address`: is a key of wg-quick: `rvpn up` reads it, `rvpn strip` takes it out",
        "9:1: `[Peers]`: expected `[Interface]` or `[Peer]`",
        "11:1: `[Peer]`: expected `PublicKey = ...` in this section",
        "12:1: `PubilcKey`: expected `PublicKey`?",
        "13:1: `Endpoint`: expected a value after `Endpoint =`",
        "14:1: `PublicKey`: expected `=` after it",
    ];
    assert_eq!(parse(text).expect_err("faults"), expected);
}

#[test]
fn a_bad_public_key_is_one_fault() {
    let faults = parse("[Peer]\nPublicKey = x\n").expect_err("a fault");
    assert_eq!(faults, ["2:13: `x`: expected a key of 44 characters in base64, as `rvpn genkey` prints"]);
}

#[test]
fn columns_count_characters() {
    let faults = parse("[Interface]\nFwMark = ä\u{301}-\n").expect_err("a fault");
    assert!(faults[0].starts_with("2:10: `"), "{faults:?}");
    let faults = parse("[Peer]\nAllowedIPs = ää,x\n").expect_err("faults");
    assert!(faults[1].starts_with("2:14:") && faults[2].starts_with("2:17:"), "{faults:?}");
}

#[test]
fn secrets_are_not_told() {
    for text in ["PrivateKey: ", "PrivateKey ", "", "Preshared Key", "Private Key:=="] {
        for section in ["[Interface]", "[Peer]", ""] {
            let faults = parse(&format!("{section}\n{text}{KEY}\n")).expect_err("a fault");
            assert!(!faults.iter().any(|fault| fault.contains(&KEY[..4])), "{faults:?}");
        }
    }
    for place in ["[Interface]\nListenPort", "[Interface]\nFwMark", "[Peer]\nAllowedIPs", "[Peer]\nEndpoint"] {
        for value in [KEY.to_owned(), format!("x,{KEY}"), format!("{}:1", &KEY[..43])] {
            let faults = parse(&format!("{place} = {value}\n")).expect_err("a fault");
            assert!(!faults.iter().any(|fault| fault.contains(&KEY[..8])), "{faults:?}");
        }
    }
    for place in ["Address", "DNS", "MTU", "Table", "SaveConfig", "#rvpn: KillSwitch", "#rvpn: TrustedInterfaces"] {
        for value in [KEY.to_owned(), format!("x, {KEY}"), format!("x PrivateKey={KEY}")] {
            let faults =
                Config::parse_quick(format!("[Interface]\n{place} = {value}\n").as_bytes()).expect_err("a fault");
            assert!(!faults.iter().any(|fault| fault.to_string().contains(&KEY[..8])), "{faults:?}");
        }
    }
    for option in ["Name", "RateUp", "RateDown", "Endpoint", "EndpointOrder"] {
        let text = format!("[Peer]\nPublicKey = x\n#rvpn: {option} = {KEY} {KEY}\n");
        let faults = Config::parse_peer(text.as_bytes()).expect_err("a fault");
        assert!(!faults.iter().any(|fault| fault.to_string().contains(&KEY[..8])), "{faults:?}");
    }
    let almost = &KEY[..43];
    let faults = parse(&format!("[Interface]\nPrivateKey = {almost}\n")).expect_err("a fault");
    assert!(!faults[0].contains(almost) && faults[0].contains("43 characters"), "{faults:?}");
}

#[test]
fn an_endpoint_without_an_address_is_told_with_its_place() {
    let faults = parse(&format!("[Peer]\nPublicKey={KEY}\nEndpoint = :1\n")).expect_err("a fault");
    assert_eq!(faults, ["3:12: `:1`: there is no such host"]);
}

#[test]
fn signs_of_allowed_ips_keep_what_there_is() {
    let set = parse(&format!("[Peer]\nPublicKey={KEY}\nAllowedIPs = +10.0.0.0/8, -10.1.0.0/16\n")).expect("valid");
    assert!(!set.peers[0].replace_allowed_ips);
    assert_eq!(set.peers[0].allowed_ips[1].to_string(), "-10.1.0.0/16");
}

#[test]
fn host_bits_are_a_warning() {
    let config = Config::parse(format!("[Peer]\nPublicKey={KEY}\nAllowedIPs = 10.0.0.5/24\n").as_bytes());
    let warnings = config.expect("valid").warnings;
    assert_eq!(warnings[0].to_string(), "3:14: `10.0.0.5/24`: is taken for 10.0.0.0/24");
}

#[test]
fn a_zero_byte_ends_its_line() {
    assert_eq!(parse("[Interface]\nListenPort = 7\0nonsense\n").expect("valid").listen_port, Some(7));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let _ = Config::parse(&bytes);
        let mut text = b"[Peer]\nAllowedIPs = ".to_vec();
        text.extend_from_slice(&bytes);
        let _ = Config::parse(&text);
    }
}

#[test]
fn the_manual_has_the_keys_that_the_parser_knows() {
    let documented = |keys: &[keys::KeyText]| keys.iter().map(|key| key.name).collect::<Vec<_>>();
    assert_eq!(documented(&keys::INTERFACE), Key::INTERFACE.map(Key::name));
    assert_eq!(documented(&keys::PEER), Key::PEER.map(Key::name));
    assert_eq!(documented(&keys::QUICK), QuickKey::all().iter().map(|key| key.name()).collect::<Vec<_>>());
    assert_eq!(documented(&keys::OPTIONS), QuickOption::ALL.map(QuickOption::name));
    assert_eq!(documented(&keys::PEER_OPTIONS), PeerOption::ALL.map(PeerOption::name));
}
