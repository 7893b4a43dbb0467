//! How a running device ends, and how the threads say so.
//!
//! Not here: the exit code that follows (`cli/exit.rs`).

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::dataplane::io::{Clock, ThreadClock};
use crate::platform::linux::LinuxClock;

/// Why a device stops.
#[derive(Debug)]
pub enum End {
    /// SIGTERM or SIGINT.
    Signal(&'static str),
    /// The socket file was deleted, moved or replaced.
    SocketRemoved,
    /// The interface was deleted.
    TunGone,
    /// A thread that must run has ended by itself.
    ThreadFailed(String),
    /// Another process goes on with the device: see `upgrade`.
    Replaced {
        /// Its number.
        pid: i32,
    },
    /// The configuration socket failed.
    AcceptFailed(io::Error),
}

/// Where threads report an [`End`]; the first report counts.
#[derive(Clone, Debug)]
pub struct Ends {
    reports: Sender<End>,
    clocks: Arc<Mutex<Vec<(&'static str, ThreadClock)>>>,
}

impl Ends {
    /// Makes the place to report to, and the place to wait at.
    pub fn new() -> (Self, Receiver<End>) {
        let (sender, receiver) = mpsc::channel();
        (Self { reports: sender, clocks: Arc::default() }, receiver)
    }

    /// Reports; after the first report, and when nobody waits any more, nothing happens.
    pub fn report(&self, end: End) {
        let _ = self.reports.send(end);
    }

    /// Starts a thread that is to run until it is told to stop; if it panics, that is reported with its name.
    ///
    /// # Errors
    /// The OS's, if it has no room for a thread.
    pub fn spawn(&self, name: &'static str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        let guard = Guard { ends: self.clone(), name };
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let clock = LinuxClock.this_thread().map(|clock| (name, clock));
            guard.ends.clocks().extend(clock);
            let _guard = guard;
            run();
        })
    }

    /// Returns the CPU time of each thread that was started here and runs, by name.
    pub fn cpu_times(&self) -> Vec<(String, Duration)> {
        self.clocks().iter().map(|&(name, thread)| (name.to_owned(), LinuxClock.cpu_time(thread))).collect()
    }

    fn clocks(&self) -> MutexGuard<'_, Vec<(&'static str, ThreadClock)>> {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Guard {
    ends: Ends,
    name: &'static str,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Its number may be another thread's soon.
        let own = LinuxClock.this_thread();
        self.ends.clocks().retain(|&(_, clock)| Some(clock) != own);
        if thread::panicking() {
            self.ends.report(End::ThreadFailed(self.name.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_is_reported_by_name() {
        let (ends, ended) = Ends::new();
        let thread = ends.spawn("rvpn-test", || panic!("on purpose")).expect("a thread");
        assert!(thread.join().is_err());
        assert!(matches!(ended.try_recv(), Ok(End::ThreadFailed(name)) if name == "rvpn-test"));
    }

    #[test]
    fn a_thread_that_returns_is_not() {
        let (ends, ended) = Ends::new();
        ends.spawn("rvpn-test", || {}).expect("a thread").join().expect("no panic");
        assert!(ended.try_recv().is_err());
    }
}
