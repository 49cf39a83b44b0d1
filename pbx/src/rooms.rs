//! Rooms as an administrator makes, changes and removes them, and who is in them now.

use std::sync::Arc;

use serde_json::{Value, json};
use tandem_engine::seam::LegId;
use tandem_storage::name::Id;

use crate::call::conference::Conference;
use crate::call::listing::name;
use crate::office::json;
use crate::office::room::{MEMBERS_MAX, Room, host_pin_key, room_key, room_pin_key};
use crate::pbx::Pbx;
use crate::seam::RoomChange;
use crate::state::Waiter;
use crate::users::{extension_fault, name_fault};

impl Pbx {
    pub(crate) fn add_room(
        &mut self,
        asker: u64,
        extension: &Arc<str>,
        change: RoomChange,
    ) -> Result<(), String> {
        extension_fault(extension).map_or(Ok(()), Err)?;
        self.is_free(extension)?;
        let id = self.x.new_id();
        self.write_room(asker, id, Room::new(extension.clone()), change)
    }

    pub(crate) fn set_room(
        &mut self,
        asker: u64,
        extension: &str,
        change: RoomChange,
    ) -> Result<(), String> {
        let id = self.room_of(extension)?;
        let room = self.x.office.room(id).cloned();
        self.write_room(asker, id, room.ok_or("the room is gone")?, change)
    }

    pub(crate) fn remove_room(&mut self, asker: u64, extension: &str) -> Result<(), String> {
        let id = self.room_of(extension)?;
        for key in [room_pin_key(id), host_pin_key(id)] {
            self.x.append_register(Waiter::Nobody, key, None);
        }
        self.x
            .append_register(Waiter::Asker(asker), room_key(id), None);
        Ok(())
    }

    fn room_of(&self, extension: &str) -> Result<Id, String> {
        let rooms = &mut self.x.office.rooms();
        let found = rooms.find(|(_, room)| &*room.extension == extension);
        let none = || format!("no room has the extension {extension}");
        found.map(|(id, _)| id).ok_or_else(none)
    }

    fn write_room(
        &mut self,
        asker: u64,
        id: Id,
        mut room: Room,
        change: RoomChange,
    ) -> Result<(), String> {
        if let Some(to) = change.extension.filter(|to| *to != room.extension) {
            extension_fault(&to).map_or(Ok(()), Err)?;
            self.is_free(&to)?;
            room.extension = to;
        }
        if let Some(name) = change.name {
            name_fault(&name).map_or(Ok(()), Err)?;
            room.name = name;
        }
        if let Some(members_max) = change.members_max {
            members_fault(members_max).map_or(Ok(()), Err)?;
            room.members_max = members_max;
        }
        room.is_lecture = change.is_lecture.unwrap_or(room.is_lecture);
        let pins = [
            (room_pin_key(id), change.pin_hash),
            (host_pin_key(id), change.host_pin_hash),
        ];
        for (key, hash) in pins {
            if let Some(hash) = hash {
                let value = hash.map(|hash| json(&hash));
                self.x.append_register(Waiter::Nobody, key, value);
            }
        }
        let value = Some(json(&room));
        self.x
            .append_register(Waiter::Asker(asker), room_key(id), value);
        Ok(())
    }

    /// Rooms and pages, and who is in them.
    pub(crate) fn rooms_json(&self) -> Value {
        let meeting_in = |id: Id| {
            let mut meetings = self.board.conferences.values();
            meetings.find(|c| c.of == id && c.pager.is_none())
        };
        let rooms = self.x.office.rooms().map(|(id, room)| {
            let settings = self.x.office.settings(id);
            let meeting = meeting_in(id);
            json!({
                "id": id,
                "extension": room.extension,
                "name": room.name,
                "members_max": room.members_max,
                "has_pin": settings.pin.is_some(),
                "has_host_pin": settings.host_pin.is_some(),
                "lecture": meeting.map_or(room.is_lecture, |m| m.is_lecture),
                "locked": meeting.is_some_and(|m| m.is_locked),
                "members": meeting.map_or(json!([]), |m| self.members_json(m)),
            })
        });
        rooms.collect()
    }

    fn members_json(&self, meeting: &Conference) -> Value {
        let row = |id: &LegId| {
            let leg = self.board.legs.get(id)?;
            let app = leg.in_room()?;
            Some(json!({
                "leg": name(&self.x, id.0),
                "number": leg.party.number,
                "name": leg.party.name,
                "host": app.is_host,
                "muted": app.is_muted || leg.holds || meeting.is_lecture && !app.is_host,
                "since": leg.answered.unwrap_or(leg.started),
            }))
        };
        meeting.members.iter().filter_map(row).collect()
    }
}

/// What is wrong with a room's size, if anything.
pub(crate) fn members_fault(members_max: u16) -> Option<String> {
    let fits = (2..=MEMBERS_MAX).contains(&members_max);
    (!fits).then(|| format!("a room holds 2 to {MEMBERS_MAX}, not {members_max}"))
}
