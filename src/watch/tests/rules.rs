//! Ignore files, and edits of them.

use std::collections::BTreeSet;
use std::fs;

use super::Scene;

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(String::from).into()
}

#[test]
fn what_is_ignored_costs_nothing_and_is_not_heard_of() {
    let mut it = Scene::new()
        .repository()
        .file(".gitignore", "node_modules/\n*.log\n!keep.log\n/out/*\n!/out/kept\n")
        .file(".git/info/exclude", "private")
        .file("node_modules/a/b/x.js", "")
        .file("sub/.gitignore", "*.gen.rs")
        .file("sub/.ignore", "huge")
        .dir("sub/huge/deep")
        .dir("out/not")
        .dir("out/kept")
        .watch();
    assert_eq!(it.watches(), set(["", ".git/info", "out", "out/kept", "sub"]));
    for path in [
        "node_modules/a/b/x.js",
        "node_modules/new.js",
        "x.log",
        "sub/x.log",
        "private",
        "sub/x.gen.rs",
        "sub/huge/deep/x",
        "out/not/x",
        "app.db",
        "app.db-wal",
        "sub/x.sqlite3-shm",
        "sub/new/y.db",
    ] {
        it.write(path, "");
    }
    it.hears_nothing();
    for path in ["keep.log", "sub/keep.log", "out/kept/x", "x.gen.rs", "huge", ".hidden"] {
        it.write(path, "");
        it.hears(&[path]);
    }
}

#[test]
fn without_a_repository_gitignore_counts_too() {
    let mut it = Scene::new().file(".gitignore", "dist/").dir("dist").watch();
    it.write("dist/x.js", "");
    it.hears_nothing();
}

#[test]
fn without_any_ignore_file_all_is_watched() {
    let mut it = Scene::new().dir("dist").watch();
    it.write("dist/x.js", "");
    it.hears(&["dist/x.js"]);
}

#[test]
fn ignore_files_can_be_left_out_of_account() {
    let mut it = Scene::new()
        .repository()
        .file(".gitignore", "dist/")
        .dir("dist")
        .change(|set, _| set.gitignore = false)
        .watch();
    it.write("dist/x.js", "");
    it.hears(&["dist/x.js"]);
}

#[test]
fn an_edit_takes_effect_at_once() {
    let mut it = Scene::new()
        .repository()
        .file(".gitignore", "b/\n")
        .file("a/deep/x.rs", "")
        .file("b/deep/x.rs", "")
        .watch();
    assert_eq!(it.watches(), set(["", ".git/info", "a", "a/deep"]));
    it.write(".gitignore", "a/\n");
    it.hears_nothing();
    assert_eq!(it.watches(), set(["", ".git/info", "b", "b/deep"]));
    it.write("a/deep/x.rs", "1");
    it.hears_nothing();
    it.write("b/deep/x.rs", "1");
    it.hears(&["b/deep/x.rs"]);
    it.remove(".gitignore");
    it.hears_nothing();
    assert_eq!(it.watches(), set(["", ".git/info", "a", "a/deep", "b", "b/deep"]));
    // What was let in is known by now: its end is a change.
    it.remove("a/deep/x.rs");
    it.hears(&["a/deep/x.rs"]);
    it.write("b/.ignore", "deep");
    it.hears_nothing();
    assert_eq!(it.watches(), set(["", ".git/info", "a", "a/deep", "b"]));
}

#[test]
fn an_edit_of_the_repositorys_own_takes_effect_at_once() {
    let mut it = Scene::new().repository().dir("a").dir("b").watch();
    it.write(".git/info/exclude", "a");
    it.hears_nothing();
    assert_eq!(it.watches(), set(["", ".git/info", "b"]));
    it.write("a/x", "");
    it.hears_nothing();
}

#[test]
fn an_edit_above_the_root_takes_effect_at_once() {
    let mut it = Scene::new()
        .repository()
        .dir("member/a")
        .change(|set, root| set.roots = vec![root.join("member")])
        .watch();
    it.write("member/a/x", "");
    it.hears_at(&["member/a/x"], "member");
    it.write(".gitignore", "a/");
    it.hears_at(&[], "member");
    it.write("member/a/x", "1");
    it.hears_at(&[], "member");
}

#[test]
fn a_branch_that_brings_rules_and_files_at_once() {
    let mut it = Scene::new().repository().file(".gitignore", "*.css\nold/\n").dir("old").watch();
    it.write(".gitignore", "*.js\nnew/\n");
    it.write("site/x.css", "");
    it.write("site/x.js", "");
    it.write("x.css", "");
    it.write("new/x.css", "");
    it.write("old/x.css", "");
    // What lies in a folder that was ignored so far may be taken for old.
    let heard: BTreeSet<_> = it.until_mark("").into_iter().map(|change| change.path).collect();
    assert!(heard.contains(&it.path("site/x.css")), "{heard:?}");
    assert!(heard.contains(&it.path("x.css")), "{heard:?}");
    assert!(!heard.contains(&it.path("site/x.js")), "{heard:?}");
    assert!(!heard.contains(&it.path("new/x.css")), "{heard:?}");
}

#[test]
fn a_folder_made_anew_with_other_rules() {
    let mut it = Scene::new().repository().file("pkg/.gitignore", "*").file("pkg/x.js", "").watch();
    it.write("pkg/x.js", "1");
    it.hears_nothing();
    fs::remove_dir_all(it.path("pkg")).unwrap();
    it.until_mark("");
    it.write("pkg/x.js", "2");
    it.hears(&["pkg/x.js"]);
    it.write("pkg/x.js", "3");
    it.hears(&["pkg/x.js"]);
}

#[test]
fn what_is_named_outright_counts_although_it_is_ignored() {
    let mut it = Scene::new()
        .repository()
        .file(".gitignore", "/dist/\n/pkg/*\nstyle.css\n*.db\nnode_modules/\n*.log\n")
        .file("own/.gitignore", "*")
        .dir("dist")
        .dir("pkg")
        .dir("node_modules/a")
        .spec(".")
        .spec("dist/")
        .spec("pkg")
        .spec("own")
        .spec("static/style.css")
        .spec("*.db")
        .spec("x.swp~")
        .watch();
    for path in ["dist/x.js", "pkg/x.js", "own/x", "static/style.css", "a/app.db", "x.swp~"] {
        it.write(path, "");
        it.hears(&[path]);
    }
    for path in ["style.css", "node_modules/a/x.db", "dist/x.log", "dist/y~", "app.db-wal"] {
        it.write(path, "");
    }
    it.hears_nothing();
}
