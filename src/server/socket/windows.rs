//! Windows has no descriptors to inherit: servers bind for themselves.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use super::KnownAs;
use crate::error::Failure;
use crate::event::Endpoint;
use crate::process::Socket;

/// There is none.
#[derive(Debug)]
pub struct Listener(Infallible);

/// Always fails.
///
/// # Errors
/// Says what to do instead.
pub fn bind(_host: &str, _port: u16, _unix_socket: Option<&Path>) -> Result<Listener, Failure> {
    Err(Failure::usage("a socket cannot be handed over on Windows").help("use `--listen direct`"))
}

impl Listener {
    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        match self.0 {}
    }

    /// The TCP port.
    pub fn port(&self) -> Option<u16> {
        match self.0 {}
    }

    pub(in crate::server) fn to_pass(&self) -> io::Result<Socket> {
        match self.0 {}
    }

    pub(in crate::server) fn known_as(&self) -> KnownAs {
        match self.0 {}
    }

    /// Whether a server that was handed this listener makes use of it.
    pub fn taken(&self, _pid: u32, _shared: bool) -> bool {
        match self.0 {}
    }

    /// As the first server found it.
    pub fn reset(&self) {
        match self.0 {}
    }
}
