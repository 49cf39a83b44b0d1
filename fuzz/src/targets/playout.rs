//! The playout buffer: whatever comes, and whenever, frames are whole, what is kept is bounded, and a
//! party that has stopped is silent soon.

use std::time::Duration;

use tandem_engine::playout::Playout;
use tandem_engine::rtp::Header;
use tandem_engine::seam::Codec;
use tandem_storage::time::Time;

use crate::feed::Feed;

/// Frames after which nothing that came can still be heard: all that is kept, and what is made up.
const FRAMES_MAX: usize = 700;

pub(super) fn run(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let codecs = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];
    let codec = codecs[feed.below(codecs.len())];
    let Some(mut playout) = Playout::new(codec, 16_000) else {
        return;
    };
    let mut now = Time(1_000_000);
    let mut header = Header {
        marker: false,
        payload_type: 0,
        seq: feed.u16(),
        timestamp: u32::from(feed.u16()) << 16,
        ssrc: 1,
    };
    let mut frame = vec![0; playout.frame_samples()];
    while !feed.is_empty() {
        match feed.byte() {
            0..=0x7f => {}
            0x80..=0x9f => header.seq = header.seq.wrapping_add(feed.below(8) as u16),
            0xa0..=0xaf => header.timestamp = header.timestamp.wrapping_sub(feed.u16().into()),
            0xb0..=0xbf => header.timestamp = u32::from(feed.u16()) << 16,
            0xc0..=0xc7 => header.ssrc = feed.below(3) as u32,
            _ => {
                for _ in 0..=feed.below(12) {
                    now = now + Duration::from_millis(20);
                    frame.fill(1);
                    if !playout.frame(&mut frame) {
                        assert!(frame.iter().all(|s| *s == 0), "silence is not silent");
                    }
                }
            }
        }
        now = now + Duration::from_millis(feed.below(40) as u64);
        let len = [160, 80, 1, 0, 240, 480, 1600][feed.below(7)];
        let payload = match codec {
            Codec::Opus => feed.take(len.min(60)).to_vec(),
            _ => vec![feed.byte(); len],
        };
        playout.on_packet(now, &header, &payload);
        header.seq = header.seq.wrapping_add(1);
        header.timestamp = header.timestamp.wrapping_add(codec.ticks(&payload));
    }
    let heard = (0..FRAMES_MAX)
        .take_while(|_| playout.frame(&mut frame))
        .count();
    assert!(heard < FRAMES_MAX, "it is never silent");
}
