//! What a server says of itself over the socket that `NOTIFY_SOCKET` names: systemd's protocol
//! (`sd_notify(3)`), one socket a server.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use crate::event::Generation;
use crate::process::Groups;

#[cfg(unix)]
mod unix;
#[cfg(not(unix))]
#[path = "notify/other.rs"]
mod unix;

pub(super) use unix::Notify;

/// Where the sockets lie: a folder of the tool's own that nobody else can enter. It goes when the
/// tool ends, however that happens.
#[derive(Clone, Debug)]
pub struct Folder(Arc<TempDir>);

impl Folder {
    /// Makes one among the system's temporary files, and sees whether a socket can be made in it: its
    /// path may be too long for one. Needs tokio's runtime.
    pub fn make(groups: &Groups) -> io::Result<Self> {
        // The folder that the user names may have too long a name for a socket.
        Self::make_in(&std::env::temp_dir(), groups)
            .or_else(|error| Self::make_in(Path::new("/tmp"), groups).map_err(|_| error))
    }

    fn make_in(parent: &Path, groups: &Groups) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("cargo-stario-").tempdir_in(parent)?;
        groups.remove_at_end(folder.path())?;
        let folder = Self(Arc::new(folder));
        // As long as any that is to come.
        Notify::open(&folder, Generation(999_999)).map(drop)?;
        Ok(folder)
    }

    fn socket_of(&self, generation: Generation) -> PathBuf {
        // Short: the system allows about a hundred bytes in all.
        self.path().join(generation.to_string())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// What a server can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// `READY=1`
    Ready,
    /// `STOPPING=1`
    Stopping,
    /// `STATUS=…`
    Status(String),
    /// `ERRNO=…`: why it fails, as the system numbers errors.
    Errno(i32),
}

/// The words of one message that mean something here, in their order. What systemd has more of is
/// passed over.
fn words(message: &[u8]) -> Vec<Word> {
    let message = String::from_utf8_lossy(message);
    message
        .lines()
        .filter_map(|line| match line.split_once('=')? {
            ("READY", "1") => Some(Word::Ready),
            ("STOPPING", "1") => Some(Word::Stopping),
            ("STATUS", status) => Some(Word::Status(status.to_owned())),
            ("ERRNO", number) => number.parse().ok().map(Word::Errno),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_in_their_order_and_the_rest_is_passed_over() {
        let message = b"MAINPID=12\nSTATUS=opening = the door\nREADY=1\nREADY=0\nFDSTORE=1\n=\nx";
        let said = [Word::Status("opening = the door".into()), Word::Ready];
        assert_eq!(words(message), said);
        assert_eq!(words(b"STOPPING=1\nERRNO=98\nERRNO=x"), [Word::Stopping, Word::Errno(98)]);
        assert_eq!(words(b""), []);
        assert_eq!(words(b"STATUS=\xff"), [Word::Status("\u{fffd}".into())]);
    }
}
