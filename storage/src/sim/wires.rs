//! Connections of the link between simulated nodes, which are numbers here.
//!
//! A connection delivers its frames in order or ends, as TLS over TCP does; what was on its way when it
//! ended may be gone. A cut keeps frames back without a word, in one direction or both, until it heals.
//! Bulk may be overtaken by what is not bulk.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use rand::{Rng, RngExt};

use crate::block::{CHUNK_SAMPLES_MAX, ChunkBlock};
use crate::link::{ConnId, Link, LinkInput};
use crate::name::NodeName;
use crate::time::Time;

/// What a cut keeps back is tried again after this long.
const RETRANSMIT: Duration = Duration::from_millis(50);

/// See the chapter above.
#[derive(Debug, Default)]
pub struct SimWires {
    wires: Vec<Wire>,
    /// From, to: nothing gets through.
    cuts: BTreeSet<(usize, usize)>,
    conn_last: u64,
}

/// Something comes to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A connection is there.
    Connected {
        /// Its name at this end.
        conn: ConnId,
        /// The node at the other end.
        peer: usize,
        /// This end has dialled.
        dialled: bool,
    },
    /// A frame has come.
    Frame {
        /// Over which.
        conn: ConnId,
        /// What.
        bytes: Vec<u8>,
    },
    /// A connection has ended.
    Disconnected {
        /// Which.
        conn: ConnId,
    },
}

impl Arrival {
    /// What the link is told of it; `name` gives a node's name.
    pub fn into_input(self, name: impl Fn(usize) -> NodeName) -> LinkInput {
        match self {
            Arrival::Connected {
                conn,
                peer,
                dialled,
            } => LinkInput::Connected {
                conn,
                peer: name(peer),
                dialled,
            },
            Arrival::Frame { conn, bytes } => LinkInput::Frame { conn, bytes },
            Arrival::Disconnected { conn } => LinkInput::Disconnected { conn },
        }
    }
}

/// Gives a link the chunks that a frame may need, full of what was in them before.
pub fn give_spare(link: &mut Link, input: &LinkInput) {
    let LinkInput::Frame { bytes, .. } = input else {
        return;
    };
    for _ in 0..link.spare_wanted(bytes.len()) {
        let mut used = ChunkBlock::new();
        used.push(&[0xee; CHUNK_SAMPLES_MAX]);
        link.give_spare(used);
    }
}

/// A connection: both ends and what is under way.
#[derive(Debug)]
struct Wire {
    ends: [(usize, ConnId); 2],
    /// To each end: due, and what.
    under_way: [VecDeque<(Time, Passing)>; 2],
    /// That end was told that it is there, and not that it is gone.
    is_known: [bool; 2],
}

#[derive(Debug)]
enum Passing {
    Connected { dialled: bool },
    Frame { bytes: Vec<u8>, is_bulk: bool },
    Ended,
}

impl SimWires {
    /// When something arrives next.
    pub fn deadline(&self) -> Option<Time> {
        self.next().map(|(due, ..)| due)
    }

    fn next(&self) -> Option<(Time, usize, usize)> {
        let ends = self.wires.iter().enumerate().flat_map(|(at, wire)| {
            let ways = wire.under_way.iter().enumerate();
            ways.filter_map(move |(end, way)| way.front().map(|(due, _)| (*due, at, end)))
        });
        ends.min_by_key(|(due, ..)| *due)
    }

    /// What has arrived by `now`, and at which node. `None`: nothing more.
    pub fn deliver(&mut self, now: Time) -> Option<(usize, Arrival)> {
        loop {
            let (_, at, end) = self.next().filter(|(due, ..)| *due <= now)?;
            let wire = &mut self.wires[at];
            let ((n, conn), (peer, _)) = (wire.ends[end], wire.ends[1 - end]);
            if self.cuts.contains(&(peer, n)) {
                // It is sent again and again.
                let front = wire.under_way[end].front_mut();
                front
                    .into_iter()
                    .for_each(|(due, _)| *due = now + RETRANSMIT);
                continue;
            }
            let (_, passing) = wire.under_way[end].pop_front()?;
            let arrival = match passing {
                Passing::Connected { dialled } => {
                    wire.is_known[end] = true;
                    Arrival::Connected {
                        conn,
                        peer,
                        dialled,
                    }
                }
                Passing::Frame { bytes, .. } if wire.is_known[end] => {
                    Arrival::Frame { conn, bytes }
                }
                Passing::Ended if wire.is_known[end] => {
                    wire.is_known[end] = false;
                    Arrival::Disconnected { conn }
                }
                Passing::Frame { .. } | Passing::Ended => continue,
            };
            return Some((n, arrival));
        }
    }

    /// Node `from` dials `to`, which is there and takes it.
    pub fn dial(&mut self, now: Time, from: usize, to: usize, delay: Duration) {
        let ends = [
            (from, ConnId(self.conn_last + 1)),
            (to, ConnId(self.conn_last + 2)),
        ];
        self.conn_last += 2;
        let due = now + delay;
        let connected = |dialled| VecDeque::from([(due, Passing::Connected { dialled })]);
        self.wires.retain(|wire| {
            wire.is_known != [false; 2] || wire.under_way.iter().any(|way| !way.is_empty())
        });
        self.wires.push(Wire {
            ends,
            under_way: [connected(true), connected(false)],
            is_known: [false; 2],
        });
    }

    /// Node `n` sends a frame over its connection.
    pub fn send(
        &mut self,
        now: Time,
        (n, conn): (usize, ConnId),
        bytes: Vec<u8>,
        is_bulk: bool,
        rng: &mut impl Rng,
    ) {
        let delay = Duration::from_micros(rng.random_range(50..5_000));
        let wire = self.wires.iter_mut();
        let Some(wire) = { wire }.find(|wire| wire.ends.contains(&(n, conn))) else {
            return;
        };
        let end = usize::from(wire.ends[0] == (n, conn));
        let due = now + delay;
        let way = &mut wire.under_way[end];
        // It overtakes some of the bulk that is still to be sent.
        let is_passed = |(_, passing): &&(Time, Passing)| {
            matches!(passing, Passing::Frame { is_bulk: true, .. })
        };
        let bulk = way.iter().rev().take_while(is_passed).count();
        let passed = rng.random_range(0..=if is_bulk { 0 } else { bulk });
        let at = way.len() - passed;
        let due = at.checked_sub(1).map_or(due, |last| due.max(way[last].0));
        let due = way.get(at).map_or(due, |(next, _)| due.min(*next));
        way.insert(at, (due, Passing::Frame { bytes, is_bulk }));
    }

    /// Node `n` closes its connection.
    pub fn close(&mut self, now: Time, (n, conn): (usize, ConnId), rng: &mut impl Rng) {
        let at = self.wires.iter().position(|w| w.ends.contains(&(n, conn)));
        if let Some(at) = at {
            let end = usize::from(self.wires[at].ends[1] == (n, conn));
            self.wires[at].is_known[end] = false;
            self.end(now, at, rng);
        }
    }

    /// Node `n` is dead.
    pub fn end_all_of(&mut self, now: Time, n: usize, rng: &mut impl Rng) {
        for at in 0..self.wires.len() {
            if let Some(end) = self.wires[at].ends.iter().position(|(m, _)| *m == n) {
                self.wires[at].is_known[end] = false;
                self.end(now, at, rng);
            }
        }
    }

    /// Some connection breaks.
    pub fn break_one(&mut self, now: Time, rng: &mut impl Rng) {
        if !self.wires.is_empty() {
            let at = rng.random_range(0..self.wires.len());
            self.end(now, at, rng);
        }
    }

    /// A connection ends: some of what is under way still arrives, both ends learn of it sooner or later.
    fn end(&mut self, now: Time, at: usize, rng: &mut impl Rng) {
        let wire = &mut self.wires[at];
        for way in &mut wire.under_way {
            let arrives = rng.random_range(0..=way.len());
            let due = now + Duration::from_micros(rng.random_range(100..200_000));
            way.truncate(arrives);
            let due = way.back().map_or(due, |(last, _)| due.max(*last));
            way.push_back((due, Passing::Ended));
        }
    }

    /// What node `n` has under way, and what comes to it, is gone: what it says may not be true any more.
    pub fn forget_under_way(&mut self, n: usize) {
        let of = |wire: &&mut Wire| wire.ends.iter().any(|(m, _)| *m == n);
        for wire in self.wires.iter_mut().filter(of) {
            let ways = wire.under_way.iter_mut();
            ways.for_each(|way| way.retain(|(_, passing)| matches!(passing, Passing::Ended)));
        }
    }

    /// Nothing gets from one to the other.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    /// All cuts heal.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    /// Nothing gets from one to the other, or back.
    pub fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cuts.contains(&(one, other)) || self.cuts.contains(&(other, one))
    }

    /// Both know of a connection between them.
    pub fn is_up(&self, one: usize, other: usize) -> bool {
        self.wires.iter().any(|wire| {
            let ends = wire.ends.map(|(n, _)| n);
            wire.is_known == [true; 2] && ends.contains(&one) && ends.contains(&other)
        })
    }
}
