//! Addresses, routes and rules as messages.

use super::*;

#[test]
fn the_loopback_is_a_link_with_addresses_and_a_way() {
    let mut network = Network::open().unwrap();
    let link = network.link("lo").unwrap().expect("there is one everywhere");
    let addresses = network.addresses(link.index).unwrap();
    let own = Prefix { address: [127, 0, 0, 1].into(), len: 8 };
    assert_eq!(addresses.contains(&own), link.is_up, "{addresses:?}");
    assert_eq!(network.link("no-such-link").unwrap(), None);
    if link.is_up {
        let way = network.way("127.0.0.1:1".parse().unwrap()).unwrap().expect("itself");
        assert_eq!(way, Way { interface: link.index, mtu: link.mtu });
    }
}

#[test]
fn whole_tables_are_read() {
    let mut network = Network::open().unwrap();
    let _ = network.tables().unwrap();
    for family in [Family::V4, Family::V6] {
        assert!(network.next_preference(family).unwrap() < 32767);
    }
    // The socket still answers after that.
    assert!(network.link("lo").unwrap().is_some());
}

#[test]
fn changes_of_what_is_not_there_are_the_kernels_to_refuse() {
    let mut network = Network::open().unwrap();
    let error = network.delete_link(0x7fff_fff0).unwrap_err();
    assert!(matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EPERM)), "{error}");
}
