//! A chunk of sound in the memory it is written from.
//!
//! The recorder fills the samples, the log fills the header in front of them, and the disk write
//! (later also the link to the peers) reads the same 4 KiB of aligned memory: the samples are
//! copied once, from the packet. Blocks are big for a stack and cheap to recycle: the log hands
//! written ones back through a pool.

/// The unit of the disk: what is written together with one checksum, aligned for direct I/O.
pub const BLOCK_BYTES: usize = 4096;

/// The most samples of G.711 in one chunk: half a second at 8 kHz.
pub const CHUNK_SAMPLES_MAX: usize = 4000;

/// Room in front of the samples for the record's header, filled in by the log.
pub const CHUNK_HEADER_BYTES: usize = BLOCK_BYTES - CHUNK_SAMPLES_MAX;

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
    samples: usize,
}

impl ChunkBlock {
    /// An empty chunk.
    pub fn new() -> ChunkBlock {
        ChunkBlock {
            block: Block::zeroed(),
            samples: 0,
        }
    }

    /// Copies as much of `samples` as fits; returns how many it took.
    pub fn push(&mut self, samples: &[u8]) -> usize {
        let taken = samples.len().min(CHUNK_SAMPLES_MAX - self.samples);
        let start = CHUNK_HEADER_BYTES + self.samples;
        self.block.0[start..start + taken].copy_from_slice(&samples[..taken]);
        self.samples += taken;
        taken
    }

    /// The samples so far.
    pub fn samples(&self) -> &[u8] {
        &self.block.0[CHUNK_HEADER_BYTES..CHUNK_HEADER_BYTES + self.samples]
    }

    /// No room left: half a second is in it.
    pub fn is_full(&self) -> bool {
        self.samples == CHUNK_SAMPLES_MAX
    }

    /// Nothing in it yet.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Lets the log put the header in front of the samples, and clears what an earlier, longer
    /// half second left behind them.
    pub(crate) fn put_header(&mut self, put: impl FnOnce(&mut [u8])) {
        let (record, rest) = self.block.0.split_at_mut(CHUNK_HEADER_BYTES + self.samples);
        rest.fill(0);
        put(record);
    }

    /// All of the block, as it goes to the disk.
    pub(crate) fn bytes(&self) -> &[u8; BLOCK_BYTES] {
        &self.block.0
    }

    /// Empties it for the next half second; the memory stays.
    pub fn clear(&mut self) {
        self.samples = 0;
    }
}

impl Default for ChunkBlock {
    fn default() -> Self {
        ChunkBlock::new()
    }
}

impl std::fmt::Debug for ChunkBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChunkBlock({} samples)", self.samples)
    }
}
