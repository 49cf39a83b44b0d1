//! Schedules of a file, by their names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;

use super::differences::Differences;
use super::{Comparison, Faults, OfficeFile};
use crate::office::schedule::{
    Override, SCHEDULES_MAX, Schedule, Schedules, override_key, schedule_key,
};
use crate::office::{Office, json};
use crate::schedules::{override_value, schedule_fault, schedule_name_fault};

/// One schedule. What is left out is as for any new schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleEntry {
    /// What it is called: which it is.
    pub name: Arc<str>,
    /// What is dialled behind the code that switches it; `None`: as it is, or one that is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u16>,
    /// As in `mon-fri 09:00-12:00 13:00-17:00`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hours: Vec<Arc<str>>,
    /// `2026-12-25`, or `12-25` for every year.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holidays: Vec<Arc<str>>,
    /// Where its clock hangs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Arc<str>>,
    /// `open` or `closed` by hand, or by the `clock`.
    #[serde(rename = "override", skip_serializing_if = "is_by_clock")]
    pub switched: Arc<str>,
}

fn is_by_clock(switched: &str) -> bool {
    switched == Override::Clock.name()
}

impl Default for ScheduleEntry {
    fn default() -> ScheduleEntry {
        ScheduleEntry {
            name: "".into(),
            number: None,
            hours: Vec::new(),
            holidays: Vec::new(),
            time_zone: None,
            switched: Override::Clock.name().into(),
        }
    }
}

impl ScheduleEntry {
    fn schedule(&self, number: u16) -> Schedule {
        Schedule {
            name: self.name.clone(),
            number,
            hours: self.hours.clone(),
            holidays: self.holidays.clone(),
            time_zone: self.time_zone.clone(),
        }
    }
}

/// The number of each schedule of a file. One that names none keeps its own, or has one that is free.
fn numbers(file: &OfficeFile, schedules: &Schedules) -> Vec<u16> {
    let given = file.schedule.iter().map(|entry| {
        let old = schedules
            .named(&entry.name)
            .and_then(|id| schedules.get(id));
        entry.number.or(old.map(|old| old.number))
    });
    let given: Vec<Option<u16>> = given.collect();
    let mut taken: Vec<u16> = given.iter().flatten().copied().collect();
    let number = |given: Option<u16>| {
        given.unwrap_or_else(|| {
            let free = schedules.free_number(&taken);
            taken.push(free);
            free
        })
    };
    given.into_iter().map(number).collect()
}

impl Office {
    pub(super) fn export_schedules(&self, file: &mut OfficeFile) {
        for (id, schedule) in self.schedules.all() {
            file.schedule.push(ScheduleEntry {
                name: schedule.name.clone(),
                number: Some(schedule.number),
                hours: schedule.hours.clone(),
                holidays: schedule.holidays.clone(),
                time_zone: schedule.time_zone.clone(),
                switched: self.schedules.overridden(id).name().into(),
            });
        }
        file.schedule.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Who each schedule of a file is; new ones are named by `new_id`.
    pub(super) fn schedule_ids(
        &self,
        file: &OfficeFile,
        new_id: &mut dyn FnMut() -> Id,
    ) -> BTreeMap<Arc<str>, Id> {
        let ids = file.schedule.iter().map(|entry| {
            let known = self.schedules.named(&entry.name);
            (entry.name.clone(), known.unwrap_or_else(&mut *new_id))
        });
        ids.collect()
    }

    pub(super) fn schedules_differ(
        &self,
        told: &mut Comparison,
        file: &OfficeFile,
        ids: &BTreeMap<Arc<str>, Id>,
    ) {
        let numbers = numbers(file, &self.schedules);
        for (entry, number) in file.schedule.iter().zip(numbers) {
            if let Some(id) = ids.get(&entry.name) {
                self.schedule_differs(told, entry, *id, number);
            }
        }
        let kept: BTreeSet<Id> = ids.values().copied().collect();
        for (id, schedule) in self.schedules.all().filter(|(id, _)| !kept.contains(id)) {
            told.changes.push(format!("- schedule {}", schedule.name));
            told.registers.push((override_key(id), None));
            told.registers.push((schedule_key(id), None));
        }
    }

    fn schedule_differs(&self, told: &mut Comparison, entry: &ScheduleEntry, id: Id, number: u16) {
        let schedule = entry.schedule(number);
        let old = self.schedules.get(id);
        let mut diff = Differences::new(told);
        if let Some(old) = old {
            let zone = |zone: &Option<Arc<str>>| zone.clone().unwrap_or("the node's".into());
            diff.see("number", &old.number, &schedule.number);
            let (was, is) = (old.hours.join("; "), entry.hours.join("; "));
            diff.see("hours", &was, &is);
            if old.holidays != entry.holidays {
                diff.say("holidays");
            }
            diff.see("time_zone", &zone(&old.time_zone), &zone(&entry.time_zone));
        }
        if old != Some(&schedule) {
            diff.set(schedule_key(id), Some(json(&schedule)));
        }
        let was = self.schedules.overridden(id);
        let switched = Override::parse(&entry.switched).unwrap_or_default();
        if was != switched {
            diff.see("override", was.name(), switched.name());
            diff.set(override_key(id), override_value(switched));
        }
        let hours = entry.hours.join("; ");
        diff.finish("schedule", &entry.name, &hours, old.is_none());
    }
}

pub(super) fn check_schedules(file: &OfficeFile, schedules: &Schedules, faults: &mut Faults) {
    if file.schedule.len() > SCHEDULES_MAX {
        let what = format!("there are at most {SCHEDULES_MAX} schedules");
        faults.add("schedule", 0, "name", what);
        return;
    }
    let (mut names, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let entries = file.schedule.iter().zip(numbers(file, schedules));
    for (index, (entry, number)) in entries.enumerate() {
        let mut fault = |key: &str, what: String| faults.add("schedule", index, key, what);
        if let Some(what) = schedule_name_fault(&entry.name) {
            fault("name", what);
        } else if !names.insert(&entry.name) {
            fault(
                "name",
                format!("the schedule {} is there twice", entry.name),
            );
        }
        if !seen.insert(number) {
            let what = format!("two schedules have the number {number}");
            fault("number", what);
        }
        if Override::parse(&entry.switched).is_none() {
            let what = format!("'{}' is none of open, closed, clock", entry.switched);
            fault("override", what);
        }
        if let Some((key, what)) = schedule_fault(&entry.schedule(number)) {
            fault(key, what);
        }
    }
}
