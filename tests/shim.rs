//! The shim in real programs: `fixtures/sockets`, which does what a test tells it, and a tool that
//! the test plays itself.

#![cfg(all(target_os = "linux", adopt_shim))]

#[allow(dead_code, unreachable_pub, reason = "for both sides, of which this is one")]
#[path = "../shim/wire.rs"]
mod wire;

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::{MaybeUninit, offset_of};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Pid, Signal, kill_process};
use wire::{
    ACCEPTING, Address, BIND, CLOSED, DATAGRAM, DONE, HELLO, IDLE, IN_USE, KEPT, LISTEN, LISTENING,
    MESSAGE, Message, OWN, PAGE, PART, PASS, TAKE, V6ONLY, WELCOME, page,
};

/// Longer than anything takes on a busy machine. Only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

const SHIM: &str = concat!(env!("OUT_DIR"), "/libstario_shim.so");

/// The program under test, built once.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sockets");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sockets");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--target-dir"])
            .arg(&target)
            .current_dir(folder)
            .status();
        assert!(built.expect("cargo").success());
        target.join("debug/sockets")
    })
}

/// What the shim has said.
#[derive(Debug)]
struct Heard {
    kind: u8,
    flags: u8,
    sequence: u16,
    inode: u64,
    file: (u64, u64),
    asked: Vec<u8>,
    actual: Vec<u8>,
    /// Until the tool takes it.
    descriptor: Option<OwnedFd>,
    /// Whether there was one.
    with_descriptor: bool,
}

impl Heard {
    fn read(bytes: &[u8; MESSAGE], descriptor: Option<OwnedFd>) -> Self {
        let eight = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        let address = |at: usize| {
            let length = u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
            let start = at + offset_of!(Address, bytes);
            bytes[start..start + length as usize].to_vec()
        };
        let at = offset_of!(Message, sequence);
        Self {
            kind: bytes[offset_of!(Message, kind)],
            flags: bytes[offset_of!(Message, flags)],
            sequence: u16::from_ne_bytes([bytes[at], bytes[at + 1]]),
            inode: eight(offset_of!(Message, inode)),
            file: (eight(offset_of!(Message, file_device)), eight(offset_of!(Message, file_inode))),
            asked: address(offset_of!(Message, asked)),
            actual: address(offset_of!(Message, actual)),
            with_descriptor: descriptor.is_some(),
            descriptor,
        }
    }

    fn port(&self) -> u16 {
        u16::from_be_bytes([self.actual[2], self.actual[3]])
    }
}

fn message(kind: u8, sequence: u16) -> [u8; MESSAGE] {
    let mut bytes = [0; MESSAGE];
    bytes[offset_of!(Message, kind)] = kind;
    let at = offset_of!(Message, sequence);
    bytes[at..at + 2].copy_from_slice(&sequence.to_ne_bytes());
    bytes
}

fn send(socket: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(rights.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut rights, SendFlags::NOSIGNAL).map(|_| ())
}

/// The next packet; none at the end.
fn receive(socket: &OwnedFd) -> Option<Heard> {
    let mut bytes = [0; MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let got = recvmsg(socket, &mut parts, &mut rights, RecvFlags::CMSG_CLOEXEC).ok()?;
    let mut descriptor = None;
    for message in rights.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            descriptor = descriptors.next();
        }
    }
    (got.bytes == MESSAGE).then(|| Heard::read(&bytes, descriptor))
}

/// A listener that the tool has.
struct Listener {
    asked: Vec<u8>,
    flags: u8,
    inode: u64,
    socket: OwnedFd,
}

/// What the tool knows across servers.
#[derive(Clone, Default)]
struct Tool(Arc<Mutex<Vec<Listener>>>);

impl Tool {
    /// Starts the program with the shim, and answers it.
    fn start(&self) -> Server {
        let tool = self.clone();
        Server::start(Vec::new(), move |heard| tool.answer(heard))
    }

    fn answer(&self, heard: &mut Heard) -> Option<(u8, Option<OwnedFd>)> {
        let mut kept = self.0.lock().unwrap();
        match heard.kind {
            BIND | LISTEN => {
                let same =
                    kept.iter().find(|it| it.asked == heard.asked && it.flags == heard.flags);
                let copy = same.map(|it| it.socket.try_clone().unwrap());
                Some((if copy.is_some() { TAKE } else { OWN }, copy))
            }
            LISTENING => {
                if let Some(socket) = heard.descriptor.take() {
                    let (asked, flags, inode) = (heard.asked.clone(), heard.flags, heard.inode);
                    kept.push(Listener { asked, flags, inode, socket });
                }
                Some((KEPT, None))
            }
            CLOSED => {
                kept.retain(|it| it.inode != heard.inode);
                Some((DONE, None))
            }
            _ => None,
        }
    }
}

/// A program with the shim in it, and the tool's end of what they share.
struct Server {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// What other threads of the program have said meanwhile.
    backlog: VecDeque<String>,
    heard: Receiver<Heard>,
    page: OwnedFd,
    retired: OwnedFd,
    active: OwnedFd,
    /// Where connections of other servers are laid for it.
    hand: OwnedFd,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(
        environment: Vec<(&str, String)>,
        mut answer: impl FnMut(&mut Heard) -> Option<(u8, Option<OwnedFd>)> + Send + 'static,
    ) -> Self {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        let page = memfd_create("page", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&page, PAGE as u64).unwrap();
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let (retired, active) = (eventfd(0, flags).unwrap(), eventfd(1, flags).unwrap());
        let (hand, its_hand) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        let welcome = [page.as_fd(), retired.as_fd(), active.as_fd(), its_hand.as_fd()];
        send(&ours, &message(WELCOME, 0), &welcome).unwrap();
        let mut command = Command::new(program());
        // What the tests themselves are told.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STARIO")) {
            command.env_remove(name);
        }
        command
            .env("STARIO_ADOPT", "3")
            .env("LD_PRELOAD", SHIM)
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .fd_mappings(vec![FdMapping { parent_fd: theirs, child_fd: 3 }])
            .unwrap();
        let mut child = command.spawn().unwrap();
        drop(command);
        let (say, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| say.send(line))
        });
        let (tell, heard) = channel();
        thread::spawn(move || {
            while let Some(mut heard) = receive(&ours) {
                let sequence = heard.sequence;
                let answer = answer(&mut heard);
                // First the test: whoever has the program's answer finds this here.
                if tell.send(heard).is_err() {
                    break;
                }
                if let Some((kind, descriptor)) = answer {
                    let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
                    let _ = send(&ours, &message(kind, sequence), &descriptors);
                }
            }
        });
        let input = child.stdin.take();
        Self { child, input, lines, backlog: VecDeque::new(), heard, page, retired, active, hand }
    }

    fn write(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line of that thread, or of the program's first one.
    fn line(&mut self, thread: Option<&str>) -> String {
        let mark = thread.map(|name| format!("@{name} "));
        let mine = |line: &String| match &mark {
            Some(mark) => line.starts_with(mark),
            None => !line.starts_with('@'),
        };
        let line = match self.backlog.iter().position(mine) {
            Some(at) => self.backlog.remove(at).unwrap(),
            None => loop {
                let line = self.lines.recv_timeout(PATIENCE).expect("an answer");
                if mine(&line) {
                    break line;
                }
                self.backlog.push_back(line);
            },
        };
        mark.map_or(line.clone(), |mark| line[mark.len()..].to_owned())
    }

    /// Has it done.
    fn does(&mut self, what: &str) -> String {
        self.write(what);
        self.line(None)
    }

    /// Has it begun, in a thread of that name, which soon waits for a connection.
    fn begins(&mut self, name: &str, what: &str) {
        self.write(&format!("@{name} {what}"));
        self.waits(1);
    }

    /// What the shim says next.
    fn hears(&self) -> Heard {
        loop {
            let heard = self.heard.recv_timeout(PATIENCE).expect("a message");
            // Who looks whether it may accept counts for that moment.
            if heard.kind != IDLE {
                return heard;
            }
        }
    }

    fn hears_kind(&self, kind: u8) -> Heard {
        let heard = self.hears();
        assert_eq!(heard.kind, kind, "{heard:?}");
        heard
    }

    /// What it says next of that kind.
    fn hears_of(&self, kind: u8) -> Heard {
        loop {
            let heard = self.hears();
            if heard.kind == kind {
                return heard;
            }
        }
    }

    /// Whether nothing was said but that.
    fn heard_only(&self, kinds: &[u8]) {
        // Who looks whether it may accept counts for that moment.
        let heard: Vec<_> =
            self.heard.try_iter().map(|it| it.kind).filter(|kind| *kind != IDLE).collect();
        assert_eq!(heard, kinds);
    }

    /// Returns once so many threads wait in `poll`.
    fn waits(&self, threads: usize) {
        // As the machines count their system calls.
        let polls = if cfg!(target_arch = "x86_64") { ["7 ", "271 "] } else { ["73 ", "73 "] };
        loop {
            let waiting = fs::read_dir(format!("/proc/{}/task", self.child.id()))
                .unwrap()
                .filter_map(|task| fs::read_to_string(task.unwrap().path().join("syscall")).ok())
                .filter(|call| polls.iter().any(|poll| call.starts_with(poll)))
                .count();
            if waiting >= threads {
                return;
            }
            thread::yield_now();
        }
    }

    fn set(&self, offset: usize, value: &[u8]) {
        rustix::io::pwrite(&self.page, value, offset as u64).unwrap();
    }

    fn get(&self, offset: usize) -> u64 {
        let mut bytes = [0; 8];
        rustix::io::pread(&self.page, &mut bytes, offset as u64).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn retire(&self) {
        self.set(page::RETIRED, &1_u32.to_ne_bytes());
        rustix::io::read(&self.active, &mut [0; 8]).unwrap();
        rustix::io::write(&self.retired, &1_u64.to_ne_bytes()).unwrap();
    }

    fn resume(&self) {
        self.set(page::RETIRED, &0_u32.to_ne_bytes());
        rustix::io::read(&self.retired, &mut [0; 8]).unwrap();
        rustix::io::write(&self.active, &1_u64.to_ne_bytes()).unwrap();
    }

    /// Lists the file of a Unix socket.
    fn lists(&self, path: &Path) {
        let file = path.symlink_metadata().unwrap();
        self.set(page::FILE, &file.dev().to_ne_bytes());
        self.set(page::FILE + 8, &file.ino().to_ne_bytes());
        self.set(page::FILES, &1_u32.to_ne_bytes());
    }

    /// Lays a connection there for it.
    fn gives(&self, connection: &TcpStream, listener: u64, count: u32) {
        let mut bytes = message(PASS, 0);
        let at = offset_of!(Message, inode);
        bytes[at..at + 8].copy_from_slice(&listener.to_ne_bytes());
        send(&self.hand, &bytes, &[connection.as_fd()]).unwrap();
        self.set(page::HANDED, &count.to_ne_bytes());
    }

    /// Ends it; what it had is closed.
    fn ends(mut self) {
        self.write("exit");
        self.child.wait().unwrap();
    }
}

/// A port that nobody has. Somebody else may get it until it is used, but not soon.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn connect(port: u16) -> TcpStream {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes first.
fn first(mut stream: impl Read) -> String {
    let mut bytes = [0; 100];
    let count = stream.read(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

/// The program has accepted this connection, as that descriptor: it can be talked to.
fn talks(server: &mut Server, accepted: &str, stream: impl Read) {
    let fd = accepted.split(' ').next().unwrap();
    assert_eq!(server.does(&format!("write {fd} hello")), "5", "accepted: {accepted}");
    assert_eq!(first(stream), "hello");
    assert_eq!(server.does(&format!("close {fd}")), "0");
}

#[test]
fn what_the_first_server_binds_the_next_one_gets_and_both_accept_from_one_queue() {
    let (tool, port) = (Tool::default(), free_port());
    let mut one = tool.start();
    one.hears_kind(HELLO);
    assert_eq!(one.does(&format!("std-listen 127.0.0.1:{port}")), "3");
    let asked = one.hears_kind(BIND);
    let listening = one.hears_kind(LISTENING);
    assert_eq!((&listening.asked, listening.port()), (&asked.asked, port));
    assert!(listening.with_descriptor, "a listener of the tool's own");
    let mut two = tool.start();
    two.hears_kind(HELLO);
    assert_eq!(two.does(&format!("std-listen 127.0.0.1:{port}")), "3");
    two.hears_kind(BIND);
    let taken = two.hears_kind(LISTENING);
    assert_eq!((taken.inode, taken.port()), (listening.inode, port), "the same socket");
    assert!(!taken.with_descriptor, "the tool has it");
    for server in [&mut one, &mut two] {
        let stream = connect(port);
        let accepted = server.does("std-accept 3");
        talks(server, &accepted, stream);
        assert_eq!(server.hears_kind(ACCEPTING).inode, listening.inode);
        assert_eq!(server.get(page::CONNECTIONS), 0);
    }
    // The first one's end is nobody's loss.
    one.ends();
    let stream = connect(port);
    let accepted = two.does("std-accept 3");
    assert_eq!(two.get(page::CONNECTIONS), 1);
    talks(&mut two, &accepted, stream);
    two.heard_only(&[]);
}

#[test]
fn a_blocked_thread_waits_while_it_is_retired_and_accepts_when_it_is_resumed() {
    let (tool, port) = (Tool::default(), free_port());
    let listen = format!("std-listen 127.0.0.1:{port}");
    let (mut one, mut two) = (tool.start(), tool.start());
    assert_eq!((one.does(&listen), two.does(&listen)), ("3".into(), "3".into()));
    one.begins("a", "std-accept 3");
    assert_eq!(one.does("getfl 3"), "blocks", "as far as the program knows");
    one.retire();
    let stream = connect(port);
    let accepted = two.does("std-accept 3");
    talks(&mut two, &accepted, stream);
    two.retire();
    let stream = connect(port);
    one.waits(1);
    one.resume();
    let accepted = one.line(Some("a"));
    talks(&mut one, &accepted, stream);
}

#[test]
fn who_does_not_block_hears_that_there_is_nothing_while_it_is_retired() {
    let (tool, port) = (Tool::default(), free_port());
    let mut one = tool.start();
    assert_eq!(one.does(&format!("std-listen 127.0.0.1:{port}")), "3");
    assert_eq!(one.does("std-nonblocking 3 1"), "0");
    assert_eq!(one.does("accept 3"), "EAGAIN");
    one.retire();
    let stream = connect(port);
    assert_eq!((one.does("poll 3"), one.does("epoll 3")), ("1".into(), "1".into()));
    assert_eq!(one.does("accept 3"), "EAGAIN");
    one.resume();
    let accepted = one.does("accept 3");
    talks(&mut one, &accepted, stream);
}

#[test]
fn whether_it_blocks_is_each_servers_own() {
    let (tool, port) = (Tool::default(), free_port());
    let listen = format!("std-listen 127.0.0.1:{port}");
    let (mut one, mut two) = (tool.start(), tool.start());
    assert_eq!((one.does(&listen), two.does(&listen)), ("3".into(), "3".into()));
    for (set, on) in [("std-nonblocking 3", 1), ("setfl 3", 0), ("setfl 3", 1), ("fionbio 3", 0)] {
        assert_eq!(one.does(&format!("{set} {on}")), "0", "{set}");
        let now = if on == 1 { "does not block" } else { "blocks" };
        assert_eq!((one.does("getfl 3").as_str(), two.does("getfl 3").as_str()), (now, "blocks"));
        two.begins("a", "accept 3");
        if on == 1 {
            assert_eq!(one.does("accept 3"), "EAGAIN");
        }
        let stream = connect(port);
        let accepted = two.line(Some("a"));
        talks(&mut two, &accepted, stream);
    }
    // One that does not block from the start, as asynchronous ones are.
    let mut three = tool.start();
    assert_eq!(three.does("socket inet stream nonblock"), "3");
    assert_eq!(three.does(&format!("bind 3 127.0.0.1:{port}")), "0");
    assert_eq!(
        (three.does("getfl 3").as_str(), three.does("getfd 3").as_str()),
        ("does not block", "1")
    );
    assert_eq!((three.does("listen 3 5"), three.does("accept 3")), ("0".into(), "EAGAIN".into()));
    one.begins("a", "accept 3");
    let stream = connect(port);
    let accepted = one.line(Some("a"));
    talks(&mut one, &accepted, stream);
}

#[test]
fn many_threads_accept_and_none_waits_for_what_another_one_got() {
    let (tool, port) = (Tool::default(), free_port());
    let listen = format!("std-listen 127.0.0.1:{port}");
    let (mut one, mut two) = (tool.start(), tool.start());
    assert_eq!((one.does(&listen), two.does(&listen)), ("3".into(), "3".into()));
    for thread in 0..8 {
        one.write(&format!("@{thread} std-accept 3"));
        two.write(&format!("@{thread} std-accept 3"));
    }
    one.waits(8);
    two.waits(8);
    let streams: Vec<_> = (0..16).map(|_| connect(port)).collect();
    for thread in 0..8 {
        for server in [&mut one, &mut two] {
            let accepted = server.line(Some(&thread.to_string()));
            assert!(accepted.contains("127.0.0.1"), "{accepted}");
        }
    }
    assert_eq!((one.get(page::CONNECTIONS), two.get(page::CONNECTIONS)), (8, 8));
    drop(streams);
}

#[test]
fn the_tools_own_connection_is_nobodys() {
    let (tool, port) = (Tool::default(), free_port());
    let mut one = tool.start();
    assert_eq!(one.does(&format!("std-listen 127.0.0.1:{port}")), "3");
    one.begins("a", "accept4 3");
    one.hears_of(ACCEPTING);
    // Its port is known once it is connected; the server meets it when it is known.
    one.retire();
    let probe = connect(port);
    one.set(page::PROBE, &u32::from(probe.local_addr().unwrap().port()).to_ne_bytes());
    one.resume();
    one.hears_kind(ACCEPTING);
    let closed = (&probe).read(&mut [0; 100]).map_err(|error| error.kind());
    assert_eq!(
        closed,
        Err(std::io::ErrorKind::ConnectionReset),
        "closed, and nothing of it lingers"
    );
    let stream = connect(port);
    let accepted = one.line(Some("a"));
    assert!(accepted.ends_with(" 16"), "the address's length is the kernel's: {accepted}");
    talks(&mut one, &accepted, stream);
    assert_eq!(one.get(page::CONNECTIONS), 0);
    // Who does not block goes round as well.
    assert_eq!(one.does("setfl 3 1"), "0");
    let probe = connect(port);
    one.set(page::PROBE, &u32::from(probe.local_addr().unwrap().port()).to_ne_bytes());
    assert_eq!(one.does("accept 3"), "EAGAIN");
    one.hears_kind(ACCEPTING);
}

#[test]
fn the_tools_own_connection_that_was_given_up_is_nobodys_either() {
    let (tool, port) = (Tool::default(), free_port());
    let mut one = tool.start();
    assert_eq!(one.does(&format!("std-listen 127.0.0.1:{port}")), "3");
    let probe = connect(port);
    one.set(page::PROBE, &u32::from(probe.local_addr().unwrap().port()).to_ne_bytes());
    // The kernel takes it to its queue all the same, and does not know any more where it came from.
    rustix::net::sockopt::set_socket_linger(&probe, Some(Duration::ZERO)).unwrap();
    drop(probe);
    let stream = connect(port);
    let accepted = one.does("accept4 3");
    talks(&mut one, &accepted, stream);
    assert_eq!(one.get(page::CONNECTIONS), 0);
}

#[test]
fn a_retired_server_that_has_no_connection_left_says_so() {
    let (tool, port) = (Tool::default(), free_port());
    let mut one = tool.start();
    one.does(&format!("std-listen 127.0.0.1:{port}"));
    one.hears_of(LISTENING);
    let streams = [connect(port), connect(port)];
    let accepted = [one.does("std-accept 3"), one.does("std-accept 3")];
    one.hears_kind(ACCEPTING);
    assert_eq!(one.get(page::CONNECTIONS), 2);
    one.retire();
    for (stream, accepted) in streams.into_iter().zip(accepted) {
        assert!(one.heard.try_recv().is_err(), "it has one yet");
        talks(&mut one, &accepted, stream);
    }
    assert_eq!(one.get(page::CONNECTIONS), 0);
    assert_eq!(one.heard.recv_timeout(PATIENCE).map(|it| it.kind), Ok(IDLE));
}

#[test]
fn a_leaving_server_passes_what_it_closes() {
    let port = free_port();
    for how in ["close", "shutdown-write"] {
        let mut one = Server::start(Vec::new(), |heard| match heard.kind {
            LISTENING => Some((KEPT, None)),
            BIND => Some((OWN, None)),
            _ => None,
        });
        one.does(&format!("std-listen 127.0.0.1:{port}"));
        one.hears_of(LISTENING);
        let (kept, mut asking) = (connect(port), connect(port));
        let accepted = [one.does("std-accept 3"), one.does("std-accept 3")];
        let [first_one, second] = accepted.each_ref().map(|it| it.split(' ').next().unwrap());
        one.hears_of(ACCEPTING);
        // As long as it is not leaving, what is closed is closed.
        assert_eq!(one.does(&format!("close {first_one}")), "0");
        assert_eq!(first(&kept), "");

        one.retire();
        one.set(page::LEAVING, &1_u32.to_ne_bytes());
        asking.write_all(b"once more").unwrap();
        assert_eq!(one.does(&format!("{how} {second}")), "0");
        if how == "shutdown-write" {
            assert!(one.hears_of(PART).with_descriptor, "the tool shuts it down if need be");
            assert_eq!(one.does(&format!("close {second}")), "0");
        }
        let passed = one.hears_of(PASS).descriptor.expect("the connection comes with it");
        let passed = TcpStream::from(passed);
        assert_eq!(first(&passed), "once more");
        (&passed).write_all(b"an answer").unwrap();
        assert_eq!(first(&asking), "an answer");
    }
}

/// A server that the test plays the tool of, with so many connections: its descriptors, and their other
/// ends. Its tool takes its time for the first connection that it is passed.
fn with_connections(count: usize) -> (Server, Vec<(String, TcpStream)>) {
    let (port, mut slow) = (free_port(), true);
    let mut server = Server::start(Vec::new(), move |heard| match heard.kind {
        LISTENING => Some((KEPT, None)),
        BIND => Some((OWN, None)),
        PASS if std::mem::take(&mut slow) => {
            thread::sleep(Duration::from_millis(100));
            None
        }
        _ => None,
    });
    server.does(&format!("std-listen 127.0.0.1:{port}"));
    let connections = (0..count).map(|_| {
        let stream = connect(port);
        let accepted = server.does("std-accept 3");
        (accepted.split(' ').next().unwrap().to_owned(), stream)
    });
    let connections = connections.collect();
    server.hears_of(ACCEPTING);
    (server, connections)
}

#[test]
fn a_leaving_server_passes_however_many_it_closes_at_once() {
    const MANY: usize = 600;
    let (mut one, connections) = with_connections(MANY);
    one.retire();
    one.set(page::LEAVING, &1_u32.to_ne_bytes());
    for (descriptor, _) in &connections {
        one.write(&format!("close {descriptor}"));
    }
    for _ in &connections {
        assert!(one.hears_kind(PASS).with_descriptor);
        assert_eq!(one.line(None), "0");
    }
}

#[test]
fn a_leaving_server_passes_nothing_on_which_it_owes_an_answer() {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
    // What comes (`comes`, `ends`), what the server reads and writes, and whether it passes the rest.
    let ways: [(&[&str], bool); 8] = [
        (&[], true),
        (&["comes"], true),
        (&["comes", "ends"], true),
        (&["comes", "reads", "answers"], true),
        (&["comes", "reads", "answers", "comes"], true),
        (&["comes", "reads"], false),
        (&["comes", "reads", "comes"], false),
        (&["comes", "reads", "answers", "later", "comes", "reads"], false),
    ];
    let (mut one, connections) = with_connections(ways.len());
    for ((steps, _), (descriptor, stream)) in ways.iter().zip(&connections) {
        for step in *steps {
            match *step {
                "comes" => {
                    (&*stream).write_all(REQUEST).unwrap();
                    assert_eq!(one.does(&format!("poll {descriptor}")), "1");
                }
                "ends" => {
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    assert_eq!(one.does(&format!("poll-end {descriptor}")), "1");
                }
                "reads" => {
                    let all = REQUEST.len();
                    assert_eq!(one.does(&format!("read {descriptor} {all}")), all.to_string());
                }
                "answers" => assert_eq!(one.does(&format!("write {descriptor} hello")), "5"),
                // The system's clock for it does not tick every millisecond.
                _ => thread::sleep(Duration::from_millis(50)),
            }
        }
    }
    one.retire();
    one.set(page::LEAVING, &1_u32.to_ne_bytes());
    for ((steps, passes), (descriptor, stream)) in ways.iter().zip(&connections).rev() {
        assert_eq!(one.does(&format!("close {descriptor}")), "0");
        if *passes {
            let passed = one.hears_kind(PASS).descriptor.expect("the connection comes with it");
            let passed = TcpStream::from(passed).peer_addr();
            assert_eq!(passed.unwrap(), stream.local_addr().unwrap(), "{steps:?}");
        }
    }
    one.heard_only(&[]);
}

#[test]
fn a_draining_server_leaves_to_the_next_one_what_it_has_not_begun_to_read() {
    const REQUEST: &[u8] = b"GET /again HTTP/1.1\r\nhost: here\r\n\r\n";
    // What has come and gone, what lies there when the server reads, and whether it moves.
    let ways: [(&[&str], &[u8], bool); 7] = [
        (&[], REQUEST, true),
        (&["asks", "reads", "answers", "gets"], REQUEST, true),
        (&["asks", "reads"], REQUEST, false),
        (&["asks", "reads", "answers", "gets"], b"GET /again HTT", false),
        (&["asks", "reads", "answers", "gets"], b"hello, is this HTTP/1.1\r\n", false),
        (&["asks", "reads", "answers", "gets"], b"\x17\x03\x03\x00\x20", false),
        (&["asks", "reads", "answers", "gets"], b"get / HTTP/1.1\r\n", false),
    ];
    let (mut one, connections) = with_connections(ways.len());
    let all = REQUEST.len();
    for ((steps, _, _), (descriptor, stream)) in ways.iter().zip(&connections) {
        for step in *steps {
            match *step {
                "asks" => (&*stream).write_all(REQUEST).unwrap(),
                "reads" => {
                    assert_eq!(one.does(&format!("poll {descriptor}")), "1");
                    assert_eq!(one.does(&format!("read {descriptor} {all}")), all.to_string());
                }
                "answers" => assert_eq!(one.does(&format!("write {descriptor} hello")), "5"),
                _ => assert_eq!(first(stream), "hello"),
            }
        }
    }
    one.retire();
    one.set(page::DRAINS, &1_u32.to_ne_bytes());
    for ((_, lies, moves), (descriptor, stream)) in ways.iter().zip(&connections) {
        (&*stream).write_all(lies).unwrap();
        assert_eq!(one.does(&format!("poll {descriptor}")), "1");
        let read = one.does(&format!("read {descriptor} {}", lies.len()));
        if !moves {
            assert_eq!(read, lies.len().to_string(), "{lies:?}");
            continue;
        }
        // For this server the client has gone.
        assert_eq!(read, "0");
        let passed = one.hears_kind(PASS).descriptor.expect("the connection comes with it");
        assert_eq!(one.does(&format!("read {descriptor} 1")), "0");
        assert_eq!(one.does(&format!("shutdown-write {descriptor}")), "0");
        assert_eq!(one.does(&format!("close {descriptor}")), "0");
        let passed = TcpStream::from(passed);
        assert_eq!(first(&passed).as_bytes(), *lies);
        (&passed).write_all(b"an answer").unwrap();
        assert_eq!(first(stream), "an answer");
    }
    one.heard_only(&[]);
}

#[test]
fn the_child_of_a_vfork_closes_its_own_descriptors() {
    let (mut one, connections) = with_connections(2);
    assert_eq!(one.get(page::CONNECTIONS), 2);
    let (descriptor, stream) = &connections[0];
    assert_eq!(one.does(&format!("vfork-close {descriptor}")), "parent");
    assert_eq!(one.get(page::CONNECTIONS), 2);
    talks(&mut one, descriptor, stream);
    assert_eq!(one.get(page::CONNECTIONS), 1);
}

#[test]
fn a_connection_of_another_server_is_accepted_before_all_others() {
    let (tool, port) = (Tool::default(), free_port());
    let mut one = tool.start();
    one.does(&format!("std-listen 127.0.0.1:{port}"));
    let listener = one.hears_of(LISTENING).inode;
    let other_port = free_port();
    let other = one.does(&format!("std-listen 127.0.0.1:{other_port}"));
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap();
    let (connection, peer) = elsewhere.accept().unwrap();
    // As an event loop has it.
    connection.set_nonblocking(true).unwrap();
    let waiting = connect(port);
    one.gives(&connection, listener, 1);
    // It is not for the other listener.
    let aside = connect(other_port);
    let accepted = one.does(&format!("std-accept {other}"));
    talks(&mut one, &accepted, aside);
    drop(connection);
    let accepted = one.does("std-accept 3");
    let fd = accepted.split(' ').next().unwrap().to_owned();
    assert!(accepted.contains(&peer.to_string()), "{accepted}");
    assert_eq!(one.does(&format!("getfl {fd}")), "blocks", "as it has asked for");
    talks(&mut one, &accepted, client);
    let accepted = one.does("std-accept 3");
    talks(&mut one, &accepted, waiting);
}

#[test]
fn duplicates_are_the_listener_as_well() {
    let (tool, port) = (Tool::default(), free_port());
    let mut one = tool.start();
    assert_eq!(one.does(&format!("std-listen 127.0.0.1:{port}")), "3");
    let copies: Vec<_> = ["std-clone 3", "dup 3", "dupfd 3", "dup2 3 77"]
        .into_iter()
        .map(|how| one.does(how))
        .collect();
    assert_eq!(one.does("std-nonblocking 3 1"), "0");
    one.retire();
    let stream = connect(port);
    for copy in &copies {
        assert_eq!(one.does(&format!("getfl {copy}")), "does not block");
        assert_eq!(one.does(&format!("accept {copy}")), "EAGAIN");
    }
    one.resume();
    let accepted = one.does(&format!("accept {}", copies[0]));
    talks(&mut one, &accepted, stream);
    one.hears_of(ACCEPTING);
    // The last one's end is the listener's.
    assert_eq!(one.does("close 3"), "0");
    for copy in &copies {
        one.heard_only(&[]);
        assert_eq!(one.does(&format!("close {copy}")), "0");
    }
    one.hears_kind(CLOSED);
}

#[test]
fn a_closed_listeners_address_is_free_at_once() {
    let (tool, port) = (Tool::default(), free_port());
    let mut one = tool.start();
    for _ in 0..3 {
        assert_eq!(one.does(&format!("std-listen 127.0.0.1:{port}")), "3");
        let stream = connect(port);
        let accepted = one.does("std-accept 3");
        talks(&mut one, &accepted, stream);
        assert_eq!(one.does("close 3"), "0");
        let _ = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
    // A number that is used again is not what it was.
    assert_eq!(one.does(&format!("std-listen 127.0.0.1:{port}")), "3");
    assert_eq!(one.does("close-unseen 3"), "0");
    let other = free_port();
    assert_eq!(one.does("socket inet stream"), "3");
    assert_eq!(one.does("getfl 3"), "blocks");
    assert_eq!(one.does(&format!("bind 3 127.0.0.1:{other}")), "0");
    assert_eq!(one.does("setfl 3 1"), "0");
    one.retire();
    assert_eq!(one.does("accept 3"), "EINVAL", "as the kernel says of what does not listen");
}

#[test]
fn what_is_closed_is_not_reported_any_more() {
    let (tool, port) = (Tool::default(), free_port());
    let listen = format!("std-listen 127.0.0.1:{port}");
    let (mut one, mut two) = (tool.start(), tool.start());
    for server in [&mut one, &mut two] {
        assert_eq!((server.does(&listen), server.does("epoll-new")), ("3".into(), "4".into()));
        assert_eq!(server.does("epoll-add 4 3"), "0");
    }
    // With the kernel's own listener its end is its end in the epoll. Here two others have it.
    one.retire();
    assert_eq!(one.does("close 3"), "0");
    let _stream = connect(port);
    assert_eq!((one.does("epoll-now 4"), two.does("epoll-now 4")), ("0".into(), "1".into()));
}

#[test]
fn port_0_is_the_port_of_the_server_before() {
    let tool = Tool::default();
    let (mut one, mut two) = (tool.start(), tool.start());
    assert_eq!(one.does("std-listen 127.0.0.1:0"), "3");
    let port = one.does("name 3");
    assert_eq!(two.does("std-listen 127.0.0.1:0"), "3");
    assert_eq!(two.does("name 3"), port);
    let kinds: Vec<_> = two.heard.try_iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [HELLO, LISTEN, LISTENING]);
    // Who looks which one it got before it listens keeps that one.
    let mut three = tool.start();
    assert_eq!(three.does("socket inet stream"), "3");
    assert_eq!(three.does("bind 3 127.0.0.1:0"), "0");
    let own = three.does("name 3");
    assert_eq!(three.does("listen 3 5"), "0");
    assert_eq!(three.does("name 3"), own);
    assert_ne!(own, port);
    three.hears_kind(HELLO);
    assert_eq!(three.hears_kind(LISTENING).port().to_string(), own);
    // Who is never bound has any port as well.
    let (mut four, mut five) = (tool.start(), tool.start());
    for server in [&mut four, &mut five] {
        assert_eq!(
            (server.does("socket inet stream"), server.does("listen 3 5")),
            ("3".into(), "0".into())
        );
    }
    assert_eq!(four.does("name 3"), five.does("name 3"));
}

#[test]
fn two_listeners_and_both_families() {
    let (tool, port, other) = (Tool::default(), free_port(), free_port());
    let mut servers = [tool.start(), tool.start()];
    for server in &mut servers {
        assert_eq!(server.does(&format!("std-listen 127.0.0.1:{port}")), "3");
        assert_eq!(server.does("socket inet6 stream"), "4");
        assert_eq!(server.does("option 4 v6only 1"), "0");
        assert_eq!(server.does(&format!("bind 4 [::]:{port}")), "0");
        assert_eq!(server.does("listen 4 5"), "0");
        server.hears_of(LISTENING);
        assert_eq!(server.hears_kind(BIND).flags, V6ONLY);
        server.hears_kind(LISTENING);
        assert_eq!(server.does(&format!("std-listen [::]:{other}")), "5");
        assert_eq!(server.hears_kind(BIND).flags, 0);
    }
    let [one, mut two] = servers;
    one.retire();
    for (fd, port) in [(3, port), (5, other)] {
        let stream = connect(port);
        let accepted = two.does(&format!("std-accept {fd}"));
        talks(&mut two, &accepted, stream);
    }
    let stream = TcpStream::connect(format!("[::1]:{port}")).unwrap();
    let accepted = two.does("std-accept 4");
    talks(&mut two, &accepted, stream);
}

#[test]
fn options_that_connections_inherit_are_the_programs() {
    let (tool, port) = (Tool::default(), free_port());
    let (mut one, mut two) = (tool.start(), tool.start());
    assert_eq!(one.does(&format!("std-listen 127.0.0.1:{port}")), "3");
    assert_eq!(two.does("socket inet stream"), "3");
    assert_eq!(two.does("option 3 nodelay 1"), "0");
    assert_eq!(two.does(&format!("bind 3 127.0.0.1:{port}")), "0");
    assert_eq!(two.does("listen 3 5"), "0");
    let _stream = connect(port);
    let accepted = two.does("accept 3");
    assert_eq!(two.does(&format!("nodelay {accepted}")), "true");
}

#[test]
fn a_unix_sockets_file_stays_while_it_is_shared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let at = path.display();
    let tool = Tool::default();
    let mut one = tool.start();
    assert_eq!(one.does(&format!("std-unix {at}")), "3");
    one.hears_of(LISTENING);
    one.lists(&path);
    let mut two = tool.start();
    two.lists(&path);
    // As servers do that want their path free.
    assert_eq!(two.does(&format!("std-remove {at}")), "0");
    assert!(path.exists());
    assert_eq!(two.does(&format!("std-unix {at}")), "3");
    let asked = two.hears_of(BIND);
    let file = path.symlink_metadata().unwrap();
    assert_eq!(asked.file, (file.dev(), file.ino()));
    one.retire();
    let stream = UnixStream::connect(&path).unwrap();
    let accepted = two.does("accept 3");
    talks(&mut two, &accepted, stream);
    // The tool's own one.
    two.hears_of(ACCEPTING);
    two.set(page::TOOL, &std::process::id().to_ne_bytes());
    two.set(page::PROBE, &page::PROBE_UNIX.to_ne_bytes());
    two.begins("a", "accept 3");
    let probe = UnixStream::connect(&path).unwrap();
    assert_eq!(first(probe), "");
    two.hears_kind(ACCEPTING);
    // The one that has ended must not take the file along; the one that serves may.
    assert_eq!(one.does(&format!("std-remove {at}")), "0");
    one.ends();
    assert!(path.exists());
    assert_eq!(two.does(&format!("unlink {at}")), "0");
    assert!(!path.exists());
}

#[test]
fn other_files_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("socket"), folder.path().join("other"));
    fs::write(&other, "").unwrap();
    let mut one = Tool::default().start();
    assert_eq!(one.does(&format!("std-unix {}", path.display())), "3");
    one.lists(&path);
    assert_eq!(one.does(&format!("std-remove {}", other.display())), "0");
    assert!(!other.exists());
    assert_eq!(
        one.does(&format!("std-remove {}", path.display())),
        "0",
        "it serves, and it is its own"
    );
    assert!(!path.exists());
}

#[test]
fn a_name_in_the_abstract() {
    let name = format!("stario-{}", free_port());
    let tool = Tool::default();
    let mut servers = [tool.start(), tool.start()];
    for server in &mut servers {
        assert_eq!(server.does("socket unix stream"), "3");
        assert_eq!(server.does(&format!("bind 3 !{name}")), "0");
        assert_eq!(server.does("listen 3 5"), "0");
    }
    servers[0].retire();
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let stream = UnixStream::connect_addr(&address).unwrap();
    let accepted = servers[1].does("accept 3");
    talks(&mut servers[1], &accepted, stream);
}

#[test]
fn an_address_that_is_taken_is_taken_and_the_tool_hears_of_it() {
    let mut one = Tool::default().start();
    one.hears_kind(HELLO);
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    assert_eq!(one.does("socket inet stream"), "3");
    assert_eq!(one.does(&format!("bind 3 127.0.0.1:{port}")), "EADDRINUSE");
    let asked = one.hears_kind(BIND).asked;
    let said = one.hears_kind(IN_USE);
    assert_eq!((said.asked, said.flags), (asked, 0));
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    assert_eq!(one.does("socket inet dgram"), "4");
    assert_eq!(one.does(&format!("bind 4 127.0.0.1:{port}")), "EADDRINUSE");
    assert_eq!(one.hears_kind(IN_USE).flags, DATAGRAM);
    assert_eq!(one.does("bind 4 127.0.0.1:0"), "0");
    one.heard_only(&[]);
}

#[test]
fn a_client_with_an_address_of_its_own_connects() {
    let mut one = Tool::default().start();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    for own in [0, free_port()] {
        assert_eq!(one.does("socket inet stream"), "3");
        assert_eq!(one.does(&format!("bind 3 127.0.0.1:{own}")), "0");
        assert_eq!(one.does(&format!("connect 3 {address}")), "0");
        let (stream, peer) = listener.accept().unwrap();
        assert!(own == 0 || own == peer.port());
        talks(&mut one, "3", stream);
    }
    one.hears_kind(HELLO);
    one.hears_kind(BIND);
    one.heard_only(&[]);
}

#[test]
fn the_environment_is_the_users() {
    let tool = |environment| Server::start(environment, |_| None);
    let mut one = tool(Vec::new());
    assert_eq!(
        (one.does("environment"), one.does("child-environment")),
        (String::new(), String::new())
    );
    // What the user preloads is loaded, and is there.
    let users = Path::new(env!("CARGO_TARGET_TMPDIR")).join("users-shim.so");
    fs::copy(SHIM, &users).unwrap();
    let users = users.display();
    let preload = format!("{SHIM}:{users}");
    let mut two = tool(vec![("LD_PRELOAD", preload)]);
    assert_eq!(two.does("environment"), format!("LD_PRELOAD={users};"));
    assert_eq!(two.does("child-environment"), format!("LD_PRELOAD={users}"));
    let preload = format!("{SHIM} {users}:{users}");
    let mut three = tool(vec![("LD_PRELOAD", preload)]);
    assert_eq!(three.does("environment"), format!("LD_PRELOAD={users}:{users};"));
    // Without a tool nothing is touched.
    let mut four = tool(vec![("STARIO_ADOPT", "999".into())]);
    assert_eq!(four.does("environment"), "");
    assert_eq!(four.does("std-listen 127.0.0.1:0"), "4", "3 is what it was given");
}

#[test]
fn a_child_accepts_from_what_it_inherits_and_binds_for_itself() {
    let (tool, port) = (Tool::default(), free_port());
    let mut one = tool.start();
    assert_eq!(one.does(&format!("std-listen 127.0.0.1:{port}")), "3");
    one.hears_of(LISTENING);
    let stream = connect(port);
    one.write("fork accept 3");
    assert_eq!((one.line(None).as_str(), one.line(None).as_str()), ("4", "parent"));
    one.hears_kind(ACCEPTING);
    drop(stream);
    assert_eq!(one.does("setfl 3 1"), "0");
    one.retire();
    let _stream = connect(port);
    one.write("fork accept 3");
    assert_eq!((one.line(None).as_str(), one.line(None).as_str()), ("EAGAIN", "parent"));
    one.hears_kind(ACCEPTING);
    let other = free_port();
    one.write(&format!("fork std-listen 127.0.0.1:{other}"));
    assert_eq!((one.line(None).as_str(), one.line(None).as_str()), ("4", "parent"));
    one.write("fork close 3");
    assert_eq!((one.line(None).as_str(), one.line(None).as_str()), ("0", "parent"));
    one.heard_only(&[]);
}

#[test]
fn a_tool_that_does_not_answer_is_not_waited_for_for_ever() {
    let mut one = Server::start(Vec::new(), |_| None);
    let port = free_port();
    assert_eq!(one.does(&format!("std-listen 127.0.0.1:{port}")), "3");
    let stream = connect(port);
    let accepted = one.does("std-accept 3");
    talks(&mut one, &accepted, stream);
}

#[test]
fn a_tool_that_is_gone_is_done_without() {
    let port = free_port();
    // Its end is closed with the answer to the first question.
    let mut one = Server::start(Vec::new(), |heard| {
        assert_ne!(heard.kind, BIND, "this ends the tool's thread, and closes its socket");
        None
    });
    assert_eq!(one.does(&format!("std-listen 127.0.0.1:{port}")), "3");
    let stream = connect(port);
    let accepted = one.does("std-accept 3");
    talks(&mut one, &accepted, stream);
    assert_eq!((one.does("close 3"), one.does("std-listen 127.0.0.1:0")), ("0".into(), "3".into()));
}

#[test]
fn a_signal_ends_the_wait_where_its_handler_wants_that() {
    let (tool, port) = (Tool::default(), free_port());
    let mut one = tool.start();
    let pid = Pid::from_raw(one.child.id().cast_signed()).unwrap();
    assert_eq!(one.does(&format!("std-listen 127.0.0.1:{port}")), "3");
    assert_eq!(one.does("alarm once"), "0");
    one.write("accept 3");
    one.waits(1);
    kill_process(pid, Signal::ALARM).unwrap();
    assert_eq!(one.line(None), "EINTR");
    assert_eq!(one.does("alarm restart"), "0");
    one.write("accept 3");
    one.waits(1);
    kill_process(pid, Signal::ALARM).unwrap();
    let stream = connect(port);
    let accepted = one.line(None);
    talks(&mut one, &accepted, stream);
    // A time of the program's own holds.
    assert_eq!((one.does("patience 3 50"), one.does("accept 3")), ("0".into(), "EAGAIN".into()));
}

#[test]
fn a_leaving_server_that_connects_to_itself_wakes_who_waits() {
    let (tool, port) = (Tool::default(), free_port());
    let mut one = tool.start();
    one.does(&format!("std-listen 127.0.0.1:{port}"));
    one.hears_of(LISTENING);
    one.begins("a", "std-accept 3");
    one.retire();
    one.set(page::LEAVING, &1_u32.to_ne_bytes());
    let socket = one.does("socket inet stream");
    let connected = one.does(&format!("connect {socket} 127.0.0.1:{port}"));
    assert_eq!(connected, "0");
    let woken = one.line(Some("a"));
    assert!(woken.contains("103"), "ECONNABORTED: {woken}");
    // Once.
    one.begins("a", "std-accept 3");
    one.resume();
    let accepted = one.line(Some("a"));
    assert!(accepted.contains("127.0.0.1:"), "the connection was in the queue: {accepted}");
}

#[test]
fn shutting_down_is_for_oneself() {
    let (tool, port) = (Tool::default(), free_port());
    let listen = format!("std-listen 127.0.0.1:{port}");
    let (mut one, mut two) = (tool.start(), tool.start());
    assert_eq!((one.does(&listen), two.does(&listen)), ("3".into(), "3".into()));
    one.write("@a accept 3");
    one.write("@b accept 3");
    one.waits(2);
    assert_eq!(one.does("shutdown 3"), "0");
    assert_eq!((one.line(Some("a")), one.line(Some("b"))), ("EINVAL".into(), "EINVAL".into()));
    assert_eq!(one.does("accept 3"), "EINVAL");
    let stream = connect(port);
    let accepted = two.does("accept 3");
    talks(&mut two, &accepted, stream);
    // As with the kernel's, it may listen again.
    assert_eq!(one.does("listen 3 5"), "0");
    one.begins("a", "accept 3");
    let stream = connect(port);
    let accepted = one.line(Some("a"));
    talks(&mut one, &accepted, stream);
}

#[test]
fn who_closes_all_descriptors_does_not_close_the_shims() {
    let (tool, port) = (Tool::default(), free_port());
    let mut one = tool.start();
    assert_eq!(one.does("close-all"), "done");
    assert_eq!(one.does(&format!("std-listen 127.0.0.1:{port}")), "3");
    one.hears_of(LISTENING);
    // Behind its back it may.
    assert_eq!(one.does("close-range"), "0");
    let other = free_port();
    assert_eq!(one.does(&format!("std-listen 127.0.0.1:{other}")), "3");
    let stream = connect(other);
    let accepted = one.does("std-accept 3");
    talks(&mut one, &accepted, stream);
}
