//! Which segment is cleaned next.
//!
//! The bound: at no time is more written than 1.3 times what is alive and one segment, and beside
//! it there is the one segment that is prepared. Moving a segment takes up, for a while, as much as
//! is alive in it; so it begins while there is still room for that.
//!
//! A segment that is nearly all alive is left alone, for there is nothing to gain by moving it.

use std::time::Duration;

use crate::time::WallTime;

/// How things stand.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The segments before the one that is written to, rising.
    pub segments: Vec<SegmentStanding>,
    /// The segment that is written to.
    pub writing: u32,
    /// How much of it is used.
    pub writing_used: u64,
    /// What is alive in it.
    pub writing_alive: u64,
    /// Since when it hides destroyed sound, or an older copy.
    pub writing_hides_since: Option<WallTime>,
    /// The length of a segment.
    pub segment_bytes: u64,
}

/// A segment that is full.
#[derive(Clone, Copy, Debug)]
pub struct SegmentStanding {
    /// Its number.
    pub number: u32,
    /// The length of its file.
    pub bytes: u64,
    /// What is alive in it.
    pub alive: u64,
    /// Since when it hides destroyed sound, or an older copy.
    pub hides_since: Option<WallTime>,
}

/// What is done with which segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Move what is alive out of it and give it up.
    Clean(u32),
    /// Read it, to see that it is whole.
    Scrub(u32),
}

/// The log may be so much larger than what is alive in it, in tenths.
const BOUND_TENTHS: u64 = 13;
/// With more than so many tenths alive, a segment is not worth moving.
const WORTH_TENTHS: u64 = 9;

impl Standing {
    /// Written, or cut off from being written, because its segment is full.
    pub(super) fn log_bytes(&self) -> u64 {
        let closed: u64 = self.segments.iter().map(|s| s.bytes).sum();
        closed + self.writing_used
    }

    pub(super) fn alive_bytes(&self) -> u64 {
        let closed: u64 = self.segments.iter().map(|s| s.alive).sum();
        closed + self.writing_alive
    }

    /// It is beyond its bound.
    pub(super) fn is_too_large(&self) -> bool {
        self.log_bytes() > self.bound()
    }

    fn bound(&self) -> u64 {
        self.alive_bytes() * BOUND_TENTHS / 10 + self.segment_bytes
    }

    /// A segment that has hidden something for half of `hidden_for`. Of those for which it is high time
    /// the one with the least alive in it, which makes room for the others; then of the rest.
    pub(super) fn overdue(
        &self,
        now: WallTime,
        hidden_for: Duration,
        can_go: &impl Fn(u32) -> bool,
    ) -> Option<Choice> {
        let hides_for =
            |s: &&SegmentStanding, time| s.hides_since.is_some_and(|at| at + time <= now);
        let candidates = self.segments.iter().filter(|s| can_go(s.number));
        let overdue = candidates.filter(|s| hides_for(s, hidden_for / 2));
        let next =
            overdue.min_by_key(|s| (!hides_for(s, hidden_for / 4 * 3), s.alive, s.number))?;
        Some(Choice::Clean(next.number))
    }

    /// The segment that is written to has hidden something for long. What is not used of it counts as
    /// used once it is left: so it is left when there is room for that, or when it must be.
    pub(super) fn is_to_be_left(&self, now: WallTime, hidden_for: Duration) -> bool {
        let hides_for = |time| {
            let since = self.writing_hides_since;
            since.is_some_and(|at| at + time <= now)
        };
        let unused = self.segment_bytes.saturating_sub(self.writing_used);
        let wanted = self.log_bytes() + unused + self.writing_alive + self.segment_bytes / 2;
        hides_for(hidden_for / 2) && wanted <= self.bound() || hides_for(hidden_for / 10 * 9)
    }

    /// The segment with the least alive in it, if it is time to clean it.
    pub(super) fn least_alive(&self, can_go: &impl Fn(u32) -> bool) -> Option<Choice> {
        let worth = |s: &&SegmentStanding| s.alive * 10 <= s.bytes * WORTH_TENTHS;
        let candidates = self.segments.iter().filter(|s| can_go(s.number));
        // Of equally long ones the oldest; a short one (it was cut off once) counts by its length.
        let least = candidates
            .filter(worth)
            .min_by_key(|s| s.alive * 1024 / s.bytes.max(1))?;
        let headroom = least.alive + self.segment_bytes / 2;
        (self.log_bytes() + headroom > self.bound()).then_some(Choice::Clean(least.number))
    }

    /// The segment whose turn it is to be read again. By the wall clock, so that a node that is
    /// often restarted does not always begin with the first.
    pub(super) fn to_scrub(&self, now: WallTime, every: Duration) -> Option<Choice> {
        let every_ms = every.as_millis().max(1);
        let passed = u128::from(now.0) % every_ms;
        let at = passed * self.segments.len() as u128 / every_ms;
        let segment = self.segments.get(usize::try_from(at).ok()?)?;
        Some(Choice::Scrub(segment.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn standing(alive: &[u64]) -> Standing {
        let segment = |(number, alive): (u32, &u64)| SegmentStanding {
            number,
            bytes: 100 * MIB,
            alive: *alive * MIB,
            hides_since: None,
        };
        Standing {
            segments: (1..).zip(alive).map(segment).collect(),
            writing: alive.len() as u32 + 1,
            writing_used: 0,
            writing_alive: 0,
            writing_hides_since: None,
            segment_bytes: 100 * MIB,
        }
    }

    #[test]
    fn the_one_with_least_alive_goes_when_the_log_is_too_large() {
        let can_go = |_| true;
        assert_eq!(standing(&[]).least_alive(&can_go), None);
        assert_eq!(standing(&[100, 100, 100]).least_alive(&can_go), None);
        assert_eq!(
            standing(&[90, 85, 90, 95, 95, 99, 99]).least_alive(&can_go),
            None
        );
        let least = standing(&[90, 20, 70, 60]).least_alive(&can_go);
        assert_eq!(least, Some(Choice::Clean(2)));
        let other = standing(&[90, 20, 70, 60]).least_alive(&|n| n != 2);
        assert_eq!(other, Some(Choice::Clean(4)));
    }

    #[test]
    fn of_those_that_hide_something_for_too_long_the_one_with_least_alive_goes_first() {
        let mut standing = standing(&[10, 90, 80, 20]);
        for (at, since) in [(1, 4_000), (2, 4_500), (3, 7_000)] {
            standing.segments[at].hides_since = Some(WallTime(since));
        }
        let overdue = |now| standing.overdue(WallTime(now), Duration::from_secs(10), &|_| true);
        assert_eq!(overdue(8_999), None);
        assert_eq!(overdue(9_000), Some(Choice::Clean(2)));
        assert_eq!(overdue(11_500), Some(Choice::Clean(2)));
        assert_eq!(overdue(12_000), Some(Choice::Clean(3)));
        assert_eq!(overdue(14_500), Some(Choice::Clean(4)));
    }

    #[test]
    fn all_are_read_again_in_time() {
        let standing = standing(&[100; 7]);
        let every = Duration::from_secs(70);
        let read: Vec<_> = (0..70)
            .filter_map(|s| standing.to_scrub(WallTime(s * 1000), every))
            .collect();
        for number in 1..=7 {
            assert_eq!(
                read.iter().filter(|c| **c == Choice::Scrub(number)).count(),
                10
            );
        }
    }
}
