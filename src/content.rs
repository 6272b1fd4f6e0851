//! The content of a file as a hash: equal hashes are equal contents. Used for executables and for
//! what is watched.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3Default;

/// Bytes read at a time.
pub(crate) const CHUNK: usize = 1 << 18;

/// Reads the file to its end. More may be added to what comes of it.
///
/// # Errors
///
/// As [`read`].
pub(crate) fn hash(path: &Path) -> io::Result<Xxh3Default> {
    let mut hash = Xxh3Default::new();
    read(path, |piece| hash.update(piece))?;
    Ok(hash)
}

/// Reads the file to its end, piece by piece.
///
/// # Errors
///
/// It is no regular file (opening a pipe would wait for its other end), or cannot be read.
pub(crate) fn read(path: &Path, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => take(&chunk[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
