//! Codecs: any packets, in any order, are samples or refused, never more of them than the longest
//! packet and the longest gap that is filled; what is said of them is of the length it should be.

use tandem_engine::codec::inbound::{Flow, Inbound};
use tandem_engine::codec::noise::{self, Noise};
use tandem_engine::codec::outbound::Outbound;
use tandem_engine::output::MADE_BYTES_MAX;
use tandem_engine::rtp::Header;
use tandem_engine::seam::{Codec, OpusConfig};

use crate::feed::Feed;

const CODECS: [Codec; 4] = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];
/// 120 ms of Opus, or as many bytes as are taken of another codec, and a gap of 100 ms.
const HEARD_MS_MAX: usize = 120 + 100;
const PACKETS_MAX: usize = 40;

pub(super) fn run(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let from = CODECS[feed.below(CODECS.len())];
    let to = CODECS[feed.below(CODECS.len())];
    let rate_hz = [8000, 16_000][feed.below(2)];
    let ptime_ms = 10 * (1 + feed.below(6) as u32);
    let mut inbound = Inbound::new(from, rate_hz).expect("there is memory");
    let rate_hz = inbound.rate_hz();
    let opus = OpusConfig {
        dtx: feed.one_in(2),
        ..OpusConfig::default()
    };
    let mut outbound = Outbound::new(to, rate_hz, ptime_ms, &opus).expect("there is memory");
    let (mut seq, mut timestamp) = (feed.u16(), feed.u32());
    for _ in 0..PACKETS_MAX {
        if feed.is_empty() {
            break;
        }
        let long = feed.one_in(4);
        let count = feed.below(if long { MADE_BYTES_MAX } else { 80 });
        let payload = feed.take(count);
        seq = match feed.below(8) {
            0 => seq.wrapping_add(2),
            1 => seq.wrapping_sub(1),
            2 => feed.u16(),
            _ => seq.wrapping_add(1),
        };
        let header = Header {
            marker: false,
            payload_type: 0,
            seq,
            timestamp,
            ssrc: u32::from(feed.one_in(20)),
        };
        let heard = inbound.on_packet(&header, payload);
        assert!(inbound.pcm().len() <= rate_hz as usize / 1000 * HEARD_MS_MAX);
        assert!(heard != Ok(Flow::Late) || inbound.pcm().is_empty());
        if heard.is_ok() {
            say(&mut outbound, inbound.pcm(), rate_hz);
        }
        timestamp = match feed.below(8) {
            0 => feed.u32(),
            1 => timestamp.wrapping_add(from.clock_hz() / 20),
            _ => timestamp.wrapping_add(from.ticks(payload)),
        };
    }
    make_noise(feed.take_rest());
}

fn say(outbound: &mut Outbound, pcm: &[i16], rate_hz: u32) {
    outbound.feed(pcm, rate_hz);
    let mut payload = [0; MADE_BYTES_MAX];
    let mut packets = 0;
    while let Some(encoded) = outbound.pop(&mut payload) {
        assert!(encoded.bytes <= MADE_BYTES_MAX && encoded.ticks > 0);
        packets += 1;
        assert!(
            packets <= HEARD_MS_MAX / 10 + 6,
            "more is said than was heard"
        );
    }
}

fn make_noise(payload: &[u8]) {
    if let Ok(mut noise) = Noise::parse(payload, 1) {
        let mut pcm = Vec::new();
        noise.make(320, &mut pcm);
        assert_eq!(pcm.len(), 320);
        noise::describe(&pcm);
    }
}
