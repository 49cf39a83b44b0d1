//! Reading a whole log: at start, and for `tandem log verify` and `tandem log show`.
//!
//! `verify` and `show` take no lock and change nothing; they work while a node writes. What a
//! writer is busy with looks torn to somebody who reads along, and segments may be retired meanwhile:
//! so what looks damaged is looked at again, up to where the look before ended.

use std::io;
use std::path::Path;

use super::files::{self, Lock};
use super::snapshot as shell_snapshot;
use crate::name::NodeName;
use crate::reading::{self, Loaded, Reading};
use crate::record::{Fault, Record};
use crate::recovery::{Damage, Ending, NotOurs};
use crate::retired::Retired;
use crate::scan::{self, Found};
use crate::seam::Committed;
use crate::segment::{self, FirstBlock};
use crate::snapshot::{self, Snapshot};
use crate::view::View;

/// Why a log was not read.
#[derive(Debug)]
pub(super) enum LoadError {
    NotOurs(NotOurs),
    Os(io::Error),
}

/// What `verify` found.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// Whose log it is; `None`: it is empty.
    pub node: Option<NodeName>,
    /// Segments read.
    pub segments: usize,
    /// Counts.
    pub ending: Ending,
    /// What is damaged; at most [`crate::reading::DAMAGES_LISTED_MAX`] are listed.
    pub damages: Vec<Damage>,
    /// Sounds in it, whatever became of them.
    pub sounds: usize,
    /// Of these, not sealed: being spoken now, or to be sealed as cut short at the next start.
    pub sounds_open: usize,
    /// A node is running on it.
    pub is_running: bool,
}

impl VerifyReport {
    /// Every record that was ever confirmed is there and whole.
    pub fn is_clean(&self) -> bool {
        self.ending.damages == 0 && self.ending.records_lost == 0
    }
}

/// Something in the log, for people.
#[derive(Clone, Debug)]
pub struct ShownRecord {
    /// The segment's number.
    pub segment: u32,
    /// Where in its file.
    pub offset: u64,
    /// The record, or why it is none.
    pub record: Result<Record, Fault>,
}

/// Whose log is in `dir`; `None`: nobody's yet.
pub fn log_owner(dir: &Path) -> Option<NodeName> {
    let numbers = files::segments(dir).ok()?;
    numbers.into_iter().find_map(|number| {
        let block = files::first_block(dir, number).ok()?;
        match segment::decode(&block) {
            FirstBlock::Header(header) => Some(header.node),
            _ => None,
        }
    })
}

/// Is every record of the log in `dir` whole?
pub fn verify(dir: &Path) -> io::Result<VerifyReport> {
    let is_running = Lock::is_held(dir);
    let (mut report, mut last_record) = verify_once(dir, is_running, END)?;
    for _ in 1..LOOKS_MAX {
        if report.is_clean() || !is_running {
            break;
        }
        (report, last_record) = verify_once(dir, is_running, last_record)?;
    }
    Ok(report)
}

/// Hands every record to `shown`, also those that do not count, and what is no record.
pub fn show(dir: &Path, mut shown: impl FnMut(&ShownRecord)) -> io::Result<()> {
    let mut bytes = Vec::new();
    for number in files::segments(dir)? {
        match files::load(dir, number, &mut bytes) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            loaded => loaded?,
        }
        scan::scan(number, &bytes, |offset, found| {
            let record = match found {
                Found::Record(record) => Ok(record),
                Found::Garbage(fault) => Err(fault),
                Found::Stale | Found::Zeros { .. } => return,
            };
            shown(&ShownRecord {
                segment: number,
                offset,
                record,
            });
        });
    }
    Ok(())
}

/// What the log of a node says.
pub(super) struct LoadedLog {
    pub(super) view: View,
    pub(super) loaded: Loaded,
    /// The first segment that was read; 0: there was no snapshot, all were.
    pub(super) from: u32,
}

/// Reads the log of `node`: its snapshot, and what comes after it.
pub(super) fn load(dir: &Path, node: NodeName) -> Result<LoadedLog, LoadError> {
    let there = shell_snapshot::lengths(dir).map_err(LoadError::Os)?;
    let numbers: Vec<u32> = there.iter().map(|(number, _)| *number).collect();
    let retired = retired_in(dir, &numbers).map_err(LoadError::Os)?;
    if let Some(snapshot) = shell_snapshot::read(dir, node, &there, &retired) {
        if let Some(log) = load_after(dir, node, &there, retired.clone(), snapshot)? {
            return Ok(log);
        }
        tracing::warn!("what the snapshot says is not enough; all of the log is read");
    }
    let mut view = View::new();
    let reading = Reading::new(node).with_retired(retired);
    let loaded = read_segments(dir, &numbers, reading, |record| view.apply(record))?;
    let from = 0;
    Ok(LoadedLog { view, loaded, from })
}

/// Reads what comes after a snapshot; `None`: the whole log may say more.
fn load_after(
    dir: &Path,
    node: NodeName,
    there: &[(u32, u64)],
    retired: Retired,
    snapshot: Snapshot,
) -> Result<Option<LoadedLog>, LoadError> {
    let mut reading = Reading::new(node).with_retired(retired).after(&snapshot);
    let (mut view, from) = (snapshot.view, snapshot.segment);
    let unread = there
        .iter()
        .filter(|(number, bytes)| !reading.pass(*number, *bytes));
    let unread: Vec<u32> = unread.map(|(number, _)| *number).collect();
    let loaded = read_segments(dir, &unread, reading, |record| view.apply(record))?;
    let is_enough = snapshot::is_enough(&snapshot.full_topics, &view, &loaded);
    Ok(is_enough.then_some(LoadedLog { view, loaded, from }))
}

/// Reads the log, whole.
fn read(dir: &Path, reading: Reading, apply: impl FnMut(&Committed)) -> Result<Loaded, LoadError> {
    let numbers = files::segments(dir).map_err(LoadError::Os)?;
    let retired = retired_in(dir, &numbers).map_err(LoadError::Os)?;
    read_segments(dir, &numbers, reading.with_retired(retired), apply)
}

fn retired_in(dir: &Path, numbers: &[u32]) -> io::Result<Retired> {
    match reading::has_gaps(numbers) {
        true => newest_retired(dir, numbers),
        false => Ok(Retired::default()),
    }
}

fn read_segments(
    dir: &Path,
    numbers: &[u32],
    mut reading: Reading,
    mut apply: impl FnMut(&Committed),
) -> Result<Loaded, LoadError> {
    let mut bytes = Vec::new();
    for (at, number) in numbers.iter().copied().enumerate() {
        // The disk reads the next one while this one is looked at.
        numbers
            .iter()
            .skip(at)
            .take(2)
            .for_each(|next| files::read_ahead(dir, *next));
        match files::load(dir, number, &mut bytes) {
            Ok(()) => {}
            // Retired while we were reading; its number is missing, which is looked at.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(LoadError::Os(e)),
        }
        reading
            .take(number, &bytes, &mut apply)
            .map_err(LoadError::NotOurs)?;
    }
    Ok(reading.finish(&mut apply))
}

fn newest_retired(dir: &Path, numbers: &[u32]) -> io::Result<Retired> {
    let mut bytes = Vec::new();
    for number in numbers.iter().rev() {
        match files::load(dir, *number, &mut bytes) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Err(_) => {}
            Ok(()) => {
                if let Some(retired) = reading::newest_retired(*number, &bytes) {
                    return Ok(retired);
                }
            }
        }
    }
    Ok(Retired::default())
}

/// How often a log that changes while it is read is looked at.
const LOOKS_MAX: usize = 5;

/// A place after every other.
const END: (u32, u64) = (u32::MAX, u64::MAX);

/// Looks once, up to `end`; also says where the last record is.
fn verify_once(
    dir: &Path,
    is_running: bool,
    end: (u32, u64),
) -> io::Result<(VerifyReport, (u32, u64))> {
    let node = node_of(dir)?;
    let mut view = View::new();
    // Without a node there is nothing but zeros or garbage; any name will do to read that.
    let reader = node.or_else(|| "unknown".parse().ok());
    let reading = Reading::up_to(reader.ok_or(io::ErrorKind::InvalidData)?, end);
    let loaded = read(dir, reading, |record| view.apply(record)).map_err(|e| match e {
        LoadError::Os(e) => e,
        LoadError::NotOurs(NotOurs::Foreign { segment, node }) => {
            let file = segment::file_name(segment);
            io::Error::other(format!("{file} belongs to another node, {node}"))
        }
        LoadError::NotOurs(NotOurs::Newer { segment, version }) => {
            let file = segment::file_name(segment);
            io::Error::other(format!(
                "{file} was written by a newer tandem (format {version})"
            ))
        }
    })?;
    let report = VerifyReport {
        node,
        segments: loaded.segments.len(),
        ending: loaded.ending,
        damages: loaded.damages,
        sounds: view.sounds().count(),
        sounds_open: view.sounds().filter(|sound| sound.seal.is_none()).count(),
        is_running,
    };
    Ok((report, loaded.last_record))
}

/// Whose log it is, by the first segment that says so.
fn node_of(dir: &Path) -> io::Result<Option<NodeName>> {
    for number in files::segments(dir)? {
        match files::first_block(dir, number) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            block => {
                if let FirstBlock::Header(header) = segment::decode(&block?) {
                    return Ok(Some(header.node));
                }
            }
        }
    }
    Ok(None)
}
