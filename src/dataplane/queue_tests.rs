//! Unit tests of `queue`, beside it because `tests/loom_queue.rs` compiles that file over loom's types.

use super::queue::{OrderedQueue, WorkQueue};

#[test]
fn results_come_in_the_order_of_their_tickets() {
    let queue = OrderedQueue::new(4);
    let [first, second, third] = [(); 3].map(|()| queue.reserve().expect("room"));
    assert!(queue.complete(second, 2).is_none());
    assert!(queue.complete(third, 3).is_none());
    let mut drainer = queue.complete(first, 1).expect("the head elects");
    assert_eq!([drainer.next(), drainer.next(), drainer.next(), drainer.next()], [Some(1), Some(2), Some(3), None]);
}

#[test]
fn only_one_thread_drains() {
    let queue = OrderedQueue::new(4);
    let [first, second] = [(); 2].map(|()| queue.reserve().expect("room"));
    let mut drainer = queue.complete(first, 1).expect("the head elects");
    assert_eq!(drainer.next(), Some(1));
    assert!(queue.complete(second, 2).is_none(), "somebody drains already");
    assert_eq!(drainer.next(), Some(2));
    assert_eq!(drainer.next(), None);
    let third = queue.reserve().expect("room");
    assert!(queue.complete(third, 3).is_some());
}

#[test]
fn a_full_queue_refuses() {
    let queue: OrderedQueue<()> = OrderedQueue::new(1);
    let ticket = queue.reserve().expect("room");
    assert!(queue.reserve().is_none());
    let mut drainer = queue.complete(ticket, ()).expect("elected");
    while drainer.next().is_some() {}
    assert!(queue.reserve().is_some());
}

#[test]
fn work_is_shared_only_with_idle_workers() {
    let queue = WorkQueue::new(4);
    assert_eq!(queue.share(1), Err(1), "nobody is idle");
    queue.stop();
    assert_eq!(queue.next(), None);
}
