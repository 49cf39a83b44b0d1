//! A whole log, read segment by segment: at start, for `verify`, and by whoever wants to know what
//! a picture of a disk means.
//!
//! Puts `scan.rs` and `recovery.rs` together and remembers what the next epoch needs. Takes bytes,
//! touches no file.

use crate::link::LogFound;
use crate::name::NodeName;
use crate::record::Body;
use crate::recovery::{Damage, Ending, NotOurs, Recovery, Verdict};
use crate::retired::Retired;
use crate::scan::{self, Found};
use crate::seam::{Append, Committed, SealKind};
use crate::segment::{self, FirstBlock};
use crate::snapshot::Snapshot;
use crate::view::View;

/// Damages that a reading lists; more are counted.
pub const DAMAGES_LISTED_MAX: usize = 1000;

/// A log that is being read.
#[derive(Debug)]
pub struct Reading {
    recovery: Recovery,
    loaded: Loaded,
    end: (u32, u64),
    retired: Retired,
    /// What lies in segments before this one is known already.
    from: u32,
}

/// A log that was read.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Counts.
    pub ending: Ending,
    /// What is damaged; at most [`DAMAGES_LISTED_MAX`].
    pub damages: Vec<Damage>,
    /// The segments, rising.
    pub segments: Vec<LoadedSegment>,
    /// Where the last record is, whether it counts or not: segment and offset.
    pub last_record: (u32, u64),
    /// Segments that were retired.
    pub retired: Retired,
    /// Of these, those that are still there.
    pub left_over: Vec<u32>,
    /// What the link must know of it.
    pub found: LogFound,
}

/// A segment that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadedSegment {
    /// Its number.
    pub number: u32,
    /// Its length.
    pub bytes: u64,
    /// Up to where it is not zero, in whole blocks.
    pub used_bytes: u64,
    /// Its first block is as it should be.
    pub has_header: bool,
}

impl Reading {
    /// Of the log of `node`.
    pub fn new(node: NodeName) -> Reading {
        Reading::up_to(node, (u32::MAX, u64::MAX))
    }

    /// What comes after `end`, a segment and an offset, is not looked at.
    pub fn up_to(node: NodeName, end: (u32, u64)) -> Reading {
        Reading {
            recovery: Recovery::new(node),
            loaded: Loaded::default(),
            end,
            retired: Retired::default(),
            from: 0,
        }
    }

    /// Of a log of which these segments were retired, see [`newest_retired`].
    pub fn with_retired(self, retired: Retired) -> Reading {
        Reading {
            recovery: self.recovery.with_retired(retired.clone()),
            retired,
            ..self
        }
    }

    /// Of which a snapshot tells what lies before a segment. After [`Reading::with_retired`].
    pub fn after(mut self, snapshot: &Snapshot) -> Reading {
        let heard = snapshot.view.heard();
        self.loaded.ending.hlc = heard.hlc;
        self.loaded.found.authors = heard.authors.clone();
        self.loaded.found.epochs = snapshot.epochs.clone();
        Reading {
            recovery: self
                .recovery
                .with_retired(self.retired.and_all_before(snapshot.segment)),
            from: snapshot.segment,
            ..self
        }
    }

    /// This segment lies before what must be read; it is so long.
    pub fn pass(&mut self, number: u32, bytes: u64) -> bool {
        if number >= self.from {
            return false;
        }
        match self.retired.contains(number) {
            true => self.loaded.left_over.push(number),
            false => self.loaded.segments.push(LoadedSegment {
                number,
                bytes,
                used_bytes: bytes,
                has_header: true,
            }),
        }
        true
    }

    /// Reads the next segment and hands what counts to `apply`.
    pub fn take(
        &mut self,
        number: u32,
        bytes: &[u8],
        apply: &mut impl FnMut(&Committed),
    ) -> Result<(), NotOurs> {
        if self.retired.contains(number) {
            self.loaded.left_over.push(number);
            return Ok(());
        }
        let used_bytes = scan::used_bytes(bytes);
        let first = segment::decode(bytes);
        self.recovery.segment(number, first, used_bytes > 0)?;
        let has_header = matches!(first, FirstBlock::Header(header) if header.number == number);
        self.loaded.segments.push(LoadedSegment {
            number,
            bytes: bytes.len() as u64,
            used_bytes,
            has_header,
        });
        scan::scan(number, bytes, |offset, found| {
            if (number, offset) > self.end {
                return;
            }
            if matches!(found, Found::Record(_)) {
                self.loaded.last_record = (number, offset);
            }
            self.recovery.found(offset, found);
            self.drain(apply);
        });
        self.drain(apply);
        Ok(())
    }

    /// All segments were handed in.
    pub fn finish(mut self, apply: &mut impl FnMut(&Committed)) -> Loaded {
        let hlc_known = self.loaded.ending.hlc;
        self.loaded.ending = self.recovery.finish();
        self.loaded.ending.hlc = self.loaded.ending.hlc.max(hlc_known);
        self.drain(apply);
        self.loaded.retired = self.retired;
        for (epoch, last) in self.recovery.epochs() {
            let known = self.loaded.found.epochs.entry(*epoch).or_default();
            *known = (*known).max(*last);
        }
        self.loaded.found.damages = self.loaded.ending.damages;
        self.loaded
    }

    fn drain(&mut self, apply: &mut impl FnMut(&Committed)) {
        while let Some(verdict) = self.recovery.poll() {
            match verdict {
                Verdict::Record(record) => {
                    self.loaded.found.authors.insert(record.stamp.node);
                    apply(&record);
                }
                Verdict::Damage(damage) if self.loaded.damages.len() < DAMAGES_LISTED_MAX => {
                    self.loaded.damages.push(damage);
                }
                Verdict::Damage(_) => {}
            }
        }
    }
}

impl Loaded {
    /// The segment the next epoch begins in, and how much of it is used. The last one with
    /// anything in it, if its first block can be trusted and nothing after it is missing;
    /// otherwise one with a number that was never used, so that a segment that turns up again
    /// finds its place free.
    pub fn go_on_in(&self) -> (u32, u64) {
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

/// A segment is missing somewhere: whether it was retired must be known before the log is read.
pub fn has_gaps(numbers: &[u32]) -> bool {
    (1..).zip(numbers).any(|(wanted, number)| wanted != *number)
}

/// What this segment says of those that were retired. Asked from the last segment towards the
/// first, the first answer holds; compaction sees to it that it is not far.
///
/// Whether that record was confirmed does not matter: what it speaks of had been moved on, and
/// was durable there, before it was written.
pub fn newest_retired(number: u32, bytes: &[u8]) -> Option<Retired> {
    let mut newest = None;
    scan::scan(number, bytes, |_, found| {
        if let Found::Record(record) = found
            && let Body::Retired(retired) = record.body
        {
            newest = Some(retired);
        }
    });
    newest
}

/// The seals of the sounds that `node` was writing when it died.
pub fn cut_short(view: &View, node: NodeName) -> Vec<Append> {
    let open = view
        .sounds()
        .filter(|sound| sound.seal.is_none() && sound.id.node == node);
    let seal = |id| Append::Seal {
        id,
        kind: SealKind::CutShort,
        about: "".into(),
    };
    open.map(|sound| seal(sound.id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BLOCK_BYTES;
    use crate::record::{Body, Header, SEQ_MAX, encode_front, seal};
    use crate::seam::{Hlc, Payload};
    use proptest::prelude::*;

    /// Headers that say anything, more often something that nearly fits.
    fn header() -> impl Strategy<Value = Header> {
        let epoch = prop_oneof![1..4u32, any::<u32>()];
        let seq = prop_oneof![1..9u64, any::<u64>(), Just(SEQ_MAX)];
        (epoch, seq, any::<u64>(), any::<u64>(), 1..4u32).prop_map(
            |(epoch, seq, hlc, durable, segment)| {
                let durable = durable % seq.max(1);
                Header {
                    segment,
                    epoch,
                    seq,
                    hlc: Hlc(hlc),
                    durable,
                }
            },
        )
    }

    fn body() -> impl Strategy<Value = Body> {
        let said = Body::Said(Payload::Register {
            key: "k".into(),
            value: None,
        });
        let last = prop_oneof![0..9u64, any::<u64>()];
        let epoch = (0..4u32, last).prop_map(|(before, last)| Body::Epoch { before, last });
        prop_oneof![Just(said), epoch, Just(Body::Mark)]
    }

    proptest! {
        #[test]
        fn records_that_say_anything_are_read(
            blocks in proptest::collection::vec((header(), body(), 0..40usize), 0..30),
        ) {
            let mut segments = vec![vec![0; 16 * BLOCK_BYTES]; 3];
            for (n, (header, body, at)) in blocks.iter().enumerate() {
                let mut bytes = Vec::new();
                encode_front(header, body, &mut bytes);
                seal(&mut bytes);
                let start = at % 16 * BLOCK_BYTES;
                segments[n % 3][start..start + bytes.len()].copy_from_slice(&bytes);
            }
            let mut reading = Reading::new("office".parse().unwrap());
            let mut applied = 0;
            for (number, bytes) in (1..).zip(&segments) {
                reading.take(number, bytes, &mut |_| applied += 1).unwrap();
            }
            let loaded = reading.finish(&mut |_| applied += 1);
            prop_assert!(applied <= blocks.len());
            prop_assert!(loaded.ending.records <= blocks.len() as u64);
        }
    }
}
