//! Parties that speak different codecs hear each other: tones at their level, without a jump in the
//! numbers, whatever changes meanwhile.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tandem_engine::codec::inbound::{Flow, Inbound};
use tandem_engine::codec::outbound::Outbound;
use tandem_engine::output::{Channel, MADE_BYTES_MAX, Output, Slot};
use tandem_engine::prompts::{Prompt, Prompts};
use tandem_engine::rtp::{self, Header};
use tandem_engine::seam::*;
use tandem_engine::worker::Worker;
use tandem_storage::block::ChunkBlock;
use tandem_storage::time::Time;

const RATE: f64 = 8000.0;

fn number(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::Opus => 111,
    }
}

/// A party that hums and listens, with codecs of its own.
struct Party {
    slot: Slot,
    codec: Codec,
    mouth: Outbound,
    ear: Inbound,
    header: Header,
    hz: f64,
    said: usize,
    heard: Vec<i16>,
    /// Packets whose sound did not follow on what came before.
    breaks: usize,
    last: Option<Header>,
    events: Vec<(u32, u16)>,
}

struct World {
    worker: Worker,
    now: Time,
    parties: BTreeMap<u64, Party>,
    log: Vec<u8>,
    told: Vec<Event>,
}

impl World {
    fn new() -> World {
        let mut prompts = Prompts::default();
        prompts.insert("hum", Prompt::from_linear(&sine(600.0, 0, 16_000)));
        World {
            worker: Worker::new(Arc::new(prompts), Duration::from_secs(30), 7),
            now: Time(1_000_000_000),
            parties: BTreeMap::new(),
            log: Vec::new(),
            told: Vec::new(),
        }
    }

    fn party(&mut self, leg: u64, codec: Codec, ptime_ms: u8, hz: f64) {
        let slot = self.worker.open(self.now, LegId(leg)).unwrap();
        let header = Header {
            marker: false,
            payload_type: number(codec),
            seq: 65_500,
            timestamp: u32::MAX - 9000,
            ssrc: leg as u32,
        };
        let party = Party {
            slot,
            codec,
            mouth: Outbound::new(codec, 16_000, u32::from(ptime_ms), &OpusConfig::default())
                .unwrap(),
            ear: Inbound::new(codec, 16_000).unwrap(),
            header,
            hz,
            said: 0,
            heard: Vec::new(),
            breaks: 0,
            last: None,
            events: Vec::new(),
        };
        self.parties.insert(leg, party);
        self.set(leg, codec, ptime_ms);
    }

    fn set(&mut self, leg: u64, codec: Codec, ptime_ms: u8) {
        let remote: SocketAddr = ([192, 0, 2, leg as u8], 4000).into();
        let params = MediaParams {
            remote_rtp: Some(remote),
            remote_rtcp: None,
            codec,
            payload_type: number(codec),
            dtmf_payload_type: Some(101),
            receives: vec![
                (number(codec), Receives::Sound(codec)),
                (101, Receives::Keys),
            ],
            dtmf_clock_hz: codec.clock_hz(),
            ptime_ms,
            send: true,
            receive: true,
            learning: Learning::OFF,
        };
        self.command(Command::Set {
            leg: LegId(leg),
            params,
        });
    }

    fn change_codec(&mut self, leg: u64, codec: Codec) {
        let party = self.parties.get_mut(&leg).unwrap();
        party.codec = codec;
        party.mouth = Outbound::new(codec, 16_000, 20, &OpusConfig::default()).unwrap();
        party.ear = Inbound::new(codec, 16_000).unwrap();
        party.header.payload_type = number(codec);
        party.last = None;
        self.set(leg, codec, 20);
    }

    fn command(&mut self, command: Command) {
        self.worker.on_command(self.now, command);
        self.drain();
    }

    fn bridge(&mut self) {
        self.command(Command::Bridge {
            a: LegId(1),
            b: LegId(2),
        });
    }

    /// So many times 10 ms in which all hum.
    fn talk(&mut self, steps: usize) {
        for _ in 0..steps {
            self.pass(10);
            let mut legs: Vec<u64> = self.parties.keys().copied().collect();
            legs.sort_unstable();
            for leg in legs {
                let party = self.parties.get_mut(&leg).unwrap();
                let pcm = sine(party.hz, party.said, 80);
                party.said += 80;
                party.mouth.feed(&pcm, 8000);
                let mut payload = [0; MADE_BYTES_MAX];
                while let Some(encoded) =
                    self.parties.get_mut(&leg).unwrap().mouth.pop(&mut payload)
                {
                    self.send(leg, encoded.ticks, &payload[..encoded.bytes]);
                }
            }
        }
    }

    fn send(&mut self, leg: u64, ticks: u32, payload: &[u8]) {
        let party = self.parties.get_mut(&leg).unwrap();
        let mut bytes = vec![0; 12];
        rtp::write(&party.header, bytes.first_chunk_mut().unwrap());
        bytes.extend(payload);
        party.header.seq = party.header.seq.wrapping_add(1);
        party.header.timestamp = party.header.timestamp.wrapping_add(ticks);
        let slot = party.slot;
        let from = SocketAddr::from(([192, 0, 2, leg as u8], 4000));
        if let Some(forward) = self.worker.on_rtp(self.now, slot, Some(from), &mut bytes) {
            self.hear(forward.slot, &bytes[forward.range]);
        }
        self.drain();
    }

    fn hear(&mut self, slot: Slot, bytes: &[u8]) {
        let parsed = rtp::parse(bytes).unwrap();
        let party = self.parties.values_mut().find(|p| p.slot == slot).unwrap();
        let payload = &bytes[parsed.payload];
        let h = parsed.header;
        if h.payload_type == 101 {
            party
                .events
                .push((h.timestamp, u16::from_be_bytes([payload[2], payload[3]])));
            return;
        }
        assert_eq!(h.payload_type, number(party.codec));
        if let Some(last) = party.last.replace(h) {
            assert_eq!(h.seq, last.seq.wrapping_add(1));
            assert_eq!(h.ssrc, last.ssrc);
        }
        let flow = party.ear.on_packet(&h, payload).unwrap();
        party.breaks += usize::from(flow != Flow::Continues);
        if party.ear.rate_hz() == 8000 {
            party.heard.extend(party.ear.pcm());
        } else {
            // Tones far below 4 kHz: every other sample will do.
            party.heard.extend(party.ear.pcm().iter().step_by(2));
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(due) = self.worker.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.worker.on_time(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.worker.poll() {
            match output {
                Output::Send {
                    slot,
                    channel: Channel::Rtp,
                    packet,
                } => {
                    let bytes = self.worker.packet(&packet).to_vec();
                    self.hear(slot, &bytes);
                }
                Output::Chunk { slot, block, .. } => {
                    self.log.extend(block.samples());
                    self.worker.on_chunk(self.now, slot, Ok(ChunkBlock::new()));
                }
                Output::Event(event) => self.told.push(event),
                _ => {}
            }
        }
    }

    /// What a party heard since the last call, after the first 300 ms, is this tone.
    fn assert_hears(&mut self, leg: u64, hz: f64, case: &str) {
        let party = self.parties.get_mut(&leg).unwrap();
        let heard = std::mem::take(&mut party.heard);
        let heard = heard
            .get(2400..)
            .unwrap_or_else(|| panic!("{case}: {leg} heard {}", heard.len()));
        let (level, rest) = tone(heard, hz);
        assert!(
            level.abs() < 1.0 && rest < -14.0,
            "{case}, {leg} hears {hz}: {level} {rest}"
        );
    }
}

fn sine(hz: f64, from: usize, count: usize) -> Vec<i16> {
    let step = std::f64::consts::TAU * hz / RATE;
    (from..from + count)
        .map(|n| ((step * n as f64).sin() * 8000.0) as i16)
        .collect()
}

/// The tone of `hz` against the one put in, and all else against it; in dB.
fn tone(pcm: &[i16], hz: f64) -> (f64, f64) {
    let step = std::f64::consts::TAU * hz / RATE;
    let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
    for (n, s) in pcm.iter().enumerate() {
        let (sin, cos) = (step * n as f64).sin_cos();
        re += f64::from(*s) * cos;
        im += f64::from(*s) * sin;
        all += f64::from(*s) * f64::from(*s);
    }
    let count = pcm.len() as f64;
    let power = 2.0 * (re * re + im * im) / (count * count);
    let rest = (all / count - power).max(1e-3);
    (
        10.0 * (power / 32_000_000.0).log10(),
        10.0 * (rest / power).log10(),
    )
}

const ALL: [Codec; 4] = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];

#[test]
fn any_codec_talks_to_any_other_whatever_the_packet_times() {
    for a in ALL {
        for b in ALL {
            for (ptime_a, ptime_b) in [(20, 20), (10, 60), (60, 20)] {
                let case = format!("{a:?} {ptime_a} and {b:?} {ptime_b}");
                let mut w = World::new();
                w.party(1, a, ptime_a, 1000.0);
                w.party(2, b, ptime_b, 440.0);
                w.bridge();
                w.talk(150);
                w.assert_hears(1, 440.0, &case);
                w.assert_hears(2, 1000.0, &case);
                for leg in [1, 2] {
                    assert_eq!(w.parties[&leg].breaks, 1, "{case}: only the beginning");
                }
            }
        }
    }
}

#[test]
fn a_codec_changes_in_the_middle_and_both_hear_on() {
    let mut w = World::new();
    w.party(1, Codec::Pcmu, 20, 1000.0);
    w.party(2, Codec::Pcmu, 20, 440.0);
    w.bridge();
    for codec in [
        Codec::Opus,
        Codec::G722,
        Codec::Pcma,
        Codec::Opus,
        Codec::Pcmu,
    ] {
        w.talk(100);
        w.assert_hears(1, 440.0, "before");
        w.assert_hears(2, 1000.0, "before");
        w.change_codec(2, codec);
    }
}

#[test]
fn an_echo_is_heard_in_every_codec() {
    for codec in ALL {
        let mut w = World::new();
        w.party(1, codec, 20, 1000.0);
        w.command(Command::Echo { leg: LegId(1) });
        w.talk(100);
        w.assert_hears(1, 1000.0, "echo");
    }
}

#[test]
fn prompts_are_played_to_every_codec_to_their_end() {
    for codec in ALL {
        for ptime_ms in [10, 20, 30, 40, 50, 60] {
            let mut w = World::new();
            w.party(1, codec, ptime_ms, 1000.0);
            let play = PlayId(5);
            let items = vec![PlayItem::Prompt("hum".into())];
            w.command(Command::Play {
                leg: LegId(1),
                play,
                items,
            });
            while w.told.is_empty() {
                w.pass(10);
            }
            w.assert_hears(1, 600.0, "prompt");
            assert_eq!(
                w.told,
                [Event::PlayDone {
                    leg: LegId(1),
                    play
                }]
            );
        }
    }
}

#[test]
fn what_is_said_in_any_codec_is_recorded_as_g711() {
    for codec in ALL {
        let mut w = World::new();
        w.party(1, codec, 20, 1000.0);
        let sound = "a.1.1".parse().unwrap();
        let limit = Duration::from_secs(60);
        w.command(Command::Record {
            leg: LegId(1),
            sound,
            limit,
            silence: None,
        });
        w.talk(200);
        w.command(Command::StopRecord { leg: LegId(1) });
        let law = Codec::of_sound(codec.sound());
        let pcm: Vec<i16> = w.log.iter().map(|b| law.decode(*b)).collect();
        assert!(
            pcm.len().abs_diff(16_000) <= 480,
            "{codec:?}: {}",
            pcm.len()
        );
        let (level, rest) = tone(&pcm[4000..15_000], 1000.0);
        assert!(
            level.abs() < 1.0 && rest < -14.0,
            "{codec:?}: {level} {rest}"
        );
    }
}

#[test]
fn a_key_reaches_a_party_with_another_clock_as_one_press() {
    let mut w = World::new();
    w.party(1, Codec::Pcmu, 20, 1000.0);
    w.party(2, Codec::Opus, 20, 440.0);
    w.bridge();
    w.talk(10);
    let party = w.parties.get_mut(&1).unwrap();
    party.header.payload_type = 101;
    for n in 1..=8u16 {
        let [high, low] = (n.min(5) * 160).to_be_bytes();
        let end = if n > 5 { 0x8a } else { 0x0a };
        w.send(1, 0, &[7, end, high, low]);
        w.pass(20);
    }
    w.pass(200);
    let pressed = Event::Digit {
        leg: LegId(1),
        digit: '7',
    };
    assert_eq!(w.told, [pressed]);
    let events = &w.parties[&2].events;
    assert!(
        events
            .iter()
            .all(|(timestamp, _)| *timestamp == events[0].0),
        "one press"
    );
    assert_eq!(events.last().unwrap().1, 4800, "100 ms at 48 kHz");
}
