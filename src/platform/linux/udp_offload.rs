//! Cutting a train of datagrams into messages the kernel takes: not too many segments, not too many bytes, and none that
//! it would spoil.
//!
//! Not here: what is done when the kernel refuses a message (the data plane sends its datagrams one by one).
//!
//! Source: udp(7) (UDP_SEGMENT).

use crate::dataplane::io::Transmit;

/// The trains that are handed to the kernel as one message.
///
/// Linux 7.0 to 7.1.4 spoils headers and checksums of a train whose last datagram is as long as the others, where the
/// interface segments (fixed in 7.1.5; distributions carried the fault elsewhere, and so may a hypervisor). Nothing
/// tells the sender, so it goes by the version. Such a train is sent datagram by datagram. To end it with a datagram of
/// one byte, as others do, keeps its speed and has crashed the firmware of a network card; and the trains of a fast TCP
/// stream end with a shorter datagram anyway, because the host's own segments of up to 64 KiB do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trains {
    /// None: each datagram is a message.
    None,
    /// Those that end with a shorter datagram.
    Unequal,
    /// Any.
    Any,
}

impl Trains {
    /// Returns what the running kernel does right.
    pub fn of_this_kernel() -> Self {
        Self::of_kernel(&rustix::system::uname().release().to_string_lossy())
    }

    /// Returns what the kernel `release` does right, for instance `7.0.2-6-pve`.
    fn of_kernel(release: &str) -> Self {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
        let version: [u32; 3] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
        if ([7, 0, 0]..[7, 1, 5]).contains(&version) { Self::Unequal } else { Self::Any }
    }
}

/// The bounds of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// What is a message at all.
    pub(super) trains: Trains,
    /// Bytes of UDP payload.
    pub(super) len: usize,
}

/// Returns the payloads of the messages for `transmit`, at least one: an empty datagram is one too.
pub(super) fn messages<'a>(transmit: &Transmit<'a>, bounds: Bounds) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let empty = transmit.bytes.is_empty().then_some(transmit.bytes);
    empty.into_iter().chain(transmit.bytes.chunks(message_len(transmit, bounds)))
}

/// Returns how many messages [`messages`] gives.
pub(super) fn count(transmit: &Transmit<'_>, bounds: Bounds) -> usize {
    transmit.bytes.len().div_ceil(message_len(transmit, bounds)).max(1)
}

/// A single datagram is never cut, even if it is too long: the kernel says so.
fn message_len(transmit: &Transmit<'_>, bounds: Bounds) -> usize {
    let (len, segment_len) = (transmit.bytes.len(), transmit.segment_len.max(1));
    let fits = len <= bounds.len && len.div_ceil(segment_len) <= MAX_SEGMENTS;
    match bounds.trains {
        _ if len <= segment_len => len.max(1),
        Trains::Any if fits => len,
        Trains::Any => (bounds.len / segment_len).clamp(1, MAX_SEGMENTS) * segment_len,
        Trains::Unequal if fits && len % segment_len != 0 => len,
        // Where it is cut, too, there would be equal tails.
        Trains::Unequal | Trains::None => segment_len,
    }
}

/// The most segments of a message in every kernel that has UDP_SEGMENT.
pub(super) const MAX_SEGMENTS: usize = 64;
/// The most payload bytes of a message over IPv4: 65,535 less the IP and UDP headers.
pub(super) const MAX_LEN_V4: usize = 65_507;
/// The same over IPv6. The header itself would not count, but kernels differ in that, and 20 bytes are no loss.
pub(super) const MAX_LEN_V6: usize = 65_487;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::endpoint::Endpoint;

    const BOUNDS: Bounds = Bounds { trains: Trains::Any, len: MAX_LEN_V4 };

    fn lens(len: usize, segment_len: usize, bounds: Bounds) -> Vec<usize> {
        let bytes = vec![0; len];
        let to = Endpoint::configured("192.0.2.1:1".parse().unwrap());
        let transmit = Transmit { to, ds: 0, bytes: &bytes, segment_len };
        let lens: Vec<_> = messages(&transmit, bounds).map(<[u8]>::len).collect();
        assert_eq!(lens.len(), count(&transmit, bounds));
        assert_eq!(lens.iter().sum::<usize>(), len);
        lens
    }

    #[test]
    fn a_train_within_the_bounds_is_one_message() {
        assert_eq!(lens(64 * 1000, 1000, BOUNDS), [64_000]);
        assert_eq!(lens(1452 * 45 + 7, 1452, BOUNDS), [1452 * 45 + 7]);
    }

    #[test]
    fn too_many_segments_are_several_messages() {
        assert_eq!(lens(65 * 100 + 1, 100, BOUNDS), [6400, 101]);
        assert_eq!(lens(128 * 100, 100, BOUNDS), [6400, 6400]);
    }

    #[test]
    fn too_many_bytes_are_several_messages_cut_between_segments() {
        assert_eq!(lens(50 * 1452, 1452, BOUNDS), [45 * 1452, 5 * 1452]);
        assert_eq!(lens(3 * 40_000, 40_000, BOUNDS), [40_000; 3]);
    }

    #[test]
    fn without_segmentation_every_datagram_is_a_message() {
        assert_eq!(lens(2500, 1000, Bounds { trains: Trains::None, ..BOUNDS }), [1000, 1000, 500]);
    }

    #[test]
    fn a_kernel_that_spoils_equal_tails_gets_none() {
        let bounds = Bounds { trains: Trains::Unequal, ..BOUNDS };
        assert_eq!(lens(2500, 1000, bounds), [2500]);
        assert_eq!(lens(3000, 1000, bounds), [1000; 3]);
        // To be cut into several messages, of which all but the last would have equal tails.
        assert_eq!(lens(65 * 100 + 1, 100, bounds).iter().filter(|&&len| len == 100).count(), 65);
        assert_eq!(lens(1000, 1000, bounds), [1000]);
        assert_eq!(lens(0, 0, bounds), [0]);
    }

    #[test]
    fn the_kernels_that_spoil_equal_tails_are_known_by_their_version() {
        for release in ["7.0.0", "7.0.2-6-pve", "7.0-rc3", "7.1.4", "7.1"] {
            assert_eq!(Trains::of_kernel(release), Trains::Unequal, "{release}");
        }
        for release in ["6.18.44-fc", "7.1.5", "7.2.0", "7.10.1", "8.0", "5.10.0-8-amd64", "", "strange"] {
            assert_eq!(Trains::of_kernel(release), Trains::Any, "{release}");
        }
    }

    #[test]
    fn an_empty_datagram_is_a_message() {
        assert_eq!(lens(0, 0, BOUNDS), [0]);
    }

    #[test]
    fn a_single_datagram_is_never_cut() {
        assert_eq!(lens(70_000, 70_000, BOUNDS), [70_000]);
        assert_eq!(lens(148, usize::MAX, BOUNDS), [148]);
    }
}
