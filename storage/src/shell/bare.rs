//! The disk without the log: what a commit costs at least. For benches, to compare with.

use std::io;
use std::path::Path;

use super::files::{self, Disk};
use crate::batch::{BATCH_BLOCKS_MAX, Batch, BatchBlock};
use crate::block::{BLOCK_BYTES, Block};

/// A file written through beforehand, to be written to block by block, round and round.
#[derive(Debug)]
pub struct BarePath {
    disk: Disk,
    batch: Batch,
    spare: Vec<BatchBlock>,
    bytes: u64,
}

impl BarePath {
    /// In a folder of its own.
    pub fn new(dir: &Path, bytes: u64) -> io::Result<BarePath> {
        files::create_dir(dir)?;
        let segment = files::prepare(dir, 1, bytes)?;
        // Something that is not zero, lest a disk finds that easy.
        let block = |n: usize| {
            let mut block = Block::zeroed();
            block
                .0
                .iter_mut()
                .enumerate()
                .for_each(|(at, b)| *b = (at * 7 + n * 31) as u8);
            BatchBlock::Packed(block)
        };
        let spare = (0..BATCH_BLOCKS_MAX).map(block).collect();
        let batch = Batch {
            segment: segment.number,
            offset: 0,
            blocks: Vec::new(),
        };
        Ok(BarePath {
            disk: Disk::new(dir)?,
            batch,
            spare,
            bytes: segment.bytes,
        })
    }

    /// Makes so many blocks durable, at most [`BATCH_BLOCKS_MAX`].
    pub fn commit(&mut self, blocks: usize) -> io::Result<()> {
        let blocks = blocks.min(BATCH_BLOCKS_MAX);
        self.spare.append(&mut self.batch.blocks);
        self.batch.blocks = self.spare.split_off(self.spare.len() - blocks);
        let bytes = (blocks * BLOCK_BYTES) as u64;
        if self.batch.offset + bytes > self.bytes {
            self.batch.offset = 0;
        }
        let written = self.disk.write(&self.batch);
        self.batch.offset += bytes;
        written.map_err(|fault| io::Error::other(format!("{fault:?}")))
    }
}
