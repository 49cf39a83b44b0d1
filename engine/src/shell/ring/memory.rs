//! What the kernel and we both read and write, in one mapping.
//!
//! It holds the entries of the provided buffer ring (which must be page-aligned, so they come
//! first), the buffers, the arena of packets that we make, the addresses that sends go to, and the
//! message header of multishot `recvmsg`. The kernel has raw addresses into all of it. So no
//! reference to the whole is ever made: each part is touched by a raw pointer to that part alone.
//!
//! Functions that only compute an address are safe. Those that write are unsafe, and say who must
//! not be looking.
//!
//! Sources: io_uring_register(2) on `IORING_REGISTER_PBUF_RING`.

#![allow(unsafe_code)]

use std::io;
use std::mem::{offset_of, size_of};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types;

use crate::output::PACKET_BYTES_MAX;
use crate::shell::socket::{ADDRESS_BYTES, KernelAddress};

/// Buffers there are: the packets of 8,192 legs in 20 ms.
pub(super) const BUFFERS: u16 = 8192;
/// One buffer: a datagram of an Ethernet frame with its address in front, which is RTP with 180 ms of
/// G.711; the 150 ms that we say we take fit by far. An odd number of cache lines, so that the beginnings
/// of the buffers spread over the cache.
pub(crate) const BUFFER_BYTES: usize = 25 * 64;
/// Packets we make in one round at most before they are sent in between.
pub(super) const ARENA_PACKETS: usize = 1024;

/// An entry of the provided buffer ring: `io_uring_buf`. The ring's tail is where entry 0 has the
/// last two bytes.
#[repr(C)]
struct Entry {
    address: u64,
    len: u32,
    buffer: u16,
    tail: u16,
}

const _: () = assert!(size_of::<Entry>() == size_of::<types::BufRingEntry>());
const _: () = assert!(BUFFERS.is_power_of_two() && BUFFER_BYTES <= u16::MAX as usize);

const BUFFERS_AT: usize = BUFFERS as usize * size_of::<Entry>();
const PACKETS_AT: usize = BUFFERS_AT + BUFFERS as usize * BUFFER_BYTES;
const ADDRESSES_AT: usize = (PACKETS_AT + ARENA_PACKETS * PACKET_BYTES_MAX).next_multiple_of(64);
const HEADER_AT: usize = (ADDRESSES_AT + ARENA_PACKETS * ADDRESS_BYTES).next_multiple_of(64);
const BYTES: usize = HEADER_AT + size_of::<libc::msghdr>();

/// The mapping; it ends when this is dropped.
pub(super) struct Memory {
    start: *mut u8,
}

impl Memory {
    pub(super) fn new() -> io::Result<Memory> {
        // SAFETY: a fresh anonymous mapping, touched at once so that the worker takes no fault.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = Memory {
            start: start.cast(),
        };
        let header = memory.recvmsg().cast_mut();
        // SAFETY: the header lies in the mapping, aligned, and nobody else knows of it yet. The
        // mapping's zeros make it one without address, data or control.
        unsafe { (&raw mut (*header).msg_namelen).write(ADDRESS_BYTES as u32) };
        Ok(memory)
    }

    /// Where the entries of the buffer ring are.
    pub(super) fn entries(&self) -> u64 {
        self.start as u64
    }

    /// What a multishot `recvmsg` is told of the room for addresses. It is never written again.
    pub(super) fn recvmsg(&self) -> *const libc::msghdr {
        self.start.wrapping_add(HEADER_AT).cast_const().cast()
    }

    pub(super) fn buffer(&self, buffer: u16) -> *mut u8 {
        assert!(
            buffer < BUFFERS,
            "the kernel gives only buffers it was given"
        );
        self.start
            .wrapping_add(BUFFERS_AT + usize::from(buffer) * BUFFER_BYTES)
    }

    /// Names a buffer in the entry that the tail stands at.
    ///
    /// # Safety
    ///
    /// The tail has not been published beyond this entry, so that the kernel does not read it; and
    /// nobody touches the buffer from when the tail is until the kernel returns it.
    pub(super) unsafe fn provide(&self, tail: u16, buffer: u16) {
        let index = usize::from(tail % BUFFERS);
        let entry = self.start.cast::<Entry>().wrapping_add(index);
        let address = self.buffer(buffer) as u64;
        // SAFETY: the entry lies in the mapping, aligned. It is written field by field: the rest of
        // entry 0 is the tail.
        unsafe {
            (&raw mut (*entry).address).write(address);
            (&raw mut (*entry).len).write(BUFFER_BYTES as u32);
            (&raw mut (*entry).buffer).write(buffer);
        }
    }

    /// Lends the kernel what is provided up to the tail.
    ///
    /// # Safety
    ///
    /// Each entry before the tail that was not lent before has been provided.
    pub(super) unsafe fn publish(&self, tail: u16) {
        let at = self.start.wrapping_add(offset_of!(Entry, tail));
        // SAFETY: the tail lies in the mapping, aligned to two bytes. It is touched only here and
        // by the kernel, which reads it.
        let shared = unsafe { AtomicU16::from_ptr(at.cast()) };
        shared.store(tail, Ordering::Release);
    }

    /// Puts a packet in a place of the arena and says where it is.
    ///
    /// # Safety
    ///
    /// No send that points to this place is under way.
    pub(super) unsafe fn put_packet(&self, place: usize, packet: &[u8]) -> *const u8 {
        assert!(place < ARENA_PACKETS && packet.len() <= PACKET_BYTES_MAX);
        let at = self
            .start
            .wrapping_add(PACKETS_AT + place * PACKET_BYTES_MAX);
        // SAFETY: the place lies in the mapping, is large enough, and is no part of `packet`, of
        // which nobody has a reference into the arena.
        unsafe { std::ptr::copy_nonoverlapping(packet.as_ptr(), at, packet.len()) };
        at
    }

    /// Puts an address in a place and says where it is.
    ///
    /// # Safety
    ///
    /// No send that points to this place is under way.
    pub(super) unsafe fn put_address(
        &self,
        place: usize,
        address: &KernelAddress,
    ) -> *const libc::sockaddr {
        assert!(place < ARENA_PACKETS);
        let at = self
            .start
            .wrapping_add(ADDRESSES_AT + place * ADDRESS_BYTES);
        // SAFETY: the place lies in the mapping and is as large as what an address points to.
        unsafe { std::ptr::copy_nonoverlapping(address.as_ptr().cast(), at, ADDRESS_BYTES) };
        at.cast_const().cast()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length. Whoever lets the kernel use it keeps it until
        // the kernel has ended, or for ever.
        unsafe { libc::munmap(self.start.cast(), BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would read in an entry.
    fn entry(memory: &Memory, index: usize) -> (u64, u32, u16) {
        let entry = memory.start.cast::<types::BufRingEntry>();
        // SAFETY: it lies in the mapping, which no kernel uses here.
        let entry = unsafe { &*entry.wrapping_add(index) };
        (entry.addr(), entry.len(), entry.bid())
    }

    fn tail(memory: &Memory) -> u16 {
        // SAFETY: the first entry of a mapping which no kernel uses here.
        unsafe { *types::BufRingEntry::tail(memory.start.cast()) }
    }

    #[test]
    fn an_entry_is_laid_out_as_the_kernel_reads_it_and_spares_the_tail() {
        let memory = Memory::new().unwrap();
        // SAFETY: no kernel uses this mapping.
        unsafe {
            memory.publish(0xabcd);
            memory.provide(BUFFERS, 7);
            memory.provide(BUFFERS + 1, BUFFERS - 1);
        }
        assert_eq!(tail(&memory), 0xabcd, "entry 0 was written around it");
        let bytes = BUFFER_BYTES as u32;
        assert_eq!(entry(&memory, 0), (memory.buffer(7) as u64, bytes, 7));
        let last = memory.buffer(BUFFERS - 1) as u64;
        assert_eq!(entry(&memory, 1), (last, bytes, BUFFERS - 1));
    }

    #[test]
    fn parts_do_not_overlap() {
        let memory = Memory::new().unwrap();
        let to = std::net::SocketAddr::from(([10, 0, 0, 1], 4000));
        let to = KernelAddress::new(to, to.ip());
        let last = ARENA_PACKETS - 1;
        // SAFETY: no kernel uses this mapping.
        let (packet, address) = unsafe {
            std::ptr::write_bytes(memory.buffer(BUFFERS - 1), 0xff, BUFFER_BYTES);
            let address = memory.put_address(0, &to);
            memory.put_address(last, &to);
            (memory.put_packet(last, &[0xee; PACKET_BYTES_MAX]), address)
        };
        // SAFETY: both were just written, and nobody writes to them now.
        let (packet, address) = unsafe {
            (
                std::slice::from_raw_parts(packet, PACKET_BYTES_MAX),
                std::slice::from_raw_parts(address.cast::<u8>(), ADDRESS_BYTES),
            )
        };
        assert!(packet.iter().all(|b| *b == 0xee));
        let read = crate::shell::socket::read_address(address).unwrap();
        assert_eq!(read, std::net::SocketAddr::from(([10, 0, 0, 1], 4000)));
        // SAFETY: the header lies in the mapping and nobody writes to it now.
        let header = unsafe { memory.recvmsg().read() };
        assert_eq!(header.msg_namelen, ADDRESS_BYTES as u32);
        assert!(header.msg_iov.is_null() && header.msg_control.is_null());
    }
}
