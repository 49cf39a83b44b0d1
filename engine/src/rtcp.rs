//! RTCP: what each side tells the other about what it sends and hears.
//!
//! The leg hands in what its odd port received and sends what is built here about every five
//! seconds: a sender report (receiver report, if nothing was sent since), our name, and a BYE when
//! the leg closes. Of what the party says, only what concerns us is kept.
//!
//! Sources: RFC 3550 §6.1 (compound), §6.3.1 (interval, simplified: two parties), §6.4 (reports),
//! §6.5 (SDES), §6.6 (BYE), §A.2 (validity).

use std::time::Duration;

use tandem_storage::time::Time;

use crate::random::Random;
use crate::seq::BlockFigures;

/// The largest compound packet built here.
pub const COMPOUND_BYTES_MAX: usize = 128;
/// The mean time between reports.
const INTERVAL: Duration = Duration::from_secs(5);

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const BLOCK_BYTES: usize = 24;

/// What a compound packet from the party says, as far as it concerns us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The middle 32 bits of the NTP time of its sender report.
    pub sender_ntp_mid: Option<u32>,
    /// How it receives us.
    pub about_us: Option<AboutUs>,
    /// It leaves.
    pub bye: bool,
}

/// A report block about our stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AboutUs {
    /// Lost since its last report, in 256ths.
    pub fraction_lost: u8,
    /// The middle of the NTP time of our report that it heard last; 0: none.
    pub last_report_ntp_mid: u32,
    /// How long ago it had heard that one, in 65536ths of a second.
    pub delay: u32,
}

/// It is not RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads a compound packet. Every part must fit; unknown kinds are passed over.
pub fn parse(bytes: &[u8], our_ssrc: u32) -> Result<Heard, Malformed> {
    let mut heard = Heard::default();
    let mut rest = bytes;
    let mut first = true;
    while !rest.is_empty() {
        let (packet, after) = split(rest)?;
        let kind = packet[1];
        let report = matches!(kind, SENDER_REPORT | RECEIVER_REPORT);
        if first && (!report || packet[0] & 0x20 != 0) {
            return Err(Malformed);
        }
        match kind {
            SENDER_REPORT => {
                let info = packet.get(8..28).ok_or(Malformed)?;
                heard.sender_ntp_mid = Some(word(info, 2));
                read_blocks(packet, 28, our_ssrc, &mut heard)?;
            }
            RECEIVER_REPORT => read_blocks(packet, 8, our_ssrc, &mut heard)?,
            BYE => heard.bye = true,
            _ => {}
        }
        first = false;
        rest = after;
    }
    if first { Err(Malformed) } else { Ok(heard) }
}

/// One packet of a compound, and what follows it.
//= RFC 3550 §6.1
//# Each RTCP packet begins with a fixed part similar to that of RTP data packets, followed by
//# structured elements that MAY be of variable length according to the packet type but MUST end on
//# a 32-bit boundary.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let head = bytes.first_chunk::<4>().ok_or(Malformed)?;
    let len = 4 + 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
    if head[0] >> 6 != 2 || len > bytes.len() {
        return Err(Malformed);
    }
    Ok(bytes.split_at(len))
}

fn read_blocks(packet: &[u8], at: usize, our: u32, heard: &mut Heard) -> Result<(), Malformed> {
    let count = usize::from(packet[0] & 0x1f);
    let blocks = packet.get(at..at + count * BLOCK_BYTES).ok_or(Malformed)?;
    for block in blocks.chunks_exact(BLOCK_BYTES) {
        if word(block, 0) == our {
            heard.about_us = Some(AboutUs {
                fraction_lost: block[4],
                last_report_ntp_mid: word(block, 16),
                delay: word(block, 20),
            });
        }
    }
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// One leg's dealings in RTCP.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// Unguessable, and nobody's name or address (RFC 7022 §4.2).
    name: [u8; 16],
    due: Time,
    packets_prior: u64,
    their_report: Option<(u32, Time)>,
}

/// What we say of ourselves in a report.
#[derive(Clone, Copy, Debug)]
pub struct Ourselves {
    /// Our SSRC.
    pub ssrc: u32,
    /// Now, as an NTP timestamp.
    pub ntp: u64,
    /// Now, on our stream's clock.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u64,
    /// Bytes of payload sent.
    pub octets: u64,
}

impl Reporter {
    /// For a leg that opens now.
    pub fn new(now: Time, random: &mut Random) -> Reporter {
        let mut name = [0; 16];
        for byte in &mut name {
            *byte = b"0123456789abcdef"[(random.draw() >> 60) as usize];
        }
        // The first comes after half the interval (§6.2), so that short calls have figures, too.
        let due = now + spread(INTERVAL / 2, random);
        Reporter {
            name,
            due,
            packets_prior: 0,
            their_report: None,
        }
    }

    /// When the next report is due.
    pub fn deadline(&self) -> Time {
        self.due
    }

    /// Sets the time of the report after this one.
    pub fn schedule(&mut self, now: Time, random: &mut Random) {
        self.due = now + spread(INTERVAL, random);
    }

    /// Takes note of the party's report; gives the round trip in microseconds, if it shows one.
    pub fn on_heard(&mut self, now: Time, ntp_mid_now: u32, heard: &Heard) -> Option<u32> {
        if let Some(mid) = heard.sender_ntp_mid {
            self.their_report = Some((mid, now));
        }
        let about = heard.about_us.filter(|a| a.last_report_ntp_mid != 0)?;
        let trip = ntp_mid_now
            .wrapping_sub(about.last_report_ntp_mid)
            .wrapping_sub(about.delay);
        // A party with a bad clock must not report a round trip of hours, or a negative one.
        let sane = trip < 60 << 16;
        sane.then(|| ((u64::from(trip) * 1_000_000) >> 16) as u32)
    }

    /// Writes a compound packet: report, name, and BYE if the leg closes. Returns its length.
    //= RFC 3550 §6.1
    //# Reception statistics (in SR or RR) should be sent as often as bandwidth constraints will
    //# allow to maximize the resolution of the statistics, therefore each periodically transmitted
    //# compound RTCP packet MUST include a report packet.
    //= RFC 3550 §6.1
    //# New receivers need to receive the CNAME for a source as soon as possible to identify the
    //# source and to begin associating media for purposes such as lip-sync, so each compound RTCP
    //# packet MUST also include the SDES CNAME except when the compound RTCP packet is split for
    //# partial encryption as described in Section 9.1.
    //= RFC 3550 §6.1
    //# Thus, all RTCP packets MUST be sent in a compound packet of at least two individual packets,
    //# with the following format:
    //= RFC 3550 §6.1
    //# The first RTCP packet in the compound packet MUST always be a report packet to facilitate
    //# header validation as described in Appendix A.2. This is true even if no data has been sent
    //# or received, in which case an empty RR MUST be sent, and even if the only other RTCP packet
    //# in the compound packet is a BYE.
    //= RFC 3550 §6.1
    //# An SDES packet containing a CNAME item MUST be included in each compound RTCP packet, except
    //# as noted in Section 9.1.
    //= RFC 3550 §6.1
    //# Note that each of the compound packets MUST begin with an SR or RR packet.
    //= RFC 3550 §6.4.2
    //# An empty RR packet (RC = 0) MUST be put at the head of a compound RTCP packet when there is
    //# no data transmission or reception to report.
    //= RFC 3550 §6.5.1
    //# Because the randomly allocated SSRC identifier may change if a conflict is discovered or if
    //# a program is restarted, the CNAME item MUST be included to provide the binding from the SSRC
    //# identifier to an identifier for the source (sender or receiver) that remains constant.
    pub fn write(
        &mut self,
        now: Time,
        us: &Ourselves,
        them: Option<BlockFigures>,
        bye: bool,
        into: &mut [u8; COMPOUND_BYTES_MAX],
    ) -> usize {
        let sent = us.packets != self.packets_prior;
        self.packets_prior = us.packets;
        let mut out = Out {
            bytes: into,
            len: 0,
        };
        let blocks = u8::from(them.is_some());
        let report_words = if sent { 7 } else { 2 } + 6 * u16::from(blocks) - 1;
        let kind = if sent { SENDER_REPORT } else { RECEIVER_REPORT };
        out.head(blocks, kind, report_words);
        out.u32(us.ssrc);
        if sent {
            out.u32((us.ntp >> 32) as u32);
            out.u32(us.ntp as u32);
            out.u32(us.timestamp);
            out.u32(us.packets as u32);
            out.u32(us.octets as u32);
        }
        if let Some(them) = them {
            self.write_block(now, &them, &mut out);
        }
        // One chunk: SSRC, CNAME (type 1), end of list, filled to a word.
        out.head(1, SOURCE_DESCRIPTION, 6);
        out.u32(us.ssrc);
        out.put(&[1, 16]);
        out.put(&self.name);
        //= RFC 3550 §6.5
        //# The list of items in each chunk MUST be terminated by one or more null octets, the first
        //# of which is interpreted as an item type of zero to denote the end of the list. No length
        //# octet follows the null item type octet, but additional null octets MUST be included if
        //# needed to pad until the next 32-bit boundary.
        out.put(&[0, 0]);
        if bye {
            out.head(1, BYE, 1);
            out.u32(us.ssrc);
        }
        out.len
    }

    fn write_block(&self, now: Time, them: &BlockFigures, out: &mut Out<'_>) {
        out.u32(them.ssrc);
        out.u32(u32::from(them.fraction_lost) << 24 | them.lost as u32 & 0xff_ffff);
        out.u32(them.seq_ext_max);
        out.u32(them.jitter);
        let (mid, at) = self.their_report.unwrap_or((0, now));
        out.u32(mid);
        out.u32(((now.since(at).as_nanos() << 16) / 1_000_000_000) as u32);
    }
}

/// Half to one and a half times `mean`, so that reports of many legs do not fall together.
fn spread(mean: Duration, random: &mut Random) -> Duration {
    mean / 2 + mean.mul_f64(random.fraction())
}

struct Out<'a> {
    bytes: &'a mut [u8; COMPOUND_BYTES_MAX],
    len: usize,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    fn head(&mut self, count: u8, kind: u8, words_less_one: u16) {
        let [high, low] = words_less_one.to_be_bytes();
        //= RFC 3550 §6.4.1
        //# Thus, padding MUST only be added to the last individual packet, and if padding is added
        //# to that packet, the padding bit MUST be set only on that packet.
        self.put(&[0x80 | count, kind, high, low]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Ourselves = Ourselves {
        ssrc: 0x11,
        ntp: 0x1122_3344_5566_7788,
        timestamp: 9,
        packets: 3,
        octets: 480,
    };

    fn block() -> BlockFigures {
        BlockFigures {
            ssrc: 0x22,
            fraction_lost: 64,
            lost: -2,
            seq_ext_max: 0x1_0005,
            jitter: 4,
        }
    }

    //= RFC 3550 §6.1 type=test
    //# Each RTCP packet begins with a fixed part similar to that of RTP data packets, followed by
    //# structured elements that MAY be of variable length according to the packet type but MUST end
    //# on a 32-bit boundary.
    //= RFC 3550 §6.1 type=test
    //# Reception statistics (in SR or RR) should be sent as often as bandwidth constraints will
    //# allow to maximize the resolution of the statistics, therefore each periodically transmitted
    //# compound RTCP packet MUST include a report packet.
    //= RFC 3550 §6.1 type=test
    //# New receivers need to receive the CNAME for a source as soon as possible to identify the
    //# source and to begin associating media for purposes such as lip-sync, so each compound RTCP
    //# packet MUST also include the SDES CNAME except when the compound RTCP packet is split for
    //# partial encryption as described in Section 9.1.
    //= RFC 3550 §6.1 type=test
    //# Thus, all RTCP packets MUST be sent in a compound packet of at least two individual packets,
    //# with the following format:
    //= RFC 3550 §6.1 type=test
    //# The first RTCP packet in the compound packet MUST always be a report packet to facilitate
    //# header validation as described in Appendix A.2.
    //= RFC 3550 §6.1 type=test
    //# An SDES packet containing a CNAME item MUST be included in each compound RTCP packet, except
    //# as noted in Section 9.1.
    //= RFC 3550 §6.1 type=test
    //# Note that each of the compound packets MUST begin with an SR or RR packet.
    //= RFC 3550 §6.4.1 type=test
    //# Thus, padding MUST only be added to the last individual packet, and if padding is added to
    //# that packet, the padding bit MUST be set only on that packet.
    //= RFC 3550 §6.5 type=test
    //# The list of items in each chunk MUST be terminated by one or more null octets, the first of
    //# which is interpreted as an item type of zero to denote the end of the list. No length octet
    //# follows the null item type octet, but additional null octets MUST be included if needed to
    //# pad until the next 32-bit boundary.
    //= RFC 3550 §6.5.1 type=test
    //# Because the randomly allocated SSRC identifier may change if a conflict is discovered or if
    //# a program is restarted, the CNAME item MUST be included to provide the binding from the SSRC
    //# identifier to an identifier for the source (sender or receiver) that remains constant.
    #[test]
    fn golden_sender_report() {
        let mut reporter = Reporter::new(Time(0), &mut Random::new(1));
        reporter.name = *b"0123456789abcdef";
        reporter.their_report = Some((0xaabb_ccdd, Time(0)));
        let mut bytes = [0; COMPOUND_BYTES_MAX];
        let len = reporter.write(Time(500_000_000), &US, Some(block()), true, &mut bytes);
        #[rustfmt::skip]
        let expected: &[u8] = &[
            0x81, 200, 0, 12, 0, 0, 0, 0x11,
            0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
            0, 0, 0, 9, 0, 0, 0, 3, 0, 0, 1, 0xe0,
            0, 0, 0, 0x22, 64, 0xff, 0xff, 0xfe, 0, 1, 0, 5, 0, 0, 0, 4,
            0xaa, 0xbb, 0xcc, 0xdd, 0, 0, 0x80, 0,
            0x81, 202, 0, 6, 0, 0, 0, 0x11, 1, 16,
            b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'8', b'9',
            b'a', b'b', b'c', b'd', b'e', b'f', 0, 0,
            0x81, 203, 0, 1, 0, 0, 0, 0x11,
        ];
        assert_eq!(&bytes[..len], expected);
    }

    #[test]
    fn what_we_write_we_read_and_a_round_trip_comes_out() {
        let (mut a, mut b) = (
            Reporter::new(Time(0), &mut Random::new(1)),
            Reporter::new(Time(0), &mut Random::new(2)),
        );
        let mut bytes = [0; COMPOUND_BYTES_MAX];
        let len = a.write(Time(0), &US, None, false, &mut bytes);
        let heard = parse(&bytes[..len], 0x99).unwrap();
        assert_eq!(heard.sender_ntp_mid, Some(0x3344_5566));
        b.on_heard(Time(1_000_000_000), 0, &heard);

        let them = Ourselves {
            ssrc: 0x22,
            packets: 0,
            ..US
        };
        let figures = BlockFigures {
            ssrc: 0x11,
            ..block()
        };
        let len = b.write(Time(1_500_000_000), &them, Some(figures), false, &mut bytes);
        assert_eq!(bytes[1], RECEIVER_REPORT);
        let heard = parse(&bytes[..len], 0x11).unwrap();
        assert_eq!(heard.about_us.unwrap().fraction_lost, 64);
        // Half a second at the other side, a quarter on the way.
        let mid_now = 0x3344_5566 + (3 << 14);
        assert_eq!(a.on_heard(Time(0), mid_now, &heard), Some(250_000));
    }

    //= RFC 3550 §6.1 type=test
    //# This is true even if no data has been sent or received, in which case an empty RR MUST be
    //# sent, and even if the only other RTCP packet in the compound packet is a BYE.
    //= RFC 3550 §6.4.2 type=test
    //# An empty RR packet (RC = 0) MUST be put at the head of a compound RTCP packet when there is
    //# no data transmission or reception to report.
    #[test]
    fn nothing_sent_or_heard_is_an_empty_receiver_report() {
        let mut reporter = Reporter::new(Time(0), &mut Random::new(1));
        let mut bytes = [0; COMPOUND_BYTES_MAX];
        let silent = Ourselves { packets: 0, ..US };
        let len = reporter.write(Time(0), &silent, None, true, &mut bytes);
        assert_eq!(bytes[..8], [0x80, 201, 0, 1, 0, 0, 0, 0x11]);
        assert_eq!(bytes[8..10], [0x81, 202]);
        assert_eq!(bytes[len - 8..len], [0x81, 203, 0, 1, 0, 0, 0, 0x11]);
    }

    #[test]
    fn what_is_not_rtcp_is_refused() {
        let receiver_report = [0x80, 201, 0, 1, 0, 0, 0, 1];
        assert_eq!(parse(&receiver_report, 1), Ok(Heard::default()));
        assert_eq!(parse(&[], 1), Err(Malformed));
        assert_eq!(parse(&receiver_report[..7], 1), Err(Malformed), "short");
        assert_eq!(
            parse(&[0x80, 200, 0, 1, 0, 0, 0, 1], 1),
            Err(Malformed),
            "no sender info"
        );
        assert_eq!(
            parse(&[0x81, 201, 0, 1, 0, 0, 0, 1], 1),
            Err(Malformed),
            "no block"
        );
        assert_eq!(
            parse(&[0x81, 203, 0, 1, 0, 0, 0, 1], 1),
            Err(Malformed),
            "begins with BYE"
        );
        assert_eq!(
            parse(&[0x40, 201, 0, 1, 0, 0, 0, 1], 1),
            Err(Malformed),
            "version 1"
        );
        let mut garbage_behind = receiver_report.to_vec();
        garbage_behind.push(0x80);
        assert_eq!(parse(&garbage_behind, 1), Err(Malformed));
    }
}
