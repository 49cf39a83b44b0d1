//! What others may see of a user's calls: the busy lamp field.
//!
//! The calls of users that somebody watches are told whenever they change, and of nobody else's. Whoever
//! withholds the number is shown without it, and nobody learns from its own line whom it calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_storage::name::Id;

use crate::call::leg::{Direction, Leg, Place};
use crate::pbx::Pbx;
use crate::seam::{CallState, Caller, SipCommand, WatchedCall};

/// Calls of one user that watchers see: so many fit into a notification.
const SHOWN_MAX: usize = 24;

/// The calls of those who are watched, as they were told last.
pub(crate) type Watched = BTreeMap<Id, Arc<[WatchedCall]>>;

impl Pbx {
    /// Somebody watches a user's calls now, or nobody does any more.
    pub(crate) fn on_watched(&mut self, user: Id, is_watched: bool) {
        if !is_watched {
            self.watched.remove(&user);
            return;
        }
        let calls = self.calls_of(user);
        self.watched.insert(user, calls.clone());
        self.x.sip(SipCommand::Calls { user, calls });
    }

    /// Tells the calls of everybody whose legs were touched, if that changed them.
    pub(crate) fn tell_watched(&mut self) {
        for user in self.board.take_touched() {
            let Some(told) = self.watched.get(&user) else {
                continue;
            };
            let calls = self.calls_of(user);
            if *told != calls {
                self.watched.insert(user, calls.clone());
                self.x.sip(SipCommand::Calls { user, calls });
            }
        }
    }

    fn calls_of(&self, user: Id) -> Arc<[WatchedCall]> {
        let legs = self.board.legs_of(user).filter(|leg| leg.is_alive);
        let shown = legs.take(SHOWN_MAX);
        shown.map(|leg| self.as_watched(leg)).collect()
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
            Some(Caller {
                is_withheld: false,
                number,
                name,
                ..
            }) => (number.clone(), name.clone()),
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
}
