//! The loop: takes what has come, hands it to the node, and carries what the node asks for to whom it
//! concerns until it asks for nothing more.
//!
//! It decides nothing. What the log has no room for waits here, in order ([`LOG_WAITING_MAX`]: more is
//! refused, and counted).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::channel::never;
use crossbeam::select;
use serde_json::Value;
use tandem_engine::Engine;
use tandem_node::{Input, Node, Notice, Output};
use tandem_pbx::seam::AdminRequest;
use tandem_sip_shim::SipShell;
use tandem_storage::recovery::Ending;
use tandem_storage::seam::{Append, LogEvent, Refusal, Token};
use tandem_storage::time::{Now, Time};
use tandem_storage::{Compaction, Log, Snapshots};

use super::{Answer, Ask, Clock, ControlHandle, In, Queues, Reply};
use crate::admin::TokensKeeper;
use crate::alarms;
use crate::backups::Backups;
use crate::cluster::Cluster;
use crate::events::Events;
use crate::metrics::{Board, Counted};
use crate::pins::{PinWork, Pins};
use crate::status::{phones_json, status_json};

/// Writes that may wait for room in the log's queue.
const LOG_WAITING_MAX: usize = 65_536;

/// Things taken before deadlines are looked at again.
const BATCH_MAX: usize = 512;

/// What waits for a log that is busy, or a snapshot that is being written, is looked at so often.
const SOON: Duration = Duration::from_millis(2);

/// What the loop runs on.
pub(crate) struct Parts {
    pub(crate) node: Node,
    pub(crate) engine: Engine,
    pub(crate) log: Log,
    /// What was found in the log at start.
    pub(crate) log_found: Ending,
    pub(crate) snapshots: Snapshots,
    pub(crate) sip: SipShell,
    pub(crate) pins: Pins,
    pub(crate) backups: Backups,
    pub(crate) compaction: Compaction,
    /// The other nodes, if this one belongs to a cluster.
    pub(crate) cluster: Option<Cluster>,
    /// Who may ask over HTTP, and what.
    pub(crate) tokens: TokensKeeper,
    /// Who reads what happens.
    pub(crate) events: Events,
    /// Where what was counted is put for metrics.
    pub(crate) board: Arc<Board>,
    pub(crate) clock: Clock,
    /// The node's name.
    pub(crate) name: String,
}

/// See the chapter above.
pub(crate) struct Control {
    parts: Parts,
    queues: Queues,
    wire_waiting: Arc<AtomicUsize>,
    started: Time,
    askers: HashMap<u64, Reply>,
    asker_last: u64,
    /// Waits for the log's queue to have room, in order. A call has a few writes under way at
    /// most, and a recording's chunks do not come through here.
    log_waiting: VecDeque<(Token, Append)>,
    /// Writes refused because too many waited.
    log_overflow: u64,
    has_stopped: bool,
}

impl Control {
    pub(crate) fn new(parts: Parts, handle: &ControlHandle, queues: Queues) -> Control {
        Control {
            started: parts.clock.now().mono,
            parts,
            queues,
            wire_waiting: handle.wire_waiting.clone(),
            askers: HashMap::new(),
            asker_last: 0,
            log_waiting: VecDeque::new(),
            log_overflow: 0,
            has_stopped: false,
        }
    }

    /// Runs until the node has stopped; gives the parts back, to be closed in order.
    pub(crate) fn run(mut self) -> Parts {
        let now = self.parts.clock.now();
        if !self.parts.log.can_record() {
            // The node assumes room until it hears otherwise, and the log told before anyone listened.
            let full = LogEvent::Room { can_record: false };
            self.parts.node.handle(now, Input::Log(full));
        }
        self.drain(now);
        while !self.has_stopped {
            self.wait_and_take();
            let now = self.parts.clock.now();
            if self.parts.node.deadline() <= now.mono {
                self.parts.node.tick(now);
            }
            self.drain(now);
            self.parts.snapshots.turn(self.parts.node.view());
            if let Some(at) = self.parts.board.take_asked() {
                self.parts.board.put(at, self.counted(now));
            }
        }
        self.parts
    }

    fn wait_and_take(&mut self) {
        select! {
            recv(self.queues.log) -> event => match event {
                Ok(event) => self.hand_in(Input::Log(event)),
                // The log thread has ended.
                Err(_) => self.queues.log = never(),
            },
            recv(self.queues.link) -> event => match event {
                Ok(event) => self.hand_in(Input::Link(event)),
                Err(_) => self.queues.link = never(),
            },
            recv(self.queues.inputs) -> input => match input {
                Ok(input) => self.take(input),
                // Every handle is gone: nobody is left to serve.
                Err(_) => self.has_stopped = true,
            },
            default(self.wait_limit()) => return,
        }
        for _ in 1..BATCH_MAX {
            if let Ok(event) = self.queues.log.try_recv() {
                self.hand_in(Input::Log(event));
            } else if let Ok(event) = self.queues.link.try_recv() {
                self.hand_in(Input::Link(event));
            } else if let Ok(input) = self.queues.inputs.try_recv() {
                self.take(input);
            } else {
                break;
            }
        }
    }

    fn wait_limit(&self) -> Duration {
        let now = self.parts.clock.now().mono;
        let next = self.parts.node.deadline().since(now);
        match !self.log_waiting.is_empty() || self.parts.snapshots.is_busy() {
            true => next.min(SOON),
            false => next,
        }
    }

    fn hand_in(&mut self, input: Input) {
        let now = self.parts.clock.now();
        self.parts.node.handle(now, input);
        self.drain(now);
    }

    fn take(&mut self, input: In) {
        match input {
            In::Wire(message) => {
                self.wire_waiting.fetch_sub(1, Ordering::Relaxed);
                self.hand_in(Input::Wire(message));
            }
            In::Node(input) => self.hand_in(input),
            In::Places(sound, reply) => {
                let sound = self.parts.node.view().sound(sound);
                let places = sound.map_or(Vec::new(), |sound| sound.chunks.clone());
                reply.send(places).ok();
            }
            In::Ask(ask, reply) => self.on_ask(ask, reply),
            In::Compaction(question, reply) => {
                let now = self.parts.clock.now();
                let answer = self.parts.node.answer_compaction(now, question);
                reply.send(answer).ok();
                self.drain(now);
            }
            In::Configure(config, stop_grace) => {
                self.hand_in(Input::Configure(config, stop_grace));
            }
            In::Count => {}
            In::StopAsked => self.hand_in(Input::Stop),
        }
    }

    /// Carries outputs to whom they are for, until there are none left.
    fn drain(&mut self, now: Now) {
        self.retry_log();
        self.parts.engine.flush();
        while let Some(output) = self.parts.node.poll(now) {
            self.carry(now, output);
        }
    }

    fn carry(&mut self, now: Now, output: Output) {
        let parts = &mut self.parts;
        match output {
            Output::Wire(out) => parts.sip.send(out),
            Output::Media(command) => parts.engine.send(command),
            Output::OpenMedia { leg } => {
                let port = parts.engine.open(leg).map_err(|error| {
                    tracing::warn!(%error, "a call was refused");
                });
                parts.node.handle(now, Input::MediaOpened { leg, port });
            }
            Output::Log { token, append } => self.write(now, token, append),
            Output::CheckPin { leg, hash, pin } => {
                parts.pins.submit(PinWork::Check { leg, hash, pin });
            }
            Output::HashPin { leg, pin } => parts.pins.submit(PinWork::Hash { leg, pin }),
            Output::Fetch {
                sound,
                sealed,
                chunks,
            } => {
                if let Some(cluster) = &parts.cluster {
                    cluster.want(sound, sealed, chunks);
                }
            }
            Output::Members(members) => {
                if let Some(cluster) = &parts.cluster {
                    cluster.members(members);
                }
            }
            Output::Admin(reply) => {
                if let Some(asker) = self.askers.remove(&reply.asker) {
                    asker.send(reply.answer.map(Answer::Pbx)).ok();
                }
            }
            Output::Written { asker, result } => {
                if let Some(asker) = self.askers.remove(&asker) {
                    asker.send(result.map(|()| Answer::Done)).ok();
                }
            }
            Output::ShellRegister { key, value } => parts.tokens.set(&key, value.as_deref()),
            Output::Event(happened) => {
                parts.events.publish(now.wall, happened.kind, happened.body);
            }
            Output::Notice(notice) => {
                tell(&notice);
                parts.events.notice(now.wall, &notice);
            }
            Output::Stopped => self.has_stopped = true,
        }
    }

    fn write(&mut self, now: Now, token: Token, append: Append) {
        if self.log_waiting.len() >= LOG_WAITING_MAX {
            self.log_overflow += 1;
            let why = Refusal::Overloaded;
            let refused = Input::Log(LogEvent::Refused { token, why });
            self.parts.node.handle(now, refused);
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

    fn on_ask(&mut self, ask: Ask, reply: Reply) {
        let now = self.parts.clock.now();
        let node = &self.parts.node;
        let answer = match ask {
            Ask::Pbx(ask) => {
                let asker = self.asker(reply);
                return self.hand_in(Input::Admin(AdminRequest { asker, ask }));
            }
            Ask::Registers(registers) => {
                let asker = self.asker(reply);
                return self.hand_in(Input::Write { asker, registers });
            }
            Ask::Nodes => match (&self.parts.cluster, node.members()) {
                (Some(cluster), Some(members)) => Ok(Answer::Json(cluster.rows(members))),
                _ => Err(crate::admin::NO_CLUSTER.into()),
            },
            Ask::Status => Ok(Answer::Json(self.status(now))),
            Ask::Phones => Ok(Answer::Json(phones_json(node.shim().phones(now)))),
        };
        reply.send(answer).ok();
    }

    fn asker(&mut self, reply: Reply) -> u64 {
        self.asker_last += 1;
        self.askers.insert(self.asker_last, reply);
        self.asker_last
    }

    /// What only this thread knows; nothing here may take long.
    fn counted(&self, now: Now) -> Counted {
        let node = &self.parts.node;
        Counted {
            calls: node.pbx().calls_len(),
            recordings: node.pbx().recordings_len(),
            phones: node.shim().phones_len(now),
            users_locked: node.users_locked(),
            toll_alarms: node.pbx().toll_alarms(),
            mailboxes_paused: node.pbx().mailboxes_paused(now.mono),
            log_waiting: self.log_waiting.len(),
            log_overflow: self.log_overflow,
            pbx: node.pbx().counters().clone(),
            sip_dialogs: node.shim().dialogs(),
            sip: *node.shim().counters(),
            media: self.parts.engine.stats(),
            copies: node.copies(),
        }
    }

    fn status(&self, now: Now) -> Value {
        let node = &self.parts.node;
        let phones = node.shim().phones(now).len();
        let uptime = now.mono.since(self.started);
        status_json(&self.parts, phones, uptime)
    }
}

/// Tells of it in the log lines.
fn tell(notice: &Notice) {
    match notice {
        Notice::Up(peer) => tracing::info!(%peer, "another node is there"),
        Notice::Away(peer, why) => tracing::warn!(%peer, %why, "another node is away"),
        Notice::Copied => tracing::info!("what is saved is at another node, too"),
        Notice::Alone { behind } => tracing::warn!(
            behind,
            "no other node keeps pace: what is saved is here alone until one has caught up"
        ),
        Notice::Contradiction { peer, epoch } => tracing::error!(
            %peer, epoch,
            "another node has seen more of this node's log than is here: this disk is an old copy, or a second machine runs in this node's name. Use the newer disk, or stop the other machine; else start this node again with its clock right"
        ),
        Notice::Relaying { peer, author } => {
            tracing::debug!(%peer, %author, "what one node said is taken from another");
        }
        Notice::NotFetched(sound) => {
            tracing::warn!(%sound, "no node that is there has all of this sound");
        }
        Notice::Room(false) => tracing::error!("{}", alarms::DISK_FULL),
        Notice::Room(true) => tracing::info!("messages are taken: the disk has room"),
        Notice::UserLocked(user, why) => tracing::error!(
            %user,
            "the phones of a user cannot log in: what their password is checked with: {why}"
        ),
        Notice::Stopping { calls, grace } => {
            tracing::info!(calls, ?grace, "stopping; no new calls");
        }
    }
}
