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
//! durable mark is that commit and nothing else. A batch is a run of whole blocks in one segment; a
//! block that was written is never written again. Chunks are written from the memory they were
//! recorded into.
//!
//! When the disk fills up, the prepared segment is the reserve: as soon as the next one cannot be
//! prepared, or the file system has less than `reserve_bytes` free, new sound is refused, while
//! seals, registers and entries go on until that segment is full too.

use std::collections::VecDeque;
use std::time::Duration;

use crate::block::{BLOCK_BYTES, Block, CHUNK_HEADER_BYTES, ChunkBlock};
use crate::clock::Clock;
use crate::name::NodeName;
use crate::record::{self, ALIGN_BYTES, Body, Header};
use crate::seam::{
    Append, ChunkPlace, Committed, Hlc, KEY_LEN_MAX, LogEvent, Refusal, Stamp, TEXT_LEN_MAX, Token,
    What,
};
use crate::segment::{self, SegmentHeader};
use crate::time::{Now, Time};

/// The most blocks in one commit, 1 MiB: beyond that a commit's latency grows with its size.
pub const BATCH_BLOCKS_MAX: usize = 256;
/// The most appends that wait for the next commit; beyond it they wait in the log's queue.
pub const WAITING_MAX: usize = 1024;

/// A disk that was full is tried again, and free space looked at, this often.
const PROBE_PERIOD: Duration = Duration::from_secs(1);
/// After so much quiet a mark is written, so that the last commit is known to be one.
const MARK_AFTER: Duration = Duration::from_secs(1);
/// Spare memory for packed blocks.
const SPARE_BLOCKS_MAX: usize = 64;

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
}

/// A segment that is ready to be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub number: u32,
    /// Its length.
    pub bytes: u64,
}

/// What the writer is told.
#[derive(Debug)]
pub enum Input {
    /// Something to be written, and when it was handed to the log.
    Append(Token, Append, Time),
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
    /// It took this long from the log's queue to the disk.
    Took(Duration),
    /// Memory of a chunk that was written.
    Spare(ChunkBlock),
    /// After [`Input::Close`]: all is durable.
    Closed,
}

/// Blocks to be written one after the other.
#[derive(Debug)]
pub struct Batch {
    /// The segment's number.
    pub segment: u32,
    /// Where in its file.
    pub offset: u64,
    /// At most [`BATCH_BLOCKS_MAX`].
    pub blocks: Vec<BatchBlock>,
}

/// One block of a batch.
#[derive(Debug)]
pub enum BatchBlock {
    /// The segment's first block, or small records one after the other, or part of a long one.
    Packed(Box<Block>),
    /// A chunk in its own memory.
    Chunk(ChunkBlock),
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
    clock: Clock,
    seq_next: u64,
    durable: u64,
    segment: Segment,
    used_bytes: u64,
    next: Next,
    waiting: VecDeque<Waiting>,
    /// Records of the batch that is being written.
    in_flight: Vec<InFlight>,
    /// A batch that found the disk full, to be tried again.
    retry: Option<(Batch, Time)>,
    writing: bool,
    space_free: bool,
    room_told: bool,
    probe_at: Time,
    mark_at: Option<Time>,
    phase: Phase,
    now: Now,
    outputs: VecDeque<Output>,
    spare_blocks: Vec<Box<Block>>,
    scratch: Vec<u8>,
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

#[derive(Debug)]
enum Waiting {
    Own(Body),
    Theirs(Token, Body, Option<ChunkBlock>, Time),
}

#[derive(Debug)]
struct InFlight {
    token: Option<Token>,
    stamp: Stamp,
    what: Option<What>,
    since: Time,
}

impl Writer {
    /// Opens the epoch: its first record is on its way at once.
    pub fn new(config: WriterConfig, now: Now) -> Writer {
        let mut clock = Clock::default();
        clock.observe(config.hlc);
        let (before, last) = config.before;
        let mut writer = Writer {
            config,
            clock,
            seq_next: 1,
            durable: 0,
            segment: config.segment,
            used_bytes: config.used_bytes,
            next: Next::Asked,
            waiting: VecDeque::from([Waiting::Own(Body::Epoch { before, last })]),
            in_flight: Vec::new(),
            retry: None,
            writing: false,
            space_free: true,
            room_told: true,
            probe_at: now.mono + PROBE_PERIOD,
            mark_at: None,
            phase: Phase::Open,
            now,
            outputs: VecDeque::new(),
            spare_blocks: Vec::new(),
            scratch: Vec::new(),
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
        let next_there = matches!(self.next, Next::Asked | Next::Ready(_));
        let is_up = matches!(self.phase, Phase::Open | Phase::Closing);
        next_there && self.space_free && self.retry.is_none() && is_up
    }

    /// A write failed; nothing is taken any more.
    pub fn is_poisoned(&self) -> bool {
        self.phase == Phase::Poisoned
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

    fn on_append(&mut self, token: Token, append: Append, since: Time) {
        let is_sound = matches!(append, Append::Begin { .. } | Append::Chunk { .. });
        let why = if matches!(self.phase, Phase::Poisoned | Phase::Closed) {
            Refusal::Poisoned
        } else if is_too_long(&append) {
            Refusal::TooLong
        } else if is_sound && !self.can_record() {
            Refusal::DiskFull
        } else {
            let (body, block) = body_of(append);
            return self
                .waiting
                .push_back(Waiting::Theirs(token, body, block, since));
        };
        self.refuse(token, why);
        if let Append::Chunk { block, .. } = append {
            self.outputs.push_back(Output::Spare(block));
        }
    }

    fn on_written(&mut self, now: Now, batch: Batch) {
        assert!(self.writing, "a write ended that was not asked for");
        self.writing = false;
        self.stats.commits += 1;
        self.stats.bytes += (batch.blocks.len() * BLOCK_BYTES) as u64;
        let mut only_marks = true;
        for record in std::mem::take(&mut self.in_flight) {
            self.durable = record.stamp.seq;
            self.stats.durable = Some(record.stamp);
            self.stats.records += 1;
            only_marks &= record.token.is_none();
            self.tell(now, record);
        }
        self.mark_at = (!only_marks).then_some(now.mono + MARK_AFTER);
        self.recycle(batch);
    }

    fn tell(&mut self, now: Now, record: InFlight) {
        if let (Some(token), Some(what)) = (record.token, record.what) {
            let record_told = Committed {
                stamp: record.stamp,
                what,
            };
            let event = LogEvent::Committed {
                token,
                record: record_told,
            };
            self.outputs.push_back(Output::Event(event));
            self.outputs
                .push_back(Output::Took(now.mono.since(record.since)));
        }
    }

    fn recycle(&mut self, batch: Batch) {
        for block in batch.blocks {
            match block {
                BatchBlock::Chunk(chunk) => self.outputs.push_back(Output::Spare(chunk)),
                BatchBlock::Packed(block) if self.spare_blocks.len() < SPARE_BLOCKS_MAX => {
                    self.spare_blocks.push(block);
                }
                BatchBlock::Packed(_) => {}
            }
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
                .push_back(Output::Prepare(self.segment.number + 1));
        }
    }

    fn on_close(&mut self, now: Time) {
        match self.phase {
            Phase::Open => {
                self.phase = Phase::Closing;
                self.waiting.push_back(Waiting::Own(Body::Mark));
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
            self.waiting.push_back(Waiting::Own(Body::Mark));
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
            if let Some(token) = record.token {
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
            if let Waiting::Theirs(token, ..) = waiting {
                self.refuse(token, why);
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
        let fits = self.waiting.front().is_none_or(|first| {
            let header = if self.used_bytes == 0 { BLOCK_BYTES } else { 0 };
            let blocks = blocks_of(front_bytes(first));
            self.used_bytes + (header + blocks * BLOCK_BYTES) as u64 <= self.segment.bytes
        });
        if !fits && !self.enter_next_segment() {
            if self.next == Next::NoRoom {
                self.refuse_waiting(Refusal::DiskFull);
            }
            return;
        }
        self.mark_at = None;
        self.writing = true;
        let batch = self.pack(self.now);
        self.outputs.push_back(Output::Write(batch));
    }

    fn enter_next_segment(&mut self) -> bool {
        let Next::Ready(segment) = self.next else {
            return false;
        };
        self.segment = segment;
        self.used_bytes = 0;
        self.next = Next::Asked;
        self.outputs.push_back(Output::Prepare(segment.number + 1));
        true
    }
}

/// Packing: from what waits to blocks.
impl Writer {
    fn pack(&mut self, now: Now) -> Batch {
        let mut batch = Batch {
            segment: self.segment.number,
            offset: self.used_bytes,
            blocks: Vec::new(),
        };
        if self.used_bytes == 0 {
            batch.blocks.push(BatchBlock::Packed(self.first_block()));
        }
        // Where the next small record goes in the last block; a full one to begin with.
        let mut packed = BLOCK_BYTES;
        while let Some(first) = self.waiting.front() {
            let bytes = front_bytes(first);
            let is_chunk = matches!(first, Waiting::Theirs(_, _, Some(_), _));
            let here = !is_chunk && packed + bytes <= BLOCK_BYTES;
            let blocks = if here { 0 } else { blocks_of(bytes) };
            let end = (batch.blocks.len() + blocks) * BLOCK_BYTES;
            let is_full = batch.blocks.len() + blocks > BATCH_BLOCKS_MAX
                || batch.offset + end as u64 > self.segment.bytes;
            if is_full {
                break;
            }
            let Some(waiting) = self.waiting.pop_front() else {
                break;
            };
            let start = if here { packed } else { 0 };
            packed = self.place(now, waiting, start, &mut batch);
        }
        self.used_bytes += (batch.blocks.len() * BLOCK_BYTES) as u64;
        assert!(!batch.blocks.is_empty() && self.used_bytes <= self.segment.bytes);
        batch
    }

    /// Puts one record into the batch: at `start` of its last block, or, if that is 0, in blocks
    /// of its own. Returns where the next small one can go.
    fn place(&mut self, now: Now, waiting: Waiting, start: usize, batch: &mut Batch) -> usize {
        let block_index = batch.blocks.len() - usize::from(start > 0);
        let offset = batch.offset + (block_index * BLOCK_BYTES + start) as u64;
        let header = self.next_header(now);
        let (token, body, chunk, since) = match waiting {
            Waiting::Own(body) => (None, body, None, now.mono),
            Waiting::Theirs(token, body, chunk, since) => (Some(token), body, chunk, since),
        };
        self.scratch.clear();
        record::encode_front(&header, &body, &mut self.scratch);
        let packed = match chunk {
            Some(mut chunk) => {
                chunk.put_header(|record| {
                    record[..CHUNK_HEADER_BYTES].copy_from_slice(&self.scratch);
                    record::seal(record);
                });
                batch.blocks.push(BatchBlock::Chunk(chunk));
                BLOCK_BYTES
            }
            None => {
                record::seal(&mut self.scratch);
                self.copy_scratch(start, batch)
            }
        };
        let Header {
            epoch, seq, hlc, ..
        } = header;
        let stamp = Stamp {
            hlc,
            node: self.config.node,
            epoch,
            seq,
        };
        let what = what_of(body, self.segment.number, offset);
        self.in_flight.push(InFlight {
            token,
            stamp,
            what,
            since,
        });
        packed
    }

    fn copy_scratch(&mut self, start: usize, batch: &mut Batch) -> usize {
        let bytes = self.scratch.len();
        if let (true, Some(BatchBlock::Packed(block))) = (start > 0, batch.blocks.last_mut()) {
            block.0[start..start + bytes].copy_from_slice(&self.scratch);
            return (start + bytes).next_multiple_of(ALIGN_BYTES);
        }
        for piece in self.scratch.chunks(BLOCK_BYTES) {
            let mut block = self.spare_blocks.pop().unwrap_or_else(Block::zeroed);
            block.0[..piece.len()].copy_from_slice(piece);
            block.0[piece.len()..].fill(0);
            batch.blocks.push(BatchBlock::Packed(block));
        }
        // Nothing follows in the last block of a long record.
        if bytes > BLOCK_BYTES {
            BLOCK_BYTES
        } else {
            bytes.next_multiple_of(ALIGN_BYTES)
        }
    }

    fn next_header(&mut self, now: Now) -> Header {
        let seq = self.seq_next;
        self.seq_next += 1;
        Header {
            segment: self.segment.number,
            epoch: self.config.epoch,
            seq,
            hlc: self.clock.tick(now.wall),
            durable: self.durable,
        }
    }

    fn first_block(&mut self) -> Box<Block> {
        let mut block = self.spare_blocks.pop().unwrap_or_else(Block::zeroed);
        let header = SegmentHeader {
            node: self.config.node,
            number: self.segment.number,
            epoch: self.config.epoch,
            seq: self.seq_next,
        };
        segment::encode(&header, &mut block);
        block
    }
}

impl BatchBlock {
    /// What goes to the disk.
    pub fn bytes(&self) -> &[u8; BLOCK_BYTES] {
        match self {
            BatchBlock::Packed(block) => &block.0,
            BatchBlock::Chunk(chunk) => chunk.bytes(),
        }
    }
}

fn is_too_long(append: &Append) -> bool {
    let (key, text) = match append {
        Append::Begin { about, .. } | Append::Seal { about, .. } => (0, about.len()),
        Append::Chunk { .. } => (0, 0),
        Append::Register { key, value } => (key.len(), value.as_ref().map_or(0, |v| v.len())),
        Append::Entry { topic, body } => (topic.len(), body.len()),
    };
    key > KEY_LEN_MAX || text > TEXT_LEN_MAX
}

fn body_of(append: Append) -> (Body, Option<ChunkBlock>) {
    let what = match append {
        Append::Begin {
            id,
            codec,
            at,
            about,
        } => What::Begin {
            id,
            codec,
            at,
            about,
        },
        Append::Chunk { id, index, block } => {
            // Where it lies is known once it is placed.
            let samples = block.samples().len() as u32;
            let place = ChunkPlace {
                segment: 0,
                offset: 0,
                samples,
            };
            return (Body::Said(What::Chunk { id, index, place }), Some(block));
        }
        Append::Seal { id, kind, about } => What::Seal { id, kind, about },
        Append::Register { key, value } => What::Register { key, value },
        Append::Entry { topic, body } => What::Entry { topic, body },
    };
    (Body::Said(what), None)
}

fn what_of(body: Body, segment: u32, offset: u64) -> Option<What> {
    match body {
        Body::Said(What::Chunk { id, index, place }) => Some(What::Chunk {
            id,
            index,
            place: ChunkPlace {
                segment,
                offset,
                ..place
            },
        }),
        Body::Said(what) => Some(what),
        Body::Epoch { .. } | Body::Mark => None,
    }
}

fn front_bytes(waiting: &Waiting) -> usize {
    match waiting {
        Waiting::Own(body) | Waiting::Theirs(_, body, ..) => record::front_bytes(body),
    }
}

fn blocks_of(front_bytes: usize) -> usize {
    front_bytes.div_ceil(BLOCK_BYTES)
}
