//! The worker's core against a clock and a network made of numbers.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tandem_engine::dtmf::Payload;
use tandem_engine::output::{Channel, Output, Slot};
use tandem_engine::prompts::{Prompt, Prompts};
use tandem_engine::random::Random;
use tandem_engine::rtp::{self, Header};
use tandem_engine::seam::*;
use tandem_engine::worker::Worker;
use tandem_storage::block::ChunkBlock;
use tandem_storage::name::Id;
use tandem_storage::seam::SoundCodec;
use tandem_storage::time::Time;

fn receives() -> Vec<(u8, Receives)> {
    vec![
        (0, Receives::Sound(Codec::Pcmu)),
        (8, Receives::Sound(Codec::Pcma)),
        (101, Receives::Keys),
    ]
}

/// Everything that happened, in order.
#[derive(Debug, PartialEq)]
enum Seen {
    Rtp {
        leg: u64,
        header: Header,
        payload: Vec<u8>,
    },
    Rtcp {
        leg: u64,
        bytes: Vec<u8>,
    },
    Address {
        leg: u64,
        address: Option<SocketAddr>,
        connect: bool,
    },
    Event(Event),
    Closed {
        leg: u64,
    },
}

struct World {
    worker: Worker,
    now: Time,
    slots: Vec<(u64, Slot)>,
    seen: Vec<Seen>,
    /// What the log has taken.
    log: Vec<u8>,
    /// The same by sound.
    sounds: BTreeMap<Id, Vec<u8>>,
    log_is_full: bool,
}

fn addr(leg: u64) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, leg as u8], 4000))
}

impl World {
    fn new() -> World {
        let mut prompts = Prompts::default();
        prompts.insert("short", Prompt::from_linear(&[4000; 400]));
        World {
            worker: Worker::new(Arc::new(prompts), Duration::from_secs(30), 7),
            now: Time(1_000_000_000),
            slots: Vec::new(),
            seen: Vec::new(),
            log: Vec::new(),
            sounds: BTreeMap::new(),
            log_is_full: false,
        }
    }

    fn leg(&mut self, leg: u64, change: impl FnOnce(&mut MediaParams)) {
        let slot = self.worker.open(self.now, LegId(leg)).unwrap();
        self.slots.push((leg, slot));
        self.set(leg, change);
    }

    fn set(&mut self, leg: u64, change: impl FnOnce(&mut MediaParams)) {
        let mut params = MediaParams {
            remote_rtp: Some(addr(leg)),
            remote_rtcp: None,
            codec: Codec::Pcmu,
            payload_type: 0,
            dtmf_payload_type: Some(101),
            receives: receives(),
            dtmf_clock_hz: 8000,
            ptime_ms: 20,
            send: true,
            receive: true,
            learning: Learning::OFF,
        };
        change(&mut params);
        self.command(Command::Set {
            leg: LegId(leg),
            params,
        });
    }

    fn command(&mut self, command: Command) {
        self.worker.on_command(self.now, command);
        self.drain();
    }

    fn slot(&self, leg: u64) -> Slot {
        self.slots.iter().find(|(l, _)| *l == leg).unwrap().1
    }

    /// Time passes; every timer is served when it is due.
    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(due) = self.worker.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.worker.on_time(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// A packet from a leg's party, or from somebody else; who hears it sees it.
    fn packet(&mut self, leg: u64, from: SocketAddr, header: Header, payload: &[u8]) {
        let mut bytes = vec![0; 12];
        rtp::write(&header, bytes.first_chunk_mut().unwrap());
        bytes.extend(payload);
        self.datagram(leg, from, &bytes);
    }

    fn datagram(&mut self, leg: u64, from: SocketAddr, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let slot = self.slot(leg);
        if let Some(forward) = self.worker.on_rtp(self.now, slot, Some(from), &mut bytes) {
            let to = self.name(forward.slot);
            self.see_rtp(to, &bytes[forward.range]);
        }
        self.drain();
    }

    fn sound(&mut self, leg: u64, n: u16) {
        let header = sound_header(n);
        self.packet(leg, addr(leg), header, &[n as u8; 160]);
    }

    fn name(&self, slot: Slot) -> u64 {
        self.slots.iter().find(|(_, s)| *s == slot).unwrap().0
    }

    fn see_rtp(&mut self, leg: u64, bytes: &[u8]) {
        let parsed = rtp::parse(bytes).unwrap();
        let payload = bytes[parsed.payload].to_vec();
        self.seen.push(Seen::Rtp {
            leg,
            header: parsed.header,
            payload,
        });
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
                    self.see_rtp(self.name(slot), &bytes);
                }
                Output::Send {
                    slot,
                    channel: Channel::Rtcp(_),
                    packet,
                } => {
                    let bytes = self.worker.packet(&packet).to_vec();
                    let leg = self.name(slot);
                    self.seen.push(Seen::Rtcp { leg, bytes });
                }
                Output::Address {
                    slot,
                    address,
                    connect,
                } => {
                    self.seen.push(Seen::Address {
                        leg: self.name(slot),
                        address,
                        connect,
                    });
                }
                Output::Event(event) => self.seen.push(Seen::Event(event)),
                Output::Read { .. } => {}
                Output::Chunk {
                    slot,
                    sound,
                    index,
                    block,
                } => {
                    let fate = if self.log_is_full {
                        Err((index, block))
                    } else {
                        self.log.extend(block.samples());
                        self.sounds
                            .entry(sound)
                            .or_default()
                            .extend(block.samples());
                        Ok(ChunkBlock::new())
                    };
                    self.worker.on_chunk(self.now, (slot, sound), fate);
                }
                Output::Close { slot, leg, report } => {
                    self.seen.push(Seen::Closed { leg: leg.0 });
                    self.slots.retain(|(_, s)| *s != slot);
                    self.worker.on_closed(slot, leg, report);
                }
            }
        }
    }

    fn take(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// RTP seen by a leg's party since the last look.
    fn heard_by(&mut self, leg: u64) -> Vec<(Header, Vec<u8>)> {
        self.take()
            .into_iter()
            .filter_map(|s| match s {
                Seen::Rtp {
                    leg: l,
                    header,
                    payload,
                } if l == leg => Some((header, payload)),
                _ => None,
            })
            .collect()
    }

    fn events(&mut self) -> Vec<Event> {
        self.take()
            .into_iter()
            .filter_map(|s| match s {
                Seen::Event(event) => Some(event),
                _ => None,
            })
            .collect()
    }
}

fn sound_header(n: u16) -> Header {
    let timestamp = 160 * u32::from(n);
    Header {
        marker: false,
        payload_type: 0,
        seq: n,
        timestamp,
        ssrc: 77,
    }
}

fn bridge(w: &mut World) {
    w.leg(1, |_| {});
    w.leg(2, |_| {});
    w.command(Command::Bridge {
        a: LegId(1),
        b: LegId(2),
    });
    w.take();
}

//= RFC 3550 §5.1 type=test
//# The sampling instant MUST be derived from a clock that increments monotonically and linearly in
//# time to allow synchronization and jitter calculations (see Section 6.4.1).
#[test]
fn prompt_and_bridge_are_one_stream_to_the_party() {
    let mut w = World::new();
    bridge(&mut w);
    let mut heard = Vec::new();
    for n in 0..3 {
        w.sound(1, n);
        w.run(20);
    }
    heard.extend(w.heard_by(2));
    let items = vec![PlayItem::Prompt("short".into())];
    w.command(Command::Play {
        leg: LegId(2),
        play: PlayId(1),
        items,
    });
    for n in 3..10 {
        w.sound(1, n);
        w.run(20);
    }
    let seen = w.take();
    assert!(seen.contains(&Seen::Event(Event::PlayDone {
        leg: LegId(2),
        play: PlayId(1)
    })));
    heard.extend(seen.into_iter().filter_map(|s| match s {
        Seen::Rtp {
            leg: 2,
            header,
            payload,
        } => Some((header, payload)),
        _ => None,
    }));
    let played = heard
        .iter()
        .filter(|(_, p)| p[0] == Codec::Pcmu.encode(4000))
        .count();
    assert_eq!(
        played, 3,
        "400 samples of the prompt, in place of the party"
    );
    for pair in heard.windows(2) {
        let (a, b) = (&pair[0].0, &pair[1].0);
        assert_eq!((b.ssrc, b.seq), (a.ssrc, a.seq.wrapping_add(1)));
        let step = b.timestamp.wrapping_sub(a.timestamp);
        assert!((160..=480).contains(&step), "{step}");
    }
    assert!(heard.len() >= 9, "{}", heard.len());
    assert_eq!(
        heard.last().unwrap().1,
        [9; 160],
        "the bridge is heard again"
    );
}

//= RFC 4733 §2.5.1.2 type=test
//# DTMF digits and other named telephone events are carried as part of the audio stream, and they
//# MUST use the same sequence number and timestamp base as the regular audio channel to simplify
//# the generation of audio waveforms at a gateway.
//= RFC 4733 §2.5.1.2 type=test
//# The update packets MUST have the same RTP timestamp value as the initial packet for the event,
//# but the duration MUST be increased to reflect the total cumulative duration since the beginning
//# of the event.
//= RFC 4733 §2.5.1.6 type=test
//# The RTP sequence number MUST be incremented by one in each successive RTP packet sent.
#[test]
fn a_key_is_sent_in_full_and_the_party_waits_for_it() {
    let mut w = World::new();
    bridge(&mut w);
    w.sound(1, 0);
    w.command(Command::SendDigit {
        leg: LegId(2),
        digit: '5',
    });
    for n in 1..15 {
        w.sound(1, n);
        w.run(20);
    }
    let heard = w.heard_by(2);
    let events: Vec<_> = heard
        .iter()
        .filter(|(h, _)| h.payload_type == 101)
        .collect();
    let ends = events
        .iter()
        .filter(|(_, p)| Payload::parse(p).unwrap().end)
        .count();
    assert_eq!((events.len(), ends), (8, 3));
    assert!(
        events
            .iter()
            .all(|(h, _)| h.timestamp == events[0].0.timestamp)
    );
    assert!(events[0].0.marker && !events[1].0.marker);
    for pair in heard.windows(2) {
        assert_eq!(pair[1].0.seq, pair[0].0.seq.wrapping_add(1));
    }
    assert_eq!(heard.last().unwrap().1, [14; 160]);
}

#[test]
fn keys_pressed_while_recording_are_told_and_not_recorded() {
    let mut w = World::new();
    w.leg(1, |_| {});
    let sound = "office.1.1".parse().unwrap();
    let limit = Duration::from_secs(60);
    w.command(Command::Record {
        leg: LegId(1),
        sound,
        limit,
        silence: None,
    });
    for n in 0..100u16 {
        w.run(20);
        if (40..50).contains(&n) {
            let end = if n > 46 { 0x80 } else { 0 };
            let header = Header {
                payload_type: 101,
                timestamp: 160 * 40,
                ..sound_header(n)
            };
            w.packet(1, addr(1), header, &[11, end, 1, 0x40]);
        } else {
            w.packet(1, addr(1), sound_header(n), &[0x20; 160]);
        }
    }
    w.command(Command::StopRecord { leg: LegId(1) });
    let events = w.events();
    let digits = events
        .iter()
        .filter(|e| matches!(e, Event::Digit { digit: '#', .. }))
        .count();
    assert_eq!(digits, 1);
    let done = Event::RecordDone {
        leg: LegId(1),
        sound,
        samples: 16_000,
        samples_speech: 16_000,
        end: RecordEnd::Stopped,
    };
    assert_eq!(events.last(), Some(&done));
    assert!(
        w.log[40 * 160..50 * 160]
            .iter()
            .all(|b| *b == Codec::Pcmu.silence())
    );
    assert_eq!(w.log.iter().filter(|b| **b == 0x20).count(), 90 * 160);
}

#[test]
fn who_hears_nobody_is_sent_silence() {
    let mut w = World::new();
    let is_silence = |heard: &[(Header, Vec<u8>)]| {
        let silence = [Codec::Pcmu.silence(); 160];
        heard.iter().all(|(_, payload)| payload[..] == silence)
    };
    w.leg(1, |_| {});
    w.run(1000);
    let heard = w.heard_by(1);
    assert!((49..=51).contains(&heard.len()), "{}", heard.len());
    assert!(is_silence(&heard));

    w.leg(2, |_| {});
    w.command(Command::Bridge {
        a: LegId(1),
        b: LegId(2),
    });
    w.heard_by(1);
    w.run(1000);
    assert!(w.heard_by(1).is_empty(), "that is up to the other party");

    w.set(2, |p| p.send = false);
    w.run(1000);
    let heard = w.heard_by(1);
    assert!((44..=46).contains(&heard.len()), "{}", heard.len());
    assert!(is_silence(&heard));
    let marked = heard.iter().filter(|(header, _)| header.marker).count();
    assert_eq!(marked, 1, "one talkspurt");

    // The holder plays music of its own.
    let mut music = 0;
    for n in 0..50 {
        w.sound(2, n + 2);
        w.run(20);
        music += w.heard_by(1).len();
    }
    assert_eq!(music, 50);

    w.set(2, |_| {});
    w.run(1000);
    assert!(w.heard_by(1).is_empty());
    w.command(Command::Unbridge { leg: LegId(1) });
    w.set(1, |p| p.send = false);
    w.heard_by(1);
    w.run(1000);
    assert!(
        w.heard_by(1).is_empty(),
        "it does not want to hear anything"
    );
}

#[test]
fn a_leg_closes_after_the_log_has_its_recording() {
    let mut w = World::new();
    w.leg(1, |_| {});
    let sound = "office.1.1".parse().unwrap();
    let limit = Duration::from_secs(60);
    w.command(Command::Record {
        leg: LegId(1),
        sound,
        limit,
        silence: None,
    });
    for n in 0..10 {
        w.run(20);
        w.sound(1, n);
    }
    w.log_is_full = true;
    w.command(Command::Close { leg: LegId(1) });
    w.run(100);
    assert!(w.events().is_empty(), "it waits for the log");
    w.log_is_full = false;
    w.run(100);
    let events = w.events();
    assert!(
        matches!(events[0], Event::RecordDone { samples: 1600, .. }),
        "{events:?}"
    );
    assert!(matches!(events[1], Event::Closed { .. }), "{events:?}");
}

#[test]
fn reports_come_every_few_seconds_and_bye_at_the_end() {
    let mut w = World::new();
    bridge(&mut w);
    for n in 0..1000 {
        w.sound(1, n);
        w.run(20);
    }
    let kinds = |seen: &[Seen], of: u64| -> Vec<u8> {
        let kind = |s: &Seen| match s {
            Seen::Rtcp { leg, bytes } if *leg == of => Some(bytes[1]),
            _ => None,
        };
        seen.iter().filter_map(kind).collect()
    };
    let seen = w.take();
    let (to_1, to_2) = (kinds(&seen, 1), kinds(&seen, 2));
    assert!((3..=8).contains(&to_1.len()), "{to_1:?}");
    assert!(
        to_1.iter().all(|k| *k == 201),
        "nothing is sent to 1: receiver reports"
    );
    assert!(
        to_2.iter().all(|k| *k == 200) && to_2.len() >= 3,
        "{to_2:?}"
    );
    w.command(Command::Close { leg: LegId(1) });
    let bye = w.take().into_iter().find_map(|s| match s {
        Seen::Rtcp { bytes, .. } => Some(bytes),
        _ => None,
    });
    let bye = bye.unwrap();
    assert_eq!(bye[bye.len() - 7], 203);
}

#[test]
fn our_reports_make_a_round_trip_known() {
    let mut w = World::new();
    bridge(&mut w);
    let report = loop {
        w.sound(1, 0);
        w.run(100);
        let of_2 = |s: Seen| match s {
            Seen::Rtcp { leg: 2, bytes } => Some(bytes),
            _ => None,
        };
        if let Some(bytes) = w.take().into_iter().find_map(of_2) {
            break bytes;
        }
    };
    // A receiver report about our stream: heard at once, answered at once, 80 ms on the way.
    let mut answer = vec![0x81, 201, 0, 7, 0, 0, 0, 99];
    answer.extend(&report[4..8]);
    answer.extend([25, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 0]);
    answer.extend(&report[10..14]);
    answer.extend([0; 4]);
    // The report left within the 100 ms of the last step; the clock stands at its end.
    w.run(80);
    let slot = w.slot(2);
    w.worker.on_rtcp(w.now, slot, addr(2), &answer);
    assert_eq!(
        w.worker.reports()[1].1.round_trip_us,
        0,
        "another port than RTP + 1: a stranger"
    );
    w.set(2, |p| p.remote_rtcp = Some(addr(2)));
    w.worker.on_rtcp(w.now, slot, addr(2), &answer);
    let figures = w.worker.reports()[1].1;
    assert!(
        (80_000..=181_000).contains(&figures.round_trip_us),
        "{figures:?}"
    );
    assert_eq!(
        (
            figures.fraction_lost_by_peer,
            figures.packets_from_strangers
        ),
        (25, 1)
    );
}

#[test]
fn a_party_behind_a_router_is_followed_and_a_stranger_never() {
    let mut w = World::new();
    let router: SocketAddr = "198.51.100.1:9000".parse().unwrap();
    w.leg(1, |p| p.learning = Learning::from_host(router.ip(), true));
    w.leg(2, |_| {});
    w.command(Command::Bridge {
        a: LegId(1),
        b: LegId(2),
    });
    w.take();
    let stranger: SocketAddr = "203.0.113.6:6666".parse().unwrap();
    let told = |address, connect| Seen::Address {
        leg: 1,
        address: Some(address),
        connect,
    };
    w.packet(1, stranger, sound_header(1), &[6; 160]);
    w.packet(1, router, sound_header(1), &[1; 160]);
    w.packet(1, router, sound_header(2), &[1; 160]);
    assert!(w.take().is_empty());
    w.packet(1, router, sound_header(3), &[1; 160]);
    assert!(w.take().contains(&told(router, false)));
    for seq in 4..50 {
        let header = Header {
            ssrc: 9,
            ..sound_header(seq)
        };
        w.packet(1, stranger, header, &[6; 160]);
        w.run(20);
    }
    assert!(w.heard_by(2).is_empty());
    w.packet(1, addr(1), sound_header(60), &[1; 160]);
    assert!(w.take().contains(&told(addr(1), true)), "as signalled");
    assert_eq!(w.worker.reports()[0].1.packets_from_strangers, 49);
}

#[test]
fn a_party_may_change_among_the_codecs_that_were_agreed_on() {
    let mut w = World::new();
    w.leg(1, |_| {});
    w.leg(2, |_| {});
    w.command(Command::Bridge {
        a: LegId(1),
        b: LegId(2),
    });
    w.take();
    for (seq, payload_type) in [(1, 0), (2, 8), (3, 8), (4, 0)] {
        let header = Header {
            payload_type,
            ..sound_header(seq)
        };
        w.packet(1, addr(1), header, &[Codec::Pcma.silence(); 160]);
    }
    let heard = w.heard_by(2);
    let types: Vec<u8> = heard
        .iter()
        .map(|(header, _)| header.payload_type)
        .collect();
    assert_eq!(types, [0, 0, 0, 0], "the listener hears what it agreed on");
    assert_ne!(heard[0].1, heard[1].1, "A-law is turned into mu-law");
    assert_eq!(w.worker.reports()[0].1.packets_lost, 0);
}

#[test]
fn packets_of_two_hundred_milliseconds_are_relayed_and_longer_ones_are_not() {
    let mut w = World::new();
    w.leg(1, |_| {});
    w.command(Command::Echo { leg: LegId(1) });
    w.take();
    w.packet(1, addr(1), sound_header(1), &[7; 1600]);
    assert_eq!(w.heard_by(1)[0].1, [7; 1600]);
    w.packet(1, addr(1), sound_header(2), &[7; 1601]);
    assert!(w.heard_by(1).is_empty());
}

//= RFC 3550 §5.1 type=test
//# A receiver MUST ignore packets with payload types that it does not understand.
#[test]
fn keep_alives_of_any_form_are_a_sign_of_life_and_no_fault() {
    let forms: [&[u8]; 6] = [
        &[0x80, 13, 0, 9, 0, 0, 0, 9, 0, 0, 0, 77, 0x40],
        &[0x80, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 77],
        &[0x80, 126, 0, 9, 0, 0, 0, 9, 0, 0, 0, 77, 0],
        &[0; 4],
        b"\r\n\r\n",
        // A STUN Binding request (RFC 8489 §5).
        &[
            0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
        ],
    ];
    for form in forms {
        let mut w = World::new();
        w.leg(1, |_| {});
        w.packet(1, addr(1), sound_header(1), &[1; 160]);
        for _ in 0..3 {
            w.run(20_000);
            w.datagram(1, addr(1), form);
        }
        assert!(w.events().is_empty(), "{form:?}");
        let report = w.worker.reports()[0].1;
        assert_eq!(report.packets_malformed, 0, "{form:?}");
        w.datagram(1, addr(5), form);
        assert_eq!(w.worker.reports()[0].1.packets_from_strangers, 1);
        w.run(31_000);
        assert_eq!(w.events(), [Event::MediaTimeout { leg: LegId(1) }]);
    }
}

#[test]
fn a_worker_that_was_held_up_says_so_and_does_not_flood() {
    let mut w = World::new();
    w.leg(1, |_| {});
    let items = vec![PlayItem::Silence { duration_ms: 5000 }];
    w.command(Command::Play {
        leg: LegId(1),
        play: PlayId(1),
        items,
    });
    w.run(100);
    assert!((5..=6).contains(&w.heard_by(1).len()));
    w.now = w.now + Duration::from_millis(700);
    w.worker.on_time(w.now);
    w.drain();
    assert!(w.heard_by(1).len() <= 1);
    assert_eq!(
        (
            w.worker.counters().late_ticks,
            w.worker.counters().packets_skipped
        ),
        (1, 1)
    );
}

#[test]
fn silence_on_the_wire_is_told_once() {
    let mut w = World::new();
    w.leg(1, |_| {});
    w.leg(2, |p| p.receive = false);
    w.run(29_900);
    assert!(w.events().is_empty());
    w.run(60_000);
    assert_eq!(w.events(), [Event::MediaTimeout { leg: LegId(1) }]);
}

#[test]
fn who_holds_the_other_may_be_silent_until_it_talks_again() {
    let mut w = World::new();
    w.leg(1, |p| p.send = false);
    w.run(120_000);
    assert!(w.events().is_empty());
    w.set(1, |_| {});
    w.run(29_900);
    assert!(w.events().is_empty());
    w.run(200);
    assert_eq!(w.events(), [Event::MediaTimeout { leg: LegId(1) }]);
}

#[test]
fn whatever_is_asked_in_whatever_order_nothing_breaks() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut w = World::new();
        for _ in 0..300 {
            any_step(&mut w, &mut random);
        }
        w.log_is_full = false;
        for leg in w.worker.leg_ids() {
            w.command(Command::Close { leg });
        }
        w.run(5000);
        assert!(!w.worker.has_legs(), "seed {seed}");
    }
}

fn any_step(w: &mut World, random: &mut Random) {
    let mut pick = |n: u64| random.draw() % n;
    let (leg, other) = (pick(6), pick(6));
    let (a, b) = (LegId(leg), LegId(other));
    let there = w.slots.iter().any(|(l, _)| *l == leg);
    match pick(16) {
        0 if !there && !w.worker.leg_ids().contains(&a) => {
            w.leg(leg, |p| p.learning.is_allowed = other > 2)
        }
        1 => w.set(leg, |p| {
            p.codec = if other % 2 == 0 {
                Codec::Pcma
            } else {
                Codec::Pcmu
            };
            p.receive = other != 3;
            p.remote_rtp = (other != 4).then(|| addr(other));
        }),
        2 => w.command(Command::Bridge { a, b }),
        3 => w.command(Command::Unbridge { leg: a }),
        4 => w.command(Command::Echo { leg: a }),
        5 => w.command(Command::Play {
            leg: a,
            play: PlayId(other),
            items: vec![
                PlayItem::Prompt("short".into()),
                PlayItem::Tone {
                    frequency_hz: 440,
                    duration_ms: 50,
                    level_dbfs: -9,
                },
            ],
        }),
        6 => w.command(Command::StopPlay { leg: a }),
        7 => w.command(Command::Record {
            leg: a,
            sound: "office.1.1".parse().unwrap(),
            limit: Duration::from_millis(100 * other),
            silence: (other > 2).then_some(Duration::from_millis(700)),
        }),
        8 => w.command(Command::StopRecord { leg: a }),
        9 => w.command(Command::SendDigit { leg: a, digit: '7' }),
        10 if pick(4) == 0 => w.command(Command::Close { leg: a }),
        11 => w.log_is_full = other == 0,
        12 => w.run(pick(3000)),
        _ if there => {
            let bits = random.draw();
            let header = Header {
                marker: bits & 1 == 1,
                payload_type: [0, 8, 101, 13][(bits >> 1 & 3) as usize],
                seq: (bits >> 8) as u16 & if bits & 0x80 == 0 { 0xff } else { 0xffff },
                timestamp: (bits >> 24) as u32,
                ssrc: 77 + (bits >> 60) as u32 / 15,
            };
            w.packet(
                leg,
                addr(other),
                header,
                &[3; 480][..(bits >> 5 & 0x1ff) as usize % 481],
            );
        }
        _ => w.run(5),
    }
}

fn tap(leg: u64, number: u64, codec: SoundCodec) -> Command {
    Command::Tap {
        leg: LegId(leg),
        sound: sound_id(number),
        codec,
        limit: Duration::from_secs(60),
    }
}

fn sound_id(number: u64) -> Id {
    format!("office.1.{number}").parse().unwrap()
}

fn reports(events: Vec<Event>) -> Vec<(u64, TapReport)> {
    let taps = events.into_iter().filter_map(|event| match event {
        Event::TapDone { leg, report } => Some((leg.0, *report)),
        _ => None,
    });
    taps.collect()
}

#[test]
fn what_two_say_to_each_other_is_tapped_as_it_came_while_they_hear_each_other() {
    let mut w = World::new();
    w.leg(1, |_| {});
    w.leg(2, |_| {});
    w.command(Command::Bridge {
        a: LegId(1),
        b: LegId(2),
    });
    w.command(tap(1, 1, SoundCodec::Pcmu));
    w.command(tap(2, 2, SoundCodec::Pcmu));
    for n in 0..100u16 {
        w.run(20);
        w.packet(1, addr(1), sound_header(n), &[0x20; 160]);
        w.packet(2, addr(2), sound_header(n), &[0x30; 160]);
    }
    let heard = w.heard_by(2);
    assert!(heard.iter().all(|(_, payload)| payload[..] == [0x20; 160]));
    assert_eq!(heard.len(), 100);
    // One leaves, and is tapped no more; the other is held, and then speaks to somebody else.
    w.command(Command::Close { leg: LegId(2) });
    w.run(1000);
    w.leg(3, |_| {});
    w.command(Command::Bridge {
        a: LegId(1),
        b: LegId(3),
    });
    for n in 100..150u16 {
        w.run(20);
        w.packet(1, addr(1), sound_header(n), &[0x40; 160]);
    }
    w.command(Command::Untap {
        leg: LegId(1),
        sound: sound_id(1),
    });
    w.run(20);
    let done = reports(w.events());
    let ends: Vec<_> = done
        .iter()
        .map(|(leg, r)| (*leg, r.sound, r.samples, r.end))
        .collect();
    let expected = [
        (2, sound_id(2), 16_000, RecordEnd::Stopped),
        (1, sound_id(1), 32_000, RecordEnd::Stopped),
    ];
    assert_eq!(ends, expected);
    assert_eq!(w.sounds[&sound_id(2)], [0x30; 16_000]);
    let one = &w.sounds[&sound_id(1)];
    assert_eq!(one[..16_000], [0x20; 16_000]);
    assert_eq!(one[24_000..], [0x40; 8000]);
    let packets = done[1].1.packets;
    assert_eq!((packets.expected, packets.come), (150, 150));
}

#[test]
fn a_tap_outlives_a_change_of_codec_and_a_leg_has_several() {
    let mut w = World::new();
    w.leg(1, |_| {});
    for number in 1..=TAPS_MAX as u64 + 1 {
        w.command(tap(1, number, SoundCodec::Pcmu));
    }
    let refused = reports(w.events());
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (refused[0].1.sound, refused[0].1.end),
        (sound_id(5), RecordEnd::LogRefused)
    );
    // A recording beside them ends alone.
    w.command(Command::Record {
        leg: LegId(1),
        sound: sound_id(9),
        limit: Duration::from_secs(1),
        silence: None,
    });
    let a_law = Codec::Pcma.encode(8000);
    for n in 0..100u16 {
        w.run(20);
        let is_first = n < 50;
        let (payload_type, byte) = if is_first { (0, 0x20) } else { (8, a_law) };
        let header = Header {
            payload_type,
            ..sound_header(n)
        };
        w.packet(1, addr(1), header, &[byte; 160]);
    }
    w.command(Command::PauseTap {
        leg: LegId(1),
        sound: sound_id(2),
        is_paused: true,
    });
    w.command(Command::Close { leg: LegId(1) });
    w.run(100);
    let events = w.events();
    assert!(matches!(events[0], Event::RecordDone { .. }), "{events:?}");
    let done = reports(events);
    assert_eq!(done.len(), TAPS_MAX);
    for (_, report) in &done {
        let samples = &w.sounds[&report.sound];
        assert_eq!(report.samples, 16_000);
        assert_eq!(samples[..8000], [0x20; 8000]);
        let said = Codec::Pcmu.decode(samples[12_000]);
        assert!((said - 8000).abs() < 400, "{said}");
    }
}
