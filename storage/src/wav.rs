//! Sound out to WAV files and in from them.
//!
//! Out: 16-bit PCM at 8 kHz, one channel, chunk by chunk as it is read from the log. In: 16-bit
//! PCM at 8, 16, 44.1 or 48 kHz, one channel or two (mixed to one), to mu-law. What is above the
//! telephone band is filtered out on the way down (Kaiser window, stop band of 80 dB from 4 kHz
//! on; A. V. Oppenheim, R. W. Schafer: *Discrete-Time Signal Processing*, §7.5), for it would come
//! back as noise below.

use std::f64::consts::PI;
use std::io::{Read, Seek, Write};

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use crate::g711;
use crate::seam::{ChunkPlace, SoundCodec};
use crate::{ReadError, SoundReader};

/// Samples a second of everything in the log.
pub const RATE_HZ: u32 = 8000;

const RATES_HZ: [u32; 4] = [RATE_HZ, 16_000, 44_100, 48_000];
/// Middle of the filter's slope; it is about 630 Hz wide, so 3.4 kHz passes and 4 kHz does not.
const CUTOFF_HZ: f64 = 3690.0;
/// Reach of the filter to each side, in samples of the output.
const REACH: f64 = 32.0;
/// Kaiser's beta for 80 dB.
const BETA: f64 = 7.86;

/// Why a WAV file was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// It is no WAV file, or none that is understood, or could not be read or written.
    #[error("not a WAV file of 16-bit PCM: {0}")]
    Wav(#[from] hound::Error),
    /// It is one, of another kind.
    #[error(
        "a WAV file of {bits} bits, {channels} channels, {rate_hz} Hz; wanted are 16-bit PCM, \
         1 or 2 channels, 8000, 16000, 44100 or 48000 Hz"
    )]
    Kind {
        /// Bits a sample.
        bits: u16,
        /// Channels.
        channels: u16,
        /// Samples a second.
        rate_hz: u32,
    },
    /// It is longer than allowed.
    #[error("longer than {seconds_max} seconds")]
    TooLong {
        /// What is allowed.
        seconds_max: u32,
    },
    /// There is nothing in it.
    #[error("there is no sound in it")]
    Empty,
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] ReadError),
}

/// Writes a sound's chunks as a WAV file.
pub fn export(
    reader: &SoundReader,
    codec: SoundCodec,
    places: &[ChunkPlace],
    out: impl Write + Seek,
) -> Result<(), WavError> {
    let spec = WavSpec {
        channels: 1,
        sample_rate: RATE_HZ,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut wav = WavWriter::new(out, spec)?;
    let mut words = Vec::new();
    for place in places {
        words.clear();
        reader.read(place, &mut words)?;
        for word in &words {
            wav.write_sample(g711::decode(codec, *word))?;
        }
    }
    Ok(wav.finalize()?)
}

/// Reads a WAV file of at most `seconds_max` as mu-law at 8 kHz.
pub fn import(input: impl Read, seconds_max: u32) -> Result<Vec<u8>, WavError> {
    let mut wav = WavReader::new(input)?;
    let spec = wav.spec();
    let is_pcm = spec.sample_format == SampleFormat::Int && spec.bits_per_sample == 16;
    if !is_pcm || !matches!(spec.channels, 1 | 2) || !RATES_HZ.contains(&spec.sample_rate) {
        let (bits, channels) = (spec.bits_per_sample, spec.channels);
        return Err(WavError::Kind {
            bits,
            channels,
            rate_hz: spec.sample_rate,
        });
    }
    if u64::from(wav.duration()) > u64::from(seconds_max) * u64::from(spec.sample_rate) {
        return Err(WavError::TooLong { seconds_max });
    }
    let mut mono = Vec::new();
    let mut samples = wav.samples::<i16>();
    while let Some(sample) = samples.next() {
        let first = f32::from(sample?);
        let is_stereo = spec.channels == 2;
        let second = if is_stereo {
            samples.next().transpose()?.map(f32::from)
        } else {
            None
        };
        mono.push(second.map_or(first, |second| (first + second) / 2.0));
    }
    if mono.is_empty() {
        return Err(WavError::Empty);
    }
    let telephone = to_8_khz(&mono, spec.sample_rate);
    // `as` saturates: the filter may overshoot a sample at full scale.
    Ok(telephone
        .iter()
        .map(|sample| g711::encode_pcmu(sample.round() as i16))
        .collect())
}

/// Low-pass and resampling in one: each output sample is a weighted mean of the input around it.
fn to_8_khz(input: &[f32], rate_hz: u32) -> Vec<f32> {
    if rate_hz == RATE_HZ {
        return input.to_vec();
    }
    let (step, phases) = ratio(rate_hz);
    let taps: Vec<Vec<f32>> = (0..phases)
        .map(|phase| taps(rate_hz, phase, phases))
        .collect();
    let output_len = (input.len() * phases).div_ceil(step);
    let at = |n: usize| {
        let (whole, phase) = (n * step / phases, n * step % phases);
        let taps = &taps[phase];
        // Beyond both ends there is silence.
        let first = whole as isize - (taps.len() as isize / 2 - 1);
        let skipped = usize::try_from(-first).unwrap_or(0);
        let window = input.iter().skip(usize::try_from(first).unwrap_or(0));
        taps.iter()
            .skip(skipped)
            .zip(window)
            .map(|(tap, sample)| tap * sample)
            .sum()
    };
    (0..output_len).map(at).collect()
}

/// The input moves on by `step / phases` samples for each one of the output.
fn ratio(rate_hz: u32) -> (usize, usize) {
    let mut divisor = (rate_hz, RATE_HZ);
    while divisor.1 != 0 {
        divisor = (divisor.1, divisor.0 % divisor.1);
    }
    (
        (rate_hz / divisor.0) as usize,
        (RATE_HZ / divisor.0) as usize,
    )
}

/// The weights of the input samples around a point `phase / phases` after one of them.
fn taps(rate_hz: u32, phase: usize, phases: usize) -> Vec<f32> {
    let rate = f64::from(rate_hz);
    let reach = REACH * rate / f64::from(RATE_HZ);
    let half = reach.ceil() as i64;
    let offset = phase as f64 / phases as f64;
    let weight = |k: i64| {
        let distance = k as f64 - offset;
        let inside = 1.0 - (distance / reach).powi(2);
        let window = if inside <= 0.0 {
            0.0
        } else {
            bessel_i0(BETA * inside.sqrt())
        };
        sinc(2.0 * CUTOFF_HZ / rate * distance) * window
    };
    let weights: Vec<f64> = (-half + 1..=half).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum) as f32).collect()
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-12 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

/// Modified Bessel function of the first kind, order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..40 {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn wav(spec: WavSpec, samples: impl Iterator<Item = i16>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
        samples.for_each(|s| writer.write_sample(s).unwrap());
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    fn spec(channels: u16, rate_hz: u32) -> WavSpec {
        let (bits_per_sample, sample_format) = (16, SampleFormat::Int);
        WavSpec {
            channels,
            sample_rate: rate_hz,
            bits_per_sample,
            sample_format,
        }
    }

    fn tone(rate_hz: u32, frequency_hz: f64) -> impl Iterator<Item = i16> {
        let step = 2.0 * PI * frequency_hz / f64::from(rate_hz);
        (0..rate_hz).map(move |n| ((step * f64::from(n)).sin() * 16000.0) as i16)
    }

    /// Level of the middle of a second of mu-law, relative to the tone above, in dB.
    fn level_db(words: &[u8]) -> f64 {
        let middle = &words[1000..7000];
        let power = |w: &u8| f64::from(g711::decode(SoundCodec::Pcmu, *w)).powi(2);
        let mean = middle.iter().map(power).sum::<f64>() / middle.len() as f64;
        10.0 * (mean / (16000f64.powi(2) / 2.0)).log10()
    }

    #[test]
    fn tones_of_the_telephone_band_pass_and_others_do_not() {
        for rate_hz in RATES_HZ {
            for frequency_hz in [300.0, 1000.0, 3350.0] {
                let words = import(&wav(spec(1, rate_hz), tone(rate_hz, frequency_hz))[..], 1);
                let words = words.unwrap();
                assert_eq!(words.len(), 8000);
                let level = level_db(&words);
                assert!(level.abs() < 0.3, "{frequency_hz} at {rate_hz}: {level}");
            }
        }
        for (rate_hz, frequency_hz) in [(16_000, 4050.0), (44_100, 7000.0), (48_000, 9000.0)] {
            let words = import(&wav(spec(1, rate_hz), tone(rate_hz, frequency_hz))[..], 1).unwrap();
            assert!(
                level_db(&words) < -65.0,
                "{frequency_hz}: {}",
                level_db(&words)
            );
        }
    }

    #[test]
    fn two_channels_become_one() {
        let one = wav(spec(1, 8000), tone(8000, 440.0));
        let two = wav(spec(2, 8000), tone(8000, 440.0).flat_map(|s| [s, s]));
        assert_eq!(import(&one[..], 1).unwrap(), import(&two[..], 1).unwrap());
    }

    #[test]
    fn what_is_not_wanted_is_refused_with_a_reason() {
        let refuse = |bytes: &[u8]| import(bytes, 1).unwrap_err().to_string();
        let long = wav(spec(1, 8000), tone(8000, 440.0).chain([0]));
        assert_eq!(refuse(&long), "longer than 1 seconds");
        assert_eq!(
            refuse(&wav(spec(1, 8000), [].into_iter())),
            "there is no sound in it"
        );
        let kind = refuse(&wav(spec(1, 11_025), [0].into_iter()));
        assert!(
            kind.starts_with("a WAV file of 16 bits, 1 channels, 11025 Hz; wanted"),
            "{kind}"
        );
        assert!(refuse(b"hello").starts_with("not a WAV file of 16-bit PCM"));
        let cut = wav(spec(1, 8000), tone(8000, 440.0));
        assert!(import(&cut[..1000], 1).is_err());
    }
}
