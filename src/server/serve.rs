//! `serve`: the tool becomes the server.

use crate::error::Failure;
use crate::event::Exit;
use crate::process::Groups;
use crate::server::{Listener, ServerCommand};

/// Becomes the server (`exec`), with the listener when there is one: on Unix this returns only when
/// that fails, with exit code 126 or 127 as a shell has it. The watchdog is gone by then, so that
/// the server finds no child that it does not know.
///
/// Windows has no `exec`: there the server is awaited, and its exit returned.
#[cfg(unix)]
pub async fn serve(
    groups: Groups,
    command: ServerCommand,
    mut listener: Option<Listener>,
) -> Result<Exit, Failure> {
    use std::os::unix::process::CommandExt;

    let failed = |error: std::io::Error| Failure {
        message: format!("could not start `{}`: {error}", command.artifact.executable.display()),
        help: Vec::new(),
        code: if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 },
    };
    groups.stop();
    let program = command.program(listener.as_ref(), None, None).map_err(failed)?;
    let mut exec = crate::process::exec_command(program).map_err(failed)?;
    if let Some(listener) = &mut listener {
        listener.keep_file();
    }
    Err(failed(exec.exec()))
}

/// Runs the server to its end.
#[cfg(windows)]
pub async fn serve(
    groups: Groups,
    command: ServerCommand,
    listener: Option<Listener>,
) -> Result<Exit, Failure> {
    let failed = |error: std::io::Error| Failure {
        message: format!("could not start `{}`: {error}", command.artifact.executable.display()),
        help: Vec::new(),
        code: 126,
    };
    let program = command.program(listener.as_ref(), None, None).map_err(failed)?;
    let group = groups.spawn(program).await.map_err(failed)?;
    Ok(group.wait().await)
}
