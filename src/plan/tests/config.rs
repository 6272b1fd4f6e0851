//! The metadata of packages and workspaces as cargo hands it on.

use super::{Port, Project, assert_data_eq, package, str};

fn with(package_table: &str, workspace_table: &str) -> Project {
    let more = format!(
        "[package.metadata.stario]\n{package_table}\n[workspace]\n\
         [workspace.metadata.stario]\n{workspace_table}\n"
    );
    Project::single().file("Cargo.toml", &package("app", &more))
}

#[test]
fn a_package_goes_before_its_workspace() {
    let project = with("port = 3001\ngrace = 0.5", "port = 3002\nhost = \"::1\"\npoll = 200");
    let config = project.plan(".", "watch").config;
    assert_eq!(config.port, Port { number: 3001, named: true });
    assert_eq!(config.host, "::1");
    assert_eq!(config.grace.as_millis(), 500);
    assert_eq!(config.poll.map(|it| it.as_millis()), Some(200));
    let config = project.env("STARIO_PORT", "3003").env("PORT", "1").plan(".", "watch").config;
    assert_eq!(config.port.number, 3003);
}

#[test]
fn keys_and_types_are_checked() {
    let package = |table: &str| with(table, "").failure(".", "watch");
    assert_data_eq!(
        package("prot = 1"),
        str![[r#"
error: unknown key `package.metadata.stario.prot` in Cargo.toml
help: a key with a similar name exists: `port`

"#]]
    );
    assert_data_eq!(
        package("unix_socket = \"x\""),
        str![[r#"
error: unknown key `package.metadata.stario.unix_socket` in Cargo.toml
help: a key with a similar name exists: `unix-socket`

"#]]
    );
    assert_data_eq!(
        package("colour = 1"),
        str![[r#"
error: unknown key `package.metadata.stario.colour` in Cargo.toml
help: the keys are `entry`, `host`, `port`, `unix-socket`, `tracer`, `listen`, `profile`, `link`, `grace`, `events`, `swap`, `ready-timeout`, `watch`, `watch-ignore`, `no-gitignore`, `debounce` and `poll`

"#]]
    );
    assert_data_eq!(
        package("port = \"8000\""),
        str![[r#"
error: `package.metadata.stario.port` in Cargo.toml must be an integer, not the string "8000"

"#]]
    );
    assert_data_eq!(
        package("port = 70000"),
        str![[r#"
error: invalid value `70000` for `package.metadata.stario.port` in Cargo.toml: expected a port from 0 to 65535

"#]]
    );
    assert_data_eq!(
        package("port = 80.5"),
        str![[r#"
error: `package.metadata.stario.port` in Cargo.toml must be an integer, not the number 80.5

"#]]
    );
    assert_data_eq!(
        package("grace = \"5\""),
        str![[r#"
error: `package.metadata.stario.grace` in Cargo.toml must be a number, not the string "5"

"#]]
    );
    assert_data_eq!(
        package("grace = nan"),
        str![[r#"
error: `package.metadata.stario.grace` in Cargo.toml must be a number, not `nan` or `inf`

"#]]
    );
    assert_data_eq!(
        package("watch = [\"src\", 1]"),
        str![[r#"
error: `package.metadata.stario.watch` in Cargo.toml must be a string or a list of strings, not a list with the integer 1

"#]]
    );
    assert_data_eq!(
        package("no-gitignore = 1"),
        str![[r#"
error: `package.metadata.stario.no-gitignore` in Cargo.toml must be `true` or `false`, not the integer 1

"#]]
    );
    assert_data_eq!(
        package("poll = \"yes\""),
        str![[r#"
error: `package.metadata.stario.poll` in Cargo.toml must be `true`, `false` or an integer, not the string "yes"

"#]]
    );
    assert_data_eq!(
        with("", "wach = []").failure("src", "watch"),
        str![[r#"
error: unknown key `workspace.metadata.stario.wach` in [ROOT]/Cargo.toml
help: a key with a similar name exists: `watch`

"#]]
    );
    let project = Project::single()
        .file("Cargo.toml", &super::package("app", "[package.metadata]\nstario = true\n"));
    assert_data_eq!(
        project.failure(".", "watch"),
        str![[r#"
error: `package.metadata.stario` in Cargo.toml must be a table, not `true`

"#]]
    );
}
