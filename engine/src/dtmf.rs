//! Keys pressed on a phone, as telephone-events: heard once, sent in full.
//!
//! A press is many packets: a first one, updates while the key is down, three copies of the end.
//! All bear the timestamp of its beginning, and any of them may be lost. So the timestamp *is* the
//! press: the first packet that bears a newer one is reported, nothing after it.
//!
//! Sources: RFC 4733 §2.3 (payload), §2.5.1 (sending), §2.5.1.3 (long presses in segments).

use std::time::Duration;

use tandem_storage::time::Time;

/// The payload, in bytes.
pub const PAYLOAD_BYTES: usize = 4;
/// How long a press is that we send.
pub const PRESS: Duration = Duration::from_millis(100);
/// Quiet between two presses that we send.
pub const GAP: Duration = Duration::from_millis(80);
/// Copies of the end.
const ENDS: u8 = 3;
/// A timestamp this much older than the last press is no repetition of an earlier one: three seconds.
const JUMP_TICKS_MIN: i32 = 24_000;
/// The longest a segment of a long press can say.
const SEGMENT_SAMPLES_MAX: u16 = u16::MAX;

/// What one packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Which key, 0-15.
    pub event: u8,
    /// The key was let go.
    pub end: bool,
    /// How long it has been down, in samples.
    pub duration: u16,
}

/// Finds presses in packets.
#[derive(Clone, Debug, Default)]
pub struct Detector {
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    timestamp: u32,
    event: u8,
    duration: u16,
}

impl Payload {
    /// Reads it. Events that are no keys (flash, tones of modems) give `None`.
    pub fn parse(bytes: &[u8]) -> Option<Payload> {
        let b: &[u8; PAYLOAD_BYTES] = bytes.first_chunk()?;
        let duration = u16::from_be_bytes([b[2], b[3]]);
        (b[0] < 16).then_some(Payload {
            event: b[0],
            //= RFC 4733 §2.3.3
            //# The sender MUST set it to zero, and the receiver MUST ignore it.
            end: b[1] & 0x80 != 0,
            duration,
        })
    }

    /// Writes it, at -10 dBm0.
    pub fn to_bytes(self) -> [u8; PAYLOAD_BYTES] {
        let [high, low] = self.duration.to_be_bytes();
        [self.event, u8::from(self.end) << 7 | 10, high, low]
    }
}

impl Detector {
    /// The digit, if this packet is the first of its press. `is_late`: by its sequence number it was
    /// overtaken. One that was not, but bears a much older timestamp, is of a source that began to
    /// count anew.
    pub fn on_packet(&mut self, timestamp: u32, is_late: bool, payload: Payload) -> Option<char> {
        let next = Last {
            timestamp,
            event: payload.event,
            duration: payload.duration,
        };
        let fresh = match self.last {
            None => true,
            Some(last) => {
                let ahead = timestamp.wrapping_sub(last.timestamp) as i32;
                let jumped_back = ahead < -JUMP_TICKS_MIN && !is_late;
                if ahead < 0 && !jumped_back {
                    return None;
                }
                //= RFC 4733 §2.5.2.2
                //# In that case, further reports for the event MUST be ignored, as indicated in the
                //# previous paragraph.
                ahead != 0 && !last.goes_on_with(&next)
            }
        };
        self.last = Some(next);
        fresh.then(|| digit_of(payload.event))
    }

    /// Another source: its timestamps have nothing to do with the ones before.
    pub fn reset(&mut self) {
        self.last = None;
    }
}

impl Last {
    /// A press of more than eight seconds comes in segments, each beginning where one ended.
    fn goes_on_with(&self, next: &Last) -> bool {
        self.duration == SEGMENT_SAMPLES_MAX
            && self.event == next.event
            //= RFC 4733 §2.5.2.3
            //# If another report for the same event type is received, the receiver MUST compare the
            //# RTP timestamp for the new event with the sum of the RTP timestamp of the previous
            //# report plus the duration (0xFFFF).
            && next.timestamp == self.timestamp.wrapping_add(u32::from(SEGMENT_SAMPLES_MAX))
    }
}

/// One press being sent. The leg asks for a packet each packet time.
#[derive(Clone, Debug)]
pub struct Press {
    event: u8,
    began: Time,
    started: bool,
    ends_sent: u8,
}

/// What a press wants sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PressPacket {
    /// Set on the first.
    pub marker: bool,
    /// The payload.
    pub payload: Payload,
}

impl Press {
    /// A press that begins now; `None` if `digit` is no key.
    pub fn new(now: Time, digit: char) -> Option<Press> {
        Some(Press {
            event: event_of(digit)?,
            began: now,
            started: false,
            ends_sent: 0,
        })
    }

    /// The next packet; `None` once the last copy of the end was sent.
    pub fn next(&mut self, now: Time) -> Option<PressPacket> {
        if self.ends_sent == ENDS {
            return None;
        }
        let down = now.since(self.began);
        //= RFC 4733 §2.5.1.4
        //# Once the sender has set the E bit for a packet, it MUST continue to set the E bit for
        //# any further retransmissions of that packet.
        let end = down >= PRESS;
        //= RFC 4733 §2.5.1.2
        //# The first packet for an event MUST have the M bit set. The final packet for an event
        //# MUST have the E bit set, but setting of the "E" bit MAY be deferred until the final
        //# packet is retransmitted (see Section 2.5.1.4). Intermediate packets for an event MUST
        //# NOT have either the M bit or the E bit set.
        let marker = !std::mem::replace(&mut self.started, true);
        self.ends_sent += u8::from(end);
        //= RFC 4733 §2.3.5
        //# A sender MUST NOT transmit a zero duration for events other than those defined as
        //# states.
        //= RFC 4733 §2.5.1.2
        //# The update packets MUST have the same RTP timestamp value as the initial packet for the
        //# event, but the duration MUST be increased to reflect the total cumulative duration since
        //# the beginning of the event.
        //= RFC 4733 §2.5.2.2
        //# This algorithm is not a license for senders to set the duration field to zero; it MUST
        //# be set to the current duration as described, since this is needed to create accurate
        //# events if the first event packet is lost, among other reasons.
        let samples = down.min(PRESS).as_millis().max(1) * 8;
        let duration = u16::try_from(samples).unwrap_or(SEGMENT_SAMPLES_MAX);
        Some(PressPacket {
            marker,
            payload: Payload {
                event: self.event,
                end,
                duration,
            },
        })
    }
}

const DIGITS: &[u8; 16] = b"0123456789*#ABCD";

fn digit_of(event: u8) -> char {
    char::from(DIGITS[usize::from(event & 15)])
}

fn event_of(digit: char) -> Option<u8> {
    DIGITS
        .iter()
        .position(|d| char::from(*d) == digit.to_ascii_uppercase())
        .map(|i| i as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `timestamp:event:[e]duration[:late]`, in the order of arrival; gives the digits reported.
    fn heard(packets: &str) -> String {
        let mut detector = Detector::default();
        packets
            .split_whitespace()
            .filter_map(|p| {
                let f: Vec<&str> = p.split(':').collect();
                let payload = Payload {
                    event: f[1].parse().unwrap(),
                    end: f[2].starts_with('e'),
                    duration: f[2].trim_start_matches('e').parse().unwrap(),
                };
                let is_late = f.get(3) == Some(&"late");
                detector.on_packet(f[0].parse().unwrap(), is_late, payload)
            })
            .collect()
    }

    //= RFC 4733 §2.5.2.2 type=test
    //# In that case, further reports for the event MUST be ignored, as indicated in the previous
    //# paragraph.
    #[test]
    fn a_press_is_heard_once() {
        assert_eq!(
            heard("800:5:160 800:5:320 800:5:480 800:5:e640 800:5:e640 800:5:e640"),
            "5"
        );
    }

    #[test]
    fn whatever_is_lost_a_press_is_heard_once() {
        assert_eq!(heard("800:5:e640"), "5", "only an end");
        assert_eq!(
            heard("800:5:320 800:5:480 4000:5:160 4000:5:320"),
            "55",
            "no start, no ends"
        );
        assert_eq!(heard("800:1:160 2400:1:160 4000:11:e400"), "11#");
    }

    #[test]
    fn what_comes_late_is_not_a_press() {
        assert_eq!(heard("800:1:160 4000:2:160 800:1:e640 4000:2:e320"), "12");
    }

    #[test]
    fn keys_after_a_timestamp_that_jumped_back_are_heard() {
        assert_eq!(
            heard("900000:1:160 900000:1:e640 800:2:160 800:2:e640"),
            "12"
        );
        assert_eq!(heard("900000:1:160 800:2:160:late"), "1", "overtaken");
        assert_eq!(heard("900000:1:160 899000:2:160"), "1", "repeated");
    }

    #[test]
    fn timestamps_wrap() {
        assert_eq!(heard("4294967000:1:160 4294967000:1:e320 500:2:160"), "12");
    }

    //= RFC 4733 §2.5.2.3 type=test
    //# If another report for the same event type is received, the receiver MUST compare the RTP
    //# timestamp for the new event with the sum of the RTP timestamp of the previous report plus
    //# the duration (0xFFFF).
    #[test]
    fn a_long_press_in_segments_is_one() {
        assert_eq!(heard("0:3:160 0:3:65535 65535:3:160 65535:3:e800"), "3");
    }

    //= RFC 4733 §2.3.3 type=test
    //# The sender MUST set it to zero, and the receiver MUST ignore it.
    #[test]
    fn golden_bytes_and_what_is_no_key() {
        let five = Payload {
            event: 5,
            end: true,
            duration: 800,
        };
        assert_eq!(five.to_bytes(), [5, 0x8a, 0x03, 0x20]);
        assert_eq!(Payload::parse(&five.to_bytes()), Some(five));
        let reserved = [5, 0xca, 0x03, 0x20];
        assert_eq!(
            Payload::parse(&reserved),
            Some(five),
            "a bit that has no meaning"
        );
        assert_eq!(Payload::parse(&[16, 0, 0, 0]), None, "flash");
        assert_eq!(Payload::parse(&[1, 0, 0]), None, "short");
    }

    //= RFC 4733 §2.3.5 type=test
    //# A sender MUST NOT transmit a zero duration for events other than those defined as states.
    //= RFC 4733 §2.5.1.2 type=test
    //# The update packets MUST have the same RTP timestamp value as the initial packet for the
    //# event, but the duration MUST be increased to reflect the total cumulative duration since the
    //# beginning of the event. The first packet for an event MUST have the M bit set. The final
    //# packet for an event MUST have the E bit set, but setting of the "E" bit MAY be deferred
    //# until the final packet is retransmitted (see Section 2.5.1.4). Intermediate packets for an
    //# event MUST NOT have either the M bit or the E bit set.
    //= RFC 4733 §2.5.1.4 type=test
    //# Once the sender has set the E bit for a packet, it MUST continue to set the E bit for any
    //# further retransmissions of that packet.
    //= RFC 4733 §2.5.2.2 type=test
    //# This algorithm is not a license for senders to set the duration field to zero; it MUST be
    //# set to the current duration as described, since this is needed to create accurate events if
    //# the first event packet is lost, among other reasons.
    #[test]
    fn a_press_sent_has_a_start_updates_and_three_ends() {
        let mut press = Press::new(Time(0), '#').unwrap();
        let mut said = String::new();
        let mut detector = Detector::default();
        for n in 0.. {
            let Some(p) = press.next(Time(n * 20_000_000)) else {
                break;
            };
            assert_eq!(p.marker, n == 0);
            let ms = (20 * n as u16).clamp(1, 100);
            assert_eq!(p.payload.duration, 8 * ms);
            said.push(if p.payload.end { 'e' } else { 'u' });
            assert_eq!(
                detector.on_packet(7, false, p.payload),
                (n == 0).then_some('#')
            );
        }
        assert_eq!(said, "uuuuueee");
        assert!(Press::new(Time(0), 'x').is_none());
    }
}
