//! What the log thread hands to others, and neither waits nor spins for them.
//!
//! Each handover has one thread that puts in, the log thread. In a channel without a limit that one
//! never finds a place which another is about to fill or to empty: it goes before others, and would
//! keep that other from the processor by waiting. So the limit is counted here instead of in the channel.
//!
//! Bound: [`Handover::put_within`]; what is put in without a limit answers a request, of which
//! there are only so many.

use std::sync::{Mutex, PoisonError};

use crossbeam::channel::{self, Receiver, Sender};

use crate::block::ChunkBlock;

/// The log thread's end.
#[derive(Debug)]
pub(super) struct Handover<T>(Sender<T>);

/// A handover, and where it leads.
pub(super) fn handover<T>() -> (Handover<T>, Receiver<T>) {
    let (sender, receiver) = channel::unbounded();
    (Handover(sender), receiver)
}

impl<T> Handover<T> {
    /// If nobody takes it any more, nobody waits for it.
    pub(super) fn put(&self, value: T) {
        let _ = self.0.send(value);
    }

    /// As long as no more than so many wait. False: they do.
    pub(super) fn put_within(&self, most: usize, value: T) -> bool {
        self.0.len() < most && self.0.send(value).is_ok()
    }
}

/// Chunks that the log thread is done with, for whoever fills the next.
#[derive(Debug, Default)]
pub(super) struct SpareChunks(Mutex<Vec<ChunkBlock>>);

/// Chunks kept for reuse: 16 MiB, the half second of 4,096 sounds.
const SPARE_CHUNKS_MAX: usize = 4096;

impl SpareChunks {
    /// From the log thread, which does not wait: while another takes one, this one's memory is given back.
    pub(super) fn give(&self, mut chunk: ChunkBlock) {
        chunk.clear();
        if let Ok(mut spare) = self.0.try_lock()
            && spare.len() < SPARE_CHUNKS_MAX
        {
            spare.push(chunk);
        }
    }

    /// One of them, if there is one.
    pub(super) fn take(&self) -> Option<ChunkBlock> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_waits() {
        let (handover, taken) = handover();
        for n in 0..3 {
            assert!(handover.put_within(3, n));
        }
        assert!(!handover.put_within(3, 3));
        handover.put(4);
        assert_eq!(taken.try_iter().collect::<Vec<_>>(), [0, 1, 2, 4]);
        assert!(handover.put_within(3, 5));
        drop(taken);
        assert!(!handover.put_within(3, 6), "nobody is there");
    }

    #[test]
    fn the_log_thread_does_not_wait_for_who_takes_a_chunk() {
        let spare = SpareChunks::default();
        spare.give(ChunkBlock::default());
        {
            let _taking = spare.0.lock();
            spare.give(ChunkBlock::default());
        }
        assert!(spare.take().is_some());
        assert!(spare.take().is_none(), "the second one was let go");
    }
}
