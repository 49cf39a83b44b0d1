//! Makes a backup from a log's files, whether or not a node runs on them.
//!
//! Two looks: one to learn which records count (`backup/survey.rs`), one to take those that are new.
//! Compaction may retire a segment meanwhile. What was live in it is further on in the log then, so
//! the looks are taken again and find it. One segment and two packs are in memory at a time.
//!
//! The order of writes is what makes a backup whole or not there: packs, then the catalog, then the
//! manifest; only then are backups beyond `keep` deleted, manifests first. A backup that failed leaves
//! packs nobody names, which the next one with a `keep` deletes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::backup_store::{Store, StoreError};
use super::{files, sys};
use crate::backup::{
    CATALOG_BYTES_MAX, Catalog, Extent, FORMAT, Gather, Hash, MANIFEST_BYTES_MAX, Manifest,
    ManifestFault, ManifestName, NotTheSame, PACK_BYTES_MAX, Pack, PackFault, PackInfo, Position,
    SETTLES_AFTER, Survey, records,
};
use crate::name::NodeName;
use crate::segment::{self, FirstBlock, SegmentHeader};
use crate::time::WallTime;

/// The looks are taken at most so often.
const LOOKS_MAX: usize = 5;

/// What to back up, and where to.
#[derive(Clone, Debug)]
pub struct BackupJob {
    /// The log's folder.
    pub log: PathBuf,
    /// A directory, or `s3://BUCKET/PREFIX`.
    pub to: String,
    /// Where S3 is, if not as the environment says.
    pub endpoint: Option<String>,
    /// Delete backups before the newest so many; `None`: keep all.
    pub keep: Option<usize>,
    /// Why it is made of the log alone and not built upon the backup before. `None`: it is, if it can be.
    pub afresh: Option<String>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupProgress {
    /// Segments, or packs, done.
    pub done: usize,
    /// Of so many.
    pub of: usize,
    /// Written or read so far.
    pub bytes: u64,
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// Whose.
    pub node: NodeName,
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub made: WallTime,
    /// Records and bytes in it.
    pub records: u64,
    /// See there.
    pub bytes: u64,
    /// Records that no backup had before.
    pub records_new: u64,
    /// Written to the store for it.
    pub bytes_written: u64,
    /// Sounds that it no longer has.
    pub destroyed: u64,
    /// Damaged places of the log that were passed over.
    pub damages: u64,
    /// Older backups deleted.
    pub pruned: usize,
    /// Why it is not an increment of the backup before, although there is one.
    pub afresh: Option<String>,
}

/// Why there is no backup, or no restoring it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The place it is in.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A manifest.
    #[error("{0}: {1}")]
    Manifest(String, ManifestFault),
    /// A pack.
    #[error("{0}: {1}")]
    Pack(String, PackFault),
    /// The log.
    #[error("the log in {}: {source}", dir.display())]
    Log {
        /// Its folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing to back up.
    #[error("there is no log in {}", .0.display())]
    NoLog(PathBuf),
    /// One at a time.
    #[error("another backup of {} is being made; try again when it is done", .0.display())]
    Busy(PathBuf),
    /// Another log of that name.
    #[error(transparent)]
    NotTheSame(#[from] NotTheSame),
    /// Compaction was quicker each time.
    #[error("segments of the log in {} were retired while it was read; try again", .0.display())]
    Moving(PathBuf),
    /// Nothing to restore.
    #[error("there is no backup in {0}")]
    NoBackup(String),
    /// More than one node's.
    #[error("{place} has backups of {}; say which with --node", nodes.join(", "))]
    WhichNode {
        /// Where.
        place: String,
        /// Whose.
        nodes: Vec<String>,
    },
    /// Not to be overwritten.
    #[error("there is a log in {} already; restore to an empty directory", .0.display())]
    NotEmpty(PathBuf),
    /// The new log could not be written.
    #[error("{0}")]
    Write(String),
}

/// The newest backup of a node, for status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBackup {
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub made: WallTime,
    /// How much it holds.
    pub bytes: u64,
}

/// Makes a backup.
pub fn backup(
    job: &BackupJob,
    progress: &mut dyn FnMut(BackupProgress),
) -> Result<BackupReport, BackupError> {
    let log = LogFiles::open(&job.log)?;
    let store = Store::open(&job.to, job.endpoint.as_deref(), true)?;
    let folder = Folder::new(&store, log.node);
    let names = folder.manifests()?;
    let number = names.last().map_or(1, |name| name.number + 1);
    let (before, mut afresh) = match names.last() {
        None => (None, None),
        Some(_) if job.afresh.is_some() => (None, job.afresh.clone()),
        Some(name) => match folder.usable(name) {
            Ok(before) => (Some(before), None),
            // A store that does not answer is no reason to copy everything again.
            Err(e @ BackupError::Store(StoreError::Failed { .. })) => return Err(e),
            Err(e) => (None, Some(e.to_string())),
        },
    };
    let made = match log.gather(&folder, before, progress) {
        // A pack that is to be written anew is damaged: what it held is taken from the log.
        Err(e @ (BackupError::Pack(..) | BackupError::Store(StoreError::Missing(_)))) => {
            afresh = Some(e.to_string());
            log.gather(&folder, None, progress)?
        }
        made => made?,
    };
    let mut manifest = Manifest {
        format: FORMAT,
        tandem: env!("CARGO_PKG_VERSION").to_owned(),
        node: log.node,
        number,
        made: wall(),
        position: made.position,
        packs: made.packs,
        catalog: Hash::of(&made.catalog),
    };
    manifest.packs.sort_by_key(|pack| pack.kind);
    let mut bytes_written = made.bytes_written + made.catalog.len() as u64;
    folder.put_catalog(&manifest.catalog, made.catalog)?;
    let (name, bytes) = manifest.to_file();
    bytes_written += bytes.len() as u64;
    folder.put_manifest(&name, bytes)?;
    let pruned = match job.keep {
        Some(keep) => folder.prune(keep.max(1))?,
        None => 0,
    };
    Ok(BackupReport {
        node: log.node,
        number,
        made: manifest.made,
        records: manifest.records(),
        bytes: manifest.bytes(),
        records_new: made.records_new,
        bytes_written,
        destroyed: made.destroyed,
        damages: made.damages,
        pruned,
        afresh,
    })
}

/// The newest backup of `node` that is in a place.
pub fn last_backup(
    place: &str,
    endpoint: Option<&str>,
    node: NodeName,
) -> Result<Option<LastBackup>, BackupError> {
    let store = Store::open(place, endpoint, false)?;
    let folder = Folder::new(&store, node);
    let Some(name) = folder.manifests()?.pop() else {
        return Ok(None);
    };
    let manifest = folder.manifest(&name)?;
    Ok(Some(LastBackup {
        number: manifest.number,
        made: manifest.made,
        bytes: manifest.bytes(),
    }))
}

/// The civil time of this machine.
pub(super) fn wall() -> WallTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A node's folder in a store.
pub(super) struct Folder<'a> {
    store: &'a Store,
    node: NodeName,
}

impl<'a> Folder<'a> {
    pub(super) fn new(store: &'a Store, node: NodeName) -> Folder<'a> {
        Folder { store, node }
    }

    /// The backups there are, oldest first.
    pub(super) fn manifests(&self) -> Result<Vec<ManifestName>, BackupError> {
        let listed = self.store.list(&self.name("backups", ""))?.into_iter();
        let mut names: Vec<ManifestName> =
            listed.filter_map(|(name, _)| name.parse().ok()).collect();
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn manifest(&self, name: &ManifestName) -> Result<Manifest, BackupError> {
        let file = self.name("backups", &name.to_string());
        let bytes = self.store.get(&file, MANIFEST_BYTES_MAX)?;
        Manifest::parse(name, &bytes).map_err(|e| BackupError::Manifest(self.store.shown(&file), e))
    }

    /// Reads a pack. Its hash is for whoever looks into it.
    pub(super) fn pack(&self, info: &PackInfo) -> Result<Vec<u8>, BackupError> {
        let file = self.name("packs", &info.file_name());
        Ok(self.store.get(&file, PACK_BYTES_MAX)?)
    }

    /// The error about a pack.
    pub(super) fn bad_pack(&self, info: &PackInfo, fault: PackFault) -> BackupError {
        let file = self.name("packs", &info.file_name());
        BackupError::Pack(self.store.shown(&file), fault)
    }

    /// A backup that another can be built upon: all of it is there.
    fn usable(&self, name: &ManifestName) -> Result<(Manifest, Catalog), BackupError> {
        let manifest = self.manifest(name)?;
        let file = self.name("catalogs", &format!("{}.json", manifest.catalog));
        let bytes = self.store.get(&file, CATALOG_BYTES_MAX)?;
        let catalog = (Hash::of(&bytes) == manifest.catalog).then(|| Catalog::parse(&bytes));
        let Some(catalog) = catalog.flatten() else {
            let fault = ManifestFault::Hash;
            return Err(BackupError::Manifest(self.store.shown(&file), fault));
        };
        let there: BTreeSet<(String, u64)> = self
            .store
            .list(&self.name("packs", ""))?
            .into_iter()
            .collect();
        for pack in &manifest.packs {
            if !there.contains(&(pack.file_name(), pack.bytes)) {
                let file = self.name("packs", &pack.file_name());
                return Err(StoreError::Missing(self.store.shown(&file)).into());
            }
        }
        Ok((manifest, catalog))
    }

    fn put_pack(&self, pack: Pack) -> Result<PackInfo, BackupError> {
        let file = self.name("packs", &pack.info.file_name());
        self.store.put(&file, pack.bytes)?;
        Ok(pack.info)
    }

    fn put_catalog(&self, hash: &Hash, bytes: Vec<u8>) -> Result<(), BackupError> {
        let file = self.name("catalogs", &format!("{hash}.json"));
        Ok(self.store.put(&file, bytes)?)
    }

    fn put_manifest(&self, name: &ManifestName, bytes: Vec<u8>) -> Result<(), BackupError> {
        let file = self.name("backups", &name.to_string());
        Ok(self.store.put(&file, bytes)?)
    }

    /// Deletes all but the newest `keep` backups, and what none of these names.
    fn prune(&self, keep: usize) -> Result<usize, BackupError> {
        let mut names = self.manifests()?;
        let kept = names.split_off(names.len().saturating_sub(keep));
        let mut wanted = BTreeSet::new();
        for name in &kept {
            // One that cannot be read may name any: then nothing is deleted.
            let manifest = self.manifest(name)?;
            wanted.extend(manifest.packs.iter().map(PackInfo::file_name));
            wanted.insert(format!("{}.json", manifest.catalog));
        }
        for name in &names {
            self.store
                .delete(&self.name("backups", &name.to_string()))?;
        }
        for folder in ["packs", "catalogs"] {
            for (file, _) in self.store.list(&self.name(folder, ""))? {
                if !wanted.contains(&file) {
                    self.store.delete(&self.name(folder, &file))?;
                }
            }
        }
        Ok(names.len())
    }

    fn name(&self, folder: &str, file: &str) -> String {
        format!("{}/{folder}/{file}", self.node)
    }
}

/// The files of a log that is read along.
struct LogFiles {
    dir: PathBuf,
    node: NodeName,
    /// Held as long as a backup of this log is being made.
    _lock: File,
}

/// What has been put into the store.
struct Made {
    position: Option<Position>,
    packs: Vec<PackInfo>,
    catalog: Vec<u8>,
    records_new: u64,
    bytes_written: u64,
    destroyed: u64,
    damages: u64,
}

/// Puts packs as they get full, and tells how far it is.
struct Putting<'a> {
    folder: &'a Folder<'a>,
    progress: &'a mut dyn FnMut(BackupProgress),
    so_far: BackupProgress,
    packs: Vec<PackInfo>,
}

impl Putting<'_> {
    fn put(&mut self, packs: impl IntoIterator<Item = Pack>) -> Result<(), BackupError> {
        for pack in packs {
            let info = self.folder.put_pack(pack)?;
            self.so_far.bytes += info.bytes;
            self.packs.push(info);
        }
        (self.progress)(self.so_far);
        Ok(())
    }
}

impl LogFiles {
    fn open(dir: &Path) -> Result<LogFiles, BackupError> {
        let failed = |source| BackupError::Log {
            dir: dir.to_owned(),
            source,
        };
        if !dir.is_dir() {
            return Err(BackupError::NoLog(dir.to_owned()));
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("backup.lock"))
            .map_err(failed)?;
        if !sys::try_lock(&lock).map_err(failed)? {
            return Err(BackupError::Busy(dir.to_owned()));
        }
        let headers = headers(dir).map_err(failed)?;
        let node = headers
            .iter()
            .find_map(|(_, header)| header.map(|h| h.node));
        Ok(LogFiles {
            dir: dir.to_owned(),
            node: node.ok_or_else(|| BackupError::NoLog(dir.to_owned()))?,
            _lock: lock,
        })
    }

    /// Takes what is new since the backup `before`.
    fn gather(
        &self,
        folder: &Folder<'_>,
        before: Option<(Manifest, Catalog)>,
        progress: &mut dyn FnMut(BackupProgress),
    ) -> Result<Made, BackupError> {
        let (position, packs, catalog) = match before {
            Some((manifest, catalog)) => (manifest.position, manifest.packs, catalog),
            None => (None, Vec::new(), Catalog::default()),
        };
        let mut gather = Gather::new(self.node, catalog, position);
        let mut putting = Putting {
            folder,
            progress,
            so_far: BackupProgress {
                done: 0,
                of: 0,
                bytes: 0,
            },
            packs: Vec::new(),
        };
        for look in 1.. {
            if self.look(position, &mut gather, &mut putting)? {
                break;
            }
            if look == LOOKS_MAX {
                return Err(BackupError::Moving(self.dir.clone()));
            }
        }
        let (stale, mut kept) = {
            let (stale, fresh) = gather.stale(&packs);
            let fresh: Vec<PackInfo> = fresh.into_iter().cloned().collect();
            (stale, fresh)
        };
        for info in stale {
            let bytes = folder.pack(info)?;
            match gather.rewrite(info, &bytes) {
                Ok(true) => {}
                Ok(false) => kept.push(info.clone()),
                Err(fault) => return Err(folder.bad_pack(info, fault)),
            }
            putting.put(std::iter::from_fn(|| gather.poll()))?;
        }
        let (last, catalog, gathered) = gather.finish();
        putting.put(last)?;
        kept.append(&mut putting.packs);
        Ok(Made {
            position: gathered.position,
            packs: kept,
            catalog: catalog.to_bytes(),
            records_new: gathered.records_new,
            bytes_written: putting.so_far.bytes,
            destroyed: gathered.destroyed,
            damages: gathered.damages,
        })
    }

    /// Both looks at what comes after `position`. `false`: a segment was retired meanwhile.
    fn look(
        &self,
        position: Option<Position>,
        gather: &mut Gather,
        putting: &mut Putting<'_>,
    ) -> Result<bool, BackupError> {
        let mut bytes = Vec::new();
        let (numbers, extent) = self.survey(position, &mut bytes)?;
        gather.destroy(&extent.discarded);
        putting.so_far.of = numbers.len();
        for (done, number) in numbers.iter().enumerate() {
            if !self.load(*number, &mut bytes)? {
                return Ok(false);
            }
            gather.take(&extent, *number, &bytes)?;
            putting.so_far.done = done + 1;
            putting.put(std::iter::from_fn(|| gather.poll()))?;
        }
        Ok(true)
    }

    /// Which segments have something that comes after `position`, and which of their records count.
    fn survey(
        &self,
        position: Option<Position>,
        bytes: &mut Vec<u8>,
    ) -> Result<(Vec<u32>, Extent), BackupError> {
        let mut survey = Survey::new(self.node, position);
        let numbers = self.segments_after(position)?;
        for number in &numbers {
            // One that was retired since is looked for by the second look.
            if self.load(*number, bytes)? {
                survey.look(*number, bytes);
            }
        }
        let is_running = files::Lock::is_held(&self.dir);
        if is_running && survey.is_unsettled() {
            std::thread::sleep(SETTLES_AFTER);
            let first = numbers.first().copied().unwrap_or(0);
            let newer = self.segments_after(position)?.into_iter();
            // The tip is in the last two: one may have been entered since.
            let tip = numbers.iter().rev().nth(1).copied().unwrap_or(first);
            for number in newer.filter(|number| *number >= tip) {
                if self.load(number, bytes)? {
                    survey.look(number, bytes);
                }
            }
        }
        let extent = survey.finish(is_running)?;
        Ok((numbers, extent))
    }

    /// The segments from the one that has `position` on.
    fn segments_after(&self, position: Option<Position>) -> Result<Vec<u32>, BackupError> {
        let headers = headers(&self.dir).map_err(|e| self.failed(e))?;
        let begins_before = |header: &Option<SegmentHeader>| match (header, position) {
            (Some(header), Some(position)) => (header.epoch, header.seq) <= position.place(),
            _ => false,
        };
        let first = headers.iter().rposition(|(_, h)| begins_before(h));
        let rest = &headers[first.unwrap_or(0)..];
        Ok(rest.iter().map(|(number, _)| *number).collect())
    }

    /// Reads a segment; `false`: it is not there any more.
    fn load(&self, number: u32, bytes: &mut Vec<u8>) -> Result<bool, BackupError> {
        let path = self.dir.join(segment::file_name(number));
        let inode = || std::fs::metadata(&path).map(|meta| meta.ino());
        // A file that is retired is renamed before it is written through with zeros: while it has its
        // name it has its content.
        let loaded = inode().and_then(|before| {
            files::load(&self.dir, number, bytes)?;
            Ok(before == inode()?)
        });
        match loaded {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            loaded => loaded.map_err(|e| self.failed(e)),
        }
    }

    fn failed(&self, source: io::Error) -> BackupError {
        BackupError::Log {
            dir: self.dir.clone(),
            source,
        }
    }
}

/// The segments there are, and what their first blocks say.
fn headers(dir: &Path) -> io::Result<Vec<(u32, Option<SegmentHeader>)>> {
    let mut headers = Vec::new();
    for number in files::segments(dir)? {
        let block = match files::first_block(dir, number) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            block => block?,
        };
        let header = match segment::decode(&block) {
            FirstBlock::Header(header) if header.number == number => Some(header),
            _ => None,
        };
        headers.push((number, header));
    }
    Ok(headers)
}

/// Reads every pack of a node's newest backup and compares hashes and checksums; how many records
/// it has.
pub fn verify_backup(
    place: &str,
    endpoint: Option<&str>,
    node: NodeName,
    progress: &mut dyn FnMut(BackupProgress),
) -> Result<u64, BackupError> {
    let store = Store::open(place, endpoint, false)?;
    let folder = Folder::new(&store, node);
    let name = folder.manifests()?.pop();
    let name = name.ok_or_else(|| BackupError::NoBackup(place.to_owned()))?;
    let manifest = folder.manifest(&name)?;
    let mut found = 0;
    let mut bytes = 0;
    for (done, info) in manifest.packs.iter().enumerate() {
        let pack = folder.pack(info)?;
        let bad = |fault| folder.bad_pack(info, fault);
        for record in records(info, &pack).map_err(bad)? {
            record.map_err(bad)?;
            found += 1;
        }
        bytes += info.bytes;
        progress(BackupProgress {
            done: done + 1,
            of: manifest.packs.len(),
            bytes,
        });
    }
    Ok(found)
}
