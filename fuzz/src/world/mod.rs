//! The simulated world: phones, a network, a node and its disk, in one thread, from one seed.
//!
//! There is no socket, no clock and no file. Time is a number that jumps to whatever happens next.
//! People call each other, leave messages and hear them; datagrams are lost; the power is cut in
//! the middle of a write; the disk fills up. Beside it sits an oracle that knows what was promised
//! (`oracle.rs`), and at the end of the day everything must have come to rest.
//!
//! ```text
//! story ─> phones <─> network <─> node: shim <─> pbx <─> engine (made of numbers)
//!                                              └─> log ─> disk (made of numbers)
//! ```
//!
//! [`run`] plays one seed and panics, with what happened last, when a promise is broken.

mod calls;
mod engine;
mod lamps;
mod network;
mod node;
mod oracle;
mod phone;
mod sip;
mod story;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Add;
use std::rc::Rc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tandem_pbx::seam::{AdminAnswer, AdminAsk};
use tandem_storage::sim::SimDisk;
use tandem_storage::time::Time;
use tandem_storage::writer::WriteFault;

use network::{Datagram, Network, Weather};
use node::Node;
use oracle::Oracle;
use phone::{Act, Phone, Who};

/// What call control allows, and the time in which a CANCEL is repeated.
const RINGING_MAX: Duration = Duration::from_secs(20 + 34);
const SEGMENT_BYTES: u64 = 256 * 1024;
const DISK_BYTES: u64 = 1 << 30;
/// How long a lamp may be wrong.
const LAMP_MAX: Duration = Duration::from_secs(6);
/// How long people are up.
const DAY: Duration = Duration::from_secs(600);
/// Long enough for the longest call without a hang-up, and everything that repeats, to end.
const EVENING: Duration = Duration::from_secs(700);
/// Longer than any registration or subscription lasts.
const NIGHT: Duration = Duration::from_secs(4000);

/// What happened last, for whoever must find out why.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Rc<RefCell<VecDeque<String>>>>);

/// Lines kept.
const TRACE_MAX: usize = 400;

/// What a day in the world came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Calls that phones made.
    pub called: u64,
    /// Times a phone was connected.
    pub connected: u64,
    /// Messages and greetings kept.
    pub kept: usize,
    /// Times "saved" was said.
    pub saved: u64,
    /// Restarts of the node.
    pub restarts: u64,
    /// Datagrams sent.
    pub datagrams: u64,
    /// NOTIFYs that phones took.
    pub notified: u64,
    /// Things that happened.
    pub steps: u64,
    /// Messages that call control counts as kept, as too short, and as refused for want of room.
    pub deposits: [u64; 3],
    /// Mailboxes opened, and wrong PINs.
    pub logins: [u64; 2],
    /// Calls whose party fell silent.
    pub vanished: u64,
}

impl Add for Summary {
    type Output = Summary;
    fn add(self, other: Summary) -> Summary {
        Summary {
            called: self.called + other.called,
            connected: self.connected + other.connected,
            kept: self.kept + other.kept,
            saved: self.saved + other.saved,
            restarts: self.restarts + other.restarts,
            datagrams: self.datagrams + other.datagrams,
            notified: self.notified + other.notified,
            steps: self.steps + other.steps,
            deposits: std::array::from_fn(|n| self.deposits[n] + other.deposits[n]),
            logins: std::array::from_fn(|n| self.logins[n] + other.logins[n]),
            vanished: self.vanished + other.vanished,
        }
    }
}

/// Plays one day.
///
/// # Panics
/// When a promise is broken.
pub fn run(seed: u64, trace: &Trace) -> Summary {
    let mut world = World::new(seed, trace.clone());
    world.play_until(Time(0) + DAY);
    world.evening();
    world.play_until(Time(0) + DAY + EVENING);
    world.check_rest();
    world.night();
    world.play_until(Time(0) + DAY + EVENING + NIGHT);
    world.check_night();
    world.summary()
}

struct World {
    now: Time,
    rng: ChaCha8Rng,
    phones: Vec<Phone>,
    people: Vec<Who>,
    network: Network,
    life: Life,
    oracle: Oracle,
    /// When somebody next calls somebody.
    errand_at: Option<Time>,
    /// When something next goes wrong, and what.
    trouble: Option<(Time, Trouble)>,
    trace: Trace,
    /// When the node was last started, or stopped.
    up_since: Time,
    /// What nodes that are gone had counted.
    seen: Summary,
    steps: u64,
}

/// The node, or what is left of it.
enum Life {
    Up(Box<Node>),
    Down(SimDisk, Time),
    Between,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    PowerCut,
    /// As soon as something is being written.
    PowerCutWhileWriting,
    DiskFull,
    DiskRoomAgain,
    WritesFail(WriteFault),
    WritesWork,
    Stop,
    /// It was asked to stop long ago.
    StopOverdue,
}

impl World {
    fn new(seed: u64, trace: Trace) -> World {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let people: Vec<Who> = (0..rng.random_range(2..7))
            .map(|n| person(n, 0))
            .chain([person(9, 9)])
            .collect();
        let phones = people
            .iter()
            .map(|who| Phone::new(who.clone(), rng.random_ratio(1, 2), &mut rng));
        let phones = phones.collect();
        let mut oracle = Oracle::default();
        let disk = SimDisk::new(SEGMENT_BYTES, DISK_BYTES);
        let node = Node::start(Time(0), disk, &people, &mut oracle, trace.clone(), &mut rng);
        let weather = Weather::of_the_day(&mut rng);
        let mut world = World {
            now: Time(0),
            phones,
            people,
            network: Network::new(weather),
            life: Life::Up(Box::new(node)),
            oracle,
            errand_at: Some(Time(0) + Duration::from_secs(3)),
            trouble: None,
            trace,
            up_since: Time(0),
            seen: Summary::default(),
            steps: 0,
            rng,
        };
        world.plan_trouble();
        world
    }

    fn play_until(&mut self, end: Time) {
        loop {
            self.carry();
            let Some(next) = self.deadline().filter(|at| *at <= end) else {
                break;
            };
            assert!(
                next >= self.now || next.0 == 0 || self.now.0 > 0,
                "time runs forward"
            );
            self.now = next.max(self.now);
            self.steps += 1;
            assert!(self.steps < 3_000_000, "the world spins");
            self.step();
        }
        self.now = end;
    }

    fn deadline(&self) -> Option<Time> {
        let node = match &self.life {
            Life::Up(node) => node.deadline(),
            Life::Down(_, until) => Some(*until),
            Life::Between => None,
        };
        let phones = self.phones.iter().filter_map(Phone::deadline).min();
        let trouble = self.trouble.map(|(at, _)| at);
        [
            node,
            phones,
            self.network.deadline(),
            self.errand_at,
            trouble,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Everything that is due now.
    fn step(&mut self) {
        let now = self.now;
        while let Some(datagram) = self.network.poll(now) {
            self.deliver(&datagram);
            self.carry();
        }
        for at in 0..self.phones.len() {
            if self.phones[at].deadline().is_some_and(|due| due <= now) {
                self.phones[at].tick(now, &mut self.rng);
            }
        }
        self.carry();
        match &mut self.life {
            Life::Up(node) if node.deadline().is_some_and(|due| due <= now) => {
                node.tick(now, &mut self.oracle, &mut self.rng);
            }
            Life::Down(_, until) if *until <= now => self.start_node(),
            _ => {}
        }
        self.carry();
        if self.errand_at.is_some_and(|due| due <= now) {
            self.run_errand();
        }
        if let Some((_, trouble)) = self.trouble.take_if(|(due, _)| *due <= now) {
            self.make(trouble);
        }
        self.watch_node();
    }

    fn deliver(&mut self, datagram: &Datagram) {
        let now = self.now;
        let text = || String::from_utf8_lossy(&datagram.bytes).into_owned();
        self.trace.say(now, || {
            format!("{} -> {}\n{}", datagram.from, datagram.to, text())
        });
        if datagram.to == node_address() {
            if let Life::Up(node) = &mut self.life {
                node.datagram(
                    now,
                    datagram.from,
                    &datagram.bytes,
                    &mut self.oracle,
                    &mut self.rng,
                );
            }
        } else if let Some(phone) = self
            .phones
            .iter_mut()
            .find(|p| p.who.address == datagram.to)
        {
            phone.handle(now, &datagram.bytes, &mut self.rng);
        } else {
            panic!("the node sends to {}, where nobody is", datagram.to);
        }
    }

    /// Takes what phones and node want done.
    fn carry(&mut self) {
        let now = self.now;
        for at in 0..self.phones.len() {
            while let Some(act) = self.phones[at].acts.pop_front() {
                self.act(at, act);
            }
        }
        if let Life::Up(node) = &mut self.life {
            while let Some(datagram) = node.sent.pop_front() {
                self.network.send(now, datagram, &mut self.rng);
            }
        }
    }

    fn act(&mut self, phone: usize, act: Act) {
        let now = self.now;
        self.trace.say(now, || match &act {
            Act::Send(_) => String::new(),
            act => format!("phone {phone}: {act:?}"),
        });
        let from = self.phones[phone].who.address;
        match (act, &mut self.life) {
            (Act::Send(bytes), _) => {
                let datagram = Datagram {
                    from,
                    to: node_address(),
                    bytes: bytes.into(),
                };
                self.network.send(now, datagram, &mut self.rng);
            }
            (Act::Air(address, voice), Life::Up(node)) => {
                let tell = |engine: &mut engine::Engine| engine.on_air(now, address, voice);
                node.media(now, tell, &mut self.oracle, &mut self.rng);
            }
            (Act::Press(port, digit), Life::Up(node)) => {
                let tell = |engine: &mut engine::Engine| engine.press(now, port, digit);
                node.media(now, tell, &mut self.oracle, &mut self.rng);
            }
            _ => {}
        }
    }

    fn run_errand(&mut self) {
        self.check_ringing();
        self.check_lamps();
        let wait = Duration::from_millis(self.rng.random_range(200..14_000));
        self.errand_at = Some(self.now + wait);
        let at = self.rng.random_range(0..self.phones.len());
        let users = self.people.len() - 1;
        let (number, plan) = story::errand(&self.people[at], &self.people[..users], &mut self.rng);
        self.phones[at].dial(self.now, &number, plan, &mut self.rng);
    }

    fn evening(&mut self) {
        let now = self.now;
        self.trace.say(now, || "evening".into());
        (self.errand_at, self.trouble) = (None, None);
        self.network.clear_up();
        if let Life::Up(node) = &mut self.life {
            node.disk_mut().fault = None;
            node.disk_mut().capacity_bytes = DISK_BYTES;
            // One whose log is closed until restart, or that is on its way out, is restarted.
            if node.is_stopping || node.has_failed {
                self.cut_power(Duration::from_millis(10));
            }
        }
        for phone in &mut self.phones {
            phone.evening(now);
        }
    }

    fn night(&mut self) {
        let now = self.now;
        self.trace.say(now, || "night".into());
        for phone in &mut self.phones {
            phone.retire(now);
        }
    }

    /// A phone rings only as long as the node wants it to; unless the node lost its memory, or the
    /// phone was found by the last repetition of an INVITE, which nobody can take back (RFC 3261
    /// §9.1).
    fn check_ringing(&self) {
        for phone in &self.phones {
            let known = self.up_since.max(phone.back_since + phone::PATIENCE);
            let ringing = phone
                .calls
                .iter()
                .filter(|call| call.is_ringing() && call.began > known);
            for call in ringing {
                let rings_for = self.now.since(call.began);
                assert!(rings_for < RINGING_MAX, "{} rings for ever", call.id);
            }
        }
    }

    /// In fair weather a lamp shows what is there within seconds, not only once the phone has
    /// registered again.
    fn check_lamps(&mut self) {
        let Life::Up(node) = &self.life else { return };
        if !self.network.is_fair() {
            return;
        }
        let users = node.users();
        let up_since = self.up_since;
        let known =
            |p: &&mut Phone| p.is_there() && p.registered_at.is_some_and(|at| at > up_since);
        for phone in self.phones.iter_mut().filter(known) {
            let expected = lamps::expected(node.pbx.view(), users[&phone.who.extension]);
            let shown = phone.lamp;
            if shown == Some(expected) || phone.lamp_owed.is_none_or(|(_, owed)| owed != expected) {
                phone.lamp_owed = (shown != Some(expected)).then_some((self.now, expected));
            }
            let overdue = phone
                .lamp_owed
                .is_some_and(|(since, _)| self.now > since + LAMP_MAX);
            let extension = &phone.who.extension;
            assert!(
                !overdue,
                "the lamp of {extension} shows {shown:?}, not {expected:?}"
            );
        }
    }

    /// No call is left anywhere, and every lamp shows what is there.
    fn check_rest(&mut self) {
        for phone in &self.phones {
            assert!(
                phone.is_quiet(),
                "{} is not done: {:?}",
                phone.who.extension,
                phone.calls_left()
            );
        }
        self.oracle.on_quiet();
        let Life::Up(node) = &mut self.life else {
            panic!("the node is down")
        };
        assert_eq!(node.pbx.calls_len(), 0, "calls without anybody in them");
        assert_eq!(
            node.pbx.deadline(),
            None,
            "call control waits for something"
        );
        assert_eq!(node.engine.legs(), 0, "media legs without a call");
        assert_eq!(node.engine.opened, node.engine.closed);
        assert_eq!(node.shim.dialogs(), 0, "dialogs without a call");
        let users = node.users();
        for phone in self.phones.iter().filter(|p| p.registered_at.is_some()) {
            let id = users[&phone.who.extension];
            let expected = lamps::expected(node.pbx.view(), id);
            assert_eq!(
                phone.lamp,
                Some(expected),
                "the lamp of {}",
                phone.who.extension
            );
        }
        for (extension, id) in users {
            let listed = node.ask(
                self.now,
                AdminAsk::Mailbox {
                    extension: extension.as_str().into(),
                },
                &mut self.oracle,
                &mut self.rng,
            );
            let expected: Vec<String> = lamps::messages(node.pbx.view(), id)
                .map(|s| s.id.to_string())
                .collect();
            check_list(listed, expected, &extension);
        }
    }

    fn check_night(&mut self) {
        let Life::Up(node) = &mut self.life else {
            panic!("the node is down")
        };
        assert_eq!(
            node.shim.deadline(),
            None,
            "the shim waits for something: {:?}",
            node.shim
        );
        assert_eq!(node.pbx.deadline(), None);
        // What is there now is there after a last power cut, too: the oracle compares.
        self.cut_power(Duration::ZERO);
        self.start_node();
    }

    fn summary(&self) -> Summary {
        let sum = |count: fn(&Phone) -> u32| self.phones.iter().map(|p| u64::from(count(p))).sum();
        Summary {
            called: sum(|p| p.counts.called),
            connected: sum(|p| p.counts.connected),
            notified: sum(|p| p.counts.notified),
            kept: self.oracle.kept(),
            saved: self.oracle.saved,
            restarts: self.oracle.restarts - 1,
            datagrams: self.network.sent(),
            steps: self.steps,
            ..self.seen
        }
    }
}

/// Trouble.
impl World {
    fn plan_trouble(&mut self) {
        let rng = &mut self.rng;
        let trouble = match rng.random_range(0..12) {
            0..2 => Trouble::PowerCut,
            2..6 => Trouble::PowerCutWhileWriting,
            6..9 => Trouble::DiskFull,
            9 => Trouble::WritesFail(WriteFault::Full),
            10 => Trouble::WritesFail(WriteFault::Failed),
            _ => Trouble::Stop,
        };
        let wait = Duration::from_secs(rng.random_range(5..200));
        self.trouble = Some((self.now + wait, trouble));
    }

    fn make(&mut self, trouble: Trouble) {
        let now = self.now;
        self.trace.say(now, || format!("{trouble:?}"));
        let soon = Duration::from_millis(self.rng.random_range(10..40_000));
        let Life::Up(node) = &mut self.life else {
            return self.plan_trouble();
        };
        match trouble {
            Trouble::PowerCut => self.cut_power(soon),
            Trouble::PowerCutWhileWriting if node.is_writing() => self.cut_power(soon),
            Trouble::PowerCutWhileWriting => {
                let next = now + Duration::from_millis(1 + soon.as_millis() as u64 % 40);
                self.trouble = Some((next, trouble));
                return;
            }
            Trouble::DiskFull => {
                node.disk_mut().capacity_bytes = 0;
                self.trouble = Some((now + soon, Trouble::DiskRoomAgain));
                return;
            }
            Trouble::DiskRoomAgain => node.disk_mut().capacity_bytes = DISK_BYTES,
            Trouble::WritesFail(fault) => {
                node.has_failed |= fault == WriteFault::Failed;
                node.disk_mut().fault = Some(fault);
                self.trouble = Some((now + soon / 8, Trouble::WritesWork));
                return;
            }
            Trouble::WritesWork => {
                let failed = node.disk_mut().fault.take();
                if failed == Some(WriteFault::Failed) {
                    self.trouble = Some((now + soon, Trouble::PowerCut));
                    return;
                }
            }
            Trouble::Stop => {
                node.stop(now, &mut self.oracle, &mut self.rng);
                self.trouble = Some((now + Duration::from_secs(60), Trouble::StopOverdue));
                return;
            }
            Trouble::StopOverdue => panic!("asked to stop a minute ago, and still here"),
        }
        self.plan_trouble();
    }

    /// A node that has stopped is started again after a while.
    fn watch_node(&mut self) {
        let stopped =
            matches!(&self.life, Life::Up(node) if node.has_stopped && !node.is_writing());
        if stopped {
            self.trace.say(self.now, || "stopped".into());
            self.cut_power(Duration::from_secs(2));
            self.plan_trouble();
        }
    }

    fn cut_power(&mut self, pause: Duration) {
        if let Life::Up(node) = std::mem::replace(&mut self.life, Life::Between) {
            self.seen = self.seen + counted(&node);
            // What it knew of calls is gone.
            self.up_since = self.now;
            let mut disk = node.crash(&mut self.rng);
            disk.fault = None;
            disk.capacity_bytes = DISK_BYTES;
            self.life = Life::Down(disk, self.now + pause);
        }
    }

    fn start_node(&mut self) {
        if let Life::Down(disk, _) = std::mem::replace(&mut self.life, Life::Between) {
            self.trace.say(self.now, || "the node starts".into());
            let node = Node::start(
                self.now,
                disk,
                &self.people,
                &mut self.oracle,
                self.trace.clone(),
                &mut self.rng,
            );
            self.life = Life::Up(Box::new(node));
            self.up_since = self.now;
        }
    }
}

impl Trace {
    /// Keeps the last lines.
    pub fn kept() -> Trace {
        Trace(Some(Rc::default()))
    }

    fn say(&self, now: Time, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.0 {
            let mut lines = lines.borrow_mut();
            if lines.len() == TRACE_MAX {
                lines.pop_front();
            }
            lines.push_back(format!("{:>9.3} {}", now.0 as f64 / 1e9, line()));
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(lines) = &self.0 else { return Ok(()) };
        lines
            .borrow()
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Everybody has a phone at an address of their own; those of net 9 are trusted and have none.
fn person(n: u8, net: u8) -> Who {
    let extension = 101 + u32::from(n);
    let password = if net == 0 {
        format!("secret-{extension}")
    } else {
        String::new()
    };
    Who {
        extension: extension.to_string(),
        password,
        pin: format!("1{extension}"),
        address: SocketAddr::from(([10, net, 1, n + 1], 5060)),
    }
}

/// What call control has counted since the node started.
fn counted(node: &Node) -> Summary {
    let counters = node.pbx.counters();
    Summary {
        deposits: [
            counters.deposits,
            counters.deposits_too_short,
            counters.deposits_refused,
        ],
        logins: [counters.logins, counters.pin_wrong],
        vanished: counters.ended.get("vanished").copied().unwrap_or(0),
        ..Summary::default()
    }
}

fn node_address() -> SocketAddr {
    node::ADDRESS.parse().expect("an address")
}

fn check_list(listed: Option<AdminAnswer>, mut expected: Vec<String>, extension: &str) {
    let Some(AdminAnswer::Json(listed)) = listed else {
        panic!("no list for {extension}")
    };
    let rows = listed
        .as_array()
        .or_else(|| listed["messages"].as_array())
        .cloned();
    let mut ids: Vec<String> = rows
        .unwrap_or_else(|| panic!("a list without messages: {listed}"))
        .iter()
        .filter(|row| row["deleted"] != true)
        .map(|row| row["id"].as_str().unwrap_or_default().to_owned())
        .collect();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected, "the mailbox of {extension}");
}
