//! What keys do.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::State;

/// Does what an event asks for; true if that is to end.
pub(super) fn act(state: &mut State, event: &Event) -> bool {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => press(state, *key),
        // A new size needs nothing but a new picture.
        _ => false,
    }
}

fn press(state: &mut State, key: KeyEvent) -> bool {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(key.code, KeyCode::Char('c' | 'd'));
    }
    if state.is_typing {
        match key.code {
            KeyCode::Enter => state.is_typing = false,
            KeyCode::Esc => (state.is_typing, state.filter) = (false, String::new()),
            KeyCode::Backspace => drop(state.filter.pop()),
            KeyCode::Char(letter) if state.filter.len() < LONGEST_FILTER => state.filter.push(letter),
            _ => {}
        }
        return false;
    }
    let page = state.rows.max(1).cast_signed();
    match key.code {
        KeyCode::Char('q') => return true,
        KeyCode::Esc if state.filter.is_empty() => return true,
        KeyCode::Esc => state.filter.clear(),
        KeyCode::Char('/') => state.is_typing = true,
        KeyCode::Char('s') => state.order = state.order.next(),
        KeyCode::Char('r') => state.is_reversed = !state.is_reversed,
        KeyCode::Char('p' | ' ') => state.is_paused = !state.is_paused,
        KeyCode::Enter | KeyCode::Char('d') => state.shows_details = !state.shows_details,
        KeyCode::Tab | KeyCode::Right => state.switch(1),
        KeyCode::BackTab | KeyCode::Left => state.switch(-1),
        KeyCode::Down | KeyCode::Char('j') => state.choose(1),
        KeyCode::Up | KeyCode::Char('k') => state.choose(-1),
        KeyCode::PageDown => state.choose(page),
        KeyCode::PageUp => state.choose(-page),
        KeyCode::End | KeyCode::Char('G') => state.choose(isize::MAX),
        KeyCode::Home | KeyCode::Char('g') => state.choose(isize::MIN),
        _ => {}
    }
    false
}

/// A key has 44 characters.
const LONGEST_FILTER: usize = 64;
