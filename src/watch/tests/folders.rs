//! Folders that come and go, and the three forms of what is named.

use std::fs;

use super::{Scene, write};
use crate::event::{ChangeKind, Content};

#[test]
fn folders_made_with_a_file_at_once() {
    let mut it = Scene::new().watch();
    it.write("a/b/c/d/x.rs", "x");
    it.hears(&["a/b/c/d/x.rs"]);
    it.write("a/b/c/d/y.rs", "y");
    it.hears(&["a/b/c/d/y.rs"]);
}

#[test]
fn an_empty_folder_is_no_change() {
    let mut it = Scene::new().watch();
    fs::create_dir_all(it.path("a/b")).unwrap();
    it.hears_nothing();
    fs::remove_dir_all(it.path("a")).unwrap();
    it.hears_nothing();
}

#[test]
fn a_folder_removed_is_a_change_of_the_folder() {
    let mut it = Scene::new().file("a/b/x.rs", "x").file("a/y.rs", "y").watch();
    fs::rename(it.path("a"), it.root.parent().unwrap().join("elsewhere")).unwrap();
    let changes = it.hears(&["a"]);
    assert_eq!((changes[0].kind, changes[0].content), (ChangeKind::Source, Content::New));
    write(&it.root.parent().unwrap().join("elsewhere/b/x.rs"), "z");
    it.hears_nothing();
}

#[test]
fn a_folder_of_assets_removed() {
    let mut it = Scene::new().file("a/x.rs", "x").file("a/b/y.css", "y").watch();
    fs::remove_dir_all(it.path("a")).unwrap();
    let changes = it.until_mark("");
    assert!(changes.iter().any(|it| it.kind == ChangeKind::Asset), "{changes:?}");
}

#[test]
fn a_folder_that_goes_at_once_is_all_that_was_in_it() {
    let mut it = Scene::new().file("a/x.rs", "x").file("a/b/y.css", "y").watch();
    fs::rename(it.path("a"), it.root.parent().unwrap().join("elsewhere")).unwrap();
    let changes = it.until_mark("");
    for kind in [ChangeKind::Source, ChangeKind::Asset] {
        let found = changes.iter().any(|it| it.kind == kind && it.path.ends_with("a"));
        assert!(found, "{kind:?}: {changes:?}");
    }
}

#[test]
fn a_folder_moved_in() {
    let mut it = Scene::new().file("../outside/b/x.rs", "x").watch();
    fs::rename(it.root.parent().unwrap().join("outside"), it.path("a")).unwrap();
    it.hears(&["a/b/x.rs"]);
    it.write("a/b/x.rs", "y");
    it.hears(&["a/b/x.rs"]);
}

#[test]
fn a_folder_renamed_keeps_being_watched() {
    let mut it = Scene::new().file("a/b/x.rs", "x").watch();
    it.rename("a", "z");
    it.hears(&["a", "z/b/x.rs"]);
    it.write("z/b/x.rs", "y");
    it.hears(&["z/b/x.rs"]);
}

#[test]
fn a_folder_made_anew_keeps_being_watched() {
    let mut it = Scene::new().file("a/b/x.rs", "x").watch();
    for round in 0..5 {
        fs::remove_dir_all(it.path("a")).unwrap();
        it.write("a/b/x.rs", &round.to_string());
        // Removed and made within the quiet time or not: both are right.
        while !it.changes().iter().any(|change| change.path == it.path("a/b/x.rs")) {}
        it.until_mark("");
        it.write("a/b/x.rs", "then");
        it.hears(&["a/b/x.rs"]);
    }
}

#[test]
fn a_named_folder_that_does_not_exist_yet() {
    let mut it = Scene::new().dir("here").spec("here").spec("a/b/c/").watch();
    it.write("a/else.rs", "");
    it.hears_at(&[], "here");
    it.write("a/b/else.rs", "");
    it.hears_at(&[], "here");
    it.write("a/b/c/d/x.rs", "x");
    it.hears_at(&["a/b/c/d/x.rs"], "here");
    it.write("a/b/c/y.rs", "y");
    it.hears_at(&["a/b/c/y.rs"], "here");
    it.rename("a", "../away");
    it.hears_at(&["a/b/c"], "here");
    it.write("a/b/c/z.rs", "z");
    it.hears_at(&["a/b/c/z.rs"], "here");
}

#[test]
fn a_named_folder_made_all_at_once() {
    let mut it = Scene::new().dir("here").spec("here").spec("a/b/c/").watch();
    it.write("../made/b/c/x.rs", "x");
    fs::rename(it.root.parent().unwrap().join("made"), it.path("a")).unwrap();
    it.hears_at(&["a/b/c/x.rs"], "here");
}

#[test]
fn a_named_file() {
    let mut it =
        Scene::new().dir("here").file("a/x.toml", "").spec("here").spec("a/x.toml").watch();
    it.write("a/y.toml", "");
    it.hears_at(&[], "here");
    it.write("a/x.toml", "1");
    it.hears_at(&["a/x.toml"], "here");
    // As vim does it.
    it.rename("a/x.toml", "a/x.toml~");
    it.write("a/x.toml", "2");
    it.hears_at(&["a/x.toml"], "here");
    it.write("a/x.toml", "3");
    it.hears_at(&["a/x.toml"], "here");
}

#[test]
fn a_named_file_that_does_not_exist_yet() {
    let mut it = Scene::new().dir("here").spec("here").spec("a/b/x.toml").watch();
    it.write("a/b/x.toml", "1");
    it.hears_at(&["a/b/x.toml"], "here");
    fs::remove_dir_all(it.path("a")).unwrap();
    it.hears_at(&["a/b/x.toml"], "here");
    it.write("a/b/x.toml", "2");
    it.hears_at(&["a/b/x.toml"], "here");
}

#[test]
fn a_named_path_that_turns_out_to_be_a_folder() {
    let mut it = Scene::new().dir("here").spec("here").spec("a").watch();
    it.write("a/b/x.html", "1");
    it.hears_at(&["a/b/x.html"], "here");
}

#[test]
fn globs() {
    let mut it = Scene::new()
        .dir("here")
        .spec("here")
        .spec("*.css")
        .spec("pages/*/x?.html")
        .spec("deep/**/*.md")
        .dir("pages/a/b")
        .dir("deep/a")
        .watch();
    for path in ["x.js", "pages/a/x.html", "pages/x1.html", "pages/a/b/x1.html", "a.md"] {
        it.write(path, "");
    }
    it.hears_at(&[], "here");
    for path in ["x.css", "any/where/x.css", "pages/a/x1.html", "deep/x.md", "deep/a/n/x.md"] {
        it.write(path, "");
        it.hears_at(&[path], "here");
    }
}

#[test]
fn a_glob_in_a_folder_that_does_not_exist_yet() {
    let mut it = Scene::new().dir("here").spec("here").spec("a/b/*.css").watch();
    it.write("a/b/x.css", "");
    it.write("a/b/x.js", "");
    it.hears_at(&["a/b/x.css"], "here");
}

#[test]
fn what_is_to_be_ignored_always_wins() {
    let mut it = Scene::new()
        .spec(".")
        .spec("gen/x.rs")
        .without("gen")
        .without("*.log")
        .without("a/*.txt")
        .without("not/yet/")
        .without("cache*/")
        .watch();
    for path in
        ["gen/x.rs", "gen/d/y.rs", "x.log", "d/e/x.log", "a/x.txt", "not/yet/x", "d/cache1/x"]
    {
        it.write(path, "");
    }
    it.hears_nothing();
    assert!(!it.watches().contains("gen"), "{:?}", it.watches());
    for path in ["a/b/x.txt", "not/x", "d/cache2"] {
        it.write(path, "");
        it.hears(&[path]);
    }
}

#[test]
fn manifests_count_where_nothing_else_does() {
    let mut it = Scene::new()
        .repository()
        .file(".gitignore", "vendor/\nCargo.lock\n")
        .file("vendor/x/Cargo.toml", "1")
        .change(|set, root| {
            set.manifests = ["vendor/x/Cargo.toml", "Cargo.lock", ".cargo/config.toml"]
                .map(|path| root.join(path))
                .to_vec();
        })
        .dir("here")
        .spec("here")
        .watch();
    it.write("vendor/x/lib.rs", "");
    it.hears_at(&[], "here");
    for (path, kind) in [
        ("vendor/x/Cargo.toml", ChangeKind::Manifest),
        ("Cargo.lock", ChangeKind::Lock),
        (".cargo/config.toml", ChangeKind::Manifest),
    ] {
        it.write(path, "2");
        assert_eq!(it.hears_at(&[path], "here")[0].kind, kind);
    }
}

#[test]
fn what_is_never_watched() {
    let mut it = Scene::new()
        .dir(".git")
        .dir("target/debug")
        .file("src/x.rs", "")
        .change(|set, root| set.never.push(root.join("target")))
        .watch();
    for path in [".git/HEAD", ".hg/x", ".svn/x", ".jj/x", "target/debug/x", "src/.git/x"] {
        it.write(path, "");
    }
    it.hears_nothing();
    assert_eq!(it.watches(), ["", "src"].map(String::from).into());
}

#[test]
fn what_can_never_be_watched_is_said() {
    let mut it = Scene::new()
        .dir("target")
        .spec("target/site")
        .spec(".git/HEAD")
        .spec(".")
        .change(|set, root| set.never.push(root.join("target")))
        .watch();
    let said = [it.notice("watch-never").text, it.notice("watch-never").text].concat();
    assert!(said.contains(".git/HEAD") && said.contains("target/site"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_root_behind_a_link_is_watched_under_its_name() {
    let mut it = Scene::new()
        .file("../real/src/x.rs", "")
        .change(|set, root| {
            let link = root.join("link");
            std::os::unix::fs::symlink(root.parent().unwrap().join("real"), &link).unwrap();
            set.roots = vec![link];
        })
        .watch();
    it.write("link/src/x.rs", "1");
    it.hears_at(&["link/src/x.rs"], "link");
    it.write("../real/src/new/y.rs", "1");
    it.hears_at(&["link/src/new/y.rs"], "link");
}

#[cfg(unix)]
#[test]
fn a_named_file_behind_a_link_is_watched_at_both_ends() {
    let mut it = Scene::new().dir("here").file("../real/x.toml", "").spec("here").spec("x.toml");
    std::os::unix::fs::symlink("../real/x.toml", it.root.join("x.toml")).unwrap();
    it.set.specs.swap(0, 1);
    let mut it = it.watch();
    it.write("../real/x.toml", "1");
    it.hears_at(&["x.toml"], "here");
    it.write("../real/y.toml", "1");
    std::os::unix::fs::symlink("../real/y.toml", it.path("x.toml.new")).unwrap();
    it.rename("x.toml.new", "x.toml");
    it.hears_at(&["x.toml"], "here");
    it.write("../real/y.toml", "2");
    it.hears_at(&["x.toml"], "here");
}

#[cfg(unix)]
#[test]
fn a_link_that_is_named_can_point_elsewhere() {
    let it = Scene::new().dir("here").file("../one/x.css", "1").file("../two/y.css", "2");
    std::os::unix::fs::symlink("../one", it.root.join("current")).unwrap();
    let mut it = it.spec("here").spec("current").watch();
    it.write("../one/x.css", "3");
    it.hears_at(&["current/x.css"], "here");
    std::os::unix::fs::symlink("../two", it.path("next")).unwrap();
    it.rename("next", "current");
    it.hears_at(&["current", "current/y.css"], "here");
    it.write("../one/x.css", "4");
    it.write("../two/y.css", "4");
    it.hears_at(&["current/y.css"], "here");
}

#[test]
fn another_set_is_put_in_force() {
    let mut it = Scene::new().dir("a").file("../b/old.rs", "").change(|set, root| {
        set.roots = vec![root.join("a")];
    });
    it.set.gitignore = false;
    let mut it = it.watch();
    it.write("../b/old.rs", "1");
    it.hears_at(&[], "a");
    it.update(|set, root| set.roots.push(root.parent().unwrap().join("b")));
    it.until_roots(2, "a");
    it.write("../b/old.rs", "2");
    assert_eq!(it.changes()[0].path, it.root.parent().unwrap().join("b/old.rs"));
    it.update(|set, _| drop(set.roots.pop()));
    it.until_roots(1, "a");
    it.write("../b/old.rs", "3");
    it.hears_at(&[], "a");
    assert_eq!(it.watches(), ["a"].map(String::from).into());
}

#[test]
fn what_changes_while_another_set_is_put_in_force_is_not_lost() {
    what_changes_meanwhile(|it| it);
}

#[test]
fn what_changes_while_another_set_is_put_in_force_is_not_lost_when_polling() {
    what_changes_meanwhile(Scene::polling);
}

fn what_changes_meanwhile(mode: impl FnOnce(Scene) -> Scene) {
    let mut it =
        Scene::new().file("a/x.rs", "").file("a/gone.rs", "").dir("b").change(|set, root| {
            set.roots = vec![root.join("a")];
        });
    it.set.gitignore = false;
    let mut it = mode(it).watch();
    it.write("a/x.rs", "1");
    it.write("a/new/y.rs", "1");
    it.remove("a/gone.rs");
    it.update(|set, root| set.roots.push(root.join("b")));
    it.hears_at(&["a/x.rs", "a/new/y.rs", "a/gone.rs"], "a");
}

#[test]
fn it_says_what_it_watches() {
    let it = Scene::new().file("a/x.rs", "").file("a/y.db", "").file("z.rs", "").watch();
    let summary = it.watch().summary();
    assert_eq!((summary.folders, summary.files, summary.polling), (2, 2, None));
    assert_eq!(summary.roots.as_slice(), std::slice::from_ref(&it.root));
}

#[test]
fn it_ends_with_its_handle() {
    let mut it = Scene::new().watch();
    it.watch = None;
    while it.event().is_some() {}
}
