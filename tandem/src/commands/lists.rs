//! `tandem status | calls | phones`, and how lists are printed.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::site;
use crate::admin::Client;
use crate::admin::bodies::{Call, Conflict, Party, Phone};
use crate::cli::Ask;
use crate::out::say;

pub(crate) fn status(how: &Ask) -> Result<(), String> {
    show(how, &["status"], print_status)
}

pub(crate) fn calls(how: &Ask) -> Result<(), String> {
    show(how, &["calls"], |calls: Vec<Call>| {
        let rows = calls.into_iter().map(|call| {
            let phase = match call.held_by.as_deref() {
                Some("both") => format!("{}, held by both", call.phase),
                Some(holder) => format!("{}, held by the {holder}", call.phase),
                None => call.phase,
            };
            // Who is on the other end now: not who was dialled, once a call was moved.
            let others = call.legs.iter().filter(|leg| leg.leg != call.leg);
            let others: Vec<&str> = others.map(|leg| leg.number.as_str()).collect();
            let with = or_dash(Some(others.join(" ")).filter(|with| !with.is_empty()));
            vec![party(&call.from), call.to, with, phase, when(call.started)]
        });
        let header = ["FROM", "TO", "WITH", "PHASE", "SINCE"];
        print_table(&header, rows, "no calls");
    })
}

pub(crate) fn phones(how: &Ask) -> Result<(), String> {
    show(how, &["phones"], |phones: Vec<Phone>| {
        let rows = phones.into_iter().map(|phone| {
            vec![
                phone.extension,
                phone.source,
                phone.transport,
                or_dash(phone.user_agent),
                format!("{} s", phone.expires_s),
            ]
        });
        let header = ["USER", "ADDRESS", "BY", "PHONE", "EXPIRES"];
        print_table(&header, rows, "no phones registered");
    })
}

pub(crate) fn conflicts(how: &Ask) -> Result<(), String> {
    show(how, &["conflicts"], |conflicts: Vec<Conflict>| {
        let rows = conflicts.into_iter().map(|row| {
            let kept_of = or_dash(row.kept_of);
            vec![row.what, kept_of, row.lost_of, when(row.lost_at)]
        });
        let header = ["WHAT", "COUNTS", "LOST", "SET AT"];
        print_table(&header, rows, "nothing was lost in a merge");
    })
}

/// What the node has at `path`: for programs as it came, for people as `print` has it.
pub(crate) fn show<T: DeserializeOwned>(
    how: &Ask,
    path: &[&str],
    print: impl FnOnce(T),
) -> Result<(), String> {
    let told: Value = Client::of(how.node.data()).get(path)?;
    if how.json {
        return print_json(&told);
    }
    let told = serde_json::from_value(told);
    print(told.map_err(|e| format!("the node's answer is broken: {e}"))?);
    Ok(())
}

/// All that a node tells of itself, in its order, also what only a later release knows of.
fn print_status(status: Value) {
    let sections = status.as_object().into_iter().flatten();
    let (groups, single): (Vec<_>, Vec<_>) = sections.partition(|(_, value)| value.is_object());
    for alarm in status["alarms"].as_array().into_iter().flatten() {
        say!("{:<24}{}", "ALARM", text(alarm));
    }
    let is_told = |(name, value): &(&String, &Value)| !value.is_null() && *name != "alarms";
    for (name, value) in single.into_iter().filter(is_told) {
        say!("{:<24}{}", words(name), text(value));
    }
    for (name, group) in groups {
        say!("\n{}", words(name));
        for (key, value) in group.as_object().into_iter().flatten() {
            let said = match (key.as_str(), value.as_array()) {
                ("missing", Some(rows)) => site::missing(rows),
                _ => text(value),
            };
            say!("  {:<22}{said}", words(key));
        }
    }
}

/// For programs: one JSON document.
pub(crate) fn print_json(value: &Value) -> Result<(), String> {
    say!(
        "{}",
        serde_json::to_string_pretty(value).map_err(|e| e.to_string())?
    );
    Ok(())
}

/// For people: columns as wide as they need to be.
pub(crate) fn print_table(
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    if_empty: &str,
) {
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        say!("{if_empty}");
        return;
    }
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|c| c.chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<_> = cells
            .zip(&widths)
            .map(|(cell, w)| format!("{cell:<w$}"))
            .collect();
        say!("{}", padded.join("  ").trim_end());
    };
    line(&mut header.iter().copied());
    for row in &rows {
        line(&mut row.iter().map(String::as_str));
    }
}

/// Who: the name if there is one, and the number.
pub(crate) fn party(party: &Party) -> String {
    match (party.name.as_deref(), party.number.as_deref()) {
        (None | Some(""), None | Some("")) => "-".into(),
        (None | Some(""), Some(number)) => number.into(),
        (Some(name), None | Some("")) => name.into(),
        (Some(name), Some(number)) => format!("{name} ({number})"),
    }
}

/// Civil time of a stamp in milliseconds, in the time zone of whoever reads it.
pub(crate) fn when(stamp_ms: impl Into<Option<u64>>) -> String {
    let stamp = stamp_ms
        .into()
        .and_then(|ms| jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok());
    let local = stamp.map(|s| s.to_zoned(jiff::tz::TimeZone::system()));
    local.map_or("-".into(), |at| {
        at.strftime("%Y-%m-%d %H:%M:%S").to_string()
    })
}

/// What there may be.
pub(crate) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

/// A JSON value without quotes and brackets.
fn text(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Null => "-".into(),
        Value::Bool(b) => if *b { "yes" } else { "no" }.into(),
        Value::Array(all) if all.is_empty() => "-".into(),
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn words(key: &str) -> String {
    key.replace('_', " ")
}
