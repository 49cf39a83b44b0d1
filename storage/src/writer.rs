//! The log's core: puts appends in order, packs them into commits, and says what is durable.
//!
//! The log thread (`shell/thread.rs`) hands in appends, the ends of writes and the time; out come
//! writes, one at a time, and events. Nothing here touches a file.
//!
//! ```text
//! Append ─▶ waiting ─▶ Batch (stamped, packed, summed) ─▶ Write ─▶ Written ─▶ Committed events
//! ```
//!
//! Everything that arrives while a commit is in flight goes into the next one (group commit). One
//! commit in flight is a promise to recovery (see `recovery.rs`): what is missing after the last
//! durable mark is that commit and nothing else. How a commit is packed is in `batch.rs`.
//!
//! When the disk fills up, what is left of the segment is the reserve: as soon as the next one cannot
//! be prepared, or the file system has less than `reserve_bytes` free, new sound is refused, while
//! seals, registers and entries go on until that segment is full too. Until it is known that another
//! follows, sound does not enter the segment's tail, so that there is a reserve however slow the disk
//! is with its answer. Sound that was refused a piece takes no more of them and is sealed as cut
//! short, see `holes.rs`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Batch, InFlight, Packer, Segment, Waiting, Wrote};
use crate::block::{BLOCK_BYTES, ChunkBlock};
use crate::holes::Holes;
use crate::name::{Id, NodeName};
use crate::record::{Body, EPOCH_MAX, SEQ_MAX};
use crate::retired::Retired;
use crate::seam::{
    Append, Committed, Hlc, LogEvent, Payload, REGISTER_KEY_LEN_MAX, Refusal, Stamp, TEXT_LEN_MAX,
    Token,
};
use crate::time::{Now, Time};

/// The most appends that wait for the next commit; beyond it they wait in the log's queue.
pub const WAITING_MAX: usize = 1024;

/// A disk that was full is tried again, and free space looked at, this often.
const PROBE_PERIOD: Duration = Duration::from_secs(1);
/// After so much quiet a mark is written, so that the last commit is known to be one.
const MARK_AFTER: Duration = Duration::from_secs(1);

/// How a writer starts: what recovery found, and where it goes on.
#[derive(Clone, Copy, Debug)]
pub struct WriterConfig {
    /// Whose log.
    pub node: NodeName,
    /// The epoch it opens.
    pub epoch: u32,
    /// The newest epoch before that counts, and its last sequence number.
    pub before: (u32, u64),
    /// The highest stamp in the log.
    pub hlc: Hlc,
    /// The segment to go on in.
    pub segment: Segment,
    /// How much of it is used; 0: not even its first block.
    pub used_bytes: u64,
    /// Refuse new sound when the file system has less than this.
    pub reserve_bytes: u64,
    /// The length of the segments to come.
    pub segment_bytes: u64,
    /// Hand on each commit once it is durable.
    pub tap: bool,
}

/// What the writer is told.
#[derive(Debug)]
pub enum Input {
    /// Something to be written, and when it was handed to the log.
    Append(Token, Append, Time),
    /// Segments that were retired, to be written down, by compaction.
    Retire(Token, Retired),
    /// Go on in the next segment as soon as it is there: this one is to be compacted.
    Leave(u32),
    /// The write is done, or failed.
    Written(Batch, Result<(), WriteFault>),
    /// The segment asked for is there.
    Prepared(Segment),
    /// It could not be made.
    NotPrepared,
    /// Free space on the file system.
    Free {
        /// In bytes.
        bytes: u64,
    },
    /// Nothing more will be appended.
    Close,
    /// The deadline has come.
    Tick,
}

/// What the writer asks for.
#[derive(Debug)]
pub enum Output {
    /// Write this durably, and say so. None other is asked for before.
    Write(Batch),
    /// Prepare a segment with this number.
    Prepare(u32),
    /// Say how much space is free.
    Probe,
    /// For the one who appended.
    Event(LogEvent),
    /// What [`Input::Retire`] said is durable. A refusal is an [`Output::Event`].
    Retired(Token),
    /// It took this long from the log's queue to the disk.
    Took(Duration),
    /// Memory of a chunk that was written.
    Spare(ChunkBlock),
    /// A commit is durable; if [`WriterConfig::tap`] wants it, instead of the memory.
    Wrote(Arc<Wrote>),
    /// After [`Input::Close`]: all is durable.
    Closed,
}

/// Why a write failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFault {
    /// No space; worth trying again.
    Full,
    /// The disk failed. What it has is unknown.
    Failed,
}

/// Figures for status and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Writes that became durable.
    pub commits: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes in them, whole blocks.
    pub bytes: u64,
    /// Appends refused.
    pub refused: u64,
    /// The last durable record.
    pub durable: Option<Stamp>,
}

/// The writer of one epoch.
#[derive(Debug)]
pub struct Writer {
    config: WriterConfig,
    packer: Packer,
    durable: u64,
    next: Next,
    waiting: VecDeque<Waiting>,
    holes: Holes,
    /// Records of the batch that is being written.
    in_flight: Vec<InFlight>,
    /// A batch that found the disk full, to be tried again.
    retry: Option<(Batch, Time)>,
    writing: bool,
    space_free: bool,
    room_told: bool,
    probe_at: Time,
    mark_at: Option<Time>,
    /// The segment that is to be left before it is full.
    leave: Option<u32>,
    phase: Phase,
    now: Now,
    outputs: VecDeque<Output>,
    stats: WriterStats,
}

/// The segment after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Asked,
    Ready(Segment),
    NoRoom,
    AskedAgain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Closing,
    Closed,
    /// A write failed: nothing can be promised any more.
    Poisoned,
}

impl Writer {
    /// Opens the epoch: its first record is on its way at once.
    pub fn new(config: WriterConfig, now: Now) -> Writer {
        let (before, last) = config.before;
        let mut writer = Writer {
            config,
            packer: Packer::new(&config),
            durable: 0,
            next: Next::Asked,
            waiting: VecDeque::from([Waiting::own(Body::Epoch { before, last })]),
            holes: Holes::default(),
            in_flight: Vec::new(),
            retry: None,
            writing: false,
            space_free: true,
            room_told: true,
            probe_at: now.mono + PROBE_PERIOD,
            mark_at: None,
            leave: None,
            phase: Phase::Open,
            now,
            outputs: VecDeque::new(),
            stats: WriterStats::default(),
        };
        writer
            .outputs
            .push_back(Output::Prepare(config.segment.number + 1));
        writer
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        match input {
            Input::Append(token, append, since) => self.on_append(token, append, since),
            Input::Leave(segment) => self.on_leave(segment),
            Input::Retire(token, retired) => self.on_retire(token, retired),
            Input::Written(batch, Ok(())) => self.on_written(now, batch),
            Input::Written(batch, Err(WriteFault::Full)) if self.phase == Phase::Open => {
                self.retry = Some((batch, now.mono + PROBE_PERIOD));
            }
            // While closing, nobody waits for space to come.
            Input::Written(_, Err(_)) => self.poison(),
            Input::Prepared(segment) => self.next = Next::Ready(segment),
            Input::NotPrepared => self.next = Next::NoRoom,
            Input::Free { bytes } => self.on_free(bytes),
            Input::Close => self.on_close(now.mono),
            Input::Tick => self.on_tick(now.mono),
        }
        self.tell_room();
    }

    /// The next thing asked for. A commit is packed only when all else has been taken, so whoever
    /// hands in everything there is before polling gets it into one commit.
    pub fn poll(&mut self) -> Option<Output> {
        if self.outputs.is_empty() && !self.writing && !self.waiting.is_empty() {
            self.start_write();
        }
        if self.outputs.is_empty() && self.phase == Phase::Closing && self.is_idle() {
            self.close();
        }
        self.outputs.pop_front()
    }

    /// When to hand in [`Input::Tick`].
    pub fn deadline(&self) -> Time {
        let retry_at = self.retry.as_ref().map(|(_, at)| *at);
        [retry_at, self.mark_at]
            .into_iter()
            .flatten()
            .fold(self.probe_at, Time::min)
    }

    /// Room for more appends before the next commit.
    pub fn wants_more(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    /// Sounds can begin.
    pub fn can_record(&self) -> bool {
        let next_there = match self.next {
            Next::Ready(_) => true,
            // Begun while the disk was full it may still fail: nobody is told of room too early.
            Next::Asked => self.room_told,
            Next::NoRoom | Next::AskedAgain => false,
        };
        let is_up = matches!(self.phase, Phase::Open | Phase::Closing);
        next_there && self.space_free && self.retry.is_none() && is_up
    }

    /// A write failed; nothing is taken any more.
    pub fn is_poisoned(&self) -> bool {
        self.phase == Phase::Poisoned
    }

    /// The segment it writes to, and how much of it is used.
    pub fn position(&self) -> (u32, u64) {
        (self.packer.segment().number, self.packer.used_bytes())
    }

    /// Everything it was given is answered.
    pub fn is_idle(&self) -> bool {
        !self.writing && self.waiting.is_empty()
    }

    /// The last write found no space and is tried again and again.
    pub fn found_disk_full(&self) -> bool {
        self.retry.is_some()
    }

    /// Figures so far.
    pub fn stats(&self) -> WriterStats {
        self.stats
    }

    fn on_append(&mut self, token: Token, mut append: Append, since: Time) {
        let is_sound = matches!(
            append,
            Append::Begin { .. }
                | Append::Chunk { .. }
                | Append::Replica {
                    what: Payload::Chunk { .. },
                    ..
                }
        );
        let why = if matches!(self.phase, Phase::Poisoned | Phase::Closed) {
            Refusal::Poisoned
        } else if is_too_long(&append) {
            Refusal::TooLong
        } else if !is_possible(&append) {
            Refusal::Impossible
        } else if is_sound && (!self.can_record() || self.holes.goes_on(&append)) {
            Refusal::DiskFull
        } else {
            if let Append::Seal { id, kind, .. } = &mut append {
                self.holes.seal(id, kind);
            }
            return self
                .waiting
                .push_back(Waiting::theirs(token, append, since));
        };
        self.holes.refused(sound_of(&append));
        self.refuse(token, why);
        if let Append::Chunk { block, .. }
        | Append::Replica {
            block: Some(block), ..
        } = append
        {
            self.outputs.push_back(Output::Spare(block));
        }
    }

    /// The segment is left with the next write. Where nobody writes, a mark is one: what the segment
    /// hides must go from the disk of a node at rest, too.
    fn on_leave(&mut self, segment: u32) {
        self.leave = Some(segment);
        let can_leave = matches!(self.next, Next::Ready(_)) && self.space_free;
        let is_in_it = self.packer.segment().number == segment;
        if self.phase == Phase::Open && can_leave && is_in_it && self.is_idle() {
            self.waiting.push_back(Waiting::own(Body::Mark));
        }
    }

    fn on_retire(&mut self, token: Token, retired: Retired) {
        if matches!(self.phase, Phase::Poisoned | Phase::Closed) {
            return self.refuse(token, Refusal::Poisoned);
        }
        let mut waiting = Waiting::own(Body::Retired(retired));
        waiting.asked = Some((token, self.now.mono));
        self.waiting.push_back(waiting);
    }

    fn on_written(&mut self, now: Now, batch: Batch) {
        assert!(self.writing, "a write ended that was not asked for");
        self.writing = false;
        self.stats.commits += 1;
        self.stats.bytes += (batch.blocks.len() * BLOCK_BYTES) as u64;
        let segment = batch.segment;
        let in_flight = std::mem::take(&mut self.in_flight);
        // First of all: the way to the peers is longer than that to whoever asked.
        self.hand_on(batch, &in_flight);
        let mut only_marks = true;
        for record in in_flight {
            self.durable = record.seq;
            self.stats.durable = Some(record.stamp);
            self.stats.records += 1;
            only_marks &= record.asked.is_none();
            self.tell(now, segment, record);
        }
        self.mark_at = (!only_marks).then_some(now.mono + MARK_AFTER);
    }

    fn hand_on(&mut self, batch: Batch, in_flight: &[InFlight]) {
        if self.config.tap {
            let epoch = self.config.epoch;
            let records = in_flight.iter().map(InFlight::wrote).collect();
            let wrote = Arc::new(Wrote {
                batch,
                epoch,
                records,
            });
            self.outputs.push_back(Output::Wrote(wrote));
        } else {
            let spare = self.packer.recycle(batch).map(Output::Spare);
            self.outputs.extend(spare);
        }
    }

    /// Takes back the memory of a commit that was handed on.
    pub fn recycle(&mut self, wrote: Wrote) {
        let spare = self.packer.recycle(wrote.batch).map(Output::Spare);
        self.outputs.extend(spare);
    }

    fn tell(&mut self, now: Now, segment: u32, record: InFlight) {
        let InFlight {
            asked, stamp, what, ..
        } = record;
        if let (Some((token, _)), None) = (asked, &what) {
            self.outputs.push_back(Output::Retired(token));
        }
        if let (Some((token, since)), Some(what)) = (asked, what) {
            let record = Committed {
                stamp,
                segment,
                what,
            };
            let event = LogEvent::Committed { token, record };
            self.outputs.push_back(Output::Event(event));
            self.outputs.push_back(Output::Took(now.mono.since(since)));
        }
    }

    fn on_free(&mut self, bytes: u64) {
        // More is asked of a disk that was full, so that it does not come and go at the edge.
        let comfortable = self.config.reserve_bytes + self.config.segment_bytes;
        let wanted = if self.can_record() {
            self.config.reserve_bytes
        } else {
            comfortable
        };
        self.space_free = bytes >= wanted;
        if self.next == Next::NoRoom && self.space_free {
            self.next = Next::AskedAgain;
            self.outputs
                .push_back(Output::Prepare(self.packer.segment().number + 1));
        }
    }

    fn on_close(&mut self, now: Time) {
        match self.phase {
            Phase::Open => {
                self.phase = Phase::Closing;
                self.waiting.push_back(Waiting::own(Body::Mark));
                self.retry.iter_mut().for_each(|(_, at)| *at = now);
            }
            Phase::Poisoned => self.close(),
            Phase::Closing | Phase::Closed => {}
        }
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.outputs.push_back(Output::Closed);
    }

    fn on_tick(&mut self, now: Time) {
        if self.probe_at <= now {
            self.probe_at = now + PROBE_PERIOD;
            self.outputs.push_back(Output::Probe);
        }
        if self.mark_at.is_some_and(|at| at <= now) {
            self.mark_at = None;
            self.waiting.push_back(Waiting::own(Body::Mark));
        }
        if let Some((batch, _)) = self.retry.take_if(|(_, at)| *at <= now) {
            self.outputs.push_back(Output::Write(batch));
        }
    }

    fn poison(&mut self) {
        let was_closing = self.phase == Phase::Closing;
        self.phase = Phase::Poisoned;
        self.mark_at = None;
        for record in std::mem::take(&mut self.in_flight) {
            if let Some((token, _)) = record.asked {
                self.refuse(token, Refusal::Poisoned);
            }
        }
        self.refuse_waiting(Refusal::Poisoned);
        if was_closing {
            self.close();
        }
    }

    fn refuse_waiting(&mut self, why: Refusal) {
        for waiting in std::mem::take(&mut self.waiting) {
            if let Some((token, _)) = waiting.asked {
                self.holes.refused(waiting.sound());
                self.refuse(token, why);
            }
        }
    }

    /// What waits and is no sound goes on.
    fn refuse_waiting_sound(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting.asked {
                Some((token, _)) if waiting.is_sound() => {
                    self.holes.refused(waiting.sound());
                    self.refuse(token, Refusal::DiskFull);
                }
                _ => self.waiting.push_back(waiting),
            }
        }
        for waiting in &mut self.waiting {
            if let Body::Said(Payload::Seal { id, kind, .. }) = &mut waiting.body {
                self.holes.seal(id, kind);
            }
        }
    }

    fn refuse(&mut self, token: Token, why: Refusal) {
        self.stats.refused += 1;
        self.outputs
            .push_back(Output::Event(LogEvent::Refused { token, why }));
    }

    /// Sound is refused only after it was said that it will be.
    fn tell_room(&mut self) {
        let can_record = self.can_record();
        if self.room_told != can_record && self.phase != Phase::Closed {
            self.room_told = can_record;
            let event = LogEvent::Room { can_record };
            self.outputs.push_back(Output::Event(event));
        }
    }

    fn start_write(&mut self) {
        let is_next_there = matches!(self.next, Next::Ready(_));
        self.packer.keep_tail(!is_next_there);
        let first = self.waiting.front();
        let is_sound = first.is_some_and(Waiting::is_sound);
        let fits = first.is_none_or(|first| self.packer.has_room_for(first));
        let leaves = self.leave == Some(self.packer.segment().number);
        if fits && leaves && is_next_there && self.space_free {
            self.enter_next_segment();
        }
        if !fits && !self.enter_next_segment() {
            match self.next {
                Next::NoRoom if is_sound => self.refuse_waiting_sound(),
                Next::NoRoom => self.refuse_waiting(Refusal::DiskFull),
                _ => {}
            }
            return;
        }
        self.mark_at = None;
        self.writing = true;
        let (batch, records) = self.packer.pack(self.now, self.durable, &mut self.waiting);
        self.in_flight = records;
        self.outputs.push_back(Output::Write(batch));
    }

    fn enter_next_segment(&mut self) -> bool {
        let Next::Ready(segment) = self.next else {
            return false;
        };
        self.packer.enter(segment);
        self.packer.keep_tail(true);

        self.next = Next::Asked;
        self.outputs.push_back(Output::Prepare(segment.number + 1));
        true
    }
}

/// The sound that something is a piece of.
fn sound_of(append: &Append) -> Option<Id> {
    match append {
        Append::Begin { id, .. } | Append::Chunk { id, .. } => Some(*id),
        _ => None,
    }
}

fn is_too_long(append: &Append) -> bool {
    let (key, text) = match append {
        Append::Begin { about, .. }
        | Append::Seal { about, .. }
        | Append::Replica {
            what: Payload::Begin { about, .. } | Payload::Seal { about, .. },
            ..
        } => (0, about.len()),
        Append::Register { key, value }
        | Append::Replica {
            what: Payload::Register { key, value },
            ..
        } => (key.len(), value.as_ref().map_or(0, |v| v.len())),
        Append::Entry { topic, body }
        | Append::Replica {
            what: Payload::Entry { topic, body },
            ..
        } => (topic.len(), body.len()),
        Append::Chunk { .. } | Append::Replica { .. } => (0, 0),
    };
    key > REGISTER_KEY_LEN_MAX || text > TEXT_LEN_MAX
}

/// A chunk's record has room for no other node and epoch than those of its sound.
fn is_possible(append: &Append) -> bool {
    match append {
        Append::Replica { stamp, what, block } => {
            let in_range =
                (1..=EPOCH_MAX).contains(&stamp.epoch) && (1..=SEQ_MAX).contains(&stamp.seq);
            in_range
                && match what {
                    Payload::Chunk { id, .. } => {
                        block.is_some() && (id.node, id.epoch) == (stamp.node, stamp.epoch)
                    }
                    _ => block.is_none(),
                }
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;
