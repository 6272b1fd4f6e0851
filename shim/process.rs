//! Which process this is: the one that the tool has started, a child that it forked (which has all
//! that the shim knows, in memory of its own), or one that shares the memory for a moment (`vfork`).
//! A part of the memory is zeroed in a child by the kernel: so what is only the parent's costs
//! nobody a question.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use crate::listeners::RECORDS;
use crate::system;

/// How many descriptors are looked at: those below. One beyond is left to the program.
pub const DESCRIPTORS: usize = 65_536;

/// What a child of a fork starts without.
#[repr(C)]
pub struct Own {
    /// 1 in the process that the tool has started.
    alive: AtomicU32,
    /// By the number of a record (`listeners.rs`): a counter which wakes the threads that wait for
    /// a connection there, its descriptor plus 1.
    pub wakes: [AtomicI32; RECORDS],
    /// One bit for each descriptor that is of an accepted connection: the parent counts its own.
    pub connections: [AtomicU64; DESCRIPTORS / 64],
    /// By descriptor: the `epoll` in which it is, its descriptor plus 1.
    pub polls: [AtomicI32; DESCRIPTORS],
    /// One of them has been duplicated.
    pub copies: AtomicBool,
}

static OWN: AtomicPtr<Own> = AtomicPtr::new(core::ptr::null_mut());
static PID: AtomicI32 = AtomicI32::new(0);

/// Makes this the process that talks to the tool.
pub fn start() -> bool {
    let length = size_of::<Own>();
    let Some(place) = system::map(None, length) else { return false };
    // SAFETY: just mapped, and no part of it is used.
    if !unsafe { system::wipe_on_fork(place, length) } {
        return false;
    }
    let place: *mut Own = place.cast();
    // SAFETY: memory of our own for good, aligned to a page, where zeros are a valid `Own`.
    unsafe { (*place).alive.store(1, Ordering::Relaxed) };
    PID.store(system::getpid(), Ordering::Relaxed);
    OWN.store(place, Ordering::Release);
    true
}

/// What a child of a fork starts without. None where there is no tool.
#[inline]
pub fn own() -> Option<&'static Own> {
    let place = OWN.load(Ordering::Acquire);
    // SAFETY: null, or mapped for good.
    unsafe { place.as_ref() }
}

/// Whether this is a child of the process that the tool has started.
fn child() -> bool {
    own().is_none_or(|own| own.alive.load(Ordering::Relaxed) == 0)
}

/// Whether this is the process that the tool has started.
pub fn first() -> bool {
    !child() && system::getpid() == PID.load(Ordering::Relaxed)
}

/// Whether the memory is this process's alone. The child of a `vfork` writes to its parent's.
pub fn alone() -> bool {
    child() || first()
}
