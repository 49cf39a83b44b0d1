//! Reading a whole log: at start, and for `tandem log verify` and `tandem log show`.
//!
//! `verify` and `show` take no lock and change nothing; they work while a node writes. What a
//! writer is busy with looks torn to somebody who reads along: so what looks damaged is looked at
//! once more, up to where the first look ended.

use std::io;
use std::path::Path;

use super::DAMAGES_LISTED_MAX;
use super::files::{self, Lock};
use crate::name::NodeName;
use crate::record::{Fault, Record};
use crate::recovery::{Damage, Ending, NotOurs, Recovery, Verdict};
use crate::scan::{self, Found};
use crate::seam::Committed;
use crate::segment::{self, FirstBlock};
use crate::view::View;

/// A log that was read.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) ending: Ending,
    pub(super) damages: Vec<Damage>,
    pub(super) segments: Vec<LoadedSegment>,
}

/// A segment that was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadedSegment {
    number: u32,
    used_bytes: u64,
    has_header: bool,
}

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
    /// What is damaged; at most [`DAMAGES_LISTED_MAX`] are listed.
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

/// Is every record of the log in `dir` whole?
pub fn verify(dir: &Path) -> io::Result<VerifyReport> {
    let is_running = Lock::is_held(dir);
    let (report, last_record) = verify_once(dir, is_running, END)?;
    if report.is_clean() || !is_running {
        return Ok(report);
    }
    verify_once(dir, is_running, last_record).map(|(report, _)| report)
}

/// Hands every record to `shown`, also those that do not count, and what is no record.
pub fn show(dir: &Path, mut shown: impl FnMut(&ShownRecord)) -> io::Result<()> {
    let mut bytes = Vec::new();
    for number in files::segments(dir)? {
        files::load(dir, number, &mut bytes)?;
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

/// Reads the log of `node` and hands what counts to `apply`.
pub(super) fn load(
    dir: &Path,
    node: NodeName,
    apply: impl FnMut(&Committed),
) -> Result<Loaded, LoadError> {
    Reading::new(node, END)
        .read(dir, apply)
        .map(|reading| reading.loaded)
}

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
    let mut reading = Reading::new(reader.ok_or(io::ErrorKind::InvalidData)?, end);
    reading = reading
        .read(dir, |record| view.apply(record))
        .map_err(|e| match e {
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
        segments: reading.loaded.segments.len(),
        ending: reading.loaded.ending,
        damages: reading.loaded.damages,
        sounds: view.sounds().count(),
        sounds_open: view.sounds().filter(|sound| sound.seal.is_none()).count(),
        is_running,
    };
    Ok((report, reading.last_record))
}

/// Whose log it is, by the first segment that says so.
fn node_of(dir: &Path) -> io::Result<Option<NodeName>> {
    for number in files::segments(dir)? {
        if let FirstBlock::Header(header) = segment::decode(&files::first_block(dir, number)?) {
            return Ok(Some(header.node));
        }
    }
    Ok(None)
}

impl Loaded {
    /// The segment the next epoch begins in, and how much of it is used. The last one with
    /// anything in it, if its first block can be trusted and nothing after it is missing;
    /// otherwise one with a number that was never used, so that a segment that turns up again
    /// finds its place free.
    pub(super) fn go_on_in(&self) -> (u32, u64) {
        let highest = self.segments.last().map_or(0, |s| s.number);
        let Some(last) = self.segments.iter().rfind(|s| s.used_bytes > 0) else {
            return (highest.max(1), 0);
        };
        if last.has_header && highest <= last.number + 1 {
            return (last.number, last.used_bytes);
        }
        let fresh = if highest > last.number {
            highest
        } else {
            highest + 1
        };
        (fresh, 0)
    }
}

/// A place after every other.
const END: (u32, u64) = (u32::MAX, u64::MAX);

struct Reading {
    recovery: Recovery,
    loaded: Loaded,
    /// What comes after this place is not looked at.
    end: (u32, u64),
    last_record: (u32, u64),
}

impl Reading {
    fn new(node: NodeName, end: (u32, u64)) -> Reading {
        let (recovery, loaded) = (Recovery::new(node), Loaded::default());
        Reading {
            recovery,
            loaded,
            end,
            last_record: (0, 0),
        }
    }

    fn read(mut self, dir: &Path, mut apply: impl FnMut(&Committed)) -> Result<Reading, LoadError> {
        let mut bytes = Vec::new();
        for number in files::segments(dir).map_err(LoadError::Os)? {
            files::load(dir, number, &mut bytes).map_err(LoadError::Os)?;
            self.take(number, &bytes, &mut apply)
                .map_err(LoadError::NotOurs)?;
        }
        self.loaded.ending = self.recovery.finish();
        self.drain(&mut apply);
        Ok(self)
    }

    fn take(
        &mut self,
        number: u32,
        bytes: &[u8],
        apply: &mut impl FnMut(&Committed),
    ) -> Result<(), NotOurs> {
        let used_bytes = scan::used_bytes(bytes);
        let first = segment::decode(bytes);
        self.recovery.segment(number, first, used_bytes > 0)?;
        let has_header = matches!(first, FirstBlock::Header(header) if header.number == number);
        self.loaded.segments.push(LoadedSegment {
            number,
            used_bytes,
            has_header,
        });
        scan::scan(number, bytes, |offset, found| {
            if (number, offset) <= self.end {
                if matches!(found, Found::Record(_)) {
                    self.last_record = (number, offset);
                }
                self.recovery.found(offset, found);
                self.drain(apply);
            }
        });
        self.drain(apply);
        Ok(())
    }

    fn drain(&mut self, apply: &mut impl FnMut(&Committed)) {
        while let Some(verdict) = self.recovery.poll() {
            match verdict {
                Verdict::Record(record) => apply(&record),
                Verdict::Damage(damage) if self.loaded.damages.len() < DAMAGES_LISTED_MAX => {
                    self.loaded.damages.push(damage);
                }
                Verdict::Damage(_) => {}
            }
        }
    }
}
