//! What name servers answer, what the process that asks them tells the daemon, and the files it reads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use arbitrary::Unstructured;
use rvpn::control::names::parsing::{answer, hosts, line, question, resolv_conf, write_line};

/// The first byte says which it is.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 5 {
        0 => any_bytes(bytes),
        1 => made(&mut Unstructured::new(bytes)).expect("no input is too short"),
        2 => asked(&String::from_utf8_lossy(bytes)),
        3 => lines(&String::from_utf8_lossy(bytes)),
        _ => files(&String::from_utf8_lossy(bytes)),
    }
}

const HOST: &str = "vpn.example";
/// `HOST`, as DNS has it.
const LABELS: &[u8] = b"\x03vpn\x07example\0";
const ID: u16 = 0x1234;
const TYPES: [u16; 2] = [1, 28];

/// Whatever comes after the first bytes of an answer: no address comes out that is not in it, with a length before it
/// and its time before that, and no more than there is room for.
fn any_bytes(bytes: &[u8]) {
    let right = [&ID.to_be_bytes()[..], &[0x81, 0x80, 0, 1]].concat();
    for is_v6 in [false, true] {
        let asked = [LABELS, &TYPES[usize::from(is_v6)].to_be_bytes(), &[0, 1]].concat();
        let counts = bytes.split_first_chunk::<6>().map(|(counts, rest)| [&right, &counts[..], &asked, rest].concat());
        for message in counts.iter().map(Vec::as_slice).chain([bytes]) {
            let Some(told) = answer(message, ID, HOST, is_v6) else { continue };
            assert!(message[..2] == ID.to_be_bytes() && message[2] & 0x80 != 0, "it is no answer to the question");
            let Ok(told) = told else {
                // The rest of its number may be in the additional records: RFC 6891.
                assert!(message[3] & 15 != 0 || message[10..12] != [0, 0], "there is no error");
                continue;
            };
            assert_eq!(message[3] & 15, 0, "there is an error");
            assert!(told.len() <= (message.len() - 12) / 15, "{} addresses in {} bytes", told.len(), message.len());
            for (address, ttl) in told {
                let data = record_end(address, ttl.as_secs().try_into().expect("32 bits"));
                // The library takes what is longer for an address and something after it.
                let is_it = |part: &[u8]| part[..4] == data[..4] && part[4..6] >= data[4..6] && part[6..] == data[6..];
                assert!(message.windows(data.len()).any(is_it), "{address} for {ttl:?} is not in it");
            }
        }
    }
}

/// An answer made here, without any help of the code under test: all of it comes out, in order, or why it does not.
fn made(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let (faults, asked_v6) = (input.arbitrary::<u8>()?, input.arbitrary::<bool>()?);
    let fault = |bit: u8| faults & 0xc0 == 0xc0 && faults >> bit & 1 != 0;
    let id = if fault(0) { input.arbitrary()? } else { ID };
    let is_answer = !fault(1);
    let rcode = if fault(2) { input.arbitrary::<u8>()? & 15 } else { 0 };
    let is_about = !fault(3);
    let is_family = !fault(4);
    let mut labels = LABELS.to_vec();
    for letter in labels.iter_mut().filter(|byte| byte.is_ascii_alphabetic()) {
        // Whoever asks may see another case come back.
        *letter ^= u8::from(input.arbitrary::<u8>()? & 1 != 0) << 5;
    }
    if !is_about {
        labels[1] ^= 1;
    }
    let kind = TYPES[usize::from(asked_v6 == is_family)];

    let (mut records, mut count, mut expected) = (Vec::new(), 0_u16, Vec::new());
    while !input.is_empty() && count < 40 {
        let (form, ttl) = (input.arbitrary::<u8>()?, input.arbitrary::<u32>()?);
        // The name that was asked for, by a pointer or whole, or another one.
        match form >> 6 {
            0 | 1 => records.extend([0xc0, 12]),
            2 => records.extend(LABELS),
            _ => records.extend(b"\x05other\xc0\x10"),
        }
        count += 1;
        let address = match form & 7 {
            0..=2 => IpAddr::V4(Ipv4Addr::from_bits(input.arbitrary()?)),
            3..=5 => IpAddr::V6(Ipv6Addr::from_bits(input.arbitrary()?)),
            6 => {
                // It is called otherwise.
                records.extend([0, 5, 0, 1]);
                records.extend(ttl.to_be_bytes());
                records.extend(b"\0\x04\x01a\xc0\x10");
                continue;
            }
            _ => {
                // A type that nobody knows.
                let len = form >> 3 & 7;
                records.extend([0xff, 0x12, 0, 1]);
                records.extend(ttl.to_be_bytes());
                records.extend([0, len]);
                records.extend(std::iter::repeat_n(form, len.into()));
                continue;
            }
        };
        records.extend(TYPES[usize::from(address.is_ipv6())].to_be_bytes());
        records.extend([0, 1]);
        records.extend(record_end(address, ttl));
        expected.push((address, Duration::from_secs(ttl.into())));
    }
    let flags = [if is_answer { 0x81 } else { 1 }, 0x80 | rcode];
    let [id_high, id_low] = id.to_be_bytes();
    let [high, low] = count.to_be_bytes();
    let header = [id_high, id_low, flags[0], flags[1], 0, 1, high, low, 0, 0, 0, 0];
    let message = [&header, labels.as_slice(), &kind.to_be_bytes(), &[0, 1], &records].concat();

    let told = answer(&message, ID, HOST, asked_v6);
    if id != ID || !is_answer || !is_about || !is_family {
        assert_eq!(told, None, "an answer to another question is taken: {message:x?}");
    } else if rcode != 0 {
        assert!(matches!(told, Some(Err(_))), "an error is no answer: {message:x?}");
    } else {
        assert_eq!(told, Some(Ok(expected)), "{message:x?}");
    }
    // What was cut off on the way may be nothing, but no other address: the check of any bytes.
    any_bytes(&message[..message.len() - usize::from(faults & 63).min(message.len())]);
    Ok(())
}

/// From the time on: time, length, address.
fn record_end(address: IpAddr, ttl: u32) -> Vec<u8> {
    let mut bytes = ttl.to_be_bytes().to_vec();
    match address {
        IpAddr::V4(address) => {
            bytes.extend([0, 4]);
            bytes.extend(address.octets());
        }
        IpAddr::V6(address) => {
            bytes.extend([0, 16]);
            bytes.extend(address.octets());
        }
    }
    bytes
}

/// Every name that an endpoint may have is asked for as it is written; other words do no harm.
fn asked(host: &str) {
    let written = question(ID, host, true);
    if rvpn_uapi::Candidate::name(host, 1).is_none() {
        return;
    }
    let mut expected = [&ID.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in host.strip_suffix('.').unwrap_or(host).split('.') {
        expected.push(label.len() as u8);
        expected.extend(label.as_bytes());
    }
    expected.extend([0, 0, 28, 0, 1]);
    assert_eq!(written, Some(expected.clone()), "{host}");
    // And its answer is known for one.
    expected[2] |= 0x80;
    assert_eq!(answer(&expected, ID, host, true), Some(Ok(vec![])), "{host}");
}

/// A line of the process is nothing, or is written again and read the same; what it says can be shown.
fn lines(text: &str) {
    for text in text.lines() {
        let Some((host, found)) = line(text) else { continue };
        match &found {
            Ok((addresses, _)) => assert!((1..=16).contains(&addresses.len()), "{} addresses", addresses.len()),
            Err(reason) => assert!(!reason.contains(char::is_control), "{reason:?}"),
        }
        let written = write_line(&host, found.clone());
        assert_eq!(written.find('\n'), Some(written.len() - 1), "it is one line: {written:?}");
        let Ok(found) = found else { continue };
        assert_eq!(line(written.trim_end()), Some((host, Ok(found))));
    }
}

/// The files are read line by line: no line changes what another one says, but for the domains, of which the last
/// counts.
fn files(text: &str) {
    let (servers, search) = resolv_conf(text);
    let each: Vec<_> = text.lines().map(resolv_conf).collect();
    assert_eq!(servers, each.iter().flat_map(|(servers, _)| servers.clone()).collect::<Vec<_>>());
    let last = each.iter().rev().map(|(_, search)| search).find(|search| !search.is_empty());
    assert!(search.is_empty() || last == Some(&search));
    for host in [HOST, "a"] {
        let each: Vec<_> = text.lines().flat_map(|line| hosts(line, host)).collect();
        assert_eq!(hosts(text, host), each);
        assert_eq!(hosts(&format!("{text}\n192.0.2.77 x\t{host}.\n"), host).len(), each.len());
        let more = [each, vec![IpAddr::from([192, 0, 2, 77])]].concat();
        assert_eq!(hosts(&format!("{text}\n192.0.2.77 x\t{host} # \n"), host), more);
    }
}
