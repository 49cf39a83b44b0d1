//! G.711: mu-law and A-law, a byte a sample. What the log keeps, and what the media engine sends.
//!
//! Decoding is a table made at compile time from the Recommendation's formula; encoding finds the
//! segment by the leading bit. Linear samples fill 16 bits, so full scale is the same for both.
//!
//! Source: ITU-T G.711 (tables 1a-2b); the bits are sent inverted (mu) or every other one (A).

use crate::seam::SoundCodec;

/// Mu-law bytes as linear samples.
pub static MU_DECODE: [i16; 256] = table_i16(true);
/// A-law bytes as linear samples.
pub static A_DECODE: [i16; 256] = table_i16(false);
/// Mu-law bytes as the A-law bytes nearest to them.
pub static MU_TO_A: [u8; 256] = table_between(true);
/// A-law bytes as the mu-law bytes nearest to them.
pub static A_TO_MU: [u8; 256] = table_between(false);

/// What the mu-law adds to a magnitude so that segments begin at powers of two.
const MU_BIAS: i32 = 132;
/// The largest magnitude mu-law can say.
const MU_CLIP: i32 = 32_635;

/// The linear sample of each byte of a sound.
pub fn decode_table(codec: SoundCodec) -> &'static [i16; 256] {
    match codec {
        SoundCodec::Pcmu => &MU_DECODE,
        SoundCodec::Pcma => &A_DECODE,
    }
}

/// A linear sample in mu-law.
pub const fn mu_encode(sample: i16) -> u8 {
    let wide = sample as i32;
    let sign = if wide < 0 { 0x80 } else { 0 };
    let magnitude = if wide.abs() > MU_CLIP {
        MU_CLIP
    } else {
        wide.abs()
    } + MU_BIAS;
    let segment = 24 - magnitude.leading_zeros() as i32;
    let step = magnitude >> (segment + 3) & 0x0f;
    !(sign | (segment << 4) as u8 | step as u8)
}

/// A linear sample in A-law.
pub const fn a_encode(sample: i16) -> u8 {
    let wide = sample as i32;
    let (sign, magnitude) = if wide < 0 { (0, !wide) } else { (0x80, wide) };
    let code = if magnitude < 256 {
        magnitude >> 4
    } else {
        let segment = 24 - magnitude.leading_zeros() as i32;
        segment << 4 | magnitude >> (segment + 3) & 0x0f
    };
    (sign | code as u8) ^ 0x55
}

const fn mu_decode(byte: u8) -> i16 {
    let code = !byte;
    let magnitude = (((code & 0x0f) as i32) << 3) + MU_BIAS;
    let value = (magnitude << (code >> 4 & 7)) - MU_BIAS;
    if code & 0x80 != 0 {
        -value as i16
    } else {
        value as i16
    }
}

const fn a_decode(byte: u8) -> i16 {
    let code = byte ^ 0x55;
    let step = ((code & 0x0f) as i32) << 4;
    let segment = (code >> 4 & 7) as i32;
    let value = if segment == 0 {
        step + 8
    } else {
        (step + 0x108) << (segment - 1)
    };
    if code & 0x80 != 0 {
        value as i16
    } else {
        -value as i16
    }
}

const fn table_i16(mu: bool) -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = if mu {
            mu_decode(byte as u8)
        } else {
            a_decode(byte as u8)
        };
        byte += 1;
    }
    table
}

const fn table_between(from_mu: bool) -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = if from_mu {
            a_encode(mu_decode(byte as u8))
        } else {
            mu_encode(a_decode(byte as u8))
        };
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Recommendation's values, read from its tables: byte on the wire, 16-bit sample.
    #[test]
    fn golden_values() {
        let mu = [
            (0xff, 0),
            (0x7f, 0),
            (0xfe, 8),
            (0xef, 132),
            (0x80, 32124),
            (0x00, -32124),
        ];
        for (byte, sample) in mu {
            assert_eq!(MU_DECODE[byte], sample, "mu {byte:#x}");
        }
        let a = [
            (0xd5, 8),
            (0x55, -8),
            (0xd4, 24),
            (0xc5, 264),
            (0xaa, 32256),
            (0x2a, -32256),
        ];
        for (byte, sample) in a {
            assert_eq!(A_DECODE[byte], sample, "A {byte:#x}");
        }
    }

    #[test]
    fn every_byte_survives_decoding_and_encoding() {
        for byte in 0..=255u8 {
            // Mu-law has two zeros; the positive one is sent.
            let expected = if byte == 0x7f { 0xff } else { byte };
            assert_eq!(mu_encode(mu_decode(byte)), expected);
            assert_eq!(a_encode(a_decode(byte)), byte);
        }
    }

    /// The Recommendation's cells: a value stands for what lies within half a step of it.
    #[test]
    fn every_sample_lies_in_its_values_cell() {
        for sample in i16::MIN..=i16::MAX {
            let mu = mu_encode(sample);
            let half_step = 4 << (!mu >> 4 & 7);
            if i32::from(sample).abs() <= MU_CLIP {
                let off = i32::from(mu_decode(mu)).abs_diff(i32::from(sample));
                assert!(off <= half_step, "mu {sample}: {off}");
            } else {
                assert!([0x00, 0x80].contains(&mu));
            }
            let a = a_encode(sample);
            let half_step = 8 << ((a ^ 0x55) >> 4 & 7).saturating_sub(1);
            let off = i32::from(a_decode(a)).abs_diff(i32::from(sample));
            assert!(off <= half_step, "A {sample}: {off}");
        }
    }

    #[test]
    fn between_the_laws_the_level_stays() {
        for byte in 0..=255u8 {
            let (mu, a) = (mu_decode(byte), a_decode(MU_TO_A[usize::from(byte)]));
            assert!((i32::from(mu) - i32::from(a)).abs() <= 512, "{mu} {a}");
        }
    }
}
