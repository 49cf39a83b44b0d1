//! A call between Opus and G.711, against libopus alone.
//!
//! `cargo bench -p tandem-benches --bench opus`. Both ways, 20 ms packets, the engine's own worker
//! from datagram to datagram but for the kernel's part; beside it nothing but one encode and one
//! decode of the same sound with the same settings. Slices of both alternate; medians are compared.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audiopus::coder::{Decoder, Encoder};
use audiopus::packet::Packet;
use audiopus::{Application, Bitrate, Channels, MutSignals, SampleRate};
use tandem_engine::output::Slot;
use tandem_engine::prompts::Prompts;
use tandem_engine::rtp::{self, Header};
use tandem_engine::seam::{Codec, Command, LegId, MediaParams, OpusConfig};
use tandem_engine::worker::Worker;
use tandem_storage::time::Time;

const RATE_HZ: usize = 8000;
const FRAME_SAMPLES: usize = RATE_HZ / 50;
/// Sound that is said over and over.
const FRAMES: usize = 250;
/// Pairs of slices; a slice is all frames once.
const PAIRS: usize = 21;
const OPUS_NUMBER: u8 = 111;

fn main() {
    let said = voice();
    let opus = OpusConfig::default();
    let mut alone = Alone::new(&opus);
    let packets = alone.packets(&said);
    let mut worker = Bridged::new();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        bare.push(timed(|| alone.slice(&said, &packets)));
        ours.push(timed(|| worker.slice(&said, &packets)));
    }
    let [bare, ours] = [bare, ours].map(median);
    let per_frame = |d: Duration| d.as_secs_f64() * 1e6 / FRAMES as f64;
    let ratio = bare.as_secs_f64() / ours.as_secs_f64();
    let calls = 20_000.0 / per_frame(ours);
    println!(
        "Opus and G.711, both ways, 20 ms, complexity {}: libopus alone {:.1} us, engine {:.1} us, \
         ratio {ratio:.2}; {calls:.0} calls a core",
        opus.complexity,
        per_frame(bare),
        per_frame(ours),
    );
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// A pitch with overtones that comes and goes.
fn voice() -> Vec<i16> {
    (0..FRAMES * FRAME_SAMPLES)
        .map(|n| {
            let t = n as f64 / RATE_HZ as f64;
            let turn = std::f64::consts::TAU * (120.0 * t + 3.0 * (t * 4.0).sin());
            let pitch: f64 = (1..20)
                .map(|k| (turn * f64::from(k)).sin() / f64::from(k))
                .sum();
            ((t * 9.0).sin().max(0.0) * pitch * 10_000.0) as i16
        })
        .collect()
}

/// libopus and nothing else.
struct Alone {
    encoder: Encoder,
    decoder: Decoder,
}

impl Alone {
    fn new(opus: &OpusConfig) -> Alone {
        let (rate, mono) = (SampleRate::Hz8000, Channels::Mono);
        let mut encoder = Encoder::new(rate, mono, Application::Voip).expect("libopus works");
        let bitrate = Bitrate::BitsPerSecond(opus.bitrate_bps as i32);
        encoder.set_bitrate(bitrate).expect("a legal bitrate");
        encoder.set_inband_fec(opus.fec).expect("it knows FEC");
        encoder.set_packet_loss_perc(5).expect("a legal loss");
        encoder
            .set_complexity(opus.complexity)
            .expect("a legal complexity");
        let decoder = Decoder::new(rate, mono).expect("libopus works");
        Alone { encoder, decoder }
    }

    fn packets(&mut self, said: &[i16]) -> Vec<Vec<u8>> {
        let frames = said.chunks_exact(FRAME_SAMPLES);
        frames.map(|pcm| self.encode(pcm)).collect()
    }

    fn encode(&mut self, pcm: &[i16]) -> Vec<u8> {
        let mut payload = [0; 480];
        let bytes = self.encoder.encode(pcm, &mut payload).expect("it encodes");
        payload[..bytes].to_vec()
    }

    fn slice(&mut self, said: &[i16], packets: &[Vec<u8>]) {
        let mut pcm = [0i16; 6 * FRAME_SAMPLES];
        for (frame, packet) in said.chunks_exact(FRAME_SAMPLES).zip(packets) {
            black_box(self.encode(frame));
            let packet = Packet::try_from(&packet[..]).expect("it is not empty");
            let room = MutSignals::try_from(&mut pcm[..]).expect("it is not empty");
            let count = self.decoder.decode(Some(packet), room, false);
            black_box(count.expect("it decodes"));
        }
    }
}

/// A worker with one call.
struct Bridged {
    worker: Worker,
    now: Time,
    parties: [(Slot, Header, u32); 2],
}

impl Bridged {
    fn new() -> Bridged {
        let mut worker = Worker::new(Arc::new(Prompts::default()), Duration::from_secs(30), 1);
        let now = Time(1_000_000_000);
        let parties = [(1, Codec::Pcmu, 0), (2, Codec::Opus, OPUS_NUMBER)];
        let parties = parties.map(|(leg, codec, number)| {
            let slot = worker.open(now, LegId(leg)).expect("there is room");
            let params = MediaParams {
                remote_rtp: Some(address()),
                remote_rtcp: None,
                codec,
                payload_type: number,
                dtmf_payload_type: None,
                receives: vec![(number, tandem_engine::seam::Receives::Sound(codec))],
                dtmf_clock_hz: codec.clock_hz(),
                ptime_ms: 20,
                send: true,
                receive: true,
                learning: tandem_engine::seam::Learning::OFF,
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
            (slot, header, codec.clock_hz() / 50)
        });
        let (a, b) = (LegId(1), LegId(2));
        worker.on_command(now, Command::Bridge { a, b });
        Bridged {
            worker,
            now,
            parties,
        }
    }

    fn slice(&mut self, said: &[i16], packets: &[Vec<u8>]) {
        let mut law = [0; FRAME_SAMPLES];
        for (frame, packet) in said.chunks_exact(FRAME_SAMPLES).zip(packets) {
            self.now = self.now + Duration::from_millis(20);
            for (byte, sample) in law.iter_mut().zip(frame) {
                *byte = Codec::Pcmu.encode(*sample);
            }
            let mut sent = 0;
            for (party, payload) in [(0, &law[..]), (1, &packet[..])] {
                sent += self.datagram(party, payload);
            }
            assert_eq!(sent, 2, "each hears the other");
            self.worker.on_time(self.now);
            while self.worker.poll().is_some() {}
        }
    }

    fn datagram(&mut self, party: usize, payload: &[u8]) -> usize {
        let (slot, header, ticks) = &mut self.parties[party];
        let mut bytes = [0; 512];
        rtp::write(header, bytes.first_chunk_mut().expect("room for a header"));
        bytes[12..12 + payload.len()].copy_from_slice(payload);
        header.seq = header.seq.wrapping_add(1);
        header.timestamp = header.timestamp.wrapping_add(*ticks);
        let bytes = &mut bytes[..12 + payload.len()];
        let forward = self.worker.on_rtp(self.now, *slot, Some(address()), bytes);
        assert_eq!(forward, None);
        let mut sent = 0;
        while let Some(output) = self.worker.poll() {
            sent += usize::from(matches!(
                black_box(output),
                tandem_engine::output::Output::Send {
                    channel: tandem_engine::output::Channel::Rtp,
                    ..
                }
            ));
        }
        sent
    }
}

fn address() -> SocketAddr {
    ([192, 0, 2, 1], 4000).into()
}
