//! What a build has to answer for: the changes since the last build that completed. Used by the
//! supervisor alone.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::event::{Change, ChangeKind, Content};

/// Changes that wait for a build, or that a running build answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Every path that changed.
    pub(super) changed: BTreeSet<PathBuf>,
    /// A manifest is among them.
    pub(super) resolve: bool,
    /// Something is among them that the server may read while it runs: it restarts, also when its
    /// executable stays the same.
    pub(super) asset: bool,
    /// The user asked for a restart.
    pub(super) restart: bool,
}

impl Work {
    /// Takes a change in.
    pub(super) fn add(&mut self, change: &Change) {
        match change.kind {
            ChangeKind::Source => {}
            ChangeKind::Manifest | ChangeKind::Lock => self.resolve = true,
            // What is there again was there when the server started.
            ChangeKind::Asset => self.asset |= change.content == Content::New,
        }
        self.changed.insert(change.path.clone());
    }

    /// Takes back what a build did not answer.
    pub(super) fn merge(&mut self, other: Self) {
        self.changed.extend(other.changed);
        self.resolve |= other.resolve;
        self.asset |= other.asset;
        self.restart |= other.restart;
    }
}
