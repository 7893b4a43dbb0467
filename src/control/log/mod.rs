//! The log: as much as `LOG_LEVEL` asks for, in the form that `LOG_FORMAT` asks for.
//!
//! ```text
//!   event ──► level ──► limit ──┬──► text or JSON, a line on standard error
//!                               └──► the journal of systemd, with fields
//! ```
//! `verbose` or `debug`, `error` (the default) and `silent` are the levels of wireguard-go. Fields beside the text
//! (`peer`, `event`, `endpoint`) are for programs: the text has them in words. No key is ever among them but a public one.
//!
//! Not here: what is logged; limits of one place that the network can reach, which belong to that place.
//!
//! Source: systemd.exec(5) for JOURNAL_STREAM, systemd.journal-fields(7).

mod json;
mod limit;

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

use self::json::JsonLine;
use self::limit::LIMIT;
pub use self::limit::tell_left_out;

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Every handshake, roaming, change of configuration.
    Verbose,
    /// What needs an operator.
    #[default]
    Error,
    /// Nothing.
    Silent,
}

/// In which form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// [`Format::Journal`] if standard error is connected to it, else [`Format::Text`].
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// Lines of JSON.
    Json,
    /// Entries of systemd's journal.
    Journal,
}

impl Level {
    /// Reads the value of `LOG_LEVEL`; what is not known counts as [`Level::Error`], as in wireguard-go.
    pub fn parse(value: Option<&OsStr>) -> Self {
        match value.and_then(OsStr::to_str) {
            Some("verbose" | "debug") => Self::Verbose,
            Some("silent") => Self::Silent,
            _ => Self::Error,
        }
    }

    const fn filter(self) -> LevelFilter {
        match self {
            Self::Verbose => LevelFilter::DEBUG,
            Self::Error => LevelFilter::ERROR,
            Self::Silent => LevelFilter::OFF,
        }
    }
}

impl Format {
    /// Reads the value of `LOG_FORMAT`; `None` if it is none.
    pub fn parse(value: &OsStr) -> Option<Self> {
        match value.to_str()? {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            "journal" => Some(Self::Journal),
            _ => None,
        }
    }

    /// Settles [`Format::Auto`] by what `JOURNAL_STREAM` was for whoever opened standard error: the journal, if that is it.
    #[must_use]
    pub fn settled(self, stream: Option<&OsStr>) -> Self {
        if self == Self::Auto && is_journal(stream) { Self::Journal } else { self }
    }
}

/// The variable for [`Level`].
pub const LOG_LEVEL: &str = "LOG_LEVEL";
/// The variable for [`Format`].
pub const LOG_FORMAT: &str = "LOG_FORMAT";

/// Begins the log of the whole process, which is about `interface`; a second call changes nothing. A journal that cannot be
/// reached is standard error.
pub fn start(level: Level, format: Format, interface: &str) {
    let registry = Registry::default().with(level.filter()).with(&LIMIT);
    let is_journal = format.settled(std::env::var_os(JOURNAL_STREAM).as_deref()) == Format::Journal;
    // Fails only if there is a subscriber already, which then stays.
    let _ = match is_journal.then(tracing_journald::layer) {
        Some(Ok(journal)) => {
            let journal = journal
                .with_syslog_identifier("rvpn".to_owned())
                .with_field_prefix(Some("RVPN".to_owned()))
                .with_custom_fields([("RVPN_INTERFACE", interface)]);
            tracing::subscriber::set_global_default(registry.with(journal))
        }
        _ if format == Format::Json => {
            tracing::subscriber::set_global_default(registry.with(json(interface, io::stderr)))
        }
        _ => tracing::subscriber::set_global_default(registry.with(text(io::stderr))),
    };
}

/// Tells whether standard error is the stream that `JOURNAL_STREAM` names: device and inode. It is inherited by
/// processes whose standard error is something else.
fn is_journal(stream: Option<&OsStr>) -> bool {
    let named = || {
        let (device, inode) = stream?.to_str()?.split_once(':')?;
        Some((device.parse().ok()?, inode.parse().ok()?))
    };
    let found = rustix::fs::fstat(io::stderr()).map(|found| (found.st_dev, found.st_ino));
    named().is_some_and(|named: (u64, u64)| found.is_ok_and(|found| found == named))
}

fn text<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> fmt::MakeWriter<'writer> + 'static,
{
    fmt::layer()
        .with_writer(writer)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        // The text says all that the fields say.
        .fmt_fields(debug_fn(|writer, field, value| match field.name() {
            "message" => write!(writer, "{value:?}"),
            _ => Ok(()),
        }))
        // A log that cannot be written must not end the tunnel: reporting that panics when standard error is gone.
        .log_internal_errors(false)
}

fn json<S, W>(interface: &str, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> fmt::MakeWriter<'writer> + 'static,
{
    fmt::layer().with_writer(writer).event_format(JsonLine::new(interface)).log_internal_errors(false)
}

/// Where the journal says which stream is its own.
pub const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

#[cfg(test)]
pub(in crate::control) mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use serde_json::{Value, json};
    use tracing::subscriber::{DefaultGuard, set_default, with_default};

    use super::*;

    #[test]
    fn the_levels_of_wireguard_go_are_understood() {
        let level = |value: &str| Level::parse(Some(value.as_ref()));
        assert_eq!(level("verbose"), Level::Verbose);
        assert_eq!(level("debug"), Level::Verbose);
        assert_eq!(level("error"), Level::Error);
        assert_eq!(level("silent"), Level::Silent);
        assert_eq!(level("loud"), Level::Error);
        assert_eq!(Level::parse(None), Level::Error);
    }

    #[test]
    fn a_stream_is_the_journal_if_standard_error_is_that_stream() {
        let found = rustix::fs::fstat(io::stderr()).expect("open");
        let named = |device, inode| is_journal(Some(format!("{device}:{inode}").as_ref()));
        assert!(named(found.st_dev, found.st_ino));
        assert!(!named(found.st_dev, found.st_ino + 1) && !named(found.st_dev + 1, found.st_ino));
        for nonsense in ["", ":", "1", "x:y"] {
            assert!(!is_journal(Some(nonsense.as_ref())), "{nonsense}");
        }
        assert!(!is_journal(None));
    }

    /// What is written while `log` runs, through the layer that `make` makes.
    fn written<L: Layer<Registry> + Send + Sync>(
        make: impl FnOnce(Arc<Mutex<Vec<u8>>>) -> L,
        log: impl FnOnce(),
    ) -> String {
        let out = Arc::new(Mutex::new(Vec::new()));
        with_default(Registry::default().with(make(Arc::clone(&out))), log);
        let bytes = out.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// What is logged on this thread for as long as it is there.
    pub(in crate::control) struct Captured {
        out: Arc<Mutex<Vec<u8>>>,
        _guard: DefaultGuard,
    }

    impl Captured {
        pub(in crate::control) fn new() -> Self {
            let out = Arc::default();
            let layer = text(Writer(Arc::clone(&out))).with_filter(LevelFilter::WARN);
            Self { out, _guard: set_default(Registry::default().with(layer)) }
        }

        pub(in crate::control) fn text(&self) -> String {
            String::from_utf8(self.out.lock().expect("no panic").clone()).expect("UTF-8")
        }

        /// Lets other tasks run until this is logged.
        pub(in crate::control) async fn wait_for(&self, told: &str) {
            let wait = async {
                while !self.text().contains(told) {
                    tokio::task::yield_now().await;
                }
            };
            let outcome = tokio::time::timeout(Duration::from_secs(30), wait).await;
            outcome.unwrap_or_else(|_| panic!("`{told}` is not in the log: {}", self.text()));
        }
    }

    fn one() {
        tracing::warn!(peer = "KEY=", event = "added", endpoint = None::<&str>, "Peer {} added", "a \"b\"");
    }

    #[test]
    fn people_read_the_text_alone() {
        let line = written(|out| text(Writer(out)), one);
        assert!(line.ends_with(" WARN Peer a \"b\" added\n"), "{line}");
    }

    #[test]
    fn programs_read_the_fields_too() {
        let line = written(|out| super::json("wg0", Writer(out)), one);
        let mut value: Value = serde_json::from_str(&line).expect("JSON");
        let time = value.as_object_mut().expect("an object").remove("time").expect("a time");
        assert!(time.as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')), "{time}");
        let expected = json!({"level": "warn", "interface": "wg0", "message": "Peer a \"b\" added", "peer": "KEY=",
                              "event": "added"});
        assert_eq!(value, expected);
        assert_eq!(line.lines().count(), 1);
    }

    #[derive(Clone)]
    struct Writer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Writer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl fmt::MakeWriter<'_> for Writer {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }
}
