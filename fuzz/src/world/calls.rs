//! A phone's calls: made, taken, refused, held, ended, or left to their fate.
//!
//! What its user does comes as a plan, drawn beforehand (`story.rs`): steps with pauses between
//! them. Everything else here is RFC 3261 as a plain phone does it (§13, §14, §15, §9).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tandem_storage::time::Time;

use super::phone::{Act, Draft, PATIENCE, Phone, Purpose, T1, Voice};
use super::sip::{self, Message};
use super::story;

const CALLS_MAX: usize = 2;
const T2: Duration = Duration::from_secs(4);

/// What a user does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Lets it be known that it rings.
    Ring,
    /// Takes the call.
    Answer,
    /// Refuses it with this status.
    Refuse(u16),
    /// Gives up before it was answered.
    Cancel,
    /// Speaks, or falls silent.
    Talk(Voice),
    /// Presses a key: in the media, or in signalling.
    Press(char),
    /// The same by SIP INFO.
    Info(char),
    /// Puts the other on hold.
    Hold,
    /// Takes it back.
    Resume,
    /// Hangs up.
    Bye,
    /// The power is cut.
    Vanish,
}

/// Steps, each with the time to wait before it.
pub(super) type Plan = VecDeque<(Duration, Step)>;

/// One call.
pub(super) struct Call {
    pub(super) id: String,
    /// Where its user listens.
    pub(super) rtp: SocketAddr,
    pub(super) state: State,
    /// When it became known here.
    pub(super) began: Time,
    plan: Plan,
    next: Option<Time>,
    /// Tag of ours, and both addresses as they go into a request of ours.
    tag: String,
    from: String,
    to: String,
    target: String,
    node_port: Option<u16>,
    codecs: Vec<u8>,
    version: u32,
    /// Our INVITE: its branch and what it said.
    invite: Option<(String, Draft)>,
    rings: bool,
    gives_up: bool,
    /// The node's INVITE, to be answered.
    asked: Option<Message>,
    last: Option<Vec<u8>>,
    repeat: Option<Repeat>,
}

/// A final answer that is repeated until it is acknowledged (RFC 3261 §13.3.1.4, §17.2.1).
struct Repeat {
    bytes: Vec<u8>,
    at: Time,
    wait: Duration,
    until: Time,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// We call.
    Calling,
    /// We are called.
    Called,
    /// Two sides are connected.
    Up,
    /// We refused, and say so until it is acknowledged.
    Refusing,
    /// We hung up.
    Ending,
}

impl Call {
    /// It rings, and the node has been told so.
    pub(super) fn is_ringing(&self) -> bool {
        self.state == State::Called && self.last.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let repeat = self.repeat.as_ref().map(|r| r.at.min(r.until));
        repeat.into_iter().chain(self.next).min()
    }

    /// Sets out for the next step of the plan.
    fn plan_on(&mut self, now: Time) {
        self.next = self.plan.front().map(|(wait, _)| now + *wait);
    }

    fn draft(&self, method: &'static str, cseq: u32) -> Draft {
        Draft {
            method,
            uri: self.target.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            call_id: self.id.clone(),
            cseq,
            extra: Vec::new(),
            body: String::new(),
        }
    }

    fn sdp(&self, direction: &str) -> String {
        sip::sdp(self.rtp, self.version, &self.codecs, direction)
    }

    fn hear(&mut self, message: &Message) {
        if let Some(media) = message.media() {
            self.node_port = Some(media.port).filter(|p| *p != 0);
        }
    }
}

impl Phone {
    /// Its user dials.
    pub(super) fn dial(&mut self, now: Time, number: &str, plan: Plan, rng: &mut ChaCha8Rng) {
        if !self.is_there() || self.calls.len() >= CALLS_MAX {
            return;
        }
        self.counts.called += 1;
        let id = self.name("call");
        let tag = self.name("t");
        let mut call = self.call(now, id, tag, plan, rng);
        call.target = format!("sip:{number}@tandem");
        call.from = format!(
            "\"{0}\" <sip:{0}@tandem>;tag={1}",
            self.who.extension, call.tag
        );
        call.to = format!("<sip:{number}@tandem>");
        let mut draft = call.draft("INVITE", self.next_serial());
        if !rng.random_ratio(1, 8) {
            draft.body = call.sdp("sendrecv");
        }
        if matches!(call.plan.front(), Some((_, Step::Cancel))) {
            call.plan_on(now);
        }
        let branch = self.send(now, Purpose::Call(call.id.clone()), draft.clone());
        call.invite = Some((branch, draft));
        self.calls.push(call);
    }

    /// The day is over: no calls from here on, and none go on.
    pub(super) fn evening(&mut self, now: Time) {
        self.busy_day = false;
        for at in 0..self.calls.len() {
            let step = match self.calls[at].state {
                State::Calling => Step::Cancel,
                State::Called => Step::Refuse(486),
                State::Up => Step::Bye,
                State::Refusing | State::Ending => continue,
            };
            self.calls[at].plan = Plan::from([(Duration::ZERO, step)]);
            self.calls[at].next = Some(now);
        }
    }

    pub(super) fn tick_calls(&mut self, now: Time, rng: &mut ChaCha8Rng) {
        for at in (0..self.calls.len()).rev() {
            self.repeat(now, at);
            let due = self
                .calls
                .get(at)
                .is_some_and(|c| c.next.is_some_and(|next| next <= now));
            if due && let Some((_, step)) = self.calls[at].plan.pop_front() {
                self.calls[at].plan_on(now);
                if self.step(now, at, step, rng) {
                    return;
                }
            }
        }
    }

    /// Does a step of the plan. True: there are no calls any more.
    fn step(&mut self, now: Time, at: usize, step: Step, rng: &mut ChaCha8Rng) -> bool {
        let call = &mut self.calls[at];
        match (step, call.state) {
            (Step::Vanish, _) => {
                self.vanish(now + Duration::from_secs(rng.random_range(30..240)));
                return true;
            }
            (Step::Ring, State::Called) => self.reply(now, at, 180, false),
            (Step::Answer, State::Called) => self.reply(now, at, 200, true),
            (Step::Refuse(status), State::Called) => self.reply(now, at, status, false),
            (Step::Cancel, State::Calling) => {
                call.gives_up = true;
                self.cancel(now, at);
            }
            (Step::Talk(voice), State::Up) => self.acts.push_back(Act::Air(call.rtp, Some(voice))),
            (Step::Press(digit), State::Up) => {
                self.acts
                    .extend(call.node_port.map(|port| Act::Press(port, digit)));
            }
            (Step::Info(digit), State::Up) => self.info(now, at, digit),
            (Step::Hold, State::Up) => self.offer(now, at, "sendonly"),
            (Step::Resume, State::Up) => self.offer(now, at, "sendrecv"),
            (Step::Bye, State::Up) => self.bye(now, at),
            _ => {}
        }
        false
    }

    fn call(
        &mut self,
        now: Time,
        id: String,
        tag: String,
        plan: Plan,
        rng: &mut ChaCha8Rng,
    ) -> Call {
        let port = 20_000 + 2 * (self.next_serial() % 10_000) as u16;
        let codecs = [vec![0, 8], vec![8, 0], vec![0], vec![8]];
        Call {
            id,
            rtp: SocketAddr::new(self.who.address.ip(), port),
            state: State::Calling,
            began: now,
            plan,
            next: None,
            tag,
            from: String::new(),
            to: String::new(),
            target: String::new(),
            node_port: None,
            codecs: codecs[rng.random_range(0..codecs.len())].clone(),
            version: 1,
            invite: None,
            rings: false,
            gives_up: false,
            asked: None,
            last: None,
            repeat: None,
        }
    }

    fn find(&self, id: &str) -> Option<usize> {
        self.calls.iter().position(|c| c.id == id)
    }

    fn drop_call(&mut self, at: usize) {
        let call = self.calls.swap_remove(at);
        self.acts.push_back(Act::Air(call.rtp, None));
    }
}

/// As a caller, and within a call.
impl Phone {
    pub(super) fn on_progress(&mut self, now: Time, id: &str, message: &Message) {
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
    fn cancel(&mut self, now: Time, at: usize) {
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

    pub(super) fn sent_again(&mut self, id: &str, branch: String, draft: Draft) {
        if let Some(at) = self.find(id) {
            self.calls[at].invite = Some((branch, draft));
            self.calls[at].rings = false;
        }
    }

    pub(super) fn on_final(
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

    fn on_answered(&mut self, now: Time, at: usize, invite: &Draft, message: &Message) {
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

    fn acknowledge(&mut self, ack: &Draft, message: &Message) {
        let branch = format!("z9hG4bK{}", self.name("a"));
        let bytes = self.write(ack, &branch);
        self.acts.push_back(Act::Send(bytes.clone()));
        self.keep_ack(message, bytes);
    }

    /// RFC 3261 §17.1.1.3.
    pub(super) fn ack_refusal(&mut self, invite: &Draft, message: &Message, branch: &str) {
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

    pub(super) fn call_timed_out(&mut self, now: Time, id: &str, draft: &Draft) {
        let Some(at) = self.find(id) else { return };
        match draft.method {
            "INVITE" if self.calls[at].state == State::Calling => self.drop_call(at),
            "INVITE" | "INFO" => self.bye(now, at),
            "BYE" => self.drop_call(at),
            _ => {}
        }
    }

    fn bye(&mut self, now: Time, at: usize) {
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

    fn offer(&mut self, now: Time, at: usize, direction: &str) {
        let cseq = self.next_serial();
        let call = &mut self.calls[at];
        call.version += 1;
        let mut draft = call.draft("INVITE", cseq);
        draft.body = call.sdp(direction);
        let purpose = Purpose::Call(call.id.clone());
        self.send(now, purpose, draft);
    }

    fn info(&mut self, now: Time, at: usize, digit: char) {
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

/// As the one who is called, or asked within a call.
impl Phone {
    pub(super) fn on_call(&mut self, now: Time, message: &Message, rng: &mut ChaCha8Rng) {
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

    fn on_invite(&mut self, now: Time, message: &Message, rng: &mut ChaCha8Rng) {
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
    fn on_invite_again(&mut self, now: Time, at: usize, message: &Message) {
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
    fn reply(&mut self, now: Time, at: usize, status: u16, with_sdp: bool) {
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

    fn repeat(&mut self, now: Time, at: usize) {
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

    fn on_ack(&mut self, now: Time, at: usize, message: &Message) {
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
