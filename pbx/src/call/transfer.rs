//! Transfers: a party has whoever it talks to connected with somebody else (RFC 5589), and a phone takes
//! over a call from another (RFC 3891).
//!
//! A *blind* transfer sends the other party where the transferor could have called itself, by the
//! transferor's rights. An *attended* one joins the far ends of two calls of the transferor; if the second
//! one still rings, the first far end waits for the answer in its place. The transferor's leg stays until
//! it hangs up, or a few seconds: it is told the outcome on it.
//!
//! Whatever is refused leaves everything as it was.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::{Command, LegId, PlayId};
use tandem_storage::time::Time;

use crate::app::{App, Next};
use crate::call::LegEvent;
use crate::call::bridge::BridgeId;
use crate::call::history;
use crate::call::leg::{Leg, Place};
use crate::call::parking::slot_of;
use crate::call::routing::{self, Dialer};
use crate::pbx::Pbx;
use crate::say::Say;
use crate::seam::{Caller, Cause, Referrer, SipCommand};
use crate::state::PbxState;
use crate::words;

/// A transferor that does not hang up when it is told that all is done is hung up.
const HANG_UP_WAIT: Duration = Duration::from_secs(5);
/// No transfer takes longer to come to an end.
const OUTCOME_WAIT: Duration = Duration::from_secs(180);

/// Somebody who asked for a transfer, and is to hang up when it has heard the outcome.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Transferring {
    pub(crate) until: Time,
    /// What it is told before the outcome.
    said: Option<PlayId>,
}

impl Transferring {
    pub(crate) fn on(mut self, leg: &Leg, x: &mut PbxState, event: &LegEvent) -> Next {
        let is_told = match event {
            LegEvent::PlayDone(play) => self.said == Some(*play),
            LegEvent::Timer => true,
            _ => false,
        };
        if is_told && self.said.take().is_some() {
            let (leg, refused) = (leg.id, None);
            x.sip(SipCommand::ReferResult { leg, refused });
            self.until = x.after(HANG_UP_WAIT);
            return Next::Stay(App::Transferring(self));
        }
        match event {
            LegEvent::Timer => Next::End(Cause::Normal),
            _ => Next::Stay(App::Transferring(self)),
        }
    }
}

impl Pbx {
    /// The party of `id` asks for a transfer: blind, or to the far end of `other`.
    pub(crate) fn refer(
        &mut self,
        id: LegId,
        to: &str,
        other: Option<LegId>,
        referred_by: Option<Referrer>,
    ) {
        let done = match other {
            None => self.transfer_blind(id, to, referred_by),
            Some(other) => self.transfer_attended(id, other),
        };
        if let Err(cause) = done {
            self.x.counters.transfers_refused += 1;
            self.refer_result(id, Some(cause));
        }
    }

    fn refer_result(&mut self, leg: LegId, refused: Option<Cause>) {
        if self.board.legs.get(&leg).is_some_and(|leg| leg.is_alive) {
            self.x.sip(SipCommand::ReferResult { leg, refused });
        }
    }

    /// The bridge that a leg is in.
    pub(crate) fn bridge_of(&self, leg: LegId) -> Option<BridgeId> {
        match self.board.legs.get(&leg)?.place {
            Place::Bridge(id) => Some(id),
            _ => None,
        }
    }

    /// The one other leg that a leg is connected with.
    pub(crate) fn partner(&self, leg: LegId) -> Option<(BridgeId, LegId)> {
        let id = self.bridge_of(leg)?;
        let mut others = self.board.bridges.get(&id)?.others(leg);
        let other = others.next()?;
        others.next().is_none().then_some((id, other))
    }

    pub(crate) fn transfer_blind(
        &mut self,
        id: LegId,
        to: &str,
        referred_by: Option<Referrer>,
    ) -> Result<(), Cause> {
        let (bridge, moved) = self.partner(id).ok_or(Cause::Declined)?;
        let (Some(from), Some(leg)) = (self.board.legs.get(&id), self.board.legs.get(&moved))
        else {
            return Err(Cause::Failed);
        };
        let dialer = Dialer {
            party: &leg.party,
            dialed: to,
            class: from.party.class,
            payer: from.party.user,
            for_another: true,
            diversions: &[],
        };
        let next = match routing::start(&dialer, &mut self.x) {
            Next::End(cause) => return Err(cause),
            Next::Park(_) => Next::Park(from.party.user),
            next => next,
        };
        let referred_by = referred_by.and_then(|said| named(&from.party, said));
        self.x.counters.transfers += 1;
        self.note_transferred(moved, id);
        self.board.bridges.remove(&bridge);
        self.x.media(Command::Unbridge { leg: moved });
        self.await_outcome(id, OUTCOME_WAIT);
        if let Some(leg) = self.board.legs.get_mut(&moved) {
            leg.place = Place::Between;
            leg.dialed = Arc::from(to);
        }
        match next {
            Next::Dial(mut request) => {
                request.referred_by = referred_by;
                self.dial(moved, request, Some(id));
            }
            next => {
                self.go(moved, next);
                match self.board.legs.get(&moved).and_then(slot_of) {
                    Some(slot) => self.tell_slot(id, slot),
                    None => self.transferred(id),
                }
            }
        }
        Ok(())
    }

    fn transfer_attended(&mut self, id: LegId, other: LegId) -> Result<(), Cause> {
        let (bridge, moved) = self.partner(id).ok_or(Cause::Declined)?;
        let (Some(a), Some(b)) = (self.board.legs.get(&id), self.board.legs.get(&other)) else {
            return Err(Cause::Failed);
        };
        if id == other || !b.is_alive || !is_of_same_party(a, b) {
            return Err(Cause::Forbidden);
        }
        match b.place {
            Place::Bridge(_) => {
                let (second, met) = self.partner(other).ok_or(Cause::Declined)?;
                if second == bridge {
                    return Err(Cause::Declined);
                }
                self.board.bridges.remove(&bridge);
                self.board.bridges.remove(&second);
                self.note_transferred(moved, id);
                self.await_outcome(id, HANG_UP_WAIT);
                self.board.set_through(moved, Vec::new());
                self.bridge(moved, met);
            }
            Place::Waits(dial) => {
                self.board.bridges.remove(&bridge);
                self.x.media(Command::Unbridge { leg: moved });
                self.note_transferred(moved, id);
                self.await_outcome(id, HANG_UP_WAIT);
                self.wait_instead(dial, moved);
            }
            Place::App(_) => {
                let dialer = Dialer {
                    party: &b.party,
                    dialed: &b.dialed,
                    class: b.party.class,
                    payer: b.party.user,
                    for_another: true,
                    diversions: &[],
                };
                let next = match routing::start(&dialer, &mut self.x) {
                    Next::End(cause) => return Err(cause),
                    Next::Park(_) => Next::Park(b.party.user),
                    next => next,
                };
                let dialed = b.dialed.clone();
                self.board.bridges.remove(&bridge);
                self.x.media(Command::Unbridge { leg: moved });
                self.note_transferred(moved, id);
                self.await_outcome(id, HANG_UP_WAIT);
                if let Some(leg) = self.board.legs.get_mut(&moved) {
                    leg.place = Place::Between;
                    leg.dialed = dialed;
                }
                self.go(moved, next);
            }
            Place::Rings(_) | Place::Between => return Err(Cause::Declined),
        }
        self.x.counters.transfers += 1;
        self.join_calls(moved, other);
        self.take_out(other, Cause::AnsweredElsewhere);
        self.transferred(id);
        Ok(())
    }

    /// Who has parked somebody hears where, before it is told that all is done: then it hangs up. A phone
    /// that holds the call would not hear it.
    fn tell_slot(&mut self, id: LegId, slot: u32) {
        let Some(leg) = self.board.legs.get_mut(&id).filter(|leg| !leg.holds) else {
            return self.transferred(id);
        };
        let said = leg.say(&mut self.x, Say::one(words::PARKED_AT).number(slot));
        if let Place::App(app) = &mut leg.place
            && let App::Transferring(app) = &mut **app
        {
            app.said = Some(said);
        }
    }

    /// The transferor waits to hear what becomes of its transfer.
    fn await_outcome(&mut self, id: LegId, wait: Duration) {
        let until = self.x.after(wait);
        if let Some(leg) = self.board.legs.get_mut(&id) {
            let said = None;
            leg.history
                .went(self.x.now.wall, history::TRANSFERRING, None);
            leg.place = Place::App(Box::new(App::Transferring(Transferring { until, said })));
        }
        self.board.set_through(id, Vec::new());
        self.board.note_leg(id);
    }

    /// The transfer that this leg's party asked for is done.
    pub(crate) fn transferred(&mut self, id: LegId) {
        self.refer_result(id, None);
        let until = self.x.after(HANG_UP_WAIT);
        if let Some(leg) = self.board.legs.get_mut(&id)
            && let Place::App(app) = &mut leg.place
            && let App::Transferring(app) = &mut **app
        {
            app.until = until;
        }
        self.board.note_leg(id);
    }

    /// Ends a leg whose place somebody else has taken; what it was recording is kept, as on hanging up.
    fn take_out(&mut self, id: LegId, cause: Cause) {
        if let Some(leg) = self.board.legs.get_mut(&id)
            && !matches!(leg.place, Place::App(_))
        {
            leg.place = Place::Between;
        }
        self.hang_up(id, cause);
    }

    /// A call that comes in is to take the place of a leg: another phone of the same user goes on with
    /// it, or somebody picks up what rings there.
    pub(crate) fn take_over(&mut self, id: LegId, replaced: LegId) -> Result<(), Cause> {
        let (Some(new), Some(old)) = (self.board.legs.get(&id), self.board.legs.get(&replaced))
        else {
            return Err(Cause::Failed);
        };
        let is_own = is_of_same_party(new, old);
        let through = old.through.clone();
        match old.place {
            Place::Bridge(bridge) if is_own => {
                let (_, met) = self.partner(replaced).ok_or(Cause::Declined)?;
                self.board.bridges.remove(&bridge);
                self.board.set_through(id, through);
                self.bridge(id, met);
                self.take_out(replaced, Cause::Normal);
            }
            Place::Waits(dial) if is_own => {
                self.wait_instead(dial, id);
                self.join_calls(id, replaced);
                self.take_out(replaced, Cause::AnsweredElsewhere);
            }
            Place::Rings(dial) if new.party.user.is_some() => self.pick_up_from(dial, id),
            _ if !is_own => return Err(Cause::Forbidden),
            _ => return Err(Cause::Declined),
        }
        Ok(())
    }
}

/// Who transfers, as those who are rung are told: a user is who it has shown to be, whatever it says of
/// itself, and who withholds the number is nobody.
fn named(party: &Caller, said: Referrer) -> Option<Referrer> {
    match party.user {
        _ if party.is_withheld => None,
        Some(_) => Some(Referrer {
            number: party.number.clone(),
            name: party.name.clone(),
        }),
        None => Some(said),
    }
}

/// Both lines are one party's: of one user, or from a gateway with the same number.
fn is_of_same_party(a: &Leg, b: &Leg) -> bool {
    match (a.party.user, b.party.user) {
        (Some(one), Some(other)) => one == other,
        (None, None) => !a.party.number.is_empty() && a.party.number == b.party.number,
        _ => false,
    }
}
