//! Capabilities: which the process keeps, and taking the rest from the calling thread.
//!
//! What needs which, seen from the code:
//!
//! | what | thread | needs |
//! |---|---|---|
//! | SO_MARK, SO_RCVBUFFORCE, SO_SNDBUFFORCE | rvpn-apply, rvpn-link | CAP_NET_ADMIN |
//! | a listen port below `net.ipv4.ip_unprivileged_port_start` | rvpn-apply, rvpn-link | CAP_NET_BIND_SERVICE |
//! | TUNGETDEVNETNS, RTM_NEWNSID, RTM_GETLINK in another namespace | rvpn-link | CAP_NET_ADMIN over that namespace |
//! | SO_MARK on questions to name servers | the process rvpn-names | CAP_NET_ADMIN |
//! | hearing other namespaces | – | CAP_NET_BROADCAST of whoever opened the socket, which is over by then |
//!
//! The bounding set is left as it is: no_new_privs makes it meaningless, since no program started from here can have
//! what its starter has not. The user stays too: changing it needs names of users, which a container may not have.
//!
//! Source: capabilities(7).

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::Lack;

/// Takes all but CAP_NET_ADMIN and CAP_NET_BIND_SERVICE from the calling thread; returns their names, if it had them.
pub(super) fn keep_two() -> Result<String, Lack> {
    let kept = keep(CapabilitySet::NET_ADMIN | CapabilitySet::NET_BIND_SERVICE)?;
    let names =
        [(CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"), (CapabilitySet::NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE")];
    let names: Vec<_> = names.iter().filter(|(one, _)| kept.contains(*one)).map(|&(_, name)| name).collect();
    Ok(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
}

/// Takes all but CAP_NET_ADMIN, for marks; returns its name, if the thread had it.
pub(super) fn keep_one() -> Result<String, Lack> {
    let kept = keep(CapabilitySet::NET_ADMIN)?;
    Ok(if kept.is_empty() { "none" } else { "CAP_NET_ADMIN" }.to_owned())
}

/// Takes all but `wanted` from the calling thread, inheritable and ambient ones too; returns what is left.
pub(super) fn keep(wanted: CapabilitySet) -> rustix::io::Result<CapabilitySet> {
    let kept = capabilities(None)?.permitted & wanted;
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_at_most_what_it_asks_for_and_the_others_theirs() {
        let of_this_thread = || capabilities(None).unwrap();
        let before = of_this_thread();
        std::thread::spawn(move || {
            let names = keep_two().unwrap();
            let left = of_this_thread().permitted;
            assert_eq!(left, before.permitted & (CapabilitySet::NET_ADMIN | CapabilitySet::NET_BIND_SERVICE));
            assert_eq!(names.contains("CAP_NET_ADMIN"), left.contains(CapabilitySet::NET_ADMIN));
            assert_eq!(keep(CapabilitySet::empty()).unwrap(), CapabilitySet::empty());
            let left = of_this_thread();
            assert!((left.effective | left.permitted | left.inheritable).is_empty());
            assert_eq!(keep_two().unwrap(), "none", "nothing comes back");
        })
        .join()
        .unwrap();
        assert_eq!(of_this_thread(), before);
    }
}
