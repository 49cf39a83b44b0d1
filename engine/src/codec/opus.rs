//! Opus, by libopus: speech at the rate of who hears it, in-band FEC, DTX, its own concealment.
//!
//! libopus decodes to and encodes from 8 or 16 kHz itself, so a call between Opus and G.711 needs
//! no resampler, and narrow-band sound is not encoded as if it were wide.
//!
//! Bounds: packets of 120 ms at most (RFC 6716 §3.2.5), mono.
//!
//! Sources: RFC 6716, RFC 7587.

use audiopus::coder::{Decoder as LibDecoder, Encoder as LibEncoder};
use audiopus::packet::{Packet, nb_samples};
use audiopus::{Application, Bitrate, Channels, MutSignals, SampleRate};

use super::{Decode, Encode, Malformed, PACKET_MS_MAX};
use crate::seam::OpusConfig;

/// A payload no longer than this says nothing but "still silent" (RFC 7587 §3.1.3).
const DTX_BYTES_MAX: usize = 2;
/// Loss the encoder is told to expect, so that it sends FEC at all.
const LOSS_EXPECTED_PERCENT: u8 = 5;

/// Bytes to samples.
#[derive(Debug)]
pub struct Decoder {
    lib: LibDecoder,
    rate_hz: u32,
    scratch: Vec<i16>,
}

/// Samples to bytes.
#[derive(Debug)]
pub struct Encoder {
    lib: LibEncoder,
    rate_hz: u32,
    complexity: u8,
    complexity_max: u8,
}

/// How far a packet moves the timestamps, at 48 kHz; 0 if it is no packet of Opus.
pub fn ticks(payload: &[u8]) -> u32 {
    let packet = Packet::try_from(payload);
    let samples = packet.and_then(|packet| nb_samples(packet, SampleRate::Hz48000));
    samples.map_or(0, |n| n as u32)
}

impl Decoder {
    /// A decoder to 8 or 16 kHz; `None` if there is no memory for it.
    pub fn new(rate_hz: u32) -> Option<Decoder> {
        let rate = rate(rate_hz)?;
        Some(Decoder {
            lib: LibDecoder::new(rate, Channels::Mono).ok()?,
            rate_hz,
            scratch: vec![0; rate_hz as usize / 1000 * PACKET_MS_MAX],
        })
    }

    /// Lets the library fill `samples`, and appends what it gave.
    fn fill(
        &mut self,
        payload: Option<&[u8]>,
        samples: usize,
        fec: bool,
        pcm: &mut Vec<i16>,
    ) -> Result<(), Malformed> {
        let packet = payload.map(Packet::try_from).transpose();
        let packet = packet.map_err(|_| Malformed)?;
        let room = self.scratch.get_mut(..samples).ok_or(Malformed)?;
        let room = MutSignals::try_from(room).map_err(|_| Malformed)?;
        let count = self.lib.decode(packet, room, fec);
        let count = count.map_err(|_| Malformed)?;
        pcm.extend_from_slice(&self.scratch[..count]);
        Ok(())
    }

    /// Gaps are filled in steps of 2.5 ms.
    fn whole_steps(&self, samples: usize) -> usize {
        let step = self.rate_hz as usize / 400;
        samples.min(self.scratch.len()) / step * step
    }
}

impl Decode for Decoder {
    fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut Vec<i16>) -> Result<(), Malformed> {
        self.fill(Some(payload), self.scratch.len(), false, pcm)
    }

    fn recover(&mut self, next: &[u8], samples: usize, pcm: &mut Vec<i16>) -> bool {
        let samples = self.whole_steps(samples);
        samples > 0 && self.fill(Some(next), samples, true, pcm).is_ok()
    }

    fn conceal(&mut self, samples: usize, pcm: &mut Vec<i16>) -> bool {
        let samples = self.whole_steps(samples);
        samples > 0 && self.fill(None, samples, false, pcm).is_ok()
    }
}

impl Encoder {
    /// An encoder from 8 or 16 kHz; `None` if there is no memory for it.
    pub fn new(rate_hz: u32, config: &OpusConfig) -> Option<Encoder> {
        let rate = rate(rate_hz)?;
        let mut lib = LibEncoder::new(rate, Channels::Mono, Application::Voip).ok()?;
        let bitrate = i32::try_from(config.bitrate_bps).ok()?;
        lib.set_bitrate(Bitrate::BitsPerSecond(bitrate)).ok()?;
        lib.set_inband_fec(config.fec).ok()?;
        let loss = if config.fec { LOSS_EXPECTED_PERCENT } else { 0 };
        lib.set_packet_loss_perc(loss).ok()?;
        lib.set_dtx(config.dtx).ok()?;
        lib.set_complexity(config.complexity).ok()?;
        Some(Encoder {
            lib,
            rate_hz,
            complexity: config.complexity,
            complexity_max: config.complexity,
        })
    }
}

impl Encode for Encoder {
    fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> usize {
        match self.lib.encode(pcm, payload) {
            Ok(bytes) if bytes > DTX_BYTES_MAX => bytes,
            _ => 0,
        }
    }

    fn set_complexity(&mut self, complexity: u8) {
        let complexity = complexity.min(self.complexity_max);
        if complexity != self.complexity && self.lib.set_complexity(complexity).is_ok() {
            self.complexity = complexity;
        }
    }
}

fn rate(hz: u32) -> Option<SampleRate> {
    match hz {
        8000 => Some(SampleRate::Hz8000),
        16_000 => Some(SampleRate::Hz16000),
        48_000 => Some(SampleRate::Hz48000),
        _ => None,
    }
}
