//! The replay window against a set of all counters it ever accepted.

use std::collections::HashSet;

use arbitrary::Unstructured;
use rvpn::proto::constants::REJECT_AFTER_MESSAGES;
use rvpn::proto::replay::ReplayWindow;

/// Counters behind the highest that must be told apart: 8192 bits less a word.
const WINDOW: u64 = 8128;

/// Offers counters, most of them near the highest accepted one.
pub fn run(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let mut window = ReplayWindow::new();
    let mut seen = HashSet::new();
    let mut highest = 0;
    while !input.is_empty() {
        let counter = counter(&mut input, highest).expect("no input is too short");
        let behind = highest > counter && highest - counter > WINDOW;
        let expected = counter < REJECT_AFTER_MESSAGES && !behind && seen.insert(counter);
        assert_eq!(window.accept(counter), expected, "counter {counter}, highest {highest}");
        if expected {
            highest = highest.max(counter);
        }
    }
}

fn counter(input: &mut Unstructured<'_>, highest: u64) -> arbitrary::Result<u64> {
    Ok(match input.arbitrary::<u8>()? {
        step @ 0..=63 => highest.saturating_add(step.into()),
        step @ 64..=127 => highest.saturating_sub(u64::from(step) - 64),
        128..=159 => highest.saturating_add(input.arbitrary::<u16>()?.into()),
        160..=191 => highest.saturating_sub(input.arbitrary::<u16>()?.into()),
        // The edges: of the window, of a word, of all counters.
        step @ 192..=223 => highest.saturating_sub(WINDOW + 16 - u64::from(step - 192)),
        step @ 224..=239 => (REJECT_AFTER_MESSAGES - 8).saturating_add(u64::from(step) - 224),
        _ => input.arbitrary()?,
    })
}
