//! Recordings of calls: which there are, what is known of each, and when they go.
//!
//! A recording is tracks on one time line, one for each party, each a sound of its own whose `about` says
//! so ([`TrackAbout`]) and whose seal says what came of it ([`TrackSealed`]). The recording is named after
//! its first track, so that what is said of it goes with that sound:
//!
//! | key | value (JSON) |
//! |---|---|
//! | `message/ID/recording` | [`Ending`]: it came to its end, what all its tracks hold, and the hash over them |
//! | `message/ID/deleted` | `true`: it is deleted, and will be destroyed |
//!
//! From calls under way ([`crate::call::recording`]), by the log; to administrators.
//!
//! Where the ending is missing the node died: what was spoken until then is there. A recording is deleted
//! when it is older than its class is kept, and destroyed when it could be had back for long enough, as
//! messages are, unless the mailbox of one of its parties is on legal hold.
//!
//! Invariants: whatever order sounds and registers come in, the index ends the same. The first track is
//! destroyed last.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tandem_engine::seam::{RecordEnd, TapGap, TapPackets, TapPause, TapReport};
use tandem_storage::name::Id;
use tandem_storage::seam::SealKind;
use tandem_storage::time::WallTime;
use tandem_storage::{Sound, View};

use crate::call::history::Party;
use crate::mailbox::deleted_key;
use crate::pbx::Pbx;
use crate::retention::{AWAY_GRACE, SWEPT_MAX, is_held, is_over};
use crate::seam::{AdminAnswer, TrackSound};
use crate::state::{PbxState, SAMPLES_PER_MS, Waiter};

/// The kind of a track, as [`TrackAbout`] writes it first.
const KIND: &str = "recording";
const BEGINNING: &str = "{\"kind\":\"recording\"";

/// Recordings that are told of at once: reading more takes longer than call control may.
pub const PAGE_MAX: usize = 200;

/// Why a call is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Why {
    /// One of its parties pressed the keys for it.
    Asked,
    /// One of its parties is always recorded.
    Policy,
}

/// Where a track is heard when all are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The first party, and who comes in its place.
    Left,
    /// The second one, likewise.
    Right,
}

impl Side {
    /// Opposite of it.
    pub(crate) fn other(self) -> Side {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Side::Left => "left",
            Side::Right => "right",
        }
    }
}

/// What a track is, as written when it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrackAbout {
    kind: Cow<'static, str>,
    /// By its first track.
    pub(crate) recording: Id,
    /// From 1.
    pub(crate) track: u32,
    pub(crate) side: Side,
    /// Who speaks.
    pub(crate) who: Party,
    /// The call, by its first leg.
    pub(crate) call: Id,
    pub(crate) why: Why,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<Id>,
    /// When the recording began.
    pub(crate) began: WallTime,
    /// Where the track begins on its time line.
    pub(crate) from_ms: u64,
}

impl TrackAbout {
    /// A track of a recording.
    pub(crate) fn new(
        (recording, track, side): (Id, u32, Side),
        (who, call): (Party, Id),
        (why, by): (Why, Option<Id>),
        (began, from_ms): (WallTime, u64),
    ) -> TrackAbout {
        TrackAbout {
            kind: Cow::Borrowed(KIND),
            recording,
            track,
            side,
            who,
            call,
            why,
            by,
            began,
            from_ms,
        }
    }

    fn of(sound: &Sound) -> Option<TrackAbout> {
        if !sound.about.starts_with(BEGINNING) {
            return None;
        }
        let about: TrackAbout = serde_json::from_str(&sound.about).ok()?;
        (about.kind == KIND).then_some(about)
    }
}

/// What is known of a track only at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackSealed {
    /// All that was given to the log.
    pub samples: u64,
    /// `None`: the engine did not say how it ended.
    #[serde(default)]
    pub end: Option<RecordEnd>,
    /// The party's packets.
    #[serde(default)]
    pub packets: TapPackets,
    /// Where packets are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<TapGap>,
    /// Gaps beside these.
    #[serde(default)]
    pub gaps_more: u64,
    /// Where it was paused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<TapPause>,
    /// SHA-256 of the samples, lower-case hex.
    #[serde(default)]
    pub sha256: Option<Arc<str>>,
}

impl TrackSealed {
    /// As the engine told.
    pub(crate) fn told(report: TapReport) -> TrackSealed {
        TrackSealed {
            samples: report.samples,
            end: Some(report.end),
            packets: report.packets,
            gaps: report.gaps,
            gaps_more: report.gaps_more,
            pauses: report.pauses,
            sha256: report.sha256.map(|hash| hex(&hash).into()),
        }
    }

    /// The engine did not tell: as far as it is known here.
    pub(crate) fn unknown(samples: u64) -> TrackSealed {
        TrackSealed {
            samples,
            end: None,
            packets: TapPackets::default(),
            gaps: Vec::new(),
            gaps_more: 0,
            pauses: Vec::new(),
            sha256: None,
        }
    }

    /// All that was said is in it.
    pub(crate) fn is_whole(&self) -> bool {
        self.end.is_some_and(|end| end != RecordEnd::LogRefused)
    }

    fn of(sound: &Sound) -> Option<TrackSealed> {
        let (_, about) = sound.seal.as_ref()?;
        serde_json::from_str(about).ok()
    }
}

/// What is known of a recording when all its tracks have ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    pub ended: WallTime,
    pub tracks: u32,
    pub packets: TapPackets,
    /// SHA-256 of the tracks' hashes in hex, one behind the other; `None`: one has none.
    pub sha256: Option<Arc<str>>,
}

/// The register that says how a recording ended.
pub(crate) fn ending_key(recording: Id) -> Arc<str> {
    format!("message/{recording}/recording").into()
}

/// Which recording has come to its end, by what this register says.
pub(crate) fn ended_by(key: &str) -> Option<Id> {
    let id = key.strip_prefix("message/")?.strip_suffix("/recording")?;
    id.parse().ok()
}

/// In lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All recordings.
#[derive(Debug, Default)]
pub(crate) struct RecordingIndex {
    recordings: BTreeMap<Id, Entry>,
    by_age: BTreeSet<(WallTime, Id)>,
    deleted: BTreeSet<Id>,
    /// The recording of each track, and its number there: of one that was destroyed, nothing says so.
    of_track: BTreeMap<Id, (Id, u32)>,
}

/// One of them.
#[derive(Debug)]
struct Entry {
    began: WallTime,
    /// By their numbers.
    tracks: BTreeMap<u32, Id>,
}

impl RecordingIndex {
    /// All that the view knows.
    pub(crate) fn read(view: &View) -> RecordingIndex {
        let mut index = RecordingIndex::default();
        for sound in view.sounds() {
            index.see(view, sound);
        }
        index
    }

    /// Takes in a sound that began, or ended. True: it is a track.
    pub(crate) fn see(&mut self, view: &View, sound: &Sound) -> bool {
        let seal = sound.seal.as_ref();
        if seal.is_some_and(|(kind, _)| *kind == SealKind::Discarded) {
            let of = self.of_track.remove(&sound.id);
            return of.map(|(id, track)| self.forget(id, track)).is_some();
        }
        let Some(about) = TrackAbout::of(sound) else {
            return false;
        };
        let id = about.recording;
        let entry = self.recordings.entry(id).or_insert_with(|| {
            self.by_age.insert((about.began, id));
            Entry {
                began: about.began,
                tracks: BTreeMap::new(),
            }
        });
        entry.tracks.insert(about.track, sound.id);
        self.of_track.insert(sound.id, (id, about.track));
        if view.register(&deleted_key(id)) == Some("true") {
            self.deleted.insert(id);
        }
        true
    }

    fn forget(&mut self, id: Id, track: u32) {
        let Some(entry) = self.recordings.get_mut(&id) else {
            return;
        };
        entry.tracks.remove(&track);
        if entry.tracks.is_empty() {
            let at = (entry.began, id);
            self.recordings.remove(&id);
            self.by_age.remove(&at);
            self.deleted.remove(&id);
        }
    }

    /// Takes in a register; gives the recording that was deleted, or had back.
    pub(crate) fn apply(&mut self, key: &str, value: Option<&str>) -> Option<Id> {
        let id = key.strip_prefix("message/")?.strip_suffix("/deleted")?;
        let id = id.parse().ok()?;
        self.recordings.get(&id)?;
        match value {
            Some("true") => self.deleted.insert(id),
            _ => self.deleted.remove(&id),
        };
        Some(id)
    }

    /// How many there are, deleted ones not counted.
    pub(crate) fn len(&self) -> usize {
        self.recordings.len() - self.deleted.len()
    }
}

/// A track as it lies in the log.
struct Track<'a> {
    about: TrackAbout,
    sound: &'a Sound,
    sealed: Option<TrackSealed>,
}

impl Track<'_> {
    fn is_cut_short(&self) -> bool {
        let seal = self.sound.seal.as_ref();
        seal.is_some_and(|(kind, _)| *kind == SealKind::CutShort)
    }

    fn samples(&self) -> u64 {
        let said = self.sealed.as_ref().map_or(0, |sealed| sealed.samples);
        said.max(self.sound.samples())
    }

    fn row(&self) -> Value {
        let packets = self.sealed.as_ref().map(|s| s.packets).unwrap_or_default();
        json!({
            "track": self.about.track,
            "side": self.about.side.name(),
            "number": self.about.who.number,
            "name": self.about.who.name,
            "from_ms": self.about.from_ms,
            "length_ms": self.samples() / SAMPLES_PER_MS,
            "cut_short": self.is_cut_short(),
            "packets": {
                "expected": packets.expected,
                "come": packets.come,
                "late": packets.late,
                "concealed": packets.concealed,
            },
        })
    }
}

impl PbxState {
    fn tracks_of(&self, id: Id) -> Vec<Track<'_>> {
        let entry = self.recordings.recordings.get(&id);
        let sounds = entry.into_iter().flat_map(|entry| entry.tracks.values());
        let tracks = sounds.filter_map(|sound| {
            let sound = self.view.sound(*sound)?;
            Some(Track {
                about: TrackAbout::of(sound)?,
                sound,
                sealed: TrackSealed::of(sound),
            })
        });
        tracks.collect()
    }

    fn ending_of(&self, id: Id) -> Option<Ending> {
        let ending = self.view.register(&ending_key(id))?;
        serde_json::from_str(ending).ok()
    }

    /// A recording as it is listed; `None`: nothing is known of it.
    pub(crate) fn recording_row(&self, id: Id) -> Option<Value> {
        let tracks = self.tracks_of(id);
        let first = &tracks.first()?.about;
        let ending = self.ending_of(id);
        let is_open = tracks.iter().any(|track| track.sound.seal.is_none());
        let is_cut = tracks.iter().any(Track::is_cut_short) || ending.is_none();
        let state = match (is_open, is_cut) {
            (true, _) => "recording",
            (false, true) => "cut short",
            (false, false) => "ended",
        };
        let end = |track: &Track<'_>| track.about.from_ms + track.samples() / SAMPLES_PER_MS;
        let packets = tracks.iter().filter_map(|track| track.sealed.as_ref());
        let packets = total(packets.map(|sealed| sealed.packets));
        let by = first.by.and_then(|by| self.office.extension(by));
        let rows: Vec<Value> = tracks.iter().map(Track::row).collect();
        Some(json!({
            "id": id,
            "call": first.call,
            "why": first.why,
            "by": by,
            "began": first.began,
            "ended": ending.as_ref().map(|ending| ending.ended),
            "length_ms": tracks.iter().map(end).max(),
            "state": state,
            "packets": {
                "expected": packets.expected,
                "come": packets.come,
                "late": packets.late,
                "concealed": packets.concealed,
            },
            "sha256": ending.and_then(|ending| ending.sha256),
            "tracks": rows,
        }))
    }

    /// Something happened to a recording.
    pub(crate) fn recording_happened(&mut self, kind: &'static str, id: Id) {
        self.event(kind, |x| {
            x.recording_row(id).unwrap_or_else(|| json!({ "id": id }))
        });
    }
}

/// All of them together.
pub(crate) fn total(packets: impl Iterator<Item = TapPackets>) -> TapPackets {
    packets.fold(TapPackets::default(), |sum, one| TapPackets {
        expected: sum.expected + one.expected,
        come: sum.come + one.come,
        late: sum.late + one.late,
        concealed: sum.concealed + one.concealed,
    })
}

impl Pbx {
    /// A page of them, the newest first: those before one, or the newest of all.
    pub(crate) fn recordings_json(&self, before: Option<Id>, limit: usize) -> Value {
        let index = &self.x.recordings;
        let began = before.and_then(|id| Some((index.recordings.get(&id)?.began, id)));
        let older = match (before, began) {
            (Some(_), None) => return json!([]),
            (_, Some(before)) => index.by_age.range(..before),
            (None, None) => index.by_age.range(..),
        };
        let there = older.rev().map(|(_, id)| *id);
        let there = there.filter(|id| !index.deleted.contains(id));
        let rows = there.filter_map(|id| self.x.recording_row(id));
        rows.take(limit.min(PAGE_MAX)).collect()
    }

    pub(crate) fn recording_json(&self, id: Id) -> Result<AdminAnswer, String> {
        self.there(id)?;
        let row = self.x.recording_row(id).ok_or_else(|| none(id))?;
        Ok(AdminAnswer::Json(row))
    }

    /// Where its samples lie; what is not here is asked for where it is.
    pub(crate) fn recording_tracks(&mut self, id: Id) -> Result<AdminAnswer, String> {
        self.there(id)?;
        let tracks = self.x.tracks_of(id);
        let lacking = tracks.iter().filter(|t| t.sound.samples() < t.samples());
        for sound in lacking.map(|t| t.sound.id).collect::<Vec<Id>>() {
            self.x.fetch(sound);
        }
        let x = &self.x;
        let tracks = x.tracks_of(id).into_iter().map(|track| TrackSound {
            number: track.about.track,
            side: track.about.side,
            sound: track.sound.id,
            from_ms: track.about.from_ms,
            codec: track.sound.codec,
            pieces: x.view.pieces(track.sound.id).collect(),
            seal: track.sound.seal.as_ref().map(|(kind, _)| *kind),
            sealed: track.sealed,
            is_elsewhere: x.others_may_have(track.sound.id),
            is_coming: x.is_coming(track.sound.id),
        });
        Ok(AdminAnswer::Tracks {
            tracks: tracks.collect(),
            ending: x.ending_of(id),
        })
    }

    pub(crate) fn delete_recording(&mut self, asker: u64, id: Id) -> Result<(), String> {
        self.there(id)?;
        if self.board.recordings.is_under_way(id) {
            return Err(format!("recording {id} is still under way"));
        }
        let waiter = Waiter::Asker(asker);
        self.x.register(waiter, deleted_key(id), Some(&true));
        Ok(())
    }

    fn there(&self, id: Id) -> Result<(), String> {
        let index = &self.x.recordings;
        let is_there = index.recordings.contains_key(&id) && !index.deleted.contains(&id);
        is_there.then_some(()).ok_or_else(|| none(id))
    }
}

fn none(id: Id) -> String {
    format!("there is no recording {id}; tandem recording list names them")
}

/// Deletes what is too old, and destroys what was deleted long enough ago.
pub(crate) fn sweep(x: &mut PbxState) {
    let keep_for = x.config.recordings_for;
    let index = &x.recordings;
    let ages = index.by_age.iter();
    let old = ages.take_while(|(began, _)| is_over(x, *began, keep_for));
    let old = old.filter(|(began, id)| {
        let keep_for = keep_for.saturating_add(grace(x, *id));
        !index.deleted.contains(id) && is_over(x, *began, keep_for) && may_go(x, *id)
    });
    let old: Vec<Id> = old.map(|(_, id)| *id).take(SWEPT_MAX).collect();
    let gone = index.deleted.iter().copied().filter(|id| {
        let wait = x.config.undelete_for.saturating_add(grace(x, *id));
        let deleted_at = x.view.register_set_at(&deleted_key(*id));
        deleted_at.is_some_and(|at| is_over(x, at, wait)) && may_go(x, *id)
    });
    let gone: Vec<Id> = gone.take(SWEPT_MAX).collect();
    for id in old {
        x.register(Waiter::Nobody, deleted_key(id), Some(&true));
    }
    for id in gone {
        x.counters.recordings_destroyed += 1;
        let entry = x.recordings.recordings.get(&id);
        let tracks = entry.map(|entry| entry.tracks.values().rev().copied().collect::<Vec<Id>>());
        for track in tracks.unwrap_or_default() {
            x.seal(Waiter::Nobody, track, SealKind::Discarded, "");
        }
    }
}

/// Another node's recordings are left to it for a while.
fn grace(x: &PbxState, id: Id) -> std::time::Duration {
    match id.node == x.node() {
        true => std::time::Duration::ZERO,
        false => AWAY_GRACE,
    }
}

/// It has ended, and nobody's legal hold keeps it.
fn may_go(x: &PbxState, id: Id) -> bool {
    x.tracks_of(id).iter().all(|track| {
        let user = track.about.who.user;
        track.sound.seal.is_some() && !user.is_some_and(|user| is_held(x, user))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PbxConfig;
    use crate::office::json;
    use crate::retention::{days, hold_key};
    use crate::seam::Output;
    use tandem_storage::name::Ids;
    use tandem_storage::seam::{Append, Committed, Hlc, Payload, SoundCodec, Stamp};
    use tandem_storage::time::{Now, Time};

    const USER: &str = "a.1.1";

    fn on(day: u64) -> WallTime {
        WallTime(0) + days(day as f64)
    }

    /// A recording of two tracks that a node made on day 1, told in this order, and what was set on
    /// which day; as node `a` knows it on a day.
    fn state(by: &str, set: &[(u64, String, &str)], today: u64, is_turned: bool) -> PbxState {
        let first: Id = format!("{by}.1.7").parse().unwrap();
        let second: Id = format!("{by}.1.8").parse().unwrap();
        let who = Party {
            user: Some(USER.parse().unwrap()),
            ..Party::default()
        };
        let mut told = Vec::new();
        for (number, id, side) in [(1, first, Side::Left), (2, second, Side::Right)] {
            let about = TrackAbout::new(
                (first, number, side),
                (who.clone(), first),
                (Why::Asked, None),
                (on(1), 0),
            );
            let (codec, at, about) = (SoundCodec::Pcmu, on(1), json(&about));
            told.push((
                1,
                Payload::Begin {
                    id,
                    codec,
                    at,
                    about,
                },
            ));
            let (kind, about) = (SealKind::Whole, json(&TrackSealed::unknown(8000)));
            told.push((1, Payload::Seal { id, kind, about }));
        }
        told.extend(set.iter().map(|(day, key, value)| {
            let (key, value) = (key.as_str().into(), Some((*value).into()));
            (*day, Payload::Register { key, value })
        }));
        let now = Now {
            mono: Time(0),
            wall: on(today),
        };
        let ids = Ids::new("a".parse().unwrap(), 2);
        let mut x = PbxState::new(PbxConfig::default(), View::new(), ids, now);
        let mut told: Vec<_> = (1..).zip(told).collect();
        if is_turned {
            told.reverse();
        }
        for (seq, (day, what)) in told {
            let stamp = Stamp {
                hlc: Hlc(on(day).0 << 16),
                node: by.parse().unwrap(),
                epoch: 1,
                seq,
            };
            x.apply(&Committed {
                stamp,
                segment: 1,
                what,
            });
        }
        x
    }

    /// What a sweep does, once for each order in which it may be told.
    fn swept(by: &str, set: &[(u64, String, &str)], today: u64) -> Vec<String> {
        let [one, other] = [false, true].map(|is_turned| {
            let mut x = state(by, set, today, is_turned);
            while x.poll().is_some() {}
            sweep(&mut x);
            let outputs = std::iter::from_fn(|| x.poll());
            let said = outputs.filter_map(|output| match output {
                Output::Log {
                    append: Append::Seal { id, kind, .. },
                    ..
                } => Some(format!("{kind:?} {id}")),
                Output::Log {
                    append: Append::Register { key, .. },
                    ..
                } => Some(key.to_string()),
                _ => None,
            });
            said.collect::<Vec<String>>()
        });
        assert_eq!(one, other, "{set:?}");
        one
    }

    fn deleted(by: &str) -> String {
        format!("message/{by}.1.7/deleted")
    }

    #[test]
    fn a_recording_is_deleted_after_a_year_and_destroyed_a_month_later_the_first_track_last() {
        let none: Vec<String> = Vec::new();
        assert_eq!(swept("a", &[], 365), none);
        assert_eq!(swept("a", &[], 366), [deleted("a")]);
        let set = [(366, deleted("a"), "true")];
        assert_eq!(swept("a", &set, 395), none);
        let destroyed = ["Discarded a.1.8", "Discarded a.1.7"];
        assert_eq!(swept("a", &set, 396), destroyed);
        // Another node's is left to it for a week.
        assert_eq!(swept("b", &[], 372), none);
        assert_eq!(swept("b", &[], 373), [deleted("b")]);
    }

    #[test]
    fn nothing_of_a_party_on_legal_hold_goes() {
        let hold = hold_key(USER.parse().unwrap());
        let set = [(2, hold, "true"), (3, deleted("a"), "true")];
        assert_eq!(swept("a", &set[..1], 4000), Vec::<String>::new());
        assert_eq!(swept("a", &set, 4000), Vec::<String>::new());
        let off = [set[1].clone(), (4, set[0].1.clone(), "false")];
        assert_eq!(swept("a", &off, 4000).len(), 2);
    }

    #[test]
    fn what_was_destroyed_is_listed_no_more_and_neither_is_what_was_deleted() {
        let mut x = state("a", &[], 2, false);
        assert_eq!(x.recordings.len(), 1);
        let row = x.recording_row("a.1.7".parse().unwrap()).unwrap();
        assert_eq!(row["state"], "cut short", "its ending was not written");
        x.recordings.apply(&deleted("a"), Some("true"));
        assert_eq!(x.recordings.len(), 0);
        for id in ["a.1.8", "a.1.7"] {
            let id = id.parse().unwrap();
            let (kind, about) = (SealKind::Discarded, "".into());
            let stamp = Stamp {
                hlc: Hlc(on(9).0 << 16),
                node: "a".parse().unwrap(),
                epoch: 1,
                seq: 99,
            };
            x.apply(&Committed {
                stamp,
                segment: 1,
                what: Payload::Seal { id, kind, about },
            });
        }
        let index = &x.recordings;
        assert!(index.recordings.is_empty() && index.by_age.is_empty());
        assert!(index.deleted.is_empty() && index.of_track.is_empty());
    }
}
