use ip_network::{Ipv4Network, Ipv6Network};
use ip_network_table::IpNetworkTable;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn the_longest_prefix_wins() {
    let mut table = AllowedIps::new();
    for (prefix, owner) in [
        ("192.168.4.0/24", 'a'),
        ("192.168.4.4/32", 'b'),
        ("192.168.0.0/16", 'c'),
        ("192.95.5.64/27", 'd'),
        ("192.95.5.65/27", 'c'),
        ("0.0.0.0/0", 'e'),
        ("64.15.112.0/20", 'g'),
        ("64.15.123.211/25", 'h'),
        ("10.0.0.0/25", 'a'),
        ("10.0.0.128/25", 'b'),
        ("10.1.0.0/30", 'a'),
        ("10.1.0.4/30", 'b'),
        ("10.1.0.8/29", 'c'),
        ("10.1.0.16/29", 'd'),
        ("2607:5300:6006:6b00::/64", 'd'),
        ("2607:5300:6006:6b00::c05f:543/128", 'c'),
        ("::/0", 'e'),
        ("::/1", 'f'),
    ] {
        table.insert(prefix_of(prefix), owner);
    }
    for (address, owner) in [
        ("192.168.4.20", 'a'),
        ("192.168.4.4", 'b'),
        ("192.168.200.182", 'c'),
        ("192.95.5.68", 'c'),
        ("192.95.5.96", 'e'),
        ("64.15.116.26", 'g'),
        ("64.15.127.3", 'g'),
        ("64.15.123.1", 'g'),
        ("64.15.123.128", 'h'),
        ("64.15.123.129", 'h'),
        ("10.0.0.52", 'a'),
        ("10.0.0.220", 'b'),
        ("10.1.0.2", 'a'),
        ("10.1.0.6", 'b'),
        ("10.1.0.10", 'c'),
        ("10.1.0.20", 'd'),
        ("2607:5300:6006:6b00::1", 'd'),
        ("2607:5300:6006:6b00::c05f:543", 'c'),
        ("2607:5300:6006:6b01::", 'f'),
        ("8000::", 'e'),
    ] {
        assert_eq!(table.lookup(address.parse().unwrap()), Some(owner), "{address}");
    }
}

#[test]
fn host_bits_are_masked() {
    assert_eq!(prefix_of("10.1.0.20/29"), prefix_of("10.1.0.16/29"));
    assert_eq!(prefix_of("10.1.0.20/29").to_string(), "10.1.0.16/29");
    assert_eq!(prefix_of("fe80::1:2/64").to_string(), "fe80::/64");
    assert_eq!(prefix_of("255.1.2.3/0").to_string(), "0.0.0.0/0");
    assert_eq!(prefix_of("ffff::/0").to_string(), "::/0");
    assert_eq!(Prefix::new("10.0.0.0".parse().unwrap(), 33), None);
    assert_eq!(Prefix::new("::".parse().unwrap(), 129), None);
}

#[test]
fn an_empty_table_owns_nothing() {
    let table = AllowedIps::<u8>::new();
    assert_eq!(table.lookup("10.0.0.1".parse().unwrap()), None);
    assert_eq!(table.lookup("::1".parse().unwrap()), None);
    assert!(table.is_empty());
}

#[test]
fn a_prefix_moves_to_the_last_who_asks() {
    let mut table = AllowedIps::new();
    let prefix = prefix_of("10.0.0.0/24");
    assert_eq!(table.insert(prefix, 'a'), None);
    assert_eq!(table.insert(prefix, 'a'), Some('a'), "its own before");
    assert_eq!(table.insert(prefix, 'b'), Some('a'));
    assert_eq!(table.len(), 1);
    assert!(!table.remove(prefix, 'a'), "it is no longer a's to remove");
    assert_eq!(table.lookup("10.0.0.9".parse().unwrap()), Some('b'));
    assert!(table.remove(prefix, 'b'));
    assert_eq!(table.lookup("10.0.0.9".parse().unwrap()), None);
}

#[test]
fn removal_is_exact() {
    let mut table = AllowedIps::new();
    table.insert(prefix_of("10.0.0.0/24"), 'a');
    for other in ["10.0.0.0/23", "10.0.0.0/25", "10.0.1.0/24", "0.0.0.0/0"] {
        assert!(!table.remove(prefix_of(other), 'a'), "{other}");
    }
    assert_eq!(table.len(), 1);
}

#[test]
fn removing_a_prefix_uncovers_the_shorter_ones_it_hid() {
    let mut table = AllowedIps::new();
    // All end in one node, and the two halves hide the whole.
    for (prefix, owner) in [("10.0.0.0/9", 'a'), ("10.0.0.0/10", 'b'), ("10.64.0.0/10", 'c'), ("10.0.0.0/11", 'd')] {
        table.insert(prefix_of(prefix), owner);
    }
    let first = "10.0.0.1".parse().unwrap();
    assert_eq!(table.lookup(first), Some('d'));
    table.remove(prefix_of("10.0.0.0/10"), 'b');
    assert_eq!(table.lookup(first), Some('d'));
    table.remove(prefix_of("10.0.0.0/11"), 'd');
    assert_eq!(table.lookup(first), Some('a'));
    table.remove(prefix_of("10.64.0.0/10"), 'c');
    assert_eq!(table.lookup("10.64.0.1".parse().unwrap()), Some('a'));
}

/// The deepest trie there is: each key parts from all ones at another bit.
#[test]
fn a_trie_of_full_depth_is_walked_without_recursion() {
    let mut table = AllowedIps::new();
    let address = |bit: u32| IpAddr::V6(Ipv6Addr::from_bits(!(1 << bit)));
    for bit in 0..128 {
        assert_eq!(table.insert(Prefix::new(address(bit), 128).unwrap(), bit), None);
    }
    for bit in 0..128 {
        assert_eq!(table.lookup(address(bit)), Some(bit));
    }
    assert_eq!(table.lookup(IpAddr::V6(Ipv6Addr::from_bits(u128::MAX))), None);
    for bit in 0..128 {
        assert!(table.remove(Prefix::new(address(bit), 128).unwrap(), bit));
        assert_eq!(table.lookup(address(bit)), None);
    }
    assert_eq!(table.v6.node_count(), 0);
}

#[test]
fn churn_leaks_no_node() {
    let mut table = AllowedIps::new();
    for n in 0..=255u8 {
        table.insert(Prefix::new(IpAddr::from([10, n, 0, 0]), 16).unwrap(), 0u32);
    }
    let before = (table.v4.node_count(), table.len());
    for round in 1..200u32 {
        let prefixes: Vec<_> = (0..40u32)
            .map(|n| {
                let address = n.wrapping_mul(round).wrapping_mul(0x9e37_79b9);
                Prefix::new(IpAddr::V4(Ipv4Addr::from_bits(address)), 17 + (n % 16) as u8).unwrap()
            })
            .collect();
        for prefix in &prefixes {
            table.insert(*prefix, round);
        }
        for prefix in &prefixes {
            table.remove(*prefix, round);
        }
        assert_eq!((table.v4.node_count(), table.len()), before);
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Insert(IpAddr, u8, u8),
    Remove(IpAddr, u8, u8),
}

proptest! {
    #[test]
    fn it_answers_as_its_twin(operations in vec(operation(), 1..200), probes in vec(address(), 20)) {
        let mut table = AllowedIps::new();
        let mut twin = IpNetworkTable::<u8>::new();
        let mut seen = probes;
        for operation in operations {
            match operation {
                Operation::Insert(address, len, owner) => {
                    // `address` has host bits set: masking is ours.
                    let prefix = Prefix::new(address, len).unwrap();
                    let before = twin_insert(&mut twin, address, len, owner);
                    prop_assert_eq!(table.insert(prefix, owner), before);
                    seen.push(address);
                    seen.push(prefix.address());
                }
                Operation::Remove(address, len, owner) => {
                    let prefix = Prefix::new(address, len).unwrap();
                    prop_assert_eq!(table.remove(prefix, owner), twin_remove(&mut twin, prefix, owner));
                }
            }
            let (v4, v6) = twin.len();
            prop_assert_eq!(table.len(), v4 + v6);
        }
        for address in seen {
            prop_assert_eq!(table.lookup(address), twin.longest_match(address).map(|(_, owner)| *owner));
        }
        // The shape follows from the prefixes alone, so a table without a past has as many nodes.
        let mut fresh = AllowedIps::new();
        let left: Vec<_> = twin
            .iter()
            .map(|(network, owner)| (Prefix::new(network.network_address(), network.netmask()).unwrap(), *owner))
            .collect();
        for (prefix, owner) in left.iter().rev() {
            fresh.insert(*prefix, *owner);
        }
        prop_assert_eq!(table.v4.node_count(), fresh.v4.node_count());
        prop_assert_eq!(table.v6.node_count(), fresh.v6.node_count());
        for (prefix, owner) in left {
            prop_assert!(table.remove(prefix, owner));
        }
        prop_assert_eq!((table.len(), table.v4.node_count(), table.v6.node_count()), (0, 0, 0));
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    (any::<bool>(), address(), any::<u8>(), 0u8..4).prop_map(|(insert, address, len, owner)| {
        let len = len % if address.is_ipv4() { 33 } else { 129 };
        if insert { Operation::Insert(address, len, owner) } else { Operation::Remove(address, len, owner) }
    })
}

/// Addresses that meet often: a few bits anywhere, over two backgrounds.
fn address() -> impl Strategy<Value = IpAddr> {
    let bits = |width: u32| vec(0..width, 0..4).prop_map(|bits| bits.iter().fold(0u128, |bits, bit| bits | 1 << bit));
    prop_oneof![
        (bits(32), any::<bool>()).prop_map(|(bits, ones)| {
            IpAddr::V4(Ipv4Addr::from_bits(if ones { !bits as u32 } else { bits as u32 }))
        }),
        (bits(128), any::<bool>())
            .prop_map(|(bits, ones)| { IpAddr::V6(Ipv6Addr::from_bits(if ones { !bits } else { bits })) }),
    ]
}

fn twin_insert(twin: &mut IpNetworkTable<u8>, address: IpAddr, len: u8, owner: u8) -> Option<u8> {
    match address {
        IpAddr::V4(v4) => twin.insert(Ipv4Network::new_truncate(v4, len).unwrap(), owner),
        IpAddr::V6(v6) => twin.insert(Ipv6Network::new_truncate(v6, len).unwrap(), owner),
    }
}

fn twin_remove(twin: &mut IpNetworkTable<u8>, prefix: Prefix, owner: u8) -> bool {
    let network = ip_network::IpNetwork::new(prefix.address(), prefix.len()).unwrap();
    let ours = twin.exact_match(network) == Some(&owner);
    if ours {
        twin.remove(network);
    }
    ours
}

fn prefix_of(text: &str) -> Prefix {
    let (address, len) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), len.parse().unwrap()).unwrap()
}
