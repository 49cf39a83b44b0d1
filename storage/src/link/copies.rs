//! What is held durably here, and of whom: per author, kind and epoch the number through which nothing
//! is missing.
//!
//! It is a number for each epoch and not one position: an author may get records of an old epoch
//! back that were lost to it, and those must not be taken for known because newer ones are.
//!
//! Before that number is known, single records come: each is taken once. Else two nodes that pass a
//! third one's records on to each other would store, and pass on, the same ones for ever.
//!
//! Bounds: [`AUTHORS_MAX`] authors, [`EPOCHS_MAX`] epochs of each, single records of [`LOOSE_MAX`] epochs;
//! what is forgotten comes again.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringTreemap;

use super::frame::{EPOCHS_MAX, Epochs, RecordClass};
use super::seam::Position;
use crate::name::NodeName;

/// The most authors of whom it is remembered what is held.
pub(super) const AUTHORS_MAX: usize = 256;
/// The most epochs, of all authors, of which single records are remembered.
const LOOSE_MAX: usize = 4096;

/// See the chapter above.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    held: BTreeMap<(NodeName, RecordClass), Epochs>,
    unsaid: BTreeSet<(NodeName, RecordClass)>,
    unkept: BTreeSet<NodeName>,
    /// Numbers of records that were taken beyond what is held, per epoch.
    loose: BTreeMap<(NodeName, RecordClass, u32), RoaringTreemap>,
}

impl Copies {
    /// What is held of this author.
    pub(super) fn of(&self, author: NodeName, lane: RecordClass) -> &Epochs {
        const NOTHING: &Epochs = &Epochs::new();
        self.held.get(&(author, lane)).unwrap_or(NOTHING)
    }

    /// The record at this position is held, or was and is dead.
    pub(super) fn has(&self, author: NodeName, lane: RecordClass, position: Position) -> bool {
        covers(self.of(author, lane), position)
    }

    /// The record at this position came for the first time: it is to be stored.
    pub(super) fn take(&mut self, author: NodeName, lane: RecordClass, position: Position) -> bool {
        if self.has(author, lane, position) {
            return false;
        }
        let key = (author, lane, position.epoch);
        if self.loose.len() >= LOOSE_MAX && !self.loose.contains_key(&key) {
            self.loose.pop_first();
        }
        self.loose.entry(key).or_default().insert(position.seq)
    }

    /// Some that were taken were not stored: each may come again.
    pub(super) fn forget_taken(&mut self) {
        self.loose.clear();
    }

    /// The highest position held.
    pub(super) fn highest(&self, author: NodeName) -> Position {
        let last = self.of(author, RecordClass::Metadata).last_key_value();
        last.map_or(Position::default(), |(epoch, seq)| Position {
            epoch: *epoch,
            seq: *seq,
        })
    }

    /// Some of this is held, nobody knows how much.
    pub(super) fn note(&mut self, author: NodeName, lane: RecordClass) {
        if !self.held.contains_key(&(author, lane)) && self.held.len() < 2 * AUTHORS_MAX {
            self.held.insert((author, lane), Epochs::new());
            self.unsaid.insert((author, lane));
        }
    }

    /// So much is held, too. True: something changed.
    pub(super) fn raise(&mut self, author: NodeName, lane: RecordClass, more: &Epochs) -> bool {
        self.note(author, lane);
        let Some(held) = self.held.get_mut(&(author, lane)) else {
            return false;
        };
        let mut changed = false;
        for (epoch, seq) in more {
            let ours = held.entry(*epoch).or_default();
            changed |= *ours < *seq;
            *ours = (*ours).max(*seq);
            let key = (author, lane, *epoch);
            if let Some(loose) = self.loose.get_mut(&key) {
                loose.remove_range(..=*ours);
                if loose.is_empty() {
                    self.loose.remove(&key);
                }
            }
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
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeName, RecordClass)> {
        self.held.keys().copied()
    }

    /// There is something that the peers were not told of.
    pub(super) fn has_unsaid(&self) -> bool {
        !self.unsaid.is_empty()
    }

    /// What that was.
    pub(super) fn take_unsaid(&mut self) -> BTreeSet<(NodeName, RecordClass)> {
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
        assert!(copies.raise(a, RecordClass::Metadata, &Epochs::from([(1, 5), (7, 90)])));
        assert!(!copies.raise(a, RecordClass::Metadata, &Epochs::from([(1, 4)])));
        assert!(!copies.has(a, RecordClass::Metadata, Position { epoch: 1, seq: 6 }));
        assert!(copies.raise(a, RecordClass::Metadata, &Epochs::from([(1, 6)])));
        assert!(copies.has(a, RecordClass::Metadata, Position { epoch: 1, seq: 6 }));
        assert!(!copies.has(a, RecordClass::Sound, Position { epoch: 1, seq: 1 }));
        assert_eq!(copies.highest(a), Position { epoch: 7, seq: 90 });
    }

    #[test]
    fn a_record_is_taken_once_until_it_is_held_or_was_not_stored() {
        let a = "a".parse().unwrap();
        let at = |seq| Position { epoch: 3, seq };
        let mut copies = Copies::default();
        assert!(
            copies.take(a, RecordClass::Metadata, at(7))
                && copies.take(a, RecordClass::Metadata, at(2))
        );
        assert!(
            !copies.take(a, RecordClass::Metadata, at(7))
                && copies.take(a, RecordClass::Sound, at(7))
        );
        assert!(!copies.has(a, RecordClass::Metadata, at(7)));
        copies.raise(a, RecordClass::Metadata, &Epochs::from([(3, 6)]));
        assert!(
            !copies.take(a, RecordClass::Metadata, at(2))
                && !copies.take(a, RecordClass::Metadata, at(7))
        );
        copies.raise(a, RecordClass::Metadata, &Epochs::from([(3, 9)]));
        copies.raise(a, RecordClass::Sound, &Epochs::from([(3, 9)]));
        assert!(copies.loose.is_empty());
        assert!(copies.take(a, RecordClass::Metadata, at(10)));
        copies.forget_taken();
        assert!(copies.take(a, RecordClass::Metadata, at(10)));
    }

    #[test]
    fn what_is_remembered_of_single_records_has_a_most() {
        let a = "a".parse().unwrap();
        let mut copies = Copies::default();
        for epoch in 0..2 * LOOSE_MAX as u32 {
            copies.take(a, RecordClass::Sound, Position { epoch, seq: 1 });
        }
        assert_eq!(copies.loose.len(), LOOSE_MAX);
    }
}
