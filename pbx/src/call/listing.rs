//! The board as people see it: `tandem calls`, one row a place with the legs that are in it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tandem_engine::seam::LegId;
use tandem_storage::name::Id;

use crate::call::board::Board;
use crate::call::leg::{Direction, Leg, Place};
use crate::state::PbxState;

/// What makes a place the same for two legs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Place(u64),
    Alone(LegId),
}

impl Board {
    /// Calls, by the one who called first.
    pub(crate) fn rows(&self, x: &PbxState) -> Value {
        let mut places: BTreeMap<Key, Vec<&Leg>> = BTreeMap::new();
        for leg in self.legs.values() {
            places.entry(key(leg)).or_default().push(leg);
        }
        let mut rows: Vec<(LegId, Value)> = places
            .into_iter()
            .filter_map(|(key, legs)| {
                let caller = legs.iter().find(|leg| leg.direction == Direction::In);
                let first = caller.or(legs.first())?;
                Some((first.id, row(x, key, first, &legs)))
            })
            .collect();
        rows.sort_by_key(|(leg, _)| *leg);
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

fn key(leg: &Leg) -> Key {
    match &leg.place {
        Place::Waits(dial) | Place::Rings(dial) => Key::Place(dial.0),
        Place::Bridge(bridge) => Key::Place(bridge.0),
        Place::App(_) | Place::Between => match leg.in_room() {
            Some(app) => Key::Place(app.conference.0),
            None => Key::Alone(leg.id),
        },
    }
}

fn row(x: &PbxState, key: Key, first: &Leg, legs: &[&Leg]) -> Value {
    let place = match key {
        Key::Place(number) => Some(name(x, number)),
        Key::Alone(_) => None,
    };
    let listed: Vec<Value> = legs.iter().map(|leg| leg_row(x, leg)).collect();
    json!({
        "leg": name(x, first.id.0),
        "from": { "number": first.party.number, "name": first.party.name },
        "to": first.dialed,
        "phase": phase(first),
        "held_by": holder(first, legs),
        "started": first.started,
        "answered": first.answered,
        "place": place,
        "legs": listed,
    })
}

pub(crate) fn leg_row(x: &PbxState, leg: &Leg) -> Value {
    json!({
        "leg": name(x, leg.id.0),
        "direction": leg.direction,
        "number": leg.party.number,
        "name": leg.party.name,
        "state": leg.state,
        "holds": leg.holds,
        "place": phase(leg),
        "since": leg.answered.unwrap_or(leg.started),
    })
}

/// A leg or a place, as it is named at every node and in every log.
pub(crate) fn name(x: &PbxState, number: u64) -> Id {
    Id {
        node: x.node(),
        epoch: x.epoch(),
        number,
    }
}

pub(crate) fn phase(leg: &Leg) -> &'static str {
    match &leg.place {
        Place::Waits(_) | Place::Rings(_) => "ringing",
        Place::Bridge(_) => "talking",
        Place::App(app) => app.name(),
        Place::Between => "over",
    }
}

/// Which party holds the others.
fn holder(first: &Leg, legs: &[&Leg]) -> Option<&'static str> {
    let others = legs.iter().any(|leg| leg.id != first.id && leg.holds);
    match (first.holds, others) {
        (false, false) => None,
        (true, false) => Some("caller"),
        (false, true) => Some("called"),
        (true, true) => Some("both"),
    }
}
