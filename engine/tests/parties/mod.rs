//! Parties with codecs of their own that hum and listen, around a worker's core.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

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

pub const RATE: f64 = 8000.0;

pub fn number(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::Opus => 111,
    }
}

/// A party that hums and listens, with codecs of its own.
pub struct Party {
    pub slot: Slot,
    pub codec: Codec,
    pub mouth: Outbound,
    pub ear: Inbound,
    pub header: Header,
    pub hz: f64,
    pub said: usize,
    pub heard: Vec<i16>,
    /// Packets whose sound did not follow on what came before.
    pub breaks: usize,
    pub last: Option<Header>,
    pub events: Vec<(u32, u16)>,
}

pub struct World {
    pub worker: Worker,
    pub now: Time,
    pub parties: BTreeMap<u64, Party>,
    pub log: Vec<u8>,
    pub told: Vec<Event>,
}

impl World {
    pub fn new() -> World {
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

    pub fn party(&mut self, leg: u64, codec: Codec, ptime_ms: u8, hz: f64) {
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

    pub fn set(&mut self, leg: u64, codec: Codec, ptime_ms: u8) {
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

    pub fn change_codec(&mut self, leg: u64, codec: Codec) {
        let party = self.parties.get_mut(&leg).unwrap();
        party.codec = codec;
        party.mouth = Outbound::new(codec, 16_000, 20, &OpusConfig::default()).unwrap();
        party.ear = Inbound::new(codec, 16_000).unwrap();
        party.header.payload_type = number(codec);
        party.last = None;
        self.set(leg, codec, 20);
    }

    pub fn command(&mut self, command: Command) {
        self.worker.on_command(self.now, command);
        self.drain();
    }

    pub fn bridge(&mut self) {
        self.command(Command::Bridge {
            a: LegId(1),
            b: LegId(2),
        });
    }

    /// So many times 10 ms in which all hum.
    pub fn talk(&mut self, steps: usize) {
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

    pub fn send(&mut self, leg: u64, ticks: u32, payload: &[u8]) {
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

    pub fn hear(&mut self, slot: Slot, bytes: &[u8]) {
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

    pub fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(due) = self.worker.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.worker.on_time(self.now);
            self.drain();
        }
        self.now = end;
    }

    pub fn drain(&mut self) {
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
                Output::Chunk {
                    slot, sound, block, ..
                } => {
                    self.log.extend(block.samples());
                    let fate = Ok(ChunkBlock::new());
                    self.worker.on_chunk(self.now, (slot, sound), fate);
                }
                Output::Event(event) => self.told.push(event),
                _ => {}
            }
        }
    }

    /// What a party heard since the last call, after the first 300 ms, is this tone.
    pub fn assert_hears(&mut self, leg: u64, hz: f64, case: &str) {
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

pub fn sine(hz: f64, from: usize, count: usize) -> Vec<i16> {
    let step = std::f64::consts::TAU * hz / RATE;
    (from..from + count)
        .map(|n| ((step * n as f64).sin() * 8000.0) as i16)
        .collect()
}

/// The tone of `hz` against the one put in, and all else against it; in dB.
pub fn tone(pcm: &[i16], hz: f64) -> (f64, f64) {
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

pub const ALL: [Codec; 4] = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];
