//! Which segments of a log are retired: all that was live in them was moved on.
//!
//! Compaction (`compaction.rs`) adds to them. Each time it does, it writes all of them into the log
//! as one record, and the newest such record holds. When a segment is not there, recovery asks here
//! whether it is retired or lost.
//!
//! The numbers of records run on across a gap. Nobody needs to know what the records in it were.
//! But recovery must know how far the records *before* a gap count. The record that said so (the
//! next one, or the one that opened the next epoch) may have been in the gap. So each gap carries
//! the last record before it that counts.
//!
//! Bounds: there are at most [`GAPS_MAX`] gaps. A log with that many retires only segments beside a
//! gap.

use std::fmt;

/// The most gaps: as many as one record can name.
pub const GAPS_MAX: usize = 2800;

/// A run of retired segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first of them.
    pub first: u32,
    /// The last of them.
    pub last: u32,
    /// Epoch and sequence number of the last record before it that counts. Epoch 0: it is not known,
    /// or there is none.
    pub before: (u32, u64),
}

/// The retired segments of a log. The gaps rise and do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retired(Vec<Gap>);

impl Retired {
    /// From gaps that were written down. `None`: they do not rise, touch, or are too many.
    pub fn from_gaps(gaps: Vec<Gap>) -> Option<Retired> {
        let is_whole = |gap: &Gap| gap.first > 0 && gap.first <= gap.last;
        let rise = gaps
            .windows(2)
            .all(|two| u64::from(two[0].last) + 1 < u64::from(two[1].first));
        (gaps.len() <= GAPS_MAX && gaps.iter().all(is_whole) && rise).then_some(Retired(gaps))
    }

    /// All segments before this one.
    pub fn all_before(segment: u32) -> Retired {
        let gap = segment
            .checked_sub(1)
            .filter(|last| *last > 0)
            .map(|last| Gap {
                first: 1,
                last,
                before: (0, 0),
            });
        Retired(gap.into_iter().collect())
    }

    /// These, and all segments before `segment`, which itself is not retired.
    pub fn and_all_before(&self, segment: u32) -> Retired {
        let mut all = Retired::all_before(segment);
        let later = self.0.iter().filter(|gap| gap.first > segment);
        all.0.extend(later);
        all
    }

    /// The segments from `first` to before `next` that were not retired.
    pub fn others(&self, first: u32, next: u32) -> impl Iterator<Item = u32> {
        let mut number = first;
        std::iter::from_fn(move || {
            while let Some(gap) = self.gap_of(number) {
                number = gap.last.checked_add(1)?;
            }
            let other = (number < next).then_some(number)?;
            number = number.checked_add(1)?;
            Some(other)
        })
    }

    /// The gaps, rising.
    pub fn gaps(&self) -> &[Gap] {
        &self.0
    }

    /// No segment was ever retired.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This segment was retired.
    pub fn contains(&self, segment: u32) -> bool {
        self.gap_of(segment).is_some()
    }

    /// The gap this segment is in.
    pub fn gap_of(&self, segment: u32) -> Option<&Gap> {
        let at = self.0.partition_point(|gap| gap.last < segment);
        self.0.get(at).filter(|gap| gap.first <= segment)
    }

    /// There is room to retire this one, too.
    pub fn has_room_for(&self, segment: u32) -> bool {
        let beside = |other: Option<u32>| other.is_some_and(|other| self.contains(other));
        self.0.len() < GAPS_MAX || beside(segment.checked_add(1)) || beside(segment.checked_sub(1))
    }

    /// Retires a segment. `before`: the last record before it that counts.
    pub fn add(&mut self, segment: u32, before: (u32, u64)) {
        if self.contains(segment) {
            return;
        }
        let at = self.0.partition_point(|gap| gap.last < segment);
        self.0.insert(
            at,
            Gap {
                first: segment,
                last: segment,
                before,
            },
        );
        self.join(at);
        if let Some(at) = at.checked_sub(1) {
            self.join(at);
        }
    }

    /// Makes one of the gap at `at` and the next, if they touch.
    fn join(&mut self, at: usize) {
        if let (Some(this), Some(next)) = (self.0.get(at), self.0.get(at + 1))
            && this.last + 1 == next.first
        {
            self.0[at].last = next.last;
            self.0.remove(at + 1);
        }
    }
}

impl fmt::Display for Retired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, gap) in self.0.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            match gap.first == gap.last {
                true => write!(f, "{comma}{}", gap.first)?,
                false => write!(f, "{comma}{}-{}", gap.first, gap.last)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn gaps_that_touch_become_one_and_keep_what_is_before_the_first() {
        let mut retired = Retired::default();
        for (segment, seq) in [(5, 50), (3, 30), (9, 90), (4, 40), (1, 0)] {
            retired.add(segment, (1, seq));
        }
        assert_eq!(retired.to_string(), "1, 3-5, 9");
        let before: Vec<_> = retired.gaps().iter().map(|gap| gap.before.1).collect();
        assert_eq!(before, [0, 30, 90]);
    }

    proptest! {
        #[test]
        fn it_is_a_set(numbers in proptest::collection::vec(1..60u32, 0..60)) {
            let mut retired = Retired::default();
            numbers.iter().for_each(|n| retired.add(*n, (1, u64::from(*n))));
            let set: BTreeSet<u32> = numbers.into_iter().collect();
            for n in 0..70 {
                prop_assert_eq!(retired.contains(n), set.contains(&n));
            }
            let others: Vec<u32> = (5..50).filter(|n| !set.contains(n)).collect();
            prop_assert_eq!(retired.others(5, 50).collect::<Vec<_>>(), others);
            prop_assert!(Retired::from_gaps(retired.gaps().to_vec()) == Some(retired));
        }
    }

    #[test]
    fn gaps_that_are_out_of_order_are_refused() {
        let gap = |first, last| Gap {
            first,
            last,
            before: (1, 1),
        };
        for bad in [
            vec![gap(0, 1)],
            vec![gap(3, 2)],
            vec![gap(1, 2), gap(3, 4)],
            vec![gap(5, 6), gap(1, 2)],
            vec![gap(1, u32::MAX), gap(7, 7)],
        ] {
            assert_eq!(Retired::from_gaps(bad), None);
        }
    }
}
