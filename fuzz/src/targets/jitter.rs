//! The jitter buffer against a model: packets come out in order, each at most once, with the
//! payload they came in with; nothing stays beyond its deadline.

use std::collections::HashMap;
use std::time::Duration;

use tandem_engine::jitter::{HELD_MAX, Jitter, Offer, PAYLOAD_BYTES_MAX};
use tandem_storage::time::Time;

use crate::feed::Feed;

pub(super) fn run(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let mut story = Story {
        jitter: Box::default(),
        now: Time(1),
        taken: None,
        offered: HashMap::new(),
    };
    let mut seq = feed.u16();
    while !feed.is_empty() {
        match feed.byte() {
            0..=0x9f => seq = seq.wrapping_add(1),
            0xa0..=0xbf => seq = seq.wrapping_add(feed.below(HELD_MAX * 2) as u16),
            0xc0..=0xdf => seq = seq.wrapping_sub(feed.below(HELD_MAX * 2) as u16),
            0xe0..=0xef => seq = feed.u16(),
            0xf0..=0xfb => story.wait(Duration::from_millis(feed.below(200) as u64)),
            _ => story.reset(),
        }
        story.offer(seq, usize::from(feed.byte()) * 2);
    }
    story.wait(Duration::from_secs(1));
    assert_eq!(story.jitter.deadline(), None, "something waits for ever");
}

struct Story {
    jitter: Box<Jitter>,
    now: Time,
    /// The sequence number that came out last.
    taken: Option<u16>,
    /// Payload lengths offered under a sequence number since it last came out.
    offered: HashMap<u16, Vec<usize>>,
}

impl Story {
    fn offer(&mut self, seq: u16, len: usize) {
        let payload = vec![seq as u8; len.min(PAYLOAD_BYTES_MAX + 1)];
        self.offered.entry(seq).or_default().push(payload.len());
        let outcome = self.jitter.offer(self.now, seq, u32::from(seq), &payload);
        if outcome == Offer::InOrder {
            self.out(seq, payload.len());
        }
        self.drain();
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.drain();
    }

    fn reset(&mut self) {
        self.jitter.reset();
        self.taken = None;
    }

    fn drain(&mut self) {
        while let Some(held) = self.jitter.pop(self.now) {
            let (seq, len) = (held.timestamp as u16, held.payload().len());
            assert!(
                held.payload().iter().all(|b| *b == seq as u8),
                "another packet's samples"
            );
            self.out(seq, len);
        }
        let due = self.jitter.deadline();
        assert!(
            due.is_none_or(|due| due > self.now),
            "overdue and not given"
        );
    }

    fn out(&mut self, seq: u16, len: usize) {
        let next = self.taken.map_or(seq, |last| last.wrapping_add(1));
        assert!(
            seq.wrapping_sub(next) as i16 >= 0,
            "{seq} after {:?}",
            self.taken
        );
        self.taken = Some(seq);
        let offered = self.offered.remove(&seq).unwrap_or_default();
        assert!(offered.contains(&len), "{seq} came out as it never came in");
    }
}
