//! Options of this program about a peer, in comments of a section `[Peer]`.
//!
//! ```text
//! #rvpn: Name = alice
//! #rvpn: RateUp = 20M
//! #rvpn: Endpoint = vpn.example:51820, [2001:db8::1]:51820
//! #rvpn: EndpointOrder = strict
//! ```
//!
//! They are part of what `setconf` and its like read, too: other tools take them for comments, other servers are not
//! told of them.

use rvpn_uapi::{MAX_CANDIDATES, PeerName, PeerSet};

use super::line::Line;
use super::words::Words;
use super::{Fault, value};

/// An option about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerOption {
    Name,
    RateUp,
    RateDown,
    Endpoint,
    EndpointOrder,
}

impl PeerOption {
    pub(super) const ALL: [Self; 5] = [Self::Name, Self::RateUp, Self::RateDown, Self::Endpoint, Self::EndpointOrder];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Name => "Name",
            Self::RateUp => "RateUp",
            Self::RateDown => "RateDown",
            Self::Endpoint => "Endpoint",
            Self::EndpointOrder => "EndpointOrder",
        }
    }

    /// Finds the option that is spelt so, in any case.
    pub(super) fn find(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|option| text.eq_ignore_ascii_case(option.name().as_bytes()))
    }

    /// Keeps its value in `peer`. Returns what is wrong with it.
    pub(super) fn keep(self, line: &Line<'_>, peer: &mut PeerSet) -> Vec<Fault> {
        let words = match Words::of(line, self.name()) {
            Ok(words) => words,
            Err(fault) => return vec![fault],
        };
        match self {
            Self::Name => words.whole(|word| {
                peer.name = Some(Some(PeerName::new(word).ok_or(PeerName::EXPECTED)?));
                Ok(())
            }),
            Self::RateUp => words.whole(|word| value::rate(word.as_bytes()).map(|rate| peer.rate_up = Some(rate))),
            Self::RateDown => words.whole(|word| value::rate(word.as_bytes()).map(|rate| peer.rate_down = Some(rate))),
            Self::Endpoint => words.each(|word| {
                let list = peer.endpoints.get_or_insert_default();
                let candidate = value::candidate(word.as_bytes())?;
                if list.len() == MAX_CANDIDATES {
                    return Err("expected no more than 16 of them");
                }
                list.push(candidate);
                Ok(())
            }),
            Self::EndpointOrder => words.whole(|word| {
                peer.endpoint_order = Some(value::endpoint_order(word.as_bytes())?);
                Ok(())
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    const PEER: &str = "[Peer]\nPublicKey = AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";

    #[test]
    fn a_peer_has_a_name_for_every_word_that_reads_files() {
        let text = format!("{PEER}  #rvpn: name =  Bob's phone # the old one\n{PEER}");
        let of_wg = Config::parse(text.as_bytes()).expect("valid");
        let (of_quick, _) = Config::parse_quick(text.as_bytes()).expect("valid");
        for config in [of_wg, of_quick] {
            let names: Vec<_> = config.peers.iter().map(|peer| peer.set.name.clone().flatten()).collect();
            assert_eq!(
                names.iter().map(|name| name.as_ref().map(|name| name.as_str())).collect::<Vec<_>>(),
                [Some("Bob's phone"), None]
            );
        }
    }

    #[test]
    fn a_name_that_cannot_be_one_is_told_with_its_place() {
        for (option, told) in [
            ("Name = a\u{7}b", "3:15: `a\\u{7}b`: expected a name: 1 to 64 bytes"),
            ("RateUp = fast", "3:17: `fast`: expected bits a second"),
            ("Name =", "3:8: `Name`: expected a value after `Name =`"),
            ("Endpoint = a:1, b", "3:24: `b`: expected a host and a port"),
            ("EndpointOrder = first", "3:24: `first`: expected `fastest` or `strict`"),
        ] {
            let text = format!("{PEER}#rvpn: {option}\n");
            let faults = Config::parse(text.as_bytes()).expect_err("a fault");
            assert!(faults[0].to_string().starts_with(told), "{}", faults[0]);
        }
    }

    #[test]
    fn a_peer_has_places_to_be_and_an_order_of_them() {
        let text =
            format!("{PEER}#rvpn: Endpoint = vpn.example:51820, [2001:db8::1]:7\n#rvpn: endpointorder = strict\n");
        let set = Config::parse(text.as_bytes()).expect("valid").peers.remove(0).set;
        let endpoints: Vec<_> = set.endpoints.iter().flatten().map(ToString::to_string).collect();
        assert_eq!(endpoints, ["vpn.example:51820", "[2001:db8::1]:7"]);
        assert_eq!(set.endpoint_order, Some(rvpn_uapi::EndpointOrder::Strict));
    }

    #[test]
    fn an_option_stands_where_it_belongs() {
        let faults = |text: &str| {
            let faults = Config::parse_quick(text.as_bytes()).expect_err("faults");
            faults.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(faults("[Interface]\n#rvpn: Name = a\n"), ["2:8: `Name`: belongs in a `[Peer]`"]);
        assert_eq!(
            faults(&format!("{PEER}#rvpn: Nmae = a\n")),
            ["3:8: `Nmae`: expected one of Name, RateUp, RateDown, Endpoint, EndpointOrder"]
        );
        assert_eq!(faults(&format!("{PEER}#rvpn: Multicast = yes\n")), ["3:8: `Multicast`: belongs in `[Interface]`"]);
    }
}
