//! What is held durably here, and of whom: per author, kind and epoch the number through which nothing
//! is missing.
//!
//! It is a number for each epoch and not one position: an author may get records of an old epoch
//! back that were lost to it, and those must not be taken for known because newer ones are.
//!
//! Bounds: [`AUTHORS_MAX`] authors, [`EPOCHS_MAX`] epochs of each; what is forgotten comes again.

use std::collections::{BTreeMap, BTreeSet};

use super::frame::{EPOCHS_MAX, Epochs, Lane};
use super::seam::Position;
use crate::name::NodeName;

/// The most authors of whom it is remembered what is held.
pub(super) const AUTHORS_MAX: usize = 256;

/// See the chapter above.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    held: BTreeMap<(NodeName, Lane), Epochs>,
    unsaid: BTreeSet<(NodeName, Lane)>,
    unkept: BTreeSet<NodeName>,
}

impl Copies {
    /// What is held of this author.
    pub(super) fn of(&self, author: NodeName, lane: Lane) -> &Epochs {
        const NOTHING: &Epochs = &Epochs::new();
        self.held.get(&(author, lane)).unwrap_or(NOTHING)
    }

    /// The record at this position is held, or was and is dead.
    pub(super) fn has(&self, author: NodeName, lane: Lane, position: Position) -> bool {
        covers(self.of(author, lane), position)
    }

    /// The highest position held.
    pub(super) fn highest(&self, author: NodeName) -> Position {
        let last = self.of(author, Lane::Metadata).last_key_value();
        last.map_or(Position::default(), |(epoch, seq)| Position {
            epoch: *epoch,
            seq: *seq,
        })
    }

    /// Some of this is held, nobody knows how much.
    pub(super) fn note(&mut self, author: NodeName, lane: Lane) {
        if !self.held.contains_key(&(author, lane)) && self.held.len() < 2 * AUTHORS_MAX {
            self.held.insert((author, lane), Epochs::new());
            self.unsaid.insert((author, lane));
        }
    }

    /// So much is held, too. True: something changed.
    pub(super) fn raise(&mut self, author: NodeName, lane: Lane, more: &Epochs) -> bool {
        self.note(author, lane);
        let Some(held) = self.held.get_mut(&(author, lane)) else {
            return false;
        };
        let mut changed = false;
        for (epoch, seq) in more {
            let ours = held.entry(*epoch).or_default();
            changed |= *ours < *seq;
            *ours = (*ours).max(*seq);
        }
        while held.len() > EPOCHS_MAX {
            held.pop_first();
        }
        if changed {
            self.unkept.insert(author);
        }
        changed
    }

    /// Of whom some is held, and of which kind.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeName, Lane)> {
        self.held.keys().copied()
    }

    /// There is something that the peers were not told of.
    pub(super) fn has_unsaid(&self) -> bool {
        !self.unsaid.is_empty()
    }

    /// What that was.
    pub(super) fn take_unsaid(&mut self) -> BTreeSet<(NodeName, Lane)> {
        std::mem::take(&mut self.unsaid)
    }

    /// Something changed that was not written down.
    pub(super) fn has_unkept(&self) -> bool {
        !self.unkept.is_empty()
    }

    /// Of whom.
    pub(super) fn take_unkept(&mut self) -> BTreeSet<NodeName> {
        std::mem::take(&mut self.unkept)
    }
}

/// This position is among them.
pub(super) fn covers(held: &Epochs, position: Position) -> bool {
    held.get(&position.epoch)
        .is_some_and(|seq| position.seq <= *seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_epoch_can_grow_although_a_newer_one_is_held() {
        let a = "a".parse().unwrap();
        let mut copies = Copies::default();
        assert!(copies.raise(a, Lane::Metadata, &Epochs::from([(1, 5), (7, 90)])));
        assert!(!copies.raise(a, Lane::Metadata, &Epochs::from([(1, 4)])));
        assert!(!copies.has(a, Lane::Metadata, Position { epoch: 1, seq: 6 }));
        assert!(copies.raise(a, Lane::Metadata, &Epochs::from([(1, 6)])));
        assert!(copies.has(a, Lane::Metadata, Position { epoch: 1, seq: 6 }));
        assert!(!copies.has(a, Lane::Sound, Position { epoch: 1, seq: 1 }));
        assert_eq!(copies.highest(a), Position { epoch: 7, seq: 90 });
    }
}
