//! Unix: a file is told by its inode, and any change of it by a time.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// What stays the same as long as it is the same file.
pub(super) fn identity(metadata: &Metadata) -> u64 {
    metadata.ino()
}

/// When anything about the file was last changed, in nanoseconds. Nobody can set it.
pub(super) fn touched(metadata: &Metadata) -> i128 {
    i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec())
}
