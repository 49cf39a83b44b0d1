//! Between 8 and 16 kHz: a half-band filter, of which every other coefficient is nothing.
//!
//! Flat to 3.4 kHz, more than 70 dB down from 4.6 kHz on; delays by a millisecond and a half at
//! 16 kHz. One [`HalfBand`] is used in one direction.

use std::sync::LazyLock;

/// Coefficients on one side of the middle that are not nothing.
const SIDE: usize = 16;
/// The filter's length.
const TAPS: usize = 4 * SIDE - 1;
/// The most samples at 8 kHz taken at once: a packet of 120 ms.
const BLOCK_MAX: usize = 8 * super::PACKET_MS_MAX;
/// Shape of the Kaiser window.
const BETA: f64 = 7.0;

/// `SIDES[k]` is what both samples count that are `2 k + 1` from the middle one.
static SIDES: LazyLock<[f32; SIDE]> = LazyLock::new(|| {
    std::array::from_fn(|k| {
        let distance = (2 * k + 1) as f64;
        let angle = std::f64::consts::PI * distance / 2.0;
        let edge = distance / (2 * SIDE) as f64;
        let window = bessel(BETA * (1.0 - edge * edge).sqrt()) / bessel(BETA);
        (angle.sin() / (2.0 * angle) * window) as f32
    })
});

/// The filter and what came last.
#[derive(Clone, Debug)]
pub struct HalfBand {
    /// The past, then the block being worked on, at 16 kHz (down) or 8 kHz (up).
    line: Vec<f32>,
    past: usize,
}

impl HalfBand {
    /// From 16 to 8 kHz.
    pub fn down() -> HalfBand {
        HalfBand::with_past(TAPS - 1, 2 * BLOCK_MAX)
    }

    /// From 8 to 16 kHz.
    pub fn up() -> HalfBand {
        HalfBand::with_past(2 * SIDE - 1, BLOCK_MAX)
    }

    fn with_past(past: usize, block: usize) -> HalfBand {
        let mut line = Vec::with_capacity(past + block + 1);
        line.resize(past, 0.0);
        HalfBand { line, past }
    }

    /// Appends half as many samples as are given. An odd one waits for the next call.
    pub fn halve(&mut self, pcm: &[i16], into: &mut Vec<i16>) {
        let sides = &*SIDES;
        for block in pcm.chunks(2 * BLOCK_MAX) {
            self.line.extend(block.iter().map(|s| f32::from(*s)));
            let mut at = 0;
            while at + TAPS < self.line.len() {
                let x: &[f32] = &self.line[at..at + TAPS];
                let middle = 2 * SIDE - 1;
                let mut sum = 0.5 * x[middle];
                for (k, c) in sides.iter().enumerate() {
                    sum += c * (x[middle - 2 * k - 1] + x[middle + 2 * k + 1]);
                }
                into.push(round(sum));
                at += 2;
            }
            self.line.drain(..at);
        }
    }

    /// Appends twice as many samples as are given.
    pub fn double(&mut self, pcm: &[i16], into: &mut Vec<i16>) {
        let sides = &*SIDES;
        for block in pcm.chunks(BLOCK_MAX) {
            self.line.extend(block.iter().map(|s| f32::from(*s)));
            let count = self.line.len() - self.past;
            for at in 0..count {
                let x: &[f32] = &self.line[at..at + 2 * SIDE];
                into.push(round(x[SIDE - 1]));
                let mut sum = 0.0;
                for (k, c) in sides.iter().enumerate() {
                    sum += c * (x[SIDE - 1 - k] + x[SIDE + k]);
                }
                into.push(round(2.0 * sum));
            }
            self.line.drain(..count);
        }
    }
}

fn round(value: f32) -> i16 {
    // The cast saturates.
    value.round_ties_even() as i16
}

/// Modified Bessel function of the first kind, order 0.
fn bessel(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..32 {
        term *= quarter / f64::from(k * k);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hz: f64, rate_hz: f64) -> Vec<i16> {
        let angle = std::f64::consts::TAU * hz / rate_hz;
        (0..rate_hz as usize / 2)
            .map(|n| ((n as f64 * angle).sin() * 10_000.0).round() as i16)
            .collect()
    }

    /// Level against the sine put in, in decibels, past the filter's start.
    fn level_db(pcm: &[i16]) -> f64 {
        let steady = &pcm[200..];
        let power: f64 = steady.iter().map(|s| f64::from(*s).powi(2)).sum();
        10.0 * (power / steady.len() as f64 / 50_000_000.0 + 1e-12).log10()
    }

    fn halved(pcm: &[i16]) -> Vec<i16> {
        let (mut filter, mut out) = (HalfBand::down(), Vec::new());
        for block in pcm.chunks(333) {
            filter.halve(block, &mut out);
        }
        out
    }

    fn doubled(pcm: &[i16]) -> Vec<i16> {
        let (mut filter, mut out) = (HalfBand::up(), Vec::new());
        for block in pcm.chunks(160) {
            filter.double(block, &mut out);
        }
        out
    }

    #[test]
    fn speech_passes_and_what_the_lower_rate_cannot_say_does_not() {
        for hz in [300.0, 1000.0, 3000.0, 3400.0] {
            let down = level_db(&halved(&sine(hz, 16_000.0)));
            let up = level_db(&doubled(&sine(hz, 8000.0)));
            assert!(down.abs() < 0.1 && up.abs() < 0.1, "{hz}: {down} {up}");
        }
        for hz in [4600.0, 5000.0, 7000.0] {
            let down = level_db(&halved(&sine(hz, 16_000.0)));
            assert!(down < -66.0, "{hz} Hz comes through at {down} dB");
        }
    }

    #[test]
    fn lengths_are_exact_whatever_the_blocks() {
        assert_eq!(doubled(&[0; 480]).len(), 960);
        let (mut filter, mut out) = (HalfBand::down(), Vec::new());
        for n in [160, 1, 319, 1920, 4000] {
            filter.halve(&vec![0; n], &mut out);
        }
        assert_eq!(out.len(), 6400 / 2);
    }
}
