use std::fs;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::control::log::tests::Captured;
use crate::control::outcome::Ends;
use crate::control::server::tests::Fake;

const KEY_1: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const KEY_2: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

struct World {
    place: TempDir,
    directory: PeersDirectory,
}

impl World {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let directory = PeersDirectory::open(place.path()).expect("it is there");
        Self { place, directory }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.place.path().join(file), text).expect("written");
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.place.path().join(file)).expect("it was there");
    }

    /// Applies what files of these names say to a device that has all peers that were applied; returns what was asked for.
    fn touch(&mut self, names: &[&str]) -> Vec<PeerSet> {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let present = self.directory.applied.values().map(|peer| peer.public_key).collect();
        let (set, peers) = self.directory.changes(&names, &present);
        self.directory.finish(Ok(()), peers);
        set.map(|set| set.peers).unwrap_or_default()
    }
}

fn file(key: &str, more: &str) -> String {
    format!("[Peer]\nPublicKey = {key}\n{more}")
}

fn key(n: u8) -> PublicKey {
    PublicKey([n; 32])
}

#[test]
fn a_file_is_a_peer_and_its_name_the_peers() {
    let world = World::new();
    world.write("alice.conf", &file(KEY_1, "AllowedIPs = 10.0.0.1/32\nEndpoint = 192.0.2.1:7\n#rvpn: RateUp = 20M\n"));
    world.write("bob.conf", &file(KEY_2, "#rvpn: Name = Bob's phone\n"));
    for name in ["carol.conf~", ".carol.conf.swp", ".conf", "carol"] {
        world.write(name, "nonsense");
    }
    let mut directory = world.directory;
    let device = Fake::default();
    directory.load(&device);
    let status = device.status();
    assert_eq!(status.peers.iter().map(|peer| peer.public_key).collect::<Vec<_>>(), [key(1), key(2)]);
    let names: Vec<_> = directory.applied.values().map(|peer| peer.name.clone().flatten().expect("a name")).collect();
    assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["alice", "Bob's phone"]);
    assert_eq!(directory.applied["alice"].rate_up, Some(20_000_000));
    assert_eq!(status.peers[0].endpoint, "192.0.2.1:7".parse().ok());
}

#[test]
fn a_wrong_file_is_told_with_its_place_and_changes_nothing() {
    let mut world = World::new();
    world.write("alice.conf", &file(KEY_1, ""));
    world.touch(&["alice"]);
    for (text, told) in [
        ("", "1:1: ``: expected `[Peer]` in this file"),
        ("[Peer]\nPublicKey = ", "2:1: `PublicKey`: expected a value after `PublicKey =`"),
        ("[Peer]\nAllowedIPs = 10.0.0.0/8\n", "1:1: `[Peer]`: expected `PublicKey = ...` in this section"),
        (&file(KEY_1, "AllowedIPs = 10.0.0.0/33\n"), "3:14: `10.0.0.0/33`: expected a prefix length of 0 to 32"),
        (&file(KEY_1, "[Peer]\n"), "3:1: `[Peer]`: expected one `[Peer]` and nothing else in the file of a peer"),
        ("[Interface]\nListenPort = 7\n", "1:1: `[Interface]`: expected one `[Peer]` and nothing else"),
        (&file(KEY_1, "#rvpn: RateUpp = 1M\n"), "3:8: `RateUpp`: expected one of Name, RateUp, RateDown"),
        (
            &file(KEY_1, "Endpoint = vpn.example:no-such\n"),
            "3:12: `vpn.example:no-such`: expected an address or a name",
        ),
        (&file(KEY_1, "Endpoint = vpn_:example:7\n"), "3:12: `vpn_:example:7`: expected an address or a name"),
    ] {
        world.write("alice.conf", text);
        assert_eq!(world.touch(&["alice"]), [], "{text}");
        assert_eq!(world.directory.applied.len(), 1);
        let Found::Faults(faults) = read(world.place.path(), "alice") else { panic!("no fault in {text}") };
        let place = format!("{}/alice.conf:{told}", world.place.path().display());
        assert!(faults.lines().any(|line| line.starts_with(&place)), "{faults}");
    }
    world.write("alice.conf", &" ".repeat(70_000));
    assert_eq!(world.touch(&["alice"]), []);
}

#[test]
fn a_file_that_goes_takes_its_peer_and_no_other() {
    let mut world = World::new();
    world.write("alice.conf", &file(KEY_1, ""));
    world.write("bob.conf", &file(KEY_2, ""));
    assert_eq!(world.touch(&["alice", "bob"]).len(), 2);
    world.remove("alice.conf");
    assert_eq!(world.touch(&["alice"]), [PeerSet { remove: true, ..PeerSet::new(key(1)) }]);
    assert_eq!(world.touch(&["alice"]), []);
}

#[test]
fn a_learnt_endpoint_stays_unless_the_file_names_another() {
    let mut world = World::new();
    let text = |endpoint: &str, more: &str| file(KEY_1, &format!("Endpoint = {endpoint}\n{more}"));
    world.write("alice.conf", &text("192.0.2.1:7", ""));
    assert_eq!(world.touch(&["alice"])[0].endpoint, "192.0.2.1:7".parse().ok());
    world.write("alice.conf", &text("192.0.2.1:7", "AllowedIPs = 10.0.0.0/24\n"));
    let changes = world.touch(&["alice"]);
    assert_eq!((changes[0].endpoint, changes[0].allowed_ips.len(), changes[0].replace_allowed_ips), (None, 1, true));
    world.write("alice.conf", &text("192.0.2.2:7", ""));
    assert_eq!(world.touch(&["alice"])[0].endpoint, "192.0.2.2:7".parse().ok());

    let (set, _) = world.directory.changes(&["alice".to_owned()].into(), &BTreeSet::new());
    assert!(set.is_some_and(|set| set.peers[0].endpoint.is_some()), "a peer that somebody removed is made whole");
}

#[test]
fn an_endpoint_may_be_a_name_which_is_for_the_device_to_follow() {
    let mut world = World::new();
    let mut told = |text: &str| {
        world.write("alice.conf", &file(KEY_1, text));
        let peer = world.touch(&["alice"]).remove(0);
        (peer.endpoint, peer.endpoints.iter().flatten().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    let (address, none) = ("192.0.2.1:7".parse().ok(), String::new());
    assert_eq!(told("Endpoint = vpn.example:7\n"), (None, "vpn.example:7".to_owned()));
    assert_eq!(told("Endpoint = 192.0.2.1:7\n"), (address, none), "the name is not followed any more");
    let list = "vpn.example:7\n#rvpn: Endpoint = a.example:1, 192.0.2.2:2\n";
    assert_eq!(told(&format!("Endpoint = {list}")), (None, "a.example:1 192.0.2.2:2".to_owned()), "the list says more");
}

#[test]
fn what_a_file_is_silent_about_any_more_is_taken_away() {
    let mut world = World::new();
    let options = "#rvpn: RateDown = 1M\n#rvpn: Name = a\n#rvpn: Endpoint = a:1, b:2\n#rvpn: EndpointOrder = strict\n";
    world.write("alice.conf", &file(KEY_1, &format!("PersistentKeepalive = 25\n{options}")));
    assert_eq!(world.touch(&["alice"])[0].endpoints.as_ref().map(Vec::len), Some(2));
    world.write("alice.conf", &file(KEY_1, ""));
    let changes = world.touch(&["alice"]);
    assert_eq!(changes[0].endpoints, Some(Vec::new()));
    assert_eq!(changes[0].endpoint_order, Some(rvpn_uapi::EndpointOrder::Fastest));
    assert_eq!((changes[0].persistent_keepalive, changes[0].rate_down), (Some(0), Some(0)));
    assert!(changes[0].preshared_key.as_ref().is_some_and(SecretKey::is_zero));
    assert_eq!(changes[0].name.clone().flatten(), rvpn_uapi::PeerName::new("alice"));
}

#[test]
fn a_file_may_be_renamed_and_two_may_not_be_one_peers() {
    let mut world = World::new();
    world.write("alice.conf", &file(KEY_1, ""));
    world.touch(&["alice"]);
    world.write("bob.conf", &file(KEY_1, ""));
    assert_eq!(world.touch(&["bob"]), [], "the key is of another file");
    world.remove("alice.conf");
    let changes = world.touch(&["alice", "bob"]);
    assert_eq!((changes.len(), changes[0].remove), (1, false), "the peer is not removed in between");
    assert_eq!(changes[0].name.clone().flatten(), rvpn_uapi::PeerName::new("bob"));
}

#[test]
fn another_key_in_a_file_is_another_peer() {
    let mut world = World::new();
    world.write("alice.conf", &file(KEY_1, ""));
    world.touch(&["alice"]);
    world.write("alice.conf", &file(KEY_2, ""));
    let changes = world.touch(&["alice"]);
    assert_eq!(
        changes.iter().map(|peer| (peer.public_key, peer.remove)).collect::<Vec<_>>(),
        [(key(1), true), (key(2), false)]
    );
}

#[tokio::test]
async fn events_name_files_when_they_are_complete() {
    let world = World::new();
    let mut events = world.directory.watch.events().expect("a runtime");
    let files =
        |names: &[&str]| Touched { files: names.iter().map(|&name| name.to_owned()).collect(), ..Touched::default() };
    let half = fs::File::create(world.place.path().join("alice.conf")).expect("made");
    world.write("new", &file(KEY_2, ""));
    fs::rename(world.place.path().join("new"), world.place.path().join("bob.conf")).expect("moved");
    assert_eq!(events.next().await.expect("events"), files(&["bob"]), "the other is being written");
    drop(half);
    assert_eq!(events.next().await.expect("events"), files(&["alice"]));
    world.remove("alice.conf");
    assert_eq!(events.next().await.expect("events"), files(&["alice"]));
    world.place.close().expect("removed");
    assert_eq!(events.next().await.expect("events"), Touched { is_gone: true, ..files(&["bob"]) });
}

#[tokio::test]
async fn that_the_directory_is_gone_is_told_with_the_way_out_and_again_when_files_are_to_be_read() {
    let World { place, mut directory } = World::new();
    let worker = Worker::start(Arc::new(Fake::default()) as _, &Ends::new().0).expect("a thread");
    let (reload, log) = (Notify::new(), Captured::new());
    place.close().expect("removed");
    let told = "the directory is gone: peers stay as they are, and a directory in its place is not followed until `rvpn \
                upgrade INTERFACE`";
    tokio::select! {
        never = follow(Some(&mut directory), &worker, &reload) => match never {},
        () = async {
            log.wait_for(told).await;
            assert_eq!(log.text().lines().count(), 1, "{}", log.text());
            reload.notify_one();
            while log.text().lines().count() < 2 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
}
