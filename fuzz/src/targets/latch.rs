//! Latching: once a second has passed since the party was first heard, or once the latch says
//! that it has settled, nothing but signalling moves the address; and who is not the party is
//! never taken for it.

use std::net::SocketAddr;
use std::time::Duration;

use tandem_engine::latch::{LEARNING, Latch, Source};
use tandem_storage::time::Time;

use crate::feed::Feed;

pub(super) fn run(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let mut story = Story::default();
    while !feed.is_empty() {
        match feed.below(4) {
            0 => story.signal(&mut feed),
            1 => story.now = story.now + Duration::from_millis(feed.below(1500) as u64),
            _ => story.packet(address(&mut feed)),
        }
        let due = story.latch.deadline(story.now);
        assert!(
            due.is_none_or(|due| due > story.now),
            "settled by itself, and does not say so"
        );
    }
}

#[derive(Default)]
struct Story {
    latch: Latch,
    now: Time,
    signalled: Option<SocketAddr>,
    may_learn: bool,
    /// When the party was first heard since signalling last moved it.
    heard: Option<Time>,
}

impl Story {
    fn signal(&mut self, feed: &mut Feed<'_>) {
        let signalled = (!feed.one_in(4)).then(|| address(feed));
        let may_learn = !feed.one_in(4);
        if (signalled, may_learn) != (self.signalled, self.may_learn) {
            self.heard = None;
        }
        (self.signalled, self.may_learn) = (signalled, may_learn);
        self.latch.set(signalled, may_learn);
    }

    fn packet(&mut self, from: SocketAddr) {
        let before = self.latch.address();
        let settled = self.latch.settled(self.now);
        let late = self
            .heard
            .is_some_and(|heard| self.now.since(heard) >= LEARNING);
        let source = self.latch.on_packet(self.now, from);
        let after = self.latch.address();
        match source {
            Source::Stranger => assert_eq!(after, before, "a stranger moved the party"),
            Source::Party => assert_eq!((before, after), (Some(from), Some(from))),
            Source::PartyMoved => {
                assert_eq!(after, Some(from));
                assert!(!settled && !late && self.may_learn, "a stranger won");
            }
        }
        if source != Source::Stranger {
            self.heard.get_or_insert(self.now);
        }
    }
}

/// Few hosts with few ports, so that they meet.
fn address(feed: &mut Feed<'_>) -> SocketAddr {
    let choice = feed.byte();
    SocketAddr::from(([192, 0, 2, choice & 3], 4000 + u16::from(choice >> 2 & 3)))
}
