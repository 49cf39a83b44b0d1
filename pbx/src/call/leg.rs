//! A leg: one party's line, a SIP dialog and its media under one number.
//!
//! Invariants: a leg is in exactly one place. A leg that has ended (`!is_alive`) is asked for nothing
//! more; it stays only while its application waits for a seal.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::{Codec, Command, LegId, PlayId};
use tandem_storage::name::Id;
use tandem_storage::time::{Time, WallTime};

use crate::app::App;
use crate::app::room::InRoom;
use crate::call::bridge::{BridgeId, KeysPressed};
use crate::call::dial::DialId;
use crate::call::history::History;
use crate::call::outward::OutsideLeg;
use crate::say::Say;
use crate::seam::{Caller, Cause, Diversion, SipCommand};
use crate::state::PbxState;
use crate::voicemail::question::Question;

/// Digits typed ahead that are kept.
const TYPED_MAX: usize = 32;

/// See the chapter above.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Leg {
    pub(crate) id: LegId,
    pub(crate) direction: Direction,
    /// Whose line it is.
    pub(crate) party: Caller,
    /// What was dialled, by the party or for it.
    pub(crate) dialed: Arc<str>,
    pub(crate) state: LegState,
    /// The party holds the others.
    pub(crate) holds: bool,
    pub(crate) is_alive: bool,
    pub(crate) codec: Codec,
    pub(crate) started: WallTime,
    pub(crate) answered: Option<WallTime>,
    /// How it ended, once it has.
    pub(crate) cause: Cause,
    /// The message that was left.
    pub(crate) message: Option<Id>,
    pub(crate) place: Place,
    /// It is a trunk's.
    pub(crate) outside: Option<OutsideLeg>,
    /// Where its call has been before it came here, the first line first.
    pub(crate) diversions: Vec<Diversion>,
    /// The groups that its call goes through, or went through to whom it talks with.
    pub(crate) through: Vec<Id>,
    /// What it has been through.
    pub(crate) history: History,
    /// It is asked where the one whom it talks with is to be transferred.
    pub(crate) asking: Option<Question>,
    pub(crate) keys_pressed: Option<KeysPressed>,
    /// The recording that its words are written into.
    pub(crate) recording: Option<Id>,
    /// Digits that came while none was wanted.
    typed: VecDeque<char>,
    /// The deadline that is noted for it outside.
    #[serde(skip)]
    pub(crate) noted: Option<Time>,
    /// The parking slot that it is noted for outside.
    #[serde(skip)]
    pub(crate) noted_slot: Option<u32>,
}

/// Who called whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// The party called us.
    In,
    /// We called the party.
    Out,
}

/// How far the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LegState {
    /// It came in and has not been answered.
    Offered,
    /// It goes out and has not been answered.
    Ringing,
    /// We have answered; the party has not confirmed.
    Answered,
    /// Both sides know that they are connected.
    Up,
}

/// Where a leg is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Place {
    /// It waits for somebody to answer.
    Waits(DialId),
    /// It is one of those that are rung.
    Rings(DialId),
    /// It hears others.
    Bridge(BridgeId),
    /// It is alone with the machine.
    App(Box<App>),
    /// Nowhere: it is on its way from one to the other, or out.
    Between,
}

impl Leg {
    /// A call that came in.
    pub(crate) fn incoming(id: LegId, party: Caller, dialed: Arc<str>, x: &PbxState) -> Leg {
        let state = LegState::Offered;
        Leg::new(id, Direction::In, party, dialed, state, x)
    }

    /// A call that goes out.
    pub(crate) fn outgoing(id: LegId, party: Caller, dialed: Arc<str>, x: &PbxState) -> Leg {
        let state = LegState::Ringing;
        Leg::new(id, Direction::Out, party, dialed, state, x)
    }

    fn new(
        id: LegId,
        direction: Direction,
        party: Caller,
        dialed: Arc<str>,
        state: LegState,
        x: &PbxState,
    ) -> Leg {
        Leg {
            id,
            direction,
            party,
            dialed,
            state,
            holds: false,
            is_alive: true,
            codec: Codec::Pcmu,
            started: x.now.wall,
            answered: None,
            cause: Cause::Normal,
            message: None,
            place: Place::Between,
            outside: None,
            diversions: Vec::new(),
            through: Vec::new(),
            history: History::first(id),
            asking: None,
            keys_pressed: None,
            recording: None,
            typed: VecDeque::new(),
            noted: None,
            noted_slot: None,
        }
    }

    /// Answers the party, with a codec like that of another leg if there is one.
    pub(crate) fn answer(&mut self, x: &mut PbxState, like: Option<LegId>) {
        if self.state != LegState::Offered {
            return;
        }
        self.state = LegState::Answered;
        self.answered = Some(x.now.wall);
        x.counters.calls_answered += 1;
        x.sip(SipCommand::Answer { leg: self.id, like });
    }

    /// Says something, in place of what was being said.
    pub(crate) fn say(&self, x: &mut PbxState, say: Say) -> PlayId {
        let play = x.new_play();
        let (items, open) = say.into_items();
        x.media(Command::Play {
            leg: self.id,
            play,
            items,
        });
        if let Some(open) = open {
            x.is_heard(self.id, play, open);
        }
        play
    }

    /// Falls silent.
    pub(crate) fn stop_playback(&self, x: &mut PbxState) {
        x.media(Command::StopPlay { leg: self.id });
    }

    /// Ends the leg, if its party is still there.
    pub(crate) fn end(&mut self, x: &mut PbxState, cause: Cause) {
        if self.is_alive {
            self.gone(cause);
            x.sip(SipCommand::End {
                leg: self.id,
                cause,
            });
        }
    }

    /// The party has gone by itself.
    pub(crate) fn gone(&mut self, cause: Cause) {
        self.is_alive = false;
        self.cause = cause;
    }

    /// Keeps a digit for later.
    pub(crate) fn type_ahead(&mut self, x: &mut PbxState, digit: char) {
        if self.typed.len() < TYPED_MAX {
            self.typed.push_back(digit);
        } else {
            x.counters.digits_dropped += 1;
        }
    }

    /// The next digit that was kept, if one is wanted now.
    pub(crate) fn take_typed(&mut self) -> Option<char> {
        match self.wants_digits() {
            true => self.typed.pop_front(),
            false => None,
        }
    }

    /// Digits mean something now, or nothing ever; otherwise they are kept for later.
    pub(crate) fn wants_digits(&self) -> bool {
        match &self.place {
            Place::App(app) => app.wants_digits(),
            _ => true,
        }
    }

    /// It is in a room.
    pub(crate) fn in_room(&self) -> Option<&InRoom> {
        match &self.place {
            Place::App(app) => match &**app {
                App::Room(app) => Some(app),
                _ => None,
            },
            _ => None,
        }
    }

    /// When its application wants to hear of [`crate::call::LegEvent::Timer`].
    pub(crate) fn deadline(&self) -> Option<Time> {
        match &self.place {
            Place::App(app) => app.deadline(),
            Place::Bridge(_) => self.asking.as_ref().map(|question| question.until),
            _ => None,
        }
    }
}
