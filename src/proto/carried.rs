//! State as bytes, for the next process of the same program on the same machine: how each value is written and read.
//!
//! # Layout
//! Values one after the other, without names or alignment. Numbers are little-endian; a truth is one byte, 0 or 1; what
//! may be absent is preceded by such a byte; a list by its length as 32 bits. There is one way to write a value, and no
//! other is read.
//!
//! The version of all of it is agreed upon before any of it is written (see [`VERSION`]), so that no value needs one.
//!
//! Not here: what a peer consists of (see `peer::handover`), and the way between the processes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use zeroize::Zeroizing;

use super::endpoint::{Endpoint, Source};
use super::index::Index;
use super::keys::{PublicKey, SessionKey};
use super::time::{Instant, WallTime};
use super::timestamp::Timestamp;

/// The number of this layout. Whatever is added, taken away or read differently gets another; a process takes over from
/// one that has the same, and from no other.
pub const VERSION: u32 = 2;

/// A value with one form as bytes.
pub trait Carried: Sized {
    /// Appends the value.
    fn write(&self, out: &mut Writer);

    /// Reads what [`Carried::write`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] if it is anything else.
    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed>;
}

/// The bytes are not what [`Carried::write`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state that was handed over is malformed")]
pub struct Malformed;

/// Bytes in the making, wiped on drop. They are never moved for more room, which would leave keys behind.
#[derive(Debug)]
pub struct Writer {
    bytes: Zeroizing<Vec<u8>>,
    capacity: usize,
    overflowed: bool,
}

impl Writer {
    /// Makes room for `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(capacity)), capacity, overflowed: false }
    }

    /// Appends `bytes`, if there is room for them.
    pub fn bytes(&mut self, bytes: &[u8]) {
        if self.capacity - self.bytes.len() < bytes.len() {
            self.overflowed = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Appends `bytes` after their number.
    pub fn list(&mut self, bytes: &[u8]) {
        (bytes.len() as u32).write(self);
        self.bytes(bytes);
    }

    /// Returns what was written.
    ///
    /// # Errors
    /// [`Malformed`] if it did not fit.
    pub fn written(&self) -> Result<&[u8], Malformed> {
        if self.overflowed { Err(Malformed) } else { Ok(&self.bytes) }
    }

    /// Begins anew with the same room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.overflowed = false;
    }
}

/// Bytes that are being read.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the beginning of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes `len` bytes.
    ///
    /// # Errors
    /// [`Malformed`] if there are fewer.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes `N` bytes.
    ///
    /// # Errors
    /// [`Malformed`] if there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes what [`Writer::list`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] if there are fewer bytes than announced, or more than `most`.
    pub fn list(&mut self, most: usize) -> Result<&'a [u8], Malformed> {
        let len = u32::read(self)? as usize;
        if len > most { Err(Malformed) } else { self.bytes(len) }
    }

    /// Reads one value that is all there is.
    ///
    /// # Errors
    /// [`Malformed`] if it is not, or is followed by anything.
    pub fn whole<T: Carried>(mut self) -> Result<T, Malformed> {
        let value = T::read(&mut self)?;
        self.end().map(|()| value)
    }

    /// Makes sure that nothing is left.
    ///
    /// # Errors
    /// [`Malformed`] if something is.
    pub const fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Carried for $number {
            fn write(&self, out: &mut Writer) {
                out.bytes(&self.to_le_bytes());
            }

            fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
                input.array().map(Self::from_le_bytes)
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64);

impl Carried for bool {
    fn write(&self, out: &mut Writer) {
        u8::from(*self).write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        match u8::read(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}

impl<T: Carried> Carried for Option<T> {
    fn write(&self, out: &mut Writer) {
        self.is_some().write(out);
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(if bool::read(input)? { Some(T::read(input)?) } else { None })
    }
}

impl Carried for Instant {
    fn write(&self, out: &mut Writer) {
        self.as_nanos().write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        u64::read(input).map(Self::from_nanos)
    }
}

impl Instant {
    /// Reads a moment, or none, that was written before `now`.
    ///
    /// # Errors
    /// [`Malformed`] if it is later: what was done then would seem to be just done until `now` has caught up.
    pub(super) fn read_past(now: Self, input: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let moment: Option<Self> = Option::read(input)?;
        if moment.is_none_or(|moment| moment <= now) { Ok(moment) } else { Err(Malformed) }
    }
}

impl Carried for WallTime {
    fn write(&self, out: &mut Writer) {
        self.secs.write(out);
        self.nanos.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let time = Self { secs: u64::read(input)?, nanos: u32::read(input)? };
        if time.nanos < 1_000_000_000 { Ok(time) } else { Err(Malformed) }
    }
}

impl Carried for Timestamp {
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        input.array().map(Self)
    }
}

impl Carried for Index {
    fn write(&self, out: &mut Writer) {
        self.0.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        u32::read(input).map(Self)
    }
}

impl Carried for PublicKey {
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        input.array().map(Self)
    }
}

impl Carried for SessionKey {
    fn write(&self, out: &mut Writer) {
        out.bytes(self.as_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let bytes = Zeroizing::new(input.array()?);
        Ok(Self::new(*bytes))
    }
}

/// 4 or 6, then the bytes of the address.
impl Carried for IpAddr {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::V4(address) => {
                4_u8.write(out);
                out.bytes(&address.octets());
            }
            Self::V6(address) => {
                6_u8.write(out);
                out.bytes(&address.octets());
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        match u8::read(input)? {
            4 => input.array::<4>().map(|bytes| Self::V4(Ipv4Addr::from(bytes))),
            6 => input.array::<16>().map(|bytes| Self::V6(Ipv6Addr::from(bytes))),
            _ => Err(Malformed),
        }
    }
}

/// Address and port; of IPv6 also flow information and scope.
impl Carried for SocketAddr {
    fn write(&self, out: &mut Writer) {
        self.ip().write(out);
        self.port().write(out);
        if let Self::V6(v6) = self {
            v6.flowinfo().write(out);
            v6.scope_id().write(out);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (address, port) = (IpAddr::read(input)?, u16::read(input)?);
        Ok(match address {
            IpAddr::V4(address) => Self::V4(SocketAddrV4::new(address, port)),
            IpAddr::V6(address) => Self::V6(SocketAddrV6::new(address, port, u32::read(input)?, u32::read(input)?)),
        })
    }
}

impl Carried for Source {
    fn write(&self, out: &mut Writer) {
        self.address.write(out);
        self.interface.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { address: IpAddr::read(input)?, interface: u32::read(input)? })
    }
}

impl Carried for Endpoint {
    fn write(&self, out: &mut Writer) {
        self.remote.write(out);
        self.source.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { remote: SocketAddr::read(input)?, source: Option::read(input)? })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;

    use super::*;

    fn written(value: &impl Carried) -> Vec<u8> {
        let mut out = Writer::new(1024);
        value.write(&mut out);
        out.written().expect("room").to_vec()
    }

    fn comes_back<T: Carried + PartialEq + Debug>(value: &T) {
        let bytes = written(value);
        assert_eq!(Reader::new(&bytes).whole::<T>().as_ref(), Ok(value));
        for len in 0..bytes.len() {
            assert_eq!(Reader::new(&bytes[..len]).whole::<T>(), Err(Malformed), "{len} of {} bytes", bytes.len());
        }
        assert_eq!(Reader::new(&[&bytes[..], &[0]].concat()).whole::<T>(), Err(Malformed), "a byte too many");
    }

    #[test]
    fn every_value_comes_back_and_no_shorter_or_longer_one_does() {
        comes_back(&u64::MAX);
        comes_back(&Some(7_u16));
        comes_back(&None::<u16>);
        comes_back(&Instant::from_nanos(1 << 60));
        comes_back(&WallTime { secs: 1, nanos: 999_999_999 });
        comes_back(&Timestamp([9; 12]));
        comes_back(&Index(0x0102_0304));
        comes_back(&SessionKey::new([3; 32]));
        for remote in ["192.0.2.1:7", "[2001:db8::1]:51820", "[fe80::1%3]:1"] {
            let remote = remote.parse().expect("an address");
            comes_back(&Endpoint::configured(remote));
            comes_back(&Endpoint { remote, source: Some(Source { address: remote.ip(), interface: 3 }) });
        }
    }

    #[test]
    fn what_nobody_writes_is_refused() {
        assert_eq!(Reader::new(&[2]).whole::<bool>(), Err(Malformed));
        assert_eq!(Reader::new(&[2, 0, 0]).whole::<Option<u16>>(), Err(Malformed));
        assert_eq!(Reader::new(&[5, 0, 0, 0, 0]).whole::<IpAddr>(), Err(Malformed));
        let late = WallTime { secs: 0, nanos: 1_000_000_000 };
        assert_eq!(Reader::new(&written(&late)).whole::<WallTime>(), Err(Malformed));
        assert_eq!(Reader::new(&[3, 0, 0, 0, 1, 2, 3]).list(2), Err(Malformed));
        assert_eq!(Reader::new(&[3, 0, 0, 0, 1, 2, 3]).list(3), Ok([1, 2, 3].as_slice()));
        assert_eq!(Reader::new(&[3, 0, 0, 0, 1, 2]).list(3), Err(Malformed));
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_the_room_stays_where_it_is() {
        let mut out = Writer::new(10);
        let place = out.bytes.as_ptr();
        out.bytes(&[1; 10]);
        assert_eq!(out.written(), Ok([1; 10].as_slice()));
        1_u8.write(&mut out);
        assert_eq!(out.written(), Err(Malformed));
        out.clear();
        7_u64.write(&mut out);
        assert_eq!(out.written(), Ok([7, 0, 0, 0, 0, 0, 0, 0].as_slice()));
        assert_eq!(out.bytes.as_ptr(), place);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_what_is_read_is_written_the_same(bytes: Vec<u8>) {
            if let Ok(endpoint) = Reader::new(&bytes).whole::<Option<Endpoint>>() {
                prop_assert_eq!(written(&endpoint), bytes);
            }
        }
    }
}
