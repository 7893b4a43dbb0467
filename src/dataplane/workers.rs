//! The threads of a device, and how they end together.
//!
//! | thread | loops over | started |
//! |---|---|---|
//! | `packets` | TUN and UDP: reads a burst, carries it to its end | one |
//! | `worker-N` | batches shared under backlog | cores - 1 |
//! | `handshakes` | initiations, responses, cookie replies, requests to initiate | one |
//! | `deadlines` | timers that are due | one |
//!
//! Every thread is critical: if one panics, or the TUN is gone, `on_end` is told once, and the owner stops the rest.
//! A tunnel that half works would be worse than one that a supervisor restarts.
//!
//! Not here: what the threads do (see `send`, `receive`, `handshakes`, `deadlines`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rand::rngs::StdRng;

use super::device::Device;
use super::events::Event;
use super::gro::Coalescer;
use super::handshakes::HandshakeState;
use super::io::Ready;
use super::pacing::Pacing;
use super::packet::{Buffer, TunBatch, TunPacket, UdpBatch};
use super::peer::Peer;
use super::pulse::{Begins, Life, Pulse};
use super::receive::{Inbound, InboundPacket, OpenJob};
use super::send::{Routed, SealJob};
use super::sharing::Sharing;
use super::sync::{Mutex, lock, yield_now};
use crate::proto::index::Index;
use crate::proto::keypair::Keypair;
use crate::proto::time::Instant;

/// A batch that any thread may compute on.
pub(super) enum Job {
    Seal(SealJob),
    Open(OpenJob),
}

/// What a thread carries along: its random generator for jitter, and vectors that keep their room.
pub(super) struct Context {
    pub(super) rng: StdRng,
    /// Batches are offered to idle workers: more is waiting than this thread has taken, and sharing pays.
    pub(super) share: bool,
    pub(super) coalescer: Coalescer,
    pub(super) pacing: Pacing,
    /// What happened to a peer, until its lock is gone.
    pub(super) events: Vec<Event>,
    pub(super) routed: Vec<Routed>,
    /// The peers of `routed`, one for each run of packets.
    pub(super) peers: Vec<Arc<Peer>>,
    pub(super) unrouted: Vec<TunPacket>,
    pub(super) arrived: Vec<InboundPacket>,
    pub(super) aside: Vec<(Index, InboundPacket, Buffer)>,
    pub(super) opening: Vec<(Arc<Peer>, Arc<Keypair>, Inbound)>,
}

impl Context {
    pub(super) fn new(device: &Device) -> Self {
        Self {
            rng: device.rng(),
            share: false,
            coalescer: Coalescer::default(),
            pacing: Pacing::default(),
            events: Vec::new(),
            routed: Vec::new(),
            peers: Vec::new(),
            unrouted: Vec::new(),
            arrived: Vec::new(),
            aside: Vec::new(),
            opening: Vec::new(),
        }
    }
}

/// The threads that carry packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    /// How many there are, the packet thread included: at least 1.
    pub count: usize,
    /// When the packet thread shares batches with the others.
    pub share: Share,
}

/// When batches are offered to idle workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Under backlog, while more is moved with it than without (see `sharing`).
    WhenItPays,
    /// Under backlog. For tests of what sharing must not change.
    UnderBacklog,
}

/// Why a device ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The TUN interface was deleted: the regular end of a device that nobody stopped.
    TunGone,
    /// The named thread panicked.
    ThreadFailed(String),
}

/// The running threads of a device.
pub struct Threads {
    pub(super) device: Arc<Device>,
    pub(super) pulse: Arc<Pulse>,
    /// Threads that wait for batches to be shared with them.
    pub(super) helpers: usize,
    handles: Vec<JoinHandle<()>>,
}

impl Device {
    /// Starts the threads. `on_end` is told if the device ends by itself, from the thread that ended it; it must not
    /// block.
    ///
    /// # Errors
    /// The OS's, if it has no room for a thread; those that were started are stopped.
    pub fn start(
        self: &Arc<Self>,
        workers: Workers,
        on_end: impl Fn(End) + Send + Sync + 'static,
    ) -> std::io::Result<Threads> {
        self.start_with(Pulse::new(), workers, on_end)
    }

    /// Starts the threads, and none carries or sends anything before [`Threads::release`]: for a device whose state is
    /// still to come from another process.
    ///
    /// # Errors
    /// As [`Device::start`].
    pub fn start_held(
        self: &Arc<Self>,
        workers: Workers,
        on_end: impl Fn(End) + Send + Sync + 'static,
    ) -> std::io::Result<Threads> {
        let pulse = Pulse::new();
        pulse.hold();
        self.start_with(pulse, workers, on_end)
    }

    fn start_with(
        self: &Arc<Self>,
        pulse: Arc<Pulse>,
        workers: Workers,
        on_end: impl Fn(End) + Send + Sync + 'static,
    ) -> std::io::Result<Threads> {
        let handles = Vec::with_capacity(workers.count + 2);
        let mut threads = Threads { device: self.clone(), pulse, helpers: workers.count.saturating_sub(1), handles };
        let on_end: Arc<dyn Fn(End) + Send + Sync> = Arc::new(on_end);
        let packets = move |device: &Self, life: &mut Life| packet_loop(device, life, workers.share);
        threads.spawn("packets", Begins::ByItself, &on_end, packets)?;
        for n in 1..workers.count {
            threads.spawn(&format!("worker-{n}"), Begins::WhenGivenWork, &on_end, worker_loop)?;
        }
        threads.spawn("handshakes", Begins::WhenGivenWork, &on_end, handshake_loop)?;
        threads.spawn("deadlines", Begins::ByItself, &on_end, deadline_loop)?;
        Ok(threads)
    }

    /// Under backlog hands `job` to an idle worker; else does it here and now.
    pub(super) fn run_or_share(&self, context: &mut Context, now: Instant, job: Job) {
        let kept = if context.share { self.work.share(job) } else { Err(job) };
        match kept {
            Ok(()) => self.stats.shared(),
            Err(job) => self.run(context, now, job),
        }
    }

    /// Computes on a batch and carries what is ready to its end.
    pub(super) fn run(&self, context: &mut Context, now: Instant, job: Job) {
        match job {
            Job::Seal(job) => self.seal(context, now, job),
            Job::Open(job) => self.open(context, now, job),
        }
    }
}

impl Threads {
    /// Returns the names of the threads that have not come round since this was last called, and asks all of them to
    /// do so: see `pulse`. Never blocks.
    pub fn beat(&self) -> Vec<String> {
        let late = self.pulse.beat();
        self.device.platform.poller.wake();
        self.device.platform.alarm.wake();
        late
    }

    /// Returns the CPU time of each thread that has begun, by name.
    pub fn cpu_times(&self) -> Vec<(String, Duration)> {
        let clock = &self.device.platform.clock;
        self.pulse.clocks().into_iter().map(|(name, thread)| (name, clock.cpu_time(thread))).collect()
    }

    /// Lets threads go on that were started held, or are held.
    pub fn release(&self) {
        self.pulse.release();
    }

    /// Stops all threads and waits for them. Packets in flight are dropped.
    pub fn stop(mut self) {
        self.stop_and_join();
    }

    fn stop_and_join(&mut self) {
        self.pulse.stop();
        self.device.platform.poller.wake();
        self.device.platform.alarm.wake();
        self.device.work.stop();
        self.device.handshakes.stop();
        for handle in self.handles.drain(..) {
            // A panic was already caught and told.
            let _ = handle.join();
        }
    }

    fn spawn(
        &mut self,
        name: &str,
        begins: Begins,
        on_end: &Arc<dyn Fn(End) + Send + Sync>,
        body: impl Fn(&Device, &mut Life) -> Option<End> + Send + 'static,
    ) -> std::io::Result<()> {
        let (device, mut life, on_end) = (self.device.clone(), self.pulse.add(name, begins), on_end.clone());
        let thread_name = name.to_owned();
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            life.runs_on(device.platform.clock.this_thread());
            let end = catch_unwind(AssertUnwindSafe(|| body(&device, &mut life)));
            match end {
                Ok(None) => {}
                Ok(Some(end)) => on_end(end),
                Err(_) => on_end(End::ThreadFailed(thread_name)),
            }
        })?;
        self.handles.push(handle);
        Ok(())
    }
}

impl std::ops::Drop for Threads {
    fn drop(&mut self) {
        self.stop_and_join();
    }
}

/// The packet thread's own state: see [`PacketWay::step`].
pub struct PacketWay {
    context: Context,
    tun: Vec<Arc<TunBatch>>,
    udp: UdpBatch,
    share: Share,
    sharing_out: Sharing,
    sharing_in: Sharing,
}

impl PacketWay {
    /// Makes the state of one packet thread.
    pub fn new(device: &Device) -> Self {
        Self {
            context: Context::new(device),
            tun: Vec::new(),
            udp: UdpBatch::new(),
            share: Share::WhenItPays,
            sharing_out: Sharing::default(),
            sharing_in: Sharing::default(),
        }
    }

    /// Reads a burst from whatever is ready and carries it to its end, in the calling thread unless there is backlog.
    pub fn step(&mut self, device: &Device, ready: Ready) -> Result<(), End> {
        let now = device.platform.clock.now();
        if ready.udp.any()
            && let Some(udp) = device.udp()
        {
            self.udp.refill(&device.pool);
            if self.udp.free().is_empty() {
                // All buffers are with the workers: waiting datagrams would wake us at once, so help instead.
                self.help(device, now);
                return Ok(());
            }
            if let Err(error) = udp.receive(ready.udp, &mut self.udp) {
                tracing::debug!("Receiving failed: {error}");
            }
            self.context.share = self.udp.is_full()
                && (self.share == Share::UnderBacklog || self.sharing_in.decide(now, self.udp.bytes()));
            device.receive_batch(&mut self.context, now, &mut self.udp);
        }
        if ready.tun {
            let Some(mut batch) = self.free_batch(device, now) else { return Ok(()) };
            let room = Arc::get_mut(&mut batch).expect("a free batch has one owner");
            room.clear();
            match device.platform.tun.read(room) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(End::TunGone),
                Err(error) => tracing::debug!("Reading from the TUN device failed: {error}"),
            }
            self.context.share =
                room.is_full() && (self.share == Share::UnderBacklog || self.sharing_out.decide(now, room.len()));
            if !batch.is_empty() {
                device.send_batch(&mut self.context, now, &batch);
            }
            self.tun.push(batch);
        }
        Ok(())
    }

    /// Finds a batch that no worker reads any more. If all are in flight, does some of that work itself.
    fn free_batch(&mut self, device: &Device, now: Instant) -> Option<Arc<TunBatch>> {
        if let Some(free) = self.tun.iter_mut().position(|batch| Arc::get_mut(batch).is_some()) {
            return Some(self.tun.swap_remove(free));
        }
        if self.tun.len() < MAX_TUN_BATCHES {
            return Some(Arc::new(TunBatch::new()));
        }
        self.help(device, now);
        None
    }

    /// Does a batch that waits for a worker; if none waits, lets those run that have them all.
    fn help(&mut self, device: &Device, now: Instant) {
        match device.work.try_next() {
            Some(job) => device.run(&mut self.context, now, job),
            None => yield_now(),
        }
    }
}

/// The handshake and deadline threads' work, one piece at a time, for callers that have no threads.
pub struct Inline {
    context: Context,
    handshakes: HandshakeState,
}

impl Inline {
    /// Makes the state of a caller that does the threads' work itself.
    pub fn new(device: &Device) -> Self {
        Self { context: Context::new(device), handshakes: HandshakeState::new() }
    }

    /// Does all handshake work that waits; true if there was any.
    pub fn handshakes(&mut self, device: &Device) -> bool {
        let mut any = false;
        while let Some(work) = device.handshakes.try_next() {
            device.handshake(&mut self.context, &mut self.handshakes, work);
            any = true;
        }
        any
    }

    /// Runs the timers that are due; returns when the next ones are.
    pub fn deadlines(&mut self, device: &Device) -> Option<Instant> {
        device.run_deadlines(&mut self.context);
        device.deadlines.next()
    }
}

fn packet_loop(device: &Device, life: &mut Life, share: Share) -> Option<End> {
    let mut way = PacketWay { share, ..PacketWay::new(device) };
    let end = loop {
        let ready = device.platform.poller.wait();
        if !life.goes_on() {
            break None;
        }
        match ready {
            Ok(ready) => {
                if let Err(end) = way.step(device, ready) {
                    break Some(end);
                }
            }
            Err(error) => {
                tracing::error!("Waiting for packets failed: {error}");
                break Some(End::ThreadFailed("packets".to_owned()));
            }
        }
    };
    way.udp.give_back(&device.pool);
    end
}

fn worker_loop(device: &Device, life: &mut Life) -> Option<End> {
    let mut context = Context::new(device);
    life.rests();
    while let Some(job) = device.work.next() {
        life.goes_on();
        let now = device.platform.clock.now();
        device.run(&mut context, now, job);
        life.rests();
    }
    None
}

fn handshake_loop(device: &Device, life: &mut Life) -> Option<End> {
    let mut context = Context::new(device);
    let mut state = HandshakeState::new();
    life.rests();
    while let Some(work) = device.handshakes.next() {
        life.goes_on();
        device.handshake(&mut context, &mut state, work);
        life.rests();
    }
    None
}

fn deadline_loop(device: &Device, life: &mut Life) -> Option<End> {
    let mut context = Context::new(device);
    while life.goes_on() {
        device.run_deadlines(&mut context);
        device.platform.alarm.wait_until(device.deadlines.next());
    }
    None
}

/// What can be emptied and used again.
pub(super) trait Recycle: Default {
    fn reset(&mut self);
}

/// Emptied batches with their vectors' room.
pub(super) struct Recycler<T> {
    idle: Mutex<Vec<T>>,
}

impl<T: Recycle> Recycler<T> {
    pub(super) fn new() -> Self {
        Self { idle: Mutex::new(Vec::new()) }
    }

    pub(super) fn take(&self) -> T {
        lock(&self.idle).pop().unwrap_or_default()
    }

    pub(super) fn put(&self, mut item: T) {
        item.reset();
        let mut idle = lock(&self.idle);
        if idle.len() < MAX_RECYCLED {
            idle.push(item);
        }
    }
}

/// Arenas of one packet thread: one in hand, the others with workers.
const MAX_TUN_BATCHES: usize = 8;

/// More batches than this are never in flight at once.
const MAX_RECYCLED: usize = 128;
