//! What a plan has to know of the machine, found out.
//!
//! Sources: ip-route(8) for names of tables; Linux Documentation/networking/ip-sysctl.rst.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::dns::Manager;
use super::error::QuickError;
use super::plan::{FIRST_TABLE, Facts};
use super::step::Step;
use crate::control::config::quick::{Quick, Table};
use crate::platform::linux::network::{Family, Network, Rule};

/// The switch of [`Facts::source_valid_mark`].
pub(super) const SOURCE_VALID_MARK: &str = "/proc/sys/net/ipv4/conf/all/src_valid_mark";

/// Asks the machine.
///
/// # Errors
/// [`QuickError::Ask`], and [`QuickError::UnknownTable`].
pub(super) fn gather(network: &mut Network, quick: &Quick, endpoints: &[SocketAddr]) -> Result<Facts, QuickError> {
    let ask = |what| move |source| QuickError::Ask { what, source };
    let tables = network.tables().map_err(ask("routes"))?;
    let mut free_table = FIRST_TABLE;
    while tables.contains(&free_table) {
        free_table += 1;
    }
    let named_table = match &quick.table {
        Some(Table::Name(name)) => {
            Some(table_number(name).ok_or_else(|| QuickError::UnknownTable { name: name.clone() })?)
        }
        _ => None,
    };
    let mut preference = |family| network.next_preference(family).map_err(ask("rules"));
    Ok(Facts {
        preferences: [preference(Family::V4)?, preference(Family::V6)?],
        path_mtu: path_mtu(network, endpoints).map_err(ask("the ways to the endpoints"))?,
        free_table,
        named_table,
        // A kernel without the switch has nothing to set.
        source_valid_mark: fs::read_to_string(SOURCE_VALID_MARK).map_or(true, |text| text.trim() != "0"),
        dns_manager: Manager::find(),
    })
}

impl Facts {
    /// Returns what these facts, of a machine where a tunnel is up, would be without it: what its `steps` use is its own.
    /// `before` are those of the time before it was up: the ways to its endpoints may lead through itself by now.
    pub(super) fn without(self, steps: &[Step], before: &Self) -> Self {
        let own_mark = steps.iter().find_map(|step| match step {
            Step::Configure { mark } => *mark,
            _ => None,
        });
        let preference = |wanted, free| {
            let own = steps.iter().find_map(|step| match step {
                Step::Rule { family, preference, rule: Rule::UnlessMarked { .. } } if *family == wanted => {
                    Some(*preference)
                }
                _ => None,
            });
            own.unwrap_or(free)
        };
        let manager = steps.iter().find_map(|step| match step {
            Step::Dns(dns) => Some(dns.manager),
            _ => None,
        });
        let [free_v4, free_v6] = self.preferences;
        Self {
            path_mtu: before.path_mtu,
            // A mark that nothing asks for any more may be another tunnel's by now.
            free_table: own_mark.filter(|&mark| mark_in_use(steps) == Some(mark)).unwrap_or(self.free_table),
            preferences: [preference(Family::V4, free_v4), preference(Family::V6, free_v6)],
            source_valid_mark: self.source_valid_mark && !steps.contains(&Step::SourceValidMark),
            dns_manager: manager.unwrap_or(self.dns_manager),
            named_table: self.named_table,
        }
    }
}

/// Returns the mark by which rules or the kill switch of these steps know encrypted packets.
pub(super) fn mark_in_use(steps: &[Step]) -> Option<u32> {
    steps.iter().find_map(|step| match step {
        Step::Rule { rule: Rule::UnlessMarked { mark, .. }, .. } => Some(*mark),
        Step::KillSwitch(switch) => Some(switch.mark),
        _ => None,
    })
}

/// The smallest of them: a packet that is too large for one way is lost there.
fn path_mtu(network: &mut Network, endpoints: &[SocketAddr]) -> io::Result<Option<u32>> {
    let mut smallest: Option<u32> = None;
    for &endpoint in endpoints {
        if let Some(way) = network.way(endpoint)? {
            smallest = Some(smallest.map_or(way.mtu, |mtu| mtu.min(way.mtu)));
        }
    }
    match smallest {
        Some(mtu) => Ok(Some(mtu)),
        None => Ok(network.default_way()?.map(|way| way.mtu)),
    }
}

fn table_number(name: &str) -> Option<u32> {
    match name {
        "local" => return Some(255),
        "main" => return Some(254),
        "default" => return Some(253),
        _ => {}
    }
    let mut files: Vec<PathBuf> = TABLE_FILES.map(PathBuf::from).to_vec();
    for folder in TABLE_FOLDERS {
        files.extend(fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()));
    }
    files.into_iter().filter_map(|file| fs::read_to_string(file).ok()).find_map(|text| number_in(&text, name))
}

/// Finds a line `NUMBER NAME`.
fn number_in(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let number = words.next()?;
        (words.next()? == name).then_some(())?;
        match number.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => number.parse().ok(),
        }
    })
}

const TABLE_FILES: [&str; 3] =
    ["/etc/iproute2/rt_tables", "/usr/share/iproute2/rt_tables", "/usr/lib/iproute2/rt_tables"];
const TABLE_FOLDERS: [&str; 2] = ["/etc/iproute2/rt_tables.d", "/usr/share/iproute2/rt_tables.d"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_names() {
        let text = "# reserved\n255\tlocal\n#100 no\n 100  vpn # mine\n0x65 other\nx bad\n";
        assert_eq!(number_in(text, "vpn"), Some(100));
        assert_eq!(number_in(text, "other"), Some(101));
        assert_eq!((number_in(text, "no"), number_in(text, "bad")), (None, None));
        assert_eq!(table_number("main"), Some(254));
    }

    #[test]
    fn what_the_tunnel_itself_uses_is_not_taken_and_all_else_is_looked_up_anew() {
        let facts = |table: u32| Facts {
            path_mtu: Some(table),
            free_table: table,
            named_table: Some(table),
            preferences: [table, table],
            source_valid_mark: true,
            dns_manager: Manager::File,
        };
        let rule = Rule::UnlessMarked { mark: 1, table: 1 };
        let configure = Step::Configure { mark: Some(1) };
        let rules = Step::Rule { family: Family::V4, preference: 1, rule };
        let steps = [configure.clone(), rules, Step::SourceValidMark];
        let expected = Facts { named_table: Some(2), preferences: [1, 2], source_valid_mark: false, ..facts(1) };
        assert_eq!(facts(2).without(&steps, &facts(1)), expected);
        let expected = Facts { path_mtu: Some(1), ..facts(2) };
        assert_eq!(facts(2).without(&[configure], &facts(1)), expected);
        assert_eq!(facts(2).without(&[], &facts(1)), expected);
    }
}
