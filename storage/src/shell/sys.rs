//! The system calls that std does not offer. Unsafe code is here only.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

/// The most slices in one call.
const SLICES_MAX: usize = libc::UIO_MAXIOV as usize;

/// Writes at `offset` and returns once it is durable. How many bytes it wrote may be fewer.
///
/// All of it is done in the calling thread, with what [`take_precedence`] and [`Urgent`] gave that. Of a write asked
/// of io_uring, kernel threads do the last part (the inode, the flush) and pass the word on; they have
/// no precedence. Measured beside four writers of bulk, on ext4 without a journal under
/// mq-deadline, a block made durable (ms, p50 / p99):
///
/// | at the disk | io_uring | pwritev2 |
/// |---|---|---|
/// | as others | 334 / 577 | 325 / 551 |
/// | before others | 145 / 344 | 7 / 65 |
///
/// On ext4 with a journal both go from 137 / 240 to 40 / 57 (p50 / p90). With compilers on both cores
/// instead, the log made 300 commits a second as others, 7,400 before others at the processor. A
/// quiet machine makes no difference, but that io_uring took a third less CPU there. What waits in
/// the disk itself no precedence moves.
pub(super) fn write_durable(file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let (fd, count) = (file.as_raw_fd(), slices.len().min(SLICES_MAX) as i32);
    // SAFETY: `IoSlice` is documented to have the layout of `iovec`; the slices outlive the call,
    // which only reads them, and `count` is not more than there are.
    let wrote =
        unsafe { libc::pwritev2(fd, slices.as_ptr().cast(), count, offset, libc::RWF_DSYNC) };
    usize::try_from(wrote).map_err(|_| io::Error::last_os_error())
}

/// Puts the calling thread before others at the processor, and its reads and writes before others at
/// the disk: for one that has little to do at a time, and on which callers wait. `Err`: it may not, which
/// costs nothing until the machine is busy.
///
/// It is niceness, not a real-time policy: whoever the thread may wait for, if only for a lock, gets
/// his turn, and the kernel does not stop it for the rest of a second in which it had much to do
/// (sched(7), "limiting the CPU usage of real-time processes"). Only for the write itself, in which it
/// waits for nothing but the disk, the thread goes before everybody ([`Urgent`]).
pub(super) fn take_precedence() -> io::Result<()> {
    const WHO_PROCESS: i32 = 1;
    const CALLING_THREAD: i32 = 0;
    // SAFETY: no memory is passed.
    let disk = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            WHO_PROCESS,
            CALLING_THREAD,
            IO_REALTIME,
        )
    };
    let disk = if disk == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    };
    go_before_others()?;
    disk
}

/// The part of [`take_precedence`] that concerns the processor.
pub(super) fn go_before_others() -> io::Result<()> {
    set_policy(&BEFORE_OTHERS)
}

/// While it is there, the calling thread runs as soon as it can: before all that have no real-time
/// policy. It must not wait for any of them.
pub(super) struct Urgent(());

impl Urgent {
    /// Best effort: what may not be is not.
    pub(super) fn begin() -> Urgent {
        let _ = set_policy(&BEFORE_ALL);
        Urgent(())
    }
}

impl Drop for Urgent {
    fn drop(&mut self) {
        let _ = set_policy(&BEFORE_OTHERS);
    }
}

/// Threads that the calling one starts are as others.
fn set_policy(policy: &libc::sched_attr) -> io::Result<()> {
    // SAFETY: `policy` is a live structure of the right kind that says its size, only read; the first
    // zero is the calling thread, the second no flags.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *policy, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// With more weight than others, and short turns: beside eight busy threads on one core it waits for
/// its turn up to 24 ms in a minute, with turns as long as theirs up to 96 ms.
/// A kernel before Linux 6.12 gives all the same turns.
const BEFORE_OTHERS: libc::sched_attr = libc::sched_attr {
    sched_policy: libc::SCHED_OTHER as u32,
    sched_nice: NICE,
    sched_runtime: TURN_NS,
    ..NO_POLICY
};

const NICE: i32 = -10;
const TURN_NS: u64 = 100_000;

const BEFORE_ALL: libc::sched_attr = libc::sched_attr {
    sched_policy: libc::SCHED_RR as u32,
    sched_priority: 1,
    ..NO_POLICY
};

const NO_POLICY: libc::sched_attr = libc::sched_attr {
    size: size_of::<libc::sched_attr>() as u32,
    sched_policy: 0,
    sched_flags: libc::SCHED_FLAG_RESET_ON_FORK as u64,
    sched_nice: 0,
    sched_priority: 0,
    sched_runtime: 0,
    sched_deadline: 0,
    sched_period: 0,
};

/// Before all that is not of this class, in the middle of it (linux/ioprio.h).
const IO_REALTIME: i32 = 1 << 13 | 4;

/// Reserves the space of a file.
pub(super) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let bytes = i64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: no memory is passed.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Space left for this user on the file system of `file`, in bytes.
pub(super) fn free_bytes(file: &File) -> io::Result<u64> {
    // SAFETY: all-zero is a valid `statvfs`, a struct of integers.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is valid for writing for the length of the call.
    if unsafe { libc::fstatvfs(file.as_raw_fd(), &mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Takes the lock on `file` for as long as it is open. `false`: another has it.
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: no memory is passed.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        e if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
        e => Err(e),
    }
}

/// No reading ahead in this file.
pub(super) fn read_only_what_is_asked(file: &File) {
    // SAFETY: no memory is passed. It is advice: whether it is taken does not matter.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
}

/// All of this file will be read soon: the kernel may begin now.
pub(super) fn read_soon(file: &File) {
    // SAFETY: as above.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_WILLNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CAP_SYS_NICE is bit 23 (capabilities(7)).
    fn may_take_precedence() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap() & 1 << 23 != 0
    }

    #[test]
    fn precedence_is_taken_by_who_may_and_refused_aloud_to_others() {
        let thread = std::thread::spawn(|| match take_precedence() {
            Ok(()) => {
                assert!(may_take_precedence());
                // SAFETY: no memory is passed in any of these calls.
                let look = || unsafe {
                    (
                        libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK,
                        libc::getpriority(libc::PRIO_PROCESS, 0),
                        libc::syscall(libc::SYS_ioprio_get, 1, 0),
                    )
                };
                let io = libc::c_long::from(IO_REALTIME);
                assert_eq!(look(), (libc::SCHED_OTHER, NICE, io));
                let urgent = Urgent::begin();
                assert_eq!(look().0, libc::SCHED_RR);
                drop(urgent);
                assert_eq!(look(), (libc::SCHED_OTHER, NICE, io));
            }
            Err(e) => {
                assert!(!may_take_precedence(), "{e}");
                assert_eq!(e.kind(), io::ErrorKind::PermissionDenied, "{e}");
            }
        });
        thread.join().unwrap();
    }
}
