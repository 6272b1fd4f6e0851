//! The sockets: inherited ones, else a Unix socket, else TCP.
//!
//! Inherited are those that a supervisor bound (`sd_listen_fds`(3)): `cargo stario`, systemd. They
//! stay with it; others may accept from them before us, beside us and after us. Those that we bind
//! are reserved before the bootstrap, so that an address in use is known early, and listen after
//! it, so that nobody connects to a server that may not come to be.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use crate::error::Failed;
use crate::serve::of_one_connection;
use crate::settings::Settings;

#[cfg(unix)]
mod unix;

/// Connections that wait to be accepted. The system's own limit may be lower.
const BACKLOG: u32 = 4096;

/// What a supervisor hands over.
#[derive(Default)]
pub(crate) struct Inherited {
    tcp: Vec<std::net::TcpListener>,
    #[cfg(unix)]
    unix: Vec<std::os::unix::net::UnixListener>,
}

impl Inherited {
    /// Takes them out of the environment, so that they are not meant for processes that we start.
    /// To be called before any other thread runs.
    #[cfg(unix)]
    pub(crate) fn take() -> Result<Self, Failed> {
        // Without it, or with another process's id in it, they are meant for somebody else.
        // listenfd takes them in the first case.
        let pid = std::env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok());
        let mut passed = listenfd::ListenFd::from_env();
        let mut taken = Self::default();
        if pid != Some(std::process::id()) {
            return Ok(taken);
        }
        for index in 0..passed.len() {
            if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
                listener.set_nonblocking(true).map_err(|error| unusable(index, error))?;
                taken.tcp.push(listener);
            } else {
                let listener = passed.take_unix_listener(index);
                let listener = listener.map_err(|error| unusable(index, error))?;
                let Some(listener) = listener else { continue };
                listener.set_nonblocking(true).map_err(|error| unusable(index, error))?;
                taken.unix.push(listener);
            }
        }
        Ok(taken)
    }

    /// There are none here.
    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    pub(crate) fn take() -> Result<Self, Failed> {
        Ok(Self::default())
    }

    fn is_empty(&self) -> bool {
        #[cfg(unix)]
        if !self.unix.is_empty() {
            return false;
        }
        self.tcp.is_empty()
    }

    fn listen(self) -> io::Result<Vec<Listener>> {
        let tcp = self.tcp.into_iter().map(|listener| {
            Ok(Listener::Tcp { listener: TcpListener::from_std(listener)?, ours: false })
        });
        #[cfg(unix)]
        let all = tcp.chain(self.unix.into_iter().map(|listener| {
            Ok(Listener::Unix { listener: UnixListener::from_std(listener)?, file: None })
        }));
        #[cfg(not(unix))]
        let all = tcp;
        all.collect()
    }
}

#[cfg(unix)]
fn unusable(index: usize, error: io::Error) -> Failed {
    let message = format!(
        "socket {index} of those that LISTEN_FDS hands over is not one to listen on (TCP or Unix)"
    );
    Failed { message, cause: Some(error.into()) }
}

/// Bound, but not listening yet where it is ours.
pub(crate) enum Reserved {
    Inherited(Inherited),
    Tcp {
        socket: TcpSocket,
        address: SocketAddr,
    },
    #[cfg(unix)]
    Unix(unix::Place),
}

/// Where the server listens.
pub(crate) struct Listening {
    pub(crate) listeners: Vec<Listener>,
    /// For a line about it.
    pub(crate) place: String,
    /// Nobody else knows the place: it is for us to say.
    pub(crate) ours: bool,
}

impl Reserved {
    /// Takes what was inherited, else the place that the settings name.
    pub(crate) async fn new(inherited: Inherited, settings: &Settings) -> Result<Self, Failed> {
        if !inherited.is_empty() {
            return Ok(Self::Inherited(inherited));
        }
        if let Some(path) = &settings.unix_socket {
            #[cfg(unix)]
            return unix::Place::check(path, settings.unix_socket_mode).map(Self::Unix);
            #[cfg(not(unix))]
            return Err(Failed {
                message: format!(
                    "STARIO_UNIX_SOCKET is {:?}, but Unix sockets are served on Unix only",
                    path.display()
                ),
                cause: None,
            });
        }
        let host = settings.host.trim_start_matches('[').trim_end_matches(']');
        let addresses = tokio::net::lookup_host((host, settings.port)).await;
        let addresses = addresses.map_err(|error| Failed {
            message: format!("STARIO_HOST is {:?}, which has no address", settings.host),
            cause: Some(error.into()),
        })?;
        let mut last = None;
        for address in addresses {
            match bind(address) {
                Ok(socket) => return Ok(Self::Tcp { socket, address }),
                Err(error) => last = Some(tcp_failed(address, error)),
            }
        }
        Err(last.unwrap_or_else(|| Failed {
            message: format!("STARIO_HOST is {:?}, which has no address", settings.host),
            cause: None,
        }))
    }

    /// From now on clients can connect.
    pub(crate) fn listen(self) -> Result<Listening, Failed> {
        match self {
            Self::Inherited(inherited) => {
                let listeners = inherited.listen().map_err(|error| Failed {
                    message: "cannot listen on the inherited sockets".to_owned(),
                    cause: Some(error.into()),
                })?;
                let count = listeners.len();
                let place =
                    format!("{count} inherited {}", if count == 1 { "socket" } else { "sockets" });
                Ok(Listening { listeners, place, ours: false })
            }
            Self::Tcp { socket, address } => {
                let listener =
                    socket.listen(BACKLOG).map_err(|error| tcp_failed(address, error))?;
                let address = listener.local_addr().unwrap_or(address);
                let place = format!("http://{address}");
                let listeners = vec![Listener::Tcp { listener, ours: true }];
                Ok(Listening { listeners, place, ours: true })
            }
            #[cfg(unix)]
            Self::Unix(place) => {
                let (listener, file) = place.listen()?;
                let place = format!("unix:{}", file.path().display());
                let listeners = vec![Listener::Unix { listener, file: Some(file) }];
                Ok(Listening { listeners, place, ours: true })
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As the standard library: what a server before us left in TIME_WAIT is no obstacle. On Windows
    // the option means something else.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn tcp_failed(address: SocketAddr, error: io::Error) -> Failed {
    let message = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use; STARIO_PORT chooses another port (0 takes a free one)")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{address} is no address of this machine; STARIO_HOST chooses another one")
        }
        io::ErrorKind::PermissionDenied => {
            format!("cannot listen on {address}; STARIO_PORT chooses another port")
        }
        _ => format!("cannot listen on {address}"),
    };
    Failed { message, cause: Some(error.into()) }
}

/// One that is accepted from.
pub(crate) enum Listener {
    Tcp {
        listener: TcpListener,
        /// Nobody else accepts from it.
        ours: bool,
    },
    #[cfg(unix)]
    Unix {
        listener: UnixListener,
        /// The socket's file, where it is ours.
        file: Option<unix::File>,
    },
}

/// The next connection that waits, if one does. What is wrong with one says nothing of the others.
fn next<T>(mut accept: impl FnMut() -> io::Result<T>) -> Option<T> {
    loop {
        match accept() {
            Ok(accepted) => return Some(accepted),
            Err(error) if of_one_connection(&error) => {}
            Err(_) => return None,
        }
    }
}

impl Listener {
    /// The next connection, with the client's address where it has one.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp { listener, .. } => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::tcp(stream), Some(peer)))
            }
            #[cfg(unix)]
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), None))
            }
        }
    }

    /// Ends it. Who connected to it before gets in, unless it is shared: then they belong to the
    /// next server.
    pub(crate) fn last(self) -> Vec<(Stream, Option<SocketAddr>)> {
        let mut last = Vec::new();
        match self {
            Self::Tcp { ours: false, .. } => {}
            Self::Tcp { listener, ours: true } => {
                // Tokio's own accept knows only of what the system has announced so far.
                let Ok(listener) = listener.into_std() else { return last };
                while let Some((stream, peer)) = next(|| listener.accept()) {
                    let stream =
                        stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                    last.extend(stream.ok().map(|stream| (Stream::tcp(stream), Some(peer))));
                }
            }
            #[cfg(unix)]
            Self::Unix { file: None, .. } => {}
            #[cfg(unix)]
            Self::Unix { listener, file: Some(file) } => {
                // Nobody new finds it; those that did wait in the queue.
                drop(file);
                let Ok(listener) = listener.into_std() else { return last };
                while let Some((stream, _)) = next(|| listener.accept()) {
                    let stream =
                        stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
                    last.extend(stream.ok().map(|stream| (Stream::Unix(stream), None)));
                }
            }
        }
        last
    }
}

/// A connection of either kind. One type, so that hyper and the routes are compiled once.
pub(crate) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// The stream inside, whichever it is.
macro_rules! inside {
    ($stream:expr, $name:ident => $body:expr) => {
        match $stream {
            Stream::Tcp($name) => $body,
            #[cfg(unix)]
            Stream::Unix($name) => $body,
        }
    };
}

impl Stream {
    fn tcp(stream: TcpStream) -> Self {
        // Events of a stream are small and are wanted at once.
        let _ = stream.set_nodelay(true);
        Self::Tcp(stream)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        inside!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        inside!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inside!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        inside!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inside!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inside!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}
