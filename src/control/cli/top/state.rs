//! What `rvpn top` knows: the newest figures, the history of rates, and how the operator wants to see them.
//!
//! Not here: keys (see `keys`), drawing (see `view`).

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use super::Seen;
use super::figures::{Figures, MoreOfPeer, PeerFigures, Sample};
use super::rates::History;
use crate::control::key_text;

/// All of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) has_colours: bool,
    pub(super) sample: Sample,
    /// By interface and peer.
    histories: HashMap<String, HashMap<[u8; 32], History>>,
    /// The interface that is shown, by name: others may come and go.
    interface: Option<String>,
    /// The peer that is chosen, by key: it stays so however rows move.
    chosen: Option<[u8; 32]>,
    /// The first row that can be seen.
    pub(super) first: usize,
    /// How many rows can be seen, as of the last picture.
    pub(super) rows: usize,
    pub(super) order: Order,
    pub(super) is_reversed: bool,
    pub(super) filter: String,
    pub(super) is_typing: bool,
    pub(super) shows_details: bool,
    pub(super) is_paused: bool,
}

/// By what peers are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Received,
    Sent,
    Handshake,
    Lost,
    Name,
    Endpoint,
    /// As the interface lists them.
    Added,
}

impl Order {
    const ALL: [Self; 7] =
        [Self::Received, Self::Sent, Self::Handshake, Self::Lost, Self::Name, Self::Endpoint, Self::Added];

    /// Returns the word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Sent => "sent",
            Self::Handshake => "handshake",
            Self::Lost => "lost",
            Self::Name => "name",
            Self::Endpoint => "endpoint",
            Self::Added => "as added",
        }
    }

    /// Returns the one after it.
    pub(super) fn next(self) -> Self {
        let at = Self::ALL.iter().position(|&order| order == self).unwrap_or_default();
        Self::ALL[(at + 1) % Self::ALL.len()]
    }
}

/// A peer with all that is known of it.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) peer: &'a PeerFigures,
    pub(super) history: Option<&'a History>,
    pub(super) more: Option<&'a MoreOfPeer>,
}

impl Row<'_> {
    /// Returns its name, or else its key as others know it.
    pub(super) fn label(&self) -> String {
        self.peer.name.clone().unwrap_or_else(|| key_text::encode(&self.peer.key).to_string())
    }

    /// Returns the age of its last handshake; `None` if there was none.
    pub(super) fn handshake_age(&self, wall: Duration) -> Option<Duration> {
        self.peer.last_handshake.map(|time| wall.saturating_sub(time))
    }

    fn now(&self) -> (u64, u64) {
        self.history.map(History::now).unwrap_or_default()
    }
}

impl State {
    /// Begins with an interface, or with the first that there is.
    pub(super) fn new(interface: Option<String>, has_colours: bool) -> Self {
        Self {
            has_colours,
            sample: Sample::default(),
            histories: HashMap::new(),
            interface,
            chosen: None,
            first: 0,
            rows: 0,
            order: Order::Received,
            is_reversed: false,
            filter: String::new(),
            is_typing: false,
            shows_details: true,
            is_paused: false,
        }
    }

    /// Takes new figures; while paused, only into the history.
    pub(super) fn take(&mut self, sample: Sample) {
        let mut before = std::mem::take(&mut self.histories);
        for (name, figures) in &sample.interfaces {
            let Ok(figures) = figures else { continue };
            let mut before = before.remove(name).unwrap_or_default();
            let peers = figures.peers.iter().map(|peer| {
                let more = figures.more.as_ref().and_then(|more| more.peers.get(&peer.key));
                // Of peers that are gone nothing stays.
                let mut history = before.remove(&peer.key).unwrap_or_default();
                history.take(sample.at, peer.rx_bytes, peer.tx_bytes, more.map(MoreOfPeer::dropped));
                (peer.key, history)
            });
            self.histories.insert(name.clone(), peers.collect());
        }
        if !self.is_paused {
            self.sample = sample;
        }
    }

    /// Returns the interface that is shown: its place among all, its name, its figures or why there are none.
    pub(super) fn interface(&self) -> Option<(usize, &str, Result<&Figures, &str>)> {
        let wanted = self.interface.as_deref();
        let all = &self.sample.interfaces;
        let at = all.iter().position(|(name, _)| Some(&**name) == wanted).unwrap_or_default();
        let (name, figures) = all.get(at)?;
        Some((at, name, figures.as_ref().map_err(String::as_str)))
    }

    /// Returns the peers that are shown, in order.
    pub(super) fn peers(&self) -> Vec<Row<'_>> {
        let Some((_, interface, Ok(figures))) = self.interface() else { return Vec::new() };
        let row = |peer| self.row(interface, figures, peer);
        let mut rows: Vec<_> = figures.peers.iter().map(row).filter(|row| self.passes(row)).collect();
        // Stable: what is equal stays as the interface lists it.
        match self.order {
            Order::Received => rows.sort_by_key(|row| Reverse(row.now().0)),
            Order::Sent => rows.sort_by_key(|row| Reverse(row.now().1)),
            Order::Handshake => rows.sort_by_key(|row| Reverse(row.peer.last_handshake)),
            Order::Lost => rows.sort_by_key(|row| Reverse(row.history.and_then(History::lost))),
            Order::Name => rows.sort_by_cached_key(|row| (row.peer.name.is_none(), row.label().to_lowercase())),
            Order::Endpoint => rows.sort_by_key(|row| (row.peer.endpoint.is_empty(), &row.peer.endpoint)),
            Order::Added => {}
        }
        if self.is_reversed {
            rows.reverse();
        }
        rows
    }

    fn row<'a>(&'a self, interface: &str, figures: &'a Figures, peer: &'a PeerFigures) -> Row<'a> {
        let history = self.histories.get(interface).and_then(|histories| histories.get(&peer.key));
        Row { peer, history, more: figures.more.as_ref().and_then(|more| more.peers.get(&peer.key)) }
    }

    /// Tells whether the filter is part of anything a row shows, in whatever case.
    fn passes(&self, row: &Row<'_>) -> bool {
        if self.filter.is_empty() {
            return true;
        }
        let filter = self.filter.to_lowercase();
        let key = key_text::encode(&row.peer.key);
        let texts = [row.peer.name.as_deref().unwrap_or_default(), &row.peer.endpoint, &key];
        let mut texts = texts.into_iter().chain(row.peer.allowed_ips.iter().map(String::as_str));
        texts.any(|text| text.to_lowercase().contains(&filter))
    }

    /// Returns where the chosen peer is in `rows`; the first if it is not there.
    pub(super) fn chosen(&self, rows: &[Row<'_>]) -> usize {
        rows.iter().position(|row| Some(row.peer.key) == self.chosen).unwrap_or_default()
    }

    /// Chooses the peer that is `by` rows further, or the last or first.
    pub(super) fn choose(&mut self, by: isize) {
        let rows = self.peers();
        let at = self.chosen(&rows).saturating_add_signed(by).min(rows.len().saturating_sub(1));
        self.chosen = rows.get(at).map(|row| row.peer.key);
    }

    /// Shows the interface that is `by` further, round and round.
    pub(super) fn switch(&mut self, by: isize) {
        let count = self.sample.interfaces.len();
        if let Some((at, ..)) = self.interface()
            && let Some((name, _)) = self.sample.interfaces.get((at + count).wrapping_add_signed(by) % count)
        {
            self.interface = Some(name.clone());
            self.first = 0;
        }
    }

    /// Returns the newest rates of the interface that is shown, received and sent, in bytes per second.
    pub(super) fn totals(&self) -> (u64, u64) {
        let Some((_, interface, Ok(figures))) = self.interface() else { return (0, 0) };
        let rates = figures.peers.iter().map(|peer| self.row(interface, figures, peer).now());
        rates.fold((0, 0), |(received, sent), (more_received, more_sent)| (received + more_received, sent + more_sent))
    }

    /// Returns which peers can be seen, for their details to be asked for.
    pub(super) fn seen(&self) -> Seen {
        let Some((_, interface, _)) = self.interface() else { return Vec::new() };
        let keys = self.peers().iter().skip(self.first).take(self.rows.max(1)).map(|row| row.peer.key).collect();
        vec![(interface.to_owned(), keys)]
    }
}

#[cfg(test)]
pub(super) mod tests;
