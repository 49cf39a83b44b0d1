//! Ears: tones and their levels, G.711, WAV files, and whether a phrase was heard.

use std::path::{Path, PathBuf};

/// Samples a second of everything here.
pub const RATE: usize = 8000;

/// A sine of `hz` at `level_db` below full scale.
pub fn sine(hz: f64, level_db: f64, samples: usize) -> Vec<i16> {
    let peak = 32768.0 * 10f64.powf(level_db / 20.0) * std::f64::consts::SQRT_2;
    let step = std::f64::consts::TAU * hz / RATE as f64;
    (0..samples)
        .map(|n| ((step * n as f64).sin() * peak).clamp(-32768.0, 32767.0) as i16)
        .collect()
}

/// Root mean square, in dB below full scale.
pub fn level_db(samples: &[i16]) -> f64 {
    let sum: f64 = samples.iter().map(|&s| f64::from(s).powi(2)).sum();
    decibels((sum / samples.len().max(1) as f64).sqrt())
}

/// The root mean square of the part of `samples` that lies at `hz` (Goertzel), in dB below full scale.
pub fn tone_db(samples: &[i16], hz: f64) -> f64 {
    let omega = std::f64::consts::TAU * hz / RATE as f64;
    let turn = 2.0 * omega.cos();
    let (mut one, mut two) = (0.0, 0.0);
    for &sample in samples {
        let now = f64::from(sample) + turn * one - two;
        two = one;
        one = now;
    }
    let power = one * one + two * two - turn * one * two;
    let amplitude = 2.0 * power.max(0.0).sqrt() / samples.len().max(1) as f64;
    decibels(amplitude / std::f64::consts::SQRT_2)
}

fn decibels(rms: f64) -> f64 {
    20.0 * (rms / 32768.0).max(1e-6).log10()
}

/// Whether `samples` are the tone of `hz` and little else.
pub fn is_tone(samples: &[i16], hz: f64) -> bool {
    level_db(samples) > -40.0 && (tone_db(samples, hz) - level_db(samples)).abs() < 1.0
}

/// How many pieces of 20 ms are not the tone of `hz`, of all of them.
pub fn pieces_without(samples: &[i16], hz: f64) -> (usize, usize) {
    let pieces: Vec<&[i16]> = samples.chunks_exact(RATE / 50).collect();
    let wrong = pieces.iter().filter(|piece| !is_tone(piece, hz)).count();
    (wrong, pieces.len())
}

/// Where a beep (a steady tone of any pitch for `ms`) ends in `samples`, if there is one.
pub fn beep_end(samples: &[i16], ms: usize) -> Option<usize> {
    let piece_samples = RATE / 50;
    let pieces: Vec<Option<usize>> = samples
        .chunks_exact(piece_samples)
        .map(|piece| {
            (300..=1600)
                .step_by(20)
                .find(|&hz| is_tone(piece, hz as f64))
        })
        .collect();
    let wanted = ms / 20;
    let mut run = 0;
    for (n, piece) in pieces.iter().enumerate() {
        let same =
            n > 0 && matches!((pieces[n - 1], piece), (Some(a), Some(b)) if a.abs_diff(*b) <= 60);
        run = match (piece, same) {
            (Some(_), true) => run + 1,
            (Some(_), false) => 1,
            (None, _) => 0,
        };
        if run >= wanted && pieces.get(n + 1).is_none_or(Option::is_none) {
            return Some((n + 1) * piece_samples);
        }
    }
    None
}

/// One sample as PCMU (ITU-T G.711).
pub fn to_ulaw(sample: i16) -> u8 {
    let negative = sample < 0;
    let magnitude = (i32::from(sample).abs() + 132).min(32767);
    let exponent = (24 - (magnitude as u32).leading_zeros()).clamp(0, 7);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    let code = (exponent as u8) << 4 | mantissa as u8;
    !(code | if negative { 0x80 } else { 0 })
}

/// One PCMU byte as a sample.
pub fn from_ulaw(byte: u8) -> i16 {
    let code = !byte;
    let exponent = (code >> 4) & 0x07;
    let magnitude = ((i32::from(code & 0x0f) << 3) + 132) << exponent;
    let value = magnitude - 132;
    (if code & 0x80 != 0 { -value } else { value }) as i16
}

/// One sample as PCMA (ITU-T G.711).
pub fn to_alaw(sample: i16) -> u8 {
    let positive = sample >= 0;
    let magnitude = i32::from(if positive { sample } else { !sample }) >> 3;
    let code = if magnitude < 32 {
        (magnitude >> 1) as u8
    } else {
        let exponent = 27 - (magnitude as u32).leading_zeros();
        (exponent as u8) << 4 | ((magnitude >> exponent) & 0x0f) as u8
    };
    (code | if positive { 0x80 } else { 0 }) ^ 0x55
}

/// One PCMA byte as a sample.
pub fn from_alaw(byte: u8) -> i16 {
    let code = byte ^ 0x55;
    let exponent = (code >> 4) & 0x07;
    let mantissa = i32::from(code & 0x0f);
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    (if code & 0x80 != 0 {
        magnitude
    } else {
        -magnitude
    }) as i16
}

/// A sound in which every 20 ms say which they are, so that whatever is missing or moved is seen.
/// Frame `n` (below 32,768) is sixteen pieces of ten samples: a very loud one to know its beginning
/// by, then the bits of `n` as loud and soft ones. All survive G.711, and none is silence.
pub fn counting_frame(n: u16) -> [u8; 160] {
    std::array::from_fn(|at| {
        let level = match at / 10 {
            0 => FIRST,
            bit if n >> (bit - 1) & 1 == 1 => ONE,
            _ => ZERO,
        };
        // Every other sample negative, so that the level has no direct part.
        to_ulaw(if at % 2 == 0 { level } else { -level })
    })
}

const FIRST: i16 = 26_000;
const ONE: i16 = 12_000;
const ZERO: i16 = 3_000;

/// Which frames of the counting sound lie in `samples`, in order. Frames that are not whole are
/// left out.
pub fn counted_frames(samples: &[i16]) -> Vec<u16> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(frame) = samples.get(at..at + 160) {
        match counted_frame(frame) {
            Some(n) => {
                frames.push(n);
                at += 160;
            }
            None => at += 1,
        }
    }
    frames
}

fn counted_frame(frame: &[i16]) -> Option<u16> {
    let near = |sample: i16, level: i16| sample.unsigned_abs().abs_diff(level as u16) < 1_000;
    if !frame[..10].iter().all(|s| near(*s, FIRST)) {
        return None;
    }
    let mut n = 0;
    for (bit, piece) in frame[10..].chunks_exact(10).enumerate() {
        if piece.iter().all(|s| near(*s, ONE)) {
            n |= 1 << bit;
        } else if !piece.iter().all(|s| near(*s, ZERO)) {
            return None;
        }
    }
    Some(n)
}

/// A WAV file's samples at 8 kHz (it may have 8 or 16 kHz).
pub fn read_wav(path: &Path) -> Vec<i16> {
    let mut reader =
        hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let spec = reader.spec();
    assert_eq!(spec.channels, 1, "{}", path.display());
    let samples: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
    match spec.sample_rate {
        8000 => samples,
        16000 => halved(&samples),
        other => panic!("{}: {other} Hz", path.display()),
    }
}

/// Writes 8 kHz mono.
pub fn write_wav(path: &Path, samples: &[i16]) {
    write_wav_raised(path, samples, 1, 1);
}

/// Writes samples of 8 kHz, at `times` that rate and the same in each channel.
pub fn write_wav_raised(path: &Path, samples: &[i16], times: usize, channels: u16) {
    let spec = hound::WavSpec {
        channels,
        sample_rate: (RATE * times) as u32,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for sample in raised(samples, times) {
        (0..channels).for_each(|_| writer.write_sample(sample).unwrap());
    }
    writer.finalize().unwrap();
}

/// `times` the rate, by a windowed sinc.
fn raised(samples: &[i16], times: usize) -> Vec<i16> {
    const SIDE: usize = 12;
    if times == 1 {
        return samples.to_vec();
    }
    let weight = |phase: usize, k: usize| {
        let distance = k as f64 - (SIDE - 1) as f64 - phase as f64 / times as f64;
        let angle = std::f64::consts::PI * distance;
        let window = (angle / (2 * SIDE) as f64).cos().powi(2);
        let sinc = if distance == 0.0 {
            1.0
        } else {
            angle.sin() / angle
        };
        (sinc * window) as f32
    };
    let phases: Vec<Vec<f32>> = (0..times)
        .map(|phase| (0..2 * SIDE).map(|k| weight(phase, k)).collect())
        .collect();
    let windows = samples.windows(2 * SIDE);
    let sum = |window: &[i16], phase: &Vec<f32>| {
        let pairs = window.iter().zip(phase);
        pairs.map(|(s, w)| f32::from(*s) * w).sum::<f32>() as i16
    };
    windows
        .flat_map(|window| phases.iter().map(move |phase| sum(window, phase)))
        .collect()
}

/// Half the rate; the mean of neighbours is filter enough for comparing.
fn halved(samples: &[i16]) -> Vec<i16> {
    let pairs = samples.chunks_exact(2);
    pairs
        .map(|p| ((i32::from(p[0]) + i32::from(p[1])) / 2) as i16)
        .collect()
}

/// The folder of the phrases.
pub fn prompts_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../prompts/en")
}

/// A phrase that can be known again.
pub struct Phrase {
    /// Two tenths of a second or more from its middle, at half the rate.
    piece: Vec<i16>,
    /// Samples from the beginning of `piece` to the end of the phrase.
    to_end: usize,
}

impl Phrase {
    /// The recording of that name.
    pub fn named(name: &str) -> Phrase {
        let whole = halved(&read_wav(&prompts_dir().join(format!("{name}.wav"))));
        let take = whole.len().min(2400);
        let from = (whole.len() - take) / 2;
        Phrase {
            piece: whole[from..from + take].to_vec(),
            to_end: 2 * (whole.len() - from),
        }
    }

    /// How many samples it needs to be known by.
    pub fn needs(&self) -> usize {
        2 * self.piece.len()
    }

    /// Where in `heard` it ends, if it was said: the place where it fits best, when it fits.
    pub fn end_in(&self, heard: &[i16]) -> Option<usize> {
        let (best, at) = best_fit(&halved(heard), &self.piece)?;
        (best > 0.75).then_some(2 * at + self.to_end)
    }
}

/// Where in `heard` the phrase of that name ends, if it was said.
pub fn phrase_end(heard: &[i16], name: &str) -> Option<usize> {
    let end = Phrase::named(name).end_in(heard)?;
    Some(end.min(heard.len()))
}

/// The highest normalised correlation of `piece` with any part of `whole`, and where.
fn best_fit(whole: &[i16], piece: &[i16]) -> Option<(f32, usize)> {
    let whole: Vec<f32> = whole.iter().map(|&s| f32::from(s)).collect();
    let piece: Vec<f32> = piece.iter().map(|&s| f32::from(s)).collect();
    let piece_energy: f32 = piece.iter().map(|s| s * s).sum();
    let mut energy: f32 = whole.get(..piece.len())?.iter().map(|s| s * s).sum();
    let mut best = (0.0, 0);
    for at in 0..=whole.len() - piece.len() {
        if energy > piece_energy * 0.2 {
            let window = &whole[at..at + piece.len()];
            let product: f32 = window.iter().zip(&piece).map(|(a, b)| a * b).sum();
            let fit = product / (energy * piece_energy).sqrt();
            if fit > best.0 {
                best = (fit, at);
            }
        }
        if let Some(next) = whole.get(at + piece.len()) {
            energy += next * next - whole[at] * whole[at];
        }
    }
    Some(best)
}

#[test]
fn the_ears_hear_what_the_mouth_says() {
    let tone = sine(1000.0, -20.0, 1600);
    assert!((tone_db(&tone, 1000.0) + 20.0).abs() < 0.1);
    assert!((level_db(&tone) + 20.0).abs() < 0.1);
    assert!(is_tone(&tone, 1000.0) && !is_tone(&tone, 1100.0));
    for sample in (-32000..32000).step_by(77) {
        let error = i32::from(from_ulaw(to_ulaw(sample))) - i32::from(sample);
        assert!(error.abs() <= i32::from(sample).abs() / 16 + 8, "{sample}");
        let error = i32::from(from_alaw(to_alaw(sample))) - i32::from(sample);
        assert!(error.abs() <= i32::from(sample).abs() / 16 + 16, "{sample}");
    }
    let spoken: Vec<i16> = (7..300)
        .flat_map(|n| counting_frame(n).map(from_ulaw))
        .collect();
    assert_eq!(counted_frames(&spoken[93..]), (8..300).collect::<Vec<_>>());
}

#[test]
fn a_phrase_is_known_from_others() {
    let mut heard = vec![0; 4000];
    heard.extend(read_wav(&prompts_dir().join("vm/enter-pin.wav")));
    heard.extend(vec![0; 2000]);
    let heard: Vec<i16> = heard.into_iter().map(|s| from_ulaw(to_ulaw(s))).collect();
    let end = phrase_end(&heard, "vm/enter-pin").expect("heard");
    assert!(end.abs_diff(heard.len() - 2000) < 400);
    assert_eq!(phrase_end(&heard, "vm/enter-mailbox"), None);
    assert_eq!(phrase_end(&heard, "vm/new-pin"), None);
    assert_eq!(phrase_end(&heard, "digits/7"), None);
}
