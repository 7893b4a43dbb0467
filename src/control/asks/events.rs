//! `events`: what happens from now on, a line of JSON each, until the client closes the connection or the daemon ends.
//!
//! ```text
//! errno=0
//!
//! {"time":"2026-05-04T09:30:00.123456789Z","event":"connected","public_key":"8S2k...=","endpoint":"192.0.2.1:51820"}
//! ...
//! ```
//! A client that reads too slowly loses events, and a line in their place tells how many: nobody waits for it. One that
//! closes its sending half has had enough.
//!
//! Not here: the keys (see `event_record`).

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Notify;

use super::reply;
use crate::control::event_record::Record;
use crate::dataplane::events::{Events, Subscription, Taken};

pub(super) async fn answer(events: &Arc<Events>, mut stream: UnixStream) -> io::Result<()> {
    let feed = Feed::new(events);
    reply(&mut stream, Vec::new()).await?;
    feed.run(stream).await
}

/// The events from the moment it was made.
pub(in crate::control) struct Feed {
    subscription: Subscription,
    news: Arc<Notify>,
}

impl Feed {
    pub(in crate::control) fn new(events: &Arc<Events>) -> Self {
        let news = Arc::new(Notify::new());
        let wake = Arc::clone(&news);
        Self { subscription: events.subscribe(move || wake.notify_one()), news }
    }

    /// Writes the events to `stream` until its other end is closed.
    ///
    /// # Errors
    /// The stream's.
    pub(in crate::control) async fn run(self, stream: impl AsyncRead + AsyncWrite) -> io::Result<()> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        tokio::select! {
            result = until_closed(&mut reader) => result,
            error = self.write_all(&mut writer) => Err(error),
        }
    }

    /// Writes until that fails.
    async fn write_all(&self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Error {
        loop {
            if let Err(error) = write(self.subscription.take(), writer).await {
                return error;
            }
            self.news.notified().await;
        }
    }
}

async fn write(taken: Taken, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut text = Vec::new();
    if let Some(first) = taken.events.first()
        && taken.missed > 0
    {
        Record::missed(taken.missed, first.at).write(&mut text);
    }
    for event in taken.events {
        Record::of(&event).write(&mut text);
        if text.len() >= PIECE_LEN {
            writer.write_all(&text).await?;
            text.clear();
        }
    }
    writer.write_all(&text).await
}

/// Returns when the other end was closed. What it says meanwhile is not listened to.
async fn until_closed(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut ignored = [0; 64];
    while reader.read(&mut ignored).await? > 0 {}
    Ok(())
}

const PIECE_LEN: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream, Lines, duplex};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::dataplane::events::{Event, EventKind};
    use crate::proto::time::WallTime;

    fn publish(events: &Events, number: u16) {
        let kind = EventKind::ListenPortChanged { from: 0, to: number };
        let event = Event { at: WallTime { secs: 1, nanos: 0 }, peer: None, kind };
        events.publish(&event);
        events.wake();
    }

    fn feed(events: &Arc<Events>) -> (Lines<BufReader<DuplexStream>>, JoinHandle<io::Result<()>>) {
        let (ours, theirs) = duplex(1024);
        (BufReader::new(ours).lines(), tokio::spawn(Feed::new(events).run(theirs)))
    }

    async fn next(lines: &mut Lines<BufReader<DuplexStream>>) -> Record {
        let line = lines.next_line().await.expect("no error").expect("a line");
        Record::read(&line).expect("a record")
    }

    #[tokio::test]
    async fn every_client_gets_every_event_in_order() {
        let events = Arc::<Events>::default();
        let mut clients = [feed(&events), feed(&events)];
        (1..=100).for_each(|number| publish(&events, number));
        for (lines, _) in &mut clients {
            for number in 1..=100 {
                assert_eq!(next(lines).await.listen_port, Some(number));
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_told_how_many_it_missed() {
        let events = Arc::<Events>::default();
        let (mut lines, _task) = feed(&events);
        publish(&events, 1);
        assert_eq!(next(&mut lines).await.listen_port, Some(1));
        (2..=5001).for_each(|number| publish(&events, number));
        let missed = next(&mut lines).await;
        assert_eq!((missed.event.as_str(), missed.count), ("missed", Some(5000 - 4096)));
        assert_eq!(next(&mut lines).await.listen_port, Some(906));
    }

    #[tokio::test]
    async fn a_client_that_leaves_takes_its_queue_with_it() {
        let events = Arc::<Events>::default();
        let (lines, task) = feed(&events);
        drop(lines);
        assert!(task.await.expect("no panic").is_ok());
        assert_eq!(Arc::weak_count(&events), 0, "no subscription holds on to it");
    }
}
