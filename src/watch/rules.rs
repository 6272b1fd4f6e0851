//! Ignore files: which ones speak of a folder, and the matcher that reads them.
//!
//! The crate `ignore` reads and matches them; here is what it is told, and which files have to be
//! watched so that an edit of one takes effect.

use std::fs;
use std::path::{Path, PathBuf};

use ignore::{IncrementalIgnore, WalkBuilder};

use super::spec::resolve;

/// A matcher for what lies below `root` (without symbolic links in it).
///
/// Inside a repository: what git does, with the ignore files between the repository's folder and
/// `root`. Outside of one git ignores nothing, but whoever writes a `.gitignore` means it (a copy
/// in a container has no `.git`), so those in `root` and below count; those above do not, or a
/// `~/.gitignore` that ignores everything would silence the watch.
pub(super) fn matcher(root: &Path) -> IncrementalIgnore {
    let repository = repository(root);
    let inside = repository.is_some();
    WalkBuilder::new(root)
        .hidden(false)
        .parents(inside)
        .require_git(inside)
        // What the global ignore file's patterns with a slash are relative to.
        .current_dir(repository.unwrap_or(root))
        .build_matchers()
        .pop()
        .expect("one matcher for each root, and there is one")
}

/// The folder of the repository that `folder` lies in.
fn repository(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|it| it.join(".git").exists() || it.join(".jj").exists())
}

/// The ignore files that speak of `root` and do not lie below it, whether they exist or not.
pub(super) fn files_above(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some(repository) = repository(root) {
        for folder in root.ancestors().skip(1).take_while(|it| it.starts_with(repository)) {
            files.push(folder.join(".gitignore"));
            files.push(folder.join(".ignore"));
        }
        files.extend(git_folder(repository).map(|git| git.join("info").join("exclude")));
    }
    files
}

/// The user's own ignore file for all repositories, if there can be one.
pub(super) fn global_file() -> Option<PathBuf> {
    ignore::gitignore::gitconfig_excludes_path()
        .filter(|path| path.is_absolute())
        .map(|path| resolve(&path))
}

/// Where git keeps what all work trees of `repository` share.
fn git_folder(repository: &Path) -> Option<PathBuf> {
    let git = repository.join(".git");
    if git.is_dir() {
        return Some(resolve(&git));
    }
    // A work tree or a submodule: a file that names the folder, which may name a shared one.
    let pointer = fs::read_to_string(&git).ok()?;
    let folder = repository.join(pointer.strip_prefix("gitdir:")?.trim());
    let shared = fs::read_to_string(folder.join("commondir"))
        .map_or_else(|_| folder.clone(), |common| folder.join(common.trim()));
    Some(resolve(&shared))
}

#[cfg(test)]
mod tests {
    use super::{files_above, matcher};
    use std::fs;

    #[test]
    fn outside_a_repository_only_what_lies_below_counts() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let root = top.join("project");
        fs::create_dir(&root).unwrap();
        fs::write(top.join(".gitignore"), "*").unwrap();
        fs::write(root.join(".gitignore"), "*.log").unwrap();
        let mut rules = matcher(&root);
        assert!(rules.matched("a.log", false).is_ignore());
        assert!(!rules.matched("a.rs", false).is_ignore());
        assert!(files_above(&root).is_empty());
    }

    #[test]
    fn inside_a_repository_those_above_count_up_to_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let root = top.join("repository/project");
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(top.join("repository/.git/info")).unwrap();
        fs::write(top.join(".gitignore"), "*").unwrap();
        fs::write(top.join("repository/.gitignore"), "*.log").unwrap();
        fs::write(top.join("repository/.git/info/exclude"), "*.out").unwrap();
        let mut rules = matcher(&root);
        assert!(rules.matched("a.log", false).is_ignore());
        assert!(rules.matched("a.out", false).is_ignore());
        assert!(!rules.matched("a.rs", false).is_ignore());
        assert_eq!(
            files_above(&root),
            [".gitignore", ".ignore", ".git/info/exclude"]
                .map(|name| top.join("repository").join(name))
        );
    }

    #[test]
    fn a_work_tree_shares_the_excludes_of_its_repository() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let private = top.join("main/.git/worktrees/tree");
        fs::create_dir_all(&private).unwrap();
        fs::create_dir_all(top.join("tree")).unwrap();
        fs::write(private.join("commondir"), "../..\n").unwrap();
        fs::write(top.join("tree/.git"), format!("gitdir: {}\n", private.display())).unwrap();
        assert_eq!(files_above(&top.join("tree")), [top.join("main/.git/info/exclude")]);
    }
}
