//! The Linux platform against the kernel: sockets, TUN, netlink.
//!
//! Tests that need namespaces need root, `ip` and /dev/net/tun; without them they say so and pass.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::os::fd::AsFd;
use std::sync::Arc;

use rvpn::platform::linux::link_monitor::LinkMonitor;
use rvpn::platform::linux::placement::Placement;
use rvpn::platform::linux::route_monitor::RouteMonitor;
use rvpn::platform::linux::tun::{LinuxTun, TunOptions};
use rvpn::platform::linux::udp_offload::Trains;
use rvpn::platform::linux::{platform, process};

use support::Namespace;

mod hardening;
mod monitors;
mod support;
mod tun;
mod udp;

#[test]
fn every_descriptor_is_close_on_exec() {
    let Some(_namespace) = Namespace::enter() else { return };
    let tun = Arc::new(LinuxTun::open("wg0", TunOptions::default()).unwrap());
    let (platform, _) = platform(Arc::clone(&tun), Trains::Any, Placement::default()).unwrap();
    let _udp = platform.network.bind(0, 0).unwrap();
    let _links = LinkMonitor::new(Arc::clone(&tun)).unwrap();
    let _routes = RouteMonitor::new().unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let number = entry.unwrap().file_name().into_string().unwrap();
        let Ok(target) = std::fs::read_link(format!("/proc/self/fd/{number}")) else { continue };
        let target = target.to_string_lossy().into_owned();
        let ours = ["socket:", "anon_inode:", "/dev/net/tun", "net:"].iter().any(|kind| target.starts_with(kind));
        let Ok(info) = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")) else { continue };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = i32::from_str_radix(flags, 8).unwrap();
        if ours && number.parse::<u32>().unwrap() > 2 {
            assert!(flags & libc::O_CLOEXEC != 0, "{number} -> {target}");
            seen += 1;
        }
    }
    assert!(seen >= 10, "TUN, epoll, 2 sockets, 3 eventfds, 5 netlink sockets: {seen}");
    assert!(process::is_close_on_exec(tun.as_fd()).unwrap());
}
