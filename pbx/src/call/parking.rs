//! Parking: somebody waits in a numbered slot until anybody fetches them.
//!
//! Whoever has a party on hold dials the parking number and hears the slot; or transfers the party
//! there. Who is fetched by nobody rings where it was parked from, and is parked again if nobody answers
//! there; after a few rounds the mailbox of the one who parked it takes the call.

use serde::{Deserialize, Serialize};
use tandem_engine::seam::{Command, LegId, PlayId};
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::app::{App, Next, Start};
use crate::call::LegEvent;
use crate::call::dial_request::{DialRequest, Otherwise};
use crate::call::leg::{Leg, Place};
use crate::pbx::Pbx;
use crate::say::Say;
use crate::seam::Cause;
use crate::state::PbxState;
use crate::voicemail::deposit::Reason;
use crate::words;

/// Slots are numbered from 1 on.
pub(crate) const SLOTS: std::ops::RangeInclusive<u32> = 1..=99;
/// How often a parked party rings where it was parked from.
const RECALLS_MAX: u8 = 3;

/// A party that is parked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Parked {
    pub(crate) slot: u32,
    /// Who parked it.
    parker: Option<Id>,
    /// How often it has rung there.
    recalls: u8,
    music: PlayId,
    pub(crate) until: Time,
}

/// Where a party waits, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parking {
    pub(crate) slot: u32,
    pub(crate) parker: Option<Id>,
    pub(crate) recalls: u8,
}

impl Parked {
    /// Music, until somebody comes.
    pub(crate) fn start(leg: &Leg, x: &mut PbxState, parking: Parking) -> Next {
        let music = leg.say(x, Say::music());
        Next::Stay(App::Parked(Parked {
            slot: parking.slot,
            parker: parking.parker,
            recalls: parking.recalls,
            music,
            until: x.after(x.config.park_for),
        }))
    }

    pub(crate) fn on(mut self, leg: &Leg, x: &mut PbxState, event: &LegEvent) -> Next {
        match event {
            LegEvent::PlayDone(play) if *play == self.music => {
                self.music = leg.say(x, Say::music());
                Next::Stay(App::Parked(self))
            }
            LegEvent::Timer => self.recall(x),
            _ => Next::Stay(App::Parked(self)),
        }
    }

    /// Nobody came: it rings where it was parked from.
    fn recall(self, x: &PbxState) -> Next {
        let parking = Parking {
            slot: self.slot,
            parker: self.parker,
            recalls: self.recalls + 1,
        };
        let parker = self.parker.filter(|user| x.office.account(*user).is_some());
        match parker {
            Some(parker) if self.recalls < RECALLS_MAX => Next::Dial(DialRequest {
                otherwise: Otherwise::Park(parking),
                ..DialRequest::user(parker, vec![parker], x.config.ring_for)
            }),
            Some(parker) => Next::Start(Start::Deposit(parker, Reason::Unavailable)),
            None => Next::End(Cause::NoAnswer),
        }
    }
}

impl Pbx {
    /// The party that `id`'s user has on hold is parked; the user hears where.
    pub(crate) fn park_held(&mut self, id: LegId) {
        let user = self.board.legs.get(&id).and_then(|leg| leg.party.user);
        // What was held last is meant.
        let mut own =
            self.board.legs.values().rev().filter(|leg| {
                leg.id != id && leg.holds && user.is_some() && leg.party.user == user
            });
        let held = own.find_map(|leg| Some((leg.id, self.partner(leg.id)?)));
        let Some((holder, (bridge, held))) = held else {
            return self.go(
                id,
                Next::goodbye(Say::one(words::NOBODY_TO_PARK).pause(300)),
            );
        };
        let Some(slot) = self.free_slot() else {
            return self.go(id, Next::goodbye(Say::one(words::COULD_NOT).pause(300)));
        };
        self.board.bridges.remove(&bridge);
        self.x.media(Command::Unbridge { leg: held });
        if let Some(leg) = self.board.legs.get_mut(&holder) {
            leg.place = Place::Between;
            leg.end(&mut self.x, Cause::Normal);
        }
        self.over(holder);
        self.park_at(held, slot, user);
        let said = Say::one(words::PARKED_AT).number(slot);
        self.go(id, Next::goodbye(said.pause(300)));
    }

    /// Somebody has transferred this leg to the parking number.
    pub(crate) fn park(&mut self, id: LegId, parker: Option<Id>) {
        match self.free_slot() {
            Some(slot) => self.park_at(id, slot, parker),
            None => self.go(id, Next::End(Cause::Congestion)),
        }
    }

    fn park_at(&mut self, id: LegId, slot: u32, parker: Option<Id>) {
        self.x.counters.parked += 1;
        let recalls = 0;
        let parking = Parking {
            slot,
            parker,
            recalls,
        };
        if let Some(leg) = self.board.legs.get_mut(&id) {
            leg.place = Place::Between;
        }
        self.go(id, Next::Start(Start::Parked(parking)));
    }

    /// A leg fetches who is parked there.
    pub(crate) fn fetch_parked(&mut self, id: LegId, slot: u32) {
        match self.board.parked_in(slot) {
            Some(parked) => self.bridge(id, parked),
            None => self.go(id, Next::goodbye(Say::one(words::NOBODY_PARKED).pause(300))),
        }
    }

    /// The lowest that nobody is in, or comes back to.
    fn free_slot(&self) -> Option<u32> {
        let comes_back = |slot| self.board.dials.values().any(|dial| dial.parks_at(slot));
        SLOTS
            .into_iter()
            .find(|slot| self.board.parked_in(*slot).is_none() && !comes_back(*slot))
    }
}

/// The slot that a leg is parked in.
pub(crate) fn slot_of(leg: &Leg) -> Option<u32> {
    match &leg.place {
        Place::App(app) => match &**app {
            App::Parked(parked) => Some(parked.slot),
            // It is on its way there.
            App::Answering {
                start: Start::Parked(parking),
                ..
            } => Some(parking.slot),
            _ => None,
        },
        _ => None,
    }
}

/// A slot as it is dialled behind the parking number.
pub(crate) fn slot(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|slot| SLOTS.contains(slot))
}
