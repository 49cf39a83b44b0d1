//! Calls to users and groups: whom a call rings, in which order, and where it goes from there.
//!
//! "Forward all" is followed before anything rings; busy, no answer and unreachable after it did. A call
//! goes to nobody twice, and no further than `hops_max`. Whatever happens, the mailbox is that of the
//! user or group that was dialled.

use std::collections::VecDeque;

use tandem_storage::name::Id;

use crate::app::{Next, Start};
use crate::call::dial_request::{DialRequest, DialTarget, Otherwise, Step, Trail};
use crate::call::outward;
use crate::call::routing::Dialer;
use crate::office::group::{Overflow, Strategy};
use crate::office::{Entry, ForwardCase};
use crate::seam::{Caller, Cause, DIVERSIONS_MAX, Diversion, DiversionReason};
use crate::state::PbxState;
use crate::voicemail::deposit::Reason;

/// A call to a user.
pub(crate) fn call_user(x: &mut PbxState, dialer: &Dialer<'_>, called: Id) -> Next {
    if is_unwanted(x, dialer.party, called) {
        x.counters.calls_unwanted += 1;
        return Next::End(Cause::Declined);
    }
    match to_user(x, called, Trail::from(dialer)) {
        Some(request) => Next::Dial(request),
        None => Next::Start(Start::Deposit(called, Reason::Unavailable)),
    }
}

/// A user does not want to hear from this caller.
pub(crate) fn is_unwanted(x: &PbxState, caller: &Caller, called: Id) -> bool {
    let settings = x.office.settings(called);
    match caller.is_withheld {
        true => settings.reject_anonymous,
        false => settings.blocked.contains(&caller.number),
    }
}

/// A call to a group.
pub(crate) fn call_group(x: &mut PbxState, dialer: &Dialer<'_>, group: Id) -> Next {
    match to_group(x, group, Trail::from(dialer)) {
        Some(request) => Next::Dial(request),
        None => Next::End(Cause::NoAnswer),
    }
}

/// A call goes on to this number. `None`: to nobody who has not had it yet.
pub(crate) fn onward(x: &mut PbxState, to: &str, trail: Trail) -> Option<DialRequest> {
    match x.office.entry(to) {
        Some(Entry::User(user)) => to_user(x, user, trail),
        Some(Entry::Group(group)) => to_group(x, group, trail),
        Some(Entry::Room(_)) => None,
        None => {
            let by = trail.passed.last().copied()?;
            outward::forwarded(x, by, to, trail)
        }
    }
}

impl Trail {
    fn from(dialer: &Dialer<'_>) -> Trail {
        Trail {
            passed: Vec::new(),
            diversions: dialer.diversions.to_vec(),
        }
    }

    /// The call is sent on from this user or group.
    pub(crate) fn divert(&mut self, x: &PbxState, from: Id, reason: DiversionReason) {
        if self.diversions.len() >= DIVERSIONS_MAX {
            self.diversions.remove(0);
        }
        self.diversions.push(Diversion {
            number: x.office.extension(from).cloned().unwrap_or_default(),
            name: x.office.name(from).cloned().unwrap_or_default(),
            is_withheld: false,
            reason,
        });
    }
}

/// A user's phones, or those of whom the user's calls go to. `None`: nobody's phone rings (do not
/// disturb, a circle, an extension that is no more).
fn to_user(x: &mut PbxState, user: Id, mut trail: Trail) -> Option<DialRequest> {
    let called = user;
    let mut at = user;
    loop {
        if !pass(x, at, &mut trail.passed) {
            return None;
        }
        let settings = x.office.settings(at);
        let Some(forward) = settings.forward else {
            let rings = !settings.dnd;
            return rings.then(|| DialRequest::user_by(called, trail, x.config.ring_for));
        };
        trail.divert(x, at, DiversionReason::Unconditional);
        match x.office.entry(&forward) {
            Some(Entry::User(next)) => at = next,
            Some(Entry::Group(group)) => {
                return Some(to_group(x, group, trail)?.or_mailbox(called));
            }
            Some(Entry::Room(_)) => return None,
            None => {
                let request = outward::forwarded(x, at, &forward, trail)?;
                return Some(request.or_mailbox(called));
            }
        }
    }
}

/// Notes that a call comes to a user or group. False: it has been there, or too far.
fn pass(x: &PbxState, id: Id, passed: &mut Vec<Id>) -> bool {
    let is_new = !passed.contains(&id) && passed.len() <= x.config.hops_max;
    if is_new {
        passed.push(id);
    }
    is_new
}

/// The phones of a group's members, as its strategy says.
fn to_group(x: &mut PbxState, id: Id, mut trail: Trail) -> Option<DialRequest> {
    if !pass(x, id, &mut trail.passed) {
        return None;
    }
    let group = x.office.group(id)?.clone();
    let wanted = |user: &Id| {
        let settings = x.office.settings(*user);
        let is_there = x.office.account(*user).is_some() && !x.office.is_logged_out(id, *user);
        is_there && !settings.dnd
    };
    let mut members: Vec<Id> = group.members.iter().copied().filter(wanted).collect();
    match group.strategy {
        Strategy::All | Strategy::InOrder => {}
        // Only who dials it itself speaks to all of them.
        Strategy::Page | Strategy::PageTwoWay => return None,
        Strategy::Rotating => x.rotate(id, &mut members),
        Strategy::LongestIdle => members.sort_by_key(|user| x.idle_since(*user)),
    }
    let ring_for = std::time::Duration::from_secs(group.ring_s.into());
    let Trail { passed, diversions } = trail;
    let step = |targets: Vec<Id>| Step {
        targets: targets.into_iter().map(DialTarget::User).collect(),
        diversions: diversions.clone(),
        ring_for,
    };
    let steps: VecDeque<Step> = match group.strategy {
        Strategy::All => VecDeque::from([step(members)]),
        _ => members.into_iter().map(|user| step(vec![user])).collect(),
    };
    let otherwise = match group.overflow {
        Overflow::Mailbox => Otherwise::Mailbox(id),
        Overflow::Busy => Otherwise::End(Cause::Busy),
        Overflow::Number(to) => Otherwise::Number(to),
    };
    Some(DialRequest {
        steps,
        passed,
        skips_busy: true,
        auto_answer: false,
        otherwise,
        referred_by: None,
    })
}

/// Why a call is sent on in a case of forwarding.
pub(crate) fn reason_of(case: ForwardCase) -> DiversionReason {
    match case {
        ForwardCase::Busy => DiversionReason::Busy,
        ForwardCase::NoAnswer => DiversionReason::NoAnswer,
        ForwardCase::Unreachable => DiversionReason::Unreachable,
    }
}

/// In which case of forwarding a user is whose phones did not take a call.
pub(crate) fn case_of(cause: Cause) -> Option<ForwardCase> {
    match cause {
        Cause::Busy => Some(ForwardCase::Busy),
        Cause::NoAnswer => Some(ForwardCase::NoAnswer),
        Cause::NotRegistered => Some(ForwardCase::Unreachable),
        _ => None,
    }
}
