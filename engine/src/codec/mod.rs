//! The codecs: bytes on the wire to samples and back.
//!
//! Between parties that speak the same codec a packet is passed on as it is, and between the two
//! laws of G.711 a byte is mapped to a byte, in place. Everything else goes through samples:
//!
//! ```text
//! payload ─> Inbound (Decode, gaps) ─ samples ─> Outbound (HalfBand, Encode, packet time) ─> payload
//! ```
//!
//! Invariants: what is allocated is allocated when a leg is set up, not for a packet; bytes from
//! outside give samples or [`Malformed`], never a panic.
//!
//! Sources: RFC 3551 §4.5 (clocks), RFC 7587 (Opus: its clock is 48 kHz whatever is spoken).

pub mod conceal;
pub mod effort;
pub mod g711;
pub mod g722;
pub mod halfband;
pub mod inbound;
pub mod noise;
pub mod opus;
pub mod outbound;
pub mod stretch;

use tandem_storage::g711 as laws;
use tandem_storage::seam::SoundCodec;

use crate::seam::{Codec, OpusConfig};

/// The longest packet that is decoded, in milliseconds: Opus knows no longer one.
pub const PACKET_MS_MAX: usize = 200;

/// The payload is none of this codec's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a payload of this codec")]
pub struct Malformed;

/// Turns payloads into linear samples at its own rate.
pub trait Decode: Send {
    /// Samples a second.
    fn rate_hz(&self) -> u32;

    /// Appends the payload's samples; garbage gives a clear error and appends nothing.
    fn decode(&mut self, payload: &[u8], pcm: &mut Vec<i16>) -> Result<(), Malformed>;

    /// What the packet after a gap tells of the gap's last `samples` (Opus in-band FEC); false:
    /// nothing.
    fn recover(&mut self, _next: &[u8], _samples: usize, _pcm: &mut Vec<i16>) -> bool {
        false
    }

    /// The codec's own concealment (Opus); false: it has none, ours is used.
    fn conceal(&mut self, _samples: usize, _pcm: &mut Vec<i16>) -> bool {
        false
    }
}

/// Turns linear samples at its own rate into payloads.
pub trait Encode: Send {
    /// Samples a second.
    fn rate_hz(&self) -> u32;

    /// Writes the samples of one packet. Gives the payload's bytes; 0: nothing need be sent (Opus
    /// DTX). `payload` has room for [`crate::output::MADE_BYTES_MAX`].
    fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> usize;

    /// How much work may be put into it, 0 to 10; less under load.
    fn set_complexity(&mut self, _complexity: u8) {}
}

impl Codec {
    /// The codec a sound of the log is kept in.
    pub fn of_sound(sound: SoundCodec) -> Codec {
        match sound {
            SoundCodec::Pcmu => Codec::Pcmu,
            SoundCodec::Pcma => Codec::Pcma,
        }
    }

    /// One of the two laws: a byte a sample.
    pub fn is_g711(self) -> bool {
        matches!(self, Codec::Pcmu | Codec::Pcma)
    }

    /// A packet of this codec can be passed on to who speaks the other, where it lies.
    pub fn passes_to(self, other: Codec) -> bool {
        self == other || self.is_g711() && other.is_g711()
    }

    /// What its timestamps count in. G.722's count half its samples, for historical reasons
    /// (RFC 3551 §4.5.2); Opus' count 48 kHz.
    pub fn clock_hz(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            Codec::Pcmu | Codec::Pcma | Codec::G722 => 8000,
        }
    }

    /// The rate of its sound, where it has only one.
    pub fn rate_hz(self) -> Option<u32> {
        match self {
            Codec::Pcmu | Codec::Pcma => Some(8000),
            Codec::G722 => Some(16_000),
            Codec::Opus => None,
        }
    }

    /// How far a packet with this payload moves the timestamps.
    pub fn ticks(self, payload: &[u8]) -> u32 {
        match self {
            Codec::Opus => opus::ticks(payload),
            Codec::Pcmu | Codec::Pcma | Codec::G722 => payload.len() as u32,
        }
    }

    /// A decoder for what a party sends. Opus gives `rate_hz`, the others their own.
    pub fn decoder(self, rate_hz: u32) -> Option<Box<dyn Decode>> {
        Some(match self {
            Codec::Pcmu | Codec::Pcma => Box::new(g711::Law(self)),
            Codec::G722 => Box::new(g722::Decoder::default()),
            Codec::Opus => Box::new(opus::Decoder::new(rate_hz)?),
        })
    }

    /// An encoder for what is sent to a party. Opus takes `rate_hz`, the others their own.
    pub fn encoder(self, rate_hz: u32, opus: &OpusConfig) -> Option<Box<dyn Encode>> {
        Some(match self {
            Codec::Pcmu | Codec::Pcma => Box::new(g711::Law(self)),
            Codec::G722 => Box::new(g722::Encoder::default()),
            Codec::Opus => Box::new(opus::Encoder::new(rate_hz, opus)?),
        })
    }

    /// The byte for nothing at all, of G.711.
    pub fn silence(self) -> u8 {
        match self {
            Codec::Pcma => 0xd5,
            Codec::Pcmu | Codec::G722 | Codec::Opus => 0xff,
        }
    }

    /// A linear sample as this law sends it; mu-law for a codec that is no law.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Codec::Pcma => laws::a_encode(sample),
            Codec::Pcmu | Codec::G722 | Codec::Opus => laws::mu_encode(sample),
        }
    }

    /// The linear sample behind a byte of this law; mu-law for a codec that is no law.
    pub fn decode(self, byte: u8) -> i16 {
        match self {
            Codec::Pcma => laws::A_DECODE[usize::from(byte)],
            Codec::Pcmu | Codec::G722 | Codec::Opus => laws::MU_DECODE[usize::from(byte)],
        }
    }
}

/// Makes `samples` of one law samples of the other, where they lie.
pub fn transcode(from: Codec, to: Codec, samples: &mut [u8]) {
    let table = match (from, to) {
        (Codec::Pcmu, Codec::Pcma) => &laws::MU_TO_A,
        (Codec::Pcma, Codec::Pcmu) => &laws::A_TO_MU,
        _ => return,
    };
    for s in samples {
        *s = table[usize::from(*s)];
    }
}
