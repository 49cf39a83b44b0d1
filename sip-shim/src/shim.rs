//! The core: SIP on one side, call control on the other.
//!
//! ```text
//!   network ─► WireIn ─► Shim ─► SipEvent ─► pbx            (and OpenMedia, Set, Close ─► engine)
//!   network ◄─ WireOut ◄─┘  └◄─ SipCommand ◄─ pbx
//! ```
//!
//! This file takes every input and decides whose it is: the registrar's (`access`), a
//! new call's (`incoming`, `outgoing`, `reliable`), a running call's (`in_dialog`, `refer`,
//! `refresh`), the watchers' (`subscriptions`, `mwi`, `dialog_info`), a text's (`texts`). Those are
//! further parts of [`Shim`].
//!
//! Invariants: no clock, no socket, no chance but the seed's; every table has its maximum in
//! [`ShimConfig`]; nothing that comes from outside makes it panic.

use std::net::SocketAddr;
use std::sync::Arc;

use tandem_engine::seam::{Command, LegId};
use tandem_pbx::seam::{SipCommand, SipEvent, SipUser, Watchable};
use tandem_storage::name::Id;
use tandem_storage::time::{Now, Time};

use crate::call::{Calls, Out};
use crate::client_transactions::{ClientTransactions, Outcome, Owner, TransactionEvent};
use crate::config::ShimConfig;
use crate::context::{ShimContext, TimerId};
use crate::counters::ShimCounters;
use crate::digest::Nonces;
use crate::message::{Incoming, Message, Method, Name};
use crate::message_builder::{self, ALLOW, Answer};
use crate::registrar::{Registrar, has_same_login};
use crate::server_transactions::{Arrival, ServerId, ServerTransactions};
use crate::sources::Sources;
use crate::subscriptions::Subscriptions;
use crate::texts::Texts;
use crate::uri::NameAddr;
use crate::validate::BadRequest;
use crate::wire::{Flow, Transport, WireIn, WireOut};

/// What the shim is told.
#[derive(Debug)]
pub enum ShimInput {
    /// By the network.
    Wire(WireIn),
    /// By call control.
    Pbx(SipCommand),
    /// A user came or changed (`Some`) or went (`None`).
    User {
        id: Id,
        /// Its new form.
        user: Option<SipUser>,
    },
    /// The answer to [`ShimOutput::OpenMedia`].
    MediaOpened {
        leg: LegId,
        /// Its local RTP port, or nothing: no port is free.
        port: Result<u16, ()>,
    },
}

/// What the shim asks for.
#[derive(Debug)]
pub enum ShimOutput {
    /// Of the network.
    Wire(WireOut),
    /// Of call control.
    Pbx(SipEvent),
    /// Open a leg in the media engine and answer at once with [`ShimInput::MediaOpened`].
    OpenMedia { leg: LegId },
    /// Of the media engine: [`Command::Set`] or [`Command::Close`].
    Media(Command),
}

/// A registered phone, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phone {
    pub user: Id,
    /// What one dials to reach it.
    pub extension: Arc<str>,
    /// The address it gave.
    pub contact: String,
    /// The address it was heard from.
    pub source: SocketAddr,
    pub transport: Transport,
    /// What it says it is; may be empty.
    pub user_agent: String,
    /// Seconds until it must register again.
    pub expires_s: u64,
}

/// SIP for one node. Pure: fed by [`Shim::handle`] and [`Shim::tick`], drained by [`Shim::poll`].
#[derive(Debug)]
pub struct Shim {
    pub(crate) cx: ShimContext,
    pub(crate) servers: ServerTransactions,
    pub(crate) clients: ClientTransactions,
    pub(crate) nonces: Nonces,
    pub(crate) sources: Sources,
    pub(crate) registrar: Registrar,
    pub(crate) calls: Calls,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) texts: Texts,
}

impl Shim {
    /// `seed` makes every tag, branch and nonce: secret where it faces a network.
    pub fn new(config: ShimConfig, seed: [u8; 32]) -> Shim {
        let mut cx = ShimContext::new(config, seed);
        Shim {
            servers: ServerTransactions::default(),
            clients: ClientTransactions::default(),
            nonces: Nonces::new(&mut cx),
            sources: Sources::new(&cx),
            registrar: Registrar::new(&cx),
            calls: Calls::default(),
            subscriptions: Subscriptions::default(),
            texts: Texts::default(),
            cx,
        }
    }

    /// Takes one input. Drain [`Shim::poll`] afterwards.
    pub fn handle(&mut self, now: Now, input: ShimInput) {
        self.cx.now = now;
        match input {
            ShimInput::Wire(WireIn::Message { flow, message }) => self.on_message(flow, message),
            ShimInput::Wire(WireIn::Closed { flow }) => self.on_closed(flow),
            ShimInput::Pbx(command) => self.on_command(command),
            ShimInput::User { id, user } => self.on_user(id, user),
            ShimInput::MediaOpened { leg, port } => self.on_media_opened(leg, port.ok()),
        }
    }

    /// Does what is due by `now`. Drain [`Shim::poll`] afterwards.
    pub fn tick(&mut self, now: Now) {
        self.cx.now = now;
        while let Some(alarm) = self.cx.timers.due(now.mono) {
            match alarm {
                TimerId::Server(number) => {
                    if let Some(leg) = self.servers.lapsed(&mut self.cx, number) {
                        self.on_unconfirmed(leg);
                    }
                }
                TimerId::Client(key) => {
                    if self.clients.owner(key).is_some_and(|o| self.is_outdated(o)) {
                        self.clients.forget(key);
                    } else if let Some(heard) = self.clients.lapsed(&mut self.cx, key) {
                        self.on_heard(heard, None);
                    }
                }
                TimerId::Call(leg) => self.on_call_due(leg),
                TimerId::Provisional(leg) => self.on_provisional_due(leg),
                TimerId::KeepAlive(user, number) => {
                    self.registrar.keep_alive_due(&mut self.cx, user, number);
                }
                TimerId::Binding(user, number) => {
                    self.registrar.lapsed(&mut self.cx, user, number);
                }
                TimerId::Subscription(tag) => self.on_subscription_due(tag),
                TimerId::Text(number) => self.on_text_due(number),
                TimerId::Notification(tag) => self.on_notification_due(tag),
            }
        }
    }

    /// The next output, until there is none.
    pub fn poll(&mut self) -> Option<ShimOutput> {
        self.cx.outputs.pop_front()
    }

    /// When [`Shim::tick`] is wanted next.
    pub fn deadline(&self) -> Option<Time> {
        self.cx.timers.next_at()
    }

    /// Who is registered where, ordered by extension.
    pub fn phones(&self, now: Now) -> Vec<Phone> {
        self.registrar.phones(now.mono)
    }

    /// How many are registered.
    pub fn phones_len(&self, now: Now) -> usize {
        self.registrar.phones_len(now.mono)
    }

    /// What has been counted.
    pub fn counters(&self) -> &ShimCounters {
        &self.cx.counters
    }

    /// Calls in whatever phase.
    pub fn dialogs(&self) -> usize {
        self.calls.len()
    }

    /// Subscriptions, to lamps and to calls.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// Requests that wait for an answer of ours.
    pub fn waiting(&self) -> usize {
        self.servers.waiting()
    }

    fn on_command(&mut self, command: SipCommand) {
        match command {
            SipCommand::Ring { leg } => self.ring(leg),
            SipCommand::Progress { leg, like } => self.progress(leg, like),
            SipCommand::Answer { leg, like } => self.answer(leg, like),
            SipCommand::Call {
                leg,
                target,
                caller,
                like,
                auto_answer,
                history,
            } => {
                let out = Out {
                    target,
                    caller,
                    like,
                    auto_answer,
                    history,
                    forks: Vec::new(),
                    ringing: false,
                };
                self.call(leg, out);
            }
            SipCommand::ReferResult { leg, refused } => self.refer_result(leg, refused),
            SipCommand::End { leg, cause } => self.end(leg, cause),
            SipCommand::MessageSummary { user, lamp } => self.set_lamp(user, lamp),
            SipCommand::Text { number, target } => self.pass_on(number, target),
            SipCommand::Trunk { id, host } => {
                match host {
                    Some(host) => self.cx.trunks.insert(id, host),
                    None => self.cx.trunks.remove(&id),
                };
            }
            SipCommand::Watchable { what, label } => self.set_watchable(what, label),
            SipCommand::Calls { what, calls } => self.set_calls(what, calls),
            SipCommand::Phone { user, slot, seen } => {
                self.registrar.restore(&mut self.cx, user, slot, &seen);
            }
        }
    }

    fn on_message(&mut self, flow: Flow, incoming: Incoming) {
        let Incoming { message, fault } = incoming;
        if !message.is_request() {
            self.cx.counters.responses_in += 1;
            if let Some(heard) = self.clients.heard(&mut self.cx, flow, &message) {
                self.on_heard(heard, Some(&message));
            }
            return;
        }
        self.cx.counters.requests_in += 1;
        if let Some(BadRequest { status, reason }) = fault {
            self.cx.counters.malformed += 1;
            self.reply_stateless(flow, &message, &Answer::new(status).reason(reason));
            return;
        }
        match message.method() {
            Method::Ack => self.on_ack(&message),
            _ => self.on_request(flow, message),
        }
    }

    fn on_request(&mut self, flow: Flow, request: Message) {
        let server = match self.servers.arrive(&mut self.cx, flow, &request) {
            Arrival::New(server) => server,
            Arrival::Known => return,
            Arrival::Full => {
                let retry = self.retry_after();
                return self.reply_stateless(flow, &request, &Answer::new(503).headers(&retry));
            }
        };
        if self.cx.is_trusted_host(&flow) {
            self.cx.keep(flow);
        }
        if let Some((status, headers)) = self.refusal(&request) {
            self.reply(server, &request, &Answer::new(status).headers(&headers));
            return;
        }
        let within = request
            .header(Name::To)
            .and_then(NameAddr::parse)
            .and_then(|to| to.tag());
        let tag = within.map(|t| u64::from_str_radix(t, 16).unwrap_or(0));
        match (request.method(), tag) {
            (Method::Cancel, _) => self.on_cancel(server, &request),
            (Method::Subscribe, Some(tag)) => self.on_resubscribe(server, flow, &request, tag),
            (_, Some(_)) => self.on_within(server, flow, request),
            (Method::Invite, None) => self.on_invite(server, flow, request),
            (Method::Register, None) => self.on_register(server, flow, &request),
            (Method::Subscribe, None) => self.on_subscribe(server, flow, &request),
            (Method::Message, None) => self.on_text(server, flow, request),
            (Method::Options, None) => {
                self.reply(server, &request, &Answer::new(200).headers(OFFERS))
            }
            // BYE, INFO, UPDATE, PRACK and REFER mean something only within a call.
            (_, None) => self.reply(server, &request, &Answer::new(481)),
        }
    }

    /// What stands against a request, whatever it is about (RFC 3261 §8.2).
    fn refusal(&mut self, request: &Message) -> Option<(u16, String)> {
        match request.method() {
            Method::Unknown => {
                self.cx.counters.methods_refused += 1;
                return Some((501, ALLOW.to_owned()));
            }
            Method::Notify | Method::Publish => {
                self.cx.counters.methods_refused += 1;
                return Some((405, ALLOW.to_owned()));
            }
            Method::Cancel => return None,
            _ => {}
        }
        match request.header(Name::MaxForwards).map(str::parse::<u8>) {
            Some(Ok(0)) => return Some((483, String::new())),
            Some(Err(_)) => return Some((400, String::new())),
            _ => {}
        }
        let is_register = request.method() == Method::Register;
        let unknown = |t: &&str| {
            let known = !["timer", "replaces", "100rel"]
                .iter()
                .all(|o| !t.eq_ignore_ascii_case(o));
            !(known || is_register && t.eq_ignore_ascii_case("path"))
        };
        let unknown: Vec<&str> = request.tokens(Name::Require).filter(unknown).collect();
        if !unknown.is_empty() {
            return Some((420, format!("Unsupported: {}\r\n", unknown.join(", "))));
        }
        let encoded = request.header(Name::ContentEncoding);
        if encoded.is_some_and(|e| !e.eq_ignore_ascii_case("identity")) {
            return Some((415, "Accept-Encoding: identity\r\n".to_owned()));
        }
        None
    }

    fn on_cancel(&mut self, server: ServerId, cancel: &Message) {
        let Some(leg) = self.servers.cancelled(&self.cx, cancel) else {
            return self.reply(server, cancel, &Answer::new(481));
        };
        self.servers.vouch(server);
        // §9.2: the To tag is that of the answers to the INVITE.
        let tag = leg.and_then(|l| self.calls.get(l)).map_or(0, |c| c.tag);
        let tag = if tag == 0 { self.cx.random() } else { tag };
        self.servers
            .respond(&mut self.cx, server, cancel, &Answer::new(200).tag(tag));
        if let Some(leg) = leg {
            self.cancelled(leg, cancel);
        }
    }

    /// An answer to a request of ours came, or will not come.
    fn on_heard(&mut self, heard: TransactionEvent, response: Option<&Message>) {
        match heard.owner {
            Owner::Fork { leg, index } => self.on_fork_heard(leg, index, &heard, response),
            Owner::Refresh { leg } => self.on_refresh_heard(leg, &heard, response),
            Owner::Text { number } => self.on_text_heard(number, heard.outcome, response),
            Owner::Notify { tag } => self.on_notify_heard(tag, heard.outcome),
            Owner::Push {
                user,
                binding,
                cseq,
            } => self.on_push_heard(user, binding, cseq, heard.outcome),
            Owner::Orphan => {
                if let Some(response) = response {
                    self.hang_up_orphan(&heard, response);
                }
            }
        }
    }

    fn on_closed(&mut self, flow: Flow) {
        self.registrar.disconnected(&mut self.cx, &flow);
        for heard in self.clients.disconnected(&flow) {
            debug_assert_eq!(heard.outcome, Outcome::Unreachable);
            self.on_heard(heard, None);
        }
    }

    fn on_user(&mut self, id: Id, user: Option<SipUser>) {
        let before = self.registrar.user(id).map(|user| &user.sip);
        match (before, &user) {
            (_, None) => {
                self.end_subscriptions_about(Watchable::User(id));
                self.end_subscriptions_of(id);
            }
            (Some(before), Some(after)) if !has_same_login(before, after) => {
                self.end_subscriptions_of(id);
            }
            _ => {}
        }
        self.registrar.set_user(&mut self.cx, id, user);
    }

    /// Answers a request with a To tag of its own.
    pub(crate) fn reply(&mut self, server: ServerId, request: &Message, answer: &Answer<'_>) {
        let tag = self.cx.random();
        self.servers
            .respond(&mut self.cx, server, request, &answer.tag(tag));
    }

    /// Answers without remembering it: the same request gets the same answer again.
    fn reply_stateless(&mut self, flow: Flow, request: &Message, answer: &Answer<'_>) {
        if request.method() == Method::Ack {
            return;
        }
        let tag = self.cx.keyed.number(request.header_or_empty(Name::CallId));
        let to = message_builder::reply_flow(request, flow);
        let bytes = message_builder::response(&self.cx, request, &flow, &answer.tag(tag));
        self.cx.send(to, bytes);
    }

    pub(crate) fn retry_after(&self) -> String {
        format!("Retry-After: {}\r\n", self.cx.config.retry_after_s)
    }
}

/// What OPTIONS is told (RFC 3261 §11.2).
pub(crate) const OFFERS: &str = concat!(
    "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, UPDATE, SUBSCRIBE, REFER, \
     MESSAGE, PRACK\r\n",
    "Accept: application/sdp, application/dtmf-relay, application/dtmf, text/plain\r\n",
    "Accept-Encoding: identity\r\nAccept-Language: en\r\nSupported: timer, path, replaces, 100rel\r\n",
    "Allow-Events: message-summary, dialog, refer\r\n"
);
