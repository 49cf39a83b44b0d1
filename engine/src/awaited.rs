//! Messages for legs that are on their way here from another worker.
//!
//! A leg moves in a round or two, and what is said to it meanwhile is parked, in order. A message
//! that names two legs ties them: what follows for either is parked behind it. All others go on.
//!
//! Nobody waits for ever: a message waits only for moves that were asked for before it, and
//! [`AWAIT_MAX`] after a leg was announced its messages are no longer kept. They then find no such
//! leg, and that is counted; only a wish to close it is remembered until it comes.
//!
//! Bounds: [`PARKED_MAX`] messages, then the worker takes no further ones; as many legs as there are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tandem_storage::time::Time;

use crate::seam::LegId;

/// How long messages for a leg that moves are kept.
pub const AWAIT_MAX: Duration = Duration::from_secs(1);
/// Messages parked at most.
pub const PARKED_MAX: usize = 4096;

/// Something that is said to legs.
pub trait Names {
    /// The legs it names, two at most.
    fn legs(&self) -> [Option<LegId>; 2];

    /// It is kept until its leg comes, however late: it says where the leg goes on to.
    fn outlasts(&self) -> bool {
        false
    }
}

/// The legs under way, and what waits for them.
#[derive(Debug)]
pub struct Awaited<M> {
    legs: BTreeMap<LegId, Coming>,
    /// Legs that came before their announcement was read; each has one.
    early: BTreeSet<LegId>,
    parked: VecDeque<M>,
    /// Legs named by what is parked.
    tied: BTreeSet<LegId>,
    /// What was parked and may go, as far as it does not name a leg that is still awaited.
    again: VecDeque<M>,
    parked_ever: u64,
}

#[derive(Clone, Copy, Debug)]
struct Coming {
    since: Time,
    is_overdue: bool,
    is_closed: bool,
}

impl<M> Default for Awaited<M> {
    fn default() -> Awaited<M> {
        Awaited {
            legs: BTreeMap::new(),
            early: BTreeSet::new(),
            parked: VecDeque::new(),
            tied: BTreeSet::new(),
            again: VecDeque::new(),
            parked_ever: 0,
        }
    }
}

impl<M: Names> Awaited<M> {
    /// A leg is on its way here, if it has not come yet.
    pub fn announce(&mut self, now: Time, leg: LegId) {
        if self.early.remove(&leg) {
            return;
        }
        let coming = Coming {
            since: now,
            is_overdue: false,
            is_closed: false,
        };
        self.legs.insert(leg, coming);
    }

    /// Gives the message back if it may be carried out now; else it is parked.
    pub fn admit(&mut self, message: M) -> Option<M> {
        if self.legs.is_empty() && self.tied.is_empty() {
            return Some(message);
        }
        let named = message.legs();
        let waits = named.iter().flatten().any(|leg| {
            let keeps = |coming: &Coming| !coming.is_overdue || message.outlasts();
            self.legs.get(leg).is_some_and(keeps) || self.tied.contains(leg)
        });
        if !waits {
            return Some(message);
        }
        self.tied.extend(named.into_iter().flatten());
        self.parked_ever += 1;
        self.parked.push_back(message);
        None
    }

    /// Something that was parked and may be carried out now.
    pub fn next_free(&mut self) -> Option<M> {
        while let Some(message) = self.again.pop_front() {
            if let Some(message) = self.admit(message) {
                return Some(message);
            }
        }
        None
    }

    /// A leg has come, or never will. True: it was to be closed meanwhile.
    pub fn arrived(&mut self, leg: LegId) -> bool {
        let Some(coming) = self.legs.remove(&leg) else {
            self.early.insert(leg);
            return false;
        };
        self.look_again();
        coming.is_closed
    }

    /// Stops keeping messages for legs that are long overdue.
    pub fn expire(&mut self, now: Time) {
        let mut any = false;
        for coming in self.legs.values_mut() {
            if !coming.is_overdue && now.since(coming.since) >= AWAIT_MAX {
                coming.is_overdue = true;
                any = true;
            }
        }
        if any {
            self.look_again();
        }
    }

    /// A leg is closed. True: it has not come yet, and will be when it does.
    pub fn close(&mut self, leg: LegId) -> bool {
        let coming = self.legs.get_mut(&leg);
        coming.map(|coming| coming.is_closed = true).is_some()
    }

    /// No more messages should be taken.
    pub fn is_full(&self) -> bool {
        self.parked.len() + self.again.len() >= PARKED_MAX
    }

    /// Messages that were parked so far.
    pub fn parked_ever(&self) -> u64 {
        self.parked_ever
    }

    fn look_again(&mut self) {
        self.tied.clear();
        // What is parked came before what was to be looked at again and has not been yet.
        std::mem::swap(&mut self.parked, &mut self.again);
        self.again.append(&mut self.parked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of a message that sends its leg on.
    const ON: u32 = 99;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Said(u32, u64, Option<u64>);

    impl Names for Said {
        fn legs(&self) -> [Option<LegId>; 2] {
            [Some(LegId(self.1)), self.2.map(LegId)]
        }

        fn outlasts(&self) -> bool {
            self.0 == ON
        }
    }

    fn all(awaited: &mut Awaited<Said>) -> Vec<u32> {
        std::iter::from_fn(|| awaited.next_free())
            .map(|m| m.0)
            .collect()
    }

    fn goes(awaited: &mut Awaited<Said>, message: Said) -> bool {
        awaited.admit(message).is_some()
    }

    #[test]
    fn only_what_names_an_awaited_leg_waits_and_keeps_its_order() {
        let mut awaited = Awaited::default();
        awaited.announce(Time(0), LegId(1));
        assert!(!goes(&mut awaited, Said(1, 1, None)));
        assert!(goes(&mut awaited, Said(2, 2, None)));
        assert!(!goes(&mut awaited, Said(3, 2, Some(1))), "a bridge");
        assert!(!goes(&mut awaited, Said(4, 2, None)), "what follows it");
        assert!(!goes(&mut awaited, Said(5, 3, Some(2))));
        assert!(!goes(&mut awaited, Said(6, 3, None)));
        assert!(goes(&mut awaited, Said(7, 4, None)));
        assert_eq!(all(&mut awaited), [0; 0]);
        assert!(!awaited.arrived(LegId(1)));
        assert_eq!(all(&mut awaited), [1, 3, 4, 5, 6]);
        assert!(goes(&mut awaited, Said(8, 3, None)));
        assert_eq!(awaited.parked_ever(), 5);
    }

    #[test]
    fn joins_do_not_wait_for_each_other() {
        let mut awaited = Awaited::default();
        for leg in 0..1000 {
            awaited.announce(Time(0), LegId(leg));
            assert!(!goes(
                &mut awaited,
                Said(leg as u32, leg, Some(leg + 10_000))
            ));
        }
        for leg in (0..1000).rev() {
            awaited.arrived(LegId(leg));
            assert_eq!(all(&mut awaited), [leg as u32]);
        }
        assert!(awaited.tied.is_empty());
    }

    #[test]
    fn a_leg_that_comes_while_others_are_looked_at_keeps_the_order() {
        let mut awaited = Awaited::default();
        awaited.announce(Time(0), LegId(1));
        awaited.announce(Time(0), LegId(2));
        for n in 0..3 {
            assert!(!goes(&mut awaited, Said(n, 1, None)));
        }
        assert!(!goes(&mut awaited, Said(3, 1, Some(2))));
        assert!(!goes(&mut awaited, Said(4, 2, None)));
        awaited.arrived(LegId(1));
        assert_eq!(awaited.next_free().map(|m| m.0), Some(0));
        awaited.arrived(LegId(2));
        assert_eq!(all(&mut awaited), [1, 2, 3, 4]);
    }

    #[test]
    fn a_leg_that_does_not_come_in_time_holds_up_nobody() {
        let mut awaited = Awaited::default();
        awaited.announce(Time(0), LegId(1));
        assert!(!goes(&mut awaited, Said(1, 1, Some(2))));
        awaited.expire(Time(0) + AWAIT_MAX / 2);
        assert_eq!(all(&mut awaited), [0; 0]);
        awaited.expire(Time(0) + AWAIT_MAX);
        assert_eq!(all(&mut awaited), [1]);
        assert!(goes(&mut awaited, Said(2, 1, None)));
        assert!(!goes(&mut awaited, Said(ON, 1, None)));
        assert!(awaited.close(LegId(1)), "it is remembered");
        assert!(awaited.arrived(LegId(1)), "and done when it comes");
        assert_eq!(all(&mut awaited), [ON]);
        assert!(!awaited.close(LegId(1)));
    }

    #[test]
    fn a_leg_that_goes_and_comes_back_does_not_wait_for_itself() {
        let mut awaited = Awaited::default();
        awaited.announce(Time(0), LegId(2));
        assert!(!goes(&mut awaited, Said(1, 1, Some(2))));
        // It is here, is to go, and is announced again: each in its turn.
        assert!(!goes(&mut awaited, Said(2, 1, None)));
        assert!(!goes(&mut awaited, Said(3, 1, None)));
        awaited.arrived(LegId(2));
        assert_eq!(awaited.next_free().map(|m| m.0), Some(1));
        assert_eq!(awaited.next_free().map(|m| m.0), Some(2));
        assert_eq!(awaited.next_free().map(|m| m.0), Some(3));
        awaited.announce(Time(0), LegId(1));
        assert!(!goes(&mut awaited, Said(4, 1, None)));
    }

    #[test]
    fn a_leg_that_comes_before_it_is_announced_is_not_waited_for() {
        let mut awaited = Awaited::default();
        assert!(!awaited.arrived(LegId(1)));
        awaited.announce(Time(0), LegId(1));
        assert!(goes(&mut awaited, Said(1, 1, None)));
        awaited.announce(Time(0), LegId(1));
        assert!(!goes(&mut awaited, Said(2, 1, None)), "the next time it is");
    }

    #[test]
    fn the_parking_place_has_an_end() {
        let mut awaited = Awaited::default();
        awaited.announce(Time(0), LegId(1));
        for n in 0..PARKED_MAX as u32 {
            assert!(!awaited.is_full());
            assert!(!goes(&mut awaited, Said(n, 1, None)));
        }
        assert!(awaited.is_full());
        awaited.arrived(LegId(1));
        assert_eq!(all(&mut awaited).len(), PARKED_MAX);
        assert!(!awaited.is_full());
    }
}
