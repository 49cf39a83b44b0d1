//! Server transactions: a request that comes again is answered again, not served again.
//!
//! ```text
//!   request in ─► arrive ─► (new) ─► registrar, calls, lamps ─► respond ─► network
//! ```
//!
//! A transaction is found by a keyed hash of what identifies it (branch, sent-by, method; RFC
//! 3261 §17.2.3). It holds the text it may have to send again, shared with the sender.
//!
//! Invariants: no more than `transactions_max` wait for our answer, and `transactions_per_source_max` of
//! one source that is not trusted (the answer to "full" is 503, given without a transaction); no more
//! than `finished_max` are remembered, and `finished_per_source_max` of one source that is not trusted
//! (beyond it a request that comes again is served again). Each ends
//! by a timer, at the latest 64*T1 after our answer. A stranger, who has shown no password, gets one
//! answer to one request: its address may be a victim's, so nothing is sent there by a timer, and no
//! 100 (RFC 3261 §17.2.1 wants none, since strangers are answered at once).
//!
//! Sources: RFC 3261 §13.3.1.4, §17.2, RFC 6026 (a 2xx does not end an INVITE transaction). We
//! depart once: after the ACK of a 2xx the transaction is kept for T4 instead of 64*T1, since
//! whoever sent an ACK has its 2xx and will not repeat the INVITE.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tandem_engine::seam::LegId;
use tandem_storage::time::Time;

use crate::context::{NumberMap, ShimContext, T1, T1_64, T2, T4, TimerId};
use crate::message::{Message, Method, Name};
use crate::message_builder::{self, Answer};
use crate::sources::block_of;
use crate::uri::{NameAddr, Via};
use crate::wire::Flow;

/// All server transactions of a node.
#[derive(Debug, Default)]
pub(crate) struct ServerTransactions {
    table: NumberMap<u64, Server>,
    /// How many wait for our answer.
    waiting: usize,
    /// A source is here only while one of its own is in the table.
    by_source: BTreeMap<IpAddr, OfSource>,
}

/// How many are of one source.
#[derive(Clone, Copy, Debug, Default)]
struct OfSource {
    /// For our answer.
    waiting: usize,
    /// In the table at all.
    all: usize,
}

/// A server transaction's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerId(u64);

#[derive(Debug)]
struct Server {
    invite: bool,
    state: State,
    /// The address that it counts for; `None`: a trusted host.
    source: Option<IpAddr>,
    /// Nobody has shown a password for it.
    is_stranger: bool,
    /// Where answers go.
    flow: Flow,
    last: Option<Arc<[u8]>>,
    interval: Duration,
    due: Time,
    gives_up: Time,
    leg: Option<LegId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// For our answer.
    Waiting,
    /// An INVITE was refused; its ACK has not come.
    Refused,
    /// An INVITE was accepted; its ACK has not come.
    Accepted,
    /// Only there to recognise what comes again.
    Done,
}

/// What a request that came is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The first of its kind.
    New(ServerId),
    /// A repetition: dealt with.
    Known,
    /// Too many are waiting.
    Full,
}

impl ServerTransactions {
    /// A request other than ACK came.
    pub(crate) fn arrive(
        &mut self,
        cx: &mut ShimContext,
        flow: Flow,
        request: &Message,
    ) -> Arrival {
        let number = number_of(cx, request, request.method());
        if let Some(server) = self.table.get(&number) {
            //= RFC 3261 §17.2.1
            //# If a request retransmission is received while in the "Proceeding" state, the most
            //# recent provisional response that was received from the TU MUST be passed to the
            //# transport layer for retransmission.
            //= RFC 3261 §17.2.2
            //# While in the "Completed" state, the server transaction MUST pass the final response
            //# to the transport layer for retransmission whenever a retransmission of the request
            //# is received.
            let bytes = server.last.clone().filter(|_| !server.is_confirmed());
            if let Some(bytes) = bytes {
                cx.resend(server.flow, bytes);
            }
            return Arrival::Known;
        }
        let is_trusted = cx.is_trusted_host(&flow);
        let source = (!is_trusted).then(|| block_of(flow.peer.ip()));
        if !within_dialog(request) {
            if self.waiting >= cx.config.transactions_max {
                cx.counters.overload += 1;
                return Arrival::Full;
            }
            if self.of(source).waiting >= cx.config.transactions_per_source_max {
                cx.counters.overload_source += 1;
                return Arrival::Full;
            }
        }
        self.insert(number, Server::new(flow, request, source));
        Arrival::New(ServerId(number))
    }

    /// An ACK came. `true`: it was that of a refusal, or a repetition.
    pub(crate) fn ack_of_refusal(&mut self, cx: &mut ShimContext, ack: &Message) -> bool {
        let number = number_of(cx, ack, Method::Invite);
        match self.table.get_mut(&number) {
            //= RFC 3261 §17.2.1
            //# If an ACK is received while the server transaction is in the "Completed" state, the
            //# server transaction MUST transition to the "Confirmed" state.
            Some(server) if server.state == State::Refused => {
                server.finish(cx, number, T4);
                self.drop_if_unneeded(number);
                true
            }
            Some(server) => server.state == State::Done,
            None => false,
        }
    }

    /// The leg of the INVITE that a CANCEL is about; `Some(None)` if it is beyond cancelling.
    pub(crate) fn cancelled(&self, cx: &ShimContext, cancel: &Message) -> Option<Option<LegId>> {
        let server = self.table.get(&number_of(cx, cancel, Method::Invite))?;
        Some(server.leg.filter(|_| server.state == State::Waiting))
    }

    /// Says whose INVITE this is.
    pub(crate) fn belongs_to(&mut self, id: ServerId, leg: LegId) {
        if let Some(server) = self.table.get_mut(&id.0) {
            server.leg = Some(leg);
        }
    }

    /// Answers a request.
    pub(crate) fn respond(
        &mut self,
        cx: &mut ShimContext,
        id: ServerId,
        request: &Message,
        answer: &Answer<'_>,
    ) {
        let Some(server) = self.table.get_mut(&id.0) else {
            return;
        };
        //= RFC 3261 §17.2.1
        //# So long as the server transaction is in the "Proceeding" state, each of these MUST be
        //# passed to the transport layer for transmission.
        //= RFC 3261 §17.2.1
        //# If, while in the "Proceeding" state, the TU passes a 2xx response to the server
        //# transaction, the server transaction MUST pass this response to the transport layer for
        //# transmission.
        let bytes = message_builder::response(cx, request, &server.flow, answer);
        cx.send(server.flow, bytes.clone());
        server.last = Some(bytes);
        if answer.status < 200 || server.state != State::Waiting {
            return;
        }
        if server.is_stranger {
            self.remove(id.0);
            return;
        }
        //= RFC 3261 §17.2.1
        //# When the "Completed" state is entered, timer H MUST be set to fire in 64*T1 seconds for
        //# all transports.
        server.gives_up = cx.now.mono + T1_64;
        match (server.invite, answer.status) {
            //= RFC 3261 §17.2.2
            //# If the TU passes a final response (status codes 200-699) to the server while in the
            //# "Proceeding" state, the transaction MUST enter the "Completed" state, and the
            //# response MUST be passed to the transport layer for transmission. When the server
            //# transaction enters the "Completed" state, it MUST set Timer J to fire in 64*T1
            //# seconds for unreliable transports, and zero seconds for reliable transports.
            (false, _) => server.finish(cx, id.0, T1_64),
            (true, 200..300) => server.expect_ack(cx, id.0, State::Accepted),
            //= RFC 3261 §17.2.1
            //# While in the "Proceeding" state, if the TU passes a response with status code from
            //# 300 to 699 to the server transaction, the response MUST be passed to the transport
            //# layer for transmission, and the state machine MUST enter the "Completed" state.
            (true, _) => server.expect_ack(cx, id.0, State::Refused),
        }
        let source = server.source;
        self.answered(source);
        self.drop_if_unneeded(id.0);
        if self.table.len() > cx.config.finished_max
            || self.of(source).all > cx.config.finished_per_source_max
        {
            self.forget_if_done(id.0);
        }
    }

    /// Says again what was said last.
    pub(crate) fn repeat(&mut self, cx: &mut ShimContext, id: ServerId) {
        if let Some(server) = self.table.get(&id.0)
            && let Some(bytes) = server.last.clone()
        {
            cx.resend(server.flow, bytes);
        }
    }

    /// The request belongs to somebody who has shown a password, or to a call of ours.
    pub(crate) fn vouch(&mut self, id: ServerId) {
        if let Some(server) = self.table.get_mut(&id.0) {
            server.is_stranger = false;
        }
    }

    /// Refuses a stranger and forgets it, even one that came through a trusted host. Whoever missed
    /// the answer asks again.
    pub(crate) fn refuse_stranger(
        &mut self,
        cx: &mut ShimContext,
        id: ServerId,
        request: &Message,
        answer: &Answer<'_>,
    ) {
        if let Some(server) = self.table.get_mut(&id.0) {
            server.is_stranger = true;
        }
        self.respond(cx, id, request, answer);
    }

    /// Forgets a request that gets no answer.
    pub(crate) fn drop_silently(&mut self, id: ServerId) {
        self.remove(id.0);
    }

    /// The ACK of our 2xx has come.
    pub(crate) fn confirmed(&mut self, cx: &mut ShimContext, id: ServerId) {
        if let Some(server) = self.table.get_mut(&id.0) {
            server.finish(cx, id.0, T4);
            self.drop_if_unneeded(id.0);
        }
    }

    /// A timer has run out. The leg whose 2xx was never confirmed, if that is what it means.
    pub(crate) fn lapsed(&mut self, cx: &mut ShimContext, number: u64) -> Option<LegId> {
        let now = cx.now.mono;
        let server = self.table.get_mut(&number).filter(|s| s.due <= now)?;
        //= RFC 3261 §17.2.1
        //# Once timer I fires, the server MUST transition to the "Terminated" state. Once the
        //# transaction is in the "Terminated" state, it MUST be destroyed immediately.
        //= RFC 3261 §17.2.2
        //# The server transaction remains in this state until Timer J fires, at which point it MUST
        //# transition to the "Terminated" state. The server transaction MUST be destroyed the
        //# instant it enters the "Terminated" state.
        if server.state == State::Done || now >= server.gives_up {
            let unconfirmed = server.leg.filter(|_| server.state == State::Accepted);
            self.remove(number);
            return unconfirmed;
        }
        server.interval = (server.interval * 2).min(T2);
        let next = server.interval.min(server.gives_up.since(now));
        server.due = cx.alarm_in(next, TimerId::Server(number));
        // A 2xx is repeated on streams too (§13.3.1.4); a refusal is not (§17.2.1).
        let repeats = server.state == State::Accepted || !server.flow.is_reliable();
        if let Some(bytes) = server.last.clone().filter(|_| repeats) {
            cx.resend(server.flow, bytes);
        }
        None
    }

    /// Those that wait for our answer.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// On a stream nothing comes twice, so there is nothing to recognise.
    fn drop_if_unneeded(&mut self, number: u64) {
        if self
            .table
            .get(&number)
            .is_some_and(|s| s.flow.is_reliable())
        {
            self.forget_if_done(number);
        }
    }

    fn forget_if_done(&mut self, number: u64) {
        if self
            .table
            .get(&number)
            .is_some_and(|s| s.state == State::Done)
        {
            self.remove(number);
        }
    }

    fn of(&self, source: Option<IpAddr>) -> OfSource {
        let count = source.and_then(|source| self.by_source.get(&source));
        count.copied().unwrap_or_default()
    }

    fn insert(&mut self, number: u64, server: Server) {
        self.waiting += 1;
        if let Some(source) = server.source {
            let count = self.by_source.entry(source).or_default();
            count.waiting += 1;
            count.all += 1;
        }
        self.table.insert(number, server);
    }

    /// One of this source has its answer, or gets none.
    fn answered(&mut self, source: Option<IpAddr>) {
        self.waiting -= 1;
        if let Some(count) = source.and_then(|source| self.by_source.get_mut(&source)) {
            count.waiting -= 1;
        }
    }

    fn remove(&mut self, number: u64) {
        let Some(server) = self.table.remove(&number) else {
            return;
        };
        if server.state == State::Waiting {
            self.answered(server.source);
        }
        let Some(source) = server.source else { return };
        if let Some(count) = self.by_source.get_mut(&source) {
            count.all -= 1;
            if count.all == 0 {
                self.by_source.remove(&source);
            }
        }
    }
}

impl Server {
    fn new(flow: Flow, request: &Message, source: Option<IpAddr>) -> Server {
        let never = Time(u64::MAX);
        Server {
            invite: request.method() == Method::Invite,
            state: State::Waiting,
            source,
            is_stranger: source.is_some(),
            flow: message_builder::reply_flow(request, flow),
            last: None,
            interval: T1,
            due: never,
            gives_up: never,
            leg: None,
        }
    }

    fn is_confirmed(&self) -> bool {
        self.invite && self.state == State::Done
    }

    fn expect_ack(&mut self, cx: &mut ShimContext, number: u64, state: State) {
        self.state = state;
        self.due = cx.alarm_in(T1, TimerId::Server(number));
    }

    fn finish(&mut self, cx: &mut ShimContext, number: u64, keep: Duration) {
        self.state = State::Done;
        self.due = cx.alarm_in(keep, TimerId::Server(number));
    }
}

/// Requests within a dialog belong to what is already running: they are served at any load.
fn within_dialog(request: &Message) -> bool {
    request
        .header(Name::To)
        .and_then(NameAddr::parse)
        .is_some_and(|to| to.tag().is_some())
}

/// RFC 3261 §17.2.3. `method` is INVITE for the ACK and CANCEL of one.
fn number_of(cx: &ShimContext, request: &Message, method: Method) -> u64 {
    let name = if method == Method::Unknown {
        request.method_name()
    } else {
        method.as_str()
    };
    let via = request.header(Name::Via).and_then(Via::parse);
    let (branch, sent_by) = via.map_or(("", ""), |v| (v.branch(), v.sent_by));
    if branch.len() > message_builder::COOKIE.len() && branch.starts_with(message_builder::COOKIE) {
        return cx.keyed.number((branch, sent_by, name));
    }
    // RFC 2543 elements make no unique branches. The To tag of an ACK is ours and unknown to the
    // INVITE, so it is left out.
    let number = request.cseq().map_or(0, |(number, _, _)| number);
    let parts = (
        request.uri(),
        request.header_or_empty(Name::From),
        request.header_or_empty(Name::CallId),
        request.header_or_empty(Name::Via),
        number,
        name,
    );
    cx.keyed.number(parts)
}
