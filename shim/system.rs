//! The system calls that the shim makes for itself, and what they need of the kernel's numbers and
//! layouts. They go to the kernel directly: so they leave `errno` alone, come past whoever else
//! stands in front of libc's functions, and do not depend on which libc it is. What the program has
//! called goes on through libc (`real.rs`).

use core::ffi::{c_int, c_void};

use crate::wire::{ADDRESS, Address};

/// The system calls' numbers.
#[cfg(target_arch = "x86_64")]
mod number {
    pub const WRITE: usize = 1;
    pub const READ: usize = 0;
    pub const CLOSE: usize = 3;
    pub const FSTAT: usize = 5;
    pub const MMAP: usize = 9;
    pub const RT_SIGACTION: usize = 13;
    pub const IOCTL: usize = 16;
    pub const MADVISE: usize = 28;
    pub const GETPID: usize = 39;
    pub const RECVFROM: usize = 45;
    pub const SENDMSG: usize = 46;
    pub const RECVMSG: usize = 47;
    pub const GETSOCKNAME: usize = 51;
    pub const GETPEERNAME: usize = 52;
    pub const SOCKETPAIR: usize = 53;
    pub const SETSOCKOPT: usize = 54;
    pub const GETSOCKOPT: usize = 55;
    pub const FCNTL: usize = 72;
    pub const FUTEX: usize = 202;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
    pub const EPOLL_CTL: usize = 233;
    pub const NEWFSTATAT: usize = 262;
    pub const PPOLL: usize = 271;
    pub const EVENTFD2: usize = 290;
    pub const DUP3: usize = 292;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const EVENTFD2: usize = 19;
    pub const EPOLL_CTL: usize = 21;
    pub const DUP3: usize = 24;
    pub const FCNTL: usize = 25;
    pub const IOCTL: usize = 29;
    pub const CLOSE: usize = 57;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const PPOLL: usize = 73;
    pub const NEWFSTATAT: usize = 79;
    pub const FSTAT: usize = 80;
    pub const EXIT_GROUP: usize = 94;
    pub const FUTEX: usize = 98;
    pub const CLOCK_GETTIME: usize = 113;
    pub const RT_SIGACTION: usize = 134;
    pub const GETPID: usize = 172;
    pub const SOCKETPAIR: usize = 199;
    pub const GETSOCKNAME: usize = 204;
    pub const GETPEERNAME: usize = 205;
    pub const RECVFROM: usize = 207;
    pub const SETSOCKOPT: usize = 208;
    pub const GETSOCKOPT: usize = 209;
    pub const SENDMSG: usize = 211;
    pub const RECVMSG: usize = 212;
    pub const MMAP: usize = 222;
    pub const MADVISE: usize = 233;
}

pub const EINTR: c_int = 4;
pub const EBADF: c_int = 9;
pub const EAGAIN: c_int = 11;
pub const EINVAL: c_int = 22;
pub const ENOSYS: c_int = 38;
pub const EADDRINUSE: c_int = 98;
pub const ECONNABORTED: c_int = 103;
pub const ETOOMANYREFS: c_int = 109;

pub const AF_UNIX: u16 = 1;
pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
pub const SOCK_STREAM: c_int = 1;
pub const SOCK_DGRAM: c_int = 2;
pub const SOL_SOCKET: c_int = 1;
pub const SO_TYPE: c_int = 3;
pub const SO_KEEPALIVE: c_int = 9;
pub const SO_LINGER: c_int = 13;
pub const SO_PEERCRED: c_int = 17;
pub const SO_RCVTIMEO: c_int = 20;
pub const SO_ACCEPTCONN: c_int = 30;
pub const SO_PROTOCOL: c_int = 38;
pub const SO_DOMAIN: c_int = 39;
pub const IPPROTO_TCP: c_int = 6;
pub const TCP_NODELAY: c_int = 1;
pub const TCP_KEEPIDLE: c_int = 4;
pub const TCP_KEEPINTVL: c_int = 5;
pub const TCP_KEEPCNT: c_int = 6;
pub const TCP_DEFER_ACCEPT: c_int = 9;
pub const TCP_INFO: c_int = 11;
pub const TCP_USER_TIMEOUT: c_int = 18;
pub const TCP_FASTOPEN: c_int = 23;
pub const IPPROTO_IPV6: c_int = 41;
pub const IPV6_V6ONLY: c_int = 26;
pub const MSG_OOB: c_int = 1;
const MSG_PEEK: c_int = 2;
pub const MSG_DONTWAIT: c_int = 0x40;
pub const MSG_ERRQUEUE: c_int = 0x2000;
pub const MSG_NOSIGNAL: c_int = 0x4000;
pub const MSG_CMSG_CLOEXEC: c_int = 0x4000_0000;
pub const SCM_RIGHTS: c_int = 1;

pub const F_DUPFD: c_int = 0;
pub const F_GETFD: c_int = 1;
pub const F_SETFD: c_int = 2;
pub const F_GETFL: c_int = 3;
pub const F_SETFL: c_int = 4;
pub const F_DUPFD_CLOEXEC: c_int = 1030;
pub const FD_CLOEXEC: c_int = 1;
pub const FIONBIO: u32 = 0x5421;
pub const O_NONBLOCK: c_int = 0o4000;
pub const O_CLOEXEC: c_int = 0o2_000_000;
pub const AT_FDCWD: c_int = -100;
pub const AT_REMOVEDIR: c_int = 0x200;
const AT_SYMLINK_NOFOLLOW: c_int = 0x100;
pub const POLLIN: i16 = 1;
pub const POLLOUT: i16 = 4;
pub const EPOLL_CTL_ADD: c_int = 1;

/// What the kernel answers, or the number of the error.
pub type Answer = Result<usize, c_int>;

/// A system call.
///
/// # Safety
/// As that system call demands.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn call(number: usize, a: [usize; 6]) -> Answer {
    let [one, two, three, four, five, six] = a;
    let answer: isize;
    // SAFETY: the kernel's calling convention; it changes no other register, and what it does with
    // memory is the caller's to answer for.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") one, in("rsi") two, in("rdx") three,
            in("r10") four, in("r8") five, in("r9") six,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    judge(answer)
}

/// A system call.
///
/// # Safety
/// As that system call demands.
#[cfg(target_arch = "aarch64")]
#[inline]
unsafe fn call(number: usize, a: [usize; 6]) -> Answer {
    let [one, two, three, four, five, six] = a;
    let answer: isize;
    // SAFETY: the kernel's calling convention; it changes no other register, and what it does with
    // memory is the caller's to answer for.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") one as isize => answer,
            in("x1") two, in("x2") three, in("x3") four, in("x4") five, in("x5") six,
            options(nostack),
        );
    }
    judge(answer)
}

/// The last 4095 numbers are errors.
fn judge(answer: isize) -> Answer {
    if (-4095..0).contains(&answer) {
        Err(answer.wrapping_neg() as c_int)
    } else {
        Ok(answer as usize)
    }
}

fn fd(descriptor: c_int) -> usize {
    descriptor as isize as usize
}

/// Ends the process at once.
pub fn die() -> ! {
    loop {
        // SAFETY: it does not come back, and touches no memory.
        let _ = unsafe { call(number::EXIT_GROUP, [134, 0, 0, 0, 0, 0]) };
    }
}

/// The process's number, as it is now.
pub fn getpid() -> c_int {
    // SAFETY: touches no memory.
    unsafe { call(number::GETPID, [0; 6]) }.map_or(0, |pid| pid as c_int)
}

/// Closes a descriptor of ours, or one that nobody has seen yet.
pub fn close(descriptor: c_int) {
    // SAFETY: touches no memory.
    let _ = unsafe { call(number::CLOSE, [fd(descriptor), 0, 0, 0, 0, 0]) };
}

/// What tells a file from every other one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub device: u64,
    pub inode: u64,
    pub socket: bool,
}

/// As much as the largest `struct stat`.
#[repr(C)]
struct Stat([u64; 18]);

impl Stat {
    fn identity(&self) -> Identity {
        let Self([device, inode, third, fourth, ..]) = *self;
        // Where `st_mode` lies, little-endian on both.
        let mode = if cfg!(target_arch = "x86_64") { fourth as u32 } else { third as u32 };
        Identity { device, inode, socket: mode & 0o170_000 == 0o140_000 }
    }
}

/// Which file a descriptor is of.
pub fn identity(descriptor: c_int) -> Option<Identity> {
    let mut stat = Stat([0; 18]);
    // SAFETY: the kernel writes a `struct stat`, which fits.
    unsafe { call(number::FSTAT, [fd(descriptor), (&raw mut stat) as usize, 0, 0, 0, 0]) }.ok()?;
    Some(stat.identity())
}

/// Which file lies at a path. A symbolic link is one itself.
///
/// # Safety
/// `path` ends with a 0, or is no address at all.
pub unsafe fn identity_at(folder: c_int, path: *const u8) -> Option<Identity> {
    let mut stat = Stat([0; 18]);
    let arguments =
        [fd(folder), path as usize, (&raw mut stat) as usize, fd(AT_SYMLINK_NOFOLLOW), 0, 0];
    // SAFETY: the kernel writes a `struct stat`, which fits.
    unsafe { call(number::NEWFSTATAT, arguments) }.ok()?;
    Some(stat.identity())
}

/// `fcntl` with a number.
pub fn fcntl(descriptor: c_int, command: c_int, argument: c_int) -> Result<c_int, c_int> {
    // SAFETY: called only with commands whose argument is a number.
    unsafe { call(number::FCNTL, [fd(descriptor), fd(command), fd(argument), 0, 0, 0]) }
        .map(|answer| answer as c_int)
}

/// Makes `to` another descriptor of what `from` is of.
pub fn dup3(from: c_int, to: c_int, flags: c_int) -> bool {
    // SAFETY: touches no memory.
    unsafe { call(number::DUP3, [fd(from), fd(to), fd(flags), 0, 0, 0]) }.is_ok()
}

/// An option of a socket.
pub fn option<T: Copy>(socket: c_int, level: c_int, name: c_int, empty: T) -> Option<T> {
    let mut value = empty;
    let mut length = size_of::<T>() as u32;
    let arguments =
        [fd(socket), fd(level), fd(name), (&raw mut value) as usize, (&raw mut length) as usize, 0];
    // SAFETY: the kernel writes no more than `length` bytes, and any bytes are a `T`: all are plain
    // numbers.
    unsafe { call(number::GETSOCKOPT, arguments) }.ok()?;
    (length as usize == size_of::<T>()).then_some(value)
}

/// Sets a number among a socket's options.
pub fn set_option(socket: c_int, level: c_int, name: c_int, value: c_int) {
    let arguments =
        [fd(socket), fd(level), fd(name), (&raw const value) as usize, size_of::<c_int>(), 0];
    // SAFETY: the kernel reads that number.
    let _ = unsafe { call(number::SETSOCKOPT, arguments) };
}

fn name_of(socket: c_int, number: usize) -> Option<Address> {
    let mut address = Address::NONE;
    let mut length = ADDRESS as u32;
    let bytes = (&raw mut address.bytes) as usize;
    // SAFETY: the kernel writes no more than `length` bytes.
    unsafe { call(number, [fd(socket), bytes, (&raw mut length) as usize, 0, 0, 0]) }.ok()?;
    address.length = length.min(ADDRESS as u32);
    Some(address)
}

/// A socket's own address.
pub fn own_address(socket: c_int) -> Option<Address> {
    name_of(socket, number::GETSOCKNAME)
}

/// The other end's address.
pub fn peer_address(socket: c_int) -> Option<Address> {
    name_of(socket, number::GETPEERNAME)
}

/// Writes the other end's address where `accept` is to put it. Without a place nothing is written.
/// False where there is no other end any more.
///
/// # Safety
/// As `accept` demands.
pub unsafe fn put_peer_address(socket: c_int, address: *mut u8, length: *mut u32) -> bool {
    if address.is_null() || length.is_null() {
        return true;
    }
    let arguments = [fd(socket), address as usize, length as usize, 0, 0, 0];
    // SAFETY: the caller's.
    unsafe { call(number::GETPEERNAME, arguments) }.is_ok()
}

/// `struct epoll_event`: 12 bytes on one machine, 16 on the other, and at its start what is waited for.
pub type PollEvent = [u32; if cfg!(target_arch = "x86_64") { 3 } else { 4 }];

/// The same event without `EPOLLEXCLUSIVE`: whoever shares a listener has to hear of a connection, too,
/// since not each of them may take it. None where there is nothing to change.
///
/// # Safety
/// Null, or an event.
pub unsafe fn without_exclusive(event: *const c_void) -> Option<PollEvent> {
    const EXCLUSIVE: u32 = 1 << 28;
    if event.is_null() {
        return None;
    }
    // SAFETY: the caller's. It need not be aligned.
    let mut copy = unsafe { event.cast::<PollEvent>().read_unaligned() };
    let [events, ..] = &mut copy;
    if *events & EXCLUSIVE == 0 {
        return None;
    }
    *events &= !EXCLUSIVE;
    Some(copy)
}

/// Closes a connection so that nothing of it lingers: the same two ends may meet again at once.
pub fn reset(socket: c_int) {
    // `struct linger`: on, for no time.
    let linger: [c_int; 2] = [1, 0];
    let bytes = (&raw const linger) as usize;
    let arguments = [fd(socket), fd(SOL_SOCKET), fd(SO_LINGER), bytes, size_of_val(&linger), 0];
    // SAFETY: the kernel reads these numbers.
    let _ = unsafe { call(number::SETSOCKOPT, arguments) };
    close(socket);
}

/// `struct ucred`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Credentials {
    pub pid: c_int,
    pub uid: u32,
    pub gid: u32,
}

/// `struct iovec`.
#[repr(C)]
pub struct Part {
    pub start: *mut c_void,
    pub length: usize,
}

/// `struct msghdr`.
#[repr(C)]
pub struct Header {
    pub name: *mut c_void,
    pub name_length: u32,
    pub parts: *mut Part,
    pub part_count: usize,
    pub control: *mut c_void,
    pub control_length: usize,
    pub flags: c_int,
}

/// `struct cmsghdr` with room for descriptors.
#[repr(C)]
pub struct Rights {
    pub length: usize,
    pub level: c_int,
    pub kind: c_int,
    pub descriptors: [c_int; 4],
}

/// The bytes of `struct cmsghdr` alone.
pub const RIGHTS_HEAD: usize = 16;

/// Sends a packet.
///
/// # Safety
/// All that `header` names is there.
pub unsafe fn sendmsg(socket: c_int, header: &Header, flags: c_int) -> Answer {
    let header: *const Header = header;
    // SAFETY: the kernel reads what `header` names.
    unsafe { call(number::SENDMSG, [fd(socket), header as usize, fd(flags), 0, 0, 0]) }
}

/// Receives a packet.
///
/// # Safety
/// All that `header` names is there, and may be written to.
pub unsafe fn recvmsg(socket: c_int, header: &mut Header, flags: c_int) -> Answer {
    let header: *mut Header = header;
    // SAFETY: the kernel writes to what `header` names.
    unsafe { call(number::RECVMSG, [fd(socket), header as usize, fd(flags), 0, 0, 0]) }
}

/// `struct pollfd`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Poll {
    pub descriptor: c_int,
    pub events: i16,
    pub returned: i16,
}

/// `struct timespec`, and `struct timeval`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Time {
    pub seconds: i64,
    pub parts: i64,
}

/// The beginning of `struct tcp_info`, as far as it is of interest.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct TcpInfo {
    pub state: u8,
    unused: [u8; 43],
    /// How many milliseconds ago.
    pub last_data_sent: u32,
    unused_too: u32,
    /// How many milliseconds ago.
    pub last_data_received: u32,
    nor_these: [u32; 18],
    /// Read by the program or not, and one more for the other side's end.
    pub bytes_received: u64,
    nor_those: [u32; 5],
    pub data_segments_sent: u32,
}

impl TcpInfo {
    /// The other side has ended (`TCP_CLOSE_WAIT`).
    pub const CLOSE_WAIT: u8 = 8;
}

/// What has become of a TCP connection so far.
pub fn tcp_info(socket: c_int) -> Option<TcpInfo> {
    let empty = TcpInfo {
        state: 0,
        unused: [0; 43],
        last_data_sent: 0,
        unused_too: 0,
        last_data_received: 0,
        nor_these: [0; 18],
        bytes_received: 0,
        nor_those: [0; 5],
        data_segments_sent: 0,
    };
    option(socket, IPPROTO_TCP, TCP_INFO, empty)
}

/// How many bytes have come that nobody has read.
pub fn unread(socket: c_int) -> Option<u64> {
    const FIONREAD: usize = 0x541B;
    count(socket, FIONREAD)
}

/// How many bytes were sent that the other side's system has not acknowledged; over a Unix socket, that
/// the other side has not read.
pub fn unacknowledged(socket: c_int) -> Option<u64> {
    const TIOCOUTQ: usize = 0x5411;
    count(socket, TIOCOUTQ)
}

fn count(socket: c_int, request: usize) -> Option<u64> {
    let mut count: c_int = 0;
    let arguments = [fd(socket), request, (&raw mut count) as usize, 0, 0, 0];
    // SAFETY: the kernel writes one number.
    unsafe { call(number::IOCTL, arguments) }.ok()?;
    u64::try_from(count).ok()
}

/// What lies unread, as much of it as there is room for.
pub fn peek(socket: c_int, room: &mut [u8]) -> Option<&[u8]> {
    let flags = fd(MSG_PEEK | MSG_DONTWAIT);
    let arguments = [fd(socket), room.as_mut_ptr() as usize, room.len(), flags, 0, 0];
    // SAFETY: the kernel writes no more than there is room for.
    let length = unsafe { call(number::RECVFROM, arguments) }.ok()?;
    room.get(..length)
}

/// A connection whose other side is gone.
pub fn ended() -> Option<c_int> {
    let mut pair: [c_int; 2] = [-1; 2];
    let kind = fd(SOCK_STREAM | O_CLOEXEC);
    let arguments = [usize::from(AF_UNIX), kind, 0, pair.as_mut_ptr() as usize, 0, 0];
    // SAFETY: the kernel writes two numbers.
    unsafe { call(number::SOCKETPAIR, arguments) }.ok()?;
    let [one, other] = pair;
    close(other);
    Some(one)
}

/// Waits until that can be read, or so many milliseconds.
pub fn readable(descriptor: c_int, milliseconds: u64) -> Result<bool, c_int> {
    is(POLLIN, descriptor, milliseconds)
}

/// Waits until that can be written to, or so many milliseconds.
pub fn writable(descriptor: c_int, milliseconds: u64) -> Result<bool, c_int> {
    is(POLLOUT, descriptor, milliseconds)
}

/// Waits so many milliseconds.
pub fn sleep(milliseconds: u64) {
    // The system leaves out what is negative.
    let _ = is(POLLIN, -1, milliseconds);
}

fn is(events: i16, descriptor: c_int, milliseconds: u64) -> Result<bool, c_int> {
    let mut poll = Poll { descriptor, events, returned: 0 };
    let mut time = time(milliseconds);
    let arguments = [(&raw mut poll) as usize, 1, (&raw mut time) as usize, 0, 8, 0];
    // SAFETY: the kernel writes to `poll` and `time`; there is no mask of signals.
    unsafe { call(number::PPOLL, arguments) }.map(|count| count > 0)
}

fn time(milliseconds: u64) -> Time {
    Time {
        seconds: (milliseconds / 1000) as i64,
        parts: ((milliseconds % 1000) as i64).wrapping_mul(1_000_000),
    }
}

/// A clock that only goes forward, in milliseconds.
pub fn now() -> u64 {
    const MONOTONIC: usize = 1;
    let mut time = Time { seconds: 0, parts: 0 };
    // SAFETY: the kernel writes a `struct timespec`.
    let _ =
        unsafe { call(number::CLOCK_GETTIME, [MONOTONIC, (&raw mut time) as usize, 0, 0, 0, 0]) };
    (time.seconds as u64).wrapping_mul(1000).wrapping_add(time.parts as u64 / 1_000_000)
}

/// Waits while `word` is `value`, so many milliseconds at most.
pub fn futex_wait(word: &core::sync::atomic::AtomicU32, value: u32, milliseconds: u64) {
    const WAIT_PRIVATE: usize = 128;
    let time = time(milliseconds);
    let arguments =
        [word.as_ptr() as usize, WAIT_PRIVATE, value as usize, (&raw const time) as usize, 0, 0];
    // SAFETY: the kernel reads `word` and `time`.
    let _ = unsafe { call(number::FUTEX, arguments) };
}

/// Wakes one that waits for `word`.
pub fn futex_wake(word: &core::sync::atomic::AtomicU32) {
    const WAKE_PRIVATE: usize = 129;
    // SAFETY: the kernel reads `word`.
    let _ = unsafe { call(number::FUTEX, [word.as_ptr() as usize, WAKE_PRIVATE, 1, 0, 0, 0]) };
}

/// A counter that can be waited for.
pub fn eventfd() -> Option<c_int> {
    // SAFETY: touches no memory.
    unsafe { call(number::EVENTFD2, [0, fd(O_CLOEXEC | O_NONBLOCK), 0, 0, 0, 0]) }
        .ok()
        .map(|it| it as c_int)
}

/// Makes a counter readable.
pub fn raise(counter: c_int) {
    let one = 1_u64;
    // SAFETY: the kernel reads 8 bytes.
    let _ = unsafe { call(number::WRITE, [fd(counter), (&raw const one) as usize, 8, 0, 0, 0]) };
}

/// Makes a counter unreadable.
pub fn lower(counter: c_int) {
    let mut count = 0_u64;
    // SAFETY: the kernel writes 8 bytes.
    let _ = unsafe { call(number::READ, [fd(counter), (&raw mut count) as usize, 8, 0, 0, 0]) };
}

/// Takes a descriptor out of those that an `epoll` waits for.
pub fn unpoll(epoll: c_int, descriptor: c_int) {
    const DELETE: usize = 2;
    // SAFETY: for this there is no event to be read.
    let _ = unsafe { call(number::EPOLL_CTL, [fd(epoll), DELETE, fd(descriptor), 0, 0, 0]) };
}

/// Maps so much of a file that others map too; without one, memory of our own, full of zeros.
pub fn map(file: Option<c_int>, length: usize) -> Option<*mut u8> {
    const READ_WRITE: usize = 3;
    const SHARED: usize = 1;
    const PRIVATE_ANONYMOUS: usize = 0x22;
    let (flags, file) = file.map_or((PRIVATE_ANONYMOUS, -1), |file| (SHARED, file));
    // SAFETY: the kernel chooses the place, where nothing else is.
    unsafe { call(number::MMAP, [0, length, READ_WRITE, flags, fd(file), 0]) }
        .ok()
        .map(|place| place as *mut u8)
}

/// Lets the child of a fork find zeros there.
///
/// # Safety
/// This is memory of our own, from [`map`].
pub unsafe fn wipe_on_fork(place: *mut u8, length: usize) -> bool {
    const WIPE_ON_FORK: usize = 18;
    // SAFETY: it changes nothing for this process.
    unsafe { call(number::MADVISE, [place as usize, length, WIPE_ON_FORK, 0, 0, 0]) }.is_ok()
}

/// Whether the program has handlers of signals, and all of them want that system calls go on behind
/// them (`SA_RESTART`). Which one it was that has interrupted a call, nobody says.
pub fn handlers_restart() -> bool {
    const RESTART: usize = 0x1000_0000;
    /// `SIGILL`, `SIGTRAP`, `SIGBUS`, `SIGFPE`, `SIGSEGV`, `SIGSYS`: for faults, which nobody has
    /// while he waits. Rust's standard library handles two of them, and not so.
    const FAULTS: [usize; 6] = [4, 5, 7, 8, 11, 31];
    /// The kernel's own `struct sigaction`; `handler` and `flags` come first on both machines.
    #[repr(C)]
    struct Action {
        handler: usize,
        flags: usize,
        rest: [usize; 4],
    }
    let mut found = false;
    for signal in (1..=64).filter(|it| !FAULTS.contains(it)) {
        let mut action = Action { handler: 0, flags: 0, rest: [0; 4] };
        let arguments = [signal, 0, (&raw mut action) as usize, 8, 0, 0];
        // SAFETY: the kernel writes its `struct sigaction`, which fits.
        let known = unsafe { call(number::RT_SIGACTION, arguments) }.is_ok();
        // 0 is the default, 1 ignores it.
        if known && action.handler > 1 {
            if action.flags & RESTART == 0 {
                return false;
            }
            found = true;
        }
    }
    found
}
