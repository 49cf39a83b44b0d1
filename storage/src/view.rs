//! What the log says, kept in memory: sounds, registers, entries.
//!
//! Whoever wants to know something holds a [`View`] and hands it every [`Committed`] record; at
//! start the log hands over one that has read everything. A view decides nothing about what a
//! sound is *for*: mailboxes and directories are views on top of this one.
//!
//! Invariants: applying a record twice changes nothing; applying the same records in another
//! order ends in the same view. A register belongs to the record with the highest [`Stamp`], a
//! sound to its earliest beginning and earliest seal, a whole one before one that was cut short,
//! unless it was taken back: that is final. So
//! the logs of two nodes can be read in any interleaving. Of two places of one record the one further on
//! in the log holds.
//!
//! A sound that was taken back is destroyed: its seal stays, so that nothing of it comes back from
//! another node, and all else that was said of it is dead, the registers that go with it included.
//! The view counts the live bytes of each segment, for compaction, and can say of every record whether it
//! is live. A record it does not know counts as live.
//!
//! Memory: a sound costs about 30 bytes a half second; of each topic the newest
//! [`ENTRIES_PER_TOPIC_MAX`] entries are kept (the rest stays in the log), of at most
//! [`TOPICS_MAX`] topics.

pub(crate) mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use crate::block::BLOCK_BYTES;
use crate::cipher::ENCRYPTED;
use crate::live_bytes::{self, LiveBytes};
use crate::name::{Id, NodeName};
use crate::record::{kept_begin_bytes, kept_bytes, kept_register_bytes, kept_seal_bytes};
use crate::seam::{
    ChunkPlace, Committed, Hlc, Payload, SOUND_REGISTERS, SealKind, SoundCodec, Stamp,
};
use crate::time::WallTime;

/// The entries of one topic that a view keeps.
pub const ENTRIES_PER_TOPIC_MAX: usize = 20_000;
/// The topics a view keeps entries of.
pub const TOPICS_MAX: usize = 256;

/// What the records so far say.
#[derive(Clone, Debug, Default)]
pub struct View {
    sounds: BTreeMap<Id, SoundState>,
    registers: BTreeMap<Arc<str>, Register>,
    topics: BTreeMap<Arc<str>, BTreeMap<Stamp, Entry>>,
    entries_skipped: u64,
    live_bytes: LiveBytes,
    /// Sounds that it heard being destroyed.
    destroyed: u64,
    heard: Heard,
}

/// How far a view has listened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The last segment a record of which was heard: all before it were heard whole, for records come
    /// in the order of the log.
    pub segment: u32,
    /// The highest stamp.
    pub hlc: Hlc,
    /// All who said something.
    pub authors: BTreeSet<NodeName>,
}

/// What an entry says and the segment it lies in.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    body: Arc<str>,
    segment: u32,
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

/// Which of two seals holds: taking a sound back goes before all else; and that its node said it is
/// whole, before that others thought it was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SealRank {
    Discarded,
    Whole,
    CutShort,
}

impl SealRank {
    fn of(kind: SealKind) -> SealRank {
        match kind {
            SealKind::Discarded => SealRank::Discarded,
            SealKind::Whole => SealRank::Whole,
            SealKind::CutShort => SealRank::CutShort,
        }
    }
}

/// A sound and what is needed to hear of it in any order.
#[derive(Clone, Debug, PartialEq)]
struct SoundState {
    /// Not for others before its beginning was heard of.
    begun: Option<Stamp>,
    /// The segment that says so.
    begun_in: u32,
    /// Orders seals: the rank, then the earliest holds.
    sealed: Option<(SealRank, Stamp)>,
    /// The segment that says so.
    sealed_in: u32,
    sound: Sound,
    /// Which piece each of `sound.chunks` is.
    indexes: Vec<u32>,
}

/// A removed register stays, so that an older value that comes later cannot bring it back.
#[derive(Clone, Debug, PartialEq)]
struct Register {
    stamp: Stamp,
    value: Option<Arc<str>>,
    /// The segment that says so.
    segment: u32,
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
        let (stamp, segment) = (record.stamp, record.segment);
        self.heard.take(stamp, segment);
        match &record.what {
            Payload::Begin {
                id,
                codec,
                at,
                about,
            } => {
                let (tale, live) = self.tale(*id);
                tale.begin(live, (stamp, segment), *codec, *at, about);
            }
            Payload::Chunk { id, index, place } => {
                let (tale, live) = self.tale(*id);
                tale.chunk(live, *index, *place);
            }
            Payload::Seal { id, kind, about } => {
                let (tale, live) = self.tale(*id);
                let was_destroyed = tale.is_destroyed();
                tale.seal(live, (stamp, segment), *kind, about);
                let is_destroyed = tale.is_destroyed() && !was_destroyed;
                self.destroyed += u64::from(is_destroyed);
                if *kind == SealKind::Discarded {
                    self.forget_registers_of(*id);
                }
            }
            Payload::Register { key, value } => self.set(stamp, segment, key, value),
            Payload::Entry { topic, body } => self.enter(stamp, segment, topic, body),
        }
    }

    /// How far it has listened.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// How many sounds it heard being destroyed; of those before a snapshot it does not count any.
    pub(crate) fn destroyed(&self) -> u64 {
        self.destroyed
    }

    /// How much of each segment is live.
    pub fn live_bytes(&self) -> &LiveBytes {
        &self.live_bytes
    }

    /// The same, to forget segments that are gone.
    pub fn live_bytes_mut(&mut self) -> &mut LiveBytes {
        &mut self.live_bytes
    }

    /// Must this record be kept, where it lies? `entries_for`: how long entries are.
    pub fn is_live(&self, record: &Committed, now: WallTime, entries_for: Duration) -> bool {
        let (stamp, here) = (record.stamp, record.segment);
        match &record.what {
            Payload::Begin { id, .. } => self
                .sounds
                .get(id)
                .is_none_or(|tale| tale.keeps_begin(stamp, here)),
            Payload::Chunk { id, index, place } => self
                .sounds
                .get(id)
                .is_none_or(|tale| tale.keeps_chunk(*index, place)),
            Payload::Seal { id, kind, .. } => self
                .sounds
                .get(id)
                .is_none_or(|tale| tale.keeps_seal(stamp, *kind, here)),
            Payload::Register { key, .. } => match self.registers.get(key) {
                Some(known) => (known.stamp, known.segment) <= (stamp, here),
                None => !self.is_of_destroyed_sound(key),
            },
            Payload::Entry { topic, .. } => {
                let known = self.topics.get(topic).and_then(|t| t.get(&stamp));
                live_bytes::is_young(stamp.hlc.wall(), now, entries_for)
                    && known.is_none_or(|entry| entry.segment <= here)
            }
        }
    }

    /// All that is known to lie in this segment, in no order; of entries, the newest. Looks
    /// through everything: for when a segment was found damaged.
    pub fn lying_in(&self, segment: u32) -> Vec<Committed> {
        let mut list = Vec::new();
        let mut add = |stamp, what| {
            list.push(Committed {
                stamp,
                segment,
                what,
            });
        };
        for (id, tale) in &self.sounds {
            tale.lying_in(*id, segment, &mut add);
        }
        for (key, register) in self.registers.iter().filter(|(_, r)| r.segment == segment) {
            let (key, value) = (key.clone(), register.value.clone());
            add(register.stamp, Payload::Register { key, value });
        }
        for (topic, entries) in &self.topics {
            for (stamp, entry) in entries.iter().filter(|(_, e)| e.segment == segment) {
                let (topic, body) = (topic.clone(), entry.body.clone());
                add(*stamp, Payload::Entry { topic, body });
            }
        }
        list
    }

    /// One sound, once its beginning is known.
    pub fn sound(&self, id: Id) -> Option<&Sound> {
        self.sounds
            .get(&id)
            .filter(|t| t.begun.is_some())
            .map(|t| &t.sound)
    }

    /// The chunks of a sound from its first on, up to where one is missing. Of what is still coming
    /// from another node only so much can be played.
    pub fn unbroken(&self, id: Id) -> &[ChunkPlace] {
        let Some(tale) = self.sounds.get(&id) else {
            return &[];
        };
        // They rise without repeating: where one is not its own number, none after it is.
        let (mut from, mut to) = (0, tale.indexes.len());
        while from < to {
            let middle = (from + to).div_ceil(2);
            match (tale.indexes[middle - 1] & !ENCRYPTED) as usize == middle - 1 {
                true => from = middle,
                false => to = middle - 1,
            }
        }
        &tale.sound.chunks[..from]
    }

    /// The chunks of a sound that are here, each with its number: where numbers are missing, chunks are.
    pub fn pieces(&self, id: Id) -> impl Iterator<Item = (u32, ChunkPlace)> {
        let tale = self.sounds.get(&id).into_iter();
        tale.flat_map(|tale| {
            let numbers = tale.indexes.iter().map(|index| index & !ENCRYPTED);
            numbers.zip(tale.sound.chunks.iter().copied())
        })
    }

    /// Where a sound was sealed.
    pub fn sealed_at(&self, id: Id) -> Option<Stamp> {
        Some(self.sounds.get(&id)?.sealed?.1)
    }

    /// The sounds of a node that have begun and not ended.
    pub fn open_sounds(&self, node: NodeName) -> impl Iterator<Item = Id> {
        let first = Id {
            node,
            epoch: 0,
            number: 0,
        };
        let sounds = self.sounds.range(first..);
        let sounds = sounds.take_while(move |(id, _)| id.node == node);
        sounds
            .filter(|(_, tale)| tale.begun.is_some() && tale.sealed.is_none())
            .map(|(id, _)| *id)
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

    /// What a register says and since when; `None` inside: it was removed. `None`: nothing was heard of it.
    pub fn stamped(&self, key: &str) -> Option<(Stamp, Option<&str>)> {
        let register = self.registers.get(key)?;
        Some((register.stamp, register.value.as_deref()))
    }

    /// The keys that begin with `prefix`, of registers that were removed as well, in their order.
    pub fn keys<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.registers
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map(|(key, _)| &**key)
            .take_while(move |key| key.starts_with(prefix))
    }

    /// A register was set once and is no longer.
    pub fn is_removed(&self, key: &str) -> bool {
        let register = self.registers.get(key);
        register.is_some_and(|register| register.value.is_none())
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
            .map(|(stamp, entry)| (*stamp, &*entry.body))
    }

    /// The entries of a topic from `since` on that are before a stamp, newest first.
    pub fn entries_before(
        &self,
        topic: &str,
        since: Hlc,
        before: Option<Stamp>,
    ) -> impl Iterator<Item = (Stamp, Arc<str>)> {
        let before = before.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.topics.get(topic);
        let entries = entries.map(|entries| entries.range((Bound::Unbounded, before)).rev());
        entries
            .into_iter()
            .flatten()
            .take_while(move |(stamp, _)| stamp.hlc >= since)
            .map(|(stamp, entry)| (*stamp, entry.body.clone()))
    }

    /// Entries not kept because there were too many topics. They are in the log.
    pub fn entries_skipped(&self) -> u64 {
        self.entries_skipped
    }

    /// When a register took the value it has, or was removed, by the clock of who did it.
    pub fn register_set_at(&self, key: &str) -> Option<WallTime> {
        Some(self.registers.get(key)?.stamp.hlc.wall())
    }

    fn tale(&mut self, id: Id) -> (&mut SoundState, &mut LiveBytes) {
        let tale = self
            .sounds
            .entry(id)
            .or_insert_with(|| SoundState::unheard(id));
        (tale, &mut self.live_bytes)
    }

    fn set(&mut self, stamp: Stamp, segment: u32, key: &Arc<str>, value: &Option<Arc<str>>) {
        if self.is_of_destroyed_sound(key) {
            return;
        }
        let known = self.registers.get(key);
        if known.is_some_and(|known| (known.stamp, known.segment) >= (stamp, segment)) {
            return;
        }
        let bytes = kept_register_bytes(key.len(), value.as_ref().map(|v| v.len()));
        self.live_bytes.add(segment, bytes);
        let register = Register {
            stamp,
            value: value.clone(),
            segment,
        };
        match self.registers.get_mut(key) {
            Some(known) => {
                self.live_bytes.remove(known.segment, known.kept_bytes(key));
                *known = register;
            }
            None => {
                self.registers.insert(key.clone(), register);
            }
        }
    }

    /// The registers that go with a sound say nothing any more.
    fn forget_registers_of(&mut self, id: Id) {
        let prefix = format!("{SOUND_REGISTERS}{id}/");
        let range = (Bound::Included(&*prefix), Bound::Unbounded);
        let keys: Vec<Arc<str>> = self
            .registers
            .range::<str, _>(range)
            .map(|(key, _)| key.clone())
            .take_while(|key| key.starts_with(&*prefix))
            .collect();
        for key in keys {
            if let Some(register) = self.registers.remove(&key) {
                self.live_bytes
                    .remove(register.segment, register.kept_bytes(&key));
            }
        }
    }

    fn is_of_destroyed_sound(&self, key: &str) -> bool {
        let sound = key
            .strip_prefix(SOUND_REGISTERS)
            .and_then(|rest| rest.split_once('/')?.0.parse().ok())
            .and_then(|id: Id| self.sounds.get(&id));
        sound.is_some_and(SoundState::is_destroyed)
    }

    fn enter(&mut self, stamp: Stamp, segment: u32, topic: &Arc<str>, body: &Arc<str>) {
        if !self.topics.contains_key(topic) && self.topics.len() == TOPICS_MAX {
            self.entries_skipped += 1;
            return;
        }
        let what = Payload::Entry {
            topic: topic.clone(),
            body: body.clone(),
        };
        let (at, bytes) = (stamp.hlc.wall(), kept_bytes(&what));
        let entries = self.topics.entry(topic.clone()).or_default();
        if let Some(known) = entries.get(&stamp) {
            if known.segment >= segment {
                return;
            }
            self.live_bytes.remove_entry(known.segment, at, bytes);
        }
        self.live_bytes.add_entry(segment, at, bytes);
        let body = body.clone();
        entries.insert(stamp, Entry { body, segment });
        if entries.len() > ENTRIES_PER_TOPIC_MAX {
            entries.pop_first();
        }
    }
}

impl Heard {
    fn take(&mut self, stamp: Stamp, segment: u32) {
        self.segment = self.segment.max(segment);
        self.hlc = self.hlc.max(stamp.hlc);
        if !self.authors.contains(&stamp.node) {
            self.authors.insert(stamp.node);
        }
    }
}

impl Register {
    fn kept_bytes(&self, key: &str) -> u64 {
        kept_register_bytes(key.len(), self.value.as_ref().map(|v| v.len()))
    }
}

impl SoundState {
    fn unheard(id: Id) -> SoundState {
        let sound = Sound {
            id,
            codec: SoundCodec::Pcmu,
            at: WallTime(0),
            about: "".into(),
            chunks: Vec::new(),
            seal: None,
        };
        SoundState {
            begun: None,
            begun_in: 0,
            sealed: None,
            sealed_in: 0,
            sound,
            indexes: Vec::new(),
        }
    }

    fn is_destroyed(&self) -> bool {
        matches!(self.sealed, Some((SealRank::Discarded, _)))
    }

    /// Something of a sound that was destroyed lies here, or an older copy of what is further on.
    fn hides(&self, live: &mut LiveBytes, segment: u32) {
        let since = match self.sealed {
            Some((SealRank::Discarded, stamp)) => stamp.hlc.wall(),
            _ => WallTime(0),
        };
        live.hide(segment, since);
    }

    fn begin(
        &mut self,
        live: &mut LiveBytes,
        (stamp, segment): (Stamp, u32),
        codec: SoundCodec,
        at: WallTime,
        about: &Arc<str>,
    ) {
        if self.is_destroyed() {
            self.begun = Some(stamp);
            return self.hides(live, segment);
        }
        let is_told = (self.begun, self.begun_in) == (Some(stamp), segment);
        if is_told || !self.keeps_begin(stamp, segment) {
            return;
        }
        live.add(segment, kept_begin_bytes(about.len()));
        if self.begun.is_some() {
            live.remove(self.begun_in, kept_begin_bytes(self.sound.about.len()));
        }
        (self.begun, self.begun_in) = (Some(stamp), segment);
        self.sound.codec = codec;
        self.sound.at = at;
        self.sound.about = about.clone();
    }

    fn chunk(&mut self, live: &mut LiveBytes, index: u32, place: ChunkPlace) {
        if self.is_destroyed() {
            return self.hides(live, place.segment);
        }
        match self.indexes.binary_search(&index) {
            // Told again from another place: the newer one, for the older may be retired.
            Ok(at) => {
                let known = self.sound.chunks[at];
                let (old, new) = if is_before(&known, &place) {
                    (known, place)
                } else {
                    (place, known)
                };
                if old.segment != new.segment {
                    self.hides(live, old.segment);
                }
                live.remove(known.segment, BLOCK_BYTES as u64);
                live.add(new.segment, BLOCK_BYTES as u64);
                self.sound.chunks[at] = new;
            }
            Err(at) => {
                live.add(place.segment, BLOCK_BYTES as u64);
                self.indexes.insert(at, index);
                self.sound.chunks.insert(at, place);
            }
        }
    }

    fn seal(
        &mut self,
        live: &mut LiveBytes,
        (stamp, segment): (Stamp, u32),
        kind: SealKind,
        about: &Arc<str>,
    ) {
        let rank = SealRank::of(kind);
        let is_told = (self.sealed, self.sealed_in) == (Some((rank, stamp)), segment);
        if is_told || !self.keeps_seal(stamp, kind, segment) {
            return;
        }
        live.add(segment, kept_seal_bytes(about.len()));
        if let Some((_, was)) = &self.sound.seal {
            live.remove(self.sealed_in, kept_seal_bytes(was.len()));
        }
        let was_destroyed = self.is_destroyed();
        (self.sealed, self.sealed_in) = (Some((rank, stamp)), segment);
        self.sound.seal = Some((kind, about.clone()));
        if rank == SealRank::Discarded && !was_destroyed {
            self.destroy(live);
        }
    }

    fn destroy(&mut self, live: &mut LiveBytes) {
        for place in std::mem::take(&mut self.sound.chunks) {
            live.remove(place.segment, BLOCK_BYTES as u64);
            self.hides(live, place.segment);
        }
        self.indexes = Vec::new();
        if self.begun.is_some() {
            live.remove(self.begun_in, kept_begin_bytes(self.sound.about.len()));
            self.hides(live, self.begun_in);
        }
        self.begun_in = 0;
        self.sound.codec = SoundCodec::Pcmu;
        self.sound.at = WallTime(0);
        self.sound.about = "".into();
    }

    fn keeps_begin(&self, stamp: Stamp, segment: u32) -> bool {
        let holds = |begun| stamp < begun || stamp == begun && self.begun_in <= segment;
        !self.is_destroyed() && self.begun.is_none_or(holds)
    }

    fn keeps_chunk(&self, index: u32, place: &ChunkPlace) -> bool {
        let known = || {
            let at = self.indexes.binary_search(&index).ok()?;
            self.sound.chunks.get(at)
        };
        !self.is_destroyed() && known().is_none_or(|known| !is_before(place, known))
    }

    fn keeps_seal(&self, stamp: Stamp, kind: SealKind, segment: u32) -> bool {
        let order = (SealRank::of(kind), stamp);
        self.sealed
            .is_none_or(|sealed| order < sealed || order == sealed && self.sealed_in <= segment)
    }

    fn lying_in(&self, id: Id, segment: u32, add: &mut impl FnMut(Stamp, Payload)) {
        if let Some(stamp) = self.begun
            && self.begun_in == segment
        {
            let Sound {
                codec, at, about, ..
            } = &self.sound;
            let (codec, at, about) = (*codec, *at, about.clone());
            add(
                stamp,
                Payload::Begin {
                    id,
                    codec,
                    at,
                    about,
                },
            );
        }
        for (index, place) in self.indexes.iter().zip(&self.sound.chunks) {
            // With which stamp it was said, nobody needs to know: its sound and index name it.
            if let Some(stamp) = self.begun
                && place.segment == segment
            {
                let (index, place) = (*index, *place);
                add(stamp, Payload::Chunk { id, index, place });
            }
        }
        if let (Some((_, stamp)), Some((kind, about))) = (self.sealed, &self.sound.seal)
            && self.sealed_in == segment
        {
            let (kind, about) = (*kind, about.clone());
            add(stamp, Payload::Seal { id, kind, about });
        }
    }
}

fn is_before(one: &ChunkPlace, other: &ChunkPlace) -> bool {
    (one.segment, one.offset) < (other.segment, other.offset)
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

    fn at(seq: u64, what: Payload) -> Committed {
        let node = "office".parse().unwrap();
        Committed {
            stamp: Stamp {
                hlc: Hlc(seq * 10),
                node,
                epoch: 1,
                seq,
            },
            segment: 1,
            what,
        }
    }

    fn set(seq: u64, key: &str, value: Option<&str>) -> Committed {
        at(
            seq,
            Payload::Register {
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
                Payload::Chunk {
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
                Payload::Begin {
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
                Payload::Seal {
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
    fn what_is_unbroken_ends_before_the_first_missing_chunk_encrypted_or_not() {
        for bit in [0, ENCRYPTED] {
            let mut view = View::new();
            for (seq, mut record) in (1..).zip(message()) {
                if let Payload::Chunk { index, .. } = &mut record.what {
                    *index |= bit;
                }
                if seq != 3 {
                    view.apply(&record);
                }
            }
            assert_eq!(view.unbroken(id(1)).len(), 1);
            assert_eq!(view.sound(id(1)).unwrap().chunks.len(), 2);
        }
        assert_eq!(View::new().unbroken(id(1)).len(), 0);
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
                Payload::Entry {
                    topic: "call".into(),
                    body,
                },
            ));
        }
        let bodies: Vec<_> = view
            .entries("call", 2)
            .map(|(_, body)| body.to_owned())
            .collect();
        assert_eq!(bodies, ["20005", "20004"]);
        assert_eq!(
            view.entries("call", usize::MAX).count(),
            ENTRIES_PER_TOPIC_MAX
        );
        assert_eq!(view.entries("other", 9).count(), 0);
    }
}
