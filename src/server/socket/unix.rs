//! Listeners that can be handed over.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{KnownAs, bind_tcp, failed};
use crate::error::Failure;
use crate::event::Endpoint;
use crate::process::Socket;

/// How many connections may wait to be accepted while servers change. The system's own limit
/// (`net.core.somaxconn`) may be lower.
const BACKLOG: i32 = 4096;
/// The descriptor as which a server inherits the listener.
#[cfg(target_os = "linux")]
const PASSED_AS: i32 = 3;
/// What the listener is called in `LISTEN_FDNAMES`.
const NAME: &str = "http";

/// A listening socket. A Unix socket's file is removed with it.
#[derive(Debug)]
pub struct Listener {
    socket: Bound,
    endpoint: Endpoint,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Listens on the Unix socket, or else on host and port (0: any that is free).
///
/// # Errors
/// When that is not possible: with the name of who is in the way, where it is known.
pub fn bind(host: &str, port: u16, unix_socket: Option<&Path>) -> Result<Listener, Failure> {
    let listener = match unix_socket {
        Some(path) => bind_unix(path),
        None => bind_address(host, port),
    }?;
    // To listen once more is to set the backlog.
    rustix::net::listen(&listener, BACKLOG)
        .map_err(|error| failed(host, port, &io::Error::from(error)))?;
    Ok(listener)
}

fn bind_address(host: &str, port: u16) -> Result<Listener, Failure> {
    let socket = bind_tcp(host, port)?;
    let address = socket.local_addr().map_err(|error| failed(host, port, &error))?;
    Ok(Listener { socket: Bound::Tcp(socket), endpoint: Endpoint::Tcp(address) })
}

fn bind_unix(path: &Path) -> Result<Listener, Failure> {
    let shown = path.display();
    match path.symlink_metadata() {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(Failure::usage(format!("`{shown}` is there already and is no socket"))
                .help("`--unix-socket` takes a path where nothing is"));
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => {
                return Err(Failure::usage(format!("a server is listening on `{shown}`"))
                    .help("stop it, or give `--unix-socket` another path"));
            }
            // Whoever made it is gone.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(|error| {
                    Failure::usage(format!("could not remove the old socket `{shown}`: {error}"))
                })?;
            }
            Err(error) => {
                return Err(Failure::usage(format!("`{shown}` is in the way: {error}")));
            }
        },
        Err(_) => {}
    }
    let socket = UnixListener::bind(path).map_err(|error| {
        let failure = Failure::usage(format!("could not listen on `{shown}`: {error}"));
        match path.parent() {
            Some(folder) if !folder.exists() => {
                failure.help(format!("make its folder: `mkdir -p {}`", folder.display()))
            }
            _ => failure.help("`--unix-socket` takes a path in a folder that you may write to"),
        }
    })?;
    let file = SocketFile::new(path.to_owned());
    Ok(Listener { socket: Bound::Unix(socket, file), endpoint: Endpoint::Unix(path.to_owned()) })
}

impl Listener {
    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The TCP port.
    pub fn port(&self) -> Option<u16> {
        match &self.endpoint {
            Endpoint::Tcp(address) => Some(address.port()),
            Endpoint::Unix(_) => None,
        }
    }

    /// A copy to be inherited.
    pub(in crate::server) fn to_pass(&self) -> io::Result<Socket> {
        Ok(Socket { descriptor: self.as_fd().try_clone_to_owned()?, name: NAME })
    }

    /// What it is to be recognised by.
    pub(in crate::server) fn known_as(&self) -> KnownAs {
        let address = match &self.endpoint {
            Endpoint::Tcp(address) => Some(*address),
            Endpoint::Unix(_) => None,
        };
        // 0 is no socket's inode.
        KnownAs { address, inode: rustix::fs::fstat(self).map_or(0, |stat| stat.st_ino) }
    }

    /// Leaves the socket's file in place when the process ends otherwise than by dropping this.
    pub(in crate::server) fn keep_file(&mut self) {
        if let Bound::Unix(_, file) = &mut self.socket {
            file.keep = true;
        }
    }

    /// Whether a server that was handed this listener makes use of it. `false` says only that
    /// nothing shows so far.
    ///
    /// An event loop sets `O_NONBLOCK`, which belongs to the open file that all share; where it is
    /// `shared`, it may have been another server. On Linux the process shows more: the descriptor is
    /// closed on exec now, an epoll has it, a thread waits in `accept`, or there is a copy of it.
    pub fn taken(&self, pid: u32, shared: bool) -> bool {
        let nonblocking =
            || rustix::fs::fcntl_getfl(self).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK));
        (!shared && nonblocking()) || shows_use(pid, self.known_as().inode)
    }

    /// As the first server found it: who has set `O_NONBLOCK` has set it for those to come. Only
    /// where no server has the listener.
    pub fn reset(&self) {
        if let Ok(flags) = rustix::fs::fcntl_getfl(self) {
            // A server that minds sets what it needs.
            let _ = rustix::fs::fcntl_setfl(self, flags - OFlags::NONBLOCK);
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Bound::Tcp(socket) => socket.as_fd(),
            Bound::Unix(socket, _) => socket.as_fd(),
        }
    }
}

#[cfg(target_os = "linux")]
fn shows_use(pid: u32, inode: u64) -> bool {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    // It may have closed it and opened something else there.
    let is_ours = std::fs::metadata(folder.join(format!("fd/{PASSED_AS}")))
        .is_ok_and(|passed| passed.ino() == inode);
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let list = |name: &str| std::fs::read_dir(folder.join(name)).into_iter().flatten().flatten();
    let closed_on_exec = read(folder.join(format!("fdinfo/{PASSED_AS}"))).lines().any(|line| {
        let flags = line.strip_prefix("flags:").map(str::trim);
        let flags = flags.and_then(|flags| u32::from_str_radix(flags, 8).ok());
        flags.is_some_and(|flags| flags & OFlags::CLOEXEC.bits() != 0)
    });
    let in_epoll = || {
        list("fdinfo").any(|entry| {
            read(entry.path()).lines().any(|line| {
                let target =
                    line.strip_prefix("tfd:").and_then(|rest| rest.split_whitespace().next());
                target.is_some_and(|target| target.parse() == Ok(PASSED_AS))
            })
        })
    };
    // `accept` on TCP, and what `accept` on a Unix socket waits in.
    let waits_in = ["inet_csk_accept", "__skb_wait_for_more_packets"];
    let accepts = || {
        list("task").any(|thread| {
            let call = read(thread.path().join("syscall"));
            let descriptor = call.split_whitespace().nth(1).unwrap_or_default();
            descriptor == format!("{PASSED_AS:#x}")
                && waits_in.contains(&read(thread.path().join("wchan")).as_str())
        })
    };
    let copied = || {
        list("fd").any(|entry| {
            entry.file_name() != PASSED_AS.to_string().as_str()
                && std::fs::metadata(entry.path())
                    .is_ok_and(|it| it.file_type().is_socket() && it.ino() == inode)
        })
    };
    // The cheapest first: a server may have thousands of descriptors.
    (is_ours && (closed_on_exec || in_epoll() || accepts())) || copied()
}

#[cfg(not(target_os = "linux"))]
fn shows_use(_pid: u32, _inode: u64) -> bool {
    false
}

/// The file of a Unix socket, removed when dropped if it is still the same.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: Option<u64>,
    keep: bool,
}

impl SocketFile {
    fn new(path: PathBuf) -> Self {
        let inode = inode(&path);
        Self { path, inode, keep: false }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.keep && self.inode.is_some() && inode(&self.path) == self.inode {
            // The next one to listen there removes it as an old one.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    path.symlink_metadata().ok().map(|metadata| metadata.ino())
}
