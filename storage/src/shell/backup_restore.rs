//! Writes a log from a backup, onto a bare machine; or looks into one.
//!
//! The log is written in a folder beside its place and takes that only when it is whole, so a restore that
//! was interrupted leaves no half a log to start on. Its epoch is the seconds since 2020, above any
//! epoch that was counted up one start at a time and above that of an earlier restore: no name the
//! node handed out after the backup was made can be handed out again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crossbeam::channel::{Receiver, unbounded};

use super::backup::{BackupError, BackupProgress, Folder, wall};
use super::backup_store::Store;
use super::files::{self, Lock};
use super::inspect;
use super::log::Log;
use super::open::{self, LogConfig};
use crate::backup::{Manifest, PackInfo, PackRecord, Unpacking, records};
use crate::name::NodeName;
use crate::record::EPOCH_MAX;
use crate::seam::{Append, LogEvent, Owner, Token};
use crate::time::WallTime;

/// 2020-01-01, in seconds since 1970.
const EPOCHS_SINCE_S: u64 = 1_577_836_800;
/// Appends under way: 8 MiB of sound.
const UNDER_WAY_MAX: u64 = 2048;

/// What to restore, and where to.
#[derive(Clone, Debug)]
pub struct RestoreJob {
    /// A directory, or `s3://BUCKET/PREFIX`.
    pub from: String,
    /// Where S3 is, if not as the environment says.
    pub endpoint: Option<String>,
    /// Whose backup; `None`: the only one's.
    pub node: Option<NodeName>,
    /// Which of them, by number; `None`: the newest.
    pub number: Option<u64>,
    /// The newest that was made at this time or before; `None`: at any.
    pub as_of: Option<WallTime>,
}

/// A log that was restored.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// Whose.
    pub node: NodeName,
    /// From which backup.
    pub number: u64,
    /// Made when.
    pub made: WallTime,
    /// Records and sounds in it.
    pub records: u64,
    /// See there.
    pub sounds: u64,
    /// Sounds that were being spoken when the backup was made.
    pub cut_short: u64,
}

/// A backup that is open for reading.
pub struct Backup {
    store: Store,
    manifest: Manifest,
}

impl Backup {
    /// Finds the backup meant.
    pub fn open(job: &RestoreJob) -> Result<Backup, BackupError> {
        let store = Store::open(&job.from, job.endpoint.as_deref(), false)?;
        let node = match job.node {
            Some(node) => node,
            None => the_only_node(&store, &job.from)?,
        };
        let folder = Folder::new(&store, node);
        let wanted = || match (job.number, job.as_of) {
            (Some(number), _) => format!("{} with the number {number}", job.from),
            (None, Some(_)) => format!("{} of node {node} that is as old", job.from),
            (None, None) => format!("{} of node {node}", job.from),
        };
        let names = folder.manifests()?.into_iter().rev();
        for name in names.filter(|name| job.number.is_none_or(|number| name.number == number)) {
            let manifest = folder.manifest(&name)?;
            if manifest.node != node {
                break;
            }
            if job.as_of.is_none_or(|at| manifest.made <= at) {
                return Ok(Backup { store, manifest });
            }
        }
        Err(BackupError::NoBackup(wanted()))
    }

    /// What it is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Hands the records of the packs that `wants` to `take`. Each pack's hash and each record's
    /// checksum is looked at first.
    pub fn read(
        &self,
        mut wants: impl FnMut(&PackInfo) -> bool,
        progress: &mut dyn FnMut(BackupProgress),
        mut take: impl FnMut(&PackRecord<'_>) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let folder = Folder::new(&self.store, self.manifest.node);
        let packs = self.manifest.packs.iter().filter(|info| wants(info));
        let packs: Vec<&PackInfo> = packs.collect();
        let mut bytes = 0;
        for (done, info) in packs.iter().enumerate() {
            let pack = folder.pack(info)?;
            let bad = |fault| folder.bad_pack(info, fault);
            for record in records(info, &pack).map_err(bad)? {
                take(&record.map_err(bad)?)?;
            }
            bytes += info.bytes;
            progress(BackupProgress {
                done: done + 1,
                of: packs.len(),
                bytes,
            });
        }
        Ok(())
    }
}

/// Writes all of a backup as the log in `dir`, which must not be there.
pub fn restore(
    backup: &Backup,
    dir: &Path,
    progress: &mut dyn FnMut(BackupProgress),
) -> Result<RestoreReport, BackupError> {
    let failed = |source| BackupError::Log {
        dir: dir.to_owned(),
        source,
    };
    if files::segments(dir).is_ok_and(|segments| !segments.is_empty()) {
        return Err(BackupError::NotEmpty(dir.to_owned()));
    }
    let new = dir.with_extension("restoring");
    if Lock::is_held(&new) {
        return Err(BackupError::Busy(new));
    }
    // What an interrupted one left.
    if new.exists() {
        fs::remove_dir_all(&new).map_err(failed)?;
    }
    let report = write(backup, &new, progress);
    let placed = report.and_then(|report| place(&new, dir).map_err(failed).map(|()| report));
    if placed.is_err() {
        // It is of no use; that it could not be removed is not what went wrong.
        let _ = fs::remove_dir_all(&new);
    }
    placed
}

fn write(
    backup: &Backup,
    dir: &Path,
    progress: &mut dyn FnMut(BackupProgress),
) -> Result<RestoreReport, BackupError> {
    let manifest = backup.manifest();
    let write = |e: &dyn std::fmt::Display| BackupError::Write(e.to_string());
    let mut appending = Appending::open(dir, manifest)?;
    let mut unpacking = Unpacking::new(manifest.node);
    backup.read(
        |_| true,
        progress,
        |record| appending.append(unpacking.append(record)),
    )?;
    let mut cut_short = 0;
    for seal in unpacking.finish(wall()) {
        cut_short += 1;
        appending.append(seal)?;
    }
    appending.close()?;
    let verified = inspect::verify(dir).map_err(|e| write(&e))?;
    if !verified.is_clean() {
        return Err(write(&"the restored log is damaged; is the disk?"));
    }
    Ok(RestoreReport {
        node: manifest.node,
        number: manifest.number,
        made: manifest.made,
        records: manifest.records(),
        sounds: unpacking.sounds(),
        cut_short,
    })
}

/// Puts the new log into its place.
fn place(new: &Path, dir: &Path) -> std::io::Result<()> {
    // An empty folder, or what a node that never wrote anything left in it.
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::rename(new, dir)?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn the_only_node(store: &Store, place: &str) -> Result<NodeName, BackupError> {
    let folders = store.folders()?;
    let nodes: BTreeSet<NodeName> = folders.iter().filter_map(|f| f.parse().ok()).collect();
    match nodes.len() {
        0 => Err(BackupError::NoBackup(place.to_owned())),
        1 => nodes
            .first()
            .copied()
            .ok_or_else(|| BackupError::NoBackup(place.to_owned())),
        _ => Err(BackupError::WhichNode {
            place: place.to_owned(),
            nodes: nodes.iter().map(NodeName::to_string).collect(),
        }),
    }
}

/// A log that is being filled.
struct Appending {
    log: Log,
    events: Receiver<LogEvent>,
    sent: u64,
    answered: u64,
    dir: PathBuf,
}

impl Appending {
    fn open(dir: &Path, manifest: &Manifest) -> Result<Appending, BackupError> {
        let write = |e: &dyn std::fmt::Display| BackupError::Write(e.to_string());
        files::create_dir(dir).map_err(|e| write(&e))?;
        let since = (wall().0 / 1000).saturating_sub(EPOCHS_SINCE_S);
        let floor = u32::try_from(since).unwrap_or(EPOCH_MAX);
        let newest = manifest.position.map_or(0, |position| position.epoch);
        let epoch = floor.max(newest).min(EPOCH_MAX - 1);
        // The log goes on from the epoch its lock names.
        match Lock::take(dir) {
            Ok(mut lock) => lock.sign(epoch).map_err(|e| write(&e))?,
            Err(Ok(_)) => return Err(BackupError::Busy(dir.to_owned())),
            Err(Err(e)) => return Err(write(&e)),
        }
        let (sender, events) = unbounded();
        let opened = open::open(LogConfig::new(dir, manifest.node), move |event| {
            // Nobody listens any more once something went wrong.
            let _ = sender.send(event);
        });
        let opened = opened.map_err(|e| write(&e))?;
        Ok(Appending {
            log: opened.log,
            events,
            sent: 0,
            answered: 0,
            dir: dir.to_owned(),
        })
    }

    fn append(&mut self, append: Append) -> Result<(), BackupError> {
        while self.sent - self.answered >= UNDER_WAY_MAX {
            self.take_answer()?;
        }
        self.sent += 1;
        // Fewer are under way than its queue takes.
        let submitted = self.log.submit(Token::new(Owner::Node, self.sent), append);
        submitted.map_err(|_| BackupError::Write("the log was closed".into()))
    }

    fn take_answer(&mut self) -> Result<(), BackupError> {
        match self.events.recv() {
            Ok(LogEvent::Committed { .. }) => self.answered += 1,
            Ok(LogEvent::Refused { why, .. }) => {
                let dir = self.dir.display();
                return Err(BackupError::Write(format!(
                    "writing the log in {dir}: {why}"
                )));
            }
            Ok(LogEvent::Room { .. }) => {}
            Err(_) => return Err(BackupError::Write("the log was closed".into())),
        }
        Ok(())
    }

    /// Waits for all of it to be durable.
    fn close(mut self) -> Result<(), BackupError> {
        while self.answered < self.sent {
            self.take_answer()?;
        }
        self.log.close();
        Ok(())
    }
}

impl Drop for Appending {
    fn drop(&mut self) {
        self.log.close();
    }
}
