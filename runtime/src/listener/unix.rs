//! A Unix socket of our own: its file, from the check that nobody has it to its removal.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket};

use super::BACKLOG;
use crate::error::Failed;

/// Where the socket will be.
pub(crate) struct Place {
    path: PathBuf,
    mode: u32,
}

impl Place {
    /// Makes sure that nobody listens there, and that there is nothing but a dead socket.
    pub(crate) fn check(path: &Path, mode: u32) -> Result<Self, Failed> {
        // The server may change its folder.
        let path = std::path::absolute(path).map_err(|error| failed(path, error))?;
        Self::is_free(&path)?;
        Ok(Self { path, mode })
    }

    /// Whether a dead socket is there.
    fn is_free(path: &Path) -> Result<bool, Failed> {
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(path, error)),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(in_use(path, "is there and is not a socket"));
            }
            Ok(_socket) => {}
        }
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
            // It went away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            // Also what may not be connected to, or has a full queue, is somebody's.
            _ => Err(in_use(path, "is in use")),
        }
    }

    /// Makes the socket. Its mode is set before it listens: nobody can connect before.
    pub(crate) fn listen(self) -> Result<(UnixListener, File), Failed> {
        if Self::is_free(&self.path)? {
            std::fs::remove_file(&self.path).map_err(|error| failed(&self.path, error))?;
        }
        self.bind().map_err(|error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                in_use(&self.path, "is in use")
            } else {
                failed(&self.path, error)
            }
        })
    }

    fn bind(&self) -> io::Result<(UnixListener, File)> {
        let socket = UnixSocket::new_stream()?;
        socket.bind(&self.path)?;
        let found = std::fs::symlink_metadata(&self.path)?;
        let file = File { path: self.path.clone(), identity: (found.dev(), found.ino()) };
        std::fs::set_permissions(&self.path, Permissions::from_mode(self.mode))?;
        Ok((socket.listen(BACKLOG)?, file))
    }
}

fn in_use(path: &Path, why: &str) -> Failed {
    let message = format!("{} {why}; STARIO_UNIX_SOCKET chooses another path", path.display());
    Failed { message, cause: Some(io::Error::from_raw_os_error(libc::EADDRINUSE).into()) }
}

fn failed(path: &Path, error: io::Error) -> Failed {
    let message = format!("cannot listen on {} (STARIO_UNIX_SOCKET)", path.display());
    Failed { message, cause: Some(error.into()) }
}

/// The socket's file. Removed on drop, if it is still the one that we made.
pub(crate) struct File {
    path: PathBuf,
    identity: (u64, u64),
}

impl File {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let found = std::fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
