//! Which records of a log count, while its node may be writing to it.
//!
//! A backup reads along without a lock. What it takes must have been durable: every record says how far the
//! epoch was durable when it was written, and a node that goes on in a new epoch says where the one
//! before ends. So a first look over the segments tells how far each epoch counts, and a second one
//! (`gather.rs`) takes what does. The last commit is known to be durable when the next one is
//! there, at the latest the mark that is written after a second of quiet: [`Survey::is_unsettled`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::manifest::Position;
use crate::name::{Id, NodeName};
use crate::record::{Body, Header};
use crate::scan::{self, Found};
use crate::seam::{Payload, SealKind};

/// A running log has written a mark behind its last commit by then.
pub const SETTLES_AFTER: Duration = Duration::from_millis(1500);

/// A first look at a log.
#[derive(Debug)]
pub struct Survey {
    node: NodeName,
    /// Where the last backup ended.
    after: Option<Position>,
    epochs: BTreeMap<u32, Seen>,
    /// Where epochs end, as the next one says.
    ends: BTreeMap<u32, u64>,
    discarded: BTreeMap<(u32, u64), Id>,
    is_other: bool,
}

/// What was seen of an epoch.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// What was said to be durable.
    durable: u64,
    /// Up to here nothing is missing since the first that was seen.
    whole: u64,
    /// The last one.
    last: u64,
}

/// How far a log counts.
#[derive(Clone, Debug, Default)]
pub struct Extent {
    ends: BTreeMap<u32, u64>,
    /// Sounds that are discarded by records that count.
    pub discarded: Vec<Id>,
}

/// The log is not a later state of the one that was backed up before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTheSame {
    /// Its records have other clocks.
    #[error(
        "this is another log of the same node name than the one that was backed up there; use another destination"
    )]
    Other,
    /// It ends before what was backed up.
    #[error(
        "this log ends before what was backed up there: it is older, or another one of the same node name; use another destination"
    )]
    Older,
}

impl Survey {
    /// Of the log of `node`, whose last backup ended at `after`.
    pub fn new(node: NodeName, after: Option<Position>) -> Survey {
        Survey {
            node,
            after,
            epochs: BTreeMap::new(),
            ends: BTreeMap::new(),
            discarded: BTreeMap::new(),
            is_other: false,
        }
    }

    /// Looks at a segment. They come by rising number; any may come again.
    pub fn look(&mut self, number: u32, bytes: &[u8]) {
        scan::scan(number, bytes, |_, found| {
            let Found::Record(record) = found else { return };
            let header = record.header;
            let place = (header.epoch, header.seq);
            self.on_header(header);
            match &record.body {
                Body::Epoch { before, last } => {
                    self.ends.insert(*before, *last);
                }
                Body::Said(Payload::Seal { id, kind, .. })
                | Body::Replica(_, Payload::Seal { id, kind, .. })
                    if *kind == SealKind::Discarded =>
                {
                    self.discarded.insert(place, *id);
                }
                _ => {}
            }
        });
    }

    /// Something was written of which it is not known yet that it is durable. If the node runs, a
    /// second look after [`SETTLES_AFTER`] will know.
    pub fn is_unsettled(&self) -> bool {
        let newest = self.epochs.last_key_value();
        newest.is_some_and(|(_, seen)| seen.durable < seen.last)
    }

    /// How far the log counts. If no node is running, what is whole counts, as it will at its next
    /// start.
    pub fn finish(self, is_running: bool) -> Result<Extent, NotTheSame> {
        let newest = self.epochs.last_key_value().map(|(epoch, _)| *epoch);
        let mut ends = BTreeMap::new();
        for (epoch, seen) in &self.epochs {
            let end = match self.ends.get(epoch) {
                Some(end) => *end,
                // The record that would say it is lost: in doubt all of it counts.
                None if Some(*epoch) != newest => seen.last,
                None if is_running => seen.durable,
                None => seen.whole,
            };
            ends.insert(*epoch, end);
        }
        let extent = Extent {
            ends,
            discarded: Vec::new(),
        };
        if self.is_other {
            return Err(NotTheSame::Other);
        }
        if self.after.map(|p| p.place()) > extent.end() {
            return Err(NotTheSame::Older);
        }
        let counts = self.discarded.iter();
        let counts = counts.filter(|((epoch, seq), _)| extent.counts(*epoch, *seq));
        let discarded = counts.map(|(_, id)| *id).collect();
        Ok(Extent {
            discarded,
            ..extent
        })
    }

    /// Whose log.
    pub fn node(&self) -> NodeName {
        self.node
    }

    fn on_header(&mut self, header: Header) {
        let Header {
            epoch,
            seq,
            hlc,
            durable,
            ..
        } = header;
        if let Some(after) = self.after
            && after.place() == (epoch, seq)
        {
            self.is_other |= after.hlc() != hlc;
        }
        let seen = self.epochs.entry(epoch).or_insert(Seen {
            durable: 0,
            whole: seq,
            last: seq,
        });
        seen.durable = seen.durable.max(durable);
        seen.whole = seen.whole.max(seen.durable);
        if seq == seen.whole + 1 {
            seen.whole = seq;
        }
        seen.last = seen.last.max(seq);
    }
}

impl Extent {
    /// Does the record in this place of the log count?
    pub fn counts(&self, epoch: u32, seq: u64) -> bool {
        self.ends.get(&epoch).is_some_and(|end| seq <= *end)
    }

    /// The last place that counts.
    fn end(&self) -> Option<(u32, u64)> {
        let ends = self.ends.iter().rev();
        let mut ends = ends.filter(|(_, end)| **end > 0);
        ends.next().map(|(epoch, end)| (*epoch, *end))
    }
}
