//! What a leg has been through: kept beside it while it lives, for its record at the end.
//!
//! From the moves ([`crate::call::moves`]), which note each place a leg comes to; to the call log
//! ([`crate::call_log`]). It decides nothing.
//!
//! A leg belongs to a *call*, named after the leg that began it: who is rung for a leg belongs to that
//! leg's call. Where legs of two calls are connected (an attended transfer, a parked party that is
//! fetched, a call that is picked up), both are one from then on, under the older name; what a leg's call
//! was called before stays with it, so that legs that had ended by then can be found.
//!
//! Invariants: at most [`STEPS_MAX`] steps and [`JOINED_MAX`] names. A number that is withheld is in
//! none of it.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::LegId;
use tandem_storage::name::Id;
use tandem_storage::time::WallTime;

use crate::call::dial_request::DialRequest;
use crate::call_log::Quality;
use crate::pbx::Pbx;
use crate::seam::Caller;
use crate::state::PbxState;

/// Steps that are kept; of more, the last takes the place of the one before.
const STEPS_MAX: usize = 16;
/// Earlier names of a call that are kept.
const JOINED_MAX: usize = 8;

/// A user's phones are rung for the leg.
pub(crate) const DIAL: &str = "dial";
/// A group's members are.
pub(crate) const GROUP: &str = "group";
/// It hears somebody.
pub(crate) const TALKING: &str = "talking";
/// Somebody transferred it.
pub(crate) const TRANSFERRED: &str = "transferred";
/// It transferred others, and is done.
pub(crate) const TRANSFERRING: &str = "transferring";

/// See the chapter above.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct History {
    /// The call it belongs to, by its first leg.
    pub(crate) call: LegId,
    /// What that call was called before it was joined with an older one.
    pub(crate) joined: Vec<LegId>,
    /// Who called, where it is not the party of this leg.
    pub(crate) from: Option<Party>,
    /// With whom it was connected last.
    pub(crate) with: Option<Party>,
    pub(crate) steps: Vec<Step>,
    /// What the engine counted, if its media closed before the leg was over.
    pub(crate) quality: Option<Quality>,
}

/// Somebody, as far as the number is not withheld.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Empty: withheld, or not known.
    #[serde(default)]
    pub number: Arc<str>,
    #[serde(default)]
    pub name: Arc<str>,
    /// The user it is.
    #[serde(default)]
    pub user: Option<Id>,
}

/// A place a leg came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub at: WallTime,
    /// `dial`, `group`, `talking`, `transferred`, or an application as `tandem calls` names it.
    pub what: Cow<'static, str>,
    /// Who was rung, who was talked with, who transferred it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whom: Option<Arc<str>>,
}

impl History {
    /// Of a leg that begins a call.
    pub(crate) fn first(leg: LegId) -> History {
        History {
            call: leg,
            joined: Vec::new(),
            from: None,
            with: None,
            steps: Vec::new(),
            quality: None,
        }
    }

    /// The leg came to another place.
    pub(crate) fn went(&mut self, at: WallTime, what: &'static str, whom: Option<&Arc<str>>) {
        let whom = whom.filter(|whom| !whom.is_empty()).cloned();
        let what = Cow::Borrowed(what);
        let is_same = |last: &Step| last.what == what && last.whom == whom;
        if self.steps.last().is_some_and(is_same) {
            return;
        }
        if self.steps.len() >= STEPS_MAX {
            self.steps.pop();
        }
        self.steps.push(Step { at, what, whom });
    }

    /// Those whom a dial rings, less those whom it has rung before.
    pub(crate) fn rings(&mut self, x: &PbxState, request: &DialRequest) {
        let moved = |step: &Step| step.what == TALKING || step.what == TRANSFERRED;
        let since = self.steps.iter().rposition(moved).map_or(0, |at| at + 1);
        for id in &request.passed {
            let what = match x.office.group(*id) {
                Some(_) => GROUP,
                None => DIAL,
            };
            let whom = x.office.extension(*id);
            let rung = self.steps.iter().skip(since);
            let mut rung = rung.filter(|step| step.what == what);
            if !rung.any(|step| step.whom.as_ref() == whom) {
                self.went(x.now.wall, what, whom);
            }
        }
    }

    /// It is connected with this party.
    pub(crate) fn meets(&mut self, at: WallTime, other: &Caller) {
        self.went(at, TALKING, Some(&other.number));
        self.with = Some(Party::of(other));
    }

    fn join(&mut self, call: LegId) {
        if self.joined.len() < JOINED_MAX {
            self.joined.push(self.call);
        }
        self.call = call;
    }
}

impl Party {
    pub(crate) fn of(caller: &Caller) -> Party {
        if caller.is_withheld {
            return Party::default();
        }
        Party {
            number: caller.number.clone(),
            name: caller.name.clone(),
            user: caller.user,
        }
    }
}

impl Pbx {
    /// Two legs are connected: each notes the other, and their calls are one.
    pub(crate) fn note_met(&mut self, a: LegId, b: LegId) {
        let at = self.x.now.wall;
        for (leg, other) in [(a, b), (b, a)] {
            let other = self.board.legs.get(&other).map(|leg| leg.party.clone());
            if let (Some(leg), Some(other)) = (self.board.legs.get_mut(&leg), other) {
                leg.history.meets(at, &other);
            }
        }
        self.join_calls(a, b);
    }

    /// The calls of two legs are one from now on.
    pub(crate) fn join_calls(&mut self, a: LegId, b: LegId) {
        let call = |leg| self.board.legs.get(leg).map(|leg| leg.history.call);
        let (Some(one), Some(other)) = (call(&a), call(&b)) else {
            return;
        };
        if one != other {
            let (kept, gone) = (one.min(other), one.max(other));
            let legs = self.board.legs.values_mut();
            for leg in legs.filter(|leg| leg.history.call == gone) {
                leg.history.join(kept);
            }
        }
    }

    /// A leg was transferred by the party of another.
    pub(crate) fn note_transferred(&mut self, moved: LegId, by: LegId) {
        let at = self.x.now.wall;
        let by = self.board.legs.get(&by);
        let by = by.map(|leg| Party::of(&leg.party).number);
        if let Some(leg) = self.board.legs.get_mut(&moved) {
            leg.history.went(at, TRANSFERRED, by.as_ref());
        }
    }
}
