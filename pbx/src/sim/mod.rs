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
//! | `call LEG FROM over OTHER` | a call that is to take the place of a leg |
//! | `refer LEG TO`, `refer LEG with OTHER` | the party asks for a transfer |
//! | `hold LEG`, `resume LEG` | the party holds the others |
//! | `keys LEG KEYS`, `info LEG KEYS` | as media, as signalling |
//! | `played LEG` | what is being played to the leg ends |
//! | `speak LEG MS` | time passes in which the leg's recording grows |
//! | `recorded LEG CAUSE` | the recording ends: `silence`, `limit` |
//! | `recordings` | those of calls are asked for |
//! | `vanish LEG` | the leg falls silent |
//! | `wait MS` | time passes, timers run |
//! | `pin LEG right`, `pin LEG wrong`, `hash LEG ok`, `hash LEG failed` | the PIN helper answers |
//! | `log hold`, `log go`, `log poison`, `disk full`, `disk ok` | the log |
//! | `power cut` | everything that is not durable is lost; the node starts again |
//! | `group EXT KEY=VALUE …` | an administrator makes or changes a group |
//! | `room EXT KEY=VALUE …`, `rooms` | the same of a room; who is in which |
//! | `schedule NAME KEY=VALUE …`, `schedule NAME removed`, `schedules` | the same of a schedule; `_` for a space |
//! | `register KEY VALUE` | another writes it into the log |
//! | `user EXT KEY=VALUE` | changes a user: `forward_busy=102`, `blocked=1,2` |
//! | `block NUMBER`, `unblock NUMBER` | the company refuses its calls |
//! | `speed NN NUMBER`, `speed NN removed` | a speed dial is set, or gone |
//! | `watch EXT`, `unwatch EXT` | somebody watches a user's calls |
//! | `dial EXT NUMBER` | has a user's phones rung, and then a number |
//! | `records` | the call log is asked for; as they are written, those of legs that came in are shown |
//! | `events on`, `events off` | somebody reads what happens |
//! | `phone EXT`, `drain`, `stop`, `list EXT`, `import EXT MS` | the rest |

mod happen;
mod log;
mod outside;
mod schedules;
mod show;
mod stir;
mod watch;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tandem_engine::TOKEN_CHUNK;
use tandem_engine::seam::{Codec, Event, LegId, PlayId, RecordEnd};
use tandem_storage::name::Id;
use tandem_storage::seam::{Append, LogEvent, Owner, Token};
use tandem_storage::time::{Now, Time, WallTime};

use crate::Pbx;
use crate::call::board::Board;
use crate::config::PbxConfig;
use crate::office::{Account, new_user};
use crate::seam::{
    AdminAsk, Diversion, DiversionReason, Input, Output, OutwardAsk, ScheduleAsk, SipCommand,
    SipEvent, Watchable,
};
use crate::sim::log::WorldLog;
use crate::sim::show::Names;
use crate::sim::words::{cause_of, leg_of, number};

/// See the chapter above.
pub struct World {
    /// What is being tried.
    pub pbx: Pbx,
    /// Promises that were broken, in words.
    pub faults: Vec<String>,
    config: PbxConfig,
    now: Now,
    log: WorldLog,
    names: Names,
    users: BTreeMap<Arc<str>, Id>,
    legs: BTreeMap<LegId, Leg>,
    /// What is on its way to call control.
    inbox: VecDeque<Input>,
    /// What call control asked for, in words.
    said: Vec<String>,
    /// The last leg that came in by [`World::stir`].
    leg_last: u64,
    stopped: bool,
    /// Groups that were asked for.
    groups: BTreeSet<String>,
    /// Where the next call that comes in has been.
    diversions: Vec<Diversion>,
    /// By which trunk the next call comes in.
    trunk: Option<Id>,
    /// What can be watched besides users, by number.
    watchable: BTreeMap<Arc<str>, Watchable>,
}

/// A leg that has not ended.
#[derive(Clone, Debug, Default)]
struct Leg {
    play: Option<PlayId>,
    recording: Option<Recording>,
    taps: Vec<Recording>,
    /// What call control waits for, from this leg's phone or from the PIN helper.
    owes: Option<Owes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owes {
    Confirmation,
    Check,
    Hash,
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
        let now = Now {
            mono: Time(0),
            wall: WallTime(1_795_341_900_000),
        };
        let (mut log, mut view, mut ids) = WorldLog::new(node(), now);
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
                    now,
                    Token::new(Owner::Node, 0),
                    Append::Register {
                        key,
                        value: Some(value),
                    },
                );
            }
            users.insert(account.extension, id);
        }
        while let Some(event) = log.answer(now) {
            if let LogEvent::Committed { record, .. } = event {
                view.apply(&record);
            }
        }
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
            leg_last: 1,
            stopped: false,
            groups: BTreeSet::new(),
            diversions: Vec::new(),
            trunk: None,
            watchable: BTreeMap::new(),
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

    /// Writes all legs, dials, bridges and applications down, and goes on from what is read.
    pub fn reread(&mut self) {
        let text = self.pbx.board.to_json();
        match Board::from_json(&text) {
            Ok(board) => self.pbx.board = board,
            Err(why) => self.faults.push(format!("{why} in {text}")),
        }
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
            ["call", leg, from, dialed] => self.call(leg_of(leg), from, dialed, None),
            ["call", leg, from, "over", replaced] => {
                self.call(leg_of(leg), from, "101", Some(leg_of(replaced)));
            }
            ["text", number, from, to] => self.text(leg_of(number).0, from, to),
            // The next call that comes in has been there.
            ["diverted", number, "busy"] => self.diversions.push(Diversion {
                number: number.into(),
                name: "".into(),
                is_withheld: false,
                reason: DiversionReason::Busy,
            }),
            ["refer", leg, to] => self.refer(leg_of(leg), to, None),
            ["refer", leg, "with", other] => {
                self.refer(leg_of(leg), "999", Some(leg_of(other)));
            }
            ["hold", leg] => self.held(leg_of(leg), true),
            ["resume", leg] => self.held(leg_of(leg), false),
            ["ringing", leg] => self.sip(SipEvent::Ringing { leg: leg_of(leg) }),
            ["progress", leg] => self.sip(SipEvent::Progress { leg: leg_of(leg) }),
            ["redirected", leg, to] => self.redirected(leg_of(leg), to),
            ["answered", leg] => {
                let (leg, codec) = (leg_of(leg), Codec::Pcma);
                self.sip(SipEvent::Answered { leg, codec });
            }
            ["confirmed", leg] => {
                let (leg, codec) = (leg_of(leg), Codec::Pcma);
                self.paid(leg);
                self.sip(SipEvent::Confirmed { leg, codec });
            }
            ["ended", leg, cause] => self.ended(leg_of(leg), cause_of(cause)),
            ["cut", leg, cause] => self.cut(leg_of(leg), cause_of(cause)),
            ["keys", leg, keys] => self.keys(leg_of(leg), keys, false),
            ["info", leg, keys] => self.keys(leg_of(leg), keys, true),
            ["played", leg] => self.played(leg_of(leg)),
            ["locked", leg] => self.locked(leg_of(leg)),
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
                self.paid(leg);
                self.inbox.push_back(Input::PinChecked { leg, right });
            }
            ["hash", leg, ok] => {
                let (leg, hash) = (leg_of(leg), (ok == "ok").then(|| "new-hash".into()));
                self.paid(leg);
                self.inbox.push_back(Input::PinHashed { leg, hash });
            }
            ["log", "hold"] => self.log.held = true,
            ["log", "go"] => self.log.held = false,
            ["log", "poison"] => self.log.poison(),
            ["disk", "full"] => self.room(false),
            ["disk", "ok"] => self.room(true),
            ["power", "cut"] => self.power_cut(),
            ["phone", extension] => match self.users.get(extension).copied() {
                Some(user) => self.sip(SipEvent::PhoneCame { user }),
                None => return false,
            },
            ["events", on] => self.inbox.push_back(Input::Watch(on == "on")),
            ["drain"] => self.inbox.push_back(Input::Drain),
            ["stop"] => self.inbox.push_back(Input::Stop),
            ["watch", extension] | ["unwatch", extension] => {
                let user = self.users.get(extension).copied();
                let line = self.watchable.get(extension).copied();
                let Some(what) = user.map(Watchable::User).or(line) else {
                    return false;
                };
                let is_watched = words[0] == "watch";
                self.sip(SipEvent::Watched { what, is_watched });
            }
            ["calls"] => self.ask(AdminAsk::Calls),
            ["records"] => self.ask(AdminAsk::CallLog {
                user: None,
                since: WallTime(0),
                before: None,
            }),
            ["recordings"] => self.ask(AdminAsk::Recordings {
                before: None,
                limit: 100,
            }),
            ["dial", extension, number] => self.ask(AdminAsk::Dial {
                extension: extension.into(),
                number: number.into(),
            }),
            ["register", key, value] => {
                let (key, value) = (key.into(), Some(value.into()));
                let append = Append::Register { key, value };
                self.log
                    .submit(self.now, Token::new(Owner::Node, 0), append);
            }
            ["group", extension, ref settings @ ..] => self.group(extension, settings),
            ["trunk", name, ref settings @ ..] => self.trunk(name, settings),
            ["route", pattern, ref settings @ ..] => self.route(pattern, settings),
            ["schedule", name, ref settings @ ..] => self.schedule(name, settings),
            ["block", number] | ["unblock", number] => self.ask(AdminAsk::Block {
                number: number.into(),
                is_blocked: words[0] == "block",
            }),
            ["speed", code, "removed"] => self.speed_dial(code, None),
            ["speed", code, number] => self.speed_dial(code, Some(number)),
            ["schedules"] => self.ask(AdminAsk::Schedule(ScheduleAsk::List)),
            ["no", "trunk", name] => self.ask(AdminAsk::Outward(OutwardAsk::RemoveTrunk {
                name: name.into(),
            })),
            ["no", "route", pattern] => self.ask(AdminAsk::Outward(OutwardAsk::RemoveRoute {
                pattern: pattern.into(),
            })),
            ["trunks"] => self.ask(AdminAsk::Outward(OutwardAsk::Trunks)),
            ["call", leg, from, dialed, "by", trunk] => {
                self.comes_by(trunk);
                self.call(leg_of(leg), from, dialed, None);
            }
            ["room", extension, ref settings @ ..] => self.office_room(extension, settings),
            ["code", service, ref code @ ..] => self.ask(AdminAsk::SetCode {
                service: service.into(),
                code: code.first().map(|code| (*code).into()),
            }),
            ["rooms"] => self.ask(AdminAsk::Rooms),
            ["user", extension, setting] => self.set_user(extension, setting),
            ["list", extension] => self.ask(AdminAsk::Mailbox {
                extension: extension.into(),
            }),
            ["import", extension, ms] => self.import(extension, number(ms)),
            _ => return false,
        }
        true
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
        let (view, ids) = self.log.restart(self.now);
        self.legs.clear();
        self.inbox.clear();
        self.stopped = false;
        self.pbx = Pbx::new(self.config.clone(), view, ids, self.now);
    }

    /// Until nothing is under way: hands over, takes what is asked for, lets the log answer.
    fn settle(&mut self) {
        loop {
            while let Some(output) = self.pbx.poll() {
                let line = self.names.show(&output);
                // What can be watched is seen by whether it can.
                let is_shown = !matches!(output, Output::Sip(SipCommand::Watchable { .. }));
                if is_shown && !line.is_empty() {
                    self.said.push(line);
                }
                self.take(output);
            }
            if let Some(input) = self.inbox.pop_front() {
                self.pbx.handle(self.now, input);
            } else if let Some(event) = self.log.answer(self.now) {
                self.on_log(event);
            } else {
                break;
            }
        }
        self.faults.append(&mut self.log.faults);
    }

    fn on_log(&mut self, event: LogEvent) {
        // A chunk that was refused ends its recording; the engine hears of it, not call control.
        if matches!(
            event,
            LogEvent::Refused {
                token: TOKEN_CHUNK,
                ..
            }
        ) {
            let recording = |leg: &Leg| leg.recording.as_ref().map(|r| r.sound);
            let sound = self.log.refused_chunk.take();
            let leg = self
                .legs
                .iter()
                .find(|(_, leg)| sound.is_some() && recording(leg) == sound);
            if let Some(leg) = leg.map(|(leg, _)| *leg) {
                self.recorded(leg, RecordEnd::LogRefused);
            } else if let Some(sound) = sound {
                self.tap_ended(sound, RecordEnd::LogRefused);
            }
        }
        self.pbx.handle(self.now, Input::Log(event));
    }
}

fn node() -> tandem_storage::name::NodeName {
    NODE.parse().expect("a constant that is a node name")
}
