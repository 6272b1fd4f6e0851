//! The shim: a library that `cargo stario watch` preloads into a server, so that what the server
//! binds can be shared with the next build's server. It stands in front of a few functions of libc.
//! Without a tool to talk to, and for whatever is not a listening socket, they do what libc's do.
//!
//! | file | what |
//! |---|---|
//! | `wire.rs` | what shim and tool say to each other; the tool is built with it too |
//! | `environment.rs` | takes what the tool has set out of the environment |
//! | `control.rs` | asks the tool |
//! | `page.rs` | the memory that both see |
//! | `binding.rs` | `bind` and `listen`: sockets handed up, and taken |
//! | `listeners.rs` | what is known of sockets, by inode; marks on descriptors |
//! | `accept.rs` | accepting on a shared listener |
//! | `connections.rs` | how many accepted connections are open |
//! | `address.rs` | addresses of sockets |
//! | `process.rs` | the server itself, and its children |
//! | `real.rs` | the functions behind ours |
//! | `system.rs` | system calls of the shim's own |
//!
//! It links nothing, allocates nothing, prints nothing, and cannot panic. `errno` is what the
//! program would see without it.

#![no_std]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the kernel's numbers are as wide as a register, C's are not"
)]

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "the shim knows the system calls of Linux, and how these two machines call functions"
);

mod accept;
mod address;
mod binding;
mod connections;
mod control;
mod environment;
mod listeners;
mod page;
mod process;
mod real;
mod system;
#[allow(dead_code, reason = "it is for both sides")]
mod wire;

use core::ffi::{c_char, c_int, c_void};

use listeners::{LISTENING, Lost, NONBLOCKING, OURS, Record, TAKEN};
use real::fail;
use system::{
    AT_FDCWD, AT_REMOVEDIR, EBADF, EINVAL, EPOLL_CTL_ADD, F_DUPFD, F_DUPFD_CLOEXEC, F_GETFL,
    F_SETFL, FIONBIO, MSG_DONTWAIT, MSG_ERRQUEUE, MSG_OOB, O_NONBLOCK,
};

/// Nothing in here panics; the language wants it all the same.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    system::die()
}

/// The loader calls it before `main`. glibc hands it what `main` gets; musl nothing, but there
/// `environ` is set by then.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) = start;

extern "C" fn start(_: c_int, _: *mut *mut c_char, environment: *mut *mut c_char) {
    real::resolve();
    // SAFETY: before `main` there is one thread.
    if let Some(descriptor) = unsafe { environment::take(environment) } {
        control::start(descriptor);
    }
}

// What follows has libc's names and libc's signatures, and libc's demands on whoever calls it. A
// thread that is cancelled in libc's function leaves through ours by their unwind tables
// (`build.rs`), as it leaves through functions of C; there is nothing to be dropped on its way.

#[unsafe(no_mangle)]
unsafe extern "C" fn bind(fd: c_int, address: *const u8, length: u32) -> c_int {
    // SAFETY: the caller's.
    unsafe { binding::bind(fd, address, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn listen(fd: c_int, backlog: c_int) -> c_int {
    // SAFETY: the caller's.
    unsafe { binding::listen(fd, backlog) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getsockname(fd: c_int, address: *mut u8, length: *mut u32) -> c_int {
    binding::looked_at(fd);
    // SAFETY: the caller's.
    unsafe { real::getsockname(fd, address, length) }
}

/// Of a socket that was bound and connects instead of listening, nothing is to be known. (To bind
/// a client's end to the very address on which the last server listens is absurd, so what the tool
/// has handed out is not turned back into a socket that can connect.)
#[unsafe(no_mangle)]
unsafe extern "C" fn connect(fd: c_int, address: *const u8, length: u32) -> c_int {
    if listeners::known(fd).is_some_and(|it| !it.any(TAKEN | LISTENING)) && process::alone() {
        listeners::forget(fd);
    }
    if page::leaving() {
        // SAFETY: the caller's.
        unsafe { accept::wake_for(address, length) };
    }
    // SAFETY: the caller's.
    unsafe { real::connect(fd, address, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn accept(fd: c_int, address: *mut u8, length: *mut u32) -> c_int {
    // SAFETY: the caller's.
    unsafe { accept::accept(fd, address, length, 0, || real::accept(fd, address, length)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn accept4(fd: c_int, address: *mut u8, length: *mut u32, flags: c_int) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        accept::accept(fd, address, length, flags, || real::accept4(fd, address, length, flags))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn read(fd: c_int, into: *mut c_void, length: usize) -> isize {
    if page::drains() && length > 0 && connections::moves(fd, true) {
        return 0;
    }
    // SAFETY: the caller's.
    unsafe { real::read(fd, into, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn readv(fd: c_int, into: *const c_void, count: c_int) -> isize {
    if page::drains() && connections::moves(fd, true) {
        return 0;
    }
    // SAFETY: the caller's.
    unsafe { real::readv(fd, into, count) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recv(fd: c_int, into: *mut c_void, length: usize, flags: c_int) -> isize {
    let data = length > 0 && flags & (MSG_OOB | MSG_ERRQUEUE) == 0;
    if page::drains() && data && connections::moves(fd, flags & MSG_DONTWAIT == 0) {
        return 0;
    }
    // SAFETY: the caller's.
    unsafe { real::recv(fd, into, length, flags) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recvfrom(
    fd: c_int,
    into: *mut c_void,
    length: usize,
    flags: c_int,
    address: *mut u8,
    size: *mut u32,
) -> isize {
    let data = length > 0 && flags & (MSG_OOB | MSG_ERRQUEUE) == 0;
    if page::drains() && data && connections::moves(fd, flags & MSG_DONTWAIT == 0) {
        return 0;
    }
    // SAFETY: the caller's.
    unsafe { real::recvfrom(fd, into, length, flags, address, size) }
}

/// The kernel's would end the listener for all that share it.
#[unsafe(no_mangle)]
unsafe extern "C" fn shutdown(fd: c_int, how: c_int) -> c_int {
    const SHUT_WR: c_int = 1;
    const SHUT_RDWR: c_int = 2;
    match shared(fd) {
        Some(record) if (0..=SHUT_RDWR).contains(&how) => {
            if how != SHUT_WR {
                accept::shut(record);
            }
            0
        }
        Some(_) => fail(EINVAL),
        None if how == SHUT_WR && connections::passes(fd) && connections::part(fd) => 0,
        // SAFETY: the caller's.
        None => unsafe { real::shutdown(fd, how) },
    }
}

/// The listener that this descriptor is of, where it is shared with others.
fn shared(fd: c_int) -> Option<&'static Record> {
    listeners::known(fd).filter(|it| it.any(TAKEN | LISTENING))
}

/// `fcntl` by the given one of libc's two.
///
/// # Safety
/// As `fcntl` demands.
unsafe fn control_file(
    fd: c_int,
    command: c_int,
    argument: usize,
    real: impl Fn(usize) -> c_int,
) -> c_int {
    match command {
        F_GETFL => {
            let flags = real(argument);
            match shared(fd) {
                Some(record) if flags >= 0 && record.is(NONBLOCKING) => flags | O_NONBLOCK,
                Some(_) if flags >= 0 => flags & !O_NONBLOCK,
                _ => flags,
            }
        }
        F_SETFL => {
            let Some(record) = shared(fd) else { return real(argument) };
            // What does not block once stays so, for those that share it.
            let stays = system::fcntl(fd, F_GETFL, 0).unwrap_or(0) & O_NONBLOCK;
            let done = real(argument | stays as usize);
            if done >= 0 {
                record.set(NONBLOCKING, argument & O_NONBLOCK as usize != 0);
            }
            done
        }
        F_DUPFD | F_DUPFD_CLOEXEC => duplicated(fd, real(argument)),
        _ => real(argument),
    }
}

/// `to`, which is another descriptor of what `from` is of, or an error.
fn duplicated(from: c_int, to: c_int) -> c_int {
    if to >= 0 {
        listeners::copy(from, to);
        connections::copy(from, to);
    }
    to
}

// In C, `fcntl` and `ioctl` have any number of arguments, but the kernel takes three, and on these
// two machines the third one comes in the same register as that of a function which names it. Where
// there is none, it is passed on as whatever lies there, as libc does.

#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's.
    unsafe { control_file(fd, command, argument, |argument| real::fcntl(fd, command, argument)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's.
    unsafe { control_file(fd, command, argument, |argument| real::fcntl64(fd, command, argument)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ioctl(fd: c_int, request: usize, argument: usize) -> c_int {
    // musl's is an `int`: what the upper half holds does not count.
    if request as u32 == FIONBIO
        && let Some(record) = shared(fd)
    {
        // SAFETY: the caller's: it is a pointer to an `int`.
        let on = unsafe { (argument as *const c_int).as_ref() }.is_some_and(|on| *on != 0);
        if on {
            accept::unblock(fd);
        }
        record.set(NONBLOCKING, on);
        return 0;
    }
    // SAFETY: the caller's.
    unsafe { real::ioctl(fd, request, argument) }
}

/// What is to be done before a descriptor is closed: the number may be somebody else's right after.
#[inline]
fn closing(fd: c_int) -> Option<Lost> {
    if connections::passes(fd) {
        connections::pass(fd);
    }
    connections::closing(fd);
    if listeners::mark(fd) == 0 || !process::alone() {
        return None;
    }
    let record = listeners::known(fd)?;
    // A child has the parent's `epoll`, not one of its own.
    if process::first() {
        record.unpoll(fd);
    }
    listeners::forget(fd)
}

/// Once the last descriptor of a listener is closed, the address is to be free, as it would be.
#[inline]
fn closed(lost: Option<&Lost>) {
    let Some(lost) = lost.filter(|it| it.told) else { return };
    let message = lost.message();
    if page::retired() {
        if process::first() {
            control::say(&message);
        }
    } else if let control::Answer::Said(_, Some(unasked)) =
        control::ask(message, None, control::BRIEFLY)
    {
        system::close(unasked);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn close(fd: c_int) -> c_int {
    if listeners::mark(fd) == OURS {
        if control::is_ours(fd) {
            // Whoever closes all that it does not know of. It has not opened this one.
            return fail(EBADF);
        }
        listeners::set_ours(fd, false);
    }
    let lost = closing(fd);
    // SAFETY: the caller's.
    let done = unsafe { real::close(fd) };
    closed(lost.as_ref());
    done
}

#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_ctl(
    epoll: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut c_void,
) -> c_int {
    if operation == EPOLL_CTL_ADD {
        connections::polled(fd, epoll);
        if listeners::mark(fd) != 0
            && let Some(record) = listeners::known(fd)
            && process::first()
        {
            record.polled_by(epoll);
            // SAFETY: the caller's: null, or a `struct epoll_event`.
            if let Some(mut shared) = unsafe { system::without_exclusive(event) } {
                // SAFETY: it is there.
                return unsafe { real::epoll_ctl(epoll, operation, fd, (&raw mut shared).cast()) };
            }
        }
    }
    // SAFETY: the caller's.
    unsafe { real::epoll_ctl(epoll, operation, fd, event) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup(fd: c_int) -> c_int {
    // SAFETY: the caller's.
    duplicated(fd, unsafe { real::dup(fd) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup2(from: c_int, to: c_int) -> c_int {
    // SAFETY: the caller's.
    replaced(from, to, || unsafe { real::dup2(from, to) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    // SAFETY: the caller's.
    replaced(from, to, || unsafe { real::dup3(from, to, flags) })
}

/// A duplicate in the place of another descriptor, which is closed by it.
fn replaced(from: c_int, to: c_int, real: impl FnOnce() -> c_int) -> c_int {
    if from == to {
        return real();
    }
    let marked = listeners::mark(to) != 0 || connections::has(to);
    // Where there is nothing to be duplicated, nothing is closed.
    let lost = if marked && system::identity(from).is_some() {
        listeners::set_ours_not(to);
        closing(to)
    } else {
        None
    };
    let done = duplicated(from, real());
    closed(lost.as_ref());
    done
}

/// The process that the tool has started becomes another program, which has none of its listeners, but
/// may want their addresses. (The exec of a child, which is what most are, is nobody's business.)
fn becoming_another() {
    if process::first()
        && let control::Answer::Said(_, Some(unasked)) =
            control::ask(wire::Message::new(wire::EXEC), None, control::BRIEFLY)
    {
        system::close(unasked);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn execv(path: *const u8, arguments: *const *const u8) -> c_int {
    becoming_another();
    // SAFETY: the caller's.
    unsafe { real::execv(path, arguments) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn execve(
    path: *const u8,
    arguments: *const *const u8,
    environment: *const *const u8,
) -> c_int {
    becoming_another();
    // SAFETY: the caller's.
    unsafe { real::execve(path, arguments, environment) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn execvp(file: *const u8, arguments: *const *const u8) -> c_int {
    becoming_another();
    // SAFETY: the caller's.
    unsafe { real::execvp(file, arguments) }
}

/// Of C's own library.
#[unsafe(no_mangle)]
unsafe extern "C" fn execvpe(
    file: *const u8,
    arguments: *const *const u8,
    environment: *const *const u8,
) -> c_int {
    becoming_another();
    // SAFETY: the caller's.
    unsafe { real::execvpe(file, arguments, environment) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fexecve(
    fd: c_int,
    arguments: *const *const u8,
    environment: *const *const u8,
) -> c_int {
    becoming_another();
    // SAFETY: the caller's.
    unsafe { real::fexecve(fd, arguments, environment) }
}

/// Whether the file at a path must stay: it belongs to a listener that is shared, and whoever has
/// just got it, or does not serve any more, would take it from the other one.
///
/// # Safety
/// `path` ends with a 0, or is no address at all.
unsafe fn stays(folder: c_int, path: *const u8) -> bool {
    page::has_files()
        // SAFETY: the caller's.
        && unsafe { system::identity_at(folder, path) }
            .is_some_and(|it| page::lists(it) && (page::retired() || !listeners::has_file(it)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const u8) -> c_int {
    // SAFETY: the caller's.
    unsafe { if stays(AT_FDCWD, path) { 0 } else { real::unlink(path) } }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(folder: c_int, path: *const u8, flags: c_int) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        if flags & AT_REMOVEDIR == 0 && stays(folder, path) {
            0
        } else {
            real::unlinkat(folder, path, flags)
        }
    }
}

/// Of C's own library.
#[unsafe(no_mangle)]
unsafe extern "C" fn remove(path: *const u8) -> c_int {
    // SAFETY: the caller's.
    unsafe { if stays(AT_FDCWD, path) { 0 } else { real::remove(path) } }
}
