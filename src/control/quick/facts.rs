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
use crate::control::config::quick::{Quick, Table};
use crate::platform::linux::network::{Family, Network};

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
}
