//! Descriptors that whoever started us has left open for us, named by their number (`--events fd:3`),
//! and the named pipes among files.

#![expect(unsafe_code, reason = "a number becomes a descriptor; there is no safe way to say that")]

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// Takes the inherited descriptor over. What we start does not get it.
///
/// # Errors
/// When nobody has left it open.
pub fn inherited(number: RawFd) -> io::Result<File> {
    let nobody = || io::Error::new(io::ErrorKind::NotFound, "no such descriptor is open");
    if number < 0 {
        return Err(nobody());
    }
    // SAFETY: only asked for its flags, which fails where it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(borrowed).map_err(|_| nobody())?;
    // Everything that this process has opened is closed on exec (Rust's standard library sees to
    // it), and nothing that was inherited is: so this one belongs to nobody else here.
    if flags.contains(FdFlags::CLOEXEC) {
        return Err(nobody());
    }
    fcntl_setfd(borrowed, flags | FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and by the test above nobody else owns it; asked for again, it fails
    // there.
    Ok(unsafe { File::from_raw_fd(number) })
}

/// The regular file that an inherited descriptor stands for (`> log`, `3>events`). `None` where it is
/// something else, or not open.
pub fn file_behind(number: RawFd) -> Option<PathBuf> {
    if number < 0 {
        return None;
    }
    // SAFETY: only asked for what it is, which fails where it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let mode = rustix::fs::fstat(borrowed).ok()?.st_mode;
    if FileType::from_raw_mode(mode) != FileType::RegularFile {
        return None;
    }
    path_of(borrowed)
}

/// Whether this is a named pipe, which cannot be opened for writing without waiting for a reader.
///
/// # Errors
/// It is one that we may not write into.
pub fn is_named_pipe(path: &Path) -> io::Result<bool> {
    // What is not there yet is made as a file.
    let is_pipe = path.metadata().is_ok_and(|it| it.file_type().is_fifo());
    if is_pipe {
        rustix::fs::access(path, rustix::fs::Access::WRITE_OK)?;
    }
    Ok(is_pipe)
}

#[cfg(target_os = "linux")]
fn path_of(descriptor: BorrowedFd<'_>) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd())).ok()
}

#[cfg(target_vendor = "apple")]
fn path_of(descriptor: BorrowedFd<'_>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let path = rustix::fs::getpath(descriptor).ok()?;
    Some(std::ffi::OsString::from_vec(path.into_bytes()).into())
}

/// There is no common way to ask.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn path_of(_descriptor: BorrowedFd<'_>) -> Option<PathBuf> {
    None
}
