//! A phone's calls: made, taken, refused, held, ended, or left to their fate.
//!
//! What its user does comes as a plan, drawn beforehand (`story.rs`): steps with pauses between
//! them. Everything else here is RFC 3261 as a plain phone does it (§13, §14, §15, §9).

mod called;
mod caller;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tandem_storage::time::Time;

use super::phone::{Act, Draft, Phone, Purpose, Voice};
use super::sip::{self, Message};

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
    /// Asks for the other to be connected with this one of the others, or with a number that leads
    /// elsewhere.
    Refer(u8),
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
            (Step::Refer(to), State::Up) => self.refer(now, at, to),
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
