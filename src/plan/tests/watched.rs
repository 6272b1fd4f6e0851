//! Local packages, the watch set, and who takes sockets.

use super::{Path, PathBuf, Plan, Project, package};

fn inside(project: &Project, paths: &[PathBuf]) -> Vec<String> {
    let root = project.root();
    let inside = paths.iter().filter_map(|path| path.strip_prefix(&root).ok());
    inside.map(|path| path.to_string_lossy().replace('\\', "/")).collect()
}

fn packages(plan: &Plan) -> Vec<&str> {
    plan.entry.local.iter().map(|package| package.name.as_str()).collect()
}

/// A workspace whose server has a dependency of every kind, one of them outside.
fn of_all_kinds() -> Project {
    let more = "[dependencies]\nshared = { path = \"../shared\" }\n\
                [build-dependencies]\ngenerate = { path = \"../../../generate\" }\n\
                [dev-dependencies]\ntesting = { path = \"../testing\" }\n";
    let shared = "[dependencies]\ndeep = { path = \"../deep\" }\n\
                  [dev-dependencies]\nnever = { path = \"../never\" }\n";
    let library = |project: Project, path: &str, more: &str| {
        let name = path.rsplit('/').next().expect("a name");
        project
            .file(&format!("{path}/Cargo.toml"), &package(name, more))
            .file(&format!("{path}/src/lib.rs"), "")
    };
    let project = Project::new()
        .file("ws/Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n")
        .file("ws/crates/web/Cargo.toml", &package("web", more))
        .file("ws/crates/web/build.rs", "fn main() {}")
        .file("ws/crates/web/src/main.rs", "fn main() {}")
        .file("ws/crates/web/examples/demo.rs", "fn main() {}");
    let project = library(project, "ws/crates/shared", shared);
    let project = library(project, "ws/crates/deep", "");
    let project = library(project, "ws/crates/never", "");
    let project = library(project, "ws/crates/testing", "");
    let project = library(project, "ws/crates/unused", "");
    library(project, "generate", "")
}

#[test]
fn local_packages_of_the_target() {
    let project = of_all_kinds();
    let plan = project.plan("ws/crates/web", "watch");
    assert_eq!(packages(&plan)[0], "web");
    let mut all = packages(&plan);
    all.sort_unstable();
    assert_eq!(all, ["deep", "generate", "shared", "web"]);
    let generate = plan.entry.local.iter().find(|it| it.name == "generate").expect("found");
    assert_eq!(generate.root, project.path("generate"));

    let example = project.plan("ws/crates/web", "watch demo");
    let mut all = packages(&example);
    all.sort_unstable();
    assert_eq!(all, ["deep", "generate", "shared", "testing", "web"]);
}

#[test]
fn only_what_the_platform_needs() {
    let more = "[target.'cfg(windows)'.dependencies]\nwin = { path = \"win\" }\n\
                [target.'cfg(unix)'.dependencies]\nunix = { path = \"unix\" }\n";
    let project = Project::single()
        .file("Cargo.toml", &package("app", more))
        .file("win/Cargo.toml", &package("win", ""))
        .file("win/src/lib.rs", "")
        .file("unix/Cargo.toml", &package("unix", ""))
        .file("unix/src/lib.rs", "");
    let here = if cfg!(windows) { "win" } else { "unix" };
    assert_eq!(packages(&project.plan(".", "watch")), ["app", here]);
    let line = "watch --target x86_64-pc-windows-gnu";
    assert_eq!(packages(&project.plan(".", line)), ["app", "win"]);
    let line = "watch --target x86_64-unknown-linux-gnu";
    assert_eq!(packages(&project.plan(".", line)), ["app", "unix"]);
}

#[test]
fn a_toolchain_that_was_taken_for_another_is_asked_again() {
    let more = "[target.'cfg(windows)'.dependencies]\nwin = { path = \"win\" }\n";
    let mut project = Project::single()
        .file("Cargo.toml", &package("app", more))
        .file("win/Cargo.toml", &package("win", ""))
        .file("win/src/lib.rs", "");
    let here: &[&str] = if cfg!(windows) { &["app", "win"] } else { &["app"] };
    assert_eq!(packages(&project.plan(".", "watch")), here);
    for likely in ["x86_64-pc-windows-gnu", "aarch64-apple-darwin"] {
        project.likely = likely;
        assert_eq!(packages(&project.plan(".", "watch")), here, "taken for {likely}");
    }
}

#[test]
fn the_current_folder_and_the_packages_are_watched() {
    let project = of_all_kinds();
    let plan = project.plan("ws", "watch");
    let mut roots = inside(&project, &plan.watch.roots);
    assert_eq!(roots.remove(0), "ws");
    roots.sort();
    assert_eq!(roots, ["generate", "ws/crates/deep", "ws/crates/shared", "ws/crates/web"]);
    assert_eq!(inside(&project, &plan.watch.never), ["ws/target"]);
    assert!(plan.watch.gitignore);

    let plan = project.plan("ws/crates/web", "watch");
    assert_eq!(inside(&project, &plan.watch.roots)[0], "ws/crates/web");
}

#[test]
fn a_current_folder_outside_the_workspace_is_not_watched() {
    let project = of_all_kinds();
    let plan = project.plan(".", "watch --manifest-path ws/crates/web/Cargo.toml");
    let roots = inside(&project, &plan.watch.roots);
    assert_eq!(roots[0], "ws/crates/web");
    assert!(!roots.contains(&String::new()), "{roots:?}");
}

#[test]
fn what_cargo_reads_always_counts() {
    let project = of_all_kinds().file(".cargo/config.toml", "");
    let plan = project.plan("ws/crates/web", "watch");
    let mut manifests = inside(&project, &plan.watch.manifests);
    manifests.sort();
    assert_eq!(
        manifests,
        [
            ".cargo/config.toml",
            "generate/Cargo.toml",
            "ws/.cargo/config",
            "ws/.cargo/config.toml",
            "ws/Cargo.lock",
            "ws/Cargo.toml",
            "ws/crates/.cargo/config",
            "ws/crates/.cargo/config.toml",
            "ws/crates/deep/Cargo.toml",
            "ws/crates/rust-toolchain",
            "ws/crates/rust-toolchain.toml",
            "ws/crates/shared/Cargo.toml",
            "ws/crates/web/.cargo/config",
            "ws/crates/web/.cargo/config.toml",
            "ws/crates/web/Cargo.toml",
            "ws/crates/web/rust-toolchain",
            "ws/crates/web/rust-toolchain.toml",
            "ws/rust-toolchain",
            "ws/rust-toolchain.toml",
        ]
    );
}

#[test]
fn the_target_folder_wherever_it_is() {
    let never = |project: &Project, line: &str| {
        let plan = project.plan(".", line);
        assert_eq!(plan.watch.never[0], plan.target_directory);
        inside(project, &plan.watch.never)
    };
    let project = Project::single();
    assert_eq!(never(&project, "watch --target-dir out/x"), ["out/x"]);
    assert_eq!(never(&project, "watch --config build.target-dir='set'"), ["set"]);
    let project = project.env("CARGO_TARGET_DIR", "env");
    assert_eq!(never(&project, "watch"), ["env"]);
    assert_eq!(never(&project, "watch --target-dir typed"), ["typed"]);
    let project = Project::single().file(".cargo/config.toml", "[build]\nbuild-dir = \"inner\"\n");
    assert_eq!(never(&project, "watch"), ["target", "inner"]);
}

#[test]
fn who_takes_sockets() {
    let with = |name: &str, kind: &str| {
        let depends = format!("[{kind}]\nwrap = {{ path = \"wrap\" }}\n");
        let wrap = format!("[dependencies]\n{name} = {{ path = \"../it\" }}\n");
        let project = Project::single()
            .file("Cargo.toml", &package("app", &depends))
            .file("examples/demo.rs", "fn main() {}")
            .file("wrap/Cargo.toml", &package("wrap", &wrap))
            .file("wrap/src/lib.rs", "")
            .file("it/Cargo.toml", &package(name, ""))
            .file("it/src/lib.rs", "");
        let taker = |line| project.plan(".", line).entry.takes_socket;
        (taker("watch"), taker("watch demo"))
    };
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(with("listenfd", "dependencies"), (some("listenfd"), some("listenfd")));
    assert_eq!(with("stario-runtime", "dev-dependencies"), (None, some("stario-runtime")));
    assert_eq!(with("tokio-listener", "build-dependencies"), (None, None));
    assert_eq!(with("sd-notify", "dependencies"), (None, None));
}

#[test]
fn what_is_named_is_relative_to_where_it_is_named() {
    let metadata =
        "[package.metadata.stario]\nwatch = [\"src/\", \"*.html\"]\nwatch-ignore = \"gen/\"\n";
    let project = Project::single().file("Cargo.toml", &package("app", metadata));
    let plan = project.plan("src", "watch --watch-ignore x");
    let base = |of: &[crate::watch::Spec]| {
        of.iter().map(|it| (it.text.clone(), it.base.clone())).collect::<Vec<_>>()
    };
    let root = project.root();
    assert_eq!(
        base(&plan.watch.specs),
        [("src/".to_owned(), root.clone()), ("*.html".to_owned(), root.clone())]
    );
    assert_eq!(
        base(&plan.watch.ignore),
        [("x".to_owned(), root.join(Path::new("src"))), ("gen/".to_owned(), root)]
    );
    assert!(!plan.watch.roots.is_empty());
}
