//! Symbolic links inside of what is watched.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use super::{Scene, Watched};

impl Scene {
    /// With a link at `path`; `to` is relative to the link's folder, or absolute.
    fn link(self, path: &str, to: &str) -> Self {
        let link = self.root.join(path);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(to, link).unwrap();
        self
    }
}

impl Watched {
    /// The folders beside the root that have a watch.
    fn watches_beside(&self) -> BTreeSet<String> {
        let placed = self.placed.lock().unwrap();
        let beside = placed.iter().filter(|path| !path.starts_with(&self.root));
        let top = self.root.parent().unwrap();
        let below = beside.filter_map(|path| path.strip_prefix(top).ok());
        below.map(|path| path.to_string_lossy().into_owned()).collect()
    }
}

/// `src/mods` and `src/b.rs` lie in `../common`.
fn shared() -> Scene {
    Scene::new()
        .file("../common/mods/deep/x.rs", "")
        .file("../common/b.rs", "")
        .file("../common/else.rs", "")
        .link("src/mods", "../../common/mods")
        .link("src/b.rs", "../../common/b.rs")
}

fn is_heard_of(mut it: Watched) {
    for path in ["src/mods/deep/x.rs", "../common/mods/deep/x.rs"] {
        it.write(path, path);
        it.hears(&["src/mods/deep/x.rs"]);
    }
    for path in ["src/b.rs", "../common/b.rs"] {
        it.write(path, path);
        it.hears(&["src/b.rs"]);
    }
    it.write("../common/mods/new/y.rs", "1");
    it.hears(&["src/mods/new/y.rs"]);
    it.write("../common/else.rs", "1");
    it.hears_nothing();
}

#[test]
fn what_lies_behind_a_link_is_heard_of_under_the_links_name() {
    is_heard_of(shared().watch());
}

#[test]
fn what_lies_behind_a_link_is_heard_of_when_polling() {
    is_heard_of(shared().polling().watch());
}

#[test]
fn a_link_is_not_what_was_named() {
    let it = shared().watch();
    assert_eq!(it.watch().summary().roots.as_slice(), std::slice::from_ref(&it.root));
}

#[test]
fn what_a_link_leads_to_can_go_and_come_back() {
    let mut it = shared().watch();
    it.rename("../common/b.rs", "../common/b.rs~");
    it.write("../common/b.rs", "1");
    it.hears(&["src/b.rs"]);
    it.rename("../common/mods", "../common/aside");
    it.hears(&["src/mods"]);
    it.rename("../common/aside", "../common/mods");
    it.hears(&["src/mods/deep/x.rs"]);
    it.write("../common/mods/deep/x.rs", "1");
    it.hears(&["src/mods/deep/x.rs"]);
}

#[test]
fn links_come_change_and_go() {
    let mut it = shared().file("../other/z.rs", "").dir("more").watch();
    symlink("../../other", it.path("more/link")).unwrap();
    it.hears(&["more/link", "more/link/z.rs"]);
    it.write("../other/z.rs", "1");
    it.hears(&["more/link/z.rs"]);
    symlink("../../common/mods", it.path("more/next")).unwrap();
    it.hears(&["more/next"]);
    it.remove("src/mods");
    it.hears(&["src/mods"]);
    it.rename("more/next", "more/link");
    it.until_mark("");
    it.write("../common/mods/deep/x.rs", "2");
    it.hears(&["more/link/deep/x.rs"]);
    it.write("../other/z.rs", "2");
    it.hears_nothing();
    it.remove("more/link");
    it.remove("src/b.rs");
    it.hears(&["more/link", "src/b.rs"]);
    assert_eq!(it.watches_beside(), BTreeSet::new());
}

#[test]
fn a_link_moves_with_its_folder() {
    let mut it = shared().watch();
    it.rename("src", "code");
    it.until_mark("");
    it.write("../common/mods/deep/x.rs", "1");
    it.hears(&["code/mods/deep/x.rs"]);
    it.write("../common/b.rs", "1");
    it.hears(&["code/b.rs"]);
}

#[test]
fn links_behind_links() {
    let mut it = shared()
        .file("../far/deep/y.rs", "")
        .link("../common/mods/far", "../../far")
        .link("../far/around", "../common/mods")
        .link("../far/up", "..")
        .link("../far/self", ".")
        .link("../common/mods/up", "..")
        .watch();
    it.write("../far/deep/y.rs", "1");
    it.hears(&["src/mods/far/deep/y.rs"]);
    it.write("../common/mods/deep/x.rs", "1");
    it.hears(&["src/mods/deep/x.rs"]);
    it.write("../common/else.rs", "1");
    it.hears_nothing();
}

#[test]
fn a_hidden_link_is_followed() {
    let mut it = Scene::new().file("../shared.env", "").link(".env", "../shared.env").watch();
    it.write("../shared.env", "1");
    it.hears(&[".env"]);
}

#[test]
fn links_that_are_not_followed() {
    let it = Scene::new()
        .repository()
        .file(".gitignore", "/ignored\n/gen\n")
        .without("excluded")
        .dir("a/b")
        .dir("gen/b")
        .dir("../out/one")
        .dir("../out/.git/two")
        .dir("../out/target/three")
        .file("../out/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55")
        .dir("../out/cache/four")
        .file("../out/x.rs", "")
        .change(|set, root| set.never.push(root.parent().unwrap().join("out/target")))
        .link("up", "../..")
        .link("here", ".")
        .link("inside", "a/b")
        .link("inside-ignored", "gen")
        .link("ignored", "../out/one")
        .link("excluded", "../out/one")
        .link(".venv/lib", "../../out/one")
        .link("two", "../out/.git/two")
        .link("three", "../out/target/three")
        .link("four", "../out/cache/four")
        .link(".#main.rs", "../out/x.rs")
        .link("nowhere", "../out/nowhere");
    let mut it = it.watch();
    assert_eq!(it.watches(), ["", ".git/info", ".venv", "a", "a/b"].map(String::from).into());
    assert_eq!(it.watches_beside(), BTreeSet::new());
    it.write("a/b/x.rs", "1");
    it.hears(&["a/b/x.rs"]);
}

#[test]
fn what_does_not_count_behind_a_link() {
    let mut it = shared()
        .file("../common/mods/.gitignore", "*.out")
        .without("src/mods/not")
        .without("src/*/x.txt")
        .without("*.log")
        .watch();
    for path in ["x.out", "not/x.rs", "x.txt", "deep/x.log", "x.db", ".git/x"] {
        it.write(&format!("../common/mods/{path}"), "1");
    }
    it.hears_nothing();
    it.write("../common/mods/.gitignore", "");
    it.until_mark("");
    it.write("../common/mods/x.out", "2");
    it.hears(&["src/mods/x.out"]);
}

#[test]
fn a_glob_goes_through_links() {
    let mut it = shared().dir("here").spec("here").spec("src/**/deep/*.rs").watch();
    it.write("../common/mods/y.rs", "1");
    it.write("../common/b.rs", "1");
    it.hears_at(&[], "here");
    it.write("../common/mods/deep/x.rs", "1");
    it.hears_at(&["src/mods/deep/x.rs"], "here");
}
