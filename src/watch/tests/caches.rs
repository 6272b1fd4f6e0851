//! Cargo's target folders, wherever they are.

use std::fs;

use super::Scene;

/// As cargo writes it.
const TAG: &str =
    "Signature: 8a477f597d28d172789f06886806bc55\n# This file is a cache directory tag";

#[test]
fn the_target_folder_of_another_workspace() {
    let mut it = Scene::new()
        .file("tools/target/CACHEDIR.TAG", TAG)
        .file("tools/target/debug/x.d", "")
        .file("tools/src/x.rs", "")
        .change(|set, _| set.gitignore = false)
        .watch();
    assert_eq!(it.watches(), ["", "tools", "tools/src"].map(String::from).into());
    it.write("tools/target/debug/x.d", "1");
    it.write("tools/target/new", "1");
    it.hears_nothing();
    it.write("tools/src/x.rs", "1");
    it.hears(&["tools/src/x.rs"]);
}

#[test]
fn a_target_folder_that_is_made_later() {
    let mut it = Scene::new().dir("tools").watch();
    it.write("tools/made/CACHEDIR.TAG", TAG);
    it.write("tools/made/debug/x.d", "1");
    it.rename("tools/made", "tools/target");
    it.until_mark("");
    it.write("tools/target/debug/x.d", "2");
    it.hears_nothing();
    assert_eq!(it.watches(), ["", "tools"].map(String::from).into());
}

#[test]
fn a_folder_that_is_tagged_later() {
    let mut it = Scene::new().dir("tools/target/debug").watch();
    it.write("tools/target/debug/x.d", "1");
    it.hears(&["tools/target/debug/x.d"]);
    it.write("tools/target/CACHEDIR.TAG", TAG);
    while it.watches().contains("tools/target") {
        it.hears_nothing();
    }
    it.write("tools/target/debug/x.d", "2");
    it.hears_nothing();
}

#[test]
fn a_folder_that_was_a_cache_once() {
    let mut it = Scene::new().file("gen/CACHEDIR.TAG", TAG).watch();
    fs::remove_dir_all(it.path("gen")).unwrap();
    it.hears_nothing();
    it.write("gen/x.rs", "1");
    it.hears(&["gen/x.rs"]);
}

#[test]
fn a_cache_that_is_named_is_watched() {
    let mut it = Scene::new()
        .file("other/target/CACHEDIR.TAG", TAG)
        .dir("other/target/site")
        .spec(".")
        .spec("other/target/site")
        .watch();
    it.write("other/target/site/x.css", "1");
    it.hears(&["other/target/site/x.css"]);
    it.write("other/target/x", "1");
    it.hears_nothing();
}

#[test]
fn a_tag_without_its_signature_is_none() {
    let mut it = Scene::new().file("gen/CACHEDIR.TAG", "Signature: none").watch();
    it.write("gen/x.rs", "1");
    it.hears(&["gen/x.rs"]);
}
