//! What happens to a cluster. People speak, set and delete. Nodes die, split and come back. Disks are
//! replaced, fill up and fail. Clocks jump. Sound is destroyed, fetched, and not kept everywhere. Each
//! seed makes one story.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;

use super::{BEGIN_MS, CAPACITY_BYTES, Cluster, begin, chunk, empty_disk, seal};
use crate::link::{LinkInput, Position};
use crate::name::Id;
use crate::seam::{Append, SOUND_REGISTERS, SealKind, Stamp};
use crate::time::WallTime;
use crate::writer::WriteFault;

/// What came of a story.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// Records said by somebody.
    pub(super) records: usize,
    /// Nodes that died.
    pub(super) deaths: usize,
    /// Disks that were lost, or came back old.
    pub(super) replaced: usize,
    /// Links that were cut.
    pub(super) cuts: usize,
    /// Disks that filled up or failed.
    pub(super) faults: usize,
    /// Sounds that were fetched because somebody wanted to hear them.
    pub(super) fetched: usize,
    /// Sounds that were destroyed.
    pub(super) destroyed: usize,
    /// Starts with a snapshot.
    pub(super) restored: usize,
}

/// Lives through the story of a seed and panics if anything is not as it must be.
pub(super) fn live(seed: u64, acts: usize) -> Told {
    let count = 2 + (seed % 4) as usize;
    let mut cluster = Cluster::new(seed, count);
    let mut told = Told::default();
    let mut old = vec![None; count];
    for _ in 0..acts {
        cluster.act(&mut told, &mut old);
        let pause = cluster.rng.random_range(0..400_000);
        cluster.pass(Duration::from_micros(pause));
    }
    cluster.heal();
    cluster.see_all_equal();
    cluster.pass_days();
    cluster.see_all_equal();
    told.destroyed = cluster.see_destroyed_gone();
    told.records = cluster.promised.len();
    told.fetched = cluster.fetched;
    told.restored = cluster.restored;
    told
}

/// A copy of a disk, and what had been in segments of it that were retired.
type OldDisk = (super::SimDisk, BTreeSet<Stamp>);

impl Cluster {
    fn act(&mut self, told: &mut Told, old: &mut [Option<OldDisk>]) {
        let n = self.rng.random_range(0..self.nodes.len());
        match self.rng.random_range(0..100) {
            0..26 => self.say(n),
            26..53 => self.speak(n),
            53..57 => self.destroy(n),
            57..64 if self.alive() > 1 => {
                told.deaths += usize::from(self.nodes[n].life.is_some());
                self.kill(n);
            }
            64..72 => self.start(n),
            72..76 => {
                told.cuts += 1;
                self.cut(n);
            }
            76..80 => self.wires.heal(),
            80..82 => self.jump_clock(n),
            82..84 => self.wires.break_one(self.now, &mut self.rng),
            84..86 => {
                if let Some(life) = &self.nodes[n].life {
                    let dropped = self.nodes[n].dropped.clone();
                    let mut disk = life.log.disk().clone();
                    (disk.fault, disk.capacity_bytes) = (None, CAPACITY_BYTES);
                    old[n] = Some((disk, dropped));
                }
            }
            86..89 if self.alive() == self.nodes.len() => {
                told.replaced += 1;
                let disk = old[n].take();
                self.replace(n, disk);
            }
            89..92 => told.faults += usize::from(self.spoil(n)),
            92..94 => self.mend(n),
            94..96 => {
                self.nodes[n].keeps_all ^= true;
                self.introduce();
            }
            96..100 => self.want(n),
            _ => {}
        }
        (0..self.nodes.len()).for_each(|n| self.bury(n));
    }

    /// A node whose disk failed dies of it.
    fn bury(&mut self, n: usize) {
        let life = self.nodes[n].life.as_ref();
        if life.is_some_and(|life| life.log.is_poisoned()) {
            self.kill(n);
        }
    }

    /// A disk fills up, by what others write there or all at once; or it fails.
    fn spoil(&mut self, n: usize) -> bool {
        let how = self.rng.random_range(0..3);
        let Some(life) = &mut self.nodes[n].life else {
            return false;
        };
        let disk = life.log.disk_mut();
        match how {
            0 => disk.capacity_bytes = disk.used_bytes(),
            1 => disk.fault = Some(WriteFault::Full),
            _ => disk.fault = Some(WriteFault::Failed),
        }
        true
    }

    /// There is room again.
    fn mend(&mut self, n: usize) {
        if let Some(life) = &mut self.nodes[n].life {
            let disk = life.log.disk_mut();
            (disk.fault, disk.capacity_bytes) = (None, CAPACITY_BYTES);
        }
    }

    /// Somebody wants to hear what was spoken elsewhere.
    fn want(&mut self, n: usize) {
        let Some(sound) = self.any_sealed(n) else {
            return;
        };
        let (now, node) = (self.now, &mut self.nodes[n]);
        let Some(life) = &mut node.life else {
            return;
        };
        let sealed = life.view.sealed_at(sound);
        if let Some(stamp) = sealed
            && stamp.node == sound.node
            && stamp.node != node.name
        {
            let (epoch, seq) = (stamp.epoch, stamp.seq);
            let sealed = Position { epoch, seq };
            let chunks = life.view.unbroken(sound).len() as u32;
            life.wanted.insert(sound);
            let want = LinkInput::Want {
                sound,
                sealed,
                chunks,
            };
            life.link.handle(now, want);
            self.carry(n);
        }
    }

    fn alive(&self) -> usize {
        self.nodes.iter().filter(|node| node.life.is_some()).count()
    }

    /// Sets a register that others set, too, or notes a fact.
    fn say(&mut self, n: usize) {
        self.token_last += 1;
        let token = self.token_last;
        let key = self.rng.random_range(0..8);
        let append = match self.rng.random_range(0..5) {
            4 => {
                let Some(id) = self.any_sealed(n) else { return };
                Append::Register {
                    key: format!("{SOUND_REGISTERS}{id}/heard").into(),
                    value: Some("true".into()),
                }
            }
            0 => Append::Entry {
                topic: "fact".into(),
                body: format!("fact {token}").into(),
            },
            1 => Append::Register {
                key: format!("k{key}").into(),
                value: None,
            },
            _ => Append::Register {
                key: format!("k{key}").into(),
                value: Some(format!("v{token}").into()),
            },
        };
        self.submit(n, append);
    }

    fn submit(&mut self, n: usize, append: Append) {
        self.token_last += 1;
        let now = self.mono_now(n);
        let token = self.token_last;
        self.nodes[n].append(now, token, append);
        self.carry(n);
    }

    /// A sound begins, goes on or ends.
    fn speak(&mut self, n: usize) {
        let pick = self.rng.random_range(0..4);
        let Some(life) = &mut self.nodes[n].life else {
            return;
        };
        let append = match life.speaking.first_mut() {
            None => {
                let id = life.ids.next_id();
                life.speaking.push((id, 0));
                begin(id, WallTime(BEGIN_MS))
            }
            Some((id, _)) if pick == 0 => {
                let id = *id;
                life.speaking.clear();
                seal(id, SealKind::Whole)
            }
            Some((id, next)) => {
                let (id, index) = (*id, *next);
                *next += 1;
                Append::Chunk {
                    id,
                    index,
                    block: chunk(id, index),
                }
            }
        };
        self.submit(n, append);
    }

    /// Somebody deletes a sound for good, wherever it was spoken.
    fn destroy(&mut self, n: usize) {
        if let Some(id) = self.any_sealed(n) {
            self.submit(n, seal(id, SealKind::Discarded));
        }
    }

    fn any_sealed(&mut self, n: usize) -> Option<Id> {
        let view = &self.nodes[n].life.as_ref()?.view;
        let sealed = view.sounds().filter(|sound| sound.seal.is_some());
        let ids: Vec<_> = sealed.map(|sound| sound.id).collect();
        (!ids.is_empty()).then(|| ids[self.rng.random_range(0..ids.len())])
    }

    /// Between a node and another, or all others; one way or both.
    fn cut(&mut self, n: usize) {
        let how = self.rng.random_range(0..4);
        let other = self.rng.random_range(0..self.nodes.len());
        for m in 0..self.nodes.len() {
            if m != n && (how < 2 || m == other) {
                self.wires.cut(n, m);
                if how % 2 == 0 {
                    self.wires.cut(m, n);
                }
            }
        }
    }

    fn jump_clock(&mut self, n: usize) {
        let day_ms = 24 * 3600 * 1000;
        self.nodes[n].clock_ms = [-day_ms, 0, day_ms, 3000][self.rng.random_range(0..4)];
    }

    /// A node's disk is lost; another takes its place, empty or an old copy of it.
    fn replace(&mut self, n: usize, disk: Option<OldDisk>) {
        self.kill(n);
        // It was true when it was sent; but what it says is gone.
        self.wires.forget_under_way(n);
        let (disk, dropped) = disk.unwrap_or_else(|| (empty_disk(), BTreeSet::new()));
        self.nodes[n].disk = Some(disk);
        self.nodes[n].dropped = dropped;
        // What was on no other disk is lost; nobody can have been told that there was a copy.
        let mut has = self.nodes[n].dropped.clone();
        if let Some(disk) = &self.nodes[n].disk {
            let _ = disk.read(self.nodes[n].name, |record| {
                has.extend(super::is_said(record).then_some(record.stamp));
            });
        }
        self.nodes[n].has = has;
        let nodes = &self.nodes;
        self.promised
            .retain(|stamp, _| nodes.iter().any(|node| node.has.contains(stamp)));
        self.start(n);
    }

    /// Everything works again, and time passes.
    fn heal(&mut self) {
        self.wires.heal();
        for n in 0..self.nodes.len() {
            self.nodes[n].keeps_all = true;
            self.mend(n);
            self.bury(n);
            self.start(n);
        }
        self.introduce();
        self.pass(Duration::from_secs(30));
    }

    /// So much time that what was destroyed must be gone, whatever clock said when.
    fn pass_days(&mut self) {
        for node in &mut self.nodes {
            node.clock_ms += 3 * 24 * 3600 * 1000;
        }
        self.pass(Duration::from_secs(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_promised_is_lost_and_all_nodes_end_equal() {
        let first = env("CLUSTER_FIRST", 0);
        // Some forty a second on an idle core.
        let count = env("CLUSTER_SEEDS", 2000);
        let mut all = Told::default();
        for seed in first..first + count {
            let told = std::panic::catch_unwind(|| live(seed, 80));
            let Ok(told) = told else {
                panic!("seed {seed}: replay with CLUSTER_FIRST={seed} CLUSTER_SEEDS=1");
            };
            all.records += told.records;
            all.restored += told.restored;
            all.deaths += told.deaths;
            all.replaced += told.replaced;
            all.cuts += told.cuts;
            all.faults += told.faults;
            all.fetched += told.fetched;
            all.destroyed += told.destroyed;
        }
        println!("{count} clusters: {all:?}");
        let all = [
            all.records,
            all.deaths,
            all.replaced,
            all.cuts,
            all.faults,
            all.fetched,
            all.destroyed,
        ];
        assert!(count < 50 || all.iter().all(|count| *count > 0));
    }

    fn env(name: &str, otherwise: u64) -> u64 {
        let value = std::env::var(name).ok();
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or(otherwise)
    }
}
