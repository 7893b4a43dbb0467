//! Cutting a train of datagrams into messages the kernel takes: not too many segments, not too many bytes.
//!
//! Not here: what is done when the kernel refuses a message (the data plane sends its datagrams one by one).
//!
//! Source: udp(7) (UDP_SEGMENT).

use crate::dataplane::io::Transmit;

/// The bounds of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Datagrams.
    pub(super) segments: usize,
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
    if len <= bounds.len && len.div_ceil(segment_len) <= bounds.segments {
        return len.max(1);
    }
    (bounds.len / segment_len).clamp(1, bounds.segments.max(1)).saturating_mul(segment_len)
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

    const BOUNDS: Bounds = Bounds { segments: MAX_SEGMENTS, len: MAX_LEN_V4 };

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
        assert_eq!(lens(2500, 1000, Bounds { segments: 1, ..BOUNDS }), [1000, 1000, 500]);
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
