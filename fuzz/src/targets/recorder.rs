//! A recording, whatever packets it is made of: its pieces follow each other without a gap, are
//! never longer than half a second, never more than the limit in all; it ends when it must, and
//! says of itself what it gave.

use std::time::Duration;

use tandem_engine::recorder::Recorder;
use tandem_engine::seam::{Codec, RecordEnd};
use tandem_storage::block::{CHUNK_SAMPLES_MAX, ChunkBlock};
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::feed::Feed;

const SAMPLES_PER_MS: u64 = 8;

pub(super) fn run(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let limit = Duration::from_millis(feed.below(4000) as u64);
    let silence = (!feed.one_in(3)).then(|| Duration::from_millis(500 + feed.below(3000) as u64));
    let sound = Id {
        node: "office".parse().expect("a legal name"),
        epoch: 1,
        number: 1,
    };
    let mut story = Story {
        recorder: Recorder::new(Time(0), sound, Codec::Pcmu, limit, silence),
        now: Time(0),
        index: 0,
        samples: 0,
        refuses: false,
    };
    let (mut seq, mut timestamp) = (feed.u16(), feed.u32());
    while !feed.is_empty() && story.recorder.end().is_none() {
        match feed.byte() {
            0..=0xaf => (seq, timestamp) = (seq.wrapping_add(1), timestamp.wrapping_add(160)),
            0xb0..=0xbf => seq = seq.wrapping_sub(feed.below(4) as u16),
            0xc0..=0xcf => timestamp = timestamp.wrapping_add(feed.below(2000) as u32),
            0xd0..=0xd7 => (seq, timestamp) = (feed.u16(), feed.u32()),
            0xd8..=0xdf => story.recorder.on_source_change(),
            0xe0..=0xef => story.wait(Duration::from_millis(feed.below(1000) as u64)),
            0xf0..=0xf7 => story.refuses = true,
            _ => story.refuses = false,
        }
        let level = feed.byte();
        story
            .recorder
            .on_sound(story.now, seq, timestamp, &vec![level; feed.below(500)]);
        story.wait(Duration::from_millis(20));
    }
    story.finish(limit);
}

struct Story {
    recorder: Recorder,
    now: Time,
    index: u32,
    samples: u64,
    /// The log has no room just now.
    refuses: bool,
}

impl Story {
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.recorder.deadline() <= end && self.recorder.deadline() > self.now {
            self.now = self.recorder.deadline();
            self.recorder.on_time(self.now);
            self.take();
        }
        self.now = end;
    }

    fn take(&mut self) {
        while let Some((index, block)) = self.recorder.take_chunk() {
            assert_eq!(index, self.index, "a piece is missing, or comes twice");
            let samples = block.samples().len();
            assert!(samples > 0 && samples <= CHUNK_SAMPLES_MAX);
            if self.refuses {
                return self.recorder.on_refused(index, block);
            }
            self.index += 1;
            self.samples += samples as u64;
            self.recorder.on_taken(ChunkBlock::new());
        }
    }

    fn finish(mut self, limit: Duration) {
        self.recorder.finish(self.now, RecordEnd::Stopped);
        self.take();
        self.now = self.now + Duration::from_secs(3);
        self.take();
        let done = self.recorder.done(self.now).expect("it has had its time");
        assert_eq!(done.samples, self.samples, "it miscounts");
        assert!(done.samples_speech <= done.samples);
        assert!(
            done.samples <= limit.as_millis() as u64 * SAMPLES_PER_MS,
            "beyond the limit"
        );
    }
}
