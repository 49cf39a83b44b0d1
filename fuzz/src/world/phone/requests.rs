//! A phone's requests and answers: sent, repeated, matched, acknowledged.
//!
//! Sources: RFC 3261 §17.1 (what the sender repeats), §17.2 (what the answerer does), §13.2.2.4.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tandem_storage::time::Time;

use super::super::sip::{self, Message};
use super::{ANSWERED_MAX, Act, Draft, PATIENCE, Pending, Phone, Purpose, T1, T2};

impl Phone {
    /// Sends a request and repeats it until it is answered. Returns its branch.
    pub(in crate::world) fn send(&mut self, now: Time, purpose: Purpose, draft: Draft) -> String {
        let branch = format!("z9hG4bK{}", self.name("b"));
        self.send_as(now, purpose, draft, &branch);
        branch
    }

    /// The same with a given branch: a CANCEL has that of its INVITE.
    pub(in crate::world) fn send_as(
        &mut self,
        now: Time,
        purpose: Purpose,
        draft: Draft,
        branch: &str,
    ) {
        let bytes = self.write(&draft, branch);
        self.acts.push_back(Act::Send(bytes.clone()));
        self.pending.push(Pending {
            branch: branch.to_owned(),
            draft,
            purpose,
            bytes,
            resend: Some((now + T1, T1)),
            until: now + PATIENCE,
            tries: 0,
        });
    }

    /// A request's text.
    pub(in crate::world) fn write(&self, draft: &Draft, branch: &str) -> Vec<u8> {
        let (address, extension) = (self.who.address, &self.who.extension);
        let mut lines = vec![
            format!("Via: SIP/2.0/UDP {address};branch={branch};rport"),
            "Max-Forwards: 70".into(),
            format!("From: {}", draft.from),
            format!("To: {}", draft.to),
            format!("Call-ID: {}", draft.call_id),
            format!("CSeq: {} {}", draft.cseq, draft.method),
            format!("Contact: <sip:{extension}@{address}>"),
        ];
        lines.extend_from_slice(&draft.extra);
        sip::request(draft.method, &draft.uri, &lines, &draft.body)
    }

    pub(super) fn resend(&mut self, now: Time) {
        for pending in &mut self.pending {
            if let Some((at, wait)) = pending.resend.filter(|(at, _)| *at <= now) {
                self.acts.push_back(Act::Send(pending.bytes.clone()));
                let wait = (wait * 2).min(T2);
                pending.resend = Some((at.max(now) + wait, wait));
            }
        }
        let given_up: Vec<Pending> = self.pending.extract_if(.., |p| p.until <= now).collect();
        for pending in given_up {
            match pending.purpose {
                Purpose::Register => self.register_later(now),
                Purpose::Subscribe => self.subscribe_anew(now),
                Purpose::Call(id) => self.call_timed_out(now, &id, &pending.draft),
            }
        }
    }

    pub(super) fn on_response(
        &mut self,
        now: Time,
        status: u16,
        message: &Message,
        rng: &mut ChaCha8Rng,
    ) {
        let (branch, method) = (message.branch(), message.cseq().1);
        let answered = |p: &Pending| p.branch == branch && p.draft.method == method;
        let Some(at) = self.pending.iter().position(answered) else {
            return self.repeat_ack(message);
        };
        if status < 200 {
            return self.on_provisional(now, at, message);
        }
        let Pending {
            draft,
            purpose,
            tries,
            ..
        } = self.pending.remove(at);
        if status >= 300 && method == "INVITE" {
            self.ack_refusal(&draft, message, branch);
        }
        if status == 401 && tries < 3 && !self.who.password.is_empty() {
            return self.send_again(now, purpose, draft, message, tries, rng);
        }
        match purpose {
            Purpose::Register => self.on_registered(now, status, &draft),
            Purpose::Subscribe => self.on_subscribed(now, status, message),
            Purpose::Call(id) => self.on_final(now, status, &id, &draft, message),
        }
    }

    pub(super) fn on_provisional(&mut self, now: Time, at: usize, message: &Message) {
        let pending = &mut self.pending[at];
        if pending.draft.method == "INVITE" {
            (pending.resend, pending.until) = (None, now + Duration::from_secs(240));
            if let Purpose::Call(id) = pending.purpose.clone() {
                self.on_progress(now, &id, message);
            }
        }
    }

    /// The same again, with the password.
    pub(super) fn send_again(
        &mut self,
        now: Time,
        purpose: Purpose,
        mut draft: Draft,
        message: &Message,
        tries: u8,
        rng: &mut ChaCha8Rng,
    ) {
        let challenges: Vec<&str> = message.all("WWW-Authenticate").collect();
        assert!(
            !challenges.is_empty(),
            "a 401 without a challenge: {message:?}"
        );
        let challenge = challenges[rng.random_range(0..challenges.len())];
        draft
            .extra
            .retain(|line| !line.starts_with("Authorization"));
        draft.extra.push(sip::authorization(
            challenge,
            draft.method,
            &draft.uri,
            &self.who.extension,
            &self.who.password,
        ));
        draft.cseq = self.next_serial();
        let branch = self.send(now, purpose.clone(), draft.clone());
        if let Some(pending) = self.pending.last_mut() {
            pending.tries = tries + 1;
        }
        if let Purpose::Call(id) = purpose {
            self.sent_again(&id, branch, draft);
        }
    }

    /// Answers, and will say the same if asked again.
    pub(in crate::world) fn answer(
        &mut self,
        request: &Message,
        status: u16,
        tag: &str,
        body: &str,
    ) {
        let contact = format!("Contact: <sip:{}@{}>", self.who.extension, self.who.address);
        let bytes = sip::response(request, status, tag, &[contact], body);
        self.acts.push_back(Act::Send(bytes.clone()));
        self.keep_answer(request, bytes);
    }

    /// The same request gets the same answer, also when the call has long gone.
    pub(in crate::world) fn keep_answer(&mut self, request: &Message, bytes: Vec<u8>) {
        let name = format!("{} {}", request.branch(), request.method());
        self.answered.push_back((name, bytes));
        if self.answered.len() > ANSWERED_MAX {
            self.answered.pop_front();
        }
    }

    /// An ACK is sent again whenever what it answers comes again (RFC 3261 §13.2.2.4, §17.1.1.2).
    pub(in crate::world) fn keep_ack(&mut self, answer: &Message, ack: Vec<u8>) {
        let name = format!("{} {}", answer.must("Call-ID"), answer.cseq().0);
        self.acks.push_back((name, ack));
        if self.acks.len() > ANSWERED_MAX {
            self.acks.pop_front();
        }
    }

    pub(super) fn repeat_ack(&mut self, message: &Message) {
        let name = format!("{} {}", message.must("Call-ID"), message.cseq().0);
        let is_final = message.status().is_some_and(|status| status >= 200);
        if is_final && message.cseq().1 == "INVITE" {
            let ack = self
                .acks
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, ack)| ack.clone());
            self.acts.extend(ack.map(Act::Send));
        }
    }
}
