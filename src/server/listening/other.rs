//! Elsewhere: the system's table of listening processes.

use listeners::{Protocol, SocketState};

use std::path::Path;

use super::{Found, Look};
use crate::event::Endpoint;

/// The TCP sockets on which the group's processes listen. The table is read as a whole however
/// thoroughly one wants to look, and has no Unix sockets.
pub(super) fn listening(group: u32, _look: Look, _unix_socket: Option<&Path>) -> Vec<Found> {
    let all = listeners::get_all().unwrap_or_default();
    all.into_iter()
        .filter(|it| it.protocol == Protocol::TCP && it.state == SocketState::Listen)
        .filter(|it| is_member(it.process.pid, group))
        .map(|it| Found { endpoint: Endpoint::Tcp(it.socket), inode: 0 })
        .collect()
}

#[cfg(unix)]
fn is_member(pid: u32, group: u32) -> bool {
    let raw = |pid: u32| i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let Some(pid) = raw(pid) else { return false };
    rustix::process::getpgid(Some(pid)).ok() == raw(group)
}

/// There are no groups.
#[cfg(not(unix))]
fn is_member(pid: u32, group: u32) -> bool {
    pid == group
}
