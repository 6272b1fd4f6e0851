//! The functions behind ours: what the program would have called without the shim. They are those of
//! the next library that has them, which is libc, or another preloaded one that the user has put
//! there. They are looked up in the constructor; whoever calls one of ours before that (another
//! library's constructor) has it looked up then.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::system::{ENOSYS, Poll};

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    /// Where the thread's `errno` lies. glibc and musl call it so.
    safe fn __errno_location() -> *mut c_int;
}

/// The thread's `errno`.
pub fn errno() -> c_int {
    // SAFETY: it is the thread's own.
    unsafe { *__errno_location() }
}

/// The answer of a function that has failed so.
pub fn fail(error: c_int) -> c_int {
    // SAFETY: it is the thread's own.
    unsafe { *__errno_location() = error };
    -1
}

/// `RTLD_NEXT`.
const NEXT: *mut c_void = ptr::without_provenance_mut(usize::MAX);

fn find(known: &AtomicPtr<c_void>, names: &[&CStr]) -> *mut c_void {
    let mut function = known.load(Relaxed);
    for name in names {
        if function.is_null() {
            // SAFETY: the name ends with a 0.
            function = unsafe { dlsym(NEXT, name.as_ptr()) };
            known.store(function, Relaxed);
        }
    }
    function
}

macro_rules! next {
    ($($name:ident($($argument:ident: $kind:ty),*) as ($($declared:tt)*) -> $answer:ident from $($symbol:literal),+;)*) => {
        /// What was found, by the functions' own names.
        #[allow(non_upper_case_globals)]
        mod known {
            use super::{AtomicPtr, c_void, ptr};
            $(pub static $name: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());)*
        }

        /// Looks all of them up, so that nobody has to who must not (a signal's handler, the child
        /// of a fork).
        pub fn resolve() {
            $(find(&known::$name, &[$($symbol),+]);)*
        }

        $(
            /// The function of that name behind ours.
            ///
            /// # Safety
            /// As that function demands.
            #[inline]
            pub unsafe fn $name($($argument: $kind),*) -> $answer {
                let function = find(&known::$name, &[$($symbol),+]);
                if function.is_null() {
                    return fail(ENOSYS) as $answer;
                }
                // SAFETY: libc declares the function of this name so.
                unsafe {
                    let function = core::mem::transmute::<
                        *mut c_void,
                        unsafe extern "C" fn($($declared)*) -> $answer,
                    >(function);
                    function($($argument),*)
                }
            }
        )*
    };
}

next! {
    bind(fd: c_int, address: *const u8, length: u32) as (c_int, *const u8, u32) -> c_int from c"bind";
    listen(fd: c_int, backlog: c_int) as (c_int, c_int) -> c_int from c"listen";
    accept(fd: c_int, address: *mut u8, length: *mut u32) as (c_int, *mut u8, *mut u32) -> c_int from c"accept";
    accept4(fd: c_int, address: *mut u8, length: *mut u32, flags: c_int) as (c_int, *mut u8, *mut u32, c_int) -> c_int from c"accept4";
    connect(fd: c_int, address: *const u8, length: u32) as (c_int, *const u8, u32) -> c_int from c"connect";
    getsockname(fd: c_int, address: *mut u8, length: *mut u32) as (c_int, *mut u8, *mut u32) -> c_int from c"getsockname";
    read(fd: c_int, into: *mut c_void, length: usize) as (c_int, *mut c_void, usize) -> isize from c"read";
    readv(fd: c_int, into: *const c_void, count: c_int) as (c_int, *const c_void, c_int) -> isize from c"readv";
    recv(fd: c_int, into: *mut c_void, length: usize, flags: c_int) as (c_int, *mut c_void, usize, c_int) -> isize from c"recv";
    recvfrom(fd: c_int, into: *mut c_void, length: usize, flags: c_int, address: *mut u8, size: *mut u32) as (c_int, *mut c_void, usize, c_int, *mut u8, *mut u32) -> isize from c"recvfrom";
    shutdown(fd: c_int, how: c_int) as (c_int, c_int) -> c_int from c"shutdown";
    close(fd: c_int) as (c_int) -> c_int from c"close";
    dup(fd: c_int) as (c_int) -> c_int from c"dup";
    dup2(from: c_int, to: c_int) as (c_int, c_int) -> c_int from c"dup2";
    dup3(from: c_int, to: c_int, flags: c_int) as (c_int, c_int, c_int) -> c_int from c"dup3";
    fcntl(fd: c_int, command: c_int, argument: usize) as (c_int, c_int, ...) -> c_int from c"fcntl";
    fcntl64(fd: c_int, command: c_int, argument: usize) as (c_int, c_int, ...) -> c_int from c"fcntl64", c"fcntl";
    ioctl(fd: c_int, request: usize, argument: usize) as (c_int, usize, ...) -> c_int from c"ioctl";
    epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut c_void) as (c_int, c_int, c_int, *mut c_void) -> c_int from c"epoll_ctl";
    unlink(path: *const u8) as (*const u8) -> c_int from c"unlink";
    unlinkat(folder: c_int, path: *const u8, flags: c_int) as (c_int, *const u8, c_int) -> c_int from c"unlinkat";
    remove(path: *const u8) as (*const u8) -> c_int from c"remove";
    execv(path: *const u8, arguments: *const *const u8) as (*const u8, *const *const u8) -> c_int from c"execv";
    execve(path: *const u8, arguments: *const *const u8, environment: *const *const u8) as (*const u8, *const *const u8, *const *const u8) -> c_int from c"execve";
    execvp(file: *const u8, arguments: *const *const u8) as (*const u8, *const *const u8) -> c_int from c"execvp";
    execvpe(file: *const u8, arguments: *const *const u8, environment: *const *const u8) as (*const u8, *const *const u8, *const *const u8) -> c_int from c"execvpe";
    fexecve(fd: c_int, arguments: *const *const u8, environment: *const *const u8) as (c_int, *const *const u8, *const *const u8) -> c_int from c"fexecve";
    poll(fds: *mut Poll, count: usize, timeout: c_int) as (*mut Poll, usize, c_int) -> c_int from c"poll";
}
