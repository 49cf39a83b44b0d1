//! Subscriptions (RFC 6665): who wants to be notified of what.
//!
//! Two event packages are served: a user's lamp (`mwi`, RFC 3842), for its own phones, and a line's calls
//! (`dialog_info`, RFC 4235: the busy lamp field), for the phones of any user. A line is a user's, or
//! whatever else call control says can be watched. What the packages say is in their files; here is who
//! subscribed, for how long, and when a notification goes out.
//!
//! Invariants: one notification at a time is on its way to a subscriber, so that none overtakes another:
//! what changes meanwhile is sent when the answer has come. Changes are told once in [`PACE`] at most, and
//! the last state always. Each package has its own maximum of subscriptions, beyond it 503, and of one
//! user: a phone that subscribes again and again replaces its own. A phone that answers 481 or not at all
//! loses its subscription, and so does every phone of a user whose password is another one now. Call
//! control is told when somebody begins to watch a line's calls, and when nobody does any more.
//!
//! Sources: RFC 6665; RFC 4235 §3.10 (how often).

mod table;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tandem_pbx::seam::{Label, SipEvent, Watchable, WatchedCall};
use tandem_storage::name::Id;

use crate::access::{Access, number_of};
use crate::client_transactions::{Outcome, Owner};
use crate::context::{LazyTimer, TimerId};
use crate::dialog::Dialog;
use crate::message::{Message, Method, Name};
use crate::message_builder::{self, Answer};
use crate::server_transactions::ServerId;
use crate::shim::Shim;
pub(crate) use crate::subscriptions::table::{Package, Subscriptions};
use crate::subscriptions::table::{Subscription, Told};
use crate::uri::{Uri, param};
use crate::wire::Flow;
use crate::{dialog_info, mwi};

/// A subscriber is told of changes no more often than this.
const PACE: Duration = Duration::from_secs(1);
/// Why a subscription is over (RFC 6665 §4.1.3): its time is up, or its subscriber wants no more of it.
const TIMEOUT: &str = "timeout";
/// What it is about is there no more.
const NO_RESOURCE: &str = "noresource";
/// Its subscriber may not have it any more.
const REJECTED: &str = "rejected";
/// What we notify of, for Allow-Events headers.
const EVENTS: &str = "Allow-Events: message-summary, dialog\r\n";

impl Shim {
    pub(crate) fn on_subscribe(&mut self, server: ServerId, flow: Flow, request: &Message) {
        let package = match acceptable(request) {
            Ok(package) => package,
            Err(status) => {
                return self.reply(server, request, &Answer::new(status).headers(EVENTS));
            }
        };
        let Some(expires_s) = self.granted_s(server, request) else {
            return;
        };
        let extension = number_of(request, Name::From);
        let known = self
            .registrar
            .is_phone_of(self.cx.now.mono, &extension, &flow);
        let user = match known.map(|u| u.sip.id) {
            Some(user) => {
                self.servers.vouch(server);
                user
            }
            None => match self.authenticate(server, flow, request, Some(&extension)) {
                Access::Granted(user) => user,
                Access::Refused => return,
            },
        };
        let asked = Uri::parse(request.uri()).and_then(|uri| uri.number().map(Cow::into_owned));
        let whose = asked.and_then(|number| self.line_of(&number));
        let own = Watchable::User(user);
        let about = match (package, whose) {
            (Package::Dialog, Some(line)) => line,
            (Package::Dialog, None) => return self.reply(server, request, &Answer::new(404)),
            (Package::MessageSummary, Some(Watchable::User(other))) if other != user => {
                return self.reply(server, request, &Answer::new(403));
            }
            // Any other number is taken for a code such as *97: phones subscribe to that, too.
            (Package::MessageSummary, _) => own,
        };
        let tag = self.cx.random();
        let Some(dialog) = Dialog::from_request(request, flow, tag) else {
            return self.reply(server, request, &Answer::new(400).reason("Bad Contact"));
        };
        let event = request.header_or_empty(Name::Event);
        let id = param(event, "id").unwrap_or_default();
        let subscription = Subscription {
            package,
            subscriber: user,
            about,
            dialog,
            id: id.chars().take(64).collect(),
            expires: LazyTimer::never(),
            busy: false,
            told: None,
            shown: Arc::default(),
            notified_at: None,
            is_put_off: false,
            version: 0,
            wanted: true,
            over: None,
        };
        let most = package.most(&self.cx.config);
        for replaced in self.subscriptions.replaced(&subscription, &flow, most) {
            self.forget_subscription(replaced);
        }
        if self.subscriptions.len_of(package) >= package.most_of_all(&self.cx.config) {
            match package {
                Package::MessageSummary => self.cx.counters.subscriptions_full += 1,
                Package::Dialog => self.cx.counters.watches_full += 1,
            }
            let retry = self.retry_after();
            return self.reply(server, request, &Answer::new(503).headers(&retry));
        }
        if self.subscriptions.insert(tag, subscription) {
            let (what, is_watched) = (about, true);
            self.cx.tell(SipEvent::Watched { what, is_watched });
        }
        self.subscribed(server, flow, request, tag, expires_s);
    }

    fn forget_subscription(&mut self, tag: u64) {
        if let Some(what) = self.subscriptions.remove(tag) {
            let is_watched = false;
            self.cx.tell(SipEvent::Watched { what, is_watched });
        }
    }

    /// Whose number it is.
    fn line_of(&self, number: &str) -> Option<Watchable> {
        let user = self.registrar.by_extension(number);
        let user = user.map(|user| Watchable::User(user.sip.id));
        user.or_else(|| self.subscriptions.by_number(number))
    }

    /// Call control says that a line can be watched, or no longer.
    pub(crate) fn set_watchable(&mut self, what: Watchable, label: Option<Label>) {
        if label.is_none() {
            self.end_subscriptions_about(what);
        }
        self.subscriptions.set_label(what, label);
    }

    /// A SUBSCRIBE within a subscription: refresh or end.
    pub(crate) fn on_resubscribe(
        &mut self,
        server: ServerId,
        flow: Flow,
        request: &Message,
        tag: u64,
    ) {
        let package = match acceptable(request) {
            Ok(package) => package,
            Err(status) => {
                return self.reply(server, request, &Answer::new(status).headers(EVENTS));
            }
        };
        let own = self.subscriptions.by_tag.get_mut(&tag);
        let is_it = |s: &&mut Subscription| {
            s.package == package && s.dialog.owns(request) && s.over.is_none()
        };
        let Some(subscription) = own.filter(is_it) else {
            return self.reply(server, request, &Answer::new(481));
        };
        self.servers.vouch(server);
        let number = request.cseq().map_or(0, |(n, _, _)| n);
        if !subscription.dialog.take_cseq(number) {
            return self.reply(
                server,
                request,
                &Answer::new(500).reason("CSeq Out Of Order"),
            );
        }
        let Some(expires_s) = self.granted_s(server, request) else {
            return;
        };
        self.subscribed(server, flow, request, tag, expires_s);
    }

    fn subscribed(
        &mut self,
        server: ServerId,
        flow: Flow,
        request: &Message,
        tag: u64,
        expires_s: u32,
    ) {
        self.cx.counters.subscribes += 1;
        let Some(subscription) = self.subscriptions.by_tag.get_mut(&tag) else {
            return;
        };
        subscription.dialog.follow(request, flow);
        subscription.wanted = true;
        let at = self.cx.now.mono + Duration::from_secs(u64::from(expires_s));
        subscription
            .expires
            .set(&mut self.cx, at, TimerId::Subscription(tag));
        subscription.over = (expires_s == 0).then_some(TIMEOUT);
        let (package, about) = (subscription.package, subscription.about);
        let contact = message_builder::contact(&self.cx, &flow);
        let headers = format!("{contact}Expires: {expires_s}\r\n");
        self.servers.respond(
            &mut self.cx,
            server,
            request,
            &Answer::new(200).tag(tag).headers(&headers),
        );
        if let (Package::MessageSummary, Watchable::User(user)) = (package, about)
            && self.registrar.user(user).is_some_and(|u| u.lamp.is_none())
        {
            self.cx.tell(SipEvent::PhoneCame { user });
        }
        self.notify(tag);
    }

    /// For how long; `None`: too briefly, and the request was answered.
    fn granted_s(&mut self, server: ServerId, request: &Message) -> Option<u32> {
        let config = &self.cx.config;
        let asked_s = request
            .number(Name::Expires)
            .unwrap_or(config.expires_max_s);
        if asked_s > 0 && asked_s < config.expires_min_s {
            let headers = format!("Min-Expires: {}\r\n", config.expires_min_s);
            self.reply(server, request, &Answer::new(423).headers(&headers));
            return None;
        }
        Some(asked_s.min(config.expires_max_s))
    }

    /// Tells one subscriber, if there is something it does not know.
    pub(crate) fn notify(&mut self, tag: u64) {
        let Some(news) = self.news(tag) else {
            return;
        };
        if self.is_put_off(tag) {
            return;
        }
        let Some((body, shown)) = self.body(tag) else {
            return;
        };
        let Some(subscription) = self.subscriptions.by_tag.get_mut(&tag) else {
            return;
        };
        (subscription.busy, subscription.wanted) = (true, false);
        subscription.told = Some(news);
        subscription.shown = shown;
        subscription.notified_at = Some(self.cx.now.mono);
        subscription.version += 1;
        let left_s = subscription.expires.due().since(self.cx.now.mono).as_secs();
        let state = match subscription.over {
            Some(reason) => format!("terminated;reason={reason}"),
            None => format!("active;expires={left_s}"),
        };
        let id = match &*subscription.id {
            "" => String::new(),
            id => format!(";id={id}"),
        };
        let event = subscription.package.name();
        let kind = subscription.package.body_kind();
        let dialog = &mut subscription.dialog;
        let cseq = dialog.next_cseq();
        let contact = message_builder::contact(&self.cx, &dialog.flow);
        let headers = format!("{contact}Event: {event}{id}\r\nSubscription-State: {state}\r\n");
        let branch = self.cx.random();
        let route = dialog.route();
        let mut request = dialog.request(Method::Notify, cseq, branch, &route);
        request.headers = &headers;
        request.body = Some((kind, body.as_bytes()));
        self.cx.counters.notifies += 1;
        self.clients
            .request(&mut self.cx, dialog.flow, Owner::Notify { tag }, &request);
    }

    /// What a subscriber is to be told now. `None`: it knows all, or is being told something.
    fn news(&self, tag: u64) -> Option<Told> {
        let subscription = self.subscriptions.by_tag.get(&tag)?;
        if subscription.busy {
            return None;
        }
        let news = match (subscription.package, subscription.about) {
            (Package::MessageSummary, Watchable::User(user)) => {
                let lamp = self.registrar.user(user).and_then(|user| user.lamp);
                Told::Lamp(lamp.unwrap_or_default())
            }
            (_, about) => match self.subscriptions.calls.get(&about) {
                Some(known) => Told::Calls(known.change),
                None if matches!(subscription.over, Some(NO_RESOURCE | REJECTED)) => Told::Calls(0),
                // Call control tells them in a moment.
                None => return None,
            },
        };
        let is_due = subscription.is_owed() || subscription.told != Some(news);
        is_due.then_some(news)
    }

    /// It is too early to tell a subscriber of a change: it is told in a while. What it asked for itself
    /// does not wait (RFC 6665 §4.2.1.2).
    fn is_put_off(&mut self, tag: u64) -> bool {
        let Some(subscription) = self.subscriptions.by_tag.get_mut(&tag) else {
            return false;
        };
        let Some(last) = subscription.notified_at else {
            return false;
        };
        if subscription.is_owed() || self.cx.now.mono >= last + PACE {
            return false;
        }
        if !std::mem::replace(&mut subscription.is_put_off, true) {
            let timer = TimerId::Notification(tag);
            self.cx.timers.set(last + PACE, timer);
        }
        true
    }

    /// The time of a notification that was put off has come.
    pub(crate) fn on_notification_due(&mut self, tag: u64) {
        if let Some(subscription) = self.subscriptions.by_tag.get_mut(&tag) {
            subscription.is_put_off = false;
            self.notify(tag);
        }
    }

    /// What a notification says, and the calls of which it speaks.
    fn body(&self, tag: u64) -> Option<(String, Arc<[WatchedCall]>)> {
        let subscription = self.subscriptions.by_tag.get(&tag)?;
        let user = match subscription.about {
            Watchable::User(user) => self.registrar.user(user),
            Watchable::Group(_) | Watchable::Slot(_) => None,
        };
        let label = self.subscriptions.label(subscription.about);
        let user_is = user.map(|user| (&*user.sip.extension, &*user.sip.name));
        let line_is = label.map(|label| (&*label.extension, &*label.name));
        let named = user_is.or(line_is).unwrap_or_default();
        if subscription.package == Package::MessageSummary {
            let lamp = user.and_then(|user| user.lamp).unwrap_or_default();
            return Some((mwi::summary(&self.cx, named.0, lamp), Arc::default()));
        }
        let known = self.subscriptions.calls.get(&subscription.about);
        let calls = known.map_or(Arc::default(), |known| known.calls.clone());
        let shown = &subscription.shown;
        let is_over = |old: &&WatchedCall| calls.iter().all(|call| call.leg != old.leg);
        let ended: Vec<&WatchedCall> = shown.iter().filter(is_over).collect();
        let body = dialog_info::body(&self.cx, named, subscription.version, &calls, &ended);
        Some((body, calls))
    }

    pub(crate) fn on_notify_heard(&mut self, tag: u64, outcome: Outcome) {
        if matches!(outcome, Outcome::Response(..200)) {
            return;
        }
        let Some(subscription) = self.subscriptions.by_tag.get_mut(&tag) else {
            return;
        };
        subscription.busy = false;
        // RFC 6665 §4.2.2: whatever else a phone says about one notification, it is still there.
        let alive = matches!(outcome, Outcome::Response(s) if !matches!(s, 404 | 405 | 408 | 410 | 416 | 480..=485 | 489 | 501 | 604));
        let said_so =
            subscription.over.is_some() && subscription.told.is_some() && !subscription.wanted;
        if !alive || said_so {
            return self.forget_subscription(tag);
        }
        self.notify(tag);
    }

    /// A subscription's time may be up.
    pub(crate) fn on_subscription_due(&mut self, tag: u64) {
        let Some(subscription) = self.subscriptions.by_tag.get_mut(&tag) else {
            return;
        };
        let due = subscription
            .expires
            .fired(&mut self.cx, TimerId::Subscription(tag));
        if due && subscription.over.is_none() {
            subscription.over = Some(TIMEOUT);
            subscription.wanted = true;
            self.notify(tag);
        }
    }

    /// A line is there no more.
    pub(crate) fn end_subscriptions_about(&mut self, what: Watchable) {
        for package in [Package::MessageSummary, Package::Dialog] {
            let tags = self.subscriptions.tags_of(package, what);
            self.end_subscriptions(tags, NO_RESOURCE);
        }
    }

    /// What a user's phones had shown to subscribe is good no more.
    pub(crate) fn end_subscriptions_of(&mut self, user: Id) {
        for package in [Package::MessageSummary, Package::Dialog] {
            let tags = self.subscriptions.tags_by(package, user);
            self.end_subscriptions(tags, REJECTED);
        }
    }

    fn end_subscriptions(&mut self, tags: Vec<u64>, why: &'static str) {
        for tag in tags {
            let subscription = self.subscriptions.by_tag.get_mut(&tag);
            if let Some(subscription) = subscription.filter(|s| s.over.is_none()) {
                (subscription.over, subscription.wanted) = (Some(why), true);
                self.notify(tag);
            }
        }
    }
}

/// Which package a SUBSCRIBE is about, or with which status it is refused.
fn acceptable(request: &Message) -> Result<Package, u16> {
    let package = Package::parse(request.header_or_empty(Name::Event)).ok_or(489_u16)?;
    let mut accepts = request.tokens(Name::Accept).peekable();
    let takes = |a: &str| {
        let kind = a.split(';').next().unwrap_or_default().trim();
        let is_any = kind == "*/*" || kind == "application/*";
        is_any || kind.eq_ignore_ascii_case(package.body_kind())
    };
    match accepts.peek().is_none() || accepts.any(takes) {
        true => Ok(package),
        false => Err(406),
    }
}
