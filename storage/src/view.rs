//! What the log says, kept in memory: sounds, registers, entries.
//!
//! Whoever wants to know something holds a [`View`] and hands it every [`Committed`] record; at
//! start the log hands over one that has read everything. A view decides nothing about what a
//! sound is *for*: mailboxes and directories are views on top of this one.
//!
//! Invariants: applying a record twice changes nothing; applying the same records in another
//! order ends in the same view. A register belongs to the record with the highest [`Stamp`], a
//! sound to its earliest beginning and earliest seal, unless it was taken back: that is final. So
//! the logs of two nodes can be read in any interleaving. Of two places of one chunk the one further on
//! in the log holds.
//!
//! Memory: a sound costs about 30 bytes a half second; of each topic the newest
//! [`ENTRIES_PER_TOPIC_MAX`] entries are kept (the rest stays in the log), of at most
//! [`TOPICS_MAX`] topics.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::name::Id;
use crate::seam::{ChunkPlace, Committed, SealKind, SoundCodec, Stamp, What};
use crate::time::WallTime;

/// The entries of one topic that a view keeps.
pub const ENTRIES_PER_TOPIC_MAX: usize = 1000;
/// The topics a view keeps entries of.
pub const TOPICS_MAX: usize = 256;

/// What the records so far say.
#[derive(Clone, Debug, Default)]
pub struct View {
    sounds: BTreeMap<Id, Tale>,
    registers: BTreeMap<Arc<str>, Register>,
    topics: BTreeMap<Arc<str>, BTreeMap<Stamp, Arc<str>>>,
    entries_skipped: u64,
}

/// A sound: what has been said and where it lies.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// Its name.
    pub id: Id,
    /// How its samples are kept.
    pub codec: SoundCodec,
    /// When it began.
    pub at: WallTime,
    /// What it is and whose, as given when it began.
    pub about: Arc<str>,
    /// Its chunks that are durable, in the order they were spoken. Empty once it is discarded.
    pub chunks: Vec<ChunkPlace>,
    /// How it ended, and what was known only then. `None`: it is being spoken.
    pub seal: Option<(SealKind, Arc<str>)>,
}

/// A sound and what is needed to hear of it in any order.
#[derive(Clone, Debug)]
struct Tale {
    /// Not for others before its beginning was heard of.
    begun: Option<Stamp>,
    /// Orders seals: taking a sound back goes before all else, then the earliest holds.
    sealed: Option<(bool, Stamp)>,
    sound: Sound,
    /// Which piece each of `sound.chunks` is.
    indexes: Vec<u32>,
}

/// A removed register stays, so that an older value that comes later cannot bring it back.
#[derive(Clone, Debug)]
struct Register {
    stamp: Stamp,
    value: Option<Arc<str>>,
}

impl Sound {
    /// Its length in samples, as far as it is durable.
    pub fn samples(&self) -> u64 {
        self.chunks.iter().map(|c| u64::from(c.samples)).sum()
    }
}

impl View {
    /// A view that has heard nothing.
    pub fn new() -> View {
        View::default()
    }

    /// Takes a record in.
    pub fn apply(&mut self, record: &Committed) {
        let stamp = record.stamp;
        match &record.what {
            What::Begin {
                id,
                codec,
                at,
                about,
            } => {
                self.tale(*id).begin(stamp, *codec, *at, about);
            }
            What::Chunk { id, index, place } => self.tale(*id).chunk(*index, *place),
            What::Seal { id, kind, about } => self.tale(*id).seal(stamp, *kind, about),
            What::Register { key, value } => self.set(stamp, key, value),
            What::Entry { topic, body } => self.enter(stamp, topic, body),
        }
    }

    /// One sound, once its beginning is known.
    pub fn sound(&self, id: Id) -> Option<&Sound> {
        self.sounds
            .get(&id)
            .filter(|t| t.begun.is_some())
            .map(|t| &t.sound)
    }

    /// All sounds that have begun, whatever became of them, in the order of their names.
    pub fn sounds(&self) -> impl Iterator<Item = &Sound> {
        self.sounds
            .values()
            .filter(|t| t.begun.is_some())
            .map(|t| &t.sound)
    }

    /// A register's value; `None` if it was never set or was removed.
    pub fn register(&self, key: &str) -> Option<&str> {
        self.registers.get(key)?.value.as_deref()
    }

    /// The registers whose keys begin with `prefix`, in key order.
    pub fn registers<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.registers
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .filter_map(|(key, register)| Some((&**key, register.value.as_deref()?)))
    }

    /// The newest entries of a topic, newest first, `newest_max` at most.
    pub fn entries(&self, topic: &str, newest_max: usize) -> impl Iterator<Item = (Stamp, &str)> {
        let entries = self.topics.get(topic).into_iter().flatten().rev();
        entries
            .take(newest_max)
            .map(|(stamp, body)| (*stamp, &**body))
    }

    /// Entries not kept because there were too many topics. They are in the log.
    pub fn entries_skipped(&self) -> u64 {
        self.entries_skipped
    }

    fn tale(&mut self, id: Id) -> &mut Tale {
        self.sounds.entry(id).or_insert_with(|| Tale::unheard(id))
    }

    fn set(&mut self, stamp: Stamp, key: &Arc<str>, value: &Option<Arc<str>>) {
        match self.registers.get_mut(key) {
            Some(register) if register.stamp >= stamp => {}
            Some(register) => {
                *register = Register {
                    stamp,
                    value: value.clone(),
                }
            }
            None => {
                self.registers.insert(
                    key.clone(),
                    Register {
                        stamp,
                        value: value.clone(),
                    },
                );
            }
        }
    }

    fn enter(&mut self, stamp: Stamp, topic: &Arc<str>, body: &Arc<str>) {
        if !self.topics.contains_key(topic) && self.topics.len() == TOPICS_MAX {
            self.entries_skipped += 1;
            return;
        }
        let entries = self.topics.entry(topic.clone()).or_default();
        entries.insert(stamp, body.clone());
        if entries.len() > ENTRIES_PER_TOPIC_MAX {
            entries.pop_first();
        }
    }
}

impl Tale {
    fn unheard(id: Id) -> Tale {
        let sound = Sound {
            id,
            codec: SoundCodec::Pcmu,
            at: WallTime(0),
            about: "".into(),
            chunks: Vec::new(),
            seal: None,
        };
        Tale {
            begun: None,
            sealed: None,
            sound,
            indexes: Vec::new(),
        }
    }

    fn begin(&mut self, stamp: Stamp, codec: SoundCodec, at: WallTime, about: &Arc<str>) {
        if self.begun.is_some_and(|earlier| earlier <= stamp) {
            return;
        }
        self.begun = Some(stamp);
        self.sound.codec = codec;
        self.sound.at = at;
        self.sound.about = about.clone();
    }

    fn chunk(&mut self, index: u32, place: ChunkPlace) {
        if matches!(self.sound.seal, Some((SealKind::Discarded, _))) {
            return;
        }
        match self.indexes.binary_search(&index) {
            // Told again from another place: the newer one, for the older may be given up.
            Ok(at) => {
                let known = &mut self.sound.chunks[at];
                if (known.segment, known.offset) < (place.segment, place.offset) {
                    *known = place;
                }
            }
            Err(at) => {
                self.indexes.insert(at, index);
                self.sound.chunks.insert(at, place);
            }
        }
    }

    fn seal(&mut self, stamp: Stamp, kind: SealKind, about: &Arc<str>) {
        let taken_back = kind == SealKind::Discarded;
        if self.sealed.is_some_and(|was| was <= (!taken_back, stamp)) {
            return;
        }
        self.sealed = Some((!taken_back, stamp));
        self.sound.seal = Some((kind, about.clone()));
        if taken_back {
            self.sound.chunks = Vec::new();
            self.indexes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::Hlc;

    fn id(number: u64) -> Id {
        Id {
            node: "office".parse().unwrap(),
            epoch: 1,
            number,
        }
    }

    fn at(seq: u64, what: What) -> Committed {
        let node = "office".parse().unwrap();
        Committed {
            stamp: Stamp {
                hlc: Hlc(seq * 10),
                node,
                epoch: 1,
                seq,
            },
            what,
        }
    }

    fn set(seq: u64, key: &str, value: Option<&str>) -> Committed {
        at(
            seq,
            What::Register {
                key: key.into(),
                value: value.map(Arc::from),
            },
        )
    }

    fn message() -> Vec<Committed> {
        let place = |n: u32| ChunkPlace {
            segment: 1,
            offset: u64::from(n) * 4096,
            samples: 100,
        };
        let chunk = |seq, index| {
            at(
                seq,
                What::Chunk {
                    id: id(1),
                    index,
                    place: place(index),
                },
            )
        };
        let (codec, about) = (SoundCodec::Pcma, Arc::from("for 101"));
        vec![
            at(
                1,
                What::Begin {
                    id: id(1),
                    codec,
                    at: WallTime(7),
                    about,
                },
            ),
            chunk(2, 0),
            chunk(3, 1),
            chunk(4, 2),
            at(
                5,
                What::Seal {
                    id: id(1),
                    kind: SealKind::Whole,
                    about: "urgent".into(),
                },
            ),
        ]
    }

    #[test]
    fn the_last_writer_wins_in_any_order() {
        let mut records = [
            set(1, "user/1/dnd", Some("on")),
            set(2, "user/1/dnd", Some("off")),
            set(3, "user/2/dnd", Some("on")),
            set(4, "user/2/dnd", None),
        ];
        for _ in 0..2 {
            let mut view = View::new();
            records.iter().for_each(|r| view.apply(r));
            assert_eq!(view.register("user/1/dnd"), Some("off"));
            assert_eq!(view.register("user/2/dnd"), None);
            records.reverse();
        }
    }

    #[test]
    fn registers_are_listed_by_prefix_in_key_order() {
        let mut view = View::new();
        for (seq, key) in (1..).zip(["b/2", "a/1", "b/1", "c/1", "b"]) {
            view.apply(&set(seq, key, Some(key)));
        }
        view.apply(&set(9, "b/3", None));
        let keys: Vec<_> = view.registers("b/").map(|(key, _)| key).collect();
        assert_eq!(keys, ["b/1", "b/2"]);
    }

    #[test]
    fn a_sound_is_the_same_in_any_order_and_told_twice() {
        let forth = message();
        let back: Vec<_> = message().into_iter().rev().chain(message()).collect();
        let sounds = [forth, back].map(|records| {
            let mut view = View::new();
            records.iter().for_each(|r| view.apply(r));
            view.sound(id(1)).unwrap().clone()
        });
        assert_eq!(sounds[0], sounds[1]);
        assert_eq!(sounds[0].samples(), 300);
        assert_eq!(sounds[0].seal, Some((SealKind::Whole, "urgent".into())));
    }

    #[test]
    fn a_sound_without_its_beginning_is_not_shown() {
        let mut view = View::new();
        message()[1..].iter().for_each(|r| view.apply(r));
        assert_eq!(view.sound(id(1)), None);
        assert_eq!(view.sounds().count(), 0);
    }

    #[test]
    fn entries_are_bounded_and_newest_first() {
        let mut view = View::new();
        for seq in 1..=ENTRIES_PER_TOPIC_MAX as u64 + 5 {
            let body = seq.to_string().into();
            view.apply(&at(
                seq,
                What::Entry {
                    topic: "call".into(),
                    body,
                },
            ));
        }
        let bodies: Vec<_> = view
            .entries("call", 2)
            .map(|(_, body)| body.to_owned())
            .collect();
        assert_eq!(bodies, ["1005", "1004"]);
        assert_eq!(
            view.entries("call", usize::MAX).count(),
            ENTRIES_PER_TOPIC_MAX
        );
        assert_eq!(view.entries("other", 9).count(), 0);
    }
}
