//! What somebody at a terminal sees and types, in a real one (tmux).

#![cfg(unix)]

mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{
    PATIENCE, Project, TOOL, address, eventually, get, has, lives, make_fifo, processes_of,
    read_events_of, server_source, wait_until_nothing_is_left,
};

/// What these tests need on the machine.
fn is_possible() -> bool {
    has("tmux") && has("bash")
}

/// A terminal with a shell in the project's folder. Closed at the end, with all that runs in it.
struct Screen {
    socket: PathBuf,
    events_file: PathBuf,
    events: Receiver<Value>,
    root: PathBuf,
}

impl Screen {
    fn open(project: &Project) -> Self {
        let events_file = project.beside("events");
        make_fifo(&events_file);
        let screen = Self {
            socket: project.beside("tmux"),
            events: read_events_of(&events_file),
            events_file,
            root: project.root.clone(),
        };
        let mut folders = vec![Path::new(TOOL).parent().expect("a folder").to_owned()];
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let mut command = screen.tmux();
        command
            .args(["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "60", "-c"])
            .arg(&screen.root)
            .arg("exec env PS1='$ ' bash --norc --noprofile")
            .env("PATH", std::env::join_paths(folders).expect("it was one before"))
            .env("HISTFILE", "/dev/null")
            .env("TERM", "xterm-256color");
        for name in ["TMUX", "NO_COLOR", "CARGO_TERM_COLOR", "CARGO_TARGET_DIR", "CARGO", "PORT"] {
            command.env_remove(name);
        }
        // Under these cargo draws no progress.
        for name in ["CI", "TF_BUILD"] {
            command.env_remove(name);
        }
        assert!(command.status().expect("tmux starts").success());
        screen
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket);
        command
    }

    /// Presses a key, by tmux's name for it.
    fn press(&self, key: &str) {
        assert!(self.tmux().args(["send-keys", key]).status().expect("tmux").success());
    }

    /// Types a line and Enter.
    fn enter(&self, line: &str) {
        assert!(self.tmux().args(["send-keys", "-l", line]).status().expect("tmux").success());
        self.press("Enter");
    }

    /// Starts the tool on a free port; `line` has `TOOL` where its command line belongs.
    fn start(&self, line: &str) {
        let tool = format!("cargo stario watch --port 0 --events {}", self.events_file.display());
        self.enter(&line.replace("TOOL", &tool));
    }

    /// What has been printed, lines that were too long joined again.
    fn text(&self) -> String {
        self.capture(&[])
    }

    /// The same, with the codes for colours.
    fn coloured(&self) -> String {
        self.capture(&["-e"])
    }

    fn capture(&self, how: &[&str]) -> String {
        let mut command = self.tmux();
        command.args(["capture-pane", "-p", "-J", "-S", "-"]).args(how);
        let output = command.output().expect("tmux");
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().map(|line| line.trim_end().to_owned() + "\n").collect::<String>()
    }

    fn wait_for_text(&self, wanted: &str) {
        self.wait_until(wanted, |text| text.contains(wanted));
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(&self.text()) {
            assert!(Instant::now() < end, "never on the screen: {what}\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn wait_for(&self, name: &str) -> Value {
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) if event["event"] == name => return event,
                Ok(_) => {}
                Err(error) => panic!("{name}: {error}\n{}", self.text()),
            }
        }
    }

    /// All that runs here but the terminal and its shell.
    fn processes(&self) -> Vec<(u32, String)> {
        let mut all = processes_of(&self.root);
        all.retain(|(_, line)| !line.starts_with("tmux ") && !line.starts_with("bash "));
        all
    }

    /// The running tool's process id.
    fn tool(&self) -> u32 {
        let all = self.processes();
        let tool = all.iter().find(|(_, line)| line.contains(" watch --port 0"));
        tool.unwrap_or_else(|| panic!("no tool among {all:?}\n{}", self.text())).0
    }

    /// The exit code of the command that has just ended in the foreground.
    fn exit_code(&self, wanted: i32) {
        // Before that, what is typed may still be its own.
        eventually("it is gone", || self.processes().is_empty());
        self.enter("echo \"ended with $?\"");
        self.wait_until(&format!("ended with {wanted}"), |text| {
            text.lines().any(|line| line == format!("ended with {wanted}"))
        });
    }

    /// Closes it, and with it the shell: then nothing may be left.
    fn close(self) {
        let root = self.root.clone();
        drop(self);
        wait_until_nothing_is_left(&root);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It hangs up on what runs in it, and the tool answers that.
        let _ = self.tmux().arg("kill-server").status();
    }
}

/// Whether a process is stopped (`T` in proc(5)).
fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// Every line that has one of these in it, with its colours.
fn lines<'a>(screen: &'a str, words: &[&str]) -> Vec<&'a str> {
    words
        .iter()
        .map(|word| {
            let found = screen.lines().find(|line| line.contains(word));
            found.unwrap_or_else(|| panic!("no {word} in\n{screen}"))
        })
        .collect()
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    if !is_possible() {
        return;
    }
    let words = ["Watching", "Compiling", "error", "could not compile", "Failed"];
    let project = Project::server("one");
    project.edit("src/main.rs", "const ANSWER", "cnst ANSWER");
    let screen = Screen::open(&project);
    screen.start("TOOL");
    screen.wait_for_text("Failed");
    for line in lines(&screen.coloured(), &words) {
        assert!(line.contains("\x1b[1m"), "{line:?} is plain");
    }
    screen.press("C-c");
    screen.wait_for("exit");

    for plain in ["NO_COLOR=1 TOOL", "TOOL --color never", "TOOL 2>&1 | cat"] {
        eventually("the tool is gone", || screen.processes().is_empty());
        screen.enter("clear; tmux -S ../tmux clear-history");
        screen.wait_until("a clear screen", |text| !text.contains("Failed"));
        screen.start(plain);
        screen.wait_for("build-failed");
        screen.wait_for_text("Failed");
        for line in lines(&screen.coloured(), &words) {
            assert!(!line.contains('\x1b'), "{plain}: {line:?}");
        }
        screen.press("C-c");
        screen.wait_for("exit");
    }
    screen.close();
}

#[test]
fn the_compilers_words_and_cargos_progress_do_not_get_into_each_others_way() {
    if !is_possible() {
        return;
    }
    let project = Project::server("one");
    let manifest = project.read("Cargo.toml");
    project.write(
        "Cargo.toml",
        manifest + "\n[dependencies]\nnoisy = { path = \"noisy\" }\nslow = { path = \"slow\" }\n",
    );
    // Two packages whose build scripts wait at a gate, one of them with something to complain of.
    for (name, source) in [("noisy", "fn never_called_by_anybody() {}\n"), ("slow", "")] {
        let manifest = format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n");
        project.write(format!("{name}/Cargo.toml"), manifest);
        project.write(format!("{name}/src/lib.rs"), source);
        let gate = project.beside(&format!("{name}-gate"));
        make_fifo(&gate);
        project.write(
            format!("{name}/build.rs"),
            format!("fn main() {{ std::fs::read(\"{}\").unwrap(); }}\n", gate.display()),
        );
    }
    let screen = Screen::open(&project);
    screen.start("TOOL -j 4");
    screen.wait_for_text("Building [");
    fs::write(project.beside("noisy-gate"), "").expect("the build script waits there");
    let diagnostic = screen.wait_for("diagnostic");
    screen.wait_for_text("never_called_by_anybody");
    screen.wait_for_text("Building [");
    fs::write(project.beside("slow-gate"), "").expect("the build script waits there");
    screen.wait_for("server-listening");
    screen.wait_for_text("Serving");

    let text = screen.text();
    let rendered = diagnostic["rendered"].as_str().expect("text");
    let rendered: String = rendered.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    assert_eq!(text.matches(&rendered).count(), 1, "{rendered}\nis not once in\n{text}");
    assert_eq!(text.matches("never_called_by_anybody").count(), 2, "message and source\n{text}");
    assert!(!text.contains("Building ["), "{text}");
    let clean = ["Watching .", "Serving http", "Running `", "Finished `stario`"];
    for word in clean {
        let line = text.lines().find(|line| line.contains(word)).expect("it is there");
        assert_eq!(
            line.find(word),
            Some(12 - word.split([' ', '`']).next().map_or(0, str::len)),
            "{line}"
        );
    }
    screen.close();
}

#[test]
fn ctrl_c_ends_it_with_130_and_leaves_nothing() {
    if !is_possible() {
        return;
    }
    let project = Project::server("one");
    let screen = Screen::open(&project);
    screen.start("TOOL");
    screen.wait_for("server-listening");
    screen.press("C-c");
    screen.wait_for("exit");
    screen.wait_for_text("Stopping on Ctrl-C");
    screen.exit_code(130);
    assert_eq!(screen.processes(), []);
    screen.close();
}

#[test]
fn a_terminal_that_is_closed_ends_it() {
    if !is_possible() {
        return;
    }
    let project = Project::server("one");
    let screen = Screen::open(&project);
    screen.start("TOOL");
    screen.wait_for("server-listening");
    screen.close();
}

#[test]
fn letters_and_enter_restart_help_and_quit() {
    if !is_possible() {
        return;
    }
    let project = Project::server("one");
    let screen = Screen::open(&project);
    screen.start("TOOL");
    let first = screen.wait_for("server-spawned");
    screen.wait_for("server-listening");
    screen.wait_for_text("Keys r + Enter");

    screen.enter("r");
    let second = screen.wait_for("server-spawned");
    assert_ne!(first["pid"], second["pid"]);
    screen.wait_for("server-listening");

    screen.enter("h");
    screen.wait_until("the help, twice", |text| text.matches("Keys r + Enter").count() == 2);

    screen.enter("nonsense");
    screen.enter("q");
    assert_eq!(screen.wait_for("exit")["code"], 0);
    screen.wait_for_text("Stopping as you asked");
    screen.exit_code(0);
    assert_eq!(screen.processes(), []);
    screen.close();
}

#[test]
fn in_the_background_it_goes_on_and_back_in_front_it_answers_keys() {
    if !is_possible() {
        return;
    }
    let project = Project::server("one");
    let screen = Screen::open(&project);
    screen.start("TOOL &");
    let url = address(&screen.wait_for("server-listening"));
    let tool = screen.tool();
    // What is typed now is for the shell.
    screen.enter("echo typed to the $0");
    screen.wait_for_text("typed to the bash");
    project.edit("src/main.rs", "\"one\"", "\"two\"");
    screen.wait_for("server-listening");
    assert_eq!(get(url, "/").as_deref(), Some("two"));
    assert!(!is_stopped(tool));

    // Stopped and sent on by the user.
    screen.enter("fg");
    // Until it is in front, Ctrl-Z would be the shell's.
    eventually("it is in front", || is_in_front(tool));
    screen.press("C-z");
    screen.wait_for_text("Stopped");
    assert!(is_stopped(tool));
    project.write("src/main.rs", server_source("three"));
    screen.enter("bg");
    screen.wait_for("server-listening");
    assert_eq!(get(url, "/").as_deref(), Some("three"));
    assert!(!is_stopped(tool));

    screen.enter("fg");
    eventually("it is in front", || is_in_front(tool));
    screen.enter("q");
    assert_eq!(screen.wait_for("exit")["code"], 0);
    screen.exit_code(0);
    assert!(!lives(tool));
    screen.close();
}

/// Whether a process's group is the one that the terminal belongs to: `pgrp` and `tpgid` in
/// proc(5).
fn is_in_front(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat.rsplit_once(") ").map_or("", |(_, it)| it).split(' ').collect();
    fields.len() > 5 && fields[2] == fields[5]
}

#[test]
fn a_terminal_that_stops_who_writes_from_the_background_stops_neither_cargo_nor_the_server() {
    if !is_possible() {
        return;
    }
    let project = Project::server("one");
    project.edit("src/main.rs", "fn main() {\n", "fn main() {\n    println!(\"written\");\n");
    let screen = Screen::open(&project);
    screen.enter("stty tostop");
    screen.start("TOOL");
    screen.wait_for("server-listening");
    screen.wait_for_text("written");
    screen.close();
}

#[test]
fn the_server_sees_the_terminal() {
    if !is_possible() {
        return;
    }
    let project = Project::package(
        "use std::io::IsTerminal;
fn main() {
    let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
    println!(\"terminals: {out} {err} {}\", std::io::stdin().is_terminal());
    println!(\"\\x1b[31mred\\x1b[0m\");
}
",
    );
    let screen = Screen::open(&project);
    screen.start("TOOL");
    screen.wait_for_text("terminals: true true false");
    screen.wait_for_text("red");
    let coloured = screen.coloured();
    assert!(coloured.contains("\x1b[31mred"), "{coloured}");
    screen.wait_for_text("Exited");
    screen.press("C-c");
    screen.wait_for("exit");
    screen.exit_code(130);
    screen.close();
}

#[test]
fn in_a_pipe_of_the_shell_it_ends_with_ctrl_c_as_well() {
    if !is_possible() {
        return;
    }
    let project = Project::server("one");
    let screen = Screen::open(&project);
    screen.start("TOOL 2>&1 | tee ../log");
    screen.wait_for("server-listening");
    screen.press("C-c");
    assert_eq!(screen.wait_for("exit")["code"], 130);
    eventually("only the shell is left", || screen.processes().is_empty());
    assert!(File::open(project.beside("log")).is_ok());
    screen.close();
}
