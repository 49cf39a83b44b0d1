//! The codecs: bytes on the wire to samples and back.
//!
//! G.711 only, so far: one byte a sample, 8000 a second. Between the two laws a byte is mapped to
//! a byte, in place.

use tandem_storage::g711;
use tandem_storage::seam::SoundCodec;

use crate::seam::Codec;

impl Codec {
    /// The codec a sound of the log is kept in.
    pub fn of_sound(sound: SoundCodec) -> Codec {
        match sound {
            SoundCodec::Pcmu => Codec::Pcmu,
            SoundCodec::Pcma => Codec::Pcma,
        }
    }

    /// The byte for nothing at all.
    pub fn silence(self) -> u8 {
        match self {
            Codec::Pcmu => 0xff,
            Codec::Pcma => 0xd5,
        }
    }

    /// A linear sample as this codec sends it.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Codec::Pcmu => g711::mu_encode(sample),
            Codec::Pcma => g711::a_encode(sample),
        }
    }

    /// The linear sample behind a byte.
    pub fn decode(self, byte: u8) -> i16 {
        match self {
            Codec::Pcmu => g711::MU_DECODE[usize::from(byte)],
            Codec::Pcma => g711::A_DECODE[usize::from(byte)],
        }
    }
}

/// Makes `samples` of one codec samples of another, where they lie.
pub fn transcode(from: Codec, to: Codec, samples: &mut [u8]) {
    let table = match (from, to) {
        (Codec::Pcmu, Codec::Pcma) => &g711::MU_TO_A,
        (Codec::Pcma, Codec::Pcmu) => &g711::A_TO_MU,
        _ => return,
    };
    for s in samples {
        *s = table[usize::from(*s)];
    }
}
