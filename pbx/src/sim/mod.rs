//! A world around call control that is made of numbers: phones, an engine and a log that keep
//! the seams' promises, a clock that is told, text in and text out.
//!
//! A test writes what happens (`call 1 101 102`, `digit 1 #`, `disk full`) and reads what call
//! control asked for. [`World::stir`] makes something plausible, or rude, happen by itself from a
//! number, so that one seed replays one world. All the while the world watches the promises in
//! return: nothing is asked of a leg that has ended, every sound that begins is sealed once, no
//! chunk follows a seal. What was broken is in [`World::faults`].
//!
//! | line | what happens |
//! |---|---|
//! | `call LEG FROM DIALED` | FROM: an extension, or `~NUMBER` for a call from a gateway |
//! | `ringing LEG`, `answered LEG`, `ended LEG CAUSE` | by a phone |
//! | `cut LEG CAUSE` | as `ended`, but the end of a recording is told first |
//! | `confirmed LEG` | by the caller's phone |
//! | `keys LEG KEYS`, `info LEG KEYS` | as media, as signalling |
//! | `played LEG` | what is being played to the leg ends |
//! | `speak LEG MS` | time passes in which the leg's recording grows |
//! | `recorded LEG CAUSE` | the recording ends: `silence`, `limit` |
//! | `vanish LEG` | the leg falls silent |
//! | `wait MS` | time passes, timers run |
//! | `pin LEG right`, `pin LEG wrong`, `hash LEG ok`, `hash LEG failed` | the PIN helper answers |
//! | `log hold`, `log go`, `log poison`, `disk full`, `disk ok` | the log |
//! | `power cut` | everything that is not durable is lost; the node starts again |
//! | `phone EXT`, `drain`, `stop`, `list EXT`, `import EXT MS` | the rest |

mod log;
mod show;
mod stir;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tandem_engine::seam::{Codec, Command, Event, LegId, PlayId, RecordEnd};
use tandem_storage::View;
use tandem_storage::name::{Id, Ids};
use tandem_storage::seam::{Append, LogEvent, SoundCodec, Token};
use tandem_storage::time::{Now, Time, WallTime};

use crate::Pbx;
use crate::config::PbxConfig;
use crate::office::{Account, new_user};
use crate::seam::{AdminAsk, AdminRequest, Caller, Cause, Input, Output, SipCommand, SipEvent};
use crate::sim::log::SimLog;
use crate::sim::show::Names;

/// See the chapter above.
pub struct World {
    /// What is being tried.
    pub pbx: Pbx,
    /// Promises that were broken, in words.
    pub faults: Vec<String>,
    config: PbxConfig,
    now: Now,
    log: SimLog,
    names: Names,
    users: BTreeMap<Arc<str>, Id>,
    legs: BTreeMap<LegId, Leg>,
    /// What is on its way to call control.
    inbox: VecDeque<Input>,
    /// What call control asked for, in words.
    said: Vec<String>,
    epoch: u32,
    /// The last leg that came in by [`World::stir`].
    leg_last: u64,
    stopped: bool,
}

/// A leg that has not ended.
#[derive(Clone, Debug, Default)]
struct Leg {
    play: Option<PlayId>,
    recording: Option<Recording>,
}

#[derive(Clone, Debug)]
struct Recording {
    sound: Id,
    samples: u64,
    index: u32,
}

const NODE: &str = "a";

impl World {
    /// An office of these extensions; the PIN's hash is `hash` for all.
    pub fn new(config: PbxConfig, extensions: &[&str]) -> World {
        let mut log = SimLog::new();
        let mut ids = Ids::new(node(), 1);
        let mut users = BTreeMap::new();
        for extension in extensions {
            let id = ids.next_id();
            let account = Account {
                extension: (*extension).into(),
                name: format!("User {extension}").into(),
                ha1_md5: "m".into(),
                ha1_sha256: "s".into(),
            };
            for (key, value) in new_user(id, &account, "hash") {
                log.submit(
                    Token(0),
                    Append::Register {
                        key,
                        value: Some(value),
                    },
                );
            }
            users.insert(account.extension, id);
        }
        let mut view = View::new();
        while let Some(event) = log.answer() {
            if let LogEvent::Committed { record, .. } = event {
                view.apply(&record);
            }
        }
        let now = Now {
            mono: Time(0),
            wall: WallTime(1_795_341_900_000),
        };
        let names = Names::new(&users);
        let pbx = Pbx::new(config.clone(), view, ids, now);
        let mut world = World {
            pbx,
            faults: Vec::new(),
            config,
            now,
            log,
            names,
            users,
            legs: BTreeMap::new(),
            inbox: VecDeque::new(),
            said: Vec::new(),
            epoch: 1,
            leg_last: 1,
            stopped: false,
        };
        world.settle();
        world.said.clear();
        world
    }

    /// Makes one line happen; what call control asked for, one line each, repetitions left out.
    pub fn tell(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !self.obey(&words) {
            self.faults.push(format!("the world does not know: {line}"));
        }
        self.settle();
        self.said.dedup();
        std::mem::take(&mut self.said)
    }

    /// The time in this world.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Legs that have not ended.
    pub fn legs_len(&self) -> usize {
        self.legs.len()
    }

    /// Call control has said that it is done.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// With nothing left to happen: nothing may be left over. Adds what is to the faults.
    pub fn check_rest(&mut self) {
        if self.pbx.calls_len() > 0 {
            self.faults
                .push(format!("{} calls are left", self.pbx.calls_len()));
        }
        if !self.legs.is_empty() {
            self.faults
                .push(format!("legs are left: {:?}", self.legs.keys()));
        }
        if let Some(deadline) = self.pbx.deadline() {
            self.faults
                .push(format!("a timer is left for {deadline:?}"));
        }
        self.faults.extend(
            self.log
                .unsealed()
                .map(|id| format!("{id} was never sealed")),
        );
    }

    fn obey(&mut self, words: &[&str]) -> bool {
        match *words {
            ["call", leg, from, dialed] => self.call(leg_of(leg), from, dialed),
            ["ringing", leg] => self.sip(SipEvent::Ringing { leg: leg_of(leg) }),
            ["answered", leg] => self.sip(SipEvent::Answered { leg: leg_of(leg) }),
            ["confirmed", leg] => {
                self.sip(SipEvent::Confirmed {
                    leg: leg_of(leg),
                    codec: Codec::Pcma,
                });
            }
            ["ended", leg, cause] => self.ended(leg_of(leg), cause_of(cause)),
            ["cut", leg, cause] => self.cut(leg_of(leg), cause_of(cause)),
            ["keys", leg, keys] => self.keys(leg_of(leg), keys, false),
            ["info", leg, keys] => self.keys(leg_of(leg), keys, true),
            ["played", leg] => self.played(leg_of(leg)),
            ["speak", leg, ms] => self.speak(leg_of(leg), number(ms)),
            ["recorded", leg, "silence"] => self.recorded(leg_of(leg), RecordEnd::Silence),
            ["recorded", leg, "limit"] => self.recorded(leg_of(leg), RecordEnd::Limit),
            ["vanish", leg] => {
                let event = Event::MediaTimeout { leg: leg_of(leg) };
                self.inbox.push_back(Input::Media(event));
            }
            ["wait", ms] => self.wait(Duration::from_millis(number(ms))),
            ["pin", leg, right] => {
                let (leg, right) = (leg_of(leg), right == "right");
                self.inbox.push_back(Input::PinChecked { leg, right });
            }
            ["hash", leg, ok] => {
                let hash = (ok == "ok").then(|| "new-hash".into());
                self.inbox.push_back(Input::PinHashed {
                    leg: leg_of(leg),
                    hash,
                });
            }
            ["log", "hold"] => self.log.held = true,
            ["log", "go"] => self.log.held = false,
            ["log", "poison"] => self.log.poisoned = true,
            ["disk", "full"] => self.room(false),
            ["disk", "ok"] => self.room(true),
            ["power", "cut"] => self.power_cut(),
            ["phone", extension] => match self.users.get(extension).copied() {
                Some(user) => self.sip(SipEvent::PhoneCame { user }),
                None => return false,
            },
            ["drain"] => self.inbox.push_back(Input::Drain),
            ["stop"] => self.inbox.push_back(Input::Stop),
            ["calls"] => self.ask(AdminAsk::Calls),
            ["list", extension] => self.ask(AdminAsk::Mailbox {
                extension: extension.into(),
            }),
            ["import", extension, ms] => self.import(extension, number(ms)),
            _ => return false,
        }
        true
    }

    fn sip(&mut self, event: SipEvent) {
        self.inbox.push_back(Input::Sip(event));
    }

    fn ask(&mut self, ask: AdminAsk) {
        self.inbox
            .push_back(Input::Admin(AdminRequest { asker: 1, ask }));
    }

    fn import(&mut self, extension: &str, ms: u64) {
        let samples = vec![0xff; usize::try_from(ms * 8).unwrap_or(0)].into();
        let codec = SoundCodec::Pcmu;
        self.ask(AdminAsk::Import {
            extension: extension.into(),
            codec,
            samples,
        });
    }

    fn call(&mut self, leg: LegId, from: &str, dialed: &str) {
        let (user, number) = match from.strip_prefix('~') {
            Some(number) => (None, number),
            None => (self.users.get(from).copied(), from),
        };
        let caller = Caller {
            user,
            number: number.into(),
            name: "".into(),
        };
        self.legs.insert(leg, Leg::default());
        self.sip(SipEvent::Incoming {
            leg,
            caller,
            dialed: dialed.into(),
        });
    }

    /// The far side ends a leg.
    fn ended(&mut self, leg: LegId, cause: Cause) {
        self.sip(SipEvent::Ended { leg, cause });
        self.close(leg);
    }

    /// The same, but the news of the recording's end overtakes that of the leg's.
    fn cut(&mut self, leg: LegId, cause: Cause) {
        self.recorded(leg, RecordEnd::Stopped);
        self.settle();
        self.ended(leg, cause);
    }

    fn keys(&mut self, leg: LegId, keys: &str, signalled: bool) {
        for digit in keys.chars() {
            self.inbox.push_back(match signalled {
                true => Input::Sip(SipEvent::Digit { leg, digit }),
                false => Input::Media(Event::Digit { leg, digit }),
            });
        }
    }

    fn played(&mut self, leg: LegId) {
        if let Some(play) = self.legs.get_mut(&leg).and_then(|leg| leg.play.take()) {
            self.inbox
                .push_back(Input::Media(Event::PlayDone { leg, play }));
        }
    }

    fn speak(&mut self, leg: LegId, ms: u64) {
        for _ in 0..ms / 500 {
            self.wait(Duration::from_millis(500));
            let Some(recording) = self.legs.get_mut(&leg).and_then(|l| l.recording.as_mut()) else {
                return;
            };
            recording.samples += 4000;
            let append = log::chunk(recording.sound, recording.index);
            recording.index += 1;
            self.log.submit(Token(0), append);
            self.settle();
        }
    }

    fn recorded(&mut self, leg: LegId, end: RecordEnd) {
        if let Some(recording) = self.legs.get_mut(&leg).and_then(|leg| leg.recording.take()) {
            self.inbox.push_back(Input::Media(Event::RecordDone {
                leg,
                sound: recording.sound,
                samples: recording.samples,
                samples_speech: recording.samples,
                end,
            }));
        }
    }

    fn close(&mut self, leg: LegId) {
        self.recorded(leg, RecordEnd::Stopped);
        self.legs.remove(&leg);
    }

    fn room(&mut self, can_record: bool) {
        self.log.full = !can_record;
        self.inbox
            .push_back(Input::Log(LogEvent::Room { can_record }));
    }

    /// Lets time pass, from one deadline to the next.
    fn wait(&mut self, length: Duration) {
        let until = self.now.mono + length;
        while let Some(deadline) = self.pbx.deadline().filter(|deadline| *deadline <= until) {
            self.go_to(deadline.max(self.now.mono));
            self.pbx.tick(self.now);
            self.settle();
            if self.pbx.deadline().is_some_and(|next| next <= deadline) {
                self.faults
                    .push(format!("a timer at {deadline:?} does not move on"));
                break;
            }
        }
        self.go_to(until);
    }

    fn go_to(&mut self, at: Time) {
        let passed = at.since(self.now.mono);
        self.now = Now {
            mono: self.now.mono + passed,
            wall: self.now.wall + passed,
        };
    }

    /// The node dies and starts again on what was durable.
    fn power_cut(&mut self) {
        self.epoch += 1;
        let view = self.log.restart();
        self.legs.clear();
        self.inbox.clear();
        self.stopped = false;
        let ids = Ids::new(node(), self.epoch);
        self.pbx = Pbx::new(self.config.clone(), view, ids, self.now);
    }

    /// Until nothing is under way: hands over, takes what is asked for, lets the log answer.
    fn settle(&mut self) {
        loop {
            while let Some(output) = self.pbx.poll() {
                let line = self.names.show(&output);
                self.said.push(line);
                self.take(output);
            }
            if let Some(input) = self.inbox.pop_front() {
                self.pbx.handle(self.now, input);
            } else if let Some(event) = self.log.answer() {
                self.on_log(event);
            } else {
                break;
            }
        }
        self.faults.append(&mut self.log.faults);
    }

    fn on_log(&mut self, event: LogEvent) {
        // A chunk that was refused ends its recording; the engine hears of it, not call control.
        if let LogEvent::Refused {
            token: Token(0), ..
        } = event
        {
            let recording = |leg: &Leg| leg.recording.as_ref().map(|r| r.sound);
            let sound = self.log.refused_chunk.take();
            let leg = self
                .legs
                .iter()
                .find(|(_, leg)| sound.is_some() && recording(leg) == sound);
            if let Some(leg) = leg.map(|(leg, _)| *leg) {
                self.recorded(leg, RecordEnd::LogRefused);
            }
        }
        self.pbx.handle(self.now, Input::Log(event));
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Sip(command) => self.take_sip(command),
            Output::Media(command) => self.take_media(command),
            Output::Log { token, append } => self.log.submit(token, append),
            Output::Stopped => self.stopped = true,
            Output::User { .. }
            | Output::CheckPin { .. }
            | Output::HashPin { .. }
            | Output::Admin(_) => {}
        }
    }

    fn take_sip(&mut self, command: SipCommand) {
        match command {
            SipCommand::Call { leg, .. } => {
                if leg.0 % 2 != 0 || self.legs.insert(leg, Leg::default()).is_some() {
                    self.faults
                        .push(format!("{leg:?} is no number for a new leg"));
                }
            }
            SipCommand::Ring { leg } | SipCommand::Answer { leg, .. } => self.expect(leg, "sip"),
            SipCommand::End { leg, .. } => {
                self.expect(leg, "end");
                self.close(leg);
            }
            SipCommand::Lamp { .. } => {}
        }
    }

    fn take_media(&mut self, command: Command) {
        match command {
            Command::Play { leg, play, .. } => {
                self.expect(leg, "play");
                self.legs.entry(leg).and_modify(|leg| leg.play = Some(play));
            }
            Command::StopPlay { leg } => {
                self.expect(leg, "hush");
                self.legs.entry(leg).and_modify(|leg| leg.play = None);
            }
            Command::Bridge { a, b } => {
                self.expect(a, "bridge");
                self.expect(b, "bridge");
            }
            Command::Record { leg, sound, .. } => {
                self.expect(leg, "record");
                let recording = Recording {
                    sound,
                    samples: 0,
                    index: 0,
                };
                self.legs
                    .entry(leg)
                    .and_modify(|leg| leg.recording = Some(recording));
            }
            Command::StopRecord { leg } => {
                self.expect(leg, "stop record");
                self.recorded(leg, RecordEnd::Stopped);
            }
            Command::Echo { leg }
            | Command::Unbridge { leg }
            | Command::SendDigit { leg, .. }
            | Command::Close { leg }
            | Command::Set { leg, .. } => self.expect(leg, "media"),
        }
    }

    fn expect(&mut self, leg: LegId, what: &str) {
        if !self.legs.contains_key(&leg) {
            self.faults
                .push(format!("{what} asked of {leg:?}, which is not there"));
        }
    }
}

fn node() -> tandem_storage::name::NodeName {
    NODE.parse().expect("a constant that is a node name")
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

fn leg_of(text: &str) -> LegId {
    LegId(number(text))
}

fn cause_of(name: &str) -> Cause {
    CAUSES
        .into_iter()
        .find(|c| crate::counters::cause_name(*c) == name)
        .unwrap_or(Cause::Failed)
}

const CAUSES: [Cause; 13] = [
    Cause::Normal,
    Cause::Cancelled,
    Cause::Busy,
    Cause::Declined,
    Cause::NoAnswer,
    Cause::NotRegistered,
    Cause::NoSuchNumber,
    Cause::Forbidden,
    Cause::NotAcceptable,
    Cause::Congestion,
    Cause::Vanished,
    Cause::Failed,
    Cause::ShuttingDown,
];
