//! Our stream to a party: one SSRC, one run of sequence numbers and timestamps, whatever feeds it.
//!
//! The party hears a prompt, then another party, then a tone; to its receiver that is one source
//! that pauses between talkspurts. Relayed packets keep their spacing and their gaps, so that the
//! receiver sees loss as loss; what we make ourselves is numbered on from there.
//!
//! Invariant: timestamps never go back from one talkspurt to the next.
//!
//! Sources: RFC 3550 §5.1; RFC 3551 §4.1 (marker at the start of a talkspurt).

use tandem_storage::time::Time;

use crate::rtp::Header;
use crate::seq::CLOCK_HZ;

/// A source that leaps further than this in its timestamps has begun anew, in seconds.
const TIMESTAMP_LEAP_MAX_S: u32 = 30;
/// A source that leaps further than this in its sequence has begun anew.
const SEQ_LEAP_MAX: u16 = 3000;

/// The stream's state.
#[derive(Clone, Debug)]
pub struct Stream {
    ssrc: u32,
    clock_hz: u32,
    seq: u16,
    timestamp: u32,
    /// Ticks of the clock in the packet that bears `timestamp`.
    samples: u32,
    at: Time,
    feed: Feed,
    /// What went before was silence that was not sent: the next packet begins a talkspurt.
    skipped: bool,
    packets: u64,
    octets: u64,
}

/// Who feeds the stream.
#[derive(Clone, Copy, Debug)]
enum Feed {
    /// Nobody: the next packet begins a talkspurt.
    Nobody,
    /// The engine itself.
    Own,
    /// Another party.
    Relay(Shift),
}

/// From another party's numbers to ours.
#[derive(Clone, Copy, Debug)]
struct Shift {
    ssrc: u32,
    seq: u16,
    timestamp: u32,
    /// Its first sequence number that is ours: older ones were for an earlier listener.
    seq_first: u16,
    seq_max: u16,
    timestamp_max: u32,
}

impl Stream {
    /// A stream that has sent nothing. The numbers should be hard to guess.
    pub fn new(now: Time, ssrc: u32, seq: u16, timestamp: u32) -> Stream {
        Stream {
            ssrc,
            clock_hz: CLOCK_HZ as u32,
            seq,
            timestamp,
            samples: 0,
            at: now,
            feed: Feed::Nobody,
            skipped: false,
            packets: 0,
            octets: 0,
        }
    }

    /// Timestamps count in another clock from now on. That needs another source, since receivers
    /// could not tell from when on (RFC 7160 §4.1).
    pub fn set_clock(&mut self, now: Time, clock_hz: u32, ssrc: u32) {
        if clock_hz == self.clock_hz {
            return;
        }
        *self = Stream {
            clock_hz,
            ssrc,
            timestamp: self.timestamp_at(now),
            samples: 0,
            at: now,
            feed: Feed::Nobody,
            ..*self
        };
    }

    /// The header under which another party's packet goes on, or `None` if it comes too late.
    pub fn relay(
        &mut self,
        now: Time,
        theirs: &Header,
        samples: u32,
        octets: u32,
    ) -> Option<Header> {
        let (shift, begins) = match self.feed {
            Feed::Relay(s) if s.continues(theirs, self.clock_hz) => (s, false),
            _ => (self.shift_to(now, theirs), true),
        };
        if older(theirs.seq, shift.seq_first) {
            return None;
        }
        let ours = Header {
            marker: theirs.marker || begins,
            payload_type: theirs.payload_type,
            seq: theirs.seq.wrapping_add(shift.seq),
            timestamp: theirs.timestamp.wrapping_add(shift.timestamp),
            ssrc: self.ssrc,
        };
        self.follow(now, shift, theirs, &ours, samples, begins);
        self.count(octets);
        Some(ours)
    }

    /// The header for a packet of sound we made.
    pub fn own(&mut self, now: Time, payload_type: u8, samples: u32, octets: u32) -> Header {
        let begins = self.own_time(now) || std::mem::take(&mut self.skipped);
        self.samples = samples;
        self.next(now, payload_type, begins, octets)
    }

    /// Nothing need be sent for so many ticks of sound we made: it goes on after them.
    pub fn skip(&mut self, now: Time, samples: u32) {
        self.own_time(now);
        self.samples = samples;
        self.at = now;
        self.skipped = true;
    }

    /// The timestamp of a key press that begins now.
    pub fn begin_event(&mut self, now: Time) -> u32 {
        self.timestamp = self.timestamp_at(now);
        self.samples = 0;
        self.feed = Feed::Nobody;
        self.timestamp
    }

    /// The header for one of the packets of a key press: all bear the time of its beginning.
    pub fn event(&mut self, now: Time, payload_type: u8, marker: bool) -> Header {
        self.next(now, payload_type, marker, 4)
    }

    /// Whoever fed the stream does so no longer.
    pub fn pause(&mut self) {
        self.feed = Feed::Nobody;
    }

    /// Our SSRC.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Packets sent.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Bytes of payload sent.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// What the stream's timestamp would be now.
    pub fn timestamp_now(&self, now: Time) -> u32 {
        self.timestamp
            .wrapping_add(ticks_in(self.at, now, self.clock_hz))
    }

    /// Takes the next timestamp for sound of ours; true if it begins with it.
    fn own_time(&mut self, now: Time) -> bool {
        let begins = !matches!(self.feed, Feed::Own);
        self.timestamp = if begins {
            self.timestamp_at(now)
        } else {
            self.timestamp_next()
        };
        self.feed = Feed::Own;
        begins
    }

    fn timestamp_next(&self) -> u32 {
        self.timestamp.wrapping_add(self.samples)
    }

    /// For a talkspurt that begins now: the pause counts, and there is no overlap.
    //= RFC 3550 §5.1
    //# The sampling instant MUST be derived from a clock that increments monotonically and linearly
    //# in time to allow synchronization and jitter calculations (see Section 6.4.1).
    fn timestamp_at(&self, now: Time) -> u32 {
        self.timestamp
            .wrapping_add(ticks_in(self.at, now, self.clock_hz).max(self.samples))
    }

    fn shift_to(&self, now: Time, theirs: &Header) -> Shift {
        Shift {
            ssrc: theirs.ssrc,
            seq: self.seq.wrapping_add(1).wrapping_sub(theirs.seq),
            timestamp: self.timestamp_at(now).wrapping_sub(theirs.timestamp),
            seq_first: theirs.seq,
            seq_max: theirs.seq,
            timestamp_max: theirs.timestamp,
        }
    }

    fn follow(
        &mut self,
        now: Time,
        mut shift: Shift,
        theirs: &Header,
        ours: &Header,
        samples: u32,
        begins: bool,
    ) {
        if begins || !older(theirs.seq, shift.seq_max) {
            shift.seq_max = theirs.seq;
            shift.timestamp_max = theirs.timestamp;
            // Half the range behind the newest, every number looks new again: follow it.
            if theirs.seq.wrapping_sub(shift.seq_first) > SEQ_LEAP_MAX {
                shift.seq_first = theirs.seq.wrapping_sub(SEQ_LEAP_MAX);
            }
            self.seq = ours.seq;
            self.timestamp = ours.timestamp;
            self.samples = samples;
            self.at = now;
        }
        self.feed = Feed::Relay(shift);
    }

    fn next(&mut self, now: Time, payload_type: u8, marker: bool, octets: u32) -> Header {
        self.seq = self.seq.wrapping_add(1);
        self.at = now;
        self.count(octets);
        Header {
            marker,
            payload_type,
            seq: self.seq,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        }
    }

    fn count(&mut self, octets: u32) {
        self.packets += 1;
        self.octets += u64::from(octets);
    }
}

impl Shift {
    fn continues(&self, theirs: &Header, clock_hz: u32) -> bool {
        let seq_leap = theirs.seq.wrapping_sub(self.seq_max) as i16;
        let timestamp_leap = theirs.timestamp.wrapping_sub(self.timestamp_max) as i32;
        self.ssrc == theirs.ssrc
            && seq_leap.unsigned_abs() <= SEQ_LEAP_MAX
            && timestamp_leap.unsigned_abs() <= TIMESTAMP_LEAP_MAX_S * clock_hz
    }
}

fn older(seq: u16, than: u16) -> bool {
    (seq.wrapping_sub(than) as i16) < 0
}

/// The samples of a stretch of time.
pub fn samples_in(from: Time, to: Time) -> u32 {
    ticks_in(from, to, CLOCK_HZ as u32)
}

fn ticks_in(from: Time, to: Time, clock_hz: u32) -> u32 {
    (to.since(from).as_nanos() * u128::from(clock_hz) / 1_000_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    fn theirs(ssrc: u32, seq: u16, timestamp: u32) -> Header {
        Header {
            marker: false,
            payload_type: 0,
            seq,
            timestamp,
            ssrc,
        }
    }

    fn numbers(h: Header) -> (u16, u32, bool) {
        (h.seq, h.timestamp, h.marker)
    }

    #[test]
    fn prompt_then_party_then_tone_is_one_stream() {
        let mut s = Stream::new(at(0), 42, 99, 1000);
        assert_eq!(numbers(s.own(at(0), 0, 160, 160)), (100, 1000, true));
        assert_eq!(numbers(s.own(at(21), 0, 160, 160)), (101, 1160, false));
        let first = s.relay(at(40), &theirs(7, 5000, 88), 160, 160).unwrap();
        assert_eq!((numbers(first), first.ssrc), ((102, 1320, true), 42));
        assert_eq!(
            numbers(s.relay(at(60), &theirs(7, 5001, 248), 160, 160).unwrap()),
            (103, 1480, false)
        );
        s.pause();
        assert_eq!(
            numbers(s.own(at(160), 0, 160, 160)),
            (104, 1480 + 800, true)
        );
    }

    #[test]
    fn loss_and_reordering_pass_through() {
        let mut s = Stream::new(at(0), 42, 0, 0);
        let mut seq = |n: u16| {
            s.relay(at(0), &theirs(7, n, 160 * u32::from(n)), 160, 160)
                .map(|h| h.seq)
        };
        assert_eq!(
            [seq(10), seq(13), seq(12), seq(14)],
            [Some(1), Some(4), Some(3), Some(5)]
        );
        assert_eq!(seq(9), None, "from before this listener");
    }

    #[test]
    fn it_goes_on_over_the_wrap() {
        let mut s = Stream::new(at(0), 42, 65_530, u32::MAX - 100);
        let mut last = None;
        for n in 0..200_000u32 {
            let h = s
                .relay(
                    at(20 * u64::from(n)),
                    &theirs(7, n as u16, 160 * n),
                    160,
                    160,
                )
                .unwrap();
            if let Some((seq, ts)) = last {
                assert_eq!(
                    (h.seq.wrapping_sub(seq), h.timestamp.wrapping_sub(ts)),
                    (1, 160)
                );
            }
            last = Some((h.seq, h.timestamp));
        }
    }

    #[test]
    fn a_source_that_begins_anew_is_joined_on() {
        let mut s = Stream::new(at(0), 42, 0, 0);
        s.relay(at(0), &theirs(7, 10, 160), 160, 160);
        let h = s
            .relay(at(20), &theirs(7, 40_000, 9_000_000), 160, 160)
            .unwrap();
        assert_eq!(numbers(h), (2, 160, true));
        let h = s.relay(at(40), &theirs(8, 1, 1), 160, 160).unwrap();
        assert_eq!(h.seq, 3);
    }
}
