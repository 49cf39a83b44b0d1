//! What must hold, at every moment and once all is healed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cluster, samples};
use crate::link::Position;
use crate::name::{Id, NodeName};
use crate::seam::{Payload, SOUND_REGISTERS, SealKind, Stamp};
use crate::view::View;

/// What a node would tell whoever asks.
type Says = (
    BTreeMap<Id, (String, Option<SealKind>, Vec<Vec<u8>>)>,
    BTreeMap<String, String>,
    BTreeMap<Stamp, String>,
);

/// What the merge rule makes of all that was said: what is live, what the registers say, what was
/// destroyed. It is written a second time here, without a view.
#[derive(Default)]
struct Merged<'a> {
    live: BTreeSet<Stamp>,
    registers: BTreeMap<&'a str, (Stamp, Option<&'a str>)>,
    destroyed: BTreeSet<Id>,
}

impl<'a> Merged<'a> {
    fn of(said: &'a BTreeMap<Stamp, Payload>, union: &BTreeSet<Stamp>) -> Merged<'a> {
        let mut merged = Merged::default();
        let mut seals = BTreeMap::new();
        for stamp in union {
            match &said[stamp] {
                Payload::Seal { id, kind, .. } => {
                    let rank = match kind {
                        SealKind::Discarded => 0,
                        SealKind::Whole => 1,
                        SealKind::CutShort => 2,
                    };
                    let holds = seals.entry(*id).or_insert((rank, *stamp));
                    *holds = (rank, *stamp).min(*holds);
                }
                Payload::Register { key, value } => {
                    // Rising: the last writer wins.
                    let holds = (*stamp, value.as_deref());
                    merged.registers.insert(key, holds);
                }
                _ => {}
            }
        }
        let destroyed = seals.iter().filter(|(_, (rank, _))| *rank == 0);
        merged.destroyed = destroyed.map(|(id, _)| *id).collect();
        let is_of_destroyed = |key: &str| {
            let sound = key.strip_prefix(SOUND_REGISTERS);
            let id = sound.and_then(|rest| rest.split_once('/')?.0.parse().ok());
            id.is_some_and(|id: Id| merged.destroyed.contains(&id))
        };
        merged.registers.retain(|key, _| !is_of_destroyed(key));
        let is_live = |stamp: &&Stamp| match &said[*stamp] {
            Payload::Begin { id, .. } | Payload::Chunk { id, .. } => !merged.destroyed.contains(id),
            Payload::Seal { id, .. } => seals[id].1 == **stamp,
            Payload::Register { key, .. } => {
                let holds = merged.registers.get(&**key);
                holds.is_some_and(|(holds, _)| holds == *stamp)
            }
            Payload::Entry { .. } => true,
        };
        merged.live = union.iter().filter(is_live).copied().collect();
        merged
    }
}

impl Cluster {
    /// What a backup acknowledged it has, all of it that it did not acknowledge before: its disk may
    /// have been replaced since, and this connection not have ended yet.
    pub(super) fn see_acked(&mut self, n: usize, peer: NodeName, position: Position) {
        let life = self.nodes[n].life.as_mut();
        let before = life.and_then(|life| life.acked.insert(peer, position));
        let before = before.unwrap_or_default();
        let Some(m) = self.nodes.iter().position(|node| node.name == peer) else {
            return;
        };
        let other = &self.nodes[m];
        // What a node said before it died may come when its disk is not that one any more.
        let is_up = self.wires.is_up(n, m);
        if !is_up {
            return;
        }
        let name = self.nodes[n].name;
        let low = |stamp: &&Stamp| {
            let at = Position {
                epoch: stamp.epoch,
                seq: stamp.seq,
            };
            let is_dropped = || self.dropped.contains(stamp);
            let is_meant = stamp.node == name && at.epoch == position.epoch;
            is_meant && before < at && at <= position && !is_dropped()
        };
        for stamp in self.promised.keys().filter(low) {
            assert!(
                other.has.contains(stamp),
                "{peer} acknowledged {position:?} of {name} and lacks {stamp:?}"
            );
        }
    }

    /// A sound that was wanted is here: what is there of it, in order, are its own samples.
    pub(super) fn see_fetched(&mut self, n: usize, id: Id) {
        self.fetched += 1;
        let Some(life) = &self.nodes[n].life else {
            return;
        };
        let Some(sound) = life.view.sound(id) else {
            return;
        };
        let mut wanted = (0..10_000).map(|index| samples(id, index));
        for place in &sound.chunks {
            let chunk = life.log.disk().samples(place).expect("a chunk that reads");
            assert!(wanted.any(|samples| samples == chunk), "{id} at {place:?}");
        }
    }

    /// All nodes say the same, nothing that was promised is gone, and each knows the other whole.
    pub(super) fn see_all_equal(&self) {
        let union = self.union();
        let merged = Merged::of(&self.said, &union);
        for stamp in self.promised.keys() {
            assert!(
                union.contains(stamp),
                "lost: {stamp:?} {:?}",
                self.promised[stamp]
            );
        }
        let first = self.says(0);
        for n in 0..self.nodes.len() {
            let node = &self.nodes[n];
            let lacks = merged.live.difference(&node.has).take(5);
            let lacks: Vec<_> = lacks.map(|stamp| (stamp, &self.said[stamp])).collect();
            let status = node.life.as_ref().map(|life| life.link.status(self.now));
            assert!(
                lacks.is_empty(),
                "{} lacks {lacks:?}: {status:#?}",
                node.name
            );
            let says = self.says(n);
            assert_eq!(first.0, says.0, "sounds at {}", node.name);
            assert_eq!(first.1, says.1, "registers at {}", node.name);
            assert_eq!(first.2, says.2, "entries at {}", node.name);
        }
        self.see_it_said(&merged, &first);
    }

    /// All that is live is said, and nothing else.
    fn see_it_said(&self, merged: &Merged<'_>, says: &Says) {
        let registers = merged.registers.iter();
        let registers = registers.filter_map(|(key, (_, value))| Some((&**key, (*value)?)));
        let said = says.1.iter().map(|(key, value)| (&**key, &**value));
        assert!(said.eq(registers), "{:?}", says.1);
        for stamp in &merged.live {
            match &self.said[stamp] {
                Payload::Chunk { id, index, .. } => {
                    let sound = says.0.get(id).unwrap_or_else(|| panic!("lost: {id}"));
                    assert!(sound.2.len() > *index as usize, "lost: {id}, piece {index}");
                }
                Payload::Entry { .. } => assert!(says.2.contains_key(stamp), "lost: {stamp:?}"),
                _ => {}
            }
        }
    }

    fn union(&self) -> BTreeSet<Stamp> {
        let stamps = self.nodes.iter().flat_map(|node| node.has.iter());
        stamps.copied().collect()
    }

    /// No byte of what was destroyed is on any disk. Returns how many sounds that were.
    pub(super) fn see_destroyed_gone(&self) -> usize {
        let union = self.union();
        let destroyed = Merged::of(&self.said, &union).destroyed;
        for node in &self.nodes {
            let Some(life) = &node.life else { continue };
            for (number, bytes) in &life.log.disk().segments {
                for text in texts_in(bytes) {
                    let hit = destroyed.iter().find(|id| is_of(text, &id.to_string()));
                    assert!(
                        hit.is_none(),
                        "{hit:?} was destroyed and is on the disk of {}: segment {number} of {:?}, {:?}: {}",
                        node.name,
                        life.log.position(),
                        life.view.live_bytes().hides_since(*number),
                        text.escape_ascii(),
                    );
                }
            }
        }
        destroyed.len()
    }

    fn says(&self, n: usize) -> Says {
        let Some(life) = &self.nodes[n].life else {
            panic!("{} is dead", self.nodes[n].name);
        };
        let view: &View = &life.view;
        let disk = life.log.disk();
        let sounds = view.sounds().map(|sound| {
            let chunks = sound.chunks.iter().map(|place| {
                let samples = disk.samples(place).expect("a chunk that reads");
                samples.to_vec()
            });
            let kind = sound.seal.as_ref().map(|(kind, _)| *kind);
            (sound.id, (sound.about.to_string(), kind, chunks.collect()))
        });
        // Of what was destroyed some may still know that it began, others not.
        let sounds = sounds.filter(|(_, said)| said.1 != Some(SealKind::Discarded));
        let registers = view.registers("");
        let registers = registers.filter(|(key, _)| !key.starts_with(crate::seam::LOCAL_REGISTERS));
        let registers = registers.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let entries = view.entries("fact", usize::MAX);
        let entries = entries.map(|(stamp, body)| (stamp, body.to_owned()));
        let says: Says = (sounds.collect(), registers.collect(), entries.collect());
        for (id, (_, _, chunks)) in &says.0 {
            for (index, chunk) in (0..).zip(chunks) {
                assert_eq!(chunk, &samples(*id, index), "{id} piece {index}");
            }
        }
        says
    }
}

/// The stretches without zeros that are long enough to say something.
fn texts_in(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let texts = bytes.split(|byte| *byte == 0);
    texts.filter(|text| text.len() > 8)
}

/// It holds samples of this sound, or what it is about.
fn is_of(text: &[u8], id: &str) -> bool {
    let id = id.as_bytes();
    let places = text.windows(id.len() + 1).enumerate();
    let mut places = places.filter(|(_, window)| window.starts_with(id));
    places.any(|(at, window)| match window[id.len()] {
        b'/' => text.get(at + window.len()).is_some_and(u8::is_ascii_digit),
        next => text[..at].ends_with(b"about ") && !next.is_ascii_digit(),
    })
}
