//! How much work the encoders of a worker may take: less when it does not keep up.
//!
//! A timer served late says that the worker had too much to do. Each second in which that happened
//! lowers Opus' complexity by one; ten seconds after the last step a step up is tried.

use std::time::Duration;

use tandem_storage::time::Time;

/// A step down is followed by another after this at the soonest.
const LOWER_EVERY: Duration = Duration::from_secs(1);
/// A step up follows any other after this at the soonest.
const RAISE_AFTER: Duration = Duration::from_secs(10);

/// A worker's measure.
#[derive(Clone, Copy, Debug)]
pub struct ComplexityControl {
    complexity: u8,
    complexity_max: u8,
    changed: Time,
}

impl ComplexityControl {
    /// Begins with the most.
    pub fn new(complexity_max: u8) -> ComplexityControl {
        ComplexityControl {
            complexity: complexity_max,
            complexity_max,
            changed: Time(0),
        }
    }

    /// What is allowed at present.
    pub fn complexity(&self) -> u8 {
        self.complexity
    }

    /// Timers were served, some of them late.
    pub fn on_served(&mut self, now: Time, late: bool) {
        let since = now.since(self.changed);
        if late && since >= LOWER_EVERY {
            self.complexity = self.complexity.saturating_sub(1);
            self.changed = now;
        } else if !late && since >= RAISE_AFTER && self.complexity < self.complexity_max {
            self.complexity += 1;
            self.changed = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_down_under_load_and_up_again_in_calm() {
        let at = |s: u64| Time(s * 1_000_000_000);
        let mut effort = ComplexityControl::new(5);
        for s in 1..=3 {
            effort.on_served(at(s), true);
            effort.on_served(at(s), true);
        }
        assert_eq!(effort.complexity(), 2, "one step a second");
        for s in 4..13 {
            effort.on_served(at(s), false);
        }
        assert_eq!(effort.complexity(), 2);
        for s in 13..=200 {
            effort.on_served(at(s), false);
        }
        assert_eq!(effort.complexity(), 5, "never above what was configured");
        for s in 201..300 {
            effort.on_served(at(s), true);
        }
        assert_eq!(effort.complexity(), 0);
    }
}
