//! How many accepted connections are open: the tool waits for their end before it stops a server.
//! It is descriptors that are counted, so what was duplicated counts twice, and is open until both
//! are closed. What is closed where the shim does not see it counts on until its number is used
//! again. A child of a fork has none to begin with: what it inherits, its parent counts.
//!
//! A server that stops closes connections on which the client is about to ask once more, or already
//! has: between two requests it cannot tell. Those go to the tool, for the next server. And while it
//! is still to stop, those on which a request has come that it has not begun to read.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};

use crate::system::{self, F_GETFD, F_GETFL, FD_CLOEXEC, O_CLOEXEC, O_NONBLOCK, TcpInfo};
use crate::wire::{IDLE, Message, PART, PASS};
use crate::{control, page, process};

/// In milliseconds: no server drains for longer, so none waits longer for what it may not read.
const DRAINED: u64 = 1_000;

fn place(descriptor: c_int) -> Option<(&'static AtomicU64, u64)> {
    let index = usize::try_from(descriptor).ok()?;
    let word = process::own()?.connections.get(index / 64)?;
    Some((word, 1 << (index % 64)))
}

/// Whether the descriptor is of a connection.
#[inline]
pub fn has(descriptor: c_int) -> bool {
    place(descriptor).is_some_and(|(word, bit)| word.load(Relaxed) & bit != 0)
}

/// Somebody is about to accept. Counted before it is looked whether the server is retired: when the
/// tool finds a retired server without connections, it will not get one.
#[inline]
pub fn entering() {
    page::opened();
}

/// Nothing has come of [`entering`], or a connection is closed.
#[inline]
pub fn less() {
    if page::closed() && page::retired() {
        control::say(&Message::new(IDLE));
    }
}

/// A connection was accepted after [`entering`], which it is counted by.
#[inline]
pub fn accepted(descriptor: c_int) {
    let new = place(descriptor).is_some_and(|(word, bit)| word.fetch_or(bit, Relaxed) & bit == 0);
    if !new {
        less();
    }
}

/// `to` is another descriptor of what `from` is of.
pub fn copy(from: c_int, to: c_int) {
    if has(from) && process::alone() {
        entering();
        accepted(to);
        if let Some(own) = process::own() {
            own.copies.store(true, Relaxed);
        }
    }
}

/// The descriptor is about to be closed.
#[inline]
pub fn closing(descriptor: c_int) {
    if let Some((word, bit)) = place(descriptor)
        && word.load(Relaxed) & bit != 0
        && process::alone()
        && word.fetch_and(!bit, Relaxed) & bit != 0
    {
        less();
    }
}

/// The `epoll` in which the connection is: its descriptor plus 1.
fn polled_by(descriptor: c_int) -> Option<&'static AtomicI32> {
    process::own()?.polls.get(usize::try_from(descriptor).ok()?)
}

/// The program is about to read from a connection on which a new request waits: gives that to the tool,
/// for the next server. True: for this one the connection is at its end. `waits`: the program would wait
/// for a request, unless the connection does not block.
#[cold]
pub fn moves(descriptor: c_int, waits: bool) -> bool {
    let Some((word, bit)) = place(descriptor) else { return false };
    let ours = word.load(Relaxed) & bit != 0
        && process::first()
        && process::own().is_some_and(|own| !own.copies.load(Relaxed));
    if !ours {
        return false;
    }
    let waits = waits && system::fcntl(descriptor, F_GETFL, 0).is_ok_and(|it| it & O_NONBLOCK == 0);
    if waits && system::unread(descriptor) == Some(0) {
        // Else it would be read as soon as it comes.
        let _ = system::readable(descriptor, DRAINED);
    }
    if !has_next(descriptor) {
        return false;
    }
    let Some(ended) = system::ended() else { return false };
    // Of several threads that read, one does it.
    let mine = word.fetch_and(!bit, Relaxed) & bit != 0;
    let moves = mine && control::hand_up(&Message::new(PASS), descriptor);
    if moves {
        forget(descriptor);
        // What it is told of this descriptor from here on is what it would be of a client that has gone.
        let flags = system::fcntl(descriptor, F_GETFD, 0).unwrap_or(0);
        let on_exec = if flags & FD_CLOEXEC == 0 { 0 } else { O_CLOEXEC };
        system::dup3(ended, descriptor, on_exec);
        less();
    } else if mine {
        word.fetch_or(bit, Relaxed);
    }
    system::close(ended);
    moves
}

/// Whether what lies unread is the beginning of a request, and the one before it is answered: the
/// client has had all that was sent to it.
fn has_next(descriptor: c_int) -> bool {
    let mut bytes = [0; 1024];
    system::unread(descriptor).is_some_and(|count| count > 0)
        && system::unacknowledged(descriptor) == Some(0)
        && !owes(descriptor)
        && system::peek(descriptor, &mut bytes).is_some_and(is_request)
}

/// Whether that begins with the first line of a request in plain HTTP/1 (RFC 9112, section 3).
fn is_request(bytes: &[u8]) -> bool {
    let Some((line, _)) =
        bytes.iter().position(|it| *it == b'\n').and_then(|at| bytes.split_at_checked(at))
    else {
        return false;
    };
    let method = line.split(|it| *it == b' ').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    !method.is_empty()
        && method.iter().all(u8::is_ascii_uppercase)
        && (line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"))
}

/// The program waits for the connection with this `epoll`.
pub fn polled(descriptor: c_int, epoll: c_int) {
    if has(descriptor)
        && let Some(place) = polled_by(descriptor)
    {
        place.store(epoll.wrapping_add(1), Relaxed);
    }
}

/// Whether what is done to end this connection is left to the tool: its client may be asking once
/// more. Where connections have been duplicated, the end of one descriptor is not the end.
#[inline]
pub fn passes(descriptor: c_int) -> bool {
    page::leaving()
        && has(descriptor)
        && process::first()
        && process::own().is_some_and(|own| !own.copies.load(Relaxed))
        && !owes(descriptor)
}

/// Whether a part of a request has been read on it that was not answered: what comes next is the rest
/// of that, or the next one, whose answer the client would take for the first one's. Where that cannot
/// be told, no.
#[cold]
fn owes(descriptor: c_int) -> bool {
    let (Some(info), Some(unread)) = (system::tcp_info(descriptor), system::unread(descriptor))
    else {
        return false;
    };
    let end = u64::from(info.state == TcpInfo::CLOSE_WAIT);
    let read = info.bytes_received.saturating_sub(end) > unread;
    // Where more has come, it is not known when what was read had.
    let since = unread == 0 && info.last_data_received < info.last_data_sent;
    read && (info.data_segments_sent == 0 || since)
}

/// Tells the tool of a connection that is about to be shut down for writing: it does so, unless the
/// connection is closed, and passed, before long. False where that cannot be done.
#[cold]
pub fn part(descriptor: c_int) -> bool {
    control::hand_up(&Message::new(PART), descriptor)
}

/// Gives the tool a connection that is about to be closed. False where that cannot be done.
#[cold]
pub fn pass(descriptor: c_int) -> bool {
    forget(descriptor);
    control::hand_up(&Message::new(PASS), descriptor)
}

/// Nothing more is told of it: the kernel would forget it with its last descriptor, but there will be
/// others'.
fn forget(descriptor: c_int) {
    if let Some(epoll) = polled_by(descriptor).map(|it| it.load(Relaxed))
        && epoll > 0
    {
        system::unpoll(epoll.wrapping_sub(1), descriptor);
    }
}
