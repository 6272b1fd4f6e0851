//! However a file is saved, what runs in the end is what is on disk, and no more was built for it
//! than needed.

#![cfg(unix)]

mod support;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use support::{Project, Run, get, has, server_source};

/// No argument.
const NONE: [&str; 0] = [];
const MAIN: &str = "src/main.rs";

/// A project under `watch`, and what has come of it.
struct Session {
    project: Project,
    run: Run,
    address: SocketAddr,
    /// How many events belong to what was checked before.
    checked: usize,
}

impl Session {
    /// With a server that answers `one`.
    fn new() -> Self {
        Self::of(Project::server("one"))
    }

    fn of(project: Project) -> Self {
        let run = project.watch(NONE);
        Self::running(project, run)
    }

    fn running(project: Project, mut run: Run) -> Self {
        let address = run.serving();
        run.rest();
        let checked = run.log.len();
        Self { project, run, address, checked }
    }

    /// The events since the last check.
    fn news(&self) -> &[Value] {
        &self.run.log[self.checked..]
    }

    fn count(&self, name: &str) -> usize {
        self.news().iter().filter(|event| event["event"] == name).count()
    }

    /// Waits for this answer, then until all is over; nothing has come in its place by then.
    #[track_caller]
    fn answers(&mut self, wanted: &str) {
        self.run.wait_for_answer(self.address, wanted);
        self.run.rest();
        let answer = get(self.address, "/");
        assert_eq!(answer.as_deref(), Some(wanted), "{}", self.run.story());
    }

    /// The same, and it took one build and one server.
    #[track_caller]
    fn answers_after_one_build(&mut self, wanted: &str) {
        self.answers(wanted);
        for event in ["build-started", "build-succeeded", "server-spawned"] {
            assert_eq!(self.count(event), 1, "{event}\n{}", self.run.story());
        }
        self.checked = self.run.log.len();
    }

    /// The same, where it may have taken up to so many builds; one of them is the last, and what
    /// came before was not finished.
    #[track_caller]
    fn answers_after_at_most(&mut self, builds: usize, wanted: &str) {
        self.answers(wanted);
        let took = self.count("build-started");
        assert!((1..=builds).contains(&took), "{took} builds\n{}", self.run.story());
        self.checked = self.run.log.len();
    }

    /// The tool goes on with a build that fails, and the server with it.
    #[track_caller]
    fn fails_and_goes_on(&mut self, wanted: &str) -> Value {
        self.run.wait_for("build-failed");
        self.run.rest();
        let failed = self.news().iter().find(|event| event["event"] == "build-failed");
        let failed = failed.cloned().expect("waited for");
        let answer = get(self.address, "/");
        assert_eq!(answer.as_deref(), Some(wanted), "{}", self.run.story());
        assert_eq!(self.count("build-started"), 1, "{}", self.run.story());
        self.checked = self.run.log.len();
        failed
    }
}

/// The source of a server that answers with what this expression says.
fn server_of(expression: &str) -> String {
    server_source("").replace("&str = \"\"", &format!("&str = {expression}"))
}

/// `git` in the project, without anybody's configuration.
fn git(project: &Project, arguments: &[&str]) {
    let output = Command::new("git")
        .args(["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"])
        .args(["-c", "core.fsync=none", "-c", "gc.auto=0"])
        .args(arguments)
        .current_dir(&project.root)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .expect("git starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The modification time of a file that has been lying around.
fn age(path: impl AsRef<Path>) {
    let week = Duration::from_secs(7 * 24 * 3600);
    let file = File::open(path).expect("it is there");
    file.set_modified(SystemTime::now() - week).expect("our file");
}

// ---- how editors write ----

#[test]
fn in_place() {
    let mut session = Session::new();
    for (from, to) in [("one", "two"), ("two", "three")] {
        session.project.edit(MAIN, from, to);
        session.answers_after_one_build(to);
    }
}

#[test]
fn a_temporary_file_that_is_renamed() {
    let mut session = Session::new();
    for (temporary, answer) in [("src/main.rs.tmp.4711.1", "two"), (".main.rs.part", "three")] {
        let temporary = session.project.path(temporary);
        let mut file = File::create(&temporary).expect("a new file");
        file.write_all(server_source(answer).as_bytes()).expect("room");
        drop(file);
        fs::rename(temporary, session.project.path(MAIN)).expect("the same file system");
        // Where the disk is slow, the temporary file has been seen by then.
        session.answers_after_at_most(2, answer);
    }
}

#[test]
fn written_at_once_and_closed_when_it_has_reached_the_disk() {
    let mut session = Session::new();
    let mut file = File::create(session.project.path(MAIN)).expect("our file");
    file.write_all(server_source("two").as_bytes()).expect("room");
    session.run.wait_for("build-started");
    file.sync_all().expect("a disk");
    drop(file);
    session.answers_after_one_build("two");
}

#[test]
fn vim_with_backups() {
    if !has("vim") {
        return;
    }
    let mut session = Session::new();
    let ways = [("no", "one", "two"), ("yes", "two", "three"), ("auto", "three", "four")];
    for (backupcopy, from, to) in ways {
        let status = Command::new("vim")
            .args(["-N", "-u", "NONE", "-es", "-c", "set backup writebackup"])
            .args(["-c", &format!("set backupskip= backupcopy={backupcopy}")])
            .args(["-c", &format!("%s/{from}/{to}/"), "-c", "wq", MAIN])
            .current_dir(&session.project.root)
            .status()
            .expect("vim starts");
        assert!(status.success(), "{status}");
        assert!(session.project.path("src/main.rs~").exists(), "vim has made a backup");
        session.answers_after_one_build(to);
    }
}

#[test]
fn what_vim_does_in_single_steps() {
    let mut session = Session::new();
    let path = |name: &str| session.project.path(Path::new("src").join(name));
    // Opened: a swap file, which is written while one types.
    let mut swap = File::create(path(".main.rs.swp")).expect("a new file");
    swap.write_all(b"b0VIM 9.0").expect("room");
    // Saved: can the folder be written to?
    fs::write(path("4913"), "").expect("a new file");
    fs::remove_file(path("4913")).expect("it is there");
    fs::rename(path("main.rs"), path("main.rs~")).expect("the same folder");
    fs::write(path("main.rs"), server_source("two")).expect("a new file");
    fs::remove_file(path("main.rs~")).expect("it is there");
    // Left.
    drop(swap);
    fs::remove_file(path(".main.rs.swp")).expect("it is there");
    session.answers_after_one_build("two");
}

#[test]
fn truncated_first_and_written_after_a_moment() {
    let mut session = Session::new();
    let mut file = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(session.project.path(MAIN))
        .expect("it is there");
    // So long a moment that a build of the empty file has begun.
    session.run.wait_for("build-started");
    file.write_all(server_source("two").as_bytes()).expect("room");
    drop(file);
    session.answers_after_at_most(2, "two");
}

#[test]
fn a_formatter_writes_once_more_80_ms_after_the_save() {
    let mut session = Session::new();
    session.project.edit(MAIN, "\"one\"", "   \"two\"");
    // The time is what this is about.
    std::thread::sleep(Duration::from_millis(80));
    session.project.edit(MAIN, "   \"two\"", "\"two\"");
    session.answers_after_at_most(2, "two");
}

#[test]
fn there_and_back_within_one_build() {
    let mut session = Session::new();
    for answer in ["two", "three"] {
        let before = session.project.read(MAIN);
        let answered = get(session.address, "/").expect("it serves");
        session.project.edit(MAIN, &answered, answer);
        session.run.wait_for("build-spawned");
        session.project.write(MAIN, before);
        session.run.wait_for("changed");
        session.answers_after_at_most(2, &answered);

        // And a change after it is still one.
        session.project.edit(MAIN, &answered, answer);
        session.answers_after_one_build(answer);
    }
}

// ---- many files, and folders ----

#[test]
fn a_checkout_of_a_thousand_files() {
    if !has("git") {
        return;
    }
    // Git writes them in alphabetical order: the server is made from the first and the last, too.
    let project = Project::server("");
    let source = |word: &str| {
        server_of(&format!(
            "concat!(include_str!(\"../a/0.txt\"), \" {word} \", include_str!(\"../z/9.txt\"))"
        ))
    };
    let commit = |word: &str| {
        for folder in ["a", "m", "n", "z"] {
            for number in 0..250 {
                project.write(format!("{folder}/{number}.txt"), word);
            }
        }
        project.write(MAIN, source(word));
        git(&project, &["add", "."]);
        git(&project, &["commit", "--quiet", "-m", word]);
    };
    git(&project, &["init", "--quiet", "--initial-branch=trunk"]);
    commit("one");
    git(&project, &["checkout", "--quiet", "-b", "other"]);
    commit("two");

    let mut session = Session::of(project);
    assert_eq!(get(session.address, "/").as_deref(), Some("two two two"));
    git(&session.project, &["checkout", "--quiet", "trunk"]);
    session.answers_after_at_most(2, "one one one");
    git(&session.project, &["checkout", "--quiet", "other"]);
    session.answers_after_at_most(2, "two two two");
}

#[test]
fn new_folders_with_a_file_at_once() {
    let mut session = Session::new();
    // The source names a file that is not there, so that its coming is all that can mend the build.
    session.project.write(MAIN, server_of("include_str!(\"../a/b/c/word.txt\")"));
    session.fails_and_goes_on("one");
    for number in 0..3 {
        let word = format!("word {number}");
        session.project.write("a/b/c/word.txt", &word);
        session.answers_after_at_most(2, &word);
        fs::remove_dir_all(session.project.path("a")).expect("it is there");
        session.fails_and_goes_on(&word);
    }

    session
        .project
        .write(MAIN, server_of("word::WORD") + "\n#[path = \"../x/y/z/word.rs\"]\nmod word;\n");
    session.fails_and_goes_on("word 2");
    session.project.write("x/y/z/word.rs", "pub const WORD: &str = \"module\";");
    session.answers_after_at_most(2, "module");
    session.project.edit("x/y/z/word.rs", "module", "edited");
    session.answers_after_one_build("edited");
}

#[test]
fn modules_that_are_renamed_deleted_and_moved() {
    let project = Project::package(&(server_of("word::WORD") + "mod word;\n"));
    project.write("src/word.rs", "pub const WORD: &str = \"one\";");
    let mut session = Session::of(project);
    let path = |session: &Session, name: &str| session.project.path(name);

    // Renamed, with the line that names it.
    fs::rename(path(&session, "src/word.rs"), path(&session, "src/term.rs")).expect("one folder");
    session.project.edit(MAIN, "mod word", "mod term");
    session.project.edit(MAIN, "word::WORD", "term::WORD");
    session.run.rest();
    assert!(session.count("build-started") <= 2, "{}", session.run.story());
    session.checked = session.run.log.len();
    session.project.edit("src/term.rs", "one", "two");
    session.answers_after_one_build("two");

    // Deleted: the compiler's words name it. Back again, it is as if nothing had been.
    fs::rename(path(&session, "src/term.rs"), path(&session, "elsewhere.txt")).expect("as above");
    let before = session.run.log.len();
    session.fails_and_goes_on("two");
    let names = |event: &Value| event["message"].as_str().is_some_and(|it| it.contains("`term`"));
    assert!(session.run.log[before..].iter().any(names), "{}", session.run.story());
    fs::rename(path(&session, "elsewhere.txt"), path(&session, "src/term.rs")).expect("as above");
    session.run.wait_for("build-succeeded");
    session.answers("two");
    assert_eq!(session.count("build-started"), 1, "{}", session.run.story());
    session.checked = session.run.log.len();

    // A file becomes a folder, and the folder is renamed.
    fs::create_dir(path(&session, "src/term")).expect("a new folder");
    fs::rename(path(&session, "src/term.rs"), path(&session, "src/term/mod.rs")).expect("as above");
    session.run.wait_for("build-started");
    session.run.rest();
    session.checked = session.run.log.len();
    session.project.edit("src/term/mod.rs", "two", "three");
    session.answers_after_one_build("three");
    fs::rename(path(&session, "src/term"), path(&session, "src/name")).expect("as above");
    session.fails_and_goes_on("three");
    session.project.edit(MAIN, "mod term", "mod name");
    session.project.edit(MAIN, "term::WORD", "name::WORD");
    session.run.wait_for("build-succeeded");
    session.project.edit("src/name/mod.rs", "three", "four");
    session.answers("four");

    // The whole of `src`, out of the project and in again.
    session.checked = session.run.log.len();
    let outside = session.project.root.with_file_name("outside");
    fs::rename(path(&session, "src"), &outside).expect("as above");
    session.fails_and_goes_on("four");
    // It is back with all that was known of it.
    session.run.settle(Duration::from_secs(2));
    fs::rename(&outside, path(&session, "src")).expect("as above");
    session.run.wait_for("build-succeeded");
    session.project.edit("src/name/mod.rs", "four", "five");
    session.answers("five");
}

// ---- files with older time stamps ----

#[test]
fn an_older_file_that_is_moved_in_is_built() {
    let project = Project::server("one");
    project.write("main.rs.bak", server_source("older"));
    age(project.path("main.rs.bak"));
    let mut session = Session::of(project);
    let path = |name: &str| session.project.path(name);
    fs::rename(path("main.rs.bak"), path(MAIN)).expect("the same file system");
    session.answers("older");
    let forced = |event: &Value| event["code"] == "forced-rebuild";
    assert!(session.news().iter().any(forced), "{}", session.run.story());
    session.answers_after_one_build("older");

    // What was touched for it counts as usual afterwards.
    session.project.edit(MAIN, "older", "newer");
    session.answers_after_one_build("newer");
}

#[test]
fn an_older_file_of_a_path_package_and_an_older_template_are_built() {
    let project = Project::server("");
    project.write(
        MAIN,
        server_of("concat!(\"\", include_str!(\"../page.txt\"))")
            .replace("ANSWER.len()", "answer().len()")
            .replace("{ANSWER}\"", "{}\"")
            .replace("answer().len()\n", "answer().len(), answer()\n")
            + "fn answer() -> String { format!(\"{ANSWER} {}\", words::WORD) }\n",
    );
    project.write("page.txt", "page");
    let manifest = project.read("Cargo.toml");
    project.write("Cargo.toml", manifest + "[dependencies]\nwords = { path = \"words\" }\n");
    project.write(
        "words/Cargo.toml",
        "[package]\nname = \"words\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    );
    project.write("words/src/lib.rs", "pub const WORD: &str = \"word\";");
    project.write("page.old", "older page");
    project.write("lib.old", "pub const WORD: &str = \"older word\";");
    age(project.path("page.old"));
    age(project.path("lib.old"));
    let mut session = Session::of(project);
    assert_eq!(get(session.address, "/").as_deref(), Some("page word"));

    let path = |name: &str| session.project.path(name);
    fs::rename(path("page.old"), path("page.txt")).expect("the same file system");
    session.answers_after_one_build("older page word");
    let path = |name: &str| session.project.path(name);
    fs::rename(path("lib.old"), path("words/src/lib.rs")).expect("the same file system");
    session.answers_after_one_build("older page older word");
}

// ---- names of folders ----

#[test]
fn a_project_behind_a_symbolic_link() {
    let project = Project::server("one");
    let link = project.root.with_file_name("link");
    symlink(&project.root, &link).expect("a new name");
    // A shell that went there through the link says so.
    let tool = project.tool(["watch", "--port", "0"]).current_dir(&link).env("PWD", &link);
    let mut session = Session::running(project, tool.start());
    session.project.edit(MAIN, "one", "two");
    session.answers_after_one_build("two");
    fs::write(link.join(MAIN), server_source("three")).expect("it is there");
    session.answers_after_one_build("three");
}

#[test]
fn a_path_package_behind_a_symbolic_link() {
    let project = Project::server("one");
    let outside = project.root.with_file_name("store");
    fs::create_dir_all(outside.join("words/src")).expect("new folders");
    let manifest = "[package]\nname = \"words\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    fs::write(outside.join("words/Cargo.toml"), manifest).expect("a new file");
    let library = outside.join("words/src/lib.rs");
    fs::write(&library, "pub const WORD: &str = \"one\";").expect("a new file");
    symlink(outside.join("words"), project.path("words")).expect("a new name");
    let manifest = project.read("Cargo.toml");
    project.write("Cargo.toml", manifest + "[dependencies]\nwords = { path = \"words\" }\n");
    project.write(MAIN, server_of("words::WORD"));
    let mut session = Session::of(project);
    fs::write(&library, "pub const WORD: &str = \"two\";").expect("it is there");
    session.answers_after_one_build("two");
    session.project.write("words/src/lib.rs", "pub const WORD: &str = \"three\";");
    session.answers_after_one_build("three");
}

#[test]
fn folder_names_with_spaces_and_other_alphabets() {
    let outer = Project::empty();
    let folder = outer.path("my app, größer [2]");
    let project = Project::server("one");
    fs::rename(&project.root, &folder).expect("the same file system");
    let tool = project.tool(["watch", "--port", "0"]).current_dir(&folder);
    let mut session = Session::running(project, tool.start());
    fs::write(folder.join(MAIN), server_source("two")).expect("it is there");
    session.answers_after_one_build("two");
    let older = folder.join("older main.rs");
    fs::write(&older, server_source("older")).expect("a new file");
    session.run.wait_for("build-succeeded");
    age(&older);
    fs::rename(older, folder.join(MAIN)).expect("the same folder");
    session.answers("older");
}

#[test]
fn a_folder_whose_name_is_not_utf_8() {
    let project = Project::server("one");
    let folder = project.path("pages").join(OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir_all(&folder).expect("Linux takes any name");
    fs::write(folder.join("page.html"), "one").expect("a new file");
    let mut session = Session::of(project);
    fs::write(folder.join("page.html"), "two").expect("it is there");
    let changed = session.run.wait_for("changed");
    let path = changed["paths"][0].as_str().expect("a path");
    assert!(path.ends_with("pages/caf\u{fffd}/page.html"), "{path}");
    session.answers_after_one_build("one");
}

// ---- what is named ----

/// A project whose server reads what it answers from `data/word` when it starts.
fn reader() -> Project {
    let project = Project::package(
        &server_source("")
            .replace("ANSWER", "answer")
            .replace("const answer: &str = \"\";\n", "")
            .replace(
                "fn main() {\n",
                "fn main() {\n    let answer = std::fs::read_to_string(\"data/word\")\
                 .unwrap_or(\"none\".into());\n",
            ),
    );
    project.write(".gitignore", "/target\n");
    project
}

#[test]
fn watched_by_name_a_file_a_folder_or_a_glob() {
    for spec in ["src/main.rs", "./src", "**/*.rs", "main.*"] {
        let project = Project::server("one");
        let run = project.watch(["--watch", spec]);
        let mut session = Session::running(project, run);
        session.project.write("notes.txt", "not named");
        session.project.edit(MAIN, "one", "two");
        session.answers_after_one_build("two");
        let changed = session.run.log.iter().filter(|event| event["event"] == "changed");
        let paths: Vec<_> = changed.map(|event| event["paths"].clone()).collect();
        let main = session.project.path(MAIN);
        assert_eq!(paths, [serde_json::json!([main.to_str()])], "--watch {spec}");
    }
}

#[test]
fn a_folder_that_is_not_there_yet() {
    let project = reader();
    let run = project.watch(["--watch", "data/"]);
    let mut session = Session::running(project, run);
    assert_eq!(get(session.address, "/").as_deref(), Some("none"));
    session.project.write("data/word", "first");
    session.answers_after_at_most(2, "first");
    session.project.write("data/word", "second");
    session.answers_after_one_build("second");
    fs::remove_dir_all(session.project.path("data")).expect("it is there");
    session.answers("none");
    session.project.write("data/word", "third");
    session.answers("third");
}

#[test]
fn several_are_watched_and_what_is_to_be_ignored_wins() {
    let project = reader();
    let beside = project.root.with_file_name("beside");
    fs::create_dir(&beside).expect("a new folder");
    fs::write(beside.join("page.html"), "one").expect("a new file");
    project.write("data/word", "one");
    project.write("data/log/today", "one");
    let run = project.watch(
        [
            ["--watch", "."],
            ["--watch", "../beside/"],
            ["--watch", "data/log/"],
            ["--watch-ignore", "data/log/"],
            ["--watch-ignore", "*.tmp"],
        ]
        .concat(),
    );
    let mut session = Session::running(project, run);
    session.project.write("data/log/today", "two");
    session.project.write("data/word.tmp", "two");
    session.project.write("data/word", "two");
    session.answers_after_one_build("two");
    fs::write(beside.join("page.tmp"), "two").expect("a new file");
    fs::write(beside.join("page.html"), "two").expect("it is there");
    session.answers_after_one_build("two");
    let changed = session.run.log.iter().filter(|event| event["event"] == "changed");
    let paths: Vec<_> = changed.map(|event| event["paths"].clone()).collect();
    let (word, page) = (session.project.path("data/word"), "beside/page.html");
    let paths = serde_json::to_string(&paths).expect("JSON");
    assert!(paths.contains(word.to_str().expect("UTF-8")) && paths.contains(page), "{paths}");
    assert!(!paths.contains("today") && !paths.contains(".tmp"), "{paths}");
}

#[test]
fn looked_for_in_place_of_being_told() {
    let project = Project::server("one");
    let run = project.watch(["--poll=100"]);
    let mut session = Session::running(project, run);
    session.project.edit(MAIN, "one", "two");
    session.answers_after_one_build("two");
    session.project.edit(MAIN, "two", "three");
    session.answers_after_one_build("three");
}

// ---- workspaces ----

/// The workspace with a path package outside of it.
fn workspace() -> Project {
    let project = Project::copy("workspace");
    project.copy_beside("outside");
    project.write(".gitignore", "target\n");
    project
}

#[test]
fn from_a_members_subfolder_the_path_packages_are_watched() {
    let project = workspace();
    let tool = project.tool(["watch", "--port", "0"]).current_dir(project.path("app/src"));
    let mut session = Session::running(project, tool.start());
    session.project.edit("core/src/lib.rs", "\"one\"", "\"two\"");
    session.run.wait_for("server-listening");
    session.run.rest();
    let answer = get(session.address, "/").expect("it serves");
    assert!(answer.starts_with("two "), "{answer}");
    assert_eq!(session.count("build-started"), 1, "{}", session.run.story());

    let outside = session.project.root.with_file_name("outside").join("src/lib.rs");
    let source = fs::read_to_string(&outside).expect("it is there");
    let line =
        source.lines().find(|line| line.starts_with("pub const ANSWER")).expect("a constant");
    fs::write(&outside, source.replace(line, "pub const ANSWER: &str = \"far\";")).expect("ours");
    session.checked = session.run.log.len();
    session.answers_after_one_build("two far\n");
}

#[test]
fn of_two_binaries_the_other_one_is_none_of_the_servers_business() {
    let mut session = Session::of(workspace());
    let answer = get(session.address, "/").expect("it serves");
    session.project.edit("app/src/bin/worker.rs", "println!", "eprintln!");
    session.run.wait_for("unchanged");
    session.answers(&answer);
    assert_eq!(session.count("build-started"), 1, "{}", session.run.story());
}

#[test]
fn two_binaries_of_one_package_at_a_time() {
    let project = Project::server("one");
    project.write("src/lib.rs", "pub const WORD: &str = \"one\";");
    for name in ["api", "site"] {
        let source = server_of("app::WORD");
        let source = source.replace("{ANSWER}\"", &format!("{{ANSWER}} {name}\""));
        let source = source.replace("ANSWER.len()", &format!("ANSWER.len() + {}", name.len() + 1));
        project.write(format!("src/bin/{name}.rs"), source);
    }
    fs::remove_file(project.path(MAIN)).expect("it is there");
    let start = |name: &str| {
        let run = project.tool(["watch", name, "--port", "0"]).start();
        (run, name.to_owned())
    };
    let mut both: Vec<_> = ["api", "site"].map(start).into_iter().collect();
    let addresses: Vec<_> = both.iter_mut().map(|(run, _)| run.serving()).collect();
    for (run, _) in &mut both {
        run.rest();
    }
    project.edit("src/lib.rs", "one", "two");
    for ((run, name), address) in both.iter_mut().zip(addresses) {
        run.wait_for_answer(address, &format!("two {name}"));
        run.rest();
        assert_eq!(run.count("build-started"), 2, "{}", run.story());
    }
}

// ---- at every moment ----

/// A save at each of these parts of a build's time leads to what is on disk. More than the whole
/// time, since a build is followed by the start of the server.
fn a_save_at(moments: impl Iterator<Item = f64>) {
    let mut session = Session::new();
    session.project.edit(MAIN, "one", "two");
    session.answers("two");
    let time = |name: &str| {
        let event = session.news().iter().find(|event| event["event"] == name);
        event.expect("one build")["time"].as_f64().expect("a time")
    };
    let took = time("build-succeeded") - time("build-started");
    let took = Duration::from_secs_f64(took / 1000.0);
    for (number, moment) in moments.enumerate() {
        session.project.write(MAIN, server_source(&format!("first {number}")));
        session.run.wait_for("build-started");
        // The moment is what this is about.
        std::thread::sleep(took.mul_f64(moment));
        let last = format!("last {number}");
        session.project.write(MAIN, server_source(&last));
        session.answers(&last);
    }
}

#[test]
fn a_save_at_every_moment_of_a_build() {
    a_save_at((0..13).map(|number| f64::from(number) / 12.0));
}

#[test]
fn a_save_at_every_moment_in_between_and_after_it() {
    a_save_at((0..13).map(|number| f64::from(number) / 12.0 + 1.0 / 24.0));
}

#[test]
fn a_save_in_each_tenth_of_a_second() {
    let mut session = Session::of({
        let project = Project::server("0");
        // Slower than the saves come, so that each one finds a build under way.
        project.write(
            "build.rs",
            "fn main() {\n    println!(\"cargo::rerun-if-changed=src\");\n    \
             std::thread::sleep(std::time::Duration::from_millis(300));\n}\n",
        );
        project
    });
    let mut seen = Vec::new();
    for number in 1..=60 {
        session.project.write(MAIN, server_source(&number.to_string()));
        // The pace is what this is about.
        session.run.settle_for(Duration::from_millis(100));
        seen.extend(get(session.address, "/"));
    }
    seen.dedup();
    assert!(seen.len() > 2, "nothing was finished meanwhile: {seen:?}\n{}", session.run.story());
    session.answers("60");
}
