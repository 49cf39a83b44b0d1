//! One call: the caller's line and the phase it is in.
//!
//! A call is made when a leg comes in and is over when its phase is [`Phase::Done`]. Each phase is
//! a type of its own with its timers in it; it is handed an event together with the line and the
//! shared state, and gives back the phase that follows. What is common to all (the caller hangs up or
//! falls silent, the node stops, keys typed ahead) is decided here.
//!
//! ```text
//! routing ─► Ringing ─► Talking
//!    │          └─► Answering ─► Deposit ─► Announcement ─► Done
//!    └─────────────────┴─► Login ─► Session │ Clock │ Setting │ Echo
//! ```
//!
//! Invariants: a call whose caller has gone stays only while a recording of it waits for its
//! seal. Every phase that nobody outside is bound to end has a deadline. A leg that ended is
//! never spoken of again.

pub(crate) mod codes;
pub(crate) mod ending;
pub(crate) mod ringing;
pub(crate) mod routing;
pub(crate) mod talking;

use std::collections::VecDeque;
use std::sync::Arc;

use tandem_engine::seam::{Codec, Command, LegId, PlayId, RecordEnd};
use tandem_storage::name::Id;
use tandem_storage::seam::Token;
use tandem_storage::time::{Time, WallTime};

use crate::call::codes::{Clock, Setting};
use crate::call::ending::{Announcement, AwaitingSeal};
use crate::call::ringing::Ringing;
use crate::call::routing::Answering;
use crate::call::talking::Talking;
use crate::guard::Verdict;
use crate::say::Say;
use crate::seam::{Caller, Cause, SipCommand};
use crate::state::{CallId, PbxState};
use crate::voicemail::deposit::Deposit;
use crate::voicemail::login::Login;
use crate::voicemail::session::Session;

/// Keys typed ahead that are kept.
const TYPED_MAX: usize = 32;

/// What a call is told.
#[derive(Clone, Debug)]
pub(crate) enum CallEvent {
    /// The caller's side of the answer is complete.
    Confirmed(Codec),
    /// The phone we call rings.
    OutRinging(LegId),
    /// It speaks before it answers.
    OutProgress(LegId),
    /// It is forwarded to this number, and has ended.
    OutRedirected(LegId, Arc<str>),
    /// It was answered.
    OutAnswered(LegId),
    /// It ended, or refused.
    OutGone(LegId, Cause),
    /// The caller has gone.
    CallerGone(Cause),
    /// A leg of the call fell silent.
    Silent(LegId),
    /// A key was pressed; `signalled`: in SIP, so that the other side has not heard it.
    Digit {
        leg: LegId,
        digit: char,
        signalled: bool,
    },
    /// Something was said to its end.
    PlayDone(PlayId),
    /// Something of what is being said is encrypted, and the key is not here.
    SoundLocked(PlayId),
    /// A recording ended.
    RecordDone {
        sound: Id,
        samples: u64,
        samples_speech: u64,
        end: RecordEnd,
    },
    /// What was written is durable.
    Committed(Token),
    /// What was written was refused.
    Refused(Token),
    /// A PIN was checked.
    PinChecked(Verdict),
    /// A new PIN was hashed, or could not be.
    PinHashed(Option<Arc<str>>),
    /// The first piece of another node's sound is here.
    RemoteFetches(Id),
    /// Nothing more comes of another node's sound; true: it is whole.
    Fetched(Id, bool),
    /// The phase's deadline has come.
    Timer,
    /// The node stops now.
    Stop,
}

/// The caller's side of a call.
#[derive(Debug)]
pub(crate) struct CallerLeg {
    pub(crate) leg: LegId,
    pub(crate) caller: Caller,
    pub(crate) dialed: Arc<str>,
    /// The caller is there.
    pub(crate) alive: bool,
    pub(crate) codec: Codec,
    pub(crate) started: WallTime,
    pub(crate) answered: Option<WallTime>,
    /// How it ended, once it has.
    pub(crate) cause: Cause,
    /// The message that was left.
    pub(crate) message: Option<Id>,
    /// The legs whose parties hold the others.
    held_by: Vec<LegId>,
    /// Keys that came while none was wanted.
    typed: VecDeque<char>,
}

/// Where a call is.
pub(crate) enum Phase {
    /// A phone rings.
    Ringing(Ringing),
    /// Two people talk.
    Talking(Talking),
    /// We have answered; the caller has not confirmed yet.
    Answering(Answering),
    /// The caller hears itself.
    Echo,
    /// The caller hears the time.
    Clock(Clock),
    /// A setting is being written.
    Setting(Setting),
    /// Last words.
    Announcement(Announcement),
    /// The caller leaves a message.
    Deposit(Deposit),
    /// The caller says whose messages it wants to hear.
    Login(Login),
    /// The caller hears messages.
    Session(Box<Session>),
    /// The caller has gone; what it said waits for its seal.
    AwaitingSeal(AwaitingSeal),
    /// It is over.
    Done,
}

/// See the chapter above.
pub(crate) struct Call {
    pub(crate) line: CallerLeg,
    pub(crate) phase: Phase,
    /// The deadline that is noted for it outside.
    pub(crate) noted: Option<Time>,
}

impl CallerLeg {
    pub(crate) fn new(
        leg: LegId,
        caller: Caller,
        dialed: Arc<str>,
        started: WallTime,
    ) -> CallerLeg {
        CallerLeg {
            leg,
            caller,
            dialed,
            alive: true,
            codec: Codec::Pcmu,
            started,
            answered: None,
            cause: Cause::Normal,
            message: None,
            held_by: Vec::new(),
            typed: VecDeque::new(),
        }
    }

    pub(crate) fn id(&self) -> CallId {
        self.leg
    }

    /// Answers the caller.
    pub(crate) fn answer(&mut self, x: &mut PbxState, like: Option<LegId>) {
        self.answered = Some(x.now.wall);
        x.counters.calls_answered += 1;
        x.sip(SipCommand::Answer {
            leg: self.leg,
            like,
        });
    }

    /// A party of the call holds the others, or does no longer.
    pub(crate) fn hold(&mut self, leg: LegId, held: bool) {
        self.held_by.retain(|holder| *holder != leg);
        if held {
            self.held_by.push(leg);
        }
    }

    /// Which party holds the others, for people.
    pub(crate) fn holder(&self) -> Option<&'static str> {
        let by_caller = self.held_by.contains(&self.leg);
        match (by_caller, self.held_by.len()) {
            (_, 0) => None,
            (true, 1) => Some("caller"),
            (false, _) => Some("called"),
            (true, _) => Some("both"),
        }
    }

    /// Says something, in place of what was being said.
    pub(crate) fn say(&self, x: &mut PbxState, say: Say) -> PlayId {
        let play = x.new_play();
        let (items, open) = say.into_items();
        x.media(Command::Play {
            leg: self.leg,
            play,
            items,
        });
        if let Some(open) = open {
            x.is_heard(self.leg, play, open);
        }
        play
    }

    /// Falls silent.
    pub(crate) fn stop_playback(&self, x: &mut PbxState) {
        x.media(Command::StopPlay { leg: self.leg });
    }

    /// Ends the caller's leg, if it is still there.
    pub(crate) fn end(&mut self, x: &mut PbxState, cause: Cause) {
        if self.alive {
            self.gone(cause);
            x.sip(SipCommand::End {
                leg: self.leg,
                cause,
            });
        }
    }

    fn gone(&mut self, cause: Cause) {
        self.alive = false;
        self.cause = cause;
    }
}

impl Call {
    /// A leg has come in.
    pub(crate) fn new(mut line: CallerLeg, x: &mut PbxState) -> Call {
        let phase = routing::start(&mut line, x);
        Call {
            line,
            phase,
            noted: None,
        }
    }

    /// Takes in an event, and then the keys that were typed ahead if they are wanted now.
    pub(crate) fn on(&mut self, x: &mut PbxState, event: &CallEvent) {
        match event {
            CallEvent::CallerGone(cause) => self.caller_gone(x, *cause),
            CallEvent::Silent(leg) if *leg == self.line.leg => self.hang_up(x, Cause::MediaTimeout),
            CallEvent::Stop => self.hang_up(x, Cause::ShuttingDown),
            CallEvent::Digit { digit, .. } if !self.phase.wants_keys() => {
                self.type_ahead(x, *digit);
            }
            _ => self.step(x, event),
        }
        while self.phase.wants_keys()
            && let Some(digit) = self.line.typed.pop_front()
        {
            let leg = self.line.leg;
            self.step(
                x,
                &CallEvent::Digit {
                    leg,
                    digit,
                    signalled: false,
                },
            );
        }
    }

    fn step(&mut self, x: &mut PbxState, event: &CallEvent) {
        let phase = std::mem::replace(&mut self.phase, Phase::Done);
        self.phase = phase.on(&mut self.line, x, event);
    }

    fn caller_gone(&mut self, x: &mut PbxState, cause: Cause) {
        if self.line.alive {
            self.line.gone(cause);
            self.wind_up(x);
        }
    }

    fn hang_up(&mut self, x: &mut PbxState, cause: Cause) {
        if self.line.alive {
            self.line.end(x, cause);
            self.wind_up(x);
        }
    }

    fn wind_up(&mut self, x: &mut PbxState) {
        let phase = std::mem::replace(&mut self.phase, Phase::Done);
        self.phase = phase.caller_gone(&mut self.line, x);
        x.forget_leg(self.line.leg);
    }

    fn type_ahead(&mut self, x: &mut PbxState, digit: char) {
        if self.line.typed.len() < TYPED_MAX {
            self.line.typed.push_back(digit);
        } else {
            x.counters.digits_dropped += 1;
        }
    }
}

impl Phase {
    fn on(self, line: &mut CallerLeg, x: &mut PbxState, event: &CallEvent) -> Phase {
        match self {
            Phase::Ringing(phase) => phase.on(line, x, event),
            Phase::Talking(phase) => phase.on(line, x, event),
            Phase::Answering(phase) => phase.on(line, x, event),
            Phase::Clock(phase) => phase.on(line, x, event),
            Phase::Setting(phase) => phase.on(line, x, event),
            Phase::Announcement(phase) => phase.on(line, x, event),
            Phase::Deposit(phase) => phase.on(line, x, event),
            Phase::Login(phase) => phase.on(line, x, event),
            Phase::Session(phase) => phase.on(line, x, event),
            Phase::AwaitingSeal(phase) => phase.on(line, x, event),
            Phase::Echo | Phase::Done => self,
        }
    }

    fn caller_gone(self, line: &mut CallerLeg, x: &mut PbxState) -> Phase {
        match self {
            Phase::Ringing(phase) => phase.caller_gone(line, x),
            Phase::Talking(phase) => phase.caller_gone(line, x),
            Phase::Deposit(phase) => phase.caller_gone(line, x),
            Phase::Session(phase) => phase.caller_gone(x),
            // The setting is on its way to the disk and stands, heard or not.
            Phase::Setting(_)
            | Phase::Answering(_)
            | Phase::Echo
            | Phase::Clock(_)
            | Phase::Announcement(_)
            | Phase::Login(_)
            | Phase::Done => Phase::Done,
            Phase::AwaitingSeal(_) => self,
        }
    }

    /// When it wants to hear of [`CallEvent::Timer`].
    pub(crate) fn deadline(&self) -> Option<Time> {
        match self {
            Phase::Ringing(phase) => Some(phase.deadline()),
            Phase::Answering(phase) => Some(phase.until),
            Phase::Clock(phase) => phase.until,
            Phase::Setting(phase) => phase.deadline(),
            Phase::Announcement(phase) => Some(phase.until),
            Phase::Deposit(phase) => phase.deadline(),
            Phase::Login(phase) => phase.deadline(),
            Phase::Session(phase) => phase.deadline(),
            Phase::AwaitingSeal(phase) => phase.deadline(),
            Phase::Talking(_) | Phase::Echo | Phase::Done => None,
        }
    }

    /// Keys mean something now (or nothing ever); otherwise they are kept for later.
    fn wants_keys(&self) -> bool {
        match self {
            Phase::Answering(_) | Phase::Setting(_) => false,
            Phase::Deposit(phase) => phase.wants_keys(),
            Phase::Login(phase) => phase.wants_keys(),
            Phase::Session(phase) => phase.wants_keys(),
            _ => true,
        }
    }

    /// For people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Phase::Ringing(_) => "ringing",
            Phase::Talking(_) => "talking",
            Phase::Answering(_) => "answering",
            Phase::Echo => "echo",
            Phase::Clock(_) => "clock",
            Phase::Setting(_) => "setting",
            Phase::Announcement(_) => "announcement",
            Phase::Deposit(_) => "leaving a message",
            Phase::Login(_) => "logging in",
            Phase::Session(_) => "hearing messages",
            Phase::AwaitingSeal(_) => "sealing",
            Phase::Done => "over",
        }
    }
}
