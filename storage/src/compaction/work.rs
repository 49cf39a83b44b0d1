//! One segment, read into memory, and what counts in it.
//!
//! A segment does not say by itself how far it counts: its last records may have been written
//! and never confirmed. Recovery judges it, and the next segment says where the judging ends. So
//! compaction moves nothing on, and so makes nothing count, that a start would have left behind.

use std::collections::BTreeSet;

use crate::block::ChunkBlock;
use crate::name::NodeName;
use crate::record::{self, Body};
use crate::recovery::{Damage, NotOurs, Recovery, Verdict};
use crate::scan::{self, Found, Scan};
use crate::seam::{Append, Committed, Payload, Stamp};
use crate::segment::{self, FirstBlock};

/// See the chapter above.
#[derive(Debug)]
pub(super) struct Work {
    node: NodeName,
    pub(super) segment: u32,
    /// What is live in it is moved on, and not only read.
    pub(super) moves: bool,
    pub(super) bytes: Vec<u8>,
    /// The last record up to its end that counts.
    pub(super) end: (u32, u64),
    pub(super) is_damaged: bool,
    /// A piece of sound in it cannot be read.
    pub(super) misses_sound: bool,
    scan: Scan,
    recovery: Recovery,
    is_scanned: bool,
}

/// What tells a record from others, wherever it lies.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RecordKey {
    /// A chunk, by its place in the segment.
    Chunk(u64),
    /// Another, by node, epoch and sequence number.
    Said(NodeName, u32, u64),
}

impl RecordKey {
    pub(super) fn of(record: &Committed) -> RecordKey {
        let Stamp {
            node, epoch, seq, ..
        } = record.stamp;
        match &record.what {
            Payload::Chunk { place, .. } => RecordKey::Chunk(place.offset),
            _ => RecordKey::Said(node, epoch, seq),
        }
    }
}

impl Work {
    pub(super) fn new(node: NodeName, segment: u32, moves: bool) -> Work {
        Work {
            node,
            segment,
            moves,
            bytes: Vec::new(),
            end: (0, 0),
            is_damaged: false,
            misses_sound: false,
            scan: Scan::new(segment),
            recovery: Recovery::of_segment(node, segment),
            is_scanned: false,
        }
    }

    /// All bytes are there.
    pub(super) fn start(&mut self) -> Result<(), NotOurs> {
        let used = scan::used_bytes(&self.bytes) > 0;
        let first = segment::decode(&self.bytes);
        self.recovery.segment(self.segment, first, used)
    }

    /// The last record before the segment that counts, if it says so.
    pub(super) fn before(&self) -> Option<(u32, u64)> {
        start_of(self.segment, &self.bytes)
    }

    /// Some records that count, rarely more than `count`; what is damaged; and whether that was all.
    pub(super) fn next(&mut self, count: usize) -> (Vec<Committed>, Vec<Damage>, bool) {
        let (mut records, mut damages) = (Vec::new(), Vec::new());
        while records.len() < count {
            let Work {
                scan,
                recovery,
                bytes,
                ..
            } = self;
            let more = scan.step(bytes, &mut |offset, found| recovery.found(offset, found));
            if !more && !self.is_scanned {
                self.is_scanned = true;
                self.recovery.finish_at(self.end);
            }
            while let Some(verdict) = self.recovery.poll() {
                match verdict {
                    Verdict::Record(record) => records.push(record),
                    Verdict::Damage(damage) => damages.push(damage),
                }
            }
            if !more {
                break;
            }
        }
        self.is_damaged |= !damages.is_empty();
        let is_done = self.is_scanned && records.is_empty();
        (records, damages, is_done)
    }

    /// The append that moves a record on, and its length.
    pub(super) fn restate(&self, record: Committed) -> Option<(Append, usize)> {
        let Committed { stamp, what, .. } = record;
        let mut bytes = record::kept_bytes(&what) as usize;
        let block = match &what {
            Payload::Chunk { place, .. } => {
                let at = usize::try_from(place.offset).ok()?;
                let (_, samples) = record::decode_samples(self.bytes.get(at..)?).ok()?;
                let block = ChunkBlock::of_record(samples);
                bytes = crate::block::BLOCK_BYTES;
                Some(block)
            }
            _ => None,
        };
        Some((Append::Replica { stamp, what, block }, bytes))
    }

    /// All records in it that are whole.
    pub(super) fn whole(&self) -> BTreeSet<RecordKey> {
        let mut keys = BTreeSet::new();
        scan::scan(self.segment, &self.bytes, |_, found| {
            if let Found::Record(record) = found {
                keys.extend(record.said(self.node).as_ref().map(RecordKey::of));
            }
        });
        keys
    }
}

/// The last record that counts before segment `number`, of which this is the beginning; epoch 0:
/// there is none. `None`: it does not say.
pub(super) fn start_of(number: u32, bytes: &[u8]) -> Option<(u32, u64)> {
    let mut first = None;
    let mut scan = Scan::new(number);
    let mut found = |_, found| {
        if let Found::Record(record) = found {
            first.get_or_insert(record);
        }
    };
    if let FirstBlock::Header(header) = segment::decode(bytes)
        && header.number == number
        && header.seq > 1
    {
        return Some((header.epoch, header.seq - 1));
    }
    // A few blocks are enough: the first record is the first thing behind the first block.
    while scan.at() < bytes.len() && scan.at() < SEARCH_BYTES && scan.step(bytes, &mut found) {}
    let first: record::Record = first?;
    match first.body {
        Body::Epoch { before, last } if first.header.seq == 1 => Some((before, last)),
        // What was written with it, before it, may never have been confirmed.
        _ => Some((first.header.epoch, first.header.durable)),
    }
}

/// As far as a first record is looked for.
const SEARCH_BYTES: usize = 16 * crate::block::BLOCK_BYTES;
