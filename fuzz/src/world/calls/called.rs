//! A phone as the one who is called, or asked within a call.
//!
//! Sources: RFC 3261 §9.2 (CANCEL), §13.3 (answering), §14.2 (re-INVITE), §17.2.1 (what is repeated).

use rand_chacha::ChaCha8Rng;
use tandem_storage::time::Time;

use super::super::phone::{Act, PATIENCE, Phone, T1, Voice};
use super::super::sip::{self, Message};
use super::super::story;
use super::{CALLS_MAX, Repeat, State, T2};

impl Phone {
    pub(in crate::world) fn on_call(&mut self, now: Time, message: &Message, rng: &mut ChaCha8Rng) {
        let at = self.find(message.must("Call-ID"));
        match (message.method(), at) {
            ("INVITE", None) if message.tag("To").is_none() => self.on_invite(now, message, rng),
            ("INVITE", Some(at)) => self.on_invite_again(now, at, message),
            ("ACK", Some(at)) => self.on_ack(now, at, message),
            ("ACK", None) => {}
            (_, None) => self.answer(message, 481, "", ""),
            ("BYE", Some(at)) => {
                self.answer(message, 200, "", "");
                self.drop_call(at);
            }
            ("CANCEL", Some(at)) => {
                self.answer(message, 200, "", "");
                if self.calls[at].state == State::Called {
                    self.reply(now, at, 487, false);
                }
            }
            ("UPDATE", Some(at)) if !message.body.is_empty() => {
                self.calls[at].hear(message);
                let body = self.calls[at].sdp("sendrecv");
                self.answer(message, 200, "", &body);
            }
            (_, Some(_)) => self.answer(message, 200, "", ""),
        }
    }

    pub(super) fn on_invite(&mut self, now: Time, message: &Message, rng: &mut ChaCha8Rng) {
        let (id, tag) = (message.must("Call-ID").to_owned(), self.name("t"));
        if self.calls.len() >= CALLS_MAX || !self.busy_day {
            return self.answer(message, 486, &tag, "");
        }
        let plan = story::called(rng);
        let mut call = self.call(now, id, tag, plan, rng);
        call.state = State::Called;
        call.from = format!("{};tag={}", message.must("To"), call.tag);
        call.to = message.must("From").to_owned();
        call.target = message
            .contact()
            .expect("a Contact in an INVITE")
            .to_owned();
        call.asked = Some(message.clone());
        call.hear(message);
        call.plan_on(now);
        self.calls.push(call);
    }

    /// A repeated INVITE, or one within the call.
    pub(super) fn on_invite_again(&mut self, now: Time, at: usize, message: &Message) {
        let call = &mut self.calls[at];
        let asked = call.asked.as_ref().map(Message::cseq);
        if asked == Some(message.cseq()) {
            let last = call.last.clone();
            return self.acts.extend(last.map(Act::Send));
        }
        if call.state != State::Up || call.repeat.is_some() {
            return self.answer(message, 491, "", "");
        }
        call.asked = Some(message.clone());
        call.hear(message);
        self.reply(now, at, 200, true);
    }

    /// Answers the node's INVITE; a final answer is repeated until it is acknowledged.
    pub(super) fn reply(&mut self, now: Time, at: usize, status: u16, with_sdp: bool) {
        let contact = format!("Contact: <sip:{}@{}>", self.who.extension, self.who.address);
        let call = &mut self.calls[at];
        let Some(asked) = &call.asked else { return };
        let body = if with_sdp {
            call.sdp("sendrecv")
        } else {
            String::new()
        };
        let bytes = sip::response(asked, status, &call.tag, &[contact], &body);
        call.last = Some(bytes.clone());
        let asked = (status >= 200).then(|| asked.clone());
        if status >= 200 {
            let (at, until) = (now + T1, now + PATIENCE);
            call.repeat = Some(Repeat {
                bytes: bytes.clone(),
                at,
                wait: T1,
                until,
            });
            if status >= 300 && call.state == State::Called {
                call.state = State::Refusing;
                call.next = None;
            }
        }
        if status == 200 && call.state == State::Called {
            call.state = State::Up;
            let rtp = call.rtp;
            self.counts.connected += 1;
            self.acts.push_back(Act::Air(rtp, Some(Voice::Speech)));
        }
        if let Some(asked) = asked {
            self.keep_answer(&asked, bytes.clone());
        }
        self.acts.push_back(Act::Send(bytes));
    }

    pub(super) fn repeat(&mut self, now: Time, at: usize) {
        let call = &mut self.calls[at];
        let Some(repeat) = &mut call.repeat else {
            return;
        };
        if repeat.until <= now {
            call.repeat = None;
            match call.state {
                State::Refusing => self.drop_call(at),
                _ => self.bye(now, at),
            }
        } else if repeat.at <= now {
            repeat.wait = (repeat.wait * 2).min(T2);
            repeat.at = now + repeat.wait;
            let bytes = repeat.bytes.clone();
            self.acts.push_back(Act::Send(bytes));
        }
    }

    pub(super) fn on_ack(&mut self, now: Time, at: usize, message: &Message) {
        let call = &mut self.calls[at];
        if call
            .asked
            .as_ref()
            .is_none_or(|asked| asked.cseq().0 != message.cseq().0)
        {
            return;
        }
        call.repeat = None;
        call.hear(message);
        match call.state {
            State::Refusing => self.drop_call(at),
            State::Up if !self.busy_day => self.bye(now, at),
            _ => {}
        }
    }
}
