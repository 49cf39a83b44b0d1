//! What was dialled, and where the call goes from there.
//!
//! An extension first, then the star codes, the longest that fits. Who may: everybody reaches
//! users, mailboxes, the echo, the clock and "my number"; a setting is changed only by a user who
//! has shown to be one.

use std::sync::Arc;

use tandem_storage::name::Id;

use crate::app::codes::Change;
use crate::app::{Next, Start};
use crate::call::dial_request::{DialRequest, Otherwise, Trail};
use crate::call::groups;
use crate::call::leg::Leg;
use crate::call::outward;
use crate::call::parking;
use crate::config::{Service, StarCode};
use crate::office::{Entry, Office};
use crate::say::Say;
use crate::seam::{Caller, Cause, ClassOfService, Diversion};
use crate::state::PbxState;
use crate::voicemail::deposit::Reason;
use crate::words;

/// Where a dialled number leads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Route {
    User(Id),
    Group(Id),
    Page(Id),
    Room(Id),
    Intercom(Id),
    CallBack,
    WhenFree(bool),
    Leave(Id),
    MyMessages,
    MessagesOf(Option<Id>),
    Echo,
    Clock,
    MyNumber,
    Change(Change),
    PickUp(Option<Id>),
    Park,
    Fetch(u32),
    Outside(Id),
}

/// Who wants to go where, and by whose rights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialer<'a> {
    /// Whose leg it is.
    pub(crate) party: &'a Caller,
    pub(crate) dialed: &'a str,
    /// What may be reached.
    pub(crate) class: ClassOfService,
    /// In whose name calls outside are made.
    pub(crate) payer: Option<Id>,
    /// Somebody else dialled for this party: it is transferred.
    pub(crate) for_another: bool,
    /// Where its call has been before it came here.
    pub(crate) diversions: &'a [Diversion],
}

impl Dialer<'_> {
    /// A party that dialled itself.
    pub(crate) fn of(leg: &Leg) -> Dialer<'_> {
        Dialer {
            party: &leg.party,
            dialed: &leg.dialed,
            class: leg.party.class,
            payer: leg.party.user,
            for_another: false,
            diversions: &leg.diversions,
        }
    }
}

/// Reads what was dialled: an extension, a code, a number outside. `None`: there is no such number.
pub(crate) fn route(dialed: &str, codes: &[StarCode], office: &Office) -> Option<Route> {
    let dialed = in_full(dialed, codes, office).map_or(dialed, |number| number);
    match office.entry(dialed) {
        Some(Entry::User(user)) => return Some(Route::User(user)),
        Some(Entry::Group(group)) => {
            let is_page = office.group(group).is_some_and(|g| g.strategy.is_page());
            return Some(if is_page {
                Route::Page(group)
            } else {
                Route::Group(group)
            });
        }
        Some(Entry::Room(room)) => return Some(Route::Room(room)),
        None => {}
    }
    let mut codes: Vec<_> = codes
        .iter()
        .filter(|code| dialed.starts_with(&*code.code))
        .collect();
    codes.sort_by_key(|code| std::cmp::Reverse(code.code.len()));
    codes
        .into_iter()
        .find_map(|code| service(code.service, &dialed[code.code.len()..], office))
        .or_else(|| office.outside.route_for(dialed).map(Route::Outside))
}

/// What a speed dial stands for. `None`: it is none.
fn in_full<'a>(dialed: &str, codes: &[StarCode], office: &'a Office) -> Option<&'a Arc<str>> {
    if office.entry(dialed).is_some() {
        return None;
    }
    let mut codes = codes.iter();
    codes.find_map(|code| {
        let digits = match code.service {
            Service::SpeedDial => dialed.strip_prefix(&*code.code)?,
            _ => return None,
        };
        office.speed_dials.get(digits).map(|dial| &dial.number)
    })
}

/// A service and the number that follows its code.
fn service(service: Service, rest: &str, office: &Office) -> Option<Route> {
    let route = match service {
        Service::MessagesOf if rest.is_empty() => Route::MessagesOf(None),
        Service::MessagesOf => Route::MessagesOf(Some(office.mailbox(rest)?)),
        Service::LeaveMessage => Route::Leave(office.mailbox(rest)?),
        Service::Intercom => Route::Intercom(office.by_extension(rest)?),
        Service::GroupLogin | Service::GroupLogout => {
            let group = match office.entry(rest) {
                Some(Entry::Group(group)) => Some(group),
                _ if rest.is_empty() => None,
                _ => return None,
            };
            Route::Change(Change::Group(group, service == Service::GroupLogin))
        }
        Service::SwitchSchedule => {
            let number = rest.parse().ok().filter(|_| !rest.starts_with('+'));
            let schedule = office.schedules.numbered(number?)?;
            Route::Change(Change::Schedule(schedule))
        }
        Service::ForwardCaseOn(case) if !rest.is_empty() => {
            Route::Change(Change::ForwardIn(case, Some(rest.into())))
        }
        Service::WorkAt if !rest.is_empty() => Route::Change(Change::WorkAt(Some(rest.into()))),
        Service::PickUp => Route::PickUp(Some(office.by_extension(rest)?)),
        Service::Park if !rest.is_empty() => Route::Fetch(parking::slot(rest)?),
        Service::ForwardOn if !rest.is_empty() => Route::Change(Change::Forward(Some(rest.into()))),
        Service::SpeedDial => return None,
        _ if !rest.is_empty() => return None,
        Service::ForwardOn | Service::ForwardCaseOn(_) | Service::WorkAt => return None,
        Service::WorkHere => Route::Change(Change::WorkAt(None)),
        Service::MyMessages => Route::MyMessages,
        Service::Echo => Route::Echo,
        Service::Clock => Route::Clock,
        Service::MyNumber => Route::MyNumber,
        Service::DndOn => Route::Change(Change::Dnd(true)),
        Service::DndOff => Route::Change(Change::Dnd(false)),
        Service::ForwardOff => Route::Change(Change::Forward(None)),
        Service::ForwardCaseOff(case) => Route::Change(Change::ForwardIn(case, None)),
        Service::RejectAnonymousOn => Route::Change(Change::RejectAnonymous(true)),
        Service::RejectAnonymousOff => Route::Change(Change::RejectAnonymous(false)),
        Service::CallBack => Route::CallBack,
        Service::CallWhenFreeOn => Route::WhenFree(true),
        Service::CallWhenFreeOff => Route::WhenFree(false),
        Service::PickUpGroup => Route::PickUp(None),
        Service::Park => Route::Park,
    };
    Some(route)
}

/// Where a leg goes for which this was dialled.
pub(crate) fn start(dialer: &Dialer<'_>, x: &mut PbxState) -> Next {
    let number = in_full(dialer.dialed, &x.codes, &x.office).cloned();
    let dialer = &Dialer {
        dialed: number.as_deref().unwrap_or(dialer.dialed),
        ..*dialer
    };
    let Some(route) = route(dialer.dialed, &x.codes, &x.office) else {
        return Next::End(Cause::NoSuchNumber);
    };
    if !may(dialer, &route, &x.office) {
        return Next::End(Cause::Forbidden);
    }
    // Whom a user called, or lets in, is not kept out by it.
    if !dialer.for_another && x.office.blocks(dialer.party) {
        x.counters.calls_unwanted += 1;
        return Next::End(Cause::Blocked);
    }
    let start = match route {
        // Nobody is rung at the phone it speaks from.
        Route::User(user) if dialer.for_another && dialer.party.user == Some(user) => {
            return Next::End(Cause::Declined);
        }
        Route::User(user) => return groups::call_user(x, dialer, user),
        Route::Group(group) => return groups::call_group(x, dialer, group),
        Route::Page(group) => Start::Page(group),
        Route::Room(room) => Start::Room(room),
        Route::Outside(route) => return call_outside(dialer, route, x),
        Route::Intercom(user) => return Next::Dial(intercom(user, x)),
        Route::CallBack => return call_back(dialer, x),
        Route::WhenFree(is_wanted) => return Next::WhenFree(is_wanted),
        Route::PickUp(whose) => return Next::PickUp(whose),
        Route::Park if dialer.for_another => return Next::Park(None),
        Route::Park => return Next::ParkHeld,
        Route::Fetch(slot) => return Next::FetchParked(slot),
        Route::Leave(user) => Start::Deposit(user, Reason::Direct),
        Route::MyMessages => Start::Login(own_mailbox(dialer.party, &x.office)),
        Route::MessagesOf(user) => Start::Login(user),
        Route::Echo if x.config.echo_prompt => Start::EchoTest,
        Route::Echo => Start::Echo,
        Route::Clock => Start::Clock,
        Route::MyNumber => Start::MyNumber,
        Route::Change(change) => match dialer.party.user {
            Some(user) => Start::Change(user, change),
            None => return Next::End(Cause::Forbidden),
        },
    };
    Next::Start(start)
}

/// What a class of service allows, in one place. What a user does for itself, nobody does for it.
fn may(dialer: &Dialer<'_>, route: &Route, office: &Office) -> bool {
    let needs = match route {
        Route::Outside(route) => office.outside.route(*route).map(|route| route.kind.needs()),
        _ => None,
    };
    let is_internal = dialer.class != ClassOfService::Public;
    let is_user = dialer.party.user.is_some() && !dialer.for_another;
    match route {
        Route::User(_) | Route::Group(_) | Route::Room(_) | Route::Leave(_) => true,
        Route::Echo | Route::Clock | Route::MyNumber => true,
        Route::MyMessages | Route::MessagesOf(_) => is_internal,
        Route::Outside(_) => needs.is_some_and(|needs| dialer.class >= needs),
        Route::Park if dialer.for_another => is_internal,
        Route::Fetch(_) | Route::Intercom(_) => is_internal,
        // Nobody is made to speak to phones that answer by themselves.
        Route::Page(_) => is_internal && !dialer.for_another,
        Route::Park | Route::PickUp(_) | Route::Change(_) => is_user,
        Route::CallBack | Route::WhenFree(_) => is_user,
    }
}

/// The user's phones are asked to answer by themselves; no mailbox takes the call.
fn intercom(user: Id, x: &PbxState) -> DialRequest {
    DialRequest {
        auto_answer: true,
        otherwise: Otherwise::End(Cause::NoAnswer),
        ..DialRequest::user(user, vec![user], x.config.ring_for)
    }
}

/// A number outside is called, by the trunks of its route.
fn call_outside(dialer: &Dialer<'_>, route: Id, x: &mut PbxState) -> Next {
    let trail = Trail {
        diversions: dialer.diversions.to_vec(),
        ..Trail::default()
    };
    match outward::to_route(x, route, dialer.dialed, dialer.payer, trail) {
        Some(request) => Next::Dial(request),
        None => Next::End(Cause::NoSuchNumber),
    }
}

/// Whoever called the user last is called.
fn call_back(dialer: &Dialer<'_>, x: &mut PbxState) -> Next {
    let user = dialer.party.user;
    let Some(number) = user.and_then(|user| x.last_caller(user)) else {
        return Next::goodbye(Say::one(words::UNKNOWN_NUMBER).pause(300));
    };
    let dialer = &Dialer {
        dialed: &number,
        ..*dialer
    };
    match route(&number, &x.codes, &x.office) {
        Some(Route::User(user)) => groups::call_user(x, dialer, user),
        Some(route @ Route::Outside(by)) => match may(dialer, &route, &x.office) {
            true => call_outside(dialer, by, x),
            false => Next::End(Cause::Forbidden),
        },
        _ => Next::End(Cause::NoSuchNumber),
    }
}

/// The user whose phone it is; for a call from a gateway, whose number it gives.
fn own_mailbox(party: &Caller, office: &Office) -> Option<Id> {
    party.user.or_else(|| office.by_extension(&party.number))
}

/// A number one may forward to: somebody else's extension, a group's, or one outside if that is allowed.
pub(crate) fn forward_target(x: &PbxState, user: Id, to: &str) -> Option<Arc<str>> {
    let Some(other) = x.office.entry(to) else {
        let may = x.office.settings(user).forward_outside;
        let route = outward::allowed_route(x, user, to).filter(|_| may);
        return route.map(|_| to.into());
    };
    let takes_calls = !matches!(other, Entry::Room(_));
    (takes_calls && other != Entry::User(user)).then(|| to.into())
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
        let route = route(dialed, &StarCode::defaults(), &office());
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
        check("*8", "PickUp(None)");
        check("*8102", "-");
        check("**102", "PickUp(Some(a.1.2))");
        check("**199", "-");
        check("68", "Park");
        check("681", "Fetch(1)");
        check("680", "-");
        check("68100", "-");
        check("é*97", "-");
    }
}
