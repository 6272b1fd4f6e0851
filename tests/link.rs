//! The dependencies are linked once: what an edit links then, what happens to the shared objects, and that
//! a plain link is done whatever goes wrong. On a real cargo and a real linker; where one has to fail, a
//! script stands in front of it. What real dependencies make of it is in `link_matrix.rs`.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod support;

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use support::{Project, Run, TOOL, eventually, get, needs, server_source};

/// No argument.
const NONE: [&str; 0] = [];

/// A server that says this by way of a package of others.
fn source(answer: u32) -> String {
    let says = format!(
        "fn main() {{\n    let mut buffer = itoa::Buffer::new();\n    \
         let answer = buffer.format({answer}u32);"
    );
    let source = server_source("").replace("const ANSWER: &str = \"\";\n", "");
    source.replace("fn main() {", &says).replace("ANSWER", "answer")
}

fn server(answer: u32) -> Project {
    let project = Project::server("");
    project.write("src/main.rs", source(answer));
    depends_on(&project, "itoa = \"1\"");
    project
}

fn depends_on(project: &Project, dependency: &str) {
    let manifest = project.read("Cargo.toml");
    let manifest = manifest.strip_suffix('\n').expect("a line's end");
    let head = if manifest.contains("[dependencies]") { "" } else { "\n[dependencies]" };
    project.write("Cargo.toml", format!("{manifest}{head}\n{dependency}\n"));
}

/// The shared objects below this folder, by name.
fn shared_objects(project: &Project) -> Vec<PathBuf> {
    let entries = fs::read_dir(project.path("target/stario-link")).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|it| it == "so"))
        .collect();
    found.sort();
    found
}

#[track_caller]
fn one_shared_object(project: &Project) -> PathBuf {
    let found = shared_objects(project);
    let [one] = &found[..] else { panic!("{found:?}") };
    one.clone()
}

/// How it was linked, in the words that the tool has for it.
fn linked(run: &mut Run) -> (String, String) {
    let event = run.wait_until("word of the link", |event| {
        event["code"].as_str().is_some_and(|code| code.starts_with("linked-"))
    });
    let text = |key: &str| event[key].as_str().expect("a text").to_owned();
    (text("code"), text("text"))
}

#[track_caller]
fn is_linked_once(run: &mut Run) {
    let (code, text) = linked(run);
    assert_eq!(code, "linked-once", "{text}");
}

/// A linker that writes down what it is called for, and fails at one kind of work.
struct Linker {
    path: String,
    log: PathBuf,
}

impl Linker {
    fn failing(project: &Project, at: &str, how: &str) -> Self {
        let folder = project.beside("bin");
        let log = project.beside("linked");
        fs::create_dir_all(&folder).expect("a folder");
        let script = folder.join("cc");
        let text = format!(
            "#!/bin/sh\nkind=\nfor word; do case \"$word\" in\n\
             -shared) kind=library;; *dependencies-*.face) kind=${{kind:-executable}};;\nesac; done\n\
             kind=${{kind:-whole}}\necho $kind >> '{}'\n\
             if [ $kind = '{at}' ]; then {how}; fi\nexec /usr/bin/cc \"$@\"\n",
            log.display()
        );
        fs::write(&script, text).expect("a script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let path = std::env::var("PATH").expect("a PATH");
        Self { path: format!("{}:{path}", folder.display()), log }
    }

    fn watch(&self, project: &Project) -> Run {
        project.tool(["watch", "--port", "0"]).env("PATH", &self.path).start()
    }

    /// What it has been called for since the last look.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let _ = fs::remove_file(&self.log);
        text.lines().map(ToOwned::to_owned).collect()
    }
}

#[test]
fn an_edit_links_the_users_objects_alone() {
    let project = server(1);
    let linker = Linker::failing(&project, "never", ":");
    let mut run = linker.watch(&project);
    is_linked_once(&mut run);
    let address = run.serving();
    run.wait_for_answer(address, "1");
    assert_eq!(linker.calls(), ["library", "executable"]);
    let library = one_shared_object(&project);
    let inode = fs::metadata(&library).expect("it is there").ino();

    project.write("src/main.rs", source(2));
    run.wait_for_answer(address, "2");
    assert_eq!(linker.calls(), ["executable"]);
    assert_eq!(one_shared_object(&project), library);
    assert_eq!(fs::metadata(&library).expect("it is there").ino(), inode);
    assert_eq!(run.count("build-failed"), 0, "{}", run.story());
}

#[test]
fn a_crate_of_the_users_is_no_dependency() {
    let project = server(1);
    project.write("../mine/Cargo.toml", "[package]\nname = \"my-own\"\nversion = \"0.1.0\"\n");
    project.write("../mine/src/lib.rs", "pub fn number() -> u32 {\n    1\n}\n");
    depends_on(&project, "my-own = { path = \"../mine\" }");
    project.edit("src/main.rs", "format(1u32)", "format(my_own::number())");
    let mut run = project.watch(NONE);
    is_linked_once(&mut run);
    let address = run.serving();
    run.wait_for_answer(address, "1");
    let library = one_shared_object(&project);

    project.edit("../mine/src/lib.rs", "1", "2");
    run.wait_for_answer(address, "2");
    assert_eq!(one_shared_object(&project), library);
}

/// Whether a linker that fails in this way is answered by a link of the whole, now and with the next edit.
fn falls_back(at: &str, how: &str, words: &str, afterwards: &[&str]) {
    let project = server(1);
    let linker = Linker::failing(&project, at, how);
    let mut run = linker.watch(&project);
    let (code, text) = linked(&mut run);
    assert_eq!(code, "linked-plainly");
    assert!(text.contains(words), "{text}");
    let address = run.serving();
    run.wait_for_answer(address, "1");
    assert_eq!(linker.calls().last().map(String::as_str), Some("whole"));

    project.write("src/main.rs", source(2));
    run.wait_for_answer(address, "2");
    assert_eq!(linker.calls(), afterwards);
    let left = fs::read_dir(project.path("target/stario-link")).expect("it is there").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect();
    assert!(!left.iter().any(|name| name.starts_with("making-")), "{left:?}");
}

const REFUSES: &str = "echo 'ld: error: on purpose' >&2; exit 1";
const IS_KILLED: &str = "kill -9 $$";

#[test]
fn dependencies_that_do_not_link_alone_are_linked_in_whole_from_then_on() {
    falls_back(
        "library",
        REFUSES,
        "the dependencies alone do not link: ld: error: on purpose",
        &["whole"],
    );
}

#[test]
fn an_executable_that_does_not_link_is_linked_in_whole_from_then_on() {
    falls_back(
        "executable",
        REFUSES,
        "the executable does not link: ld: error: on purpose",
        &["whole"],
    );
}

#[test]
fn a_linker_that_is_killed_is_tried_again_with_the_next_edit() {
    falls_back("library", IS_KILLED, "the dependencies alone do not link", &["library", "whole"]);
}

#[test]
fn without_a_linker_it_is_said_what_is_missing() {
    let project = server(1);
    let empty = project.beside("empty");
    fs::create_dir(&empty).expect("a folder");
    // Cargo and rustc are called by their paths.
    let cargo = Command::new("rustup").args(["which", "cargo"]).output().expect("rustup");
    let cargo = PathBuf::from(String::from_utf8(cargo.stdout).expect("UTF-8").trim());
    let rustc = cargo.with_file_name("rustc");
    project.write("src/main.rs", source(2));
    let tool = project.tool(["serve", "--port", "0"]);
    let told = tool.env("CARGO", &cargo).env("RUSTC", &rustc).env("PATH", &empty).finish();
    assert_eq!(told.status.code(), Some(101), "{}", told.stderr);
    assert!(told.stderr.contains("cannot run `cc`"), "{}", told.stderr);
}

/// A small file system at a folder.
struct Disk(PathBuf);

impl Disk {
    /// `None` where only root may do that.
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir_all(&at).expect("a folder");
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", &options, "none"]).arg(&at).status();
        let done = mount.is_ok_and(|status| status.success());
        done.then_some(Self(at))
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        let done = Command::new("mount").args(["-o", &options]).arg(&self.0).status();
        assert!(done.expect("mount").success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server may have the library loaded.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_a_reason_only_as_long_as_it_is_full() {
    let project = server(1);
    let Some(disk) = Disk::mount(project.path("target/stario-link"), "256k") else {
        needs("the right to mount a file system", false);
        return;
    };
    let mut run = project.watch(NONE);
    let (code, text) = linked(&mut run);
    assert_eq!(code, "linked-plainly");
    // What the linker says, or what becomes of it when it writes to a mapped file.
    let words = ["No space left on device", "Bus error"];
    assert!(words.iter().any(|words| text.contains(words)), "{text}");
    let address = run.serving();
    run.wait_for_answer(address, "1");

    disk.grow("400m");
    project.write("src/main.rs", source(2));
    is_linked_once(&mut run);
    run.wait_for_answer(address, "2");
    run.signal("INT");
    run.wait();
}

/// Something that is done to a file.
type Harm = fn(&Path);

#[test]
fn a_shared_object_that_is_gone_or_cut_short_is_made_again() {
    let project = server(1);
    let mut run = project.watch(NONE);
    is_linked_once(&mut run);
    run.serving();
    let library = one_shared_object(&project);
    let length = fs::metadata(&library).expect("it is there").len();
    run.signal("INT");
    run.wait();

    let harms: [Harm; 2] = [
        |path| fs::remove_file(path).expect("it is there"),
        |path| {
            let file = File::options().write(true).open(path).expect("it is there");
            file.set_len(4096).expect("it is longer");
        },
    ];
    for harm in harms {
        harm(&library);
        let mut run = project.watch(NONE);
        is_linked_once(&mut run);
        let address = run.serving();
        run.wait_for_answer(address, "1");
        assert_eq!(fs::metadata(&library).expect("it is there again").len(), length);
        run.signal("INT");
        run.wait();
    }
}

#[test]
fn shared_objects_that_nobody_uses_are_removed_and_no_others() {
    let project = server(1);
    let mut run = project.watch(NONE);
    is_linked_once(&mut run);
    let address = run.serving();
    run.wait_for_answer(address, "1");
    let first = one_shared_object(&project);

    // The server that has it loaded lives until the new one is there.
    depends_on(&project, "fnv = \"1\"");
    project.write(
        "src/main.rs",
        source(2).replace("fn main() {", "fn main() {\n    let _ = fnv::FnvHasher::default();"),
    );
    run.wait_for_answer(address, "2");
    let both = shared_objects(&project);
    assert!(both.len() == 2 && both.contains(&first), "{both:?}");
    let second = both.iter().find(|it| **it != first).expect("another").clone();

    depends_on(&project, "lazy_static = \"1\"");
    project.write("src/main.rs", source(3));
    run.wait_for_answer(address, "3");
    let now = shared_objects(&project);
    assert!(!now.contains(&first) && now.contains(&second), "{now:?}");
    assert_eq!(now.len(), 2, "{now:?}");
}

#[test]
fn two_servers_of_one_workspace_have_two_shared_objects() {
    let project = Project::empty();
    project.write("Cargo.toml", "[workspace]\nmembers = [\"one\", \"two\"]\nresolver = \"3\"\n");
    project.write(".gitignore", "/target\n");
    for (name, dependency) in [("one", "fnv = \"1\""), ("two", "lazy_static = \"1\"")] {
        project.write(
            format!("{name}/Cargo.toml"),
            format!(
                "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
                 [dependencies]\nitoa = \"1\"\n{dependency}\n"
            ),
        );
        project.write(format!("{name}/src/main.rs"), source(1));
    }
    let start = |name| project.watch(["-p", name]);
    let mut runs = [start("one"), start("two")];
    let addresses = runs.each_mut().map(|run| {
        is_linked_once(run);
        run.serving()
    });
    for round in 2..5 {
        for name in ["one", "two"] {
            project.write(format!("{name}/src/main.rs"), source(round));
        }
        for (run, address) in runs.iter_mut().zip(addresses) {
            run.wait_for_answer(address, &round.to_string());
        }
    }
    assert_eq!(shared_objects(&project).len(), 2);
}

/// The command line by which rustc calls the driver, its objects kept.
fn line_of_rustc(project: &Project) -> Vec<String> {
    let record =
        format!("--stario-record={}", project.path("target/stario-link/app.json").display());
    let output = Command::new("cargo")
        .args(["rustc", "--quiet", "--", "-C", "save-temps", "--print", "link-args"])
        .args(["-C", &format!("linker={TOOL}"), "-C", &format!("link-arg={record}")])
        .args(["-C", "link-arg=--stario-local="])
        .current_dir(&project.root)
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let called = said.lines().find(|it| it.contains("--stario-record=")).expect("the line");
    // `LC_ALL="C" PATH="…" VSLANG="1033" "linker" "word" …`
    let words = called.split('"').skip(1).step_by(2).map(ToOwned::to_owned);
    words.skip_while(|word| word != TOOL).skip(1).collect()
}

fn answers(executable: &Path) -> String {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
    let mut server = Command::new(executable);
    let mut server = server.env("PORT", port.to_string()).spawn().expect("it starts");
    let address = ([127, 0, 0, 1], port).into();
    eventually("it answers", || get(address, "/").is_some());
    let answer = get(address, "/").expect("it has answered");
    server.kill().expect("it is ours");
    server.wait().expect("it ends");
    answer
}

#[test]
fn two_drivers_at_once_make_one_shared_object_and_both_link() {
    let project = server(7);
    let words = line_of_rustc(&project);
    let output = words.iter().position(|word| word == "-o").expect("an output") + 1;
    for _ in 0..5 {
        fs::remove_dir_all(project.path("target/stario-link")).expect("the driver made it");
        let start = |name: &str| -> (PathBuf, Child) {
            let mut words = words.clone();
            let executable = project.path("target/debug/deps").join(name);
            words[output] = executable.to_str().expect("UTF-8").to_owned();
            let driver = Command::new(TOOL).args(&words).stderr(Stdio::inherit()).spawn();
            (executable, driver.expect("it starts"))
        };
        for (executable, mut driver) in [start("one"), start("two")] {
            assert!(driver.wait().expect("it ends").success());
            assert_eq!(answers(&executable), "7");
        }
        one_shared_object(&project);
        let record = project.read("target/stario-link/app.json");
        assert!(record.contains("\"Once\""), "{record}");
    }
}

#[test]
fn an_executable_finds_its_shared_object_when_the_project_has_moved() {
    let project = server(7);
    let mut run = project.watch(NONE);
    is_linked_once(&mut run);
    run.serving();
    run.signal("INT");
    run.wait();
    let elsewhere = project.beside("elsewhere");
    fs::rename(&project.root, &elsewhere).expect("nobody is there");
    assert_eq!(answers(&elsewhere.join("target/stario/app")), "7");
}

#[test]
fn what_the_user_has_not_defined_is_the_users_mistake_and_not_remembered() {
    let project = server(1);
    let mut run = project.watch(NONE);
    is_linked_once(&mut run);
    let address = run.serving();
    run.wait_for_answer(address, "1");

    let missing = "unsafe extern \"C\" {\n    safe fn nowhere();\n}\n\nfn main() {\n    nowhere();";
    project.write("src/main.rs", source(2).replace("fn main() {", missing));
    let failed = run.wait_for("diagnostic");
    let text = failed["rendered"].as_str().expect("a text");
    assert!(text.contains("undefined symbol: nowhere"), "{text}");
    run.wait_for("build-failed");

    project.write("src/main.rs", source(3));
    run.wait_for_answer(address, "3");
    assert_eq!(run.log.iter().filter(|it| it["code"] == "linked-plainly").count(), 0);
    one_shared_object(&project);
}

/// What is done to a project, arguments and variables for the tool, and why it is linked in whole then.
type Case<'a> = (&'a dyn Fn(&Project), &'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

#[test]
fn it_is_linked_in_whole_where_that_is_asked_for_or_the_other_is_not_known_to_hold() {
    const ENDS: &str = "fn main() {\n    itoa::Buffer::new().format(1);\n}\n";
    let said = |prepare: &dyn Fn(&Project), arguments: &[&str], env: &[(&str, &str)]| {
        let project = Project::package(ENDS);
        depends_on(&project, "itoa = \"1\"");
        prepare(&project);
        let tool = project.tool(["serve", "-v", "--port", "0"].iter().chain(arguments));
        let told = env.iter().fold(tool, |tool, (name, value)| tool.env(name, value)).finish();
        assert_eq!(told.status.code(), Some(0), "{}", told.stderr);
        let line = told.stderr.lines().find(|line| line.contains(" Note the ")).map(str::trim);
        let line = line.map(|line| line.trim_start_matches("Note ").to_owned());
        (line.unwrap_or_default(), shared_objects(&project).len())
    };
    let nothing = |_: &Project| {};
    let (once, made) = said(&nothing, &[], &[]);
    assert!(once.starts_with("the dependencies are linked once, into `"), "{once}");
    assert_eq!(made, 1);
    assert_eq!(said(&nothing, &["--link", "plain"], &[]), (String::new(), 0));
    assert_eq!(said(&nothing, &[], &[("STARIO_LINK", "plain")]), (String::new(), 0));

    let adds = |text: &'static str| {
        move |project: &Project| {
            let manifest = project.read("Cargo.toml");
            project.write("Cargo.toml", format!("{manifest}\n{text}"));
        }
    };
    let linker = |project: &Project| {
        project.write(".cargo/config.toml", "[target.x86_64-unknown-linux-gnu]\nlinker = \"cc\"\n");
    };
    let script = |project: &Project| {
        let script = "fn main() {\n    println!(\"cargo::rustc-link-arg=-Wl,--no-relax\");\n}\n";
        project.write("build.rs", script);
    };
    let without = |project: &Project| {
        project.edit("Cargo.toml", "itoa = \"1\"", "");
        project.write("src/main.rs", "fn main() {}\n");
    };
    let cases: [Case<'_>; 8] = [
        (&nothing, &["--profile", "dev"], &[], "the profile is `dev`, not ours"),
        (
            &adds("[profile.dev]\npanic = \"abort\"\n"),
            &[],
            &[],
            "`panic` is set for the profile `dev`",
        ),
        (
            &adds("[profile.stario]\ninherits = \"dev\"\n"),
            &[],
            &[],
            "`profile.stario` is the manifest's own",
        ),
        (&linker, &[], &[], "cargo's configuration names a linker"),
        (&nothing, &[], &[("RUSTFLAGS", "-C link-arg=-s")], "rustc is given `-C link-arg=-s`"),
        (
            &nothing,
            &["--config", "build.rustflags=['-Cprefer-dynamic']"],
            &[],
            "rustc is given `-C prefer-dynamic`",
        ),
        (&script, &[], &[], "the linker is given `-Wl,--no-relax`"),
        (&without, &[], &[], "there are no dependencies that it would be worth it for"),
    ];
    for (prepare, arguments, env, because) in cases {
        let wanted = format!("the executable is linked in whole, because {because}");
        assert_eq!(said(prepare, arguments, env), (wanted, 0));
    }
    let (harmless, made) = said(&nothing, &[], &[("RUSTFLAGS", "--cfg tokio_unstable")]);
    assert!(harmless.starts_with("the dependencies are linked once"), "{harmless}");
    assert_eq!(made, 1);
}
