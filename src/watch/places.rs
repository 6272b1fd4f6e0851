//! The system's watches: which are placed, and what of it failed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use notify::RecursiveMode;

use super::source::Placer;
use super::{names, platform};

/// Where watches lie. Without a backend (polling) it does nothing.
pub(super) struct Places {
    backend: Option<Box<dyn Placer>>,
    placed: BTreeMap<PathBuf, RecursiveMode>,
}

/// Why a watch could not be placed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is gone already.
    Gone,
    /// It may not be read.
    Unreadable(io::Error),
    /// The system places no more watches.
    Exhausted(notify::Error),
}

impl Places {
    pub(super) fn new(backend: Option<Box<dyn Placer>>) -> Self {
        Self { backend, placed: BTreeMap::new() }
    }

    /// Removes all watches: from now on somebody polls.
    pub(super) fn give_up(&mut self) {
        self.backend = None;
        self.placed.clear();
    }

    pub(super) fn are_given_up(&self) -> bool {
        self.backend.is_none()
    }

    /// Watches a folder that counts. `top`: it was named.
    pub(super) fn keep(&mut self, folder: &Path, top: bool) -> Result<(), Refusal> {
        match platform::mode(top) {
            Some(mode) => self.put(folder, mode),
            None => Ok(()),
        }
    }

    /// Watches a folder for what appears in it.
    pub(super) fn hold(&mut self, folder: &Path) -> Result<(), Refusal> {
        self.put(folder, RecursiveMode::NonRecursive)
    }

    fn put(&mut self, folder: &Path, mode: RecursiveMode) -> Result<(), Refusal> {
        let Some(backend) = &mut self.backend else { return Ok(()) };
        let placed = self.placed.get(folder).copied();
        // Placed again where an event for a folder is about the folder: the watch that is known may
        // have gone with a folder of the same name.
        let wanted = match (placed, mode) {
            (Some(RecursiveMode::Recursive), _) => RecursiveMode::Recursive,
            _ => mode,
        };
        if placed == Some(wanted) && !platform::FOLDER_EVENTS_ARE_DEEP {
            return Ok(());
        }
        backend.watch(folder, wanted).map_err(Refusal::from)?;
        self.placed.insert(folder.to_path_buf(), wanted);
        Ok(())
    }

    /// Removes the watches of `folder` and of all below it.
    pub(super) fn drop_below(&mut self, folder: &Path) {
        let Some(backend) = &mut self.backend else { return };
        for folder in names::below(&self.placed, folder) {
            // It may have gone with its folder.
            let _ = backend.unwatch(folder);
        }
        names::forget_below(&mut self.placed, folder);
    }

    /// Removes the watches that are not wanted any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Path) -> bool) {
        let Some(backend) = &mut self.backend else { return };
        self.placed.retain(|folder, _| {
            let keep = wanted(folder);
            if !keep {
                // It may have gone with its folder.
                let _ = backend.unwatch(folder);
            }
            keep
        });
    }
}

impl From<notify::Error> for Refusal {
    fn from(error: notify::Error) -> Self {
        match error.kind {
            notify::ErrorKind::PathNotFound => Self::Gone,
            notify::ErrorKind::Io(ref io) if io.kind() == io::ErrorKind::NotFound => Self::Gone,
            notify::ErrorKind::Io(io) if io.kind() == io::ErrorKind::PermissionDenied => {
                Self::Unreadable(io)
            }
            _ => Self::Exhausted(error),
        }
    }
}
