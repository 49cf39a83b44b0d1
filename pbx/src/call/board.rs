//! The board: every leg, dial and bridge of this node, by number.
//!
//! Plain data. Legs are visited in the order of their numbers, so that one seed replays one world.
//!
//! Invariants: whoever is named by a leg's place names the leg in return. `timers` holds exactly the
//! deadlines of the legs and dials there are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tandem_engine::seam::LegId;
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::call::bridge::{Bridge, BridgeId};
use crate::call::conference::{Conference, ConferenceId};
use crate::call::dial::{Dial, DialId};
use crate::call::leg::{Direction, Leg, Place};
use crate::call::parking::slot_of;
use crate::call::recording::Recordings;
use crate::seam::Watchable;

/// See the chapter above.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Board {
    pub(crate) legs: BTreeMap<LegId, Leg>,
    pub(crate) dials: BTreeMap<DialId, Dial>,
    pub(crate) bridges: BTreeMap<BridgeId, Bridge>,
    pub(crate) conferences: BTreeMap<ConferenceId, Conference>,
    /// The conference of each leg that is in one.
    pub(crate) member_of: BTreeMap<LegId, ConferenceId>,
    pub(crate) recordings: Recordings,
    /// The last number that was given to a dial or a bridge.
    place_last: u64,
    #[serde(skip)]
    timers: BTreeSet<(Time, TimerOf)>,
    /// The legs of each user.
    #[serde(skip)]
    by_user: BTreeMap<Id, BTreeSet<LegId>>,
    /// Legs that came in.
    #[serde(skip)]
    incoming: usize,
    /// How many legs each trunk has.
    #[serde(skip)]
    by_trunk: BTreeMap<Id, usize>,
    /// How many legs go outside in each name.
    #[serde(skip)]
    by_payer: BTreeMap<Option<Id>, usize>,
    /// The legs whose calls go, or went, through each group.
    #[serde(skip)]
    by_group: BTreeMap<Id, BTreeSet<LegId>>,
    /// Who is parked where.
    #[serde(skip)]
    slots: BTreeMap<u32, LegId>,
    /// Lines of whose legs something may have changed.
    #[serde(skip)]
    touched: BTreeSet<Watchable>,
    /// Legs that may have changed, in the order in which they did; the same one several times.
    #[serde(skip)]
    touched_legs: Vec<LegId>,
}

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerOf {
    Leg(LegId),
    Dial(DialId),
}

impl Board {
    /// A number for a dial or a bridge.
    pub(crate) fn new_place(&mut self) -> u64 {
        self.place_last += 1;
        self.place_last
    }

    /// Calls that came in.
    pub(crate) fn incoming_len(&self) -> usize {
        self.incoming
    }

    /// Places in which somebody is: each is a call, for people.
    pub(crate) fn calls_len(&self) -> usize {
        let alone = |leg: &&Leg| matches!(leg.place, Place::App(_)) && leg.in_room().is_none();
        let alone = self.legs.values().filter(alone).count();
        self.dials.len() + self.bridges.len() + self.conferences.len() + alone
    }

    /// The earliest deadline.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whose deadlines have come.
    pub(crate) fn due(&self, now: Time) -> Vec<TimerOf> {
        let due = self.timers.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, whose)| *whose).collect()
    }

    /// The lines of whose legs something may have changed since the last time.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<Watchable> {
        std::mem::take(&mut self.touched)
    }

    /// The legs that may have changed since the last time.
    pub(crate) fn take_touched_legs(&mut self) -> impl Iterator<Item = LegId> {
        std::mem::take(&mut self.touched_legs).into_iter()
    }

    /// Notes the deadline of a leg and the slot it is parked in as they are now, and that it may have
    /// changed.
    pub(crate) fn note_leg(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        self.touched.extend(lines_of(leg));
        self.touched_legs.push(id);
        let deadline = leg.deadline();
        let noted = std::mem::replace(&mut leg.noted, deadline);
        let slot = slot_of(leg);
        let noted_slot = std::mem::replace(&mut leg.noted_slot, slot);
        self.note(TimerOf::Leg(id), noted, deadline);
        self.note_slot(id, noted_slot, slot);
    }

    fn note_slot(&mut self, id: LegId, noted: Option<u32>, slot: Option<u32>) {
        if noted == slot {
            return;
        }
        if let Some(noted) = noted.filter(|noted| self.slots.get(noted) == Some(&id)) {
            self.slots.remove(&noted);
        }
        if let Some(slot) = slot {
            self.slots.insert(slot, id);
        }
        let slots = noted.into_iter().chain(slot);
        self.touched.extend(slots.map(Watchable::Slot));
    }

    /// Who is parked in a slot.
    pub(crate) fn parked_in(&self, slot: u32) -> Option<LegId> {
        self.slots.get(&slot).copied()
    }

    /// Notes the deadline of a dial as it is now.
    pub(crate) fn note_dial(&mut self, id: DialId) {
        let Some(dial) = self.dials.get_mut(&id) else {
            return;
        };
        let deadline = Some(dial.deadline());
        let noted = std::mem::replace(&mut dial.noted, deadline);
        self.note(TimerOf::Dial(id), noted, deadline);
    }

    fn note(&mut self, whose: TimerOf, noted: Option<Time>, deadline: Option<Time>) {
        if noted == deadline {
            return;
        }
        if let Some(noted) = noted {
            self.timers.remove(&(noted, whose));
        }
        if let Some(deadline) = deadline {
            self.timers.insert((deadline, whose));
        }
    }

    /// Puts a leg on.
    pub(crate) fn insert_leg(&mut self, leg: Leg) {
        self.touched.extend(lines_of(&leg));
        self.touched_legs.push(leg.id);
        self.incoming += usize::from(leg.direction == Direction::In);
        if let Some(outside) = &leg.outside {
            *self.by_trunk.entry(outside.trunk).or_default() += 1;
            if leg.direction == Direction::Out {
                *self.by_payer.entry(outside.by).or_default() += 1;
            }
        }
        for group in &leg.through {
            self.by_group.entry(*group).or_default().insert(leg.id);
        }
        if let Some(user) = leg.party.user {
            self.by_user.entry(user).or_default().insert(leg.id);
        }
        self.legs.insert(leg.id, leg);
    }

    /// The legs of a user, in the order of their numbers.
    pub(crate) fn legs_of(&self, user: Id) -> impl Iterator<Item = &Leg> {
        let legs = self.by_user.get(&user).into_iter().flatten();
        legs.filter_map(|leg| self.legs.get(leg))
    }

    /// The legs whose calls go, or went, through a group.
    pub(crate) fn legs_through(&self, group: Id) -> impl Iterator<Item = &Leg> {
        let legs = self.by_group.get(&group).into_iter().flatten();
        legs.filter_map(|leg| self.legs.get(leg))
    }

    /// A leg's call goes through these groups.
    pub(crate) fn set_through(&mut self, id: LegId, groups: Vec<Id>) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        if leg.through == groups {
            return;
        }
        let before = std::mem::replace(&mut leg.through, groups.clone());
        self.forget_through(id, &before);
        for group in groups {
            self.touched.insert(Watchable::Group(group));
            self.by_group.entry(group).or_default().insert(id);
        }
    }

    fn forget_through(&mut self, id: LegId, groups: &[Id]) {
        for group in groups {
            self.touched.insert(Watchable::Group(*group));
            if let Some(legs) = self.by_group.get_mut(group) {
                legs.remove(&id);
                if legs.is_empty() {
                    self.by_group.remove(group);
                }
            }
        }
    }

    /// How many legs a trunk has.
    pub(crate) fn legs_at(&self, trunk: Id) -> usize {
        self.by_trunk.get(&trunk).copied().unwrap_or_default()
    }

    /// How many legs go outside in this name.
    pub(crate) fn outward_of(&self, by: Option<Id>) -> usize {
        self.by_payer.get(&by).copied().unwrap_or_default()
    }

    /// A user talks to somebody, or to the machine.
    pub(crate) fn is_on_the_phone(&self, user: Id) -> bool {
        self.legs_of(user)
            .any(|leg| leg.is_alive && matches!(leg.place, Place::Bridge(_) | Place::App(_)))
    }

    /// Takes a leg off, with its timer.
    pub(crate) fn remove_leg(&mut self, id: LegId) -> Option<Leg> {
        let leg = self.legs.remove(&id)?;
        self.touched.extend(lines_of(&leg));
        self.forget_through(id, &leg.through);
        self.note_slot(id, leg.noted_slot, None);
        self.incoming -= usize::from(leg.direction == Direction::In);
        if let Some(outside) = &leg.outside {
            one_less(&mut self.by_trunk, &outside.trunk);
            if leg.direction == Direction::Out {
                one_less(&mut self.by_payer, &outside.by);
            }
        }
        if let Some(user) = leg.party.user
            && let Some(legs) = self.by_user.get_mut(&user)
        {
            legs.remove(&id);
            if legs.is_empty() {
                self.by_user.remove(&user);
            }
        }
        self.note(TimerOf::Leg(id), leg.noted, None);
        Some(leg)
    }

    /// Takes a dial off, with its timer.
    pub(crate) fn remove_dial(&mut self, id: DialId) -> Option<Dial> {
        let dial = self.dials.remove(&id)?;
        self.note(TimerOf::Dial(id), dial.noted, None);
        Some(dial)
    }

    /// What contradicts itself in it, in words.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut named: BTreeSet<(LegId, u64)> = BTreeSet::new();
        for (id, dial) in &self.dials {
            named.extend(dial.legs().map(|leg| (leg, id.0)));
        }
        for (id, bridge) in &self.bridges {
            named.extend(bridge.legs.iter().map(|leg| (*leg, id.0)));
        }
        let mut faults = Vec::new();
        for leg in self.legs.values() {
            let is_right = match &leg.place {
                Place::Waits(dial) | Place::Rings(dial) => named.remove(&(leg.id, dial.0)),
                Place::Bridge(bridge) => named.remove(&(leg.id, bridge.0)),
                Place::App(_) => true,
                Place::Between => false,
            };
            if !is_right {
                faults.push(format!("{:?} is nowhere: {:?}", leg.id, leg.place));
            }
        }
        for (leg, conference) in &self.member_of {
            let place = self.legs.get(leg).and_then(|leg| leg.in_room());
            let members = self.conferences.get(conference).map(|c| &c.members);
            let is_member = members.is_some_and(|members| members.contains(leg));
            if !is_member || place.is_none_or(|app| app.conference != *conference) {
                faults.push(format!("{leg:?} is no member of {conference:?}"));
            }
        }
        let members: usize = self.conferences.values().map(|c| c.members.len()).sum();
        let in_rooms = self
            .legs
            .values()
            .filter(|leg| leg.in_room().is_some())
            .count();
        if members != self.member_of.len() || in_rooms != members {
            faults.push(format!(
                "{members} members of conferences, {in_rooms} in rooms"
            ));
        }
        if self.conferences.values().any(|c| c.members.is_empty()) {
            faults.push("a conference of nobody".to_owned());
        }
        let strays = named.iter().map(|named| format!("{named:?} is not there"));
        faults.extend(strays);
        faults
    }

    /// All of it as text.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Goes on from such a text.
    ///
    /// # Errors
    ///
    /// It is no such text.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn from_json(text: &str) -> Result<Board, serde_json::Error> {
        let mut board: Board = serde_json::from_str(text)?;
        board.note_all();
        Ok(board)
    }

    #[cfg(any(test, feature = "sim"))]
    fn note_all(&mut self) {
        for leg in std::mem::take(&mut self.legs).into_values() {
            self.insert_leg(leg);
        }
        for id in self.legs.keys().copied().collect::<Vec<_>>() {
            self.note_leg(id);
        }
        for id in self.dials.keys().copied().collect::<Vec<_>>() {
            self.note_dial(id);
        }
    }
}

fn one_less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// The lines that a leg is a call of, but for the slot it is parked in.
fn lines_of(leg: &Leg) -> impl Iterator<Item = Watchable> {
    let groups = leg.through.iter().copied().map(Watchable::Group);
    leg.party
        .user
        .map(Watchable::User)
        .into_iter()
        .chain(groups)
}
