//! `bind` and `listen`. The first server's own are the kernel's, and its listener is handed to the
//! tool; the next server gets that listener in the place of its own socket. Wherever the tool does
//! not say so, they do what they do without us.

use core::ffi::c_int;

use crate::address::{self, Kind};
use crate::control::{self, Answer, PATIENCE};
use crate::listeners::{self, BOUND, LISTENING, NONBLOCKING, PENDING, Record, TAKEN};
use crate::real::{self, errno};
use crate::system::{
    self, EADDRINUSE, F_GETFD, F_GETFL, FD_CLOEXEC, IPPROTO_TCP, Identity, O_CLOEXEC, O_NONBLOCK,
    SO_ACCEPTCONN, SO_DOMAIN, SO_KEEPALIVE, SOL_SOCKET, TCP_DEFER_ACCEPT, TCP_FASTOPEN,
    TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_NODELAY, TCP_USER_TIMEOUT,
};
use crate::wire::{self, Address, DATAGRAM, Message, TAKE};
use crate::{accept, process};

/// `bind`.
///
/// # Safety
/// As `bind` demands.
pub unsafe fn bind(socket: c_int, address: *const u8, length: u32) -> c_int {
    // SAFETY: the caller's.
    let real = || unsafe { real::bind(socket, address, length) };
    if !control::talks() {
        return real();
    }
    // SAFETY: the caller's.
    let Some(asked) = (unsafe { Address::read(address, length) }) else { return real() };
    let Some(kind) = address::kind(socket, asked.family()) else { return real() };
    let mut question = question(wire::BIND, socket, &asked);
    if kind == Kind::Stream
        && !asked.any_port()
        && let Answer::Said(TAKE, Some(listener)) = control::ask(question, None, PATIENCE)
        && take(socket, listener, &asked, asked.file())
    {
        return 0;
    }
    let done = real();
    if done != 0 {
        if errno() == EADDRINUSE {
            question.kind = wire::IN_USE;
            question.flags |= if kind == Kind::Datagram { DATAGRAM } else { 0 };
            control::say(&question);
        }
    } else if kind == Kind::Stream {
        let flags = if asked.any_port() { PENDING } else { BOUND };
        if let Some(own) = system::identity(socket) {
            listeners::enter(socket, own.inode, &asked, asked.file(), flags);
        }
    }
    done
}

/// `listen`.
///
/// # Safety
/// As `listen` demands.
pub unsafe fn listen(socket: c_int, backlog: c_int) -> c_int {
    // SAFETY: the caller's.
    let real = || unsafe { real::listen(socket, backlog) };
    let Some(record) = listeners::known(socket).or_else(|| unbound(socket)) else {
        return real();
    };
    let mut record = record;
    if record.any(PENDING) {
        let asked = record.asked();
        let question = question(wire::LISTEN, socket, &asked);
        if let Answer::Said(TAKE, Some(listener)) = control::ask(question, None, PATIENCE)
            && take(socket, listener, &asked, None)
        {
            let Some(taken) = listeners::known(socket) else { return real() };
            record = taken;
        }
    }
    let done = real();
    if done != 0 {
        if errno() == EADDRINUSE && control::talks() {
            control::say(&question(wire::IN_USE, socket, &record.asked()));
        }
    } else if record.any(LISTENING) {
        accept::reopen(record);
    } else {
        tell(socket, record);
    }
    done
}

/// `getsockname` is about to be called: the port that a socket got for port 0 now has to stand, so
/// the listener that the server before got for its own is of no use.
#[inline]
pub fn looked_at(socket: c_int) {
    if listeners::mark(socket) != 0 {
        seen(socket);
    }
}

#[cold]
fn seen(socket: c_int) {
    if let Some(record) = listeners::known(socket)
        && record.any(PENDING)
        && process::alone()
    {
        if let Some(actual) = system::own_address(socket) {
            record.set_asked(&actual);
        }
        record.set(PENDING, false);
        record.set(BOUND, true);
    }
}

/// A socket that listens without ever being bound gets a port as if it were bound to port 0.
fn unbound(socket: c_int) -> Option<&'static Record> {
    if listeners::mark(socket) != 0 || !control::talks() {
        return None;
    }
    let domain = system::option(socket, SOL_SOCKET, SO_DOMAIN, 0 as c_int)? as u16;
    let asked = Address::unspecified(domain)?;
    let listens = system::option(socket, SOL_SOCKET, SO_ACCEPTCONN, 0 as c_int)? != 0;
    let bound = !system::own_address(socket)?.any_port();
    if listens || bound || address::kind(socket, domain)? != Kind::Stream {
        return None;
    }
    listeners::enter(socket, system::identity(socket)?.inode, &asked, None, PENDING)
}

fn question(kind: u8, socket: c_int, asked: &Address) -> Message {
    let mut question = Message::new(kind);
    question.asked = *asked;
    question.flags = address::flags(socket, asked);
    if let Some(file) = asked.file() {
        (question.file_device, question.file_inode) = (file.device, file.inode);
    }
    question
}

/// Puts the listener in the place of the program's socket.
fn take(socket: c_int, listener: c_int, asked: &Address, file: Option<Identity>) -> bool {
    let taken = put(socket, listener, asked, file);
    system::close(listener);
    taken.is_some()
}

fn put(socket: c_int, listener: c_int, asked: &Address, file: Option<Identity>) -> Option<()> {
    let Identity { inode, .. } = system::identity(listener)?;
    let closes = system::fcntl(socket, F_GETFD, 0).ok()? & FD_CLOEXEC != 0;
    let blocks = system::fcntl(socket, F_GETFL, 0).ok()? & O_NONBLOCK == 0;
    // Before it is there, so that nobody meets it unknown; the program waits for `bind`.
    let flags = if blocks { TAKEN } else { TAKEN | NONBLOCKING };
    copy_options(socket, listener);
    if !blocks {
        accept::unblock(listener);
    }
    listeners::enter(socket, inode, asked, file, flags)?;
    if !system::dup3(listener, socket, if closes { O_CLOEXEC } else { 0 }) {
        listeners::forget(socket);
        return None;
    }
    Some(())
}

/// What accepted connections inherit, as the program has set it.
fn copy_options(from: c_int, to: c_int) {
    for (level, name) in [
        (SOL_SOCKET, SO_KEEPALIVE),
        (IPPROTO_TCP, TCP_NODELAY),
        (IPPROTO_TCP, TCP_KEEPIDLE),
        (IPPROTO_TCP, TCP_KEEPINTVL),
        (IPPROTO_TCP, TCP_KEEPCNT),
        (IPPROTO_TCP, TCP_DEFER_ACCEPT),
        (IPPROTO_TCP, TCP_USER_TIMEOUT),
        (IPPROTO_TCP, TCP_FASTOPEN),
    ] {
        let value = |socket| system::option(socket, level, name, 0 as c_int);
        if let Some(wanted) = value(from)
            && value(to).is_some_and(|it| it != wanted)
        {
            system::set_option(to, level, name, wanted);
        }
    }
}

/// The program listens: the tool gets a socket of its own, or hears that its own one is used.
fn tell(socket: c_int, record: &Record) {
    if !control::talks() {
        return;
    }
    let taken = record.is(TAKEN);
    let asked = record.asked();
    let mut message = question(wire::LISTENING, socket, &asked);
    message.inode = record.inode();
    message.actual = system::own_address(socket).unwrap_or(Address::NONE);
    let descriptor = (!taken).then_some(socket);
    // Before the tool can retire us.
    if !taken {
        let flags = system::fcntl(socket, F_GETFL, 0).unwrap_or(0);
        record.set(NONBLOCKING, flags & O_NONBLOCK != 0);
    }
    record.set(LISTENING, true);
    let kept = match control::ask(message, descriptor, PATIENCE) {
        Answer::Said(kind, unasked) => {
            unasked.into_iter().for_each(system::close);
            kind != wire::LEFT
        }
        // It may yet share what it has been sent.
        Answer::Late => true,
        Answer::Nobody => false,
    };
    if !kept && !taken {
        record.set(LISTENING, false);
        listeners::forget(socket);
    }
}
