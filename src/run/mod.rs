//! From the command line to the exit code: what has to stand before anything runs, then
//! `watch` or `serve`.

mod address;
mod project;
mod serve;
mod watch;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::cli::{self, CargoOptions, Command};
use crate::config::{Config, EventsTo};
use crate::error::Failure;
use crate::event::{Event, Level, Notice, Report};
use crate::plan::{Mode, Source};
use crate::process::{self, Groups};
use crate::report::{Json, Reporter, Terminal, Verbosity};
use crate::signals;

use self::project::Project;

/// Runs the tool. Its exit codes are part of the contract: see the README.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let command = match cli::parse(args) {
        Ok(command) => command,
        Err(error) => {
            // Clap prints help to stdout and mistakes to stderr; a closed one is nobody's mistake.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut terminal = terminal(&command.shared().cargo);
    // One thread, so that every process is started by the thread that lives as long as the tool.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(run(command, &mut terminal));
            // Whatever still blocks a thread (a walk, a read) must not hold up the end.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Failure::usage(format!("could not start: {error}"))),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            terminal.failure(&failure);
            ExitCode::from(failure.code)
        }
    }
}

/// How long cargo may be asked before somebody who waits wants to know.
const SILENCE: Duration = Duration::from_secs(2);

/// Everything that both commands start with.
struct Start {
    project: Project,
    groups: Groups,
    sender: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
}

async fn run(command: Command, terminal: &mut Terminal) -> Result<u8, Failure> {
    let source = Source::of_process(command)?;
    let groups = process::tool().and_then(Groups::start);
    let groups = groups.map_err(|error| {
        Failure::usage(format!("could not start the watchdog (a process of our own): {error}"))
    })?;
    let (sender, mut events) = mpsc::unbounded_channel();
    signals::listen(&sender)
        .map_err(|error| Failure::usage(format!("could not take signals: {error}")))?;

    // The first phase has nothing to stop but itself: a signal ends it, and cargo with it.
    let mut others = Vec::new();
    let project = tokio::select! {
        project = not_in_silence(Project::open(source, groups.clone()), terminal) => project,
        code = interrupted(&mut events, &mut others) => {
            groups.stop();
            return Ok(code);
        }
    }?;
    let plan = project.plan();
    let mut reporter = Reporter { terminal, json: events_out(&plan.config)? };
    let start = Start { project, groups: groups.clone(), sender, events };
    let ended = match plan.mode {
        Mode::Watch => watch::watch(start, &mut reporter).await,
        Mode::Serve => serve::serve(start, &mut reporter).await,
    };
    groups.stop();
    let code = ended.unwrap_or_else(|failure| {
        let code = failure.code;
        reporter.report(&Report::Failed(failure));
        code
    });
    reporter.report(&Report::Exit { code });
    Ok(code)
}

/// Awaits cargo's answer; says so when that takes long, since cargo's own words about it are kept for
/// the case that it fails.
async fn not_in_silence<T>(asking: impl Future<Output = T>, terminal: &mut Terminal) -> T {
    let mut asking = std::pin::pin!(asking);
    if let Ok(answer) = tokio::time::timeout(SILENCE, &mut asking).await {
        return answer;
    }
    terminal.report(&Report::Notice(Notice {
        level: Level::Note,
        code: "slow-metadata",
        text:
            "`cargo metadata` takes its time: it may be downloading, or waiting for another cargo"
                .into(),
        help: None,
    }));
    asking.await
}

/// Waits for a signal; says with which exit code it ends the tool. What else comes is kept.
async fn interrupted(events: &mut mpsc::UnboundedReceiver<Event>, others: &mut Vec<Event>) -> u8 {
    while let Some(event) = events.recv().await {
        match event {
            Event::Signal(signal) => return signal.exit_code(),
            other => others.push(other),
        }
    }
    std::future::pending().await
}

fn terminal(cargo: &CargoOptions) -> Terminal {
    let verbosity = match (cargo.quiet, cargo.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Normal,
        (false, _) => Verbosity::Verbose,
    };
    let current_dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let interactive = io::stderr().is_terminal();
    Terminal::new(io::stderr(), colour(cargo.color), interactive, verbosity, current_dir)
}

/// As cargo decides it: `--color`, then `CARGO_TERM_COLOR`, then whether stderr is a terminal that
/// shows colours (and `NO_COLOR` is not set).
fn colour(typed: Option<clap::ColorChoice>) -> bool {
    let configured = std::env::var("CARGO_TERM_COLOR");
    match (typed, configured.as_deref()) {
        (Some(clap::ColorChoice::Always), _) | (None, Ok("always")) => true,
        (Some(clap::ColorChoice::Never), _) | (None, Ok("never")) => false,
        _ => io::stderr().is_terminal() && console::colors_enabled_stderr(),
    }
}

/// Opens what `--events` names.
fn events_out(config: &Config) -> Result<Option<Json>, Failure> {
    let Some(to) = &config.events else { return Ok(None) };
    let (name, file) = match to {
        EventsTo::File(path) => (path.display().to_string(), File::create(path)),
        EventsTo::Descriptor(number) => (format!("fd:{number}"), process::inherited(*number)),
    };
    match file {
        Ok(file) => Ok(Some(Json::new(file))),
        Err(error) => Err(Failure::usage(format!("--events {name}: {error}")).help(
            "it takes a file, a named pipe, or an open descriptor as in `--events fd:3 3>events`",
        )),
    }
}
