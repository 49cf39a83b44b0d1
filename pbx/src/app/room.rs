//! A party at a room: at its door, and in it.
//!
//! [`Entrance`] asks for the PIN, if the room has one; hosts have another. [`InRoom`] is who is in: it
//! hears the others, waits with music while it is alone, and has a menu behind `*`. What concerns the
//! others as well is asked for as a [`RoomAct`] and done in `call/conference.rs`.
//!
//! | key behind `*` | does | who |
//! |---|---|---|
//! | 1 | mutes oneself, or no longer | all who may speak |
//! | 2 | locks or unlocks the room | hosts |
//! | 3 | says how many there are | all |
//! | 4, 6 | the others softer, louder | all |
//! | 5 | mutes all but the hosts | hosts |
//! | 7 | removes who came last | hosts |
//! | 9 | only hosts are heard, or everybody again | hosts |
//! | 0 | ends the meeting for all | hosts |
//! | `#` | leaves | all |
//! | `*` | goes back | all |

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::{Member, PlayId};
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::app::{App, Next};
use crate::call::conference::ConferenceId;
use crate::call::{Leg, LegEvent};
use crate::guard::Verdict;
use crate::say::Say;
use crate::seam::Output;
use crate::state::PbxState;
use crate::voicemail::question::{Question, Reply};
use crate::words;

/// A check takes a moment; this is for one that is never answered.
const CHECK_WAIT: Duration = Duration::from_secs(30);
/// A step of louder or softer, and how far it goes, in decibels.
const VOLUME_STEP_DB: i8 = 4;
const VOLUME_DB_MAX: i8 = 12;

/// Somebody at the door of a room.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entrance {
    room: Id,
    tries: u32,
    step: Door,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Door {
    Asking(Question),
    /// The PIN of hosts is tried first.
    CheckingHost(Arc<str>, Time),
    CheckingGuest(Time),
}

/// Somebody in a room.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InRoom {
    pub(crate) conference: ConferenceId,
    pub(crate) is_host: bool,
    pub(crate) is_muted: bool,
    /// It was called in to hear something, and is asked for nothing.
    pub(crate) is_paged: bool,
    hears_gain_db: i8,
    step: Step,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Step {
    /// It hears the others.
    Among,
    /// It is alone, with music.
    Alone(PlayId),
    Menu(Question),
}

/// What a member of a room asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoomAct {
    /// To hear the room again.
    Back,
    /// Its rights have changed.
    Update,
    Count,
    Lock,
    MuteOthers,
    RemoveLast,
    Lecture,
    EndForAll,
    Leave,
}

impl Entrance {
    /// Asks for the PIN, or lets in at once where there is none.
    pub(crate) fn start(leg: &Leg, x: &mut PbxState, room: Id) -> Next {
        let settings = x.office.settings(room);
        if settings.pin.is_none() && settings.host_pin.is_none() {
            let is_host = leg.party.user.is_some();
            return Next::EnterRoom(room, is_host);
        }
        Entrance::ask(leg, x, room, 0, Say::new())
    }

    fn ask(leg: &Leg, x: &mut PbxState, room: Id, tries: u32, first: Say) -> Next {
        if leg.party.user.is_none() && x.guard.is_paused(room, x.now.mono) {
            return Next::goodbye(Say::one(words::PIN_LOCKED));
        }
        let question = Question::number(leg, x, first.word(words::ROOM_ENTER_PIN));
        Next::Stay(App::Entrance(Entrance {
            room,
            tries,
            step: Door::Asking(question),
        }))
    }

    pub(crate) fn on(mut self, leg: &Leg, x: &mut PbxState, event: &LegEvent) -> Next {
        match &mut self.step {
            Door::Asking(question) => match question.on(leg, x, event) {
                Some(Reply::Number(pin)) => self.on_pin(leg, x, pin.into()),
                Some(_) => Next::goodbye(Say::new()),
                None => Next::Stay(App::Entrance(self)),
            },
            Door::CheckingHost(pin, _) => {
                let pin = pin.clone();
                self.on_host_checked(leg, x, &pin, event)
            }
            Door::CheckingGuest(_) => self.on_guest_checked(leg, x, event),
        }
    }

    fn on_pin(self, leg: &Leg, x: &mut PbxState, pin: Arc<str>) -> Next {
        let settings = x.office.settings(self.room);
        // Where only hosts need a PIN, the others come in without one.
        if pin.is_empty() && settings.pin.is_none() {
            return Next::EnterRoom(self.room, false);
        }
        match settings.host_pin {
            Some(hash) if !pin.is_empty() => {
                let is_last = settings.pin.is_none();
                let until = self.check(leg, x, hash, &pin, is_last);
                let step = Door::CheckingHost(pin, until);
                Next::Stay(App::Entrance(Entrance { step, ..self }))
            }
            _ => self.check_guest(leg, x, &pin),
        }
    }

    fn check_guest(self, leg: &Leg, x: &mut PbxState, pin: &Arc<str>) -> Next {
        let hash = x.office.settings(self.room).pin;
        let Some(hash) = hash.filter(|_| !pin.is_empty()) else {
            return self.wrong(leg, x);
        };
        let step = Door::CheckingGuest(self.check(leg, x, hash, pin, true));
        Next::Stay(App::Entrance(Entrance { step, ..self }))
    }

    /// `is_last`: if it is not this PIN, it is the wrong one.
    fn check(
        &self,
        leg: &Leg,
        x: &mut PbxState,
        hash: Arc<str>,
        pin: &Arc<str>,
        is_last: bool,
    ) -> Time {
        if is_last && leg.party.user.is_none() {
            x.guard.charge(leg.id, self.room, x.now.mono, &x.config);
        } else {
            x.guard.check(leg.id, self.room);
        }
        let (leg, pin) = (leg.id, pin.clone());
        x.push(Output::CheckPin { leg, hash, pin });
        x.after(CHECK_WAIT)
    }

    fn on_host_checked(
        self,
        leg: &Leg,
        x: &mut PbxState,
        pin: &Arc<str>,
        event: &LegEvent,
    ) -> Next {
        match event {
            LegEvent::PinChecked(Verdict::Right { .. }) => Next::EnterRoom(self.room, true),
            LegEvent::PinChecked(Verdict::Wrong) => self.check_guest(leg, x, pin),
            LegEvent::PinChecked(Verdict::Pause(_)) => too_many(),
            LegEvent::Timer => Next::goodbye(Say::one(words::COULD_NOT)),
            _ => Next::Stay(App::Entrance(self)),
        }
    }

    fn on_guest_checked(self, leg: &Leg, x: &mut PbxState, event: &LegEvent) -> Next {
        match event {
            LegEvent::PinChecked(Verdict::Right { .. }) => Next::EnterRoom(self.room, false),
            LegEvent::PinChecked(Verdict::Wrong) => self.wrong(leg, x),
            LegEvent::PinChecked(Verdict::Pause(_)) => too_many(),
            LegEvent::Timer => Next::goodbye(Say::one(words::COULD_NOT)),
            _ => Next::Stay(App::Entrance(self)),
        }
    }

    fn wrong(self, leg: &Leg, x: &mut PbxState) -> Next {
        let tries = self.tries + 1;
        if tries >= x.config.pin_tries {
            return Next::goodbye(Say::one(words::TOO_MANY_TRIES));
        }
        Entrance::ask(leg, x, self.room, tries, Say::one(words::PIN_INCORRECT))
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        Some(match &self.step {
            Door::Asking(question) => question.until,
            Door::CheckingHost(_, until) | Door::CheckingGuest(until) => *until,
        })
    }

    pub(crate) fn wants_digits(&self) -> bool {
        matches!(self.step, Door::Asking(_))
    }
}

fn too_many() -> Next {
    let said = Say::one(words::PIN_INCORRECT)
        .word(words::TOO_MANY_TRIES)
        .word(words::TRY_AGAIN_LATER);
    Next::goodbye(said)
}

impl InRoom {
    pub(crate) fn new(conference: ConferenceId, is_host: bool) -> InRoom {
        InRoom {
            conference,
            is_host,
            is_muted: false,
            is_paged: false,
            hears_gain_db: 0,
            step: Step::Among,
        }
    }

    /// One who was called in to hear something.
    pub(crate) fn paged(conference: ConferenceId) -> InRoom {
        InRoom {
            is_paged: true,
            ..InRoom::new(conference, false)
        }
    }

    /// What the engine lets it do. `may_talk`: the meeting lets it be heard.
    pub(crate) fn member(&self, may_talk: bool) -> Member {
        Member {
            talks: u8::from(may_talk && !self.is_muted),
            hears_gain_db: self.hears_gain_db,
            ..Member::TALKER
        }
    }

    /// It is alone from now on: it hears music, unless it is in the menu.
    pub(crate) fn is_alone(&mut self, leg: &Leg, x: &mut PbxState, first: Say) {
        if let Step::Among = self.step {
            self.step = Step::Alone(leg.say(x, first.then(Say::music())));
        }
    }

    pub(crate) fn on(mut self, leg: &Leg, x: &mut PbxState, event: &LegEvent) -> Next {
        if let LegEvent::RoomFull = event {
            return Next::Room(self, RoomAct::Leave);
        }
        match (&mut self.step, event) {
            (Step::Menu(question), _) => match question.on(leg, x, event) {
                Some(Reply::Key(key)) => self.on_key(leg, x, key),
                Some(_) => self.back(RoomAct::Back),
                None => Next::Stay(App::Room(self)),
            },
            (Step::Alone(music), LegEvent::PlayDone(play)) if music == play => {
                self.step = Step::Alone(leg.say(x, Say::music()));
                Next::Stay(App::Room(self))
            }
            (_, LegEvent::Digit { digit: '*', .. }) if !self.is_paged => {
                let say = match self.is_host {
                    true => Say::one(words::ROOM_MENU).word(words::ROOM_HOST_MENU),
                    false => Say::one(words::ROOM_MENU),
                };
                self.step = Step::Menu(Question::key(leg, x, say));
                Next::Stay(App::Room(self))
            }
            _ => Next::Stay(App::Room(self)),
        }
    }

    /// A key of the menu.
    fn on_key(mut self, leg: &Leg, x: &mut PbxState, key: char) -> Next {
        match key {
            '1' => {
                self.is_muted = !self.is_muted;
                let word = match self.is_muted {
                    true => words::ROOM_MUTED,
                    false => words::ROOM_UNMUTED,
                };
                leg.say(x, Say::one(word));
                self.back(RoomAct::Update)
            }
            '4' | '6' => {
                let step_db = if key == '4' {
                    -VOLUME_STEP_DB
                } else {
                    VOLUME_STEP_DB
                };
                let gain_db = self.hears_gain_db + step_db;
                self.hears_gain_db = gain_db.clamp(-VOLUME_DB_MAX, VOLUME_DB_MAX);
                self.back(RoomAct::Update)
            }
            '3' => self.back(RoomAct::Count),
            '#' => self.back(RoomAct::Leave),
            '2' if self.is_host => self.back(RoomAct::Lock),
            '5' if self.is_host => self.back(RoomAct::MuteOthers),
            '7' if self.is_host => self.back(RoomAct::RemoveLast),
            '9' if self.is_host => self.back(RoomAct::Lecture),
            '0' if self.is_host => self.back(RoomAct::EndForAll),
            _ => self.back(RoomAct::Back),
        }
    }

    /// Out of the menu.
    fn back(mut self, act: RoomAct) -> Next {
        self.step = Step::Among;
        Next::Room(self, act)
    }

    /// Another has come: it is no longer alone.
    pub(crate) fn has_company(&mut self, leg: &Leg, x: &mut PbxState) {
        if let Step::Alone(_) = self.step {
            leg.stop_playback(x);
            self.step = Step::Among;
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match &self.step {
            Step::Menu(question) => Some(question.until),
            _ => None,
        }
    }
}
