//! On Linux: the group's descriptors against the kernel's table of sockets.
//!
//! `listeners` would read the descriptors of every process on the machine at each look, and names
//! one process alone for a socket that several share.

use std::collections::HashSet;

use procfs::net::TcpState;
use procfs::process::{FDTarget, Process, all_processes};

use super::{Found, Look};

/// The TCP sockets on which the group's processes listen.
pub(super) fn listening(group: u32, look: Look) -> Vec<Found> {
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
        .map(|entry| Found { address: entry.local_address, inode: entry.inode })
        .collect()
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
