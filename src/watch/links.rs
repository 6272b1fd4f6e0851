//! Symbolic links inside of what is watched: where they lead.

use std::path::{Path, PathBuf};

/// A link, and what it leads to. Neither path has links in it, but for the last name of `place`.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) place: PathBuf,
    pub(super) target: PathBuf,
    /// Whether the target is a folder.
    pub(super) folder: bool,
}

impl Link {
    /// The link at `place`. `None`: it is none, or leads nowhere.
    pub(super) fn read(place: &Path) -> Option<Self> {
        let target = place.canonicalize().ok().filter(|target| target != place)?;
        let metadata = target.metadata().ok()?;
        // A socket, a pipe, a device: no build reads it.
        (metadata.is_dir() || metadata.is_file()).then(|| Self {
            place: place.to_path_buf(),
            target,
            folder: metadata.is_dir(),
        })
    }

    /// Whether it still leads there. It does while the target is gone: many programs write so.
    pub(super) fn holds(&self) -> bool {
        match Self::read(&self.place) {
            Some(now) => now.target == self.target && now.folder == self.folder,
            None => self.place.is_symlink(),
        }
    }
}
