//! A phone as a caller, and what it asks for within a call.
//!
//! Sources: RFC 3261 §9.1 (CANCEL), §13.2 (INVITE and its ACK), §14.1 (re-INVITE), §15.1.1 (BYE).

use tandem_storage::time::Time;

use super::super::phone::{Act, Draft, Phone, Purpose, Voice};
use super::super::sip::Message;
use super::State;

impl Phone {
    pub(in crate::world) fn on_progress(&mut self, now: Time, id: &str, message: &Message) {
        let Some(at) = self.find(id) else { return };
        let fresh = !std::mem::replace(&mut self.calls[at].rings, true);
        if fresh && self.calls[at].gives_up {
            self.cancel(now, at);
        }
        if message.status() == Some(183) {
            self.calls[at].hear(message);
        }
    }

    /// RFC 3261 §9.1: only once something was heard.
    pub(super) fn cancel(&mut self, now: Time, at: usize) {
        let call = &self.calls[at];
        let Some((branch, invite)) = call.invite.clone().filter(|_| call.rings) else {
            return;
        };
        let purpose = Purpose::Call(call.id.clone());
        let draft = Draft {
            method: "CANCEL",
            extra: Vec::new(),
            body: String::new(),
            ..invite
        };
        self.send_as(now, purpose, draft, &branch);
    }

    pub(in crate::world) fn sent_again(&mut self, id: &str, branch: String, draft: Draft) {
        if let Some(at) = self.find(id) {
            self.calls[at].invite = Some((branch, draft));
            self.calls[at].rings = false;
        }
    }

    pub(in crate::world) fn on_final(
        &mut self,
        now: Time,
        status: u16,
        id: &str,
        draft: &Draft,
        message: &Message,
    ) {
        let Some(at) = self.find(id) else { return };
        match (draft.method, status) {
            ("INVITE", 200..300) => self.on_answered(now, at, draft, message),
            ("INVITE", _) if self.calls[at].state == State::Calling => {
                self.counts.refused += 1;
                self.drop_call(at);
            }
            ("INVITE", 408 | 481) => self.bye(now, at),
            ("BYE", _) => self.drop_call(at),
            _ => {}
        }
    }

    pub(super) fn on_answered(&mut self, now: Time, at: usize, invite: &Draft, message: &Message) {
        let is_first = self.calls[at].state == State::Calling;
        let call = &mut self.calls[at];
        call.hear(message);
        call.to = message.must("To").to_owned();
        call.target = message.contact().expect("a Contact in a 2xx").to_owned();
        let mut ack = call.draft("ACK", invite.cseq);
        if invite.body.is_empty() {
            assert!(message.media().is_some(), "no offer in {message:?}");
            ack.body = call.sdp("sendrecv");
        }
        self.acknowledge(&ack, message);
        if is_first {
            let call = &mut self.calls[at];
            call.state = State::Up;
            call.plan_on(now);
            let (rtp, gives_up) = (call.rtp, call.gives_up);
            self.counts.connected += 1;
            self.acts.push_back(Act::Air(rtp, Some(Voice::Speech)));
            if gives_up || !self.busy_day {
                self.bye(now, at);
            }
        }
    }

    pub(super) fn acknowledge(&mut self, ack: &Draft, message: &Message) {
        let branch = format!("z9hG4bK{}", self.name("a"));
        let bytes = self.write(ack, &branch);
        self.acts.push_back(Act::Send(bytes.clone()));
        self.keep_ack(message, bytes);
    }

    /// RFC 3261 §17.1.1.3.
    pub(in crate::world) fn ack_refusal(
        &mut self,
        invite: &Draft,
        message: &Message,
        branch: &str,
    ) {
        let to = message.must("To").to_owned();
        let ack = Draft {
            method: "ACK",
            to,
            extra: Vec::new(),
            body: String::new(),
            ..invite.clone()
        };
        let bytes = self.write(&ack, branch);
        self.acts.push_back(Act::Send(bytes.clone()));
        self.keep_ack(message, bytes);
    }

    pub(in crate::world) fn call_timed_out(&mut self, now: Time, id: &str, draft: &Draft) {
        let Some(at) = self.find(id) else { return };
        match draft.method {
            "INVITE" if self.calls[at].state == State::Calling => self.drop_call(at),
            "INVITE" | "INFO" | "REFER" => self.bye(now, at),
            "BYE" => self.drop_call(at),
            _ => {}
        }
    }

    pub(super) fn bye(&mut self, now: Time, at: usize) {
        let cseq = self.next_serial();
        let call = &mut self.calls[at];
        if call.state == State::Ending {
            return;
        }
        call.state = State::Ending;
        (call.next, call.repeat) = (None, None);
        let (draft, rtp) = (call.draft("BYE", cseq), call.rtp);
        let purpose = Purpose::Call(call.id.clone());
        self.acts.push_back(Act::Air(rtp, None));
        self.send(now, purpose, draft);
    }

    pub(super) fn offer(&mut self, now: Time, at: usize, direction: &str) {
        let cseq = self.next_serial();
        let call = &mut self.calls[at];
        call.version += 1;
        let mut draft = call.draft("INVITE", cseq);
        draft.body = call.sdp(direction);
        let purpose = Purpose::Call(call.id.clone());
        self.send(now, purpose, draft);
    }

    /// RFC 3515: the other party is to be connected with somebody else.
    pub(super) fn refer(&mut self, now: Time, at: usize, to: u8) {
        const NUMBERS: [&str; 8] = ["101", "102", "103", "104", "600", "68", "*101", "999"];
        let number = NUMBERS[usize::from(to) % NUMBERS.len()];
        let cseq = self.next_serial();
        let call = &self.calls[at];
        let mut draft = call.draft("REFER", cseq);
        draft.extra.push(format!("Refer-To: <sip:{number}@tandem>"));
        let purpose = Purpose::Call(call.id.clone());
        self.send(now, purpose, draft);
    }

    pub(super) fn info(&mut self, now: Time, at: usize, digit: char) {
        let cseq = self.next_serial();
        let call = &self.calls[at];
        let mut draft = call.draft("INFO", cseq);
        draft
            .extra
            .push("Content-Type: application/dtmf-relay".into());
        draft.body = format!("Signal={digit}\r\nDuration=160\r\n");
        let purpose = Purpose::Call(call.id.clone());
        self.send(now, purpose, draft);
    }
}
