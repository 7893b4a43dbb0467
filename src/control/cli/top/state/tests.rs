//! What is shown, in which order, and what stays chosen while things move.

use super::*;
use crate::control::cli::top::figures::More;
use crate::proto::time::Instant;

/// A peer that has received `rx` bytes and sent `tx`, with a handshake `age` seconds ago.
pub(in crate::control::cli::top) fn peer(key: u8, name: &str, rx: u64, tx: u64, age: Option<u64>) -> PeerFigures {
    PeerFigures {
        key: [key; 32],
        name: (!name.is_empty()).then(|| name.to_owned()),
        endpoint: format!("192.0.2.{key}:51820"),
        allowed_ips: vec![format!("10.0.0.{key}/32")],
        last_handshake: age.map(|age| Duration::from_secs(NOW - age)),
        rx_bytes: rx,
        tx_bytes: tx,
        keepalive: 0,
    }
}

/// Seconds since the epoch.
pub(in crate::control::cli::top) const NOW: u64 = 1_700_000_000;

/// Interfaces `seconds` after the start.
pub(in crate::control::cli::top) fn sample(seconds: u64, interfaces: &[(&str, Vec<PeerFigures>)]) -> Sample {
    let figures = |peers: &Vec<PeerFigures>| {
        let peers = peers.clone();
        let more = peers.iter().map(|peer| (peer.key, MoreOfPeer::default())).collect();
        Figures { listen_port: 51820, peers, more: Some(More { is_under_load: false, peers: more }) }
    };
    Sample {
        at: Instant::from_nanos((100 + seconds) * 1_000_000_000),
        wall: Duration::from_secs(NOW),
        fault: None,
        interfaces: interfaces.iter().map(|(name, peers)| ((*name).to_owned(), Ok(figures(peers)))).collect(),
    }
}

/// Three peers, of which the second received most in the last second, and the third sent most.
fn state() -> State {
    let mut state = State::new(None, false);
    state.take(sample(
        0,
        &[("wg0", vec![peer(1, "", 0, 0, None), peer(2, "beta", 0, 0, Some(5)), peer(3, "Alpha", 0, 0, Some(9))])],
    ));
    state.take(sample(
        1,
        &[("wg0", vec![peer(1, "", 10, 0, None), peer(2, "beta", 900, 1, Some(5)), peer(3, "Alpha", 50, 70, Some(9))])],
    ));
    state
}

fn keys(state: &State) -> Vec<u8> {
    state.peers().iter().map(|row| row.peer.key[0]).collect()
}

#[test]
fn peers_are_sorted_by_what_is_asked_for() {
    let mut state = state();
    for (order, expected) in [
        (Order::Received, [2, 3, 1]),
        (Order::Sent, [3, 2, 1]),
        (Order::Handshake, [2, 3, 1]),
        (Order::Name, [3, 2, 1]),
        (Order::Endpoint, [1, 2, 3]),
        (Order::Added, [1, 2, 3]),
    ] {
        state.order = order;
        assert_eq!(keys(&state), expected, "{}", order.word());
    }
    state.is_reversed = true;
    assert_eq!(keys(&state), [3, 2, 1]);
    assert_eq!((0..7).fold(Order::Sent, |order, _| order.next()), Order::Sent, "round and round");
}

#[test]
fn the_filter_looks_into_all_that_a_row_shows() {
    let mut state = state();
    for (filter, expected) in
        [("ALPHA", vec![3]), ("0.2.2", vec![2]), ("10.0.0.1/", vec![1]), ("AQEB", vec![1]), ("x", vec![])]
    {
        state.filter = filter.to_owned();
        assert_eq!(keys(&state), expected, "{filter}");
    }
}

#[test]
fn who_is_chosen_stays_so_however_rows_move() {
    let mut state = state();
    state.choose(1);
    assert_eq!(state.chosen(&state.peers()), 1);
    state.order = Order::Endpoint;
    assert_eq!(state.peers()[state.chosen(&state.peers())].peer.key[0], 3);
    state.choose(isize::MAX);
    assert_eq!(state.chosen(&state.peers()), 2);
    state.choose(isize::MIN);
    assert_eq!(state.chosen(&state.peers()), 0);
    state.filter = "nobody".to_owned();
    state.choose(1);
    assert_eq!(state.chosen(&state.peers()), 0);
}

#[test]
fn a_pause_holds_the_picture_and_not_the_history() {
    let mut state = state();
    state.is_paused = true;
    state.take(sample(2, &[("wg0", vec![peer(2, "beta", 1_900, 1, Some(5))])]));
    assert_eq!(keys(&state).len(), 3);
    state.is_paused = false;
    state.take(sample(3, &[("wg0", vec![peer(2, "beta", 2_000, 1, Some(5))])]));
    assert_eq!(state.totals(), (100, 0));
    let history = state.peers()[0].history.cloned().expect("one");
    assert_eq!(history.received, [900, 1_000, 100]);
}

#[test]
fn interfaces_are_switched_round_and_round_and_may_go() {
    let mut state = State::new(Some("wg1".to_owned()), false);
    let three = [("wg0", vec![]), ("wg1", vec![peer(1, "", 0, 0, None)]), ("wg2", vec![])];
    state.take(sample(0, &three));
    let name = |state: &State| state.interface().map(|(_, name, _)| name.to_owned()).expect("one");
    assert_eq!(name(&state), "wg1");
    state.rows = 10;
    assert_eq!(state.seen(), [("wg1".to_owned(), vec![[1; 32]])]);
    state.switch(1);
    state.switch(1);
    assert_eq!(name(&state), "wg0");
    state.switch(-1);
    assert_eq!(name(&state), "wg2");
    state.take(sample(1, &three[..1]));
    assert_eq!(name(&state), "wg0");
    state.take(sample(2, &[]));
    assert!(state.interface().is_none() && state.seen().is_empty());
    state.switch(1);
}
