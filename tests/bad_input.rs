//! Mistakes, and what is said of them: each with exit code 2, one message, a next step, and nothing
//! started. The snapshots read like a terminal, so that all messages can be judged side by side.

#![cfg(unix)]

mod support;

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use snapbox::{assert_data_eq, str};
use support::{Project, TOOL, Tool, get, has, signal, wait_until_nothing_is_left};

// ---- what is run ----

/// Runs each line as a shell would, sees to it that it is refused before anything is started, and
/// returns what a terminal would show. `''` stands for an empty argument.
fn refused(project: &Project, lines: &[&str]) -> String {
    lines.iter().map(|line| refused_line(project, line)).collect()
}

fn refused_line(project: &Project, line: &str) -> String {
    let (variables, arguments) = line.split_once("cargo stario").expect("it calls the tool");
    let arguments = arguments.split_whitespace().map(|word| word.trim_matches('\''));
    let mut tool = project.tool(arguments);
    for variable in variables.split_whitespace() {
        let (name, value) = variable.split_once('=').expect("NAME=VALUE");
        tool = tool.env(name, value);
    }
    let events = project.root.with_file_name("events");
    let told = tool.env("STARIO_EVENTS", &events).finish();
    assert_eq!(told.status.code(), Some(2), "{line}\n{}", told.stderr);
    assert_eq!(told.stdout, "", "{line}");
    assert!(told.stderr.contains("error: "), "{line}\n{}", told.stderr);
    assert!(!told.stderr.lines().any(|it| it.ends_with(' ')), "{line}: blanks at a line's end");
    assert!(!project.path("target").exists(), "{line} has made a target folder");
    let events = fs::read_to_string(events).unwrap_or_default();
    assert!(!events.contains("build-started"), "{line}: {events}");
    if let Some(last) = events.lines().last() {
        let last: serde_json::Value = serde_json::from_str(last).expect("an object");
        assert_eq!((&last["event"], &last["code"]), (&"exit".into(), &2.into()), "{line}");
    }
    wait_until_nothing_is_left(&project.root);
    let root = project.root.to_str().expect("a folder of ours");
    let me = std::process::id().to_string();
    // Another test's cargo may hold the lock of the package cache, which cargo says, and the tool where
    // that takes long.
    let waits =
        |line: &&str| line.contains(" Blocking waiting ") || line.contains(" takes its time: ");
    let lines = told.stderr.split_inclusive('\n').filter(|line| !waits(line));
    let stderr = lines.collect::<String>().replace(root, "[ROOT]").replace(&me, "[PID]");
    format!("$ {line}\n{stderr}\n")
}

/// A workspace of two servers, a library with an example, and a package with two binaries.
fn workspace() -> Project {
    let project = Project::empty();
    project.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"admin\", \"shop\", \"tools\", \"words\"]\n",
    );
    for name in ["admin", "shop", "tools", "words"] {
        project.write(format!("{name}/Cargo.toml"), manifest(name));
    }
    project.write("admin/src/main.rs", "fn main() {}\n");
    project.write("admin/src/bin/import.rs", "fn main() {}\n");
    project.write("shop/src/main.rs", "mod routes;\n\nfn bootstrap() {}\n\nfn main() {}\n");
    project.write("shop/src/routes.rs", "pub fn list() {}\n");
    project.write("shop/src/bin/import.rs", "fn main() {}\n");
    project.write("tools/src/bin/one.rs", "fn main() {}\n");
    project.write("tools/src/bin/two.rs", "fn main() {}\n");
    project.write("words/src/lib.rs", "\n");
    project.write("words/examples/demo.rs", "fn main() {}\n");
    project
}

fn manifest(name: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n")
}

/// The package `app` with this behind its manifest.
fn package(more: &str) -> Project {
    let project = Project::package("fn bootstrap() {}\n\nfn main() {}\n");
    project.write("Cargo.toml", manifest("app") + "\n[workspace]\n\n" + more);
    project
}

// ---- the entry ----

#[test]
fn an_entry_that_names_nothing() {
    let project = workspace();
    let lines = [
        "cargo stario watch shpo:bootstrap",
        "cargo stario serve warehouse",
        "cargo stario watch shop:bootstrp",
        "cargo stario serve shop:start",
        "cargo stario watch shop::route:list",
        "cargo stario watch shop::routes:lst",
        "cargo stario watch shop::bootstrap",
    ];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch shpo:bootstrap
error: nothing to run is called `shpo`; there is
    admin   binary of package admin   admin/src/main.rs
    import  binary of package admin   admin/src/bin/import.rs
    import  binary of package shop    shop/src/bin/import.rs
    shop    binary of package shop    shop/src/main.rs
    one     binary of package tools   tools/src/bin/one.rs
    two     binary of package tools   tools/src/bin/two.rs
    demo    example of package words  words/examples/demo.rs
  help: a similar name exists: `shop`
  help: `main` is the package's default binary; modules inside follow behind `::`

$ cargo stario serve warehouse
error: nothing to run is called `warehouse`; there is
    admin   binary of package admin   admin/src/main.rs
    import  binary of package admin   admin/src/bin/import.rs
    import  binary of package shop    shop/src/bin/import.rs
    shop    binary of package shop    shop/src/main.rs
    one     binary of package tools   tools/src/bin/one.rs
    two     binary of package tools   tools/src/bin/two.rs
    demo    example of package words  words/examples/demo.rs
  help: `main` is the package's default binary; modules inside follow behind `::`

$ cargo stario watch shop:bootstrp
error: no function `bootstrp` in `shop` (shop/src/main.rs)
  help: a function with a similar name exists: `bootstrap`
  help: the functions there: `bootstrap` and `main`

$ cargo stario serve shop:start
error: no function `start` in `shop` (shop/src/main.rs)
  help: the functions there: `bootstrap` and `main`

$ cargo stario watch shop::route:list
error: no module `route` in `shop` (shop/src/main.rs)
  help: a module with a similar name exists: `routes`
  help: the modules there: `routes`

$ cargo stario watch shop::routes:lst
error: no function `lst` in `shop::routes` (shop/src/routes.rs)
  help: a function with a similar name exists: `list`
  help: the functions there: `list`

$ cargo stario watch shop::bootstrap
error: no module `bootstrap` in `shop` (shop/src/main.rs)
  help: it is a function there; a function is named `shop:bootstrap`


"#]]
    );
}

#[test]
fn an_entry_that_names_several() {
    let project = workspace();
    let lines = [
        "cargo stario watch import:main",
        "cargo stario watch",
        "cargo stario serve tools",
        "cargo stario watch shop --bin import",
    ];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch import:main
error: several targets are called `import`
    import  binary of package admin  admin/src/bin/import.rs
    import  binary of package shop   shop/src/bin/import.rs
  help: choose with `-p admin` or `-p shop`

$ cargo stario watch
error: several packages have a default binary
    admin  binary of package admin  admin/src/main.rs
    shop   binary of package shop   shop/src/main.rs
    one    binary of package tools  tools/src/bin/one.rs
    two    binary of package tools  tools/src/bin/two.rs
  help: choose with `-p admin --bin admin`, `-p shop --bin shop`, `-p tools --bin one` or `-p tools --bin two`

$ cargo stario serve tools
error: package `tools` has several binaries, and none is the default
    one  binary of package tools  tools/src/bin/one.rs
    two  binary of package tools  tools/src/bin/two.rs
  help: name one in place of `main`, as in `one:bootstrap` or `--bin one`
  help: or make one the default with `default-run` in tools/Cargo.toml

$ cargo stario watch shop --bin import
error: several packages have the binary `import`
    import  binary of package admin  admin/src/bin/import.rs
    import  binary of package shop   shop/src/bin/import.rs
  help: choose with `-p admin` or `-p shop`


"#]]
    );
}

#[test]
fn nothing_to_run() {
    let project = workspace();
    assert_data_eq!(
        refused(&project, &["cargo stario watch words"]),
        str![[r#"
$ cargo stario watch words
error: package `words` has no binary, nothing to run (words/Cargo.toml)
  help: examples can be run by their names: `demo`
  help: choose a package that has one with `-p`: `admin`, `shop` or `tools`


"#]]
    );

    let project = package("");
    fs::rename(project.path("src/main.rs"), project.path("src/lib.rs")).unwrap();
    let lines = ["cargo stario watch", "cargo stario serve main:bootstrap"];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch
error: package `app` has only a library, nothing to run (Cargo.toml)
  help: add a `src/main.rs` that runs the server

$ cargo stario serve main:bootstrap
error: package `app` has only a library, nothing to run (Cargo.toml)
  help: add a `src/main.rs` that runs the server


"#]]
    );
    fs::remove_file(project.path("src/lib.rs")).unwrap();
    assert_data_eq!(
        refused(&project, &["cargo stario watch"]),
        str![[r#"
$ cargo stario watch
error: failed to parse manifest at `[ROOT]/Cargo.toml`
...

"#]]
    );
}

#[test]
fn an_entry_that_is_malformed() {
    let project = package("");
    let lines = [
        "cargo stario watch main:",
        "cargo stario watch :bootstrap",
        "cargo stario serve a:b:c",
        "cargo stario watch ''",
        "cargo stario watch main::",
        "cargo stario watch main:boot-strap",
        "cargo stario watch src/main.rs:bootstrap",
        "cargo stario watch main.py:bootstrap",
    ];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch main:
error: malformed entry `main:`: no function behind `:`
  help: an entry has the form MODULE[:FUNCTION], as in `main:bootstrap` or `main::admin:bootstrap`

$ cargo stario watch :bootstrap
error: malformed entry `:bootstrap`: no module in front of `:`
  help: an entry has the form MODULE[:FUNCTION], as in `main:bootstrap` or `main::admin:bootstrap`

$ cargo stario serve a:b:c
error: malformed entry `a:b:c`: it has more than one `:FUNCTION`
  help: an entry has the form MODULE[:FUNCTION], as in `main:bootstrap` or `main::admin:bootstrap`

$ cargo stario watch ''
error: malformed entry ``: it is empty
  help: an entry has the form MODULE[:FUNCTION], as in `main:bootstrap` or `main::admin:bootstrap`

$ cargo stario watch main::
error: malformed entry `main::`: a module's name is missing beside `::`
  help: an entry has the form MODULE[:FUNCTION], as in `main:bootstrap` or `main::admin:bootstrap`

$ cargo stario watch main:boot-strap
error: malformed entry `main:boot-strap`: `boot-strap` is not an identifier
  help: an entry has the form MODULE[:FUNCTION], as in `main:bootstrap` or `main::admin:bootstrap`

$ cargo stario watch src/main.rs:bootstrap
error: malformed entry `src/main.rs:bootstrap`: it names a file, not a module
  help: did you mean `main:bootstrap`?
  help: an entry has the form MODULE[:FUNCTION], as in `main:bootstrap` or `main::admin:bootstrap`

$ cargo stario watch main.py:bootstrap
error: malformed entry `main.py:bootstrap`: it names a file, not a module
  help: did you mean `main:bootstrap`?
  help: an entry has the form MODULE[:FUNCTION], as in `main:bootstrap` or `main::admin:bootstrap`


"#]]
    );
}

#[test]
fn an_entry_and_cargos_options_that_disagree() {
    let project = workspace();
    let lines = [
        "cargo stario watch admin -p shop",
        "cargo stario watch admin --bin shop",
        "cargo stario watch -p shpo",
        "cargo stario watch --bin nothing",
        "cargo stario watch --bin shop --example demo",
        "cargo stario watch shop -r --profile dev",
    ];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch admin -p shop
error: nothing to run is called `admin` in package `shop`; there is
    import  binary of package shop  shop/src/bin/import.rs
    shop    binary of package shop  shop/src/main.rs
  help: package `admin` has it: choose that with `-p admin`, or leave out `-p`

$ cargo stario watch admin --bin shop
error: `admin` names `admin`, but `--bin` names `shop`
  help: leave out `--bin`, or write `main`

$ cargo stario watch -p shpo
error: no package `shpo` in the workspace [ROOT] (`-p`)
  help: a package with a similar name exists: `shop`

$ cargo stario watch --bin nothing
error: no binary is called `nothing` (`--bin`)
  help: there is `admin`, `import`, `one`, `shop` and `two`

$ cargo stario watch --bin shop --example demo
error: the argument '--bin <NAME>' cannot be used with '--example <NAME>'

Usage: cargo stario watch --bin <NAME> [ENTRY] [-- <ARGS>...]

For more information, try '--help'.

$ cargo stario watch shop -r --profile dev
error: the argument '--release' cannot be used with '--profile <PROFILE-NAME>'

Usage: cargo stario watch --release <ENTRY> [-- <ARGS>...]

For more information, try '--help'.


"#]]
    );
}

#[test]
fn features_that_are_missing() {
    let project = package(
        "[features]\nweb = []\ntls = []\n\n\
         [[bin]]\nname = \"app\"\npath = \"src/main.rs\"\nrequired-features = [\"web\", \"tls\"]\n",
    );
    let lines = ["cargo stario watch", "cargo stario serve -F web", "cargo stario watch -F wbe"];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch
error: binary `app` of package `app` requires the features `web` and `tls`
  help: enable them with `--features web,tls`

$ cargo stario serve -F web
error: binary `app` of package `app` requires the feature `tls`
  help: enable it with `--features tls`

$ cargo stario watch -F wbe
error: [..] feature[..]wbe[..]
...

"#]]
    );
}

// ---- options ----

#[test]
fn a_swap_that_cannot_be_read() {
    let project = package("");
    let lines = [
        "cargo stario watch --swap overlapping",
        "cargo stario watch --swap ''",
        "STARIO_SWAP=stopfirst cargo stario watch",
        "cargo stario watch --ready-timeout 0",
        "cargo stario watch --ready-timeout -1",
        "cargo stario watch --ready-timeout 30s",
        "STARIO_READY_TIMEOUT=soon cargo stario watch",
        "cargo stario watch --swop overlap",
        "cargo stario serve --swap overlap",
        "cargo stario serve --ready-timeout 1",
    ];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch --swap overlapping
error: invalid value `overlapping` for `--swap`: expected `auto`, `overlap` or `stop-first`

$ cargo stario watch --swap ''
error: invalid value `` for `--swap`: expected `auto`, `overlap` or `stop-first`

$ STARIO_SWAP=stopfirst cargo stario watch
error: invalid value `stopfirst` for `STARIO_SWAP`: expected `auto`, `overlap` or `stop-first`

$ cargo stario watch --ready-timeout 0
error: invalid value `0` for `--ready-timeout`: expected a number of seconds above 0, up to 86400

$ cargo stario watch --ready-timeout -1
error: invalid value `-1` for `--ready-timeout`: expected a number of seconds above 0, up to 86400

$ cargo stario watch --ready-timeout 30s
error: invalid value `30s` for `--ready-timeout`: expected a number of seconds above 0, up to 86400

$ STARIO_READY_TIMEOUT=soon cargo stario watch
error: invalid value `soon` for `STARIO_READY_TIMEOUT`: expected a number of seconds above 0, up to 86400

$ cargo stario watch --swop overlap
error: unexpected argument '--swop' found

  tip: a similar argument exists: '--swap'
  tip: to pass '--swop' as a value, use '-- --swop'

Usage: cargo stario watch --swap <auto|overlap|stop-first> [ENTRY] [-- <ARGS>...]

For more information, try '--help'.

$ cargo stario serve --swap overlap
error: unexpected argument '--swap' found

  tip: to pass '--swap' as a value, use '-- --swap'

Usage: cargo stario serve [OPTIONS] [ENTRY] [-- <ARGS>...]

For more information, try '--help'.

$ cargo stario serve --ready-timeout 1
error: unexpected argument '--ready-timeout' found

  tip: to pass '--ready-timeout' as a value, use '-- --ready-timeout'

Usage: cargo stario serve [OPTIONS] [ENTRY] [-- <ARGS>...]

For more information, try '--help'.


"#]]
    );
    let metadata = [
        "swap = true",
        "swap = \"both\"",
        "swop = \"overlap\"",
        "ready-timeout = \"30\"",
        "ready-timeout = 0",
        "ready_timeout = 30",
    ];
    let all: String = metadata
        .map(|line| {
            let project = package(&format!("[package.metadata.stario]\n{line}\n"));
            format!("# {line}\n{}", refused_line(&project, "cargo stario watch"))
        })
        .concat();
    assert_data_eq!(
        all,
        str![[r##"
# swap = true
$ cargo stario watch
error: `package.metadata.stario.swap` in Cargo.toml must be a string, not `true`

# swap = "both"
$ cargo stario watch
error: invalid value `both` for `package.metadata.stario.swap` in Cargo.toml: expected `auto`, `overlap` or `stop-first`

# swop = "overlap"
$ cargo stario watch
error: unknown key `package.metadata.stario.swop` in Cargo.toml
  help: a key with a similar name exists: `swap`

# ready-timeout = "30"
$ cargo stario watch
error: `package.metadata.stario.ready-timeout` in Cargo.toml must be a number, not the string "30"

# ready-timeout = 0
$ cargo stario watch
error: invalid value `0` for `package.metadata.stario.ready-timeout` in Cargo.toml: expected a number of seconds above 0, up to 86400

# ready_timeout = 30
$ cargo stario watch
error: unknown key `package.metadata.stario.ready_timeout` in Cargo.toml
  help: a key with a similar name exists: `ready-timeout`


"##]]
    );
}

#[test]
fn values_that_cannot_be_read() {
    let project = package("");
    let lines = [
        "cargo stario watch --port abc",
        "cargo stario serve --port 70000",
        "cargo stario watch --port ''",
        "STARIO_PORT=abc cargo stario watch",
        "PORT=http cargo stario watch",
        "cargo stario watch --grace -1",
        "cargo stario watch --grace 5s",
        "cargo stario watch --debounce abc",
        "cargo stario watch --poll=5",
        "cargo stario watch --listen systemd",
        "cargo stario watch --host http://localhost:3000",
        "STARIO_NO_GITIGNORE=yes cargo stario watch",
    ];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch --port abc
error: invalid value `abc` for `--port`: expected a port from 0 to 65535

$ cargo stario serve --port 70000
error: invalid value `70000` for `--port`: expected a port from 0 to 65535

$ cargo stario watch --port ''
error: invalid value `` for `--port`: expected a port from 0 to 65535

$ STARIO_PORT=abc cargo stario watch
error: invalid value `abc` for `STARIO_PORT`: expected a port from 0 to 65535

$ PORT=http cargo stario watch
error: invalid value `http` for `PORT`: expected a port from 0 to 65535

$ cargo stario watch --grace -1
error: invalid value `-1` for `--grace`: expected a number of seconds from 0 to 86400

$ cargo stario watch --grace 5s
error: invalid value `5s` for `--grace`: expected a number of seconds from 0 to 86400

$ cargo stario watch --debounce abc
error: invalid value `abc` for `--debounce`: expected a whole number of milliseconds from 0 to 86400000

$ cargo stario watch --poll=5
error: invalid value `5` for `--poll`: expected `true`, `false` or a whole number of milliseconds, at least 10

$ cargo stario watch --listen systemd
error: invalid value `systemd` for `--listen`: expected `auto`, `inherit`, `adopt` or `direct`

$ cargo stario watch --host http://localhost:3000
error: invalid value `http://localhost:3000` for `--host`: expected a host alone; the port goes to `--port`

$ STARIO_NO_GITIGNORE=yes cargo stario watch
error: invalid value `yes` for `STARIO_NO_GITIGNORE`: expected `1`, `true`, `0` or `false`


"#]]
    );
}

#[test]
fn globs_that_do_not_parse() {
    let project = package("[package.metadata.stario]\nwatch-ignore = [\"data/\", \"*.[tmp\"]\n");
    assert_data_eq!(
        refused(&project, &["cargo stario watch"]),
        str![[r#"
$ cargo stario watch
error: invalid value `*.[tmp` for `package.metadata.stario.watch-ignore` in Cargo.toml: not a glob: unclosed character class; missing ']'
  help: `[[]`, `[*]`, `[?]` and `[{]` stand for the characters themselves, as in `a[[]1].html`


"#]]
    );

    project.write("Cargo.toml", manifest("app") + "[workspace]\n");
    let lines = [
        "cargo stario watch --watch src --watch 'page[.html'",
        "cargo stario watch --watch-ignore '*.{log,tmp'",
        "STARIO_WATCH=src:b[ cargo stario watch",
        "STARIO_WATCH_IGNORE=b[ cargo stario watch",
    ];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch --watch src --watch 'page[.html'
error: invalid value `page[.html` for `--watch`: not a glob: unclosed character class; missing ']'
  help: `[[]`, `[*]`, `[?]` and `[{]` stand for the characters themselves, as in `a[[]1].html`

$ cargo stario watch --watch-ignore '*.{log,tmp'
error: invalid value `*.{log,tmp` for `--watch-ignore`: not a glob: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)
  help: `[[]`, `[*]`, `[?]` and `[{]` stand for the characters themselves, as in `a[[]1].html`

$ STARIO_WATCH=src:b[ cargo stario watch
error: invalid value `b[` for `STARIO_WATCH`: not a glob: unclosed character class; missing ']'
  help: `[[]`, `[*]`, `[?]` and `[{]` stand for the characters themselves, as in `a[[]1].html`

$ STARIO_WATCH_IGNORE=b[ cargo stario watch
error: invalid value `b[` for `STARIO_WATCH_IGNORE`: not a glob: unclosed character class; missing ']'
  help: `[[]`, `[*]`, `[?]` and `[{]` stand for the characters themselves, as in `a[[]1].html`


"#]]
    );
}

#[test]
fn options_that_there_are_not() {
    let project = package("");
    let lines = [
        "cargo stario watch --prot 3000",
        "cargo stario watch --server-arg",
        "cargo stario serve --watch src",
        "cargo stario watch main serve",
        "cargo stario watch --poll 500 main",
        "cargo stario run",
    ];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch --prot 3000
error: unexpected argument '--prot' found

  tip: a similar argument exists: '--port'
  tip: to pass '--prot' as a value, use '-- --prot'

Usage: cargo stario watch --port <PORT> [ENTRY] [-- <ARGS>...]

For more information, try '--help'.

$ cargo stario watch --server-arg
error: unexpected argument '--server-arg' found

  tip: to pass '--server-arg' as a value, use '-- --server-arg'

Usage: cargo stario watch [OPTIONS] [ENTRY] [-- <ARGS>...]

For more information, try '--help'.

$ cargo stario serve --watch src
error: unexpected argument '--watch' found

  tip: to pass '--watch' as a value, use '-- --watch'

Usage: cargo stario serve [OPTIONS] [ENTRY] [-- <ARGS>...]

For more information, try '--help'.

$ cargo stario watch main serve
error: unexpected argument 'serve' found

Usage: cargo stario watch [OPTIONS] [ENTRY] [-- <ARGS>...]

For more information, try '--help'.

$ cargo stario watch --poll 500 main
error: unexpected argument 'main' found

Usage: cargo stario watch [OPTIONS] [ENTRY] [-- <ARGS>...]

For more information, try '--help'.

$ cargo stario run
error: unrecognized subcommand 'run'

Usage: cargo stario <COMMAND>

For more information, try '--help'.


"#]]
    );
}

#[test]
fn no_command_prints_help() {
    let told = package("").tool([""; 0]).finish();
    assert_eq!(told.status.code(), Some(2));
    assert!(told.stderr.contains("Usage: cargo stario <COMMAND>"), "{}", told.stderr);
    assert!(told.stderr.contains("cargo stario watch main:bootstrap"), "{}", told.stderr);
}

// ---- metadata and manifests ----

#[test]
fn metadata_that_is_wrong() {
    let project = package("");
    let mut shown = String::new();
    for line in [
        "prot = 3000",
        "watch_ignore = [\"data/\"]",
        "reload = true",
        "port = \"3000\"",
        "port = 70000",
        "watch = [\"src\", 1]",
        "grace = true",
        "entry = \"main:\"",
        "entry = \"mian:bootstrap\"",
        "entry = \"main:bootstrp\"",
    ] {
        let table = format!("[package.metadata.stario]\n{line}\n");
        project.write("Cargo.toml", manifest("app") + "\n[workspace]\n\n" + &table);
        shown += &["# ", line, "\n", &refused(&project, &["cargo stario watch"])].concat();
    }
    project.write("Cargo.toml", manifest("app") + "\n[workspace.metadata]\nstario = \"main\"\n");
    shown += &refused(&project, &["cargo stario watch"]);
    assert_data_eq!(
        shown,
        str![[r##"
# prot = 3000
$ cargo stario watch
error: unknown key `package.metadata.stario.prot` in Cargo.toml
  help: a key with a similar name exists: `port`

# watch_ignore = ["data/"]
$ cargo stario watch
error: unknown key `package.metadata.stario.watch_ignore` in Cargo.toml
  help: a key with a similar name exists: `watch-ignore`

# reload = true
$ cargo stario watch
error: unknown key `package.metadata.stario.reload` in Cargo.toml
  help: the keys are `entry`, `host`, `port`, `unix-socket`, `tracer`, `listen`, `profile`, `link`, `grace`, `events`, `swap`, `ready-timeout`, `watch`, `watch-ignore`, `no-gitignore`, `debounce` and `poll`

# port = "3000"
$ cargo stario watch
error: `package.metadata.stario.port` in Cargo.toml must be an integer, not the string "3000"

# port = 70000
$ cargo stario watch
error: invalid value `70000` for `package.metadata.stario.port` in Cargo.toml: expected a port from 0 to 65535

# watch = ["src", 1]
$ cargo stario watch
error: `package.metadata.stario.watch` in Cargo.toml must be a string or a list of strings, not a list with the integer 1

# grace = true
$ cargo stario watch
error: `package.metadata.stario.grace` in Cargo.toml must be a number, not `true`

# entry = "main:"
$ cargo stario watch
error: malformed entry `main:` (`package.metadata.stario.entry` in Cargo.toml): no function behind `:`
  help: an entry has the form MODULE[:FUNCTION], as in `main:bootstrap` or `main::admin:bootstrap`

# entry = "mian:bootstrap"
$ cargo stario watch
error: nothing to run is called `mian` in package `app` (`package.metadata.stario.entry` in Cargo.toml); there is
    app  binary of package app  src/main.rs
  help: a similar name exists: `main`
  help: `main` is the package's default binary; modules inside follow behind `::`

# entry = "main:bootstrp"
$ cargo stario watch
error: no function `bootstrp` in `main` (src/main.rs)
  help: a function with a similar name exists: `bootstrap`
  help: the functions there: `bootstrap` and `main`
  help: the entry comes from `package.metadata.stario.entry` in Cargo.toml

$ cargo stario watch
error: `workspace.metadata.stario` in Cargo.toml must be a table, not the string "main"


"##]]
    );
}

#[test]
fn manifests_that_are_missing_or_broken() {
    let project = Project::empty();
    let lines = ["cargo stario watch", "cargo stario serve --manifest-path app/Cargo.toml"];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch
error: could not find `Cargo.toml` in `[ROOT]` or any parent directory
  help: go to the folder of your server's package, or name it with `--manifest-path`
  help: `cargo init` makes a new package here

$ cargo stario serve --manifest-path app/Cargo.toml
error: manifest path `app/Cargo.toml` does not exist
  help: `--manifest-path` takes the Cargo.toml of your server's package


"#]]
    );

    let project = package("[dependencies]\nwords = { path = \"words\" }\n");
    assert_data_eq!(
        refused(&project, &["cargo stario watch"]),
        str![[r#"
$ cargo stario watch
error: failed to load manifest for dependency `words`

  Caused by:
...

"#]]
    );
    project.write("Cargo.toml", "[package\n");
    let lines = ["cargo stario watch", "cargo stario serve --manifest-path src"];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch
error: [..]
...
  1 | [package
...

$ cargo stario serve --manifest-path src
error: manifest path `src` is a directory but expected a file
  help: `--manifest-path` takes the Cargo.toml of your server's package


"#]]
    );
}

#[test]
fn no_cargo() {
    let project = package("");
    let lines =
        ["CARGO=/nonexistent/cargo cargo stario watch", "PATH=/nonexistent cargo stario watch"];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ CARGO=/nonexistent/cargo cargo stario watch
error: cannot run `/nonexistent/cargo` (`CARGO` in the environment): No such file or directory (os error 2)
  help: without that variable, the cargo in `PATH` is taken

$ PATH=/nonexistent cargo stario watch
error: cannot run `cargo`: No such file or directory (os error 2)
  help: put the folder of cargo into `PATH`, or install Rust: https://rustup.rs


"#]]
    );
}

// ---- the world outside ----

#[test]
fn events_that_cannot_be_written() {
    let project = package("");
    fs::create_dir(project.path("logs")).unwrap();
    let lines = [
        "cargo stario watch --events nowhere/events",
        "cargo stario watch --events logs",
        "cargo stario serve --events fd:77",
        "cargo stario watch --events fd:one",
    ];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch --events nowhere/events
error: --events [ROOT]/nowhere/events: No such file or directory (os error 2)
  help: it takes a file, a named pipe, or an open descriptor as in `--events fd:3 3>events`

$ cargo stario watch --events logs
error: --events [ROOT]/logs: Is a directory (os error 21)
  help: it takes a file, a named pipe, or an open descriptor as in `--events fd:3 3>events`

$ cargo stario serve --events fd:77
error: --events fd:77: no such descriptor is open
  help: it takes a file, a named pipe, or an open descriptor as in `--events fd:3 3>events`

$ cargo stario watch --events fd:one
error: invalid value `fd:one` for `--events`: expected the number of an open descriptor behind `fd:`


"#]]
    );
}

#[test]
fn an_address_that_cannot_be_had() {
    let project = package("");
    // 192.0.2.0/24 is for documentation (RFC 5737), `.invalid` for names that do not exist (RFC 6761).
    let lines = [
        "cargo stario watch --host 192.0.2.1 --port 0",
        "cargo stario serve --host 192.0.2.1 --listen inherit",
    ];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch --host 192.0.2.1 --port 0
error: this machine has no address 192.0.2.1: [..]
  help: `--host 127.0.0.1` is reached from this machine, `--host 0.0.0.0` from all

$ cargo stario serve --host 192.0.2.1 --listen inherit
error: this machine has no address 192.0.2.1: [..]
  help: `--host 127.0.0.1` is reached from this machine, `--host 0.0.0.0` from all


"#]]
    );
    let unknown = refused(&project, &["cargo stario watch --host no-such-host.invalid --port 0"]);
    // Each system has its own words for it.
    assert!(unknown.contains("could not listen on no-such-host.invalid:0: "), "{unknown}");
    assert!(
        unknown.contains("help: is `no-such-host.invalid` a name of this machine?"),
        "{unknown}"
    );
}

#[test]
fn a_port_that_is_taken_is_said_with_its_holder() {
    let project = package("");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let executable = std::env::current_exe().unwrap();
    // As the system has it: cut off after 15 bytes on Linux.
    let name: String = executable.file_name().unwrap().to_str().unwrap().chars().take(15).collect();
    let shown: String = [
        format!("cargo stario watch --port {port} --listen direct"),
        format!("cargo stario watch --port {port} --listen inherit"),
        format!("cargo stario watch --port {port} --listen adopt"),
        format!("cargo stario serve --port {port}"),
        format!("STARIO_PORT={port} cargo stario watch"),
    ]
    .iter()
    .map(|line| refused(&project, &[line]))
    .collect();
    let shown = shown.replace(&port, "[PORT]").replace(&name, "[NAME]");
    assert_data_eq!(
        shown,
        str![[r#"
$ cargo stario watch --port [PORT] --listen direct
error: 127.0.0.1:[PORT] is taken by `[NAME]` (process [PID])
  help: `--port 0` picks a free port, `--port NUMBER` another one

$ cargo stario watch --port [PORT] --listen inherit
error: 127.0.0.1:[PORT] is taken by `[NAME]` (process [PID])
  help: `--port 0` picks a free port, `--port NUMBER` another one

$ cargo stario watch --port [PORT] --listen adopt
error: 127.0.0.1:[PORT] is taken by `[NAME]` (process [PID])
  help: `--port 0` picks a free port, `--port NUMBER` another one

$ cargo stario serve --port [PORT]
error: 127.0.0.1:[PORT] is taken by `[NAME]` (process [PID])
  help: `--port 0` picks a free port, `--port NUMBER` another one

$ STARIO_PORT=[PORT] cargo stario watch
error: 127.0.0.1:[PORT] is taken by `[NAME]` (process [PID])
  help: `--port 0` picks a free port, `--port NUMBER` another one


"#]]
    );
}

#[test]
fn a_unix_socket_that_is_in_the_way() {
    let project = package("");
    project.write("notes.txt", "");
    let living = UnixListener::bind(project.path("living.sock")).unwrap();
    let lines = [
        "cargo stario watch --unix-socket notes.txt",
        "cargo stario watch --unix-socket living.sock --listen inherit",
        "cargo stario serve --unix-socket living.sock",
        "cargo stario watch --unix-socket run/app.sock",
    ];
    assert_data_eq!(
        refused(&project, &lines),
        str![[r#"
$ cargo stario watch --unix-socket notes.txt
error: `[ROOT]/notes.txt` is there already and is no socket
  help: `--unix-socket` takes a path where nothing is

$ cargo stario watch --unix-socket living.sock --listen inherit
error: a server is listening on `[ROOT]/living.sock`
  help: stop it, or give `--unix-socket` another path

$ cargo stario serve --unix-socket living.sock
error: a server is listening on `[ROOT]/living.sock`
  help: stop it, or give `--unix-socket` another path

$ cargo stario watch --unix-socket run/app.sock
error: could not listen on `[ROOT]/run/app.sock`: No such file or directory (os error 2)
  help: make its folder: `mkdir -p [ROOT]/run`


"#]]
    );
    assert!(project.path("living.sock").exists(), "it is still that server's");
    drop(living);
}

// ---- what is no mistake ----

#[test]
fn a_socket_file_that_nobody_listens_on_is_replaced() {
    let project = Project::server("one");
    drop(UnixListener::bind(project.path("app.sock")).unwrap());
    let mut tool = project.tool(["watch", "--unix-socket", "app.sock", "--listen", "inherit"]);
    tool.command.args(["--port", "0"]);
    let mut run = tool.start();
    let listening = run.wait_for("server-listening");
    assert_eq!(
        listening["addresses"][0].as_str(),
        Some(format!("unix:{}", project.path("app.sock").display()).as_str())
    );
    run.signal("TERM");
    run.wait();
    assert!(!project.path("app.sock").exists(), "it goes with the tool");
}

#[test]
fn the_default_port_that_is_taken_does_not_hinder_a_server_that_listens_elsewhere() {
    // Where somebody else has it, so much the better.
    let _taken = TcpListener::bind("127.0.0.1:8000");
    let project = Project::server("one");
    project.edit("src/main.rs", "127.0.0.1:{port}", "127.0.0.1:0");
    let mut run = project.tool(["watch"]).start();
    let address = run.serving();
    assert_ne!(address.port(), 8000);
    assert_eq!(get(address, "/").as_deref(), Some("one"));
    run.settle(Duration::from_secs(1));
    assert_eq!(run.count("server-elsewhere"), 0, "nobody named a port");
}

#[test]
fn a_port_that_is_taken_while_it_runs_is_said_with_its_holder() {
    let project = Project::server("one");
    // A socket that is shared is kept for the next server.
    let mut run = project.watch(["--listen", "direct"]);
    let address = run.serving();
    let spawned = run.log.iter().rev().find(|it| it["event"] == "server-spawned").unwrap();
    signal(spawned["pid"].as_u64().unwrap().try_into().unwrap(), "KILL");
    run.wait_for("server-exited");
    let _taken = TcpListener::bind(address).unwrap();

    project.edit("src/main.rs", "\"one\"", "\"two\"");
    let notice = run.wait_until("the notice", |it| it["code"] == "port-held");
    let text = notice["text"].as_str().unwrap();
    assert!(text.contains(&format!("port {} is taken by", address.port())), "{text}");
    assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
    run.wait_for_stderr(
        "help: if the server wants that port, stop the process or use another port",
    );
}

#[test]
fn a_folder_that_may_not_be_read_is_said_and_the_rest_is_watched() {
    let project = Project::server("one");
    fs::create_dir(project.path("secret")).unwrap();
    fs::set_permissions(project.path("secret"), Permissions::from_mode(0o000)).unwrap();
    let tool = project.tool(["watch", "--port", "0"]);
    let Some(tool) = as_ordinary_user(tool) else { return };
    let mut run = tool.start();
    let notice = run.wait_until("the notice", |it| it["code"] == "unreadable");
    assert!(notice["text"].as_str().unwrap().contains("secret"), "{notice}");
    run.wait_for_stderr("warning: ");
    let address = run.serving();
    project.edit("src/main.rs", "\"one\"", "\"two\"");
    run.wait_for_answer(address, "two");
    fs::set_permissions(project.path("secret"), Permissions::from_mode(0o755)).unwrap();
}

/// What lets root read everything (`capabilities(7)`), taken away.
const RIGHTS: &str = "-dac_override,-dac_read_search";

/// Without root's right to read everything; `None` where that cannot be had.
fn as_ordinary_user(tool: Tool) -> Option<Tool> {
    if !rustix::process::geteuid().is_root() {
        return Some(tool);
    }
    if !has("setpriv") {
        return None;
    }
    let mut command = Command::new("setpriv");
    command.arg(format!("--bounding-set={RIGHTS}")).arg(format!("--inh-caps={RIGHTS}")).arg(TOOL);
    command.args(tool.command.get_args());
    command.current_dir(tool.command.get_current_dir().expect("the harness sets it"));
    for (name, value) in tool.command.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(std::process::Stdio::null());
    Some(Tool { command })
}
