//! The text of metrics, in the two formats that their readers ask for.
//!
//! ```text
//!                  OpenMetrics                                    Prometheus text 0.0.4
//!   # TYPE         rvpn_peer_receive_bytes counter                rvpn_peer_receive_bytes_total counter
//!   # UNIT         rvpn_peer_receive_bytes bytes                  (none)
//!   a sample       rvpn_peer_receive_bytes_total{…} 42            the same
//!   the end        # EOF                                          (none)
//! ```
//! The second is what promtool(1) checks and what most other readers understand.
//!
//! Not here: which metrics there are (see `families`).
//!
//! Source: <https://prometheus.io/docs/specs/om/open_metrics_spec/>,
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write;
use std::time::Duration;

use super::Metrics;
use super::families::{Family, Kind, OF_DEVICE, OF_PEERS};
use crate::control::key_text;

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Prometheus,
}

impl Format {
    /// Returns its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A text that is made while it is sent.
#[derive(Debug)]
pub struct Text {
    metrics: Metrics,
    format: Format,
    /// The labels that name each peer.
    labels: Vec<String>,
    /// The family that comes next: first those of the device, then those of peers.
    family: usize,
    /// The peer that comes next within a family of peers.
    peer: usize,
    ended: bool,
}

impl Text {
    /// Begins.
    pub fn new(metrics: Metrics, format: Format) -> Self {
        let interface = escaped(&metrics.interface);
        let peers = metrics.device.peers.iter().map(|peer| {
            let key = key_text::encode(&peer.public_key.0);
            let mut labels = format!("interface=\"{interface}\",public_key=\"{}\"", *key);
            if let Some(name) = &peer.name {
                let _ = write!(labels, ",name=\"{}\"", escaped(name));
            }
            labels
        });
        let labels = peers.collect();
        Self { metrics, format, labels, family: 0, peer: 0, ended: false }
    }

    /// Appends pieces to `out` until it is about `len` bytes long or the text is at its end; false once nothing comes any
    /// more.
    pub fn fill(&mut self, out: &mut String, len: usize) -> bool {
        let before = out.len();
        while out.len() < len && !self.ended {
            self.step(out);
        }
        out.len() > before
    }

    /// Appends a family of the device, the lines of a peer, or the end.
    fn step(&mut self, out: &mut String) {
        if let Some((family, values)) = OF_DEVICE.get(self.family) {
            head(family, self.format, out);
            let labels = match family.name.starts_with("process_") {
                true => String::new(),
                false => format!("interface=\"{}\"", escaped(&self.metrics.interface)),
            };
            values(&self.metrics, &mut Samples { family, labels: &labels, out });
            self.family += 1;
        } else if let Some((family, values)) = OF_PEERS.get(self.family - OF_DEVICE.len()) {
            if self.peer == 0 {
                head(family, self.format, out);
            }
            if let (Some(peer), Some(labels)) = (self.metrics.device.peers.get(self.peer), self.labels.get(self.peer)) {
                values(peer, &mut Samples { family, labels, out });
                self.peer += 1;
            } else {
                (self.family, self.peer) = (self.family + 1, 0);
            }
        } else {
            if self.format == Format::OpenMetrics {
                out.push_str("# EOF\n");
            }
            self.ended = true;
        }
    }
}

fn head(family: &Family, format: Format, out: &mut String) {
    let Family { name, kind, unit, help } = family;
    let total = if *kind == Kind::Counter && format == Format::Prometheus { "_total" } else { "" };
    let _ = writeln!(out, "# HELP {name}{total} {help}");
    let _ = writeln!(out, "# TYPE {name}{total} {}", kind.as_str());
    if let (Some(unit), Format::OpenMetrics) = (unit, format) {
        let _ = writeln!(out, "# UNIT {name} {unit}");
    }
}

/// Where the samples of a family go, for one set of labels.
pub(super) struct Samples<'a> {
    family: &'a Family,
    labels: &'a str,
    out: &'a mut String,
}

impl Samples<'_> {
    /// Writes a number.
    pub(super) fn value(&mut self, value: impl Into<Value>) {
        self.line(self.suffix(), "", value.into());
    }

    /// Writes a number with one more label.
    pub(super) fn with(&mut self, label: &str, text: &str, value: impl Into<Value>) {
        self.line(self.suffix(), &format!("{label}=\"{}\"", escaped(text)), value.into());
    }

    /// Writes a number with two more labels.
    pub(super) fn with_two(&mut self, first: (&str, &str), second: (&str, &str), value: impl Into<Value>) {
        let more = format!("{}=\"{}\",{}=\"{}\"", first.0, escaped(first.1), second.0, escaped(second.1));
        self.line(self.suffix(), &more, value.into());
    }

    /// Writes a histogram: how many were up to each bound and above the one before, last how many were above all.
    pub(super) fn histogram(&mut self, bounds: &[Duration], counts: &[u64], sum: Duration) {
        let mut total = 0;
        for (n, count) in counts.iter().enumerate() {
            total += count;
            let bound = bounds.get(n).map_or("+Inf".to_owned(), |bound| format!("{:?}", bound.as_secs_f64()));
            self.line("_bucket", &format!("le=\"{bound}\""), Value::Count(total));
        }
        self.line("_sum", "", Value::Seconds(sum));
        self.line("_count", "", Value::Count(total));
    }

    fn suffix(&self) -> &'static str {
        if self.family.kind == Kind::Counter { "_total" } else { "" }
    }

    fn line(&mut self, suffix: &str, more: &str, value: Value) {
        let (name, labels) = (self.family.name, self.labels);
        let comma = if labels.is_empty() || more.is_empty() { "" } else { "," };
        let (open, close) = if labels.is_empty() && more.is_empty() { ("", "") } else { ("{", "}") };
        let _ = write!(self.out, "{name}{suffix}{open}{labels}{comma}{more}{close} ");
        let _ = match value {
            Value::Count(count) => writeln!(self.out, "{count}"),
            Value::Seconds(time) => writeln!(self.out, "{}", time.as_secs_f64()),
        };
    }
}

/// A number, as exact as it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Count(u64),
    Seconds(Duration),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<u32> for Value {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<bool> for Value {
    fn from(is_so: bool) -> Self {
        Self::Count(is_so.into())
    }
}

impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        Self::Seconds(time)
    }
}

/// Writes what would end or change a label's value otherwise.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
