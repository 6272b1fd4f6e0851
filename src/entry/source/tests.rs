use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Lookup, look_up};

/// Source files in a folder; the first is the crate's root.
struct Sources(TempDir, String);

fn sources(files: &[(&str, &str)]) -> Sources {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("in the folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    Sources(folder, files[0].0.into())
}

impl Sources {
    /// Looks for `module::path:function`.
    fn look_up(&self, entry: &str) -> Lookup {
        let (modules, function) = entry.split_once(':').unwrap_or((entry, ""));
        let modules: Vec<_> =
            modules.split('.').filter(|it| !it.is_empty()).map(str::to_owned).collect();
        let function = Some(function).filter(|it| !it.is_empty());
        look_up(&self.0.path().join(&self.1), &modules, function)
    }

    #[track_caller]
    fn found(&self, entry: &str) {
        assert_eq!(self.look_up(entry), Lookup::Found, "{entry}");
    }

    /// The function is missing from this file, which has these.
    #[track_caller]
    fn no_function(&self, entry: &str, file: &str, functions: &[&str]) {
        let file = self.0.path().join(file);
        let functions = functions.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(self.look_up(entry), Lookup::NoFunction { file, functions }, "{entry}");
    }

    /// The segment is missing from this file.
    #[track_caller]
    fn no_module(&self, entry: &str, segment: usize, missing_from: &str) {
        match self.look_up(entry) {
            Lookup::NoModule { at, file, .. } => {
                assert_eq!((at, &*file), (segment, &*self.0.path().join(missing_from)), "{entry}");
            }
            other => panic!("{entry}: {other:?}"),
        }
    }
}

/// One file, and whether `bootstrap` can be in it.
#[track_caller]
fn single(source: &str) -> bool {
    match sources(&[("main.rs", source)]).look_up(":bootstrap") {
        Lookup::Found => true,
        Lookup::NoFunction { .. } => false,
        other @ Lookup::NoModule { .. } => panic!("{other:?}"),
    }
}

#[test]
fn functions_of_all_kinds() {
    for source in [
        "fn bootstrap() {}",
        "pub(crate) async fn bootstrap<T>(_: T) {}",
        "#[stario::bootstrap] pub unsafe extern \"C\" fn bootstrap() {}",
        "const bootstrap: fn() = main;",
        "pub static bootstrap: fn() = main;",
        "unsafe extern \"C\" { fn bootstrap(); }",
        "fn r#bootstrap() {}",
    ] {
        assert!(single(source), "{source}");
    }
}

#[test]
fn what_could_bring_it_in() {
    for source in [
        "use app::bootstrap;",
        "pub use app::{other, web::start as bootstrap};",
        "use app::*;",
        "use app::{a::{b, c::*}};",
        "use app::bootstrap::{self};",
        "extern crate app as bootstrap;",
        "routes! { get }",
        "app::routes!();",
        "include!(\"generated.rs\");",
        "#[alias(bootstrap)] fn start() {}",
    ] {
        assert!(single(source), "{source}");
    }
}

#[test]
fn what_could_not() {
    for source in [
        "",
        "fn main() { fn bootstrap() {} }",
        "struct Server; impl Server { fn bootstrap() {} }",
        "mod bootstrap {}",
        "mod inner { pub fn bootstrap() {} }",
        "use app::bootstrap as start;",
        "use app::bootstrap::start;",
        "fn main() { println!(\"bootstrap\"); }",
        "macro_rules! bootstrap { () => {} }",
        "#[tokio::main] async fn main() {}",
        "#[derive(Debug)] struct Server;",
        "/// Not bootstrap.\nfn main() {}",
    ] {
        assert!(!single(source), "{source}");
    }
}

#[test]
fn what_does_not_parse_is_left_to_the_build() {
    assert!(single("fn main( {}"));
    let broken = sources(&[("main.rs", "mod admin;"), ("admin.rs", "fn {")]);
    broken.found("admin:bootstrap");
    let gone = sources(&[("main.rs", "mod admin;")]);
    gone.found("admin:bootstrap");
    assert_eq!(look_up(Path::new("/nowhere/main.rs"), &[], Some("x")), Lookup::Found);
}

#[test]
fn modules_in_files() {
    let files = sources(&[
        ("main.rs", "mod admin; mod site; fn main() {}"),
        ("admin.rs", "pub mod api; fn start() {}"),
        ("admin/api.rs", "pub mod v1 { pub mod inner; pub fn bootstrap() {} }"),
        ("admin/api/v1/inner.rs", "fn bootstrap() {}"),
        ("site/mod.rs", "mod pages; fn bootstrap() {}"),
        ("site/pages.rs", "fn bootstrap() {}"),
    ]);
    files.found("admin:start");
    files.found("admin.api.v1:bootstrap");
    files.found("admin.api.v1.inner:bootstrap");
    files.found("site:bootstrap");
    files.found("site.pages:bootstrap");
    files.found("site.pages");
    files.no_function(":start", "main.rs", &["main"]);
    files.no_function("admin:bootstrap", "admin.rs", &["start"]);
    files.no_function("admin.api.v1:start", "admin/api.rs", &["bootstrap"]);
    files.no_module("admin.pages:x", 1, "admin.rs");
    files.no_module("admn", 0, "main.rs");
    files.no_module("site.pages.x.y", 2, "site/pages.rs");
}

#[test]
fn a_binary_in_a_folder_of_its_own() {
    let files = sources(&[("bin/web.rs", "mod admin;"), ("bin/admin.rs", "fn start() {}")]);
    files.found("admin:start");
    files.no_function("admin:stop", "bin/admin.rs", &["start"]);
}

#[test]
fn paths_that_are_named() {
    let files = sources(&[
        (
            "main.rs",
            "#[path = \"other/place.rs\"] mod a; mod b; mod c { #[path = \"d.rs\"] mod d; } \
             #[path = \"e\"] mod f { mod g; }",
        ),
        ("other/place.rs", "mod beside; fn start() {}"),
        ("other/beside.rs", "fn start() {}"),
        ("b.rs", "#[path = \"x.rs\"] mod x; mod y { #[path = \"z.rs\"] mod z; }"),
        ("x.rs", "fn start() {}"),
        ("b/y/z.rs", "fn start() {}"),
        ("c/d.rs", "fn start() {}"),
        ("e/g.rs", "fn start() {}"),
    ]);
    for module in ["a", "a.beside", "b.x", "b.y.z", "c.d", "f.g"] {
        files.found(&format!("{module}:start"));
        assert_ne!(files.look_up(&format!("{module}:stop")), Lookup::Found, "{module}");
    }
}

#[test]
fn modules_that_are_configured() {
    let files = sources(&[
        (
            "main.rs",
            "#[cfg(unix)] mod a { fn on_unix() {} } #[cfg(windows)] mod a { fn on_windows() {} } \
             #[cfg_attr(unix, path = \"b_unix.rs\")] #[cfg_attr(windows, path = \"b_windows.rs\")] mod b;",
        ),
        ("b_unix.rs", "fn on_unix() {}"),
        ("b_windows.rs", "fn on_windows() {}"),
    ]);
    for module in ["a", "b"] {
        files.found(&format!("{module}:on_unix"));
        files.found(&format!("{module}:on_windows"));
        assert_ne!(files.look_up(&format!("{module}:other")), Lookup::Found, "{module}");
    }
    files.no_function("a:other", "main.rs", &["on_unix", "on_windows"]);
}

#[test]
fn modules_from_elsewhere_cannot_be_seen_through() {
    sources(&[("main.rs", "use app::admin;")]).found("admin:start");
    sources(&[("main.rs", "use app::*;")]).found("admin.inner:start");
    sources(&[("main.rs", "modules! { admin }")]).found("admin:start");
}

#[test]
fn a_function_in_place_of_a_module() {
    let files = sources(&[("main.rs", "mod admin { fn start() {} }")]);
    let Lookup::NoModule { is_function, modules, .. } = files.look_up("admin.start") else {
        panic!("not found as a module");
    };
    assert!(is_function);
    assert!(modules.is_empty());
}

#[test]
fn the_macro_that_lists_bootstraps_defines_none() {
    let text = "async fn bootstrap() {}\nstario::main!(bootstrap, admin::bootstrap);";
    sources(&[("main.rs", text)]).no_function(":boostrap", "main.rs", &["bootstrap"]);
    sources(&[("main.rs", "other::main!(bootstrap);")]).found(":boostrap");
}
