//! What is known of the peer that is chosen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Sparkline, Wrap};

use super::Ink;
use crate::control::cli::top::figures::MoreOfPeer;
use crate::control::cli::top::state::{Row, State};
use crate::control::cli::top::text;
use crate::control::key_text;

/// Returns how many lines the pane has in a terminal of this size: none if it is too small, more for graphs if it is
/// large.
pub(super) fn height(area: Rect) -> u16 {
    match area.height {
        ..16 => 0,
        16..36 => FACTS + 1,
        height => FACTS + 1 + (height / 4).min(14),
    }
}

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, row: &Row<'_>, ink: Ink) {
    let title = Line::from(vec![Span::raw(" "), Span::styled(row.label(), ink.title()), Span::raw(" ")]);
    let block = Block::new().borders(Borders::TOP).border_style(ink.dim()).title(title);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let [facts_area, graphs_area] = Layout::vertical([Constraint::Length(FACTS), Constraint::Min(0)]).areas(inside);
    frame.render_widget(Paragraph::new(facts(state, row, ink)).wrap(Wrap { trim: false }), facts_area);
    if graphs_area.height > 2
        && let Some(history) = row.history
    {
        let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).areas(graphs_area);
        graph(frame, left, "received", history.received.iter(), ink.received(), ink);
        graph(frame, right, "sent", history.sent.iter(), ink.sent(), ink);
    }
}

fn graph<'a>(
    frame: &mut Frame<'_>,
    area: Rect,
    what: &str,
    rates: impl DoubleEndedIterator<Item = &'a u64>,
    style: Style,
    ink: Ink,
) {
    let mut newest: Vec<u64> = rates.rev().take(usize::from(area.width)).copied().collect();
    let highest = newest.iter().copied().max().unwrap_or_default();
    newest.resize(usize::from(area.width), 0);
    newest.reverse();
    let title = Line::from(vec![
        Span::styled(format!(" {what}"), style),
        Span::styled(format!(", at most {}bit/s ", spaced(&text::bits(highest))), ink.dim()),
    ]);
    let block = Block::new().borders(Borders::TOP).border_style(ink.dim()).title(title);
    frame.render_widget(Sparkline::default().block(block).data(newest).max(highest.max(1)).style(style), area);
}

/// `12.3M` as `12.3 M`.
fn spaced(number: &str) -> String {
    let unit = number.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(number.len());
    format!("{} {}", &number[..unit], &number[unit..])
}

fn facts(state: &State, row: &Row<'_>, ink: Ink) -> Vec<Line<'static>> {
    let peer = row.peer;
    let line = |name: &str, text: Vec<Span<'static>>| {
        let name = Span::styled(format!(" {name:<12} "), ink.dim());
        Line::from([vec![name], text].concat())
    };
    let plain = |text: String| vec![Span::raw(text)];
    let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let keepalive = match peer.keepalive {
        0 => String::new(),
        seconds => format!("   keepalive every {seconds} s"),
    };
    let handshake =
        row.handshake_age(state.sample.wall).map_or("never".to_owned(), |age| format!("{} ago", text::age(age)));
    let traffic = |bytes, packets: Option<u64>| match packets {
        Some(packets) => format!("{} in {} packets", text::bytes(bytes), text::count(packets)),
        None => text::bytes(bytes),
    };
    let is_ours = matches!(state.interface(), Some((_, _, Ok(figures))) if figures.more.is_some());
    vec![
        line("public key", plain(key_text::encode(&peer.key).to_string())),
        line("endpoint", plain(or_none(peer.endpoint.clone()) + &keepalive)),
        line("allowed IPs", plain(or_none(peer.allowed_ips.join(", ")))),
        line("handshake", plain(handshake + &row.more.map(handshakes).unwrap_or_default())),
        line("received", plain(traffic(peer.rx_bytes, row.more.map(|more| more.rx_packets)))),
        line("sent", plain(traffic(peer.tx_bytes, row.more.map(|more| more.tx_packets)))),
        line("dropped", drops(row.more, is_ours, ink)),
    ]
}

fn handshakes(more: &MoreOfPeer) -> String {
    let rtt = match (more.rtt, more.least_rtt) {
        (Some(last), Some(least)) => {
            format!(", round trip {}, at least {}", text::round_trip(last), text::round_trip(least))
        }
        _ => String::new(),
    };
    let unanswered = match more.unanswered {
        0 => String::new(),
        unanswered => format!("; {unanswered} of {} initiations not answered", more.initiations),
    };
    rtt + &unanswered
}

/// What this end dropped; what the network lost on the way nobody knows.
fn drops(more: Option<&MoreOfPeer>, is_ours: bool, ink: Ink) -> Vec<Span<'static>> {
    let Some(more) = more else {
        let reason = if is_ours { "asking…" } else { "told by rvpn only" };
        return vec![Span::styled(reason, ink.dim())];
    };
    if more.drops.is_empty() {
        return vec![Span::raw("nothing")];
    }
    let reasons = more.drops.iter().map(|(reason, packets)| format!("{packets} {reason}"));
    vec![Span::styled(reasons.collect::<Vec<_>>().join(", "), ink.bad().add_modifier(Modifier::BOLD))]
}

const FACTS: u16 = 7;
