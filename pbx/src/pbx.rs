//! The core: hands each input to whom it concerns.
//!
//! Whoever runs it calls [`Pbx::handle`] with each input, then [`Pbx::poll`] until it is empty,
//! and [`Pbx::tick`] when [`Pbx::deadline`] has come. It owns the calls, their timers, and the
//! state that all calls share; it decides nothing about a single call.
//!
//! Invariants: a call is in `calls` from its first event until its phase is done; then its line
//! goes into the call log. `timers` holds exactly the deadlines of the calls there are. Calls are
//! visited in the order of their names, so that one seed replays one world.

use std::collections::{BTreeMap, BTreeSet};

use tandem_engine::seam::{Event, LegId};
use tandem_storage::View;
use tandem_storage::compaction::Input as CleanerInput;
use tandem_storage::compaction::ask::Question;
use tandem_storage::name::{Id, Ids};
use tandem_storage::seam::{LogEvent, Refusal, Token};
use tandem_storage::time::{Now, Time};

use crate::call::{Call, CallEvent, CallerLeg, Phase};
use crate::config::PbxConfig;
use crate::counters::Counters;
use crate::imports::Imports;
use crate::retention;
use crate::returned;
use crate::seam::{Caller, Cause, Input, Output, SipCommand, SipEvent};
use crate::state::{CallId, PbxState, Waiter};
use crate::voicemail::login::note_verdict;

/// Call control. See the chapter above.
pub struct Pbx {
    pub(crate) x: PbxState,
    pub(crate) calls: BTreeMap<CallId, Call>,
    pub(crate) imports: Imports,
    timers: BTreeSet<(Time, CallId)>,
    stage: Stage,
}

/// How far this node is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Draining,
    Stopping,
    Stopped,
}

/// Longer numbers and names are cut; the shim does so too.
const NUMBER_LEN_MAX: usize = 64;

impl Pbx {
    /// Call control over what the view says. Its first outputs are all users and their lamps.
    pub fn new(config: PbxConfig, view: View, ids: Ids, now: Now) -> Pbx {
        Pbx {
            x: PbxState::new(config, view, ids, now),
            calls: BTreeMap::new(),
            imports: Imports::default(),
            timers: BTreeSet::new(),
            stage: Stage::Running,
        }
    }

    /// Takes new settings. Calls that are up may still go by the old ones.
    pub fn configure(&mut self, config: PbxConfig) {
        self.x.configure(config);
    }

    /// Takes in an input.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.x.now = now;
        match input {
            Input::Sip(event) => self.on_sip(event),
            Input::Media(event) => self.on_media(event),
            Input::Log(event) => self.on_log(event),
            Input::PinChecked { leg, right } => self.on_pin_checked(leg, right),
            Input::PinHashed { leg, hash } => self.tell(leg, &CallEvent::PinHashed(hash)),
            Input::Fetched { sound, found } => self.on_fetched(sound, found),
            Input::NodeAway(node) => self.x.end_sounds_of(node),
            Input::Admin(request) => self.on_admin(request),
            Input::Sweep => {
                retention::sweep(&mut self.x);
                returned::sweep(&mut self.x);
            }
            Input::Drain => self.on_drain(),
            Input::Stop => self.on_stop(),
        }
        self.check_stopped();
    }

    /// The next thing to be done.
    pub fn poll(&mut self) -> Option<Output> {
        self.x.poll()
    }

    /// When to call [`Pbx::tick`], at the latest.
    pub fn deadline(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        self.x.now = now;
        let due: Vec<CallId> = self
            .timers
            .range(..=(now.mono, LegId(u64::MAX)))
            .map(|(_, id)| *id)
            .collect();
        for id in due {
            self.tell(id, &CallEvent::Timer);
        }
        self.check_stopped();
    }

    /// What has been seen so far.
    pub fn counters(&self) -> &Counters {
        &self.x.counters
    }

    /// What the log says, as far as it has been told.
    pub fn view(&self) -> &View {
        &self.x.view
    }

    /// Answers what the log's cleaner asks of the view.
    pub fn answer_cleaner(&mut self, now: Now, question: Question) -> CleanerInput {
        question.answer(&mut self.x.view, now.wall)
    }

    /// Calls there are now.
    pub fn calls_len(&self) -> usize {
        self.calls.len()
    }

    /// Mailboxes that take no PIN now, after wrong ones.
    pub fn mailboxes_paused(&self, now: Time) -> usize {
        self.x.guard.paused_count(now)
    }

    /// This leg still leads to a call.
    pub fn knows_leg(&self, leg: LegId) -> bool {
        self.x.call_of(leg).is_some()
    }

    fn on_sip(&mut self, event: SipEvent) {
        match event {
            SipEvent::Incoming {
                leg,
                caller,
                dialed,
            } => self.on_incoming(leg, caller, &dialed),
            SipEvent::Ringing { leg } => self.tell_of(leg, &CallEvent::OutRinging(leg)),
            SipEvent::Progress { leg } => self.tell_of(leg, &CallEvent::OutProgress(leg)),
            SipEvent::Redirected { leg, to } => {
                self.tell_of(leg, &CallEvent::OutRedirected(leg, cut(&to)));
            }
            SipEvent::Answered { leg } => self.tell_of(leg, &CallEvent::OutAnswered(leg)),
            SipEvent::Confirmed { leg, codec } => self.tell(leg, &CallEvent::Confirmed(codec)),
            SipEvent::Ended { leg, cause } => self.on_ended(leg, cause),
            SipEvent::Digit { leg, digit } => self.on_digit(leg, digit, true),
            SipEvent::PhoneCame { user } => self.x.tell_lamp(user),
            SipEvent::PhoneSeen { user, slot, seen } => self.x.phone_seen(user, slot, seen),
            // The engine silences a held party; no call goes another way because of it.
            SipEvent::Held { leg, held } => {
                let call = self.x.call_of(leg);
                if let Some(call) = call.and_then(|call| self.calls.get_mut(&call)) {
                    call.line.hold(leg, held);
                }
            }
        }
    }

    fn on_incoming(&mut self, leg: LegId, caller: Caller, dialed: &str) {
        if self.calls.contains_key(&leg) {
            self.x.counters.events_stray += 1;
            return;
        }
        self.x.counters.calls += 1;
        if let Some(cause) = self.refuses() {
            self.x.counters.end(cause);
            return self.x.sip(SipCommand::End { leg, cause });
        }
        let caller = Caller {
            number: cut(&caller.number),
            name: cut(&caller.name),
            ..caller
        };
        self.x.leg_of(leg, leg);
        let line = CallerLeg::new(leg, caller, cut(dialed), self.x.now.wall);
        let call = Call::new(line, &mut self.x);
        self.calls.insert(leg, call);
        self.settle(leg);
    }

    /// Why no call is taken now.
    fn refuses(&mut self) -> Option<Cause> {
        if self.stage != Stage::Running {
            return Some(Cause::ShuttingDown);
        }
        if self.calls.len() >= self.x.config.calls_max {
            self.x.counters.refused_full += 1;
            return Some(Cause::Congestion);
        }
        None
    }

    fn on_ended(&mut self, leg: LegId, cause: Cause) {
        let event = match self.x.call_of(leg) {
            Some(call) if call == leg => CallEvent::CallerGone(cause),
            _ => CallEvent::OutGone(leg, cause),
        };
        self.tell_of(leg, &event);
    }

    fn on_digit(&mut self, leg: LegId, digit: char, signalled: bool) {
        if matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D') {
            self.tell_of(
                leg,
                &CallEvent::Digit {
                    leg,
                    digit,
                    signalled,
                },
            );
        } else {
            self.x.counters.events_stray += 1;
        }
    }

    fn on_media(&mut self, event: Event) {
        match event {
            Event::Digit { leg, digit } => self.on_digit(leg, digit, false),
            Event::PlayDone { leg, play } => self.tell_of(leg, &CallEvent::PlayDone(play)),
            Event::SoundLocked { leg, play } => {
                self.tell_of(leg, &CallEvent::SoundLocked(play));
            }
            Event::RecordDone {
                leg,
                sound,
                samples,
                samples_speech,
                end,
            } => {
                // Told after the leg has gone as well: only callers are recorded, and a call
                // bears its caller's name.
                self.tell(
                    leg,
                    &CallEvent::RecordDone {
                        sound,
                        samples,
                        samples_speech,
                        end,
                    },
                );
            }
            Event::MediaTimeout { leg } => self.tell_of(leg, &CallEvent::Silent(leg)),
            Event::Closed { .. } => {}
        }
    }

    fn on_log(&mut self, event: LogEvent) {
        match event {
            LogEvent::Committed { token, record } => {
                self.x.apply(&record);
                for sound in self.x.take_news() {
                    self.tell_all(&CallEvent::RemoteFetches(sound));
                }
                self.on_answer(token, None);
            }
            LogEvent::Refused { token, why } => {
                self.x.counters.log_refused += 1;
                self.on_answer(token, Some(why));
            }
            LogEvent::Room { can_record } => self.x.can_record = can_record,
        }
    }

    fn on_answer(&mut self, token: Token, refused: Option<Refusal>) {
        match self.x.answered(token) {
            Some(Waiter::Call(id)) => {
                let event = match refused {
                    Some(_) => CallEvent::Refused(token),
                    None => CallEvent::Committed(token),
                };
                self.tell(id, &event);
            }
            // Refused or not: the pause holds while the node runs.
            Some(Waiter::Pin(leg, verdict)) => self.tell(leg, &CallEvent::PinChecked(verdict)),
            Some(Waiter::Asker(asker)) => self.on_asker_answer(asker, refused),
            Some(Waiter::Import(id)) => self.on_import_answer(id, refused),
            Some(Waiter::Nobody) | None => {}
        }
    }

    fn on_pin_checked(&mut self, leg: LegId, right: bool) {
        let Some((mailbox, verdict)) = self.x.guard.verdict(leg, right, &self.x.config) else {
            self.x.counters.events_stray += 1;
            return;
        };
        if !note_verdict(&mut self.x, leg, mailbox, verdict) {
            self.tell(leg, &CallEvent::PinChecked(verdict));
        }
    }

    fn on_fetched(&mut self, sound: Id, found: bool) {
        if self.x.on_fetched(sound, found) {
            self.tell_all(&CallEvent::Fetched(sound, found));
        }
    }

    fn tell_all(&mut self, event: &CallEvent) {
        for id in self.calls.keys().copied().collect::<Vec<_>>() {
            self.tell(id, event);
        }
    }

    fn on_drain(&mut self) {
        if self.stage == Stage::Running {
            self.stage = Stage::Draining;
        }
    }

    fn on_stop(&mut self) {
        if matches!(self.stage, Stage::Running | Stage::Draining) {
            self.stage = Stage::Stopping;
            self.tell_all(&CallEvent::Stop);
        }
    }

    fn check_stopped(&mut self) {
        if self.stage == Stage::Stopping
            && self.calls.is_empty()
            && self.imports.is_empty()
            && self.x.all_answered()
        {
            self.stage = Stage::Stopped;
            self.x.push(Output::Stopped);
        }
    }

    /// Tells the call that a leg belongs to.
    fn tell_of(&mut self, leg: LegId, event: &CallEvent) {
        match self.x.call_of(leg) {
            Some(id) => self.tell(id, event),
            None => self.x.counters.events_stray += 1,
        }
    }

    /// Tells a call.
    fn tell(&mut self, id: CallId, event: &CallEvent) {
        match self.calls.get_mut(&id) {
            Some(call) => call.on(&mut self.x, event),
            None => return self.x.counters.events_stray += 1,
        }
        self.settle(id);
    }

    /// Notes a call's deadline, or strikes it off if it is over.
    fn settle(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let over = matches!(call.phase, Phase::Done);
        let deadline = call.phase.deadline();
        if call.noted != deadline || over {
            if let Some(noted) = call.noted.take() {
                self.timers.remove(&(noted, id));
            }
            if let Some(deadline) = deadline {
                self.timers.insert((deadline, id));
                call.noted = Some(deadline);
            }
        }
        if over && let Some(call) = self.calls.remove(&id) {
            call.log(&mut self.x);
        }
    }
}

fn cut(text: &str) -> std::sync::Arc<str> {
    text.chars().take(NUMBER_LEN_MAX).collect::<String>().into()
}
