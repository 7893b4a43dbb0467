//! `rvpn show --watch`: the same again and again, in the same place of a terminal.
//!
//! Source: ECMA-48, for the sequences.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::control::cli::failure::Failure;

/// Calls `show` every `interval` and writes what it made of it at once, so that nothing flickers.
///
/// # Errors
/// The first failure of `show`, or that of standard output.
pub(super) fn run(
    interval: Duration,
    mut show: impl FnMut(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let is_terminal = io::stdout().is_terminal();
    let mut picture = Vec::new();
    loop {
        picture.clear();
        show(&mut picture)?;
        let mut out = io::stdout().lock();
        if is_terminal {
            out.write_all(&over_the_last_one(&picture))?;
        } else {
            out.write_all(&picture)?;
        }
        out.flush()?;
        drop(out);
        wait(interval)?;
    }
}

/// Waits until it is time, or until nobody reads any more.
fn wait(interval: Duration) -> Result<(), Failure> {
    let timeout = Timespec { tv_sec: interval.as_secs() as _, tv_nsec: interval.subsec_nanos().into() };
    let out = io::stdout();
    // An error of the file is reported without being asked for.
    match poll(&mut [PollFd::new(&out, PollFlags::empty())], Some(&timeout)) {
        Ok(0) | Err(Errno::INTR) => Ok(()),
        Ok(_) => Err(Failure::Output(io::ErrorKind::BrokenPipe.into())),
        Err(error) => Err(Failure::Output(error.into())),
    }
}

/// From the first line of the screen on, each line up to its end, then nothing.
fn over_the_last_one(picture: &[u8]) -> Vec<u8> {
    let mut text = b"\x1b[H".to_vec();
    for line in picture.split_inclusive(|&byte| byte == b'\n') {
        text.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        text.extend_from_slice(b"\x1b[K\n");
    }
    text.extend_from_slice(b"\x1b[J");
    text
}

/// Reads a number of seconds, with or without a fraction.
pub(in crate::control::cli) fn interval(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or("expected seconds: 0.1 to 86400")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_covers_the_one_before() {
        assert_eq!(over_the_last_one(b"a\n\nb\n"), b"\x1b[Ha\x1b[K\n\x1b[K\nb\x1b[K\n\x1b[J");
    }

    #[test]
    fn intervals_are_not_too_short_to_read() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "x", "NaN", "inf", "1e9"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_shown_ends_it() {
        let failed = run(Duration::ZERO, |_| Err(Failure::NoneAccessible));
        assert!(matches!(failed, Err(Failure::NoneAccessible)));
    }
}
