//! How many accepted connections are open: the tool waits for their end before it stops a server.
//! It is descriptors that are counted, so what was duplicated counts twice, and is open until both
//! are closed. What is closed where the shim does not see it counts on until its number is used
//! again. A child of a fork has none to begin with: what it inherits, its parent counts.
//!
//! A server that stops closes connections on which the client is about to ask once more, or already
//! has: between two requests it cannot tell. Those go to the tool, for the next server.

use core::ffi::c_int;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::system::{self, F_GETFD, F_GETFL, F_SETFL, FD_CLOEXEC, O_CLOEXEC, O_NONBLOCK};
use crate::wire::{IDLE, Message, PASS};
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
    if has(from) {
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
        && word.fetch_and(!bit, Relaxed) & bit != 0
    {
        less();
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
}

/// Gives the tool a connection that is about to be shut down, and leaves the program one that has
/// ended: who reads until the client has closed, too, would take what is meant for the next server.
/// False where that cannot be done.
#[cold]
pub fn part(descriptor: c_int) -> bool {
    let Some(ended) = system::ended() else { return false };
    let flags = |command| system::fcntl(descriptor, command, 0).unwrap_or(0);
    if flags(F_GETFL) & O_NONBLOCK != 0 {
        let _ = system::fcntl(ended, F_SETFL, O_NONBLOCK);
    }
    let closes = if flags(F_GETFD) & FD_CLOEXEC == 0 { 0 } else { O_CLOEXEC };
    // In this order: what has been passed must not be the program's any more.
    let parted = pass(descriptor) && system::dup3(ended, descriptor, closes);
    system::close(ended);
    if parted {
        closing(descriptor);
    }
    parted
}

/// Gives the tool a connection that is about to be closed. False where that cannot be done.
#[cold]
pub fn pass(descriptor: c_int) -> bool {
    control::hand_up(&Message::new(PASS), descriptor)
}
