//! A cluster of nodes in one thread: real logs and real links, with a network, disks and clocks made
//! of numbers, all from one seed.
//!
//! A [`Cluster`] takes one step at a time: the next thing that is due anywhere. `story.rs` says what
//! happens to it, `oracle.rs` what must hold, and `wires.rs` has the connections between nodes.

mod compaction;
mod oracle;
mod story;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{SimDisk, SimLog, SimOpened, SimSnapshots, SimWires, give_spare};
use crate::block::ChunkBlock;
use crate::compaction::{Compactor, Input as CompactionInput};
use crate::link::frame::VERSIONS;
use crate::link::{
    CloseReason, Link, LinkConfig, LinkEvent, LinkInput, LinkOutput, PeerConfig, Position,
};
use crate::name::{Id, Ids, NodeName};
use crate::seam::{
    Append, Committed, LOCAL_REGISTERS, LogEvent, Owner, Payload, SealKind, SoundCodec, Stamp,
    Token,
};
use crate::time::{Now, Time, WallTime};
use crate::view::View;
use crate::writer::WriteFault;

/// The length of segments: a few hundred records.
const SEGMENT_BYTES: u64 = 128 * 1024;
/// What fits on a disk that is not full.
const CAPACITY_BYTES: u64 = 1 << 40;
/// The wall clock when a cluster begins.
const BEGIN_MS: u64 = 1_700_000_000_000;
/// An epoch counts the seconds since then.
const EPOCHS_SINCE_MS: u64 = 1_577_836_800_000;

/// See the chapter above.
#[derive(Debug)]
struct Cluster {
    rng: ChaCha8Rng,
    now: Time,
    nodes: Vec<Node>,
    wires: SimWires,
    token_last: u64,
    /// What was said to be durable at its author, and has not been lost with the only disk it was on.
    promised: BTreeMap<Stamp, Payload>,
    /// All that was ever found in a log.
    said: BTreeMap<Stamp, Payload>,
    /// Of that, what was ever in a retired segment. It may have been dead and never been handed on.
    dropped: BTreeSet<Stamp>,
    /// Sounds that were wanted and came.
    fetched: usize,
    /// Starts with a snapshot.
    restored: usize,
}

/// A node, alive or dead.
#[derive(Debug)]
struct Node {
    name: NodeName,
    life: Option<Life>,
    /// Of a dead node.
    disk: Option<SimDisk>,
    /// How far its wall clock is ahead, in milliseconds.
    clock_ms: i64,
    /// The records in its log, and those that were in segments it retired.
    has: BTreeSet<Stamp>,
    /// Those that were in retired segments. The live ones were moved, and are in the log, too.
    dropped: BTreeSet<Stamp>,
    keeps_all: bool,
    epoch_last: u32,
}

#[derive(Debug)]
struct Life {
    log: SimLog,
    view: View,
    ids: Ids,
    link: Link,
    compactor: Compactor,
    snapshots: SimSnapshots,
    /// When the write in flight is done.
    write_done: Option<Time>,
    /// Answers that are on their way.
    answers: VecDeque<(Time, LinkInput)>,
    /// Sounds that are being spoken, and their next chunk.
    speaking: Vec<(Id, u32)>,
    acked: BTreeMap<NodeName, Position>,
    /// The records of others that it stored.
    stored: BTreeSet<Stamp>,
    /// Its log refused some: after that each may come again.
    refused: bool,
    /// Sounds that were wanted; what of them comes otherwise is stored, too.
    wanted: BTreeSet<Id>,
}

impl Cluster {
    /// `count` nodes that know each other, on empty disks.
    fn new(seed: u64, count: usize) -> Cluster {
        let mut cluster = Cluster {
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: Time(0),
            nodes: Vec::new(),
            wires: SimWires::default(),
            token_last: 0,
            promised: BTreeMap::new(),
            said: BTreeMap::new(),
            dropped: BTreeSet::new(),
            fetched: 0,
            restored: 0,
        };
        for n in 0..count {
            cluster.nodes.push(Node {
                name: format!("n{n}").parse().expect("a name"),
                life: None,
                disk: Some(empty_disk()),
                clock_ms: 0,
                has: BTreeSet::new(),
                dropped: BTreeSet::new(),
                keeps_all: true,
                epoch_last: 0,
            });
        }
        for n in 0..count {
            cluster.start(n);
        }
        cluster
    }

    fn mono_now(&self, n: usize) -> Now {
        let wall = BEGIN_MS as i64 + (self.now.0 / 1_000_000) as i64 + self.nodes[n].clock_ms;
        Now {
            mono: self.now,
            wall: WallTime(wall.max(0) as u64),
        }
    }

    /// A dead node starts on its disk.
    fn start(&mut self, n: usize) {
        let now = self.mono_now(n);
        let seed = self.rng.random();
        let peers = self.peers_of(n);
        let node = &mut self.nodes[n];
        let Some(disk) = node.disk.take() else { return };
        // Nothing comes twice within a second of a clock that is set back: the test's own business.
        let seconds = (now.wall.0.saturating_sub(EPOCHS_SINCE_MS) / 1000) as u32;
        let epoch_min = seconds.max(node.epoch_last + 1);
        node.epoch_last = epoch_min;
        let opened = SimLog::open_for_link(disk, node.name, now, Some(epoch_min));
        let SimOpened {
            mut log,
            view,
            ids,
            loaded,
            read_from,
            ..
        } = opened.expect("a node's own disk");
        self.restored += usize::from(read_from > 0);
        let snapshots = SimSnapshots::new(node.name, &loaded, read_from, 2);
        for segment in &loaded.left_over {
            log.disk_mut().segments.remove(segment);
        }
        let mut has = node.dropped.clone();
        let read = log.disk().read(node.name, |record| {
            if is_said(record) {
                has.insert(record.stamp);
                self.said.insert(record.stamp, record.what.clone());
            }
        });
        read.expect("a node's own disk");
        let kept = view.registers(LOCAL_REGISTERS);
        let config = LinkConfig {
            node: node.name,
            epoch: ids.epoch(),
            found: loaded.found,
            kept: kept
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
            send_bytes_per_s: 0,
            away_after: Duration::from_secs(1),
            segment_bytes: SEGMENT_BYTES,
            versions: (1, self.rng.random_range(1..=VERSIONS.1)),
            seed,
        };
        let mut link = Link::new(config, now.mono);
        link.handle(now.mono, LinkInput::Peers(peers));
        let mut life = Life {
            log,
            view,
            ids,
            link,
            compactor: compaction::compactor(node.name, loaded.retired, now),
            snapshots,
            write_done: None,
            answers: VecDeque::new(),
            speaking: Vec::new(),
            acked: BTreeMap::new(),
            stored: BTreeSet::new(),
            refused: false,
            wanted: BTreeSet::new(),
        };
        while let Some(wrote) = life.log.wrote() {
            life.link.handle(now.mono, LinkInput::Wrote(wrote));
        }
        node.has = has;
        node.life = Some(life);
        self.carry(n);
    }

    fn peers_of(&self, n: usize) -> Vec<PeerConfig> {
        let others = self.nodes.iter().enumerate().filter(|(m, _)| *m != n);
        let keep_sound = self.nodes.get(n).is_none_or(|node| node.keeps_all);
        others
            .map(|(_, node)| PeerConfig {
                name: node.name,
                keep_sound,
            })
            .collect()
    }

    /// All nodes know all others.
    fn introduce(&mut self) {
        for n in 0..self.nodes.len() {
            let peers = self.peers_of(n);
            let now = self.now;
            if let Some(life) = &mut self.nodes[n].life {
                life.link.handle(now, LinkInput::Peers(peers));
            }
            self.carry(n);
        }
    }

    /// The power goes.
    fn kill(&mut self, n: usize) {
        let Some(life) = self.nodes[n].life.take() else {
            return;
        };
        let mut disk = life.log.crash(&mut self.rng);
        // Nobody starts it before the disk is cleared up, or is a new one with the old one's bytes.
        (disk.fault, disk.capacity_bytes) = (None, CAPACITY_BYTES);
        self.nodes[n].disk = Some(disk);
        self.wires.end_all_of(self.now, n, &mut self.rng);
    }

    /// The next thing that is due; `false`: not before `until`.
    fn step(&mut self, until: Time) -> bool {
        let mut next = (until, None);
        for (n, node) in self.nodes.iter().enumerate() {
            let Some(life) = &node.life else { continue };
            let answer = life.answers.front().map(|(at, _)| *at);
            let compaction = life.compactor.deadline();
            let due = [life.write_done, life.link.deadline(), answer, compaction];
            let due = due
                .into_iter()
                .flatten()
                .fold(life.log.deadline(), Time::min);
            if due < next.0 {
                next = (due, Some(n));
            }
        }
        let arrives = self.wires.deadline().filter(|due| *due < next.0);
        if let Some(due) = arrives {
            next = (due, None);
        }
        self.now = self.now.max(next.0);
        match next.1 {
            Some(n) => self.run(n),
            None if arrives.is_some() => self.deliver(),
            None => return false,
        }
        true
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    fn run(&mut self, n: usize) {
        let now = self.mono_now(n);
        let Some(life) = &mut self.nodes[n].life else {
            return;
        };
        if life.write_done.is_some_and(|at| at <= now.mono) {
            life.write_done = None;
            match life.log.disk().fault {
                Some(WriteFault::Failed) => life.log.fail_write(now, &mut self.rng),
                _ => life.log.complete_write(now),
            }
        }
        while life.answers.front().is_some_and(|(at, _)| *at <= now.mono) {
            let input = life.answers.pop_front().map(|(_, input)| input);
            input
                .into_iter()
                .for_each(|input| life.link.handle(now.mono, input));
        }
        if life.link.deadline().is_some_and(|at| at <= now.mono) {
            life.link.handle(now.mono, LinkInput::Tick);
        }
        if life.compactor.deadline().is_some_and(|at| at <= now.mono) {
            life.compactor.handle(now, CompactionInput::Tick);
        }
        self.carry(n);
    }

    fn deliver(&mut self) {
        let now = self.now;
        while let Some((n, arrival)) = self.wires.deliver(now) {
            let input = arrival.into_input(|peer| self.nodes[peer].name);
            if let Some(life) = &mut self.nodes[n].life {
                give_spare(&mut life.link, &input);
                life.link.handle(now, input);
            }
            self.carry(n);
        }
    }

    /// Carries what a node's log and link ask for until they ask for nothing more.
    fn carry(&mut self, n: usize) {
        let now = self.mono_now(n);
        loop {
            let Some(life) = &mut self.nodes[n].life else {
                return;
            };
            if let Some(wrote) = life.log.wrote() {
                life.link.handle(now.mono, LinkInput::Wrote(wrote));
                continue;
            }
            if let Some(event) = life.log.poll(now) {
                // The commit it is in goes first.
                while let Some(wrote) = life.log.wrote() {
                    life.link.handle(now.mono, LinkInput::Wrote(wrote));
                }
                self.on_log(n, event);
                continue;
            }
            if life.log.is_writing() && life.write_done.is_none() {
                let took = Duration::from_micros(self.rng.random_range(50..3000));
                life.write_done = Some(now.mono + took);
            }
            let Some(output) = life.link.poll() else {
                if life.log.has_wrote() || self.compact(n) {
                    continue;
                }
                return;
            };
            self.on_link(n, output);
        }
    }

    fn on_log(&mut self, n: usize, event: LogEvent) {
        let now = self.mono_now(n);
        let node = &mut self.nodes[n];
        let Some(life) = &mut node.life else { return };
        let (token, input) = match event {
            LogEvent::Committed { token, record } if token.owner == Owner::Compaction => {
                life.view.apply(&record);
                life.snapshots.turn(&life.view, life.log.disk_mut());
                let place = match &record.what {
                    Payload::Chunk { place, .. } => Some(*place),
                    _ => None,
                };
                let input = CompactionInput::Answered(token, Ok(place));
                return life.compactor.handle(now, input);
            }
            LogEvent::Refused { token, why } if token.owner == Owner::Compaction => {
                let input = CompactionInput::Answered(token, Err(why));
                return life.compactor.handle(now, input);
            }
            LogEvent::Committed { token, record } => {
                life.view.apply(&record);
                life.snapshots.turn(&life.view, life.log.disk_mut());
                if is_said(&record) {
                    node.has.insert(record.stamp);
                    self.said.insert(record.stamp, record.what.clone());
                }
                if token.owner == Owner::Link && is_said(&record) {
                    let is_new = life.stored.insert(record.stamp);
                    let is_wanted = match &record.what {
                        Payload::Chunk { id, .. } => life.wanted.contains(id),
                        _ => false,
                    };
                    let is_right = is_new || life.refused || is_wanted;
                    assert!(is_right, "{} stores {:?} twice", node.name, record.stamp);
                } else if is_said(&record) {
                    self.promised.insert(record.stamp, record.what);
                }
                (token, LinkInput::Stored { token })
            }
            LogEvent::Refused { token, why } => {
                life.refused |= token.owner == Owner::Link;
                if token.owner != Owner::Link {
                    // Who is told so does not go on speaking.
                    life.speaking.clear();
                }
                (token, LinkInput::NotStored { token, why })
            }
            LogEvent::Room { .. } => return,
        };
        if token.owner == Owner::Link {
            life.link.handle(now.mono, input);
        }
    }

    fn on_link(&mut self, n: usize, output: LinkOutput) {
        let now = self.mono_now(n);
        let soon = now.mono + Duration::from_micros(self.rng.random_range(1..500));
        let Some(life) = &mut self.nodes[n].life else {
            return;
        };
        match output {
            LinkOutput::Dial { peer } => self.on_dial(n, peer),
            LinkOutput::Close { conn, .. } => {
                self.wires.close(self.now, (n, conn), &mut self.rng);
            }
            LinkOutput::Send {
                conn,
                frame,
                is_told,
                is_bulk,
            } => {
                let (at, bytes) = ((n, conn), frame.to_vec());
                self.wires.send(self.now, at, bytes, is_bulk, &mut self.rng);
                if let Some(life) = self.nodes[n].life.as_mut().filter(|_| is_told) {
                    let sent = LinkInput::Sent { conn };
                    life.answers.push_front((now.mono, sent));
                }
            }
            LinkOutput::Store { token, append } => life.log.submit(now, token, append),
            LinkOutput::ReadLog {
                token,
                segment,
                offset,
                bytes,
            } => {
                let piece = life.log.disk().piece(segment, offset, bytes);
                life.answers
                    .push_back((soon, LinkInput::Read { token, piece }));
                life.answers.make_contiguous().sort_by_key(|(at, _)| *at);
            }
            LinkOutput::FindSound { token, sound } => {
                let sound = life.view.sound(sound);
                let places = sound.map_or(Vec::new(), |sound| sound.chunks.clone());
                life.link
                    .handle(now.mono, LinkInput::Places { token, places });
            }
            LinkOutput::Event(event) => self.on_event(n, event),
        }
    }

    fn on_event(&mut self, n: usize, event: LinkEvent) {
        match event {
            LinkEvent::Acked { peer, position } => self.see_acked(n, peer, position),
            LinkEvent::Up { peer } => {
                let life = self.nodes[n].life.as_mut();
                let _ = life.and_then(|life| life.acked.remove(&peer));
            }
            LinkEvent::Contradiction { peer, epoch } => {
                panic!("{} contradicts {peer} in epoch {epoch}", self.nodes[n].name)
            }
            LinkEvent::Fetched {
                sound, found: true, ..
            } => self.see_fetched(n, sound),
            _ => {}
        }
    }

    fn on_dial(&mut self, n: usize, peer: NodeName) {
        let Some(other) = self.nodes.iter().position(|node| node.name == peer) else {
            return;
        };
        let delay = Duration::from_micros(self.rng.random_range(100..20_000));
        let is_open = self.nodes[other].life.is_some() && !self.wires.is_cut(n, other);
        if !is_open {
            if let Some(life) = &mut self.nodes[n].life {
                let due = self.now + delay;
                life.answers.push_back((
                    due,
                    LinkInput::NotConnected {
                        peer,
                        why: CloseReason::Unreachable,
                    },
                ));
                life.answers.make_contiguous().sort_by_key(|(at, _)| *at);
            }
            return;
        }
        self.wires.dial(self.now, n, other, delay);
    }
}

impl Node {
    /// What was said here and by whom else, the network apart.
    fn append(&mut self, now: Now, token: u64, append: Append) {
        if let Some(life) = &mut self.life {
            life.log.submit(now, Token::call_control(token), append);
        }
    }
}

fn empty_disk() -> SimDisk {
    SimDisk::new(SEGMENT_BYTES, CAPACITY_BYTES)
}

/// It says something to others.
fn is_said(record: &Committed) -> bool {
    !matches!(&record.what, Payload::Register { key, .. } if key.starts_with(LOCAL_REGISTERS))
}

/// A piece of a sound: its samples tell whose and which it is.
fn chunk(id: Id, index: u32) -> ChunkBlock {
    let mut block = ChunkBlock::new();
    block.push(&samples(id, index));
    block
}

fn samples(id: Id, index: u32) -> Vec<u8> {
    let length = 1 + (id.number as usize * 7 + index as usize * 13) % 200;
    format!("{id}/{index} ")
        .bytes()
        .cycle()
        .take(length)
        .collect()
}

/// Begins a sound.
fn begin(id: Id, at: WallTime) -> Append {
    Append::Begin {
        id,
        codec: SoundCodec::Pcmu,
        at,
        about: format!("about {id}").into(),
    }
}

/// Ends one.
fn seal(id: Id, kind: SealKind) -> Append {
    let about = "".into();
    Append::Seal { id, kind, about }
}
