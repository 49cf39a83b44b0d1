//! The loop that carries what one core asks for to the core it is for.
//!
//! It decides little: what a node away means for its recordings, who belongs to the cluster, when a stop
//! is over. Events of the log pass the gate before call control hears of them, and what the link says of
//! copies goes to the gate alone.
//!
//! Invariants: after [`Node::poll`] has said `None` no core has an output left. Everything a node keeps
//! is bounded by what it was asked: one entry for each write under way, each sound that is fetched, each
//! node that is away.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tandem_pbx::seam::{Input as PbxInput, Output as PbxOutput, SipCommand, Target};
use tandem_pbx::{Pbx, PbxConfig};
use tandem_sip_shim::{Shim, ShimInput, ShimOutput};
use tandem_storage::View;
use tandem_storage::compaction::Input as CompactionInput;
use tandem_storage::compaction::ask::Question;
use tandem_storage::gate::{Gate, GateInput, GateStatus};
use tandem_storage::link::LinkEvent;
use tandem_storage::name::{Id, Ids, NodeName};
use tandem_storage::seam::{Append, LogEvent, Owner, Payload, Refusal, Token};
use tandem_storage::site::Members;
use tandem_storage::time::{Now, Time};

use crate::seam::{Input, NodeConfig, Notice, Output, SHELL_REGISTERS};
use crate::users::Unlocker;

/// How often call control looks for what is to be deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// A node that is away for so long is taken to be dead: what it was recording has ended.
const DEAD_AFTER: Duration = Duration::from_secs(3);

/// See the chapter above.
pub struct Node {
    shim: Shim,
    pbx: Pbx,
    gate: Gate,
    members: Option<Members>,
    users: Unlocker,
    outputs: VecDeque<Output>,
    /// When call control looks next for what is to be deleted.
    sweep_at: Time,
    /// Who asked for writes, by the number of the last of them.
    writes: BTreeMap<u64, Write>,
    write_last: u64,
    /// Nodes that are away, until they are taken to be dead.
    away: BTreeMap<NodeName, Time>,
    /// Fetches that have ended: the last append that belongs to it, the sound, and whether it is whole. Call
    /// control hears of one after that append; there are at most as many as it asked for.
    fetched: VecDeque<(Token, Id, bool)>,
    /// The last append of the link that call control was told of.
    link_told: Token,
    /// Another node keeps pace, as far as was told.
    is_copied: bool,
    stage: Stage,
    stop_grace: Duration,
}

/// Registers that are being written together.
struct Write {
    asker: u64,
    /// Why one of them was refused.
    refused: Option<Refusal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// Calls may end by themselves until then.
    Draining(Time),
    /// Every call has been told to end.
    Ending,
    Ended,
}

impl Node {
    /// On what the log says (`view`), with the names that are new in its epoch.
    pub fn new(config: NodeConfig, view: View, ids: Ids, now: Now) -> Node {
        let pbx = with_peers(config.pbx, config.members.is_some());
        Node {
            shim: Shim::new(config.shim, config.seed),
            pbx: Pbx::new(pbx, view, ids, now),
            gate: Gate::new(config.gate),
            members: config.members,
            users: Unlocker::new(config.keys),
            outputs: VecDeque::new(),
            sweep_at: now.mono,
            writes: BTreeMap::new(),
            write_last: 0,
            away: BTreeMap::new(),
            fetched: VecDeque::new(),
            link_told: Token::new(Owner::Link, 0),
            is_copied: false,
            stage: Stage::Running,
            stop_grace: config.stop_grace,
        }
    }

    /// Takes an input. [`Node::poll`] until `None` after it.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Wire(message) => self.shim.handle(now, ShimInput::Wire(message)),
            Input::Media(event) => self.pbx.handle(now, PbxInput::Media(event)),
            Input::MediaOpened { leg, port } => {
                self.shim.handle(now, ShimInput::MediaOpened { leg, port });
            }
            Input::Log(event) => self.gate.handle(now.mono, GateInput::Event(event)),
            Input::Link(event) => self.on_link(now, event),
            Input::PinChecked { leg, right } => {
                self.pbx.handle(now, PbxInput::PinChecked { leg, right });
            }
            Input::PinHashed { leg, hash } => {
                self.pbx.handle(now, PbxInput::PinHashed { leg, hash });
            }
            Input::Admin(request) => self.pbx.handle(now, PbxInput::Admin(request)),
            Input::Watch(is_watched) => self.pbx.handle(now, PbxInput::Watch(is_watched)),
            Input::Write { asker, registers } => self.write(asker, registers),
            Input::Configure(config, stop_grace) => {
                let config = with_peers(*config, self.members.is_some());
                self.pbx.configure(config);
                self.stop_grace = stop_grace;
            }
            Input::Stop => self.on_stop(now),
        }
        self.see_copies();
    }

    /// Time has come to [`Node::deadline`].
    pub fn tick(&mut self, now: Now) {
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= now.mono);
        if is_due(self.shim.deadline()) {
            self.shim.tick(now);
        }
        if is_due(self.pbx.deadline()) {
            self.pbx.tick(now);
        }
        if is_due(self.gate.deadline()) {
            self.gate.handle(now.mono, GateInput::Tick);
        }
        let dead = self.away.iter().filter(|(_, at)| **at <= now.mono);
        for node in dead.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.away.remove(&node);
            self.pbx.handle(now, PbxInput::NodeAway(node));
        }
        if self.sweep_at <= now.mono {
            self.sweep_at = now.mono + SWEEP_EVERY;
            self.pbx.handle(now, PbxInput::Sweep);
        }
        if let Stage::Draining(until) = self.stage
            && (until <= now.mono || self.pbx.calls_len() == 0)
        {
            self.stage = Stage::Ending;
            self.pbx.handle(now, PbxInput::Stop);
        }
        self.see_copies();
    }

    /// The next output; `None`: nothing more before the next input.
    pub fn poll(&mut self, now: Now) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            } else if let Some(event) = self.gate.poll() {
                self.on_log(now, event);
            } else if let Some(output) = self.shim.poll() {
                self.on_shim(now, output);
            } else if let Some(output) = self.pbx.poll() {
                self.on_pbx(now, output);
            } else {
                return None;
            }
        }
    }

    /// When to call [`Node::tick`].
    pub fn deadline(&self) -> Time {
        let drained = match self.stage {
            Stage::Draining(_) if self.pbx.calls_len() == 0 => Some(Time(0)),
            Stage::Draining(until) => Some(until),
            _ => None,
        };
        let each = [
            self.shim.deadline(),
            self.pbx.deadline(),
            self.gate.deadline(),
            self.away.values().min().copied(),
            drained,
        ];
        each.into_iter().flatten().fold(self.sweep_at, Time::min)
    }

    /// What the log says.
    pub fn view(&self) -> &View {
        self.pbx.view()
    }

    /// For figures.
    pub fn pbx(&self) -> &Pbx {
        &self.pbx
    }

    /// For figures.
    pub fn shim(&self) -> &Shim {
        &self.shim
    }

    /// How the promise of two copies stands.
    pub fn copies(&self) -> GateStatus {
        self.gate.status()
    }

    /// Who belongs to the cluster; `None`: there is none.
    pub fn members(&self) -> Option<&Members> {
        self.members.as_ref()
    }

    /// Users whose passwords are locked with a key that is not here.
    pub fn users_locked(&self) -> usize {
        self.users.locked()
    }

    /// It was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stage != Stage::Running
    }

    /// Answers a question of the log's compaction.
    pub fn answer_compaction(&mut self, now: Now, question: Question) -> CompactionInput {
        self.pbx.answer_compaction(now, question)
    }

    fn on_shim(&mut self, now: Now, output: ShimOutput) {
        let output = match output {
            ShimOutput::Pbx(event) => return self.pbx.handle(now, PbxInput::Sip(event)),
            ShimOutput::Wire(out) => Output::Wire(out),
            ShimOutput::Media(command) => Output::Media(command),
            ShimOutput::OpenMedia { leg } => Output::OpenMedia { leg },
        };
        self.outputs.push_back(output);
    }

    fn on_pbx(&mut self, now: Now, output: PbxOutput) {
        let output = match output {
            PbxOutput::Sip(mut command) => {
                if let SipCommand::Call {
                    target: Target::Address(to),
                    ..
                } = &mut command
                {
                    *to = self.users.unlock_login(to);
                }
                return self.shim.handle(now, ShimInput::Pbx(command));
            }
            PbxOutput::User { id, user } => {
                let (user, locked) = self.users.unlock(id, user);
                if let Some(why) = locked {
                    self.notice(Notice::UserLocked(id, why));
                }
                return self.shim.handle(now, ShimInput::User { id, user });
            }
            PbxOutput::Fetch { sound, .. } if self.members.is_none() => {
                // Nobody else has more of it.
                let fetched = PbxInput::Fetched { sound, found: true };
                return self.pbx.handle(now, fetched);
            }
            PbxOutput::Fetch {
                sound,
                sealed,
                chunks,
            } => Output::Fetch {
                sound,
                sealed,
                chunks,
            },
            PbxOutput::Media(command) => Output::Media(command),
            PbxOutput::Log { token, append } => Output::Log { token, append },
            PbxOutput::CheckPin { leg, hash, pin } => Output::CheckPin { leg, hash, pin },
            PbxOutput::HashPin { leg, pin } => Output::HashPin { leg, pin },
            PbxOutput::Admin(reply) => Output::Admin(reply),
            PbxOutput::Event(happened) => Output::Event(happened),
            PbxOutput::Stopped => {
                self.stage = Stage::Ended;
                Output::Stopped
            }
        };
        self.outputs.push_back(output);
    }

    fn write(&mut self, asker: u64, registers: Vec<(String, Option<String>)>) {
        if registers.is_empty() {
            let result = Ok(());
            return self.outputs.push_back(Output::Written { asker, result });
        }
        for (key, value) in registers {
            self.write_last += 1;
            self.outputs.push_back(Output::Log {
                token: Token::new(Owner::Node, self.write_last),
                append: Append::Register {
                    key: key.into(),
                    value: value.map(Into::into),
                },
            });
        }
        let refused = None;
        self.writes
            .insert(self.write_last, Write { asker, refused });
    }

    /// What the gate let through.
    fn on_log(&mut self, now: Now, event: LogEvent) {
        self.note_write(&event);
        if let LogEvent::Room { can_record } = event {
            self.notice(Notice::Room(can_record));
        }
        let (link_told, register) = match &event {
            LogEvent::Committed { token, record } => {
                let register = match &record.what {
                    Payload::Register { key, .. } => Some(key.clone()),
                    _ => None,
                };
                (Some(*token).filter(|t| t.owner == Owner::Link), register)
            }
            _ => (None, None),
        };
        self.pbx.handle(now, PbxInput::Log(event));
        if let Some(key) = register.as_ref().filter(|k| k.starts_with(SHELL_REGISTERS)) {
            let (key, value) = (key.clone(), self.pbx.view().register(key).map(Into::into));
            // Before the answer to who wrote it, which may wait here already.
            self.outputs
                .push_front(Output::ShellRegister { key, value });
        }
        if let (Some(members), Some(key)) = (&mut self.members, register)
            && members.see(self.pbx.view(), &key)
        {
            let members = members.clone();
            self.outputs.push_back(Output::Members(members));
        }
        if let Some(token) = link_told {
            self.link_told = token;
            self.hand_on_fetched(now);
        }
    }

    /// The log answers in order: when it has answered the last one, it has answered all.
    fn note_write(&mut self, event: &LogEvent) {
        let (token, why) = match event {
            LogEvent::Committed { token, .. } => (token, None),
            LogEvent::Refused { token, why } => (token, Some(*why)),
            LogEvent::Room { .. } => return,
        };
        if token.owner != Owner::Node {
            return;
        }
        let Some(batch) = self.writes.range_mut(token.number..).next() else {
            return;
        };
        batch.1.refused = batch.1.refused.or(why);
        if *batch.0 == token.number
            && let Some(Write { asker, refused }) = self.writes.remove(&token.number)
        {
            let result = refused.map_or(Ok(()), |why| Err(why.to_string()));
            self.outputs.push_back(Output::Written { asker, result });
        }
    }

    fn on_link(&mut self, now: Now, event: LinkEvent) {
        match event {
            LinkEvent::Up { peer } => {
                self.away.remove(&peer);
                self.notice(Notice::Up(peer));
            }
            LinkEvent::Away { peer, why } => {
                self.away.insert(peer, now.mono + DEAD_AFTER);
                self.notice(Notice::Away(peer, why));
            }
            LinkEvent::Backup { peer, is_up } => {
                let backup = GateInput::Backup { peer, is_up };
                self.gate.handle(now.mono, backup);
            }
            LinkEvent::Acked { peer, position } => {
                let acked = GateInput::Acked { peer, position };
                self.gate.handle(now.mono, acked);
            }
            LinkEvent::Fetched {
                sound,
                found,
                after,
            } => {
                if !found {
                    self.notice(Notice::NotFetched(sound));
                }
                self.fetched.push_back((after, sound, found));
                self.hand_on_fetched(now);
            }
            LinkEvent::Contradiction { peer, epoch } => {
                self.notice(Notice::Contradiction { peer, epoch });
            }
            LinkEvent::Relaying { peer, author } => {
                self.notice(Notice::Relaying { peer, author });
            }
        }
    }

    /// That all of a sound has come is told after the last of it.
    fn hand_on_fetched(&mut self, now: Now) {
        let told = self.link_told;
        let all = std::mem::take(&mut self.fetched).into_iter();
        let (wait, here): (VecDeque<_>, VecDeque<_>) = all.partition(|(after, ..)| *after > told);
        self.fetched = wait;
        for (_, sound, found) in here {
            let fetched = PbxInput::Fetched { sound, found };
            self.pbx.handle(now, fetched);
        }
    }

    fn on_stop(&mut self, now: Now) {
        match self.stage {
            Stage::Running => {
                let (calls, grace) = (self.pbx.calls_len(), self.stop_grace);
                self.notice(Notice::Stopping { calls, grace });
                self.stage = Stage::Draining(now.mono + grace);
                self.pbx.handle(now, PbxInput::Drain);
            }
            Stage::Draining(_) => self.stage = Stage::Draining(now.mono),
            Stage::Ending | Stage::Ended => {}
        }
    }

    /// Tells when "saved" begins to mean another thing.
    fn see_copies(&mut self) {
        if self.members.is_none() {
            return;
        }
        let copies = self.gate.status();
        let is_copied = copies.backups > 0;
        if is_copied != std::mem::replace(&mut self.is_copied, is_copied) {
            let behind = copies.behind;
            self.notice(match is_copied {
                true => Notice::Copied,
                false => Notice::Alone { behind },
            });
        }
    }

    fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }
}

fn with_peers(config: PbxConfig, has_peers: bool) -> PbxConfig {
    PbxConfig {
        has_peers,
        ..config
    }
}
