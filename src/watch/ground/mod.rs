//! What is watched right now: the filter, the system's watches and the last snapshot, kept in step.
//!
//! Every folder is watched first and read then, so that what is made in between shows up in one of
//! the two. The [`worker`](super::worker) says when to look where, and takes the [`Findings`].

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checkout;
use super::classify::classify;
use super::filter::Filter;
use super::links::Link;
use super::places::{Places, Refusal};
use super::snapshot::{Entry, Snapshot, Stamp, is_ordinary};
use super::source::Placer;
use super::tree::Tree;
use super::{Summary, WatchSet, platform};
use crate::event::ChangeKind;

mod follow;
mod walk;

use walk::Walk;

/// A change, before its content has been looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Found {
    /// Without symbolic links.
    pub(super) real: PathBuf,
    /// In the form that the user gave.
    pub(super) given: PathBuf,
    pub(super) kind: ChangeKind,
}

impl Found {
    pub(super) fn new(
        real: impl Into<PathBuf>,
        given: impl Into<PathBuf>,
        kind: ChangeKind,
    ) -> Self {
        Self { real: real.into(), given: given.into(), kind }
    }
}

/// What came of looking.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What changed.
    pub(super) changes: HashSet<Found>,
    /// An ignore file changed: the filter is out of date.
    pub(super) rules: bool,
    /// Folders that cannot be read, newly so.
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
    /// The system places no more watches.
    pub(super) exhausted: Option<notify::Error>,
}

/// What is watched right now.
pub(super) struct Ground {
    filter: Filter,
    /// The one before, while what it left out has not been walked yet. It has read the ignore files
    /// as they were.
    before: Option<Filter>,
    places: Places,
    snapshot: Snapshot,
    /// Those that are followed. One that lies behind another comes after it.
    links: Vec<Link>,
    /// Folders that could not be read.
    unreadable: BTreeSet<PathBuf>,
}

impl Ground {
    pub(super) fn new(set: &WatchSet, backend: Option<Box<dyn Placer>>) -> Self {
        Self {
            filter: Filter::new(set),
            before: None,
            places: Places::new(backend),
            snapshot: Snapshot::default(),
            links: Vec::new(),
            unreadable: BTreeSet::new(),
        }
    }

    /// The first walk: all that there is has always been there.
    pub(super) fn begin(&mut self, findings: &mut Findings) {
        self.cover(&mut Walk::Adopt, |_| true, findings);
    }

    /// Puts the filter for `set` in force. What it newly lets in is no change.
    pub(super) fn adopt(&mut self, set: &WatchSet, findings: &mut Findings) {
        self.renew_filter(set);
        let mut walk = match self.before.take() {
            Some(before) => Walk::AdoptNew(Box::new(before)),
            None => Walk::Adopt,
        };
        self.leave_what_is_ignored();
        self.cover(&mut walk, |_| true, findings);
    }

    /// Reads the ignore files again and looks again at what the named paths are. What that lets in
    /// stays unknown until the next [`adopt`](Self::adopt).
    pub(super) fn renew_filter(&mut self, set: &WatchSet) {
        let mut filter = Filter::new(set);
        self.links.retain(|link| link.holds() && filter.follow(link));
        let before = std::mem::replace(&mut self.filter, filter);
        self.before.get_or_insert(before);
    }

    /// Whether a change still counts, now that the filter is another.
    pub(super) fn still_counts(&mut self, change: &Found) -> bool {
        self.filter.judge(&change.real, false).is_ok()
            || self.filter.judge(&change.real, true).is_ok()
    }

    /// Compares all that is watched with what was last seen.
    pub(super) fn rescan(&mut self, findings: &mut Findings) {
        let rule_files: Vec<_> = self.filter.rule_files().map(Path::to_path_buf).collect();
        for path in rule_files {
            findings.rules |= self.refresh_stamp(&path, Entry::Rules);
        }
        findings.rules |= self.any_leads_elsewhere();
        self.unreadable.retain(|folder| folder.exists());
        self.cover(&mut Walk::Compare { deep: true }, |_| true, findings);
    }

    /// Looks again at folders that could not be read.
    pub(super) fn retry(&mut self, set: &WatchSet, findings: &mut Findings) {
        for folder in self.unreadable.clone() {
            if fs::read_dir(&folder).is_ok() || !folder.exists() {
                self.unreadable.remove(&folder);
                self.touch(&folder, set, findings);
            }
        }
    }

    pub(super) fn has_unreadable(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// From now on nobody tells: somebody has to ask.
    pub(super) fn give_up_places(&mut self) {
        self.places.give_up();
    }

    pub(super) fn is_told(&self) -> bool {
        !self.places.are_given_up()
    }

    /// What was named although it is never watched.
    pub(super) fn refused(&self) -> &[PathBuf] {
        self.filter.refused()
    }

    pub(super) fn summary(&self) -> Summary {
        let (folders, files) = self.snapshot.count();
        Summary { folders, files, polling: None, roots: self.filter.named() }
    }

    /// Since when version control is at work on what is watched, if it is.
    pub(super) fn checkout(&self) -> Option<Duration> {
        checkout::since(self.filter.trees().iter().map(|tree| tree.real.as_path()))
    }

    /// Whether `path` is an ignore file that is in force.
    pub(super) fn is_rule_file(&self, path: &Path) -> bool {
        let inside = path.parent().is_some_and(|folder| self.snapshot.has_folder(folder));
        self.filter.is_rule_file(path, inside)
    }

    /// Whether there was a file that counts, when it was last looked at.
    pub(super) fn knows(&self, path: &Path) -> bool {
        matches!(self.snapshot.get(path), Some(Entry::File(_)))
    }

    /// Whether a change of `path` would count.
    pub(super) fn concerns(&mut self, path: &Path) -> bool {
        self.knows(path)
            || path
                .symlink_metadata()
                .is_ok_and(|found| self.filter.judge(path, found.is_dir()).is_ok())
    }

    /// Looks at a path that something happened to.
    pub(super) fn touch(&mut self, path: &Path, set: &WatchSet, findings: &mut Findings) {
        let metadata = path.symlink_metadata().ok();
        let is_dir = metadata.as_ref().is_some_and(fs::Metadata::is_dir);
        if is_dir || metadata.is_none() {
            self.filter.look_again(path);
        }
        let reshapes = self.leads_elsewhere(path) || self.reshapes(path, metadata.as_ref());
        if reshapes {
            self.renew_filter(set);
        }
        if !is_dir && self.snapshot.has_folder(path) {
            self.lose_folder(path, findings);
        }
        match metadata {
            Some(_) if is_dir => self.touch_folder(path, findings),
            Some(metadata) => {
                self.touch_file(path, entry(path, &metadata), findings);
                if metadata.is_symlink() {
                    self.follow(path, &mut Walk::Compare { deep: true }, findings);
                }
            }
            None => self.lose_file(path, findings),
        }
        if reshapes {
            let mut walk = Walk::Compare { deep: true };
            self.cover(&mut walk, |named| named.starts_with(path), findings);
            // What else the new filter lets in has always been there.
            findings.rules = true;
        }
    }

    /// Whether something appeared or went away at or above something that was named, so that it may
    /// be something else now: a folder, a link to elsewhere.
    fn reshapes(&self, path: &Path, metadata: Option<&fs::Metadata>) -> bool {
        let is_dir = metadata.is_some_and(fs::Metadata::is_dir);
        if self.filter.is_file(path) {
            return is_dir || metadata.is_some_and(fs::Metadata::is_symlink);
        }
        let unmoved = is_dir && self.snapshot.has_folder(path);
        self.filter.is_stem(path) && (platform::FOLDER_EVENTS_ARE_DEEP || !unmoved)
    }

    fn touch_folder(&mut self, path: &Path, findings: &mut Findings) {
        if self.filter.judge(path, true).is_ok() {
            let mut walk = Walk::Compare { deep: platform::FOLDER_EVENTS_ARE_DEEP };
            self.walk(path, &mut walk, findings);
        }
    }

    fn touch_file(&mut self, path: &Path, entry: Entry, findings: &mut Findings) {
        if self.filter.judge(path, false).is_ok() {
            self.snapshot.insert(path, entry);
            if entry != Entry::Special {
                self.report(path, findings);
            }
        }
    }

    /// A file is gone. One that was never seen came and went within the quiet time: that is how
    /// many programs write.
    fn lose_file(&mut self, path: &Path, findings: &mut Findings) {
        if let Some(Entry::File(_)) = self.snapshot.remove(path) {
            self.report(path, findings);
        }
    }

    /// A folder is gone, or no folder any more.
    fn lose_folder(&mut self, folder: &Path, findings: &mut Findings) {
        let (kinds, had_rules) = self.forget_folder(folder);
        findings.rules |= had_rules;
        findings.rules |= self.links.iter().any(|link| link.place.starts_with(folder));
        if let Ok(claim) = self.filter.judge(folder, true) {
            let given = self.filter.as_given(claim, folder);
            findings
                .changes
                .extend(kinds.into_iter().map(|kind| Found::new(folder, given.clone(), kind)));
        }
    }

    /// Forgets a folder and all below it. Says what kinds of files were there, and whether an
    /// ignore file was among them.
    fn forget_folder(&mut self, folder: &Path) -> (HashSet<ChangeKind>, bool) {
        let (mut kinds, mut had_rules) = (HashSet::new(), false);
        for below in self.snapshot.folders_below(folder) {
            for (name, entry) in self.snapshot.remove_folder(&below).unwrap_or_default() {
                match entry {
                    Entry::File(_) => {
                        kinds.insert(classify(&below.join(name)));
                    }
                    Entry::Rules(_) => had_rules = true,
                    Entry::Special => {}
                }
            }
        }
        self.places.drop_below(folder);
        (kinds, had_rules)
    }

    fn report(&mut self, path: &Path, findings: &mut Findings) {
        if let Ok(claim) = self.filter.judge(path, false) {
            let given = self.filter.as_given(claim, path);
            findings.changes.insert(Found::new(path, given, classify(path)));
        }
    }

    /// Walks what was named, as far as it is `near`, and holds on to the parents of what is not
    /// there.
    fn cover(&mut self, walk: &mut Walk, near: impl Fn(&Path) -> bool, findings: &mut Findings) {
        let mut held = HashSet::new();
        let trees: Vec<_> = self.filter.trees().iter().map(Tree::names).collect();
        for (tree, given) in trees {
            let near = near(&tree) || near(&given);
            // Excluded as a whole, it is neither walked nor waited for.
            if self.filter.judge(&tree, true).is_err() {
                continue;
            }
            if !tree.is_dir() {
                held.extend(self.hold(&tree, findings));
            }
            if near && tree.is_dir() {
                // What was waited for and is there now is new, whoever saw it first.
                if !self.snapshot.has_folder(&tree) && walk.leaves(&tree, true) {
                    self.walk(&tree, &mut Walk::Compare { deep: true }, findings);
                } else {
                    self.walk(&tree, walk, findings);
                }
            } else if near && self.snapshot.has_folder(&tree) {
                self.lose_folder(&tree, findings);
            }
        }
        for file in self.filter.places().to_vec() {
            if self.filter.judge(&file, false).is_err() {
                continue;
            }
            if let Some(folder) = file.parent() {
                held.extend(self.hold(folder, findings));
            }
            if near(&file) {
                self.look_at_file(&file, walk, findings);
            }
        }
        let ways: Vec<_> =
            self.filter.ways().filter(|it| it.is_dir()).map(Path::to_path_buf).collect();
        for folder in ways {
            held.extend(self.hold(&folder, findings));
        }
        let rule_files: Vec<_> = self.filter.rule_files().map(Path::to_path_buf).collect();
        for file in rule_files {
            if let Some(folder) = file.parent().filter(|folder| folder.is_dir()) {
                held.extend(self.hold(folder, findings));
                if self.snapshot.get(&file).is_none() {
                    self.refresh_stamp(&file, Entry::Rules);
                }
            }
        }
        let (snapshot, filter) = (&self.snapshot, &self.filter);
        self.places.retain(|folder| snapshot.has_folder(folder) || held.contains(folder));
        let wanted = |path: &Path| filter.is_file(path) || filter.is_rule_file(path, false);
        self.snapshot.retain_loose(wanted);
    }

    /// Watches `folder`, or the nearest folder above it that there is.
    fn hold(&mut self, folder: &Path, findings: &mut Findings) -> Option<PathBuf> {
        loop {
            let nearest = folder.ancestors().find(|it| it.is_dir())?;
            match self.places.hold(nearest) {
                // Something on the way may have come before the watch was there.
                Ok(()) if folder.ancestors().find(|it| it.is_dir()) == Some(nearest) => {
                    return Some(nearest.to_path_buf());
                }
                Ok(()) | Err(Refusal::Gone) => {}
                Err(refusal) => {
                    self.refuse(nearest, refusal, findings);
                    return None;
                }
            }
        }
    }

    /// A file that was named by itself.
    fn look_at_file(&mut self, file: &Path, walk: &mut Walk, findings: &mut Findings) {
        let now = file.symlink_metadata().ok().filter(|it| !it.is_dir());
        let now = now.map(|metadata| entry(file, &metadata));
        let before = self.snapshot.get(file);
        let compare = matches!(walk, Walk::Compare { .. });
        match now {
            // As with a tree: what was waited for and is there now is new.
            Some(now) if before.is_none() && !compare && !walk.leaves(file, false) => {
                self.snapshot.insert(file, now);
            }
            Some(now) if before.is_none() || compare && before != Some(now) => {
                self.touch_file(file, now, findings);
            }
            None if compare => self.lose_file(file, findings),
            _ => {}
        }
    }

    fn refuse(&mut self, folder: &Path, refusal: Refusal, findings: &mut Findings) {
        match refusal {
            Refusal::Gone => {}
            Refusal::Unreadable(error) => {
                if self.unreadable.insert(folder.to_path_buf()) {
                    findings.unreadable.push((folder.to_path_buf(), error));
                }
            }
            Refusal::Exhausted(error) => {
                findings.exhausted.get_or_insert(error);
            }
        }
    }

    /// Forgets folders that do not count any more.
    fn leave_what_is_ignored(&mut self) {
        for folder in self.snapshot.all_folders() {
            if self.filter.judge(&folder, true).is_err() {
                self.snapshot.remove_folder(&folder);
            }
        }
        let filter = &mut self.filter;
        self.unreadable.retain(|folder| filter.judge(folder, true).is_ok());
    }

    /// Notes the present state of a file, and says whether it is another than before.
    fn refresh_stamp(&mut self, path: &Path, kind: impl Fn(Stamp) -> Entry) -> bool {
        match path.metadata() {
            Ok(metadata) => {
                let now = kind(Stamp::of(&metadata));
                self.snapshot.insert(path, now) != Some(now)
            }
            Err(_) => self.snapshot.remove(path).is_some(),
        }
    }
}

/// The file at `path`. A link counts as what it points to, so that polling sees that change.
fn entry(path: &Path, metadata: &fs::Metadata) -> Entry {
    if !is_ordinary(metadata.file_type()) {
        return Entry::Special;
    }
    let target = if metadata.is_symlink() { path.metadata().ok() } else { None };
    Entry::File(Stamp::of(target.as_ref().filter(|it| it.is_file()).unwrap_or(metadata)))
}
