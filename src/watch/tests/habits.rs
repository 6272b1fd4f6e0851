//! How editors and programs save.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::time::Duration;

use super::{Scene, write};
use crate::event::{ChangeKind, Content};

fn scene() -> Scene {
    Scene::new().file("src/main.rs", "fn main() {}").file("index.html", "<p>")
}

#[test]
fn a_file_written_in_place() {
    let mut it = scene().watch();
    it.write("src/main.rs", "fn main() { }");
    let changes = it.hears(&["src/main.rs"]);
    assert_eq!(changes[0].kind, ChangeKind::Source);
    assert_eq!(changes[0].content, Content::New);
}

#[test]
fn a_new_file() {
    let mut it = scene().watch();
    it.write("src/lib.rs", "");
    it.hears(&["src/lib.rs"]);
}

#[test]
fn written_beside_and_renamed() {
    let mut it = scene().patient().watch();
    it.write("index.html.tmp8231", "<b>");
    it.rename("index.html.tmp8231", "index.html");
    let changes = it.hears(&["index.html"]);
    assert_eq!(changes[0].kind, ChangeKind::Asset);
}

#[test]
fn vim_with_a_backup() {
    let mut it = scene().watch();
    it.write("src/.main.rs.swp", "b0VIM");
    it.write("src/4913", "");
    it.remove("src/4913");
    it.rename("src/main.rs", "src/main.rs~");
    it.write("src/main.rs", "fn main() { 1 }");
    it.remove("src/main.rs~");
    it.remove("src/.main.rs.swp");
    it.hears(&["src/main.rs"]);
    // And once more: the watch did not leave with the old file.
    it.rename("src/main.rs", "src/main.rs~");
    it.write("src/main.rs", "fn main() { 2 }");
    it.hears(&["src/main.rs"]);
}

#[test]
fn a_checkout_is_said_when_it_is_over() {
    let mut it = scene().repository().watch();
    it.write(".git/index.lock", "");
    it.write("index.html", "<b>");
    // Far longer than the quiet time.
    std::thread::sleep(Duration::from_millis(300));
    it.write("src/main.rs", "");
    it.remove(".git/index.lock");
    assert_eq!(it.changes().len(), 2);
}

#[test]
fn written_and_closed_later() {
    let mut it = scene().watch();
    let mut file = File::create(it.path("src/main.rs")).unwrap();
    file.write_all(b"fn main() { }").unwrap();
    assert_eq!(it.changes().len(), 1);
    // So it is where the disk is slow: the content has been said, and nothing comes to it.
    drop(file);
    it.hears_nothing();
}

#[test]
fn truncated_and_written_later() {
    let mut it = scene().watch();
    let path = it.path("src/main.rs");
    let mut file = OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    let first = it.changes();
    assert_eq!(first[0].content, Content::New);
    file.write_all(b"fn main() { 3 }").unwrap();
    drop(file);
    let second = it.hears(&["src/main.rs"]);
    assert_eq!(second[0].content, Content::New);
}

#[cfg(unix)]
#[test]
fn a_hard_link_put_in_place() {
    let mut it = scene().file("new.html", "<i>").watch();
    it.remove("index.html");
    fs::hard_link(it.path("new.html"), it.path("index.html")).unwrap();
    it.hears(&["index.html"]);
}

#[test]
fn an_older_file_moved_in() {
    let mut it = scene().file("src/main.rs.bak", "fn main() { old() }").watch();
    it.rename("src/main.rs.bak", "src/main.rs");
    it.hears(&["src/main.rs", "src/main.rs.bak"]);
}

#[test]
fn a_file_moved_in_and_out() {
    let mut it = scene().watch();
    let outside = it.root.parent().unwrap().join("outside.html");
    write(&outside, "x");
    fs::rename(&outside, it.path("in.html")).unwrap();
    it.hears(&["in.html"]);
    fs::rename(it.path("in.html"), &outside).unwrap();
    it.hears(&["in.html"]);
}

#[test]
fn a_file_deleted() {
    let mut it = scene().watch();
    it.remove("index.html");
    let changes = it.hears(&["index.html"]);
    assert_eq!(changes[0].content, Content::New);
}

#[test]
fn a_file_that_came_and_went() {
    let mut it = scene().patient().watch();
    it.write("sedXyZ", "");
    it.remove("sedXyZ");
    it.hears_nothing();
}

#[test]
fn a_thousand_files_at_once() {
    let mut it = scene().watch();
    let names: Vec<_> = (0..1000).map(|n| format!("many/{n}.html")).collect();
    for name in &names {
        it.write(name, name);
    }
    it.hears(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(it.watch().summary().files, 1003);
}

#[test]
fn the_same_bytes_again() {
    let mut it = scene().watch();
    it.write("index.html", "<b>");
    assert!(it.hears(&["index.html"]).iter().any(|change| change.content == Content::New));
    it.write("index.html", "<b>");
    assert_eq!(it.hears(&["index.html"]).last().unwrap().content, Content::Same);
    it.write("index.html", "<i>");
    assert!(it.hears(&["index.html"]).iter().any(|change| change.content == Content::New));
}

#[test]
fn what_was_said_to_be_seen_is_the_same() {
    let mut it = Scene::new()
        .file("../Cargo.lock", "a")
        .change(|set, root| set.manifests.push(root.parent().unwrap().join("Cargo.lock")))
        .watch();
    let lock = it.root.parent().unwrap().join("Cargo.lock");
    it.watch().seen(&lock);
    it.write("../Cargo.lock", "a");
    let changes = it.changes();
    assert_eq!(changes[0].path, lock);
    assert_eq!((changes[0].kind, changes[0].content), (ChangeKind::Lock, Content::Same));
}

#[test]
fn reading_is_no_change() {
    let mut it = scene().watch();
    for path in ["src/main.rs", "index.html"] {
        let mut text = String::new();
        File::open(it.path(path)).unwrap().read_to_string(&mut text).unwrap();
    }
    assert_eq!(fs::read_dir(it.path("src")).unwrap().count(), 1);
    it.hears_nothing();
}

#[cfg(unix)]
#[test]
fn permissions_are_no_change() {
    use std::os::unix::fs::PermissionsExt;

    let mut it = scene().watch();
    fs::set_permissions(it.path("index.html"), fs::Permissions::from_mode(0o600)).unwrap();
    it.hears_nothing();
}

#[cfg(unix)]
#[test]
fn sockets_are_no_change() {
    let mut it = scene().watch();
    let socket = std::os::unix::net::UnixListener::bind(it.path("app.sock")).unwrap();
    it.hears_nothing();
    drop(socket);
    it.remove("app.sock");
    it.hears_nothing();
}

#[test]
fn names_with_spaces() {
    let mut it = scene().dir("my pages").watch();
    it.write("my pages/über uns.html", "x");
    it.hears(&["my pages/über uns.html"]);
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let mut it = scene().watch();
    let folder = it.root.join(OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&folder).unwrap();
    it.hears_nothing();
    fs::write(folder.join(OsStr::from_bytes(b"\xff.rs")), "x").unwrap();
    let changes = it.changes();
    assert_eq!(changes[0].path, folder.join(OsStr::from_bytes(b"\xff.rs")));
}

#[test]
fn a_file_that_is_written_without_a_pause_is_heard_of_all_the_same() {
    let mut it = scene().watch();
    let mut file = File::create(it.path("log.html")).unwrap();
    let path = it.path("log.html");
    let writer = std::thread::spawn(move || {
        while path.exists() {
            file.write_all(b"line\n").unwrap();
            std::thread::yield_now();
        }
    });
    assert_eq!(it.changes()[0].path, it.path("log.html"));
    it.remove("log.html");
    writer.join().unwrap();
}
