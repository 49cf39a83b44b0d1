//! Keeps people from guessing PINs.
//!
//! A try is charged to the mailbox when the PIN is handed out to be checked, and the debt is
//! forgiven when it proves right: many callers at once have no more tries than one. After every
//! few wrong ones in a row the mailbox pauses, each time twice as long.
//!
//! A pause outlives the node: it is a register, and the caller whose try brought it is told only
//! when that is durable. Civil time carries it over a restart: if the clock was set back meanwhile,
//! the pause begins anew, if it was set forward, it ends early. One or two wrong tries since the
//! last pause are forgotten with the node; a pause, and how far they have grown, is not.
//!
//! | key | value (JSON) |
//! |---|---|
//! | `pin-pause/MAILBOX` | [`Pause`]; removed: the right PIN was shown since |
//!
//! The registers are read at start. After that the guard knows first, and the log follows.
//!
//! Rooms have PINs as well. Of those who try them only strangers are charged, and the pause is for
//! strangers only: nobody outside can keep the users of the office out of their meeting.
//!
//! Bounded by the mailboxes and rooms there are, and by the checks under way: whoever checks PINs answers
//! every request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::LegId;
use tandem_storage::name::Id;
use tandem_storage::time::{Now, Time, WallTime};

use crate::config::PbxConfig;

/// Wrong tries, by mailbox.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    debts: BTreeMap<Id, Debt>,
    /// Which mailbox a caller's PIN is being checked for. The caller may hang up meanwhile.
    checking: BTreeMap<LegId, Checking>,
    /// Registers of pauses that could not be read; they pause nothing.
    pub(crate) unreadable: u64,
}

/// A PIN on its way to be checked.
#[derive(Clone, Copy, Debug)]
struct Checking {
    of: Id,
    is_charged: bool,
}

#[derive(Debug, Default)]
struct Debt {
    tries: u32,
    until: Option<Time>,
}

/// A mailbox's last pause, as it is kept in its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pause {
    /// Wrong tries in a row that led to it.
    pub(crate) tries: u32,
    /// No PIN is taken before.
    pub(crate) until: WallTime,
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The right PIN. `after_pause`: there was one since the last right one.
    Right { after_pause: bool },
    /// The wrong one.
    Wrong,
    /// The wrong one, and with it the mailbox pauses for this long.
    Pause(Duration),
}

/// The register that holds a mailbox's last pause.
pub(crate) fn pause_key(mailbox: Id) -> Arc<str> {
    format!("pin-pause/{mailbox}").into()
}

impl Guard {
    /// Goes on with a pause that was there before the node started, as its register says.
    pub(crate) fn restore(&mut self, mailbox: Id, value: &str, now: Now, config: &PbxConfig) {
        let Ok(pause) = serde_json::from_str::<Pause>(value) else {
            self.unreadable += 1;
            return;
        };
        let left = Duration::from_millis(pause.until.0.saturating_sub(now.wall.0));
        let left = left.min(pause_after(pause.tries, config));
        self.debts.insert(
            mailbox,
            Debt {
                tries: pause.tries,
                until: Some(now.mono + left),
            },
        );
    }

    /// No PIN is taken for this mailbox now.
    pub(crate) fn is_paused(&self, mailbox: Id, now: Time) -> bool {
        self.debts
            .get(&mailbox)
            .is_some_and(|debt| debt.is_paused(now))
    }

    /// How many mailboxes take no PIN now.
    pub(crate) fn paused_count(&self, now: Time) -> usize {
        self.debts
            .values()
            .filter(|debt| debt.is_paused(now))
            .count()
    }

    /// A PIN typed on this leg is being checked.
    pub(crate) fn charge(&mut self, leg: LegId, mailbox: Id, now: Time, config: &PbxConfig) {
        let debt = self.debts.entry(mailbox).or_default();
        debt.tries = debt.tries.saturating_add(1);
        if is_last_before_pause(debt.tries, config) {
            debt.until = Some(now + pause_after(debt.tries, config));
        }
        self.checking.insert(
            leg,
            Checking {
                of: mailbox,
                is_charged: true,
            },
        );
    }

    /// A PIN typed on this leg is being checked, and nobody is charged for it: another check follows
    /// that is, or it is known who tries.
    pub(crate) fn check(&mut self, leg: LegId, of: Id) {
        let is_charged = false;
        self.checking.insert(leg, Checking { of, is_charged });
    }

    /// The PIN was checked. `None`: none was being checked.
    pub(crate) fn verdict(
        &mut self,
        leg: LegId,
        right: bool,
        config: &PbxConfig,
    ) -> Option<(Id, Verdict)> {
        let Checking {
            of: mailbox,
            is_charged,
        } = self.checking.remove(&leg)?;
        if !is_charged {
            let verdict = match right {
                true => Verdict::Right { after_pause: false },
                false => Verdict::Wrong,
            };
            return Some((mailbox, verdict));
        }
        if right {
            let debt = self.debts.remove(&mailbox).unwrap_or_default();
            let after_pause = debt.until.is_some();
            return Some((mailbox, Verdict::Right { after_pause }));
        }
        let tries = self.debts.get(&mailbox).map_or(0, |debt| debt.tries);
        let verdict = match is_last_before_pause(tries, config) {
            true => Verdict::Pause(pause_after(tries, config)),
            false => Verdict::Wrong,
        };
        Some((mailbox, verdict))
    }

    /// The mailbox's last pause as it is to be kept, if there was one.
    pub(crate) fn pause(&self, mailbox: Id, now: Now) -> Option<Pause> {
        let debt = self.debts.get(&mailbox)?;
        let left = debt.until?.since(now.mono);
        Some(Pause {
            tries: debt.tries,
            until: now.wall + left,
        })
    }
}

impl Debt {
    fn is_paused(&self, now: Time) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

fn is_last_before_pause(tries: u32, config: &PbxConfig) -> bool {
    tries > 0 && tries.is_multiple_of(config.pin_tries.max(1))
}

/// How long the pause is that so many tries lead to.
fn pause_after(tries: u32, config: &PbxConfig) -> Duration {
    let doublings = (tries / config.pin_tries.max(1)).saturating_sub(1).min(16);
    config
        .pin_pause
        .saturating_mul(1 << doublings)
        .min(config.pin_pause_max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::office::json;

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
            Verdict::Right { after_pause: true }
        );
        assert!(!guard.is_paused(mailbox, Time(0)));
    }

    #[test]
    fn a_pause_outlives_the_node_however_the_clock_was_set() {
        let config = PbxConfig::default();
        let mailbox: Id = "a.1.1".parse().unwrap();
        let at = |mono: Time, minutes: u64| Now {
            mono,
            wall: WallTime(0) + MINUTE * u32::try_from(minutes).unwrap(),
        };
        let mut guard = Guard::default();
        let verdicts = [(); 6].map(|()| wrong(&mut guard, Time(0)));
        assert_eq!(verdicts[5], Verdict::Pause(2 * MINUTE));
        let pause = guard.pause(mailbox, at(Time(0), 10)).unwrap();
        assert_eq!((pause.tries, pause.until), (6, at(Time(0), 12).wall));

        // Minutes on the clock when the node is back, and how many the pause then still lasts.
        for (minutes, left) in [(10, 2), (11, 1), (12, 0), (9000, 0), (9, 2), (0, 2)] {
            let mut guard = Guard::default();
            guard.restore(mailbox, &json(&pause), at(Time(5), minutes), &config);
            let end = Time(5) + MINUTE * left;
            assert_eq!(guard.is_paused(mailbox, Time(5)), left > 0, "{minutes}");
            assert!(left == 0 || guard.is_paused(mailbox, end - Duration::from_nanos(1)));
            assert!(!guard.is_paused(mailbox, end), "{minutes}");
            let verdicts = [(); 3].map(|()| wrong(&mut guard, end));
            assert_eq!(verdicts[2], Verdict::Pause(4 * MINUTE), "{minutes}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_pauses_nothing() {
        let mut guard = Guard::default();
        let mailbox = "a.1.1".parse().unwrap();
        for value in ["", "3", r#"{"tries":-1,"until":0}"#, r#"{"tries":3}"#] {
            guard.restore(mailbox, value, Now::default(), &PbxConfig::default());
        }
        assert_eq!((guard.unreadable, guard.debts.len()), (4, 0));
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
