//! On Linux: the group's descriptors against the kernel's table of sockets.
//!
//! `listeners` would read the descriptors of every process on the machine at each look, and names
//! one process alone for a socket that several share.

use std::collections::HashSet;
use std::path::Path;

use procfs::net::{TcpState, UnixState};
use procfs::process::{FDTarget, Process, all_processes};

use super::{Found, Look};
use crate::event::Endpoint;

/// The TCP sockets on which the group's processes listen, and the Unix socket at this path if one of
/// them has bound it.
pub(super) fn listening(group: u32, look: Look, unix_socket: Option<&Path>) -> Vec<Found> {
    let Ok(leader) = i32::try_from(group) else { return Vec::new() };
    let processes: Vec<Process> = match look {
        Look::Leader => Process::new(leader).into_iter().collect(),
        Look::Group => members(leader),
    };
    let sockets: HashSet<u64> = processes.iter().flat_map(sockets).collect();
    // They are in one network, as a rule: that of the first.
    let Some(process) = processes.first().filter(|_| !sockets.is_empty()) else {
        return Vec::new();
    };
    let tables = [process.tcp(), process.tcp6()];
    let entries = tables.into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.state == TcpState::Listen && sockets.contains(&entry.inode))
        .map(|entry| Found { endpoint: Endpoint::Tcp(entry.local_address), inode: entry.inode })
        .chain(unix_socket.and_then(|path| bound_to(path, process, &sockets)))
        .collect()
}

/// The socket that is bound to this path. Connections that it has accepted have the same path.
fn bound_to(path: &Path, process: &Process, sockets: &HashSet<u64>) -> Option<Found> {
    let entry = process.unix().ok()?.into_iter().find(|entry| {
        entry.state == UnixState::UNCONNECTED
            && entry.path.as_deref() == Some(path)
            && sockets.contains(&entry.inode)
    })?;
    Some(Found { endpoint: Endpoint::Unix(path.to_owned()), inode: entry.inode })
}

/// The processes of a group.
pub(in crate::server) fn members(group: i32) -> Vec<Process> {
    let Ok(processes) = all_processes() else { return Vec::new() };
    processes
        .flatten()
        .filter(|process| process.stat().is_ok_and(|stat| stat.pgrp == group))
        .collect()
}

fn sockets(process: &Process) -> Vec<u64> {
    let Ok(descriptors) = process.fd() else { return Vec::new() };
    let inode = |target| match target {
        FDTarget::Socket(inode) => Some(inode),
        _ => None,
    };
    descriptors.flatten().filter_map(|descriptor| inode(descriptor.target)).collect()
}
