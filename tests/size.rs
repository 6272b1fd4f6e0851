//! Trees and workspaces of any size: what they cost, counted. `STARIO_SIZE=full` takes the sizes of a
//! hundred thousand files; times are `make size`'s.

#![cfg(target_os = "linux")]

mod support;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use support::{Project, Run};

/// No argument.
const NONE: [&str; 0] = [];

/// So many files lie in each folder.
const FILES: usize = 10;

fn folders() -> usize {
    if std::env::var_os("STARIO_SIZE").is_some_and(|it| it == "full") { 10_000 } else { 1000 }
}

/// A server beside this many folders of files, and twice as many files that are ignored.
fn tree(folders: usize) -> Project {
    let project = Project::server("one");
    project.write(".gitignore", "/target\nnode_modules/\n");
    for folder in 0..folders {
        let name = format!("assets/{}/{}", folder / 100, folder % 100);
        for file in 0..FILES {
            project.write(format!("{name}/{file}.txt"), "");
            project.write(format!("assets/{}/node_modules/{folder}/{file}.js", folder / 100), "");
            project.write(format!("{name}/node_modules/{file}.js"), "");
        }
    }
    project
}

/// The kernel's watches of the tool.
fn watches(run: &Run) -> usize {
    let infos = fs::read_dir(format!("/proc/{}/fdinfo", run.pid())).expect("it runs").flatten();
    // One that was closed meanwhile has none.
    let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
    texts.map(|text| text.matches("inotify wd:").count()).sum()
}

/// What the tool has in memory at most, in bytes.
fn memory(run: &Run) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", run.pid())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    let kilobytes: usize = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}

/// Every path that was said to have changed.
fn changed(run: &Run) -> HashSet<String> {
    let events = run.log.iter().filter(|event| event["event"] == "changed");
    let paths = events.flat_map(|event| event["paths"].as_array().expect("paths").clone());
    paths.map(|path| path.as_str().expect("text").to_owned()).collect()
}

#[test]
fn a_big_tree_has_a_watch_for_each_folder_that_counts_and_a_save_is_one_build() {
    let folders = folders();
    let project = tree(folders);
    let mut run = project.watch(NONE);
    let watching = run.wait_for("watching");
    let above = folders.div_ceil(100);
    // The package, its `src`, and `assets`.
    assert_eq!(watching["folders"], folders + above + 3);
    // The manifests, the lock file that cargo has written, `src/main.rs`.
    assert!(watching["files"].as_u64().expect("a number") >= (folders * FILES + 2) as u64);
    run.serving();
    let kept = folders + above + 3;
    let placed = watches(&run);
    // Above them, a few wait for ignore files and configuration.
    assert!((kept..kept + 8).contains(&placed), "{placed} for {kept} folders");

    run.rest();
    let built = run.count("build-started");
    project.write("assets/0/7/3.txt", "saved");
    run.wait_for("server-starting");
    run.rest();
    assert_eq!(run.count("build-started"), built + 1, "{}", run.story());
    let bound = 24 * 1024 * 1024 + kept * 4096;
    assert!(memory(&run) < bound, "{} of {bound} bytes", memory(&run));
}

#[test]
fn ten_thousand_changes_at_once_are_few_builds_and_none_is_missed() {
    let folders = folders().min(1000);
    let project = tree(folders);
    let mut run = project.watch(NONE);
    run.serving();
    run.rest();
    let built = run.count("build-started");
    let mut expected = HashSet::new();
    for folder in 0..folders {
        for file in 0..FILES {
            let path = format!("assets/{}/{}/{file}.txt", folder / 100, folder % 100);
            project.write(&path, "formatted");
            expected.insert(project.path(&path).display().to_string());
        }
    }
    let mut missed = expected;
    while !missed.is_empty() {
        let event = run.wait_until("change", |event| event["event"] == "changed");
        for path in event["paths"].as_array().expect("paths") {
            missed.remove(path.as_str().expect("text"));
        }
    }
    run.rest();
    let started = run.count("build-started") - built;
    // What is written for seconds on a busy machine is said about once a second.
    assert!(started <= 5, "{started} builds");
    assert!(memory(&run) < 64 * 1024 * 1024, "{} bytes", memory(&run));

    // All of them gone again.
    fs::remove_dir_all(project.path("assets")).expect("they are there");
    run.wait_for("build-started");
    run.rest();
    assert!(watches(&run) < 12, "{} are left", watches(&run));
}

#[test]
fn in_a_workspace_of_two_hundred_packages_a_save_in_any_is_one_build() {
    const PACKAGES: usize = 200;
    let project = Project::server("one");
    let mut app = String::from(
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\
         members = [\"packages/*\"]\n\n[dependencies]\n",
    );
    for number in 0..PACKAGES {
        let folder = format!("packages/p{number}");
        project.write(
            format!("{folder}/Cargo.toml"),
            format!("[package]\nname = \"p{number}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"),
        );
        project.write(format!("{folder}/src/lib.rs"), "");
        // The others are members that the server does without.
        if number < 20 {
            writeln!(app, "p{number} = {{ path = \"{folder}\" }}").expect("a text");
        }
    }
    project.write("Cargo.toml", app);
    project.write("inside/.keep", "");
    // From a folder that has none of them: each package is a tree of its own.
    let mut tool =
        project.tool(["watch", "app", "--port", "0"]).current_dir(project.path("inside"));
    tool.command.args(["--manifest-path", "../Cargo.toml"]);
    let mut run = tool.start();
    run.serving();
    run.rest();
    let built = run.count("build-started");
    project.write("packages/p19/src/lib.rs", "pub fn saved() {}\n");
    run.wait_for("build-started");
    run.rest();
    assert_eq!(run.count("build-started"), built + 1, "{}", run.story());
    assert!(memory(&run) < 32 * 1024 * 1024, "{} bytes", memory(&run));
}

#[test]
fn five_hundred_globs_ignore_what_they_say_and_nothing_else() {
    let project = tree(10);
    let globs = (0..250).flat_map(|n| [format!("no{n}*.tmp"), format!("assets/none{n}/**/")]);
    let arguments: Vec<_> = globs.flat_map(|glob| ["--watch-ignore".to_owned(), glob]).collect();
    let mut run = project.watch(&arguments);
    run.serving();
    run.rest();
    let built = run.count("build-started");
    project.write("assets/0/1/no249x.tmp", "ignored");
    project.write("assets/none249/deep/x.txt", "ignored");
    run.settle(Duration::from_millis(500));
    assert_eq!(run.count("build-started"), built, "{}", run.story());
    project.write("assets/0/1/yes249.tmp", "counts");
    run.wait_for("build-started");
    run.rest();
    assert!(changed(&run).iter().all(|path| path.ends_with("yes249.tmp")), "{}", run.story());
}

#[test]
fn who_is_left_alone_does_nothing() {
    let project = Project::server("one");
    let mut run = project.watch(NONE);
    run.serving();
    // A server's further addresses are looked for during its first seconds.
    run.settle_for(Duration::from_secs(14));
    let processes = [run.pid(), support::watchdog(run.pid()).expect("it runs")];
    let used = || processes.map(ticks);
    let before = used();
    run.settle_for(Duration::from_secs(3));
    assert_eq!(used(), before);
}

/// The time that a process has had, in the kernel's ticks.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("proc(5)");
    fields.split(' ').skip(11).take(2).map(|it| it.parse::<u64>().expect("a number")).sum()
}
