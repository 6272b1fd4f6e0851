//! `cargo stario watch`, from a save to the new answer: real builds, processes, sockets and files.

#![cfg(unix)]

mod support;

use std::time::{Duration, SystemTime};

use support::{Project, get, lives, server_source, time_of};

/// No argument.
const NONE: [&str; 0] = [];

#[test]
fn a_save_brings_the_new_answer_and_the_old_one_is_served_until_then() {
    let project = Project::server("one");
    let mut run = project.watch(NONE);
    let address = run.serving();
    assert_eq!(get(address, "/").as_deref(), Some("one"));

    project.edit("src/main.rs", "\"one\"", "\"two\"");
    run.wait_for("build-spawned");
    let mut answers = Vec::new();
    let built = loop {
        answers.push((get(address, "/"), SystemTime::now()));
        if let Some(event) = run.next_within(Duration::from_millis(1))
            && event["event"] == "build-succeeded"
        {
            break time_of(&event);
        }
    };
    let meanwhile: Vec<_> = answers.iter().filter(|(_, answered)| *answered < built).collect();
    assert!(!meanwhile.is_empty());
    for (answer, _) in meanwhile {
        assert_eq!(answer.as_deref(), Some("one"), "{}", run.story());
    }
    assert_eq!(run.serving(), address, "the port stays");
    assert_eq!(get(address, "/").as_deref(), Some("two"));
}

#[test]
fn a_broken_build_is_shown_once_and_the_old_server_goes_on_until_it_is_mended() {
    let project = Project::server("one");
    let mut run = project.watch(NONE);
    let address = run.serving();

    project.edit("src/main.rs", "const ANSWER", "cnst ANSWER");
    let diagnostic = run.wait_for("diagnostic");
    assert_eq!(diagnostic["level"], "error");
    assert_eq!(diagnostic["path"], "src/main.rs");
    assert_eq!(diagnostic["line"], 3);
    let failed = run.wait_for("build-failed");
    assert_eq!((&failed["code"], &failed["serving"]), (&101.into(), &1.into()));
    assert_eq!(get(address, "/").as_deref(), Some("one"));
    let stderr = run.stderr();
    assert_eq!(stderr.matches("cnst ANSWER").count(), 1, "shown once:\n{stderr}");
    assert!(!stderr.contains('\x1b'), "plain in a pipe:\n{stderr}");

    project.edit("src/main.rs", "cnst ANSWER: &str = \"one\"", "const ANSWER: &str = \"two\"");
    run.wait_for_answer(address, "two");
}

#[test]
fn colours_are_there_when_asked_for() {
    let project = Project::server("one");
    project.edit("src/main.rs", "const ANSWER", "cnst ANSWER");
    let mut run = project.watch(["--color", "always"]);
    let diagnostic = run.wait_for("diagnostic");
    let rendered = diagnostic["rendered"].as_str().expect("text");
    assert!(!rendered.contains('\x1b'), "events are plain");
    run.wait_for("build-failed");
    run.wait_for_stderr("\x1b[1m\x1b[91merror");
}

#[test]
fn a_server_that_ends_by_itself_is_reported_and_the_next_change_starts_it_anew() {
    let project = Project::package("fn main() { std::process::exit(3); }\n");
    let mut run = project.watch(NONE);
    let exited = run.wait_for("server-exited");
    assert_eq!((&exited["code"], &exited["asked"]), (&3.into(), &false.into()));
    assert_eq!(exited["waiting"], true);
    run.wait_for_stderr("exit code 3; waiting for a change");

    project.write("src/main.rs", server_source("alive"));
    let address = run.serving();
    assert_eq!(get(address, "/").as_deref(), Some("alive"));
}

#[test]
fn a_crash_names_the_signal() {
    let project = Project::package("fn main() { std::process::abort(); }\n");
    let mut run = project.watch(NONE);
    let exited = run.wait_for("server-exited");
    assert_eq!((&exited["code"], &exited["signal"]), (&serde_json::Value::Null, &6.into()));
    run.wait_for_stderr("signal 6 (SIGABRT)");
}

#[test]
fn a_newer_change_cancels_the_build_with_every_rustc_of_it() {
    let project = Project::server("one");
    // Slow enough to be caught: a build script that waits until somebody lets it go.
    project.write(
        "build.rs",
        r#"fn main() {
    println!("cargo::rerun-if-changed=src");
    let gate = std::path::Path::new("gate");
    while !gate.exists() {
        std::thread::yield_now();
    }
}
"#,
    );
    project.write("gate", "");
    project.write(".gitignore", "/target\n/gate\n");
    let mut run = project.watch(NONE);
    let address = run.serving();
    std::fs::remove_file(project.path("gate")).expect("it is there");

    project.edit("src/main.rs", "\"one\"", "\"two\"");
    let cargo = run.wait_for("build-spawned")["pid"].as_u64().expect("a pid");
    let cargo = u32::try_from(cargo).expect("a pid");
    project.edit("src/main.rs", "\"two\"", "\"three\"");
    run.wait_for("build-cancelled");
    assert!(!lives(cargo), "cargo is gone when it is said that it is");
    project.write("gate", "");
    run.wait_for_answer(address, "three");
    // The answer may be here before the news of it.
    run.rest();
    assert_eq!(run.count("server-spawned"), 2, "nothing was started in between");
}

#[test]
fn an_unchanged_executable_leaves_the_server_and_a_template_restarts_it() {
    let project = Project::server("one");
    project.write("templates/page.html", "<p>one</p>");
    let mut run = project.watch(NONE);
    run.serving();

    project.edit("src/main.rs", "fn main", "\n\n// A comment moves no code.\nfn main");
    // Line numbers are in the executable, so this is another one; back again it is the first.
    run.serving();
    let source = project.read("src/main.rs");
    project.write("src/main.rs", source.clone() + "// The last line moves nothing at all.\n");
    let unchanged = run.wait_for("unchanged");
    assert_eq!((&unchanged["generation"], &unchanged["serving"]), (&3.into(), &2.into()));

    project.write("templates/page.html", "<p>two</p>");
    run.serving();
    assert_eq!(run.count("server-spawned"), 3);
}

#[test]
fn a_manifest_that_changes_is_read_again() {
    let project = Project::server("one");
    let mut run = project.watch(NONE);
    let address = run.serving();

    // A path package outside, which is then watched as well.
    let outside = project.root.parent().expect("a folder around it").join("words");
    std::fs::create_dir_all(outside.join("src")).expect("a folder");
    std::fs::write(
        outside.join("Cargo.toml"),
        "[package]\nname = \"words\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    )
    .expect("a file");
    std::fs::write(outside.join("src/lib.rs"), "pub const WORD: &str = \"outside\";\n")
        .expect("a file");
    let manifest = project.read("Cargo.toml");
    project.write("Cargo.toml", manifest + "\n[dependencies]\nwords = { path = \"../words\" }\n");
    run.wait_for("resolved");
    run.wait_for("build-succeeded");

    project.edit("src/main.rs", "const ANSWER: &str = \"one\"", "const ANSWER: &str = words::WORD");
    run.wait_for_answer(address, "outside");
    std::fs::write(outside.join("src/lib.rs"), "pub const WORD: &str = \"edited\";\n")
        .expect("a file");
    run.wait_for_answer(address, "edited");
}

#[test]
fn what_the_server_is_told_takes_effect_though_the_executable_is_the_same() {
    let project = Project::server("one");
    project.edit("src/main.rs", "{ANSWER}", "{}");
    project.edit("src/main.rs", "ANSWER.len()", "answer.len(), answer");
    project.edit(
        "src/main.rs",
        "fn main() {",
        "fn first() {}\nfn second() {}\n\nfn main() {\n    let _ = (ANSWER, first as fn(), second as fn());\n    \
         let answer = [\"STARIO_BOOTSTRAP\", \"WORD\"].map(|it| std::env::var(it).unwrap_or_default()).join(\" \");",
    );
    let manifest = project.read("Cargo.toml");
    let with = |entry| format!("{manifest}\n[package.metadata.stario]\nentry = \"{entry}\"\n");
    project.write("Cargo.toml", with("main:first"));
    let mut run = project.watch(NONE);
    let address = run.serving();
    assert_eq!(get(address, "/").as_deref(), Some("first "));
    project.write("Cargo.toml", with("main:second"));
    run.wait_for_answer(address, "second ");
    project.write(".cargo/config.toml", "[env]\nWORD = \"word\"\n");
    run.wait_for_answer(address, "second word");
}

#[test]
fn a_broken_manifest_is_said_and_leaves_the_server() {
    let project = Project::server("one");
    let mut run = project.watch(NONE);
    let address = run.serving();
    let manifest = project.read("Cargo.toml");
    project.write("Cargo.toml", "[package\n");
    let failed = run.wait_for("build-failed");
    assert_eq!(failed["serving"], 1);
    assert!(failed["message"].as_str().is_some_and(|it| it.contains("Cargo.toml")), "{failed}");
    assert_eq!(get(address, "/").as_deref(), Some("one"));

    project.write("Cargo.toml", manifest);
    project.edit("src/main.rs", "\"one\"", "\"two\"");
    run.wait_for_answer(address, "two");
}

#[test]
fn somebody_who_saves_all_the_time_still_gets_builds() {
    let project = Project::server("0");
    let mut run = project.watch(NONE);
    let address = run.serving();
    let mut saves = 0;
    while run.count("server-listening") < 4 {
        saves += 1;
        let old = project.read("src/main.rs");
        let line = old.lines().find(|line| line.starts_with("const ANSWER")).expect("it is there");
        let new = format!("const ANSWER: &str = \"{saves}\";");
        project.write("src/main.rs", old.replace(line, &new));
        run.settle(Duration::from_millis(40));
        assert!(saves < 2_000, "{}", run.story());
    }
    run.wait_for_answer(address, &saves.to_string());
}

#[test]
fn a_build_script_that_writes_a_watched_file_does_not_loop() {
    let project = Project::server("one");
    project.write(
        "build.rs",
        r#"fn main() {
    let now = std::time::SystemTime::now();
    std::fs::write("src/generated.rs", format!("// {now:?}\n")).unwrap();
}
"#,
    );
    let mut run = project.watch(NONE);
    let address = run.serving();
    let ended = run.wait_for("loop-ended");
    let path = project.path("src/generated.rs");
    assert_eq!(ended["paths"], serde_json::json!([path.to_str()]));
    run.wait_for_stderr("--watch-ignore 'src/generated.rs'");
    run.settle(Duration::from_secs(3));
    let builds = run.count("build-started");
    assert!(builds < 40, "{builds} builds");

    project.edit("src/main.rs", "\"one\"", "\"two\"");
    run.wait_for_answer(address, "two");
    run.settle(Duration::from_secs(3));
    assert_eq!(run.count("build-started"), builds + 1, "{}", run.story());
}

#[test]
fn a_server_that_writes_a_watched_file_at_its_start_does_not_loop() {
    let project = Project::server("one");
    project.edit(
        "src/main.rs",
        "fn main() {\n",
        "fn main() {\n    let now = std::time::SystemTime::now();\n    \
         std::fs::write(\"state.json\", format!(\"{now:?}\")).unwrap();\n",
    );
    let mut run = project.watch(NONE);
    let ended = run.wait_for("loop-ended");
    let path = project.path("state.json");
    assert_eq!(ended["paths"], serde_json::json!([path.to_str()]));
    run.settle(Duration::from_secs(3));
    assert!(run.count("server-spawned") < 40, "{}", run.story());
}

#[test]
fn who_holds_the_port_that_a_server_wanted_is_named() {
    let project = Project::server("one");
    // Else the old server would keep it until the next one serves.
    let mut run = project.watch(["--listen", "direct"]);
    let address = run.serving();
    // The next one cannot bind: it is in the way of itself.
    let listening = "TcpListener::bind(format!(\"127.0.0.1:{port}\"))";
    project.edit(
        "src/main.rs",
        "let listener =",
        &format!("let _first = std::net::{listening};\n    let listener ="),
    );
    run.wait_until("an exit by itself", |event| {
        event["event"] == "server-exited" && event["asked"] == false
    });
    // Now somebody else is.
    let other = std::net::TcpListener::bind(address).expect("nobody is there now");
    project.edit("src/main.rs", "fn main", "// Once more.\nfn main");
    let notice = run.wait_for("notice");
    assert_eq!(notice["code"], "port-held");
    let text = notice["text"].as_str().expect("text");
    assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
    drop(other);
}

#[test]
fn a_template_that_is_saved_on_each_answer_is_always_served() {
    let project = Project::server("one");
    project.edit(
        "src/main.rs",
        "fn main() {\n",
        "fn main() {\n    let page = std::fs::read_to_string(\"page.html\").unwrap();\n",
    );
    project.edit("src/main.rs", "{ANSWER}", "{page}");
    project.edit("src/main.rs", "ANSWER.len()", "page.len()");
    project.edit("src/main.rs", "const ANSWER", "const _ANSWER");
    project.write("page.html", "0");
    let mut run = project.watch(NONE);
    let address = run.serving();
    for number in 1..=12 {
        let page = number.to_string();
        project.write("page.html", &page);
        run.wait_for_answer(address, &page);
    }
    assert_eq!(run.count("loop-ended"), 0, "{}", run.story());
}

/// A crate of the name that says that the server takes sockets, and a server that does not.
fn server_that_could_take_a_socket() -> Project {
    let project = Project::server("one");
    project.write(
        "listenfd/Cargo.toml",
        "[package]\nname = \"listenfd\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
    );
    project.write("listenfd/src/lib.rs", "");
    let manifest = project.read("Cargo.toml");
    project.write("Cargo.toml", manifest + "[dependencies]\nlistenfd = { path = \"listenfd\" }\n");
    project
}

#[test]
fn a_default_port_that_is_taken_hinders_nobody_who_wants_another() {
    let project = server_that_could_take_a_socket();
    project.edit("src/main.rs", "127.0.0.1:{port}", "127.0.0.1:0");
    // If it is taken already, all the better.
    let _holder = std::net::TcpListener::bind("127.0.0.1:8000");
    let mut run = project.tool(["watch"]).start();
    let notice = run.wait_for("notice");
    assert_eq!(notice["code"], "not-offered", "{}", run.story());
    let address = run.serving();
    assert_eq!(get(address, "/").as_deref(), Some("one"));
}

#[test]
fn a_server_that_is_slow_to_bind_for_itself_gets_its_address() {
    let project = server_that_could_take_a_socket();
    project.edit(
        "src/main.rs",
        "fn main() {\n",
        "fn main() {\n    std::thread::sleep(std::time::Duration::from_secs(2));\n",
    );
    let mut run = project.watch(NONE);
    // Until it binds, the listener that it does not take looks like its own.
    let mut address = run.serving();
    run.wait_for("listener-given-up");
    let adopts = cfg!(target_os = "linux");
    if !adopts {
        // It fails, since that listener holds the address; then it gets it.
        address = run.serving();
    }
    run.wait_for_answer(address, "one");
    let servers = if adopts { 1 } else { 2 };
    assert_eq!(run.count("server-spawned"), servers, "{}", run.story());
}
