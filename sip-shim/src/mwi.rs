//! The message-waiting indication (MWI, RFC 3842), the phone's lamp: who subscribed to it, who gets it
//! unasked, and what it says.
//!
//! A phone may subscribe (RFC 6665, RFC 3842); one that is registered but has not subscribed is
//! notified all the same, as phones expect of a PBX. Call control says what a lamp shows; this
//! file says so to every phone of the user, and to a phone that comes or comes back.
//!
//! Invariants: one notification at a time is on its way to a phone, so that none overtakes
//! another: what changes meanwhile is sent when the answer has come. At most `subscriptions_max`
//! subscriptions, beyond it 503, and `subscriptions_per_user_max` of one user: a phone that subscribes
//! again and again replaces its own. A phone that answers 481 or not at all loses its subscription.

use std::borrow::Cow;
use std::time::Duration;

use tandem_pbx::seam::{MessageSummary, SipEvent};
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::access::{Access, number_of};
use crate::client_transactions::{Outcome, Owner};
use crate::context::{LazyTimer, NumberMap, ShimContext, TimerId};
use crate::dialog::Dialog;
use crate::message::{Message, Method, Name};
use crate::message_builder::{self, Answer, Request};
use crate::server_transactions::ServerId;
use crate::shim::Shim;
use crate::uri::{Uri, param};
use crate::wire::Flow;

const BODY_KIND: &str = "application/simple-message-summary";

/// All lamp subscriptions, by our tag.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    by_tag: NumberMap<u64, Subscription>,
}

#[derive(Debug)]
struct Subscription {
    user: Id,
    dialog: Dialog,
    /// The Event header's id, if it has one.
    id: Box<str>,
    expires: LazyTimer,
    busy: bool,
    told: Option<MessageSummary>,
    /// The lamp must be told even if it has not changed (after every SUBSCRIBE).
    wanted: bool,
    /// It is over, for this reason; one last notification says so.
    over: Option<&'static str>,
}

impl Subscriptions {
    fn is_subscribed(&self, user: Id, flow: &Flow) -> bool {
        self.by_tag
            .values()
            .any(|s| s.user == user && s.dialog.flow.peer == flow.peer && s.over.is_none())
    }

    pub(crate) fn len(&self) -> usize {
        self.by_tag.len()
    }

    /// Takes away what a new subscription of this user's phone at `flow` replaces: that phone's earlier
    /// one, or the oldest.
    fn make_room(&mut self, user: Id, flow: &Flow, id: &str, most: usize) {
        let mut own: Vec<(Time, u64)> = Vec::new();
        for (tag, s) in self.by_tag.iter().filter(|(_, s)| s.user == user) {
            let is_same = s.dialog.source == flow.peer && *s.id == *id;
            own.push((if is_same { Time(0) } else { s.expires.due() }, *tag));
        }
        own.sort_unstable();
        let replaced = own.iter().filter(|(at, _)| *at == Time(0)).count();
        let too_many = (own.len() + 1).saturating_sub(most);
        for (_, tag) in own.iter().take(replaced.max(too_many)) {
            self.by_tag.remove(tag);
        }
    }

    fn tags_of(&self, user: Id) -> Vec<u64> {
        let own = self.by_tag.iter().filter(|(_, s)| s.user == user);
        let mut tags: Vec<u64> = own.map(|(t, _)| *t).collect();
        tags.sort_unstable();
        tags
    }
}

impl Shim {
    pub(crate) fn on_subscribe(&mut self, server: ServerId, flow: Flow, request: &Message) {
        if let Some(status) = self.unacceptable(request) {
            return self.reply(server, request, &Answer::new(status).headers(EVENTS));
        }
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
        // Any other number is taken for a code such as *97: phones subscribe to that, too.
        if whose.is_some_and(|other| other.sip.id != user) {
            return self.reply(server, request, &Answer::new(403));
        }
        let tag = self.cx.random();
        let Some(dialog) = Dialog::from_request(request, flow, tag) else {
            return self.reply(server, request, &Answer::new(400).reason("Bad Contact"));
        };
        let event = request.header_or_empty(Name::Event);
        let id = param(event, "id").unwrap_or_default();
        let id: Box<str> = id.chars().take(64).collect();
        let most = self.cx.config.subscriptions_per_user_max;
        self.subscriptions.make_room(user, &flow, &id, most);
        if self.subscriptions.by_tag.len() >= self.cx.config.subscriptions_max {
            self.cx.counters.subscriptions_full += 1;
            let retry = self.retry_after();
            return self.reply(server, request, &Answer::new(503).headers(&retry));
        }
        let subscription = Subscription {
            user,
            dialog,
            id,
            expires: LazyTimer::never(),
            busy: false,
            told: None,
            wanted: true,
            over: None,
        };
        self.subscriptions.by_tag.insert(tag, subscription);
        self.subscribed(server, flow, request, tag, expires_s);
    }

    /// A SUBSCRIBE within a subscription: refresh or end.
    pub(crate) fn on_resubscribe(
        &mut self,
        server: ServerId,
        flow: Flow,
        request: &Message,
        tag: u64,
    ) {
        if let Some(status) = self.unacceptable(request) {
            return self.reply(server, request, &Answer::new(status).headers(EVENTS));
        }
        let own = self.subscriptions.by_tag.get_mut(&tag);
        let Some(subscription) = own.filter(|s| s.dialog.owns(request) && s.over.is_none()) else {
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
        let user = subscription.user;
        let contact = message_builder::contact(&self.cx, &flow);
        let headers = format!("{contact}Expires: {expires_s}\r\n");
        self.servers.respond(
            &mut self.cx,
            server,
            request,
            &Answer::new(200).tag(tag).headers(&headers),
        );
        if self.registrar.user(user).is_some_and(|u| u.lamp.is_none()) {
            self.cx.tell(SipEvent::PhoneCame { user });
        }
        self.notify(tag);
    }

    fn unacceptable(&self, request: &Message) -> Option<u16> {
        let event = request
            .header_or_empty(Name::Event)
            .split(';')
            .next()
            .unwrap_or_default();
        if !event.trim().eq_ignore_ascii_case("message-summary") {
            return Some(489);
        }
        let mut accepts = request.tokens(Name::Accept).peekable();
        let takes = |a: &str| {
            let kind = a.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case(BODY_KIND) || kind == "*/*" || kind == "application/*"
        };
        (accepts.peek().is_some() && !accepts.any(takes)).then_some(406)
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

    /// Call control says what a user's lamp shows.
    pub(crate) fn set_lamp(&mut self, id: Id, lamp: MessageSummary) {
        let Some(user) = self.registrar.user_mut(id) else {
            return;
        };
        user.lamp = Some(lamp);
        for tag in self.subscriptions.tags_of(id) {
            self.notify(tag);
        }
        let now = self.cx.now.mono;
        let behind = self.registrar.user(id).map_or(Vec::new(), |u| {
            u.phones(now)
                .filter(|b| b.is_behind(lamp))
                .map(|b| b.number)
                .collect()
        });
        for number in behind {
            self.push(id, number);
        }
    }

    /// Tells one subscriber, if there is something it does not know.
    fn notify(&mut self, tag: u64) {
        let Some(subscription) = self.subscriptions.by_tag.get_mut(&tag) else {
            return;
        };
        let lamp = self
            .registrar
            .user(subscription.user)
            .and_then(|u| u.lamp)
            .unwrap_or_default();
        let news =
            subscription.wanted || subscription.over.is_some() || subscription.told != Some(lamp);
        if subscription.busy || !news {
            return;
        }
        (subscription.busy, subscription.wanted) = (true, false);
        subscription.told = Some(lamp);
        let left_s = subscription.expires.due().since(self.cx.now.mono).as_secs();
        let state = match subscription.over {
            Some(reason) => format!("terminated;reason={reason}"),
            None => format!("active;expires={left_s}"),
        };
        let id = match &*subscription.id {
            "" => String::new(),
            id => format!(";id={id}"),
        };
        let dialog = &mut subscription.dialog;
        let cseq = dialog.next_cseq();
        let contact = message_builder::contact(&self.cx, &dialog.flow);
        let headers =
            format!("{contact}Event: message-summary{id}\r\nSubscription-State: {state}\r\n");
        let extension = self
            .registrar
            .user(subscription.user)
            .map(|u| u.sip.extension.clone());
        let body = summary(&self.cx, extension.as_deref().unwrap_or_default(), lamp);
        let branch = self.cx.random();
        let route = dialog.route();
        let mut request = dialog.request(Method::Notify, cseq, branch, &route);
        request.headers = &headers;
        request.body = Some((BODY_KIND, &body));
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
            self.subscriptions.by_tag.remove(&tag);
            return;
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

    /// The user is gone: so is the lamp.
    pub(crate) fn drop_subscriptions(&mut self, user: Id) {
        for tag in self.subscriptions.tags_of(user) {
            if let Some(subscription) = self.subscriptions.by_tag.get_mut(&tag) {
                subscription.over = Some("noresource");
                subscription.wanted = true;
                self.notify(tag);
            }
        }
    }

    /// Tells a registered phone that has not subscribed.
    fn push(&mut self, id: Id, number: u64) {
        let Some(user) = self.registrar.user_mut(id) else {
            return;
        };
        let (lamp, extension) = (user.lamp.unwrap_or_default(), user.sip.extension.clone());
        let Some(binding) = user.bindings.iter_mut().find(|b| b.number == number) else {
            return;
        };
        let flow = binding.target();
        if self.subscriptions.is_subscribed(id, &flow) {
            return;
        }
        binding.push.busy = true;
        binding.push.told = Some(lamp);
        binding.push.cseq += 1;
        let (cseq, contact_uri) = (binding.push.cseq, binding.contact.clone());
        let path = binding.path.clone();
        let own = format!("<sip:{extension}@{}>", self.cx.host);
        let from = format!("{own};tag={number:016x}");
        let call_id = format!("{number:016x}-lamp");
        let contact = message_builder::contact(&self.cx, &flow);
        let headers = format!("{contact}Event: message-summary\r\nSubscription-State: active\r\n");
        let body = summary(&self.cx, &extension, lamp);
        let request = Request {
            method: Method::Notify,
            uri: &contact_uri,
            branch: self.cx.random(),
            from: &from,
            to: &own,
            call_id: &call_id,
            cseq,
            routes: &path,
            headers: &headers,
            body: Some((BODY_KIND, &body)),
        };
        self.cx.counters.notifies += 1;
        self.clients.request(
            &mut self.cx,
            flow,
            Owner::Push {
                user: id,
                binding: number,
                cseq,
            },
            &request,
        );
    }

    /// A notification that a later one has overtaken, or whose registration is over. Sent again, it
    /// would put the lamp back to what it was.
    pub(crate) fn is_outdated(&self, owner: Owner) -> bool {
        let Owner::Push {
            user,
            binding,
            cseq,
        } = owner
        else {
            return false;
        };
        let bindings = self.registrar.user(user).map(|user| &user.bindings);
        let binding = bindings.and_then(|all| all.iter().find(|b| b.number == binding));
        binding.is_none_or(|b| b.push.cseq != cseq)
    }

    pub(crate) fn on_push_heard(&mut self, id: Id, number: u64, cseq: u32, outcome: Outcome) {
        let Some(user) = self.registrar.user_mut(id) else {
            return;
        };
        let lamp = user.lamp.unwrap_or_default();
        let Some(binding) = user.bindings.iter_mut().find(|b| b.number == number) else {
            return;
        };
        // A phone that started anew was told again while the one before was still on its way: it has
        // no use for that, and whatever it says of it is no word on the later one.
        if binding.push.cseq != cseq {
            return;
        }
        match outcome {
            Outcome::Response(..200) => return,
            Outcome::Response(200..300) => {}
            Outcome::Response(status) if is_unwanted(status) => binding.push.refused = true,
            // Nobody there, or in trouble, at the moment: the next change tries again.
            Outcome::Response(_) | Outcome::Timeout | Outcome::Unreachable => {
                binding.push.busy = false;
                binding.push.told = None;
                return;
            }
        }
        binding.push.busy = false;
        if binding.is_behind(lamp) {
            self.push(id, number);
        }
    }
}

const EVENTS: &str = "Allow-Events: message-summary\r\n";

/// The phone does not take notifications it did not ask for, and will not take the next one.
fn is_unwanted(status: u16) -> bool {
    matches!(status, 403..=406 | 415 | 420 | 481 | 489 | 501 | 600..)
}

/// RFC 3842 §5.2.
fn summary(cx: &ShimContext, extension: &str, lamp: MessageSummary) -> String {
    let MessageSummary {
        new,
        old,
        new_urgent,
        old_urgent,
    } = lamp;
    let waiting = if new > 0 { "yes" } else { "no" };
    format!(
        "Messages-Waiting: {waiting}\r\nMessage-Account: sip:{extension}@{}\r\n\
         Voice-Message: {new}/{old} ({new_urgent}/{old_urgent})\r\n",
        cx.host
    )
}
