//! The worker's ring: datagrams in by multishot receives, datagrams out from where they lie.
//!
//! One `io_uring_enter` a round submits what the last round wants sent and takes what has come
//! since. Received datagrams lie in a ring of provided buffers (`ring/buffers.rs`); a relayed one is
//! sent from its buffer, which goes back to the kernel after the next `enter`: with `MSG_DONTWAIT` a
//! send is over, one way or the other, when `enter` returns. Good sends give no completion.
//!
//! This file and the two below it are three of the five in the crate that may be unsafe. What keeps
//! them sound:
//! - **Memory.** Whatever an entry points to lies in one mapping (`ring/memory.rs`). It is unmapped
//!   when no request is under way any more, and otherwise never (`ring/drain.rs`).
//! - **Buffers.** A received one is touched by its token alone, [`Received`]. Spent buffers are lent
//!   again, and places of the arena are used again, only after an `enter` that took every
//!   submission.
//! - **Descriptors.** An entry names its socket by number, and the number may be another's once the
//!   socket is closed. The kernel takes submissions in the order in which they were queued; a
//!   receive or a cancellation that finds no room waits in `refused`, which keeps their order. A
//!   socket is closed in this order: its last send, its cancellation, the last completion of its
//!   receives, an `enter` that took everything ([`Ring::has_submitted_all`]), the close. So nothing
//!   that names it is still queued.
//!
//! Sources: io_uring_setup(2), io_uring_enter(2), io_uring_prep_recv_multishot(3),
//! io_uring_prep_cancel(3).

#![allow(unsafe_code)]

mod buffers;
mod drain;
mod memory;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use self::buffers::Buffers;
pub(crate) use self::buffers::Received;
pub(crate) use self::memory::BUFFER_BYTES;
use self::memory::{ARENA_PACKETS, BUFFERS};
use super::socket::KernelAddress;
use crate::output::PACKET_BYTES_MAX;

/// Submissions between two enters; more make an enter of their own.
const SUBMISSIONS: u32 = 1024;
/// Completions: as many as there can be buffers and sends of them that fail, and room for the
/// endings of both receives of each leg.
pub(crate) const COMPLETIONS: u32 = 32_768;
/// Times that the kernel is asked to take submissions before it is taken to refuse.
const SUBMITS_TRIED: usize = 3;
/// How long to leave a kernel alone that is short of memory.
const SHORT_PAUSE: Duration = Duration::from_millis(1);
/// As many completions as the queue holds: a wait for so many ends by its time-out.
const MORE_THAN_CAN_COME: usize = COMPLETIONS as usize;
/// The one group of provided buffers.
const GROUP: u16 = 0;

/// Sends bear this mark; their completions are failures and only counted.
pub(crate) const MARK_SEND: u64 = u64::MAX;
/// Cancellations bear this one.
const MARK_CANCEL: u64 = u64::MAX - 1;

/// A ring, its buffers, its arena.
pub(crate) struct Ring {
    ring: IoUring,
    buffers: Buffers,
    /// What the kernel did not take and cannot be left out: receives and cancellations, some four a
    /// leg at most. Sends are left out and counted.
    refused: VecDeque<squeue::Entry>,
    /// The kernel did not make room in this round; it is not asked again before the next enter.
    refuses: bool,
    /// The last enter left nothing queued.
    has_submitted_all: bool,
    /// Places of the arena used since the last enter.
    arena_used: usize,
    /// Requests that have been asked for and whose last completion has not been taken, but for
    /// sends and cancellations.
    under_way: usize,
    failed: u64,
    refusals: u64,
}

/// What has come.
pub(crate) struct Completion {
    /// What was said when it was asked for.
    pub(crate) mark: u64,
    /// The result, as io_uring gives it.
    pub(crate) result: i32,
    /// The datagram, if one has come.
    pub(crate) received: Option<Received>,
    /// More will come without asking again.
    pub(crate) more: bool,
}

/// The queue is full and the kernel takes nothing from it.
struct Refused;

impl Ring {
    /// A ring that only the calling thread may use.
    pub(crate) fn new() -> io::Result<Ring> {
        Ring::of(&mut IoUring::builder())
    }

    fn of(builder: &mut io_uring::Builder) -> io::Result<Ring> {
        let ring = builder
            .setup_cqsize(COMPLETIONS)
            .setup_single_issuer()
            .setup_defer_taskrun()
            // One bad submission does not keep those behind it from being taken.
            .setup_submit_all()
            .build(SUBMISSIONS)?;
        let buffers = Buffers::new()?;
        // SAFETY: the entries are mapped, page-aligned and zero. The mapping is kept until nothing
        // is under way (`ring/drain.rs`).
        unsafe {
            let at = buffers.memory().entries();
            ring.submitter()
                .register_buf_ring_with_flags(at, BUFFERS, GROUP, 0)?;
        }
        let mut ring = Ring {
            ring,
            buffers,
            refused: VecDeque::new(),
            refuses: false,
            has_submitted_all: true,
            arena_used: 0,
            under_way: 0,
            failed: 0,
            refusals: 0,
        };
        ring.lend_for(0);
        Ok(ring)
    }

    /// Lends the kernel as many buffers as so many legs need; fewer once they come back.
    pub(crate) fn lend_for(&mut self, legs: usize) {
        self.buffers.lend_for(legs);
    }

    /// Buffers that the kernel may fill: those lent, without what has come and is not back yet.
    pub(crate) fn buffers_free(&mut self) -> usize {
        let come = self.ring.completion().len();
        self.buffers.with_kernel().saturating_sub(come)
    }

    /// Submits everything and takes what has come. Waits for `wait` whatever comes, or, if
    /// `first`, until the first thing comes.
    pub(crate) fn enter(&mut self, wait: Duration, first: bool) -> io::Result<()> {
        self.push_refused();
        let time = types::Timespec::from(wait);
        let args = types::SubmitArgs::new().timespec(&time);
        let want = if first { 1 } else { MORE_THAN_CAN_COME };
        let result = self.ring.submitter().submit_with_args(want, &args);
        self.after_enter();
        match result {
            Ok(_) => Ok(()),
            Err(e) if is_short(&e) => {
                // The kernel is short of memory, or of places for what has come, and did not wait.
                self.refusals += 1;
                if self.ring.completion().is_empty() {
                    std::thread::sleep(wait.min(SHORT_PAUSE));
                }
                Ok(())
            }
            Err(e) if is_passing(&e) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn after_enter(&mut self) {
        self.refuses = false;
        let is_empty = self.ring.submission().is_empty();
        self.has_submitted_all = is_empty && self.refused.is_empty();
        // If the kernel was short of memory, what it did not take still points to its packets.
        if is_empty {
            self.arena_used = 0;
            self.buffers.lend_spent();
        }
    }

    /// The last enter took all that had been asked for before it. A socket may be closed then.
    pub(crate) fn has_submitted_all(&self) -> bool {
        self.has_submitted_all
    }

    /// What has come, one at a time; `None`: nothing more this round.
    pub(crate) fn next(&mut self) -> Option<Completion> {
        loop {
            let entry = self.ring.completion().next()?;
            match entry.user_data() {
                MARK_SEND => self.failed += 1,
                MARK_CANCEL => {}
                mark => {
                    let (result, flags) = (entry.result(), entry.flags());
                    let more = cqueue::more(flags);
                    self.under_way -= usize::from(!more);
                    let received = cqueue::buffer_select(flags).map(|buffer| {
                        let len = usize::try_from(result).unwrap_or(0);
                        // SAFETY: the completion was taken from the queue just now, so this is the
                        // first token made of it.
                        unsafe { self.buffers.receive(buffer, len) }
                    });
                    return Some(Completion {
                        mark,
                        result,
                        received,
                        more,
                    });
                }
            }
        }
    }

    /// How many have come; taking no more than these keeps a round finite.
    pub(crate) fn ready(&mut self) -> usize {
        self.ring.completion().len()
    }

    /// Sends that failed since the last call.
    pub(crate) fn take_failed(&mut self) -> u64 {
        std::mem::take(&mut self.failed)
    }

    /// Submissions for which the kernel made no room since the last call.
    pub(crate) fn take_refusals(&mut self) -> u64 {
        std::mem::take(&mut self.refusals)
    }

    /// Receives from a connected socket from now on.
    pub(crate) fn receive(&mut self, fd: RawFd, mark: u64) {
        let entry = opcode::RecvMulti::new(types::Fd(fd), GROUP).build();
        self.begin(entry, mark);
    }

    /// Receives from a socket from now on, with the sender's address before each datagram.
    pub(crate) fn receive_with_address(&mut self, fd: RawFd, mark: u64) {
        let header = self.buffers.memory().recvmsg();
        let entry = opcode::RecvMsgMulti::new(types::Fd(fd), header, GROUP).build();
        self.begin(entry, mark);
    }

    /// Says once that there is something to read.
    pub(crate) fn read_event(&mut self, fd: RawFd, mark: u64) {
        let entry = opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32).build();
        self.begin(entry, mark);
    }

    fn begin(&mut self, entry: squeue::Entry, mark: u64) {
        assert!(mark < MARK_CANCEL, "the last marks are the ring's own");
        self.under_way += 1;
        self.push_surely(entry.user_data(mark));
    }

    /// Ends what bears this mark; its last completion says that it has ended.
    pub(crate) fn cancel(&mut self, mark: u64) {
        let entry = opcode::AsyncCancel::new(mark).build();
        self.push_surely(entry.user_data(MARK_CANCEL));
    }

    /// Sends part of a received datagram, and gives its buffer back.
    pub(crate) fn send_from(
        &mut self,
        fd: RawFd,
        received: Received,
        range: Range<usize>,
        to: Option<&KernelAddress>,
    ) {
        assert!(self.buffers.own(&received), "a token of another ring");
        let Some(start) = received.part(&range) else {
            self.failed += 1;
            return;
        };
        let Some(to) = to else {
            return self.push_send(fd, start, range.len(), None);
        };
        if let Some(place) = self.place() {
            self.push_send(fd, start, range.len(), Some((place, to)));
        }
    }

    /// Sends a packet, of which a copy is kept until it is sent. One longer than any that we make is not
    /// sent, and counted.
    pub(crate) fn send_copy(&mut self, fd: RawFd, bytes: &[u8], to: Option<&KernelAddress>) {
        if bytes.len() > PACKET_BYTES_MAX {
            self.failed += 1;
            return;
        }
        let Some(place) = self.place() else { return };
        // SAFETY: `place` gives only places that no send points to.
        let start = unsafe { self.buffers.memory().put_packet(place, bytes) };
        self.push_send(fd, start, bytes.len(), to.map(|to| (place, to)));
    }

    /// A place in the arena, for one packet and one address, until the next enter. There is room
    /// in the queue then, or there will be none in this round: were room made between this and the
    /// push, the place would count as free with its send still queued.
    fn place(&mut self) -> Option<usize> {
        if self.arena_used == ARENA_PACKETS || self.ring.submission().is_full() {
            self.make_room();
        }
        if self.arena_used == ARENA_PACKETS {
            self.failed += 1;
            return None;
        }
        self.arena_used += 1;
        Some(self.arena_used - 1)
    }

    fn push_send(
        &mut self,
        fd: RawFd,
        start: *const u8,
        len: usize,
        to: Option<(usize, &KernelAddress)>,
    ) {
        let (address, address_len) = match to {
            // SAFETY: `place` gives only places that no send points to.
            Some((place, to)) => unsafe {
                (self.buffers.memory().put_address(place, to), to.len())
            },
            None => (std::ptr::null(), 0),
        };
        let entry = opcode::Send::new(types::Fd(fd), start, len as u32)
            .flags(libc::MSG_DONTWAIT)
            .dest_addr(address)
            .dest_addr_len(address_len)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(MARK_SEND);
        self.failed += u64::from(self.push(&entry).is_err());
    }

    /// Queues an entry, if the queue has room or the kernel makes some.
    fn push(&mut self, entry: &squeue::Entry) -> Result<(), Refused> {
        if self.ring.submission().is_full() {
            self.make_room();
        }
        // SAFETY: what entries point to lies in the mapping and stays as it is until the kernel has
        // taken them, as the chapter says.
        let pushed = unsafe { self.ring.submission().push(entry) };
        pushed.map_err(|_| {
            self.refusals += 1;
            Refused
        })
    }

    /// A receive or a cancellation: it is tried again, in order, until the kernel takes it.
    fn push_surely(&mut self, entry: squeue::Entry) {
        if !self.refused.is_empty() || self.push(&entry).is_err() {
            self.refused.push_back(entry);
        }
    }

    fn push_refused(&mut self) {
        while let Some(entry) = self.refused.pop_front() {
            if self.push(&entry).is_err() {
                return self.refused.push_front(entry);
            }
        }
    }

    /// Submits without waiting, so that there is room in the queue and the arena. A kernel that
    /// refuses is asked a few times in a round: the packets of others must go on. What it says is
    /// heard at the next enter.
    fn make_room(&mut self) {
        let queued = self.ring.submission().len();
        for _ in 0..SUBMITS_TRIED {
            if self.refuses {
                return;
            }
            let _ = self.ring.submitter().submit();
            let left = self.ring.submission().len();
            if left == 0 {
                self.arena_used = 0;
            }
            if left < queued {
                return;
            }
        }
        self.refuses = true;
    }
}

/// Interrupted, or timed out.
fn is_passing(error: &io::Error) -> bool {
    is_one_of(error, &[libc::ETIME, libc::EINTR])
}

/// To be tried again (io_uring_enter(2)).
fn is_short(error: &io::Error) -> bool {
    is_one_of(error, &[libc::EBUSY, libc::EAGAIN])
}

fn is_one_of(error: &io::Error, codes: &[i32]) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}
