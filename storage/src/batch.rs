//! Commits: how waiting records become blocks.
//!
//! The writer hands over what waits; a `Packer` stamps it, packs as much as one commit takes and
//! remembers what is in it. A batch is a run of whole blocks in one segment; a block that was
//! written is never written again. Small records share a block, a chunk is written from the memory
//! it was recorded into. The order of records on the disk is that of their numbers.

use std::collections::VecDeque;

use crate::block::{BLOCK_BYTES, Block, CHUNK_HEADER_BYTES, ChunkBlock};
use crate::clock::Clock;
use crate::name::{Id, NodeName};
use crate::record::{self, ALIGN_BYTES, Body, Header};
use crate::seam::{Append, ChunkPlace, LOCAL_REGISTERS, Payload, Stamp, Token};
use crate::segment::{self, SegmentHeader};
use crate::time::{Now, Time};
use crate::writer::WriterConfig;

/// The most blocks in one commit, 1 MiB: beyond that a commit's latency grows with its size.
pub const BATCH_BLOCKS_MAX: usize = 256;
/// Spare memory for packed blocks.
const SPARE_BLOCKS_MAX: usize = 64;
/// The tail is this part of a segment.
const TAIL_PART: u64 = 16;

/// A segment that is ready to be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub number: u32,
    /// Its length.
    pub bytes: u64,
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

/// A commit that is durable, for those who take the log further (see `link`): its blocks are shared,
/// not copied.
#[derive(Debug)]
pub struct Wrote {
    /// The blocks and where they lie.
    pub batch: Batch,
    /// The epoch of all records in it.
    pub epoch: u32,
    /// What is in the blocks, in order; never empty.
    pub records: Vec<WroteRecord>,
}

/// One record of a [`Wrote`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WroteRecord {
    /// Its number in this epoch of this log.
    pub seq: u64,
    /// Where it begins, counted from the first block of the commit.
    pub offset: u32,
    /// Its length.
    pub bytes: u32,
    /// The stamp it counts under; `None`: it says nothing to another node.
    pub stamp: Option<Stamp>,
    /// It is a chunk of sound.
    pub is_chunk: bool,
}

impl Wrote {
    /// Where the next commit into this segment begins.
    pub fn end_offset(&self) -> u64 {
        self.batch.offset + (self.batch.blocks.len() * BLOCK_BYTES) as u64
    }

    /// The number of its last record.
    pub fn seq_last(&self) -> u64 {
        self.records.last().map_or(0, |record| record.seq)
    }

    /// The bytes of a record, block by block.
    pub fn bytes_of(&self, record: &WroteRecord) -> impl Iterator<Item = &[u8]> {
        let (start, end) = (
            record.offset as usize,
            (record.offset + record.bytes) as usize,
        );
        let blocks = start / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES);
        blocks.filter_map(move |n| {
            let first = n * BLOCK_BYTES;
            let part = start.max(first) - first..end.min(first + BLOCK_BYTES) - first;
            self.batch.blocks.get(n)?.bytes().get(part)
        })
    }
}

/// Something that waits to be written.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) body: Body,
    chunk: Option<ChunkBlock>,
    /// Who is to be told, and since when it waits; `None`: it is the log's own.
    pub(crate) asked: Option<(Token, Time)>,
}

/// A record of the commit that is being written.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// As in [`Waiting`].
    pub(crate) asked: Option<(Token, Time)>,
    /// Its number in this epoch of this log.
    pub(crate) seq: u64,
    /// Where it begins, counted from the first block of the commit.
    pub(crate) offset: u32,
    /// Its length.
    pub(crate) bytes: u32,
    /// The stamp it counts under: its own, or that with which it was said first.
    pub(crate) stamp: Stamp,
    pub(crate) what: Option<Payload>,
}

/// Makes commits out of what waits, for one epoch.
#[derive(Debug)]
pub(crate) struct Packer {
    node: NodeName,
    epoch: u32,
    clock: Clock,
    seq_next: u64,
    segment: Segment,
    used_bytes: u64,
    /// Sound leaves the segment's tail to the rest.
    keeps_tail: bool,
    spare_blocks: Vec<Box<Block>>,
    scratch: Vec<u8>,
}

impl Packer {
    pub(crate) fn new(config: &WriterConfig) -> Packer {
        let mut clock = Clock::default();
        clock.observe(config.hlc);
        Packer {
            node: config.node,
            epoch: config.epoch,
            clock,
            seq_next: 1,
            segment: config.segment,
            used_bytes: config.used_bytes,
            keeps_tail: true,
            spare_blocks: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The segment it packs for.
    pub(crate) fn segment(&self) -> Segment {
        self.segment
    }

    /// How much of it is used.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Goes on in another segment.
    pub(crate) fn enter(&mut self, segment: Segment) {
        self.segment = segment;
        self.used_bytes = 0;
    }

    /// Sound leaves the last sixteenth of a segment to seals, registers and entries, as long as it is
    /// not known that another segment follows.
    pub(crate) fn keep_tail(&mut self, keeps_tail: bool) {
        self.keeps_tail = keeps_tail;
    }

    /// Does it fit into what is left of the segment?
    pub(crate) fn has_room_for(&self, waiting: &Waiting) -> bool {
        let header_bytes = if self.used_bytes == 0 { BLOCK_BYTES } else { 0 };
        let bytes = header_bytes + blocks_of(waiting.front_bytes()) * BLOCK_BYTES;
        self.used_bytes + bytes as u64 <= self.end_for(waiting)
    }

    fn end_for(&self, waiting: &Waiting) -> u64 {
        let bytes = self.segment.bytes;
        if self.keeps_tail && waiting.is_sound() {
            bytes - bytes / TAIL_PART
        } else {
            bytes
        }
    }

    /// Packs what waits, as much as one commit takes; at least the first must fit.
    pub(crate) fn pack(
        &mut self,
        now: Now,
        durable: u64,
        waiting: &mut VecDeque<Waiting>,
    ) -> (Batch, Vec<InFlight>) {
        let mut batch = Batch {
            segment: self.segment.number,
            offset: self.used_bytes,
            blocks: Vec::new(),
        };
        if self.used_bytes == 0 {
            batch.blocks.push(BatchBlock::Packed(self.first_block()));
        }
        let mut records = Vec::new();
        // Where the next small record goes in the last block; a full one to begin with.
        let mut packed = BLOCK_BYTES;
        while let Some(first) = waiting.front() {
            let bytes = first.front_bytes();
            let is_chunk = first.chunk.is_some();
            let here = !is_chunk && packed + bytes <= BLOCK_BYTES;
            let blocks = if here { 0 } else { blocks_of(bytes) };
            let end = (batch.blocks.len() + blocks) * BLOCK_BYTES;
            let is_full = batch.blocks.len() + blocks > BATCH_BLOCKS_MAX
                || batch.offset + end as u64 > self.end_for(first);
            if is_full {
                break;
            }
            let Some(next) = waiting.pop_front() else {
                break;
            };
            if let Body::Replica(stamp, _) = &next.body {
                self.clock.observe(stamp.hlc);
            }
            let start = if here { packed } else { 0 };
            let header = self.next_header(now, durable);
            let (record, end) = self.place(header, next, start, &mut batch);
            records.push(record);
            packed = end;
        }
        self.used_bytes += (batch.blocks.len() * BLOCK_BYTES) as u64;
        assert!(!records.is_empty() && self.used_bytes <= self.segment.bytes);
        (batch, records)
    }

    /// Keeps the memory of packed blocks, and gives that of chunks back.
    pub(crate) fn recycle(&mut self, batch: Batch) -> impl Iterator<Item = ChunkBlock> {
        let spare_blocks = &mut self.spare_blocks;
        batch.blocks.into_iter().filter_map(|block| match block {
            BatchBlock::Chunk(chunk) => Some(chunk),
            BatchBlock::Packed(block) => {
                if spare_blocks.len() < SPARE_BLOCKS_MAX {
                    spare_blocks.push(block);
                }
                None
            }
        })
    }

    /// Puts one record into the batch: at `start` of its last block, or, if that is 0, in blocks
    /// of its own. Returns where the next small one can go.
    fn place(
        &mut self,
        header: Header,
        waiting: Waiting,
        start: usize,
        batch: &mut Batch,
    ) -> (InFlight, usize) {
        let block_index = batch.blocks.len() - usize::from(start > 0);
        let in_batch = block_index * BLOCK_BYTES + start;
        let offset = batch.offset + in_batch as u64;
        let Waiting { body, chunk, asked } = waiting;
        self.scratch.clear();
        record::encode_front(&header, &body, &mut self.scratch);
        let bytes = self.scratch.len() + chunk.as_ref().map_or(0, |c| c.samples().len());
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
        let stamp = match &body {
            Body::Replica(stamp, _) => *stamp,
            _ => Stamp {
                hlc,
                node: self.node,
                epoch,
                seq,
            },
        };
        let what = what_of(body, self.segment.number, offset);
        let record = InFlight {
            asked,
            seq,
            // A batch is at most BATCH_BLOCKS_MAX long.
            offset: in_batch as u32,
            bytes: bytes as u32,
            stamp,
            what,
        };
        (record, packed)
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

    fn next_header(&mut self, now: Now, durable: u64) -> Header {
        let seq = self.seq_next;
        self.seq_next += 1;
        Header {
            segment: self.segment.number,
            epoch: self.epoch,
            seq,
            hlc: self.clock.tick(now.wall),
            durable,
        }
    }

    fn first_block(&mut self) -> Box<Block> {
        let mut block = self.spare_blocks.pop().unwrap_or_else(Block::zeroed);
        let header = SegmentHeader {
            node: self.node,
            number: self.segment.number,
            epoch: self.epoch,
            seq: self.seq_next,
        };
        segment::encode(&header, &mut block);
        block
    }
}

impl InFlight {
    /// Itself as one of a [`Wrote`].
    pub(crate) fn wrote(&self) -> WroteRecord {
        let is_for_others = match &self.what {
            Some(Payload::Register { key, .. }) => !key.starts_with(LOCAL_REGISTERS),
            what => what.is_some(),
        };
        WroteRecord {
            seq: self.seq,
            offset: self.offset,
            bytes: self.bytes,
            stamp: is_for_others.then_some(self.stamp),
            is_chunk: matches!(self.what, Some(Payload::Chunk { .. })),
        }
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

impl Waiting {
    /// It is refused when the disk is full.
    pub(crate) fn is_sound(&self) -> bool {
        self.sound().is_some() || self.chunk.is_some()
    }

    /// The sound that it is a piece of.
    pub(crate) fn sound(&self) -> Option<Id> {
        match &self.body {
            Body::Said(Payload::Begin { id, .. } | Payload::Chunk { id, .. }) => Some(*id),
            _ => None,
        }
    }

    /// The stamp it was said with before, if it was.
    fn restated(append: &Append) -> Option<Stamp> {
        match append {
            Append::Replica { stamp, .. } => Some(*stamp),
            _ => None,
        }
    }

    /// One of the log's own.
    pub(crate) fn own(body: Body) -> Waiting {
        Waiting {
            body,
            chunk: None,
            asked: None,
        }
    }

    /// Somebody's append.
    pub(crate) fn theirs(token: Token, append: Append, since: Time) -> Waiting {
        let restated = Waiting::restated(&append);
        // Where a chunk lies is known once it is placed.
        let (what, chunk) = append.into_what(|samples| ChunkPlace {
            segment: 0,
            offset: 0,
            samples,
        });
        Waiting {
            body: match restated {
                Some(stamp) => Body::Replica(stamp, what),
                None => Body::Said(what),
            },
            chunk,
            asked: Some((token, since)),
        }
    }

    fn front_bytes(&self) -> usize {
        record::front_bytes(&self.body)
    }
}

fn what_of(body: Body, segment: u32, offset: u64) -> Option<Payload> {
    match body {
        Body::Said(what) | Body::Replica(_, what) => Some(match what {
            Payload::Chunk { id, index, place } => Payload::Chunk {
                id,
                index,
                place: ChunkPlace {
                    segment,
                    offset,
                    ..place
                },
            },
            what => what,
        }),
        Body::Epoch { .. } | Body::Mark | Body::Retired(_) => None,
    }
}

fn blocks_of(front_bytes: usize) -> usize {
    front_bytes.div_ceil(BLOCK_BYTES)
}
