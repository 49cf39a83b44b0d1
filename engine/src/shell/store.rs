//! Where sounds go and come from: the log, seen from here.

use tandem_storage::block::ChunkBlock;
use tandem_storage::name::Id;
use tandem_storage::seam::ChunkPlace;

/// Takes chunks from workers and gives them to the reader thread.
pub trait SoundStore: Clone + Send + 'static {
    /// Takes a chunk, or gives it back if there is no room for it just now. Never waits.
    fn submit(&self, sound: Id, index: u32, block: ChunkBlock) -> Result<(), ChunkBlock>;

    /// Reads a chunk's samples to the end of `into`. May wait for the disk.
    fn read(&self, place: &ChunkPlace, into: &mut Vec<u8>) -> Result<(), String>;
}
