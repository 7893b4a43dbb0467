//! `save`: the file of a tunnel, written anew from what it has become.
//!
//! Not here: the part for `wg` (see `control::config::text`).
//!
//! Source: wg-quick(8), SaveConfig.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rvpn_uapi::DeviceStatus;
use zeroize::Zeroizing;

use super::error::QuickError;
use crate::control::config::quick::{Quick, Table};
use crate::control::config::text;
use crate::platform::linux::network::Prefix;

/// What of a tunnel is not in its device.
pub(super) struct Present<'a> {
    pub(super) addresses: &'a [Prefix],
    pub(super) dns: &'a [IpAddr],
    pub(super) search: &'a [String],
    pub(super) mtu: u32,
}

/// Returns the text of a file: what is present, and of `quick` what only a file can say.
pub(super) fn text(quick: &Quick, present: &Present<'_>, status: &DeviceStatus) -> Zeroizing<Vec<u8>> {
    let mut head = String::from("[Interface]\n");
    let mut add = |key: &str, value: &dyn std::fmt::Display| head.push_str(&format!("{key} = {value}\n"));
    present.addresses.iter().for_each(|address| add("Address", address));
    present.dns.iter().for_each(|server| add("DNS", server));
    present.search.iter().for_each(|domain| add("DNS", domain));
    if quick.mtu.is_some() {
        add("MTU", &present.mtu);
    }
    match &quick.table {
        None => {}
        Some(Table::Auto) => add("Table", &"auto"),
        Some(Table::Off) => add("Table", &"off"),
        Some(Table::Number(number)) => add("Table", number),
        Some(Table::Name(name)) => add("Table", name),
    }
    if quick.save_config {
        add("SaveConfig", &true);
    }
    for (key, commands) in [
        ("PreUp", &quick.pre_up),
        ("PostUp", &quick.post_up),
        ("PreDown", &quick.pre_down),
        ("PostDown", &quick.post_down),
    ] {
        commands.iter().for_each(|command| add(key, command));
    }
    if quick.kill_switch {
        add("#rvpn: KillSwitch", &"yes");
    }
    if !quick.trusted_interfaces.is_empty() {
        add("#rvpn: TrustedInterfaces", &quick.trusted_interfaces.join(", "));
    }
    if quick.multicast {
        add("#rvpn: Multicast", &"yes");
    }
    let device = text::of(status);
    let rest = device.strip_prefix(b"[Interface]\n").unwrap_or(&device);
    // One line end, whatever the device's text ends with.
    let rest = rest.trim_ascii_end();
    let mut whole = Zeroizing::new(Vec::with_capacity(head.len() + rest.len() + 1));
    whole.extend_from_slice(head.as_bytes());
    whole.extend_from_slice(rest);
    whole.push(b'\n');
    whole
}

/// Puts `text` in the place of the file, for its owner alone. Half of it is never there.
pub(super) fn write(path: &Path, text: &[u8]) -> Result<(), QuickError> {
    let mut unnamed = path.as_os_str().to_owned();
    unnamed.push(".tmp");
    let failed = |source| QuickError::File { action: "write", path: path.to_owned(), source };
    write_new(unnamed.as_ref(), text).and_then(|()| fs::rename(&unnamed, path)).map_err(|error| {
        // It has keys in it.
        let _ = fs::remove_file(&unnamed);
        failed(error)
    })
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    // One of a process that was killed may be others' to read.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::control::config::Config;

    const FILE: &str = "[Interface]\nAddress = 10.0.0.2/24\nAddress = fd00::2/64\nDNS = 10.0.0.1\nDNS = example.com\nMTU = 1400\nTable = off\n\
        SaveConfig = true\nPreUp = a\nPostUp = b %i\nPreDown = c\nPostDown = d\n#rvpn: KillSwitch = yes\n\
        #rvpn: TrustedInterfaces = eth1, eth2\n#rvpn: Multicast = yes\nListenPort = 7\n";

    #[test]
    fn a_file_that_is_saved_is_read_as_before() {
        let (_, quick) = Config::parse_quick(FILE.as_bytes()).expect("valid");
        let present = Present { addresses: &quick.addresses, dns: &quick.dns, search: &quick.search, mtu: 1400 };
        let status = DeviceStatus { listen_port: 7, ..DeviceStatus::default() };
        let saved = text(&quick, &present, &status);
        assert_eq!(String::from_utf8_lossy(&saved), FILE);
        assert_eq!(Config::parse_quick(&saved).expect("valid").1, quick);
    }

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owners() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("wg0.conf");
        fs::write(&path, "old").expect("written");
        write(&path, b"new").expect("writable");
        assert_eq!(fs::read(&path).expect("there"), b"new");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 1);
    }
}
