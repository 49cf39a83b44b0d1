//! When a worker's next round begins, and whether the worker keeps up.
//!
//! Rounds follow a schedule of one a millisecond, so that the work of a round does not put off the
//! next. Who is behind does not wait, and a point of the schedule that was missed is left out: one
//! long round takes what several would have.
//!
//! A worker keeps up as long as it has time left to wait. Whether it has is judged in windows: two
//! without any stop new legs, and eight say that this is no passing burst, and that what has waited
//! too long should be dropped. A thread that was merely held up by the machine is not behind: it has
//! used little processor time, and a long round counts as ten milliseconds at most.

use std::time::Duration;

use tandem_storage::time::Time;

/// The rhythm of a worker that has legs.
pub const ROUND: Duration = Duration::from_millis(1);
/// A round that took longer was held up by the machine.
const WORK_COUNTED_MAX: Duration = Duration::from_millis(10);
/// A worker that waits for less than one part in so many is full.
const FULL_PARTS: u32 = 16;
/// One that waits for at least one part in so many is calm.
const CALM_PARTS: u32 = 8;
/// One that uses less of the processor than one part in so many was held up by others.
const USED_PARTS: u32 = 8;
/// So many full windows without a calm one: no new legs.
const WINDOWS_BEHIND: u32 = 2;
/// So many: old packets are dropped.
const WINDOWS_SHED: u32 = 8;

/// A worker's rhythm.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// When the next round is due; `None` while there is no rhythm.
    due: Option<Time>,
    /// When the last wait should have ended.
    resumed: Time,
    busy: Duration,
    waited: Duration,
    judged: Time,
    judged_cpu_ns: u64,
    windows_full: u32,
    rounds_late: u64,
}

impl Pace {
    /// The work of a round is done: how long to wait for the next. `more`: something is known to
    /// lie there.
    pub fn wait(&mut self, now: Time, more: bool) -> Duration {
        let due = self.due.unwrap_or_else(|| {
            self.resumed = now;
            now + ROUND
        });
        self.busy += now.since(self.resumed).min(WORK_COUNTED_MAX);
        let wait = if more { Duration::ZERO } else { due.since(now) };
        self.due = Some(if due <= now {
            self.rounds_late += 1;
            let missed = now.since(due).as_nanos() / ROUND.as_nanos();
            due + Duration::from_nanos((missed + 1) as u64 * ROUND.as_nanos() as u64)
        } else if more {
            due
        } else {
            due + ROUND
        });
        self.waited += wait;
        self.resumed = now + wait;
        wait
    }

    /// The worker has no legs and sleeps: the rhythm begins anew after it.
    pub fn rest(&mut self) {
        self.due = None;
        self.windows_full = 0;
    }

    /// A window is over. `cpu_ns` is what the thread has used of the processor so far.
    pub fn judge(&mut self, now: Time, cpu_ns: u64) {
        let window = now.since(self.judged);
        let used = Duration::from_nanos(cpu_ns.saturating_sub(self.judged_cpu_ns));
        let has_worked = used * USED_PARTS >= window;
        let all = self.busy + self.waited;
        if !has_worked || self.waited * CALM_PARTS >= all {
            self.windows_full = 0;
        } else if self.waited * FULL_PARTS < all {
            self.windows_full = (self.windows_full + 1).min(WINDOWS_SHED);
        }
        (self.judged, self.judged_cpu_ns) = (now, cpu_ns);
        (self.busy, self.waited) = (Duration::ZERO, Duration::ZERO);
    }

    /// New legs should go elsewhere.
    pub fn is_behind(&self) -> bool {
        self.windows_full >= WINDOWS_BEHIND
    }

    /// Packets that have waited too long should be dropped.
    pub fn sheds(&self) -> bool {
        self.windows_full >= WINDOWS_SHED
    }

    /// Rounds that began after they were due.
    pub fn rounds_late(&self) -> u64 {
        self.rounds_late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(50);

    /// A worker whose rounds take `work`, on a machine that adds `stall` to each wait.
    struct Rounds {
        pace: Pace,
        now: Time,
        cpu_ns: u64,
        window_ends: Time,
    }

    impl Rounds {
        fn new() -> Rounds {
            Rounds {
                pace: Pace::default(),
                now: Time(0),
                cpu_ns: 0,
                window_ends: Time(0) + WINDOW,
            }
        }

        fn run(&mut self, time: Duration, work: Duration, stall: Duration) {
            let until = self.now + time;
            while self.now < until {
                self.now = self.now + work;
                self.cpu_ns += work.as_nanos() as u64;
                self.now = self.now + self.pace.wait(self.now, false) + stall;
                if self.now >= self.window_ends {
                    self.pace.judge(self.now, self.cpu_ns);
                    self.window_ends = self.now + WINDOW;
                }
            }
        }
    }

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn the_work_of_a_round_does_not_put_off_the_next() {
        let (mut pace, mut now) = (Pace::default(), Time(0));
        for round in 1..=100 {
            now = now + us(10 * (round % 90));
            now = now + pace.wait(now, false);
            assert_eq!(now, Time(0) + ROUND * round as u32 + us(10));
        }
        assert_eq!(pace.rounds_late(), 0);
    }

    #[test]
    fn who_is_behind_does_not_wait_and_does_not_make_up_for_rounds_it_missed() {
        let mut pace = Pace::default();
        assert_eq!(pace.wait(Time(0), false), us(1000));
        let late = Time(0) + us(4300);
        assert_eq!(pace.wait(late, false), Duration::ZERO);
        assert_eq!(pace.wait(late + us(200), false), us(500));
        assert_eq!(pace.rounds_late(), 1);
    }

    #[test]
    fn who_knows_of_more_does_not_wait_and_is_not_late_for_it() {
        let mut pace = Pace::default();
        pace.wait(Time(0), false);
        let now = Time(0) + us(1100);
        assert_eq!(pace.wait(now, true), Duration::ZERO);
        assert_eq!(pace.wait(now + us(100), false), us(800));
        assert_eq!(pace.rounds_late(), 0);
    }

    #[test]
    fn a_sleep_is_not_a_late_round() {
        let mut pace = Pace::default();
        pace.wait(Time(0), false);
        pace.rest();
        assert_eq!(pace.wait(Time(0) + us(70_000), false), ROUND);
        assert_eq!(pace.rounds_late(), 0);
    }

    #[test]
    fn a_worker_without_time_to_wait_takes_no_legs_and_then_sheds() {
        let mut rounds = Rounds::new();
        rounds.run(us(1_000_000), us(900), us(0));
        assert!(!rounds.pace.is_behind(), "a tenth is left");
        rounds.run(us(55_000), us(3000), us(0));
        assert!(!rounds.pace.is_behind(), "a burst");
        rounds.run(us(100_000), us(3000), us(0));
        assert!(rounds.pace.is_behind() && !rounds.pace.sheds());
        rounds.run(us(400_000), us(3000), us(0));
        assert!(rounds.pace.sheds());
        rounds.run(us(200_000), us(900), us(0));
        assert!(rounds.pace.is_behind(), "hardly any air yet");
        rounds.run(us(110_000), us(500), us(0));
        assert!(!rounds.pace.is_behind() && !rounds.pace.sheds());
    }

    #[test]
    fn a_worker_that_the_machine_holds_up_is_not_behind() {
        let mut rounds = Rounds::new();
        rounds.run(us(1_000_000), us(50), us(9000));
        assert!(!rounds.pace.is_behind(), "it has little to do");
        rounds.run(us(1_000_000), us(1500), us(9000));
        assert!(rounds.pace.is_behind(), "it would need more than it gets");
    }
}
