//! A simulated phone: registers, watches its lamp, answers what it is asked.
//!
//! The world hands it datagrams and the time; out come datagrams, and what its user does to the
//! media (speaks, presses keys). It keeps RFC 3261's timers for requests it sends and finals it
//! must repeat (`phone/requests.rs`). Its calls are in `calls.rs`; what its user feels like is drawn
//! from the seed.

mod registration;
mod requests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tandem_storage::time::Time;

use super::calls::Call;
use super::sip::Message;

/// RFC 3261 §17.1.1.1.
pub(super) const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// After this a request is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(32);
/// Responses kept to be repeated when a request is.
const ANSWERED_MAX: usize = 64;
const EXPIRES_S: u64 = 120;

/// What a phone does to the outside.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// A datagram to the node.
    Send(Vec<u8>),
    /// Sound flows from this address, or no longer.
    Air(SocketAddr, Option<Voice>),
    /// A key is pressed, towards this port of the node.
    Press(u16, char),
}

/// What is heard on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// Somebody speaks.
    Speech,
    /// Packets of silence.
    Silence,
}

/// Who a phone is.
#[derive(Clone, Debug)]
pub(super) struct Who {
    /// What one dials.
    pub(super) extension: String,
    /// Its SIP password; empty: it never registers, as a gateway.
    pub(super) password: String,
    /// Its PIN.
    pub(super) pin: String,
    /// Its address.
    pub(super) address: SocketAddr,
    /// The node it belongs to.
    pub(super) site: usize,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Pending {
    branch: String,
    draft: Draft,
    purpose: Purpose,
    bytes: Vec<u8>,
    resend: Option<(Time, Duration)>,
    until: Time,
    tries: u8,
}

/// Why a request was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be reached.
    Register,
    /// To see the lamp.
    Subscribe,
    /// For the call with this Call-ID.
    Call(String),
}

/// What goes into a request besides the usual.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub(super) method: &'static str,
    pub(super) uri: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) call_id: String,
    pub(super) cseq: u32,
    pub(super) extra: Vec<String>,
    pub(super) body: String,
}

/// See the chapter above.
pub(super) struct Phone {
    pub(super) who: Who,
    pub(super) calls: Vec<Call>,
    pub(super) acts: VecDeque<Act>,
    /// What the last NOTIFY said: new, old, urgent new, urgent old.
    pub(super) lamp: Option<[u32; 4]>,
    /// What its lamp should show and does not, and since when that is known.
    pub(super) lamp_owed: Option<(Time, [u32; 4])>,
    pub(super) watches: bool,
    /// When the node last took its registration; `None`: it has none.
    pub(super) registered_at: Option<Time>,
    /// Its user makes and takes calls; else all there are are ended.
    pub(super) busy_day: bool,
    pub(super) counts: Counts,
    pending: Vec<Pending>,
    answered: VecDeque<(String, Vec<u8>)>,
    acks: VecDeque<(String, Vec<u8>)>,
    register_at: Option<Time>,
    subscribe_at: Option<Time>,
    subscription: Subscription,
    notified: Vec<(String, u32)>,
    gone_until: Option<Time>,
    /// When its power came back.
    pub(super) back_since: Time,
    retired: bool,
    register_id: String,
    serial: u32,
}

#[derive(Debug, Default)]
struct Subscription {
    call_id: String,
    tag: Option<String>,
    contact: Option<String>,
}

/// What a phone has lived through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) registered: u32,
    pub(super) notified: u32,
    pub(super) called: u32,
    pub(super) connected: u32,
    pub(super) refused: u32,
}

impl Phone {
    pub(super) fn new(who: Who, watches: bool, rng: &mut ChaCha8Rng) -> Phone {
        let first = Time(rng.random_range(1..3_000_000_000));
        // The users are known there first where they were written.
        let first = first + Duration::from_secs(if who.site > 0 { 3 } else { 0 });
        let registers = !who.password.is_empty();
        Phone {
            who,
            calls: Vec::new(),
            acts: VecDeque::new(),
            lamp: None,
            lamp_owed: None,
            watches,
            registered_at: None,
            busy_day: true,
            counts: Counts::default(),
            pending: Vec::new(),
            answered: VecDeque::new(),
            acks: VecDeque::new(),
            register_at: registers.then_some(first),
            subscribe_at: None,
            subscription: Subscription::default(),
            notified: Vec::new(),
            gone_until: None,
            back_since: Time(0),
            retired: false,
            register_id: String::new(),
            serial: 0,
        }
    }

    /// The next time at which it wants to be ticked.
    pub(super) fn deadline(&self) -> Option<Time> {
        if let Some(back) = self.gone_until {
            return Some(back);
        }
        let requests = self
            .pending
            .iter()
            .map(|p| p.resend.map_or(p.until, |(at, _)| at.min(p.until)));
        let calls = self.calls.iter().filter_map(Call::deadline);
        requests
            .chain(calls)
            .chain(self.register_at)
            .chain(self.subscribe_at)
            .min()
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Time, rng: &mut ChaCha8Rng) {
        if self.gone_until.is_some_and(|back| back <= now) {
            self.gone_until = None;
            self.back_since = now;
            self.register_at = (!self.who.password.is_empty()).then_some(now);
        }
        self.resend(now);
        if self.retired {
            (self.register_at, self.subscribe_at) = (None, None);
        }
        if self.register_at.is_some_and(|at| at <= now) {
            self.register_at = None;
            self.register(now, EXPIRES_S);
        }
        if self.subscribe_at.is_some_and(|at| at <= now) {
            self.subscribe_at = None;
            self.subscribe(now);
        }
        self.tick_calls(now, rng);
    }

    /// Takes a datagram.
    pub(super) fn handle(&mut self, now: Time, bytes: &[u8], rng: &mut ChaCha8Rng) {
        if self.gone_until.is_some() {
            return;
        }
        let message = Message::parse(bytes);
        match message.status() {
            Some(status) => self.on_response(now, status, &message, rng),
            None => self.on_request(now, &message, rng),
        }
    }

    /// The power is cut: everything is forgotten until then.
    pub(super) fn vanish(&mut self, until: Time) {
        for call in std::mem::take(&mut self.calls) {
            self.acts.push_back(Act::Air(call.rtp, None));
        }
        self.pending.clear();
        self.answered.clear();
        self.acks.clear();
        (self.register_at, self.subscribe_at) = (None, None);
        self.subscription = Subscription::default();
        self.register_id.clear();
        (self.registered_at, self.lamp, self.lamp_owed) = (None, None, None);
        self.notified.clear();
        self.gone_until = Some(until);
    }

    /// Is it switched on?
    pub(super) fn is_there(&self) -> bool {
        self.gone_until.is_none()
    }

    /// Takes its address off the node, and does not come back.
    pub(super) fn retire(&mut self, now: Time) {
        self.retired = true;
        if self.registered_at.is_some() {
            self.register(now, 0);
        }
    }

    /// No call is under way, or being ended.
    pub(super) fn is_quiet(&self) -> bool {
        let of_call = |p: &Pending| matches!(p.purpose, Purpose::Call(_));
        self.calls.is_empty() && !self.pending.iter().any(of_call)
    }

    /// What keeps it from being quiet, for people.
    pub(super) fn calls_left(&self) -> Vec<String> {
        let calls = self.calls.iter().map(|c| format!("{} {:?}", c.id, c.state));
        calls
            .chain(
                self.pending
                    .iter()
                    .map(|p| format!("{} {:?}", p.draft.method, p.purpose)),
            )
            .collect()
    }

    fn on_request(&mut self, now: Time, message: &Message, rng: &mut ChaCha8Rng) {
        let name = format!("{} {}", message.branch(), message.method());
        if let Some((_, bytes)) = self.answered.iter().find(|(n, _)| *n == name) {
            return self.acts.push_back(Act::Send(bytes.clone()));
        }
        match message.method() {
            // How a transfer goes: nothing comes of it but that the call is ended, by whoever is first.
            "NOTIFY" if message.get("Event").is_some_and(|e| e.starts_with("refer")) => {
                self.on_call(now, message, rng);
            }
            "NOTIFY" => self.on_notify(message),
            "OPTIONS" => self.answer(message, 200, "", ""),
            "INVITE" | "ACK" | "BYE" | "CANCEL" | "INFO" | "UPDATE" => {
                self.on_call(now, message, rng)
            }
            _ => self.answer(message, 405, "", ""),
        }
    }

    /// A name nobody else gives.
    pub(super) fn name(&mut self, kind: &str) -> String {
        let serial = self.next_serial();
        let SocketAddr::V4(address) = self.who.address else {
            unreachable!("the world is IPv4")
        };
        let [_, net, ..] = address.ip().octets();
        format!("{kind}{}n{net}x{serial}", self.who.extension)
    }

    /// Counts up.
    pub(super) fn next_serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }
}
