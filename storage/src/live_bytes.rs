//! How many bytes of each segment are live. Compaction chooses segments by it.
//!
//! The view counts them while it takes records in. The count is exact but for entries: an entry is
//! live until it is old, so entries are counted by the month they are from. A record counts by the
//! bytes it takes to restate it (see [`crate::record::kept_bytes`]): a small record that has a block
//! to itself counts as small.
//!
//! A segment *hides* something if it holds sound that was destroyed, or an older copy of what is
//! further on. Compaction retires such a segment soon, even if all else in it is live.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::WallTime;

/// The live bytes of all segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveBytes(BTreeMap<u32, SegmentLive>);

/// The live bytes of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SegmentLive {
    /// Sounds, seals, registers.
    bytes: u64,
    /// Entries, by the month they are from.
    entries: BTreeMap<u16, u64>,
    /// Since when it hides something; the earliest.
    hides_since: Option<WallTime>,
}

const MONTH_MS: u64 = 30 * 24 * 3600 * 1000;

impl LiveBytes {
    /// The live bytes of this segment. Months that ended before `entries_from` do not count.
    pub fn bytes(&self, segment: u32, entries_from: WallTime) -> u64 {
        let from = month(entries_from);
        self.0.get(&segment).map_or(0, |live| {
            live.bytes + live.entries.range(from..).map(|(_, b)| b).sum::<u64>()
        })
    }

    /// The same, entries aside.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn bytes_without_entries(&self, segment: u32) -> u64 {
        self.0.get(&segment).map_or(0, |live| live.bytes)
    }

    /// Since when this segment hides something.
    pub fn hides_since(&self, segment: u32) -> Option<WallTime> {
        self.0.get(&segment)?.hides_since
    }

    /// Forgets segments that are no longer there. Those after the last of `there` are kept.
    pub fn retain(&mut self, there: &[u32]) {
        let last = there.last().copied().unwrap_or(0);
        self.0
            .retain(|segment, _| *segment > last || there.binary_search(segment).is_ok());
    }

    pub(crate) fn add(&mut self, segment: u32, bytes: u64) {
        let live = self.0.entry(segment).or_default();
        live.bytes = live.bytes.saturating_add(bytes);
    }

    pub(crate) fn remove(&mut self, segment: u32, bytes: u64) {
        if let Some(live) = self.0.get_mut(&segment) {
            live.bytes = live.bytes.saturating_sub(bytes);
        }
    }

    pub(crate) fn add_entry(&mut self, segment: u32, at: WallTime, bytes: u64) {
        self.add_entries(segment, month(at), bytes);
    }

    pub(crate) fn remove_entry(&mut self, segment: u32, at: WallTime, bytes: u64) {
        let entries = self.0.get_mut(&segment).map(|live| &mut live.entries);
        if let Some(of_month) = entries.and_then(|entries| entries.get_mut(&month(at))) {
            *of_month = of_month.saturating_sub(bytes);
        }
    }

    /// Adds entries that were counted elsewhere.
    pub(crate) fn add_entries(&mut self, segment: u32, month: u16, bytes: u64) {
        let entries = &mut self.0.entry(segment).or_default().entries;
        let of_month = entries.entry(month).or_default();
        *of_month = of_month.saturating_add(bytes);
    }

    /// Each segment and month, and the bytes of its entries.
    pub(crate) fn all_entries(&self) -> impl Iterator<Item = (u32, u16, u64)> {
        self.0.iter().flat_map(|(segment, live)| {
            let entries = live.entries.iter();
            entries.map(|(month, bytes)| (*segment, *month, *bytes))
        })
    }

    /// The segments that hide something, and since when.
    pub(crate) fn all_hides(&self) -> impl Iterator<Item = (u32, WallTime)> {
        let hides = |(segment, live): (&u32, &SegmentLive)| Some((*segment, live.hides_since?));
        self.0.iter().filter_map(hides)
    }

    /// Adds all that was counted elsewhere.
    pub(crate) fn join(&mut self, other: &LiveBytes) {
        for (segment, live) in &other.0 {
            self.add(*segment, live.bytes);
        }
        for (segment, month, bytes) in other.all_entries() {
            self.add_entries(segment, month, bytes);
        }
        for (segment, since) in other.all_hides() {
            self.hide(segment, since);
        }
    }

    pub(crate) fn hide(&mut self, segment: u32, since: WallTime) {
        let hides = &mut self.0.entry(segment).or_default().hides_since;
        *hides = Some(hides.map_or(since, |earlier| earlier.min(since)));
    }
}

/// An entry from `at` is live at `now`.
pub(crate) fn is_young(at: WallTime, now: WallTime, entries_for: Duration) -> bool {
    at + entries_for > now
}

/// The time from which on entries are kept.
pub(crate) fn entries_from(now: WallTime, entries_for: Duration) -> WallTime {
    let kept_ms = u64::try_from(entries_for.as_millis()).unwrap_or(u64::MAX);
    WallTime(now.0.saturating_sub(kept_ms))
}

fn month(at: WallTime) -> u16 {
    u16::try_from(at.0 / MONTH_MS).unwrap_or(u16::MAX)
}
