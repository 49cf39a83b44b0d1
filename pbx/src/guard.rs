//! Keeps people from guessing PINs.
//!
//! A try is charged to the mailbox when the PIN is handed out to be checked, and the debt is
//! forgiven when it proves right: many callers at once have no more tries than one. After every
//! few wrong ones in a row the mailbox pauses, each time twice as long. Kept in memory only: a
//! restart forgives, which an attacker cannot bring about.
//!
//! Bounded by the mailboxes there are, and by the checks under way: whoever checks PINs answers
//! every request.

use std::collections::HashMap;
use std::time::Duration;

use tandem_engine::seam::LegId;
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::config::PbxConfig;

/// Wrong tries, by mailbox.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    debts: HashMap<Id, Debt>,
    /// Which mailbox a caller's PIN is being checked for. The caller may hang up meanwhile.
    checking: HashMap<LegId, Id>,
}

#[derive(Debug, Default)]
struct Debt {
    tries: u32,
    until: Option<Time>,
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The right PIN.
    Right,
    /// The wrong one.
    Wrong,
    /// The wrong one, and with it the mailbox pauses for this long.
    Pause(Duration),
}

impl Guard {
    /// No PIN is taken for this mailbox now.
    pub(crate) fn is_paused(&self, mailbox: Id, now: Time) -> bool {
        self.debts
            .get(&mailbox)
            .and_then(|debt| debt.until)
            .is_some_and(|until| now < until)
    }

    /// A PIN typed on this leg is being checked.
    pub(crate) fn charge(&mut self, leg: LegId, mailbox: Id, now: Time, config: &PbxConfig) {
        let debt = self.debts.entry(mailbox).or_default();
        debt.tries = debt.tries.saturating_add(1);
        if let Some(pause) = pause_after(debt.tries, config) {
            debt.until = Some(now + pause);
        }
        self.checking.insert(leg, mailbox);
    }

    /// The PIN was checked. `None`: none was being checked.
    pub(crate) fn verdict(
        &mut self,
        leg: LegId,
        right: bool,
        config: &PbxConfig,
    ) -> Option<(Id, Verdict)> {
        let mailbox = self.checking.remove(&leg)?;
        if right {
            self.debts.remove(&mailbox);
            return Some((mailbox, Verdict::Right));
        }
        let tries = self.debts.get(&mailbox).map_or(0, |debt| debt.tries);
        let verdict = pause_after(tries, config).map_or(Verdict::Wrong, Verdict::Pause);
        Some((mailbox, verdict))
    }
}

fn pause_after(tries: u32, config: &PbxConfig) -> Option<Duration> {
    let per_pause = config.pin_tries.max(1);
    (tries > 0 && tries.is_multiple_of(per_pause)).then(|| {
        let doublings = (tries / per_pause - 1).min(16);
        config
            .pin_pause
            .saturating_mul(1 << doublings)
            .min(config.pin_pause_max)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn wrong(guard: &mut Guard, now: Time) -> Verdict {
        let mailbox = "a.1.1".parse().unwrap();
        let config = PbxConfig::default();
        guard.charge(LegId(1), mailbox, now, &config);
        guard.verdict(LegId(1), false, &config).unwrap().1
    }

    #[test]
    fn the_pause_grows_and_a_right_pin_ends_it() {
        let (mut guard, config) = (Guard::default(), PbxConfig::default());
        let mailbox = "a.1.1".parse().unwrap();
        let mut pauses = Vec::new();
        for _ in 0..27 {
            if let Verdict::Pause(pause) = wrong(&mut guard, Time(0)) {
                pauses.push(pause.as_secs() / 60);
            }
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(guard.is_paused(mailbox, Time(0)));
        assert!(!guard.is_paused(mailbox, Time(0) + 60 * MINUTE));
        guard.charge(LegId(1), mailbox, Time(0), &config);
        assert_eq!(
            guard.verdict(LegId(1), true, &config).unwrap().1,
            Verdict::Right
        );
        assert!(!guard.is_paused(mailbox, Time(0)));
    }

    #[test]
    fn tries_under_way_at_once_are_charged_at_once() {
        let (mut guard, config) = (Guard::default(), PbxConfig::default());
        let mailbox = "a.1.1".parse().unwrap();
        for leg in [1, 3, 5] {
            assert!(!guard.is_paused(mailbox, Time(0)));
            guard.charge(LegId(leg), mailbox, Time(0), &config);
        }
        assert!(guard.is_paused(mailbox, Time(0)));
    }
}
