//! Tells speech from background by its level.
//!
//! The recorder asks for every packet; silence ends a message, and what is not even audible need
//! not be kept behind it.

use crate::seam::Codec;

/// The level of what was heard lately.
///
/// The threshold lies above the quietest that was heard lately, between two fixed bounds: a fan in
/// the room is silence, a whisper in a quiet one is speech.
#[derive(Clone, Debug)]
pub struct Level {
    floor: f32,
}

/// What a packet's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// Somebody speaks.
    Speech,
    /// Background that can be heard.
    Background,
    /// Nothing that can be heard.
    Quiet,
}

/// -45 dBFS as a mean square: the least that is ever speech.
const SPEECH_POWER_MIN: f32 = 32768.0 * 32768.0 * 3.16e-5;
/// -28 dBFS: always speech.
const SPEECH_POWER_SURE: f32 = 32768.0 * 32768.0 * 1.6e-3;
/// Speech is 10 dB above the floor.
const ABOVE_FLOOR: f32 = 10.0;
/// The floor rises by this a packet, so that a noise that stays becomes the floor in some seconds.
const FLOOR_RISE: f32 = 1.01;

impl Default for Level {
    fn default() -> Level {
        Level {
            floor: SPEECH_POWER_MIN / ABOVE_FLOOR,
        }
    }
}

impl Level {
    /// Judges a packet, and learns from it.
    pub fn judge(&mut self, codec: Codec, payload: &[u8]) -> Loudness {
        if payload.is_empty() {
            return Loudness::Quiet;
        }
        let sum: f32 = payload
            .iter()
            .map(|b| f32::from(codec.decode(*b)).powi(2))
            .sum();
        let power = sum / payload.len() as f32;
        let threshold = (self.floor * ABOVE_FLOOR).clamp(SPEECH_POWER_MIN, SPEECH_POWER_SURE);
        self.floor = if power < self.floor {
            power.max(1.0)
        } else {
            self.floor * FLOOR_RISE
        };
        if power >= threshold {
            Loudness::Speech
        } else if power >= SPEECH_POWER_MIN {
            Loudness::Background
        } else {
            Loudness::Quiet
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn background_noise_becomes_background() {
        let mut level = Level::default();
        let noise = [Codec::Pcmu.encode(300); 160];
        let judged = |l: &mut Level| l.judge(Codec::Pcmu, &noise);
        let speech = (0..500)
            .filter(|_| judged(&mut level) == Loudness::Speech)
            .count();
        assert!(
            speech < 250,
            "{speech} packets of an even noise taken for speech"
        );
        assert_eq!(judged(&mut level), Loudness::Background);
        let loud = [Codec::Pcmu.encode(6000); 160];
        assert_eq!(level.judge(Codec::Pcmu, &loud), Loudness::Speech);
    }

    #[test]
    fn what_cannot_be_heard_is_quiet() {
        let mut level = Level::default();
        for sample in [0, 50, 180] {
            let codec = Codec::Pcma;
            assert_eq!(
                level.judge(codec, &[codec.encode(sample); 160]),
                Loudness::Quiet
            );
        }
    }
}
