//! Compaction moves what is live out of old segments, so that they can be retired. It also scrubs:
//! it reads old segments again, so that damage is found while it can be mended.
//!
//! This is the core. Its shell (`shell/compaction.rs`) carries out what it asks for: it reads
//! segments, asks the view and appends to the log. Compaction works on one segment at a time:
//!
//! ```text
//! look around ─▶ read it, piece by piece ─▶ what counts in it? (recovery.rs) ─▶ live? (the view)
//!      ▲                                                                            │ restate, wait
//!      └── remove the file ◀── wait ◀── write down that it is retired ◀── durable ──┘ until
//! ```
//!
//! It chooses (see [`choose`]) a segment that has hidden destroyed sound or an older copy for half
//! of [`CompactionConfig::hidden_for`]. Where there is none, and the log would grow beyond its
//! bound while a segment is moved, it chooses the one with the least live in it. It never takes the
//! segment that is written to, nor the one prepared behind it.
//!
//! A crash at any moment loses nothing. A segment is removed only when what was live in it, and the
//! note that it is retired, are durable further on. At worst a crash leaves copies. The view calls
//! the older ones dead, and a later compaction drops them.
//!
//! Damage is reported. Settings and seals that the view still has are restated from the view. For a
//! piece of sound [`Output::Missing`] asks for a copy elsewhere. The segment is kept until one has
//! come: nothing that may still be read is thrown away.
//!
//! Bounds: one segment is in memory, and at most [`MOVES_MAX`] records are on their way. Reading and
//! moving are no faster than [`CompactionConfig::bytes_per_second`], or four times that while the
//! log is too large.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub mod ask;
mod choose;
pub mod moves;
mod work;

pub use choose::{SegmentStanding, Standing};

use crate::name::{Id, NodeName};
use crate::recovery::Damage;
use crate::retired::Retired;
use crate::scan;
use crate::seam::{Append, ChunkPlace, Committed, Owner, Payload, Refusal, Token};
use crate::time::{Now, Time};
use choose::Choice;
use work::{Work, start_of};

/// Records on their way at once: 256 KiB of sound, so that commits stay short.
pub const MOVES_MAX: usize = 64;
/// How much is read at once.
pub const PIECE_BYTES: u64 = 1 << 20;
/// How much of the next segment is read, to know how far this one counts.
pub const NEXT_BYTES: u64 = 32 * crate::block::BLOCK_BYTES as u64;

/// How long to wait when the log takes nothing, since its disk is full, for example.
const REFUSED_WAIT: Duration = Duration::from_secs(10);
/// How long to wait while nothing is in the next segment yet.
const UNWRITTEN_WAIT: Duration = Duration::from_secs(5);
/// How long a segment with damage that nobody could mend is left alone.
const KEPT_WAIT: Duration = Duration::from_secs(24 * 3600);

/// How long a segment that misses sound is left alone at first. Each time this doubles.
const MISSING_WAIT_MIN: Duration = Duration::from_secs(5);

/// How compaction works.
#[derive(Clone, Copy, Debug)]
pub struct CompactionConfig {
    /// Whose log.
    pub node: NodeName,
    /// Reading and moving, in bytes a second.
    pub bytes_per_second: u64,
    /// The time after which destroyed sound is gone from the disk.
    pub hidden_for: Duration,
    /// Every segment is read again within this time.
    pub scrub_every: Duration,
    /// How long entries are kept.
    pub entries_for: Duration,
    /// How often compaction looks at the log.
    pub look_every: Duration,
}

impl CompactionConfig {
    /// 16 MiB a second; a day; a month; two years.
    pub fn new(node: NodeName) -> CompactionConfig {
        let day = Duration::from_secs(24 * 3600);
        CompactionConfig {
            node,
            bytes_per_second: 16 << 20,
            hidden_for: day,
            scrub_every: 30 * day,
            entries_for: 2 * 366 * day,
            look_every: Duration::from_secs(10),
        }
    }
}

/// What compaction is told.
#[derive(Debug)]
pub enum Input {
    /// How things stand.
    Standing(Standing),
    /// The piece of a segment that was asked for; empty: there is no more.
    Piece(Vec<u8>),
    /// The beginning of the segment that follows; empty: there is none.
    Next(Vec<u8>),
    /// The segment could not be read.
    NotRead,
    /// The view's opinion, one for each record.
    Live(Vec<bool>),
    /// What the view knows to lie in the segment.
    Lying(Vec<Committed>),
    /// An append is durable, for a chunk with its new place; or it was refused.
    Answered(Token, Result<Option<ChunkPlace>, Refusal>),
    /// The file is gone.
    Removed,
    /// These segments are damaged, and all that other nodes have of what was in them has come. They
    /// are read again before others.
    Damaged(BTreeSet<u32>),
    /// The deadline has come.
    Tick,
}

/// What compaction asks for. Each question is answered before the next is asked.
#[derive(Debug)]
pub enum Output {
    /// Say how things stand.
    LookAround,
    /// Read a piece of a segment, [`PIECE_BYTES`] from `offset` on.
    Read {
        /// The segment's number.
        segment: u32,
        /// Where.
        offset: u64,
    },
    /// Read [`NEXT_BYTES`] of the segment with the next higher number that is there.
    ReadNext(u32),
    /// Which of these are live?
    AskLive(Vec<Committed>),
    /// What does the view know to lie in this segment?
    AskLying(u32),
    /// Append this.
    Append(Token, Append),
    /// A chunk was moved. Whoever holds its old place needs to know.
    Moved {
        /// Where it was.
        from: ChunkPlace,
        /// Where it is.
        to: ChunkPlace,
    },
    /// Write down that these segments are retired.
    Retire(Token, Retired),
    /// Go on writing in another segment than this.
    Leave(u32),
    /// Remove a segment's file.
    Remove(u32),
    /// Something that was confirmed is damaged.
    Bad(Damage),
    /// This piece of a sound can be read nowhere on this node.
    Missing {
        /// The sound.
        sound: Id,
        /// Which piece.
        index: u32,
    },
}

/// Figures for status and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionStats {
    /// Segments that were retired.
    pub segments_retired: u64,
    /// Records moved.
    pub records_moved: u64,
    /// Bytes of segments that were read again and found whole, or mended.
    pub bytes_checked: u64,
    /// Segments read again.
    pub segments_checked: u64,
    /// Damaged places found.
    pub damages: u64,
    /// Records mended from memory.
    pub records_mended: u64,
    /// Pieces of sound that were found missing, counted each time.
    pub chunks_missing: u64,
    /// Bytes of all segments, when the log was last looked at.
    pub log_bytes: u64,
    /// How many of these bytes are live.
    pub live_bytes: u64,
}

/// The core of compaction. See the chapter above.
#[derive(Debug)]
pub struct Compactor {
    config: CompactionConfig,
    retired: Retired,
    phase: Phase,
    /// Nothing is asked for before this time.
    pause_until: Time,
    look_at: Time,
    /// The log is larger than it should be.
    is_pressed: bool,
    /// The segment that was written to when the retired ones were last written down.
    noted_in: u32,
    /// The segment the log was last asked to leave, and until when compaction waits for that.
    left: (u32, Time),
    /// The segment that was scrubbed last.
    scrubbed: u32,
    /// Damaged segments that are to be looked at.
    damaged: BTreeSet<u32>,
    /// How long a damaged segment that misses sound is left alone, so that the sound can come.
    patience: BTreeMap<u32, Duration>,
    /// Damaged segments whose damage was mended by copies further on.
    to_compact: BTreeSet<u32>,
    /// Damaged segments that are kept, and until when. At most as many as there are segments.
    kept: BTreeMap<u32, Time>,
    token_last: u64,
    outputs: VecDeque<Output>,
    stats: CompactionStats,
    now: Now,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Looking,
    Reading(Work),
    ReadingNext(Work),
    /// The next records are to be looked at.
    Sifting(Work),
    AskingLive(Work, Vec<Committed>),
    /// These were appended and not yet answered.
    Moving(Work, BTreeMap<Token, Option<ChunkPlace>>),
    AskingLying(Work),
    Mending(Work, BTreeMap<Token, Option<ChunkPlace>>),
    Retiring(u32, Token),
    Removing,
}

impl Compactor {
    /// For a log in which these segments are retired.
    pub fn new(config: CompactionConfig, retired: Retired, now: Now) -> Compactor {
        Compactor {
            config,
            retired,
            phase: Phase::Idle,
            pause_until: now.mono,
            look_at: now.mono,
            is_pressed: false,
            noted_in: 0,
            left: (0, now.mono),
            scrubbed: 0,
            damaged: BTreeSet::new(),
            patience: BTreeMap::new(),
            to_compact: BTreeSet::new(),
            kept: BTreeMap::new(),
            token_last: 0,
            outputs: VecDeque::new(),
            stats: CompactionStats::default(),
            now,
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        self.phase = match (std::mem::replace(&mut self.phase, Phase::Idle), input) {
            (phase, Input::Tick) => phase,
            (phase, Input::Damaged(segments)) => {
                self.damaged = segments;
                phase
            }
            (Phase::Looking, Input::Standing(standing)) => self.on_standing(&standing),
            (Phase::Reading(work), Input::Piece(bytes)) => self.on_piece(work, bytes),
            (Phase::ReadingNext(work), Input::Next(bytes)) => self.on_next(work, &bytes),
            (Phase::Reading(work) | Phase::ReadingNext(work), Input::NotRead) => {
                self.keep(work.segment)
            }
            (Phase::AskingLive(work, asked), Input::Live(live)) => self.on_live(work, asked, &live),
            (Phase::AskingLying(work), Input::Lying(lying)) => self.on_lying(work, lying),
            (Phase::Moving(work, under_way), Input::Answered(token, result)) => {
                match self.on_moved(under_way, token, result) {
                    Some(left) if left.is_empty() => Phase::Sifting(work),
                    Some(left) => Phase::Moving(work, left),
                    None => Phase::Idle,
                }
            }
            (Phase::Mending(work, under_way), Input::Answered(token, result)) => {
                match self.on_moved(under_way, token, result) {
                    Some(left) if left.is_empty() => self.mended(work),
                    Some(left) => Phase::Mending(work, left),
                    None => Phase::Idle,
                }
            }
            (Phase::Retiring(segment, given), Input::Answered(token, result)) if given == token => {
                self.on_retired(segment, result)
            }
            (Phase::Removing, Input::Removed) => {
                self.look_at = now.mono;
                Phase::Idle
            }
            // This answers a question from before something failed.
            (phase, _) => phase,
        };
    }

    /// The next thing asked for.
    pub fn poll(&mut self) -> Option<Output> {
        while self.outputs.is_empty() && self.now.mono >= self.pause_until {
            match std::mem::replace(&mut self.phase, Phase::Idle) {
                Phase::Idle if self.now.mono >= self.look_at => {
                    self.phase = Phase::Looking;
                    self.outputs.push_back(Output::LookAround);
                }
                Phase::Sifting(work) => self.phase = self.sift(work),
                phase => {
                    self.phase = phase;
                    break;
                }
            }
        }
        // A piece is asked for only when its time has come.
        let waits = self.now.mono < self.pause_until
            && matches!(self.outputs.front(), Some(Output::Read { .. }));
        if waits {
            None
        } else {
            self.outputs.pop_front()
        }
    }

    /// When to hand in [`Input::Tick`]; `None`: an answer comes first.
    pub fn deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Idle => Some(self.look_at.max(self.pause_until)),
            Phase::Sifting(_) | Phase::Reading(_) => Some(self.pause_until),
            _ => None,
        }
    }

    /// The figures so far.
    pub fn stats(&self) -> CompactionStats {
        self.stats
    }

    fn on_standing(&mut self, standing: &Standing) -> Phase {
        self.look_at = self.now.mono + self.config.look_every;
        let now = self.now.mono;
        self.kept.retain(|_, until| *until > now);
        self.stats.log_bytes = standing.log_bytes();
        self.stats.live_bytes = standing.live_bytes();
        self.is_pressed = standing.is_too_large();
        if !self.retired.is_empty() && self.noted_in < standing.writing {
            // Whoever reads the log is to find this record near its end.
            self.noted_in = standing.writing;
            let token = self.token();
            self.outputs
                .push_back(Output::Retire(token, self.retired.clone()));
        }
        if standing.is_to_be_left(self.now.wall, self.config.hidden_for) {
            self.outputs.push_back(Output::Leave(standing.writing));
            // Once a segment is left, its unused part counts as used, so it is the first to go.
            let patience = self.config.look_every * 2;
            if self.left.0 != standing.writing {
                self.left = (standing.writing, now + patience);
            }
            if now < self.left.1 {
                return Phase::Idle;
            }
        }
        let kept = |segment| self.kept.contains_key(&segment);
        let can_go = |segment| !kept(segment) && self.retired.has_room_for(segment);
        let hidden_for = self.config.hidden_for;
        let choice = standing.overdue(self.now.wall, hidden_for, &can_go);
        let choice = choice.or_else(|| self.to_compact.pop_first().map(Choice::Compact));
        let choice = choice.or_else(|| self.next_damaged(standing));
        let kept = |segment| self.kept.contains_key(&segment);
        let can_go = |segment| !kept(segment) && self.retired.has_room_for(segment);
        let choice = choice.or_else(|| standing.least_live(&can_go));
        let choice = choice.or_else(|| {
            let choice = standing.to_scrub(self.now.wall, self.config.scrub_every)?;
            let Choice::Scrub(segment) = choice else {
                return Some(choice);
            };
            let is_new = segment != self.scrubbed && !kept(segment);
            self.scrubbed = segment;
            is_new.then_some(choice)
        });
        match choice {
            None => Phase::Idle,
            Some(choice) => self.begin(choice),
        }
    }

    /// A damaged segment that is full. If it is the one written to, the log is asked to leave it.
    fn next_damaged(&mut self, standing: &Standing) -> Option<Choice> {
        if self.damaged.remove(&standing.writing) {
            self.outputs.push_back(Output::Leave(standing.writing));
            self.patience.insert(standing.writing, MISSING_WAIT_MIN);
        }
        let full = |number: &u32| standing.segments.iter().any(|s| s.number == *number);
        let next = self
            .damaged
            .iter()
            .copied()
            .chain(self.patience.keys().copied());
        let next = next.filter(full).find(|n| !self.kept.contains_key(n))?;
        self.damaged.remove(&next);
        self.patience.entry(next).or_insert(MISSING_WAIT_MIN);
        Some(Choice::Scrub(next))
    }

    fn begin(&mut self, choice: Choice) -> Phase {
        let (segment, moves) = match choice {
            Choice::Compact(segment) => (segment, true),
            Choice::Scrub(segment) => (segment, false),
        };
        self.outputs.push_back(Output::Read { segment, offset: 0 });
        Phase::Reading(Work::new(self.config.node, segment, moves))
    }

    fn on_piece(&mut self, mut work: Work, bytes: Vec<u8>) -> Phase {
        let segment = work.segment;
        if bytes.is_empty() {
            self.outputs.push_back(Output::ReadNext(segment));
            return Phase::ReadingNext(work);
        }
        self.spend(bytes.len());
        work.bytes.extend_from_slice(&bytes);
        let offset = work.bytes.len() as u64;
        self.outputs.push_back(Output::Read { segment, offset });
        Phase::Reading(work)
    }

    fn on_next(&mut self, mut work: Work, next: &[u8]) -> Phase {
        // Behind a gap the next segment does not tell how far this one counts, but the gap does.
        work.end = match self.retired.gap_of(work.segment + 1) {
            Some(gap) => gap.before,
            None => match start_of(work.segment + 1, next) {
                Some(before) => before,
                // The first write into it is still under way.
                None if scan::used_bytes(next) == 0 => {
                    return self.keep_for(work.segment, UNWRITTEN_WAIT);
                }
                None => return self.keep(work.segment),
            },
        };
        match work.start() {
            Ok(()) => Phase::Sifting(work),
            // Another node or a newer version wrote it: it is not ours to touch.
            Err(_) => self.keep(work.segment),
        }
    }

    /// The next records of the segment.
    fn sift(&mut self, mut work: Work) -> Phase {
        let (records, damages, is_done) = work.next(MOVES_MAX);
        self.stats.damages += damages.len() as u64;
        self.outputs.extend(damages.into_iter().map(Output::Bad));
        if work.moves && !records.is_empty() {
            self.outputs.push_back(Output::AskLive(records.clone()));
            return Phase::AskingLive(work, records);
        }
        match is_done {
            false => Phase::Sifting(work),
            true => self.sifted(work),
        }
    }

    fn on_live(&mut self, work: Work, asked: Vec<Committed>, live: &[bool]) -> Phase {
        if asked.len() != live.len() {
            return self.keep(work.segment);
        }
        let mut under_way = BTreeMap::new();
        let live = asked.into_iter().zip(live).filter(|(_, live)| **live);
        let is_chunk = |record: &Committed| matches!(record.what, Payload::Chunk { .. });
        // Small records go first: between chunks each would take a block of its own.
        let (chunks, small): (Vec<_>, Vec<_>) = live.map(|(record, _)| record).partition(is_chunk);
        for record in small.into_iter().chain(chunks) {
            let from = match &record.what {
                Payload::Chunk { place, .. } => Some(*place),
                _ => None,
            };
            let Some((append, bytes)) = work.restate(record) else {
                continue;
            };
            self.spend(bytes);
            let token = self.token();
            under_way.insert(token, from);
            self.outputs.push_back(Output::Append(token, append));
        }
        match under_way.is_empty() {
            true => Phase::Sifting(work),
            false => Phase::Moving(work, under_way),
        }
    }

    /// What is still under way. `None`: the log refused the record.
    fn on_moved(
        &mut self,
        mut under_way: BTreeMap<Token, Option<ChunkPlace>>,
        token: Token,
        result: Result<Option<ChunkPlace>, Refusal>,
    ) -> Option<BTreeMap<Token, Option<ChunkPlace>>> {
        let Some(from) = under_way.remove(&token) else {
            return Some(under_way);
        };
        match result {
            Ok(to) => {
                self.stats.records_moved += 1;
                if let (Some(from), Some(to)) = (from, to) {
                    self.outputs.push_back(Output::Moved { from, to });
                }
                Some(under_way)
            }
            Err(_) => {
                self.pause_until = self.now.mono + REFUSED_WAIT;
                None
            }
        }
    }

    fn sifted(&mut self, work: Work) -> Phase {
        if work.is_damaged {
            self.outputs.push_back(Output::AskLying(work.segment));
            return Phase::AskingLying(work);
        }
        self.finished(&work)
    }

    /// Restates settings that should be in the segment and are not, and asks for missing sound.
    fn on_lying(&mut self, mut work: Work, lying: Vec<Committed>) -> Phase {
        let whole: BTreeSet<_> = work.whole();
        let mut under_way = BTreeMap::new();
        for record in lying {
            match &record.what {
                Payload::Chunk { id, index, place } => {
                    if !whole.contains(&work::RecordKey::Chunk(place.offset)) {
                        self.stats.chunks_missing += 1;
                        work.misses_sound = true;
                        let (sound, index) = (*id, *index);
                        self.outputs.push_back(Output::Missing { sound, index });
                    }
                }
                _ if whole.contains(&work::RecordKey::of(&record)) => {}
                _ => {
                    let Committed { stamp, what, .. } = record;
                    let token = self.token();
                    self.stats.records_mended += 1;
                    under_way.insert(token, None);
                    let append = Append::Replica {
                        stamp,
                        what,
                        block: None,
                    };
                    self.outputs.push_back(Output::Append(token, append));
                }
            }
        }
        match under_way.is_empty() {
            true => self.mended(work),
            false => Phase::Mending(work, under_way),
        }
    }

    fn mended(&mut self, work: Work) -> Phase {
        if work.misses_sound {
            let wait = self.patience.get_mut(&work.segment);
            let wait = wait.map_or(KEPT_WAIT, |patience| {
                *patience = (*patience * 2).min(KEPT_WAIT);
                *patience
            });
            return self.keep_for(work.segment, wait);
        }
        self.patience.remove(&work.segment);
        if !work.moves {
            self.to_compact.insert(work.segment);
            self.look_at = self.now.mono;
        }
        self.finished(&work)
    }

    fn finished(&mut self, work: &Work) -> Phase {
        self.stats.segments_checked += 1;
        self.stats.bytes_checked += work.bytes.len() as u64;
        if !work.moves {
            return Phase::Idle;
        }
        let mut retired = self.retired.clone();
        retired.add(work.segment, work.before().unwrap_or((0, 0)));
        let token = self.token();
        self.outputs
            .push_back(Output::Retire(token, retired.clone()));
        self.retired = retired;
        Phase::Retiring(work.segment, token)
    }

    fn on_retired(&mut self, segment: u32, result: Result<Option<ChunkPlace>, Refusal>) -> Phase {
        if result.is_err() {
            // All that was live is further on, so it does not matter that the file stays.
            self.pause_until = self.now.mono + REFUSED_WAIT;
            return Phase::Idle;
        }
        self.stats.segments_retired += 1;
        self.outputs.push_back(Output::Remove(segment));
        Phase::Removing
    }

    /// Leaves a segment alone for a while.
    fn keep(&mut self, segment: u32) -> Phase {
        self.keep_for(segment, KEPT_WAIT)
    }

    fn keep_for(&mut self, segment: u32, time: Duration) -> Phase {
        self.kept.insert(segment, self.now.mono + time);
        Phase::Idle
    }

    /// Waits as long as reading or moving so many bytes may take.
    fn spend(&mut self, bytes: usize) {
        let faster = if self.is_pressed { 4 } else { 1 };
        let rate = self.config.bytes_per_second.max(1) * faster;
        let took = Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate);
        self.pause_until = self.pause_until.max(self.now.mono) + took;
    }

    fn token(&mut self) -> Token {
        self.token_last += 1;
        Token::new(Owner::Compaction, self.token_last)
    }
}
