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
    /// When the recording began: where its time line begins.
    pub(crate) began: WallTime,
}

impl TrackAbout {
    /// A track of a recording.
    pub(crate) fn new(
        (recording, track, side): (Id, u32, Side),
        (who, call): (Party, Id),
        (why, by, began): (Why, Option<Id>, WallTime),
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
        let Some(about) = TrackAbout::of(sound) else {
            return false;
        };
        let id = about.recording;
        let seal = sound.seal.as_ref();
        if seal.is_some_and(|(kind, _)| *kind == SealKind::Discarded) {
            self.forget(id, about.track);
            return true;
        }
        let entry = self.recordings.entry(id).or_insert_with(|| {
            self.by_age.insert((about.began, id));
            Entry {
                began: about.began,
                tracks: BTreeMap::new(),
            }
        });
        entry.tracks.insert(about.track, sound.id);
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

    /// Where it begins on the time line.
    fn starts_at_ms(&self) -> u64 {
        self.sound.at.0.saturating_sub(self.about.began.0)
    }

    fn row(&self) -> Value {
        let packets = self.sealed.as_ref().map(|s| s.packets).unwrap_or_default();
        json!({
            "track": self.about.track,
            "side": self.about.side.name(),
            "number": self.about.who.number,
            "name": self.about.who.name,
            "from_ms": self.starts_at_ms(),
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
        let end = |track: &Track<'_>| track.starts_at_ms() + track.samples() / SAMPLES_PER_MS;
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
    /// All of them, the newest first.
    pub(crate) fn recordings_json(&self) -> Value {
        let index = &self.x.recordings;
        let there = index.by_age.iter().rev().map(|(_, id)| *id);
        let there = there.filter(|id| !index.deleted.contains(id));
        there.filter_map(|id| self.x.recording_row(id)).collect()
    }

    pub(crate) fn recording_json(&self, id: Id) -> Result<AdminAnswer, String> {
        self.there(id)?;
        let row = self.x.recording_row(id).ok_or_else(|| none(id))?;
        Ok(AdminAnswer::Json(row))
    }

    /// Where its samples lie.
    pub(crate) fn recording_tracks(&self, id: Id) -> Result<AdminAnswer, String> {
        self.there(id)?;
        let x = &self.x;
        let tracks = x.tracks_of(id).into_iter().map(|track| TrackSound {
            number: track.about.track,
            side: track.about.side,
            sound: track.sound.id,
            from_ms: track.starts_at_ms(),
            codec: track.sound.codec,
            pieces: x.view.pieces(track.sound.id).collect(),
            seal: track.sound.seal.as_ref().map(|(kind, _)| *kind),
            sealed: track.sealed,
            is_elsewhere: x.others_may_have(track.sound.id),
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
