//! A ceiling for what is sent: so many bytes a second, and a quarter of a second's worth at once.

use std::time::Duration;

use crate::time::Time;

/// See the chapter above.
#[derive(Debug)]
pub(super) struct Budget {
    /// 0: no ceiling.
    bytes_per_s: u64,
    /// What may be sent now; below 0 after a frame that was larger.
    left_bytes: f64,
    at: Time,
}

impl Budget {
    /// Full.
    pub(super) fn new(bytes_per_s: u64, now: Time) -> Budget {
        Budget {
            bytes_per_s,
            left_bytes: bytes_per_s as f64 / 4.0,
            at: now,
        }
    }

    /// Something may be sent.
    pub(super) fn is_open(&mut self, now: Time) -> bool {
        let per_s = self.bytes_per_s as f64;
        self.left_bytes += now.since(self.at).as_secs_f64() * per_s;
        self.left_bytes = self.left_bytes.min(per_s / 4.0);
        self.at = now;
        self.bytes_per_s == 0 || self.left_bytes > 0.0
    }

    /// So much was sent.
    pub(super) fn spend(&mut self, bytes: usize) {
        if self.bytes_per_s > 0 {
            self.left_bytes -= bytes as f64;
        }
    }

    /// There is one.
    pub(super) fn has_ceiling(&self) -> bool {
        self.bytes_per_s > 0
    }

    /// When something may be sent again; `None`: now.
    pub(super) fn deadline(&self) -> Option<Time> {
        let waits = self.bytes_per_s > 0 && self.left_bytes <= 0.0;
        waits.then(|| {
            let seconds = (1.0 - self.left_bytes) / self.bytes_per_s as f64;
            self.at + Duration::from_secs_f64(seconds)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_stays_below_the_ceiling() {
        let mut budget = Budget::new(1000, Time(0));
        let (mut now, mut sent) = (Time(0), 0);
        while now < Time(0) + Duration::from_secs(10) {
            if budget.is_open(now) {
                budget.spend(100);
                sent += 100;
            }
            now = budget.deadline().unwrap_or(now + Duration::from_millis(1));
        }
        assert!((9_000..=10_400).contains(&sent), "{sent}");
    }
}
