//! Key presses: however packets are lost, doubled or overtake each other, one press is never
//! counted twice; and while none overtakes another, each press of which one packet came is
//! counted. Presses that we send are heard as they were meant.

use std::time::Duration;

use tandem_engine::dtmf::{Detector, Payload, Press};
use tandem_storage::time::Time;

use crate::feed::Feed;

const KEYS: &[u8; 16] = b"0123456789*#ABCD";
const PACKET_SAMPLES: u16 = 160;

pub(super) fn run(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let overtaking = feed.one_in(2);
    presses(&mut feed, overtaking);
    sent(feed.below(16), feed.below(40));
    any_packets(feed.take_rest());
}

/// A packet on its way, and which press it belongs to.
struct Packet {
    /// Its place in the order in which it was sent.
    order: usize,
    press: usize,
    timestamp: u32,
    payload: Payload,
}

fn presses(feed: &mut Feed<'_>, overtaking: bool) {
    let mut timestamp = feed.u32();
    let mut keys = Vec::new();
    let mut packets = Vec::new();
    for press in 0..feed.below(12) {
        let event = feed.byte() & 15;
        keys.push(char::from(KEYS[usize::from(event)]));
        let updates = 1 + feed.below(20) as u16;
        for n in 1..=updates + 2 {
            let end = n >= updates;
            let payload = Payload {
                event,
                end,
                duration: n.min(updates) * PACKET_SAMPLES,
            };
            packets.push(Packet {
                order: packets.len(),
                press,
                timestamp,
                payload,
            });
        }
        let gap = 1 + feed.below(4000) as u32;
        timestamp = timestamp.wrapping_add(u32::from(updates * PACKET_SAMPLES) + gap);
    }
    lose_and_double(feed, &mut packets);
    if overtaking {
        overtake(feed, &mut packets);
    }
    let came: Vec<usize> = packets.iter().map(|p| p.press).collect();
    let mut detector = Detector::default();
    let mut heard = Vec::new();
    let mut newest = None;
    for packet in packets {
        let is_late = newest >= Some(packet.order);
        newest = newest.max(Some(packet.order));
        if let Some(digit) = detector.on_packet(packet.timestamp, is_late, packet.payload) {
            assert_eq!(digit, keys[packet.press]);
            heard.push(packet.press);
        }
    }
    assert!(
        heard.is_sorted_by(|a, b| a < b),
        "counted twice or out of order: {heard:?}"
    );
    if !overtaking {
        let mut each = came;
        each.dedup();
        assert_eq!(heard, each, "a press was missed");
    }
}

fn lose_and_double(feed: &mut Feed<'_>, packets: &mut Vec<Packet>) {
    let mut copies: Vec<Packet> = Vec::new();
    for packet in packets.drain(..) {
        for _ in 0..[1, 1, 0, 2][usize::from(feed.byte() & 3)] {
            copies.push(Packet { ..packet });
        }
    }
    *packets = copies;
}

fn overtake(feed: &mut Feed<'_>, packets: &mut [Packet]) {
    for at in 1..packets.len() {
        let back = feed.below(4);
        packets.swap(at, at.saturating_sub(back));
    }
}

/// What we send is one press to whoever listens, and it ends.
fn sent(key: usize, late_ms: usize) {
    let digit = char::from(KEYS[key]);
    let mut press = Press::new(Time(0), digit).expect("a key");
    let (mut detector, mut now, mut heard) = (Detector::default(), Time(0), String::new());
    for n in 0.. {
        assert!(n < 100, "a press that never ends");
        let Some(packet) = press.next(now) else { break };
        heard.extend(detector.on_packet(800, false, packet.payload));
        now = now + Duration::from_millis(20 + late_ms as u64);
    }
    assert_eq!(heard, digit.to_string());
}

/// Anything at all: no more digits than packets, and what is read can be written.
fn any_packets(bytes: &[u8]) {
    let mut detector = Detector::default();
    for packet in bytes.chunks(8) {
        let (timestamp, payload) = packet.split_at(packet.len().min(4));
        let Some(payload) = Payload::parse(payload) else {
            continue;
        };
        assert_eq!(Payload::parse(&payload.to_bytes()), Some(payload));
        let timestamp = timestamp.iter().fold(0, |t, b| t << 8 | u32::from(*b));
        detector.on_packet(timestamp, false, payload);
        assert_eq!(
            detector.on_packet(timestamp, false, payload),
            None,
            "the same packet twice"
        );
    }
}
