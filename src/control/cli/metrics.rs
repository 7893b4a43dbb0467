//! `rvpn metrics`: what a daemon counts, as text for Prometheus and its like.
//!
//! Not here: which metrics there are (`control::metrics`, docs/metrics.md); serving them over HTTP (`--metrics`).

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, BufWriter, Write};

use clap::ValueEnum;
use rvpn_uapi::Ask;

use super::failure::Failure;
use crate::control::client::{Client, ClientError};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The interface.
    interface: OsString,
    /// How the text is written.
    #[arg(long, default_value = "openmetrics")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// OpenMetrics 1.0.
    Openmetrics,
    /// Prometheus text 0.0.4, which `promtool check metrics` reads.
    Prometheus,
}

pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<(), Failure> {
    let format = match arguments.format {
        Format::Openmetrics => "openmetrics",
        Format::Prometheus => "prometheus",
    };
    let mut out = BufWriter::new(io::stdout().lock());
    read(client, &arguments.interface, &Ask::new("metrics").with("format", format), |line| {
        Ok::<_, Failure>(writeln!(out, "{line}")?)
    })?;
    Ok(out.flush()?)
}

/// Asks for metrics and hands over each line of the text.
///
/// # Errors
/// [`ClientError`], also if the text is cut off; what `each` fails with.
pub(super) fn read<E: From<ClientError>>(
    client: &Client,
    interface: &OsString,
    ask: &Ask,
    mut each: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let name = || interface.to_string_lossy().into_owned();
    for line in BufReader::new(client.open(interface, ask)?).lines() {
        let line = line.map_err(|source| ClientError::Socket { interface: name(), action: "read from", source })?;
        match line.strip_prefix("errno=") {
            Some("0") => return Ok(()),
            Some(_) => break,
            None => each(&line)?,
        }
    }
    Err(ClientError::NotOurs { interface: name(), word: ask.word.clone() }.into())
}
