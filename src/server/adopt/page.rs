//! The page of memory that the tool shares with a server, and the two descriptors by which waiting
//! threads of it are woken. What lies where in the page is in [`wire::page`](super::wire::page).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, memfd_create};

use super::wire::{PAGE, page};

/// One server's. The server is not trusted with it: nothing but numbers is read, and they are used
/// for waiting alone.
#[derive(Debug)]
pub(super) struct Page {
    /// Written with `pwrite`, so that the tool has no mapping that a server could take away.
    memory: File,
    /// Can be read while the server is retired.
    retired: OwnedFd,
    /// Can be read while it is not.
    active: OwnedFd,
}

/// Device and inode of the file of a Unix socket.
pub(super) type FileId = (u64, u64);

impl Page {
    pub(super) fn new() -> io::Result<Self> {
        let memory = File::from(memfd_create("cargo-stario", MemfdFlags::CLOEXEC)?);
        memory.set_len(PAGE as u64)?;
        let counter = |start| eventfd(start, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let page = Self { memory, retired: counter(0)?, active: counter(1)? };
        page.put(page::TOOL, std::process::id())?;
        Ok(page)
    }

    /// What the server is welcomed with, but for the last.
    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.memory.as_fd(), self.retired.as_fd(), self.active.as_fd()]
    }

    /// So many connections of other servers have been laid there for it.
    pub(super) fn handed(&self, count: u32) -> io::Result<()> {
        self.put(page::HANDED, count)
    }

    /// It is retired, and the next one accepts: it passes connections on which more is asked.
    pub(super) fn drain(&self) -> io::Result<()> {
        self.put(page::DRAINS, 1)
    }

    /// It is retired and about to be asked to stop: it passes on what it closes.
    pub(super) fn leave(&self) -> io::Result<()> {
        self.put(page::LEAVING, 1)
    }

    fn put(&self, at: usize, number: u32) -> io::Result<()> {
        self.memory.write_all_at(&number.to_ne_bytes(), at as u64)
    }

    /// Has the server accept no more connections, or accept them again.
    pub(super) fn retire(&self, retired: bool) -> io::Result<()> {
        let (over, now) =
            if retired { (&self.active, &self.retired) } else { (&self.retired, &self.active) };
        // It is 0 already where nothing has changed.
        let _ = rustix::io::read(over, &mut [0; 8]);
        self.put(page::RETIRED, u32::from(retired))?;
        rustix::io::write(now, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    /// Which connections are the tool's own: see [`page::PROBE`].
    pub(super) fn expect(&self, probe: u32) -> io::Result<()> {
        self.put(page::PROBE, probe)
    }

    /// Connections that the server has accepted and not closed, as far as the shim has seen it.
    pub(super) fn connections(&self) -> u64 {
        let mut number = [0; 8];
        let read = self.memory.read_exact_at(&mut number, page::CONNECTIONS as u64);
        // It can be read, being ours. If not, there is nothing to wait for.
        read.map_or(0, |()| u64::from_ne_bytes(number))
    }

    /// Which files belong to sockets that are shared.
    pub(super) fn protect(&self, files: &[FileId]) -> io::Result<()> {
        let files = &files[..files.len().min(page::MOST_FILES)];
        // None while they are written.
        self.put(page::FILES, 0)?;
        let bytes: Vec<u8> = files
            .iter()
            .flat_map(|(device, inode)| [device.to_ne_bytes(), inode.to_ne_bytes()])
            .flatten()
            .collect();
        self.memory.write_all_at(&bytes, page::FILE as u64)?;
        self.put(page::FILES, u32::try_from(files.len()).unwrap_or_default())
    }
}
