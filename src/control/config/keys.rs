//! What the keys of a file mean, for people: the table behind rvpn.conf(5).
//!
//! Not here: how a value is read (see `value`). The parser's own tests hold that every key it knows is in the table.

/// A key, what stands after it, and what that does.
#[derive(Clone, Copy, Debug)]
pub struct KeyText {
    /// As it is usually spelt.
    pub name: &'static str,
    /// What its value looks like.
    pub value: &'static str,
    /// What it does; sentences.
    pub text: &'static str,
}

/// Keys of a section `[Interface]`.
pub const INTERFACE: [KeyText; 3] = [
    KeyText {
        name: "PrivateKey",
        value: "KEY",
        text: "The private key of this end, as `rvpn genkey` prints. Without one there are no handshakes.",
    },
    KeyText {
        name: "ListenPort",
        value: "PORT",
        text: "The UDP port to listen on: 1 to 65535, the name of a service, or 0 for any that is free, as without it.",
    },
    KeyText {
        name: "FwMark",
        value: "MARK",
        text: "The mark of the encrypted packets, for rules of routing and firewall: a number, in hexadecimal after \
               `0x`, or `off`, as without it.",
    },
];

/// Keys of a section `[Peer]`.
pub const PEER: [KeyText; 5] = [
    KeyText {
        name: "PublicKey",
        value: "KEY",
        text: "The public key of the peer, as `rvpn pubkey` prints it there. Each section needs one.",
    },
    KeyText {
        name: "PresharedKey",
        value: "KEY",
        text: "A secret of these two ends, as `rvpn genpsk` prints, mixed into every handshake. It protects what is \
               recorded today from whoever can break the public keys one day.",
    },
    KeyText {
        name: "AllowedIPs",
        value: "ADDRESS[/LENGTH], ...",
        text: "What the peer may send from, and what is sent to it. Of several peers, the longest prefix has a packet; a \
               prefix has one owner, the last one named. The key may be repeated. With `+` or `-` before it, a prefix \
               is added to those there are, or removed, and the others stay.",
    },
    KeyText {
        name: "Endpoint",
        value: "HOST:PORT",
        text: "Where the peer is reached until it is heard from elsewhere: a name or an address, IPv6 in brackets. A \
               name is looked up once, when the file is read; where rvpn runs the interface, `up` and `reload` leave it \
               to that, which follows the name.",
    },
    KeyText {
        name: "PersistentKeepalive",
        value: "SECONDS",
        text: "How often an empty packet keeps the way through firewalls and NAT open while nothing else is sent: 1 to \
               65535, or `off`, as without it. 25 suits most of them.",
    },
];

/// Keys of a section `[Interface]` that `up` reads, and `wg-quick`; `strip` takes them out.
pub const QUICK: [KeyText; 9] = [
    KeyText {
        name: "Address",
        value: "ADDRESS[/LENGTH], ...",
        text: "The addresses of the interface. The key may be repeated.",
    },
    KeyText {
        name: "DNS",
        value: "ADDRESS | DOMAIN, ...",
        text: "The name servers while the interface is up; what is no address is a domain to search.",
    },
    KeyText {
        name: "MTU",
        value: "BYTES",
        text: "The largest packet of the interface; without it, what fits through the route to the endpoints.",
    },
    KeyText {
        name: "Table",
        value: "NUMBER | auto | off",
        text: "Where the routes to the allowed IPs go. `auto`, as without it, is the main table, and for a default \
               route one of its own with rules; `off` makes no routes.",
    },
    KeyText { name: "PreUp", value: "COMMAND", text: "A command before the interface is up; `%i` is its name." },
    KeyText { name: "PostUp", value: "COMMAND", text: "A command when the interface is up." },
    KeyText { name: "PreDown", value: "COMMAND", text: "A command before the interface is taken down." },
    KeyText { name: "PostDown", value: "COMMAND", text: "A command when the interface is gone." },
    KeyText {
        name: "SaveConfig",
        value: "true | false",
        text: "Whether the file is written anew from the state of the interface when that is taken down.",
    },
];

/// Options of this program in a section `[Peer]`.
pub const PEER_OPTIONS: [KeyText; 5] = [
    KeyText {
        name: "Name",
        value: "TEXT",
        text: "What the peer is called in `rvpn show` and in the log, and may be called in commands: up to 64 bytes.",
    },
    KeyText {
        name: "RateUp",
        value: "BITS",
        text: "How much the peer may send, in bits a second of the packets inside the tunnel, as in 500K, 20M or 1G; \
               `off`, as without it, is no limit. What is over it is dropped.",
    },
    KeyText { name: "RateDown", value: "BITS", text: "How much the peer may be sent, in the same form." },
    KeyText {
        name: "Endpoint",
        value: "HOST:PORT, ...",
        text: "Up to 16 places where the peer may be, by name or address, instead of `Endpoint`, which is there for other \
               tools then. Names are looked up in the background, outside the tunnel, again when they get old and when the \
               peer is silent. Places are asked 250 ms apart, and the first that answers is used until three messages \
               to it go unanswered.",
    },
    KeyText {
        name: "EndpointOrder",
        value: "fastest | strict",
        text: "With `strict`, each handshake asks the places in their order, a second apart, so that the first is returned to \
               when it is back: after two minutes at most, while there is traffic.",
    },
];

/// Options of this program in a section `[Interface]`: in comments that begin with `#rvpn:`, which `wg-quick` skips.
pub const OPTIONS: [KeyText; 3] = [
    KeyText {
        name: "KillSwitch",
        value: "yes | no",
        text: "Whether nothing leaves but through the tunnel, from before it is up until `rvpn down`, also when the \
               daemon is killed. Loopback, DHCP and IPv6 neighbour discovery stay open. It is a table of nftables: what flushes the \
               ruleset, as a restart of nftables.service does, opens it, and an `up` that fails does too. Packet \
               sockets and guests on a bridge pass it by, and a process with CAP_NET_RAW or CAP_NET_ADMIN can give \
               its packets the mark that opens it.",
    },
    KeyText {
        name: "TrustedInterfaces",
        value: "INTERFACE, ...",
        text: "Interfaces that the kill switch leaves open.",
    },
    KeyText {
        name: "Multicast",
        value: "yes | no",
        text: "Whether IPv6 multicast goes into the tunnel, too: a route to ff00::/8, and the flag MULTICAST.",
    },
];
