//! Whether version control is rewriting the files just now. What lies there in the middle of a
//! checkout was never meant to be built.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A lock that is older was left behind, or is held by somebody who writes a commit message.
const LONGEST: Duration = Duration::from_secs(5);

/// Whether git or Mercurial is at work in the repository that `folder` lies in.
pub(super) fn is_under_way(folder: &Path) -> bool {
    folder.ancestors().any(|root| {
        git_folder(root).is_some_and(|git| is_held(&git.join("index.lock")))
            || is_held(&root.join(".hg/wlock"))
    })
}

/// Where git keeps the index of the working tree in `root`. A linked tree and a submodule have a
/// file in its place that says where.
fn git_folder(root: &Path) -> Option<PathBuf> {
    let git = root.join(".git");
    if git.is_file() {
        let text = fs::read_to_string(git).ok()?;
        return Some(root.join(text.strip_prefix("gitdir: ")?.trim_end_matches(['\r', '\n'])));
    }
    git.is_dir().then_some(git)
}

fn is_held(lock: &Path) -> bool {
    let modified = lock.symlink_metadata().and_then(|lock| lock.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < LONGEST))
}

#[cfg(test)]
mod tests {
    use super::is_under_way;
    use std::fs::{self, File};
    use std::time::SystemTime;

    #[test]
    fn a_lock_says_so_until_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("member/src");
        fs::create_dir_all(&inside).unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        assert!(!is_under_way(&inside));
        let lock = File::create(folder.path().join(".git/index.lock")).unwrap();
        assert!(is_under_way(&inside));
        lock.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(!is_under_way(&inside));
    }

    #[test]
    fn a_linked_tree_has_its_lock_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, git) = (folder.path().join("tree"), folder.path().join("main/.git/worktrees/a"));
        fs::create_dir_all(&tree).unwrap();
        fs::create_dir_all(&git).unwrap();
        fs::write(tree.join(".git"), "gitdir: ../main/.git/worktrees/a\n").unwrap();
        assert!(!is_under_way(&tree));
        File::create(git.join("index.lock")).unwrap();
        assert!(is_under_way(&tree));
    }
}
