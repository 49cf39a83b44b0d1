//! Subscriptions (RFC 6665): who wants to be notified of what.
//!
//! Two event packages are served: a user's lamp (`mwi`, RFC 3842), for its own phones, and a user's calls
//! (`dialog_info`, RFC 4235: the busy lamp field), for the phones of any user. What they say is in their
//! files; here is who subscribed, for how long, and when a notification goes out.
//!
//! Invariants: one notification at a time is on its way to a subscriber, so that none overtakes another:
//! what changes meanwhile is sent when the answer has come. At most `subscriptions_max` subscriptions,
//! beyond it 503, and of one user so many in each package: a phone that subscribes again and again
//! replaces its own. A phone that answers 481 or not at all loses its subscription. Call control is told
//! when somebody begins to watch a user's calls, and when nobody does any more.

mod table;

use std::borrow::Cow;
use std::time::Duration;

use tandem_pbx::seam::SipEvent;
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
        let whose = asked.and_then(|number| self.registrar.by_extension(&number));
        let about = match (package, whose.map(|other| other.sip.id)) {
            (Package::Dialog, Some(other)) => other,
            (Package::Dialog, None) => return self.reply(server, request, &Answer::new(404)),
            // Any other number is taken for a code such as *97: phones subscribe to that, too.
            (Package::MessageSummary, None) => user,
            (Package::MessageSummary, Some(other)) if other == user => user,
            (Package::MessageSummary, Some(_)) => {
                return self.reply(server, request, &Answer::new(403));
            }
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
            version: 0,
            wanted: true,
            over: None,
        };
        let most = package.most(&self.cx.config);
        for replaced in self.subscriptions.replaced(&subscription, &flow, most) {
            self.forget_subscription(replaced);
        }
        if self.subscriptions.len() >= self.cx.config.subscriptions_max {
            self.cx.counters.subscriptions_full += 1;
            let retry = self.retry_after();
            return self.reply(server, request, &Answer::new(503).headers(&retry));
        }
        if self.subscriptions.insert(tag, subscription) {
            let (user, is_watched) = (about, true);
            self.cx.tell(SipEvent::Watched { user, is_watched });
        }
        self.subscribed(server, flow, request, tag, expires_s);
    }

    fn forget_subscription(&mut self, tag: u64) {
        if let Some(user) = self.subscriptions.remove(tag) {
            let is_watched = false;
            self.cx.tell(SipEvent::Watched { user, is_watched });
        }
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
        subscription.over = (expires_s == 0).then_some("timeout");
        let (package, user) = (subscription.package, subscription.about);
        let contact = message_builder::contact(&self.cx, &flow);
        let headers = format!("{contact}Expires: {expires_s}\r\n");
        self.servers.respond(
            &mut self.cx,
            server,
            request,
            &Answer::new(200).tag(tag).headers(&headers),
        );
        let is_dark = self.registrar.user(user).is_some_and(|u| u.lamp.is_none());
        if package == Package::MessageSummary && is_dark {
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
        let Some(subscription) = self.subscriptions.by_tag.get_mut(&tag) else {
            return;
        };
        if subscription.busy {
            return;
        }
        let user = self.registrar.user(subscription.about);
        let extension = user.map_or("", |user| &user.sip.extension);
        let (news, body) = match subscription.package {
            Package::MessageSummary => {
                let lamp = user.and_then(|user| user.lamp).unwrap_or_default();
                let body = mwi::summary(&self.cx, extension, lamp);
                (Told::Lamp(lamp), body)
            }
            Package::Dialog => {
                let known = self.subscriptions.calls.get(&subscription.about);
                let (calls, change) = match known {
                    Some(known) => (&*known.calls, known.change),
                    // Call control tells them in a moment.
                    None if subscription.over != Some("noresource") => return,
                    None => (&[][..], 0),
                };
                let version = subscription.version;
                let name = user.map_or("", |user| &user.sip.name);
                let body = dialog_info::body(&self.cx, (extension, name), version, calls);
                (Told::Calls(change), body)
            }
        };
        let is_due =
            subscription.wanted || subscription.over.is_some() || subscription.told != Some(news);
        if !is_due {
            return;
        }
        (subscription.busy, subscription.wanted) = (true, false);
        subscription.told = Some(news);
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
        request.body = Some((kind, &body));
        self.cx.counters.notifies += 1;
        self.clients
            .request(&mut self.cx, dialog.flow, Owner::Notify { tag }, &request);
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
            subscription.over = Some("timeout");
            subscription.wanted = true;
            self.notify(tag);
        }
    }

    /// The user is gone: so are its lamp and its calls, and its phones watch nobody any more.
    pub(crate) fn drop_subscriptions(&mut self, user: Id) {
        let packages = [Package::MessageSummary, Package::Dialog];
        let about = packages.map(|package| self.subscriptions.tags_of(package, user));
        let by = self.subscriptions.tags_by(Package::Dialog, user);
        for tag in about.concat().into_iter().chain(by) {
            if let Some(subscription) = self.subscriptions.by_tag.get_mut(&tag) {
                subscription.over = Some("noresource");
                subscription.wanted = true;
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
