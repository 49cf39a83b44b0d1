//! The engine on a real log: what is said ends up on the disk, chunk by chunk, and is played back
//! from there.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, unbounded};
use tandem_engine::Engine;
use tandem_engine::rtp::{self, Header};
use tandem_engine::seam::*;
use tandem_storage::name::Id;
use tandem_storage::seam::*;
use tandem_storage::time::WallTime;
use tandem_storage::{Log, LogConfig};

const SOON: Duration = Duration::from_secs(10);
const LEG: LegId = LegId(1);

fn next<E, T>(events: &Receiver<E>, wanted: impl Fn(E) -> Option<T>) -> T {
    let until = Instant::now() + SOON;
    loop {
        let event = events
            .recv_deadline(until)
            .expect("the event comes in time");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

fn begin(log: &Log, id: Id) {
    let begin = Append::Begin {
        id,
        codec: SoundCodec::Pcmu,
        at: WallTime(1),
        about: "".into(),
    };
    log.submit(Token::call_control(1), begin).unwrap();
}

#[test]
fn what_is_said_is_on_the_disk_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = LogConfig::new(folder.path().join("log"), "office".parse().unwrap());
    config.segment_bytes = 1 << 20;
    let (tell, committed) = unbounded();
    let mut opened = tandem_storage::open(config, move |e| drop(tell.send(e))).unwrap();
    let log = opened.log.clone();
    let (tell, events) = unbounded();
    let config = EngineConfig {
        bind: IpAddr::V4(Ipv4Addr::new(127, 79, 0, 1)),
        ports: (20_000, 20_009),
        workers: 1,
        prompts_dir: folder.path().join("prompts"),
        media_timeout: SOON,
        dscp: 0,
        opus: OpusConfig::default(),
    };
    let mut engine = Engine::start(config, log.clone(), move |e| drop(tell.send(e))).unwrap();
    let phone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    phone.set_read_timeout(Some(SOON)).unwrap();
    let to = SocketAddr::new(engine.bind_address(), engine.open(LEG).unwrap());
    let params = MediaParams {
        remote_rtp: Some(phone.local_addr().unwrap()),
        remote_rtcp: None,
        codec: Codec::Pcmu,
        payload_type: 0,
        dtmf_payload_type: None,
        receives: vec![(0, tandem_engine::seam::Receives::Sound(Codec::Pcmu))],
        dtmf_clock_hz: 8000,
        ptime_ms: 20,
        send: true,
        receive: true,
        learning: tandem_engine::seam::Learning::OFF,
    };
    engine.send(Command::Set { leg: LEG, params });

    let sound = opened.ids.next_id();
    begin(&log, sound);
    let limit = Duration::from_secs(60);
    engine.send(Command::Record {
        leg: LEG,
        sound,
        limit,
        silence: None,
    });
    assert_eq!(
        engine.reports().len(),
        1,
        "the commands before were carried out"
    );
    let began = Instant::now();
    let mut said: Vec<u8> = Vec::new();
    for n in 0..60u16 {
        while began.elapsed() < Duration::from_millis(20 * u64::from(n)) {
            std::thread::yield_now();
        }
        let header = Header {
            marker: n == 0,
            payload_type: 0,
            seq: n,
            timestamp: 160 * u32::from(n),
            ssrc: 9,
        };
        let mut packet = vec![n as u8; 172];
        rtp::write(&header, packet.first_chunk_mut().unwrap());
        phone.send_to(&packet, to).unwrap();
        said.extend(&packet[12..]);
    }
    engine.send(Command::StopRecord { leg: LEG });
    let samples = next(&events, |e| match e {
        Event::RecordDone {
            samples,
            end: RecordEnd::Stopped,
            ..
        } => Some(samples),
        _ => None,
    });
    let mut places = Vec::new();
    let mut known = 0;
    while known < samples {
        let (index, place) = next(&committed, |e| match e {
            LogEvent::Committed { record, .. } => match record.what {
                Payload::Chunk { id, index, place } if id == sound => Some((index, place)),
                _ => None,
            },
            _ => None,
        });
        assert_eq!(index as usize, places.len());
        known += u64::from(place.samples);
        places.push(place);
    }
    assert!(
        places.len() >= 3,
        "a second and more is not kept back: {places:?}"
    );
    let mut kept = Vec::new();
    for place in &places {
        log.reader().read(place, &mut kept).unwrap();
    }
    // Before the first packet came, and where one came late, there may be a little silence.
    let silence = Codec::Pcmu.silence();
    let spoken: Vec<u8> = kept.iter().copied().filter(|b| *b != silence).collect();
    assert_eq!(spoken, said);

    let places: Arc<[ChunkPlace]> = places.into();
    let items = vec![PlayItem::Sound {
        codec: SoundCodec::Pcmu,
        places,
        from_sample: 0,
        is_open: false,
    }];
    engine.send(Command::Play {
        leg: LEG,
        play: PlayId(1),
        items,
    });
    let mut played = Vec::<u8>::new();
    while played.len() < said.len() {
        let mut bytes = [0; 600];
        let len = phone.recv(&mut bytes).unwrap();
        let payload = rtp::parse(&bytes[..len]).unwrap().payload;
        played.extend(bytes[payload].iter().filter(|b| **b != silence));
    }
    assert_eq!(played, said);
    engine.stop();
    log.close();
}
