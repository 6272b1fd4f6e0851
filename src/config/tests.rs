// As snapbox writes them.
#![allow(clippy::needless_raw_string_hashes)]

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use cargo_metadata::Package;
use serde_json::{Value, json};
use snapbox::{assert_data_eq, str};

use super::{Config, EventsTo, Layers, Listen, Port, Table, resolve};
use crate::cli;
use crate::error::Failure;
use crate::event::Swap;

/// All places that a setting can come from.
#[must_use]
#[derive(Default)]
struct Places {
    typed: String,
    variables: Vec<(String, OsString)>,
    package: Option<Value>,
    workspace: Option<Value>,
}

fn typed(line: &str) -> Places {
    Places::default().typed(line)
}

impl Places {
    fn typed(mut self, line: &str) -> Self {
        self.typed = line.into();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn list(self, name: &str, items: &[&str]) -> Self {
        let value = std::env::join_paths(items).expect("no separators");
        let value = value.into_string().expect("what was given");
        self.env(name, &value)
    }

    fn package(mut self, table: Value) -> Self {
        self.package = Some(table);
        self
    }

    fn workspace(mut self, table: Value) -> Self {
        self.workspace = Some(table);
        self
    }

    fn resolve(&self) -> Result<Config, Failure> {
        let line = ["cargo-stario", "watch"].into_iter().chain(self.typed.split_whitespace());
        let command = cli::parse(line.map(Into::into)).expect("a sound command line");
        let here = Path::new("/ws/here");
        let table = |value: &Option<Value>, root: &str| {
            let package = package(value.as_ref()?, root);
            Table::of_package(&package, here).expect("a sound table")
        };
        let package = table(&self.package, "/ws/crates/web");
        let workspace = table(&self.workspace, "/ws");
        let env = |name: &str| {
            let mut found = self.variables.iter().filter(|(known, _)| known == name);
            found.next().map(|(_, value)| value.clone())
        };
        let layers = Layers {
            env: &env,
            package: package.as_ref(),
            workspace: workspace.as_ref(),
            current_dir: here,
        };
        let shared = command.shared();
        resolve(&shared.server, shared.cargo.profile(), command.watch(), &layers)
    }

    #[track_caller]
    fn config(&self) -> Config {
        self.resolve().unwrap_or_else(|failure| panic!("{failure}"))
    }

    #[track_caller]
    fn failure(&self) -> String {
        let failure = self.resolve().expect_err("a mistake");
        assert_eq!(failure.code, 2);
        failure.message
    }
}

/// A package as cargo describes it, with a table of ours. It stands for a workspace too, whose
/// table differs by name alone.
fn package(table: &Value, root: &str) -> Package {
    serde_json::from_value(json!({
        "name": "web", "version": "0.1.0", "id": "web", "manifest_path": format!("{root}/Cargo.toml"),
        "dependencies": [], "targets": [], "features": {}, "metadata": { "stario": table },
    }))
    .expect("cargo's format")
}

#[test]
fn the_defaults() {
    assert_eq!(
        Places::default().config(),
        Config {
            host: "127.0.0.1".into(),
            port: Port { number: 8000, named: false },
            unix_socket: None,
            tracer: None,
            listen: Listen::Auto,
            profile: None,
            link: None,
            grace: Duration::from_secs(5),
            events: None,
            swap: Swap::Auto,
            ready_timeout: Duration::from_secs(30),
            watch: None,
            watch_ignore: Vec::new(),
            gitignore: true,
            debounce: None,
            poll: None,
        }
    );
}

/// Every option that takes one value: four values of it, strongest first, and what is seen of each.
#[test]
fn each_option_comes_from_the_strongest_place() {
    type Seen = fn(&Config) -> String;
    let cases: [(&str, [Value; 4], [&str; 4], Seen); 11] = [
        ("profile", ["a", "b", "c", "d"].map(Value::from), ["a", "b", "c", "d"], |it| {
            it.profile.clone().expect("a name")
        }),
        ("host", ["a", "b", "c", "d"].map(Value::from), ["a", "b", "c", "d"], |it| it.host.clone()),
        ("port", [1, 2, 3, 4].map(Value::from), ["1", "2", "3", "4"], |it| {
            assert!(it.port.named);
            it.port.number.to_string()
        }),
        (
            "unix-socket",
            ["a", "/b", "c", "./d"].map(Value::from),
            ["/ws/here/a", "/b", "/ws/crates/web/c", "/ws/d"],
            |it| it.unix_socket.as_ref().expect("given").to_string_lossy().replace('\\', "/"),
        ),
        ("tracer", ["a", "b", "c", "d"].map(Value::from), ["a", "b", "c", "d"], |it| {
            it.tracer.clone().expect("given")
        }),
        (
            "listen",
            ["direct", "inherit", "adopt", "auto"].map(Value::from),
            ["Direct", "Inherit", "Adopt", "Auto"],
            |it| format!("{:?}", it.listen),
        ),
        (
            "grace",
            [json!(0.5), json!(1), json!(2.25), json!(0)],
            ["500ms", "1s", "2.25s", "0ns"],
            |it| format!("{:?}", it.grace),
        ),
        (
            "events",
            ["fd:3", "e.jsonl", "e.jsonl", "fd:0"].map(Value::from),
            [
                "Descriptor(3)",
                "File(\"/ws/here/e.jsonl\")",
                "File(\"/ws/crates/web/e.jsonl\")",
                "Descriptor(0)",
            ],
            |it| format!("{:?}", it.events.as_ref().expect("given")).replace("\\\\", "/"),
        ),
        (
            "no-gitignore",
            [true, false, true, false].map(Value::from),
            ["false", "true", "false", "true"],
            |it| it.gitignore.to_string(),
        ),
        ("debounce", [1, 2, 3, 0].map(Value::from), ["1ms", "2ms", "3ms", "0ns"], |it| {
            format!("{:?}", it.debounce.expect("given"))
        }),
        (
            "poll",
            [json!(10), json!(200), json!(true), json!(false)],
            ["Some(10ms)", "Some(200ms)", "Some(1s)", "None"],
            |it| format!("{:?}", it.poll),
        ),
    ];
    for (option, values, expected, seen) in cases {
        let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
        let mut places = Places::default();
        let mut check = |change: &dyn Fn(Places) -> Places, expected: &str| {
            places = change(std::mem::take(&mut places));
            assert_eq!(seen(&places.config()), expected, "{option}");
        };
        let variable = format!("STARIO_{}", option.replace('-', "_").to_uppercase());
        let flag = match option {
            "no-gitignore" => "--no-gitignore".to_owned(),
            _ => format!("--{option}={}", text(&values[0])),
        };
        // Weakest first: each next place takes over.
        check(&|it| it.workspace(json!({ option: values[3] })), expected[3]);
        check(&|it| it.package(json!({ option: values[2] })), expected[2]);
        check(&|it| it.env(&variable, &text(&values[1])), expected[1]);
        check(&|it| it.typed(&flag), expected[0]);
    }
}

#[test]
fn port_in_the_environment_is_the_weakest_name() {
    let port = |places: Places| places.config().port;
    let named = |number| Port { number, named: true };
    assert_eq!(port(Places::default().env("PORT", "3000")), named(3000));
    assert_eq!(port(Places::default().env("PORT", "")), Port { number: 8000, named: false });
    assert_eq!(port(Places::default().env("PORT", "1").workspace(json!({ "port": 2 }))), named(2));
    assert_eq!(port(Places::default().env("PORT", "x").env("STARIO_PORT", "0")), named(0));
    assert_eq!(port(typed("--port 8000")), named(8000));
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let places = Places::default().env("STARIO_HOST", "").workspace(json!({ "host": "::1" }));
    assert_eq!(places.config().host, "::1");
}

/// Text and folder of each.
fn specs(of: &[crate::watch::Spec]) -> Vec<String> {
    of.iter().map(|it| format!("{} in {}", it.text, it.base.display())).collect()
}

#[test]
fn watch_is_taken_whole_from_the_strongest() {
    let watch = |places: &Places| specs(&places.config().watch.expect("given"));
    let places = Places::default().workspace(json!({ "watch": "d/" }));
    assert_eq!(watch(&places), ["d/ in /ws"]);
    // An empty list is no list.
    let places = places.package(json!({ "watch": [] }));
    assert_eq!(watch(&places), ["d/ in /ws"]);
    let places = places.package(json!({ "watch": ["c", "*.c"] }));
    assert_eq!(watch(&places), ["c in /ws/crates/web", "*.c in /ws/crates/web"]);
    let places = places.list("STARIO_WATCH", &["b", "", "b2"]);
    assert_eq!(watch(&places), ["b in /ws/here", "b2 in /ws/here"]);
    let places = places.typed("--watch a --watch .");
    assert_eq!(watch(&places), ["a in /ws/here", ". in /ws/here"]);
}

#[test]
fn watch_ignore_adds_up() {
    let places = typed("--watch-ignore a")
        .list("STARIO_WATCH_IGNORE", &["b", "b2"])
        .package(json!({ "watch-ignore": ["c"] }))
        .workspace(json!({ "watch-ignore": "d" }));
    assert_eq!(
        specs(&places.config().watch_ignore),
        ["a in /ws/here", "b in /ws/here", "b2 in /ws/here", "c in /ws/crates/web", "d in /ws"]
    );
}

#[test]
fn hosts() {
    let host = |text: &str| typed(&format!("--host {text}")).config().host;
    assert_eq!(host("0.0.0.0"), "0.0.0.0");
    assert_eq!(host("[::1]"), "::1");
    assert_eq!(host("fe80::1%eth0"), "fe80::1%eth0");
    assert_eq!(host("my-host.local"), "my-host.local");
}

#[test]
fn poll_as_other_tools_take_it() {
    let poll = |places: Places| places.config().poll.map(|it| it.as_millis());
    assert_eq!(poll(typed("--poll")), Some(1000));
    assert_eq!(poll(Places::default().env("STARIO_POLL", "1")), Some(1000));
    assert_eq!(poll(Places::default().env("STARIO_POLL", "0")), None);
    assert_eq!(poll(typed("--poll=false").env("STARIO_POLL", "true")), None);
}

#[test]
fn events_go_to_a_file_or_a_descriptor() {
    let config = typed("--events /tmp/fd:3").config();
    assert_eq!(config.events, Some(EventsTo::File("/tmp/fd:3".into())));
}

#[test]
fn each_mistake_names_its_place() {
    let flags = [
        "--host=",
        "--host a:80",
        "--host http://a",
        "--host a/b",
        "--host ::g",
        "--port 65536",
        "--port -1",
        "--port=",
        "--port 80a",
        "--unix-socket=",
        "--tracer=",
        "--listen systemd",
        "--grace -1",
        "--grace NaN",
        "--grace inf",
        "--grace 1e9",
        "--grace x",
        "--events=",
        "--events fd:",
        "--events fd:-1",
        "--debounce 0.5",
        "--debounce -1",
        "--poll=5",
        "--poll=often",
        "--watch=",
    ];
    let said: Vec<_> = flags.iter().map(|flag| typed(flag).failure()).collect();
    assert_data_eq!(
        said.join("\n"),
        str![[r#"
invalid value `` for `--host`: it is empty
invalid value `a:80` for `--host`: expected a host alone; the port goes to `--port`
invalid value `http://a` for `--host`: expected a host alone; the port goes to `--port`
invalid value `a/b` for `--host`: expected an address or a host name
invalid value `::g` for `--host`: expected an address or a host name
invalid value `65536` for `--port`: expected a port from 0 to 65535
invalid value `-1` for `--port`: expected a port from 0 to 65535
invalid value `` for `--port`: expected a port from 0 to 65535
invalid value `80a` for `--port`: expected a port from 0 to 65535
invalid value `` for `--unix-socket`: it is empty
invalid value `` for `--tracer`: it is empty
invalid value `systemd` for `--listen`: expected `auto`, `inherit`, `adopt` or `direct`
invalid value `-1` for `--grace`: expected a number of seconds from 0 to 86400
invalid value `NaN` for `--grace`: expected a number of seconds from 0 to 86400
invalid value `inf` for `--grace`: expected a number of seconds from 0 to 86400
invalid value `1e9` for `--grace`: expected a number of seconds from 0 to 86400
invalid value `x` for `--grace`: expected a number of seconds from 0 to 86400
invalid value `` for `--events`: it is empty
invalid value `fd:` for `--events`: expected the number of an open descriptor behind `fd:`
invalid value `fd:-1` for `--events`: expected the number of an open descriptor behind `fd:`
invalid value `0.5` for `--debounce`: expected a whole number of milliseconds from 0 to 86400000
invalid value `-1` for `--debounce`: expected a whole number of milliseconds from 0 to 86400000
invalid value `5` for `--poll`: expected `true`, `false` or a whole number of milliseconds, at least 10
invalid value `often` for `--poll`: expected `true`, `false` or a whole number of milliseconds, at least 10
invalid value `` for `--watch`: it is empty
"#]]
    );

    let elsewhere = [
        Places::default().env("STARIO_PORT", "70000"),
        Places::default().env("PORT", "http"),
        Places::default().env("STARIO_NO_GITIGNORE", "yes"),
        Places::default().package(json!({ "port": 70000 })),
        Places::default().package(json!({ "unix-socket": "" })),
        Places::default().package(json!({ "watch": ["a", ""] })),
    ];
    let said: Vec<_> = elsewhere.iter().map(Places::failure).collect();
    assert_data_eq!(
        said.join("\n"),
        str![[r#"
invalid value `70000` for `STARIO_PORT`: expected a port from 0 to 65535
invalid value `http` for `PORT`: expected a port from 0 to 65535
invalid value `yes` for `STARIO_NO_GITIGNORE`: expected `1`, `true`, `0` or `false`
invalid value `70000` for `package.metadata.stario.port` in /ws/crates/web/Cargo.toml: expected a port from 0 to 65535
invalid value `` for `package.metadata.stario.unix-socket` in /ws/crates/web/Cargo.toml: it is empty
invalid value `` for `package.metadata.stario.watch` in /ws/crates/web/Cargo.toml: it is empty
"#]]
    );
}

#[test]
fn a_glob_that_does_not_parse() {
    let flag = typed("--watch a --watch b[").failure();
    assert!(flag.starts_with("invalid value `b[` for `--watch`: "), "{flag}");
    let variable = Places::default().list("STARIO_WATCH_IGNORE", &["a", "b["]).failure();
    assert!(variable.starts_with("invalid value `b[` for `STARIO_WATCH_IGNORE`: "), "{variable}");
}

#[cfg(unix)]
#[test]
fn what_is_not_text_is_said() {
    use std::os::unix::ffi::OsStringExt;
    let mut places = Places::default();
    places.variables.push(("STARIO_HOST".into(), OsString::from_vec(vec![b'a', 0xff])));
    assert_data_eq!(
        places.failure(),
        str!["invalid value `a�` for `STARIO_HOST`: it is not valid UTF-8"]
    );
    // A path need not be text.
    let mut places = Places::default();
    places.variables.push(("STARIO_UNIX_SOCKET".into(), OsString::from_vec(vec![b'/', 0xff])));
    assert!(places.config().unix_socket.is_some());
}
