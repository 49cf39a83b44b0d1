//! How long a party's sound waits before it is played: as long as its packets are late.
//!
//! Of each packet it is known how much later it came than the quickest of late. The delay is what
//! all but a few in a hundred keep within, and follows within seconds in both directions.

use tandem_storage::time::Time;

/// The shortest and the longest delay, in milliseconds.
const TARGET_MS: (u32, u32) = (20, 300);
/// Lateness is counted in steps of so many milliseconds.
const STEP_MS: usize = 10;
/// The steps up to the longest delay.
const STEPS: usize = 31;
/// What an earlier packet counts beside the next: those of the last five seconds or so matter.
const MEMORY: f32 = 0.996;
/// Of all packets so many come in time.
const IN_TIME: f32 = 0.98;
/// The quickest way is forgotten by this a packet, in milliseconds: ours and their clock drift.
const FORGET_MS: f64 = 0.01;
/// Of what is held, the smoothed value follows by this a frame.
const FOLLOW: f32 = 0.1;
/// Frames between two changes of length.
const CHANGE_FRAMES: u32 = 5;

/// The estimate.
#[derive(Clone, Debug)]
pub(super) struct Delay {
    ticks_per_ms: f64,
    /// Arrival and timestamp that others are compared with.
    origin: Option<(Time, u32)>,
    /// Ticks since the origin, unwrapped.
    ticks: i64,
    quickest_ms: f64,
    lateness: [f32; STEPS],
    packet_ms: u32,
    level_ms: f32,
}

/// How the length of the sound should change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// More waits than need be.
    Shorter,
    /// Too little waits.
    Longer,
}

impl Delay {
    /// For timestamps of this clock.
    pub(super) fn new(clock_hz: u32) -> Delay {
        let mut lateness = [0.0; STEPS];
        lateness[0] = 1.0;
        Delay {
            ticks_per_ms: f64::from(clock_hz) / 1000.0,
            origin: None,
            ticks: 0,
            quickest_ms: 0.0,
            lateness,
            packet_ms: 20,
            level_ms: 0.0,
        }
    }

    /// Another stream: its times have nothing to do with those before. What was learnt of the
    /// network stays.
    pub(super) fn restart(&mut self) {
        self.origin = None;
    }

    /// A packet with this timestamp came, of so many ticks.
    pub(super) fn on_packet(&mut self, now: Time, timestamp: u32, ticks: u32) {
        self.packet_ms = (f64::from(ticks) / self.ticks_per_ms) as u32;
        let Some((since, last)) = self.origin else {
            self.origin = Some((now, timestamp));
            self.ticks = 0;
            self.quickest_ms = 0.0;
            return;
        };
        self.ticks += i64::from(timestamp.wrapping_sub(last) as i32);
        self.origin = Some((since, timestamp));
        let came_ms = now.since(since).as_secs_f64() * 1000.0;
        let transit_ms = came_ms - self.ticks as f64 / self.ticks_per_ms;
        self.quickest_ms = (self.quickest_ms + FORGET_MS).min(transit_ms);
        let late_ms = transit_ms - self.quickest_ms;
        let step = (late_ms as usize).div_ceil(STEP_MS).min(STEPS - 1);
        for share in &mut self.lateness {
            *share *= MEMORY;
        }
        self.lateness[step] += 1.0 - MEMORY;
    }

    /// The delay that is aimed at: a packet, and as much as packets are late.
    pub(super) fn target_ms(&self) -> u32 {
        let total: f32 = self.lateness.iter().sum();
        let mut sum = 0.0;
        let step = self.lateness.iter().position(|share| {
            sum += share;
            sum >= total * IN_TIME
        });
        let late_ms = (step.unwrap_or(STEPS - 1) * STEP_MS) as u32;
        (self.packet_ms + late_ms).clamp(TARGET_MS.0, TARGET_MS.1)
    }

    /// So much is held now, whatever was before.
    pub(super) fn level_is(&mut self, held_ms: u32) {
        self.level_ms = held_ms as f32;
    }

    /// The sound was made longer (or shorter) by so much.
    pub(super) fn level_changed(&mut self, by_ms: i64) {
        self.level_ms += by_ms as f32;
    }

    /// So much is held when a frame is about to be taken: should the sound be longer or shorter?
    pub(super) fn wanted_change(&mut self, held_ms: u32, frames_since: u32) -> Option<Change> {
        self.level_ms += (held_ms as f32 - self.level_ms) * FOLLOW;
        if frames_since < CHANGE_FRAMES {
            return None;
        }
        let target_ms = self.target_ms() as f32;
        let slack_ms = (self.packet_ms as f32).max(20.0);
        if self.level_ms > target_ms + slack_ms {
            Some(Change::Shorter)
        } else if self.level_ms < target_ms - slack_ms / 2.0 {
            Some(Change::Longer)
        } else {
            None
        }
    }
}
