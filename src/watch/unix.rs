//! Unix: a file is told by its inode.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// What stays the same as long as it is the same file.
pub(super) fn identity(metadata: &Metadata) -> u64 {
    metadata.ino()
}
