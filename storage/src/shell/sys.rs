//! The system calls that std does not offer. Unsafe code is here only.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// The most slices in one call.
const SLICES_MAX: usize = libc::UIO_MAXIOV as usize;

/// Writes at `offset` and returns once it is durable. How many bytes it wrote may be fewer.
///
/// All of it is done in the calling thread, with what [`take_precedence`] gave that. Of a write asked
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
/// quiet machine makes no difference, but that io_uring took a third less CPU there. No
/// precedence helps a write that waits inside the disk.
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
/// It is a real-time policy: the thread must not spin for one of ordinary priority, and must rest
/// ([`Rest`]) before the kernel's throttle stops it for the remains of a second (sched(7), "limiting the
/// CPU usage of real-time processes").
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

/// What keeps a thread that goes before others from taking a whole core: of every [`LOOK_EVERY`] it works
/// through it gives some to others. The kernel's throttle would stop it for 50 ms instead.
#[derive(Debug)]
pub(super) struct Rest {
    since: Instant,
    cpu_then: Duration,
}

/// How often a thread looks at what it used.
const LOOK_EVERY: Duration = Duration::from_millis(4);
/// It rests if it used more than so much of a core since.
const SHARE_MAX: f64 = 0.6;
/// How long it rests.
const REST: Duration = Duration::from_millis(2);

impl Rest {
    /// None yet.
    pub(super) fn new() -> Rest {
        Rest {
            since: Instant::now(),
            cpu_then: thread_cpu(),
        }
    }

    /// Rests if it is time to; says whether it was.
    pub(super) fn take_if_due(&mut self) -> bool {
        let passed = self.since.elapsed();
        if passed < LOOK_EVERY {
            return false;
        }
        let used = thread_cpu().saturating_sub(self.cpu_then);
        let is_due = used > passed.mul_f64(SHARE_MAX);
        if is_due {
            std::thread::sleep(REST);
        }
        *self = Rest::new();
        is_due
    }
}

/// How much processor time the calling thread has used.
fn thread_cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live structure of the right kind, which the call fills.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
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

const BEFORE_OTHERS: libc::sched_attr = libc::sched_attr {
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
                        libc::syscall(libc::SYS_ioprio_get, 1, 0),
                    )
                };
                let io = libc::c_long::from(IO_REALTIME);
                assert_eq!(look(), (libc::SCHED_RR, io));
            }
            Err(e) => {
                assert!(!may_take_precedence(), "{e}");
                assert_eq!(e.kind(), io::ErrorKind::PermissionDenied, "{e}");
            }
        });
        thread.join().unwrap();
    }

    #[test]
    fn who_works_without_end_rests_now_and_then_and_who_waits_does_not() {
        let mut rest = Rest::new();
        let begun = Instant::now();
        while !rest.take_if_due() {
            assert!(begun.elapsed() < Duration::from_secs(60), "never");
        }
        let mut rest = Rest::new();
        std::thread::sleep(LOOK_EVERY);
        assert!(!rest.take_if_due());
    }
}
