//! The log's folder: its lock, its segments, and the writes into them.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::sys;
use crate::batch::{BATCH_BLOCKS_MAX, Batch, BatchBlock, Segment};
use crate::block::{BLOCK_BYTES, Block};
use crate::record::EPOCH_MAX;
use crate::segment::{self, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::writer::WriteFault;

/// Marks a block that the disk could not read; no record begins like this.
const UNREADABLE: u8 = 0xff;

/// What the lock file says of the node that holds it, or held it last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: u32,
    /// The epoch it opened. The log says it too; this is for a log whose end was lost, so that
    /// no name is handed out twice.
    pub(super) epoch: u32,
}

/// The folder's lock, as long as this lives. A node that is killed keeps it until the write it was in
/// is done: the thread that writes cannot end before.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    pub(super) before: Holder,
}

impl Lock {
    /// Takes the lock; `Err(Ok(holder))`: another has it.
    pub(super) fn take(dir: &Path) -> Result<Lock, Result<Holder, io::Error>> {
        let path = dir.join("lock");
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut file = options.open(path).map_err(Err)?;
        let before = read_holder(&mut file);
        match sys::try_lock(&file) {
            Ok(true) => Ok(Lock { file, before }),
            Ok(false) => Err(Ok(before)),
            Err(e) => Err(Err(e)),
        }
    }

    /// Says who holds it.
    pub(super) fn sign(&mut self, epoch: u32) -> io::Result<()> {
        let text = format!("pid {}\nepoch {epoch}\n", std::process::id());
        self.file.set_len(0)?;
        self.file.write_all_at(text.as_bytes(), 0)?;
        self.file.sync_data()
    }

    /// Is a node running on this folder?
    pub(super) fn is_held(dir: &Path) -> bool {
        let file = File::open(dir.join("lock"));
        file.is_ok_and(|file| matches!(sys::try_lock(&file), Ok(false)))
    }
}

fn read_holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let read = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.take(200).read_to_string(&mut text));
    if read.is_err() {
        return Holder::default();
    }
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    Holder {
        pid: number("pid ").unwrap_or(0),
        epoch: number("epoch ").unwrap_or(0).min(EPOCH_MAX),
    }
}

/// Makes the folder if it is not there, for this user only.
pub(super) fn create_dir(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

/// The numbers of the segments there are, rising.
pub(super) fn segments(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        numbers.extend(entry?.file_name().to_str().and_then(segment::number_of));
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// Lets the disk begin with a segment that is read next.
pub(super) fn read_ahead(dir: &Path, number: u32) {
    if let Ok(file) = File::open(dir.join(segment::file_name(number))) {
        sys::read_soon(&file);
    }
}

/// Reads a segment into `into`. What the disk cannot read is filled with [`UNREADABLE`]; what is
/// longer than any segment is cut off.
pub(super) fn load(dir: &Path, number: u32, into: &mut Vec<u8>) -> io::Result<()> {
    let mut file = File::open(dir.join(segment::file_name(number)))?;
    let bytes = file.metadata()?.len().min(SEGMENT_BYTES_MAX) as usize;
    into.clear();
    into.reserve_exact(bytes);
    if (&mut file).take(bytes as u64).read_to_end(into).is_ok() {
        return Ok(());
    }
    into.resize(bytes, UNREADABLE);
    for (block, at) in into.chunks_mut(BLOCK_BYTES).zip((0..).step_by(BLOCK_BYTES)) {
        if file.read_exact_at(block, at).is_err() {
            block.fill(UNREADABLE);
        }
    }
    Ok(())
}

/// Reads at most so many bytes from `offset` on; fewer, or none, at the end of the file. What the disk
/// cannot read is filled with [`UNREADABLE`].
pub(super) fn read_piece(file: &File, offset: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len().min(SEGMENT_BYTES_MAX);
    let mut bytes = vec![0; len.saturating_sub(offset).min(bytes_max) as usize];
    if file.read_exact_at(&mut bytes, offset).is_err() {
        let blocks = bytes.chunks_mut(BLOCK_BYTES);
        for (block, at) in blocks.zip((offset..).step_by(BLOCK_BYTES)) {
            if file.read_exact_at(block, at).is_err() {
                block.fill(UNREADABLE);
            }
        }
    }
    Ok(bytes)
}

/// Reads a segment's first block, or what there is of it.
pub(super) fn first_block(dir: &Path, number: u32) -> io::Result<Vec<u8>> {
    let file = File::open(dir.join(segment::file_name(number)))?;
    let mut bytes = Vec::with_capacity(BLOCK_BYTES);
    file.take(BLOCK_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The segments being written to.
#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    dir_file: File,
    /// The segment that was written to last.
    open: Option<(u32, File)>,
    /// Writes go past the page cache.
    pub(super) is_direct: bool,
}

impl Disk {
    pub(super) fn new(dir: &Path) -> io::Result<Disk> {
        let dir_file = File::open(dir)?;
        Ok(Disk {
            dir: dir.to_owned(),
            dir_file,
            open: None,
            is_direct: true,
        })
    }

    /// Free space on the file system; unknown counts as plenty, a write will tell.
    pub(super) fn free_bytes(&self) -> u64 {
        sys::free_bytes(&self.dir_file).unwrap_or(u64::MAX)
    }

    /// Writes a batch durably.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), WriteFault> {
        let mut slices: Vec<IoSlice<'_>> = batch
            .blocks
            .iter()
            .map(|block| IoSlice::new(block.bytes()))
            .collect();
        let written = self.write_all(batch.segment, &mut slices, batch.offset);
        written.map_err(|e| match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => WriteFault::Full,
            _ => {
                tracing::error!(
                    segment = batch.segment,
                    offset = batch.offset,
                    "log write: {e}"
                );
                WriteFault::Failed
            }
        })
    }

    fn write_all(
        &mut self,
        segment: u32,
        mut slices: &mut [IoSlice<'_>],
        mut offset: u64,
    ) -> io::Result<()> {
        if !matches!(&self.open, Some((open, _)) if *open == segment) {
            self.open = Some((segment, self.open_segment(segment)?));
        }
        let (_, file) = self.open.as_ref().ok_or(io::ErrorKind::NotFound)?;
        while !slices.is_empty() {
            match sys::write_durable(file, slices, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(wrote) => {
                    IoSlice::advance_slices(&mut slices, wrote);
                    offset += wrote as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn open_segment(&mut self, number: u32) -> io::Result<File> {
        let (file, is_direct) = open_direct(&self.dir.join(segment::file_name(number)))?;
        if self.is_direct && !is_direct {
            tracing::warn!("this file system takes no direct writes; the log is slower on it");
        }
        self.is_direct = is_direct;
        Ok(file)
    }
}

/// Opens for writing past the page cache, or through it where the file system wants that.
fn open_direct(path: &Path) -> io::Result<(File, bool)> {
    let open = |flags| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(path)
    };
    match open(libc::O_DIRECT) {
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok((open(0)?, false)),
        opened => Ok((opened?, true)),
    }
}

/// Makes a segment: reserved, written through with zeros, durable, and only then under its name.
/// One that was prepared before the last stop is taken as it is.
pub(super) fn prepare(dir: &Path, number: u32, bytes: u64) -> io::Result<Segment> {
    let path = dir.join(segment::file_name(number));
    if let Ok(meta) = std::fs::metadata(&path)
        && meta.len() >= SEGMENT_BYTES_MIN
    {
        return Ok(Segment {
            number,
            bytes: meta.len(),
        });
    }
    let new = path.with_extension("log.new");
    let made = fill(&new, bytes)
        .and_then(|()| std::fs::rename(&new, &path))
        .and_then(|()| File::open(dir)?.sync_all());
    match made {
        Ok(()) => Ok(Segment { number, bytes }),
        Err(e) => {
            // Half of a segment would only take up the space that is missing.
            let _ = std::fs::remove_file(&new);
            Err(e)
        }
    }
}

/// An empty file, for this user only.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}

fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    sys::allocate(&create_private(path)?, bytes)?;
    let (mut file, _) = open_direct(path)?;
    let zeros: Vec<BatchBlock> = (0..BATCH_BLOCKS_MAX)
        .map(|_| BatchBlock::Packed(Block::zeroed()))
        .collect();
    let mut left = (bytes / BLOCK_BYTES as u64) as usize;
    while left > 0 {
        let count = left.min(zeros.len());
        let slices: Vec<_> = zeros[..count]
            .iter()
            .map(|b| IoSlice::new(b.bytes()))
            .collect();
        let wrote = file.write_vectored(&slices)? / BLOCK_BYTES;
        if wrote == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        left -= wrote;
    }
    file.sync_all()
}
