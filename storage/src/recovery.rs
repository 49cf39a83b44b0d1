//! What a log means after a crash, an accident, or years: the table of everything the disk can
//! show, and the decision for each.
//!
//! At start (and for `verify`) the segments are handed in by rising number, each with its first
//! block and the stretches `scan.rs` cuts it into. Out come the records that count, in order, and
//! what is wrong, with its place. No I/O here.
//!
//! Two facts make the decisions possible. The writer has one commit in flight and writes into
//! each record how far the epoch was durable by then: so of what is missing *before* such a mark
//! something was lost that had been promised, and what is missing *after* the last mark can only
//! be the one commit that was being written, of which nobody was told. And each start opens a new
//! epoch whose first record says where the one before ends: so what a crash left behind that end
//! stays dead, however often the log is read.
//!
//! | the disk shows | decision |
//! |---|---|
//! | nothing | a new log |
//! | zeros after the last record | free; the next epoch continues there |
//! | a whole segment of zeros, the last | was prepared and not used yet; it is used next |
//! | a last record that is torn (garbage, never confirmed) | the epoch ends before it |
//! | a last commit with holes, whole records behind them | the epoch ends before the first hole: a seal without its chunk must not count |
//! | garbage or zeros in the place of confirmed records | damage: reported with place and number lost; all others count |
//! | garbage where zeros should be, no record missing | damage: reported, nothing lost |
//! | the same record, or an older one, again | damage: reported, the first one counts |
//! | a whole record of another segment number | left over from an earlier life of the file: free |
//! | first block garbled, zero, or with another number, records after the first commit | damage: reported; the records say themselves where they belong |
//! | the same, nothing after the first commit into the segment | that commit was torn; the next epoch begins in another segment |
//! | a segment missing before others | damage: reported with the number of records lost |
//! | segments missing that were retired (see `retired.rs`) | nothing is lost: what was live in them is further on; what lies before counts as far as the gap says, numbers go on as the segment behind it says |
//! | the same, together with others that were not | damage: those are reported; how many records were in them is not known |
//! | a segment that was retired and is still there | it was about to be removed: not looked at |
//! | a snapshot that fits (see `snapshot.rs`) | the segments before the one it names are not looked at, as if they were retired; with any damage behind them all of the log is read |
//! | a part that cannot be read (I/O error) | counts as garbage |
//! | a file cut short | what was in the missing part counts as lost |
//! | the record that opens an epoch is lost | damage; in doubt, what is whole of the epoch before counts |
//! | first block of another node | refused: this is somebody else's log |
//! | first block of a newer version | refused: an older program must not guess |
//!
//! Nothing that is damaged stops a start, and nothing whole is hidden by damage elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::name::NodeName;
use crate::record::{Body, Fault, Header, Record};
use crate::retired::Retired;
use crate::scan::Found;
use crate::seam::{Committed, Hlc};
use crate::segment::FirstBlock;

/// Reads a log in order and decides what counts.
#[derive(Debug)]
pub struct Recovery {
    node: NodeName,
    segment: u32,
    epoch: u32,
    seq_next: u64,
    /// What of this epoch is known to have been durable.
    durable: u64,
    /// Whole records behind a hole of which it is not known yet whether it was confirmed. At most
    /// the commit in flight, unless the log is damaged; then at most what is left of its epoch.
    held: VecDeque<(u64, u32, Record)>,
    /// What is not a record since the last one, until it is known what it means.
    suspects: Vec<Damage>,
    /// A first block that is not as it should be, and the first record in its segment.
    header_in_doubt: Option<(Damage, Option<(u32, u64)>)>,
    verdicts: VecDeque<Verdict>,
    retired: Retired,
    /// Behind a gap: the next record says where its epoch goes on.
    behind_gap: bool,
    ending: Ending,
    epochs: BTreeMap<u32, u64>,
}

/// What is decided of a stretch of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It counts.
    Record(Committed),
    /// Something is wrong with what was confirmed.
    Damage(Damage),
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment's number.
    pub segment: u32,
    /// Where in its file, in bytes.
    pub offset: u64,
    /// What.
    pub what: DamageKind,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// Bytes that are no record.
    Garbage(Fault),
    /// Zeros in the place of records.
    Zeroed {
        /// How many bytes.
        bytes: u64,
    },
    /// Records are missing before this place, and nothing shows where they were.
    Lost,
    /// A record that was there before, or belongs before others.
    Repeated,
    /// The segment's first block is not readable.
    Header,
    /// The first block is that of another segment.
    HeaderOf(u32),
    /// The file is not there.
    SegmentMissing,
}

/// The log belongs to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOurs {
    /// Another node's.
    Foreign {
        /// The segment that says so.
        segment: u32,
        /// The node it names.
        node: NodeName,
    },
    /// A newer version's.
    Newer {
        /// The segment that says so.
        segment: u32,
        /// The version it names.
        version: u32,
    },
}

/// Where a log stands once all of it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The newest epoch that left any trace; 0: none.
    pub epoch: u32,
    /// The newest epoch of which a record counts, and its last sequence number that does.
    pub last: (u32, u64),
    /// The highest stamp.
    pub hlc: Hlc,
    /// Records that count.
    pub records: u64,
    /// Confirmed records that are gone.
    pub records_lost: u64,
    /// Whole records that were never confirmed and do not count.
    pub records_unconfirmed: u64,
    /// Stretches that a crash tore while they were being written: nobody was told of them.
    pub torn: u64,
    /// Damages, also those that are no longer listed.
    pub damages: u64,
}

impl Recovery {
    /// For the log of `node`.
    pub fn new(node: NodeName) -> Recovery {
        Recovery {
            node,
            segment: 0,
            epoch: 0,
            seq_next: 1,
            durable: 0,
            held: VecDeque::new(),
            suspects: Vec::new(),
            header_in_doubt: None,
            verdicts: VecDeque::new(),
            retired: Retired::default(),
            behind_gap: false,
            ending: Ending::default(),
            epochs: BTreeMap::new(),
        }
    }

    /// Of a log of which these segments were retired.
    pub fn with_retired(self, retired: Retired) -> Recovery {
        Recovery { retired, ..self }
    }

    /// Of one segment alone, as if all before it had been retired.
    pub fn of_segment(node: NodeName, number: u32) -> Recovery {
        Recovery::new(node).with_retired(Retired::all_before(number))
    }

    /// The next segment begins, with this first block. `used`: it holds anything at all.
    pub fn segment(&mut self, number: u32, first: FirstBlock, used: bool) -> Result<(), NotOurs> {
        self.pass_missing(self.segment + 1, number);
        self.segment = number;
        let what = match first {
            FirstBlock::Newer(version) => {
                return Err(NotOurs::Newer {
                    segment: number,
                    version,
                });
            }
            FirstBlock::Header(header) if header.node != self.node => {
                return Err(NotOurs::Foreign {
                    segment: number,
                    node: header.node,
                });
            }
            FirstBlock::Header(header) if header.number != number => {
                DamageKind::HeaderOf(header.number)
            }
            FirstBlock::Header(header) => {
                self.ending.epoch = self.ending.epoch.max(header.epoch);
                if std::mem::take(&mut self.behind_gap) && header.epoch >= self.epoch {
                    (self.epoch, self.seq_next, self.durable) = (header.epoch, header.seq, 0);
                }
                return Ok(());
            }
            FirstBlock::Zero if !used => return Ok(()),
            FirstBlock::Zero | FirstBlock::Garbled => DamageKind::Header,
        };
        self.header_in_doubt = Some((
            Damage {
                segment: number,
                offset: 0,
                what,
            },
            None,
        ));
        Ok(())
    }

    /// Segments from `first` to before `next` are not there.
    fn pass_missing(&mut self, first: u32, next: u32) {
        let gap = self
            .retired
            .gaps()
            .iter()
            .find(|gap| gap.first < next && first <= gap.last)
            .copied();
        if let Some(gap) = gap {
            // A gap that begins later has lost segments in front of it.
            let before = if gap.first == first {
                gap.before
            } else {
                (0, 0)
            };
            self.leave_epoch_at(before);
            self.behind_gap = true;
        }
        let lost = self.retired.others(first, next);
        let lost: Vec<u32> = lost.take(MISSING_LISTED_MAX).collect();
        for segment in lost {
            self.damage(Damage {
                segment,
                offset: 0,
                what: DamageKind::SegmentMissing,
            });
        }
    }

    /// A stretch of the segment that began last.
    pub fn found(&mut self, offset: u64, found: Found) {
        let what = match found {
            Found::Record(record) => return self.on_record(offset, record),
            Found::Stale => return,
            Found::Garbage(fault) => DamageKind::Garbage(fault),
            Found::Zeros { bytes } => DamageKind::Zeroed { bytes },
        };
        self.suspects.push(Damage {
            segment: self.segment,
            offset,
            what,
        });
    }

    /// The next verdict.
    pub fn poll(&mut self) -> Option<Verdict> {
        self.verdicts.pop_front()
    }

    /// The segments up to here have been handed in, and this is the last record in them that
    /// counts, if that is known. Take the last verdicts afterwards.
    pub fn finish_at(&mut self, last: (u32, u64)) -> Ending {
        self.leave_epoch_at(last);
        self.ending
    }

    /// All segments have been handed in. Take the last verdicts afterwards.
    pub fn finish(&mut self) -> Ending {
        self.leave_epoch(self.durable);
        self.ending
    }

    /// Of each epoch that was left, the last number that counts.
    pub fn epochs(&self) -> &BTreeMap<u32, u64> {
        &self.epochs
    }

    fn on_record(&mut self, offset: u64, record: Record) {
        let header = record.header;
        if std::mem::take(&mut self.behind_gap) && header.epoch >= self.epoch {
            // The first block that would say it is lost. What was written with this record, before
            // it, was not confirmed yet; in doubt nothing else is missing.
            (self.epoch, self.seq_next) = (header.epoch, header.durable + 1);
            self.durable = 0;
        }
        self.ending.epoch = self.ending.epoch.max(header.epoch);
        let last = self.seq_seen();
        if (header.epoch, header.seq) <= (self.epoch, last) {
            return self.damage_here(offset, DamageKind::Repeated);
        }
        if header.epoch > self.epoch {
            self.enter_epoch(offset, &record);
        }
        self.judge_header(header);
        self.durable = self.durable.max(header.durable);
        self.release(self.durable, Some(offset));
        self.held.push_back((offset, self.segment, record));
        self.release(self.durable, None);
    }

    /// A segment's first block goes to the disk with the first commit into it. It was confirmed if
    /// that commit was; or if another epoch was opened in the segment, for none goes on in a
    /// segment without it.
    fn judge_header(&mut self, header: Header) {
        let Some((damage, first)) = &mut self.header_in_doubt else {
            return;
        };
        let is_here = header.segment == damage.segment;
        if first.is_none() && !is_here {
            // Nothing in the segment was whole: its records tell by their absence.
            self.header_in_doubt = None;
            return;
        }
        let (epoch, seq) = *first.get_or_insert((header.epoch, header.seq));
        let is_confirmed =
            header.epoch == epoch && header.durable >= seq || header.epoch > epoch && is_here;
        if is_confirmed {
            let damage = damage.clone();
            self.header_in_doubt = None;
            self.damage(damage);
        }
    }

    /// Ends the epoch before and begins the record's.
    fn enter_epoch(&mut self, offset: u64, record: &Record) {
        let end = match record.body {
            Body::Epoch { before, last } if before == self.epoch => last,
            // The record that would say where it ends is lost: in doubt all of it counts.
            _ => self.seq_seen(),
        };
        self.leave_epoch(end);
        if matches!(record.body, Body::Epoch { before, .. } if before > self.epoch) {
            self.damage_here(offset, DamageKind::Lost);
        }
        (self.epoch, self.seq_next, self.durable) = (record.header.epoch, 1, 0);
    }

    /// The last number seen in this epoch.
    fn seq_seen(&self) -> u64 {
        self.held
            .back()
            .map_or(self.seq_next - 1, |(_, _, r)| r.header.seq)
    }

    /// Ends the epoch before something that is not looked at; `last` counts, nothing after it.
    fn leave_epoch_at(&mut self, (epoch, seq): (u32, u64)) {
        let end = match epoch {
            // Not known: in doubt all of it counts.
            0 => self.seq_seen(),
            _ if epoch > self.epoch => self.seq_seen(),
            _ if epoch == self.epoch => seq,
            _ => 0,
        };
        self.leave_epoch(end);
    }

    /// What is up to `end` counts; the rest of the epoch does not.
    fn leave_epoch(&mut self, end: u64) {
        self.release(end, None);
        self.ending.records_unconfirmed += self.held.len() as u64;
        self.held.clear();
        let torn = |d: &Damage| matches!(d.what, DamageKind::Garbage(_));
        self.ending.torn += self.suspects.drain(..).filter(torn).count() as u64;
        if self.seq_next > 1 {
            self.ending.last = (self.epoch, self.seq_next - 1);
            self.epochs.insert(self.epoch, self.seq_next - 1);
        }
    }

    /// Lets go of held records: those without a hole before them, and those behind holes in what
    /// is known to be confirmed. `seen_at`: where a record was found that proves it.
    fn release(&mut self, confirmed: u64, seen_at: Option<u64>) {
        loop {
            let held = self.held.front().map(|(_, _, record)| record.header.seq);
            if held == Some(self.seq_next) {
                self.accept_held();
                continue;
            }
            let hole_end = held.map_or(confirmed, |seq| confirmed.min(seq - 1));
            if hole_end < self.seq_next {
                return;
            }
            let lost = hole_end - self.seq_next + 1;
            self.ending.records_lost = self.ending.records_lost.saturating_add(lost);
            self.seq_next = hole_end + 1;
            self.lost(seen_at);
        }
    }

    /// The suspects before the next held record were confirmed records.
    fn lost(&mut self, seen_at: Option<u64>) {
        let held_at = self
            .held
            .front()
            .map(|(offset, segment, _)| (*segment, *offset));
        let suspects = self.suspects_before(held_at);
        if suspects.is_empty() {
            let (segment, offset) = held_at.unwrap_or((self.segment, seen_at.unwrap_or(0)));
            self.damage(Damage {
                segment,
                offset,
                what: DamageKind::Lost,
            });
        }
        suspects.into_iter().for_each(|damage| self.damage(damage));
    }

    fn accept_held(&mut self) {
        let Some((offset, segment, record)) = self.held.pop_front() else {
            return;
        };
        // Nothing is missing before it: zeros between are free space, anything else is not right.
        for suspect in self.suspects_before(Some((segment, offset))) {
            if matches!(suspect.what, DamageKind::Garbage(_)) {
                self.damage(suspect);
            }
        }
        self.seq_next = record.header.seq + 1;
        self.ending.hlc = self.ending.hlc.max(record.header.hlc);
        self.ending.records += 1;
        if let Some(said) = record.said(self.node) {
            self.ending.hlc = self.ending.hlc.max(said.stamp.hlc);
            self.verdicts.push_back(Verdict::Record(said));
        }
    }

    fn suspects_before(&mut self, place: Option<(u32, u64)>) -> Vec<Damage> {
        let before = |d: &mut Damage| place.is_none_or(|place| (d.segment, d.offset) < place);
        self.suspects.extract_if(.., before).collect()
    }

    fn damage_here(&mut self, offset: u64, what: DamageKind) {
        self.damage(Damage {
            segment: self.segment,
            offset,
            what,
        });
    }

    fn damage(&mut self, damage: Damage) {
        self.ending.damages += 1;
        self.verdicts.push_back(Verdict::Damage(damage));
    }
}

/// The missing segments listed before one that is there.
const MISSING_LISTED_MAX: usize = 1000;

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = crate::segment::file_name(self.segment);
        match &self.what {
            DamageKind::Garbage(fault) => write!(f, "{file} at {}: {fault}", self.offset),
            DamageKind::Zeroed { bytes } => {
                write!(
                    f,
                    "{file} at {}: {bytes} bytes of zeros in the place of records",
                    self.offset
                )
            }
            DamageKind::Lost => write!(f, "{file}: records are missing before {}", self.offset),
            DamageKind::Repeated => {
                write!(
                    f,
                    "{file} at {}: a record that was there before",
                    self.offset
                )
            }
            DamageKind::Header => write!(f, "{file}: its first block is damaged"),
            DamageKind::HeaderOf(number) => {
                write!(
                    f,
                    "{file}: it was segment {number} once; a copied or renamed file?"
                )
            }
            DamageKind::SegmentMissing => write!(f, "{file} is missing"),
        }
    }
}
