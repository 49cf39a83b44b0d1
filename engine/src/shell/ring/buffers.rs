//! Provided buffers: lent to the kernel, received as tokens, lent again.
//!
//! A buffer is at any time in one of four places:
//! - kept: ours, and not needed now;
//! - lent: the kernel may write to it;
//! - in a [`Received`]: the kernel has put a datagram in it, and whoever has the token may read it,
//!   change it and send from it;
//! - spent: its token is gone. It waits for an enter that takes every send, as one may be from it.
//!
//! There is one token of a buffer at most: it can be neither copied nor cloned, and it is made of a
//! completion, of which the kernel makes one each time that a buffer was lent. To drop the token is
//! to give the buffer back, so none is lost by being forgotten on some path.
//!
//! What is lent follows the number of legs: buffers are used in turn, and fewer stay in the cache.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;

use super::memory::{BUFFER_BYTES, BUFFERS, Memory};
use crate::shell::socket::{ADDRESS_BYTES, read_address};

/// Buffers lent at least, and for each leg.
const BUFFERS_MIN: usize = 512;
const BUFFERS_PER_LEG: usize = 2;
/// What the kernel puts before the address in a multishot `recvmsg`: `io_uring_recvmsg_out`.
const RECVMSG_OUT_BYTES: usize = 16;

/// A buffer with a datagram in it. Dropped, it is given back to the ring it came from.
#[must_use]
pub(crate) struct Received {
    shared: Rc<Shared>,
    buffer: u16,
    len: u16,
}

/// What tokens and the ring have in common. A token keeps the memory, if need be beyond the ring.
pub(super) struct Shared {
    pub(super) memory: Memory,
    /// Buffers whose token is gone; never more than there are.
    spent: RefCell<Vec<u16>>,
}

/// The ring's side of the buffers.
pub(super) struct Buffers {
    shared: Rc<Shared>,
    tail: u16,
    kept: Vec<u16>,
    /// Buffers that are not kept, and how many these should be.
    lent: usize,
    lent_wanted: usize,
}

impl Received {
    /// The datagram, behind what the kernel put before it if it was received with its address.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        let start = self.shared.memory.buffer(self.buffer);
        // SAFETY: so many bytes lie in the buffer, which was zero at first. The kernel does not
        // have it while there is this token, there is no other token of it, and the slice borrows
        // this one.
        unsafe { std::slice::from_raw_parts_mut(start, usize::from(self.len)) }
    }

    /// Where in a buffer filled with an address the datagram lies, and who sent it.
    pub(crate) fn with_address(&mut self) -> Option<(SocketAddr, Range<usize>)> {
        let bytes = self.bytes();
        let start = RECVMSG_OUT_BYTES + ADDRESS_BYTES;
        let from = read_address(bytes.get(RECVMSG_OUT_BYTES..start)?)?;
        // The kernel says how long the datagram was; a longer one than fits was cut.
        let whole = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?) as usize;
        let len = bytes.len();
        (start + whole <= len).then_some((from, start..len))
    }

    /// Where this part begins; `None`: there is no such part.
    pub(super) fn part(&self, range: &Range<usize>) -> Option<*const u8> {
        let is_in = range.start <= range.end && range.end <= usize::from(self.len);
        let start = self.shared.memory.buffer(self.buffer);
        is_in.then(|| start.wrapping_add(range.start).cast_const())
    }

    #[cfg(test)]
    pub(super) fn number(&self) -> u16 {
        self.buffer
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.shared.spent.borrow_mut().push(self.buffer);
    }
}

impl Buffers {
    /// All are kept at first.
    pub(super) fn new() -> io::Result<Buffers> {
        Ok(Buffers {
            shared: Rc::new(Shared {
                memory: Memory::new()?,
                spent: RefCell::new(Vec::with_capacity(usize::from(BUFFERS))),
            }),
            tail: 0,
            kept: (0..BUFFERS).rev().collect(),
            lent: 0,
            lent_wanted: 0,
        })
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.shared.memory
    }

    /// The token is of this ring.
    pub(super) fn own(&self, received: &Received) -> bool {
        Rc::ptr_eq(&self.shared, &received.shared)
    }

    /// Lends the kernel as many buffers as so many legs need; fewer once they come back.
    pub(super) fn lend_for(&mut self, legs: usize) {
        let wanted = (legs * BUFFERS_PER_LEG).next_power_of_two();
        self.lent_wanted = wanted.clamp(BUFFERS_MIN, usize::from(BUFFERS));
        if self.lent >= self.lent_wanted {
            return;
        }
        while self.lent < self.lent_wanted
            && let Some(buffer) = self.kept.pop()
        {
            self.provide(buffer);
            self.lent += 1;
        }
        self.publish();
    }

    /// Buffers that are with the kernel, or in completions that were not taken.
    pub(super) fn with_kernel(&self) -> usize {
        let tokens = Rc::strong_count(&self.shared) - 1;
        let spent = self.shared.spent.borrow().len();
        self.lent.saturating_sub(spent + tokens)
    }

    /// The token of a buffer that has come back with so many bytes in it.
    ///
    /// # Safety
    ///
    /// The kernel has just said, in a completion of which no token was made yet, that it has put
    /// them there.
    pub(super) unsafe fn receive(&self, buffer: u16, len: usize) -> Received {
        assert!(
            buffer < BUFFERS,
            "the kernel gives only buffers it was given"
        );
        Received {
            shared: Rc::clone(&self.shared),
            buffer,
            len: len.min(BUFFER_BYTES) as u16,
        }
    }

    /// Lends again what is spent, or keeps it if fewer are needed. To be called when no send is
    /// queued: one may be from a spent buffer.
    pub(super) fn lend_spent(&mut self) {
        if self.shared.spent.borrow().is_empty() {
            return;
        }
        let shared = Rc::clone(&self.shared);
        for buffer in shared.spent.borrow_mut().drain(..) {
            if self.lent > self.lent_wanted {
                self.kept.push(buffer);
                self.lent -= 1;
            } else {
                self.provide(buffer);
            }
        }
        self.publish();
    }

    /// Takes a buffer that is neither lent nor in a token: one that was kept or spent.
    fn provide(&mut self, buffer: u16) {
        // SAFETY: as many entries as there are buffers cannot all be lent while this buffer is not,
        // so the entry at the tail is free. Nobody has a token of the buffer, and none will be made
        // before the kernel returns it.
        unsafe { self.shared.memory.provide(self.tail, buffer) };
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: `provide` has written each entry that the tail has passed.
        unsafe { self.shared.memory.publish(self.tail) };
    }
}
