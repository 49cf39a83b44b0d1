//! What others may see of a line's calls: the busy lamp field.
//!
//! A line is a user's, a group's, or a parking slot. The calls of lines that somebody watches are told
//! whenever they change, and of no others. A group is busy with every call that came through it, from its
//! ringing until it ends; a slot with whoever is parked in it. Whoever withholds the number is shown
//! without it, and nobody learns from its own line whom it calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_engine::seam::LegId;
use tandem_storage::name::Id;

use crate::call::leg::{Direction, Leg, Place};
use crate::pbx::Pbx;
use crate::seam::{CallState, Caller, SipCommand, Watchable, WatchedCall};

/// Calls of one line that watchers see: so many fit into a notification.
const SHOWN_MAX: usize = 24;

/// The calls of lines that are watched, as they were told last.
pub(crate) type Watched = BTreeMap<Watchable, Arc<[WatchedCall]>>;

impl Pbx {
    /// Somebody watches a line's calls now, or nobody does any more.
    pub(crate) fn on_watched(&mut self, what: Watchable, is_watched: bool) {
        if !is_watched {
            self.watched.remove(&what);
            return;
        }
        let calls = self.calls_of(what);
        self.watched.insert(what, calls.clone());
        self.x.sip(SipCommand::Calls { what, calls });
    }

    /// Tells the calls of every line whose legs were touched, if that changed them.
    pub(crate) fn tell_watched(&mut self) {
        for what in self.board.take_touched() {
            let Some(told) = self.watched.get(&what) else {
                continue;
            };
            let calls = self.calls_of(what);
            if *told != calls {
                self.watched.insert(what, calls.clone());
                self.x.sip(SipCommand::Calls { what, calls });
            }
        }
    }

    fn calls_of(&self, what: Watchable) -> Arc<[WatchedCall]> {
        match what {
            Watchable::User(user) => {
                let legs = self.board.legs_of(user).filter(|leg| leg.is_alive);
                let shown = legs.take(SHOWN_MAX);
                shown.map(|leg| self.as_watched(leg)).collect()
            }
            Watchable::Group(group) => {
                let legs = self.board.legs_through(group).filter(|leg| leg.is_alive);
                legs.filter_map(through_group).take(SHOWN_MAX).collect()
            }
            Watchable::Slot(slot) => {
                let parked = self.board.parked_in(slot);
                let leg = parked.and_then(|leg| self.board.legs.get(&leg));
                leg.map(|leg| from_outside(leg, CallState::Confirmed))
                    .into_iter()
                    .collect()
            }
        }
    }

    fn as_watched(&self, leg: &Leg) -> WatchedCall {
        let (state, other) = match &leg.place {
            Place::Waits(_) | Place::Between => (CallState::Early, None),
            Place::Rings(dial) => {
                let dial = self.board.dials.get(dial);
                (CallState::Early, dial.map(|dial| dial.shown()))
            }
            Place::Bridge(_) => {
                let partner = self.partner(leg.id);
                let partner = partner.and_then(|(_, id)| self.board.legs.get(&id));
                (CallState::Confirmed, partner.map(|leg| &leg.party))
            }
            Place::App(_) => (CallState::Confirmed, None),
        };
        let is_initiator = leg.direction == Direction::In;
        // Who withholds the number is not betrayed by whom it speaks with.
        let other = other.filter(|_| !leg.party.is_withheld);
        let (number, name) = match other {
            Some(
                other @ Caller {
                    is_withheld: false, ..
                },
            ) => (other.number.clone(), other.name.clone()),
            None if is_initiator && !leg.party.is_withheld => (leg.dialed.clone(), Arc::default()),
            _ => (Arc::default(), Arc::default()),
        };
        WatchedCall {
            leg: leg.id.0,
            is_initiator,
            state,
            holds: leg.holds,
            number,
            name,
        }
    }

    /// Notes through which groups a leg's call goes, of all where it has been.
    pub(crate) fn note_through(&mut self, leg: LegId, passed: &[Id]) {
        let is_group = |id: &Id| self.x.office.group(*id).is_some();
        let groups = passed.iter().copied().filter(is_group).collect();
        self.board.set_through(leg, groups);
    }
}

/// A call that came through a group, as long as it rings there or somebody talks.
fn through_group(leg: &Leg) -> Option<WatchedCall> {
    let state = match leg.place {
        Place::Waits(_) => CallState::Early,
        Place::Bridge(_) => CallState::Confirmed,
        _ => return None,
    };
    Some(from_outside(leg, state))
}

/// A leg as the call of a line that is not its own.
fn from_outside(leg: &Leg, state: CallState) -> WatchedCall {
    // Of who withholds the number both are empty.
    let (number, name) = match leg.party.is_withheld {
        true => (Arc::default(), Arc::default()),
        false => (leg.party.number.clone(), leg.party.name.clone()),
    };
    WatchedCall {
        leg: leg.id.0,
        is_initiator: false,
        state,
        holds: false,
        number,
        name,
    }
}
