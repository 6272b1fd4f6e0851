//! Talking to the tool: one question at a time, and only from the process that the tool has started.
//! Whatever goes wrong here leaves the program with its own `bind`.
//!
//! The shim's descriptors have high numbers, so that the program gets those that it would get
//! without. A program that closes all that it does not know of is not told that ours exist; where it
//! does so behind the shim's back, the inodes do not match any more, and no question is asked.

use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst,
};

use crate::system::{
    self, EAGAIN, EINTR, ETOOMANYREFS, F_DUPFD_CLOEXEC, Header, Identity, MSG_CMSG_CLOEXEC,
    MSG_DONTWAIT, MSG_NOSIGNAL, Part, RIGHTS_HEAD, Rights, SCM_RIGHTS, SOL_SOCKET,
};
use crate::wire::{self, MESSAGE, Message, PAGE, WELCOME};
use crate::{listeners, page, process};

/// For an answer to a question that changes what the program gets.
pub const PATIENCE: u64 = 2000;
/// For an answer that only says that the tool is done.
pub const BRIEFLY: u64 = 1000;

/// A descriptor of ours, and which file it has to be of.
struct Kept {
    descriptor: AtomicI32,
    device: AtomicU64,
    inode: AtomicU64,
}

impl Kept {
    const fn none() -> Self {
        Self { descriptor: AtomicI32::new(-1), device: AtomicU64::new(0), inode: AtomicU64::new(0) }
    }

    fn set(&self, descriptor: c_int) -> bool {
        let Some(file) = system::identity(descriptor) else { return false };
        self.device.store(file.device, SeqCst);
        self.inode.store(file.inode, SeqCst);
        self.descriptor.store(descriptor, SeqCst);
        true
    }

    /// Whether it still is what it was.
    fn get(&self) -> Option<c_int> {
        let descriptor = self.descriptor.load(SeqCst);
        let Identity { device, inode, .. } = system::identity(descriptor)?;
        let same = device == self.device.load(SeqCst) && inode == self.inode.load(SeqCst);
        same.then_some(descriptor)
    }
}

static CONTROL: Kept = Kept::none();
static RETIRED: Kept = Kept::none();
static ACTIVE: Kept = Kept::none();
static HANDED: Kept = Kept::none();

/// Whether the tool may answer. Once it is gone it does not come back.
static TALKS: AtomicBool = AtomicBool::new(false);
static SEQUENCE: AtomicU16 = AtomicU16::new(0);

/// A descriptor as a high one, the given one closed. As it is where there is no higher one.
pub fn keep(descriptor: c_int) -> c_int {
    // The kernel's table is as long as the highest number, so not too high.
    for lowest in [960, 480, 240, 120, 60, 30] {
        if let Ok(high) = system::fcntl(descriptor, F_DUPFD_CLOEXEC, lowest) {
            system::close(descriptor);
            listeners::set_ours(high, true);
            return high;
        }
    }
    listeners::set_ours(descriptor, true);
    descriptor
}

/// Closes a descriptor that was kept.
pub fn unkeep(descriptor: c_int) {
    listeners::set_ours(descriptor, false);
    system::close(descriptor);
}

/// Whether this descriptor, marked as ours, still is.
pub fn is_ours(descriptor: c_int) -> bool {
    let waking = process::own().is_some_and(|own| {
        own.wakes.iter().any(|it| it.load(SeqCst) == descriptor.wrapping_add(1))
    });
    waking || [&CONTROL, &RETIRED, &ACTIVE, &HANDED].iter().any(|it| it.get() == Some(descriptor))
}

/// Receives what the tool has sent before this process was started, and answers. False, and all is
/// as without a tool, where anything is missing.
pub fn start(descriptor: c_int) -> bool {
    if system::identity(descriptor).is_none_or(|file| !file.socket) {
        return false;
    }
    let control = keep(descriptor);
    let Ok(Some(Packet { message, descriptors: [page, retired, active, handed] })) =
        receive(control)
    else {
        unkeep(control);
        return false;
    };
    let place = system::map(Some(page), PAGE);
    drop_received(page);
    let (retired, active, handed) = (keep(retired), keep(active), keep(handed));
    let ready = message.kind == WELCOME
        && CONTROL.set(control)
        && RETIRED.set(retired)
        && ACTIVE.set(active)
        && HANDED.set(handed)
        && process::start();
    match place {
        Some(place) if ready && say(&Message::new(wire::HELLO)) => {
            // SAFETY: just mapped, as long as the page is, and never unmapped.
            unsafe { page::set(place) };
            TALKS.store(true, SeqCst);
            true
        }
        _ => {
            [control, retired, active, handed].into_iter().filter(|it| *it >= 0).for_each(unkeep);
            false
        }
    }
}

/// The counter that can be read while the server is retired.
pub fn retired() -> Option<c_int> {
    RETIRED.get()
}

/// The counter that can be read while the server is not retired.
pub fn active() -> Option<c_int> {
    ACTIVE.get()
}

/// Whether there is a tool, and it can be asked.
pub fn talks() -> bool {
    TALKS.load(SeqCst) && process::first() && CONTROL.get().is_some()
}

/// Tells the tool something that needs no answer.
pub fn say(message: &Message) -> bool {
    CONTROL.get().is_some_and(|control| send(control, message, None).is_ok())
}

/// Gives the tool a descriptor, with a message that needs no answer. Where very many come at once, the
/// system takes no more of them for a moment, until the tool has: that is waited for, but not time and
/// again.
pub fn hand_up(message: &Message, descriptor: c_int) -> bool {
    /// The tool has not taken what it was to take.
    static STUCK: AtomicBool = AtomicBool::new(false);
    let Some(control) = CONTROL.get() else { return false };
    let deadline = system::now().wrapping_add(BRIEFLY);
    loop {
        let Err(error) = send(control, message, Some(descriptor)) else { return true };
        if STUCK.load(SeqCst) {
            return false;
        }
        let left = deadline.saturating_sub(system::now());
        match error {
            EAGAIN | ETOOMANYREFS if left == 0 => STUCK.store(true, SeqCst),
            EAGAIN => drop(system::writable(control, left)),
            // Descriptors on their way count for each user: nothing says when there are fewer.
            ETOOMANYREFS => system::sleep(1),
            EINTR => {}
            _ => return false,
        }
    }
}

/// A connection that another server has passed, and the tool has laid there, with the inode of the
/// listener that it is for.
pub fn handed() -> Option<(c_int, u64)> {
    let handed = HANDED.get()?;
    match receive(handed) {
        Ok(Some(Packet { message, descriptors: [first, ..] })) if first >= 0 => {
            Some((first, message.inode))
        }
        _ => None,
    }
}

/// What came of a question.
pub enum Answer {
    /// That kind of message, with a descriptor where it has one.
    Said(u8, Option<c_int>),
    /// None came in time. The question was heard, or may yet be.
    Late,
    /// Nobody can be asked.
    Nobody,
}

/// Asks the tool and waits. One at a time: the others wait for their turn as long.
pub fn ask(mut question: Message, descriptor: Option<c_int>, patience: u64) -> Answer {
    if !talks() {
        return Answer::Nobody;
    }
    let deadline = system::now().wrapping_add(patience);
    let Some(_turn) = Turn::wait(deadline) else { return Answer::Nobody };
    let Some(control) = CONTROL.get() else { return Answer::Nobody };
    question.sequence = SEQUENCE.fetch_add(1, SeqCst).wrapping_add(1);
    if send(control, &question, descriptor).is_err() {
        return gone();
    }
    loop {
        match receive(control) {
            Ok(Some(Packet { message, descriptors: [first, rest @ ..] })) => {
                rest.into_iter().for_each(drop_received);
                if message.sequence == question.sequence {
                    return Answer::Said(message.kind, (first >= 0).then_some(first));
                }
                // To a question that was given up.
                drop_received(first);
            }
            Err(EAGAIN | EINTR) => {
                let left = deadline.saturating_sub(system::now());
                if left == 0 {
                    return Answer::Late;
                }
                let _ = system::readable(control, left);
            }
            Ok(None) | Err(_) => return gone(),
        }
    }
}

fn gone() -> Answer {
    TALKS.store(false, SeqCst);
    Answer::Nobody
}

fn drop_received(descriptor: c_int) {
    if descriptor >= 0 {
        system::close(descriptor);
    }
}

/// Sends a packet, with a descriptor. Never waits: a tool that does not read is none.
fn send(control: c_int, message: &Message, descriptor: Option<c_int>) -> Result<(), c_int> {
    let mut part = Part { start: core::ptr::from_ref(message).cast_mut().cast(), length: MESSAGE };
    let mut rights = Rights {
        length: RIGHTS_HEAD.wrapping_add(size_of::<c_int>()),
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        descriptors: [descriptor.unwrap_or(-1), -1, -1, -1],
    };
    let mut header = header(&mut part);
    if descriptor.is_some() {
        header.control = (&raw mut rights).cast();
        header.control_length = 24;
    }
    // SAFETY: all that the header names lives in this function.
    unsafe { system::sendmsg(control, &header, MSG_DONTWAIT | MSG_NOSIGNAL) }.map(|_| ())
}

fn header(part: &mut Part) -> Header {
    Header {
        name: core::ptr::null_mut(),
        name_length: 0,
        parts: part,
        part_count: 1,
        control: core::ptr::null_mut(),
        control_length: 0,
        flags: 0,
    }
}

/// What the tool has said. A descriptor that it did not send is -1.
struct Packet {
    message: Message,
    descriptors: [c_int; 4],
}

/// The next packet that has come. None at the end.
fn receive(control: c_int) -> Result<Option<Packet>, c_int> {
    let mut message = MaybeUninit::<Message>::zeroed();
    let mut part = Part { start: message.as_mut_ptr().cast(), length: MESSAGE };
    let mut rights = Rights { length: 0, level: 0, kind: 0, descriptors: [-1; 4] };
    let mut header = header(&mut part);
    header.control = (&raw mut rights).cast();
    header.control_length = size_of::<Rights>();
    // SAFETY: all that the header names lives in this function.
    let length = unsafe { system::recvmsg(control, &mut header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) }?;
    if length == 0 {
        return Ok(None);
    }
    // SAFETY: plain numbers; what was not received is 0.
    let message = unsafe { message.assume_init() };
    Ok(Some(Packet { message, descriptors: rights.descriptors }))
}

/// 0: free. 1: somebody's. 2: somebody's, and others wait.
static TURN: AtomicU32 = AtomicU32::new(0);

/// The right to ask.
struct Turn;

impl Turn {
    fn wait(deadline: u64) -> Option<Self> {
        if TURN.compare_exchange(0, 1, SeqCst, SeqCst).is_ok() {
            return Some(Self);
        }
        while TURN.swap(2, SeqCst) != 0 {
            let left = deadline.saturating_sub(system::now());
            if left == 0 {
                return None;
            }
            system::futex_wait(&TURN, 2, left);
        }
        Some(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if TURN.swap(0, SeqCst) == 2 {
            system::futex_wake(&TURN);
        }
    }
}
