//! What an executable is: its content as a hash, and a stamp that tells cheaply whether the file is
//! still the one that was hashed.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use crate::content;
use crate::event::{Identity, Stamp};

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

/// The identity of an executable and of the environment that its build scripts gave it, and the
/// stamp that the file had.
pub(super) fn identify(
    executable: &Path,
    env: &[(String, String)],
) -> io::Result<(Identity, Stamp)> {
    for _ in 0..ATTEMPTS {
        let before = stamp(executable)?;
        let mut hash = content::hash(executable)?;
        if stamp(executable)? == before {
            for (name, value) in env {
                for text in [name, value] {
                    hash.update(&text.len().to_le_bytes());
                    hash.update(text.as_bytes());
                }
            }
            return Ok((Identity(hash.digest128()), before));
        }
    }
    Err(io::Error::other("it is being written all the time"))
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
        let one = identify(&path, &[]).unwrap();
        let with_env = identify(&path, &env).unwrap();
        std::fs::write(&path, "two").unwrap();
        let two = identify(&path, &[]).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "one").unwrap();
        std::fs::File::open(&path)
            .unwrap()
            .set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        let again = identify(&path, &[]).unwrap();

        assert_ne!(one.0, two.0);
        assert_ne!(one.0, with_env.0);
        assert_eq!(one.0, again.0);
        assert_ne!(one.1, again.1);
    }
}
