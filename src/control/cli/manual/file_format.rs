//! rvpn.conf(5), from the table of keys beside the parser.

use roff::{Roff, bold, italic, roman};

use super::{entry, prose, title, words};
use crate::control::config::keys::{INTERFACE, KeyText, OPTIONS, PEER, PEER_OPTIONS, QUICK};

/// Makes the page.
pub(super) fn page() -> Roff {
    let mut page = title("rvpn.conf", "5", "File Formats", "configuration files of WireGuard interfaces");
    page.control("SH", ["DESCRIPTION"]);
    prose(&mut page, FORMAT);
    page.control("SH", ["SECTION [INTERFACE]"]);
    keys(&mut page, &INTERFACE);
    page.control("SH", ["SECTION [PEER]"]);
    page.text(words("There may be any number of these sections, one for each peer."));
    keys(&mut page, &PEER);
    page.control("SH", ["KEYS OF WG-QUICK"]);
    prose(&mut page, QUICK_KEYS);
    keys(&mut page, &QUICK);
    page.control("SH", ["OPTIONS"]);
    prose(&mut page, OPTION_LINES);
    keys(&mut page, &OPTIONS);
    page.control("PP", []);
    page.text(words(PEER_OPTION_LINES));
    keys(&mut page, &PEER_OPTIONS);
    page.control("SH", ["EXAMPLES"]);
    page.text(words("A server for two clients:"));
    example(&mut page, SERVER);
    page.control("PP", []);
    page.text(words("A client that sends everything through the tunnel:"));
    example(&mut page, CLIENT);
    page.control("SH", ["SEE ALSO"]);
    page.text(words("`rvpn`(8), `wg`(8), `wg-quick`(8)"));
    page
}

const FORMAT: &str = "\
`rvpn setconf`, `addconf` and `syncconf` read such a file, `rvpn showconf` and `rvpn pair` print one. It is the format \
of wg(8).

A line is a section in brackets, or `Key = value` within a section. Whether letters are capital does not matter, nor \
does white space anywhere; what stands after `#` is a comment. All faults of a file are told at once, each with its \
line and column, before anything is changed.

The file holds secrets: its mode should be 0600. A file that others can read is told of.";

const QUICK_KEYS: &str = "\
In a section [Interface], `rvpn up` and wg-quick(8) read these keys too. wg(8) does not know them, and neither do \
`rvpn setconf`, `addconf` and `syncconf`: `rvpn strip` takes them out.";

const OPTION_LINES: &str = "\
In a section [Interface], each on a line of its own that begins with `#rvpn:`, as in `#rvpn: KillSwitch = yes`. Other \
programs take such a line for a comment.";

const PEER_OPTION_LINES: &str = "\
In a section [Peer], in the same form; `rvpn setconf`, `addconf` and `syncconf` read these, too.";

const SERVER: &str = "\
[Interface]
PrivateKey = YFmdc6lO8OvGbmHt06GJc7+VTze3LpjMbIn7DtGKHH4=
ListenPort = 51820

[Peer]
PublicKey = KsZuXVIDMqKeVMUUEgpLOr1W5JpOc7HRc0/2xcPalCI=
AllowedIPs = 10.9.0.2/32, fd09::2/128

[Peer]
PublicKey = fmxEMaFKdrhsTpp1SXOMvEbSYs58xO1WeYoGuSKnQWE=
AllowedIPs = 10.9.0.3/32, fd09::3/128";

const CLIENT: &str = "\
[Interface]
PrivateKey = 8GoVZzfRWcWtP3AwQkDY4w1n4YkvvJUk+nwLtMRsS2k=
FwMark = 0xca6c

[Peer]
PublicKey = 0/yATn+DCnl1sg6M5ILWd8j/An+MFDjamx0IOUiYoys=
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = vpn.example.com:51820
PersistentKeepalive = 25";

fn keys(page: &mut Roff, keys: &[KeyText]) {
    for key in keys {
        entry(page, vec![bold(key.name), roman(" = "), italic(key.value)], key.text);
    }
}

fn example(page: &mut Roff, text: &str) {
    page.control("PP", []).control("RS", ["4"]).control("EX", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("EE", []).control("RE", []);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::config::Config;

    #[test]
    fn the_examples_are_files_that_the_parser_takes() {
        for text in [SERVER, CLIENT] {
            assert!(Config::parse(text.as_bytes()).is_ok_and(|config| config.warnings.is_empty()));
        }
    }

    #[test]
    fn every_key_is_in_the_page() {
        let page = page().render();
        for key in INTERFACE.iter().chain(&PEER).chain(&QUICK).chain(&OPTIONS).chain(&PEER_OPTIONS) {
            assert!(page.lines().any(|line| line.starts_with(&format!("\\fB{}\\fR = ", key.name))), "{}", key.name);
        }
    }
}
