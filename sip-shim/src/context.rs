//! What every part of the core works with: the setup, the time, chance, timers, the way out.
//!
//! There is one [`ShimContext`] in a [`crate::Shim`], lent to whichever part is at work. Maps here and
//! elsewhere in the core hash with [`Keyed`] or [`Mixed`], so that a run can be repeated.

use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tandem_engine::seam::LegId;
use tandem_pbx::seam::{AddressTransport, SipEvent, TrunkHost};
use tandem_storage::name::Id;
use tandem_storage::time::{Now, Time};

use crate::config::{ShimConfig, Trusted};
use crate::counters::ShimCounters;
use crate::message::{Message, Name};
use crate::shim::ShimOutput;
use crate::uri::split_list;
use crate::wire::{Flow, Transport, WireOut};

/// RFC 3261 §17.1.1.1: the estimated round trip.
pub(crate) const T1: Duration = Duration::from_millis(500);
/// The longest interval between retransmissions of anything but an INVITE.
pub(crate) const T2: Duration = Duration::from_secs(4);
/// The longest a message stays in the network.
pub(crate) const T4: Duration = Duration::from_secs(5);
/// When a transaction gives up (timers B, F, H, J, M).
pub(crate) const T1_64: Duration = Duration::from_millis(64 * 500);

/// A map whose keys are numbers we made.
#[allow(
    clippy::disallowed_types,
    reason = "its hasher is the same in each run"
)]
pub(crate) type NumberMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Mixed>>;
/// A map whose keys strangers choose.
#[allow(clippy::disallowed_types, reason = "its hasher is made from the seed")]
pub(crate) type TextMap<K, V> = std::collections::HashMap<K, V, Keyed>;

/// The common tools.
#[derive(Debug)]
pub(crate) struct ShimContext {
    pub(crate) config: ShimConfig,
    /// Our `host:port` as it stands in Via and Contact.
    pub(crate) host: Box<str>,
    pub(crate) now: Now,
    pub(crate) counters: ShimCounters,
    pub(crate) timers: Timers,
    pub(crate) keyed: Keyed,
    pub(crate) outputs: VecDeque<ShimOutput>,
    /// Where trunks are.
    pub(crate) trunks: BTreeMap<Id, TrunkHost>,
    rng: ChaCha8Rng,
}

/// What a timer is for. A timer is never cancelled: whoever it wakes looks whether it still
/// matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerId {
    Server(u64),
    Client(u64),
    Call(LegId),
    /// A provisional response waits for its PRACK.
    Provisional(LegId),
    Binding(Id, u64),
    KeepAlive(Id, u64),
    Subscription(u64),
    /// A text whose sender waits no longer.
    Text(u64),
    /// A notification that was put off.
    Notification(u64),
}

/// Alarms by time.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Entry>,
    set: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    at: Time,
    order: u64,
    alarm: TimerId,
}

impl ShimContext {
    pub(crate) fn new(config: ShimConfig, seed: [u8; 32]) -> ShimContext {
        let mut rng = ChaCha8Rng::from_seed(seed);
        let keyed = Keyed {
            key: rng.next_u64(),
        };
        let host = std::net::SocketAddr::new(config.advertise, config.sip_port)
            .to_string()
            .into();
        ShimContext {
            config,
            host,
            now: Now::default(),
            counters: ShimCounters::default(),
            timers: Timers::default(),
            keyed,
            outputs: VecDeque::new(),
            trunks: BTreeMap::new(),
            rng,
        }
    }

    /// A number nobody can guess: tags, branches, secrets.
    pub(crate) fn random(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// A duration between two others, both in milliseconds.
    pub(crate) fn random_ms(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        Duration::from_millis(from_ms + self.random() % (to_ms - from_ms + 1))
    }

    pub(crate) fn alarm_in(&mut self, after: Duration, alarm: TimerId) -> Time {
        let at = self.now.mono + after;
        self.timers.set(at, alarm);
        at
    }

    pub(crate) fn send(&mut self, flow: Flow, bytes: Arc<[u8]>) {
        self.counters.messages_out += 1;
        self.outputs
            .push_back(ShimOutput::Wire(WireOut::Send { flow, bytes }));
    }

    pub(crate) fn resend(&mut self, flow: Flow, bytes: Arc<[u8]>) {
        self.counters.retransmissions_out += 1;
        self.send(flow, bytes);
    }

    /// Somebody on this flow has shown who they are.
    pub(crate) fn keep(&mut self, flow: Flow) {
        if flow.is_reliable() {
            self.outputs
                .push_back(ShimOutput::Wire(WireOut::Keep { flow }));
        }
    }

    pub(crate) fn tell(&mut self, event: SipEvent) {
        self.outputs.push_back(ShimOutput::Pbx(event));
    }

    pub(crate) fn media(&mut self, command: tandem_engine::seam::Command) {
        self.outputs.push_back(ShimOutput::Media(command));
    }

    /// Does a flow come from a trusted host, whoever it speaks for, or from a trunk's?
    pub(crate) fn is_trusted_host(&self, flow: &Flow) -> bool {
        let is_trusted = self.config.trusted.iter().any(|t| t.is_at(flow));
        is_trusted || self.trunks.values().any(|host| is_host(host, flow))
    }

    /// The trunk by which a request came: what comes from its very address, or from another port of its
    /// host, if none was given for it (over a stream it is always another) and nothing else is trusted
    /// there. Of several at one host it is the one made first.
    pub(crate) fn trunk_of(&self, flow: &Flow, request: &Message) -> Option<Id> {
        let mut trunks = self.trunks.iter();
        let exact = trunks.find(|(_, host)| is_host(host, flow) && host.peer == flow.peer);
        if let Some((id, _)) = exact {
            return Some(*id);
        }
        if self.trusted(flow, request).is_some() {
            return None;
        }
        let mut trunks = self.trunks.iter();
        let from_there = |host: &TrunkHost| host.is_any_port || flow.is_reliable();
        let there = trunks.find(|(_, host)| is_host(host, flow) && from_there(host));
        there.map(|(id, _)| *id)
    }

    /// The gateway whose calls need no password that a request comes from. One that a front end there passed
    /// on from somebody else (it has a Via of its own and a Record-Route, so as to stay in the dialog) is
    /// not the gateway's own, unless it answers for those.
    pub(crate) fn trusted(&self, flow: &Flow, request: &Message) -> Option<&Trusted> {
        let hops = request.headers(Name::Via).flat_map(split_list);
        let is_passed_on = hops.take(2).count() > 1 && request.header(Name::RecordRoute).is_some();
        let mut trusted = self.config.trusted.iter();
        trusted.find(|t| t.is_at(flow) && (t.is_proxy || !is_passed_on))
    }
}

/// A flow comes from a trunk's host.
fn is_host(host: &TrunkHost, flow: &Flow) -> bool {
    let transport = match host.transport {
        AddressTransport::Udp => Transport::Udp,
        AddressTransport::Tcp => Transport::Tcp,
    };
    host.peer.ip() == flow.peer.ip() && transport == flow.transport
}

/// A time far ahead, at which something is due. Its alarm is set again every [`T1_64`] at the
/// latest, so that those of calls that have long ended do not pile up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LazyTimer {
    due: Time,
    armed: Option<Time>,
}

impl LazyTimer {
    pub(crate) fn never() -> LazyTimer {
        LazyTimer {
            due: Time(u64::MAX),
            armed: None,
        }
    }

    pub(crate) fn due(&self) -> Time {
        self.due
    }

    pub(crate) fn stop(&mut self) {
        self.due = Time(u64::MAX);
    }

    pub(crate) fn set(&mut self, cx: &mut ShimContext, due: Time, alarm: TimerId) {
        self.due = due;
        self.arm(cx, alarm);
    }

    /// Its alarm went off. `true`: it is due.
    pub(crate) fn fired(&mut self, cx: &mut ShimContext, alarm: TimerId) -> bool {
        let now = cx.now.mono;
        if self.armed.is_none_or(|at| at > now) {
            return false; // Another one was set since.
        }
        self.armed = None;
        if self.due > now {
            self.arm(cx, alarm);
        }
        self.due <= now
    }

    fn arm(&mut self, cx: &mut ShimContext, alarm: TimerId) {
        if self.due == Time(u64::MAX) {
            return;
        }
        let at = self.due.min(cx.now.mono + T1_64);
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            cx.timers.set(at, alarm);
        }
    }
}

impl Timers {
    pub(crate) fn set(&mut self, at: Time, alarm: TimerId) {
        self.set += 1;
        self.heap.push(Entry {
            at,
            order: self.set,
            alarm,
        });
    }

    pub(crate) fn next_at(&self) -> Option<Time> {
        self.heap.peek().map(|e| e.at)
    }

    pub(crate) fn due(&mut self, now: Time) -> Option<TimerId> {
        if self.next_at()? > now {
            return None;
        }
        self.heap.pop().map(|e| e.alarm)
    }
}

impl Ord for Entry {
    /// Earliest first out of a heap that gives the greatest first.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Hashes with a secret, so that strangers cannot make keys collide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed {
    key: u64,
}

impl Keyed {
    /// A number for some text; different texts have different ones, as far as anyone can arrange.
    pub(crate) fn number(&self, what: impl Hash) -> u64 {
        self.hash_one(what)
    }
}

impl BuildHasher for Keyed {
    type Hasher = DefaultHasher;
    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.key);
        hasher
    }
}

/// Spreads numbers that are unlike each other already, or count up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u64(u64::from(*b));
        }
    }
    fn write_u64(&mut self, n: u64) {
        let x = (self.0 ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = x ^ (x >> 32);
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }
}
