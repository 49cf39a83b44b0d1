//! Durable records per second and the latency of a commit, beside the bare disk.
//!
//! N appenders each write half a second of sound and wait until it is durable, then the next; the
//! bare disk writes the same N blocks at once, by the same system call, into a file that has been
//! written before. Both run in alternating slices of one run, medians are compared: absolute
//! figures drift by a third within minutes, ratios do not.
//!
//! `cargo bench -p tandem-benches --bench log`

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, unbounded};
use tandem_storage::block::CHUNK_SAMPLES_MAX;
use tandem_storage::cipher::{KEY_BYTES, Keyring, MasterKey, SALT_BYTES};
use tandem_storage::name::Id;
use tandem_storage::seam::{Append, LogEvent, SoundCodec, Token};
use tandem_storage::time::WallTime;
use tandem_storage::{BarePath, Log, LogConfig};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const APPENDERS: [usize; 4] = [1, 8, 64, 256];
/// Pairs of slices; odd, so that the median is one of them.
const PAIRS: usize = 9;
const SLICE: Duration = Duration::from_millis(250);
const BARE_FILE_BYTES: u64 = 64 << 20;
/// Sounds recorded at once, each half second a chunk, and for how long.
const SOUNDS: u32 = 5000;
const SOUNDS_FOR: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    // `cargo test` runs bench targets too; they are measurements, not tests.
    if !std::env::args().any(|a| a == "--bench") {
        return Ok(());
    }
    // Beside the build rather than in the temporary folder, which may be memory.
    let dir = tempfile::tempdir_in(std::env::current_exe()?.parent().ok_or("no folder")?)?;
    println!(
        "{:>9} {:>12} {:>12} {:>7} {:>14} {:>14} {:>9} {:>14}",
        "appenders",
        "log rec/s",
        "bare rec/s",
        "ratio",
        "log p50 us",
        "bare p50 us",
        "p50 ratio",
        "log p99 us"
    );
    for appenders in APPENDERS {
        compare(dir.path(), appenders)?;
    }
    record_many(&dir.path().join("many"), Keyring::default())?;
    let key = MasterKey::new([7; KEY_BYTES]);
    let keyring = Keyring::new(Some(key), Vec::new(), [9; SALT_BYTES]);
    record_many(&dir.path().join("encrypted"), keyring)
}

fn compare(dir: &Path, appenders: usize) -> Result<()> {
    let log = dir.join(format!("log-{appenders}"));
    let mut log = Appenders::open(&log, appenders, Keyring::default())?;
    let mut bare = BarePath::new(&dir.join(format!("bare-{appenders}")), BARE_FILE_BYTES)?;
    log.slice()?;
    bare_slice(&mut bare, appenders)?;
    let (mut logs, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        logs.push(log.slice()?);
        bares.push(bare_slice(&mut bare, appenders)?);
    }
    let median = |slices: &mut Vec<Slice>, of: fn(&Slice) -> f64| {
        slices.sort_by(|a, b| of(a).total_cmp(&of(b)));
        of(&slices[PAIRS / 2])
    };
    let (log_rate, bare_rate) = (
        median(&mut logs, |s| s.rate),
        median(&mut bares, |s| s.rate),
    );
    let (log_p50, bare_p50) = (median(&mut logs, |s| s.p50), median(&mut bares, |s| s.p50));
    println!(
        "{appenders:>9} {log_rate:>12.0} {bare_rate:>12.0} {:>7.2} {log_p50:>14.0} {bare_p50:>14.0} {:>9.2} {:>14.0}",
        log_rate / bare_rate,
        log_p50 / bare_p50,
        median(&mut logs, |s| s.p99),
    );
    log.log.close();
    Ok(())
}

/// What one slice gave: records per second, and microseconds until one was durable.
struct Slice {
    rate: f64,
    p50: f64,
    p99: f64,
}

impl Slice {
    fn of(mut latencies_us: Vec<f64>, records: usize, elapsed: Duration) -> Slice {
        latencies_us.sort_by(f64::total_cmp);
        let at = |part: f64| latencies_us[((latencies_us.len() - 1) as f64 * part) as usize];
        Slice {
            rate: records as f64 / elapsed.as_secs_f64(),
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

/// N sounds being recorded, each waiting for its last chunk.
struct Appenders {
    log: Log,
    events: Receiver<LogEvent>,
    sounds: Vec<(Id, u32, Instant)>,
}

impl Appenders {
    fn open(dir: &Path, appenders: usize, keyring: Keyring) -> Result<Appenders> {
        let (sender, events) = unbounded();
        let mut config = LogConfig::new(dir.to_path_buf(), "bench".parse()?);
        config.keyring = keyring;
        let opened = tandem_storage::open(config, move |event| drop(sender.send(event)))?;
        let (log, mut ids) = (opened.log, opened.ids);
        let mut sounds = Vec::new();
        for _ in 0..appenders {
            let id = ids.next_id();
            let (codec, at) = (SoundCodec::Pcmu, WallTime(0));
            let begin = Append::Begin {
                id,
                codec,
                at,
                about: "bench".into(),
            };
            log.submit(Token::call_control(u64::MAX), begin)
                .map_err(|_| "the queue is full")?;
            sounds.push((id, 0, Instant::now()));
        }
        for _ in 0..appenders {
            events.recv()?;
        }
        Ok(Appenders {
            log,
            events,
            sounds,
        })
    }

    fn slice(&mut self) -> Result<Slice> {
        let started = Instant::now();
        for appender in 0..self.sounds.len() {
            self.append(appender)?;
        }
        let mut waiting = self.sounds.len();
        let mut latencies_us = Vec::new();
        while waiting > 0 {
            let LogEvent::Committed { token, .. } = self.events.recv()? else {
                return Err("the log refused".into());
            };
            let appender = usize::try_from(token.number)?;
            latencies_us.push(self.sounds[appender].2.elapsed().as_secs_f64() * 1e6);
            if started.elapsed() < SLICE {
                self.append(appender)?;
            } else {
                waiting -= 1;
            }
        }
        let records = latencies_us.len();
        Ok(Slice::of(latencies_us, records, started.elapsed()))
    }

    fn append(&mut self, appender: usize) -> Result<()> {
        let (id, index, since) = &mut self.sounds[appender];
        let mut block = self.log.chunk();
        block.push(&[0x55; CHUNK_SAMPLES_MAX]);
        let chunk = Append::Chunk {
            id: *id,
            index: *index,
            block,
        };
        *index += 1;
        *since = Instant::now();
        let token = Token::call_control(appender as u64);
        self.log
            .submit(token, chunk)
            .map_err(|_| "the queue is full".into())
    }
}

/// The same blocks, straight to the disk.
fn bare_slice(bare: &mut BarePath, blocks: usize) -> Result<Slice> {
    let started = Instant::now();
    let mut latencies_us = Vec::new();
    while started.elapsed() < SLICE {
        let since = Instant::now();
        bare.commit(blocks)?;
        latencies_us.push(since.elapsed().as_secs_f64() * 1e6);
    }
    let records = latencies_us.len() * blocks;
    Ok(Slice::of(latencies_us, records, started.elapsed()))
}

/// What this process has used so far, in steps of 10 ms: user and system time, proc(5).
fn cpu_ms() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(") ").ok_or("no name")?.1.split(' ');
    let ticks: Vec<u64> = fields.skip(11).take(2).flat_map(str::parse).collect();
    Ok(ticks.iter().sum::<u64>() * 10)
}

/// Hands in what falls due whether the disk keeps up or not, as media workers do.
fn record_many(dir: &Path, keyring: Keyring) -> Result<()> {
    let how = match keyring.writes_with() {
        Some(_) => ", encrypted",
        None => "",
    };
    let mut sounds = Appenders::open(dir, SOUNDS as usize, keyring)?;
    let cpu = cpu_ms()?;
    let every = Duration::from_millis(500) / SOUNDS;
    let started = Instant::now();
    let mut handed = 0;
    while started.elapsed() < SOUNDS_FOR {
        let due = started.elapsed().as_nanos() / every.as_nanos();
        while handed < due {
            sounds.append((handed % u128::from(SOUNDS)) as usize)?;
            handed += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    for _ in 0..handed {
        sounds.events.recv()?;
    }
    let cpu = cpu_ms()? - cpu;
    let stats = sounds.log.stats();
    println!(
        "\n{SOUNDS} sounds recorded at once{how}: {:.0} chunks a second, {} commits, CPU {:.1} % of one core, \
         from handed in to durable p50 {:?}, p99 {:?}, refused {}",
        handed as f64 / SOUNDS_FOR.as_secs_f64(),
        stats.commits,
        cpu as f64 / SOUNDS_FOR.as_millis() as f64 * 100.0,
        stats.commit_p50,
        stats.commit_p99,
        stats.queue_refused + stats.refused
    );
    sounds.log.close();
    Ok(())
}
