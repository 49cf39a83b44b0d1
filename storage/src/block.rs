//! A chunk of sound in the memory it is written from.
//!
//! The recorder fills the samples, the log fills the header in front of them, and the disk write
//! (later also the link to the peers) reads the same 4 KiB of aligned memory: the samples are
//! copied once, from the packet. Blocks are big for a stack and cheap to recycle: the log hands
//! written ones back through a pool.
//!
//! There is always room behind the samples for what encryption adds, see `cipher.rs`.

use crate::cipher::TRAILER_BYTES;

/// The unit of the disk: what is written together with one checksum, aligned for direct I/O.
pub const BLOCK_BYTES: usize = 4096;

/// What a chunk's record holds besides its header.
pub const CHUNK_BYTES_MAX: usize = 4000;

/// Room in front of the samples for the record's header, filled in by the log.
pub const CHUNK_HEADER_BYTES: usize = BLOCK_BYTES - CHUNK_BYTES_MAX;

/// The most samples of G.711 that are put into one chunk: half a second at 8 kHz, less what
/// encryption adds.
pub const CHUNK_SAMPLES_MAX: usize = CHUNK_BYTES_MAX - TRAILER_BYTES;

/// 4 KiB, aligned for `O_DIRECT`.
#[repr(C, align(4096))]
pub struct Block(pub [u8; BLOCK_BYTES]);

impl Block {
    /// A block of zeros.
    pub fn zeroed() -> Box<Block> {
        Box::new(Block([0; BLOCK_BYTES]))
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Block")
    }
}

/// Up to half a second of sound, in the block it will be written from.
pub struct ChunkBlock {
    block: Box<Block>,
    /// In use; samples, or what encryption made of them.
    bytes: usize,
}

impl ChunkBlock {
    /// An empty chunk.
    pub fn new() -> ChunkBlock {
        ChunkBlock {
            block: Block::zeroed(),
            bytes: 0,
        }
    }

    /// What lies in a chunk's record behind its header, as it is; what is longer than can be is cut.
    pub fn of_record(bytes: &[u8]) -> ChunkBlock {
        ChunkBlock::new().of_record_instead(bytes)
    }

    /// As [`ChunkBlock::of_record`], in memory that was used before.
    pub fn of_record_instead(mut self, bytes: &[u8]) -> ChunkBlock {
        self.clear();
        self.put(&bytes[..bytes.len().min(CHUNK_BYTES_MAX)]);
        self
    }

    /// Copies as much of `samples` as fits; returns how many it took.
    pub fn push(&mut self, samples: &[u8]) -> usize {
        let room = CHUNK_SAMPLES_MAX.saturating_sub(self.bytes);
        let taken = samples.len().min(room);
        self.put(&samples[..taken]);
        taken
    }

    /// The samples so far; once it is encrypted, what is written in their place.
    pub fn samples(&self) -> &[u8] {
        &self.block.0[CHUNK_HEADER_BYTES..CHUNK_HEADER_BYTES + self.bytes]
    }

    /// To encrypt them where they are.
    pub(crate) fn samples_mut(&mut self) -> &mut [u8] {
        &mut self.block.0[CHUNK_HEADER_BYTES..CHUNK_HEADER_BYTES + self.bytes]
    }

    /// What encryption adds; [`CHUNK_SAMPLES_MAX`] left room for it.
    pub(crate) fn push_trailer(&mut self, bytes: &[u8]) {
        self.put(bytes);
    }

    /// Keeps only the first so many bytes.
    pub(crate) fn cut(&mut self, bytes: usize) {
        self.bytes = self.bytes.min(bytes);
    }

    fn put(&mut self, bytes: &[u8]) {
        let start = CHUNK_HEADER_BYTES + self.bytes;
        self.block.0[start..start + bytes.len()].copy_from_slice(bytes);
        self.bytes += bytes.len();
    }

    /// No room left: half a second is in it.
    pub fn is_full(&self) -> bool {
        self.bytes >= CHUNK_SAMPLES_MAX
    }

    /// Nothing in it yet.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Lets the log put the header in front of the samples, and clears what an earlier, longer
    /// half second left behind them.
    pub(crate) fn put_header(&mut self, put: impl FnOnce(&mut [u8])) {
        let (record, rest) = self.block.0.split_at_mut(CHUNK_HEADER_BYTES + self.bytes);
        rest.fill(0);
        put(record);
    }

    /// All of the block, as it goes to the disk.
    pub(crate) fn bytes(&self) -> &[u8; BLOCK_BYTES] {
        &self.block.0
    }

    /// Empties it for the next half second; the memory stays.
    pub fn clear(&mut self) {
        self.bytes = 0;
    }
}

impl Default for ChunkBlock {
    fn default() -> Self {
        ChunkBlock::new()
    }
}

impl std::fmt::Debug for ChunkBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChunkBlock({} bytes)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_used_before_shows_nothing_of_it() {
        let mut used = ChunkBlock::new();
        used.push(&[1; 3000]);
        let mut again = used.of_record_instead(&[2; 10]);
        let mut fresh = ChunkBlock::of_record(&[2; 10]);
        for chunk in [&mut again, &mut fresh] {
            chunk.put_header(|record| record[..CHUNK_HEADER_BYTES].fill(3));
        }
        assert_eq!(again.samples(), [2; 10]);
        assert_eq!(again.bytes(), fresh.bytes());
    }
}
