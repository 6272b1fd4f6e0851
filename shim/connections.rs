//! How many accepted connections are open: the tool waits for their end before it stops a server.
//! It is descriptors that are counted, so what was duplicated counts twice, and is open until both
//! are closed. What is closed where the shim does not see it counts on until its number is used
//! again. A child of a fork has none to begin with: what it inherits, its parent counts.
//!
//! A server that stops closes connections on which the client is about to ask once more, or already
//! has: between two requests it cannot tell. Those go to the tool, for the next server.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};

use crate::system::{self, TcpInfo};
use crate::wire::{IDLE, Message, PART, PASS};
use crate::{control, page, process};

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
    // The kernel would forget it with its last descriptor, but there will be others'.
    if let Some(epoll) = polled_by(descriptor).map(|it| it.load(Relaxed))
        && epoll > 0
    {
        system::unpoll(epoll.wrapping_sub(1), descriptor);
    }
    control::hand_up(&Message::new(PASS), descriptor)
}
