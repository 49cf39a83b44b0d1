//! Keeping a call alive, and noticing that it is not (RFC 4028).
//!
//! When it is we who refresh we send UPDATE to those who take it, since it needs neither an offer
//! nor an ACK, and otherwise an INVITE that repeats our last description. Whoever answers that
//! there is no such call, or not at all, has vanished.

use std::time::Duration;

use tandem_engine::seam::LegId;
use tandem_pbx::seam::{Cause, SipEvent};

use crate::call::Phase;
use crate::client_transactions::{Outcome, Owner, TransactionEvent};
use crate::context::TimerId;
use crate::message::{Message, Method, Name};
use crate::message_builder::{self, ALLOW};
use crate::session::SessionTimer;
use crate::shim::Shim;

impl Shim {
    /// The call's timer has run out: refresh, or hang up.
    pub(crate) fn on_call_due(&mut self, leg: LegId) {
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        if !call.wake.fired(&mut self.cx, TimerId::Call(leg)) {
            return;
        }
        let ours = call.timer.is_some_and(|t| t.ours);
        match call.phase {
            Phase::Up if !ours => self.vanished(leg),
            // A description of ours or theirs is on its way: that refreshes as well.
            Phase::Up if call.refreshing || call.unconfirmed.is_some() => {
                self.arm_in(leg, Duration::from_secs(1));
            }
            Phase::Up => self.refresh(leg),
            Phase::Answered => self.arm_in(leg, Duration::from_secs(1)),
            _ => {}
        }
    }

    fn refresh(&mut self, leg: LegId) {
        let branch = self.cx.random();
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let (Some(dialog), Some(timer), Some(talk)) = (&mut call.dialog, call.timer, &call.talk)
        else {
            return;
        };
        call.refreshing = true;
        let cseq = dialog.next_cseq();
        let method = if call.takes_update {
            Method::Update
        } else {
            Method::Invite
        };
        let text = talk.again();
        let route = dialog.route();
        let contact = message_builder::contact(&self.cx, &dialog.flow);
        let headers = format!("{contact}{ALLOW}{}", timer.request_headers(&self.cx));
        let mut request = dialog.request(method, cseq, branch, &route);
        request.headers = &headers;
        if method == Method::Invite {
            request.body = Some(("application/sdp", text.as_bytes()));
        }
        self.clients
            .request(&mut self.cx, dialog.flow, Owner::Refresh { leg }, &request);
    }

    pub(crate) fn on_refresh_heard(
        &mut self,
        leg: LegId,
        heard: &TransactionEvent,
        response: Option<&Message>,
    ) {
        if matches!(heard.outcome, Outcome::Response(..200)) {
            return;
        }
        let accepted = matches!(heard.outcome, Outcome::Response(..300));
        if let Some(response) = response.filter(|_| accepted && heard.method == Method::Invite) {
            self.acknowledge_within(leg, heard, response);
        }
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        call.refreshing = false;
        match (heard.outcome, response) {
            (Outcome::Response(..300), Some(response)) => self.refreshed(leg, heard, response),
            // RFC 3261 §14.1: whoever made the Call-ID waits longer.
            (Outcome::Response(491), _) => {
                let ours = leg.0.is_multiple_of(2);
                let (from_ms, to_ms) = if ours { (2100, 4000) } else { (0, 2000) };
                let after = self.cx.random_ms(from_ms, to_ms);
                self.arm_in(leg, after);
            }
            (Outcome::Response(408 | 481), _) | (Outcome::Timeout | Outcome::Unreachable, _) => {
                self.vanished(leg);
            }
            (Outcome::Response(422), Some(response)) => {
                if let (Some(timer), Some(min_s)) = (&mut call.timer, response.number(Name::MinSe))
                {
                    timer.interval_s = timer.interval_s.max(min_s.min(86_400));
                }
                self.arm_in(leg, Duration::from_secs(1));
            }
            (Outcome::Response(_), _) if heard.method == Method::Update => {
                call.takes_update = false;
                self.arm_in(leg, Duration::ZERO);
            }
            // It does not want to be asked, but it is there.
            (Outcome::Response(_), _) => {
                call.timer = call.timer.map(|t| t.restarted(&self.cx));
                self.arm(leg);
            }
        }
    }

    fn acknowledge_within(&mut self, leg: LegId, heard: &TransactionEvent, response: &Message) {
        let Some(dialog) = self.calls.get(leg).and_then(|c| c.dialog.clone()) else {
            // The call was ended meanwhile; its BYE is on its way, the ACK is owed all the same.
            return self.hang_up_orphan(heard, response);
        };
        self.acknowledge(heard, &dialog, response);
    }

    fn refreshed(&mut self, leg: LegId, heard: &TransactionEvent, response: &Message) {
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        if let Some(dialog) = &mut call.dialog {
            dialog.follow(response, heard.flow);
        }
        call.timer = Some(match call.timer {
            Some(timer) if response.header(Name::SessionExpires).is_none() => {
                timer.restarted(&self.cx)
            }
            _ => SessionTimer::for_response(&self.cx, response),
        });
        self.arm(leg);
        if heard.method == Method::Invite {
            self.take_answer(leg, response);
        }
    }

    /// Nobody is there any more: the BYE is for those who only think so.
    fn vanished(&mut self, leg: LegId) {
        self.cx.counters.sessions_vanished += 1;
        self.hang_up(leg, Cause::MediaTimeout);
        self.cx.tell(SipEvent::Ended {
            leg,
            cause: Cause::MediaTimeout,
        });
    }
}
