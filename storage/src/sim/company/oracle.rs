//! What must hold, at every moment and once all is healed.

use std::collections::BTreeMap;

use super::{Company, samples};
use crate::link::Position;
use crate::name::{Id, NodeName};
use crate::seam::{SealKind, Stamp};
use crate::view::View;

/// What a node would tell whoever asks.
type Says = (
    BTreeMap<Id, (String, Option<SealKind>, Vec<Vec<u8>>)>,
    BTreeMap<String, String>,
    BTreeMap<Stamp, String>,
);

impl Company {
    /// What a backup acknowledged it has, all of it that it did not acknowledge before: its disk may
    /// have been replaced since, and this connection not have ended yet.
    pub(super) fn see_acked(&mut self, n: usize, peer: NodeName, position: Position) {
        let life = self.nodes[n].life.as_mut();
        let before = life.and_then(|life| life.acked.insert(peer, position));
        let before = before.unwrap_or_default();
        let Some(other) = self.nodes.iter().find(|node| node.name == peer) else {
            return;
        };
        // What a node said before it died may come when its disk is not that one any more.
        let is_alive = self.wires.iter().any(|wire| {
            let ends = wire.ends.map(|(m, _)| self.nodes[m].name);
            wire.is_known == [true; 2] && ends.contains(&peer) && ends.contains(&self.nodes[n].name)
        });
        if !is_alive {
            return;
        }
        let name = self.nodes[n].name;
        let low = |stamp: &&Stamp| {
            let at = Position {
                epoch: stamp.epoch,
                seq: stamp.seq,
            };
            stamp.node == name && at.epoch == position.epoch && before < at && at <= position
        };
        for stamp in self.promised.keys().filter(low) {
            assert!(
                other.has.contains(stamp),
                "{peer} acknowledged {position:?} of {name} and lacks {stamp:?}"
            );
        }
    }

    /// All nodes say the same, nothing that was promised is gone, and each knows the other whole.
    pub(super) fn see_all_equal(&self) {
        let union: std::collections::BTreeSet<Stamp> = self
            .nodes
            .iter()
            .flat_map(|node| node.has.iter().copied())
            .collect();
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
            let lacks: Vec<_> = union.difference(&node.has).take(5).collect();
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
        let registers = view.registers("");
        let registers = registers.filter(|(key, _)| !key.starts_with(crate::seam::LOCAL_KEYS));
        let registers = registers.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let entries = view.entries("fact", usize::MAX);
        let entries = entries.map(|(stamp, body)| (stamp, body.to_owned()));
        let says: Says = (sounds.collect(), registers.collect(), entries.collect());
        for (id, (_, kind, chunks)) in &says.0 {
            if *kind == Some(SealKind::Discarded) {
                assert!(chunks.is_empty(), "{id} was destroyed");
            }
            for (index, chunk) in (0..).zip(chunks) {
                assert_eq!(chunk, &samples(*id, index), "{id} piece {index}");
            }
        }
        says
    }
}
