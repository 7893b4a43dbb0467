//! Questions to name servers, over UDP: the addresses of a host, of both families at once.
//!
//! A stub: it asks servers that ask others, and believes what they say. Each is asked half a second after the one
//! before, and the first that knows is believed. An answer that is cut off still has addresses in it, and more than a few
//! are of no use; so there is no TCP.
//!
//! `getaddrinfo` cannot do it: its sockets have no mark, and a question about the way out would go into the tunnel.
//! Nor does a full resolver library pay: of `hickory-resolver`'s sixty crates this needs the message format.
//!
//! Sources: RFC 1035, RFC 3596, RFC 8305 section 4 for the order of families.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::system::{self, System};
use crate::platform::linux::resolver;

/// Finds the addresses of `host`, IPv6 and IPv4 in turns, and how long they are good for.
///
/// # Errors
/// Why there are none, in words.
pub(super) async fn look_up(host: &str, mark: u32, system: &System) -> Result<(Vec<IpAddr>, Duration), String> {
    let listed = system::hosts(host);
    if !listed.is_empty() {
        return Ok((in_turns(listed), HOSTS_TTL));
    }
    let configuration = system.configuration(mark != 0);
    if configuration.servers.is_empty() {
        return Err("/etc/resolv.conf names no server".to_owned());
    }
    let mut reason = String::new();
    for name in names(host, &configuration.search) {
        match ask_all(&name, &configuration.servers, mark).await {
            Ok((addresses, ttl)) => return Ok((in_turns(addresses), ttl)),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}

/// Returns the names that `host` may stand for: with a dot in it, first of all itself.
fn names(host: &str, search: &[String]) -> Vec<String> {
    if host.ends_with('.') {
        return vec![host.to_owned()];
    }
    let mut names: Vec<_> = search.iter().map(|domain| format!("{host}.{domain}")).collect();
    let place = if host.contains('.') { 0 } else { names.len() };
    names.insert(place, host.to_owned());
    names
}

/// Orders addresses so that one family after the other is tried, IPv6 first.
fn in_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let longest = v6.len().max(v4.len());
    (0..longest).flat_map(|place| [v6.get(place).copied(), v4.get(place).copied()]).flatten().collect()
}

/// Asks all servers, one after another; the first that knows ends it.
async fn ask_all(name: &str, servers: &[SocketAddr], mark: u32) -> Result<(Vec<IpAddr>, Duration), Lack> {
    let mut asked = JoinSet::new();
    for (place, server) in (0_u32..).zip(servers.iter().copied()) {
        let name = name.to_owned();
        asked.spawn(async move {
            sleep(SPACING * place).await;
            ask_both(&name, server, mark).await
        });
    }
    let mut lack = Lack::Silent;
    while let Some(outcome) = asked.join_next().await {
        match outcome {
            Ok(Ok(found)) => return Ok(found),
            // That there is no such name says more than that a server does not answer.
            Ok(Err(Lack::Silent)) | Err(_) => {}
            Ok(Err(error)) => lack = error,
        }
    }
    Err(lack)
}

/// Asks one server for addresses of both families. One of them is enough.
async fn ask_both(name: &str, server: SocketAddr, mark: u32) -> Result<(Vec<IpAddr>, Duration), Lack> {
    let (v6, v4) = tokio::join!(ask(name, TYPE::AAAA, server, mark), ask(name, TYPE::A, server, mark));
    let mut found = Vec::new();
    let mut shortest = Duration::MAX;
    let mut lack = Lack::NoAddress;
    for answer in [v6, v4] {
        match answer {
            Ok(records) => {
                for (address, ttl) in records {
                    found.push(address);
                    shortest = shortest.min(ttl);
                }
            }
            Err(error) => lack = error,
        }
    }
    if found.is_empty() { Err(lack) } else { Ok((found, shortest)) }
}

async fn ask(name: &str, kind: TYPE, server: SocketAddr, mark: u32) -> Result<Vec<(IpAddr, Duration)>, Lack> {
    let socket = UdpSocket::from_std(resolver::socket_to(server, mark)?)?;
    let id = SysRng.try_next_u32().map_err(io::Error::other)? as u16;
    let question = question(id, name, kind).ok_or(Lack::NoName)?;
    let mut buffer = [0; MAX_ANSWER];
    for _ in 0..ATTEMPTS {
        socket.send(&question).await?;
        let answer = async {
            loop {
                let len = socket.recv(&mut buffer).await?;
                // What answers nothing that was asked does not end the wait: anyone can send it.
                if let Some(answer) = records(&buffer[..len], id, name, kind) {
                    return answer;
                }
            }
        };
        if let Ok(answer) = timeout(PATIENCE, answer).await {
            return answer;
        }
    }
    Err(Lack::Silent)
}

/// Writes the question for addresses of one family; `None` if `name` cannot be one.
pub(super) fn question(id: u16, name: &str, kind: TYPE) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(Name::new(name).ok()?, kind.into(), CLASS::IN.into(), false));
    packet.build_bytes_vec().ok()
}

/// Reads an answer; `None` if it is not one to this question.
pub(super) fn records(bytes: &[u8], id: u16, name: &str, kind: TYPE) -> Option<Result<Vec<(IpAddr, Duration)>, Lack>> {
    if !has_what_it_promises(bytes) {
        return None;
    }
    let packet = Packet::parse(bytes).ok()?;
    let asked = packet.questions.first()?;
    let is_about = |asked: &Question<'_>| {
        let name = name.strip_suffix('.').unwrap_or(name);
        asked.qtype == kind.into() && asked.qname.to_string().eq_ignore_ascii_case(name)
    };
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) || !is_about(asked) {
        return None;
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Some(Err(Lack::NoName)),
        _ => return Some(Err(Lack::Refused)),
    }
    // Whatever names lead there: whom we ask has followed them.
    let addresses = packet.answers.iter().filter_map(|record| {
        let ttl = Duration::from_secs(record.ttl.into());
        match &record.rdata {
            RData::A(a) => Some((IpAddr::V4(a.address.into()), ttl)),
            RData::AAAA(aaaa) => Some((IpAddr::V6(aaaa.address.into()), ttl)),
            _ => None,
        }
    });
    Some(Ok(addresses.collect()))
}

/// Tells whether as many records can be in a message as its header promises. The library makes room for all of them
/// before it reads one: megabytes, for a header alone.
fn has_what_it_promises(bytes: &[u8]) -> bool {
    let Some((header, rest)) = bytes.split_first_chunk::<12>() else { return false };
    let [_, _, questions, records @ ..] = header.as_chunks().0 else { return false };
    let count = |number: &[u8; 2]| usize::from(u16::from_be_bytes(*number));
    MIN_QUESTION_LEN * count(questions) + MIN_RECORD_LEN * records.iter().map(count).sum::<usize>() <= rest.len()
}

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lack {
    #[error("no name server answers")]
    Silent,
    #[error("there is no such host")]
    NoName,
    #[error("the host has no address")]
    NoAddress,
    #[error("the name server refuses to answer")]
    Refused,
    #[error("{0}")]
    Socket(#[from] io::Error),
}

/// Between two servers.
const SPACING: Duration = Duration::from_millis(500);
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of one server.
const ATTEMPTS: u32 = 2;
/// As long as an answer without EDNS may be, and more.
const MAX_ANSWER: usize = 4096;
/// The root, type and class.
const MIN_QUESTION_LEN: usize = 5;
/// The root, type, class, the time it is good for, the length of no data.
const MIN_RECORD_LEN: usize = 11;
/// For what is in `/etc/hosts`.
const HOSTS_TTL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, AAAA};

    use super::*;

    fn answer(question: &[u8], rdata: &[RData<'static>]) -> Vec<u8> {
        let question = Packet::parse(question).expect("a question");
        let mut packet = question.into_reply();
        for rdata in rdata {
            let name = Name::new_unchecked("vpn.example").into_owned();
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, 60, rdata.clone()));
        }
        packet.build_bytes_vec().expect("an answer")
    }

    #[test]
    fn an_answer_is_taken_if_it_is_to_the_question() {
        let asked = question(7, "vpn.example", TYPE::A).expect("a name");
        let given = answer(&asked, &[RData::A(A { address: 0xc000_0201 }), RData::AAAA(AAAA { address: 1 })]);
        let found = records(&given, 7, "VPN.example.", TYPE::A).expect("to this question").expect("no error");
        let minute = Duration::from_secs(60);
        let address = |text: &str| text.parse().expect("an address");
        assert_eq!(found, [(address("192.0.2.1"), minute), (address("::1"), minute)]);
        assert!(records(&given, 8, "vpn.example", TYPE::A).is_none());
        assert!(records(&given, 7, "vpn.example", TYPE::AAAA).is_none());
        assert!(records(&given, 7, "other.example", TYPE::A).is_none());
        assert!(records(&asked, 7, "vpn.example", TYPE::A).is_none(), "a question is no answer");
    }

    #[test]
    fn a_header_that_promises_more_than_there_is_makes_no_room_for_it() {
        let asked = question(7, "vpn.example", TYPE::A).expect("a name");
        let given = answer(&asked, &[RData::A(A { address: 0xc000_0201 })]);
        assert!(has_what_it_promises(&given) && !has_what_it_promises(&given[..11]));
        for count in [5, 7, 9, 11] {
            let mut bytes = given.clone();
            bytes[count] = 9;
            assert!(!has_what_it_promises(&bytes), "byte {count}");
        }
        let least = [&[0; 4][..], &[0, 1, 0, 1, 0, 1, 0, 1], &[0; 5 + 3 * 11]].concat();
        assert!(has_what_it_promises(&least) && !has_what_it_promises(&least[..least.len() - 1]));
    }

    #[test]
    fn families_take_turns() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "::1"].map(address);
        let expected = ["::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"].map(address);
        assert_eq!(in_turns(addresses.to_vec()), expected);
    }

    #[test]
    fn a_name_without_a_dot_is_searched_for() {
        let search = ["a.example".to_owned()];
        assert_eq!(names("vpn", &search), ["vpn.a.example", "vpn"]);
        assert_eq!(names("vpn.b", &search), ["vpn.b", "vpn.b.a.example"]);
        assert_eq!(names("vpn.", &search), ["vpn."]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_no_answer_or_one(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
            let _ = records(&bytes, 7, "vpn.example", TYPE::A);
        }
    }
}
