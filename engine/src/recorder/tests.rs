//! Recordings of made-up speakers over made-up networks.

use super::*;
use crate::seam::{TapGap, TapPackets, TapPause};
use sha2::Digest as _;
use tandem_storage::block::CHUNK_SAMPLES_MAX;

fn at(ms: u64) -> Time {
    Time(ms * 1_000_000)
}

fn id() -> Id {
    "office.1.1".parse().unwrap()
}

struct Tape {
    recorder: Recorder,
    samples: Vec<u8>,
    indices: Vec<u32>,
    longest: usize,
}

impl Tape {
    fn new(limit_ms: u64, silence_ms: Option<u64>) -> Tape {
        let silence = silence_ms.map(Duration::from_millis);
        let limit = Duration::from_millis(limit_ms);
        let recorder = Recorder::new(at(0), id(), Codec::Pcmu, limit, silence);
        Tape {
            recorder,
            samples: vec![],
            indices: vec![],
            longest: 0,
        }
    }

    /// The packet that is due at `n * 20` ms, arriving at `ms`.
    fn packet(&mut self, ms: u64, n: u16, sample: i16) {
        self.time(ms);
        let payload = [Codec::Pcmu.encode(sample); 160];
        self.recorder
            .on_sound(at(ms), n, 160 * u32::from(n), &payload);
        self.drain();
    }

    fn time(&mut self, ms: u64) {
        self.recorder.on_time(at(ms));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some((index, block)) = self.recorder.take_chunk() {
            self.indices.push(index);
            self.longest = self.longest.max(block.samples().len());
            self.samples.extend(block.samples());
            self.recorder.on_taken(ChunkBlock::new());
        }
    }

    fn finish(&mut self, ms: u64) -> Recorded {
        self.recorder.finish(at(ms), RecordEnd::Stopped);
        self.drain();
        let recorded = self.recorder.done(at(ms)).expect("all was taken");
        let expected: Vec<u32> = (0..self.indices.len() as u32).collect();
        assert_eq!(self.indices, expected, "no gap between chunks");
        assert_eq!(recorded.samples, self.samples.len() as u64);
        recorded
    }

    fn quiet(&self, from: usize, to: usize) -> bool {
        self.samples[from..to]
            .iter()
            .all(|b| *b == Codec::Pcmu.silence())
    }
}

#[test]
fn a_steady_speaker_is_written_in_chunks_of_half_a_second() {
    let mut t = Tape::new(60_000, None);
    for n in 0..100 {
        t.packet(20 * u64::from(n) + 20, n, 5000);
    }
    assert!(t.samples.len() >= 16_000 - 4000, "out while it is spoken");
    let r = t.finish(2010);
    assert_eq!(
        (r.samples, r.samples_speech, t.longest),
        (16_000, 16_000, CHUNK_SAMPLES_MAX)
    );
}

#[test]
fn loss_reordering_and_duplicates_leave_the_length_right() {
    let mut t = Tape::new(60_000, None);
    for (ms, n) in [
        (20, 0),
        (40, 2),
        (45, 1),
        (60, 2),
        (80, 3),
        (120, 5),
        (140, 6),
        (260, 7),
    ] {
        t.packet(ms, n, 5000);
    }
    let r = t.finish(300);
    assert_eq!(r.samples, 8 * 160);
    assert!(t.quiet(4 * 160, 5 * 160) && !t.quiet(3 * 160, 4 * 160));
}

#[test]
fn a_pause_of_the_sender_is_silence_of_that_length() {
    let mut t = Tape::new(60_000, None);
    t.packet(20, 0, 5000);
    for ms in (40..2000).step_by(20) {
        t.time(ms);
    }
    t.packet(2020, 1, 5000);
    let r = t.finish(2020);
    assert!((15_800..=16_320).contains(&r.samples), "{}", r.samples);
    assert_eq!(r.samples_speech, r.samples);
}

#[test]
fn what_a_stalled_network_brings_late_is_not_lost() {
    let mut t = Tape::new(60_000, None);
    t.packet(20, 0, 5000);
    for ms in (40..420).step_by(20) {
        t.time(ms);
    }
    for n in 1..21 {
        t.packet(420, n, 5000);
    }
    let r = t.finish(420);
    let loud = t
        .samples
        .iter()
        .filter(|b| **b != Codec::Pcmu.silence())
        .count();
    assert_eq!(loud, 21 * 160);
    assert!(r.samples <= 21 * 160 + 800, "{}", r.samples);
}

#[test]
fn nobody_speaks_and_the_silence_ends_it() {
    let mut t = Tape::new(60_000, Some(5000));
    let mut ms = 0;
    while t.recorder.end().is_none() {
        ms += 20;
        t.time(ms);
    }
    assert!((5000..5400).contains(&ms), "{ms}");
    assert_eq!(t.recorder.end(), Some(RecordEnd::Silence));
    let r = t.finish(ms);
    assert!(r.samples_speech == 0 && r.samples <= 4000, "{r:?}");
}

#[test]
fn silence_after_speech_ends_it_and_is_not_counted_as_speech() {
    let mut t = Tape::new(60_000, Some(2000));
    for n in 0..150u16 {
        t.packet(20 * u64::from(n) + 20, n, if n < 50 { 5000 } else { 20 });
        if t.recorder.end().is_some() {
            break;
        }
    }
    assert_eq!(t.recorder.end(), Some(RecordEnd::Silence));
    let r = t.finish(3000);
    // Of the silence, what shares a chunk with speech is kept, and one chunk more.
    assert_eq!(r.samples_speech, 8000);
    let kept = r.samples - 8000;
    assert!((4000..=8000).contains(&kept), "{kept}");
}

#[test]
fn a_speaker_who_thinks_for_a_while_is_written_in_full() {
    let mut t = Tape::new(60_000, Some(10_000));
    for n in 0..600u16 {
        let speaks = !(50..500).contains(&n);
        t.packet(20 * u64::from(n) + 20, n, if speaks { 5000 } else { 0 });
    }
    let r = t.finish(12_020);
    assert_eq!((r.samples, r.samples_speech), (96_000, 96_000));
}

#[test]
fn the_limit_cuts_to_the_sample() {
    let mut t = Tape::new(1010, None);
    for n in 0..60u16 {
        t.packet(20 * u64::from(n) + 20, n, 5000);
    }
    assert_eq!(t.recorder.end(), Some(RecordEnd::Limit));
    assert_eq!(t.finish(1300).samples, 8080);
}

#[test]
fn a_timestamp_out_of_the_blue_makes_no_hour_of_silence() {
    let mut t = Tape::new(3_600_000, None);
    t.packet(20, 0, 5000);
    t.recorder.on_sound(at(40), 1, 0x7000_0000, &[0x10; 160]);
    t.recorder.on_sound(at(60), 2, 3, &[0x10; 160]);
    assert_eq!(t.finish(80).samples, 480);
}

#[test]
fn a_log_that_takes_nothing_ends_it() {
    let mut t = Tape::new(60_000, None);
    for n in 0..600u16 {
        let ms = 20 * u64::from(n) + 20;
        t.recorder.on_time(at(ms));
        t.recorder
            .on_sound(at(ms), n, 160 * u32::from(n), &[0x10; 160]);
        if let Some((index, block)) = t.recorder.take_chunk() {
            t.recorder.on_refused(index, block);
        }
    }
    assert_eq!(t.recorder.end(), Some(RecordEnd::LogRefused));
    t.recorder.finish(at(12_000), RecordEnd::Stopped);
    let recorded = t.recorder.done(at(12_000)).unwrap();
    assert_eq!((recorded.samples, recorded.end), (0, RecordEnd::LogRefused));
}

#[test]
fn a_log_that_is_full_for_a_moment_gets_everything_in_order() {
    let mut t = Tape::new(60_000, None);
    for n in 0..100u16 {
        let ms = 20 * u64::from(n) + 20;
        t.recorder
            .on_sound(at(ms), n, 160 * u32::from(n), &[0x10; 160]);
        if let Some((index, block)) = t.recorder.take_chunk() {
            t.recorder.on_refused(index, block);
        }
    }
    t.recorder.finish(at(2000), RecordEnd::Stopped);
    assert_eq!(t.recorder.done(at(2000)), None);
    assert_eq!(t.finish(2020).samples, 16_000);
}

/// A tap of a party whose clock is so far off, for so many seconds; gives what it came to, and how long
/// it took by our clock.
fn tapped(ppm: i64, seconds: u64) -> (TapReport, Vec<u8>, u64) {
    let limit = Duration::from_secs(100_000);
    let mut tap = Recorder::tap(at(0), id(), Codec::Pcmu, limit);
    let mut samples = vec![];
    let step_ns = (20_000_000 - 20 * ppm) as u64;
    let packets = seconds * 50;
    let mut random = crate::random::Random::new(7);
    for n in 0..packets {
        let jitter_ns = random.draw() % 5_000_000;
        let now = Time(20_000_000 + n * step_ns + jitter_ns);
        tap.on_time(now);
        let payload = [Codec::Pcmu.encode(5000); 160];
        tap.on_sound(now, n as u16, 160 * n as u32, &payload);
        while let Some((_, block)) = tap.take_chunk() {
            samples.extend(block.samples());
            tap.on_taken(ChunkBlock::new());
        }
    }
    let end = Time(packets * step_ns);
    tap.finish(end, RecordEnd::Stopped);
    while let Some((_, block)) = tap.take_chunk() {
        samples.extend(block.samples());
        tap.on_taken(ChunkBlock::new());
    }
    let report = tap.report(end).expect("all was taken");
    (report, samples, u64::from(samples_in(at(0), end)))
}

#[test]
fn a_tap_keeps_our_time_and_not_the_partys() {
    for ppm in [-200, 0, 200] {
        let (report, samples, elapsed) = tapped(ppm, 600);
        assert_eq!(report.samples, samples.len() as u64);
        let off = report.samples.abs_diff(elapsed);
        assert!(off < 80, "{ppm}: {off} samples");
        let packets = report.packets;
        assert_eq!((packets.expected, packets.come), (30_000, 30_000));
        assert_eq!(report.gaps, []);
        let hash: [u8; 32] = sha2::Sha256::digest(&samples).into();
        assert_eq!(report.sha256, Some(hash));
    }
}

#[test]
fn a_tap_that_is_paused_is_silent_and_as_long_as_the_time_it_took() {
    let limit = Duration::from_secs(60);
    let mut t = Tape::new(0, None);
    t.recorder = Recorder::tap(at(0), id(), Codec::Pcmu, limit);
    for n in 0..150 {
        let ms = 20 * u64::from(n) + 20;
        match n {
            50 => t.recorder.pause(at(ms), true),
            100 => t.recorder.pause(at(ms), false),
            _ => {}
        }
        t.packet(ms, n, 5000);
    }
    t.recorder.finish(at(3000), RecordEnd::Stopped);
    t.drain();
    let report = t.recorder.report(at(3000)).unwrap();
    assert_eq!(report.samples, 24_000);
    assert!(t.quiet(8000, 16_000) && !t.quiet(7840, 8000) && !t.quiet(16_000, 16_160));
    let pause = TapPause {
        from_sample: 51 * 160,
        to_sample: 101 * 160,
    };
    assert_eq!(report.pauses, [pause]);
    assert_eq!(report.packets.concealed, 0);
}

#[test]
fn what_a_tap_lost_is_named_and_what_came_late_is_counted() {
    let limit = Duration::from_secs(60);
    let mut t = Tape::new(0, None);
    t.recorder = Recorder::tap(at(0), id(), Codec::Pcmu, limit);
    for n in (0..100u16).filter(|n| !(40..43).contains(n)) {
        t.packet(20 * u64::from(n) + 20, n, 5000);
    }
    t.packet(2010, 41, 5000);
    t.recorder.finish(at(2020), RecordEnd::Stopped);
    t.drain();
    let report = t.recorder.report(at(2020)).unwrap();
    let packets = TapPackets {
        expected: 100,
        come: 97,
        late: 1,
        concealed: 3,
    };
    assert_eq!((report.samples, report.packets), (16_000, packets));
    let gap = TapGap {
        at_sample: 6400,
        packets: 3,
    };
    assert_eq!(report.gaps, [gap]);
}
