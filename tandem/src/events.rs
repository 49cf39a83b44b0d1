//! Events for readers: from the control thread, through a task that keeps the newest, to whoever reads
//! `/api/v1/events`.
//!
//! ```text
//!  control thread ──try_send──► hub ──try_send──► a reader's queue ──► its connection
//!                               keeps the newest
//! ```
//!
//! Nobody who is slow holds up anybody else. What finds no room is counted, and a reader who missed
//! something is told how much (`lost`) as soon as there is room again; one who takes nothing for
//! [`CUT_OFF_AFTER`] is cut off. Who comes back with the id it had last gets what it missed, as far as that
//! is kept. While nobody reads, and for [`KEEPS_FOR`] nobody did, call control makes no events.
//!
//! An event's name is node.epoch.number, as all names are; numbers rise by one, so that a gap is seen.
//!
//! Bounds: [`READERS_MAX`] readers; [`WAITING_MAX`] events before the hub, [`QUEUE_MAX`] before a reader;
//! [`KEPT_MAX`] kept.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tandem_node::{Input, Notice};
use tandem_storage::name::{Id, NodeName};
use tandem_storage::time::WallTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::alarms::DISK_FULL;
use crate::control::ControlHandle;

/// Readers at once. The command socket has room for more askers than these.
const READERS_MAX: usize = 16;
/// Events that may wait for the hub.
const WAITING_MAX: usize = 4096;
/// Events that may wait for a reader.
const QUEUE_MAX: usize = 256;
/// The newest events are kept for who comes back.
const KEPT_MAX: usize = 1024;
/// A reader who takes nothing for so long is cut off.
const CUT_OFF_AFTER: Duration = Duration::from_secs(60);
/// After the last reader went, events are made and kept for so long.
const KEEPS_FOR: Duration = Duration::from_secs(600);
/// How often the hub looks who has gone.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Something is sent at least so often, so that a connection that is dead is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct EventCounts {
    /// Readers now.
    pub(crate) readers: AtomicU64,
    /// Readers who found no place.
    pub(crate) refused: AtomicU64,
    /// Events that found no room, for the hub or for a reader.
    pub(crate) lost: AtomicU64,
    /// Readers who were cut off.
    pub(crate) cut_off: AtomicU64,
}

/// The control thread's end. Never waits.
#[derive(Debug)]
pub(crate) struct Events {
    to_hub: mpsc::Sender<Event>,
    number_last: u64,
    counts: Arc<EventCounts>,
}

/// How readers come in.
#[derive(Clone, Debug)]
pub(crate) struct EventsDoor {
    to_hub: mpsc::Sender<Join>,
}

/// Something that happened.
#[derive(Debug)]
struct Event {
    number: u64,
    at: WallTime,
    kind: &'static str,
    body: Value,
}

/// Somebody wants to read.
#[derive(Debug)]
struct Join {
    /// The id it had last.
    last: Option<String>,
    reply: oneshot::Sender<Option<mpsc::Receiver<Bytes>>>,
}

/// An event as it is sent.
#[derive(Clone, Debug)]
struct Kept {
    number: u64,
    frame: Bytes,
}

#[derive(Debug)]
struct Reader {
    queue: mpsc::Sender<Bytes>,
    /// Events it has missed and was not told of.
    lost: u64,
    /// Since when its queue is full.
    full_since: Option<Instant>,
}

/// Keeps the newest events and hands them out.
struct Hub {
    node: NodeName,
    epoch: u32,
    control: ControlHandle,
    kept: VecDeque<Kept>,
    readers: Vec<Reader>,
    number_last: u64,
    is_watching: bool,
    /// When there was a reader last.
    read_at: Instant,
    counts: Arc<EventCounts>,
}

/// Starts the hub, on the runtime that is entered.
pub(crate) fn start(node: NodeName, epoch: u32, control: ControlHandle) -> (Events, EventsDoor) {
    let (to_hub, events) = mpsc::channel(WAITING_MAX);
    let (join, joins) = mpsc::channel(READERS_MAX);
    let counts = Arc::<EventCounts>::default();
    let hub = Hub {
        node,
        epoch,
        control,
        kept: VecDeque::new(),
        readers: Vec::new(),
        number_last: 0,
        is_watching: false,
        read_at: Instant::now(),
        counts: counts.clone(),
    };
    tokio::spawn(hub.run(events, joins));
    let number_last = 0;
    let events = Events {
        to_hub,
        number_last,
        counts,
    };
    (events, EventsDoor { to_hub: join })
}

impl Events {
    /// Something happened.
    pub(crate) fn publish(&mut self, at: WallTime, kind: &'static str, body: Value) {
        self.number_last += 1;
        let event = Event {
            number: self.number_last,
            at,
            kind,
            body,
        };
        if self.to_hub.try_send(event).is_err() {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What an administrator should know.
    pub(crate) fn notice(&mut self, at: WallTime, notice: &Notice) {
        let alarm = |text: String| ("alarm", json!({ "alarm": text }));
        let (kind, body) = match notice {
            Notice::Up(peer) => ("node.up", json!({ "node": peer.as_str() })),
            Notice::Away(peer, why) => (
                "node.away",
                json!({ "node": peer.as_str(), "why": why.to_string() }),
            ),
            Notice::Alone { .. } => alarm("what is saved is at this node alone".into()),
            Notice::Copied => ("node.copied", json!({})),
            Notice::Contradiction { peer, .. } => alarm(format!(
                "{peer} has seen more of this node's log than is here"
            )),
            Notice::Room(false) => alarm(DISK_FULL.into()),
            Notice::Room(true) => ("disk.room", json!({})),
            Notice::UserLocked(user, _) => {
                alarm(format!("the phones of the user {user} cannot log in here"))
            }
            Notice::Stopping { calls, .. } => ("node.stopping", json!({ "calls": calls })),
            Notice::Relaying { .. } | Notice::NotFetched(_) => return,
        };
        self.publish(at, kind, body);
    }

    pub(crate) fn counts(&self) -> Arc<EventCounts> {
        self.counts.clone()
    }
}

impl EventsDoor {
    /// Reads from now on, or from behind the event that was read last. `None`: there is no place, or the
    /// node is stopping.
    pub(crate) async fn read(&self, last: Option<String>) -> Option<EventStream> {
        let (reply, answer) = oneshot::channel();
        self.to_hub.send(Join { last, reply }).await.ok()?;
        let queue = answer.await.ok()??;
        let mut keep_alive = tokio::time::interval(KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(EventStream {
            queue,
            keep_alive,
            is_greeted: false,
        })
    }
}

impl Hub {
    async fn run(mut self, mut events: mpsc::Receiver<Event>, mut joins: mpsc::Receiver<Join>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.on_event(&event),
                    // Call control has ended.
                    None => return,
                },
                Some(join) = joins.recv() => self.on_join(join),
                _ = look.tick() => self.look(),
            }
        }
    }

    fn on_event(&mut self, event: &Event) {
        let missed = event.number - self.number_last - 1;
        self.number_last = event.number;
        let kept = Kept {
            number: event.number,
            frame: self.frame(event),
        };
        let counts = self.counts.clone();
        self.readers.retain_mut(|reader| {
            reader.lost += missed;
            let stays = reader.take(&kept.frame, &counts);
            if !stays && !reader.queue.is_closed() {
                counts.cut_off.fetch_add(1, Ordering::Relaxed);
            }
            stays
        });
        self.count_readers();
        self.kept.push_back(kept);
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
    }

    /// As a reader gets it (HTML Living Standard, 9.2.6).
    fn frame(&self, event: &Event) -> Bytes {
        let id = Id {
            node: self.node,
            epoch: self.epoch,
            number: event.number,
        };
        let id = id.to_string();
        let kind = event.kind;
        let data = json!({ "id": id, "at": event.at, "type": kind, "body": event.body });
        format!("id: {id}\nevent: {kind}\ndata: {data}\n\n").into()
    }

    fn on_join(&mut self, join: Join) {
        self.look();
        if self.readers.len() >= READERS_MAX {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            join.reply.send(None).ok();
            return;
        }
        // Before the reader is told that it reads: what it does next is seen.
        if !std::mem::replace(&mut self.is_watching, true) {
            self.control.node(Input::Watch(true));
        }
        let (queue, frames) = mpsc::channel(QUEUE_MAX + KEPT_MAX);
        let mut reader = Reader {
            queue,
            lost: 0,
            full_since: None,
        };
        if let Some(last) = join.last {
            self.catch_up(&mut reader, &last);
        }
        if join.reply.send(Some(frames)).is_ok() {
            self.readers.push(reader);
        }
        self.count_readers();
    }

    /// What came after the event that a reader had last.
    fn catch_up(&self, reader: &mut Reader, last: &str) {
        let last = last.parse::<Id>().ok();
        let last = last.filter(|id| (id.node, id.epoch) == (self.node, self.epoch));
        let from = match last {
            Some(id) => id.number,
            // Of another life of this node, or of another node: nobody knows how much it missed.
            None => {
                reader.queue.try_send(lost_frame(None)).ok();
                0
            }
        };
        let mut before = last.map(|_| from);
        for kept in self.kept.iter().filter(|kept| kept.number > from) {
            let missed = before.map_or(0, |before| kept.number - before - 1);
            before = Some(kept.number);
            if missed > 0 {
                reader.queue.try_send(lost_frame(Some(missed))).ok();
            }
            reader.queue.try_send(kept.frame.clone()).ok();
        }
        if let Some(before) = before {
            reader.lost = self.number_last.saturating_sub(before);
        }
    }

    /// Who has gone is forgotten; and if nobody reads for long, nothing is made for readers.
    fn look(&mut self) {
        self.readers.retain(|reader| !reader.queue.is_closed());
        self.count_readers();
        let now = Instant::now();
        if !self.readers.is_empty() {
            self.read_at = now;
        } else if self.is_watching && now.duration_since(self.read_at) >= KEEPS_FOR {
            self.is_watching = false;
            self.control.node(Input::Watch(false));
        }
    }

    fn count_readers(&self) {
        let readers = self.readers.len() as u64;
        self.counts.readers.store(readers, Ordering::Relaxed);
    }
}

impl Reader {
    /// Puts an event into its queue; false: it is no reader any more.
    fn take(&mut self, frame: &Bytes, counts: &EventCounts) -> bool {
        if self.lost > 0 && self.queue.try_send(lost_frame(Some(self.lost))).is_ok() {
            self.lost = 0;
        }
        // In order, or not at all.
        if self.lost == 0 && self.queue.try_send(frame.clone()).is_ok() {
            self.full_since = None;
            return true;
        }
        self.lost += 1;
        counts.lost.fetch_add(1, Ordering::Relaxed);
        let since = *self.full_since.get_or_insert_with(Instant::now);
        !self.queue.is_closed() && since.elapsed() < CUT_OFF_AFTER
    }
}

/// So many events are missing here. It has no id: who comes back names the last event it had.
fn lost_frame(count: Option<u64>) -> Bytes {
    let data = json!({ "type": "lost", "count": count });
    format!("event: lost\ndata: {data}\n\n").into()
}

/// What a reader gets: a body that ends when the node stops, or the reader was too slow.
#[derive(Debug)]
pub(crate) struct EventStream {
    queue: mpsc::Receiver<Bytes>,
    keep_alive: Interval,
    /// A comment was sent: the reader knows that it reads.
    is_greeted: bool,
}

/// A comment, which readers pass over.
const COMMENT: &[u8] = b":\n\n";

impl HttpBody for EventStream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let comment = Ok(Frame::data(Bytes::from_static(COMMENT)));
        if !std::mem::replace(&mut self.is_greeted, true) {
            return Poll::Ready(Some(comment));
        }
        if let Poll::Ready(frame) = self.queue.poll_recv(context) {
            return Poll::Ready(frame.map(|frame| Ok(Frame::data(frame))));
        }
        self.keep_alive.poll_tick(context).map(|_| Some(comment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> (Events, EventsDoor, crate::control::Queues) {
        let (control, _, queues) = crate::control::queues();
        let (events, door) = start("a".parse().unwrap(), 7, control);
        (events, door, queues)
    }

    async fn next(stream: &mut EventStream) -> String {
        let frame = stream.queue.recv().await.expect("an event");
        String::from_utf8(frame.to_vec()).unwrap()
    }

    fn happens(events: &mut Events, count: usize) {
        for n in 0..count {
            events.publish(WallTime(5), "leg.begin", json!({ "n": n }));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_gets_what_happens_and_what_it_missed_when_it_comes_back() {
        let (mut events, door, _queues) = started();
        let mut first = door.read(None).await.unwrap();
        happens(&mut events, 3);
        assert_eq!(
            next(&mut first).await,
            "id: a.7.1\nevent: leg.begin\ndata: {\"id\":\"a.7.1\",\"at\":5,\"type\":\"leg.begin\",\"body\":{\"n\":0}}\n\n"
        );
        drop(first);
        let mut again = door.read(Some("a.7.1".into())).await.unwrap();
        assert!(next(&mut again).await.starts_with("id: a.7.2\n"));
        assert!(next(&mut again).await.starts_with("id: a.7.3\n"));
        happens(&mut events, 1);
        assert!(next(&mut again).await.starts_with("id: a.7.4\n"));
        // Of another life of the node: how much is missing is not known.
        let mut old = door.read(Some("a.6.9".into())).await.unwrap();
        assert_eq!(
            next(&mut old).await,
            "event: lost\ndata: {\"type\":\"lost\",\"count\":null}\n\n"
        );
        assert!(next(&mut old).await.starts_with("id: a.7.1\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_told_how_much_it_missed_and_cut_off_in_the_end() {
        let (mut events, door, _queues) = started();
        let mut slow = door.read(None).await.unwrap();
        let mut quick = door.read(None).await.unwrap();
        let room = QUEUE_MAX + KEPT_MAX;
        for n in 1..=room + 10 {
            happens(&mut events, 1);
            assert!(
                next(&mut quick)
                    .await
                    .starts_with(&format!("id: a.7.{n}\n"))
            );
        }
        for n in 1..=room {
            assert!(next(&mut slow).await.starts_with(&format!("id: a.7.{n}\n")));
        }
        happens(&mut events, 1);
        assert_eq!(
            next(&mut slow).await,
            "event: lost\ndata: {\"type\":\"lost\",\"count\":10}\n\n"
        );
        assert!(
            next(&mut slow)
                .await
                .starts_with(&format!("id: a.7.{}\n", room + 11))
        );
        next(&mut quick).await;
        for _ in 0..=room {
            happens(&mut events, 1);
            next(&mut quick).await;
        }
        tokio::time::advance(CUT_OFF_AFTER).await;
        happens(&mut events, 1);
        next(&mut quick).await;
        for _ in 0..room {
            next(&mut slow).await;
        }
        assert!(slow.queue.recv().await.is_none());
        assert_eq!(events.counts().cut_off.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_too_late_hears_how_much_is_gone_and_readers_are_counted() {
        let (mut events, door, _queues) = started();
        let mut reader = door.read(None).await.unwrap();
        for _ in 0..KEPT_MAX + 5 {
            happens(&mut events, 1);
            next(&mut reader).await;
        }
        let mut late = door.read(Some("a.7.2".into())).await.unwrap();
        assert_eq!(
            next(&mut late).await,
            "event: lost\ndata: {\"type\":\"lost\",\"count\":3}\n\n"
        );
        assert!(next(&mut late).await.starts_with("id: a.7.6\n"));
        let mut all = vec![reader, late];
        while let Some(more) = door.read(None).await {
            all.push(more);
        }
        assert_eq!(all.len(), READERS_MAX);
        assert_eq!(events.counts().refused.load(Ordering::Relaxed), 1);
        all.pop();
        assert!(door.read(None).await.is_some());
    }
}
