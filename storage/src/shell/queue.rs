//! The queue to the log thread: neither end ever spins for the other.
//!
//! The log thread goes before its senders. A queue whose receiver spins while a sender is between
//! taking a place and filling it would keep that sender from the processor. Here the receiver sees
//! such a place as empty and sleeps; its sender rings the bell once it has filled it. What came in
//! behind it waits too: order is kept.
//!
//! A place is a mutex of its own, which the receiver only tries; so a sender waits for a receiver that
//! looks at its place in that moment, if at all. Bound: the number of places; who finds none free
//! has the value back, and counts that.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;
use std::time::Duration;

/// As long as nobody said who listens, the bell is looked at this often.
const UNHEARD: Duration = Duration::from_millis(1);

/// Wakes the one thread that receives.
#[derive(Clone, Debug, Default)]
pub(super) struct Bell(Arc<OnceLock<Thread>>);

impl Bell {
    /// The calling thread is the one to be woken from now on.
    pub(super) fn listen(&self) {
        let _ = self.0.set(std::thread::current());
    }

    /// Sleeps until somebody rings, or has rung since the last time; or for so long.
    pub(super) fn sleep(&self, at_most: Duration) {
        let is_heard = self.0.get().is_some();
        let time = if is_heard {
            at_most
        } else {
            at_most.min(UNHEARD)
        };
        std::thread::park_timeout(time);
    }

    fn ring(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

#[derive(Debug)]
struct Shared<T> {
    places: Box<[Mutex<Option<T>>]>,
    /// Places taken so far by senders, and emptied so far.
    taken: AtomicUsize,
    emptied: AtomicUsize,
    sender_gone: AtomicBool,
    receiver_gone: AtomicBool,
    bell: Bell,
}

/// The end to put in at; may be shared.
#[derive(Debug)]
pub(super) struct Sender<T>(Arc<Shared<T>>);

/// The end to take from.
#[derive(Debug)]
pub(super) struct Receiver<T>(Arc<Shared<T>>);

/// A queue of so many places.
pub(super) fn bounded<T>(places: usize, bell: &Bell) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        places: (0..places).map(|_| Mutex::new(None)).collect(),
        taken: AtomicUsize::new(0),
        emptied: AtomicUsize::new(0),
        sender_gone: AtomicBool::new(false),
        receiver_gone: AtomicBool::new(false),
        bell: bell.clone(),
    });
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Sender<T> {
    /// Gives the value back if no place is free or nobody receives.
    pub(super) fn try_send(&self, value: T) -> Result<(), T> {
        let shared = &*self.0;
        if shared.receiver_gone.load(Ordering::Acquire) {
            return Err(value);
        }
        let place = loop {
            // In this order: what is taken is never less than what was emptied before.
            let emptied = shared.emptied.load(Ordering::Acquire);
            let taken = shared.taken.load(Ordering::Relaxed);
            if taken.wrapping_sub(emptied) >= shared.places.len() {
                return Err(value);
            }
            let next = taken.wrapping_add(1);
            let order = Ordering::Relaxed;
            let won = shared
                .taken
                .compare_exchange_weak(taken, next, order, order);
            if won.is_ok() {
                break taken % shared.places.len();
            }
        };
        let place = &shared.places[place];
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        shared.bell.ring();
        Ok(())
    }

    /// Values in it.
    pub(super) fn len(&self) -> usize {
        let emptied = self.0.emptied.load(Ordering::Acquire);
        self.0.taken.load(Ordering::Relaxed).wrapping_sub(emptied)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.sender_gone.store(true, Ordering::Release);
        self.0.bell.ring();
    }
}

impl<T> Receiver<T> {
    /// The next value, if it is there as a whole.
    pub(super) fn try_recv(&mut self) -> Option<T> {
        let shared = &*self.0;
        let emptied = shared.emptied.load(Ordering::Relaxed);
        let value = match shared.places[emptied % shared.places.len()].try_lock() {
            Ok(mut place) => place.take(),
            Err(TryLockError::Poisoned(place)) => place.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        }?;
        let next = emptied.wrapping_add(1);
        shared.emptied.store(next, Ordering::Release);
        Some(value)
    }

    /// Nobody will put anything in any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.0.sender_gone.load(Ordering::Acquire)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.receiver_gone.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_order_and_a_full_queue_gives_them_back() {
        let (sender, mut receiver) = bounded(3, &Bell::default());
        for round in 0..10 {
            for n in 0..3 {
                sender.try_send(round * 3 + n).unwrap();
            }
            assert_eq!(sender.len(), 3);
            assert_eq!(sender.try_send(99), Err(99));
            for n in 0..3 {
                assert_eq!(receiver.try_recv(), Some(round * 3 + n));
            }
            assert_eq!((receiver.try_recv(), sender.len()), (None, 0));
        }
    }

    #[test]
    fn a_place_that_is_not_filled_yet_holds_up_nobody() {
        let (sender, mut receiver) = bounded(4, &Bell::default());
        // A sender that has taken its place and cannot run.
        let place = sender.0.taken.fetch_add(1, Ordering::Relaxed);
        sender.try_send(2).unwrap();
        assert_eq!(receiver.try_recv(), None, "order is kept");
        {
            let _filling = sender.0.places[place].lock().unwrap();
            assert_eq!(receiver.try_recv(), None, "it is only tried");
        }
        *sender.0.places[place].lock().unwrap() = Some(1);
        assert_eq!(receiver.try_recv(), Some(1));
        assert_eq!(receiver.try_recv(), Some(2));
    }

    #[test]
    fn each_end_learns_that_the_other_is_gone() {
        let (sender, receiver) = bounded::<u8>(1, &Bell::default());
        drop(receiver);
        assert_eq!(sender.try_send(1), Err(1));
        let (sender, receiver) = bounded::<u8>(1, &Bell::default());
        assert!(!receiver.is_abandoned());
        drop(sender);
        assert!(receiver.is_abandoned());
    }

    #[test]
    fn of_many_senders_nothing_is_lost_and_each_keeps_its_order() {
        const EACH: usize = 20_000;
        let bell = Bell::default();
        let (sender, mut receiver) = bounded(64, &bell);
        bell.listen();
        std::thread::scope(|scope| {
            for nth in 0..4 {
                let sender = &sender;
                scope.spawn(move || {
                    for n in 0..EACH {
                        while sender.try_send((nth, n)).is_err() {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let mut next = [0; 4];
            while next.iter().sum::<usize>() < 4 * EACH {
                match receiver.try_recv() {
                    Some((nth, n)) => {
                        assert_eq!(n, next[nth]);
                        next[nth] += 1;
                    }
                    // A ring that got lost would make this test take minutes.
                    None => bell.sleep(Duration::from_secs(60)),
                }
            }
        });
    }
}
