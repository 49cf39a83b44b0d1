//! Makes up what was lost, of a codec that cannot: repeats the last pitch period, fading.
//!
//! [`crate::playout`] hands in every frame that is played and asks for one where none came. The
//! first sound after a gap is faded over from what was made up, so that no edge is heard.
//!
//! Invariants: nothing allocates after [`Concealer::new`]; a gap is silent after [`FADE_END_MS`].
//!
//! Sources: the idea is that of ITU-T G.711 Appendix I (pitch waveform replication).

/// Pitch periods looked for: 66 to 400 Hz.
const PITCH_MS: std::ops::RangeInclusive<usize> = 2..=15;
/// How much of the past is kept: twice the longest period.
const PAST_MS: usize = 40;
/// What is compared to find the period.
const WINDOW_MS: usize = 10;
/// Made up sound keeps its level for so long,
const FADE_BEGIN_MS: usize = 10;
/// and has faded to nothing after so long.
const FADE_END_MS: usize = 60;
/// Sound that comes after a gap is faded over for so long.
const JOIN_MS: usize = 4;

/// The past of one party's sound.
#[derive(Clone, Debug)]
pub struct Concealer {
    per_ms: usize,
    /// What was played last, the newest at the end.
    past: Vec<i16>,
    gap: Option<Gap>,
}

/// A gap that is being filled.
#[derive(Clone, Copy, Debug)]
struct Gap {
    /// The period that is repeated.
    period: usize,
    /// Samples made up so far.
    samples: usize,
}

impl Concealer {
    /// For sound of a rate of 8000 Hz or more.
    pub fn new(rate_hz: u32) -> Concealer {
        let per_ms = rate_hz as usize / 1000;
        Concealer {
            per_ms,
            past: vec![0; PAST_MS * per_ms],
            gap: None,
        }
    }

    /// Sound that came: its first milliseconds are faded over from a gap before it.
    pub fn on_sound(&mut self, pcm: &mut [i16]) {
        if let Some(gap) = self.gap.take() {
            let join = (JOIN_MS * self.per_ms).min(pcm.len());
            for (n, sample) in pcm[..join].iter_mut().enumerate() {
                let made_up = i32::from(self.made_up(gap, gap.samples + n));
                let part = n as i32;
                let mixed = i32::from(*sample) * part + made_up * (join as i32 - part);
                *sample = (mixed / join as i32) as i16;
            }
        }
        self.remember(pcm);
    }

    /// Fills what did not come.
    pub fn fill(&mut self, pcm: &mut [i16]) {
        let mut gap = self.gap.unwrap_or_else(|| Gap {
            period: self.pitch(),
            samples: 0,
        });
        for sample in pcm.iter_mut() {
            *sample = self.made_up(gap, gap.samples);
            gap.samples += 1;
        }
        // The past stays that of before the gap: it is what is repeated.
        self.gap = Some(gap);
    }

    /// Another source: what was before has nothing to do with it.
    pub fn reset(&mut self) {
        self.past.fill(0);
        self.gap = None;
    }

    /// Sample `n` of a gap.
    fn made_up(&self, gap: Gap, n: usize) -> i16 {
        let (begin, end) = (FADE_BEGIN_MS * self.per_ms, FADE_END_MS * self.per_ms);
        if n >= end {
            return 0;
        }
        let from = self.past.len() - gap.period;
        let sample = i32::from(self.past[from + n % gap.period]);
        let left = (end - n.max(begin)) as i32;
        (sample * left / (end - begin) as i32) as i16
    }

    fn remember(&mut self, pcm: &[i16]) {
        let keep = self.past.len();
        if pcm.len() >= keep {
            self.past.copy_from_slice(&pcm[pcm.len() - keep..]);
        } else {
            self.past.copy_within(pcm.len().., 0);
            self.past[keep - pcm.len()..].copy_from_slice(pcm);
        }
    }

    /// The distance at which the past is most like itself.
    fn pitch(&self) -> usize {
        let (shortest, longest) = (PITCH_MS.start() * self.per_ms, PITCH_MS.end() * self.per_ms);
        let window = WINDOW_MS * self.per_ms;
        let newest = &self.past[self.past.len() - window..];
        let likeness = |lag: usize| {
            let from = self.past.len() - window - lag;
            let older = &self.past[from..from + window];
            let mut dot = 0.0_f32;
            let mut power = 1.0_f32;
            for (a, b) in newest.iter().zip(older) {
                dot += f32::from(*a) * f32::from(*b);
                power += f32::from(*b) * f32::from(*b);
            }
            dot / power.sqrt()
        };
        let mut best = (longest, f32::MIN);
        for lag in shortest..=longest {
            let like = likeness(lag);
            if like > best.1 {
                best = (lag, like);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, from: usize, samples: usize) -> Vec<i16> {
        let turn = std::f32::consts::TAU * hz / 8000.0;
        (from..from + samples)
            .map(|n| ((n as f32 * turn).sin() * 8000.0) as i16)
            .collect()
    }

    #[test]
    fn a_tone_goes_on_through_a_short_gap() {
        let mut concealer = Concealer::new(8000);
        for n in 0..10 {
            concealer.on_sound(&mut tone(200.0, n * 160, 160));
        }
        let mut made_up = [0; 80];
        concealer.fill(&mut made_up);
        for (got, wanted) in made_up.iter().zip(tone(200.0, 1600, 80)) {
            assert!((got - wanted).abs() < 400, "{got} for {wanted}");
        }
    }

    #[test]
    fn a_long_gap_is_silent() {
        let mut concealer = Concealer::new(8000);
        concealer.on_sound(&mut tone(200.0, 0, 800));
        let mut made_up = [0; 1600];
        concealer.fill(&mut made_up);
        assert!(made_up[..80].iter().any(|s| s.abs() > 4000));
        assert!(made_up[480..].iter().all(|s| *s == 0));
    }

    #[test]
    fn sound_after_a_gap_is_joined_without_an_edge() {
        let mut concealer = Concealer::new(8000);
        concealer.on_sound(&mut tone(200.0, 0, 800));
        let mut made_up = [0; 160];
        concealer.fill(&mut made_up);
        let mut next = tone(200.0, 1000, 160);
        concealer.on_sound(&mut next);
        let edge = (i32::from(next[0]) - i32::from(made_up[159])).abs();
        // A period of 40 samples moves by 1,257 a sample at most.
        assert!(edge < 1400, "{edge}");
        assert_eq!(next[40..], tone(200.0, 1000, 160)[40..]);
    }

    #[test]
    fn silence_stays_silence() {
        let mut concealer = Concealer::new(16_000);
        let mut pcm = [9; 320];
        concealer.fill(&mut pcm);
        assert!(pcm.iter().all(|s| *s == 0));
    }
}
