//! The thread that runs the node: how others reach it, and what they may ask.
//!
//! ```text
//!  SIP transports ─┐                   ┌─► SIP transports
//!  media engine ───┤                   ├─► media engine
//!  log ────────────┼─► tandem_node ────┼─► log
//!  link ───────────┤                   ├─► link
//!  PIN thread ─────┤                   ├─► PIN thread
//!  commands ───────┘                   └─► commands
//! ```
//!
//! Invariants: the thread never waits for the disk, the network or a lock. What comes from the
//! network is bounded ([`WIRE_WAITING_MAX`]: more is refused by the SIP shell, which counts it), and so
//! are keys that parties press and questions ([`WAITING_MAX`]: more are left out, or refused, and counted);
//! what else comes from the log, the link and the engine is bounded by what was asked of them. The log's
//! events have a channel to themselves: so its thread, which goes before others, never meets one that is
//! in the middle of putting something in. So have the link's: an acknowledgement does not wait behind SIP.

mod run;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use serde_json::Value;
use tandem_engine::seam::Event;
use tandem_node::Input;
use tandem_pbx::PbxConfig;
use tandem_pbx::seam::{AdminAnswer, AdminAsk};
use tandem_sip_shim::WireIn;
use tandem_storage::compaction::Input as CompactionInput;
use tandem_storage::compaction::ask::Question;
use tandem_storage::link::LinkEvent;
use tandem_storage::name::Id;
use tandem_storage::seam::{ChunkPlace, LogEvent};
use tandem_storage::time::{Now, Time, WallTime};
use tokio::sync::oneshot;

use crate::config::Config;

pub(crate) use run::{Control, Parts};

/// Messages from the network that may wait for this thread.
const WIRE_WAITING_MAX: usize = 8192;

/// With so much waiting in all, keys that are pressed are left out and questions are refused.
const WAITING_MAX: usize = 65_536;

/// Something for the control thread.
pub(crate) enum In {
    Wire(WireIn),
    /// From the engine or the PIN thread.
    Node(Input),
    Ask(Ask, Reply),
    /// A question of compaction to the view, and where the answer goes.
    Compaction(Question, Sender<CompactionInput>),
    /// Where the chunks of a sound lie, for the link, and where the answer goes.
    Places(Id, Sender<Vec<ChunkPlace>>),
    /// New settings for call control, and for how long calls may go on after `StopAsked`.
    Configure(Box<PbxConfig>, Duration),
    /// What was counted is wanted on the board; only wakes the thread.
    Count,
    /// Once: no new calls, and end when the last one has. Twice: end now.
    StopAsked,
}

/// A question from the command line or the portal.
pub(crate) enum Ask {
    Status,
    Phones,
    /// The cluster's nodes, as JSON.
    Nodes,
    Pbx(AdminAsk),
    /// Writes registers; answered when the last one is durable.
    Registers(Vec<(String, Option<String>)>),
}

/// Its answer.
pub(crate) enum Answer {
    Json(Value),
    Pbx(AdminAnswer),
    Done,
}

/// Where an answer goes.
pub(crate) type Reply = oneshot::Sender<Result<Answer, String>>;

/// How others reach the control thread. Never blocks.
#[derive(Clone)]
pub(crate) struct ControlHandle {
    queue: Sender<In>,
    link: Sender<LinkEvent>,
    wire_waiting: Arc<AtomicUsize>,
    /// What found no room, so far.
    overflow: Arc<AtomicU64>,
}

/// The machine's clocks, as the cores are told of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

/// What the control thread takes from.
pub(crate) struct Queues {
    log: Receiver<LogEvent>,
    link: Receiver<LinkEvent>,
    inputs: Receiver<In>,
}

/// The log thread's way to the control thread; it alone has it.
pub(crate) struct LogEvents(Sender<LogEvent>);

/// All ends of the queues to the control thread: threads that feed it start before it does.
pub(crate) fn queues() -> (ControlHandle, LogEvents, Queues) {
    let (queue, inputs) = unbounded();
    let (events, log) = unbounded();
    let (to_link, link) = unbounded();
    let handle = ControlHandle {
        queue,
        link: to_link,
        wire_waiting: Arc::default(),
        overflow: Arc::default(),
    };
    (handle, LogEvents(events), Queues { log, link, inputs })
}

impl LogEvents {
    pub(crate) fn put(&self, event: LogEvent) {
        self.0.send(event).ok();
    }
}

impl ControlHandle {
    /// From the engine or the PIN thread.
    pub(crate) fn node(&self, input: Input) {
        if matches!(input, Input::Media(Event::Digit { .. })) && !self.has_room() {
            return;
        }
        self.queue.send(In::Node(input)).ok();
    }

    /// From the network; `false` if too much waits already.
    pub(crate) fn wire(&self, message: WireIn) -> bool {
        if self.wire_waiting.fetch_add(1, Ordering::Relaxed) >= WIRE_WAITING_MAX {
            self.wire_waiting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.queue.send(In::Wire(message)).is_ok()
    }

    /// Puts a question of compaction to the view, and waits. `None`: call control has ended.
    pub(crate) fn ask_view(&self, question: Question) -> Option<CompactionInput> {
        let (reply, answer) = bounded(1);
        self.queue.send(In::Compaction(question, reply)).ok()?;
        answer.recv().ok()
    }

    /// Where the chunks of a sound lie; waits. Nowhere, if call control has ended.
    pub(crate) fn places(&self, sound: Id) -> Vec<ChunkPlace> {
        let (reply, answer) = bounded(1);
        self.queue.send(In::Places(sound, reply)).ok();
        answer.recv().unwrap_or_default()
    }

    /// From the link.
    pub(crate) fn link(&self, event: LinkEvent) {
        self.link.send(event).ok();
    }

    /// There is room; else that is counted.
    fn has_room(&self) -> bool {
        let has_room = self.queue.len() < WAITING_MAX;
        if !has_room {
            self.overflow.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    /// Asks, and gives where the answer will be.
    pub(crate) fn ask(&self, ask: Ask) -> oneshot::Receiver<Result<Answer, String>> {
        let (reply, answer) = oneshot::channel();
        if !self.has_room() {
            reply
                .send(Err("too much waits for call control".into()))
                .ok();
            return answer;
        }
        self.queue.send(In::Ask(ask, reply)).ok();
        answer
    }

    /// Asks for what was counted; it comes to the board.
    pub(crate) fn count(&self) {
        self.queue.send(In::Count).ok();
    }

    /// What waits for the thread.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// What found no room, so far.
    pub(crate) fn overflow(&self) -> u64 {
        self.overflow.load(Ordering::Relaxed)
    }

    /// Takes from `config` what can change while running.
    pub(crate) fn configure(&self, config: &Config) {
        let message = In::Configure(Box::new(config.pbx()), config.stop_grace());
        self.queue.send(message).ok();
    }

    /// The node should stop; said twice: at once.
    pub(crate) fn stop(&self) {
        self.queue.send(In::StopAsked).ok();
    }
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock {
            start: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Now {
        let mono = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let wall = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Now {
            mono: Time(mono),
            wall: WallTime(wall),
        }
    }
}
