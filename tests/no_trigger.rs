//! What starts no build. That nothing was heard of is shown by what is heard of next: a file that
//! is written afterwards.

#![cfg(unix)]

mod support;

use std::fs::{self, File, FileTimes, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use support::{Project, Run, get, has};

/// No argument.
const NONE: [&str; 0] = [];
const MAIN: &str = "src/main.rs";

/// A project under `watch`, with all at rest.
struct Session {
    project: Project,
    run: Run,
    markers: u32,
}

impl Session {
    fn of(project: Project) -> Self {
        let run = project.watch(NONE);
        Self::running(project, run)
    }

    fn running(project: Project, mut run: Run) -> Self {
        run.serving();
        run.rest();
        let mut session = Self { project, run, markers: 0 };
        // The first build itself has changed nothing.
        session.heard(&[]);
        session
    }

    /// The `changed` events so far.
    fn changes(&self) -> Vec<Value> {
        let changed = self.run.log.iter().filter(|event| event["event"] == "changed");
        changed.map(|event| event["paths"].clone()).collect()
    }

    /// Of all that happened since the last time, these files alone were heard of, each by itself.
    #[track_caller]
    fn heard(&mut self, paths: &[&str]) {
        for path in paths {
            let path = json!([self.project.path(path).to_str()]);
            if !self.changes().contains(&path) {
                self.run.wait_until("change", |event| event["paths"] == path);
            }
        }
        self.markers += 1;
        self.project.write("marker.txt", self.markers.to_string());
        let marker = json!([self.project.path("marker.txt").to_str()]);
        let at = self.run.wait_until("marker", |event| {
            event["event"] == "changed" && event["paths"].to_string().contains("marker.txt")
        });
        assert_eq!(at["paths"], marker, "{}", self.run.story());
        self.run.rest();
        let expected = paths.iter().map(|path| json!([self.project.path(path).to_str()]));
        let expected: Vec<_> = expected.chain([marker]).collect();
        assert_eq!(self.changes(), expected, "{}", self.run.story());
        self.run.log.clear();
    }
}

/// Runs a program in the project, to its good end.
fn run_in(project: &Project, program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(&project.root)
        .env_remove("CARGO_TARGET_DIR")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

fn read_all(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(&path);
        } else {
            let mut text = Vec::new();
            File::open(path).and_then(|mut file| file.read_to_end(&mut text)).expect("a file");
        }
    }
}

#[test]
fn reading_and_checking() {
    let project = Project::server("one");
    project.write("templates/page.html", "one");
    let mut session = Session::of(project);
    read_all(&session.project.root);
    run_in(&session.project, "grep", &["--recursive", "--quiet", "ANSWER", "."]);
    session.heard(&[]);

    // As an editor does, in the same target folder, with a build under way or not.
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    run_in(&session.project, &cargo, &["check", "--quiet"]);
    session.heard(&[]);
    session.project.edit(MAIN, "one", "two");
    session.run.wait_for("build-spawned");
    run_in(&session.project, &cargo, &["check", "--quiet"]);
    session.heard(&[MAIN]);
    run_in(&session.project, &cargo, &["build", "--quiet"]);
    session.heard(&[]);
}

#[test]
fn what_is_ignored() {
    let project = Project::server("one");
    project.write(".gitignore", "/target\n*.log\n/cache/\n");
    project.write("web/.gitignore", "/dist/\n!keep.log\n");
    project.write("web/page.html", "one");
    project.write("web/dist/old.js", "one");
    let mut session = Session::of(project);
    for path in ["today.log", "web/today.log", "cache/a/b/c", "web/dist/new.js", "web/dist/old.js"]
    {
        session.project.write(path, "written");
    }
    fs::remove_dir_all(session.project.path("web/dist")).expect("it is there");
    session.heard(&[]);
    session.project.write("web/keep.log", "not ignored");
    session.heard(&["web/keep.log"]);
}

#[test]
fn databases_and_temporary_files() {
    let mut session = Session::of(Project::server("one"));
    for path in [
        "app.sqlite3",
        "app.sqlite3-wal",
        "app.sqlite3-shm",
        "app.sqlite3-journal",
        "data/app.sqlite",
        "data/app.db",
        "data/app.db-journal",
        "src/4913",
        "src/main.rs~",
        "src/.main.rs.swp",
        "src/#main.rs#",
        "src/main.rs___jb_tmp___",
        "src/main.rs.vsctmp",
        ".DS_Store",
    ] {
        session.project.write(path, "once");
        session.project.write(path, "twice");
        fs::remove_file(session.project.path(path)).expect("it is there");
        session.project.write(path, "kept");
    }
    std::os::unix::fs::symlink("me@here.4711", session.project.path("src/.#main.rs"))
        .expect("a new name");
    session.heard(&[]);
}

#[test]
fn what_changes_no_content() {
    let mut session = Session::of(Project::server("one"));
    session.project.edit(MAIN, "one", "two");
    session.run.wait_for("server-listening");
    session.heard(&[MAIN]);
    // Of a write just after a build nobody knows whether the build has read it.
    session.run.settle(Duration::from_secs(2));
    let text = session.project.read(MAIN);
    session.project.write(MAIN, &text);
    session.heard(&[]);
    session.run.settle(Duration::from_secs(2));
    let copy = session.project.root.with_file_name("copy");
    fs::write(&copy, &text).expect("a new file");
    fs::rename(&copy, session.project.path(MAIN)).expect("the same file system");
    session.heard(&[]);

    let file = File::open(session.project.path(MAIN)).expect("it is there");
    file.set_times(FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH)).expect("our file");
    let now = SystemTime::now();
    file.set_times(FileTimes::new().set_accessed(now).set_modified(now)).expect("our file");
    for mode in [0o755, 0o444, 0o644] {
        let path = session.project.path(MAIN);
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("our file");
    }
    session.heard(&[]);
}

#[test]
fn git_at_work() {
    if !has("git") {
        return;
    }
    let project = Project::server("one");
    let git = |project: &Project, arguments: &[&str]| {
        let who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"];
        run_in(project, "git", &[&who, arguments].concat());
    };
    git(&project, &["init", "--quiet", "--initial-branch=trunk"]);
    let mut session = Session::of(project);
    git(&session.project, &["status"]);
    git(&session.project, &["add", "."]);
    git(&session.project, &["commit", "--quiet", "-m", "one"]);
    git(&session.project, &["checkout", "--quiet", "-b", "other"]);
    git(&session.project, &["tag", "v1"]);
    git(&session.project, &["gc", "--quiet"]);
    session.heard(&[]);
    session.project.edit(MAIN, "one", "two");
    session.heard(&[MAIN]);
    git(&session.project, &["commit", "--quiet", "-a", "-m", "two"]);
    session.heard(&[]);
    git(&session.project, &["checkout", "--quiet", "trunk", "--", MAIN]);
    session.heard(&[MAIN]);
}

#[test]
fn target_folders_wherever_they_are() {
    // Ignored by name nowhere: it is cargo who says where they are.
    for how in ["target", "option", "environment", "configuration"] {
        let project = Project::server("one");
        fs::remove_file(project.path(".gitignore")).expect("it is there");
        let tool = project.tool(["watch", "--port", "0"]);
        let (tool, folder) = match how {
            "option" => {
                let tool = project.tool(["watch", "--port", "0", "--target-dir", "build-out"]);
                (tool, "build-out")
            }
            "environment" => (tool.env("CARGO_TARGET_DIR", "env-out"), "env-out"),
            "configuration" => {
                project.write(".cargo/config.toml", "[build]\ntarget-dir = \"out/deep\"\n");
                (tool, "out/deep")
            }
            _ => (tool, "target"),
        };
        let mut session = Session::running(project, tool.start());
        assert!(session.project.path(folder).join("stario/app").exists(), "{how}");
        session.project.write(Path::new(folder).join("stario/notes.txt"), "written");
        session.heard(&[]);
        session.project.edit(MAIN, "one", "two");
        session.heard(&[MAIN]);
    }
}

#[test]
fn a_gitignore_that_changes_takes_effect() {
    let project = Project::server("one");
    project.write(".gitignore", "/target\n/notes/\n");
    project.write("notes/a.txt", "one");
    project.write("pages/a.html", "one");
    let mut session = Session::of(project);
    session.project.write("notes/a.txt", "two");
    session.heard(&[]);

    session.project.write(".gitignore", "/target\n/pages/\n");
    // The rules are in force when what was written after them is heard of.
    session.heard(&[]);
    session.project.write("pages/a.html", "two");
    session.heard(&[]);
    session.project.write("notes/a.txt", "three");
    session.heard(&["notes/a.txt"]);

    fs::remove_file(session.project.path(".gitignore")).expect("it is there");
    session.heard(&[]);
    session.project.write("pages/a.html", "three");
    session.heard(&["pages/a.html"]);
}

#[test]
fn what_the_server_reads_and_what_it_is_asked() {
    let mut session = Session::of(Project::server("one"));
    session.project.edit(MAIN, "one", "two");
    let address = session.run.serving();
    for _ in 0..20 {
        assert_eq!(get(address, "/").as_deref(), Some("two"));
    }
    session.heard(&[MAIN]);
}
