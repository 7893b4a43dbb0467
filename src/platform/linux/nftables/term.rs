//! Terms of a rule, and the expressions the kernel runs for them: load into a register, compare, act.
//!
//! They are those that `nft` makes of the same words, so that `nft list ruleset` shows the words again.
//!
//! Sources: nft(8); Linux uapi/linux/netfilter/nf_tables.h.

use std::net::IpAddr;

use super::attribute::Attributes;

/// A term: it matches, or acts if all before it matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// `iifname NAME`: by which interface it came.
    InputInterface(String),
    /// `iifname != NAME`
    NotInputInterface(String),
    /// `oifname NAME`: by which interface it goes.
    OutputInterface(String),
    /// `ip daddr ADDRESS`, in a table of the address's family.
    Destination(IpAddr),
    /// `fib saddr type != local`: its source is not this machine.
    ForeignSource,
    /// `meta nfproto ipv4`, in a table of both families.
    Ipv4,
    /// `meta nfproto ipv6`, in a table of both families.
    Ipv6,
    /// `meta l4proto NUMBER`
    Protocol(u8),
    /// `udp sport NUMBER`, after [`Term::Protocol`].
    SourcePort(u16),
    /// `udp dport NUMBER`, after [`Term::Protocol`].
    DestinationPort(u16),
    /// `icmpv6 type NUMBER`, after [`Term::Protocol`].
    IcmpType(u8),
    /// `mark NUMBER`
    Mark(u32),
    /// `ct state established,related`
    Established,
    /// `ct mark set mark`: remember the packet's mark for its connection.
    SaveMark,
    /// `meta mark set ct mark`: give the packet its connection's mark.
    RestoreMark,
    /// `accept`
    Accept,
    /// `drop`
    Drop,
}

impl Term {
    /// Adds the expressions that do it.
    pub(super) fn write(&self, to: &mut Attributes) {
        match self {
            Self::InputInterface(name) => {
                meta(to, NFT_META_IIFNAME);
                compare(to, NFT_CMP_EQ, &padded(name));
            }
            Self::NotInputInterface(name) => {
                meta(to, NFT_META_IIFNAME);
                compare(to, NFT_CMP_NEQ, &padded(name));
            }
            Self::OutputInterface(name) => {
                meta(to, NFT_META_OIFNAME);
                compare(to, NFT_CMP_EQ, &padded(name));
            }
            Self::Destination(IpAddr::V4(address)) => {
                payload(to, NFT_PAYLOAD_NETWORK_HEADER, 16, 4);
                compare(to, NFT_CMP_EQ, &address.octets());
            }
            Self::Destination(IpAddr::V6(address)) => {
                payload(to, NFT_PAYLOAD_NETWORK_HEADER, 24, 16);
                compare(to, NFT_CMP_EQ, &address.octets());
            }
            Self::ForeignSource => {
                let fib =
                    [(NFTA_FIB_DREG, NFT_REG_1), (NFTA_FIB_RESULT, FIB_RESULT_ADDRTYPE), (NFTA_FIB_FLAGS, FIB_F_SADDR)];
                numbers(to, "fib", &fib);
                compare(to, NFT_CMP_NEQ, &u32::from(libc::RTN_LOCAL).to_ne_bytes());
            }
            Self::Ipv4 => {
                meta(to, NFT_META_NFPROTO);
                compare(to, NFT_CMP_EQ, &[libc::NFPROTO_IPV4 as u8]);
            }
            Self::Ipv6 => {
                meta(to, NFT_META_NFPROTO);
                compare(to, NFT_CMP_EQ, &[libc::NFPROTO_IPV6 as u8]);
            }
            Self::Protocol(number) => {
                meta(to, NFT_META_L4PROTO);
                compare(to, NFT_CMP_EQ, &[*number]);
            }
            Self::SourcePort(port) => {
                payload(to, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2);
                compare(to, NFT_CMP_EQ, &port.to_be_bytes());
            }
            Self::DestinationPort(port) => {
                payload(to, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
                compare(to, NFT_CMP_EQ, &port.to_be_bytes());
            }
            Self::IcmpType(number) => {
                payload(to, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1);
                compare(to, NFT_CMP_EQ, &[*number]);
            }
            Self::Mark(mark) => {
                meta(to, NFT_META_MARK);
                compare(to, NFT_CMP_EQ, &mark.to_ne_bytes());
            }
            Self::Established => {
                numbers(to, "ct", &[(NFTA_CT_DREG, NFT_REG_1), (NFTA_CT_KEY, NFT_CT_STATE)]);
                mask(to, CT_ESTABLISHED | CT_RELATED);
                compare(to, NFT_CMP_NEQ, &[0; 4]);
            }
            Self::SaveMark => {
                meta(to, NFT_META_MARK);
                numbers(to, "ct", &[(NFTA_CT_KEY, NFT_CT_MARK), (NFTA_CT_SREG, NFT_REG_1)]);
            }
            Self::RestoreMark => {
                numbers(to, "ct", &[(NFTA_CT_DREG, NFT_REG_1), (NFTA_CT_KEY, NFT_CT_MARK)]);
                numbers(to, "meta", &[(NFTA_META_KEY, NFT_META_MARK), (NFTA_META_SREG, NFT_REG_1)]);
            }
            Self::Accept => verdict(to, NF_ACCEPT),
            Self::Drop => verdict(to, NF_DROP),
        }
    }
}

/// The name as the register has it: 16 bytes, and with them its end.
fn padded(name: &str) -> [u8; libc::IFNAMSIZ] {
    let mut bytes = [0; libc::IFNAMSIZ];
    let len = name.len().min(libc::IFNAMSIZ - 1);
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    bytes
}

fn meta(to: &mut Attributes, key: u32) {
    numbers(to, "meta", &[(NFTA_META_KEY, key), (NFTA_META_DREG, NFT_REG_1)]);
}

fn payload(to: &mut Attributes, base: u32, offset: u32, len: u32) {
    let attributes = [
        (NFTA_PAYLOAD_DREG, NFT_REG_1),
        (NFTA_PAYLOAD_BASE, base),
        (NFTA_PAYLOAD_OFFSET, offset),
        (NFTA_PAYLOAD_LEN, len),
    ];
    numbers(to, "payload", &attributes);
}

fn compare(to: &mut Attributes, operation: u32, value: &[u8]) {
    let mut data = Attributes::new();
    data.number(NFTA_CMP_SREG, NFT_REG_1);
    data.number(NFTA_CMP_OP, operation);
    data.nested(NFTA_CMP_DATA, &of_value(value));
    expression(to, "cmp", &data);
}

fn mask(to: &mut Attributes, bits: u32) {
    let mut data = Attributes::new();
    data.number(NFTA_BITWISE_SREG, NFT_REG_1);
    data.number(NFTA_BITWISE_DREG, NFT_REG_1);
    data.number(NFTA_BITWISE_LEN, 4);
    data.nested(NFTA_BITWISE_MASK, &of_value(&bits.to_ne_bytes()));
    data.nested(NFTA_BITWISE_XOR, &of_value(&[0; 4]));
    expression(to, "bitwise", &data);
}

fn verdict(to: &mut Attributes, code: u32) {
    let (mut verdict, mut value, mut data) = (Attributes::new(), Attributes::new(), Attributes::new());
    verdict.number(NFTA_VERDICT_CODE, code);
    value.nested(NFTA_DATA_VERDICT, &verdict);
    data.number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    data.nested(NFTA_IMMEDIATE_DATA, &value);
    expression(to, "immediate", &data);
}

fn of_value(bytes: &[u8]) -> Attributes {
    let mut value = Attributes::new();
    value.bytes(NFTA_DATA_VALUE, bytes);
    value
}

/// Adds an expression all of whose attributes are numbers.
fn numbers(to: &mut Attributes, name: &str, attributes: &[(u16, u32)]) {
    let mut data = Attributes::new();
    attributes.iter().for_each(|&(kind, value)| data.number(kind, value));
    expression(to, name, &data);
}

fn expression(to: &mut Attributes, name: &str, data: &Attributes) {
    let mut expression = Attributes::new();
    expression.text(NFTA_EXPR_NAME, name);
    expression.nested(NFTA_EXPR_DATA, data);
    to.nested(NFTA_LIST_ELEM, &expression);
}

pub(super) const NF_DROP: u32 = 0;
pub(super) const NF_ACCEPT: u32 = 1;

const NFT_REG_VERDICT: u32 = 0;
/// 16 bytes.
const NFT_REG_1: u32 = 1;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFTA_META_SREG: u16 = 3;
const NFT_META_MARK: u32 = 3;
const NFT_META_IIFNAME: u32 = 6;
const NFT_META_OIFNAME: u32 = 7;
const NFT_META_NFPROTO: u32 = 15;
const NFT_META_L4PROTO: u32 = 16;
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;
const NFT_CMP_NEQ: u32 = 1;
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_FIB_DREG: u16 = 1;
const NFTA_FIB_RESULT: u16 = 2;
const NFTA_FIB_FLAGS: u16 = 3;
const FIB_RESULT_ADDRTYPE: u32 = 3;
const FIB_F_SADDR: u32 = 1;
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFTA_CT_SREG: u16 = 4;
const NFT_CT_STATE: u32 = 0;
const NFT_CT_MARK: u32 = 3;
const CT_ESTABLISHED: u32 = 2;
const CT_RELATED: u32 = 4;
