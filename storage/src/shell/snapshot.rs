//! Snapshots on the disk: when one is made, how it gets there, and whether the one that is there counts.
//!
//! Whoever holds the view calls [`Snapshots::turn`] now and then. Once the log has grown enough, each
//! turn encodes some rows, and a thread packs and writes them: neither waits for the other. The file is
//! written under another name and takes its own once it is durable.
//!
//! A snapshot still names what was destroyed after it was made: then a new one takes its place within a
//! set time, and zeros are written over the old one. On a disk that is nearly full none is written.
//!
//! A log that was found damaged gets no snapshot: each start looks at the damage again, until
//! compaction has removed it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, Sender, TrySendError};

use super::{compaction, files, sys};
use crate::name::NodeName;
use crate::retired::Retired;
use crate::segment;
use crate::snapshot::{self, Extent, FILE_BYTES_MAX, Frame, MAGIC, START_BYTES, Snapshot, Title};
use crate::view::View;
use crate::view::rows::{Part, Restoring, Walk};

const NAME: &str = "snapshot";
const NAME_NEW: &str = "snapshot.new";
/// Parts on their way to the thread.
const PARTS_MAX: usize = 4;

/// Of what log snapshots are made, and when.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) dir: PathBuf,
    pub(super) node: NodeName,
    /// Of each epoch that has ended, the last number that counts.
    pub(super) epochs: BTreeMap<u32, u64>,
    /// The log grows by so many from one to the next.
    pub(super) segments_between: u64,
    /// After so long a snapshot that names what was destroyed is replaced.
    pub(super) forget_after: Duration,
    /// What the log wants to have free; a snapshot leaves it twice that.
    pub(super) reserve_bytes: u64,
}

/// Makes snapshots of one log.
#[derive(Debug)]
pub struct Snapshots {
    plan: Plan,
    /// The last one, or the last attempt, is of this segment; 0: there is none.
    last: u32,
    /// So many sounds had been heard being destroyed when it was begun,
    destroyed: u64,
    /// which was then; at start it is now.
    begun: Instant,
    is_off: bool,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    walk: Walk,
    parts: Sender<Encoded>,
    waiting: Option<Encoded>,
}

/// A part.
#[derive(Debug)]
struct Encoded {
    bytes: Vec<u8>,
    is_last: bool,
}

impl Snapshots {
    /// Of a log in which a snapshot of segment `last` was found, 0: none.
    pub(super) fn new(plan: Plan, last: u32) -> Snapshots {
        Snapshots {
            plan,
            last,
            destroyed: 0,
            begun: Instant::now(),
            is_off: false,
            under_way: None,
        }
    }

    /// None are made.
    pub(super) fn off(self) -> Snapshots {
        Snapshots {
            is_off: true,
            ..self
        }
    }

    /// One is being made: [`Snapshots::turn`] wants to be called again soon.
    pub fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// Goes on with the one that is being made, or begins one if it is time. Short.
    pub fn turn(&mut self, view: &View) {
        let segment = view.heard().segment;
        if self.under_way.is_none() && self.is_due(view) {
            (self.last, self.destroyed) = (segment, view.destroyed());
            self.begun = Instant::now();
            match self.begin(segment) {
                Ok(under_way) => self.under_way = Some(under_way),
                Err(e) => failed(&e),
            }
        }
        if let Some(under_way) = &mut self.under_way
            && !under_way.turn(view)
        {
            self.under_way = None;
        }
    }

    fn is_due(&self, view: &View) -> bool {
        let grown = u64::from(view.heard().segment.saturating_sub(self.last));
        let names_destroyed = self.last > 0 && view.destroyed() > self.destroyed;
        let is_to_forget = || self.begun.elapsed() >= self.plan.forget_after;
        !self.is_off
            && view.heard().segment > 0
            && (grown >= self.plan.segments_between || names_destroyed && is_to_forget())
    }

    fn begin(&self, segment: u32) -> io::Result<UnderWay> {
        let (parts, receiver) = channel::bounded(PARTS_MAX);
        let plan = self.plan.clone();
        let write = move || match write(plan, segment, &receiver) {
            Ok(true) => tracing::debug!(segment, "a snapshot was written"),
            Ok(false) => {}
            Err(e) => failed(&e),
        };
        let thread = std::thread::Builder::new().name("log-snapshot".into());
        thread.spawn(write)?;
        Ok(UnderWay {
            walk: Walk::new(),
            parts,
            waiting: None,
        })
    }
}

fn failed(e: &io::Error) {
    tracing::warn!("no snapshot of the log was written, the next start takes longer: {e}");
}

impl UnderWay {
    /// `false`: that was all, or it is retired.
    fn turn(&mut self, view: &View) -> bool {
        let next = self.waiting.take().or_else(|| {
            let part = self.walk.next(view)?;
            let is_last = matches!(part, Part::End(_));
            let encoded = snapshot::encode_part(&part);
            if encoded.is_none() {
                failed(&too_long());
            }
            encoded.map(|bytes| Encoded { bytes, is_last })
        });
        let Some(part) = next else {
            return false;
        };
        match self.parts.try_send(part) {
            Ok(()) => true,
            Err(TrySendError::Full(part)) => {
                self.waiting = Some(part);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

fn too_long() -> io::Error {
    io::Error::other("it would be too long")
}

/// Writes what comes as the snapshot of `segment`; `false`: not all of it came.
fn write(plan: Plan, segment: u32, parts: &Receiver<Encoded>) -> io::Result<bool> {
    let dir = &plan.dir;
    let before = lengths(dir)?;
    let before = before.into_iter().filter(|(number, _)| *number < segment);
    let start = start_of(dir, segment)?;
    let title = Title::new(plan.node, segment, &start, before.collect(), plan.epochs);
    let title = title.ok_or_else(|| {
        io::Error::other(format!(
            "{} is not as it should be",
            segment::file_name(segment)
        ))
    })?;
    let (new, dir_file) = (dir.join(NAME_NEW), File::open(dir)?);
    let has_room = || {
        let free_bytes = sys::free_bytes(&dir_file).unwrap_or(u64::MAX);
        free_bytes >= plan.reserve_bytes.saturating_mul(2)
    };
    let written = write_new(&new, &title, parts, has_room);
    match written {
        Ok(true) => {
            let old = OpenOptions::new().write(true).open(dir.join(NAME));
            std::fs::rename(&new, dir.join(NAME))?;
            dir_file.sync_all()?;
            if let Ok(old) = old {
                compaction::write_zeros(&old)?;
            }
        }
        _ => drop(std::fs::remove_file(&new)),
    }
    written
}

fn write_new(
    path: &Path,
    title: &Title,
    parts: &Receiver<Encoded>,
    has_room: impl Fn() -> bool,
) -> io::Result<bool> {
    let mut file = BufWriter::with_capacity(1 << 20, files::create_private(path)?);
    let mut extent = Extent::default();
    file.write_all(MAGIC)?;
    let title = snapshot::encode_title(title).ok_or_else(too_long)?;
    extent.add(title.len(), title.len()).ok_or_else(too_long)?;
    file.write_all(&title)?;
    for part in parts {
        if !has_room() {
            return Err(io::Error::other("the disk is nearly full"));
        }
        let frame = snapshot::frame(&part.bytes).ok_or_else(too_long)?;
        let extended = extent.add(frame.len(), part.bytes.len());
        extended.ok_or_else(too_long)?;
        file.write_all(&frame)?;
        if part.is_last {
            file.flush()?;
            file.get_ref().sync_all()?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// How a segment begins, as far as a snapshot of it says.
fn start_of(dir: &Path, segment: u32) -> io::Result<Vec<u8>> {
    let file = File::open(dir.join(segment::file_name(segment)))?;
    files::read_piece(&file, 0, START_BYTES as u64)
}

/// The segments there are, rising, and their lengths.
pub(super) fn lengths(dir: &Path) -> io::Result<Vec<(u32, u64)>> {
    let mut lengths = Vec::new();
    for number in files::segments(dir)? {
        match std::fs::metadata(dir.join(segment::file_name(number))) {
            Ok(meta) => lengths.push((number, meta.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(lengths)
}

/// The snapshot of the log of `node` in `dir`, if there is one that counts. One that doesn't is removed.
pub(super) fn read(
    dir: &Path,
    node: NodeName,
    there: &[(u32, u64)],
    retired: &Retired,
) -> Option<Snapshot> {
    // What was begun when the node was killed.
    let _ = std::fs::remove_file(dir.join(NAME_NEW));
    let read = match read_bytes(&dir.join(NAME)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
        file => read_file(&file.ok().unwrap_or_default(), dir, node, there, retired),
    };
    if read.is_none() {
        tracing::warn!("the snapshot does not fit the log; all of the log is read");
        let _ = std::fs::remove_file(dir.join(NAME));
    }
    read
}

/// The file, if it begins like one of ours and is no longer than those are.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic)?;
    let bytes_max = file.metadata()?.len();
    if magic != *MAGIC || bytes_max > FILE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::with_capacity(bytes_max as usize);
    bytes.extend_from_slice(&magic);
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_file(
    file: &[u8],
    dir: &Path,
    node: NodeName,
    there: &[(u32, u64)],
    retired: &Retired,
) -> Option<Snapshot> {
    let (title, frames) = snapshot::open(file)?;
    let start = start_of(dir, title.segment).ok()?;
    if !title.fits(node, &start, there, retired) {
        return None;
    }
    let is_there = |number| there.binary_search_by_key(&number, |(n, _)| *n).is_ok();
    title.finish(read_lots(&frames)?, is_there)
}

/// Sounds take longer than registers: many lots are shared out more evenly.
const LOTS_PER_THREAD: usize = 8;
const THREADS_MAX: usize = 4;

/// What the frames say, in order.
fn read_lots(frames: &[Frame<'_>]) -> Option<Vec<Restoring>> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS_MAX));
    let lot_frames = frames.len().div_ceil(threads * LOTS_PER_THREAD).max(1);
    let lots: Vec<&[Frame<'_>]> = frames.chunks(lot_frames).collect();
    let read = std::thread::scope(|scope| {
        let lots = &lots;
        let work = move |first| {
            let mine = lots.iter().enumerate().skip(first).step_by(threads);
            mine.map(|(n, frames)| Some((n, snapshot::read_lot(frames)?)))
                .collect::<Option<Vec<_>>>()
        };
        let workers: Vec<_> = (0..threads).map(|n| scope.spawn(move || work(n))).collect();
        let done = workers.into_iter().map(|worker| worker.join().ok()?);
        done.collect::<Option<Vec<_>>>()
    })?;
    let in_order: BTreeMap<usize, Restoring> = read.into_iter().flatten().collect();
    Some(in_order.into_values().collect())
}
