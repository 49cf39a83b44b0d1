//! Text messages between users (MESSAGE outside calls, RFC 3428): passed on, never kept.
//!
//! Handed a MESSAGE of a user's phone; asks call control for whom it is ([`SipEvent::Text`]), passes it on
//! to all phones of that user as it is, and answers when the first phone has taken it, or when none will.
//! Who sent it is said as in calls: by us, not by its From.
//!
//! Invariants: at most `texts_max` wait for an answer, and of one user `texts_per_user_max`; each is
//! answered after [`ANSWER_WAIT`], while its sender still listens. Nothing is stored: who is not there
//! gets nothing, and the sender is told.
//!
//! Sources: RFC 3428; RFC 4320 §4.2 (no 408 to a request that is no INVITE).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tandem_pbx::seam::{Caller, Cause, SipEvent};
use tandem_storage::name::Id;

use crate::caller::{caller_address, dialed, encoded};
use crate::client_transactions::{Outcome, Owner};
use crate::context::{NumberMap, TimerId};
use crate::message::{Message, Method, Name};
use crate::message_builder::{Answer, Request};
use crate::server_transactions::ServerId;
use crate::shim::Shim;
use crate::wire::Flow;

/// The most bytes of a MESSAGE on a path without congestion control (RFC 3428 §8).
const BYTES_MAX: usize = 1300;
/// A sender gives up 32 s after its first try, which may have been lost.
const ANSWER_WAIT: Duration = Duration::from_secs(20);
/// The longest list of types that is passed back.
const ACCEPT_BYTES_MAX: usize = 256;
/// Headers that say how a text is to be read.
const PASSED_ON: [(Name, &str); 4] = [
    (Name::ContentDisposition, "Content-Disposition"),
    (Name::ContentLanguage, "Content-Language"),
    (Name::Date, "Date"),
    (Name::Expires, "Expires"),
];

/// All texts that wait for an answer.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    last: u64,
    by_number: NumberMap<u64, Text>,
    /// How many each user has sent.
    per_user: BTreeMap<Id, usize>,
}

/// One of them.
#[derive(Debug)]
struct Text {
    server: ServerId,
    request: Message,
    sender: Id,
    caller: Caller,
    to: Arc<str>,
    /// Phones that have not answered.
    phones: usize,
    /// What is said if none takes it.
    refusal: u16,
    /// What the phone that refused its kind would take.
    accept: String,
}

impl Texts {
    fn insert(&mut self, text: Text) -> u64 {
        self.last += 1;
        *self.per_user.entry(text.sender).or_default() += 1;
        self.by_number.insert(self.last, text);
        self.last
    }

    fn remove(&mut self, number: u64) -> Option<Text> {
        let text = self.by_number.remove(&number)?;
        if let Some(count) = self.per_user.get_mut(&text.sender) {
            *count -= 1;
            if *count == 0 {
                self.per_user.remove(&text.sender);
            }
        }
        Some(text)
    }

    fn sent_by(&self, user: Id) -> usize {
        self.per_user.get(&user).copied().unwrap_or(0)
    }
}

impl Shim {
    /// A MESSAGE outside any dialog.
    pub(crate) fn on_text(&mut self, server: ServerId, flow: Flow, request: Message) {
        if request.body().len() > BYTES_MAX {
            return self.reply(server, &request, &Answer::new(413));
        }
        let Some(caller) = self.caller(server, flow, &request) else {
            return;
        };
        let Some(sender) = caller.user else {
            return self.reply(server, &request, &Answer::new(403));
        };
        if !request.body().is_empty() && request.header_or_empty(Name::ContentType).is_empty() {
            let answer = Answer::new(415).headers("Accept: text/plain, */*\r\n");
            return self.reply(server, &request, &answer);
        }
        let Some(to) = dialed(&request) else {
            return self.reply(server, &request, &Answer::new(404));
        };
        let config = &self.cx.config;
        if self.texts.by_number.len() >= config.texts_max
            || self.texts.sent_by(sender) >= config.texts_per_user_max
        {
            self.cx.counters.texts_full += 1;
            let retry = self.retry_after();
            return self.reply(server, &request, &Answer::new(503).headers(&retry));
        }
        self.cx.counters.texts += 1;
        let text = Text {
            server,
            request,
            sender,
            caller: caller.clone(),
            to: to.clone(),
            phones: 0,
            refusal: 480,
            accept: String::new(),
        };
        let number = self.texts.insert(text);
        self.cx.alarm_in(ANSWER_WAIT, TimerId::Text(number));
        self.cx.tell(SipEvent::Text { number, caller, to });
    }

    /// Call control says for whom a text is, or why for nobody.
    pub(crate) fn pass_on(&mut self, number: u64, target: Result<Id, Cause>) {
        match target {
            Ok(user) => self.send_to_phones(number, user),
            Err(Cause::NoSuchNumber) => self.answer_text(number, 404),
            Err(Cause::Forbidden | Cause::Declined) => self.answer_text(number, 403),
            Err(_) => self.answer_text(number, 480),
        }
    }

    fn send_to_phones(&mut self, number: u64, user: Id) {
        let now = self.cx.now.mono;
        let phones = self.registrar.user(user).into_iter();
        let phones = phones.flat_map(|user| user.phones(now));
        let phones = phones.map(|b| (b.target(), b.contact.clone(), b.path.clone()));
        let phones: Vec<_> = phones.collect();
        let Some(text) = self.texts.by_number.get_mut(&number) else {
            return;
        };
        text.phones = phones.len();
        if phones.is_empty() {
            return self.answer_text(number, 480);
        }
        for (flow, contact, path) in phones {
            self.send_to_phone(number, flow, &contact, &path);
        }
    }

    fn send_to_phone(&mut self, number: u64, flow: Flow, contact: &str, path: &[String]) {
        let (tag, branch) = (self.cx.random(), self.cx.random());
        let call_id = format!("{:016x}", self.cx.random());
        let Some(text) = self.texts.by_number.get(&number) else {
            return;
        };
        let address = caller_address(&self.cx, &text.caller);
        let from = format!("{address};tag={tag:016x}");
        let to = format!("<sip:{}@{}>", encoded(&text.to), self.cx.host);
        let mut headers = match text.caller.is_withheld {
            true => "Privacy: id\r\n".to_owned(),
            false => format!("P-Asserted-Identity: {address}\r\n"),
        };
        for (name, as_name) in PASSED_ON {
            if let Some(value) = text.request.header(name) {
                // Writing to a String cannot fail.
                let _ = write!(headers, "{as_name}: {value}\r\n");
            }
        }
        let kind = text.request.header_or_empty(Name::ContentType);
        let body = text.request.body();
        let request = Request {
            method: Method::Message,
            uri: contact,
            branch,
            from: &from,
            to: &to,
            call_id: &call_id,
            cseq: 1,
            routes: path,
            headers: &headers,
            body: (!body.is_empty()).then_some((kind, body)),
        };
        let bytes = request.write(&self.cx, &flow);
        if bytes.len() > BYTES_MAX && !flow.is_reliable() {
            return self.text_refused(number, 413);
        }
        let owner = Owner::Text { number };
        self.clients
            .send(&mut self.cx, flow, owner, Method::Message, branch, bytes);
    }

    /// A phone has said something of a text, or nothing.
    pub(crate) fn on_text_heard(
        &mut self,
        number: u64,
        outcome: Outcome,
        response: Option<&Message>,
    ) {
        match outcome {
            Outcome::Response(..200) => {}
            Outcome::Response(202) => self.answer_text(number, 202),
            Outcome::Response(..300) => self.answer_text(number, 200),
            Outcome::Response(415) => {
                let accept = response.map_or("", |r| r.header_or_empty(Name::Accept));
                if let Some(text) = self.texts.by_number.get_mut(&number)
                    && accept.len() <= ACCEPT_BYTES_MAX
                {
                    text.accept = accept.to_owned();
                }
                self.text_refused(number, 415);
            }
            Outcome::Response(413) => self.text_refused(number, 413),
            Outcome::Response(403 | 603 | 607 | 608) => self.text_refused(number, 403),
            Outcome::Response(404 | 410 | 604) => self.text_refused(number, 404),
            Outcome::Response(_) | Outcome::Timeout | Outcome::Unreachable => {
                self.text_refused(number, 480);
            }
        }
    }

    /// One phone does not take it.
    fn text_refused(&mut self, number: u64, status: u16) {
        let Some(text) = self.texts.by_number.get_mut(&number) else {
            return;
        };
        if rank(status) < rank(text.refusal) {
            text.refusal = status;
        }
        text.phones = text.phones.saturating_sub(1);
        if text.phones == 0 {
            let refusal = text.refusal;
            self.answer_text(number, refusal);
        }
    }

    /// No phone has taken it in time.
    pub(crate) fn on_text_due(&mut self, number: u64) {
        self.answer_text(number, 480);
    }

    /// The sender is told, once; what other phones still say matters no more.
    fn answer_text(&mut self, number: u64, status: u16) {
        let Some(text) = self.texts.remove(number) else {
            return;
        };
        self.cx.counters.texts_delivered += u64::from(status < 300);
        let headers = match status {
            415 if !text.accept.is_empty() => format!("Accept: {}\r\n", text.accept),
            415 => "Accept: text/plain\r\n".to_owned(),
            _ => String::new(),
        };
        let answer = Answer::new(status).headers(&headers);
        self.reply(text.server, &text.request, &answer);
    }
}

/// Which refusal speaks for all phones; lowest first: what the sender can do something about.
fn rank(status: u16) -> u8 {
    match status {
        415 => 0,
        413 => 1,
        403 => 2,
        404 => 3,
        _ => 4,
    }
}
