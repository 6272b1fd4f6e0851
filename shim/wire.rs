//! What the shim in a server and the tool say to each other: fixed messages over a nameless Unix
//! socket of whole packets (`SOCK_SEQPACKET`), and a page of memory that both see. The shim is built
//! with this file, and so is the tool (`src/server/adopt/`). No allocation, nothing of `std`.
//!
//! | the shim says | with | and hears |
//! |---|---|---|
//! | `HELLO`, before `main` | | nothing |
//! | `BIND`, before the system's `bind` | the address; of a Unix socket what lies there; `V6ONLY` | `TAKE` with a listener, or `OWN` |
//! | `LISTEN`, before the system's `listen` where `bind` was given port 0 | the address with port 0 | `TAKE` with a listener, or `OWN` |
//! | `LISTENING`, after `listen` | asked and actual address, the socket's inode, a socket of its own as descriptor | `KEPT` or `LEFT` |
//! | `ACCEPTING`, at the first `accept` and at each of the tool's own connections | | nothing |
//! | `IN_USE`, after `EADDRINUSE` | the address | nothing |
//! | `PASS`, while it is leaving, in place of closing a connection | the connection as descriptor | nothing |
//! | `PART`, while it is leaving, in place of shutting a connection down for writing | the connection as descriptor | nothing |
//! | `IDLE`, while it is retired, when its count of connections falls to 0 | | nothing |
//! | `CLOSED`, after the last descriptor that is known of a listener was closed | its inode | `DONE` |
//! | `EXEC`, before the program becomes another one, which may bind the same addresses | | `DONE` |
//!
//! A connection that the one server has passed may be handed to another one: it is laid into a socket
//! for that (`WELCOME`'s fourth descriptor), as `PASS` with the connection as descriptor and the inode of the
//! listener that it is for, and counted in the page. `accept` on that listener answers with it before all
//! others; a probe comes to wake who waits for one.
//!
//! A first `accept` is that of each process on each listener; where the server forks, children speak
//! as well. An address that was asked for comes without what does not count: no 0 at the end of a
//! path, no bytes behind an IPv4 address. Where a program looks which port it got for port 0
//! (`getsockname`) before it listens, no `LISTEN` comes, and `LISTENING` has that port as asked for.
//!
//! To retire a server, the tool writes the page first and the counters then, and to resume it as
//! well: who waits is woken by a counter, and looks at the page.
//!
//! An answer carries the question's sequence number. Both ends are the same machine and the same
//! build, so numbers lie as the machine has them.

/// The environment variable that names the shim's end of the socket by its number.
pub const VARIABLE: &[u8] = b"STARIO_ADOPT";

/// From the shim.
pub const HELLO: u8 = 1;
/// From the shim: the server binds an address (its port is not 0).
pub const BIND: u8 = 2;
/// From the shim: the server is about to listen on a socket that it has bound to port 0.
pub const LISTEN: u8 = 3;
/// From the shim: the server listens.
pub const LISTENING: u8 = 4;
/// From the shim: the server accepts.
pub const ACCEPTING: u8 = 5;
/// From the shim: the system says that an address is taken.
pub const IN_USE: u8 = 6;
/// From the shim: the server has closed a listener.
pub const CLOSED: u8 = 7;
/// From the shim: the server is retired, and has no connection left.
pub const IDLE: u8 = 8;

/// From the shim: the server has closed a connection, on which its client may ask once more.
pub const PASS: u8 = 9;

/// From the shim: the server has shut a connection down for writing, in its own eyes.
pub const PART: u8 = 10;

/// From the shim: the server is about to become another program, without the shim.
pub const EXEC: u8 = 11;

/// From the tool, before all else: its descriptors are the page; two event counters (`eventfd(2)`), of
/// which one can be read while the server is retired, the other one while it is not; and the socket
/// on which connections of other servers come.
pub const WELCOME: u8 = 16;
/// From the tool: take this listener for that address; it is the packet's descriptor.
pub const TAKE: u8 = 17;
/// From the tool: go on as without us.
pub const OWN: u8 = 18;
/// From the tool: the next server can have that listener as well.
pub const KEPT: u8 = 19;
/// From the tool: that listener is the server's own, and nothing is to be done about it.
pub const LEFT: u8 = 20;
/// From the tool: whatever there was to do is done.
pub const DONE: u8 = 21;

/// The socket's addresses are IPv6 alone (`IPV6_V6ONLY`).
pub const V6ONLY: u8 = 1;
/// The address is one of datagrams.
pub const DATAGRAM: u8 = 2;

/// The longest address: `sockaddr_storage`.
pub const ADDRESS: usize = 128;

/// An address as the system has it (`sockaddr`), of so many bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Address {
    pub length: u32,
    /// Aligned as `sockaddr_storage` is.
    pub bytes: Aligned,
}

/// The bytes of a `sockaddr`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Aligned(pub [u8; ADDRESS]);

impl Address {
    /// None.
    pub const NONE: Self = Self { length: 0, bytes: Aligned([0; ADDRESS]) };
}

/// A message of either side.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Message {
    /// What it says.
    pub kind: u8,
    /// `V6ONLY`, `DATAGRAM`.
    pub flags: u8,
    /// Of a question, and of its answer.
    pub sequence: u16,
    /// For alignment; 0.
    pub reserved: u32,
    /// Of the listener (`LISTENING`, `ACCEPTING`, `CLOSED`): what tells it from every other socket.
    pub inode: u64,
    /// Of the file at a Unix socket's path; 0 where there is none.
    pub file_device: u64,
    pub file_inode: u64,
    /// As the server has asked for it.
    pub asked: Address,
    /// As it is (`getsockname`), in `LISTENING`.
    pub actual: Address,
}

/// The bytes of a message.
pub const MESSAGE: usize = size_of::<Message>();

impl Message {
    /// Says nothing else.
    pub const fn new(kind: u8) -> Self {
        Self {
            kind,
            flags: 0,
            sequence: 0,
            reserved: 0,
            inode: 0,
            file_device: 0,
            file_inode: 0,
            asked: Address::NONE,
            actual: Address::NONE,
        }
    }
}

/// How large the page is.
pub const PAGE: usize = 4096;

/// Where things lie in the page that both see. The tool writes with `pwrite(2)`; the shim maps it.
pub mod page {
    /// `u32`, from the tool: 1 while the server is retired.
    pub const RETIRED: usize = 0;
    /// `u32`, from the tool: not 0 while a connection of the tool's own may come. That is one from
    /// this TCP port, or, with `PROBE_UNIX`, from the process `TOOL`.
    pub const PROBE: usize = 4;
    /// A value of `PROBE`.
    pub const PROBE_UNIX: u32 = 1 << 16;
    /// `u32`, from the tool: its process id.
    pub const TOOL: usize = 8;
    /// `u32`, from the tool: 1 once the server is retired and asked to stop. From then on it passes
    /// connections in place of closing them.
    pub const LEAVING: usize = 12;
    /// `u64`, from the shim: connections that the server has accepted and not closed, and calls that
    /// are about to accept one. It goes up before the shim looks at `RETIRED`: where the tool has
    /// set that and then reads 0 here, nothing more is accepted.
    pub const CONNECTIONS: usize = 16;
    /// `u32`, from the tool: 1 once the server is retired and the next one accepts. From then on it
    /// passes a connection in place of reading another request from it.
    pub const DRAINS: usize = 24;
    /// `u32`, from the tool: how many files of Unix sockets follow.
    pub const FILES: usize = 32;
    /// `u32`, from the tool: how many connections of other servers it has laid there for this one, so
    /// far.
    pub const HANDED: usize = 36;
    /// Pairs of `u64`, from the tool: device and inode of each. Whoever has just got the socket, or
    /// is retired, must not remove it.
    pub const FILE: usize = 40;
    /// No more files than these.
    pub const MOST_FILES: usize = 32;
}
