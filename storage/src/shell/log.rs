//! The handle others hold: appends in, sound and figures out, and the end of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::queue::Sender;
use super::reader::SoundReader;
use super::thread::{Clocks, Command, Figures};
use crate::block::ChunkBlock;
use crate::cipher::Keyring;
use crate::compaction::CompactionStats;
use crate::histogram::Distribution;
use crate::retired::Retired;
use crate::seam::{Append, Stamp, Token};

/// Appends that wait in the queue; whoever comes then gets theirs back.
pub const QUEUE_MAX: usize = 16 * 1024;

/// How long closing waits for a place in a full queue at a time.
const FULL_QUEUE: Duration = Duration::from_millis(1);

/// A handle to the log, for any thread.
#[derive(Clone, Debug)]
pub struct Log(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    commands: Sender<Command>,
    is_closed: AtomicBool,
    queue_refused: AtomicU64,
    figures: Arc<Figures>,
    clocks: Clocks,
    reader: SoundReader,
    keyring: Keyring,
    dir: PathBuf,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Figures for status and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Writes that became durable.
    pub commits: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// The last durable record.
    pub durable: Option<Stamp>,
    /// Appends that wait in the queue.
    pub queue_len: usize,
    /// Appends given back because the queue was full.
    pub queue_refused: u64,
    /// Appends answered with a refusal.
    pub refused: u64,
    /// From `submit` to durable: half of all took at most this.
    pub commit_p50: Duration,
    /// 99 of 100 took at most this.
    pub commit_p99: Duration,
    /// Sounds can begin.
    pub can_record: bool,
    /// A write failed; the log takes nothing until the node is restarted.
    pub is_poisoned: bool,
    /// Segments there are, the prepared one included.
    pub segments: usize,
    /// Compaction's.
    pub compaction: CompactionStats,
}

impl Log {
    pub(super) fn new(
        dir: PathBuf,
        keyring: Keyring,
        commands: Sender<Command>,
        figures: Arc<Figures>,
        clocks: Clocks,
        thread: JoinHandle<()>,
    ) -> Log {
        Log(Arc::new(Handle {
            commands,
            is_closed: AtomicBool::new(false),
            queue_refused: AtomicU64::new(0),
            figures,
            clocks,
            reader: SoundReader::new(dir.clone()).with_keyring(keyring.clone()),
            keyring,
            dir,
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Hands something to the log; a [`crate::seam::LogEvent`] with this token follows. `Err` gives it back:
    /// the queue is full, or the log closed. A chunk is encrypted on the way if the log has a key.
    pub fn submit(&self, token: Token, append: Append) -> Result<(), Append> {
        if self.0.is_closed.load(Ordering::Acquire) {
            return Err(append);
        }
        let append = self.encrypted(append);
        let command = Command::Append(token, append, self.0.clocks.mono());
        let back = match self.0.commands.try_send(command) {
            Ok(()) => return Ok(()),
            Err(back) => back,
        };
        self.0.queue_refused.fetch_add(1, Ordering::Relaxed);
        match back {
            Command::Append(_, append, _) => Err(self.taken_back(append)),
            Command::Retire(..) | Command::Leave(_) | Command::Close => {
                unreachable!("an append was sent")
            }
        }
    }

    fn encrypted(&self, append: Append) -> Append {
        match append {
            Append::Chunk {
                id,
                index,
                mut block,
            } => {
                let index = self.0.keyring.encrypt(id, index, &mut block);
                Append::Chunk { id, index, block }
            }
            other => other,
        }
    }

    /// As it was before [`Log::encrypted`].
    fn taken_back(&self, append: Append) -> Append {
        match append {
            Append::Chunk {
                id,
                index,
                mut block,
            } => {
                let index = self.0.keyring.take_back(id, index, &mut block);
                Append::Chunk { id, index, block }
            }
            other => other,
        }
    }

    /// The encryption keys it writes and reads with.
    pub fn keyring(&self) -> &Keyring {
        &self.0.keyring
    }

    /// Hands in which segments were retired, for compaction. `false`: the queue is full.
    pub(super) fn retire(&self, token: Token, retired: &Retired) -> bool {
        let command = Command::Retire(token, retired.clone());
        self.0.commands.try_send(command).is_ok()
    }

    /// Goes on in another segment than this; compaction asks again if the queue is full.
    pub(super) fn leave(&self, segment: u32) {
        let _ = self.0.commands.try_send(Command::Leave(segment));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::Acquire)
    }

    pub(super) fn clocks(&self) -> &Clocks {
        &self.0.clocks
    }

    pub(super) fn dir(&self) -> &Path {
        &self.0.dir
    }

    pub(super) fn reader_ref(&self) -> &SoundReader {
        &self.0.reader
    }

    /// The segment that is written to, and how much of it is used.
    pub(super) fn position(&self) -> (u32, u64) {
        let position = &self.0.figures.position;
        *position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn show_compaction(&self, stats: CompactionStats) {
        let compaction = &self.0.figures.compaction;
        *compaction.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    /// Looks how many segments there are.
    pub(super) fn count_segments(&self) {
        self.0.figures.count_segments(&self.0.dir);
    }

    /// Sounds can begin: the disk has room.
    pub fn can_record(&self) -> bool {
        self.0.figures.can_record.load(Ordering::Relaxed)
    }

    /// An empty chunk, from memory that was used before if there is some.
    pub fn chunk(&self) -> ChunkBlock {
        self.spare_chunk().unwrap_or_default()
    }

    /// A chunk that the log is done with, if there is one.
    pub(super) fn spare_chunk(&self) -> Option<ChunkBlock> {
        self.0.figures.spare_chunks.take()
    }

    /// To read sound back.
    pub fn reader(&self) -> SoundReader {
        self.0.reader.clone()
    }

    /// Figures so far.
    pub fn stats(&self) -> LogStats {
        let figures = &self.0.figures;
        let writer = *figures
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        LogStats {
            commits: writer.commits,
            records: writer.records,
            bytes: writer.bytes,
            durable: writer.durable,
            queue_len: self.0.commands.len(),
            queue_refused: self.0.queue_refused.load(Ordering::Relaxed),
            refused: writer.refused,
            commit_p50: figures.latency.percentile(50),
            commit_p99: figures.latency.percentile(99),
            can_record: figures.can_record.load(Ordering::Relaxed),
            is_poisoned: figures.is_poisoned.load(Ordering::Relaxed),
            segments: figures.segments.load(Ordering::Relaxed),
            compaction: *figures
                .compaction
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// How long it took from `submit` to durable, of all since the log was opened.
    pub fn commit_times(&self) -> Distribution {
        self.0.figures.latency.distribution()
    }

    /// Finishes what was submitted and ends the log thread. Not from the events closure.
    pub fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        let mut thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // If it is gone already there is nothing left to finish.
            while self.0.commands.try_send(Command::Close).is_err() && !thread.is_finished() {
                std::thread::sleep(FULL_QUEUE);
            }
            let _ = thread.join();
        }
    }
}
