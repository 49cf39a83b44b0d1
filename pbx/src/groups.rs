//! Groups as an administrator makes, changes and removes them, and calls begun for a user.
//!
//! Members are named by their extensions; what is kept is who they are. Nothing of a change is written
//! unless all of it can be.

use std::sync::Arc;

use serde_json::{Value, json};
use tandem_storage::name::Id;

use crate::call::dial_request::DialRequest;
use crate::call::routing;
use crate::office::group::{Group, Overflow, Strategy, group_key};
use crate::office::{json, pin_key};
use crate::pbx::Pbx;
use crate::seam::{AdminAnswer, Caller, ClassOfService, GroupChange};
use crate::state::{PbxState, Waiter};
use crate::users::{extension_fault, name_fault};

/// The most members of a group.
pub(crate) const MEMBERS_MAX: usize = 500;
/// How long a step may ring, in seconds.
pub(crate) const RING_S: std::ops::RangeInclusive<u16> = 3..=300;
const RING_S_DEFAULT: u16 = 20;

impl Pbx {
    pub(crate) fn add_group(
        &mut self,
        asker: u64,
        extension: &Arc<str>,
        change: GroupChange,
    ) -> Result<(), String> {
        extension_fault(extension).map_or(Ok(()), Err)?;
        self.is_free(extension)?;
        let group = Group {
            extension: extension.clone(),
            name: format!("Group {extension}").into(),
            members: Vec::new(),
            strategy: Strategy::All,
            ring_s: RING_S_DEFAULT,
            overflow: Overflow::Mailbox,
            schedule: None,
            night: Overflow::Mailbox,
        };
        let id = self.x.new_id();
        self.write_group(asker, id, group, change)
    }

    pub(crate) fn set_group(
        &mut self,
        asker: u64,
        extension: &str,
        change: GroupChange,
    ) -> Result<(), String> {
        let id = self.group_of(extension)?;
        let group = self.x.office.group(id).cloned();
        self.write_group(asker, id, group.ok_or("the group is gone")?, change)
    }

    pub(crate) fn remove_group(&mut self, asker: u64, extension: &str) -> Result<(), String> {
        let id = self.group_of(extension)?;
        self.x.append_register(Waiter::Nobody, pin_key(id), None);
        self.x
            .append_register(Waiter::Asker(asker), group_key(id), None);
        Ok(())
    }

    fn group_of(&self, extension: &str) -> Result<Id, String> {
        let id = self.x.office.mailbox(extension);
        id.filter(|id| self.x.office.group(*id).is_some())
            .ok_or_else(|| format!("no group has the extension {extension}"))
    }

    fn write_group(
        &mut self,
        asker: u64,
        id: Id,
        mut group: Group,
        change: GroupChange,
    ) -> Result<(), String> {
        if let Some(to) = change.extension.filter(|to| *to != group.extension) {
            extension_fault(&to).map_or(Ok(()), Err)?;
            self.is_free(&to)?;
            group.extension = to;
        }
        if let Some(name) = change.name {
            name_fault(&name).map_or(Ok(()), Err)?;
            group.name = name;
        }
        if let Some(members) = change.members {
            group.members = self.members(&members)?;
        }
        if let Some(strategy) = change.strategy {
            group.strategy = strategy;
        }
        if let Some(ring_s) = change.ring_s {
            if !RING_S.contains(&ring_s) {
                let (least, most) = (RING_S.start(), RING_S.end());
                return Err(format!(
                    "it can ring {least} to {most} seconds, not {ring_s}"
                ));
            }
            group.ring_s = ring_s;
        }
        if let Some(overflow) = change.overflow {
            self.check_overflow(&overflow)?;
            group.overflow = overflow;
        }
        if let Some(name) = change.schedule {
            let schedule = name.map(|name| self.x.schedule_of(&name));
            group.schedule = schedule.transpose()?;
        }
        if let Some(night) = change.night {
            self.check_overflow(&night)?;
            group.night = night;
        }
        if let Some(hash) = change.pin_hash {
            let pin = Some(json(&hash));
            self.x.append_register(Waiter::Nobody, pin_key(id), pin);
        }
        let value = Some(json(&group));
        self.x
            .append_register(Waiter::Asker(asker), group_key(id), value);
        Ok(())
    }

    fn members(&self, extensions: &[Arc<str>]) -> Result<Vec<Id>, String> {
        if extensions.len() > MEMBERS_MAX {
            return Err(format!("a group has at most {MEMBERS_MAX} members"));
        }
        let mut members = Vec::new();
        for extension in extensions {
            let user = self.user_of(extension)?;
            if members.contains(&user) {
                return Err(format!("{extension} is named twice"));
            }
            members.push(user);
        }
        Ok(members)
    }

    fn check_overflow(&self, overflow: &Overflow) -> Result<(), String> {
        let Overflow::Number(to) = overflow else {
            return Ok(());
        };
        match self.x.office.mailbox(to) {
            Some(_) => Ok(()),
            None => Err(format!(
                "a call overflows to mailbox, busy, or an extension that there is, not to {to}"
            )),
        }
    }

    pub(crate) fn groups_json(&self) -> Value {
        let groups = self.x.office.groups();
        groups.filter_map(|(id, _)| row(&self.x, id)).collect()
    }

    /// Rings a user's phones, and then calls the number for it.
    pub(crate) fn click_to_dial(
        &mut self,
        extension: &str,
        number: &Arc<str>,
    ) -> Result<AdminAnswer, String> {
        let user = self.user_of(extension)?;
        if routing::route(number, &self.x.codes, &self.x.office).is_none() {
            return Err(format!("nobody has the number {number}"));
        }
        if self.is_full() {
            return Err("there are too many calls; try again in a moment".to_owned());
        }
        let name = self.x.office.extension(user).cloned().unwrap_or_default();
        let shown = Caller {
            user: None,
            number: number.clone(),
            name,
            is_withheld: false,
            class: ClassOfService::Internal,
        };
        let request = DialRequest::user(user, vec![user], self.x.config.ring_for);
        self.dial_first(shown, request, number);
        Ok(AdminAnswer::Done)
    }
}

impl PbxState {
    /// Calls to the group ring its members now. Where its schedule is gone, they always do.
    pub(crate) fn is_group_open(&self, group: &Group) -> bool {
        group.schedule.is_none_or(|schedule| self.is_open(schedule))
    }
}

/// A group as it is listed.
pub(crate) fn row(x: &PbxState, id: Id) -> Option<Value> {
    let office = &x.office;
    let group = office.group(id)?;
    let members = group.members.iter().filter_map(|user| {
        let extension = office.extension(*user)?;
        let logged_in = !office.is_logged_out(id, *user);
        Some(json!({ "extension": extension, "logged_in": logged_in }))
    });
    Some(json!({
        "id": id,
        "extension": group.extension,
        "name": group.name,
        "members": members.collect::<Vec<Value>>(),
        "strategy": group.strategy.name(),
        "ring_s": group.ring_s,
        "overflow": group.overflow.name(),
        "schedule": group.schedule.and_then(|id| office.schedules.get(id)).map(|s| &*s.name),
        "night": group.night.name(),
        "open": x.is_group_open(group),
    }))
}
