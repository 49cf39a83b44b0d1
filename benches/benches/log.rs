//! Durable records per second and the latency of a commit, beside the bare disk.
//!
//! N appenders each write half a second of sound and wait until it is durable, then the next; the
//! bare disk writes the same N blocks at once with `O_DIRECT | O_DSYNC` into a file that has been
//! written before. Both run in alternating slices of one run, medians are compared: absolute
//! figures drift by a third within minutes, ratios do not.
//!
//! `cargo bench -p tandem-benches --bench log`

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, unbounded};
use tandem_storage::block::{BLOCK_BYTES, Block, CHUNK_SAMPLES_MAX, ChunkBlock};
use tandem_storage::name::Id;
use tandem_storage::seam::{Append, LogEvent, SoundCodec, Token};
use tandem_storage::time::WallTime;
use tandem_storage::{Log, LogConfig};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const APPENDERS: [usize; 4] = [1, 8, 64, 256];
/// Pairs of slices; odd, so that the median is one of them.
const PAIRS: usize = 9;
const SLICE: Duration = Duration::from_millis(250);
const BARE_FILE_BYTES: usize = 64 << 20;

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
    Ok(())
}

fn compare(dir: &Path, appenders: usize) -> Result<()> {
    let mut log = Appenders::open(&dir.join(format!("log-{appenders}")), appenders)?;
    let mut bare = Bare::open(&dir.join("bare"), appenders)?;
    log.slice()?;
    bare.slice()?;
    let (mut logs, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        logs.push(log.slice()?);
        bares.push(bare.slice()?);
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
    fn open(dir: &Path, appenders: usize) -> Result<Appenders> {
        let (sender, events) = unbounded();
        let config = LogConfig::new(dir.to_path_buf(), "bench".parse()?);
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
            log.submit(Token(u64::MAX), begin)
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
            let appender = usize::try_from(token.0)?;
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
        let mut block = ChunkBlock::new();
        block.push(&[0x55; CHUNK_SAMPLES_MAX]);
        let chunk = Append::Chunk {
            id: *id,
            index: *index,
            block,
        };
        *index += 1;
        *since = Instant::now();
        let token = Token(appender as u64);
        self.log
            .submit(token, chunk)
            .map_err(|_| "the queue is full".into())
    }
}

/// The same blocks, straight to a file.
struct Bare {
    file: File,
    blocks: Vec<Block>,
    at: u64,
}

impl Bare {
    fn open(path: &Path, blocks: usize) -> Result<Bare> {
        std::fs::write(path, vec![0; BARE_FILE_BYTES])?;
        File::open(path)?.sync_all()?;
        let flags = libc::O_DIRECT | libc::O_DSYNC;
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(flags)
            .open(path)?;
        let blocks = (0..blocks).map(|_| Block([0x55; BLOCK_BYTES])).collect();
        Ok(Bare {
            file,
            blocks,
            at: 0,
        })
    }

    fn slice(&mut self) -> Result<Slice> {
        let started = Instant::now();
        let mut latencies_us = Vec::new();
        while started.elapsed() < SLICE {
            let since = Instant::now();
            let bytes = self.blocks.len() * BLOCK_BYTES;
            if self.at + bytes as u64 > BARE_FILE_BYTES as u64 {
                self.at = 0;
            }
            self.file.write_all_at(as_bytes(&self.blocks), self.at)?;
            self.at += bytes as u64;
            latencies_us.push(since.elapsed().as_secs_f64() * 1e6);
        }
        let records = latencies_us.len() * self.blocks.len();
        Ok(Slice::of(latencies_us, records, started.elapsed()))
    }
}

fn as_bytes(blocks: &[Block]) -> &[u8] {
    // SAFETY: `Block` is `repr(C, align(4096))` around exactly `BLOCK_BYTES` bytes, so a slice of
    // them is that many bytes without padding, and any byte is a valid `u8`.
    unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), blocks.len() * BLOCK_BYTES) }
}
