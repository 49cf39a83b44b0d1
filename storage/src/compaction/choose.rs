//! Which segment is compacted next.
//!
//! The log is bounded: it is never longer than 1.3 times what is live in it and one segment. The
//! segment that is prepared comes on top. While a segment is moved, what is live in it is there
//! twice. So compaction begins while there is still room for that.
//!
//! A segment that is nearly all live is left alone, since moving it would gain nothing.

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
    /// What is live in it.
    pub writing_live: u64,
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
    /// What is live in it.
    pub live: u64,
    /// Since when it hides destroyed sound, or an older copy.
    pub hides_since: Option<WallTime>,
}

/// What is done with which segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Move what is live out of it and retire it.
    Compact(u32),
    /// Read it, to see that it is whole.
    Scrub(u32),
}

/// How much larger the log may be than what is live in it, in tenths.
const BOUND_TENTHS: u64 = 13;
/// A segment with more tenths live than this is not worth moving.
const WORTH_TENTHS: u64 = 9;

impl Standing {
    /// Bytes that are written, and those that never will be, because their segment is full.
    pub(super) fn log_bytes(&self) -> u64 {
        let closed: u64 = self.segments.iter().map(|s| s.bytes).sum();
        closed + self.writing_used
    }

    pub(super) fn live_bytes(&self) -> u64 {
        let closed: u64 = self.segments.iter().map(|s| s.live).sum();
        closed + self.writing_live
    }

    /// The log is beyond its bound.
    pub(super) fn is_too_large(&self) -> bool {
        self.log_bytes() > self.bound()
    }

    fn bound(&self) -> u64 {
        self.live_bytes() * BOUND_TENTHS / 10 + self.segment_bytes
    }

    /// A segment that has hidden something for half of `hidden_for`. Those that have for three
    /// quarters of it go first. Of equally urgent ones the one with the least live in it goes first,
    /// since it makes room for the others.
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
        let next = overdue.min_by_key(|s| (!hides_for(s, hidden_for / 4 * 3), s.live, s.number))?;
        Some(Choice::Compact(next.number))
    }

    /// The segment that is written to has hidden something for long. Once it is left, its unused
    /// part counts as used. So it is left when there is room for that, or when it must be.
    pub(super) fn is_to_be_left(&self, now: WallTime, hidden_for: Duration) -> bool {
        let hides_for = |time| {
            let since = self.writing_hides_since;
            since.is_some_and(|at| at + time <= now)
        };
        let unused = self.segment_bytes.saturating_sub(self.writing_used);
        let wanted = self.log_bytes() + unused + self.writing_live + self.segment_bytes / 2;
        hides_for(hidden_for / 2) && wanted <= self.bound() || hides_for(hidden_for / 10 * 9)
    }

    /// The segment with the least live in it, if it is time to compact it.
    pub(super) fn least_live(&self, can_go: &impl Fn(u32) -> bool) -> Option<Choice> {
        let worth = |s: &&SegmentStanding| s.live * 10 <= s.bytes * WORTH_TENTHS;
        let candidates = self.segments.iter().filter(|s| can_go(s.number));
        // The oldest of equals goes first. A segment that was cut off counts by its own length.
        let least = candidates
            .filter(worth)
            .min_by_key(|s| s.live * 1024 / s.bytes.max(1))?;
        let headroom = least.live + self.segment_bytes / 2;
        (self.log_bytes() + headroom > self.bound()).then_some(Choice::Compact(least.number))
    }

    /// The segment whose turn it is to be read again. The wall clock decides, so that a node that
    /// is often restarted does not always begin with the first.
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

    fn standing(live: &[u64]) -> Standing {
        let segment = |(number, live): (u32, &u64)| SegmentStanding {
            number,
            bytes: 100 * MIB,
            live: *live * MIB,
            hides_since: None,
        };
        Standing {
            segments: (1..).zip(live).map(segment).collect(),
            writing: live.len() as u32 + 1,
            writing_used: 0,
            writing_live: 0,
            writing_hides_since: None,
            segment_bytes: 100 * MIB,
        }
    }

    #[test]
    fn the_one_with_least_alive_goes_when_the_log_is_too_large() {
        let can_go = |_| true;
        assert_eq!(standing(&[]).least_live(&can_go), None);
        assert_eq!(standing(&[100, 100, 100]).least_live(&can_go), None);
        assert_eq!(
            standing(&[90, 85, 90, 95, 95, 99, 99]).least_live(&can_go),
            None
        );
        let least = standing(&[90, 20, 70, 60]).least_live(&can_go);
        assert_eq!(least, Some(Choice::Compact(2)));
        let other = standing(&[90, 20, 70, 60]).least_live(&|n| n != 2);
        assert_eq!(other, Some(Choice::Compact(4)));
    }

    #[test]
    fn of_those_that_hide_something_for_too_long_the_one_with_least_alive_goes_first() {
        let mut standing = standing(&[10, 90, 80, 20]);
        for (at, since) in [(1, 4_000), (2, 4_500), (3, 7_000)] {
            standing.segments[at].hides_since = Some(WallTime(since));
        }
        let overdue = |now| standing.overdue(WallTime(now), Duration::from_secs(10), &|_| true);
        assert_eq!(overdue(8_999), None);
        assert_eq!(overdue(9_000), Some(Choice::Compact(2)));
        assert_eq!(overdue(11_500), Some(Choice::Compact(2)));
        assert_eq!(overdue(12_000), Some(Choice::Compact(3)));
        assert_eq!(overdue(14_500), Some(Choice::Compact(4)));
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
