//! Client transactions: a request of ours is repeated until it is answered, or given up.
//!
//! ```text
//!   calls, lamps ─► request ─► network ─► response in ─► heard ─► (owner) ─► calls, lamps
//! ```
//!
//! A transaction is found by the number in our own branch. It holds the text it may have to send
//! again, shared with the sender, and from that text makes the ACK of a refusal and the CANCEL.
//!
//! Invariants: each ends by a timer, except an INVITE that rings: call control bounds that one,
//! and abandons it. An abandoned INVITE is cancelled as soon as RFC 3261 §9.1 allows; if it is
//! accepted all the same, its owner is told and has to hang up.
//!
//! Sources: RFC 3261 §9, §17.1, RFC 6026 §7.2 (further 2xx after the first).

use std::sync::Arc;
use std::time::Duration;

use tandem_engine::seam::LegId;
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::context::{NumberMap, ShimContext, T1, T1_64, T2, T4, TimerId};
use crate::message::{Message, Method, Name};
use crate::message_builder::{ANSWERED_ELSEWHERE, Request, ack_of, branch_number, cancel_of};
use crate::uri::{NameAddr, Via};
use crate::wire::Flow;

/// A phone that has said nothing at all to an INVITE for so long is not there.
const UNHEARD_MAX: Duration = Duration::from_secs(5);
/// The most phones behind one proxy whose 2xx to one INVITE are confirmed.
const ACKS_MAX: usize = 8;

/// All client transactions of a node.
#[derive(Debug, Default)]
pub(crate) struct ClientTransactions {
    table: NumberMap<u64, Client>,
}

#[derive(Debug)]
struct Client {
    method: Method,
    state: State,
    flow: Flow,
    bytes: Arc<[u8]>,
    interval: Duration,
    /// When it is sent again.
    again_at: Time,
    due: Time,
    gives_up: Time,
    /// When its owner stops waiting for a first word.
    unheard_until: Time,
    owner: Owner,
    cancel: Cancel,
    /// The ACKs of its 2xx, each with the To tag it confirms and the way it went; at most
    /// [`ACKS_MAX`].
    acks: Vec<(Box<str>, Flow, Arc<[u8]>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calling,
    Proceeding,
    /// An INVITE got a 2xx; more may come, again or from elsewhere.
    Accepted,
    /// Only there to recognise what comes again.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    No,
    /// As soon as a provisional response has come (RFC 3261 §9.1), for this reason.
    Wanted(Why),
    Sent,
}

/// Why an INVITE is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nobody wants the call any more.
    GivenUp,
    /// Another phone took it.
    AnsweredElsewhere,
}

/// To whom an answer matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// One phone of a call that goes out.
    Fork { leg: LegId, index: usize },
    /// A session refresh.
    Refresh { leg: LegId },
    /// A text that is passed on to a phone.
    Text { number: u64 },
    /// A subscription's notification.
    Notify { tag: u64 },
    /// A lamp notification nobody subscribed to.
    Push { user: Id, binding: u64, cseq: u32 },
    /// Nobody any more.
    Orphan,
}

/// An answer to one of our requests, or the lack of one.
#[derive(Clone, Debug)]
pub(crate) struct TransactionEvent {
    pub(crate) owner: Owner,
    pub(crate) branch: u64,
    pub(crate) method: Method,
    /// Where the request went.
    pub(crate) flow: Flow,
    /// The request's text.
    pub(crate) request: Arc<[u8]>,
    pub(crate) outcome: Outcome,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The response at hand, of this status.
    Response(u16),
    /// Nobody answered.
    Timeout,
    /// The connection is gone.
    Unreachable,
}

impl ClientTransactions {
    /// Sends a request.
    pub(crate) fn request(
        &mut self,
        cx: &mut ShimContext,
        flow: Flow,
        owner: Owner,
        request: &Request<'_>,
    ) {
        let bytes = request.write(cx, &flow);
        self.send(cx, flow, owner, request.method, request.branch, bytes);
    }

    /// Sends a request whose text is there already.
    pub(crate) fn send(
        &mut self,
        cx: &mut ShimContext,
        flow: Flow,
        owner: Owner,
        method: Method,
        branch: u64,
        bytes: Arc<[u8]>,
    ) {
        //= RFC 3261 §17.1.1.2
        //# The initial state, "calling", MUST be entered when the TU initiates a new client
        //# transaction with an INVITE request. The client transaction MUST pass the request to the
        //# transport layer for transmission (see Section 18). If an unreliable transport is being
        //# used, the client transaction MUST start timer A with a value of T1.
        //= RFC 3261 §17.1.1.2
        //# For any transport, the client transaction MUST start timer B with a value of 64*T1
        //# seconds (Timer B controls transaction timeouts).
        //= RFC 3261 §17.1.2.2
        //# The request MUST be passed to the transport layer for transmission. If an unreliable
        //# transport is in use, the client transaction MUST set timer E to fire in T1 seconds.
        cx.send(flow, bytes.clone());
        let interval = if flow.is_reliable() { T1_64 } else { T1 };
        let key = key_of(method, branch);
        let client = Client {
            method,
            state: State::Calling,
            flow,
            bytes,
            interval,
            again_at: cx.now.mono + interval,
            due: cx.alarm_in(interval, TimerId::Client(key)),
            gives_up: cx.now.mono + T1_64,
            unheard_until: cx.now.mono + UNHEARD_MAX,
            owner,
            cancel: Cancel::No,
            acks: Vec::new(),
        };
        self.table.insert(key, client);
    }

    /// A response came. `None`: it is provisional, a repetition or a stray, and dealt with;
    /// provisional ones to an INVITE are passed on.
    pub(crate) fn heard(
        &mut self,
        cx: &mut ShimContext,
        flow: Flow,
        response: &Message,
    ) -> Option<TransactionEvent> {
        let Some((branch, key)) = self.find(response) else {
            cx.counters.strays += 1;
            return None;
        };
        let status = response.status();
        let client = self.table.get_mut(&key)?;
        match (client.method, status) {
            (Method::Invite, 100..200) => {
                //= RFC 3261 §17.1.1.2
                //# Furthermore, the provisional response MUST be passed to the TU. Any further
                //# provisional responses MUST be passed up to the TU while in the "Proceeding"
                //# state.
                let wanted = client.ring()?;
                if let Cancel::Wanted(why) = wanted {
                    self.cancel(cx, branch, why);
                    return None;
                }
            }
            (Method::Invite, 200..300) => client.accepted(cx, key, response)?,
            (Method::Invite, _) => client.refused(cx, key, flow, response)?,
            (_, 100..200) => {
                client.proceed();
                return None;
            }
            //= RFC 3261 §17.1.2.2
            //# If a final response (status codes 200-699) is received while in the "Trying" state,
            //# the response MUST be passed to the TU, and the client transaction MUST transition to
            //# the "Completed" state.
            //= RFC 3261 §17.1.2.2
            //# If a final response (status codes 200-699) is received while in the "Proceeding"
            //# state, the response MUST be passed to the TU, and the client transaction MUST
            //# transition to the "Completed" state.
            _ => client.end(cx, key, T4)?,
        }
        let heard = self
            .table
            .get(&key)?
            .heard(branch, Outcome::Response(status));
        let matters = heard.owner != Owner::Orphan
            || (heard.method == Method::Invite && (200..300).contains(&status));
        matters.then_some(heard)
    }

    fn find(&self, response: &Message) -> Option<(u64, u64)> {
        let via = response.header(Name::Via).and_then(Via::parse)?;
        let branch = branch_number(via.branch())?;
        let (_, method, _) = response.cseq()?;
        let key = key_of(method, branch);
        self.table
            .get(&key)
            .filter(|c| c.method == method)
            .map(|_| (branch, key))
    }

    /// Sends the ACK of a 2xx, and remembers it for when that 2xx comes again.
    //= RFC 3261 §17.1.1.3
    //# A UAC core that generates an ACK for 2xx MUST instead follow the rules described in Section
    //# 13.
    pub(crate) fn acknowledge(
        &mut self,
        cx: &mut ShimContext,
        branch: u64,
        to_tag: &str,
        flow: Flow,
        ack: Arc<[u8]>,
    ) {
        cx.send(flow, ack.clone());
        if let Some(client) = self.table.get_mut(&branch) {
            client.acks.push((to_tag.into(), flow, ack));
        }
    }

    /// Nobody waits for an INVITE's answer any more: cancels it as soon as that is allowed.
    pub(crate) fn abandon(&mut self, cx: &mut ShimContext, branch: u64, why: Why) {
        let Some(client) = self.table.get_mut(&branch) else {
            return;
        };
        client.owner = Owner::Orphan;
        match client.state {
            //= RFC 3261 §9.1
            //# If no provisional response has been received, the CANCEL request MUST NOT be sent;
            //# rather, the client MUST wait for the arrival of a provisional response before
            //# sending the request.
            State::Calling => client.cancel = Cancel::Wanted(why),
            State::Proceeding if client.cancel != Cancel::Sent => self.cancel(cx, branch, why),
            _ => {}
        }
    }

    fn cancel(&mut self, cx: &mut ShimContext, branch: u64, why: Why) {
        let Some(client) = self.table.get_mut(&branch) else {
            return;
        };
        client.cancel = Cancel::Sent;
        // RFC 3261 §9.1: 64*T1 after the CANCEL the INVITE counts as cancelled.
        client.gives_up = cx.now.mono + T1_64;
        client.due = cx.alarm_in(T1_64, TimerId::Client(branch));
        let headers = match why {
            Why::GivenUp => "",
            Why::AnsweredElsewhere => ANSWERED_ELSEWHERE,
        };
        //= RFC 3261 §9.1
        //# The destination address, port, and transport for the CANCEL MUST be identical to those
        //# used to send the original request.
        let (flow, bytes) = (client.flow, cancel_of(&client.bytes, headers));
        self.send(cx, flow, Owner::Orphan, Method::Cancel, branch, bytes);
    }

    /// Whom a request matters to.
    pub(crate) fn owner(&self, key: u64) -> Option<Owner> {
        self.table.get(&key).map(|client| client.owner)
    }

    /// A request is of no use any more: it is not sent again, nor missed.
    pub(crate) fn forget(&mut self, key: u64) {
        self.table.remove(&key);
    }

    /// A timer has run out. What was never answered, if that is what it means.
    pub(crate) fn lapsed(&mut self, cx: &mut ShimContext, key: u64) -> Option<TransactionEvent> {
        let now = cx.now.mono;
        let client = self.table.get_mut(&key).filter(|c| c.due <= now)?;
        let over = matches!(client.state, State::Done | State::Accepted);
        if !over && now < client.gives_up {
            client.again(cx, key);
            return client.unheard(now, key);
        }
        //= RFC 3261 §17.1.1.2
        //# The client transaction MUST NOT generate an ACK.
        //= RFC 3261 §17.1.1.2
        //# If timer D fires while the client transaction is in the "Completed" state, the client
        //# transaction MUST move to the terminated state.
        //= RFC 3261 §17.1.1.2
        //# The client transaction MUST be destroyed the instant it enters the "Terminated" state.
        //= RFC 3261 §17.1.2.2
        //# If timer F fires while in the "Proceeding" state, the TU MUST be informed of a timeout,
        //# and the client transaction MUST transition to the terminated state.
        //= RFC 3261 §17.1.2.2
        //# If Timer K fires while in this state, the client transaction MUST transition to the
        //# "Terminated" state. Once the transaction is in the terminated state, it MUST be
        //# destroyed immediately.
        let client = self.table.remove(&key)?;
        let matters = !over && client.owner != Owner::Orphan;
        matters.then(|| client.heard(key, Outcome::Timeout))
    }

    /// A connection is gone, or was never made: what waits on it fails at once.
    pub(crate) fn disconnected(&mut self, flow: &Flow) -> Vec<TransactionEvent> {
        let is_lost =
            |c: &Client| c.flow == *flow && matches!(c.state, State::Calling | State::Proceeding);
        let lost = self
            .table
            .iter()
            .filter(|(_, c)| is_lost(c))
            .map(|(k, _)| *k);
        let mut lost: Vec<u64> = lost.collect();
        lost.sort_unstable();
        let ended = lost
            .into_iter()
            .filter_map(|k| Some((k, self.table.remove(&k)?)));
        let heard = ended.map(|(k, c)| c.heard(k, Outcome::Unreachable));
        heard.filter(|h| h.owner != Owner::Orphan).collect()
    }
}

impl Client {
    fn heard(&self, branch: u64, outcome: Outcome) -> TransactionEvent {
        let Client {
            owner,
            method,
            flow,
            ..
        } = *self;
        TransactionEvent {
            owner,
            branch,
            method,
            flow,
            request: self.bytes.clone(),
            outcome,
        }
    }

    /// A provisional response to an INVITE: it is not repeated any more.
    fn ring(&mut self) -> Option<Cancel> {
        if !self.is_open() {
            return None;
        }
        self.state = State::Proceeding;
        if self.cancel != Cancel::Sent {
            self.due = Time(u64::MAX);
            self.gives_up = Time(u64::MAX);
        }
        Some(self.cancel)
    }

    /// A 2xx. One that is known already is confirmed again; one from elsewhere (another To tag)
    /// is passed on, as an orphan if another has won.
    fn accepted(&mut self, cx: &mut ShimContext, key: u64, response: &Message) -> Option<()> {
        let tag = response.header(Name::To).and_then(NameAddr::parse)?.tag()?;
        if let Some((_, flow, ack)) = self.acks.iter().find(|(known, ..)| **known == *tag) {
            cx.resend(*flow, ack.clone());
            return None;
        }
        if self.state == State::Done || self.acks.len() == ACKS_MAX {
            return None;
        }
        if !self.acks.is_empty() {
            self.owner = Owner::Orphan;
        }
        if self.state != State::Accepted {
            self.state = State::Accepted;
            self.due = cx.alarm_in(T1_64, TimerId::Client(key));
        }
        Some(())
    }

    /// A refusal, confirmed here (§17.1.1.3), each time it comes.
    fn refused(
        &mut self,
        cx: &mut ShimContext,
        key: u64,
        flow: Flow,
        response: &Message,
    ) -> Option<()> {
        if self.state == State::Accepted {
            return None;
        }
        //= RFC 3261 §17.1.1.2
        //# When in either the "Calling" or "Proceeding" states, reception of a response with status
        //# code from 300-699 MUST cause the client transaction to transition to "Completed". The
        //# client transaction MUST pass the received response up to the TU, and the client
        //# transaction MUST generate an ACK request, even if the transport is reliable (guidelines
        //# for constructing the ACK from the response are given in Section 17.1.1.3) and then pass
        //# the ACK to the transport layer for transmission. The ACK MUST be sent to the same
        //# address, port, and transport to which the original request was sent.
        //= RFC 3261 §17.1.1.2
        //# Any retransmissions of the final response that are received while in the "Completed"
        //# state MUST cause the ACK to be re-passed to the transport layer for retransmission, but
        //# the newly received response MUST NOT be passed up to the TU.
        let to = response.header(Name::To)?;
        // On a stream the refusal came over the connection that the ACK takes.
        let flow = if flow.is_reliable() { flow } else { self.flow };
        cx.send(flow, ack_of(&self.bytes, to));
        self.end(cx, key, T1_64)
    }

    /// A phone that does not answer an INVITE at all: its owner need not wait for timer B. Should the
    /// phone wake up before that, it is told that it is too late.
    fn unheard(&mut self, now: Time, branch: u64) -> Option<TransactionEvent> {
        let is_fork = matches!(self.owner, Owner::Fork { .. });
        if !is_fork || self.state != State::Calling || now < self.unheard_until {
            return None;
        }
        let heard = self.heard(branch, Outcome::Timeout);
        self.owner = Owner::Orphan;
        self.cancel = Cancel::Wanted(Why::GivenUp);
        Some(heard)
    }

    fn proceed(&mut self) {
        if self.is_open() {
            self.state = State::Proceeding;
        }
    }

    /// Keeps it for a while, to recognise what comes again. `None`: it had ended before.
    fn end(&mut self, cx: &mut ShimContext, key: u64, keep: Duration) -> Option<()> {
        if !self.is_open() {
            return None;
        }
        self.state = State::Done;
        //= RFC 3261 §17.1.2.2
        //# Once the client transaction enters the "Completed" state, it MUST set Timer K to fire in
        //# T4 seconds for unreliable transports, and zero seconds for reliable transports.
        let keep = if self.flow.is_reliable() {
            Duration::ZERO
        } else {
            keep
        };
        self.due = cx.alarm_in(keep, TimerId::Client(key));
        Some(())
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Calling | State::Proceeding)
    }

    /// Sends it again, less and less often: an INVITE doubles its interval without bound, others
    /// up to T2, and wait T2 once they have been heard (§17.1.2.2).
    //= RFC 3261 §17.1.1.2
    //# When timer A fires, the client transaction MUST retransmit the request by passing it to the
    //# transport layer, and MUST reset the timer with a value of 2*T1.
    //= RFC 3261 §17.1.1.2
    //# When timer A fires 2*T1 seconds later, the request MUST be retransmitted again (assuming the
    //# client transaction is still in this state). This process MUST continue so that the request
    //# is retransmitted with intervals that double after each transmission.
    //= RFC 3261 §17.1.1.2
    //# Whatever the value of T1, the exponential backoffs on retransmissions described in this
    //# section MUST be used.
    //= RFC 3261 §17.1.2.2
    //# If Timer E fires while in the "Proceeding" state, the request MUST be passed to the
    //# transport layer for retransmission, and Timer E MUST be reset with a value of T2 seconds.
    fn again(&mut self, cx: &mut ShimContext, key: u64) {
        let now = cx.now.mono;
        if now >= self.again_at {
            self.interval = match (self.method, self.state) {
                (Method::Invite, _) => self.interval * 2,
                (_, State::Proceeding) => T2,
                _ => (self.interval * 2).min(T2),
            };
            self.again_at = now + self.interval;
            if !self.flow.is_reliable() {
                cx.resend(self.flow, self.bytes.clone());
            }
        }
        let mut due = self.again_at.min(self.gives_up);
        if self.unheard_until > now && self.method == Method::Invite {
            due = due.min(self.unheard_until);
        }
        self.due = cx.alarm_in(due.since(now), TimerId::Client(key));
    }
}

/// A CANCEL shares its INVITE's branch.
fn key_of(method: Method, branch: u64) -> u64 {
    if method == Method::Cancel {
        !branch
    } else {
        branch
    }
}
