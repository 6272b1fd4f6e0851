//! Which package's which target is chosen.

use super::{Mode, Project, TargetKind, assert_data_eq, fs, package, str};

#[test]
fn a_single_package() {
    let project = Project::single();
    for line in ["watch", "watch main", "watch app"] {
        assert_eq!(project.chosen(".", line), "app/app", "{line}");
    }
    assert_eq!(project.chosen("src", "serve main:bootstrap"), "app/app:bootstrap");
    assert_eq!(project.chosen(".", "watch app::admin:start"), "app/app:admin::start");
    assert_eq!(project.chosen(".", "watch main::admin"), "app/app");

    let plan = project.plan("src", "serve main:bootstrap --release -- --verbose x");
    assert_eq!(plan.mode, Mode::Serve);
    assert_eq!(plan.args, ["--verbose", "x"]);
    assert_eq!(plan.profile.args(), ["--profile", "release"]);
    assert_eq!((plan.entry.spec().as_str(), plan.entry.target.as_str()), ("app@0.1.0", "app"));
    assert_eq!(plan.entry.kind, TargetKind::Bin);
    assert_eq!(plan.entry.local[0].root, project.root());
    assert_eq!(plan.workspace_root, project.root());
    assert_eq!(plan.target_directory, project.path("target"));
    assert_eq!(plan.build_directory, None);
    assert_eq!(plan, project.plan("src", "serve main:bootstrap --release -- --verbose x"));
}

#[test]
fn the_package_that_holds_the_folder() {
    let project = Project::workspace();
    assert_eq!(project.chosen("crates/web", "watch main:bootstrap"), "web/web:bootstrap");
    assert_eq!(project.chosen("crates/web/src", "watch"), "web/web");
    assert_eq!(project.chosen("crates/admin-api", "watch main"), "admin-api/admin-api");
    // A name is looked for in the others too.
    assert_eq!(project.chosen("crates/web", "watch admin_api"), "admin-api/admin-api");
    assert_eq!(project.chosen("crates/shared", "watch web:bootstrap"), "web/web:bootstrap");
}

#[test]
fn a_virtual_workspace() {
    let project = Project::workspace();
    assert_eq!(project.chosen(".", "watch web:bootstrap"), "web/web:bootstrap");
    assert_eq!(project.chosen(".", "watch admin_api:bootstrap"), "admin-api/admin-api:bootstrap");
    assert_eq!(project.chosen(".", "watch admin-api"), "admin-api/admin-api");
    assert_eq!(project.chosen(".", "watch main -p web"), "web/web");
    assert_eq!(project.chosen(".", "watch main -p web@0.1.0"), "web/web");
    assert_eq!(project.chosen(".", "watch --bin web"), "web/web");
    assert_data_eq!(
        project.failure(".", "watch main:bootstrap"),
        str![[r#"
error: several packages have a default binary
  admin-api  binary of package admin-api  crates/admin-api/src/main.rs
  web        binary of package web        crates/web/src/main.rs
help: choose with `-p admin-api` or `-p web`

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch wbe:bootstrap"),
        str![[r#"
error: nothing to run is called `wbe`; there is
  admin-api  binary of package admin-api  crates/admin-api/src/main.rs
  web        binary of package web        crates/web/src/main.rs
help: a similar name exists: `web`
help: `main` is the package's default binary; modules inside follow behind `::`

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch -p wbe"),
        str![[r#"
error: no package `wbe` in the workspace [ROOT] (`-p`)
help: a package with a similar name exists: `web`

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch -p other"),
        str![[r#"
error: no package `other` in the workspace [ROOT] (`-p`)
help: the workspace has `admin-api`, `shared` and `web`

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch admin-api -p web"),
        str![[r#"
error: nothing to run is called `admin-api` in package `web`; there is
  web  binary of package web  crates/web/src/main.rs
help: package `admin-api` has it: choose that with `-p admin-api`, or leave out `-p`

"#]]
    );
}

#[test]
fn default_members_go_before_the_others() {
    let project = Project::workspace().file(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\ndefault-members = [\"crates/web\"]\n",
    );
    assert_eq!(project.chosen(".", "watch main:bootstrap"), "web/web:bootstrap");
    assert_eq!(project.chosen("crates", "watch"), "web/web");
    assert_eq!(project.chosen("crates/admin-api", "watch"), "admin-api/admin-api");
    assert_eq!(project.chosen(".", "watch admin-api"), "admin-api/admin-api");
}

#[test]
fn a_package_at_the_workspaces_root() {
    let project = Project::workspace()
        .file("Cargo.toml", &package("root", "[workspace]\nmembers = [\"crates/*\"]\n"))
        .file("src/main.rs", "fn main() {}");
    assert_eq!(project.chosen(".", "watch"), "root/root");
    assert_eq!(project.chosen("crates", "watch main"), "root/root");
    assert_eq!(project.chosen("crates/web", "watch main"), "web/web");
    assert_eq!(project.chosen(".", "watch web"), "web/web");
}

#[test]
fn a_manifest_from_elsewhere() {
    let project = Project::workspace();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let web = project.path("crates/web/Cargo.toml");
    let line = format!("watch main --manifest-path {}", web.display());
    assert_eq!(project.chosen(&elsewhere.path().to_string_lossy(), &line), "web/web");
    let relative = "watch main --manifest-path ../web/Cargo.toml";
    assert_eq!(project.chosen("crates/admin-api", relative), "web/web");
    let missing = "watch main --manifest-path nowhere/Cargo.toml";
    assert_data_eq!(
        project.failure(".", missing),
        str![[r#"
error: manifest path `nowhere/Cargo.toml` does not exist
help: `--manifest-path` takes the Cargo.toml of your server's package

"#]]
    );
}

#[test]
fn several_binaries() {
    let binaries = |more: &str| {
        Project::new()
            .file("Cargo.toml", &package("app", more))
            .file("src/bin/web.rs", "fn main() {}")
            .file("src/bin/my-admin.rs", "fn main() {}")
            .file("examples/demo.rs", "fn main() {}")
    };
    let project = binaries("");
    assert_eq!(project.chosen(".", "watch web"), "app/web");
    assert_eq!(project.chosen(".", "watch my_admin"), "app/my-admin");
    assert_eq!(project.chosen(".", "watch --bin my-admin"), "app/my-admin");
    assert_eq!(project.chosen(".", "watch main --bin web"), "app/web");
    assert_eq!(project.chosen(".", "watch app --bin web"), "app/web");
    assert_data_eq!(
        project.failure(".", "watch main"),
        str![[r#"
error: package `app` has several binaries, and none is the default
  my-admin  binary of package app  src/bin/my-admin.rs
  web       binary of package app  src/bin/web.rs
help: name one in place of `main`, as in `my-admin:bootstrap` or `--bin my-admin`
help: or make one the default with `default-run` in Cargo.toml

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch app:bootstrap"),
        str![[r#"
error: package `app` has several binaries, and none is the default
  my-admin  binary of package app  src/bin/my-admin.rs
  web       binary of package app  src/bin/web.rs
help: name one in place of `main`, as in `my-admin:bootstrap` or `--bin my-admin`
help: or make one the default with `default-run` in Cargo.toml

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch web:main --bin my-admin"),
        str![[r#"
error: `web:main` names `web`, but `--bin` names `my-admin`
help: leave out `--bin`, or write `main:main`

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch --bin wep"),
        str![[r#"
error: no binary is called `wep` (`--bin`)
help: one with a similar name exists: `web`

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch --example wep"),
        str![[r#"
error: no example is called `wep` (`--example`)
help: there is `demo`

"#]]
    );

    let project = binaries("default-run = \"web\"\n");
    assert_eq!(project.chosen(".", "watch"), "app/web");
    assert_eq!(project.chosen(".", "watch app:main"), "app/web:main");

    let project = binaries("").file("src/main.rs", "fn main() {}");
    assert_eq!(project.chosen(".", "watch"), "app/app");
}

#[test]
fn an_example() {
    let project = Project::single()
        .file("examples/live-demo.rs", "fn bootstrap() {}\nfn main() {}\n")
        .file("examples/app.rs", "fn main() {}\n");
    let entry = project.plan(".", "watch live_demo:bootstrap").entry;
    assert_eq!((entry.kind, &*entry.target), (TargetKind::Example, "live-demo"));
    assert_eq!((entry.spec().as_str(), entry.target.as_str()), ("app@0.1.0", "live-demo"));
    assert_eq!(entry.kind, TargetKind::Example);
    assert_eq!(project.chosen(".", "watch --example live-demo"), "app/live-demo");
    assert_data_eq!(
        project.failure(".", "watch app"),
        str![[r#"
error: several targets are called `app`
  app  binary of package app   src/main.rs
  app  example of package app  examples/app.rs
help: choose with `--bin app` or `--example app`

"#]]
    );
    let entry = project.plan(".", "watch app --example app").entry;
    assert_eq!(entry.kind, TargetKind::Example);
}

#[test]
fn one_name_in_several_packages() {
    let project = Project::workspace()
        .file("crates/web/src/bin/tool.rs", "fn main() {}")
        .file("crates/admin-api/src/bin/tool.rs", "fn main() {}");
    assert_data_eq!(
        project.failure(".", "watch tool"),
        str![[r#"
error: several targets are called `tool`
  tool  binary of package admin-api  crates/admin-api/src/bin/tool.rs
  tool  binary of package web        crates/web/src/bin/tool.rs
help: choose with `-p admin-api` or `-p web`

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch --bin tool"),
        str![[r#"
error: several packages have the binary `tool`
  tool  binary of package admin-api  crates/admin-api/src/bin/tool.rs
  tool  binary of package web        crates/web/src/bin/tool.rs
help: choose with `-p admin-api` or `-p web`

"#]]
    );
    assert_eq!(project.chosen(".", "watch tool -p web"), "web/tool");
    assert_eq!(project.chosen("crates/admin-api", "watch tool"), "admin-api/tool");
}

#[test]
fn nothing_to_run() {
    let library = Project::new().file("Cargo.toml", &package("app", "")).file("src/lib.rs", "");
    assert_data_eq!(
        library.failure(".", "watch"),
        str![[r#"
error: package `app` has only a library, nothing to run (Cargo.toml)
help: add a `src/main.rs` that runs the server

"#]]
    );
    assert_data_eq!(
        library.failure(".", "watch app:bootstrap"),
        str![[r#"
error: package `app` has only a library, nothing to run (Cargo.toml)
help: add a `src/main.rs` that runs the server

"#]]
    );
    let with_example = library.file("examples/demo.rs", "fn main() {}");
    assert_data_eq!(
        with_example.failure(".", "watch main"),
        str![[r#"
error: package `app` has no binary, nothing to run (Cargo.toml)
help: examples can be run by their names: `demo`
help: add a `src/main.rs` that runs the server

"#]]
    );
    assert_data_eq!(
        with_example.failure(".", "watch app"),
        str![[r#"
error: package `app` has no binary, nothing to run (Cargo.toml)
help: examples can be run by their names: `demo`
help: add a `src/main.rs` that runs the server

"#]]
    );

    let workspace = Project::workspace();
    assert_data_eq!(
        workspace.failure("crates/shared", "watch main:bootstrap"),
        str![[r#"
error: package `shared` has only a library, nothing to run (Cargo.toml)
help: choose a package that has one with `-p`: `admin-api` or `web`

"#]]
    );
    fs::remove_file(workspace.path("crates/web/src/main.rs")).expect("removed");
    fs::remove_file(workspace.path("crates/admin-api/src/main.rs")).expect("removed");
    let workspace =
        workspace.file("crates/web/src/lib.rs", "").file("crates/admin-api/src/lib.rs", "");
    assert_data_eq!(
        workspace.failure(".", "watch"),
        str![[r#"
error: no package of the workspace has a binary to run
help: add a `src/main.rs` to the one that is to be the server

"#]]
    );
}

#[test]
fn features_that_the_target_requires() {
    let project = Project::single().file(
        "Cargo.toml",
        &package(
            "app",
            "[[bin]]\nname = \"app\"\npath = \"src/main.rs\"\nrequired-features = [\"tls\", \"http\"]\n\
             [features]\ndefault = [\"http\"]\nhttp = []\ntls = []\nall = [\"tls\"]\n",
        ),
    );
    assert_eq!(project.chosen(".", "watch --features tls"), "app/app");
    assert_eq!(project.chosen(".", "watch -F all"), "app/app");
    assert_eq!(project.chosen(".", "watch --all-features"), "app/app");
    assert_data_eq!(
        project.failure(".", "watch"),
        str![[r#"
error: binary `app` of package `app` requires the feature `tls`
help: enable it with `--features tls`

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch --no-default-features"),
        str![[r#"
error: binary `app` of package `app` requires the features `tls` and `http`
help: enable them with `--features tls,http`

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch -F tsl"),
        str![[r#"
error: [..]tsl
...

"#]]
    );
}

#[test]
fn what_is_not_in_the_source() {
    let project = Project::single();
    assert_data_eq!(
        project.failure(".", "watch main:bootstrp"),
        str![[r#"
error: no function `bootstrp` in `main` (src/main.rs)
help: a function with a similar name exists: `bootstrap`
help: the functions there: `bootstrap` and `main`

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch main::admin:bootstrap"),
        str![[r#"
error: no function `bootstrap` in `main::admin` (src/admin.rs)
help: the functions there: `start`

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch main::admn:start"),
        str![[r#"
error: no module `admn` in `main` (src/main.rs)
help: a module with a similar name exists: `admin`
help: the modules there: `admin`

"#]]
    );
    assert_data_eq!(
        project.failure("src", "watch main::admin::start"),
        str![[r#"
error: no module `start` in `main::admin` (admin.rs)
help: it is a function there; a function is named `main::admin:start`

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch main::admin::inner:x"),
        str![[r#"
error: no module `inner` in `main::admin` (src/admin.rs)
help: there are no modules in it

"#]]
    );
    assert_data_eq!(
        project.failure(".", "watch main:"),
        str![[r#"
error: malformed entry `main:`: no function behind `:`
help: an entry has the form MODULE[:FUNCTION], as in `main:bootstrap` or `main::admin:bootstrap`

"#]]
    );
}

#[test]
fn cargo_says_what_is_wrong_with_a_manifest() {
    let project = Project::new();
    assert_data_eq!(
        project.failure(".", "watch"),
        str![[r#"
error: could not find `Cargo.toml` in `[ROOT]` or any parent directory
help: go to the folder of your server's package, or name it with `--manifest-path`
help: `cargo init` makes a new package here

"#]]
    );
    let project = project.file("Cargo.toml", "[package]\nname = \"app\nversion = \"0.1.0\"\n");
    assert_data_eq!(
        project.failure(".", "watch"),
        str![[r#"
error: [..]
...
2 | name = "app
...

"#]]
    );
    let project =
        project.file("Cargo.toml", &package("app", "[dependencies]\nx = { path = \"x\" }\n"));
    let project = project.file("src/main.rs", "fn main() {}");
    assert_data_eq!(
        project.failure(".", "watch"),
        str![[r#"
error: failed to get `x` as a dependency of package `app v0.1.0 ([ROOT])`
...

"#]]
    );
    // With `--locked`, there is to be a lock file.
    let project = Project::single();
    let failure = project.failure(".", "watch --locked");
    assert!(failure.contains("--locked"), "{failure}");
}

#[test]
fn a_cargo_that_is_not_there() {
    let project = Project::single().env("CARGO", "/nowhere/cargo");
    assert_data_eq!(
        project.failure(".", "watch"),
        str![[r#"
error: cannot run `/nowhere/cargo` (`CARGO` in the environment): [..]
help: without that variable, the cargo in `PATH` is taken

"#]]
    );
    // One from PATH.
    let project = Project::single().env("CARGO", "");
    assert_eq!(project.plan(".", "watch").cargo, std::path::Path::new("cargo"));
}

#[test]
fn an_entry_in_the_metadata() {
    let project = Project::single()
        .file(
            "Cargo.toml",
            &package("app", "[package.metadata.stario]\nentry = \"main::admin:start\"\n"),
        )
        .file("src/bin/other.rs", "fn main() {}");
    assert_eq!(project.chosen(".", "watch"), "app/app:admin::start");
    assert_eq!(project.chosen(".", "watch main"), "app/app");
    // It speaks of another target, or of the one that is chosen.
    assert_eq!(project.chosen(".", "watch --bin other"), "app/other");
    assert_eq!(project.chosen(".", "watch --bin app"), "app/app:admin::start");

    let project = project
        .file("Cargo.toml", &package("app", "[package.metadata.stario]\nentry = \"mian:start\"\n"));
    assert_data_eq!(
        project.failure(".", "watch"),
        str![[r#"
error: nothing to run is called `mian` in package `app` (`package.metadata.stario.entry` in Cargo.toml); there is
  app    binary of package app  src/main.rs
  other  binary of package app  src/bin/other.rs
help: a similar name exists: `main`
help: `main` is the package's default binary; modules inside follow behind `::`

"#]]
    );
    let project = project
        .file("Cargo.toml", &package("app", "[package.metadata.stario]\nentry = \"a:b:c\"\n"));
    assert_data_eq!(
        project.failure(".", "watch"),
        str![[r#"
error: malformed entry `a:b:c` (`package.metadata.stario.entry` in Cargo.toml): it has more than one `:FUNCTION`
help: an entry has the form MODULE[:FUNCTION], as in `main:bootstrap` or `main::admin:bootstrap`

"#]]
    );
}

#[test]
fn an_entry_in_the_workspaces_metadata() {
    let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n\
                     [workspace.metadata.stario]\nentry = \"web:bootstrap\"\n";
    let project = Project::workspace().file("Cargo.toml", workspace);
    assert_eq!(project.chosen(".", "watch"), "web/web:bootstrap");
    assert_eq!(project.chosen("crates/shared", "watch"), "web/web:bootstrap");
    let entry = "[package.metadata.stario]\nentry = \"main:main\"\n";
    // A package's is stronger, where it is the only one.
    let project = project.file("crates/admin-api/Cargo.toml", &package("admin-api", entry));
    assert_eq!(project.chosen("crates/admin-api", "watch"), "admin-api/admin-api:main");
    assert_eq!(project.chosen(".", "watch"), "admin-api/admin-api:main");
    let project = project.file("crates/web/Cargo.toml", &package("web", entry));
    assert_eq!(project.chosen(".", "watch"), "web/web:bootstrap");
    let project =
        project.file("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n");
    assert_data_eq!(
        project.failure(".", "watch"),
        str![[r#"
error: several packages have an entry
  main:main  `package.metadata.stario.entry` in crates/admin-api/Cargo.toml
  main:main  `package.metadata.stario.entry` in crates/web/Cargo.toml
help: choose with `-p admin-api` or `-p web`, or name an entry

"#]]
    );
    assert_eq!(project.chosen(".", "watch -p web"), "web/web:main");
}
