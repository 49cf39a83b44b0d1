//! Provisional responses that are certain to arrive: 100rel and PRACK (RFC 3262).
//!
//! To a caller who takes it, 180 and 183 are numbered (RSeq), said again until a PRACK names that number
//! (RAck), and only then followed by the next one. What call control wants meanwhile waits here: of several
//! wishes the last one counts, and an answer, once wanted, waits only for a description that is not
//! confirmed. A phone's 18x that asks for it is confirmed by a PRACK within its early dialog, in order and
//! once; what comes out of order is as if it had not come.
//!
//! Invariants: one of ours is unconfirmed at a time, for 64*T1 at most; then the call is refused. At most
//! [`EARLY_MAX`] early dialogs of one phone's INVITE are known.

use std::time::Duration;

use tandem_engine::seam::{Command, LegId};
use tandem_pbx::seam::{Cause, SipEvent};
use tandem_storage::time::Time;

use crate::call::{Fork, Phase};
use crate::client_transactions::{Owner, TransactionEvent};
use crate::context::{T1, T1_64, TimerId};
use crate::incoming::{read_description, read_offer};
use crate::message::{Message, Method, Name};
use crate::message_builder::Answer;
use crate::outgoing::dialog_of;
use crate::sdp::Session;
use crate::server_transactions::ServerId;
use crate::shim::Shim;
use crate::uri::NameAddr;

/// The most early dialogs of one INVITE: phones behind one proxy.
const EARLY_MAX: usize = 8;
/// The most responses that are confirmed within one early dialog.
pub(crate) const PRACKS_MAX: u32 = 32;

/// The reliable provisional responses of a call that came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reliable {
    /// The caller takes nothing else.
    pub(crate) is_required: bool,
    /// The number of the INVITE.
    invite_cseq: u32,
    /// The number of the last one; the first is chosen at random.
    rseq: u32,
    unconfirmed: Option<Unconfirmed>,
    /// What call control wants said when that is confirmed.
    wish: Option<Wish>,
}

/// A provisional response that no PRACK has named.
#[derive(Clone, Copy, Debug)]
struct Unconfirmed {
    has_description: bool,
    interval: Duration,
    again_at: Time,
    gives_up: Time,
}

/// What waits for a PRACK.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish {
    Ring,
    Progress(Option<LegId>),
    Answer(Option<LegId>),
}

/// An early dialog of a call that goes out (RFC 3261 §12.1).
#[derive(Debug)]
pub(crate) struct Early {
    /// Its To tag.
    tag: Box<str>,
    /// The RSeq that was confirmed last.
    rseq: u32,
    /// The CSeq of our last request in it.
    pub(crate) cseq: u32,
    /// The answer that came with a reliable response.
    pub(crate) answer: Option<Session>,
}

impl Reliable {
    /// `None`: the caller does not know of it.
    pub(crate) fn of(invite: &Message, random: u64) -> Option<Reliable> {
        let is_required = invite.lists(Name::Require, "100rel");
        if !is_required && !invite.lists(Name::Supported, "100rel") {
            return None;
        }
        Some(Reliable {
            is_required,
            invite_cseq: invite.cseq().map_or(0, |(number, ..)| number),
            // RFC 3262 §3: between 1 and 2^31 - 1, and there is to be room above it.
            rseq: (random % (1 << 30)) as u32,
            unconfirmed: None,
            wish: None,
        })
    }

    /// The next response's headers. Call [`Shim::sent_reliably`] when it is sent.
    pub(crate) fn headers(&self) -> String {
        format!("Require: 100rel\r\nRSeq: {}\r\n", self.rseq + 1)
    }
}

impl Early {
    /// The early dialog with this To tag.
    pub(crate) fn find<'a>(fork: &'a Fork, tag: &str) -> Option<&'a Early> {
        fork.early.iter().find(|early| *early.tag == *tag)
    }
}

impl Shim {
    /// May this be said now? Else it is said when what was said before has been confirmed.
    pub(crate) fn may_say(&mut self, leg: LegId, wish: Wish) -> bool {
        let reliable = self.calls.get_mut(leg).and_then(|c| c.reliable.as_mut());
        let Some(reliable) = reliable else {
            return true;
        };
        let waits = match (reliable.unconfirmed, wish) {
            (None, _) => false,
            // RFC 3262 §3: a 2xx may not overtake a description that is not confirmed.
            (Some(before), Wish::Answer(_)) => before.has_description,
            (Some(_), _) => true,
        };
        if !waits {
            return true;
        }
        let is_answer = matches!(reliable.wish, Some(Wish::Answer(_)));
        if !is_answer {
            reliable.wish = Some(wish);
        }
        false
    }

    /// A reliable response was sent.
    pub(crate) fn sent_reliably(&mut self, leg: LegId, has_description: bool) {
        let reliable = self.calls.get_mut(leg).and_then(|c| c.reliable.as_mut());
        let Some(reliable) = reliable else {
            return;
        };
        reliable.rseq += 1;
        let now = self.cx.now.mono;
        reliable.unconfirmed = Some(Unconfirmed {
            has_description,
            interval: T1,
            again_at: now + T1,
            gives_up: now + T1_64,
        });
        self.cx.alarm_in(T1, TimerId::Provisional(leg));
    }

    /// A reliable response has not been confirmed for a while: it is said again, or the call refused.
    pub(crate) fn on_provisional_due(&mut self, leg: LegId) {
        let now = self.cx.now.mono;
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        // RFC 3262 §3: after a final response it is not said again, though its PRACK may still come.
        let Phase::Offered(invite) = &call.phase else {
            return;
        };
        let server = invite.server;
        let pending = call.reliable.as_mut().and_then(|r| r.unconfirmed.as_mut());
        let Some(pending) = pending.filter(|pending| pending.again_at <= now) else {
            return;
        };
        if now >= pending.gives_up {
            return self.unheard(leg);
        }
        pending.interval *= 2;
        pending.again_at = (now + pending.interval).min(pending.gives_up);
        let after = pending.again_at.since(now);
        self.cx.alarm_in(after, TimerId::Provisional(leg));
        self.servers.repeat(&mut self.cx, server);
    }

    /// The caller confirms nothing: it cannot hear us.
    fn unheard(&mut self, leg: LegId) {
        let Some(call) = self.calls.remove(leg) else {
            return;
        };
        if let Phase::Offered(invite) = &call.phase {
            let answer = Answer::new(504).tag(call.tag);
            self.servers
                .respond(&mut self.cx, invite.server, &invite.request, &answer);
        }
        if call.has_media {
            self.cx.media(Command::Close { leg });
        }
        let cause = Cause::MediaTimeout;
        self.cx.counters.sessions_vanished += 1;
        self.cx.tell(SipEvent::Ended { leg, cause });
    }

    /// A PRACK within a call that came in.
    pub(crate) fn on_prack(&mut self, server: ServerId, leg: LegId, request: &Message) {
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let named = request.header(Name::RAck).and_then(read_rack);
        let reliable = call.reliable.as_mut().zip(named);
        let confirmed = reliable.and_then(|(reliable, (rseq, cseq))| {
            let is_it = rseq == reliable.rseq && cseq == reliable.invite_cseq;
            is_it.then(|| reliable.unconfirmed.take()).flatten()
        });
        if confirmed.is_none() {
            return self.reply(server, request, &Answer::new(481));
        }
        let wish = call.reliable.as_mut().and_then(|r| r.wish.take());
        if !self.answer_prack(server, leg, request) {
            return;
        }
        match wish {
            Some(Wish::Ring) => self.ring(leg),
            Some(Wish::Progress(like)) => self.progress(leg, like),
            Some(Wish::Answer(like)) => self.answer(leg, like),
            None => {}
        }
    }

    /// RFC 3262 §5: a PRACK may hold an offer of its own once an answer has been given.
    fn answer_prack(&mut self, server: ServerId, leg: LegId, request: &Message) -> bool {
        let offer = match read_offer(request, &self.cx.config) {
            Ok(offer) => offer,
            Err(answer) => {
                self.reply(server, request, &answer);
                return true;
            }
        };
        let Some(offer) = offer else {
            self.reply(server, request, &Answer::new(200));
            return true;
        };
        let Some(talk) = self.calls.get_mut(leg).and_then(|c| c.talk.as_mut()) else {
            return false;
        };
        if talk.agreed.is_none() {
            self.reply(server, request, &Answer::new(488));
            return true;
        }
        let (before, was_held) = (talk.agreed.clone(), talk.held);
        let text = talk.answer(&offer, &talk.preference());
        let (agreed, held) = (talk.agreed.clone(), talk.held);
        let answer = Answer::new(if text.is_some() { 200 } else { 488 });
        let answer = text.as_deref().map_or(answer, |text| answer.sdp(text));
        self.reply(server, request, &answer);
        self.changed(leg, before, agreed, was_held, held);
        true
    }

    /// A provisional response of a phone. If it is to be confirmed, it is. False: it is out of order, or
    /// came before, and says nothing.
    pub(crate) fn is_new(
        &mut self,
        leg: LegId,
        index: usize,
        heard: &TransactionEvent,
        response: &Message,
    ) -> bool {
        let asks = response.lists(Name::Require, "100rel");
        let Some(rseq) = response.number(Name::RSeq).filter(|_| asks) else {
            return true;
        };
        let to = response.header(Name::To).and_then(NameAddr::parse);
        let tag = to.as_ref().and_then(NameAddr::tag);
        let Some(call) = self.calls.get_mut(leg) else {
            return true;
        };
        let (Phase::Calling(out), Some(tag)) = (&mut call.phase, tag) else {
            return true;
        };
        let Some(fork) = out.forks.get_mut(index) else {
            return true;
        };
        let (behind_nat, invite_cseq) = (fork.behind_nat, fork.cseq);
        let known = fork.early.iter().position(|early| *early.tag == *tag);
        let at = match known {
            // Any number may be the first (RFC 3262 §4).
            None if fork.early.len() < EARLY_MAX => {
                fork.early.push(Early {
                    tag: tag.into(),
                    rseq: rseq.wrapping_sub(1),
                    cseq: invite_cseq,
                    answer: None,
                });
                fork.early.len() - 1
            }
            None => return false,
            Some(at) => at,
        };
        let early = &mut fork.early[at];
        let is_next = rseq == early.rseq.wrapping_add(1);
        if !is_next || early.cseq - invite_cseq >= PRACKS_MAX {
            return false;
        }
        let Some(dialog) = dialog_of(heard, response, behind_nat) else {
            return false;
        };
        early.rseq = rseq;
        early.cseq += 1;
        let cseq = early.cseq;
        early.answer = read_description(response).or(early.answer.take());
        let headers = format!("RAck: {rseq} {invite_cseq} INVITE\r\n");
        let branch = self.cx.random();
        let route = dialog.route();
        let mut request = dialog.request(Method::Prack, cseq, branch, &route);
        request.headers = &headers;
        self.clients
            .request(&mut self.cx, dialog.flow, Owner::Orphan, &request);
        true
    }
}

/// `RAck: 776656 1 INVITE`: which response of which INVITE.
fn read_rack(value: &str) -> Option<(u32, u32)> {
    let mut parts = value.split_ascii_whitespace();
    let rseq = parts.next()?.parse().ok()?;
    let cseq = parts.next()?.parse().ok()?;
    (parts.next()? == "INVITE" && parts.next().is_none()).then_some((rseq, cseq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rack_names_one_response_of_one_invite() {
        assert_eq!(read_rack("776656 1 INVITE"), Some((776_656, 1)));
        assert_eq!(read_rack(" 1\t2  INVITE "), Some((1, 2)));
        for bad in [
            "",
            "1",
            "1 2",
            "1 2 BYE",
            "1 2 INVITE 3",
            "-1 2 INVITE",
            "1 x INVITE",
        ] {
            assert_eq!(read_rack(bad), None, "{bad}");
        }
    }
}
