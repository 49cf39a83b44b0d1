//! A bridge: legs that hear each other, until one of them hangs up or falls silent.
//!
//! Holding is between the parties and the engine: who is held hears silence. Digits go from end to
//! end as media; only one that came in signalling is passed on here.

use serde::{Deserialize, Serialize};
use tandem_engine::seam::{Command, LegId};

use crate::call::LegEvent;
use crate::call::leg::Place;
use crate::pbx::Pbx;
use crate::seam::Cause;

/// A bridge's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct BridgeId(pub(crate) u64);

/// See the chapter above.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bridge {
    /// Two, as long as nothing but two legs can be connected.
    pub(crate) legs: Vec<LegId>,
}

impl Bridge {
    /// The legs that hear this one.
    pub(crate) fn others(&self, leg: LegId) -> impl Iterator<Item = LegId> {
        self.legs.iter().copied().filter(move |other| *other != leg)
    }
}

impl Pbx {
    /// Connects two legs; one that has not been answered is.
    pub(crate) fn bridge(&mut self, a: LegId, b: LegId) {
        let id = BridgeId(self.board.new_place());
        for (leg, like) in [(a, b), (b, a)] {
            if let Some(leg) = self.board.legs.get_mut(&leg) {
                leg.answer(&mut self.x, Some(like));
                leg.place = Place::Bridge(id);
            }
            self.board.note_leg(leg);
        }
        self.note_met(a, b);
        self.x.media(Command::Bridge { a, b });
        let legs = vec![a, b];
        self.board.bridges.insert(id, Bridge { legs });
    }

    /// A leg in a bridge is told something.
    pub(crate) fn on_bridged(&mut self, id: BridgeId, leg: LegId, event: &LegEvent) {
        let Some(bridge) = self.board.bridges.get(&id) else {
            return;
        };
        if let LegEvent::Digit {
            digit,
            signalled: true,
        } = event
        {
            for leg in bridge.others(leg) {
                let digit = *digit;
                self.x.media(Command::SendDigit { leg, digit });
            }
        }
    }

    /// A leg has left a bridge for good: who is left alone is hung up, too.
    pub(crate) fn bridge_left(&mut self, id: BridgeId, leg: LegId, cause: Cause) {
        let Some(bridge) = self.board.bridges.remove(&id) else {
            return;
        };
        for other in bridge.others(leg).collect::<Vec<_>>() {
            if let Some(other) = self.board.legs.get_mut(&other) {
                other.place = Place::Between;
                other.end(&mut self.x, cause);
            }
            self.over(other);
        }
    }
}
