//! The engine with real sockets on the loopback: what comes out of one port when something goes
//! into another.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, unbounded};
use tandem_engine::rtp::{self, Header};
use tandem_engine::seam::*;
use tandem_engine::{Engine, SoundStore, Unread};
use tandem_storage::block::ChunkBlock;
use tandem_storage::name::Id;
use tandem_storage::seam::{ChunkPlace, SoundCodec};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SOON: Duration = Duration::from_secs(5);

/// A store in memory: what was submitted can be read by its place.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<Vec<u8>>>>);

impl SoundStore for Memory {
    fn submit(&self, _: Id, index: u32, block: ChunkBlock) -> Result<(), ChunkBlock> {
        let mut chunks = self.0.lock().unwrap();
        assert_eq!(
            chunks.len(),
            index as usize,
            "chunks come in order, without a gap"
        );
        chunks.push(block.samples().to_vec());
        Ok(())
    }

    fn chunk(&self) -> ChunkBlock {
        ChunkBlock::new()
    }

    fn read(&self, place: &ChunkPlace, into: &mut Vec<u8>) -> Result<(), Unread> {
        let chunks = self.0.lock().unwrap();
        let chunk = chunks.get(place.offset as usize);
        into.extend(chunk.ok_or(Unread::Broken("no such chunk".into()))?);
        Ok(())
    }
}

impl Memory {
    fn places(&self) -> Arc<[ChunkPlace]> {
        let chunks = self.0.lock().unwrap();
        let place = |(n, c): (usize, &Vec<u8>)| ChunkPlace {
            segment: 1,
            offset: n as u64,
            samples: c.len() as u32,
        };
        chunks.iter().enumerate().map(place).collect()
    }
}

struct World {
    engine: Engine,
    events: Receiver<Event>,
    store: Memory,
    _prompts: tempfile::TempDir,
}

/// An even range of ports that nobody uses, on an address of its own: tests run side by side.
fn config(host: u8, ports: (u16, u16), prompts: &tempfile::TempDir) -> EngineConfig {
    EngineConfig {
        bind: IpAddr::V4(Ipv4Addr::new(127, 77, 0, host)),
        ports,
        workers: 2,
        prompts_dir: prompts.path().to_owned(),
        media_timeout: Duration::from_millis(400),
        dscp: 46,
        opus: OpusConfig::default(),
    }
}

fn world_with(host: u8, ports: (u16, u16)) -> World {
    let prompts = tempfile::tempdir().unwrap();
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(prompts.path().join("half.wav"), spec).unwrap();
    for n in 0..8000 {
        wav.write_sample((8000.0 * (n as f32 * 0.1).sin()) as i16)
            .unwrap();
    }
    wav.finalize().unwrap();
    let (tell, events) = unbounded();
    let store = Memory::default();
    let engine = Engine::start(config(host, ports, &prompts), store.clone(), move |event| {
        let _ = tell.send(event);
    });
    World {
        engine: engine.unwrap(),
        events,
        store,
        _prompts: prompts,
    }
}

fn world(host: u8) -> World {
    world_with(host, (20_000, 20_199))
}

/// A phone: a socket, and where it sends.
struct Phone {
    socket: UdpSocket,
    to: SocketAddr,
    leg: LegId,
    seq: u16,
    timestamp: u32,
    ssrc: u32,
    payload_type: u8,
}

impl World {
    /// A phone on a leg of its own.
    fn phone(&mut self, leg: u64, codec: Codec) -> Phone {
        let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let port = self.engine.open(LegId(leg)).unwrap();
        let to = SocketAddr::new(config_bind(&self.engine), port);
        let payload_type = match codec {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::G722 => 9,
            Codec::Opus => 111,
        };
        let phone = Phone {
            socket,
            to,
            leg: LegId(leg),
            seq: 100,
            timestamp: 5000,
            ssrc: leg as u32,
            payload_type,
        };
        self.set(&phone, codec, |_| {});
        phone
    }

    fn set(&mut self, phone: &Phone, codec: Codec, change: impl FnOnce(&mut MediaParams)) {
        let mut params = MediaParams {
            remote_rtp: Some(phone.socket.local_addr().unwrap()),
            remote_rtcp: None,
            codec,
            payload_type: phone.payload_type,
            dtmf_payload_type: Some(96 + (phone.leg.0 % 10) as u8),
            receives: vec![
                (phone.payload_type, Receives::Sound(codec)),
                (96 + (phone.leg.0 % 10) as u8, Receives::Keys),
            ],
            dtmf_clock_hz: 8000,
            ptime_ms: 20,
            send: true,
            receive: true,
            learning: Learning::from_host(phone.socket.local_addr().unwrap().ip(), true),
        };
        change(&mut params);
        self.engine.send(Command::Set {
            leg: phone.leg,
            params,
        });
    }

    /// The next event that `wanted` picks; others are passed over.
    fn event<T>(&self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let until = Instant::now() + SOON;
        loop {
            let event = self
                .events
                .recv_deadline(until)
                .expect("the event comes in time");
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    }

    fn closed(&mut self, leg: LegId) -> LegReport {
        self.engine.send(Command::Close { leg });
        self.event(|e| match e {
            Event::Closed { leg: l, report } if *l == leg => Some(*report),
            _ => None,
        })
    }

    /// Sends from `from` until something arrives at `to`: commands have then been carried out.
    fn until_heard(&self, from: &mut Phone, to: &Phone, payload: &[u8]) -> (Header, Vec<u8>) {
        let until = Instant::now() + SOON;
        to.socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let heard = loop {
            assert!(Instant::now() < until, "nothing was heard");
            from.say(payload);
            if let Some(heard) = to.hear() {
                break heard;
            }
        };
        while to.hear().is_some() {}
        to.socket.set_read_timeout(Some(SOON)).unwrap();
        heard
    }
}

fn config_bind(engine: &Engine) -> IpAddr {
    engine.bind_address()
}

impl Phone {
    fn packet(&self, marker: bool, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let (seq, timestamp, ssrc) = (self.seq, self.timestamp, self.ssrc);
        let header = Header {
            marker,
            payload_type,
            seq,
            timestamp,
            ssrc,
        };
        let mut bytes = vec![0; 12];
        rtp::write(&header, bytes.first_chunk_mut().unwrap());
        bytes.extend(payload);
        bytes
    }

    fn say(&mut self, payload: &[u8]) {
        let bytes = self.packet(false, self.payload_type, payload);
        self.socket.send_to(&bytes, self.to).unwrap();
        self.seq = self.seq.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(payload.len() as u32);
    }

    fn hear(&self) -> Option<(Header, Vec<u8>)> {
        let mut bytes = [0; 2000];
        let (len, _) = self.socket.recv_from(&mut bytes).ok()?;
        let parsed = rtp::parse(&bytes[..len]).expect("the engine sends RTP");
        Some((parsed.header, bytes[parsed.payload].to_vec()))
    }
}

#[test]
fn two_phones_hear_each_other_under_the_engines_headers() {
    let mut w = world(1);
    let (mut a, mut b) = (w.phone(1, Codec::Pcmu), w.phone(2, Codec::Pcmu));
    w.engine.send(Command::Bridge { a: a.leg, b: b.leg });
    let (first, _) = w.until_heard(&mut a, &b, &[0x11; 160]);
    w.until_heard(&mut b, &a, &[0x22; 160]);
    let mut last = None::<Header>;
    for n in 0..20u8 {
        a.say(&[n; 160]);
        let (header, payload) = b.hear().unwrap();
        assert_eq!((header.ssrc, header.payload_type), (first.ssrc, 0));
        assert_ne!(header.ssrc, a.ssrc);
        assert_eq!(payload, [n; 160]);
        if let Some(last) = last {
            assert_eq!(header.seq, last.seq.wrapping_add(1));
            assert_eq!(header.timestamp, last.timestamp.wrapping_add(160));
        }
        last = Some(header);
    }
    let report = w.closed(a.leg);
    assert!(
        report.packets_received >= 21 && report.packets_lost == 0,
        "{report:?}"
    );
    w.engine.stop();
}

#[test]
fn different_laws_are_transcoded() {
    let mut w = world(2);
    let (mut a, mut b) = (w.phone(1, Codec::Pcmu), w.phone(2, Codec::Pcma));
    w.engine.send(Command::Bridge { a: a.leg, b: b.leg });
    let loud = Codec::Pcmu.encode(12_000);
    let (header, payload) = w.until_heard(&mut a, &b, &[loud; 160]);
    assert_eq!((header.payload_type, payload.len()), (8, 160));
    assert!((i32::from(Codec::Pcma.decode(payload[0])) - 12_000).abs() < 600);
    let (header, payload) = w.until_heard(&mut b, &a, &[Codec::Pcma.encode(-500); 160]);
    assert_eq!(header.payload_type, 0);
    assert!((i32::from(Codec::Pcmu.decode(payload[9])) + 500).abs() < 40);
    w.engine.stop();
}

#[test]
fn an_echo_comes_back_and_a_key_is_reported_once_and_passed_on() {
    let mut w = world(3);
    let mut a = w.phone(1, Codec::Pcma);
    w.engine.send(Command::Echo { leg: a.leg });
    let me = Phone {
        socket: a.socket.try_clone().unwrap(),
        ..clone_of(&a)
    };
    w.until_heard(&mut a, &me, &[0x33; 80]);
    let b = w.phone(2, Codec::Pcma);
    w.engine.send(Command::Bridge { a: a.leg, b: b.leg });
    w.until_heard(&mut a, &b, &[0x33; 160]);
    for (duration, end) in [
        (160u16, 0u8),
        (320, 0),
        (480, 0x80),
        (480, 0x80),
        (480, 0x80),
    ] {
        let [high, low] = duration.to_be_bytes();
        let bytes = a.packet(duration == 160, 97, &[7, end | 10, high, low]);
        a.socket.send_to(&bytes, a.to).unwrap();
        a.seq += 1;
        let (header, payload) = b.hear().unwrap();
        assert_eq!(
            (header.payload_type, payload[0]),
            (98, 7),
            "in the other's numbers"
        );
    }
    let digit = |e: &Event| match e {
        Event::Digit { leg, digit } => Some((*leg, *digit)),
        _ => None,
    };
    assert_eq!(w.event(digit), (a.leg, '7'));
    w.closed(a.leg);
    assert!(!w.events.try_iter().any(|e| digit(&e).is_some()), "once");
    w.engine.stop();
}

fn clone_of(phone: &Phone) -> Phone {
    Phone {
        socket: phone.socket.try_clone().unwrap(),
        to: phone.to,
        leg: phone.leg,
        seq: 0,
        timestamp: 0,
        ssrc: 0,
        payload_type: phone.payload_type,
    }
}

#[test]
fn a_prompt_and_a_tone_are_played_gapless_and_paced() {
    let mut w = world(4);
    let a = w.phone(1, Codec::Pcmu);
    let items = vec![
        PlayItem::Prompt("half".into()),
        PlayItem::Tone {
            frequency_hz: 1000,
            duration_ms: 300,
            level_dbfs: -10,
        },
    ];
    w.engine.send(Command::Play {
        leg: a.leg,
        play: PlayId(9),
        items,
    });
    let mut last = None::<Header>;
    let began = Instant::now();
    let mut loud = 0;
    for _ in 0..40 {
        let (header, payload) = a.hear().unwrap();
        if let Some(last) = last {
            assert_eq!(header.seq, last.seq.wrapping_add(1));
            assert_eq!(header.timestamp, last.timestamp.wrapping_add(160));
        }
        loud += usize::from(payload.iter().any(|b| Codec::Pcmu.decode(*b).abs() > 3000));
        last = Some(header);
    }
    let took = began.elapsed();
    // A machine that is held up makes it longer, never shorter than the 100 ms it may make up for.
    assert!(took.as_millis() >= 680, "{took:?}");
    assert_eq!(loud, 40, "no packet of silence in it");
    let done = |e: &Event| {
        matches!(
            e,
            Event::PlayDone {
                play: PlayId(9),
                ..
            }
        )
        .then_some(())
    };
    w.event(done);
    w.engine.stop();
}

#[test]
fn all_ports_come_back_and_a_used_up_range_says_so() {
    let mut w = world_with(5, (21_000, 21_019));
    for round in 0..100 {
        for n in 0..10 {
            w.engine.open(LegId(round * 10 + n)).unwrap();
        }
        assert!(matches!(
            w.engine.open(LegId(u64::MAX)),
            Err(OpenError::PortsUsedUp { .. })
        ));
        for n in 0..10 {
            w.engine.send(Command::Close {
                leg: LegId(round * 10 + n),
            });
        }
        for _ in 0..10 {
            w.event(|e| matches!(e, Event::Closed { .. }).then_some(()));
        }
    }
    assert_eq!(w.engine.stats().ports_free, 10);
    w.engine.stop();
}

#[test]
fn a_pair_that_another_program_holds_is_passed_over() {
    let mut w = world_with(6, (21_000, 21_003));
    let held = UdpSocket::bind((w.engine.bind_address(), 21_001)).unwrap();
    assert_eq!(w.engine.open(LegId(1)).unwrap(), 21_002);
    assert!(w.engine.open(LegId(2)).is_err());
    drop(held);
    assert_eq!(w.engine.open(LegId(2)).unwrap(), 21_000);
    w.engine.stop();
}

#[test]
fn what_is_said_is_recorded_and_played_back_the_same() {
    let mut w = world(7);
    let mut a = w.phone(1, Codec::Pcma);
    let sound: Id = "office.1.7".parse().unwrap();
    let record = Command::Record {
        leg: a.leg,
        sound,
        limit: Duration::from_secs(60),
        silence: None,
    };
    w.engine.send(Command::Echo { leg: a.leg });
    let me = clone_of(&a);
    w.until_heard(&mut a, &me, &[0x40; 160]);
    w.engine.send(record);
    // An answer to a question about the leg: the command before it was carried out.
    assert_eq!(w.engine.reports().len(), 1);
    for n in 0..75u8 {
        a.say(&[n | 0x80; 160]);
        a.hear().unwrap();
        if n % 5 == 4 {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    w.engine.send(Command::StopRecord { leg: a.leg });
    let (samples, end) = w.event(|e| match e {
        Event::RecordDone {
            sound: s,
            samples,
            end,
            ..
        } if *s == sound => Some((*samples, *end)),
        _ => None,
    });
    let silence = Codec::Pcma.silence();
    let kept: Vec<u8> = w.store.0.lock().unwrap().concat();
    assert_eq!((samples, end), (kept.len() as u64, RecordEnd::Stopped));
    // A machine that is held up may put silence between what was said.
    let spoken: Vec<u8> = kept.iter().copied().filter(|b| *b != silence).collect();
    let said: Vec<u8> = (0..75u8).flat_map(|n| [n | 0x80; 160]).collect();
    assert_eq!(spoken, said);

    let items = vec![PlayItem::Sound {
        codec: SoundCodec::Pcma,
        places: w.store.places(),
        from_sample: 0,
        is_open: false,
    }];
    w.engine.send(Command::Play {
        leg: a.leg,
        play: PlayId(1),
        items,
    });
    let mut played = Vec::new();
    while played.len() < said.len() {
        played.extend(a.hear().unwrap().1.into_iter().filter(|b| *b != silence));
    }
    assert_eq!(played, said);
    w.engine.stop();
}

#[test]
fn a_strangers_packets_are_neither_forwarded_nor_answered() {
    let mut w = world(8);
    let (mut a, b) = (w.phone(1, Codec::Pcmu), w.phone(2, Codec::Pcmu));
    w.engine.send(Command::Bridge { a: a.leg, b: b.leg });
    w.until_heard(&mut a, &b, &[0x10; 160]);
    let attacker = UdpSocket::bind((Ipv4Addr::new(127, 66, 6, 6), 0)).unwrap();
    attacker.set_nonblocking(true).unwrap();
    for n in 0..200 {
        a.seq = a.seq.wrapping_add(1);
        let _ = attacker.send_to(&a.packet(false, 0, &[0x66; 160]), a.to);
        if n % 10 == 0 {
            a.say(&[0x10; 160]);
            assert_eq!(b.hear().unwrap().1, [0x10; 160]);
        }
    }
    assert!(
        attacker.recv_from(&mut [0; 2000]).is_err(),
        "nothing is sent to a stranger"
    );
    let report = w.closed(a.leg);
    assert!(report.packets_received < 100, "the phone's own: {report:?}");
    w.engine.stop();
}

#[test]
fn a_phone_that_falls_silent_is_reported_once_until_it_speaks_again() {
    let mut w = world(9);
    let mut a = w.phone(1, Codec::Pcmu);
    let timeout = |e: &Event| matches!(e, Event::MediaTimeout { .. }).then_some(());
    w.event(timeout);
    assert!(
        w.events.recv_timeout(Duration::from_millis(900)).is_err(),
        "once"
    );
    a.say(&[0x10; 160]);
    w.event(timeout);
    w.engine.stop();
}

#[test]
fn nothing_is_sent_on_hold_and_the_bridge_persists() {
    let mut w = world(10);
    let (mut a, b) = (w.phone(1, Codec::Pcmu), w.phone(2, Codec::Pcmu));
    w.engine.send(Command::Bridge { a: a.leg, b: b.leg });
    w.until_heard(&mut a, &b, &[0x10; 160]);
    w.set(&b, Codec::Pcmu, |p| p.send = false);
    assert_eq!(w.engine.reports().len(), 2);
    b.socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    for _ in 0..5 {
        a.say(&[0x10; 160]);
    }
    assert!(b.hear().is_none());
    w.set(&b, Codec::Pcmu, |_| {});
    w.until_heard(&mut a, &b, &[0x10; 160]);
    w.engine.stop();
}

#[test]
fn bytes_that_are_no_rtp_are_counted() {
    let mut w = world(11);
    let mut a = w.phone(1, Codec::Pcmu);
    w.engine.send(Command::Echo { leg: a.leg });
    let me = clone_of(&a);
    w.until_heard(&mut a, &me, &[0x10; 160]);
    let malformed = [&[0xff; 1500][..], &[0x41; 100]];
    let keep_alives = [&b""[..], b"x", &[0x80; 11], &a.packet(false, 13, &[0; 10])];
    for bytes in malformed.into_iter().chain(keep_alives) {
        a.socket.send_to(bytes, a.to).unwrap();
    }
    let rtcp = SocketAddr::new(a.to.ip(), a.to.port() + 1);
    a.socket.send_to(&[0x81; 40], rtcp).unwrap();
    w.until_heard(&mut a, &me, &[0x10; 160]);
    let until = Instant::now() + SOON;
    loop {
        let reports = w.engine.reports();
        assert!(reports[0].1.packets_malformed <= 3, "{reports:?}");
        if reports[0].1.packets_malformed == 3 {
            break;
        }
        assert!(Instant::now() < until, "{reports:?}");
    }
    w.engine.stop();
}

#[test]
fn many_calls_come_and_go_on_two_workers() {
    let mut w = world_with(12, (22_000, 22_399));
    for round in 0..2u64 {
        let mut calls = Vec::new();
        for n in 0..40 {
            let leg = 1000 * round + 2 * n;
            let (a, b) = (w.phone(leg, Codec::Pcmu), w.phone(leg + 1, Codec::Pcma));
            w.engine.send(Command::Bridge { a: a.leg, b: b.leg });
            calls.push((a, b));
        }
        for (a, b) in &mut calls {
            w.until_heard(a, b, &[0x10; 160]);
            w.until_heard(b, a, &[0x20; 160]);
        }
        // Every second leg changes its partner while packets flow.
        for pair in calls.chunks_exact_mut(2) {
            let [(a, _), (_, d)] = pair else {
                unreachable!("chunks of two")
            };
            w.engine.send(Command::Bridge { a: a.leg, b: d.leg });
            w.until_heard(a, d, &[0x30; 160]);
        }
        for (a, b) in &calls {
            w.engine.send(Command::Close { leg: a.leg });
            w.engine.send(Command::Close { leg: b.leg });
        }
        for _ in 0..2 * calls.len() {
            w.event(|e| matches!(e, Event::Closed { .. }).then_some(()));
        }
    }
    let stats = w.engine.stats();
    assert_eq!((stats.ports_free, stats.commands_dropped), (200, 0));
    assert_eq!(stats.total.commands_unknown, 0);
    w.engine.stop();
}

#[test]
fn it_works_over_ipv6_and_between_the_families() {
    let prompts = tempfile::tempdir().unwrap();
    let mut config = config(13, (23_000, 23_019), &prompts);
    config.bind = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);
    let (tell, events) = unbounded();
    let store = Memory::default();
    let engine = Engine::start(config, store.clone(), move |e| drop(tell.send(e))).unwrap();
    let mut w = World {
        engine,
        events,
        store,
        _prompts: prompts,
    };
    let (mut a, mut b) = (w.phone(1, Codec::Pcmu), w.phone(2, Codec::Pcmu));
    a.to.set_ip(LOCAL);
    b.socket = UdpSocket::bind((std::net::Ipv6Addr::LOCALHOST, 0)).unwrap();
    b.to.set_ip(std::net::Ipv6Addr::LOCALHOST.into());
    w.set(&b, Codec::Pcmu, |_| {});
    w.engine.send(Command::Bridge { a: a.leg, b: b.leg });
    w.until_heard(&mut a, &b, &[0x10; 160]);
    w.until_heard(&mut b, &a, &[0x20; 160]);
    w.engine.stop();
}

#[test]
fn the_party_gets_reports_by_the_port_above() {
    let mut w = world(14);
    let a = w.phone(1, Codec::Pcmu);
    let rtcp = UdpSocket::bind((LOCAL, 0)).unwrap();
    rtcp.set_read_timeout(Some(SOON)).unwrap();
    let to = rtcp.local_addr().unwrap();
    w.set(&a, Codec::Pcmu, |p| p.remote_rtcp = Some(to));
    let mut bytes = [0; 1500];
    let (len, from) = rtcp.recv_from(&mut bytes).unwrap();
    assert_eq!(from.port(), a.to.port() + 1);
    assert!(tandem_engine::rtcp::parse(&bytes[..len], 0).is_ok());
    w.engine.stop();
}

#[test]
fn what_cannot_be_started_says_why() {
    let prompts = tempfile::tempdir().unwrap();
    let start = |change: fn(&mut EngineConfig)| {
        let mut config = config(15, (20_000, 20_009), &prompts);
        change(&mut config);
        Engine::start(config, Memory::default(), |_| {})
            .err()
            .unwrap()
            .to_string()
    };
    let no_pair = start(|c| c.ports = (20_001, 20_002));
    assert!(no_pair.contains("20001-20002"), "{no_pair}");
    let foreign = start(|c| c.bind = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    assert!(foreign.contains("192.0.2.1"), "{foreign}");
}

#[test]
fn commands_that_find_the_queue_full_wait_in_order() {
    let prompts = tempfile::tempdir().unwrap();
    let mut config = config(16, (20_000, 20_009), &prompts);
    config.workers = 1;
    let (tell, events) = unbounded();
    let (open_gate, gate) = unbounded::<()>();
    let engine = Engine::start(config, Memory::default(), move |event| {
        let holds_up = matches!(event, Event::PlayDone { .. });
        let _ = tell.send(event);
        if holds_up {
            let _ = gate.recv_timeout(SOON);
        }
    });
    let store = Memory::default();
    let mut w = World {
        engine: engine.unwrap(),
        events,
        store,
        _prompts: prompts,
    };
    let a = w.phone(1, Codec::Pcmu);
    w.engine.send(Command::Play {
        leg: a.leg,
        play: PlayId(1),
        items: Vec::new(),
    });
    w.event(|e| matches!(e, Event::PlayDone { .. }).then_some(()));
    for _ in 0..6000 {
        w.engine.send(Command::Unbridge { leg: a.leg });
    }
    w.engine.send(Command::Close { leg: a.leg });
    assert!(w.engine.stats().commands_delayed > 0);
    open_gate.send(()).unwrap();
    let until = Instant::now() + SOON;
    loop {
        w.engine.flush();
        match w.events.recv_timeout(Duration::from_millis(5)) {
            Ok(Event::Closed { leg, .. }) => break assert_eq!(leg, a.leg),
            _ => assert!(Instant::now() < until),
        }
    }
    assert_eq!(w.engine.stats().commands_dropped, 0);
    w.engine.stop();
}
