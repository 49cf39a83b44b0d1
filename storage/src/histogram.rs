//! How long things took, in few numbers: four steps to each doubling, so a percentile read from
//! it is at most a quarter too high.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const STEPS_PER_DOUBLING: u64 = 4;
const BUCKETS: usize = 128;

/// The bounds of a [`Distribution`], in microseconds, as powers of two: 32 µs to 17 s. Each is where a
/// bucket of a [`Histogram`] ends, so its counts are exact.
const BOUNDS: std::ops::RangeInclusive<u32> = 5..=24;

/// Counts of durations, from a microsecond to over an hour. Written by one thread, read by any.
#[derive(Debug)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// How many took how long, by doublings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// How many took less than this, but no less than the bound before.
    pub buckets: Vec<(Duration, u64)>,
    /// How many took at least the last bound.
    pub beyond: u64,
    /// How long all took together.
    pub sum: Duration,
}

impl Histogram {
    /// Nothing counted yet.
    pub fn new() -> Histogram {
        Histogram {
            counts: [const { AtomicU64::new(0) }; BUCKETS],
            sum_us: AtomicU64::new(0),
        }
    }

    /// Counts one.
    pub fn count(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(us)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// The time that `percent` of what was counted did not exceed; zero if nothing was.
    pub fn percentile(&self, percent: u64) -> Duration {
        let counts = self.counts();
        let wanted = (counts.iter().sum::<u64>() * percent).div_ceil(100).max(1);
        let mut sum = 0;
        let reached = counts.iter().position(|count| {
            sum += count;
            sum >= wanted
        });
        reached.map_or(Duration::ZERO, |bucket| {
            Duration::from_micros(upper_us(bucket as u64))
        })
    }

    /// All that was counted.
    pub fn distribution(&self) -> Distribution {
        let counts = self.counts();
        let mut rest = counts.iter().enumerate().peekable();
        let mut below = |bound_us: u64| {
            let mut sum = 0;
            while let Some((_, count)) = rest.next_if(|(b, _)| upper_us(*b as u64) < bound_us) {
                sum += count;
            }
            sum
        };
        let bounds = BOUNDS.map(|power| 1 << power);
        Distribution {
            buckets: bounds
                .map(|us| (Duration::from_micros(us), below(us)))
                .collect(),
            beyond: rest.map(|(_, count)| count).sum(),
            sum: Duration::from_micros(self.sum_us.load(Ordering::Relaxed)),
        }
    }

    fn counts(&self) -> Vec<u64> {
        let counts = self.counts.iter();
        counts.map(|c| c.load(Ordering::Relaxed)).collect()
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram::new()
    }
}

fn bucket(us: u64) -> usize {
    if us < STEPS_PER_DOUBLING {
        return us as usize;
    }
    let doublings = u64::from(us.ilog2()) - 2;
    let step = (us >> doublings) - STEPS_PER_DOUBLING;
    let bucket = (doublings + 1) * STEPS_PER_DOUBLING + step;
    (bucket as usize).min(BUCKETS - 1)
}

fn upper_us(bucket: u64) -> u64 {
    if bucket < STEPS_PER_DOUBLING {
        return bucket;
    }
    let (doublings, step) = (bucket / STEPS_PER_DOUBLING - 1, bucket % STEPS_PER_DOUBLING);
    ((STEPS_PER_DOUBLING + step + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_into_the_bucket_that_ends_above_it() {
        for us in (0..5000).chain([1 << 20, (1 << 30) + 12345]) {
            let upper = upper_us(bucket(us) as u64);
            assert!(us <= upper && upper <= us + us / 4, "{us} {upper}");
        }
    }

    #[test]
    fn percentiles() {
        let histogram = Histogram::new();
        assert_eq!(histogram.percentile(50), Duration::ZERO);
        (1..=100).for_each(|us| histogram.count(Duration::from_micros(us)));
        assert_eq!(histogram.percentile(50), Duration::from_micros(55));
        assert_eq!(histogram.percentile(99), Duration::from_micros(111));
    }

    #[test]
    fn a_distribution_counts_each_duration_below_the_next_power_of_two() {
        let histogram = Histogram::new();
        let all = [0, 31, 32, 63, 64, 1000, (1 << 24) - 1, 1 << 24, 1 << 31];
        for us in all {
            histogram.count(Duration::from_micros(us));
        }
        let told = histogram.distribution();
        let counted = told.buckets.iter().filter(|(_, count)| *count > 0);
        let counted: Vec<_> = counted.map(|(b, count)| (b.as_micros(), *count)).collect();
        assert_eq!(
            counted,
            [(32, 2), (64, 2), (128, 1), (1024, 1), (1 << 24, 1)]
        );
        assert_eq!(told.beyond, 2);
        assert_eq!(told.sum, Duration::from_micros(all.iter().sum()));
    }
}
