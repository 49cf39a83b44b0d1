//! How well the machine did: a thread that does over and over what the log does for a chunk of
//! sound, one durable write to the same disk with the same precedence, and keeps how long it took.
//!
//! A node can promise only what its disk can do. A test that holds a node to its promise on a busy
//! machine asks the witness what a durable write took in the moments that matter. The witness knows
//! nothing of the node: what the node holds back by itself is not excused by it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two writes.
const PAUSE: Duration = Duration::from_millis(50);
const BLOCK_BYTES: usize = 4096;
/// The blocks written, round and round.
const BLOCKS: u64 = 64;

/// One write, from the moment it was due.
#[derive(Clone, Copy, Debug)]
struct Turn {
    due: Instant,
    ended: Option<Instant>,
}

/// The witness, as long as this lives.
#[derive(Debug)]
pub struct Witness {
    turns: Arc<Mutex<Vec<Turn>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[repr(align(4096))]
struct Block([u8; BLOCK_BYTES]);

impl Witness {
    /// Writes in `dir`, which must be on the disk of the node's log.
    pub fn on(dir: &Path) -> Witness {
        let file = prepared(&dir.join("witness"));
        let (turns, stop) = (Arc::<Mutex<Vec<Turn>>>::default(), Arc::default());
        let (theirs, stopped) = (turns.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || work(&file, &theirs, &stopped));
        Witness {
            turns,
            stop,
            thread: Some(thread),
        }
    }

    /// What two writes took in that time if they met with the worst of it: the two longest together, as
    /// far as they fell into it. One that was still under way at its end counts, too.
    pub fn two_longest(&self, from: Instant, to: Instant) -> Duration {
        let turns = self.turns.lock().unwrap();
        let mut times: Vec<Duration> = turns
            .iter()
            .map(|turn| {
                let ended = turn.ended.unwrap_or(to).min(to);
                ended.saturating_duration_since(turn.due.max(from))
            })
            .collect();
        times.sort_unstable();
        times.iter().rev().take(2).sum()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A file that was written before, open for durable writes past the page cache if that can be.
fn prepared(path: &Path) -> File {
    std::fs::write(path, vec![1; BLOCK_BYTES * BLOCKS as usize]).unwrap();
    File::open(path).unwrap().sync_all().unwrap();
    let open = |flags| {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(flags).open(path)
    };
    open(libc::O_DSYNC | libc::O_DIRECT)
        .or_else(|_| open(libc::O_DSYNC))
        .unwrap()
}

fn work(file: &File, turns: &Mutex<Vec<Turn>>, stop: &AtomicBool) {
    take_precedence();
    let block = Box::new(Block([1; BLOCK_BYTES]));
    for number in (0..BLOCKS).cycle() {
        let due = Instant::now() + PAUSE;
        turns.lock().unwrap().push(Turn { due, ended: None });
        std::thread::sleep(PAUSE);
        if stop.load(Ordering::Relaxed) {
            return;
        }
        file.write_all_at(&block.0, number * BLOCK_BYTES as u64)
            .unwrap();
        if let Some(turn) = turns.lock().unwrap().last_mut() {
            turn.ended = Some(Instant::now());
        }
    }
}

/// The log's thread does the same, see `storage/src/shell/sys.rs`; whatever is refused here is
/// refused there, too.
fn take_precedence() {
    const WHO_PROCESS: i32 = 1;
    const REALTIME: i32 = 1 << 13 | 4;
    let turn = libc::sched_param { sched_priority: 1 };
    // SAFETY: the first call passes numbers only, the second a structure that outlives it; both are
    // about the calling thread.
    unsafe {
        libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, REALTIME);
        libc::sched_setscheduler(0, libc::SCHED_RR, &raw const turn);
    }
}

#[test]
fn what_is_outside_of_the_time_asked_for_does_not_count() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let turn = |due, ended: Option<u64>| Turn {
        due: at(due),
        ended: ended.map(at),
    };
    let turns = vec![
        turn(0, Some(700)),
        turn(750, Some(760)),
        turn(1000, Some(1300)),
        turn(1350, None),
    ];
    let witness = Witness {
        turns: Arc::new(Mutex::new(turns)),
        stop: Arc::default(),
        thread: None,
    };
    let two_longest = |from, to| witness.two_longest(at(from), at(to)).as_millis();
    assert_eq!(two_longest(800, 1900), 300 + 550);
    assert_eq!(two_longest(600, 1360), 100 + 300);
    assert_eq!(two_longest(755, 900), 5);
}
