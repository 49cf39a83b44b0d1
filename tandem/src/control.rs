//! The one loop that ties the cores together.
//!
//! ```text
//!  SIP shell ──┐                    ┌──> SIP shell
//!  media ──────┤   ┌──── shim <──┐  ├──> media engine
//!  log ─ gate ─┼──>│      │      │──┼──> log
//!  link ───────┤   │      │      │  ├──> link
//!  PIN thread ─┤   └───> pbx ────┘  ├──> PIN thread
//!  commands ───┘                    └──> commands
//! ```
//!
//! One thread owns the shim and the pbx. It takes what has come, hands it to the core it is for,
//! carries what the cores ask for to whom it concerns until they ask for nothing more, and waits
//! for the next thing or the next deadline. It decides nothing.
//!
//! Invariants: this thread never waits for the disk, the network or a lock. What comes from the
//! network is bounded ([`WIRE_WAITING_MAX`]: more is refused by the SIP shell, which counts it), and so
//! are keys that parties press and questions ([`WAITING_MAX`]: more are left out, or refused, and counted),
//! and writes that wait for the log ([`LOG_WAITING_MAX`]: more are refused, and counted);
//! what else comes from the log and the engine is bounded by what was asked of them. The log's events have a
//! channel to themselves: so its thread, which goes before others, never meets one that is in the
//! middle of putting something in.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, Sender, bounded, never, unbounded};
use crossbeam::select;
use serde_json::Value;
use tandem_engine::Engine;
use tandem_engine::seam::Event;
use tandem_pbx::seam::{AdminAnswer, AdminAsk, AdminRequest, Input, Output};
use tandem_pbx::{Pbx, PbxConfig};
use tandem_sip_shim::{Shim, ShimInput, ShimOutput, SipShell, WireIn};
use tandem_storage::clean::Input as CleanerInput;
use tandem_storage::clean::ask::Question;
use tandem_storage::gate::{Gate, GateInput};
use tandem_storage::link::LinkEvent;
use tandem_storage::name::{Id, NodeName};
use tandem_storage::recovery::Ending;
use tandem_storage::seam::{Append, ChunkPlace, LogEvent, Owner, Refusal, Token, What};
use tandem_storage::time::{Now, Time, WallTime};
use tandem_storage::{Cleaning, Log, Snapshots};
use tokio::sync::oneshot;

use crate::alarms;
use crate::backups::Backups;
use crate::company::Company;
use crate::config::Config;
use crate::metrics;
use crate::pins::{PinWork, Pins};
use crate::secrets;

/// Messages from the network that may wait for this thread.
const WIRE_WAITING_MAX: usize = 8192;

/// With so much waiting in all, keys that are pressed are left out and questions are refused.
const WAITING_MAX: usize = 65_536;

/// Writes that may wait for room in the log's queue; more are refused.
const LOG_WAITING_MAX: usize = 65_536;

/// Things taken before deadlines are looked at again.
const BATCH_MAX: usize = 512;

/// How often call control looks for what is to be deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// A node that is away for so long is taken to be dead: what it was recording has ended.
const DEAD_AFTER: Duration = Duration::from_secs(3);

/// Something for the control thread.
pub(crate) enum In {
    Wire(WireIn),
    Pbx(Input),
    Ask(Ask, Reply),
    /// A question of the log's cleaner, and where the answer goes.
    Clean(Question, Sender<CleanerInput>),
    /// Where the chunks of a sound lie, for the link, and where the answer goes.
    Places(Id, Sender<Vec<ChunkPlace>>),
    /// From the link.
    Link(LinkEvent),
    /// New settings for call control, and for how long calls may go on after `StopAsked`.
    Configure(Box<PbxConfig>, Duration),
    /// Once: no new calls, and end when the last one has. Twice: end now.
    StopAsked,
}

/// A question from the command line or the portal.
pub(crate) enum Ask {
    Status,
    Phones,
    Metrics,
    /// The company's nodes, as JSON.
    Nodes,
    Pbx(AdminAsk),
    /// Writes registers; answered when the last one is durable.
    Registers(Vec<(String, Option<String>)>),
}

/// Its answer.
pub(crate) enum Answer {
    Json(Value),
    Text(String),
    Pbx(AdminAnswer),
    Done,
}

/// Where an answer goes.
pub(crate) type Reply = oneshot::Sender<Result<Answer, String>>;

/// How others reach the control thread. Never blocks.
#[derive(Clone)]
pub(crate) struct ControlHandle {
    queue: Sender<In>,
    wire_waiting: Arc<AtomicUsize>,
    /// What found no room, so far.
    overflow: Arc<AtomicU64>,
}

/// What the loop runs on.
pub(crate) struct Parts {
    pub(crate) shim: Shim,
    pub(crate) pbx: Pbx,
    pub(crate) engine: Engine,
    pub(crate) log: Log,
    /// What was found in the log at start.
    pub(crate) log_found: Ending,
    pub(crate) snapshots: Snapshots,
    pub(crate) sip: SipShell,
    pub(crate) pins: Pins,
    pub(crate) backups: Backups,
    pub(crate) cleaning: Cleaning,
    /// The other nodes, if this one belongs to a company.
    pub(crate) company: Option<Company>,
    /// Holds back what is said to be saved until another node has it.
    pub(crate) gate: Gate,
    pub(crate) clock: Clock,
    pub(crate) stop_grace: Duration,
    pub(crate) node: String,
}

/// The machine's clocks, as the cores are told of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

pub(crate) struct Control {
    parts: Parts,
    queues: Queues,
    wire_waiting: Arc<AtomicUsize>,
    overflow: Arc<AtomicU64>,
    started: Time,
    /// When call control looks next for what is to be deleted.
    sweep_at: Time,
    askers: HashMap<u64, Reply>,
    asker_last: u64,
    /// Waits for the log's queue to have room, in order. A call has a few writes under way at
    /// most, and a recording's chunks do not come through here.
    log_waiting: VecDeque<(Token, Append)>,
    /// Writes refused because too many waited.
    log_overflow: u64,
    own_writes: HashMap<Token, Reply>,
    own_token_last: u64,
    /// Nodes that are away, until they are taken to be dead.
    away: BTreeMap<NodeName, Time>,
    /// Sounds that have been fetched, or not, after this append; at most as many as the pbx asks for.
    fetched: VecDeque<(Token, Id, bool)>,
    /// The last append of the link that the pbx was told of.
    link_told: Token,
    stopping: Stopping,
    /// Users whose passwords are locked with a key that is not here.
    locked: BTreeSet<Id>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopping {
    No,
    /// Calls may end by themselves until then.
    Draining(Time),
    /// Every call has been told to end.
    Ending,
    Ended,
}

/// What the control thread takes from.
pub(crate) struct Queues {
    inputs: Receiver<In>,
    log: Receiver<LogEvent>,
}

/// The log thread's way to the control thread; it alone has it.
pub(crate) struct LogEvents(Sender<LogEvent>);

/// All ends of the queues to the control thread: threads that feed it start before it does.
pub(crate) fn queues() -> (ControlHandle, LogEvents, Queues) {
    let (queue, inputs) = unbounded();
    let (events, log) = unbounded();
    let handle = ControlHandle {
        queue,
        wire_waiting: Arc::default(),
        overflow: Arc::default(),
    };
    (handle, LogEvents(events), Queues { inputs, log })
}

impl LogEvents {
    pub(crate) fn put(&self, event: LogEvent) {
        self.0.send(event).ok();
    }
}

impl ControlHandle {
    /// From the engine or the PIN thread.
    pub(crate) fn pbx(&self, input: Input) {
        if matches!(input, Input::Media(Event::Digit { .. })) && !self.has_room() {
            return;
        }
        self.queue.send(In::Pbx(input)).ok();
    }

    /// From the network; `false` if too much waits already.
    pub(crate) fn wire(&self, message: WireIn) -> bool {
        if self.wire_waiting.fetch_add(1, Ordering::Relaxed) >= WIRE_WAITING_MAX {
            self.wire_waiting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.queue.send(In::Wire(message)).is_ok()
    }

    /// Puts a question of the log's cleaner to the view, and waits; `None`: call control has ended.
    pub(crate) fn clean(&self, question: Question) -> Option<CleanerInput> {
        let (reply, answer) = bounded(1);
        self.queue.send(In::Clean(question, reply)).ok()?;
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
        self.queue.send(In::Link(event)).ok();
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

impl Control {
    pub(crate) fn new(parts: Parts, handle: &ControlHandle, queues: Queues) -> Control {
        Control {
            started: parts.clock.now().mono,
            sweep_at: parts.clock.now().mono,
            parts,
            queues,
            wire_waiting: handle.wire_waiting.clone(),
            overflow: handle.overflow.clone(),
            askers: HashMap::new(),
            asker_last: 0,
            log_waiting: VecDeque::new(),
            log_overflow: 0,
            own_writes: HashMap::new(),
            own_token_last: 0,
            away: BTreeMap::new(),
            fetched: VecDeque::new(),
            link_told: Token::new(Owner::Link, 0),
            stopping: Stopping::No,
            locked: BTreeSet::new(),
        }
    }

    /// Runs until the node has stopped; gives the parts back, to be closed in order.
    pub(crate) fn run(mut self) -> Parts {
        let now = self.parts.clock.now();
        if !self.parts.log.can_record() {
            // The pbx assumes room until it hears otherwise, and the log told before anyone listened.
            self.parts
                .pbx
                .handle(now, Input::Log(LogEvent::Room { can_record: false }));
        }
        self.drain(now);
        while self.stopping != Stopping::Ended {
            self.wait_and_take();
            let now = self.parts.clock.now();
            self.look_at_deadlines(now);
            self.drain(now);
            self.parts.snapshots.turn(self.parts.pbx.view());
        }
        self.parts
    }

    fn wait_and_take(&mut self) {
        select! {
            recv(self.queues.log) -> event => match event {
                Ok(event) => self.take_log(event),
                // The log thread has ended.
                Err(_) => self.queues.log = never(),
            },
            recv(self.queues.inputs) -> input => match input {
                Ok(input) => self.take(input),
                // Every handle is gone: nobody is left to serve.
                Err(_) => self.stopping = Stopping::Ended,
            },
            default(self.wait_limit()) => return,
        }
        for _ in 1..BATCH_MAX {
            if let Ok(event) = self.queues.log.try_recv() {
                self.take_log(event);
            } else if let Ok(input) = self.queues.inputs.try_recv() {
                self.take(input);
            } else {
                break;
            }
        }
    }

    fn take_log(&mut self, event: LogEvent) {
        let now = self.parts.clock.now();
        self.parts.gate.handle(now.mono, GateInput::Event(event));
        self.drain(now);
    }

    fn wait_limit(&self) -> Duration {
        let is_soon = !self.log_waiting.is_empty() || self.parts.snapshots.is_busy();
        let soon = is_soon.then_some(Duration::from_millis(2));
        let now = self.parts.clock.now().mono;
        let drain_end = match self.stopping {
            Stopping::Draining(until) => Some(until),
            _ => None,
        };
        let deadlines = [
            self.parts.shim.deadline(),
            self.parts.pbx.deadline(),
            drain_end,
            Some(self.sweep_at),
            self.parts.gate.deadline(),
            self.away.values().min().copied(),
        ];
        let next = deadlines
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.since(now));
        let limits = [next, soon].into_iter().flatten();
        limits.min().unwrap_or(SWEEP_EVERY)
    }

    fn take(&mut self, input: In) {
        let now = self.parts.clock.now();
        match input {
            In::Wire(message) => {
                self.wire_waiting.fetch_sub(1, Ordering::Relaxed);
                self.parts.shim.handle(now, ShimInput::Wire(message));
            }
            In::Pbx(input) => self.parts.pbx.handle(now, input),
            In::Link(event) => self.on_link(now, event),
            In::Places(sound, reply) => {
                let sound = self.parts.pbx.view().sound(sound);
                let places = sound.map_or(Vec::new(), |sound| sound.chunks.clone());
                reply.send(places).ok();
            }
            In::Ask(ask, reply) => self.on_ask(now, ask, reply),
            In::Clean(question, reply) => {
                let answer = self.parts.pbx.answer_cleaner(now, question);
                reply.send(answer).ok();
            }
            In::Configure(config, stop_grace) => {
                let has_peers = self.parts.company.is_some();
                self.parts.pbx.configure(PbxConfig {
                    has_peers,
                    ..*config
                });
                self.parts.stop_grace = stop_grace;
            }
            In::StopAsked => self.on_stop_asked(now),
        }
        self.drain(now);
    }

    fn look_at_deadlines(&mut self, now: Now) {
        if self.parts.shim.deadline().is_some_and(|at| at <= now.mono) {
            self.parts.shim.tick(now);
        }
        if self.parts.pbx.deadline().is_some_and(|at| at <= now.mono) {
            self.parts.pbx.tick(now);
        }
        if self.parts.gate.deadline().is_some_and(|at| at <= now.mono) {
            self.parts.gate.handle(now.mono, GateInput::Tick);
        }
        let dead = self.away.iter().filter(|(_, at)| **at <= now.mono);
        for node in dead.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.away.remove(&node);
            self.parts.pbx.handle(now, Input::NodeAway(node));
        }
        if self.sweep_at <= now.mono {
            self.sweep_at = now.mono + SWEEP_EVERY;
            self.parts.pbx.handle(now, Input::Sweep);
        }
        if let Stopping::Draining(until) = self.stopping
            && (until <= now.mono || self.parts.pbx.calls_len() == 0)
        {
            self.stopping = Stopping::Ending;
            self.parts.pbx.handle(now, Input::Stop);
        }
    }

    /// Carries outputs to whom they are for, until neither core has any left.
    fn drain(&mut self, now: Now) {
        self.retry_log();
        self.parts.engine.flush();
        if let Some(company) = &mut self.parts.company {
            company.see_copies(self.parts.gate.status());
        }
        loop {
            if let Some(event) = self.parts.gate.poll() {
                self.on_log(now, event);
            } else if let Some(output) = self.parts.shim.poll() {
                self.on_shim_output(now, output);
            } else if let Some(output) = self.parts.pbx.poll() {
                self.on_pbx_output(now, output);
            } else {
                return;
            }
        }
    }

    fn on_shim_output(&mut self, now: Now, output: ShimOutput) {
        let Parts {
            shim,
            pbx,
            engine,
            sip,
            ..
        } = &mut self.parts;
        match output {
            ShimOutput::Wire(out) => sip.send(out),
            ShimOutput::Pbx(event) => pbx.handle(now, Input::Sip(event)),
            ShimOutput::Media(command) => engine.send(command),
            ShimOutput::OpenMedia { leg } => {
                let port = engine.open(leg).map_err(|error| {
                    tracing::warn!(%error, "a call was refused");
                });
                shim.handle(now, ShimInput::MediaOpened { leg, port });
            }
        }
    }

    fn on_pbx_output(&mut self, now: Now, output: Output) {
        let Parts {
            shim,
            pbx,
            engine,
            pins,
            company,
            log,
            ..
        } = &mut self.parts;
        match output {
            Output::Sip(command) => shim.handle(now, ShimInput::Pbx(command)),
            Output::User { id, user } => {
                let unlocked = user.map(|user| secrets::unlock_user(log.keys(), user));
                let user = match unlocked {
                    Some(Err(why)) => {
                        tracing::error!(user = %id, "the phones of a user cannot log in: what their password is checked with: {why}");
                        self.locked.insert(id);
                        None
                    }
                    Some(Ok(user)) => Some(user),
                    None => None,
                };
                if user.is_some() {
                    self.locked.remove(&id);
                }
                shim.handle(now, ShimInput::User { id, user });
            }
            Output::Media(command) => engine.send(command),
            Output::Log { token, append } => self.write(token, append),
            Output::CheckPin { leg, hash, pin } => pins.submit(PinWork::Check { leg, hash, pin }),
            Output::Fetch {
                sound,
                sealed,
                chunks,
            } => match company {
                Some(company) => company.want(sound, sealed, chunks),
                None => pbx.handle(now, Input::Fetched { sound, found: true }),
            },
            Output::HashPin { leg, pin } => pins.submit(PinWork::Hash { leg, pin }),
            Output::Admin(reply) => {
                if let Some(asker) = self.askers.remove(&reply.asker) {
                    asker.send(reply.answer.map(Answer::Pbx)).ok();
                }
            }
            Output::Stopped => self.stopping = Stopping::Ended,
        }
    }

    fn write(&mut self, token: Token, append: Append) {
        if self.log_waiting.len() >= LOG_WAITING_MAX {
            self.log_overflow += 1;
            let why = Refusal::Overloaded;
            let refused = GateInput::Event(LogEvent::Refused { token, why });
            let now = self.parts.clock.now().mono;
            self.parts.gate.handle(now, refused);
        } else if !self.log_waiting.is_empty() {
            self.log_waiting.push_back((token, append));
        } else if let Err(append) = self.parts.log.submit(token, append) {
            self.log_waiting.push_back((token, append));
        }
    }

    fn retry_log(&mut self) {
        while let Some((token, append)) = self.log_waiting.pop_front() {
            if let Err(append) = self.parts.log.submit(token, append) {
                self.log_waiting.push_front((token, append));
                return;
            }
        }
    }

    fn on_ask(&mut self, now: Now, ask: Ask, reply: Reply) {
        match ask {
            Ask::Pbx(ask) => {
                self.asker_last += 1;
                self.askers.insert(self.asker_last, reply);
                let request = AdminRequest {
                    asker: self.asker_last,
                    ask,
                };
                self.parts.pbx.handle(now, Input::Admin(request));
            }
            Ask::Registers(registers) => self.write_registers(registers, reply),
            Ask::Nodes => {
                let rows = self.parts.company.as_ref().map(Company::rows);
                let rows = rows
                    .map(Answer::Json)
                    .ok_or(crate::admin::NO_COMPANY.into());
                drop(reply.send(rows));
            }
            Ask::Status => drop(reply.send(Ok(Answer::Json(self.status(now))))),
            Ask::Phones => {
                let phones = metrics::phones_json(self.parts.shim.phones(now));
                drop(reply.send(Ok(Answer::Json(phones))));
            }
            Ask::Metrics => {
                let phones = self.parts.shim.phones(now).len();
                let waiting = metrics::Waiting {
                    now: self.queues.inputs.len(),
                    overflow: self.overflow.load(Ordering::Relaxed),
                    log: self.log_waiting.len(),
                    log_overflow: self.log_overflow,
                };
                let page = metrics::render(&self.parts, phones, waiting);
                drop(reply.send(Ok(Answer::Text(page))));
            }
        }
    }

    fn write_registers(&mut self, registers: Vec<(String, Option<String>)>, reply: Reply) {
        if registers.is_empty() {
            reply.send(Ok(Answer::Done)).ok();
            return;
        }
        for (key, value) in registers {
            self.own_token_last += 1;
            let append = Append::Register {
                key: key.into(),
                value: value.map(Into::into),
            };
            self.write(Token::new(Owner::Node, self.own_token_last), append);
        }
        self.own_writes
            .insert(Token::new(Owner::Node, self.own_token_last), reply);
    }

    /// That all of a sound has come is told after the last of it.
    fn hand_on_fetched(&mut self, now: Now) {
        let told = self.link_told;
        let waiting = std::mem::take(&mut self.fetched).into_iter();
        let (waiting, here): (VecDeque<_>, VecDeque<_>) =
            waiting.partition(|(after, ..)| *after > told);
        self.fetched = waiting;
        for (_, sound, found) in here {
            let fetched = Input::Fetched { sound, found };
            self.parts.pbx.handle(now, fetched);
        }
    }

    /// What the gate let through.
    fn on_log(&mut self, now: Now, event: LogEvent) {
        self.note_own_write(&event);
        match event {
            LogEvent::Room { can_record: false } => tracing::error!("{}", alarms::DISK_FULL),
            LogEvent::Room { can_record: true } => {
                tracing::info!("messages are taken: the disk has room")
            }
            _ => {}
        }
        let link_told = match &event {
            LogEvent::Committed { token, .. } if is_of_link(token) => Some(*token),
            _ => None,
        };
        let register = match &event {
            LogEvent::Committed { record, .. } => match &record.what {
                What::Register { key, .. } => Some(key.clone()),
                _ => None,
            },
            _ => None,
        };
        self.parts.pbx.handle(now, Input::Log(event));
        if let (Some(company), Some(key)) = (&mut self.parts.company, register) {
            company.note(self.parts.pbx.view(), &key);
        }
        if let Some(token) = link_told {
            self.link_told = token;
            self.hand_on_fetched(now);
        }
    }

    fn on_link(&mut self, now: Now, event: LinkEvent) {
        let gate = &mut self.parts.gate;
        match event {
            LinkEvent::Up { peer } => {
                tracing::info!(%peer, "another node is there");
                self.away.remove(&peer);
            }
            LinkEvent::Away { peer, why } => {
                tracing::warn!(%peer, %why, "another node is away");
                self.away.insert(peer, now.mono + DEAD_AFTER);
            }
            LinkEvent::Backup { peer, is_up } => {
                gate.handle(now.mono, GateInput::Backup { peer, is_up });
            }
            LinkEvent::Acked { peer, position } => {
                gate.handle(now.mono, GateInput::Acked { peer, position });
            }
            LinkEvent::Fetched {
                sound,
                found,
                after,
            } => {
                if !found {
                    tracing::warn!(%sound, "no node that is there has all of this sound");
                }
                self.fetched.push_back((after, sound, found));
                self.hand_on_fetched(now);
            }
            LinkEvent::Contradiction { peer, epoch } => tracing::error!(
                %peer, epoch,
                "another node has seen more of this node's log than is here: this disk is an old copy, or a second machine runs in this node's name. Use the newer disk, or stop the other machine; else start this node again with its clock right"
            ),
            LinkEvent::Relaying { peer, author } => {
                tracing::debug!(%peer, %author, "what one node said is taken from another");
            }
        }
    }

    /// The log commits in order: when the last write of an own batch is durable, all are.
    fn note_own_write(&mut self, event: &LogEvent) {
        let (token, result) = match event {
            LogEvent::Committed { token, .. } => (token, Ok(Answer::Done)),
            LogEvent::Refused { token, why } => (token, Err(why.to_string())),
            LogEvent::Room { .. } => return,
        };
        if token.owner == Owner::Node
            && let Some(reply) = self.own_writes.remove(token)
        {
            reply.send(result).ok();
        }
    }

    fn on_stop_asked(&mut self, now: Now) {
        match self.stopping {
            Stopping::No => {
                let calls = self.parts.pbx.calls_len();
                tracing::info!(calls, grace = ?self.parts.stop_grace, "stopping; no new calls");
                self.stopping = Stopping::Draining(now.mono + self.parts.stop_grace);
                self.parts.pbx.handle(now, Input::Drain);
            }
            Stopping::Draining(_) => self.stopping = Stopping::Draining(now.mono),
            Stopping::Ending | Stopping::Ended => {}
        }
    }

    fn status(&self, now: Now) -> Value {
        let phones = self.parts.shim.phones(now).len();
        let uptime = now.mono.since(self.started);
        let mut status =
            metrics::status_json(&self.parts, phones, uptime, self.stopping != Stopping::No);
        if !self.locked.is_empty()
            && let Some(alarms) = status["alarms"].as_array_mut()
        {
            alarms.push(format!(
                "the phones of {} users cannot log in here: their passwords are locked with a key that this node does not have",
                self.locked.len()
            ).into());
        }
        status
    }
}

/// The link appended it.
fn is_of_link(token: &Token) -> bool {
    token.owner == Owner::Link
}
