//! What is in packs, as appends to a log: restated, under the stamps they were said with.
//!
//! A backup is made while people speak: a sound that had no seal yet is sealed as cut short, by
//! whoever restores it. Should its writer still live and have sealed it, that seal is the earlier one
//! and holds; so sounds of others are left alone while they may still be spoken.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pack::PackRecord;
use crate::block::ChunkBlock;
use crate::name::{Id, NodeName};
use crate::seam::{Append, Payload, SealKind};
use crate::time::WallTime;

/// No sound of another node that began later than this before now is sealed.
const SPOKEN_MAX: Duration = Duration::from_secs(24 * 3600);

/// Follows which sounds are sealed. 40 bytes for each that is not.
#[derive(Debug)]
pub struct Unpacking {
    node: NodeName,
    /// Begun and not sealed, or (`None`) sealed and not begun: packs come in no order.
    open: BTreeMap<Id, Option<WallTime>>,
    sounds: u64,
}

impl Unpacking {
    /// Of a backup of `node`.
    pub fn new(node: NodeName) -> Unpacking {
        Unpacking {
            node,
            open: BTreeMap::new(),
            sounds: 0,
        }
    }

    /// What to append for a record.
    pub fn append(&mut self, record: &PackRecord<'_>) -> Append {
        match &record.said.what {
            Payload::Begin { id, at, .. } => {
                self.sounds += 1;
                self.half(*id, Some(*at));
            }
            Payload::Seal { id, .. } => self.half(*id, None),
            _ => {}
        }
        restated(record)
    }

    /// A sound's beginning, or its seal. With the other it is complete.
    fn half(&mut self, id: Id, begun: Option<WallTime>) {
        if self.open.remove(&id).is_none() {
            self.open.insert(id, begun);
        }
    }

    /// All packs were handed in: the seals that are missing.
    pub fn finish(&self, now: WallTime) -> impl Iterator<Item = Append> {
        let is_over = move |id: &Id, at: WallTime| id.node == self.node || at + SPOKEN_MAX < now;
        let open = self.open.iter();
        open.filter_map(|(id, at)| Some((*id, (*at)?)))
            .filter(move |(id, at)| is_over(id, *at))
            .map(|(id, _)| Append::Seal {
                id,
                kind: SealKind::CutShort,
                about: "".into(),
            })
    }

    /// Sounds so far.
    pub fn sounds(&self) -> u64 {
        self.sounds
    }
}

/// The record as it was said.
pub fn restated(record: &PackRecord<'_>) -> Append {
    let what = record.said.what.clone();
    let block = record.samples().map(ChunkBlock::of_record);
    Append::Replica {
        stamp: record.said.stamp,
        what,
        block,
    }
}
