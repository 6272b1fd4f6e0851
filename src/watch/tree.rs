//! A folder that is watched with what is below it: what in it counts.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ignore::IncrementalIgnore;

use super::filter::Reason;
use super::spec::Glob;
use super::{names, rules};

/// A folder that is watched with what is below it.
#[derive(Debug)]
pub(super) struct Tree {
    /// In the form that the user gave.
    pub(super) given: PathBuf,
    /// Without symbolic links.
    pub(super) real: PathBuf,
    scope: Scope,
    /// `None`: no ignore file counts.
    rules: Option<IncrementalIgnore>,
}

/// What counts in a tree.
#[derive(Debug)]
pub(super) enum Scope {
    All,
    Glob(Glob),
}

/// Whether rules ignore whatever is put into their root.
fn ignores_everything(rules: &mut IncrementalIgnore) -> bool {
    // A name that no pattern means by itself.
    rules.matched("stario-4fd1c0a9", false).is_ignore()
}

impl Tree {
    /// `named_outright`: somebody typed it, and meant more than where they are anyway.
    pub(super) fn new(
        given: PathBuf,
        real: PathBuf,
        scope: Scope,
        gitignore: bool,
        named_outright: bool,
    ) -> Self {
        let mut rules = gitignore.then(|| rules::matcher(&real));
        if named_outright && rules.as_mut().is_some_and(ignores_everything) {
            rules = None;
        }
        Self { given, real, scope, rules }
    }

    /// Whether ignore files count in it.
    pub(super) fn has_rules(&self) -> bool {
        self.rules.is_some()
    }

    /// Without symbolic links, and as the user gave it.
    pub(super) fn names(&self) -> (PathBuf, PathBuf) {
        (self.real.clone(), self.given.clone())
    }

    /// `path` relative to the tree, if it lies in it.
    pub(super) fn below<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        path.strip_prefix(&self.real).or_else(|_| path.strip_prefix(&self.given)).ok()
    }

    /// Whether what counts in `other` counts here too, and under the same name.
    pub(super) fn has_all_of(&mut self, other: &Self) -> bool {
        let whole = matches!((&self.scope, &other.scope), (Scope::All, Scope::All));
        if !whole || other.rules.is_none() && self.rules.is_some() {
            return false;
        }
        let Ok(below) = other.real.strip_prefix(&self.real) else { return false };
        self.judge(below, true).is_ok()
            && (other.given == self.given || other.given == self.given.join(below))
    }

    pub(super) fn judge(&mut self, below: &Path, is_dir: bool) -> Result<(), Reason> {
        if below.iter().any(names::is_version_control) {
            return Err(Reason::VersionControl);
        }
        let matched = match &self.scope {
            Scope::All => false,
            Scope::Glob(glob) => glob.covers(below, is_dir).ok_or(Reason::Outside)?,
        };
        if !is_dir {
            judge_name(below.file_name().unwrap_or(OsStr::new("")), matched)?;
        }
        let Some(rules) = &mut self.rules else { return Ok(()) };
        // A file that a glob names counts, but not in a folder that is ignored.
        let (asked, is_dir) = match below.parent() {
            Some(folder) if matched && !is_dir => (folder, true),
            _ => (below, is_dir),
        };
        if rules.matched(asked, is_dir).is_ignore() { Err(Reason::IgnoreFile) } else { Ok(()) }
    }
}

/// What a file's name alone says. `named`: a glob named it.
fn judge_name(name: &OsStr, named: bool) -> Result<(), Reason> {
    if names::is_temporary(name) {
        Err(Reason::Temporary)
    } else if names::is_ignore_file(name) && !named {
        Err(Reason::IgnoreFile)
    } else if names::is_database(name) && !named {
        Err(Reason::Database)
    } else {
        Ok(())
    }
}

impl Glob {
    /// Whether `below` is to be looked at: `None` if not, else whether the glob names it outright.
    fn covers(&self, below: &Path, is_dir: bool) -> Option<bool> {
        if self.folders_only {
            let inside = self.has(below, is_dir);
            // A folder on the way to one that might match is entered.
            return (inside || is_dir).then_some(false);
        }
        if is_dir {
            return self.depth.is_none_or(|depth| below.iter().count() < depth).then_some(false);
        }
        self.matcher.is_match(below).then_some(self.names)
    }

    /// Whether `below` is matched, or a folder that it lies in.
    pub(super) fn has(&self, below: &Path, is_dir: bool) -> bool {
        below
            .ancestors()
            .take_while(|it| !it.as_os_str().is_empty())
            .enumerate()
            .any(|(up, it)| (up > 0 || is_dir || !self.folders_only) && self.matcher.is_match(it))
    }
}
