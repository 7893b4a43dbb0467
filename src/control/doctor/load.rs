//! How busy the threads of a process are, and what its sockets lose: two looks at /proc, and what lies between them.
//!
//! Source: proc_pid_stat(5), proc_net(5).

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use crate::dataplane::io::Clock;
use crate::platform::linux::LinuxClock;
use crate::proto::time::Instant;

/// One look.
#[derive(Debug)]
pub(super) struct Load {
    at: Instant,
    /// Name and ticks of each thread, by number.
    threads: HashMap<u32, (String, u64)>,
    /// Datagrams that did not fit the receive buffers.
    lost: u64,
}

impl Load {
    /// Looks at `process` and at its sockets of UDP port `port`. What cannot be read is not there.
    pub(super) fn of(process: u32, port: u16) -> Self {
        let mut threads = HashMap::new();
        for entry in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let stat = fs::read_to_string(entry.path().join("stat")).ok();
            if let (Some(number), Some(thread)) = (number, stat.as_deref().and_then(thread_of)) {
                threads.insert(number, thread);
            }
        }
        let lost = ["udp", "udp6"].map(|file| fs::read_to_string(format!("/proc/{process}/net/{file}")));
        let lost = lost.into_iter().flatten().map(|text| lost_of(&text, port)).sum();
        Self { at: LinuxClock.now(), threads, lost }
    }

    /// Returns how long ago it was.
    pub(super) fn age(&self) -> Duration {
        LinuxClock.now().since(self.at)
    }

    /// Returns the thread that used most of a core since `before`, and its share.
    pub(super) fn busiest_since(&self, before: &Self) -> Option<(String, f64)> {
        let seconds = self.at.since(before.at).as_secs_f64();
        let shares = self.threads.iter().filter_map(|(number, (name, ticks))| {
            let (_, ticks_before) = before.threads.get(number)?;
            Some((name.clone(), ticks.saturating_sub(*ticks_before) as f64 / TICKS_PER_SECOND / seconds))
        });
        shares.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Returns how many datagrams were lost since `before`, and the most bytes a buffer may have.
    pub(super) fn lost_since(&self, before: &Self) -> Option<(u64, u64)> {
        let limit = fs::read_to_string("/proc/sys/net/core/rmem_max").ok()?.trim().parse().ok()?;
        Some((self.lost.saturating_sub(before.lost), limit))
    }
}

/// `4711 (packets) S ...`: the name may hold anything, so what follows is counted from its last parenthesis.
fn thread_of(stat: &str) -> Option<(String, u64)> {
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1;
    let mut fields = after.split_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((name.to_owned(), user + system))
}

/// Lines of `sl local_address rem_address ... drops`, addresses in hexadecimal.
fn lost_of(table: &str, port: u16) -> u64 {
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = lines.filter(|fields| {
        let local = fields.get(1).and_then(|address| address.rsplit_once(':'));
        local.is_some_and(|(_, local)| u16::from_str_radix(local, 16) == Ok(port))
    });
    ours.filter_map(|fields| fields.last()?.parse::<u64>().ok()).sum()
}

/// USER_HZ, which is 100 on every Linux that anyone runs.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_be_called_anything() {
        let stat = "7 (a) b (c) R 1 7 7 0 -1 4194624 9 0 0 0 30 12 0 0 20 0 1 0 1 1 1";
        assert_eq!(thread_of(stat), Some(("a) b (c".to_owned(), 42)));
        assert_eq!(thread_of("7 (a"), None);
    }

    #[test]
    fn only_the_sockets_of_our_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  1: 00000000:CA6C 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0000000000000000 5
  2: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0000000000000000 9\n";
        assert_eq!((lost_of(table, 51820), lost_of(table, 53), lost_of(table, 1)), (5, 9, 0));
    }

    #[test]
    fn our_own_threads_can_be_looked_at() {
        let (before, after) = (Load::of(std::process::id(), 1), Load::of(std::process::id(), 1));
        assert!(after.busiest_since(&before).is_some());
    }
}
