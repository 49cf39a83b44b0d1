//! PINs are checked and hashed here, on a thread of their own: Argon2 takes tens of milliseconds
//! on purpose, and call control waits for nobody.
//!
//! Work is bounded by the calls there are: each leg has at most one PIN under way.

use std::sync::Arc;
use std::thread::JoinHandle;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use crossbeam::channel::{Receiver, Sender, unbounded};
use tandem_engine::seam::LegId;
use tandem_pbx::seam::Input;
use tandem_storage::cipher::Keyring;

use crate::secrets;

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
    thread: Option<JoinHandle<()>>,
}

impl Pins {
    /// `done` is called on the thread.
    pub(crate) fn start(
        keys: Keyring,
        done: impl Fn(Input) + Send + 'static,
    ) -> std::io::Result<Pins> {
        let (work, queue) = unbounded();
        let thread = std::thread::Builder::new()
            .name("pins".into())
            .spawn(move || serve(&queue, &keys, &done))?;
        Ok(Pins {
            work: Some(work),
            thread: Some(thread),
        })
    }

    pub(crate) fn submit(&self, work: PinWork) {
        if let Some(sender) = &self.work {
            // The thread ends only after `work` is gone.
            sender.send(work).ok();
        }
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

fn serve(queue: &Receiver<PinWork>, keys: &Keyring, done: &impl Fn(Input)) {
    for work in queue {
        done(match work {
            PinWork::Check { leg, hash, pin } => Input::PinChecked {
                leg,
                right: secrets::unlock_pin(keys, &hash).is_ok_and(|hash| is_right(&hash, &pin)),
            },
            PinWork::Hash { leg, pin } => Input::PinHashed {
                leg,
                hash: secrets::hash_pin(keys, &pin),
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
}
