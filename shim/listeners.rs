//! What the shim knows of the sockets that the program has bound, and which descriptors may be of
//! them.
//!
//! A record goes by the socket's inode, because what it says belongs to the socket: descriptors are
//! duplicated, closed and used again, also where the shim does not see it. So the mark on a
//! descriptor is a hint and no more: before anything is done that the kernel would not have done, the
//! descriptor's inode is compared ([`known`]). What has no mark costs one look at one byte.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst};

use crate::control;
use crate::process::{self, DESCRIPTORS};
use crate::system::{self, Identity};
use crate::wire::{Address, CLOSED, Message};

/// More sockets than that are left to the program.
pub const RECORDS: usize = 128;

/// In more `epoll`s than that no listener is.
const POLLS: usize = 8;

/// Bound by the program itself, to a port of its choice or a path.
pub const BOUND: u32 = 1;
/// Bound by the program to port 0; it has not seen which one it got.
pub const PENDING: u32 = 2;
/// The listener that the tool has handed out.
pub const TAKEN: u32 = 4;
/// The program listens, and the tool knows it.
pub const LISTENING: u32 = 8;
/// What the program has set as `O_NONBLOCK`. What is really set belongs to all that share the
/// listener.
pub const NONBLOCKING: u32 = 16;
/// The first `accept` has been.
pub const ACCEPTS: u32 = 32;
/// The program has shut it down, for itself.
pub const SHUT: u32 = 64;

/// The program has connected to it itself, while retired.
pub const WOKEN: u32 = 128;

/// Of one socket.
pub struct Record {
    /// 0 where the record is free.
    inode: AtomicU64,
    flags: AtomicU32,
    /// How many descriptors are marked with it.
    marks: AtomicU32,
    /// What lies at a Unix socket's path.
    file_device: AtomicU64,
    file_inode: AtomicU64,
    asked: UnsafeCell<Address>,
    /// Who waits for it with `epoll`: descriptors plus 1.
    polls: [AtomicI32; POLLS],
}

// SAFETY: `asked` is written before the record has an inode, or by the program's own calls on one
// and the same socket between its `bind` and its `listen`, which follow each other.
unsafe impl Sync for Record {}

static TABLE: [Record; RECORDS] = [const {
    Record {
        inode: AtomicU64::new(0),
        flags: AtomicU32::new(0),
        marks: AtomicU32::new(0),
        file_device: AtomicU64::new(0),
        file_inode: AtomicU64::new(0),
        asked: UnsafeCell::new(Address::NONE),
        polls: [const { AtomicI32::new(0) }; POLLS],
    }
}; RECORDS];

/// By descriptor: the number of its record plus 1, [`OURS`], or 0.
static MARKS: [AtomicU8; DESCRIPTORS] = [const { AtomicU8::new(0) }; DESCRIPTORS];
/// The mark of the shim's own descriptors.
pub const OURS: u8 = u8::MAX;

/// Belongs to nobody yet.
const CLAIMED: u64 = u64::MAX;

impl Record {
    /// Whether all of these are set.
    pub fn is(&self, flags: u32) -> bool {
        self.flags.load(SeqCst) & flags == flags
    }

    /// Whether one of these is set.
    pub fn any(&self, flags: u32) -> bool {
        self.flags.load(SeqCst) & flags != 0
    }

    /// Sets or clears; says whether all were set before.
    pub fn set(&self, flags: u32, on: bool) -> bool {
        let before = if on {
            self.flags.fetch_or(flags, SeqCst)
        } else {
            self.flags.fetch_and(!flags, SeqCst)
        };
        before & flags == flags
    }

    pub fn inode(&self) -> u64 {
        self.inode.load(SeqCst)
    }

    pub fn asked(&self) -> Address {
        // SAFETY: see `Sync`.
        unsafe { *self.asked.get() }
    }

    /// The program has asked for that, or might as well have.
    pub fn set_asked(&self, asked: &Address) {
        // SAFETY: see `Sync`.
        unsafe { *self.asked.get() = *asked };
    }

    pub fn set_file(&self, file: Option<Identity>) {
        let (device, inode) = file.map_or((0, 0), |it| (it.device, it.inode));
        self.file_device.store(device, SeqCst);
        self.file_inode.store(inode, SeqCst);
    }

    /// Its number in the table.
    pub fn index(&self) -> usize {
        let start: *const Record = TABLE.as_ptr();
        (core::ptr::from_ref(self) as usize).wrapping_sub(start as usize) / size_of::<Self>()
    }

    /// The program waits for it with this `epoll`. The kernel would forget that with the socket's
    /// last descriptor, but there are others' now, and it would go on to report what has been closed.
    pub fn polled_by(&self, epoll: c_int) {
        let known = |it: &AtomicI32| it.load(SeqCst) == epoll.wrapping_add(1);
        if !self.polls.iter().any(known) {
            let free = |it: &&AtomicI32| {
                it.compare_exchange(0, epoll.wrapping_add(1), SeqCst, SeqCst).is_ok()
            };
            let _ = self.polls.iter().find(free);
        }
    }

    /// The descriptor is about to be closed.
    pub fn unpoll(&self, descriptor: c_int) {
        for epoll in self.polls.iter().map(|it| it.load(SeqCst)).filter(|it| *it > 0) {
            system::unpoll(epoll.wrapping_sub(1), descriptor);
        }
    }

    fn release(&self) {
        self.polls.iter().for_each(|it| it.store(0, SeqCst));
        if let Some(counter) = process::own().and_then(|own| own.wakes.get(self.index())) {
            let counter = counter.swap(0, SeqCst);
            if counter > 0 {
                crate::control::unkeep(counter.wrapping_sub(1));
            }
        }
        self.flags.store(0, SeqCst);
        self.set_file(None);
        self.inode.store(0, SeqCst);
    }
}

fn mark_of(descriptor: c_int) -> Option<&'static AtomicU8> {
    MARKS.get(usize::try_from(descriptor).ok()?)
}

/// The record that a mark stands for. It may be free by now, or another socket's.
fn record(mark: u8) -> Option<&'static Record> {
    TABLE.get(usize::from(mark).wrapping_sub(1))
}

/// The mark itself.
#[inline]
pub fn mark(descriptor: c_int) -> u8 {
    mark_of(descriptor).map_or(0, |it| it.load(SeqCst))
}

/// The record of which the descriptor may be.
#[inline]
pub fn hinted(descriptor: c_int) -> Option<&'static Record> {
    record(mark(descriptor))
}

/// The descriptors that may be of a socket which is known.
pub fn all() -> impl Iterator<Item = c_int> {
    let marked = |it: &(usize, &AtomicU8)| !matches!(it.1.load(SeqCst), 0 | OURS);
    MARKS.iter().enumerate().filter(marked).map(|(index, _)| index as c_int)
}

/// The record of which the descriptor is.
pub fn known(descriptor: c_int) -> Option<&'static Record> {
    let record = hinted(descriptor)?;
    let file = system::identity(descriptor);
    if file.is_some_and(|it| it.socket && it.inode == record.inode()) {
        return Some(record);
    }
    // Closed where the shim did not see it.
    if process::alone()
        && let Some(lost) = put_mark(descriptor, 0)
        && lost.told
        && process::first()
    {
        control::say(&lost.message());
    }
    None
}

/// Changes a mark. Says which record has lost its last one: it is free again.
fn put_mark(descriptor: c_int, new: u8) -> Option<Lost> {
    if let Some(record) = record(new) {
        record.marks.fetch_add(1, SeqCst);
    }
    let Some(mark) = mark_of(descriptor) else {
        if let Some(record) = record(new) {
            record.marks.fetch_sub(1, SeqCst);
        }
        return None;
    };
    let record = record(mark.swap(new, SeqCst))?;
    if record.marks.fetch_sub(1, SeqCst) != 1 {
        return None;
    }
    let lost = Lost { inode: record.inode(), told: record.any(TAKEN | LISTENING) };
    record.release();
    Some(lost)
}

/// A socket that the program has no known descriptor of any more.
pub struct Lost {
    pub inode: u64,
    /// Whether the tool has to do with it.
    pub told: bool,
}

impl Lost {
    /// What the tool is told.
    pub fn message(&self) -> Message {
        let mut message = Message::new(CLOSED);
        message.inode = self.inode;
        message
    }
}

/// Takes a descriptor as one of this socket, which the program has asked for by that address.
/// None where there is no room: then the socket is left to the program.
pub fn enter(
    descriptor: c_int,
    inode: u64,
    asked: &Address,
    file: Option<Identity>,
    flags: u32,
) -> Option<&'static Record> {
    mark_of(descriptor)?;
    let same = TABLE.iter().find(|it| it.inode() == inode);
    let record = same.or_else(|| {
        TABLE.iter().find(|it| it.inode.compare_exchange(0, CLAIMED, SeqCst, SeqCst).is_ok())
    })?;
    record.set_asked(asked);
    record.set_file(file);
    record.flags.store(flags, SeqCst);
    record.inode.store(inode, SeqCst);
    put_mark(descriptor, record.index().wrapping_add(1) as u8);
    Some(record)
}

/// The descriptor is none of a socket that is known.
pub fn forget(descriptor: c_int) -> Option<Lost> {
    put_mark(descriptor, 0)
}

/// `to` is another descriptor of what `from` is of.
pub fn copy(from: c_int, to: c_int) {
    if known(from).is_some() && process::alone() {
        put_mark(to, mark(from));
    }
}

/// The descriptor is one of the shim's own, or no longer.
pub fn set_ours(descriptor: c_int, ours: bool) {
    if let Some(mark) = mark_of(descriptor) {
        mark.store(if ours { OURS } else { 0 }, SeqCst);
    }
}

/// The descriptor is none of the shim's own, whatever it was.
pub fn set_ours_not(descriptor: c_int) {
    if mark(descriptor) == OURS {
        set_ours(descriptor, false);
    }
}

/// Whether the program itself has the listener that this file belongs to.
pub fn has_file(file: Identity) -> bool {
    TABLE.iter().any(|it| {
        it.inode() != 0
            && it.file_inode.load(SeqCst) == file.inode
            && it.file_device.load(SeqCst) == file.device
    })
}
