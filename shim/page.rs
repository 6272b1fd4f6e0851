//! The page of memory that the tool and the shim both see: `wire::page`.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use crate::system::Identity;
use crate::wire::page::{
    CONNECTIONS, DRAINS, FILE, FILES, HANDED, LEAVING, MOST_FILES, PROBE, RETIRED, TOOL,
};

/// Where it is mapped; null without a tool.
static PAGE: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

/// It is mapped there.
///
/// # Safety
/// `wire::PAGE` bytes, for good.
pub unsafe fn set(place: *mut u8) {
    PAGE.store(place, Ordering::Release);
}

fn word(offset: usize) -> Option<&'static AtomicU32> {
    let place = PAGE.load(Ordering::Acquire);
    // SAFETY: the page is mapped for good, `offset` is one of the wire's and aligned.
    (!place.is_null()).then(|| unsafe { AtomicU32::from_ptr(place.add(offset).cast()) })
}

fn long(offset: usize) -> Option<&'static AtomicU64> {
    let place = PAGE.load(Ordering::Acquire);
    // SAFETY: the page is mapped for good, `offset` is one of the wire's and aligned.
    (!place.is_null()).then(|| unsafe { AtomicU64::from_ptr(place.add(offset).cast()) })
}

fn number(offset: usize) -> u32 {
    word(offset).map_or(0, |it| it.load(Ordering::SeqCst))
}

/// Whether the server must not accept.
pub fn retired() -> bool {
    number(RETIRED) != 0
}

/// How the tool's own connection is known. 0: there is none to come.
pub fn probe() -> u32 {
    number(PROBE)
}

/// The tool's process id.
pub fn tool() -> u32 {
    number(TOOL)
}

/// Whether the next server accepts, and gets what more is asked.
#[inline]
pub fn drains() -> bool {
    number(DRAINS) != 0
}

/// Whether the server is asked to stop, and passes on what it closes.
pub fn leaving() -> bool {
    number(LEAVING) != 0
}

/// How many connections of other servers have been laid there for this one.
pub fn handed() -> u32 {
    number(HANDED)
}

/// One more is open, or somebody is about to accept one. In one order with [`retired`], for all.
pub fn opened() {
    if let Some(count) = long(CONNECTIONS) {
        count.fetch_add(1, Ordering::SeqCst);
    }
}

/// One less is open. Whether there is none left.
pub fn closed() -> bool {
    long(CONNECTIONS).is_some_and(|count| count.fetch_sub(1, Ordering::SeqCst) == 1)
}

/// Whether any files of Unix sockets are listed.
pub fn has_files() -> bool {
    number(FILES) != 0
}

/// Whether this file is the one of a Unix socket that is shared.
pub fn lists(file: Identity) -> bool {
    let count = (number(FILES) as usize).min(MOST_FILES);
    (0..count).any(|index| {
        let offset = FILE.wrapping_add(index.wrapping_mul(16));
        let at = |offset| long(offset).map_or(0, |it| it.load(Ordering::Acquire));
        at(offset) == file.device && at(offset.wrapping_add(8)) == file.inode
    })
}
