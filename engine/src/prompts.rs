//! The spoken prompts: WAV files of any usual rate, made ready to be sent.
//!
//! All are loaded at start, brought to 8 kHz through a low-pass (what lies above 4 kHz would fold
//! down into speech) and encoded in both laws: playing one is a copy. The name of a prompt is its
//! path in the folder without `.wav`: `vm-intro`, `digits/7`.
//!
//! Bounds: see the constants. A file that cannot be used is named and skipped; an administrator's
//! bad file must not keep the telephones dead.

use std::collections::HashMap;
use std::f32::consts::PI;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::seam::Codec;
use crate::seq::CLOCK_HZ;

/// The most prompts.
pub const PROMPTS_MAX: usize = 4096;
/// The longest prompt, in seconds.
pub const PROMPT_SECONDS_MAX: u32 = 300;
/// The largest file: five minutes of stereo at 48 kHz, 32 bits.
pub const FILE_BYTES_MAX: u64 = 120 << 20;
/// All prompts together, in samples of 8 kHz (both laws: twice this in bytes).
pub const SAMPLES_MAX: usize = 64 << 20;
/// Folders within folders.
const DEPTH_MAX: usize = 4;

/// Half the low-pass, in samples of the lower rate: 3.4 kHz passes, 4.6 kHz is 60 dB down.
const FILTER_REACH: f32 = 12.0;
/// Where the low-pass is half down, in hertz.
const CUTOFF_HZ: f32 = 3700.0;

/// A prompt in both laws, 8 kHz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    mu: Box<[u8]>,
    a: Box<[u8]>,
}

/// All prompts by name.
#[derive(Clone, Debug, Default)]
pub struct Prompts {
    by_name: HashMap<Arc<str>, Arc<Prompt>>,
    samples: usize,
}

/// Why a file is no prompt.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// It is no WAV file, or a broken one.
    #[error("not a readable WAV file: {0}")]
    Wav(#[from] hound::Error),
    /// It is one, of a kind not taken.
    #[error(
        "{channels} channels of {bits} bits at {rate_hz} Hz; wanted: 1 or 2 channels of 16 bits at 8000 to 48000 Hz"
    )]
    Kind {
        /// Channels.
        channels: u16,
        /// Bits a sample.
        bits: u16,
        /// Samples a second.
        rate_hz: u32,
    },
    /// It is too long.
    #[error("longer than {PROMPT_SECONDS_MAX} s")]
    TooLong,
}

impl Prompt {
    /// From linear samples at 8 kHz.
    pub fn from_linear(samples: &[i16]) -> Prompt {
        let encode = |codec: Codec| samples.iter().map(|s| codec.encode(*s)).collect();
        Prompt {
            mu: encode(Codec::Pcmu),
            a: encode(Codec::Pcma),
        }
    }

    /// From a WAV file's bytes.
    pub fn from_wav(bytes: impl Read) -> Result<Prompt, PromptError> {
        let (rate_hz, samples) = read_wav(bytes)?;
        Ok(Prompt::from_linear(&to_8_khz(rate_hz, &samples)))
    }

    /// Its samples in a law.
    pub fn bytes(&self, codec: Codec) -> &[u8] {
        match codec {
            Codec::Pcmu => &self.mu,
            Codec::Pcma => &self.a,
        }
    }

    /// Its length.
    pub fn samples(&self) -> usize {
        self.mu.len()
    }
}

impl Prompts {
    /// Loads every WAV file under a folder.
    pub fn load(folder: &Path) -> Prompts {
        let mut prompts = Prompts::default();
        let mut files = Vec::new();
        collect(folder, 0, &mut files);
        files.sort();
        for file in files {
            match load_file(&file) {
                Ok(prompt) => prompts.insert(&name_of(folder, &file), prompt),
                Err(error) => tracing::warn!(file = %file.display(), %error, "prompt skipped"),
            }
        }
        prompts
    }

    /// Takes a prompt, if there is room.
    pub fn insert(&mut self, name: &str, prompt: Prompt) {
        if self.by_name.len() >= PROMPTS_MAX || self.samples + prompt.samples() > SAMPLES_MAX {
            tracing::warn!(name, "prompt skipped: too many, or too long together");
            return;
        }
        self.samples += prompt.samples();
        self.by_name.insert(name.into(), Arc::new(prompt));
    }

    /// The prompt of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Prompt>> {
        self.by_name.get(name).cloned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "prompts cannot be listed");
            return;
        }
    };
    for path in entries.flatten().map(|e| e.path()) {
        if files.len() >= PROMPTS_MAX {
            return;
        }
        if path.is_dir() && depth < DEPTH_MAX {
            collect(&path, depth + 1, files);
        } else if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("wav"))
        {
            files.push(path);
        }
    }
}

fn name_of(folder: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(folder).unwrap_or(file).with_extension("");
    relative.to_string_lossy().into_owned()
}

fn load_file(path: &Path) -> Result<Prompt, PromptError> {
    let file = std::fs::File::open(path).map_err(hound::Error::IoError)?;
    Prompt::from_wav(std::io::BufReader::new(file.take(FILE_BYTES_MAX)))
}

/// One channel of linear samples and their rate.
fn read_wav(bytes: impl Read) -> Result<(u32, Vec<i16>), PromptError> {
    let reader = hound::WavReader::new(bytes)?;
    let spec = reader.spec();
    let usual = spec.sample_format == hound::SampleFormat::Int
        && spec.bits_per_sample == 16
        && (1..=2).contains(&spec.channels)
        && (8000..=48_000).contains(&spec.sample_rate);
    if !usual {
        return Err(PromptError::Kind {
            channels: spec.channels,
            bits: spec.bits_per_sample,
            rate_hz: spec.sample_rate,
        });
    }
    if reader.duration() > PROMPT_SECONDS_MAX * spec.sample_rate {
        return Err(PromptError::TooLong);
    }
    let samples = reader
        .into_samples::<i16>()
        .collect::<Result<Vec<i16>, _>>()?;
    Ok((spec.sample_rate, downmix(spec.channels, samples)))
}

fn downmix(channels: u16, samples: Vec<i16>) -> Vec<i16> {
    if channels == 1 {
        return samples;
    }
    samples
        .chunks_exact(2)
        .map(|p| ((i32::from(p[0]) + i32::from(p[1])) / 2) as i16)
        .collect()
}

/// Brings samples to 8 kHz: each output sample is the input around its place, weighted by a
/// windowed sine cardinal. The weights repeat after as many outputs as the rates' ratio needs.
pub fn to_8_khz(rate_hz: u32, samples: &[i16]) -> Vec<i16> {
    let target = CLOCK_HZ as u32;
    if rate_hz == target {
        return samples.to_vec();
    }
    let common = gcd(rate_hz, target);
    let (step, phases) = ((rate_hz / common) as usize, (target / common) as usize);
    let ratio = rate_hz as f32 / target as f32;
    let reach = (FILTER_REACH * ratio).ceil() as usize;
    let filters: Vec<Vec<f32>> = (0..phases)
        .map(|p| filter(rate_hz, reach, p as f32 / phases as f32))
        .collect();
    let mut padded = vec![0f32; reach];
    padded.extend(samples.iter().map(|s| f32::from(*s)));
    // The weights are filled up to a multiple of eight.
    padded.resize(padded.len() + reach + 8, 0.0);
    let outputs = samples.len() * phases / step;
    (0..outputs)
        .map(|n| {
            let (whole, phase) = (n * step / phases, n * step % phases);
            weigh(&padded[whole..], &filters[phase]).round() as i16
        })
        .collect()
}

/// Eight sums at a time: one alone would have to be made in order, which no vector unit can do.
fn weigh(input: &[f32], filter: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let input = &input[..filter.len()];
    for (x, w) in input.chunks_exact(8).zip(filter.chunks_exact(8)) {
        for lane in 0..8 {
            sums[lane] += x[lane] * w[lane];
        }
    }
    sums.iter().sum()
}

/// Weights for the input samples from `-reach` to `+reach` around a place between two of them.
fn filter(rate_hz: u32, reach: usize, fraction: f32) -> Vec<f32> {
    let cutoff = 2.0 * CUTOFF_HZ / rate_hz as f32;
    let weights: Vec<f32> = (0..=2 * reach)
        .map(|n| {
            let x = n as f32 - reach as f32 - fraction;
            sinc(cutoff * x) * window(x / (reach as f32 + 1.0))
        })
        .collect();
    let gain: f32 = weights.iter().sum();
    let mut weights: Vec<f32> = weights.into_iter().map(|w| w / gain).collect();
    weights.resize(weights.len().next_multiple_of(8), 0.0);
    weights
}

fn sinc(x: f32) -> f32 {
    if x.abs() < 1e-6 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

/// Blackman's window over -1..1.
fn window(x: f32) -> f32 {
    if x.abs() >= 1.0 {
        0.0
    } else {
        0.42 + 0.5 * (PI * x).cos() + 0.08 * (2.0 * PI * x).cos()
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate_hz: u32, frequency_hz: f32) -> Vec<i16> {
        let step = 2.0 * PI * frequency_hz / rate_hz as f32;
        (0..rate_hz / 2)
            .map(|n| (10_000.0 * (step * n as f32).sin()) as i16)
            .collect()
    }

    fn level_db(samples: &[i16]) -> f32 {
        let middle = &samples[200..samples.len() - 200];
        let power: f32 = middle.iter().map(|s| f32::from(*s).powi(2)).sum();
        10.0 * (power / middle.len() as f32 / (10_000f32.powi(2) / 2.0)).log10()
    }

    #[test]
    fn speech_passes_and_what_would_fold_is_gone() {
        for rate_hz in [16_000, 22_050, 44_100, 48_000] {
            for (frequency_hz, low, high) in [
                (300.0, -0.2, 0.2),
                (3000.0, -1.0, 0.2),
                (4700.0, -99.0, -45.0),
                (7000.0, -199.0, -55.0),
            ] {
                let out = to_8_khz(rate_hz, &sine(rate_hz, frequency_hz));
                assert_eq!(out.len(), 4000);
                let db = level_db(&out);
                assert!(
                    (low..=high).contains(&db) || db < low && high < -40.0,
                    "{rate_hz} {frequency_hz}: {db} dB"
                );
            }
        }
    }

    fn wav(channels: u16, bits: u16, rate_hz: u32, samples: &[i16]) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate_hz,
            bits_per_sample: bits,
            sample_format: hound::SampleFormat::Int,
        };
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        for s in samples {
            writer.write_sample(*s).unwrap();
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_folder_of_prompts_is_named_by_path() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("digits")).unwrap();
        let samples = sine(16_000, 440.0);
        std::fs::write(
            folder.path().join("digits/7.wav"),
            wav(1, 16, 16_000, &samples),
        )
        .unwrap();
        std::fs::write(folder.path().join("bad.wav"), b"RIFFnonsense").unwrap();
        std::fs::write(folder.path().join("readme.txt"), b"-").unwrap();
        let prompts = Prompts::load(folder.path());
        assert_eq!(prompts.len(), 1);
        let seven = prompts.get("digits/7").unwrap();
        assert_eq!(
            (seven.samples(), seven.bytes(Codec::Pcma).len()),
            (4000, 4000)
        );
    }

    #[test]
    fn kinds_not_taken_are_named() {
        let error = Prompt::from_wav(&wav(1, 16, 96_000, &[0; 100])[..]).unwrap_err();
        assert!(error.to_string().contains("96000 Hz"), "{error}");
        assert!(Prompt::from_wav(&wav(1, 8, 8000, &[0; 100])[..]).is_err());
        let stereo = Prompt::from_wav(&wav(2, 16, 8000, &[1000, -1000, 0, 0])[..]).unwrap();
        assert_eq!(stereo.bytes(Codec::Pcmu), [0xff, 0xff]);
    }

    #[test]
    fn any_prefix_of_a_file_is_read_or_refused() {
        let whole = wav(1, 16, 16_000, &[1; 64]);
        for end in 0..whole.len() {
            let _ = Prompt::from_wav(&whole[..end]);
        }
    }
}
