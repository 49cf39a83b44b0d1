//! The board: where call control puts what it has counted, for whoever scrapes.
//!
//! Call control looks once in a turn of its loop whether somebody asked, and then puts a copy of its counts
//! here. It takes no lock for that: the copy changes hands through a cell of one pointer. However many ask
//! at once, it makes one copy for all of them, and none while nobody asks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::atomic::AtomicCell;
use tandem_engine::stats::EngineStats;
use tandem_pbx::Counters;
use tandem_sip_shim::ShimCounters;
use tandem_storage::gate::GateStatus;

/// What was counted so long ago is still as good as new.
const FRESH_FOR: Duration = Duration::from_millis(20);

/// How long a scrape waits for call control; then what it put here last has to do.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// How often is looked whether it has come. Sleeping is simpler than being woken, which would need a lock.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// What only call control knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) calls: usize,
    pub(crate) recordings: usize,
    pub(crate) phones: usize,
    /// Users whose passwords are locked with a key that is not here.
    pub(crate) users_locked: usize,
    /// Who calls outside more than it may, in words.
    pub(crate) toll_alarms: Vec<String>,
    pub(crate) mailboxes_paused: usize,
    /// Writes that wait for room in the log's queue.
    pub(crate) log_waiting: usize,
    /// Writes that were refused since start, because too many waited.
    pub(crate) log_overflow: u64,
    pub(crate) pbx: Counters,
    pub(crate) sip_dialogs: usize,
    pub(crate) sip: ShimCounters,
    pub(crate) media: EngineStats,
    pub(crate) copies: GateStatus,
}

/// What was counted, and when.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) at: Instant,
    pub(crate) counted: Counted,
}

/// See the chapter above.
#[derive(Default)]
pub(crate) struct Board {
    is_asked: AtomicBool,
    /// What nobody has looked at yet.
    new: AtomicCell<Option<Box<Posted>>>,
    /// What was looked at last. Call control does not touch it.
    last: Mutex<Option<Arc<Posted>>>,
}

impl Board {
    /// Since when it is counted for whoever asked; `None`: nobody did. For call control.
    pub(crate) fn take_asked(&self) -> Option<Instant> {
        // Whoever asks from here on asks for the next copy.
        self.is_asked
            .swap(false, Ordering::AcqRel)
            .then(Instant::now)
    }

    /// Puts up what was counted from `at` on. For call control; never waits.
    pub(crate) fn put(&self, at: Instant, counted: Counted) {
        self.new.store(Some(Box::new(Posted { at, counted })));
    }

    /// What was counted just now; if call control does not answer soon, what it put up last, if anything.
    /// `wake` makes it look whether somebody asked.
    pub(crate) fn look(&self, wake: impl FnOnce()) -> Option<Arc<Posted>> {
        let came = Instant::now();
        let is_fresh = |posted: &Posted| posted.at + FRESH_FOR >= came;
        let last = self.last();
        if last.as_deref().is_some_and(is_fresh) {
            return last;
        }
        if !self.is_asked.swap(true, Ordering::AcqRel) {
            wake();
        }
        loop {
            let last = self.last();
            if last.as_deref().is_some_and(is_fresh) || came.elapsed() >= WAIT_MAX {
                return last;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn last(&self) -> Option<Arc<Posted>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(new) = self.new.take() {
            *last = Some(Arc::from(new));
        }
        last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_calls(calls: usize) -> Counted {
        Counted {
            calls,
            ..Counted::default()
        }
    }

    /// What somebody sees for whom call control counts so many calls at once.
    fn look(board: &Board, calls: usize) -> usize {
        let posted = board.look(|| {
            let at = board.take_asked().unwrap();
            board.put(at, with_calls(calls));
        });
        posted.unwrap().counted.calls
    }

    #[test]
    fn call_control_never_meets_a_lock() {
        assert!(AtomicCell::<Option<Box<Posted>>>::is_lock_free());
    }

    #[test]
    fn who_asks_gets_what_is_counted_then_and_soon_after_the_same() {
        let board = Board::default();
        assert_eq!(look(&board, 1), 1);
        assert!(board.take_asked().is_none());
        std::thread::sleep(FRESH_FOR + Duration::from_millis(1));
        assert_eq!(look(&board, 2), 2);
        // As new as it can be, however long this machine stands still.
        board.put(Instant::now() + WAIT_MAX, with_calls(3));
        let again = board.look(|| unreachable!("it is fresh"));
        assert_eq!(again.unwrap().counted.calls, 3);
    }

    #[test]
    fn call_control_that_does_not_answer_is_asked_once_and_not_waited_for() {
        let board = Board::default();
        let mut woken = 0;
        let before = Instant::now();
        assert!(board.look(|| woken += 1).is_none());
        assert!(board.look(|| woken += 1).is_none());
        assert!(before.elapsed() >= 2 * WAIT_MAX);
        assert_eq!(woken, 1);
        // Its answer comes too late for those two, but not for the next.
        let at = board.take_asked().unwrap();
        board.put(at, with_calls(3));
        std::thread::sleep(FRESH_FOR + Duration::from_millis(1));
        let old = board.look(|| woken += 1).unwrap();
        assert_eq!((old.counted.calls, woken), (3, 2));
        assert!(old.at.elapsed() >= FRESH_FOR);
    }
}
