//! The routing trie against a table of prefixes by another hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arbitrary::Unstructured;
use ip_network::IpNetwork;
use ip_network_table::IpNetworkTable;
use rvpn::proto::allowedips::{AllowedIps, Prefix};

/// Inserts, removes and looks up, then takes everything out again.
pub fn run(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let (mut trie, mut twin) = (AllowedIps::new(), IpNetworkTable::new());
    let mut last = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    while !input.is_empty() {
        step(&mut input, &mut trie, &mut twin, &mut last).expect("no input is too short");
    }
    let all: Vec<_> = twin.iter().map(|(network, owner)| (network, *owner)).collect();
    assert_eq!(trie.len(), all.len());
    for (network, owner) in all {
        let prefix = Prefix::new(network.network_address(), network.netmask()).expect("a length of its family");
        assert!(trie.remove(prefix, owner), "{prefix} of {owner}");
    }
    assert!(trie.is_empty());
    assert_eq!(trie.lookup(last), None);
}

fn step(
    input: &mut Unstructured<'_>,
    trie: &mut AllowedIps<u8>,
    twin: &mut IpNetworkTable<u8>,
    last: &mut IpAddr,
) -> arbitrary::Result<()> {
    let (action, len) = (input.arbitrary::<u8>()?, input.arbitrary::<u8>()?);
    let address = address(input, action, *last)?;
    let owner = action >> 6;
    let Some(prefix) = Prefix::new(address, len) else {
        assert!(usize::from(len) > if address.is_ipv4() { 32 } else { 128 });
        return Ok(());
    };
    let network = IpNetwork::new_truncate(address, len).expect("a length of its family");
    assert_eq!(prefix.address(), network.network_address());
    match action % 4 {
        0 | 1 => assert_eq!(trie.insert(prefix, owner), twin.insert(network, owner), "insert {prefix}"),
        2 => {
            let is_owner = twin.exact_match(network) == Some(&owner);
            assert_eq!(trie.remove(prefix, owner), is_owner, "remove {prefix} of {owner}");
            if is_owner {
                twin.remove(network);
            }
        }
        _ => {}
    }
    for address in [address, *last, prefix.address()] {
        let found = trie.lookup(address);
        assert_eq!(found, twin.longest_match(address).map(|(_, owner)| *owner), "look up {address}");
        let on_the_packet_path = match address {
            IpAddr::V4(address) => trie.lookup_v4(address.octets()),
            IpAddr::V6(address) => trie.lookup_v6(address.octets()),
        };
        assert_eq!(on_the_packet_path, found);
    }
    assert_eq!(trie.len(), twin.len().0 + twin.len().1);
    *last = address;
    Ok(())
}

/// The last address with one bit changed, so that prefixes nest and branch, or any other.
fn address(input: &mut Unstructured<'_>, action: u8, last: IpAddr) -> arbitrary::Result<IpAddr> {
    Ok(match (action >> 2 & 7, last) {
        (0, _) => Ipv4Addr::from_bits(input.arbitrary()?).into(),
        (1, _) => Ipv6Addr::from_bits(input.arbitrary()?).into(),
        (2, last) => last,
        (_, IpAddr::V4(last)) => Ipv4Addr::from_bits(last.to_bits() ^ 1 << (input.arbitrary::<u8>()? % 32)).into(),
        (_, IpAddr::V6(last)) => Ipv6Addr::from_bits(last.to_bits() ^ 1 << (input.arbitrary::<u8>()? % 128)).into(),
    })
}
