//! Opening a log: lock, read, open a new epoch, seal what was cut short, start the log thread.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::channel::Receiver;

use super::compaction::CompactionStart;
use super::files::{self, Disk, Lock};
use super::handover::{Handover, handover};
use super::inspect::{self, LoadError, LoadedLog};
use super::log::{Log, QUEUE_MAX};
use super::queue::{self, Bell};
use super::snapshot::{Plan, Snapshots};
use super::thread::{Clocks, Command, CompactionAnswer, Figures, Preparer, Worker};
use crate::batch::{Segment, Wrote};
use crate::cipher::Keyring;
use crate::link::{LinkInput, LogFound};
use crate::name::{Ids, NodeName};
use crate::reading::{self, Loaded};
use crate::record::EPOCH_MAX;
use crate::recovery::{Damage, Ending, NotOurs};
use crate::seam::{LogEvent, Token};
use crate::segment::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::view::View;
use crate::writer::{Writer, WriterConfig};

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Its folder.
    pub dir: PathBuf,
    /// Whose log it is.
    pub node: NodeName,
    /// Length of new segments; brought into the range segments can have.
    pub segment_bytes: u64,
    /// New sound is refused when the file system has less than this free.
    pub reserve_bytes: u64,
    /// Each commit is put in here once it is durable, from the first of the epoch. The log waits
    /// for nobody: what finds no room is left out.
    pub tap: Option<Tap>,
    /// The epoch opened is not below this. A node of a cluster says the time, so that a log begun
    /// anew on an empty disk never opens an epoch that the one before had.
    pub epoch_min: u32,
    /// What sound is encrypted and read with.
    pub keyring: Keyring,
    /// The log grows by so much from one snapshot to the next, in whole segments.
    pub snapshot_every_bytes: u64,
    /// A snapshot that names sounds which were destroyed since is replaced after this.
    pub snapshot_forgets_after: Duration,
}

impl LogConfig {
    /// Segments of 32 MiB, a reserve of 64 MiB, a snapshot every 256 MiB: so much is read in a
    /// fraction of a second. It forgets within an hour what was destroyed.
    pub fn new(dir: impl Into<PathBuf>, node: NodeName) -> LogConfig {
        LogConfig {
            dir: dir.into(),
            node,
            segment_bytes: 32 << 20,
            reserve_bytes: 64 << 20,
            tap: None,
            epoch_min: 1,
            keyring: Keyring::default(),
            snapshot_every_bytes: 256 << 20,
            snapshot_forgets_after: Duration::from_secs(3600),
        }
    }
}

/// Where commits are handed on to, and what became of the link's own appends, in their order.
#[derive(Clone, Debug)]
pub struct Tap(Arc<TapEnds>);

#[derive(Debug)]
struct TapEnds {
    link: Handover<LinkInput>,
    missed: AtomicU64,
}

/// Commits that may wait for the link; what finds no room it reads from the disk.
const TAP_MAX: usize = 4096;

impl Tap {
    /// A tap, and where it leads.
    pub(super) fn new() -> (Tap, Receiver<LinkInput>) {
        let (link, inputs) = handover();
        let missed = AtomicU64::new(0);
        (Tap(Arc::new(TapEnds { link, missed })), inputs)
    }

    /// From the log thread: this is durable now. What finds no room is left out.
    pub(super) fn wrote(&self, wrote: Arc<Wrote>) {
        if !self.0.link.put_within(TAP_MAX, LinkInput::Wrote(wrote)) {
            self.0.missed.fetch_add(1, Ordering::Release);
        }
    }

    /// From the log thread: what became of an append of the link, which has only so many under way.
    pub(super) fn answer(&self, input: LinkInput) {
        self.0.link.put(input);
    }

    /// How many commits were left out.
    pub(super) fn missed(&self) -> u64 {
        self.0.missed.load(Ordering::Acquire)
    }
}

/// A log that is open, and what it said.
#[derive(Debug)]
pub struct Opened {
    /// To append to it.
    pub log: Log,
    /// Everything in it, the seals of sounds that were cut short included.
    pub view: View,
    /// Names for this epoch.
    pub ids: Ids,
    /// What was found.
    pub report: RecoveryReport,
    /// For [`Log::compact`].
    pub compaction: CompactionStart,
    /// For the link.
    pub found: LogFound,
    /// To be called now and then by whoever holds the view.
    pub snapshots: Snapshots,
}

/// What was found when the log was opened.
#[derive(Clone, Debug)]
pub struct RecoveryReport {
    /// The epoch that was opened.
    pub epoch: u32,
    /// Segments there are.
    pub segments: usize,
    /// The first of them that was read, what lies before is known from a snapshot; 0: all were.
    pub read_from: u32,
    /// Counts of what was read.
    pub ending: Ending,
    /// What is damaged; at most [`crate::reading::DAMAGES_LISTED_MAX`].
    pub damages: Vec<Damage>,
    /// Sounds that were being spoken when the node died, sealed now.
    pub cut_short: usize,
    /// Writes go past the page cache.
    pub is_direct: bool,
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("data directory {} is in use by another tandem (pid {pid}); stop that one, or use another directory", dir.display())]
    InUse {
        /// The log's folder.
        dir: PathBuf,
        /// Who has it.
        pid: u32,
    },
    /// It is another node's.
    #[error("data directory {} is the log of node {theirs}, not of {ours}; correct [node] name, or use another directory", dir.display())]
    Foreign {
        /// The log's folder.
        dir: PathBuf,
        /// Whose it is.
        theirs: NodeName,
        /// Who wanted it.
        ours: NodeName,
    },
    /// It was written by a newer version.
    #[error("data directory {} was written by a newer tandem (log format {version}); install that one again", dir.display())]
    Newer {
        /// The log's folder.
        dir: PathBuf,
        /// Its format.
        version: u32,
    },
    /// There is no room to start with.
    #[error("the disk of data directory {} is full; free at least {wanted_bytes} bytes", dir.display())]
    Full {
        /// The log's folder.
        dir: PathBuf,
        /// How much is wanted.
        wanted_bytes: u64,
    },
    /// The operating system refused.
    #[error("data directory {}: {doing}: {source}", dir.display())]
    Os {
        /// The log's folder.
        dir: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// Opens the log in `config.dir`, a new one if there is none. `events` is called on the log
/// thread: `Committed` in log order, `Refused`, `Room`.
pub fn open(
    config: LogConfig,
    events: impl FnMut(LogEvent) + Send + 'static,
) -> Result<Opened, OpenError> {
    Opening::start(config)?.finish(events)
}

/// The steps of opening, and what they share.
struct Opening {
    config: LogConfig,
    lock: Lock,
}

impl Opening {
    fn start(mut config: LogConfig) -> Result<Opening, OpenError> {
        let range = (SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        config.segment_bytes = config.segment_bytes.clamp(range.0, range.1);
        files::create_dir(&config.dir).map_err(os(&config.dir, "making it"))?;
        match Lock::take(&config.dir) {
            Ok(lock) => Ok(Opening { config, lock }),
            Err(Ok(holder)) => Err(OpenError::InUse {
                dir: config.dir,
                pid: holder.pid,
            }),
            Err(Err(e)) => Err(os(&config.dir, "taking its lock")(e)),
        }
    }

    fn finish(
        mut self,
        events: impl FnMut(LogEvent) + Send + 'static,
    ) -> Result<Opened, OpenError> {
        let LoadedLog {
            mut view,
            loaded,
            from,
        } = inspect::load(&self.config.dir, self.config.node).map_err(|e| self.load_error(e))?;
        let epoch = loaded.ending.epoch.max(self.lock.before.epoch) + 1;
        let epoch = epoch.max(self.config.epoch_min).min(EPOCH_MAX);
        self.lock
            .sign(epoch)
            .map_err(os(&self.config.dir, "writing its lock"))?;
        let (compaction, answers) = handover();
        let (mut worker, commands) = self.worker(epoch, &loaded, compaction)?;
        let cut_short = self.seal_cut_short(&mut worker, &mut view)?;
        let report = RecoveryReport {
            epoch,
            segments: loaded.segments.len(),
            read_from: from,
            ending: loaded.ending,
            damages: loaded.damages,
            cut_short,
            is_direct: worker.disk.is_direct,
        };
        let compaction = CompactionStart {
            answers,
            retired: loaded.retired,
            left_over: loaded.left_over,
            segment_bytes: self.config.segment_bytes,
            damaged: report.damages.iter().map(|damage| damage.segment).collect(),
        };
        let snapshots = self.snapshots(&loaded.found, from);
        let dir = self.config.dir.clone();
        let ids = Ids::new(self.config.node, epoch);
        let log = self
            .spawn(worker, commands, events)
            .map_err(os(&dir, "starting a thread"))?;
        Ok(Opened {
            log,
            view,
            ids,
            report,
            compaction,
            found: loaded.found,
            snapshots,
        })
    }

    fn snapshots(&self, found: &LogFound, last: u32) -> Snapshots {
        let config = &self.config;
        let plan = Plan {
            dir: config.dir.clone(),
            node: config.node,
            epochs: found.epochs.clone(),
            segments_between: config
                .snapshot_every_bytes
                .div_ceil(config.segment_bytes)
                .max(1),
            forget_after: config.snapshot_forgets_after,
            reserve_bytes: config.reserve_bytes,
        };
        let snapshots = Snapshots::new(plan, last);
        if found.damages > 0 {
            return snapshots.off();
        }
        snapshots
    }

    fn worker(
        &self,
        epoch: u32,
        loaded: &Loaded,
        compaction: Handover<CompactionAnswer>,
    ) -> Result<(Worker, queue::Sender<Command>), OpenError> {
        let dir = &self.config.dir;
        let (segment, used_bytes) = self.segment_to_go_on_in(loaded)?;
        let clocks = Clocks::start();
        let writer = WriterConfig {
            node: self.config.node,
            epoch,
            before: loaded.ending.last,
            hlc: loaded.ending.hlc,
            segment,
            used_bytes,
            reserve_bytes: self.config.reserve_bytes,
            segment_bytes: self.config.segment_bytes,
            tap: self.config.tap.is_some(),
        };
        let bell = Bell::default();
        let (sender, commands) = queue::bounded(QUEUE_MAX, &bell);
        let (done, prepared) = queue::bounded(1, &bell);
        let figures = Arc::new(Figures::new(loaded.segments.len()));
        let bytes = self.config.segment_bytes;
        let preparer = Preparer::start(dir.clone(), bytes, done, figures.clone())
            .map_err(os(dir, "starting a thread"))?;
        let worker = Worker {
            writer: Writer::new(writer, clocks.now()),
            disk: Disk::new(dir).map_err(os(dir, "opening it"))?,
            clocks,
            bell,
            commands,
            preparer,
            prepared,
            tap: self.config.tap.clone(),
            recent: VecDeque::new(),
            compaction,
            figures,
        };
        Ok((worker, sender))
    }

    fn segment_to_go_on_in(&self, loaded: &Loaded) -> Result<(Segment, u64), OpenError> {
        let (number, used_bytes) = loaded.go_on_in();
        let there = loaded
            .segments
            .iter()
            .find(|segment| segment.number == number);
        if let Some(there) = there.filter(|_| used_bytes > 0) {
            // However short it may have become: what is in it counts.
            return Ok((
                Segment {
                    number,
                    bytes: there.bytes,
                },
                used_bytes,
            ));
        }
        let (dir, bytes) = (&self.config.dir, self.config.segment_bytes);
        let segment = files::prepare(dir, number, bytes).map_err(|e| match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => self.full(),
            _ => os(dir, "preparing a log segment")(e),
        })?;
        Ok((segment, 0))
    }

    /// Opens the epoch, and seals what was being spoken when the node died. Both are durable and
    /// in the view before anybody is told that the log is open.
    fn seal_cut_short(&self, worker: &mut Worker, view: &mut View) -> Result<usize, OpenError> {
        let mut appends = VecDeque::from(reading::cut_short(view, self.config.node));
        let count = appends.len();
        let (mut sealed, mut is_refused) = (0, false);
        loop {
            while worker.writer.wants_more()
                && let Some(append) = appends.pop_front()
            {
                worker.append(Token::call_control(0), append);
            }
            worker.turn(&mut |event| match event {
                LogEvent::Committed { record, .. } => {
                    view.apply(&record);
                    sealed += 1;
                }
                LogEvent::Refused { .. } => is_refused = true,
                LogEvent::Room { .. } => {}
            });
            let writer = &worker.writer;
            if sealed == count && writer.stats().durable.is_some() {
                return Ok(count);
            }
            if writer.is_poisoned() {
                let source = io::Error::other("a write failed; see the log lines above");
                return Err(os(&self.config.dir, "opening a new epoch")(source));
            }
            if is_refused || writer.is_idle() || writer.found_disk_full() {
                return Err(self.full());
            }
            worker.take_inputs();
        }
    }

    fn full(&self) -> OpenError {
        let wanted_bytes = self.config.segment_bytes;
        OpenError::Full {
            dir: self.config.dir.clone(),
            wanted_bytes,
        }
    }

    fn spawn(
        self,
        worker: Worker,
        commands: queue::Sender<Command>,
        events: impl FnMut(LogEvent) + Send + 'static,
    ) -> io::Result<Log> {
        let (figures, clocks) = (worker.figures.clone(), worker.clocks);
        let lock = self.lock;
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || {
                worker.run(events);
                drop(lock);
            })?;
        let keyring = self.config.keyring.clone();
        Ok(Log::new(
            self.config.dir,
            keyring,
            commands,
            figures,
            clocks,
            thread,
        ))
    }

    fn load_error(&self, error: LoadError) -> OpenError {
        let dir = self.config.dir.clone();
        match error {
            LoadError::NotOurs(NotOurs::Foreign { node, .. }) => OpenError::Foreign {
                dir,
                theirs: node,
                ours: self.config.node,
            },
            LoadError::NotOurs(NotOurs::Newer { version, .. }) => OpenError::Newer { dir, version },
            LoadError::Os(source) => os(&dir, "reading the log")(source),
        }
    }
}

fn os(dir: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    let dir = dir.to_owned();
    move |source| OpenError::Os { dir, doing, source }
}
