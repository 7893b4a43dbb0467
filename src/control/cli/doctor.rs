//! `rvpn doctor`: what is wrong with a tunnel, a line for each cause and one for what mends it; or that all is well.
//!
//! Not here: how it is found out (see `control::doctor`).

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::failure::Failure;
use super::terminal::Style;
use crate::control::client::Client;
use crate::control::doctor::diagnose::diagnose;
use crate::control::doctor::examine::{self, examine};
use crate::control::doctor::facts::{Facts, PeerFacts, label};
use crate::control::doctor::finding::{Finding, Severity};
use crate::control::endpoint::endpoint_text;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The interface to examine.
    interface: OsString,
    /// Print JSON; docs/doctor.md says which keys there are.
    #[arg(long)]
    json: bool,
    /// Say what is known already: send no ping through the tunnel, and watch no interface for an answer.
    #[arg(long)]
    passive: bool,
    /// The configuration file, for names of endpoints that the daemon does not follow; default: /etc/wireguard/INTERFACE.conf, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<(), Failure> {
    let options = examine::Options { config: arguments.config.clone(), is_passive: arguments.passive };
    let facts = examine(&arguments.interface, client, &options)?;
    let findings = diagnose(&facts);
    let out = &mut io::stdout().lock();
    if arguments.json {
        write_json(&facts, &findings, out)?;
    } else {
        write_text(Style::of_output(), &facts, &findings, out)?;
    }
    if is_well(&findings) { Ok(()) } else { Err(Failure::Unwell) }
}

fn is_well(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity == Severity::Note)
}

fn write_text(style: Style, facts: &Facts, findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    let Style { reset, bold, red, green, yellow, cyan } = style;
    let name = &facts.interface;
    for finding in findings {
        let (colour, word) = match finding.severity {
            Severity::Wrong => (red, "wrong"),
            Severity::Slow => (yellow, "slow"),
            Severity::Note => (cyan, "note"),
        };
        let whose = finding.peer.as_deref().map(|key| format!("peer {}: ", label(finding.name.as_deref(), key)));
        let whose = whose.unwrap_or_default();
        let Finding { says, fact, mend, .. } = finding;
        writeln!(out, "{bold}{name}{reset}: {colour}{word}{reset}: {whose}{says}: {fact}")?;
        writeln!(out, "    {bold}mend{reset}: {mend}")?;
    }
    if is_well(findings) {
        writeln!(out, "{bold}{name}{reset}: {green}all is well{reset}: {}", summary(facts))?;
        for peer in &facts.peers {
            writeln!(out, "    peer {}: {}", peer.label(), state(peer))?;
        }
    }
    Ok(())
}

fn summary(facts: &Facts) -> String {
    let connected = facts.peers.iter().filter(|peer| peer.is_connected()).count();
    let mtu = facts.link.map_or(String::new(), |link| format!(", MTU {}", link.mtu));
    let peers = if facts.peers.len() == 1 { "peer" } else { "peers" };
    format!("{connected} of {} {peers} in session, UDP port {}{mtu}", facts.peers.len(), facts.listen_port)
}

fn state(peer: &PeerFacts) -> String {
    let endpoint = peer.endpoint.map_or("no endpoint yet".to_owned(), endpoint_text);
    let session = match peer.since_handshake() {
        Some(age) if peer.is_connected() => format!("a handshake {} s ago", age.as_secs()),
        Some(_) => "idle; a packet for it begins a new session".to_owned(),
        None => "it has not called, and nothing was sent to it".to_owned(),
    };
    let ping = peer.probe.filter(|probe| probe.answers);
    let ping = ping.map_or(String::new(), |probe| format!(", {} answers in full length", probe.address));
    format!("{endpoint}, {session}{ping}")
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    interface: &'a str,
    is_well: bool,
    findings: &'a [Finding],
}

/// The number of the set of keys: it grows when a key goes or changes its meaning, not when one is added.
const VERSION: u32 = 1;

fn write_json(facts: &Facts, findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    let document = Document { version: VERSION, interface: &facts.interface, is_well: is_well(findings), findings };
    serde_json::to_writer(&mut *out, &document)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::doctor::finding::Cause;

    const PLAIN: Style = Style { reset: "", bold: "", red: "", green: "", yellow: "", cyan: "" };

    fn findings() -> Vec<Finding> {
        let (peer, cause) = (Some("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=".to_owned()), Cause::MtuHole);
        let [says, fact, mend] = ["says", "fact", "mend"].map(str::to_owned);
        vec![Finding { cause, severity: Severity::Wrong, peer, name: None, says, fact, mend }]
    }

    fn text(findings: &[Finding]) -> String {
        let facts = Facts { interface: "wg0".to_owned(), listen_port: 7, ..Facts::default() };
        let mut out = Vec::new();
        write_text(PLAIN, &facts, findings, &mut out).expect("memory");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_finding_is_a_line_and_what_mends_it_another() {
        assert_eq!(text(&findings()), "wg0: wrong: peer AQEBAQEB…: says: fact\n    mend: mend\n");
    }

    #[test]
    fn a_note_is_no_fault() {
        assert_eq!(text(&[]), "wg0: all is well: 0 of 0 peers in session, UDP port 7\n");
        let note = findings().into_iter().map(|finding| Finding { severity: Severity::Note, ..finding });
        let note: Vec<_> = note.collect();
        assert!(is_well(&note) && text(&note).contains("wg0: note: ") && text(&note).contains("all is well"));
        assert!(!is_well(&findings()));
    }

    #[test]
    fn the_keys_are_those_of_the_documentation() {
        let mut out = Vec::new();
        let facts = Facts { interface: "wg0".to_owned(), ..Facts::default() };
        write_json(&facts, &findings(), &mut out).expect("memory");
        let document: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        let expected = serde_json::json!({"version": 1, "interface": "wg0", "is_well": false, "findings": [{
            "cause": "mtu-hole", "severity": "wrong", "peer": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
            "name": null, "says": "says", "fact": "fact", "mend": "mend"}]});
        assert_eq!(document, expected);
    }
}
