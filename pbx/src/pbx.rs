//! The core: hands each input to whom it concerns.
//!
//! Whoever runs it calls [`Pbx::handle`] with each input, then [`Pbx::poll`] until it is empty,
//! and [`Pbx::tick`] when [`Pbx::deadline`] has come. It owns the board with its legs, and the state
//! that all of them share; what becomes of a leg is decided by the place it is in.
//!
//! Invariant: a leg is on the board from its first event until nothing of it is left to wait for; then
//! it gets its record in the call log ([`crate::call_log`]).

use std::collections::BTreeSet;

use tandem_engine::seam::{Event, LegId};
use tandem_storage::View;
use tandem_storage::compaction::Input as CompactionInput;
use tandem_storage::compaction::ask::Question;
use tandem_storage::name::{Id, Ids};
use tandem_storage::seam::{LogEvent, Refusal, Token};
use tandem_storage::time::{Now, Time};

use crate::app::Next;
use crate::call::LegEvent;
use crate::call::board::{Board, TimerOf};
use crate::call::leg::{Direction, Leg};
use crate::call::outward::OutsideLeg;
use crate::call::routing::{self, Dialer};
use crate::call::watched::Watched;
use crate::call::when_free::WhenFree;
use crate::call_log;
use crate::config::PbxConfig;
use crate::counters::Counters;
use crate::events::ToldLegs;
use crate::imports::Imports;
use crate::recordings;
use crate::retention;
use crate::returned;
use crate::seam::{Caller, Cause, DIVERSIONS_MAX, Input, Output, SipCommand, SipEvent};
use crate::state::{PbxState, Waiter};
use crate::voicemail::login::note_verdict;

/// Call control. See the chapter above.
pub struct Pbx {
    pub(crate) x: PbxState,
    pub(crate) board: Board,
    pub(crate) watched: Watched,
    pub(crate) when_free: WhenFree,
    pub(crate) imports: Imports,
    /// Records of legs that wait for what the engine counted.
    pub(crate) records: call_log::Waiting,
    /// Legs as whoever watches was told of them.
    pub(crate) told: ToldLegs,
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
    /// Call control over what the view says. Its first outputs are all users, their lamps, and what else
    /// can be watched.
    pub fn new(config: PbxConfig, view: View, ids: Ids, now: Now) -> Pbx {
        Pbx {
            x: PbxState::new(config, view, ids, now),
            board: Board::default(),
            watched: Watched::default(),
            when_free: WhenFree::default(),
            imports: Imports::default(),
            records: call_log::Waiting::default(),
            told: ToldLegs::new(),
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
            Input::PinHashed { leg, hash } => self.tell(leg, &LegEvent::PinHashed(hash)),
            Input::Fetched { sound, found } => self.on_fetched(sound, found),
            Input::NodeAway(node) => self.x.end_sounds_of(node),
            Input::Admin(request) => self.on_admin(request),
            Input::Sweep => {
                retention::sweep(&mut self.x);
                recordings::sweep(&mut self.x);
                returned::sweep(&mut self.x);
                self.x.sweep_toll();
            }
            Input::Watch(is_watched) => self.on_watch(is_watched),
            Input::Drain => self.on_drain(),
            Input::Stop => self.on_stop(),
        }
        self.call_who_is_free();
        self.after_moves();
        self.check_stopped();
    }

    /// The next thing to be done.
    pub fn poll(&mut self) -> Option<Output> {
        self.x.poll()
    }

    /// When to call [`Pbx::tick`], at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let deadlines = [
            self.board.deadline(),
            self.records.deadline(),
            self.board.recordings.deadline(),
            self.when_free.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        self.x.now = now;
        for whose in self.board.due(now.mono) {
            match whose {
                TimerOf::Leg(id) => self.tell(id, &LegEvent::Timer),
                TimerOf::Dial(id) => self.dial_due(id),
            }
        }
        self.write_due_records();
        self.recordings_due();
        self.forget_when_free();
        self.call_who_is_free();
        self.after_moves();
        self.check_stopped();
    }

    /// Whoever watches is told what has changed; and who is recorded may have come to where it is not.
    fn after_moves(&mut self) {
        self.tell_watched();
        let touched = self.board.take_touched_legs();
        let touched: BTreeSet<LegId> = touched.into_iter().collect();
        for leg in &touched {
            self.check_recorded(*leg);
        }
        self.tell_legs(touched);
    }

    /// What has been seen so far.
    pub fn counters(&self) -> &Counters {
        &self.x.counters
    }

    /// What the log says, as far as it has been told.
    pub fn view(&self) -> &View {
        &self.x.view
    }

    /// Answers what the log's compaction asks of the view.
    pub fn answer_compaction(&mut self, now: Now, question: Question) -> CompactionInput {
        question.answer(&mut self.x.view, now.wall)
    }

    /// Calls there are now: those where somebody rings, those where people talk, and those who are
    /// alone with the machine.
    pub fn calls_len(&self) -> usize {
        self.board.calls_len()
    }

    /// Recordings of calls that there are.
    pub fn recordings_len(&self) -> usize {
        self.x.recordings.len()
    }

    /// Legs there are now.
    pub fn legs_len(&self) -> usize {
        self.board.legs.len()
    }

    /// Who calls outside more than is allowed, in words.
    pub fn toll_alarms(&self) -> Vec<String> {
        self.x.toll_alarms()
    }

    /// Mailboxes that take no PIN now, after wrong ones.
    pub fn mailboxes_paused(&self, now: Time) -> usize {
        self.x.guard.paused_count(now)
    }

    /// This leg is in some place.
    pub fn knows_leg(&self, leg: LegId) -> bool {
        self.board.legs.get(&leg).is_some_and(|leg| leg.is_alive)
    }

    fn on_sip(&mut self, event: SipEvent) {
        match event {
            SipEvent::Incoming {
                leg,
                caller,
                dialed,
                replaces,
                diversions,
                trunk,
            } => {
                let caller = self.with_class(known(caller));
                let mut incoming = Leg::incoming(leg, caller, cut(&dialed), &self.x);
                incoming.outside = trunk.map(|trunk| OutsideLeg { trunk, by: None });
                incoming.diversions = diversions;
                incoming.diversions.truncate(DIVERSIONS_MAX);
                self.on_incoming(incoming, replaces);
            }
            SipEvent::Refer {
                leg,
                to,
                replaces,
                referred_by,
            } => self.refer(leg, &cut(&to), replaces, referred_by),
            SipEvent::Ringing { leg } => {
                self.leg_rings(leg);
                self.tell(leg, &LegEvent::Ringing);
            }
            SipEvent::Progress { leg } => self.tell(leg, &LegEvent::Progress),
            SipEvent::Redirected { leg, to } => self.tell(leg, &LegEvent::Redirected(cut(&to))),
            SipEvent::Answered { leg, codec } => self.tell(leg, &LegEvent::Answered(codec)),
            SipEvent::Confirmed { leg, codec } => self.tell(leg, &LegEvent::Confirmed(codec)),
            SipEvent::Ended { leg, cause } => self.tell(leg, &LegEvent::Ended(cause)),
            SipEvent::Digit { leg, digit } => self.on_digit(leg, digit, true),
            SipEvent::PhoneCame { user } => self.x.tell_lamp(user),
            SipEvent::PhoneSeen { user, slot, seen } => self.x.phone_seen(user, slot, seen),
            SipEvent::Watched { what, is_watched } => self.on_watched(what, is_watched),
            SipEvent::Text { number, caller, to } => self.on_text(number, &caller, &cut(&to)),
            SipEvent::Held { leg, held } => self.tell(leg, &LegEvent::Held(held)),
        }
    }

    /// A user may call what the office says.
    fn with_class(&self, caller: Caller) -> Caller {
        let user = caller.user.map(|user| self.x.office.settings(user).class());
        Caller {
            class: user.unwrap_or(caller.class),
            ..caller
        }
    }

    /// Where a call goes that comes in: by a trunk to whatever its number is for.
    fn next_of(&mut self, incoming: &mut Leg) -> Next {
        if let Some(OutsideLeg { trunk, .. }) = incoming.outside.clone() {
            let Some((trunk, extension)) = self.x.office.outside.meant(trunk, &incoming.dialed)
            else {
                return Next::End(Cause::NoSuchNumber);
            };
            incoming.outside = Some(OutsideLeg { trunk, by: None });
            incoming.dialed = extension;
        }
        routing::start(&Dialer::of(incoming), &mut self.x)
    }

    fn on_incoming(&mut self, mut incoming: Leg, replaces: Option<LegId>) {
        let leg = incoming.id;
        if self.board.legs.contains_key(&leg) {
            self.x.counters.events_stray += 1;
            return;
        }
        self.x.counters.calls += 1;
        if let Some(cause) = self.refuses() {
            self.x.counters.end(cause);
            return self.x.sip(SipCommand::End { leg, cause });
        }
        let next = match replaces {
            None => Some(self.next_of(&mut incoming)),
            Some(_) => None,
        };
        self.board.insert_leg(incoming);
        let next = match (next, replaces) {
            (None, Some(replaced)) => self.take_over(leg, replaced).err().map(Next::End),
            (next, _) => next,
        };
        if let Some(next) = next {
            self.go(leg, next);
        }
    }

    /// Why no call is taken now.
    fn refuses(&mut self) -> Option<Cause> {
        if self.stage != Stage::Running {
            return Some(Cause::ShuttingDown);
        }
        if self.is_full() {
            self.x.counters.refused_full += 1;
            return Some(Cause::Congestion);
        }
        None
    }

    /// Calls are taken, and made.
    pub(crate) fn is_running(&self) -> bool {
        self.stage == Stage::Running
    }

    /// No more calls can begin.
    pub(crate) fn is_full(&self) -> bool {
        self.board.incoming_len() >= self.x.config.calls_max
    }

    fn on_digit(&mut self, leg: LegId, digit: char, signalled: bool) {
        if matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D') {
            self.tell(leg, &LegEvent::Digit { digit, signalled });
        } else {
            self.x.counters.events_stray += 1;
        }
    }

    fn on_media(&mut self, event: Event) {
        match event {
            Event::Digit { leg, digit } => self.on_digit(leg, digit, false),
            Event::PlayDone { leg, play } => self.tell(leg, &LegEvent::PlayDone(play)),
            Event::SoundLocked { leg, play } => self.tell(leg, &LegEvent::SoundLocked(play)),
            // Told after the party has gone as well.
            Event::RecordDone {
                leg,
                sound,
                samples,
                samples_speech,
                end,
            } => self.tell(
                leg,
                &LegEvent::RecordDone {
                    sound,
                    samples,
                    samples_speech,
                    end,
                },
            ),
            Event::MediaTimeout { leg } => self.tell(leg, &LegEvent::Silent),
            Event::TapDone { report, .. } => self.tap_done(*report),
            Event::RoomFull { leg } => self.tell(leg, &LegEvent::RoomFull),
            Event::Closed { leg, report } => self.media_closed(leg, report),
        }
    }

    fn on_log(&mut self, event: LogEvent) {
        match event {
            LogEvent::Committed { token, record } => {
                self.x.apply(&record);
                for sound in self.x.take_news() {
                    self.tell_all(&LegEvent::RemoteFetches(sound));
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
            Some(Waiter::Leg(id)) => {
                let event = match refused {
                    Some(_) => LegEvent::Refused(token),
                    None => LegEvent::Committed(token),
                };
                self.tell(id, &event);
            }
            // Refused or not: the pause holds while the node runs.
            Some(Waiter::Pin(leg, verdict)) => self.tell(leg, &LegEvent::PinChecked(verdict)),
            Some(Waiter::Asker(asker)) => self.on_asker_answer(asker, refused),
            Some(Waiter::Import(id)) => self.on_import_answer(id, refused),
            Some(Waiter::Track(sound)) => self.track_answered(sound, refused.is_some()),
            Some(Waiter::Nobody) | None => {}
        }
    }

    fn on_pin_checked(&mut self, leg: LegId, right: bool) {
        let Some((mailbox, verdict)) = self.x.guard.verdict(leg, right, &self.x.config) else {
            self.x.counters.events_stray += 1;
            return;
        };
        if !note_verdict(&mut self.x, leg, mailbox, verdict) {
            self.tell(leg, &LegEvent::PinChecked(verdict));
        }
    }

    fn on_fetched(&mut self, sound: Id, found: bool) {
        if self.x.on_fetched(sound, found) {
            self.tell_all(&LegEvent::Fetched(sound, found));
        }
    }

    /// Everybody, those who called first.
    fn tell_all(&mut self, event: &LegEvent) {
        let (incoming, outgoing): (Vec<&Leg>, Vec<&Leg>) = self
            .board
            .legs
            .values()
            .partition(|leg| leg.direction == Direction::In);
        let all = incoming.into_iter().chain(outgoing).map(|leg| leg.id);
        for id in all.collect::<Vec<LegId>>() {
            if self.board.legs.contains_key(&id) {
                self.tell(id, event);
            }
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
            // Nobody is called back any more.
            self.when_free = WhenFree::default();
            self.tell_all(&LegEvent::Stop);
        }
    }

    fn check_stopped(&mut self) {
        if self.stage == Stage::Stopping
            && self.board.legs.is_empty()
            && self.imports.is_empty()
            && self.records.is_empty()
            && self.board.recordings.is_empty()
            && self.x.all_answered()
        {
            self.stage = Stage::Stopped;
            self.x.push(Output::Stopped);
        }
    }
}

/// A caller whose number and name are no longer than they may be.
fn known(caller: Caller) -> Caller {
    Caller {
        number: cut(&caller.number),
        name: cut(&caller.name),
        ..caller
    }
}

fn cut(text: &str) -> std::sync::Arc<str> {
    text.chars().take(NUMBER_LEN_MAX).collect::<String>().into()
}
