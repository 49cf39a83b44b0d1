//! What is played to a leg: prompts, sounds, tones, silence, end to end without a gap.
//!
//! The leg asks for one packet's samples each packet time. Prompts are in memory in both laws.
//! Sounds of the log come through the reader thread, two pieces ahead: a worker never waits for a
//! disk. If a piece is late, silence is played in its place and counted, and the sound goes on
//! where it was.
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
    late: u64,
}

#[derive(Debug)]
enum Part {
    Prompt(Arc<Prompt>),
    Tone(Tone),
    Silence { samples: u64 },
    Sound(Sound),
}

/// A sound of the log, of which `next..` is still to be asked for.
#[derive(Debug)]
struct Sound {
    codec: Codec,
    places: Arc<[ChunkPlace]>,
    next: usize,
    /// Samples to be skipped at the start of the first piece.
    skip: usize,
    /// Samples in all that will be played.
    samples: u64,
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
            .filter(|part| part.samples() > 0)
            .collect();
        let player = Player {
            play,
            parts,
            pieces: VecDeque::new(),
            piece_used: 0,
            used: 0,
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
        let sound = self.parts.iter_mut().find_map(|part| match part {
            Part::Sound(s) if s.next < s.places.len() => Some(s),
            _ => None,
        })?;
        let first = sound.next;
        let count = PIECE_CHUNKS.min(sound.places.len() - first);
        sound.next += count;
        self.pieces.push_back(None);
        Some(Want {
            places: sound.places.clone(),
            first,
            count,
            codec: sound.codec.sound(),
        })
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
            if self.used >= part.samples() {
                self.end_part();
            }
        }
        Filled::Sound
    }

    fn end_part(&mut self) {
        self.used = 0;
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
        } => Part::Sound(sound_from(Codec::of_sound(codec), places, from_sample)),
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

fn sound_from(codec: Codec, places: Arc<[ChunkPlace]>, from_sample: u64) -> Sound {
    let total: u64 = places.iter().map(|p| u64::from(p.samples)).sum();
    let (mut next, mut skip) = (0, from_sample.min(total));
    while next < places.len() && skip >= u64::from(places[next].samples) {
        skip -= u64::from(places[next].samples);
        next += 1;
    }
    let samples = total - from_sample.min(total);
    Sound {
        codec,
        places,
        next,
        skip: skip as usize,
        samples,
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
}
