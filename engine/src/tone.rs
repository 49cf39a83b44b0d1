//! A tone, sample by sample, without a click at either end.

use std::f32::consts::TAU;

use crate::seq::CLOCK_HZ;

/// How long the tone takes to come up and to go down.
const RAMP_SAMPLES: u64 = 10 * CLOCK_HZ / 1000;

/// What tone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tone {
    frequency_hz: u16,
    samples: u64,
    amplitude: f32,
}

impl Tone {
    /// A sine of this frequency, length and level (decibels below full scale).
    pub fn new(frequency_hz: u16, duration_ms: u32, level_dbfs: i8) -> Tone {
        let amplitude = f32::from(i16::MAX) * 10f32.powf(f32::from(level_dbfs.min(0)) / 20.0);
        Tone {
            frequency_hz,
            samples: samples_of_ms(duration_ms),
            amplitude,
        }
    }

    /// Its length.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The sample at a place.
    pub fn at(&self, sample: u64) -> i16 {
        // Whole periods are taken off first: the angle stays small, and exact, in a long tone.
        let turn = sample * u64::from(self.frequency_hz) % CLOCK_HZ;
        let angle = TAU * turn as f32 / CLOCK_HZ as f32;
        (self.amplitude * self.envelope(sample) * angle.sin()) as i16
    }

    /// A raised cosine at both ends.
    fn envelope(&self, sample: u64) -> f32 {
        let ramp = RAMP_SAMPLES.min(self.samples / 2);
        let edge = sample.min(self.samples.saturating_sub(sample + 1));
        if edge >= ramp {
            return 1.0;
        }
        0.5 - 0.5 * (TAU / 2.0 * edge as f32 / ramp as f32).cos()
    }
}

/// The samples in this many milliseconds.
pub fn samples_of_ms(ms: u32) -> u64 {
    u64::from(ms) * CLOCK_HZ / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_and_ends_at_nothing_and_has_its_level() {
        let tone = Tone::new(1000, 200, -6);
        let samples: Vec<i16> = (0..tone.samples()).map(|n| tone.at(n)).collect();
        assert_eq!(samples.len(), 1600);
        let peak = samples.iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert!((16_300..=16_500).contains(&peak), "{peak}");
        assert!(samples[0].abs() < 10 && samples[1599].abs() < 10);
        let step = samples
            .windows(2)
            .map(|w| w[0].abs_diff(w[1]))
            .max()
            .unwrap();
        assert!(step <= 12_900, "no step larger than the sine's own: {step}");
    }

    #[test]
    fn a_very_short_one_is_all_ramp() {
        let tone = Tone::new(440, 1, 0);
        assert_eq!(tone.samples(), 8);
        assert!((0..8).all(|n| tone.at(n).unsigned_abs() < i16::MAX as u16));
        assert_eq!(Tone::new(440, 0, 0).samples(), 0);
    }
}
