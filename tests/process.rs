//! Launcher, watchdog and groups, with the real binary.

#![cfg(unix)]

mod workbench;

use std::net::TcpListener;
use std::path::PathBuf;

use cargo_stario::event::Exit;
use cargo_stario::process::{Environment, Group, Groups, Program, Socket, Stream};
use tokio::io::AsyncReadExt;
use workbench::{LONG, eventually, tool};

fn shell(script: &str) -> Program {
    Program {
        executable: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: Environment::default(),
        current_dir: PathBuf::from("/"),
        stdout: Stream::Piped,
        stderr: Stream::Inherited,
        socket: None,
        preload: None,
    }
}

/// Reads to the end, which comes when no process holds the other end any more.
async fn output(group: &mut Group) -> String {
    let mut text = String::new();
    let mut stdout = group.take_stdout().unwrap();
    tokio::time::timeout(LONG, stdout.read_to_string(&mut text)).await.expect("an end").unwrap();
    text
}

#[tokio::test]
async fn listen_pid_is_the_process_itself() {
    let groups = Groups::start(tool()).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut program = shell("echo $$ $LISTEN_PID $LISTEN_FDS $LISTEN_FDNAMES; test -S /dev/fd/3");
    program.socket = Some(Socket { descriptor: socket.into(), name: "http" });
    let mut group = groups.spawn(program).await.unwrap();
    let pid = group.pid();
    assert_eq!(output(&mut group).await, format!("{pid} {pid} 1 http\n"));
    assert_eq!(group.wait().await, Exit::Code(0), "descriptor 3 is a socket");
}

#[tokio::test]
async fn without_a_socket_nothing_is_said_of_one_and_nothing_is_open() {
    let groups = Groups::start(tool()).unwrap();
    let mut program = shell(
        "env | grep ^LISTEN_; for fd in 3 4 5 6 7 8 9; do test -e /dev/fd/$fd && echo $fd; done",
    );
    program.environment.set("LISTEN_NOT_OURS", "kept");
    let mut group = groups.spawn(program).await.unwrap();
    assert_eq!(output(&mut group).await, "LISTEN_NOT_OURS=kept\n");
    group.wait().await;
}

#[tokio::test]
async fn a_program_leads_its_group_reads_nothing_and_has_its_environment() {
    let groups = Groups::start(tool()).unwrap();
    let mut program = shell("read line || echo end; echo $GREETING; ps -o pgid= -p $$");
    program.environment.set("GREETING", "hello");
    let mut group = groups.spawn(program).await.unwrap();
    let said = output(&mut group).await;
    assert_eq!(
        said.split_whitespace().collect::<Vec<_>>(),
        ["end", "hello", &group.pid().to_string()]
    );
    group.wait().await;
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_is_an_error_that_says_why() {
    let groups = Groups::start(tool()).unwrap();
    let mut program = shell("");
    program.executable = "/nowhere/at-all".into();
    let error = groups.spawn(program).await.unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
}

#[tokio::test]
async fn what_a_process_leaves_in_its_group_ends_with_it() {
    let groups = Groups::start(tool()).unwrap();
    let mut group =
        groups.spawn(shell("trap '' TERM; sleep 1000 & (sleep 1000 &) ; exit 4")).await.unwrap();
    let mut stdout = group.take_stdout().unwrap();
    assert_eq!(group.wait().await, Exit::Code(4));
    assert_eq!(stdout.read_to_end(&mut Vec::new()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_signal_reaches_the_whole_group() {
    let groups = Groups::start(tool()).unwrap();
    let mut group = groups.spawn(shell("sleep 1000 & echo ready; wait")).await.unwrap();
    let mut stdout = group.take_stdout().unwrap();
    stdout.read_exact(&mut [0; 6]).await.unwrap();
    group.terminate();
    // The sleeper holds it open as long as it lives.
    assert_eq!(stdout.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    assert_eq!(group.wait().await, Exit::Signal(15));
}

#[tokio::test]
async fn when_the_tool_is_gone_the_watchdog_kills_children_and_grandchildren() {
    let groups = Groups::start(tool()).unwrap();
    let script = "trap '' TERM HUP INT; sh -c 'sleep 1000 & wait' & echo ready; wait";
    let mut group = groups.spawn(shell(script)).await.unwrap();
    // Stopping it is what the tool's death looks like from there: the pipe ends.
    groups.stop();
    output(&mut group).await;
    assert_eq!(group.wait().await, Exit::Signal(9));
}

#[tokio::test]
async fn a_watchdog_that_dies_is_replaced_by_one_that_knows_the_groups() {
    let groups = Groups::start(tool()).unwrap();
    let mut group = groups.spawn(shell("sleep 1000 & wait")).await.unwrap();
    let first = groups.watchdog().unwrap();
    kill(first);
    eventually(|| groups.watchdog().is_some_and(|pid| pid != first)).await;
    groups.stop();
    output(&mut group).await;
    assert_eq!(group.wait().await, Exit::Signal(9));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn on_linux_a_process_dies_with_whoever_started_it_also_without_the_watchdog() {
    let groups = Groups::start(tool()).unwrap();
    let spawned = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let group =
                Groups::start(tool()).unwrap().spawn(shell("exec sleep 1000")).await.unwrap();
            let pid = group.pid();
            // Neither its drop nor its watchdog shall be what ends it.
            kill(group_watchdog(&group));
            std::mem::forget(group);
            pid
        })
    });
    let pid = spawned.join().unwrap();
    eventually(|| workbench::members(pid).is_empty()).await;
    drop(groups);
}

#[cfg(target_os = "linux")]
fn group_watchdog(group: &Group) -> u32 {
    group.groups().watchdog().unwrap()
}

#[tokio::test]
async fn dropping_a_group_ends_it() {
    let groups = Groups::start(tool()).unwrap();
    let mut group = groups.spawn(shell("sleep 1000 & wait")).await.unwrap();
    let mut stdout = group.take_stdout().unwrap();
    drop(group);
    let read = tokio::time::timeout(LONG, stdout.read_to_end(&mut Vec::new())).await;
    assert_eq!(read.expect("an end").unwrap(), 0);
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn the_launcher_does_not_start_anything_for_a_tool_that_is_gone() {
    use std::process::{Command, Stdio};
    // Its stdin ends at once: nobody says «go».
    let output = Command::new(tool())
        .args(["__exec", "1", "no-socket", "echo", "started"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
}
