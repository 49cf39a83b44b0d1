//! `tandem office export | apply`: the whole office as one TOML file.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use axum::http::Method;
use serde_json::Value;
use tandem_pbx::office::file::{FAULTS_MAX, OfficeFile};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::admin::Client;
use crate::admin::bodies::OfficeDifference;
use crate::cli::Office;
use crate::out::say;

/// The longest office file.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What stands at the head of an exported file.
const HEAD: &str = "\
# The office: users, groups, rooms, trunks, routes, schedules, speed dials, codes. `tandem office apply FILE` makes it so; who is not in the file is removed.
# An id says who somebody is, whatever the extension. In place of the hashes one can write password = \"…\"
# and pin = \"…\".

";

pub(crate) fn run(office: &Office) -> Result<(), String> {
    match office {
        Office::Export { file, node } => export(&Client::of(node.data()), file.as_deref()),
        Office::Apply {
            file,
            dry_run,
            node,
        } => apply(&Client::of(node.data()), file, *dry_run),
    }
}

fn export(node: &Client, file: Option<&Path>) -> Result<(), String> {
    let office: OfficeFile = node.get(&["office"])?;
    let text = toml::to_string(&office).map_err(|e| e.to_string())?;
    let text = format!("{HEAD}{text}");
    match file {
        Some(file) => {
            // It has everybody's hashes in it: for its owner's eyes only.
            let mut options = OpenOptions::new();
            options.create(true).write(true).truncate(true).mode(0o600);
            let mut written = options.open(file);
            let done = written.as_mut().map_err(|e| e.to_string());
            let done = done.and_then(|f| f.write_all(text.as_bytes()).map_err(|e| e.to_string()));
            done.map_err(|e| format!("{}: {e}", file.display()))
        }
        None => {
            say!("{}", text.trim_end());
            Ok(())
        }
    }
}

fn apply(node: &Client, file: &Path, dry_run: bool) -> Result<(), String> {
    let shown = file.display();
    let length = std::fs::metadata(file).map_err(|e| format!("{shown}: {e}"))?;
    if length.len() > FILE_BYTES_MAX {
        return Err(format!("{shown} is longer than an office can be"));
    }
    let text = std::fs::read_to_string(file).map_err(|e| format!("{shown}: {e}"))?;
    let read = match read(&text) {
        Ok(read) => read,
        Err(faults) => return Err(told(file, faults)),
    };
    let difference: OfficeDifference =
        node.send(Method::POST, &["office", "difference"], &read.office)?;
    let faults = difference.faults.into_iter().map(|fault| {
        let line = read.line(&fault.table, fault.index, &fault.key);
        (line, fault.what)
    });
    let faults: Vec<(usize, String)> = faults.collect();
    if !faults.is_empty() {
        return Err(told(file, faults));
    }
    if difference.changes.is_empty() {
        say!("nothing changes");
        return Ok(());
    }
    for change in &difference.changes {
        say!("{change}");
    }
    if dry_run {
        return Ok(());
    }
    let done: Result<(), String> = node.send(Method::PUT, &["office"], &read.office);
    done.inspect(|()| say!("done: it counts from the next call on"))
}

/// All faults but the last are printed.
fn told(file: &Path, mut faults: Vec<(usize, String)>) -> String {
    faults.sort();
    let shown = |(line, what): &(usize, String)| format!("{}:{line}: {what}", file.display());
    let (last, others) = faults.split_last().expect("a refused file has a fault");
    others
        .iter()
        .for_each(|fault| eprintln!("{}", shown(fault)));
    shown(last)
}

/// An office file as it was read, and where in it everything stands.
#[derive(Debug)]
struct Read {
    office: OfficeFile,
    /// Of each entry, by table and index: its line, and those of its keys.
    lines: BTreeMap<(String, usize), (usize, BTreeMap<String, usize>)>,
}

impl Read {
    fn line(&self, table: &str, index: usize, key: &str) -> usize {
        let entry = self.lines.get(&(table.to_owned(), index));
        entry.map_or(0, |(line, keys)| keys.get(key).copied().unwrap_or(*line))
    }
}

/// What a value of a key must be.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Flag,
    Number,
    Texts,
    /// Texts by name.
    Pairs,
}

const USER_KEYS: [(&str, Kind); 23] = [
    ("id", Kind::Text),
    ("extension", Kind::Text),
    ("name", Kind::Text),
    ("ha1_md5", Kind::Text),
    ("ha1_sha256", Kind::Text),
    ("pin_hash", Kind::Text),
    ("password", Kind::Text),
    ("pin", Kind::Text),
    ("dnd", Kind::Flag),
    ("dnd_except", Kind::Texts),
    ("forward", Kind::Text),
    ("forward_busy", Kind::Text),
    ("forward_no_answer", Kind::Text),
    ("forward_unreachable", Kind::Text),
    ("reject_anonymous", Kind::Flag),
    ("blocked", Kind::Texts),
    ("blocked_to_mailbox", Kind::Flag),
    ("class", Kind::Text),
    ("forward_outside", Kind::Flag),
    ("rings_also", Kind::Texts),
    ("works_at", Kind::Text),
    ("caller_id", Kind::Text),
    ("record", Kind::Text),
];
const GROUP_KEYS: [(&str, Kind); 11] = [
    ("id", Kind::Text),
    ("extension", Kind::Text),
    ("name", Kind::Text),
    ("members", Kind::Texts),
    ("strategy", Kind::Text),
    ("ring_s", Kind::Number),
    ("overflow", Kind::Text),
    ("schedule", Kind::Text),
    ("night", Kind::Text),
    ("pin_hash", Kind::Text),
    ("pin", Kind::Text),
];

const ROOM_KEYS: [(&str, Kind); 9] = [
    ("id", Kind::Text),
    ("extension", Kind::Text),
    ("name", Kind::Text),
    ("members_max", Kind::Number),
    ("lecture", Kind::Flag),
    ("pin_hash", Kind::Text),
    ("host_pin_hash", Kind::Text),
    ("pin", Kind::Text),
    ("host_pin", Kind::Text),
];

const TRUNK_KEYS: [(&str, Kind); 9] = [
    ("name", Kind::Text),
    ("host", Kind::Text),
    ("transport", Kind::Text),
    ("username", Kind::Text),
    ("password", Kind::Text),
    ("number", Kind::Text),
    ("calls_max", Kind::Number),
    ("otherwise", Kind::Text),
    ("numbers", Kind::Pairs),
];

const ROUTE_KEYS: [(&str, Kind); 5] = [
    ("pattern", Kind::Text),
    ("strip", Kind::Number),
    ("prefix", Kind::Text),
    ("trunks", Kind::Texts),
    ("kind", Kind::Text),
];

const SPEED_DIAL_KEYS: [(&str, Kind); 3] = [
    ("code", Kind::Text),
    ("number", Kind::Text),
    ("name", Kind::Text),
];

const SCHEDULE_KEYS: [(&str, Kind); 6] = [
    ("name", Kind::Text),
    ("number", Kind::Number),
    ("hours", Kind::Texts),
    ("holidays", Kind::Texts),
    ("time_zone", Kind::Text),
    ("override", Kind::Text),
];

const CODE_KEYS: [(&str, Kind); 2] = [("name", Kind::Text), ("code", Kind::Text)];

/// Reads a file; every fault with its line.
fn read(text: &str) -> Result<Read, Vec<(usize, String)>> {
    let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    let breaks: Vec<usize> = breaks.map(|(at, _)| at).collect();
    let line_at = |offset: usize| 1 + breaks.partition_point(|at| *at < offset);
    let document = DeTable::parse(text).map_err(|e| {
        let line = e.span().map_or(0, |span| line_at(span.start));
        vec![(line, e.message().to_owned())]
    })?;
    let mut reader = Reader {
        line_at: &line_at,
        faults: Vec::new(),
        lines: BTreeMap::new(),
    };
    let mut office = serde_json::Map::new();
    for (key, value) in document.get_ref() {
        let line = line_at(key.span().start);
        if &**key.get_ref() == "blocked" {
            match Kind::Texts.read(value.get_ref()) {
                Ok(numbers) => drop(office.insert("blocked".to_owned(), numbers)),
                Err(wanted) => reader.fault(line, format!("blocked is {wanted}")),
            }
            for (index, number) in value.get_ref().as_array().into_iter().flatten().enumerate() {
                let line = line_at(number.span().start);
                let entry = ("blocked".to_owned(), index);
                reader.lines.insert(entry, (line, BTreeMap::new()));
            }
            continue;
        }
        let keys: &[(&str, Kind)] = match &**key.get_ref() {
            "user" => &USER_KEYS,
            "group" => &GROUP_KEYS,
            "room" => &ROOM_KEYS,
            "trunk" => &TRUNK_KEYS,
            "route" => &ROUTE_KEYS,
            "schedule" => &SCHEDULE_KEYS,
            "speed_dial" => &SPEED_DIAL_KEYS,
            "code" => &CODE_KEYS,
            other => {
                let what = format!(
                    "there is no '{other}' in an office; there are blocked, [[user]], [[group]], [[room]], [[trunk]], [[route]], \
                     [[schedule]], [[speed_dial]] and [[code]]"
                );
                reader.fault(line, what);
                continue;
            }
        };
        let entries = reader.entries(key.get_ref(), line, value, keys);
        office.insert(key.get_ref().to_string(), entries);
    }
    let Reader { faults, lines, .. } = reader;
    if !faults.is_empty() {
        return Err(faults);
    }
    let office = serde_json::from_value(Value::Object(office));
    let office = office.map_err(|e| vec![(0, e.to_string())])?;
    Ok(Read { office, lines })
}

struct Reader<'a> {
    line_at: &'a dyn Fn(usize) -> usize,
    faults: Vec<(usize, String)>,
    lines: BTreeMap<(String, usize), (usize, BTreeMap<String, usize>)>,
}

impl Reader<'_> {
    fn fault(&mut self, line: usize, what: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push((line, what));
        }
    }

    fn entries(
        &mut self,
        table: &str,
        line: usize,
        value: &Spanned<DeValue<'_>>,
        keys: &[(&str, Kind)],
    ) -> Value {
        let DeValue::Array(entries) = value.get_ref() else {
            self.fault(line, format!("write [[{table}]], once for each {table}"));
            return Value::Null;
        };
        let mut read = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let line = (self.line_at)(entry.span().start);
            let DeValue::Table(fields) = entry.get_ref() else {
                self.fault(line, format!("write [[{table}]], once for each {table}"));
                continue;
            };
            let mut lines = BTreeMap::new();
            let mut object = serde_json::Map::new();
            for (key, value) in fields {
                let line = (self.line_at)(key.span().start);
                let name = key.get_ref().to_string();
                match keys.iter().find(|(known, _)| *known == name) {
                    None => self.fault(line, format!("a {table} has no '{name}'")),
                    Some((_, kind)) => match kind.read(value.get_ref()) {
                        Ok(value) => drop(object.insert(name.clone(), value)),
                        Err(wanted) => self.fault(line, format!("{name} is {wanted}")),
                    },
                }
                lines.insert(name, line);
            }
            let needed: &[&str] = match table {
                "trunk" => &["name", "host"],
                "route" => &["pattern", "trunks"],
                "schedule" => &["name"],
                "speed_dial" => &["code", "number", "name"],
                "code" => &["name", "code"],
                _ => &["extension", "name"],
            };
            for needed in needed {
                if !lines.contains_key(*needed) {
                    self.fault(line, format!("this {table} has no {needed}"));
                }
            }
            self.lines.insert((table.to_owned(), index), (line, lines));
            read.push(Value::Object(object));
        }
        Value::Array(read)
    }
}

impl Kind {
    fn read(self, value: &DeValue<'_>) -> Result<Value, &'static str> {
        let text = |value: &DeValue<'_>| value.as_str().map(|text| Value::from(text.to_owned()));
        match self {
            Kind::Text => text(value).ok_or("a text, in quotation marks"),
            Kind::Flag => value.as_bool().map(Value::from).ok_or("true or false"),
            Kind::Number => {
                let number = value
                    .as_integer()
                    .and_then(|n| n.as_str().parse::<u16>().ok());
                number.map(Value::from).ok_or("a number up to 65535")
            }
            Kind::Texts => {
                let wanted = "a list of texts, as in [\"102\", \"103\"]";
                let items = value.as_array().ok_or(wanted)?.iter();
                items
                    .map(|item| text(item.get_ref()).ok_or(wanted))
                    .collect()
            }
            Kind::Pairs => {
                let wanted = "a table of texts, as in { \"+49301\" = \"101\" }";
                let items = value.as_table().ok_or(wanted)?.iter();
                let pairs = items.map(|(key, value)| {
                    let value = text(value.get_ref()).ok_or(wanted)?;
                    Ok((key.get_ref().to_string(), value))
                });
                pairs
                    .collect::<Result<serde_json::Map<_, _>, _>>()
                    .map(Value::Object)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_exported_is_read_as_it_was() {
        let text = format!(
            "{HEAD}[[user]]\nextension = \"101\"\nname = \"A\"\nblocked = [\"5\"]\n\n\
             [[group]]\nextension = \"600\"\nname = \"G\"\nmembers = [\"101\"]\nring_s = 9\n"
        );
        let read = read(&text).unwrap();
        assert_eq!(read.office.user.len(), 1);
        assert_eq!(read.office.group[0].ring_s, 9);
        let again = toml::to_string(&read.office).unwrap();
        assert_eq!(super::read(&again).unwrap().office, read.office);
        assert_eq!(read.line("user", 0, "blocked"), 8);
        assert_eq!(read.line("group", 0, "extension"), 11);
        let text = "blocked = [\n  \"5\",\n  \"6\",\n]\n";
        let read = super::read(text).unwrap();
        assert_eq!(
            (read.office.blocked.len(), read.line("blocked", 1, "")),
            (2, 3)
        );
        let again = toml::to_string(&read.office).unwrap();
        assert_eq!(super::read(&again).unwrap().office, read.office);
        assert_eq!(super::read("blocked = 5\n").unwrap_err()[0].0, 1);
    }

    #[test]
    fn every_fault_has_its_line() {
        let text = "[[user]]\nextension = 101\nname = \"A\"\ncolour = \"red\"\n\n\
                    [[user]]\nextension = \"102\"\ndnd = \"yes\"\n\n[[queue]]\n";
        let mut faults = read(text).unwrap_err();
        faults.sort();
        let lines: Vec<usize> = faults.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 4, 6, 8, 10], "{faults:?}");
        let faults = read("[[user]\n").unwrap_err();
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].0, 1);
    }
}
