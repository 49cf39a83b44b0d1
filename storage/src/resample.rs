//! Any usual sampling rate down to the telephone's 8000 a second.
//!
//! Low-pass and resampling are one step: each output sample is a weighted mean of the input around
//! its place. What lies above the telephone band is filtered out on the way, for it would come back
//! as noise below (Kaiser window, stop band of 80 dB from 4 kHz on; A. V. Oppenheim, R. W. Schafer:
//! *Discrete-Time Signal Processing*, §7.5). Sounds that are imported and spoken prompts both come
//! through here.

use std::f64::consts::PI;

/// Samples a second of everything in the log and on the telephone.
pub const RATE_HZ: u32 = 8000;

/// Middle of the filter's slope; it is about 630 Hz wide, so 3.4 kHz passes and 4 kHz does not.
const CUTOFF_HZ: f64 = 3690.0;
/// Reach of the filter to each side, in samples of the output.
const REACH: f64 = 32.0;
/// Kaiser's beta for 80 dB.
const BETA: f64 = 7.86;
/// Sums made side by side in [`weigh`]: a vector register's worth.
const LANES: usize = 8;

/// Samples at `rate_hz`, which is [`RATE_HZ`] or more, as samples at [`RATE_HZ`].
pub fn to_8_khz(input: Vec<f32>, rate_hz: u32) -> Vec<f32> {
    if rate_hz == RATE_HZ {
        return input;
    }
    let (step, phases) = ratio(rate_hz);
    let output_len = (input.len() * phases).div_ceil(step);
    // The phases come round in the same order for ever; a short sound does not meet them all.
    let filters: Vec<Vec<f32>> = (0..phases.min(output_len))
        .map(|n| taps(rate_hz, n * step % phases, phases))
        .collect();
    let (before, after) = margins(rate_hz);
    // Beyond both ends there is silence.
    let mut padded = vec![0.0; before];
    padded.extend(input);
    padded.resize(padded.len() + after, 0.0);
    (0..output_len)
        .map(|n| weigh(&padded[n * step / phases..], &filters[n % phases]))
        .collect()
}

/// One alone would have to be added up in order, which no vector unit can do.
fn weigh(input: &[f32], taps: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let input = &input[..taps.len()];
    for (samples, weights) in input.chunks_exact(LANES).zip(taps.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += samples[lane] * weights[lane];
        }
    }
    sums.iter().sum()
}

/// The input moves on by `step / phases` samples for each one of the output.
fn ratio(rate_hz: u32) -> (usize, usize) {
    let mut divisor = (rate_hz, RATE_HZ);
    while divisor.1 != 0 {
        divisor = (divisor.1, divisor.0 % divisor.1);
    }
    (
        (rate_hz / divisor.0) as usize,
        (RATE_HZ / divisor.0) as usize,
    )
}

/// Reach of the filter to each side, in samples of the input.
fn reach(rate_hz: u32) -> f64 {
    REACH * f64::from(rate_hz) / f64::from(RATE_HZ)
}

/// Silence that the filter needs before the first sample and behind the last.
fn margins(rate_hz: u32) -> (usize, usize) {
    let half = reach(rate_hz).ceil() as usize;
    (half - 1, half + LANES)
}

/// The weights of the input samples around a point `phase / phases` after one of them, with zeros
/// up to whole registers.
fn taps(rate_hz: u32, phase: usize, phases: usize) -> Vec<f32> {
    let reach = reach(rate_hz);
    let half = reach.ceil() as i64;
    let offset = phase as f64 / phases as f64;
    let weight = |k: i64| {
        let distance = k as f64 - offset;
        let inside = 1.0 - (distance / reach).powi(2);
        let window = if inside <= 0.0 {
            0.0
        } else {
            bessel_i0(BETA * inside.sqrt())
        };
        sinc(2.0 * CUTOFF_HZ / f64::from(rate_hz) * distance) * window
    };
    let weights: Vec<f64> = (-half + 1..=half).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    let mut taps: Vec<f32> = weights.iter().map(|w| (w / sum) as f32).collect();
    taps.resize(taps.len().next_multiple_of(LANES), 0.0);
    taps
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-12 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

/// Modified Bessel function of the first kind, order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..40 {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a second.
    fn sine(rate_hz: u32, frequency_hz: f64) -> Vec<f32> {
        let step = 2.0 * PI * frequency_hz / f64::from(rate_hz);
        (0..rate_hz / 2)
            .map(|n| (step * f64::from(n)).sin() as f32)
            .collect()
    }

    /// Of the middle, relative to the sine above.
    fn level_db(samples: &[f32]) -> f32 {
        let middle = &samples[200..samples.len() - 200];
        let power: f32 = middle.iter().map(|s| s.powi(2)).sum();
        10.0 * (2.0 * power / middle.len() as f32).log10()
    }

    #[test]
    fn speech_passes_and_what_would_fold_is_gone() {
        for rate_hz in [11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000] {
            for frequency_hz in [300.0, 1000.0, 3000.0, 3400.0] {
                let out = to_8_khz(sine(rate_hz, frequency_hz), rate_hz);
                assert_eq!(out.len(), 4000);
                let db = level_db(&out);
                assert!(db.abs() < 0.3, "{rate_hz} {frequency_hz}: {db} dB");
            }
            for frequency_hz in [4050.0, 4700.0, 5400.0] {
                let db = level_db(&to_8_khz(sine(rate_hz, frequency_hz), rate_hz));
                assert!(db < -70.0, "{rate_hz} {frequency_hz}: {db} dB");
            }
        }
    }

    #[test]
    fn a_sound_shorter_than_the_filter_keeps_its_length() {
        for rate_hz in [8000, 8001, 16_000, 44_099, 48_000] {
            for len in [0, 1, 2, 7, 100] {
                let out = to_8_khz(vec![0.5; len], rate_hz);
                assert_eq!(out.len(), (len * 8000).div_ceil(rate_hz as usize));
            }
        }
    }
}
