//! A media engine without media: keeps to the seam's promises and knows nothing of RTP.
//!
//! What is played takes its time and ends; what is recorded comes to the log in half seconds, in a
//! pattern that tells which sound and which piece it is; who is silent for too long is reported.
//! Who is on the air is told by the phones.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use tandem_engine::seam::{Command, Event, LegId, LegReport, MediaParams, PLAY_ITEMS_MAX};
use tandem_engine::seam::{PlayId, PlayItem, RecordEnd, TAPS_MAX, TapPackets, TapReport};
use tandem_storage::block::{CHUNK_SAMPLES_MAX, ChunkBlock};
use tandem_storage::name::Id;
use tandem_storage::seam::ChunkPlace;
use tandem_storage::time::Time;

use super::oracle::pattern;
use super::phone::Voice;

const CHUNK: Duration = Duration::from_millis(500);
const MEDIA_TIMEOUT: Duration = Duration::from_secs(20);
const SAMPLES_PER_MS: u64 = 8;
/// Pieces that wait for room in the log; with more, the recording ends.
const WAITING_MAX: usize = 5;

/// What it has to say.
#[derive(Debug)]
pub(super) enum Out {
    /// To call control.
    Event(Event),
    /// To the log.
    Chunk(Id, u32, ChunkBlock),
    /// These chunks are played: they must be readable.
    Read(std::sync::Arc<[ChunkPlace]>),
}

/// See the chapter above.
#[derive(Debug, Default)]
pub(super) struct Engine {
    legs: BTreeMap<LegId, Leg>,
    air: BTreeMap<SocketAddr, Voice>,
    ports: VecDeque<u16>,
    out: VecDeque<Out>,
    /// Recordings that have ended and whose end is told once the log has had their last pieces.
    ended: VecDeque<(LegId, Recording, RecordEnd)>,
    now: Time,
    pub(super) opened: u64,
    pub(super) closed: u64,
}

#[derive(Debug)]
struct Leg {
    port: u16,
    params: Option<MediaParams>,
    play: Option<Play>,
    recording: Option<Recording>,
    taps: Vec<Recording>,
    silent_since: Option<Time>,
    told: bool,
}

#[derive(Debug)]
struct Play {
    id: PlayId,
    /// What is known of it takes so long.
    until: Time,
    /// More of it comes.
    is_open: bool,
}

#[derive(Debug)]
struct Recording {
    sound: Id,
    is_tap: bool,
    began: Time,
    limit: Duration,
    silence: Option<Duration>,
    samples: u64,
    speech: u64,
    index: u32,
    next: Time,
    /// Pieces the log had no room for.
    waiting: Vec<(u32, ChunkBlock)>,
}

impl Engine {
    /// With so many port pairs.
    pub(super) fn new(pairs: u16) -> Engine {
        let ports = (0..pairs).map(|n| 10_000 + 2 * n).collect();
        Engine {
            ports,
            ..Engine::default()
        }
    }

    /// A port for a leg; none may be left.
    pub(super) fn open(&mut self, now: Time, leg: LegId) -> Result<u16, ()> {
        self.now = now;
        let port = self.ports.pop_front().ok_or(())?;
        let (params, play, recording) = (None, None, None);
        let fresh = Leg {
            port,
            params,
            play,
            recording,
            taps: Vec::new(),
            silent_since: None,
            told: false,
        };
        assert!(
            self.legs.insert(leg, fresh).is_none(),
            "{leg:?} is opened twice"
        );
        self.opened += 1;
        Ok(port)
    }

    /// Carries out a command.
    pub(super) fn command(&mut self, now: Time, command: Command) {
        self.now = now;
        let named = command.leg();
        let Some(leg) = self.legs.get_mut(&named) else {
            return;
        };
        match command {
            Command::Set { params, .. } => leg.params = Some(params),
            Command::Bridge { b, .. } => {
                leg.play = None;
                if let Some(other) = self.legs.get_mut(&b) {
                    other.play = None;
                }
            }
            Command::Play { play, items, .. } => {
                assert!(items.len() <= PLAY_ITEMS_MAX, "too many items");
                leg.play = Some(Play {
                    id: play,
                    until: now + length(&items),
                    is_open: items
                        .iter()
                        .any(|item| matches!(item, PlayItem::Sound { is_open: true, .. })),
                });
                let sounds = items.into_iter().filter_map(|item| match item {
                    PlayItem::Sound { places, .. } => Some(Out::Read(places)),
                    _ => None,
                });
                self.out.extend(sounds);
            }
            Command::PlayMore {
                play,
                places,
                is_last,
                ..
            } => {
                if let Some(open) = leg.play.as_mut().filter(|open| open.id == play) {
                    assert!(open.is_open, "more comes of what is complete");
                    open.until = open.until.max(now) + lasting(&places, 0);
                    open.is_open = !is_last;
                    self.out.push_back(Out::Read(places));
                }
            }
            Command::StopPlay { .. } | Command::Echo { .. } | Command::Join { .. } => {
                leg.play = None;
            }
            Command::PlayToRoom { items, .. } => {
                assert!(items.len() <= PLAY_ITEMS_MAX, "too many items");
            }
            Command::Record {
                sound,
                limit,
                silence,
                ..
            } => {
                assert!(
                    leg.recording.is_none(),
                    "{named:?} is recorded twice at once"
                );
                leg.recording = Some(Recording::new(now, sound, limit, silence));
            }
            Command::Tap { sound, limit, .. } => {
                assert!(leg.taps.len() < TAPS_MAX, "{named:?} has too many taps");
                let tap = Recording {
                    is_tap: true,
                    ..Recording::new(now, sound, limit, None)
                };
                leg.taps.push(tap);
            }
            Command::PauseTap { .. } => {}
            Command::Untap { sound, .. } => self.end_tap(named, sound, RecordEnd::Stopped),
            Command::StopRecord { .. } => self.end_recording(named, RecordEnd::Stopped),
            Command::Close { .. } => self.close(named),
            Command::Unbridge { .. } | Command::SendDigit { .. } => {}
        }
        self.review();
    }

    /// Somebody goes on the air, or off it.
    pub(super) fn on_air(&mut self, now: Time, address: SocketAddr, voice: Option<Voice>) {
        self.now = now;
        self.write_recordings();
        match voice {
            Some(voice) => self.air.insert(address, voice),
            None => self.air.remove(&address),
        };
        self.review();
    }

    /// A key is pressed towards a port.
    pub(super) fn press(&mut self, now: Time, port: u16, digit: char) {
        self.now = now;
        let legs = self.legs.iter().filter(|(_, leg)| leg.port == port);
        self.out
            .extend(legs.map(|(leg, _)| Out::Event(Event::Digit { leg: *leg, digit })));
    }

    /// What happens next.
    pub(super) fn deadline(&self) -> Option<Time> {
        let each = self.legs.values().flat_map(|leg| {
            let play = leg.play.as_ref().filter(|play| !play.is_open);
            let play = play.map(|play| play.until);
            let silent = leg
                .silent_since
                .filter(|_| !leg.told)
                .map(|at| at + MEDIA_TIMEOUT);
            let tap = leg.taps.iter().map(|tap| tap.next).min();
            [play, silent, tap, leg.recording.as_ref().map(|r| r.next)]
        });
        each.flatten().min()
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Time) {
        self.now = now;
        for (leg, it) in &mut self.legs {
            let is_done = |play: &mut Play| !play.is_open && play.until <= now;
            if let Some(Play { id: play, .. }) = it.play.take_if(is_done) {
                self.out
                    .push_back(Out::Event(Event::PlayDone { leg: *leg, play }));
            }
            if !it.told && it.silent_since.is_some_and(|at| at + MEDIA_TIMEOUT <= now) {
                it.told = true;
                self.out
                    .push_back(Out::Event(Event::MediaTimeout { leg: *leg }));
            }
        }
        self.write_recordings();
    }

    /// The next thing it has to say.
    pub(super) fn poll(&mut self) -> Option<Out> {
        if let Some(out) = self.out.pop_front() {
            return Some(out);
        }
        let (leg, recording, end) = self.ended.pop_front()?;
        Some(Out::Event(recording.done(leg, end)))
    }

    /// The log has no room for this piece just now: it is offered again for a while.
    pub(super) fn give_back(&mut self, sound: Id, index: u32, block: ChunkBlock) {
        let running = self
            .legs
            .values_mut()
            .flat_map(|leg| leg.recording.iter_mut().chain(&mut leg.taps));
        let ended = self.ended.iter_mut().map(|(_, recording, _)| recording);
        if let Some(recording) = running.chain(ended).find(|r| r.sound == sound) {
            recording.waiting.push((index, block));
        }
    }

    /// Legs there are.
    pub(super) fn legs(&self) -> usize {
        self.legs.len()
    }

    /// Who is silent, and since when.
    fn review(&mut self) {
        for leg in self.legs.values_mut() {
            let expected = leg
                .params
                .as_ref()
                .filter(|p| p.receive)
                .and_then(|p| p.remote_rtp);
            let silent = expected.is_some_and(|address| !self.air.contains_key(&address));
            if silent {
                leg.silent_since.get_or_insert(self.now);
            } else {
                (leg.silent_since, leg.told) = (None, false);
            }
        }
    }

    fn write_recordings(&mut self) {
        let (mut ended, mut taps) = (Vec::new(), Vec::new());
        for (name, leg) in &mut self.legs {
            let address = leg.params.as_ref().and_then(|p| p.remote_rtp);
            let voice = address.and_then(|address| self.air.get(&address)).copied();
            if let Some(recording) = &mut leg.recording {
                let end = recording.write(self.now, voice, &mut self.out);
                ended.extend(end.map(|end| (*name, end)));
            }
            for tap in &mut leg.taps {
                let end = tap.write(self.now, voice, &mut self.out);
                taps.extend(end.map(|end| (*name, tap.sound, end)));
            }
        }
        for (leg, end) in ended {
            self.end_recording(leg, end);
        }
        for (leg, sound, end) in taps {
            self.end_tap(leg, sound, end);
        }
    }

    fn end_tap(&mut self, name: LegId, sound: Id, end: RecordEnd) {
        let Some(leg) = self.legs.get_mut(&name) else {
            return;
        };
        let Some(at) = leg.taps.iter().position(|tap| tap.sound == sound) else {
            return;
        };
        let mut tap = leg.taps.remove(at);
        tap.write(self.now, None, &mut self.out);
        self.ended.push_back((name, tap, end));
    }

    fn end_recording(&mut self, name: LegId, end: RecordEnd) {
        let Some(leg) = self.legs.get_mut(&name) else {
            return;
        };
        let address = leg.params.as_ref().and_then(|p| p.remote_rtp);
        let voice = address.and_then(|address| self.air.get(&address)).copied();
        let Some(mut recording) = leg.recording.take() else {
            return;
        };
        recording.write(self.now, voice, &mut self.out);
        self.ended.push_back((name, recording, end));
    }

    fn close(&mut self, name: LegId) {
        self.end_recording(name, RecordEnd::Stopped);
        let taps = self.legs.get(&name).map(|leg| &leg.taps);
        let taps = taps.into_iter().flatten().map(|tap| tap.sound);
        for sound in taps.collect::<Vec<Id>>() {
            self.end_tap(name, sound, RecordEnd::Stopped);
        }
        if let Some(leg) = self.legs.remove(&name) {
            self.ports.push_back(leg.port);
            self.closed += 1;
            let report = LegReport::default();
            self.out
                .push_back(Out::Event(Event::Closed { leg: name, report }));
        }
    }
}

impl Recording {
    fn new(now: Time, sound: Id, limit: Duration, silence: Option<Duration>) -> Recording {
        Recording {
            sound,
            is_tap: false,
            began: now,
            limit,
            silence,
            samples: 0,
            speech: 0,
            index: 0,
            next: now + CHUNK,
            waiting: Vec::new(),
        }
    }

    /// Writes what was heard until now; says why it should end, if it should.
    fn write(
        &mut self,
        now: Time,
        voice: Option<Voice>,
        out: &mut VecDeque<Out>,
    ) -> Option<RecordEnd> {
        let heard = now.since(self.began).min(self.limit).as_millis() as u64 * SAMPLES_PER_MS;
        let again = std::mem::take(&mut self.waiting);
        let refused = again.len() > WAITING_MAX;
        out.extend(
            again
                .into_iter()
                .map(|(index, block)| Out::Chunk(self.sound, index, block)),
        );
        while self.samples < heard {
            let count = (heard - self.samples).min(CHUNK_SAMPLES_MAX as u64);
            let bytes: Vec<u8> = (0..count)
                .map(|n| pattern(self.sound, self.index, n))
                .collect();
            let mut block = ChunkBlock::new();
            assert_eq!(block.push(&bytes) as u64, count);
            out.push_back(Out::Chunk(self.sound, self.index, block));
            self.index += 1;
            self.samples += count;
        }
        if voice == Some(Voice::Speech) {
            self.speech = self.samples;
        }
        self.next = now + CHUNK;
        let quiet = Duration::from_millis((self.samples - self.speech) / SAMPLES_PER_MS);
        if refused {
            Some(RecordEnd::LogRefused)
        } else if now.since(self.began) >= self.limit {
            Some(RecordEnd::Limit)
        } else {
            self.silence
                .filter(|allowed| quiet >= *allowed)
                .map(|_| RecordEnd::Silence)
        }
    }
}

impl Recording {
    fn done(&self, leg: LegId, end: RecordEnd) -> Event {
        let not_given: usize = self
            .waiting
            .iter()
            .map(|(_, block)| block.samples().len())
            .sum();
        let samples = self.samples - not_given as u64;
        let samples_speech = self.speech.min(samples);
        let end = if not_given > 0 {
            RecordEnd::LogRefused
        } else {
            end
        };
        if self.is_tap {
            let report = Box::new(TapReport {
                sound: self.sound,
                samples,
                end,
                packets: TapPackets::default(),
                gaps: Vec::new(),
                gaps_more: 0,
                pauses: Vec::new(),
                sha256: None,
            });
            return Event::TapDone { leg, report };
        }
        Event::RecordDone {
            leg,
            sound: self.sound,
            samples,
            samples_speech,
            end,
        }
    }
}

/// How long it takes to play.
fn length(items: &[PlayItem]) -> Duration {
    let each = items.iter().map(|item| match item {
        PlayItem::Prompt(name) => Duration::from_millis(300 + 10 * name.len() as u64),
        PlayItem::Sound {
            places,
            from_sample,
            ..
        } => lasting(places, *from_sample),
        PlayItem::Tone { duration_ms, .. } | PlayItem::Silence { duration_ms } => {
            Duration::from_millis(u64::from(*duration_ms))
        }
    });
    each.sum::<Duration>().max(Duration::from_millis(1))
}

/// How long these chunks take.
fn lasting(places: &[ChunkPlace], from_sample: u64) -> Duration {
    let samples: u64 = places.iter().map(|p| u64::from(p.samples)).sum();
    Duration::from_millis(samples.saturating_sub(from_sample) / SAMPLES_PER_MS)
}
