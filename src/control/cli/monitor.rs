//! `rvpn monitor`: what happens on an interface, as it happens, until the interface ends.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};

use rvpn_uapi::{Ask, Errno};

use super::failure::Failure;
use super::terminal::Style;
use crate::control::client::{Client, ClientError};
use crate::control::event_record::{MISSED, Record};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// An interface that rvpn runs.
    interface: OsString,
    /// Print a line of JSON for each event.
    #[arg(long)]
    json: bool,
}

/// Prints events until the daemon ends, which is a success.
pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<(), Failure> {
    let ask = Ask::new("events");
    let stream = client.open(&arguments.interface, &ask)?;
    let interface = arguments.interface.display().to_string();
    let failed = |source| ClientError::Socket { interface: interface.clone(), action: "read from", source };
    let mut lines = BufReader::new(&stream).lines();
    let mut next = || lines.next().transpose().map_err(failed);
    match next()?.as_deref() {
        Some("errno=0") => drop(next()?),
        answer => {
            let errno = answer.and_then(|line| line.strip_prefix("errno=")?.parse().ok()).and_then(Errno::new);
            return Err(match errno {
                Some(errno) if errno != Errno::NOT_SUPPORTED => ClientError::Refused { interface, errno },
                _ => ClientError::NotOurs { interface, word: ask.word },
            }
            .into());
        }
    }
    // Nothing may happen for days.
    stream.set_read_timeout(None).map_err(failed)?;
    let mut out = io::stdout().lock();
    let style = Style::of_output();
    while let Some(line) = next()? {
        let Some(mut record) = Record::read(&line) else { continue };
        if arguments.json {
            record.interface = Some(interface.clone());
            let mut line = Vec::new();
            record.write(&mut line);
            out.write_all(&line)?;
        } else {
            writeln!(out, "{}", sentence(&record, style))?;
        }
        out.flush()?;
    }
    Ok(())
}

/// `2026-05-04 09:30:00  alice (8S2k…)  connected, at 192.0.2.1:51820`
fn sentence(record: &Record, style: Style) -> String {
    let Style { reset, bold, red, green, yellow, .. } = style;
    let colour = match record.event.as_str() {
        "connected" | "added" => green,
        "silent" | "handshake-gave-up" | "removed" => yellow,
        "allowed-ip-stolen" | "private-key-removed" | MISSED => red,
        _ => "",
    };
    let end = if colour.is_empty() { "" } else { reset };
    let who = match &record.public_key {
        Some(_) => format!("{bold}{}{reset}", who(record.name.as_deref(), record.public_key.as_deref())),
        None => "interface".to_owned(),
    };
    format!("{}  {who}  {colour}{}{end}", clock(&record.time), what(record))
}

fn what(record: &Record) -> String {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "an unknown endpoint".to_owned());
    let port = |port: Option<u16>| port.unwrap_or_default();
    let (endpoint, before) = (known(&record.endpoint), known(&record.previous_endpoint));
    match record.event.as_str() {
        "connected" => format!("connected, at {endpoint}"),
        "silent" => format!("silent for 180 s, last at {endpoint}"),
        "roamed" => format!("roamed from {before} to {endpoint}"),
        "endpoint-changed" => format!("endpoint changed from {before} to {endpoint}"),
        "handshake-gave-up" => format!("no answer to 20 handshakes, sent to {endpoint}"),
        "allowed-ip-stolen" => {
            let other = who(record.other_name.as_deref(), record.other_public_key.as_deref());
            format!("lost allowed IP {} to {other}", record.allowed_ip.as_deref().unwrap_or_default())
        }
        "private-key-removed" => "private key removed: no handshake is possible".to_owned(),
        "listen-port-changed" => {
            format!("listen port changed from {} to {}", port(record.previous_listen_port), port(record.listen_port))
        }
        MISSED => format!("{} events missed: they came faster than they were read", record.count.unwrap_or_default()),
        other => other.to_owned(),
    }
}

/// The name and the beginning of the key, or the key.
fn who(name: Option<&str>, key: Option<&str>) -> String {
    let key = key.unwrap_or("unknown");
    match name {
        Some(name) => format!("{name} ({}…)", key.chars().take(8).collect::<String>()),
        None => key.to_owned(),
    }
}

/// A time for people: without fraction and letters, still in UTC.
fn clock(time: &str) -> String {
    time.split(['.', 'Z']).next().unwrap_or_default().replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(record: Record) -> String {
        let time = "2026-05-04T09:30:00.123456789Z".to_owned();
        sentence(&Record { time, ..record }, Style::PLAIN)
    }

    #[test]
    fn a_person_reads_when_who_what_and_where() {
        let text = |text: &str| Some(text.to_owned());
        let alice = || Record { name: text("alice"), public_key: text("8S2kAAAABBBB="), ..Record::default() };
        let connected = Record { event: "connected".to_owned(), endpoint: text("192.0.2.1:51820"), ..alice() };
        assert_eq!(said(connected), "2026-05-04 09:30:00  alice (8S2kAAAA…)  connected, at 192.0.2.1:51820");
        let stolen = Record {
            event: "allowed-ip-stolen".to_owned(),
            name: None,
            allowed_ip: text("10.0.0.0/24"),
            other_name: text("bob"),
            other_public_key: text("Q9Y0AAAA="),
            ..alice()
        };
        let expected = "2026-05-04 09:30:00  8S2kAAAABBBB=  lost allowed IP 10.0.0.0/24 to bob (Q9Y0AAAA…)";
        assert_eq!(said(stolen), expected);
        let missed = Record { event: MISSED.to_owned(), count: Some(7), ..Record::default() };
        assert_eq!(
            said(missed),
            "2026-05-04 09:30:00  interface  7 events missed: they came faster than they were read"
        );
        let newer = Record { event: "enlightened".to_owned(), ..alice() };
        assert_eq!(said(newer), "2026-05-04 09:30:00  alice (8S2kAAAA…)  enlightened", "of a newer daemon");
    }
}
