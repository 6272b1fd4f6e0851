//! Whether version control is at work just now. What lies there in the middle of a checkout was
//! never meant to be built.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Since when git or Mercurial holds the lock of a repository that one of `folders` lies in. `None`:
/// they hold none.
pub(super) fn since<'a>(folders: impl Iterator<Item = &'a Path>) -> Option<Duration> {
    let mut asked = HashSet::new();
    // The members of a workspace have most of them in common.
    let roots = folders.flat_map(Path::ancestors).filter(|root| asked.insert(*root));
    let ages = roots.filter_map(|root| {
        let of_git = git_folder(root).and_then(|git| age(&git.join("index.lock")));
        of_git.or_else(|| age(&root.join(".hg/wlock")))
    });
    ages.min()
}

/// Where git keeps the index of the working tree in `root`. A linked tree and a submodule have a
/// file in its place that says where.
fn git_folder(root: &Path) -> Option<PathBuf> {
    let git = root.join(".git");
    let kind = git.metadata().ok()?;
    if kind.is_file() {
        let text = fs::read_to_string(git).ok()?;
        return Some(root.join(text.strip_prefix("gitdir: ")?.trim_end_matches(['\r', '\n'])));
    }
    kind.is_dir().then_some(git)
}

fn age(lock: &Path) -> Option<Duration> {
    lock.symlink_metadata().ok()?.modified().ok()?.elapsed().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    fn since(folder: &Path) -> Option<Duration> {
        super::since(std::iter::once(folder))
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_lock_says_since_when() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("member/src");
        fs::create_dir_all(&inside).unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        assert_eq!(since(&inside), None);
        let lock = File::create(folder.path().join(".git/index.lock")).unwrap();
        assert!(since(&inside).unwrap() < HOUR);
        lock.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(since(&inside).unwrap() > HOUR);
    }

    #[test]
    fn a_linked_tree_has_its_lock_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, git) = (folder.path().join("tree"), folder.path().join("main/.git/worktrees/a"));
        fs::create_dir_all(&tree).unwrap();
        fs::create_dir_all(&git).unwrap();
        fs::write(tree.join(".git"), "gitdir: ../main/.git/worktrees/a\n").unwrap();
        assert_eq!(since(&tree), None);
        File::create(git.join("index.lock")).unwrap();
        assert!(since(&tree).is_some());
    }
}
