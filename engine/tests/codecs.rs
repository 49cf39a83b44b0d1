//! The codecs against other people's: ffmpeg has its own G.711, G.722 and decoder of Opus.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Stdio};

use tandem_engine::codec::inbound::{Flow, Inbound};
use tandem_engine::codec::outbound::Outbound;
use tandem_engine::codec::{Decode, Encode, g711, g722, opus};
use tandem_engine::output::MADE_BYTES_MAX;
use tandem_engine::rtp::Header;
use tandem_engine::seam::{Codec, OpusConfig};

/// What ffmpeg makes of `input`.
fn ffmpeg(input: &[u8], from: &str, to: &str) -> Vec<u8> {
    let line = format!("-v error {from} -i pipe:0 {to} pipe:1");
    let mut child = Command::new("ffmpeg")
        .args(line.split_ascii_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn bytes_of(pcm: &[i16]) -> Vec<u8> {
    pcm.iter().flat_map(|s| s.to_le_bytes()).collect()
}

fn samples_of(bytes: &[u8]) -> Vec<i16> {
    let pairs = bytes.chunks_exact(2);
    pairs.map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

/// Something like a voice: a pitch with overtones that comes and goes, a hiss, loud at times.
fn voice(rate_hz: u32, seconds: f64) -> Vec<i16> {
    let mut random = tandem_engine::random::Random::new(1);
    let count = (f64::from(rate_hz) * seconds) as usize;
    (0..count)
        .map(|n| {
            let t = n as f64 / f64::from(rate_hz);
            let loud = (t * 9.0).sin().max(0.0) * (0.3 + 0.7 * (t * 1.3).sin().abs());
            let turn = std::f64::consts::TAU * (120.0 * t + 3.0 * (t * 4.0).sin());
            let pitch: f64 = (1..20)
                .map(|k| (turn * f64::from(k)).sin() / f64::from(k))
                .sum();
            let hiss = random.fraction() - 0.5;
            (loud * (pitch * 14_000.0 + hiss * 2000.0)).clamp(-32_768.0, 32_767.0) as i16
        })
        .collect()
}

fn sine(hz: f64, rate_hz: f64, seconds: f64) -> Vec<i16> {
    let step = std::f64::consts::TAU * hz / rate_hz;
    let count = (rate_hz * seconds) as usize;
    (0..count)
        .map(|n| ((step * n as f64).sin() * 8000.0) as i16)
        .collect()
}

/// The tone of `hz` in `pcm`, against the sine put in, and all else against that tone; in dB.
fn tone(pcm: &[i16], hz: f64, rate_hz: f64) -> (f64, f64) {
    let step = std::f64::consts::TAU * hz / rate_hz;
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

/// Signal to noise in dB, where `heard` is `said` in whole samples later than `delay` at most.
fn snr_db(said: &[i16], heard: &[i16], delay: usize) -> f64 {
    let at = |shift: usize| {
        let (mut signal, mut noise) = (1.0, 1.0);
        for (a, b) in said.iter().zip(&heard[shift..]) {
            signal += f64::from(*a).powi(2);
            noise += (f64::from(*a) - f64::from(*b)).powi(2);
        }
        10.0 * (signal / noise).log10()
    };
    (0..=delay).map(at).fold(f64::MIN, f64::max)
}

#[test]
fn g711_is_decoded_and_encoded_as_by_ffmpeg() {
    let bytes: Vec<u8> = (0..=255).collect();
    let linear: Vec<i16> = (i16::MIN..=i16::MAX).collect();
    for (codec, name) in [(Codec::Pcmu, "mulaw"), (Codec::Pcma, "alaw")] {
        let mut ours = Vec::new();
        g711::Law(codec).decode(&bytes, &mut ours).unwrap();
        let theirs = ffmpeg(&bytes, &format!("-f {name} -ar 8000"), "-f s16le");
        assert_eq!(ours, samples_of(&theirs), "{name}");
        let mut ours = vec![0; linear.len()];
        g711::Law(codec).encode(&linear, &mut ours);
        let theirs = ffmpeg(
            &bytes_of(&linear),
            "-f s16le -ar 8000",
            &format!("-f {name}"),
        );
        // Near the middle between two steps they may differ; on the whole neither is nearer.
        let off = |bytes: &[u8]| -> i64 {
            let pairs = bytes.iter().zip(&linear);
            let each = pairs.map(|(b, s)| i64::from(codec.decode(*b)) - i64::from(*s));
            each.map(i64::abs).sum()
        };
        let (ours, theirs) = (off(&ours), off(&theirs));
        assert!(ours <= theirs + theirs / 100, "{name}: {ours} {theirs}");
    }
}

#[test]
fn g722_is_decoded_and_encoded_bit_by_bit_as_by_ffmpeg() {
    for said in [
        voice(16_000, 5.0),
        sine(1000.0, 16_000.0, 1.0),
        sine(6000.0, 16_000.0, 1.0),
    ] {
        let mut bytes = vec![0; said.len() / 2];
        assert_eq!(
            g722::Encoder::default().encode(&said, &mut bytes),
            bytes.len()
        );
        let theirs = ffmpeg(&bytes_of(&said), "-f s16le -ar 16000", "-f g722");
        assert_eq!(bytes, theirs, "encoded");
        let mut heard = Vec::new();
        g722::Decoder::default().decode(&bytes, &mut heard).unwrap();
        assert_eq!(
            heard,
            samples_of(&ffmpeg(&bytes, "-f g722", "-f s16le")),
            "decoded"
        );
        assert!(snr_db(&said[..said.len() - 100], &heard, 40) > 15.0);
    }
}

#[test]
fn any_bytes_of_g722_are_sound_as_by_ffmpeg() {
    let mut random = tandem_engine::random::Random::new(3);
    let bytes: Vec<u8> = (0..8000).map(|_| random.draw() as u8).collect();
    let mut heard = Vec::new();
    g722::Decoder::default().decode(&bytes, &mut heard).unwrap();
    assert_eq!(heard, samples_of(&ffmpeg(&bytes, "-f g722", "-f s16le")));
}

/// The packets of an Ogg stream, less its two headers.
fn from_ogg(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut packet) = (Vec::new(), Vec::new());
    while bytes.starts_with(b"OggS") {
        let count = usize::from(bytes[26]);
        let mut at = 27 + count;
        for lace in &bytes[27..27 + count] {
            packet.extend_from_slice(&bytes[at..at + usize::from(*lace)]);
            at += usize::from(*lace);
            if *lace < 255 {
                packets.push(std::mem::take(&mut packet));
            }
        }
        bytes = &bytes[at..];
    }
    packets.split_off(2)
}

/// Packets of 20 ms as an Ogg stream (RFC 3533, RFC 7845).
fn to_ogg(packets: &[Vec<u8>]) -> Vec<u8> {
    let head = b"OpusHead\x01\x01\x00\x00\x80\xbb\x00\x00\x00\x00\x00".to_vec();
    let tags = b"OpusTags\x00\x00\x00\x00\x00\x00\x00\x00".to_vec();
    let mut ogg = Vec::new();
    for (n, packet) in [head, tags].iter().chain(packets).enumerate() {
        let granule = 960 * n.saturating_sub(1) as u64;
        let kind = u8::from(n == 0) << 1 | u8::from(n == packets.len() + 1) << 2;
        let mut page = b"OggS\x00".to_vec();
        page.push(kind);
        page.extend(granule.to_le_bytes());
        page.extend([1, 0, 0, 0]);
        page.extend((n as u32).to_le_bytes());
        page.extend([0; 4]);
        page.push((packet.len() / 255 + 1) as u8);
        page.extend(std::iter::repeat_n(255, packet.len() / 255));
        page.push((packet.len() % 255) as u8);
        page.extend(packet);
        let sum = page.iter().fold(0u32, |mut sum, byte| {
            sum ^= u32::from(*byte) << 24;
            for _ in 0..8 {
                sum = sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 };
            }
            sum
        });
        page[22..26].copy_from_slice(&sum.to_le_bytes());
        ogg.extend(page);
    }
    ogg
}

#[test]
fn ffmpegs_own_decoder_hears_what_our_opus_says() {
    for (rate_hz, hz) in [(8000, 1000.0), (16_000, 1000.0), (16_000, 5000.0)] {
        let said = sine(hz, f64::from(rate_hz), 2.0);
        let mut encoder = opus::Encoder::new(rate_hz, &OpusConfig::default()).unwrap();
        let packets: Vec<Vec<u8>> = said
            .chunks_exact(rate_hz as usize / 50)
            .map(|pcm| {
                let mut payload = [0; MADE_BYTES_MAX];
                let bytes = encoder.encode(pcm, &mut payload);
                payload[..bytes].to_vec()
            })
            .collect();
        let heard = ffmpeg(&to_ogg(&packets), "-c:a opus", "-f s16le -ac 1 -ar 48000");
        let heard = &samples_of(&heard)[24_000..72_000];
        let (level, rest) = tone(heard, hz, 48_000.0);
        assert!(
            level.abs() < 1.0 && rest < -15.0,
            "{rate_hz}, {hz}: {level} {rest}"
        );
    }
}

#[test]
fn our_opus_hears_what_ffmpeg_says() {
    let said = sine(1000.0, 16_000.0, 2.0);
    let ogg = ffmpeg(
        &bytes_of(&said),
        "-f s16le -ar 16000 -ac 1",
        "-c:a libopus -b:a 24k -application voip -f ogg",
    );
    for rate_hz in [8000, 16_000] {
        let mut decoder = opus::Decoder::new(rate_hz).unwrap();
        let mut heard = Vec::new();
        for packet in from_ogg(&ogg) {
            decoder.decode(&packet, &mut heard).unwrap();
        }
        let second = rate_hz as usize;
        let (level, rest) = tone(
            &heard[second / 2..second * 3 / 2],
            1000.0,
            f64::from(rate_hz),
        );
        assert!(
            level.abs() < 1.0 && rest < -15.0,
            "{rate_hz}: {level} {rest}"
        );
    }
}

/// What `inbound` hears of packets of `codec`, of which some are lost.
fn heard_with_loss(
    codec: Codec,
    ptime_ms: u32,
    is_lost: impl Fn(usize) -> bool,
) -> (Vec<i16>, usize) {
    let rate_hz = 16_000;
    let said = voice(rate_hz, 4.0);
    let mut outbound = Outbound::new(codec, rate_hz, ptime_ms, &OpusConfig::default()).unwrap();
    let mut inbound = Inbound::new(codec, rate_hz).unwrap();
    let (mut heard, mut timestamp, mut seq) = (Vec::new(), u32::MAX - 5000, 65_500u16);
    let mut samples = 0;
    for (n, pcm) in said.chunks(320).enumerate() {
        outbound.feed(pcm, rate_hz);
        let mut payload = [0; MADE_BYTES_MAX];
        while let Some(encoded) = outbound.pop(&mut payload) {
            let header = Header {
                marker: false,
                payload_type: 9,
                seq,
                timestamp,
                ssrc: 1,
            };
            seq = seq.wrapping_add(1);
            timestamp = timestamp.wrapping_add(encoded.ticks);
            samples +=
                (encoded.ticks / (codec.clock_hz() / 1000) * (inbound.rate_hz() / 1000)) as usize;
            if !is_lost(n) {
                let flow = inbound
                    .on_packet(&header, &payload[..encoded.bytes])
                    .unwrap();
                assert!(flow == Flow::Continues || heard.is_empty());
                heard.extend_from_slice(inbound.pcm());
            }
        }
    }
    (heard, samples)
}

#[test]
fn lost_packets_leave_the_sound_as_long_as_it_was() {
    for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus] {
        for ptime_ms in [10, 20, 40, 60] {
            // Never the last, which nothing follows.
            let (heard, samples) = heard_with_loss(codec, ptime_ms, |n| n % 11 == 5);
            assert!(
                samples - heard.len() <= 960,
                "{codec:?} {ptime_ms}: {} of {samples}",
                heard.len()
            );
        }
    }
}

#[test]
fn what_opus_lost_is_told_by_the_next_packet() {
    let (whole, _) = heard_with_loss(Codec::Opus, 20, |_| false);
    let (mended, _) = heard_with_loss(Codec::Opus, 20, |n| n % 10 == 5);
    assert_eq!(whole.len(), mended.len());
    let energy = |pcm: &[i16]| pcm.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
    // Of the lost packets alone: about as loud as what was said there.
    let lost = |pcm: &[i16]| -> f64 { pcm.chunks(320).skip(5).step_by(10).map(energy).sum() };
    let ratio_db = 10.0 * (lost(&mended) / lost(&whole)).log10();
    assert!(ratio_db.abs() < 3.0, "{ratio_db}");
}

#[test]
fn garbage_is_refused_and_appends_nothing() {
    let mut pcm = Vec::new();
    let mut decoder = opus::Decoder::new(8000).unwrap();
    // Two frames of equal length in an odd number of bytes.
    assert!(decoder.decode(&[0x01, 1, 2, 3, 4, 5], &mut pcm).is_ok() || pcm.is_empty());
    assert!(decoder.decode(&[0x03], &mut pcm).is_err());
    assert!(decoder.decode(&[], &mut pcm).is_err());
    assert_eq!(opus::ticks(&[]), 0);
    assert!(g722::Decoder::default().decode(&[], &mut pcm).is_err());
    assert!(g711::Law(Codec::Pcmu).decode(&[], &mut pcm).is_err());
}
