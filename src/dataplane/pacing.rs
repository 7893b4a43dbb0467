//! Rests in a flood of datagrams, so that the programs they are for can read them.
//!
//! Nobody slows the sender of datagrams down, and a socket has room for few: 208 KiB unless it asks for more, which 90
//! datagrams of 1,392 bytes fill, or 250 of 64. What comes while it is full is lost at the very end of its way. Where all
//! cores are taken its reader waits for one, again and again, behind the very thread that fills the socket: each datagram
//! that arrives wakes that thread, which goes first because it sleeps a lot. So after half of such a socket the thread
//! sleeps a little longer, and what arrives meanwhile waits in the socket of the tunnel, which is larger by far. To yield
//! the core instead brought a third of that: it leaves a reader that waits for another core where it is.
//!
//! A thread that has a core to itself keeps nobody waiting, and by resting would carry half as much at worst. So one rests
//! only if the core was lately taken from it for another thread.
//!
//! Not here: TCP, whose receivers tell their senders what they have room for.

use std::time::Duration;

/// What one thread knows about resting.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    /// Datagrams delivered since the last rest was considered, and the bytes they take in sockets.
    delivered: u32,
    filled: usize,
    /// How often the core had been taken from the thread when that was last asked.
    preemptions: u64,
    /// How many rests are still due because it was.
    rests: u32,
}

impl Pacing {
    /// Takes note of `count` datagrams of `bytes` in all that were written to the TUN. Returns how long to rest now.
    ///
    /// `preemptions` is how often the core was taken from this thread; asked once for half a socket of datagrams.
    pub(super) fn delivered(
        &mut self,
        count: usize,
        bytes: usize,
        preemptions: impl FnOnce() -> u64,
    ) -> Option<Duration> {
        self.delivered += count as u32;
        self.filled += bytes + count * OVERHEAD_IN_SOCKET;
        if self.filled < ROOM {
            return None;
        }
        self.filled = 0;
        let time = READING * std::mem::take(&mut self.delivered);
        let before = std::mem::replace(&mut self.preemptions, preemptions());
        self.rests = if before < self.preemptions { MOST_RESTS } else { self.rests.saturating_sub(1) };
        (self.rests > 0).then_some(time)
    }
}

/// About what a socket counts for a datagram besides its bytes: `sk_buff`, shared information and slack.
const OVERHEAD_IN_SOCKET: usize = 768;

/// Half the room of a socket that did not ask for more (`net.core.rmem_default`, 212,992 bytes). Rests after 64, 96 and
/// 160 KiB differed less than the noise.
const ROOM: usize = 96 << 10;

/// Rest for each datagram: less than most programs need to read one. The kernel adds up to 50 µs to each rest.
const READING: Duration = Duration::from_nanos(800);

/// A thread that rests is preempted less often than once for each rest, though others wait for its core.
const MOST_RESTS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Delivers `writes` of `count` datagrams of `len` bytes each; returns the rests.
    fn deliver(pacing: &mut Pacing, writes: usize, count: usize, len: usize, preemptions: u64) -> Vec<Duration> {
        (0..writes).filter_map(|_| pacing.delivered(count, count * len, || preemptions)).collect()
    }

    #[test]
    fn a_thread_with_a_core_to_itself_never_rests() {
        assert_eq!(deliver(&mut Pacing::default(), 1_000, 64, 92, 0), []);
    }

    #[test]
    fn what_is_delivered_between_two_rests_fits_half_a_socket() {
        for (len, room) in [(92, 106..=250), (1_420, 40..=90)] {
            let mut pacing = Pacing::default();
            let mut rested = 0;
            for preemptions in 1.. {
                let rests = deliver(&mut pacing, 100, 10, len, preemptions);
                rested += rests.len();
                if preemptions == 100 {
                    break;
                }
            }
            assert!(room.contains(&(100 * 1_000 / rested)), "{len} bytes: {rested} rests");
        }
    }

    #[test]
    fn a_rest_is_as_long_as_reading_takes() {
        let small = deliver(&mut Pacing::default(), 120, 1, 92, 1);
        let large = deliver(&mut Pacing::default(), 60, 1, 1_420, 1);
        assert_eq!((small.len(), large.len()), (1, 1));
        assert!(small[0] > large[0] * 2, "{small:?} {large:?}");
        assert!(small[0] < Duration::from_micros(100));
    }

    #[test]
    fn the_os_is_asked_once_for_many_datagrams() {
        let (mut pacing, mut asked) = (Pacing::default(), 0);
        for _ in 0..10_000 {
            pacing.delivered(1, 92, || {
                asked += 1;
                asked
            });
        }
        assert!((80..=100).contains(&asked), "{asked}");
    }

    #[test]
    fn a_preemption_is_remembered_for_a_while_and_then_forgotten() {
        let mut pacing = Pacing::default();
        assert_eq!(deliver(&mut pacing, 200, 64, 92, 1).len(), MOST_RESTS as usize);
        assert_eq!(deliver(&mut pacing, 1, 200, 92, 2).len(), 1, "until the next");
    }
}
