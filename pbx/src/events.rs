//! What happens, for whoever watches the node: an event for each thing that begins, changes or ends.
//!
//! From call control's own parts, when something has changed: legs (compared with how they were last told),
//! messages, phones, users and groups, conflicts. To [`Output::Event`], and from there to the readers of
//! `/api/v1/events`. Nothing is made while nobody watches ([`Input::Watch`](crate::seam::Input)).
//!
//! | kind | when | body |
//! |---|---|---|
//! | `leg.begin` | it came in, or goes out | a leg, as in `tandem calls`, with its call |
//! | `leg.ring` | the phone that is called rings | the same |
//! | `leg.answer` | it is answered | the same |
//! | `leg.hold`, `leg.resume` | its party holds the others, or no longer | the same |
//! | `leg.move` | it is in another place | the same |
//! | `leg.end` | it is over | the same, with how it ended |
//! | `phone.registered`, `phone.gone` | a phone is somewhere new, or nowhere | its user and its number there |
//! | `message.new`, `.changed`, `.deleted`, `.destroyed` | as it says | a message, as in its mailbox's list |
//! | `message.heard`, `message.unheard`, `message.restored` | likewise | the same |
//! | `recording.begin`, `.pause`, `.resume`, `.end`, `.deleted` | as it says | a recording, as in its list |
//! | `user.changed`, `user.removed` | a setting of a user | a user, as listed, and what was set |
//! | `group.changed`, `group.removed` | likewise | a group |
//! | `room.changed`, `room.removed` | likewise | a room: its id, extension and name |
//! | `trunk.changed`, `trunk.removed`, `route.changed`, `route.removed` | likewise | as `tandem trunk list` and `tandem route list` |
//! | `code.changed` | likewise | a code to dial: its name, and what is dialled now |
//! | `schedule.changed`, `schedule.removed` | likewise | a schedule, as `tandem schedule list` has it |
//! | `blocked.added`, `blocked.removed` | the company refuses a number's calls, or no longer | the number |
//! | `speed_dial.changed`, `speed_dial.removed` | a speed dial | its digits, number and name |
//! | `conflict` | something lost in a merge | as listed |
//!
//! Invariants: no PIN, password, digest or sound is in a body. Who withholds the number has none here
//! either.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tandem_engine::seam::LegId;
use tandem_storage::name::Id;

use crate::admin;
use crate::call::leg::{Leg, Place};
use crate::call::listing::{self, name};
use crate::call_log::CallRecord;
use crate::groups;
use crate::mailbox::Message;
use crate::pbx::Pbx;
use crate::schedules;
use crate::seam::{Happened, Output};
use crate::state::PbxState;
use crate::trunks;

/// A leg as it was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    place: (&'static str, u64),
    is_answered: bool,
    holds: bool,
}

/// All of them; empty while nobody watches.
pub(crate) type ToldLegs = BTreeMap<LegId, Told>;

impl Told {
    fn of(leg: &Leg) -> Told {
        let number = match &leg.place {
            Place::Waits(dial) | Place::Rings(dial) => dial.0,
            Place::Bridge(bridge) => bridge.0,
            Place::App(_) | Place::Between => 0,
        };
        Told {
            place: (listing::phase(leg), number),
            is_answered: leg.answered.is_some(),
            holds: leg.holds,
        }
    }
}

impl PbxState {
    /// Something happened. `body` is only made if somebody watches.
    pub(crate) fn event(&mut self, kind: &'static str, body: impl FnOnce(&PbxState) -> Value) {
        if self.is_watched {
            let body = body(self);
            self.push(Output::Event(Happened { kind, body }));
        }
    }

    /// A phone of a user is somewhere new, or gone.
    pub(crate) fn phone_happened(&mut self, user: Id, slot: u32, is_there: bool) {
        let kind = match is_there {
            true => "phone.registered",
            false => "phone.gone",
        };
        self.event(
            kind,
            |x| json!({ "extension": x.office.extension(user), "phone": slot }),
        );
    }

    /// The company refuses the calls of a number, or no longer.
    pub(crate) fn blocking_happened(&mut self, number: &str, is_blocked: bool) {
        let kind = match is_blocked {
            true => "blocked.added",
            false => "blocked.removed",
        };
        self.event(kind, |_| json!({ "number": number }));
    }

    /// A speed dial is another, or gone.
    pub(crate) fn speed_dial_happened(&mut self, code: &str) {
        let row = self.office.speed_dials.get(code);
        let row = row.map(|dial| json!({ "code": code, "number": dial.number, "name": dial.name }));
        let kind = match row {
            Some(_) => "speed_dial.changed",
            None => "speed_dial.removed",
        };
        self.event(kind, |_| row.unwrap_or_else(|| json!({ "code": code })));
    }

    /// A message's register was set.
    pub(crate) fn message_happened(&mut self, key: &str, value: Option<&str>) {
        if !self.is_watched {
            return;
        }
        let mut parts = key.split('/').skip(1);
        let (id, what) = (parts.next().and_then(|id| id.parse().ok()), parts.next());
        let message = id.and_then(|id: Id| self.mailboxes.message(id)).cloned();
        let kind = match (what, value) {
            (Some("heard"), Some("true")) => "message.heard",
            (Some("heard"), _) => "message.unheard",
            (Some("deleted"), Some("true")) => "message.deleted",
            (Some("deleted"), _) => "message.restored",
            _ => "message.changed",
        };
        if let Some(message) = message {
            self.event(kind, |x| message_body(x, &message));
        }
    }

    /// A sound was sealed: it is a message now, or none any more.
    pub(crate) fn message_sealed(&mut self, id: Id, mailbox: Id) {
        if !self.is_watched {
            return;
        }
        match self.mailboxes.message(id).cloned() {
            Some(message) => self.event("message.new", |x| message_body(x, &message)),
            None => self.event(
                "message.destroyed",
                |x| json!({ "mailbox": x.office.extension(mailbox), "id": id }),
            ),
        }
    }

    /// What is dialled for a service was set.
    pub(crate) fn code_happened(&mut self, service: &str) {
        let mut codes = self.codes.iter();
        let code = codes.find(|code| code.service.name() == service);
        let code = code.map(|code| code.code.clone());
        let body = json!({ "name": service, "code": code });
        self.event("code.changed", |_| body);
    }

    /// A register of a user, group or room was set; `id` is whose.
    pub(crate) fn office_happened(&mut self, id: Id, key: &str) {
        if !self.is_watched {
            return;
        }
        let mut parts = key.split('/');
        let of = parts.next().unwrap_or_default();
        // The value of a PIN is its hash: no value of a register is told, only what listings show.
        let what = parts.nth(1).unwrap_or("itself").to_owned();
        let row = match of {
            "group" => groups::row(self, id),
            "room" => self
                .office
                .room(id)
                .map(|room| json!({ "id": id, "extension": room.extension, "name": room.name })),
            "trunk" => trunks::trunk_row(self, id),
            "route" => trunks::route_row(self, id),
            "schedule" => schedules::row(self, id),
            _ => admin::user_row(self, id),
        };
        let kind = match (of, row.is_some()) {
            ("group", true) => "group.changed",
            ("group", false) => "group.removed",
            ("room", true) => "room.changed",
            ("room", false) => "room.removed",
            ("trunk", true) => "trunk.changed",
            ("trunk", false) => "trunk.removed",
            ("route", true) => "route.changed",
            ("route", false) => "route.removed",
            ("schedule", true) => "schedule.changed",
            ("schedule", false) => "schedule.removed",
            (_, true) => "user.changed",
            (_, false) => "user.removed",
        };
        self.event(kind, |_| {
            let mut body = row.unwrap_or_else(|| json!({ "id": id }));
            body["set"] = what.into();
            body
        });
    }
}

impl Pbx {
    /// Somebody watches from now on, or nobody any more. What is there already is not told.
    pub(crate) fn on_watch(&mut self, is_watched: bool) {
        self.x.is_watched = is_watched;
        let legs = self.board.legs.values();
        self.told = match is_watched {
            true => legs.map(|leg| (leg.id, Told::of(leg))).collect(),
            false => ToldLegs::new(),
        };
    }

    /// Tells how the legs changed that were touched since the last time.
    pub(crate) fn tell_legs(&mut self, touched: BTreeSet<LegId>) {
        if !self.x.is_watched {
            return;
        }
        for id in touched {
            let Some(leg) = self.board.legs.get(&id) else {
                continue;
            };
            let now = Told::of(leg);
            let Some(before) = self.told.insert(id, now) else {
                self.leg_happened("leg.begin", id);
                continue;
            };
            if now.is_answered && !before.is_answered {
                self.leg_happened("leg.answer", id);
            }
            if now.place != before.place {
                self.leg_happened("leg.move", id);
            }
            if now.holds != before.holds {
                let kind = if now.holds { "leg.hold" } else { "leg.resume" };
                self.leg_happened(kind, id);
            }
        }
    }

    /// The phone that is called rings.
    pub(crate) fn leg_rings(&mut self, id: LegId) {
        if self.x.is_watched && self.told.contains_key(&id) {
            self.leg_happened("leg.ring", id);
        }
    }

    fn leg_happened(&mut self, kind: &'static str, id: LegId) {
        if let Some(leg) = self.board.legs.get(&id) {
            self.x.event(kind, |x| leg_body(x, leg));
        }
    }

    /// A leg is over.
    pub(crate) fn leg_over(&mut self, leg: &Leg, record: &CallRecord) {
        if !self.x.is_watched {
            return;
        }
        if self.told.remove(&leg.id).is_none() {
            self.x.event("leg.begin", |x| leg_body(x, leg));
        }
        self.x.event("leg.end", |x| {
            let mut body = leg_body(x, leg);
            body["ended"] = json!(record.ended);
            body["outcome"] = record.outcome().as_str().into();
            body["cause"] = (&*record.cause).into();
            body
        });
    }
}

/// A leg as listed, and the call it belongs to.
fn leg_body(x: &PbxState, leg: &Leg) -> Value {
    let mut body = listing::leg_row(x, leg);
    body["call"] = json!(name(x, leg.history.call.0));
    let from = leg.history.from.as_ref();
    body["from"] = match from {
        Some(from) => (&*from.number).into(),
        None => (&*leg.party.number).into(),
    };
    body["to"] = (&*leg.dialed).into();
    body["with"] = match (&leg.place, &leg.history.with) {
        (Place::Bridge(_), Some(with)) => (&*with.number).into(),
        _ => Value::Null,
    };
    body
}

/// A message as listed, and whose it is.
fn message_body(x: &PbxState, message: &Message) -> Value {
    let mut body = admin::message_row(x, message);
    body["mailbox"] = json!(x.office.extension(message.mailbox));
    body["deleted"] = message.deleted.into();
    body
}
