//! Makes sound a little shorter or longer, without changing its pitch.
//!
//! The playout buffer uses it where more has come than it wants to keep, or less: a clock that
//! runs faster than ours, a delay that has shrunk. One pitch period is taken out or said twice,
//! and the edges are faded over (overlap and add).
//!
//! Invariants: nothing allocates; what comes out differs from what went in by one period only.

/// Periods taken out or repeated, in samples a kilohertz of the rate: 2.5 to 10 ms.
const PERIOD_MS_X10: (usize, usize) = (25, 100);

/// The period of the sound's beginning, in samples; `None` if the sound is too short to tell.
fn period(pcm: &[i16], rate_hz: u32) -> Option<usize> {
    let per_ms = rate_hz as usize / 1000;
    let (shortest, longest) = (PERIOD_MS_X10.0 * per_ms / 10, PERIOD_MS_X10.1 * per_ms / 10);
    if pcm.len() < 2 * longest {
        return None;
    }
    let unlike = |lag: usize| {
        let pairs = pcm[..longest].iter().zip(&pcm[lag..lag + longest]);
        pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
    };
    (shortest..=longest).min_by_key(|lag| unlike(*lag))
}

/// Takes a period out of the beginning. Gives how many samples fewer there are; 0: nothing changed.
pub fn shorten(pcm: &mut Vec<i16>, rate_hz: u32) -> usize {
    let Some(lag) = period(pcm, rate_hz) else {
        return 0;
    };
    for n in 0..lag {
        pcm[lag + n] = faded(pcm[n], pcm[lag + n], n, lag);
    }
    pcm.drain(..lag);
    lag
}

/// Says a period of the beginning twice. Gives how many samples more there are; 0: nothing changed.
/// The room for them must be there: nothing is done otherwise.
pub fn lengthen(pcm: &mut Vec<i16>, rate_hz: u32) -> usize {
    let Some(lag) = period(pcm, rate_hz) else {
        return 0;
    };
    if pcm.capacity() - pcm.len() < lag {
        return 0;
    }
    let len = pcm.len();
    pcm.resize(len + lag, 0);
    pcm.copy_within(lag..len, 2 * lag);
    // Between stands a period that leads from what follows the first back to the first, so that
    // both its edges follow from their neighbours.
    for n in 0..lag {
        pcm[lag + n] = faded(pcm[2 * lag + n], pcm[n], n, lag);
    }
    lag
}

/// From `a` to `b`, `n` of `count` on the way.
fn faded(a: i16, b: i16, n: usize, count: usize) -> i16 {
    let (n, count) = (n as i32, count as i32);
    ((i32::from(a) * (count - n) + i32::from(b) * n) / count) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, samples: usize) -> Vec<i16> {
        let turn = std::f32::consts::TAU * hz / 8000.0;
        let mut pcm = Vec::with_capacity(2 * samples);
        pcm.extend((0..samples).map(|n| ((n as f32 * turn).sin() * 8000.0) as i16));
        pcm
    }

    /// The largest step between neighbours.
    fn roughest(pcm: &[i16]) -> u16 {
        pcm.windows(2).map(|w| w[0].abs_diff(w[1])).max().unwrap()
    }

    /// How often the sound turns from below nothing to above it.
    fn turns(pcm: &[i16]) -> usize {
        pcm.windows(2).filter(|w| w[0] < 0 && w[1] >= 0).count()
    }

    #[test]
    fn a_period_is_taken_out_and_nothing_is_heard_of_it() {
        let mut pcm = tone(200.0, 320);
        let rough = roughest(&pcm);
        let fewer = shorten(&mut pcm, 8000);
        assert!(fewer.is_multiple_of(40) && fewer > 0, "{fewer}");
        assert_eq!(pcm.len(), 320 - fewer);
        assert!(roughest(&pcm) <= rough + 20);
        assert!(turns(&pcm).abs_diff((320 - fewer) / 40) <= 1);
    }

    #[test]
    fn a_period_is_said_twice_and_nothing_is_heard_of_it() {
        let mut pcm = tone(200.0, 320);
        let rough = roughest(&pcm);
        let more = lengthen(&mut pcm, 8000);
        assert!(more.is_multiple_of(40) && more > 0, "{more}");
        assert_eq!(pcm.len(), 320 + more);
        assert!(roughest(&pcm) <= rough + 20);
        assert!(turns(&pcm).abs_diff((320 + more) / 40) <= 1);
    }

    #[test]
    fn what_is_too_short_or_has_no_room_stays_as_it_is() {
        let mut pcm = vec![1; 100];
        assert_eq!((shorten(&mut pcm, 8000), lengthen(&mut pcm, 8000)), (0, 0));
        let mut full = vec![1; 320];
        full.shrink_to_fit();
        assert_eq!(lengthen(&mut full, 8000), 0);
        assert_eq!((pcm.len(), full.len()), (100, 320));
    }
}
