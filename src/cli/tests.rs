use std::ffi::OsString;

use clap::CommandFactory;
use snapbox::{assert_data_eq, file};

use super::{Cargo, Command, parse};

fn typed(line: &str) -> Result<Command, clap::Error> {
    parse(line.split_whitespace().map(OsString::from))
}

#[track_caller]
fn ok(line: &str) -> Command {
    typed(line).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn error(line: &str) -> String {
    typed(line).expect_err("a mistake").to_string()
}

#[test]
fn the_definition_is_sound() {
    Cargo::command().debug_assert();
}

fn help(line: &str) -> String {
    let command = Cargo::command().term_width(100);
    command.try_get_matches_from(line.split(' ')).expect_err("the help").to_string()
}

#[test]
fn help_reads_like_cargos() {
    assert_data_eq!(help("cargo stario --help"), file!["snapshots/stario.txt"]);
    assert_data_eq!(help("cargo stario watch --help"), file!["snapshots/watch.txt"]);
    assert_data_eq!(help("cargo stario serve --help"), file!["snapshots/serve.txt"]);
}

#[test]
fn cargo_and_a_shell_call_it_alike() {
    let as_cargo = ok("cargo-stario stario watch main:bootstrap --port 3000");
    let as_shell = ok("cargo-stario watch main:bootstrap --port 3000");
    assert_eq!(as_cargo, as_shell);
    assert_eq!(as_cargo.shared().entry.as_deref(), Some("main:bootstrap"));
    assert_eq!(as_cargo.shared().server.port.as_deref(), Some("3000".as_ref()));
}

#[test]
fn nothing_typed_shows_the_help() {
    for line in ["", "cargo-stario", "cargo-stario stario"] {
        let error = typed(line).expect_err("help");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("Usage: cargo stario <COMMAND>"), "{error}");
    }
    assert!(error("cargo-stario --version").starts_with("cargo-stario "));
}

#[test]
fn what_follows_two_dashes_is_the_servers() {
    let command = ok("cargo-stario watch -- --port 1 main:other");
    assert_eq!(command.shared().entry, None);
    assert_eq!(command.shared().server.port, None);
    assert_eq!(command.shared().args, ["--port", "1", "main:other"]);
}

#[test]
fn poll_takes_its_interval_behind_an_equals_sign_only() {
    let poll = |line: &str| {
        let command = ok(line);
        (command.watch().expect("watch").poll.clone(), command.shared().entry.clone())
    };
    assert_eq!(poll("cargo-stario watch"), (None, None));
    assert_eq!(poll("cargo-stario watch --poll main"), (Some("true".into()), Some("main".into())));
    assert_eq!(poll("cargo-stario watch --poll=250"), (Some("250".into()), None));
}

#[test]
fn lists_repeat() {
    let command = ok("cargo-stario watch --watch src/ --watch . --watch-ignore a --watch-ignore b");
    let watch = command.watch().expect("watch");
    assert_eq!(watch.watch, ["src/", "."]);
    assert_eq!(watch.watch_ignore, ["a", "b"]);
}

#[test]
fn serve_does_not_watch() {
    assert!(error("cargo-stario serve --watch src").contains("unexpected argument '--watch'"));
    assert_eq!(ok("cargo-stario serve").watch(), None);
}

#[test]
fn cargos_options_are_handed_on() {
    let line = "cargo-stario serve -p web --bin admin -F a,b --features c --no-default-features \
                --profile fast --target t --target-dir d --manifest-path m/Cargo.toml --locked \
                --offline --frozen -j -2 --config k=1 --config f.toml --color never -vv";
    let command = ok(line);
    let cargo = &command.shared().cargo;
    assert_eq!(cargo.package.as_deref(), Some("web"));
    assert_eq!(cargo.bin.as_deref(), Some("admin"));
    assert_eq!(
        join(&cargo.metadata_args()),
        "--features a,b --features c --no-default-features --manifest-path m/Cargo.toml --locked \
         --offline --frozen --config k=1 --config f.toml"
    );
    assert_eq!(
        join(&cargo.build_args(&["--profile".into(), "fast".into()])),
        "--profile fast --features a,b --features c --no-default-features \
         --manifest-path m/Cargo.toml --locked --offline --frozen --config k=1 --config f.toml \
         --jobs -2 --target t --target-dir d --color never --verbose --verbose"
    );
    let command = ok("cargo-stario serve -r -q --all-features");
    assert_eq!(join(&command.shared().cargo.build_args(&[])), "--all-features --quiet");
    assert!(ok("cargo-stario serve").shared().cargo.build_args(&[]).is_empty());
}

#[test]
fn release_is_a_profile() {
    let profile = |line| ok(line).shared().cargo.profile().map(str::to_owned);
    assert_eq!(profile("cargo-stario serve -r").as_deref(), Some("release"));
    assert_eq!(profile("cargo-stario watch --profile fast").as_deref(), Some("fast"));
    assert_eq!(profile("cargo-stario watch"), None);
}

fn join(args: &[OsString]) -> String {
    args.join(" ".as_ref()).into_string().expect("what was typed")
}

#[test]
fn what_excludes_each_other_does() {
    for line in [
        "cargo-stario watch --bin a --example b",
        "cargo-stario watch -r --profile x",
        "cargo-stario watch -q -v",
    ] {
        assert!(error(line).contains("cannot be used with"), "{line}");
    }
}

#[test]
fn numbers_below_zero_reach_the_one_parser() {
    let command = ok("cargo-stario watch --port -1 --grace -0.5 --debounce -3");
    assert_eq!(command.shared().server.port.as_deref(), Some("-1".as_ref()));
    assert_eq!(command.shared().server.grace.as_deref(), Some("-0.5".as_ref()));
}
