//! Keys of wg-quick in `[Interface]`, and options of this program in comments beside them.
//!
//! ```text
//! Address = 10.0.0.2/24, fd00::2/64      #rvpn: KillSwitch = yes
//! DNS = 10.0.0.1, example.com            #rvpn: TrustedInterfaces = eth1, virbr0
//! PostUp = logger %i is up               #rvpn: Multicast = yes
//! ```
//!
//! An option stands on a line of its own. Commands keep the spaces in them; `%i` is filled in where they are run.
//!
//! Source: wg-quick(8), CONFIGURATION; where it is silent, what the script accepts.

use std::net::IpAddr;

use zeroize::Zeroizing;

use super::line::{Line, is_space};
use super::words::Words;
use super::{Fault, value};
use crate::control::interface::InterfaceName;
use crate::platform::linux::network::Prefix;

/// What these keys and options say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quick {
    /// `Address`, each of them.
    pub addresses: Vec<Prefix>,
    /// `DNS`: the servers.
    pub dns: Vec<IpAddr>,
    /// `DNS`: the domains to search.
    pub search: Vec<String>,
    /// `MTU`
    pub mtu: Option<u32>,
    /// `Table`; `None` means the same as [`Table::Auto`].
    pub table: Option<Table>,
    /// `PreUp`, in order, as are the following three.
    pub pre_up: Vec<String>,
    /// `PostUp`
    pub post_up: Vec<String>,
    /// `PreDown`
    pub pre_down: Vec<String>,
    /// `PostDown`
    pub post_down: Vec<String>,
    /// `SaveConfig`
    pub save_config: bool,
    /// `KillSwitch`: nothing leaves but through the tunnel.
    pub kill_switch: bool,
    /// `TrustedInterfaces`: those the kill switch leaves open.
    pub trusted_interfaces: Vec<String>,
    /// `Multicast`: into the tunnel, too.
    pub multicast: bool,
}

/// Where routes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    /// Into the main table, and default routes into one of their own with policy rules.
    Auto,
    /// Nowhere.
    Off,
    /// All into this one.
    Number(u32),
    /// All into the one that iproute2's files call so.
    Name(String),
}

/// A key of wg-quick.
#[allow(clippy::enum_variant_names, reason = "these are their names")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuickKey {
    Address,
    Dns,
    Mtu,
    Table,
    PreUp,
    PostUp,
    PreDown,
    PostDown,
    SaveConfig,
}

/// An option of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuickOption {
    KillSwitch,
    TrustedInterfaces,
    Multicast,
}

impl Quick {
    /// Keeps the value of a key. Returns what is wrong with it.
    pub(super) fn entry(&mut self, line: &Line<'_>, key: QuickKey) -> Vec<Fault> {
        let words = match Words::of(line, key.name()) {
            Ok(words) => words,
            Err(fault) => return vec![fault],
        };
        match key {
            QuickKey::Address => words.each(|word| address(word).map(|address| self.addresses.push(address))),
            QuickKey::Dns => words.each(|word| {
                // As wg-quick: what looks like an address is to be one.
                if word.contains(':') || word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
                    self.dns.push(
                        word.parse().map_err(|_| "expected the address of a DNS server, as in 10.0.0.1 or fd00::1")?,
                    );
                } else {
                    self.search.push(domain(word)?);
                }
                Ok(())
            }),
            QuickKey::Mtu => words.whole(|word| {
                let mtu = word.parse().ok().filter(|mtu| MTUS.contains(mtu));
                self.mtu = Some(mtu.ok_or("expected a number of bytes from 68 to 65535")?);
                Ok(())
            }),
            QuickKey::Table => words.whole(|word| table(word).map(|table| self.table = Some(table))),
            QuickKey::PreUp => words.keep_in(&mut self.pre_up),
            QuickKey::PostUp => words.keep_in(&mut self.post_up),
            QuickKey::PreDown => words.keep_in(&mut self.pre_down),
            QuickKey::PostDown => words.keep_in(&mut self.post_down),
            QuickKey::SaveConfig => words.whole(|word| {
                self.save_config = word.eq_ignore_ascii_case("true");
                let is_valid = self.save_config || word.eq_ignore_ascii_case("false");
                is_valid.then_some(()).ok_or("expected `true` or `false`")
            }),
        }
    }

    /// Keeps the value of an option. Returns what is wrong with it.
    pub(super) fn option(&mut self, line: &Line<'_>, option: QuickOption) -> Vec<Fault> {
        let words = match Words::of(line, option.name()) {
            Ok(words) => words,
            Err(fault) => return vec![fault],
        };
        match option {
            QuickOption::KillSwitch => words.whole(|word| truth(word).map(|truth| self.kill_switch = truth)),
            QuickOption::Multicast => words.whole(|word| truth(word).map(|truth| self.multicast = truth)),
            QuickOption::TrustedInterfaces => words.each(|word| {
                let name =
                    InterfaceName::new(word.as_ref()).map_err(|_| "expected the name of an interface, as in eth1")?;
                if self.trusted_interfaces.len() >= MAX_TRUSTED_INTERFACES {
                    return Err("expected no more than 16 interfaces");
                }
                self.trusted_interfaces.push(name.as_str().to_owned());
                Ok(())
            }),
        }
    }
}

fn address(word: &str) -> Result<Prefix, &'static str> {
    let expected = "expected an address with or without a prefix length, as in 10.0.0.2/24 or fd00::2";
    let (address, len) = match word.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (word, None),
    };
    let address: IpAddr = address.parse().map_err(|_| expected)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let len = match len {
        Some(len) if len.bytes().all(|byte| byte.is_ascii_digit()) => {
            len.parse().ok().filter(|&len: &u8| len <= longest)
        }
        Some(_) => None,
        None => Some(longest),
    };
    let range =
        if longest == 32 { "expected a prefix length of 0 to 32" } else { "expected a prefix length of 0 to 128" };
    Ok(Prefix { address, len: len.ok_or(range)? })
}

/// Source: RFC 1035, section 2.3.4, for the lengths; an underscore is taken too, as by resolvers.
fn domain(word: &str) -> Result<String, &'static str> {
    let name = word.strip_suffix('.').unwrap_or(word);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let is_domain = name.len() <= 253 && name.split('.').all(is_label);
    is_domain.then(|| word.to_owned()).ok_or("expected the address of a DNS server, or a domain to search")
}

fn table(word: &str) -> Result<Table, &'static str> {
    let expected = "expected `auto`, `off`, or the number or name of a routing table";
    match value::number_of(word) {
        Some(number) => u32::try_from(number).ok().filter(|&number| number > 0).map(Table::Number).ok_or(expected),
        None if word.eq_ignore_ascii_case("auto") => Ok(Table::Auto),
        None if word.eq_ignore_ascii_case("off") => Ok(Table::Off),
        None if word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) => {
            Ok(Table::Name(word.to_owned()))
        }
        None => Err(expected),
    }
}

fn truth(word: &str) -> Result<bool, &'static str> {
    match word {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err("expected `yes` or `no`"),
    }
}

/// Returns what a line has for a key, or the section that it begins, as parsing it would: without white space, up to a `=`
/// or a comment.
pub fn key_of(line: &[u8]) -> Zeroizing<Vec<u8>> {
    let key = line.split(|byte| b"=#\0".contains(byte)).next().unwrap_or_default();
    Zeroizing::new(key.iter().copied().filter(|&byte| !is_space(byte)).collect())
}

/// Returns whether this is a key that only wg-quick knows, in any case.
pub fn is_quick_key(text: &[u8]) -> bool {
    QuickKey::find(text).is_some()
}

impl QuickKey {
    const ALL: [Self; 9] = [
        Self::Address,
        Self::Dns,
        Self::Mtu,
        Self::Table,
        Self::PreUp,
        Self::PostUp,
        Self::PreDown,
        Self::PostDown,
        Self::SaveConfig,
    ];

    pub(super) const fn all() -> &'static [Self] {
        &Self::ALL
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Address => "Address",
            Self::Dns => "DNS",
            Self::Mtu => "MTU",
            Self::Table => "Table",
            Self::PreUp => "PreUp",
            Self::PostUp => "PostUp",
            Self::PreDown => "PreDown",
            Self::PostDown => "PostDown",
            Self::SaveConfig => "SaveConfig",
        }
    }

    /// Finds the key that is spelt so, in any case.
    pub(super) fn find(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|key| text.eq_ignore_ascii_case(key.name().as_bytes()))
    }
}

impl QuickOption {
    pub(super) const ALL: [Self; 3] = [Self::KillSwitch, Self::TrustedInterfaces, Self::Multicast];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::KillSwitch => "KillSwitch",
            Self::TrustedInterfaces => "TrustedInterfaces",
            Self::Multicast => "Multicast",
        }
    }

    /// Finds the option that is spelt so, in any case.
    pub(super) fn find(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|option| text.eq_ignore_ascii_case(option.name().as_bytes()))
    }
}

/// What the kernel takes for IPv4 at least, and what an IP packet can be.
const MTUS: std::ops::RangeInclusive<u32> = 68..=65535;
/// The rules of the kill switch grow with the square of it.
const MAX_TRUSTED_INTERFACES: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn read(text: &str) -> Result<Quick, Vec<String>> {
        let parsed = Config::parse_quick(text.as_bytes());
        parsed.map(|(_, quick)| quick).map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_key_and_option_is_read() {
        let quick = read(
            "[Interface]\nListenPort = 7\nAddress = 10.0.0.2/24, fd00::2/64 10.0.1.1\nADDRESS=10.0.2.1/31\n\
             dns = 10.0.0.1,example.com fd00::1\nMTU = 1400\nTable = 100\nPreUp = echo  %i = up # why\n\
             PreUp = true\nPostUp=a\nPreDown = b\nPostDown = c d\nSaveConfig = TRUE\n\
             #rvpn: KillSwitch = yes\n  #rvpn:TrustedInterfaces = eth1, virbr0\n#rvpn: multicast = yes # too\n",
        )
        .expect("valid");
        let prefix = |address: &str, len| Prefix { address: address.parse().expect("an address"), len };
        let addresses = [prefix("10.0.0.2", 24), prefix("fd00::2", 64), prefix("10.0.1.1", 32), prefix("10.0.2.1", 31)];
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let expected = Quick {
            addresses: addresses.to_vec(),
            dns: vec!["10.0.0.1".parse().expect("an address"), "fd00::1".parse().expect("an address")],
            search: texts(&["example.com"]),
            mtu: Some(1400),
            table: Some(Table::Number(100)),
            pre_up: texts(&["echo  %i = up", "true"]),
            post_up: texts(&["a"]),
            pre_down: texts(&["b"]),
            post_down: texts(&["c d"]),
            save_config: true,
            kill_switch: true,
            trusted_interfaces: texts(&["eth1", "virbr0"]),
            multicast: true,
        };
        assert_eq!(quick, expected);
    }

    #[test]
    fn tables_are_told_apart() {
        let table = |text: &str| read(&format!("[Interface]\nTable = {text}\n")).map(|quick| quick.table);
        assert_eq!(table("auto"), Ok(Some(Table::Auto)));
        assert_eq!(table("OFF"), Ok(Some(Table::Off)));
        assert_eq!(table("4294967295"), Ok(Some(Table::Number(u32::MAX))));
        assert_eq!(table("main"), Ok(Some(Table::Name("main".to_owned()))));
        for text in ["0", "4294967296", "my table"] {
            assert!(table(text).is_err(), "{text}");
        }
    }

    #[test]
    fn faults_are_told_with_their_place_and_all_at_once() {
        let text = "[Interface]\nAddress = 10.0.0.1/33, fd00::1 x\nDNS = 1.2.3, -ä\n MTU =  67\nTable =\nSaveConfig = yes\n\
                    Adress = 1\n#rvpn: KillSwitch = on\n#rvpn: Killswitch\n#rvpn: TrustedInterfaces = eth1, a/b\n\
                    #rvpn: Unknown = 1\n[Peer]\nPublicKey = AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\
                    PostUp = true\n#rvpn: Multicast = yes\n";
        let expected = [
            "2:11: `10.0.0.1/33`: expected a prefix length of 0 to 32",
            "2:32: `x`: expected an address with or without a prefix length, as in 10.0.0.2/24 or fd00::2",
            "3:7: `1.2.3`: expected the address of a DNS server, as in 10.0.0.1 or fd00::1",
            "3:14: `-ä`: expected the address of a DNS server, or a domain to search",
            "4:9: `67`: expected a number of bytes from 68 to 65535",
            "5:1: `Table`: expected a value after `Table =`",
            "6:14: `yes`: expected `true` or `false`",
            "7:1: `Adress`: expected `Address`?",
            "8:21: `on`: expected `yes` or `no`",
            "9:8: `KillSwitch`: expected a value after `KillSwitch =`",
            "10:34: `a/b`: expected the name of an interface, as in eth1",
            "11:8: `Unknown`: expected one of KillSwitch, TrustedInterfaces, Multicast",
            "14:1: `PostUp`: belongs in `[Interface]`",
            "15:8: `Multicast`: belongs in `[Interface]`",
        ];
        assert_eq!(read(text).expect_err("faults"), expected);
    }

    #[test]
    fn options_are_comments_for_wg() {
        let text =
            "#rvpn: nonsense\n[Interface]\n#rvpn: KillSwitch = perhaps\nListenPort = 7 #rvpn: KillSwitch = yes\n";
        assert_eq!(Config::parse(text.as_bytes()).expect("valid").listen_port, Some(7));
        assert!(!read("[Interface]\nListenPort = 7 #rvpn: KillSwitch = yes\n").expect("valid").kill_switch);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            for start in ["", "[Interface]\nAddress = ", "[Interface]\nDNS =", "[Interface]\n#rvpn: TrustedInterfaces="] {
                let mut text = start.as_bytes().to_vec();
                text.extend_from_slice(&bytes);
                let _ = Config::parse_quick(&text);
            }
        }
    }
}
