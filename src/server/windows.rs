//! A running executable cannot be replaced, so that cargo could not build while the server runs: what
//! runs is a copy.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::event::Artifact;

/// The folder of the copies, beside the executable.
const COPIES: &str = "stario-running";

/// A copy of the executable, named by its content. Copies that nobody runs any more are removed.
pub(super) fn runnable(artifact: &Artifact) -> io::Result<PathBuf> {
    let executable = &artifact.executable;
    let folder = executable.parent().unwrap_or(Path::new(".")).join(COPIES);
    fs::create_dir_all(&folder)?;
    let name = executable.file_stem().unwrap_or(OsStr::new("server")).to_string_lossy();
    let copy = folder.join(format!("{name}-{:032x}.exe", artifact.identity.0));
    for old in fs::read_dir(&folder)?.flatten() {
        if old.path() != copy {
            // One that runs cannot be removed, and is not to be.
            let _ = fs::remove_file(old.path());
        }
    }
    if !copy.exists() {
        fs::copy(executable, &copy)?;
    }
    Ok(copy)
}
