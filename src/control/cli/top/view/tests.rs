//! Pictures, at the sizes that people have.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyCode};
use ratatui::style::Color;

use super::*;
use crate::control::cli::top::figures::Sample;
use crate::control::cli::top::keys;
use crate::control::cli::top::state::tests::{peer, sample};

fn picture(state: &mut State, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("memory");
    terminal.draw(|frame| draw(frame, state)).expect("memory");
    let buffer = terminal.backend().buffer();
    buffer.content.chunks(usize::from(width)).map(|line| line.iter().map(|cell| cell.symbol()).collect()).collect()
}

fn three(seconds: u64) -> Sample {
    sample(
        seconds,
        &[
            (
                "wg0",
                vec![
                    peer(1, "laptop", 1_500_000 * seconds, 40_000 * seconds, Some(42)),
                    peer(2, "a name that is longer than its column", 0, 18 * seconds, Some(7_322)),
                    peer(3, "", 0, 0, None),
                ],
            ),
            ("wg1", vec![]),
        ],
    )
}

fn state() -> State {
    let mut state = State::new(None, true);
    (0..20).for_each(|second| state.take(three(second)));
    state
}

fn press(state: &mut State, code: KeyCode) -> bool {
    keys::act(state, &Event::Key(code.into()))
}

#[test]
fn eighty_columns_hold_all_that_matters() {
    let lines = picture(&mut state(), 80, 24);
    assert_eq!(lines.len(), 24);
    assert!(lines[0].starts_with(" wg0   wg1 "), "{}", lines[0]);
    assert!(lines[0].contains("1 of 3 connected  ▼ 12.0M ▲  320k bit/s"), "{}", lines[0]);
    assert!(lines[1].contains("PEER") && lines[1].contains("RECEIVED bit/s▼") && lines[1].contains("ENDPOINT"));
    assert_eq!(lines[2], "● laptop        42s ████████  12.0M ████████   320k     0 192.0.2.1:51820       ");
    assert!(lines[3].starts_with("○ a name that  2h02          "), "{}", lines[3]);
    assert!(lines[4].starts_with("○ AwMDAwMDAwM never          "), "{}", lines[4]);
    let text = lines.join("\n");
    for part in [
        " laptop ─",
        "public key   AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
        "allowed IPs  10.0.0.1/32",
        "handshake    42s ago",
        "received     27.18 MiB in 0 packets",
        "dropped      nothing",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(
        lines[23].starts_with(" q quit  / filter  s by received  r reverse  Enter details  p pause  Tab next"),
        "{}",
        lines[23]
    );
}

#[test]
fn a_large_terminal_has_graphs() {
    let lines = picture(&mut state(), 160, 50);
    let text = lines.join("\n");
    assert!(text.contains("received, at most 12.0 Mbit/s") && text.contains("sent, at most 320 kbit/s"), "{text}");
    assert!(text.contains("a name that is longer than its column"), "{text}");
}

#[test]
fn no_size_is_too_small_and_no_state_too_empty() {
    for (width, height) in [(1, 1), (1, 50), (10, 3), (40, 10), (79, 15), (300, 100)] {
        picture(&mut state(), width, height);
        picture(&mut State::new(None, false), width, height);
    }
    let mut state = State::new(None, false);
    assert!(picture(&mut state, 80, 24).join("").contains("asking…"));
    state.take(sample(0, &[]));
    assert!(picture(&mut state, 80, 24).join("").contains("there is no WireGuard interface"));
    state.take(Sample { interfaces: vec![("wg0".to_owned(), Err("refused".to_owned()))], ..sample(1, &[]) });
    assert!(picture(&mut state, 80, 24).join("").contains("refused"));
    state.take(sample(2, &[("wg0", vec![])]));
    assert!(picture(&mut state, 80, 24).join("").contains("no peers"));
}

#[test]
fn what_is_chosen_can_be_seen_among_many() {
    let mut state = State::new(None, false);
    let peers: Vec<_> = (0..200).map(|n| peer(n, "", 0, 0, None)).collect();
    state.take(sample(0, &[("wg0", peers)]));
    picture(&mut state, 80, 24);
    for (key, endpoint) in
        [(KeyCode::End, "192.0.2.199:"), (KeyCode::PageUp, "192.0.2.186:"), (KeyCode::Home, "192.0.2.0:")]
    {
        press(&mut state, key);
        let lines = picture(&mut state, 80, 24);
        let table = &lines[2..15];
        assert!(table.iter().any(|line| line.contains(endpoint)), "{endpoint} in\n{}", table.join("\n"));
        assert!(lines[15..].join("").contains(endpoint), "its details");
    }
    assert_eq!(state.seen()[0].1.len(), 13, "as many as rows");
}

#[test]
fn keys_do_what_the_last_line_says() {
    let mut state = state();
    press(&mut state, KeyCode::Char('/'));
    for letter in "wobble".chars() {
        assert!(!press(&mut state, KeyCode::Char(letter)), "a letter, not a command");
    }
    let lines = picture(&mut state, 80, 24);
    assert!(lines[23].starts_with(" / wobble▏  0 found"), "{}", lines[23]);
    assert!(lines.join("").contains("no peer has `wobble` in it"));
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char('p'));
    press(&mut state, KeyCode::Char('s'));
    press(&mut state, KeyCode::Enter);
    let lines = picture(&mut state, 80, 24);
    assert!(lines[0].contains("PAUSED") && lines[1].contains("SENT bit/s▼") && !lines.join("").contains("public key"));
    press(&mut state, KeyCode::Tab);
    assert!(picture(&mut state, 80, 24).join("").contains("no peers"));
    assert!(press(&mut state, KeyCode::Char('q')));
    assert!(keys::act(
        &mut state,
        &Event::Key(ratatui::crossterm::event::KeyEvent::new(
            KeyCode::Char('c'),
            ratatui::crossterm::event::KeyModifiers::CONTROL,
        ))
    ));
}

#[test]
fn without_colours_there_are_none() {
    let mut state = state();
    state.has_colours = false;
    let mut terminal = Terminal::new(TestBackend::new(160, 50)).expect("memory");
    terminal.draw(|frame| draw(frame, &mut state)).expect("memory");
    let cells = &terminal.backend().buffer().content;
    assert!(cells.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
}
