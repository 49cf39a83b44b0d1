//! Takes what is new out of segments, and what is still wanted out of packs, into new packs.
//!
//! The shell hands in segments and packs that must be written anew; out come packs, each as soon as
//! it is full. Invariants: no record that counts is left out, none is taken twice, and nothing of a
//! destroyed sound is taken.

use std::collections::VecDeque;

use super::catalog::Catalog;
use super::manifest::Position;
use super::pack::{self, Builder, FULL_BYTES, Pack, PackFault, PackInfo, PackKind, sound_of};
use super::survey::{Extent, NotTheSame};
use crate::name::{Id, NodeName};
use crate::record::Body;
use crate::scan::{self, Found};
use crate::seam::{LOCAL_REGISTERS, Payload, SealKind};

/// So many packs of one kind may be less than a quarter full; then they are put together.
const SMALL_PACKS_MAX: usize = 16;

/// Puts a backup together.
#[derive(Debug)]
pub struct Gather {
    node: NodeName,
    catalog: Catalog,
    /// Sounds destroyed since the last backup.
    destroyed: Vec<Id>,
    metadata: Builder,
    sound: Builder,
    packs: VecDeque<Pack>,
    gathered: Gathered,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// How far the log was read.
    pub position: Option<Position>,
    /// Records that are new.
    pub records_new: u64,
    /// Places of the log that are damaged.
    pub damages: u64,
    /// Sounds that are discarded since the last backup.
    pub destroyed: u64,
}

impl Gather {
    /// For the log of `node`, of which a backup has what is in `catalog` and ended at `position`.
    pub fn new(node: NodeName, catalog: Catalog, position: Option<Position>) -> Gather {
        Gather {
            node,
            catalog,
            destroyed: Vec::new(),
            metadata: Builder::new(node, PackKind::Metadata),
            sound: Builder::new(node, PackKind::Sound),
            packs: VecDeque::new(),
            gathered: Gathered {
                position,
                ..Gathered::default()
            },
        }
    }

    /// What the log says is discarded must not be kept. Before anything is taken.
    pub fn destroy(&mut self, discarded: &[Id]) {
        for id in discarded {
            if self.catalog.destroy(*id) {
                self.destroyed.push(*id);
                self.gathered.destroyed += 1;
            }
        }
    }

    /// Takes what is new in a segment.
    pub fn take(&mut self, extent: &Extent, number: u32, bytes: &[u8]) -> Result<(), NotTheSame> {
        let mut outcome = Ok(());
        scan::scan(number, bytes, |offset, found| match found {
            Found::Record(record) if extent.counts(record.header.epoch, record.header.seq) => {
                let raw = &bytes[offset as usize..offset as usize + record.bytes];
                if let Err(not_the_same) = self.take_record(record, raw) {
                    outcome = Err(not_the_same);
                }
            }
            Found::Garbage(_) => self.gathered.damages += 1,
            Found::Record(_) | Found::Stale | Found::Zeros { .. } => {}
        });
        outcome
    }

    /// The packs of the last backup that must not stay as they are: those that may have something
    /// of a destroyed sound, and small ones once there are many.
    pub fn stale<'a>(&self, packs: &'a [PackInfo]) -> (Vec<&'a PackInfo>, Vec<&'a PackInfo>) {
        let has_destroyed = |pack: &PackInfo| self.destroyed.iter().any(|id| pack.may_have(*id));
        let is_small = |pack: &PackInfo| pack.bytes < FULL_BYTES as u64 / 4;
        let kinds = [PackKind::Metadata, PackKind::Sound].map(|kind| {
            let small = packs.iter().filter(|p| p.kind == kind && is_small(p));
            (kind, small.count() > SMALL_PACKS_MAX)
        });
        let is_one_of_many = |pack: &PackInfo| {
            let too_many = kinds.iter().any(|(kind, many)| *many && *kind == pack.kind);
            too_many && is_small(pack)
        };
        packs
            .iter()
            .partition(|pack| has_destroyed(pack) || is_one_of_many(pack))
    }

    /// Takes over what is still wanted of a stale pack. `false`: all of it is, and the pack is
    /// full enough to stay as it is.
    pub fn rewrite(&mut self, info: &PackInfo, bytes: &[u8]) -> Result<bool, PackFault> {
        let mut has_unwanted = info.bytes < FULL_BYTES as u64 / 4;
        for record in pack::records(info, bytes)? {
            has_unwanted |= !is_wanted(&self.catalog, &record?.said.what);
        }
        if !has_unwanted {
            return Ok(false);
        }
        for record in pack::records(info, bytes)? {
            let record = record?;
            if is_wanted(&self.catalog, &record.said.what) {
                self.push(&record.said.what, record.raw);
            }
        }
        Ok(true)
    }

    /// The next pack that is full.
    pub fn poll(&mut self) -> Option<Pack> {
        self.packs.pop_front()
    }

    /// All has been handed in: the last packs, what to write into the catalog, and what came of it.
    pub fn finish(mut self) -> (VecDeque<Pack>, Catalog, Gathered) {
        self.packs.extend(self.metadata.take());
        self.packs.extend(self.sound.take());
        (self.packs, self.catalog, self.gathered)
    }

    /// So far.
    pub fn gathered(&self) -> Gathered {
        self.gathered
    }

    fn take_record(&mut self, record: crate::record::Record, raw: &[u8]) -> Result<(), NotTheSame> {
        let header = record.header;
        let here = Position {
            epoch: header.epoch,
            seq: header.seq,
            hlc: header.hlc.0,
        };
        self.gathered.position = self.gathered.position.max(Some(here));
        if matches!(record.body, Body::Epoch { .. }) {
            self.catalog.opened(header.epoch, header.hlc)?;
        }
        let is_own = matches!(record.body, Body::Said(_));
        if let Some(said) = record.said(self.node)
            && !self.catalog.has(&said.stamp)
        {
            self.catalog.add(&said.stamp);
            if is_wanted(&self.catalog, &said.what) {
                self.gathered.records_new += 1;
                self.push(&said.what, raw);
            }
        }
        if !is_own {
            // Marks, openings and restated records have numbers of their own: no gap is left for them.
            self.catalog.add_number(self.node, header.epoch, header.seq);
        }
        Ok(())
    }

    fn push(&mut self, what: &Payload, raw: &[u8]) {
        let builder = match what {
            Payload::Chunk { .. } => &mut self.sound,
            _ => &mut self.metadata,
        };
        self.packs.extend(builder.push(sound_of(what), raw));
    }
}

/// Is it to be in a backup? Not what belongs to a destroyed sound, but for the seal that says so; and not
/// how far this node has read its peers' logs: one that was restored reads them again.
fn is_wanted(catalog: &Catalog, what: &Payload) -> bool {
    match what {
        Payload::Seal {
            kind: SealKind::Discarded,
            ..
        } => true,
        Payload::Register { key, .. } if key.starts_with(LOCAL_REGISTERS) => false,
        _ => !sound_of(what).is_some_and(|id| catalog.is_destroyed(id)),
    }
}
