//! `rvpn top`: a live view of tunnels in a terminal.
//!
//! ```text
//!   keys ────┐
//!   signals ─┼─► messages ─► state ─► view      the state knows no terminal, the view is a function of it and a size
//!   sampler ─┘                  │
//!      ▲                        │ whose details can be seen
//!      └────────────────────────┘
//! ```
//!
//! Works for every WireGuard that answers `get`; of our own daemon, drops and handshakes are asked for, too, for the peers
//! that can be seen.
//!
//! Not here: a view for scripts and pipes (`rvpn show --watch`).

mod figures;
mod keys;
mod rates;
mod state;
mod text;
mod view;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::signal::unix::{SignalKind, signal};

use self::figures::{Figures, Sample};
use self::state::State;
use super::failure::Failure;
use super::show::interval;
use super::terminal;
use crate::control::client::Client;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The interface to begin with; without it, the first.
    interface: Option<OsString>,
    /// How often to look.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
}

pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<(), Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() || terminal::is_dumb() {
        let expected = "wants a terminal that can be drawn on; `rvpn show --watch` does without".to_owned();
        return Err(Failure::Word { word: "top".to_owned(), expected });
    }
    let interface = arguments.interface.as_ref().map(|name| name.to_string_lossy().into_owned());
    if let Some(name) = &arguments.interface {
        // Said while it can be read, not on a screen that is about to go.
        client.status(name)?;
    }
    let mut state = State::new(interface, terminal::has_colours());
    // Puts the terminal back before a panic is told, whichever thread it is in.
    let mut terminal = ratatui::try_init()?;
    let result = follow(&mut terminal, &mut state, arguments.interval, client);
    ratatui::restore();
    result
}

enum Message {
    Event(Event),
    Sample(Sample),
    /// A signal, or a thread has ended.
    End,
}

/// Draws after each message, until the end.
fn follow(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    interval: Duration,
    client: &Client,
) -> Result<(), Failure> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let messages = listen(client.clone(), interval, Arc::clone(&seen))?;
    loop {
        terminal.draw(|frame| view::draw(frame, state))?;
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = state.seen();
        match messages.recv() {
            Ok(Message::Event(event)) => {
                if keys::act(state, &event) {
                    return Ok(());
                }
            }
            Ok(Message::Sample(sample)) => state.take(sample),
            Ok(Message::End) | Err(_) => return Ok(()),
        }
    }
}

/// The keys of peers, by their interface.
type Seen = Vec<(String, Vec<[u8; 32]>)>;

/// Starts the threads that wait. They end with the process.
fn listen(client: Client, interval: Duration, seen: Arc<Mutex<Seen>>) -> io::Result<Receiver<Message>> {
    let (sender, messages) = mpsc::channel();
    start("keys", &sender, |messages| {
        while let Ok(event) = event::read() {
            if messages.send(Message::Event(event)).is_err() {
                break;
            }
        }
    })?;
    start("signals", &sender, |_| {
        // An error is like a signal: without them the terminal could be left as it should not be.
        let _ = wait_for_signal();
    })?;
    start("sampler", &sender, move |messages| {
        // The second look is soon after the first: without two there is no rate, and only then is it known what is seen.
        let mut pause = interval.min(FIRST_INTERVAL);
        loop {
            let wanted = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if messages.send(Message::Sample(Figures::take(&client, &wanted))).is_err() {
                break;
            }
            wait(std::mem::replace(&mut pause, interval));
        }
    })?;
    Ok(messages)
}

/// Starts a thread that says when it has ended, also by a panic.
fn start(
    name: &str,
    messages: &Sender<Message>,
    run: impl FnOnce(&Sender<Message>) + Send + 'static,
) -> io::Result<()> {
    struct End(Sender<Message>);
    impl Drop for End {
        fn drop(&mut self) {
            let _ = self.0.send(Message::End);
        }
    }
    let end = End(messages.clone());
    thread::Builder::new().name(name.to_owned()).spawn(move || run(&end.0)).map(drop)
}

/// Returns after a signal that asks to end. Ctrl-C is none while the terminal is ours: it is a key.
fn wait_for_signal() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
        let mut quit = signal(SignalKind::quit())?;
        tokio::select! {
            _ = signals.0.recv() => {}
            _ = signals.1.recv() => {}
            _ = signals.2.recv() => {}
            _ = quit.recv() => {}
        }
        Ok(())
    })
}

const FIRST_INTERVAL: Duration = Duration::from_millis(200);

fn wait(interval: Duration) {
    let timeout = rustix::event::Timespec { tv_sec: interval.as_secs() as _, tv_nsec: interval.subsec_nanos().into() };
    // A signal is for another thread.
    let _ = rustix::event::poll(&mut [], Some(&timeout));
}
