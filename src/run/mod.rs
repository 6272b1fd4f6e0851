//! From the command line to the exit code: what has to stand before anything runs, then
//! `watch` or `serve`.

mod address;
mod project;
mod recall;
mod serve;
mod watch;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::cli::{self, CargoOptions, Command};
use crate::config::EventsTo;
use crate::error::Failure;
use crate::event::{Event, Level, Notice, Report, Signal};
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
    let json = source.events()?.as_ref().map(events_out).transpose()?;
    let mut reporter = Reporter { terminal, json };
    let code = started(source, &mut reporter).await.unwrap_or_else(|failure| {
        let code = failure.code;
        reporter.report(&Report::Failed(failure));
        code
    });
    reporter.report(&Report::Exit { code });
    Ok(code)
}

/// From here on, scripts are told how it ends.
async fn started(source: Source, reporter: &mut Reporter<'_>) -> Result<u8, Failure> {
    let groups = process::tool().and_then(Groups::start);
    let groups = groups.map_err(|error| {
        Failure::usage(format!("could not start the watchdog (a process of our own): {error}"))
    })?;
    let ended = with_groups(source, &groups, reporter).await;
    groups.stop();
    ended
}

async fn with_groups(
    source: Source,
    groups: &Groups,
    reporter: &mut Reporter<'_>,
) -> Result<u8, Failure> {
    let (sender, mut events) = mpsc::unbounded_channel();
    signals::listen(&sender)
        .map_err(|error| Failure::usage(format!("could not take signals: {error}")))?;

    // The first phase has nothing to stop but itself: a signal ends it, and cargo with it.
    // Who serves asks nobody later.
    let recalls = source.command.watch().is_some();
    let opening = Project::open(source, groups.clone(), recalls);
    let mut others = Vec::new();
    let project = tokio::select! {
        project = not_in_silence(opening, reporter.terminal) => project?,
        signal = interrupted(&mut events, &mut others) => return Ok(stopped(signal, reporter)),
    };
    let plan = project.plan();
    if reporter.json.is_none() {
        // A manifest may name it.
        reporter.json = plan.config.events.as_ref().map(events_out).transpose()?;
    }
    let start = Start { project, groups: groups.clone(), sender, events };
    match plan.mode {
        Mode::Watch => watch::watch(start, reporter).await,
        Mode::Serve => serve::serve(start, reporter).await,
    }
}

/// Awaits cargo's answer; says so when that takes long. Cargo does not always say by itself what it
/// waits for.
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

/// A signal ended the tool before there was anything to stop; returns the exit code.
fn stopped(signal: Signal, reporter: &mut Reporter<'_>) -> u8 {
    reporter.report_to_scripts(&Report::Stopping { signal: Some(signal) });
    signal.exit_code()
}

/// Waits for a signal. What else comes is kept.
async fn interrupted(
    events: &mut mpsc::UnboundedReceiver<Event>,
    others: &mut Vec<Event>,
) -> Signal {
    while let Some(event) = events.recv().await {
        match event {
            Event::Signal(signal) => return signal,
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

/// Opens what `--events` names; a named pipe not before somebody reads it, without waiting for that.
fn events_out(to: &EventsTo) -> Result<Json, Failure> {
    let (name, json) = match to {
        EventsTo::File(path) => (path.display().to_string(), events_file(path)),
        EventsTo::Descriptor(number) => {
            (format!("fd:{number}"), process::inherited(*number).and_then(Json::new))
        }
    };
    json.map_err(|error| {
        Failure::usage(format!("--events {name}: {error}")).help(
            "it takes a file, a named pipe, or an open descriptor as in `--events fd:3 3>events`",
        )
    })
}

fn events_file(path: &Path) -> io::Result<Json> {
    if !process::is_named_pipe(path)? {
        return Json::new(File::create(path)?);
    }
    let path = path.to_owned();
    Json::opened_by(move || File::options().write(true).open(path))
}
