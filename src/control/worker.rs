//! The thread `rvpn-apply`: carries out requests, one at a time, in the order in which they came complete.
//!
//! A `set` of many peers takes its time, and a device takes its locks; neither may hold up the thread that talks with
//! the tools. One thread instead of a lock around many: no `get` runs within a `set`, and no queue of blocked threads
//! can grow. Not here: reading and answering (see `server`).

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use rvpn_uapi::{DeviceStatus, Errno, PublicKey, Set};
use tokio::sync::oneshot;

use super::outcome::Ends;
use super::server::Configurable;

/// The way to the thread. The thread ends when all of these are dropped.
#[derive(Clone, Debug)]
pub struct Worker {
    jobs: Sender<Job>,
}

#[derive(Debug)]
enum Job {
    Set(Set, Origin, oneshot::Sender<Result<(), Errno>>),
    Forget(Option<PublicKey>, oneshot::Sender<usize>),
    Get(oneshot::Sender<Arc<DeviceStatus>>),
}

/// Who asks for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A client of the configuration socket.
    Client,
    /// Files of peers.
    Files,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The OS's, if it has no room for a thread.
    pub fn start(device: Arc<dyn Configurable>, ends: &Ends) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        ends.spawn("rvpn-apply", move || work(&*device, &waiting))?;
        Ok(Self { jobs })
    }

    /// Applies `set`, also if the caller stops waiting.
    ///
    /// # Errors
    /// The device's; [`Errno::NO_DEVICE`] if the thread has ended.
    pub async fn apply(&self, set: Set) -> Result<(), Errno> {
        self.change(set, Origin::Client).await
    }

    /// As [`Worker::apply`], for peers that files of their own describe.
    ///
    /// # Errors
    /// As [`Worker::apply`].
    pub async fn apply_files(&self, set: Set) -> Result<(), Errno> {
        self.change(set, Origin::Files).await
    }

    async fn change(&self, set: Set, origin: Origin) -> Result<(), Errno> {
        let (reply, result) = oneshot::channel();
        self.jobs.send(Job::Set(set, origin, reply)).map_err(|_| Errno::NO_DEVICE)?;
        result.await.unwrap_or(Err(Errno::NO_DEVICE))
    }

    /// Forgets sessions and learnt endpoints of a peer, or of all; returns how many peers that were.
    ///
    /// # Errors
    /// [`Errno::NO_DEVICE`] if the thread has ended.
    pub async fn forget(&self, peer: Option<PublicKey>) -> Result<usize, Errno> {
        let (reply, count) = oneshot::channel();
        self.jobs.send(Job::Forget(peer, reply)).map_err(|_| Errno::NO_DEVICE)?;
        count.await.map_err(|_| Errno::NO_DEVICE)
    }

    /// Takes the status after everything that was asked for before.
    ///
    /// # Errors
    /// [`Errno::NO_DEVICE`] if the thread has ended.
    pub async fn status(&self) -> Result<Arc<DeviceStatus>, Errno> {
        let (reply, status) = oneshot::channel();
        self.jobs.send(Job::Get(reply)).map_err(|_| Errno::NO_DEVICE)?;
        status.await.map_err(|_| Errno::NO_DEVICE)
    }
}

fn work(device: &dyn Configurable, jobs: &Receiver<Job>) {
    let mut next = None;
    while let Some(job) = next.take().or_else(|| jobs.recv().ok()) {
        match job {
            Job::Set(set, Origin::Client, reply) => {
                let _ = reply.send(device.apply(set));
            }
            Job::Set(set, Origin::Files, reply) => {
                let _ = reply.send(device.apply_files(set));
            }
            Job::Forget(peer, reply) => {
                let _ = reply.send(device.forget(peer));
            }
            Job::Get(reply) => next = report(device, reply, jobs),
        }
    }
}

/// Answers a `get` and those that wait behind it with one status, so that many clients do not make many copies.
/// Returns the job after them.
fn report(device: &dyn Configurable, first: oneshot::Sender<Arc<DeviceStatus>>, jobs: &Receiver<Job>) -> Option<Job> {
    let mut replies = vec![first];
    let next = loop {
        match jobs.try_recv() {
            Ok(Job::Get(reply)) => replies.push(reply),
            Ok(job) => break Some(job),
            Err(_) => break None,
        }
    };
    let status = Arc::new(device.status());
    for reply in replies {
        // A client that has left does not want it.
        let _ = reply.send(Arc::clone(&status));
    }
    next
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::{JoinSet, yield_now};

    use super::*;

    /// A device whose `apply` waits for a permit, and that counts how often its status is taken.
    struct Gated {
        permits: Mutex<Receiver<()>>,
        statuses: AtomicUsize,
    }

    impl Configurable for Gated {
        fn apply(&self, _set: Set) -> Result<(), Errno> {
            self.permits.lock().expect("no panic").recv().expect("a permit");
            Ok(())
        }

        fn status(&self) -> DeviceStatus {
            self.statuses.fetch_add(1, Ordering::Relaxed);
            DeviceStatus::default()
        }
    }

    #[tokio::test]
    async fn those_that_wait_share_one_status() {
        let (permit, permits) = mpsc::channel();
        let device = Arc::new(Gated { permits: Mutex::new(permits), statuses: AtomicUsize::new(0) });
        let worker = Worker::start(Arc::clone(&device) as _, &Ends::new().0).expect("a thread");
        let mut tasks = JoinSet::new();
        let sender = worker.clone();
        tasks.spawn(async move { sender.apply(Set::default()).await.map(|()| Arc::default()) });
        for _ in 0..50 {
            let worker = worker.clone();
            tasks.spawn(async move { worker.status().await });
        }
        // One turn of the loop: each task has sent its job.
        yield_now().await;
        assert_eq!(device.statuses.load(Ordering::Relaxed), 0, "no get within a set");
        permit.send(()).expect("the set waits");
        assert!(tasks.join_all().await.iter().all(Result::is_ok));
        assert_eq!(device.statuses.load(Ordering::Relaxed), 1);
    }

    struct Panics;

    impl Configurable for Panics {
        fn apply(&self, _set: Set) -> Result<(), Errno> {
            panic!("on purpose")
        }

        fn status(&self) -> DeviceStatus {
            DeviceStatus::default()
        }
    }

    #[tokio::test]
    async fn a_device_that_panics_is_an_error_for_the_client_and_the_end_of_the_thread() {
        let (ends, ended) = Ends::new();
        let worker = Worker::start(Arc::new(Panics), &ends).expect("a thread");
        assert_eq!(worker.apply(Set::default()).await, Err(Errno::NO_DEVICE));
        let end = ended.recv().expect("a report");
        assert!(matches!(end, super::super::outcome::End::ThreadFailed(name) if name == "rvpn-apply"));
        assert_eq!(worker.status().await.map(drop), Err(Errno::NO_DEVICE));
    }
}
