//! The profile that servers are built with: ours, what the user says of it, and others by name.
//! Besides, that ours has a build lock of its own.

#![cfg(unix)]

mod support;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use support::{MeetingPoint, Project, make_fifo};

/// No argument.
const NONE: [&str; 0] = [];

/// Ends at once.
const ENDS: &str = "fn main() {}\n";
/// A package of others, and one of the user's beside the workspace.
const DEPENDENCIES: &str = "[dependencies]\nitoa = \"1\"\nlines = { path = \"../lines\" }\n";

fn with_dependencies(main: &str, profiles: &str) -> Project {
    let project = Project::package(main);
    project.write("../lines/Cargo.toml", "[package]\nname = \"lines\"\nversion = \"0.1.0\"\n");
    project.write("../lines/src/lib.rs", "pub fn panics() {\n    panic!(\"on purpose\");\n}\n");
    let manifest = project.read("Cargo.toml");
    project.write("Cargo.toml", format!("{manifest}\n{DEPENDENCIES}\n{profiles}"));
    project
}

/// What `serve -v` prints, which has the command lines of rustc.
fn built(project: &Project, arguments: &[&str], env: &[(&str, &str)]) -> String {
    let tool = project.tool(["serve", "-v", "--port", "0"].iter().chain(arguments));
    let tool = env.iter().fold(tool, |tool, (name, value)| tool.env(name, value));
    let told = tool.finish();
    assert_eq!(told.status.code(), Some(0), "{}", told.stderr);
    told.stderr
}

/// How rustc was called for a crate.
#[track_caller]
fn line<'a>(said: &'a str, name: &str) -> &'a str {
    let called = format!("--crate-name {name} ");
    said.lines().find(|line| line.contains(&called)).unwrap_or_else(|| panic!("{name}: {said}"))
}

#[track_caller]
fn has_lines(said: &str, name: &str) {
    let line = line(said, name);
    assert!(line.contains("-C debuginfo=line-tables-only"), "{line}");
}

#[test]
fn ours_keeps_the_lines_of_the_users_packages_alone() {
    let project = with_dependencies(ENDS, "");
    let said = built(&project, &[], &[]);
    has_lines(&said, "app");
    has_lines(&said, "lines");
    assert!(!line(&said, "itoa").contains("debuginfo="), "{said}");
    assert!(said.contains("Running `target/stario/app`"), "{said}");
}

#[test]
fn a_backtrace_has_files_and_lines() {
    let main = "fn main() {\n    lines::panics();\n}\n";
    let project = with_dependencies(main, "");
    let told = project.tool(["serve", "--port", "0"]).env("RUST_BACKTRACE", "1").finish();
    assert_eq!(told.status.code(), Some(101), "{}", told.stderr);
    assert!(told.stderr.contains("src/main.rs:2:5"), "{}", told.stderr);
    assert!(told.stderr.contains("lines/src/lib.rs:2:5"), "{}", told.stderr);
}

#[test]
fn a_profile_of_that_name_in_the_manifest_counts_whole() {
    let profile = "[profile.stario]\ninherits = \"release\"\nopt-level = 1\n";
    let said = built(&with_dependencies(ENDS, profile), &[], &[]);
    for name in ["app", "lines", "itoa"] {
        let line = line(&said, name);
        assert!(line.contains("-C opt-level=1") && !line.contains("-C debuginfo"), "{line}");
    }
}

#[test]
fn what_dev_says_is_inherited() {
    let profiles = "[profile.dev]\noverflow-checks = false\n\n[profile.dev.package.'*']\n\
                    opt-level = 2\n";
    let said = built(&with_dependencies(ENDS, profiles), &[], &[]);
    has_lines(&said, "app");
    has_lines(&said, "lines");
    for name in ["app", "itoa"] {
        assert!(line(&said, name).contains("-C overflow-checks=off"), "{said}");
    }
    assert!(line(&said, "itoa").contains("-C opt-level=2"), "{said}");

    let said = built(&with_dependencies(ENDS, "[profile.dev]\ndebug = 2\n"), &[], &[]);
    for name in ["app", "itoa"] {
        assert!(line(&said, name).contains("-C debuginfo=2"), "{said}");
    }
}

#[test]
fn cargos_configuration_may_say_something_of_it() {
    let project = with_dependencies(ENDS, "");
    project.write(".cargo/config.toml", "[profile.stario]\ndebug = \"limited\"\n");
    let said = built(&project, &[], &[]);
    assert!(line(&said, "app").contains("-C debuginfo=1"), "{said}");

    let said = built(&project, &["--config", "profile.stario.debug=2"], &[]);
    assert!(line(&said, "app").contains("-C debuginfo=2"), "{said}");

    let said = built(&with_dependencies(ENDS, ""), &[], &[("CARGO_PROFILE_STARIO_OPT_LEVEL", "1")]);
    has_lines(&said, "app");
    assert!(line(&said, "app").contains("-C opt-level=1"), "{said}");
}

#[test]
fn others_can_be_named() {
    let project = Project::package(ENDS);
    let ran = |arguments: &[&str], env: &[(&str, &str)], folder: &str| {
        let said = built(&project, arguments, env);
        assert!(said.contains(&format!("Running `target/{folder}/app`")), "{said}");
    };
    ran(&["--profile", "dev"], &[], "debug");
    ran(&["--release"], &[], "release");
    ran(&[], &[("STARIO_PROFILE", "dev")], "debug");
    ran(&["--profile", "stario"], &[("STARIO_PROFILE", "dev")], "stario");
    let manifest = project.read("Cargo.toml");
    project
        .write("Cargo.toml", format!("{manifest}\n[package.metadata.stario]\nprofile = 'dev'\n"));
    ran(&[], &[], "debug");
    ran(&["-r"], &[], "release");
}

/// A compiler that stops in the middle of the package `app`, with cargo's lock in cargo's hands, until
/// it is let go.
struct Gate {
    reached: MeetingPoint,
    folder: PathBuf,
}

impl Gate {
    fn new(project: &Project) -> Self {
        let folder = project.beside("gate");
        fs::create_dir(&folder).expect("a folder of ours");
        make_fifo(&folder.join("open"));
        let gate = Self { reached: project.meeting_point(), folder };
        let script = format!(
            "#!/bin/sh\n\
             case \" $* \" in *' --crate-name app '*)\n\
             : > '{}'\n\
             timeout 120 sh -c \": > '{}'\"\n\
             esac\n\
             exec \"$@\"\n",
            gate.reached.path.display(),
            gate.folder.join("open").display(),
        );
        fs::write(gate.compiler(), script).expect("a file of ours");
        fs::set_permissions(gate.compiler(), Permissions::from_mode(0o755)).expect("it is there");
        gate
    }

    /// For `RUSTC_WRAPPER`.
    fn compiler(&self) -> PathBuf {
        self.folder.join("compiler")
    }

    /// Lets go who has reached it, or does so next.
    fn open(&self) {
        // Whoever stands there opens the other end.
        File::open(self.folder.join("open")).expect("it is there");
    }
}

/// What an editor runs on save.
fn check(project: &Project) -> Command {
    let mut check = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    check
        .args(["check", "--quiet"])
        .current_dir(&project.root)
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null());
    check
}

#[test]
fn a_check_of_an_editors_holds_no_build_up() {
    let project = Project::server("one");
    let mut run = project.watch(NONE);
    let address = run.serving();
    run.rest();

    let gate = Gate::new(&project);
    let mut check = check(&project).env("RUSTC_WRAPPER", gate.compiler()).spawn().expect("cargo");
    gate.reached.wait();
    project.edit("src/main.rs", "one", "two");
    run.wait_for_answer(address, "two");
    assert!(matches!(check.try_wait(), Ok(None)), "it was to wait\n{}", run.story());
    gate.open();
    assert!(check.wait().expect("it is ours").success());
}

#[test]
fn a_build_holds_no_check_of_an_editors_up() {
    let project = Project::server("one");
    let gate = Gate::new(&project);
    let tool = project.tool(["watch", "--port", "0"]).env("RUSTC_WRAPPER", gate.compiler());
    let mut run = tool.start();
    gate.reached.wait();
    assert!(check(&project).status().expect("cargo").success());
    assert!(!run.log.iter().any(|event| event["event"] == "build-succeeded"), "{}", run.story());
    gate.open();
    run.serving();
}
