//! An ordinary axum server, from the first build to its graceful end.

#![cfg(unix)]

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::SystemTime;

use support::{Project, get, time_of};

const MAIN: &str = "src/main.rs";
const MESSAGE: &str = "const MESSAGE: &str = \"Hello from axum\";";

/// Takes what this project left there out of the target folder that all runs of this test share:
/// what stays are the dependencies.
struct Cleaned<'a>(&'a Project, &'a Path);

impl Drop for Cleaned<'_> {
    fn drop(&mut self) {
        let _ = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
            .args(["clean", "--quiet", "--package", "axum-app", "--target-dir"])
            .arg(self.1)
            .current_dir(&self.0.root)
            .status();
    }
}

#[test]
fn an_axum_server_from_edit_to_answer() {
    let project = Project::copy("axum-app");
    project.write(".gitignore", "/target\n");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("axum-app");
    let _cleaned = Cleaned(&project, &target);
    let tool = project.tool(["watch", "main:bootstrap", "--port", "0", "--locked"]);
    let mut tool = tool;
    tool.command.arg("--target-dir").arg(&target);
    let mut run = tool.start();
    let address = run.serving();
    assert_eq!(get(address, "/").as_deref(), Some("Hello from axum"));

    // Somebody who asks all the time hears the old answer during the whole build.
    let answers = Arc::new(Mutex::new(Vec::new()));
    let over = Arc::new(AtomicBool::new(false));
    let asking = {
        let (answers, over) = (Arc::clone(&answers), Arc::clone(&over));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let asked = SystemTime::now();
                let answer = get(address, "/");
                answers.lock().expect("no panic").push((asked, SystemTime::now(), answer));
            }
        })
    };
    project.edit(MAIN, MESSAGE, "const MESSAGE: &str = \"two\";");
    let started = time_of(&run.wait_for("build-started"));
    let built = time_of(&run.wait_for("build-succeeded"));
    assert_eq!(run.serving(), address, "the port stays");
    assert_eq!(get(address, "/").as_deref(), Some("two"));
    // Where the new one adopts its socket, the old one ends behind it; elsewhere before it.
    let exited = run.log.iter().find(|event| event["event"] == "server-exited").cloned();
    assert_eq!(exited.is_none(), cfg!(target_os = "linux"), "{}", run.story());
    let exited = exited.unwrap_or_else(|| run.wait_for("server-exited"));
    assert_eq!((&exited["code"], &exited["asked"]), (&0.into(), &true.into()), "gracefully");
    over.store(true, Ordering::Relaxed);
    asking.join().expect("no panic");
    let answers = answers.lock().expect("it is over");
    if cfg!(target_os = "linux") {
        assert!(answers.iter().all(|(.., answer)| answer.is_some()), "{}", run.story());
    }
    let meanwhile = answers.iter().filter(|(asked, heard, _)| started < *asked && *heard < built);
    let meanwhile: Vec<_> = meanwhile.map(|(_, _, answer)| answer.as_deref()).collect();
    assert!(!meanwhile.is_empty());
    let old = meanwhile.iter().all(|answer| *answer == Some("Hello from axum"));
    assert!(old, "{meanwhile:?}\n{}", run.story());

    project.edit(MAIN, "Router::new()", "Router::new(");
    let diagnostic = run.wait_for("diagnostic");
    assert_eq!((&diagnostic["level"], &diagnostic["path"]), (&"error".into(), &MAIN.into()));
    run.wait_for("build-failed");
    run.wait_for_stderr("error: mismatched closing delimiter");
    assert_eq!(get(address, "/").as_deref(), Some("two"));
    project.edit(MAIN, "Router::new(", "Router::new()");
    project.edit(MAIN, "\"two\"", "\"three\"");
    run.wait_for_answer(address, "three");
    let page = get(address, "/page").expect("it serves");
    assert!(page.contains("<h1>three</h1>"), "{page}");

    run.signal("INT");
    assert_eq!(run.wait().code(), Some(130));
    let exited = run.log.iter().rfind(|event| event["event"] == "server-exited");
    let exited = exited.expect("it ended before the tool");
    assert_eq!((&exited["code"], &exited["asked"]), (&0.into(), &true.into()), "gracefully");
    assert_eq!(get(address, "/"), None);
}
