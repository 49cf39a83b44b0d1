//! What happens within a running call: hold and resume, keys, hanging up, and our own ending it.
//!
//! Handed requests that carry our tag; hands on [`SipEvent::Held`], [`SipEvent::Digit`],
//! [`SipEvent::Ended`]. Sources: RFC 3261 §12.2, §14, §15; RFC 3311; RFC 6086.

use std::time::Duration;

use tandem_engine::seam::{Command, LegId, MediaParams};
use tandem_pbx::seam::{Cause, SipEvent};

use crate::call::{Phase, Unconfirmed};
use crate::client_transactions::Owner;
use crate::context::TimerId;
use crate::dialog::Dialog;
use crate::incoming::read_offer;
use crate::message::{Message, Method, Name};
use crate::message_builder::{self, ALLOW, Answer};
use crate::server_transactions::ServerId;
use crate::session::SessionTimer;
use crate::shim::{OFFERS, Shim};
use crate::wire::Flow;

impl Shim {
    /// A request with a To tag.
    pub(crate) fn on_within(&mut self, server: ServerId, flow: Flow, request: Message) {
        let Some(leg) = self.dialog_of(&request) else {
            return self.reply(server, &request, &Answer::new(481));
        };
        self.servers.vouch(server);
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let Some(dialog) = &mut call.dialog else {
            return;
        };
        let number = request.cseq().map_or(0, |(n, _, _)| n);
        if !dialog.take_cseq(number) {
            return self.reply(
                server,
                &request,
                &Answer::new(500).reason("CSeq Out Of Order"),
            );
        }
        match request.method() {
            Method::Bye => self.on_bye(server, leg, &request),
            Method::Invite => self.on_reinvite(server, flow, leg, request),
            Method::Update => self.on_update(server, flow, leg, &request),
            Method::Info => self.on_info(server, leg, &request),
            Method::Prack => self.on_prack(server, leg, &request),
            Method::Refer => self.on_refer(server, leg, &request),
            Method::Options => self.reply(server, &request, &Answer::new(200).headers(OFFERS)),
            _ => self.reply(server, &request, &Answer::new(405).headers(ALLOW)),
        }
    }

    fn on_bye(&mut self, server: ServerId, leg: LegId, request: &Message) {
        self.reply(server, request, &Answer::new(200));
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        if let Some(pending) = call.unconfirmed.take() {
            // Whoever hangs up will not send the ACK any more.
            self.servers.confirmed(&mut self.cx, pending.server);
        }
        match call.phase {
            // RFC 3261 §15: a caller may hang up before it was answered.
            Phase::Offered(_) => self.cancelled(leg, request),
            Phase::Closing => drop(self.calls.remove(leg)),
            _ => {
                self.forget(leg);
                self.cx.tell(SipEvent::Ended {
                    leg,
                    cause: Cause::Normal,
                });
            }
        }
    }

    /// What stands in the way of a new offer at this moment (RFC 3261 §14.2, RFC 3311 §5.2).
    fn glare(&mut self, leg: LegId) -> Option<Answer<'static>> {
        let call = self.calls.get(leg)?;
        if call.refreshing {
            self.cx.counters.glares += 1;
            return Some(Answer::new(491));
        }
        let busy = call.unconfirmed.is_some() || !matches!(call.phase, Phase::Up);
        busy.then(|| Answer::new(500).headers("Retry-After: 1\r\n"))
    }

    fn on_reinvite(&mut self, server: ServerId, flow: Flow, leg: LegId, request: Message) {
        if let Some(answer) = self.glare(leg) {
            return self.reply(server, &request, &answer);
        }
        let Some((answer, offered)) = self.renegotiate(server, flow, leg, &request, true) else {
            return;
        };
        self.accept_change(server, leg, &request, answer.as_deref());
        let cseq = request.cseq().map_or(0, |(n, _, _)| n);
        if let Some(call) = self.calls.get_mut(leg) {
            call.unconfirmed = Some(Unconfirmed {
                server,
                cseq,
                offered,
                first: false,
            });
            self.servers.belongs_to(server, leg);
        }
    }

    fn on_update(&mut self, server: ServerId, flow: Flow, leg: LegId, request: &Message) {
        let has_offer = !request.body().is_empty();
        if let Some(answer) = self.glare(leg).filter(|_| has_offer) {
            return self.reply(server, request, &answer);
        }
        let Some((answer, _)) = self.renegotiate(server, flow, leg, request, false) else {
            return;
        };
        self.accept_change(server, leg, request, answer.as_deref());
    }

    /// Takes a new offer, or asks for one (`offers`: it is an INVITE, whose answer must hold our
    /// offer if it holds none itself). What to say, and whether that is an offer; `None`: the
    /// request was refused, and all stays as it was.
    fn renegotiate(
        &mut self,
        server: ServerId,
        flow: Flow,
        leg: LegId,
        request: &Message,
        offers: bool,
    ) -> Option<(Option<String>, bool)> {
        let offer = match read_offer(request, &self.cx.config) {
            Ok(offer) => offer,
            Err(answer) => {
                self.reply(server, request, &answer);
                return None;
            }
        };
        let Ok(timer) = SessionTimer::for_request(&self.cx, request) else {
            let headers = format!("Min-SE: {}\r\n", self.cx.config.min_se_s);
            self.reply(server, request, &Answer::new(422).headers(&headers));
            return None;
        };
        let call = self.calls.get_mut(leg)?;
        call.timer = Some(timer);
        if let Some(dialog) = &mut call.dialog {
            dialog.follow(request, flow);
        }
        let learning = call.dialog.as_ref().map(Dialog::learning);
        let talk = call.talk.as_mut()?;
        talk.learning = learning.unwrap_or(talk.learning);
        let (before, was_held) = (talk.agreed.clone(), talk.held);
        let text = match &offer {
            // What is agreed stays, as far as the new offer allows.
            Some(offer) => talk.answer(offer, &talk.preference()),
            None if offers => Some(talk.offer(&talk.preference())),
            None => None,
        };
        let (agreed, held) = (talk.agreed.clone(), talk.held);
        self.changed(leg, before, agreed, was_held, held);
        self.arm(leg);
        Some((text, offer.is_none() && offers))
    }

    fn accept_change(
        &mut self,
        server: ServerId,
        leg: LegId,
        request: &Message,
        sdp: Option<&str>,
    ) {
        let Some(call) = self.calls.get(leg) else {
            return;
        };
        let (Some(dialog), Some(timer)) = (&call.dialog, call.timer) else {
            return;
        };
        let contact = message_builder::contact(&self.cx, &dialog.flow);
        let headers = format!("{contact}{ALLOW}{}", timer.response_headers());
        let answer = Answer::new(200).headers(&headers);
        let answer = sdp.map_or(answer, |text| answer.sdp(text));
        self.servers.respond(&mut self.cx, server, request, &answer);
    }

    /// Tells engine and call control what a new agreement changed.
    pub(crate) fn changed(
        &mut self,
        leg: LegId,
        before: Option<MediaParams>,
        agreed: Option<MediaParams>,
        was_held: bool,
        held: bool,
    ) {
        if let Some(params) = agreed.filter(|a| before.as_ref() != Some(a)) {
            self.cx.media(Command::Set { leg, params });
        }
        if was_held != held {
            self.cx.tell(SipEvent::Held { leg, held });
        }
    }

    fn on_info(&mut self, server: ServerId, leg: LegId, request: &Message) {
        if request.body().is_empty() {
            return self.reply(server, request, &Answer::new(200));
        }
        let kind = request
            .header_or_empty(Name::ContentType)
            .split(';')
            .next()
            .unwrap_or_default();
        let body = std::str::from_utf8(request.body()).unwrap_or_default();
        let digit = match kind.trim() {
            k if k.eq_ignore_ascii_case("application/dtmf-relay") => relayed_digit(body),
            k if k.eq_ignore_ascii_case("application/dtmf") => digit_of(body),
            _ => {
                let accept = "Accept: application/dtmf-relay, application/dtmf\r\n";
                return self.reply(server, request, &Answer::new(415).headers(accept));
            }
        };
        let Some(digit) = digit else {
            return self.reply(server, request, &Answer::new(400).reason("Bad Digit"));
        };
        self.reply(server, request, &Answer::new(200));
        let talking = self
            .calls
            .get(leg)
            .is_some_and(|c| matches!(c.phase, Phase::Up | Phase::Answered));
        if talking {
            self.cx.tell(SipEvent::Digit { leg, digit });
        }
    }

    /// Call control ends a leg.
    pub(crate) fn end(&mut self, leg: LegId, cause: Cause) {
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        match call.phase {
            Phase::Offered(_) => self.refuse(leg, cause),
            Phase::Dialing(_) | Phase::Calling(_) => self.give_up(leg, cause),
            Phase::Up => self.hang_up(leg, cause),
            Phase::Closing => {}
            Phase::Answered => {
                call.phase = Phase::Closing;
                call.wake.stop();
                call.talk = None;
                if std::mem::take(&mut call.has_media) {
                    self.cx.media(Command::Close { leg });
                }
            }
        }
    }

    /// Sends BYE and forgets the call.
    pub(crate) fn hang_up(&mut self, leg: LegId, cause: Cause) {
        if let Some(mut dialog) = self.forget(leg) {
            self.bye(&mut dialog, cause);
        }
    }

    fn forget(&mut self, leg: LegId) -> Option<Dialog> {
        let call = self.calls.remove(leg)?;
        if call.has_media {
            self.cx.media(Command::Close { leg });
        }
        call.dialog
    }

    pub(crate) fn bye(&mut self, dialog: &mut Dialog, cause: Cause) {
        let cseq = dialog.next_cseq();
        let branch = self.cx.random();
        let route = dialog.route();
        let headers = message_builder::reason_header(cause);
        let mut request = dialog.request(Method::Bye, cseq, branch, &route);
        request.headers = &headers;
        self.clients
            .request(&mut self.cx, dialog.flow, Owner::Orphan, &request);
    }

    /// Sets the call's own timer by its session timer.
    pub(crate) fn arm(&mut self, leg: LegId) {
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        if let Some(timer) = &call.timer {
            call.wake.set(&mut self.cx, timer.due, TimerId::Call(leg));
        }
    }

    pub(crate) fn arm_in(&mut self, leg: LegId, after: Duration) {
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let at = self.cx.now.mono + after;
        call.wake.set(&mut self.cx, at, TimerId::Call(leg));
    }
}

/// `Signal=5`, on a line of its own.
fn relayed_digit(body: &str) -> Option<char> {
    body.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        if key.trim().eq_ignore_ascii_case("signal") {
            digit_of(value)
        } else {
            None
        }
    })
}

fn digit_of(text: &str) -> Option<char> {
    let text = text.trim();
    match text {
        "10" => return Some('*'),
        "11" => return Some('#'),
        _ => {}
    }
    let mut chars = text.chars().map(|c| c.to_ascii_uppercase());
    let digit = chars
        .next()
        .filter(|c| matches!(c, '0'..='9' | '*' | '#' | 'A'..='D'))?;
    chars.next().is_none().then_some(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_two_forms() {
        assert_eq!(relayed_digit("Signal=5\r\nDuration=160\r\n"), Some('5'));
        assert_eq!(relayed_digit("Duration=160\r\nSignal= #\r\n"), Some('#'));
        assert_eq!(relayed_digit("Duration=160\r\n"), None);
        assert_eq!(
            (digit_of(" 7\r\n"), digit_of("a"), digit_of("11")),
            (Some('7'), Some('A'), Some('#'))
        );
        assert_eq!(
            (digit_of("77"), digit_of(""), digit_of("x")),
            (None, None, None)
        );
    }
}
