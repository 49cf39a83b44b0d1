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

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tandem_pbx::seam::{MessageSummary, SipEvent, WatchedCall};
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::access::{Access, number_of};
use crate::client_transactions::{Outcome, Owner};
use crate::config::ShimConfig;
use crate::context::{LazyTimer, NumberMap, TimerId};
use crate::dialog::Dialog;
use crate::dialog_info;
use crate::message::{Message, Method, Name};
use crate::message_builder::{self, Answer};
use crate::mwi;
use crate::server_transactions::ServerId;
use crate::shim::Shim;
use crate::uri::{Uri, param};
use crate::wire::Flow;

/// What we notify of, for Allow-Events headers.
const EVENTS: &str = "Allow-Events: message-summary, dialog\r\n";

/// What a subscription is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Package {
    /// A user's lamp.
    MessageSummary,
    /// A user's calls.
    Dialog,
}

/// All subscriptions, by our tag.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    by_tag: NumberMap<u64, Subscription>,
    /// The subscriptions about each user.
    about: BTreeMap<(Package, Id), BTreeSet<u64>>,
    /// The subscriptions of each user's phones.
    by_subscriber: BTreeMap<(Package, Id), BTreeSet<u64>>,
    /// The calls of users that are watched, as call control told them last.
    calls: BTreeMap<Id, Calls>,
}

/// A watched user's calls.
#[derive(Debug)]
struct Calls {
    calls: Arc<[WatchedCall]>,
    /// Rises with every change.
    change: u64,
}

#[derive(Debug)]
struct Subscription {
    package: Package,
    /// Whose phone it is.
    subscriber: Id,
    /// Whom it is about.
    about: Id,
    dialog: Dialog,
    /// The Event header's id, if it has one.
    id: Box<str>,
    expires: LazyTimer,
    busy: bool,
    told: Option<Told>,
    /// Notifications so far.
    version: u32,
    /// It must be notified even if nothing has changed (after every SUBSCRIBE).
    wanted: bool,
    /// It is over, for this reason; one last notification says so.
    over: Option<&'static str>,
}

/// What a subscriber was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Lamp(MessageSummary),
    /// The calls as of this change.
    Calls(u64),
}

impl Package {
    fn parse(event: &str) -> Option<Package> {
        let name = event.split(';').next().unwrap_or_default().trim();
        [Package::MessageSummary, Package::Dialog]
            .into_iter()
            .find(|package| package.name().eq_ignore_ascii_case(name))
    }

    fn name(self) -> &'static str {
        match self {
            Package::MessageSummary => "message-summary",
            Package::Dialog => "dialog",
        }
    }

    fn body_kind(self) -> &'static str {
        match self {
            Package::MessageSummary => mwi::BODY_KIND,
            Package::Dialog => dialog_info::BODY_KIND,
        }
    }

    /// How many subscriptions one user's phones may have.
    fn most(self, config: &ShimConfig) -> usize {
        match self {
            Package::MessageSummary => config.subscriptions_per_user_max,
            Package::Dialog => config.watched_per_user_max,
        }
    }
}

impl Subscriptions {
    pub(crate) fn is_subscribed(&self, user: Id, flow: &Flow) -> bool {
        let tags = self.about.get(&(Package::MessageSummary, user));
        let own = tags
            .into_iter()
            .flatten()
            .filter_map(|t| self.by_tag.get(t));
        own.into_iter()
            .any(|s| s.dialog.flow.peer == flow.peer && s.over.is_none())
    }

    pub(crate) fn len(&self) -> usize {
        self.by_tag.len()
    }

    /// Puts one in. True: it is the first that watches this user's calls.
    fn insert(&mut self, tag: u64, subscription: Subscription) -> bool {
        let of = (subscription.package, subscription.subscriber);
        self.by_subscriber.entry(of).or_default().insert(tag);
        let key = (subscription.package, subscription.about);
        let tags = self.about.entry(key).or_default();
        tags.insert(tag);
        let is_first = tags.len() == 1 && key.0 == Package::Dialog;
        self.by_tag.insert(tag, subscription);
        is_first
    }

    /// Takes one away. `Some`: nobody watches this user's calls any more.
    fn remove(&mut self, tag: u64) -> Option<Id> {
        let gone = self.by_tag.remove(&tag)?;
        let (package, about) = (gone.package, gone.about);
        let of = (package, gone.subscriber);
        if let Some(tags) = self.by_subscriber.get_mut(&of) {
            tags.remove(&tag);
            if tags.is_empty() {
                self.by_subscriber.remove(&of);
            }
        }
        let tags = self.about.get_mut(&(package, about))?;
        tags.remove(&tag);
        if !tags.is_empty() {
            return None;
        }
        self.about.remove(&(package, about));
        if package == Package::MessageSummary {
            return None;
        }
        self.calls.remove(&about);
        Some(about)
    }

    /// What a new subscription of this user's phone at `flow` replaces: that phone's earlier one, or the
    /// oldest.
    fn replaced(&self, new: &Subscription, flow: &Flow, most: usize) -> Vec<u64> {
        let mut own: Vec<(Time, u64)> = Vec::new();
        let tags = self.by_subscriber.get(&(new.package, new.subscriber));
        let there = tags.into_iter().flatten();
        for (tag, s) in there.filter_map(|tag| Some((tag, self.by_tag.get(tag)?))) {
            let is_same = s.dialog.source == flow.peer && s.id == new.id && s.about == new.about;
            own.push((if is_same { Time(0) } else { s.expires.due() }, *tag));
        }
        own.sort_unstable();
        let same = own.iter().filter(|(at, _)| *at == Time(0)).count();
        let too_many = (own.len() + 1).saturating_sub(most);
        own.truncate(same.max(too_many));
        own.into_iter().map(|(_, tag)| tag).collect()
    }

    /// Those that a user's phones have.
    fn tags_by(&self, package: Package, subscriber: Id) -> Vec<u64> {
        let tags = self.by_subscriber.get(&(package, subscriber));
        tags.into_iter().flatten().copied().collect()
    }

    /// Those about a user.
    pub(crate) fn tags_of(&self, package: Package, about: Id) -> Vec<u64> {
        let tags = self.about.get(&(package, about));
        tags.into_iter().flatten().copied().collect()
    }

    /// The calls of a user are these. False: nobody watches them.
    pub(crate) fn set_calls(&mut self, user: Id, calls: Arc<[WatchedCall]>) -> bool {
        if !self.about.contains_key(&(Package::Dialog, user)) {
            return false;
        }
        let change = self.calls.get(&user).map_or(0, |known| known.change) + 1;
        self.calls.insert(user, Calls { calls, change });
        true
    }
}

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
