//! What lies in the watched folders, as last seen: the base that a rescan compares with, and the
//! only way to tell a file that has gone from one that never was.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{FileType, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{names, system};

/// The watched folders with the files in them, and files that are watched by themselves.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// In order: all that is asked of a folder and those below it costs no more than they do.
    folders: BTreeMap<PathBuf, Files>,
    /// Files outside of watched folders.
    loose: HashMap<PathBuf, Entry>,
}

/// The files of a folder.
pub(super) type Files = HashMap<OsString, Entry>;

/// A file, as last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// One that counts.
    File(Stamp),
    /// An ignore file.
    Rules(Stamp),
    /// A socket, a pipe, a device: no build reads it, and servers make them.
    Special,
}

/// What changes when a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    identity: u64,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            identity: system::identity(metadata),
        }
    }
}

/// Whether it is something that a build can read.
pub(super) fn is_ordinary(file_type: FileType) -> bool {
    file_type.is_file() || file_type.is_symlink()
}

impl Snapshot {
    pub(super) fn has_folder(&self, folder: &Path) -> bool {
        self.folders.contains_key(folder)
    }

    /// The files of `folder`, which is known from now on.
    pub(super) fn folder(&mut self, folder: &Path) -> &mut Files {
        if !self.folders.contains_key(folder) {
            self.folders.insert(folder.to_path_buf(), Files::new());
        }
        self.folders.get_mut(folder).expect("inserted above")
    }

    /// Every known folder that is `folder` or lies below it, the upper ones first.
    pub(super) fn folders_below(&self, folder: &Path) -> Vec<PathBuf> {
        names::below(&self.folders, folder).cloned().collect()
    }

    pub(super) fn all_folders(&self) -> Vec<PathBuf> {
        self.folders.keys().cloned().collect()
    }

    /// Forgets a folder alone, and says what was in it.
    pub(super) fn remove_folder(&mut self, folder: &Path) -> Option<Files> {
        self.folders.remove(folder)
    }

    /// What is known of the file at `path`.
    pub(super) fn get(&self, path: &Path) -> Option<Entry> {
        match self.place(path) {
            Some((folder, name)) => self.folders[folder].get(name).copied(),
            None => self.loose.get(path).copied(),
        }
    }

    pub(super) fn insert(&mut self, path: &Path, entry: Entry) -> Option<Entry> {
        match self.place(path) {
            Some((folder, name)) => self.folder(folder).insert(name.to_owned(), entry),
            None => self.loose.insert(path.to_path_buf(), entry),
        }
    }

    pub(super) fn remove(&mut self, path: &Path) -> Option<Entry> {
        match self.place(path) {
            Some((folder, name)) => self.folder(folder).remove(name),
            None => self.loose.remove(path),
        }
    }

    /// Forgets loose files that are not wanted any more.
    pub(super) fn retain_loose(&mut self, wanted: impl Fn(&Path) -> bool) {
        self.loose.retain(|path, _| wanted(path));
    }

    fn place<'a>(&self, path: &'a Path) -> Option<(&'a Path, &'a OsStr)> {
        let (folder, name) = (path.parent()?, path.file_name()?);
        self.folders.contains_key(folder).then_some((folder, name))
    }

    /// How many folders and how many files that count.
    pub(super) fn count(&self) -> (usize, usize) {
        let counts = |entry: &&Entry| matches!(entry, Entry::File(_));
        let inside: usize =
            self.folders.values().map(|files| files.values().filter(counts).count()).sum();
        (self.folders.len(), inside + self.loose.values().filter(counts).count())
    }
}
