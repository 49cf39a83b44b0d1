//! Where chunks that were moved lie now, for whoever still holds their old places.
//!
//! A player is given the places of a whole message when it begins, an export when it is asked for.
//! If a segment is retired meanwhile, the reader (`shell/reader.rs`) asks here.
//!
//! A move is remembered for [`REMEMBERED_FOR`], which is longer than any message is played. If more
//! than [`MOVES_MAX`] chunks are moved in that time, the oldest are forgotten first. Whoever still
//! holds their places hears half a second of silence for each.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::seam::ChunkPlace;
use crate::time::Time;

/// 256 thousand chunks, a gibibyte of sound; some 20 MiB of memory at most.
pub const MOVES_MAX: usize = 256 * 1024;
/// See the chapter above.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(2 * 3600);

/// See the chapter above.
#[derive(Debug, Default)]
pub struct Moves {
    to: BTreeMap<(u32, u64), (u32, u64)>,
    /// In the order they were moved.
    order: VecDeque<(Time, (u32, u64))>,
}

impl Moves {
    /// A chunk was moved.
    pub fn add(&mut self, now: Time, from: &ChunkPlace, to: &ChunkPlace) {
        let from = (from.segment, from.offset);
        if self.to.insert(from, (to.segment, to.offset)).is_none() {
            self.order.push_back((now, from));
        }
        while let Some((at, oldest)) = self.order.front().copied()
            && (now.since(at) > REMEMBERED_FOR || self.order.len() > MOVES_MAX)
        {
            self.order.pop_front();
            self.to.remove(&oldest);
        }
    }

    /// Where the chunk that was here lies now.
    pub fn find(&self, place: &ChunkPlace) -> Option<ChunkPlace> {
        let mut found = None;
        let mut at = (place.segment, place.offset);
        // Segment numbers only rise, so this ends.
        while let Some(to) = self.to.get(&at) {
            at = *to;
            found = Some(ChunkPlace {
                segment: at.0,
                offset: at.1,
                ..*place
            });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(segment: u32) -> ChunkPlace {
        ChunkPlace {
            segment,
            offset: 4096,
            samples: 9,
        }
    }

    #[test]
    fn a_chunk_is_found_after_several_moves_until_it_is_forgotten() {
        let mut moves = Moves::default();
        let hour = |n: u64| Time(n * 3_600_000_000_000);
        moves.add(hour(0), &place(1), &place(5));
        moves.add(hour(1), &place(5), &place(9));
        assert_eq!(moves.find(&place(1)), Some(place(9)));
        assert_eq!(moves.find(&place(9)), None);
        moves.add(hour(3), &place(2), &place(7));
        assert_eq!(moves.find(&place(1)), None);
        assert_eq!(moves.find(&place(5)), Some(place(9)));
    }

    #[test]
    fn there_is_a_most() {
        let mut moves = Moves::default();
        for n in 1..=2 * MOVES_MAX as u32 {
            moves.add(Time(0), &place(n), &place(u32::MAX));
        }
        assert_eq!((moves.to.len(), moves.order.len()), (MOVES_MAX, MOVES_MAX));
    }
}
