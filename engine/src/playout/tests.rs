use super::*;
use crate::random::Random;

/// A party that says a tone in mu-law, 20 ms a packet, over a network of the test's own.
struct Party {
    hz: f32,
    sent: u32,
    seq_first: u16,
    timestamp_first: u32,
}

impl Party {
    fn new() -> Party {
        Party {
            hz: 300.0,
            sent: 0,
            seq_first: 65_500,
            timestamp_first: u32::MAX - 1000,
        }
    }

    fn sample(&self, n: usize) -> i16 {
        let turn = std::f64::consts::TAU * f64::from(self.hz) / 8000.0;
        ((n as f64 * turn).sin() * 8000.0) as i16
    }

    fn packet(&mut self) -> (Header, Vec<u8>) {
        let nth = self.sent;
        self.sent += 1;
        let header = Header {
            marker: nth == 0,
            payload_type: 0,
            seq: self.seq_first.wrapping_add(nth as u16),
            timestamp: self.timestamp_first.wrapping_add(nth * 160),
            ssrc: 7,
        };
        let from = nth as usize * 160;
        let payload = (from..from + 160)
            .map(|n| Codec::Pcmu.encode(self.sample(n)))
            .collect();
        (header, payload)
    }
}

/// Was the party heard, and what.
type Frames = Vec<(bool, Vec<i16>)>;

fn ms(ms: f64) -> Time {
    Time((ms * 1e6) as u64)
}

/// Sends `packets`, the nth on its way at `sent_ms(n)` and there after `way_ms(n)` (`None`: lost);
/// takes frames every 20 ms. Gives them, and whether the party was heard in each.
fn run(
    packets: u32,
    sent_ms: impl Fn(u32) -> f64,
    mut way_ms: impl FnMut(u32) -> Option<f64>,
) -> (Playout, Frames, Vec<u32>) {
    let mut party = Party::new();
    let mut playout = Playout::new(Codec::Pcmu, 8000).unwrap();
    let mut arrivals: Vec<(f64, Header, Vec<u8>)> = (0..packets)
        .filter_map(|n| {
            let (header, payload) = party.packet();
            Some((sent_ms(n) + way_ms(n)?, header, payload))
        })
        .collect();
    arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut arrivals = arrivals.into_iter().peekable();
    let (mut frames, mut held_ms) = (Vec::new(), Vec::new());
    let count = sent_ms(packets) as u32 / 20 + 20;
    for tick in 0..count {
        let at_ms = f64::from(tick) * 20.0 + 7.0;
        while let Some((came_ms, header, payload)) = arrivals.next_if(|a| a.0 <= at_ms) {
            playout.on_packet(ms(came_ms), &header, &payload);
        }
        held_ms.push(playout.waiting_ms() + playout.pcm.len() as u32 / 8);
        let mut frame = vec![0; 160];
        let heard = playout.frame(&mut frame);
        frames.push((heard, frame));
    }
    (playout, frames, held_ms)
}

fn steady(n: u32) -> f64 {
    f64::from(n) * 20.0
}

/// The part of frames whose power is that of the tone, within 3 dB.
fn share_loud(frames: &[(bool, Vec<i16>)]) -> f64 {
    let power = |pcm: &[i16]| pcm.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 160.0;
    let tone = 8000.0_f64.powi(2) / 2.0;
    let loud = frames
        .iter()
        .filter(|(_, pcm)| (0.5..2.0).contains(&(power(pcm) / tone)));
    loud.count() as f64 / frames.len() as f64
}

/// The largest step between neighbouring samples.
fn roughest(frames: &[(bool, Vec<i16>)]) -> u16 {
    let pcm: Vec<i16> = frames.iter().flat_map(|f| f.1.iter().copied()).collect();
    pcm.windows(2).map(|w| w[0].abs_diff(w[1])).max().unwrap()
}

#[test]
fn what_comes_in_time_is_played_as_it_was_said() {
    let (playout, frames, _) = run(200, steady, |_| Some(30.0));
    let first = frames.iter().position(|f| f.0).unwrap();
    let said: Vec<i16> = frames[first..first + 200]
        .iter()
        .flat_map(|f| f.1.iter().copied())
        .collect();
    let party = Party::new();
    let wanted: Vec<i16> = (0..said.len())
        .map(|n| Codec::Pcmu.decode(Codec::Pcmu.encode(party.sample(n))))
        .collect();
    assert!(said == wanted);
    assert!(!frames.last().unwrap().0, "it ends when nothing comes");
    // What is made up at the end, until it is known to be one.
    assert!(playout.counts().concealed <= 4, "{:?}", playout.counts());
}

/// Hands in four packets every 80 ms, those of each four in this order once the delay is settled.
fn fours(order: &[usize]) -> (Vec<i16>, Counts) {
    let mut party = Party::new();
    let packets: Vec<_> = (0..800).map(|_| party.packet()).collect();
    let mut playout = Playout::new(Codec::Pcmu, 8000).unwrap();
    let mut said = Vec::new();
    for (tick, four) in packets.chunks(4).enumerate() {
        let order = if tick < 100 { &[0, 1, 2, 3] } else { order };
        for n in order {
            playout.on_packet(ms(tick as f64 * 80.0), &four[*n].0, &four[*n].1);
        }
        for _ in 0..4 {
            let mut frame = vec![0; 160];
            playout.frame(&mut frame);
            said.extend(frame);
        }
    }
    (said, playout.counts())
}

#[test]
fn packets_that_overtook_others_and_doubles_change_nothing() {
    let (straight, none) = fours(&[0, 1, 2, 3]);
    let (mixed, _) = fours(&[2, 0, 3, 1]);
    let (doubled, late) = fours(&[0, 1, 1, 2, 3, 2]);
    assert!(straight == mixed);
    assert!(straight == doubled);
    assert_eq!((none.late, late.late), (0, 200));
}

#[test]
fn a_lost_packet_is_hardly_heard() {
    let mut random = Random::new(3);
    let (playout, frames, _) = run(2000, steady, |_| (random.draw() % 100 >= 5).then_some(40.0));
    let heard = &frames[5..1990];
    assert!(share_loud(heard) > 0.97, "{}", share_loud(heard));
    assert!(playout.counts().concealed > 50);
    // A tone of 300 Hz moves by 1,885 a sample.
    assert!(roughest(heard) < 2600, "{}", roughest(heard));
}

#[test]
fn the_delay_follows_the_jitter_and_goes_back() {
    let mut random = Random::new(5);
    let (playout, frames, held_ms) = run(6000, steady, |n| {
        let jitter = if n < 3000 { 80 } else { 1 };
        Some(20.0 + (random.draw() % jitter) as f64)
    });
    let settled = &frames[500..2900];
    assert!(share_loud(settled) > 0.97, "{}", share_loud(settled));
    let mean = |held: &[u32]| f64::from(held.iter().sum::<u32>()) / held.len() as f64;
    let (rough, calm) = (mean(&held_ms[500..2900]), mean(&held_ms[5000..5900]));
    assert!((50.0..160.0).contains(&rough), "{rough}");
    assert!(calm < 65.0, "{calm}");
    assert!(playout.target_ms() <= 40);
    assert!(roughest(&frames[100..5900]) < 2600);
}

#[test]
fn a_clock_that_is_not_ours_does_not_make_the_delay_grow() {
    for ppm in [-200.0, 200.0] {
        let per_packet_ms = 20.0 * (1.0 + ppm / 1e6);
        // An hour: 720 ms of drift.
        let (playout, frames, held_ms) = run(
            180_000,
            |n| f64::from(n) * per_packet_ms,
            |n| Some(30.0 + f64::from(n % 7)),
        );
        let most = held_ms[200..179_000].iter().max().unwrap();
        assert!(*most < 120, "{ppm} ppm: {most} ms");
        let silent = frames[200..179_000].iter().filter(|f| !f.0).count();
        assert_eq!(silent, 0, "{ppm} ppm");
        let concealed = playout.counts().concealed;
        assert!(concealed < 200, "{ppm} ppm: {concealed}");
        assert!(roughest(&frames[200..179_000]) < 2600);
    }
}

#[test]
fn who_stops_is_silent_and_begins_anew() {
    let (_, frames, held_ms) = run(
        400,
        |n| steady(if n < 200 { n } else { n + 300 }),
        |_| Some(30.0),
    );
    let pause = &frames[210..490];
    assert!(
        pause
            .iter()
            .all(|(heard, pcm)| !heard && pcm.iter().all(|s| *s == 0))
    );
    assert!(share_loud(&frames[510..690]) > 0.99);
    assert!(held_ms[510..690].iter().all(|ms| *ms < 80));
}

#[test]
fn a_burst_after_an_outage_is_cut_to_what_is_new() {
    let (playout, frames, held_ms) = run(600, steady, |n| {
        let at = steady(n);
        // For two seconds nothing comes, then all of it at once.
        let until = if (2000.0..4000.0).contains(&at) {
            4000.0
        } else {
            at
        };
        Some(30.0 + until - at)
    });
    assert!(playout.counts().discarded > 50);
    assert!(held_ms[230..590].iter().all(|ms| *ms <= 560), "{held_ms:?}");
    assert!(share_loud(&frames[210..590]) > 0.95);
}

#[test]
fn garbage_and_another_source_do_no_harm() {
    let mut playout = Playout::new(Codec::Opus, 16_000).unwrap();
    let mut random = Random::new(9);
    let mut frame = vec![0; 320];
    for n in 0..5000_u32 {
        let header = Header {
            marker: false,
            payload_type: 111,
            seq: random.draw() as u16,
            timestamp: random.draw() as u32,
            ssrc: (random.draw() % 3) as u32,
        };
        let payload: Vec<u8> = (0..random.draw() % 90)
            .map(|_| random.draw() as u8)
            .collect();
        playout.on_packet(ms(f64::from(n) * 20.0), &header, &payload);
        playout.frame(&mut frame);
        assert!(playout.waiting.len() <= PACKETS_MAX);
    }
}
