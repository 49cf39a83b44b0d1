//! What a party hears, from samples: brought to its codec's rate, cut into its packet time, encoded.
//!
//! A leg has one while it hears what does not come in its codec: a party with another one, or
//! something played. Packets leave when they are full, so whoever feeds it sets the pace.

use super::Encode;
use super::halfband::HalfBand;
use crate::output::MADE_BYTES_MAX;
use crate::seam::{Codec, OpusConfig};

/// Samples kept until a packet is full, in milliseconds: what is fed at once, and a packet.
const PENDING_MS_MAX: usize = 2 * super::PACKET_MS_MAX + 160;

/// A party's encoder.
pub struct Outbound {
    codec: Codec,
    encoder: Box<dyn Encode>,
    ptime_ms: u32,
    packet_samples: usize,
    packet_ticks: u32,
    /// Samples that fill no packet yet, at the encoder's rate.
    pending: Vec<i16>,
    halve: HalfBand,
    double: HalfBand,
    complexity: u8,
}

/// A packet's worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Bytes of payload; 0: this stretch of silence need not be sent.
    pub bytes: usize,
    /// How far it moves the timestamps.
    pub ticks: u32,
}

impl Outbound {
    /// For a codec, from samples at `rate_hz` where the codec leaves a choice, to packets of
    /// `ptime_ms`.
    pub fn new(codec: Codec, rate_hz: u32, ptime_ms: u32, opus: &OpusConfig) -> Option<Outbound> {
        let frame_ms = frame_ms(codec, ptime_ms);
        let encoder = codec.encoder(rate_hz, opus)?;
        let per_ms = encoder.rate_hz() as usize / 1000;
        Some(Outbound {
            codec,
            ptime_ms,
            packet_samples: per_ms * frame_ms as usize,
            packet_ticks: codec.clock_hz() / 1000 * frame_ms,
            pending: Vec::with_capacity(per_ms * PENDING_MS_MAX),
            encoder,
            halve: HalfBand::down(),
            double: HalfBand::up(),
            complexity: opus.complexity,
        })
    }

    /// It serves for this codec, sound of this rate and this packet time.
    pub fn serves(&self, codec: Codec, rate_hz: u32, ptime_ms: u32) -> bool {
        let rate_serves = codec.rate_hz().is_some() || self.encoder.rate_hz() >= rate_hz;
        self.codec == codec && self.ptime_ms == ptime_ms && rate_serves
    }

    /// Takes samples at 8 or 16 kHz.
    pub fn feed(&mut self, pcm: &[i16], rate_hz: u32) {
        let to_hz = self.encoder.rate_hz();
        let pending_ms = self.pending.len() / (to_hz as usize / 1000);
        let room_ms = PENDING_MS_MAX.saturating_sub(pending_ms + 1);
        // What comes faster than packets are taken is too much for anybody.
        let pcm = &pcm[..pcm.len().min(rate_hz as usize / 1000 * room_ms)];
        match (rate_hz, to_hz) {
            (8000, 16_000) => self.double.double(pcm, &mut self.pending),
            (16_000, 8000) => self.halve.halve(pcm, &mut self.pending),
            _ => self.pending.extend_from_slice(pcm),
        }
    }

    /// The next full packet, written into `payload`.
    pub fn pop(&mut self, payload: &mut [u8; MADE_BYTES_MAX]) -> Option<Encoded> {
        let samples = self.pending.get(..self.packet_samples)?;
        let bytes = self.encoder.encode(samples, payload);
        self.pending.drain(..self.packet_samples);
        Some(Encoded {
            bytes,
            ticks: self.packet_ticks,
        })
    }

    /// What was begun is not completed: there is a pause.
    pub fn clear(&mut self) {
        self.pending.clear();
    }

    /// How much work may be put into it, 0 to 10.
    pub fn set_complexity(&mut self, complexity: u8) {
        if complexity != self.complexity {
            self.complexity = complexity;
            self.encoder.set_complexity(complexity);
        }
    }
}

/// Opus says 10, 20, 40 or 60 ms in a frame (RFC 6716 §3.1); the others any whole number of them.
fn frame_ms(codec: Codec, ptime_ms: u32) -> u32 {
    match (codec, ptime_ms) {
        (Codec::Opus, ..20) => 10,
        (Codec::Opus, 20..40) => 20,
        (Codec::Opus, 40..60) => 40,
        (Codec::Opus, 60..) => 60,
        (_, ms) => ms,
    }
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate_hz = self.encoder.rate_hz();
        write!(f, "Outbound({:?} at {rate_hz} Hz)", self.codec)
    }
}
