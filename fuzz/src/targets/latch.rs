//! Latching: a stranger moves nothing; a party that was found is not lost to a source of a lower rank
//! while it speaks; the signalled address is always heard; single packets of any number of sources
//! get nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tandem_engine::latch::{CONSISTENT_HOST, Latch, Source};
use tandem_engine::rtp::Header;
use tandem_engine::seam::Learning;
use tandem_storage::time::Time;

use crate::feed::Feed;

pub(super) fn run(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let mut story = Story::default();
    while !feed.is_empty() {
        match feed.below(4) {
            0 => story.signal(&mut feed),
            1 => story.now = story.now + Duration::from_millis(feed.below(1500) as u64),
            _ => story.packets(&mut feed),
        }
    }
}

#[derive(Default)]
struct Story {
    latch: Latch,
    now: Time,
    signalled: Option<SocketAddr>,
    learning: Learning,
    /// The last packet of each source, and how many came in order up to it.
    runs: BTreeMap<SocketAddr, (u32, u16, u8)>,
}

impl Story {
    fn signal(&mut self, feed: &mut Feed<'_>) {
        let signalled = (!feed.one_in(4)).then(|| address(feed));
        self.signalled = signalled.or(self.signalled);
        self.learning = Learning {
            is_allowed: !feed.one_in(4),
            host: (!feed.one_in(4)).then(|| address(feed).ip()),
            anywhere: feed.one_in(2),
        };
        self.latch.set(signalled, self.learning);
    }

    /// A run of packets in order from one source.
    fn packets(&mut self, feed: &mut Feed<'_>) {
        let (from, count) = (address(feed), 1 + feed.below(10));
        let (ssrc, first) = (u32::from(feed.byte() & 3), u16::from(feed.byte()));
        for n in 0..count {
            let header = Header {
                marker: false,
                payload_type: 0,
                seq: first.wrapping_add(n as u16),
                timestamp: 0,
                ssrc,
            };
            self.packet(from, &header);
        }
    }

    fn packet(&mut self, from: SocketAddr, header: &Header) {
        let in_order = match self.runs.get(&from) {
            Some((ssrc, seq, count))
                if *ssrc == header.ssrc && header.seq.wrapping_sub(*seq).wrapping_sub(1) < 50 =>
            {
                count.saturating_add(1)
            }
            _ => 1,
        };
        self.runs.insert(from, (header.ssrc, header.seq, in_order));
        let (before, settled) = (self.latch.address(), self.latch.settled());
        let source = self.latch.on_packet(self.now, from, header);
        let after = self.latch.address();
        match source {
            Source::Stranger => {
                assert_eq!(after, before, "a stranger moved the party");
                let is_signalled = self.signalled == Some(from);
                assert!(!is_signalled, "the signalled address is a stranger");
            }
            Source::Party => assert_eq!((before, after), (Some(from), Some(from))),
            Source::PartyMoved => {
                assert_eq!(after, Some(from));
                assert!(!settled && self.learning.is_allowed, "a stranger won");
                let is_signalled = self.signalled == Some(from);
                let few = in_order < CONSISTENT_HOST;
                assert!(is_signalled || !few, "{in_order} packets won");
            }
        }
    }
}

/// Few hosts with few ports, so that they meet.
fn address(feed: &mut Feed<'_>) -> SocketAddr {
    let choice = feed.byte();
    SocketAddr::from(([192, 0, 2, choice & 3], 4000 + u16::from(choice >> 2 & 3)))
}
