//! Calls that are made as soon as somebody is free: asked for by a code after a call that did not come
//! about.
//!
//! From who dials the code ([`Pbx::when_free`]), and from every leg of a user that is over; to a dial that
//! rings who asked, and calls the other then. A user is free who was on the phone and is no more: at once,
//! where the call did not come about because the user was busy, and else after the user's next call. Who
//! asked is rung only while not on the phone, and called again when that is over.
//!
//! It is of this node and not written down: a node that starts again knows nothing of it.
//!
//! Invariants: at most [`REQUESTS_MAX`] requests, [`REQUESTS_OF_USER_MAX`] of each user, one for each whom
//! it wants; none is older than [`LASTS`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tandem_engine::seam::LegId;
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::app::Next;
use crate::call::dial_request::DialRequest;
use crate::pbx::Pbx;
use crate::say::Say;
use crate::seam::{Caller, Cause, ClassOfService};
use crate::words;

/// The most requests.
const REQUESTS_MAX: usize = 2_000;
/// The most of one user.
const REQUESTS_OF_USER_MAX: usize = 5;
/// After this long nobody is called any more.
const LASTS: Duration = Duration::from_secs(30 * 60);

/// All requests; see the chapter above.
#[derive(Debug, Default)]
pub(crate) struct WhenFree {
    /// By who asked and whom it wants.
    requests: BTreeMap<(Id, Id), Request>,
    /// Whom each user did not reach last, and whether that was because the other was busy.
    missed: BTreeMap<Id, (Id, bool)>,
    /// Users of whom a leg is over that was answered.
    freed: BTreeSet<Id>,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    until: Time,
    /// The other has become free.
    is_free: bool,
}

impl WhenFree {
    /// A user did not reach another.
    pub(crate) fn missed(&mut self, by: Id, to: Id, cause: Cause) {
        if by != to {
            self.missed.insert(by, (to, cause == Cause::Busy));
        }
    }

    /// A leg of a user is over that was answered.
    pub(crate) fn over(&mut self, user: Id) {
        self.freed.insert(user);
    }

    /// When the oldest request is to be forgotten.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.requests.values().map(|request| request.until).min()
    }

    /// False: there is no room.
    fn add(&mut self, by: Id, to: Id, request: Request) -> bool {
        let own = self.requests.keys().filter(|(asker, _)| *asker == by);
        let is_new = !self.requests.contains_key(&(by, to));
        if is_new && (own.count() >= REQUESTS_OF_USER_MAX || self.requests.len() >= REQUESTS_MAX) {
            return false;
        }
        self.requests.insert((by, to), request);
        true
    }
}

impl Pbx {
    /// The user of a leg wants to be called when whom it missed last is free, or by nobody any more.
    pub(crate) fn when_free(&mut self, id: LegId, is_wanted: bool) {
        let user = self.board.legs.get(&id).and_then(|leg| leg.party.user);
        let said = match user {
            None => return self.go(id, Next::End(Cause::Forbidden)),
            Some(by) if is_wanted => self.ask_when_free(by),
            Some(by) => {
                self.when_free.requests.retain(|(asker, _), _| *asker != by);
                Say::one(words::CALL_WHEN_FREE_OFF)
            }
        };
        self.go(id, Next::goodbye(said.pause(300)));
    }

    fn ask_when_free(&mut self, by: Id) -> Say {
        let missed = self.when_free.missed.get(&by).copied();
        let missed = missed.filter(|(to, _)| self.x.office.account(*to).is_some());
        let Some((to, was_busy)) = missed else {
            return Say::one(words::UNKNOWN_NUMBER);
        };
        let request = Request {
            until: self.x.after(LASTS),
            is_free: was_busy && !self.board.is_on_the_phone(to),
        };
        if !self.when_free.add(by, to, request) {
            self.x.counters.calls_when_free_refused += 1;
            return Say::one(words::COULD_NOT);
        }
        Say::one(words::CALL_WHEN_FREE)
    }

    /// Calls are made that can be: somebody has hung up.
    pub(crate) fn call_who_is_free(&mut self) {
        for user in std::mem::take(&mut self.when_free.freed) {
            let is_idle = !self.board.is_on_the_phone(user);
            let requests = self.when_free.requests.iter_mut();
            for ((_, to), request) in requests.filter(|((_, to), _)| *to == user) {
                debug_assert_eq!(*to, user);
                request.is_free = is_idle;
            }
            let touched = self.when_free.requests.iter();
            let touched = touched.filter(|((by, to), _)| *by == user || *to == user);
            let ripe = touched.filter(|(_, request)| request.is_free);
            for (by, to) in ripe.map(|(pair, _)| *pair).collect::<Vec<_>>() {
                self.call_free(by, to);
            }
        }
    }

    /// Rings who asked, unless one of the two is on the phone (again).
    fn call_free(&mut self, by: Id, to: Id) {
        if self.board.is_on_the_phone(to) {
            if let Some(request) = self.when_free.requests.get_mut(&(by, to)) {
                request.is_free = false;
            }
            return;
        }
        if self.board.is_on_the_phone(by) || self.is_full() || !self.is_running() {
            return;
        }
        self.when_free.requests.remove(&(by, to));
        let Some(account) = self.x.office.account(to).cloned() else {
            return;
        };
        self.x.counters.calls_when_free += 1;
        let shown = Caller {
            user: None,
            number: account.extension.clone(),
            name: account.name,
            is_withheld: false,
            class: ClassOfService::Internal,
        };
        let request = DialRequest::user(by, vec![by], self.x.config.ring_for);
        self.dial_first(shown, request, &account.extension);
    }

    /// Requests that are too old are forgotten.
    pub(crate) fn forget_when_free(&mut self) {
        let now = self.x.now.mono;
        self.when_free
            .requests
            .retain(|_, request| now < request.until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_end_to_what_is_asked_for() {
        let id = |number: u64| format!("a.1.{number}").parse::<Id>().unwrap();
        let request = Request {
            until: Time(7),
            is_free: false,
        };
        let mut all = WhenFree::default();
        for to in 1..=REQUESTS_OF_USER_MAX as u64 {
            assert!(all.add(id(100), id(to), request));
        }
        assert!(!all.add(id(100), id(50), request));
        assert!(all.add(id(100), id(1), request), "it was asked for before");
        let others = (REQUESTS_MAX - REQUESTS_OF_USER_MAX) as u64;
        for by in 1000..1000 + others {
            assert!(all.add(id(by), id(1), request));
        }
        assert!(!all.add(id(1), id(2), request));
        assert_eq!(all.requests.len(), REQUESTS_MAX);
        assert_eq!(all.deadline(), Some(Time(7)));
    }
}
