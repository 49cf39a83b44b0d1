//! Calls that come in, from their INVITE to its ACK.
//!
//! Handed an INVITE outside any dialog; hands on [`SipEvent::Incoming`], and [`SipEvent::Confirmed`] on
//! the ACK. A media port is opened when call control wants the caller to hear something: who is refused
//! costs none. Sources: RFC 3261 §13.3, RFC 3264, RFC 4028 §9.

use tandem_engine::seam::{Codec, Command, LegId};
use tandem_pbx::seam::{Cause, SipEvent};

use crate::body;
use crate::call::{Invite, Phase, Unconfirmed, Wants};
use crate::caller::{caller_by_trunk, dialed};
use crate::config::{ShimConfig, Trusted};
use crate::dialog::Dialog;
use crate::history;
use crate::message::{Message, Method, Name};
use crate::message_builder::{self, ALLOW, Answer};
use crate::offer_answer::{self, MediaNegotiation};
use crate::reliable::{Reliable, Wish};
use crate::sdp::{self, Session};
use crate::server_transactions::ServerId;
use crate::session::SessionTimer;
use crate::shim::{Shim, ShimOutput};
use crate::uri::NameAddr;
use crate::wire::Flow;

impl Shim {
    pub(crate) fn on_invite(&mut self, server: ServerId, flow: Flow, request: Message) {
        let origin = self.origin(&request);
        if self.calls.is_merged(origin) {
            return self.reply(server, &request, &Answer::new(482));
        }
        if self.calls.len() >= self.cx.config.dialogs_max {
            return self.refuse_full(server, &request);
        }
        let trunk = self.cx.trunk_of(&flow, &request);
        let caller = match trunk {
            Some(_) => Some(caller_by_trunk(&request)),
            None => self.caller(server, flow, &request),
        };
        let Some(caller) = caller else {
            return;
        };
        let user_max = self.cx.config.calls_per_user_max;
        if caller
            .user
            .is_some_and(|user| self.calls.made_by(user) >= user_max)
        {
            return self.refuse_full(server, &request);
        }
        let Some(dialed) = dialed(&request) else {
            return self.reply(server, &request, &Answer::new(404));
        };
        let offer = match read_offer(&request, &self.cx.config) {
            Ok(offer) => offer,
            Err(answer) => return self.reply(server, &request, &answer),
        };
        let timer = match SessionTimer::for_request(&self.cx, &request) {
            Ok(timer) => timer,
            Err(_) => {
                let headers = format!("Min-SE: {}\r\n", self.cx.config.min_se_s);
                return self.reply(server, &request, &Answer::new(422).headers(&headers));
            }
        };
        let replaces = match self.takes_over(&request) {
            Ok(replaces) => replaces,
            Err(answer) => return self.reply(server, &request, &answer),
        };
        // A phone's word on it is not believed.
        let is_peer = |trusted: &Trusted| trusted.asserts_identity && caller.user.is_none();
        let is_peer = self.cx.trusted(&flow, &request).is_some_and(is_peer);
        let diversions = match is_peer || trunk.is_some() {
            true => history::read(&request),
            false => Vec::new(),
        };
        let tag = self.cx.random();
        let Some(dialog) = Dialog::from_request(&request, flow, tag) else {
            return self.reply(server, &request, &Answer::new(400).reason("Bad Contact"));
        };
        // Whoever is refused is told at once; only who has to wait is told so.
        //= RFC 3261 §17.2.1
        //# The server transaction MUST generate a 100 (Trying) response unless it knows that the TU
        //# will generate a provisional or final response within 200 ms, in which case it MAY
        //# generate a 100 (Trying) response.
        //= RFC 3261 §17.2.1
        //# The request MUST be passed to the TU.
        let trying = Answer::new(100);
        self.servers
            .respond(&mut self.cx, server, &request, &trying);
        let takes_update = request.lists(Name::Allow, "UPDATE");
        let reliable = Reliable::of(&request, self.cx.random());
        let invite = Invite {
            server,
            request,
            offer,
            caller,
            dialed,
        };
        let (caller, dialed) = (invite.caller.clone(), invite.dialed.clone());
        let mut talk = self.negotiation();
        talk.learning = dialog.learning();
        invite.offer.iter().for_each(|offer| talk.note(offer));
        let leg = self.calls.begin_in(invite, tag, origin);
        self.servers.belongs_to(server, leg);
        if let Some(call) = self.calls.get_mut(leg) {
            call.timer = Some(timer);
            call.takes_update = takes_update;
            call.reliable = reliable;
            call.dialog = Some(dialog);
            call.talk = Some(talk);
        }
        self.cx.counters.calls_in += 1;
        self.cx.tell(SipEvent::Incoming {
            leg,
            caller,
            dialed,
            replaces,
            diversions,
            trunk,
        });
    }

    /// What a leg's two ends are to agree on; it has no port yet.
    fn negotiation(&mut self) -> MediaNegotiation {
        let session_id = self.cx.random();
        MediaNegotiation::new(session_id, self.cx.config.advertise).speaking(&self.cx.config.codecs)
    }

    /// From tag, Call-ID and CSeq together are unique (RFC 3261 §8.2.2.2).
    fn origin(&self, request: &Message) -> u64 {
        let parts = (
            request.header_or_empty(Name::From),
            request.header_or_empty(Name::CallId),
            request.header_or_empty(Name::CSeq),
        );
        self.cx.keyed.number(parts)
    }

    fn refuse_full(&mut self, server: ServerId, request: &Message) {
        self.cx.counters.calls_refused_full += 1;
        let retry = self.retry_after();
        self.reply(server, request, &Answer::new(503).headers(&retry));
    }

    pub(crate) fn on_media_opened(&mut self, leg: LegId, port: Option<u16>) {
        let Some(call) = self.calls.get_mut(leg) else {
            if port.is_some() {
                self.cx.media(Command::Close { leg });
            }
            return;
        };
        let Some(port) = port else {
            return self.no_media(leg);
        };
        call.has_media = true;
        if let Some(talk) = &mut call.talk {
            talk.open(port);
        }
        match (call.wants.take(), &call.phase) {
            (Some(Wants::Progress(like)), _) => self.progress(leg, like),
            (Some(Wants::Answer(like)), _) => self.answer(leg, like),
            (None, Phase::Dialing(_)) => {
                let mut talk = self.negotiation();
                talk.open(port);
                self.calls.opened(leg, talk);
                self.dial(leg);
            }
            (None, _) => {}
        }
    }

    /// Every port is taken: the caller may try again, and call control hears of it.
    fn no_media(&mut self, leg: LegId) {
        self.cx.counters.calls_refused_full += 1;
        let Some(call) = self.calls.remove(leg) else {
            return;
        };
        if let Phase::Offered(invite) = call.phase {
            let retry = self.retry_after();
            let answer = Answer::new(503).headers(&retry).tag(call.tag);
            self.servers
                .respond(&mut self.cx, invite.server, &invite.request, &answer);
        }
        self.cx.tell(SipEvent::Ended {
            leg,
            cause: Cause::Congestion,
        });
    }

    /// The leg has a media port; else one is asked for, and what is wanted is done then.
    fn has_media(&mut self, leg: LegId, wants: Wants) -> bool {
        let Some(call) = self.calls.get_mut(leg) else {
            return false;
        };
        let can_wait = !call.has_media && matches!(call.phase, Phase::Offered(_));
        if can_wait && call.wants.replace(wants).is_none() {
            self.cx.outputs.push_back(ShimOutput::OpenMedia { leg });
        }
        call.has_media
    }

    pub(crate) fn ring(&mut self, leg: LegId) {
        let Some(call) = self.calls.get(leg) else {
            return;
        };
        let Phase::Offered(invite) = &call.phase else {
            return;
        };
        // RFC 3262 §5: the first reliable response to an INVITE without an offer holds one, and we make
        // ours when we answer.
        let reliable = call.reliable.filter(|_| invite.offer.is_some());
        let is_unsayable = call.reliable.is_some_and(|r| r.is_required) && reliable.is_none();
        if is_unsayable || !self.may_say(leg, Wish::Ring) {
            return;
        }
        let Some(call) = self.calls.get(leg) else {
            return;
        };
        let (Phase::Offered(invite), Some(dialog)) = (&call.phase, &call.dialog) else {
            return;
        };
        let mut headers = message_builder::contact(&self.cx, &dialog.flow);
        headers.push_str(&reliable.map(|r| r.headers()).unwrap_or_default());
        let answer = Answer::new(180).tag(call.tag).headers(&headers);
        self.servers
            .respond(&mut self.cx, invite.server, &invite.request, &answer);
        if reliable.is_some() {
            self.sent_reliably(leg, false);
        }
    }

    /// Lets the caller hear what it is bridged to before it is answered. Without an offer of its own there
    /// is nothing to answer yet, and it only rings.
    pub(crate) fn progress(&mut self, leg: LegId, like: Option<LegId>) {
        let call = self.calls.get(leg);
        let has_offer = call.is_some_and(
            |call| matches!(&call.phase, Phase::Offered(invite) if invite.offer.is_some()),
        );
        if !has_offer {
            return self.ring(leg);
        }
        if !self.has_media(leg, Wants::Progress(like)) || !self.may_say(leg, Wish::Progress(like)) {
            return;
        }
        let prefer = self.preference(like);
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let (Phase::Offered(invite), Some(talk), Some(dialog)) =
            (&call.phase, &mut call.talk, &call.dialog)
        else {
            return;
        };
        let reliable = call.reliable;
        let text = match &invite.offer {
            // What was answered and confirmed stands.
            Some(_) if reliable.is_some() && talk.agreed.is_some() => Some(talk.again()),
            Some(offer) => talk.answer(offer, &prefer),
            None => None,
        };
        let Some(text) = text else {
            return self.ring(leg);
        };
        let mut headers = message_builder::contact(&self.cx, &dialog.flow);
        headers.push_str(&reliable.map(|r| r.headers()).unwrap_or_default());
        let answer = Answer::new(183).tag(call.tag).headers(&headers).sdp(&text);
        self.servers
            .respond(&mut self.cx, invite.server, &invite.request, &answer);
        if let Some(params) = talk.agreed.clone() {
            self.cx.media(Command::Set { leg, params });
        }
        if reliable.is_some() {
            self.sent_reliably(leg, true);
        }
    }

    /// The codecs to prefer for the sake of another leg.
    fn preference(&self, like: Option<LegId>) -> Vec<Codec> {
        let like = like.and_then(|l| self.calls.get(l)?.talk.as_ref());
        like.map(MediaNegotiation::preference).unwrap_or_default()
    }

    pub(crate) fn answer(&mut self, leg: LegId, like: Option<LegId>) {
        if !self.has_media(leg, Wants::Answer(like)) || !self.may_say(leg, Wish::Answer(like)) {
            return;
        }
        let prefer = self.preference(like);
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let (Phase::Offered(invite), Some(talk), Some(timer), Some(dialog)) =
            (&call.phase, &mut call.talk, call.timer, &call.dialog)
        else {
            return;
        };
        let early = talk.agreed.is_some();
        let text = match &invite.offer {
            // What was confirmed is not said again.
            Some(_) if early && call.reliable.is_some() => Some(String::new()),
            // RFC 3261 §13.2.1: what was said early is said again.
            Some(_) if early => Some(talk.again()),
            Some(offer) => talk.answer(offer, &prefer),
            None => Some(talk.offer(&prefer)),
        };
        // An offer with nothing in common was refused when it came.
        let Some(text) = text else { return };
        let agreed = talk.agreed.clone();
        let timer = timer.restarted(&self.cx);
        let contact = message_builder::contact(&self.cx, &dialog.flow);
        let headers = format!("{contact}{ALLOW}{}", timer.response_headers());
        let answer = Answer::new(200).tag(call.tag).headers(&headers);
        let answer = match &*text {
            "" => answer,
            text => answer.sdp(text),
        };
        let (server, offered) = (invite.server, invite.offer.is_none());
        self.servers
            .respond(&mut self.cx, server, &invite.request, &answer);
        let cseq = invite.request.cseq().map_or(0, |(n, _, _)| n);
        call.unconfirmed = Some(Unconfirmed {
            server,
            cseq,
            offered,
            first: true,
        });
        call.timer = Some(timer);
        call.phase = Phase::Answered;
        if let Some(params) = agreed.filter(|_| !early) {
            self.cx.media(Command::Set { leg, params });
        }
        self.arm(leg);
    }

    /// Refuses a call that call control does not want.
    pub(crate) fn refuse(&mut self, leg: LegId, cause: Cause) {
        let Some(call) = self.calls.remove(leg) else {
            return;
        };
        if let Phase::Offered(invite) = &call.phase {
            let status = status_of(cause);
            let retry = if status == 503 {
                self.retry_after()
            } else {
                String::new()
            };
            let answer = Answer::new(status).tag(call.tag).headers(&retry);
            self.servers
                .respond(&mut self.cx, invite.server, &invite.request, &answer);
        }
        if call.has_media {
            self.cx.media(Command::Close { leg });
        }
    }

    /// The caller gave up before it was answered, or, says the request, was answered elsewhere.
    pub(crate) fn cancelled(&mut self, leg: LegId, request: &Message) {
        let reason = request.header_or_empty(Name::Reason);
        let elsewhere = reason.to_ascii_lowercase().replace(' ', "");
        let cause = match elsewhere.starts_with("sip;") && elsewhere.contains(";cause=200") {
            true => Cause::AnsweredElsewhere,
            false => Cause::Cancelled,
        };
        let known = self
            .calls
            .get(leg)
            .is_some_and(|c| matches!(c.phase, Phase::Offered(_)));
        self.refuse(leg, Cause::Cancelled);
        if known {
            self.cx.tell(SipEvent::Ended { leg, cause });
        }
    }

    pub(crate) fn on_ack(&mut self, ack: &Message) {
        if self.servers.ack_of_refusal(&mut self.cx, ack) {
            return;
        }
        let leg = self.dialog_of(ack);
        let cseq = ack.cseq().map_or(0, |(n, _, _)| n);
        let Some(call) = leg.and_then(|l| self.calls.get_mut(l)) else {
            self.cx.counters.strays += 1;
            return;
        };
        let Some(pending) = call.unconfirmed.take_if(|u| u.cseq == cseq) else {
            return;
        };
        let leg = call.leg;
        self.servers.confirmed(&mut self.cx, pending.server);
        if let Phase::Closing = call.phase {
            return self.hang_up(leg, Cause::Normal);
        }
        let answered = !pending.offered || self.take_answer(leg, ack);
        let codec = self
            .calls
            .get(leg)
            .and_then(|c| Some(c.talk.as_ref()?.agreed.as_ref()?.codec));
        let Some(codec) = codec.filter(|_| answered) else {
            self.hang_up(leg, Cause::NotAcceptable);
            return self.cx.tell(SipEvent::Ended {
                leg,
                cause: Cause::NotAcceptable,
            });
        };
        if pending.first {
            if let Some(call) = self.calls.get_mut(leg) {
                call.phase = Phase::Up;
            }
            self.cx.tell(SipEvent::Confirmed { leg, codec });
        }
    }

    /// Takes the answer to an offer of ours. `false`: there is none we can talk with.
    pub(crate) fn take_answer(&mut self, leg: LegId, message: &Message) -> bool {
        let Some(call) = self.calls.get_mut(leg) else {
            return false;
        };
        let (Some(talk), Some(answer)) = (&mut call.talk, read_description(message)) else {
            return false;
        };
        let (before, was_held) = (talk.agreed.clone(), talk.held);
        if !talk.accept(&answer) {
            return false;
        }
        let (agreed, held) = (talk.agreed.clone(), talk.held);
        self.changed(leg, before, agreed, was_held, held);
        true
    }

    /// The ACK of our 2xx never came (RFC 3261 §13.3.1.4).
    pub(crate) fn on_unconfirmed(&mut self, leg: LegId) {
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        call.unconfirmed = None;
        let known = !matches!(call.phase, Phase::Closing);
        self.hang_up(leg, Cause::MediaTimeout);
        if known {
            self.cx.counters.sessions_vanished += 1;
            self.cx.tell(SipEvent::Ended {
                leg,
                cause: Cause::MediaTimeout,
            });
        }
    }

    /// The call whose dialog a request names.
    pub(crate) fn dialog_of(&self, request: &Message) -> Option<LegId> {
        let to = request.header(Name::To).and_then(NameAddr::parse)?;
        let leg = self
            .calls
            .by_tag(u64::from_str_radix(to.tag()?, 16).ok()?)?;
        let dialog = self.calls.get(leg)?.dialog.as_ref()?;
        dialog.owns(request).then_some(leg)
    }
}

/// The offer in an INVITE, if it has one; or why it is refused.
pub(crate) fn read_offer(
    request: &Message,
    config: &ShimConfig,
) -> Result<Option<Session>, Answer<'static>> {
    let Ok(body) = body::description(request) else {
        return Err(Answer::new(415).headers(body::ACCEPT));
    };
    let Some(body) = body else {
        return Ok(None);
    };
    match sdp::parse(body) {
        Ok(offer) if offer_answer::is_usable(&offer, &config.codecs, config.advertise) => {
            Ok(Some(offer))
        }
        Ok(_) if request.method() == Method::Ack => Ok(None),
        Ok(_) => Err(Answer::new(488)),
        Err(_) => Err(Answer::new(400).reason("Bad Session Description")),
    }
}

/// The description in a response or an ACK, if there is one that can be read.
pub(crate) fn read_description(message: &Message) -> Option<Session> {
    let body = body::description(message).ok()??;
    sdp::parse(body).ok()
}

/// How a call is refused.
pub(crate) fn status_of(cause: Cause) -> u16 {
    match cause {
        Cause::Busy => 486,
        Cause::Declined => 603,
        Cause::Cancelled | Cause::AnsweredElsewhere => 487,
        Cause::NoSuchNumber => 404,
        Cause::Forbidden => 403,
        Cause::NotAcceptable => 488,
        Cause::Congestion | Cause::ShuttingDown => 503,
        Cause::Failed => 500,
        Cause::Normal | Cause::NoAnswer | Cause::NotRegistered | Cause::MediaTimeout => 480,
    }
}
