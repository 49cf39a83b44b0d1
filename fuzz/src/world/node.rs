//! One node between its start and the moment its power is cut: the real call control, the real
//! shim and the real log, with an engine and a disk made of numbers, tied together as the program
//! ties them.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tandem_engine::TOKEN_CHUNK;
use tandem_engine::seam::{Command, Event, PlayItem};
use tandem_pbx::office::{self, Account};
use tandem_pbx::seam::{AdminAnswer, AdminAsk, AdminRequest, Input, Output};
use tandem_pbx::{Pbx, PbxConfig};
use tandem_sip_shim::{Flow, Shim, ShimConfig, ShimInput, ShimOutput, WireIn, WireOut, sanity};
use tandem_storage::name::{Id, NodeName};
use tandem_storage::seam::{Append, Owner, Token};
use tandem_storage::sim::{SimDisk, SimLog};
use tandem_storage::time::{Now, Time, WallTime};

use super::Trace;
use super::engine::{Engine, Out};
use super::network::Datagram;
use super::oracle::Oracle;
use super::phone::Who;
use super::sip;

/// Where the node listens.
pub(super) const ADDRESS: &str = "10.0.0.1:5060";
/// Phones from here are trusted, as a gateway.
pub(super) const TRUSTED: &str = "10.9.0.0/16";
const REALM: &str = "tandem";
/// One input leads to no more outputs than this.
const OUTPUTS_MAX: usize = 5000;

/// See the chapter above.
pub(super) struct Node {
    pub(super) pbx: Pbx,
    pub(super) shim: Shim,
    pub(super) engine: Engine,
    log: SimLog,
    written_at: Option<Time>,
    pins: VecDeque<(Time, Input)>,
    pub(super) sent: VecDeque<Datagram>,
    pub(super) answers: BTreeMap<u64, AdminAnswer>,
    pub(super) has_stopped: bool,
    pub(super) is_stopping: bool,
    /// A write failed: the log takes nothing more.
    pub(super) has_failed: bool,
    /// The engine asks whether there is room before it gives the log a piece.
    looks_first: bool,
    asked: u64,
    /// Civil time when the world began, as this node's clock has it.
    wall_ms: u64,
    trace: Trace,
}

impl Node {
    /// Starts on what is on the disk; writes the office if there is none.
    pub(super) fn start(
        now: Time,
        disk: SimDisk,
        people: &[Who],
        oracle: &mut Oracle,
        trace: Trace,
        rng: &mut ChaCha8Rng,
    ) -> Node {
        let name: NodeName = "office".parse().expect("a legal name");
        // Wall clocks are set, forward and back.
        let wall_ms = 1_790_000_000_000 + rng.random_range(0..7_200_000);
        let here = at(now, wall_ms);
        let opened = SimLog::open(disk, name, here).expect("our own disk");
        assert_eq!(opened.loaded.ending.records_lost, 0, "{:?}", opened.loaded);
        assert_eq!(opened.loaded.ending.damages, 0, "{:?}", opened.loaded);
        let (mut log, view, mut ids) = (opened.log, opened.view, opened.ids);
        oracle.on_restart(&view, log.disk_mut());
        let mut registers = Vec::new();
        if view.registers("user/").next().is_none() {
            let mut users: Vec<&Who> = people
                .iter()
                .filter(|who| !who.password.is_empty())
                .collect();
            users.sort_by(|a, b| a.extension.cmp(&b.extension));
            users.dedup_by(|a, b| a.extension == b.extension);
            for who in users {
                let pin = format!("pin:{}", who.pin);
                registers.extend(office::new_user(ids.next_id(), &account(who), &pin));
            }
        }
        let mut node = Node {
            pbx: Pbx::new(pbx_config(), view, ids, here),
            shim: Shim::new(shim_config(), rng.random()),
            engine: Engine::new([6, 200][usize::from(rng.random_ratio(7, 8))]),
            log,
            written_at: None,
            pins: VecDeque::new(),
            sent: VecDeque::new(),
            answers: BTreeMap::new(),
            has_stopped: false,
            is_stopping: false,
            has_failed: false,
            looks_first: !rng.random_ratio(1, 4),
            asked: 0,
            wall_ms,
            trace,
        };
        for (n, (key, value)) in (0..).zip(registers) {
            let append = Append::Register {
                key,
                value: Some(value),
            };
            node.write(now, Token::new(Owner::Node, n), append, oracle);
        }
        node.pump(now, oracle, rng);
        node
    }

    /// A datagram has come.
    pub(super) fn datagram(
        &mut self,
        now: Time,
        from: SocketAddr,
        bytes: &[u8],
        oracle: &mut Oracle,
        rng: &mut ChaCha8Rng,
    ) {
        match sanity::read_datagram(bytes) {
            Ok(message) => {
                let wire = WireIn::Message {
                    flow: Flow::udp(from),
                    message,
                };
                self.shim
                    .handle(at(now, self.wall_ms), ShimInput::Wire(wire));
            }
            Err(why) => panic!(
                "a phone sent garbage ({why:?}): {}",
                String::from_utf8_lossy(bytes)
            ),
        }
        self.pump(now, oracle, rng);
    }

    /// What happens next.
    pub(super) fn deadline(&self) -> Option<Time> {
        let first_pin = self.pins.front().map(|(at, _)| *at);
        let each = [
            self.pbx.deadline(),
            self.shim.deadline(),
            self.engine.deadline(),
            self.written_at,
            first_pin,
            Some(self.log.deadline()),
        ];
        each.into_iter().flatten().min()
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Time, oracle: &mut Oracle, rng: &mut ChaCha8Rng) {
        let here = at(now, self.wall_ms);
        if self.written_at.is_some_and(|at| at <= now) {
            self.written_at = None;
            self.log.complete_write(here);
        }
        while self.pins.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, input)) = self.pins.pop_front()
        {
            self.pbx.handle(here, input);
        }
        if self.engine.deadline().is_some_and(|at| at <= now) {
            self.engine.tick(now);
        }
        if self.shim.deadline().is_some_and(|at| at <= now) {
            self.shim.tick(here);
            self.pump(now, oracle, rng);
        }
        if self.pbx.deadline().is_some_and(|at| at <= now) {
            self.pbx.tick(here);
        }
        self.pump(now, oracle, rng);
        let late = [
            self.pbx.deadline(),
            self.shim.deadline(),
            self.engine.deadline(),
        ];
        for (who, late) in ["pbx", "shim", "engine"].iter().zip(late) {
            assert!(
                late.is_none_or(|at| at > now),
                "the {who} has not done what was due"
            );
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
        let request = AdminRequest {
            asker: self.asked,
            ask,
        };
        self.pbx
            .handle(at(now, self.wall_ms), Input::Admin(request));
        self.pump(now, oracle, rng);
        self.answers.remove(&self.asked)
    }

    /// It is asked to stop.
    pub(super) fn stop(&mut self, now: Time, oracle: &mut Oracle, rng: &mut ChaCha8Rng) {
        self.is_stopping = true;
        self.pbx.handle(at(now, self.wall_ms), Input::Drain);
        self.pbx.handle(at(now, self.wall_ms), Input::Stop);
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

    /// The disk, to bend it.
    pub(super) fn disk_mut(&mut self) -> &mut SimDisk {
        self.log.disk_mut()
    }

    /// The log is writing at this moment.
    pub(super) fn is_writing(&self) -> bool {
        self.log.is_writing()
    }

    /// The power is cut; what remains is the disk.
    pub(super) fn crash(self, rng: &mut ChaCha8Rng) -> SimDisk {
        self.log.crash(rng)
    }

    /// Carries outputs to whom they are for, until there are none.
    fn pump(&mut self, now: Time, oracle: &mut Oracle, rng: &mut ChaCha8Rng) {
        let here = at(now, self.wall_ms);
        for outputs in 0.. {
            assert!(outputs < OUTPUTS_MAX, "one input, outputs without end");
            if let Some(output) = self.shim.poll() {
                self.on_shim(now, output);
            } else if let Some(output) = self.pbx.poll() {
                self.on_pbx(now, output, oracle, rng);
            } else if let Some(out) = self.engine.poll() {
                self.on_engine(now, out, oracle);
            } else if let Some(event) = self.log.poll(here) {
                self.trace.say(now, || format!("log: {event:?}"));
                oracle.on_event(&event);
                // What the program wrote itself is not for call control, but its content is.
                self.pbx.handle(here, Input::Log(event));
            } else {
                break;
            }
        }
        // A call has a caller and at most one who is called: who stays behind alone is hung up.
        let legs_max = 2 * self.pbx.calls_len();
        assert!(
            self.engine.legs() <= legs_max,
            "a leg is left whose call is over"
        );
        if self.log.is_writing() && self.written_at.is_none() {
            let slow = if rng.random_ratio(1, 50) { 900 } else { 12 };
            self.written_at = Some(now + Duration::from_micros(rng.random_range(100..slow * 1000)));
        }
    }

    fn on_shim(&mut self, now: Time, output: ShimOutput) {
        let here = at(now, self.wall_ms);
        match output {
            ShimOutput::Wire(WireOut::Send { flow, bytes }) => {
                let from = ADDRESS.parse().expect("an address");
                self.sent.push_back(Datagram {
                    from,
                    to: flow.peer,
                    bytes,
                });
            }
            ShimOutput::Wire(WireOut::Keep { .. }) => {}
            ShimOutput::Pbx(event) => {
                self.trace.say(now, || format!("shim: {event:?}"));
                self.pbx.handle(here, Input::Sip(event));
            }
            ShimOutput::Media(command) => {
                self.trace.say(now, || format!("shim: {command:?}"));
                self.engine.command(now, command);
            }
            ShimOutput::OpenMedia { leg } => {
                let port = self.engine.open(now, leg);
                self.shim.handle(here, ShimInput::MediaOpened { leg, port });
            }
        }
    }

    fn on_pbx(&mut self, now: Time, output: Output, oracle: &mut Oracle, rng: &mut ChaCha8Rng) {
        let here = at(now, self.wall_ms);
        self.trace.say(now, || format!("pbx: {output:?}"));
        let later = now + Duration::from_millis(rng.random_range(20..120));
        match output {
            Output::Sip(command) => self.shim.handle(here, ShimInput::Pbx(command)),
            Output::User { id, user } => self.shim.handle(here, ShimInput::User { id, user }),
            Output::Media(command) => {
                note(&command, oracle);
                self.engine.command(now, command);
            }
            Output::Log { token, append } => self.write(now, token, append, oracle),
            Output::Fetch { sound, .. } => panic!("{sound}: there are no other nodes here"),
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
                    self.answers.insert(reply.asker, answer);
                }
            }
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
                self.pbx.handle(at(now, self.wall_ms), Input::Media(event));
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

    fn write(&mut self, now: Time, token: Token, append: Append, oracle: &mut Oracle) {
        oracle.on_append(token, &append);
        self.log.submit(at(now, self.wall_ms), token, append);
    }

    /// The users, by extension.
    pub(super) fn users(&self) -> BTreeMap<String, Id> {
        let registers = self.pbx.view().registers("user/");
        registers
            .filter_map(|(key, value)| {
                let id: Id = key.strip_prefix("user/")?.parse().ok()?;
                let account: Account = serde_json::from_str(value).ok()?;
                Some((account.extension.to_string(), id))
            })
            .collect()
    }
}

/// What the oracle wants to know of what is played and recorded.
fn note(command: &Command, oracle: &mut Oracle) {
    match command {
        Command::Record { leg, sound, .. } => oracle.on_record(*leg, *sound),
        Command::Play { leg, items, .. } => {
            let saved = |item: &PlayItem| matches!(item, PlayItem::Prompt(name) if &**name == "vm/message-saved");
            if items.iter().any(saved) {
                oracle.on_saved(*leg);
            }
        }
        _ => {}
    }
}

fn account(who: &Who) -> Account {
    let (md5, sha256) = sip::ha1(&who.extension, REALM, &who.password);
    Account {
        extension: who.extension.as_str().into(),
        name: "Somebody".into(),
        ha1_md5: md5.into(),
        ha1_sha256: sha256.into(),
    }
}

fn pbx_config() -> PbxConfig {
    PbxConfig {
        message_max: Duration::from_secs(30),
        ..PbxConfig::default()
    }
}

fn shim_config() -> ShimConfig {
    ShimConfig {
        advertise: [10, 0, 0, 1].into(),
        realm: REALM.into(),
        trusted: vec![tandem_sip_shim::Trusted::gateway(
            TRUSTED.parse().expect("a block of addresses"),
        )],
        session_expires_s: 120,
        ..ShimConfig::default()
    }
}

fn at(mono: Time, wall_ms: u64) -> Now {
    Now {
        mono,
        wall: WallTime(wall_ms + mono.0 / 1_000_000),
    }
}
