//! How many accepted connections are open: the tool waits for their end before it stops a server.
//! It is descriptors that are counted, so what was duplicated counts twice, and is open until both
//! are closed. What is closed where the shim does not see it counts on until its number is used
//! again. A child of a fork has none to begin with: what it inherits, its parent counts.

use core::ffi::c_int;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{page, process};

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

/// The descriptor is of one.
fn open(descriptor: c_int) {
    if let Some((word, bit)) = place(descriptor)
        && word.fetch_or(bit, Relaxed) & bit == 0
    {
        page::opened();
    }
}

/// A connection was accepted.
#[inline]
pub fn accepted(descriptor: c_int) {
    page::accepted();
    open(descriptor);
}

/// `to` is another descriptor of what `from` is of.
pub fn copy(from: c_int, to: c_int) {
    if has(from) {
        open(to);
    }
}

/// The descriptor is about to be closed.
#[inline]
pub fn closing(descriptor: c_int) {
    if let Some((word, bit)) = place(descriptor)
        && word.load(Relaxed) & bit != 0
        && word.fetch_and(!bit, Relaxed) & bit != 0
    {
        page::closed();
    }
}
