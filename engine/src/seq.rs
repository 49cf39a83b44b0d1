//! What the sequence numbers and timestamps of a source tell: order, loss, jitter.
//!
//! One [`Reception`] per leg; the leg hands it every packet it accepts, the RTCP reporter and the
//! leg's own report read it. A source that restarts with the same SSRC is recognised by two
//! packets in a row far from what was expected.
//!
//! Sources: RFC 3550 §A.1 (sequence), §A.3 (loss), §A.8 (jitter).

use tandem_storage::time::Time;

/// Samples per second of G.711, in which the log keeps sound; also the clock of every codec but Opus.
pub const CLOCK_HZ: u64 = 8000;

/// A jump forward of up to this is loss (RFC 3550 §A.1 MAX_DROPOUT).
const DROPOUT_MAX: u16 = 3000;
/// A jump back of up to this is reordering (§A.1 MAX_MISORDER).
const MISORDER_MAX: u16 = 100;

/// Where a packet stands among those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first of its source, or the source has begun anew.
    First,
    /// Newer than all before.
    Newer,
    /// Overtaken by a later one, or a duplicate.
    Older,
    /// Far from everything: not to be used unless the next one confirms it.
    Stray,
}

/// What has been received from one source.
#[derive(Clone, Debug)]
pub struct Reception {
    clock_hz: u32,
    source: Option<Source>,
    /// Of sources that are gone.
    lost_before: i64,
    jitter_16ths: u32,
}

#[derive(Clone, Debug)]
struct Source {
    ssrc: u32,
    base_seq: u16,
    max_seq: u16,
    cycles: u32,
    received: u64,
    stray_next: Option<u16>,
    transit: u32,
    expected_prior: u64,
    received_prior: u64,
}

/// The figures of a report block (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockFigures {
    /// Whom it is about.
    pub ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Lost since the beginning; fits 24 signed bits.
    pub lost: i32,
    /// Highest sequence number, extended by its cycles.
    pub seq_ext_max: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
}

impl Default for Reception {
    fn default() -> Reception {
        Reception {
            clock_hz: CLOCK_HZ as u32,
            source: None,
            lost_before: 0,
            jitter_16ths: 0,
        }
    }
}

impl Reception {
    /// Timestamps count in another clock from now on: what comes is another source.
    pub fn set_clock(&mut self, clock_hz: u32) {
        if clock_hz != self.clock_hz {
            self.clock_hz = clock_hz;
            self.lost_before = self.lost();
            self.source = None;
            self.jitter_16ths = 0;
        }
    }

    /// Takes account of a packet.
    pub fn on_packet(&mut self, now: Time, ssrc: u32, seq: u16, timestamp: u32) -> Order {
        let transit = rtp_clock(now, self.clock_hz).wrapping_sub(timestamp);
        let order = match &mut self.source {
            Some(source) if source.ssrc == ssrc => source.place(seq),
            _ => Order::First,
        };
        match order {
            Order::First => self.begin(ssrc, seq, transit),
            Order::Newer | Order::Older => self.count(transit),
            Order::Stray => {}
        }
        order
    }

    /// The SSRC in use.
    pub fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|s| s.ssrc)
    }

    /// Packets that never came; negative when there were more duplicates.
    pub fn lost(&self) -> i64 {
        self.lost_before + self.source.as_ref().map_or(0, Source::lost)
    }

    /// Interarrival jitter in microseconds.
    pub fn jitter_us(&self) -> u32 {
        let us = u64::from(self.jitter_16ths >> 4) * 1_000_000 / u64::from(self.clock_hz);
        u32::try_from(us).unwrap_or(u32::MAX)
    }

    /// The figures for a report block; begins a new interval.
    pub fn take_block(&mut self) -> Option<BlockFigures> {
        let jitter = self.jitter_16ths >> 4;
        let source = self.source.as_mut()?;
        let expected = source.expected();
        let expected_now = expected.saturating_sub(source.expected_prior);
        let received_now = source.received - source.received_prior;
        source.expected_prior = expected;
        source.received_prior = source.received;
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction = (lost_now << 8).checked_div(expected_now).unwrap_or(0);
        Some(BlockFigures {
            ssrc: source.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            lost: source.lost().clamp(-0x80_0000, 0x7f_ffff) as i32,
            seq_ext_max: source.seq_ext_max(),
            jitter,
        })
    }

    fn begin(&mut self, ssrc: u32, seq: u16, transit: u32) {
        self.lost_before = self.lost();
        self.jitter_16ths = 0;
        self.source = Some(Source {
            ssrc,
            base_seq: seq,
            max_seq: seq,
            cycles: 0,
            received: 1,
            stray_next: None,
            transit,
            expected_prior: 0,
            received_prior: 0,
        });
    }

    fn count(&mut self, transit: u32) {
        let Some(source) = &mut self.source else {
            return;
        };
        source.received += 1;
        //= RFC 3550 §6.4.1
        //# The jitter calculation MUST conform to the formula specified here in order to allow
        //# profile-independent monitors to make valid interpretations of reports coming from
        //# different implementations.
        let distance = (transit.wrapping_sub(source.transit) as i32).unsigned_abs();
        source.transit = transit;
        // A source that jumps its timestamps is not jitter: a second is the most that counts.
        let distance = distance.min(self.clock_hz);
        self.jitter_16ths = self.jitter_16ths + distance - ((self.jitter_16ths + 8) >> 4);
    }
}

impl Source {
    fn place(&mut self, seq: u16) -> Order {
        let ahead = seq.wrapping_sub(self.max_seq);
        if ahead != 0 && ahead < DROPOUT_MAX {
            self.cycles += u32::from(seq < self.max_seq);
            self.max_seq = seq;
            self.stray_next = None;
            return Order::Newer;
        }
        if ahead == 0 || ahead > u16::MAX - MISORDER_MAX {
            return Order::Older;
        }
        if self.stray_next == Some(seq) {
            return Order::First;
        }
        self.stray_next = Some(seq.wrapping_add(1));
        Order::Stray
    }

    fn seq_ext_max(&self) -> u32 {
        self.cycles << 16 | u32::from(self.max_seq)
    }

    fn expected(&self) -> u64 {
        (u64::from(self.cycles) << 16) + u64::from(self.max_seq) + 1 - u64::from(self.base_seq)
    }

    fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }
}

/// The engine's own clock in RTP units.
pub fn rtp_clock(now: Time, clock_hz: u32) -> u32 {
    (u128::from(now.0) * u128::from(clock_hz) / 1_000_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Time {
        Time(n * 1_000_000)
    }

    fn feed(r: &mut Reception, seqs: &[u16]) -> Vec<Order> {
        seqs.iter().map(|s| r.on_packet(ms(0), 7, *s, 0)).collect()
    }

    #[test]
    fn loss_is_counted_over_the_wrap() {
        let mut r = Reception::default();
        feed(&mut r, &[65534, 65535, 1, 2]);
        assert_eq!(r.lost(), 1);
        assert_eq!(r.take_block().unwrap().seq_ext_max, 0x1_0002);
    }

    #[test]
    fn a_packet_from_before_the_first_does_not_underflow() {
        let mut r = Reception::default();
        feed(&mut r, &[1, 65535, 0, 1]);
        assert_eq!(r.lost(), -3);
        assert_eq!(r.take_block().unwrap().fraction_lost, 0);
    }

    #[test]
    fn reordered_and_doubled_packets_are_older() {
        use Order::*;
        let mut r = Reception::default();
        assert_eq!(
            feed(&mut r, &[10, 12, 11, 12, 13]),
            [First, Newer, Older, Older, Newer]
        );
        assert_eq!(r.lost(), -1, "one too many");
    }

    #[test]
    fn a_jump_needs_confirmation() {
        use Order::*;
        let mut r = Reception::default();
        assert_eq!(
            feed(&mut r, &[10, 40000, 11, 40000, 40001]),
            [First, Stray, Newer, Stray, First]
        );
    }

    #[test]
    fn fraction_is_of_the_interval() {
        let mut r = Reception::default();
        feed(&mut r, &[0, 1, 2, 3]);
        assert_eq!(r.take_block().unwrap().fraction_lost, 0);
        feed(&mut r, &[5, 7]);
        let block = r.take_block().unwrap();
        assert_eq!((block.fraction_lost, block.lost), (128, 2));
    }

    //= RFC 3550 §6.4.1 type=test
    //# The jitter calculation MUST conform to the formula specified here in order to allow
    //# profile-independent monitors to make valid interpretations of reports coming from different
    //# implementations.
    #[test]
    fn jitter_of_an_even_stream_is_zero_and_of_an_uneven_one_is_not() {
        let mut r = Reception::default();
        for n in 0..50u16 {
            r.on_packet(ms(20 * u64::from(n)), 7, n, 160 * u32::from(n));
        }
        assert_eq!(r.jitter_us(), 0);
        for n in 50..500u16 {
            let late_ms = if n % 2 == 0 { 8 } else { 0 };
            r.on_packet(ms(20 * u64::from(n) + late_ms), 7, n, 160 * u32::from(n));
        }
        assert!((7000..=8000).contains(&r.jitter_us()), "{}", r.jitter_us());
    }
}
