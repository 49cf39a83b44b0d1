//! Calls that go out: all phones of a user at once, the first to answer wins; or a number behind a host.
//!
//! Each phone gets an INVITE of its own (own Call-ID and tag), so that none knows of the others.
//! The call rings when one of them does. It is answered by the first 2xx; the others are
//! cancelled, and hung up should they have answered meanwhile. A 6xx of one phone speaks for the
//! user and ends the call (RFC 3261 §16.7, step 5); other refusals only end that phone's part.
//! When all have refused, the call ends with the cause that says most about the user:
//! busy, declined, no answer, and then what went wrong.
//!
//! A host's challenges are answered (`client_digest`), its redirections are not followed: a call goes where
//! call control says and nowhere else. What it shows of the caller is the number the host knows us by.

use std::fmt::Write as _;

use tandem_engine::seam::{Command, Learning, LegId};
use tandem_pbx::seam::{AddressTarget, AddressTransport, Caller, Cause, SipEvent, Target};

use crate::call::{Fork, Out, Phase};
use crate::caller::{address, caller_address, encoded};
use crate::client_digest::Proofs;
use crate::client_transactions::{Outcome, Owner, TransactionEvent, Why};
use crate::context::ShimContext;
use crate::dialog::Dialog;
use crate::history;
use crate::incoming::read_description;
use crate::message::{Message, Method, Name};
use crate::message_builder::{self, ALLOW, Request};
use crate::offer_answer::MediaNegotiation;
use crate::reliable::{Early, PRACKS_MAX};
use crate::sdp::Session;
use crate::session::{self, SessionTimer};
use crate::shim::{Shim, ShimOutput};
use crate::uri::{NameAddr, Uri, split_list};
use crate::wire::{Flow, Transport};

impl Shim {
    pub(crate) fn call(&mut self, leg: LegId, out: Out) {
        let now = self.cx.now.mono;
        let has_phone = match &out.target {
            Target::User(user) => self
                .registrar
                .user(*user)
                .is_some_and(|u| u.phones(now).next().is_some()),
            Target::Address(_) => true,
        };
        let room = self.calls.len() < self.cx.config.dialogs_max;
        if !has_phone || !room {
            let cause = if room {
                Cause::NotRegistered
            } else {
                Cause::Congestion
            };
            self.cx.counters.calls_refused_full += u64::from(!room);
            return self.cx.tell(SipEvent::Ended { leg, cause });
        }
        self.calls.begin_out(leg, out);
        self.cx.outputs.push_back(ShimOutput::OpenMedia { leg });
    }

    /// The media port is open: calls every phone.
    pub(crate) fn dial(&mut self, leg: LegId) {
        let Some(Phase::Calling(out)) = self.calls.get(leg).map(|c| &c.phase) else {
            return;
        };
        let like = out
            .like
            .and_then(|l| self.calls.get(l))
            .and_then(|c| c.talk.as_ref());
        let first = like.map(MediaNegotiation::preference).unwrap_or_default();
        let now = self.cx.now.mono;
        let forks: Vec<Fork> = match &out.target {
            Target::User(user) => match self.registrar.user(*user) {
                Some(user) => user
                    .phones(now)
                    .map(|b| Fork {
                        behind_nat: b.behind_nat,
                        path: b.path.clone(),
                        ..Fork::new(&mut self.cx, b.target(), b.contact.clone())
                    })
                    .collect(),
                None => Vec::new(),
            },
            Target::Address(to) => {
                let flow = Flow {
                    transport: match to.transport {
                        AddressTransport::Udp => Transport::Udp,
                        AddressTransport::Tcp => Transport::Tcp,
                    },
                    peer: to.peer,
                    connection: 0,
                };
                vec![Fork::new(&mut self.cx, flow, uri_of(to).into())]
            }
        };
        let count = forks.len();
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let Phase::Calling(out) = &mut call.phase else {
            return;
        };
        out.forks = forks;
        if let Some(talk) = &mut call.talk {
            talk.offer(&first);
        }
        self.cx.counters.calls_out += count as u64;
        for index in 0..count {
            self.invite(leg, index);
        }
        if count == 0 {
            self.all_failed(leg);
        }
    }

    fn invite(&mut self, leg: LegId, index: usize) {
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let (Phase::Calling(out), Some(talk)) = (&mut call.phase, &call.talk) else {
            return;
        };
        let Some(fork) = out.forks.get_mut(index) else {
            return;
        };
        let (extension, to) = match &out.target {
            Target::User(user) => {
                let user = self.registrar.user(*user);
                let extension = user.map(|u| u.sip.extension.clone()).unwrap_or_default();
                let to = format!("<sip:{}@{}>", encoded(&extension), self.cx.host);
                (extension, to)
            }
            Target::Address(to) => (to.number.clone(), format!("<{}>", uri_of(to))),
        };
        let (address, asserted) = addresses(&self.cx, &out.target, &out.caller);
        let from = format!("{address};tag={:016x}", fork.tag);
        let mut headers = message_builder::contact(&self.cx, &fork.flow);
        // Writing to a String cannot fail.
        if out.caller.is_withheld {
            headers.push_str("Privacy: id\r\n");
        }
        if let Some(asserted) = asserted {
            let _ = write!(headers, "P-Asserted-Identity: {asserted}\r\n");
        }
        headers.push_str(ALLOW);
        if let Target::Address(to) = &out.target
            && let Some(login) = &to.login
        {
            let proofs = &mut fork.proofs;
            headers.push_str(&proofs.headers(&mut self.cx, login, "INVITE", &fork.contact));
        }
        if out.auto_answer {
            // What Polycom, Yealink, Snom and Grandstream phones understand (RFC 5373, and Call-Info).
            let host = &self.cx.host;
            let _ = write!(
                headers,
                "Call-Info: <sip:{host}>;answer-after=0\r\nAlert-Info: <http://{host}>;info=alert-autoanswer\r\n\
                 Answer-Mode: Auto\r\n"
            );
        }
        headers.push_str(&history::headers(&self.cx, &out.history, &extension));
        let interval_s = self.cx.config.session_expires_s;
        let min_se_s = fork.min_se_s.unwrap_or(self.cx.config.min_se_s);
        headers.push_str(&session::invite_headers(&self.cx, interval_s, min_se_s));
        let text = talk.again();
        let request = Request {
            method: Method::Invite,
            uri: &fork.contact,
            branch: fork.branch,
            from: &from,
            to: &to,
            call_id: &fork.call_id,
            cseq: fork.cseq,
            routes: &fork.path,
            headers: &headers,
            body: Some(("application/sdp", text.as_bytes())),
        };
        self.clients.request(
            &mut self.cx,
            fork.flow,
            Owner::Fork { leg, index },
            &request,
        );
    }

    pub(crate) fn on_fork_heard(
        &mut self,
        leg: LegId,
        index: usize,
        heard: &TransactionEvent,
        response: Option<&Message>,
    ) {
        if let (Outcome::Response(101..200), Some(response)) = (heard.outcome, response)
            && !self.is_new(leg, index, heard, response)
        {
            return;
        }
        match (heard.outcome, response) {
            (Outcome::Response(100), _) => {}
            // RFC 3960 §3.1: 180 means that the caller's own phone is to make the ringing.
            (Outcome::Response(183), Some(response)) if !response.body().is_empty() => {
                self.progress_heard(leg, heard, response);
            }
            (Outcome::Response(..200), _) => self.ringing(leg),
            (Outcome::Response(..300), Some(response)) => {
                self.accepted(leg, index, heard, response)
            }
            (Outcome::Response(300..=302 | 305), Some(response)) if self.is_to_user(leg) => {
                self.redirected(leg, index, response);
            }
            (Outcome::Response(401 | 407), Some(response)) if !self.is_to_user(leg) => {
                self.challenged(leg, index, response);
            }
            (Outcome::Response(422), Some(response)) => self.ask_longer(leg, index, response),
            (Outcome::Response(status), _) => {
                self.failed(leg, index, cause_of(status), status >= 600)
            }
            (Outcome::Timeout | Outcome::Unreachable, _) => {
                let cause = match self.is_to_user(leg) {
                    true => Cause::NoAnswer,
                    false => Cause::Failed,
                };
                self.failed(leg, index, cause, false);
            }
        }
    }

    fn is_to_user(&self, leg: LegId) -> bool {
        let call = self.calls.get(leg);
        !call.is_some_and(|call| match &call.phase {
            Phase::Calling(out) => matches!(out.target, Target::Address(_)),
            _ => false,
        })
    }

    /// The host wants to know who we are (RFC 3261 §22.2).
    fn challenged(&mut self, leg: LegId, index: usize, response: &Message) {
        let branch = self.cx.random();
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let Phase::Calling(out) = &mut call.phase else {
            return;
        };
        let Some(fork) = out.forks.get_mut(index) else {
            return;
        };
        let has_login = matches!(&out.target, Target::Address(to) if to.login.is_some());
        if !has_login || !fork.proofs.take(response) {
            self.cx.counters.logins_refused += 1;
            return self.failed(leg, index, Cause::Forbidden, false);
        }
        self.cx.counters.challenges_answered += 1;
        fork.again(branch);
        self.invite(leg, index);
    }

    /// A provisional response with a description: the caller may hear what the phone, or the network
    /// before it, says. With several phones nobody knows whom to hear, so it only rings.
    fn progress_heard(&mut self, leg: LegId, heard: &TransactionEvent, response: &Message) {
        let answer = read_description(response);
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let (Phase::Calling(out), Some(talk), Some(answer)) = (&call.phase, &mut call.talk, answer)
        else {
            return self.ringing(leg);
        };
        let [fork] = &out.forks[..] else {
            return self.ringing(leg);
        };
        talk.learning = Learning::from_host(heard.flow.peer.ip(), fork.behind_nat);
        let before = talk.agreed.clone();
        if !talk.accept(&answer) {
            return self.ringing(leg);
        }
        let Some(params) = talk.agreed.clone() else {
            return;
        };
        if before.as_ref() != Some(&params) {
            self.cx.media(Command::Set { leg, params });
        }
        if before.is_none() {
            self.cx.tell(SipEvent::Progress { leg });
        }
    }

    /// The phone's own forwarding: the call leaves this user, all its phones with it.
    fn redirected(&mut self, leg: LegId, index: usize, response: &Message) {
        let contact = response.headers(Name::Contact).flat_map(split_list).next();
        let address = contact.and_then(NameAddr::parse);
        let number = address.and_then(|a| Uri::parse(a.uri)?.number());
        let fits = |n: &std::borrow::Cow<'_, str>| {
            (1..=64).contains(&n.chars().count()) && !n.chars().any(char::is_control)
        };
        let Some(to) = number.filter(fits) else {
            return self.failed(leg, index, Cause::Failed, false);
        };
        let Some(Phase::Calling(out)) = self.calls.get(leg).map(|c| &c.phase) else {
            return;
        };
        for branch in out.losers(index).collect::<Vec<_>>() {
            self.clients.abandon(&mut self.cx, branch, Why::GivenUp);
        }
        self.calls.remove(leg);
        self.cx.media(Command::Close { leg });
        self.cx.tell(SipEvent::Redirected {
            leg,
            to: to.as_ref().into(),
        });
    }

    fn ringing(&mut self, leg: LegId) {
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let Phase::Calling(out) = &mut call.phase else {
            return;
        };
        if !std::mem::replace(&mut out.ringing, true) {
            self.cx.tell(SipEvent::Ringing { leg });
        }
    }

    /// The first 2xx: this phone has the call.
    fn accepted(&mut self, leg: LegId, index: usize, heard: &TransactionEvent, response: &Message) {
        let Some(call) = self.calls.get_mut(leg) else {
            return self.hang_up_orphan(heard, response);
        };
        let Phase::Calling(out) = &mut call.phase else {
            return self.hang_up_orphan(heard, response);
        };
        let nat = out.forks.get(index).is_some_and(|f| f.behind_nat);
        let Some(mut dialog) = dialog_of(heard, response, nat) else {
            return self.failed(leg, index, Cause::Failed, false);
        };
        let fork = out.forks.get(index);
        let early = fork.and_then(|fork| Early::find(fork, &dialog.remote_tag));
        let said = early.and_then(|early| early.answer.clone());
        dialog.local_cseq = early.map_or(dialog.local_cseq, |early| early.cseq);
        let others: Vec<u64> = out.losers(index).collect();
        let learning = dialog.learning();
        let tag = dialog.local_tag;
        self.acknowledge(heard, &dialog, response);
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        call.dialog = Some(dialog);
        call.phase = Phase::Up;
        call.takes_update = response.lists(Name::Allow, "UPDATE");
        call.timer = Some(SessionTimer::for_response(&self.cx, response));
        if let Some(talk) = &mut call.talk {
            talk.learning = learning;
        }
        self.calls.name(leg, tag);
        for branch in others {
            self.clients
                .abandon(&mut self.cx, branch, Why::AnsweredElsewhere);
        }
        self.talk_begins(leg, response, said);
    }

    /// `said`: the answer that came with an earlier response, reliably.
    fn talk_begins(&mut self, leg: LegId, response: &Message, said: Option<Session>) {
        let answer = read_description(response).or(said);
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        // RFC 3261 §13.2.1: the description may have come with a reliable or earlier response only.
        let talk = call.talk.as_mut();
        let agreed = talk.and_then(|talk| match &answer {
            Some(answer) => talk.accept(answer).then(|| talk.agreed.clone())?,
            None => talk.agreed.clone(),
        });
        let Some(params) = agreed else {
            self.hang_up(leg, Cause::NotAcceptable);
            return self.cx.tell(SipEvent::Ended {
                leg,
                cause: Cause::NotAcceptable,
            });
        };
        self.arm(leg);
        let codec = params.codec;
        self.cx.media(Command::Set { leg, params });
        self.cx.tell(SipEvent::Answered { leg, codec });
    }

    /// RFC 4028 §7.3: a proxy on the way wants a longer session. Once is enough.
    fn ask_longer(&mut self, leg: LegId, index: usize, response: &Message) {
        let min_se_s = response.number(Name::MinSe).unwrap_or(0);
        let branch = self.cx.random();
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let Phase::Calling(out) = &mut call.phase else {
            return;
        };
        let Some(fork) = out.forks.get_mut(index) else {
            return;
        };
        if fork.min_se_s.is_some() || !(1..=86_400).contains(&min_se_s) {
            return self.failed(leg, index, Cause::Failed, false);
        }
        fork.min_se_s = Some(min_se_s);
        fork.again(branch);
        self.invite(leg, index);
    }

    fn failed(&mut self, leg: LegId, index: usize, cause: Cause, for_all: bool) {
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let Phase::Calling(out) = &mut call.phase else {
            return;
        };
        if let Some(fork) = out.forks.get_mut(index) {
            fork.failed = Some(cause);
        }
        if for_all {
            let others: Vec<u64> = out.losers(index).collect();
            for fork in &mut out.forks {
                fork.failed.get_or_insert(cause);
            }
            for branch in others {
                self.clients.abandon(&mut self.cx, branch, Why::GivenUp);
            }
        }
        self.all_failed(leg);
    }

    /// Ends the call if no phone is left.
    fn all_failed(&mut self, leg: LegId) {
        let Some(Phase::Calling(out)) = self.calls.get(leg).map(|c| &c.phase) else {
            return;
        };
        if out.forks.iter().any(|f| f.failed.is_none()) {
            return;
        }
        let causes = out.forks.iter().filter_map(|f| f.failed);
        let cause = causes
            .min_by_key(|c| rank(*c))
            .unwrap_or(Cause::NotRegistered);
        self.calls.remove(leg);
        self.cx.media(Command::Close { leg });
        self.cx.tell(SipEvent::Ended { leg, cause });
    }

    /// Call control gives up before anyone has answered.
    pub(crate) fn give_up(&mut self, leg: LegId, cause: Cause) {
        let Some(call) = self.calls.remove(leg) else {
            return;
        };
        let why = match cause {
            Cause::AnsweredElsewhere => Why::AnsweredElsewhere,
            _ => Why::GivenUp,
        };
        if let Phase::Calling(out) | Phase::Dialing(out) = &call.phase {
            for fork in out.forks.iter().filter(|f| f.failed.is_none()) {
                self.clients.abandon(&mut self.cx, fork.branch, why);
            }
        }
        if call.has_media {
            self.cx.media(Command::Close { leg });
        }
    }

    /// Sends the ACK of a 2xx and keeps it for when that 2xx comes again.
    pub(crate) fn acknowledge(
        &mut self,
        heard: &TransactionEvent,
        dialog: &Dialog,
        response: &Message,
    ) {
        let cseq = response.cseq().map_or(1, |(n, _, _)| n);
        let branch = self.cx.random();
        let route = dialog.route();
        let proofs = proofs_in(&heard.request);
        let ack = Request {
            headers: &proofs,
            ..dialog.request(Method::Ack, cseq, branch, &route)
        };
        let ack = ack.write(&self.cx, &dialog.flow);
        self.clients.acknowledge(
            &mut self.cx,
            heard.branch,
            &dialog.remote_tag,
            dialog.flow,
            ack,
        );
    }

    /// A phone accepted a call that is no longer wanted: confirm, then hang up (RFC 3261
    /// §13.2.2.4).
    pub(crate) fn hang_up_orphan(&mut self, heard: &TransactionEvent, response: &Message) {
        let Some(mut dialog) = dialog_of(heard, response, true) else {
            return;
        };
        self.acknowledge(heard, &dialog, response);
        // PRACKs within it may have had numbers, of which nothing is known any more.
        dialog.local_cseq += PRACKS_MAX;
        self.bye(&mut dialog, Cause::Cancelled);
    }
}

impl Fork {
    fn new(cx: &mut ShimContext, flow: Flow, contact: Box<str>) -> Fork {
        Fork {
            branch: cx.random(),
            flow,
            behind_nat: false,
            contact,
            path: Vec::new(),
            tag: cx.random(),
            call_id: format!("{:016x}", cx.random()).into(),
            cseq: 1,
            min_se_s: None,
            proofs: Proofs::default(),
            early: Vec::new(),
            failed: None,
        }
    }

    /// Its INVITE goes out once more, as another transaction (RFC 3261 §8.1.3.5).
    fn again(&mut self, branch: u64) {
        self.cseq += 1;
        self.early.clear();
        self.branch = branch;
    }
}

/// The address of a number behind a host.
fn uri_of(to: &AddressTarget) -> String {
    let params = match to.transport {
        AddressTransport::Udp => "",
        AddressTransport::Tcp => ";transport=tcp",
    };
    format!("sip:{}@{}{params}", encoded(&to.number), to.peer)
}

/// Who is named in From, and who is asserted (RFC 3325): to a user's phones the caller, unless it is
/// withheld; to a host the number it knows us by, which it is told even then, with Privacy.
fn addresses(cx: &ShimContext, target: &Target, caller: &Caller) -> (String, Option<String>) {
    let own = caller_address(cx, caller);
    let identity = match target {
        Target::User(_) => None,
        Target::Address(to) => to.identity.as_ref(),
    };
    let known = identity.map(|number| address(cx, number, "", ""));
    match (known, caller.is_withheld) {
        (known, true) => (own, known),
        (Some(known), false) => (known.clone(), Some(known)),
        (None, false) => (own.clone(), Some(own)),
    }
}

/// RFC 3261 §22.1: the ACK repeats the credentials of its INVITE, of which this is the text.
fn proofs_in(invite: &[u8]) -> String {
    let text = std::str::from_utf8(invite).unwrap_or_default();
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let is_proof =
        |l: &&str| l.starts_with("Authorization: ") || l.starts_with("Proxy-Authorization: ");
    let mut proofs = String::new();
    for line in head.split("\r\n").filter(is_proof) {
        proofs.push_str(line);
        proofs.push_str("\r\n");
    }
    proofs
}

impl Out {
    /// The phones other than one that have not refused.
    fn losers(&self, index: usize) -> impl Iterator<Item = u64> {
        let open = self
            .forks
            .iter()
            .enumerate()
            .filter(move |(i, f)| *i != index && f.failed.is_none());
        open.map(|(_, f)| f.branch)
    }
}

pub(crate) fn dialog_of(
    heard: &TransactionEvent,
    response: &Message,
    behind_nat: bool,
) -> Option<Dialog> {
    let (request, _) = Message::parse(&heard.request).ok()?;
    NameAddr::parse(response.header(Name::To)?)?;
    Dialog::from_response(&request, response, flow_of(heard), behind_nat)
}

/// Answers came back the way the request went.
fn flow_of(heard: &TransactionEvent) -> Flow {
    heard.flow
}

/// What a phone's refusal says.
fn cause_of(status: u16) -> Cause {
    match status {
        486 | 600 => Cause::Busy,
        603 | 607 | 608 => Cause::Declined,
        408 | 480 | 487 => Cause::NoAnswer,
        404 | 410 | 484 | 604 => Cause::NoSuchNumber,
        403 => Cause::Forbidden,
        415 | 488 | 606 => Cause::NotAcceptable,
        503 => Cause::Congestion,
        _ => Cause::Failed,
    }
}

/// Which cause speaks for the user when phones differ; lowest first.
fn rank(cause: Cause) -> u8 {
    match cause {
        Cause::Busy => 0,
        Cause::Declined => 1,
        Cause::NoAnswer => 2,
        Cause::NotAcceptable => 3,
        Cause::Congestion => 4,
        _ => 5,
    }
}
