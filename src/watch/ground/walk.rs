//! Walking through what counts: each folder is watched first and read then.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::filter::Filter;
use super::super::names;
use super::super::places::Refusal;
use super::super::snapshot::{Entry, Files};
use super::{Findings, Ground, entry};

/// What a walk does with what it does not know yet.
#[derive(Debug)]
pub(super) enum Walk {
    /// It has always been there.
    Adopt,
    /// It has been there if this older filter left it out. Else it is new, its own event is on its
    /// way, and it is left to that.
    AdoptNew(Box<Filter>),
    /// It is a change, and so is what differs.
    Compare {
        /// Also in folders below that are known.
        deep: bool,
    },
}

impl Walk {
    /// Whether what is not known is left to its own event.
    pub(super) fn leaves(&mut self, path: &Path, is_dir: bool) -> bool {
        match self {
            Self::AdoptNew(before) => before.judge(path, is_dir).is_ok(),
            Self::Adopt | Self::Compare { .. } => false,
        }
    }

    fn enters(&self, known: bool) -> bool {
        !known || !matches!(self, Self::Compare { deep: false })
    }
}

/// What lies in a folder and counts.
#[derive(Default)]
struct Listing {
    folders: Vec<PathBuf>,
    files: Files,
    /// Also those that do not count.
    links: Vec<PathBuf>,
}

impl Ground {
    /// Walks a folder that counts, with those below it.
    pub(super) fn walk(&mut self, start: &Path, walk: &mut Walk, findings: &mut Findings) {
        let mut seen = HashSet::new();
        let mut ahead = vec![start.to_path_buf()];
        while let Some(folder) = ahead.pop() {
            let known = self.snapshot.has_folder(&folder);
            if !known && walk.leaves(&folder, true) {
                continue;
            }
            if findings.exhausted.is_none()
                && let Err(refusal) = self.watch(&folder)
            {
                if let Refusal::Gone = refusal {
                    continue;
                }
                self.refuse(&folder, refusal, findings);
            }
            let Some(Listing { folders, files, links }) = self.read(&folder, findings) else {
                // Unreadable for now is not gone.
                seen.extend(self.snapshot.folders_below(&folder));
                continue;
            };
            self.take(&folder, files, walk, findings);
            for link in links {
                self.follow(&link, walk, findings);
            }
            for below in folders {
                if walk.enters(self.snapshot.has_folder(&below)) {
                    ahead.push(below);
                }
            }
            seen.insert(folder);
        }
        if let Walk::Compare { deep: true } = walk {
            for folder in self.snapshot.folders_below(start) {
                if !seen.contains(&folder) && self.snapshot.has_folder(&folder) {
                    self.lose_folder(&folder, findings);
                }
            }
        }
    }

    fn watch(&mut self, folder: &Path) -> Result<(), Refusal> {
        let top = self.filter.trees().iter().any(|tree| tree.real == folder);
        self.places.keep(folder, top)
    }

    /// What lies in a folder and counts. `None` when it cannot be read.
    fn read(&mut self, folder: &Path, findings: &mut Findings) -> Option<Listing> {
        let mut read = Listing::default();
        let listing = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) => {
                if folder.exists() {
                    self.refuse(folder, Refusal::Unreadable(error), findings);
                    return None;
                }
                return Some(read);
            }
        };
        for item in listing {
            let path = item.path();
            // What goes away while it is looked at has an event of its own.
            let Ok(file_type) = item.file_type() else { continue };
            if file_type.is_dir() {
                if self.filter.judge(&path, true).is_ok() {
                    read.folders.push(path);
                }
                continue;
            }
            if let Some(entry) = self.read_file(&path, &item) {
                read.files.insert(item.file_name(), entry);
            }
            if file_type.is_symlink() {
                read.links.push(path);
            }
        }
        Some(read)
    }

    fn read_file(&mut self, path: &Path, item: &fs::DirEntry) -> Option<Entry> {
        let counts = self.filter.judge(path, false).is_ok();
        if !counts && !names::is_ignore_file(&item.file_name()) {
            return None;
        }
        let entry = entry(path, &item.metadata().ok()?);
        match entry {
            Entry::File(stamp) if !counts => Some(Entry::Rules(stamp)),
            other => Some(other),
        }
    }

    /// Brings the snapshot of a folder up to date with what was read.
    fn take(&mut self, folder: &Path, files: Files, walk: &mut Walk, findings: &mut Findings) {
        if let Walk::Compare { .. } = walk {
            let before = std::mem::replace(self.snapshot.folder(folder), files.clone());
            self.compare(folder, &before, &files, findings);
        } else {
            let folder_files = self.snapshot.folder(folder);
            for (name, entry) in files {
                // What is known stays as it is: if it changed, its event is on its way.
                if !folder_files.contains_key(&name) && !walk.leaves(&folder.join(&name), false) {
                    folder_files.insert(name, entry);
                }
            }
        }
    }

    fn compare(&mut self, folder: &Path, before: &Files, now: &Files, findings: &mut Findings) {
        let changed = now.iter().filter(|(name, entry)| before.get(*name) != Some(entry));
        let gone = before.iter().filter(|(name, _)| !now.contains_key(*name));
        let all: Vec<(&OsString, &Entry)> = changed.chain(gone).collect();
        for (name, entry) in all {
            match entry {
                Entry::File(_) => self.report(&folder.join(name), findings),
                Entry::Rules(_) => findings.rules = true,
                Entry::Special => {}
            }
        }
    }
}
