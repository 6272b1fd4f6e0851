//! Connections of the tool's own to a server's listeners. The shim closes them before the server sees
//! them, and says that they came: so it is known that the server accepts, without a request.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpSocket, UnixStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::control::Name;
use super::ledger::Ledger;
use super::wire::page;

/// How long a probe waits to be accepted. One that is accepted where the shim does not see it must
/// not keep a server busy that serves one connection after the other.
const WAITS: Duration = Duration::from_millis(500);

/// How soon it is tried again where the one before, with the same two ends, has not quite gone.
const AGAIN: Duration = Duration::from_millis(10);

/// Where probes come from, so that the shim knows them, and how many are on their way.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// Keeps the port of the TCP probes from all others.
    reserved: Option<TcpSocket>,
    port: u16,
    tcp: u32,
    unix: u32,
    /// Who tells the last one to each target to give up, as long as it is on its way.
    last: Vec<(Name, Weak<Notify>)>,
}

impl Source {
    /// What the servers' pages say: see [`page::PROBE`].
    pub(super) fn expected(&self) -> u32 {
        let port = if self.tcp > 0 { self.port } else { 0 };
        u32::from(port) | if self.unix > 0 { page::PROBE_UNIX } else { 0 }
    }

    /// One is about to start; for TCP, from this port. The one before gives up: whom that has waked may
    /// be another one than who is to be waked now. It is accepted before the new one, if at all, and is
    /// expected as long.
    fn begin(&mut self, target: &Name, gives_up: &Arc<Notify>) -> io::Result<u16> {
        let port = self.expect(target)?;
        self.last.retain(|(name, before)| {
            let before = before.upgrade();
            if name == target {
                before.as_ref().inspect(|before| before.notify_one());
            }
            name != target && before.is_some()
        });
        self.last.push((target.clone(), Arc::downgrade(gives_up)));
        Ok(port)
    }

    fn expect(&mut self, target: &Name) -> io::Result<u16> {
        if !matches!(target, Name::Tcp(_)) {
            self.unix += 1;
            return Ok(0);
        }
        if self.reserved.is_none() {
            // One for both families, where there are both.
            let socket = from_port(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0)
                .or_else(|_| from_port(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0))?;
            self.port = socket.local_addr()?.port();
            self.reserved = Some(socket);
        }
        self.tcp += 1;
        Ok(self.port)
    }

    fn end(&mut self, target: &Name) {
        let count = match target {
            Name::Tcp(_) => &mut self.tcp,
            Name::Path(_) | Name::Abstract(_) => &mut self.unix,
        };
        *count = count.saturating_sub(1);
    }
}

/// Probes a listener, by the side. Needs tokio's runtime.
pub(super) fn start(ledger: Arc<Ledger>, target: Name) {
    tokio::spawn(async move { once(&ledger, &target).await });
}

/// Wakes who waits in `accept` on a listener, by one probe after the other, for as long as connections
/// are laid there for it. Needs tokio's runtime.
pub(super) fn wake(ledger: Arc<Ledger>, listener: u64, target: Name) {
    tokio::spawn(async move {
        while ledger.wakes(listener) {
            once(&ledger, &target).await;
        }
    });
}

async fn once(ledger: &Ledger, target: &Name) {
    let gives_up = Arc::new(Notify::new());
    let Ok(port) = ledger.expect(|source| source.begin(target, &gives_up)) else { return };
    let result = tokio::select! {
        result = probe(target, port) => result,
        () = gives_up.notified() => Ok(()),
    };
    // One that still waits may be accepted later, and is expected for good.
    if !result.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
        ledger.expect(|source| source.end(target));
    }
}

async fn waited(end: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    timeout(WAITS, end).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Until the connection is closed by the other side, or could not be made.
async fn probe(target: &Name, port: u16) -> io::Result<()> {
    match target {
        Name::Tcp(address) => {
            let any = match address {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            let target = reached_by(*address);
            let stream = loop {
                match from_port(any, port)?.connect(target).await {
                    // The one before is still on its way, and has waked nobody since.
                    Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                        sleep(AGAIN).await;
                    }
                    other => break other?,
                }
            };
            waited(ended(stream)).await
        }
        Name::Path(path) => waited(ended(UnixStream::connect(path).await?)).await,
        Name::Abstract(name) => {
            let name = [b"\0", name.as_slice()].concat();
            waited(ended(UnixStream::connect(OsString::from_vec(name)).await?)).await
        }
    }
}

async fn ended(mut stream: impl AsyncRead + Unpin) -> io::Result<()> {
    stream.read(&mut [0]).await.map(drop)
}

/// A socket bound to a port that others of ours have as well: each connection has another target, or
/// comes after the one before.
fn from_port(ip: IpAddr, port: u16) -> io::Result<TcpSocket> {
    let socket = if ip.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Its end leaves nothing behind that would be in the next one's way.
    rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    socket.bind((ip, port).into())?;
    Ok(socket)
}

/// The loopback's address for one that stands for all.
fn reached_by(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_probe_does_not_wait_for_the_one_before() {
        let ledger = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let target = listener.local_addr().expect("an address");
        let begin = Instant::now();
        // Each is accepted, and not closed.
        let (mut waiting, mut ports) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            start(Arc::clone(&ledger), Name::Tcp(target));
            let (stream, from) = listener.accept().expect("a probe");
            waiting.push(stream);
            ports.push(u32::from(from.port()));
        }
        assert!(begin.elapsed() < 2 * WAITS, "{:?}", begin.elapsed());
        let expected = ledger.expect(|source| source.expected());
        assert_eq!(
            ports, [expected; 3],
            "all from one port, which is expected as long as one waits"
        );
        drop(waiting);
    }
}
