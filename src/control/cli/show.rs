//! `rvpn show`: the state of one interface or all, for people, for scripts, as JSON, once or again and again.
//!
//! Not here: each of the forms.
//!
//! Source: wg(8), `show`.

mod fields;
mod json;
mod pretty;
mod watch;

use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use rvpn_uapi::DeviceStatus;

use self::fields::Field;
pub(super) use self::watch::interval;
use super::failure::Failure;
use super::tell;
use super::terminal::{Style, shows_keys};
use crate::control::client::Client;
use crate::dataplane::io::Clock;
use crate::platform::linux::LinuxClock;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The interface to show; `all` (as without it); `interfaces` for their names alone.
    interface: Option<OsString>,
    /// One thing about it, for scripts: a line for the interface or for each peer; `dump` is everything.
    field: Option<Field>,
    /// Print JSON; docs/json.md says which keys there are.
    #[arg(long, conflicts_with = "field")]
    json: bool,
    /// Show it again every SECONDS, until interrupted.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          value_parser = watch::interval)]
    watch: Option<Duration>,
}

pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<(), Failure> {
    match arguments.watch {
        None => once(arguments, client, &mut BufWriter::new(io::stdout().lock())),
        Some(interval) => watch::run(interval, |out| once(arguments, client, out)),
    }
}

fn once(arguments: &Arguments, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
    match arguments.interface.as_deref().and_then(OsStr::to_str) {
        Some("interfaces") => list(arguments, client, out),
        None if arguments.interface.is_none() => all(arguments, client, out),
        Some("all") => all(arguments, client, out),
        _ => one(arguments.interface.as_deref().unwrap_or_default(), arguments, client, out),
    }?;
    Ok(out.flush()?)
}

/// Names of interfaces on one line.
fn list(arguments: &Arguments, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
    if arguments.field.is_some() {
        let expected = "expected nothing after it: `all` shows a thing of every interface";
        return Err(Failure::Word { word: "`interfaces`".to_owned(), expected: expected.to_owned() });
    }
    let names = client.interfaces()?;
    if arguments.json {
        return Ok(json::write_names(&names, out)?);
    }
    if !names.is_empty() {
        writeln!(out, "{}", names.join(" "))?;
    }
    Ok(())
}

fn one(interface: &OsStr, arguments: &Arguments, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
    let status = client.status(interface)?;
    let name = interface.to_string_lossy();
    if arguments.json {
        return Ok(json::write(&[(name.into_owned(), status)], shows_keys(), out)?);
    }
    match arguments.field {
        Some(field) => field.write(&status, None, out)?,
        None => write_pretty(&name, &status, out)?,
    }
    Ok(())
}

/// Shows each interface that can be asked, and tells of the others.
fn all(arguments: &Arguments, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
    let names = client.interfaces()?;
    let mut shown = Vec::new();
    let mut is_any_shown = names.is_empty();
    let last = names.len().saturating_sub(1);
    for (index, name) in names.into_iter().enumerate() {
        let status = match client.status(name.as_ref()) {
            Ok(status) => status,
            Err(error) => {
                // What is shown stays in order with what is told.
                out.flush()?;
                tell(&error.to_string());
                continue;
            }
        };
        is_any_shown = true;
        if arguments.json {
            shown.push((name, status));
        } else if let Some(field) = arguments.field {
            field.write(&status, Some(&name), out)?;
        } else {
            write_pretty(&name, &status, out)?;
            if index < last {
                writeln!(out)?;
            }
        }
    }
    if arguments.json {
        json::write(&shown, shows_keys(), out)?;
    }
    if is_any_shown { Ok(()) } else { Err(Failure::NoneAccessible) }
}

fn write_pretty(name: &str, status: &DeviceStatus, out: &mut dyn Write) -> io::Result<()> {
    let view = pretty::View { style: Style::of_output(), shows_keys: shows_keys(), now: LinuxClock.wall().secs };
    view.write(name, status, out)
}
