//! mu-law, as far as import and export need it: 16-bit linear to 8 bits and back, A-law back only
//! (ITU-T G.711, §3; the 14 and 13 bits of the recommendation are the upper ones of 16).

use crate::seam::SoundCodec;

const PCMU_BIAS: i32 = 0x84;
const PCMU_CLIP: i32 = 32635;

/// Linear to mu-law.
pub fn encode_pcmu(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(PCMU_CLIP) + PCMU_BIAS;
    // With the bias in it the highest bit is one of 7 to 14.
    let segment = magnitude.ilog2() - 7;
    let step = (magnitude >> (segment + 3)) & 0x0f;
    !(sign | (segment as u8) << 4 | step as u8)
}

/// A code word to linear.
pub fn decode(codec: SoundCodec, word: u8) -> i16 {
    match codec {
        SoundCodec::Pcmu => decode_pcmu(word),
        SoundCodec::Pcma => decode_pcma(word),
    }
}

fn decode_pcmu(word: u8) -> i16 {
    let word = !word;
    let (segment, step) = ((word >> 4) & 7, i32::from(word & 0x0f));
    let magnitude = (((step << 3) + PCMU_BIAS) << segment) - PCMU_BIAS;
    signed(magnitude, word & 0x80 != 0)
}

fn decode_pcma(word: u8) -> i16 {
    // Every second bit is sent inverted.
    let word = word ^ 0x55;
    let (segment, step) = ((word >> 4) & 7, i32::from(word & 0x0f) << 4);
    let magnitude = match segment {
        0 => step + 8,
        _ => (step + 0x108) << (segment - 1),
    };
    signed(magnitude, word & 0x80 == 0)
}

fn signed(magnitude: i32, is_negative: bool) -> i16 {
    // The largest is 32256.
    (if is_negative { -magnitude } else { magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words() {
        // ITU-T G.711 tables 1a to 2b: the ends and the middle of each law.
        for (word, linear) in [
            (0x80, 32124),
            (0x00, -32124),
            (0xff, 0),
            (0x7f, 0),
            (0xfe, 8),
        ] {
            assert_eq!(decode(SoundCodec::Pcmu, word), linear, "mu {word:#x}");
        }
        for (word, linear) in [(0xaa, 32256), (0x2a, -32256), (0xd5, 8), (0x55, -8)] {
            assert_eq!(decode(SoundCodec::Pcma, word), linear, "A {word:#x}");
        }
    }

    #[test]
    fn every_word_comes_back_and_every_sample_is_close() {
        for word in 0..=255 {
            let linear = decode(SoundCodec::Pcmu, word);
            let back = decode(SoundCodec::Pcmu, encode_pcmu(linear));
            assert_eq!(back, linear);
        }
        for sample in i16::MIN..=i16::MAX {
            let back = i32::from(decode(SoundCodec::Pcmu, encode_pcmu(sample)));
            let error = (back - i32::from(sample).clamp(-32124, 32124)).abs();
            assert!(
                error <= (i32::from(sample).abs() + PCMU_BIAS) / 32,
                "{sample} {back}"
            );
        }
    }
}
