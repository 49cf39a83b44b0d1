//! The playout buffer: a party's packets, in whatever order and at whatever times they come, as
//! frames of samples at the times at which they are wanted.
//!
//! [`Playout::on_packet`] takes what came; every 20 ms its room asks for [`Playout::frame`].
//! Between lies a delay just long enough for the packets of this party: it follows what is seen of
//! their jitter, and the sound is made a little shorter or longer on the way (`codec/stretch.rs`),
//! which also evens out a clock that is not quite ours. What is lost is told by the packet after it
//! (Opus), made up by the codec, or by ours (`codec/conceal.rs`).
//!
//! A party that stops sending is silence after [`MAKE_UP_MS`]; what it sends then begins anew.
//!
//! Bounds: [`PACKETS_MAX`] packets of [`PAYLOAD_BYTES_MAX`]; when there is no room, the oldest goes.
//! Nothing is allocated for a packet once the buffer has been full.
//!
//! Sources: RFC 3550 §6.4.1 (transit times); the shape is that of most playout buffers since
//! Ramjee et al. 1994.

mod delay;

use std::collections::VecDeque;

use tandem_storage::time::Time;

use self::delay::Delay;
use crate::codec::conceal::Concealer;
use crate::codec::{Decode, stretch};
use crate::jitter::PAYLOAD_BYTES_MAX;
use crate::rtp::Header;
use crate::seam::Codec;

/// The most packets that wait.
pub const PACKETS_MAX: usize = 64;
/// A frame, in milliseconds.
pub const FRAME_MS: usize = 20;
/// So much is made up where nothing comes.
const MAKE_UP_MS: usize = 60;
/// A gap longer than this is no loss but a new beginning.
const GAP_MS_MAX: u32 = 200;
/// More than this beyond the wanted delay is thrown away at once.
const EXCESS_MS_MAX: u32 = 200;
/// Packets whose times lie further apart than this are of different streams.
const LEAP_MS_MAX: u32 = 5000;

/// One party's buffer.
pub struct Playout {
    codec: Codec,
    decoder: Box<dyn Decode>,
    rate_hz: u32,
    concealer: Concealer,
    delay: Delay,
    /// What waits, by timestamps.
    waiting: VecDeque<Waiting>,
    /// Buffers of packets that were played.
    spare: Vec<Vec<u8>>,
    ssrc: Option<u32>,
    state: State,
    /// Decoded and not played yet.
    pcm: Vec<i16>,
    /// Frames since the length was last changed.
    since_stretch: u32,
    counts: Counts,
}

/// A packet that waits.
#[derive(Debug)]
struct Waiting {
    seq: u16,
    timestamp: u32,
    payload: Vec<u8>,
}

/// Where the party's sound stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is played before enough has come, or the first has waited for long enough.
    Fills {
        /// Frames for which the first packet has waited.
        frames: u32,
    },
    /// Played up to here: the timestamp and number that are next, and how many samples were made
    /// up for want of them.
    Plays {
        timestamp: u32,
        seq: u16,
        made_up: usize,
    },
}

/// What became of a party's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came when their time was over, or twice.
    pub late: u64,
    /// Thrown away, since more had come than is kept.
    pub discarded: u64,
    /// None of the codec's.
    pub malformed: u64,
    /// Frames that were made up, at least in part.
    pub concealed: u64,
}

impl Playout {
    /// For a codec, to samples at `rate_hz` where it leaves a choice.
    pub fn new(codec: Codec, rate_hz: u32) -> Option<Playout> {
        let decoder = codec.decoder(rate_hz)?;
        let rate_hz = decoder.rate_hz();
        let room_ms = crate::codec::PACKET_MS_MAX + 4 * FRAME_MS;
        Some(Playout {
            codec,
            rate_hz,
            concealer: Concealer::new(rate_hz),
            decoder,
            delay: Delay::new(codec.clock_hz()),
            waiting: VecDeque::with_capacity(PACKETS_MAX),
            spare: Vec::with_capacity(PACKETS_MAX),
            ssrc: None,
            state: State::Fills { frames: 0 },
            pcm: Vec::with_capacity(rate_hz as usize / 1000 * room_ms),
            since_stretch: 0,
            counts: Counts::default(),
        })
    }

    /// What it decodes.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Samples a second.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Samples of a frame.
    pub fn frame_samples(&self) -> usize {
        self.rate_hz as usize / 1000 * FRAME_MS
    }

    /// What became of the packets.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The delay that is aimed at, in milliseconds.
    pub fn target_ms(&self) -> u32 {
        self.delay.target_ms()
    }

    /// A packet of sound has come.
    pub fn on_packet(&mut self, now: Time, header: &Header, payload: &[u8]) {
        let ticks = self.codec.ticks(payload);
        if ticks == 0 || payload.len() > PAYLOAD_BYTES_MAX {
            self.counts.malformed += 1;
            return;
        }
        if self.is_another_stream(header) {
            self.restart();
            self.ssrc = Some(header.ssrc);
        }
        if matches!(self.state, State::Fills { .. }) && self.waiting.is_empty() {
            // How long a party paused says nothing of the network.
            self.delay.restart();
        }
        if let State::Plays { timestamp, .. } = self.state
            && before(header.timestamp, timestamp)
        {
            self.delay.on_packet(now, header.timestamp, ticks);
            self.counts.late += 1;
            return;
        }
        let place = self
            .waiting
            .partition_point(|w| before(w.timestamp, header.timestamp));
        if self
            .waiting
            .get(place)
            .is_some_and(|w| w.timestamp == header.timestamp)
        {
            self.counts.late += 1;
            return;
        }
        self.delay.on_packet(now, header.timestamp, ticks);
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(payload);
        let waiting = Waiting {
            seq: header.seq,
            timestamp: header.timestamp,
            payload: copy,
        };
        self.waiting.insert(place, waiting);
        if self.waiting.len() > PACKETS_MAX {
            self.discard_first();
        }
    }

    /// The next 20 ms, written into `frame`, which is as long as [`Playout::frame_samples`] says.
    /// False: the party says nothing.
    pub fn frame(&mut self, frame: &mut [i16]) -> bool {
        debug_assert_eq!(frame.len(), self.frame_samples());
        if matches!(self.state, State::Fills { .. }) && !self.begin() {
            frame.fill(0);
            return false;
        }
        self.limit();
        self.decode_enough(frame.len());
        self.stretch(frame.len());
        if self.pcm.is_empty() {
            frame.fill(0);
            self.rest();
            return false;
        }
        let count = frame.len().min(self.pcm.len());
        frame[..count].copy_from_slice(&self.pcm[..count]);
        frame[count..].fill(0);
        self.pcm.drain(..count);
        true
    }

    /// Has enough come to begin?
    fn begin(&mut self) -> bool {
        let Some(first) = self.waiting.front() else {
            return false;
        };
        let (timestamp, seq) = (first.timestamp, first.seq);
        let (held_ms, target_ms) = (self.waiting_ms(), self.delay.target_ms());
        if let State::Fills { frames } = &mut self.state {
            *frames += 1;
            let waited_ms = *frames * FRAME_MS as u32;
            if held_ms + FRAME_MS as u32 / 2 < target_ms && waited_ms < target_ms {
                return false;
            }
        }
        self.state = State::Plays {
            timestamp,
            seq,
            made_up: 0,
        };
        self.delay.level_is(held_ms);
        true
    }

    /// A burst after an outage is not played from its beginning.
    fn limit(&mut self) {
        let most_ms = self.delay.target_ms() + EXCESS_MS_MAX;
        let mut jumped = false;
        while self.waiting.len() > 1 && self.waiting_ms() > most_ms {
            self.discard_first();
            jumped = true;
        }
        if let (true, Some(first)) = (jumped, self.waiting.front()) {
            self.state = State::Plays {
                timestamp: first.timestamp,
                seq: first.seq,
                made_up: 0,
            };
            self.delay.level_is(self.waiting_ms());
        }
    }

    /// Decodes, or makes up, until a frame is there or the party has said nothing for too long.
    fn decode_enough(&mut self, samples: usize) {
        while self.pcm.len() < samples {
            let State::Plays {
                timestamp,
                seq,
                made_up,
            } = self.state
            else {
                return;
            };
            let Some(first) = self.waiting.front() else {
                if !self.make_up(samples - self.pcm.len(), made_up) {
                    return;
                }
                continue;
            };
            let gap = first.timestamp.wrapping_sub(timestamp);
            let missing = first.seq.wrapping_sub(seq);
            let covered = self.ticks_of(made_up);
            if gap > covered && missing > 0 && gap <= self.ticks_of_ms(GAP_MS_MAX) {
                self.fill_gap(gap - covered);
            }
            self.decode_first();
        }
    }

    fn decode_first(&mut self) {
        let Some(first) = self.waiting.pop_front() else {
            return;
        };
        let ticks = self.codec.ticks(&first.payload);
        self.state = State::Plays {
            timestamp: first.timestamp.wrapping_add(ticks),
            seq: first.seq.wrapping_add(1),
            made_up: 0,
        };
        let from = self.pcm.len();
        if self.decoder.decode(&first.payload, &mut self.pcm).is_err() {
            self.counts.malformed += 1;
            self.pcm.truncate(from);
        }
        self.concealer.on_sound(&mut self.pcm[from..]);
        self.keep_spare(first.payload);
    }

    /// What was lost before the first packet that waits: it may tell of it.
    fn fill_gap(&mut self, gap_ticks: u32) {
        let Some(first) = self.waiting.front() else {
            return;
        };
        self.counts.concealed += 1;
        let samples = self.samples_of(gap_ticks);
        let told = samples.min(self.samples_of(self.codec.ticks(&first.payload)));
        let made_up = samples - told;
        let wanted = [(made_up, false), (told, true)];
        for (count, is_told) in wanted {
            let end = self.pcm.len() + count;
            let recovered = is_told && self.decoder.recover(&first.payload, count, &mut self.pcm);
            if !recovered && !self.decoder.conceal(count, &mut self.pcm) {
                let begin = self.pcm.len();
                self.pcm.resize(end, 0);
                self.concealer.fill(&mut self.pcm[begin..]);
            }
            self.pcm.resize(end, 0);
        }
    }

    /// Nothing has come in time. False: so much was made up already that the party is silent.
    fn make_up(&mut self, samples: usize, made_up: usize) -> bool {
        let most = self.rate_hz as usize / 1000 * MAKE_UP_MS;
        if made_up >= most {
            return false;
        }
        self.counts.concealed += 1;
        let begin = self.pcm.len();
        if !self.decoder.conceal(samples, &mut self.pcm) {
            self.pcm.resize(begin + samples, 0);
            self.concealer.fill(&mut self.pcm[begin..]);
        }
        self.pcm.resize(begin + samples, 0);
        if let State::Plays { made_up, .. } = &mut self.state {
            *made_up += samples;
        }
        true
    }

    /// Brings the delay nearer to what is wanted.
    fn stretch(&mut self, frame_samples: usize) {
        let per_ms = self.rate_hz as usize / 1000;
        let held_ms = self.waiting_ms() + (self.pcm.len() / per_ms) as u32;
        self.since_stretch += 1;
        let Some(change) = self.delay.wanted_change(held_ms, self.since_stretch) else {
            return;
        };
        // It takes two of the longest periods to find one.
        self.decode_ready(2 * frame_samples);
        let changed_by = match change {
            delay::Change::Shorter => -(stretch::shorten(&mut self.pcm, self.rate_hz) as i64),
            delay::Change::Longer => stretch::lengthen(&mut self.pcm, self.rate_hz) as i64,
        };
        if changed_by != 0 {
            self.since_stretch = 0;
            self.delay.level_changed(changed_by / per_ms as i64);
        }
        if self.pcm.len() < frame_samples {
            self.decode_enough(frame_samples);
        }
    }

    /// Decodes what follows without a gap, up to so many samples.
    fn decode_ready(&mut self, samples: usize) {
        while self.pcm.len() < samples {
            let State::Plays { timestamp, .. } = self.state else {
                return;
            };
            match self.waiting.front() {
                Some(first) if first.timestamp == timestamp => self.decode_first(),
                _ => return,
            }
        }
    }

    /// The party has said nothing for a while: what comes next begins anew.
    fn rest(&mut self) {
        self.state = State::Fills { frames: 0 };
        self.concealer.reset();
        self.since_stretch = 0;
    }

    fn restart(&mut self) {
        while let Some(old) = self.waiting.pop_front() {
            self.keep_spare(old.payload);
        }
        self.pcm.clear();
        self.delay.restart();
        self.rest();
    }

    fn is_another_stream(&self, header: &Header) -> bool {
        if self.ssrc != Some(header.ssrc) {
            return true;
        }
        let near = match (self.state, self.waiting.back()) {
            (State::Plays { timestamp, .. }, _) => timestamp,
            (State::Fills { .. }, Some(last)) => last.timestamp,
            (State::Fills { .. }, None) => return false,
        };
        let leap = header.timestamp.wrapping_sub(near) as i32;
        leap.unsigned_abs() > self.ticks_of_ms(LEAP_MS_MAX)
    }

    fn discard_first(&mut self) {
        if let Some(old) = self.waiting.pop_front() {
            self.counts.discarded += 1;
            self.keep_spare(old.payload);
        }
    }

    fn keep_spare(&mut self, payload: Vec<u8>) {
        if self.spare.len() < PACKETS_MAX {
            self.spare.push(payload);
        }
    }

    /// The time that what waits spans.
    fn waiting_ms(&self) -> u32 {
        let (Some(first), Some(last)) = (self.waiting.front(), self.waiting.back()) else {
            return 0;
        };
        let from = match self.state {
            State::Plays { timestamp, .. } => timestamp,
            State::Fills { .. } => first.timestamp,
        };
        let end = last.timestamp.wrapping_add(self.codec.ticks(&last.payload));
        end.wrapping_sub(from) / (self.codec.clock_hz() / 1000)
    }

    fn ticks_of_ms(&self, ms: u32) -> u32 {
        self.codec.clock_hz() / 1000 * ms
    }

    fn ticks_of(&self, samples: usize) -> u32 {
        let ticks = samples as u64 * u64::from(self.codec.clock_hz()) / u64::from(self.rate_hz);
        ticks as u32
    }

    fn samples_of(&self, ticks: u32) -> usize {
        let samples = u64::from(ticks) * u64::from(self.rate_hz) / u64::from(self.codec.clock_hz());
        samples as usize
    }
}

/// Is the first earlier than the second?
fn before(timestamp: u32, than: u32) -> bool {
    (timestamp.wrapping_sub(than) as i32) < 0
}

impl std::fmt::Debug for Playout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (codec, waiting) = (self.codec, self.waiting.len());
        write!(f, "Playout({codec:?}, {waiting} packets wait)")
    }
}

#[cfg(test)]
mod tests;
