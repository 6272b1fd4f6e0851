//! Connections that a server has closed because it is to stop, and on which the client may be asking
//! once more at this very moment: between two requests nobody can tell. They are held here for a
//! moment. If a request comes, or lay unread, the new server gets the connection and answers; if not,
//! it is closed as the old server wanted.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, SocketAddrAny, getsockname, recv, shutdown};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::control::Name;
use super::ledger::Ledger;

/// How long a client that is busy may take for its next request. One that waits for the connection's
/// end waits so much longer.
const HELD: Duration = Duration::from_millis(100);
/// How often it is looked whether the rest of a first line has come: what was not read stays, so the
/// system says all the time that there is something.
const REST_EVERY: Duration = Duration::from_millis(1);
/// A server that gets very many at once must have taken some before there is room for more: so long it
/// may take, and so often it is tried.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);
const GIVEN_EVERY: Duration = Duration::from_millis(2);
/// No first line is looked at any further.
const LONGEST: usize = 4096;

/// Holds a connection, by the side. Needs tokio's runtime.
pub(super) fn hold(ledger: Arc<Ledger>, connection: OwnedFd) {
    tokio::spawn(async move {
        let Some(address) = local_address(&connection) else { return };
        // The old server has closed it, and the next one says anew whether it blocks.
        let _ = rustix::io::ioctl_fionbio(&connection, true);
        // Whatever kind of stream it is: only its readiness is asked for.
        let Ok(stream) = UnixStream::from_std(StdUnixStream::from(connection)) else { return };
        let end = Instant::now() + HELD;
        match timeout_at(end, asks(&stream)).await {
            Ok(Ok(true)) => give(&ledger, stream.as_fd(), &address).await,
            // What it sends is for nobody. To close while it does would take the answer from it that
            // it may not have read yet (RFC 9112, section 9.6).
            Ok(Ok(false)) => {
                let _ = shutdown(&stream, Shutdown::Write);
                let _ = timeout_at(end, ended(&stream)).await;
            }
            Ok(Err(_)) | Err(_) => {}
        }
    });
}

/// Hands it to the new server. Where that cannot be done it is closed.
async fn give(ledger: &Arc<Ledger>, connection: BorrowedFd<'_>, address: &Name) {
    let end = Instant::now() + TAKEN_WITHIN;
    while let Err(error) = ledger.pass(connection, address) {
        let full = matches!(Errno::from_io_error(&error), Some(Errno::AGAIN | Errno::TOOMANYREFS));
        if !full || Instant::now() >= end {
            break;
        }
        sleep(GIVEN_EVERY).await;
    }
}

/// Connections that a server which is stopping has shut down for writing and still has: most close
/// them next. Until then, or until a moment has passed, the client is not told of it.
#[derive(Debug, Default)]
pub(super) struct Parting(Arc<Mutex<HashMap<u64, OwnedFd>>>);

impl Parting {
    /// Shuts it down later, unless it is let go before. Needs tokio's runtime.
    pub(super) fn hold(&self, connection: OwnedFd) {
        let Some(inode) = inode(&connection) else { return };
        lock(&self.0).insert(inode, connection);
        let held = Arc::clone(&self.0);
        tokio::spawn(async move {
            sleep(HELD).await;
            if let Some(connection) = lock(&held).remove(&inode) {
                let _ = shutdown(&connection, Shutdown::Write);
            }
        });
    }

    /// It is closed now.
    pub(super) fn let_go(&self, connection: &OwnedFd) {
        if let Some(inode) = inode(connection) {
            lock(&self.0).remove(&inode);
        }
    }

    /// The server has ended, and so closed all that it still had: some end before they have done it
    /// themselves. Needs tokio's runtime.
    pub(super) fn end(&self, ledger: &Arc<Ledger>) {
        for (_, connection) in lock(&self.0).drain() {
            hold(Arc::clone(ledger), connection);
        }
    }
}

fn lock(held: &Mutex<HashMap<u64, OwnedFd>>) -> MutexGuard<'_, HashMap<u64, OwnedFd>> {
    // Whatever panicked has left it whole.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn inode(connection: &OwnedFd) -> Option<u64> {
    rustix::fs::fstat(connection).ok().map(|stat| stat.st_ino)
}

/// Waits for the client's end of the connection.
async fn ended(stream: &UnixStream) -> io::Result<()> {
    let mut bytes = [0; LONGEST];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether the client asks once more: waits until that shows.
async fn asks(stream: &UnixStream) -> io::Result<bool> {
    let mut bytes = [0; LONGEST];
    loop {
        stream.readable().await?;
        let peeked = stream.try_io(Interest::READABLE, || {
            Ok(recv(stream.as_fd(), &mut bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT)?.1)
        });
        match peeked {
            Ok(0) => return Ok(false),
            Ok(length) => match begins_request(&bytes[..length]) {
                Some(asks) => return Ok(asks),
                None => sleep(REST_EVERY).await,
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether these bytes are the beginning of a request in plain HTTP/1 (RFC 9112, section 3), or of
/// a connection in plain HTTP/2 (RFC 9113, section 3.4). `None`: they may become one. Whatever else a
/// client speaks (TLS, the middle of a body) belongs to what went before on its connection.
fn begins_request(bytes: &[u8]) -> Option<bool> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let plausible = method.len() <= 16 && method.iter().all(u8::is_ascii_uppercase);
    if !plausible || bytes.starts_with(b"\n") {
        return Some(false);
    }
    if line.len() == bytes.len() {
        return if bytes.len() < LONGEST { None } else { Some(false) };
    }
    let version = line.trim_ascii_end().rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let known = [b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0"].iter().any(|it| *it == version);
    Some(!method.is_empty() && known)
}

/// Where the client has connected to.
fn local_address(connection: &impl AsFd) -> Option<Name> {
    let address: SocketAddrAny = getsockname(connection).ok()?;
    if let Ok(address) = std::net::SocketAddr::try_from(address.clone()) {
        return Some(Name::Tcp(address));
    }
    let address = rustix::net::SocketAddrUnix::try_from(address).ok()?;
    let name = address.abstract_name().map(|name| Name::Abstract(name.to_vec()));
    name.or_else(|| {
        use std::os::unix::ffi::OsStrExt;
        let path = address.path()?;
        Some(Name::Path(std::ffi::OsStr::from_bytes(path.to_bytes()).into()))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::super::control::{Hand, Said, receive};
    use super::super::page::Page;
    use super::super::wire;
    use super::*;
    use crate::event::Generation;

    /// A server that shares a listener, what the tool lays there for it, and its listener.
    fn server() -> (Arc<Ledger>, OwnedFd, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("it has one");
        let (hand, its_hand) = Hand::pair().expect("a pair");
        rustix::io::ioctl_fionbio(&its_hand, true).expect("a socket can");
        let (ledger, new) = (Arc::new(Ledger::default()), Generation(2));
        ledger.enter(new, Arc::new(Page::new().expect("a page")), hand);
        let said = Said {
            kind: wire::LISTENING,
            flags: 0,
            sequence: 0,
            inode: 7,
            file: None,
            asked: Some(Name::Tcp(address)),
            actual: Some(Name::Tcp(address)),
            socket: Some(listener.try_clone().expect("a copy").into()),
        };
        assert!(ledger.keep(new, said));
        (ledger, its_hand, listener)
    }

    /// A client that has asked, and what another server had accepted of it.
    fn asking(listener: &TcpListener) -> (TcpStream, OwnedFd) {
        let address = listener.local_addr().expect("it has one");
        let mut client = TcpStream::connect(address).expect("it listens");
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it is sent");
        let (connection, _) = listener.accept().expect("a connection");
        (client, connection.into())
    }

    /// Waits until so many have come to the server.
    async fn taken(hand: &OwnedFd, count: usize) {
        let copy = StdUnixStream::from(hand.try_clone().expect("a copy"));
        // Only its readiness is asked for.
        let ready = UnixStream::from_std(copy).expect("it does not block");
        let all = async {
            for _ in 0..count {
                let come = ready.async_io(Interest::READABLE, || receive(hand.as_fd()));
                come.await.expect("the other end is ours");
            }
        };
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("all of them come");
    }

    #[tokio::test]
    async fn a_server_gets_however_many_there_are_at_once() {
        const MANY: usize = 300;
        let (ledger, hand, listener) = server();
        let mut clients = Vec::new();
        for _ in 0..MANY {
            let (client, connection) = asking(&listener);
            hold(Arc::clone(&ledger), connection);
            clients.push(client);
        }
        // More than there is room for.
        sleep(HELD * 2).await;
        taken(&hand, MANY).await;
    }

    #[tokio::test]
    async fn what_is_half_closed_when_its_server_ends_goes_on_and_what_is_closed_does_not() {
        let (ledger, hand, listener) = server();
        let parting = Parting::default();
        let (_closes, closed) = asking(&listener);
        let (_asks, half) = asking(&listener);
        parting.hold(closed.try_clone().expect("a copy"));
        parting.hold(half.try_clone().expect("a copy"));
        parting.let_go(&closed);
        parting.end(&ledger);
        taken(&hand, 1).await;
        sleep(HELD).await;
        assert!(receive(hand.as_fd()).is_err(), "one is all there is");
    }

    #[test]
    fn only_the_beginning_of_a_request_is_one() {
        for (bytes, begins) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", Some(true)),
            ("POST /a?b=c%20d HTTP/1.0\r\n", Some(true)),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(true)),
            ("GET / HTTP/1.1", None),
            ("GE", None),
            ("GET key\r\n", Some(false)),
            ("GET / HTTP/1.1x\r\n", Some(false)),
            ("get / HTTP/1.1\r\n", Some(false)),
            (" / HTTP/1.1\r\n", Some(false)),
            ("\r\nGET / HTTP/1.1\r\n", Some(false)),
            ("\u{17}\u{3}\u{3}", Some(false)),
            ("{\"a\": 1}\n", Some(false)),
        ] {
            assert_eq!(begins_request(bytes.as_bytes()), begins, "{bytes:?}");
        }
        assert_eq!(begins_request(&[b'A'; 40]), Some(false));
        let long = [b"GET /".as_slice(), &[b'a'; LONGEST]].concat();
        assert_eq!(begins_request(&long[..LONGEST]), Some(false));
    }
}
