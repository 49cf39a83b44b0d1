//! Sounds of which a piece was refused: what is whole in the log has no hole.
//!
//! The writer asks here before it takes a piece of a sound or its seal. Whoever records does not
//! wait for each piece to be confirmed, and whoever seals was not told of a piece that was refused
//! (the disk was full for a moment). So after a refusal no further piece is taken, and a seal that
//! says "whole" is written as "cut short": the sound is what was spoken up to the hole.
//!
//! Bounds: [`SOUNDS_MAX`]; a sound that is never sealed falls out as the oldest.

use std::collections::BTreeSet;

use crate::name::Id;
use crate::seam::{Append, SealKind};

/// The most sounds remembered: as many as can be recorded at once, several times.
const SOUNDS_MAX: usize = 16 * 1024;

/// See the chapter above.
#[derive(Debug, Default)]
pub(crate) struct Holes {
    sounds: BTreeSet<Id>,
}

impl Holes {
    /// A piece of this sound, if of any, was refused.
    pub(crate) fn refused(&mut self, sound: Option<Id>) {
        self.sounds.extend(sound);
        if self.sounds.len() > SOUNDS_MAX {
            self.sounds.pop_first();
        }
    }

    /// It is a piece that would come after a hole.
    pub(crate) fn goes_on(&self, append: &Append) -> bool {
        matches!(append, Append::Chunk { id, .. } if self.sounds.contains(id))
    }

    /// Makes a seal say what is true.
    pub(crate) fn seal(&mut self, id: &Id, kind: &mut SealKind) {
        if self.sounds.remove(id) && *kind == SealKind::Whole {
            *kind = SealKind::CutShort;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::ChunkBlock;

    fn id(number: u64) -> Id {
        format!("office.1.{number}").parse().unwrap()
    }

    fn sealed(holes: &mut Holes, number: u64, mut kind: SealKind) -> SealKind {
        holes.seal(&id(number), &mut kind);
        kind
    }

    #[test]
    fn a_sound_with_a_hole_takes_no_more_and_is_cut_short_once() {
        let mut holes = Holes::default();
        let chunk = |number| Append::Chunk {
            id: id(number),
            index: 1,
            block: ChunkBlock::new(),
        };
        holes.refused(None);
        holes.refused(Some(id(1)));
        assert!(holes.goes_on(&chunk(1)) && !holes.goes_on(&chunk(2)));
        assert_eq!(sealed(&mut holes, 2, SealKind::Whole), SealKind::Whole);
        assert_eq!(sealed(&mut holes, 1, SealKind::Whole), SealKind::CutShort);
        assert!(!holes.goes_on(&chunk(1)));
        holes.refused(Some(id(3)));
        assert_eq!(
            sealed(&mut holes, 3, SealKind::Discarded),
            SealKind::Discarded
        );
    }

    #[test]
    fn there_is_a_most() {
        let mut holes = Holes::default();
        (0..2 * SOUNDS_MAX as u64).for_each(|n| holes.refused(Some(id(n))));
        assert_eq!(holes.sounds.len(), SOUNDS_MAX);
    }
}
