//! The socket on Unix.

use std::io;
use std::path::{Path, PathBuf};

use tokio::net::UnixDatagram;

use super::{Folder, Word, words};
use crate::event::Generation;

/// No message is longer.
const LONGEST: usize = 16 * 1024;

/// One server's socket. Dropping it removes its file.
#[derive(Debug)]
pub(in crate::server) struct Notify {
    socket: UnixDatagram,
    path: PathBuf,
    /// Kept for as long as the socket lies there.
    _folder: Folder,
}

impl Notify {
    /// Listens. Needs tokio's runtime.
    pub(in crate::server) fn open(folder: &Folder, generation: Generation) -> io::Result<Self> {
        let path = folder.socket_of(generation);
        let socket = UnixDatagram::bind(&path)?;
        Ok(Self { socket, path, _folder: folder.clone() })
    }

    /// What goes into `NOTIFY_SOCKET`.
    pub(in crate::server) fn path(&self) -> &Path {
        &self.path
    }

    /// The next message.
    pub(in crate::server) async fn next(&self) -> Vec<Word> {
        let mut message = vec![0; LONGEST];
        match self.socket.recv(&mut message).await {
            Ok(length) => words(&message[..length]),
            // Nothing more can come.
            Err(_) => std::future::pending().await,
        }
    }

    /// What has come and was not read yet.
    pub(in crate::server) fn rest(&self) -> Vec<Word> {
        let mut all = Vec::new();
        let mut message = vec![0; LONGEST];
        while let Ok(length) = self.socket.try_recv(&mut message) {
            all.extend(words(&message[..length]));
        }
        all
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        // The folder goes with whatever is left in it.
        let _ = std::fs::remove_file(&self.path);
    }
}
