//! By what means an rvpn daemon moves packets: keys of its own in the answer to `get`, which no other server sends.
//!
//! They stand before the first peer and begin with `rvpn_`; `wg` passes over keys that it does not know. So does the
//! reader here with values: the other side may be of another release.
//!
//! Not here: how the means are chosen, and how they are told to a person.

use std::fmt;

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$item_doc:meta])* $name:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $type { $($(#[$item_doc])* $name,)* }

        impl $type {
            /// All of them, in the order in which they are written.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the word for it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Finds the one with this word.
            pub(crate) fn parse(text: &[u8]) -> Option<Self> {
                Self::ALL.iter().copied().find(|item| item.as_str().as_bytes() == text)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What encrypts packets (`rvpn_aead`).
    Aead {
        /// Many packets at once, with AVX-512.
        Avx512 = "avx512",
        /// AWS-LC, packet by packet.
        AwsLc = "aws-lc",
        /// Pure Rust, packet by packet.
        PureRust = "pure-rust",
    }
}

words! {
    /// Work on many packets that is left to the kernel in one piece (`rvpn_offload`).
    Offload {
        /// The interface takes merged TCP over IPv4.
        TunTcp4 = "tun-tcp4",
        /// The interface takes merged TCP over IPv6.
        TunTcp6 = "tun-tcp6",
        /// The interface takes merged UDP over IPv4.
        TunUdp4 = "tun-udp4",
        /// The interface takes merged UDP over IPv6.
        TunUdp6 = "tun-udp6",
        /// The UDP sockets take a train of datagrams and cut it.
        UdpSend = "udp-send",
        /// The UDP sockets merge datagrams that come in.
        UdpReceive = "udp-receive",
    }
}

/// A set of [`Offload`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Offloads(u8);

impl Offloads {
    /// Tells whether `offload` is in use.
    pub const fn contains(self, offload: Offload) -> bool {
        self.0 & bit(offload) != 0
    }

    /// Returns those in use, in the order of [`Offload::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Offload> {
        Offload::ALL.iter().copied().filter(move |&offload| self.contains(offload))
    }

    /// Reads words with a comma between them; one that is not known is passed over.
    pub(crate) fn parse(text: &[u8]) -> Self {
        text.split(|&byte| byte == b',').filter_map(Offload::parse).collect()
    }
}

impl FromIterator<Offload> for Offloads {
    fn from_iter<I: IntoIterator<Item = Offload>>(offloads: I) -> Self {
        Self(offloads.into_iter().fold(0, |bits, offload| bits | bit(offload)))
    }
}

/// Words with a comma between them, or `none`.
impl fmt::Display for Offloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, offload) in self.iter().enumerate() {
            let between = if position == 0 { "" } else { "," };
            write!(f, "{between}{offload}")?;
        }
        if self.0 == 0 { f.write_str("none") } else { Ok(()) }
    }
}

const fn bit(offload: Offload) -> u8 {
    1 << offload as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_reads_what_it_wrote_and_passes_over_what_it_does_not_know() {
        for bits in 0..1 << Offload::ALL.len() {
            let set = Offloads(bits);
            assert_eq!(Offloads::parse(set.to_string().as_bytes()), set);
            assert_eq!(set.iter().collect::<Offloads>(), set);
        }
        let some = Offloads::from_iter([Offload::UdpSend, Offload::TunTcp4]);
        assert_eq!(some.to_string(), "tun-tcp4,udp-send");
        assert_eq!(Offloads::parse(b"udp-send,teleport,,tun-tcp4,udp-send"), some);
        assert_eq!(Offloads::parse(b""), Offloads::default());
        assert_eq!(Aead::parse(b"avx1024"), None);
    }
}
