//! The thread that carries out what compaction asks for.
//!
//! It reads segments, hands appends to the log's queue like anybody else, and removes the files of
//! retired segments. It renames a file first, so that a segment is either there and whole or not
//! there. Then it writes zeros over what the file held. Questions to the view go to whoever holds it.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender};
use crossbeam::select;

use super::files;
use super::log::Log;
use super::thread::CompactionAnswer;
use crate::compaction::ask::{Ask, Question};
use crate::compaction::{
    CompactionConfig, Compactor, Input, NEXT_BYTES, Output, PIECE_BYTES, SegmentStanding, Standing,
};
use crate::name::Id;
use crate::retired::Retired;
use crate::segment;

/// What compaction of an opened log begins with; for [`Log::compact`].
#[derive(Debug)]
pub struct CompactionStart {
    pub(super) answers: Receiver<CompactionAnswer>,
    pub(super) retired: Retired,
    pub(super) left_over: Vec<u32>,
    pub(super) segment_bytes: u64,
    /// Segments in which damage was found at start.
    pub(super) damaged: BTreeSet<u32>,
}

/// Who helps compaction. Called on the thread of compaction, which may wait.
pub trait CompactionHelp: Send + 'static {
    /// Puts a question to the view; `None`: nobody is there any more to answer.
    fn ask(&mut self, question: Question) -> Option<Input>;
    /// The other nodes were asked for what was damaged at start, and all they have has come. A node
    /// alone never says so: its damage is left for whoever can still read something out of it.
    fn has_mended(&mut self) -> bool;
    /// This piece of a sound cannot be read here: another node may have it.
    fn missing(&mut self, sound: Id, index: u32);
}

/// Compaction at work, until it is stopped.
#[derive(Debug)]
pub struct Compaction {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Compaction {
    /// Ends it. The next start begins anew what was not finished.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// How long to wait while the log's queue is full.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(20);
/// The pause between two pieces of zeros.
const WIPE_PAUSE: Duration = Duration::from_millis(20);

impl Log {
    /// Starts the compaction of this log.
    pub fn compact(
        &self,
        config: CompactionConfig,
        start: CompactionStart,
        help: impl CompactionHelp,
    ) -> io::Result<Compaction> {
        let (stop, stopped) = channel::bounded(1);
        let log = self.clone();
        let compactor = Compactor::new(config, start.retired.clone(), log.clocks().now());
        let worker = Worker {
            dir: log.dir().to_owned(),
            log,
            compactor,
            config,
            start,
            stopped,
            help,
            reading: None,
        };
        let thread = std::thread::Builder::new()
            .name("log-compact".into())
            .spawn(move || worker.run())?;
        Ok(Compaction { stop, thread })
    }
}

struct Worker<H> {
    dir: PathBuf,
    log: Log,
    compactor: Compactor,
    config: CompactionConfig,
    start: CompactionStart,
    stopped: Receiver<()>,
    help: H,
    /// The file of the segment that is read.
    reading: Option<(u32, File)>,
}

/// Compaction was told to stop, or nobody answers any more.
struct Stop;

impl<H: CompactionHelp> Worker<H> {
    fn run(mut self) {
        for segment in std::mem::take(&mut self.start.left_over) {
            self.remove(segment);
        }
        for path in wiped_half(&self.dir) {
            wipe(&path);
        }
        while self.turn().is_ok() && self.wait().is_ok() {}
    }

    fn turn(&mut self) -> Result<(), Stop> {
        let now = self.log.clocks().now();
        if !self.start.damaged.is_empty() && self.help.has_mended() {
            let damaged = std::mem::take(&mut self.start.damaged);
            self.compactor.handle(now, Input::Damaged(damaged));
        }
        self.compactor.handle(now, Input::Tick);
        while let Some(output) = self.compactor.poll() {
            if let Some(input) = self.carry(output)? {
                let now = self.log.clocks().now();
                self.compactor.handle(now, input);
            }
            if !matches!(self.stopped.try_recv(), Err(channel::TryRecvError::Empty)) {
                return Err(Stop);
            }
        }
        self.log.show_compaction(self.compactor.stats());
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Stop> {
        let now = self.log.clocks().mono();
        let left = match self.compactor.deadline() {
            Some(at) => at.since(now).min(self.config.look_every),
            None => self.config.look_every,
        };
        select! {
            recv(self.start.answers) -> answer => {
                let (token, result) = answer.map_err(|_| Stop)?;
                let now = self.log.clocks().now();
                self.compactor.handle(now, Input::Answered(token, result));
            }
            recv(self.stopped) -> _ => return Err(Stop),
            default(left) => {}
        }
        Ok(())
    }

    fn carry(&mut self, output: Output) -> Result<Option<Input>, Stop> {
        let input = match output {
            Output::LookAround => {
                let standing = self.standing().unwrap_or_default();
                self.ask(Ask::Standing(standing))?
            }
            Output::AskLive(records) => self.ask(Ask::Live(records))?,
            Output::AskLying(segment) => self.ask(Ask::Lying(segment))?,
            Output::Read { segment, offset } => match self.read(segment, offset) {
                Ok(bytes) => Input::Piece(bytes),
                Err(e) => not_read(segment, &e),
            },
            Output::ReadNext(segment) => match self.read_next(segment) {
                Ok(bytes) => Input::Next(bytes),
                Err(e) => not_read(segment, &e),
            },
            Output::Append(token, append) => {
                let mut append = append;
                while let Err(back) = self.log.submit(token, append) {
                    append = back;
                    self.pause()?;
                }
                return Ok(None);
            }
            Output::Retire(token, retired) => {
                while !self.log.retire(token, &retired) {
                    self.pause()?;
                }
                return Ok(None);
            }
            Output::Leave(segment) => {
                self.log.leave(segment);
                return Ok(None);
            }
            Output::Moved { from, to } => {
                let now = self.log.clocks().mono();
                self.log.reader_ref().moved(now, &from, &to);
                return Ok(None);
            }
            Output::Remove(segment) => {
                self.remove(segment);
                Input::Removed
            }
            Output::Bad(damage) => {
                tracing::error!(%damage, "the log is damaged here");
                return Ok(None);
            }
            Output::Missing { sound, index } => {
                tracing::error!(%sound, index, "half a second of a sound cannot be read");
                self.help.missing(sound, index);
                return Ok(None);
            }
        };
        Ok(Some(input))
    }

    fn ask(&mut self, ask: Ask) -> Result<Input, Stop> {
        let entries_for = self.config.entries_for;
        self.help.ask(Question { ask, entries_for }).ok_or(Stop)
    }

    /// Waits a little for the log's queue.
    fn pause(&self) -> Result<(), Stop> {
        match self.stopped.recv_timeout(QUEUE_FULL_WAIT) {
            Err(RecvTimeoutError::Timeout) if !self.log.is_closed() => Ok(()),
            _ => Err(Stop),
        }
    }

    fn standing(&self) -> io::Result<Standing> {
        let (writing, writing_used) = self.log.position();
        let mut segments = Vec::new();
        for number in files::segments(&self.dir)? {
            if number < writing {
                let path = self.dir.join(segment::file_name(number));
                segments.push(SegmentStanding {
                    number,
                    bytes: std::fs::metadata(path)?.len(),
                    live: 0,
                    hides_since: None,
                });
            }
        }
        Ok(Standing {
            segments,
            writing,
            writing_used,
            writing_live: 0,
            writing_hides_since: None,
            segment_bytes: self.start.segment_bytes,
        })
    }

    fn read(&mut self, segment: u32, offset: u64) -> io::Result<Vec<u8>> {
        if !matches!(self.reading, Some((open, _)) if open == segment) {
            let path = self.dir.join(segment::file_name(segment));
            self.reading = Some((segment, File::open(path)?));
        }
        let (_, file) = self.reading.as_ref().ok_or(io::ErrorKind::NotFound)?;
        files::read_piece(file, offset, PIECE_BYTES)
    }

    fn read_next(&mut self, segment: u32) -> io::Result<Vec<u8>> {
        self.reading = None;
        let there = files::segments(&self.dir)?;
        let Some(next) = there.into_iter().find(|number| *number > segment) else {
            return Ok(Vec::new());
        };
        let path = self.dir.join(segment::file_name(next));
        files::read_piece(&File::open(path)?, 0, NEXT_BYTES)
    }

    fn remove(&mut self, segment: u32) {
        self.reading = None;
        let path = self.dir.join(segment::file_name(segment));
        let retired = path.with_extension(RETIRED_EXTENSION);
        // A file that keeps its name is found and retired again.
        if let Err(e) = std::fs::rename(&path, &retired) {
            return tracing::warn!(segment, "cannot remove a log segment: {e}");
        }
        self.log.reader_ref().forget(segment);
        wipe(&retired);
        self.log.count_segments();
    }
}

fn not_read(segment: u32, error: &io::Error) -> Input {
    tracing::warn!(segment, "cannot read a log segment: {error}");
    Input::NotRead
}

/// Files that are being removed have this extension. Logs on disk have it, so it cannot change.
const RETIRED_EXTENSION: &str = "given-up";

/// Files whose removal a stop cut short.
fn wiped_half(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e == RETIRED_EXTENSION))
        .collect()
}

/// Writes zeros over a file and removes it.
fn wipe(path: &Path) {
    let wiped = || -> io::Result<()> {
        write_zeros(&OpenOptions::new().write(true).open(path)?)?;
        std::fs::remove_file(path)
    };
    if let Err(e) = wiped() {
        tracing::warn!(file = %path.display(), "cannot wipe a retired log segment: {e}");
    }
}

/// Writes zeros over all of a file, in pieces, so that the disk has time for others.
pub(super) fn write_zeros(file: &File) -> io::Result<()> {
    let zeros = vec![0; PIECE_BYTES as usize];
    let (mut at, end) = (0, file.metadata()?.len());
    while at < end {
        let piece = zeros.len().min((end - at) as usize);
        file.write_all_at(&zeros[..piece], at)?;
        file.sync_data()?;
        at += piece as u64;
        std::thread::sleep(WIPE_PAUSE);
    }
    Ok(())
}
