//! Files that are ignored for their name alone, and what lies below a name.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use super::caches;

/// Where version control keeps its own: never watched.
pub(super) fn is_version_control(name: &OsStr) -> bool {
    name == ".git" || name == ".hg" || name == ".svn" || name == ".jj"
}

/// Files that lie in the folder they speak of, and say what of it is ignored.
pub(super) fn is_ignore_file(name: &OsStr) -> bool {
    name == ".gitignore" || name == ".ignore" || name == caches::TAG
}

/// Whether this is so of one of the folders that `path` lies in, or of `path` itself where that is
/// a folder.
pub(super) fn any_above(path: &Path, is_dir: bool, is_so: impl FnMut(&Path) -> bool) -> bool {
    let all = path.ancestors().take_while(|it| !it.as_os_str().is_empty());
    all.skip(usize::from(!is_dir)).any(is_so)
}

/// Of paths in order, those that are `folder` or lie below it: they come one after the other, so that
/// the others are not asked.
pub(super) fn below<'a, T>(
    paths: &'a BTreeMap<PathBuf, T>,
    folder: &'a Path,
) -> impl Iterator<Item = &'a PathBuf> {
    let behind = paths.range::<Path, _>((Bound::Included(folder), Bound::Unbounded));
    behind.map(|(path, _)| path).take_while(move |path| path.starts_with(folder))
}

/// Forgets them.
pub(super) fn forget_below<T>(paths: &mut BTreeMap<PathBuf, T>, folder: &Path) {
    for path in below(paths, folder).cloned().collect::<Vec<_>>() {
        paths.remove(&path);
    }
}

/// What is kept out of sight.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// What editors and desktops leave beside the files that are edited.
pub(super) fn is_temporary(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let wrapped = |start: &[u8], end: &[u8]| {
        name.len() > start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
    };
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    // vim: the test whether a folder can be written to, backups, swap files.
    name == b"4913"
        || wrapped(b"", b"~")
        || is_swap(name)
        // emacs: auto-save files and locks.
        || wrapped(b"#", b"#")
        || wrapped(b".#", b"")
        || wrapped(b"flycheck_", b".rs")
        // JetBrains: safe write.
        || has(b"___jb_tmp___")
        || has(b"___jb_old___")
        || has(b"___jb_bak___")
        // VS Code: atomic save (`name.vsctmp`), and the probe of its file watcher.
        || wrapped(b"", b".vsctmp")
        || wrapped(b".vscode-", b".tmp")
        // gedit and others of GNOME, KDE's Kate, Sublime Text.
        || wrapped(b".goutputstream-", b"")
        || wrapped(b".", b".kate-swp")
        || wrapped(b".subl", b".tmp")
        || is_sed(name)
        // NFS: a file that was removed while open.
        || wrapped(b".nfs", b"") && name[4..].iter().all(u8::is_ascii_hexdigit)
        || name == b".DS_Store"
        || name == b"Thumbs.db"
        || name == b"desktop.ini"
}

/// `sed -i`: `sed` and six characters of mkstemp(3). Six small letters are more likely a word.
fn is_sed(name: &[u8]) -> bool {
    name.strip_prefix(b"sed").is_some_and(|rest| {
        rest.len() == 6
            && rest.iter().all(u8::is_ascii_alphanumeric)
            && !rest.iter().all(u8::is_ascii_lowercase)
    })
}

/// `.*.sw?`: vim counts down from `.swp`.
fn is_swap(name: &[u8]) -> bool {
    matches!(name, [b'.', .., b'.', b's', b'w', b'a'..=b'z'])
}

/// `*.sqlite3 *.sqlite3-* *.sqlite *.sqlite-* *.db *.db-*`: a server writes these itself.
pub(super) fn is_database(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    [&b".sqlite3"[..], b".sqlite", b".db"].into_iter().any(|ending| {
        name.ends_with(ending)
            || name
                .windows(ending.len() + 1)
                .any(|window| window[..ending.len()] == *ending && window[ending.len()] == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::{is_database, is_temporary};

    #[test]
    fn temporary_files_are_known() {
        for name in [
            "4913",
            "main.rs~",
            ".main.rs.swp",
            ".main.rs.swo",
            ".main.rs.swx",
            "#main.rs#",
            ".#main.rs",
            "main.rs___jb_tmp___",
            "main.rs___jb_old___",
            ".DS_Store",
            "main.rs.vsctmp",
            ".goutputstream-X1Y2Z3",
            ".nfs000000000012ab34",
            "sed5JfXIh",
        ] {
            assert!(is_temporary(name.as_ref()), "{name}");
        }
        for name in [
            "main.rs",
            "sediments",
            "sed12",
            "~",
            "##",
            ".#",
            "#",
            ".icon.svg",
            "swp",
            ".env",
            "a~b",
            "49130",
            ".nfsrc",
            ".gitignore",
            "x.tmp",
        ] {
            assert!(!is_temporary(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn databases_are_known() {
        for name in ["a.db", "a.db-wal", "a.sqlite", "a.sqlite-shm", "a.sqlite3", "a.sqlite3-wal"] {
            assert!(is_database(name.as_ref()), "{name}");
        }
        for name in ["db", "a.dbx", "a.sqlite4", "db.rs", "a-db.rs", "a.db.rs"] {
            assert!(!is_database(name.as_ref()), "{name}");
        }
    }
}
