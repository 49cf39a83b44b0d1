//! Which records a backup holds, by the stamps they were said with.
//!
//! A log says things twice: compaction moves records forward, copies of what peers said come in any
//! order, a log that was lost comes back from elsewhere. What is new to a backup is told by stamps
//! alone. Numbers are kept as runs, and come nearly without gaps: a million messages are a few
//! megabytes. Beyond [`RUNS_MAX`] runs what is new is no longer remembered; the price is that it may be
//! backed up twice.
//!
//! The file is JSON: `{"records":{"office.3":"1-1040,1042"},"destroyed":{…},"openings":{"3":…}}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::survey::NotTheSame;
use crate::name::{Id, NodeName};
use crate::seam::{Hlc, Stamp};

/// A longer catalog is not read.
pub const CATALOG_BYTES_MAX: u64 = 256 << 20;
/// Runs a catalog keeps.
const RUNS_MAX: usize = 8 << 20;

/// What is in a backup, and what must no longer be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    records: Sets,
    destroyed: Sets,
    /// When each epoch of the node's own log was opened: tells another log of the same name.
    openings: BTreeMap<u32, u64>,
}

/// Numbers by who counts them: a node, and an epoch of its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sets {
    sets: BTreeMap<(NodeName, u32), Runs>,
    runs_len: usize,
}

/// Numbers, as the first and last of each run without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Runs(BTreeMap<u64, u64>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    records: BTreeMap<String, String>,
    destroyed: BTreeMap<String, String>,
    openings: BTreeMap<u32, u64>,
}

impl Catalog {
    /// Reads a catalog's file; `None`: it is none.
    pub fn parse(bytes: &[u8]) -> Option<Catalog> {
        let file: File = serde_json::from_slice(bytes).ok()?;
        Some(Catalog {
            records: Sets::parse(&file.records)?,
            destroyed: Sets::parse(&file.destroyed)?,
            openings: file.openings,
        })
    }

    /// The bytes of its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let file = File {
            records: self.records.to_text(),
            destroyed: self.destroyed.to_text(),
            openings: self.openings.clone(),
        };
        // Strings and numbers have no failing form.
        serde_json::to_vec(&file).unwrap_or_default()
    }

    /// Is the record said under this stamp in the backup, or was it and is destroyed?
    pub fn has(&self, stamp: &Stamp) -> bool {
        self.records.has((stamp.node, stamp.epoch), stamp.seq)
    }

    /// The record said under this stamp is in the backup from now on.
    pub fn add(&mut self, stamp: &Stamp) {
        self.records.add((stamp.node, stamp.epoch), stamp.seq);
    }

    /// The number of the node's own log is taken care of.
    pub(super) fn add_number(&mut self, node: NodeName, epoch: u32, seq: u64) {
        self.records.add((node, epoch), seq);
    }

    /// Is nothing of this sound to be kept?
    pub fn is_destroyed(&self, id: Id) -> bool {
        self.destroyed.has((id.node, id.epoch), id.number)
    }

    /// Nothing of this sound is to be kept. `false`: that was known.
    pub fn destroy(&mut self, id: Id) -> bool {
        self.destroyed.add((id.node, id.epoch), id.number)
    }

    /// An epoch of the node's log was opened then; an error if it is known to have been opened at
    /// another time.
    pub(super) fn opened(&mut self, epoch: u32, at: Hlc) -> Result<(), NotTheSame> {
        match self.openings.insert(epoch, at.0) {
            Some(known) if known != at.0 => Err(NotTheSame::Other),
            _ => Ok(()),
        }
    }
}

impl Sets {
    fn has(&self, of: (NodeName, u32), number: u64) -> bool {
        self.sets.get(&of).is_some_and(|runs| runs.has(number))
    }

    fn add(&mut self, of: (NodeName, u32), number: u64) -> bool {
        if self.runs_len >= RUNS_MAX {
            return !self.has(of, number);
        }
        let runs = self.sets.entry(of).or_default();
        let before = runs.0.len();
        let is_new = runs.add(number);
        self.runs_len = self.runs_len + runs.0.len() - before;
        is_new
    }

    fn parse(file: &BTreeMap<String, String>) -> Option<Sets> {
        let mut sets = Sets::default();
        for (of, text) in file {
            let (node, epoch) = of.split_once('.')?;
            let of = (node.parse().ok()?, epoch.parse().ok()?);
            let runs = Runs::parse(text)?;
            sets.runs_len += runs.0.len();
            sets.sets.insert(of, runs);
        }
        Some(sets)
    }

    fn to_text(&self) -> BTreeMap<String, String> {
        let texts = self.sets.iter();
        texts
            .map(|((node, epoch), runs)| (format!("{node}.{epoch}"), runs.to_text()))
            .collect()
    }
}

impl Runs {
    fn has(&self, number: u64) -> bool {
        let run = self.0.range(..=number).next_back();
        run.is_some_and(|(_, last)| number <= *last)
    }

    fn add(&mut self, number: u64) -> bool {
        if self.has(number) {
            return false;
        }
        // What comes after it begins with its last number; what was before goes on in it.
        let last = number.checked_add(1).and_then(|next| self.0.remove(&next));
        let last = last.unwrap_or(number);
        match self.0.range_mut(..number).next_back() {
            Some((_, before)) if *before == number - 1 => *before = last,
            _ => {
                self.0.insert(number, last);
            }
        }
        true
    }

    fn parse(text: &str) -> Option<Runs> {
        let mut runs = Runs::default();
        let mut free_from = 0;
        for run in text.split(',').filter(|run| !run.is_empty()) {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            if first < free_from || last < first || last == u64::MAX {
                return None;
            }
            free_from = last + 1;
            runs.0.insert(first, last);
        }
        Some(runs)
    }

    fn to_text(&self) -> String {
        let runs = self.0.iter().map(|(first, last)| match last - first {
            0 => first.to_string(),
            _ => format!("{first}-{last}"),
        });
        runs.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn runs_are_a_set(numbers in proptest::collection::vec(0..60u64, 0..80)) {
            let (mut runs, mut set) = (Runs::default(), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(runs.add(number), set.insert(number));
                for n in 0..61 {
                    prop_assert_eq!(runs.has(n), set.contains(&n));
                }
            }
            let gaps = set.iter().filter(|n| !set.contains(&(*n + 1))).count();
            prop_assert_eq!(runs.0.len(), gaps, "{}", runs.to_text());
            prop_assert_eq!(Runs::parse(&runs.to_text()), Some(runs));
        }
    }

    #[test]
    fn a_catalog_reads_back_and_nonsense_does_not() {
        let mut catalog = Catalog::default();
        for id in ["office.3.1", "office.3.2", "depot.1.9"] {
            assert!(catalog.destroy(id.parse().unwrap()));
        }
        catalog.add_number("office".parse().unwrap(), 3, 7);
        assert_eq!(catalog.opened(3, Hlc(5)), Ok(()));
        assert_eq!(catalog.opened(3, Hlc(5)), Ok(()));
        assert_eq!(Catalog::parse(&catalog.to_bytes()), Some(catalog.clone()));
        assert_eq!(catalog.opened(3, Hlc(6)), Err(NotTheSame::Other));
        for runs in ["5-4", "1-5,3", "x", "1-", "18446744073709551615"] {
            let text =
                format!(r#"{{"records":{{"a.1":"{runs}"}},"destroyed":{{}},"openings":{{}}}}"#);
            assert_eq!(Catalog::parse(text.as_bytes()), None, "{runs}");
        }
    }
}
