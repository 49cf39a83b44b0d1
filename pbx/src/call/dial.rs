//! A dial: an attempt to get somebody on the line.
//!
//! It rings targets, step by step, for a leg that waits; the first to answer is connected with it, the
//! others are told that the call was answered elsewhere. If nobody answers, what follows was said when
//! the dial began ([`Otherwise`]): as a rule the mailbox of the one who was dialled. A phone may also
//! forward the call itself (302). An answer may cross with our giving up: whoever's word goes out first
//! holds, and what still comes for an ended leg is ignored.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::{Codec, Command, LegId};
use tandem_storage::time::Time;

use crate::app::{Next, Start};
use crate::call::conference::ConferenceId;
use crate::call::dial_request::{DialRequest, DialTarget, Otherwise, Trail};
use crate::call::groups;
use crate::call::leg::{LegState, Place};
use crate::call::outward;
use crate::call::routing::{self, Dialer};
use crate::pbx::Pbx;
use crate::say::Say;
use crate::seam::{Caller, Cause, Diversion, DiversionReason, SipCommand};
use crate::voicemail::deposit::Reason;

mod ring;

/// Who waits hears ringing after this long, though no phone has said yet that it rings.
const RING_AFTER: Duration = Duration::from_secs(1);

/// A dial's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct DialId(pub(crate) u64);

/// See the chapter above.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Dial {
    /// For whom; `None`: for nobody yet.
    waits: Option<LegId>,
    /// Who answers a dial for nobody calls this number then.
    calls: Arc<str>,
    /// Who answers a dial for nobody comes into this conference.
    joins: Option<ConferenceId>,
    /// Who transferred it there, and waits for the outcome.
    referrer: Option<LegId>,
    /// Who is shown to those who are rung.
    shown: Caller,
    request: DialRequest,
    /// Where the call has been, as those of the present step are told.
    diversions: Vec<Diversion>,
    rings: Vec<LegId>,
    /// A number outside was tried.
    went_outside: bool,
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

impl Dial {
    /// Who is shown to those who are rung.
    pub(crate) fn shown(&self) -> &Caller {
        &self.shown
    }

    /// Where the call has been.
    fn trail(&self) -> Trail {
        Trail {
            passed: self.request.passed.clone(),
            diversions: self.diversions.clone(),
            caller: Some(self.shown.clone()),
        }
    }

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
        self.waits.into_iter().chain(self.rings.iter().copied())
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
        let Some(leg) = self.board.legs.get_mut(&waits) else {
            return;
        };
        leg.place = Place::Waits(id);
        leg.history.rings(&self.x, &request);
        let shown = leg.party.clone();
        self.note_through(waits, &request.passed);
        self.board.note_leg(waits);
        self.start_dial(id, Some(waits), shown, request, referrer);
    }

    /// Rings a user's phones; who answers is connected with the number.
    pub(crate) fn dial_first(&mut self, shown: Caller, request: DialRequest, number: &str) {
        let id = DialId(self.board.new_place());
        self.start_dial(id, None, shown, request, None);
        if let Some(dial) = self.board.dials.get_mut(&id) {
            dial.calls = number.into();
        }
    }

    /// Rings a user's phones; who answers comes into a conference.
    pub(crate) fn dial_into(
        &mut self,
        conference: ConferenceId,
        shown: Caller,
        request: DialRequest,
    ) {
        let id = DialId(self.board.new_place());
        self.start_dial(id, None, shown, request, None);
        if let Some(dial) = self.board.dials.get_mut(&id) {
            dial.joins = Some(conference);
        }
    }

    /// Nobody is wanted in a conference any more.
    pub(crate) fn cancel_dials_into(&mut self, conference: ConferenceId) {
        let dials = self.board.dials.iter();
        let dials = dials.filter(|(_, dial)| dial.joins == Some(conference));
        for id in dials.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(dial) = self.board.remove_dial(id) {
                self.end_all(dial.rings, Cause::Cancelled);
            }
        }
    }

    fn start_dial(
        &mut self,
        id: DialId,
        waits: Option<LegId>,
        shown: Caller,
        request: DialRequest,
        referrer: Option<LegId>,
    ) {
        let now = self.x.now.mono;
        let dial = Dial {
            waits,
            calls: Arc::from(""),
            joins: None,
            referrer,
            shown,
            request,
            diversions: Vec::new(),
            rings: Vec::new(),
            went_outside: false,
            cause: Cause::NoAnswer,
            tone: Tone::Nothing,
            ring_at: now + RING_AFTER,
            until: now,
            noted: None,
        };
        self.board.dials.insert(id, dial);
        self.next_step(id);
    }

    /// Rings those of the next step that has anybody; if there is none, nobody has answered.
    fn next_step(&mut self, id: DialId) {
        while let Some(dial) = self.board.dials.get_mut(&id) {
            let Some(step) = dial.request.steps.pop_front() else {
                return self.nobody_answered(id);
            };
            // Whoever spoke before it answered is gone: who waits hears ringing again.
            if dial.tone == Tone::Early {
                dial.tone = Tone::Nothing;
                dial.ring_at = self.x.now.mono + RING_AFTER;
            }
            let skips_busy = dial.request.skips_busy;
            dial.until = self.x.now.mono + step.ring_for;
            dial.diversions = step.diversions;
            for target in step.targets {
                match target {
                    DialTarget::User(user) if skips_busy && self.board.is_on_the_phone(user) => {}
                    DialTarget::User(user) => self.ring_user(id, user),
                    DialTarget::Outside(call) => self.ring_outside(id, &call),
                }
            }
            let rings = self.board.dials.get(&id).map_or(0, |dial| dial.rings.len());
            if rings > 0 {
                return self.board.note_dial(id);
            }
        }
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
        if let Some(waits) = dial.waits {
            self.sound_ringing(waits);
        }
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
        dial.waits = Some(waits);
        if let Some(leg) = self.board.legs.get(&waits) {
            dial.shown = leg.party.clone();
        }
        let rung = dial.rings.clone();
        let passed = dial.request.passed.clone();
        let (tone, rings) = (dial.tone, dial.rings.first().copied());
        if let Some(leg) = self.board.legs.get_mut(&waits) {
            leg.place = Place::Waits(id);
        }
        self.note_through(waits, &passed);
        self.board.note_leg(waits);
        rung.into_iter().for_each(|leg| self.board.note_leg(leg));
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
        let Some(waits) = dial.waits.filter(|_| dial.rings.len() == 1) else {
            return self.target_rings(id);
        };
        dial.tone = Tone::Early;
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
        let user = self.board.legs.get(&leg).and_then(|leg| leg.party.user);
        self.over(leg);
        let Some(dial) = self.board.dials.get_mut(&id) else {
            return;
        };
        dial.rings.retain(|other| *other != leg);
        let mut trail = dial.trail();
        if let Some(user) = user {
            trail.divert(&self.x, user, DiversionReason::Deflected);
        }
        let Some(request) = groups::onward(&mut self.x, to, trail) else {
            return self.target_lost(id);
        };
        dial.request.passed = request.passed.clone();
        for step in request.steps.into_iter().rev() {
            dial.request.steps.push_front(step);
        }
        if let Some(waits) = dial.waits {
            self.note_through(waits, &request.passed);
        }
        self.target_lost(id);
    }

    /// One of those who are rung has answered, with this codec, or another leg for them: it is connected,
    /// the others are not needed.
    pub(crate) fn target_answers(&mut self, id: DialId, leg: LegId, codec: Option<Codec>) {
        let Some(dial) = self.board.remove_dial(id) else {
            return;
        };
        if let (Some(leg), Some(codec)) = (self.board.legs.get_mut(&leg), codec) {
            self.x.counters.calls_out_answered += 1;
            leg.state = LegState::Up;
            leg.codec = codec;
            leg.answered = Some(self.x.now.wall);
        }
        let others = dial.rings.iter().filter(|other| **other != leg);
        self.end_all(others.copied().collect(), Cause::AnsweredElsewhere);
        match dial.waits {
            Some(waits) => self.bridge(waits, leg),
            None => match dial.joins {
                Some(conference) => self.paged(leg, conference),
                None => self.call_on(leg, &dial.calls),
            },
        }
        if let Some(referrer) = dial.referrer {
            self.transferred(referrer);
        }
    }

    /// One of those who are rung refused, or could not be reached.
    pub(crate) fn target_gone(&mut self, id: DialId, leg: LegId, cause: Cause) {
        let is_outside = self.is_outside(leg);
        self.over(leg);
        if let Some(dial) = self.board.dials.get_mut(&id) {
            dial.rings.retain(|other| *other != leg);
            dial.cause = cause;
            if is_outside && outward::is_final(cause) {
                dial.request.drop_outside();
            }
        }
        self.target_lost(id);
    }

    fn is_outside(&self, leg: LegId) -> bool {
        let leg = self.board.legs.get(&leg);
        leg.is_some_and(|leg| leg.outside.is_some() && leg.party.user.is_none())
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
        dial.request.drop_outside();
        self.end_all(rings, Cause::NoAnswer);
        self.next_step(id);
    }

    fn nobody_answered(&mut self, id: DialId) {
        let Some(dial) = self.board.remove_dial(id) else {
            return;
        };
        let Some(waits) = dial.waits else {
            return;
        };
        self.note_missed(&dial, dial.cause);
        match self.otherwise(&dial) {
            Next::Dial(mut request) => {
                request.referred_by = dial.request.referred_by;
                self.dial(waits, request, dial.referrer);
            }
            next => {
                self.go(waits, next);
                if let Some(referrer) = dial.referrer {
                    self.transferred(referrer);
                }
            }
        }
    }

    /// What follows for the one who waits when nobody has answered.
    fn otherwise(&mut self, dial: &Dial) -> Next {
        let mut trail = dial.trail();
        // Of a user whose calls go outside no other forward follows.
        let case = groups::case_of(dial.cause).filter(|_| !dial.went_outside);
        let rung = trail.passed.last().copied();
        match &dial.request.otherwise {
            Otherwise::Mailbox(mailbox) => {
                let forward = case.zip(rung).and_then(|(case, rung)| {
                    let to = self.x.office.settings(rung).forward_in(case).cloned()?;
                    trail.divert(&self.x, rung, groups::reason_of(case));
                    Some(to)
                });
                let request = forward.and_then(|to| groups::onward(&mut self.x, &to, trail));
                let reason = match dial.cause {
                    Cause::Busy => Reason::Busy,
                    _ => Reason::Unavailable,
                };
                match request {
                    Some(request) => Next::Dial(request.or_mailbox(*mailbox)),
                    None => Next::Start(Start::Deposit(*mailbox, reason)),
                }
            }
            Otherwise::Number(to) => {
                if let Some(group) = rung {
                    let reason = case.map_or(DiversionReason::NoAnswer, groups::reason_of);
                    trail.divert(&self.x, group, reason);
                }
                let mailbox = self.x.office.mailbox(to);
                match (groups::onward(&mut self.x, to, trail), mailbox) {
                    (Some(request), _) => Next::Dial(request),
                    (None, Some(mailbox)) => {
                        Next::Start(Start::Deposit(mailbox, Reason::Unavailable))
                    }
                    (None, None) => Next::End(Cause::NoAnswer),
                }
            }
            Otherwise::End(cause) => Next::End(*cause),
            Otherwise::Cause => Next::End(dial.cause),
            Otherwise::Park(parking) => Next::Start(Start::Parked(*parking)),
        }
    }

    /// Who has answered a dial for nobody calls the number.
    fn call_on(&mut self, id: LegId, number: &Arc<str>) {
        let Some(leg) = self.board.legs.get_mut(&id) else {
            return;
        };
        leg.place = Place::Between;
        leg.dialed = number.clone();
        let next = routing::start(&Dialer::of(leg), &mut self.x);
        self.go(id, next);
    }

    /// Who waits was not connected with the user who was dialled.
    fn note_missed(&mut self, dial: &Dial, cause: Cause) {
        let first = dial.request.passed.first().copied();
        let called = first.filter(|id| self.x.office.account(*id).is_some());
        if let (Some(_), Some(by), Some(to)) = (dial.waits, dial.shown.user, called) {
            self.when_free.missed(by, to, cause);
        }
    }

    /// Who waited has gone.
    pub(crate) fn dial_abandoned(&mut self, id: DialId, cause: Cause) {
        let Some(dial) = self.board.remove_dial(id) else {
            return;
        };
        self.note_missed(&dial, Cause::NoAnswer);
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
