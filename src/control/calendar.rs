//! Points in time as text for programs and people: RFC 3339, in UTC.
//!
//! Not here: local time, for which the rules of every government would have to be read.

use std::time::Duration;

/// Writes a time since the epoch as RFC 3339 has it, in UTC, with its fraction of a second if it has one.
///
/// The calendar is the proleptic Gregorian one; a year over 9999, which RFC 3339 does not have, has all its digits.
pub fn rfc_3339(time: Duration) -> String {
    let (days, second) = (time.as_secs() / 86_400, time.as_secs() % 86_400);
    // Years that begin in March have their leap day last. Era: 400 years, 146,097 days; the first began on 0000-03-01,
    // 719,468 days before the epoch.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 31, 30, 31, 30, 31 days, twice, and then the rest: 153 days in five of them.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year_of_era + next_year;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let fraction = match time.subsec_nanos() {
        0 => String::new(),
        nanos => format!(".{nanos:09}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let text = |seconds, nanos| rfc_3339(Duration::new(seconds, nanos));
        assert_eq!(text(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_400, 0), "2000-02-29T00:00:00Z");
        assert_eq!(text(951_868_799, 7), "2000-02-29T23:59:59.000000007Z");
        assert_eq!(text(1_709_164_800, 0), "2024-02-29T00:00:00Z");
        assert_eq!(text(1_735_689_599, 0), "2024-12-31T23:59:59Z");
        assert_eq!(text(4_107_542_400, 0), "2100-03-01T00:00:00Z");
        assert_eq!(text(253_402_300_799, 0), "9999-12-31T23:59:59Z");
        assert!(text(u64::MAX, 0).ends_with("Z"));
    }
}
