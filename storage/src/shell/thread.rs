//! The log thread: carries things between the queue, the writer and the disk.
//!
//! It goes before others at the processor and at the disk: what a caller says is safe only once it is
//! written, and a build or a backup beside it must not take that second away.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::Receiver;

use super::files::{self, Disk};
use super::handover::{Handover, SpareChunks, handover};
use super::open::Tap;
use super::queue::{self, Bell};
use super::sys;
use crate::batch::{Segment, Wrote};
use crate::compaction::CompactionStats;
use crate::histogram::Histogram;
use crate::retired::Retired;
use crate::seam::{Append, ChunkPlace, LogEvent, Owner, Payload, Refusal, Token};
use crate::time::{Now, Time, WallTime};
use crate::writer::{Input, Output, Writer, WriterStats};

/// Commits that were handed on are kept until so many blocks came after them: 16 MiB. Longer than the
/// link needs them, so that their memory mostly comes back.
const RECENT_BLOCKS_MAX: usize = 4096;

/// An answer to what compaction asked the log for.
pub(super) type CompactionAnswer = (Token, Result<Option<ChunkPlace>, Refusal>);

/// What goes through the log's queue.
#[derive(Debug)]
pub(super) enum Command {
    Append(Token, Append, Time),
    Retire(Token, Retired),
    Leave(u32),
    Close,
}

/// What the log thread shows to others.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) can_record: AtomicBool,
    pub(super) is_poisoned: AtomicBool,
    pub(super) writer: Mutex<WriterStats>,
    pub(super) latency: Histogram,
    pub(super) segments: AtomicUsize,
    /// The segment that is written to, and how much of it is used.
    pub(super) position: Mutex<(u32, u64)>,
    pub(super) compaction: Mutex<CompactionStats>,
    pub(super) spare_chunks: SpareChunks,
}

impl Figures {
    pub(super) fn new(segments: usize) -> Figures {
        Figures {
            can_record: AtomicBool::new(true),
            is_poisoned: AtomicBool::new(false),
            writer: Mutex::default(),
            latency: Histogram::new(),
            segments: AtomicUsize::new(segments),
            position: Mutex::default(),
            compaction: Mutex::default(),
            spare_chunks: SpareChunks::default(),
        }
    }
}

impl Figures {
    /// Looks how many segments there are in the log's folder.
    pub(super) fn count_segments(&self, dir: &Path) {
        if let Ok(segments) = files::segments(dir) {
            self.segments.store(segments.len(), Ordering::Relaxed);
        }
    }
}

/// The machine's clocks, as the cores want them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks(Instant);

impl Clocks {
    pub(super) fn start() -> Clocks {
        Clocks(Instant::now())
    }

    pub(super) fn mono(&self) -> Time {
        Time(0) + self.0.elapsed()
    }

    pub(super) fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Now {
            mono: self.mono(),
            wall: WallTime(wall.as_millis() as u64),
        }
    }
}

/// What the log thread holds.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) writer: Writer,
    pub(super) disk: Disk,
    pub(super) clocks: Clocks,
    /// Rung by both queues.
    pub(super) bell: Bell,
    pub(super) commands: queue::Receiver<Command>,
    pub(super) preparer: Preparer,
    pub(super) prepared: queue::Receiver<Option<Segment>>,
    pub(super) tap: Option<Tap>,
    pub(super) recent: VecDeque<Arc<Wrote>>,
    /// Answers to compaction.
    pub(super) compaction: Handover<CompactionAnswer>,
    pub(super) figures: Arc<Figures>,
}

impl Worker {
    /// Until the log is closed, or everybody who could append is gone.
    pub(super) fn run(mut self, mut events: impl FnMut(LogEvent)) {
        self.bell.listen();
        let mut rest = match sys::take_precedence() {
            Ok(()) => Some(sys::Rest::new()),
            Err(e) => {
                tracing::info!(
                    "the log gets no precedence at processor and disk ({e}); on a busy machine it needs CAP_SYS_NICE"
                );
                None
            }
        };
        if !self.writer.can_record() {
            // Found out while the log was opened, when nobody listened yet.
            events(LogEvent::Room { can_record: false });
        }
        while self.turn(&mut events) {
            self.take_inputs();
            if let Some(rest) = &mut rest {
                rest.take_if_due();
            }
        }
        // Whoever was quicker than the closing gets an answer, too.
        while let Some(Command::Append(token, append, since)) = self.commands.try_recv() {
            self.writer
                .handle(self.clocks.now(), Input::Append(token, append, since));
        }
        self.turn(&mut events);
    }

    /// Does all that the writer asks for. False: it is closed.
    pub(super) fn turn(&mut self, events: &mut impl FnMut(LogEvent)) -> bool {
        let mut is_open = true;
        while let Some(output) = self.writer.poll() {
            match output {
                Output::Write(batch) => {
                    let result = self.disk.write(&batch);
                    self.writer
                        .handle(self.clocks.now(), Input::Written(batch, result));
                    self.publish();
                }
                Output::Prepare(number) => {
                    // One at a time is asked for.
                    self.preparer.ask_for(number);
                }
                Output::Probe => {
                    let bytes = self.disk.free_bytes();
                    self.writer.handle(self.clocks.now(), Input::Free { bytes });
                }
                Output::Event(event) => {
                    // Others may ask before the event reaches them.
                    self.publish();
                    if let Some(event) = self.answer_compaction(event) {
                        events(event);
                    }
                }
                Output::Took(took) => self.figures.latency.count(took),
                Output::Spare(chunk) => self.figures.spare_chunks.give(chunk),
                Output::Retired(token) => self.tell_compaction(token, Ok(None)),
                Output::Wrote(wrote) => self.hand_on(wrote),
                Output::Closed => is_open = false,
            }
        }
        is_open
    }

    /// What compaction asked for is answered to it; what it moved is told to others as well.
    fn answer_compaction(&self, event: LogEvent) -> Option<LogEvent> {
        match &event {
            LogEvent::Committed { token, record } if token.owner == Owner::Compaction => {
                let place = match &record.what {
                    Payload::Chunk { place, .. } => Some(*place),
                    _ => None,
                };
                self.tell_compaction(*token, Ok(place));
            }
            LogEvent::Refused { token, why } if token.owner == Owner::Compaction => {
                self.tell_compaction(*token, Err(*why));
                return None;
            }
            _ => {}
        }
        Some(event)
    }

    fn tell_compaction(&self, token: Token, result: Result<Option<ChunkPlace>, Refusal>) {
        // It has a few appends under way at most.
        self.compaction.put((token, result));
    }

    fn hand_on(&mut self, wrote: Arc<Wrote>) {
        if let Some(tap) = &self.tap {
            tap.wrote(wrote.clone());
        }
        self.recent.push_back(wrote);
        let blocks = |wrote: &Arc<Wrote>| wrote.batch.blocks.len();
        let mut kept: usize = self.recent.iter().map(blocks).sum();
        while kept > RECENT_BLOCKS_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            kept -= blocks(&oldest);
            if let Some(oldest) = Arc::into_inner(oldest) {
                self.writer.recycle(oldest);
            }
        }
    }

    /// Hands in an append that did not come through the queue.
    pub(super) fn append(&mut self, token: Token, append: Append) {
        let now = self.clocks.now();
        self.writer
            .handle(now, Input::Append(token, append, now.mono));
    }

    /// Waits for something to come or the deadline, and takes all there is for the next commit.
    pub(super) fn take_inputs(&mut self) {
        if !self.take_all() {
            self.wait();
        }
        // Appends come in bursts: from many callers told of the same commit, or from a media
        // worker that looks around once a millisecond. As long as each look finds another one,
        // the commit is better started with it than without.
        while self.writer.wants_more() {
            std::thread::yield_now();
            if !self.take_all() {
                break;
            }
        }
        let now = self.clocks.now();
        if self.writer.deadline() <= now.mono {
            self.writer.handle(now, Input::Tick);
        }
    }

    fn take_all(&mut self) -> bool {
        let mut took_any = false;
        while self.writer.wants_more()
            && let Some(command) = self.commands.try_recv()
        {
            self.take(command);
            took_any = true;
        }
        while let Some(prepared) = self.prepared.try_recv() {
            self.take_prepared(prepared);
            took_any = true;
        }
        took_any
    }

    fn wait(&mut self) {
        loop {
            let is_abandoned = self.commands.is_abandoned();
            if self.take_all() {
                return;
            }
            if is_abandoned {
                // Everybody who could append is gone.
                return self.take(Command::Close);
            }
            let left = self.writer.deadline().since(self.clocks.mono());
            if left.is_zero() {
                return;
            }
            self.bell.sleep(left);
        }
    }

    fn take(&mut self, command: Command) {
        let input = match command {
            Command::Append(token, append, since) => Input::Append(token, append, since),
            Command::Retire(token, retired) => Input::Retire(token, retired),
            Command::Leave(segment) => Input::Leave(segment),
            Command::Close => Input::Close,
        };
        self.writer.handle(self.clocks.now(), input);
    }

    fn take_prepared(&mut self, prepared: Option<Segment>) {
        let input = prepared.map_or(Input::NotPrepared, Input::Prepared);
        self.writer.handle(self.clocks.now(), input);
    }

    fn publish(&self) {
        let figures = &self.figures;
        figures
            .can_record
            .store(self.writer.can_record(), Ordering::Relaxed);
        figures
            .is_poisoned
            .store(self.writer.is_poisoned(), Ordering::Relaxed);
        if let Ok(mut stats) = figures.writer.lock() {
            *stats = self.writer.stats();
        }
        if let Ok(mut position) = figures.position.lock() {
            *position = self.writer.position();
        }
    }
}

/// The thread that prepares segments. Dropping this waits for its end, so that nothing is written into the
/// log's folder any more once the log's lock is given back.
#[derive(Debug)]
pub(super) struct Preparer {
    wanted: Option<Handover<u32>>,
    thread: Option<JoinHandle<()>>,
}

impl Preparer {
    pub(super) fn start(
        dir: PathBuf,
        bytes: u64,
        done: queue::Sender<Option<Segment>>,
        figures: Arc<Figures>,
    ) -> io::Result<Preparer> {
        let (wanted, asked) = handover();
        let thread = std::thread::Builder::new()
            .name("log-prepare".into())
            .spawn(move || prepare_segments(dir, bytes, asked, done, &figures))?;
        Ok(Preparer {
            wanted: Some(wanted),
            thread: Some(thread),
        })
    }

    fn ask_for(&self, number: u32) {
        if let Some(wanted) = &self.wanted {
            wanted.put(number);
        }
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(thread) = self.thread.take() {
            // It ends with what it is at; should it have panicked, there is nothing to wait for.
            let _ = thread.join();
        }
    }
}

/// Prepares segments, until nobody asks any more.
fn prepare_segments(
    dir: PathBuf,
    bytes: u64,
    wanted: Receiver<u32>,
    done: queue::Sender<Option<Segment>>,
    figures: &Figures,
) {
    // The log thread may have to wait for a segment, so this one goes as it does. What it may not, that
    // one has told of.
    let _ = sys::go_before_others();
    for number in wanted {
        let made = files::prepare(&dir, number, bytes);
        if let Err(e) = &made {
            tracing::warn!(number, "cannot prepare the next log segment: {e}");
        }
        figures.count_segments(&dir);
        // One at a time is asked for, and there is a place for it.
        if done.try_send(made.ok()).is_err() {
            return;
        }
    }
}
