//! `serve`: builds once and becomes the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::address::{Address, server_command};
use super::{Start, interrupted, stopped};
use crate::build::{BuildHandle, Builder};
use crate::config::Listen;
use crate::error::{BUILD_FAILED, Failure};
use crate::event::{
    BuildEvent, BuildOutcome, Endpoint, Event, Exit, Generation, Handover, Level, Notice, Report,
};
use crate::report::Reporter;
use crate::server;

/// The one generation that there is.
const ONLY: Generation = Generation(1);

/// Builds, and becomes the server; returns the exit code where that does not happen.
pub(super) async fn serve(start: Start, reporter: &mut Reporter<'_>) -> Result<u8, Failure> {
    let Start { project, groups, sender, mut events } = start;
    let plan = project.plan();
    let mut others = Vec::new();
    let address = tokio::select! {
        address = Address::claim(&plan) => address?,
        signal = interrupted(&mut events, &mut others) => return Ok(stopped(signal, reporter)),
    };
    if let Some(notice) = address.notice() {
        reporter.report(&Report::Notice(notice));
    }
    if plan.config.listen == Listen::Adopt {
        reporter.report(&Report::Notice(nobody_adopts(project.types_listen())));
    }
    let command = project.build_command();
    let began = Instant::now();
    reporter.report(&Report::BuildStarted { generation: ONLY });
    let builder = Builder::new(groups.clone(), sender);
    let build = builder.spawn(ONLY, std::future::ready(Ok(command)), Vec::new());

    let mut interrupted = None;
    let artifact = loop {
        let Some(event) = events.recv().await else { return Ok(BUILD_FAILED) };
        match event {
            Event::Signal(signal) => {
                if interrupted.is_none() {
                    reporter.report_to_scripts(&Report::Stopping { signal: Some(signal) });
                }
                interrupted = Some(signal);
                BuildHandle::cancel(&build);
            }
            Event::Notice(notice) => reporter.report(&Report::Notice(notice)),
            Event::Build(_, BuildEvent::Spawned { pid }) => {
                reporter.report(&Report::BuildSpawned { generation: ONLY, pid });
            }
            Event::Build(_, BuildEvent::Diagnostic(diagnostic)) => {
                reporter.report(&Report::Diagnostic { generation: ONLY, diagnostic });
            }
            Event::Build(_, BuildEvent::Finished(outcome)) => match (outcome, interrupted) {
                (_, Some(signal)) => return Ok(signal.exit_code()),
                (BuildOutcome::Succeeded(artifact), None) => break artifact,
                (BuildOutcome::Broken { message, help }, None) => {
                    reporter.report_to_scripts(&build_failed(began, None));
                    return Err(Failure { message, help, code: BUILD_FAILED });
                }
                // Cargo has said why.
                (BuildOutcome::Failed(exit), None) => {
                    reporter.report_to_scripts(&build_failed(began, Some(exit)));
                    return Ok(BUILD_FAILED);
                }
                (BuildOutcome::Cancelled, None) => return Ok(BUILD_FAILED),
            },
            _ => {}
        }
    };
    let elapsed = began.elapsed();
    // The server will not know of it.
    builder.gone().await;
    let fresh = artifact.fresh;
    reporter.report(&Report::BuildSucceeded { generation: ONLY, elapsed, fresh });
    let executable = artifact.executable.clone();
    reporter.report(&Report::ServerStarting { generation: ONLY, executable });

    let command = server_command(&project, &address, artifact, false);
    // On Unix the process id stays ours.
    let (pid, handover) = match &address.listener {
        Some(_) => (std::process::id(), Handover::Inherit),
        None => (std::process::id(), Handover::Direct),
    };
    if cfg!(unix) {
        let (generation, beside, unoffered) = (ONLY, None, None);
        reporter.report(&Report::ServerSpawned { generation, pid, handover, beside, unoffered });
    }
    if let Some(listener) = &address.listener {
        let endpoints: Vec<Endpoint> = vec![listener.endpoint().clone()];
        let after = Duration::ZERO;
        reporter.report(&Report::ServerListening { generation: ONLY, endpoints, after });
    }
    // Its thread ends where the server begins.
    reporter.flush();
    let exit = server::serve(groups, command, address.listener.and_then(Arc::into_inner)).await?;
    Ok(server::exit_code(exit))
}

/// What the metadata says may be meant for `watch` alone; who has typed it expects something of it.
fn nobody_adopts(typed: bool) -> Notice {
    Notice {
        level: if typed { Level::Note } else { Level::Verbose },
        code: "nobody-adopts",
        text: "the server binds for itself: what it binds is shared under `watch` alone".into(),
        help: None,
    }
}

/// For scripts: people have cargo's words, or the failure's.
fn build_failed(began: Instant, exit: Option<Exit>) -> Report {
    Report::BuildFailed {
        generation: ONLY,
        elapsed: began.elapsed(),
        exit,
        message: None,
        help: Vec::new(),
        serving: None,
    }
}
