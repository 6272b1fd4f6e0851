//! The filter agrees with git about what is ignored: `git check-ignore` is asked on generated trees.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cargo_stario::watch::{Filter, Reason, Verdict, WatchSet};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// A generated repository.
#[derive(Clone, Debug)]
struct Tree {
    files: BTreeSet<String>,
    /// Folders with an ignore file, and its lines.
    ignores: Vec<(String, Vec<String>)>,
    exclude: Vec<String>,
    /// The folder that is watched.
    root: String,
}

#[test]
fn the_filter_agrees_with_git() {
    if !has_git() {
        return;
    }
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&tree(), |tree| agree(&tree)).unwrap();
}

/// Cases that a generator seldom meets.
#[test]
fn the_filter_agrees_with_git_where_it_is_subtle() {
    if !has_git() {
        return;
    }
    let cases: [(&[&str], &[&str]); 9] = [
        (&["/a/*", "!/a/b"], &["a/b/c", "a/c", "b/a/c"]),
        (&["a/", "!a/b"], &["a/b", "a/c", "x/a/b"]),
        (&["*", "!*/", "!*.rs"], &["a/b.rs", "a/c", "d.rs", "e"]),
        (&["a/**/b"], &["a/b", "a/c/b", "a/d/e/b", "b"]),
        (&["**/a/b", "c/**"], &["a/b", "x/a/b", "x/c/d", "c/d"]),
        (&["\\#a", "\\!b", "c\\ ", "d "], &["#a", "!b", "c ", "d"]),
        (&["\\{a,b\\}"], &["{a,b}", "a", "b"]),
        (&["a b/", "[ab].c", "?.d"], &["a b/x", "a.c", "c.c", "a.d", "ab.d"]),
        (&["/build", "!build/keep"], &["build/keep", "x/build/keep"]),
    ];
    for (lines, files) in cases {
        let tree = Tree {
            files: files.iter().map(ToString::to_string).collect(),
            ignores: vec![(String::new(), lines.iter().map(ToString::to_string).collect())],
            exclude: Vec::new(),
            root: String::new(),
        };
        agree(&tree).unwrap_or_else(|error| panic!("{lines:?}: {error}"));
    }
}

/// Whether `git` is there. Where it has to be (CI), its absence is a failure.
fn has_git() -> bool {
    let found = Command::new("git").arg("--version").output().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "CI has to have git");
    if !found {
        eprintln!("SKIPPED: needs git");
    }
    found
}

fn name() -> impl Strategy<Value = String> {
    let names = vec!["a", "b", "c", "ab", "a.x", "b.x", "b.y", ".a", "a b", "{a,b}", "deep"];
    prop::sample::select(names).prop_map(String::from)
}

fn path(longest: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(name(), 1..=longest).prop_map(|names| names.join("/"))
}

/// A segment of a pattern.
fn segment() -> impl Strategy<Value = String> {
    let wild = vec!["*", "*.x", "a*", "?", "[ab]", "[!a]", "*b*", "**", "*.*"];
    prop_oneof![
        // The crate `ignore` expands braces, git does not: only escaped ones.
        4 => name().prop_map(|name| name.replace('{', "\\{").replace('}', "\\}")),
        1 => prop::sample::select(wild).prop_map(String::from),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    let segments = prop::collection::vec(segment(), 1..4);
    (any::<bool>(), prop::bool::weighted(0.25), segments, prop::bool::weighted(0.3)).prop_map(
        |(anchored, negated, segments, folder)| {
            let start = if negated { "!" } else { "" };
            let anchor = if anchored { "/" } else { "" };
            let end = if folder { "/" } else { "" };
            format!("{start}{anchor}{}{end}", segments.join("/"))
        },
    )
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![8 => pattern(), 1 => Just(String::new()), 1 => Just("# a".to_owned())]
}

fn tree() -> impl Strategy<Value = Tree> {
    let folder = prop_oneof![2 => Just(String::new()), 3 => path(2)];
    let lines = prop::collection::vec(line(), 1..5);
    let root = prop_oneof![3 => Just(String::new()), 1 => path(2)];
    (
        prop::collection::btree_set(path(4), 1..25),
        prop::collection::vec((folder, lines), 0..4),
        prop::collection::vec(line(), 0..2),
        root,
    )
        .prop_map(|(files, ignores, exclude, root)| Tree { files, ignores, exclude, root })
}

impl Tree {
    /// Writes it. Files in the place of folders are left out, and folders in the place of files.
    fn write(&self, top: &Path) {
        for folder in [".git/info", ".git/objects", ".git/refs"] {
            fs::create_dir_all(top.join(folder)).unwrap();
        }
        fs::write(top.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(top.join(".git/info/exclude"), text(&self.exclude)).unwrap();
        fs::create_dir_all(top.join(&self.root)).unwrap();
        for (folder, lines) in &self.ignores {
            let folder = top.join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(".gitignore"), text(lines)).unwrap();
        }
        for file in &self.files {
            let file = top.join(file);
            let folder = file.parent().expect("it lies below `top`");
            if fs::create_dir_all(folder).is_ok() && !file.exists() {
                fs::write(file, "").unwrap();
            }
        }
    }
}

fn text(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// Every file and folder below `folder`, relative to `top`.
fn all(top: &Path, folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() == ".git" || entry.file_name() == ".gitignore" {
            continue;
        }
        let path = entry.path();
        found.push(path.strip_prefix(top).unwrap().to_path_buf());
        if path.is_dir() {
            all(top, &path, found);
        }
    }
}

fn agree(tree: &Tree) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().canonicalize().unwrap();
    tree.write(&top);
    // A watch starts inside of its root: that the root is ignored does not count, so there is
    // nothing to compare with.
    if !tree.root.is_empty() && !git_ignores(&top, &[PathBuf::from(&tree.root)]).is_empty() {
        return Ok(());
    }
    let root = top.join(&tree.root);
    let mut paths = Vec::new();
    all(&top, &root, &mut paths);
    let by_git = git_ignores(&top, &paths);
    let set = WatchSet { roots: vec![root], gitignore: true, ..WatchSet::default() };
    let mut filter = Filter::new(&set);
    for path in &paths {
        let whole = top.join(path);
        let verdict = filter.verdict(&whole, whole.is_dir());
        let expected = if by_git.contains(path) {
            Verdict::Ignored(Reason::IgnoreFile)
        } else {
            Verdict::Watched
        };
        if verdict != expected {
            let text = format!("{} is {verdict:?} in {tree:?}", path.display());
            return Err(TestCaseError::fail(text));
        }
    }
    Ok(())
}

/// Which of `paths`, relative to `top`, git ignores.
fn git_ignores(top: &Path, paths: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut git = Command::new("git")
        .args(["check-ignore", "--no-index", "--stdin", "-z"])
        .current_dir(top)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // So little that the pipe holds it.
    let mut input = git.stdin.take().expect("it is piped");
    for path in paths {
        input.write_all(path.to_str().unwrap().as_bytes()).unwrap();
        input.write_all(&[0]).unwrap();
    }
    drop(input);
    let output = git.wait_with_output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let names = String::from_utf8(output.stdout).unwrap();
    names.split_terminator('\0').map(PathBuf::from).collect()
}
