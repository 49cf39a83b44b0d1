//! Several sounds on one time line: looked through for what is missing, and mixed into one file.
//!
//! A [`Line`] is a track as it is known: where it begins, its chunks by their numbers, how much it should
//! be, the hash it should have. [`check`] reads all of it and names what is not as it should; [`Mixer`]
//! reads the tracks side by side and gives frames of both sides, block by block, so that hours cost no
//! memory. What cannot be read is silence of its length in both.
//!
//! From the log by a [`SoundReader`]; to whoever verifies or exports.

use sha2::{Digest as _, Sha256};

use crate::block::CHUNK_SAMPLES_MAX;
use crate::g711;
use crate::resample::RATE_HZ;
use crate::seam::{ChunkPlace, SoundCodec};
use crate::{ReadError, SoundReader};

/// Frames that a mixer gives at once.
pub const BLOCK_FRAMES: usize = 8000;
/// So many faults of one track are named.
pub const FAULTS_MAX: usize = 100;

/// A track as it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Where it begins on the time line.
    pub from_sample: u64,
    /// How its samples are kept.
    pub codec: SoundCodec,
    /// The chunks that are here, by their numbers, rising.
    pub pieces: Vec<(u32, ChunkPlace)>,
    /// How much of it there should be; `None`: nobody said.
    pub samples: Option<u64>,
    /// 0: it is heard on the first side, else on the second.
    pub side: usize,
}

/// Something of a track that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackFault {
    /// Where, in samples from its beginning.
    pub from_sample: u64,
    /// Likewise.
    pub to_sample: u64,
    /// What, in words.
    pub what: String,
}

/// What a track turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What is not as it should be, at most [`FAULTS_MAX`].
    pub faults: Vec<TrackFault>,
    /// SHA-256 of all that could be read.
    pub sha256: [u8; 32],
    /// Its length, what is missing included.
    pub samples: u64,
}

/// A stretch of a track.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stretch {
    Chunk(ChunkPlace),
    Missing(u64),
}

impl Stretch {
    fn samples(&self) -> u64 {
        match self {
            Stretch::Chunk(place) => u64::from(place.samples),
            Stretch::Missing(samples) => *samples,
        }
    }
}

impl Line {
    /// The track from its beginning to its end. Chunks that are missing before others were full, but
    /// for what is known better; what is missing at the end is what the whole is longer.
    fn stretches(&self) -> Vec<Stretch> {
        let here: u64 = self.pieces.iter().map(|(_, p)| u64::from(p.samples)).sum();
        let absent = self.samples.map(|all| all.saturating_sub(here));
        let mut stretches = Vec::new();
        let mut next = 0;
        let mut left = absent;
        for (number, place) in &self.pieces {
            let missing = u64::from(number.saturating_sub(next));
            if missing > 0 {
                let full = missing * CHUNK_SAMPLES_MAX as u64;
                let samples = left.map_or(full, |left| full.min(left));
                left = left.map(|left| left - samples);
                stretches.push(Stretch::Missing(samples));
            }
            stretches.push(Stretch::Chunk(*place));
            next = number + 1;
        }
        if let Some(tail @ 1..) = left {
            stretches.push(Stretch::Missing(tail));
        }
        stretches
    }
}

/// Reads a track to its end.
pub fn check(reader: &SoundReader, line: &Line) -> Checked {
    let mut checked = Checked {
        faults: Vec::new(),
        sha256: [0; 32],
        samples: 0,
    };
    let mut hash = Sha256::new();
    let mut words = Vec::new();
    for stretch in line.stretches() {
        let from_sample = checked.samples;
        checked.samples += stretch.samples();
        let what = match stretch {
            Stretch::Missing(_) => Some("not in the log".to_owned()),
            Stretch::Chunk(place) => {
                words.clear();
                let read = reader.read(&place, &mut words);
                hash.update(&words);
                read.err().map(|e| in_words(&e))
            }
        };
        if let Some(what) = what {
            checked.add(from_sample, what);
        }
    }
    checked.sha256 = hash.finalize().into();
    checked
}

impl Checked {
    /// What lies beside the fault before, for the same reason, is one fault.
    fn add(&mut self, from_sample: u64, what: String) {
        let to_sample = self.samples;
        let has_room = self.faults.len() < FAULTS_MAX;
        match self.faults.last_mut() {
            Some(last) if last.to_sample == from_sample && last.what == what => {
                last.to_sample = to_sample;
            }
            _ if has_room => self.faults.push(TrackFault {
                from_sample,
                to_sample,
                what,
            }),
            _ => {}
        }
    }
}

fn in_words(error: &ReadError) -> String {
    match error {
        ReadError::Os(..) => format!("cannot be read: {error}"),
        ReadError::Damaged { .. } => format!("damaged: {error}"),
        ReadError::Locked(_) => error.to_string(),
    }
}

/// Reads tracks side by side.
#[derive(Debug)]
pub struct Mixer {
    reader: SoundReader,
    tracks: Vec<Playing>,
    /// Frames given so far.
    at: u64,
    frames: u64,
    channels: usize,
}

/// A track that is being read.
#[derive(Debug)]
struct Playing {
    line: Line,
    stretches: std::vec::IntoIter<Stretch>,
    /// What was read and not given.
    words: Vec<u8>,
    /// So much of it was given.
    given: usize,
    /// Samples of silence before what follows.
    silence: u64,
}

impl Mixer {
    /// All tracks on two sides, or one track (or several, on top of each other) on one.
    pub fn new(reader: SoundReader, lines: Vec<Line>, channels: u16) -> Mixer {
        let playing = lines.into_iter().map(|line| Playing {
            stretches: line.stretches().into_iter(),
            silence: line.from_sample,
            words: Vec::new(),
            given: 0,
            line,
        });
        let tracks: Vec<Playing> = playing.collect();
        let end = |track: &Playing| {
            let stretches = track.stretches.as_slice().iter();
            track.silence + stretches.map(Stretch::samples).sum::<u64>()
        };
        Mixer {
            frames: tracks.iter().map(end).max().unwrap_or(0),
            reader,
            tracks,
            at: 0,
            channels: usize::from(channels.clamp(1, 2)),
        }
    }

    /// How many frames there are in all.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The head of a WAV file of these frames (16-bit PCM); what follows in it is the blocks. A file
    /// cannot say that it is longer than four gigabytes.
    pub fn wav_head(&self) -> [u8; 44] {
        let block = 2 * self.channels as u32;
        let bytes = self.frames.saturating_mul(u64::from(block));
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX - 36);
        let mut head = [0; 44];
        let fields: [(usize, &[u8]); 13] = [
            (0, b"RIFF"),
            (4, &bytes.saturating_add(36).to_le_bytes()),
            (8, b"WAVE"),
            (12, b"fmt "),
            (16, &16u32.to_le_bytes()),
            (20, &1u16.to_le_bytes()),
            (22, &(self.channels as u16).to_le_bytes()),
            (24, &RATE_HZ.to_le_bytes()),
            (28, &(RATE_HZ * block).to_le_bytes()),
            (32, &(block as u16).to_le_bytes()),
            (34, &16u16.to_le_bytes()),
            (36, b"data"),
            (40, &bytes.to_le_bytes()),
        ];
        for (at, field) in fields {
            head[at..at + field.len()].copy_from_slice(field);
        }
        head
    }

    /// The next frames, side by side; `None`: that was all.
    pub fn block(&mut self) -> Option<Vec<i16>> {
        let left = self.frames - self.at;
        let count = usize::try_from(left).map_or(BLOCK_FRAMES, |left| left.min(BLOCK_FRAMES));
        if count == 0 {
            return None;
        }
        self.at += count as u64;
        let mut mixed = vec![0i32; count * self.channels];
        for track in &mut self.tracks {
            let side = track.line.side.min(self.channels - 1);
            let frames = mixed.chunks_exact_mut(self.channels);
            track.add(&self.reader, frames.map(|frame| &mut frame[side]));
        }
        let loudest = i32::from(i16::MIN)..=i32::from(i16::MAX);
        let mixed = mixed.into_iter();
        let limited = mixed.map(|sum| sum.clamp(*loudest.start(), *loudest.end()) as i16);
        Some(limited.collect())
    }
}

impl Playing {
    fn add<'a>(&mut self, reader: &SoundReader, into: impl Iterator<Item = &'a mut i32>) {
        let linear = g711::decode_table(self.line.codec);
        for sum in into {
            while self.silence == 0 && self.given == self.words.len() {
                if !self.read(reader) {
                    return;
                }
            }
            if self.silence > 0 {
                self.silence -= 1;
                continue;
            }
            *sum += i32::from(linear[usize::from(self.words[self.given])]);
            self.given += 1;
        }
    }

    /// Reads on; false: there is no more.
    fn read(&mut self, reader: &SoundReader) -> bool {
        self.words.clear();
        self.given = 0;
        match self.stretches.next() {
            None => return false,
            Some(Stretch::Missing(samples)) => self.silence = samples,
            Some(Stretch::Chunk(place)) => {
                if reader.read(&place, &mut self.words).is_err() {
                    self.words.clear();
                    self.silence = u64::from(place.samples);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(samples: u32) -> ChunkPlace {
        ChunkPlace {
            segment: 1,
            offset: 4096,
            samples,
        }
    }

    fn line(pieces: &[(u32, u32)], samples: Option<u64>, from_sample: u64) -> Line {
        let pieces = pieces.iter().map(|(n, s)| (*n, place(*s))).collect();
        Line {
            from_sample,
            codec: SoundCodec::Pcmu,
            pieces,
            samples,
            side: 0,
        }
    }

    /// A log in which nothing can be read.
    fn nothing() -> SoundReader {
        SoundReader::new("/nowhere")
    }

    #[test]
    fn what_is_missing_before_between_and_behind_has_its_place() {
        let lengths = |line: Line| -> Vec<(bool, u64)> {
            let stretches = line.stretches().into_iter();
            let is_missing = |s: &Stretch| matches!(s, Stretch::Missing(_));
            stretches.map(|s| (is_missing(&s), s.samples())).collect()
        };
        let full = CHUNK_SAMPLES_MAX as u64;
        let whole = line(&[(0, 4000), (1, 500)], Some(4500), 0);
        assert_eq!(lengths(whole), [(false, 4000), (false, 500)]);
        let unknown = line(&[(1, 4000), (4, 500)], None, 0);
        let expected = [(true, full), (false, 4000), (true, 2 * full), (false, 500)];
        assert_eq!(lengths(unknown), expected);
        // It was shorter than a full one, and the end is missing as well.
        let known = line(&[(1, 4000)], Some(7000), 0);
        assert_eq!(lengths(known), [(true, 3000), (false, 4000)]);
        let tail = line(&[(0, 4000)], Some(7000), 0);
        assert_eq!(lengths(tail), [(false, 4000), (true, 3000)]);
        assert_eq!(lengths(line(&[], None, 0)), []);
    }

    #[test]
    fn what_cannot_be_read_is_named_once_and_is_silence_of_its_length() {
        let full = CHUNK_SAMPLES_MAX as u32;
        let line = line(&[(0, full), (1, full), (3, 100)], None, 80);
        let full = u64::from(full);
        let checked = check(&nothing(), &line);
        assert_eq!(checked.samples, 3 * full + 100);
        let spans: Vec<(u64, u64)> = checked
            .faults
            .iter()
            .map(|fault| (fault.from_sample, fault.to_sample))
            .collect();
        let expected = [
            (0, 2 * full),
            (2 * full, 3 * full),
            (3 * full, 3 * full + 100),
        ];
        assert_eq!(spans, expected);
        assert_eq!(checked.faults[1].what, "not in the log");
        let mut mixer = Mixer::new(nothing(), vec![line], 2);
        assert_eq!(mixer.frames(), 3 * full + 180);
        let mut frames = 0;
        while let Some(block) = mixer.block() {
            assert!(block.iter().all(|sample| *sample == 0));
            frames += block.len() / 2;
        }
        assert_eq!(frames as u64, 3 * full + 180);
    }

    #[test]
    fn the_head_is_that_of_a_wav_file_of_so_many_frames() {
        let mixer = Mixer::new(nothing(), vec![line(&[(0, 4000)], None, 0)], 2);
        let mut file = mixer.wav_head().to_vec();
        file.extend(vec![0; 4000 * 4]);
        let read = hound::WavReader::new(&file[..]).unwrap();
        let spec = read.spec();
        assert_eq!((spec.channels, spec.sample_rate), (2, RATE_HZ));
        assert_eq!(read.duration(), 4000);
    }
}
