//! The worker's ring: datagrams in by multishot receives, datagrams out from where they lie.
//!
//! One `io_uring_enter` a round submits what the last round wants sent and takes what has come
//! since. Received datagrams lie in a ring of provided buffers; a relayed one is sent from its
//! buffer, which goes back to the kernel after the next `enter`: with `MSG_DONTWAIT` a send is over,
//! one way or the other, when `enter` returns. Good sends give no completion.
//!
//! This file is one of three in the crate that may be unsafe. What keeps it sound:
//! - Buffers and slots of the arena are memory of this struct that does not move and outlives the
//!   ring (fields drop in order; the ring is first).
//! - A received buffer is lent out as `&mut [u8]` only between its completion and
//!   [`Ring::give_back`]; the kernel does not write to it in that time.
//! - Whatever a send points to is kept until the next [`Ring::enter`] has returned.
//!
//! Sources: io_uring_setup(2), io_uring_enter(2), io_uring_prep_recv_multishot(3).

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::socket::{ADDRESS_BYTES, KernelAddress, read_address};
use crate::output::PACKET_BYTES_MAX;

/// Submissions between two enters; more make an enter of their own.
const SUBMISSIONS: u32 = 1024;
/// Completions: as many as there can be buffers and sends of them that fail, and room for the
/// endings of both receives of each leg.
pub(crate) const COMPLETIONS: u32 = 32_768;
/// Buffers there are: the packets of 8,192 legs in 20 ms. What is lent to the kernel follows the
/// number of legs, since buffers are used in turn, and fewer stay in the cache.
const BUFFERS: u16 = 8192;
/// Buffers lent at least, and for each leg.
const BUFFERS_MIN: usize = 512;
const BUFFERS_PER_LEG: usize = 2;
/// Submits tried for one submission before the kernel is taken to refuse.
const SUBMITS_TRIED: usize = 3;
/// One buffer: a datagram of an Ethernet frame with its address in front, which is RTP with 180 ms of
/// G.711; the 150 ms that we say we take fit by far. An odd number of cache lines, so that the beginnings
/// of the buffers spread over the cache.
pub(crate) const BUFFER_BYTES: usize = 25 * 64;
/// Packets we make in one round at most before they are sent in between.
const ARENA_PACKETS: usize = 1024;
/// What the kernel puts before the address in a multishot `recvmsg`: `io_uring_recvmsg_out`.
const RECVMSG_OUT_BYTES: usize = 16;
/// A wait for more completions than there can be ends by time alone.
const MORE_THAN_CAN_COME: usize = COMPLETIONS as usize;

/// A ring, its buffers, its arena.
pub(crate) struct Ring {
    ring: IoUring,
    /// The provided buffer ring, page-aligned, then the buffers.
    memory: Memory,
    tail: u16,
    /// Buffers whose datagram has been dealt with; the kernel gets them back after an enter.
    spent: Vec<u16>,
    /// Buffers that are not lent, and how many are and should be.
    kept: Vec<u16>,
    lent: usize,
    lent_wanted: usize,
    /// What the kernel did not take and cannot be left out: receives and cancellations, some four a
    /// leg at most. Sends are left out and counted.
    refused: VecDeque<squeue::Entry>,
    arena: Box<[[u8; PACKET_BYTES_MAX]]>,
    arena_used: usize,
    addresses: Box<[KernelAddress]>,
    /// What a multishot `recvmsg` is told of the room for addresses.
    recvmsg: Box<libc::msghdr>,
    failed: u64,
}

/// What has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    /// What was said when it was asked for.
    pub(crate) mark: u64,
    /// The result, as io_uring gives it.
    pub(crate) result: i32,
    /// The buffer it is in.
    pub(crate) buffer: Option<u16>,
    /// More will come without asking again.
    pub(crate) more: bool,
}

/// Sends bear this mark; their completions are failures and only counted.
pub(crate) const MARK_SEND: u64 = u64::MAX;
/// Cancellations bear this one.
const MARK_CANCEL: u64 = u64::MAX - 1;

impl Ring {
    /// A ring that only the calling thread may use.
    pub(crate) fn new() -> io::Result<Ring> {
        let ring = IoUring::builder()
            .setup_cqsize(COMPLETIONS)
            .setup_single_issuer()
            .setup_defer_taskrun()
            // One bad submission does not keep those behind it from being taken.
            .setup_submit_all()
            .build(SUBMISSIONS)?;
        let memory = Memory::new()?;
        // SAFETY: the memory is mapped, page-aligned, large enough for the entries, and outlives
        // the ring.
        unsafe {
            let at = memory.start as u64;
            ring.submitter()
                .register_buf_ring_with_flags(at, BUFFERS, GROUP, 0)?;
        }
        // SAFETY: all zeros is a valid message header without address, data or control.
        let mut recvmsg: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        recvmsg.msg_namelen = ADDRESS_BYTES as u32;
        let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        let nowhere = KernelAddress::new(nowhere, nowhere.ip());
        let mut ring = Ring {
            ring,
            memory,
            tail: 0,
            spent: Vec::with_capacity(usize::from(BUFFERS)),
            kept: (0..BUFFERS).rev().collect(),
            lent: 0,
            lent_wanted: 0,
            refused: VecDeque::new(),
            arena: vec![[0; PACKET_BYTES_MAX]; ARENA_PACKETS].into(),
            arena_used: 0,
            addresses: vec![nowhere; ARENA_PACKETS].into(),
            recvmsg,
            failed: 0,
        };
        ring.lend_for(0);
        Ok(ring)
    }

    /// Lends the kernel as many buffers as so many legs need; fewer once they come back.
    pub(crate) fn lend_for(&mut self, legs: usize) {
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

    /// Buffers that the kernel may fill: those lent, without what has come and is not back yet.
    pub(crate) fn buffers_free(&mut self) -> usize {
        let out = self.spent.len() + self.ring.completion().len();
        self.lent.saturating_sub(out)
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
            Err(e) if is_passing(&e) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// What has come, one at a time; `None`: nothing more this round.
    pub(crate) fn next(&mut self) -> Option<Completion> {
        loop {
            let entry = self.ring.completion().next()?;
            match entry.user_data() {
                MARK_SEND => self.failed += 1,
                MARK_CANCEL => {}
                mark => {
                    return Some(Completion {
                        mark,
                        result: entry.result(),
                        buffer: cqueue::buffer_select(entry.flags()),
                        more: cqueue::more(entry.flags()),
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

    /// Receives from a connected socket from now on.
    pub(crate) fn receive(&mut self, fd: RawFd, mark: u64) {
        let entry = opcode::RecvMulti::new(types::Fd(fd), GROUP)
            .build()
            .user_data(mark);
        self.push_surely(entry);
    }

    /// Receives from a socket from now on, with the sender's address before each datagram.
    pub(crate) fn receive_with_address(&mut self, fd: RawFd, mark: u64) {
        let entry = opcode::RecvMsgMulti::new(types::Fd(fd), &raw const *self.recvmsg, GROUP);
        self.push_surely(entry.build().user_data(mark));
    }

    /// Wakes the worker once when the eventfd is written to.
    pub(crate) fn read_event(&mut self, fd: RawFd, mark: u64) {
        let entry = opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32).build();
        self.push_surely(entry.user_data(mark));
    }

    /// Ends what bears this mark; its last completion says that it has ended.
    pub(crate) fn cancel(&mut self, mark: u64) {
        let entry = opcode::AsyncCancel::new(mark)
            .build()
            .user_data(MARK_CANCEL);
        self.push_surely(entry);
    }

    /// The datagram in a buffer, received from a connected socket.
    pub(crate) fn datagram(&mut self, buffer: u16, len: usize) -> &mut [u8] {
        let start = self.memory.buffer(buffer);
        // SAFETY: the buffer is `BUFFER_BYTES` long, belongs to us until it is provided again, and
        // is borrowed through `self`.
        unsafe { std::slice::from_raw_parts_mut(start, len.min(BUFFER_BYTES)) }
    }

    /// Where in a buffer filled with an address the datagram lies, and who sent it.
    pub(crate) fn with_address(
        &mut self,
        buffer: u16,
        len: usize,
    ) -> Option<(std::net::SocketAddr, std::ops::Range<usize>)> {
        let bytes = self.datagram(buffer, len);
        let start = RECVMSG_OUT_BYTES + ADDRESS_BYTES;
        let from = read_address(bytes.get(RECVMSG_OUT_BYTES..start)?)?;
        // The kernel says how long the datagram was; a longer one than fits was cut.
        let whole = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?) as usize;
        (start + whole <= len).then_some((from, start..len))
    }

    /// Sends part of a received buffer. The buffer must be given back in this round.
    pub(crate) fn send_from(
        &mut self,
        fd: RawFd,
        buffer: u16,
        range: std::ops::Range<usize>,
        to: Option<&KernelAddress>,
    ) {
        assert!(range.start <= range.end && range.end <= BUFFER_BYTES);
        let start = self.memory.buffer(buffer).wrapping_add(range.start);
        let Some(to) = to else {
            return self.push_send(fd, start, range.len(), None);
        };
        if let Some(place) = self.place() {
            self.addresses[place] = *to;
            self.push_send(fd, start, range.len(), Some(place));
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
        self.arena[place][..bytes.len()].copy_from_slice(bytes);
        if let Some(to) = to {
            self.addresses[place] = *to;
        }
        let start = self.arena[place].as_ptr();
        self.push_send(fd, start, bytes.len(), to.map(|_| place));
    }

    /// A place in the arena, until the next enter.
    fn place(&mut self) -> Option<usize> {
        if self.arena_used == ARENA_PACKETS {
            self.submit();
        }
        if self.arena_used == ARENA_PACKETS {
            self.failed += 1;
            return None;
        }
        self.arena_used += 1;
        Some(self.arena_used - 1)
    }

    /// The datagram in a buffer has been dealt with.
    pub(crate) fn give_back(&mut self, buffer: u16) {
        self.spent.push(buffer);
    }

    fn push_send(&mut self, fd: RawFd, start: *const u8, len: usize, to: Option<usize>) {
        let to = to.map(|place| &self.addresses[place]);
        let (address, address_len) = to.map_or((std::ptr::null(), 0), |t| (t.as_ptr(), t.len()));
        let entry = opcode::Send::new(types::Fd(fd), start, len as u32)
            .flags(libc::MSG_DONTWAIT)
            .dest_addr(address)
            .dest_addr_len(address_len)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(MARK_SEND);
        if !self.push(&entry) {
            self.failed += 1;
        }
    }

    /// False: the queue is full and the kernel takes nothing from it.
    fn push(&mut self, entry: &squeue::Entry) -> bool {
        for _ in 0..SUBMITS_TRIED {
            // SAFETY: what entries point to is kept until after the next enter, as the chapter
            // says; `recvmsg` is kept for ever.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return true;
            }
            self.submit();
        }
        false
    }

    /// A receive or a cancellation: it is tried again, in order, until the kernel takes it.
    fn push_surely(&mut self, entry: squeue::Entry) {
        self.push_refused();
        if !self.refused.is_empty() || !self.push(&entry) {
            self.refused.push_back(entry);
        }
    }

    fn push_refused(&mut self) {
        while let Some(entry) = self.refused.pop_front() {
            if !self.push(&entry) {
                return self.refused.push_front(entry);
            }
        }
    }

    /// Submits without waiting. What is sent from received buffers is then sent, too.
    fn submit(&mut self) {
        if let Err(error) = self.ring.submitter().submit()
            && !is_passing(&error)
        {
            tracing::debug!(%error, "the media ring does not take submissions");
        }
        if self.ring.submission().is_empty() {
            self.arena_used = 0;
        }
    }

    fn after_enter(&mut self) {
        if !self.ring.submission().is_empty() {
            // The kernel was short of memory; what was not taken still points to its packets.
            return;
        }
        self.arena_used = 0;
        if self.spent.is_empty() {
            return;
        }
        let spent = std::mem::take(&mut self.spent);
        for buffer in &spent {
            if self.lent > self.lent_wanted {
                self.kept.push(*buffer);
                self.lent -= 1;
            } else {
                self.provide(*buffer);
            }
        }
        self.publish();
        self.spent = spent;
        self.spent.clear();
    }

    fn provide(&mut self, buffer: u16) {
        let index = usize::from(self.tail & (BUFFERS - 1));
        let address = self.memory.buffer(buffer) as u64;
        // SAFETY: the index is within the ring's entries; the kernel reads the entry only after
        // the tail is published.
        let entry = unsafe { &mut *self.memory.start.cast::<types::BufRingEntry>().add(index) };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: the tail lies in the first entry, is two bytes aligned, and is shared with the
        // kernel only.
        unsafe {
            let tail = types::BufRingEntry::tail(self.memory.start.cast()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

/// The one group of provided buffers.
const GROUP: u16 = 0;

/// Interrupted, timed out, or to be tried again.
fn is_passing(error: &io::Error) -> bool {
    let passing = [libc::ETIME, libc::EINTR, libc::EBUSY, libc::EAGAIN];
    error
        .raw_os_error()
        .is_some_and(|code| passing.contains(&code))
}

/// Mapped memory: the buffer ring's entries, then the buffers.
struct Memory {
    start: *mut u8,
}

const ENTRIES_BYTES: usize = BUFFERS as usize * 16;
const MEMORY_BYTES: usize = ENTRIES_BYTES + BUFFERS as usize * BUFFER_BYTES;

impl Memory {
    fn new() -> io::Result<Memory> {
        // SAFETY: a fresh anonymous mapping, touched at once so that the worker takes no fault.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                MEMORY_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Memory {
            start: start.cast(),
        })
    }

    fn buffer(&self, buffer: u16) -> *mut u8 {
        assert!(
            buffer < BUFFERS,
            "the kernel gives only buffers it was given"
        );
        self.start
            .wrapping_add(ENTRIES_BYTES + usize::from(buffer) * BUFFER_BYTES)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; the ring that used it was dropped before.
        unsafe { libc::munmap(self.start.cast(), MEMORY_BYTES) };
    }
}
