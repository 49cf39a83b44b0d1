//! Commits of the log beside the bare disk, in alternating slices of one run.
//!
//! `cargo run --release -p tandem-storage --features bench --example commits [DIR]`
//!
//! First N appenders that each wait for their chunk before they hand in the next; then 5,000
//! sounds that hand in a half-second chunk each half second, whether the disk keeps up or not.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tandem_storage::block::CHUNK_SAMPLES_MAX;
use tandem_storage::name::Id;
use tandem_storage::seam::{Append, LogEvent, SoundCodec, Token};
use tandem_storage::time::WallTime;
use tandem_storage::{BarePath, Log, LogConfig, Opened, open};

const SLICE: Duration = Duration::from_millis(300);
const SLICES: usize = 10;

fn main() {
    let dir = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("tandem-commits-{}", std::process::id()));
    for appenders in [1, 8, 64, 256] {
        closed(&dir, appenders);
    }
    open_loop(&dir, 5000, Duration::from_secs(10));
    std::fs::remove_dir_all(&dir).unwrap();
}

struct Bench {
    log: Log,
    events: Receiver<LogEvent>,
    id: Id,
    index: u32,
}

impl Bench {
    fn open(dir: &Path) -> Bench {
        let (sender, events): (Sender<LogEvent>, _) = channel();
        let config = LogConfig::new(dir.join("log"), "bench".parse().unwrap());
        let Opened { log, mut ids, .. } = open(config, move |e| drop(sender.send(e))).unwrap();
        let id = ids.next_id();
        let (codec, at) = (SoundCodec::Pcmu, WallTime(0));
        log.submit(
            Token(0),
            Append::Begin {
                id,
                codec,
                at,
                about: "".into(),
            },
        )
        .unwrap();
        events.recv().unwrap();
        Bench {
            log,
            events,
            id,
            index: 0,
        }
    }

    fn submit(&mut self) {
        let mut block = self.log.chunk();
        block.push(&[0x55; CHUNK_SAMPLES_MAX]);
        let (id, index) = (self.id, self.index);
        self.index += 1;
        self.log
            .submit(Token(u64::from(index)), Append::Chunk { id, index, block })
            .unwrap();
    }
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

fn closed(dir: &Path, appenders: usize) {
    let mut bench = Bench::open(dir);
    let mut bare = BarePath::new(&dir.join("bare"), 256 << 20).unwrap();
    let (mut ours, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..SLICES {
        let end = Instant::now() + SLICE;
        while Instant::now() < end {
            let start = Instant::now();
            bare.commit(appenders).unwrap();
            bares.push(start.elapsed());
        }
        let end = Instant::now() + SLICE;
        while Instant::now() < end {
            let start = Instant::now();
            (0..appenders).for_each(|_| bench.submit());
            (0..appenders).for_each(|_| drop(bench.events.recv().unwrap()));
            ours.push(start.elapsed());
        }
    }
    bench.log.close();
    let rate = |times: &[Duration]| {
        (times.len() * appenders) as f64 / times.iter().sum::<Duration>().as_secs_f64()
    };
    let (our_rate, bare_rate) = (rate(&ours), rate(&bares));
    let (p50, p99) = (percentile(&mut ours, 50), percentile(&mut ours, 99));
    let (bare_p50, bare_p99) = (percentile(&mut bares, 50), percentile(&mut bares, 99));
    println!(
        "{appenders:4} appenders: log {our_rate:7.0}/s p50 {p50:?} p99 {p99:?}; \
         bare {bare_rate:7.0}/s p50 {bare_p50:?} p99 {bare_p99:?}; p50 ratio {:.2}",
        p50.as_secs_f64() / bare_p50.as_secs_f64()
    );
}

fn open_loop(dir: &Path, sounds: u32, run: Duration) {
    let mut bench = Bench::open(dir);
    let every = Duration::from_millis(500) / sounds;
    let start = Instant::now();
    let mut handed = 0;
    while start.elapsed() < run {
        // As a media worker does it: all that has become due, about every millisecond.
        let due = (start.elapsed().as_nanos() / every.as_nanos()) as u32;
        (handed..due).for_each(|_| bench.submit());
        handed = due;
        std::thread::sleep(Duration::from_millis(1));
    }
    (0..handed).for_each(|_| drop(bench.events.recv().unwrap()));
    let stats = bench.log.stats();
    println!(
        "{sounds} sounds for {run:?}: {handed} chunks in {} commits, p50 {:?} p99 {:?}, refused {}",
        stats.commits,
        stats.commit_p50,
        stats.commit_p99,
        stats.queue_refused + stats.refused
    );
    bench.log.close();
}
