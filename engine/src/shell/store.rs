//! Where sounds go and come from: the log, seen from here.

use tandem_storage::block::ChunkBlock;
use tandem_storage::name::Id;
use tandem_storage::seam::{Append, ChunkPlace, Owner, Token};
use tandem_storage::{Log, ReadError};

/// Takes chunks from workers and gives them to the reader thread.
pub trait SoundStore: Clone + Send + 'static {
    /// Takes a chunk, or gives it back if there is no room for it just now. Never waits.
    fn submit(&self, sound: Id, index: u32, block: ChunkBlock) -> Result<(), ChunkBlock>;

    /// An empty chunk for the next half second, from memory used before if there is some.
    fn chunk(&self) -> ChunkBlock;

    /// Reads a chunk's samples to the end of `into`. May wait for the disk.
    fn read(&self, place: &ChunkPlace, into: &mut Vec<u8>) -> Result<(), Unread>;
}

/// Why a chunk could not be read, in words.
#[derive(Debug)]
pub enum Unread {
    /// It is damaged, or not there.
    Broken(String),
    /// It is encrypted, and the key is not here.
    Locked(String),
}

/// Chunks bear this token: nobody waits for their commit.
pub const TOKEN_CHUNK: Token = Token::new(Owner::Media, 0);

impl SoundStore for Log {
    fn submit(&self, sound: Id, index: u32, block: ChunkBlock) -> Result<(), ChunkBlock> {
        // The log would refuse it, and nobody reads its refusals of chunks: keep it for a moment, and
        // end the recording in time to tell the caller.
        if !self.can_record() {
            return Err(block);
        }
        let chunk = Append::Chunk {
            id: sound,
            index,
            block,
        };
        match Log::submit(self, TOKEN_CHUNK, chunk) {
            Ok(()) => Ok(()),
            Err(Append::Chunk { block, .. }) => Err(block),
            Err(_) => unreachable!("the log gives back what it was given"),
        }
    }

    fn chunk(&self) -> ChunkBlock {
        Log::chunk(self)
    }

    fn read(&self, place: &ChunkPlace, into: &mut Vec<u8>) -> Result<(), Unread> {
        self.reader().read(place, into).map_err(|error| {
            let words = error.to_string();
            match error {
                ReadError::Locked(_) => Unread::Locked(words),
                ReadError::Os(..) | ReadError::Damaged { .. } => Unread::Broken(words),
            }
        })
    }
}
