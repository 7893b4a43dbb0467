//! Numbers in few columns.

use std::time::Duration;

/// `12.3M`: bits per second of `bytes` per second, in at most five columns.
pub(super) fn bits(bytes: u64) -> String {
    scaled(bytes.saturating_mul(8) as f64)
}

/// `12.3k`: a number in at most five columns; powers of 1,000.
pub(super) fn count(number: u64) -> String {
    scaled(number as f64)
}

fn scaled(mut number: f64) -> String {
    let mut unit = "";
    for next in ["k", "M", "G", "T", "P"] {
        if number < 999.5 {
            break;
        }
        number /= 1000.0;
        unit = next;
    }
    if unit.is_empty() || number >= 99.95 { format!("{number:.0}{unit}") } else { format!("{number:.1}{unit}") }
}

/// `1.23 GiB`, as `rvpn show` has it.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|&(size, _): &(u64, _)| bytes >= size) {
        Some((size, unit)) => format!("{:.2} {unit}", bytes as f64 / size as f64),
        None => format!("{bytes} B"),
    }
}

/// `42s`, `3m07`, `5h02`, `3d04`: an age in at most five columns.
pub(super) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}", seconds / 3_600, seconds % 3_600 / 60),
        86_400..8_640_000 => format!("{}d{:02}", seconds / 86_400, seconds % 86_400 / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `1.23 ms`: a round trip.
pub(super) fn round_trip(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.2} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

/// A bar for each of the newest `width` rates, the highest of them full. Below `least` nothing looks high.
pub(super) fn sparkline<'a>(rates: impl DoubleEndedIterator<Item = &'a u64>, width: usize, least: u64) -> String {
    let newest: Vec<u64> = rates.rev().take(width).copied().collect();
    let highest = newest.iter().copied().max().unwrap_or_default().max(least);
    let bar = |&rate: &u64| match rate {
        0 => ' ',
        rate => BARS[((rate as f64 / highest as f64 * 8.0).ceil() as usize).clamp(1, 8) - 1],
    };
    let bars: String = newest.iter().rev().map(bar).collect();
    format!("{bars:>width$}")
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_five_columns_at_most() {
        for (bytes, text) in [
            (0, "0"),
            (124, "992"),
            (125, "1.0k"),
            (12_493, "99.9k"),
            (12_499, "100k"),
            (124_999, "1.0M"),
            (1_250_000_000, "10.0G"),
        ] {
            assert_eq!(bits(bytes), text, "{bytes}");
        }
        let most = [count(u64::MAX), bits(u64::MAX), count(999_499), count(999_500)];
        assert!(most.iter().all(|text| text.len() <= 6), "{most:?}");
    }

    #[test]
    fn an_age_has_five_columns_at_most() {
        let at = |seconds| age(Duration::from_secs(seconds));
        assert_eq!((at(0), at(59), at(60)), ("0s".into(), "59s".into(), "1m00".into()));
        assert_eq!((at(3_599), at(3_600), at(86_399)), ("59m59".into(), "1h00".into(), "23h59".into()));
        assert_eq!((at(86_400), at(9_000_000)), ("1d00".into(), "104d".into()));
    }

    #[test]
    fn a_sparkline_ends_with_the_newest_and_is_as_wide_as_it_should_be() {
        assert_eq!(sparkline([1, 0, 4, 8].iter(), 3, 0), " ▄█");
        assert_eq!(sparkline([1].iter(), 3, 8), "  ▁");
        assert_eq!(sparkline([].iter(), 2, 1), "  ");
        assert_eq!(sparkline([u64::MAX, 1].iter(), 2, 1), "█▁");
    }
}
