//! Files and facts on one side, the printed steps on the other.

use super::*;
use crate::control::config::Config;

const FACTS: Facts = Facts {
    path_mtu: Some(1500),
    free_table: 51820,
    named_table: None,
    preferences: [32765, 32765],
    source_valid_mark: false,
    dns_manager: Manager::File,
};

/// Plans a file with these lines in `[Interface]` and these allowed IPs.
fn steps(interface: &str, allowed_ips: &str, facts: &Facts) -> Vec<Step> {
    let text = format!(
        "[Interface]\n{interface}\n[Peer]\nPublicKey = AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\nAllowedIPs = {allowed_ips}\n"
    );
    let (config, quick) = Config::parse_quick(text.as_bytes()).expect("valid");
    let peers = Peers::of(config.fwmark, config.listen_port, config.peers.iter().map(|peer| &peer.set));
    plan("wg0", &quick, &peers, facts)
}

fn planned(interface: &str, allowed_ips: &str) -> Vec<String> {
    steps(interface, allowed_ips, &FACTS).iter().map(ToString::to_string).collect()
}

/// The steps that are not in every plan.
fn routes(interface: &str, allowed_ips: &str) -> Vec<String> {
    planned(interface, allowed_ips).into_iter().filter(|step| step.contains("route") || step.contains("rule")).collect()
}

#[test]
fn steps_come_in_the_order_of_wg_quick() {
    let file = "Address = 10.0.0.2/24, fd00::2/64\nDNS = 10.0.0.1, example.com\nPostUp = ip rule show > /tmp/%i.%i\n\
                PostUp = true";
    let expected = [
        "interface",
        "keys and peers",
        "address 10.0.0.2/24",
        "address fd00::2/64",
        "up, mtu 1420",
        "dns 10.0.0.1 example.com by /etc/resolv.conf",
        "route 192.168.0.0/16",
        "ip rule show > /tmp/wg0.wg0",
        "true",
    ];
    assert_eq!(planned(file, "192.168.0.0/16"), expected);
}

#[test]
fn default_routes_get_a_table_a_mark_rules_and_a_filter() {
    let expected = [
        "interface",
        "keys and peers, mark 51820",
        "address 10.0.0.2/32",
        "address fd00::2/128",
        "up, mtu 1420",
        "route ::/0 table 51820",
        "IPv6 rule 32765: not fwmark 51820 table 51820",
        "IPv6 rule 32764: table main suppress_prefixlength 0",
        "IPv6 packet filter against spoofed and stray packets",
        "route 0.0.0.0/0 table 51820",
        "IPv4 rule 32765: not fwmark 51820 table 51820",
        "IPv4 rule 32764: table main suppress_prefixlength 0",
        "sysctl net.ipv4.conf.all.src_valid_mark=1",
        "IPv4 packet filter against spoofed and stray packets",
    ];
    assert_eq!(planned("Address = 10.0.0.2, fd00::2", "0.0.0.0/0, ::/0"), expected);
}

#[test]
fn the_filter_protects_the_addresses_of_its_family() {
    let steps = steps("Address = 10.0.0.2/24, fd00::2, 10.0.0.3", "::/0", &FACTS);
    let filters: Vec<_> = steps.iter().filter(|step| matches!(step, Step::Firewall(_))).collect();
    let addresses = vec!["fd00::2".parse().expect("an address")];
    assert_eq!(filters, [&Step::Firewall(Firewall { family: Family::V6, mark: 51820, addresses })]);
}

#[test]
fn a_mark_of_the_file_is_the_table_and_is_not_set_again() {
    let planned = planned("FwMark = 0x64", "0.0.0.0/0");
    assert!(planned.contains(&"keys and peers".to_owned()), "{planned:?}");
    assert!(planned.contains(&"IPv4 rule 32765: not fwmark 100 table 100".to_owned()), "{planned:?}");
}

#[test]
fn a_table_in_use_is_not_taken() {
    let facts = Facts { free_table: 51823, preferences: [32763, 32765], ..FACTS };
    let planned: Vec<_> = steps("", "0.0.0.0/0", &facts).iter().map(ToString::to_string).collect();
    assert!(planned.contains(&"route 0.0.0.0/0 table 51823".to_owned()), "{planned:?}");
    assert!(planned.contains(&"IPv4 rule 32763: not fwmark 51823 table 51823".to_owned()), "{planned:?}");
}

#[test]
fn a_table_by_name_has_the_number_of_the_facts_or_no_route() {
    let routes = |named_table| {
        let facts = Facts { named_table, ..FACTS };
        let steps = steps("Table = vpn", "0.0.0.0/0", &facts);
        steps.iter().filter(|step| matches!(step, Step::Route { .. })).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(routes(Some(7)), ["route 0.0.0.0/0 table 7"]);
    assert!(routes(None).is_empty());
}

#[test]
fn what_is_set_already_is_not_set() {
    let facts = Facts { source_valid_mark: true, ..FACTS };
    assert!(!steps("", "0.0.0.0/0", &facts).contains(&Step::SourceValidMark));
    assert!(!steps("", "::/0", &FACTS).contains(&Step::SourceValidMark));
}

#[test]
fn a_table_takes_all_routes_and_off_none() {
    let all = "10.1.0.0/16, 0.0.0.0/0, ::/0";
    assert_eq!(routes("Table = off\nAddress = 10.1.0.1/24", all), [""; 0]);
    let expected = ["route 10.1.0.0/16 table 7", "route 0.0.0.0/0 table 7", "route ::/0 table 7"];
    assert_eq!(routes("Table = 7\nAddress = 10.1.0.1/16", all), expected);
    assert_eq!(routes("Table = auto", all).len(), 7);
    let facts = Facts { named_table: Some(900), ..FACTS };
    assert!(steps("Table = vpn", "10.0.0.0/8", &facts).iter().any(|step| step.to_string().ends_with(" table 900")));
}

#[test]
fn networks_that_are_reached_already_get_no_route() {
    let file = "Address = 10.0.0.2/24, fd00::2/64";
    assert_eq!(routes(file, "10.0.0.0/24, 10.0.0.7/32, fd00::/64, fd00::1/128"), [""; 0]);
    assert_eq!(routes(file, "10.0.0.0/16, fd00::/48"), ["route fd00::/48", "route 10.0.0.0/16"]);
    // A narrow one does not stand for a wide one, and a single IPv4 address is routed nowhere.
    assert_eq!(routes("Address = 10.0.0.2", "10.0.0.2/32, 10.0.0.0/8"), ["route 10.0.0.2/32", "route 10.0.0.0/8"]);
}

#[test]
fn each_network_is_routed_once() {
    assert_eq!(routes("", "10.0.0.0/8, 10.0.0.0/8, +10.0.0.0/8, -10.1.0.0/16"), ["route 10.0.0.0/8"]);
}

#[test]
fn the_mtu_is_the_files_or_that_of_the_way_less_80() {
    let mtu = |file: &str, path_mtu| {
        let facts = Facts { path_mtu, ..FACTS };
        steps(file, "10.0.0.0/8", &facts).into_iter().find_map(|step| match step {
            Step::Up { mtu, .. } => Some(mtu),
            _ => None,
        })
    };
    assert_eq!(mtu("", Some(1400)), Some(1320));
    assert_eq!(mtu("", None), Some(1420));
    assert_eq!(mtu("MTU = 9000", Some(1400)), Some(9000));
    assert_eq!(mtu("", Some(100)), Some(68));
}

#[test]
fn search_domains_alone_are_no_reason_to_touch_dns() {
    assert!(!planned("DNS = example.com", "10.0.0.0/8").iter().any(|step| step.starts_with("dns")));
}

#[test]
fn the_kill_switch_is_first_and_has_a_mark_also_without_a_default_route() {
    let steps = steps("ListenPort = 7\n#rvpn: KillSwitch = yes\n#rvpn: TrustedInterfaces = eth1", "10.0.0.0/8", &FACTS);
    let trusted_interfaces = vec!["eth1".to_owned()];
    let expected = Step::KillSwitch(KillSwitch { mark: 51820, listen_port: Some(7), trusted_interfaces });
    assert_eq!(steps[0], expected);
    assert!(steps.contains(&Step::Configure { mark: Some(51820) }));
}

#[test]
fn multicast_gets_a_flag_and_a_route() {
    let planned = planned("#rvpn: Multicast = yes", "::/0");
    assert!(planned.contains(&"up, mtu 1420, multicast".to_owned()), "{planned:?}");
    assert!(planned.contains(&"route ff00::/8 table local".to_owned()), "{planned:?}");
}
