//! A simulated phone: registers, watches its lamp, answers what it is asked.
//!
//! The world hands it datagrams and the time; out come datagrams, and what its user does to the
//! media (speaks, presses keys). It keeps RFC 3261's timers for requests it sends and finals it
//! must repeat. Its calls are in `calls.rs`; what its user feels like is drawn from the seed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tandem_storage::time::Time;

use super::calls::Call;
use super::sip::{self, Message};

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

    fn register(&mut self, now: Time, expires_s: u64) {
        if self.register_id.is_empty() {
            self.register_id = self.name("reg");
        }
        let aor = format!("<sip:{}@tandem>", self.who.extension);
        let tag = self.name("rt");
        let draft = Draft {
            method: "REGISTER",
            uri: "sip:tandem".into(),
            from: format!("{aor};tag={tag}"),
            to: aor,
            call_id: self.register_id.clone(),
            cseq: self.next_serial(),
            extra: vec![format!("Expires: {expires_s}")],
            body: String::new(),
        };
        self.send(now, Purpose::Register, draft);
    }

    fn subscribe(&mut self, now: Time) {
        if self.subscription.call_id.is_empty() {
            self.subscription.call_id = self.name("sub");
        }
        let aor = format!("<sip:{}@tandem>", self.who.extension);
        let uri = self.subscription.contact.clone();
        let tag = self
            .subscription
            .tag
            .as_ref()
            .map_or(String::new(), |t| format!(";tag={t}"));
        let draft = Draft {
            method: "SUBSCRIBE",
            uri: uri.unwrap_or_else(|| format!("sip:{}@tandem", self.who.extension)),
            from: format!("{aor};tag=w{}", self.subscription.call_id),
            to: format!("{aor}{tag}"),
            call_id: self.subscription.call_id.clone(),
            cseq: self.next_serial(),
            extra: vec![
                "Event: message-summary".into(),
                "Accept: application/simple-message-summary".into(),
                format!("Expires: {EXPIRES_S}"),
            ],
            body: String::new(),
        };
        self.send(now, Purpose::Subscribe, draft);
    }

    /// Sends a request and repeats it until it is answered. Returns its branch.
    pub(super) fn send(&mut self, now: Time, purpose: Purpose, draft: Draft) -> String {
        let branch = format!("z9hG4bK{}", self.name("b"));
        self.send_as(now, purpose, draft, &branch);
        branch
    }

    /// The same with a given branch: a CANCEL has that of its INVITE.
    pub(super) fn send_as(&mut self, now: Time, purpose: Purpose, draft: Draft, branch: &str) {
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
    pub(super) fn write(&self, draft: &Draft, branch: &str) -> Vec<u8> {
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

    fn resend(&mut self, now: Time) {
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

    fn on_response(&mut self, now: Time, status: u16, message: &Message, rng: &mut ChaCha8Rng) {
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

    fn on_provisional(&mut self, now: Time, at: usize, message: &Message) {
        let pending = &mut self.pending[at];
        if pending.draft.method == "INVITE" {
            (pending.resend, pending.until) = (None, now + Duration::from_secs(240));
            if let Purpose::Call(id) = pending.purpose.clone() {
                self.on_progress(now, &id, message);
            }
        }
    }

    /// The same again, with the password.
    fn send_again(
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

    fn on_registered(&mut self, now: Time, status: u16, draft: &Draft) {
        let leaving = draft.extra.iter().any(|line| line == "Expires: 0");
        if status != 200 || leaving {
            self.registered_at = self.registered_at.filter(|_| status == 200 && !leaving);
            if !leaving {
                self.register_later(now);
            }
            return;
        }
        self.counts.registered += 1;
        self.registered_at = Some(now);
        self.register_at = Some(now + Duration::from_secs(EXPIRES_S / 2));
        let has_subscription = self.subscribe_at.is_some()
            || self.pending.iter().any(|p| p.purpose == Purpose::Subscribe);
        if self.watches && !has_subscription {
            self.subscribe_at = Some(now + Duration::from_millis(100));
        }
    }

    fn register_later(&mut self, now: Time) {
        self.registered_at = None;
        self.register_at = Some(now + Duration::from_secs(7));
    }

    fn on_subscribed(&mut self, now: Time, status: u16, message: &Message) {
        if status != 200 && status != 202 {
            return self.subscribe_anew(now);
        }
        self.subscription.tag = message.tag("To").map(str::to_owned);
        self.subscription.contact = message.contact().map(str::to_owned);
        self.subscribe_at = Some(now + Duration::from_secs(EXPIRES_S / 2));
    }

    fn subscribe_anew(&mut self, now: Time) {
        self.subscription = Subscription::default();
        self.subscribe_at = Some(now + Duration::from_secs(5));
    }

    fn on_request(&mut self, now: Time, message: &Message, rng: &mut ChaCha8Rng) {
        let name = format!("{} {}", message.branch(), message.method());
        if let Some((_, bytes)) = self.answered.iter().find(|(n, _)| *n == name) {
            return self.acts.push_back(Act::Send(bytes.clone()));
        }
        match message.method() {
            "NOTIFY" => self.on_notify(message),
            "OPTIONS" => self.answer(message, 200, "", ""),
            "INVITE" | "ACK" | "BYE" | "CANCEL" | "INFO" | "UPDATE" => {
                self.on_call(now, message, rng)
            }
            _ => self.answer(message, 405, "", ""),
        }
    }

    /// Answers, and will say the same if asked again.
    pub(super) fn answer(&mut self, request: &Message, status: u16, tag: &str, body: &str) {
        let contact = format!("Contact: <sip:{}@{}>", self.who.extension, self.who.address);
        let bytes = sip::response(request, status, tag, &[contact], body);
        self.acts.push_back(Act::Send(bytes.clone()));
        self.keep_answer(request, bytes);
    }

    /// The same request gets the same answer, also when the call has long gone.
    pub(super) fn keep_answer(&mut self, request: &Message, bytes: Vec<u8>) {
        let name = format!("{} {}", request.branch(), request.method());
        self.answered.push_back((name, bytes));
        if self.answered.len() > ANSWERED_MAX {
            self.answered.pop_front();
        }
    }

    fn on_notify(&mut self, message: &Message) {
        let (id, cseq) = (message.must("Call-ID").to_owned(), message.cseq().0);
        let ours = self.subscription.call_id == id;
        if message.tag("To").is_some() && !ours && self.watches {
            return self.answer(message, 481, "", "");
        }
        let last = self.notified.iter_mut().find(|(i, _)| *i == id);
        match last {
            Some((_, last)) if *last >= cseq => return self.answer(message, 500, "", ""),
            Some((_, last)) => *last = cseq,
            None => self.notified.push((id, cseq)),
        }
        self.counts.notified += 1;
        if !message.body.is_empty() {
            self.lamp = Some(lamp(&message.body));
        }
        self.answer(message, 200, "n", "");
        let ended = message
            .get("Subscription-State")
            .is_some_and(|s| s.starts_with("terminated"));
        if ours && ended {
            self.subscription = Subscription::default();
        }
    }

    /// An ACK is sent again whenever what it answers comes again (RFC 3261 §13.2.2.4, §17.1.1.2).
    pub(super) fn keep_ack(&mut self, answer: &Message, ack: Vec<u8>) {
        let name = format!("{} {}", answer.must("Call-ID"), answer.cseq().0);
        self.acks.push_back((name, ack));
        if self.acks.len() > ANSWERED_MAX {
            self.acks.pop_front();
        }
    }

    fn repeat_ack(&mut self, message: &Message) {
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

    /// A name nobody else gives.
    pub(super) fn name(&mut self, kind: &str) -> String {
        let serial = self.next_serial();
        format!("{kind}{}x{serial}", self.who.extension)
    }

    /// Counts up.
    pub(super) fn next_serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }
}

/// RFC 3842 §5.2.
fn lamp(body: &str) -> [u32; 4] {
    let line = |name: &str| {
        body.lines()
            .find_map(|l| l.strip_prefix(name))
            .map(str::trim)
    };
    let counts = line("Voice-Message:").expect("a count of voice messages");
    let numbers: Vec<u32> = counts
        .split(['/', '(', ')', ' '])
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().expect("a number"))
        .collect();
    let at = |n: usize| numbers.get(n).copied().unwrap_or(0);
    let waiting = line("Messages-Waiting:").expect("yes or no");
    assert_eq!(waiting == "yes", at(0) > 0, "{body}");
    [at(0), at(1), at(2), at(3)]
}
