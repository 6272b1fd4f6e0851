//! From the start to the exit code, with a real process.

#![cfg(unix)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use rustix::process::Signal;
use snapbox::assert_data_eq;
use snapbox::prelude::*;
use support::{Client, connect, get, inheriting, setup, setup_of, workbench};

#[test]
fn the_first_bootstrap_is_the_default() {
    let mut setup = setup("");
    setup.command.env_remove("STARIO_BOOTSTRAP");
    let mut server = setup.start();
    server.says("bootstrap");
    let address = server.address();
    assert_eq!(get(address, "/").body, "Hello");
}

#[test]
fn an_unknown_bootstrap_ends_it_with_those_there_are() {
    let ended = setup("failing::eror").finish();
    assert_eq!(ended.status.code(), Some(2));
    assert_data_eq!(
        ended.text(),
        snapbox::str![[r#"
error: STARIO_BOOTSTRAP is "failing::eror", which `stario::main!` does not list; there is `bootstrap`, `failing::error`, `failing::panic`, `failing::never`, `failing::hook`, `failing::hung_hook`, `background`, `stubborn`, `child`; did you mean `failing::error`?
"#]].raw()
    );
}

#[test]
fn a_bad_setting_ends_it_with_2() {
    let ended = setup("").env("STARIO_PORT", "http").finish();
    assert_eq!(ended.status.code(), Some(2));
    assert_eq!(
        ended.text(),
        r#"error: STARIO_PORT is "http", but it has to be a number from 0 (takes a free one) to 65535"#
    );
}

#[test]
fn a_failing_bootstrap_runs_its_hooks_and_serves_nothing() {
    let ended = setup("failing::error").finish();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(
        ended.text(),
        "error: the bootstrap `failing::error` failed
  caused by: cannot open the database
  caused by: No such file or directory (os error 2)
second hook
first hook"
    );
    assert_eq!(ended.told, ["ERRNO=2"]);
}

#[test]
fn a_panicking_bootstrap_runs_its_hooks_and_serves_nothing() {
    let ended = setup("failing::panic").finish();
    assert_eq!(ended.status.code(), Some(1));
    let end =
        "error: the bootstrap `failing::panic` panicked: no such luck\nsecond hook\nfirst hook";
    assert!(ended.text().ends_with(end), "{}", ended.text());
    assert_eq!(ended.told, [""; 0]);
}

#[test]
fn nobody_can_connect_before_the_bootstrap_is_done() {
    // The address is taken from now on, though.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = setup("failing::never").env("STARIO_PORT", port.port().to_string()).start();
    server.says("bootstrap");
    let refused = std::net::TcpStream::connect(port).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_signal_ends_a_bootstrap_that_never_ends() {
    let mut server = setup("failing::never").start();
    server.says("bootstrap");
    server.stop();
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.log, ["bootstrap", "bootstrap dropped", "second hook", "first hook"]);
}

#[test]
fn both_signals_stop_it_and_hooks_run_the_last_one_first() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = setup("bootstrap").ready();
        server.signal(signal);
        let ended = server.ended();
        assert_eq!(ended.status.code(), Some(0));
        assert_eq!(ended.log[2..], ["second hook", "first hook"]);
        assert!(ended.log[1].starts_with("Listening on http://127.0.0.1:"), "{:?}", ended.log);
        assert!(ended.told.contains(&"STOPPING=1".to_owned()), "{:?}", ended.told);
    }
}

#[test]
fn a_failing_hook_is_reported_and_the_others_run() {
    let mut server = setup("failing::hook").ready();
    server.stop();
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(
        ended.log[1..],
        ["third hook", "error: a shutdown hook failed: no luck", "first hook"]
    );
}

#[test]
fn a_hook_that_hangs_is_cut() {
    let mut server = setup("failing::hung_hook").env("STARIO_GRACE", "0.3").ready();
    server.stop();
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.log[1..], ["error: 3 shutdown hooks were not done in time (STARIO_GRACE)"]);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut server = setup("failing::hung_hook").env("STARIO_GRACE", "3600").ready();
        server.stop();
        server.signal(signal);
        assert_eq!(server.ended().status.code(), Some(code));
    }
}

#[test]
fn background_tasks_are_told_and_waited_for() {
    let mut server = setup("background").ready();
    server.says("error: a background task panicked: of a task");
    server.stop();
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.text().ends_with("task ends\nhook"), "{}", ended.text());
}

#[test]
fn a_background_task_that_does_not_end_is_dropped() {
    let mut server = setup("stubborn").env("STARIO_GRACE", "1").ready();
    server.stop();
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(0));
    assert_data_eq!(
        ended.text(),
        snapbox::str![[r#"
Listening on [..]
hook
warning: dropped after [..] s (STARIO_GRACE): connections 0, background tasks 1
"#]]
    );
}

#[test]
fn the_supervisor_hears_where_it_serves_and_when_it_stops() {
    let mut server = setup("bootstrap").ready();
    let address = server.address();
    server.stop();
    let ended = server.ended();
    let serving = format!("STATUS=Serving on http://{address}");
    assert_eq!(ended.told, ["READY=1", &serving, "STOPPING=1", "STATUS=Stopping"]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_supervisor_may_have_an_abstract_name() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let name = format!("stario-{}", std::process::id());
    let supervisor =
        UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    supervisor.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let _server = setup("bootstrap").env("NOTIFY_SOCKET", format!("@{name}")).start();
    let mut buffer = [0; 100];
    let count = supervisor.recv(&mut buffer).unwrap();
    assert!(buffer[..count].starts_with(b"READY=1\n"));
}

#[test]
fn under_the_tool_it_leaves_the_address_to_the_tool() {
    let mut server = setup("bootstrap").env("STARIO_DEV", "1").ready();
    server.stop();
    assert_eq!(server.ended().log, ["bootstrap", "second hook", "first hook"]);
}

#[test]
fn an_address_in_use_is_said_with_what_to_change() {
    let mut first = setup("bootstrap").start();
    let address = first.address();
    let second = setup("bootstrap").env("STARIO_PORT", address.port().to_string()).finish();
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(
        second.text(),
        format!(
            "error: {address} is in use; STARIO_PORT chooses another port (0 takes a free one)
  caused by: Address already in use (os error 98)"
        )
        .replace("98", &rustix::io::Errno::ADDRINUSE.raw_os_error().to_string())
    );
    let number = rustix::io::Errno::ADDRINUSE.raw_os_error();
    assert_eq!(second.told, [format!("ERRNO={number}")]);
    assert_eq!(get(address, "/").body, "Hello");
}

#[test]
fn a_host_without_an_address_is_said() {
    let ended = setup("bootstrap").env("STARIO_HOST", "no.such.host.invalid").finish();
    assert_eq!(ended.status.code(), Some(1));
    let start = "error: STARIO_HOST is \"no.such.host.invalid\", which has no address\n";
    assert!(ended.text().starts_with(start), "{}", ended.text());
}

#[test]
fn a_host_may_be_a_name_or_ipv6() {
    let mut server = setup("bootstrap").env("STARIO_HOST", "localhost").start();
    let address = server.address();
    assert!(address.ip().is_loopback());
    assert_eq!(get(address, "/peer").body, address.ip().to_string());
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        let mut server = setup("bootstrap").env("STARIO_HOST", "[::1]").start();
        let address = server.address();
        assert_eq!(get(address, "/peer").body, "::1");
    }
}

#[test]
fn a_unix_socket_has_its_mode_and_is_removed_at_the_end() {
    for (set, mode) in [("", 0o660), ("0600", 0o600), ("666", 0o666)] {
        let setup = setup("bootstrap").env("STARIO_UNIX_SOCKET_MODE", set);
        let path = setup.path("socket");
        let mut server = setup.env("STARIO_UNIX_SOCKET", &path).ready();
        server.says(&format!("Listening on unix:{}", path.display()));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, mode);
        let mut client = Client::new(UnixStream::connect(&path).unwrap());
        client.get("/");
        assert_eq!(client.answer().body, "Hello");
        server.stop();
        let ended = server.ended();
        assert_eq!(ended.status.code(), Some(0));
        assert!(!path.exists());
    }
}

#[test]
fn a_unix_socket_that_nobody_has_any_more_is_replaced() {
    let setup = setup("bootstrap");
    let path = setup.path("socket");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _server = setup.env("STARIO_UNIX_SOCKET", &path).ready();
    let mut client = Client::new(UnixStream::connect(&path).unwrap());
    client.get("/");
    assert_eq!(client.answer().body, "Hello");
}

#[test]
fn a_unix_socket_that_somebody_has_is_left_alone() {
    let setup = setup("bootstrap");
    let path = setup.path("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let ended = setup.env("STARIO_UNIX_SOCKET", &path).finish();
    assert_eq!(ended.status.code(), Some(1));
    let message = format!("error: {} is in use; STARIO_UNIX_SOCKET chooses", path.display());
    assert!(ended.text().starts_with(&message), "{}", ended.text());
    let number = rustix::io::Errno::ADDRINUSE.raw_os_error();
    assert_eq!(ended.told, [format!("ERRNO={number}")]);
    listener.set_nonblocking(true).unwrap();
    while listener.accept().is_ok() {}
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let setup = setup("bootstrap");
    let path = setup.path("socket");
    std::fs::write(&path, "of somebody").unwrap();
    let ended = setup.env("STARIO_UNIX_SOCKET", &path).finish();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.text().contains("is there and is not a socket"), "{}", ended.text());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "of somebody");
}

#[test]
fn a_unix_socket_that_somebody_put_in_place_of_ours_stays() {
    let setup = setup("bootstrap");
    let path = setup.path("socket");
    let mut server = setup.env("STARIO_UNIX_SOCKET", &path).ready();
    std::fs::remove_file(&path).unwrap();
    let _listener = UnixListener::bind(&path).unwrap();
    server.stop();
    let ended = server.ended();
    assert!(path.exists());
    drop(ended);
}

#[test]
fn inherited_sockets_are_served_all_of_them() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let addresses = [tcp.local_addr().unwrap(), other.local_addr().unwrap()];
    let mut server = inheriting(vec![tcp.into(), unix.into(), other.into()], "$$").ready();
    for address in addresses {
        assert_eq!(get(address, "/").body, "Hello");
    }
    let mut client = Client::new(UnixStream::connect(&path).unwrap());
    client.get("/");
    assert_eq!(client.answer().body, "Hello");
    server.stop();
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(0));
    // Its place is known to who bound it.
    assert_eq!(ended.log, ["bootstrap", "second hook", "first hook"]);
    assert!(ended.told.contains(&"STATUS=Serving on 3 inherited sockets".to_owned()));
    assert!(path.exists(), "the socket is not ours to remove");
}

#[test]
fn what_waits_in_an_inherited_socket_is_left_to_the_next_server() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = inheriting(vec![listener.try_clone().unwrap().into()], "$$").ready();
    let mut hanging = connect(address);
    hanging.get("/slow/1000");
    server.says("slow begins");
    server.stop();
    let mut client = connect(address);
    client.get("/");
    assert_eq!(hanging.answer().body, "slow");
    assert_eq!(server.ended().status.code(), Some(0));
    let mut next = inheriting(vec![listener.into()], "$$").ready();
    assert_eq!(client.answer().body, "Hello");
    next.stop();
}

#[test]
fn sockets_meant_for_another_process_are_ignored() {
    for pid in ["1", ""] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = inheriting(vec![listener.try_clone().unwrap().into()], pid).ready();
        let address = server.address();
        assert_ne!(address, listener.local_addr().unwrap());
        assert_eq!(get(address, "/").body, "Hello");
    }
}

#[test]
fn an_inherited_descriptor_that_is_no_socket_is_said() {
    let file = tempfile::tempfile().unwrap();
    let ended = inheriting(vec![file.into()], "$$").finish();
    assert_eq!(ended.status.code(), Some(1));
    let start = "error: socket 0 of those that LISTEN_FDS hands over is not one to listen on";
    assert!(ended.text().starts_with(start), "{}", ended.text());
}

#[test]
fn inherited_sockets_are_not_meant_for_the_servers_children() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let setup = inheriting(vec![listener.into()], "$$").env("STARIO_BOOTSTRAP", "child");
    let _server = setup.ready();
    let environment = get(address, "/").body;
    assert!(environment.contains("STARIO_BOOTSTRAP=child"), "{environment}");
    assert!(!environment.contains("LISTEN_FDS="), "{environment}");
    assert!(!environment.contains("LISTEN_PID="), "{environment}");
}

#[test]
fn systemd_activates_it() {
    if !support::has("systemd-socket-activate") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new("systemd-socket-activate");
    command.arg("--listen").arg(port.to_string()).arg("--listen").arg(&path);
    for name in ["STARIO_BOOTSTRAP", "STARIO_PORT", "STARIO_TRACER", "NOTIFY_SOCKET"] {
        command.arg("--setenv").arg(name);
    }
    command.arg(workbench());
    let mut server = setup_of(command).env("STARIO_BOOTSTRAP", "bootstrap").start();
    server.says("Listening on ");
    server.says("Listening on ");
    // The first one to come starts it.
    assert_eq!(get(port, "/").body, "Hello");
    server.told("READY=1");
    let mut client = Client::new(UnixStream::connect(&path).unwrap());
    client.get("/");
    assert_eq!(client.answer().body, "Hello");
    server.stop();
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.text().ends_with("second hook\nfirst hook"), "{}", ended.text());
}

#[test]
fn without_descriptors_left_it_waits_and_goes_on() {
    let mut command = Command::new("sh");
    command.arg("-c").arg("ulimit -n 40 && exec \"$0\"").arg(workbench());
    let mut server = setup_of(command).env("STARIO_BOOTSTRAP", "bootstrap").start();
    let address = server.address();
    // Those that it takes answer, until it can take no more.
    let mut clients: Vec<_> = (0..60).map(|_| connect(address)).collect();
    clients[0].get("/");
    assert_eq!(clients[0].answer().body, "Hello");
    for client in &mut clients[1..] {
        client.get("/");
    }
    let mut last = clients.pop().unwrap();
    drop(clients);
    assert_eq!(last.answer().body, "Hello");
}

/// As behind a pipe whose reader has gone.
#[test]
fn it_serves_though_nobody_reads_what_it_prints() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut setup = setup_of(Command::new(support::workbench().with_file_name("hello")));
    setup.command.env_remove("STARIO_BOOTSTRAP").stderr(writer);
    let path = setup.path("socket");
    let mut server = setup.env("STARIO_UNIX_SOCKET", &path).start();
    server.told("READY=1");
    let mut client = Client::new(UnixStream::connect(path).unwrap());
    client.get("/");
    assert_eq!(client.answer().body, "Hello");
    server.stop();
    assert_eq!(server.ended().status.code(), Some(0));
}
