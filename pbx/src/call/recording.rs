//! Recordings under way: from the keys or the policy that begin them to the ending that is written.
//!
//! From bridges ([`crate::call::bridge`]), the keys pressed there and the legs that come and go; to taps
//! of the engine and to sounds in the log, one for each party ([`crate::recordings`]).
//!
//! ```text
//! keys, policy ─► tracks of both ─► pause ⇄ go on ─► all tracks ended ─► sealed, ending written
//!                      ▲ a leg that comes into the bridge       ▲ the leg left, or is over
//! ```
//!
//! A recording goes with the legs it is of: while one that was transferred or parked waits, its track
//! goes on, and whoever it meets then adds one. A leg that comes to the machine for something else is
//! recorded no more. One party who is never to be recorded ends it for all.
//!
//! Invariants: every track that began in the log is sealed, once, after the engine has told its end, or
//! did not in time ([`DONE_WAIT`]). The ending is written behind the last seal. At most [`TRACKS_MAX`]
//! tracks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tandem_engine::seam::{Command, LegId, TapReport};
use tandem_storage::name::Id;
use tandem_storage::seam::{Append, SealKind, SoundCodec};
use tandem_storage::time::{Time, WallTime};

use crate::app::{App, Start};
use crate::call::bridge::BridgeId;
use crate::call::history::Party;
use crate::call::leg::{Leg, LegState, Place};
use crate::call::listing::name;
use crate::office::{RecordWish, json};
use crate::pbx::Pbx;
use crate::recordings::{Ending, Side, TrackAbout, TrackSealed, Why, ending_key, hex, total};
use crate::say::Say;
use crate::state::Waiter;
use crate::words;

/// The engine tells the end of a tap at once; this is for one that does not.
const DONE_WAIT: Duration = Duration::from_secs(5);
/// Parties of one recording, one after the other.
const TRACKS_MAX: usize = 32;

/// All recordings under way.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Recordings {
    under_way: BTreeMap<Id, UnderWay>,
    /// The recording of each track.
    of_track: BTreeMap<Id, Id>,
}

#[derive(Debug, Serialize, Deserialize)]
struct UnderWay {
    began: WallTime,
    /// It may go on so long.
    until: Time,
    why: Why,
    by: Option<Id>,
    is_paused: bool,
    /// The log did not take its first track: it is none.
    is_void: bool,
    tracks: Vec<Track>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Track {
    sound: Id,
    leg: LegId,
    side: Side,
    /// The log has said that it began.
    is_begun: bool,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum State {
    Written,
    /// Its end is awaited until then.
    Ending(Time),
    /// The log has yet to say that it began.
    Ended(TrackSealed),
    /// `None`: it is nobody's, or there is none.
    Sealed(Option<TrackSealed>),
}

impl Recordings {
    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(crate) fn is_under_way(&self, id: Id) -> bool {
        self.under_way.contains_key(&id)
    }

    /// When the end of a track has been awaited for long enough.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let tracks = self.under_way.values().flat_map(|one| &one.tracks);
        let ends = tracks.filter_map(|track| match track.state {
            State::Ending(until) => Some(until),
            _ => None,
        });
        ends.min()
    }

    fn track(&mut self, sound: Id) -> Option<(Id, &mut UnderWay, usize)> {
        let id = *self.of_track.get(&sound)?;
        let recording = self.under_way.get_mut(&id)?;
        let mut tracks = recording.tracks.iter();
        let at = tracks.position(|track| track.sound == sound)?;
        Some((id, recording, at))
    }
}

impl UnderWay {
    /// The track that is being written of a leg.
    fn of(&self, leg: LegId) -> Option<&Track> {
        let mut tracks = self.tracks.iter();
        tracks.find(|track| track.leg == leg && track.state == State::Written)
    }
}

impl Pbx {
    /// A user has pressed the keys that record: begins, pauses, goes on.
    pub(crate) fn record_keys_pressed(&mut self, bridge: BridgeId, by: LegId) {
        let under_way = self.recording_of(by);
        if let Some(id) = under_way {
            return self.pause_recording(bridge, id);
        }
        let user = self.board.legs.get(&by).and_then(|leg| leg.party.user);
        let began = match self.wish_of(bridge) {
            RecordWish::Never => false,
            _ => self.begin_recording(bridge, Why::Asked, user),
        };
        if !began && let Some(leg) = self.board.legs.get(&by) {
            self.x.counters.recordings_refused += 1;
            leg.say(&mut self.x, Say::one(words::COULD_NOT));
        }
    }

    /// Legs have come together: their recording goes on, or one begins if one of them is always recorded.
    pub(crate) fn record_bridge(&mut self, bridge: BridgeId) {
        let legs = self.legs_in(bridge);
        let mut there = legs.iter().filter_map(|leg| self.recording_of(*leg));
        let oldest = there.next().map(|one| there.fold(one, Id::min));
        let wish = self.wish_of(bridge);
        match (oldest, wish) {
            (Some(_), RecordWish::Never) => {
                for leg in legs {
                    self.untap(leg);
                }
            }
            (Some(id), _) => {
                for leg in &legs {
                    if self.recording_of(*leg) != Some(id) {
                        self.untap(*leg);
                        self.add_track(id, *leg, &legs);
                    }
                }
            }
            (None, RecordWish::Always) => {
                if !self.begin_recording(bridge, Why::Policy, None) {
                    self.x.counters.recordings_refused += 1;
                }
            }
            (None, _) => {}
        }
    }

    /// What the parties of a bridge want: one who is never recorded goes before one who always is.
    fn wish_of(&self, bridge: BridgeId) -> RecordWish {
        let legs = self.legs_in(bridge);
        let users = legs.iter().filter_map(|leg| {
            let user = self.board.legs.get(leg)?.party.user?;
            Some(self.x.office.settings(user).record)
        });
        users.fold(RecordWish::OnDemand, |wish, one| match (wish, one) {
            (RecordWish::Never, _) | (_, RecordWish::Never) => RecordWish::Never,
            (RecordWish::Always, _) | (_, RecordWish::Always) => RecordWish::Always,
            _ => RecordWish::OnDemand,
        })
    }

    fn legs_in(&self, bridge: BridgeId) -> Vec<LegId> {
        let bridge = self.board.bridges.get(&bridge);
        bridge.map_or(Vec::new(), |bridge| bridge.legs.clone())
    }

    /// The recording under way that a leg is in.
    fn recording_of(&self, leg: LegId) -> Option<Id> {
        let id = self.board.legs.get(&leg)?.recording?;
        self.board.recordings.under_way.get(&id)?.of(leg)?;
        Some(id)
    }

    fn begin_recording(&mut self, bridge: BridgeId, why: Why, by: Option<Id>) -> bool {
        self.x.counters.recordings_wanted += 1;
        let legs = self.legs_in(bridge);
        if !self.x.can_record || legs.is_empty() {
            return false;
        }
        let id = self.x.new_id();
        let recording = UnderWay {
            began: self.x.now.wall,
            until: self.x.after(self.x.config.recording_max),
            why,
            by,
            is_paused: false,
            is_void: false,
            tracks: Vec::new(),
        };
        self.board.recordings.under_way.insert(id, recording);
        for leg in &legs {
            self.add_track(id, *leg, &legs);
        }
        self.beep(bridge, &Say::recording_began());
        true
    }

    fn pause_recording(&mut self, bridge: BridgeId, id: Id) {
        let Some(recording) = self.board.recordings.under_way.get_mut(&id) else {
            return;
        };
        recording.is_paused = !recording.is_paused;
        let is_paused = recording.is_paused;
        for track in &recording.tracks {
            if track.state == State::Written {
                let (leg, sound) = (track.leg, track.sound);
                self.x.media(Command::PauseTap {
                    leg,
                    sound,
                    is_paused,
                });
            }
        }
        let (kind, said) = match is_paused {
            true => ("recording.pause", Say::recording_paused()),
            false => ("recording.resume", Say::recording_began()),
        };
        self.x.recording_happened(kind, id);
        self.beep(bridge, &said);
    }

    /// Both parties hear it, but for one who hears music or is asked something.
    fn beep(&mut self, bridge: BridgeId, said: &Say) {
        if !self.x.config.recording_beep {
            return;
        }
        let hears_music = |leg: &LegId| {
            let bridge = self.board.bridges.get(&bridge);
            bridge.is_some_and(|bridge| bridge.hears_music(*leg))
        };
        let legs = self.legs_in(bridge);
        for leg in legs.iter().filter(|leg| !hears_music(leg)) {
            if let Some(leg) = self.board.legs.get(leg)
                && leg.is_alive
                && leg.asking.is_none()
            {
                leg.say(&mut self.x, said.clone());
            }
        }
    }

    /// A leg's words are a track from now on.
    fn add_track(&mut self, id: Id, leg: LegId, legs: &[LegId]) {
        let Some(recording) = self.board.recordings.under_way.get(&id) else {
            return;
        };
        if recording.tracks.len() >= TRACKS_MAX {
            return;
        }
        let Some(it) = self.board.legs.get(&leg) else {
            return;
        };
        let others = || legs.iter().filter(|other| **other != leg);
        let side = others().find_map(|other| recording.of(*other));
        let side = side.map_or(Side::Left, |track| track.side.other());
        let number = recording.tracks.len() as u32 + 1;
        let codec = codec_of(it).or_else(|| {
            let mut others = others().filter_map(|other| self.board.legs.get(other));
            others.find_map(codec_of)
        });
        let codec = codec.unwrap_or(SoundCodec::Pcmu);
        let about = TrackAbout::new(
            (id, number, side),
            (Party::of(&it.party), name(&self.x, it.history.call.0)),
            (recording.why, recording.by, recording.began),
        );
        let (is_paused, until) = (recording.is_paused, recording.until);
        let sound = match number {
            1 => id,
            _ => self.x.new_id(),
        };
        let append = Append::Begin {
            id: sound,
            codec,
            at: self.x.now.wall,
            about: json(&about),
        };
        self.x.append(Waiter::Track(sound), append);
        let limit = until.since(self.x.now.mono);
        self.x.media(Command::Tap {
            leg,
            sound,
            codec,
            limit,
        });
        if is_paused {
            self.x.media(Command::PauseTap {
                leg,
                sound,
                is_paused,
            });
        }
        let track = Track {
            sound,
            leg,
            side,
            is_begun: false,
            state: State::Written,
        };
        let recordings = &mut self.board.recordings;
        recordings.of_track.insert(sound, id);
        if let Some(recording) = recordings.under_way.get_mut(&id) {
            recording.tracks.push(track);
        }
        if let Some(leg) = self.board.legs.get_mut(&leg) {
            leg.recording = Some(id);
        }
    }

    /// A leg is recorded no more.
    fn untap(&mut self, leg: LegId) {
        if let Some(sound) = self.await_end(leg) {
            self.x.media(Command::Untap { leg, sound });
        }
    }

    /// The end of a leg's track is to be told; gives it if it is being written.
    fn await_end(&mut self, leg: LegId) -> Option<Id> {
        let id = self.board.legs.get_mut(&leg)?.recording.take()?;
        let until = self.x.after(DONE_WAIT);
        let recording = self.board.recordings.under_way.get_mut(&id)?;
        let mut tracks = recording.tracks.iter_mut();
        let track = tracks.find(|t| t.leg == leg && t.state == State::Written)?;
        track.state = State::Ending(until);
        Some(track.sound)
    }

    /// A leg is in another place: where it is alone with the machine it is not recorded.
    pub(crate) fn check_recorded(&mut self, leg: LegId) {
        let Some(it) = self.board.legs.get(&leg) else {
            return;
        };
        if it.recording.is_some() && !is_recorded_in(&it.place) {
            self.untap(leg);
        }
    }

    /// A leg is over: the engine ends its tap with it.
    pub(crate) fn recorded_leg_over(&mut self, leg: LegId) {
        self.await_end(leg);
    }

    /// The engine has told the end of a tap.
    pub(crate) fn tap_done(&mut self, report: TapReport) {
        let sound = report.sound;
        self.track_ended(sound, TrackSealed::told(report));
    }

    /// The ends of taps that the engine did not tell in time: what is in the log is what was said.
    pub(crate) fn recordings_due(&mut self) {
        let now = self.x.now.mono;
        let tracks = self.board.recordings.under_way.values();
        let lost = tracks
            .flat_map(|one| &one.tracks)
            .filter(|track| matches!(track.state, State::Ending(until) if until <= now));
        for sound in lost.map(|track| track.sound).collect::<Vec<Id>>() {
            let samples = self.x.view.sound(sound).map_or(0, |sound| sound.samples());
            self.track_ended(sound, TrackSealed::unknown(samples));
        }
    }

    fn track_ended(&mut self, sound: Id, sealed: TrackSealed) {
        let Some((id, recording, at)) = self.board.recordings.track(sound) else {
            self.x.counters.events_stray += 1;
            return;
        };
        let track = &mut recording.tracks[at];
        if matches!(track.state, State::Written | State::Ending(_)) {
            track.state = State::Ended(sealed);
        }
        self.seal_track(id, at);
    }

    /// The log has answered the beginning of a track.
    pub(crate) fn track_answered(&mut self, sound: Id, is_refused: bool) {
        let Some((id, recording, at)) = self.board.recordings.track(sound) else {
            return;
        };
        if !is_refused {
            recording.tracks[at].is_begun = true;
            if at == 0 {
                self.x.counters.recordings_begun += 1;
                self.x.recording_happened("recording.begin", id);
            }
            return self.seal_track(id, at);
        }
        recording.tracks[at].state = State::Sealed(None);
        let leg = recording.tracks[at].leg;
        let is_void = at == 0;
        recording.is_void |= is_void;
        self.x.media(Command::Untap { leg, sound });
        if is_void {
            let others = self.board.recordings.under_way.get(&id);
            let others = others.into_iter().flat_map(|one| &one.tracks);
            for leg in others.map(|track| track.leg).collect::<Vec<_>>() {
                self.untap(leg);
            }
        }
        self.finish_recording(id);
    }

    fn seal_track(&mut self, id: Id, at: usize) {
        let Some(recording) = self.board.recordings.under_way.get_mut(&id) else {
            return;
        };
        let is_void = recording.is_void;
        let track = &mut recording.tracks[at];
        let State::Ended(sealed) = track.state.clone() else {
            return;
        };
        if !track.is_begun {
            return;
        }
        let kind = match (is_void, sealed.is_whole()) {
            (true, _) => SealKind::Discarded,
            (false, true) => SealKind::Whole,
            (false, false) => SealKind::CutShort,
        };
        let about = json(&sealed);
        track.state = State::Sealed((!is_void).then_some(sealed));
        let sound = track.sound;
        self.x.seal(Waiter::Nobody, sound, kind, &about);
        self.finish_recording(id);
    }

    /// Once every track is sealed: what they came to together.
    fn finish_recording(&mut self, id: Id) {
        let recordings = &mut self.board.recordings;
        let Some(recording) = recordings.under_way.get(&id) else {
            return;
        };
        let mut sealed = Vec::new();
        for track in &recording.tracks {
            match &track.state {
                State::Sealed(one) => sealed.extend(one),
                _ => return,
            }
        }
        let hashes: Option<Vec<&str>> = sealed.iter().map(|one| one.sha256.as_deref()).collect();
        let ending = Ending {
            ended: self.x.now.wall,
            tracks: sealed.len() as u32,
            packets: total(sealed.iter().map(|one| one.packets)),
            sha256: hashes.map(|hashes| hex(&Sha256::digest(hashes.concat())).into()),
        };
        let is_cut = sealed.iter().any(|one| !one.is_whole());
        let is_void = recording.is_void;
        recordings.under_way.remove(&id);
        recordings.of_track.retain(|_, of| *of != id);
        if is_void {
            self.x.counters.recordings_refused += 1;
            return;
        }
        self.x.counters.recordings_cut_short += u64::from(is_cut);
        self.x
            .register(Waiter::Nobody, ending_key(id), Some(&ending));
    }
}

/// What a leg speaks, once that is known.
fn codec_of(leg: &Leg) -> Option<SoundCodec> {
    (leg.state == LegState::Up).then(|| leg.codec.sound())
}

/// With others, or waiting for them.
fn is_recorded_in(place: &Place) -> bool {
    match place {
        Place::Bridge(_) | Place::Waits(_) | Place::Rings(_) | Place::Between => true,
        Place::App(app) => matches!(
            **app,
            App::Parked(_)
                | App::Answering {
                    start: Start::Parked(_),
                    ..
                }
        ),
    }
}
