//! Folders that say of themselves that they are a cache (<https://bford.info/cachedir/>): each of
//! cargo's target folders does, those of other workspaces too.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::names;

/// The file that says so.
pub(super) const TAG: &str = "CACHEDIR.TAG";
/// What it starts with.
const SIGNATURE: [u8; 43] = *b"Signature: 8a477f597d28d172789f06886806bc55";

/// Which folders of a tree are caches, as far as they have been looked at.
#[derive(Debug, Default)]
pub(super) struct Caches {
    /// By their paths below the tree's folder; in order, those in a folder come behind it.
    known: BTreeMap<PathBuf, bool>,
    /// What was asked last: most often the next path lies in the same folder.
    last: Option<(PathBuf, bool)>,
}

impl Caches {
    /// Whether the folder `below` is a cache or lies in one. `root` itself may be one.
    pub(super) fn have(&mut self, root: &Path, below: &Path) -> bool {
        let Some(above) = below.parent() else { return false };
        if let Some((last, is_one)) = &self.last
            && last == below
        {
            return *is_one;
        }
        let is_one = self.known.get(below).copied().unwrap_or_else(|| {
            let is_one = self.have(root, above) || is_cache(&root.join(below));
            self.known.insert(below.to_path_buf(), is_one);
            is_one
        });
        self.last = Some((below.to_path_buf(), is_one));
        is_one
    }

    /// Something happened to the folder `below`: it may be another now.
    pub(super) fn forget(&mut self, below: &Path) {
        self.last = None;
        names::forget_below(&mut self.known, below);
    }
}

/// Whether `folder` is tagged as a cache.
pub(super) fn is_cache(folder: &Path) -> bool {
    let tag = folder.join(TAG);
    // Asked before it is opened: opening a pipe would wait for its other end.
    if !tag.metadata().is_ok_and(|it| it.is_file()) {
        return false;
    }
    let mut start = [0; SIGNATURE.len()];
    let read = File::open(tag).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == SIGNATURE
}
