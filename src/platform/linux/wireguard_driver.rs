//! The kernel's own WireGuard driver: which interfaces it runs, and the way of messages to and from it.
//!
//! Not here: what the messages say of a device (see `control::client::kernel`).
//!
//! Sources: Linux Documentation/netlink/genetlink-legacy.rst, uapi/linux/genetlink.h, uapi/linux/wireguard.h;
//! rtnetlink(7).

use std::io;

use netlink_packet_core::NlasIterator;
use rustix::net::netlink::GENERIC;

use super::netlink_socket::{Ask, HEADER_LEN, NetlinkSocket, unreadable};

/// Room for the headers that [`WireguardDriver`] fills in, at the beginning of each message to it.
pub const HEADERS_LEN: usize = HEADER_LEN + GENERIC_HEADER_LEN;

/// Returns the names of the driver's interfaces in this network namespace, oldest first.
///
/// # Errors
/// The OS's, if there is no netlink.
pub fn interfaces() -> io::Result<Vec<String>> {
    let mut attempts = ATTEMPTS;
    loop {
        let mut names = Vec::new();
        // struct ifinfomsg without a word: all links.
        let mut question = [0; HEADER_LEN + LINK_HEADER_LEN];
        let listed = NetlinkSocket::open(None)?.ask(Ask::All, libc::RTM_GETLINK, &mut question, |body| {
            names.extend(wireguard_link(body));
            Ok(())
        });
        match listed {
            // A link came or went meanwhile.
            Err(error) if error.kind() == io::ErrorKind::Interrupted && attempts > 1 => attempts -= 1,
            listed => return listed.map(|()| names),
        }
    }
}

/// Returns the name of the link that is described, if it is the driver's. Only the name and the kind are read: whatever
/// else there is of other links, they must not hide ours.
fn wireguard_link(body: &[u8]) -> Option<String> {
    let (mut name, mut is_ours) = (None, false);
    for attribute in NlasIterator::new(body.get(LINK_HEADER_LEN..)?).map_while(Result::ok) {
        match attribute.kind() {
            libc::IFLA_IFNAME => name = text(attribute.value()).map(str::to_owned),
            libc::IFLA_LINKINFO => {
                let mut infos = NlasIterator::new(attribute.value()).map_while(Result::ok);
                is_ours =
                    infos.any(|info| info.kind() == libc::IFLA_INFO_KIND && text(info.value()) == Some("wireguard"));
            }
            _ => {}
        }
    }
    name.filter(|_| is_ours)
}

/// Reads a string with the zero byte that ends it.
fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().map(|text| text.trim_end_matches('\0'))
}

/// The driver, by its family of generic netlink.
pub struct WireguardDriver {
    socket: NetlinkSocket,
    family: u16,
}

impl WireguardDriver {
    /// Opens the way to the driver of this network namespace; the kernel loads it if it may.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if the kernel has none.
    pub fn open() -> io::Result<Self> {
        let mut socket = NetlinkSocket::open(Some(GENERIC))?;
        let mut family = None;
        let mut question = vec![0; HEADERS_LEN];
        question[HEADER_LEN] = CTRL_CMD_GETFAMILY;
        question[HEADER_LEN + 1] = CTRL_VERSION;
        question.extend_from_slice(&(ATTRIBUTE_HEADER_LEN + FAMILY.len() as u16).to_ne_bytes());
        question.extend_from_slice(&CTRL_ATTR_FAMILY_NAME.to_ne_bytes());
        question.extend_from_slice(FAMILY);
        question.resize(question.len().next_multiple_of(4), 0);
        socket.ask(Ask::One, libc::GENL_ID_CTRL as u16, &mut question, |body| {
            for attribute in NlasIterator::new(body.get(GENERIC_HEADER_LEN..).ok_or_else(unreadable)?) {
                let attribute = attribute.map_err(|_| unreadable())?;
                if attribute.kind() == CTRL_ATTR_FAMILY_ID {
                    family = attribute.value().first_chunk().map(|bytes| u16::from_ne_bytes(*bytes));
                }
            }
            Ok(())
        })?;
        Ok(Self { socket, family: family.ok_or_else(unreadable)? })
    }

    /// Asks for the device that `message` names, and hands the attributes of each message of the answer to `each`.
    /// `message` begins with room for the headers.
    ///
    /// # Errors
    /// The kernel's, or that of `each`. [`io::ErrorKind::Interrupted`] if the device changed meanwhile: ask again.
    pub fn status(&mut self, message: &mut [u8], mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        message[HEADER_LEN..HEADERS_LEN].copy_from_slice(&[WG_CMD_GET_DEVICE, WG_VERSION, 0, 0]);
        self.socket
            .ask(Ask::All, self.family, message, |body| each(body.get(GENERIC_HEADER_LEN..).ok_or_else(unreadable)?))
    }

    /// Changes the device that `message` names. `message` begins with room for the headers.
    ///
    /// # Errors
    /// The kernel's; what stands before the fault has acted.
    pub fn change(&mut self, message: &mut [u8]) -> io::Result<()> {
        message[HEADER_LEN..HEADERS_LEN].copy_from_slice(&[WG_CMD_SET_DEVICE, WG_VERSION, 0, 0]);
        self.socket.ask(Ask::One, self.family, message, |_| Ok(()))
    }
}

/// How often links are listed anew if they changed meanwhile.
const ATTEMPTS: usize = 10;
/// struct ifinfomsg.
const LINK_HEADER_LEN: usize = 16;
/// struct genlmsghdr: command, version, two bytes that are zero.
const GENERIC_HEADER_LEN: usize = 4;
/// struct nlattr.
const ATTRIBUTE_HEADER_LEN: u16 = 4;
const FAMILY: &[u8] = b"wireguard\0";
const CTRL_CMD_GETFAMILY: u8 = libc::CTRL_CMD_GETFAMILY as u8;
const CTRL_VERSION: u8 = 1;
const CTRL_ATTR_FAMILY_ID: u16 = libc::CTRL_ATTR_FAMILY_ID as u16;
const CTRL_ATTR_FAMILY_NAME: u16 = libc::CTRL_ATTR_FAMILY_NAME as u16;
const WG_VERSION: u8 = 1;
const WG_CMD_GET_DEVICE: u8 = 0;
const WG_CMD_SET_DEVICE: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_told_apart_by_their_kind() {
        use netlink_packet_core::Emitable;
        use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
        let described = |kind: InfoKind| {
            let mut link = LinkMessage::default();
            link.attributes =
                vec![LinkAttribute::IfName("wg0".to_owned()), LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])];
            let mut bytes = vec![0; link.buffer_len()];
            link.emit(&mut bytes);
            // What cannot be read behind it hides nothing.
            bytes.extend([255; 6]);
            wireguard_link(&bytes)
        };
        assert_eq!(described(InfoKind::Wireguard).as_deref(), Some("wg0"));
        assert_eq!(described(InfoKind::Tun), None);
        assert_eq!(wireguard_link(&[1, 2, 3]), None);
    }

    #[test]
    fn links_are_listed_where_there_is_no_driver() {
        // Whatever there is on this machine: it can be asked for.
        assert!(!interfaces().unwrap().contains(&"lo".to_owned()));
    }
}
