//! A disk made of memory, and the log on it: for tests that crash, tear, flip and fill up.
//!
//! [`SimLog`] runs the real writer and the real recovery; only the disk and the clock are numbers.
//! A write is *in flight* until it is completed; a crash leaves any part of it on the disk, by
//! sectors of 512 bytes, as a real one may.

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod compaction;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod pictures;
mod snapshots;
mod wires;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand::{Rng, RngExt};

use crate::batch::{Batch, Segment, Wrote};
use crate::block::BLOCK_BYTES;
use crate::link::LogPiece;
use crate::name::{Ids, NodeName};
use crate::reading::{self, Loaded, Reading};
use crate::record::{self, Fault};
use crate::recovery::NotOurs;
use crate::retired::Retired;
use crate::seam::{Append, ChunkPlace, Committed, LogEvent, Token};
use crate::time::{Now, Time};
use crate::view::View;
pub use snapshots::{SimSnapshots, snapshot_of, snapshot_parts, snapshot_rows};
pub use wires::{Arrival, SimWires, give_spare};

use crate::writer::{Input, Output, WriteFault, Writer, WriterConfig};

/// The smallest piece a disk writes whole.
const SECTOR_BYTES: usize = 512;

/// What is durable.
#[derive(Clone, Debug)]
pub struct SimDisk {
    /// The segments by number.
    pub segments: BTreeMap<u32, Vec<u8>>,
    /// How much fits on it.
    pub capacity_bytes: u64,
    /// The length of segments to come.
    pub segment_bytes: u64,
    /// What free space the log leaves to others.
    pub reserve_bytes: u64,
    /// What the next write fails with, if anything.
    pub fault: Option<WriteFault>,
    /// The file `snapshot`.
    pub snapshot: Option<Vec<u8>>,
}

/// A log on a [`SimDisk`].
#[derive(Debug)]
pub struct SimLog {
    disk: SimDisk,
    writer: Writer,
    in_flight: Option<Batch>,
    retired: Vec<Token>,
    wrote: VecDeque<Arc<Wrote>>,
}

/// A [`SimLog`] that was opened, and what it said.
#[derive(Debug)]
pub struct SimOpened {
    /// To append to it.
    pub log: SimLog,
    /// Everything in it.
    pub view: View,
    /// Names for this epoch.
    pub ids: Ids,
    /// What was found.
    pub loaded: Loaded,
    /// The first segment that had to be read; 0: all, there was no snapshot.
    pub read_from: u32,
    /// Sounds sealed as cut short.
    pub cut_short: usize,
}

impl SimDisk {
    /// Empty, with segments of `segment_bytes` and room for `capacity_bytes`.
    pub fn new(segment_bytes: u64, capacity_bytes: u64) -> SimDisk {
        let segments = BTreeMap::new();
        SimDisk {
            segments,
            capacity_bytes,
            segment_bytes,
            reserve_bytes: 0,
            fault: None,
            snapshot: None,
        }
    }

    /// Reads all of it as the log of `node`, and hands what counts to `apply`.
    pub fn read(
        &self,
        node: NodeName,
        mut apply: impl FnMut(&Committed),
    ) -> Result<Loaded, NotOurs> {
        let mut reading = Reading::new(node).with_retired(self.retired());
        for (number, bytes) in &self.segments {
            reading.take(*number, bytes, &mut apply)?;
        }
        Ok(reading.finish(&mut apply))
    }

    fn retired(&self) -> Retired {
        let numbers: Vec<u32> = self.segments.keys().copied().collect();
        if !reading::has_gaps(&numbers) {
            return Retired::default();
        }
        let mut newest = self.segments.iter().rev();
        newest
            .find_map(|(number, bytes)| reading::newest_retired(*number, bytes))
            .unwrap_or_default()
    }

    /// The samples of a chunk.
    pub fn samples(&self, place: &ChunkPlace) -> Result<&[u8], Fault> {
        let segment = self.segments.get(&place.segment).ok_or(Fault::Length)?;
        let start = usize::try_from(place.offset).map_err(|_| Fault::Length)?;
        let bytes = segment.get(start..).ok_or(Fault::Length)?;
        record::decode_samples(bytes).map(|(_, samples)| samples)
    }

    /// A piece of a segment's file, as the link reads it.
    pub fn piece(&self, segment: u32, offset: u64, bytes: usize) -> LogPiece {
        let Some(file) = self.segments.get(&segment) else {
            let next = self.segments.keys().find(|number| **number > segment);
            let next = next.copied();
            return LogPiece::Gone { next };
        };
        let start = (offset as usize).min(file.len());
        let end = (start + bytes).min(file.len());
        LogPiece::Bytes(file[start..end].to_vec())
    }

    /// What is taken up.
    pub fn used_bytes(&self) -> u64 {
        self.segments.values().map(|bytes| bytes.len() as u64).sum()
    }

    fn free_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.used_bytes())
    }

    fn prepare(&mut self, number: u32) -> Option<Segment> {
        if let Some(there) = self.segments.get(&number) {
            return Some(Segment {
                number,
                bytes: there.len() as u64,
            });
        }
        let bytes = self.segment_bytes;
        (self.free_bytes() >= bytes).then(|| {
            self.segments.insert(number, vec![0; bytes as usize]);
            Segment { number, bytes }
        })
    }

    /// Puts those sectors of a batch on the disk that `reaches` says.
    fn put(&mut self, batch: &Batch, mut reaches: impl FnMut() -> bool) {
        let Some(segment) = self.segments.get_mut(&batch.segment) else {
            return;
        };
        let area = &mut segment[batch.offset as usize..];
        for (block, to) in batch.blocks.iter().zip(area.chunks_exact_mut(BLOCK_BYTES)) {
            let sectors = block.bytes().chunks(SECTOR_BYTES);
            for (sector, to) in sectors.zip(to.chunks_mut(SECTOR_BYTES)) {
                if reaches() {
                    to.copy_from_slice(sector);
                }
            }
        }
    }
}

impl SimLog {
    /// Opens the log of `node`: reads it, opens an epoch, seals what was cut short.
    ///
    /// # Panics
    /// If the disk has no room for even one segment; if its snapshot says anything else than the log.
    pub fn open(disk: SimDisk, node: NodeName, now: Now) -> Result<SimOpened, NotOurs> {
        SimLog::open_for_link(disk, node, now, None)
    }

    /// The same for a node of a cluster: its epoch is not below `epoch_min`, and commits are handed
    /// on with [`SimLog::wrote`].
    pub fn open_for_link(
        mut disk: SimDisk,
        node: NodeName,
        now: Now,
        epoch_min: Option<u32>,
    ) -> Result<SimOpened, NotOurs> {
        let (view, loaded, read_from) = disk.read_both_ways(node)?;
        let (number, used_bytes) = loaded.go_on_in();
        let segment = disk.prepare(number).expect("room for a segment");
        let config = WriterConfig {
            node,
            epoch: (loaded.ending.epoch + 1).max(epoch_min.unwrap_or(1)),
            before: loaded.ending.last,
            hlc: loaded.ending.hlc,
            segment,
            used_bytes,
            reserve_bytes: disk.reserve_bytes,
            segment_bytes: disk.segment_bytes,
            tap: epoch_min.is_some(),
        };
        let mut log = SimLog {
            disk,
            writer: Writer::new(config, now),
            in_flight: None,
            retired: Vec::new(),
            wrote: VecDeque::new(),
        };
        let seals = reading::cut_short(&view, node);
        let (ids, cut_short) = (Ids::new(node, config.epoch), seals.len());
        seals
            .into_iter()
            .for_each(|seal| log.submit(now, Token::call_control(0), seal));
        let opened = SimOpened {
            log,
            view,
            ids,
            loaded,
            read_from,
            cut_short,
        };
        Ok(opened.settled(now))
    }

    /// Hands something to the log.
    pub fn submit(&mut self, now: Now, token: Token, append: Append) {
        self.writer
            .handle(now, Input::Append(token, append, now.mono));
    }

    /// The next event; `None`: nothing more happens before the write in flight is completed, or
    /// the deadline.
    pub fn poll(&mut self, now: Now) -> Option<LogEvent> {
        if self.writer.deadline() <= now.mono {
            self.writer.handle(now, Input::Tick);
        }
        while let Some(output) = self.writer.poll() {
            match output {
                Output::Write(batch) => self.in_flight = Some(batch),
                Output::Prepare(number) => {
                    let prepared = self.disk.prepare(number);
                    let input = prepared.map_or(Input::NotPrepared, Input::Prepared);
                    self.writer.handle(now, input);
                }
                Output::Probe => {
                    let bytes = self.disk.free_bytes();
                    self.writer.handle(now, Input::Free { bytes });
                }
                Output::Event(event) => return Some(event),
                Output::Took(_) | Output::Spare(_) | Output::Closed => {}
                Output::Wrote(wrote) => self.wrote.push_back(wrote),
                Output::Retired(token) => self.retired.push(token),
            }
        }
        None
    }

    /// Writes down that segments were retired.
    pub fn retire(&mut self, now: Now, token: Token, retired: Retired) {
        self.writer.handle(now, Input::Retire(token, retired));
    }

    /// Goes on in another segment than this.
    pub fn leave(&mut self, now: Now, segment: u32) {
        self.writer.handle(now, Input::Leave(segment));
    }

    /// What of that is durable since the last question.
    pub fn retired(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.retired)
    }

    /// The next commit that is durable, before its events are polled.
    pub fn wrote(&mut self) -> Option<Arc<Wrote>> {
        self.wrote.pop_front()
    }

    /// There is one.
    pub fn has_wrote(&self) -> bool {
        !self.wrote.is_empty()
    }

    /// What is durable.
    pub fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// The segment that is written to, and how much of it is used.
    pub fn position(&self) -> (u32, u64) {
        self.writer.position()
    }

    /// When to poll again even if nothing was handed in.
    pub fn deadline(&self) -> Time {
        self.writer.deadline()
    }

    /// Something is being written.
    pub fn is_writing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// The write in flight is done, or fails as the disk says.
    pub fn complete_write(&mut self, now: Now) {
        let Some(batch) = self.in_flight.take() else {
            return;
        };
        let result = match self.disk.fault {
            Some(fault) => Err(fault),
            None => {
                self.disk.put(&batch, || true);
                Ok(())
            }
        };
        self.writer.handle(now, Input::Written(batch, result));
    }

    /// The write in flight fails for good. Some of it may have reached the disk all the same.
    pub fn fail_write(&mut self, now: Now, rng: &mut impl Rng) {
        if let Some(batch) = self.in_flight.take() {
            let percent = [0, 50, 100][rng.random_range(0..3)];
            self.disk.put(&batch, || rng.random_range(0..100) < percent);
            let failed = Err(WriteFault::Failed);
            self.writer.handle(now, Input::Written(batch, failed));
        }
    }

    /// A write failed; nothing is taken any more.
    pub fn is_poisoned(&self) -> bool {
        self.writer.is_poisoned()
    }

    /// The disk, to bend it.
    pub fn disk_mut(&mut self) -> &mut SimDisk {
        &mut self.disk
    }

    /// Sounds can begin.
    pub fn can_record(&self) -> bool {
        self.writer.can_record()
    }

    /// The power goes. Of the write in flight some sectors, all or none have reached the disk.
    pub fn crash(mut self, rng: &mut impl Rng) -> SimDisk {
        if let Some(batch) = self.in_flight.take() {
            // All alike is likely, and hides what mixtures show: take each a third of the time.
            let percent = [0, 50, 90, 100][rng.random_range(0..4)];
            self.disk.put(&batch, || rng.random_range(0..100) < percent);
        }
        self.disk
    }
}

impl SimOpened {
    /// Runs until the epoch and the seals are durable.
    fn settled(mut self, now: Now) -> SimOpened {
        loop {
            while let Some(event) = self.log.poll(now) {
                if let LogEvent::Committed { record, .. } = event {
                    self.view.apply(&record);
                }
            }
            if !self.log.is_writing() {
                return self;
            }
            self.log.complete_write(now);
        }
    }
}
