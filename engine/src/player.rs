//! What is played to a leg: prompts, sounds, tones, silence, end to end without a gap.
//!
//! The leg asks for one packet's samples each packet time. Prompts are in memory in both laws.
//! Sounds of the log come through the reader thread, two pieces ahead: a worker never waits for a
//! disk. If a piece is late, silence is played in its place and counted, and the sound goes on
//! where it was. A sound that is still coming from another node is played as far as it has come and
//! waited for the same way, for at most [`WAIT_SAMPLES_MAX`] at a time.
//!
//! ```text
//! items ── Prompt, Tone, Silence ───────────────────────────────┐
//!   └──── Sound ── wants() ──> reader thread ── on_piece() ──> fill() ──> packet
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use tandem_storage::seam::{ChunkPlace, SoundCodec};

use crate::codec;
use crate::prompts::{Prompt, Prompts};
use crate::seam::{Codec, PLAY_ITEMS_MAX, PlayId, PlayItem};
use crate::tone::{Tone, samples_of_ms};

/// Chunks in one piece read ahead: 16 kB, two seconds.
pub const PIECE_CHUNKS: usize = 4;
/// Pieces read ahead or being read, per player.
const PIECES_MAX: usize = 2;
/// A sound of which nothing more comes for so long, ten seconds, is at its end.
const WAIT_SAMPLES_MAX: u64 = 80_000;

/// One play on one leg.
#[derive(Debug)]
pub struct Player {
    play: PlayId,
    parts: VecDeque<Part>,
    /// Pieces in the order of the sound they belong to; `None` while being read.
    pieces: VecDeque<Option<Vec<u8>>>,
    /// Samples taken from the first piece.
    piece_used: usize,
    /// Samples played of the first part.
    used: u64,
    /// Samples of silence since the first part, still open, was played as far as it has come.
    waited: u64,
    late: u64,
}

#[derive(Debug)]
enum Part {
    Prompt(Arc<Prompt>),
    Tone(Tone),
    Silence { samples: u64 },
    Sound(Sound),
}

/// A sound of the log.
#[derive(Debug)]
struct Sound {
    codec: Codec,
    /// Chunks that are still to be asked for, as they were told of: from which on.
    runs: VecDeque<(Arc<[ChunkPlace]>, usize)>,
    /// Samples to be left out of what is told of next.
    skip_ahead: u64,
    /// Samples to be skipped at the start of the first piece.
    skip: usize,
    /// Samples in all that will be played, as far as was told.
    samples: u64,
    /// There will be more.
    is_open: bool,
}

/// What the reader thread should read next.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// The sound's chunks.
    pub places: Arc<[ChunkPlace]>,
    /// The first one of the piece.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// How its samples are kept; what cannot be read is replaced by its silence.
    pub codec: SoundCodec,
}

/// What was read of a piece; silence stands for what was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    /// All of it.
    Whole,
    /// Some of it is damaged, or not there.
    Partly,
    /// Some of it is encrypted, and the key is not here.
    Locked,
}

/// How a packet was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// With sound, to the last sample or up to the end of everything.
    Sound,
    /// There is nothing more to play.
    Nothing,
}

impl Player {
    /// Makes ready what is to be played. Also gives the number of prompts that do not exist.
    pub fn new(play: PlayId, items: Vec<PlayItem>, prompts: &Prompts) -> (Player, u64) {
        let mut unknown = 0;
        let parts = items
            .into_iter()
            .take(PLAY_ITEMS_MAX)
            .filter_map(|item| part_of(item, prompts, &mut unknown))
            .filter(|part| part.samples() > 0 || part.is_open())
            .collect();
        let player = Player {
            play,
            parts,
            pieces: VecDeque::new(),
            piece_used: 0,
            used: 0,
            waited: 0,
            late: 0,
        };
        (player, unknown)
    }

    /// Its number.
    pub fn play(&self) -> PlayId {
        self.play
    }

    /// Packets that had silence in place of a piece that was not there in time.
    pub fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }

    /// The next piece to be read, if there is room for it. Taking it is a promise that
    /// [`Player::on_piece`] follows.
    pub fn wants(&mut self) -> Option<Want> {
        if self.pieces.len() >= PIECES_MAX {
            return None;
        }
        // Nothing behind a sound that is still coming: pieces are in the order they are played.
        let sound = self.parts.iter_mut().find_map(|part| match part {
            Part::Sound(s) if s.is_open || !s.runs.is_empty() => Some(s),
            _ => None,
        })?;
        let want = sound.next()?;
        self.pieces.push_back(None);
        Some(want)
    }

    /// More has come of the first sound that is still coming; `is_last`: that is all.
    pub fn on_more(&mut self, places: Arc<[ChunkPlace]>, is_last: bool) {
        let open = self.parts.iter_mut().find_map(|part| match part {
            Part::Sound(s) if s.is_open => Some(s),
            _ => None,
        });
        if let Some(sound) = open {
            sound.add(places);
            sound.is_open = !is_last;
            self.waited = 0;
        }
    }

    /// The piece asked for first among those that have not come.
    pub fn on_piece(&mut self, samples: Vec<u8>) {
        if let Some(slot) = self.pieces.iter_mut().find(|p| p.is_none()) {
            *slot = Some(samples);
        }
    }

    /// Fills a packet in `codec`.
    pub fn fill(&mut self, codec: Codec, packet: &mut [u8]) -> Filled {
        packet.fill(codec.silence());
        if self.parts.is_empty() {
            return Filled::Nothing;
        }
        let mut at = 0;
        while at < packet.len() {
            let Some(part) = self.parts.front_mut() else {
                break;
            };
            let room = &mut packet[at..];
            let left = part.samples() - self.used;
            if left == 0 {
                if part.is_open() && self.waited < WAIT_SAMPLES_MAX {
                    self.waited += room.len() as u64;
                    self.late += 1;
                    return Filled::Sound;
                }
                self.end_part();
                continue;
            }
            let room_len = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let room = &mut room[..room_len];
            let taken = match part {
                Part::Sound(sound) => {
                    let piece = self.pieces.front().and_then(Option::as_ref);
                    let Some(piece) = piece else {
                        self.late += 1;
                        return Filled::Sound;
                    };
                    let start = self.piece_used + std::mem::take(&mut sound.skip);
                    let taken = take_piece(piece, start, room, sound.codec, codec);
                    self.piece_used = start + taken;
                    if self.piece_used >= piece.len() {
                        self.pieces.pop_front();
                        self.piece_used = 0;
                    }
                    taken
                }
                ref made => {
                    made.make(self.used, codec, room);
                    room.len()
                }
            };
            at += taken;
            self.used += taken as u64;
            if self.used >= part.samples() && !part.is_open() {
                self.end_part();
            }
        }
        Filled::Sound
    }

    fn end_part(&mut self) {
        (self.used, self.waited) = (0, 0);
        if matches!(self.parts.pop_front(), Some(Part::Sound(_))) && self.piece_used > 0 {
            self.pieces.pop_front();
            self.piece_used = 0;
        }
    }
}

impl Part {
    fn samples(&self) -> u64 {
        match self {
            Part::Prompt(prompt) => prompt.samples() as u64,
            Part::Tone(tone) => tone.samples(),
            Part::Silence { samples } => *samples,
            Part::Sound(sound) => sound.samples,
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Part::Sound(sound) if sound.is_open)
    }

    /// Makes samples of what needs no reading.
    fn make(&self, from: u64, codec: Codec, into: &mut [u8]) {
        match self {
            Part::Prompt(prompt) => {
                let start = from as usize;
                into.copy_from_slice(&prompt.bytes(codec)[start..start + into.len()]);
            }
            Part::Tone(tone) => {
                for (n, byte) in (from..).zip(into) {
                    *byte = codec.encode(tone.at(n));
                }
            }
            Part::Silence { .. } | Part::Sound(_) => {}
        }
    }
}

/// Copies from a piece what fits, in the leg's law.
fn take_piece(piece: &[u8], start: usize, room: &mut [u8], from: Codec, to: Codec) -> usize {
    let rest = piece.get(start..).unwrap_or_default();
    let taken = rest.len().min(room.len());
    room[..taken].copy_from_slice(&rest[..taken]);
    codec::transcode(from, to, &mut room[..taken]);
    taken
}

fn part_of(item: PlayItem, prompts: &Prompts, unknown: &mut u64) -> Option<Part> {
    Some(match item {
        PlayItem::Prompt(name) => match prompts.get(&name) {
            Some(prompt) => Part::Prompt(prompt),
            None => {
                *unknown += 1;
                tracing::warn!(prompt = &*name, "no such prompt; it is skipped");
                return None;
            }
        },
        PlayItem::Sound {
            codec,
            places,
            from_sample,
            is_open,
        } => {
            let codec = Codec::of_sound(codec);
            Part::Sound(Sound::new(codec, places, from_sample, is_open))
        }
        PlayItem::Tone {
            frequency_hz,
            duration_ms,
            level_dbfs,
        } => Part::Tone(Tone::new(frequency_hz, duration_ms, level_dbfs)),
        PlayItem::Silence { duration_ms } => Part::Silence {
            samples: samples_of_ms(duration_ms),
        },
    })
}

impl Sound {
    fn new(codec: Codec, places: Arc<[ChunkPlace]>, from_sample: u64, is_open: bool) -> Sound {
        let mut sound = Sound {
            codec,
            runs: VecDeque::new(),
            skip_ahead: from_sample,
            skip: 0,
            samples: 0,
            is_open,
        };
        sound.add(places);
        sound
    }

    fn add(&mut self, places: Arc<[ChunkPlace]>) {
        let total: u64 = places.iter().map(|p| u64::from(p.samples)).sum();
        let mut skipped = self.skip_ahead.min(total);
        self.skip_ahead -= skipped;
        self.samples += total - skipped;
        let mut first = 0;
        while first < places.len() && skipped >= u64::from(places[first].samples) {
            skipped -= u64::from(places[first].samples);
            first += 1;
        }
        if first < places.len() {
            // Only where playing begins is there anything left of it.
            self.skip += skipped as usize;
            self.runs.push_back((places, first));
        }
    }

    fn next(&mut self) -> Option<Want> {
        let (places, next) = self.runs.front_mut()?;
        let (places, first) = (places.clone(), *next);
        let count = PIECE_CHUNKS.min(places.len() - first);
        *next += count;
        if *next >= places.len() {
            self.runs.pop_front();
        }
        Some(Want {
            places,
            first,
            count,
            codec: self.codec.sound(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts() -> Prompts {
        let mut prompts = Prompts::default();
        prompts.insert("one", Prompt::from_linear(&[1000; 100]));
        prompts.insert("two", Prompt::from_linear(&[-1000; 100]));
        prompts
    }

    fn place(samples: u32) -> ChunkPlace {
        ChunkPlace {
            segment: 1,
            offset: 0,
            samples,
        }
    }

    fn prompt(name: &str) -> PlayItem {
        PlayItem::Prompt(name.into())
    }

    #[test]
    fn items_follow_without_a_gap() {
        let (mut player, unknown) = Player::new(
            PlayId(1),
            vec![prompt("one"), prompt("none"), prompt("two")],
            &prompts(),
        );
        assert_eq!(unknown, 1);
        let (one, two) = (Codec::Pcma.encode(1000), Codec::Pcma.encode(-1000));
        let mut packet = [0; 160];
        assert_eq!(player.fill(Codec::Pcma, &mut packet), Filled::Sound);
        assert!(packet[..100].iter().all(|b| *b == one));
        assert!(packet[100..].iter().all(|b| *b == two));
        assert_eq!(player.fill(Codec::Pcma, &mut packet), Filled::Sound);
        assert!(packet[..40].iter().all(|b| *b == two));
        assert!(packet[40..].iter().all(|b| *b == Codec::Pcma.silence()));
        assert_eq!(player.fill(Codec::Pcma, &mut packet), Filled::Nothing);
    }

    #[test]
    fn a_sound_is_read_ahead_played_in_the_legs_law_and_may_begin_in_the_middle() {
        let places: Arc<[ChunkPlace]> = vec![place(100); 6].into();
        let item = PlayItem::Sound {
            codec: SoundCodec::Pcma,
            places: places.clone(),
            from_sample: 150,
            is_open: false,
        };
        let (mut player, _) = Player::new(PlayId(1), vec![item], &prompts());
        let want = player.wants().unwrap();
        assert_eq!((want.first, want.count), (1, 4));
        let want = player.wants().unwrap();
        assert_eq!((want.first, want.count), (5, 1));
        assert_eq!(player.wants(), None);

        let mut packet = [0; 160];
        player.fill(Codec::Pcmu, &mut packet);
        assert_eq!(player.take_late(), 1, "nothing has been read yet");
        player.on_piece((0..400).map(|n| Codec::Pcma.encode(n * 50)).collect());
        player.on_piece(vec![Codec::Pcma.encode(0); 100]);
        let mut heard = Vec::new();
        while player.fill(Codec::Pcmu, &mut packet) == Filled::Sound {
            heard.extend(packet.map(|b| Codec::Pcmu.decode(b)));
        }
        assert_eq!((heard.len(), player.take_late()), (480, 0));
        for (n, sample) in heard[..350].iter().enumerate() {
            let spoken = (n as i32 + 50) * 50;
            assert!(
                (i32::from(*sample) - spoken).abs() <= spoken / 12 + 16,
                "{n}: {sample}"
            );
        }
    }

    #[test]
    fn two_sounds_take_their_own_pieces() {
        let sound = |byte: u8| PlayItem::Sound {
            codec: SoundCodec::Pcmu,
            places: vec![place(80); usize::from(byte)].into(),
            from_sample: 0,
            is_open: false,
        };
        let (mut player, _) = Player::new(PlayId(1), vec![sound(1), sound(2)], &prompts());
        assert_eq!(player.wants().unwrap().count, 1);
        assert_eq!(player.wants().unwrap().count, 2);
        player.on_piece(vec![1; 80]);
        player.on_piece(vec![2; 160]);
        let mut packet = [0; 240];
        player.fill(Codec::Pcmu, &mut packet);
        assert_eq!((packet[79], packet[80], packet[239]), (1, 2, 2));
        assert_eq!(player.fill(Codec::Pcmu, &mut packet), Filled::Nothing);
    }

    /// Pieces that are read at once: of a chunk's samples the first says which it is.
    fn read(player: &mut Player) {
        while let Some(want) = player.wants() {
            let chunks = &want.places[want.first..want.first + want.count];
            let samples = chunks.iter().flat_map(|p| vec![p.offset as u8; 80]);
            player.on_piece(samples.collect());
        }
    }

    fn chunks(numbers: std::ops::Range<u64>) -> Arc<[ChunkPlace]> {
        let at = |offset| ChunkPlace {
            offset,
            ..place(80)
        };
        numbers.map(at).collect()
    }

    fn coming(places: Arc<[ChunkPlace]>, from_sample: u64) -> Player {
        let sound = PlayItem::Sound {
            codec: SoundCodec::Pcmu,
            places,
            from_sample,
            is_open: true,
        };
        Player::new(PlayId(1), vec![sound, prompt("one")], &prompts()).0
    }

    #[test]
    fn a_sound_that_is_still_coming_is_waited_for_and_goes_on_where_it_was() {
        let mut player = coming(chunks(1..2), 0);
        let mut packet = [0; 160];
        read(&mut player);
        player.fill(Codec::Pcmu, &mut packet);
        assert_eq!((packet[79], packet[80]), (1, Codec::Pcmu.silence()));
        player.fill(Codec::Pcmu, &mut packet);
        assert_eq!((packet, player.take_late()), ([0xff; 160], 2));
        player.on_more(chunks(2..5), false);
        read(&mut player);
        player.fill(Codec::Pcmu, &mut packet);
        assert_eq!((packet[0], packet[159]), (2, 3));
        player.on_more(chunks(5..6), true);
        read(&mut player);
        player.fill(Codec::Pcmu, &mut packet);
        assert_eq!((packet[0], packet[159]), (4, 5));
        player.fill(Codec::Pcmu, &mut packet);
        assert_eq!(packet[0], Codec::Pcmu.encode(1000), "the prompt behind it");
        assert_eq!(player.take_late(), 0);
    }

    #[test]
    fn what_is_skipped_may_not_have_come_yet() {
        let mut player = coming(chunks(0..0), 200);
        player.on_more(chunks(1..3), false);
        assert_eq!(player.wants(), None);
        player.on_more(chunks(3..5), true);
        read(&mut player);
        let mut packet = [0; 160];
        player.fill(Codec::Pcmu, &mut packet);
        assert_eq!(
            (packet[0], packet[39], packet[40], packet[119]),
            (3, 3, 4, 4)
        );
    }

    #[test]
    fn a_sound_of_which_nothing_more_comes_ends() {
        let mut player = coming(chunks(0..0), 0);
        let mut packet = [0; 160];
        let mut waited = 0;
        while player.fill(Codec::Pcmu, &mut packet) == Filled::Sound
            && packet[0] == Codec::Pcmu.silence()
        {
            waited += 1;
        }
        assert_eq!(waited, 500);
        assert_eq!(packet[0], Codec::Pcmu.encode(1000), "the prompt behind it");
        player.on_more(chunks(1..2), true);
        player.fill(Codec::Pcmu, &mut packet);
        assert_eq!(player.fill(Codec::Pcmu, &mut packet), Filled::Nothing);
    }
}
