//! The build room, with real cargo.

#![cfg(unix)]

mod support;

use std::fs::File;
use std::time::{Duration, SystemTime};

use cargo_stario::event::{BuildEvent, BuildOutcome, Exit};
use support::{Fixtures, Workbench, command};

#[tokio::test]
async fn a_build_ends_with_an_executable_and_the_next_one_finds_it_fresh() {
    let fixtures = Fixtures::copy(&["workspace", "outside"]);
    let mut workbench = Workbench::new();
    let (_, command) = command(&fixtures.path("workspace"), "app", "app");

    let built = workbench.build(&command, &[]).await;
    assert!(matches!(built.events[..], [BuildEvent::Spawned { .. }]), "{built:?}");
    let first = built.artifact();
    assert_eq!(first.executable, fixtures.path("workspace/target/debug/app"));
    assert!(!first.fresh);

    let second = workbench.build(&command, &[]).await.artifact();
    assert!(second.fresh);
    assert_eq!(second.identity, first.identity);
    assert_eq!(second.stamp, first.stamp);
}

#[tokio::test]
async fn a_broken_build_says_each_thing_once_and_in_colour() {
    let fixtures = Fixtures::copy(&["broken"]);
    let mut workbench = Workbench::new();
    let (_, command) = command(&fixtures.path("broken"), "broken", "broken");

    let built = workbench.build(&command, &[]).await;
    assert_eq!(built.outcome, BuildOutcome::Failed(Exit::Code(101)));
    let diagnostics: Vec<_> = built
        .events
        .iter()
        .filter_map(|event| match event {
            BuildEvent::Diagnostic(diagnostic) if diagnostic.level == "error" => Some(diagnostic),
            _ => None,
        })
        .collect();
    let [error] = diagnostics[..] else { panic!("{diagnostics:?}") };
    assert_eq!(error.message, "mismatched types");
    assert_eq!(error.place, Some(("src/main.rs".to_owned(), 4, 23)));
    assert!(error.rendered.contains("\u{1b}["), "{}", error.rendered);
}

#[tokio::test]
async fn without_cargo_the_error_names_it() {
    let fixtures = Fixtures::copy(&["broken"]);
    let mut workbench = Workbench::new();
    let (_, mut command) = command(&fixtures.path("broken"), "broken", "broken");
    command.cargo = "/nowhere/cargo".into();

    let built = workbench.build(&command, &[]).await;
    let BuildOutcome::Broken { message, help } = built.outcome else { panic!("{built:?}") };
    assert!(message.contains("/nowhere/cargo"), "{message}");
    assert!(!help.is_empty());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_cancelled_build_leaves_no_process_behind() {
    let fixtures = Fixtures::package(&[
        (
            "Cargo.toml",
            "[package]\nname = \"slow\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
        ),
        ("src/main.rs", "fn main() {}"),
        (
            "build.rs",
            "fn main() { std::process::Command::new(\"sleep\").arg(\"1000\").status().unwrap(); }",
        ),
    ]);
    let mut workbench = Workbench::new();
    let (_, command) = command(&fixtures.path(""), "slow", "slow");

    let handle = workbench.start(&command, &[]);
    let cargo_stario::event::Event::Build(_, BuildEvent::Spawned { pid }) = workbench.next().await
    else {
        panic!()
    };
    support::eventually(|| support::members(pid).iter().any(|name| name == "sleep")).await;
    handle.cancel();
    assert_eq!(workbench.finished().await.outcome, BuildOutcome::Cancelled);
    assert_eq!(support::members(pid), [""; 0]);
    handle.cancel();
    drop(handle);
    assert!(workbench.events.try_recv().is_err(), "nothing more is said");
}

#[tokio::test]
async fn a_file_with_an_older_stamp_is_built_all_the_same_and_only_once() {
    let fixtures = Fixtures::copy(&["workspace", "outside"]);
    let mut workbench = Workbench::new();
    let (_, command) = command(&fixtures.path("workspace"), "app", "app");
    let first = workbench.build(&command, &[]).await.artifact();

    for (path, from, to) in
        [("workspace/core/src/lib.rs", "one", "two"), ("outside/src/lib.rs", "uno", "due")]
    {
        fixtures.edit(path, from, to);
        let path = fixtures.path(path);
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        File::open(&path).unwrap().set_modified(long_ago).unwrap();
        let built = workbench.build(&command, std::slice::from_ref(&path)).await;
        assert!(built.was_forced(), "{built:?}");
        assert_ne!(built.artifact().identity, first.identity);

        File::open(&path).unwrap().set_modified(long_ago).unwrap();
        let built = workbench.build(&command, &[path]).await;
        assert!(!built.was_forced(), "{built:?}");
    }
}

#[tokio::test]
async fn an_ordinary_edit_is_not_forced() {
    let fixtures = Fixtures::copy(&["workspace", "outside"]);
    let mut workbench = Workbench::new();
    let (_, command) = command(&fixtures.path("workspace"), "app", "app");
    let first = workbench.build(&command, &[]).await.artifact();

    fixtures.edit("workspace/app/src/main.rs", "{} {}", "{} and {}");
    let built = workbench.build(&command, &[fixtures.path("workspace/app/src/main.rs")]).await;
    assert!(!built.was_forced(), "{built:?}");
    let second = built.artifact();
    assert!(!second.fresh);
    assert_ne!(second.identity, first.identity);
}

#[tokio::test]
async fn what_a_failed_build_did_compile_is_not_forced_afterwards() {
    let fixtures = Fixtures::copy(&["workspace", "outside"]);
    let mut workbench = Workbench::new();
    let (_, command) = command(&fixtures.path("workspace"), "app", "app");
    workbench.build(&command, &[]).await.artifact();

    let paths =
        [fixtures.path("workspace/core/src/lib.rs"), fixtures.path("workspace/app/src/main.rs")];
    fixtures.edit("workspace/core/src/lib.rs", "one", "two");
    fixtures.edit("workspace/app/src/main.rs", "fn main() {", "fn main() { nonsense;");
    let built = workbench.build(&command, &paths).await;
    assert_eq!(built.outcome, BuildOutcome::Failed(Exit::Code(101)));

    fixtures.edit("workspace/app/src/main.rs", "nonsense;", "");
    let built = workbench.build(&command, &paths).await;
    assert!(!built.was_forced(), "{built:?}");
    built.artifact();
}
