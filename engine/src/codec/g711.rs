//! G.711 as one of several codecs: a byte a sample, 8000 a second, by table.
//!
//! Source: ITU-T G.711; the tables are the log's, since it keeps its sound so.

use super::{Decode, Encode, Malformed};
use crate::seam::Codec;

/// Either law, both ways: it remembers nothing.
#[derive(Clone, Copy, Debug)]
pub struct Law(pub Codec);

impl Decode for Law {
    fn rate_hz(&self) -> u32 {
        8000
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut Vec<i16>) -> Result<(), Malformed> {
        if payload.is_empty() {
            return Err(Malformed);
        }
        pcm.extend(payload.iter().map(|byte| self.0.decode(*byte)));
        Ok(())
    }
}

impl Encode for Law {
    fn rate_hz(&self) -> u32 {
        8000
    }

    fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> usize {
        for (byte, sample) in payload.iter_mut().zip(pcm) {
            *byte = self.0.encode(*sample);
        }
        pcm.len().min(payload.len())
    }
}
