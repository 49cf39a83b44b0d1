//! RTCP: what each side tells the other about what it sends and hears.
//!
//! The leg hands in what its odd port received and sends what is built here about every five
//! seconds: a sender report (receiver report, if nothing was sent since), our name, and a BYE when
//! the leg closes. Of what the party says, only what concerns us is kept.
//!
//! The packets are read and written by `rtcp-types`. A compound is taken apart here: the crate's
//! own walk copies the names in it to the heap, and ends at the first packet that it cannot read.
//!
//! Sources: RFC 3550 §6.1 (compound), §6.3.1 (interval, simplified: two parties), §6.4 (reports),
//! §6.5 (SDES), §6.6 (BYE), §A.2 (validity).

use std::time::Duration;

use rtcp_types::prelude::*;
use rtcp_types::utils::parser;
use rtcp_types::{
    Bye, ReceiverReport, ReportBlock, ReportBlockBuilder, Sdes, SdesChunk, SdesItem, SenderReport,
};
use tandem_storage::time::Time;

use crate::random::Random;
use crate::seq::BlockFigures;

/// The largest compound packet built here.
pub const COMPOUND_BYTES_MAX: usize = 128;
/// The mean time between reports.
const INTERVAL: Duration = Duration::from_secs(5);

const HEADER_BYTES: usize = 4;
const CNAME_CHARS: usize = 16;

/// What a compound packet from the party says, as far as it concerns us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartyReport {
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

/// Reads a compound packet. Every report in it must be whole; other kinds are passed over.
pub fn parse(bytes: &[u8], our_ssrc: u32) -> Result<PartyReport, Malformed> {
    let mut said = PartyReport::default();
    let mut rest = bytes;
    let mut first = true;
    while !rest.is_empty() {
        let (packet, after) = split(rest)?;
        let kind = parser::parse_packet_type(packet);
        let is_report = matches!(
            kind,
            SenderReport::PACKET_TYPE | ReceiverReport::PACKET_TYPE
        );
        if first && (!is_report || parser::parse_padding_bit(packet)) {
            return Err(Malformed);
        }
        match kind {
            SenderReport::PACKET_TYPE => {
                let report = SenderReport::parse(packet).map_err(|_| Malformed)?;
                said.sender_ntp_mid = Some((report.ntp_timestamp() >> 16) as u32);
                said.note(report.report_blocks(), our_ssrc);
            }
            ReceiverReport::PACKET_TYPE => {
                let report = ReceiverReport::parse(packet).map_err(|_| Malformed)?;
                said.note(report.report_blocks(), our_ssrc);
            }
            // A reason that is written badly does not take back the report before it.
            Bye::PACKET_TYPE => said.bye |= Bye::parse(packet).is_ok(),
            _ => {}
        }
        first = false;
        rest = after;
    }
    if first { Err(Malformed) } else { Ok(said) }
}

/// One packet of a compound, and what follows it.
//= RFC 3550 §6.1
//# Each RTCP packet begins with a fixed part similar to that of RTP data packets, followed by
//# structured elements that MAY be of variable length according to the packet type but MUST end on
//# a 32-bit boundary.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    // The crate's helpers index without asking.
    let is_header = bytes.len() >= HEADER_BYTES && parser::parse_version(bytes) == Bye::VERSION;
    let len = is_header.then(|| parser::parse_length(bytes));
    len.and_then(|len| bytes.split_at_checked(len))
        .ok_or(Malformed)
}

impl PartyReport {
    fn note<'a>(&mut self, blocks: impl Iterator<Item = ReportBlock<'a>>, our_ssrc: u32) {
        for block in blocks.filter(|block| block.ssrc() == our_ssrc) {
            self.about_us = Some(AboutUs {
                fraction_lost: block.fraction_lost(),
                last_report_ntp_mid: block.last_sender_report_timestamp(),
                delay: block.delay_since_last_sender_report_timestamp(),
            });
        }
    }
}

/// One leg's dealings in RTCP.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// Unguessable, and nobody's name or address (RFC 7022 §4.2).
    cname: Box<str>,
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
        let digits = (0..CNAME_CHARS).map(|_| (random.draw() >> 60) as u32);
        let cname: String = digits.filter_map(|d| char::from_digit(d, 16)).collect();
        // The first comes after half the interval (§6.2), so that short calls have figures, too.
        let due = now + spread(INTERVAL / 2, random);
        Reporter {
            cname: cname.into(),
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
    pub fn on_report(&mut self, now: Time, ntp_mid_now: u32, said: &PartyReport) -> Option<u32> {
        if let Some(mid) = said.sender_ntp_mid {
            self.their_report = Some((mid, now));
        }
        let about = said.about_us.filter(|a| a.last_report_ntp_mid != 0)?;
        let trip = ntp_mid_now
            .wrapping_sub(about.last_report_ntp_mid)
            .wrapping_sub(about.delay);
        // A party with a bad clock must not report a round trip of hours, or a negative one.
        let sane = trip < 60 << 16;
        sane.then(|| ((u64::from(trip) * 1_000_000) >> 16) as u32)
    }

    /// Writes a compound packet: report, name, and BYE if the leg closes. Returns its length.
    ///
    /// The crate's builders keep lists: a report costs up to four allocations of less than a
    /// kilobyte, once in five seconds.
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
        let block = them.map(|them| self.block(now, &them));
        let mut len = 0;
        if sent {
            let report = SenderReport::builder(us.ssrc)
                .ntp_timestamp(us.ntp)
                .rtp_timestamp(us.timestamp)
                .packet_count(us.packets as u32)
                .octet_count(us.octets as u32);
            let report = block.into_iter().fold(report, |r, b| r.add_report_block(b));
            append(&report, into, &mut len);
        } else {
            let report = ReceiverReport::builder(us.ssrc);
            let report = block.into_iter().fold(report, |r, b| r.add_report_block(b));
            append(&report, into, &mut len);
        }
        //= RFC 3550 §6.5
        //# The list of items in each chunk MUST be terminated by one or more null octets, the first
        //# of which is interpreted as an item type of zero to denote the end of the list. No length
        //# octet follows the null item type octet, but additional null octets MUST be included if
        //# needed to pad until the next 32-bit boundary.
        let name = SdesItem::builder(SdesItem::CNAME, &self.cname);
        let chunk = SdesChunk::builder(us.ssrc).add_item(name);
        append(&Sdes::builder().add_chunk(chunk), into, &mut len);
        if bye {
            append(&Bye::builder().add_source(us.ssrc), into, &mut len);
        }
        len
    }

    fn block(&self, now: Time, them: &BlockFigures) -> ReportBlockBuilder {
        let (mid, at) = self.their_report.unwrap_or((0, now));
        let delay = ((now.since(at).as_nanos() << 16) / 1_000_000_000) as u32;
        ReportBlock::builder(them.ssrc)
            .fraction_lost(them.fraction_lost)
            .cumulative_lost(them.lost as u32 & 0xff_ffff)
            .extended_sequence_number(them.seq_ext_max)
            .interarrival_jitter(them.jitter)
            .last_sender_report_timestamp(mid)
            .delay_since_last_sender_report_timestamp(delay)
    }
}

/// Writes one packet behind the others of a compound.
//= RFC 3550 §6.4.1
//# Thus, padding MUST only be added to the last individual packet, and if padding is added to that
//# packet, the padding bit MUST be set only on that packet.
fn append(packet: &impl RtcpPacketWriter, into: &mut [u8; COMPOUND_BYTES_MAX], len: &mut usize) {
    let written = packet.write_into(&mut into[*len..]);
    *len += written.expect("a compound of ours is short, and its figures in range");
}

/// Half to one and a half times `mean`, so that reports of many legs do not fall together.
fn spread(mean: Duration, random: &mut Random) -> Duration {
    mean / 2 + mean.mul_f64(random.fraction())
}

#[cfg(test)]
mod tests;
