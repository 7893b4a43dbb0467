//! The picture: a function of what is known and of the size of the terminal.
//!
//! ```text
//!   wg0 wg1                        port 51820   3 of 5 peers connected   ▼ 12.3M  ▲ 1.0M bit/s      title
//!    PEER  SEEN   RECEIVED bit/s …                                                                  table
//!    ● laptop 42s ▁▂▃▅▇ 12.3M …
//!   ── laptop ─────────────────────────────                                                         details
//!   q quit  / filter …                                                                              help
//! ```
//! Colours are the sixteen that each theme has, and none is needed to understand it.

mod details;
mod table;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::state::{Row, State};
use super::text;

/// Draws everything, and takes note of how much of the table can be seen.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let ink = Ink { has_colours: state.has_colours };
    let details = if state.shows_details { details::height(frame.area()) } else { 0 };
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(2),
        Constraint::Length(details),
        Constraint::Length(1),
    ]);
    let [title_area, table_area, details_area, help_area] = areas.areas(frame.area());

    let rows = state.peers();
    let chosen = state.chosen(&rows);
    // Below the heading.
    let visible = usize::from(table_area.height.saturating_sub(1));
    let first =
        state.first.max((chosen + 1).saturating_sub(visible)).min(chosen).min(rows.len().saturating_sub(visible));

    title(frame, title_area, state, ink);
    if let Some(message) = complaint(state, rows.is_empty()) {
        let area = Rect { y: table_area.y + 1, height: table_area.height - 1, ..table_area };
        frame.render_widget(Paragraph::new(message).alignment(Alignment::Center), area);
    } else {
        let shown = &rows[first..rows.len().min(first + visible)];
        table::draw(frame, table_area, state, shown, chosen - first, ink);
    }
    if details > 0
        && let Some(row) = rows.get(chosen)
    {
        details::draw(frame, details_area, state, row, ink);
    }
    help(frame, help_area, state, rows.len(), ink);
    (state.first, state.rows) = (first, visible);
}

/// What there is to say instead of a table.
fn complaint(state: &State, is_empty: bool) -> Option<String> {
    match state.interface() {
        None if state.sample.at == Default::default() => Some("asking…".to_owned()),
        None => Some(state.sample.fault.clone().unwrap_or_else(|| "there is no WireGuard interface".to_owned())),
        Some((_, _, Err(reason))) => Some(reason.to_owned()),
        Some(_) if is_empty && !state.filter.is_empty() => Some(format!("no peer has `{}` in it", state.filter)),
        Some(_) if is_empty => Some("no peers".to_owned()),
        Some(_) => None,
    }
}

fn title(frame: &mut Frame<'_>, area: Rect, state: &State, ink: Ink) {
    let mut names = Vec::new();
    let shown = state.interface();
    for (at, (name, _)) in state.sample.interfaces.iter().enumerate() {
        let is_shown = shown.is_some_and(|(shown, ..)| shown == at);
        let style = if is_shown { ink.title().add_modifier(Modifier::REVERSED) } else { ink.dim() };
        names.extend([Span::styled(format!(" {name} "), style), Span::raw(" ")]);
    }
    let mut facts = Vec::new();
    if let Some((_, _, Ok(figures))) = shown {
        let connected = figures.peers.iter().filter(|peer| {
            let age = peer.last_handshake.map(|time| state.sample.wall.saturating_sub(time));
            age.is_some_and(is_connected)
        });
        facts.push(Span::raw(format!("{} of {} connected  ", connected.count(), figures.peers.len())));
        if figures.more.as_ref().is_some_and(|more| more.is_under_load) {
            facts.push(Span::styled("UNDER LOAD ", ink.bad().add_modifier(Modifier::BOLD)));
        }
        let (received, sent) = state.totals();
        facts.push(Span::styled(format!("▼ {:>5} ", text::bits(received)), ink.received()));
        facts.push(Span::styled(format!("▲ {:>5} ", text::bits(sent)), ink.sent()));
        facts.push(Span::styled("bit/s", ink.dim()));
    }
    if state.is_paused {
        facts.push(Span::styled(" PAUSED", ink.bad().add_modifier(Modifier::BOLD)));
    }
    let facts = Line::from(facts);
    let areas = Layout::horizontal([Constraint::Min(0), Constraint::Length(facts.width() as u16 + 1)]);
    let [left, right] = areas.areas(area);
    frame.render_widget(Line::from(names), left);
    frame.render_widget(facts, right);
}

fn help(frame: &mut Frame<'_>, area: Rect, state: &State, rows: usize, ink: Ink) {
    let mut line = Vec::new();
    if state.is_typing {
        line.extend([Span::styled(" / ", ink.title()), Span::raw(state.filter.clone()), Span::raw("▏")]);
        line.push(Span::styled(format!("  {rows} found   Enter keep   Esc clear"), ink.dim()));
        return frame.render_widget(Line::from(line), area);
    }
    let filter = if state.filter.is_empty() { "filter".to_owned() } else { format!("filter: {}", state.filter) };
    let order = format!("by {}", state.order.word());
    let keys = [
        ("q", "quit"),
        ("/", filter.as_str()),
        ("s", order.as_str()),
        ("r", "reverse"),
        ("Enter", "details"),
        ("p", "pause"),
        ("Tab", "next"),
    ];
    for (key, what) in keys {
        // Of one interface there is no next one.
        if key != "Tab" || state.sample.interfaces.len() > 1 {
            line.extend([Span::styled(format!(" {key}"), ink.title()), Span::styled(format!(" {what} "), ink.dim())]);
        }
    }
    frame.render_widget(Line::from(line), area);
}

/// As the rest of this program means it: there was a handshake within three minutes.
fn is_connected(age: std::time::Duration) -> bool {
    age.as_secs() < 180
}

/// Styles; without colours what is left of them.
#[derive(Clone, Copy)]
struct Ink {
    has_colours: bool,
}

impl Ink {
    fn colour(self, colour: Color) -> Style {
        if self.has_colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn title(self) -> Style {
        Style::new().fg(Color::Reset).add_modifier(Modifier::BOLD)
    }

    fn dim(self) -> Style {
        self.colour(Color::DarkGray)
    }

    fn received(self) -> Style {
        self.colour(Color::Green)
    }

    /// Not blue, which is hard to read on black.
    fn sent(self) -> Style {
        self.colour(Color::Cyan)
    }

    fn bad(self) -> Style {
        self.colour(Color::Red)
    }

    fn doubtful(self) -> Style {
        self.colour(Color::Yellow)
    }

    /// By whether there was a handshake of late.
    fn state(self, row: &Row<'_>, state: &State) -> Style {
        match row.handshake_age(state.sample.wall) {
            Some(age) if is_connected(age) => self.received(),
            Some(_) => self.doubtful(),
            None => self.dim(),
        }
    }
}

#[cfg(test)]
mod tests;
