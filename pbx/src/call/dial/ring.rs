//! Rings those of a dial's step: a user's phones, and numbers outside.
//!
//! A user's phones are those that are registered, and with them the numbers outside that the user wants
//! rung; or the one number where the user works for now.

use std::sync::Arc;

use tandem_storage::name::Id;

use super::DialId;
use crate::call::history::{History, Party};
use crate::call::leg::{Leg, Place};
use crate::call::outward::{self, OutsideCall, OutsideLeg};
use crate::pbx::Pbx;
use crate::seam::{CallHistory, Caller, Cause, ClassOfService, SipCommand, Target};
use crate::state::PbxState;

impl Pbx {
    /// Rings a user, wherever the user is.
    pub(super) fn ring_user(&mut self, id: DialId, user: Id) {
        let Some(dial) = self.board.dials.get(&id) else {
            return;
        };
        let Some(party) = self.x.party(user) else {
            return;
        };
        let (shown, by_itself) = (dial.shown.clone(), dial.request.auto_answer);
        let is_of_group = dial.request.skips_busy;
        self.x.note_caller(user, &shown);
        let settings = self.x.office.settings(user);
        let works_at = settings.works_at.filter(|_| !by_itself);
        if let Some(call) = works_at.and_then(|number| outward::phone(&self.x, user, &number)) {
            return self.ring_outside(id, &call);
        }
        let dialed = party.number.clone();
        self.ring(id, party, dialed, Target::User(user), None);
        // Those who are rung for a group, or to answer by themselves, are rung where they sit.
        if by_itself || is_of_group {
            return;
        }
        for number in settings.rings_also {
            if let Some(call) = outward::phone(&self.x, user, &number) {
                self.ring_outside(id, &call);
            }
        }
    }

    /// Calls a number outside. If that cannot be, the dial goes on without it.
    pub(super) fn ring_outside(&mut self, id: DialId, call: &OutsideCall) {
        let refused = self.outside_fault(call);
        let Some(dial) = self.board.dials.get_mut(&id) else {
            return;
        };
        dial.went_outside |= call.phone_of.is_none();
        let target = outward::target(&self.x, call);
        let target = match (refused, target) {
            (None, Some(target)) => target,
            (refused, _) => {
                dial.cause = refused.unwrap_or(Cause::Failed);
                return;
            }
        };
        let user = call.phone_of.and_then(|user| self.x.party(user));
        let party = user.unwrap_or(Caller {
            user: None,
            number: call.dialed.clone(),
            name: Arc::from(""),
            is_withheld: false,
            class: ClassOfService::Public,
        });
        let outside = OutsideLeg {
            trunk: call.trunk,
            by: call.by,
        };
        self.ring(id, party, call.dialed.clone(), target, Some(outside));
    }

    /// Why a call outside cannot be made now.
    fn outside_fault(&mut self, call: &OutsideCall) -> Option<Cause> {
        let trunk = self.x.office.outside.trunk(call.trunk);
        let calls_max = trunk.map_or(0, |trunk| usize::from(trunk.calls_max));
        if call.is_emergency {
            return None;
        }
        if self.board.legs_at(call.trunk) >= calls_max {
            self.x.counters.trunks_full += 1;
            return Some(Cause::Congestion);
        }
        let at_once = self.board.outward_of(call.by);
        let may = self.x.take_outward(call.by, at_once);
        (!may).then_some(Cause::Forbidden)
    }

    fn ring(
        &mut self,
        id: DialId,
        party: Caller,
        dialed: Arc<str>,
        target: Target,
        outside: Option<OutsideLeg>,
    ) {
        let Some(dial) = self.board.dials.get_mut(&id) else {
            return;
        };
        let leg = self.x.new_leg();
        // Of a dial for nobody, the first who is rung is the call.
        let of = dial.waits.or(dial.rings.first().copied());
        let of = of.and_then(|leg| self.board.legs.get(&leg));
        let mut history = History::first(of.map_or(leg, |leg| leg.history.call));
        history.from = Some(Party::of(&dial.shown));
        dial.rings.push(leg);
        self.x.sip(SipCommand::Call {
            leg,
            target,
            caller: dial.shown.clone(),
            like: dial.waits,
            auto_answer: dial.request.auto_answer,
            history: CallHistory {
                diversions: dial.diversions.as_slice().into(),
                referred_by: dial.request.referred_by.clone(),
            },
        });
        let mut called = Leg::outgoing(leg, party, dialed, &self.x);
        called.place = Place::Rings(id);
        called.history = history;
        called.outside = outside;
        self.board.insert_leg(called);
    }
}

impl PbxState {
    /// A user as the party of a leg that goes out.
    pub(crate) fn party(&self, user: Id) -> Option<Caller> {
        let account = self.office.account(user)?;
        Some(Caller {
            user: Some(user),
            number: Arc::clone(&account.extension),
            name: Arc::clone(&account.name),
            is_withheld: false,
            class: self.office.settings(user).class(),
        })
    }
}
