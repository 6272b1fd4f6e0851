//! On Linux: the group's descriptors against the kernel's table of sockets.
//!
//! `listeners` would read the descriptors of every process on the machine at each look, and names
//! one process alone for a socket that several share.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use procfs::net::{TcpNetEntries, TcpNetEntry, UnixState};
use procfs::process::{FDTarget, Process, all_processes};
use procfs::{FromBufReadSI, ProcResult};

use super::{Found, Look};
use crate::event::Endpoint;

/// How the kernel writes `TCP_LISTEN`.
const LISTEN: &str = "0A";

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
    ["tcp", "tcp6"]
        .into_iter()
        .filter_map(|table| all_listening(process.pid, table).ok())
        .flatten()
        .filter(|entry| sockets.contains(&entry.inode))
        .map(|entry| Found { endpoint: Endpoint::Tcp(entry.local_address), inode: entry.inode })
        .chain(unix_socket.and_then(|path| bound_to(path, process, &sockets)))
        .collect()
}

/// Whether a process of the group has this socket.
pub(super) fn has(group: u32, inode: u64) -> bool {
    let Ok(leader) = i32::try_from(group) else { return false };
    members(leader).iter().any(|process| sockets(process).contains(&inode))
}

/// The sockets of a process's network that listen.
///
/// The kernel lists them before all others (`tcp_get_idx` in its `net/ipv4/tcp_ipv4.c`). What comes
/// behind them is not read: under load that is tens of thousands of closed connections.
fn all_listening(pid: i32, table: &str) -> ProcResult<Vec<TcpNetEntry>> {
    let lines = BufReader::new(File::open(format!("/proc/{pid}/net/{table}"))?).lines();
    let mut text = String::new();
    for (number, line) in lines.enumerate() {
        let line = line?;
        let state = line.split_whitespace().nth(3);
        if number > 0 && state != Some(LISTEN) {
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    let TcpNetEntries(entries) =
        TcpNetEntries::from_buf_read(text.as_bytes(), procfs::current_system_info())?;
    Ok(entries)
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

fn members(group: i32) -> Vec<Process> {
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
