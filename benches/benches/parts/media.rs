//! A packet that the engine makes, from the datagram or the timer to the place it is sent from.
//!
//! The place stands in for the ring's arena: bytes are copied to it as the shell does. Codecs are
//! the cheap ones, so that the way of a packet is a good part of what is measured.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use tandem_engine::output::{Output, PACKET_BYTES_MAX, Slot};
use tandem_engine::prompts::Prompts;
use tandem_engine::rtp::{self, HEADER_BYTES, Header};
use tandem_engine::seam::{
    Codec, Command, Learning, LegId, MediaParams, Member, PlayId, PlayItem, Receives, RoomId,
};
use tandem_engine::worker::Worker;
use tandem_storage::time::Time;

const LEGS: u64 = 100;
const PACKET: Duration = Duration::from_millis(20);
const PAYLOAD_BYTES: usize = 160;
/// Longer than any bench runs.
const LONG_MS: u32 = u32::MAX;
/// Places that are written to in turn, as many as the ring has.
const PLACES: usize = 1024;

pub(super) fn made(c: &mut Criterion) {
    let mut bridged = Stage::new(&[Codec::G722, Codec::Pcmu]);
    bridged.bridge();
    c.bench_function(
        "packet of G.722 heard in mu-law, from datagram to arena",
        |b| {
            b.iter(|| bridged.say(0));
        },
    );
    let mut bridged = Stage::new(&[Codec::Pcmu, Codec::G722]);
    bridged.bridge();
    c.bench_function(
        "packet of mu-law heard in G.722, from datagram to arena",
        |b| {
            b.iter(|| bridged.say(0));
        },
    );
    let mut playing = Stage::new(&[Codec::Pcmu; LEGS as usize]);
    playing.play();
    c.bench_function("100 packets of silence played in mu-law, to arena", |b| {
        b.iter(|| playing.pass());
    });
}

/// 20 ms of rooms: a packet of each member comes in, the room is mixed, a packet goes to each.
pub(super) fn rooms(c: &mut Criterion) {
    for (name, members, rooms, talkers) in [
        ("20 ms of a room of 1,000 in mu-law, 10 talk", 1000, 1, 10),
        ("20 ms of a room of 200 in mu-law, all talk", 200, 1, 200),
        ("20 ms of 300 rooms of 3 in mu-law, all talk", 900, 300, 900),
    ] {
        let mut stage = Stage::new(&vec![Codec::Pcmu; members]);
        stage.join(rooms);
        for _ in 0..20 {
            stage.meet(talkers);
        }
        c.bench_function(name, |b| b.iter(|| stage.meet(talkers)));
        // Now and then a report goes with them.
        assert!(stage.meet(talkers) >= members, "a packet for each");
    }
}

/// A worker, and where its packets go.
struct Stage {
    worker: Worker,
    now: Time,
    parties: Vec<(Slot, Header)>,
    places: Vec<[u8; PACKET_BYTES_MAX]>,
    place: usize,
}

impl Stage {
    fn new(codecs: &[Codec]) -> Stage {
        let mut worker = Worker::new(Arc::new(Prompts::default()), Duration::from_secs(30), 1);
        let now = Time(1_000_000_000);
        let parties = (1..).zip(codecs).map(|(leg, codec)| {
            let slot = worker.open(now, LegId(leg)).expect("there is room");
            let number = if *codec == Codec::G722 { 9 } else { 0 };
            let params = MediaParams {
                remote_rtp: Some(address()),
                remote_rtcp: None,
                codec: *codec,
                payload_type: number,
                dtmf_payload_type: None,
                receives: vec![(number, Receives::Sound(*codec))],
                dtmf_clock_hz: codec.clock_hz(),
                ptime_ms: 20,
                send: true,
                receive: true,
                learning: Learning::OFF,
            };
            let leg = LegId(leg);
            worker.on_command(now, Command::Set { leg, params });
            let header = Header {
                marker: false,
                payload_type: number,
                seq: 1,
                timestamp: 1,
                ssrc: leg.0 as u32,
            };
            (slot, header)
        });
        let parties = parties.collect();
        Stage {
            worker,
            now,
            parties,
            places: vec![[0; PACKET_BYTES_MAX]; PLACES],
            place: 0,
        }
    }

    fn bridge(&mut self) {
        let (a, b) = (LegId(1), LegId(2));
        self.worker.on_command(self.now, Command::Bridge { a, b });
    }

    fn play(&mut self) {
        for leg in 1..=LEGS {
            let items = (0..100).map(|_| PlayItem::Silence {
                duration_ms: LONG_MS,
            });
            let command = Command::Play {
                leg: LegId(leg),
                play: PlayId(leg),
                items: items.collect(),
            };
            self.worker.on_command(self.now, command);
        }
        self.pass();
    }

    /// A party says something, which another hears.
    fn say(&mut self, party: usize) {
        self.now = self.now + PACKET;
        let (slot, header) = &mut self.parties[party];
        let mut bytes = [0x55; HEADER_BYTES + PAYLOAD_BYTES];
        rtp::write(header, bytes.first_chunk_mut().expect("room for a header"));
        header.seq = header.seq.wrapping_add(1);
        header.timestamp = header.timestamp.wrapping_add(PAYLOAD_BYTES as u32);
        let forward = self
            .worker
            .on_rtp(self.now, *slot, Some(address()), &mut bytes);
        assert_eq!(forward, None);
        assert_eq!(self.send(), 1, "one packet for one");
    }

    /// All parties come into so many rooms.
    fn join(&mut self, rooms: u64) {
        for leg in 1..=self.parties.len() as u64 {
            let command = Command::Join {
                leg: LegId(leg),
                room: RoomId(leg % rooms),
                member: Member::TALKER,
            };
            self.worker.on_command(self.now, command);
        }
    }

    /// A packet of each comes, the first so many of them with sound, and a packet time passes. Gives
    /// the packets sent.
    fn meet(&mut self, talkers: usize) -> usize {
        for nth in 0..self.parties.len() {
            let (slot, header) = &mut self.parties[nth];
            let mut bytes = [0xff; HEADER_BYTES + PAYLOAD_BYTES];
            if nth < talkers {
                for (n, byte) in bytes[HEADER_BYTES..].iter_mut().enumerate() {
                    *byte = if n / 8 % 2 == 0 { 0x18 } else { 0x98 } + (nth % 8) as u8;
                }
            }
            rtp::write(header, bytes.first_chunk_mut().expect("room for a header"));
            header.seq = header.seq.wrapping_add(1);
            header.timestamp = header.timestamp.wrapping_add(PAYLOAD_BYTES as u32);
            let from = Some(address());
            let forward = self.worker.on_rtp(self.now, *slot, from, &mut bytes);
            assert_eq!(forward, None);
        }
        self.now = self.now + PACKET;
        self.worker.on_time(self.now);
        self.send()
    }

    /// A packet time passes.
    fn pass(&mut self) {
        self.now = self.now + PACKET;
        self.worker.on_time(self.now);
        assert!(self.send() >= LEGS as usize || self.now.0 < 1_100_000_000);
    }

    fn send(&mut self) -> usize {
        let mut sent = 0;
        while let Some(output) = self.worker.poll() {
            if let Output::Send { packet, .. } = output {
                let bytes = self.worker.packet(&packet);
                self.place = (self.place + 1) % PLACES;
                self.places[self.place][..bytes.len()].copy_from_slice(bytes);
                black_box(&self.places[self.place]);
                sent += 1;
            }
        }
        sent
    }
}

fn address() -> SocketAddr {
    ([192, 0, 2, 1], 4000).into()
}
