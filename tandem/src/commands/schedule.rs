//! `tandem schedule add | set | remove | list`, `tandem block add | remove | list`, and `tandem speed set |
//! remove | list`.

use axum::http::Method;

use crate::admin::Client;
use crate::admin::bodies::{NewBlocked, SpeedDial, SpeedDialSettings};
use crate::admin::schedules::{self, ScheduleSettings};
use crate::cli::schedule::{Block, Schedule, Speed};
use crate::commands::lists::{print_table, show};

pub(crate) fn run(schedule: &Schedule) -> Result<(), String> {
    match schedule {
        Schedule::Add {
            name,
            settings,
            node,
        } => {
            let settings = ScheduleSettings {
                name: Some(name.clone()),
                ..parse(settings)?
            };
            Client::of(node.data()).send(Method::POST, &["schedules"], &settings)
        }
        Schedule::Set {
            name,
            settings,
            node,
        } => {
            let (path, settings) = (["schedules", name], parse(settings)?);
            Client::of(node.data()).send(Method::PATCH, &path, &settings)
        }
        Schedule::Remove { name, node } => {
            Client::of(node.data()).carry_out(Method::DELETE, &["schedules", name])
        }
        Schedule::List(how) => show(how, &["schedules"], print_schedules),
    }
}

pub(crate) fn block(block: &Block) -> Result<(), String> {
    match block {
        Block::Add { number, node } => {
            let number = number.clone();
            let node = Client::of(node.data());
            node.send(Method::POST, &["blocked"], &NewBlocked { number })
        }
        Block::Remove { number, node } => {
            Client::of(node.data()).carry_out(Method::DELETE, &["blocked", number])
        }
        Block::List(how) => show(how, &["blocked"], |numbers: Vec<String>| {
            let rows = numbers.into_iter().map(|number| vec![number]);
            print_table(&["NUMBER"], rows, "no number is blocked");
        }),
    }
}

pub(crate) fn speed(speed: &Speed) -> Result<(), String> {
    match speed {
        Speed::Set {
            code,
            number,
            name,
            node,
        } => {
            let (number, name) = (number.clone(), name.clone());
            let settings = SpeedDialSettings { number, name };
            Client::of(node.data()).send(Method::PUT, &["speed-dials", code], &settings)
        }
        Speed::Remove { code, node } => {
            Client::of(node.data()).carry_out(Method::DELETE, &["speed-dials", code])
        }
        Speed::List(how) => show(how, &["speed-dials"], |dials: Vec<SpeedDial>| {
            let rows = dials.into_iter();
            let rows = rows.map(|dial| vec![format!("*0{}", dial.code), dial.number, dial.name]);
            print_table(
                &["DIAL", "NUMBER", "NAME"],
                rows,
                "no speed dials yet; tandem speed set NN NUMBER NAME makes one",
            );
        }),
    }
}

fn print_schedules(schedules: Vec<schedules::Schedule>) {
    let rows = schedules.into_iter().map(|schedule| {
        let now = if schedule.open { "open" } else { "closed" };
        let by = match &*schedule.switched {
            "clock" => now.to_owned(),
            _ => format!("{now} by hand"),
        };
        let mut hours = schedule.hours.join("; ");
        if let Some(zone) = schedule.time_zone {
            hours = format!("{hours} ({zone})");
        }
        vec![
            schedule.name,
            schedule.number.to_string(),
            by,
            hours.trim().to_owned(),
            schedule.holidays.join(" "),
            schedule.groups.join(" "),
        ]
    });
    print_table(
        &["SCHEDULE", "NUMBER", "NOW", "HOURS", "HOLIDAYS", "GROUPS"],
        rows,
        "no schedules yet; tandem schedule add NAME hours=\"mon-fri 09:00-17:00\" makes one",
    );
}

/// What was typed as `key=value`.
fn parse(typed: &[String]) -> Result<ScheduleSettings, String> {
    let mut settings = ScheduleSettings::default();
    for setting in typed {
        let (key, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("'{setting}' is not key=value"))?;
        match key {
            "name" => settings.name = Some(value.to_owned()),
            "number" => {
                let wrong = |_| format!("number is a number, not '{value}'");
                settings.number = Some(value.parse().map_err(wrong)?);
            }
            "hours" => settings.hours = Some(texts(value, ';')),
            "holidays" => settings.holidays = Some(texts(value, ',')),
            "time_zone" => {
                settings.time_zone = Some(Some(value.to_owned()).filter(|zone| !zone.is_empty()));
            }
            "override" => settings.switched = Some(value.to_owned()),
            _ => {
                return Err(format!(
                    "'{key}' cannot be set; what can: name, hours (\"mon-fri 09:00-17:00; sat 10:00-14:00\"), \
                     holidays (2026-12-24,12-25), time_zone (a name, or nothing), number, \
                     override (open, closed, clock)"
                ));
            }
        }
    }
    Ok(settings)
}

fn texts(value: &str, between: char) -> Vec<String> {
    let texts = value.split(between).map(str::trim);
    let texts = texts.filter(|text| !text.is_empty());
    texts.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_what_is_asked() {
        let typed = [
            "hours=mon-fri 09:00-12:00 13:00-17:00; sat 10:00-14:00",
            "holidays=2026-12-24, 12-25",
            "time_zone=",
            "override=closed",
            "number=2",
        ];
        let settings = parse(&typed.map(str::to_owned)).unwrap();
        let texts = |all: &[&str]| Some(all.iter().map(|&text| text.to_owned()).collect());
        let wanted = ScheduleSettings {
            hours: texts(&["mon-fri 09:00-12:00 13:00-17:00", "sat 10:00-14:00"]),
            holidays: texts(&["2026-12-24", "12-25"]),
            time_zone: Some(None),
            switched: Some("closed".into()),
            number: Some(2),
            name: None,
        };
        assert_eq!(settings, wanted);
        let travelled = serde_json::to_string(&settings).unwrap();
        assert!(travelled.contains(r#""override":"closed""#), "{travelled}");
    }

    #[test]
    fn what_cannot_be_set_is_said() {
        let fault = |typed: &str| parse(&[typed.to_owned()]).unwrap_err();
        assert_eq!(fault("open"), "'open' is not key=value");
        assert_eq!(fault("number=x"), "number is a number, not 'x'");
        assert!(fault("colour=red").starts_with("'colour' cannot be set"));
    }
}
