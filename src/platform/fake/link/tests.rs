use super::*;

fn datagram(number: u32) -> Train {
    let (from, to) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
    Train::datagram(from, to, &number.to_be_bytes())
}

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// Sends `count` datagrams a millisecond apart, from the first millisecond on, and returns (time of arrival, number) of what arrives.
fn run(seed: u64, conditions: Conditions, count: u32) -> Vec<(Instant, u32)> {
    let mut link = Link::new(seed, conditions);
    for number in 0..count {
        link.send(at(1 + u64::from(number)), &datagram(number));
    }
    let mut arrived = Vec::new();
    while let Some(now) = link.next_delivery() {
        assert!(link.poll(Instant::from_nanos(now.as_nanos() - 1)).is_none());
        let train = link.poll(now).expect("it is due");
        arrived.push((now, u32::from_be_bytes(train.bytes.try_into().unwrap())));
    }
    arrived
}

#[test]
fn a_good_link_delivers_all_in_order_after_the_delay() {
    let arrived = run(1, Conditions { delay: Duration::from_millis(30), ..Conditions::default() }, 100);
    assert_eq!(arrived, (0..100).map(|number| (at(u64::from(number) + 31), number)).collect::<Vec<_>>());
}

#[test]
fn loss_and_duplicates_have_the_rate_asked_for() {
    let arrived = run(2, Conditions { loss: 600, ..Conditions::default() }, 10_000);
    assert!((3_800..4_200).contains(&arrived.len()), "{}", arrived.len());
    let arrived = run(2, Conditions { duplicates: 100, ..Conditions::default() }, 10_000);
    assert!((10_900..11_100).contains(&arrived.len()), "{}", arrived.len());
}

#[test]
fn reordering_needs_jitter_and_loses_nothing() {
    let conditions = Conditions { reordering: 100, jitter: Duration::from_millis(1), ..Conditions::default() };
    let mut numbers: Vec<_> = run(3, conditions, 1_000).into_iter().map(|(_, number)| number).collect();
    assert!(!numbers.is_sorted());
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..1_000));
}

#[test]
fn a_cut_link_is_silent_and_what_was_on_its_way_arrives() {
    let mut link = Link::new(4, Conditions { delay: Duration::from_millis(5), ..Conditions::default() });
    link.send(at(0), &datagram(1));
    link.set_conditions(Conditions { cut: true, ..link.conditions() });
    link.send(at(0), &datagram(2));
    assert_eq!(link.poll(at(5)), Some(datagram(1)));
    assert_eq!(link.next_delivery(), None);
}

#[test]
fn the_same_seed_gives_the_same_network() {
    let conditions = Conditions {
        loss: 300,
        duplicates: 100,
        reordering: 100,
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(7),
        cut: false,
    };
    assert_eq!(run(5, conditions, 500), run(5, conditions, 500));
    assert_ne!(run(5, conditions, 500), run(6, conditions, 500));
}

#[test]
fn a_train_is_cut_into_datagrams_with_fates_of_their_own() {
    let mut link = Link::new(7, Conditions { loss: 500, ..Conditions::default() });
    link.send(at(0), &Train { bytes: vec![0; 6_400], segment_len: 64, ..datagram(0) });
    let arrived = std::iter::from_fn(|| link.poll(at(0))).inspect(|train| assert_eq!(train.bytes.len(), 64)).count();
    assert!((30..70).contains(&arrived), "{arrived}");
}

#[test]
fn a_translated_sender_can_be_answered_until_the_box_forgets_it() {
    let mut nat = Nat::new("203.0.113.1".parse().unwrap());
    let mut out = datagram(0);
    nat.outbound(&mut out);
    assert_eq!(out.from.ip(), nat.outside);
    let mut again = datagram(1);
    nat.outbound(&mut again);
    assert_eq!(again.from, out.from);
    let mut answer = Train::datagram(out.to, out.from, b"answer");
    assert!(nat.inbound(&mut answer.clone()));
    nat.rebind();
    assert!(!nat.inbound(&mut answer));
    let mut later = datagram(2);
    nat.outbound(&mut later);
    assert_ne!(later.from, out.from);
    answer.to = later.from;
    assert!(nat.inbound(&mut answer));
    assert_eq!(answer.to, datagram(0).from);
}
