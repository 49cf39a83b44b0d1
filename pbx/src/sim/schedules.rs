//! Schedules and speed dials, in this world, as they are typed.

use std::sync::Arc;

use crate::office::schedule::Override;
use crate::office::speed::SpeedDial;
use crate::seam::{AdminAsk, ScheduleAsk, ScheduleChange};
use crate::sim::World;

impl World {
    /// A schedule is made, or changed if it is there. What stands for a space is `_`.
    pub(super) fn schedule(&mut self, name: &str, settings: &[&str]) {
        let name: Arc<str> = name.into();
        if settings == ["removed"] {
            return self.ask(AdminAsk::Schedule(ScheduleAsk::Remove { name }));
        }
        let mut change = ScheduleChange::default();
        let texts = |value: &str, between: char| {
            let texts = value.split(between).filter(|text| !text.is_empty());
            Some(texts.map(|text| text.replace('_', " ").into()).collect())
        };
        for (key, value) in settings.iter().filter_map(|s| s.split_once('=')) {
            match key {
                "number" => change.number = value.parse().ok(),
                "hours" => change.hours = texts(value, ';'),
                "holidays" => change.holidays = texts(value, ','),
                "time_zone" => change.time_zone = Some(Some(value.into())),
                "override" => change.switched = Override::parse(value),
                _ => self.faults.push(format!("a schedule has no {key}")),
            }
        }
        let is_there = self.pbx.x.office.schedules.named(&name).is_some();
        self.ask(AdminAsk::Schedule(match is_there {
            true => ScheduleAsk::Set { name, change },
            false => ScheduleAsk::Add { name, change },
        }));
    }

    /// A speed dial is set, or gone.
    pub(super) fn speed_dial(&mut self, code: &str, number: Option<&str>) {
        let dial = number.map(|number| SpeedDial {
            number: number.into(),
            name: "Shop".into(),
        });
        let code = code.into();
        self.ask(AdminAsk::SetSpeedDial { code, dial });
    }
}
