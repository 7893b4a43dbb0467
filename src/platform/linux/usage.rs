//! What this process uses of the machine: memory, files, CPU time. For who watches it.
//!
//! A confined process opens no file, so the one that is read is opened before.
//!
//! Not here: CPU time of single threads (see `clock`).
//!
//! Source: proc(5), for `statm`; <https://prometheus.io/docs/instrumenting/writing_clientlibs/> for what is of interest.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};

use super::clock::{LinuxClock, process_cpu_time};
use super::sys;
use crate::dataplane::io::Clock;

/// What is open to find out.
#[derive(Debug)]
pub struct Usage {
    statm: Option<File>,
    page_len: u64,
    max_files: u64,
    started: Duration,
}

/// What is used at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// Memory that is not swapped out, in bytes; `None` without /proc.
    pub resident_bytes: Option<u64>,
    /// Open files.
    pub open_files: usize,
    /// How many may be open.
    pub max_files: u64,
    /// CPU time of all threads, in user space and in the kernel.
    pub cpu_time: Duration,
    /// When the process began to run a device, since the epoch.
    pub started: Duration,
}

impl Usage {
    /// Opens what is to be read later. To be called before the process is confined.
    pub fn open() -> Self {
        let now = LinuxClock.wall();
        Self {
            statm: File::open("/proc/self/statm").ok(),
            // Asks the kernel, once.
            page_len: page_size() as u64,
            max_files: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            started: Duration::new(now.secs, now.nanos),
        }
    }

    /// Finds out what is used.
    pub fn read(&self) -> Used {
        // Descriptors are numbered from below, and what the process opens is bounded far below this.
        let limit = i32::try_from(self.max_files).unwrap_or(i32::MAX).min(MOST_FILES);
        Used {
            resident_bytes: self.statm.as_ref().and_then(resident_pages).map(|pages| pages * self.page_len),
            open_files: sys::count_open_files(limit).unwrap_or(0),
            max_files: self.max_files,
            cpu_time: process_cpu_time(),
            started: self.started,
        }
    }
}

/// Reads the second number: pages that are in memory.
fn resident_pages(statm: &File) -> Option<u64> {
    let mut text = [0; 128];
    let len = statm.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..len]).ok()?.split(' ').nth(1)?.parse().ok()
}

/// Four times the connections that the daemon accepts, and its own.
const MOST_FILES: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_file_and_memory_in_use_are_counted() {
        let usage = Usage::open();
        let before = usage.read();
        // Other tests open and close files meanwhile: more than they are likely to close.
        let files: Vec<_> = (0..200).map(|_| File::open("/dev/null").unwrap()).collect();
        let after = usage.read();
        assert!(after.open_files >= before.open_files + 100, "{before:?} {after:?}");
        assert!(after.resident_bytes.unwrap() > 1 << 20);
        assert!(after.max_files >= after.open_files as u64 && after.started > Duration::from_secs(1_577_836_800));
        drop(files);
    }
}
