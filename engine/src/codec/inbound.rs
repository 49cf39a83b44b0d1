//! What a party says, as samples: decodes its packets and fills what is missing between them.
//!
//! A leg has one while somebody needs its sound as samples: a listener with another codec, a
//! recorder. Packets are decoded as they come; one that was overtaken is dropped. A short gap that
//! loss tore is filled, by what the next packet tells of it or as the codec conceals it, so that
//! the sound is as long as the time it took. A longer one is a pause, as is one without loss: the
//! party said nothing.

use super::{Decode, Malformed};
use crate::rtp::Header;
use crate::seam::Codec;

/// The longest gap that is filled, in milliseconds.
const GAP_MS_MAX: u32 = 100;

/// A party's decoder.
pub struct Inbound {
    codec: Codec,
    decoder: Box<dyn Decode>,
    next: Option<Next>,
    /// What was said last.
    pcm: Vec<i16>,
}

/// The numbers of the packet that would follow without a gap.
#[derive(Clone, Copy, Debug)]
struct Next {
    ssrc: u32,
    seq: u16,
    timestamp: u32,
}

/// How a packet's samples stand to those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// They follow without a gap.
    Continues,
    /// There was a pause, or another source.
    Begins,
    /// A later packet was heard already: there are none.
    Late,
}

impl Inbound {
    /// For a codec, to samples at `rate_hz` where the codec leaves a choice.
    pub fn new(codec: Codec, rate_hz: u32) -> Option<Inbound> {
        let decoder = codec.decoder(rate_hz)?;
        let longest_ms = super::PACKET_MS_MAX + GAP_MS_MAX as usize;
        let room = decoder.rate_hz() as usize / 1000 * longest_ms;
        Some(Inbound {
            codec,
            decoder,
            next: None,
            pcm: Vec::with_capacity(room),
        })
    }

    /// What it decodes.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Samples a second.
    pub fn rate_hz(&self) -> u32 {
        self.decoder.rate_hz()
    }

    /// What the last packet said, and before it what was made up for the gap.
    pub fn pcm(&self) -> &[i16] {
        &self.pcm
    }

    /// A packet has come.
    pub fn on_packet(&mut self, header: &Header, payload: &[u8]) -> Result<Flow, Malformed> {
        self.pcm.clear();
        let flow = match self.next {
            Some(next) if next.ssrc == header.ssrc => self.flow_after(next, header, payload),
            _ => Flow::Begins,
        };
        if flow == Flow::Late {
            return Ok(flow);
        }
        self.next = Some(Next {
            ssrc: header.ssrc,
            seq: header.seq.wrapping_add(1),
            timestamp: header.timestamp.wrapping_add(self.codec.ticks(payload)),
        });
        self.decoder.decode(payload, &mut self.pcm)?;
        Ok(flow)
    }

    fn flow_after(&mut self, next: Next, header: &Header, payload: &[u8]) -> Flow {
        let missing = header.seq.wrapping_sub(next.seq) as i16;
        let gap = header.timestamp.wrapping_sub(next.timestamp) as i32;
        let gap_max = self.codec.clock_hz() / 1000 * GAP_MS_MAX;
        match gap {
            0 if missing >= 0 => Flow::Continues,
            1.. if missing > 0 && gap.unsigned_abs() <= gap_max => {
                self.fill(gap.unsigned_abs(), payload);
                Flow::Continues
            }
            _ if missing < 0 && gap < 0 => Flow::Late,
            _ => Flow::Begins,
        }
    }

    /// Makes up what was lost before `payload`.
    fn fill(&mut self, gap_ticks: u32, payload: &[u8]) {
        let per_rate = |ticks: u32| (ticks * (self.rate_hz() / 1000)) / self.ticks_per_ms();
        let samples = per_rate(gap_ticks) as usize;
        let told = samples.min(per_rate(self.codec.ticks(payload)) as usize);
        let made_up = samples - told;
        self.decoder.conceal(made_up, &mut self.pcm);
        self.pcm.resize(made_up, 0);
        let recovered = self.decoder.recover(payload, told, &mut self.pcm);
        if !recovered {
            self.decoder.conceal(told, &mut self.pcm);
        }
        self.pcm.resize(samples, 0);
    }

    fn ticks_per_ms(&self) -> u32 {
        self.codec.clock_hz() / 1000
    }
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inbound({:?} at {} Hz)", self.codec, self.rate_hz())
    }
}
