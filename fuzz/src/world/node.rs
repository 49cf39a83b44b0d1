//! One node between its start and the moment its power is cut: the real core with the real shim, call
//! control and gate in it, the real log and the real link, with an engine, a disk and wires made of
//! numbers.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tandem_engine::TOKEN_CHUNK;
use tandem_engine::seam::{Command, Event, PlayItem};
use tandem_node::{Input, Notice, Output};
use tandem_pbx::office::Account;
use tandem_pbx::seam::{AdminAnswer, AdminAsk, AdminRequest};
use tandem_sip_shim::{Flow, WireIn, WireOut, validate};
use tandem_storage::link::{Link, LinkEvent, LinkInput, LinkOutput, PeerConfig, PeerStatus};
use tandem_storage::name::{Id, NodeName};
use tandem_storage::seam::{Append, LogEvent, Owner, Token};
use tandem_storage::sim::{SimDisk, SimLog, give_spare};
use tandem_storage::site::Members;
use tandem_storage::time::{Now, Time, WallTime};

use super::Trace;
use super::engine::{Engine, Out};
use super::network::Datagram;
use super::oracle::Oracle;
use super::start::Start;

/// One input leads to no more outputs than this.
const OUTPUTS_MAX: usize = 20_000;

/// See the chapter above.
pub(super) struct Node {
    /// Which of the world's.
    n: usize,
    name: NodeName,
    address: SocketAddr,
    pub(super) core: tandem_node::Node,
    pub(super) engine: Engine,
    log: SimLog,
    link: Option<Link>,
    /// What the link asks of the wires.
    pub(super) to_wires: VecDeque<LinkOutput>,
    /// Answers to the link, and when they come.
    answers: VecDeque<(Time, LinkInput)>,
    /// What the link says, and when the node hears of it.
    link_events: VecDeque<(Time, LinkEvent)>,
    written_at: Option<Time>,
    pins: VecDeque<(Time, Input)>,
    pub(super) sent: VecDeque<Datagram>,
    admin: BTreeMap<u64, AdminAnswer>,
    pub(super) has_stopped: bool,
    pub(super) is_stopping: bool,
    /// A write failed: the log takes nothing more.
    pub(super) has_failed: bool,
    /// It has said that what is saved is here alone, and not that it is elsewhere, too, since.
    says_alone: bool,
    /// The engine asks whether there is room before it gives the log a piece.
    looks_first: bool,
    asked: u64,
    /// How far civil time is ahead of the world's, as this node's clock has it.
    pub(super) wall_ms: u64,
    trace: Trace,
}

impl Node {
    /// What has started, and goes on until there is nothing more to be done.
    pub(super) fn new(
        now: Time,
        start: Start,
        oracle: &mut Oracle,
        trace: Trace,
        rng: &mut ChaCha8Rng,
    ) -> Node {
        let mut node = Node {
            n: start.n,
            name: start.name,
            address: start.address,
            core: start.core,
            engine: Engine::new([6, 200][usize::from(rng.random_ratio(7, 8))]),
            log: start.log,
            link: start.link,
            to_wires: VecDeque::new(),
            answers: VecDeque::new(),
            link_events: VecDeque::new(),
            written_at: None,
            pins: VecDeque::new(),
            sent: VecDeque::new(),
            admin: BTreeMap::new(),
            has_stopped: false,
            is_stopping: false,
            has_failed: false,
            says_alone: true,
            looks_first: !rng.random_ratio(1, 4),
            asked: 0,
            wall_ms: start.wall_ms,
            trace,
        };
        let registers = start.office;
        if !registers.is_empty() {
            let here = node.at(now);
            node.core.handle(
                here,
                Input::Write {
                    asker: 0,
                    registers,
                },
            );
        }
        node.pump(now, oracle, rng);
        node
    }

    fn at(&self, mono: Time) -> Now {
        at(mono, self.wall_ms)
    }

    /// A datagram has come.
    pub(super) fn datagram(
        &mut self,
        now: Time,
        datagram: &Datagram,
        oracle: &mut Oracle,
        rng: &mut ChaCha8Rng,
    ) {
        match validate::read_datagram(&datagram.bytes) {
            Ok(message) => {
                let flow = Flow::udp(datagram.from);
                let wire = WireIn::Message { flow, message };
                self.core.handle(self.at(now), Input::Wire(wire));
            }
            Err(why) => panic!(
                "a phone sent garbage ({why:?}): {}",
                String::from_utf8_lossy(&datagram.bytes)
            ),
        }
        self.pump(now, oracle, rng);
    }

    /// What happens next.
    pub(super) fn deadline(&self) -> Option<Time> {
        let each = [
            Some(self.core.deadline()),
            self.engine.deadline(),
            self.written_at,
            self.pins.front().map(|(at, _)| *at),
            self.answers.front().map(|(at, _)| *at),
            self.link_events.front().map(|(at, _)| *at),
            self.link.as_ref().and_then(Link::deadline),
            Some(self.log.deadline()),
        ];
        each.into_iter().flatten().min()
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Time, oracle: &mut Oracle, rng: &mut ChaCha8Rng) {
        let here = self.at(now);
        if self.written_at.is_some_and(|at| at <= now) {
            self.written_at = None;
            self.log.complete_write(here);
        }
        while let Some(input) = due(&mut self.pins, now) {
            self.core.handle(here, input);
        }
        while let Some(input) = due(&mut self.answers, now) {
            self.tell_link(now, input);
        }
        while let Some(event) = due(&mut self.link_events, now) {
            self.core.handle(here, Input::Link(event));
        }
        if self.engine.deadline().is_some_and(|at| at <= now) {
            self.engine.tick(now);
        }
        let link = self.link.as_mut();
        if let Some(link) = link.filter(|link| link.deadline().is_some_and(|at| at <= now)) {
            link.handle(now, LinkInput::Tick);
        }
        // What has come before it is done before it.
        self.pump(now, oracle, rng);
        if self.core.deadline() <= now {
            self.core.tick(here);
        }
        self.pump(now, oracle, rng);
        let late = [Some(self.core.deadline()), self.engine.deadline()];
        for (who, late) in ["node", "engine"].iter().zip(late) {
            assert!(
                late.is_none_or(|at| at > now),
                "the {who} has not done what was due"
            );
        }
    }

    /// Something has come over the link's wires.
    pub(super) fn link(
        &mut self,
        now: Time,
        input: LinkInput,
        oracle: &mut Oracle,
        rng: &mut ChaCha8Rng,
    ) {
        self.tell_link(now, input);
        self.pump(now, oracle, rng);
    }

    /// The link is told of it at this time.
    pub(super) fn answer_link(&mut self, at: Time, input: LinkInput) {
        self.answers.push_back((at, input));
        self.answers.make_contiguous().sort_by_key(|(at, _)| *at);
    }

    fn tell_link(&mut self, now: Time, input: LinkInput) {
        if let Some(link) = &mut self.link {
            give_spare(link, &input);
            link.handle(now, input);
        }
    }

    /// An administrator asks.
    pub(super) fn ask(
        &mut self,
        now: Time,
        ask: AdminAsk,
        oracle: &mut Oracle,
        rng: &mut ChaCha8Rng,
    ) -> Option<AdminAnswer> {
        self.asked += 1;
        let asker = self.asked;
        let request = AdminRequest { asker, ask };
        self.core.handle(self.at(now), Input::Admin(request));
        self.pump(now, oracle, rng);
        self.admin.remove(&asker)
    }

    /// An administrator has registers written.
    pub(super) fn write_registers(
        &mut self,
        now: Time,
        registers: Vec<(String, Option<String>)>,
        oracle: &mut Oracle,
        rng: &mut ChaCha8Rng,
    ) {
        let asker = 0;
        let write = Input::Write { asker, registers };
        self.core.handle(self.at(now), write);
        self.pump(now, oracle, rng);
    }

    /// It lets another node in.
    pub(super) fn lets_in(&self, peer: NodeName) -> bool {
        let members = self.core.members();
        members.is_some_and(|members| members.get(peer).is_some())
    }

    /// It is asked to stop, at once.
    pub(super) fn stop(&mut self, now: Time, oracle: &mut Oracle, rng: &mut ChaCha8Rng) {
        self.is_stopping = true;
        for _ in 0..2 {
            self.core.handle(self.at(now), Input::Stop);
        }
        self.pump(now, oracle, rng);
    }

    /// Carries out what the media engine was told from outside.
    pub(super) fn media(
        &mut self,
        now: Time,
        tell: impl FnOnce(&mut Engine),
        oracle: &mut Oracle,
        rng: &mut ChaCha8Rng,
    ) {
        tell(&mut self.engine);
        self.pump(now, oracle, rng);
    }

    /// The disk.
    pub(super) fn disk(&self) -> &SimDisk {
        self.log.disk()
    }

    /// The disk, to bend it.
    pub(super) fn disk_mut(&mut self) -> &mut SimDisk {
        self.log.disk_mut()
    }

    /// The log is writing at this moment.
    pub(super) fn is_writing(&self) -> bool {
        self.log.is_writing()
    }

    /// It is connected to nobody any more, and does not try.
    pub(super) fn unplug(&mut self) {
        self.link = None;
        self.answers.clear();
    }

    /// It is connected to so many others.
    pub(super) fn peers_up(&self, now: Time) -> usize {
        let peers = self.peers(now);
        peers.iter().filter(|peer| peer.is_up).count()
    }

    /// It is connected to all others, and has all that they have.
    pub(super) fn is_whole(&self, now: Time) -> bool {
        let peers = self.peers(now);
        peers.iter().all(|peer| peer.is_up && peer.is_whole)
    }

    fn peers(&self, now: Time) -> Vec<PeerStatus> {
        let status = self.link.as_ref().map(|link| link.status(now));
        status.map_or(Vec::new(), |status| status.peers)
    }

    /// The power is cut; what remains is the disk.
    pub(super) fn crash(self, rng: &mut ChaCha8Rng) -> SimDisk {
        self.log.crash(rng)
    }

    /// Carries outputs to whom they are for, until there are none.
    fn pump(&mut self, now: Time, oracle: &mut Oracle, rng: &mut ChaCha8Rng) {
        let here = self.at(now);
        for outputs in 0.. {
            assert!(outputs < OUTPUTS_MAX, "one input, outputs without end");
            if let Some(output) = self.core.poll(here) {
                self.on_core(now, output, oracle, rng);
            } else if let Some(out) = self.engine.poll() {
                self.on_engine(now, out, oracle);
            } else if let Some(wrote) = self.log.wrote() {
                self.tell_link(now, LinkInput::Wrote(wrote));
            } else if let Some(event) = self.log.poll(here) {
                // The commit it is in goes first.
                while let Some(wrote) = self.log.wrote() {
                    self.tell_link(now, LinkInput::Wrote(wrote));
                }
                self.on_log(now, event, oracle);
            } else if let Some(output) = self.link.as_mut().and_then(Link::poll) {
                self.on_link(now, output, oracle, rng);
            } else {
                break;
            }
        }
        assert!(
            self.engine.legs() <= self.core.pbx().legs_len(),
            "a leg is left whose call is over"
        );
        if self.log.is_writing() && self.written_at.is_none() {
            let slow = if rng.random_ratio(1, 50) { 900 } else { 12 };
            self.written_at = Some(now + Duration::from_micros(rng.random_range(100..slow * 1000)));
        }
    }

    fn on_core(&mut self, now: Time, output: Output, oracle: &mut Oracle, rng: &mut ChaCha8Rng) {
        let here = self.at(now);
        if !matches!(output, Output::Wire(_)) {
            let n = self.n;
            self.trace.say(now, || format!("node {n}: {output:?}"));
        }
        let later = now + Duration::from_millis(rng.random_range(20..120));
        match output {
            Output::Wire(WireOut::Send { flow, bytes }) => self.sent.push_back(Datagram {
                from: self.address,
                to: flow.peer,
                bytes,
            }),
            Output::Wire(WireOut::Keep { .. }) => {}
            Output::Media(command) => {
                self.note(&command, oracle);
                self.engine.command(now, command);
            }
            Output::OpenMedia { leg } => {
                let port = self.engine.open(now, leg);
                self.core.handle(here, Input::MediaOpened { leg, port });
            }
            Output::Log { token, append } => self.write(now, token, append, oracle),
            Output::Fetch {
                sound,
                sealed,
                chunks,
            } => {
                let want = LinkInput::Want {
                    sound,
                    sealed,
                    chunks,
                };
                self.tell_link(now, want);
            }
            Output::Members(members) => {
                let peers = peers(&members, self.name);
                self.tell_link(now, LinkInput::Peers(peers));
            }
            Output::CheckPin { leg, hash, pin } => {
                let right = *hash == *format!("pin:{pin}");
                self.pins
                    .push_back((later, Input::PinChecked { leg, right }));
            }
            Output::HashPin { leg, pin } => {
                let hash = (!rng.random_ratio(1, 10)).then(|| format!("pin:{pin}").into());
                self.pins.push_back((later, Input::PinHashed { leg, hash }));
            }
            Output::Admin(reply) => {
                if let Ok(answer) = reply.answer {
                    self.admin.insert(reply.asker, answer);
                }
            }
            Output::Notice(Notice::Copied) => self.says_alone = false,
            Output::Notice(Notice::Alone { .. }) => self.says_alone = true,
            Output::Notice(Notice::Contradiction { peer, epoch }) => {
                panic!("{} contradicts {peer} in epoch {epoch}", self.name)
            }
            Output::Written { .. }
            | Output::Notice(_)
            | Output::Event(_)
            | Output::ShellRegister { .. } => {}
            Output::Stopped => self.has_stopped = true,
        }
    }

    fn on_engine(&mut self, now: Time, out: Out, oracle: &mut Oracle) {
        match out {
            Out::Event(event) => {
                self.trace.say(now, || format!("engine: {event:?}"));
                if let Event::RecordDone { sound, samples, .. } = &event {
                    oracle.on_record_done(*sound, *samples);
                }
                self.core.handle(self.at(now), Input::Media(event));
            }
            Out::Chunk(id, index, block) if self.looks_first && !self.log.can_record() => {
                self.engine.give_back(id, index, block);
            }
            Out::Chunk(id, index, block) => {
                let append = Append::Chunk { id, index, block };
                self.write(now, TOKEN_CHUNK, append, oracle);
            }
            Out::Read(places) => {
                for place in places.iter() {
                    let read = self.log.disk_mut().samples(place).map(<[u8]>::len);
                    assert_eq!(
                        read,
                        Ok(place.samples as usize),
                        "what is played is not there"
                    );
                }
            }
        }
    }

    fn on_log(&mut self, now: Time, event: LogEvent, oracle: &mut Oracle) {
        let n = self.n;
        self.trace
            .say(now, || format!("node {n}: log: {}", brief(&event)));
        oracle.on_event(self.n, &event);
        let answer = match &event {
            LogEvent::Committed { token, .. } if token.owner == Owner::Link => {
                LinkInput::Stored { token: *token }
            }
            LogEvent::Refused { token, why } if token.owner == Owner::Link => {
                // It concerns nobody else.
                let (token, why) = (*token, *why);
                return self.tell_link(now, LinkInput::NotStored { token, why });
            }
            _ => return self.core.handle(self.at(now), Input::Log(event)),
        };
        self.tell_link(now, answer);
        self.core.handle(self.at(now), Input::Log(event));
    }

    fn on_link(
        &mut self,
        now: Time,
        output: LinkOutput,
        oracle: &mut Oracle,
        rng: &mut ChaCha8Rng,
    ) {
        let soon = now + Duration::from_micros(rng.random_range(1..500));
        match output {
            LinkOutput::Dial { .. } | LinkOutput::Close { .. } => self.to_wires.push_back(output),
            LinkOutput::Send { conn, is_told, .. } => {
                if is_told {
                    self.answer_link(now, LinkInput::Sent { conn });
                }
                self.to_wires.push_back(output);
            }
            LinkOutput::Store { token, append } => {
                oracle.on_store(self.n, &append);
                self.log.submit(at(now, self.wall_ms), token, append);
            }
            LinkOutput::ReadLog {
                token,
                segment,
                offset,
                bytes,
            } => {
                let piece = self.log.disk().piece(segment, offset, bytes);
                self.answer_link(soon, LinkInput::Read { token, piece });
            }
            LinkOutput::FindSound { token, sound } => {
                let sound = self.core.view().sound(sound);
                let places = sound.map_or(Vec::new(), |sound| sound.chunks.clone());
                self.answer_link(soon, LinkInput::Places { token, places });
            }
            LinkOutput::Event(event) => {
                let n = self.n;
                self.trace.say(now, || format!("node {n}: link: {event:?}"));
                let after = self.link_events.back().map_or(now, |(at, _)| *at);
                self.link_events.push_back((soon.max(after), event));
            }
        }
    }

    fn write(&mut self, now: Time, token: Token, append: Append, oracle: &mut Oracle) {
        oracle.on_append(self.n, token, &append);
        self.log.submit(self.at(now), token, append);
    }

    /// What the oracle wants to know of what is played and recorded.
    fn note(&self, command: &Command, oracle: &mut Oracle) {
        match command {
            Command::Record { leg, sound, .. } => oracle.on_record((self.n, *leg), *sound),
            Command::Play { leg, items, .. } => {
                let saved = |item: &PlayItem| matches!(item, PlayItem::Prompt(name) if &**name == "vm/message-saved");
                if items.iter().any(saved) {
                    oracle.on_saved((self.n, *leg), self.says_alone);
                }
            }
            _ => {}
        }
    }

    /// The users, by extension.
    pub(super) fn users(&self) -> BTreeMap<String, Id> {
        let registers = self.core.view().registers("user/");
        registers
            .filter_map(|(key, value)| {
                let id: Id = key.strip_prefix("user/")?.parse().ok()?;
                let account: Account = serde_json::from_str(value).ok()?;
                Some((account.extension.to_string(), id))
            })
            .collect()
    }
}

/// The first of it, if its time has come.
fn due<T>(queue: &mut VecDeque<(Time, T)>, now: Time) -> Option<T> {
    let is_due = queue.front().is_some_and(|(at, _)| *at <= now);
    is_due.then(|| queue.pop_front().map(|(_, what)| what))?
}

/// An event in a line: samples and stamps make it long.
fn brief(event: &LogEvent) -> String {
    match event {
        LogEvent::Committed { token, record } => {
            let said = record.stamp;
            format!(
                "{token:?} {}.{}.{} {:?}",
                said.node, said.epoch, said.seq, record.what
            )
        }
        other => format!("{other:?}"),
    }
}

/// The others, as the link is told of them.
pub(super) fn peers(members: &Members, own: NodeName) -> Vec<PeerConfig> {
    let names = members.iter().map(|(name, _)| name);
    names
        .filter(|name| *name != own)
        .map(|name| PeerConfig {
            name,
            keep_sound: true,
        })
        .collect()
}

/// The world's time and this clock's.
pub(super) fn at(mono: Time, wall_ms: u64) -> Now {
    Now {
        mono,
        wall: WallTime(wall_ms + mono.0 / 1_000_000),
    }
}
