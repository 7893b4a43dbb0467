//! Sealing and opening touch the bytes of their packets and no other: behind and before every packet lies a page that
//! cannot be touched.

#![cfg(target_os = "linux")]
// Pages are what the kernel gives.
#![allow(unsafe_code)]

use rvpn::aead::{Avx512, Key, TAG_LEN};

const PAGE: usize = 4096;

/// Room for a packet with a guard page on either side.
struct Guarded {
    start: *mut u8,
    pages: usize,
}

impl Guarded {
    fn new(pages: usize) -> Self {
        let (len, access) = ((pages + 2) * PAGE, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new mapping wherever the kernel likes; nothing else refers to it.
        let start = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0).cast::<u8>()
        };
        assert_ne!(start.cast(), libc::MAP_FAILED);
        // SAFETY: the second page lies in the mapping.
        let first = unsafe { start.add(PAGE) };
        // SAFETY: these pages lie in the mapping, and nothing else refers to them.
        let made = unsafe { libc::mprotect(first.cast(), pages * PAGE, access) };
        assert_eq!(made, 0);
        Self { start, pages }
    }

    /// The first or the last `len` bytes between the guards.
    fn bytes(&mut self, len: usize, last: bool) -> &mut [u8] {
        let room = self.pages * PAGE;
        assert!(len <= room);
        let offset = if last { room - len } else { 0 };
        // SAFETY: `offset` lies within the writable pages.
        let first = unsafe { self.start.add(PAGE + offset) };
        // SAFETY: the bytes lie in the writable pages, were zeroed by the kernel, and are borrowed as long as `self`.
        unsafe { std::slice::from_raw_parts_mut(first, len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, to which nothing refers any more.
        unsafe { libc::munmap(self.start.cast(), (self.pages + 2) * PAGE) };
    }
}

#[test]
fn no_byte_beyond_a_packet_is_touched() {
    let Some(backend) = Avx512::detect() else {
        println!("skipped: this processor has no AVX-512 with IFMA");
        return;
    };
    let key = Key::new(backend, &[3; 32]);
    let mut rooms: Vec<_> = (0..3).map(|_| Guarded::new(1)).collect();
    for len in (0..600).chain([1007, 1008, 1009, 1424, 1436, 1440, 2047, 2048]) {
        for last in [false, true] {
            // Between others of other lengths, so that each is the first, the middle or the last of a group.
            let lens = [len, (len * 7) % 300, len];
            let mut packets: Vec<&mut [u8]> =
                rooms.iter_mut().zip(lens).map(|(room, len)| room.bytes(len + TAG_LEN, last)).collect();
            packets.iter_mut().for_each(|packet| packet.fill(0x17));
            key.seal(9, &mut packets);
            assert_eq!(key.open(&[9, 10, 11], &mut packets), 0b111, "{lens:?}");
            assert!(packets.iter().all(|packet| packet[..packet.len() - TAG_LEN].iter().all(|byte| *byte == 0x17)));
        }
    }
}
