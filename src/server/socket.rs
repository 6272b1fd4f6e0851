//! The socket that the tool holds for its whole life and that one server after the other inherits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use crate::error::Failure;
use crate::server::listening::holder;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::{Listener, bind};
#[cfg(windows)]
pub use windows::{Listener, bind};

/// What tells our socket from those that a server has made itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAs {
    /// Its address, where it has one.
    pub(super) address: Option<SocketAddr>,
    /// Its inode (Linux).
    pub(super) inode: u64,
}

/// A port that is free on this host now: for a server that binds for itself.
pub fn free_port(host: &str) -> Result<u16, Failure> {
    let listener = bind_tcp(host, 0)?;
    let address = listener.local_addr().map_err(|error| failed(host, 0, &error))?;
    Ok(address.port())
}

/// Makes sure that a server can bind this for itself. It is free again when this returns.
///
/// # Errors
/// As [`bind`].
pub fn ensure_free(host: &str, port: u16, unix_socket: Option<&Path>) -> Result<(), Failure> {
    match unix_socket {
        Some(path) => bind(host, port, Some(path)).map(drop),
        None => bind_tcp(host, port).map(drop),
    }
}

/// Binds the first address of the host that can be bound.
fn bind_tcp(host: &str, port: u16) -> Result<TcpListener, Failure> {
    TcpListener::bind((unbracketed(host), port)).map_err(|error| failed(host, port, &error))
}

/// `[::1]`, as it stands in URLs.
fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn failed(host: &str, port: u16, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind;
    let name = unbracketed(host);
    let shown = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    match error.kind() {
        ErrorKind::AddrInUse => {
            let holder = holder((Ipv4Addr::UNSPECIFIED, port).into())
                .map_or_else(String::new, |it| format!(" by `{}` (process {})", it.name, it.pid));
            Failure::usage(format!("{shown} is taken{holder}"))
                .help("`--port 0` picks a free port, `--port NUMBER` another one")
        }
        ErrorKind::PermissionDenied => {
            Failure::usage(format!("listening on {shown} is not permitted: {error}"))
                .help("ports below 1024 are for the system; `--port 8000` is free for all")
        }
        ErrorKind::AddrNotAvailable => {
            Failure::usage(format!("this machine has no address {host}: {error}"))
                .help("`--host 127.0.0.1` is reached from this machine, `--host 0.0.0.0` from all")
        }
        _ => {
            let failure = Failure::usage(format!("could not listen on {shown}: {error}"));
            if name.parse::<IpAddr>().is_ok() {
                return failure;
            }
            failure
                .help(format!("is `{host}` a name of this machine? `--host 127.0.0.1` needs none"))
        }
    }
}
