//! Sound read back from the log.
//!
//! Players and exporters hold a [`SoundReader`] and ask for one chunk after the other by its
//! place. Every chunk's checksum is looked at on the way. Reads go through the page cache, and
//! only for the asked block: pages read ahead of the writer would be stale before they are used.
//! Encrypted sound is given out decrypted, or not at all.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::block::BLOCK_BYTES;
use crate::cipher::{self, Keyring, Locked};
use crate::compaction::moves::Moves;
use crate::record::{self, Fault};
use crate::seam::ChunkPlace;
use crate::segment;
use crate::time::Time;

/// Segments a reader keeps open.
const FILES_OPEN_MAX: usize = 64;

/// Reads chunks. Cheap to clone; all clones share their open files.
#[derive(Clone, Debug)]
pub struct SoundReader {
    dir: Arc<PathBuf>,
    files: Arc<Mutex<BTreeMap<u32, Arc<File>>>>,
    moves: Arc<Mutex<Moves>>,
    keyring: Keyring,
}

/// Why a chunk could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system refused.
    #[error("reading {0}: {1}")]
    Os(String, #[source] io::Error),
    /// There is no such chunk there, or it is damaged.
    #[error("{file} at {offset}: {fault}")]
    Damaged {
        /// The segment's file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// It is there and whole, but not to be heard by this node.
    #[error("this sound cannot be heard: {0}")]
    Locked(Locked),
}

impl SoundReader {
    /// For the log in `dir`; no node need be running.
    pub fn new(dir: impl Into<PathBuf>) -> SoundReader {
        SoundReader {
            dir: Arc::new(dir.into()),
            files: Arc::default(),
            moves: Arc::default(),
            keyring: Keyring::default(),
        }
    }

    /// The same, with the encryption keys to hear what is encrypted.
    pub fn with_keyring(self, keyring: Keyring) -> SoundReader {
        SoundReader { keyring, ..self }
    }

    /// Appends the chunk's samples to `into`. A chunk that was moved since its place was asked for is
    /// read where it lies now, see `compaction/moves.rs`.
    pub fn read(&self, place: &ChunkPlace, into: &mut Vec<u8>) -> Result<(), ReadError> {
        let found = self.read_at(place, into);
        if matches!(found, Ok(()) | Err(ReadError::Locked(_))) {
            return found;
        }
        let moves = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(to) = moves.find(place) else {
            return found;
        };
        drop(moves);
        self.read_at(&to, into)
    }

    /// A chunk lies elsewhere now.
    pub(super) fn moved(&self, now: Time, from: &ChunkPlace, to: &ChunkPlace) {
        let mut moves = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        moves.add(now, from, to);
    }

    /// A segment is no more.
    pub(super) fn forget(&self, segment: u32) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.remove(&segment);
    }

    fn read_at(&self, place: &ChunkPlace, into: &mut Vec<u8>) -> Result<(), ReadError> {
        let os = |e| ReadError::Os(segment::file_name(place.segment), e);
        let file = self.file(place.segment).map_err(os)?;
        let mut block = [0; BLOCK_BYTES];
        file.read_exact_at(&mut block, place.offset).map_err(os)?;
        let damaged = |fault| {
            let file = segment::file_name(place.segment);
            ReadError::Damaged {
                file,
                offset: place.offset,
                fault,
            }
        };
        let (id, index, bytes) = record::decode_chunk(&block).map_err(damaged)?;
        if cipher::samples_in(index, bytes.len()) != Some(place.samples as usize) {
            return Err(damaged(Fault::Content));
        }
        let start = into.len();
        into.extend_from_slice(bytes);
        let samples = self.keyring.decrypt(id, index, &mut into[start..]);
        into.truncate(start + samples.as_ref().map_or(0, |samples| *samples));
        samples.map(drop).map_err(ReadError::Locked)
    }

    fn file(&self, segment: u32) -> io::Result<Arc<File>> {
        // A panic elsewhere leaves the table as it is: a cache of open files.
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&segment) {
            return Ok(file.clone());
        }
        let file = Arc::new(File::open(self.dir.join(segment::file_name(segment)))?);
        super::sys::read_only_what_is_asked(&file);
        if files.len() == FILES_OPEN_MAX {
            files.pop_first();
        }
        files.insert(segment, file.clone());
        Ok(file)
    }
}
