//! What runs is what cargo built.

use std::io;
use std::path::PathBuf;

use crate::event::Artifact;

/// The executable to run. Cargo replaces the file while the old one runs.
#[expect(clippy::unnecessary_wraps, reason = "on Windows it is copied")]
pub(super) fn runnable(artifact: &Artifact) -> io::Result<PathBuf> {
    Ok(artifact.executable.clone())
}
