//! A start relies on what cargo said at the last one: it builds at once and asks later, unless
//! something has changed since.

#![cfg(unix)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use support::{Project, Run, eventually, server_source};

/// Where the tool keeps it.
const KEPT: &str = "target/.stario-start.json";

/// A start of the tool with a cargo that writes down what it is asked.
fn start(project: &Project, arguments: &[&str]) -> Run {
    let cargo = project.beside("cargo");
    // Another one would be another cargo.
    if !cargo.exists() {
        let log = project.beside("asked");
        let text = format!("#!/bin/sh\necho \"$1\" >> '{}'\nexec cargo \"$@\"\n", log.display());
        fs::write(&cargo, text).expect("a script");
        fs::set_permissions(&cargo, Permissions::from_mode(0o755)).expect("it is ours");
    }
    let arguments = ["watch", "--port", "0", "-v"].iter().chain(arguments);
    project.tool(arguments).env("CARGO", cargo).start()
}

/// How cargo is asked to build: with flags for the final target, where it is linked otherwise.
const BUILD: &str =
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) { "rustc" } else { "build" };

/// What cargo has been asked so far.
fn asked(project: &Project) -> Vec<String> {
    let log = project.beside("asked");
    let text = fs::read_to_string(&log).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until cargo has been asked for so much, and nothing else before.
#[track_caller]
fn wait_for(project: &Project, wanted: &[&str]) {
    eventually("cargo is asked", || asked(project).len() >= wanted.len());
    assert_eq!(asked(project), wanted);
}

/// Ends it and forgets what cargo was asked.
fn end(project: &Project, mut run: Run) {
    run.signal("INT");
    assert_eq!(run.wait().code(), Some(130), "{}", run.story());
    fs::remove_file(project.beside("asked")).expect("cargo was asked");
}

/// A first start, which leaves something for the next one.
fn first(project: &Project, arguments: &[&str]) {
    let mut run = start(project, arguments);
    run.serving();
    eventually("the answers are kept", || project.path(KEPT).exists());
    wait_for(project, &["metadata", BUILD]);
    end(project, run);
}

#[test]
fn the_second_start_builds_at_once_and_asks_when_the_server_is_up() {
    let project = Project::server("one");
    first(&project, &[]);

    let mut run = start(&project, &[]);
    let address = run.serving();
    run.wait_for_answer(address, "one");
    wait_for(&project, &[BUILD, "metadata"]);
    run.rest();
    assert_eq!(run.count("build-started"), 1, "{}", run.story());
    assert!(run.stderr().contains("since the last start"), "{}", run.story());

    // What comes after it is as ever.
    project.edit("src/main.rs", "\"one\"", "\"two\"");
    run.wait_for_answer(address, "two");
    project.edit("Cargo.toml", "[workspace]", "[workspace]\n# other");
    run.wait_for("build-succeeded");
    wait_for(&project, &[BUILD, "metadata", BUILD, "metadata", BUILD]);
    end(&project, run);
}

#[test]
fn cargo_is_asked_first_where_something_is_other_than_at_the_last_start() {
    let project = Project::server("one");
    project.write(".cargo/config.toml", "");
    first(&project, &[]);
    let asks = |what: &str, arguments: &[&str]| {
        let mut run = start(&project, arguments);
        run.serving();
        eventually("cargo is asked", || asked(&project).len() >= 2);
        assert_eq!(asked(&project)[0], "metadata", "{what}");
        end(&project, run);
    };
    project.edit("Cargo.toml", "[workspace]", "[workspace]\n# other");
    asks("a manifest", &[]);
    project.write(".cargo/config.toml", "[env]\nA = \"b\"\n");
    asks("cargo's configuration", &[]);
    asks("the features", &["--all-features"]);
    asks("the target folder", &["--target-dir", "elsewhere"]);
    project.write("Cargo.lock", project.read("Cargo.lock") + "\n");
    asks("the lock file", &[]);
    project.write(KEPT, &project.read(KEPT)[..100]);
    asks("what was kept is cut off", &[]);
}

#[test]
fn what_nobody_could_know_at_the_start_is_found_out_after_it() {
    let project = Project::server("one");
    fs::create_dir(project.path("src/bin")).expect("a folder");
    fs::rename(project.path("src/main.rs"), project.path("src/bin/one.rs")).expect("it is moved");
    first(&project, &[]);

    // No file that was read before is another now.
    project.write("src/bin/two.rs", server_source("two"));
    let mut run = start(&project, &[]);
    let address = run.serving();
    let failed = run.wait_for("build-failed");
    assert!(failed.to_string().contains("two"), "{}", run.story());
    assert!(run.stderr().contains("building once more"), "{}", run.story());
    run.wait_for_answer(address, "one");

    fs::remove_file(project.path("src/bin/two.rs")).expect("it was there");
    project.edit("Cargo.toml", "[workspace]", "[workspace]\n# other");
    project.edit("src/bin/one.rs", "\"one\"", "\"mended\"");
    run.wait_for_answer(address, "mended");
}
