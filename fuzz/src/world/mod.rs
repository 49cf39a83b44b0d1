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
mod checks;
mod engine;
mod lamps;
mod network;
mod node;
mod oracle;
mod phone;
mod sip;
mod story;
mod summary;
mod trace;
mod trouble;

use std::net::SocketAddr;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tandem_storage::sim::SimDisk;
use tandem_storage::time::Time;

use network::{Datagram, Network, Weather};
use node::Node;
use oracle::Oracle;
use phone::{Act, Phone, Who};
use trouble::Trouble;

pub use summary::Summary;
pub use trace::Trace;

const SEGMENT_BYTES: u64 = 256 * 1024;
const DISK_BYTES: u64 = 1 << 30;
const OFFICE_NET: u8 = 0;
const HOME_NET: u8 = 1;
/// Phones in 10.9.0.0/16 are a gateway's: they are trusted and have no password.
const TRUSTED_NET: u8 = 9;
/// How long people are up.
const DAY: Duration = Duration::from_secs(600);
/// Long enough for the longest call without a hang-up, and everything that repeats, to end.
const EVENING: Duration = Duration::from_secs(700);
/// Longer than any registration or subscription lasts.
const NIGHT: Duration = Duration::from_secs(4000);

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

impl World {
    fn new(seed: u64, trace: Trace) -> World {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = rng.random_range(2..7);
        // Some have a second phone at home; the last is a gateway.
        let homes = (0..count).filter(|_| rng.random_ratio(1, 3));
        let mut people: Vec<Who> = homes.map(|n| person(n, HOME_NET)).collect();
        people.extend((0..count).map(|n| person(n, OFFICE_NET)));
        people.push(person(9, TRUSTED_NET));
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

/// A phone of the n-th user, in one of the networks.
fn person(n: u8, net: u8) -> Who {
    let extension = 101 + u32::from(n);
    let password = if net == TRUSTED_NET {
        String::new()
    } else {
        format!("secret-{extension}")
    };
    Who {
        extension: extension.to_string(),
        password,
        pin: format!("1{extension}"),
        address: SocketAddr::from(([10, net, 1, n + 1], 5060)),
    }
}

fn node_address() -> SocketAddr {
    node::ADDRESS.parse().expect("an address")
}
