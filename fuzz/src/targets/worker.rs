//! A media worker's core, whatever packets, commands and times it is given: what it sends is RTP
//! and RTCP, it sends only to addresses that were signalled or heard from, a recording's pieces
//! follow each other, what is played ends once; and when every leg was closed, nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tandem_engine::output::{Channel, Output, Slot};
use tandem_engine::player::Read;
use tandem_engine::prompts::Prompts;
use tandem_engine::seam::{
    Codec, Command, Event, Learning, LegId, MediaParams, PlayId, PlayItem, Receives,
};
use tandem_engine::seam::{Member, RoomId};
use tandem_engine::worker::Worker;
use tandem_engine::{rtcp, rtp};
use tandem_storage::block::ChunkBlock;
use tandem_storage::name::Id;
use tandem_storage::seam::{ChunkPlace, SoundCodec};
use tandem_storage::time::Time;

use crate::feed::Feed;

const LEGS: u64 = 3;
const OUTPUTS_MAX: usize = 1000;

pub(super) fn run(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let mut story = Story::new();
    while !feed.is_empty() {
        story.happen(&mut feed);
        story.drain();
    }
    story.end();
}

struct Story {
    worker: Worker,
    now: Time,
    slots: BTreeMap<LegId, Slot>,
    /// Addresses it may send to.
    known: BTreeSet<SocketAddr>,
    playing: BTreeSet<PlayId>,
    pieces: BTreeMap<Id, u32>,
    closed: BTreeSet<LegId>,
    serial: u64,
    seq: u16,
    refuses: bool,
}

impl Story {
    fn new() -> Story {
        let now = Time(1);
        let mut worker = Worker::new(Arc::new(Prompts::default()), Duration::from_secs(5), 1);
        let slots = (1..=LEGS).map(|n| {
            let slot = worker.open(now, LegId(n)).expect("there is room");
            (LegId(n), slot)
        });
        Story {
            slots: slots.collect(),
            worker,
            now,
            known: BTreeSet::new(),
            playing: BTreeSet::new(),
            pieces: BTreeMap::new(),
            closed: BTreeSet::new(),
            serial: 0,
            seq: 0,
            refuses: false,
        }
    }

    fn happen(&mut self, feed: &mut Feed<'_>) {
        let leg = LegId(1 + feed.below(LEGS as usize) as u64);
        match feed.below(16) {
            0 | 1 => self.set(leg, feed),
            2 => self.worker.on_command(
                self.now,
                Command::Bridge {
                    a: leg,
                    b: LegId(1),
                },
            ),
            3 => self.worker.on_command(self.now, Command::Echo { leg }),
            4 => self.play(leg, feed),
            5 => self.record(leg, feed),
            6 => self.command(leg, feed),
            7 => self.refuses = feed.one_in(2),
            8 => self.rtcp(leg, feed),
            9 | 10 => self.wait(Duration::from_millis(feed.below(700) as u64)),
            _ => self.rtp(leg, feed),
        }
    }

    fn set(&mut self, leg: LegId, feed: &mut Feed<'_>) {
        let remote = (!feed.one_in(5)).then(|| address(feed));
        self.known.extend(remote);
        let codecs = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];
        let nth = feed.below(codecs.len());
        let (codec, number) = (codecs[nth], [0, 8, 9, 111][nth]);
        let events = (!feed.one_in(3)).then_some(101);
        let mut receives: Vec<_> = [0, 8, 9, 111]
            .into_iter()
            .zip(codecs.map(Receives::Sound))
            .collect();
        receives.retain(|(n, _)| *n == number || feed.one_in(3));
        receives.extend(events.map(|n| (n, Receives::Keys)));
        let params = MediaParams {
            remote_rtp: remote,
            remote_rtcp: remote,
            codec,
            payload_type: number,
            dtmf_payload_type: events,
            receives,
            dtmf_clock_hz: codec.clock_hz(),
            ptime_ms: [20, 10, 30, 60][feed.below(4)],
            send: !feed.one_in(5),
            receive: !feed.one_in(5),
            learning: Learning {
                is_allowed: !feed.one_in(4),
                host: remote.map(|r| r.ip()),
                anywhere: feed.one_in(2),
            },
        };
        self.worker
            .on_command(self.now, Command::Set { leg, params });
    }

    fn play(&mut self, leg: LegId, feed: &mut Feed<'_>) {
        self.serial += 1;
        let play = PlayId(self.serial);
        let duration_ms = feed.below(900) as u32;
        let sound = PlayItem::Sound {
            codec: [SoundCodec::Pcmu, SoundCodec::Pcma][feed.below(2)],
            places: vec![place(feed); feed.below(4)].into(),
            from_sample: feed.below(6000) as u64,
            is_open: feed.one_in(4),
        };
        let tone = PlayItem::Tone {
            frequency_hz: feed.u16(),
            duration_ms,
            level_dbfs: -13,
        };
        let items = [
            sound,
            tone,
            PlayItem::Silence { duration_ms },
            PlayItem::Prompt("none".into()),
        ];
        let count = feed.below(5);
        let items = items.into_iter().take(count).collect();
        self.playing.insert(play);
        self.worker
            .on_command(self.now, Command::Play { leg, play, items });
    }

    fn record(&mut self, leg: LegId, feed: &mut Feed<'_>) {
        self.serial += 1;
        let node = "office".parse().expect("a legal name");
        let sound = Id {
            node,
            epoch: 1,
            number: self.serial,
        };
        let limit = Duration::from_millis(feed.below(5000) as u64);
        let silence = feed.one_in(2).then_some(Duration::from_millis(700));
        if feed.one_in(2) {
            let codec = match feed.one_in(2) {
                true => SoundCodec::Pcma,
                false => SoundCodec::Pcmu,
            };
            let tap = Command::Tap {
                leg,
                sound,
                codec,
                limit,
            };
            return self.worker.on_command(self.now, tap);
        }
        self.worker.on_command(
            self.now,
            Command::Record {
                leg,
                sound,
                limit,
                silence,
            },
        );
    }

    /// One of those that began last.
    fn some_sound(&self, feed: &mut Feed<'_>) -> Id {
        Id {
            node: "office".parse().expect("a legal name"),
            epoch: 1,
            number: self.serial.saturating_sub(feed.below(6) as u64),
        }
    }

    fn command(&mut self, leg: LegId, feed: &mut Feed<'_>) {
        let command = match feed.below(13) {
            9 => Command::Join {
                leg,
                room: RoomId(feed.below(3) as u64),
                member: Member {
                    talks: feed.byte() & 7,
                    hears: feed.byte() & 7,
                    gain_db: feed.byte() as i8,
                    hears_gain_db: feed.byte() as i8,
                    is_evened: feed.one_in(2),
                },
            },
            11 => Command::PauseTap {
                leg,
                sound: self.some_sound(feed),
                is_paused: feed.one_in(2),
            },
            12 => Command::Untap {
                leg,
                sound: self.some_sound(feed),
            },
            10 => Command::PlayToRoom {
                leg,
                items: vec![PlayItem::Tone {
                    frequency_hz: feed.u16(),
                    duration_ms: feed.below(900) as u32,
                    level_dbfs: feed.byte() as i8,
                }],
            },
            8 => Command::PlayMore {
                leg,
                play: PlayId(self.serial.saturating_sub(feed.below(3) as u64)),
                places: vec![place(feed); feed.below(4)].into(),
                is_last: feed.one_in(2),
            },
            0 => Command::StopPlay { leg },
            1 => Command::StopRecord { leg },
            2 => Command::Unbridge { leg },
            3 => Command::Close { leg },
            _ => Command::SendDigit {
                leg,
                digit: char::from(b"0123456789*#ABCDx"[feed.below(17)]),
            },
        };
        self.worker.on_command(self.now, command);
    }

    /// Mostly what a party would send; sometimes anything.
    fn rtp(&mut self, leg: LegId, feed: &mut Feed<'_>) {
        let from = address(feed);
        self.known.insert(from);
        let len = [160, 80, 4, 0, 240, 480][feed.below(6)];
        let mut packet = vec![feed.byte(); rtp::HEADER_BYTES + len];
        match feed.byte() {
            0..=0xdf => {
                let leap = if feed.one_in(8) { feed.u16() } else { 1 };
                self.seq = self.seq.wrapping_add(leap);
                let header = rtp::Header {
                    marker: feed.one_in(8),
                    payload_type: [0, 8, 101, 0, 8, 96][feed.below(6)],
                    seq: self.seq,
                    timestamp: u32::from(self.seq) * 160,
                    ssrc: feed.below(3) as u32,
                };
                let fixed = packet.first_chunk_mut().expect("it is long enough");
                rtp::write(&header, fixed);
            }
            _ => packet = feed.take(200).to_vec(),
        }
        let from = (!feed.one_in(8)).then_some(from);
        let Some(slot) = self.slots.get(&leg) else {
            return;
        };
        if let Some(forward) = self.worker.on_rtp(self.now, *slot, from, &mut packet) {
            assert!(
                self.slots.values().any(|slot| *slot == forward.slot),
                "to whom?"
            );
            let sent = rtp::parse(&packet[forward.range]).expect("what is passed on is RTP");
            assert!(
                [0, 8, 101].contains(&sent.header.payload_type),
                "not agreed on"
            );
        }
    }

    fn rtcp(&mut self, leg: LegId, feed: &mut Feed<'_>) {
        let from = address(feed);
        self.known.insert(from);
        let len = feed.below(120);
        let bytes = feed.take(len);
        if let Some(slot) = self.slots.get(&leg) {
            self.worker.on_rtcp(self.now, *slot, from, bytes);
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.worker.deadline().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.worker.on_time(self.now);
            self.drain();
            let next = self.worker.deadline();
            assert!(
                next.is_none_or(|next| next > self.now),
                "what was due is still due"
            );
        }
        self.now = end;
    }

    fn drain(&mut self) {
        for outputs in 0.. {
            let Some(output) = self.worker.poll() else {
                break;
            };
            assert!(outputs < OUTPUTS_MAX, "outputs without end");
            match output {
                Output::Send {
                    channel: Channel::Rtp,
                    packet,
                    ..
                } => {
                    rtp::parse(self.worker.packet(&packet)).expect("what we make is RTP");
                }
                Output::Send {
                    channel: Channel::Rtcp(to),
                    packet,
                    ..
                } => {
                    rtcp::parse(self.worker.packet(&packet), 0).expect("what we make is RTCP");
                    // Where RTCP goes unless told otherwise (RFC 3550 §11): one above RTP.
                    let rtp = SocketAddr::new(to.ip(), to.port().wrapping_sub(1));
                    assert!(
                        self.known.contains(&to) || self.known.contains(&rtp),
                        "RTCP to a stranger"
                    );
                }
                Output::Address { address, .. } => {
                    assert!(
                        address.is_none_or(|a| self.known.contains(&a)),
                        "RTP to a stranger"
                    );
                }
                Output::Event(event) => self.hear(&event),
                Output::Read { slot, serial, want } => {
                    let places = &want.places[want.first..want.first + want.count];
                    let samples = places.iter().map(|p| p.samples as usize).sum();
                    self.worker
                        .on_piece(slot, serial, vec![0xff; samples], Read::Whole);
                }
                Output::Chunk {
                    slot,
                    sound,
                    index,
                    block,
                } => self.chunk(slot, sound, index, block),
                Output::Close { slot, leg, report } => {
                    assert!(self.closed.insert(leg), "closed twice");
                    self.slots.remove(&leg);
                    self.worker.on_closed(slot, leg, report);
                }
            }
        }
    }

    fn chunk(&mut self, slot: Slot, sound: Id, index: u32, block: ChunkBlock) {
        if self.refuses {
            return self
                .worker
                .on_chunk(self.now, (slot, sound), Err((index, block)));
        }
        let next = self.pieces.entry(sound).or_default();
        assert_eq!(index, *next, "a piece is missing, or comes twice");
        *next += 1;
        let fate = Ok(ChunkBlock::new());
        self.worker.on_chunk(self.now, (slot, sound), fate);
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::PlayDone { play, .. } => assert!(self.playing.remove(play), "it ended before"),
            Event::Digit { digit, .. } => assert!("0123456789*#ABCD".contains(*digit)),
            Event::RecordDone {
                samples,
                samples_speech,
                ..
            } => assert!(samples_speech <= samples),
            Event::SoundLocked { .. }
            | Event::TapDone { .. }
            | Event::RoomFull { .. }
            | Event::MediaTimeout { .. }
            | Event::Closed { .. } => {}
        }
    }

    /// All legs are closed; then nothing may be left.
    fn end(&mut self) {
        self.refuses = false;
        for leg in (1..=LEGS).map(LegId) {
            self.worker.on_command(self.now, Command::Close { leg });
            self.drain();
        }
        self.wait(Duration::from_secs(10));
        assert!(
            !self.worker.has_legs() && self.slots.is_empty(),
            "a leg is left"
        );
        assert_eq!(self.worker.deadline(), None, "a timer is left");
    }
}

/// Few hosts with few ports, so that they meet.
fn place(feed: &mut Feed<'_>) -> ChunkPlace {
    ChunkPlace {
        segment: 1,
        offset: 4096,
        samples: feed.below(4001) as u32,
    }
}

fn address(feed: &mut Feed<'_>) -> SocketAddr {
    let choice = feed.byte();
    SocketAddr::from((
        [192, 0, 2, 1 + choice % 3],
        4000 + 2 * u16::from(choice >> 2 & 3),
    ))
}
