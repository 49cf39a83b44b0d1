//! `tandem status | calls | phones`, and how lists are printed.

use serde_json::Value;

use super::site;
use crate::admin::{Question, ask};
use crate::cli::Ask;
use crate::out::say;

pub(crate) fn status(how: &Ask) -> Result<(), String> {
    let (status, _) = ask(&how.node.data(), &Question::Status, &[])?;
    if how.json {
        return print_json(&status);
    }
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
    Ok(())
}

pub(crate) fn calls(how: &Ask) -> Result<(), String> {
    let (calls, _) = ask(&how.node.data(), &Question::Calls, &[])?;
    if how.json {
        return print_json(&calls);
    }
    let rows = calls.as_array().into_iter().flatten().map(|call| {
        let to = text(&call["to"]);
        let phase = match call["held_by"].as_str() {
            Some("both") => format!("{}, held by both", text(&call["phase"])),
            Some(holder) => format!("{}, held by the {holder}", text(&call["phase"])),
            None => text(&call["phase"]),
        };
        vec![party(&call["from"]), to, phase, when(&call["started"])]
    });
    print_table(&["FROM", "TO", "PHASE", "SINCE"], rows, "no calls");
    Ok(())
}

pub(crate) fn phones(how: &Ask) -> Result<(), String> {
    let (phones, _) = ask(&how.node.data(), &Question::Phones, &[])?;
    if how.json {
        return print_json(&phones);
    }
    let rows = phones.as_array().into_iter().flatten().map(|p| {
        let cells = ["extension", "source", "transport", "user_agent"].map(|key| text(&p[key]));
        let expires = format!("{} s", p["expires_s"].as_u64().unwrap_or(0));
        cells.into_iter().chain([expires]).collect()
    });
    print_table(
        &["USER", "ADDRESS", "BY", "PHONE", "EXPIRES"],
        rows,
        "no phones registered",
    );
    Ok(())
}

pub(crate) fn conflicts(how: &Ask) -> Result<(), String> {
    let (conflicts, _) = ask(&how.node.data(), &Question::Conflicts, &[])?;
    if how.json {
        return print_json(&conflicts);
    }
    let rows = conflicts.as_array().into_iter().flatten().map(|row| {
        let cells = ["what", "kept_of", "lost_of"].map(|key| text(&row[key]));
        cells.into_iter().chain([when(&row["lost_at"])]).collect()
    });
    print_table(
        &["WHAT", "COUNTS", "LOST", "SET AT"],
        rows,
        "nothing was lost in a merge",
    );
    Ok(())
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
pub(crate) fn party(value: &Value) -> String {
    match (value["name"].as_str(), value["number"].as_str()) {
        (None | Some(""), None | Some("")) => "-".into(),
        (None | Some(""), Some(number)) => number.into(),
        (Some(name), None | Some("")) => name.into(),
        (Some(name), Some(number)) => format!("{name} ({number})"),
    }
}

/// Civil time of a stamp in milliseconds, in the time zone of whoever reads it.
pub(crate) fn when(value: &Value) -> String {
    let stamp = value
        .as_i64()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let local = stamp.map(|s| s.to_zoned(jiff::tz::TimeZone::system()));
    local.map_or("-".into(), |at| {
        at.strftime("%Y-%m-%d %H:%M:%S").to_string()
    })
}

/// A JSON value without quotes and brackets.
pub(crate) fn text(value: &Value) -> String {
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
