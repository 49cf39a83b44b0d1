//! What is asked of the machine besides sockets and rings: cores, processor time, open files.

#![allow(unsafe_code)]

use std::mem::{MaybeUninit, size_of};

/// Keeps the calling thread on the `nth` of the cores it may use. Best effort: a refusal costs
/// speed only.
pub(crate) fn pin(nth: usize) {
    // SAFETY: a CPU set is plain bits; all zeros is the empty set, and the sizes are its own.
    unsafe {
        let mut allowed = MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init();
        let size = size_of::<libc::cpu_set_t>();
        if libc::sched_getaffinity(0, size, &raw mut allowed) < 0 {
            return;
        }
        let cores = 0..libc::CPU_SETSIZE as usize;
        let Some(core) = cores.filter(|c| libc::CPU_ISSET(*c, &allowed)).nth(nth) else {
            return;
        };
        let mut one = MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init();
        libc::CPU_SET(core, &mut one);
        libc::sched_setaffinity(0, size, &raw const one);
    }
}

/// Processor time of the calling thread, in nanoseconds.
pub(crate) fn thread_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live structure of the right kind.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Allows this process as many open files as it may have. A leg has two sockets, and the usual
/// limit of 1024 is meant for programs that use `select`. Best effort: without it fewer legs open.
pub(crate) fn allow_open_files() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live structure of the right kind, in both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
