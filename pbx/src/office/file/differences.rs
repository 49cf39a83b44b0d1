//! How a right file differs from the office as it is: in words, and as registers.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;

use tandem_storage::name::Id;

use super::{Comparison, GroupEntry, Named, OfficeFile, RoomEntry, UserEntry, forwards};
use crate::office::group::{Group, Overflow, Strategy, group_key};
use crate::office::room::{Room, host_pin_key, room_key, room_pin_key};
use crate::office::{
    Account, ForwardCase, Office, RecordWish, Settings, account_key, blocked_key,
    blocked_to_mailbox_key, caller_id_key, class_key, company_blocked_key, dnd_except_key, dnd_key,
    forward_case_key, forward_key, forward_outside_key, json, pin_key, record_key,
    reject_anonymous_key, rings_also_key, works_at_key,
};
use crate::seam::ClassOfService;

impl Office {
    pub(super) fn differences(&self, file: &OfficeFile, named: &Named) -> Comparison {
        let mut told = Comparison::default();
        for (user, (id, is_new)) in file.user.iter().zip(&named.users) {
            self.user_differs(&mut told, user, *id, *is_new);
        }
        for (group, (id, is_new)) in file.group.iter().zip(&named.groups) {
            self.group_differs(&mut told, group, *id, *is_new, named);
        }
        for (room, (id, is_new)) in file.room.iter().zip(&named.rooms) {
            self.room_differs(&mut told, room, *id, *is_new);
        }
        let kept: BTreeSet<Id> = named
            .users
            .iter()
            .chain(&named.groups)
            .chain(&named.rooms)
            .map(|n| n.0)
            .collect();
        let blocked: BTreeSet<&Arc<str>> = file.blocked.iter().collect();
        for number in blocked
            .iter()
            .filter(|number| !self.blocked.contains(**number))
        {
            told.changes.push(format!("+ blocked {number}"));
            let value = Some(json(&true));
            told.registers.push((company_blocked_key(number), value));
        }
        for number in self.blocked().filter(|number| !blocked.contains(number)) {
            told.changes.push(format!("- blocked {number}"));
            told.registers.push((company_blocked_key(number), None));
        }
        let gone = self.users().filter(|id| !kept.contains(id));
        for (id, account) in gone.filter_map(|id| Some((id, self.account(id)?))) {
            let Account {
                extension, name, ..
            } = account;
            told.changes.push(format!("- user {extension} {name}"));
            told.registers.push((pin_key(id), None));
            told.registers.push((account_key(id), None));
        }
        for (id, group) in self.groups().filter(|(id, _)| !kept.contains(id)) {
            let Group {
                extension, name, ..
            } = group;
            told.changes.push(format!("- group {extension} {name}"));
            told.registers.push((pin_key(id), None));
            told.registers.push((group_key(id), None));
        }
        for (id, room) in self.rooms().filter(|(id, _)| !kept.contains(id)) {
            let (extension, name) = (&room.extension, &room.name);
            told.changes.push(format!("- room {extension} {name}"));
            for key in [room_pin_key(id), host_pin_key(id), room_key(id)] {
                told.registers.push((key, None));
            }
        }
        told
    }

    fn user_differs(&self, told: &mut Comparison, user: &UserEntry, id: Id, is_new: bool) {
        let old = self.account(id);
        let digest = |given: &Option<Arc<str>>, old: Option<&Arc<str>>| {
            given.clone().or_else(|| old.cloned()).unwrap_or_default()
        };
        let account = Account {
            extension: user.extension.clone(),
            name: user.name.clone(),
            ha1_md5: digest(&user.ha1_md5, old.map(|a| &a.ha1_md5)),
            ha1_sha256: digest(&user.ha1_sha256, old.map(|a| &a.ha1_sha256)),
        };
        let mut diff = Differences::new(told);
        if let Some(old) = old {
            diff.see("extension", &old.extension, &account.extension);
            diff.see("name", &old.name, &account.name);
            if old.ha1_md5 != account.ha1_md5 || old.ha1_sha256 != account.ha1_sha256 {
                diff.parts.push("password".to_owned());
            }
        }
        if old != Some(&account) {
            diff.set(account_key(id), Some(json(&account)));
        }
        let settings = self.settings(id);
        if let Some(hash) = user
            .pin_hash
            .as_ref()
            .filter(|hash| settings.pin.as_ref() != Some(hash))
        {
            diff.parts.push("PIN".to_owned());
            diff.set(pin_key(id), Some(json(hash)));
        }
        diff.flag("dnd", settings.dnd, user.dnd, dnd_key(id));
        if settings.dnd_except != user.dnd_except {
            diff.say("exceptions from dnd");
            let value = (!user.dnd_except.is_empty()).then(|| json(&user.dnd_except));
            diff.set(dnd_except_key(id), value);
        }
        let key = blocked_to_mailbox_key(id);
        let (old, new) = (settings.blocked_to_mailbox, user.blocked_to_mailbox);
        diff.flag("blocked_to_mailbox", old, new, key);
        let key = reject_anonymous_key(id);
        diff.flag(
            "reject_anonymous",
            settings.reject_anonymous,
            user.reject_anonymous,
            key,
        );
        for (key, to) in forwards(user) {
            let (old, register) = forward_of(&settings, key, id);
            if old != to.as_ref() {
                let show =
                    |to: Option<&Arc<str>>| to.map_or("none".to_owned(), |to| to.to_string());
                diff.see(key, &show(old), &show(to.as_ref()));
                diff.set(register, to.as_ref().map(json));
            }
        }
        let class = user.class.as_deref().and_then(ClassOfService::parse);
        if settings.class != class {
            let name = |class: Option<ClassOfService>| class.map_or("default", |c| c.name());
            diff.see("class", name(settings.class), name(class));
            diff.set(class_key(id), class.map(|class| json(&class)));
        }
        let key = forward_outside_key(id);
        let (old, new) = (settings.forward_outside, user.forward_outside);
        diff.flag("forward_outside", old, new, key);
        if settings.rings_also != user.rings_also {
            diff.say("numbers that ring also");
            let value = (!user.rings_also.is_empty()).then(|| json(&user.rings_also));
            diff.set(rings_also_key(id), value);
        }
        let texts = [
            (
                "works_at",
                &settings.works_at,
                &user.works_at,
                works_at_key(id),
            ),
            (
                "caller_id",
                &settings.caller_id,
                &user.caller_id,
                caller_id_key(id),
            ),
        ];
        for (name, old, new, key) in texts {
            if old != new {
                let text = |text: &Option<Arc<str>>| text.clone().unwrap_or("none".into());
                diff.see(name, &text(old), &text(new));
                diff.set(key, new.as_ref().map(json));
            }
        }
        if settings.blocked != user.blocked {
            diff.parts.push("blocked numbers".to_owned());
            let value = (!user.blocked.is_empty()).then(|| json(&user.blocked));
            diff.set(blocked_key(id), value);
        }
        let record = user.record.as_deref().and_then(RecordWish::named);
        let record = record.unwrap_or_default();
        if settings.record != record {
            diff.see("record", &settings.record.name(), &record.name());
            let value = (record != RecordWish::default()).then(|| json(record.name()));
            diff.set(record_key(id), value);
        }
        diff.finish("user", &user.extension, &user.name, is_new);
    }

    fn room_differs(&self, told: &mut Comparison, entry: &RoomEntry, id: Id, is_new: bool) {
        let room = Room {
            extension: entry.extension.clone(),
            name: entry.name.clone(),
            members_max: entry.members_max,
            is_lecture: entry.lecture,
        };
        let mut diff = Differences::new(told);
        if let Some(old) = self.room(id) {
            diff.see("extension", &old.extension, &room.extension);
            diff.see("name", &old.name, &room.name);
            diff.see("members_max", &old.members_max, &room.members_max);
            diff.see("lecture", &old.is_lecture, &room.is_lecture);
        }
        if self.room(id) != Some(&room) {
            diff.set(room_key(id), Some(json(&room)));
        }
        let settings = self.settings(id);
        let pins = [
            ("PIN", &entry.pin_hash, settings.pin, room_pin_key(id)),
            (
                "PIN of its hosts",
                &entry.host_pin_hash,
                settings.host_pin,
                host_pin_key(id),
            ),
        ];
        for (what, new, old, key) in pins {
            if let Some(hash) = new.as_ref().filter(|hash| old.as_ref() != Some(hash)) {
                diff.parts.push(what.to_owned());
                diff.set(key, Some(json(hash)));
            }
        }
        diff.finish("room", &entry.extension, &entry.name, is_new);
    }

    fn group_differs(
        &self,
        told: &mut Comparison,
        entry: &GroupEntry,
        id: Id,
        is_new: bool,
        named: &Named,
    ) {
        let members = entry.members.iter();
        let group = Group {
            extension: entry.extension.clone(),
            name: entry.name.clone(),
            members: members
                .filter_map(|member| named.extensions.get(member).copied())
                .collect(),
            strategy: Strategy::parse(&entry.strategy).unwrap_or_default(),
            ring_s: entry.ring_s,
            overflow: Overflow::parse(&entry.overflow),
            schedule: {
                let name = entry.schedule.as_ref();
                name.and_then(|name| named.schedules.get(name).copied())
            },
            night: Overflow::parse(&entry.night),
        };
        let mut diff = Differences::new(told);
        if let Some(old) = self.group(id) {
            diff.see("extension", &old.extension, &group.extension);
            diff.see("name", &old.name, &group.name);
            if old.members != group.members {
                diff.parts
                    .push(format!("members {}", entry.members.join(" ")));
            }
            diff.see("strategy", old.strategy.name(), group.strategy.name());
            diff.see("ring_s", &old.ring_s, &group.ring_s);
            diff.see("overflow", old.overflow.name(), group.overflow.name());
            let was = old.schedule.and_then(|id| self.schedules.get(id));
            let was = was.map_or("none", |schedule| &*schedule.name);
            diff.see("schedule", was, entry.schedule.as_deref().unwrap_or("none"));
            diff.see("night", old.night.name(), group.night.name());
        }
        if self.group(id) != Some(&group) {
            diff.set(group_key(id), Some(json(&group)));
        }
        let pin = self.settings(id).pin;
        if let Some(hash) = entry
            .pin_hash
            .as_ref()
            .filter(|hash| pin.as_ref() != Some(hash))
        {
            diff.parts.push("PIN".to_owned());
            diff.set(pin_key(id), Some(json(hash)));
        }
        diff.finish("group", &entry.extension, &entry.name, is_new);
    }
}

/// Where calls go now in the case of this key, and the register that says so.
fn forward_of<'a>(settings: &'a Settings, key: &str, id: Id) -> (Option<&'a Arc<str>>, Arc<str>) {
    let case = match key {
        "forward_busy" => ForwardCase::Busy,
        "forward_no_answer" => ForwardCase::NoAnswer,
        "forward_unreachable" => ForwardCase::Unreachable,
        _ => return (settings.forward.as_ref(), forward_key(id)),
    };
    (settings.forward_in(case), forward_case_key(id, case))
}

/// What is different about one entry.
pub(super) struct Differences<'a> {
    told: &'a mut Comparison,
    parts: Vec<String>,
    registers: Vec<(Arc<str>, Option<Arc<str>>)>,
}

impl Differences<'_> {
    pub(super) fn new(told: &mut Comparison) -> Differences<'_> {
        Differences {
            told,
            parts: Vec::new(),
            registers: Vec::new(),
        }
    }

    /// Says that something is different, without what.
    pub(super) fn say(&mut self, what: &str) {
        self.parts.push(what.to_owned());
    }

    pub(super) fn see<T: Display + PartialEq + ?Sized>(&mut self, key: &str, old: &T, new: &T) {
        if old != new {
            self.parts.push(format!("{key} {old} -> {new}"));
        }
    }

    fn flag(&mut self, key: &str, old: bool, new: bool, register: Arc<str>) {
        if old != new {
            let state = if new { "on" } else { "off" };
            self.parts.push(format!("{key} {state}"));
            self.set(register, new.then(|| json(&true)));
        }
    }

    pub(super) fn set(&mut self, register: Arc<str>, value: Option<Arc<str>>) {
        self.registers.push((register, value));
    }

    pub(super) fn finish(self, kind: &str, extension: &str, name: &str, is_new: bool) {
        if is_new {
            self.told
                .changes
                .push(format!("+ {kind} {extension} {name}"));
        } else if !self.parts.is_empty() {
            let parts = self.parts.join(", ");
            self.told
                .changes
                .push(format!("~ {kind} {extension}: {parts}"));
        }
        self.told.registers.extend(self.registers);
    }
}
