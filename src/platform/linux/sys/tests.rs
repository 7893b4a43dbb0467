//! Messages in and out of sockets, against the kernel.

use std::net::UdpSocket;
use std::os::fd::AsFd;

use super::*;

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn receive(socket: &UdpSocket, buffers: &mut [Vec<u8>], received: &mut [Received]) -> io::Result<usize> {
    receive_messages(socket.as_fd(), buffers.iter_mut().map(Vec::as_mut_slice), received)
}

#[test]
fn no_more_is_received_than_there_is_room_for() {
    let (socket, address) = socket();
    for n in 0..100 {
        socket.send_to(&[n], address).unwrap();
    }
    let mut room = vec![Received::default(); 40];
    for (buffers, received, expected) in [(0, 40, 0), (40, 0, 0), (3, 5, 3), (5, 3, 3), (40, 40, MAX_RECEIVE)] {
        let mut buffers = vec![vec![0; 8]; buffers];
        assert_eq!(receive(&socket, &mut buffers, &mut room[..received]).unwrap(), expected);
    }
}

#[test]
fn what_does_not_fit_is_told_and_nothing_is_written_beyond() {
    let (socket, address) = socket();
    for bytes in [&[1; 9][..], &[2; 8], &[]] {
        socket.send_to(bytes, address).unwrap();
    }
    let mut buffers = vec![vec![0; 8], vec![0; 8], vec![]];
    let mut received = [Received::default(); 3];
    assert_eq!(receive(&socket, &mut buffers, &mut received).unwrap(), 3);
    assert_eq!(received.map(|one| (one.len, one.truncated)), [(8, true), (8, false), (0, false)]);
    assert!(received.iter().all(|one| one.from.address() == Some(address)));
}

#[test]
fn control_messages_that_do_not_fit_are_told() {
    let (socket, address) = socket();
    for option in [libc::IP_PKTINFO, libc::IP_RECVTOS, libc::IP_RECVTTL, libc::IP_RECVORIGDSTADDR] {
        set_option(socket.as_fd(), libc::IPPROTO_IP, option, 1).unwrap();
    }
    set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMP, 1).unwrap();
    socket.send_to(&[1], address).unwrap();
    let mut received = [Received::default()];
    assert_eq!(receive(&socket, &mut [vec![0; 8]], &mut received).unwrap(), 1);
    assert!(received[0].truncated);
    assert!(received[0].control.bytes().len() <= ControlBuffer::ROOM);
}

#[test]
fn an_empty_socket_does_not_block() {
    let (socket, _) = socket();
    let error = receive(&socket, &mut [vec![0; 8]], &mut [Received::default()]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn no_more_is_sent_than_one_call_takes_and_nothing_is_nothing() {
    let (socket, address) = socket();
    let message = || Outgoing { to: SocketName::new(address), control: ControlBuffer::new(), bytes: &[1] };
    assert_eq!(send_messages(socket.as_fd(), std::iter::empty()).unwrap(), 0);
    assert_eq!(send_messages(socket.as_fd(), std::iter::repeat_with(message)).unwrap(), MAX_SEND);
}

#[test]
fn senseless_control_messages_are_refused_by_the_kernel() {
    let (socket, address) = socket();
    for len in [0, 15, ControlBuffer::ROOM + 1, usize::MAX] {
        let mut control = ControlBuffer::new();
        control.push_ds(1, false);
        control.room()[..size_of::<usize>()].copy_from_slice(&len.to_ne_bytes());
        let message = Outgoing { to: SocketName::new(address), control, bytes: &[1] };
        let error = send_messages(socket.as_fd(), std::iter::once(message)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{len}");
    }
}

#[test]
fn addresses_in_digits_are_resolved_without_asking_anyone() {
    let resolve = |node: Option<&CStr>| resolve(node, c"51820").map_err(|(code, _)| code);
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    assert_eq!(resolve(Some(c"192.0.2.1")), Ok(vec![address("192.0.2.1:51820")]));
    assert_eq!(resolve(Some(c"fe80::1%1")), Ok(vec![address("[fe80::1%1]:51820")]));
    assert!(resolve(None).is_ok_and(|found| found.iter().all(|address| address.port() == 51820) && !found.is_empty()));
    assert_eq!(resolve(Some(c"")), Err(libc::EAI_NONAME));
    assert_eq!(resolve(Some(c"fe80::1%no-such-interface")), Err(libc::EAI_NONAME));
}

#[test]
fn filters_the_kernel_does_not_take_are_refused() {
    // Lengths that do not fit or are none, an instruction that is none: no filter is installed by any of them.
    let nonsense = libc::sock_filter { code: u16::MAX, jt: 255, jf: 255, k: u32::MAX };
    for len in [0, 1, 4097, 1 << 16] {
        let error = install_filter(&vec![nonsense; len], 0).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::InvalidInput), "{len}: {error}");
    }
}

#[test]
fn interface_names_are_cut_and_terminated() {
    assert_eq!(InterfaceRequest::new("wg0", 0).name(), "wg0");
    assert_eq!(InterfaceRequest::new(&"x".repeat(100), 0).name().len(), libc::IFNAMSIZ - 1);
    let request = InterfaceRequest { name: [b'y'; libc::IFNAMSIZ], flags: 0, rest: [0; 22] };
    assert_eq!(request.name().len(), libc::IFNAMSIZ);
}
