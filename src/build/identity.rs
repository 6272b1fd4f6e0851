//! What an executable is: its content as a hash, and a stamp that tells cheaply whether the file is
//! still the one that was hashed.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use crate::content;
use crate::event::{Identity, Mentions, Stamp};

use super::mentions::Search;

/// How often to start again when the file is written meanwhile.
const ATTEMPTS: u32 = 5;

/// The file's stamp as it is now.
pub fn stamp(path: &Path) -> io::Result<Stamp> {
    std::fs::metadata(path).and_then(|metadata| stamp_of(&metadata))
}

fn stamp_of(metadata: &Metadata) -> io::Result<Stamp> {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Ok(Stamp { inode, modified: metadata.modified()?, length: metadata.len() })
}

/// What an executable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identified {
    /// Of the file and of the environment that its build scripts gave it.
    pub(super) identity: Identity,
    /// That the file had.
    pub(super) stamp: Stamp,
    pub(super) mentions: Mentions,
}

/// What is in an executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Content {
    hash: u128,
    mentions: Mentions,
    stamp: Stamp,
}

impl Content {
    /// What is in the file. Reads it, unless it is the one that was `known` before.
    pub(super) fn read(executable: &Path, known: Option<Self>) -> io::Result<Self> {
        if let Some(known) = known
            && known.is_of(executable)
        {
            return Ok(known);
        }
        for _ in 0..ATTEMPTS {
            let before = stamp(executable)?;
            let (mut hash, mut search) = (Xxh3Default::new(), Search::new());
            content::read(executable, |piece| {
                hash.update(piece);
                search.look(piece);
            })?;
            if stamp(executable)? == before {
                let hash = hash.digest128();
                return Ok(Self { hash, mentions: search.found(), stamp: before });
            }
        }
        Err(io::Error::other("it is being written all the time"))
    }

    /// Whether the file is still the one that was read.
    pub(super) fn is_of(&self, executable: &Path) -> bool {
        stamp(executable).is_ok_and(|stamp| stamp == self.stamp)
    }

    /// What it is, together with what its build scripts have set for it.
    pub(super) fn identify(self, env: &[(String, String)]) -> Identified {
        let mut hash = Xxh3Default::new();
        hash.update(&self.hash.to_le_bytes());
        for text in env.iter().flat_map(|(name, value)| [name, value]) {
            hash.update(&text.len().to_le_bytes());
            hash.update(text.as_bytes());
        }
        let identity = Identity(hash.digest128());
        Identified { identity, stamp: self.stamp, mentions: self.mentions }
    }
}

/// An executable that was read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Known {
    path: PathBuf,
    content: Content,
}

impl Known {
    pub(super) fn new(path: &Path, content: Content) -> Self {
        Self { path: path.to_owned(), content }
    }

    /// What is known of this one.
    pub(super) fn of(&self, path: &Path) -> Option<Content> {
        (self.path == path).then_some(self.content)
    }
}

/// The content of a file as a hash.
pub(super) fn hash(path: &Path) -> io::Result<u128> {
    content::hash(path).map(|hash| hash.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_and_environment_make_the_identity_and_the_time_stamp_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app");
        let env = [("OUT_DIR".to_owned(), "/a".to_owned())];
        std::fs::write(&path, "one").unwrap();
        let identify = |env: &[_]| Content::read(&path, None).unwrap().identify(env);
        let one = identify(&[]);
        let with_env = identify(&env);
        std::fs::write(&path, "two").unwrap();
        let two = identify(&[]);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "one").unwrap();
        std::fs::File::open(&path)
            .unwrap()
            .set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        let again = identify(&[]);

        assert_ne!(one.identity, two.identity);
        assert_ne!(one.identity, with_env.identity);
        assert_eq!(one.identity, again.identity);
        assert_ne!(one.stamp, again.stamp);
    }
}
