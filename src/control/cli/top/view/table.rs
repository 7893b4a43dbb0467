//! The table of peers.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::Ink;
use crate::control::cli::top::rates::History;
use crate::control::cli::top::state::{Order, Row, State};
use crate::control::cli::top::text;

/// Draws the heading and `rows`, of which one is chosen.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, rows: &[Row<'_>], chosen: usize, ink: Ink) {
    let columns = Columns::of(area.width);
    let heading = |order: Order, text: &str| {
        let arrow = if state.is_reversed { "▲" } else { "▼" };
        if state.order == order { format!("{text}{arrow}") } else { text.to_owned() }
    };
    let style = ink.dim().add_modifier(Modifier::UNDERLINED);
    let line = Rect { height: 1, ..area };
    frame.buffer_mut().set_style(line, style);
    columns.put(
        frame,
        line,
        [
            Line::raw(heading(Order::Name, "  PEER")),
            Line::raw(heading(Order::Handshake, "SEEN")).right_aligned(),
            Line::raw(heading(Order::Received, "RECEIVED bit/s")).right_aligned(),
            Line::raw(heading(Order::Sent, "SENT bit/s")).right_aligned(),
            Line::raw(heading(Order::Lost, "LOST")).right_aligned(),
            Line::raw(heading(Order::Endpoint, "ENDPOINT")),
        ],
    );
    for (index, row) in rows.iter().enumerate() {
        let line = Rect { y: area.y + 1 + index as u16, height: 1, ..area };
        let default = History::default();
        let history = row.history.unwrap_or(&default);
        let (received, sent) = history.now();
        let age = row.handshake_age(state.sample.wall);
        let mark = if age.is_some_and(super::is_connected) { "● " } else { "○ " };
        let lost = match history.lost() {
            Some(0) => Span::styled("0", ink.dim()),
            Some(lost) => Span::styled(text::count(lost), ink.bad()),
            None => Span::styled("–", ink.dim()),
        };
        let rate = |rates, rate, style: Style| {
            let bars = text::sparkline(rates, columns.bars, LEAST_RATE);
            let figure =
                Span::styled(format!(" {:>6}", text::bits(rate)), if rate == 0 { ink.dim() } else { Style::new() });
            Line::from(vec![Span::styled(bars, style), figure])
        };
        columns.put(
            frame,
            line,
            [
                Line::from(vec![Span::styled(mark, ink.state(row, state)), Span::raw(row.label())]),
                Line::styled(age.map_or("never".to_owned(), text::age), ink.state(row, state)).right_aligned(),
                rate(history.received.iter(), received, ink.received()),
                rate(history.sent.iter(), sent, ink.sent()),
                Line::from(lost).right_aligned(),
                Line::raw(row.peer.endpoint.as_str()),
            ],
        );
        if index == chosen {
            // Alone: bars in reverse look like others.
            let name = Rect { width: columns.peer, ..line };
            frame.buffer_mut().set_style(name, Style::reset().add_modifier(Modifier::REVERSED | Modifier::BOLD));
        }
    }
}

/// How wide each column is.
struct Columns {
    peer: u16,
    bars: usize,
    endpoint: u16,
}

impl Columns {
    /// What 80 columns leave over for names goes to names, bars and endpoints in turn.
    fn of(width: u16) -> Self {
        let spare = width.saturating_sub(80);
        let peer = 13 + (spare / 3).min(31);
        let endpoint = 21 + (spare / 4).min(26);
        let fixed = AGE + LOST + 2 * RATE + 5;
        let bars = width.saturating_sub(peer + endpoint + fixed) / 2;
        Self { peer, bars: usize::from(bars.max(4)), endpoint }
    }

    /// Writes a line of the table.
    fn put(&self, frame: &mut Frame<'_>, area: Rect, cells: [Line<'_>; 6]) {
        let rate = Constraint::Length(self.bars as u16 + RATE);
        let widths = [
            Constraint::Length(self.peer),
            Constraint::Length(AGE),
            rate,
            rate,
            Constraint::Length(LOST),
            Constraint::Min(self.endpoint),
        ];
        let areas: [Rect; 6] = Layout::horizontal(widths).spacing(1).areas(area);
        for (cell, area) in cells.into_iter().zip(areas) {
            frame.render_widget(cell, area);
        }
    }
}

const AGE: u16 = 5;
const LOST: u16 = 5;
/// A space and a number.
const RATE: u16 = 7;
/// In bytes per second: keepalives and the like are to look like nothing much.
const LEAST_RATE: u64 = 1_000;
