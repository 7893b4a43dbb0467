//! What a daemon tells the commands and the process of its hook: events and testimony, lines of JSON. It is the one that
//! strangers talk to, so that it may be in the wrong hands; they run with more rights, and before a terminal.

use rvpn::control::doctor::testimony::Testimony;
use rvpn::control::event_record::Record;

/// A line is refused, or is written again and read the same; what it says can be shown.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        if let Some(record) = Record::read(line) {
            let optional = [
                &record.interface,
                &record.public_key,
                &record.name,
                &record.endpoint,
                &record.previous_endpoint,
                &record.allowed_ip,
                &record.other_public_key,
                &record.other_name,
            ];
            for text in optional.into_iter().flatten().chain([&record.time, &record.event]) {
                assert!(!text.contains(char::is_control), "it can be shown: {text:?}");
            }
            let mut written = Vec::new();
            record.write(&mut written);
            let written = String::from_utf8(written).expect("JSON is text");
            assert_eq!(written.find(char::is_control), Some(written.len() - 1), "it is one line: {written:?}");
            assert!(written.len() <= 10 * (256 * 6 + 40), "{} bytes", written.len());
            assert_eq!(Record::read(written.trim_end_matches('\n')), Some(record));
        }
        if let Some(said) = Testimony::read(line) {
            let written = serde_json::to_string(&said).expect("text and numbers");
            assert!(written.is_ascii() && !written.contains(char::is_control), "it can be shown: {written:?}");
            assert!(!written.contains(['\\', '$', '`', ';']), "it is no command of its own: {written:?}");
            assert_eq!(Testimony::read(&written), Some(said));
        }
    }
}
