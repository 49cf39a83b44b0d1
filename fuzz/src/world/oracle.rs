//! Who knows what must be true: listens to what is given to each node's log and what the log confirms,
//! and compares it with what is there after each crash and at the end.
//!
//! | promise | broken when |
//! |---|---|
//! | what was confirmed is there | a confirmed sound, chunk, seal or register is missing after a restart |
//! | nothing is there that was not said | a sound, a sample or a value that nobody wrote |
//! | a whole message is whole | a sound is sealed whole and one of its chunks was not confirmed |
//! | "saved" means saved | it is said before the seal of what was spoken is confirmed |
//! | saved is saved twice | it is said while no other node has all of it durably, and the node has not said that it is alone |
//! | what was saved twice stays | a disk is lost, and at rest a node does not have all of it |
//! | what was cut short is delivered | an unsealed sound of an earlier life is not sealed after a restart |
//! | a sound ends once | two seals, or none though its call is over |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tandem_engine::TOKEN_CHUNK;
use tandem_engine::seam::LegId;
use tandem_storage::name::Id;
use tandem_storage::seam::{
    Append, Committed, LogEvent, Owner, Payload, SOUND_REGISTERS, SealKind, Stamp, Token,
};
use tandem_storage::sim::SimDisk;
use tandem_storage::{Sound, View};

use super::start::name;

/// Sample `n` of piece `index` of a sound: different everywhere.
pub(super) fn pattern(sound: Id, index: u32, n: u64) -> u8 {
    let mixed = (sound.number ^ u64::from(sound.epoch) << 20)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(u64::from(index).wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_add(n.wrapping_mul(0x94d0_49bb_1331_11eb));
    (mixed >> 56) as u8
}

/// See the chapter above.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    sounds: BTreeMap<Id, Tale>,
    registers: BTreeMap<(usize, Arc<str>), Register>,
    /// What is on its way to a node's disk, by its token. Chunks have none of their own.
    under_way: BTreeMap<(usize, Token), Said>,
    recorded: BTreeMap<(usize, LegId), Id>,
    /// What each node ever had durably of others' sounds.
    copies: BTreeMap<usize, BTreeSet<Stamp>>,
    /// A node that is not a member of the cluster any more.
    removed: Option<usize>,
    pub(super) restarts: u64,
    pub(super) saved: u64,
    /// Of these, those that another node had.
    pub(super) saved_twice: u64,
}

/// One sound, as far as it is known from outside.
#[derive(Clone, Debug, Default)]
struct Tale {
    begun: bool,
    /// Samples of each piece given to the log.
    given: Vec<u64>,
    confirmed: BTreeSet<u32>,
    seals: Vec<SealKind>,
    sealed: Option<SealKind>,
    seal_refused: bool,
    /// The records it is made of, as confirmed where it was spoken.
    stamps: BTreeSet<Stamp>,
    /// "Saved" was said of it when another node had it.
    is_saved_twice: bool,
    /// The disk it was spoken to was lost since.
    is_disk_lost: bool,
}

#[derive(Clone, Debug, Default)]
struct Register {
    confirmed: Option<Arc<str>>,
    /// When, by the clock of whoever wrote it.
    at: Option<Stamp>,
    /// Written since, and not confirmed.
    since: Vec<Option<Arc<str>>>,
    /// What the link stored since the start: it may count, or something later does.
    stored: Vec<Option<Arc<str>>>,
}

#[derive(Clone, Debug)]
enum Said {
    Begin,
    Seal(Id),
    /// Of a sound of another node, or of a disk that was lost.
    CutShort,
    Register(Arc<str>),
    Entry,
}

impl Oracle {
    /// Something is given to node `n`'s log.
    pub(super) fn on_append(&mut self, n: usize, token: Token, append: &Append) {
        let said = match append {
            Append::Replica { stamp, .. } => panic!("call control restates nothing: {stamp:?}"),
            Append::Begin { id, .. } => {
                let fresh = self.sounds.insert(*id, Tale::default()).is_none();
                assert!(fresh, "sound {id} begins twice");
                Said::Begin
            }
            Append::Chunk { id, index, block } => {
                let tale = self
                    .sounds
                    .get_mut(id)
                    .expect("a sound begins before it is spoken");
                assert_eq!(
                    *index as usize,
                    tale.given.len(),
                    "a gap in what {id} was given"
                );
                tale.given.push(block.samples().len() as u64);
                return;
            }
            Append::Seal { id, kind, .. } => {
                let tale = self
                    .sounds
                    .get_mut(id)
                    .expect("a sound begins before it ends");
                if id.node == name(n) && !tale.is_disk_lost {
                    assert!(
                        tale.seals.is_empty(),
                        "{id} is sealed {kind:?} after {:?}",
                        tale.seals
                    );
                    tale.seals.push(*kind);
                    Said::Seal(*id)
                } else {
                    // Whoever spoke it is away, or has lost it: here it is at an end, as far as it has come.
                    assert_eq!(*kind, SealKind::CutShort, "{id} by node {n}");
                    Said::CutShort
                }
            }
            Append::Register { key, value } => {
                self.registers
                    .entry((n, key.clone()))
                    .or_default()
                    .since
                    .push(value.clone());
                Said::Register(key.clone())
            }
            Append::Entry { .. } => Said::Entry,
        };
        let twice = self.under_way.insert((n, token), said);
        assert!(twice.is_none(), "{token:?} is used twice");
    }

    /// The link of node `n` gives something to its log.
    pub(super) fn on_store(&mut self, n: usize, append: &Append) {
        let (key, value) = match append {
            Append::Register { key, value } => (key, value),
            Append::Replica {
                what: Payload::Register { key, value },
                ..
            } => (key, value),
            _ => return,
        };
        let register = self.registers.entry((n, key.clone())).or_default();
        register.stored.push(value.clone());
    }

    /// The log of node `n` has answered.
    pub(super) fn on_event(&mut self, n: usize, event: &LogEvent) {
        match event {
            LogEvent::Committed { token, record } if token.owner == Owner::Link => {
                self.on_copied(n, record);
            }
            LogEvent::Committed { token, record } => {
                self.on_committed(n, record);
                self.answered(n, *token);
            }
            LogEvent::Refused { token, .. } if token.owner == Owner::Link => {}
            LogEvent::Refused { token, .. } => match self.answered(n, *token) {
                Some(Said::Seal(id)) => self.tale(id).seal_refused = true,
                Some(Said::Register(key)) => {
                    let register = self.registers.entry((n, key)).or_default();
                    register.since.remove(0);
                }
                _ => {}
            },
            LogEvent::Room { .. } => {}
        }
    }

    /// Everything but a chunk is answered exactly once.
    fn answered(&mut self, n: usize, token: Token) -> Option<Said> {
        let said = self.under_way.remove(&(n, token));
        assert!(
            said.is_some() || token == TOKEN_CHUNK,
            "{token:?} is answered twice"
        );
        said
    }

    /// Node `n` has a record of another's, or its own is back.
    fn on_copied(&mut self, n: usize, record: &Committed) {
        self.copies.entry(n).or_default().insert(record.stamp);
        if let Payload::Register { key, value } = &record.what {
            let register = self.registers.entry((n, key.clone())).or_default();
            register.confirm(record.stamp, value);
        }
    }

    fn on_committed(&mut self, n: usize, record: &Committed) {
        let stamp = record.stamp;
        match &record.what {
            Payload::Begin { id, .. } => {
                let tale = self.tale(*id);
                tale.begun = true;
                tale.stamps.insert(stamp);
            }
            Payload::Chunk { id, index, place } => {
                let tale = self.tale(*id);
                tale.stamps.insert(stamp);
                assert_eq!(tale.given[*index as usize], u64::from(place.samples));
                tale.confirmed.insert(*index);
            }
            Payload::Seal { id, .. } if id.node != name(n) || self.sounds[id].is_disk_lost => {}
            Payload::Seal { id, kind, .. } => {
                let tale = self.tale(*id);
                tale.stamps.insert(stamp);
                tale.sealed = Some(*kind);
                let whole = tale.begun && tale.confirmed.len() == tale.given.len();
                assert!(
                    *kind != SealKind::Whole || whole,
                    "{id} is sealed whole and is not: {tale:?}"
                );
            }
            Payload::Register { key, value } => {
                let register = self.registers.entry((n, key.clone())).or_default();
                register.confirm(stamp, value);
                if !register.since.is_empty() {
                    register.since.remove(0);
                }
            }
            Payload::Entry { .. } => {}
        }
    }

    fn tale(&mut self, id: Id) -> &mut Tale {
        self.sounds
            .get_mut(&id)
            .expect("only what was given comes back")
    }

    /// A leg is recorded.
    pub(super) fn on_record(&mut self, leg: (usize, LegId), sound: Id) {
        self.recorded.insert(leg, sound);
    }

    /// A recording has ended, so the engine says.
    pub(super) fn on_record_done(&self, sound: Id, samples: u64) {
        let given: u64 = self.sounds[&sound].given.iter().sum();
        assert_eq!(given, samples, "the engine miscounts");
    }

    /// "Your message has been saved", by a node that had said that it is alone, or that it is not.
    pub(super) fn on_saved(&mut self, leg: (usize, LegId), says_alone: bool) {
        let sound = *self.recorded.get(&leg).expect("something was recorded");
        let tale = self.tale(sound);
        let (sealed, stamps) = (tale.sealed, tale.stamps.clone());
        let others = self.copies.iter().filter(|(n, _)| **n != leg.0);
        let is_twice = { others }.any(|(_, has)| stamps.is_subset(has));
        assert!(
            is_twice || says_alone,
            "\"saved\" was said of {sound}, which no other node has, and not that node {} is alone",
            leg.0
        );
        self.tale(sound).is_saved_twice |= is_twice;
        self.saved_twice += u64::from(is_twice);
        let kept = matches!(sealed, Some(SealKind::Whole | SealKind::CutShort));
        assert!(kept, "\"saved\" was said of {sound}, which is {sealed:?}");
        self.saved += 1;
    }

    /// The disk of node `n` is lost, and all that was there alone.
    pub(super) fn on_disk_lost(&mut self, n: usize) {
        let spoken_there = |id: &Id| id.node == name(n);
        for (_, tale) in self.sounds.iter_mut().filter(|(id, _)| spoken_there(id)) {
            tale.is_disk_lost = true;
        }
        self.registers.retain(|(m, _), _| *m != n);
    }

    /// Node `n` is removed: what it records from now on stays there.
    pub(super) fn on_removed(&mut self, n: usize) {
        self.removed = Some(n);
    }

    /// Node `n` has started again from what was on its disk.
    pub(super) fn on_restart(&mut self, n: usize, view: &View, disk: &SimDisk) {
        self.restarts += 1;
        self.under_way.retain(|(m, _), _| *m != n);
        self.recorded.retain(|(m, _), _| *m != n);
        for sound in view.sounds() {
            assert!(
                self.sounds.contains_key(&sound.id),
                "{} was never begun",
                sound.id
            );
        }
        let own = |id: &Id, tale: &Tale| id.node == name(n) && !tale.is_disk_lost;
        for (id, tale) in self.sounds.iter_mut().filter(|(id, tale)| own(id, tale)) {
            match view.sound(*id) {
                Some(sound) => tale.compare(sound, disk),
                None => {
                    assert!(!tale.begun, "{id} was confirmed and is gone");
                    *tale = Tale::default();
                }
            }
        }
        let own = self.registers.iter_mut().filter(|((m, _), _)| *m == n);
        for ((_, key), register) in own {
            let there: Option<Arc<str>> = view.register(key).map(Arc::from);
            let since = register.since.iter().chain(&register.stored);
            let is_destroyed = || {
                let sound = key.strip_prefix(SOUND_REGISTERS)?.split_once('/')?.0;
                let (kind, _) = view.sound(sound.parse().ok()?)?.seal.as_ref()?;
                Some(*kind == SealKind::Discarded)
            };
            let may_be = there == register.confirmed
                || { since }.any(|value| *value == there)
                || (there.is_none() && is_destroyed() == Some(true));
            assert!(may_be, "{key} is {there:?} and was {register:?}");
            *register = Register {
                confirmed: there,
                at: view.stamped(key).map(|(stamp, _)| stamp),
                since: Vec::new(),
                stored: Vec::new(),
            };
        }
    }

    /// All is at rest, and all nodes know each other: a node has all that was saved twice, or that was
    /// saved where the disk is still there.
    pub(super) fn on_rest(&self, n: usize, view: &View, disk: &SimDisk) {
        for (id, tale) in &self.sounds {
            let is_kept = matches!(tale.sealed, Some(SealKind::Whole | SealKind::CutShort));
            let is_elsewhere = self.removed.is_some_and(|m| id.node == name(m));
            let stays = tale.is_saved_twice || !(tale.is_disk_lost || is_elsewhere);
            let Some(sound) = view.sound(*id) else {
                assert!(!is_kept || !stays, "node {n} has nothing of {id}: {tale:?}");
                continue;
            };
            let found = tale.found(sound, disk);
            if is_kept && stays {
                let lacks: Vec<_> = tale.confirmed.difference(&found).collect();
                assert!(lacks.is_empty(), "node {n} lacks pieces {lacks:?} of {id}");
            }
        }
    }

    /// All calls are over: every sound has ended.
    pub(super) fn on_quiet(&self) {
        for (id, tale) in &self.sounds {
            let ended = tale.sealed.is_some() || tale.seal_refused || !tale.begun;
            // What was being spoken to a disk that was lost is sealed by whoever takes its place.
            let ended = ended || tale.is_disk_lost;
            assert!(ended, "{id} is never sealed: {tale:?}");
        }
        assert!(
            self.under_way.is_empty(),
            "the log has not answered: {:?}",
            self.under_way
        );
    }

    /// It is being spoken, or its end is not durable yet.
    pub(super) fn is_open(&self, id: Id) -> bool {
        let tale = &self.sounds[&id];
        tale.sealed.is_none() && !tale.is_disk_lost
    }

    /// Sounds that were kept.
    pub(super) fn kept(&self) -> usize {
        let kept = |t: &&Tale| matches!(t.sealed, Some(SealKind::Whole | SealKind::CutShort));
        self.sounds.values().filter(kept).count()
    }
}

impl Register {
    /// A value is durable; the later one counts.
    fn confirm(&mut self, at: Stamp, value: &Option<Arc<str>>) {
        if self.at.is_none_or(|before| before <= at) {
            (self.at, self.confirmed) = (Some(at), value.clone());
        }
    }
}

impl Tale {
    /// What is on the disk holds all that was confirmed, and only what was given. From now on it
    /// counts as confirmed.
    fn compare(&mut self, sound: &Sound, disk: &SimDisk) {
        let id = sound.id;
        let (kind, _) = sound
            .seal
            .as_ref()
            .unwrap_or_else(|| panic!("{id} is not sealed"));
        match self.sealed {
            Some(sealed) => assert_eq!(*kind, sealed, "{id} was sealed otherwise"),
            None => {
                let may_be = *kind == SealKind::CutShort || self.seals.contains(kind);
                assert!(may_be, "{id} is sealed {kind:?}, and was not: {self:?}");
            }
        }
        if *kind != SealKind::Discarded {
            let found = self.found(sound, disk);
            let missing: Vec<_> = self.confirmed.difference(&found).collect();
            assert!(
                missing.is_empty(),
                "of {id} these pieces are lost: {missing:?}"
            );
            self.confirmed = found;
        }
        (self.begun, self.sealed) = (true, Some(*kind));
    }

    /// Which pieces the chunks on the disk are, by their samples.
    fn found(&self, sound: &Sound, disk: &SimDisk) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut index = 0;
        for place in &sound.chunks {
            let samples = disk
                .samples(place)
                .expect("a chunk that counts can be read");
            let is_it = |index: u32| {
                samples
                    .iter()
                    .zip(0..)
                    .all(|(byte, n)| *byte == pattern(sound.id, index, n))
            };
            while (index as usize) < self.given.len() && !is_it(index) {
                index += 1;
            }
            let given = self.given.get(index as usize).copied();
            assert_eq!(
                given,
                Some(samples.len() as u64),
                "samples nobody gave in {}",
                sound.id
            );
            found.insert(index);
            index += 1;
        }
        found
    }
}
