//! Accepting on a listener that is shared with another process: both accept from one queue. So none
//! may wait in the kernel for a connection that another one takes; the shared listener does not
//! block, and who thinks that it does waits here. A retired server gets nothing, and the tool's own
//! connections are nobody's.
//!
//! A connection that comes through costs no system call more than without the shim.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};

use crate::listeners::{self, ACCEPTS, LISTENING, NONBLOCKING, Record, SHUT, WOKEN};
use crate::real::{errno, fail};
use crate::system::{
    self, AF_UNIX, Credentials, EAGAIN, ECONNABORTED, EINTR, EINVAL, F_GETFL, F_SETFD, F_SETFL,
    O_CLOEXEC, O_NONBLOCK, POLLIN, Poll, SO_PEERCRED, SO_RCVTIMEO, SOL_SOCKET, Time,
};
use crate::wire::page::PROBE_UNIX;
use crate::wire::{ACCEPTING, Address, Message};
use crate::{connections, control, page, process, real};

/// `accept4`, by `real`, which gets the place for the address's length anew each time.
///
/// # Safety
/// As `accept4` demands.
pub unsafe fn accept(
    listener: c_int,
    address: *mut u8,
    length: *mut u32,
    flags: c_int,
    real: impl Fn() -> c_int,
) -> c_int {
    let Some(record) = listeners::hinted(listener) else { return real() };
    if !record.is(LISTENING | ACCEPTS) && !begin(listener, record) {
        return real();
    }
    // SAFETY: null, or there.
    let room = unsafe { length.as_ref() }.copied();
    let mut patience = Patience::Unknown;
    loop {
        let refused = page::retired() || record.is(SHUT);
        if !refused {
            connections::entering();
        }
        if refused || page::retired() {
            if !refused {
                connections::less();
            }
            if listeners::known(listener).is_none() {
                return real();
            }
            if record.is(SHUT) {
                return fail(EINVAL);
            }
            if record.set(WOKEN, false) {
                quieten(record);
                return fail(ECONNABORTED);
            }
            if record.is(NONBLOCKING) {
                refuse();
                return fail(EAGAIN);
            }
            if let Err(error) = patience.wait(listener, record) {
                return fail(error);
            }
            continue;
        }
        if (page::handed() != TAKEN.load(SeqCst) || WAITING.load(SeqCst) > 0)
            && let Some(connection) = handed(record.inode(), flags)
        {
            // SAFETY: the caller's.
            if unsafe { system::put_peer_address(connection, address, length) } {
                connections::accepted(connection);
                return connection;
            }
            connections::less();
            system::close(connection);
            continue;
        }
        let accepted = real();
        if accepted >= 0 {
            if page::probe() != 0 && is_probe(accepted) {
                connections::less();
                system::reset(accepted);
                say_accepting(record);
                // SAFETY: null, or there.
                if let (Some(length), Some(room)) = (unsafe { length.as_mut() }, room) {
                    *length = room;
                }
                continue;
            }
            connections::accepted(accepted);
            return accepted;
        }
        connections::less();
        if errno() != EAGAIN || record.is(NONBLOCKING) || listeners::known(listener).is_none() {
            return accepted;
        }
        if let Err(error) = patience.wait(listener, record) {
            return fail(error);
        }
    }
}

/// A retired server is told that there is nothing. One whose loop asks again and again, since there
/// is something, is held up by and by: it would take the time that the next server needs.
#[cold]
fn refuse() {
    /// So often at once is no loop.
    const OFTEN: u32 = 100;
    static REFUSED: AtomicU32 = AtomicU32::new(0);
    if REFUSED.fetch_add(1, SeqCst) >= OFTEN
        && let Some(active) = control::active()
    {
        let _ = system::readable(active, 1);
    }
}

/// How many connections of other servers have been laid there when there was none left.
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// Connections of other servers that are for another listener than the one that was asked.
struct Pending {
    /// The descriptor plus 1; 0 where the place is free, -1 while it is being filled.
    connection: AtomicI32,
    listener: AtomicU64,
}

static PENDING: [Pending; 64] =
    [const { Pending { connection: AtomicI32::new(0), listener: AtomicU64::new(0) } }; 64];
static WAITING: AtomicU32 = AtomicU32::new(0);

impl Pending {
    fn put(connection: c_int, listener: u64) {
        let free = |it: &&Self| it.connection.compare_exchange(0, -1, SeqCst, SeqCst).is_ok();
        let Some(place) = PENDING.iter().find(free) else {
            // As the server that had it wanted.
            system::close(connection);
            return;
        };
        place.listener.store(listener, SeqCst);
        WAITING.fetch_add(1, SeqCst);
        place.connection.store(connection.wrapping_add(1), SeqCst);
    }

    fn take(listener: u64) -> Option<c_int> {
        PENDING.iter().find_map(|it| {
            let connection = it.connection.load(SeqCst);
            let mine = connection > 0
                && it.listener.load(SeqCst) == listener
                && it.connection.compare_exchange(connection, 0, SeqCst, SeqCst).is_ok();
            mine.then(|| {
                WAITING.fetch_sub(1, SeqCst);
                connection.wrapping_sub(1)
            })
        })
    }
}

/// A connection of another server that is for this listener.
fn next(listener: u64) -> Option<c_int> {
    if let Some(connection) = Pending::take(listener) {
        return Some(connection);
    }
    loop {
        let count = page::handed();
        match control::handed() {
            Some((connection, its)) if its == listener => return Some(connection),
            Some((connection, other)) => Pending::put(connection, other),
            None => {
                // All up to then are taken.
                TAKEN.fetch_max(count, SeqCst);
                return None;
            }
        }
    }
}

/// The same as `accept4` would give it with these flags.
#[cold]
fn handed(listener: u64, flags: c_int) -> Option<c_int> {
    let connection = next(listener)?;
    if flags & O_CLOEXEC == 0 {
        let _ = system::fcntl(connection, F_SETFD, 0);
    }
    if let Ok(before) = system::fcntl(connection, F_GETFL, 0) {
        let wanted = (before & !O_NONBLOCK) | (flags & O_NONBLOCK);
        let _ = system::fcntl(connection, F_SETFL, wanted);
    }
    Some(connection)
}

/// Before the first `accept` on a listener. Not before: who accepts in other ways must not meet one
/// that does not block because of us. False where the listener is none that is shared.
#[cold]
fn begin(listener: c_int, record: &Record) -> bool {
    if listeners::known(listener).is_none() || !record.is(LISTENING) {
        return false;
    }
    unblock(listener);
    if !record.set(ACCEPTS, true) {
        say_accepting(record);
    }
    true
}

/// Makes the shared listener one that does not block, for all and for good.
pub fn unblock(listener: c_int) {
    if let Ok(flags) = system::fcntl(listener, F_GETFL, 0)
        && flags & O_NONBLOCK == 0
    {
        let _ = system::fcntl(listener, F_SETFL, flags | O_NONBLOCK);
    }
}

fn say_accepting(record: &Record) {
    let mut message = Message::new(ACCEPTING);
    message.inode = record.inode();
    control::say(&message);
}

/// Whether this is the tool's own connection.
#[cold]
fn is_probe(accepted: c_int) -> bool {
    let probe = page::probe();
    let port = probe & (PROBE_UNIX - 1);
    // Whose other end is gone by now nobody misses, and it may have been the tool's.
    let Some(peer) = system::peer_address(accepted) else { return true };
    if peer.family() == AF_UNIX {
        let empty = Credentials { pid: 0, uid: 0, gid: 0 };
        let tool = page::tool();
        return probe & PROBE_UNIX != 0
            && tool != 0
            && system::option(accepted, SOL_SOCKET, SO_PEERCRED, empty)
                .is_some_and(|it| it.pid as u32 == tool);
    }
    // Whoever comes from elsewhere may come from a port of the same number.
    let here = || {
        peer.loopback() || system::own_address(accepted).is_some_and(|own| own.ip().eq(peer.ip()))
    };
    port != 0 && u32::from(peer.port()) == port && here()
}

/// A counter that is gone cannot be waited for: then what it says is looked up, every so many
/// milliseconds.
const OFTEN: u64 = 100;

/// How long an `accept` waits (`SO_RCVTIMEO`).
enum Patience {
    /// Nobody has looked yet.
    Unknown,
    Endless,
    Until(u64),
}

impl Patience {
    /// Waits until it is worth while to look again. The error is what `accept` answers.
    #[cold]
    fn wait(&mut self, listener: c_int, record: &Record) -> Result<(), c_int> {
        if matches!(self, Self::Unknown) {
            *self = Self::of(listener);
        }
        let counter = if page::retired() { control::active() } else { control::retired() };
        let waking = waking(record);
        let blind = counter.is_none() || waking.is_none();
        let left = match *self {
            Self::Until(deadline) => Some(deadline.saturating_sub(system::now())),
            _ => None,
        };
        if left == Some(0) {
            return Err(EAGAIN);
        }
        let time = if blind { Some(left.unwrap_or(OFTEN).min(OFTEN)) } else { left };
        let waits = |descriptor| Poll { descriptor, events: POLLIN, returned: 0 };
        let mut polls = [
            // The system leaves out what is negative.
            waits(if page::retired() { -1 } else { listener }),
            waits(counter.unwrap_or(-1)),
            waits(waking.unwrap_or(-1)),
        ];
        let time = time.map_or(-1, |it| c_int::try_from(it).unwrap_or(c_int::MAX));
        // libc's, since a thread may be cancelled there.
        // SAFETY: `polls` is there.
        let count = unsafe { real::poll(polls.as_mut_ptr(), polls.len(), time) };
        if count >= 0 {
            return Ok(());
        }
        match errno() {
            // As the kernel does: never with a time, and not where a handler does not want it.
            EINTR if matches!(self, Self::Endless) && system::handlers_restart() => Ok(()),
            error => Err(error),
        }
    }

    fn of(listener: c_int) -> Self {
        let empty = Time { seconds: 0, parts: 0 };
        let time = system::option(listener, SOL_SOCKET, SO_RCVTIMEO, empty).unwrap_or(empty);
        let milliseconds = (time.seconds as u64)
            .wrapping_mul(1000)
            .wrapping_add((time.parts as u64).div_ceil(1000));
        if milliseconds == 0 {
            Self::Endless
        } else {
            Self::Until(system::now().saturating_add(milliseconds))
        }
    }
}

/// The counter that is raised when the program shuts this listener down.
fn waking(record: &Record) -> Option<c_int> {
    let place = process::own()?.wakes.get(record.index())?;
    let counter = place.load(SeqCst);
    if counter != 0 {
        return Some(counter.wrapping_sub(1));
    }
    let counter = control::keep(system::eventfd()?);
    match place.compare_exchange(0, counter.wrapping_add(1), SeqCst, SeqCst) {
        Ok(_) => {
            if record.is(SHUT) {
                system::raise(counter);
            }
            Some(counter)
        }
        Err(other) => {
            control::unkeep(counter);
            Some(other.wrapping_sub(1))
        }
    }
}

/// A leaving server connects to itself: that is how a thread which waits in `accept` is told to look
/// whether to go on. The connection goes to the next server, so the thread is woken by another way.
///
/// # Safety
/// As `connect` demands.
#[cold]
pub unsafe fn wake_for(address: *const u8, length: u32) {
    // SAFETY: the caller's.
    let Some(target) = (unsafe { Address::read(address, length) }) else { return };
    for descriptor in listeners::all() {
        let same = |own: Address| own.family() == target.family() && own.port() == target.port();
        if let Some(record) = listeners::known(descriptor)
            && record.is(LISTENING)
            && system::own_address(descriptor).is_some_and(same)
            && (target.port() != 0 || record.asked().bytes.0 == target.bytes.0)
            && !record.set(WOKEN, true)
        {
            waken(record);
        }
    }
}

fn waken(record: &Record) {
    if let Some(counter) = counter_of(record) {
        system::raise(counter);
    }
}

fn quieten(record: &Record) {
    if let Some(counter) = counter_of(record) {
        system::lower(counter);
    }
}

/// The counter that wakes who waits on this listener, where anybody has waited.
fn counter_of(record: &Record) -> Option<c_int> {
    let counter = process::own()?.wakes.get(record.index())?.load(SeqCst);
    (counter != 0).then(|| counter.wrapping_sub(1))
}

/// `shutdown` of a listener: only this process does not accept from it any more.
pub fn shut(record: &Record) {
    record.set(SHUT, true);
    waken(record);
}

/// The program listens again.
pub fn reopen(record: &Record) {
    if record.set(SHUT, false) {
        quieten(record);
    }
}
