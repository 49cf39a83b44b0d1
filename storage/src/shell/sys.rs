//! The system calls that std does not offer. Unsafe code is here and in `ring.rs` only.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

/// The most slices in one call.
pub(super) const SLICES_MAX: usize = libc::UIO_MAXIOV as usize;

/// Writes at `offset` and returns once it is durable. How many bytes it wrote may be fewer.
pub(super) fn write_durable(file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let (fd, count) = (file.as_raw_fd(), slices.len().min(SLICES_MAX) as i32);
    // SAFETY: `IoSlice` is documented to have the layout of `iovec`; the slices outlive the call,
    // which only reads them, and `count` is not more than there are.
    let wrote =
        unsafe { libc::pwritev2(fd, slices.as_ptr().cast(), count, offset, libc::RWF_DSYNC) };
    usize::try_from(wrote).map_err(|_| io::Error::last_os_error())
}

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
