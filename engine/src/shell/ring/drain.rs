//! How a ring ends: its requests first, then its memory.
//!
//! Closing a ring ends its requests at some later time, and a receive may write to its buffers until
//! then. So everything is cancelled and each last completion is waited for. If they do not come, or
//! the kernel does not serve the ring any more, the memory stays mapped for as long as the process
//! lives: that is some megabytes, once, at the end of a worker.

#![deny(unsafe_code)]

use std::rc::Rc;
use std::time::Duration;

use io_uring::{opcode, types};

use super::{MARK_CANCEL, Ring};

/// How long an enter waits for what ends, and how many there are at most.
const WAIT: Duration = Duration::from_millis(1);
const ENTERS: usize = 200;

impl Ring {
    /// Ends all requests and takes what comes of it. False: the kernel may still use the memory.
    pub(super) fn drain(&mut self) -> bool {
        for _ in 0..ENTERS {
            if self.under_way == 0 && self.ring.submission().is_empty() {
                return true;
            }
            let all = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
            // If there is no room for it, the enter makes some for the next one.
            let _ = self.push(&all.user_data(MARK_CANCEL));
            if self.enter(WAIT, false).is_err() {
                return false;
            }
            while self.next().is_some() {}
        }
        false
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.drain() {
            tracing::error!(
                requests = self.under_way,
                "the media ring did not end; its memory is left to the kernel"
            );
            std::mem::forget(Rc::clone(self.buffers.shared()));
        }
    }
}
