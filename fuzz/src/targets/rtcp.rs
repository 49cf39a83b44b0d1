//! RTCP: what a party says gives no absurd round trip, and what we write of it reads back.

use tandem_engine::random::Random;
use tandem_engine::rtcp::{self, COMPOUND_BYTES_MAX, Ourselves, Reporter};
use tandem_engine::seq::BlockFigures;
use tandem_storage::time::Time;

use crate::feed::Feed;

const OUR_SSRC: u32 = 0x1111_1111;
const ROUND_TRIP_US_MAX: u32 = 60_000_000;

pub(super) fn run(bytes: &[u8]) {
    let mut reporter = Reporter::new(Time(0), &mut Random::new(1));
    if let Ok(said) = rtcp::parse(bytes, OUR_SSRC) {
        assert!(bytes.len() >= 8, "a report is two words or more");
        let mid = said
            .about_us
            .map_or(0, |a| a.last_report_ntp_mid)
            .wrapping_add(0x1_0000);
        let trip = reporter.on_report(Time(1_000_000_000), mid, &said);
        assert!(trip.is_none_or(|us| us <= ROUND_TRIP_US_MAX));
    }
    write(&mut reporter, &mut Feed::new(bytes));
}

/// A report with any figures in it fits, and is one.
fn write(reporter: &mut Reporter, feed: &mut Feed<'_>) {
    let us = Ourselves {
        ssrc: OUR_SSRC,
        ntp: u64::from(feed.u32()) << 32 | u64::from(feed.u32()),
        timestamp: feed.u32(),
        packets: u64::from(feed.u32()),
        octets: u64::from(feed.u32()) << 8,
    };
    let figures = BlockFigures {
        ssrc: feed.u32(),
        fraction_lost: feed.byte(),
        lost: feed.u32() as i32 >> 8,
        seq_ext_max: feed.u32(),
        jitter: feed.u32(),
    };
    let (them, bye) = ((!feed.one_in(3)).then_some(figures), feed.one_in(2));
    let mut out = [0; COMPOUND_BYTES_MAX];
    let len = reporter.write(Time(2_000_000_000), &us, them, bye, &mut out);
    let read = rtcp::parse(&out[..len], figures.ssrc).expect("what we write is RTCP");
    assert_eq!(read.bye, bye);
    assert_eq!(
        read.about_us.map(|a| a.fraction_lost),
        them.map(|t| t.fraction_lost)
    );
    let sent = read.sender_ntp_mid.is_some();
    assert!(!sent || read.sender_ntp_mid == Some((us.ntp >> 16) as u32));
}
