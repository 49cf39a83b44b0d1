//! The office as one file: what is in it, what is wrong with one, and how it differs from what is.
//!
//! A file names users, groups and rooms as people do, by extension; an `id` beside it says who that is, so that
//! two extensions can be swapped without swapping mailboxes. Who is not in the file is removed. Nothing
//! is written unless the whole file is right; then all of it is.

mod codes;
mod differences;
mod outside;
mod schedule;
mod speed;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;

pub use self::codes::CodeEntry;
use self::codes::check_codes;
pub use self::outside::{RouteEntry, TrunkEntry};
use self::outside::{check_outside, leads_outside, user_faults};
pub use self::schedule::ScheduleEntry;
use self::schedule::check_schedules;
pub use self::speed::SpeedDialEntry;
use self::speed::check_speed_dials;
use crate::groups::MEMBERS_MAX;
use crate::office::group::{Overflow, Strategy};
use crate::office::room::Room;
use crate::office::{Office, RecordWish};
use crate::trunks::{is_phone_number, number_fault};
use crate::users::{
    BLOCKED_MAX, COMPANY_BLOCKED_MAX, DND_EXCEPT_MAX, extension_fault, name_fault, numbers_fault,
};

/// The most users and groups together.
pub const ENTRIES_MAX: usize = 20_000;
/// So many registers are written at once: the log takes no more in one go.
const REGISTERS_MAX: usize = 50_000;
/// The longest digest or hash, and the longest number, in bytes.
const HASH_BYTES_MAX: usize = 512;
const NUMBER_BYTES_MAX: usize = 64;
/// So many faults are told at once.
pub const FAULTS_MAX: usize = 200;

/// All users and groups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfficeFile {
    /// Numbers whose calls from outside the company refuses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<Arc<str>>,
    /// Users, in the order of their extensions.
    #[serde(default)]
    pub user: Vec<UserEntry>,
    /// Groups, likewise.
    #[serde(default)]
    pub group: Vec<GroupEntry>,
    /// Rooms, likewise.
    #[serde(default)]
    pub room: Vec<RoomEntry>,
    /// Trunks, in the order of their names.
    #[serde(default)]
    pub trunk: Vec<TrunkEntry>,
    /// Routes, the one that says most first.
    #[serde(default)]
    pub route: Vec<RouteEntry>,
    /// Schedules, in the order of their names.
    #[serde(default)]
    pub schedule: Vec<ScheduleEntry>,
    /// Speed dials, in the order of their digits.
    #[serde(default)]
    pub speed_dial: Vec<SpeedDialEntry>,
    /// Codes that are not as people know them, in the order of their names.
    #[serde(default)]
    pub code: Vec<CodeEntry>,
}

/// One user. What is left out is as for any new user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UserEntry {
    /// Who it is; `None`: who has the extension, or somebody new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Arc<str>>,
    /// What one dials.
    pub extension: Arc<str>,
    /// For displays.
    pub name: Arc<str>,
    /// Digests of the password; `None`: as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ha1_md5: Option<Arc<str>>,
    /// The same with SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ha1_sha256: Option<Arc<str>>,
    /// Argon2 hash of the PIN, PHC form; `None`: as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin_hash: Option<Arc<str>>,
    /// In plain, as typed: whoever reads the file puts the digests in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Arc<str>>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<Arc<str>>,
    /// No calls are wanted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dnd: bool,
    /// Numbers and extensions that ring all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dnd_except: Vec<Arc<str>>,
    /// Where all calls go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward: Option<Arc<str>>,
    /// Where they go while the user is on the phone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_busy: Option<Arc<str>>,
    /// Where they go when nobody answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_no_answer: Option<Arc<str>>,
    /// Where they go while no phone is registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_unreachable: Option<Arc<str>>,
    /// No calls of who withholds the number.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reject_anonymous: bool,
    /// Numbers whose calls are refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<Arc<str>>,
    /// They come to the mailbox.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub blocked_to_mailbox: bool,
    /// What the user may call: `internal`, `outward`, `international`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Arc<str>>,
    /// Calls may be forwarded outside.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forward_outside: bool,
    /// Numbers outside that ring with the phones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rings_also: Vec<Arc<str>>,
    /// The number outside that is the user's phone for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub works_at: Option<Arc<str>>,
    /// Shown to who is called outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<Arc<str>>,
    /// `never` or `always`; `None`: on demand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Arc<str>>,
}

/// One group. What is left out is as for any new group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupEntry {
    /// Which it is; `None`: the one that has the extension, or a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Arc<str>>,
    /// What one dials.
    pub extension: Arc<str>,
    /// For displays.
    pub name: Arc<str>,
    /// By extension, in their order.
    pub members: Vec<Arc<str>>,
    /// `all`, `in_order`, `rotating`, `longest_idle`.
    pub strategy: Arc<str>,
    /// How long each step rings, in seconds.
    pub ring_s: u16,
    /// `mailbox`, `busy`, or an extension.
    pub overflow: Arc<str>,
    /// By name, when it is open; `None`: always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Arc<str>>,
    /// Where calls go while it is closed, as `overflow`.
    #[serde(skip_serializing_if = "is_mailbox")]
    pub night: Arc<str>,
    /// Argon2 hash of its mailbox's PIN, PHC form; `None`: as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin_hash: Option<Arc<str>>,
    /// In plain, as typed: whoever reads the file puts the hash in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<Arc<str>>,
}

fn is_mailbox(night: &str) -> bool {
    night == Overflow::Mailbox.name()
}

impl Default for GroupEntry {
    fn default() -> GroupEntry {
        GroupEntry {
            id: None,
            extension: "".into(),
            name: "".into(),
            members: Vec::new(),
            strategy: Strategy::All.name().into(),
            ring_s: 20,
            overflow: Overflow::Mailbox.name().into(),
            schedule: None,
            night: Overflow::Mailbox.name().into(),
            pin_hash: None,
            pin: None,
        }
    }
}

/// One room. What is left out is as for any new room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoomEntry {
    /// Which it is; `None`: the one that has the extension, or a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Arc<str>>,
    /// What one dials.
    pub extension: Arc<str>,
    /// For displays.
    pub name: Arc<str>,
    /// So many can be in it at once.
    pub members_max: u16,
    /// Only hosts are heard at first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lecture: bool,
    /// Argon2 hash of its PIN, PHC form; `None`: as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin_hash: Option<Arc<str>>,
    /// Argon2 hash of its hosts' PIN, PHC form; `None`: as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_pin_hash: Option<Arc<str>>,
    /// In plain, as typed: whoever reads the file puts the hash in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<Arc<str>>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_pin: Option<Arc<str>>,
}

impl Default for RoomEntry {
    fn default() -> RoomEntry {
        let room = Room::new("".into());
        RoomEntry {
            id: None,
            extension: room.extension,
            name: "".into(),
            members_max: room.members_max,
            lecture: room.is_lecture,
            pin_hash: None,
            host_pin_hash: None,
            pin: None,
            host_pin: None,
        }
    }
}

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// `user`, `group`, `room`, `trunk`, `route`, `schedule`, `speed_dial`, `code`
    /// or `blocked`.
    pub table: String,
    /// Which of them, from 0.
    pub index: usize,
    /// Which of its keys.
    pub key: String,
    /// What, and how to mend it.
    pub what: String,
}

/// A file beside what is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// What is wrong with it; nothing else is said then.
    pub faults: Vec<Fault>,
    /// What would be different, one line each.
    pub changes: Vec<String>,
    /// The registers that make it so: key and value, `None`: removed.
    pub registers: Vec<(Arc<str>, Option<Arc<str>>)>,
}

/// Users or groups of a file, with who each is.
struct Named {
    users: Vec<(Id, bool)>,
    groups: Vec<(Id, bool)>,
    rooms: Vec<(Id, bool)>,
    /// Every extension of the file.
    extensions: BTreeMap<Arc<str>, Id>,
    /// Every schedule of the file, by name.
    schedules: BTreeMap<Arc<str>, Id>,
}

impl Named {
    fn is_room(&self, id: Id) -> bool {
        self.rooms.iter().any(|(room, _)| *room == id)
    }
}

impl Office {
    /// The office as a file.
    pub(crate) fn export(&self) -> OfficeFile {
        let mut file = OfficeFile::default();
        // Those who claim one extension as well: such a file cannot be applied before that is settled,
        // but nobody is removed by it.
        for id in self.users() {
            let Some(account) = self.account(id) else {
                continue;
            };
            let settings = self.settings(id);
            file.user.push(UserEntry {
                id: Some(id.to_string().into()),
                extension: account.extension.clone(),
                name: account.name.clone(),
                ha1_md5: Some(account.ha1_md5.clone()),
                ha1_sha256: Some(account.ha1_sha256.clone()),
                pin_hash: settings.pin,
                password: None,
                pin: None,
                dnd: settings.dnd,
                dnd_except: settings.dnd_except,
                forward: settings.forward,
                forward_busy: settings.forward_busy,
                forward_no_answer: settings.forward_no_answer,
                forward_unreachable: settings.forward_unreachable,
                reject_anonymous: settings.reject_anonymous,
                blocked: settings.blocked,
                blocked_to_mailbox: settings.blocked_to_mailbox,
                class: settings.class.map(|class| class.name().into()),
                forward_outside: settings.forward_outside,
                rings_also: settings.rings_also,
                works_at: settings.works_at,
                caller_id: settings.caller_id,
                record: (settings.record != RecordWish::default())
                    .then(|| settings.record.name().into()),
            });
        }
        for (id, group) in self.groups() {
            let members = group.members.iter();
            file.group.push(GroupEntry {
                id: Some(id.to_string().into()),
                extension: group.extension.clone(),
                name: group.name.clone(),
                members: members
                    .filter_map(|user| self.extension(*user).cloned())
                    .collect(),
                strategy: group.strategy.name().into(),
                ring_s: group.ring_s,
                overflow: group.overflow.name().into(),
                schedule: group.schedule.and_then(|id| {
                    let schedule = self.schedules.get(id)?;
                    Some(schedule.name.clone())
                }),
                night: group.night.name().into(),
                pin_hash: self.settings(id).pin,
                pin: None,
            });
        }
        for (id, room) in self.rooms() {
            let settings = self.settings(id);
            file.room.push(RoomEntry {
                id: Some(id.to_string().into()),
                extension: room.extension.clone(),
                name: room.name.clone(),
                members_max: room.members_max,
                lecture: room.is_lecture,
                pin_hash: settings.pin,
                host_pin_hash: settings.host_pin,
                pin: None,
                host_pin: None,
            });
        }
        file.blocked = self.blocked().cloned().collect();
        self.export_outside(&mut file);
        self.export_schedules(&mut file);
        self.export_speed_dials(&mut file);
        self.export_codes(&mut file);
        file.room.sort_by(|a, b| a.extension.cmp(&b.extension));
        file.user.sort_by(|a, b| a.extension.cmp(&b.extension));
        file.group.sort_by(|a, b| a.extension.cmp(&b.extension));
        file
    }

    /// Holds a file against what is. New users and groups are named by `new_id`.
    pub(crate) fn compare(&self, file: &OfficeFile, new_id: &mut dyn FnMut() -> Id) -> Comparison {
        let mut faults = Faults::default();
        let entries = file.user.len() + file.group.len() + file.room.len();
        if entries > ENTRIES_MAX {
            let what = format!("at most {ENTRIES_MAX} users, groups and rooms, not {entries}");
            faults.add("user", 0, "extension", what);
            return faults.into_comparison();
        }
        let named = self.names(file, new_id, &mut faults);
        let trunks = self.trunk_ids(file, new_id);
        check_outside(file, &named.extensions, &trunks, &mut faults);
        check_schedules(file, &self.schedules, &mut faults);
        check_speed_dials(file, &mut faults);
        check_codes(file, &named.extensions, &mut faults);
        self.check_users(file, &named, &mut faults);
        check_groups(file, &named, &mut faults);
        check_blocked(file, &mut faults);
        check_rooms(file, &mut faults);
        if !faults.0.is_empty() {
            return faults.into_comparison();
        }
        let mut told = self.differences(file, &named);
        self.outside_differs(&mut told, file, &trunks, new_id);
        self.schedules_differ(&mut told, file, &named.schedules);
        self.speed_dials_differ(&mut told, file);
        self.codes_differ(&mut told, file);
        if told.registers.len() > REGISTERS_MAX {
            let mut faults = Faults::default();
            let what = format!(
                "this changes {} settings at once; apply it in parts of at most {REGISTERS_MAX}",
                told.registers.len()
            );
            faults.add("user", 0, "extension", what);
            return faults.into_comparison();
        }
        told
    }

    /// Who each entry is, and which are new.
    fn names(
        &self,
        file: &OfficeFile,
        new_id: &mut dyn FnMut() -> Id,
        faults: &mut Faults,
    ) -> Named {
        let mut named = Named {
            users: Vec::new(),
            groups: Vec::new(),
            rooms: Vec::new(),
            extensions: BTreeMap::new(),
            schedules: self.schedule_ids(file, new_id),
        };
        let mut taken = BTreeSet::new();
        let ids = file.user.iter().map(|u| &u.id);
        let ids = ids.chain(file.group.iter().map(|g| &g.id));
        let ids = ids.chain(file.room.iter().map(|r| &r.id)).flatten();
        let given_ids: BTreeSet<Id> = ids.filter_map(|id| id.parse().ok()).collect();
        let users = file.user.iter().map(|u| ("user", &u.id, &u.extension));
        let groups = file.group.iter().map(|g| ("group", &g.id, &g.extension));
        let rooms = file.room.iter().map(|r| ("room", &r.id, &r.extension));
        let mut index = BTreeMap::from([("user", 0), ("group", 0), ("room", 0)]);
        for (table, given, extension) in users.chain(groups).chain(rooms) {
            let at = index.entry(table).or_default();
            let is_known = |id: &Id| match table {
                "user" => self.account(*id).is_some(),
                "room" => self.room(*id).is_some(),
                _ => self.group(*id).is_some(),
            };
            let known = match given {
                Some(text) => {
                    let id = text.parse::<Id>().ok().filter(is_known);
                    if id.is_none() {
                        let what =
                            format!("no {table} is named {text}; leave the id out for a new one");
                        faults.add(table, *at, "id", what);
                    }
                    id
                }
                // Who is named by an id elsewhere has left the extension to somebody new.
                None => {
                    let holder = self.holder(extension).filter(is_known);
                    holder.filter(|id| !given_ids.contains(id))
                }
            };
            let (id, is_new) = known.map_or_else(|| (new_id(), true), |id| (id, false));
            if !taken.insert(id) {
                let what = format!("{id} is there twice");
                faults.add(table, *at, "id", what);
            }
            if let Some(what) = extension_fault(extension) {
                faults.add(table, *at, "extension", what);
            } else if named.extensions.insert(extension.clone(), id).is_some() {
                let what = format!("the extension {extension} is there twice");
                faults.add(table, *at, "extension", what);
            }
            *at += 1;
            match table {
                "user" => named.users.push((id, is_new)),
                "room" => named.rooms.push((id, is_new)),
                _ => named.groups.push((id, is_new)),
            }
        }
        named
    }

    fn check_users(&self, file: &OfficeFile, named: &Named, faults: &mut Faults) {
        for (index, (user, (id, is_new))) in file.user.iter().zip(&named.users).enumerate() {
            let mut fault = |key: &str, what: String| faults.add("user", index, key, what);
            if let Some(what) = name_fault(&user.name) {
                fault("name", what);
            }
            let has_password = user.ha1_md5.is_some() && user.ha1_sha256.is_some();
            if user.ha1_md5.is_some() != user.ha1_sha256.is_some() {
                fault(
                    "ha1_md5",
                    "ha1_md5 and ha1_sha256 belong together".to_owned(),
                );
            } else if *is_new && !has_password {
                fault("extension", "a new user needs a password".to_owned());
            }
            let before = self.account(*id).map(|account| &account.extension);
            let digests = self.account(*id).map(|account| &account.ha1_md5);
            let moves = before.is_some_and(|before| *before != user.extension);
            if moves && (!has_password || user.ha1_md5.as_ref() == digests) {
                // The digests were made with the old extension, so no phone could log in.
                let what = "a new extension needs a new password: add password = \"…\"";
                fault("extension", what.to_owned());
            }
            for (key, to) in forwards(user) {
                let Some(to) = to else { continue };
                match named.extensions.get(to).filter(|id| !named.is_room(**id)) {
                    None if leads_outside(file, to) && user.forward_outside => {}
                    None if leads_outside(file, to) => {
                        let what = "calls of this user may not be forwarded outside; \
                                    forward_outside = true lets them";
                        fault(key, what.to_owned());
                    }
                    None => fault(key, format!("nobody has the extension {to}")),
                    Some(other) if other == id => {
                        fault(
                            key,
                            "calls cannot be forwarded to where they come from".to_owned(),
                        );
                    }
                    Some(_) => {}
                }
            }
            for (key, what) in user_faults(file, &named.extensions, user) {
                fault(key, what);
            }
            let record = user
                .record
                .as_deref()
                .filter(|wish| RecordWish::named(wish).is_none());
            if let Some(wish) = record {
                let what = format!("'{wish}' is not never, on-demand or always");
                fault("record", what);
            }
            let hashes = [&user.ha1_md5, &user.ha1_sha256, &user.pin_hash];
            if hashes.iter().any(|hash| is_too_long(hash)) {
                fault(
                    "ha1_md5",
                    format!("a hash is at most {HASH_BYTES_MAX} bytes long"),
                );
            }
            if user
                .blocked
                .iter()
                .any(|number| number.len() > NUMBER_BYTES_MAX)
            {
                fault(
                    "blocked",
                    format!("a number is at most {NUMBER_BYTES_MAX} bytes long"),
                );
            }
            if let Some(what) = numbers_fault(&user.dnd_except, DND_EXCEPT_MAX) {
                fault("dnd_except", what);
            }
            if user.blocked.len() > BLOCKED_MAX {
                fault(
                    "blocked",
                    format!("at most {BLOCKED_MAX} numbers can be blocked"),
                );
            }
        }
    }
}

fn check_blocked(file: &OfficeFile, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (index, number) in file.blocked.iter().enumerate() {
        if !is_phone_number(number) {
            faults.add("blocked", index, "", number_fault(number));
        } else if !seen.insert(number) {
            faults.add("blocked", index, "", format!("{number} is there twice"));
        }
    }
    if seen.len() > COMPANY_BLOCKED_MAX {
        let what = format!("at most {COMPANY_BLOCKED_MAX} numbers can be blocked");
        faults.add("blocked", 0, "", what);
    }
}

fn check_groups(file: &OfficeFile, named: &Named, faults: &mut Faults) {
    let users: BTreeSet<&str> = file.user.iter().map(|user| &*user.extension).collect();
    for (index, group) in file.group.iter().enumerate() {
        let mut fault = |key: &str, what: String| faults.add("group", index, key, what);
        if let Some(what) = name_fault(&group.name) {
            fault("name", what);
        }
        if group.members.len() > MEMBERS_MAX {
            fault(
                "members",
                format!("a group has at most {MEMBERS_MAX} members"),
            );
        }
        if is_too_long(&group.pin_hash) {
            fault(
                "pin_hash",
                format!("a hash is at most {HASH_BYTES_MAX} bytes long"),
            );
        }
        let mut seen = BTreeSet::new();
        for member in group.members.iter().take(MEMBERS_MAX) {
            if !users.contains(&**member) {
                fault("members", format!("no user has the extension {member}"));
            } else if !seen.insert(member) {
                fault("members", format!("{member} is named twice"));
            }
        }
        if Strategy::parse(&group.strategy).is_none() {
            let strategy = &group.strategy;
            let what = format!(
                "'{strategy}' is none of all, in_order, rotating, longest_idle, page, page_two_way"
            );
            fault("strategy", what);
        }
        if !crate::groups::RING_S.contains(&group.ring_s) {
            let ring_s = group.ring_s;
            fault(
                "ring_s",
                format!("it can ring 3 to 300 seconds, not {ring_s}"),
            );
        }
        for (key, leads) in [("overflow", &group.overflow), ("night", &group.night)] {
            if let Overflow::Number(to) = Overflow::parse(leads)
                && named
                    .extensions
                    .get(&to)
                    .is_none_or(|id| named.is_room(*id))
            {
                fault(
                    key,
                    format!("'{to}' is not mailbox, busy, or an extension of the file"),
                );
            }
        }
        if let Some(name) = group.schedule.as_ref()
            && !named.schedules.contains_key(name)
        {
            fault("schedule", format!("no schedule is called {name}"));
        }
    }
}

fn check_rooms(file: &OfficeFile, faults: &mut Faults) {
    for (index, room) in file.room.iter().enumerate() {
        let mut fault = |key: &str, what: String| faults.add("room", index, key, what);
        if let Some(what) = name_fault(&room.name) {
            fault("name", what);
        }
        if let Some(what) = crate::rooms::members_fault(room.members_max) {
            fault("members_max", what);
        }
        if is_too_long(&room.pin_hash) || is_too_long(&room.host_pin_hash) {
            let what = format!("a hash is at most {HASH_BYTES_MAX} bytes long");
            fault("pin_hash", what);
        }
    }
}

fn is_too_long(hash: &Option<Arc<str>>) -> bool {
    hash.as_ref()
        .is_some_and(|hash| hash.len() > HASH_BYTES_MAX)
}

/// A user's forwards by their keys.
fn forwards(user: &UserEntry) -> [(&'static str, &Option<Arc<str>>); 4] {
    [
        ("forward", &user.forward),
        ("forward_busy", &user.forward_busy),
        ("forward_no_answer", &user.forward_no_answer),
        ("forward_unreachable", &user.forward_unreachable),
    ]
}

/// Faults, as many as are told.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, table: &str, index: usize, key: &str, what: String) {
        if self.0.len() < FAULTS_MAX {
            let (table, key) = (table.to_owned(), key.to_owned());
            self.0.push(Fault {
                table,
                index,
                key,
                what,
            });
        }
    }

    fn into_comparison(mut self) -> Comparison {
        self.0
            .sort_by(|a, b| (&b.table, a.index).cmp(&(&a.table, b.index)));
        Comparison {
            faults: self.0,
            ..Comparison::default()
        }
    }
}
