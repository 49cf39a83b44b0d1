//! The log thread goes before others and must not wait for one that cannot run because of it.
//!
//! Everything is pinned to one core, and senders hand in appends as fast as they can: the log thread
//! wakes again and again while one of them is in the middle of handing something in. A wait that
//! spins for that sender shows as processor time of the log thread without a commit. That is what is
//! asserted; what the machine itself takes away in the same time, a witness on any core tells.
//!
//! `PRECEDENCE_SECONDS=60 cargo nextest run -p tandem-storage --test precedence --no-capture` for long.
#![allow(clippy::unwrap_used, unsafe_code)]

use std::mem::{MaybeUninit, size_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tandem_storage::seam::{Append, LogEvent, SoundCodec, Token};
use tandem_storage::time::WallTime;
use tandem_storage::{LogConfig, open};

/// One that never rests, and others whose timers interrupt it anywhere.
const SENDERS: u64 = 8;
/// Without a spin a commit takes the log thread a millisecond or two at most.
const CPU_WITHOUT_COMMIT_MAX: Duration = Duration::from_millis(20);

/// What was seen on the log thread between two commits, at most.
#[derive(Default)]
struct Worst {
    commits: AtomicU64,
    cpu_ns: AtomicU64,
    wall_ns: AtomicU64,
}

#[test]
fn the_log_does_not_spin_for_a_sender_that_cannot_run() {
    let seconds = std::env::var("PRECEDENCE_SECONDS").map_or(3, |s| s.parse().unwrap());
    // Memory, if there is such a folder: a disk has pauses of its own.
    let memory = std::path::Path::new("/dev/shm");
    let dir = if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let stop = Arc::new(AtomicBool::new(false));
    let witness = witness(stop.clone());
    pin_to_this_core();
    let worst = Arc::new(Worst::default());
    let (seen, begun) = (worst.clone(), Instant::now());
    let mut last: Option<(u64, Duration)> = None;
    let config = LogConfig {
        segment_bytes: 8 << 20,
        ..LogConfig::new(dir.path(), "office".parse().unwrap())
    };
    let opened = open(config, move |event| {
        if let LogEvent::Committed { .. } = event {
            let (cpu, wall) = (thread_cpu_ns(), begun.elapsed());
            if let Some((cpu_before, wall_before)) = last {
                let wall_ns = (wall - wall_before).as_nanos() as u64;
                seen.cpu_ns.fetch_max(cpu - cpu_before, Ordering::Relaxed);
                seen.wall_ns.fetch_max(wall_ns, Ordering::Relaxed);
            }
            last = Some((cpu, wall));
            seen.commits.fetch_add(1, Ordering::Relaxed);
        }
    })
    .unwrap();
    let id = opened.ids.clone().next_id();
    let senders: Vec<_> = (0..SENDERS)
        .map(|nth| {
            let (log, stop) = (opened.log.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let append = Append::Begin {
                        id,
                        codec: SoundCodec::Pcmu,
                        at: WallTime(0),
                        about: "x".into(),
                    };
                    // A full queue is the log's turn.
                    if log.submit(Token::call_control(1), append).is_err() || nth > 0 {
                        std::thread::sleep(Duration::from_micros(20 * nth));
                    }
                }
            })
        })
        .collect();
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().unwrap();
    }
    opened.log.close();
    let witnessed = witness.join().unwrap();
    let cpu = Duration::from_nanos(worst.cpu_ns.load(Ordering::Relaxed));
    let wall = Duration::from_nanos(worst.wall_ns.load(Ordering::Relaxed));
    let commits = worst.commits.load(Ordering::Relaxed);
    println!(
        "{commits} records in {seconds} s; between two of them at most {cpu:?} of processor time, {wall:?} in all; \
         the witness' longest pause {witnessed:?}"
    );
    assert!(commits > 100, "it goes on: {commits}");
    assert!(
        cpu < CPU_WITHOUT_COMMIT_MAX + witnessed,
        "{cpu:?} without a commit, the witness' longest pause {witnessed:?}"
    );
}

/// A thread that is free to run on any core: its longest pause is the machine's.
fn witness(stop: Arc<AtomicBool>) -> std::thread::JoinHandle<Duration> {
    std::thread::spawn(move || {
        let (mut longest, mut last) = (Duration::ZERO, Instant::now());
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        longest
    })
}

/// Threads inherit the core of the one that starts them.
fn pin_to_this_core() {
    // SAFETY: a CPU set is plain bits; all zeros is the empty set, and the size is its own.
    let result = unsafe {
        let mut one = MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init();
        libc::CPU_SET(libc::sched_getcpu() as usize, &mut one);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one)
    };
    assert_eq!(result, 0);
}

fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live structure of the right kind.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
