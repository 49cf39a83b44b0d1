//! The spoken prompts: WAV files of any usual rate, made ready to be sent.
//!
//! All are loaded at start (by `shell`), brought to 8 kHz and encoded in both laws: playing one is
//! a copy. The name of a prompt is its path in the folder without `.wav`: `vm/intro`, `digits/7`.
//!
//! Bounds: see the constants.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use tandem_storage::wav::{self, WavError};

use crate::seam::Codec;

/// The most prompts.
pub const PROMPTS_MAX: usize = 4096;
/// The longest prompt, in seconds.
pub const PROMPT_SECONDS_MAX: u32 = 300;
/// All prompts together, in samples of 8 kHz (both laws: twice this in bytes).
pub const SAMPLES_MAX: usize = 64 << 20;

/// A prompt in both laws, 8 kHz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    mu: Box<[u8]>,
    a: Box<[u8]>,
}

/// All prompts by name.
#[derive(Clone, Debug, Default)]
pub struct Prompts {
    by_name: BTreeMap<Arc<str>, Arc<Prompt>>,
    samples: usize,
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
    pub fn from_wav(bytes: impl Read) -> Result<Prompt, WavError> {
        let samples = wav::read_linear(bytes, PROMPT_SECONDS_MAX)?;
        Ok(Prompt::from_linear(&samples))
    }

    /// Its samples in a law; mu-law for a codec that is no law.
    pub fn bytes(&self, codec: Codec) -> &[u8] {
        match codec {
            Codec::Pcma => &self.a,
            Codec::Pcmu | Codec::G722 | Codec::Opus => &self.mu,
        }
    }

    /// Its length.
    pub fn samples(&self) -> usize {
        self.mu.len()
    }
}

impl Prompts {
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn kinds_not_taken_are_named() {
        let error = Prompt::from_wav(&wav(1, 16, 96_000, &[0; 100])[..]).unwrap_err();
        assert!(error.to_string().contains("96000 Hz"), "{error}");
        assert!(Prompt::from_wav(&wav(3, 16, 8000, &[0; 99])[..]).is_err());
        let bytes = Prompt::from_wav(&wav(1, 8, 8000, &[0; 100])[..]).unwrap();
        assert_eq!(bytes.bytes(Codec::Pcmu), [0xff; 100]);
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
