//! Who knows what must be true: listens to what is given to the log and what the log confirms,
//! and compares it with what is there after each crash and at the end.
//!
//! | promise | broken when |
//! |---|---|
//! | what was confirmed is there | a confirmed sound, chunk, seal or register is missing after a restart |
//! | nothing is there that was not said | a sound, a sample or a value that nobody wrote |
//! | a whole message is whole | a sound is sealed whole and one of its chunks was not confirmed |
//! | "saved" means saved | it is said before the seal of what was spoken is confirmed |
//! | what was cut short is delivered | an unsealed sound of an earlier life is not sealed after a restart |
//! | a sound ends once | two seals, or none though its call is over |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tandem_engine::TOKEN_CHUNK;
use tandem_engine::seam::LegId;
use tandem_storage::name::Id;
use tandem_storage::seam::{Append, LogEvent, SealKind, Token, What};
use tandem_storage::sim::SimDisk;
use tandem_storage::{Sound, View};

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
    registers: BTreeMap<Arc<str>, Register>,
    /// What is on its way to the disk, by the node's token. Chunks have none of their own.
    under_way: BTreeMap<Token, Said>,
    recorded: BTreeMap<LegId, Id>,
    pub(super) restarts: u64,
    pub(super) saved: u64,
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
}

#[derive(Clone, Debug, Default)]
struct Register {
    confirmed: Option<Arc<str>>,
    /// Written since, and not confirmed.
    since: Vec<Option<Arc<str>>>,
}

#[derive(Clone, Debug)]
enum Said {
    Begin,
    Seal(Id),
    Register(Arc<str>),
    Entry,
}

impl Oracle {
    /// Something is given to the log.
    pub(super) fn on_append(&mut self, token: Token, append: &Append) {
        let said = match append {
            Append::Restate { stamp, .. } => panic!("call control restates nothing: {stamp:?}"),
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
                assert!(
                    tale.seals.is_empty(),
                    "{id} is sealed {kind:?} after {:?}",
                    tale.seals
                );
                tale.seals.push(*kind);
                Said::Seal(*id)
            }
            Append::Register { key, value } => {
                self.registers
                    .entry(key.clone())
                    .or_default()
                    .since
                    .push(value.clone());
                Said::Register(key.clone())
            }
            Append::Entry { .. } => Said::Entry,
        };
        let twice = self.under_way.insert(token, said);
        assert!(twice.is_none(), "{token:?} is used twice");
    }

    /// The log has answered.
    pub(super) fn on_event(&mut self, event: &LogEvent) {
        match event {
            LogEvent::Committed { token, record } => {
                self.on_committed(&record.what);
                self.answered(*token);
            }
            LogEvent::Refused { token, .. } => match self.answered(*token) {
                Some(Said::Seal(id)) => self.tale(id).seal_refused = true,
                Some(Said::Register(key)) => {
                    let register = self.registers.entry(key).or_default();
                    register.since.remove(0);
                }
                _ => {}
            },
            LogEvent::Room { .. } => {}
        }
    }

    /// Everything but a chunk is answered exactly once.
    fn answered(&mut self, token: Token) -> Option<Said> {
        let said = self.under_way.remove(&token);
        assert!(
            said.is_some() || token == TOKEN_CHUNK,
            "{token:?} is answered twice"
        );
        said
    }

    fn on_committed(&mut self, what: &What) {
        match what {
            What::Begin { id, .. } => self.tale(*id).begun = true,
            What::Chunk { id, index, place } => {
                let tale = self.tale(*id);
                assert_eq!(tale.given[*index as usize], u64::from(place.samples));
                tale.confirmed.insert(*index);
            }
            What::Seal { id, kind, .. } => {
                let tale = self.tale(*id);
                tale.sealed = Some(*kind);
                let whole = tale.begun && tale.confirmed.len() == tale.given.len();
                assert!(
                    *kind != SealKind::Whole || whole,
                    "{id} is sealed whole and is not: {tale:?}"
                );
            }
            What::Register { key, value } => {
                let register = self.registers.entry(key.clone()).or_default();
                register.confirmed = value.clone();
                if !register.since.is_empty() {
                    register.since.remove(0);
                }
            }
            What::Entry { .. } => {}
        }
    }

    fn tale(&mut self, id: Id) -> &mut Tale {
        self.sounds
            .get_mut(&id)
            .expect("only what was given comes back")
    }

    /// A leg is recorded.
    pub(super) fn on_record(&mut self, leg: LegId, sound: Id) {
        self.recorded.insert(leg, sound);
    }

    /// A recording has ended, so the engine says.
    pub(super) fn on_record_done(&self, sound: Id, samples: u64) {
        let given: u64 = self.sounds[&sound].given.iter().sum();
        assert_eq!(given, samples, "the engine miscounts");
    }

    /// "Your message has been saved."
    pub(super) fn on_saved(&mut self, leg: LegId) {
        let sound = self.recorded.get(&leg).expect("something was recorded");
        let sealed = self.sounds[sound].sealed;
        let kept = matches!(sealed, Some(SealKind::Whole | SealKind::CutShort));
        assert!(kept, "\"saved\" was said of {sound}, which is {sealed:?}");
        self.saved += 1;
    }

    /// The node has started again from what was on the disk.
    pub(super) fn on_restart(&mut self, view: &View, disk: &SimDisk) {
        self.restarts += 1;
        self.under_way.clear();
        self.recorded.clear();
        for sound in view.sounds() {
            assert!(
                self.sounds.contains_key(&sound.id),
                "{} was never begun",
                sound.id
            );
        }
        for (id, tale) in &mut self.sounds {
            match view.sound(*id) {
                Some(sound) => tale.compare(sound, disk),
                None => {
                    assert!(!tale.begun, "{id} was confirmed and is gone");
                    *tale = Tale::default();
                }
            }
        }
        for (key, register) in &mut self.registers {
            let there: Option<Arc<str>> = view.register(key).map(Arc::from);
            let may_be = there == register.confirmed || register.since.contains(&there);
            assert!(may_be, "{key} is {there:?} and was {register:?}");
            *register = Register {
                confirmed: there,
                since: Vec::new(),
            };
        }
    }

    /// All calls are over: every sound has ended.
    pub(super) fn on_quiet(&self) {
        for (id, tale) in &self.sounds {
            let ended = tale.sealed.is_some() || tale.seal_refused || !tale.begun;
            assert!(ended, "{id} is never sealed: {tale:?}");
        }
        assert!(
            self.under_way.is_empty(),
            "the log has not answered: {:?}",
            self.under_way
        );
    }

    /// Sounds that were kept.
    pub(super) fn kept(&self) -> usize {
        let kept = |t: &&Tale| matches!(t.sealed, Some(SealKind::Whole | SealKind::CutShort));
        self.sounds.values().filter(kept).count()
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
