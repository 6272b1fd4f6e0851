//! What only a process of its own can show: the tool is killed, the tool becomes the server. The
//! test binary starts itself again in that role.

#![cfg(unix)]

mod workbench;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use cargo_stario::process::{Environment, Groups, Program, Stream};
use cargo_stario::server::socket::bind;
use cargo_stario::server::{CargoQuery, ServerCommand, Told, Toolchain, exit_code, serve};
use workbench::{Workbench, command, shared_target, tool};

/// The variable that says which role the test binary is to play.
const ROLE: &str = "STARIO_TEST_ROLE";

/// This binary in a role.
fn play(role: &str, test: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(ROLE, role)
        // As if the tool had been socket-activated itself.
        .envs([("LISTEN_FDS", "3"), ("LISTEN_PID", "1")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

fn plays(role: &str) -> bool {
    std::env::var(ROLE).is_ok_and(|value| value == role)
}

/// The rest of a line that has this in it.
fn line(stdout: &mut impl BufRead, marker: &str) -> String {
    let mut lines = stdout.lines().map(Result::unwrap);
    lines.find_map(|line| line.split_once(marker).map(|(_, rest)| rest.to_owned())).unwrap()
}

#[tokio::test]
async fn nothing_survives_a_tool_that_is_killed() {
    let name = "nothing_survives_a_tool_that_is_killed";
    if plays("killed") {
        let groups = Groups::start(tool()).unwrap();
        let script = "trap '' HUP INT TERM; sh -c 'sleep 1000 & wait' & echo running: $$; wait";
        let program = Program {
            executable: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: Environment::default(),
            current_dir: "/".into(),
            stdout: Stream::Inherited,
            stderr: Stream::Inherited,
            socket: None,
            preload: None,
        };
        groups.spawn(program).await.unwrap().wait().await;
        unreachable!("it is killed before");
    }
    let (mut tool, mut stdout) = play("killed", name);
    line(&mut stdout, "running: ");
    tool.kill().unwrap();
    tool.wait().unwrap();
    // All of them have it open as long as they live.
    stdout.read_to_end(&mut Vec::new()).unwrap();
}

#[tokio::test]
async fn serve_becomes_the_server() {
    let name = "serve_becomes_the_server";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/servers");
    let (package, mut build) = command(&folder, "servers", "inherit");
    build.options.extend(shared_target());
    let mut workbench = Workbench::new();
    let artifact = workbench.build(&build, &[]).await.artifact();
    if plays("serve") {
        let query = CargoQuery {
            cargo: workbench::cargo(),
            current_dir: folder.clone(),
            target: None,
            config: Vec::new(),
        };
        let listener = bind("127.0.0.1", 0, None).unwrap();
        println!("port: {}", listener.port().unwrap());
        let command = ServerCommand {
            artifact,
            cargo_run: Arc::new(
                Toolchain::ask(&query, None).await.unwrap().cargo_run(&package, &folder),
            ),
            arguments: Vec::new(),
            current_dir: folder,
            told: Told {
                host: "127.0.0.1".to_owned(),
                port: listener.port().unwrap(),
                unix_socket: None,
                grace: std::time::Duration::from_secs(5),
                tracer: None,
                bootstrap: None,
                dev: false,
            },
            ports: Vec::new(),
        };
        let failure = serve(workbench.groups, command, Some(listener)).await.unwrap_err();
        panic!("{failure}");
    }
    let (mut server, mut stdout) = play("serve", name);
    let port: u16 = line(&mut stdout, "port: ").parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(&format!("one {}\n", server.id())), "{answer}");
    #[cfg(target_os = "linux")]
    assert_eq!(children(server.id()), "", "the watchdog is gone");

    drop(
        TcpStream::connect(("127.0.0.1", port))
            .map(|mut it| it.write_all(b"GET /crash HTTP/1.1\r\n\r\n")),
    );
    let exit = cargo_stario::process::exit_of(server.wait().unwrap());
    assert_eq!(exit_code(exit), 3);
}

#[cfg(target_os = "linux")]
fn children(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
}
