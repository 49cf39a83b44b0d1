//! Sound out to WAV files and in from them.
//!
//! Out: 16-bit PCM at 8 kHz, one channel, chunk by chunk as it is read from the log. In: what `riff` reads,
//! at 8 to 48 kHz, brought to 8 kHz by `resample`.

use std::io::{Read, Seek, Write};

use hound::{SampleFormat, WavSpec, WavWriter};

use crate::g711;
pub use crate::resample::RATE_HZ;
use crate::resample::to_8_khz;
use crate::riff;
use crate::seam::{ChunkPlace, SoundCodec};
use crate::{ReadError, SoundReader};

/// Why a WAV file was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// It could not be written.
    #[error("the WAV file cannot be written: {0}")]
    Write(#[from] hound::Error),
    /// The file could not be opened or read.
    #[error("cannot be read: {0}")]
    Open(#[from] std::io::Error),
    /// It is no WAV file.
    #[error("this is not a WAV file")]
    NotWav,
    /// It ends before it should.
    #[error("the WAV file is cut short")]
    Cut,
    /// It is one, of another kind.
    #[error(
        "a WAV file of format {tag}, {bits} bits, {channels} channels, {rate_hz} Hz; taken are PCM of 8 to 32 bits, \
         floating point, A-law and mu-law, 1 or 2 channels, 8000 to 48000 Hz"
    )]
    Kind {
        /// The format's number (RFC 2361).
        tag: u16,
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
    let linear = g711::decode_table(codec);
    let mut words = Vec::new();
    for place in places {
        words.clear();
        reader.read(place, &mut words)?;
        for word in &words {
            wav.write_sample(linear[usize::from(*word)])?;
        }
    }
    Ok(wav.finalize()?)
}

/// Reads a WAV file of at most `seconds_max` as mu-law at 8 kHz.
pub fn import(input: impl Read, seconds_max: u32) -> Result<Vec<u8>, WavError> {
    let linear = read_linear(input, seconds_max)?;
    if linear.is_empty() {
        return Err(WavError::Empty);
    }
    Ok(linear.into_iter().map(g711::mu_encode).collect())
}

/// Reads a WAV file of at most `seconds_max` as linear samples at 8 kHz.
pub fn read_linear(input: impl Read, seconds_max: u32) -> Result<Vec<i16>, WavError> {
    let sound = riff::read(input, seconds_max)?;
    let telephone = to_8_khz(sound.mono, sound.rate_hz);
    // `as` saturates: the filter may overshoot a sample at full scale.
    Ok(telephone.iter().map(|s| s.round() as i16).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;
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
        let power = |w: &u8| f64::from(g711::MU_DECODE[usize::from(*w)]).powi(2);
        let mean = middle.iter().map(power).sum::<f64>() / middle.len() as f64;
        10.0 * (mean / (16000f64.powi(2) / 2.0)).log10()
    }

    #[test]
    fn tones_of_the_telephone_band_pass_and_others_do_not() {
        for rate_hz in [8000, 16_000, 44_100, 48_000] {
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
        let kind = refuse(&wav(spec(1, 96_000), [0].into_iter()));
        assert!(
            kind.starts_with("a WAV file of format 1, 16 bits, 1 channels, 96000 Hz; taken are"),
            "{kind}"
        );
        assert_eq!(refuse(b"hello"), "this is not a WAV file");
        let cut = wav(spec(1, 8000), tone(8000, 440.0));
        assert_eq!(refuse(&cut[..1000]), "the WAV file is cut short");
    }
}
