//! A view as rows that can be written down, and a view from such rows.
//!
//! For `snapshot.rs`. [`Walk`] goes through a view a few hundred rows at a time, so that whoever holds the
//! view is never kept from other things for long; the view may change in between. That does no
//! harm: a row holds at least what the view had heard when the walk began, applying a record twice
//! changes nothing, and so a view made of the rows and told everything since is the view.
//!
//! What is live in a segment is counted again from the rows. What can't be is in the front (entries that
//! are in the log and no longer in memory) and in the end (since when a segment hides something).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    ENTRIES_PER_TOPIC_MAX, Entry, Heard, Register, SealRank, Sound, SoundState, TOPICS_MAX, View,
};
use crate::block::BLOCK_BYTES;
use crate::live_bytes::LiveBytes;
use crate::name::{Id, NodeName};
use crate::record::{kept_begin_bytes, kept_register_bytes, kept_seal_bytes};
use crate::seam::{ChunkPlace, Hlc, SealKind, SoundCodec, Stamp};
use crate::time::WallTime;

/// Rows in one part, at most: a fraction of a millisecond's work.
const ROWS_MAX: usize = 500;
/// The sounds in one part have little more chunks than this together, for the same reason; a sound
/// that has more has a part to itself.
const CHUNKS_MAX: usize = 20_000;

/// Some rows of a view.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Part<'a> {
    /// Comes first.
    Front(Front),
    #[serde(borrow)]
    Sounds(Vec<SoundRow<'a>>),
    #[serde(borrow)]
    Registers(Vec<RegisterRow<'a>>),
    #[serde(borrow)]
    Entries(Vec<EntryRow<'a>>),
    /// Comes last: segments, and since when they hide something. Of what was destroyed meanwhile the
    /// rows no longer say where it lay.
    End(Vec<(u32, u64)>),
}

/// What goes for a view as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Front {
    /// Everything in the segments before this one is in the rows.
    pub(crate) segment: u32,
    /// No stamp in the rows was higher when the walk began.
    pub(crate) hlc: u64,
    authors: Vec<String>,
    entries_skipped: u64,
    /// Segment, month, bytes of entries; of segments before `segment`.
    entries: Vec<(u32, u16, u64)>,
}

type IdRow<'a> = (&'a str, u32, u64);
type StampRow<'a> = (u64, &'a str, u32, u64);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SoundRow<'a> {
    #[serde(borrow)]
    id: IdRow<'a>,
    /// The stamp and the segment.
    #[serde(borrow)]
    begun: Option<(StampRow<'a>, u32)>,
    #[serde(borrow)]
    sealed: Option<(StampRow<'a>, u32, SealKind, &'a str)>,
    codec: SoundCodec,
    at: u64,
    about: &'a str,
    /// Index, segment, offset in blocks, samples.
    chunks: Vec<(u32, u32, u32, u32)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RegisterRow<'a> {
    key: &'a str,
    value: Option<&'a str>,
    #[serde(borrow)]
    stamp: StampRow<'a>,
    segment: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EntryRow<'a> {
    topic: &'a str,
    #[serde(borrow)]
    stamp: StampRow<'a>,
    body: &'a str,
    segment: u32,
}

/// Goes through a view, part by part.
#[derive(Debug)]
pub(crate) struct Walk {
    stage: Stage,
    rows_max: usize,
}

#[derive(Debug)]
enum Stage {
    Front,
    /// After this sound.
    Sounds(Option<Id>),
    /// After this key.
    Registers(Option<Arc<str>>),
    /// After this topic.
    Entries(Option<Arc<str>>),
    Ended,
}

impl Walk {
    pub(crate) fn new() -> Walk {
        Walk::by(ROWS_MAX)
    }

    /// With so many rows in a part, entries aside.
    pub(crate) fn by(rows_max: usize) -> Walk {
        Walk {
            stage: Stage::Front,
            rows_max,
        }
    }

    /// The next part; `None`: that was all.
    pub(crate) fn next<'a>(&mut self, view: &'a View) -> Option<Part<'a>> {
        loop {
            let rows_max = self.rows_max;
            let (part, next) = match &self.stage {
                Stage::Front => (Some(Part::Front(view.front())), Stage::Sounds(None)),
                Stage::Sounds(after) => match view.sound_rows(*after, rows_max) {
                    Some((rows, last)) => (Some(Part::Sounds(rows)), Stage::Sounds(Some(last))),
                    None => (None, Stage::Registers(None)),
                },
                Stage::Registers(after) => match view.register_rows(after.as_deref(), rows_max) {
                    Some((rows, last)) => {
                        (Some(Part::Registers(rows)), Stage::Registers(Some(last)))
                    }
                    None => (None, Stage::Entries(None)),
                },
                Stage::Entries(after) => match view.entry_rows(after.as_deref()) {
                    Some((rows, last)) => (Some(Part::Entries(rows)), Stage::Entries(Some(last))),
                    None => (Some(view.end()), Stage::Ended),
                },
                Stage::Ended => return None,
            };
            self.stage = next;
            if part.is_some() {
                return part;
            }
        }
    }
}

impl View {
    fn front(&self) -> Front {
        let segment = self.heard.segment;
        let before = |(number, _, _): &(u32, u16, u64)| *number < segment;
        Front {
            segment,
            hlc: self.heard.hlc.0,
            authors: self.heard.authors.iter().map(ToString::to_string).collect(),
            entries_skipped: self.entries_skipped,
            entries: self.live_bytes.all_entries().filter(before).collect(),
        }
    }

    /// Restored, with these topics full then, and told the rest of the log: of the log's entries it may not
    /// have all that a view keeps which was told the whole log. Which topics there is room for depends on
    /// the order; and a topic that is no longer full may have older entries in the log.
    pub(crate) fn may_lack_entries(&self, full_topics: &[Arc<str>]) -> bool {
        let is_full = |topic| {
            let entries = self.topics.get(topic);
            entries.is_some_and(|entries| entries.len() >= ENTRIES_PER_TOPIC_MAX)
        };
        self.entries_skipped > 0
            || self.topics.len() >= TOPICS_MAX
            || !full_topics.iter().all(is_full)
    }

    fn end<'a>(&self) -> Part<'a> {
        let hides = self.live_bytes.all_hides();
        Part::End(hides.map(|(number, since)| (number, since.0)).collect())
    }

    fn sound_rows(&self, after: Option<Id>, rows_max: usize) -> Option<(Vec<SoundRow<'_>>, Id)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let sounds = self.sounds.range((from, Bound::Unbounded)).take(rows_max);
        let (mut rows, mut last, mut chunks) = (Vec::new(), None, 0);
        for (id, tale) in sounds {
            chunks += tale.indexes.len();
            if chunks > CHUNKS_MAX && !rows.is_empty() {
                break;
            }
            rows.push(tale.row(id));
            last = Some(*id);
        }
        Some((rows, last?))
    }

    fn register_rows(
        &self,
        after: Option<&str>,
        rows_max: usize,
    ) -> Option<(Vec<RegisterRow<'_>>, Arc<str>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let registers = self.registers.range::<str, _>((from, Bound::Unbounded));
        let registers = registers.take(rows_max);
        let rows = registers.clone().map(|(key, register)| RegisterRow {
            key,
            value: register.value.as_deref(),
            stamp: stamp_row(&register.stamp),
            segment: register.segment,
        });
        Some((rows.collect(), registers.last()?.0.clone()))
    }

    /// All that are kept of one topic.
    fn entry_rows(&self, after: Option<&str>) -> Option<(Vec<EntryRow<'_>>, Arc<str>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (topic, entries) = self
            .topics
            .range::<str, _>((from, Bound::Unbounded))
            .next()?;
        let rows = entries.iter().map(|(stamp, entry)| EntryRow {
            topic,
            stamp: stamp_row(stamp),
            body: &entry.body,
            segment: entry.segment,
        });
        Some((rows.collect(), topic.clone()))
    }
}

impl SoundState {
    fn row<'a>(&'a self, id: &'a Id) -> SoundRow<'a> {
        let (sound, blocks) = (&self.sound, BLOCK_BYTES as u64);
        let sealed = self.sealed.as_ref().zip(sound.seal.as_ref());
        SoundRow {
            id: (id.node.as_str(), id.epoch, id.number),
            begun: self.begun.as_ref().map(|s| (stamp_row(s), self.begun_in)),
            sealed: sealed.map(|((_, stamp), (kind, about))| {
                (stamp_row(stamp), self.sealed_in, *kind, &**about)
            }),
            codec: sound.codec,
            at: sound.at.0,
            about: &sound.about,
            chunks: (self.indexes.iter().zip(&sound.chunks))
                .map(|(index, c)| (*index, c.segment, (c.offset / blocks) as u32, c.samples))
                .collect(),
        }
    }
}

fn stamp_row(stamp: &Stamp) -> StampRow<'_> {
    let Stamp {
        hlc,
        node,
        epoch,
        seq,
    } = stamp;
    (hlc.0, node.as_str(), *epoch, *seq)
}

/// What parts said; several can be read side by side and put together in order.
#[derive(Debug, Default)]
pub(crate) struct Restoring {
    front: Option<Front>,
    sounds: Vec<(Id, SoundState)>,
    registers: Vec<(Arc<str>, Register)>,
    topics: BTreeMap<Arc<str>, BTreeMap<Stamp, Entry>>,
    live_bytes: LiveBytes,
    has_ended: bool,
}

/// A view from its parts.
pub(crate) struct Restored {
    pub(crate) view: View,
    /// The first segment of which it may not have heard everything.
    pub(crate) segment: u32,
    /// The topics that had as many entries as are kept.
    pub(crate) full_topics: Vec<Arc<str>>,
}

/// `None`, here and below: not what a walk writes.
impl Restoring {
    pub(crate) fn take(&mut self, part: Part<'_>) -> Option<()> {
        match part {
            Part::Front(front) => self.front = Some(front),
            Part::Sounds(rows) => {
                self.sounds.reserve(rows.len());
                for row in rows {
                    let tale = row.tale(&mut self.live_bytes)?;
                    self.sounds.push((tale.sound.id, tale));
                }
            }
            Part::Registers(rows) => {
                self.registers.reserve(rows.len());
                for row in rows {
                    self.take_register(row)?;
                }
            }
            Part::Entries(rows) => {
                for row in rows {
                    let entry = Entry {
                        body: row.body.into(),
                        segment: row.segment,
                    };
                    let topic = self.topics.entry(row.topic.into()).or_default();
                    topic.insert(stamp(row.stamp)?, entry);
                }
            }
            Part::End(hides) => {
                for (segment, since) in hides {
                    self.live_bytes.hide(segment, WallTime(since));
                }
                self.has_ended = true;
            }
        }
        Some(())
    }

    fn take_register(&mut self, row: RegisterRow<'_>) -> Option<()> {
        let bytes = kept_register_bytes(row.key.len(), row.value.map(str::len));
        self.live_bytes.add(row.segment, bytes);
        // Of what was heard a million times the text is kept once.
        let before = self.registers.last().and_then(|(_, r)| r.value.as_ref());
        let value = row.value.map(|value| match before {
            Some(before) if **before == *value => before.clone(),
            _ => value.into(),
        });
        let register = Register {
            stamp: stamp(row.stamp)?,
            value,
            segment: row.segment,
        };
        self.registers.push((row.key.into(), register));
        Some(())
    }

    /// What comes after this.
    pub(crate) fn append(&mut self, mut next: Restoring) {
        self.front = self.front.take().or(next.front);
        self.sounds.append(&mut next.sounds);
        self.registers.append(&mut next.registers);
        self.topics.append(&mut next.topics);
        self.live_bytes.join(&next.live_bytes);
        self.has_ended |= next.has_ended;
    }

    /// The view of which these were the parts, of a log with the segments for which `is_there`.
    pub(crate) fn finish(mut self, is_there: impl Fn(u32) -> bool) -> Option<Restored> {
        let front = self.front.filter(|_| self.has_ended)?;
        let node = |name: &String| name.parse().ok();
        let authors = front.authors.iter().map(node).collect::<Option<_>>()?;
        for (segment, month, bytes) in &front.entries {
            self.live_bytes.add_entries(*segment, *month, *bytes);
        }
        let is_full = |entries: &BTreeMap<_, _>| entries.len() >= ENTRIES_PER_TOPIC_MAX;
        let full = self.topics.iter().filter(|(_, entries)| is_full(entries));
        let full_topics = full.map(|(topic, _)| topic.clone()).collect();
        // What was written into the last segments is read again, and so are entries that were
        // moved; the others in segments that are gone were too old to be kept.
        for entries in self.topics.values_mut() {
            entries.retain(|_, entry| entry.segment < front.segment && is_there(entry.segment));
        }
        self.topics.retain(|_, entries| !entries.is_empty());
        let view = View {
            sounds: self.sounds.into_iter().collect(),
            registers: self.registers.into_iter().collect(),
            topics: self.topics,
            entries_skipped: front.entries_skipped,
            live_bytes: self.live_bytes,
            destroyed: 0,
            heard: Heard {
                segment: front.segment,
                hlc: Hlc(front.hlc),
                authors,
            },
        };
        Some(Restored {
            view,
            segment: front.segment,
            full_topics,
        })
    }
}

impl SoundRow<'_> {
    fn tale(self, live: &mut LiveBytes) -> Option<SoundState> {
        let (node, epoch, number) = self.id;
        let id = Id {
            node: node.parse().ok()?,
            epoch,
            number,
        };
        let mut tale = SoundState::unheard(id);
        if let Some((at, segment, kind, about)) = self.sealed {
            tale.sealed = Some((SealRank::of(kind), stamp(at)?));
            tale.sealed_in = segment;
            tale.sound.seal = Some((kind, about.into()));
            live.add(segment, kept_seal_bytes(about.len()));
        }
        if let Some((at, segment)) = self.begun {
            (tale.begun, tale.begun_in) = (Some(stamp(at)?), segment);
            if !tale.is_destroyed() {
                live.add(segment, kept_begin_bytes(self.about.len()));
            }
        }
        tale.sound = Sound {
            codec: self.codec,
            at: WallTime(self.at),
            about: self.about.into(),
            ..tale.sound
        };
        tale.indexes.reserve_exact(self.chunks.len());
        tale.sound.chunks.reserve_exact(self.chunks.len());
        for (index, segment, block, samples) in self.chunks {
            let offset = u64::from(block) * BLOCK_BYTES as u64;
            live.add(segment, BLOCK_BYTES as u64);
            tale.indexes.push(index);
            tale.sound.chunks.push(ChunkPlace {
                segment,
                offset,
                samples,
            });
        }
        let is_rising = tale.indexes.is_sorted_by(|one, next| one < next);
        is_rising.then_some(tale)
    }
}

fn stamp((hlc, node, epoch, seq): StampRow<'_>) -> Option<Stamp> {
    let node: NodeName = node.parse().ok()?;
    Some(Stamp {
        hlc: Hlc(hlc),
        node,
        epoch,
        seq,
    })
}

#[cfg(any(test, feature = "sim"))]
impl View {
    /// In what this view, restored, differs from the one that was told all of a log with the segments
    /// `there`. Entries that were moved while the walk was under way count as live in both places,
    /// until they are old.
    pub(crate) fn difference(&self, whole: &View, there: &[u32]) -> Option<String> {
        // Whether a destroyed sound was heard to begin, the log forgets.
        let sounds = [self, whole].map(|view| {
            let mut sounds = view.sounds.clone();
            let destroyed = sounds.values_mut().filter(|tale| tale.is_destroyed());
            destroyed.for_each(|tale| tale.begun = None);
            sounds
        });
        if let Some(differs) = first_difference(&sounds[0], &sounds[1])
            .or_else(|| first_difference(&self.registers, &whole.registers))
            .or_else(|| first_difference(&self.topics, &whole.topics))
        {
            return Some(differs);
        }
        let long_ago = WallTime(0);
        for segment in there {
            let bytes = [self, whole].map(|view| view.live_bytes.bytes_without_entries(*segment));
            let with_entries = [self, whole].map(|view| view.live_bytes.bytes(*segment, long_ago));
            let hides = [self, whole].map(|view| view.live_bytes.hides_since(*segment));
            if bytes[0] != bytes[1] || with_entries[0] < with_entries[1] || hides[0] != hides[1] {
                let counts = (bytes, with_entries, hides);
                return Some(format!("segment {segment}, restored and whole: {counts:?}"));
            }
        }
        // Of what was moved, a view knows things that the log no longer shows.
        let knows_as_much = self.heard.hlc >= whole.heard.hlc
            && self.heard.authors.is_superset(&whole.heard.authors)
            && self.heard.segment == whole.heard.segment;
        let heard = [&self.heard, &whole.heard];
        (!knows_as_much).then(|| format!("restored and whole: {heard:?}"))
    }
}

#[cfg(any(test, feature = "sim"))]
fn first_difference<K, V>(restored: &BTreeMap<K, V>, whole: &BTreeMap<K, V>) -> Option<String>
where
    K: Ord + std::fmt::Debug,
    V: PartialEq + std::fmt::Debug,
{
    let keys = restored.keys().chain(whole.keys());
    let mut pairs = keys.map(|key| (key, restored.get(key), whole.get(key)));
    let differs = pairs.find(|(_, restored, whole)| restored != whole)?;
    Some(format!("restored and whole: {differs:?}"))
}

#[cfg(test)]
mod tests;
