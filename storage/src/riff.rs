//! Samples out of a WAV file, as any program writes one.
//!
//! RIFF chunks in any order around the sound, those of odd length with their pad byte; PCM of 8 to 32
//! bits, floating point, A-law and mu-law, plain or as `WAVE_FORMAT_EXTENSIBLE`; also from a program that
//! wrote into a pipe and so could not say how long it is. Two channels become one.
//!
//! Sources: Microsoft, *Multimedia Programming Interface and Data Specifications 1.0* (1991) and *Multiple
//! Channel Audio Data and WAVE Files* (2007); RFC 2361 for the numbers of the formats; EBU Tech 3306 for
//! RF64.

use std::io::{self, ErrorKind, Read};
use std::ops::RangeInclusive;

use crate::g711;
use crate::resample::RATE_HZ;
use crate::seam::SoundCodec;
use crate::wav::WavError;

const RATES_HZ: RangeInclusive<u32> = RATE_HZ..=48_000;
const CHANNELS: RangeInclusive<u16> = 1..=2;
/// A `fmt ` chunk has 16, 18 or 40 bytes.
const FMT_BYTES: RangeInclusive<u32> = 16..=1024;
/// As much or more is what writers say that do not know it yet; no shorter file is meant.
const UNKNOWN_BYTES_MIN: u32 = 0x7FFF_0000;

const FORMAT_EXTENSIBLE: u16 = 0xFFFE;

/// Linear samples, full scale at 32768.
pub(crate) struct Samples {
    pub(crate) rate_hz: u32,
    pub(crate) mono: Vec<f32>,
}

/// How a sample is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Coding {
    Unsigned8,
    Signed16,
    Signed24,
    Signed32,
    Float32,
    Float64,
    G711(SoundCodec),
}

#[derive(Clone, Copy, Debug)]
struct Format {
    coding: Coding,
    channels: u16,
    rate_hz: u32,
}

/// Reads a WAV file of at most so many seconds.
pub(crate) fn read(mut input: impl Read, seconds_max: u32) -> Result<Samples, WavError> {
    let mut front = [0; 12];
    input.read_exact(&mut front).map_err(no_wav)?;
    if !matches!(&front[..4], b"RIFF" | b"RF64") || &front[8..] != b"WAVE" {
        return Err(WavError::NotWav);
    }
    let mut format = None;
    loop {
        let mut header = [0; 8];
        match input.read_exact(&mut header) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Err(WavError::Empty),
            read => read?,
        }
        let [.., a, b, c, d] = header;
        let bytes = u32::from_le_bytes([a, b, c, d]);
        match &header[..4] {
            b"fmt " => format = Some(read_format(&mut input, bytes)?),
            b"data" => {
                let format = format.ok_or(WavError::NotWav)?;
                return read_samples(input, bytes, format, seconds_max);
            }
            _ => skip(&mut input, u64::from(bytes) + u64::from(bytes % 2))?,
        }
    }
}

fn no_wav(e: io::Error) -> WavError {
    match e.kind() {
        ErrorKind::UnexpectedEof => WavError::NotWav,
        _ => e.into(),
    }
}

fn skip(input: &mut impl Read, bytes: u64) -> io::Result<()> {
    io::copy(&mut input.take(bytes), &mut io::sink()).map(drop)
}

fn read_format(input: &mut impl Read, bytes: u32) -> Result<Format, WavError> {
    if !FMT_BYTES.contains(&bytes) {
        return Err(WavError::NotWav);
    }
    let mut fmt = vec![0; bytes as usize];
    input.read_exact(&mut fmt).map_err(no_wav)?;
    skip(input, u64::from(bytes % 2))?;
    let u16_at = |at: usize| match fmt.get(at..at + 2) {
        Some(&[low, high]) => u16::from_le_bytes([low, high]),
        _ => 0,
    };
    let (tag, channels) = (u16_at(0), u16_at(2));
    let rate_hz = u32::from(u16_at(4)) | u32::from(u16_at(6)) << 16;
    let (block_bytes, bits) = (u16_at(12), u16_at(14));
    // The first two bytes of the sub-format's name are a format as without one.
    let tag = if tag == FORMAT_EXTENSIBLE {
        u16_at(24)
    } else {
        tag
    };
    // A sample of 20 bits, say, lies in 24; what is not used is zero.
    let sample_bytes = block_bytes.checked_div(channels).unwrap_or(0);
    let coding = match (tag, sample_bytes) {
        (1, 1) => Some(Coding::Unsigned8),
        (1, 2) => Some(Coding::Signed16),
        (1, 3) => Some(Coding::Signed24),
        (1, 4) => Some(Coding::Signed32),
        (3, 4) => Some(Coding::Float32),
        (3, 8) => Some(Coding::Float64),
        (6, 1) => Some(Coding::G711(SoundCodec::Pcma)),
        (7, 1) => Some(Coding::G711(SoundCodec::Pcmu)),
        _ => None,
    };
    match coding {
        Some(coding) if CHANNELS.contains(&channels) && RATES_HZ.contains(&rate_hz) => Ok(Format {
            coding,
            channels,
            rate_hz,
        }),
        _ => Err(WavError::Kind {
            tag,
            bits,
            channels,
            rate_hz,
        }),
    }
}

fn read_samples(
    input: impl Read,
    bytes: u32,
    format: Format,
    seconds_max: u32,
) -> Result<Samples, WavError> {
    let Format {
        coding,
        channels,
        rate_hz,
    } = format;
    let frame_bytes = coding.bytes() * usize::from(channels);
    let bytes_max = u64::from(seconds_max) * u64::from(rate_hz) * frame_bytes as u64;
    // Who writes into a pipe says 0 or as much as can be said.
    let is_known = (1..UNKNOWN_BYTES_MIN).contains(&bytes);
    if is_known && u64::from(bytes) > bytes_max {
        return Err(WavError::TooLong { seconds_max });
    }
    let wanted = if is_known {
        u64::from(bytes)
    } else {
        bytes_max + 1
    };
    let mut sound = Vec::new();
    input.take(wanted).read_to_end(&mut sound)?;
    if sound.len() as u64 > bytes_max {
        return Err(WavError::TooLong { seconds_max });
    }
    if is_known && (sound.len() as u64) < wanted {
        return Err(WavError::Cut);
    }
    let frames = sound.chunks_exact(frame_bytes);
    let mono = frames.map(|frame| {
        let samples = frame.chunks_exact(coding.bytes());
        samples.map(|sample| coding.linear(sample)).sum::<f32>() / f32::from(channels)
    });
    Ok(Samples {
        rate_hz,
        mono: mono.collect(),
    })
}

impl Coding {
    fn bytes(self) -> usize {
        match self {
            Coding::Unsigned8 | Coding::G711(_) => 1,
            Coding::Signed16 => 2,
            Coding::Signed24 => 3,
            Coding::Signed32 | Coding::Float32 => 4,
            Coding::Float64 => 8,
        }
    }

    /// A sample of as many bytes as this one has, else silence.
    fn linear(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Coding::Unsigned8, &[a]) => (f32::from(a) - 128.0) * 256.0,
            (Coding::G711(codec), &[a]) => f32::from(g711::decode_table(codec)[usize::from(a)]),
            (Coding::Signed16, &[a, b]) => f32::from(i16::from_le_bytes([a, b])),
            (Coding::Signed24, &[a, b, c]) => i32::from_le_bytes([0, a, b, c]) as f32 / 65536.0,
            (Coding::Signed32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]) as f32 / 65536.0,
            (Coding::Float32, &[a, b, c, d]) => full_scale(f32::from_le_bytes([a, b, c, d])),
            (Coding::Float64, &[a, b, c, d, e, f, g, h]) => {
                full_scale(f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32)
            }
            _ => 0.0,
        }
    }
}

/// Floating point has its full scale at 1, and may hold what is no number.
fn full_scale(sample: f32) -> f32 {
    if sample.is_nan() {
        return 0.0;
    }
    sample.clamp(-1.0, 1.0) * 32768.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fmt(tag: u16, sample_bytes: u16, channels: u16) -> Vec<u8> {
        let block = sample_bytes * channels;
        let mut fmt = Vec::new();
        fmt.extend(tag.to_le_bytes());
        fmt.extend(channels.to_le_bytes());
        fmt.extend(8000u32.to_le_bytes());
        fmt.extend((8000 * u32::from(block)).to_le_bytes());
        fmt.extend(block.to_le_bytes());
        fmt.extend((8 * sample_bytes).to_le_bytes());
        fmt
    }

    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut chunk = name.to_vec();
        chunk.extend((content.len() as u32).to_le_bytes());
        chunk.extend(content);
        chunk.resize(chunk.len() + content.len() % 2, 0);
        chunk
    }

    fn wav(chunks: &[Vec<u8>]) -> Vec<u8> {
        let content = [b"WAVE".to_vec(), chunks.concat()].concat();
        chunk(b"RIFF", &content)
    }

    fn mono(file: &[u8]) -> Vec<f32> {
        read(file, 1).unwrap().mono
    }

    #[test]
    fn the_same_sound_in_any_coding_is_the_same_sound() {
        // A quarter of full scale, up and down.
        let quarter = |tag, bytes: u16, up: &[u8], down: &[u8]| {
            let sound = [up, down].concat();
            mono(&wav(&[
                chunk(b"fmt ", &fmt(tag, bytes, 1)),
                chunk(b"data", &sound),
            ]))
        };
        let exact = [8192.0, -8192.0];
        assert_eq!(quarter(1, 1, &[160], &[96]), exact);
        assert_eq!(
            quarter(1, 2, &8192i16.to_le_bytes(), &(-8192i16).to_le_bytes()),
            exact
        );
        assert_eq!(quarter(1, 3, &[0, 0, 32], &[0, 0, 224]), exact);
        assert_eq!(
            quarter(
                1,
                4,
                &(1i32 << 29).to_le_bytes(),
                &(-(1i32 << 29)).to_le_bytes()
            ),
            exact
        );
        assert_eq!(
            quarter(3, 4, &0.25f32.to_le_bytes(), &(-0.25f32).to_le_bytes()),
            exact
        );
        assert_eq!(
            quarter(3, 8, &0.25f64.to_le_bytes(), &(-0.25f64).to_le_bytes()),
            exact
        );
        for (tag, encode) in [(6, g711::a_encode as fn(i16) -> u8), (7, g711::mu_encode)] {
            let heard = quarter(tag, 1, &[encode(8192)], &[encode(-8192)]);
            assert!(
                heard.iter().zip(exact).all(|(h, e)| (h - e).abs() < 300.0),
                "{tag}: {heard:?}"
            );
        }
    }

    #[test]
    fn other_chunks_stand_anywhere_and_have_a_pad_byte_if_they_are_odd() {
        let sound = [8192i16, -8192].map(i16::to_le_bytes).concat();
        let (format, sound) = (chunk(b"fmt ", &fmt(1, 2, 1)), chunk(b"data", &sound));
        for (before, after) in [(4, 0), (5, 0), (602, 3), (0, 7)] {
            let list = |bytes: usize| chunk(b"LIST", &vec![1; bytes]);
            let file = wav(&[
                list(before),
                format.clone(),
                list(before),
                sound.clone(),
                list(after),
            ]);
            assert_eq!(mono(&file), [8192.0, -8192.0], "{before} {after}");
        }
    }

    #[test]
    fn what_came_out_of_a_pipe_is_as_long_as_it_is() {
        let sound = [8192i16; 10].map(i16::to_le_bytes).concat();
        let mut file = wav(&[chunk(b"fmt ", &fmt(1, 2, 1)), chunk(b"data", &sound)]);
        for said in [0, u32::MAX, 0x7FFF_F000] {
            file[4..8].copy_from_slice(&said.to_le_bytes());
            file[40..44].copy_from_slice(&said.to_le_bytes());
            assert_eq!(mono(&file), [8192.0; 10], "{said:#x}");
        }
        file.extend(vec![0; 2 * 8000]);
        assert!(matches!(read(&file[..], 1), Err(WavError::TooLong { .. })));
    }

    #[test]
    fn no_number_is_silence_and_too_loud_is_full_scale() {
        let sound = [f32::NAN, f32::INFINITY, -7.0]
            .map(f32::to_le_bytes)
            .concat();
        let file = wav(&[chunk(b"fmt ", &fmt(3, 4, 1)), chunk(b"data", &sound)]);
        assert_eq!(mono(&file), [0.0, 32768.0, -32768.0]);
    }

    #[test]
    fn a_file_that_is_cut_short_anywhere_is_an_error() {
        let sound = [1i16; 20].map(i16::to_le_bytes).concat();
        let file = wav(&[chunk(b"fmt ", &fmt(1, 2, 1)), chunk(b"data", &sound)]);
        for end in 0..file.len() {
            assert!(read(&file[..end], 1).is_err(), "{end}");
        }
        assert!(read(&file[..], 1).is_ok());
    }
}
