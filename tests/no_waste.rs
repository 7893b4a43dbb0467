//! What a packet must not cost once a device is warm: an allocation, or a look at the clock.
//!
//! Counted over whole devices in one thread, out and in. Locks and reference counts are atomic instructions, which no
//! test inside the process can count: `make callgrind` does, and holds that a burst costs the same number of them
//! however many packets are in it.

#[path = "replay/pair.rs"]
mod pair;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use pair::{Burst, Pair};

/// The system's allocator, counting the calls of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more, and is of no interest.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged; counting neither allocates nor unwinds, because the
// counter is a constant-initialised thread local without a destructor.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        count();
        // SAFETY: `old` came from the system's allocator with `layout`, as the caller promises of ours.
        unsafe { System.realloc(old, layout, len) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: `old` came from the system's allocator with `layout`, as the caller promises of ours.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bursts before anything is counted: every vector has grown to its size by then.
const WARM_UP: u64 = 50;
const COUNTED: u64 = 100;

/// What the counted bursts cost in all.
struct Cost {
    allocations: u64,
    clock_reads: [u64; 2],
    writes: u64,
    bytes: u64,
}

fn measure(burst: &Burst) -> Cost {
    let mut pair = Pair::new(burst);
    let mut carry = |bursts: u64| {
        for _ in 0..bursts {
            pair.send(true);
            pair.deliver();
        }
        let (writes, bytes) = pair.delivered();
        let clock_reads = [pair.clock_reads(0), pair.clock_reads(1)];
        Cost { allocations: ALLOCATIONS.get(), clock_reads, writes, bytes }
    };
    let before = carry(WARM_UP);
    let after = carry(COUNTED);
    Cost {
        allocations: after.allocations - before.allocations,
        clock_reads: [0, 1].map(|n| after.clock_reads[n] - before.clock_reads[n]),
        writes: after.writes - before.writes,
        bytes: after.bytes - before.bytes,
    }
}

const BURSTS: [Burst; 4] = [Burst::Segmented(45), Burst::Segmented(1), Burst::Small(1), Burst::Small(100)];

#[test]
fn everything_arrives() {
    let large = measure(&Burst::Segmented(45));
    assert_eq!(large.bytes, COUNTED * (40 + 45 * 1_380), "45 segments are one packet again");
    assert_eq!(large.writes, COUNTED);
    assert_eq!(measure(&Burst::Small(100)).bytes % COUNTED, 0);
    assert!(measure(&Burst::Small(100)).bytes > COUNTED * 100 * 64);
}

#[test]
fn no_packet_allocates_once_the_device_is_warm() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get() - before, 1, "an allocation is counted");
    for burst in BURSTS {
        assert_eq!(measure(&burst).allocations, 0, "allocations in {COUNTED} bursts of {}", burst.count());
    }
}

#[test]
fn the_clock_is_read_per_burst_and_not_per_packet() {
    for burst in BURSTS {
        let [out, inn] = measure(&burst).clock_reads;
        let trains = burst.count().div_ceil(45) as u64;
        assert!(out <= COUNTED, "{out} reads on the way out for {COUNTED} bursts of {}", burst.count());
        // Two clocks per batch received: the age of things, and the calendar time of the last handshake.
        assert!(inn <= 2 * COUNTED * trains, "{inn} reads on the way in for {COUNTED} bursts of {}", burst.count());
    }
}
