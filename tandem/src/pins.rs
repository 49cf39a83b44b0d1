//! PINs are checked and hashed here, on a thread of their own: Argon2 takes tens of milliseconds
//! on purpose, and call control waits for nobody.
//!
//! Each leg has at most one PIN under way, and no more than [`WAITING_MAX`] wait: what finds no room is
//! not done and counted, and its caller hears that it could not be done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use crossbeam::channel::{Receiver, Sender, bounded};
use tandem_engine::seam::LegId;
use tandem_node::Input;
use tandem_storage::cipher::Keyring;

use crate::secrets;

/// Some five seconds of work.
const WAITING_MAX: usize = 256;

/// What is to be done.
pub(crate) enum PinWork {
    Check {
        leg: LegId,
        hash: Arc<str>,
        pin: Arc<str>,
    },
    Hash {
        leg: LegId,
        pin: Arc<str>,
    },
}

/// The thread; it ends when this is dropped.
pub(crate) struct Pins {
    work: Option<Sender<PinWork>>,
    overflow: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Pins {
    /// `done` is called on the thread.
    pub(crate) fn start(
        keyring: Keyring,
        done: impl Fn(Input) + Send + 'static,
    ) -> std::io::Result<Pins> {
        let (work, queue) = bounded(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("pins".into())
            .spawn(move || serve(&queue, &keyring, &done))?;
        Ok(Pins {
            work: Some(work),
            overflow: Arc::default(),
            thread: Some(thread),
        })
    }

    pub(crate) fn submit(&self, work: PinWork) {
        if let Some(sender) = &self.work {
            // The thread ends only after `work` is gone.
            if sender.try_send(work).is_err() {
                self.overflow.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What found no room, since start; to be read from another thread.
    pub(crate) fn overflow(&self) -> Arc<AtomicU64> {
        self.overflow.clone()
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn serve(queue: &Receiver<PinWork>, keyring: &Keyring, done: &impl Fn(Input)) {
    for work in queue {
        done(match work {
            PinWork::Check { leg, hash, pin } => Input::PinChecked {
                leg,
                right: secrets::unlock_pin(keyring, &hash).is_ok_and(|hash| is_right(&hash, &pin)),
            },
            PinWork::Hash { leg, pin } => Input::PinHashed {
                leg,
                hash: secrets::hash_pin(keyring, &pin),
            },
        });
    }
}

/// Argon2id with its recommended costs and a fresh salt, in PHC form.
pub(crate) fn hash(pin: &str) -> Option<Arc<str>> {
    let hash = Argon2::default().hash_password(pin.as_bytes()).ok()?;
    Some(hash.to_string().into())
}

fn is_right(hash: &str, pin: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(pin.as_bytes(), &hash)
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_pin_passes() {
        let stored = hash("1101").unwrap();
        assert!(stored.starts_with("$argon2id$"), "{stored}");
        assert!(is_right(&stored, "1101"));
        assert!(!is_right(&stored, "1102"));
        assert!(!is_right("garbage", "1101"));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_not_done() {
        let (begun, has_begun) = bounded(0);
        let (go_on, may_go_on) = bounded::<()>(0);
        let pins = Pins::start(Keyring::default(), move |_| {
            begun.send(()).ok();
            may_go_on.recv().ok();
        });
        let pins = pins.unwrap();
        let work = || PinWork::Check {
            leg: LegId(1),
            hash: "garbage".into(),
            pin: "1101".into(),
        };
        pins.submit(work());
        has_begun.recv().unwrap();
        for _ in 0..WAITING_MAX + 3 {
            pins.submit(work());
        }
        assert_eq!(pins.overflow().load(Ordering::Relaxed), 3);
        drop((go_on, has_begun));
    }
}
