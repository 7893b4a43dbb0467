//! A line of the log as JSON: `time`, `level`, `interface`, `message`, and the fields of what is logged.
//!
//! The form of `tracing-subscriber` has no place for what all lines have in common, here the interface.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::control::calendar::rfc_3339;
use crate::dataplane::io::Clock;
use crate::platform::linux::LinuxClock;

/// The form of a line about one interface.
pub(super) struct JsonLine {
    interface: String,
}

impl JsonLine {
    pub(super) fn new(interface: &str) -> Self {
        Self { interface: interface.to_owned() }
    }
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = LinuxClock.wall();
        let mut line = Fields(Map::new());
        line.put("time", rfc_3339(Duration::new(now.secs, now.nanos)));
        line.put("level", event.metadata().level().as_str().to_lowercase());
        line.put("interface", self.interface.clone());
        event.record(&mut line);
        writeln!(writer, "{}", Value::Object(line.0))
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }
}
