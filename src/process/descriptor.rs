//! A descriptor that whoever started us has left open for us, named by its number (`--events fd:3`).

#![expect(unsafe_code, reason = "a number becomes a descriptor; there is no safe way to say that")]

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, RawFd};

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
