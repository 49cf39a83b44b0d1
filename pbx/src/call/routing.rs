//! What was dialled, and where the call goes from there.
//!
//! An extension first, then the star codes, the longest that fits. Who may: everybody reaches
//! users, mailboxes, the echo, the clock and "my number"; a setting is changed only by a user who
//! has shown to be one.

use std::sync::Arc;
use std::time::Duration;

use tandem_engine::seam::Command;
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::call::codes::{self, Change};
use crate::call::ending::Announcement;
use crate::call::ringing::Ringing;
use crate::call::{CallEvent, CallerLeg, Phase};
use crate::config::{PbxConfig, Service};
use crate::office::Office;
use crate::say::Say;
use crate::seam::{Cause, ClassOfService};
use crate::state::PbxState;
use crate::voicemail::deposit::{Deposit, Reason};
use crate::voicemail::login::Login;
use crate::words;

/// Where a dialled number leads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Route {
    User(Id),
    Leave(Id),
    MyMessages,
    MessagesOf(Option<Id>),
    Echo,
    Clock,
    MyNumber,
    Change(Change),
}

/// We have answered and wait for the caller to confirm, so that it misses no word.
#[derive(Debug)]
pub(crate) struct Answering {
    then: AfterAnswer,
    pub(crate) until: Time,
}

/// What follows the answer.
#[derive(Clone, Debug, PartialEq)]
enum AfterAnswer {
    Deposit(Id, Reason),
    Login(Option<Id>),
    Echo,
    Clock,
    MyNumber,
    Change(Id, Change),
}

/// The shim gives up on an ACK after 32 s (RFC 3261 §13.3.1.4); this is for a shim that does not.
const CONFIRM_WAIT: Duration = Duration::from_secs(40);

/// Reads what was dialled. `None`: there is no such number.
pub(crate) fn route(dialed: &str, config: &PbxConfig, office: &Office) -> Option<Route> {
    if let Some(user) = office.by_extension(dialed) {
        return Some(Route::User(user));
    }
    let mut codes: Vec<_> = config
        .codes
        .iter()
        .filter(|code| dialed.starts_with(&*code.code))
        .collect();
    codes.sort_by_key(|code| std::cmp::Reverse(code.code.len()));
    codes
        .into_iter()
        .find_map(|code| service(code.service, &dialed[code.code.len()..], office))
}

/// A service and the number that follows its code.
fn service(service: Service, rest: &str, office: &Office) -> Option<Route> {
    let route = match service {
        Service::MessagesOf if rest.is_empty() => Route::MessagesOf(None),
        Service::MessagesOf => Route::MessagesOf(Some(office.by_extension(rest)?)),
        Service::LeaveMessage => Route::Leave(office.by_extension(rest)?),
        Service::ForwardOn if !rest.is_empty() => Route::Change(Change::Forward(Some(rest.into()))),
        _ if !rest.is_empty() => return None,
        Service::ForwardOn => return None,
        Service::MyMessages => Route::MyMessages,
        Service::Echo => Route::Echo,
        Service::Clock => Route::Clock,
        Service::MyNumber => Route::MyNumber,
        Service::DndOn => Route::Change(Change::Dnd(true)),
        Service::DndOff => Route::Change(Change::Dnd(false)),
        Service::ForwardOff => Route::Change(Change::Forward(None)),
    };
    Some(route)
}

/// A call begins.
pub(crate) fn start(line: &mut CallerLeg, x: &mut PbxState) -> Phase {
    let Some(route) = route(&line.dialed, &x.config, &x.office) else {
        return refuse(line, x, Cause::NoSuchNumber);
    };
    let then = match route {
        Route::User(user) => return call_user(line, x, user),
        Route::Leave(user) => AfterAnswer::Deposit(user, Reason::Direct),
        Route::MyMessages | Route::MessagesOf(_) if line.caller.class == ClassOfService::Public => {
            return refuse(line, x, Cause::Forbidden);
        }
        Route::MyMessages => AfterAnswer::Login(own_mailbox(line, &x.office)),
        Route::MessagesOf(user) => AfterAnswer::Login(user),
        Route::Echo if !x.config.echo_prompt => {
            line.answer(x, None);
            return echo(line, x);
        }
        Route::Echo => AfterAnswer::Echo,
        Route::Clock => AfterAnswer::Clock,
        Route::MyNumber => AfterAnswer::MyNumber,
        Route::Change(change) => match line.caller.user {
            Some(user) => AfterAnswer::Change(user, change),
            None => return refuse(line, x, Cause::Forbidden),
        },
    };
    answer(line, x, then)
}

fn refuse(line: &mut CallerLeg, x: &mut PbxState, cause: Cause) -> Phase {
    line.end(x, cause);
    Phase::Done
}

/// The user whose phone it is; for a call from a gateway, whose number it gives.
fn own_mailbox(line: &CallerLeg, office: &Office) -> Option<Id> {
    line.caller
        .user
        .or_else(|| office.by_extension(&line.caller.number))
}

/// Rings a user, or whoever takes that user's calls; the mailbox is always that of the one dialled.
fn call_user(line: &mut CallerLeg, x: &mut PbxState, called: Id) -> Phase {
    match goes_on(x, called, Vec::new()) {
        Some(passed) => Ringing::start(line, x, called, passed),
        None => take_message(line, x, called, Reason::Unavailable),
    }
}

/// Whom a call to `user` has been at before a phone rings, that phone's owner last. `None`: nobody's phone
/// rings (do not disturb, a circle, an extension that is no more).
pub(crate) fn goes_on(x: &PbxState, mut user: Id, mut passed: Vec<Id>) -> Option<Vec<Id>> {
    loop {
        if passed.contains(&user) || passed.len() > x.config.hops_max {
            return None;
        }
        passed.push(user);
        let settings = x.office.settings(user);
        let Some(forward) = settings.forward else {
            return (!settings.dnd).then_some(passed);
        };
        user = x.office.by_extension(&forward)?;
    }
}

/// The mailbox takes the call.
pub(crate) fn take_message(
    line: &mut CallerLeg,
    x: &mut PbxState,
    mailbox: Id,
    reason: Reason,
) -> Phase {
    answer(line, x, AfterAnswer::Deposit(mailbox, reason))
}

fn answer(line: &mut CallerLeg, x: &mut PbxState, then: AfterAnswer) -> Phase {
    line.answer(x, None);
    Phase::Answering(Answering {
        then,
        until: x.after(CONFIRM_WAIT),
    })
}

fn echo(line: &CallerLeg, x: &mut PbxState) -> Phase {
    x.media(Command::Echo { leg: line.leg });
    Phase::Echo
}

impl Answering {
    pub(crate) fn on(self, line: &mut CallerLeg, x: &mut PbxState, event: &CallEvent) -> Phase {
        match event {
            CallEvent::Confirmed(codec) => {
                line.codec = *codec;
                self.then.start(line, x)
            }
            CallEvent::Timer => refuse(line, x, Cause::MediaTimeout),
            _ => Phase::Answering(self),
        }
    }
}

impl AfterAnswer {
    fn start(self, line: &mut CallerLeg, x: &mut PbxState) -> Phase {
        match self {
            AfterAnswer::Deposit(mailbox, reason) => Deposit::start(line, x, mailbox, reason),
            AfterAnswer::Login(mailbox) => Login::start(line, x, mailbox),
            AfterAnswer::Echo => Announcement::then_echo(line, x, Say::one(words::ECHO_TEST)),
            AfterAnswer::Clock => codes::Clock::start(line, x),
            AfterAnswer::MyNumber => codes::my_number(line, x),
            AfterAnswer::Change(user, change) => codes::Setting::start(line, x, user, change),
        }
    }
}

/// After "this is the echo test".
pub(crate) fn start_echo(line: &CallerLeg, x: &mut PbxState) -> Phase {
    echo(line, x)
}

/// An extension one may forward to: somebody else's.
pub(crate) fn forward_target(x: &PbxState, user: Id, to: &str) -> Option<Arc<str>> {
    let other = x.office.by_extension(to)?;
    (other != user).then(|| to.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::office::{Account, new_user};

    fn office() -> Office {
        let mut office = Office::default();
        for (number, extension) in [(1, "101"), (2, "102"), (3, "98")] {
            let account = Account {
                extension: extension.into(),
                name: "".into(),
                ha1_md5: "".into(),
                ha1_sha256: "".into(),
            };
            let id = format!("a.1.{number}").parse().unwrap();
            for (key, value) in new_user(id, &account, "") {
                office.apply(&key, Some(&value));
            }
        }
        office
    }

    fn check(dialed: &str, expected: &str) {
        let route = route(dialed, &PbxConfig::default(), &office());
        let text = route.map_or("-".to_owned(), |route| format!("{route:?}"));
        assert_eq!(text, expected, "{dialed}");
    }

    #[test]
    fn the_dial_plan() {
        check("101", "User(a.1.1)");
        check("199", "-");
        check("", "-");
        check("*", "-");
        check("*102", "Leave(a.1.2)");
        check("*199", "-");
        check("*97", "MyMessages");
        check("*98", "MessagesOf(None)");
        check("*98101", "MessagesOf(Some(a.1.1))");
        check("*98199", "-");
        check("*43", "Echo");
        check("*431", "-");
        check("*60", "Clock");
        check("*65", "MyNumber");
        check("*78", "Change(Dnd(true))");
        check("*79", "Change(Dnd(false))");
        check("*72102", "Change(Forward(Some(\"102\")))");
        check("*72", "-");
        check("*73", "Change(Forward(None))");
        check("600", "-");
        check("*8", "-");
        check("é*97", "-");
    }
}
