//! What a tap keeps beside the samples it writes: which packets came, where it was paused, how far the
//! party's clock is off, and the hash of what was given to the log.
//!
//! From the recorder ([`crate::recorder`]), for each packet it puts in its place; to
//! [`Event::TapDone`](crate::seam::Event), when the tap has ended.
//!
//! A track is as long as the time it took, by our clock and not by the party's: only so do the tracks of
//! a call stay in step. The shortest time that packets needed in one [`WINDOW`] is held against that of
//! the first one; where it has moved, a sample is said twice or left out in each packet until it is as
//! it was. A clock that is off by 200 ppm costs one sample in 5,000.
//!
//! Invariants: packets expected are those that came in time and those that were concealed; one that came
//! too late is among the concealed. At most [`GAPS_MAX`] gaps and [`PAUSES_MAX`] pauses are named, of more
//! gaps the number is told.

use sha2::{Digest as _, Sha256};

use crate::seam::{TapGap, TapPackets, TapPause};

/// Gaps that are named.
pub const GAPS_MAX: usize = 64;
/// Pauses that are named; from then on the last one goes on.
pub const PAUSES_MAX: usize = 64;
/// Packets after which the party's clock is looked at: five seconds.
const WINDOW: u32 = 250;
/// A move of less than this, in samples, is left alone: one millisecond.
const DRIFT_MIN: i64 = 8;
/// A move of more than this is not made up for: one second.
const DRIFT_MAX: i64 = 8000;

/// See the chapter above.
#[derive(Debug, Default)]
pub struct Book {
    packets: TapPackets,
    gaps: Vec<TapGap>,
    gaps_more: u64,
    pauses: Vec<TapPause>,
    /// Where the pause began that goes on.
    paused_at: Option<u64>,
    seq_next: Option<u16>,
    /// Where the last packet ended.
    placed_end: u64,
    drift: Drift,
    hash: Sha256,
    /// The chunk that is hashed next.
    hashed: u32,
}

/// What the party's clock makes of ours.
#[derive(Debug, Default)]
struct Drift {
    /// How far behind the time the first window was, in samples.
    base: Option<i64>,
    least: Option<i64>,
    packets: u32,
    /// Samples to be said twice; negative: to be left out.
    owed: i64,
}

/// All of it, when a tap has ended.
#[derive(Debug)]
pub struct Kept {
    /// Counts.
    pub packets: TapPackets,
    /// Gaps that are named.
    pub gaps: Vec<TapGap>,
    /// Gaps that are not.
    pub gaps_more: u64,
    /// Pauses.
    pub pauses: Vec<TapPause>,
    /// SHA-256 of all samples.
    pub sha256: [u8; 32],
}

impl Book {
    /// Nothing is written until it goes on.
    pub fn is_paused(&self) -> bool {
        self.paused_at.is_some()
    }

    /// It is paused, or goes on, at this sample.
    pub fn pause(&mut self, is_paused: bool, at_sample: u64) {
        match (self.paused_at, is_paused) {
            (None, true) => self.paused_at = Some(at_sample),
            (Some(from_sample), false) => {
                self.paused_at = None;
                let to_sample = at_sample.max(from_sample);
                let is_full = self.pauses.len() >= PAUSES_MAX;
                match self.pauses.last_mut() {
                    Some(last) if is_full => last.to_sample = to_sample,
                    _ => self.pauses.push(TapPause {
                        from_sample,
                        to_sample,
                    }),
                }
            }
            _ => return,
        }
        self.new_source();
    }

    /// What comes has numbers and a clock of its own.
    pub fn new_source(&mut self) {
        self.seq_next = None;
        self.drift = Drift::default();
    }

    /// A packet came too late, or twice.
    pub fn late(&mut self) {
        self.packets.late += 1;
    }

    /// This packet is the next to be put in its place.
    pub fn placed(&mut self, seq: u16) {
        let missing = self.seq_next.map_or(0, |next| seq.wrapping_sub(next));
        self.seq_next = Some(seq.wrapping_add(1));
        self.packets.come += 1;
        self.packets.expected += 1;
        // What is further on than half the circle lies behind.
        if missing == 0 || missing > u16::MAX / 2 {
            return;
        }
        self.packets.expected += u64::from(missing);
        self.packets.concealed += u64::from(missing);
        match self.gaps.len() < GAPS_MAX {
            true => self.gaps.push(TapGap {
                at_sample: self.placed_end,
                packets: u32::from(missing),
            }),
            false => self.gaps_more += 1,
        }
    }

    /// Samples of a packet of so many that are to be written, and whether the last one twice.
    pub fn fit(&mut self, samples: usize) -> (usize, bool) {
        let owed = &mut self.drift.owed;
        if *owed > 0 && samples > 0 {
            *owed -= 1;
            return (samples, true);
        }
        if *owed < 0 && samples > 1 {
            *owed += 1;
            return (samples - 1, false);
        }
        (samples, false)
    }

    /// A packet was written, `elapsed` samples after the beginning, and ends at `end`.
    pub fn written(&mut self, elapsed: u64, end: u64) {
        self.placed_end = end;
        let behind = elapsed as i64 - end as i64;
        let drift = &mut self.drift;
        let least = drift.least.map_or(behind, |least| least.min(behind));
        drift.packets += 1;
        drift.least = Some(least);
        if drift.packets < WINDOW {
            return;
        }
        (drift.packets, drift.least) = (0, None);
        let moved = least - *drift.base.get_or_insert(least);
        if (DRIFT_MIN..DRIFT_MAX).contains(&moved.abs()) {
            drift.owed = moved;
        }
    }

    /// A chunk goes to the log, for the first time or once more.
    pub fn given(&mut self, index: u32, samples: &[u8]) {
        if index == self.hashed {
            self.hash.update(samples);
            self.hashed += 1;
        }
    }

    /// What it came to, with so many samples.
    pub fn kept(&self, samples: u64) -> Kept {
        let mut pauses = self.pauses.clone();
        pauses.extend(self.paused_at.map(|from_sample| TapPause {
            from_sample,
            to_sample: samples.max(from_sample),
        }));
        Kept {
            packets: self.packets,
            gaps: self.gaps.clone(),
            gaps_more: self.gaps_more,
            pauses,
            sha256: self.hash.clone().finalize().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_packets_are_counted_and_named_over_the_wrap() {
        let mut book = Book::default();
        for (n, seq) in [65534, 65535, 2, 3, 3].into_iter().enumerate() {
            book.placed(seq);
            book.written(0, 160 * (n as u64 + 1));
        }
        book.late();
        let kept = book.kept(800);
        let expected = TapPackets {
            expected: 7,
            come: 5,
            late: 1,
            concealed: 2,
        };
        assert_eq!(kept.packets, expected);
        let gap = TapGap {
            at_sample: 320,
            packets: 2,
        };
        assert_eq!(kept.gaps, [gap]);
    }

    #[test]
    fn more_gaps_than_are_named_are_counted() {
        let mut book = Book::default();
        (0..300).for_each(|n| book.placed(2 * n));
        let kept = book.kept(0);
        assert_eq!((kept.gaps.len(), kept.gaps_more), (GAPS_MAX, 299 - 64));
    }

    #[test]
    fn a_pause_is_named_and_one_that_goes_on_ends_with_the_track() {
        let mut book = Book::default();
        book.placed(7);
        book.pause(true, 1000);
        book.pause(true, 1500);
        book.pause(false, 2000);
        book.placed(99);
        book.pause(true, 5000);
        let kept = book.kept(6000);
        let pause = |from_sample, to_sample| TapPause {
            from_sample,
            to_sample,
        };
        assert_eq!(kept.pauses, [pause(1000, 2000), pause(5000, 6000)]);
        assert_eq!(kept.packets.concealed, 0, "nothing was lost in a pause");
    }
}
