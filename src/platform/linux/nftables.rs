//! Packet filters: whole tables of nftables, put in place or taken away in one step.
//!
//! ```text
//! Table { chains: [Chain { rules: [[Term]] }] } -> messages of one batch -> the kernel does all of it, or nothing
//!                            term::Term -> expressions
//! ```
//!
//! The library that the program `nft` stands on is C. The Rust crates are bindings to it (`nftnl`), run `nft`
//! (`nftables`) or are under the GPL (`rustables`), so the few messages that a tunnel needs are written here.
//!
//! Not here: which tables a tunnel needs (see `control::quick::firewall`).
//!
//! Sources: Linux uapi/linux/netfilter/nf_tables.h and nfnetlink.h; Documentation/userspace-api/netlink.

use std::io;
use std::os::fd::OwnedFd;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST};
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

mod attribute;
mod term;

use self::attribute::Attributes;
pub use self::term::Term;

/// A table and all that is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Which packets it sees.
    pub family: Family,
    /// Its name, which is its owner's as long as it is there.
    pub name: String,
    /// Its chains.
    pub chains: Vec<Chain>,
}

/// Packets of one protocol, or of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    /// Both.
    Inet = libc::NFPROTO_INET as u8,
    /// IPv4.
    Ip = libc::NFPROTO_IPV4 as u8,
    /// IPv6.
    Ip6 = libc::NFPROTO_IPV6 as u8,
}

/// Rules at one place of a packet's way, of the type `filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: &'static str,
    /// Where.
    pub hook: Hook,
    /// When, among the chains of that place: lower is earlier.
    pub priority: i32,
    /// Whether packets that no rule decides on are dropped.
    pub drops: bool,
    /// The rules. In each, a term acts if those before it match.
    pub rules: Vec<Vec<Term>>,
}

/// A place of a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// It came in.
    Prerouting = libc::NF_INET_PRE_ROUTING as u32,
    /// It is for this machine.
    Input = libc::NF_INET_LOCAL_IN as u32,
    /// It is for another one.
    Forward = libc::NF_INET_FORWARD as u32,
    /// It is from this machine.
    Output = libc::NF_INET_LOCAL_OUT as u32,
    /// It goes out.
    Postrouting = libc::NF_INET_POST_ROUTING as u32,
}

/// The packet filter of the network namespace of the thread that opened it.
pub struct Nftables {
    socket: OwnedFd,
}

impl Nftables {
    /// Opens it.
    ///
    /// # Errors
    /// EPROTONOSUPPORT if the kernel has no netfilter.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket })
    }

    /// Puts a table in the place of the one of its name, if there is one. No packet meets half of it.
    ///
    /// # Errors
    /// The kernel's; things are as before then.
    pub fn replace(&self, table: &Table) -> io::Result<()> {
        let mut batch = Batch::new();
        // Deleting what is not there is an error, making what is there is not.
        batch.add(NFT_MSG_NEWTABLE, NLM_F_CREATE, table.family, &named_table(&table.name));
        batch.add(NFT_MSG_DELTABLE, 0, table.family, &named_table(&table.name));
        batch.add(NFT_MSG_NEWTABLE, NLM_F_CREATE, table.family, &named_table(&table.name));
        for chain in &table.chains {
            batch.add(NFT_MSG_NEWCHAIN, NLM_F_CREATE, table.family, &chain.attributes(&table.name));
            for rule in &chain.rules {
                let attributes = rule_attributes(&table.name, chain.name, rule);
                batch.add(NFT_MSG_NEWRULE, NLM_F_CREATE | libc::NLM_F_APPEND as u16, table.family, &attributes);
            }
        }
        self.commit(batch)
    }

    /// Removes a table and all that is in it.
    ///
    /// # Errors
    /// ENOENT if there is none of this name.
    pub fn remove(&self, family: Family, name: &str) -> io::Result<()> {
        let mut batch = Batch::new();
        batch.add(NFT_MSG_DELTABLE, 0, family, &named_table(name));
        self.commit(batch)
    }

    /// Sends a batch. The kernel has done it, and queued what it says of it, when `sendto` returns.
    fn commit(&self, batch: Batch) -> io::Result<()> {
        let (bytes, last) = batch.finish();
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::io::retry_on_intr(|| rustix::net::sendto(&self.socket, &bytes, SendFlags::empty(), &kernel))?;
        let mut buffer = vec![0; BUFFER_LEN];
        let mut outcome =
            Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel says nothing of the packet filter"));
        loop {
            let received =
                rustix::io::retry_on_intr(|| rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty()));
            let len = match received {
                Ok((_, len)) => len,
                Err(rustix::io::Errno::AGAIN) => return outcome,
                Err(error) => return Err(error.into()),
            };
            match answer(&buffer[..len.min(BUFFER_LEN)]) {
                Some((sequence, 0)) if sequence == last => outcome = Ok(()),
                Some((_, 0)) | None => {}
                // The first one says why, others may follow from it.
                Some((_, code)) => {
                    self.discard(&mut buffer);
                    return Err(io::Error::from_raw_os_error(code));
                }
            }
        }
    }

    /// Reads what waits, so that the next answer is the answer to the next batch.
    fn discard(&self, buffer: &mut [u8]) {
        while rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::empty()).is_ok() {}
    }
}

impl Chain {
    fn attributes(&self, table: &str) -> Attributes {
        let mut hook = Attributes::new();
        hook.number(NFTA_HOOK_HOOKNUM, self.hook as u32);
        hook.number(NFTA_HOOK_PRIORITY, self.priority.cast_unsigned());
        let mut attributes = Attributes::new();
        attributes.text(NFTA_CHAIN_TABLE, table);
        attributes.text(NFTA_CHAIN_NAME, self.name);
        attributes.nested(NFTA_CHAIN_HOOK, &hook);
        attributes.number(NFTA_CHAIN_POLICY, if self.drops { term::NF_DROP } else { term::NF_ACCEPT });
        attributes.text(NFTA_CHAIN_TYPE, "filter");
        attributes
    }
}

fn named_table(name: &str) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.text(NFTA_TABLE_NAME, name);
    attributes
}

fn rule_attributes(table: &str, chain: &str, rule: &[Term]) -> Attributes {
    let mut expressions = Attributes::new();
    rule.iter().for_each(|term| term.write(&mut expressions));
    let mut attributes = Attributes::new();
    attributes.text(NFTA_RULE_TABLE, table);
    attributes.text(NFTA_RULE_CHAIN, chain);
    attributes.nested(NFTA_RULE_EXPRESSIONS, &expressions);
    attributes
}

/// Messages that act together.
///
/// # Layout
/// Each is `struct nlmsghdr` (16 bytes, host order), `struct nfgenmsg` (family, version 0, 2 bytes big-endian), then
/// attributes. The first and the last one only mark the ends.
struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
    last: usize,
}

impl Batch {
    fn new() -> Self {
        let mut batch = Self { bytes: Vec::with_capacity(4096), sequence: 0, last: 0 };
        batch.message(NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
        batch
    }

    fn add(&mut self, kind: u16, flags: u16, family: Family, attributes: &Attributes) {
        self.last = self.bytes.len();
        self.message(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, family as u8, 0, attributes.as_bytes());
    }

    fn message(&mut self, kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) {
        self.sequence += 1;
        let len = (HEADER_LEN + 4 + attributes.len()) as u32;
        self.bytes.extend(len.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(attributes);
    }

    /// Returns the whole batch and the number of its last message, the one that is acknowledged: an answer to each
    /// could be more than the socket holds.
    fn finish(mut self) -> (Vec<u8>, u32) {
        let last = self.sequence;
        let flags = &mut self.bytes[self.last + 6..self.last + 8];
        let with_acknowledgement = u16::from_ne_bytes([flags[0], flags[1]]) | NLM_F_ACK;
        flags.copy_from_slice(&with_acknowledgement.to_ne_bytes());
        self.message(NFNL_MSG_BATCH_END, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
        (self.bytes, last)
    }
}

/// Returns the number of the message that `datagram` answers, and its errno; 0 is none.
fn answer(datagram: &[u8]) -> Option<(u32, i32)> {
    let kind = u16::from_ne_bytes(*datagram.get(4..)?.first_chunk()?);
    let sequence = u32::from_ne_bytes(*datagram.get(8..)?.first_chunk()?);
    let code = i32::from_ne_bytes(*datagram.get(HEADER_LEN..)?.first_chunk()?);
    (kind == libc::NLMSG_ERROR as u16).then_some((sequence, code.saturating_neg()))
}

/// An answer is an errno and the message it is about.
const BUFFER_LEN: usize = 8 * 1024;
/// struct nlmsghdr.
const HEADER_LEN: usize = 16;

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_NEWRULE: u16 = 6;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_message_of_a_batch_asks_for_an_answer() {
        let mut batch = Batch::new();
        batch.add(NFT_MSG_NEWTABLE, NLM_F_CREATE, Family::Ip, &named_table("x"));
        batch.add(NFT_MSG_DELTABLE, 0, Family::Ip, &named_table("x"));
        let (bytes, last) = batch.finish();
        let mut rest = &bytes[..];
        let mut seen = Vec::new();
        while !rest.is_empty() {
            let len = u32::from_ne_bytes(*rest.first_chunk().unwrap()) as usize;
            let word = |at: usize| u16::from_ne_bytes([rest[at], rest[at + 1]]);
            seen.push((word(4), word(6) & NLM_F_ACK != 0, u32::from(rest[8])));
            rest = &rest[len.next_multiple_of(4)..];
        }
        assert_eq!(seen, [(16, false, 1), (0x0a00, false, 2), (0x0a02, true, 3), (17, false, 4)]);
        assert_eq!(last, 3);
    }

    #[test]
    fn answers_are_read_whatever_comes() {
        let mut datagram = [0; 40];
        datagram[4] = 2;
        datagram[8] = 7;
        datagram[16..20].copy_from_slice(&(-17_i32).to_ne_bytes());
        assert_eq!(answer(&datagram), Some((7, 17)));
        for len in 0..20 {
            assert_eq!(answer(&datagram[..len]), None);
        }
        datagram[16..20].copy_from_slice(&i32::MIN.to_ne_bytes());
        assert_eq!(answer(&datagram), Some((7, i32::MAX)));
    }
}
