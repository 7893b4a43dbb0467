//! Requests for metrics, as anybody may write them who reaches the address: HTTP.

use rvpn::control::metrics::http::{Request, parse};

/// Reads the bytes as they grow. What is decided at one length stands at every other, so that pieces of any size are
/// answered the same; and what is answered with metrics has asked for them, by another reading.
pub fn run(bytes: &[u8]) {
    let whole = parse(bytes);
    for len in 0..bytes.len() {
        if let Some(before) = parse(&bytes[..len]) {
            assert_eq!(Some(before), whole, "{len} of {} bytes say something else", bytes.len());
        }
    }
    match whole {
        Some(Request::Metrics { chunked, head_only, .. }) => {
            let text = String::from_utf8_lossy(bytes);
            let mut words = text.trim_start_matches(['\r', '\n']).lines().next().unwrap_or_default().split(' ');
            let method = words.next().unwrap_or_default();
            let path = words.find(|word| !word.is_empty()).unwrap_or_default();
            let version = words.rfind(|word| !word.is_empty()).unwrap_or_default();
            assert_eq!(method, if head_only { "HEAD" } else { "GET" });
            assert_eq!(path.split('?').next(), Some("/metrics"));
            assert_eq!(version, if chunked { "HTTP/1.1" } else { "HTTP/1.0" });
            assert!(text.contains("\n\r\n") || text.contains("\n\n"), "the head has not come to its end");
        }
        Some(Request::Refused(status)) => {
            assert!(["400 ", "404 ", "405 ", "431 "].iter().any(|code| status.starts_with(code)), "{status}");
        }
        None => {}
    }
}
