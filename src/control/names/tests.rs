//! A device without packets, and a process that is the test.

use std::sync::Mutex;

use tokio::io::AsyncReadExt;
use tokio::time::{Duration, advance};

use super::*;
use crate::control::log::tests::Captured;

#[derive(Default)]
struct Fake {
    wanted: Mutex<Vec<(PublicKey, Candidates)>>,
    present: Mutex<Option<Candidates>>,
    used: Mutex<Vec<Vec<SocketAddr>>>,
    wake: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
}

impl Named for Fake {
    fn on_wanted_names(&self, wake: Box<dyn Fn() + Send + Sync>) {
        *self.wake.lock().expect("no panic") = Some(wake);
    }

    fn wanted_names(&self) -> Vec<(PublicKey, Candidates)> {
        std::mem::take(&mut self.wanted.lock().expect("no panic"))
    }

    fn candidates_of(&self, _: &PublicKey) -> Option<Candidates> {
        self.present.lock().expect("no panic").clone()
    }

    fn use_addresses(&self, _: &PublicKey, _: &Candidates, addresses: Vec<SocketAddr>) -> bool {
        self.used.lock().expect("no panic").push(addresses);
        true
    }

    fn mark(&self) -> u32 {
        7
    }
}

impl Fake {
    /// The peer has these candidates, and its names are wanted.
    fn want(&self, candidates: &Candidates) {
        *self.present.lock().expect("no panic") = Some(Arc::clone(candidates));
        self.wanted.lock().expect("no panic").push((PublicKey([1; 32]), Arc::clone(candidates)));
        self.wake.lock().expect("no panic").as_ref().expect("somebody listens")();
    }

    fn used(&self) -> Vec<Vec<String>> {
        let text = |addresses: Vec<SocketAddr>| addresses.iter().map(ToString::to_string).collect();
        std::mem::take(&mut *self.used.lock().expect("no panic")).into_iter().map(text).collect()
    }
}

/// What the process is asked before it would have to wait.
async fn asked(process: &mut UnixStream) -> String {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let mut buffer = [0; 256];
    match tokio::time::timeout(Duration::ZERO, process.read(&mut buffer)).await {
        Ok(len) => String::from_utf8_lossy(&buffer[..len.expect("open")]).into_owned(),
        Err(_) => String::new(),
    }
}

async fn answer(process: &mut UnixStream, line: &str) {
    process.write_all(line.as_bytes()).await.expect("open");
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn list() -> Candidates {
    let name = Candidate::Name { host: "vpn.example".into(), port: 51820 };
    Arc::new([name, Candidate::Address("192.0.2.9:7".parse().expect("an address"))])
}

/// Runs `test` beside the task under test.
async fn with(test: impl AsyncFnOnce(&Fake, &mut UnixStream)) {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let device = Arc::new(Fake::default());
    let following = Following::new(Arc::clone(&device) as _, ours);
    tokio::select! {
        ended = following.run() => panic!("{ended:?}"),
        () = test(&device, &mut theirs) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_is_asked_for_until_there_is_an_answer_and_again_when_that_is_old() {
    with(async |device, process| {
        device.want(&list());
        assert_eq!(asked(process).await, "vpn.example 7\n");
        for pause in [1, 2, 4, 8, 16, 20, 20] {
            answer(process, "vpn.example - no name server answers\n").await;
            advance(Duration::from_secs(pause) - Duration::from_millis(10)).await;
            assert_eq!(asked(process).await, "");
            advance(Duration::from_millis(20)).await;
            assert_eq!(asked(process).await, "vpn.example 7\n");
        }
        assert_eq!(device.used(), [[""; 0]; 0]);
        answer(process, "vpn.example 60 2001:db8::1,192.0.2.1\n").await;
        assert_eq!(device.used(), [["[2001:db8::1]:51820", "192.0.2.1:51820", "192.0.2.9:7"]]);
        advance(Duration::from_secs(59)).await;
        assert_eq!(asked(process).await, "");
        advance(Duration::from_secs(2)).await;
        assert_eq!(asked(process).await, "vpn.example 7\n");
        answer(process, "vpn.example 0 2001:db8::1,192.0.2.1\n").await;
        assert_eq!(device.used(), [[""; 0]; 0], "nothing new");
        advance(Duration::from_secs(14)).await;
        assert_eq!(asked(process).await, "", "15 s at least");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_has_its_name_asked_for_at_once_but_not_twice_in_a_second() {
    with(async |device, process| {
        let list = list();
        device.want(&list);
        assert_eq!(asked(process).await, "vpn.example 7\n");
        device.want(&list);
        assert_eq!(asked(process).await, "", "it is being looked up");
        answer(process, "vpn.example 3600 192.0.2.1\n").await;
        device.want(&list);
        assert_eq!(asked(process).await, "");
        advance(Duration::from_millis(1_001)).await;
        assert_eq!(asked(process).await, "vpn.example 7\n");
        answer(process, "vpn.example 3600 192.0.2.2\n").await;
        let used = device.used();
        assert_eq!(used.last().expect("a change")[..], ["192.0.2.2:51820", "192.0.2.9:7"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_has_any_more_is_not_asked_for() {
    with(async |device, process| {
        device.want(&list());
        assert_eq!(asked(process).await, "vpn.example 7\n");
        answer(process, "vpn.example 20 192.0.2.1\n").await;
        *device.present.lock().expect("no panic") = None;
        advance(Duration::from_secs(60)).await;
        assert_eq!(asked(process).await, "");
    })
    .await;
}

#[tokio::test]
async fn that_the_process_has_ended_is_told_once_with_the_way_out() {
    let (ours, theirs) = StdUnixStream::pair().expect("a pair");
    drop(theirs);
    let device = Arc::new(Fake::default());
    let log = Captured::new();
    let told = "the process for it has ended. Addresses that were found stay in use; where a name points to is not \
                followed until `rvpn upgrade INTERFACE`";
    tokio::select! {
        never = Names::new(Arc::clone(&device) as _, ours).follow() => match never {},
        () = log.wait_for(told) => {}
    }
    device.want(&list());
    assert_eq!(log.text().lines().count(), 1, "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn a_line_without_end_is_cut() {
    with(async |device, process| {
        device.want(&list());
        assert_eq!(asked(process).await, "vpn.example 7\n");
        // Were it kept, what follows would be a part of it.
        answer(process, &"x".repeat(MAX_LINE_LEN as usize)).await;
        answer(process, "vpn.example 60 192.0.2.1\n").await;
        assert_eq!(device.used(), [["192.0.2.1:51820", "192.0.2.9:7"]]);
    })
    .await;
}
