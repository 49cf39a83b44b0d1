//! Which segments of a log are no more, because all that was alive in them was moved on.
//!
//! The cleaner (`clean.rs`) adds to it; each time it does, all of it goes into the log as one
//! record, and the newest such record holds. Recovery asks it whether a segment that is not there
//! was given up or lost.
//!
//! Numbers of records run on across a gap: what they were in it nobody needs to know. But of what
//! lies *before* a gap recovery must know how far it counts, for the record that said so (the next
//! one, or the one that opened the next epoch) may have been in it. So each gap carries that.
//!
//! Bounds: [`GAPS_MAX`]. A log with more of them gives up only segments beside a gap.

use std::fmt;

/// The most gaps: as many as one record can name.
pub const GAPS_MAX: usize = 2800;

/// A run of segments that were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first of them.
    pub first: u32,
    /// The last of them.
    pub last: u32,
    /// Epoch and sequence number of the last record before it that counts; epoch 0: not known, or
    /// there is none.
    pub before: (u32, u64),
}

/// See the chapter above. The gaps rise and do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenUp(Vec<Gap>);

impl GivenUp {
    /// From gaps that were written down; `None`: they are not as they should be.
    pub fn from_gaps(gaps: Vec<Gap>) -> Option<GivenUp> {
        let is_whole = |gap: &Gap| gap.first > 0 && gap.first <= gap.last;
        let rise = gaps
            .windows(2)
            .all(|two| u64::from(two[0].last) + 1 < u64::from(two[1].first));
        (gaps.len() <= GAPS_MAX && gaps.iter().all(is_whole) && rise).then_some(GivenUp(gaps))
    }

    /// All segments before this one.
    pub fn all_before(segment: u32) -> GivenUp {
        let gap = segment
            .checked_sub(1)
            .filter(|last| *last > 0)
            .map(|last| Gap {
                first: 1,
                last,
                before: (0, 0),
            });
        GivenUp(gap.into_iter().collect())
    }

    /// These, and all segments before `segment`, which itself was not given up.
    pub fn and_all_before(&self, segment: u32) -> GivenUp {
        let mut all = GivenUp::all_before(segment);
        let later = self.0.iter().filter(|gap| gap.first > segment);
        all.0.extend(later);
        all
    }

    /// The segments from `first` to before `next` that were not given up.
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

    /// Nothing was ever given up.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This segment was given up.
    pub fn contains(&self, segment: u32) -> bool {
        self.gap_of(segment).is_some()
    }

    /// The gap this segment is in.
    pub fn gap_of(&self, segment: u32) -> Option<&Gap> {
        let at = self.0.partition_point(|gap| gap.last < segment);
        self.0.get(at).filter(|gap| gap.first <= segment)
    }

    /// There is room to give this one up, too.
    pub fn has_room_for(&self, segment: u32) -> bool {
        let beside = |other: Option<u32>| other.is_some_and(|other| self.contains(other));
        self.0.len() < GAPS_MAX || beside(segment.checked_add(1)) || beside(segment.checked_sub(1))
    }

    /// Gives a segment up. `before`: the last record before it that counts.
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

impl fmt::Display for GivenUp {
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
        let mut given_up = GivenUp::default();
        for (segment, seq) in [(5, 50), (3, 30), (9, 90), (4, 40), (1, 0)] {
            given_up.add(segment, (1, seq));
        }
        assert_eq!(given_up.to_string(), "1, 3-5, 9");
        let before: Vec<_> = given_up.gaps().iter().map(|gap| gap.before.1).collect();
        assert_eq!(before, [0, 30, 90]);
    }

    proptest! {
        #[test]
        fn it_is_a_set(numbers in proptest::collection::vec(1..60u32, 0..60)) {
            let mut given_up = GivenUp::default();
            numbers.iter().for_each(|n| given_up.add(*n, (1, u64::from(*n))));
            let set: BTreeSet<u32> = numbers.into_iter().collect();
            for n in 0..70 {
                prop_assert_eq!(given_up.contains(n), set.contains(&n));
            }
            let others: Vec<u32> = (5..50).filter(|n| !set.contains(n)).collect();
            prop_assert_eq!(given_up.others(5, 50).collect::<Vec<_>>(), others);
            prop_assert!(GivenUp::from_gaps(given_up.gaps().to_vec()) == Some(given_up));
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
            assert_eq!(GivenUp::from_gaps(bad), None);
        }
    }
}
