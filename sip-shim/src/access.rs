//! Who may do what: REGISTER, and the password every other request is asked for.

use std::fmt::Write as _;

use tandem_pbx::seam::SipEvent;
use tandem_storage::name::Id;

use crate::digest::{Check, Credentials};
use crate::message::{Message, Name};
use crate::message_builder::Answer;
use crate::server_transactions::ServerId;
use crate::shim::Shim;
use crate::uri::{NameAddr, Uri};
use crate::wire::Flow;

/// What came of asking for a password.
pub(crate) enum Access {
    /// It was shown.
    Granted(Id),
    /// The request has been answered.
    Refused,
}

impl Shim {
    pub(crate) fn on_register(&mut self, server: ServerId, flow: Flow, request: &Message) {
        let ip = flow.peer.ip();
        let is_trusted = self.cx.trusted(&flow, request).is_some();
        if !is_trusted && !self.sources.take_register(&self.cx, ip) {
            return self.slow_down(server, request);
        }
        let extension = number_of(request, Name::To);
        let Access::Granted(id) = self.authenticate(server, flow, request, Some(&extension)) else {
            return;
        };
        match self.registrar.register(&mut self.cx, id, flow, request) {
            Ok(()) => self.registered(server, id, request),
            Err(refused) => {
                let min_s = self.cx.config.expires_min_s;
                let headers = match refused.status {
                    423 => format!("Min-Expires: {min_s}\r\n"),
                    _ => String::new(),
                };
                let answer = Answer::new(refused.status).reason(refused.reason);
                self.reply(server, request, &answer.headers(&headers));
            }
        }
    }

    fn registered(&mut self, server: ServerId, id: Id, request: &Message) {
        self.cx.counters.registers += 1;
        let now = self.cx.now.mono;
        let lines = self
            .registrar
            .user(id)
            .map(|u| u.contact_lines(now))
            .unwrap_or_default();
        let mut headers = lines.clone();
        for path in request.headers(Name::Path) {
            // RFC 3327 §5.3: the answer names the path that was stored. Writing to a String cannot fail.
            let _ = write!(headers, "Path: {path}\r\n");
        }
        if !headers.is_empty() && request.header(Name::Path).is_some() {
            headers.push_str("Supported: path\r\n");
        }
        self.reply(server, request, &Answer::new(200).headers(&headers));
        if !lines.is_empty() {
            self.cx.tell(SipEvent::PhoneCame { user: id });
        }
    }

    /// Asks for a password, or checks the one that was shown. The user is who the credentials say; where
    /// the request acts on one user, `must_be`, no other. Wrong ones of a gateway that is trusted anyway
    /// are not counted.
    pub(crate) fn authenticate(
        &mut self,
        server: ServerId,
        flow: Flow,
        request: &Message,
        must_be: Option<&str>,
    ) -> Access {
        let ip = flow.peer.ip();
        let Some(credentials) = Credentials::of(request, &self.cx.config.realm) else {
            self.challenge(server, flow, request, false);
            return Access::Refused;
        };
        let name = credentials.username;
        let is_counted = self.cx.trusted(&flow, request).is_none();
        let is_known = self.registrar.has_phone_at(self.cx.now.mono, name, ip);
        if is_counted && !self.sources.may_try(&self.cx, ip, name, is_known) {
            self.slow_down(server, request);
            return Access::Refused;
        }
        let user = self.registrar.by_extension(name).map(|u| &u.sip);
        let user = user.filter(|u| must_be.is_none_or(|extension| *u.extension == *extension));
        match self
            .nonces
            .check(&mut self.cx, &credentials, request, user, ip)
        {
            // A right answer is never given for nobody.
            Check::Right => user.map_or(Access::Refused, |u| {
                self.cx.keep(flow);
                self.servers.vouch(server);
                Access::Granted(u.id)
            }),
            Check::Stale => {
                self.challenge(server, flow, request, true);
                Access::Refused
            }
            Check::Wrong => {
                self.cx.counters.login_failures += 1;
                if is_counted {
                    self.sources.take_failure(&self.cx, ip, name);
                }
                self.challenge(server, flow, request, false);
                Access::Refused
            }
        }
    }

    fn challenge(&mut self, server: ServerId, flow: Flow, request: &Message, stale: bool) {
        if !self.may_challenge(&flow, request) {
            // No answer at all: where the source is no forgery, the phone asks again.
            self.cx.counters.challenges_suppressed += 1;
            return self.servers.drop_silently(server);
        }
        let agent = request.header_or_empty(Name::UserAgent);
        let mut md5_only = self.cx.config.md5_only_agents.iter();
        let algorithms: &[&str] = match md5_only.any(|start| agent.starts_with(start.as_str())) {
            true => &["MD5"],
            false => &["MD5", "SHA-256"],
        };
        let headers = self
            .nonces
            .challenge(&self.cx, flow.peer.ip(), algorithms, stale);
        let answer = Answer::new(401).headers(&headers);
        let tag = self.cx.random();
        self.servers
            .refuse_stranger(&mut self.cx, server, request, &answer.tag(tag));
    }

    /// A challenge is larger than what it answers, and goes to whatever address a datagram claims to come
    /// from: so that nobody can have us flood a victim, an address gets so many and no more. Those of
    /// whom we know that they are there, and streams, whose other end has answered, get all of theirs.
    fn may_challenge(&mut self, flow: &Flow, request: &Message) -> bool {
        if flow.is_reliable() || self.cx.is_trusted_host(flow) {
            return true;
        }
        let extension = number_of(request, Name::From);
        let now = self.cx.now.mono;
        let is_phone = self.registrar.is_phone_of(now, &extension, flow).is_some();
        is_phone || self.sources.take_challenge(&self.cx, flow.peer.ip())
    }

    fn slow_down(&mut self, server: ServerId, request: &Message) {
        self.cx.counters.slowed += 1;
        let retry = self.retry_after();
        let answer = Answer::new(503).headers(&retry);
        let tag = self.cx.random();
        self.servers
            .refuse_stranger(&mut self.cx, server, request, &answer.tag(tag));
    }
}

/// The number in From or To; empty if there is none.
pub(crate) fn number_of(request: &Message, name: Name) -> String {
    let address = request.header(name).and_then(NameAddr::parse);
    let number = address
        .and_then(|a| Uri::parse(a.uri))
        .and_then(|u| u.number());
    number.map(|n| n.into_owned()).unwrap_or_default()
}
