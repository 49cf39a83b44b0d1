//! A dial: an attempt to get somebody on the line.
//!
//! It rings targets, step by step, for a leg that waits; the first to answer is connected with it, the
//! others are told that the call was answered elsewhere. If nobody answers, what follows was said when
//! the dial began ([`Otherwise`]): as a rule the mailbox of the one who was dialled. A phone may also
//! forward the call itself (302). An answer may cross with our giving up: whoever's word goes out first
//! holds, and what still comes for an ended leg is ignored.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::{Codec, Command, LegId};
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::app::{Next, Start};
use crate::call::leg::{Leg, LegState, Place};
use crate::call::parking::Parking;
use crate::call::routing::goes_on;
use crate::pbx::Pbx;
use crate::say::Say;
use crate::seam::{Caller, Cause, SipCommand};
use crate::voicemail::deposit::Reason;

/// Who waits hears ringing after this long, though no phone has said yet that it rings.
const RING_AFTER: Duration = Duration::from_secs(1);

/// A dial's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct DialId(pub(crate) u64);

/// What is to be tried, and what follows if nobody answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DialRequest {
    /// One after the other.
    pub(crate) steps: VecDeque<Step>,
    /// Whose phones the call has been at, the present one last: it goes to nobody twice.
    pub(crate) passed: Vec<Id>,
    pub(crate) otherwise: Otherwise,
}

/// Who is rung at once, and for how long.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) targets: Vec<Target>,
    pub(crate) ring_for: Duration,
}

/// Somebody to be rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Target {
    /// All phones of a user.
    User(Id),
}

/// What follows if nobody answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Otherwise {
    /// This mailbox takes the call.
    Mailbox(Id),
    /// The one who waits is parked again.
    Park(Parking),
}

/// See the chapter above.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Dial {
    /// For whom.
    waits: LegId,
    /// Who transferred it there, and waits for the outcome.
    referrer: Option<LegId>,
    /// Who is shown to those who are rung.
    shown: Caller,
    request: DialRequest,
    rings: Vec<LegId>,
    /// Why those who were rung did not come, as far as it says something about them.
    cause: Cause,
    tone: Tone,
    /// When the one who waits is to hear ringing at the latest.
    ring_at: Time,
    /// When the present step ends.
    until: Time,
    /// The deadline that is noted for it outside.
    #[serde(skip)]
    pub(crate) noted: Option<Time>,
}

/// What the one who waits hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Tone {
    Nothing,
    /// Ringing: made by the party's own phone, or by us if it has been answered already.
    Ringing,
    /// What the called side says.
    Early,
}

impl DialRequest {
    /// A user's phones, or those of whom the user's calls go to; the last of `passed`.
    pub(crate) fn user(called: Id, passed: Vec<Id>, ring_for: Duration) -> DialRequest {
        let user = passed.last().copied().unwrap_or(called);
        let step = Step {
            targets: vec![Target::User(user)],
            ring_for,
        };
        DialRequest {
            steps: VecDeque::from([step]),
            passed,
            otherwise: Otherwise::Mailbox(called),
        }
    }
}

impl Otherwise {
    fn next(self, cause: Cause) -> Next {
        match self {
            Otherwise::Mailbox(mailbox) => {
                let reason = match cause {
                    Cause::Busy => Reason::Busy,
                    _ => Reason::Unavailable,
                };
                Next::Start(Start::Deposit(mailbox, reason))
            }
            Otherwise::Park(parking) => Next::Start(Start::Parked(parking)),
        }
    }
}

impl Dial {
    /// When it wants to be looked at.
    pub(crate) fn deadline(&self) -> Time {
        match self.tone {
            Tone::Nothing => self.ring_at.min(self.until),
            _ => self.until,
        }
    }

    /// Every leg it has to do with.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn legs(&self) -> impl Iterator<Item = LegId> {
        std::iter::once(self.waits).chain(self.rings.iter().copied())
    }

    /// If nobody answers, the one who waits goes back to this slot.
    pub(crate) fn parks_at(&self, slot: u32) -> bool {
        matches!(self.request.otherwise, Otherwise::Park(parking) if parking.slot == slot)
    }
}

impl Pbx {
    /// Rings somebody for a leg, which was perhaps transferred there.
    pub(crate) fn dial(&mut self, waits: LegId, request: DialRequest, referrer: Option<LegId>) {
        let id = DialId(self.board.new_place());
        let now = self.x.now.mono;
        let Some(leg) = self.board.legs.get_mut(&waits) else {
            return;
        };
        leg.place = Place::Waits(id);
        let dial = Dial {
            waits,
            referrer,
            shown: leg.party.clone(),
            request,
            rings: Vec::new(),
            cause: Cause::NoAnswer,
            tone: Tone::Nothing,
            ring_at: now + RING_AFTER,
            until: now,
            noted: None,
        };
        self.board.note_leg(waits);
        self.board.dials.insert(id, dial);
        self.next_step(id);
    }

    /// Rings those of the next step; if there is none, nobody has answered.
    fn next_step(&mut self, id: DialId) {
        let Some(dial) = self.board.dials.get_mut(&id) else {
            return;
        };
        let Some(step) = dial.request.steps.pop_front() else {
            return self.nobody_answered(id);
        };
        dial.until = self.x.now.mono + step.ring_for;
        for target in step.targets {
            self.ring(id, target);
        }
        self.board.note_dial(id);
    }

    fn ring(&mut self, id: DialId, target: Target) {
        let Some(dial) = self.board.dials.get_mut(&id) else {
            return;
        };
        let Target::User(user) = target;
        let Some(party) = self.x.party(user) else {
            return;
        };
        let leg = self.x.new_leg();
        dial.rings.push(leg);
        self.x.sip(SipCommand::Call {
            leg,
            user,
            caller: dial.shown.clone(),
            like: Some(dial.waits),
        });
        let dialed = party.number.clone();
        let mut called = Leg::outgoing(leg, party, dialed, &self.x);
        called.place = Place::Rings(id);
        self.board.legs.insert(leg, called);
    }

    /// One of those who are rung rings.
    pub(crate) fn target_rings(&mut self, id: DialId) {
        let Some(dial) = self.board.dials.get_mut(&id) else {
            return;
        };
        if dial.tone != Tone::Nothing {
            return;
        }
        dial.tone = Tone::Ringing;
        let waits = dial.waits;
        self.sound_ringing(waits);
        self.board.note_dial(id);
    }

    /// Who waits hears that it rings.
    fn sound_ringing(&mut self, waits: LegId) {
        let Some(leg) = self.board.legs.get(&waits) else {
            return;
        };
        match leg.state {
            LegState::Offered => self.x.sip(SipCommand::Ring { leg: waits }),
            _ => drop(leg.say(&mut self.x, Say::ringing())),
        }
    }

    /// What was played to who waits has come to its end.
    pub(crate) fn ringing_played(&mut self, id: DialId, waits: LegId) {
        let dial = self.board.dials.get(&id);
        if dial.is_some_and(|dial| dial.tone == Tone::Ringing) {
            self.sound_ringing(waits);
        }
    }

    /// Another leg waits in the place of the one that did.
    pub(crate) fn wait_instead(&mut self, id: DialId, waits: LegId) {
        let Some(dial) = self.board.dials.get_mut(&id) else {
            return;
        };
        dial.waits = waits;
        let (tone, rings) = (dial.tone, dial.rings.first().copied());
        if let Some(leg) = self.board.legs.get_mut(&waits) {
            leg.place = Place::Waits(id);
        }
        self.board.note_leg(waits);
        match (tone, rings) {
            (Tone::Ringing, _) => self.sound_ringing(waits),
            (Tone::Early, Some(b)) => self.x.media(Command::Bridge { a: waits, b }),
            _ => {}
        }
    }

    /// One of those who are rung speaks before it answers. Of several nobody knows whom to hear.
    pub(crate) fn target_progresses(&mut self, id: DialId, leg: LegId) {
        let Some(dial) = self.board.dials.get_mut(&id) else {
            return;
        };
        if dial.rings.len() > 1 {
            return self.target_rings(id);
        }
        dial.tone = Tone::Early;
        let waits = dial.waits;
        let offered = self.board.legs.get(&waits);
        if offered.is_some_and(|waits| waits.state == LegState::Offered) {
            self.x.sip(SipCommand::Progress {
                leg: waits,
                like: Some(leg),
            });
        }
        self.x.media(Command::Bridge { a: waits, b: leg });
        self.board.note_dial(id);
    }

    /// The phone forwards the call itself: whoever it names is rung in its place.
    pub(crate) fn target_redirects(&mut self, id: DialId, leg: LegId, to: &str) {
        self.over(leg);
        let Some(dial) = self.board.dials.get_mut(&id) else {
            return;
        };
        dial.rings.retain(|other| *other != leg);
        let user = self.x.office.by_extension(to);
        let passed = dial.request.passed.clone();
        match user.and_then(|user| goes_on(&self.x, user, passed)) {
            Some(passed) => {
                let user = passed[passed.len() - 1];
                dial.request.passed = passed;
                dial.until = self.x.after(self.x.config.ring_for);
                self.ring(id, Target::User(user));
                self.board.note_dial(id);
            }
            None => self.target_lost(id),
        }
    }

    /// One of those who are rung has answered, with this codec, or another leg for them: it is connected,
    /// the others are not needed.
    pub(crate) fn target_answers(&mut self, id: DialId, leg: LegId, codec: Option<Codec>) {
        let Some(dial) = self.board.remove_dial(id) else {
            return;
        };
        if let (Some(leg), Some(codec)) = (self.board.legs.get_mut(&leg), codec) {
            leg.state = LegState::Up;
            leg.codec = codec;
            leg.answered = Some(self.x.now.wall);
        }
        let others = dial.rings.iter().filter(|other| **other != leg);
        self.end_all(others.copied().collect(), Cause::AnsweredElsewhere);
        self.bridge(dial.waits, leg);
        if let Some(referrer) = dial.referrer {
            self.transferred(referrer);
        }
    }

    /// One of those who are rung refused, or could not be reached.
    pub(crate) fn target_gone(&mut self, id: DialId, leg: LegId, cause: Cause) {
        self.over(leg);
        if let Some(dial) = self.board.dials.get_mut(&id) {
            dial.rings.retain(|other| *other != leg);
            dial.cause = cause;
        }
        self.target_lost(id);
    }

    fn target_lost(&mut self, id: DialId) {
        let rings = self.board.dials.get(&id);
        if rings.is_some_and(|dial| dial.rings.is_empty()) {
            self.next_step(id);
        }
    }

    /// Its deadline has come.
    pub(crate) fn dial_due(&mut self, id: DialId) {
        let Some(dial) = self.board.dials.get_mut(&id) else {
            return;
        };
        if self.x.now.mono < dial.until {
            return self.target_rings(id);
        }
        let rings = std::mem::take(&mut dial.rings);
        dial.cause = Cause::NoAnswer;
        self.end_all(rings, Cause::NoAnswer);
        self.next_step(id);
    }

    fn nobody_answered(&mut self, id: DialId) {
        if let Some(dial) = self.board.remove_dial(id) {
            let next = dial.request.otherwise.next(dial.cause);
            self.go(dial.waits, next);
            if let Some(referrer) = dial.referrer {
                self.transferred(referrer);
            }
        }
    }

    /// Who waited has gone.
    pub(crate) fn dial_abandoned(&mut self, id: DialId, cause: Cause) {
        let Some(dial) = self.board.remove_dial(id) else {
            return;
        };
        let cause = match cause {
            Cause::AnsweredElsewhere => Cause::AnsweredElsewhere,
            _ => Cause::Cancelled,
        };
        self.end_all(dial.rings, cause);
        if let Some(referrer) = dial.referrer {
            self.transferred(referrer);
        }
    }

    fn end_all(&mut self, legs: Vec<LegId>, cause: Cause) {
        for id in legs {
            if let Some(leg) = self.board.legs.get_mut(&id) {
                leg.place = Place::Between;
                leg.end(&mut self.x, cause);
            }
            self.over(id);
        }
    }
}

/// A user as the party of a leg that goes out.
impl crate::state::PbxState {
    pub(crate) fn party(&self, user: Id) -> Option<Caller> {
        let account = self.office.account(user)?;
        Some(Caller {
            user: Some(user),
            number: Arc::clone(&account.extension),
            name: Arc::clone(&account.name),
            is_withheld: false,
            class: crate::seam::ClassOfService::Internal,
        })
    }
}
