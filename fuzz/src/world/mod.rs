//! The simulated world: phones, a network, one to three nodes and their disks, in one thread, from one
//! seed.
//!
//! There is no socket, no clock and no file. Time is a number that jumps to whatever happens next.
//! People call each other, leave messages and hear them; datagrams are lost; the power is cut in
//! the middle of a write; the disk fills up, or is lost; the link between nodes is cut. Beside it sits an
//! oracle that knows what was promised (`oracle.rs`), and at the end of the day everything must have come
//! to rest.
//!
//! ```text
//! story ─> phones <─> network <─> node <─> engine (made of numbers)
//!                                 │  └──> log ─> disk (made of numbers)
//!                                 └ link <─> wires <─> link, another node
//! ```
//!
//! [`run`] plays one seed and panics, with what happened last, when a promise is broken.

mod calls;
mod checks;
mod engine;
mod impairments;
mod lamps;
mod network;
mod node;
mod oracle;
mod phone;
mod sip;
mod start;
mod story;
mod summary;
mod trace;
mod trouble;

use std::net::SocketAddr;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tandem_storage::link::{CloseReason, LinkInput, LinkOutput};
use tandem_storage::name::NodeName;
use tandem_storage::sim::{Arrival, SimDisk, SimWires};
use tandem_storage::time::Time;

use network::{Datagram, Network};
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
    sites: Vec<Site>,
    /// The link's connections between them.
    wires: SimWires,
    oracle: Oracle,
    /// When somebody next calls somebody.
    errand_at: Option<Time>,
    /// When something next goes wrong, at which node, and what.
    trouble: Option<(Time, usize, Trouble)>,
    trace: Trace,
    /// What nodes that are gone had counted.
    seen: Summary,
    steps: u64,
}

/// A place with a node, and its phones.
struct Site {
    life: Life,
    /// When the node was last started, or stopped.
    up_since: Time,
    /// How far civil time is ahead of the world's there.
    wall_ms: u64,
    /// How often it was started.
    epochs: u32,
    /// Its first disk was lost.
    is_disk_lost: bool,
    /// A copy of its disk in a drawer.
    old_disk: Option<SimDisk>,
    /// It is not a member of the cluster any more.
    is_removed: bool,
}

/// A node, or what is left of it.
enum Life {
    Up(Box<Node>),
    Down(SimDisk, Time),
    Between,
}

impl World {
    fn new(seed: u64, trace: Trace) -> World {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = rng.random_range(2..7);
        let nodes = rng.random_range(1..4);
        // Some have a second phone at home; the last is a gateway.
        let homes = (0..count).filter(|_| rng.random_ratio(1, 3));
        let mut people: Vec<Who> = homes.map(|n| person(n, HOME_NET)).collect();
        people.extend((0..count).map(|n| person(n, OFFICE_NET)));
        people.push(person(9, TRUSTED_NET));
        for who in &mut people {
            who.site = rng.random_range(0..nodes);
        }
        let phones = people
            .iter()
            .map(|who| Phone::new(who.clone(), rng.random_ratio(1, 2), &mut rng));
        let phones = phones.collect();
        let sites = (0..nodes).map(|_| Site {
            life: Life::Down(SimDisk::new(SEGMENT_BYTES, DISK_BYTES), Time(0)),
            up_since: Time(0),
            // Clocks are set, but not all alike.
            wall_ms: 1_790_000_000_000 + rng.random_range(0..7_200_000),
            epochs: 0,
            is_disk_lost: false,
            old_disk: None,
            is_removed: false,
        });
        let sites = sites.collect();
        let network = Network::of_the_day(&mut rng);
        let mut world = World {
            now: Time(0),
            phones,
            people,
            network,
            sites,
            wires: SimWires::default(),
            oracle: Oracle::default(),
            errand_at: Some(Time(0) + Duration::from_secs(3)),
            trouble: None,
            trace,
            seen: Summary::default(),
            steps: 0,
            rng,
        };
        (0..nodes).for_each(|n| world.start_node(n));
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
        let nodes = self.sites.iter().filter_map(|site| match &site.life {
            Life::Up(node) => node.deadline(),
            Life::Down(_, until) => Some(*until),
            Life::Between => None,
        });
        let phones = self.phones.iter().filter_map(Phone::deadline);
        let rest = [
            self.network.deadline(),
            self.wires.deadline(),
            self.errand_at,
            self.trouble.map(|(at, ..)| at),
        ];
        nodes.chain(phones).chain(rest.into_iter().flatten()).min()
    }

    /// Everything that is due now.
    fn step(&mut self) {
        let now = self.now;
        while let Some(datagram) = self.network.poll(now) {
            self.deliver(&datagram);
            self.carry();
        }
        while let Some((n, arrival)) = self.wires.deliver(now) {
            self.arrive(n, arrival);
            self.carry();
        }
        for at in 0..self.phones.len() {
            if self.phones[at].deadline().is_some_and(|due| due <= now) {
                self.phones[at].tick(now, &mut self.rng);
            }
        }
        self.carry();
        for n in 0..self.sites.len() {
            match &mut self.sites[n].life {
                Life::Up(node) if node.deadline().is_some_and(|due| due <= now) => {
                    node.tick(now, &mut self.oracle, &mut self.rng);
                }
                Life::Down(_, until) if *until <= now => self.start_node(n),
                _ => {}
            }
            self.carry();
        }
        if self.errand_at.is_some_and(|due| due <= now) {
            self.run_errand();
        }
        if let Some((_, n, trouble)) = self.trouble.take_if(|(due, ..)| *due <= now) {
            self.make(n, trouble);
        }
        self.watch_nodes();
    }

    fn deliver(&mut self, datagram: &Datagram) {
        let now = self.now;
        let text = || String::from_utf8_lossy(&datagram.bytes).into_owned();
        self.trace.say(now, || {
            format!("{} -> {}\n{}", datagram.from, datagram.to, text())
        });
        let site = (0..self.sites.len()).find(|n| start::address(*n) == datagram.to);
        if let Some(n) = site {
            if let Life::Up(node) = &mut self.sites[n].life {
                node.datagram(now, datagram, &mut self.oracle, &mut self.rng);
            }
        } else if let Some(phone) = self
            .phones
            .iter_mut()
            .find(|p| p.who.address == datagram.to)
        {
            phone.handle(now, &datagram.bytes, &mut self.rng);
        } else {
            panic!("a node sends to {}, where nobody is", datagram.to);
        }
    }

    /// Something has come to a node over the link.
    fn arrive(&mut self, n: usize, arrival: Arrival) {
        let input = arrival.into_input(start::name);
        if let Life::Up(node) = &mut self.sites[n].life {
            node.link(self.now, input, &mut self.oracle, &mut self.rng);
        }
    }

    /// Takes what phones and nodes want done.
    fn carry(&mut self) {
        let now = self.now;
        for at in 0..self.phones.len() {
            while let Some(act) = self.phones[at].acts.pop_front() {
                self.act(at, act);
            }
        }
        for n in 0..self.sites.len() {
            let Life::Up(node) = &mut self.sites[n].life else {
                continue;
            };
            while let Some(datagram) = node.sent.pop_front() {
                self.network.send(now, datagram, &mut self.rng);
            }
            let outputs = std::mem::take(&mut node.to_wires);
            for output in outputs {
                self.wire(n, output);
            }
        }
    }

    /// What a node's link asks of its wires.
    fn wire(&mut self, n: usize, output: LinkOutput) {
        let now = self.now;
        match output {
            LinkOutput::Dial { peer } => self.dial(n, peer),
            LinkOutput::Close { conn, .. } => self.wires.close(now, (n, conn), &mut self.rng),
            LinkOutput::Send {
                conn,
                frame,
                is_bulk,
                ..
            } => {
                let (at, bytes) = ((n, conn), frame.to_vec());
                self.wires.send(now, at, bytes, is_bulk, &mut self.rng);
            }
            _ => {}
        }
    }

    fn dial(&mut self, n: usize, peer: NodeName) {
        let delay = Duration::from_micros(self.rng.random_range(100..20_000));
        let other = (0..self.sites.len()).find(|m| start::name(*m) == peer);
        let is_there = |m: &usize| match &self.sites[*m].life {
            Life::Up(other) => other.lets_in(start::name(n)) && !self.wires.is_cut(n, *m),
            _ => false,
        };
        match other.filter(is_there) {
            Some(other) => self.wires.dial(self.now, n, other, delay),
            None => {
                let why = CloseReason::Unreachable;
                if let Life::Up(node) = &mut self.sites[n].life {
                    node.answer_link(self.now + delay, LinkInput::NotConnected { peer, why });
                }
            }
        }
    }

    fn act(&mut self, phone: usize, act: Act) {
        let now = self.now;
        self.trace.say(now, || match &act {
            Act::Send(_) => String::new(),
            act => format!("phone {phone}: {act:?}"),
        });
        let Who { address, site, .. } = self.phones[phone].who;
        match (act, &mut self.sites[site].life) {
            (Act::Send(bytes), _) => {
                let datagram = Datagram {
                    from: address,
                    to: start::address(site),
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
        self.wires.heal();
        for n in 0..self.sites.len() {
            if let Life::Up(node) = &mut self.sites[n].life {
                node.disk_mut().fault = None;
                node.disk_mut().capacity_bytes = DISK_BYTES;
                // One whose log is closed until restart, or that is on its way out, is restarted.
                if node.is_stopping || node.has_failed {
                    self.cut_power(n, Duration::from_millis(10));
                }
            }
        }
        for phone in &mut self.phones {
            phone.evening(now);
        }
    }

    fn night(&mut self) {
        let now = self.now;
        self.trace.say(now, || "night".into());
        // Of the link nothing more is to be learned; its heartbeats would fill the night.
        self.wires = SimWires::default();
        for site in &mut self.sites {
            if let Life::Up(node) = &mut site.life {
                node.unplug();
            }
        }
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
            saved_twice: self.oracle.saved_twice,
            restarts: self.oracle.restarts - self.sites.len() as u64,
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
        site: 0,
    }
}
