//! Comfort noise: what stands for a pause in which nothing is sent.
//!
//! A payload names the noise's level and, if it likes, its colour, as reflection coefficients of
//! an all-pole filter. [`Noise`] makes such noise; [`describe`] says how loud a pause of ours is,
//! without a colour, which RFC 3389 allows and every receiver understands.
//!
//! Bounds: [`ORDER_MAX`] coefficients are used, more are ignored.
//!
//! Source: RFC 3389 (payload type 13 at 8 kHz).

use super::Malformed;
use crate::random::Random;

/// The most reflection coefficients used.
pub const ORDER_MAX: usize = 10;
/// The softest noise that can be named, in dB below overload.
const LEVEL_MIN_DBOV: u8 = 127;

/// A maker of noise.
#[derive(Clone, Debug)]
pub struct Noise {
    /// Amplitude of the white noise that goes into the filter.
    gain: f32,
    reflections: [f32; ORDER_MAX],
    /// The lattice's delayed backward errors.
    lattice: [f32; ORDER_MAX],
    random: Random,
}

/// The payload that describes these samples.
pub fn describe(pcm: &[i16]) -> [u8; 1] {
    let power: f64 = pcm.iter().map(|s| f64::from(*s) * f64::from(*s)).sum();
    let mean = power / pcm.len().max(1) as f64;
    let below = -10.0 * (mean / (32_768.0 * 32_768.0)).log10();
    // The cast saturates: pure silence is infinitely far below.
    [(below.round() as u8).min(LEVEL_MIN_DBOV)]
}

impl Noise {
    /// Noise as a payload describes it.
    pub fn parse(payload: &[u8], seed: u64) -> Result<Noise, Malformed> {
        let (level, colour) = payload.split_first().ok_or(Malformed)?;
        let mut reflections = [0.0; ORDER_MAX];
        for (k, byte) in reflections.iter_mut().zip(colour) {
            *k = (f32::from(*byte) - 127.0) / 128.0;
        }
        // An all-pole filter of these coefficients amplifies power by 1 / prod(1 - k^2).
        let room: f32 = reflections.iter().map(|k| 1.0 - k * k).product();
        let rms = 32_768.0 * 10f32.powf(-f32::from(level & 0x7f) / 20.0);
        // Evenly spread numbers between -1 and 1 have a power of a third.
        Ok(Noise {
            gain: rms * (3.0 * room.max(0.0)).sqrt(),
            reflections,
            lattice: [0.0; ORDER_MAX],
            random: Random::new(seed),
        })
    }

    /// Appends so much of it.
    pub fn make(&mut self, samples: usize, pcm: &mut Vec<i16>) {
        for _ in 0..samples {
            let white = (self.random.draw() >> 40) as f32 / (1u32 << 23) as f32 - 1.0;
            let mut forward = white * self.gain;
            for n in (0..ORDER_MAX).rev() {
                forward -= self.reflections[n] * self.lattice[n];
                let backward = self.lattice[n] + self.reflections[n] * forward;
                if let Some(next) = self.lattice.get_mut(n + 1) {
                    *next = backward;
                }
            }
            self.lattice[0] = forward;
            pcm.push(forward as i16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_as_loud_as_described_and_describes_itself_so() {
        for payload in [&[50][..], &[40, 160, 100], &[60, 200, 90, 127, 140]] {
            let mut pcm = Vec::new();
            Noise::parse(payload, 7).unwrap().make(80_000, &mut pcm);
            let [level] = describe(&pcm);
            assert!(level.abs_diff(payload[0]) <= 1, "{payload:?}: {level}");
        }
        assert_eq!(describe(&[0; 160]), [127]);
        assert_eq!(describe(&[]), [127]);
        assert_eq!(Noise::parse(&[], 1).unwrap_err(), Malformed);
    }

    #[test]
    fn any_colour_is_borne() {
        for byte in [0, 127, 255] {
            let mut pcm = Vec::new();
            let payload = [[0].as_slice(), &[byte; 40]].concat();
            Noise::parse(&payload, 1).unwrap().make(8000, &mut pcm);
            assert_eq!(pcm.len(), 8000);
        }
    }
}
