//! What is not as it should be is an error and no panic; what is right is tested with the whole (see `kernel::tests`).

use netlink_packet_core::Emitable;

use super::*;
use crate::control::client::kernel::tests::{answer_of, big_set};
use crate::control::client::kernel::{self};

/// The bytes of an answer with a bit of everything.
fn bytes() -> Vec<u8> {
    let kernel = kernel::tests::FakeKernel::with(&["wg0"]);
    kernel::apply(&kernel, "wg0", &big_set(2, 2)).expect("applied");
    let status = kernel::status(&kernel, "wg0").expect("read");
    let [attributes] = &answer_of("wg0", &status, usize::MAX)[..] else { panic!("one message") };
    let mut bytes = vec![0; attributes.as_slice().buffer_len()];
    attributes.as_slice().emit(&mut bytes);
    bytes
}

#[test]
fn an_answer_that_is_cut_or_changed_anywhere_is_an_error_or_another_answer() {
    let bytes = bytes();
    assert!(read(&bytes, &mut DeviceStatus::default()).is_ok());
    for len in 0..bytes.len() {
        // Attributes are whole or there is an error; nothing panics.
        let _ = read(&bytes[..len], &mut DeviceStatus::default());
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = bytes.clone();
            changed[len] = value;
            let _ = read(&changed, &mut DeviceStatus::default());
        }
    }
}

#[test]
fn values_of_the_wrong_length_are_errors() {
    for (kind, len) in [(kind::DEVICE_PRIVATE_KEY, 31), (kind::DEVICE_LISTEN_PORT, 1), (kind::DEVICE_FWMARK, 2)] {
        let mut attribute = Vec::new();
        attribute.extend_from_slice(&(4 + len as u16).to_ne_bytes());
        attribute.extend_from_slice(&kind.to_ne_bytes());
        attribute.resize(4 + len, 1);
        let error = read(&attribute, &mut DeviceStatus::default()).expect_err("too short");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
    assert!(socket_address(&[2, 0, 1, 2, 3]).is_err() && socket_address(&[9; 28]).is_err());
    assert!(time(&[0; 8]).is_err() && time(&[0xff; 16]).is_err());
}

#[test]
fn no_key_no_time_and_no_flow_label_are_none() {
    assert_eq!(secret(&[0; 32]).expect("read"), None);
    assert_eq!(time(&[0; 16]).expect("read"), None);
    let mut bytes = [0; 28];
    (bytes[0], bytes[4], bytes[24]) = (10, 0xff, 3);
    assert_eq!(socket_address(&bytes).expect("read"), "[::%3]:0".parse().expect("an address"));
}
