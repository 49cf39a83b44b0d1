//! How long things took, in few numbers: four steps to each doubling, so a percentile read from
//! it is at most a quarter too high.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const STEPS_PER_DOUBLING: u64 = 4;
const BUCKETS: usize = 128;

/// Counts of durations, from a microsecond to over an hour. Written by one thread, read by any.
#[derive(Debug)]
pub struct Histogram([AtomicU64; BUCKETS]);

impl Histogram {
    /// Nothing counted yet.
    pub fn new() -> Histogram {
        Histogram([const { AtomicU64::new(0) }; BUCKETS])
    }

    /// Counts one.
    pub fn count(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0[bucket(us)].fetch_add(1, Ordering::Relaxed);
    }

    /// The time that `percent` of what was counted did not exceed; zero if nothing was.
    pub fn percentile(&self, percent: u64) -> Duration {
        let counts: Vec<u64> = self.0.iter().map(|c| c.load(Ordering::Relaxed)).collect();
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
}
