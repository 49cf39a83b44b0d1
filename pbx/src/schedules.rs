//! Schedules as an administrator makes, changes and removes them, and whether each is open now.
//!
//! They are told apart by their names. Nothing of a change is written unless all of it can be. One that
//! a group goes by is not removed; should nodes that were apart have done so, the group is open.

use std::sync::Arc;

use serde_json::{Value, json};
use tandem_storage::name::Id;

use crate::office::json;
use crate::office::schedule::{
    NUMBERS, Override, SCHEDULES_MAX, Schedule, Timetable, override_key, schedule_key,
};
use crate::pbx::Pbx;
use crate::seam::{ScheduleAsk, ScheduleChange};
use crate::state::{PbxState, Waiter};
use crate::users::name_fault;

impl Pbx {
    /// `Ok(None)`: it is answered when it is durable.
    pub(crate) fn on_schedule_ask(
        &mut self,
        asker: u64,
        ask: ScheduleAsk,
    ) -> Result<Option<Value>, String> {
        match ask {
            ScheduleAsk::List => {
                let all = self.x.office.schedules.all();
                return Ok(Some(all.filter_map(|(id, _)| row(&self.x, id)).collect()));
            }
            ScheduleAsk::Add { name, change } => self.add_schedule(asker, &name, change)?,
            ScheduleAsk::Set { name, change } => {
                let id = self.x.schedule_of(&name)?;
                let schedule = self.x.office.schedules.get(id).cloned();
                let schedule = schedule.ok_or("the schedule is gone")?;
                self.write_schedule(asker, id, schedule, change)?;
            }
            ScheduleAsk::Remove { name } => {
                let id = self.x.schedule_of(&name)?;
                if let Some(group) = groups_by(&self.x, id).first() {
                    return Err(format!(
                        "group {group} goes by the schedule {name}; tandem group set {group} schedule= ends that"
                    ));
                }
                let x = &mut self.x;
                x.append_register(Waiter::Nobody, override_key(id), None);
                x.append_register(Waiter::Asker(asker), schedule_key(id), None);
            }
        }
        Ok(None)
    }

    fn add_schedule(
        &mut self,
        asker: u64,
        name: &Arc<str>,
        change: ScheduleChange,
    ) -> Result<(), String> {
        schedule_name_fault(name).map_or(Ok(()), Err)?;
        let schedules = &self.x.office.schedules;
        if schedules.named(name).is_some() {
            return Err(format!("there is a schedule {name} already"));
        }
        if schedules.all().count() >= SCHEDULES_MAX {
            return Err(format!("there are at most {SCHEDULES_MAX} schedules"));
        }
        let schedule = Schedule {
            name: name.clone(),
            number: schedules.free_number(&[]),
            hours: Vec::new(),
            holidays: Vec::new(),
            time_zone: None,
        };
        let id = self.x.new_id();
        self.write_schedule(asker, id, schedule, change)
    }

    fn write_schedule(
        &mut self,
        asker: u64,
        id: Id,
        mut schedule: Schedule,
        change: ScheduleChange,
    ) -> Result<(), String> {
        let schedules = &self.x.office.schedules;
        if let Some(name) = change.name.filter(|name| *name != schedule.name) {
            schedule_name_fault(&name).map_or(Ok(()), Err)?;
            if schedules.named(&name).is_some() {
                return Err(format!("there is a schedule {name} already"));
            }
            schedule.name = name;
        }
        if let Some(number) = change.number {
            let holder = schedules.numbered(number).filter(|holder| *holder != id);
            if let Some(other) = holder.and_then(|holder| schedules.get(holder)) {
                let name = &other.name;
                return Err(format!(
                    "the schedule {name} has the number {number} already"
                ));
            }
            schedule.number = number;
        }
        schedule.hours = change.hours.unwrap_or(schedule.hours);
        schedule.holidays = change.holidays.unwrap_or(schedule.holidays);
        schedule.time_zone = change.time_zone.unwrap_or(schedule.time_zone);
        schedule_fault(&schedule).map_or(Ok(()), |(_, what)| Err(what))?;
        // Who only switches it writes nothing else: another may change the hours at another node.
        let is_same = schedules.get(id) == Some(&schedule);
        let mut registers = Vec::new();
        if change.switched.is_none() || !is_same {
            registers.push((schedule_key(id), Some(json(&schedule))));
        }
        if let Some(switched) = change.switched {
            registers.push((override_key(id), override_value(switched)));
        }
        let last = registers.pop();
        for (key, value) in registers {
            self.x.append_register(Waiter::Nobody, key, value);
        }
        if let Some((key, value)) = last {
            self.x.append_register(Waiter::Asker(asker), key, value);
        }
        Ok(())
    }
}

impl PbxState {
    /// The schedule of this name.
    pub(crate) fn schedule_of(&self, name: &str) -> Result<Id, String> {
        let found = self.office.schedules.named(name);
        found.ok_or_else(|| format!("no schedule is called {name}"))
    }

    /// What is to be written so that it is open if it is closed now, and closed if it is open: with
    /// nothing more than its hours, if they say so.
    pub(crate) fn switched(&self, schedule: Id) -> Override {
        let wanted = !self.is_open(schedule);
        match wanted {
            _ if wanted == self.is_open_by_clock(schedule) => Override::Clock,
            true => Override::Open,
            false => Override::Closed,
        }
    }
}

/// The groups that go by a schedule, by extension.
pub(crate) fn groups_by(x: &PbxState, schedule: Id) -> Vec<Arc<str>> {
    let groups = x.office.groups().map(|(_, group)| group);
    let by = groups.filter(|group| group.schedule == Some(schedule));
    by.map(|group| group.extension.clone()).collect()
}

/// The text of the register that says who says whether it is open.
pub(crate) fn override_value(switched: Override) -> Option<Arc<str>> {
    (switched != Override::Clock).then(|| json(&switched))
}

/// A schedule as it is listed.
pub(crate) fn row(x: &PbxState, id: Id) -> Option<Value> {
    let schedules = &x.office.schedules;
    let schedule = schedules.get(id)?;
    Some(json!({
        "id": id,
        "name": schedule.name,
        "number": schedule.number,
        "hours": schedule.hours,
        "holidays": schedule.holidays,
        "time_zone": schedule.time_zone,
        "override": schedules.overridden(id),
        "open": x.is_open(id),
        "groups": groups_by(x, id),
    }))
}

/// What is wrong with a schedule's name, if anything: it is typed on command lines.
pub(crate) fn schedule_name_fault(name: &str) -> Option<String> {
    let typed = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let is_right = name_fault(name).is_none() && name.chars().all(typed);
    (!is_right).then(|| {
        format!(
            "'{}' is not a schedule's name: letters, digits, '-', '_' and '.'",
            name.escape_debug()
        )
    })
}

/// What is wrong with a schedule, if anything, and with which of its keys.
pub(crate) fn schedule_fault(schedule: &Schedule) -> Option<(&'static str, String)> {
    if !NUMBERS.contains(&schedule.number) {
        let (least, most) = (NUMBERS.start(), NUMBERS.end());
        let what = format!(
            "a schedule's number is {least} to {most}, not {}",
            schedule.number
        );
        return Some(("number", what));
    }
    Timetable::read(schedule).err()
}
