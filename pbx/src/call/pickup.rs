//! Picking up: somebody answers what rings at another phone.
//!
//! A user picks up what rings at an extension, or what has rung longest at anybody of the same group.
//! Two who do so at once: the first is connected, the second is told that nothing rings.

use tandem_engine::seam::LegId;
use tandem_storage::name::Id;

use crate::app::Next;
use crate::call::dial::DialId;
use crate::call::leg::Place;
use crate::pbx::Pbx;
use crate::say::Say;
use crate::words;

impl Pbx {
    /// A leg picks up what rings at this user; `None`: at anybody whose calls its user may pick up.
    pub(crate) fn pick_up(&mut self, id: LegId, whose: Option<Id>) {
        match self.rings_at(id, whose) {
            Some(dial) => self.pick_up_from(dial, id),
            None => self.go(id, Next::goodbye(Say::one(words::NOTHING_RINGS).pause(300))),
        }
    }

    /// What has rung longest.
    fn rings_at(&self, id: LegId, whose: Option<Id>) -> Option<DialId> {
        let picker = self.board.legs.get(&id)?.party.user?;
        let mut legs = self.board.legs.values();
        legs.find_map(|leg| {
            let Place::Rings(dial) = leg.place else {
                return None;
            };
            let user = leg.party.user?;
            let is_it = match whose {
                Some(whose) => user == whose,
                None => user != picker && self.x.office.may_pick_up(picker, user),
            };
            is_it.then_some(dial)
        })
    }

    /// A leg answers for those who are rung.
    pub(crate) fn pick_up_from(&mut self, dial: DialId, id: LegId) {
        self.x.counters.pickups += 1;
        self.target_answers(dial, id, None);
    }
}
